"""The items' texts as vectors: which encoder makes them, and what is said of it."""

import numpy as np
import pytest

from syndigits_jax.preferences import tfidf_encoder
from syndigits_jax.workflows.fidelity import texts as subject
from syndigits_jax.workflows.fidelity.texts import item_vectors

TEXTS = ("Heat. Crime", "Fargo. Crime, drama", "?", "")


@pytest.fixture(params=[True, False], ids=["with the extra", "without"])
def extra(request, monkeypatch):
    monkeypatch.setattr(subject, "_installed", lambda module: request.param)

    def encoder():
        if not request.param:
            raise ImportError("not installed")
        return lambda texts: np.ones((len(texts), 3))

    monkeypatch.setattr(subject, "sentence_encoder", encoder)
    return request.param


def test_which_encoder_is_taken(extra, tmp_path):
    words = tfidf_encoder(TEXTS)(list(TEXTS))
    by_hand = item_vectors(TEXTS, None, tmp_path, text_encoder="tfidf")
    np.testing.assert_array_equal(by_hand.values, words)
    assert "TF-IDF" in by_hand.notes[0] and "not installed" not in by_hand.notes[0]
    assert by_hand.notes[1].startswith("2 of 4 items have no word")
    assert not list(tmp_path.iterdir())  # a text's vector depends on the others: none is kept
    found = item_vectors(TEXTS, None, tmp_path)
    if extra:
        assert found.notes == () and (found.values == 1).all()
        same = item_vectors(TEXTS, None, tmp_path, text_encoder="minilm")
        np.testing.assert_array_equal(same.values, found.values)
        return
    np.testing.assert_array_equal(found.values, words)
    assert "sentence-transformers is not installed" in found.notes[0]
    with pytest.raises(ImportError, match="not installed"):
        item_vectors(TEXTS, None, tmp_path, text_encoder="minilm")


def test_bad_choices_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`text_encoder` must be one of"):
        item_vectors(TEXTS, None, tmp_path, text_encoder="bert")
    with pytest.raises(ValueError, match="one of the two"):
        item_vectors(TEXTS, tmp_path / "e.npy", tmp_path, text_encoder="tfidf")
    with pytest.raises(ValueError, match="no texts"):
        item_vectors(("", ""), None, tmp_path, text_encoder="tfidf")
