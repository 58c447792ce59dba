"""What a dry run counts, against rendering and counting everything."""

import itertools
import json
import os
import sys
import types

import pytest
from stub_engines import StubEngine, plain_template, some_personas, some_questions

from syndigits_jax.respond.asking.collect import collect
from syndigits_jax.respond.asking.dry_run import Tokens, dry_run, estimated_tokens, find_tokens
from syndigits_jax.respond.asking.plan import make_plan
from syndigits_jax.respond.requests import Decoding, Message
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


class Words:
    """A tokenizer library: words are tokens. `chat_template` is None or a format of a turn."""

    def __init__(self, chat_template=None):
        self.chat_template = chat_template

    def encode(self, text, add_special_tokens=True):
        words = text.split()
        return ["<s>", *words] if add_special_tokens else words

    def apply_chat_template(self, turns, *, tokenize, add_generation_prompt):
        assert not tokenize and add_generation_prompt
        return "".join(self.chat_template.format(**turn) for turn in turns) + "<answer>"


def libraries(monkeypatch, tmp_path, *, transformers=None, tokenizers=None):
    """A model's folder, and libraries that load a tokenizer so; `None`: not installed."""
    (tmp_path / "tokenizer.json").write_text("{}")
    for name, owner, loader in (
        ("transformers", "AutoTokenizer", transformers),
        ("tokenizers", "Tokenizer", tokenizers),
    ):
        module = None
        if loader is not None:
            method = "from_pretrained" if name == "transformers" else "from_file"
            module = types.SimpleNamespace(**{owner: types.SimpleNamespace(**{method: loader})})
        monkeypatch.setitem(sys.modules, name, module)
    return str(tmp_path)


MESSAGES = (Message("system", "Be brief."), Message("user", "How are you?"))


def test_a_models_own_chat_template_is_counted(monkeypatch, tmp_path):
    loaded = []

    def load(template):
        def loader(model, *, local_files_only):
            loaded.append((model, local_files_only))
            return Words(template)

        return loader

    model = libraries(monkeypatch, tmp_path, transformers=load("<{role}> {content} "))
    tokens = find_tokens(model)
    assert loaded == [(model, True)] and tokens.how == "counted by the model's tokenizer"
    assert tokens.chat(MESSAGES) == "<system> Be brief. <user> How are you? <answer>"
    assert tokens.count("a b c") == 3  # the template has its own special tokens
    plain = find_tokens(libraries(monkeypatch, tmp_path, transformers=load(None)))
    assert plain.how == "counted by the model's tokenizer, without a chat template"
    assert plain.chat(MESSAGES) == estimated_tokens().chat(MESSAGES)


def test_a_tokenizer_is_read_by_what_is_installed(monkeypatch, tmp_path):
    def load(path):
        assert path == str(tmp_path / "tokenizer.json")
        return types.SimpleNamespace(encode=lambda text: types.SimpleNamespace(ids=text.split()))

    def broken(*_, **__):
        raise RuntimeError("no model in it")

    tokens = find_tokens(libraries(monkeypatch, tmp_path, tokenizers=load))
    assert tokens.count("a b c") == 3 and "without its chat template" in tokens.how
    nothing = find_tokens(libraries(monkeypatch, tmp_path))
    assert "estimated" in nothing.how and nothing.count("x" * 40) == 10
    for name in ("transformers", "tokenizers"):
        model = libraries(monkeypatch, tmp_path, **{name: broken})
        with pytest.raises(
            ValueError, match=r"tokenizer cannot be read \(no model in it\)"
        ) as said:
            find_tokens(model)
        assert model in str(said.value)
