"""How the public functions of panels, calibration, estimation and data sets are called."""

import jax
import numpy as np
import pandas as pd
from disturbed import array, filled, numbers, of

from syndigits_jax import calibration as c
from syndigits_jax import datasets, schema
from syndigits_jax import estimation as s
from syndigits_jax.panel import Panel

KEY = jax.random.key(0)
HUMAN, TWIN = numbers("n", "m"), numbers("n", "m", seed=1)
ONES = filled(1, "n")
SETTINGS = c.Settings(imputation=c.Imputation(rank=1))


def made(human, twin, **options):
    return Panel.from_arrays(human, twin, **options)


def whole(values):
    """Integers, where they can be."""
    small = np.isfinite(values).all() and all(abs(float(value)) < 1e9 for value in values)
    return values.astype(int) if small else values


ENDS = ("low", "high", "step")
SIZES = ("users", "questions")
PANELS = (
    of(Panel.from_arrays, human=HUMAN, twin=TWIN),
    of(Panel.from_frames, call=lambda human, twin: Panel.from_frames(
        *(pd.DataFrame(x, [f"u{i}" for i in range(len(x))], list("abcd")[: x.shape[1]])
          for x in (human, twin))), human=HUMAN, twin=TWIN, also=SIZES),
    of(Panel.with_scale, call=lambda human, twin, scale: made(human, twin).with_scale(
        tuple(float(end) for end in scale)), human=HUMAN, twin=TWIN, scale=array([1.0, 5.0, 0.25]),
       also=(*ENDS, *SIZES)),
    of(Panel.with_observed_ranges, call=lambda human, twin: made(human, twin)
       .with_observed_ranges(), human=HUMAN, twin=TWIN, also=SIZES),
    of(Panel.describe, call=lambda human, twin: made(human, twin).describe(), human=HUMAN,
       twin=TWIN, also=SIZES),
    of(Panel.arrays, call=lambda human, twin: made(human, twin).arrays(), human=HUMAN, twin=TWIN,
       also=SIZES),
    of(Panel.take, call=lambda users, questions: made(HUMAN.make(8, 4), TWIN.make(8, 4)).take(
        whole(users), whole(questions)), users=array([0, 2]), questions=array([1, 3]),
       shapes=()),
    of(Panel.select, call=lambda users, questions: made(
        HUMAN.make(8, 4), TWIN.make(8, 4), users=range(8), questions=range(4)).select(
        users, questions), users=array([0, 2]), questions=array([1, 3]), shapes=()),
    of(Panel.with_missing, call=lambda cells: made(HUMAN.make(8, 4), TWIN.make(8, 4)).with_missing(
        human=cells > 2), cells=HUMAN),
    of(schema.answer_ranges, call=lambda scale: schema.answer_ranges(
        tuple(scale.tolist()), ["a"]), scale=array([1.0, 5, 1]), shapes=(), also=ENDS),
    of(schema.Scale, call=lambda low, high, step: schema.Scale(
        low.item(), high.item(), step.item()), low=filled(1), high=filled(5), step=filled(1)),
    of(schema.Option, call=lambda value: schema.Option(value.item(), "a"), value=filled(1)),
)  # fmt: skip

CALIBRATION = (
    of(c.calibrate_question, method=c.Ridge(2.0), human=HUMAN, twin=numbers("n", 5, seed=1),
       observed=array([[2.0], [3.0], *[[np.nan]] * 6]), sample_weight=ONES, threshold=filled(0.5),
       settings=SETTINGS, shapes=("no people",)),
    of(c.calibrate_user, method=c.Ridge(2.0), human=HUMAN, twin=numbers(9, "m", seed=1),
       observed=array([[2.0, 3.0, np.nan, np.nan]]), sample_weight=ONES, threshold=filled(0.5),
       settings=SETTINGS, shapes=("no questions",)),
)  # fmt: skip


def new_question(function, **options):
    """The last question has no human answer."""

    def call(human, twin, **more):
        human = np.array(human, float)
        human[:, -1:] = np.nan
        return function(Panel.from_arrays(human, twin, scale=(0.0, 6.0)), **more, **options)

    return of(
        function, call=call, human=HUMAN, twin=TWIN, sample_weight=ONES, shapes=("no people",)
    )


def new_user(function, **options):
    def call(human, twin, **more):
        human = np.array(human, float)
        human[-1:] = np.nan
        return function(Panel.from_arrays(human, twin, scale=(0.0, 6.0)), **more, **options)

    return of(
        function, call=call, human=HUMAN, twin=TWIN, sample_weight=ONES, shapes=("no people",)
    )


def held_out(function, human=HUMAN, twin=TWIN, scale=(0.0, 6.0), **options):
    def call(human, twin, **more):
        panel = Panel.from_arrays(human, twin, scale=scale)
        return function(panel, workers=1, **more, **options)

    return of(
        function, call=call, human=human, twin=twin, sample_weight=ONES, shapes=("no people",),
        also=SIZES,
    )  # fmt: skip


def new_users_and_questions(human, twin, **more):
    human = np.array(human, float)
    human[-1:], human[:, -1:] = np.nan, np.nan
    panel = Panel.from_arrays(human, twin, scale=(0.0, 6.0))
    return s.estimate_new_users_and_questions(panel, workers=1, **more)


# Whole numbers, whose options are known.
CHOSEN, SAID = (array(np.random.default_rng(seed).integers(1, 6, (8, 4))) for seed in (2, 3))

ESTIMATION = (
    of(s.option_probabilities, mean=filled(0.5, "n"), sd=filled(0.5), options=array([0.0, 0.5, 1]),
       base=array([0.5, 0.25, 0.25]), sample_weight=ONES),
    of(s.question_intervals, method=c.Ridge(2.0), human=HUMAN, twin=numbers("n", 5, seed=1),
       sample_weight=ONES, alpha=0.5, settings=SETTINGS, shapes=("no people",)),
    new_question(s.estimate_questions, expect=False, workers=1),
    new_user(s.estimate_users, expect=False, workers=1),
    new_question(s.learned_control, workers=1),
    new_question(s.hold_out_learned_control, workers=1),
    held_out(s.hold_out_questions),
    held_out(s.hold_out_users),
    held_out(s.hold_out_quality),
    held_out(s.hold_out_probabilities, human=CHOSEN, twin=SAID, scale=(1.0, 5.0, 1.0)),
    of(s.estimate_new_users_and_questions, call=new_users_and_questions, human=HUMAN, twin=TWIN,
       sample_weight=ONES, shapes=("no people",)),
)  # fmt: skip


def merged(answers):
    panel = Panel.from_arrays(answers, answers, questions=["gain", "loss", "age"])
    return datasets.merge_versions(panel, {"programme": {"gain": "gain", "loss": "loss"}})


def counted(targets, twins):
    names = [f"q{i}" for i in range(twins.shape[1])]
    counts = pd.DataFrame(targets, names[: len(targets)], ["1", "2"])
    return datasets.load_distributions(counts, pd.DataFrame(twins, columns=names))


DATASETS = (
    of(datasets.rating_table, call=lambda rating, time: datasets.rating_table(
        list("aabb"), list("xyxy"), rating, time), rating=array([5.0, 1, 4, 2]),
       time=array([1.0, 2, 3, 4]), shapes=()),
    of(datasets.merge_versions, call=merged, shapes=(), also=("human", "twin", *SIZES),
       answers=array([[1.0, np.nan, 1], [np.nan, 2, 1], [5, np.nan, 2], [np.nan, 3, 2]])),
    of(datasets.load_distributions, call=counted, targets=array([[3.0, 1], [2, 2], [1, 4]]),
       twins=array([[1.0, 2, 1], [2, 2, 1]]), shapes=()),
    of(datasets.film_questions, call=lambda year: datasets.film_questions(
        pd.DataFrame({"id": np.arange(len(year)), "title": year})), year=filled(1979, 2),
       shapes=()),
    of(datasets.read_items, call=lambda year: datasets.read_items(
        pd.DataFrame({"id": np.arange(len(year)), "title": year})), year=filled(1979, 2),
       shapes=()),
    of(datasets.simulate_panel, call=lambda **numbers: datasets.simulate_panel(
        6, 4, 2, key=0, **{k: v.item() for k, v in numbers.items()}), fidelity=filled(0.5),
       noise=filled(1), missing=filled(0.25), signal=filled(1), bias=filled(1)),
    of(datasets.simulate_block_panel, call=lambda **numbers: datasets.simulate_block_panel(
        20, 8, 3, key=0, **{k: v.item() for k, v in numbers.items()}), fidelity=filled(0.5),
       noise=filled(1), missing=filled(0.25), signal=filled(1), own=filled(0.5)),
    of(datasets.simulate_distributions, call=lambda ratio, spread: datasets.simulate_distributions(
        6, 4, 3, ratio=ratio.item(), spread=spread.item()), ratio=filled(3), spread=filled(1)),
)  # fmt: skip

TABLE = (*PANELS, *CALIBRATION, *ESTIMATION, *DATASETS)
EXCEPTIONS = {
    "calibration.preset": "takes names",
    "estimation.blocks_from_names": "takes names",
    "estimation.fewest_units": "takes one level: see tests/estimation/test_person_intervals.py",
    "datasets.find_construction": "takes a name",
    "datasets.sample_panel": "takes nothing",
    "datasets.sample_panel_with_truth": "takes nothing",
    "datasets.simulate_answers": "takes what simulate_questions returned, and sizes",
    "datasets.simulate_questions": "takes a name and a size",
}
