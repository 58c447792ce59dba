"""What a dry run counts, against rendering and counting everything."""

import itertools
import json
import os

import pytest
from stub_engines import StubEngine, plain_template, some_personas, some_questions

from syndigits_jax.respond.asking.collect import collect
from syndigits_jax.respond.asking.dry_run import Tokens, dry_run, estimated_tokens, find_tokens
from syndigits_jax.respond.asking.plan import make_plan
from syndigits_jax.respond.requests import Decoding
from syndigits_jax.schema import Persona

TEMPLATE = plain_template()
LETTERS = Tokens(lambda messages: messages[0].content, len, "counted by letters")


def test_a_small_plan_is_counted_exactly(tmp_path):
    people, asked = some_personas(3), some_questions(4)
    found = dry_run(make_plan(TEMPLATE, people, asked, Decoding(orders=2)), LETTERS, examples=3)
    engine = StubEngine(window=1)
    collect(engine, TEMPLATE, people, asked, Decoding(orders=2), tmp_path / "r.db")
    chats = [request.messages[0].content for request in engine.asked]
    assert found.requests == found.counted == len(chats) == 24
    assert found.prompt_tokens == sum(map(len, chats))
    pairs = itertools.pairwise(chats)
    repeated = sum(len(os.path.commonprefix(pair)) for pair in pairs)  # noqa: RUF071
    assert found.shared == pytest.approx(repeated / found.prompt_tokens)
    assert found.completion_tokens == 24 and found.how == "counted by letters"
    assert len(found.examples) == 3 and found.examples[0][0].content == chats[0]
    assert len({chat[0].content for chat in found.examples}) == 3


def test_a_large_plan_is_estimated_from_a_part():
    people = [Persona(f"p{i}", "x" * (100 + i)) for i in range(400)]
    plan = make_plan(TEMPLATE, people, some_questions(120), Decoding())
    found = dry_run(plan, LETTERS)
    assert found.requests == 48_000 and found.counted == 2000
    exact = sum(
        len(plan.prompt(i, task).messages[0].content) for i in (0, 399) for task in plan.tasks
    )  # lengths grow evenly from the first to the last
    assert found.prompt_tokens == pytest.approx(exact / 240 * 48_000, rel=0.01)
    assert 0.5 < found.shared < 1


@pytest.mark.parametrize(
    ("decoding", "most"),
    [(Decoding("text", max_tokens=7), 7), (Decoding("choice"), 1), (Decoding(), 1)],
)
def test_completions_and_cost(decoding, most):
    plan = make_plan(TEMPLATE, some_personas(2), some_questions(3), decoding)
    found = dry_run(plan, LETTERS)
    assert found.completion_tokens == 6 * most
    assert found.cost(0.0, 1e6) == pytest.approx(6 * most)
    assert found.cost(2e6, 0.0) == pytest.approx(2 * found.prompt_tokens)


def test_without_a_tokenizer_four_letters_are_a_token(tmp_path):
    for model in (None, "a/hub-name", str(tmp_path)):
        tokens = find_tokens(model)
        assert tokens.count("x" * 40) == 10 and "estimated at 4 characters" in tokens.how
    assert estimated_tokens().count("") == 0


def test_a_models_own_tokenizer_counts(tmp_path):
    pytest.importorskip("tokenizers", reason="needs a tokenizer library")
    vocabulary = {"[UNK]": 0, "x": 1}
    (tmp_path / "tokenizer.json").write_text(
        json.dumps(
            {
                "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
                "normalizer": None, "pre_tokenizer": {"type": "Whitespace"},
                "post_processor": None, "decoder": None,
                "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
            }
        )
    )  # fmt: skip
    tokens = find_tokens(str(tmp_path))
    assert tokens.count("x x yyyy x") == 4 and "model's tokenizer" in tokens.how


def test_a_broken_tokenizer_is_named(tmp_path):
    pytest.importorskip("tokenizers", reason="needs a tokenizer library")
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match="its tokenizer cannot be read"):
        find_tokens(str(tmp_path))
