"""Settings are data: numbers compile nothing, and choices only what reads them."""

import contextlib
import dataclasses
import json

import jax
import numpy as np
import pytest
from small_panels import small_panel

from syndigits_jax.calibration import (
    ElasticNet,
    FewShot,
    Fitting,
    HardImpute,
    Imputation,
    NewUsers,
    Preparation,
    Ridge,
    Settings,
    calibrate_question,
    calibrate_user,
)
from syndigits_jax.evaluation import few_shot_curve, leave_one_question_out, leave_one_user_out
from syndigits_jax.results.checkpoints import describe

PANEL = small_panel(0)
HUMAN, TWIN = np.array(PANEL.human), np.array(PANEL.twin)
OBSERVED = np.where(np.arange(len(HUMAN)) < 5, HUMAN[:, -1], np.nan)[:, None]
USUAL = Settings()
# Every number of the settings, each with another value.
OTHER = Settings(
    Imputation(penalty=1.5, tol=1e-3, max_steps=77),
    Preparation(min_std=0.2),
    NewUsers(outlier_limit=3.0),
    Fitting(regression_tol=1e-5, completion_tol=1e-3, als_tol=1e-3),
    FewShot(level=0.5, slope=0.2, donors=0.3),
)
METHODS = {"ElasticNet": ElasticNet(0.1, 0.5), "HardImpute": HardImpute(2)}


COMPILED = []


def _listen(event, *_, **__):
    if event == "/jax/core/compile/backend_compile_duration":
        COMPILED.append(event)


# Once: JAX 0.7 has no public function that would take it away again.
jax.monitoring.register_event_duration_secs_listener(_listen)


@contextlib.contextmanager
def compilations():
    """Counts what is compiled inside, in a list of one number."""
    count, before = [0], len(COMPILED)
    yield count
    count[0] = len(COMPILED) - before


def question(settings, method):
    return calibrate_question(
        method, HUMAN[:, :-1], TWIN, observed=OBSERVED, settings=settings
    ).prediction


def user(settings, method):
    return calibrate_user(method, HUMAN[:-1], TWIN, settings=settings).prediction


def hold_out(settings, method):
    found = leave_one_question_out([method], PANEL, settings=settings, workers=1)
    return found.predictions[type(method).__name__]


def hold_out_users(settings, method):
    found = leave_one_user_out([method], PANEL, settings=settings, workers=1, targets=[0, 1])
    return found.predictions[type(method).__name__]


def curve(settings, method):
    found = few_shot_curve(
        method, PANEL, [0, 5], key=jax.random.key(0), settings=settings, workers=1, repeats=1
    )
    return found.scores["mse"][type(method).__name__]


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("run", [question, user, hold_out, hold_out_users, curve])
def test_other_numbers_compile_nothing(run, method):
    first = run(USUAL, method)
    with compilations() as count:
        second = run(OTHER, method)
    assert count == [0]
    assert np.nanmax(np.abs(first - second)) > 1e-6  # they are read all the same


def test_each_number_is_other():
    """So that the test above leaves out none that is added."""
    assert isinstance(OTHER.new_users.blocks, int)  # sets the number of folds, and so their shape
    changed = OTHER.change(new_users={"blocks": 7})
    pairs = list(zip(jax.tree.leaves(USUAL), jax.tree.leaves(changed), strict=True))
    assert len(pairs) == 12 and all(a != b for a, b in pairs)


@pytest.mark.parametrize("run", [question, hold_out])
def test_other_penalties_compile_nothing(run):
    run(USUAL, ElasticNet(0.1, 0.5))
    with compilations() as count:
        run(USUAL, ElasticNet(0.3, 0.2))
    assert count == [0]
    with compilations() as count:
        run(USUAL, HardImpute(7))  # a rank that no other test has compiled before
    assert count[0] > 0  # the counter counts


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("ElasticNet", {"new_users": {"statistics": "twin", "stack": "beside"}}),
        ("HardImpute", {"new_users": {"stack": "beside"}, "imputation": {"method": "hard"}}),
    ],
)
def test_choices_that_are_not_read_compile_nothing(method, changes):
    question(USUAL, METHODS[method])
    with compilations() as count:
        question(USUAL.change(**changes), METHODS[method])
    assert count == [0]


def test_settings_as_arguments_of_a_program():
    """A caller's own `jit` may take them, and differentiate by them."""

    @jax.jit
    def total(settings):
        return question(settings, Ridge(2.0)).sum()

    np.testing.assert_allclose(total(OTHER), question(OTHER, Ridge(2.0)).sum(), rtol=1e-4)

    def by_level(level):
        few_shot = dataclasses.replace(USUAL.few_shot, level=level)
        return total(dataclasses.replace(USUAL, few_shot=few_shot))

    h = 0.02
    difference = (by_level(1 / 3 + h) - by_level(1 / 3 - h)) / (2 * h)
    np.testing.assert_allclose(jax.grad(by_level)(1 / 3), difference, rtol=0.05)


def test_settings_are_plain_data():
    """Equal settings are equal, hash alike and have one description; numbers in any form."""
    same = Settings(preparation=Preparation(min_std=np.float32(0.0)))
    assert same == USUAL and hash(same) == hash(USUAL) and describe(same) == describe(USUAL)
    as_array = Settings(imputation=Imputation(max_steps=jax.numpy.asarray(1000)))
    assert as_array == USUAL and hash(as_array) == hash(USUAL)
    text = json.dumps(describe(Settings.reference()))
    assert '"outlier_limit": Infinity' in text and json.loads(text)["fitting"]["als_tol"] == 5e-4
    assert describe(OTHER) != describe(USUAL) != describe(Settings.reference())


def test_some_groups_and_the_defaults_of_the_others():
    part = OTHER.only("fitting", "few_shot")
    assert part == Settings(fitting=OTHER.fitting, few_shot=OTHER.few_shot)
    assert OTHER.only(*(f.name for f in dataclasses.fields(OTHER))) == OTHER
