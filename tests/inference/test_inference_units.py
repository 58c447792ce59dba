"""Inference in other units: intervals follow, probabilities stay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from syndigits_jax.inference import (
    bootstrap,
    conformal_quantile,
    hierarchical_jackknife_plus,
    hierarchical_quantile,
    jackknife_plus,
    jackknife_plus_half_width,
    leave_one_out_quantiles,
    nan_mean,
    permutation_test,
    question_scores,
    sign_flip_test,
    split_conformal,
    standard_error,
    twin_scale,
)

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
SCORES, WITHOUT, TRUTH = RNG.exponential(size=9), RNG.normal(size=(9, 4)), RNG.normal(size=(9, 5))
CELLS = RNG.random((9, 5)) < 0.8
CELLS[:, 0] = True


@jax.jit
def in_units(unit):
    """All that has the unit of the answers, and all that has none."""
    dtype = unit.dtype
    scores, without, truth = (jnp.asarray(a, dtype) for a in (SCORES, WITHOUT, TRUTH))
    answers, residuals = unit * truth, jnp.abs(unit * truth)
    one = jnp.ones((), dtype)
    resampled = bootstrap(KEY, nan_mean, unit * scores, replicates=64)
    ranges = [
        split_conformal(unit * without[0], unit * scores, one, 0.2),
        jackknife_plus(unit * without, unit * scores, one, 0.2),
        hierarchical_jackknife_plus(unit * without, residuals, CELLS, one, 0.2),
    ]
    width = jackknife_plus_half_width(unit * without[0], unit * without, unit * scores, one, 0.2)
    first_degree = [
        *jax.tree.leaves(resampled),
        *jax.tree.leaves(ranges),
        standard_error(unit * scores),
        conformal_quantile(unit * scores, 0.2),
        leave_one_out_quantiles(unit * scores, 0.3),
        hierarchical_quantile(residuals, CELLS, 0.2),
        twin_scale(answers, floor=unit / 10),
        width,
    ]
    product = lambda a, b: jnp.sum(a * b)  # noqa: E731
    scale = unit * scores
    free = [
        question_scores(0 * answers, answers, scale, kind=kind)
        for kind in ("rmse", "mae", "max", "quantile")
    ]
    free.append(sign_flip_test(KEY, answers[0] + unit, replicates=99).p_value)
    free.append(permutation_test(KEY, product, answers[0], answers[1], replicates=99).p_value)
    return first_degree, free


@pytest.mark.parametrize("unit", [1e-9, 1e-4, 1e2, 1e9])
def test_units(unit):
    (usual, free), (scaled, still) = (in_units(jnp.asarray(u)) for u in (1.0, unit))
    for ours, theirs in zip(scaled, usual, strict=True):
        np.testing.assert_allclose(ours, unit * np.asarray(theirs, float), rtol=2e-5)
    for ours, theirs in zip(still, free, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5)


def test_origins():
    """Intervals move with the answers; the scale of twins and the spread of a mean stay."""
    for move in (-50.0, 1000.0):
        for function in (jackknife_plus, lambda p, *rest: split_conformal(p[0], *rest)):
            usual, moved = (function(WITHOUT + m, SCORES, 2.0, 0.2) for m in (0.0, move))
            np.testing.assert_allclose(moved.lower, move + usual.lower, atol=1e-3)
            np.testing.assert_allclose(moved.upper, move + usual.upper, atol=1e-3)
        np.testing.assert_allclose(
            twin_scale(TRUTH + move, floor=0.1), twin_scale(TRUTH, floor=0.1), rtol=1e-3
        )
        usual, moved = (standard_error(SCORES + m) for m in (0.0, move))
        np.testing.assert_allclose(moved, usual, rtol=1e-3)
