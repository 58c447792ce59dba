"""Panels with whole surveys missing: fits converge, statuses are honest, estimates are good."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from syndigits_jax.calibration import Imputation
from syndigits_jax.datasets import simulate_block_panel
from syndigits_jax.estimation import AUTO, estimate_questions, hold_out_questions
from syndigits_jax.estimation import components as module
from syndigits_jax.estimation.components import donors
from syndigits_jax.estimation.questions import responses_of
from syndigits_jax.solvers import Status

PEOPLE, QUESTIONS, SURVEYS = 300, 40, 8
PANEL, BLOCKS, _ = simulate_block_panel(PEOPLE, QUESTIONS, SURVEYS, key=1)


@functools.cache
def held_out(setting):
    return hold_out_questions(PANEL, setting=setting, blocks=BLOCKS)


def correlations(setting, name):
    return np.nan_to_num(held_out(setting).scores("pearson", name))


@pytest.mark.parametrize("setting", ["known battery", "new survey"])
def test_every_fit_and_every_imputation_converges(setting):
    held = held_out(setting)
    assert np.all(held.status[AUTO] == Status.CONVERGED)
    assert np.all(held.imputation_status[AUTO] == Status.CONVERGED)
    assert np.all(np.isfinite(held.predictions[AUTO]))


@pytest.mark.parametrize("setting, gain", [("known battery", 0.1), ("new survey", 0.0)])
def test_estimates_are_better_than_the_twins_and_the_persons_mean(setting, gain):
    auto = correlations(setting, AUTO)
    for name in ("Baseline", "UserMean"):
        difference = auto - correlations(setting, name)
        error = difference.std(ddof=1) / np.sqrt(QUESTIONS)
        assert difference.mean() > gain - 2 * error


def test_a_new_survey_is_harder_than_a_new_question_of_a_known_one():
    easy, hard = (correlations(s, AUTO).mean() for s in ("known battery", "new survey"))
    assert easy > hard + 0.05


def test_a_new_survey_is_estimated_as_one():
    first = BLOCKS[0]
    new = [q for q, block in zip(PANEL.questions, BLOCKS, strict=True) if block == first]
    found = estimate_questions(PANEL, new, blocks=BLOCKS, expect=False)
    assert set(found.setting) == {"new survey"}
    assert np.all(found.status == Status.CONVERGED) and np.all(
        found.imputation_status == Status.CONVERGED
    )


def test_an_imputation_that_runs_out_of_steps_says_so(monkeypatch):
    responses = responses_of(PANEL, None)
    used = jnp.ones(QUESTIONS, bool)
    assert np.all(np.asarray(donors(responses, used).status) == Status.CONVERGED)
    monkeypatch.setattr(module, "IMPUTATION", Imputation(max_steps=2))
    stopped = donors.__wrapped__(responses, used)
    assert np.all(np.asarray(stopped.status) == Status.MAX_STEPS)


def test_gaps_are_filled_better_than_by_the_mean():
    """Standardised donors without gaps, compared with what is behind the answers."""
    panel, _, truth = simulate_block_panel(PEOPLE, QUESTIONS, SURVEYS, key=1)
    found = donors(responses_of(panel, None), jnp.ones(QUESTIONS, bool))
    for side, mask, noiseless in (
        (found.human, panel.human_mask, truth.human),
        (found.twin, panel.twin_mask, truth.twin),
    ):
        side = np.asarray(side)
        np.testing.assert_allclose(side.mean(0), 0, atol=1e-4)
        np.testing.assert_allclose(side.std(0), 1, atol=1e-3)
        assert np.corrcoef(side[~mask], (noiseless - noiseless.mean(0))[~mask])[0, 1] > 0.25
