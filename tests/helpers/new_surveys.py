"""Surveys with new questions, for the tests of choosing a penalty."""

from syndigits_jax.datasets import simulate_panel

NEW = 2
"""How many of a small panel's ten questions are new."""


def split(panel):
    """`human` without its last questions, and `twin`."""
    return panel.human[:, :-NEW], panel.twin


def new_survey(seed=0):
    """60 users, 24 known questions and 6 new ones; noisy enough for the penalty to matter."""
    panel, truth = simulate_panel(
        60, 30, 3, key=seed, noise=0.8, twin_noise=0.8, fidelity=0.6, mixing=0.3, bias=0.5
    )
    return panel.human[:, :24], panel.twin, truth.human_complete[:, 24:]
