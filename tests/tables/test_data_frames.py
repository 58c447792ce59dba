"""Data frames of every kind: the same panel from each, results in each, and arrays by DLPack."""

import datetime
import re
import sys
from decimal import Decimal

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from frame_kinds import KINDS, OTHERS, Elsewhere, Tensor, polars

from syndigits_jax import Panel
from syndigits_jax.datasets import (
    load_distributions,
    load_panel,
    rating_table,
    read_items,
    read_personas,
    read_questions,
    read_table,
)
from syndigits_jax.datasets.tables import write_table
from syndigits_jax.evaluation import HoldOut, retest_answers
from syndigits_jax.respond import demographics_personas, survey_personas
from syndigits_jax.schema import Option, Question
from syndigits_jax.solvers.boundary import as_float, as_mask
from syndigits_jax.tables.frames import as_backend, backend_of, is_frame, new_frame
from syndigits_jax.workflows.distributions import weighted_counts
from syndigits_jax.workflows.fidelity.files import read_fidelity_files
from syndigits_jax.workflows.people import checked_weights

pa = pytest.importorskip("pyarrow")
pl = pytest.importorskip("polars")

NAMES = ["ann", "bob", "cyd", "dan"]
PLAIN = pd.DataFrame(
    {"q1": [1.0, 2.0, 3.0, 5.0], "q2": [2.0, 4.0, 4.0, 1.0], "q3": [3.0, 3.5, np.nan, 1.25]},
    index=pd.Index(NAMES, name="who"),
)
TWIN = PLAIN.fillna(2.0).iloc[::-1, ::-1] + 1.0


def same(found: Panel, wanted: Panel) -> None:
    assert (found.users, found.questions) == (wanted.users, wanted.questions)
    for ours, theirs in ((found.human, wanted.human), (found.twin, wanted.twin)):
        np.testing.assert_array_equal(ours, theirs)  # NaN equals NaN


@pytest.fixture(scope="module")
def wanted() -> Panel:
    return Panel.from_frames(PLAIN, TWIN)


# --- in -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("twins", KINDS)
@pytest.mark.parametrize("humans", KINDS)
def test_the_same_panel_from_any_two_kinds(humans, twins, wanted):
    human, twin = KINDS[humans](PLAIN), KINDS[twins](TWIN)
    assert is_frame(human) and is_frame(twin)
    same(Panel.from_frames(human, twin), wanted)
    same(load_panel(human, twin), wanted)
    assert wanted.users == tuple(NAMES) and wanted.twin[0].tolist() == [2.0, 3.0, 4.0]


COLUMNS = {
    "whole numbers": (pd.Series([1, 2, 3, 4]), [1, 2, 3, 4]),
    "small whole numbers": (pd.Series([1, 2, 3, 255], dtype="uint8"), [1, 2, 3, 255]),
    "nullable whole numbers": (pd.Series([1, None, 3, 4], dtype="Int16"), [1, np.nan, 3, 4]),
    "single precision": (pd.Series([0.1, 2, 3, 4], dtype="float32"), [np.float32(0.1), 2, 3, 4]),
    "nullable floats": (pd.Series([0.1, None, 3, 4], dtype="Float64"), [0.1, np.nan, 3, 4]),
    "flags": (pd.Series([True, False, True, True]), [1, 0, 1, 1]),
    "nullable flags": (pd.Series([True, None, False, True], dtype="boolean"), [1, np.nan, 0, 1]),
    "text": (pd.Series(["1", " 2.5", None, ""]), [1, 2.5, np.nan, np.nan]),
    "categories": (pd.Series(["3", None, "1", "3"], dtype="category"), [3, np.nan, 1, 3]),
    "decimals": (
        pd.Series([Decimal("1.5"), None, Decimal("2.0"), Decimal("3.0")]),
        [1.5, np.nan, 2, 3],
    ),
    "large whole numbers": (pd.Series([2**53 + 2, 1, 2, 3]), [2**53 + 2, 1, 2, 3]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_columns_of_every_type(kind):
    columns = {name: column.set_axis(NAMES) for name, (column, _) in COLUMNS.items()}
    frame = pd.DataFrame(columns).rename_axis("who")
    found = read_table(KINDS[kind](frame), numeric=False)
    assert found.index.tolist() == NAMES and found.index.name == "who"
    panel = Panel.from_frames(KINDS[kind](frame), frame)
    for j, (name, (_, cells)) in enumerate(COLUMNS.items()):
        np.testing.assert_array_equal(panel.human[:, j], np.array(cells, float), err_msg=name)


@pytest.mark.parametrize("kind", OTHERS)
def test_missing_cells_and_codes(kind):
    frame = PLAIN.assign(q4=[-99.0, 1.0, np.nan, 2.0], q5=["refused", "1", "2", None])
    panel = Panel.from_frames(KINDS[kind](frame), frame, missing="-99, refused")
    np.testing.assert_array_equal(panel.human[:, 3], [np.nan, 1, np.nan, 2])
    np.testing.assert_array_equal(panel.human[:, 4], [np.nan, 1, 2, np.nan])


def test_nan_and_null_are_both_missing_in_polars():
    human = pl.DataFrame(
        {"who": NAMES, "q1": [1.0, float("nan"), None, 2.0], "q2": [None, 1, 2, 3]}
    )
    panel = Panel.from_frames(human, PLAIN[["q1", "q2"]])
    np.testing.assert_array_equal(panel.human[:, 0], [1, np.nan, np.nan, 2])
    np.testing.assert_array_equal(panel.human[:, 1], [np.nan, 1, 2, 3])


@pytest.mark.parametrize("kind", OTHERS)
def test_the_column_of_identifiers(kind, wanted):
    frame = KINDS[kind](PLAIN.reset_index()[["q1", "who", "q2", "q3"]].set_index("q1"))
    same(Panel.from_frames(frame, KINDS[kind](TWIN), id_column="who"), wanted)
    numbered = PLAIN.set_axis(pd.Index([7, 8, 9, 10], name="id"))
    assert Panel.from_frames(KINDS[kind](numbered), numbered).users == ("7", "8", "9", "10")
    with pytest.raises(ValueError, match=re.escape("`human` has no column 'id' (`id_column`)")):
        Panel.from_frames(frame, TWIN, id_column="id")
    with pytest.raises(ValueError, match=r"first column 'q1' holds Float64.*by `id_column`"):
        Panel.from_frames(frame, TWIN)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_tables_are_refused_alike(kind):
    make = KINDS[kind]
    twice = PLAIN.set_axis(pd.Index(["ann", "bob", "ann", "dan"], name="who"))
    with pytest.raises(ValueError, match=r"`twin \(.*\)`: duplicate identifiers 'ann'"):
        Panel.from_frames(PLAIN, make(twice))
    nobody = PLAIN.set_axis(pd.Index(["ann", None, "cyd", "dan"], name="who"))
    with pytest.raises(ValueError, match="the identifier at position 1 is missing"):
        Panel.from_frames(make(nobody), TWIN)
    dated = PLAIN.assign(day=[datetime.datetime(2026, 1, day) for day in (1, 2, 3, 4)])
    with pytest.raises(ValueError, match=r"`human`: 1 column.*column 'day' holds dates"):
        Panel.from_frames(make(dated), TWIN)
    spans = PLAIN.assign(spent=[datetime.timedelta(hours=hour) for hour in (1, 2, 3, 4)])
    with pytest.raises(ValueError, match="column 'spent' holds durations"):
        Panel.from_frames(make(spans), TWIN)
    text = PLAIN.assign(sex=pd.Categorical(["f", "m", None, "f"]))
    with pytest.raises(ValueError, match="'f' at row 'ann'"):
        Panel.from_frames(make(text), TWIN)
    with pytest.raises(ValueError, match=r"is infinite|infinite responses"):
        Panel.from_frames(make(PLAIN.assign(q3=np.inf)), TWIN)
    with pytest.raises(ValueError, match="is a data frame, which carries identifiers"):
        Panel.from_arrays(make(PLAIN), TWIN.to_numpy())


def test_what_is_no_table_is_refused():
    with pytest.raises(ValueError, match="it is lazy: collect it first"):
        Panel.from_frames(polars(PLAIN).lazy(), TWIN)
    for array in (PLAIN.to_numpy(), jnp.ones((2, 2)), [[1, 2]]):
        with pytest.raises(ValueError, match=r"`human` must be a data frame.*`Panel.from_arrays`"):
            Panel.from_frames(array, TWIN)
        with pytest.raises(ValueError, match="`twin` must be the path of a table or a data frame"):
            load_panel(PLAIN, array)
    with pytest.raises(ValueError, match="`human` has no columns"):
        Panel.from_frames(pl.DataFrame(), TWIN)
    for value in (pl.Series([1]), pa.chunked_array([[1]]), np.ones(2), "table.csv", None):
        assert not is_frame(value)


def test_a_data_frame_given_is_not_changed():
    frame = PLAIN.set_axis(pd.Index([1.0, 2.0, 3.0, 4.0], name="who"))
    before = frame.copy()
    found = read_table(frame, missing="1")
    assert found.index.tolist() == ["1", "2", "3", "4"] and np.isnan(found.iloc[0, 0])
    pd.testing.assert_frame_equal(frame, before)


# --- arrays and columns ---------------------------------------------------------------------------


def test_arrays_by_dlpack():
    cells = np.array([[1.0, np.nan], [2.0, 3.0]])
    wanted = Panel.from_arrays(cells, cells + 1)
    for make in (Tensor, jnp.asarray, np.asfortranarray, lambda x: Tensor(x.astype(np.float32))):
        same(Panel.from_arrays(make(cells), make(cells + 1)), wanted)
    np.testing.assert_array_equal(as_float("x", Tensor(cells)), cells)
    np.testing.assert_array_equal(as_float("x", Tensor([1, 2])), [1, 2])
    np.testing.assert_array_equal(as_mask("x", Tensor([True, False])), [True, False])
    with pytest.raises(ValueError, match="`x`: the Elsewhere cannot be had by DLPack"):
        as_float("x", Elsewhere(cells))


def test_numbers_from_frames_and_columns():
    frame = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": pd.array([2, 4, None], "Int64")})
    cells = np.array([[1, 2], [np.nan, 4], [3, np.nan]])
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for kind in (table, table.to_batches()[0], pl.from_arrow(table), frame):
        np.testing.assert_array_equal(as_float("x", kind), cells)
    categories = pa.array(["1", None, "2"]).dictionary_encode()
    for column in (
        table["b"],
        table["b"].chunk(0),
        pl.from_arrow(table)["b"],
        pa.chunked_array([pa.array(["2", "4", None]).dictionary_encode()]),
    ):
        np.testing.assert_array_equal(as_float("x", column), [2, 4, np.nan])
    np.testing.assert_array_equal(as_float("x", categories), [1, np.nan, 2])
    dated = pa.table({"day": pa.array([datetime.date(2026, 1, 1)])})
    with pytest.raises(ValueError, match="`x` must hold numbers, got dates"):
        as_float("x", dated)
    assert as_mask("x", pl.Series([True, False])).tolist() == [True, False]


@pytest.mark.parametrize("kind", ["polars", "pyarrow"])
def test_identifiers_labels_and_weights_are_columns_too(kind):
    columns = KINDS[kind](
        pd.DataFrame(
            {"id": [1.0, 2.0, 3.0, 4.0], "sex": ["f", "f", None, "m"], "w": [1.0, 2.0, 0.0, 1.0]},
            index=pd.Index(NAMES, name="who"),
        )
    )
    panel = Panel.from_arrays(
        PLAIN.to_numpy(), TWIN.to_numpy(), users=columns["id"], questions=["a", "b", "c"]
    )
    assert panel.users == ("1", "2", "3", "4")
    assert panel.select(users=columns["id"]).users == panel.users
    assert panel.with_blocks(columns["sex"].slice(0, 3)).blocks == ("f", "f", "c")
    np.testing.assert_array_equal(checked_weights(columns["w"], panel.users), [1, 2, 0, 1])
    with pytest.raises(ValueError, match="`weights`: 1 of 4 people have no weight"):
        checked_weights(KINDS[kind](PLAIN)["q3"], panel.users)


# --- out ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["pandas", "polars", "pyarrow"])
def test_a_panel_in_every_kind_and_back(backend, wanted):
    human, twin = wanted.to_frames(backend)
    assert backend_of(human) == backend
    same(Panel.from_frames(human, twin), wanted)
    long = wanted.with_blocks(["a", "a", None]).to_long(backend)
    back = long if backend == "pandas" else long.to_pandas()
    assert back.columns.tolist() == ["user", "question", "block", "human", "twin"]
    assert back["user"].tolist()[:4] == ["ann", "ann", "ann", "bob"]
    assert back["block"].tolist()[:3] == ["a", "a", "q3"]
    for name in ("human", "twin"):
        wide = back.pivot(index="user", columns="question", values=name)
        np.testing.assert_array_equal(wide.to_numpy(float), getattr(wanted, name))


def test_missing_is_null_where_frames_have_it(wanted):
    human, _ = wanted.to_frames("polars")
    assert human["q3"].null_count() == 1 and not human["q3"].is_nan().any()
    assert wanted.to_frames("pyarrow")[0]["q3"].null_count == 1


def test_frames_that_cannot_be_made(wanted, monkeypatch):
    with pytest.raises(ValueError, match=re.escape("`backend` must be one of ('pandas', 'polars'")):
        wanted.to_frames("spark")
    with pytest.raises(ValueError, match="a column is called 'user'"):
        new_frame({"user": [1]}, "polars", ["ann"])
    with pytest.raises(ValueError, match="one is called 'human'"):
        HoldOut(
            "question", wanted, np.arange(1), wanted.human.T[:1], {"human": wanted.twin.T[:1]}
        ).to_long()
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ImportError, match="`backend`: polars is not installed"):
        wanted.to_frames("polars")


def test_hold_outs_in_long_form(wanted):
    truth, prediction = wanted.human.T[1:], wanted.twin.T[1:]
    rows = HoldOut("question", wanted, np.array([1, 2]), truth, {"Baseline": prediction}).to_long()
    assert rows["question"].tolist()[:4] == ["q2", "q3", "q2", "q3"]
    bob = rows[(rows["user"] == "bob") & (rows["question"] == "q3")]
    assert bob[["human", "Baseline"]].to_numpy().tolist() == [[3.5, 4.5]]
    people = HoldOut("user", wanted, np.array([3]), wanted.human[3:], {"A": wanted.twin[3:]})
    found = people.to_long("polars")
    assert found["user"].to_list() == ["dan"] * 3 and found["A"].to_list() == [6.0, 2.0, 2.25]


def test_results_of_objects_and_default_rows():
    frame = pd.DataFrame({"word": ["x", None], "n": [1, 2], "mixed": pd.array([1, None], "Int64")})
    found = as_backend(frame, "pyarrow")
    assert found.to_pydict() == {"word": ["x", None], "n": [1, 2], "mixed": [1, None]}
    named = as_backend(frame.set_axis(["a", "b"]), "polars", key="question")
    assert named.columns == ["question", "word", "n", "mixed"]


# --- everything that takes a table ----------------------------------------------------------------

OPTIONS = (Option(1, "Yes"), Option(2, "No"))


@pytest.mark.parametrize("kind", ["polars", "pyarrow"])
def test_tables_of_people_questions_and_items(kind, tmp_path):
    make = KINDS[kind]
    people = pd.DataFrame({"Age": ["18 to 39", None], "Job": ["nurse", "cook"]}, index=["a", "b"])
    people.index.name = "who"
    assert demographics_personas(make(people), ["Job", "Age"]) == demographics_personas(
        people, ["Job", "Age"]
    )
    answers = pd.DataFrame({"car": [1, 2], "dog": [2, 1]}, index=pd.Index(["a", "b"], name="who"))
    asked = [Question("car", "A car?", OPTIONS), Question("dog", "A dog?", OPTIONS)]
    assert survey_personas(make(answers), asked) == survey_personas(answers, asked)
    texts = pd.DataFrame({"text": ["A nurse.", "A cook."], "age": [45, None]}, index=people.index)
    personas = read_personas(make(texts))
    assert personas == read_personas(texts)
    assert personas[0].attributes == {"age": "45"} and personas[1].attributes == {}
    questions = pd.DataFrame({"options": ["1=Yes|2=No"], "low": [1], "high": [2], "step": [None]})
    questions.index = pd.Index(["q1"], name="identifier")
    assert read_questions(make(questions)) == read_questions(questions)
    assert read_questions(make(questions))[0].options == OPTIONS
    with pytest.raises(ValueError, match="`questions`: no column 'identifier'"):
        read_questions(make(answers))
    films = pd.DataFrame({"title": ["Alien"], "genre": ["Horror|Sci-Fi"]}, [1]).rename_axis("id")
    assert read_items(make(films)) == {"1": {"title": "Alien", "genre": "Horror, Sci-Fi"}}
    for frame in (make(PLAIN), PLAIN):
        write_table(tmp_path / "table.csv", frame)
        found = read_table(tmp_path / "table.csv")
        pd.testing.assert_frame_equal(
            found, PLAIN, check_dtype=False, check_index_type=False, check_column_type=False
        )


@pytest.mark.parametrize("kind", ["polars", "pyarrow"])
def test_tables_of_counts_ratings_and_second_answers(kind, wanted):
    make = KINDS[kind]
    counts = pd.DataFrame({"1": [30, 5], "2": [10.0, None]}, index=pd.Index(["q1", "q2"], name="q"))
    twins = pd.DataFrame({"q1": [1, 2], "q2": [1, 1], "q3": [1, 2]}, index=["t1", "t2"])
    twins.index.name = "twin"
    found = load_distributions(make(counts), make(twins), new_options={"q3": ["1", "2"]})
    other = load_distributions(counts, twins, new_options={"q3": ["1", "2"]})
    np.testing.assert_array_equal(found.counts, other.counts)
    np.testing.assert_array_equal(found.choices, other.choices)
    weight = np.array([1.0, 2.0, 1.0, 1.0])
    pd.testing.assert_frame_equal(
        weighted_counts(make(PLAIN), weight, make(TWIN)), weighted_counts(PLAIN, weight, TWIN)
    )
    np.testing.assert_array_equal(retest_answers(wanted, make(TWIN)), wanted.twin)
    ratings = pd.DataFrame({"item": ["x", "y", "x"], "rating": [5, 4, 3], "time": [1, 2, 3]})
    ratings.index = pd.Index(["u", "u", "v"], name="user")
    items = pd.DataFrame({"title": ["X", "Y"]}, index=pd.Index(["x", "y"], name="item"))
    personas = pd.DataFrame({"item": ["x"], "rating": [2], "seed": ["u"]}, index=["p"])
    personas.index.name = "persona"
    tables = ratings, items, personas
    found = read_fidelity_files(*map(make, tables))
    other = read_fidelity_files(*tables)
    np.testing.assert_array_equal(found.ratings.matrix(), [[5, 4], [3, np.nan]])
    np.testing.assert_array_equal(found.ratings.matrix(), other.ratings.matrix())
    assert (found.seeds, found.texts) == (("u",), ("X", "Y"))
    columns = make(ratings)
    parallel = rating_table(*(columns[name] for name in ("user", "item", "rating", "time")))
    np.testing.assert_array_equal(parallel.matrix(), other.ratings.matrix())
    with pytest.raises(ValueError, match="`personas`: no column 'item'"):
        read_fidelity_files(make(ratings), make(items), make(personas[["rating"]]))
