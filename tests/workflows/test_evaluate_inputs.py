"""Tables of an evaluation: matched by identifier, checked at once, omissions said."""

import numpy as np
import pandas as pd
import pytest

from syndigits_jax.datasets import simulate_panel
from syndigits_jax.estimation.people import effective_weight
from syndigits_jax.schema import Scale
from syndigits_jax.workflows.evaluate.checks import inputs_of
from syndigits_jax.workflows.evaluate.inputs import read_inputs
from syndigits_jax.workflows.people import design_effect
from syndigits_jax.workflows.problems import ProblemsError

N, M = 12, 5
WEIGHT = np.linspace(0.5, 2.0, N)
SEX = ["f", "m"] * 6
ARM = ["control", "new", "new"] * 4


@pytest.fixture(scope="module")
def panel():
    return simulate_panel(N, M, 2, key=0, scale=Scale(1, 5, 1))[0]


@pytest.fixture(scope="module")
def people(panel):
    columns = {"weight": WEIGHT, "sex": SEX, "region": np.arange(N) % 3, "arm": ARM}
    return pd.DataFrame(columns, index=pd.Index(panel.users, name="id"))


@pytest.fixture(scope="module")
def questions(panel):
    rows = {"identifier": panel.questions, "low": 1, "high": 5, "step": 1}
    rows |= {"block": list("aabbb"), "survey": list("xxxyy")}
    return pd.DataFrame(rows).set_index("identifier")


@pytest.fixture
def read(tmp_path, panel, people, questions):
    """Write tables, by default those of the panel, and read them."""

    def run(tables=(), **options):
        human, twin = panel.to_frames()
        frames = {"human": human, "twin": twin, "questions": questions, "people": people}
        frames |= dict(tables)
        for name, frame in frames.items():
            if frame is not None:
                frame.to_csv(tmp_path / f"{name}.csv")
        for name in ("people", "questions", "retest"):
            if frames.get(name) is not None:
                options.setdefault(name, tmp_path / f"{name}.csv")
        return read_inputs(tmp_path / "human.csv", tmp_path / "twin.csv", **options)

    return run


COLUMNS = {"weights": "weight", "groups": ("sex", "region"), "arms": "arm"}


def test_all_tables_are_matched_by_identifier(read, panel, people):
    again = pd.DataFrame({panel.questions[2]: [1.0, 5.0]}, index=[panel.users[7], panel.users[1]])
    found = read({"people": people.iloc[::-1], "retest": again}, **COLUMNS)
    np.testing.assert_array_equal(found.panel.human, panel.human)
    np.testing.assert_allclose(found.weight, WEIGHT)
    assert found.groups == {"sex": tuple(SEX), "region": ("0", "1", "2") * 4}
    assert found.arms == tuple(ARM)
    assert found.panel.blocks == tuple("aabbb") and set(found.panel.high) == {5}
    assert found.retest is not None and np.sum(~np.isnan(found.retest)) == 2
    assert (found.retest[7, 2], found.retest[1, 2]) == (1, 5)
    assert found.names == {name: f"{name}.csv" for name in
                           ("human", "twin", "questions", "people", "retest")}  # fmt: skip
    assert found.notes == ()


def test_columns_may_be_in_the_tables_of_answers(read, panel, people):
    human, twin = panel.to_frames()
    human["sex"], twin["sex"] = people["sex"], "of the twins"
    twin["arm"] = people["arm"]
    given = {"human": human.join(people[["weight"]]), "twin": twin, "people": None}
    found = read(given, weights="weight", groups=["sex"], arms="arm")
    assert found.panel.questions == panel.questions
    np.testing.assert_allclose(found.weight, WEIGHT)
    assert (found.groups, found.arms) == ({"sex": tuple(SEX)}, tuple(ARM))
    people = people.assign(sex=["y", "z"] * 6)
    found = read(given | {"people": people}, weights="weight", groups=["sex"], arms="arm")
    assert found.groups["sex"] == ("y", "z") * 6


def test_blocks_are_of_the_column_that_is_named(read):
    assert read(blocks="survey").panel.blocks == tuple("xxxyy")
    assert read({"questions": None}, questions=None).panel.blocks == ()


def test_batteries_and_the_usual_column_of_blocks(read, panel):
    assert read(blocks="block").panel.blocks == tuple("aabbb")
    with pytest.raises(ValueError, match="`blocks` is a column of the file of questions"):
        read({"questions": None}, blocks="block")
    human, twin = panel.to_frames()
    names = dict(zip(panel.questions, ("a_1", "a_2", "b_1", "b_2", "b_3"), strict=True))
    renamed = {name: frame.rename(columns=names) for name, frame in
               (("human", human), ("twin", twin))}  # fmt: skip
    found = read(renamed | {"questions": None}, batteries=True)
    assert found.panel.blocks == tuple("aabbb")


def test_groups_of_one_person_are_left_out_together(panel):
    towns = ["x", "y", *("c" * 5), *("d" * 5)]
    found = inputs_of(panel, groups={"town": towns})
    assert found.groups["town"] == ("", "", *towns[2:])
    (note,) = [note for note in found.notes if "town" in note]
    assert "2 groups of a single person are left out" in note and "x" in note and "y" in note


def test_all_problems_are_said_at_once(read, panel, people):
    human = panel.to_frames()[0].join(people[["sex"]])
    stranger = pd.DataFrame({panel.questions[0]: [1]}, index=["nobody"])
    broken = people.assign(weight=-1.0, arm="all", region=range(N)).drop(columns="sex")
    with pytest.raises(ProblemsError) as caught:
        read(
            {"human": human, "people": broken, "retest": stranger},
            weights="weight",
            groups=["sexx", "region", "nonsense"],
            arms="arm",
            blocks="surveys",
        )
    expected = [
        "`blocks`: no column 'surveys' in the file of questions; did you mean 'survey'?",
        "`groups`: no column 'sexx' in `people`, `human` or `twin`; did you mean 'sex'?",
        "`groups`: no column 'nonsense' in `people`, `human` or `twin`",
        "`weights`: 12 of 12 people have a negative weight",
        "`groups`: 'region' must have two groups of at least two people, got 0",
        "`arms`: the arms must have two arms of at least two people, got 1",
        "`retest`: the table has no person in common",
    ]
    assert len(caught.value.problems) == len(expected)
    for problem, start in zip(caught.value.problems, expected, strict=True):
        assert problem.startswith(start), problem
    assert str(caught.value).splitlines()[0] == "7 problems:"


def test_problems_of_answers_and_of_columns_are_said_together(read, panel, people):
    human = panel.to_frames()[0]
    human.iloc[3, 1] = 77
    with pytest.raises(ProblemsError, match="outside the question's range") as caught:
        read({"human": human}, weights="wieght")
    assert "did you mean 'weight'?" in str(caught.value)
    with pytest.raises(ProblemsError, match="'ten'") as caught:
        read({"human": human.astype(object).replace(77, "ten"), "people": people.assign(sex="x")},
             groups=["sex"])  # fmt: skip
    assert len(caught.value.problems) == 2


def test_what_is_left_out_is_said(read, panel, people, questions):
    human, twin = panel.to_frames()
    names = list(panel.questions)
    human[names[0]] = twin[names[0]] = 3
    human.iloc[4, 2] = 2.5
    human.iloc[[10, 11]] = np.nan
    twin.loc["new"] = 1
    kinds = questions.assign(kind=["", "", "", "", "nominal"]).drop(columns=["low", "high"])
    kinds = kinds.assign(low=[np.nan, 1, 1, 1, 1], high=[np.nan, 5, 5, 5, 5],
                         step=[np.nan, 1, 1, 1, 1])  # fmt: skip
    people = people.assign(sex=["f"] * 8 + ["m", "m", "m", "x"])
    people.iloc[0, people.columns.get_loc("region")] = np.nan
    people.iloc[3, people.columns.get_loc("sex")] = "x"
    found = read({"human": human, "twin": twin, "questions": kinds, "people": people},
                 groups=["sex", "region"])  # fmt: skip
    assert found.panel.users == panel.users[:10]
    assert found.panel.questions == tuple(names[1:4])
    assert np.isnan(found.panel.step[1]) and found.panel.step[0] == 1
    assert found.groups["sex"] == (*"fff", "", *"ffff", *"mm")
    assert found.groups["region"] == ("", "1", "2", "0", "1", "2", "0", "1", "2", "0")
    said = "\n".join(found.notes)
    for words in (
        "3 people without any answer left out",
        f"1 question left out, as answers are codes without an order: '{names[4]}'",
        f"1 question is left out, as everybody and every twin gives the same answer: '{names[0]}'",
        f"To 1 question people gave answers between the options, which are ignored: '{names[2]}'",
        "Of 'sex', 1 group of a single person is left out: 'x'.",
        "Of 'region', 1 person has no label.",
    ):
        assert words in said, said


def test_join_says_what_it_drops(read, panel):
    human, twin = panel.to_frames()
    human["extra"] = 1
    tables = {"human": human, "twin": twin.iloc[2:], "questions": None, "people": None}
    with pytest.raises(ValueError, match="`twin` lacks 2 of the 12 respondents"):
        read(tables)
    found = read(tables, join="inner")
    assert found.panel.n == N - 2
    assert found.notes[:2] == (
        "2 people without a twin left out, as only one table has them.",
        "1 question not put to the twins left out, as only one table has them.",
    )


def test_codes_of_missing_answers_are_missing_labels_too(read, people):
    coded = people.assign(sex=["f", "m", "refused"] * 4)
    assert read({"people": coded}, groups=["sex"], missing="refused").groups["sex"][2] == ""


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        ([-1.0] + [1.0] * (N - 1), "1 of 12 people have a negative weight"),
        ([np.nan] * 2 + [1.0] * (N - 2), "2 of 12 people have no weight"),
        ([0.0] * N, "0 people have a weight above 0"),
        ([np.inf] + [1.0] * (N - 1), "have an infinite weight"),
        ([1.0] * (N - 1), "one weight per person, 12 in all"),
    ],
)
def test_weights_are_checked(panel, weight, words):
    with pytest.raises(ValueError, match=words):
        inputs_of(panel, weights=weight)


def test_weights_that_are_no_numbers_are_refused(read, people):
    with pytest.raises(ValueError, match="1 weights are no numbers, the first 'many'"):
        read({"people": people.assign(weight=["many"] + ["1"] * (N - 1))}, weights="weight")


def test_too_few_questions_are_refused(panel):
    hidden = np.ones((N, M), bool)
    hidden[:, :2] = False
    with pytest.raises(ValueError, match="2 questions have answers that vary"):
        inputs_of(panel.with_missing(human=hidden))
    hidden[0, 2] = False  # of a person without weight
    with pytest.raises(ValueError, match="2 questions have answers that vary"):
        inputs_of(panel.with_missing(human=hidden), weights=[0.0] + [1.0] * (N - 1))


def test_labels_and_second_answers_must_fit(panel):
    with pytest.raises(ProblemsError) as caught:
        inputs_of(panel, groups={"sex": SEX[1:]}, arms=["a"] * 11 + ["b"], retest=np.ones((2, 2)))
    assert len(caught.value.problems) == 3
    with pytest.raises(ValueError, match="nobody has answered a question twice"):
        inputs_of(panel, retest=np.full((N, M), np.nan))
    with pytest.raises(ValueError, match="1 answers outside the question's range, the first 9"):
        inputs_of(panel, retest=np.where(np.arange(N * M).reshape(N, M) == 7, 9.0, 2.0))
    with pytest.raises(ValueError, match="31 different labels"):
        big = simulate_panel(62, 3, 2, key=0)[0]
        inputs_of(big, groups={"age": list(range(31)) * 2})


@pytest.mark.parametrize("weight", [np.ones(7), WEIGHT, np.array([1.0, 3.0, 0.0])])
def test_the_design_effect_is_people_over_their_effective_number(weight):
    expected = np.sum(weight > 0) / effective_weight(weight).sum()
    np.testing.assert_allclose(design_effect(weight), expected)
