"""The sample panel for demonstrations: simulated, so that its truth is known."""

import numpy as np

from ..panel import Panel
from ..schema import Scale
from .simulator import Truth, simulate_panel

_SEED = 500


def sample_panel() -> Panel:
    """200 people and their twins on 40 questions with answers 1 to 5; simulated, always the same.

    The twins have the known faults of language models: they reflect their person only in part,
    answer too favourably and too much alike, and weigh the themes of the survey differently. They
    do reproduce which questions belong together, and that is what calibration uses. 15% of the
    human answers are missing; twins answer everything.

    **Example:**

        >>> from syndigits_jax.datasets import sample_panel
        >>> panel = sample_panel()
        >>> print(panel.n, panel.m, panel.scale)
        200 40 (1.0, 5.0)
    """
    return sample_panel_with_truth()[0]


def sample_panel_with_truth() -> tuple[Panel, Truth]:
    """As [`sample_panel`][], with the factors, the means and the complete answers.

    **Example:**

        >>> from syndigits_jax.datasets import sample_panel_with_truth
        >>> panel, truth = sample_panel_with_truth()
        >>> print(panel.human.shape == truth.human_complete.shape, truth.user_factors.shape[0])
        True 200
    """
    panel, truth = simulate_panel(
        key=_SEED,
        n=200,
        m=40,
        rank=4,
        alignment_angle=np.linspace(0.15, 0.7, 4),
        fidelity=0.65,
        mixing=0.1,
        common=1.0,
        signal=0.9,
        twin_signal=0.55,
        noise=0.9,
        twin_noise=0.3,
        question_spread=0.5,
        bias=0.5,
        bias_spread=0.5,
        missing=0.15,
        scale=Scale(1.0, 5.0, 1.0),
        name="sample",
    )
    users = [f"person_{i:03d}" for i in range(1, panel.n + 1)]
    questions = [f"item_{j:02d}" for j in range(1, panel.m + 1)]
    return panel.replace(users=users, questions=questions), truth
