"""What the host makes of keys."""

import jax
import numpy as np
import pytest

from syndigits_jax.solvers.keys import host_generator, key_data, seed_generator


def test_typed_and_raw_keys_are_the_same_key():
    """The keys decide, by their numbers alone."""
    typed, raw = jax.random.key(7), jax.random.PRNGKey(7)
    assert key_data(typed).tolist() == key_data(raw).tolist() == [0, 7]
    one, two = (host_generator(key).random(3).tolist() for key in (typed, raw))
    assert one == two == np.random.default_rng([0, 7]).random(3).tolist()
    assert host_generator(jax.random.key(8)).random(3).tolist() != one


@pytest.mark.parametrize("seed", [0, 42, 2**32 - 1])
def test_a_key_draws_on_the_host_what_its_seed_does(seed):
    expected = np.random.default_rng(seed).permutation(20)
    for make in (jax.random.key, jax.random.PRNGKey):
        np.testing.assert_array_equal(seed_generator(make(seed)).permutation(20), expected)
    other = seed_generator(jax.random.split(jax.random.key(seed))[1])
    assert np.any(other.permutation(20) != expected)
    with pytest.raises(ValueError, match="`key` is used on the host"):
        jax.jit(lambda key: seed_generator(key).random())(jax.random.key(0))
