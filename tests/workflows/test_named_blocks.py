"""What is made of a user's tables before anything is estimated."""

import warnings

import numpy as np
import pytest

from syndigits_jax.panel import Panel
from syndigits_jax.tables.cells import TableWarning
from syndigits_jax.workflows.blocks import warn_of_codes, with_batteries


def panel(names: str) -> Panel:
    answers = np.arange(3)[:, None] + np.arange(len(names.split()))[None, :] % 5 + 1.0
    return Panel.from_arrays(answers, answers, questions=names.split())


def test_batteries_by_names():
    assert with_batteries(panel("item1 item2 age")).blocks == ("item", "item", "age")


def test_a_single_battery_is_no_blocks_and_said():
    with pytest.warns(TableWarning, match="all questions are one battery, 'q'"):
        assert with_batteries(panel("q1 q2 q40")).blocks == ()


def test_names_without_batteries_are_said():
    with pytest.warns(TableWarning, match="no two names differ by a number only"):
        assert with_batteries(panel("age income")).blocks == ("age", "income")


def test_codes_are_said_where_no_range_is_declared():
    given = panel("q1 q2")
    human = np.tile(given.human, (3, 1))
    human[0, 0] = -99
    given = Panel.from_arrays(human, np.tile(given.twin, (3, 1)), questions=["q1", "q2"])
    with pytest.warns(TableWarning, match="`human`: -99 is far from all other answers") as said:
        warn_of_codes(given)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_codes(given.with_scale({"q1": (-100, 5)}))
