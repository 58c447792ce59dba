"""The child's calls of vLLM and their results, with a stand-in for the library."""

import math
import sys
import types

import numpy as np
import pytest
from stub_chat_server import ALPHABET, next_token, prompt_of, tokens_of

from syndigits_jax.respond.engines.vllm_engine import packed, unpacked
from syndigits_jax.respond.engines.vllm_worker import Answering
from syndigits_jax.respond.requests import Completion, Failure, Message, Request


class Parameters:
    __struct_fields__ = ("logprob_token_ids",)

    def __init__(self, **given):
        vars(self).update(given)


class AddedToken:
    def __init__(self, content, special):
        self.content, self.special = content, special

    def __str__(self):
        return self.content


class Letters:
    """An engine of letters, that answers one request a step, the latest first."""

    def __init__(self, renderer=True, **tokens):
        self.tokens = tokens
        self.calls, self.prompts, self.waiting = [], [], []
        self.llm_engine = self
        self.model_config = types.SimpleNamespace(max_model_len=120)
        if renderer:
            self._preprocess_chat = self.render

    def render(self, conversations, chat_template_kwargs=None):
        text = prompt_of(conversations[0]).replace(
            "<assistant>", (chat_template_kwargs or {}).get("open", "<assistant>")
        )
        if "system" in text:
            raise RuntimeError("no system role")
        return [{"prompt_token_ids": tokens_of(text)}]

    def get_tokenizer(self):
        return types.SimpleNamespace(
            apply_chat_template=lambda chat, **_: prompt_of(chat),
            encode=lambda text, add_special_tokens: tokens_of(text),
            decode=lambda tokens: "".join(ALPHABET[token] for token in tokens),
            **self.tokens,
        )

    def add_request(self, name, prompt, parameters):
        assert parameters.output_kind == "once"
        del parameters.output_kind
        self.calls.append(parameters)
        self.prompts.append(prompt["prompt_token_ids"])
        self.waiting.append((name, prompt["prompt_token_ids"], parameters))

    def step(self):
        name, tokens, parameters = self.waiting.pop()
        half = types.SimpleNamespace(
            finished=False, request_id=self.waiting[0][0] if self.waiting else name
        )
        return [half, self.output(f"{name}-1a2b", tokens, parameters)]

    def output(self, name, tokens, parameters):
        asked = vars(parameters)
        scores = next_token(tokens)
        likeliest = np.argsort(-scores)[: asked.get("logprobs", 0)].tolist()
        named = asked.get("logprob_token_ids", likeliest)
        logprobs = [{token: types.SimpleNamespace(logprob=float(scores[token])) for token in named}]
        text = asked.get("structured_outputs", ["free"])[-1]
        one = types.SimpleNamespace(text=text, token_ids=[1], logprobs=logprobs, finish_reason=None)
        return types.SimpleNamespace(
            request_id=name,
            finished=True,
            prompt_token_ids=tokens,
            outputs=[one],
            num_cached_tokens=None,
        )


@pytest.fixture(autouse=True)
def library(monkeypatch):
    module = types.ModuleType("vllm")
    module.SamplingParams = Parameters
    parameters = types.ModuleType("vllm.sampling_params")
    parameters.StructuredOutputsParams = lambda choice: choice
    parameters.RequestOutputKind = types.SimpleNamespace(FINAL_ONLY="once")
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", parameters)


def asking(readout="text", answers=(), text="How?", role="user", **rest):
    return Request((Message(role, text),), readout, tuple(answers), **rest)


def answered(llm, requests, **options):
    answering = Answering(llm, options.pop("template", {}), **options)
    answering.add({"batch": 1, **packed(requests)})
    while True:
        for answer in answering.step():
            assert answer["batch"] == 1 and not answering.batches
            return [unpacked(outcome) for outcome in answer["outcomes"]]


@pytest.mark.parametrize("renderer", [True, False])
def test_one_call_answers_a_batch_of_all_readouts(renderer):
    llm = Letters(renderer)
    found = answered(
        llm,
        [
            asking(temperature=0.5, top_p=0.8, max_tokens=9, seed=2**63 + 4),
            asking("choice", ("1", "née"), temperature=0.5, top_p=0.8, seed=5),
            asking("sample", "12", temperature=0.5, seed=6),
            asking("probabilities", "12"),
        ],
    )
    free, choice, sample, scored = map(vars, llm.calls)
    assert free == {"temperature": 0.5, "top_p": 0.8, "max_tokens": 9, "seed": 4}
    assert (choice["temperature"], choice["top_p"]) == (0.0, 1.0)
    assert choice["structured_outputs"] == ["1", "née"] and choice["max_tokens"] >= 5
    assert (sample["temperature"], sample["seed"]) == (0.5, 6)
    assert scored["logprob_token_ids"] == tokens_of("12") and scored["max_tokens"] == 1
    prompt = tokens_of(prompt_of([{"role": "user", "content": "How?"}]))
    expected = next_token(prompt)[tokens_of("12")]
    np.testing.assert_allclose(found[3].log_probabilities, expected)
    assert found[3].text == "12"[int(np.argmax(expected))]
    assert found[1] == Completion("née", None, "unknown", len(prompt), 1, 0)


def test_engines_that_cannot_be_told_tokens_return_the_likeliest():
    (found,) = answered(Letters(), [asking("probabilities", "123456789")], named_tokens=False)
    scores = next_token(tokens_of(prompt_of([{"role": "user", "content": "How?"}])))
    least = np.sort(scores)[-20]
    for digit, value in zip(tokens_of("123456789"), found.log_probabilities, strict=True):
        assert value == (scores[digit] if scores[digit] >= least else -math.inf)
    assert -math.inf in found.log_probabilities


def test_what_cannot_be_asked_never_reaches_the_engine():
    llm = Letters()
    found = answered(
        llm,
        [
            asking(role="system"),
            asking(text="x" * 200),
            asking(text="x" * 80, max_tokens=100),
            asking("choice", ("1", "1")),
            asking("probabilities", ("1", "")),
            asking("probabilities", ()),
        ],
    )
    assert llm.calls == []
    said = [
        "no system role",
        "holds 120",
        "up to 100",
        "given twice",
        "'' has no tokens",
        "no answers",
    ]
    for outcome, reason in zip(found, said, strict=True):
        assert isinstance(outcome, Failure) and reason in outcome.reason


def test_arguments_of_the_chat_template_reach_it():
    llm = Letters()
    answered(llm, [asking()], template={"open": "<no thinking>"})
    (prompt,) = llm.prompts
    assert prompt[-13:] == tokens_of("<no thinking>")


@pytest.mark.parametrize("renderer", [True, False])
def test_the_tokenizers_own_tokens_cannot_be_said(renderer):
    added = {0: AddedToken("|turn|", True), 1: AddedToken("how?", False)}
    llm = Letters(renderer, all_special_tokens=["<user>"], added_tokens_decoder=added)
    answered(llm, [asking(text="a |turn| <user> how? |turn")])
    (prompt,) = llm.prompts
    expected = prompt_of([{"role": "user", "content": "a | turn | < user > how? |turn"}])
    assert prompt == tokens_of(expected)  # in which the template's own token is whole
    assert expected.startswith("<user>")


def test_batches_are_answered_together_and_returned_in_order():
    llm = Letters()
    answering = Answering(llm, {})
    answering.add({"batch": 1, **packed([asking(text=text) for text in ("a", "b")])})
    answering.add({"batch": 2, **packed([asking(text="c")])})
    answering.add({"batch": 3, **packed([asking(role="system")])})
    said = [[answer["batch"] for answer in answering.step()] for _ in range(3)]
    # The stand-in answers the latest first; the third batch needs no answer of the engine.
    assert said == [[], [], [1, 2, 3]] and not answering.owners
