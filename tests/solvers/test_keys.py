"""What the host makes of keys."""

import jax
import numpy as np

from syndigits_jax.solvers.keys import host_generator, key_data


def test_typed_and_raw_keys_are_the_same_key():
    """The keys decide, by their numbers alone."""
    typed, raw = jax.random.key(7), jax.random.PRNGKey(7)
    assert key_data(typed).tolist() == key_data(raw).tolist() == [0, 7]
    one, two = (host_generator(key).random(3).tolist() for key in (typed, raw))
    assert one == two == np.random.default_rng([0, 7]).random(3).tolist()
    assert host_generator(jax.random.key(8)).random(3).tolist() != one
