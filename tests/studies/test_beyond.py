"""The study of the estimator, on a small stand-in for the published data."""

import json
import subprocess
import sys

import numpy as np
import pytest
from published_layout import DEFAULT, OTHER, write_published
from typer.testing import CliRunner

from syndigits_jax.cli.app import app
from syndigits_jax.evaluation import HoldOut
from syndigits_jax.evaluation.controls import controls
from syndigits_jax.panel import Panel
from syndigits_jax.results.records import Record, read_results
from syndigits_jax.studies.beyond import study, units
from syndigits_jax.studies.beyond.comparison import findings, notes, tables
from syndigits_jax.studies.beyond.study import run_beyond
from syndigits_jax.studies.beyond.summaries import METRICS, papers_best, summary
from syndigits_jax.studies.beyond.units import Unit, hold_out, load, plan

FILMS, SURVEY = "movielens", "twin-2k-500"
CHOSEN = ("--dataset", SURVEY, "--construction", OTHER)


def run(*arguments):
    return CliRunner().invoke(app, ["reproduce", "beyond", *map(str, arguments)])


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return write_published(tmp_path_factory.mktemp("published"))


def of_twins(direction, asked):
    """A hold-out that predicts the twins' answers less a tenth, and notes what it is asked."""

    def hold_out(panel, *, on_fit, **options):
        asked.append((direction, options))
        on_fit(1, 1)
        at = np.arange(panel.m if direction == "question" else panel.n)
        cells = (lambda x: x.T) if direction == "question" else (lambda x: x)
        twin, codes = cells(panel.twin), {"Auto": np.zeros(len(at), np.int32)}
        alone = {"Ridge": twin**2} if direction == "question" else {}
        return HoldOut(
            direction=direction,
            panel=panel,
            targets=at,
            truth=cells(panel.human),
            predictions={**controls(panel, at, direction), "Auto": twin - 0.1, **alone},
            status=codes,
            imputation_status=codes,
        )

    return hold_out


@pytest.fixture(scope="module")
def done(published, tmp_path_factory):
    """What the command prints, the folder that it wrote and what was asked of the estimator."""
    out, asked = tmp_path_factory.mktemp("out"), []
    with pytest.MonkeyPatch.context() as patch:
        for direction in ("question", "user"):
            patch.setattr(units, f"hold_out_{direction}s", of_twins(direction, asked))
        result = run("--data", published, "--out", out, *CHOSEN)
    assert result.exit_code == 0, result.output
    return result, out, asked


def test_the_plan(published):
    planned = [(u.dataset, u.construction, u.setting) for u in plan(published)]
    films = [(FILMS, "zero-shot", setting) for setting in ("known battery", "new users")]
    surveys = [
        (SURVEY, construction, setting)
        for construction in (DEFAULT, OTHER)
        for setting in ("known battery", "new survey", "new users")
    ]
    assert planned == films + surveys
    assert [u.direction for u in plan(published, datasets=[FILMS])] == ["question", "user"]
    some = plan(published, datasets=[SURVEY], constructions=[OTHER.lower()])
    assert {u.construction for u in some} == {OTHER}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--dataset", "movielense"],
            "--dataset 'movielense' is unknown; did you mean `movielens`",
        ),
        (["--construction", "JSON"], "unknown construction 'JSON'"),
        (["--dataset", FILMS, "--construction", OTHER], "--construction: movielens has only one"),
    ],
)
def test_unknown_names_are_refused_before_any_work(published, tmp_path, arguments, words):
    result = run("--data", published, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2 and words in result.stderr, result.output
    assert not (tmp_path / "out").exists()


# --- summaries ----------------------------------------------------------------------------------


def by_hand(metric, values):
    if metric == "pearson_fisher_z":
        return np.tanh(np.arctanh(values).mean())
    return np.sqrt((values**2).mean()) if metric == "mean_rmse_over_range" else values.mean()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("paired", [False, True])
def test_standard_errors_leave_out_one_group_in_turn(metric, paired):
    rng = np.random.default_rng(0)
    group = np.array([0, 0, 0, 3, 3, 1, 2, 2, 2, 2])
    scores, other = rng.uniform(-0.9, 0.9, (2, 10))
    scores[4] = other[8] = np.nan
    kept = ~np.isnan(scores) & ~(np.isnan(other) & paired)

    def value(where):
        base = by_hand(metric, other[where]) if paired else 0.0
        return by_hand(metric, scores[where]) - base

    without = np.array([value(kept & (group != g)) for g in range(4)])
    expected = np.sqrt(3 / 4 * np.sum((without - without.mean()) ** 2))
    mean, se, count = summary(metric, group, scores, other if paired else None)
    np.testing.assert_allclose([mean, se], [value(kept), expected], rtol=1e-4, atol=1e-6)
    assert count == kept.sum()


def test_one_group_has_no_standard_error_and_no_targets_no_mean():
    mean, se, count = summary("pearson", np.zeros(3, int), np.array([0.1, 0.3, np.nan]))
    assert mean == pytest.approx(0.2) and np.isnan(se) and count == 2
    assert np.isnan(summary("pearson", np.zeros(2, int), np.full(2, np.nan))[0])


def test_the_papers_best_method():
    name, value = papers_best(Unit(FILMS, "zero-shot", "known battery"))
    assert (name, value.mean, value.se) == ("ElasticNet", 0.524, 0.005)
    assert papers_best(Unit(FILMS, "zero-shot", "new users"))[1].mean == 0.377
    assert papers_best(Unit(SURVEY, OTHER, "known battery"))[1].mean == 0.223
    assert papers_best(Unit(SURVEY, DEFAULT, "new users"))[1].mean == 0.877
    # Not printed: other constructions' new users, and whole surveys left out.
    assert papers_best(Unit(SURVEY, OTHER, "new users")) is None
    assert papers_best(Unit(SURVEY, DEFAULT, "new survey")) is None


# --- a run --------------------------------------------------------------------------------------


def test_the_estimator_itself(published, tmp_path):
    """In a process of its own, as users run it."""
    command = [sys.executable, "-m", "syndigits_jax.cli", "reproduce", "beyond", "--json"]
    options = ["--data", published, "--out", tmp_path, "--dataset", FILMS]
    ended = subprocess.run([*command, *options], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["status"] == "done"
    _, records = read_results(tmp_path / "results.json")
    found = {(r.setting, r.method, r.metric): r for r in records}
    for setting in ("known battery", "new users"):
        for metric in METRICS:
            record = found[setting, "Auto", metric]
            assert np.isfinite(record.mean) and record.se > 0
            assert found[setting, "Auto", f"{metric}_less_InContext"].count == record.count
    assert ("known battery", "ElasticNet alone", "pearson") in found
    # Twins that know something of their people are not lost.
    assert found["known battery", "Auto", "pearson"].mean > 0.3


def test_blocks_are_left_out_where_there_are_any(done):
    _, _, asked = done
    blocks = tuple(f"Q{j + 1}" for j in range(10))
    assert asked == [
        ("question", {"setting": "known battery", "blocks": blocks}),
        ("question", {"setting": "new survey", "blocks": blocks}),
        ("user", {}),
    ]
    panel = Panel.from_arrays(*np.random.default_rng(0).normal(size=(2, 6, 4)),
                              questions=["1_Q7", "2_Q7", "Q5_1", "Q5_2"])  # fmt: skip
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(units, "hold_out_questions", of_twins("question", asked))
        surveys = hold_out(Unit(SURVEY, OTHER, "new survey"), panel, lambda *_: None)
        films = hold_out(Unit(FILMS, "zero-shot", "known battery"), panel, lambda *_: None)
    assert surveys["group"].tolist() == [1, 1, 0, 0]
    assert len(set(films["group"].tolist())) == 4
    assert [options["blocks"] for _, options in asked] == [("Q7", "Q7", "Q5", "Q5"), None]


def test_every_prediction_is_recorded_as_it_scores(published, done):
    _, records = read_results(done[1] / "results.json")
    found = {(r.setting, r.method, r.metric): r for r in records}
    assert len(found) == len(records)
    panel = load(published, SURVEY, OTHER).with_observed_ranges()
    width = panel.high - panel.low
    for setting in ("known battery", "new survey"):
        methods = {r.method for r in records if r.setting == setting and r.mean is not None}
        assert {"Baseline", "UserMean", "ZScoredUserMean", "Auto", "Ridge alone"} <= methods
    error = np.nanmean(panel.twin, axis=0) - np.nanmean(panel.human, axis=0)
    expected = {
        "pearson": np.mean(
            [
                np.corrcoef(panel.twin[seen, j], panel.human[seen, j])[0, 1]
                for j, seen in enumerate((panel.human_mask & panel.twin_mask).T)
            ]
        ),
        "mse_over_range2": np.mean(np.nanmean(((panel.twin - panel.human) / width) ** 2, axis=0)),
        "mean_rmse_over_range": np.sqrt(np.mean((error / width) ** 2)),
    }
    for metric, value in expected.items():
        assert found["known battery", "Baseline", metric].mean == pytest.approx(value, rel=1e-4)
    # Of a person, the mean over the questions that both answered.
    gap = np.nanmean((panel.twin - panel.human) / width, axis=1)
    people = found["new users", "Baseline", "mean_rmse_over_range"]
    assert people.mean == pytest.approx(np.sqrt(np.mean(gap**2)), rel=1e-4)
    assert people.count == panel.n and ("new users", "ItemMean", "pearson") in found
    lead = found["known battery", "Auto", "pearson_less_Baseline"]
    auto = found["known battery", "Auto", "pearson"].mean
    assert lead.mean == pytest.approx(auto - expected["pearson"], abs=1e-5)
    lead = found["new survey", "Auto", "mse_over_range2_less_Baseline"]
    gap = np.nanmean(((panel.twin - panel.human - 0.1) / width) ** 2, axis=0)
    expected = gap.mean() - expected["mse_over_range2"]
    assert lead.mean == pytest.approx(expected, rel=1e-3) and lead.se > 0


def test_the_command_prints_tables_and_what_they_must_be_read_with(done):
    result, out, _ = done
    for text in (
        f"{SURVEY}, {OTHER}: known battery, 10 questions",
        f"{SURVEY}, {OTHER}: new survey, 10 questions",
        f"{SURVEY}, {OTHER}: new users, 24 users",
        "z-scored mean",
        "0.223 ± 0.018",
        "auto is ahead of the best control in",
        "leave out one question or person at a time",
    ):
        assert text in result.stdout, text
    assert f"[3/3] {OTHER}, new users: done in" in result.stderr
    assert str(out / "results.json") in result.stdout.replace("\n", "")


def test_a_second_run_computes_nothing(published, done, monkeypatch):
    result, out, _ = done
    monkeypatch.setattr(study, "hold_out", lambda *_: pytest.fail("computed again"))
    again = run("--data", published, "--out", out, *CHOSEN, "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout) == {"status": "done", "written": [str(out / "results.json")]}
    again = run("--data", published, "--out", out, *CHOSEN)
    assert again.stdout == result.stdout and again.stderr.count("resumed") == 3


def test_an_interrupt_keeps_finished_hold_outs(published, tmp_path, monkeypatch):
    asked = []

    def scores(unit, panel, on_fit):
        asked.append(unit.setting)
        if len(asked) == 2:
            raise KeyboardInterrupt
        on_fit(1, 1)
        held = {f"{name}/{s}": np.ones(4) for name in ("Baseline", "Auto")
                for s in ("pearson", "squared_error", "mean_error")}  # fmt: skip
        status = {f"Auto/{s}": np.zeros(4, int) for s in ("status", "imputation_status")}
        return {**held, **status, "group": np.arange(4)}

    monkeypatch.setattr(study, "hold_out", scores)
    options = {"datasets": [SURVEY], "constructions": [OTHER], "out": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        run_beyond(published, **options)
    assert not (tmp_path / "results.json").exists()
    run_beyond(published, **options)
    assert asked == ["known battery", "new survey", "new survey", "new users"]


# --- what the tables say ------------------------------------------------------------------------


def made_up(setting="known battery", construction=DEFAULT, **changes):
    """Records of a hold-out, every metric alike: the estimator is ahead of both controls."""
    direction = "user" if setting == "new users" else "question"
    means = {"Baseline": 0.2, "UserMean": 0.1, "Auto": 0.3, "Ridge alone": 0.25}
    means |= {"Auto_less_Baseline": 0.1, "Auto_less_UserMean": 0.2} | changes
    records = []

    def add(method, metric, mean, se=0.01, **more):
        place = SURVEY, construction, direction, method, setting, metric
        records.append(Record("beyond", *place, mean, se, 10, **more))

    for name, mean in means.items():
        method, _, control = name.partition("_less_")
        for metric in METRICS:
            sign = -1 if control and not metric.startswith("pearson") else 1
            base = mean if metric.startswith("pearson") or control else 0.5 - mean
            add(method, f"{metric}_less_{control}" if control else metric, sign * base)
    add("Auto", "converged", 0.9, None)
    if setting == "known battery":
        add("ElasticNet", "pearson", None, None, paper_mean=0.28, paper_se=0.02)
    return records


def test_the_best_of_each_row_and_what_it_is_called():
    [table] = tables(made_up())
    correlation, _, squares, means = table.rows
    assert list(correlation.controls) == ["Baseline", "UserMean"]
    assert correlation.lead.name == squares.lead.name == "Baseline"
    assert (correlation.lead.mean, squares.lead.mean) == (0.1, -0.1)
    assert (correlation.alone.mean, correlation.alone.name) == (0.25, "Ridge")
    assert (squares.alone.mean, means.twins_lead.mean) == (0.25, -0.1)
    assert (correlation.published.mean, correlation.published.name) == (0.28, "ElasticNet")
    assert squares.published is None and table.converged == 0.9 and table.count == 10


def test_recorded_methods_count_where_one_question_of_a_known_battery_is_left_out():
    place = SURVEY, DEFAULT, "question", "Lasso", "default", "pearson"
    lasso = Record("table4", *place, 0.27, 0.01, 10)
    known, survey = tables([*made_up(), *made_up("new survey"), lasso])
    assert (known.rows[0].alone.name, known.rows[0].alone.mean) == ("Lasso", 0.27)
    assert known.rows[2].alone.name == survey.rows[0].alone.name == "Ridge"
    [other] = tables([*made_up(construction=OTHER), lasso])
    assert other.rows[0].alone.name == "Ridge"


def test_findings_count_and_name_what_falls_short():
    ahead = made_up(Auto_less_UserMean=0.2)
    level = {"Auto": 0.15, "Auto_less_Baseline": -0.05}
    said = findings(tables([*ahead, *made_up(construction=OTHER, **level)]))
    text = "\n".join(said)
    assert "correlation: auto is ahead of the best control in 1 of 2 panels, in 1 by more" in text
    assert f"paper's best method in 1 of 2 panels; not in {OTHER} (0.1500 ± 0.0100;" in text
    assert "correlation: auto is ahead of the best single method in 1 of 2 panels" in text
    assert f"where a control is ahead of auto: {OTHER}, correlation: Baseline, by -0.0500" in text
    # .2 against .3 of the range is lower by a quarter; .35 is not lower.
    assert "is 0.67 to 1.17 times the twins'" in text and "standard errors, in 1 of 2" in text
    assert "where a control is ahead" not in "\n".join(findings(tables(ahead)))


def test_constructions_are_called_one_sample():
    one, two = tables(made_up()), tables([*made_up(), *made_up(construction=OTHER)])
    assert not any("sample of people" in text for text in notes(one, False))
    assert (
        "2 constructions of Twin-2K-500 are 2 kinds of twins of one sample" in notes(two, False)[0]
    )
    assert any("reproduce table2" in text for text in notes(one, False))
    assert any("ten methods as recorded here" in text for text in notes(one, True))
