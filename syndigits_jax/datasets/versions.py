"""Experiments between people in which every arm has a column of its own.

Survey programs often record a question that was put in several versions (gain or loss, high or low
anchor) as one column per version, of which each person answered one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..panel import Panel
from ..tables.responses import some

TWIN_2K_500_EXPERIMENTS: Mapping[str, Mapping[str, str]] = {
    "engineer, by base rate": {"30 of 100": "Form A _1", "70 of 100": "Q156_1"},
    "risky programme": {"gain": "Q157", "loss": "Q158"},
    "Linda is a bank teller": {"alone": "Q159_3", "and a feminist": "Q160_3"},
    "decision was right": {"success": "Q161", "failure": "Q162"},
    "fewer African countries than": {"12": "Q163", "65": "Q165"},
    "redwood smaller than": {"85 feet": "Q167", "1000 feet": "Q169"},
    "cups bought from the rival": {"no sunk cost": "Q181", "sunk cost": "Q182"},
    "stay at this branch": {"calculator": "Q183", "jacket": "Q184"},
    "riskier lottery (Allais)": {"certain or not": "Q192", "both uncertain": "Q193"},
    "ban the car": {"Ford": "Q194", "German": "Q195"},
    "gamble is attractive": {"A": "Q171", "B": "Q172", "C": "Q173"},
    "highway requirement": {"A": "Q174", "B": "Q175", "C": "Q176"},
    "seat belt": {"A": "Q177", "B": "Q178", "C": "Q179"},
    "price of a risk": {"pay, certain": "Q189", "accept": "Q190", "pay, uncertain": "Q191"},
}
"""Experiments between people of Twin-2K-500, of which each person saw one version, for
[`merge_versions`][]. Of the anchoring experiments the public tables have the anchoring questions
(more or fewer than the anchor) in both arms, but the estimates that follow in one arm only, so that
the effect of an anchor on estimates cannot be computed from them."""


@dataclass(frozen=True)
class Versions:
    """A panel with one question per outcome, and who saw which version.

    - `panel`: the columns of versions are merged; other questions keep their order before them.
    - `arms`: by outcome, (n,) the arm of each person, "" for people who answered no version.
    """

    panel: Panel
    arms: Mapping[str, tuple[str, ...]]


def merge_versions(panel: Panel, outcomes: Mapping[str, Mapping[str, str]]) -> Versions:
    """Columns of versions of one question as one question, and the arm of every person.

    The arm is the version that a person answered; for people who answered none, that which their
    twin answered.

    **Arguments:**

    - `panel`: with a column per version.
    - `outcomes`: by name of the new question, the columns by arm, the control first, such as
      `{"programme": {"gain": "Q157", "loss": "Q158"}}`.

    **Raises:** `ValueError` for columns that the panel lacks or that are named twice, an outcome
    with fewer than two versions, people (or, where nobody was asked, twins) who answered several
    versions, a twin who answered another version than its person, and versions that differ in
    their options. Versions without options may differ in range; the widest holds.

    **Example:**

        >>> from syndigits_jax import Panel
        >>> from syndigits_jax.datasets import merge_versions
        >>> answers = [[1, None, 3], [None, 2, 4], [5, None, 5]]
        >>> panel = Panel.from_arrays(answers, answers, questions=["gain", "loss", "age"])
        >>> found = merge_versions(panel, {"programme": {"gain": "gain", "loss": "loss"}})
        >>> print(found.panel.questions, found.arms["programme"])
        ('age', 'programme') ('gain', 'loss', 'gain')
    """
    place = {name: j for j, name in enumerate(panel.questions)}
    columns = [column for versions in outcomes.values() for column in versions.values()]
    if lacking := [column for column in columns if column not in place]:
        raise ValueError(f"`outcomes`: no question {some(lacking)} in the panel")
    if len(set(columns)) < len(columns):
        raise ValueError("`outcomes`: a column is a version of several outcomes")
    kept = [j for name, j in place.items() if name not in columns]
    if twice := [name for name in outcomes if name in place and name not in columns]:
        raise ValueError(f"`outcomes`: the panel has a question {some(twice)} already")
    merged, arms = [], {}
    for name, versions in outcomes.items():
        at = [place[column] for column in versions.values()]
        if len(at) < 2:
            raise ValueError(f"`outcomes`: {name!r} needs at least two versions, got {len(at)}")
        human, twin = panel.human[:, at], panel.twin[:, at]
        arm = _arm(name, human, twin)
        for key in ("low", "high", "step"):
            ends = getattr(panel, key)[at]
            same = np.isnan(ends).all() or (ends == ends[0]).all()
            if not same and (key == "step" or not np.isnan(panel.step[at]).all()):
                raise ValueError(f"`outcomes`: the versions of {name!r} differ in their options")
        labels = np.array(["", *versions], dtype=object)
        arms[name] = tuple(labels[arm + 1])
        merged.append((name, at, arm))

    def columns_of(values: np.ndarray) -> np.ndarray:
        rows = np.arange(panel.n)
        new = [np.where(arm < 0, np.nan, values[:, at][rows, arm]) for _, at, arm in merged]
        return np.column_stack([values[:, kept], *new])

    first = [at[0] for _, at, _ in merged]
    low = [np.min(panel.low[at]) for _, at, _ in merged]  # NaN if one is unknown
    high = [np.max(panel.high[at]) for _, at, _ in merged]
    order = [*kept, *first]
    result = Panel(
        human=columns_of(panel.human),
        twin=columns_of(panel.twin),
        users=panel.users,
        questions=(*(panel.questions[j] for j in kept), *outcomes),
        name=panel.name,
        low=np.array([*panel.low[kept], *low]),
        high=np.array([*panel.high[kept], *high]),
        step=panel.step[order],
        controls={key: columns_of(values) for key, values in panel.controls.items()},
        dropped=panel.dropped,
        blocks=tuple(panel.blocks[j] for j in order) if panel.blocks else (),
    )
    return Versions(result, arms)


def _arm(name: str, human: np.ndarray, twin: np.ndarray) -> np.ndarray:
    """(n,) positions of the versions, -1 for none."""
    asked, answered = ~np.isnan(human), ~np.isnan(twin)
    if (several := (asked.sum(axis=1) > 1)).any():
        raise ValueError(
            f"`outcomes`: {int(several.sum())} people answered several versions of {name!r}; "
            "these are not versions that each person saw one of"
        )
    arm = np.where(asked.any(axis=1), asked.argmax(axis=1), -1)
    alone = (arm < 0) & (answered.sum(axis=1) == 1)
    arm = np.where(alone, answered.argmax(axis=1), arm)
    known = (arm >= 0) & answered.any(axis=1)
    other = known & ~answered[np.arange(len(arm)), np.maximum(arm, 0)]
    if other.any():
        raise ValueError(
            f"`outcomes`: {int(other.sum())} twins answered another version of {name!r} than "
            "their people"
        )
    return arm
