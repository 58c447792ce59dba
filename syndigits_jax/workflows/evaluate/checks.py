"""Checks of what is to be evaluated; what can be left out is left out, and said."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from syndigits_jax.estimation.options import number_of_options
from syndigits_jax.evaluation import retest_answers
from syndigits_jax.panel import Panel
from syndigits_jax.solvers.boundary import listed
from syndigits_jax.tables.frames import as_pandas, is_frame
from syndigits_jax.tables.responses import response_matrix, some
from syndigits_jax.workflows.evaluate.evidence import Inputs, counted_answers
from syndigits_jax.workflows.people import as_label, checked_weights
from syndigits_jax.workflows.problems import Problems

FEWEST_QUESTIONS = 3
"""Questions with answers that an evaluation needs."""

MOST_GROUPS = 30
"""Groups of one column."""

_OFF_GRID = 1e-3  # steps by which rounding may put an answer beside an option


def inputs_of(
    panel: Panel,
    *,
    weights: Any = None,
    groups: Mapping[str, Any] | None = None,
    arms: Any = None,
    retest: Any = None,
    names: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Inputs:
    """What is to be evaluated, from Python.

    **Arguments:**

    - `panel`: human and twin answers.
    - `weights`: (n,) survey weights; only their ratios matter.
    - `groups`: by name, a label of each person, `None` or "" where it is missing: lists, arrays or
      columns of a data frame, like the other arguments.
    - `arms`: (n,) the randomised arm of each person, `None` or "" without one.
    - `retest`: the same people's second answers, (n, m) or a data frame of any kind, as in
      [`retest_answers`][syndigits_jax.evaluation.retest_answers].
    - `names`: of the files, for the report's head; `notes`: remarks for the report.

    Groups and arms of one person, and questions that everybody and every twin answers alike, are
    left out; the notes of the result say so.

    **Returns:** [`Inputs`][syndigits_jax.workflows.evaluate.evidence.Inputs].

    **Raises:** `ValueError` with a line for each thing that is wrong.

    **Example:**

        >>> from syndigits_jax.datasets import sample_panel
        >>> from syndigits_jax.workflows.evaluate.checks import inputs_of
        >>> panel = sample_panel().take(users=slice(0, 5))
        >>> inputs = inputs_of(panel, groups={"sex": ["f", "f", "m", "m", "x"]})
        >>> print(inputs.groups["sex"], inputs.notes[0])
        ('f', 'f', 'm', 'm', '') Of 'sex', 1 group of a single person is left out: 'x'.
    """
    problems, said = Problems(), list(notes)
    weight = None
    with problems.collected():
        if weights is not None:
            weight = checked_weights(weights, panel.users)
    panel, alike = _varied(panel)
    panel, between = _on_options(panel)
    said += alike + between
    counted = counted_answers(panel, weight)
    known = int(counted.any(axis=0).sum())
    if known < FEWEST_QUESTIONS:
        problems.say(
            f"`human`: {known} questions have answers that vary; to hold one out at least "
            f"{FEWEST_QUESTIONS} are needed"
        )
    labels = {}
    for name, column in (groups or {}).items():
        with problems.collected():
            labels[name], more = checked_labels(column, panel.n, "groups", name)
            said += more
    arm = None
    with problems.collected():
        if arms is not None:
            arm, more = checked_labels(arms, panel.n, "arms")
            said += more
    again = None
    with problems.collected():
        if retest is not None:
            again = _again(retest, panel, counted)
    problems.refuse()
    return Inputs(panel, weight, labels, arm, again, dict(names or {}), tuple(said))


def _varied(panel: Panel) -> tuple[Panel, list[str]]:
    """The panel without questions that have one answer only, from people and twins alike."""
    ranges = panel.with_observed_ranges()
    open_ = np.isnan(ranges.low) | np.isnan(ranges.high)
    if not open_.any() or (~open_).sum() < 2:
        return panel, []
    names = [name for name, one in zip(panel.questions, open_, strict=True) if one]
    many = "1 question is" if len(names) == 1 else f"{len(names)} questions are"
    note = f"{many} left out, as everybody and every twin gives the same answer: {some(names)}."
    return panel.drop(questions=names), [note]


def _on_options(panel: Panel) -> tuple[Panel, list[str]]:
    """The panel without the step of questions to which people answered between the options."""
    names = []
    for j, name in enumerate(panel.questions):
        count = number_of_options(panel.low[j], panel.high[j], panel.step[j])
        place = (panel.human[:, j] - panel.low[j]) / panel.step[j]
        if count >= 2 and np.nanmax(np.abs(place - np.round(place)), initial=0) > _OFF_GRID:
            names.append(name)
    if not names:
        return panel, []
    many = "1 question" if len(names) == 1 else f"{len(names)} questions"
    note = f"To {many} people gave answers between the options, which are ignored: {some(names)}."
    open_ = [name in names for name in panel.questions]
    return panel.replace(step=np.where(open_, np.nan, panel.step)), [note]


def checked_labels(
    column: Any, people: int, argument: str, name: str = ""
) -> tuple[tuple[str, ...], list[str]]:
    """Labels as text, "" for those of a single person, and what was left out, in sentences.

    **Arguments:** `column`: a label of each person; `people`: how many there are; `argument`:
    `"groups"` or `"arms"`; `name`: of the column, for messages.

    **Raises:** `ValueError` for another number of labels, fewer than two groups of at least two
    people, and more than [`MOST_GROUPS`][].
    """
    labels = tuple(as_label(cell) for cell in listed(column))
    shown, kind = repr(name) if name else f"the {argument}", argument.removesuffix("s")
    if len(labels) != people:
        raise ValueError(f"`{argument}`: {shown} must have a label for each of {people} people")
    counts = {label: labels.count(label) for label in sorted(set(labels) - {""})}
    alone = [label for label, count in counts.items() if count == 1]
    left = len(counts) - len(alone)
    if left < 2:
        raise ValueError(
            f"`{argument}`: {shown} must have two {kind}s of at least two people, got {left}"
        )
    if left > MOST_GROUPS:
        raise ValueError(
            f"`{argument}`: {shown} has {left} different labels, more than {MOST_GROUPS}; put them "
            "together into classes"
        )
    notes = []
    if alone:
        many = f"1 {kind} of a single person is"
        if len(alone) > 1:
            many = f"{len(alone)} {kind}s of a single person are"
        notes.append(f"Of {shown}, {many} left out: {some(alone)}.")
    if lost := labels.count(""):
        many = "1 person has" if lost == 1 else f"{lost} people have"
        notes.append(f"Of {shown}, {many} no label.")
    return tuple("" if label in alone else label for label in labels), notes


def _again(retest: Any, panel: Panel, counted: Bool[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
    """Second answers in the order of the panel."""
    if is_frame(retest):
        try:
            frame = as_pandas(retest, "frame")
            columns = [name for name in frame.columns if str(name) in panel.questions]
            values = retest_answers(panel, frame[columns] if columns else frame)
        except ValueError as error:
            raise ValueError(f"`retest`: {error}".replace("`frame`", "the table")) from None
    else:
        values = response_matrix(retest, "retest")
        if values.shape != (panel.n, panel.m):
            raise ValueError(f"`retest` must have shape {(panel.n, panel.m)}, got {values.shape}")
    if not np.any(counted & ~np.isnan(values)):
        raise ValueError("`retest`: nobody has answered a question twice")
    outside = (values < panel.low[None, :]) | (values > panel.high[None, :])
    if outside.any():
        i, j = np.argwhere(outside)[0]
        raise ValueError(
            f"`retest`: {int(outside.sum())} answers outside the question's range, the first "
            f"{values[i, j]:g} by {panel.users[i]!r} to {panel.questions[j]!r}"
        )
    return values
