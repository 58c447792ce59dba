"""First tokens as servers report them, and the probabilities of answers that they add up to."""

import itertools
import math
import re
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stub_chat_server import StubServer, chat_answer, letters_model, tokens_of
from test_openai_engine import asking, engine_for, outcomes
from test_vllm_worker import Letters, answered, library  # noqa: F401

from syndigits_jax.respond.engines._candidates import (
    by_answer,
    by_number,
    candidate,
    first_candidates,
)
from syndigits_jax.respond.engines._servers import Refused
from syndigits_jax.respond.requests import Completion, Failure

NONE = "returned no log-probabilities"


def entry(token, log, given=None, **more):
    more |= {} if given is None else {"bytes": list(given)}
    return {"token": token, "logprob": log} | more


def of_chat(*entries, sampled=None, **more):
    """The first token's candidates in the chat-completions interface."""
    return {"content": [(sampled or {}) | {"top_logprobs": list(entries)} | more]}


def of_completions(top, token=None, log=None):
    return {"tokens": [token], "token_logprobs": [log], "top_logprobs": [top]}


def scored(logprobs, answers="12", **options):
    said = chat_answer("x", logprobs=logprobs)
    with StubServer(lambda *_: said, **options) as server, engine_for(server) as engine:
        (found,) = outcomes(engine, [asking(readout="probabilities", answers=answers)])
        assert len(server.asked) == 1  # such an answer is final
    return found


LIKELY, LESS, RARE = -0.1, -2.5, -12.0
ONE = math.exp(LIKELY) + math.exp(RARE)
TWO = math.exp(LESS)
E_ACUTE = "é".encode()


@pytest.mark.parametrize(
    ("logprobs", "answers", "expected"),
    [
        (of_chat(entry("1", LIKELY), entry("2", LESS), entry("1", RARE)), "12", (ONE, TWO)),
        (of_chat(entry("1", RARE), entry("2", LESS), entry("1", LIKELY)), "12", (ONE, TWO)),
        (of_chat(entry(" 1", LIKELY), entry("2", LESS), entry("1", RARE)), "12", (ONE, TWO)),
        (of_chat(entry("Ġ1", LIKELY), entry("▁2", LESS), entry("1", RARE)), "12", (ONE, TWO)),
        (of_chat(entry("\n1", LIKELY), entry("Ċ1", RARE), entry("2\n", LESS)), "12", (ONE, TWO)),
        (of_chat(entry("<0x31>", LIKELY), entry("bytes:\\x31", RARE), entry("2", LESS)), "12",
         (ONE, TWO)),
        (of_chat(entry("�", LIKELY, E_ACUTE), entry("2", LESS), entry("é", RARE)), "é2",
         (ONE, TWO)),
        (of_chat(entry("�", RARE, E_ACUTE[:1]), entry("é", LIKELY), entry("2", LESS)), "é2",
         (math.exp(LIKELY), TWO)),
        (of_chat(entry("Ġ1", LIKELY, b" 1"), entry("2", LESS, b""), entry("1", RARE, None)), "12",
         (ONE, TWO)),
        (of_completions({" 1": LIKELY, "2": LESS, "1": RARE}), "12", (ONE, TWO)),
        ({"tokens": "1", "top_logprobs": {" 1": LIKELY, "2": LESS, "1": RARE}}, "12", (ONE, TWO)),
        (of_completions({"2": LESS}, " 1", LIKELY), "12", (math.exp(LIKELY), TWO)),
        # The sampled token, where the likeliest are not told or lack it.
        (of_chat(sampled=entry("1", LIKELY)), "12", (math.exp(LIKELY), 0)),
        (of_chat(sampled=entry("1", LIKELY), top_logprobs=None), "12", (math.exp(LIKELY), 0)),
        ({"content": [entry("1", LIKELY)]}, "12", (math.exp(LIKELY), 0)),
        (of_chat(entry("2", LESS), sampled=entry("1", LIKELY)), "12", (math.exp(LIKELY), TWO)),
        (of_chat(entry("2", LESS), entry("1", RARE), sampled=entry("1", LIKELY)), "12", (ONE, TWO)),
        (of_chat(entry("1", LIKELY), entry("2", LESS), sampled=entry("1", LIKELY)), "12",
         (math.exp(LIKELY), TWO)),
        (of_chat(entry(" 1", LIKELY), entry("2", LESS), sampled=entry("Ġ1", LIKELY)), "12",
         (math.exp(LIKELY), TWO)),
        (of_chat(entry("1", LIKELY), entry("2", LESS), sampled=entry("1", 0.0)), "12",
         (math.exp(LIKELY), TWO)),
        # Numbers in other clothes.
        (of_chat(entry("1", str(LIKELY)), entry("2", LESS), entry("3", None)), "12",
         (math.exp(LIKELY), TWO)),
        (of_chat(entry("1", -9999.0), entry("2", LESS), entry("the", math.nan)), "12", (0, TWO)),
        (of_chat(entry("1", -math.inf), entry("2", "-inf"), entry("3", 0)), "123", (0, 0, 1)),
        (of_chat(entry("1", 4e-4), entry("2", -40.0)), "12", (1, math.exp(-40))),
    ],
)  # fmt: skip
def test_tokens_of_one_text_are_one_answer(logprobs, answers, expected):
    found = scored(logprobs, answers)
    assert isinstance(found, Completion) and found.log_probabilities is not None, found
    np.testing.assert_allclose(np.exp(found.log_probabilities), expected, rtol=1e-12)
    assert found.text == answers[int(np.argmax(expected))]


@pytest.mark.parametrize(
    ("logprobs", "answers", "reason"),
    [
        (of_chat(), "12", NONE),
        (of_chat(top_logprobs=None), "12", NONE),
        ({"content": []}, "12", NONE),
        ({"content": [None]}, "12", NONE),
        ([], "12", NONE),
        ({"content": None}, "12", NONE),
        ({}, "12", NONE),
        (of_completions(None), "12", NONE),
        (of_completions({}), "12", NONE),
        (of_chat(sampled=entry("The", LIKELY)), "12", NONE),
        (of_chat(sampled=entry("1", None)), "12", NONE),
        (of_chat(sampled=entry("1", -9999.0)), "12", NONE),
        (of_chat(entry("1", None), entry("2", None)), "12", NONE),
        (of_chat(entry("1", -9999.0), entry("2", -9999.0)), "12", NONE),
        (of_chat(entry("2", LESS), sampled=entry("1", None)), "12", "no log-probability.*'1'"),
        (of_chat(entry("2", LESS), entry("1", None)), "12", "no log-probability.*'1'"),
        (of_chat(entry("2", LESS), entry("1", math.nan)), "12", "no log-probability.*'1'"),
        (of_chat(entry("2", LESS), entry("1", "high")), "12", "no log-probability.*'1'"),
        (of_chat(entry("2", LESS), entry("1", True)), "12", "no log-probability.*'1'"),
        (of_chat(entry("2", LESS), entry("1", 0.9)), "12", "0.9 of '1' is above 0"),
        (of_chat(entry("2", LESS), entry("the", "7")), "12", "7 of 'the' is above 0"),
        (of_chat(entry("2", LIKELY), entry("1", LIKELY)), "12", "add up to 1.81"),
        (of_chat(entry("1", LIKELY), entry("1", LIKELY)), "12", "add up to 1.81"),
        (of_completions({"1": LIKELY, " 1": LIKELY}), "12", "add up to 1.81"),
        (of_chat(entry("�", LIKELY, E_ACUTE[:1]), entry("2", LESS)), "é2", "longer than one token"),
        (of_chat(entry("\n", LIKELY), entry("the", LESS)), "12", "begins with white space"),
        (of_chat(entry("token_id:16", LIKELY)), "12", "names tokens by number"),
    ],
)  # fmt: skip
def test_what_is_no_probability_is_not_recorded_as_one(logprobs, answers, reason):
    found = scored(logprobs, answers)
    assert isinstance(found, Failure), found
    assert re.search(reason, found.reason), found.reason


def test_tokens_that_are_none_of_the_answers_are_outside():
    found = scored(of_chat(entry("The", LIKELY), entry("An", LESS)))
    assert found.log_probabilities == (-math.inf, -math.inf)


# --- any list of candidates -------------------------------------------------------------------

ANSWERS = ("1", "2", "no", "é")
spellings = st.sampled_from(
    [
        form
        for text in (*ANSWERS, "3", "the", "")
        for form in (
            (text, None), (f" {text}", None), (f"Ġ{text}", None), (f"▁{text}", None),
            (f"\n{text}", None), (f"{text} ", None), ("�", text.encode()), (text, text.encode()),
        )
    ]
)  # fmt: skip
weights = st.floats(1e-9, 1.0)


@given(st.lists(st.tuples(spellings, weights), min_size=2, max_size=20), st.randoms())
def test_any_candidates_add_up_by_text_in_any_order(drawn, random):
    total = sum(weight for _, weight in drawn)
    entries = [
        entry(text, math.log(weight / total), given_bytes or None)
        for (text, given_bytes), weight in drawn
    ]
    # What no answer can be refused for: every answer is seen.
    entries += [entry(answer, -60.0) for answer in ANSWERS]

    def read(ordered):
        choice = {"logprobs": of_chat(*ordered)}
        return by_answer(ANSWERS, first_candidates(choice))

    found = read(entries)
    expected = np.full(len(ANSWERS), -60.0)
    for (text, given_bytes), weight in drawn:
        text = given_bytes.decode() if given_bytes else text
        bare = text.strip().strip("Ġ▁")
        if bare in ANSWERS:
            place = ANSWERS.index(bare)
            expected[place] = np.logaddexp(expected[place], math.log(weight / total))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    random.shuffle(entries)
    assert read(entries) == found


def test_the_order_of_a_few_candidates_never_matters():
    entries = [entry("1", -1.0), entry(" 1", -2.0), entry("2", -3.0), entry("1", -4.0)]
    sampled = entry("1", -1.0)
    found = {
        by_answer("12", first_candidates({"logprobs": of_chat(*order, sampled=sampled)}))
        for order in itertools.permutations(entries)
    }
    (values,) = found
    assert math.exp(values[0]) == pytest.approx(math.exp(-1) + math.exp(-2) + math.exp(-4))


def test_a_candidate_without_a_name_is_of_unknown_text():
    assert candidate({"token": 16, "logprob": -1.0}).text is None
    assert candidate({"id": 16, "text": " 1", "logprob": -1.0}).text == b"1"
    with pytest.raises(TypeError, match="no token"):
        candidate("1")


# --- vLLM -------------------------------------------------------------------------------------


def test_an_engine_that_knows_numbers_adds_tokens_of_one_text():
    decode = {1: "1", 2: "2", 11: " 1", 12: "1", 13: "1", 9: "x"}.__getitem__
    entries = [(9, -3.0), (2, LESS), (1, RARE), (11, -5.0), (12, LIKELY - 1), (13, -4.0)]
    for order in itertools.permutations(entries):
        found = by_number(order, (1, 2), decode)
        mass = math.exp(RARE) + math.exp(LIKELY - 1) + math.exp(-4)
        assert found[1] == pytest.approx(math.log(mass)) and found[2] == LESS
    parts = by_number(entries, (1, 2))
    assert (parts[1], parts[2]) == (RARE, LESS)  # of a part of an answer, that token alone


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([], NONE),
        ([(1, None)], NONE),
        ([(1, -9999.0), (2, -math.inf)], NONE),
        ([(1, None), (2, -1.0)], "no log-probability for the token number 1"),
        ([(1, math.nan), (2, -1.0)], "no log-probability for the token number 1"),
        ([(1, 0.5), (2, -1.0)], "above 0"),
        ([(1, LIKELY), (2, LIKELY)], "add up to 1.81"),
    ],
)
def test_an_engine_that_returns_no_probabilities_is_refused(entries, reason):
    with pytest.raises(Refused, match=reason):
        by_number(entries, (1, 2))


def test_vllms_server_with_texts_in_place_of_numbers():
    """Older servers do not name tokens by number: the texts are read where one token is enough."""
    said = chat_answer("x", logprobs=of_chat(entry(" 1", LIKELY), entry("2", LESS)))
    with StubServer(lambda *_: said, vllm=True) as server, engine_for(server) as engine:
        short, long = outcomes(
            engine,
            [asking(readout="probabilities", answers=a) for a in ("12", ("1", "12"))],
        )
    np.testing.assert_allclose(np.exp(short.log_probabilities), [math.exp(LIKELY), TWO])
    assert isinstance(long, Failure) and "by their texts (' 1')" in long.reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda top: top.clear(), NONE),
        (lambda top: top[0].update(logprob=None), "no log-probability for the token"),
        (lambda top: top[0].update(logprob=2.0), "above 0"),
        (lambda top: [one.update(logprob=0.0) for one in top], "add up to 2"),
    ],
)
def test_vllms_server_returns_no_probabilities(change, reason):
    def behave(body, number):
        said = letters_model(body, number)
        change(said["choices"][0]["logprobs"]["content"][0]["top_logprobs"])
        return said

    with StubServer(behave, vllm=True) as server, engine_for(server) as engine:
        (found,) = outcomes(engine, [asking(readout="probabilities", answers="12")])
        assert len(server.asked) == 1
    assert isinstance(found, Failure) and reason in found.reason


def test_the_sampled_token_of_vllms_server_is_not_counted_twice():
    def behave(body, number):
        said = letters_model(body, number)
        content = said["choices"][0]["logprobs"]["content"][0]
        content.update(content["top_logprobs"][0])
        return said

    with StubServer(behave, vllm=True) as server, engine_for(server) as engine:
        (found,) = outcomes(engine, [asking(readout="probabilities", answers="12")])
    with StubServer(letters_model, vllm=True) as server, engine_for(server) as engine:
        (plain,) = outcomes(engine, [asking(readout="probabilities", answers="12")])
    assert found == plain


@pytest.mark.parametrize("logprobs", [None, [], [None], [{}]])
def test_vllm_itself_returns_none(logprobs):
    class Silent(Letters):
        def output(self, name, tokens, parameters):
            said = super().output(name, tokens, parameters)
            said.outputs[0].logprobs = logprobs
            return said

    (found,) = answered(Silent(), [asking(readout="probabilities", answers="12")])
    assert isinstance(found, Failure) and NONE in found.reason


def test_vllm_itself_with_two_tokens_of_one_text():
    class Doubled(Letters):
        """Tokens from 200 on read as those from 0 on do."""

        def get_tokenizer(self):
            plain = super().get_tokenizer()

            def decode(tokens):
                return plain.decode([token % 200 for token in tokens])

            return types.SimpleNamespace(**vars(plain) | {"decode": decode})

        def output(self, name, tokens, parameters):
            said = super().output(name, tokens, parameters)
            one, two = tokens_of("12")
            logs = {200 + one: LIKELY, two: LESS, one: RARE}
            said.outputs[0].logprobs = [
                {token: types.SimpleNamespace(logprob=log) for token, log in logs.items()}
            ]
            return said

    request = asking(readout="probabilities", answers="12")
    for named in (True, False):
        (found,) = answered(Doubled(), [request], named_tokens=named)
        assert isinstance(found, Completion) and found.log_probabilities is not None
        np.testing.assert_allclose(np.exp(found.log_probabilities), [ONE, TWO])
        assert found.text == "1"
