"""Requests to the chat-completions interface, and completions from its answers."""

import asyncio
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from syndigits_jax.respond.engines._answer_tokens import (
    MOST_TOKENS,
    AnswerTree,
    Probe,
    answer_sequences,
    choice_problem,
    longest_reply,
    most_probable,
)
from syndigits_jax.respond.engines._candidates import (
    NOTHING_RETURNED,
    NUMBERED,
    by_answer,
    by_token,
    first_candidates,
)
from syndigits_jax.respond.engines._servers import Refused, Server, Servers, Unavailable
from syndigits_jax.respond.requests import Completion, Request

_UNKNOWN = re.compile(
    r"(?:\bnot|n't|\bno)\b.*\b(?:support|permit|allow|implement|availab|known|recogni|enabled)"
    r"|\bun(?:support|recogni|known|expected|availab)|\bextra\b"
)
_BOUND = re.compile(
    r"[<>≤]|\b(?:less|greater|larger|more|above|below|exceed\w*|most|max\w*|up to|between|range)\b"
)
_LARGEST_COUNT = 2**53  # of tokens; larger numbers are ignored


class Readouts:
    """Answers requests by asking servers; vLLM's own servers return more than others.

    **Arguments:** `servers`: the servers to ask; `model`: its name on the servers;
    `chat_template_arguments`: sent to vLLM's servers only; `extra`: additional fields of every
    body, where None removes a field.
    """

    def __init__(
        self,
        servers: Servers,
        model: str,
        chat_template_arguments: Mapping[str, Any],
        extra: Mapping[str, Any],
    ):
        self.servers, self.model = servers, model
        self.chat_template_arguments, self.extra = dict(chat_template_arguments), dict(extra)
        self._trees: dict[tuple[str, ...], asyncio.Task[AnswerTree]] = {}

    async def answer(self, server: Server, request: Request) -> Completion:
        """The answer of one server to a request. **Raises:** `Refused`, `Unavailable`."""
        try:
            if request.readout == "probabilities":
                if server.vllm:
                    return await self._exact(server, request)
                return await self._by_text(server, request)
            return await self._reply(server, request)
        except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as problem:
            # The JSON does not have the format of the interface.
            name = type(problem).__name__
            raise Unavailable(
                f"{server.api}: an answer of another form ({name}: {problem})"
            ) from None

    def _body(self, server: Server, request: Request, fields: Mapping[str, Any]) -> dict[str, Any]:
        body = {
            "model": self.model,
            "messages": [
                {"role": message.role, "content": message.content} for message in request.messages
            ],
        }
        if server.vllm:
            # Servers take missing values from the model's own settings; offline inference does not.
            body |= {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
            if self.chat_template_arguments:
                body["chat_template_kwargs"] = self.chat_template_arguments
        body |= fields
        body |= self.extra
        return {name: value for name, value in body.items() if value is not None}

    async def _reply(self, server: Server, request: Request) -> Completion:
        """A reply in text, free or constrained to the answers."""
        chosen = request.readout != "text"
        fields: dict[str, Any] = {
            "temperature": 0.0 if request.readout == "choice" else request.temperature,
            "top_p": 1.0 if request.readout == "choice" else request.top_p,
            "max_tokens": request.max_tokens,
            "seed": request.seed % 2**63,
        }
        if chosen:
            if problem := choice_problem(request.answers):
                raise Refused(problem)
            fields["max_tokens"] = longest_reply(request.answers)
            if server.vllm:
                fields["structured_outputs"] = {"choice": list(request.answers)}
        said = await self.servers.call(
            server, f"{server.api}/chat/completions", self._body(server, request, fields)
        )
        (choice,) = choices(said)
        text = reply(choice)
        if chosen and text not in request.answers:
            if text.strip() not in request.answers:
                raise Refused(f"it answered {text[:80]!r}, which is none of the answers offered")
            text = text.strip()
        return Completion(text, None, finish_reason(choice), *usage([said]))

    def _scoring(self, tokens: Sequence[int] | None = None) -> dict[str, Any]:
        fields: dict[str, Any] = {"temperature": 0.0, "max_tokens": 1}
        if tokens is not None:
            # Older servers ignore these fields and return the likeliest tokens.
            fields |= {"logprob_token_ids": list(tokens), "return_tokens_as_token_ids": True}
        return fields

    async def _exact(self, server: Server, request: Request) -> Completion:
        """The answers' probabilities from a vLLM server: one call, and another for long answers."""
        tree = await self._tree(server, request.answers)
        root = [probe for probe in tree.probes if not probe.prefix]
        rest = [probe for probe in tree.probes if probe.prefix]
        more = {"return_token_ids": True} if rest else {}
        answers = await asyncio.gather(
            *(self._scored(server, request, self._scoring(probe.tokens) | more) for probe in root)
        )
        found: dict[Probe, dict[int, float]] = {}
        for probe, said in zip(root, answers, strict=True):
            (choice,) = choices(said)
            seen = first_candidates(choice)
            if not rest and len(root) == 1 and not any(NUMBERED in one.name for one in seen):
                return self._of_texts(server, request, said)
            found[probe] = by_token(seen, probe.tokens)
        if rest:
            prompt = answers[0].get("prompt_token_ids")
            if prompt is None:
                prompt = await self._prompt(server, self._body(server, request, {})["messages"])
            said, scores = await self._continued(server, prompt, rest)
            answers += said
            found |= scores
        values = tree.log_probabilities([found[probe] for probe in tree.probes])
        return Completion(most_probable(request.answers, values), values, "stop", *usage(answers))

    async def _continued(
        self, server: Server, prompt: Sequence[int], probes: Sequence[Probe]
    ) -> tuple[list[dict[str, Any]], dict[Probe, dict[int, float]]]:
        """The scores of probes with a prefix, after the prompt; all in one body if allowed."""
        named = list(dict.fromkeys(token for probe in probes for token in probe.tokens))
        groups = [list(probes)] if len(named) <= MOST_TOKENS else [[probe] for probe in probes]

        async def ask(group: Sequence[Probe]) -> dict[str, Any]:
            tokens = named if len(group) > 1 else group[0].tokens

            def body(top: int) -> dict[str, Any]:
                return self._scoring(tokens) | {
                    "model": self.model,
                    "prompt": [[*prompt, *probe.prefix] for probe in group],
                    "logprobs": top,
                }

            return await self._capped(server, f"{server.api}/completions", body)

        answers = await asyncio.gather(*(ask(group) for group in groups))
        found = {}
        for group, said in zip(groups, answers, strict=True):
            for probe, choice in zip(group, choices(said, len(group)), strict=True):
                found[probe] = by_token(first_candidates(choice), probe.tokens)
        return list(answers), found

    async def _tree(self, server: Server, answers: tuple[str, ...]) -> AnswerTree:
        """The answers as a tree of tokens; the server is asked once."""
        task = self._trees.get(answers)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._trees[answers] = asyncio.create_task(self._grow(server, answers))
        return await asyncio.shield(task)

    async def _grow(self, server: Server, answers: tuple[str, ...]) -> AnswerTree:
        prompt = await self._prompt(server, [{"role": "user", "content": "?"}])
        said = await self.servers.call(
            server, f"{server.root}/detokenize", {"model": self.model, "tokens": prompt}
        )
        text = str(said["prompt"])
        tokens: dict[str, list[int]] = {}
        for wanted in dict.fromkeys([*answers, *(text + answer for answer in answers)]):
            body = {"model": self.model, "prompt": wanted, "add_special_tokens": False}
            said = await self.servers.call(server, f"{server.root}/tokenize", body)
            tokens[wanted] = list(said["tokens"])
        sequences = answer_sequences(answers, tokens.__getitem__, prompt, text)
        try:
            return AnswerTree(answers, sequences)
        except ValueError as problem:
            raise Refused(str(problem)) from None

    async def _prompt(self, server: Server, messages: Sequence[Mapping[str, str]]) -> list[int]:
        body: dict[str, Any] = {"model": self.model, "messages": list(messages)}
        if self.chat_template_arguments:
            body["chat_template_kwargs"] = self.chat_template_arguments
        said = await self.servers.call(server, f"{server.root}/tokenize", body)
        return list(said["tokens"])

    async def _by_text(self, server: Server, request: Request) -> Completion:
        """The answers' probabilities among the likeliest tokens, from any other server."""
        said = await self._scored(server, request, self._scoring())
        return self._of_texts(server, request, said)

    def _of_texts(self, server: Server, request: Request, said: Mapping[str, Any]) -> Completion:
        (choice,) = choices(said)
        seen = first_candidates(choice)
        values = by_answer(request.answers, seen)
        if len(seen) == 1 and server.top > 1:
            self._note_cap(server, 0)
        text = most_probable(request.answers, values) or reply(choice)
        return Completion(text, values, "stop", *usage([said]))

    async def _scored(
        self, server: Server, request: Request, fields: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The answer to a chat, with the log-probabilities of its first token."""

        def body(top: int) -> dict[str, Any]:
            logs: dict[str, Any] = {"logprobs": True}
            if top:
                logs["top_logprobs"] = top
            return self._body(server, request, {**fields, **logs})

        return await self._capped(server, f"{server.api}/chat/completions", body)

    async def _capped(
        self, server: Server, url: str, body: Callable[[int], Mapping[str, Any]]
    ) -> dict[str, Any]:
        """An answer with as many log-probabilities as the server allows; the limit is kept.

        **Raises:** `Refused` naming the log-probabilities if the server supports none at all.
        """
        while True:
            top = server.top
            try:
                return await self.servers.call(server, url, body(top))
            except (Refused, Unavailable) as problem:
                if "logprobs" not in problem.said.lower():
                    raise
                allowed = most_allowed(problem.said, top)
                if allowed is None:
                    raise Refused(f"{NOTHING_RETURNED} ({problem})", problem.status) from None
                server.top = min(server.top, allowed)
                self._note_cap(server, allowed)

    def _note_cap(self, server: Server, top: int) -> None:
        kept = f"{top} tokens at most" if top else "the sampled token only"
        self.servers.note(
            server,
            f"it returns the log-probabilities of {kept}: answers that are not among them count as "
            "impossible",
        )


def most_allowed(said: str, asked: int) -> int | None:
    """How many log-probabilities a server allows, by its message `said` that refused `asked`."""
    if not asked:
        return None
    said = said.lower()
    if _UNKNOWN.search(said) and not _BOUND.search(said):
        return None
    numbers = [int(number) for number in re.findall(r"(?<![\w.-])\d{1,3}(?![\w-]|\.\d)", said)]
    strict = re.search(r"(?:less than|below|under|smaller than|<)\s*(\d+)", said)
    if strict and not re.search(r"or equal|exceed|at most|maxim|<=", said):
        numbers = [int(strict[1]) - 1]
    return max((number for number in numbers if 0 <= number < asked), default=None)


def choices(said: Mapping[str, Any], count: int = 1) -> list[dict[str, Any]]:
    """The `count` choices of an answer, in order. **Raises:** `ValueError`."""
    given = said.get("choices")
    found = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    by_place: dict[Any, dict[str, Any]] = {one.get("index"): one for one in found}
    if len(by_place) == len(found) and all(isinstance(place, int) for place in by_place):
        found = [by_place[place] for place in sorted(by_place)]
    if len(found) < count:
        raise ValueError(f"{len(found) or 'no'} choices where {count} was asked for")
    return found[:count]


def reply(choice: Mapping[str, Any]) -> str:
    """The text of a choice.

    **Raises:** `Refused` if it is only reasoning or a tool call; `TypeError` if it is no text.
    """
    message = choice.get("message")
    if message is None:
        message = {"content": choice["text"]} if "text" in choice else choice["message"]
    if isinstance(message, str):
        message = {"content": message}
    text = plain_text(message.get("content")) or plain_text(message.get("refusal"))
    if text.strip():
        return text
    if message.get("tool_calls") or message.get("function_call"):
        raise Refused("the reply calls a tool and holds no text")
    for name in ("reasoning_content", "reasoning", "thinking"):
        if message.get(name):
            raise Refused(
                f"the reply holds reasoning alone (`{name}`, finish reason "
                f"{finish_reason(choice)!r}) and no answer: raise `max_tokens`, or turn the "
                "model's reasoning off"
            )
    return text


def plain_text(content: Any) -> str:
    """Content as text; of a list, all parts that are text. **Raises:** `TypeError`."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, int | float) and not isinstance(content, bool):
        return str(content)
    if isinstance(content, list):
        return "".join(map(plain_text, content))
    if isinstance(content, dict):
        kind = str(content.get("type") or "text")
        if kind not in ("text", "output_text", "refusal"):
            return ""  # an image, or the model's reasoning
        text = content.get("text", content.get("refusal"))
        return plain_text(text.get("value") if isinstance(text, dict) else text)
    raise TypeError("the content is no text")


def finish_reason(choice: Mapping[str, Any]) -> str:
    """The server's reason for the end of a reply."""
    reason = choice.get("finish_reason")
    return reason if isinstance(reason, str) and reason else "unknown"


def usage(answers: Sequence[Mapping[str, Any]]) -> tuple[int, int, int]:
    """Tokens of prompts, of completions, and of prompts from the cache; 0 if not reported."""
    prompt = completion = cached = 0
    for said in answers:
        counts = _mapping(said.get("usage"))
        details = _mapping(counts.get("prompt_tokens_details"))
        prompt += _count(counts.get("prompt_tokens"))
        completion += _count(counts.get("completion_tokens"))
        cached += _count(details.get("cached_tokens"))
    return prompt, completion, cached


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(value: Any) -> int:
    """A count of tokens; 0 for an invalid value."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0
    return int(number) if math.isfinite(number) and 0 <= number < _LARGEST_COUNT else 0
