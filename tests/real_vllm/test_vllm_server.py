"""vLLM's own server and the offline engine, with SmolLM2: the same answers by both ways."""

import numpy as np
import pytest
from conftest import answers_of
from rating_requests import DIGITS, PERSONA, THINGS, chat, rating, workload

from syndigits_jax.respond.engines.openai_engine import OpenAIEngine
from syndigits_jax.respond.requests import Completion, Failure, Message, Request


def test_all_four_readouts_answer_offline(asked_offline):
    check_kinds(asked_offline)


def test_all_four_readouts_answer_on_the_server(asked_online):
    check_kinds(asked_online)


def check_kinds(outcomes):
    for request, outcome in zip(workload(), outcomes, strict=True):
        assert isinstance(outcome, Completion), outcome
        if request.readout == "probabilities":
            total = np.exp(outcome.log_probabilities).sum()
            assert 0 < total <= 1 + 1e-4
        elif request.readout == "text":
            assert outcome.text and outcome.finish_reason in ("stop", "length")
        else:
            assert outcome.text in request.answers
        assert outcome.prompt_tokens > 50 and outcome.completion_tokens >= 1


def test_offline_and_server_agree(asked_offline, asked_online):
    """bfloat16 and batches of other sizes: probabilities to a hundredth, what is greedy alike."""
    same = {"choice": [], "text": [], "sample": []}
    for request, one, two in zip(workload(), asked_offline, asked_online, strict=True):
        if request.readout == "probabilities":
            np.testing.assert_allclose(
                np.exp(one.log_probabilities), np.exp(two.log_probabilities), atol=1e-2
            )
        else:
            same[request.readout].append(one.text == two.text)
        assert one.prompt_tokens == two.prompt_tokens
    assert all(same["choice"])
    # One rounding can turn a draw or a word; a different prompt or seed turns nearly all.
    assert np.mean(same["text"]) >= 0.75 and np.mean(same["sample"]) >= 0.75


def test_any_order_gives_the_same_on_the_server(online, asked_online):
    requests = workload()
    backwards = answers_of(online, requests[::-1])[::-1]
    for request, one, two in zip(requests, asked_online, backwards, strict=True):
        if request.readout == "probabilities":
            np.testing.assert_allclose(
                np.exp(one.log_probabilities), np.exp(two.log_probabilities), atol=1e-2
            )
        elif request.readout == "choice":
            assert one.text == two.text


def test_one_personas_questions_come_from_the_servers_cache(online, server):
    """As the engine's own metrics have it, and each reply's usage."""
    names = "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"
    before = [server.count(name) for name in names]
    persona = 4 * PERSONA + "It is Monday."
    requests = [rating(f"{t} of {y}", persona=persona) for t in THINGS for y in (1, 2, 3, 4)]
    found = answers_of(online, requests)
    asked, hit = (server.count(name) - old for name, old in zip(names, before, strict=True))
    assert len(requests) == 32 and asked >= sum(answer.prompt_tokens for answer in found)
    assert hit / asked > 0.7
    assert sum(answer.cached_tokens for answer in found) == pytest.approx(hit, rel=0.02)


def test_seeds_differ_per_request_and_repeat_on_the_server(online):
    requests = [
        Request(chat("soup"), "text", temperature=1.0, max_tokens=12, seed=seed)
        for seed in range(8)
    ]
    texts = [answer.text for answer in answers_of(online, requests)]
    assert len(set(texts)) > 5
    again = [answer.text for answer in answers_of(online, requests)]
    assert np.mean([one == two for one, two in zip(texts, again, strict=True)]) >= 0.75


def test_what_cannot_be_asked_fails_alone_on_the_server(online):
    long = Request((Message("user", "word " * 5000),), "text")
    found = answers_of(online, [rating("soup"), long, rating("soup", answers=("1", "1"))])
    assert [type(outcome) for outcome in found] == [Completion, Failure, Failure]
    assert "2048" in found[1].reason and "same tokens" in found[2].reason


def test_identity_and_a_wrong_name(online, server):
    identity = online.identity
    assert (identity.model, identity.engine) == ("smollm2", "vllm-server")
    assert identity.version[0].isdigit()
    with OpenAIEngine(server.url, "other") as other, pytest.raises(ValueError, match="serves smol"):
        _ = other.identity


def test_the_question_changes_the_distribution(asked_offline):
    """The machinery reaches the model: not every question gets one and the same distribution."""
    rows = [
        outcome.log_probabilities
        for request, outcome in zip(workload(), asked_offline, strict=True)
        if request.readout == "probabilities" and request.answers == DIGITS
    ]
    assert len(rows) == len(THINGS) and np.ptp(np.exp(rows), axis=0).max() > 1e-3
