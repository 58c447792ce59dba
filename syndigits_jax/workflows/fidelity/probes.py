"""The items that personas are asked to rate, chosen from a user's files."""

from os import PathLike
from pathlib import Path

import numpy as np
from jaxtyping import Int

from syndigits_jax.datasets.films import film_questions
from syndigits_jax.datasets.questions import write_questions
from syndigits_jax.preferences import select_probes
from syndigits_jax.results.keys import Key, random_key
from syndigits_jax.results.progress import OnStep, no_step
from syndigits_jax.solvers.checks import check_count
from syndigits_jax.workflows.fidelity.files import read_rated_items
from syndigits_jax.workflows.fidelity.texts import AUTO, item_vectors

_Path = str | PathLike[str]


def choose_probes(
    ratings: _Path,
    items: _Path,
    out: _Path,
    *,
    count: int = 100,
    scale: str = "purchase",
    embeddings: _Path | None = None,
    text_encoder: str = AUTO,
    missing: str = "",
    key: Key = 0,
    on_step: OnStep = no_step,
) -> tuple[Int[np.ndarray, " count"], Int[np.ndarray, " m"]]:
    """Choose items to ask about, popular and rare ones of every kind, and write them as questions.

    **Arguments:**

    - `ratings`, `items`: paths of tables as for `run_fidelity`.
    - `out`: path of the questions, `.json`.
    - `count`: number of items chosen.
    - `scale`: "purchase" or "stars".
    - `embeddings`: path of vectors of the items' texts; by default the texts are encoded, and the
      vectors of MiniLM saved beside `out`.
    - `text_encoder`: how they are encoded, as in
      [`item_vectors`][syndigits_jax.workflows.fidelity.texts.item_vectors].
    - `missing`: what stands for a missing rating.
    - `key`: a JAX random key or an integer, of the choice.
    - `on_step`: entered while the texts are encoded.

    **Returns:** positions of the items chosen, and the number of ratings of each item, (m,).

    **Raises:** `ValueError` naming the file or argument.
    """
    out = Path(out)
    if out.suffix.lower() != ".json":
        raise ValueError(f"`out`: {out}: questions are written as .json")
    check_count("count", count)
    questions = {q.identifier: q for q in film_questions(items, answers=scale)}
    rated = read_rated_items(ratings, items, missing=missing)
    vectors = item_vectors(rated.texts, embeddings, out.parent, on_step, text_encoder)
    counts = rated.ratings.item_counts()
    chosen = np.asarray(select_probes(random_key(key), vectors.values, counts, size=count))
    write_questions(out, [questions[rated.ratings.items[j]] for j in chosen])
    return chosen, counts
