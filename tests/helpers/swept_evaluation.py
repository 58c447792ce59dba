"""How the public functions of evaluation are called."""

import jax
import numpy as np
import pandas as pd
from disturbed import array, filled, numbers, of

from syndigits_jax import evaluation as e
from syndigits_jax.calibration import Imputation, Ridge, Settings
from syndigits_jax.evaluation.few_shot import FewShotCurve
from syndigits_jax.inference import Resampled
from syndigits_jax.panel import Panel

KEY = jax.random.key(0)
RIDGE, SETTINGS = Ridge(2.0), Settings(imputation=Imputation(rank=1))
# (questions, people), and ten people where that is the least.
ROWS, OTHER, THIRD = (numbers("m", "n", seed=seed) for seed in range(3))
LINE, LINE_2 = numbers("m", seed=4), numbers("m", seed=5)
ONES = filled(1, "n")
FLAT = ("constant", "zero", "tiny")
ALIKE = ("constant", "zero")  # twins who all answer alike have no training error
SIZES = ("users", "questions")
TABLE_OF = numbers("n", "m", seed=6)
TWICE = numbers("n", "m", seed=7)
FORECASTS = array([[[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.125, 0.125, 0.75]] * 2] * 3)
CHOSEN = array([[0.0, 1, 2, 2, 1, 0], [1, 1, 2, 0, 1, 2], [0, 0, 1, 2, 1, 2]])
PEOPLE = filled(1, 6)
OPTIONS = array([1.0, 2, 3, 4, 5])
LABELS = ["a", "b"] * 4
SHARES, SHARES_2 = array([[0.5, 0.5], [0.25, 0.75]]), array([[0.75, 0.25], [0.5, 0.5]])


def held_out(human, twin):
    panel = Panel.from_arrays(human, twin)
    return e.leave_one_question_out(RIDGE, panel, settings=SETTINGS, workers=1)


def one(name):
    return lambda values: {name: values}


SCORES = (
    of(e.brier_score, probabilities=FORECASTS, answers=CHOSEN, sample_weight=PEOPLE, shapes=()),
    of(e.log_score, probabilities=FORECASTS, answers=CHOSEN, sample_weight=PEOPLE, shapes=()),
    of(e.ranked_probability_score, probabilities=FORECASTS, answers=CHOSEN,
       values=array([1.0, 2, 4]), sample_weight=PEOPLE, shapes=()),
    of(e.probability_losses, score="brier", probabilities=FORECASTS, answers=CHOSEN, shapes=(),
       undefined=("negative",)),
    of(e.expected_calibration_error, probabilities=FORECASTS, answers=CHOSEN,
       sample_weight=PEOPLE, shapes=()),
    of(e.reliability, probabilities=FORECASTS, answers=CHOSEN, sample_weight=PEOPLE, bins=2,
       shapes=()),
    of(e.fit_probability_calibration, kind="temperature", probabilities=FORECASTS, answers=CHOSEN,
       sample_weight=PEOPLE, penalty=filled(1), floor=filled(0.01), shapes=()),
    of(e.nested_probability_calibration, kind="temperature", probabilities=FORECASTS,
       answers=CHOSEN, groups=[0, 1, 2], sample_weight=PEOPLE, shapes=()),
    of(e.from_draws, draws=numbers(3, "n"), options=OPTIONS),
    of(e.from_points, points=TABLE_OF, options=OPTIONS),
    of(e.marginal_of_others, answers=CHOSEN, size=3, sample_weight=PEOPLE, shapes=()),
    of(e.option_positions, values=CHOSEN, options=array([0.0, 1, 2]), shapes=()),
    of(e.simbench_score, predicted=SHARES, true=SHARES_2, shapes=()),
    of(e.skill, loss=LINE, reference=LINE_2, undefined=("zero", "negative")),
    of(e.smoothed, probabilities=SHARES, share=filled(0.25), shapes=()),
    of(e.attenuation_corrected, correlation=filled(0.5, "m"), reliability=filled(0.5, "m"),
       other=filled(1, "m"), undefined=("zero", "negative")),
)  # fmt: skip

ANSWERS = (
    of(e.arm_effects, call=lambda treated, control, **o: e.arm_effects(
        {"people": treated}, {"people": control}, key=KEY, **o), treated=ROWS, control=OTHER,
       sample_weight=ONES, replicates=5, batch_size=5),
    of(e.effect_slope, call=lambda value, draws: e.effect_slope(Resampled(value, draws), key=KEY),
       also=("effects", "outcomes"), value=numbers(2, "m"), draws=numbers(5, 2, "m"),
       undefined=(*FLAT, "huge")),
    of(e.compare_predictions, predictions=ROWS.within(one("a")), truth=OTHER, sample_weight=ONES,
       key=KEY, replicates=5, batch_size=5),
    of(e.twin_gain, estimate=ROWS, control=OTHER, truth=THIRD, sample_weight=ONES, key=KEY,
       replicates=5, batch_size=5),
    of(e.people_worth, prediction=ROWS, truth=OTHER, sample_weight=ONES, key=KEY, replicates=5,
       batch_size=5),
    of(e.group_errors, estimates=ROWS.within(one("a")), truth=OTHER, groups=LABELS, key=KEY,
       sample_weight=ONES, replicates=5, batch_size=5, shapes=("no questions", "one question"),
       undefined=FLAT),
    of(e.group_mean_control, truth=ROWS, groups=LABELS, sample_weight=ONES,
       shapes=("no questions", "one question"), undefined=("one question",)),
    of(e.joint_structure, human=numbers(12, "m"), twin=numbers(12, "m", seed=1),
       sample_weight=filled(1, 12), shapes=("no questions", "one question")),
    of(e.judge_expectations, expected=LINE, realised=LINE_2, key=KEY, replicates=5,
       undefined=("constant", "zero")),
    of(e.level_errors, prediction=ROWS, truth=OTHER, sample_weight=ONES),
    of(e.mean_reliability, answers=TABLE_OF, key=KEY, sample_weight=ONES, replicates=5,
       undefined=("constant", "zero", "one person", "one question")),
    of(e.split_half, answers=TABLE_OF, key=KEY, sample_weight=ONES, repeats=3),
    of(e.retest_reliability, first=TABLE_OF, second=TWICE, sample_weight=ONES,
       undefined=("constant", "zero", "one person")),
    of(e.share_of_ceiling, scores=LINE, ceilings=LINE_2, key=KEY, replicates=5),
    of(e.person_mean, others=TABLE_OF, sample_weight=ONES),
    of(e.other_answers, call=lambda others, covariates, answers: e.other_answers(
        others, covariates=covariates)(answers), others=TABLE_OF, covariates=TWICE,
       answers=numbers("n", seed=8)),
    of(e.retest_answers, call=lambda again: e.retest_answers(
        Panel.from_arrays(np.ones((8, 4)), np.ones((8, 4)), range(8), list("abcd")),
        pd.DataFrame(again, index=range(len(again)), columns=list("abcd")[: again.shape[1]])),
       again=TABLE_OF),
)  # fmt: skip

TWIN = numbers("n", 5, seed=7)
FITS = (
    of(e.choose_penalty, method=RIDGE, human=TABLE_OF, twin=TWIN, penalties=array([0.5, 4.0]),
       sample_weight=ONES, settings=SETTINGS, shapes=("no people",), also=("penalty",)),
    of(e.choose_threshold, method=RIDGE, human=TABLE_OF, twin=TWIN, sample_weight=ONES,
       settings=SETTINGS, shapes=("no people",), undefined=ALIKE),
    of(e.tune_penalty, method=RIDGE, human=TABLE_OF, twin=TWIN, sample_weight=ONES, steps=2,
       settings=SETTINGS, shapes=("no people",), also=("penalties",)),
    of(e.leave_one_question_out, call=held_out, human=TABLE_OF, twin=TWICE, undefined=ALIKE,
       also=SIZES),
    of(e.leave_one_user_out, call=lambda human, twin: e.leave_one_user_out(
        RIDGE, Panel.from_arrays(human, twin), settings=SETTINGS, workers=1), human=TABLE_OF,
       twin=TWICE, undefined=ALIKE, also=SIZES),
    of(e.adaptive_transfer, call=lambda human, twin, taus: e.adaptive_transfer(
        held_out(human, twin), "Ridge", taus=taus), human=TABLE_OF, twin=TWICE,
       taus=array([0.25, 0.5]), shapes=()),
    of(e.few_shot_curve, call=lambda human, twin, ks: e.few_shot_curve(
        RIDGE, Panel.from_arrays(human, twin), ks, key=KEY, repeats=1, settings=SETTINGS,
        workers=1, targets=[0]), human=TABLE_OF, twin=TWICE, ks=array([0.0, 3.0]), shapes=()),
)  # fmt: skip

SCORED = array([[[4.0, 1, 0.5], [2, 2, 1]], [[3, 2, 1], [5, 2, 1]]])


def scored(scores):
    """Scores of a method and a control, of two questions at three numbers of answers."""
    by_name = dict(zip(("Ridge", "HumansOnly"), scores, strict=False))
    return FewShotCurve("question", np.array([0, 2, 4]), np.arange(2), {"mse": by_name}, ("Ridge",))


CURVES = (
    of(e.equivalent_respondents, call=lambda scores: e.equivalent_respondents(
        scored(scores), "Ridge"), scores=SCORED, shapes=(), also=("predictions",)),
)  # fmt: skip

TABLE = (*SCORES, *ANSWERS, *FITS, *CURVES)
EXCEPTIONS = {}
