"""Alignment against scipy's principal angles and explicit projections."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from syndigits_jax.diagnostics.alignment import (
    alignment,
    alignment_of_complete,
    singular_subspace,
    subspace_alignment,
)

KEY = jax.random.key(0)
compare = jax.jit(subspace_alignment)


def basis(rng, size=12, rank=4):
    return np.linalg.qr(rng.normal(size=(size, rank)))[0]


@given(seed=st.integers(0, 10_000), nearness=st.sampled_from([0.0, 1.0, 100.0]))
def test_angles_and_projection_norms(seed, nearness):
    rng = np.random.default_rng(seed)
    a = basis(rng)
    b = np.linalg.qr(nearness * a + rng.normal(size=a.shape))[0]
    got = compare(jnp.asarray(a), jnp.asarray(b))
    want = np.cos(np.sort(scipy.linalg.subspace_angles(a, b)))
    np.testing.assert_allclose(got.cosine, want, atol=1e-5)
    for r in range(1, 5):
        difference = a[:, :r] @ a[:, :r].T - b[:, :r] @ b[:, :r].T
        norm = np.linalg.norm(difference) / np.sqrt(r)
        np.testing.assert_allclose(got.projection_norm[r - 1], norm, rtol=1e-3, atol=1e-6)


@given(seed=st.integers(0, 10_000))
def test_symmetric_and_blind_to_signs_and_rotations(seed):
    rng = np.random.default_rng(seed)
    a, b = basis(rng), basis(rng)
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    forward, back = compare(jnp.asarray(a), jnp.asarray(b)), compare(jnp.asarray(b), jnp.asarray(a))
    turned = compare(jnp.asarray(a @ turn), jnp.asarray(b))
    signs = compare(jnp.asarray(-a), jnp.asarray(b))
    np.testing.assert_allclose(forward.cosine, back.cosine, atol=1e-5)
    np.testing.assert_allclose(forward.projection_norm, back.projection_norm, atol=1e-5)
    np.testing.assert_allclose(forward.cosine, turned.cosine, atol=1e-5)
    # A rotation mixes the leading directions, so only the norm of the full spaces stays.
    np.testing.assert_allclose(forward.projection_norm[3], turned.projection_norm[3], atol=1e-5)
    np.testing.assert_allclose(forward.projection_norm, signs.projection_norm, atol=1e-5)


def test_equal_and_orthogonal_spaces(dtype):
    eye = jnp.eye(8, dtype=dtype)
    same, apart = compare(eye[:, :3], eye[:, :3]), compare(eye[:, :3], eye[:, 3:6])
    np.testing.assert_allclose(same.cosine, 1)
    np.testing.assert_allclose(same.projection_norm, 0, atol=1e-7)
    np.testing.assert_allclose(apart.cosine, 0, atol=1e-7)
    np.testing.assert_allclose(apart.projection_norm, np.sqrt(2), rtol=1e-6)


def panel(angle: float, seed: int = 0, missing: float = 0.1):
    """Rank-2 humans; the twins' question factors are turned away by `angle`."""
    rng = np.random.default_rng(seed)
    n, m = 60, 20
    basis = np.linalg.qr(rng.normal(size=(m, 4)))[0]
    humans, twins = rng.normal(size=(2, n, 2)) * np.array([8, 5])
    turned = np.cos(angle) * basis[:, :2] + np.sin(angle) * basis[:, 2:]
    human = 3 + humans @ basis[:, :2].T + 0.01 * rng.normal(size=(n, m))
    twin = 3 + twins @ turned.T + 0.01 * rng.normal(size=(n, m))
    mask = rng.random((n, m)) > missing
    return np.where(mask, human, np.nan), np.where(mask, twin, np.nan)


@pytest.mark.parametrize("angle", [0.0, 0.6])
def test_complete_matrices_recover_the_angle(angle):
    human, twin = panel(angle, missing=0.0)
    # Two directions carry the signal; users of the two sides were drawn independently.
    rows = [jnp.asarray(x - x.mean(axis=0)) for x in (human, twin)]
    versus, normal, shuffled = alignment_of_complete(KEY, *rows, 2, space="row")
    np.testing.assert_allclose(versus.cosine, np.cos(angle), atol=1e-2)
    np.testing.assert_allclose(versus.projection_norm[1], np.sqrt(2) * np.sin(angle), atol=1e-2)
    assert jnp.max(normal.cosine) < 0.8 and jnp.max(shuffled.cosine) < 0.8
    column, *_ = alignment_of_complete(KEY, *rows, 2, space="column")
    assert jnp.max(column.cosine) < 0.8


def test_ranks_are_chosen_and_twins_beat_the_baselines():
    human, twin = panel(0.1)
    got = alignment(KEY, human, twin, candidates=(1, 2), min_sd=0.0)
    assert (got.human_rank, got.twin_rank) == (2, 2)
    assert got.stacked_rank == 2 and got.twin.cosine.shape == (4,)
    assert jnp.all(got.twin.cosine[:2] > 0.97)
    for baseline in (got.normal, got.shuffled):
        assert got.twin.projection_norm[1] < baseline.projection_norm[1] / 2


def test_shuffled_baseline_moves_nothing_between_columns():
    """Columns that are constant stay as they are, however different from each other."""
    x = jnp.ones((9, 1)) * jnp.arange(1.0, 7.0)[None, :]
    _, normal, shuffled = alignment_of_complete(KEY, x, x, 1, space="row")
    np.testing.assert_allclose(shuffled.cosine, 1, atol=1e-5)
    assert normal.cosine[0] < 0.95


def test_singular_subspace_matches_numpy(dtype):
    x = np.random.default_rng(1).normal(size=(9, 6))
    left, _, right = np.linalg.svd(x)
    got = singular_subspace(jnp.asarray(x, dtype), 3, "row")
    np.testing.assert_allclose(got @ got.T, right[:3].T @ right[:3], atol=1e-4)
    got = singular_subspace(jnp.asarray(x, dtype), 3, "column")
    np.testing.assert_allclose(got @ got.T, left[:, :3] @ left[:, :3].T, atol=1e-4)


def test_bad_input():
    human, twin = panel(0.1)
    with pytest.raises(ValueError, match="twin"):
        alignment(KEY, human, twin[:, :5])
    with pytest.raises(ValueError, match="space"):
        alignment(KEY, human, twin, space="rows")
    with pytest.raises(ValueError, match="rank"):
        singular_subspace(jnp.asarray(human), 21, "row")
