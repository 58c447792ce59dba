"""Responses as arrays, tables and panels, against loops that take the definitions literally."""

import json
import math

import jax
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_engines import StubEngine, plain_template, some_personas, some_questions

from syndigits_jax.respond.asking.collect import collect
from syndigits_jax.respond.requests import Completion, Decoding
from syndigits_jax.respond.store.export import (
    choose_run,
    read_frame,
    read_ratings,
    read_records,
    read_tensor,
    to_panel,
)
from syndigits_jax.respond.store.responses import ResponseStore
from syndigits_jax.schema import Option, Persona, Question, Scale

PEOPLE = some_personas(4)
MIXED = [
    *some_questions(1, options=3),
    Question("refusable", "Well?", (Option(9, "no"), Option(1, "a"), Option(5, "b")), refusal=9.0),
    Question("named", "Which?", some_questions(1)[0].options, scale=Scale(1, 5, 1, "nominal")),
    Question("scaled", "How much?", scale=Scale(0, 1, 0.25)),
]
TEMPLATE = plain_template()


def ask(path, decoding, people=PEOPLE, asked=MIXED, engine=None, template=TEMPLATE, **options):
    return collect(engine or StubEngine(), template, people, asked, decoding, path, **options)


def literally(path, run=1):
    """(persona, question) -> the responses of the cell, by looking at every one."""
    cells = {}
    with ResponseStore(path, read_only=True) as store:
        grid = store.grid(run)
        for persona, question, value, status, blob in store.rows(
            "SELECT persona, question, value, status, probabilities FROM responses WHERE run = ?",
            (run,),
        ):
            key = grid.personas[persona].identifier, grid.questions[question].identifier
            shares = None if blob is None else np.frombuffer(blob, "<f4").tolist()
            answers = [number for number, _ in grid.answers[question]]
            cells.setdefault(key, []).append((value, status, shares, answers))
    return cells


def distribution(cell, refusal):
    """Shares of each value but the refusal over a cell's responses, and that of the refusal."""
    mass, refused = {}, 0.0
    for value, status, shares, answers in cell:
        if shares is None:
            refused += status == "refused"
            if value in answers:
                mass[value] = mass.get(value, 0.0) + 1.0
            continue
        for answer, share in zip(answers, shares):
            if answer == refusal:
                refused += share
            else:
                mass[answer] = mass.get(answer, 0.0) + share
    return mass, refused / len(cell)


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(orders=3),
        Decoding("choice", orders=2),
        Decoding("sample", temperature=1.0, draws=5),
        Decoding("text", temperature=1.0, draws=3),
    ],
    ids=lambda decoding: decoding.readout,
)
@pytest.mark.parametrize("limit", [None, 11])
def test_tensor_and_frame_are_what_the_definitions_say(tmp_path, decoding, limit):
    path = tmp_path / "r.db"
    ask(path, decoding, limit=limit)
    table, frame, cells = read_tensor(path), read_frame(path), literally(path)
    tensor = jax.tree.map(np.asarray, table.tensor)
    assert tensor.probabilities.shape == (4, 4, 5) and tensor.probabilities.dtype == np.float32
    assert table.personas == tuple(p.identifier for p in PEOPLE) == tuple(frame.index)
    assert table.questions == tuple(q.identifier for q in MIXED) == tuple(frame.columns)
    assert table.options[1] == ("a", "b") and table.options[3] == ("0", "0.25", "0.5", "0.75", "1")
    assert tensor.option_mask.sum(axis=1).tolist() == [3, 2, 5, 5]
    assert tensor.values[1].tolist() == [1, 5, 0, 0, 0]
    full = limit is None
    assert (len(cells) == 16) == full
    for i, persona in enumerate(PEOPLE):
        for j, question in enumerate(MIXED):
            cell = cells.get((persona.identifier, question.identifier), [])
            mass, refused = distribution(cell, question.refusal) if cell else ({}, 0.0)
            total = sum(mass.values())
            assert tensor.mask[i, j] == (total > 0)
            assert tensor.refused[i, j] == pytest.approx(refused, abs=1e-6)
            wanted = dict(zip(tensor.values[j][tensor.option_mask[j]], tensor.probabilities[i, j]))
            for value, probability in wanted.items():
                expected = mass.get(float(value), 0.0) / total if total else 0.0
                assert probability == pytest.approx(expected, abs=1e-6)
            assert not tensor.probabilities[i, j][~tensor.option_mask[j]].any()
            outside = 0.2 if cell and decoding.readout == "probabilities" else 0.0
            assert tensor.outside[i, j] == pytest.approx(outside, abs=1e-6)
            found = frame.iloc[i, j]
            if question.identifier == "named" and total:
                assert mass[found] == pytest.approx(max(mass.values()))
                continue
            values = [v for v, *_ in cell if v is not None]
            if decoding.readout != "probabilities" and values:  # text may fall between options
                assert found == pytest.approx(np.mean(values))
            elif total:
                assert found == pytest.approx(sum(v * m for v, m in mass.items()) / total)
            else:
                assert math.isnan(found)


@settings(max_examples=5)
@given(st.permutations(range(6)), st.integers(0, 23))
def test_the_order_in_which_answers_came_is_of_no_account(tmp_path_factory, order, limit):
    folder = tmp_path_factory.mktemp("e")
    people = some_personas(6)
    ask(folder / "a.db", Decoding(), people)
    if limit:
        ask(folder / "b.db", Decoding(), [people[i] for i in order], limit=limit)
    ask(folder / "b.db", Decoding(), people, engine=StubEngine(window=1 + limit))
    a, b = read_tensor(folder / "a.db"), read_tensor(folder / "b.db")
    assert jax.tree.all(jax.tree.map(lambda x, y: bool((x == y).all()), a.tensor, b.tensor))
    assert a.personas == b.personas


def test_the_grid_is_what_was_asked_last_or_everything(tmp_path):
    path = tmp_path / "r.db"
    ask(path, Decoding(), some_personas(6), some_questions(3))
    ask(path, Decoding(), some_personas(6)[4:1:-1], some_questions(4)[1:])
    frame = read_frame(path)
    assert list(frame.index) == ["p4", "p3", "p2"] and list(frame.columns) == ["q1", "q2", "q3"]
    assert not frame.isna().any(axis=None)
    whole = read_frame(path, everything=True)
    assert whole.shape == (6, 4) and whole.isna().sum().sum() == 3
    pd.testing.assert_frame_equal(whole.loc[frame.index, frame.columns], frame)
    # A persona that was changed is there once, as it is now.
    changed = Persona("p0", "Somebody else.")
    ask(path, Decoding(), [changed], some_questions(1))
    assert read_frame(path, everything=True).shape == (6, 4)
    assert read_frame(path, everything=True).loc["p0"].isna().sum() == 3


def test_nothing_answered_and_nothing_but_refusals(tmp_path):
    path = tmp_path / "r.db"
    refusing = StubEngine(answer=lambda request: Completion("9", None))
    ask(path, Decoding("choice"), asked=[MIXED[1]], engine=refusing)
    tensor = read_tensor(path).tensor
    assert not tensor.mask.any() and (tensor.refused == 1).all()
    assert read_frame(path).isna().all(axis=None)
    assert read_ratings(path).empty
    failing = StubEngine(fails=lambda _: True)
    ask(tmp_path / "none.db", Decoding(), engine=failing)
    assert not read_tensor(tmp_path / "none.db").tensor.mask.any()
    assert read_records(tmp_path / "none.db").empty


def test_a_run_of_which_nothing_was_asked(tmp_path):
    path = tmp_path / "r.db"
    with ResponseStore(path) as store:
        store.register_run(TEMPLATE, StubEngine().identity, Decoding())
    for read in (read_tensor, read_frame, read_ratings):
        for everything in (False, True):
            with pytest.raises(ValueError, match=r"run 1 .*nothing was asked yet"):
                read(path, everything=everything)
    assert read_records(path).empty


def test_a_run_and_what_it_asks_are_registered_as_one(tmp_path, monkeypatch):
    path = tmp_path / "r.db"

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ResponseStore, "register_grid", killed)
        ask(path, Decoding())
    with ResponseStore(path) as store:
        assert store.runs() == ()
    ask(path, Decoding())
    assert read_frame(path).shape == (len(PEOPLE), len(MIXED))


def test_open_questions_are_in_the_table_and_not_in_the_tensor(tmp_path):
    path = tmp_path / "r.db"
    age = Question("age", "How old are you, in years?")
    number = StubEngine(answer=lambda request: Completion("42"))
    ask(path, Decoding("text"), asked=[age], engine=number)
    assert (read_frame(path)["age"] == 42).all()
    with pytest.raises(ValueError, match="no question has answer options"):
        read_tensor(path)


def test_a_run_is_chosen_among_several(tmp_path):
    path = tmp_path / "r.db"
    ask(path, Decoding())
    ask(path, Decoding("choice"))
    ask(path, Decoding("choice"), template=plain_template("2"))
    with pytest.raises(ValueError, match=r"3 runs, choose one: 1: plain 1 .*; 2: .*choice; 3: "):
        read_frame(path)
    with ResponseStore(path, read_only=True) as store:
        assert choose_run(store, 2).id == choose_run(store, "2").id == 2
        assert choose_run(store, "probabilities").id == 1
        with pytest.raises(ValueError, match="'choice' matches 2 of them"):
            choose_run(store, "choice")
        digest = plain_template("2").hash[:8]
        assert choose_run(store, f"choice {digest}").id == 3
        for nothing in ("another", "4"):
            with pytest.raises(ValueError, match="matches 0 of them"):
                choose_run(store, nothing)
    assert read_frame(path, 3).shape == (4, 4)
    assert len(read_records(path)) == 48 and len(read_records(path, 2)) == 16
    with ResponseStore(tmp_path / "new.db") as store, pytest.raises(ValueError, match="nothing"):
        choose_run(store)


def test_records_have_everything(tmp_path):
    path = tmp_path / "r.db"
    ask(path, Decoding(orders=2), asked=MIXED[:1])
    frame = read_records(path)
    assert len(frame) == 8 and set(frame["shown"]) == {"", "2,1,0"}
    first = frame.iloc[0]
    assert (first["persona"], first["question"], first["engine"]) == ("p0", "q0", "stub")
    assert len(first["probabilities"]) == 3 and sum(first["probabilities"]) == pytest.approx(1)
    assert json.loads(first["settings"]) == {"readout": "probabilities"}
    assert str(frame["time"].dtype).endswith("UTC]")
    frame.to_parquet(tmp_path / "r.parquet")
    back = pd.read_parquet(tmp_path / "r.parquet")
    assert back["value"].tolist() == frame["value"].tolist()


def test_an_open_store_is_read_with_what_was_added_last(tmp_path):
    with ResponseStore(tmp_path / "r.db") as store:
        ask(store, Decoding())
        assert read_frame(store).notna().all(axis=None)


def test_ratings_are_long_with_seeds_and_conditions(tmp_path):
    people = [
        Persona("a", "x", {"seed": "7", "condition": "grounded"}),
        Persona("b", "y", {"condition": "backstory"}),
    ]
    path = tmp_path / "r.db"
    ask(path, Decoding("choice"), people, some_questions(3), limit=5)
    found = read_ratings(path)
    assert list(found.columns) == ["persona", "item", "rating", "seed", "condition"]
    assert found["persona"].tolist() == list("aaabb")
    assert found["seed"].tolist()[:3] == ["7"] * 3 and found["seed"].isna().sum() == 2
    frame = read_frame(path)
    for row in found.itertuples():
        assert frame.loc[row.persona, row.item] == row.rating


def test_a_panel_is_aligned_by_identifier_and_knows_scales_and_refusals(tmp_path):
    path = tmp_path / "r.db"
    ask(path, Decoding("choice"))
    human = pd.DataFrame(
        {"named": [1.0, 2.0, 3.0], "refusable": [9.0, 1.0, 5.0], "q0": [1.0, np.nan, 3.0]},
        index=["p3", "p0", "p1"],
    )
    panel = to_panel(path, human, new_users=True, new_questions=True, name="mine")
    frame = read_frame(path)
    assert panel.users == ("p3", "p0", "p1", "p2") and panel.new_users == ("p2",)
    assert panel.questions == ("named", "refusable", "q0", "scaled")
    assert panel.new_questions == ("scaled",) and panel.name == "mine"
    expected = frame.loc[list(panel.users), list(panel.questions)].to_numpy()
    np.testing.assert_array_equal(panel.twin, expected)
    assert np.isnan(panel.human[0, 1]) and panel.human[1, 1] == 1  # refused, not a 9
    assert human["refusable"].tolist() == [9, 1, 5]  # what was given is left alone
    assert panel.low.tolist() == [1, 1, 1, 0] and panel.high.tolist() == [5, 5, 3, 1]
    with pytest.raises(ValueError, match="lacks 1 of the 4 respondents"):
        to_panel(path, human)
    human.rename_axis("who").to_csv(tmp_path / "human.csv")
    assert to_panel(path, tmp_path / "human.csv", join="inner").human.shape == (3, 3)
    # Also where a code that is a text makes the column one of text.
    human["refusable"] = [9, "n/k", 5]
    human.rename_axis("who").to_csv(tmp_path / "human.csv")
    panel = to_panel(path, tmp_path / "human.csv", join="inner", missing="n/k")
    given = panel.human[:, panel.questions.index("refusable")]
    np.testing.assert_array_equal(given, [np.nan, np.nan, 5])


def test_a_tensor_is_saved_whole(tmp_path):
    path = tmp_path / "r.db"
    ask(path, Decoding())
    table = read_tensor(path)
    table.save(tmp_path / "t.npz")
    with np.load(tmp_path / "t.npz", allow_pickle=False) as saved:
        np.testing.assert_array_equal(saved["probabilities"], table.tensor.probabilities)
        assert saved["personas"].tolist() == list(table.personas)
        assert saved["options"][1].tolist() == ["a", "b", "", "", ""]
        assert "plain 1" in str(saved["run"])
    with pytest.raises(ValueError, match="npz"):
        table.save(tmp_path / "t.csv")


def test_a_tensor_is_a_pytree_of_arrays(tmp_path):
    path = tmp_path / "r.db"
    ask(path, Decoding())
    tensor = read_tensor(path).tensor

    @jax.jit
    def mean(t):
        return (t.probabilities * t.values[None]).sum(-1)

    named = np.array(mean(tensor))
    frame = read_frame(path).to_numpy()
    ordinal = [0, 1, 3]
    np.testing.assert_allclose(named[:, ordinal], frame[:, ordinal], rtol=1e-5)
