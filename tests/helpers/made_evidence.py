"""Evidence of a report made of given predictions, without a hold-out."""

import numpy as np

from syndigits_jax import Panel
from syndigits_jax.workflows.evaluate.evidence import (
    AUTO,
    CONTROLS,
    LEARNED,
    RAW,
    Evidence,
    Inputs,
)

T, N = 14, 60


def made_evidence(truth, raw, calibrated, *, weight=None, key=0, level=0.95, block=None, **inputs):
    """Evidence on (q, n) answers between 0 and 10; `inputs` are fields of `Inputs`."""
    q, n = truth.shape
    ranges = np.zeros(q), np.full(q, 10.0)
    panel = Panel.from_arrays(truth.T, raw.T, scale=(0, 10))
    return Evidence(
        inputs=Inputs(panel, weight=weight, **inputs),
        questions=panel.questions,
        at=np.arange(q),
        truth=truth,
        twin=raw,
        low=ranges[0],
        high=ranges[1],
        block=block,
        predictions={RAW: raw, AUTO: calibrated},
        survey={},
        weight=np.ones(n) if weight is None else weight,
        level=level,
        key=key,
    )


def clipped(answers):
    """Answers within the range."""
    return np.clip(answers, 0.0, 10.0)


def survey_evidence(truth, predictions, twin, **fields) -> Evidence:
    """Evidence of (t, n) answers from 1 to 5 with predictions of these, controls among them."""
    t, n = truth.shape
    panel = Panel.from_arrays(truth.T, np.where(np.isnan(twin), 3, twin).T, scale=(1, 5))
    fields = {"inputs": Inputs(panel), "block": None} | fields
    return Evidence(
        questions=panel.questions, at=np.arange(t), truth=truth, twin=twin, low=np.ones(t),
        high=np.full(t, 5.0), predictions=predictions, survey={}, weight=np.ones(n), **fields,
    )  # fmt: skip


def good_twins(seed=0, t=T, n=N) -> Evidence:
    """Calibrated twins know more than raw ones, which are too alike and too high."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=n)
    signal = 0.5 * common + rng.normal(size=(t, n))
    truth = np.clip(np.round(3 + signal), 1, 5)
    auto = np.clip(3 + 0.6 * signal + 0.3 * rng.normal(size=(t, n)), 1, 5)
    raw = np.clip(np.round(3.8 + 0.15 * signal + 0.3 * rng.normal(size=(t, n))), 1, 5)
    control = np.clip(3 + 0.3 * common + 0.3 * rng.normal(size=(t, n)), 1, 5)
    predictions = {AUTO: auto, RAW: raw, LEARNED: control}
    predictions |= dict.fromkeys(CONTROLS.values(), control)
    return survey_evidence(truth, predictions, raw)
