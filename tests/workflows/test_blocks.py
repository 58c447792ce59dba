"""What is made of a user's tables before anything is estimated."""

import numpy as np
import pytest

from syndigits_jax.panel import Panel
from syndigits_jax.tables.cells import TableWarning
from syndigits_jax.workflows.blocks import with_batteries


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
