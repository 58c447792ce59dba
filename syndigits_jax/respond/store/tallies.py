"""Counts of the responses to a run's latest call."""

import math
from dataclasses import dataclass

from ..readouts.outcomes import STATUSES
from .export import StoreLike, choose_run
from .responses import Run, reading


@dataclass(frozen=True)
class Tally:
    """The responses of a run to the requests of its latest call, including earlier responses.

    - `run`: the run; `engines`: the engines that answered, with their versions; `personas`,
      `questions`: their numbers.
    - `responses`: the number of responses by status, without statuses that do not occur.
    - `outside`: the mean probability of anything but an answer, NaN where it was not read.
    - `prompt_tokens`, `completion_tokens`, `cached_tokens`: sums.
    - `seconds`: between the first response and the last, including pauses.
    """

    run: Run
    engines: tuple[str, ...]
    personas: int
    questions: int
    responses: dict[str, int]
    outside: float
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    seconds: float


_ASKED = (
    "FROM responses AS r "
    "JOIN grids AS p ON p.run = r.run AND p.kind = 'personas' AND p.id = r.persona "
    "JOIN grids AS q ON q.run = r.run AND q.kind = 'questions' AND q.id = r.question "
)


def tally(store: StoreLike, run: int | str | None = None) -> Tally:
    """Count the responses of a run.

    **Arguments** and **raises:** as [`read_frame`][syndigits_jax.respond.store.export.read_frame].
    """
    with reading(store) as opened:
        chosen = choose_run(opened, run)
        where = (chosen.id,)
        found = dict(
            opened.rows(f"SELECT status, COUNT(*) {_ASKED} WHERE r.run = ? GROUP BY status", where)
        )
        sums = (
            "AVG(outside), SUM(prompt_tokens), SUM(completion_tokens), SUM(cached_tokens), "
            "MAX(time) - MIN(time)"
        )
        ((outside, *tokens, seconds),) = opened.rows(
            f"SELECT {sums} {_ASKED} WHERE r.run = ?", where
        )
        engines = opened.rows(
            f"SELECT DISTINCT engine, engine_version {_ASKED} "
            "JOIN sessions ON sessions.id = r.session WHERE r.run = ? ORDER BY 1, 2",
            where,
        )
        engines = tuple(" ".join(one).strip() for one in engines)
        sizes = dict(
            opened.rows("SELECT kind, COUNT(*) FROM grids WHERE run = ? GROUP BY kind", where)
        )
    prompt, completion, cached = (int(count or 0) for count in tokens)
    return Tally(
        chosen, engines, sizes.get("personas", 0), sizes.get("questions", 0),
        {name: found[name] for name in STATUSES if name in found},
        math.nan if outside is None else outside, prompt, completion, cached, float(seconds or 0),
    )  # fmt: skip
