"""The random-mixture ceiling has the law of the encoder's mixtures, whatever their temperature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from populations import prototypes, users
from scipy import stats

from syndigits_jax.fidelity.baselines import random_mixture
from syndigits_jax.fidelity.real_users import real_users
from syndigits_jax.preferences.encoder import init_mixture, user_embedding

KEY = jax.random.key(0)
P = jnp.asarray(prototypes(), jnp.float32)
SMALL = {"size": 60, "count": 60, "replicates": 2, "projections": 5, "permutations": 3}


@pytest.mark.parametrize("temperature", [0.25, 3.0])
def test_random_mixtures_are_untrained_users(temperature):
    made = np.asarray(random_mixture(KEY, P, 2000, temperature=temperature))
    logits = init_mixture(jax.random.key(1), 2000, 4)
    untrained = np.asarray(user_embedding(P, logits, temperature))
    for axis in range(3):
        assert stats.ks_2samp(made[:, axis], untrained[:, axis]).pvalue > 1e-3
    other = np.asarray(user_embedding(P, logits))
    assert stats.ks_2samp(made[:, 0], other[:, 0]).pvalue < 1e-6


@pytest.mark.parametrize("temperature", [0.25, 3.0])
def test_the_ceiling_is_that_of_the_encoders_temperature(temperature):
    """Dispersion of the ceiling: its Fréchet distance to users who all are at the mean."""
    real = users(0, 200)
    reference = real_users(KEY, real, prototypes=P, temperature=temperature, **SMALL)
    assert reference.temperature == temperature
    logits = init_mixture(jax.random.key(1), 20_000, 4)
    for tau in (temperature, 1.0):
        wide = np.asarray(user_embedding(P, logits, tau), float)
        length = np.linalg.norm(wide, axis=1).mean() / np.linalg.norm(real, axis=1).mean()
        found = np.asarray(reference.populations["random_mixture"].norm_ratio).mean()
        assert (found == pytest.approx(length, rel=0.04)) == (tau == temperature)


def test_a_temperature_is_a_positive_number():
    for temperature in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="`temperature` must be positive"):
            real_users(KEY, users(0, 200), prototypes=P, temperature=temperature)
        with pytest.raises(ValueError, match="`temperature` must be positive"):
            random_mixture(KEY, P, 5, temperature=temperature)
