"""Missing donor responses, filled in by soft or hard impute before a regression."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..inference.alike import alike
from ..panel import Responses
from ..solvers.completion import hard_impute, soft_impute
from ..solvers.units import power_of_two
from .problem import scaled_columns
from .settings import Imputation, Settings


def fill_gaps(
    answers: Responses,
    weight: Float[Array, " n"] | None,
    rule: Imputation,
    incomplete: int | None = None,
) -> tuple[Float[Array, "n p"], Int[Array, ""]]:
    """Fill the gaps of a matrix by `rule`, in the units that it is in, and return the status.

    **Arguments:**

    - `answers`: (n, p), standardised for soft impute, whose penalty is in standard deviations.
    - `weight`: (n,) weights of the rows; `None` if equal.
    - `rule`: see [`Imputation`][]; its `scale` is not read.
    - `incomplete`: the most columns with gaps, where it is known.

    **Returns:** the matrix, observed entries as given, and the status of the imputation.
    """
    stop = {"tol": rule.tol, "max_steps": rule.max_steps, "incomplete": incomplete}
    values, mask, rank = answers.values, answers.mask, rule.rank_for(answers.shape)
    if rule.method == "hard":
        solution = hard_impute(values, mask, rank, sample_weight=weight, **stop)
    else:
        total = jnp.asarray(values.shape[0], values.dtype)
        if weight is not None:
            # A power of two near the mean weight, so that the unit of the weights does not matter.
            weight = weight / power_of_two(jnp.mean(weight))
            total = jnp.sum(weight)
        penalty = jnp.asarray(rule.penalty, values.dtype) * jnp.sqrt(total)
        solution = soft_impute(values, mask, rank, penalty, sample_weight=weight, **stop)
    return solution.value.completed, solution.status


def impute_donors(
    donors: Responses,
    weight: Float[Array, " n"] | None,
    settings: Settings,
    incomplete: int | None = None,
) -> tuple[Responses, Int[Array, ""]]:
    """Impute donor responses (users x questions), and return the status.

    Every question has the same weight unless `settings.imputation.scale` is `"raw"`.

    **Arguments:**

    - `donors`: (n, p) responses.
    - `weight`: (n,) weights of the users; `None` if equal.
    - `settings`: see [`Imputation`][].
    - `incomplete`: the most columns with gaps, where it is known.

    **Returns:** the completed responses, in the unit of the answers, and the status of the
    imputation. Soft impute draws what it fills in towards the mean, so that columns with many gaps
    come out with a smaller spread: the regressions scale them anew
    ([`question_regression`][], [`user_regression`][]).
    """
    rule = settings.imputation
    if rule.scale == "raw":
        completed, status = fill_gaps(donors, weight, rule, incomplete)
        return Responses.complete(completed), status
    ones = jnp.ones_like(donors.values[:, 0]) if weight is None else weight
    seen = jnp.where(donors.mask, ones[:, None], jnp.zeros_like(donors.values))
    scaled, mean, std = scaled_columns(donors.values, seen, 0.0)
    scaled = Responses(jnp.where(donors.mask, scaled, 0), donors.mask)
    completed, status = fill_gaps(scaled, weight, rule, incomplete)
    # What the imputation leaves in a constant column must not be scaled up to noise.
    counted = donors.mask & jnp.greater(ones, 0)[:, None]
    completed = jnp.where(alike(donors.values, counted, 0, keepdims=True), 0, completed)
    completed = jnp.where(donors.mask, donors.values, mean + std * completed)
    return Responses.complete(completed), status


def impute_both(
    human: Responses,
    twin: Responses,
    weight: Float[Array, " n"] | None,
    settings: Settings,
    incomplete: int | None = None,
) -> tuple[Responses, Responses, Int[Array, ""]]:
    """Apply [`impute_donors`][] to humans and to twins, each by itself.

    **Arguments:**

    - `human`, `twin`: (n, p) the two sides' donor responses.
    - `weight`, `settings`, `incomplete`: as in [`impute_donors`][].

    **Returns:** the completed humans, the completed twins, and the worse status of the two.
    """
    # One after the other in one loop: XLA would otherwise run two loops at once on the few threads
    # of a CPU's pool, which other batches of folds need.
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), human, twin)
    completed, status = jax.lax.map(
        lambda side: impute_donors(side, weight, settings, incomplete), both
    )
    return completed.rows(0), completed.rows(1), jnp.max(status)


@functools.partial(jax.jit, static_argnames="axis")
def impute_donors_of(
    human: Float[Array, "n m"],
    twin: Float[Array, "k l"],
    weight: Float[Array, " n"] | None,
    settings: Settings,
    axis: int,
) -> tuple[Responses, Responses, Int[Array, ""]]:
    """[`impute_both`][] of answers with NaN: a program of its own, which takes longer to compile
    than most regressions on what it fills in, and does not depend on them.

    **Arguments:**

    - `human`: the known answers; `twin`: of their twins, and after them along `axis` (0 for users,
      1 for questions) of the targets.
    - `weight`, `settings`: as in [`impute_donors`][].
    """
    twins, known = Responses.from_nan(twin), slice(None, human.shape[axis])
    donors = twins.rows(known) if axis == 0 else twins.columns(known)
    return impute_both(Responses.from_nan(human), donors, weight, settings)
