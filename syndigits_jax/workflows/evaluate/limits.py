"""What cannot be concluded from these tables, said from what is and is not in them."""

from collections.abc import Iterator, Sequence

import numpy as np

from syndigits_jax.estimation import fewest_units
from syndigits_jax.report import Claim, Section
from syndigits_jax.tables.responses import some
from syndigits_jax.workflows.evaluate.evidence import Evidence
from syndigits_jax.workflows.people import design_effect

FEW_PEOPLE = 100
"""With fewer people, intervals are wide and only large differences can be told."""

SMALL_GROUP = 30
"""Of a group of fewer people, little can be told."""

ALIKE = 0.95
"""From this share of equal answers on, twins look as if they had been told the answers."""

MUCH_MISSING = 0.2
"""From this share of missing answers on, who did not answer matters."""

_Limit = tuple[str, str]


def limits_section(evidence: Evidence) -> Section:
    """The limits of an evaluation, a sentence or two each.

    **Arguments:** `evidence`: the tables, and what was held out.

    **Returns:** the section `limits`, whose claims assert no finding.
    """
    parts = (_questions, _answers, _people, _groups, _effects, _twins)
    found = [limit for part in parts for limit in part(evidence)]
    claims = tuple(Claim(f"limits.{name}", text) for name, text in found)
    return Section("limits", "What cannot be concluded from these tables", claims)


def _questions(evidence: Evidence) -> Iterator[_Limit]:
    count, blocks = len(evidence.questions), set(evidence.block or ())
    held = "Questions were therefore held out beside others of their own survey, and nothing here "
    held += "says how the twins do in a new one."
    if evidence.block is None:
        yield "no_blocks", f"No blocks of questions are given. {held}"
    elif len(blocks) < 2:
        yield "one_block", f"All questions are of one block. {held}"
    needed = fewest_units(evidence.level)
    of = f"{100 * evidence.level:g}%"
    if count < needed:
        yield (
            "few_questions",
            f"{count} questions are too few for a {of} interval of what to expect of a single new "
            f"question: it takes {needed}.",
        )
    if 2 <= len(blocks) < needed:
        yield (
            "few_blocks",
            f"There are {len(blocks)} blocks of questions. A {of} interval of what to expect of a "
            f"question of a new survey takes {needed}.",
        )
    kinds = set(zip(evidence.low.tolist(), evidence.high.tolist(), strict=True))
    if len(kinds) == 1 and count > 1:
        low, high = kinds.pop()
        yield (
            "one_kind",
            f"All questions are answered on one scale, from {low:g} to {high:g}. Nothing here is "
            "about questions of another kind.",
        )
    yield (
        "other_questions",
        "What is said of new questions holds for questions that could as well have been among "
        "these. On other topics, twins may do better or worse.",
    )


def _answers(evidence: Evidence) -> Iterator[_Limit]:
    panel = evidence.inputs.panel
    if evidence.inputs.retest is None:
        yield (
            "no_retest",
            "Nobody was asked twice. How well these answers could be predicted at best is "
            "therefore not known: people do not answer alike either when they are asked again.",
        )
    open_ = np.isnan(panel.low[evidence.at]) | np.isnan(panel.high[evidence.at])
    if open_.any():
        many = "the questions" if open_.all() else f"{int(open_.sum())} of the questions"
        yield (
            "no_ranges",
            f"The answer ranges of {many} are not given. They were taken from the answers, and "
            "errors in percent of a range are too large where nobody chose an end of it.",
        )
    if evidence.probabilities is None:
        yield (
            "no_options",
            "The options of the questions are not given. Shares of people who choose an option "
            "were therefore not judged.",
        )
    missing = float(np.mean(np.isnan(evidence.truth)))
    if missing >= MUCH_MISSING:
        yield (
            "missing_answers",
            f"{100 * missing:.0f}% of people's answers are missing. The figures are on those who "
            "answered; who did not may differ, from their twins too.",
        )


def _people(evidence: Evidence) -> Iterator[_Limit]:
    panel, weight = evidence.inputs.panel, evidence.inputs.weight
    people = panel.n if weight is None else int(np.sum(weight > 0))
    if weight is None:
        yield (
            "no_weights",
            "There are no survey weights: all people count alike. Unless they are a random sample, "
            "the figures are on these people and not on a population.",
        )
    else:
        effect = design_effect(weight)
        yield (
            "weights",
            f"The weights have a design effect of {effect:.2f}: intervals are as wide as those of "
            f"{people / effect:.0f} people rather than {people}. Weights correct only for what "
            "they were made from.",
        )
        people = people / effect
    if people < FEW_PEOPLE:
        yield (
            "few_people",
            f"With as few people, here {people:.0f}, only large differences can be told from "
            "chance. That a difference is not shown does not mean that there is none.",
        )


def _groups(evidence: Evidence) -> Iterator[_Limit]:
    groups = evidence.inputs.groups
    if not groups:
        yield (
            "no_groups",
            "No groups of people are given. The twins may be good on average and bad for some.",
        )
        return
    small = [
        f"{name} {label}"
        for name, labels in groups.items()
        for label in sorted(set(labels) - {""})
        if labels.count(label) < SMALL_GROUP
    ]
    if small:
        yield (
            "small_groups",
            f"Fewer than {SMALL_GROUP} people are in {_listed(small)}. Little can be told of so "
            "small groups.",
        )


def _effects(evidence: Evidence) -> Iterator[_Limit]:
    if evidence.inputs.arms is None and not evidence.inputs.outcome_arms:
        yield (
            "no_arms",
            "No randomised arms are given. Whether twins react to a change as people do is not "
            "judged: good answers to questions do not imply it.",
        )
    else:
        yield (
            "arms",
            "Effects are those of the arms only if people were assigned to them at random, which "
            "tables cannot show.",
        )


def _twins(evidence: Evidence) -> Iterator[_Limit]:
    told = _told(evidence)
    if told:
        yield (
            "told_answers",
            f"At least {100 * ALIKE:.0f}% of the twins give exactly their person's answer to "
            f"{some(told)}. They were probably told it, which says nothing about answers that "
            "they were not told.",
        )
    yield (
        "learnt_answers",
        "Tables do not show what the twins were made from. If any of these answers, or answers to "
        "nearly the same questions, were in their prompts or training, they look better here than "
        "they are.",
    )
    yield (
        "these_twins",
        "All figures are on the twins of this table: on one model, its version and its prompt. "
        "Others need an evaluation of their own.",
    )


def _told(evidence: Evidence) -> Sequence[str]:
    """Questions to which nearly all twins give the very answer of a person whose answer varies."""
    found = []
    for name, truth, twin in zip(evidence.questions, evidence.truth, evidence.twin, strict=True):
        both = ~np.isnan(truth) & ~np.isnan(twin)
        alike = np.mean(truth[both] == twin[both]) if both.any() else 0.0
        _, counts = np.unique(truth[both], return_counts=True)
        # Where nearly everybody answers alike, twins who do so too need not have been told.
        if alike >= ALIKE and counts.max(initial=0) < ALIKE * both.sum():
            found.append(name)
    return found


def _listed(names: Sequence[str], most: int = 6) -> str:
    shown = list(names[:most])
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} others"
    return ", ".join(shown[:-1]) + " and " + shown[-1] if len(shown) > 1 else shown[0]
