"""Every public function takes all containers of numbers, and errors name the argument."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from small_ensembles import OPTIONS, QUESTIONS, TWINS, small_problem

from syndigits_jax.distribution import (
    Answers,
    Spec,
    best_coefficients,
    cdf_l1,
    cdf_l2,
    chi_square,
    cross_validation,
    fit_blend,
    fit_ensemble,
    fit_large,
    hellinger,
    kolmogorov_smirnov,
    kullback_leibler,
    make_design,
    make_targets,
    share_intervals,
    theorem_7_1,
    total_variation,
)
from syndigits_jax.distribution.evaluation import (
    divergence_by_question,
    mean_distribution,
    scores,
    uniform_ensemble,
    variance_ratio,
)
from syndigits_jax.distribution.intervals import intervals_around

FORMS = {
    "lists": lambda x: x.tolist(),
    "a frame": lambda x: pd.DataFrame(x) if x.ndim == 2 else x.tolist(),
    "a nullable frame": lambda x: pd.DataFrame(x).astype("Float64") if x.ndim == 2 else x,
    "objects": lambda x: x.astype(object),
    "a masked array": np.ma.array,
    "float16": lambda x: x.astype(np.float16),
    "big-endian": lambda x: x.astype(">f8"),
    "a JAX array": jnp.asarray,
}
WHOLE = {
    "integers": lambda x: x.astype(np.int16),
    "unsigned": lambda x: x.astype(np.uint8),
    "big-endian integers": lambda x: x.astype(">i4"),
    "text": lambda x: x.astype(int).astype(str),
}

_targets, CHOICES = small_problem(0)
COUNTS = np.round(_targets * 64) + 1  # float16 holds them
SHARES = np.full((3, OPTIONS), 0.25)
OTHER = np.array([[0.5, 0.25, 0.125, 0.125]] * 3)
ANSWERS = Answers.from_choices(CHOICES, OPTIONS)
TRUTH = make_targets(SHARES)
WEIGHT = np.arange(QUESTIONS) + 1.0
VALUES = np.array([0.0, 1, 2.5, 4])
PROBABILITIES = np.stack([SHARES, OTHER])

DIVERGING = {
    f.__name__: lambda form, f=f: f(form(SHARES), form(OTHER))
    for f in (total_variation, chi_square, kullback_leibler, hellinger, kolmogorov_smirnov)
}
CALLS = DIVERGING | {
    "cdf_l1": lambda form: cdf_l1(form(SHARES), form(OTHER), values=form(VALUES)),
    "cdf_l2": lambda form: cdf_l2(form(SHARES), form(OTHER), values=form(VALUES)),
    "make_targets": lambda form: make_targets(
        form(COUNTS), weight=form(WEIGHT), values=form(VALUES)
    ),
    "from_choices": lambda form: Answers.from_choices(form(CHOICES), OPTIONS),
    "from_choices, sizes": lambda form: Answers.from_choices(
        form(CHOICES), form(np.full(QUESTIONS, 4.0))
    ),
    "from_probabilities": lambda form: Answers.from_probabilities(form(PROBABILITIES)),
    "questions": lambda form: ANSWERS.questions(form(np.array([3.0, 1.0]))),
    "twins": lambda form: ANSWERS.twins(form(np.array([3.0, 1.0]))),
    "fit_ensemble": lambda form: fit_ensemble(
        form(COUNTS), ANSWERS, "kl", weight=form(WEIGHT), base=form(np.ones(TWINS + OPTIONS))
    ),
    "fit_large": lambda form: fit_large(
        form(COUNTS), ANSWERS, Spec("kl", weight=form(WEIGHT)), columns=16, max_rounds=1
    ),
    "fit_blend": lambda form: fit_blend(
        form(COUNTS), ANSWERS, "kl", entropies=form(np.array([0.0])), shares=(0.0, 1.0),
        folds=2, weight=form(WEIGHT),
    ).error,
    "cross_fit": lambda form: cross_validation.cross_fit(
        form(COUNTS), ANSWERS, [Spec("kl")], folds=2
    ),
    "share_intervals": lambda form: share_intervals(
        form(COUNTS), ANSWERS, ANSWERS, Spec("kl"), folds=2, values=form(VALUES)
    ),
    "intervals_around": lambda form: intervals_around(
        form(OTHER), form(OTHER), TRUTH, alpha=0.5, options=np.ones(OPTIONS, bool)
    ),
    "divergence_by_question": lambda form: divergence_by_question("chi2", TRUTH, form(OTHER)),
    "variance_ratio": lambda form: variance_ratio(TRUTH, form(OTHER)),
    "scores": lambda form: scores(form(SHARES), {"q": form(OTHER)}, values=form(VALUES)),
    "theorem_7_1": lambda form: theorem_7_1(
        form(np.array([0.5, 0.5])), 0.25, n=100, n_options=3, ratio=2.0
    ),
    "best_coefficients": lambda form: best_coefficients(
        form(np.eye(4)[:3]), form(np.full(4, 0.25))
    ),
}  # fmt: skip


def leaves(result):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(result)]


@pytest.mark.parametrize("name", CALLS)
def test_the_same_numbers_give_the_same_result(name):
    expected = leaves(CALLS[name](np.asarray))
    forms = dict(FORMS)
    if name.startswith(("from_choices", "questions", "twins")):
        forms |= WHOLE
    for form, convert in forms.items():
        found = leaves(CALLS[name](convert))
        assert len(found) == len(expected), form
        for x, y in zip(found, expected, strict=True):
            assert x.dtype == y.dtype, form
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6, err_msg=form)


MISSING = {
    "NaN": lambda x: x,
    "None": lambda x: np.where(np.isnan(x), None, x),
    "pandas.NA": lambda x: np.where(np.isnan(x), pd.NA, x.astype(object)),
    "a nullable frame": lambda x: pd.DataFrame(x).astype("Int64"),
    "masked integers": lambda x: np.ma.array(np.nan_to_num(x, nan=7).astype(int), mask=np.isnan(x)),
}


@pytest.mark.parametrize("form", MISSING.values(), ids=MISSING)
def test_missing_is_missing(form):
    choices = CHOICES.copy()
    choices[0, 1] = np.nan
    np.testing.assert_array_equal(
        Answers.from_choices(form(choices), OPTIONS).codes,
        Answers.from_choices(choices, OPTIONS).codes,
    )
    counts = COUNTS.copy()
    counts[2, 3] = np.nan
    truth = make_targets(form(counts))
    assert truth.options[2].tolist() == [True, True, True, False]
    np.testing.assert_allclose(truth.p[2, :3], counts[2, :3] / counts[2, :3].sum(), rtol=1e-6)


KEPT = np.array([True, True, False, True])
MASKED = {
    "total_variation": lambda mask: total_variation(SHARES[0], OTHER[0], options=mask),
    "make_targets": lambda mask: make_targets(COUNTS, options=mask),
    "from_choices": lambda mask: Answers.from_choices(np.zeros((2, 3)), 4, options=mask),
    "restricted": lambda mask: ANSWERS.restricted(mask),
    "make_design": lambda mask: make_design(ANSWERS, mask),
    "uniform_ensemble": lambda mask: uniform_ensemble(ANSWERS, mask),
    "mean_distribution": lambda mask: mean_distribution(TRUTH, mask),
    "fit_ensemble": lambda mask: fit_ensemble(COUNTS, ANSWERS, "kl", options=mask),
    "predict": lambda mask: fit_ensemble(COUNTS, ANSWERS, "kl").predict(ANSWERS, options=mask),
}


@pytest.mark.parametrize("name", MASKED)
def test_masks(name):
    expected = leaves(MASKED[name](KEPT))
    for mask in (KEPT.tolist(), KEPT.astype(object), jnp.asarray(KEPT), pd.Series(KEPT)):
        for x, y in zip(leaves(MASKED[name](mask)), expected, strict=True):
            np.testing.assert_array_equal(x, y)
    for wrong in (KEPT.astype(int), KEPT.astype(float), ["yes", "yes", "no", "yes"]):
        with pytest.raises(ValueError, match="`options` must be boolean"):
            MASKED[name](wrong)


REFUSED = {
    "complex": (lambda x: x + 0j, "real numbers"),
    "dates": (lambda x: x.astype("datetime64[s]"), "dates"),
    "text": (lambda x: np.where(x == x.flat[0], "many", x.astype(str)), "'many'"),
    "bytes": (lambda x: x.astype("S4"), "numbers"),
}
NAMED = {
    "p": lambda form: total_variation(form(SHARES), OTHER),
    "q": lambda form: cdf_l1(SHARES, form(OTHER)),
    "targets": lambda form: make_targets(form(COUNTS)),
    "weight": lambda form: fit_ensemble(COUNTS, ANSWERS, weight=form(WEIGHT)),
    "values": lambda form: fit_ensemble(COUNTS, ANSWERS, values=form(VALUES)),
    "base": lambda form: fit_ensemble(COUNTS, ANSWERS, base=form(np.ones(TWINS + OPTIONS))),
    "choices": lambda form: Answers.from_choices(form(CHOICES), OPTIONS),
    "probabilities": lambda form: Answers.from_probabilities(form(PROBABILITIES)),
    "positions": lambda form: ANSWERS.questions(form(np.array([3.0, 1.0]))),
    "coefficients": lambda form: theorem_7_1(
        form(np.array([0.5, 0.5])), 0.25, n=100, n_options=3, ratio=2.0
    ),
    "questions": lambda form: best_coefficients(form(np.eye(3)), np.full(3, 1 / 3)),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_is_no_number_is_named(name):
    for convert, message in REFUSED.values():
        with pytest.raises(ValueError, match=rf"`{name}`.*{message}"):
            NAMED[name](convert)
    with pytest.raises(ValueError, match=rf"`{name}`.*(differ in length|not a number)"):
        NAMED[name](lambda x: [*x.tolist(), [1.0, [2.0]]])


@pytest.mark.parametrize("positions", [[0, QUESTIONS], [-QUESTIONS - 1], [0.5], [np.nan]])
def test_positions_of_no_question(positions):
    with pytest.raises(ValueError, match="`positions`"):
        ANSWERS.questions(positions)


def test_a_mask_of_questions():
    some = ANSWERS.questions(np.arange(QUESTIONS) % 2 == 0)
    np.testing.assert_array_equal(some.codes, ANSWERS.codes[:, ::2])
    with pytest.raises(ValueError, match="a mask must have 10 entries"):
        ANSWERS.questions([True, False])
