"""Estimate of a plan's cost without an engine: prompts, tokens, and shared prompt beginnings."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..requests import Message
from .plan import Plan

CHARACTERS_PER_TOKEN = 4.0
"""Approximate value for English prose, used without a model's own tokenizer."""
_PERSONAS, _TASKS = 40, 50  # the most that are rendered


@dataclass(frozen=True)
class Tokens:
    """How tokens are counted: `chat` renders a chat as the model reads it, `count` counts the
    tokens of a text, `how` describes the method."""

    chat: Callable[[Sequence[Message]], str]
    count: Callable[[str], int]
    how: str


@dataclass(frozen=True)
class DryRun:
    """Size of a plan.

    **Arguments:**

    - `requests`: their number; `counted`: those whose tokens were counted.
    - `prompt_tokens`: of all requests; `completion_tokens`: approximately the most there can be.
      For the read-out "probabilities" each answer is assumed to be one token. For longer answers an
      engine processes the prompt once more per further token, which is not counted.
    - `shared`: the share of prompt tokens that are also at the beginning of the previous prompt,
      which a prefix cache need not compute again.
    - `how`: how tokens were counted.
    - `examples`: a few complete chats.
    """

    requests: int
    counted: int
    prompt_tokens: int
    completion_tokens: int
    shared: float
    how: str
    examples: tuple[tuple[Message, ...], ...]

    def cost(self, input_price: float | int, output_price: float | int) -> float:
        """Approximate cost at these prices per million tokens, without a discount for caching."""
        return (self.prompt_tokens * input_price + self.completion_tokens * output_price) / 1e6


def dry_run(plan: Plan, tokens: Tokens | None = None, examples: int = 2) -> DryRun:
    """Render prompts and count tokens without asking.

    Plans of more than 2,000 requests are estimated from at most that many: 40 evenly spaced
    personas with 50 evenly spaced tasks each.

    **Arguments:**

    - `plan`: as [`make_plan`][syndigits_jax.respond.asking.plan.make_plan] returns it.
    - `tokens`: how to count, as [`find_tokens`][] returns it; by default an estimate.
    - `examples`: how many chats to keep, each of a different persona and question where possible.

    **Example:**

        >>> from syndigits_jax.respond import dry_run, find_template, make_plan
        >>> from syndigits_jax.schema import Option, Persona, Question
        >>> template = find_template("survey")
        >>> questions = [Question("q1", "A car?", (Option(1, "Yes"), Option(2, "No")))]
        >>> plan = make_plan(template, [Persona("p1", "A nurse.")], questions, template.settings())
        >>> size = dry_run(plan)
        >>> print(size.requests, size.prompt_tokens > 0)
        1 True
    """
    tokens = estimated_tokens() if tokens is None else tokens
    personas = _spread(len(plan.personas), _PERSONAS)
    tasks = _spread(len(plan.tasks), _TASKS)
    wanted = [
        (i % len(plan.personas), i % len(plan.tasks)) for i in range(min(examples, len(plan)))
    ]
    found: dict[tuple[int, int], tuple[Message, ...]] = {}
    counted = prompt = completion = characters = repeated = 0
    previous = ""
    for persona in personas:
        for task in tasks:
            rendered = plan.prompt(persona, plan.tasks[task])
            if (persona, task) in wanted:
                found[persona, task] = rendered.messages
            text = tokens.chat(rendered.messages)
            prompt += tokens.count(text)
            completion += _longest(plan, rendered.answers, tokens)
            characters += len(text)
            repeated += len(os.path.commonprefix([previous, text]))  # noqa: RUF071 (characters)
            previous, counted = text, counted + 1
    scale = len(plan) / counted
    for persona, task in wanted:
        if (persona, task) not in found:
            found[persona, task] = plan.prompt(persona, plan.tasks[task]).messages
    return DryRun(
        requests=len(plan),
        counted=counted,
        prompt_tokens=round(prompt * scale),
        completion_tokens=round(completion * scale),
        shared=repeated / max(characters, 1),
        how=tokens.how,
        examples=tuple(found[one] for one in wanted),
    )


def estimated_tokens() -> Tokens:
    """Four characters per token."""
    return Tokens(
        _plain_chat,
        lambda text: round(len(text) / CHARACTERS_PER_TOKEN),
        f"estimated at {CHARACTERS_PER_TOKEN:g} characters per token",
    )


def find_tokens(model: str | None) -> Tokens:
    """The tokenizer of a model folder; an estimate without a folder or the libraries to read it.

    Nothing is downloaded.

    **Raises:** `ValueError` naming the folder if its tokenizer cannot be read.

    **Example:**

        >>> from syndigits_jax.respond import find_tokens
        >>> print(find_tokens(None).count("a text of some words"))
        5
    """
    if model is None or not (Path(model) / "tokenizer.json").is_file():
        return estimated_tokens()
    try:
        return _transformers(model)
    except ImportError:
        pass
    except Exception as error:  # these libraries raise errors of many types for a bad file
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
    """Up to `most` evenly spaced positions."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()
