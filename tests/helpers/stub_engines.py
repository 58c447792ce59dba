"""An engine without a model, whose answers depend on the request only."""

import itertools
import math
import time

from syndigits_jax.respond.prompts.templates import Template
from syndigits_jax.respond.requests import Completion, EngineDied, EngineIdentity, Failure, Request
from syndigits_jax.schema import Option, Persona, Question


class StubEngine:
    """Answers windows of requests backwards.

    `fails` says of a request's number among all ever asked whether it fails; the engine dies when
    `dies_at` were asked; `asked` are all requests, `most_ahead` how far it read ahead.
    """

    def __init__(
        self, *, window=7, fails=None, dies_at=None, seconds=0.0, answer=None, version="1"
    ):
        self.identity = EngineIdentity("stub-model", "stub", version)
        self.window, self.fails, self.dies_at = window, fails, dies_at
        self.seconds, self.answer = seconds, answer or honest
        self.asked: list[Request] = []
        self.closed = 0

    def stream(self, requests):
        numbered = enumerate(requests)
        while batch := list(itertools.islice(numbered, self.window)):
            for position, request in reversed(batch):
                number = len(self.asked)
                if number == self.dies_at:
                    self.dies_at = None
                    raise EngineDied("the stub is gone")
                self.asked.append(request)
                if self.seconds:
                    time.sleep(self.seconds)
                if self.fails is not None and self.fails(number):
                    yield position, Failure("overloaded")
                else:
                    yield position, self.answer(request)

    def close(self):
        self.closed += 1


def honest(request: Request) -> Completion:
    """A well-formed answer, by the request's seed."""
    if request.readout == "text":
        return Completion(f"{1 + request.seed % 5}", None, "stop", 90, 2, 64)
    text = request.answers[request.seed % len(request.answers)]
    if request.readout != "probabilities":
        return Completion(text, None, "stop", 90, 1, 64)
    weights = [1 + (request.seed >> shift) % 8 for shift in range(len(request.answers))]
    total = 1.25 * sum(weights)  # a fifth of the mass is elsewhere
    return Completion(text, tuple(math.log(w / total) for w in weights), "stop", 90, 1, 64)


def some_personas(count):
    return [
        Persona(f"p{i}", f"A person of {20 + i}, called {{no slot}}.", {"age": str(20 + i)})
        for i in range(count)
    ]


def some_questions(count, options=5, refusal=None):
    labels = [Option(value, f"answer number {value}") for value in range(1, options + 1)]
    if refusal is not None:
        labels.append(Option(refusal, "I'd rather not say"))
    return [
        Question(f"q{j}", f"How do you find thing {j}?", tuple(labels), refusal=refusal)
        for j in range(count)
    ]


def plain_template(version="1", answer_with="value"):
    from syndigits_jax.respond.requests import Message

    content = "You are: {persona}\n{question}\n{options}\nAnswer {option_range}."
    return Template(
        "plain", version, "Written for tests.", (Message("user", content),), answer_with
    )
