"""Calibrated draws: answers a new question could get, with the conditional variance restored.

A calibrated prediction is a conditional mean, and a population of means varies less than the
population it stands for. Draws add the missing variance, estimated on the questions whose human
answers are known: their hold-out residuals, in units known without the target's human answers. A
draw has two parts:

- one *offset* for the whole question, since residuals of one question share their level;
- one residual *within* the question for every person, taken from people whose prediction had a
  similar position. Residuals depend on the position: near the end of a scale they are small and
  skewed, and where predictions are shrunk towards the mean they point away from it.
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..evaluation.holdout_result import HoldOut
from ..evaluation.metrics import crps_from_draws, mae, sd_ratio, summarize
from ..solvers.boundary import Numbers, as_float, as_floats
from ..solvers.checks import check_count
from ..solvers.keys import PRNGKey


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
    prediction: Numbers,
    truth: Numbers,
    scale: Numbers,
    position: Numbers,
) -> ResidualPool:
    """Pool out-of-sample residuals of t questions (rows) with s cells each.

    **Arguments:**

    - `prediction`, `truth`: (t, s), NaN where missing; a question without any answer takes no part.
    - `scale`: (t,) the unit of each question's residuals, such as [`residual_scale`][].
    - `position`: (t, s) where the prediction lies, comparable over questions ([`positions`][]).
    """
    prediction, truth, scale, position = as_floats(
        prediction=prediction, truth=truth, scale=scale, position=position
    )
    mask = ~jnp.isnan(truth) & ~jnp.isnan(prediction)
    residual = jnp.where(mask, truth - prediction, 0) / scale[:, None]
    count = jnp.sum(mask, axis=1, dtype=residual.dtype)
    known = count > 0
    offset = jnp.sum(residual, axis=1) / jnp.where(known, count, 1)
    within = residual - offset[:, None]
    place = jnp.where(mask, position, jnp.inf).ravel()
    order = jnp.argsort(place)
    return ResidualPool(
        offset=offset[jnp.argsort(~known, stable=True)],
        questions=jnp.sum(known, dtype=jnp.int32),
        position=place[order],
        within=within.ravel()[order],
        cells=jnp.sum(mask, dtype=jnp.int32),
    )


def positions(
    prediction: Numbers,
    scale: Numbers,
    low: Numbers,
    high: Numbers,
) -> Float[Array, "*t s"]:
    """Where predictions lie: as a share of the answer range, or relative to the question's mean.

    **Arguments:** `prediction`: (*t, s); `low`, `high`: (*t,) ends of the answer range, NaN where
    unknown, in which case positions are deviations from the mean in units of `scale` (*t,).
    """
    prediction, scale, low, high = as_floats(prediction=prediction, scale=scale, low=low, high=high)
    centred = prediction - jnp.nanmean(prediction, axis=-1, keepdims=True)
    relative = centred / scale[..., None]
    share = (prediction - low[..., None]) / (high - low)[..., None]
    return jnp.where(jnp.isnan(high - low)[..., None], relative, share)


def calibrated_draws(
    prediction: Numbers,
    residuals: ResidualPool | Numbers,
    num_draws: int,
    *,
    key: PRNGKey,
    scale: Numbers = 1.0,
    position: Numbers | None = None,
    low: Numbers = -jnp.inf,
    high: Numbers = jnp.inf,
    step: Numbers | None = None,
    window: float = 0.1,
) -> Float[Array, "d s"]:
    """Draws of the answers of s people to one question, one population per row.

    **Arguments:**

    - `prediction`: (s,) calibrated means, on the scale of the answers.
    - `residuals`: a [`ResidualPool`][], resampled; or a standard deviation (a scalar or one per
      person), for normal residuals.
    - `num_draws`: d, the number of populations.
    - `key`: random key.
    - `scale`: the question's unit for pooled residuals.
    - `position`: (s,) see [`positions`][]; by default relative to the mean of `prediction`.
    - `low`, `high`, `step`: draws are rounded to `low + step · integer` and clipped to
      [low, high]. NaN is unknown: no rounding, no clipping. By default there is neither.
    - `window`: share of the pool, nearest in position, that a person's residual is drawn from.

    **Raises:** `ValueError` for fewer than one draw or a window outside (0, 1].
    """
    check_count("num_draws", num_draws)
    if not 0 < window <= 1:
        raise ValueError(f"window: a share in (0, 1], got {window}")
    prediction, position = as_floats(prediction=prediction, position=position)
    shape = (num_draws, prediction.shape[0])
    if isinstance(residuals, ResidualPool):
        scale = as_float("scale", scale).astype(prediction.dtype)
        if position is None:
            position = (prediction - jnp.mean(prediction)) / scale
        noise = scale * _resample(key, residuals, position, shape, window)
    else:
        deviation = as_float("residuals", residuals).astype(prediction.dtype)
        deviation = jnp.broadcast_to(deviation, shape[1:])
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
    low, high = (
        as_float(name, end).astype(draws.dtype) for name, end in (("low", low), ("high", high))
    )
    if step is not None:
        step = as_float("step", step).astype(draws.dtype)
        known = ~jnp.isnan(step) & jnp.isfinite(low)
        origin, size = jnp.where(known, low, 0), jnp.where(known, step, 1)
        draws = jnp.where(known, origin + jnp.round((draws - origin) / size) * size, draws)
    # Comparisons with NaN are false, which leaves the draw as it is.
    draws = jnp.where(draws < low, low, draws)
    return jnp.where(draws > high, high, draws)


def residual_scale(
    error: Numbers,
    twin: Numbers,
    low: Numbers,
    high: Numbers,
) -> Float[np.ndarray, " t"]:
    """The expected size of residuals, from what is known without human answers.

    log error is regressed on the logarithms of the answer range (the twins' where the scale is
    unknown) and of the twins' standard deviation, with a ridge penalty of 1, so that few questions
    all get nearly the same size.

    **Arguments:** `error`: (t,) root-mean-square deviation of the residuals from their mean, NaN
    for new questions, which take no part in the fit but get a result; `twin`: (t, s) the twins'
    answers, NaN where missing; `low`, `high`: (t,) ends of the answer range, NaN where unknown.

    **Raises:** `ValueError` if no `error` is positive.
    """
    error, twin, low, high = (
        np.asarray(as_float(name, values), float)
        for name, values in {"error": error, "twin": twin, "low": low, "high": high}.items()
    )
    span = np.nanmax(twin, axis=1) - np.nanmin(twin, axis=1)
    width = np.where(np.isnan(high - low), span, high - low)
    known = np.isfinite(error) & (error > 0)
    if not known.any():
        raise ValueError("error: no question has residuals to learn from")
    # Constant twins do not show the range; they get the typical one.
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
    prediction: Numbers,
    twin: Numbers,
    holdout: HoldOut,
    name: str,
    *,
    key: PRNGKey,
    num_draws: int = 100,
    low: Numbers = float("nan"),
    high: Numbers = float("nan"),
    step: Numbers = float("nan"),
) -> Float[Array, "d s"]:
    """Draws for a new question from a method's hold-out on the known ones.

    **Arguments:**

    - `prediction`, `twin`: (s,) the calibrated prediction for the new question, and its twins'
      answers.
    - `holdout`, `name`: [`leave_one_question_out`][] on the known questions, and the method's name
      in it. Its settings should be those that `prediction` was made with.
    - `key`: random key.
    - `num_draws`: d, the number of draws per person.
    - `low`, `high`, `step`: the new question's answer scale, NaN where unknown or continuous.

    **Raises:** `ValueError` for the hold-out of users, an unknown name, or no known question.
    """
    known = _questions(holdout, name)
    prediction, twin = (
        np.asarray(as_float(k, v), float) for k, v in (("prediction", prediction), ("twin", twin))
    )
    for given, values in (("prediction", prediction), ("twin", twin)):
        if values.shape != known.prediction.shape[1:]:
            raise ValueError(
                f"`{given}` must have shape {known.prediction.shape[1:]}, a number per person of "
                f"the hold-out, got {values.shape}"
            )
    low, high, step = (
        float(as_float(k, v)) for k, v in (("low", low), ("high", high), ("step", step))
    )
    twins = np.concatenate([known.twin, twin[None]])
    lows, highs = np.append(known.low, low), np.append(known.high, high)
    scale = residual_scale(np.append(known.error(), np.nan), twins, lows, highs)
    # If one range is unknown, the positions of all questions are relative to their means.
    lows, highs = _comparable(lows, highs)
    means = np.concatenate([known.prediction, prediction[None]])
    place = positions(means, scale, lows, highs)
    pool = residual_pool(known.prediction, known.truth, scale[:-1], place[:-1])
    return calibrated_draws(
        jnp.asarray(means[-1]),
        pool,
        num_draws,
        key=key,
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
    holdout: HoldOut, name: str, *, key: PRNGKey, num_draws: int = 100
) -> DrawsEvaluation:
    """Draw the answers to every held-out question from the residuals of all the others.

    The target's human answers are used for scoring only. (They were among the donors of the other
    questions' predictions, so these residuals are those of a jackknife; for a new question there
    are no such answers.)

    **Arguments:** `holdout`, `name`: as in [`draw_answers`][]; `key`: random key; `num_draws`: the
    number of draws per person and question.

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
            mean,
            pool,
            num_draws,
            key=jax.random.fold_in(key, j),
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
