"""Item texts as TF-IDF vectors: an encoder of texts that needs no language model."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from ..solvers.checks import check_count
from .text import TextEncoder, check_texts

_WORD = re.compile(r"\w\w+")  # two characters or more, as scikit-learn counts words
_ROWS = 4096  # texts that are held as rows over all words at a time


def tfidf_encoder(texts: Sequence[Any], *, width: int = 384, words: int = 2000) -> TextEncoder:
    """An encoder of texts by the words they share, fitted to `texts`.

    A text's vector is tf · idf over words, with idf = ln((1 + m) / (1 + m_word)) + 1, of length 1
    (`TfidfVectorizer` of scikit-learn has the same definition). Where there are more words than
    `width`, the vectors are projected on their leading right singular vectors (latent semantic
    analysis: Deerwester et al., 1990), and brought to length 1 again. Nothing is drawn: the same
    texts give the same vectors. A vector depends on the texts of the whole catalogue, so that
    vectors of two catalogues cannot be mixed.

    It knows words, not meanings: "funny" and "comedic" are as different as "funny" and "war". Use
    [`sentence_encoder`][] where sentence-transformers can be installed.

    **Arguments:**

    - `texts`: m texts, of which at least one has a word of two characters.
    - `width`: the most numbers per text.
    - `words`: the most words that are counted, those in most texts.

    **Returns:** a function from a list of k texts to an array (k, e), float32. A text without any
    of these words becomes a vector of zeros.

    **Raises:** `ValueError` for texts that are not strings or have no word, and numbers below 1.

    **Example:**

        >>> from syndigits_jax.preferences import embed_texts, tfidf_encoder
        >>> texts = ["Heat. Crime", "Fargo. Crime", "Babe. Family"]
        >>> vectors = embed_texts(texts, tfidf_encoder(texts))
        >>> print((vectors @ vectors.T).round(2))
        [[1.   0.37 0.  ]
         [0.37 1.   0.  ]
         [0.   0.   1.  ]]
    """
    texts = check_texts(texts)
    for name, value in (("width", width), ("words", words)):
        check_count(name, value)
    found: Counter[str] = Counter()
    for text in texts:
        found.update(set(_words(text)))
    if not found:
        raise ValueError("`texts`: none has a word of two characters or more")
    kept = sorted(found, key=lambda word: (-found[word], word))[:words]
    column = {word: place for place, word in enumerate(kept)}
    counts = np.array([found[word] for word in kept])
    idf = np.log((1 + len(texts)) / (1 + counts)) + 1
    if len(kept) <= width:
        return _Tfidf(column, idf, None)
    whole = _Tfidf(column, idf, None)
    gram = np.zeros((len(kept), len(kept)))
    for first in range(0, len(texts), _ROWS):
        rows = whole.rows(texts[first : first + _ROWS])
        gram += rows.T @ rows
    axes = np.linalg.eigh(gram)[1][:, ::-1][:, : min(width, len(texts))]
    # The signs of eigenvectors are arbitrary.
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    return _Tfidf(column, idf, axes * np.sign(largest)[None, :])


class _Tfidf:
    """A fitted encoder: the words' columns, their weights and, if any, the axes to project on."""

    def __init__(
        self,
        column: dict[str, int],
        idf: Float[np.ndarray, " v"],
        axes: Float[np.ndarray, "v e"] | None,
    ):
        self.column, self.idf, self.axes = column, idf, axes

    def __call__(self, texts: list[str]) -> Float[np.ndarray, "k e"]:
        parts = [texts[first : first + _ROWS] for first in range(0, len(texts), _ROWS)]
        return np.concatenate([self.rows(part) for part in parts or [[]]]).astype(np.float32)

    def rows(self, texts: Sequence[str]) -> Float[np.ndarray, "k e"]:
        """The vectors of a few texts, in double precision."""
        values = np.zeros((len(texts), len(self.column)))
        for row, text in enumerate(texts):
            for place in self._places(text):
                values[row, place] += 1
        values = _of_length_one(values * self.idf[None, :])
        return values if self.axes is None else _of_length_one(values @ self.axes)

    def _places(self, text: str) -> list[int]:
        return [self.column[word] for word in _words(text) if word in self.column]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _of_length_one(values: Float[np.ndarray, "k e"]) -> Float[np.ndarray, "k e"]:
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(length > 0, length, 1)
