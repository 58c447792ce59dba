"""A completion in units of its own size, common to all its solvers, and its certificate."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from .boundary import Numbers, as_float, as_floats, as_mask
from .checks import check_completion, check_penalty, check_scalar
from .low_rank import Factors, block_width, check_rank, start_block, subspace_step
from .units import largest, power_of_two


class Problem(eqx.Module):
    """A completion in units of its own size.

    - `given`: (n, m) as it was given, 0 where not observed.
    - `x`: `given` over `unit`, a power of two.
    - `root`: (n,) roots of the weights over `root_unit`, a power of two; `None` without weights.
    """

    given: Float[Array, "n m"]
    mask: Bool[Array, "n m"]
    x: Float[Array, "n m"]
    unit: Float[Array, ""]
    weight: Float[Array, " n"] | None
    root: Float[Array, " n"] | None
    root_unit: Float[Array, ""]

    @property
    def data(self) -> Float[Array, "n m"]:
        """The matrix that is fitted: rows times the roots of their weights."""
        return self.x if self.root is None else self.x * self.root[:, None]

    @property
    def relative_weight(self) -> Float[Array, " n"] | None:
        """The weights over the square of `root_unit`."""
        return None if self.weight is None else self.weight / self.root_unit**2

    @property
    def data_unit(self) -> Float[Array, ""]:
        """The unit of singular values, and of penalties on them."""
        return self.unit * self.root_unit


def prepare(
    x: Numbers, mask: Numbers, sample_weight: Numbers | None, init: Numbers | None, rank: int
) -> tuple[Problem, Float[Array, "n m"] | None]:
    """The arguments checked and in units of their size; `init` too."""
    x, sample_weight, init = as_floats(x=x, sample_weight=sample_weight, init=init)
    mask = as_mask("mask", mask)
    check_completion(x, mask, sample_weight, init)
    check_rank(rank, x.shape)
    given = jnp.where(mask, x, 0)
    counts = jnp.ones(x.shape[0], bool) if sample_weight is None else sample_weight > 0
    size = jnp.max(jnp.abs(jnp.where(counts[:, None], given, 0)))
    if init is not None:
        init = lax.stop_gradient(jnp.where(mask, 0, init))
        size = jnp.maximum(size, jnp.max(jnp.abs(jnp.where(counts[:, None], init, 0))))
    unit = power_of_two(size)
    root, root_unit = None, jnp.ones((), x.dtype)
    if sample_weight is not None:
        root = jnp.sqrt(sample_weight)
        root_unit = largest(root)
        root = root / root_unit
    init = None if init is None else init / unit
    return Problem(given, mask, given / unit, unit, sample_weight, root, root_unit), init


def penalty_of(penalty: Numbers, problem: Problem) -> Float[Array, ""]:
    """The penalty, checked, in the problem's units."""
    number = as_float("penalty", penalty).astype(problem.x.dtype)
    check_scalar("penalty", number)
    check_penalty("penalty", penalty)
    return number / problem.unit / problem.root_unit


def tolerance(tol: Numbers, dtype) -> Float[Array, ""]:
    """`tol`, or the smallest relative change that the floating-point type resolves."""
    return jnp.maximum(as_float("tol", tol).astype(dtype), 8 * jnp.finfo(dtype).eps)


def column_mean_start(
    x: Float[Array, "n m"],
    mask: Bool[Array, "n m"],
    sample_weight: Float[Array, " n"] | None = None,
) -> Float[Array, "n m"]:
    """`x` with missing entries replaced by the column's observed mean (0 for an empty column)."""
    weight = mask.astype(x.dtype)
    if sample_weight is not None:
        weight = weight * sample_weight[:, None]
    count = jnp.sum(weight, axis=0)
    total = jnp.sum(weight * jnp.where(mask, x, 0), axis=0)
    mean = jnp.where(count > 0, total / jnp.where(count > 0, count, 1), 0)
    return jnp.where(mask, x, mean[None, :])


def root_mean_square(problem: Problem) -> Float[Array, ""]:
    """Root mean square of the observed entries, rows weighted."""
    count = problem.mask.astype(problem.x.dtype)
    if problem.relative_weight is not None:
        count = count * problem.relative_weight[:, None]
    total = jnp.sum(count)
    squares = jnp.sum(count * jnp.where(count > 0, problem.x, 0) ** 2)
    return jnp.sqrt(squares / jnp.where(total > 0, total, 1))


def duality_gap(problem: Problem, penalty: Float[Array, ""], factors: Factors) -> Float[Array, ""]:
    """Relative duality gap of ½‖P_Ω(X - M)‖² + penalty·‖M‖_* at M, without a bound on the rank.

    The dual maximises ⟨Z, X⟩ - ½‖Z‖² over Z on the observed entries with ‖Z‖₂ <= penalty. At M it
    is tried at Z = c·P_Ω(X - M) with the largest c <= 1 that is allowed; the gap is then the sum
    below. Relative to ½‖P_Ω X‖², the objective at zero.
    """
    problem, penalty, factors = lax.stop_gradient((problem, penalty, factors))
    data, fitted = problem.data, factors.matrix()
    residual = jnp.where(problem.mask, data - fitted, 0)
    # At an optimum the fitted directions are among the leading ones of the residual.
    width = block_width(factors.values.shape[0], data.shape)
    block = start_block(residual, width, 4, near=factors.right)
    norm = subspace_step(residual, block).values[0]
    share = jnp.where(norm > penalty, penalty / jnp.where(norm > 0, norm, 1), 1)
    size = 0.5 * jnp.sum(data**2)
    left_over = 0.5 * (1 - share) ** 2 * jnp.sum(residual**2)
    nuclear = jnp.where(jnp.isinf(penalty), 0, penalty) * jnp.sum(factors.values)
    gap = left_over + jnp.maximum(nuclear - share * jnp.sum(residual * fitted), 0)
    return jnp.where(size == 0, 0, gap / jnp.where(size == 0, 1, size))
