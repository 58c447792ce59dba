"""A survey as read from a file: its questions, people's answers, and what was left out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...schema import Question
from ...tables.responses import some

ABOUT_RESPONSE = "it describes the response"
ORDER_SHOWN = "it is the order of what was shown"
ONLY_TEXT = "it shows a text and asks nothing"
NEVER_MISSED = (ABOUT_RESPONSE, ORDER_SHOWN, ONLY_TEXT)
"""Reasons to leave something out that a command does not mention."""


@dataclass(frozen=True, eq=False, repr=False)
class Survey:
    """A questionnaire and, where they were read too, people's answers to it.

    **Arguments:**

    - `questions`: those that are answered by a number or by options, in the order of the survey.
    - `answers`: a pandas data frame of codes, people in the index and a column per question
      (its identifier), NaN where a person gave no answer; `None` if only questions were read. It
      goes into [`Panel.from_frames`][syndigits_jax.Panel.from_frames] as it is.
    - `left_out`: why, by the name of a question or column that is not among them.
    - `notes`: further sentences on what was done: responses left out, answers that are no option.

    **Example:**

        >>> from syndigits_jax.datasets import Survey
        >>> from syndigits_jax.schema import Question
        >>> survey = Survey((Question("q1"),), left_out={"q2": "it is answered in words"})
        >>> print(*survey.report)
        Left out, as it is answered in words: q2.
    """

    questions: tuple[Question, ...]
    answers: Any = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def report(self) -> tuple[str, ...]:
        """What was left out and why, and the notes: plain sentences."""
        by_reason: dict[str, list[str]] = {}
        for name, why in self.left_out.items():
            by_reason.setdefault(why, []).append(name)
        said = [f"Left out, as {why}: {', '.join(names)}." for why, names in by_reason.items()]
        return (*said, *self.notes)

    @property
    def summary(self) -> str:
        """The report in short, without what nobody would miss; "" if nothing else was left out."""
        parts = []
        missed = {name: why for name, why in self.left_out.items() if why not in NEVER_MISSED}
        if missed:
            reasons = list(dict.fromkeys(missed.values()))
            why = "; ".join(reasons[:3]) + ("; ..." if len(reasons) > 3 else "")
            parts.append(f"{len(missed)} left out ({some(list(missed))}): {why}")
        parts += [note.rstrip(".") for note in self.notes]
        return ". ".join(parts)

    def __repr__(self) -> str:
        people = "no answers" if self.answers is None else f"{len(self.answers)} people"
        return (
            f"Survey({len(self.questions)} questions, {people}, {len(self.left_out)} left out; "
            "see .report)"
        )


class LeftOut(dict[str, str]):
    """Reasons by name, where a second use of a name gets its identifier behind it."""

    def add(self, name: str, identifier: str, why: str) -> None:
        """Note that `name`, which is also called `identifier`, is left out."""
        if name in self and identifier != name:
            name = f"{name} ({identifier})"
        self.setdefault(name, why)


def named(questions: Iterable[Question], names: Sequence[str]) -> tuple[Question, ...]:
    """The questions under other identifiers."""
    return tuple(replace(q, identifier=name) for q, name in zip(questions, names, strict=True))


def distinct(names: Sequence[str], owners: Sequence[str]) -> list[str]:
    """Names without repetitions: where two questions share one, all of theirs get the owner's.

    **Arguments:** `names`: of columns; `owners`: the identifier of each column's question.
    """
    first: dict[str, str] = {}
    shared: set[str] = set()
    for name, owner in zip(names, owners, strict=True):
        if first.setdefault(name, owner) != owner:
            shared |= {first[name], owner}
    out: list[str] = []
    taken: set[str] = set()
    for name, owner in zip(names, owners, strict=True):
        whole = base = f"{name}_{owner}" if owner in shared else name
        again = 2
        while whole in taken:
            whole, again = f"{base}_{again}", again + 1
        taken.add(whole)
        out.append(whole)
    return out
