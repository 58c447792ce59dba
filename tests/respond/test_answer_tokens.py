"""Probabilities of answers along their tree of tokens, against all texts of a small language."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syndigits_jax.respond.engines._answer_tokens import (
    MOST_TOKENS,
    AnswerTree,
    answer_sequences,
    choice_problem,
    longest_reply,
    most_probable,
)

LETTERS = 4


def next_letter(prefix):
    """Log-probabilities in a language where each letter depends on all those before it."""
    seed = sum((letter + 1) * 7**place for place, letter in enumerate(prefix))
    logits = np.random.default_rng(seed).standard_normal(LETTERS)
    return logits - np.log(np.exp(logits).sum())


def text_probability(text):
    return math.exp(sum(next_letter(text[:i])[letter] for i, letter in enumerate(text)))


sequences = st.lists(
    st.lists(st.integers(0, LETTERS - 1), min_size=1, max_size=3).map(tuple),
    min_size=1,
    max_size=8,
    unique=True,
)


@given(sequences)
@settings(max_examples=10)
def test_against_all_texts(answers):
    names = [str(answer) for answer in answers]
    tree = AnswerTree(names, answers)
    assert len({probe.prefix for probe in tree.probes}) == len(tree.probes)
    scores = [
        {token: next_letter(probe.prefix)[token] for token in probe.tokens} for probe in tree.probes
    ]
    found = np.exp(tree.log_probabilities(scores))
    # Every text of four letters belongs to the longest answer that begins it, or to none.
    expected = dict.fromkeys(answers, 0.0)
    for text in itertools.product(range(LETTERS), repeat=4):
        owners = [answer for answer in answers if text[: len(answer)] == answer]
        if owners:
            expected[max(owners, key=len)] += text_probability(text)
    np.testing.assert_allclose(found, [expected[answer] for answer in answers], atol=1e-12)
    assert found.sum() <= 1 + 1e-12


def test_one_pass_where_answers_are_one_token():
    assert [p.prefix for p in AnswerTree(list("123"), [[1], [2], [3]]).probes] == [()]


def test_many_tokens_are_asked_for_in_parts():
    count = 2 * MOST_TOKENS + 1
    tree = AnswerTree([str(i) for i in range(count)], [[i] for i in range(count)])
    assert [len(probe.tokens) for probe in tree.probes] == [MOST_TOKENS, MOST_TOKENS, 1]
    scores = [dict.fromkeys(probe.tokens, math.log(1 / count)) for probe in tree.probes]
    np.testing.assert_allclose(np.exp(tree.log_probabilities(scores)), 1 / count)


def test_unseen_tokens_have_no_probability():
    tree = AnswerTree(["1", "10", "2"], [[1], [1, 0], [2]])
    found = tree.log_probabilities([{1: math.log(0.5)}, {}])
    assert found == (math.log(0.5), -math.inf, -math.inf)
    certain = tree.log_probabilities([{1: 0.0, 2: -math.inf}, {0: 0.0}])
    assert certain == (-math.inf, 0.0, -math.inf)


@pytest.mark.parametrize(
    ("answers", "tokens", "reason"),
    [
        (["a", ""], [[1], []], "'' has no tokens"),
        (["a", "A"], [[1], [1]], "'a' and 'A' are the same tokens"),
        ([], [], "no answers"),
    ],
)
def test_answers_that_cannot_be_told_apart(answers, tokens, reason):
    with pytest.raises(ValueError, match=reason):
        AnswerTree(answers, tokens)


def test_answers_are_encoded_where_they_stand():
    """A tokeniser that opens every text with a space, as SentencePiece does."""

    def encode(text):
        return [ord(letter) for letter in " " + text]

    prompt = encode("user: ?\n")
    assert answer_sequences(["10"], encode, prompt, "user: ?\n") == [(ord("1"), ord("0"))]
    assert answer_sequences(["1"], encode) == [(ord(" "), ord("1"))]

    def merging(text):  # the prompt's end and the answer become one token
        return [99] if text == "x1" else [ord(letter) for letter in text]

    assert answer_sequences(["1", "2"], merging, merging("x"), "x") == [(49,), (50,)]


def test_choices():
    assert choice_problem(["1", "2"]) is None
    assert "no answers" in (choice_problem([]) or "")
    assert "'1' is given twice" in (choice_problem(["1", "1"]) or "")
    assert "empty" in (choice_problem(["1", ""]) or "")
    assert longest_reply(["1", "né"]) == 5
    assert most_probable("ab", [-3.0, -1.0]) == "b"
    assert most_probable("ab", [-math.inf, -math.inf]) == ""
