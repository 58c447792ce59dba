"""Probabilities of a question's options, for each person and as shares of the population.

A predicted mean says where a person's answer lies on average, not how answers spread over the
options. Between given means and a given overall spread, the distributions of largest entropy are

    p_i(o) ∝ b(o) exp(η_i o + γ o²),

with η_i set by the person's mean and one γ by the population's standard deviation: the smaller it
is, the closer answers lie to the means; γ > 0 moves them to the ends. The base shares b, 1 by
default, are what is known of the shape beforehand (entropy is then relative to them).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..solvers.boundary import Numbers, as_float, as_floats, concrete
from ..solvers.checks import check_penalty, check_positive
from ..solvers.precision import full_precision

_STEPS = 40
_STEEPEST = 30.0
_CURVED = 12.0
_CLASSES = 200
"""Of more people, classes of similar means decide the curve; slopes are each person's own."""


def number_of_options(low: float, high: float, step: float) -> int:
    """How many options a scale has; 0 without a step, or for a single point."""
    if not (np.isfinite(step) and high > low):
        return 0
    return round((high - low) / step) + 1


class Tilt(eqx.Module):
    """The parameters of all distributions of a question (or several), options scaled to [-1, 1].

    - `slope`: (n,) η of every person; `curve`: γ.
    """

    slope: Float[Array, "*t n"]
    curve: Float[Array, "*t"]

    def probabilities(
        self, options: Float[Array, " k"], log_base: Float[Array, " k"]
    ) -> Float[Array, "n k"]:
        """Everybody's distribution over the options.

        **Arguments:** as in [`fit_tilt`][].
        """
        return _tilted(self.slope, self.curve, _places(options), log_base)


def _places(options: Float[Array, " k"]) -> Float[Array, " k"]:
    half = (options[-1] - options[0]) / 2
    return (options - options[0]) / half - 1


def _tilted(slope, curve, place, log_base):
    exponent = slope[:, None] * place[None, :] + curve * place[None, :] ** 2
    return jax.nn.softmax(exponent + log_base[None, :], axis=1)


@full_precision
def fit_tilt(
    mean: Float[Array, " n"],
    sd: Float[Array, ""],
    options: Float[Array, " k"],
    log_base: Float[Array, " k"],
    weight: Float[Array, " n"],
) -> Tilt:
    """The distributions with these means and this overall spread, under `jit`, `vmap`, `grad`.

    **Arguments:**

    - `mean`: (n,) means, clipped to the range; `sd`: of all answers together.
    - `options`: (k,) ascending; the same value may stand several times, the last is the largest.
    - `log_base`: (k,) logarithms of the base shares, -inf for options that nobody chooses.
    - `weight`: (n,) weights of the people in the overall spread.
    """
    low, half = options[0], (options[-1] - options[0]) / 2
    place = _places(options)
    edge = 1e-4
    target = jnp.clip((mean - low) / half - 1, -1 + edge, 1 - edge)
    wanted = (sd / half) ** 2

    def slopes(target, curve):
        def halve(_, ends):
            lower, upper = ends
            middle = (lower + upper) / 2
            above = _tilted(middle, curve, place, log_base) @ place > target
            return jnp.where(above, lower, middle), jnp.where(above, middle, upper)

        steep = jnp.full_like(target, _STEEPEST + 2 * jnp.abs(curve))
        lower, upper = jax.lax.fori_loop(0, _STEPS, halve, (-steep, steep))
        slope = jax.lax.stop_gradient((lower + upper) / 2)
        # One Newton step, through which gradients pass.
        p = jax.lax.stop_gradient(_tilted(slope, curve, place, log_base))
        first = p @ place
        variance = jnp.maximum(p @ place**2 - first**2, 1e-6)
        return slope + (target - first) / variance

    classes, share = _classes(target, weight / jnp.sum(weight))

    def variance(curve):
        p = _tilted(slopes(classes, curve), curve, place, log_base)
        centre = share @ (p @ place)
        return share @ (p @ place**2) - centre**2

    def halve(_, ends):
        lower, upper = ends
        middle = (lower + upper) / 2
        above = variance(middle) > wanted
        return jnp.where(above, lower, middle), jnp.where(above, middle, upper)

    curved = jnp.asarray(_CURVED, mean.dtype) * options.shape[0] ** 2 / 4
    lower, upper = jax.lax.fori_loop(0, 30, halve, (-curved, curved))
    curve = jax.lax.stop_gradient((lower + upper) / 2)
    return Tilt(slopes(target, curve), curve)


def _classes(target: Float[Array, " n"], share: Float[Array, " n"]) -> tuple[Array, Array]:
    """Means and shares of classes of people with similar means; at most `_CLASSES`."""
    n = target.shape[0]
    if n <= _CLASSES:
        return target, share
    order = jnp.argsort(target)
    size = -(-n // _CLASSES)
    rest = (0, size * _CLASSES - n)
    rows = (jnp.pad(values[order], rest).reshape(_CLASSES, size) for values in (share, target))
    shares, targets = rows
    total = jnp.sum(shares, axis=1)
    mean = jnp.sum(shares * targets, axis=1) / jnp.where(total > 0, total, 1)
    return mean, total


@full_precision
def option_probabilities(
    mean: Numbers,
    sd: Numbers,
    options: Numbers,
    *,
    base: Numbers | None = None,
    sample_weight: Numbers | None = None,
) -> Float[Array, "n k"]:
    """Distribution over the options for each of n people.

    **Arguments:**

    - `mean`: (n,) predicted means, within the options' range (clipped to it).
    - `sd`: the standard deviation of all n answers together. Where no distribution with these
      means has it, the nearest possible one is used.
    - `options`: (k,) ascending values of at least two options.
    - `base`: (k,) positive shares of the options to which the distributions are as close as the
      means and the spread allow; by default all are the same.
    - `sample_weight`: (n,) weights of the people in the population's standard deviation.

    **Returns:** (n, k) probabilities, each with mean `mean`; under `jit`, `vmap` and `grad`.

    **Raises:** `ValueError` for shapes that do not fit and, where numbers are known, options that
    do not ascend, shares that are not positive, and an `sd` or weights that are negative.

    **Example:**

        >>> from syndigits_jax.estimation import option_probabilities
        >>> print(option_probabilities([0.25, 0.5], 0.5, [0.0, 1.0]).round(2).tolist())
        [[0.75, 0.25], [0.5, 0.5]]
    """
    mean, sd, options = as_floats(mean=mean, sd=sd, options=options)
    if mean.ndim != 1 or options.ndim != 1 or options.shape[0] < 2:
        raise ValueError(
            f"`mean` must be (n,) and `options` (k,) with k of at least 2, got shapes "
            f"{mean.shape} and {options.shape}"
        )
    if sd.ndim:
        raise ValueError(f"`sd` must be one number, got shape {sd.shape}")
    check_penalty("sd", sd)
    known = concrete(options)
    if known is not None and not (np.isfinite(known).all() and (np.diff(known) > 0).all()):
        raise ValueError("`options` must be finite and ascending")
    weight = jnp.ones_like(mean)
    if sample_weight is not None:
        check_penalty("sample_weight", sample_weight)
        weight = as_float("sample_weight", sample_weight).astype(mean.dtype)
        if weight.shape != mean.shape:
            raise ValueError(f"`sample_weight` must have shape {mean.shape}, got {weight.shape}")
    log_base = jnp.zeros_like(options)
    if base is not None:
        base = as_float("base", base).astype(options.dtype)
        if base.shape != options.shape:
            raise ValueError(f"`base` must have shape {options.shape}, got {base.shape}")
        check_positive(base=base)
        log_base = jnp.log(base)
    return _probabilities(mean, sd.astype(mean.dtype), options, log_base, weight)


@jax.jit
@full_precision
def _probabilities(mean, sd, options, log_base, weight) -> Float[Array, "n k"]:
    return fit_tilt(mean, sd, options, log_base, weight).probabilities(options, log_base)
