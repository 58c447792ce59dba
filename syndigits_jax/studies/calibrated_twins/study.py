"""Both papers combined: the effect of calibrating twins on their fidelity in preference space.

The 500 real users of the SYN-DIGITS paper's MovieLens data, their language-model twins, and twins
calibrated by SYN-DIGITS are placed by one procedure in the preference space of an encoder that was
trained on other people's ratings. They are compared as in Kumar, Dev and Garg, "The Persona
Fidelity Gap"; then the populations are repaired in that space.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np
from jaxtyping import Array, Float

from syndigits_jax.datasets import RatingTable, load_movielens
from syndigits_jax.panel import Panel
from syndigits_jax.preferences import embed_texts
from syndigits_jax.results.checkpoints import Checkpoints
from syndigits_jax.results.progress import OnProgress
from syndigits_jax.solvers.keys import PRNGKey
from syndigits_jax.studies.calibrated_twins.data import (
    calibrated,
    item_level,
    load_catalogue,
    populations,
    same_people,
)
from syndigits_jax.studies.calibrated_twins.notes import answer
from syndigits_jax.studies.calibrated_twins.panels import REAL
from syndigits_jax.studies.calibrated_twins.parts import PROCEDURES as PROCEDURES
from syndigits_jax.studies.calibrated_twins.parts import (
    PreferenceTwinsSettings as PreferenceTwinsSettings,
)
from syndigits_jax.studies.calibrated_twins.parts import World
from syndigits_jax.tables.responses import positions
from syndigits_jax.workflows.fidelity.parts import checked_items, purpose_key, stage_reporter
from syndigits_jax.workflows.fidelity.populations import PairedColumns
from syndigits_jax.workflows.fidelity.records import FidelityRecord


@dataclass(frozen=True, eq=False)
class PreferenceTwinsReport:
    """Results of the study.

    - `records`: all numbers. `procedure` and `reference`, which are equal, are the placement of
      personas and real users: `newton` and `ssr` at the films each user rated; `newton, 1 SD` and
      `newton, ranks` with other pairs; `newton, all films` with calibrated answers to films the
      user did not rate; `newton, other films`, `newton, held-out users` (see `measure_twins`).
      `..._over_encoders`: mean, lowest and highest value over encoders with other training seeds.
    - `counts`: of users, films, ratings.
    - `populations`: embeddings (n, d) placed by Newton's method, by name, `real` first.
    - `paired`: by (population, procedure), distances of each persona to its own human and to
      another's.
    - `notes`: the conclusions in words, and remarks on the numbers.
    """

    records: tuple[FidelityRecord, ...]
    counts: dict[str, int]
    populations: dict[str, Float[np.ndarray, "n d"]]
    paired: Mapping[tuple[str, str], PairedColumns]
    notes: tuple[str, ...]


def study_preference_twins(
    data: str | PathLike[str],
    *,
    embed: Callable[[Sequence[str]], np.ndarray],
    key: PRNGKey,
    settings: PreferenceTwinsSettings | None = None,
    out: str | PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> PreferenceTwinsReport:
    """Train on `movielens/ml-latest-small`, place and measure `syn-digits/MovieLens-20M`.

    **Arguments:**

    - `data`: the folder of both data sets.
    - `embed`: from film texts to vectors, such as `sentence_encoder()`.
    - `key`, `settings`, `out`, `on_progress`: as in [`measure_twins`][].

    **Raises:** `FileNotFoundError` naming what is absent; `ValueError` as [`measure_twins`][].
    """
    catalogue, panel = load_catalogue(data), load_movielens(data)
    vectors = embed_texts(catalogue.texts, lambda texts: embed(texts))
    return measure_twins(
        catalogue, vectors, panel, key=key, settings=settings, out=out, on_progress=on_progress
    )


def measure_twins(
    ratings: RatingTable,
    item_embeddings: Float[Array | np.ndarray, "m e"],
    panel: Panel,
    *,
    key: PRNGKey,
    settings: PreferenceTwinsSettings | None = None,
    out: str | PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> PreferenceTwinsReport:
    """Humans, twins and calibrated twins of `panel` in the preference space of raters in `ratings`.

    All are placed from their answers to the panel's questions, but only to those that their human
    answered. Calibrated answers are out of fold: the human answers to a question are not used in
    predictions for it. However, a human's answers to the *other* questions are used, and these
    answers also place that human. Therefore `newton, other films` predicts one half of the
    questions from the other half only, and compares with humans placed from the predicted half.

    **Arguments:**

    - `ratings`: of other people, for a catalogue that includes the panel's questions by identifier.
      People who are in the panel too are left out (see `same_people`).
    - `item_embeddings`: (m, e) text vectors of the catalogue.
    - `panel`: humans and twins; the control `InContext` is measured if present.
    - `key`: for training, placement, draws and resampling.
    - `settings`: the defaults if `None`.
    - `out`: a folder where training and calibration are saved, to be resumed.
    - `on_progress`: called with a [`Progress`][syndigits_jax.results.progress.Progress].

    **Raises:** `ValueError` if a question is not in the catalogue, for unknown calibrators, or
    as training and metrics do.
    """
    settings = PreferenceTwinsSettings() if settings is None else settings
    where = positions(ratings.items, panel.questions, "`panel`: questions")
    x = checked_items(ratings, item_embeddings)
    say = stage_reporter(on_progress)
    store = Checkpoints.under(out)
    again = same_people(ratings, panel)
    if again.any():
        ratings = ratings.where(~again[ratings.user])
    holdout = calibrated(
        panel, settings.methods, store, lambda done, all: say("calibration", done, all)
    )
    answers, whole = populations(purpose_key(key, "draws"), panel, holdout, settings.methods)
    world = World(key, ratings, x, panel, answers, whole, np.asarray(where), settings, out, say)

    trained = world.train(0)
    records = item_level(answers) + world.accuracies(trained)
    gram = world.gram(trained)
    found, embedded, paired = world.measure(gram)
    records += found
    records += world.sensitivity(gram)
    records += world.on_other_films(gram)
    records += world.repair(gram)
    records += world.over_encoders(records)
    counts = {
        "users": len(ratings.users) - int(again.sum()),
        "users_of_the_panel_left_out": int(again.sum()),
        "ratings": len(ratings),
        "items": len(ratings.items),
        "epochs": len(trained.loss),
        "people": panel.n,
        "films": panel.m,
        "answers": int((~np.isnan(answers[REAL])).sum()),
    }
    notes = answer(records, [f"calibrated_{name}" for name in settings.methods])
    if again.any():
        notes.append(
            f"{int(again.sum())} users of the catalogue gave the same ratings as people of the "
            "panel; the encoder was trained without them."
        )
    return PreferenceTwinsReport(tuple(records), counts, embedded, paired, tuple(notes))
