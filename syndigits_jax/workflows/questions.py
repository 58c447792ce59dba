"""Questions to ask: read from a file, and selected by identifier or block."""

from collections.abc import Iterable, Sequence
from os import PathLike

from syndigits_jax.datasets.films import film_questions
from syndigits_jax.datasets.questions import read_questions
from syndigits_jax.results.names import near
from syndigits_jax.schema import Question


def read_asked(path: str | PathLike[str], scale: str | None = None) -> tuple[Question, ...]:
    """The questions of a file; with a `scale` ("stars" or "purchase"), one per item of a table.

    **Raises:** `FileNotFoundError`, `ValueError` naming the file.
    """
    return read_questions(path) if scale is None else film_questions(path, answers=scale)


def select_questions(
    questions: Sequence[Question], ask: Sequence[str] = (), block: Sequence[str] = ()
) -> tuple[Question, ...]:
    """The questions in `ask` (identifiers, in that order), then those of the blocks `block`; all if
    both are empty.

    **Raises:** `ValueError` naming an unknown question or block, and the nearest known one.
    """
    by_name = {question.identifier: question for question in questions}
    there = dict.fromkeys(question.block for question in questions if question.block)
    for name in ask:
        if name not in by_name:
            raise ValueError(f"`ask`: there is no question {name!r}; {_near(name, by_name)}")
    for name in block:
        if name not in there:
            raise ValueError(f"`block`: there is no block {name!r}; {_near(name, there)}")
    if not ask and not block:
        return tuple(questions)
    chosen = dict.fromkeys(ask)
    chosen |= dict.fromkeys(q.identifier for q in questions if q.block and q.block in block)
    return tuple(by_name[name] for name in chosen)


def _near(name: str, known: Iterable[str]) -> str:
    known = list(known)
    said = near(name, known) if known else "there is none"
    return said if len(said) < 200 else f"there are {len(known)} others"
