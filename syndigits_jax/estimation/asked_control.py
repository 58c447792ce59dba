"""A control without twins where some people have answered the question: learn from those.

It does not apply to a question that nobody has answered (see
[`learned_control`][syndigits_jax.estimation.learned_control]). It says what twins must beat where
asking some people is an alternative.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ..calibration.problem import moments_over
from ..evaluation.holdout_result import HoldOut
from ..panel import Panel, Responses
from ..results.keys import Key
from ..solvers.boundary import Numbers
from ..solvers.precision import full_precision
from ..solvers.ridge import ridge, ridge_loo_residuals
from .components import WeightedPanel, standardised
from .grouping import random_folds
from .learned_features import people_features
from .questions import responses_of

ASKED = "AskedControl"
"""The control's name in a [`HoldOut`][syndigits_jax.evaluation.HoldOut]."""

PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 1e4)
"""Candidate penalties, where other answers are in standard deviations."""


@functools.partial(jax.jit, static_argnames=("folds",))
@full_precision
def _predictions(
    responses: WeightedPanel,
    people: Float[Array, "n c"],
    fold: Int[Array, " n"],
    targets: Int[Array, " t"],
    folds: int,
) -> Float[Array, "t n"]:
    """Every person's answers to the targets from the people of other folds, each on its scale."""
    human, weight = responses.human, responses.weight
    z = standardised(human, weight)
    penalties = jnp.asarray(PENALTIES, z.dtype)

    def one(target: Int[Array, ""]) -> Float[Array, " n"]:
        seen = human.mask & (jnp.arange(z.shape[1]) != target)[None, :]
        x = _filled(z, seen)
        x = jnp.concatenate([x, people], axis=1)
        answers = Responses(human.values[:, target], human.mask[:, target])

        def without(left_out: Int[Array, ""]) -> Float[Array, " n"]:
            w = jnp.where(answers.mask & (fold != left_out), weight, 0)
            y = jnp.where(w > 0, answers.values, 0)
            mean, sd = moments_over(y[:, None], w[:, None], 0, 0.0)
            scaled = jnp.where(w > 0, (y - mean[0]) / sd[0], 0)
            errors = ridge_loo_residuals(x, scaled, penalties, sample_weight=w).value
            best = jnp.argmin(jnp.where((w > 0)[None, :], errors, 0) ** 2 @ w)
            found = ridge(x, scaled, penalties[best], sample_weight=w).value(x)
            return jnp.where(jnp.any(w > 0), mean[0] + sd[0] * found, jnp.nan)

        by_fold = lax.map(without, jnp.arange(folds))
        return jnp.take_along_axis(by_fold, fold[None, :], axis=0)[0]

    return lax.map(one, targets)


def _filled(z: Float[Array, "n m"], seen: Bool[Array, "n m"]) -> Float[Array, "n m"]:
    """Standardised answers, 0 where not seen; and where missing the person's mean."""
    some = jnp.where(seen, z, 0)
    count = jnp.sum(seen, axis=1, keepdims=True).astype(z.dtype)
    return jnp.where(seen, z, jnp.sum(some, axis=1, keepdims=True) / jnp.maximum(count, 1))


def hold_out_asked_control(
    panel: Panel,
    *,
    covariates: Numbers | None = None,
    sample_weight: Numbers | None = None,
    folds: int = 5,
    key: Key = 0,
) -> HoldOut:
    """People's answers to each question from those of other people to it, without any twin.

    People are left out in random folds. The others' answers to the question are regressed on their
    answers to all other questions, and on covariates, by ridge regression with a penalty chosen by
    leave-one-out errors. A person's own answer to a question has no part in its prediction, bit for
    bit. Missing other answers are filled by the person's mean.

    **Arguments:**

    - `panel`: of which the human answers are read.
    - `covariates`: (n, c) numbers that describe people, NaN where missing.
    - `sample_weight`: (n,) weights of the people.
    - `folds`: how many folds of people, at least two.
    - `key`: decides the folds; a JAX random key or an integer.

    **Returns:** a [`HoldOut`][syndigits_jax.evaluation.HoldOut] with the prediction
    `"AskedControl"`, a row per question with human answers.

    **Raises:** `ValueError` for covariates or weights that do not fit, fewer than two folds or more
    than people.

    **Example:**

        >>> from syndigits_jax.datasets import sample_panel
        >>> from syndigits_jax.estimation import hold_out_asked_control
        >>> panel = sample_panel().take(users=slice(0, 50), questions=slice(0, 6))
        >>> print(hold_out_asked_control(panel).predictions["AskedControl"].shape)
        (6, 50)
    """
    if not 2 <= folds <= panel.n:
        raise ValueError(f"`folds` must be from 2 to the {panel.n} people, got {folds}")
    responses = responses_of(panel, sample_weight)
    dtype = responses.human.dtype
    known = np.flatnonzero(panel.human_mask.any(axis=0))
    if not known.size:
        raise ValueError("`panel` has no human answer")
    people = jnp.zeros((panel.n, 0), dtype)
    if covariates is not None:
        given = Responses.from_nan(jnp.asarray(people_features(panel.n, covariates), dtype))
        people = standardised(given, responses.weight)
    fold = jnp.asarray(random_folds(panel.n, folds, key))
    found = _predictions(responses, people, fold, jnp.asarray(known), folds=folds)
    low, high = (np.nan_to_num(e, nan=n) for e, n in ((panel.low, -np.inf), (panel.high, np.inf)))
    prediction = np.clip(np.asarray(found), low[known][:, None], high[known][:, None])
    return HoldOut("question", panel, known, panel.human[:, known].T, {ASKED: prediction})
