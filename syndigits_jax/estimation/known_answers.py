"""Known human answers to a target: they correct its estimate, and narrow its mean's interval."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..calibration.known_answers import learn_from_answers
from ..calibration.settings import FewShot, Settings
from .people import effective_weight

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
    prior variance of the level is that of the levels' own errors over the known questions, or
    larger where the answers are farther off.

    **Arguments:**

    - `prediction`: (t, n) of the targets; `donors`: (n, k) standardised answers to other questions.
    - `answers`: (n, t) known answers to the targets, NaN where there is none.
    - `sd`: (t,) estimated standard deviation of the targets' answers.
    - `level_error`: (t,) root mean square error of a mean, in units of the answers.
    - `weight`: (n,) weights of the users, in any unit.
    """
    known = ~np.isnan(answers)
    factor = np.ones(len(prediction))
    out = prediction.copy()
    for i in np.flatnonzero(known.any(axis=0)):
        unit = sd[i] if sd[i] > 0 else 1.0
        w = effective_weight(known[:, i] * weight)
        count = w.sum()
        if not count > 0:
            continue
        residual = np.where(known[:, i], answers[:, i] - prediction[i], 0)
        noise = NOISE * float(unit) ** 2
        # Answers far from the prediction say that the level is worse than those of known questions.
        seen = (np.sum(w * residual) / count) ** 2 - noise / count
        variance = max(float(level_error[i]) ** 2, float(seen))
        prior = float(variance / noise)
        settings = Settings(few_shot=FewShot(level=prior))
        dtype = donors.dtype
        centre = float(np.average(prediction[i], weights=weight))
        answered = np.where(known[:, i], answers[:, i], centre)
        columns = (prediction[i] - centre) / unit, (answered - centre) / unit, w
        z, y, people = (jnp.asarray(column, dtype)[:, None] for column in columns)
        change = learn_from_answers(z, jnp.asarray(donors), y, people, settings)
        out[i] = centre + unit * np.asarray(change[:, 0], np.float64)
        larger = np.sqrt(variance) / level_error[i] if level_error[i] > 0 else 1.0
        factor[i] = larger / np.sqrt(1 + prior * count)
    return out, factor


def with_answers(
    prediction: Float[np.ndarray, "t n"],
    answers: Float[np.ndarray, "n t"],
    weight: Float[np.ndarray, " n"],
) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"]]:
    """Means in which known answers stand for themselves, and the share of people without one.

    **Arguments:** as in [`corrected`][].
    """
    known = ~np.isnan(answers).T & (weight > 0)
    mean = np.average(np.where(known, answers.T, prediction), axis=1, weights=weight)
    return mean, np.average(~known, axis=1, weights=weight)
