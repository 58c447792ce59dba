"""Before asking anybody: how many people an interval needs, and how to split a budget.

The variance of a prediction-powered mean is σ² ((1 - R²) / n + R² / N) for n people asked among N
with proxies that explain a share R² of the answers' variance σ² (N infinite: σ² (1 - R²) / n; N the
whole population: σ² (1 - R²) (1/n - 1/N)).
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Array, Float

from ...solvers.boundary import Numbers, as_floats, concrete
from ...solvers.checks import check_fraction, check_positive
from ..student_t import student_t_quantile
from ._inputs import check_level

_ROUNDS = 12


def people_needed(
    half_width: Numbers,
    sd: Numbers,
    r2: Numbers = 0.0,
    *,
    twins: Numbers = jnp.inf,
    finite: bool = False,
    level: Numbers = 0.95,
) -> Float[Array, ""]:
    """The number of people to ask for an interval of a mean of at most this half-width.

    **Arguments:**

    - `half_width`: wanted, in the unit of the answers.
    - `sd`: standard deviation of people's answers; of a share p it is √(p (1 - p)), at most 0.5.
    - `r2`: the share of their variance that the proxies explain, a squared correlation; 0 for
      people alone.
    - `twins`: N, how many people have proxies.
    - `finite`: whether those N are the population.
    - `level`: coverage of the interval.

    **Returns:** a whole number, as a float; infinite where not even infinitely many people among
    the N would do, because the N are too few for the population.

    **Raises:** `ValueError` for numbers out of range.

    **Example:**

        >>> from syndigits_jax.inference import people_needed
        >>> print(people_needed(0.1, sd=1.0), people_needed(0.1, sd=1.0, r2=0.5))
        387.0 195.0
    """
    level = check_level(level)
    check_positive(half_width=half_width, sd=sd, twins=twins)
    check_fraction("r2", r2)
    half_width, sd, r2, twins = as_floats(half_width=half_width, sd=sd, r2=r2, twins=twins)
    level = level.astype(half_width.dtype)
    return _needed(half_width, sd, r2, twins, level, finite=finite)


@functools.partial(jax.jit, static_argnames=("finite",))
def _needed(
    half_width: Array, sd: Array, r2: Array, twins: Array, level: Array, *, finite: bool
) -> Float[Array, ""]:
    used = jnp.where(r2 > 0, 1.0, 0.0).astype(r2.dtype)
    unexplained = 1 - r2

    def enough(quantile: Array) -> Array:
        wanted = (half_width / quantile / sd) ** 2
        if finite:
            return jnp.ceil(_snug(unexplained / (wanted + unexplained / twins)))
        room = wanted - r2 / twins
        return jnp.where(
            room > 0, jnp.ceil(_snug(unexplained / jnp.where(room > 0, room, 1))), jnp.inf
        )

    def degrees(n: Array) -> Array:
        return jnp.maximum(n - 1 - used, 1)

    def holds(n: Array) -> Array:
        return n >= enough(student_t_quantile(level, degrees(n)))

    fewest = 2 + used

    def raised(_: Array, found: Array) -> Array:
        # Fewer people have a larger t quantile, and so need more.
        more = jnp.clip(enough(student_t_quantile(level, degrees(found))), found + 1, 2 * found)
        return jnp.where(holds(found), found, more)

    def lowered(_: Array, found: Array) -> Array:
        return jnp.where((found > fewest) & holds(found - 1), found - 1, found)

    found = jnp.maximum(enough(ndtri((1 + level) / 2)), fewest)
    found = jax.lax.fori_loop(0, _ROUNDS, raised, found)
    found = jax.lax.fori_loop(0, _ROUNDS, lowered, found)
    return jnp.where(found > twins, jnp.inf if not finite else twins, found)


def _snug(value: Array) -> Array:
    """Rounding must not push a whole number up by one."""
    return value * (1 - 8 * jnp.finfo(value.dtype).eps)


class Split(eqx.Module):
    """How many people to ask and how many twins, and what that gives.

    - `people`: n; `twins`: N, those of the people asked among them, 0 where people alone are
      better. Both are real numbers, to be rounded.
    - `cost`; `standard_error` of the mean.
    - `cost_of_people_alone`: for the same standard error without any twin.
    """

    people: Float[Array, ""]
    twins: Float[Array, ""]
    cost: Float[Array, ""]
    standard_error: Float[Array, ""]
    cost_of_people_alone: Float[Array, ""]


def cheapest_split(
    cost_person: Numbers,
    cost_twin: Numbers,
    r2: Numbers,
    sd: Numbers,
    *,
    budget: Numbers | None = None,
    half_width: Numbers | None = None,
    level: Numbers = 0.95,
) -> Split:
    """The best split of a budget between people and twins, or the cheapest for a precision.

    Of people who are asked the twin must answer too. The variance times the cost is least at
    n / N = √((1 - R²) c_twin / (R² c_person)) if that is below 1; twins pay where
    √(c_person (1 - R²)) + √(c_twin R²) < √c_person.

    **Arguments:** `cost_person`, `cost_twin`: of one person's and one twin's answer; `r2`, `sd`: as
    in [`people_needed`][]; `budget` or `half_width`: one of the two, of an interval with the normal
    quantile at `level`.

    **Raises:** `ValueError` for numbers out of range, or unless one of `budget` and `half_width` is
    given.

    **Example:**

        >>> from syndigits_jax.inference import cheapest_split
        >>> split = cheapest_split(10.0, 0.01, r2=0.5, sd=1.0, budget=1000.0)
        >>> print(split.people.round(1), split.twins.round(), split.cost_of_people_alone.round())
        96.9 3065.0 1879.0
    """
    if (budget is None) == (half_width is None):
        raise ValueError("give either `budget` or `half_width`")
    level = check_level(level)
    goal = {"budget": budget, "half_width": half_width}
    check_positive(cost_person=cost_person, cost_twin=cost_twin, sd=sd)
    check_positive(**{name: value for name, value in goal.items() if value is not None})
    check_fraction("r2", r2)
    person, twin, r2, sd, budget, half_width = as_floats(
        cost_person=cost_person, cost_twin=cost_twin, r2=r2, sd=sd, **goal
    )
    known = concrete(r2)
    if known is not None and known == 1:
        raise ValueError("`r2` must be below 1: perfect twins need no people")
    # With a people and b twins per unit of cost: a = √((1 - R²)/c_p) / S, b = √(R²/c_t) / S.
    total = jnp.sqrt(person * (1 - r2)) + jnp.sqrt(twin * r2)
    rate = jnp.sqrt((1 - r2) / person) / total
    twins = jnp.sqrt(r2 / twin) / total
    pays = (total < jnp.sqrt(person)) & (rate <= twins)
    rate = jnp.where(pays, rate, 1 / person)
    twins = jnp.where(pays, twins, 0)
    unit = jnp.where(pays, total**2, person)  # variance times cost, in units of sd²
    if budget is not None:
        cost = budget
    else:
        assert half_width is not None
        cost = unit * (ndtri((1 + level.astype(unit.dtype)) / 2) * (sd / half_width)) ** 2
    return Split(rate * cost, twins * cost, cost, sd * jnp.sqrt(unit / cost), cost * person / unit)
