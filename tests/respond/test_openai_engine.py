"""Engines on servers that answer, refuse, fail, hang and stop.

Longer than 400 lines: every kind of failure meets one stand-in server, whose set-up they share.
"""

import itertools
import math
import re
import threading
import time

import numpy as np
import pytest
from stub_chat_server import (
    HANG_UP,
    StubServer,
    chat_answer,
    letters_model,
    next_token,
    prompt_of,
    tokens_of,
    top_logprobs,
)

from syndigits_jax.respond.engines import _servers
from syndigits_jax.respond.engines.openai_engine import OpenAIEngine
from syndigits_jax.respond.requests import Completion, EngineDied, Failure, Message, Request

SECRET = "sk-very-secret-0123456789"


def asking(text="How much?", readout="text", answers=(), **rest):
    return Request((Message("user", text),), readout, tuple(answers), **rest)


def engine_for(*servers, **options):
    options = {"retries": 3, "backoff": 0.01, "timeout": 20.0} | options
    return OpenAIEngine([server.url for server in servers], **options)


def outcomes(engine, requests):
    found = list(engine.stream(requests))
    assert sorted(position for position, _ in found) == list(range(len(found)))
    return [outcome for _, outcome in sorted(found, key=lambda pair: pair[0])]


def collect_into(seen, stream):
    """Keeps what came before an error."""
    for item in stream:
        seen.append(item)


def test_every_request_is_answered_once_and_concurrency_is_bounded():
    def behave(body, _number):
        time.sleep(0.01)
        return chat_answer(body["messages"][0]["content"].upper(), cached=5)

    with StubServer(behave) as server, engine_for(server, concurrency=4) as engine:
        answers = outcomes(engine, (asking(f"q{i}") for i in range(40)))
        assert engine.identity.model == "stub" and engine.identity.engine == "openai"
    assert answers == [Completion(f"Q{i}", None, "stop", 7, 2, 5) for i in range(40)]
    assert 2 <= server.most <= 4


def test_requests_are_read_lazily():
    read = itertools.count()

    def requests():
        for _ in range(1000):
            next(read)
            yield asking()

    with StubServer(lambda *_: chat_answer("1")) as server, engine_for(server, concurrency=3) as e:
        stream = e.stream(requests())
        for _ in range(5):
            next(stream)
        stream.close()
        assert next(read) <= 5 + 2 * 3
        # The engine goes on working after a stream was left half-way.
        assert outcomes(e, [asking()]) == [Completion("1", None, "stop", 7, 2, 0)]


def test_body_says_all_that_matters_and_the_seed_is_the_requests_own():
    with StubServer(lambda *_: chat_answer("2"), vllm=True) as server, engine_for(server) as engine:
        outcomes(
            engine,
            [
                asking(temperature=0.7, top_p=0.9, max_tokens=33, seed=2**64 + 5),
                asking(readout="choice", answers="12", temperature=0.7, seed=6),
                asking(readout="sample", answers="12", temperature=0.7, seed=7),
            ],
        )
        assert engine.identity.engine == "vllm-server" and engine.identity.version == "9.9"
    bodies = {body["seed"]: body for _, body in server.asked}
    text, choice, sample = bodies[5], bodies[6], bodies[7]
    assert (text["temperature"], text["top_p"], text["max_tokens"]) == (0.7, 0.9, 33)
    assert text["top_k"] == 0 and "structured_outputs" not in text
    assert (choice["temperature"], sample["temperature"]) == (0.0, 0.7)
    assert choice["structured_outputs"] == sample["structured_outputs"] == {"choice": ["1", "2"]}


def test_extra_body_adds_and_takes_out():
    extra = {"max_tokens": None, "max_completion_tokens": 9}
    with (
        StubServer(lambda *_: chat_answer("2")) as server,
        engine_for(server, extra_body=extra) as e,
    ):
        outcomes(e, [asking()])
    ((_, body),) = server.asked
    assert "max_tokens" not in body and body["max_completion_tokens"] == 9


@pytest.mark.parametrize(
    "extra",
    [
        {"temperature": 1.0},
        {"top_p": 0.5},
        {"seed": 1},
        {"max_tokens": 5},
        {"messages": []},
        {"messages": None},
        {"model": "other"},
        {"logprobs": None},
        {"top_logprobs": 2},
        {"n": 2},
        {"stream": True},
        {"repetition_penalty": {1, 2}},
    ],
    ids=repr,
)
def test_extra_body_cannot_belie_what_is_asked(extra):
    word = "JSON" if "repetition_penalty" in extra else repr(next(iter(extra)))
    with pytest.raises(ValueError, match=f"`extra_body`.*{word}"):
        OpenAIEngine("http://host", extra_body={"top_k": 5} | extra)


def test_the_models_name_is_known_before_a_server_is_asked():
    plain = {"user": "me", "priority": 1}
    telling = {"b": 1, "a": None, "user": "me"}
    template = {"enable_thinking": False}
    with StubServer(lambda *_: chat_answer("2")) as server:
        for options, name in [
            ({}, "stub"),
            ({"extra_body": plain}, "stub"),
            ({"extra_body": telling}, 'stub body {"a": null, "b": 1}'),
            ({"chat_template_arguments": template}, 'stub {"enable_thinking": false}'),
            (
                {"chat_template_arguments": template, "extra_body": telling},
                'stub {"enable_thinking": false} body {"a": null, "b": 1}',
            ),
        ]:
            named = OpenAIEngine("http://127.0.0.1:9", "stub", **options)
            assert named.model == name and named._readouts is None  # nothing was opened
            with engine_for(server, **options) as engine:
                assert engine.model is None and engine.identity.model == name


@pytest.mark.parametrize(
    "bad",
    [500, 503, 429, 408, HANG_UP, b"<html>busy</html>", b"[1]", {"choices": []}, {}, b""],
    ids=repr,
)
def test_what_may_pass_is_tried_again(bad):
    def behave(_body, number):
        return bad if number < 2 else chat_answer("4")

    with StubServer(behave) as server, engine_for(server, concurrency=1) as engine:
        (answer,) = outcomes(engine, [asking()])
    assert isinstance(answer, Completion) and answer.text == "4"
    assert len(server.asked) == 3


@pytest.mark.parametrize("bad", [500, HANG_UP, b"{", {"choices": [{"message": {}}]}], ids=repr)
def test_retries_are_bounded_and_the_others_are_answered(bad):
    def behave(body, _number):
        return bad if body["messages"][0]["content"] == "bad" else chat_answer("4")

    well = bad == {"choices": [{"message": {}}]}  # no content: an empty reply, not an error
    with StubServer(behave) as server, engine_for(server) as engine:
        answers = outcomes(engine, [asking("good"), asking("bad"), asking("good")])
    assert [type(answer) for answer in answers] == [
        Completion,
        Completion if well else Failure,
        Completion,
    ]
    bodies = [body["messages"][0]["content"] for _, body in server.asked]
    assert bodies.count("bad") == (1 if well else 4) and bodies.count("good") == 2


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_is_final_and_says_what_the_server_says(status):
    def behave(body, _number):
        return status if "long" in body["messages"][0]["content"] else chat_answer("4")

    with StubServer(behave) as server, engine_for(server) as engine:
        answers = outcomes(engine, [asking("long"), asking("short")])
    assert isinstance(answers[0], Failure) and isinstance(answers[1], Completion)
    assert f"HTTP {status}" in answers[0].reason and f"stub says {status}" in answers[0].reason
    assert len(server.asked) == 2


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 413, 422])
def test_a_server_that_refuses_every_request_ends_the_engine(status):
    with StubServer(lambda *_: status) as server:
        engine = engine_for(server, most_failures=3, concurrency=1)
        seen = []
        died = rf"3 requests failed in a row.*HTTP {status}: stub says {status}"
        with engine, pytest.raises(EngineDied, match=died):
            collect_into(seen, engine.stream([asking()] * 10))
        assert [type(outcome) for _, outcome in seen] == [Failure] * 3
        assert len(server.asked) <= 5  # nothing is tried again


def test_refusals_after_an_answer_may_be_the_requests_own_but_not_a_lost_permission():
    def behave(_body, number):
        return chat_answer("1") if number == 0 else refusal

    refusal = 400
    options = {"most_failures": 3, "concurrency": 1}  # the first is answered before the others
    with StubServer(behave) as server, engine_for(server, **options) as engine:
        assert len(outcomes(engine, [asking()] * 10)) == 10
    refusal = 402
    with StubServer(behave) as server:
        engine = engine_for(server, **options)
        with engine, pytest.raises(EngineDied, match=r"in a row.*HTTP 402"):
            list(engine.stream([asking()] * 10))


def test_a_server_that_hangs_is_given_up_in_time():
    def behave(_body, number):
        return 30.0 if number == 0 else chat_answer("4")

    with StubServer(behave) as server, engine_for(server, timeout=0.3) as engine:
        (answer,) = outcomes(engine, [asking()])
    assert isinstance(answer, Completion) and len(server.asked) == 2


def test_a_server_that_dies_half_way_ends_the_engine_and_keeps_what_was_answered():
    def behave(_body, number):
        return chat_answer("1") if number < 12 else HANG_UP

    seen = []
    with StubServer(behave) as server:
        engine = engine_for(server, concurrency=2, retries=1, most_failures=4)
        with engine, pytest.raises(EngineDied, match=r"[45] requests failed in a row"):
            collect_into(seen, engine.stream([asking()] * 100))
    kinds = [type(outcome) for _, outcome in seen]
    assert 10 <= kinds.count(Completion) <= 12 and kinds.count(Failure) >= 4 and len(kinds) < 30
    assert len({position for position, _ in seen}) == len(seen)


def test_another_server_takes_over():
    def dying(_body, number):
        return chat_answer("a") if number < 5 else HANG_UP

    with (
        StubServer(dying) as first,
        StubServer(lambda *_: chat_answer("b")) as second,
        engine_for(first, second, concurrency=4, backoff=0.05) as engine,
    ):
        answers = outcomes(engine, [asking(f"{i}") for i in range(60)])
    texts = [answer.text for answer in answers]
    assert texts.count("a") == 5 and texts.count("b") == 55
    assert len(first.asked) < 30  # it is left alone most of the time


def test_an_address_where_nobody_is_does_not_matter_beside_one_that_answers():
    with StubServer(lambda *_: chat_answer("b")) as server:
        gone = StubServer(lambda *_: chat_answer("a"))
        gone.__exit__()
        with engine_for(gone, server) as engine:
            assert engine.identity.model == "stub"
            assert {answer.text for answer in outcomes(engine, [asking()] * 8)} == {"b"}
        with engine_for(gone, retries=1) as engine, pytest.raises(EngineDied, match="no server"):
            _ = engine.identity


def test_retry_after_is_honoured(monkeypatch):
    waits = []
    real = _servers.Servers._next_server

    async def spy(self):
        waits.append(max(server.not_before for server in self.servers) - time.monotonic())
        for server in self.servers:
            server.not_before = -math.inf  # the test does not wait
        return await real(self)

    monkeypatch.setattr(_servers.Servers, "_next_server", spy)

    def behave(_body, number):
        return (429, {"Retry-After": "17"}, b"{}") if number == 0 else chat_answer("4")

    with StubServer(behave) as server, engine_for(server) as engine:
        assert isinstance(outcomes(engine, [asking()])[0], Completion)
    assert max(waits) == pytest.approx(17, abs=5)


def test_a_server_that_is_gone_for_a_while_is_asked_again_as_long_as_wanted():
    def behave(_body, number):
        return (503, {}, b"{}") if number < 6 else chat_answer("4")

    few = {"retries": 1, "backoff": 0.001}
    with StubServer(behave) as server, engine_for(server, **few) as engine:
        assert isinstance(outcomes(engine, [asking()])[0], Failure)
    with StubServer(behave) as server, engine_for(server, retry_for=60.0, **few) as engine:
        assert isinstance(outcomes(engine, [asking()])[0], Completion)
        assert len(server.asked) == 7


def test_retry_after_as_number_date_and_nonsense():
    in_a_minute = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    assert _servers.retry_after({"Retry-After": "2.5"}) == 2.5
    assert _servers.retry_after({"Retry-After": in_a_minute}) == pytest.approx(60, abs=20)
    for nonsense in ("", "soon", "-3", "nan", "inf"):
        assert _servers.retry_after({"Retry-After": nonsense}) == 0
    assert _servers.retry_after({"Retry-After": "1e9"}) == 600


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "SYNDIGITS_API_KEY"])
def test_the_key_is_sent_and_shown_nowhere(monkeypatch, variable, caplog, capfd):
    monkeypatch.setenv("OPENAI_API_KEY", "other")
    monkeypatch.setenv(variable, SECRET)
    echo = (400, {}, f'{{"error": {{"message": "bad key {SECRET}"}}}}'.encode())

    def behave(body, _number):
        return {"400": echo, "500": (500, *echo[1:]), "b": f"no json {SECRET}".encode()}[
            body["messages"][0]["content"]
        ]

    with caplog.at_level(0), StubServer(behave) as server:
        with engine_for(server, retries=1, most_failures=3) as engine:
            answers = outcomes(engine, [asking("400"), asking("500"), asking("b")][:2])
            with pytest.raises(EngineDied) as died:
                list(engine.stream([asking("b")] * 9))
            shown = [repr(engine), str(vars(engine)), repr(engine.identity), str(died.value)]
        assert set(server.keys) == {f"Bearer {SECRET}"}
    assert all(isinstance(answer, Failure) and "***" in answer.reason for answer in answers)
    shown += [repr(answers), caplog.text, *capfd.readouterr()]
    assert not any(SECRET in text for text in shown)


def test_without_a_key_none_is_sent(monkeypatch):
    for name in ("OPENAI_API_KEY", "SYNDIGITS_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with StubServer(lambda *_: chat_answer("b")) as server, engine_for(server) as engine:
        outcomes(engine, [asking()])
    assert set(server.keys) == {None}


def test_wrong_arguments_name_themselves():
    for urls, said in [
        ([], "at least one"),
        ("localhost:8000", "no address"),
        ("http://me:pass@host/v1", "user name"),
        ("http://host/v1?key=abc", "'\\?'"),
    ]:
        with pytest.raises(ValueError, match=f"`urls`.*{said}") as problem:
            OpenAIEngine(urls)
        assert "pass@" not in str(problem.value) and "abc" not in str(problem.value)
    for name, value in {"concurrency": 0, "timeout": 0.0, "most_failures": 0}.items():
        with pytest.raises(ValueError, match=f"`{name}`"):
            OpenAIEngine("http://host", **{name: value})
    with pytest.raises(ValueError, match="`retries`"):
        OpenAIEngine("http://host", retries=-1)


def test_a_model_that_is_not_served_is_named_with_those_that_are():
    with StubServer(lambda *_: chat_answer("b"), model="org/served") as server:
        with engine_for(server, model="other") as engine:
            with pytest.raises(ValueError, match=r"no 'other'.*serves org/served"):
                _ = engine.identity
            with pytest.raises(ValueError, match="no 'other'"):
                list(engine.stream([asking()]))
        assert server.asked == []


def test_addresses_with_and_without_the_version():
    for url in ("http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"):
        server = _servers.server_at(url)
        assert (server.api, server.root) == ("http://h:1/v1", "http://h:1")
    assert _servers.server_at("https://h/api/v3").api == "https://h/api/v3"


def test_probabilities_from_the_likeliest_tokens():
    said = chat_answer("2", logprobs=top_logprobs({"2": 0.5, "1": 0.25, "the": 0.1}))
    with StubServer(lambda *_: said) as server, engine_for(server) as engine:
        (answer,) = outcomes(engine, [asking(readout="probabilities", answers="123")])
    assert answer.text == "2"
    np.testing.assert_allclose(np.exp(answer.log_probabilities), [0.25, 0.5, 0.0])
    assert answer.log_probabilities[2] == -math.inf
    ((_, body),) = server.asked
    assert (body["logprobs"], body["top_logprobs"], body["max_tokens"]) == (True, 20, 1)


@pytest.mark.parametrize(
    ("answers", "logprobs", "reason"),
    [
        (("Very good", "Very bad"), top_logprobs({"Very": 0.9}), "longer than one token.*'Very'"),
        (("1", "10"), top_logprobs({"1": 0.9, "2": 0.1}), "'10' is longer than one token"),
        (("1", "2"), None, "no log-probabilities"),
        (("1", "1"), top_logprobs({"1": 0.9}), "given twice"),
        ((), top_logprobs({"1": 0.9}), "no answers"),
    ],
)
def test_probabilities_that_cannot_be_seen_are_not_invented(answers, logprobs, reason):
    said = chat_answer("x", logprobs=logprobs)
    with StubServer(lambda *_: said) as server, engine_for(server) as engine:
        (answer,) = outcomes(engine, [asking(readout="probabilities", answers=answers)])
    assert isinstance(answer, Failure)
    assert re.search(reason, answer.reason)


def test_a_choice_of_a_server_that_cannot_constrain_must_be_an_answer():
    replies = {"a": " 2\n", "b": "I would say 2", "c": ""}

    def behave(body, _number):
        return chat_answer(replies[body["messages"][0]["content"]])

    with StubServer(behave) as server, engine_for(server) as engine:
        found = outcomes(engine, [asking(q, readout="choice", answers="12") for q in replies])
    assert found[0].text == "2"
    assert all("none of the answers" in failure.reason for failure in found[1:])
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    "answers", [("1", "2", "3"), ("1", "10", "100", "2"), ("Very bad", "Very good", "Good")]
)
def test_exact_probabilities_on_vllms_server(answers):
    """Against all texts of the letters model, one letter longer than the longest answer."""
    with StubServer(letters_model, vllm=True) as server, engine_for(server) as engine:
        (found,) = outcomes(engine, [asking("How?", readout="probabilities", answers=answers)])
        assert len(server.asked) == (1 if max(map(len, answers)) == 1 else 2)
    prompt = tokens_of(prompt_of([{"role": "user", "content": "How?"}]))
    for answer, value in zip(answers, found.log_probabilities, strict=True):
        tokens = tokens_of(answer)
        expected = sum(next_token(prompt + tokens[:i])[t] for i, t in enumerate(tokens))
        # What goes on as a longer answer does is that one's.
        longer = {
            other[len(answer)] for other in answers if other.startswith(answer) and other != answer
        }
        if longer:
            then = np.exp(next_token(prompt + tokens))
            keep = [t for t in range(len(then)) if t not in tokens_of(longer)]
            expected += np.log(then[keep].sum())
        assert value == pytest.approx(expected, abs=1e-9)


def test_answers_are_tokenised_once(monkeypatch):
    count = []
    with StubServer(letters_model, vllm=True) as server, engine_for(server) as engine:
        respond = server.respond

        def counted(path, body, headers):
            count.append(path)
            return respond(path, body, headers)

        monkeypatch.setattr(server, "respond", counted)
        requests = [asking(f"{i}", readout="probabilities", answers="12") for i in range(30)]
        assert all(isinstance(answer, Completion) for answer in outcomes(engine, requests))
    assert count.count("/tokenize") == 5 and count.count("/detokenize") == 1


def test_same_tokens_twice_is_a_failure_that_names_them():
    with StubServer(letters_model, vllm=True) as server, engine_for(server) as engine:
        (answer,) = outcomes(engine, [asking(readout="probabilities", answers=("1", "1"))])
    assert isinstance(answer, Failure) and "'1' and '1' are the same tokens" in answer.reason


def test_closing_twice_leaves_no_thread_and_the_engine_opens_again():
    before = threading.active_count()
    with StubServer(lambda *_: chat_answer("b")) as server:
        engine = engine_for(server)
        assert len(outcomes(engine, [asking()])) == 1
        engine.close()
        engine.close()
        assert len(outcomes(engine, [asking()])) == 1
        engine.close()
        assert not [t for t in threading.enumerate() if "run_forever" in t.name]
    for _ in range(100):
        if threading.active_count() <= before:
            break
        time.sleep(0.05)
    assert threading.active_count() <= before
