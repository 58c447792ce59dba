"""What a plan would cost, without an engine: prompts, tokens, and how much of them is shared."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..requests import Message
from .plan import Plan

CHARACTERS_PER_TOKEN = 4.0
"""Of English prose, about; used where a model's own tokenizer is not at hand."""
_PERSONAS, _TASKS = 40, 50  # looked at, of more


@dataclass(frozen=True)
class Tokens:
    """How tokens are counted: `chat` writes a chat as the model reads it, `count` counts; `how`
    says by what."""

    chat: Callable[[Sequence[Message]], str]
    count: Callable[[str], int]
    how: str


@dataclass(frozen=True)
class DryRun:
    """What a plan asks.

    **Arguments:**

    - `requests`: how many; `counted`: of how many of them tokens were counted.
    - `prompt_tokens`: of all requests; `completion_tokens`: about as many as there can be. For
      the read-out "probabilities" each answer is taken to be one token: where answers are of
      several, an engine reads the prompt again for each further token, which is not counted.
    - `shared`: the share of prompt tokens that the previous prompt begins with too, which a prefix
      cache need not compute again.
    - `how`: by what tokens were counted.
    - `examples`: a few chats in full.
    """

    requests: int
    counted: int
    prompt_tokens: int
    completion_tokens: int
    shared: float
    how: str
    examples: tuple[tuple[Message, ...], ...]

    def cost(self, input_price: float | int, output_price: float | int) -> float:
        """About, at these prices per million tokens, nothing off for what is cached."""
        return (self.prompt_tokens * input_price + self.completion_tokens * output_price) / 1e6


def dry_run(plan: Plan, tokens: Tokens | None = None, examples: int = 2) -> DryRun:
    """Render and count without asking.

    More than two thousand requests are estimated from as many: 40 personas at even distances,
    50 questions each.

    **Arguments:** `tokens`: as [`find_tokens`][] finds. `examples`: how many chats to keep, each
    of another persona and question as far as there are any.
    """
    tokens = estimated_tokens() if tokens is None else tokens
    personas = _spread(len(plan.personas), _PERSONAS)
    tasks = [plan.tasks[i] for i in _spread(len(plan.tasks), _TASKS)]
    counted = prompt = completion = characters = repeated = 0
    previous = ""
    for persona in personas:
        for task in tasks:
            rendered = plan.prompt(persona, task)
            text = tokens.chat(rendered.messages)
            prompt += tokens.count(text)
            completion += _longest(plan, rendered.answers, tokens)
            characters += len(text)
            repeated += len(os.path.commonprefix([previous, text]))  # noqa: RUF071 (characters)
            previous, counted = text, counted + 1
    scale = len(plan) / counted
    kept = [
        plan.prompt(i % len(plan.personas), plan.tasks[i % len(plan.tasks)]).messages
        for i in range(min(examples, len(plan)))
    ]
    return DryRun(
        requests=len(plan),
        counted=counted,
        prompt_tokens=round(prompt * scale),
        completion_tokens=round(completion * scale),
        shared=repeated / max(characters, 1),
        how=tokens.how,
        examples=tuple(kept),
    )


def estimated_tokens() -> Tokens:
    """Four characters per token."""
    return Tokens(
        _plain_chat,
        lambda text: round(len(text) / CHARACTERS_PER_TOKEN),
        f"estimated at {CHARACTERS_PER_TOKEN:g} characters per token",
    )


def find_tokens(model: str | None) -> Tokens:
    """The tokenizer of a model folder; without a folder, or the libraries for it, an estimate.

    Nothing is fetched. **Raises:** `ValueError` naming the folder if its tokenizer cannot be read.
    """
    if model is None or not (Path(model) / "tokenizer.json").is_file():
        return estimated_tokens()
    try:
        return _transformers(model)
    except ImportError:
        pass
    except Exception as error:  # whatever these libraries say of a bad file
        raise ValueError(f"{model}: its tokenizer cannot be read ({error})") from error
    try:
        from tokenizers import Tokenizer  # pyright: ignore[reportMissingImports]
    except ImportError:
        return estimated_tokens()
    try:
        tokenizer = Tokenizer.from_file(str(Path(model) / "tokenizer.json"))
    except Exception as error:
        raise ValueError(f"{model}: its tokenizer cannot be read ({error})") from error
    return Tokens(
        _plain_chat,
        lambda text: len(tokenizer.encode(text).ids),
        "counted by the model's tokenizer, without its chat template",
    )


def _transformers(model: str) -> Tokens:
    from transformers import AutoTokenizer  # pyright: ignore[reportMissingImports]

    tokenizer: Any = AutoTokenizer.from_pretrained(model, local_files_only=True)

    def chat(messages: Sequence[Message]) -> str:
        turns = [{"role": m.role, "content": m.content} for m in messages]
        return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)

    templated = bool(getattr(tokenizer, "chat_template", None))
    return Tokens(
        chat if templated else _plain_chat,
        lambda text: len(tokenizer.encode(text, add_special_tokens=False)),
        "counted by the model's tokenizer" + ("" if templated else ", without a chat template"),
    )


def _plain_chat(messages: Sequence[Message]) -> str:
    return "\n\n".join(f"{message.role}:\n{message.content}" for message in messages)


def _longest(plan: Plan, answers: Sequence[str], tokens: Tokens) -> int:
    if plan.decoding.readout == "text":
        return plan.decoding.max_tokens
    if plan.decoding.readout == "probabilities":
        return 1
    return max(max(1, tokens.count(answer)) for answer in answers)


def _spread(count: int, most: int) -> list[int]:
    """Up to `most` positions at even distances."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()
