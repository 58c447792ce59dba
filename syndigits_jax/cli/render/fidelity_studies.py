"""The studies of fidelity on public data, and their figures."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from syndigits_jax.cli.render.console import output, showing_progress
from syndigits_jax.cli.render.fidelity_tables import (
    accuracy_table,
    placed,
    population_table,
    seeds_table,
)
from syndigits_jax.plots import plot_histograms, save_figure
from syndigits_jax.preferences.text import MINILM, TextEncoder, embed_texts, sentence_encoder
from syndigits_jax.results.checkpoints import UNITS
from syndigits_jax.results.records import RESULTS
from syndigits_jax.studies.persona_fidelity.baselines import BaselinesSettings
from syndigits_jax.studies.persona_fidelity.reproduction import (
    StudyResult,
    paper_values,
    run_fidelity,
)
from syndigits_jax.workflows.fidelity.figures import reference_figures
from syndigits_jax.workflows.fidelity.run import quick_settings

_TITLES = {"baselines": "the paper's samplers", "twins": "twins, before and after calibration"}
_DRAWN = {
    "baselines": (
        "real", "real (ssr)", "real (trained)", "noise", "dirichlet", "gaussian_mixture_full",
        "prototype_perturbation",
    ),
}  # fmt: skip
_MOST_DRAWN = 6
_WIDTH = 150  # of a pipe: every column has a range of the paper's numbers


def show_studies(
    data: Path,
    out: Path,
    *,
    datasets: Sequence[str],
    studies: Sequence[str],
    embeddings: Path | None,
    seed: int,
    quick: bool,
) -> list[Path]:
    """Run the studies of fidelity, print tables and draw figures; return the files.

    **Arguments:**

    - `data`, `out`, `datasets`, `studies`: as in
      [`run_fidelity`][syndigits_jax.studies.persona_fidelity.reproduction.run_fidelity].
    - `embeddings`: a folder of encoded item texts; by default one in `out`.
    - `seed`: of all random draws.
    - `quick`: few epochs and resamples.
    """
    settings, twin_settings = BaselinesSettings(), None
    if quick:
        settings = quick_settings(settings)
        twin_settings = _quick_twins()
    cache = out / UNITS / "texts" if embeddings is None else embeddings
    with showing_progress() as show:
        results = run_fidelity(
            data, embed=_embedding(cache), key=jax.random.key(seed), out=out, datasets=datasets,
            studies=studies, settings=settings, twin_settings=twin_settings, on_progress=show,
        )  # fmt: skip
    written = [out / RESULTS]
    console = output(_WIDTH)
    for result in results:
        _print(console, result)
        written += _figures(result, out)
    console.print(f"written: {', '.join(map(str, written))}", soft_wrap=True)
    return written


def _quick_twins() -> Any:
    from syndigits_jax.studies.calibrated_twins.study import PreferenceTwinsSettings

    return PreferenceTwinsSettings.quick()


def _embedding(cache: Path) -> Callable[[Sequence[str]], np.ndarray]:
    """A function from texts to vectors; the encoder is loaded if the cache lacks a text."""
    loaded: list[TextEncoder] = []

    def encode(texts: list[str]) -> np.ndarray:
        if not loaded:
            loaded.append(_sentence_encoder(cache))
        return loaded[0](texts)

    return lambda texts: embed_texts(texts, encode, cache=cache, name=MINILM)


def _sentence_encoder(cache: Path) -> TextEncoder:
    try:
        return sentence_encoder()
    except ImportError as error:
        raise ImportError(
            f"{cache} does not hold all item texts encoded, and encoding them needs "
            'sentence-transformers: pip install "syndigits-jax[text]", or name a folder that holds '
            "them with --embeddings"
        ) from error


def _print(console: Console, result: StudyResult) -> None:
    title = f"{result.dataset}: {_TITLES[result.study]}"
    console.print(f"\n{title}", style="bold", soft_wrap=True)
    sizes = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in result.counts.items())
    console.print(sizes, soft_wrap=True)
    if any(r.metric == "pairwise_accuracy" for r in result.records):
        console.print(accuracy_table(result.records))
    for reference in references(result):
        text = f"{result.dataset}, against real users, {placed(reference)} (0: as real users, "
        text += "1: as noise; paper: lowest and highest of its four splits)"
        console.print(f"\n{text}", style="bold", soft_wrap=True)
        console.print(population_table(result.records, reference, paper_values))
    if result.paired:
        text = f"{result.dataset}, each with its own person; in brackets with another's"
        console.print(f"\n{text}", style="bold", soft_wrap=True)
        console.print(seeds_table(result.records, paper_values))
    for note in result.notes:
        console.print(f"note: {note}", soft_wrap=True)


def references(result: StudyResult) -> list[str]:
    """The placements of real users with which populations are compared."""
    found = [r.reference for r in result.records if r.metric == "fgi_coverage" and r.reference]
    return list(dict.fromkeys(found))


def _figures(result: StudyResult, out: Path) -> list[Path]:
    """Draw all figures for the references whose embeddings were saved; return the files."""
    figures: dict[str, Any] = {}
    for reference, populations in result.populations.items():
        drawn = [name for name in _DRAWN.get(result.study, populations) if name in populations]
        figures |= reference_figures(result.records, reference, populations, drawn[:_MOST_DRAWN])
    for procedure in dict.fromkeys(procedure for _, procedure in result.paired):
        people = {who: each for (who, how), each in result.paired.items() if how == procedure}
        chosen = list(people)[:_MOST_DRAWN]
        title = f"{result.dataset}, {placed(procedure)}"
        own = {who.replace("_", " "): people[who].own for who in chosen}
        lengths = {who.replace("_", " "): people[who].norm_ratio for who in chosen}
        figures[f"paired-distance-{procedure}"] = plot_histograms(
            own, xlabel="Distance to the own person", title=title
        )
        figures[f"norm-ratio-{procedure}"] = plot_histograms(
            lengths, xlabel="Length over that of the own person", title=title
        )
    start = f"fidelity-{result.study}-{result.dataset}"
    return [save_figure(ax, out / f"{start}-{name}.png") for name, ax in figures.items()]
