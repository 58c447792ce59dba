"""Panels align by identifier, keep their input unchanged, and refuse misleading input."""

import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from syndigits_jax.panel import Panel
from syndigits_jax.schema import Scale

NAN = np.nan


def small(**changes) -> Panel:
    fields = {
        "human": [[1.0, 2.0, NAN], [3.0, NAN, 5.0], [2.0, 2.0, 4.0], [1.0, 5.0, 3.0]],
        "twin": [[1.0, 3.0, 3.0], [3.0, 3.0, 4.0], [2.0, 3.0, 4.0], [NAN, 3.0, 3.0]],
        "users": ["ann", "bob", "cyd", "dan"],
        "questions": ["q1", "q2", "q3"],
    }
    return Panel.from_arrays(**{**fields, **changes})


def frames(panel: Panel) -> tuple[pd.DataFrame, pd.DataFrame]:
    return panel.to_frames()


def same(a: Panel, b: Panel) -> None:
    assert (a.users, a.questions) == (b.users, b.questions)
    for key in ("human", "twin", "low", "high", "step"):
        np.testing.assert_array_equal(getattr(a, key), getattr(b, key))
    assert set(a.controls) == set(b.controls)
    for key in a.controls:
        np.testing.assert_array_equal(a.controls[key], b.controls[key])


# --- alignment --------------------------------------------------------------------------------


@st.composite
def ingredients(draw):
    # What a panel is made of: the run-time type checker draws random numbers of its own, which
    # hypothesis does not allow inside a strategy, so the panel itself is built in the test.
    n, m = draw(st.integers(2, 6)), draw(st.integers(2, 6))
    cells = st.one_of(st.integers(1, 7).map(float), st.just(NAN))
    human = draw(hnp.arrays(float, (n, m), elements=cells))
    twin = draw(hnp.arrays(float, (n, m), elements=cells))
    human[0, 0] = 1.0  # a panel needs one human answer, and a twin answer to each question
    twin[draw(st.integers(0, n - 1)), :] = 4.0
    names = st.text("abc 0123456789é", min_size=1, max_size=4).filter(str.strip)
    users = draw(st.lists(names, min_size=n, max_size=n, unique=True))
    questions = draw(st.lists(names, min_size=m, max_size=m, unique=True))
    return {
        "human": human,
        "twin": twin,
        "users": users,
        "questions": questions,
        "controls": {"other": twin + 1.0},
    }


@given(parts=ingredients(), data=st.data())
def test_the_order_of_the_twin_table_does_not_matter(parts, data):
    panel = Panel.from_arrays(**parts)
    human, twin = frames(panel)
    other = pd.DataFrame(panel.controls["other"], twin.index, twin.columns)
    rows = data.draw(st.permutations(range(panel.n)))
    columns = data.draw(st.permutations(range(panel.m)))
    again = Panel.from_frames(
        human, twin.iloc[rows, columns], controls={"other": other.iloc[rows[::-1], columns]}
    )
    same(again, panel)


@given(parts=ingredients(), data=st.data())
def test_the_order_of_the_human_table_is_the_order_of_the_panel(parts, data):
    panel = Panel.from_arrays(**parts)
    human, twin = frames(panel)
    rows = data.draw(st.permutations(range(panel.n)))
    columns = data.draw(st.permutations(range(panel.m)))
    again = Panel.from_frames(human.iloc[rows, columns], twin)
    same(again, panel.replace(controls={}).take(rows, columns))
    same(again.select(panel.users, panel.questions), panel.replace(controls={}))


def test_identifiers_match_across_number_and_text():
    human = pd.DataFrame([[1, 2], [3, 4]], index=[7, 8], columns=["a", "b"])
    twin = pd.DataFrame([[4.0, 3.0], [2.0, 1.0]], index=["8", "7"], columns=["b", "a"])
    panel = Panel.from_frames(human, twin)
    assert panel.users == ("7", "8")
    np.testing.assert_array_equal(panel.twin, [[1.0, 2.0], [3.0, 4.0]])
    twin.index = pd.Index([8.0, 7.0])
    assert Panel.from_frames(human, twin).users == ("7", "8")


def test_id_column_is_the_identifier():
    human, twin = (frame.reset_index(names="who") for frame in frames(small()))
    same(Panel.from_frames(human, twin.iloc[::-1], id_column="who"), small())
    with pytest.raises(ValueError, match="`twin` has no column 'who'"):
        Panel.from_frames(human, twin.drop(columns="who"), id_column="who")


def test_positions_are_not_identifiers():
    human, twin = frames(small())
    with pytest.raises(ValueError, match="`twin` has a default index"):
        Panel.from_frames(human, twin.reset_index(drop=True))
    with pytest.raises(ValueError, match="`human` has default column names"):
        Panel.from_frames(human.set_axis(range(3), axis=1), twin)
    with pytest.raises(ValueError, match=re.escape("use `Panel.from_frames`")):
        Panel.from_arrays(human, twin)
    with pytest.raises(ValueError, match="must be a data frame"):
        Panel.from_frames(human, twin.to_numpy())


def test_unmatched_identifiers_are_an_error_that_names_them():
    human, twin = frames(small())
    with pytest.raises(ValueError, match=r"`twin` lacks 1 of the 4 respondents .*'bob'"):
        Panel.from_frames(human, twin.drop(index="bob"))
    with pytest.raises(ValueError, match=r"`human` lacks 2 of the 4 respondents .*'ann', 'bob'"):
        Panel.from_frames(human.drop(index=["ann", "bob"]), twin)
    with pytest.raises(ValueError, match=r"`twin` lacks 1 of the 3 questions .*'q2'"):
        Panel.from_frames(human, twin.drop(columns="q2"))
    with pytest.raises(ValueError, match=r"`human` lacks 1 of .* questions .*new_questions=True"):
        Panel.from_frames(human.drop(columns="q2"), twin)
    with pytest.raises(
        ValueError, match=r"only in surrounding spaces and case .'q2' against 'Q2 '"
    ):
        Panel.from_frames(human, twin.rename(columns={"q2": "Q2 "}))
    with pytest.raises(ValueError, match="no questions in common"):
        Panel.from_frames(human, twin.add_prefix("x"), join="inner")
    with pytest.raises(ValueError, match="`join` must be"):
        Panel.from_frames(human, twin, join="outer")


def test_inner_join_keeps_what_both_have():
    human, twin = frames(small())
    panel = Panel.from_frames(human.drop(columns="q1"), twin.drop(index="bob"), join="inner")
    same(panel, small().drop(users=["bob"], questions=["q1"]))


def test_new_questions_and_users_come_from_the_twins_alone():
    human, twin = frames(small())
    panel = Panel.from_frames(
        human.drop(columns="q1", index="bob"), twin, new_questions=True, new_users=True
    )
    assert panel.questions == ("q2", "q3", "q1") and panel.new_questions == ("q1",)
    assert panel.users == ("ann", "cyd", "dan", "bob") and panel.new_users == ("bob",)
    whole = small().select(panel.users, panel.questions)
    np.testing.assert_array_equal(panel.twin, whole.twin)
    np.testing.assert_array_equal(panel.human[:3, :2], whole.human[:3, :2])
    assert np.isnan(panel.human[3]).all() and np.isnan(panel.human[:, 2]).all()


def test_new_questions_join_a_human_table_with_others_of_its_own():
    human, twin = frames(small())
    human["mine"] = 1.0
    with pytest.raises(ValueError, match="`twin` lacks 1 of the 3 questions"):
        Panel.from_frames(human.drop(columns="q1"), twin, new_questions=True)
    panel = Panel.from_frames(human.drop(columns="q1"), twin, new_questions=True, join="inner")
    assert panel.questions == ("q2", "q3", "q1")


def test_controls_must_cover_the_panel():
    human, twin = frames(small())
    with pytest.raises(ValueError, match=r"`controls\['ic'\]` lacks 1 respondents .*'dan'"):
        Panel.from_frames(human, twin, controls={"ic": twin.drop(index="dan")})
    panel = Panel.from_frames(human, twin, join="inner", controls={"ic": twin.drop(index="dan")})
    assert np.isnan(panel.controls["ic"][3]).all()
    np.testing.assert_array_equal(panel.controls["ic"][:3], panel.twin[:3])


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"twin": [[1.0, 2.0]]}, r"`twin` has shape \(1, 2\) but `human` has shape \(4, 3\)"),
        ({"human": [1.0, 2.0]}, r"`human` must be a matrix .* got shape \(2,\)"),
        ({"human": [[1.0], [1.0, 2.0]]}, "`human`: its rows differ in length"),
        ({"users": ["ann", "bob"]}, r"`human` has shape \(4, 3\), but there are 2 `users`"),
        ({"users": ["ann", "bob", "ann", "bob"]}, "`users`: duplicate identifiers 'ann', 'bob'"),
        ({"users": [1, "1", 2, 3]}, "`users`: duplicate identifiers '1'"),
        ({"questions": ["q1", "q1", "q2"]}, "`questions`: duplicate identifiers 'q1'"),
        ({"questions": ["q1", None, "q2"]}, "`questions`: the identifier at position 1 is missing"),
        ({"questions": "q12"}, "`questions` must be a sequence"),
        ({"controls": {"ic": [[1.0]]}}, r"`controls\['ic'\]` has shape \(1, 1\)"),
        ({"scale": (1, 4)}, r"`human`: 2 answers outside .* 5 by 'bob' to 'q3', .* from 1 to 4"),
        ({"scale": {"q9": (1, 5)}}, "`scale`: not in the panel: 'q9'"),
    ],
)
def test_bad_panels(changes, match):
    with pytest.raises(ValueError, match=match):
        small(**changes)


@pytest.mark.parametrize("argument", ["human", "twin"])
def test_a_bad_cell_is_named(argument):
    cells = [[1.0, 2.0, 3.0], [3.0, 4.0, 5.0], [2.0, 2.0, 4.0], [1.0, 5.0, 3.0]]
    cells[2][1] = "often"
    with pytest.raises(ValueError, match=f"`{argument}`: 'often' at row 'cyd', column 'q2' is not"):
        small(**{argument: cells})
    cells[2][1] = -np.inf
    with pytest.raises(ValueError, match=f"`{argument}`: 1 infinite .* row 'cyd', column 'q2'"):
        small(**{argument: cells})


@pytest.mark.parametrize(
    "cell", ["often", "1_000", "1,5", b"3", 1j, pd.Timestamp("2020-01-01"), [1.0], "inf"]
)
def test_a_bad_cell_of_a_frame_is_named(cell):
    human, twin = frames(small())
    twin = twin.astype(object)
    twin.at["bob", "q3"] = cell
    with pytest.raises(ValueError, match=r"`twin`: .* row 'bob', column 'q3'"):
        Panel.from_frames(human, twin)


def test_dates_are_not_numbers():
    human, twin = frames(small())
    human["q1"] = pd.Timestamp("2020-01-01")
    with pytest.raises(ValueError, match=r"`human`: .* column 'q1' holds dates \(datetime64"):
        Panel.from_frames(human, twin)


def test_duplicates_in_frames():
    human, twin = frames(small())
    with pytest.raises(ValueError, match=r"`twin \(rows\)`: duplicate identifiers 'ann'"):
        Panel.from_frames(human, pd.concat([twin, twin.iloc[:1]]))
    with pytest.raises(ValueError, match=r"`human \(columns\)`: duplicate identifiers 'q1'"):
        Panel.from_frames(human.rename(columns={"q2": "q1"}), twin)
    with pytest.raises(ValueError, match=r"`human \(rows\)`: the identifier at position 1"):
        Panel.from_frames(human.rename(index={"bob": None}), twin)
    with pytest.raises(ValueError, match="hierarchical"):
        Panel.from_frames(pd.concat({"wave 1": human}, axis=1), twin)


def test_empty_and_silent_panels():
    panel = small()
    for keep, match in (({"questions": [0]}, "two questions"), ({"users": [0]}, "two respondents")):
        with pytest.raises(ValueError, match=match):
            panel.take(**keep)
    with pytest.raises(ValueError, match=r"`twin` has no answer at all to 1 questions \('q2'\)"):
        panel.with_missing(twin=np.tile([False, True, False], (4, 1)))
    with pytest.raises(ValueError, match="`human` has no answer at all"):
        panel.with_missing(human=np.ones((4, 3), bool))
    with pytest.raises(ValueError, match="two questions"):
        Panel.from_arrays(np.zeros((3, 0)), np.zeros((3, 0)))


def test_unanswered_rows_and_columns_are_legal_and_listed():
    hide = np.zeros((4, 3), bool)
    hide[1, :] = hide[:, 2] = True
    silent = np.zeros((4, 3), bool)
    silent[3, :] = True
    panel = small().with_missing(human=hide, twin=silent)
    assert panel.new_users == ("bob",) and panel.new_questions == ("q3",)
    assert panel.describe()["users_without_twin"] == ("dan",)


# --- contents ---------------------------------------------------------------------------------


def test_accepted_kinds_of_arrays_agree():
    panel = small()
    masked = np.ma.masked_array(np.nan_to_num(panel.human), np.isnan(panel.human))
    text = [["" if np.isnan(x) else str(x) for x in row] for row in panel.human]
    for human in (
        jnp.asarray(panel.human),
        jnp.asarray(panel.human, jnp.bfloat16),
        masked,
        panel.human.tolist(),
        [[None if np.isnan(x) else int(x) for x in row] for row in panel.human],
        text,
        np.asfortranarray(panel.human),
    ):
        same(small(human=human), panel)


def test_accepted_kinds_of_columns_agree():
    human, twin = frames(small())
    for kind in ("Int64", "Float32", object):
        same(Panel.from_frames(human.astype(kind), twin), small())
    flags = pd.DataFrame({"a": [True, False], "b": [False, True]}, index=["x", "y"])
    np.testing.assert_array_equal(Panel.from_frames(flags, flags).human, [[1, 0], [0, 1]])


def test_arrays_for_jit(dtype):
    panel = small()
    arrays = panel.arrays(dtype)
    for side, matrix in ((arrays.human, panel.human), (arrays.twin, panel.twin)):
        assert side.dtype == dtype and side.shape == (panel.n, panel.m)
        np.testing.assert_array_equal(side.mask, ~np.isnan(matrix))
        np.testing.assert_array_equal(side.values, np.nan_to_num(matrix))
    assert panel.arrays().human.dtype == jnp.result_type(float)
    # strings stay on the host: panels that differ in names share one trace
    count = []

    @jax.jit
    def total(x):
        count.append(1)
        return x.human.values.sum()

    total(arrays), total(small(users=["e", "f", "g", "h"]).arrays(dtype))
    assert len(count) == 1


def test_a_panel_does_not_change_with_its_sources():
    human = np.array([[1.0, 2.0], [3.0, 4.0]])
    panel = Panel.from_arrays(human, human)
    human[0, 0] = 9.0
    assert panel.human[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        panel.twin[0, 0] = 9.0
    frame, _ = panel.to_frames()
    frame.iloc[0, 0] = 9.0
    assert panel.human[0, 0] == 1.0


def test_select_drop_take():
    panel = small(scale={"q1": (1, 5, 1)}, controls={"ic": np.full((4, 3), 2.0)})
    chosen = panel.select(users=["dan", "ann"], questions=["q3", "q1"])
    assert chosen.users == ("dan", "ann") and chosen.questions == ("q3", "q1")
    np.testing.assert_array_equal(chosen.human, [[3.0, 1.0], [NAN, 1.0]])
    np.testing.assert_array_equal(chosen.high, [NAN, 5.0])
    assert chosen.controls["ic"].shape == (2, 2)
    same(panel.drop(users=["bob", "cyd"], questions=["q2"]), chosen.take([1, 0], [1, 0]))
    same(panel.take(np.array([True, False, False, True]), slice(0, 2)), panel.take([0, 3], [0, 1]))
    with pytest.raises(ValueError, match="`users`: not in the panel: 'eve'"):
        panel.select(users=["ann", "eve"])
    with pytest.raises(ValueError, match="`questions`: not in the panel: 'q9'"):
        panel.drop(questions=["q9"])
    with pytest.raises(ValueError, match="duplicate"):
        panel.select(users=["ann", "ann"])


def test_with_missing_checks_its_mask():
    panel = small()
    hide = np.zeros((4, 3), bool)
    hide[0, 0] = True
    hidden = panel.with_missing(human=hide)
    assert np.isnan(hidden.human[0, 0])
    np.testing.assert_array_equal(hidden.twin, panel.twin)
    with pytest.raises(ValueError, match="`human` must be boolean, got float64"):
        panel.with_missing(human=hide.astype(float))
    with pytest.raises(ValueError, match=r"`twin` must be boolean of shape \(4, 3\)"):
        panel.with_missing(twin=hide[:1])


def test_ranges():
    panel = small(scale=Scale(1.0, 5.0, 1.0))
    assert panel.scale == (1.0, 5.0) and panel.steps == 1.0
    mixed = small(scale={"q1": (0, 10), "q2": (1, 5, 0.5)})
    assert mixed.scale is None and mixed.steps is None
    found = mixed.with_observed_ranges()
    np.testing.assert_array_equal(found.low, [0.0, 1.0, 3.0])
    np.testing.assert_array_equal(found.high, [10.0, 5.0, 5.0])
    np.testing.assert_array_equal(found.step, [NAN, 0.5, 1.0])
    again = found.with_scale({"q3": (0, 6)})
    np.testing.assert_array_equal(again.low, [0.0, 1.0, 0.0])
    np.testing.assert_array_equal(again.step, [NAN, 0.5, NAN])
    with pytest.raises(ValueError, match="`low` must be below `high`"):
        panel.replace(low=np.array([1.0, 5.0, 1.0]))
    constant = Panel.from_arrays([[1.0, 2.0], [1.0, 2.5]], [[1.0, 2.0], [1.0, 2.0]])
    found = constant.with_observed_ranges()
    np.testing.assert_array_equal(found.low, [NAN, 2.0])
    np.testing.assert_array_equal(found.step, [NAN, NAN])


def test_describe_and_repr():
    panel = small(name="trial", scale={"q1": (1, 5)}, controls={"ic": np.full((4, 3), 2.0)})
    panel = panel.replace(twin=np.where(np.isnan(panel.twin), 9.0, panel.twin))
    facts = panel.describe()
    assert facts["users"] == 4 and facts["questions"] == 3
    assert facts["human_missing"] == pytest.approx(2 / 12) and facts["twin_missing"] == 0.0
    assert facts["constant_twin_questions"] == ("q2",)
    assert facts["constant_human_questions"] == ()
    assert facts["twin_outside_range"] == 1
    assert facts["controls"] == ("ic",)
    text = repr(panel)
    assert "trial" in text and "4 users x 3 questions" in text and len(text) < 120


def test_panels_pickle():
    same(pickle.loads(pickle.dumps(small())), small())
