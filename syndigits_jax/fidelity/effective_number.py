"""How many different people a population amounts to, and its twins."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..inference.sample_weight import checked_weight
from ..inference.student_t import student_t_quantile
from ..solvers.boundary import Numbers, as_floats
from ..solvers.checks import check_known_squares
from ..solvers.precision import full_precision

LIKE = 0.01
"""Likeness of two people at the ordinary distance of two people; 1 is equal."""


class EffectiveNumbers(NamedTuple):
    """Effective numbers of different members, and their ratio with a jackknife interval.

    - `people`, `twins`: the inverse of the mean likeness of two members, drawn with replacement: n
      where all are as different as can be, 1 where all are equal.
    - `ratio`, `lower`, `upper`: twins over people.
    """

    people: float
    twins: float
    ratio: float
    lower: float
    upper: float


@full_precision
def effective_numbers(
    human: Numbers, twin: Numbers, *, sample_weight: Numbers | None = None, level: float = 0.95
) -> EffectiveNumbers:
    """How many different people, and different twins, there effectively are.

    The likeness of two members is exp(-s d²), with d² the mean squared difference of their answers
    to the questions that both answered, in units of people's variance of each question, and s so
    that it is [`LIKE`][] at the mean d² of two people. The effective number is the inverse of its
    mean (Leinster and Cobbold, 2012, "Measuring diversity: the importance of species similarity",
    of order 2). It says what these questions tell; the interval is over people.

    **Arguments:** `human`, `twin`: (n, m) answers, NaN where missing; only answers that both gave
    count; `sample_weight`: (n,) weights of the people; `level`: of the interval.

    **Raises:** `ValueError` for shapes that do not fit, fewer than three people, and people who all
    answer alike.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.fidelity import effective_numbers
        >>> human = jax.random.normal(jax.random.key(0), (50, 20))
        >>> found = effective_numbers(human, 0.2 * human)
        >>> print(found.twins < 2 < 20 < found.people)
        True
    """
    x, y = as_floats(human=human, twin=twin)
    if x.ndim != 2 or x.shape != y.shape:
        raise ValueError(
            f"`twin` must have the shape of `human`, people x questions, got {y.shape} and "
            f"{x.shape}"
        )
    check_known_squares(human=x, twin=y)
    weight = checked_weight(sample_weight, x.shape[0], x.dtype)
    if int(np.sum(np.asarray(weight) > 0)) < 3:
        raise ValueError("`human`: at least three people are needed")
    used = ~(jnp.isnan(x) | jnp.isnan(y))
    w = jnp.where(used, weight[:, None], 0)
    total = jnp.sum(w, axis=0)
    share = w / jnp.where(total > 0, total, 1)[None, :]

    def moments(values):
        mean = jnp.sum(share * jnp.where(used, values, 0), axis=0)[None, :]
        centred = jnp.where(used, values - mean, 0)
        return centred, jnp.sum(share * centred**2, axis=0)

    x, variance = moments(x)
    y, _ = moments(y)
    varies = variance > 1e-12
    scale = jnp.sqrt(jnp.where(varies, variance, 1))[None, :]
    there = jnp.where(varies[None, :], used, False).astype(x.dtype)
    x, y = (jnp.where(there > 0, values / scale, 0) for values in (x, y))
    common = there @ there.T
    pairs = (common > 0) & ~jnp.eye(x.shape[0], dtype=bool)
    both = jnp.where(pairs, weight[:, None] * weight[None, :], 0)
    people, twins = (_distances(values, there, common) for values in (x, y))
    mean = jnp.sum(both * people) / jnp.maximum(jnp.sum(both), 1e-30)
    if not float(mean) > 0:
        raise ValueError("`human`: people all answer alike")
    rate = -jnp.log(jnp.asarray(LIKE, x.dtype)) / mean
    rows = [jnp.sum(both * jnp.exp(-rate * d), axis=1) for d in (people, twins)]
    own, pair = weight**2, jnp.sum(both, axis=1)
    sides = [np.asarray(a, np.float64) for a in rows]
    own, pair, weight = (np.asarray(a, np.float64) for a in (own, pair, weight))
    return _numbers(sides[0], sides[1], own, pair, weight, level)


def _numbers(people, twins, own, pair, weight, level: float) -> EffectiveNumbers:
    def number(rows, less: float = 0.0):
        """The effective number, (n,) equal ones; with `less` = 1, that without each person."""
        share = (rows.sum() - 2 * less * rows) / np.maximum(pair.sum() - 2 * less * pair, 1e-30)
        total = weight.sum() - less * weight
        alone = (own.sum() - less * own) / total**2
        return 1 / (alone + (1 - alone) * share)

    whole = [float(np.mean(number(rows))) for rows in (people, twins)]
    counted = weight > 0
    without = [number(rows, 1.0)[counted] for rows in (people, twins)]
    logs, n = np.log(without[1] / without[0]), int(counted.sum())
    error = np.sqrt((n - 1) / n * np.sum((logs - logs.mean()) ** 2))
    reach = float(student_t_quantile(level, jnp.asarray(n - 1.0, jnp.result_type(float)))) * error
    ratio = whole[1] / whole[0]
    return EffectiveNumbers(
        whole[0], whole[1], ratio, float(ratio * np.exp(-reach)), float(ratio * np.exp(reach))
    )


def _distances(values: Float[Array, "n m"], there: Array, common: Array) -> Float[Array, "n n"]:
    """Mean squared difference over the questions that both answered."""
    squares = values**2 @ there.T
    total = squares + squares.T - 2 * values @ values.T
    return jnp.maximum(total, 0) / jnp.where(common > 0, common, 1)
