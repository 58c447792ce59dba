"""Errors that name the argument, and unusual input that is accepted."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from engine import CALIBRATE, DIRECTIONS, NEW, calibrate, data, known
from small_panels import METHODS, QUESTIONS, REGRESSIONS, USERS

from syndigits_jax.calibration import (
    AlternatingLeastSquares,
    Calibrator,
    ElasticNet,
    FewShot,
    Fitting,
    HardImpute,
    Imputation,
    Lasso,
    NeuralNet,
    NewUsers,
    Preparation,
    Ridge,
    Settings,
    SoftImpute,
    SyntheticControl,
    SyntheticIntervention,
    SyntheticPrior,
)
from syndigits_jax.solvers import Status

HUMAN, TWIN = data()
every_method = pytest.mark.parametrize("name", METHODS)
both_ways = pytest.mark.parametrize("direction", DIRECTIONS)


def changed(array, index, value):
    array = np.array(array)
    array[index] = value
    return array


def column(j, value=np.nan):
    return lambda x: changed(x, (slice(None), j), value)


def row(i, value=np.nan):
    return lambda x: changed(x, i, value)


def cell(value):
    return lambda x: changed(x, (3, 2), value)


def text(x):
    return changed(x.astype(object), (3, 2), "often")


def refused(direction, message, *, method=METHODS["Ridge"], human=None, twin=None, **options):
    """`human` and `twin` are changes of good answers."""
    known_human = known(direction, HUMAN)
    with pytest.raises(ValueError, match=message):
        CALIBRATE[direction](
            method,
            known_human if human is None else human(known_human),
            TWIN if twin is None else twin(TWIN),
            **options,
        )


# --- answers -------------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("side", ["human", "twin"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (text, r"`{}`: 'often' at \[3, 2\] is not a number"),
        (lambda x: x.astype(str)[:, :1] + "?", r"`{}`: .* is not a number"),
        (cell(np.inf), "`{}` contains infinities; code missing answers as NaN"),
        (cell(-np.inf), "`{}` contains infinities"),
        (lambda x: x[0], "`{}` must be a matrix"),
        (lambda x: x[None], "`{}` must be a matrix"),
    ],
)
def test_what_are_not_answers(direction, side, change, message):
    refused(direction, message.format(side), **{side: change})


@pytest.mark.parametrize(
    ("direction", "changes", "message"),
    [
        ("question", {"twin": lambda x: x[:-1]}, "twin has 23 rows and human 24"),
        ("question", {"twin": lambda x: x[:, :-NEW]}, "twin has 8 columns and human 8"),
        ("user", {"twin": lambda x: x[:, :-1]}, "twin has 9 columns and human 10"),
        ("user", {"twin": lambda x: x[:-NEW]}, "twin has 22 rows and human 22"),
    ],
)
def test_shapes_that_do_not_fit(direction, changes, message):
    refused(direction, message, **changes)


@both_ways
@pytest.mark.parametrize("shape", [(1, QUESTIONS), (USERS, 1), (0, 0)])
def test_too_few_users_or_questions(direction, shape):
    refused(direction, "human has shape .* at least two users", human=lambda x: np.ones(shape))


@pytest.mark.parametrize(
    ("direction", "changes", "message"),
    [
        ("question", {"human": column(5)}, r"human .* question \(column\) 5; a target belongs in"),
        ("question", {"twin": column(-1)}, r"twin .* new question \(column\) 1"),
        ("user", {"human": row(4)}, r"human .* user \(row\) 4; a target belongs in"),
        ("user", {"twin": row(-2)}, r"twin .* new user \(row\) 0"),
        ("user", {"human": column(5)}, r"human .* question \(column\) 5, so that its level is unk"),
    ],
)
def test_nothing_to_learn_from(direction, changes, message):
    refused(direction, message, **changes)


@both_ways
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observed": np.ones(3)}, "`observed` must be a matrix"),
        ({"observed": np.ones((NEW, NEW))}, r"`observed` must have shape \("),
        ({"observed": np.array([["yes"]])}, "`observed`: 'yes' at .* is not a number"),
        ({"sample_weight": np.ones(3)}, r"`sample_weight` must have shape \("),
        ({"sample_weight": np.array(["heavy"])}, "`sample_weight`: 'heavy' at .* is not a number"),
        ({"threshold": np.array("low")}, "`threshold`: 'low' is not a number"),
        ({"threshold": np.nan}, "`threshold` must not be NaN"),
        ({"threshold": np.ones(3)}, r"`threshold` must be one number or have shape \(2,\)"),
        ({"threshold": np.ones((1, NEW))}, "`threshold` must be one number"),
    ],
)
def test_options(direction, options, message):
    refused(direction, message, **options)


@both_ways
def test_observed_answers_that_are_infinite(direction):
    shape = (USERS, NEW) if direction == "question" else (NEW, QUESTIONS)
    refused(direction, "`observed` contains infinities", observed=np.full(shape, np.inf))


@both_ways
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1.0, "finite and not negative"),
        (np.nan, "finite and not negative"),
        (np.inf, "finite and not negative"),
        (0.0, "`sample_weight` is zero for every user"),
    ],
)
def test_weights(direction, value, message):
    weight = np.full(len(known(direction, HUMAN)), value)
    if value != 0:
        weight[1:] = 1
    refused(direction, message, sample_weight=weight)


def test_half_precision_is_computed_in_single():
    """JAX has no eigenvalues of half-precision matrices."""
    human, twin = (jnp.asarray(x, jnp.float16) for x in (known("question", HUMAN), TWIN))
    result = jax.eval_shape(CALIBRATE["question"], METHODS["Ridge"], human, twin)
    assert result.prediction.dtype == result.training_mse.dtype == jnp.float32


# --- methods and settings ------------------------------------------------------------------------


class Neither(Calibrator):
    """A calibrator that does not say what it is given."""


@both_ways
@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Neither(), "method must be a calibrator such as"),
        (SyntheticIntervention(9), "SyntheticIntervention: rank must lie between 1 and"),
        (HardImpute(49), "HardImpute: rank must lie between 1 and"),
        (SoftImpute(49, 1.0), "SoftImpute: rank must lie between 1 and"),
        (AlternatingLeastSquares(49, 1.0), "AlternatingLeastSquares: rank must lie between 1 and"),
        (SyntheticPrior(49), "SyntheticPrior: rank must lie between 1 and"),
        (NeuralNet(hidden=(0,)), "every entry of `hidden` must be positive"),
        (NeuralNet(epochs=0), "`epochs` must be at least 1"),
        (NeuralNet(batch_size=0), "`batch_size` must be at least 1"),
    ],
)
def test_methods_that_cannot_be_used(direction, method, message):
    if direction == "user" and method == SyntheticIntervention(9):
        method = SyntheticIntervention(11)
    refused(direction, message, method=method)


@pytest.mark.parametrize(
    ("method", "field"),
    [
        (Ridge, "penalty"),
        (Lasso, "alpha"),
        (ElasticNet, "alpha"),
        (SyntheticControl, "penalty"),
        (lambda p: SyntheticIntervention(2, p), "penalty"),
        (lambda p: SoftImpute(2, p), "penalty"),
        (lambda p: AlternatingLeastSquares(2, p), "penalty"),
        (lambda p: NeuralNet(weight_decay=p), "weight_decay"),
        (lambda p: NeuralNet(learning_rate=p), "learning_rate"),
    ],
)
def test_penalties(method, field):
    """Also two at once, of which a rank-2 completion would use one for each singular value."""
    for value in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=rf"{field} must be finite and at least 0, got"):
            method(value)
    two = jnp.array([1.0, 2.0])
    refused("question", f"`{field}` must be a scalar.*vmap", method=method(two))


@pytest.mark.parametrize("ratio", [-0.1, 1.5, np.nan])
def test_l1_ratio(ratio):
    with pytest.raises(ValueError, match=r"ElasticNet: l1_ratio must be in \[0, 1\]"):
        ElasticNet(0.1, ratio)


@pytest.mark.parametrize(
    "method", [HardImpute, SoftImpute, AlternatingLeastSquares, SyntheticPrior]
)
def test_ranks(method):
    with pytest.raises(ValueError, match="rank must be finite and at least 1, got 0"):
        method(0)


@pytest.fixture
def without_type_checks():
    """As users run it: annotations are checked in tests only."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("without_type_checks")
def test_arguments_of_another_type():
    with pytest.raises(ValueError, match=r"HardImpute: rank must be a whole number, got 2\.5"):
        HardImpute(2.5)
    with pytest.raises(ValueError, match="penalty must be a number, got 'a'"):
        Ridge("a")
    for direction in DIRECTIONS:
        refused(direction, r"settings must be .*Settings.reference\(\)", settings="reference")


@pytest.mark.parametrize(
    ("group", "field", "value", "message"),
    [
        (Imputation, "rank", 0, "be at least 1"),
        (Imputation, "max_steps", 0, "be at least 1"),
        (NewUsers, "blocks", -1, "not be negative"),
        *(
            (group, field, value, "not be negative")
            for group, field in (
                (Preparation, "min_std"),
                (NewUsers, "outlier_limit"),
                (Imputation, "tol"),
                (Fitting, "regression_tol"),
                (Fitting, "completion_tol"),
                (Fitting, "als_tol"),
                (FewShot, "level"),
                (FewShot, "slope"),
                (FewShot, "donors"),
            )
            for value in (-1e-3, np.nan)
        ),
    ],
)
def test_settings(group, field, value, message):
    with pytest.raises(ValueError, match=f"`{field}` must {message}"):
        group(**{field: value})


@pytest.mark.usefixtures("without_type_checks")
def test_settings_of_another_kind():
    with pytest.raises(ValueError, match=r"`simplex` must be one of .*'certified'.* got 'exact'"):
        Fitting(simplex="exact")
    with pytest.raises(ValueError, match=r"whole number, got 2\.5"):
        Imputation(max_steps=2.5)


# --- legal, if of little use ---------------------------------------------------------------------


def usable(result) -> np.ndarray:
    prediction = np.asarray(result.prediction)
    assert np.all(np.isfinite(prediction))
    assert set(np.asarray(result.status).tolist()) <= {Status.CONVERGED, Status.FIXED_STEPS}
    return prediction


@every_method
def test_a_user_who_answered_nothing_is_predicted_near_the_mean(name):
    human = changed(HUMAN, 5, np.nan)
    prediction = usable(calibrate("question", name, human, TWIN))
    twins = TWIN[:, -NEW:]
    distance = np.abs(prediction[5] - np.nanmean(twins, axis=0)) / np.nanstd(twins, axis=0)
    if name == "SyntheticPrior":  # its start, and here its only information, is the twin
        assert np.abs(distance).max() > 0.1
    else:
        assert np.all(distance < (0.5 if name in REGRESSIONS else 1e-3))


@both_ways
@every_method
def test_known_questions_and_users_that_no_twin_answered(direction, name):
    full = usable(calibrate(direction, name, HUMAN, TWIN))
    for index in ((slice(None), 2), 5):
        prediction = usable(calibrate(direction, name, HUMAN, changed(TWIN, index, np.nan)))
        assert np.corrcoef(prediction.ravel(), full.ravel())[0, 1] > 0.8
        if direction == "user" and name in REGRESSIONS and index != 5:
            # Not learnt from, but predicted at the humans' level.
            assert np.abs(prediction[:, 2] - np.nanmean(HUMAN[:-NEW, 2])).max() < 3


@both_ways
def test_rank_of_imputation_is_lowered_to_fit(direction):
    settings = Settings(imputation=Imputation(rank=500))
    human, twin = data(missing=0.0)
    result = calibrate(direction, "Ridge", human, twin, settings=settings)
    expected = calibrate(direction, "Ridge", human, twin)
    np.testing.assert_allclose(result.prediction, expected.prediction, atol=1e-4)


@both_ways
@pytest.mark.parametrize("name", ["Ridge", "SoftImpute"])
def test_a_target_without_twin_answers_is_marked_under_jit(direction, name):
    """Under `jit` no error is raised; the other target is predicted as if it were the only one."""
    human, twin = known(direction, HUMAN), np.array(TWIN)
    (twin.T if direction == "question" else twin)[-1] = np.nan
    result = jax.jit(lambda h, t: CALIBRATE[direction](METHODS[name], h, t))(human, twin)
    prediction = np.asarray(result.prediction)
    prediction = prediction.T if direction == "question" else prediction
    assert np.isnan(prediction[-1]).all() and np.isfinite(prediction[0]).all()
    assert (result.status == int(Status.NONFINITE)).tolist() == [False, True]
