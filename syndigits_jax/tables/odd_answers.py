"""Answers that look like codes for a missing one: 999 or -1 among answers from 1 to 5.

Undeclared, such a code becomes the end of a question's range and pulls its mean. Nobody but the
table's owner can know, so that this is said and nothing is changed.
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .cells import TableWarning
from .responses import some

CODES = frozenset(
    [-1, -2, -3, -7, -8, -9]
    + [sign * float(digit * times) for sign in (1, -1) for digit in "789" for times in (2, 3, 4)]
    + [sign * float(f"{nines}8") for sign in (1, -1) for nines in ("9", "99", "999")]
)
"""Numbers that surveys use for "does not apply", "do not know" and "refused"."""

FAR = 10.0
"""Interquartile ranges between the answers and one that is far from them."""

_LEAST_GAP = 10.0
_SPANS = 3.0


class OddAnswers(NamedTuple):
    """Of one question: `values`, given `count` times, and the range of all other answers."""

    question: str
    values: tuple[float, ...]
    count: int
    low: float
    high: float


def odd_answers(
    answers: Float[np.ndarray, "n m"], questions: Sequence[str]
) -> tuple[OddAnswers, ...]:
    """Answers that are far from all others of their question, or look like a code.

    The answers of a question are split at their largest gap, on either side; those beyond it are
    fewer than half. They are odd if

    - all are customary codes, and the gap is larger than the span of the others (and than 10), or
      they are negative, no other is, and the gap is larger than those between the others; or
    - the gap is more than 10 interquartile ranges of the others (and steps between them), and more
      than 3 spans.

    **Arguments:** `answers`: (n, m), NaN where missing; `questions`: their names.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax.tables.odd_answers import odd_answers
        >>> found = odd_answers(np.array([[1.0], [5.0], [3.0], [2.0], [999.0]]), ["q1"])
        >>> print(found[0].question, found[0].values, found[0].high)
        q1 (999.0,) 5.0
    """
    found = []
    for name, column in zip(questions, answers.T, strict=True):
        known = np.sort(column[~np.isnan(column)])
        for sign in (1, -1, 1):  # again, as codes on one side hide those on the other
            outer, inner = _split(np.sort(sign * known))
            if outer.size and _is_odd(outer, inner, sign):
                values, rest = np.unique(sign * outer), sign * inner
                ends = float(rest.min()), float(rest.max())
                known = rest
                found.append(OddAnswers(name, tuple(map(float, values)), outer.size, *ends))
    return tuple(found)


def warn_of_odd_answers(
    answers: Float[np.ndarray, "n m"], questions: Sequence[str], argument: str
) -> None:
    """Warn (`TableWarning`) of [`odd_answers`][], once, by the questions of each set of values.

    **Arguments:** `answers`, `questions`: as there; `argument`: what they are called.
    """
    by_values: dict[tuple[float, ...], list[OddAnswers]] = {}
    for one in odd_answers(answers, questions):
        by_values.setdefault(one.values, []).append(one)
    for values, odd in by_values.items():
        said = ", ".join(f"{value:g}" for value in values)
        first = odd[0]
        warnings.warn(
            f"`{argument}`: {said} is far from all other answers ({first.low:g} to {first.high:g} "
            f"for {first.question!r}) to {some([one.question for one in odd])}, "
            f"{sum(one.count for one in odd)} times in all; if it stands for a missing answer, say "
            f"so (missing={said!r}): it now counts as an answer, and is an end of the range",
            TableWarning,
            stacklevel=2,
        )


def _split(ascending: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is above the largest gap in the upper half, and the rest; nothing without a gap."""
    gaps = np.diff(ascending)
    start = len(ascending) // 2
    if len(ascending) < 3 or not np.any(gaps[start:] > 0):
        return ascending[:0], ascending
    at = start + int(np.argmax(gaps[start:])) + 1
    return ascending[at:], ascending[:at]


def _is_odd(outer: np.ndarray, inner: np.ndarray, sign: int) -> bool:
    gap, span = float(outer[0] - inner[-1]), float(inner[-1] - inner[0])
    steps = np.diff(np.unique(inner))
    if all(sign * value in CODES for value in outer):
        if gap > max(span, _LEAST_GAP):
            return True
        only_negative = sign < 0 and outer[0] > 0 and inner[-1] <= 0
        if only_negative and steps.size and gap > steps.max():
            return True
    if not steps.size:
        return False
    quartiles = np.quantile(inner, [0.25, 0.75])
    usual = max(float(quartiles[1] - quartiles[0]), float(steps.min()))
    return gap > FAR * usual and gap > _SPANS * span
