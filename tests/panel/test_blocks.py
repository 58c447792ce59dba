"""Blocks of a panel's questions, and questions without one."""

import numpy as np
import pytest

from syndigits_jax.panel import Panel


def small() -> Panel:
    answers = np.arange(12.0).reshape(4, 3)
    return Panel.from_arrays(answers, answers, questions=["q1", "q2", "q3"])


@pytest.mark.parametrize("nothing", [None, float("nan"), "", " "])
def test_a_question_without_a_block_is_a_block_of_its_own(nothing):
    panel = small()
    assert panel.with_blocks(["a", nothing, "a"]).blocks == ("a", "q2", "a")
    assert panel.with_blocks({"q1": "a", "q3": nothing}).blocks == ("a", "q2", "q3")
    # Another block may have the question's name.
    assert panel.with_blocks(["q2", nothing, "q2 alone"]).blocks[1] == "q2 alone alone"
    assert panel.with_blocks([nothing] * 3).blocks == panel.with_blocks({}).blocks == ()
    assert panel.replace(blocks=(1, None, 1)).blocks == ("1", "q2", "1")
