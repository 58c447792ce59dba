"""Effects of randomised arms among people and among twins, and whether they agree."""

from collections.abc import Iterable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from ..inference.conformal import Interval
from ..inference.sample_weight import checked_weight
from ..inference.simultaneous import Resampled
from ..inference.student_t import student_t_quantile
from ..solvers.boundary import Numbers, as_float, as_floats, concrete
from ..solvers.checks import check_count, check_probability
from ..solvers.keys import PRNGKey
from ..solvers.precision import full_precision
from ..solvers.units import largest


class ArmEffects(eqx.Module):
    """Differences of means of two arms, by source of the answers.

    - `effect`: (s, c) treated less control, with draws of the bootstrap over people.
    - `people`: (s, c, 2) how many answered, treated and control.
    - `sources`: names.
    """

    effect: Resampled
    people: Float[Array, "s c 2"]
    sources: tuple[str, ...] = eqx.field(static=True)


class EffectSlope(Interval):
    """How large effects of one source are in units of those of another.

    - `value`: the slope, NaN where the other source has no effect that can be told;
      `lower`, `upper`: its interval, infinite then.
    """

    value: Float[Array, ""]


@full_precision
def arm_effects(
    treated: Mapping[str, Numbers],
    control: Mapping[str, Numbers],
    *,
    key: PRNGKey,
    sample_weight: Numbers | None = None,
    replicates: int = 1000,
    batch_size: int = 50,
) -> ArmEffects:
    """Differences between arms of people's and of twins' answers to c outcomes.

    People are resampled as a whole: all answers of a person, and of the person's twin, together.

    **Arguments:**

    - `treated`, `control`: by source, (c, n) answers under each arm, NaN for people who were not in
      it. Twins who answered the versions of both arms have answers in both.
    - `key`: of the resampling.
    - `sample_weight`: (n,) weights of the people.
    - `replicates`: of the bootstrap; `batch_size`: of them at a time, which bounds memory.

    **Returns:** [`ArmEffects`][].

    **Raises:** `ValueError` for sources, shapes or weights that do not fit, and fewer than two
    answers in an arm.

    **Example:**

        >>> import jax
        >>> import numpy as np
        >>> from syndigits_jax.evaluation import arm_effects
        >>> answers = np.array([[1.0, 2, 3, 4], [2.0, 2, 4, 5]])
        >>> arm = np.array([0, 0, 1, 1])
        >>> two = {"people": np.where(arm == 1, answers, np.nan)}
        >>> one = {"people": np.where(arm == 0, answers, np.nan)}
        >>> print(arm_effects(two, one, key=jax.random.key(0)).effect.value)
        [[2.  2.5]]
    """
    names = tuple(treated)
    if not names or set(control) != set(names):
        raise ValueError(
            f"`treated` and `control` must have the same sources, got {list(names)} and "
            f"{list(control)}"
        )
    arrays = [as_float(f"treated[{k!r}]", treated[k]) for k in names]
    arrays += [as_float(f"control[{k!r}]", control[k]) for k in names]
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1 or len(arrays[0].shape) != 2:
        raise ValueError(
            f"`treated` and `control` must be (c, n), all of one shape, got {sorted(shapes)}"
        )
    if 0 in arrays[0].shape:
        raise ValueError(f"`treated` and `control` are empty: they have shape {arrays[0].shape}")
    kind = max((array.dtype for array in arrays), key=lambda dtype: dtype.itemsize)
    values = jnp.stack([array.astype(kind) for array in arrays])
    values = jnp.stack([values[: len(names)], values[len(names) :]])  # (2, s, c, n)
    weight = checked_weight(sample_weight, values.shape[-1], kind)
    check_count("replicates", replicates, least=2)
    there = ~jnp.isnan(values) & (weight > 0)[None, None, None]
    people = jnp.sum(there, axis=-1, dtype=kind)
    known = concrete(people)
    if known is not None and (known < 2).any():
        arm, source, outcome = np.argwhere(known < 2)[0]
        raise ValueError(
            f"`{('treated', 'control')[arm]}[{names[source]!r}]`: outcome {outcome} has "
            f"{int(known[arm, source, outcome])} answers; at least two are needed"
        )
    keys = jax.random.split(key, replicates)
    found = _effects(values, there, weight, keys, batch_size=min(batch_size, replicates))
    return ArmEffects(found, jnp.moveaxis(people, 0, -1), names)


@eqx.filter_jit
def _effects(
    values: Float[Array, "2 s c n"],
    there: Any,
    weight: Float[Array, " n"],
    keys: Key[Array, " r"],
    *,
    batch_size: int,
) -> Resampled:
    seen, n = there.astype(values.dtype), weight.shape[0]
    # About the mean of all, so that differences lose no digits.
    total = jnp.sum(seen, axis=(0, 1, 3))
    middle = jnp.sum(jnp.where(there, values, 0), axis=(0, 1, 3)) / jnp.maximum(total, 1)
    values = jnp.where(there, values - middle[None, None, :, None], 0)

    def effect(people: Float[Array, " n"]) -> Float[Array, "s c"]:
        total = seen @ people
        mean = (values @ people) / jnp.where(total > 0, total, 1)
        mean = jnp.where(total > 0, mean, jnp.nan)
        return mean[0] - mean[1]

    def replicate(key: Key[Array, ""]) -> Float[Array, "s c"]:
        drawn = jax.random.randint(key, (n,), 0, n)
        return effect(jnp.bincount(drawn, length=n).astype(weight.dtype) * weight)

    return Resampled(effect(weight), jax.lax.map(replicate, keys, batch_size=batch_size))


@full_precision
def effect_slope(
    effects: Resampled,
    *,
    key: PRNGKey,
    outcomes: Iterable[Any] | None = None,
    level: float = 0.95,
) -> EffectSlope:
    """How large effects are among twins, for every unit among people, over many outcomes.

    The slope of a line through the origin, as the direction of an outcome's scale is arbitrary.
    Both effects have errors, which would draw an ordinary slope to 0 and, as twins' answers go with
    people's, also tie them together. So sampling variances and covariances are subtracted from
    sums of squares and products. The interval is that of a ratio estimator (Cochran, 1977, Sampling
    Techniques, 6.4), from a bootstrap over people (the draws) and outcomes at once, with Student's
    t. It is infinite where the sum of squares of people's effects cannot be told from 0.

    **Arguments:**

    - `effects`: (2, c) of people, and of twins, with draws.
    - `key`: of the resampling of outcomes.
    - `outcomes`: (c,) labels of effects that are resampled together, such as those of several arms
      on one question; by default each is its own.
    - `level`: of the interval.

    **Returns:** [`EffectSlope`][].

    **Raises:** `ValueError` unless the effects are (2, c), for labels that do not fit, fewer than
    two outcomes and a level outside (0, 1).

    **Example:**

        >>> import jax
        >>> from syndigits_jax.evaluation import effect_slope
        >>> from syndigits_jax.inference import Resampled
        >>> people = 0.2 * jax.random.normal(jax.random.key(0), (12,))
        >>> both = jax.numpy.stack([people, 0.5 * people])
        >>> draws = both[None] + 0.01 * jax.random.normal(jax.random.key(1), (500, 2, 12))
        >>> print(effect_slope(Resampled(both, draws), key=jax.random.key(2)).value.round(2))
        0.5
    """
    if effects.value.ndim != 2 or effects.value.shape[0] != 2:
        raise ValueError(f"`effects` must be (2, c), got {effects.value.shape}")
    count = effects.value.shape[1]
    labels = list(range(count)) if outcomes is None else list(outcomes)
    if len(labels) != count:
        raise ValueError(f"`outcomes` must have {count} labels, got {len(labels)}")
    place = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    if len(place) < 2:
        raise ValueError("`outcomes`: at least two are needed")
    check_probability(level=level)
    member = jnp.asarray([place[label] for label in labels])
    value, draws = as_floats(effects=effects.value, draws=effects.draws)
    if draws.shape[1:] != value.shape or draws.shape[0] < 2:
        raise ValueError(
            f"`effects`: its draws must be (r, 2, c), at least two of them, for a value of shape "
            f"{value.shape}, got {draws.shape}"
        )
    # In units of each source's largest effect, so that squares are finite.
    unit = largest(jnp.where(jnp.isfinite(value), value, 0), 1)
    at = jnp.asarray(level, value.dtype)
    found = _slope(
        value / unit[:, None], draws / unit[None, :, None], member, key, at, groups=len(place)
    )
    return jax.tree.map(lambda end: end * (unit[1] / unit[0]), found)


@eqx.filter_jit
def _slope(
    value: Float[Array, "2 c"],
    draws: Float[Array, "r 2 c"],
    member: Int[Array, " c"],
    key: Key[Array, ""],
    level: Float[Array, ""],
    *,
    groups: int,
) -> EffectSlope:
    usable = jnp.all(jnp.isfinite(value), axis=0)
    complete = jnp.all(jnp.isfinite(draws), axis=1, keepdims=True)
    draws = jnp.where(complete, draws, value[None])
    draws, value = (jnp.where(usable, x, 0) for x in (draws, value))
    away = draws - jnp.mean(draws, axis=0)[None]
    noise = jnp.einsum("rac,rbc->abc", away, away) / (draws.shape[0] - 1)

    def parts(effect: Float[Array, "2 c"], times: Float[Array, " c"], noises: int) -> Array:
        """Sums of people's effects with those of twins, and of their squares."""
        product = effect[0][None] * effect - noises * noise[0]
        return jnp.sum(product * times[None], axis=1)[::-1]

    def replicate(one: tuple[Float[Array, "2 c"], Key[Array, ""]]) -> Array:
        drawn = jax.random.randint(one[1], (groups,), 0, groups)
        times = jnp.bincount(drawn, length=groups)[member].astype(value.dtype)
        return parts(one[0], times, 2)  # a resample adds the noise once more

    found = parts(value, jnp.ones_like(value[0]), 1)
    several = jax.vmap(replicate)((draws, jax.random.split(key, draws.shape[0])))
    a, b = found
    # Whether people have effects is a question of these outcomes alone.
    same = jax.vmap(lambda one: parts(one, jnp.ones_like(value[0]), 2)[1])(draws)
    quantile = student_t_quantile(level, jnp.asarray(groups - 1, level.dtype)).astype(value.dtype)
    known = b > quantile * jnp.std(same, ddof=1)
    safe = jnp.where(known, b, 1)
    slope = a / safe
    half = quantile * jnp.std(several[:, 0] - slope * several[:, 1], ddof=1) / safe
    return EffectSlope(
        lower=jnp.where(known, slope - half, -jnp.inf),
        upper=jnp.where(known, slope + half, jnp.inf),
        value=jnp.where(known, slope, jnp.nan),
    )
