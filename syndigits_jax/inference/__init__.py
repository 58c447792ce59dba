"""Statistical inference: standard errors, resampling, conformal intervals, and prediction-powered
inference."""

from .binomial import exact_share_interval
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
from .prediction_powered.cross_fitting import cross_fit, person_folds
from .prediction_powered.estimate import Basis, Estimate, PointEstimate
from .prediction_powered.many_means import ppi_means
from .prediction_powered.means import ppi_difference, ppi_mean, ppi_share
from .prediction_powered.planning import Split, cheapest_split, people_needed
from .prediction_powered.quantiles import ppi_quantile
from .prediction_powered.regression import ppi_linear, ppi_logistic
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
from .shrinkage import Shrunk, shrink
from .simultaneous import Resampled, SimultaneousIntervals, simultaneous_intervals
from .student_t import student_t_quantile

__all__ = [
    "Basis",
    "BootstrapResult",
    "Estimate",
    "Interval",
    "PermutationResult",
    "PointEstimate",
    "Resampled",
    "Shrunk",
    "SimultaneousIntervals",
    "Split",
    "bootstrap",
    "cheapest_split",
    "conformal_quantile",
    "cross_fit",
    "exact_share_interval",
    "hierarchical_jackknife_plus",
    "hierarchical_quantile",
    "jackknife_plus",
    "jackknife_plus_half_width",
    "leave_one_out_quantiles",
    "nan_mean",
    "people_needed",
    "permutation_p_value",
    "permutation_test",
    "person_folds",
    "ppi_difference",
    "ppi_linear",
    "ppi_logistic",
    "ppi_mean",
    "ppi_means",
    "ppi_quantile",
    "ppi_share",
    "question_scores",
    "shrink",
    "sign_flip_test",
    "simultaneous_intervals",
    "split_conformal",
    "standard_error",
    "student_t_quantile",
    "twin_scale",
]
