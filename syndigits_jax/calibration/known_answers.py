"""Few-shot: correct a prediction by a few known human answers to the target.

Every calibrator predicts the target without them; the known answers then correct that prediction.
So all methods use them alike, and no method has to weigh people against twins itself.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..solvers.precision import full_precision
from ..solvers.ridge import ridge
from .settings import Settings


@jax.jit
@full_precision
def learn_from_answers(
    prediction: Float[Array, "s t"],
    donors: Float[Array, "s p"],
    known: Float[Array, "s t"],
    weight: Float[Array, "s t"],
    settings: Settings,
) -> Float[Array, "s t"]:
    """Correct zero-shot predictions by known answers; all in the scaled units of the problem.

    The result is, per target with zero-shot prediction f, donors x and known answers y, the
    posterior mean of y in

        y = f + level + slope · f + x · w + noise,  level ~ N(0, a σ²), slope ~ N(0, b σ²),
                                                    w ~ N(0, c σ² / p · I),  noise ~ N(0, σ²)

    where a, b, c are the `level`, `slope` and `donors` of `settings.few_shot`. That is one ridge
    regression, whose result does not depend on σ. Without any known answer the correction is 0;
    with many answers the result approaches a regression on the humans alone.

    **Arguments:**

    - `prediction`: (s, t) the zero-shot predictions f.
    - `donors`: (s, p) the humans' donors x.
    - `known`: (s, t) the known answers y, finite everywhere.
    - `weight`: (s, t) their weights, at least 0, and 0 where the answer is not known.
    - `settings`: holds the prior variances a, b and c.

    **Returns:** (s, t) the corrected predictions.
    """
    prior, dtype = settings.few_shot, donors.dtype
    level, slope, spread = (
        jnp.sqrt(jnp.asarray(variance, dtype))
        for variance in (prior.level, prior.slope, prior.donors / donors.shape[1])
    )
    features = spread * donors
    constant = jnp.full_like(prediction[:, :1], level)

    def correction(column):
        f, y, w = column
        design = jnp.concatenate([constant, slope * f[:, None], features], axis=1)
        residual = jnp.where(w > 0, y - f, 0)
        return ridge(design, residual, 1.0, sample_weight=w, fit_intercept=False).value(design)

    # One by one: batched factorisations on several threads can starve a CPU's thread pool.
    return prediction + jax.lax.map(correction, (prediction.T, known.T, weight.T)).T
