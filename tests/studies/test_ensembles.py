"""The tables of weighted ensembles on a small stand-in for the published data."""

import functools
import json

import numpy as np
import pytest
from published_layout import write_published_distributions

from syndigits_jax.distribution import DIVERGENCES
from syndigits_jax.results.records import read_results
from syndigits_jax.studies.syn_digits import ensembles
from syndigits_jax.studies.syn_digits.ensembles import EnsembleUnit, run_ensembles
from syndigits_jax.studies.syn_digits.paper_values import OPINIONQA, TABLE6

STEPS = 30
CONTROLS = ("uniform", "mean-distribution")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return write_published_distributions(tmp_path_factory.mktemp("published"))


@pytest.fixture
def counted(monkeypatch):
    """Count evaluations of units."""
    calls, real = [], ensembles.evaluate_ensembles

    def wrapped(unit, *args, **kwargs):
        calls.append(unit.label)
        return real(unit, *args, **kwargs)

    monkeypatch.setattr(ensembles, "evaluate_ensembles", wrapped)
    return calls


def by_key(records, construction="summary"):
    return {
        (r.dataset, r.setting, r.objective, r.variant, r.metric): r
        for r in records
        if r.construction == construction
    }


def opinions_only(patch):
    patch.setattr(ensembles, "_READERS", {OPINIONQA: ensembles._READERS[OPINIONQA]})


@pytest.fixture(scope="module")
def both_settings(published):
    """Table 6 of one data set in both settings, with few steps and a small grid of blends."""
    with pytest.MonkeyPatch.context() as patch:
        opinions_only(patch)
        small = functools.partial(ensembles.fit_blend, entropies=(0.0,), folds=3)
        patch.setattr(ensembles, "fit_blend", small)
        return run_ensembles("table6", published, setting="both", steps=STEPS)


def test_every_fit_and_control_has_every_test_divergence(both_settings):
    found = by_key(both_settings)
    for setting, variants in (
        ("reference", ("both", "personas", "dummies")),
        ("default", ("both", "personas", "dummies", "blend")),
    ):
        for variant in (*variants, *CONTROLS):
            objective = None if variant in CONTROLS else "cdf_l1"
            for metric in (*DIVERGENCES, "variance_ratio"):
                record = found[OPINIONQA, setting, objective, variant, metric]
                assert record.mean >= 0 and record.se >= 0 and record.count == 3
                assert record.table == "table6" and record.direction == "question"
                assert (record.seconds is None) == (variant in CONTROLS)
    assert len({r.key for r in both_settings}) == len(both_settings)
    methods = {r.variant: r.method for r in both_settings}
    assert methods["uniform"] == "Baseline" and methods["both"] == "WeightedEnsemble"


def test_the_default_also_compares_without_refusals(both_settings):
    found = by_key(both_settings, "summary-without-refused")
    with_refusals = by_key(both_settings)
    assert {key[1] for key in found} == {"default"}
    for key, record in found.items():
        assert record.paper_mean is None
        if key[-1] in ("cdf_l1", "cdf_l2"):
            # There refusals count as the highest rank.
            assert record.mean != with_refusals[key].mean


def test_controls_do_not_depend_on_the_setting(both_settings):
    found = by_key(both_settings)
    for variant in CONTROLS:
        for metric in DIVERGENCES:
            reference, default = (
                found[OPINIONQA, setting, None, variant, metric].mean
                for setting in ("reference", "default")
            )
            assert reference == default


def test_the_default_is_certified_and_fits_better_than_few_published_steps(both_settings):
    found = by_key(both_settings)
    for variant in ("both", "personas", "dummies"):
        key = (OPINIONQA, "default", "cdf_l1", variant)
        assert 0 <= found[*key, "gap"].mean <= 1e-3
        assert found[*key, "tv"].gap == found[*key, "gap"].mean
        assert found[*key, "effective_sample_size"].mean >= 1
    training = [
        found[OPINIONQA, setting, "cdf_l1", "both", "training"].mean
        for setting in ("default", "reference")
    ]
    assert training[0] < training[1]
    # Personas and dummies can do whatever one of them can.
    for variant in ("personas", "dummies"):
        one = found[OPINIONQA, "default", "cdf_l1", variant, "training"].mean
        assert training[0] <= one + 1e-3
    share = found[OPINIONQA, "default", "cdf_l1", "blend", "share_of_mean"].mean
    assert 0 <= share <= 1


def test_the_reference_reports_what_leaks_into_the_frozen_block(both_settings):
    found = by_key(both_settings)
    for variant in ("personas", "dummies"):
        leaked = found[OPINIONQA, "reference", "cdf_l1", variant, "leaked_mass"]
        assert 0 < leaked.mean < 1 and leaked.gap is None
    assert found[OPINIONQA, "reference", "cdf_l1", "both", "leaked_mass"].mean == 0


def test_paper_values_stand_beside_what_the_paper_printed(both_settings):
    found = by_key(both_settings)
    for metric in DIVERGENCES:
        printed = TABLE6[OPINIONQA, "both"][metric]
        assert found[OPINIONQA, "reference", "cdf_l1", "both", metric].paper_mean == printed
        # The default is another fit than the paper's; the uniform ensemble is the same.
        assert found[OPINIONQA, "default", "cdf_l1", "both", metric].paper_mean is None
        for setting in ("reference", "default"):
            uniform = found[OPINIONQA, setting, None, "uniform", metric]
            assert uniform.paper_mean == TABLE6[OPINIONQA, "uniform"][metric]
    with_paper = {r.variant for r in both_settings if r.paper_mean is not None}
    assert with_paper == {"both", "uniform"}
    assert {r.metric for r in both_settings if r.paper_mean is not None} == set(DIVERGENCES)


def test_tables_9_and_10_hold_all_21_fits_and_come_back_from_the_file(
    published, tmp_path, monkeypatch
):
    opinions_only(monkeypatch)
    records = run_ensembles("tables9-10", published, out=tmp_path, steps=STEPS)
    assert len({(r.objective, r.variant) for r in records if r.objective}) == 21
    document = json.loads((tmp_path / "results.json").read_text())
    fields = next(r for r in document["records"] if r["variant"] == "personas")
    assert (fields["objective"], fields["setting"]) == ("tv", "reference")
    assert "objective" not in next(r for r in document["records"] if r["variant"] == "uniform")
    _, stored = read_results(tmp_path / "results.json")
    assert [r.key for r in stored] == [r.key for r in records]
    np.testing.assert_allclose([r.mean for r in stored], [r.mean for r in records])


def test_a_second_run_computes_nothing(published, tmp_path, counted):
    seen = []

    def again(**options):
        seen.clear()
        options = {"out": tmp_path, "steps": STEPS} | options
        return run_ensembles("table6", published, on_progress=lambda *p: seen.append(p), **options)

    first = again()
    assert [place[:2] for place in seen] == [(0, 2), (0, 2), (1, 2), (1, 2)]
    assert counted == [seen[0][2], seen[2][2]]
    assert seen[0][2] == "movielens, answer distributions, reference"
    assert [place[3:] for place in seen[:2]] == [(0, STEPS, False), (STEPS, STEPS, False)]
    text = (tmp_path / "results.json").read_text()
    assert again() == first and len(counted) == 2
    assert [place[5] for place in seen] == [True, True]
    assert (tmp_path / "results.json").read_text() == text
    # Other steps are other units.
    again(steps=STEPS + 1)
    assert len(counted) == 4


def test_an_interrupted_run_resumes_after_its_last_finished_unit(published, tmp_path, counted):
    def stop(unit, units, label, done, total, resumed):
        if unit == 1 and done > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_ensembles("table6", published, out=tmp_path, steps=STEPS, on_progress=stop)
    files = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 1 and files[0].endswith(".npz")
    run_ensembles("table6", published, out=tmp_path, steps=STEPS)
    assert len(counted) == 3 and (tmp_path / "results.json").exists()


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ("table9", {}, "unknown table 'table9'; known: table6, tables9-10"),
        ("table6", {"setting": "paper"}, "unknown setting 'paper'"),
    ],
)
def test_unknown_names_are_refused(published, tmp_path, table, options, message):
    with pytest.raises(ValueError, match=message):
        run_ensembles(table, published, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_missing_data_are_reported_with_where_to_get_them(tmp_path):
    with pytest.raises(FileNotFoundError, match="git clone"):
        run_ensembles("table6", tmp_path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_units_name_their_fits():
    unit = EnsembleUnit("table6", OPINIONQA, "default")
    assert unit.fits == [("cdf_l1", v) for v in ("both", "personas", "dummies")]
    assert len(EnsembleUnit("tables9-10", OPINIONQA, "default").fits) == 21
