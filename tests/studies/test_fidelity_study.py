"""Fidelity of a user's own personas: populations of known truth, held-out accuracy, bad input."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from syndigits_jax.datasets.preference_simulator import simulate_preferences
from syndigits_jax.preferences import TrainedEncoder, TrainingSettings, user_embedding
from syndigits_jax.preferences.encoder import gram_scores
from syndigits_jax.results.checkpoints import Checkpoints
from syndigits_jax.workflows.fidelity import measure as study
from syndigits_jax.workflows.fidelity import populations as populations_module
from syndigits_jax.workflows.fidelity.accuracy import held_out_accuracies
from syndigits_jax.workflows.fidelity.measure import FidelitySettings, measure_fidelity
from syndigits_jax.workflows.fidelity.populations import (
    PanelSettings,
    Users,
    compare_pairs,
    compare_populations,
)

KEY = jax.random.key(3)
N, M, PERSONAS = 60, 30, 20
SMALL = PanelSettings(
    size=20, k=2, resamples=2, replicates=10, projections=20, permutations=20, components=2,
    triplets=2000, paired_replicates=20,
)  # fmt: skip


@pytest.fixture(scope="module")
def world():
    return simulate_preferences(N, M, key=0, ratings=20)


def placed(truth, w):
    w = jnp.asarray(w, jnp.float32)
    embedding = user_embedding(truth.gram.prototypes, w, truth.gram.temperature)
    return Users(w, embedding, np.ones(len(w), bool))


# --- populations ----------------------------------------------------------------------------------


def of_procedure(people):
    """One population of personas, by how it was placed."""
    return {("personas", name): users for name, users in people.items()}


def test_a_planted_collapse_is_found_and_a_faithful_population_is_not(world, tmp_path, monkeypatch):
    _, truth = world
    users = placed(truth, truth.w)
    faithful = placed(truth, truth.w[:PERSONAS])
    collapsed = placed(truth, 0.02 * truth.w[:PERSONAS])
    said = []
    records, populations = compare_populations(
        KEY, {"trained": users}, of_procedure({"ssr": faithful, "newton": collapsed}),
        truth.gram.prototypes, SMALL, [], store=Checkpoints(tmp_path),
        on_part=lambda *part: said.append(part),
    )  # fmt: skip
    mean = {(r.population, r.procedure, r.metric): r.mean for r in records}
    assert len(mean) == len(records)
    ends = {(r.population, r.procedure, r.metric): (r.low, r.high) for r in records}
    faithful_is, collapsed_is = ("personas", "ssr"), ("personas", "newton")
    assert mean[*faithful_is, "coverage"] > 0.7
    assert ends[*collapsed_is, "coverage"][1] < ends[*faithful_is, "coverage"][0]
    assert ends[*collapsed_is, "frechet"][0] > ends["real", "trained", "frechet"][1]
    assert mean[*collapsed_is, "cosine_mean"] > 0.99 > 0.95 > mean[*faithful_is, "cosine_mean"]
    # So few points leave some indices undefined; of floor and ceiling they are 0 and 1.
    for name, level in (("real", 0), ("noise", 1)):
        index = [mean[name, "trained", f"fgi_{m}"] for m in ("frechet", "coverage")]
        assert all(np.isnan(v) or v == pytest.approx(level) for v in index)
    # Held-in coverage by hand; a persona that equals a user's k-th neighbour is not within.
    x, y = (np.asarray(u.embedding, float) for u in (users, faithful))
    apart = np.linalg.norm(x[:, None] - x[None], axis=2)
    radius = np.sort(apart, axis=1)[:, SMALL.k]
    near = np.linalg.norm(x[:, None] - y[None], axis=2).min(axis=1) < radius * (1 - 1e-4)
    assert mean["personas", "ssr", "held_in_coverage"] == pytest.approx(near.mean(), abs=0.02)
    # Fresh users all come after the two nearest of the 59 others with this probability.
    missed = 59 / 79 * 58 / 78
    expected = pytest.approx(1 - missed, abs=1e-6)
    assert mean["personas", "ssr", "held_in_coverage_of_real_users"] == expected
    names = {"dirichlet", "prototype_perturbation", "gaussian_mixture_diagonal"}
    names |= {"gaussian_mixture_full", "random_mixture", "noise", "real"}
    assert names <= {r.population for r in records}
    assert set(populations["trained"]) == names | {"personas (ssr)", "personas (newton)"}
    assert said[-1][1] == said[-1][2] and [p[1] for p in said] == sorted(p[1] for p in said)

    # A second call compares nobody again, and returns the same, bit for bit.
    monkeypatch.setattr(populations_module, "compare_with_real", None)
    again, same = compare_populations(
        KEY, {"trained": users}, of_procedure({"ssr": faithful, "newton": collapsed}),
        truth.gram.prototypes, SMALL, [], store=Checkpoints(tmp_path), on_part=lambda *_: None,
    )  # fmt: skip
    np.testing.assert_equal(
        *([dataclasses.astuple(r) for r in found] for found in (records, again))
    )
    assert list(same["trained"]) == list(populations["trained"])
    for name, points in populations["trained"].items():
        assert points.tobytes() == same["trained"][name].tobytes()


def test_personas_are_compared_with_their_own_seeds(world):
    _, truth = world
    rng = np.random.default_rng(1)
    seeds = rng.permutation(N)[:PERSONAS]
    people = placed(truth, truth.w[seeds])
    unseeded, nowhere = 4, 7
    rows = seeds.copy()
    rows[unseeded] = -1
    people = people._replace(there=np.arange(PERSONAS) != nowhere)
    answers = dataclasses.replace(
        simulate_preferences(PERSONAS, M, key=0, ratings=M)[0], rating=np.ravel(truth.scores[seeds])
    )
    answers = dataclasses.replace(
        answers, user=np.repeat(np.arange(PERSONAS), M), item=np.tile(np.arange(M), PERSONAS)
    )
    notes = []
    records, columns = compare_pairs(
        KEY, truth.gram, answers, rows, {"trained": placed(truth, truth.w)},
        of_procedure({"ssr": people}), SMALL, notes,
    )  # fmt: skip
    mean = {r.metric: r.mean for r in records}
    assert columns["personas", "ssr", "trained"].own.shape == (PERSONAS - 2,) and not notes
    assert mean["rank_accuracy"] == 1 and mean["rank_accuracy_shuffled"] < 0.95
    assert mean["rating_correlation"] == pytest.approx(1, abs=1e-4)
    assert mean["paired_distance"] < 1e-6 < mean["paired_distance_shuffled"]
    np.testing.assert_allclose(columns["personas", "ssr", "trained"].norm_ratio, 1, rtol=1e-5)
    alone = np.full(PERSONAS, -1)
    alone[0] = 3
    records, columns = compare_pairs(
        KEY,
        truth.gram,
        answers,
        alone,
        {"trained": people},
        of_procedure({"ssr": people}),
        SMALL,
        notes,
    )
    assert not records and not columns and "1 personas have a seed" in notes[0]


def test_who_is_compared_with_whom(world, monkeypatch):
    _, truth = world
    everyone = placed(truth, truth.w)
    some = everyone._replace(there=np.arange(len(truth.w)) >= PERSONAS + 5)
    few = everyone._replace(there=np.arange(len(truth.w)) < PERSONAS - 5)
    people = placed(truth, truth.w[:PERSONAS])
    given, notes = {}, []

    def compare(key, reference, real, others, *args, size, count, on_part, temperature):
        assert temperature == 1.0
        given[reference] = {each.label(reference): len(each.points) for each in others}
        return [], {}

    monkeypatch.setattr(populations_module, "compare_with_real", compare)
    compare_populations(
        KEY, {"trained": some, "ssr": everyone, "newton": few},
        of_procedure({"ssr": people, "newton": people}),
        truth.gram.prototypes, dataclasses.replace(SMALL, held_in_limit=len(truth.w) - 1), notes,
        on_part=lambda *_: None,
    )  # fmt: skip
    both = {"personas (ssr)": PERSONAS, "personas (newton)": PERSONAS}
    assert given["ssr"] == {"personas (ssr)": PERSONAS}
    assert given["newton"] == {"personas (newton)": PERSONAS}
    count = min(PERSONAS, (len(truth.w) - PERSONAS - 5) // 2)
    controls = {"real (ssr)": len(truth.w), "real (newton)": PERSONAS - 5}
    controls["real (no training pair)"] = PERSONAS + 5
    compared = {name: size for name, size in controls.items() if size >= count}
    assert given["trained"] == both | compared
    assert [n.split(":")[0] for n in notes if "held-in" in n] == ["no held-in coverage (ssr)"]
    assert len(notes) == 1 + len(controls) - len(compared)


# --- the encoder ----------------------------------------------------------------------------------


def test_held_out_accuracy_is_that_of_all_pairs_one_by_one(world):
    table, truth = world
    train, validation, test = table.split()
    known = np.arange(N) != 5
    none = np.zeros(1)
    trained = TrainedEncoder(
        truth.encoder, jnp.asarray(truth.w), jnp.zeros(12), known, none, none, none, 0
    )
    earlier = table.where(np.isin(np.arange(len(table)) % 20, np.arange(18)))
    assert len(earlier) == len(train) + len(validation)
    found = held_out_accuracies(KEY, trained, truth.gram, earlier, train, test, cap=None)
    scores = np.asarray(gram_scores(truth.gram, jnp.asarray(truth.w)))
    popularity = np.bincount(train.item, minlength=M)
    right = {"encoder": [], "popularity": []}
    for u in np.flatnonzero(known):
        late, all_of = test.user == u, table.user == u
        for a, r in zip(test.item[late], test.rating[late], strict=True):
            for b, s in zip(table.item[all_of], table.rating[all_of], strict=True):
                both_late = b in test.item[late]
                if abs(r - s) >= 1 and (not both_late or r > s):
                    sign = np.sign(r - s)
                    for name, values in (("encoder", scores[u]), ("popularity", popularity)):
                        right[name].append((1 + sign * np.sign(values[a] - values[b])) / 2)
    for name, wins in right.items():
        assert found[name].mean == pytest.approx(np.mean(wins), abs=1e-6)
        assert found[name].low < found[name].mean < found[name].high
    assert found["encoder"].mean > found["popularity"].mean + 0.1
    assert held_out_accuracies(KEY, trained, truth.gram, earlier, train, test, gap=9.0) == {}


def settings(**changes):
    training = TrainingSettings(epochs=2, batch_size=128, projector_rate=3e-3)
    return FidelitySettings(
        training=training, prototypes=3, hidden=(), dim=4, panel=SMALL, **changes
    )


def test_who_is_left_out_is_counted_and_training_resumes(world, tmp_path, monkeypatch):
    table, truth = world
    # User 1 likes all alike; personas 0 and 2 too.
    flat = dataclasses.replace(table, rating=np.where(table.user == 1, 3.0, table.rating))
    constant = np.isin(table.user, [0, 2])
    answers = dataclasses.replace(table, rating=np.where(constant, 4.0, table.rating))
    given = {}

    def populations(key, users, personas, *args, **kwargs):
        given.update(users=users, personas=personas)
        return [], {}

    monkeypatch.setattr(study, "compare_populations", populations)
    said = []
    arguments = (flat, truth.vectors, answers)
    # Users placed from as many ratings as personas: one program for both.
    options = {"key": KEY, "settings": settings(control="all"), "out": tmp_path}
    report = measure_fidelity(*arguments, **options, on_progress=said.append)
    assert report.counts["users_without_pairs"] == 1 and report.counts["constant_personas"] == 2
    assert report.counts["epochs"] == 2 and report.counts["paired_personas"] == 0
    assert [len(u.population()) for u in given["personas"].values()] == [N - 2, N - 2]
    assert len(given["users"]["trained"].population()) == N - 1
    assert not given["users"]["ssr"].there[1] and not report.paired and not report.notes
    loss = {r.procedure: r.mean for r in report.records
            if r.population == "personas" and r.metric == "placement_loss"}  # fmt: skip
    assert loss["newton"] <= loss["ssr"] < np.log(2)
    assert {p.label.partition(",")[0] for p in said} == {"encoder", "placing personas and users"}
    kept = sorted(tmp_path.rglob("*.npz"))
    whose = sorted(path.name.partition("-")[0] for path in kept)
    assert whose == ["encoder", "placement", "placement"]
    # The second call trains nothing, and finds the same.
    again = []
    same = measure_fidelity(*arguments, **options, on_progress=again.append)
    assert not [p for p in again if "pairs/s" in p.label]
    assert same.records == report.records and sorted(tmp_path.rglob("*.npz")) == kept

    flat = dataclasses.replace(answers, rating=np.ones(len(answers)))
    with pytest.raises(ValueError, match=r"personas: 0 of 60 have two ratings 1 or more apart"):
        measure_fidelity(arguments[0], truth.vectors, flat, **options)


def test_conditions_are_populations_of_their_own(world, tmp_path, monkeypatch):
    table, truth = world
    given, pairs = {}, {}

    def populations(key, users, personas, *args, **kwargs):
        given.update(personas)
        return [], {}

    def seeds(key, gram, ratings, seed_rows, users, personas, *args):
        pairs.update(personas)
        return [], {}

    monkeypatch.setattr(study, "compare_populations", populations)
    monkeypatch.setattr(study, "compare_pairs", seeds)
    conditions = ["a"] * 20 + ["b"] * 30 + ["few"] * (N - 50)
    flat = dataclasses.replace(table, rating=np.where(table.user >= 52, 3.0, table.rating))
    options = {"key": KEY, "settings": settings(control="all"), "out": tmp_path}
    report = measure_fidelity(
        table, truth.vectors, flat, conditions=conditions, seeds=list(table.users), **options
    )
    who = {name: np.flatnonzero(users.there).tolist() for name, users in given.items()}
    expected = {"personas: a": range(20), "personas: b": range(20, 50)}
    assert who == {(n, p): list(r) for n, r in expected.items() for p in ("ssr", "newton")}
    assert set(pairs) == set(given)
    assert report.notes == (
        f"no comparison with personas: few: 2 of {N - 50} have two ratings 1 or more apart; at "
        f"least {SMALL.k + 1} are needed",
    )
    losses = {r.population for r in report.records if r.metric == "placement_loss"}
    assert losses == {"personas: a", "personas: b", "personas: few", "real"}
    with pytest.raises(ValueError, match="`conditions`: 2 for 60 personas"):
        measure_fidelity(table, truth.vectors, flat, conditions=["a", "b"], **options)
    with pytest.raises(ValueError, match=f"`conditions`: persona '{table.users[1]}' has none"):
        some = ["a", "", *["b"] * (N - 2)]
        measure_fidelity(table, truth.vectors, flat, conditions=some, **options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, v: (t, v[:-1], t), "one row per item, 30 in all"),
        (lambda t, v: (t, np.where(v > 1, np.nan, v), t), "must be finite"),
        (lambda t, v: (t, v, t.compact().with_items([*t.items, "new"])), "must list the items"),
        (lambda t, v: (t.where(t.item == 0).compact(),) * 1 + (v[:1],)
         + (t.where(t.item == 0).compact(),), "at least two items"),
    ],
)  # fmt: skip
def test_bad_arrays_are_refused(world, change, words):
    table, truth = world
    with pytest.raises(ValueError, match=words):
        measure_fidelity(*change(table, truth.vectors), key=KEY, settings=settings())


def test_bad_seeds_and_settings_are_refused(world):
    table, truth = world
    for seeds, words in ((["0"], "1 for 60 personas"), (["nobody"] * N, "nobody")):
        with pytest.raises(ValueError, match=words):
            measure_fidelity(table, truth.vectors, table, key=KEY, seeds=seeds)
    with pytest.raises(ValueError, match="`control` must be one of"):
        FidelitySettings(control="some")
    with pytest.raises(ValueError, match="`resamples` must be positive"):
        PanelSettings(resamples=0)
