"""Hold-outs and judgements that cannot be made are refused by name, before anything is fitted."""

import jax
import numpy as np
import pytest
from small_panels import small_panel

from syndigits_jax.calibration import Ridge
from syndigits_jax.evaluation import HoldOut, judge_expectations, leave_one_question_out
from syndigits_jax.evaluation.comparison import Comparison

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("methods", "options", "words"),
    [
        ([Ridge(1.0), Ridge(2.0)], {}, "methods holds several of one class"),
        ([], {}, "methods is empty"),
        ({"UserMean": Ridge(1.0)}, {}, "'UserMean' is the name of a control"),
        ([Ridge(1.0)], {"targets": [10]}, r"targets must lie in 0\.\.9"),
        ([Ridge(1.0)], {"targets": [1, 1]}, "targets repeats a position"),
        ([Ridge(1.0)], {"batch_size": 0}, "`?batch_size`? must be at least 1"),
    ],
)
def test_hold_outs_that_cannot_be_made(methods, options, words):
    with pytest.raises(ValueError, match=words):
        leave_one_question_out(methods, small_panel(), **options)


def test_controls_have_no_training_error():
    panel = small_panel()
    held = HoldOut("question", panel, np.arange(10), panel.human.T, {"UserMean": panel.twin.T})
    with pytest.raises(ValueError, match="'UserMean' is not fitted"):
        held.scores("training_mse", "UserMean")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"replicates": 1}, "`replicates` must be at least 2"),
        ({"lower": np.zeros(4)}, "`lower` and `upper`: give both ends"),
        ({"lower": np.zeros(4), "upper": np.ones(3)}, r"`upper` must have shape \(4,\)"),
        ({"groups": "ab"}, "`groups` must name 4 questions, got 2"),
        ({"groups": "aaaa"}, "`groups`: at least two blocks"),
    ],
)
def test_expectations_that_cannot_be_judged(options, words):
    with pytest.raises(ValueError, match=words):
        judge_expectations(np.arange(4.0), np.arange(4.0), key=KEY, **options)


def test_without_draws_nothing_is_said_of_the_best():
    nothing = np.full((100, 3), np.nan)
    found = Comparison(np.array([0.5, 0.4, 0.3]), np.ones((3, 1)), nothing, ("a", "b", "c"), 1,
                       0.95, "pearson")  # fmt: skip
    gap, name = found.over_best("a", ("b", "c"))
    assert np.isnan(gap.estimate) and (gap.lower, gap.upper) == (-np.inf, np.inf) and name == "b"
