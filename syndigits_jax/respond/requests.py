"""What an engine is asked and what it returns: the one interface between prompts and models."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

READOUTS = ("probabilities", "choice", "text", "sample")
"""How an answer is read:

- `"probabilities"`: log-probability of every answer string, in one forward pass where each is one
  token;
- `"choice"`: greedy decoding constrained to the answer strings;
- `"text"`: free text, parsed;
- `"sample"`: draws from the distribution constrained to the answer strings, one seed each.
"""


@dataclass(frozen=True)
class Decoding:
    """How answers are read and drawn: all that changes them besides the prompt and the model.

    **Arguments:**

    - `readout`: one of [`READOUTS`][].
    - `temperature`: 0 is greedy; `"probabilities"` are always those at temperature 1.
    - `top_p`: nucleus sampling, 1 for none.
    - `max_tokens`: the longest free text.
    - `draws`: answers per question, each with its own seed.
    - `orders`: orders in which the options are shown, over which answers are averaged; 1 shows
      them as they are, 2 adds the reverse, more are random permutations.
    - `seed`: every request's seed derives from this and from what is asked.

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

    **Arguments:** `messages`: the chat so far. `readout`, `temperature`, `top_p`, `max_tokens`: as
    in [`Decoding`][]. `answers`: the strings the model may answer with, in a fixed order (not used
    by `"text"`). `seed`: of this request alone.
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
    """What a model answered.

    **Arguments:**

    - `text`: the raw text (for `"probabilities"`, the most probable answer).
    - `log_probabilities`: of each of the request's `answers`, natural logarithm, not
      renormalised (`"probabilities"` alone); `-inf` where the engine could not see it.
    - `finish_reason`: the engine's: "stop", "length", ...
    - `prompt_tokens`, `completion_tokens`: as the engine counts; `cached_tokens`: of the prompt,
      found in the prefix cache (0 where the engine does not say).
    """

    text: str
    log_probabilities: tuple[float, ...] | None = None
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True)
class Failure:
    """A request that the engine could not answer, after its retries: why, in one line."""

    reason: str


class EngineDied(RuntimeError):
    """The engine is gone and could not be brought back; what was answered before is kept."""


@dataclass(frozen=True)
class EngineIdentity:
    """Which model answered, on what: `model` is part of a response's key, the rest is recorded."""

    model: str
    engine: str
    version: str


@runtime_checkable
class Engine(Protocol):
    """What answers requests.

    An engine that knows what its model is called before it starts says so in a property `model`.
    """

    @property
    def identity(self) -> EngineIdentity:
        """The model and the engine; may start the engine."""
        ...

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion | Failure]]:
        """Answer `requests`, which is read lazily, a bounded number ahead.

        Yields each request's position and outcome once, in any order, as they come.

        **Raises:** [`EngineDied`][] if nothing more can be answered.
        """
        ...

    def close(self) -> None:
        """End the engine; it may be closed twice."""
        ...
