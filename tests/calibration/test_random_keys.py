"""Methods with a random start take a JAX key; the default is a fixed one."""

import dataclasses

import jax
import numpy as np
import pytest
from small_panels import small_panel

from syndigits_jax.calibration import AlternatingLeastSquares, NeuralNet, calibrate_question
from syndigits_jax.evaluation import choose_penalty

PANEL = small_panel(0)
METHODS = [NeuralNet((3,), epochs=4), AlternatingLeastSquares(2, 0.5)]


def predicted(method) -> np.ndarray:
    human, twin = np.array(PANEL.human[:, :-1]), np.array(PANEL.twin)
    return np.asarray(calibrate_question(method, human, twin).prediction)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_the_default_is_a_fixed_key_and_another_key_another_start(method):
    usual = predicted(method)
    for key in (jax.random.key(0), jax.random.PRNGKey(0)):
        same = predicted(dataclasses.replace(method, key=key))
        np.testing.assert_allclose(same, usual, atol=1e-5)
    other = predicted(dataclasses.replace(method, key=jax.random.key(1)))
    assert np.max(np.abs(other - usual)) > 1e-4


def test_a_key_takes_part_in_a_grid_of_penalties():
    human, twin = np.array(PANEL.human[:, :-1]), np.array(PANEL.twin)
    method, penalties = AlternatingLeastSquares(2, 0.5), [0.5, 5.0]
    usual = choose_penalty(method, human, twin, penalties, folds=2)
    keyed = dataclasses.replace(method, key=jax.random.key(0))
    choice = choose_penalty(keyed, human, twin, penalties, folds=2)
    np.testing.assert_allclose(choice.error, usual.error, rtol=1e-5)
    assert choice.best.key.shape == () and choice.best.penalty == usual.best.penalty
