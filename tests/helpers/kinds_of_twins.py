"""Simulated panels whose twins are good, bad or odd in a known way, for the tests of estimation."""

import numpy as np

from syndigits_jax.datasets import simulate_panel
from syndigits_jax.panel import Panel
from syndigits_jax.schema import Scale

USERS, QUESTIONS = 120, 24
SCALE = Scale(1, 7, 1)

KINDS = ("informative", "biased", "collapsed", "useless", "constant", "equal")
"""Twins that know something; also answer too high, by question; vary too little; are noise; all
give the same answer; are the people."""


def twins_of_kind(kind: str, seed: int = 0, *, missing: float = 0.0) -> Panel:
    """A panel of 120 people who answer 24 questions from 1 to 7, with twins of one of `KINDS`."""
    options = {"fidelity": 0.8, "twin_noise": 0.7, "bias": 0.0, "bias_spread": 0.2}
    if kind == "biased":
        options |= {"bias": 1.0, "bias_spread": 0.6}
    elif kind == "collapsed":
        options |= {"twin_signal": 0.5, "twin_noise": 0.4, "bias_spread": 0.4}
    panel, truth = simulate_panel(
        USERS,
        QUESTIONS,
        4,
        common=0.6,
        mixing=0.2,
        signal=1.2,
        noise=0.8,
        question_spread=0.6,
        missing=missing,
        twin_missing="same",
        scale=SCALE,
        name=kind,
        key=seed,
        **options,
    )
    rng = np.random.default_rng([seed, 1])
    twin = panel.twin
    if kind == "useless":
        twin = SCALE.nearest(rng.normal(4, 1.2, twin.shape))
    elif kind == "constant":
        twin = np.broadcast_to(rng.integers(2, 7, QUESTIONS), twin.shape).astype(float)
    elif kind == "equal":
        twin = truth.human_complete
    return panel.replace(twin=np.where(np.isnan(panel.twin), np.nan, twin))
