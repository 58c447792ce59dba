"""Workflows of data frames instead of files: the same numbers, in the caller's kind of frame."""

import numpy as np
import pandas as pd
import pytest
from frame_kinds import KINDS
from small_panels import small_panel

from syndigits_jax.calibration import Ridge, calibrate_question
from syndigits_jax.panel import Panel
from syndigits_jax.tables.frames import backend_of
from syndigits_jax.workflows import personas
from syndigits_jax.workflows.calibrate import calibrate_files, calibrate_panel
from syndigits_jax.workflows.distributions import calibrate_distribution_files
from syndigits_jax.workflows.evaluate.checks import inputs_of
from syndigits_jax.workflows.evaluate.inputs import read_inputs
from syndigits_jax.workflows.target import TargetEstimate, estimate_target_files

OTHERS = ["polars", "pyarrow"]


@pytest.fixture(scope="module")
def panel() -> Panel:
    return small_panel(missing=0.0)


@pytest.fixture(scope="module")
def tables(panel):
    """The panel's tables without the last question's answers, and columns that are no question."""
    human, twin = panel.to_frames()
    human = human.iloc[:, :-1].assign(sex=["f", "m"] * (panel.n // 2), weight=1.0)
    human.loc[panel.users[0], "weight"] = 3.0
    return human, twin


def same_frame(found, wanted: pd.DataFrame, backend: str) -> None:
    """The frame is of the kind, its first column the index of the wanted one."""
    assert backend_of(found) == backend
    found = found.to_pandas()
    found = found.set_index(found.columns[0])
    pd.testing.assert_frame_equal(
        found, wanted.rename_axis(found.index.name), check_exact=True, check_dtype=False
    )


@pytest.mark.parametrize("kind", OTHERS)
def test_calibrate_gives_the_kind_that_it_is_given(kind, tables, tmp_path):
    human, twin = (table.drop(columns="sex", errors="ignore") for table in tables)
    for name, table in (("human", human), ("twin", twin)):
        table.to_csv(tmp_path / f"{name}.csv")
    wanted = calibrate_files(
        tmp_path / "human.csv", tmp_path / "twin.csv", "ridge", weights="weight"
    )
    pandas = calibrate_files(human, twin, "ridge", weights="weight")
    pd.testing.assert_frame_equal(pandas.predictions, wanted.predictions, check_exact=True)
    make = KINDS[kind]
    found = calibrate_files(make(human), make(twin), "ridge", weights="weight")
    same_frame(found.predictions, wanted.predictions, kind)
    same_frame(found.report, wanted.report, kind)
    np.testing.assert_array_equal(found.weight, wanted.weight)
    mixed = calibrate_files(human, make(twin), "ridge", weights="weight", backend=kind)
    same_frame(mixed.predictions, wanted.predictions, kind)


def test_calibrate_names_the_table_that_is_wrong(tables):
    human, twin = tables
    with pytest.raises(ValueError, match="`twin` has a default index"):
        calibrate_files(human, twin.reset_index(drop=True), "ridge")
    with pytest.raises(ValueError, match="`human` must be the path of a table or a data frame"):
        calibrate_files(human.to_numpy(), twin, "ridge")
    with pytest.raises(ValueError, match="no column 'wieght' in `human` or `twin`"):
        calibrate_files(KINDS["polars"](human), twin, "ridge", weights="wieght")


def test_calibrate_panel_in_a_kind(panel):
    asked = panel.with_missing(human=np.arange(panel.m)[None] + 0 * panel.human == panel.m - 1)
    wanted = calibrate_panel(asked, Ridge(2.0), "question")
    found = calibrate_panel(asked, Ridge(2.0), "question", backend="polars")
    assert found.predictions.columns == ["user", panel.questions[-1]]
    same_frame(found.predictions, wanted.predictions, "polars")
    assert found.report.columns[0] == "question"


@pytest.mark.parametrize("kind", ["pandas", *OTHERS])
def test_arrays_are_matched_by_position_and_frames_checked(kind, panel):
    human, twin = panel.to_frames()
    wanted = calibrate_question(Ridge(2.0), panel.human[:, :-1], panel.twin).prediction
    plain = [frame.reset_index(drop=True) for frame in (human.iloc[:, :-1], twin)]
    if kind != "pandas":
        plain = [KINDS[kind](frame.set_index(frame.columns[0])) for frame in plain]
    found = calibrate_question(Ridge(2.0), *plain).prediction
    np.testing.assert_array_equal(found, wanted)
    turned = plain[1][list(panel.questions[::-1])] if kind == "pandas" else plain[1].select(
        list(panel.questions[::-1])
    )  # fmt: skip
    with pytest.raises(ValueError, match="the labels of its columns differ"):
        calibrate_question(Ridge(2.0), plain[0], turned)


@pytest.mark.parametrize("kind", OTHERS)
def test_an_evaluation_of_frames(kind, panel, tables):
    human, twin = tables
    make = KINDS[kind]
    people = human[["sex", "weight"]].assign(region=np.arange(panel.n) % 3)
    answers = human.drop(columns=["sex", "weight"])
    questions = pd.DataFrame({"identifier": answers.columns, "block": "a"}).set_index("identifier")
    columns = {"weights": "weight", "groups": ("sex", "region")}
    options = {"people": people, "questions": questions, "retest": answers.iloc[:5]}
    wanted = read_inputs(answers, twin, **options, **columns)
    found = read_inputs(
        make(answers), make(twin), **{name: make(one) for name, one in options.items()}, **columns
    )
    for name in ("human", "twin"):
        np.testing.assert_array_equal(getattr(found.panel, name), getattr(wanted.panel, name))
    assert found.groups == wanted.groups and found.groups["region"] == ("0", "1", "2") * 8
    assert found.panel.blocks == wanted.panel.blocks and found.names == {}
    np.testing.assert_array_equal(found.weight, wanted.weight)
    np.testing.assert_array_equal(found.retest, wanted.retest)
    given = make(people)
    labels = inputs_of(
        panel, weights=given["weight"], groups={"sex": given["sex"]}, arms=given["region"],
        retest=make(answers),
    )  # fmt: skip
    assert labels.groups == {"sex": found.groups["sex"]} and labels.arms == ("0", "1", "2") * 8
    np.testing.assert_array_equal(labels.weight, wanted.weight)


@pytest.mark.parametrize("kind", OTHERS)
def test_an_estimate_of_one_question(kind, monkeypatch, tables):
    seen = {}

    def kept(panel, target, **options):
        seen.update(panel=panel, **options)
        return TargetEstimate(target, "mean", 0.95, {}, "", 0)

    monkeypatch.setattr("syndigits_jax.workflows.target.estimate_target", kept)
    human, twin = map(KINDS[kind], tables)
    estimate_target_files(human, twin, "question_0", weights="weight", group="sex")
    assert seen["group"] == ("f", "m") * 12 and seen["sample_weight"][0] == 3
    assert seen["panel"].questions == tuple(tables[1].columns)


@pytest.mark.parametrize("kind", OTHERS)
def test_distributions_of_frames(kind):
    rng = np.random.default_rng(0)
    names = [f"q{j}" for j in range(6)]
    counts = pd.DataFrame(rng.integers(5, 50, (5, 3)), names[:5], ["1", "2", "3"])
    twins = pd.DataFrame(rng.integers(1, 4, (8, 6)), [f"t{i}" for i in range(8)], names)
    counts.index.name, twins.index.name = "question", "twin"
    options = {"divergence": "kl", "blend": False}
    wanted = calibrate_distribution_files(counts, twins, **options)
    make = KINDS[kind]
    found = calibrate_distribution_files(make(counts), make(twins), **options)
    same_frame(found.predictions, wanted.predictions, kind)
    same_frame(found.report, wanted.report, kind)


@pytest.mark.parametrize("kind", ["pandas", *OTHERS])
def test_personas_of_frames(kind, tmp_path):
    """Those of files, whichever table they are built from."""
    answers = pd.DataFrame({"a": [1, 2], "b": [2, 1]}, index=["u1", "u2"])
    asked = pd.DataFrame({"text": ["A car?", "A dog?"], "block": list("xy")}, index=["a", "b"])
    told = pd.DataFrame({"Age": ["30-49", "50+"], "summary": ["Kind.", "Shy."]}, ["u1", "u2"])
    rated = pd.DataFrame({"user": ["u1", "u1", "u2"], "item": list("fgf"), "rating": [5, 3, 1]})
    films = pd.DataFrame({"title": ["Alien", "Up"]}, index=list("fg"))
    asked.index.name, films.index.name = "identifier", "item"
    answers.index.name = told.index.name = "who"
    rated = rated.set_index("user")
    tables = {"human": answers, "questions": asked, "table": told, "ratings": rated, "items": films}
    files = {name: tmp_path / f"{name}.csv" for name in tables}
    for name, table in tables.items():
        table.to_csv(files[name])
    make = KINDS[kind]
    frames = {name: make(table) for name, table in tables.items()}
    for function, names, options in (
        (personas.survey, ("human", "questions"), {"ask": ["b"], "people": 1}),
        (personas.demographics, ("table",), {}),
        (personas.summary, ("table",), {"people": 1}),
        (personas.history, ("ratings", "items"), {"ask": ["g"], "people": 2}),
        (personas.grounded, ("ratings", "items"), {"people": 1, "fewest": 1}),
    ):
        wanted = function(*(files[name] for name in names), **options)
        assert function(*(frames[name] for name in names), **options) == wanted and wanted
    questions = {"questions": frames["questions"]}
    assert len(personas.survey(frames["human"], ask_questions=make(asked[:1]), **questions)) == 2
    with pytest.raises(ValueError, match="`people`: 3 wanted, but `human` has 2"):
        personas.survey(frames["human"], people=3, **questions)
    with pytest.raises(ValueError, match=r"^`table`: .*'Sex'"):
        personas.demographics(frames["table"], column=["Sex"])
