"""Inference that calibration and measurement share: errors, resampling, conformal intervals."""

from .conformal import (
    Interval,
    conformal_quantile,
    hierarchical_jackknife_plus,
    hierarchical_quantile,
    jackknife_plus,
    jackknife_plus_half_width,
    leave_one_out_quantiles,
    question_scores,
    split_conformal,
    twin_scale,
)
from .resampling import (
    BootstrapResult,
    PermutationResult,
    bootstrap,
    nan_mean,
    permutation_p_value,
    permutation_test,
    sign_flip_test,
    standard_error,
)

__all__ = [
    "BootstrapResult",
    "Interval",
    "PermutationResult",
    "bootstrap",
    "conformal_quantile",
    "hierarchical_jackknife_plus",
    "hierarchical_quantile",
    "jackknife_plus",
    "jackknife_plus_half_width",
    "leave_one_out_quantiles",
    "nan_mean",
    "permutation_p_value",
    "permutation_test",
    "question_scores",
    "sign_flip_test",
    "split_conformal",
    "standard_error",
    "twin_scale",
]
