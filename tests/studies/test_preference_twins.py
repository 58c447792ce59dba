"""Calibrated twins in preference space: planted collapse, repair, held-out ratings unread."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from syndigits_jax.datasets import rating_table
from syndigits_jax.datasets.preference_simulator import simulate_preferences
from syndigits_jax.evaluation import HoldOut
from syndigits_jax.panel import Panel
from syndigits_jax.preferences import TrainingSettings, user_embedding
from syndigits_jax.studies.calibrated_twins import data as twins_data
from syndigits_jax.studies.calibrated_twins import parts as study
from syndigits_jax.studies.calibrated_twins.notes import answer
from syndigits_jax.studies.calibrated_twins.panels import Rule, pair_accuracy, panels, spread_rows
from syndigits_jax.studies.calibrated_twins.repair import repair_records
from syndigits_jax.studies.calibrated_twins.study import PreferenceTwinsSettings, measure_twins
from syndigits_jax.workflows.fidelity.parts import FidelitySettings
from syndigits_jax.workflows.fidelity.populations import PanelSettings, Users
from syndigits_jax.workflows.fidelity.records import FidelityRecord

KEY = jax.random.key(5)
N, M = 80, 24
SMALL = PanelSettings(
    size=20, k=2, resamples=2, replicates=6, projections=20, permutations=10, triplets=500,
    paired_replicates=10,
)  # fmt: skip


@pytest.fixture(scope="module")
def world():
    return simulate_preferences(N, M, key=0, ratings=M)


def placed(truth, w):
    w = jnp.asarray(w, jnp.float32)
    embedding = user_embedding(truth.gram.prototypes, w, truth.gram.temperature)
    return Users(w, embedding, np.ones(len(w), bool))


def small_panel(seed=0, users=30, questions=10):
    """Humans with tastes of rank one, twins that know half of it, a fifth of both missing."""
    rng = np.random.default_rng(seed)
    taste, film = rng.normal(size=(users, 1)), rng.normal(size=(1, questions))
    human = 3 + film + taste * rng.normal(size=(1, questions))
    twin = 3 + (human - 3) / 2 + 0.5 * rng.normal(size=human.shape)
    gone = rng.random(human.shape) < 0.2
    human, twin = (np.where(gone, np.nan, np.clip(2 * x, 1, 10).round() / 2) for x in (human, twin))
    names = [f"film {j}" for j in range(questions)]
    ids = [f"user {i}" for i in range(users)]
    return Panel.from_arrays(human, twin, users=ids, questions=names, scale=(0.5, 5.0, 0.5))


# --- populations and repair -----------------------------------------------------------------------


def test_a_planted_collapse_is_seen_and_repaired_on_people_the_repair_never_saw(world):
    _, truth = world
    real, collapsed = placed(truth, truth.w), placed(truth, 0.25 * truth.w)
    records = repair_records(
        KEY, real.embedding, {"twins": collapsed.embedding}, "newton", SMALL,
        prototypes=truth.gram.prototypes,
    )  # fmt: skip
    assert {(r.procedure, r.reference) for r in records} == {("newton, held-out users",) * 2}
    at = {(r.population, r.metric): r for r in records}
    assert len(at) == len(records)
    assert at["twins", "dispersion_ratio"].high < 0.6
    assert at["real, other half", "dispersion_ratio"].mean == pytest.approx(1, abs=0.15)
    assert at["twins", "coverage"].high < at["real, other half", "coverage"].low
    assert at["twins", "cosine_mean"].mean > at["real, other half", "cosine_mean"].mean + 0.1
    before = at["twins", "coverage"].mean
    for name in ("mapped", "transported", "transported (drawn)"):
        assert at[f"twins, {name}", "dispersion_ratio"].mean == pytest.approx(1, abs=0.2)
        assert at[f"twins, {name}", "coverage"].mean > before + 0.1
        assert at[f"twins, {name}", "frechet"].mean < at["twins", "frechet"].mean / 2
    # Weights cannot reach beyond the twins there are.
    assert at["twins, reweighted (kernel)", "mmd2"].mean < at["twins", "mmd2"].mean
    # A map moves everyone alike and keeps who is who, a draw does not.
    own, other = (at["twins, mapped", f"paired_distance{s}"].mean for s in ("", "_shuffled"))
    assert own < 0.7 * other
    assert ("twins, transported (drawn)", "paired_distance") not in at


def test_populations_are_measured_against_the_real_users_among_them(world):
    _, truth = world
    w = truth.w[: N // 2]
    people = {"real": placed(truth, w), "same": placed(truth, w[::-1])}
    people["collapsed"] = placed(truth, 0.25 * w)
    said = []
    records = panels(KEY, people, truth.gram.prototypes, "newton", SMALL, said.append)
    at = {(r.population, r.metric): r for r in records}
    assert len(at) == len(records) and said == [
        *("floor and ceilings, newton", "same, newton", "collapsed, newton"),
        "real_bootstrap, newton",
    ]
    assert at["same", "mean_shift"].mean == pytest.approx(0, abs=1e-5)
    assert at["same", "held_in_coverage"].mean == 1
    assert at["collapsed", "coverage"].high < at["same", "coverage"].low
    for name in ("noise", "random_mixture", "real", "real_bootstrap"):
        assert np.isfinite(at[name, "frechet"].mean)


def test_spread_and_shift_are_in_units_of_the_real_users():
    x = np.random.default_rng(0).normal(size=(60, 3))
    unit = np.sqrt(x.var(axis=0, ddof=1).sum())
    y = 0.5 * x + np.array([unit, 0, 0])[None, :] + 0.5 * x.mean(axis=0)[None, :]
    spread, shift = spread_rows(jnp.asarray(x), jnp.asarray(y), 50)
    assert spread["mean"] == pytest.approx(0.5) and shift["mean"] == pytest.approx(1)
    assert spread["low"] < 0.5 < spread["high"] and shift["low"] < 1 < shift["high"]


# --- pairs ----------------------------------------------------------------------------------------


def test_one_rule_of_pairs_serves_populations_of_any_spread(world):
    ratings, truth = world
    human = ratings.matrix()[:40]
    one, flat = (Rule(0.5).place(KEY, truth.gram, x, "newton") for x in (human, 3 + 0.2 * human))
    np.testing.assert_array_equal(one.pairs, flat.pairs)
    np.testing.assert_allclose(one.embedding, flat.embedding, atol=1e-5)
    # Ranks keep no more than the order.
    values = Rule(0.5, "ranks").place(KEY, truth.gram, np.exp(human), "newton")
    same = Rule(0.5, "ranks").place(KEY, truth.gram, human, "newton")
    np.testing.assert_allclose(values.embedding, same.embedding, atol=1e-6)
    with_gaps = np.where(np.arange(M) % 3 == 0, np.nan, human)
    ranks = pd.DataFrame(with_gaps).rank(axis=1).to_numpy()
    expected = (ranks - 1) / (np.sum(~np.isnan(with_gaps), axis=1, keepdims=True) - 1)
    np.testing.assert_allclose(twins_data.ranked(with_gaps), expected)
    within = twins_data.standardised(with_gaps)
    about = within - np.nanmean(within, axis=1, keepdims=True)
    assert np.nanmean(about**2) == pytest.approx(1)


def test_pair_accuracy_counts_pairs():
    human = np.array([[1.0, 2.0, 4.0, np.nan], [3.0, 3.0, 3.0, 3.0]])
    scores = np.array([[0.0, 0.0, -1.0, 9.0], [1.0, 2.0, 3.0, 4.0]])
    # A tie, and two of three pairs the wrong way round.
    found = pair_accuracy(scores, human, 1.0)
    assert found[0] == pytest.approx(0.5 / 3) and np.isnan(found[1])


# --- what must not be read ------------------------------------------------------------------------


def test_draws_for_a_film_do_not_read_its_answers():
    panel = small_panel()
    rng = np.random.default_rng(1)
    prediction = np.nan_to_num(panel.human, nan=3.0).T + 0.1 * rng.normal(size=(10, 30))
    holdout = HoldOut("question", panel, np.arange(10), panel.human.T, {"Ridge": prediction})
    drawn = twins_data.drawn(KEY, holdout, "Ridge")
    film = 4
    human = panel.human.copy()
    human[:, film] = human[::-1, film]
    changed = dataclasses.replace(holdout, panel=panel.replace(human=human), truth=human.T)
    again = twins_data.drawn(KEY, changed, "Ridge")
    np.testing.assert_array_equal(drawn[:, film], again[:, film])
    assert (drawn != again).any()
    assert set(np.unique(drawn)) <= set(np.arange(0.5, 5.5, 0.5))
    # Levels that predictions miss by come back with the offsets only.
    level = rng.normal(size=(10, 1))
    off = dataclasses.replace(holdout, predictions={"Ridge": prediction + level})
    missed = [
        (twins_data.drawn(KEY, off, "Ridge", offsets=offsets) - off.predictions["Ridge"].T).mean(0)
        for offsets in (False, True)
    ]
    assert np.abs(missed[0]).mean() < 0.5 * np.abs(missed[1]).mean()


def test_new_films_are_predicted_without_any_answer_to_them():
    panel = small_panel()
    known = np.arange(10) % 2 == 0
    found = twins_data.from_other_films(panel, "Ridge", known)
    human = np.where(known[None, :], panel.human, 1.0)
    again = twins_data.from_other_films(panel.replace(human=human), "Ridge", known)
    np.testing.assert_array_equal(found, again)
    assert found.shape == (30, 5) and np.isfinite(found).all()


# --- files ----------------------------------------------------------------------------------------


def write_films(folder, users=3):
    release = folder / "movielens" / "ml-latest-small"
    top = folder / "syn-digits" / "MovieLens-20M" / "distribution_calibration"
    for place in (release, top):
        place.mkdir(parents=True)
    (release / "movies.csv").write_text(
        "movieId,title,genres\n10,Old (1990),Drama\n20,New (2000),Comedy|War\n30,Rest (2001),War\n"
    )
    (release / "tags.csv").write_text("userId,movieId,tag,timestamp\n1,10,slow,5\n1,30,loud,5\n")
    rows = "".join(f"{u},{film},{3 + u % 2},{u}\n" for u in range(users) for film in (10, 20, 30))
    (release / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + rows)
    (top / "top_movies_df.csv").write_text(
        "title,genres,top_10_tags,avg_rating\n"
        "New (2000),Comedy|War,\"['fun', 'short']\",3.5\nOld (1990),Drama,[],3.1\n"
    )
    (top / "persona_ratings.csv").write_text(",avg_rating,pid_1\n20,3.5,4\n10,3.1,3\n")
    return folder


def test_films_have_one_text_each(tmp_path):
    table = twins_data.load_catalogue(write_films(tmp_path))
    assert dict(zip(table.items, table.texts, strict=True)) == {
        "10": "Old (1990). Genres: Drama.",
        "20": "New (2000). Genres: Comedy, War. Tags: fun, short.",
        "30": "Rest (2001). Genres: War. Tags: loud.",
    }
    named = tmp_path / "syn-digits/MovieLens-20M/distribution_calibration/persona_ratings.csv"
    named.write_text(",avg_rating,pid_1\n20,3.5,4\n")
    with pytest.raises(ValueError, match="1 films, but top_movies_df"):
        twins_data.load_catalogue(tmp_path)
    named.write_text(",avg_rating,pid_1\n20,3.5,4\n99,3.5,4\n")
    with pytest.raises(ValueError, match="99"):
        twins_data.load_catalogue(tmp_path)


@pytest.mark.data
def test_the_public_samples_share_two_people(data_dir):
    from syndigits_jax.datasets import load_movielens

    table, panel = twins_data.load_catalogue(data_dir), load_movielens(data_dir)
    assert twins_data.same_people(table, panel).sum() == 2
    assert set(panel.questions) <= set(table.items)
    assert all(table.texts)


# --- the study ------------------------------------------------------------------------------------


def small_world(questions=24, people=40, users=40):
    """Raters of a catalogue, and a panel on some of it whose first human is among the raters."""
    table, truth = simulate_preferences(users + people, questions + 6, key=3, ratings=questions + 6)
    films = np.arange(questions)
    human = table.matrix(films)[users:]
    rng = np.random.default_rng(0)
    twin = np.clip(human.mean(axis=0)[None, :] + 0.4 * rng.normal(size=human.shape), 1, 5)
    ids = [f"p{i}" for i in range(people)]
    names = [str(j) for j in films]
    panel = Panel.from_arrays(human, twin, users=ids, questions=names, scale=(1.0, 5.0))
    return table.where(table.user <= users), truth, panel


def test_the_study_measures_every_population_and_answers(tmp_path, monkeypatch):
    table, truth, panel = small_world()
    training = TrainingSettings(epochs=1, cap=20, validation_cap=5, batch_size=128)
    settings = PreferenceTwinsSettings(
        FidelitySettings(training, hidden=(8,), dim=6, dropout=0.0, panel=SMALL),
        methods=("Ridge",), wide_gap=None, rank_gap=None, encoders=1,
    )  # fmt: skip
    measured, repaired = {}, []

    def measure(key, placed, prototypes, label, *rest, temperature=1.0):
        measured[label] = placed
        return [FidelityRecord(n, "coverage", label, label, 0.5, 0.4, 0.6) for n in placed]

    def repair(key, real, people, *rest, **more):
        repaired.append((real, people))
        return []

    compared, compare = {}, study.pairs

    def compare_once(key, gram, *rest):
        shape = gram.numerator.shape
        compared[shape] = compared.get(shape) or compare(key, gram, *rest)
        return compared[shape]

    # It compiles anew for every population; panels and repairs have tests of their own.
    monkeypatch.setattr(study, "pairs", compare_once)
    monkeypatch.setattr(study, "panels", measure)
    monkeypatch.setattr(study, "repair_records", repair)
    said = []
    report = measure_twins(
        table, truth.vectors, panel, key=KEY, settings=settings, out=tmp_path,
        on_progress=said.append,
    )  # fmt: skip
    names = {"real", "twins", "calibrated_Ridge", "calibrated_draws", "calibrated_draws_offset"}
    names |= {"twins_centred", "item_means"}
    assert set(report.populations) == names
    for method in ("newton", "ssr"):
        assert set(measured[method]) == names
        assert ("twins", method) in report.paired
    assert ("real_again", "ssr") in report.paired
    assert {*measured} == {"newton", "ssr", "newton, all films", "newton, other films"}
    assert {"real", "real, known films", "calibrated_Ridge"} <= {*measured["newton, other films"]}
    rows = [(r.population, r.metric, r.procedure, r.reference) for r in report.records]
    assert len(set(rows)) == len(rows)
    assert report.counts["users_of_the_panel_left_out"] == 1 and report.counts["users"] == 79
    # What is repaired is what was measured, without the random starts of SSR.
    [(real, people)] = repaired
    np.testing.assert_array_equal(real, report.populations["real"])
    np.testing.assert_array_equal(people["twins"], report.populations["twins"])
    at = {(r.population, r.metric): r.mean for r in report.records if r.procedure == ""}
    assert at["item_means", "item_pearson"] == pytest.approx(0, abs=1e-6)
    assert at["calibrated_draws", "item_sd_ratio"] > at["calibrated_Ridge", "item_sd_ratio"]
    assert "correlation per film" in report.notes[0]
    assert {p.label.partition(",")[0] for p in said} == {"calibration", "encoder", "panels"}
    assert len(list((tmp_path / "units").glob("*.npz"))) == 2


def test_bad_input_is_named():
    table, truth, panel = small_world()
    with pytest.raises(ValueError, match="questions"):
        measure_twins(
            table, truth.vectors, panel.replace(questions=[f"x{j}" for j in range(24)]), key=KEY
        )
    with pytest.raises(ValueError, match="item_embeddings"):
        measure_twins(table, truth.vectors[:3], panel, key=KEY)
    with pytest.raises(ValueError, match="gap"):
        PreferenceTwinsSettings(gap=0.0)
    with pytest.raises(ValueError, match="methods"):
        PreferenceTwinsSettings(methods=())
    small = rating_table(["a", "a"], ["0", "1"], [1, 2])
    assert not twins_data.same_people(small.with_items([str(j) for j in range(30)]), panel).any()


def test_the_answer_names_only_differences_that_can_be_told():
    def row(population, metric, mean, half, procedure="newton"):
        return FidelityRecord(
            population, metric, procedure, procedure, mean, mean - half, mean + half
        )

    records = [
        row("twins", "item_pearson", 0.3, 0.01, ""),
        row("calibrated_A", "item_pearson", 0.5, 0.01, ""),
        row("twins", "fgi_coverage", 0.2, 0.1),
        row("calibrated_A", "fgi_coverage", 0.6, 0.1),
        row("twins", "fgi_frechet", 0.8, 0.1),
        row("calibrated_A", "fgi_frechet", 0.5, 0.1),
        row("twins", "fgi_mmd2", 0.8, 0.2),
        row("calibrated_A", "fgi_mmd2", 0.5, 0.2),
        row("twins", "dispersion_ratio", 0.9, 0.02),
        row("calibrated_A", "dispersion_ratio", 1.3, 0.02),
    ]
    item, _, space = answer(records, ["calibrated_A"])
    assert "twins 0.300 [0.290, 0.310], calibrated_A 0.500 [0.490, 0.510]" in item
    assert "calibrated_A is better than twins in 1 and worse in 2 of 4 measures." in space
    parts = dict(part.split(": twins") for part in space.partition("measures. ")[2].split("; "))
    assert parts["gap index of coverage"].endswith("(worse)")
    assert parts["gap index of the Fréchet distance"].endswith("(better)")
    assert parts["gap index of MMD"].endswith("(no difference that can be told)")
    assert parts["spread relative to real users"].endswith("(worse).")


def test_pairs_and_differences_without_intervals_are_said():
    def row(population, metric, mean, half=0.01):
        return FidelityRecord(
            population, metric, "newton", "newton", mean, mean - half, mean + half
        )

    records = [
        row("twins", "fgi_coverage", 0.2),
        row("calibrated_A", "fgi_coverage", 0.1, np.inf),
        row("twins", "rank_accuracy", 0.6),
        row("twins", "rank_accuracy_shuffled", 0.5),
        row("calibrated_A", "rank_accuracy", 0.7),
        row("calibrated_A", "rank_accuracy_shuffled", 0.55),
    ]
    *_, space, ranks = answer(records, ["calibrated_A"])
    assert "calibrated_A is better than twins in 0 and worse in 0 of 1 measures" in space
    assert "(undefined)" in space
    assert ranks == (
        "Pairs, placed by Newton's method: rank accuracy of twins 0.600 [0.590, 0.610] (with "
        "somebody else's 0.500 [0.490, 0.510]), calibrated_A 0.700 [0.690, 0.710] (with somebody "
        "else's 0.550 [0.540, 0.560])."
    )
