"""Cosine homogeneity against all pairs, and the length ratios."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from populations import cloud, rotation, shrunken, users
from sklearn.metrics.pairwise import cosine_similarity

from syndigits_jax.fidelity.homogeneity import cosine_homogeneity, norm_ratio, paired_norm_ratio

jitted = jax.jit(cosine_homogeneity)


def pairs(x) -> np.ndarray:
    """Cosines of all pairs, in double precision."""
    cosines = cosine_similarity(np.asarray(x, float))
    return cosines[np.triu_indices(len(cosines), 1)]


@pytest.mark.parametrize(("n", "d"), [(100, 8), (20, 50), (2, 3)])
def test_agrees_with_all_pairs(n, d, dtype):
    x = cloud(0, n, d, dtype)
    found, rtol = jitted(x), 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(found.mean, pairs(x).mean(), rtol=rtol)
    # One pair has no spread: what is left is the root of a rounding error.
    rounding = 0.1 * np.sqrt(np.finfo(dtype).eps)
    np.testing.assert_allclose(found.sd, pairs(x).std(), rtol=10 * rtol, atol=rounding)


def test_a_collapsed_population_keeps_its_digits():
    """Cosines of .99999 with an SD of 1e-5, in float32."""
    x = shrunken(users(0, 300), 0.01)
    found = jitted(x)
    np.testing.assert_allclose(1 - found.mean, 1 - pairs(x).mean(), rtol=0.02)
    np.testing.assert_allclose(found.sd, pairs(x).std(), rtol=0.01)
    assert float(found.sd) < 2e-3


@settings(max_examples=8)
@given(seed=st.integers(0, 1000))
def test_properties(seed):
    x = cloud(seed, 25, 4)
    rng = np.random.default_rng(seed)
    value = jitted(x)
    lengths = jnp.asarray(rng.uniform(0.5, 2, (25, 1)), x.dtype)
    turned = (lengths * x)[rng.permutation(25)] @ jnp.asarray(rotation(seed, 4), x.dtype)
    assert float(jitted(turned).mean) == pytest.approx(float(value.mean), abs=1e-5)
    assert float(jitted(turned).sd) == pytest.approx(float(value.sd), abs=1e-5)
    assert -1 / 24 - 1e-6 <= float(value.mean) <= 1
    same = jitted(jnp.broadcast_to(x[:1], (25, 4)))
    assert float(same.mean) == pytest.approx(1, abs=1e-6)
    assert float(same.sd) == pytest.approx(0, abs=1e-6)


def test_length_ratios():
    x, y = cloud(0, 41, 5), cloud(1, 41, 5)
    lengths = [np.linalg.norm(np.asarray(z, float), axis=1) for z in (x, y)]
    assert float(norm_ratio(x, y)) == pytest.approx(lengths[1].mean() / lengths[0].mean())
    assert float(paired_norm_ratio(x, y)) == pytest.approx(np.median(lengths[1] / lengths[0]))
    assert float(norm_ratio(x, 0.7 * x[:20])) == pytest.approx(
        0.7 * lengths[0][:20].mean() / lengths[0].mean()
    )
    assert float(paired_norm_ratio(x, 0.7 * x)) == pytest.approx(0.7)


def test_batches_zero_rows_and_bad_input():
    x = cloud(0, 60, 4).reshape(3, 20, 4)
    batch = jax.vmap(cosine_homogeneity)(x)
    np.testing.assert_allclose(batch.sd, [jitted(row).sd for row in x], rtol=1e-5)
    assert jnp.isnan(cosine_homogeneity(x[0].at[3].set(0)).mean)  # no direction, no cosine
    with pytest.raises(ValueError, match="`x` has 1 rows; at least 2"):
        cosine_homogeneity(x[0][:1])
    with pytest.raises(ValueError, match="NaN"):
        norm_ratio(x[0], x[0].at[3, 0].set(jnp.nan))
