"""Both entry points at one shape and one setting, so that every method compiles once for all tests.

The last two questions (or users) of a panel are new: their human answers are not passed on.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from small_panels import METHODS, QUESTIONS, USERS, small_panel

from syndigits_jax.calibration import (
    Calibrated,
    Fitting,
    Imputation,
    Settings,
    calibrate_question,
    calibrate_user,
)

DIRECTIONS = ("question", "user")
NEW = 2
CALIBRATE = {"question": calibrate_question, "user": calibrate_user}
# Default but for the stopping rules, so that results can be compared, and for a rank of imputation
# that so small a matrix determines.
SETTINGS = Settings(
    imputation=Imputation(rank=2, tol=3e-6, max_steps=1_000_000),
    fitting=Fitting(completion_tol=3e-6, als_tol=3e-6),
)
# At this size compiling is all the time there is; so it takes a fifth. JAX 0.11 has one of the two.
COMPILER: dict[str, bool | int] = {"xla_backend_optimization_level": 0}
if jax.__version_info__ < (0, 11):
    COMPILER["xla_cpu_use_fusion_emitters"] = False


def known(direction: str, human):
    """The answers of the known questions (or users)."""
    return human[:, :-NEW] if direction == "question" else human[:-NEW]


def new(direction: str, matrix):
    """The part of the new questions (or users)."""
    return matrix[:, -NEW:] if direction == "question" else matrix[-NEW:]


def by_target(direction: str, matrix) -> np.ndarray:
    """One row per new question (or user)."""
    return np.asarray(matrix).T if direction == "question" else np.asarray(matrix)


def data(seed: int = 0, missing: float = 0.1):
    panel = small_panel(seed, missing=missing)
    return panel.human.copy(), panel.twin.copy()


def complete_donors(direction: str, seed: int):
    """No donor answer missing, so that imputation has nothing to do; some target answers are.

    Of the first target a third: where a donor is large, so that means over the rest differ.
    """
    human, twin = data(seed, missing=0.0)
    target, donor = new(direction, twin), twin[:, 0] if direction == "question" else twin[0]
    target = target.T if direction == "question" else target
    target[0, np.argsort(donor)[-len(donor) // 3 :]] = np.nan
    target[1, 1] = np.nan
    return human, twin


def user_weights(direction: str, seed: int = 0):
    """Unequal weights of the known users."""
    size = USERS if direction == "question" else USERS - NEW
    return np.random.default_rng(seed).uniform(0.5, 2, size)


@functools.partial(jax.jit, static_argnames="direction", compiler_options=COMPILER)
def compiled(direction, method, human, twin, observed, weight, threshold, settings=SETTINGS):
    return CALIBRATE[direction](
        method,
        human,
        twin,
        observed=observed,
        sample_weight=weight,
        threshold=threshold,
        settings=settings,
    )


def calibrate(
    direction: str,
    method,
    human,
    twin,
    *,
    observed=None,
    weight=None,
    threshold=np.inf,
    settings: Settings = SETTINGS,
    dtype=float,
) -> Calibrated:
    """Calibrate the last two questions (users) of `human` and `twin` (24 x 10)."""
    assert human.shape == twin.shape == (USERS, QUESTIONS)
    method = METHODS[method] if isinstance(method, str) else method
    human = known(direction, human)
    shape = new(direction, twin).shape
    arrays = (
        human,
        twin,
        np.full(shape, np.nan) if observed is None else observed,
        np.ones(human.shape[0]) if weight is None else weight,
        threshold,
    )
    arrays = (None if a is None else jnp.asarray(a, dtype) for a in arrays)
    return compiled(direction, method, *arrays, settings=settings)
