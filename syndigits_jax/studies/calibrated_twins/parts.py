"""The parts of the study of calibrated twins: training, placements and panels."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from syndigits_jax.datasets import RatingTable
from syndigits_jax.panel import Panel
from syndigits_jax.preferences import TrainedEncoder, TrainingSettings
from syndigits_jax.preferences.encoder import ScoreGram
from syndigits_jax.solvers.keys import PRNGKey
from syndigits_jax.studies.calibrated_twins.data import Answers, from_other_films, mean_row
from syndigits_jax.studies.calibrated_twins.panels import (
    REAL,
    Rule,
    all_scores,
    halves,
    pair_accuracy,
    pairs,
    panels,
    place_all,
    placement_rows,
    users,
)
from syndigits_jax.studies.calibrated_twins.repair import repair_records
from syndigits_jax.workflows.fidelity.accuracy import held_out_accuracies
from syndigits_jax.workflows.fidelity.parts import (
    FidelitySettings,
    complement,
    purpose_key,
    train_on_ratings,
)
from syndigits_jax.workflows.fidelity.populations import PairedColumns, PanelSettings
from syndigits_jax.workflows.fidelity.records import FidelityRecord, panel_records

PROCEDURES = ("newton", "ssr")
OTHER_FILMS = "newton, other films"
_CHECKED = ("twins", "in_context", "calibrated_draws", "item_means")  # in sensitivity checks


@dataclass(frozen=True)
class PreferenceTwinsSettings:
    """Settings of the study.

    - `fidelity`: of the encoder, its training, metrics and resamples.
    - `methods`: calibrators by name; the first is used for draws and repairs.
    - `gap`: the least difference of two answers that form a pair, in units of the population's
      standard deviation about each user's mean, so that the rule does not depend on the spread.
    - `wide_gap`, `rank_gap`: for sensitivity checks: another such gap, and one in ranks (as a share
      of a user's answers). None omits a check.
    - `encoders`: number of encoders trained, for the variation over training seeds.
    """

    fidelity: FidelitySettings = field(default_factory=FidelitySettings)
    methods: tuple[str, ...] = ("Ridge", "ElasticNet", "SyntheticControl")
    gap: float = 0.5
    wide_gap: float | None = 1.0
    rank_gap: float | None = 0.25
    encoders: int = 3

    def __post_init__(self):
        if not self.methods:
            raise ValueError("`methods`: at least one calibrator is needed")
        for name in ("gap", "wide_gap", "rank_gap", "encoders"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"`{name}` must be positive, got {value}")

    @staticmethod
    def quick() -> "PreferenceTwinsSettings":
        """Settings with small numbers, for a quick run."""
        panel = PanelSettings(
            size=100, k=3, resamples=2, replicates=10, projections=20, permutations=20,
            triplets=500, paired_replicates=20,
        )  # fmt: skip
        training = TrainingSettings(epochs=2, cap=10, validation_cap=10)
        fidelity = FidelitySettings(training, hidden=(32,), dim=16, panel=panel)
        return PreferenceTwinsSettings(
            fidelity, methods=("Ridge",), wide_gap=None, rank_gap=None, encoders=1
        )


@dataclass(frozen=True, eq=False)
class World:
    """The data and settings shared by all parts of the study.

    - `key`: for all random draws.
    - `ratings`, `x`: of the encoder's training, and (c, e) text vectors of its catalogue.
    - `panel`: human and twin answers to the films.
    - `answers`, `whole`: as `populations` returns them.
    - `films`: the positions of the panel's films in the catalogue.
    - `settings`: of the study.
    - `out`: a folder where training is saved, or None.
    - `say`: called with (text, done, total).
    """

    key: PRNGKey
    ratings: RatingTable
    x: Float[Array, "c e"]
    panel: Panel
    answers: Answers
    whole: Answers
    films: np.ndarray
    settings: PreferenceTwinsSettings
    out: str | PathLike[str] | None
    say: Callable[..., None]

    @property
    def primary(self) -> str:
        """The population calibrated by the first method."""
        return f"calibrated_{self.settings.methods[0]}"

    @property
    def rule(self) -> Rule:
        """The main rule for pairs of answers."""
        return Rule(self.settings.gap)

    def parts(self) -> tuple[RatingTable, RatingTable, RatingTable]:
        """Ratings for training, validation and test."""
        fidelity = self.settings.fidelity
        return self.ratings.split(fidelity.train, fidelity.validation)

    def train(self, number: int) -> TrainedEncoder:
        """The encoder of this number, each with another seed."""
        key = purpose_key(self.key, f"encoder {number}" if number else "encoder")
        train, validation, _ = self.parts()
        return train_on_ratings(
            key, self.x, train, validation, self.settings.fidelity, self.out, self.say
        )

    def accuracies(self, trained: TrainedEncoder) -> list[FidelityRecord]:
        """Held-out pairwise accuracy of the encoder on the people it was trained on."""
        training = self.settings.fidelity.training
        train, _, test = self.parts()
        earlier = self.ratings.where(complement(self.ratings, test))
        gram = jax.jit(lambda trained, x: trained.gram(x))(trained, self.x)
        found = held_out_accuracies(
            purpose_key(self.key, "test"), trained, gram, earlier, train, test,
            gap=training.gap, cap=training.validation_cap,
        )  # fmt: skip
        return [
            record
            for ranker, value in found.items()
            for record in panel_records(
                ranker, "trained", "", [{"metric": "pairwise_accuracy", **value._asdict()}]
            )
        ]

    def gram(self, trained: TrainedEncoder) -> ScoreGram:
        """Score forms of the panel's films."""
        return jax.jit(lambda trained, x: trained.gram(x))(trained, self.x[self.films])

    def part(self, text: str) -> None:
        """Report that a comparison begins."""
        self.say(f"panels, {text}", 0, 1)

    def measure(
        self, gram: ScoreGram
    ) -> tuple[list[FidelityRecord], dict[str, np.ndarray], dict[tuple[str, str], PairedColumns]]:
        """Records, embeddings and paired distances of all populations by both procedures."""
        records: list[FidelityRecord] = []
        embedded: dict[str, np.ndarray] = {}
        paired: dict[tuple[str, str], PairedColumns] = {}
        panel_settings = self.settings.fidelity.panel
        for method in PROCEDURES:
            key = purpose_key(self.key, method)
            placed = place_all(key, gram, self.answers, method, self.rule)
            for name, placement in placed.items():
                rows = placement_rows(placement, self.answers[name])
                records += panel_records(name, method, "", rows)
            people = {name: users(placement) for name, placement in placed.items()}
            records += panels(
                purpose_key(key, "panels"),
                people,
                gram.prototypes,
                method,
                panel_settings,
                self.part,
                temperature=gram.temperature,
            )
            if method == "newton":
                embedded = {name: np.asarray(p.population()) for name, p in people.items()}
            else:
                # The same answers from other random starts: the effect of SSR alone.
                again = self.rule.place(purpose_key(key, "again"), gram, self.answers[REAL], method)
                people = people | {"real_again": users(again)}
            self.part(f"humans and their twins, {method}")
            for name, group in people.items():
                if name == REAL:
                    continue
                own = self.answers[REAL if name == "real_again" else name]
                panel, columns = pairs(
                    purpose_key(key, "pairs"), gram, people[REAL], group, own, panel_settings
                )
                records += panel_records(name, method, method, _pairing(panel.rows()))
                paired[name, method] = columns
        return records, embedded, paired

    def sensitivity(self, gram: ScoreGram) -> list[FidelityRecord]:
        """Records with other rules for pairs, and with calibrated answers to all films."""
        settings = self.settings
        names = [REAL, *(n for n in (*_CHECKED, self.primary) if n in self.answers)]
        some = {name: self.answers[name] for name in names}
        checks = []
        if settings.wide_gap is not None:
            checks.append((f"newton, {settings.wide_gap:g} SD", Rule(settings.wide_gap), some))
        if settings.rank_gap is not None:
            checks.append(("newton, ranks", Rule(settings.rank_gap, "ranks"), some))
        all_films = {name: self.whole[name] for name in (self.primary, "calibrated_draws")}
        checks.append(("newton, all films", self.rule, {REAL: self.answers[REAL], **all_films}))
        records = []
        for label, rule, answers in checks:
            key = purpose_key(self.key, label)
            placed = place_all(key, gram, answers, "newton", rule)
            for name, placement in placed.items():
                rows = placement_rows(placement, answers[name])
                records += panel_records(name, label, "", rows)
            people = {name: users(placement) for name, placement in placed.items()}
            records += panels(
                purpose_key(key, "panels"), people, gram.prototypes, label, settings.fidelity.panel,
                self.part, temperature=gram.temperature,
            )  # fmt: skip
        return records

    def on_other_films(self, gram: ScoreGram) -> list[FidelityRecord]:
        """Records of a new survey: half of the films are known, the other half is measured.

        Reference: humans placed from their answers to the new films. `real, known films`: the same
        humans placed from the known films, an upper bound for predictions.
        `held_out_pair_accuracy`: the share of a human's pairs among the new films that are ordered
        correctly by a placement from the known films.
        """
        key = purpose_key(self.key, "films")
        known = halves(key, self.panel.m)
        new = np.flatnonzero(~known)
        name, settings = self.settings.methods[0], self.settings.fidelity.panel
        human = self.answers[REAL]
        predicted = from_other_films(self.panel, name, known)
        some = {n: self.answers[n][:, new] for n in (REAL, "twins", "item_means")}
        if "in_context" in self.answers:
            some["in_context"] = self.answers["in_context"][:, new]
        there = ~np.isnan(some["twins"])
        some[f"calibrated_{name}"] = np.where(there, predicted, np.nan)
        at_new, at_known = (
            gram.take(jnp.asarray(new)),
            gram.take(jnp.asarray(np.flatnonzero(known))),
        )
        placed = place_all(key, at_new, some, "newton", self.rule)
        people = {n: users(p) for n, p in placed.items()}
        own = {"real, known films": human[:, known], "twins": self.answers["twins"][:, known]}
        own["item_means"] = self.answers["item_means"][:, known]
        before = place_all(purpose_key(key, "known"), at_known, own, "newton", self.rule)
        people["real, known films"] = users(before["real, known films"])
        records = panels(
            purpose_key(key, "panels"), people, gram.prototypes, OTHER_FILMS, settings, self.part,
            temperature=gram.temperature,
        )  # fmt: skip
        for n, group in people.items():
            if n == REAL:
                continue
            values = human[:, new] if n == "real, known films" else some[n]
            panel, _ = pairs(
                purpose_key(key, "pairs"), at_new, people[REAL], group, values, settings
            )
            records += panel_records(n, OTHER_FILMS, OTHER_FILMS, _pairing(panel.rows()))
        gap = self.settings.fidelity.training.gap
        truth = human[:, new]
        scores = {n: np.asarray(all_scores(at_new, p.w)) for n, p in before.items()}
        means = np.nanmean(truth, axis=0)
        scores["film means, no encoder"] = np.broadcast_to(means[None, :], truth.shape)
        scores["twins, no encoder"] = np.nan_to_num(some["twins"])
        scores[f"calibrated_{name}, no encoder"] = predicted
        for n, values in scores.items():
            each = pair_accuracy(values, truth, gap)
            each = each[~np.isnan(each)]
            records += panel_records(n, OTHER_FILMS, "", [mean_row("held_out_pair_accuracy", each)])
        return records

    def repair(self, gram: ScoreGram) -> list[FidelityRecord]:
        """Records of repaired twins and calibrated twins, by the main procedure."""
        names = [REAL, "twins", self.primary]
        some = {name: self.answers[name] for name in names}
        placed = place_all(purpose_key(self.key, "newton"), gram, some, "newton", self.rule)
        people = {name: users(p) for name, p in placed.items()}
        everyone = np.flatnonzero(np.all([p.there for p in people.values()], axis=0))
        at = {name: p.embedding[everyone] for name, p in people.items()}
        self.part("repairs")
        return repair_records(
            purpose_key(self.key, "repair"), at.pop(REAL), at, "newton",
            self.settings.fidelity.panel, prototypes=gram.prototypes,
            temperature=gram.temperature,
        )  # fmt: skip

    def over_encoders(self, first: list[FidelityRecord]) -> list[FidelityRecord]:
        """Means and ranges over encoders, for metrics that can be compared between encoders."""
        least = dataclasses.replace(
            self.settings.fidelity.panel, replicates=20, permutations=2, paired_replicates=2
        )
        settings = dataclasses.replace(
            self.settings, fidelity=dataclasses.replace(self.settings.fidelity, panel=least)
        )
        runs = [first]
        for number in range(1, self.settings.encoders):
            world = dataclasses.replace(
                self,
                settings=settings,
                key=purpose_key(self.key, f"world {number}"),
            )
            trained = dataclasses.replace(world, settings=self.settings).train(number)
            runs.append(world.measure(world.gram(trained))[0])
        if len(runs) == 1:
            return []
        values: dict[tuple[str, str, str], list[float]] = {}
        for run in runs:
            for r in run:
                if r.procedure in PROCEDURES and r.reference == r.procedure:
                    values.setdefault((r.population, r.procedure, r.metric), []).append(r.mean)
        return [
            FidelityRecord(
                population, f"{metric}_over_encoders", procedure, procedure,
                float(np.mean(each)), min(each), max(each),
            )
            for (population, procedure, metric), each in values.items()
            if len(each) == len(runs) and np.isfinite(each).all()
        ]  # fmt: skip


def _pairing(rows: list[dict]) -> list[dict]:
    """Rows of a paired panel without the homogeneity, which is in the population's panel."""
    return [row for row in rows if row["metric"] != "cosine_mean"]
