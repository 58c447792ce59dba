"""What the estimator combines: predictions of a question in one unit, from several sources.

Every component predicts a target in the unit "standard deviations of its answers": 0 is the mean
answer. Questions are left out by a mask, so that one compiled program serves every fold, and what
is left out is never read: changing it changes no prediction, bit for bit.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..calibration.imputation import fill_gaps
from ..calibration.problem import moments_over
from ..calibration.settings import Imputation
from ..panel import Responses
from ..solvers.elastic_net import elastic_net_from_gram
from ..solvers.linear_model import GramStatistics, gram_statistics
from ..solvers.precision import full_precision
from ..solvers.ridge import ridge_from_gram
from ..solvers.simplex_least_squares import simplex_least_squares_from_gram

COMPONENTS = ("Ridge", "ElasticNet", "SyntheticControl", "Twin", "TwinUnexplained", "PersonMean")
"""The components, in the order of every array with a component axis.

- `Ridge` (penalty 1000), `ElasticNet` (alpha .1, ρ .5), `SyntheticControl`: fitted on the twins,
  applied to the humans (Algorithm 1).
- `Twin`: the twin's own answer, standardised.
- `TwinUnexplained`: the twin's own answer times the share of the twins' variance that the ridge
  regression leaves unexplained. The twin's answer adds most where the regression says little.
- `PersonMean`: the person's mean answer to the other questions, each of them standardised.
"""

RIDGE_PENALTY = 1000.0
ALPHA, L1_RATIO = 0.1, 0.5
CONTROL_PENALTY = 1e-6
IMPUTATION = Imputation(method="soft", rank=20, penalty=1.0, max_steps=200)
MOST_DONORS = 800
"""Of more questions only so many, those with most answers, are donors; all help to fill gaps."""

_TOL = 1e-5


class WeightedPanel(eqx.Module):
    """Humans' and twins' answers to all questions, (n, m) each, and (n,) weights of the users."""

    human: Responses
    twin: Responses
    weight: Float[Array, " n"]


class Donors(eqx.Module):
    """Donor questions of both sides, standardised and without gaps.

    - `human`, `twin`: (n, d), of all m questions or of [`MOST_DONORS`][]; columns that are left out
      are 0.
    - `used`: (d,) which columns are donors.
    - `user_mean`: (n,) mean of the humans' own standardised answers, 0 without any.
    - `status`: of the imputation of either side, (2,).
    """

    human: Float[Array, "n d"]
    twin: Float[Array, "n d"]
    used: Bool[Array, " d"]
    user_mean: Float[Array, " n"]
    status: Int[Array, " 2"]


class Components(eqx.Module):
    """Predictions of t targets, or of one without the axis t.

    - `values`: (t, c, n) in standard deviations of the target's answers.
    - `unexplained`: (t,) the ridge regression's training error on the twins, 0 to 1.
    - `status`: (t,) the worst status of the target's three fits.
    """

    values: Float[Array, "*t c n"]
    unexplained: Float[Array, "*t"]
    status: Int[Array, "*t"]


def standardised(answers: Responses, weight: Float[Array, " n"]) -> Float[Array, "n m"]:
    """Columns less their mean over their standard deviation, 0 where missing or constant."""
    seen = jnp.where(answers.mask, weight[:, None], 0)
    values = jnp.where(answers.mask, answers.values, 0)
    mean, std = moments_over(values, seen, 0, 0.0)
    return jnp.where(answers.mask, (values - mean) / std, 0)


def _completed(
    scaled: Responses, weight: Float[Array, " n"]
) -> tuple[Float[Array, "n m"], Int[Array, ""]]:
    """Standardised answers with gaps filled by soft impute, standardised again; and its status."""
    filled, status = fill_gaps(scaled, weight, IMPUTATION)
    known = jnp.any(scaled.mask & (weight > 0)[:, None], axis=0)
    again = standardised(Responses.complete(filled), weight)
    return jnp.where(known[None, :], again, 0), status


@functools.partial(jax.jit, static_argnames=("complete",))
@full_precision
def donors(responses: WeightedPanel, used: Bool[Array, " m"], complete: bool = False) -> Donors:
    """Prepare the donor questions that `used` names; nothing of the others is read.

    **Arguments:**

    - `responses`: of all questions.
    - `used`: (m,) which questions are donors.
    - `complete`: whether no answer to a donor is missing, so that none is imputed; static.
    """
    weight = responses.weight
    seen_human, seen_twin = (side.only(used[None, :]) for side in (responses.human, responses.twin))
    human, twin = standardised(seen_human, weight), standardised(seen_twin, weight)
    count = jnp.sum(seen_human.mask, axis=1)
    user_mean = jnp.sum(human, axis=1) / jnp.maximum(count, 1).astype(human.dtype)
    status = jnp.zeros((2,), jnp.int32)
    if not complete:
        # One after the other in one loop: two loops at once would share a CPU's few threads.
        both = Responses(jnp.stack([human, twin]), jnp.stack([seen_human.mask, seen_twin.mask]))
        filled, status = jax.lax.map(lambda side: _completed(side, weight), both)
        human, twin = filled[0], filled[1]
    if used.shape[0] > MOST_DONORS:
        counted = (weight > 0)[:, None]
        answers = jnp.sum(seen_human.mask & counted, axis=0)
        answers = answers + jnp.sum(seen_twin.mask & counted, axis=0)
        _, most = jax.lax.top_k(jnp.where(used, answers, -1), MOST_DONORS)
        human, twin, used = human[:, most], twin[:, most], used[most]
    return Donors(human, twin, used, user_mean, status)


@jax.jit
@full_precision
def components(responses: WeightedPanel, prepared: Donors, targets: Int[Array, " t"]) -> Components:
    """Predict the questions at positions `targets` from donors; only their twins are read.

    **Arguments:**

    - `responses`: of all questions.
    - `prepared`: from [`donors`][], the targets not among them.
    - `targets`: (t,) positions.
    """
    twin = responses.twin.columns(targets)
    own = standardised(twin, responses.weight)

    def one(item: tuple[Array, Array]) -> Components:
        answer, known = item
        weight = jnp.where(known, responses.weight, 0)
        moments = gram_statistics(prepared.twin, answer, weight)
        return _predict(moments, prepared, answer, known, weight)

    return jax.lax.map(one, (own.T, twin.mask.T))


def _predict(moments: GramStatistics, prepared: Donors, answer, known, weight) -> Components:
    total = jnp.maximum(jnp.sum(weight), jnp.finfo(weight.dtype).tiny)
    ridge = ridge_from_gram(moments, RIDGE_PENALTY)
    net = elastic_net_from_gram(moments, ALPHA, L1_RATIO, tol=_TOL)
    control = simplex_least_squares_from_gram(
        moments.without_intercept(), CONTROL_PENALTY, support=prepared.used, tol=_TOL
    )
    fitted = prepared.twin @ ridge.value.coef + ridge.value.intercept
    unexplained = jnp.sum(weight * (answer - fitted) ** 2) / total
    values = jnp.stack(
        [
            prepared.human @ ridge.value.coef,
            prepared.human @ net.value.coef,
            prepared.human @ control.value,
            answer,
            answer * unexplained,
            prepared.user_mean,
        ]
    )
    status = jnp.stack([ridge.status, net.status, control.status])
    return Components(values, unexplained, jnp.max(status))


class Moments(eqx.Module):
    """What the pooled least squares needs of a question: (t, c, c) and (t, c), and its weight.

    - `gram`, `cross`: means over the people who answered, of products of components with each
      other and with the standardised truth.
    - `size`: (t,) the weight of a question: 0 without answers, near 1 with many.
    """

    gram: Float[Array, "t c c"]
    cross: Float[Array, "t c"]
    size: Float[Array, " t"]


FEW_ANSWERS = 20.0
"""A question with so many answers counts half as much as one that everyone answered."""


@jax.jit
@full_precision
def truth_moments(
    found: Components,
    truth: Responses,
    weight: Float[Array, " n"],
) -> Moments:
    """Moments of components with the targets' human answers.

    **Arguments:**

    - `found`: of t targets.
    - `truth`: (n, t) their human answers.
    - `weight`: (n,) weights of the users.
    """
    scaled = standardised(truth, weight)
    seen = jnp.where(truth.mask, weight[:, None], 0)
    total, square = jnp.sum(seen, axis=0), jnp.sum(seen**2, axis=0)
    share = (seen / jnp.where(total > 0, total, 1)[None, :]).T
    weighted = found.values * share[:, None, :]
    gram = jnp.einsum("tcn,tdn->tcd", weighted, found.values)
    cross = jnp.einsum("tcn,nt->tc", weighted, scaled)
    varies = jnp.sum(seen * scaled**2, axis=0) > 0
    answers = total * (total / jnp.where(square > 0, square, 1))  # Kish's effective number
    size = jnp.where(varies, answers / (answers + FEW_ANSWERS), 0)
    return Moments(gram, cross, size)
