"""Evidence of a report made of given predictions, without a hold-out."""

import numpy as np

from syndigits_jax import Panel
from syndigits_jax.workflows.evaluate.evidence import AUTO, RAW, Evidence, Inputs


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
