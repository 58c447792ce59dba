"""Components for new users, who answered nothing: everything is learnt from their twins.

In standardised answers a linear map predicts all of a person's answers from all of the twin's. With
ridge penalties this is also what ridge regression of a new user on the other users gives (section 6
of the paper): fitted on the twins and applied to the humans, both are Zₕᵀ Zₜ (Zₜᵀ Zₜ + λ)⁻¹.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..calibration.problem import moments_over
from ..solvers.precision import full_precision
from .components import FEW_ANSWERS, Moments, WeightedPanel

USER_COMPONENTS = ("Map", "MapStronger", "MapStrongest", "Twin", "TwinByQuestion", "TwinMean")
"""The components, in the order of every array with a component axis.

- `Map`, `MapStronger`, `MapStrongest`: the linear map, penalty .1, 1 and 10 times the sum of
  weights.
- `Twin`: the twin's own standardised answer.
- `TwinByQuestion`: the same times how well twins predict people on this question, shrunk.
- `TwinMean`: the mean of the twin's standardised answers.
"""

_PENALTIES = (0.1, 1.0, 10.0)
_SHRINK = 50.0  # users that a question's own slope must outweigh


@jax.jit
@full_precision
def user_components(
    responses: WeightedPanel, used: Bool[Array, " n"]
) -> tuple[Float[Array, "c n m"], Float[Array, " m"], Float[Array, " m"]]:
    """Predict all users' answers from their twins', learnt from the users that `used` names.

    **Returns:** predictions in standard deviations of each question's answers, and the humans' mean
    and standard deviation of every question among the users who are used.
    """
    weight = jnp.where(used, responses.weight, 0)
    seen = jnp.where(responses.human.mask, weight[:, None], 0)
    human = jnp.where(seen > 0, responses.human.values, 0)
    mean, std = moments_over(human, seen, 0, 0.0)
    scaled = jnp.where(seen > 0, (human - mean) / std, 0)
    asked = jnp.where(responses.twin.mask, weight[:, None], 0)
    twin = jnp.where(responses.twin.mask, responses.twin.values, 0)
    twin_mean, twin_std = moments_over(twin, asked, 0, 0.0)
    answer = jnp.where(responses.twin.mask, (twin - twin_mean) / twin_std, 0)

    total = jnp.sum(weight)
    answered = jnp.sum(seen, axis=0)
    share = total / jnp.where(answered > 0, answered, 1)
    gram = answer.T @ (weight[:, None] * answer)
    cross = (answer.T @ (weight[:, None] * scaled)) * share[None, :]
    eye = jnp.eye(gram.shape[0], dtype=gram.dtype)
    maps = [
        answer @ jnp.linalg.solve(gram + penalty * total * eye, cross) for penalty in _PENALTIES
    ]
    both = jnp.sum(jnp.where(seen > 0, asked, 0), axis=0)  # as many people as they count for
    slope = jnp.sum(weight[:, None] * scaled * answer, axis=0) / jnp.where(both > 0, both, 1)
    own = answer * (slope * both / (both + _SHRINK))[None, :]
    count = jnp.sum(responses.twin.mask, axis=1, keepdims=True).astype(answer.dtype)
    level = jnp.sum(answer, axis=1, keepdims=True) / jnp.maximum(count, 1)
    values = jnp.stack([*maps, answer, own, jnp.broadcast_to(level, answer.shape)])
    return values, mean[0], std[0]


@jax.jit
@full_precision
def user_moments(
    values: Float[Array, "c n m"],
    responses: WeightedPanel,
    mean: Float[Array, " m"],
    std: Float[Array, " m"],
) -> Moments:
    """Moments of every user's components with the person's standardised answers.

    **Arguments:**

    - `values`: (c, n, m) components, and `mean`, `std`: (m,) of every question's answers, from
      [`user_components`][].
    - `responses`: of all users. A user counts as often as their weight says.
    """
    mask = responses.human.mask
    scaled = jnp.where(mask, (responses.human.values - mean[None, :]) / std[None, :], 0)
    count = jnp.sum(mask, axis=1).astype(scaled.dtype)
    share = jnp.where(mask, 1 / jnp.maximum(count, 1)[:, None], 0)
    gram = jnp.einsum("cnm,nm,dnm->ncd", values, share, values)
    cross = jnp.einsum("cnm,nm,nm->nc", values, share, scaled)
    size = responses.weight * count / (count + FEW_ANSWERS)
    return Moments(gram, cross, jnp.where(count > 1, size, 0))
