"""The requests for a template, personas and questions, checked before any is sent."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...schema import Persona, Question
from ...tables.responses import identifiers
from ..contents import content_hash, persona_json, question_json
from ..prompts.render import (
    answers_of,
    blocks_of,
    check_readout,
    number_text,
    option_orders,
    render,
)
from ..prompts.templates import Template
from ..requests import Decoding, Request


class Task(NamedTuple):
    """One request per persona: the position of a `question`, the `order` of its options (`None`:
    their own), the same as text in `shown`, and the number of the `draw`."""

    question: int
    order: tuple[int, ...] | None
    shown: str
    draw: int


@dataclass(frozen=True)
class Plan:
    """All requests, persona by persona, so that a prefix cache can reuse common beginnings.

    Made by [`make_plan`][]. All `tasks` are asked of each of the `personas`, in this order.
    """

    template: Template
    personas: tuple[Persona, ...]
    questions: tuple[Question, ...]
    decoding: Decoding
    tasks: tuple[Task, ...]
    blocks: dict[str, str]
    seeds: "Seeds"

    def __len__(self) -> int:
        return len(self.personas) * len(self.tasks)

    def prompt(self, persona: int, task: Task) -> Any:
        """The rendered prompt of a task for the persona at this position."""
        return render(
            self.template, self.personas[persona], self.questions[task.question], task.order,
            blocks=self.blocks,
        )  # fmt: skip

    def answers(self) -> list[list[list[Any]]]:
        """For each question the [value, words] of each possible answer, in order."""
        return [_answers(self.template, question) for question in self.questions]

    def request(self, persona: int, task: Task, prompt: Any) -> Request:
        """The request to an engine for a rendered `prompt`."""
        decoding = self.decoding
        return Request(
            prompt.messages, decoding.readout, tuple(prompt.answers), decoding.temperature,
            decoding.top_p, decoding.max_tokens, self.seeds(persona, task),
        )  # fmt: skip


class Seeds:
    """A seed per request, derived from `Decoding.seed` and the request's content, so that it does
    not depend on the other requests or their order."""

    def __init__(self, seed: int, personas: Sequence[Persona], questions: Sequence[Question]):
        self._start = hashlib.blake2b(f"{seed}|".encode(), digest_size=4)
        self._personas = personas
        self._questions = [content_hash(question_json(question)) for question in questions]
        self._latest = (-1, self._start)

    def __call__(self, persona: int, task: Task) -> int:
        """The seed of one request, an integer of 31 bits."""
        position, of_persona = self._latest
        if position != persona:
            of_persona = self._start.copy()
            of_persona.update(content_hash(persona_json(self._personas[persona])))
            self._latest = (persona, of_persona)
        digest = of_persona.copy()
        digest.update(self._questions[task.question])
        digest.update(f"{task.shown}|{task.draw}".encode())
        return int.from_bytes(digest.digest(), "little") & 0x7FFFFFFF


def make_plan(
    template: Template,
    personas: Sequence[Persona],
    questions: Sequence[Question],
    decoding: Decoding,
    blocks: Mapping[str, str] | None = None,
) -> Plan:
    """Plan the requests, and check that they can be asked before any is sent.

    Renders every question for the first persona and the first question for every persona.

    **Arguments:**

    - `template`: the prompt template.
    - `personas`, `questions`: every persona is asked every question.
    - `decoding`: as `template.settings(...)` returns it.
    - `blocks`: the block of each question that the personas have answered, by identifier, for
      templates that show these answers; by default the blocks of `questions`.

    **Returns:** a [`Plan`][].

    **Raises:** `ValueError` if there are no personas or questions, identifiers repeat, the template
    has no slot for a question (unless all questions are empty), a slot cannot be filled, or the
    read-out does not fit a question.

    **Example:**

        >>> from syndigits_jax.respond import find_template, make_plan
        >>> from syndigits_jax.schema import Option, Persona, Question
        >>> template = find_template("survey")
        >>> questions = [Question("q1", "A car?", (Option(1, "Yes"), Option(2, "No")))]
        >>> plan = make_plan(template, [Persona("p1", "A nurse.")], questions, template.settings())
        >>> print(len(plan.tasks), plan.prompt(0, plan.tasks[0]).answers)
        1 ('1', '2')
    """
    personas, questions = tuple(personas), tuple(questions)
    for name, people in (("personas", personas), ("questions", questions)):
        if not people:
            raise ValueError(f"`{name}`: there are none")
        identifiers([one.identifier for one in people], name)
    if not template.asks and any(q.text or q.options or q.item for q in questions):
        raise ValueError(f"`template`: {template.name!r} asks no question; it writes personas")
    tasks = [
        Task(position, order, "" if order is None else ",".join(map(str, order)), draw)
        for position, question in enumerate(questions)
        for order in _orders(question, decoding)
        for draw in range(decoding.draws)
    ]
    blocks = blocks_of(questions) if blocks is None else dict(blocks)
    seeds = Seeds(decoding.seed, personas, questions)
    plan = Plan(template, personas, questions, decoding, tuple(tasks), blocks, seeds)
    for question in questions:
        check_readout(template, question, decoding.readout)
    for task in tasks:
        if task.order is None and task.draw == 0:
            plan.prompt(0, task)
    for position in range(1, len(personas)):
        plan.prompt(position, tasks[0])
    return plan


def missing_tasks(
    plan: Plan, stored: Any, persona_ids: Sequence[int], question_ids: Sequence[int]
) -> np.ndarray:
    """Which requests of a plan have no response yet.

    **Arguments:**

    - `plan`: the plan, of n personas and t tasks.
    - `stored`: an iterable of (persona, question, shown, draw), one per response of the run.
    - `persona_ids`, `question_ids`: the numbers of the plan's personas and questions in the store,
      as used in `stored`.

    **Returns:** Booleans, (n, t).
    """
    missing = np.ones((len(persona_ids), len(plan.tasks)), dtype=bool)
    row = {number: position for position, number in enumerate(persona_ids)}
    column = {
        (question_ids[task.question], task.shown, task.draw): position
        for position, task in enumerate(plan.tasks)
    }
    found = [
        (row[persona], column[question, shown, draw])
        for persona, question, shown, draw in stored
        if persona in row and (question, shown, draw) in column
    ]
    if found:
        missing[tuple(np.array(found).T)] = False
    return missing


def _orders(question: Question, decoding: Decoding) -> list[tuple[int, ...] | None]:
    """Distinct orders of the options; `None` is the question's own order."""
    if not question.options:
        return [None]
    as_is = tuple(range(len(question.options)))
    orders = option_orders(question, decoding.orders, key=decoding.seed)
    # There may be fewer orders than wanted: three options have six.
    return [None if order == as_is else order for order in dict.fromkeys(map(tuple, orders))]


def _answers(template: Template, question: Question) -> list[list[Any]]:
    words = [option.label for option in question.options]
    _, values = answers_of(template, question)
    return [
        [value, words[position] if words else number_text(value)]
        for position, value in enumerate(values)
    ]
