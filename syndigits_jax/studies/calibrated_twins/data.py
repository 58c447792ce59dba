"""What the study of both papers measures: films as texts, and who answered what how."""

import ast
import dataclasses
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from syndigits_jax.calibration import calibrate_question, preset
from syndigits_jax.datasets import RatingTable, load_movielens_ratings, read_table
from syndigits_jax.datasets.rating_files import film_text
from syndigits_jax.datasets.syn_digits import data_root
from syndigits_jax.estimation.draws import draw_answers
from syndigits_jax.evaluation import HoldOut, leave_one_question_out
from syndigits_jax.evaluation.metrics import score_targets
from syndigits_jax.panel import Panel
from syndigits_jax.preferences.encoder import PRNGKey
from syndigits_jax.results.checkpoints import Checkpoints, unit_key
from syndigits_jax.tables.responses import positions
from syndigits_jax.workflows.fidelity.records import FidelityRecord, panel_records

_TOP = Path("MovieLens-20M", "distribution_calibration")
_COMMON = 20  # films that two people must have rated alike, all of them, to be one

Answers = dict[str, Float[np.ndarray, "n m"]]


def load_catalogue(data: str | PathLike[str]) -> RatingTable:
    """`movielens/ml-latest-small` with one text per film, made alike for all.

    The 500 films of `top_movies_df.csv` have title, genres and tags from there, in training too:
    a film has one place among the texts. All others have theirs from the release's own files.
    Rows of `top_movies_df.csv` are named by `persona_ratings.csv`, which lists the same films.

    **Raises:** `FileNotFoundError` naming what is absent; `ValueError` if the two tables differ, or
    a film is not in the release.
    """
    release = Path(data) / "movielens" / "ml-latest-small"
    folder = data_root(data, _TOP) / _TOP
    table = load_movielens_ratings(release)
    # Titles and film numbers are the two files' first columns.
    films, named = (
        read_table(folder / "top_movies_df.csv", numeric=False),
        folder / "persona_ratings.csv",
    )
    ids = [str(film) for film in read_table(named, numeric=False).index]
    if len(ids) != len(films):
        raise ValueError(f"{named}: {len(ids)} films, but top_movies_df.csv has {len(films)}")
    columns = zip(films.index, films["genres"], films["top_10_tags"], strict=True)
    texts = list(table.texts)
    where = positions(table.items, ids, "top_movies_df.csv: films")
    for place, (title, genres, tags) in zip(where, columns, strict=True):
        texts[int(place)] = film_text(title, genres.split("|"), ast.literal_eval(tags))
    return dataclasses.replace(table, texts=tuple(texts))


def same_people(table: RatingTable, panel: Panel) -> Bool[np.ndarray, " n"]:
    """Which users of `table` are among the panel's: they share 20 films and rated all alike.

    Public samples of one site overlap, and identifiers differ.
    """
    theirs = table.matrix(positions(table.items, panel.questions, "films"))
    found = np.zeros(len(theirs), bool)
    for mine in panel.human:
        both = ~np.isnan(theirs) & ~np.isnan(mine)[None, :]
        alike = both & (theirs == mine[None, :])
        found |= (both.sum(axis=1) >= _COMMON) & (alike.sum(axis=1) == both.sum(axis=1))
    return found


def calibrated(
    panel: Panel,
    methods: tuple[str, ...],
    store: Checkpoints | None,
    on_progress: Callable[[int, int], None],
) -> HoldOut:
    """Every film's answers predicted from the other films, by `methods` (paper's Table 7)."""
    chosen = {name: preset("movielens")[name] for name in methods}
    if store is None:
        return leave_one_question_out(chosen, panel, on_progress=on_progress)

    def compute() -> Mapping[str, np.ndarray]:
        return leave_one_question_out(chosen, panel, on_progress=on_progress).predictions

    content = [panel.human, panel.twin, panel.low, panel.high, panel.step]
    key = unit_key(
        ("studies.calibrated_twins.data",), study="preference twins", methods=chosen, panel=content
    )
    predictions, _ = store.get(key, compute)
    targets = np.arange(panel.m)
    return HoldOut("question", panel, targets, panel.human.T, dict(predictions))


def drawn(
    key: PRNGKey, holdout: HoldOut, name: str, *, offsets: bool = False
) -> Float[np.ndarray, "n m"]:
    """One calibrated draw of every answer, from the residuals of the other films.

    Of a film's own human answers none is read. With `offsets` a draw has a film's part too, the
    same for all people: how far the level of another film was from its prediction. That is what is
    not known about one new film; over many it scrambles which films are good, and what it adds is
    nobody's taste.
    """
    panel = holdout.panel
    truth = holdout.truth
    if not offsets:
        residual = truth - holdout.predictions[name]
        truth = truth - np.nanmean(residual, axis=1, keepdims=True)
    out = np.empty((panel.m, panel.n))
    for j in range(panel.m):
        others = np.arange(panel.m) != j
        rest = dataclasses.replace(
            holdout,
            targets=holdout.targets[others],
            truth=truth[others],
            predictions={name: holdout.predictions[name][others]},
        )
        out[j] = draw_answers(
            jax.random.fold_in(key, j), holdout.predictions[name][j], panel.twin[:, j], rest, name,
            num_draws=1, low=panel.low[j], high=panel.high[j], step=panel.step[j],
        )[0]  # fmt: skip
    return out.T


def from_other_films(
    panel: Panel, name: str, known: Bool[np.ndarray, " m"]
) -> Float[np.ndarray, "n q"]:
    """The films that are not `known` predicted from those that are: their answers are not read."""
    twin = np.concatenate([panel.twin[:, known], panel.twin[:, ~known]], axis=1)
    solve = jax.jit(lambda human, twin: calibrate_question(method, human, twin).prediction)
    method = preset("movielens")[name]
    return np.asarray(solve(jnp.asarray(panel.human[:, known]), jnp.asarray(twin)))


def populations(
    key: PRNGKey, panel: Panel, holdout: HoldOut, methods: tuple[str, ...]
) -> tuple[Answers, Answers]:
    """Answers by population, at the films that each user rated; and those complete for all films.

    `twins_centred` are the twins moved, film by film, to the humans' mean: they know the films'
    means alone. `item_means` gives everyone the same answers.
    """
    human, twin = panel.human, panel.twin
    there = ~np.isnan(human) & ~np.isnan(twin)
    means = np.nanmean(human, axis=0)
    whole = {f"calibrated_{name}": holdout.predictions[name].T for name in methods}
    whole["calibrated_draws"] = drawn(key, holdout, methods[0])
    whole["calibrated_draws_offset"] = drawn(key, holdout, methods[0], offsets=True)
    found = {"real": human, "twins": twin}
    if "InContext" in panel.controls:
        found["in_context"] = panel.controls["InContext"]
    found |= whole
    found["twins_centred"] = twin + (means - np.nanmean(twin, axis=0))[None, :]
    found["item_means"] = np.broadcast_to(means[None, :], human.shape)
    return {name: np.where(there, x, np.nan) for name, x in found.items()}, whole


def item_level(answers: Answers) -> list[FidelityRecord]:
    """How well answers agree with the humans': per film over users, and per user over films.

    `item_pearson` is the first paper's metric; `item_sd_ratio` the spread over users relative to
    the humans'; `user_pearson` is what a preference is about. Means with 1.96 standard errors over
    films or users.
    """
    records = []
    human = answers["real"]
    for name, values in answers.items():
        if name == "real":
            continue
        filled = np.where(np.isnan(values), 0, values)
        truth = np.where(np.isnan(values), np.nan, human)
        columns = {
            "item_pearson": score_targets("pearson", filled.T, truth.T),
            "item_sd_ratio": np.nanstd(values, axis=0) / np.nanstd(truth, axis=0),
            "user_pearson": score_targets("pearson", filled, truth),
            "user_sd_ratio": np.nanstd(values, axis=1) / np.nanstd(truth, axis=1),
        }
        rows = [mean_row(metric, scores) for metric, scores in columns.items()]
        records += panel_records(name, "", "", rows)
    return records


def mean_row(metric: str, values: Any) -> dict[str, Any]:
    """Mean of what is defined, with 1.96 standard errors."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    return {"metric": metric, "mean": mean, "low": mean - 1.96 * error, "high": mean + 1.96 * error}


def standardised(answers: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
    """Answers in units of their population's standard deviation about each user's own mean."""
    about = answers - np.nanmean(answers, axis=1, keepdims=True)
    spread = np.sqrt(np.nanmean(about**2))
    return answers / (spread if spread > 0 else 1.0)


def ranked(answers: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
    """Each user's answers as shares of their other answers that are lower; ties count one half."""
    out = np.full(answers.shape, np.nan)
    for row, values in zip(out, answers, strict=True):
        there = ~np.isnan(values)
        _, which, counts = np.unique(values[there], return_inverse=True, return_counts=True)
        below = np.cumsum(counts) - counts
        row[there] = ((below + (counts - 1) / 2) / max(there.sum() - 1, 1))[which]
    return out


def to_device(answers: Float[np.ndarray, "n m"]) -> Float[Array, "n m"]:
    """In the default precision."""
    return jnp.asarray(answers, jnp.result_type(float))
