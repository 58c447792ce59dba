"""Calibrated draws: answers a new question could get, with the conditional variance restored.

A calibrated prediction is a conditional mean, and a population of means is flatter than the
population it stands for. Draws add back what the mean leaves out, as seen on the questions whose
human answers are known: their hold-out residuals, in units known without the target's human
answers. A draw has two parts:

- one *offset* for the whole question, since residuals of one question share their level;
- one residual *within* the question for every person, taken from people whose prediction had a
  similar position: near the end of a scale residuals are small and skewed, and where predictions
  are shrunken towards the mean so far away from it are the residuals.
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..inference.resampling import PRNGKey
from ._holdout_result import HoldOut
from .metrics import crps_from_draws, mae, sd_ratio, summarize


class ResidualPool(eqx.Module):
    """Residuals of known questions, scale-free; missing ones at the end.

    - `offset`: (t,) mean residual of each question; `questions` how many there are.
    - `position`: (c,) position of each cell's prediction, ascending, and `within` (c,) its residual
      about the question's offset; `cells` how many there are.
    """

    offset: Float[Array, " t"]
    questions: Int[Array, ""]
    position: Float[Array, " c"]
    within: Float[Array, " c"]
    cells: Int[Array, ""]


def residual_pool(
    prediction: Float[Array | np.ndarray, "t s"],
    truth: Float[Array | np.ndarray, "t s"],
    scale: Float[Array | np.ndarray, " t"],
    position: Float[Array | np.ndarray, "t s"],
) -> ResidualPool:
    """Pool out-of-sample residuals of t questions (rows) with s cells each.

    - `truth`: NaN where missing; a question without any answer takes no part.
    - `scale`: the unit of each question's residuals, such as [`residual_scale`][].
    - `position`: where the prediction lies, comparable over questions ([`positions`][]).
    """
    prediction, truth = jnp.asarray(prediction), jnp.asarray(truth)
    mask = ~jnp.isnan(truth) & ~jnp.isnan(prediction)
    residual = jnp.where(mask, truth - prediction, 0) / jnp.asarray(scale)[:, None]
    count = jnp.sum(mask, axis=1, dtype=residual.dtype)
    known = count > 0
    offset = jnp.sum(residual, axis=1) / jnp.where(known, count, 1)
    within = residual - offset[:, None]
    place = jnp.where(mask, jnp.asarray(position), jnp.inf).ravel()
    order = jnp.argsort(place)
    return ResidualPool(
        offset=offset[jnp.argsort(~known, stable=True)],
        questions=jnp.sum(known, dtype=jnp.int32),
        position=place[order],
        within=within.ravel()[order],
        cells=jnp.sum(mask, dtype=jnp.int32),
    )


def positions(
    prediction: Float[Array | np.ndarray, "*t s"],
    scale: Float[Array | np.ndarray, "*t"],
    low: Float[Array | np.ndarray, "*t"],
    high: Float[Array | np.ndarray, "*t"],
) -> Float[Array, "*t s"]:
    """Where predictions lie: as a share of the answer range, or else about the question's mean.

    The latter, in units of `scale`, if a range is unknown (NaN).
    """
    prediction, scale, low, high = map(jnp.asarray, (prediction, scale, low, high))
    centred = prediction - jnp.nanmean(prediction, axis=-1, keepdims=True)
    relative = centred / scale[..., None]
    share = (prediction - low[..., None]) / (high - low)[..., None]
    return jnp.where(jnp.isnan(high - low)[..., None], relative, share)


def calibrated_draws(
    key: PRNGKey,
    prediction: Float[Array, " s"],
    residuals: ResidualPool | float | Float[Array, "*s"],
    num_draws: int,
    *,
    scale: float | Float[Array, ""] = 1.0,
    position: Float[Array, " s"] | None = None,
    low: float | Float[Array, ""] = -jnp.inf,
    high: float | Float[Array, ""] = jnp.inf,
    step: float | Float[Array, ""] | None = None,
    window: float = 0.1,
) -> Float[Array, "d s"]:
    """Draws of the answers of s people to one question, one population per row.

    **Arguments:**

    - `prediction`: calibrated means, on the scale of the answers.
    - `residuals`: a [`ResidualPool`][], resampled; or a standard deviation (a scalar or one per
      person), for normal residuals.
    - `scale`: the question's unit for pooled residuals.
    - `position`: (s,) see [`positions`][]; by default about the mean of `prediction`.
    - `low`, `high`, `step`: draws are rounded to `low + step · integer` and clipped to
      [low, high]. NaN is unknown: no rounding, no clipping.
    - `window`: share of the pool, nearest in position, that a person's residual is drawn from.

    **Raises:** `ValueError` for fewer than one draw or a window outside (0, 1].
    """
    if num_draws < 1:
        raise ValueError(f"num_draws must be at least 1, got {num_draws}")
    if not 0 < window <= 1:
        raise ValueError(f"window: a share in (0, 1], got {window}")
    shape = (num_draws, prediction.shape[0])
    if isinstance(residuals, ResidualPool):
        scale = jnp.asarray(scale, prediction.dtype)
        if position is None:
            position = (prediction - jnp.mean(prediction)) / scale
        noise = scale * _resample(key, residuals, position, shape, window)
    else:
        deviation = jnp.broadcast_to(jnp.asarray(residuals, prediction.dtype), shape[1:])
        noise = deviation[None, :] * jax.random.normal(key, shape, prediction.dtype)
    return _on_scale(prediction[None, :] + noise, low, high, step)


def _resample(key, pool: ResidualPool, position, shape, window) -> Float[Array, "d s"]:
    question_key, person_key = jax.random.split(key)
    row = jax.random.randint(question_key, shape[:1], 0, pool.questions, jnp.int32)
    cells = pool.cells.astype(position.dtype)
    width = jnp.clip(jnp.ceil(window * cells), 20, cells).astype(jnp.int32)
    first = jnp.searchsorted(pool.position, position).astype(jnp.int32) - width // 2
    first = jnp.clip(first, 0, pool.cells - width)
    within = pool.within[
        first[None, :] + jax.random.randint(person_key, shape, 0, width, jnp.int32)
    ]
    return pool.offset[row][:, None] + within


def _on_scale(draws: Float[Array, "d s"], low, high, step) -> Float[Array, "d s"]:
    low, high = jnp.asarray(low, draws.dtype), jnp.asarray(high, draws.dtype)
    if step is not None:
        step = jnp.asarray(step, draws.dtype)
        known = ~jnp.isnan(step) & jnp.isfinite(low)
        origin, size = jnp.where(known, low, 0), jnp.where(known, step, 1)
        draws = jnp.where(known, origin + jnp.round((draws - origin) / size) * size, draws)
    # Comparisons with NaN are false, which leaves the draw as it is.
    draws = jnp.where(draws < low, low, draws)
    return jnp.where(draws > high, high, draws)


def residual_scale(
    error: Float[np.ndarray, " t"],
    twin: Float[np.ndarray, "t s"],
    low: Float[np.ndarray, " t"],
    high: Float[np.ndarray, " t"],
) -> Float[np.ndarray, " t"]:
    """How large residuals are expected to be, from what is known without human answers.

    log error is regressed on the logarithms of the answer range (the twins' where the scale is
    unknown) and of the twins' standard deviation, with a ridge penalty of 1: with few questions all
    get the same relative error. The result covers every row; rows whose `error` is NaN (new
    questions) take no part in the fit.

    - `error`: (t,) root-mean-square deviation of the residuals from their mean, per question.
    - `twin`: (t, s) the twins' answers, NaN where missing.
    """
    span = np.nanmax(twin, axis=1) - np.nanmin(twin, axis=1)
    width = np.where(np.isnan(high - low), span, high - low)
    known = np.isfinite(error) & (error > 0)
    if not known.any():
        raise ValueError("error: no question has residuals to learn from")
    # Constant twins say nothing of the range; they get the typical one.
    width = np.where(width > 0, width, np.median(width[width > 0]) if (width > 0).any() else 1.0)
    features = np.log(np.stack([width, np.maximum(np.nanstd(twin, axis=1), 0.05 * width)], axis=1))
    features = features - features[known].mean(axis=0)
    x, y = features[known], np.log(error[known])
    slope = np.linalg.solve(x.T @ x + np.eye(2), x.T @ (y - y.mean()))
    return np.exp(y.mean() + features @ slope)


class _Questions(eqx.Module):
    """What is known of t questions, a row each: predictions, truth, twins and answer ranges."""

    prediction: Float[np.ndarray, "t s"]
    truth: Float[np.ndarray, "t s"]
    twin: Float[np.ndarray, "t s"]
    low: Float[np.ndarray, " t"]
    high: Float[np.ndarray, " t"]
    step: Float[np.ndarray, " t"]

    def error(self) -> Float[np.ndarray, " t"]:
        """Standard deviation of the residuals of each question; NaN without any."""
        residual = self.truth - self.prediction
        count = np.sum(~np.isnan(residual), axis=1)
        mean = np.nansum(residual, axis=1) / np.maximum(count, 1)
        square = np.nansum((residual - mean[:, None]) ** 2, axis=1) / np.maximum(count, 1)
        return np.where(count > 1, np.sqrt(square), np.nan)


def _questions(holdout: HoldOut, name: str) -> _Questions:
    if holdout.direction != "question":
        raise ValueError("holdout: draws are for new questions; use leave_one_question_out")
    if name not in holdout.predictions:
        raise ValueError(f"no predictions called {name!r}; there are {list(holdout.predictions)}")
    panel, index = holdout.panel, holdout.targets
    return _Questions(
        holdout.predictions[name],
        holdout.truth,
        panel.twin[:, index].T,
        panel.low[index],
        panel.high[index],
        panel.step[index],
    )


def draw_answers(
    key: PRNGKey,
    prediction: Float[Array | np.ndarray, " s"],
    twin: Float[Array | np.ndarray, " s"],
    holdout: HoldOut,
    name: str,
    *,
    num_draws: int = 100,
    low: float = float("nan"),
    high: float = float("nan"),
    step: float = float("nan"),
) -> Float[Array, "d s"]:
    """Draws for a new question from a method's hold-out on the known ones.

    **Arguments:**

    - `prediction`, `twin`: (s,) the calibrated prediction for the new question, and its twins.
    - `holdout`, `name`: [`leave_one_question_out`][] on the known questions, and the method's name
      in it. Its settings should be those behind `prediction`.
    - `low`, `high`, `step`: the new question's answer scale, NaN where unknown or continuous.

    **Raises:** `ValueError` for the hold-out of users, an unknown name, or no known question.
    """
    known = _questions(holdout, name)
    twins = np.concatenate([known.twin, np.asarray(twin, float)[None]])
    lows, highs = np.append(known.low, low), np.append(known.high, high)
    scale = residual_scale(np.append(known.error(), np.nan), twins, lows, highs)
    # One unknown range makes the positions of all questions relative to their means.
    lows, highs = _comparable(lows, highs)
    means = np.concatenate([known.prediction, np.asarray(prediction, float)[None]])
    place = positions(means, scale, lows, highs)
    pool = residual_pool(known.prediction, known.truth, scale[:-1], place[:-1])
    return calibrated_draws(
        key,
        jnp.asarray(means[-1]),
        pool,
        num_draws,
        scale=float(scale[-1]),
        position=place[-1],
        low=low,
        high=high,
        step=step,
    )


def _comparable(low, high):
    unknown = np.any(np.isnan(high - low))
    nothing = np.full_like(low, np.nan)
    return (nothing, nothing) if unknown else (low, high)


@dataclass(frozen=True)
class DrawsEvaluation:
    """Draws against the point prediction and the twins, per held-out question; answer units.

    - `crps`: by `"Draws"`, `"Point"` (the prediction as a certainty) and `"Twins"`: (t,)
      continuous ranked probability score, for a certainty the mean absolute error.
    - `sd_ratio`: by the same, (t,) standard deviation over people relative to the truth's; for
      draws the mean over draws. 1 is a population as varied as the real one.
    """

    targets: Int[np.ndarray, " t"]
    crps: dict[str, Float[np.ndarray, " t"]]
    sd_ratio: dict[str, Float[np.ndarray, " t"]]

    def summary(self) -> list[dict]:
        """`prediction`, `metric`, `mean`, `se` and `count`, one row each."""
        rows = []
        for metric, scores in (("crps", self.crps), ("sd_ratio", self.sd_ratio)):
            for name, values in scores.items():
                result = summarize(values)
                row = {"prediction": name, "metric": metric, "mean": float(result.mean)}
                rows.append(row | {"se": float(result.se), "count": int(result.count)})
        return rows


def evaluate_draws(
    key: PRNGKey, holdout: HoldOut, name: str, *, num_draws: int = 100
) -> DrawsEvaluation:
    """Draw the answers to every held-out question from the residuals of all the others.

    The target's human answers are used for scoring only. (They were among the donors of the other
    questions' predictions, so their residuals are those of a jackknife; a method used on a new
    question has no such answers.)

    **Raises:** `ValueError` for the hold-out of users, an unknown name, or fewer than two
    questions.
    """
    known = _questions(holdout, name)
    t = len(holdout.targets)
    if t < 2:
        raise ValueError("holdout: draws for one question need the residuals of another")
    error = known.error()
    scales = np.empty((t, t))
    for j in range(t):
        without = np.where(np.arange(t) == j, np.nan, error)
        scales[j] = residual_scale(without, known.twin, known.low, known.high)
    low, high = _comparable(known.low, known.high)
    dtype = jnp.result_type(float)
    ends = (known.low, known.high, known.step)
    data = [
        jnp.asarray(a, dtype)
        for a in (known.prediction, known.truth, known.twin, low, high, *ends, scales)
    ]
    draws, point, twins = jax.device_get(_evaluate(key, *data, num_draws=num_draws))
    return DrawsEvaluation(
        holdout.targets,
        {"Draws": draws[0], "Point": point[0], "Twins": twins[0]},
        {"Draws": draws[1], "Point": point[1], "Twins": twins[1]},
    )


@eqx.filter_jit
def _evaluate(key, prediction, truth, twin, low, high, floor, ceiling, step, scales, num_draws):
    def one(j):
        scale = scales[j]
        place = positions(prediction, scale, low, high)
        others = jnp.arange(truth.shape[0]) != j
        pool = residual_pool(prediction, jnp.where(others[:, None], truth, jnp.nan), scale, place)
        mean = jnp.where(jnp.isnan(prediction[j]), jnp.nanmean(prediction[j]), prediction[j])
        draws = calibrated_draws(
            jax.random.fold_in(key, j),
            mean,
            pool,
            num_draws,
            scale=scale[j],
            position=jnp.where(jnp.isnan(place[j]), 0, place[j]),
            low=floor[j],
            high=ceiling[j],
            step=step[j],
        )
        judged = ~jnp.isnan(truth[j]) & ~jnp.isnan(prediction[j])
        ratio = jnp.mean(jax.vmap(lambda row: sd_ratio(row, truth[j], judged))(draws))
        crps = crps_from_draws(draws, truth[j], judged)
        return (crps, ratio), _certain(prediction[j], truth[j]), _certain(twin[j], truth[j])

    return jax.lax.map(one, jnp.arange(truth.shape[0]))


def _certain(values: Float[Array, " s"], truth: Float[Array, " s"]):
    judged: Bool[Array, " s"] = ~jnp.isnan(truth) & ~jnp.isnan(values)
    return mae(values, truth, judged), sd_ratio(values, truth, judged)
