"""TF-IDF vectors of texts, judged by scikit-learn's and by NumPy's singular values."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from syndigits_jax.preferences import embed_texts, tfidf_encoder

WORDS = ("Heat", "crime", "Drama", "1995", "amélie", "the", "war", "x2", "love", "a", "night's")


def catalogue(count=40, seed=0):
    rng = np.random.default_rng(seed)
    some = [", ".join(rng.choice(WORDS, rng.integers(1, 7))) + "." for _ in range(count)]
    return [*some, "", "a - b", "WAR, war; War."]


def test_as_scikit_learns():
    texts = catalogue()
    judge = TfidfVectorizer()
    expected = judge.fit_transform(texts).toarray()
    found = tfidf_encoder(texts)(texts)
    assert found.dtype == np.float32 and found.shape == expected.shape
    # The words' order is no part of the definition.
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-6)
    np.testing.assert_allclose(np.sort(found, axis=1), np.sort(expected, axis=1), atol=1e-6)
    assert not found[-3].any() and not found[-2].any()  # no word of two characters
    np.testing.assert_allclose(np.linalg.norm(found, axis=1)[:-3], 1, atol=1e-6)


def test_the_projection_is_the_best_of_its_rank():
    texts, width = catalogue(), 4
    whole = np.asarray(tfidf_encoder(texts)(texts), float)
    left, size, _ = np.linalg.svd(whole, full_matrices=False)
    best = left[:, :width] * size[None, :width]
    length = np.linalg.norm(best, axis=1, keepdims=True)
    best = np.divide(best, length, out=np.zeros_like(best), where=length > 1e-9)
    found = tfidf_encoder(texts, width=width)(texts)
    assert found.shape == (len(texts), width)
    np.testing.assert_allclose(found @ found.T, best @ best.T, atol=1e-5)


def test_the_words_in_most_texts_are_counted():
    texts = ["war love", "war night", "war love crime"]
    found = tfidf_encoder(texts, words=2)(texts)
    kept = TfidfVectorizer(vocabulary=["war", "love"]).fit_transform(texts).toarray()
    np.testing.assert_allclose(found @ found.T, kept @ kept.T, atol=1e-6)
    assert not tfidf_encoder(texts, words=2)(["night and day"]).any()


def test_the_same_texts_give_the_same_bytes():
    texts = catalogue(300)
    for width in (384, 5):
        first, again = (embed_texts(texts, tfidf_encoder(texts, width=width)) for _ in range(2))
        assert first.tobytes() == again.tobytes()
    backwards = tfidf_encoder(texts[::-1])
    np.testing.assert_allclose(backwards(texts), tfidf_encoder(texts)(texts), atol=1e-6)


@pytest.mark.parametrize(
    ("texts", "options", "words"),
    [
        ("one text", {}, "not one string"),
        (["war", None], {}, "position 1"),
        (["a", "?"], {}, "none has a word"),
        (["war"], {"width": 0}, "`width`"),
        (["war"], {"words": -1}, "`words`"),
    ],
)
def test_bad_input_is_refused(texts, options, words):
    with pytest.raises(ValueError, match=words):
        tfidf_encoder(texts, **options)
