"""Parts of the study of calibrated twins in preference space, without training an encoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from syndigits_jax.datasets.preference_simulator import simulate_preferences
from syndigits_jax.evaluation import HoldOut
from syndigits_jax.panel import Panel
from syndigits_jax.studies.calibrated_twins import data as twins_data
from syndigits_jax.studies.calibrated_twins import parts as study
from syndigits_jax.studies.calibrated_twins.panels import Rule
from syndigits_jax.studies.calibrated_twins.study import PreferenceTwinsSettings
from syndigits_jax.workflows.fidelity.parts import FidelitySettings
from syndigits_jax.workflows.fidelity.populations import PanelSettings
from syndigits_jax.workflows.fidelity.records import FidelityRecord

KEY = jax.random.key(5)
SMALL = PanelSettings(
    size=20, k=2, resamples=2, replicates=6, projections=20, permutations=10, triplets=500,
    paired_replicates=10,
)  # fmt: skip


def one_world(**changes):
    """A world whose encoder is never trained: of settings and answers only."""
    table, truth = simulate_preferences(12, 10, key=3, ratings=10)
    human = table.matrix(np.arange(10))
    names = [str(j) for j in range(10)]
    panel = Panel.from_arrays(human, np.round(human), questions=names, scale=(1.0, 5.0))
    answers = dict.fromkeys(("real", "twins", "in_context", "calibrated_Ridge"), panel.human)
    answers |= {"item_means": panel.twin, "calibrated_draws": panel.twin}
    settings = PreferenceTwinsSettings(FidelitySettings(panel=SMALL), methods=("Ridge",), **changes)
    x, films = jnp.asarray(truth.vectors), np.arange(panel.m)
    world = study.World(
        KEY, table, x, panel, answers, answers, films, settings, None, lambda *_: None
    )
    return world, truth.gram


def test_over_encoders_every_measure_has_its_mean_and_range(monkeypatch):
    world, _ = one_world(encoders=3)

    def records(value):
        return [
            FidelityRecord("twins", "coverage", "newton", "newton", value, 0.0, 1.0),
            FidelityRecord("twins", "frechet", "ssr", "ssr", np.inf, 0.0, 1.0),
            FidelityRecord("twins", "mmd2", "newton", "trained", value, 0.0, 1.0),
        ]

    trained, measured = [], []

    def train(self, number):
        trained.append((number, self.settings.fidelity.panel, str(self.key)))
        return number

    def measure(self, gram):
        measured.append(self.settings.fidelity.panel.replicates)
        return records(0.1 * gram), {}, {}

    monkeypatch.setattr(study.World, "train", train)
    monkeypatch.setattr(study.World, "gram", lambda self, number: number)
    monkeypatch.setattr(study.World, "measure", measure)
    (found,) = world.over_encoders(records(0.6))
    assert (found.population, found.metric) == ("twins", "coverage_over_encoders")
    assert (found.mean, found.low, found.high) == pytest.approx((0.3, 0.1, 0.6))
    # Trained as the first, with other draws; only means are used, so that few resamples suffice.
    assert [number for number, *_ in trained] == [1, 2]
    assert all(panel == SMALL for _, panel, _ in trained)
    assert len({str(KEY), *(key for *_, key in trained)}) == 3
    assert measured == [20, 20]
    assert one_world(encoders=1)[0].over_encoders(records(0.6)) == []


def test_other_rules_for_pairs_are_checked(monkeypatch):
    world, gram = one_world(wide_gap=1.0, rank_gap=0.25)
    placed = {}

    def place_all(key, gram, answers, method, rule):
        placed[len(placed)] = (set(answers), method, rule)
        return {}

    labels = []

    def panels(key, people, prototypes, label, *rest, **more):
        labels.append(label)
        return []

    monkeypatch.setattr(study, "place_all", place_all)
    monkeypatch.setattr(study, "panels", panels)
    assert world.sensitivity(gram) == []
    assert labels == ["newton, 1 SD", "newton, ranks", "newton, all films"]
    rules = [rule for *_, rule in placed.values()]
    assert rules == [Rule(1.0), Rule(0.25, "ranks"), Rule(world.settings.gap)]
    everybody = {"real", "twins", "in_context", "calibrated_draws", "item_means"}
    assert placed[0][0] == placed[1][0] == everybody | {"calibrated_Ridge"}
    assert placed[2][0] == {"real", "calibrated_Ridge", "calibrated_draws"}


def test_twins_in_context_are_a_population_where_both_answered():
    rng = np.random.default_rng(0)
    human, twin = (rng.integers(1, 6, (30, 10)).astype(float) for _ in range(2))
    human[0, 0] = twin[1, 1] = np.nan
    panel = Panel.from_arrays(human, twin, scale=(1.0, 5.0, 1.0))
    told = np.full(panel.human.shape, 4.0)
    panel = panel.replace(controls={"InContext": told})
    prediction = np.nan_to_num(panel.twin, nan=3.0).T
    holdout = HoldOut("question", panel, np.arange(10), panel.human.T, {"Ridge": prediction})
    found, _ = twins_data.populations(KEY, panel, holdout, ("Ridge",))
    there = ~np.isnan(panel.human) & ~np.isnan(panel.twin)
    np.testing.assert_array_equal(found["in_context"], np.where(there, 4.0, np.nan))
