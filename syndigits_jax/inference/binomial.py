"""Exact intervals for shares of few."""

import math

import numpy as np

from ..solvers.checks import check_probability

_STEPS = 60
MOST_TRIALS = 10_000_000


def exact_share_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of Clopper and Pearson (1934) for the chance of success; never too narrow.

    **Arguments:** `successes` of `trials`; `level`: of the interval.

    **Raises:** `ValueError` unless 0 <= successes <= trials and 0 < level < 1, and for more than
    [`MOST_TRIALS`][], of which an exact interval is of no use.

    **Example:**

        >>> from syndigits_jax.inference import exact_share_interval
        >>> print([round(end, 3) for end in exact_share_interval(9, 10)])
        [0.555, 0.997]
    """
    if not 0 <= successes <= trials:
        raise ValueError(
            f"`successes` must be between 0 and `trials`, got {successes} and {trials}"
        )
    if trials > MOST_TRIALS:
        raise ValueError(f"`trials` must be at most {MOST_TRIALS}, got {trials}")
    check_probability(level=level)
    tail = (1 - level) / 2
    k = np.arange(trials + 1)
    # Logarithms: binomial coefficients of a thousand trials are beyond floating-point numbers.
    log_ways = np.concatenate([[0.0], np.cumsum(np.log((trials + 1 - k[1:]) / k[1:]))])

    def at_least(count: int, chance: float) -> float:
        some = k[count:]
        odds = some * math.log(chance) + (trials - some) * math.log1p(-chance)
        return float(np.exp(log_ways[count:] + odds).sum())

    def where(count: int, probability: float) -> float:
        """The chance at which at least `count` successes have this probability."""
        low, high = 0.0, 1 - 2.0**-53
        for _ in range(_STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if at_least(count, middle) < probability else (low, middle)
        return (low + high) / 2

    lower = 0.0 if successes == 0 else where(successes, tail)
    upper = 1.0 if successes == trials else where(successes + 1, 1 - tail)
    return lower, upper
