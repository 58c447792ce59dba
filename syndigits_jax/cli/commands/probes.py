"""`syndigits probes`."""

from pathlib import Path

import jax

from syndigits_jax.cli.render.console import output, showing_step
from syndigits_jax.datasets.films import film_questions
from syndigits_jax.datasets.questions import write_questions
from syndigits_jax.preferences import select_probes
from syndigits_jax.workflows.fidelity.files import read_rated_items
from syndigits_jax.workflows.fidelity.run import item_vectors


def run(
    ratings: Path,
    items: Path,
    out: Path,
    *,
    size: int,
    answers: str,
    embeddings: Path | None,
    seed: int,
) -> None:
    """Choose probe items and write them as questions."""
    if out.suffix.lower() != ".json":
        raise ValueError(f"out: {out}: questions are written as .json")
    if size < 1:
        raise ValueError(f"size: must be at least 1, got {size}")
    questions = {q.identifier: q for q in film_questions(items, answers=answers)}
    table, texts, _ = read_rated_items(ratings, items)
    vectors = item_vectors(texts, embeddings, out.parent, showing_step)
    counts = table.item_counts()
    chosen = select_probes(jax.random.key(seed), vectors, counts, size=size)
    wanted = [questions[table.items[j]] for j in chosen]
    write_questions(out, wanted)
    rated = counts[chosen]
    output().print(
        f"{len(wanted)} of {int((counts > 0).sum())} rated items, with {rated.min()} to "
        f"{rated.max()} ratings each; written: {out}",
        soft_wrap=True,
        markup=False,
    )
