"""Known human answers to a target: they correct its estimate, and narrow its mean's interval."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..calibration.known_answers import learn_from_answers
from ..calibration.settings import FewShot, Settings

NOISE = 0.8
"""Variance of an answer about its prediction, relative to that of the question's answers."""


def corrected(
    prediction: Float[np.ndarray, "t n"],
    donors: Float[np.ndarray, "n k"],
    answers: Float[np.ndarray, "n t"],
    sd: Float[np.ndarray, " t"],
    level_error: Float[np.ndarray, " t"],
    weight: Float[np.ndarray, " n"],
) -> tuple[Float[np.ndarray, "t n"], Float[np.ndarray, " t"]]:
    """Predictions corrected by known answers, and by how much their means' errors shrink.

    The correction is the posterior mean of
    [`learn_from_answers`][syndigits_jax.calibration.known_answers.learn_from_answers], in which the
    prior variance of the level is that of the levels' own errors over the known questions.

    **Arguments:**

    - `prediction`: (t, n) of the targets; `donors`: (n, k) standardised answers to other questions.
    - `answers`: (n, t) known answers to the targets, NaN where there is none.
    - `sd`: (t,) estimated standard deviation of the targets' answers.
    - `level_error`: (t,) root mean square error of a mean, in units of the answers.
    - `weight`: (n,) weights of the users.
    """
    known = ~np.isnan(answers)
    factor = np.ones(len(prediction))
    out = prediction.copy()
    for i in np.flatnonzero(known.any(axis=0)):
        unit = sd[i] if sd[i] > 0 else 1.0
        prior = float((level_error[i] / unit) ** 2) / NOISE
        settings = Settings(few_shot=FewShot(level=prior))
        w = known[:, i] * weight
        dtype = donors.dtype
        centre = float(np.average(prediction[i], weights=weight))
        change = learn_from_answers(
            jnp.asarray((prediction[i] - centre) / unit, dtype)[:, None],
            jnp.asarray(donors),
            jnp.asarray((np.where(known[:, i], answers[:, i], centre) - centre) / unit, dtype)[
                :, None
            ],
            jnp.asarray(w, dtype)[:, None],
            settings,
        )
        out[i] = centre + unit * np.asarray(change[:, 0], np.float64)
        factor[i] = 1 / np.sqrt(1 + prior * w.sum())
    return out, factor
