"""What a case of the suite is: one problem, several programs that solve it, one judge."""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Problem = Mapping[str, Any]
Answer = Mapping[str, Any]
"""What a program found, as NumPy arrays."""

SIZES = ("small", "paper", "large")


@dataclass(frozen=True)
class Work:
    """The operations and bytes of main memory that no method of this kind avoids."""

    operations: float
    bytes: float

    def seconds(self, operations_per_second: float, bytes_per_second: float) -> float:
        """The floor: both at the machine's measured rates, one hidden behind the other."""
        return max(self.operations / operations_per_second, self.bytes / bytes_per_second)


@dataclass(frozen=True)
class Side:
    """One program. `prepare(problem)` makes what is timed, a function of an effort.

    - `efforts`: tolerances or numbers of steps, loosest first; `(None,)` for a closed form.
    - `needs`: modules without which the side is left out.
    - `dtype`: what it computes in. Ours runs with JAX's float64 where it says so.
    - `processes`: whether it works in processes of its own, whose time is not counted.
    - `share`: `share(problem)` is the part of the problem that is timed, the rest extrapolated.
    - `efforts_at`: other efforts for a size, where so many of `efforts` take too long.
    - `left_out`: sizes at which the side is left out, and why.
    """

    prepare: Callable[[Problem], Callable[[Any], Any]]
    answer: Callable[[Problem, Any], Answer] = lambda problem, result: {"value": result}
    efforts: tuple[Any, ...] = (None,)
    needs: tuple[str, ...] = ()
    dtype: str = "float32"
    share: Callable[[Problem], float] = lambda problem: 1.0
    processes: bool = False
    efforts_at: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def why_not(self, size: str) -> str | None:
        """Why the side is left out: modules that are not installed, or the size."""
        lacking = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return f"{', '.join(lacking)} not installed" if lacking else self.left_out.get(size)


@dataclass(frozen=True)
class Case:
    """A problem of three sizes.

    - `problem(**sizes[size])`: arrays, the same in every process.
    - `judge(problem, answer)`: float64 NumPy and SciPy alone, for ours and peers alike; `error` is
      what must be at most `target` for a side to count. Further figures are reported.
    - `work(problem, answer)`: operations and bytes; `why` says what keeps us from them.
    """

    name: str
    what: str
    sizes: Mapping[str, Mapping[str, Any]]
    problem: Callable[..., Problem]
    sides: Mapping[str, Side]
    judge: Callable[[Problem, Answer], Mapping[str, float]]
    work: Callable[[Problem, Answer], Work]
    target: float
    why: str = ""
    reference: Callable[[Problem], Mapping[str, Any]] = field(default=lambda problem: {})
    """What the judge needs and computes once; added to the problem."""
