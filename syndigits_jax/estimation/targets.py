"""What is estimated: targets by name, how they are called in results, and steps of answers."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from ..panel import Panel
from .components import WeightedPanel
from .units import answer_units

AUTO = "Auto"
"""The name of the estimator's prediction in a [`HoldOut`][syndigits_jax.evaluation.HoldOut]."""

NEW_USERS = "new users"
"""The setting of targets that are users."""


def chosen_targets(
    names: Sequence[str], new: Sequence[str], targets: Iterable[str] | None, kind: str
) -> tuple[str, ...]:
    """Checked targets, by default those without any human answer.

    **Arguments:**

    - `names`: all questions or users of the panel; `new`: those without human answers.
    - `targets`: those to estimate, or `None` for the new ones.
    - `kind`: what they are called in an error, `"question"` or `"user"`.

    **Raises:** `ValueError` if there is none, or one that the panel does not have.
    """
    if isinstance(targets, str):
        raise ValueError(f"`targets` must be a list of {kind}s, got the text {targets!r}")
    chosen = tuple(new) if targets is None else tuple(dict.fromkeys(targets))
    if not chosen and targets is not None:
        raise ValueError("`targets` is empty; leave it out to estimate what nobody has answered")
    if not chosen:
        raise ValueError(
            f"`targets`: every {kind} of the panel has human answers; name those to estimate"
        )
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise ValueError(f"`targets`: the panel has no {kind} {unknown[0]!r}")
    return chosen


def known_users(
    panel: Panel, responses: WeightedPanel, targets: Int[np.ndarray, " t"]
) -> Int[np.ndarray, " k"]:
    """Users with human answers and a positive weight who are no targets."""
    known = panel.human_mask.any(axis=1) & (np.asarray(responses.weight) > 0)
    known[targets] = False
    if known.sum() < 2:
        raise ValueError(
            f"`human`: {known.sum()} other users have human answers; at least two are needed"
        )
    return np.flatnonzero(known)


def steps(panel: Panel, at: Int[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    """Step of each question: declared, else 1 or .5 if all its twins' answers are multiples.

    Of plain answers, for a question that has another unit.
    """
    out, units = panel.step[at].copy(), answer_units(panel)
    twin = units.panel(panel).twin
    for i, j in enumerate(at):
        values = twin[~np.isnan(twin[:, j]), j]
        for step in (1.0, 0.5):
            if np.isnan(out[i]) and np.all(values == np.round(values / step) * step):
                out[i] = step * units.unit[j]
    return out


def declared_ranges(panel: Panel) -> Bool[np.ndarray, " m"]:
    """(m,) whether both ends of a question's range are declared."""
    return ~np.isnan(panel.low) & ~np.isnan(panel.high)
