"""Study of the paper's samplers: who is compared, held-out accuracies, what is left out."""

import dataclasses

import jax
import numpy as np
import pytest

from syndigits_jax.datasets.preference_simulator import simulate_preferences
from syndigits_jax.preferences import FactorisationSettings, TrainingSettings
from syndigits_jax.studies.persona_fidelity import baselines as study
from syndigits_jax.studies.persona_fidelity.baselines import BaselinesSettings, study_baselines
from syndigits_jax.studies.persona_fidelity.paper_values import paper_range
from syndigits_jax.workflows.fidelity.populations import PanelSettings
from syndigits_jax.workflows.fidelity.records import FidelityRecord

KEY = jax.random.key(5)
N, M, RATINGS, CONSTANT = 40, 24, 20, 12
SETTINGS = BaselinesSettings(
    training=TrainingSettings(epochs=2, batch_size=256, projector_rate=0.03),
    prototypes=3,
    hidden=(),
    dim=4,
    panel=PanelSettings(size=10, k=2),
    factorisation=FactorisationSettings(factors=2, epochs=2),
)


def compared(given):
    """In place of the panels, which have tests of their own: what they are given."""

    def compare(
        key, reference, real, others, prototypes, settings, *, size, count, on_part, temperature
    ):  # fmt: skip
        assert temperature == 1.0
        on_part(f"panels, {reference}", 0)
        points = {each.label(reference): np.asarray(each.points) for each in others}
        given[reference] = (np.asarray(real), points, size, count)
        record = FidelityRecord("real", "coverage", reference, reference, 1.0, 1.0, 1.0)
        return [record], {"real": np.asarray(real), **points}

    return compare


@pytest.fixture(scope="module")
def run():
    """One run: users 0 to 11 gave 3 to all they rated before the test items."""
    table, truth = simulate_preferences(N, M, key=0, ratings=RATINGS)
    place = np.arange(len(table)) % RATINGS
    flat = np.where((table.user < CONSTANT) & (place < 18), 3.0, table.rating)
    table = dataclasses.replace(table, rating=flat)
    given, trained, said = {}, [], []
    train = study.train_on_ratings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "compare_with_real", compared(given))
        patch.setattr(study, "train_on_ratings", lambda *a: trained.append(train(*a)) or trained[0])
        report = study_baselines(
            table, truth.vectors, key=KEY, settings=SETTINGS, on_progress=said.append
        )
    return table, report, given, trained[0], said


def test_everyone_is_in_the_populations_they_belong_to(run):
    _, report, given, trained, said = run
    real, points, size, count = given["trained"]
    everyone = np.asarray(trained.embedding())
    assert size == count == 10 == report.counts["panel_users_trained"]
    np.testing.assert_array_equal(real, everyone[CONSTANT:])
    np.testing.assert_array_equal(points["real (no training pair)"], everyone[:CONSTANT])
    # Most of the others have a pair among their four last ratings.
    of_control = points["real (control pair)"]
    assert 10 <= len(of_control) <= N - CONSTANT
    assert {tuple(row) for row in of_control} <= {tuple(row) for row in real}
    names = {"real (ssr)", "real (newton)", "real (ssr_training)", "real (control pair)"}
    names |= {"real (no training pair)", "untrained_encoder", "real_bootstrap"}
    assert set(points) == names
    assert len(points["real (ssr_training)"]) == len(points["untrained_encoder"]) == N - CONSTANT
    # Trained mixtures where nothing was learnt lie elsewhere; resampled users are users.
    assert np.abs(points["untrained_encoder"] - real).max() > 0.01
    assert {tuple(row) for row in points["real_bootstrap"]} <= {tuple(row) for row in real}
    placed, others, *_ = given["ssr"]
    np.testing.assert_array_equal(placed, points["real (ssr)"])
    np.testing.assert_array_equal(others["real (trained)"], real)
    assert len(others["untrained_encoder"]) == len(placed) and "real (ssr)" not in others
    assert set(report.populations) == {"trained", "ssr"}
    stages = {p.label.partition(",")[0] for p in said}
    assert stages == {"encoder", "rankers and placement", "panels"}
    assert said[-1].done == said[-1].total and {p.units for p in said} == {3}


def test_sizes_are_counted(run):
    table, report, *_ = run
    counts = report.counts
    assert counts["users"] == N and counts["ratings"] == len(table) == N * RATINGS
    assert counts["users_without_training_pair"] == CONSTANT
    assert counts["users_with_10_ratings"] == N
    assert counts["users_with_10_ratings_and_training_pair"] == N - CONSTANT
    first = table.where((np.arange(len(table)) % RATINGS) < 16)
    own = [table_of[:, None] - table_of[None, :] for table_of in first.rating.reshape(N, 16)]
    assert counts["training_pairs"] == sum(int((gap >= 1).sum()) for gap in own)
    last = table.rating.reshape(N, RATINGS)[:, 18:]
    assert counts["both_test_pairs"] == int((np.abs(np.diff(last)) >= 1).sum())


def test_memory_is_right_about_known_items_only(run):
    table, report, *_ = run
    found = {(r.metric, r.population): r for r in report.records if "accuracy" in r.metric}
    rankers = {"encoder", "popularity", "mean_rating", "bpr", "untrained_encoder", "other_user"}
    rankers.add("remembered")
    kinds = ["pairwise_accuracy", "pairwise_accuracy_both_test", "pairwise_accuracy_both_held_out"]
    assert set(found) == {(kind, ranker) for kind in kinds for ranker in rankers}
    for kind in kinds[1:]:
        record = found[kind, "remembered"]
        assert record.mean == record.low == record.high == 0.5
    # By hand: a test item has its user's mean, an earlier one its rating.
    right = []
    for rating in table.rating.reshape(N, RATINGS)[CONSTANT:]:
        earlier, test = rating[:18], rating[18:]
        mean = (earlier.sum() + table.rating.reshape(N, RATINGS)[:, :18].mean()) / 19
        for late in test:
            for known in earlier[np.abs(earlier - late) >= 1]:
                right.append((1 + np.sign(mean - known) * np.sign(late - known)) / 2)
        right += [0.5] * int(abs(test[0] - test[1]) >= 1)
    assert found["pairwise_accuracy", "remembered"].mean == pytest.approx(np.mean(right), abs=1e-6)
    assert found["pairwise_accuracy", "remembered"].mean > 0.6


def test_too_few_users_are_said_and_not_compared(run, monkeypatch):
    table, _, _, trained, _ = run
    _, truth = simulate_preferences(N, M, key=0, ratings=RATINGS)
    given = {}
    monkeypatch.setattr(study, "compare_with_real", compared(given))
    monkeypatch.setattr(study, "train_on_ratings", lambda *a: trained)
    # One rating is left for test, none for validation, and so nobody has two to be placed from.
    settings = dataclasses.replace(
        SETTINGS, train=0.95, validation=0.0, panel=PanelSettings(size=13, k=2)
    )
    report = study_baselines(table, truth.vectors, key=KEY, settings=settings)
    assert set(given) == {"trained"} and "panel_users_ssr" not in report.counts
    notes = "\n".join(report.notes)
    assert "no validation pairs: the encoder of the last epoch was taken" in notes
    assert "no comparison with users placed by SSR: 0 have a pair of control ratings" in notes
    assert "real (no training pair) is not compared with real users (trained): 12 users" in notes
    assert "real (ssr) is not compared with real users (trained): 0 users, 13 are needed" in notes
    assert "pairwise_accuracy_both_test is unknown" in notes
    assert "real (no training pair)" not in given["trained"][1]


def test_bad_input_is_refused(run):
    table = run[0]
    with pytest.raises(ValueError, match="one row per item, 24 in all"):
        study_baselines(table, np.ones((M - 1, 3)), key=KEY)
    flat = dataclasses.replace(table, rating=np.where(table.user < N - 3, 3.0, table.rating))
    with pytest.raises(ValueError, match="3 users have a pair of training ratings, at least 6"):
        study_baselines(flat, np.ones((M, 3), np.float32), key=KEY, settings=SETTINGS)


def test_ranges_of_the_paper():
    assert paper_range("dirichlet", "fgi_coverage") == (0.018, 0.101)
    assert paper_range("gaussian_mixture_full", "fgi_mmd2") == (-0.024, 0.189)
    assert paper_range("personas", "coverage") == (0.046, 0.094)
    assert paper_range("prototype_perturbation", "cosine_mean") == (0.031, 0.233)
    assert paper_range("twins", "rank_accuracy") == (0.722, 0.846)
    assert paper_range("noise", "frechet") is None
    assert paper_range("random_mixture", "coverage") is None


def test_how_near_trained_users_stayed_to_their_start(run):
    _, report, _, trained, _ = run
    [found] = [r for r in report.records if r.metric == "correlation_with_start"]
    start = np.asarray(study.starting_mixtures(KEY, N, jax.numpy.zeros((M, 1)), SETTINGS))
    np.testing.assert_array_equal(np.asarray(trained.w)[:CONSTANT], start[:CONSTANT])
    centred = [np.asarray(w)[CONSTANT:] for w in (trained.w, start)]
    centred = [(w - w.mean(axis=1, keepdims=True)).ravel() for w in centred]
    assert found.mean == pytest.approx(np.corrcoef(*centred)[0, 1], abs=1e-5)
    assert 0.5 < found.mean < 1
