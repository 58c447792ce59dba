"""Errors of groups in resamples of people and questions, as products of matrices."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from ..inference.simultaneous import Resampled

THRESHOLDS = (np.arange(12) + 0.5) / 12
"""Where cumulative shares are compared: between the options of 2, 3, 4, 5 or 7 equally often."""

_SMALLEST = 1e-8  # variance, in units of the range, below which rounding is left


class Answers(eqx.Module):
    """What is compared, in units of the range; people are in the order of their groups.

    - `x`, `y`: (e, q, n) estimates and (q, n) answers; `used`: (q, n) where they are compared.
    - `within`: (e, q, n) variances about the estimates, or `None`.
    - `cumulative`: (e, q, n, k) probabilities of at most each threshold, or `None`.
    - `weight`: (n,) of the people.
    - `inside`, `start`, `size`: (n,) every person's group, the place of its first person and the
      number of its people.
    - `member`: (q,) the block of each question.
    """

    x: Float[Array, "e q n"]
    y: Float[Array, "q n"]
    used: Bool[Array, "q n"]
    within: Float[Array, "e q n"] | None
    cumulative: Float[Array, "e q n k"] | None
    weight: Float[Array, " n"]
    inside: Int[Array, " n"]
    start: Int[Array, " n"]
    size: Int[Array, " n"]
    member: Int[Array, " q"]


class _Features(eqx.Module):
    """What is averaged over people: their products with the weights are all that is needed."""

    y: Float[Array, "q n"]
    x: Float[Array, "e q n"]
    within: Float[Array, "e q n"]
    apart: Float[Array, "e q k n"]
    there: Float[Array, "q n"]
    judged: Float[Array, " q"]
    belongs: Float[Array, "n g"]


class _Moments(eqx.Module):
    """Weighted means of every question (q) in every group (g)."""

    bias: Float[Array, "e q g"]
    apart: Float[Array, "e q k g"]
    spread: Float[Array, "e q g"]
    true_spread: Float[Array, "q g"]
    correlation: Float[Array, "e q g"]
    total: Float[Array, "q g"]


@eqx.filter_jit
def bootstrap_groups(
    answers: Answers, keys: Key[Array, " r"], *, groups: int, blocks: int, batch_size: int
) -> tuple[Resampled, ...]:
    """Values and draws of all measures of `GroupErrors`, in their order there."""
    features = _features(answers, groups)
    weight, n = answers.weight, answers.weight.shape[0]
    noise = _noise(features, weight)

    def replicate(key: Key[Array, ""]) -> tuple[Array, ...]:
        for_people, for_questions = jax.random.split(key)
        u = jax.random.uniform(for_people, (n,), weight.dtype)
        place = jnp.floor(u * answers.size.astype(u.dtype)).astype(answers.start.dtype)
        drawn = answers.start + jnp.minimum(place, answers.size - 1)
        people = jnp.bincount(drawn, length=n).astype(weight.dtype)
        each = jax.random.randint(for_questions, (blocks,), 0, blocks)
        times = jnp.bincount(each, length=blocks)[answers.member].astype(weight.dtype)
        # A resample of people adds their noise once more.
        return _measures(_moments(features, people * weight), features, noise, times, 2)

    once = jnp.ones_like(features.judged)
    values = _measures(_moments(features, weight), features, noise, once, 1)
    draws = jax.lax.map(replicate, keys, batch_size=batch_size)
    return tuple(Resampled(v, d) for v, d in zip(values, draws, strict=True))


def _features(given: Answers, groups: int) -> _Features:
    used, at = given.used, jnp.asarray(THRESHOLDS, given.y.dtype)
    there = used.astype(given.y.dtype)
    y, x = jnp.where(used, given.y, 0), jnp.where(used[None], given.x, 0)
    told = (y[:, None, :] <= at[None, :, None]).astype(y.dtype)
    if given.cumulative is None:
        forecast = (x[:, :, None, :] <= at[None, None, :, None]).astype(y.dtype)
        judged = jnp.ones(y.shape[:1], y.dtype)
    else:
        forecast = jnp.swapaxes(given.cumulative, 2, 3)
        lacks = jnp.any(jnp.isnan(forecast), axis=(0, 2)) & used
        judged = 1 - jnp.any(lacks, axis=1).astype(y.dtype)
        forecast = jnp.where(jnp.isnan(forecast), 0, forecast)
    within = jnp.zeros_like(x) if given.within is None else given.within
    # About the mean of all, so that variances lose no digits.
    middle = jnp.sum(y, axis=1) / jnp.maximum(jnp.sum(there, axis=1), 1)
    return _Features(
        y=(y - middle[:, None]) * there,
        x=(x - middle[None, :, None]) * there[None],
        within=jnp.where(used[None] & ~jnp.isnan(within), within, 0),
        apart=(forecast - told[None]) * there[None, :, None, :],
        there=there,
        judged=judged,
        belongs=jax.nn.one_hot(given.inside, groups, dtype=y.dtype),
    )


def _moments(features: _Features, weight: Float[Array, " n"]) -> _Moments:
    x, y = features.x, features.y
    w = features.belongs * weight[:, None]
    total = features.there @ w
    scale = 1 / jnp.where(total > 0, total, 1)
    mean_x, mean_y = (x @ w) * scale[None], (y @ w) * scale
    var_x = ((x * x) @ w) * scale[None] - mean_x**2
    var_y = jnp.maximum(((y * y) @ w) * scale - mean_y**2, 0)
    cov = ((x * y[None]) @ w) * scale[None] - mean_x * mean_y[None]
    varies = (var_x > _SMALLEST) & (var_y > _SMALLEST)[None]
    product = jnp.sqrt(jnp.where(varies, var_x * var_y[None], 1))
    return _Moments(
        bias=mean_x - mean_y[None],
        apart=(features.apart @ w) * scale[None, :, None, :],
        spread=_root(var_x + (features.within @ w) * scale[None]),
        true_spread=_root(var_y),
        correlation=jnp.where(varies, jnp.clip(cov / product, -1, 1), 0),
        total=total,
    )


def _noise(features: _Features, weight: Float[Array, " n"]) -> tuple[Array, Array]:
    """What the sampling of people adds to squares: of the bias, and of shares.

    The sampling variance of a weighted mean, Σ w² (r - mean)² / (Σ w)² · m / (m - 1), with m
    the effective number of people; that of shares at each threshold, averaged.
    """
    found = _moments(features, weight)
    w2 = features.belongs * (weight**2)[:, None]
    square, total = features.there @ w2, found.total
    number = total**2 / jnp.where(square > 0, square, 1)
    scale = number / jnp.maximum(number - 1, 1) / jnp.where(total > 0, total, 1) ** 2
    error, bias = features.x - features.y[None], found.bias
    level = ((error**2) @ w2) - 2 * bias * (error @ w2) + bias**2 * square[None]
    apart, mean = features.apart, found.apart
    shares = ((apart**2) @ w2) - 2 * mean * (apart @ w2) + mean**2 * square[None, :, None, :]
    return level * scale[None], jnp.mean(shares, axis=2) * scale[None]


def _measures(
    found: _Moments,
    features: _Features,
    noise: tuple[Array, Array],
    times: Float[Array, " q"],
    noises: int,
) -> tuple[Array, ...]:
    """Averages over questions, drawn `times` each; `noises`: how often noise is subtracted."""
    there = (found.total > 0).astype(times.dtype)
    number = there * times[:, None]
    rated = number * features.judged[:, None]
    first, second = np.triu_indices(there.shape[1], 1)
    level_noise, share_noise = noise

    def average(values: Array, number: Array) -> Array:
        total = jnp.sum(number, axis=0)
        mean = jnp.sum(values * number[None], axis=1) / jnp.where(total > 0, total, 1)[None]
        return jnp.where((total > 0)[None], mean, jnp.nan)

    def of_pair(values: Array) -> Array:
        return values[..., first] + values[..., second]

    def between(values: Array) -> Array:
        return values[..., first] - values[..., second]

    truly = average(found.true_spread[None], rated)
    pair, rated_pair = (n[:, first] * n[:, second] for n in (number, rated))
    gap = between(found.bias) ** 2 - noises * of_pair(level_noise)
    shares = jnp.mean(between(found.apart) ** 2, axis=2) - noises * of_pair(share_noise)
    return (
        average(found.bias**2 - noises * level_noise, number),
        average(found.spread, rated) / jnp.where(truly > 0, truly, jnp.nan),
        average(found.correlation, number),
        average(jnp.mean(found.apart**2, axis=2) - noises * share_noise, rated),
        average(gap, pair),
        average(shares, rated_pair),
    )


def _root(variance: Array) -> Array:
    """Standard deviations, 0 where rounding is all there is."""
    positive = variance > _SMALLEST
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1)), 0)
