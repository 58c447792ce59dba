"""Identifiers that nearly match are never matched, but their difference is reported."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syndigits_jax.panel import Panel
from syndigits_jax.tables.cells import TableWarning
from syndigits_jax.tables.near_misses import nearly

PAIRS = [
    ("1.0", "1", "a decimal point"),
    ("1634.0", "1634", "a decimal point"),
    ("001", "1", "leading zeros"),
    ("1e5", "100000", "how a number is written"),
    ("caf\u00e9", "cafe\u0301", "composed against decomposed Unicode"),
    ("Ann", "ann", "case"),
    ("STRASSE", "stra\u00dfe", "case"),
    (" ann", "ann", "surrounding spaces"),
    ("ann\xa0", "ann", "surrounding spaces"),
    ("ann lee", "ann\xa0lee", "non-breaking"),
    ("ann  lee", "ann lee", "spaces"),
    ("an\u200bn", "ann", "invisible characters"),
    ("\ufeffann", "ann", "invisible characters"),
    ("\uff11", "1", "look-alike"),
    ("a\u2013b", "a-b", "dash"),
    (" 001", "1", "surrounding spaces and leading zeros"),
    ("\u200b Ann", "ann", "surrounding spaces and case and invisible characters"),
    ("ann", "bob", ""),
    ("1.5", "1", ""),
    ("0x", "x", ""),
]
NEAR = [pair for pair in PAIRS if pair[2]]


@pytest.mark.parametrize(("ours", "theirs", "difference"), PAIRS)
def test_the_difference_is_named(ours, theirs, difference):
    for a, b in ((ours, theirs), (theirs, ours)):
        said = nearly([a, "x1"], [b, "y1"])
        if not difference:
            assert said == ""
            continue
        assert said.startswith("1 differs only in ") and difference in said, said
        left, right = said[said.rindex("(") + 1 : -1].split(" against ")
        assert left != right and left.isprintable() and right.isprintable()


def table(users, questions) -> pd.DataFrame:
    values = np.arange(1.0, 1 + len(users) * len(questions)).reshape(len(users), -1)
    return pd.DataFrame(values, pd.Index(users, dtype=object), pd.Index(questions, dtype=object))


@pytest.mark.parametrize(("ours", "theirs", "difference"), NEAR)
def test_tables_without_common_identifiers_say_why(ours, theirs, difference):
    people, others, questions = [ours, "z1"], [theirs, "z2"], ["q1", "q2"]
    for human, twin, kind in (
        (table(people, questions), table(others, questions), "respondents"),
        (table(questions, people), table(questions, others), "questions"),
    ):
        for join in ("error", "inner"):
            with pytest.raises(ValueError, match=f"no {kind} in common.*only in .*{difference}"):
                Panel.from_frames(human, twin, join=join)


def test_some_that_do_not_match_are_said_too():
    human = table(["ann", "bob", "Cyd"], ["q1", "q2", "Q3"])
    twin = table(["ann", "bob", "cyd"], ["q1", "q2", "q3"])
    with pytest.raises(ValueError, match=r"lacks 1 of .* only in case .'Cyd' against 'cyd'"):
        Panel.from_frames(human, twin)
    with pytest.warns(TableWarning) as caught:
        panel = Panel.from_frames(human, twin, join="inner")
    said = [str(warning.message) for warning in caught]
    assert any("respondents" in text and "'Cyd' against 'cyd'" in text for text in said)
    assert any("questions" in text and "'Q3' against 'q3'" in text for text in said)
    assert panel.users == ("ann", "bob") and panel.questions == ("q1", "q2")
    with pytest.raises(ValueError, match=r"`controls\['ic'\]` lacks 1 respondents.*only in case"):
        Panel.from_frames(human, human, controls={"ic": twin})
    with pytest.raises(ValueError, match="not in the panel: 'Ann'; 1 differs only in case"):
        Panel.from_frames(human, human).select(users=["Ann"])


def test_large_tables_are_told_by_count():
    users = [f"{i:04d}" for i in range(1, 500)]
    human, twin = (table(names, ["a", "b"]) for names in (users, [str(int(u)) for u in users]))
    with pytest.raises(ValueError, match="499 differ only in leading zeros") as caught:
        Panel.from_frames(human, twin)
    assert "'0001' against '1'" in str(caught.value) and len(str(caught.value)) < 500


@given(
    ours=st.lists(st.text(min_size=1, max_size=6), max_size=5, unique=True),
    theirs=st.lists(st.text(min_size=1, max_size=6), max_size=5, unique=True),
)
def test_any_text_may_be_an_identifier(ours, theirs):
    said = nearly(ours, theirs)
    assert said.isprintable() and len(said) < 500
    assert nearly(ours, []) == nearly([], theirs) == ""


# --- what an inner join drops ---------------------------------------------------------------------


def test_an_inner_join_counts_what_it_drops():
    human = table(["a", "b", "c", "d", "e"], ["q1", "q2", "q3"])
    twin = table(["a", "b", "c", "f"], ["q1", "q2", "q4", "q5"])
    panel = Panel.from_frames(human, twin, join="inner")
    assert panel.dropped == {
        "human_users": 2, "twin_users": 1, "human_questions": 1, "twin_questions": 2,
    }  # fmt: skip
    assert panel.describe()["dropped"] == panel.dropped
    assert panel.take([0, 1]).dropped == panel.replace(name="x").dropped == panel.dropped
    kept = Panel.from_frames(human, twin, join="inner", new_questions=True)
    assert kept.questions == ("q1", "q2", "q4", "q5") and kept.users == ("a", "b", "c")
    assert kept.dropped == {**panel.dropped, "twin_questions": 0}
    kept = Panel.from_frames(human, twin, join="inner", new_users=True)
    assert kept.questions == ("q1", "q2") and kept.users == ("a", "b", "c", "f")
    assert kept.dropped == {**panel.dropped, "twin_users": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Panel.from_frames(human, human).dropped == {}
