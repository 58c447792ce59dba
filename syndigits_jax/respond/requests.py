"""Requests to an engine and their results: the interface between prompts and models."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

READOUTS = ("probabilities", "choice", "text", "sample")
"""Ways of reading an answer:

- `"probabilities"`: log-probability of every answer string, in one forward pass if each answer is
  one token;
- `"choice"`: greedy decoding constrained to the answer strings;
- `"text"`: free text, parsed;
- `"sample"`: draws from the distribution constrained to the answer strings, one seed each.
"""


@dataclass(frozen=True)
class Decoding:
    """How answers are read and drawn: everything besides prompt and model that affects them.

    **Arguments:**

    - `readout`: one of [`READOUTS`][].
    - `temperature`: 0 is greedy; `"probabilities"` are always those at temperature 1.
    - `top_p`: nucleus sampling, 1 for none.
    - `max_tokens`: the longest free text.
    - `draws`: answers per question, each with its own seed.
    - `orders`: number of orders in which the options are shown; answers are averaged over them. 1
      shows the question's own order, 2 adds the reverse, more add random permutations.
    - `seed`: the seed of every request is derived from this and from the request's content.

    **Raises:** `ValueError` naming the argument.
    """

    readout: str = "probabilities"
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 16
    draws: int = 1
    orders: int = 1
    seed: int = 0

    def __post_init__(self):
        if self.readout not in READOUTS:
            raise ValueError(f"`readout` must be one of {READOUTS}, got {self.readout!r}")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"`temperature` must not be negative, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"`top_p` must be above 0 and at most 1, got {self.top_p}")
        for name in ("max_tokens", "draws", "orders"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        if self.draws > 1 and self.readout in ("probabilities", "choice"):
            raise ValueError(f"`draws`: {self.readout!r} answers are all alike; draw with 'sample'")
        if self.draws > 1 and self.temperature == 0:
            raise ValueError("`draws`: at `temperature` 0 all draws are alike")
        if self.readout == "sample" and self.temperature == 0:
            raise ValueError("`temperature` must be positive to sample")


@dataclass(frozen=True)
class Message:
    """One turn of a chat: `role` is "system", "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True)
class Request:
    """One question to a model.

    **Arguments:** `messages`: the chat. `readout`, `temperature`, `top_p`, `max_tokens`: as in
    [`Decoding`][]. `answers`: the strings the model may answer with, in a fixed order (not used
    by `"text"`). `seed`: the seed of this request.
    """

    messages: tuple[Message, ...]
    readout: str
    answers: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 16
    seed: int = 0


@dataclass(frozen=True)
class Completion:
    """A model's answer to a request.

    **Arguments:**

    - `text`: the raw text (for `"probabilities"`, the most probable answer).
    - `log_probabilities`: natural logarithm of the probability of each of the request's `answers`,
      not renormalised (`"probabilities"` only); `-inf` where the engine did not return it.
    - `finish_reason`: as reported by the engine: "stop", "length", ...
    - `prompt_tokens`, `completion_tokens`: as counted by the engine; `cached_tokens`: those of the
      prompt that were in the prefix cache (0 if the engine does not report them).
    """

    text: str
    log_probabilities: tuple[float, ...] | None = None
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True)
class Failure:
    """A request that the engine could not answer after its retries; `reason` is one line."""

    reason: str


class EngineDied(RuntimeError):
    """The engine stopped and could not be restarted; earlier answers are kept."""


@dataclass(frozen=True)
class EngineIdentity:
    """The model and the engine that answered: `model` is part of a response's key, `engine` and
    `version` are only recorded."""

    model: str
    engine: str
    version: str


@runtime_checkable
class Engine(Protocol):
    """Interface of everything that answers requests.

    An engine whose model has a known name before it starts also has a property `model`.
    """

    @property
    def identity(self) -> EngineIdentity:
        """The model and the engine; may start the engine."""
        ...

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion | Failure]]:
        """Answer `requests`, an iterable that is read lazily, a bounded number of items ahead.

        Yields the position and the outcome of each request once, in the order of completion.

        **Raises:** [`EngineDied`][] if nothing more can be answered.
        """
        ...

    def close(self) -> None:
        """Stop the engine; closing it again has no effect."""
        ...
