"""What cannot be concluded: sentences that follow from what is in the tables."""

import dataclasses

import numpy as np
import pytest

from syndigits_jax.datasets import simulate_panel
from syndigits_jax.estimation import HeldOutProbabilities
from syndigits_jax.estimation.people import effective_weight
from syndigits_jax.schema import Scale
from syndigits_jax.workflows.evaluate.checks import inputs_of
from syndigits_jax.workflows.evaluate.evidence import Evidence
from syndigits_jax.workflows.evaluate.limits import limits_section

N, M = 120, 20
ALWAYS = {"other_questions", "learnt_answers", "these_twins"}
BARE = ALWAYS | {"no_blocks", "one_kind", "no_retest", "no_options", "no_weights", "no_groups",
                 "no_arms"}  # fmt: skip


def evidence(panel, *, level=0.95, **given):
    """Evidence without predictions, of which limits say nothing."""
    inputs = inputs_of(panel, **given)
    panel = inputs.panel
    at = np.flatnonzero(panel.human_mask.any(axis=0))
    ranges = panel.with_observed_ranges()
    return Evidence(
        inputs=inputs,
        questions=tuple(panel.questions[j] for j in at),
        at=at,
        truth=panel.human[:, at].T,
        twin=panel.twin[:, at].T,
        low=ranges.low[at],
        high=ranges.high[at],
        block=tuple(panel.blocks[j] for j in at) if panel.blocks else None,
        predictions={},
        survey={},
        weight=effective_weight(np.ones(panel.n)),
        level=level,
    )


def said(found):
    section = limits_section(found)
    assert section.name == "limits" and not any(claim.finding for claim in section.claims)
    assert all(claim.text.endswith((".", "?")) for claim in section.claims)
    return {claim.name.removeprefix("limits."): claim.text for claim in section.claims}


@pytest.fixture(scope="module")
def panel():
    return simulate_panel(N, M, 2, key=0, scale=Scale(1, 5, 1))[0]


def test_bare_tables_have_these_limits(panel):
    assert set(said(evidence(panel))) == BARE


def test_what_is_given_lifts_a_limit(panel):
    blocks = [f"b{j}" for j in range(M)]
    groups = {"sex": ["f", "m"] * (N // 2)}
    found = evidence(
        panel.with_blocks(blocks), weights=np.ones(N), groups=groups, arms=["a", "b"] * (N // 2),
        retest=panel.human,
    )  # fmt: skip
    lifted = {"no_blocks", "no_weights", "no_groups", "no_arms", "no_retest"}
    assert set(said(found)) == (BARE - lifted) | {"weights", "arms"}
    wide = np.where(np.arange(M) < 3, 9.0, 5.0)
    assert "one_kind" not in said(evidence(panel.replace(high=wide)))


@pytest.mark.parametrize(
    ("change", "given", "name", "words"),
    [
        (lambda p: p.take(questions=slice(0, 18)), {}, "few_questions", "18 questions are too"),
        (lambda p: p.take(questions=slice(0, 8)), {"level": 0.9}, "few_questions", "it takes 9"),
        (lambda p: p.with_blocks(["a"] * M), {}, "one_block", "All questions are of one block"),
        (lambda p: p.with_blocks(["a", "b"] * 10), {}, "few_blocks", "There are 2 blocks"),
        (lambda p: p.take(users=slice(0, 50)), {}, "few_people", "here 50, only large"),
        (
            lambda p: p,
            {"weights": np.where(np.arange(N) < 20, 5.0, 1.0)},
            "weights",
            "design effect of 1.80: intervals are as wide as those of 67 people rather than 120",
        ),
        (
            lambda p: p,
            {"groups": {"sex": ["f"] * 10 + ["m"] * 110}},
            "small_groups",
            "Fewer than 30 people are in sex f.",
        ),
        (
            lambda p: p.with_missing(human=np.add.outer(np.arange(N), np.arange(M)) % 4 == 0),
            {},
            "missing_answers",
            "25% of people's answers are missing",
        ),
        (
            lambda p: p.replace(low=np.where(np.arange(M) < 4, np.nan, 1.0)),
            {},
            "no_ranges",
            "The answer ranges of 4 of the questions are not given",
        ),
        (
            lambda p: p.replace(twin=np.where(np.arange(M) == 2, p.human, p.twin)),
            {},
            "told_answers",
            "At least 95% of the twins give exactly their person's answer to 'question_2'.",
        ),
    ],
)
def test_a_limit_is_said_where_it_holds(panel, change, given, name, words):
    assert name not in said(evidence(panel))
    assert words in said(evidence(change(panel), **given))[name]


def test_answers_that_everybody_gives_were_not_told(panel):
    human = panel.human.copy()
    human[:, 2] = np.where(np.arange(N) < 3, 1, 3)
    assert "told_answers" not in said(evidence(panel.replace(human=human, twin=human * 0 + 3)))


def test_probabilities_lift_the_limit_of_options(panel):
    none = np.zeros((0, N))
    empty = HeldOutProbabilities(
        (), (), none[:, :, None], none, np.zeros(0, int), none, np.zeros(0), np.ones(N)
    )
    found = dataclasses.replace(evidence(panel), probabilities=empty)
    assert "no_options" not in said(found)
