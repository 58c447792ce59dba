"""The items' texts as vectors: read from a file, or made by one of the encoders."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from jaxtyping import Float

from syndigits_jax.preferences import tfidf_encoder
from syndigits_jax.preferences.text import MINILM, embed_texts, sentence_encoder
from syndigits_jax.results.checkpoints import UNITS
from syndigits_jax.results.progress import OnStep, no_step
from syndigits_jax.workflows.fidelity.files import read_embeddings

AUTO, SENTENCES, WORDS = "auto", "minilm", "tfidf"
TEXT_ENCODERS = (AUTO, SENTENCES, WORDS)
"""MiniLM, TF-IDF, or MiniLM where sentence-transformers is installed and TF-IDF elsewhere."""


@dataclass(frozen=True, eq=False)
class ItemVectors:
    """Vectors of the items' texts, (m, e), and notes on how they were made."""

    values: Float[np.ndarray, "m e"]
    notes: tuple[str, ...] = ()


def check_text_encoder(text_encoder: str, embeddings: str | PathLike[str] | None) -> None:
    """Check the choice of an encoder beside `embeddings`, a file of vectors if any.

    **Raises:** `ValueError` for another one than `TEXT_ENCODERS`, or one with nothing to encode.
    """
    if text_encoder not in TEXT_ENCODERS:
        raise ValueError(f"`text_encoder` must be one of {TEXT_ENCODERS}, got {text_encoder!r}")
    if embeddings is not None and text_encoder != AUTO:
        raise ValueError(
            f"`text_encoder` is {text_encoder!r}, but `embeddings` has the vectors: give one of "
            "the two"
        )


def item_vectors(
    texts: Sequence[str],
    embeddings: str | PathLike[str] | None,
    out: str | PathLike[str],
    on_step: OnStep = no_step,
    text_encoder: str = AUTO,
) -> ItemVectors:
    """Vectors of the items' texts.

    **Arguments:**

    - `texts`: of the m items.
    - `embeddings`: path of a file of vectors, or `None` to encode the texts.
    - `out`: a folder where MiniLM's vectors are kept.
    - `on_step`: entered while the texts are encoded.
    - `text_encoder`: `"minilm"` for [`sentence_encoder`][syndigits_jax.preferences], `"tfidf"` for
      [`tfidf_encoder`][syndigits_jax.preferences], which needs no extra; `"auto"` for the first
      where it is installed, else the second.

    **Raises:** `ValueError` if all texts are empty, for another encoder, or as `read_embeddings`
    does; `ImportError` for `"minilm"` without the extra `text`.
    """
    check_text_encoder(text_encoder, embeddings)
    if embeddings is not None:
        return ItemVectors(read_embeddings(embeddings, len(texts)))
    if not any(texts):
        raise ValueError(
            "items: the table has no texts, only identifiers; add a column such as title, or give "
            "`embeddings`"
        )
    why = ""
    if text_encoder == AUTO and not _installed("sentence_transformers"):
        text_encoder, why = WORDS, "sentence-transformers is not installed"
    if text_encoder == WORDS:
        with on_step(f"encoding {len(texts)} item texts by TF-IDF{why and f' ({why})'} ..."):
            values = embed_texts(texts, tfidf_encoder(texts))
        return ItemVectors(values, _notes(values, why))
    with on_step(f"encoding {len(texts)} item texts ..."):
        encoder = sentence_encoder()
        return ItemVectors(
            embed_texts(texts, encoder, cache=Path(out) / UNITS / "texts", name=MINILM)
        )


def _notes(values: Float[np.ndarray, "m e"], why: str) -> tuple[str, ...]:
    notes = [
        "item texts are compared by their words (TF-IDF), not by their meaning"
        + (why and f", as {why} (extra `text`)")
        + "; numbers measured with another text encoder are not comparable with these"
    ]
    empty = int((~values.any(axis=1)).sum())
    if empty:
        notes.append(
            f"{empty} of {len(values)} items have no word that is counted: the encoder cannot tell "
            "them apart"
        )
    return tuple(notes)


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
