"""Asking: everything a plan has and the store has not, once, in an order that caches like."""

import collections
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...schema import Persona, Question
from ..prompts.templates import Template
from ..readouts.outcomes import MalformedCompletion, Outcome, read_outcome
from ..requests import Completion, Decoding, Engine, EngineDied, EngineIdentity, Failure, Request
from ..store.responses import Response, ResponseStore
from .plan import Plan, make_plan, missing_tasks

_SECONDS_BETWEEN_REPORTS = 0.1
_REASONS = 5  # distinct reasons of failures that a report names
_TRIES = 3  # failures in a row after which the rest of a persona's requests is asked last


@dataclass(frozen=True)
class Progress:
    """How far a collection is: `done` of `total` requests of this call, `failed` among them;
    `already`: responses that were in the store before it. Tokens are those of this call."""

    done: int
    total: int
    already: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    seconds: float

    @property
    def rate(self) -> float:
        """Requests per second, 0 before the first."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float:
        """At the present rate; infinite before the first response."""
        return (self.total - self.done) / self.rate if self.done else math.inf


OnProgress = Callable[[Progress], None]


@dataclass
class Report:
    """What a call of [`collect`][] did.

    **Arguments:** `run`: its number in the store. `planned`: requests that the store should hold
    answers to; `already`: those it had. `asked`: requests of this call that came back, of which
    `answered`, `refused`, `unparsed` and `empty` are stored, and `failed` are not. `reasons`: how
    often a few of the failures' reasons came. `outside`: mean probability of anything but an
    answer, NaN for other read-outs. `gave_up`: nothing but failures came in the end.
    """

    run: int
    planned: int
    already: int
    asked: int = 0
    answered: int = 0
    refused: int = 0
    unparsed: int = 0
    empty: int = 0
    failed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    outside: float = math.nan
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    seconds: float = 0.0
    gave_up: bool = False

    @property
    def missing(self) -> int:
        """Requests without a response; the same call asks them again."""
        return self.planned - self.already - self.asked + self.failed

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.asked / self.seconds if self.seconds > 0 else 0.0


def collect(
    engine: Engine,
    template: Template,
    personas: Sequence[Persona],
    questions: Sequence[Question],
    decoding: Decoding,
    store: ResponseStore | str | os.PathLike[str],
    *,
    blocks: Mapping[str, str] | None = None,
    on_progress: OnProgress | None = None,
    limit: int | None = None,
    patience: int = 100,
) -> Report:
    """Ask every persona every question, except what the store has an answer to.

    Interrupt it at any moment, in any way: calling it again with the same arguments asks the rest.
    The engine is started last, after all that can be wrong was looked at. A request that the engine
    failed to answer is counted, not stored, and asked again by the next call.

    **Arguments:**

    - `engine`, `template`, `personas`, `questions`, `decoding`: who answers what, as
      whom, and how.
    - `store`: an open store, or the path of one.
    - `blocks`: of the questions that the personas have answered, where the template shows these
      answers; see [`make_plan`][syndigits_jax.respond.asking.plan.make_plan].
    - `on_progress`: called a few times a second at most.
    - `limit`: ask no more than so many requests.
    - `patience`: after so many failures in a row it stops asking. A persona counts a few times
      only: one whose requests fail (too long a text, say) is asked the rest of them last, so that
      it keeps nobody from being asked; they are among `failed` or, not asked, `missing`.

    **Raises:** `ValueError` as [`make_plan`][syndigits_jax.respond.asking.plan.make_plan] does, or
    for a bad `limit`; what [`ResponseStore`][] raises; [`EngineDied`][] if the engine did, after
    what came before is committed.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"`limit` must be at least 1, got {limit}")
    plan = make_plan(template, personas, questions, decoding, blocks)
    if isinstance(store, ResponseStore):
        return _Collection(engine, plan, store, on_progress, limit, patience).run()
    with ResponseStore(store) as opened:
        return _Collection(engine, plan, opened, on_progress, limit, patience).run()


class _Collection:
    """One call of `collect`."""

    def __init__(self, engine, plan: Plan, store: ResponseStore, on_progress, limit, patience: int):
        self.engine, self.plan, self.store, self.on_progress = engine, plan, store, on_progress
        self.patience, self.in_a_row = patience, 0
        self.tries = max(1, min(_TRIES, patience // _TRIES))
        self.failing: collections.Counter[int] = collections.Counter()  # since its last answer
        self.row: collections.Counter[int] = collections.Counter()  # since anybody's last answer
        # An engine that knows its model's name need not start where nothing is missing.
        model = getattr(engine, "model", None) or engine.identity.model
        with store.together():  # a kill leaves no run that asks nothing
            run = store.register_run(plan.template, EngineIdentity(model, "", ""), plan.decoding)
            self.persona_ids, self.question_ids = store.register_grid(
                run, plan.personas, plan.questions, plan.answers()
            )
        missing = missing_tasks(plan, store.keys(run), self.persona_ids, self.question_ids)
        self.todo = np.flatnonzero(missing)
        self.report = Report(run, len(plan), len(plan) - len(self.todo))
        self.total = len(self.todo) if limit is None else min(limit, len(self.todo))
        self.session = 0
        self.waiting: dict[int, tuple[int, Any, Any]] = {}
        self.outside: list[float] = [0.0, 0]
        self.reasons: collections.Counter[str] = collections.Counter()
        self.shown_at = -math.inf

    def run(self) -> Report:
        self.start = time.monotonic()
        self.show()
        if not len(self.todo):
            return self.report
        self.session = self.store.register_session(self.report.run, self.engine.identity)
        outcomes = self.engine.stream(self.requests())
        try:
            for position, outcome in outcomes:
                self.take(position, outcome)
                self.show()
        except EngineDied as error:
            self.store.flush()
            kept = self.report.already + self.report.asked - self.report.failed
            raise EngineDied(
                f"{error}; {kept} of {self.report.planned} answers are in {self.store.path}, and "
                "the same command asks only the rest"
            ) from error
        finally:
            # An interrupt must not leave requests running that nobody waits for.
            close = getattr(outcomes, "close", None)
            if close is not None:
                close()
            self.finish()
        for position in list(self.waiting):
            self.take(position, Failure("the engine never answered"))
        self.finish()
        self.store.flush()
        self.show(last=True)
        return self.report

    def requests(self) -> Iterator[Request]:
        tasks = len(self.plan.tasks)
        for position, cell in zip(range(self.total), self.cells()):
            persona, task = cell // tasks, self.plan.tasks[cell % tasks]
            prompt = self.plan.prompt(persona, task)
            self.waiting[position] = (persona, task, prompt)
            yield self.plan.request(persona, task, prompt)

    def cells(self) -> Iterator[int]:
        """What is missing, in order, but last of all what is left of personas that only fail."""
        tasks, late = len(self.plan.tasks), []
        for cell in self.todo.tolist():
            if self.failing[cell // tasks] >= self.tries:
                late.append(cell)
                continue
            if self.in_a_row >= self.patience:
                self.report.gave_up = True
                return
            yield cell
        for cell in late:
            # Of one persona or two it may be the texts, of more it is the engine.
            nothing = self.report.asked == self.report.failed
            long = self.row.total() >= self.patience and (nothing or len(self.row) >= _TRIES)
            if long or self.in_a_row >= self.patience:
                self.report.gave_up = True
                return
            yield cell

    def take(self, position: int, outcome: Completion | Failure) -> None:
        """Store what came, or count it as a failure."""
        report = self.report
        try:
            persona, task, prompt = self.waiting.pop(position)
        except KeyError:
            raise RuntimeError(
                f"the engine answered request {position}, which it was not asked or had answered"
            ) from None
        report.asked += 1
        question = self.plan.questions[task.question]
        if isinstance(outcome, Completion):
            report.prompt_tokens += outcome.prompt_tokens
            report.completion_tokens += outcome.completion_tokens
            report.cached_tokens += outcome.cached_tokens
            try:
                read = read_outcome(
                    outcome, question, prompt, self.plan.decoding.readout,
                    self.plan.template.answer_with,
                )  # fmt: skip
            except MalformedCompletion as error:
                outcome = Failure(f"malformed completion: {error}")
        if isinstance(outcome, Completion):
            try:
                self.keep(persona, task, outcome, read)
            except ValueError as error:  # a number of tokens that is none, say
                outcome = Failure(f"malformed completion: {error}")
        if isinstance(outcome, Failure):
            report.failed += 1
            self.failing[persona] += 1
            self.row[persona] += 1
            self.in_a_row += self.row[persona] <= self.tries
            self.reasons[outcome.reason] += 1
            return
        self.in_a_row = 0
        self.row.clear()
        self.failing.pop(persona, None)
        setattr(report, read.status, getattr(report, read.status) + 1)
        if read.outside is not None:
            self.outside[0] += read.outside
            self.outside[1] += 1

    def keep(self, persona: int, task: Any, outcome: Completion, read: Outcome) -> None:
        # Half a character cannot be stored.
        text, reason = (
            part.encode("utf-8", "replace").decode()
            for part in (outcome.text, str(outcome.finish_reason or ""))
        )
        self.store.add(
            Response(
                self.report.run, self.persona_ids[persona], self.question_ids[task.question],
                task.shown, task.draw, self.session, text, read.value, read.status,
                read.probabilities, read.outside, reason, outcome.prompt_tokens,
                outcome.completion_tokens, outcome.cached_tokens, time.time(),
            )
        )  # fmt: skip

    def finish(self) -> None:
        self.report.seconds = time.monotonic() - self.start
        self.report.reasons = dict(self.reasons.most_common(_REASONS))
        if self.outside[1]:
            self.report.outside = self.outside[0] / self.outside[1]

    def show(self, last: bool = False) -> None:
        now = time.monotonic()
        if self.on_progress is None or (
            now - self.shown_at < _SECONDS_BETWEEN_REPORTS and not last
        ):
            return
        self.shown_at, report = now, self.report
        self.on_progress(
            Progress(
                report.asked, self.total, report.already, report.failed, report.prompt_tokens,
                report.completion_tokens, report.cached_tokens, now - self.start,
            )
        )  # fmt: skip
