"""Predictive intervals for people's answers to new questions, conformal over questions."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..calibration.calibrate import calibrate_question
from ..calibration.calibrators import Calibrator
from ..calibration.inputs import answer_matrices, check_labels, check_method, check_sizes
from ..calibration.settings import Settings
from ..inference.conformal import (
    Interval,
    hierarchical_jackknife_plus,
    hierarchical_quantile,
    twin_scale,
)
from ..solvers.boundary import Numbers

SMALLEST_SCALE = 0.05
"""Of a question whose twins agree, relative to the median question's standard deviation."""


def question_intervals(
    method: Calibrator,
    human: Numbers,
    twin: Numbers,
    *,
    alpha: float = 0.1,
    kind: str = "split",
    sample_weight: Numbers | None = None,
    settings: Settings | None = None,
    seed: int = 0,
) -> tuple[Float[Array, "n q"], Interval]:
    """Calibrated answers to q new questions, with an interval for every person's answer.

    The known questions are held out and predicted. The errors of these predictions, in units of the
    standard deviation of the twins' answers to the question, decide the width. An interval holds
    the answer of a person drawn at random to a question drawn like the known ones:

    - `"split"`: with probability >= 1 - alpha. A random half of the known questions predicts the
      other half and the new ones. One fit per question, but from half the donors.
    - `"jackknife+"`: with probability >= 1 - 2 alpha, in practice about 1 - alpha. As many fits as
      known questions, each without one of them, predict it and the new ones.

    No condition on the method or on how people answer is needed, only that new questions are
    exchangeable with the known ones: for questions chosen because they are hard, or taken from
    another survey, intervals may be too narrow. The probability is not conditional on a question:
    intervals hold more of one question's answers and fewer of another's.

    **Arguments:**

    - `method`, `human`, `twin`, `sample_weight`, `settings`: as in [`calibrate_question`][].
    - `alpha`: the share of answers that intervals may miss. Ends are infinite with fewer than
      1/alpha - 1 questions to learn from.
    - `kind`: `"split"` or `"jackknife+"`, as above.
    - `seed`: decides the halves of `"split"`.

    **Returns:** predictions (n, q) and an [`Interval`][] of that shape. With `"split"` the
    predictions are those of half the donors; with `"jackknife+"` of all, and not always inside.

    **Raises:** `ValueError` as [`calibrate_question`][], for an `alpha` outside (0, 1), a `kind`
    that does not exist, or fewer than four known questions (three for the jackknife) that both
    people and twins have answered.

    **Example:**

        >>> from syndigits_jax import Ridge
        >>> from syndigits_jax.datasets import sample_panel
        >>> from syndigits_jax.estimation import question_intervals
        >>> panel = sample_panel()
        >>> prediction, interval = question_intervals(Ridge(10.0), panel.human[:, :-1], panel.twin)
        >>> print(prediction.shape, (interval.lower < interval.upper).all())
        (200, 1) True
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")
    if kind not in ("split", "jackknife+"):
        raise ValueError(f"kind must be 'split' or 'jackknife+', got {kind!r}")
    check_method(method)
    check_labels(human, twin, 0)
    people, twins = answer_matrices(human=human, twin=twin)
    check_sizes(people.shape, "human")

    # Columns are chosen in NumPy, without a dispatch for each.
    human_values, twin_values = np.asarray(people), np.asarray(twins)

    def calibrate(donors: Int[np.ndarray, " d"], targets: Int[np.ndarray, " t"]):
        """Predictions (t, n)."""
        columns = twin_values[:, np.concatenate([donors, targets])]
        options = {"sample_weight": sample_weight, "settings": settings}
        return calibrate_question(method, human_values[:, donors], columns, **options).prediction.T

    m = people.shape[1]
    known, new = np.arange(m), np.arange(m, twins.shape[1])
    if kind == "jackknife+":  # first, for its checks
        prediction = calibrate_question(
            method, people, twins, sample_weight=sample_weight, settings=settings
        ).prediction
    if not len(new):
        raise ValueError(
            f"twin has {twins.shape[1]} columns and human {m}: twin must hold the human questions "
            "and, after them, at least one new question"
        )
    usable = _usable(people, twins, 4 if kind == "split" else 3)
    scale = _scale(twins)
    if kind == "split":
        chosen = np.random.default_rng(seed).permutation(usable)
        judged = np.sort(chosen[: len(chosen) // 2])
        donors = np.setdiff1d(known, judged)
        predicted = calibrate(donors, np.concatenate([judged, new]))
        residual, mask = _residuals(predicted[: len(judged)], people[:, judged].T, scale[judged])
        width = hierarchical_quantile(residual, mask, alpha) * scale[m:][:, None]
        prediction = predicted[len(judged) :]
        return prediction.T, Interval((prediction - width).T, (prediction + width).T)
    residuals, masks, without = [], [], []
    for j in usable:
        predicted = calibrate(np.delete(known, j), np.concatenate([[j], new]))
        residual, mask = _residuals(predicted[:1], people[:, j][None, :], scale[j][None])
        residuals.append(residual[0])
        masks.append(mask[0])
        without.append(predicted[1:])
    held_out = jnp.stack(residuals), jnp.stack(masks)
    ends = [
        _jackknife(jnp.stack([w[k] for w in without]), *held_out, scale[m + k], alpha)
        for k in range(len(new))
    ]
    lower, upper = jnp.stack([e.lower for e in ends], 1), jnp.stack([e.upper for e in ends], 1)
    return prediction, Interval(lower, upper)


_jackknife = jax.jit(hierarchical_jackknife_plus, static_argnames=("alpha",))


def _usable(human: Array, twin: Array, least: int) -> Int[np.ndarray, " t"]:
    """Known questions that can be held out."""
    m = human.shape[1]
    answered = ~np.isnan(np.asarray(human)).all(axis=0) & ~np.isnan(twin[:, :m]).all(axis=0)
    usable = np.flatnonzero(answered)
    if len(usable) < least:
        raise ValueError(
            f"human has {len(usable)} questions that can be held out; at least {least} are needed"
        )
    return usable


def _scale(twin: Float[Array, "n k"]) -> Float[Array, " k"]:
    """The unit of each question, the same function for all, as exchangeability requires."""
    tiny = float(jnp.finfo(twin.dtype).tiny)
    floor = SMALLEST_SCALE * float(jnp.median(twin_scale(twin.T, floor=tiny)))
    return twin_scale(twin.T, floor=max(floor, tiny))


def _residuals(
    prediction: Float[Array, "t n"], truth: Float[Array, "t n"], scale: Float[Array, " t"]
) -> tuple[Float[Array, "t n"], Bool[Array, "t n"]]:
    """Scale-free absolute residuals, 0 where there is no answer, and where there is one."""
    mask = ~jnp.isnan(truth)
    return jnp.where(mask, jnp.abs(truth - prediction) / scale[:, None], 0), mask
