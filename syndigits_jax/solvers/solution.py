"""The result of every solver: a value, a status code, a step count and an optimality measure."""

import enum
import html
from collections.abc import Collection
from typing import Generic, TypeVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .boundary import concrete

Value = TypeVar("Value")
Solved = TypeVar("Solved", bound="Solution")


class Status(enum.IntEnum):
    """How a solver ended. Codes can leave `jit`; `raise_on_failure` turns them into errors.

    **Example:**

        >>> from syndigits_jax.solvers import Status, ridge
        >>> solution = ridge([[1.0], [1.0]], [1.0, 2.0], 0.0)  # a constant column, and no penalty
        >>> print(Status(int(solution.status)).name, solution.value.coef)
        SINGULAR [nan]
    """

    CONVERGED = 0
    MAX_STEPS = 1
    NONFINITE = 2
    SINGULAR = 3
    FIXED_STEPS = 4

    @property
    def word(self) -> str:
        """The code as tables show it, such as `max_steps`."""
        return self.name.lower()


_MESSAGES = {
    Status.MAX_STEPS: "reached `max_steps` before its tolerance; raise `max_steps` or `tol`, "
    "or rescale the data (columns of very different size slow every solver down)",
    Status.NONFINITE: "met NaN or infinity; missing responses must be masked (or given zero "
    "`sample_weight`) and replaced by a finite number before the call",
    Status.SINGULAR: "met a singular system; use a positive penalty, or remove duplicated columns",
}


class Solution(eqx.Module, Generic[Value]):
    """The outcome of one solve, or of a batch of them (leading axes of every field).

    **Arguments:**

    - `value`: what was solved for, an array or a pytree of arrays.
    - `status`: a [`Status`][] code per problem.
    - `steps`: iterations taken (0 for closed forms); never more than the solver's `max_steps`.
    - `optimality`: a scale-free distance from the optimum: duality gap, Frank-Wolfe gap or
      residual of the optimality conditions, as each solver's docstring says. 0 is optimal; NaN
      where there is no such certificate.
    - `change`: the last relative change of what the solver stops by, where that is no distance
      from the optimum; NaN (the default) otherwise.
    """

    value: Value
    status: Int[Array, "*batch"]
    steps: Int[Array, "*batch"]
    optimality: Float[Array, "*batch"]
    change: Float[Array, "*batch"]

    def __init__(
        self,
        value: Value,
        status: Int[Array, "*batch"],
        steps: Int[Array, "*batch"],
        optimality: Float[Array, "*batch"],
        change: Float[Array, "*batch"] | None = None,
    ):
        self.value = value
        self.status = status
        self.steps = steps
        self.optimality = optimality
        self.change = jnp.full_like(optimality, jnp.nan) if change is None else change

    def __str__(self) -> str:
        """How it ended, in a line; the whole of it where values are traced."""
        status, steps, optimality = (
            concrete(leaf) for leaf in (self.status, self.steps, self.optimality)
        )
        if status is None or steps is None or optimality is None:
            return repr(self)
        codes, counts = np.unique(status, return_counts=True)
        ended = ", ".join(
            f"{count} {Status(int(code)).word}" if status.size > 1 else Status(int(code)).word
            for code, count in zip(codes, counts, strict=True)
        )
        worst = np.max(optimality, initial=-np.inf)
        most = "at most " if status.size > 1 else ""
        said = f"; optimality {most}{worst:.1e}" if np.isfinite(worst) else ""
        return f"Solution({ended}; {most}{int(np.max(steps, initial=0))} steps{said})"

    def _repr_html_(self) -> str:
        """For notebooks: how it ended, over what it holds."""
        return f"<pre>{html.escape(str(self))}\n{html.escape(repr(self))}</pre>"


def status_code(converged: Array, finite: Array) -> Int[Array, "*batch"]:
    """`CONVERGED` or `MAX_STEPS` from a convergence flag; `NONFINITE` wins where not finite."""
    code = jnp.where(converged, int(Status.CONVERGED), int(Status.MAX_STEPS))
    return jnp.where(finite, code, int(Status.NONFINITE)).astype(jnp.int32)


def raise_on_failure(
    solution: Solved,
    *,
    name: str = "solver",
    accept: Collection[Status] = (Status.CONVERGED, Status.FIXED_STEPS),
) -> Solved:
    """Return `solution` unchanged, or raise if any problem in it ended with another code.

    To be called outside `jit`. **Raises:** `RuntimeError` naming the code, how many problems of
    the batch ended with it, and the likely mistake.

    **Example:**

        >>> from syndigits_jax.solvers import raise_on_failure, ridge
        >>> solution = raise_on_failure(ridge([[0.0], [1.0]], [1.0, 3.0], 0.0))
        >>> print(solution.value.coef.round(2))
        [2.]
    """
    codes = np.atleast_1d(np.asarray(solution.status))
    for code in Status:
        if code in accept:
            continue
        count = int(np.sum(codes == code))
        if count:
            raise RuntimeError(
                f"{name}: {count} of {codes.size} problems {_MESSAGES.get(code, code.name)}"
            )
    return solution
