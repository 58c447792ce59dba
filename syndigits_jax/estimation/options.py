"""Probabilities of a question's options, for each person and as shares of the population.

A predicted mean says where a person's answer lies on average, not how answers spread over the
options. Between given means and a given overall spread, the distributions of largest entropy are

    p_i(o) ∝ exp(η_i o + γ o²),

with η_i set by the person's mean and one γ by the population's standard deviation: the smaller it
is, the closer answers lie to the means; γ > 0 moves them to the ends.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..solvers.boundary import Numbers, as_float, as_floats
from ..solvers.precision import full_precision

_STEPS = 40
_STEEPEST = 30.0
_CURVED = 12.0


@full_precision
def option_probabilities(
    mean: Numbers, sd: Numbers, options: Numbers, *, sample_weight: Numbers | None = None
) -> Float[Array, "n k"]:
    """Distribution over the options for each of n people.

    **Arguments:**

    - `mean`: (n,) predicted means, within the options' range (clipped to it).
    - `sd`: the standard deviation of all n answers together. Where no distribution with these
      means has it, the nearest possible one is used.
    - `options`: (k,) ascending values of at least two options.
    - `sample_weight`: (n,) weights of the people in the population's standard deviation.

    **Returns:** (n, k) probabilities, each with mean `mean`; under `jit`, `vmap` and `grad`.

    **Raises:** `ValueError` for shapes that do not fit.

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
    weight = jnp.ones_like(mean)
    if sample_weight is not None:
        weight = as_float("sample_weight", sample_weight).astype(mean.dtype)
        if weight.shape != mean.shape:
            raise ValueError(f"`sample_weight` must have shape {mean.shape}, got {weight.shape}")
    low, high = options[0], options[-1]
    half = (high - low) / 2
    place = (options - low) / half - 1
    edge = 1e-4
    target = jnp.clip((mean - low) / half - 1, -1 + edge, 1 - edge)
    share = weight / jnp.sum(weight)
    wanted = (sd / half) ** 2

    def distributions(curve):
        def at(slope):
            return jax.nn.softmax(
                slope[:, None] * place[None, :] + curve * place[None, :] ** 2, axis=1
            )

        def halve(_, ends):
            lower, upper = ends
            middle = (lower + upper) / 2
            above = at(middle) @ place > target
            return jnp.where(above, lower, middle), jnp.where(above, middle, upper)

        steep = jnp.full_like(target, _STEEPEST + 2 * jnp.abs(curve))
        lower, upper = jax.lax.fori_loop(0, _STEPS, halve, (-steep, steep))
        slope = jax.lax.stop_gradient((lower + upper) / 2)
        # One Newton step, through which gradients pass.
        p = jax.lax.stop_gradient(at(slope))
        first = p @ place
        variance = jnp.maximum(p @ place**2 - first**2, 1e-6)
        return at(slope + (target - first) / variance)

    def variance(curve):
        p = distributions(curve)
        centre = share @ (p @ place)
        return share @ (p @ place**2) - centre**2

    def halve(_, ends):
        lower, upper = ends
        middle = (lower + upper) / 2
        above = variance(middle) > wanted
        return jnp.where(above, lower, middle), jnp.where(above, middle, upper)

    curved = jnp.asarray(_CURVED, mean.dtype) * options.shape[0] ** 2 / 4
    lower, upper = jax.lax.fori_loop(0, 30, halve, (-curved, curved))
    return distributions(jax.lax.stop_gradient((lower + upper) / 2))
