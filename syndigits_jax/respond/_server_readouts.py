"""Requests as bodies of the chat-completions interface, and its answers as completions."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

from syndigits_jax.respond._answer_tokens import (
    MOST_TOKENS,
    AnswerTree,
    Probe,
    answer_sequences,
    choice_problem,
    longest_reply,
    most_probable,
)
from syndigits_jax.respond._servers import Refused, Server, Servers, Unwell
from syndigits_jax.respond.requests import Completion, Request

_TOP = 20  # the most log-probabilities per token that servers return
_UNSEEN = -9999.0  # how JSON writes minus infinity


class Readouts:
    """Answers requests on servers; vLLM's own tell more than others.

    **Arguments:** `servers`; `model`; `chat_template_arguments` (vLLM alone); `extra`: fields of
    every body, of which None takes one out.
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
        """**Raises:** `Refused`, `Unwell`."""
        try:
            if request.readout == "probabilities":
                if server.vllm:
                    return await self._exact(server, request)
                return await self._by_text(server, request)
            return await self._reply(server, request)
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as problem:
            # The JSON is not what the interface says.
            name = type(problem).__name__
            raise Unwell(f"{server.api}: an answer of another form ({name}: {problem})") from None

    def _body(self, server: Server, request: Request, fields: Mapping[str, Any]) -> dict[str, Any]:
        body = {
            "model": self.model,
            "messages": [
                {"role": message.role, "content": message.content} for message in request.messages
            ],
        }
        if server.vllm:
            # Servers take what is not said from the model's own settings; offline, nothing is.
            body |= {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
            if self.chat_template_arguments:
                body["chat_template_kwargs"] = self.chat_template_arguments
        body |= fields
        body |= self.extra
        return {name: value for name, value in body.items() if value is not None}

    async def _reply(self, server: Server, request: Request) -> Completion:
        """Text, free or constrained."""
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
        (choice,) = said["choices"]
        text = choice["message"].get("content") or choice["message"].get("refusal") or ""
        if not isinstance(text, str):
            raise TypeError("the content is no text")
        if chosen and text not in request.answers:
            if text.strip() not in request.answers:
                raise Refused(f"it answered {text[:80]!r}, which is none of the answers offered")
            text = text.strip()
        return Completion(text, None, choice.get("finish_reason") or "unknown", *usage([said]))

    def _scoring(self, tokens: Sequence[int] | None = None) -> dict[str, Any]:
        fields: dict[str, Any] = {"temperature": 0.0, "max_tokens": 1}
        if tokens is not None:
            # Older servers ignore the names, and return the likeliest tokens.
            fields |= {"logprob_token_ids": list(tokens), "return_tokens_as_token_ids": True}
        return fields

    async def _exact(self, server: Server, request: Request) -> Completion:
        """The answers' probabilities on vLLM's server: one pass, and one more for long answers."""
        tree = await self._tree(server, request.answers)
        root = [probe for probe in tree.probes if not probe.prefix]
        rest = [probe for probe in tree.probes if probe.prefix]
        more = {"logprobs": True, "top_logprobs": _TOP}
        if rest:
            more["return_token_ids"] = True
        answers = await asyncio.gather(
            *(
                self.servers.call(
                    server,
                    f"{server.api}/chat/completions",
                    self._body(server, request, self._scoring(probe.tokens) | more),
                )
                for probe in root
            )
        )
        found: dict[Probe, dict[int, float]] = {}
        for probe, said in zip(root, answers, strict=True):
            top = said["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            found[probe] = by_token((entry["token"], entry["logprob"]) for entry in top)
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
        """Probes after the prompt and tokens of answers: all in one body where that is allowed."""
        named = list(dict.fromkeys(token for probe in probes for token in probe.tokens))
        groups = [list(probes)] if len(named) <= MOST_TOKENS else [[probe] for probe in probes]

        async def ask(group: Sequence[Probe]) -> dict[str, Any]:
            tokens = named if len(group) > 1 else group[0].tokens
            body = self._scoring(tokens) | {
                "model": self.model,
                "prompt": [[*prompt, *probe.prefix] for probe in group],
                "logprobs": _TOP,
            }
            return await self.servers.call(server, f"{server.api}/completions", body)

        answers = await asyncio.gather(*(ask(group) for group in groups))
        found = {}
        for group, said in zip(groups, answers, strict=True):
            for choice in said["choices"]:
                (top,) = choice["logprobs"]["top_logprobs"]
                found[group[choice["index"]]] = by_token(top.items())
        return list(answers), found

    async def _tree(self, server: Server, answers: tuple[str, ...]) -> AnswerTree:
        """The answers' tokens, asked for once."""
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
        """The answers' probabilities among the likeliest tokens of any other server."""
        fields = self._scoring() | {"logprobs": True, "top_logprobs": _TOP}
        said = await self.servers.call(
            server, f"{server.api}/chat/completions", self._body(server, request, fields)
        )
        (choice,) = said["choices"]
        if not (choice.get("logprobs") or {}).get("content"):
            raise Refused(
                "the server returned no log-probabilities: ask it with readout 'choice' or 'text'"
            )
        top = choice["logprobs"]["content"][0]["top_logprobs"]
        seen = {str(entry["token"]): float(entry["logprob"]) for entry in top}
        values = by_answer(request.answers, seen)
        text = most_probable(request.answers, values) or choice["message"].get("content") or ""
        return Completion(text, values, "stop", *usage([said]))


def by_answer(answers: Sequence[str], seen: Mapping[str, float]) -> tuple[float, ...]:
    """Log-probabilities of answers of one token each, from the likeliest tokens' texts.

    **Raises:** `Refused` if a likely token begins an answer that is not itself among them: then the
    answer is longer than a token, and its probability cannot be seen.
    """
    if not answers:
        raise Refused("there are no answers to score")
    if len(set(answers)) < len(answers) or "" in answers:
        raise Refused(choice_problem(answers) or "")
    for answer in answers:
        begins = [token for token in seen if token and answer.startswith(token)]
        if answer not in seen and begins:
            raise Refused(
                f"the answer {answer!r} is longer than one token ({begins[0]!r} begins it), and "
                "this server shows the first token alone: answer with letters, or ask vLLM"
            )
    return tuple(_infinite(seen.get(answer, -math.inf)) for answer in answers)


def by_token(entries: Any) -> dict[int, float]:
    """Log-probabilities by token, of entries such as `("token_id:32", -2.5)`."""
    return {int(str(token).removeprefix("token_id:")): _infinite(value) for token, value in entries}


def _infinite(value: float) -> float:
    value = float(value)
    if math.isnan(value):
        raise ValueError("a log-probability is not a number")
    return -math.inf if value <= _UNSEEN else value


def usage(answers: Sequence[Mapping[str, Any]]) -> tuple[int, int, int]:
    """Tokens of prompts, of completions, and of prompts from the cache; 0 where it does not say."""
    prompt = completion = cached = 0
    for said in answers:
        counts = said.get("usage") or {}
        details = counts.get("prompt_tokens_details") or {}
        prompt += int(counts.get("prompt_tokens") or 0)
        completion += int(counts.get("completion_tokens") or 0)
        cached += int(details.get("cached_tokens") or 0)
    return prompt, completion, cached
