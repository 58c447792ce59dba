"""Calibrators from the words of a command."""

import jax
import pytest

from syndigits_jax.calibration import NeuralNet, Ridge
from syndigits_jax.results.checkpoints import describe
from syndigits_jax.workflows.calibrate import build_method, hyperparameters_of, method_title


def test_a_seed_becomes_the_key():
    method = build_method("neural-net", {"seed": 5, "hidden": (4,)})
    assert isinstance(method, NeuralNet) and method.hidden == (4,)
    assert jax.random.key_data(method.key).tolist() == [0, 5]
    assert "--seed 5" in method_title(method) and "--seed 0" in method_title(NeuralNet())
    assert "seed" in hyperparameters_of(NeuralNet) and "seed" not in hyperparameters_of(Ridge)
    with pytest.raises(ValueError, match="ridge has no --seed"):
        build_method("ridge", {"seed": 5})


def test_the_key_is_part_of_what_a_checkpoint_knows():
    one, same, other = (build_method("als", {"seed": seed}) for seed in (5, 5, 6))
    assert describe(one) == describe(same) != describe(other) != describe(build_method("als"))
