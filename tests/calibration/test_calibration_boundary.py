"""One table of all public functions: whatever holds the same numbers gives the same answer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_panels import METHODS

from syndigits_jax import inference
from syndigits_jax.calibration import (
    Imputation,
    Ridge,
    Settings,
    calibrate_question,
    calibrate_user,
)
from syndigits_jax.estimation import draws, question_intervals
from syndigits_jax.evaluation import (
    adaptive,
    choose_penalty,
    few_shot_curve,
    leave_one_question_out,
    metrics,
    tune_penalty,
)
from syndigits_jax.panel import Panel

KEY = jax.random.key(0)
SETTINGS = Settings(imputation=Imputation(rank=2))
RNG = np.random.default_rng(0)
N, M = 12, 6
# Halves and quarters, which half precision holds.
HUMAN = RNG.integers(4, 20, (N, M)) / 4
TWIN = np.concatenate([HUMAN + RNG.integers(-2, 3, (N, M)) / 4, RNG.integers(4, 20, (N, 2)) / 4], 1)
NEW_TWIN = np.concatenate([TWIN[:, :M], RNG.integers(4, 20, (2, M)) / 4])
OBSERVED = np.where(np.arange(N)[:, None] < 3, TWIN[:, M:], np.nan)
ROWS = RNG.integers(1, 9, (2, 5, 8)) / 4
TRUTH, PREDICTION = ROWS[0], ROWS[1]
LINE, OTHER = RNG.integers(1, 9, (2, 9)) / 8
SCALE = np.array([1.0, 2.0, 0.5, 1.5, 1.0])
EVERY = np.array([True] * 7 + [False] * 2)
CELLS = np.arange(40).reshape(5, 8) % 3 > 0
PANEL = Panel.from_arrays(HUMAN, TWIN[:, :M])
POOL = draws.residual_pool(PREDICTION, TRUTH, SCALE, PREDICTION)
RIDGE = METHODS["Ridge"]


@functools.cache
def hold_out():
    return leave_one_question_out(RIDGE, PANEL, settings=SETTINGS, workers=1)


def predicted(result):
    return result.prediction, result.training_mse, result.status


# name: (function of the arguments below, and good float64 values of them)
TABLE = {
    "calibrate_question": (
        lambda human, twin, observed, sample_weight, threshold: predicted(
            calibrate_question(
                RIDGE, human, twin, observed=observed, sample_weight=sample_weight,
                threshold=threshold, settings=SETTINGS,
            )
        ),
        {"human": HUMAN, "twin": TWIN, "observed": OBSERVED, "sample_weight": np.ones(N),
         "threshold": np.array([0.5, 0.25])},
    ),
    "calibrate_user": (
        lambda human, twin, sample_weight: predicted(
            calibrate_user(RIDGE, human, twin, sample_weight=sample_weight, settings=SETTINGS)
        ),
        {"human": HUMAN, "twin": NEW_TWIN, "sample_weight": np.ones(N)},
    ),
    "choose_penalty": (
        lambda human, twin, penalties: choose_penalty(
            RIDGE, human, twin, penalties, settings=SETTINGS
        ).error,
        {"human": HUMAN, "twin": TWIN, "penalties": np.array([0.5, 4.0])},
    ),
    "tune_penalty": (
        lambda human, twin, learning_rate: tune_penalty(
            RIDGE, human, twin, learning_rate=learning_rate, steps=2, settings=SETTINGS
        ).error,
        {"human": HUMAN, "twin": TWIN, "learning_rate": np.array(0.5)},
    ),
    "question_intervals": (
        lambda human, twin: question_intervals(RIDGE, human, twin, alpha=0.5, settings=SETTINGS),
        {"human": HUMAN, "twin": TWIN},
    ),
    "leave_one_question_out": (
        lambda sample_weight: leave_one_question_out(
            RIDGE, PANEL, sample_weight=sample_weight, settings=SETTINGS, workers=1
        ).predictions["Ridge"],
        {"sample_weight": np.ones(N)},
    ),
    "few_shot_curve": (
        lambda ks: few_shot_curve(
            RIDGE, PANEL, ks, key=KEY, repeats=1, settings=SETTINGS, workers=1, targets=[0]
        ).scores["mse"]["Ridge"],
        {"ks": np.array([0.0, 4.0])},
    ),
    **{
        name: (metrics.METRICS[name], {"prediction": LINE, "truth": OTHER, "mask": EVERY})
        for name in ("pearson", "spearman", "mse", "mae", "r2", "wasserstein", "sd_ratio")
    },
    "residual_pearson": (
        metrics.residual_pearson,
        {"prediction": LINE, "truth": OTHER, "mask": EVERY, "reference": np.arange(9.0)},
    ),
    "accuracy": (
        metrics.accuracy,
        {"prediction": LINE, "truth": OTHER, "mask": EVERY, "low": np.array(0.0),
         "high": np.array(2.0)},
    ),
    "crps_from_draws": (
        metrics.crps_from_draws,
        {"draws": PREDICTION, "truth": LINE[:8], "mask": EVERY[:8]},
    ),
    "interval_coverage": (
        metrics.interval_coverage,
        {"lower": LINE, "upper": LINE + 1, "truth": OTHER, "mask": EVERY},
    ),
    "interval_score": (
        lambda lower, upper, truth, mask, alpha: metrics.interval_score(
            lower, upper, truth, mask, alpha=alpha
        ),
        {"lower": LINE, "upper": LINE + 1, "truth": OTHER, "mask": EVERY, "alpha": np.array(0.5)},
    ),
    "score_targets": (
        functools.partial(metrics.score_targets, "mae"), {"prediction": PREDICTION, "truth": TRUTH},
    ),
    "summarize": (metrics.summarize, {"scores": LINE / 4}),
    "fisher_z_mean": (metrics.fisher_z_mean, {"scores": LINE / 4}),
    "percent_delta": (metrics.percent_delta, {"value": LINE, "baseline": OTHER}),
    "transfer_decision": (
        adaptive.transfer_decision, {"training_mse": LINE, "tau": np.array(0.5)},
    ),
    "adapt": (
        adaptive.adapt,
        {"decision": EVERY, "calibrated": LINE, "baseline": OTHER},
    ),
    "adaptive_curve": (
        adaptive.adaptive_curve,
        {"calibrated": LINE, "baseline": OTHER, "training_mse": LINE[::-1].copy(),
         "taus": np.array([0.25, 0.5])},
    ),
    "leave_one_out_threshold": (
        adaptive.leave_one_out_threshold,
        {"calibrated": LINE, "baseline": OTHER, "training_mse": LINE[::-1].copy()},
    ),
    "uncertainty_rule": (
        adaptive.uncertainty_rule,
        {"calibrated_error": LINE, "baseline_error": OTHER, "calibrated_scale": LINE + 1,
         "baseline_scale": OTHER + 1},
    ),
    "local_uncertainty_rule": (
        adaptive.local_uncertainty_rule,
        {"calibrated_error": LINE, "baseline_error": OTHER, "difficulty": np.arange(9.0)},
    ),
    "constant_rows": (adaptive.constant_rows, {"twin": TRUTH}),
    "residual_pool": (
        draws.residual_pool,
        {"prediction": PREDICTION, "truth": TRUTH, "scale": SCALE, "position": PREDICTION},
    ),
    "positions": (
        draws.positions,
        {"prediction": PREDICTION, "scale": SCALE, "low": np.zeros(5), "high": np.full(5, 4.0)},
    ),
    "residual_scale": (
        draws.residual_scale,
        {"error": SCALE, "twin": TRUTH, "low": np.zeros(5), "high": np.full(5, 4.0)},
    ),
    "calibrated_draws": (
        lambda prediction, position, scale, low, high, step: draws.calibrated_draws(
            prediction, POOL, 3, key=KEY, position=position, scale=scale, low=low, high=high,
            step=step,
        ),
        {"prediction": LINE, "position": LINE, "scale": np.array(2.0), "low": np.array(0.0),
         "high": np.array(4.0), "step": np.array(0.5)},
    ),
    "normal draws": (
        lambda prediction, residuals: draws.calibrated_draws(prediction, residuals, 3, key=KEY),
        {"prediction": LINE, "residuals": OTHER},
    ),
    "draw_answers": (
        lambda prediction, twin, low, high, step: draws.draw_answers(
            prediction, twin, hold_out(), "Ridge", key=KEY, num_draws=3, low=low, high=high,
            step=step,
        ),
        {"prediction": HUMAN[:, 0], "twin": TWIN[:, -1], "low": np.array(1.0),
         "high": np.array(5.0), "step": np.array(0.25)},
    ),
    "nan_mean": (inference.nan_mean, {"values": LINE}),
    "standard_error": (inference.standard_error, {"values": LINE}),
    "bootstrap": (
        lambda data: inference.bootstrap(KEY, inference.nan_mean, data, replicates=9),
        {"data": LINE},
    ),
    "permutation_test": (
        lambda x, y: inference.permutation_test(KEY, lambda a, b: jnp.sum(a * b), x, y,
                                                replicates=9),
        {"x": LINE, "y": OTHER},
    ),
    "permutation_p_value": (
        inference.permutation_p_value, {"observed": np.array(0.5), "permuted": LINE},
    ),
    "sign_flip_test": (
        lambda differences: inference.sign_flip_test(KEY, differences, replicates=9),
        {"differences": LINE},
    ),
    "conformal_quantile": (
        inference.conformal_quantile, {"scores": LINE, "alpha": np.array(0.25)},
    ),
    "leave_one_out_quantiles": (inference.leave_one_out_quantiles, {"scores": LINE}),
    "twin_scale": (
        lambda twin, floor: inference.twin_scale(twin, floor=floor),
        {"twin": TRUTH, "floor": np.array(0.25)},
    ),
    "question_scores": (
        inference.question_scores, {"prediction": PREDICTION, "truth": TRUTH, "scale": SCALE},
    ),
    "split_conformal": (
        inference.split_conformal,
        {"prediction": LINE, "scores": OTHER, "scale": np.array(2.0), "alpha": np.array(0.25)},
    ),
    "hierarchical_quantile": (
        inference.hierarchical_quantile,
        {"residuals": TRUTH, "mask": CELLS, "alpha": np.array(0.5)},
    ),
    "jackknife_plus": (
        inference.jackknife_plus,
        {"predictions_without": TRUTH, "scores": SCALE, "scale": np.array(2.0),
         "alpha": np.array(0.25)},
    ),
    "jackknife_plus_half_width": (
        inference.jackknife_plus_half_width,
        {"prediction": TRUTH[0], "predictions_without": TRUTH, "scores": SCALE,
         "scale": np.array(2.0), "alpha": np.array(0.25)},
    ),
    "hierarchical_jackknife_plus": (
        inference.hierarchical_jackknife_plus,
        {"predictions_without": TRUTH[:, :3], "residuals": TRUTH, "mask": CELLS,
         "scale": np.array(2.0), "alpha": np.array(0.5)},
    ),
}  # fmt: skip
functions = pytest.mark.parametrize("name", TABLE)


def as_frame(values):
    pandas = pytest.importorskip("pandas")
    if values.ndim == 2:
        return pandas.DataFrame(values)
    return pandas.Series(values) if values.ndim == 1 else values.item()


def with_na(values):
    """Nullable numbers: objects, with `pandas.NA` where one is missing."""
    pandas = pytest.importorskip("pandas")
    return (
        as_frame(values).astype("Float64").replace({np.nan: pandas.NA})
        if values.ndim
        else (values.item())
    )


FORMS = {
    "half": lambda x: x.astype(np.float16),
    "big-endian": lambda x: x.astype(">f8"),
    "list": lambda x: x.tolist(),
    "frame": as_frame,
    "nullable frame": with_na,
    "masked": lambda x: np.ma.masked_invalid(x),
    "objects": lambda x: np.where(np.isnan(x), None, x.astype(object)),
    "jax": jnp.asarray,
}


def leaves(result):
    return [np.asarray(leaf, float) for leaf in jax.tree.leaves(result)]


@functools.cache
def expected(name):
    function, arguments = TABLE[name]
    return leaves(function(**arguments))


@functions
def test_the_same_numbers_in_every_form(name):
    function, arguments = TABLE[name]
    for form, change in FORMS.items():
        given = {
            key: value if value.dtype == bool else change(value) for key, value in arguments.items()
        }
        got = leaves(function(**given))
        assert len(got) == len(expected(name))
        for ours, theirs in zip(got, expected(name), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=form)


@functions
def test_whole_numbers_are_numbers(name):
    function, arguments = TABLE[name]
    if name in ("tune_penalty", "interval_score") or "alpha" in arguments:
        pytest.skip("a share has no whole numbers")
    whole = {
        key: value if value.dtype == bool or np.isnan(value).any() else np.ceil(2 * value)
        for key, value in arguments.items()
    }
    integers = {
        key: value if value.dtype == bool or np.isnan(value).any() else value.astype(np.int16)
        for key, value in whole.items()
    }
    got, want = leaves(function(**integers)), leaves(function(**whole))
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def ragged(values):
    rows = values.tolist()
    return [*rows[:-1], rows[-1][:-1]]


REFUSED = {
    "complex": lambda x: x + 1j,
    "text": lambda x: np.full(x.shape, "often"),
    "dates": lambda x: np.full(x.shape, np.datetime64("2026-01-01")),
    "ragged": lambda x: ragged(x) if x.ndim == 2 else np.full(x.shape, "often"),
}


@pytest.mark.parametrize("kind", REFUSED)
@functions
def test_what_are_no_numbers_is_refused_by_name(name, kind):
    function, arguments = TABLE[name]
    for argument, value in arguments.items():
        bad = REFUSED[kind](np.zeros(value.shape) if value.dtype == bool else value)
        with pytest.raises(ValueError, match=f"`{argument}`"):
            function(**arguments | {argument: bad})


@functions
def test_masks_are_boolean(name):
    function, arguments = TABLE[name]
    for argument, value in arguments.items():
        if value.dtype == bool:
            with pytest.raises(ValueError, match=f"`{argument}` must be boolean"):
                function(**arguments | {argument: value.astype(float)})
            got = leaves(function(**arguments | {argument: value.tolist()}))
            for ours, theirs in zip(got, expected(name), strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_lengths_that_differ_are_named():
    with pytest.raises(ValueError, match="`truth`"):
        metrics.mse(LINE, OTHER[:-1], EVERY)
    with pytest.raises(ValueError, match="`truth` must have the shape of `prediction`"):
        metrics.score_targets("mse", PREDICTION, TRUTH[:, :-1])
    with pytest.raises(ValueError, match="`prediction` must have shape"):
        draws.draw_answers(LINE, TWIN[:, -1], hold_out(), "Ridge", key=KEY)
    with pytest.raises(ValueError, match="`alpha` must be a probability"):
        inference.conformal_quantile(LINE, np.float32(1.5))
    with pytest.raises(ValueError, match="`floor` must be positive"):
        inference.twin_scale(TRUTH, floor=np.array(-1.0))
    assert calibrate_question(Ridge(), HUMAN, TWIN).prediction.shape == (N, 2)
