"""Collection: send the requests of a plan that have no response in the store.

Requests go persona by persona, so that prompts with a common beginning share a prefix cache.
"""

import collections
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...schema import Persona, Question
from ...solvers.checks import check_count
from ..prompts.templates import Template
from ..readouts.outcomes import MalformedCompletion, Outcome, read_outcome
from ..requests import Completion, Decoding, Engine, EngineDied, EngineIdentity, Failure, Request
from ..store.responses import Response, ResponseStore
from .plan import Plan, make_plan, missing_tasks

_SECONDS_BETWEEN_REPORTS = 0.1
_REASONS = 5  # distinct reasons for failures in a report
_TRIES = 3  # consecutive failures after which a persona's other requests are postponed


@dataclass(frozen=True)
class CollectionProgress:
    """Progress of a collection: `done` of `total` requests of this call, including `failed`;
    `already`: responses stored before this call. Tokens and seconds are those of this call."""

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
        """Requests per second; 0 before the first."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float:
        """Seconds left at the present rate; infinite before the first response."""
        return (self.total - self.done) / self.rate if self.done else math.inf


OnCollection = Callable[[CollectionProgress], None]


@dataclass
class Report:
    """Result of a call of [`collect`][].

    **Arguments:**

    - `run`: its number in the store.
    - `planned`: number of requests in the plan; `already`: those with a response before this call.
    - `asked`: requests of this call that were completed. Of these, `answered`, `refused`,
      `unparsed` and `empty` are stored, and `failed` are not.
    - `reasons`: the most frequent reasons for failures, with their counts.
    - `outside`: mean probability of anything but an answer; NaN for other read-outs.
    - `prompt_tokens`, `completion_tokens`, `cached_tokens`, `seconds`: of this call.
    - `gave_up`: whether the call stopped because only failures were returned.
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
        """Requests without a response; repeating the call asks them again."""
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
    on_progress: OnCollection | None = None,
    limit: int | None = None,
    patience: int = 100,
) -> Report:
    """Ask every persona every question, except where the store already has a response.

    It may be interrupted at any time: calling it again with the same arguments asks the rest. The
    engine is started last, after all inputs have been checked. A request that the engine failed to
    answer is counted, not stored, and asked again by the next call.

    **Arguments:**

    - `engine`: the engine that answers.
    - `template`: the prompt template.
    - `personas`, `questions`: every persona is asked every question.
    - `decoding`: how answers are read and drawn, as `template.settings(...)` returns it.
    - `store`: an open store, or the path of one.
    - `blocks`: the block of each question that the personas have answered, for templates that show
      these answers; see [`make_plan`][syndigits_jax.respond.asking.plan.make_plan].
    - `on_progress`: called with a [`CollectionProgress`][] at most a few times a second.
    - `limit`: the most requests to send; all by default.
    - `patience`: stop after this many consecutive failures. Each persona counts at most a few times
      towards it: after a few failures in a row (caused by a text that is too long, for example) the
      other requests of that persona are postponed to the end, so that other personas are asked
      first. Requests given up are counted as `failed` or, if they were not sent, as `missing`.

    **Returns:** a [`Report`][].

    **Raises:** `ValueError` as [`make_plan`][syndigits_jax.respond.asking.plan.make_plan] does, or
    for a `limit` below 1; what [`ResponseStore`][] raises; [`EngineDied`][] if the engine stopped,
    after earlier answers have been committed.
    """
    plan = make_plan(template, personas, questions, decoding, blocks)
    return collect_plan(
        engine, plan, store, on_progress=on_progress, limit=limit, patience=patience
    )


def collect_plan(
    engine: Engine,
    plan: Plan,
    store: ResponseStore | str | os.PathLike[str],
    *,
    on_progress: OnCollection | None = None,
    limit: int | None = None,
    patience: int = 100,
) -> Report:
    """[`collect`][] what a plan says, for callers that made one to look at it first.

    **Arguments:** `plan`: as [`make_plan`][syndigits_jax.respond.asking.plan.make_plan] returns it;
    `engine`, `store`, `on_progress`, `limit`, `patience`: as in [`collect`][].

    **Returns:** a [`Report`][]. **Raises:** as [`collect`][] does.
    """
    if limit is not None:
        check_count("limit", limit)
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
        # Failures by persona, since that persona's last answer and since the last answer of any.
        self.failing: collections.Counter[int] = collections.Counter()
        self.row: collections.Counter[int] = collections.Counter()
        # An engine that knows its model's name is not started if nothing is missing.
        model = getattr(engine, "model", None) or engine.identity.model
        with store.together():  # so that an interrupt leaves no run without a grid
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
            # An interrupt must not leave requests running.
            close = getattr(outcomes, "close", None)
            if close is not None:
                close()
            self.finish()
        for position in list(self.waiting):
            self.take(position, Failure("the engine returned no outcome"))
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
        """Missing cells in order; those of personas whose requests keep failing come last."""
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
            # Failures of one or two personas may be due to their texts; of more, to the engine.
            nothing = self.report.asked == self.report.failed
            long = self.row.total() >= self.patience and (nothing or len(self.row) >= _TRIES)
            if long or self.in_a_row >= self.patience:
                self.report.gave_up = True
                return
            yield cell

    def take(self, position: int, outcome: Completion | Failure) -> None:
        """Store an outcome, or count it as a failure."""
        report = self.report
        try:
            persona, task, prompt = self.waiting.pop(position)
        except KeyError:
            raise RuntimeError(
                f"the engine answered request {position}, which was not sent or already answered"
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
            except ValueError as error:  # such as a token count that is not a number
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
        # An unpaired surrogate cannot be stored.
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
            CollectionProgress(
                report.asked, self.total, report.already, report.failed, report.prompt_tokens,
                report.completion_tokens, report.cached_tokens, now - self.start,
            )
        )  # fmt: skip
