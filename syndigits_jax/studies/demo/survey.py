"""A simulated survey with everything that `syndigits evaluate` can use, and with known faults.

Its twins answer with their own levels and a wrong mix of preferences, which calibration can undo;
those of the oldest people know nothing of their person, which it cannot.
"""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from syndigits_jax.datasets import simulate_panel, write_questions
from syndigits_jax.datasets.tables import write_table
from syndigits_jax.results.keys import Key, entropy
from syndigits_jax.schema import Option, Question, Scale

LABELS = ("Disagree strongly", "Disagree", "Neither", "Agree", "Agree strongly")

STATEMENTS = {
    "delivery": (
        "I would rather have groceries delivered than go to a shop",
        "Delivery within two hours matters to me",
        "I trust others to choose fruit and vegetables for me",
        "I would pay for delivery on the same day",
        "Deliveries come when I am not at home",
        "I would let a neighbour take my delivery",
        "A fixed weekly delivery would suit my household",
    ),
    "prices": (
        "I compare prices before I order",
        "Delivery fees keep me from ordering",
        "I buy whatever is on offer",
        "Groceries have become too expensive",
        "I would pay more for food from my region",
        "A subscription without fees would be worth its price",
        "I stop buying a product when its price rises",
    ),
    "brands": (
        "I stay with the brands that I know",
        "Shop brands are as good as others",
        "I try new products when I see them",
        "Advertising makes me curious",
        "I ask friends before I change a brand",
        "An ethical label decides what I buy",
        "I read what a product is made of",
    ),
    "habits": (
        "I cook at home on most days",
        "I plan meals for the whole week",
        "I throw away food more often than I like",
        "I eat less meat than I used to",
        "I order ready meals when I have little time",
        "Shopping for food is a pleasure",
        "I decide in the shop what to eat",
    ),
}
"""Statements by block, each answered from 1 to 5."""

FRAMED = ("prices_2", "prices_6", "delivery_4")
"""Questions whose answers depend on the arm: the price is named for a week or for a month."""

AGES = ("18 to 29", "30 to 44", "45 to 64", "65 and over")
REGIONS = ("North", "South", "East", "West")


@dataclass(frozen=True, eq=False)
class Survey:
    """Tables of a simulated survey, as data frames with a row per person, and its questions.

    - `human`, `twin`: answers; `people`: `age`, `region`, `frame` (the arm) and `weight`.
    """

    human: Any
    twin: Any
    people: Any
    questions: tuple[Question, ...]


def simulate_survey(people: int = 300, *, key: Key = 0) -> Survey:
    """A survey on groceries among simulated `people`, and the answers of their twins.

    Naming the price for a month lowers people's agreement with the [`FRAMED`][] statements by half
    a point; twins move by a quarter. Twins of people of 65 and over are those of somebody else.

    **Example:**

        >>> from syndigits_jax.studies.demo.survey import simulate_survey
        >>> survey = simulate_survey(60)
        >>> print(survey.human.shape, list(survey.people.columns))
        (60, 28) ['age', 'region', 'frame', 'weight']
    """
    import pandas as pd

    questions = _questions()
    scale = Scale(1, 5, step=1)
    panel, truth = simulate_panel(
        people, len(questions), 3, key=key, fidelity=0.75, mixing=0.6, common=0.9, signal=0.75,
        noise=0.65, twin_signal=0.55, twin_noise=0.3, question_mean=3.2, question_spread=0.5,
        bias=0.3, bias_spread=0.35, missing=0.04,
    )  # fmt: skip
    rng = np.random.default_rng([entropy(key), 1])
    age = rng.choice(4, people, p=[0.3, 0.3, 0.25, 0.15])
    month = rng.permutation(people) < people // 2
    human, twin = truth.human_complete, truth.twin_complete.copy()
    old = np.flatnonzero(age == 3)
    twin[old] = twin[np.roll(old, 1)]
    framed = np.array([question.identifier in FRAMED for question in questions])
    moved = np.outer(month, framed)
    human, twin = human - 0.5 * moved, twin - 0.25 * moved
    human, twin = scale.nearest(human), scale.nearest(twin)
    human[np.isnan(panel.human)] = np.nan
    index = pd.Index([f"p{i:03d}" for i in range(people)], name="person")
    names = [question.identifier for question in questions]
    described = {
        "age": [AGES[i] for i in age],
        "region": rng.choice(REGIONS, people),
        "frame": np.where(month, "price of a month", "price of a week"),
        # The young answered too often.
        "weight": np.round(np.array([0.6, 0.9, 1.2, 1.8])[age] * rng.uniform(0.9, 1.1, people), 3),
    }
    return Survey(
        pd.DataFrame(human, index, names),
        pd.DataFrame(twin, index, names),
        pd.DataFrame(described, index),
        questions,
    )


def write_survey(survey: Survey, folder: str | PathLike[str]) -> dict[str, Path]:
    """Write `human.csv`, `twin.csv`, `people.csv` and `questions.json`; their paths by name."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.csv" for name in ("human", "twin", "people")}
    for name, path in paths.items():
        write_table(path, getattr(survey, name))
    paths["questions"] = folder / "questions.json"
    write_questions(paths["questions"], survey.questions)
    return paths


def _questions() -> tuple[Question, ...]:
    options = tuple(Option(value, label) for value, label in enumerate(LABELS, 1))
    return tuple(
        Question(f"{block}_{i}", text=f"{statement}.", options=options, block=block)
        for block, statements in STATEMENTS.items()
        for i, statement in enumerate(statements, 1)
    )
