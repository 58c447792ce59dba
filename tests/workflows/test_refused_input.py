"""Workflows refuse what they cannot use before any work, and name the argument."""

import numpy as np
import pandas as pd
import pytest

from syndigits_jax.calibration import Ridge
from syndigits_jax.panel import Panel
from syndigits_jax.schema import Option, Question, Scale
from syndigits_jax.workflows import personas, target
from syndigits_jax.workflows.blocks import with_questions
from syndigits_jax.workflows.calibrate import calibrate_panel
from syndigits_jax.workflows.estimate import estimate_files, estimate_panel
from syndigits_jax.workflows.panels import read_panel
from syndigits_jax.workflows.people import checked_weights

N = 6
NAMES = ("q1", "q2", "q3")


def small(asked=N, questions=NAMES):
    """Six people and three questions, the first put to `asked` of them, the last to nobody."""
    human = np.tile(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 3.0])[:, None], (1, 3))
    human[asked:, 0], human[:, 2] = np.nan, np.nan
    twin = np.where(np.isnan(human), 3.0, human)
    return Panel.from_arrays(human, twin, questions=questions)


def no_fit(*_):
    raise AssertionError("a fit was begun")


@pytest.mark.parametrize(
    ("panel", "wanted", "options", "words"),
    [
        (small(), "q1", {"what": "median"}, "`what` must be one of"),
        (small(), "q3", {}, "`target`: nobody has answered 'q3'"),
        (small(1), "q1", {}, "`target`: one person has answered 'q1'"),
        (small(2), "q1", {"sample_weight": [0, 0, 1, 1, 1, 1]},
         "`target`: nobody with positive weight has answered 'q1'"),
        (small(2), "q1", {"sample_weight": [1, 0, 1, 1, 1, 1]},
         "`target`: one person with positive weight has answered 'q1'"),
        (small(), "q1", {"what": "difference", "group": ["a", "b"]}, "`group`.*each of 6 people"),
        (small(), "q1", {"what": "difference", "group": ["a", "b", "", "a", "b", ""]},
         "`group`: 2 of 6 people have no label"),
    ],
)  # fmt: skip
def test_targets_that_cannot_be_estimated(panel, wanted, options, words):
    with pytest.raises(ValueError, match=words):
        target.estimate_target(panel, wanted, on_fit=no_fit, **options)


def tables(**columns):
    human, twin = small().to_frames()
    return human.assign(**columns), twin


def test_a_column_is_weights_or_groups():
    human, twin = tables(sex=list("abcabc"))
    with pytest.raises(ValueError, match="`weights`: 'sex' is the column of the groups"):
        target.estimate_target_files(human, twin, "q1", group="sex", weights="sex")


def test_ranges_and_batteries_reach_the_target(monkeypatch):
    class Reached(Exception):
        pass

    def reached(panel, *_, **__):
        raise Reached(panel)

    monkeypatch.setattr(target, "estimate_target", reached)
    human, twin = (frame.rename(columns={"q1": "a_1", "q2": "a_2", "q3": "b_1"})
                   for frame in small().to_frames())  # fmt: skip
    asked = pd.DataFrame({"identifier": ["a_1"], "low": 1, "high": 7, "step": 1})
    with pytest.raises(Reached) as said:
        target.estimate_target_files(human, twin, "a_1", questions=asked, batteries=True)
    (found,) = said.value.args
    assert (found.low[0], found.high[0]) == (1, 7) and np.isnan(found.high[1:]).all()
    assert found.blocks == ("a", "a", "b") == read_panel(human, twin, batteries=True).panel.blocks
    one = asked.assign(high=4)
    with pytest.raises(ValueError, match="a_1"):
        target.estimate_target_files(human, twin, "a_1", questions=one)


def test_of_few_people_asked_nothing_is_learnt(monkeypatch):
    """The regression on people's other answers needs two people in every fold."""
    monkeypatch.setattr(target, "_calibrated", lambda panel, *_: panel.twin[:, 0])
    human = np.arange(30.0).reshape(10, 3) % 7
    human[2 * target.FOLDS - 1 :, 0] = np.nan
    panel = Panel.from_arrays(human, (human * 3) % 5 + np.isnan(human), questions=NAMES)
    panel = panel.replace(twin=np.nan_to_num(panel.twin, nan=2.0))
    found = target.estimate_target(panel, "q1")
    assert target.OTHERS not in found.estimates
    assert found.unavailable[target.OTHERS] == f"it takes {2 * target.FOLDS} people asked"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"direction": "user", "intervals": 0.9}, "`intervals` are for new questions"),
        ({"direction": "user", "draws": 2}, "`draws` are of new questions"),
        ({"draws": 0}, "`draws`"),
        ({"draws": 2, "targets": ["draw"]}, "`draws`: a question is called 'draw'"),
    ],
)
def test_estimates_that_cannot_be_made(options, words):
    panel = small(questions=("q1", "q2", "draw"))
    with pytest.raises(ValueError, match=words):
        estimate_panel(panel, on_fit=no_fit, **options)
    if options.pop("direction", None):  # and before tables are read
        with pytest.raises(ValueError, match=words):
            estimate_files("absent.csv", "absent.csv", new_users=True, **options)


def test_calibrations_that_cannot_be_made():
    with pytest.raises(ValueError, match="at least two other questions with human answers"):
        calibrate_panel(small(), Ridge(1.0), "question", ["q1", "q3"])
    with pytest.raises(ValueError, match="--penalty auto is for new questions"):
        calibrate_panel(small(), Ridge(1.0), "user", ["user_1"], choose="penalty")


def test_questions_of_other_tables_are_refused_and_refusals_are_missing():
    scale, options = Scale(1, 5, 1), (Option(1, "no"), Option(5, "yes"), Option(9, "no answer"))
    with pytest.raises(ValueError, match="`questions`: none of the file's questions"):
        with_questions(small(), [Question("other", "?", scale=scale)])
    panel = small()
    human, twin = panel.human.copy(), panel.twin.copy()
    human[0, 1], twin[1, 1] = 9, 9
    panel = panel.replace(human=human, twin=twin)
    found = with_questions(panel, [Question("q2", "?", options, refusal=9.0, block="b")])
    assert np.isnan(found.human[0, 1]) and np.isnan(found.twin[1, 1])
    assert np.nanmax(found.human[:, 1]) == 5 and found.blocks[1] == "b"


def test_weights_of_a_data_frame_may_be_texts_of_numbers():
    found = checked_weights(np.array(["1", "2.5", "0"], object), ("a", "b", "c"), "weights")
    np.testing.assert_array_equal(found, [1, 2.5, 0])


# --- personas -------------------------------------------------------------------------------------


def catalogue(*names):
    return pd.DataFrame(
        {"identifier": names, "text": [f"{name}?" for name in names], "low": 1, "high": 5}
    )


def answers():
    return pd.DataFrame({"q1": [1, 2], "q2": [2, np.nan]}, index=["ann", "bob"])


def test_personas_of_answers_name_the_table():
    with pytest.raises(ValueError, match=r"^`?human`?: 1 columns are not among the questions"):
        personas.survey(answers(), catalogue("q1"))
    with pytest.raises(
        ValueError, match=r"^`?human`?: 1 respondents have no answer to show .'bob'"
    ):
        personas.survey(answers(), catalogue("q1", "q2"), ask=["q1"])
    with pytest.raises(ValueError, match="`ask_questions`: none of the questions"):
        personas.survey(answers(), catalogue("q1", "q2"), ask_questions=catalogue("other"))
    with pytest.raises(ValueError, match="`people`: 3 wanted"):
        personas.survey(answers(), catalogue("q1", "q2"), people=3)


def test_summaries_and_histories_name_what_is_wrong(tmp_path):
    table = pd.DataFrame({"id": ["ann", "bob"], "summary": ["Ann is old.", ""]})
    with pytest.raises(ValueError, match=r"`?table`?: .*'summary' of 'bob' is empty"):
        personas.summary(table)
    ratings = pd.DataFrame({"userId": [1, 1, 2], "movieId": [7, 8, 7], "rating": [4.0, 2.0, 5.0],
                            "timestamp": [1, 2, 3]})  # fmt: skip
    films = pd.DataFrame({"movieId": [7, 8], "title": ["A (1990)", "B (1991)"], "genres": "Drama"})
    ratings.to_csv(tmp_path / "ratings.csv", index=False)
    films.to_csv(tmp_path / "movies.csv", index=False)
    with pytest.raises(ValueError, match="`people`: give either users or how many, not both"):
        personas.history(tmp_path, tmp_path / "movies.csv", user=["1"], people=1)
    found = personas.history(tmp_path, tmp_path / "movies.csv", user=["1"])
    assert found == personas.history(tmp_path / "ratings.csv", tmp_path / "movies.csv", user=["1"])
    assert found[0].identifier == "1" and "A (1990)" in str(found[0])
