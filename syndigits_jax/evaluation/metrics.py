"""How close predicted answers are to the truth: one target at a time, then over targets.

Every metric is a pure function of `(prediction (s,), truth (s,), mask (s,))` returning a scalar.
They may be anything that holds numbers, and the mask booleans. Only entries where `mask` is true
count; the values of the others (NaN included) do not matter. Without any such entry the value is
NaN, which summaries skip. A non-finite prediction or truth inside the mask gives NaN too.

Longer than 400 lines: short functions, more documentation than code.
"""

import functools
import inspect
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..inference.alike import alike
from ..inference.resampling import nan_mean, standard_error
from ..solvers.boundary import Numbers, as_float, as_floats, as_mask, concrete

Metric = Callable[..., Float[Array, ""]]
"""`(prediction (s,), truth (s,), mask (s,)) -> scalar`."""


_SCALARS = ("fair", "min_sd", "alpha")


def _converts(function: Callable) -> Callable:
    """Let a metric take anything that holds numbers, and convert all to one type."""
    names = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        given = dict(zip(names, args, strict=False)) | kwargs
        if len(args) > len(names) or len(given) < len(args) + len(kwargs):
            return function(*args, **kwargs)  # raises
        numbers = [n for n in names if n in given and n not in ("mask", "fair", "min_sd")]
        given |= dict(zip(numbers, as_floats(**{name: given[name] for name in numbers})))
        if "mask" in given:
            given["mask"] = as_mask("mask", given["mask"])
        cells = {given[name].shape[-1:] for name in given if name not in _SCALARS}
        if len(cells) > 1:
            shapes = ", ".join(f"`{k}` {given[k].shape}" for k in given if k not in _SCALARS)
            raise ValueError(f"`truth`: arrays of one target must have one length, got {shapes}")
        return function(**given)

    return wrapper


def _count(mask: Bool[Array, " s"], like: Float[Array, " s"]) -> Float[Array, ""]:
    return jnp.sum(mask, dtype=like.dtype)


def _mean(values: Float[Array, " s"], mask: Bool[Array, " s"]) -> Float[Array, ""]:
    """Mean over the mask; NaN if it is empty."""
    count = _count(mask, values)
    total = jnp.sum(jnp.where(mask, values, 0))
    return jnp.where(count > 0, total / jnp.maximum(count, 1), jnp.nan)


def _centred(
    values: Float[Array, " s"], mask: Bool[Array, " s"]
) -> tuple[Float[Array, " s"], Float[Array, ""]]:
    """Deviations from the mean over the mask (0 outside it), and their population SD.

    An SD that rounding alone could have caused counts as 0.
    """
    values = jnp.where(mask, values, 0)
    count = jnp.maximum(_count(mask, values), 1)
    deviation = jnp.where(mask, values - jnp.sum(values) / count, 0)
    # A second pass: the mean of many numbers is off by more than their rounding.
    deviation = jnp.where(mask, deviation - jnp.sum(deviation) / count, 0)
    variance = jnp.sum(deviation**2) / count
    noise = 8 * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values))
    varies = (variance > noise**2) & ~alike(values, mask, 0)
    # The square root of 0 has an infinite derivative: replace before taking it.
    return deviation, jnp.where(varies, jnp.sqrt(jnp.where(varies, variance, 1)), variance * 0)


@_converts
def pearson(
    prediction: Numbers,
    truth: Numbers,
    mask: Numbers,
    *,
    min_sd: float = 1e-2,
) -> Float[Array, ""]:
    """Pearson correlation of `prediction` and `truth` over `mask`, (s,) each; 0 if degenerate.

    0 when either population standard deviation is at most `min_sd` (in the units of the answers)
    or fewer than two entries are observed; NaN when none is. This is the published protocol's
    rule: a constant prediction does not distinguish between people.

    **Example:**

        >>> from syndigits_jax.evaluation.metrics import pearson
        >>> print(pearson([1.0, 2.0, 9.0], [2.0, 4.0, 0.0], [True, True, False]).round(2))
        1.0
    """
    x, x_sd = _centred(prediction, mask)
    y, y_sd = _centred(truth, mask)
    count = _count(mask, x)
    degenerate = (x_sd <= min_sd) | (y_sd <= min_sd) | (count < 2)
    x = x / jnp.where(degenerate, 1, x_sd)
    y = y / jnp.where(degenerate, 1, y_sd)
    value = jnp.clip(jnp.sum(x * y) / jnp.maximum(count, 1), -1, 1)
    return jnp.where(count > 0, jnp.where(degenerate, 0, value), jnp.nan)


@_converts
def residual_pearson(
    prediction: Numbers,
    truth: Numbers,
    mask: Numbers,
    reference: Numbers,
    *,
    min_sd: float = 1e-2,
) -> Float[Array, ""]:
    """Pearson correlation after `reference` (such as the item means) is subtracted from both sides.

    For new users most of the plain correlation is the difference between popular and unpopular
    items; this leaves what is personal.

    **Arguments:** `prediction`, `truth`, `mask`, `min_sd`: as in [`pearson`][]; `reference`: (s,),
    entries where it is NaN are left out.
    """
    mask = mask & ~jnp.isnan(reference)
    reference = jnp.where(mask, reference, 0)
    return pearson(prediction - reference, truth - reference, mask, min_sd=min_sd)


def _average_ranks(values: Float[Array, " s"], mask: Bool[Array, " s"]) -> Float[Array, " s"]:
    """Ranks 1, 2, ... over the mask, ties sharing their average; 0 outside it."""
    ordered = jnp.sort(jnp.where(mask, values, jnp.inf))
    below = jnp.searchsorted(ordered, values, side="left")
    upto = jnp.searchsorted(ordered, values, side="right")
    return jnp.where(mask, (below + upto + 1).astype(values.dtype) / 2, 0)


@_converts
def spearman(
    prediction: Numbers,
    truth: Numbers,
    mask: Numbers,
    *,
    min_sd: float = 1e-2,
) -> Float[Array, ""]:
    """Rank correlation with average ranks for ties.

    **Arguments:** `prediction`, `truth`, `mask`, `min_sd`: as in [`pearson`][], whose rules for
    degenerate sides hold too.
    """
    raw = pearson(prediction, truth, mask, min_sd=min_sd)
    _, x_sd = _centred(prediction, mask)
    _, y_sd = _centred(truth, mask)
    ranked = pearson(
        _average_ranks(prediction, mask), _average_ranks(truth, mask), mask, min_sd=0.0
    )
    degenerate = (x_sd <= min_sd) | (y_sd <= min_sd)
    return jnp.where(jnp.isnan(raw), jnp.nan, jnp.where(degenerate, 0, ranked))


@_converts
def mse(prediction: Numbers, truth: Numbers, mask: Numbers) -> Float[Array, ""]:
    """Mean squared error, in squared units of the answers.

    **Example:**

        >>> from syndigits_jax.evaluation.metrics import mse
        >>> print(mse([1.0, 2.0, 9.0], [2.0, 4.0, 0.0], [True, True, False]))
        2.5
    """
    return _mean(jnp.where(mask, truth - prediction, 0) ** 2, mask)


@_converts
def mae(prediction: Numbers, truth: Numbers, mask: Numbers) -> Float[Array, ""]:
    """Mean absolute error, in units of the answers.

    **Example:**

        >>> from syndigits_jax.evaluation.metrics import mae
        >>> print(mae([1.0, 2.0, 9.0], [2.0, 4.0, 0.0], [True, True, False]))
        1.5
    """
    return _mean(jnp.abs(jnp.where(mask, truth - prediction, 0)), mask)


@_converts
def r2(prediction: Numbers, truth: Numbers, mask: Numbers) -> Float[Array, ""]:
    """1 - squared error / squared deviation of the truth from its own mean.

    Negative when the truth's mean would have predicted better. NaN when the truth does not vary.
    """
    _, sd = _centred(truth, mask)
    variance = jnp.where(sd > 0, sd, 1) ** 2
    return jnp.where(sd > 0, 1 - mse(prediction, truth, mask) / variance, jnp.nan)


def accuracy(
    prediction: Numbers,
    truth: Numbers,
    mask: Numbers,
    *,
    low: Numbers,
    high: Numbers,
) -> Float[Array, ""]:
    """Range-scaled accuracy 1 - mean|prediction - truth| / (high - low).

    `prediction`, `truth` and `mask` are (s,); `low` and `high` are the ends of the question's
    scale, not of the data. 1 is exact; a prediction outside the scale can push it below 0.

    **Raises:** `ValueError` if the ends are Python numbers and `high` is not above `low`.

    **Example:**

        >>> from syndigits_jax.evaluation.metrics import accuracy
        >>> print(accuracy([1.0, 3.0], [1.0, 5.0], [True, True], low=1.0, high=5.0))
        0.75
    """
    prediction, truth, low, high = as_floats(prediction=prediction, truth=truth, low=low, high=high)
    ends = concrete(low), concrete(high)
    if ends[0] is not None and ends[1] is not None and not np.all(ends[1] > ends[0]):
        raise ValueError(f"`high` must be above low, got low={low}, high={high}")
    return 1 - mae(prediction, truth, mask) / (high - low)


@_converts
def wasserstein(prediction: Numbers, truth: Numbers, mask: Numbers) -> Float[Array, ""]:
    """W₁ between the distributions of predictions and truths over the mask, in answer units.

    Both sides have the same number of entries, so it is the mean absolute difference of the
    sorted values. It compares the two populations and ignores who gave which answer.
    """
    usable = jnp.all(jnp.where(mask, jnp.isfinite(prediction) & jnp.isfinite(truth), True))
    x = jnp.sort(jnp.where(mask, prediction, jnp.inf))
    y = jnp.sort(jnp.where(mask, truth, jnp.inf))
    inside = jnp.arange(x.shape[0]) < jnp.sum(mask)
    gap = jnp.where(inside, x, 0) - jnp.where(inside, y, 0)
    return jnp.where(usable, _mean(jnp.abs(gap), inside), jnp.nan)


@_converts
def sd_ratio(prediction: Numbers, truth: Numbers, mask: Numbers) -> Float[Array, ""]:
    """Standard deviation of the predictions over that of the truth.

    Below 1 the predicted population varies less than the real one, as conditional means always
    do. NaN when the truth does not vary.
    """
    _, predicted = _centred(prediction, mask)
    _, real = _centred(truth, mask)
    return jnp.where(real > 0, predicted / jnp.where(real > 0, real, 1), jnp.nan)


@_converts
def crps_from_draws(
    draws: Numbers,
    truth: Numbers,
    mask: Numbers,
    *,
    fair: bool = True,
) -> Float[Array, ""]:
    """Mean over entries of the ensemble's continuous ranked probability score (answer units).

    Per entry mean_k |x_k - y| - Σ_kl |x_k - x_l| / (2 d(d-1)), from d sorted draws in O(d log d).

    **Arguments:** `draws`: (d, s); `truth`, `mask`: (s,); `fair`: true is unbiased for the score
    of the distribution that the draws come from, whatever d (Ferro, 2014); false divides by 2d²
    and scores the d-point ensemble itself.

    **Raises:** `ValueError` for fewer than two draws with `fair=True`.
    """
    size = draws.shape[0]
    if size < 2 and fair:
        raise ValueError(f"draws: the fair score needs at least two draws, got {size}")
    distance = jnp.mean(jnp.abs(draws - jnp.where(mask, truth, 0)[None, :]), axis=0)
    # Σ_{k<l} |x_k - x_l| = Σ_i (2i - d - 1) x_(i); it is the same after centring, which keeps
    # the sum small.
    ordered = jnp.sort(draws, axis=0)
    ordered = ordered - jnp.mean(ordered, axis=0)[None, :]
    weight = 2 * jnp.arange(1, size + 1, dtype=draws.dtype) - (size + 1)
    pairs = jnp.sum(weight[:, None] * ordered, axis=0)
    spread = pairs / (size * (size - 1) if fair else size**2)
    return _mean(distance - spread, mask)


@_converts
def interval_coverage(
    lower: Numbers,
    upper: Numbers,
    truth: Numbers,
    mask: Numbers,
) -> Float[Array, ""]:
    """Share of the `truth` (s,) over `mask` (s,) inside [`lower`, `upper`], (s,) each."""
    inside = (lower <= truth) & (truth <= upper)
    return _mean(jnp.where(jnp.isnan(truth), jnp.nan, inside.astype(truth.dtype)), mask)


@_converts
def interval_score(
    lower: Numbers,
    upper: Numbers,
    truth: Numbers,
    mask: Numbers,
    *,
    alpha: Numbers,
) -> Float[Array, ""]:
    """Mean width plus 2/α times the distance of the truths outside (Winkler; lower is better).

    Coverage alone rewards wide intervals; this proper score penalises their width too.

    **Arguments:** `lower`, `upper`, `truth`, `mask`: (s,), as in [`interval_coverage`][]; `alpha`:
    α, the share of truths that the intervals may miss.
    """
    truth = jnp.where(mask, truth, 0)
    outside = jnp.maximum(lower - truth, 0) + jnp.maximum(truth - upper, 0)
    return _mean(upper - lower + 2 / alpha * outside, mask)


METRICS: dict[str, Metric] = {
    "pearson": pearson,
    "spearman": spearman,
    "mse": mse,
    "mae": mae,
    "r2": r2,
    "accuracy": accuracy,
    "wasserstein": wasserstein,
    "sd_ratio": sd_ratio,
}
"""Metrics by name. `accuracy` also needs the scale (`metric_function` binds it)."""


def metric_function(metric: str | Metric, *, scale: tuple[float, float] | None = None) -> Metric:
    """The metric of that name, or the given function itself; `accuracy` bound to `scale`.

    **Raises:** `ValueError` for an unknown name, or for `"accuracy"` without a scale.
    """
    if not isinstance(metric, str):
        return metric
    if metric not in METRICS:
        raise ValueError(f"metric: {metric!r} is none of {', '.join(sorted(METRICS))}")
    if metric != "accuracy":
        return METRICS[metric]
    if scale is None:
        raise ValueError("scale: the answer range (low, high) is needed for 'accuracy'")
    low, high = scale
    return lambda prediction, truth, mask: accuracy(prediction, truth, mask, low=low, high=high)


def score_targets(
    metric: str | Metric,
    prediction: Numbers,
    truth: Numbers,
    *,
    scale: tuple[float, float] | None = None,
) -> Float[Array, " t"]:
    """The metric of every target.

    **Arguments:** `metric`, `scale`: as in [`metric_function`][]; `prediction`, `truth`: (t, s),
    NaN where the truth is missing. **Raises:** `ValueError` as there, and for unequal shapes.
    """
    function = metric_function(metric, scale=scale)
    prediction, truth = as_floats(prediction=prediction, truth=truth)
    if prediction.ndim != 2 or prediction.shape != truth.shape:
        raise ValueError(
            f"`truth` must have the shape of `prediction`, a row per target, got {truth.shape} "
            f"and {prediction.shape}"
        )
    mask = ~jnp.isnan(truth)
    return jax.vmap(function)(prediction, jnp.where(mask, truth, 0), mask)


class Summary(eqx.Module):
    """One metric over all targets; NaN scores are skipped.

    **Arguments:**

    - `mean`: mean score.
    - `se`: std(ddof=1) / sqrt(count), NaN below two scores. It treats targets as independent.
    - `count`: how many scores are not NaN.
    - `fisher_z_mean`: tanh of the mean of arctanh: an average of correlations that does not
      shrink the large ones. NaN if any score lies outside [-1, 1] (not a correlation).
    """

    mean: Float[Array, ""]
    se: Float[Array, ""]
    count: Int[Array, ""]
    fisher_z_mean: Float[Array, ""]


# arctanh(±1) is infinite; correlations are taken as at most this far from 0 (z about 7.3).
_LARGEST_CORRELATION = 1 - 1e-6


def fisher_z_mean(scores: Numbers) -> Float[Array, ""]:
    """tanh(mean(arctanh(scores))) over the scores that are not NaN; NaN if one is beyond ±1."""
    scores = as_float("scores", scores)
    clipped = jnp.clip(scores, -_LARGEST_CORRELATION, _LARGEST_CORRELATION)
    mean = jnp.tanh(nan_mean(jnp.arctanh(clipped)))
    return jnp.where(jnp.any(jnp.abs(scores) > 1), jnp.nan, mean)


def summarize(scores: Numbers) -> Summary:
    """Mean, standard error, count and Fisher-z mean of per-target scores.

    **Example:**

        >>> from syndigits_jax.evaluation.metrics import summarize
        >>> summary = summarize([0.2, 0.4, float("nan")])
        >>> print(summary.mean.round(2), summary.se.round(2), summary.count)
        0.3 0.1 2
    """
    scores = as_float("scores", scores)
    return Summary(
        mean=nan_mean(scores),
        se=standard_error(scores),
        count=jnp.sum(~jnp.isnan(scores)),
        fisher_z_mean=fisher_z_mean(scores),
    )


def percent_delta(value: Numbers, baseline: Numbers) -> Float[Array, "*shape"]:
    """100 · (value - baseline) / |baseline|, the %Δ of the tables; NaN for a baseline of 0."""
    value, baseline = as_floats(value=value, baseline=baseline)
    size = jnp.abs(baseline)
    return jnp.where(size > 0, 100 * (value - baseline) / jnp.where(size > 0, size, 1), jnp.nan)
