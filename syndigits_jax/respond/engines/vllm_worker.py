"""The child process of [`VLLMEngine`][]: holds the model, answers batches of requests.

Messages are lines of JSON:

- in, first: `{"model": ..., "arguments": {...}, "chat_template_arguments": {...}, ...}`;
- out, once the model is loaded: `{"ready": {"version": ..., "concurrency": ..., ...}}`;
- in: `{"batch": 3, "texts": [...], "requests": [{"messages": [["user", 0]], ...}]}`, where a
  chat message refers to its text by index, as many requests share a persona;
- out: `{"batch": 3, "outcomes": [...]}`, each a completion's fields or `{"failure": reason}`;
- out, before the process ends: `{"error": ...}`, as an engine with a failed step is unusable.

The process ends when its input or its parent ends.
"""

import collections
import itertools
import json
import os
import queue
import select
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from syndigits_jax.respond.engines._answer_tokens import (
    AnswerTree,
    Probe,
    answer_sequences,
    choice_problem,
    longest_reply,
    most_probable,
)
from syndigits_jax.respond.engines._candidates import by_number
from syndigits_jax.respond.engines._servers import Refused
from syndigits_jax.respond.prompts.control_tokens import TokenBreaker

_TOP = 20  # log-probabilities per token from engines that cannot return those of named tokens


class _Pass(NamedTuple):
    """One prompt for the engine and its decoding parameters."""

    tokens: Sequence[int]
    parameters: Any


class _Batch(NamedTuple):
    """A batch in progress. `plans`: for each request the range of its outputs, or its failure."""

    message: Mapping[str, Any]
    plans: list[tuple[int, int] | str]
    outputs: list[Any]


class _Failed(Exception):
    """This request cannot be asked; others are not affected."""


class Answering:
    """Converts requests into passes through the engine, and their outputs into outcomes.

    **Arguments:** `llm`: a `vllm.LLM`; `chat_template_arguments`: for the model's chat template;
    `named_tokens`: ask for the log-probabilities of named tokens if the engine supports it.
    """

    def __init__(
        self, llm: Any, chat_template_arguments: Mapping[str, Any], *, named_tokens: bool = True
    ):
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]
        from vllm.sampling_params import RequestOutputKind  # pyright: ignore[reportMissingImports]

        self.llm = llm
        self.once = RequestOutputKind.FINAL_ONLY
        self.tokenizer = llm.get_tokenizer()
        self.plain = TokenBreaker(special_tokens(self.tokenizer))
        self.longest = int(llm.llm_engine.model_config.max_model_len)
        self.chat_template_arguments = dict(chat_template_arguments)
        # vLLM 0.22 returns the log-probabilities of named tokens; earlier versions only those of
        # the likeliest tokens.
        fields = getattr(SamplingParams, "__struct_fields__", ())
        self.named_tokens = named_tokens and "logprob_token_ids" in fields
        self.trees: dict[tuple[str, ...], AnswerTree | str] = {}
        self.texts: dict[int, str] = {}
        self.bare_prompt: tuple[tuple[int, ...], str] | None = None
        self.names = itertools.count()
        self.owners: dict[str, tuple[_Batch, int]] = {}  # batch and position of each pending pass
        self.batches: collections.deque[_Batch] = collections.deque()

    def add(self, message: Mapping[str, Any]) -> None:
        """Add a batch to those in progress."""
        # Control tokens of this model in a text must not end the message.
        texts = [self.plain(text) for text in message["texts"]]
        batch = _Batch(message, [], [])
        for request in message["requests"]:
            try:
                wanted = self.plan(request, texts)
            except _Failed as problem:
                batch.plans.append(str(problem))
                continue
            first = len(batch.outputs)
            batch.plans.append((first, first + len(wanted)))
            for one in wanted:
                name = str(next(self.names))
                one.parameters.output_kind = self.once  # no partial texts
                prompt = {"prompt_token_ids": list(one.tokens)}
                self.llm.llm_engine.add_request(name, prompt, one.parameters)
                self.owners[name] = batch, len(batch.outputs)
                batch.outputs.append(None)
        self.batches.append(batch)

    def step(self) -> list[dict[str, Any]]:
        """One step of the engine; the answers to the first batches if they are complete."""
        if self.owners:
            for output in self.llm.llm_engine.step():
                if output.finished:
                    # Engines may append to the names of requests.
                    batch, place = self.owners.pop(str(output.request_id).partition("-")[0])
                    batch.outputs[place] = output
        whole = []
        # In the order of arrival, even if a later batch is complete earlier.
        while self.batches and None not in self.batches[0].outputs:
            whole.append(self.batches.popleft())
        return [
            {
                "batch": batch.message["batch"],
                "outcomes": [
                    {"failure": plan}
                    if isinstance(plan, str)
                    else self.outcome(request, batch.outputs[slice(*plan)])
                    for request, plan in zip(batch.message["requests"], batch.plans, strict=True)
                ],
            }
            for batch in whole
        ]

    def plan(self, request: Mapping[str, Any], texts: Sequence[str]) -> list[_Pass]:
        """The passes that answer a request. **Raises:** `_Failed`."""
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        messages = [{"role": role, "content": texts[place]} for role, place in request["messages"]]
        try:
            prompt = self.render(messages)
        except Exception as problem:
            # A template may lack a system role; newer engines already reject long prompts here.
            raise _Failed(f"the model cannot take this prompt: {problem}") from None
        answers = tuple(request["answers"])
        readout = request["readout"]
        if readout == "probabilities":
            tree = self.tree(answers)
            self.check_length(len(prompt), tree.depth)
            return [
                _Pass((*prompt, *probe.prefix), self.scoring(probe.tokens)) for probe in tree.probes
            ]
        options: dict[str, Any] = {"max_tokens": request["max_tokens"]}
        if readout != "text":
            if problem := choice_problem(answers):
                raise _Failed(problem)
            options = {
                "max_tokens": longest_reply(answers),
                "structured_outputs": _choice(answers),
            }
        self.check_length(len(prompt), options["max_tokens"])
        return [
            _Pass(
                prompt,
                SamplingParams(
                    temperature=0.0 if readout == "choice" else request["temperature"],
                    top_p=1.0 if readout == "choice" else request["top_p"],
                    seed=request["seed"] % 2**63,
                    **options,
                ),
            )
        ]

    def check_length(self, prompt: int, reply: int) -> None:
        """**Raises:** `_Failed` if the model has no room for both."""
        if prompt + reply > self.longest:
            raise _Failed(
                f"the prompt has {prompt} tokens and the answer needs up to {reply}, but the model "
                f"holds {self.longest}: a shorter persona, or a larger max_model_len"
            )

    def scoring(self, tokens: Sequence[int]) -> Any:
        """One forward pass that returns the log-probabilities of these tokens."""
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        how = {"logprob_token_ids": list(tokens)} if self.named_tokens else {"logprobs": _TOP}
        return SamplingParams(max_tokens=1, temperature=0.0, detokenize=False, **how)

    def outcome(self, request: Mapping[str, Any], outputs: Sequence[Any]) -> dict[str, Any]:
        """The fields of a completion."""
        first = outputs[0].outputs[0]
        fields: dict[str, Any] = {
            "prompt_tokens": sum(len(output.prompt_token_ids) for output in outputs),
            "completion_tokens": sum(len(output.outputs[0].token_ids) for output in outputs),
            "cached_tokens": sum(output.num_cached_tokens or 0 for output in outputs),
        }
        if request["readout"] != "probabilities":
            return fields | {"text": first.text, "finish_reason": first.finish_reason or "unknown"}
        answers = tuple(request["answers"])
        tree = self.tree(answers)
        try:
            found = [
                self.scores(probe, output, tree.depth == 1)
                for probe, output in zip(tree.probes, outputs, strict=True)
            ]
        except Refused as problem:
            return {"failure": str(problem)}
        values = tree.log_probabilities(found)
        return fields | {"text": most_probable(answers, values), "log_probabilities": values}

    def scores(self, probe: Probe, output: Any, alone: bool) -> dict[int, float]:
        """The log-probabilities of a probe's tokens; `alone`: each token is a complete answer.

        **Raises:** `Refused`.
        """
        logs = output.outputs[0].logprobs
        entries = dict(logs[0] or {}) if logs else {}
        for token, entry in entries.items():
            if isinstance(text := getattr(entry, "decoded_token", None), str):
                self.texts.setdefault(token, text)
        return by_number(
            ((token, getattr(entry, "logprob", None)) for token, entry in entries.items()),
            probe.tokens,
            self.text if alone else None,
        )

    def text(self, token: int) -> str:
        """The text of a token; empty if unknown."""
        if token not in self.texts:
            try:
                self.texts[token] = self.tokenizer.decode([token])
            except Exception:  # models may have more tokens than their tokenisers
                self.texts[token] = ""
        return self.texts[token]

    def render(self, messages: list[dict[str, str]]) -> tuple[int, ...]:
        """A chat as tokens, as `LLM.chat` renders it."""
        render = getattr(self.llm, "preprocess_chat", None)  # its name until about 0.13
        render = render or getattr(self.llm, "_preprocess_chat", None)
        arguments = self.chat_template_arguments
        if render is not None:
            (rendered,) = render([messages], chat_template_kwargs=arguments or None)
            if "prompt_token_ids" in rendered:
                return tuple(rendered["prompt_token_ids"])
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **arguments
        )
        return self.encode(text)

    def encode(self, text: str) -> tuple[int, ...]:
        """Text as tokens, without special tokens at the beginning."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def tree(self, answers: tuple[str, ...]) -> AnswerTree:
        """The answers as a tree of tokens. **Raises:** `_Failed`."""
        if answers not in self.trees:
            if self.bare_prompt is None:
                prompt = self.render([{"role": "user", "content": "?"}])
                self.bare_prompt = prompt, self.tokenizer.decode(list(prompt))
            try:
                sequences = answer_sequences(answers, self.encode, *self.bare_prompt)
                self.trees[answers] = AnswerTree(answers, sequences)
            except ValueError as problem:
                self.trees[answers] = str(problem)
        tree = self.trees[answers]
        if isinstance(tree, str):
            raise _Failed(tree)
        return tree


def special_tokens(tokenizer: Any) -> set[str]:
    """The texts that this tokenizer treats as control tokens."""
    added = getattr(tokenizer, "added_tokens_decoder", None) or {}
    special = {str(token) for token in added.values() if getattr(token, "special", False)}
    return special | {str(token) for token in getattr(tokenizer, "all_special_tokens", None) or ()}


def _choice(answers: Sequence[str]) -> Any:
    from vllm.sampling_params import StructuredOutputsParams  # pyright: ignore[reportMissingImports]

    return StructuredOutputsParams(choice=list(answers))


def load(setup: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The engine and its description. Default settings that this version lacks are left out.

    On a CPU: no chunked prefill (seeds fail with it), one process, and a bounded cache (by default
    it would take most of the memory).
    """
    import dataclasses
    import importlib.metadata

    if "+cpu" in importlib.metadata.version("torch"):
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        # Compilation does not pay here, and there may be no compiler.
        os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")
    import vllm  # pyright: ignore[reportMissingImports]
    from vllm.engine.arg_utils import EngineArgs  # pyright: ignore[reportMissingImports]
    from vllm.platforms import current_platform  # pyright: ignore[reportMissingImports]

    ours: dict[str, Any] = {"seed": 0, "enable_prefix_caching": True}
    if current_platform.is_cpu():
        ours |= {
            "enforce_eager": True,
            "enable_chunked_prefill": False,
            "distributed_executor_backend": "uni",
            "block_size": 32,
            "max_num_seqs": 64,
            "kv_cache_memory_bytes": int(setup["kv_cache_gib"] * 2**30),
        }
        if longest := setup["arguments"].get("max_model_len"):
            ours["max_num_batched_tokens"] = max(4096, longest)
    known = {field.name for field in dataclasses.fields(EngineArgs)}
    arguments = {name: value for name, value in ours.items() if name in known}
    llm = vllm.LLM(model=setup["model"], **(arguments | dict(setup["arguments"])))
    dtype = str(llm.llm_engine.model_config.dtype).removeprefix("torch.")
    return llm, {
        "concurrency": int(llm.llm_engine.vllm_config.scheduler_config.max_num_seqs),
        "version": str(vllm.__version__),
        "device": str(current_platform.device_type),
        "dtype": dtype,
    }


def serve(incoming: "queue.SimpleQueue[bytes]", say: Any) -> None:
    """Load the model that the first message names, then answer all further messages."""
    try:
        setup = json.loads(incoming.get())
        llm, about = load(setup)
        answering = Answering(
            llm, setup["chat_template_arguments"], named_tokens=setup["named_tokens"]
        )
        say({"ready": about})
        while True:
            # The next batch is added while one is in progress, so that the engine is never idle.
            while not answering.batches or not incoming.empty():
                answering.add(json.loads(incoming.get()))
            for answer in answering.step():
                say(answer)
    except BaseException as problem:
        import traceback

        traceback.print_exc()
        say({"error": f"{type(problem).__name__}: {problem}"[:1000]})


def listen(descriptor: int, incoming: "queue.SimpleQueue[bytes]") -> None:
    """Queue lines of input until it or the parent ends; then end this process and its children."""
    parent = os.getppid()
    buffer = bytearray()
    while os.getppid() == parent:
        # Another child may hold the parent's end of the pipe open; so check twice a second.
        if not select.select([descriptor], [], [], 0.5)[0]:
            continue
        piece = os.read(descriptor, 1 << 20)
        if not piece:
            break
        buffer += piece
        if b"\n" in piece:
            *lines, rest = bytes(buffer).split(b"\n")
            buffer = bytearray(rest)
            for line in lines:
                incoming.put(line)
    _end()


def _end() -> None:
    sys.stderr.flush()
    if os.getpgid(0) == os.getpid():  # this process leads its own group
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(0)


def main() -> None:
    """Exchange messages over the original standard streams; all other output goes to the log."""
    requests, answers = os.dup(0), os.dup(1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    incoming: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(requests, incoming), daemon=True).start()
    with os.fdopen(answers, "wb") as pipe:

        def say(message: Any) -> None:
            pipe.write(json.dumps(message).encode() + b"\n")
            pipe.flush()

        serve(incoming, say)
    _end()


if __name__ == "__main__":
    main()
