"""Data of the study of both papers: texts of films, and populations with their answers."""

import ast
import dataclasses
import functools
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
from syndigits_jax.results.checkpoints import Checkpoints, kept, unit_key
from syndigits_jax.solvers.keys import PRNGKey
from syndigits_jax.tables.responses import positions
from syndigits_jax.workflows.fidelity.records import FidelityRecord, panel_records

_TOP = Path("MovieLens-20M", "distribution_calibration")
_COMMON = 20  # the least common films, all rated equally, of two users taken to be the same

Answers = dict[str, Float[np.ndarray, "n m"]]


def load_catalogue(data: str | PathLike[str]) -> RatingTable:
    """`movielens/ml-latest-small` with one text per film, in the same format for all films.

    Title, genres and tags of 500 films are from `top_movies_df.csv`, in training too, so that each
    film has one text. Those of all other films are from the release's own files. The identifiers of
    the rows of `top_movies_df.csv` are in `persona_ratings.csv`, which lists the same films.

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
    """Which users of `table` are in the panel too: they have at least 20 films in common with one
    of its users and rated all of these equally.

    Public samples from the same site overlap, with different identifiers.
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
    """Every film's answers predicted from the other films.

    **Arguments:** `panel`: human and twin answers; `methods`: names of calibrators, used with the
    hyperparameters of SYN-DIGITS, Table 7; `store`: for finished work, or `None`; `on_progress`:
    called with (done, total) films.
    """
    chosen = {name: preset("movielens")[name] for name in methods}

    def compute() -> Mapping[str, np.ndarray]:
        return leave_one_question_out(chosen, panel, on_progress=on_progress).predictions

    content = [panel.human, panel.twin, panel.low, panel.high, panel.step]
    modules = ("studies.calibrated_twins.data",)
    key = functools.partial(
        unit_key, modules, study="preference twins", methods=chosen, panel=content
    )
    predictions, _ = kept(store, key, compute)
    return HoldOut("question", panel, np.arange(panel.m), panel.human.T, predictions)


def drawn(
    key: PRNGKey, holdout: HoldOut, name: str, *, offsets: bool = False
) -> Float[np.ndarray, "n m"]:
    """One calibrated draw of every answer, from the residuals of the other films.

    A film's own human answers are not used.

    **Arguments:**

    - `key`: for the draws.
    - `holdout`: predictions of every film from the others.
    - `name`: the method whose predictions and residuals are used.
    - `offsets`: whether a draw includes the error of a film's mean, drawn from the other films and
      equal for all people. It represents the uncertainty about one new film; over many films it
      changes their ranking, without relation to anyone's preferences.
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
            twins_alike=holdout.twins_alike[others],
        )
        out[j] = draw_answers(
            holdout.predictions[name][j], panel.twin[:, j], rest, name,
            key=jax.random.fold_in(key, j), num_draws=1,
            low=panel.low[j], high=panel.high[j], step=panel.step[j],
        )[0]  # fmt: skip
    return out.T


def from_other_films(
    panel: Panel, name: str, known: Bool[np.ndarray, " m"]
) -> Float[np.ndarray, "n q"]:
    """Predictions by method `name` for films that are not `known`, from the known films only."""
    twin = np.concatenate([panel.twin[:, known], panel.twin[:, ~known]], axis=1)
    solve = jax.jit(lambda human, twin: calibrate_question(method, human, twin).prediction)
    method = preset("movielens")[name]
    return np.asarray(solve(jnp.asarray(panel.human[:, known]), jnp.asarray(twin)))


def populations(
    key: PRNGKey, panel: Panel, holdout: HoldOut, methods: tuple[str, ...]
) -> tuple[Answers, Answers]:
    """Answers by population, at the films that each user rated; and complete answers to all films.

    `twins_centred` are the twins' answers shifted to the humans' mean of each film. `item_means`
    has the same answers for all users, the humans' means.

    **Arguments:** `key`: for calibrated draws; `panel`: human and twin answers; `holdout`:
    calibrated answers; `methods`: names of calibrators, the first of which is used for draws.

    **Returns:** answers at the films that each user rated, (n, m) by population, NaN elsewhere; and
    calibrated answers to all films, by population.
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
    """Agreement of answers with the humans' answers: per film over users, and per user over films.

    `item_pearson` is the metric of SYN-DIGITS; `item_sd_ratio` the standard deviation over users
    relative to the humans'; `user_pearson` measures agreement in preferences. Means and 1.96
    standard errors over films or users.
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
    """Mean of the finite values, and its interval of 1.96 standard errors."""
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
    """For each answer the share of the user's other answers that are lower; ties count one half."""
    out = np.full(answers.shape, np.nan)
    for row, values in zip(out, answers, strict=True):
        there = ~np.isnan(values)
        _, which, counts = np.unique(values[there], return_inverse=True, return_counts=True)
        below = np.cumsum(counts) - counts
        row[there] = ((below + (counts - 1) / 2) / max(there.sum() - 1, 1))[which]
    return out


def to_device(answers: Float[np.ndarray, "n m"]) -> Float[Array, "n m"]:
    """Answers as a JAX array of the default precision."""
    return jnp.asarray(answers, jnp.result_type(float))
