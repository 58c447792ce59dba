"""Servers whose answers do not follow the interface: a clear error, or a fallback."""

import json
import logging
import math

import numpy as np
import pytest
from stub_chat_server import StubServer, body, chat_answer, letters_model, top_logprobs
from test_openai_engine import asking, engine_for, outcomes

from syndigits_jax.respond.engines import _servers
from syndigits_jax.respond.engines._server_readouts import most_allowed
from syndigits_jax.respond.requests import Completion, Failure

PROBABILITIES = {"readout": "probabilities", "answers": "12"}
GOOD = chat_answer("3")


def one(behave, request=None, **options):
    """What an engine makes of one request to a server that always answers so, and how often it
    asked."""
    behave = behave if callable(behave) else lambda *_, said=behave: said
    stub = {key: options.pop(key) for key in ("vllm", "models") if key in options}
    with StubServer(behave, **stub) as server, engine_for(server, **options) as engine:
        (found,) = outcomes(engine, [request or asking()])
        return found, len(server.asked)


# --- errors inside answers of HTTP 200 --------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "times"),
    [
        ({"error": {"message": "no credit left", "code": 402}}, 1),
        ({"error": {"message": "no credit left", "code": "400"}}, 1),
        ({"error": {"message": "no credit left", "type": "invalid_request_error"}}, 1),
        ({"error": {"message": "no credit left", "code": "insufficient_quota"}}, 1),
        ({"error": {"message": "no credit left", "type": "BadRequestError"}}, 1),
        ({"error": "no credit left", "status": 403}, 1),
        ({"object": "error", "message": "no credit left", "code": 400}, 1),
        ({"detail": "no credit left", "status_code": 422}, 1),
        ({"error": {"message": "no credit left", "code": 429}}, 4),
        ({"error": {"message": "no credit left", "code": 503}}, 4),
        ({"error": {"message": "no credit left", "type": "rate_limit_error"}}, 4),
        ({"error": {"message": "no credit left", "type": "InternalServerError"}}, 4),
        ({"error": {"message": "no credit left"}}, 4),
        ({"error": "no credit left"}, 4),
        ({"error": {"error": {"message": "no credit left"}}, "choices": []}, 4),
        ({"detail": "no credit left"}, 4),
        ({"detail": [{"loc": ["body", "model"], "msg": "no credit left"}]}, 4),
        ({"success": False, "errors": [{"code": 7, "message": "no credit left"}]}, 4),
        ({"choices": [{"error": {"code": 400, "message": "no credit left"}}]}, 1),
        ({"choices": [{"error": {"code": 502, "message": "no credit left"}, "message": {},
                       "finish_reason": "error"}]}, 4),
        ({"error": {"code": 400, "message": "of whom I asked",
                    "metadata": {"raw": "no credit left"}}}, 1),
    ],
    ids=repr,
)  # fmt: skip
def test_an_error_inside_an_answer_means_what_its_code_does(said, times):
    found, asked = one(said)
    assert isinstance(found, Failure) and "no credit left" in found.reason
    assert asked == times
    assert times == 4 or "error 4" in found.reason


def test_a_passing_error_inside_an_answer_passes(monkeypatch):
    waits = []
    real = _servers.retry_after
    monkeypatch.setattr(_servers, "retry_after", lambda h: waits.append(real(h)) or 0.0)

    def behave(_body, number):
        error = {"error": {"message": "slow down", "code": 429}}
        return body(error, Retry_After="7") if number == 0 else GOOD

    found, asked = one(behave)
    assert found.text == "3" and asked == 2 and waits == [7.0]


@pytest.mark.parametrize("nothing", [None, "", {}, False, [], 0])
def test_no_error_is_none(nothing):
    assert one(GOOD | {"error": nothing, "detail": "all is well"})[0].text == "3"


# --- choices, contents, counts ----------------------------------------------------------------


def message(**fields):
    return {"choices": [{"index": 0, "message": fields, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (message(content=[{"type": "text", "text": "3"}]), "3"),
        (message(content=[{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "3"}]),
         "3"),
        (message(content=[{"type": "output_text", "text": "I say"}, " 3", None]), "I say 3"),
        (message(content={"type": "text", "text": {"value": "3"}}), "3"),
        (message(content=[{"text": "3"}]), "3"),
        (message(content=[{"type": "image_url", "image_url": {}}]), ""),
        (message(content=[]), ""),
        (message(content=3), "3"),
        (message(content=None, refusal="I can't."), "I can't."),
        (message(content=[{"type": "refusal", "refusal": "I can't."}]), "I can't."),
        (message(content="3", reasoning_content="Hm"), "3"),
        (message(content="3", tool_calls=[]), "3"),
        (message(content=None), ""),
        ({"choices": [{"text": "3"}]}, "3"),
        ({"choices": [{"message": "3"}]}, "3"),
        ({"choices": [{"index": 1, "message": {"content": "4"}},
                      {"index": 0, "message": {"content": "3"}}]}, "3"),
    ],
    ids=repr,
)  # fmt: skip
def test_text_in_any_form_is_read(said, text):
    found, asked = one(said)
    assert isinstance(found, Completion) and found.text == text and asked == 1


@pytest.mark.parametrize(
    ("said", "reason", "times"),
    [
        (message(content=None, reasoning_content="Let me think"), "reasoning alone", 1),
        (message(content="", reasoning="Let me think"), "reasoning alone", 1),
        (message(content=None, tool_calls=[{"function": {"name": "f"}}]), "calls a tool", 1),
        (message(content=True), "no text", 4),
        ({"choices": None}, "no choices", 4),
        ({"choices": []}, "no choices", 4),
        ({"choices": [None]}, "no choices", 4),
        ({"choices": {"a": 1}}, "no choices", 4),
        ({"choices": [{"message": None}]}, "another form", 4),
        ({"id": "x"}, "no choices", 4),
    ],
    ids=repr,
)
def test_a_reply_without_text_says_why(said, reason, times):
    found, asked = one(said)
    assert isinstance(found, Failure) and reason in found.reason and asked == times


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (None, (0, 0, 0)),
        ("many", (0, 0, 0)),
        ([1, 2], (0, 0, 0)),
        ({}, (0, 0, 0)),
        ({"prompt_tokens": 7}, (7, 0, 0)),
        ({"prompt_tokens": "7", "completion_tokens": 2.0}, (7, 2, 0)),
        ({"prompt_tokens": "7.0", "completion_tokens": "two"}, (7, 0, 0)),
        ({"prompt_tokens": -7, "completion_tokens": math.nan}, (0, 0, 0)),
        ({"prompt_tokens": math.inf, "completion_tokens": 10**400}, (0, 0, 0)),
        ({"prompt_tokens": 1e300, "completion_tokens": {"total": 2}}, (0, 0, 0)),
        ({"prompt_tokens": 7, "prompt_tokens_details": 5}, (7, 0, 0)),
        ({"prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": "5"}}, (7, 0, 5)),
        ({"prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": None}}, (7, 0, 0)),
    ],
    ids=repr,
)
def test_counts_of_tokens_in_any_form(usage, counts):
    found, _ = one(GOOD | {"usage": usage})
    assert (found.prompt_tokens, found.completion_tokens, found.cached_tokens) == counts


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (None, "unknown"),
        ("", "unknown"),
        (3, "unknown"),
        ({"type": "x"}, "unknown"),
        ("eos", "eos"),
    ],
)
def test_any_finish_reason_is_recorded(reason, expected):
    assert one(chat_answer("3", reason))[0].finish_reason == expected


def test_fewer_choices_than_prompts_are_a_clear_word():
    def behave(asked, number):
        said = letters_model(asked, number)
        if "prompt" in asked:
            said["choices"].pop()
        return said

    answers = ("1", "10", "100", "2", "20")
    request = asking(readout="probabilities", answers=answers)
    found, _ = one(behave, request, vllm=True, retries=0)
    assert isinstance(found, Failure) and "choices where" in found.reason


# --- caps of log-probabilities ----------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 422, 200])
@pytest.mark.parametrize(
    "words",
    [
        "top_logprobs must be <= {}, got {}",
        "Invalid value for 'top_logprobs': {1} is greater than the maximum of {0}",
        "top_logprobs should be between 0 and {}",
        "body.top_logprobs: Input should be less than or equal to {}",
        "this model does not support top_logprobs above {} (gpt-5.1)",
    ],
)
@pytest.mark.parametrize("cap", [5, 1, 0])
def test_a_cap_of_log_probabilities_is_kept_to_and_remembered(status, words, cap, caplog):
    probabilities = {"2": 0.5, "1": 0.25, "3": 0.125}

    def behave(asked, _number):
        top = asked.get("top_logprobs", 0)
        if top > cap:
            error = {"error": {"message": words.format(cap, top), "code": 400}}
            return body(error, status)
        seen = top_logprobs(dict(list(probabilities.items())[: max(top, 1)]))
        if not top:
            seen["content"][0] |= seen["content"][0]["top_logprobs"].pop()
        return chat_answer("2", logprobs=seen)

    with StubServer(behave) as server, engine_for(server, concurrency=1) as engine:
        found = outcomes(engine, [asking(**PROBABILITIES)] * 3)
        assert [b.get("top_logprobs", 0) for _, b in server.asked] == [20, cap, cap, cap]
    expected = [0.25 if cap == 5 else 0, 0.5]
    for answer in found:
        np.testing.assert_allclose(np.exp(answer.log_probabilities), expected)
    (note,) = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert "count as impossible" in note
    assert (f"of {cap} tokens at most" if cap else "of the sampled token only") in note


@pytest.mark.parametrize(
    "said",
    [
        (400, {}, b'{"error": {"message": "logprobs is not supported by this model (o3)"}}'),
        (400, {}, b'{"error": {"message": "Unrecognized request argument supplied: logprobs"}}'),
        (422, {}, b'{"detail": [{"loc": ["body", "logprobs"], "msg": "Extra inputs are not '
         b'permitted"}]}'),
        (400, {}, b'{"error": {"message": "This server doesn\'t support top_logprobs in v2"}}'),
        {"error": {"code": 400, "message": "logprobs: unsupported parameter"}},
        {"error": "logprobs are not available"},
        (500, {}, b'{"error": "logprobs is not implemented"}'),
        (501, {}, b"logprobs?"),
    ],
)  # fmt: skip
def test_a_server_without_log_probabilities_is_named(said):
    found, asked = one(said, asking(**PROBABILITIES))
    assert isinstance(found, Failure) and asked == 1
    assert "returned no log-probabilities: ask it with readout 'choice'" in found.reason
    assert "logprobs" in found.reason


def test_a_cap_on_vllms_own_server():
    def behave(asked, number):
        if asked.get("top_logprobs", asked.get("logprobs")) > 7:
            text = b"Requested sample logprobs of 20, which is greater than max allowed: 7"
            return 400, {}, json.dumps({"object": "error", "message": text.decode()}).encode()
        return letters_model(asked, number)

    request = asking(readout="probabilities", answers=("1", "10", "2"))
    found, asked = one(behave, request, vllm=True)
    whole, _ = one(letters_model, request, vllm=True)
    assert asked == 3 and found.log_probabilities == whole.log_probabilities


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        ("top_logprobs must be less than 6", 5),
        ("top_logprobs must be less than or equal to 6", 6),
        ("top_logprobs must be in [0, 10]", 10),
        ("top_logprobs: 20 > 8", 8),
        ("top_logprobs is wrong", None),
        ("top_logprobs must be at least 30", None),
    ],
)
def test_caps_in_words(said, allowed):
    assert most_allowed(said, 20) == allowed
