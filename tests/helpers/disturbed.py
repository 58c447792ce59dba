"""Calls of public functions with odd input, and what may come of it: a result, or a clear error.

A table entry ([`of`][]) says how a function is called with good arrays; [`trouble`][] calls it with
one of them disturbed, and says what is wrong with the outcome.
"""

import dataclasses
import inspect
import math
import re
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

import syndigits_jax
from syndigits_jax.solvers import Solution, Status

PACKAGE = Path(syndigits_jax.__file__).parent
N, M = 8, 4
"""People and questions of the good input."""


@dataclasses.dataclass(frozen=True)
class Argument:
    """An array of n people and m questions, and how it is handed over."""

    make: Callable[[int, int], np.ndarray]
    wrap: Callable[[np.ndarray], Any] = lambda array: array

    def within(self, wrap: Callable[[np.ndarray], Any]) -> "Argument":
        return Argument(self.make, wrap)


def numbers(*axes: str | int, seed: int = 0, low: float = 1.0, high: float = 5.0) -> Argument:
    """Quarters between `low` and `high`, of shape `axes`: sizes, or "n" and "m"."""

    def make(n: int, m: int) -> np.ndarray:
        shape = [{"n": n, "m": m}.get(axis, axis) for axis in axes]
        return np.random.default_rng(seed).integers(int(4 * low), int(4 * high) + 1, shape) / 4

    return Argument(make)


def filled(value: float, *axes: str | int) -> Argument:
    """One number everywhere, such as weights; a scalar without axes."""
    return Argument(lambda n, m: np.full([{"n": n, "m": m}.get(a, a) for a in axes], float(value)))


def array(values: Any) -> Argument:
    """Given numbers, whatever n and m."""
    return Argument(lambda n, m: np.array(values, float))


def mask(*axes: str) -> Argument:
    """True but for every fifth cell. It is not disturbed in value, as it has none but two."""

    def make(n: int, m: int) -> np.ndarray:
        shape = [{"n": n, "m": m}.get(axis, axis) for axis in axes]
        return np.arange(math.prod(shape)).reshape(shape) % 5 > 0

    return Argument(make)


@dataclasses.dataclass(frozen=True)
class Call:
    """A function, its good arguments, and the disturbances that it documents to give NaN."""

    function: Callable
    arguments: Mapping[str, Argument]
    fixed: Mapping[str, Any]
    call: Callable
    undefined: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ("no people", "no questions", "one person", "one question")
    also: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        room = self.function.__module__.removeprefix("syndigits_jax.").split(".")[0]
        return f"{room}.{self.function.__qualname__}"

    @property
    def words(self) -> set[str]:
        """What a message may name: parameters of the function, and what this call is made of."""
        parameters = inspect.signature(self.function).parameters
        return {*parameters, *self.arguments, *self.also} - {"key", "self"}

    def good(self, n: int = N, m: int = M) -> dict[str, np.ndarray]:
        return {name: argument.make(n, m) for name, argument in self.arguments.items()}

    def __call__(self, arrays: Mapping[str, Any]) -> Any:
        given = {name: self.arguments[name].wrap(value) for name, value in arrays.items()}
        return jax.block_until_ready(self.call(**given, **self.fixed))


def of(
    function: Callable,
    *,
    call: Callable | None = None,
    undefined: tuple[str, ...] = (),
    shapes: tuple[str, ...] | None = None,
    also: tuple[str, ...] = (),
    only: tuple[str, ...] | None = None,
    **arguments: Any,
) -> Call:
    """An entry of a table.

    `undefined`: disturbances after which NaN is the documented result; `shapes`: those of
    [`SHAPES`][] that are tried, and `only`: of [`VALUES`][] and [`SAME`][], all by default; `also`:
    further words that a message may name; `arguments`: [`Argument`][]s, which are disturbed, and
    anything else, which is passed on.
    """
    disturbed = {name: a for name, a in arguments.items() if isinstance(a, Argument)}
    fixed = {name: a for name, a in arguments.items() if not isinstance(a, Argument)}
    options: dict[str, Any] = {} if shapes is None else {"shapes": shapes}
    options |= {"also": also, "only": only}
    return Call(function, disturbed, fixed, call or function, undefined, **options)


SHAPES = {"no people": (0, M), "no questions": (N, 0), "one person": (1, M), "one question": (N, 1)}


def spoilt(x: np.ndarray, value: float) -> np.ndarray:
    """One cell is `value`."""
    out = np.array(x, float)
    if out.size:
        out.flat[out.size // 2] = value
    return out


VALUES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "all missing": lambda x: np.full(x.shape, np.nan),
    "one missing": lambda x: spoilt(x, np.nan),
    "constant": lambda x: np.full(x.shape, x.flat[0] if x.size else 0.0),
    "zero": np.zeros_like,
    "negative": lambda x: -x,
    "huge": lambda x: x * 1e30,
    "tiny": lambda x: x * 1e-30,
    "infinite": lambda x: spoilt(x, np.inf),
    "half precision": lambda x: x.astype(np.float16),
    "whole numbers": lambda x: np.ceil(x).astype(np.int16) if np.isfinite(x).all() else x,
    "no rows": lambda x: x[:0] if x.ndim else x,
}
SAME = "laid out otherwise"
"""The same numbers, in Fortran's order, with gaps and backwards."""


def laid_out(x: np.ndarray) -> np.ndarray:
    if not x.ndim:
        return x
    doubled = np.asfortranarray(np.repeat(x, 2, axis=-1)[::-1])
    return doubled[::-1, ..., ::2] if x.ndim > 1 else np.repeat(x[::-1], 2)[::-2]


FINITE = ("constant", "zero", "negative", "huge", "tiny", "half precision", "whole numbers")


_BASES: dict[int, dict[str, np.ndarray]] = {}


def base_of(entry: Call) -> dict[str, np.ndarray]:
    """The result of the good arguments, computed once."""
    if id(entry) not in _BASES:
        _BASES[id(entry)] = _leaves(entry(entry.good()))
    return _BASES[id(entry)]


def trouble(entry: Call, disturbance: str) -> list[str]:
    """What goes wrong, in words, if each argument in turn is disturbed."""
    if disturbance in SHAPES:
        if disturbance not in entry.shapes:
            return []
        return _tried(entry, disturbance, entry.good(*SHAPES[disturbance]), "all")
    if entry.only is not None and disturbance not in entry.only:
        return []
    found = []
    for name, value in entry.good().items():
        change = (VALUES | {SAME: laid_out})[disturbance]
        if value.dtype == bool and disturbance not in ("no rows", SAME):
            continue
        found += _tried(entry, disturbance, entry.good() | {name: change(value)}, name)
    return found


def _tried(entry: Call, disturbance: str, arrays: dict, changed: str) -> list[str]:
    where = f"{entry.name}, `{changed}` {disturbance}"
    try:
        result = entry(arrays)
    except Exception as error:
        reason = unclear(error, entry.words)
        return [f"{where}: {reason}"] if reason else []
    if disturbance == SAME:
        same = base_of(entry)
        found = _leaves(result)
        alike = all(np.array_equal(found[k], same[k], equal_nan=True) for k in same)
        return [] if alike else [f"{where}: another result"]
    if disturbance in (*FINITE, "one person", "one question") and (
        disturbance not in entry.undefined
    ):
        base = base_of(entry)
        # What is NaN for good input too (an unknown step, a certificate that there is not) is not
        # meant, and a solution that says that it failed is clear.
        lost = [
            place
            for place, leaf in _leaves(result).items()
            if np.isnan(leaf).any() and not np.isnan(base.get(place, np.zeros(1))).any()
        ]
        return [f"{where}: NaN in {', '.join(lost)}"] if lost else []
    return []


def unclear(error: Exception, words: set[str]) -> str:
    """Why an error is none of the package's clear ones; empty if it is one."""
    text = f"{type(error).__name__}: {str(error)[:150]!r}"
    if isinstance(error, RuntimeError) and "of 1 problem" in str(error):
        return ""  # a solution's status, in words
    if not isinstance(error, ValueError | TypeError):
        return text
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    if not Path(last).is_relative_to(PACKAGE):
        return f"{text}, raised in {last}"
    if not any(re.search(rf"\b{re.escape(word)}\b", str(error)) for word in words):
        return f"{text} names none of {sorted(words)}"
    return ""


def _leaves(result: Any, place: str = "result") -> dict[str, np.ndarray]:
    """Floating arrays of a result, by where they are; failed solutions have none."""
    if isinstance(result, Solution):
        status = np.asarray(result.status)
        if not np.isin(status, (Status.CONVERGED, Status.FIXED_STEPS)).all():
            return {}
        return _leaves(result.value, place)
    if isinstance(result, Mapping):
        pairs = [(f"{place}[{key!r}]", value) for key, value in result.items()]
    elif dataclasses.is_dataclass(result) and not isinstance(result, type):
        fields = [f.name for f in dataclasses.fields(result) if "seconds" not in f.name]
        pairs = [(f"{place}.{name}", getattr(result, name)) for name in fields]
    elif isinstance(result, tuple | list):
        names = getattr(result, "_fields", range(len(result)))
        pairs = [(f"{place}.{k}", value) for k, value in zip(names, result, strict=True)]
    elif isinstance(result, float | np.ndarray | np.generic | jax.Array):
        leaf = np.asarray(result) if not _is_key(result) else np.zeros(0)
        return {place: leaf} if leaf.dtype.kind == "f" else {}
    else:
        return {}
    return {k: v for at, value in pairs for k, v in _leaves(value, at).items()}


def _is_key(value: Any) -> bool:
    return isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)
