"""The evaluation of twins, whole: evidence, sections and files."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from syndigits_jax import report
from syndigits_jax.report import Report, Section
from syndigits_jax.report.write import check_figure_sizes
from syndigits_jax.results.checkpoints import Checkpoints
from syndigits_jax.results.progress import OnProgress, Progress
from syndigits_jax.results.records import RESULTS
from syndigits_jax.tables.frames import Table
from syndigits_jax.version import __version__
from syndigits_jax.workflows.evaluate.effects import effects_section
from syndigits_jax.workflows.evaluate.evidence import (
    BATTERY,
    CONTROL,
    SURVEY,
    SURVEY_CONTROL,
    Evidence,
    Inputs,
    gather_evidence,
    hold_outs,
)
from syndigits_jax.workflows.evaluate.groups import groups_section
from syndigits_jax.workflows.evaluate.inputs import read_inputs
from syndigits_jax.workflows.evaluate.left_to_twins import left_to_twins_section
from syndigits_jax.workflows.evaluate.limits import limits_section
from syndigits_jax.workflows.evaluate.population import population_section
from syndigits_jax.workflows.evaluate.quality import quality_section
from syndigits_jax.workflows.evaluate.summary import summary
from syndigits_jax.workflows.evaluate.worth import worth_section
from syndigits_jax.workflows.people import weights_said
from syndigits_jax.workflows.problems import Problems

SECTIONS: dict[str, Callable[[Evidence], Section | None]] = {
    "quality": quality_section,
    "left_to_twins": left_to_twins_section,
    "worth": worth_section,
    "population": population_section,
    "groups": groups_section,
    "effects": effects_section,
    "limits": limits_section,
}
"""The sections in their order; one that has nothing to say is `None`."""

SUMMARY, FILES = "summary", "files"
"""What is done after the sections: the first sentences, and the files."""

_SECTION, _FILES = 8, 20  # as many steps of progress as they take time, roughly
_STEPS = {BATTERY: 60, CONTROL: 15, SURVEY: 60, SURVEY_CONTROL: 10}


def evaluate(
    human: Table,
    twin: Table,
    *,
    questions: Table | None = None,
    people: Table | None = None,
    weights: str | None = None,
    groups: Sequence[str] = (),
    blocks: str | None = None,
    arms: str | None = None,
    retest: Table | None = None,
    id_column: str | None = None,
    join: str = "error",
    missing: str | Iterable[Any] = (),
    batteries: bool = False,
    out: str | os.PathLike[str] | None = None,
    level: float = 0.95,
    key: int = 0,
    title: str = "",
    figure_width: float | int | None = None,
    font_size: float | int | None = None,
    on_progress: OnProgress | None = None,
) -> Report:
    """Whether twins are good enough, for which questions and for whom, from a user's own tables.

    **Arguments:**

    - `human`, `twin`, `questions`, `people`, `weights`, `groups`, `blocks`, `arms`, `retest`,
      `id_column`, `join`, `missing`, `batteries`: as in
      [`read_inputs`][syndigits_jax.workflows.evaluate.inputs.read_inputs].
    - `out`, `level`, `key`, `title`, `figure_width`, `font_size`, `on_progress`: as in
      [`evaluate_panel`][].

    **Returns:** the report; **raises** as these two.

    **Example:**

        >>> import tempfile
        >>> from pathlib import Path
        >>> from syndigits_jax.datasets import sample_panel
        >>> from syndigits_jax.workflows.evaluate.run import evaluate
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     paths = Path(folder) / "human.csv", Path(folder) / "twin.csv"
        ...     for path, frame in zip(paths, sample_panel().to_frames()):
        ...         frame.assign(sex="f").to_csv(path)
        ...     try:
        ...         report = evaluate(*paths, groups=["sexx"], out=Path(folder) / "report")
        ...     except ValueError as error:
        ...         print(error)
        `groups`: no column 'sexx' in `human` or `twin`; did you mean 'sex'?
    """
    problems, inputs = _problems(level, out, figure_width, font_size), None
    with problems.collected():
        inputs = read_inputs(
            human, twin, questions=questions, people=people, weights=weights, groups=groups,
            blocks=blocks, arms=arms, retest=retest, id_column=id_column, join=join,
            missing=missing, batteries=batteries,
        )  # fmt: skip
    problems.refuse()
    assert inputs is not None
    return _evaluated(inputs, out, level, key, title, figure_width, font_size, on_progress)


def evaluate_panel(
    inputs: Inputs,
    *,
    out: str | os.PathLike[str] | None = None,
    level: float = 0.95,
    key: int = 0,
    title: str = "",
    figure_width: float | int | None = None,
    font_size: float | int | None = None,
    on_progress: OnProgress | None = None,
) -> Report:
    """The report on tables that have been read, and its files.

    **Arguments:**

    - `inputs`: from [`read_inputs`][syndigits_jax.workflows.evaluate.inputs.read_inputs] or
      [`inputs_of`][syndigits_jax.workflows.evaluate.checks.inputs_of].
    - `out`: a folder for the report's files. Finished hold-outs are kept in it: after an interrupt
      the same call computes only what is missing, and writes the same files.
    - `level`: of all intervals; `key`: an integer, of everything random.
    - `title`: of the report.
    - `figure_width`, `font_size`: of the files of figures, as in
      [`write_report`][syndigits_jax.report.write_report].
    - `on_progress`: called with steps done, of all steps that are not finished yet.

    **Raises:** `ValueError` for a level outside (0, 1) or a folder that cannot be used, and as
    [`gather_evidence`][syndigits_jax.workflows.evaluate.evidence.gather_evidence].
    """
    _problems(level, out, figure_width, font_size).refuse()
    return _evaluated(inputs, out, level, key, title, figure_width, font_size, on_progress)


def _evaluated(
    inputs: Inputs,
    out: str | os.PathLike[str] | None,
    level: float,
    key: int,
    title: str,
    figure_width: float | int | None,
    font_size: float | int | None,
    on_progress: OnProgress | None,
) -> Report:
    """[`evaluate_panel`][] of checked options."""
    store = Checkpoints.under(out)
    steps = _Steps(inputs, key, level, store, on_progress)
    evidence = gather_evidence(inputs, level=level, key=key, store=store, on_share=steps.share)
    sections = []
    for name, make in SECTIONS.items():
        section = make(evidence)
        sections += [] if section is None else [section]
        steps.done(name)
    found = Report(
        title=title or "How good are these twins?",
        facts=facts(evidence),
        summary=summary(evidence, sections),
        sections=tuple(sections),
        notes=inputs.notes,
    )
    steps.done(SUMMARY)
    if out is not None:
        report.write_report(found, Path(out), figure_width=figure_width, font_size=font_size)
    steps.done(FILES)
    return found


def facts(evidence: Evidence) -> dict[str, str | int | float | None]:
    """What the report is on, by label, for its head."""
    inputs, panel = evidence.inputs, evidence.inputs.panel
    said: dict[str, str | int | float | None] = {
        _FILES_SAID[name]: file for name, file in inputs.names.items()
    }
    said["people"] = panel.n
    said["questions"] = len(evidence.questions)
    if unanswered := len(panel.new_questions):
        said["questions that nobody answered"] = unanswered
    if evidence.block is not None:
        said["blocks of questions"] = len(set(evidence.block))
    said["people's answers"] = int(np.sum(~np.isnan(evidence.truth)))
    said["answers missing"] = _percent(np.mean(np.isnan(evidence.truth)))
    said["twins' answers missing"] = _percent(np.mean(np.isnan(evidence.twin)))
    if inputs.weight is not None:
        said["survey weights"] = weights_said(inputs.weight)
    if inputs.groups:
        said["groups"] = ", ".join(inputs.groups)
    if inputs.arms is not None:
        said["arms"] = ", ".join(sorted(set(inputs.arms) - {""}))
    said["level of intervals"] = f"{100 * evidence.level:g}%"
    said["seed"] = evidence.key
    said["syndigits_jax"] = __version__
    return said


_FILES_SAID = {
    "human": "table of people's answers",
    "twin": "table of twins' answers",
    "questions": "file of questions",
    "people": "table of people",
    "retest": "table of second answers",
}


def _percent(share: float | np.floating) -> str:
    return f"{100 * share:.0f}%" if share == 0 or share >= 0.005 else "less than 1%"


def _problems(
    level: float,
    out: str | os.PathLike[str] | None,
    figure_width: float | int | None,
    font_size: float | int | None,
) -> Problems:
    """What is wrong with the options."""
    problems = Problems()
    if not 0 < level < 1:
        problems.say(f"`level` must be a share between 0 and 1, got {level:g}")
    with problems.collected():
        check_figure_sizes(figure_width, font_size)
    with problems.collected():
        if out is not None:
            check_report_folder(Path(out))
    return problems


def check_report_folder(out: Path) -> None:
    """Check, before any work, that a report can be written to a folder.

    **Raises:** `ValueError` if it is a file, or its results file is of something else.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"`out`: {out} is not a folder")
    path = out / RESULTS
    if not path.exists():
        return
    try:
        known = {"title", "facts", "sections"} <= json.loads(path.read_text("utf-8")).keys()
    except (ValueError, AttributeError, OSError, RecursionError):
        known = False
    if not known:
        raise ValueError(f"`out`: {path} is of something else than a report; choose another folder")


class _Steps:
    """Progress in steps, without those of hold-outs that were finished before."""

    def __init__(
        self,
        inputs: Inputs,
        key: int,
        level: float,
        store: Checkpoints | None,
        show: OnProgress | None,
    ) -> None:
        self.show = show
        self.left: Mapping[str, int] = {
            one.name: _STEPS[one.name]
            for one in hold_outs(inputs, key, level)
            if store is None or not store.path(one.key).exists()
        }
        parts = dict.fromkeys((*SECTIONS, SUMMARY), _SECTION) | {FILES: _FILES}
        self.total = sum(self.left.values()) + sum(parts.values())
        self.parts, self.before = parts, 0

    def share(self, name: str, share: float) -> None:
        """A hold-out of which this share is done."""
        if name in self.left:
            steps = self.left[name]
            self._say(f"holding out {name}", self.before + round(share * steps))
            self.before += steps if share >= 1 else 0
            if share >= 1:
                self.left = {other: n for other, n in self.left.items() if other != name}

    def done(self, name: str) -> None:
        """A section, or the files."""
        self.before += self.parts[name]
        self._say("writing" if name == SUMMARY else "analysing", self.before)

    def _say(self, label: str, done: int) -> None:
        if self.show is not None:
            self.show(Progress(0, 1, label, done, self.total, counted="steps"))
