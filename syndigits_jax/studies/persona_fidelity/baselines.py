"""The samplers of the Persona Fidelity Gap measured on public ratings, with further controls.

Section 4's baselines and real users placed in different ways are compared with real users: those as
the encoder trained them, and those placed like personas, by SSR from held-out ratings. Personas
themselves are not included, as they need a language model.
"""

import dataclasses
from collections.abc import Callable
from os import PathLike

import jax
import numpy as np
from jaxtyping import Array, Float

from syndigits_jax.datasets.ratings import RatingTable
from syndigits_jax.fidelity import real_bootstrap
from syndigits_jax.preferences import (
    FactorisationSettings,
    Placement,
    ScoreGram,
    TrainedEncoder,
    fit_bpr,
    held_out_pair_table,
    init_mixture,
    mean_rating_scores,
    pair_table,
    place_users,
    popularity_scores,
    remembered_scores,
    score_gram,
    user_embedding,
)
from syndigits_jax.results.progress import OnProgress
from syndigits_jax.solvers.keys import PRNGKey
from syndigits_jax.workflows.fidelity.accuracy import (
    encoder_ranker,
    held_out_accuracies,
    item_ranker,
    pair_accuracies,
)
from syndigits_jax.workflows.fidelity.parts import (
    FidelitySettings,
    checked_items,
    complement,
    placement_records,
    purpose_key,
    stage_reporter,
    start_records,
    starting_mixtures,
    train_on_ratings,
    trained_gram,
    untrained_encoder,
)
from syndigits_jax.workflows.fidelity.populations import (
    NO_PAIR,
    REAL,
    Compared,
    compare_with_real,
    part_count,
)
from syndigits_jax.workflows.fidelity.records import FidelityRecord, panel_records

REVIEWS = 10
"""The least reviews of a user from whom the paper makes a persona."""

CONTROL_PAIR = "real (control pair)"
_PLACED = 4  # placements of real users


@dataclasses.dataclass(frozen=True)
class BaselinesSettings(FidelitySettings):
    """`FidelitySettings`, and those of matrix factorisation.

    With `control="held_out"` real users are placed by SSR from validation and test ratings, like
    the paper's personas, which are not made from training ratings.
    """

    factorisation: FactorisationSettings = dataclasses.field(default_factory=FactorisationSettings)


@dataclasses.dataclass(frozen=True, eq=False)
class BaselinesReport:
    """Results of `study_baselines`.

    - `records`: all numbers. `counts`: of ratings, users, items, pairs, and users with pairs.
    - `populations`: embeddings (n, d) by reference, then by population, `real` first.
    - `notes`: comparisons that were omitted or use fewer users, and why.
    """

    records: tuple[FidelityRecord, ...]
    counts: dict[str, int]
    populations: dict[str, dict[str, Float[np.ndarray, "n d"]]]
    notes: tuple[str, ...]


def study_baselines(
    ratings: RatingTable,
    item_embeddings: Float[Array | np.ndarray, "m e"],
    *,
    key: PRNGKey,
    settings: BaselinesSettings | None = None,
    out: str | PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> BaselinesReport:
    """Train the encoder on one data set and measure every baseline of the paper against its users.

    References are real users `trained` (with a training pair) and `ssr` (placed from control
    ratings). Populations beside floor, ceilings and the paper's samplers:

    - `real_bootstrap`: real users drawn with replacement, including those of the reference sample
      (which the floor, `real`, excludes).
    - `untrained_encoder`: the same raters with the projectors before training, with their trained
      mixtures, or placed by SSR.
    - `real` by another procedure, a control of the protocol: `trained`; `ssr` and `newton` from
      control ratings; `ssr_training`, SSR from the ratings that trained the encoder.
    - `real (control pair)`: trained users with a pair of control ratings, which separates the
      effect of the selection of users from that of their placement.
    - `real (no training pair)`: users who stay at their random start. `correlation_with_start`
      measures how close the others stay to theirs.

    Accuracies are for pairs of a test item and any earlier one (`pairwise_accuracy`, the paper's),
    of two test items (`pairwise_accuracy_both_test`), and of two items held out for validation or
    test (`pairwise_accuracy_both_held_out`). The first can largely be achieved by memory of the
    user's own earlier rating, which is all that the ranker `remembered` uses; the others cannot.
    `other_user` is the encoder with the mixture of another user.

    **Arguments:**

    - `ratings`: of one data set.
    - `item_embeddings`: (m, e) text vectors of the items of `ratings`.
    - `key`: for training, placement and resampling.
    - `settings`: the defaults if `None`.
    - `out`: a folder where training is saved after every epoch, to be resumed.
    - `on_progress`: called with a [`Progress`][syndigits_jax.results.progress.Progress].

    **Raises:** `ValueError` if embeddings do not match, no user has a pair, or fewer than
    2 (k + 1) do.
    """
    settings = BaselinesSettings() if settings is None else settings
    x = checked_items(ratings, item_embeddings)
    say = stage_reporter(on_progress)
    gap = settings.training.gap
    parts = _Parts.of(ratings, settings)
    notes: list[str] = []
    validation = parts.validation
    if not len(validation) or held_out_pair_table(parts.train, validation, gap).total == 0:
        validation = None
        notes.append("no validation pairs: the encoder of the last epoch was taken")
    trained = train_on_ratings(key, x, parts.train, validation, settings, out, say)
    with_pair = np.asarray(trained.trained)
    least = 2 * (settings.panel.k + 1)
    if with_pair.sum() < least:
        raise ValueError(
            f"ratings: {int(with_pair.sum())} users have a pair of training ratings, at least "
            f"{least} are needed"
        )
    gram = trained_gram(trained, x)
    start_gram = jax.jit(score_gram)(untrained_encoder(key, x, settings), x)
    start_w = init_mixture(
        purpose_key(key, "untrained"), len(ratings.users), settings.prototypes, x.dtype
    )

    say("rankers and placement", 0, _PLACED + 1)
    bpr = fit_bpr(
        parts.train, validation, key=purpose_key(key, "bpr"), settings=settings.factorisation
    )
    rankers = {
        "bpr": bpr.scores,
        "untrained_encoder": encoder_ranker(start_gram, start_w),
        "other_user": encoder_ranker(gram, _others(trained)),
    }
    records = _accuracies(key, trained, gram, parts, rankers, settings, notes)
    start = starting_mixtures(key, len(ratings.users), x, settings)
    records += start_records(trained, start)
    say("rankers and placement", 1, _PLACED + 1)

    placed: dict[str, Placement] = {}
    for done, (name, of, table) in enumerate((
        ("ssr", gram, parts.control),
        ("newton", gram, parts.control),
        ("ssr_training", gram, parts.train),
        ("untrained", start_gram, parts.control),
    )):  # fmt: skip
        newton = name == "newton"
        placed[name] = place_users(
            of, table, method="newton" if newton else "ssr", gap=gap,
            key=None if newton else purpose_key(key, name),
        )  # fmt: skip
        if of is gram:
            records += placement_records(REAL, name, placed[name])
        say("rankers and placement", 2 + done, _PLACED + 1)

    there = {name: ~np.asarray(p.constant) for name, p in placed.items()}
    points = {name: p.embedding[np.flatnonzero(there[name])] for name, p in placed.items()}
    everyone = trained.embedding()
    points["trained"] = everyone[np.flatnonzero(with_pair)]
    no_pair = Compared(NO_PAIR, "trained", everyone[np.flatnonzero(~with_pair)])
    both = Compared(CONTROL_PAIR, "trained", everyone[np.flatnonzero(with_pair & there["ssr"])])
    through_start = user_embedding(
        start_gram.prototypes, trained.w[np.flatnonzero(with_pair)], start_gram.temperature
    )
    others = {
        "trained": [
            *(Compared(REAL, name, points[name]) for name in ("ssr", "newton", "ssr_training")),
            both,
            no_pair,
            Compared("untrained_encoder", "trained", through_start),
        ],
        "ssr": [
            *(Compared(REAL, name, points[name]) for name in ("trained", "newton")),
            no_pair,
            Compared("untrained_encoder", "ssr", points["untrained"]),
        ],
    }
    counts = _counts(ratings, parts, trained, there["ssr"], settings)
    populations = {}
    found = _compare(key, points, others, gram, settings, notes, say)
    for reference, (new, embeddings, size) in found.items():
        records += new
        populations[reference] = embeddings
        counts[f"panel_users_{reference}"] = size
    return BaselinesReport(tuple(records), counts, populations, tuple(notes))


@dataclasses.dataclass(frozen=True, eq=False)
class _Parts:
    """Ratings by their use; `earlier`: all before `test`; `held_out`: all but those in `train`;
    `control`: those from which real users are placed."""

    train: RatingTable
    validation: RatingTable
    test: RatingTable
    earlier: RatingTable
    held_out: RatingTable
    control: RatingTable

    @staticmethod
    def of(ratings: RatingTable, settings: FidelitySettings) -> "_Parts":
        train, validation, test = ratings.split(settings.train, settings.validation)
        held_out = ratings.where(complement(ratings, train))
        earlier = ratings.where(complement(ratings, test))
        control = ratings if settings.control == "all" else held_out
        return _Parts(train, validation, test, earlier, held_out, control)


def _others(trained: TrainedEncoder) -> Float[Array, "n p"]:
    """For each trained user the mixture of another trained user."""
    rows = np.flatnonzero(np.asarray(trained.trained))
    return trained.w.at[rows].set(trained.w[np.roll(rows, len(rows) // 2)])


def _accuracies(
    key: PRNGKey,
    trained: TrainedEncoder,
    gram: ScoreGram,
    parts: _Parts,
    rankers: dict,
    settings: FidelitySettings,
    notes: list[str],
) -> list[FidelityRecord]:
    gap, cap = settings.training.gap, settings.training.validation_cap
    key = purpose_key(key, "test")

    def memory(table: RatingTable):
        return {"remembered": lambda user, item: remembered_scores(table, user, item)}

    protocol = held_out_accuracies(
        key, trained, gram, parts.earlier, parts.train, parts.test, gap=gap, cap=cap,
        others=rankers | memory(parts.earlier),
    )  # fmt: skip
    found = {"pairwise_accuracy": protocol}
    rankers = {"encoder": encoder_ranker(gram, trained.w), **_item_rankers(parts), **rankers}
    for name, table, known in (
        ("both_test", parts.test, parts.earlier),
        ("both_held_out", parts.held_out, parts.train),
    ):
        table = table.where(np.asarray(trained.trained)[table.user])
        if len(table):
            found[f"pairwise_accuracy_{name}"] = pair_accuracies(
                key, pair_table(table, gap), rankers | memory(known), cap=cap
            )
    for metric, by_ranker in found.items():
        if not by_ranker:
            notes.append(f"{metric} is unknown: there is no such pair")
    return [
        record
        for metric, by_ranker in found.items()
        for ranker, value in by_ranker.items()
        for record in panel_records(ranker, "trained", "", [{"metric": metric, **value._asdict()}])
    ]


def _item_rankers(parts: _Parts) -> dict:
    return {
        "popularity": item_ranker(popularity_scores(parts.train)),
        "mean_rating": item_ranker(mean_rating_scores(parts.train)),
    }


def _compare(
    key: PRNGKey,
    points: dict[str, Float[Array, "n d"]],
    others: dict[str, list[Compared]],
    gram: ScoreGram,
    settings: FidelitySettings,
    notes: list[str],
    say: Callable[[str, int, int], None],
) -> dict[str, tuple[list[FidelityRecord], dict[str, np.ndarray], int]]:
    """Panels against both references: records, embeddings, users per sample."""
    panel = settings.panel
    key = purpose_key(key, "panels")
    sizes, tasks = {}, {}
    for reference in ("trained", "ssr"):
        found = len(points[reference])
        size = min(panel.size, found // 2)
        if found < 2 * (panel.k + 1):
            notes.append(
                f"no comparison with users placed by SSR: {found} have a pair of control ratings"
            )
            continue
        if size < panel.size:
            notes.append(
                f"panels against real users ({reference}) compare {size} with {size}, not "
                f"{panel.size}: there are {found}"
            )
        own = Compared(
            "real_bootstrap",
            reference,
            real_bootstrap(purpose_key(key, reference), points[reference], size),
        )
        enough = [each for each in others[reference] if len(each.points) >= size]
        for each in others[reference]:
            if len(each.points) < size:
                notes.append(
                    f"{each.label(reference)} is not compared with real users ({reference}): "
                    f"{len(each.points)} users, {size} are needed"
                )
        sizes[reference], tasks[reference] = size, [*enough, own]
    done, total = 0, sum(part_count(task, panel) for task in tasks.values())
    results = {}
    for reference, task in tasks.items():

        def tell(text: str, more: int, done: int = done) -> None:
            say(text, done + more, total)

        size = sizes[reference]
        results[reference] = *compare_with_real(
            purpose_key(key, f"{reference} panels"), reference, points[reference], task,
            gram.prototypes, panel, size=size, count=size,
            temperature=gram.temperature, on_part=tell,
        ), size  # fmt: skip
        done += part_count(task, panel)
    say("panels", total, total)
    return results


def _counts(
    ratings: RatingTable,
    parts: _Parts,
    trained: TrainedEncoder,
    controlled: np.ndarray,
    settings: FidelitySettings,
) -> dict[str, int]:
    gap = settings.training.gap
    with_pair = np.asarray(trained.trained)
    many = ratings.user_counts() >= REVIEWS
    counts = {
        "ratings": len(ratings),
        "users": len(ratings.users),
        "items": len(ratings.items),
        "users_with_training_pair": int(with_pair.sum()),
        "users_without_training_pair": int((~with_pair).sum()),
        "users_with_control_pair": int(controlled.sum()),
        f"users_with_{REVIEWS}_ratings": int(many.sum()),
        f"users_with_{REVIEWS}_ratings_and_training_pair": int((many & with_pair).sum()),
        "epochs": len(trained.loss),
        "best_epoch": trained.best_epoch + 1,
    }
    tables = {
        "training": pair_table(parts.train, gap),
        "validation": held_out_pair_table(parts.train, parts.validation, gap),
        "test": held_out_pair_table(parts.earlier, parts.test, gap),
        "both_test": pair_table(parts.test, gap),
        "both_held_out": pair_table(parts.held_out, gap),
    }
    for name, table in tables.items():
        counts[f"{name}_pairs"] = table.total
        counts[f"{name}_pair_users"] = int((table.counts > 0).sum())
    own = tables["training"].counts[with_pair]
    counts["median_training_pairs_per_user"] = int(np.median(own))
    return counts
