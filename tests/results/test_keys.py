"""Keys of host-side draws: integers and JAX keys, in either form."""

import jax
import numpy as np
import pytest

from syndigits_jax.results.keys import entropy, random_key


def test_an_integer_is_its_own_seed_and_a_key_its_data():
    assert entropy(7) == 7 and entropy(np.int64(7)) == 7
    typed, raw = jax.random.key(7), jax.random.PRNGKey(7)
    assert entropy(typed) == entropy(raw) == np.asarray(raw).tolist()
    assert entropy(jax.random.split(typed)[0]) != entropy(typed)


def test_a_key_is_kept_or_made():
    typed = jax.random.key(7)
    assert random_key(typed) is typed
    assert jax.random.key_data(random_key(7)).tolist() == jax.random.key_data(typed).tolist()


@pytest.mark.parametrize("key", [True, None, 1.5, "7", np.array([0, 7])])
def test_anything_else_is_refused(key):
    for function in (entropy, random_key):
        with pytest.raises(ValueError, match="`key` must be a JAX random key or an integer"):
            function(key)
