"""Simulated panels of many surveys, of which every person answered some, with known truth."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ..panel import Panel
from ..results.keys import Key, entropy
from ..schema import Scale

FIVE_STEPS = Scale(1.0, 5.0, 1.0)
"""The scale of the simulated surveys: whole numbers from 1 to 5."""


@dataclass(frozen=True, eq=False)
class BlockTruth:
    """The truth behind a panel of b surveys; n users, m questions.

    **Arguments:**

    - `human`, `twin`: (n, m) noiseless responses.
    - `human_complete`, `twin_complete`: (n, m) all responses, with noise and rounding, before any
      went missing.
    - `question_means`, `twin_question_means`: (m,) of the noiseless responses.
    - `human_answered`, `twin_answered`: (n, b) which surveys a person, and a twin, answered.
    """

    human: Float[np.ndarray, "n m"]
    twin: Float[np.ndarray, "n m"]
    human_complete: Float[np.ndarray, "n m"]
    twin_complete: Float[np.ndarray, "n m"]
    question_means: Float[np.ndarray, " m"]
    twin_question_means: Float[np.ndarray, " m"]
    human_answered: Bool[np.ndarray, "n b"]
    twin_answered: Bool[np.ndarray, "n b"]


def simulate_block_panel(
    n: int = 1784,
    m: int = 163,
    surveys: int = 19,
    *,
    key: Key,
    rank: int = 4,
    missing: float = 0.55,
    unlike: float = 0.03,
    fidelity: float = 0.7,
    own: float = 0.5,
    signal: float = 0.8,
    twin_signal: float = 0.6,
    noise: float = 0.7,
    twin_noise: float = 0.4,
    question_spread: float = 0.6,
    bias: float = 0.2,
    bias_spread: float = 0.4,
    scale: Scale | None = FIVE_STEPS,
    name: str = "simulated surveys",
) -> tuple[Panel, tuple[str, ...], BlockTruth]:
    """A panel whose people answered some surveys of many, each of them wholly or not at all.

    A question depends on `rank` factors that all surveys share and on one of its own survey. The
    twins' factors are correlated with the people's, and their loadings are the same. Surveys have
    unequal sizes, of at least two questions.

    **Arguments:**

    - `n`, `m`, `surveys`: numbers of users, questions and surveys.
    - `key`: a JAX random key or an integer.
    - `rank`: number of common factors.
    - `missing`: share of surveys that a person did not answer, below 1. Everyone answers one, and
      two people or more answer each.
    - `unlike`: share of (person, survey) pairs that only one of person and twin answered.
    - `fidelity`: correlation of a twin's factors with its person's, 0 to 1.
    - `own`: share of a question's variance, without noise, that is its survey's own factor's, 0 to
      1.
    - `signal`, `twin_signal`: standard deviations of what factors explain.
    - `noise`, `twin_noise`: standard deviations of the rest.
    - `question_spread`: standard deviation of the questions' means, around the middle of `scale`
      or 0.
    - `bias`, `bias_spread`: mean and standard deviation over questions of how much higher the
      twins answer.
    - `scale`: answers are clipped to it and rounded to its grid; none if `None`.
    - `name`: of the panel.

    **Returns:** the panel, the survey of every question, and the truth.

    **Raises:** `ValueError` naming the setting that is out of range.
    """
    if n < 2 or rank < 1:
        raise ValueError(f"`n` must be at least 2 and `rank` at least 1, got {n} and {rank}")
    if surveys < 2 or m < 2 * surveys:
        raise ValueError(
            f"`surveys` must be at least 2, with two of the {m} questions each, got {surveys}"
        )
    _check_shares(missing=missing, unlike=unlike, fidelity=fidelity, own=own)
    if missing == 1:
        raise ValueError("`missing` must be below 1")
    sizes = {
        "signal": signal,
        "twin_signal": twin_signal,
        "noise": noise,
        "twin_noise": twin_noise,
        "question_spread": question_spread,
        "bias_spread": bias_spread,
    }
    for setting, value in sizes.items():
        if not 0 <= value < np.inf:
            raise ValueError(f"`{setting}` must not be negative or infinite, got {value}")

    if not np.isfinite(bias):
        raise ValueError(f"`bias` must be finite, got {bias}")

    # All draws are made, in this order, whatever the settings.
    rng = np.random.default_rng(entropy(key))
    extra = rng.multinomial(m - 2 * surveys, rng.dirichlet(np.full(surveys, 2.0)))
    survey = np.repeat(np.arange(surveys), extra + 2)
    factors = rng.standard_normal((2, n, rank + surveys))
    common = rng.standard_normal((m, rank)) * 0.8 ** np.arange(rank)[None, :]
    sign = rng.uniform(0.5, 1.0, m)
    means, shift = rng.standard_normal((2, m))
    errors = rng.standard_normal((2, n, m))
    present, changed = rng.random((2, n, surveys))

    loadings = np.zeros((m, rank + surveys))
    loadings[:, :rank] = common / np.linalg.norm(common, axis=1, keepdims=True)
    # A question may depend on its survey's factor more or less, around the share `own`.
    share = np.clip(own * sign / 0.75, 0, 1)
    loadings[:, :rank] *= np.sqrt(1 - share)[:, None]
    loadings[np.arange(m), rank + survey] = np.sqrt(share)
    middle = 0.0 if scale is None else (scale.low + scale.high) / 2
    question_means = middle + question_spread * means
    twin_question_means = question_means + bias + bias_spread * shift
    twin_factors = fidelity * factors[0] + np.sqrt(1 - fidelity**2) * factors[1]
    human = question_means[None, :] + signal * factors[0] @ loadings.T
    twin = twin_question_means[None, :] + twin_signal * twin_factors @ loadings.T
    human_complete = human + noise * errors[0]
    twin_complete = twin + twin_noise * errors[1]
    if scale is not None:
        human_complete, twin_complete = scale.nearest(human_complete), scale.nearest(twin_complete)

    human_answered = _at_least(present >= missing, present)
    twin_answered = _at_least(human_answered ^ (changed < unlike), present)
    panel = Panel.from_arrays(
        np.where(human_answered[:, survey], human_complete, np.nan),
        np.where(twin_answered[:, survey], twin_complete, np.nan),
        name=name,
        scale=scale,
    )
    truth = BlockTruth(
        human=human,
        twin=twin,
        human_complete=human_complete,
        twin_complete=twin_complete,
        question_means=question_means,
        twin_question_means=twin_question_means,
        human_answered=human_answered,
        twin_answered=twin_answered,
    )
    return panel, tuple(f"survey {s + 1}" for s in survey), truth


def _check_shares(**shares: float) -> None:
    for setting, value in shares.items():
        if not 0 <= value <= 1:
            raise ValueError(f"`{setting}` must be in [0, 1], got {value}")


def _at_least(
    answered: Bool[np.ndarray, "n b"], order: Float[np.ndarray, "n b"]
) -> Bool[np.ndarray, "n b"]:
    """One survey for everyone and two people for each, those of largest `order` added."""
    answered = answered.copy()
    answered[np.arange(len(order)), np.argmax(order, axis=1)] = True
    most = np.argsort(-order, axis=0)[:2]
    answered[most, np.arange(order.shape[1])[None, :]] = True
    return answered
