"""Numbers and intervals as the sentences of a report say them."""

import math
from collections.abc import Sequence

from syndigits_jax.evaluation import Estimated
from syndigits_jax.report import Claim


def number(value: float | int, digits: int = 2, *, sign: bool = False) -> str:
    """A number with so many decimals; `sign`: with a sign also where it is positive."""
    text = f"{round(float(value), digits) + 0.0:.{digits}f}"
    return f"+{text}" if sign and float(text) > 0 else text


def percent(value: float | int, digits: int = 0) -> str:
    """A share as percent."""
    return f"{number(100 * value, digits)}%"


def count(value: float | int) -> str:
    """A number of people, to two digits beyond a hundred: nothing more is known of it."""
    if not math.isfinite(value):
        return "more people than can be told"
    if value >= 100:
        size = 10 ** (math.floor(math.log10(value)) - 1)
        value = round(value / size) * size
    return f"{value:,.0f}" if value >= 10 else number(value, 1).removesuffix(".0")


def interval(
    found: Estimated | Sequence[float], level: float, *, digits: int = 2, share: bool = False
) -> str:
    """`95% interval 0.37 to 0.47`; of an end that is infinite, that there is none.

    **Arguments:** `found`: whose last two numbers are the ends; `level`: its probability; `digits`:
    decimals; `share`: whether it is a share, shown as percent.
    """
    lower, upper = (float(end) for end in tuple(found)[-2:])
    say = (lambda v: percent(v, digits)) if share else (lambda v: number(v, digits))
    name = f"{percent(level)} interval"
    if not math.isfinite(lower) and not math.isfinite(upper):
        return "too few questions or people for an interval"
    if not math.isfinite(upper):
        return f"{name}: {say(lower)} or more"
    if not math.isfinite(lower):
        return f"{name}: {say(upper)} or less"
    return f"{name} {say(lower)} to {say(upper)}"


def claim(
    name: str, text: str, found: Estimated, level: float, source: str, finding: str = ""
) -> Claim:
    """A sentence about a number with its interval; ends that are infinite are left out.

    **Arguments:** `name`, `text`, `level`, `source`, `finding`: of the
    [`Claim`][syndigits_jax.report.Claim]; `found`: the number and its ends. Without any end there
    is no finding.
    """
    values = {"estimate": found.estimate, "lower": found.lower, "upper": found.upper}
    values = {key: float(value) for key, value in values.items() if math.isfinite(value)}
    known = "lower" in values or "upper" in values
    return Claim(name, text, values, level if known else None, finding if known else "", source)


def above(found: Estimated, positive: str, negative: str = "", than: float = 0.0) -> str:
    """The finding that an interval supports, or none.

    **Arguments:** `found`: a number with its ends; `positive`, `negative`: the findings if it is
    all above, or all below, `than`.
    """
    if found.lower > than:
        return positive
    return negative if found.upper < than else ""


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
