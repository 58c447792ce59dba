"""Exact intervals for shares of few."""

import math

_STEPS = 60


def exact_share_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of Clopper and Pearson (1934) for the chance of success; never too narrow.

    **Arguments:** `successes` of `trials`; `level`: of the interval.

    **Raises:** `ValueError` unless 0 <= successes <= trials and 0 < level < 1.

    **Example:**

        >>> from syndigits_jax.inference import exact_share_interval
        >>> print([round(end, 3) for end in exact_share_interval(9, 10)])
        [0.555, 0.997]
    """
    if not 0 <= successes <= trials:
        raise ValueError(
            f"`successes` must be between 0 and `trials`, got {successes} and {trials}"
        )
    if not 0 < level < 1:
        raise ValueError(f"`level` must be strictly between 0 and 1, got {level}")
    tail = (1 - level) / 2

    def at_least(count: int, chance: float) -> float:
        terms = range(count, trials + 1)
        return math.fsum(
            math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in terms
        )

    def where(count: int, probability: float) -> float:
        """The chance at which at least `count` successes have this probability."""
        low, high = 0.0, 1.0
        for _ in range(_STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if at_least(count, middle) < probability else (low, middle)
        return (low + high) / 2

    lower = 0.0 if successes == 0 else where(successes, tail)
    upper = 1.0 if successes == trials else where(successes + 1, 1 - tail)
    return lower, upper
