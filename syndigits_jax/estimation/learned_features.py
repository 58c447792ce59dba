"""What the learned control knows of questions, and of pairs of a person and a question."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ..solvers.boundary import Numbers, as_float

MIXES = (0.0, 0.5, 1.0)
"""Candidate shares of the texts in the similarity of two questions; the rest is the blocks'."""

COMPONENTS_OF_TEXT = 10
"""Leading directions of the texts that a learner sees."""


def text_and_block_features(
    m: int, embeddings: Numbers | None, blocks: Sequence[str] | None
) -> Float[np.ndarray, "a m f"]:
    """Features of m questions for each mix of texts and blocks, of mean square length 1 or less.

    **Arguments:** `m`: number of questions; `embeddings`: (m, e), or `None`; `blocks`: (m,), or
    `None`.

    **Raises:** `ValueError` for embeddings of another number of questions, that are not finite, or
    all alike.
    """
    parts = []
    if blocks is not None:
        member = np.unique(np.asarray(blocks, dtype=str), return_inverse=True)[1]
        parts.append(np.eye(member.max() + 1)[member])
    if embeddings is not None:
        texts = np.asarray(as_float("embeddings", embeddings), np.float64)
        if texts.ndim != 2 or len(texts) != m or texts.shape[1] == 0:
            raise ValueError(
                f"`embeddings` must have a vector for each of the {m} questions, got {texts.shape}"
            )
        if not np.isfinite(texts).all():
            row = int(np.argmin(np.isfinite(texts).all(axis=1)))
            raise ValueError(f"`embeddings`: the vector of question {row} is not finite")
        centred = texts - texts.mean(axis=0)
        length = np.sqrt(np.mean(np.sum(centred**2, axis=1)))
        if not length > 1e-9 * np.abs(texts).max():
            raise ValueError("`embeddings` are all alike: they tell no question from another")
        # In their principal axes, leading ones first: distances between questions stay.
        left, size, _ = np.linalg.svd(centred / length, full_matrices=False)
        parts.append(left * size)
    if not parts:
        return np.zeros((1, m, 1))
    if len(parts) == 1:
        return parts[0][None]
    blocks_part, text_part = parts
    return np.stack(
        [
            np.concatenate([np.sqrt(mix) * text_part, np.sqrt(1 - mix) * blocks_part], axis=1)
            for mix in MIXES
        ]
    )


def people_features(n: int, covariates: Numbers) -> Float[np.ndarray, "n c"]:
    """Checked covariates of n people, NaN where missing.

    **Raises:** `ValueError` for another number of people, no covariate, and infinities.
    """
    people = np.asarray(as_float("covariates", covariates))
    if people.ndim != 2 or len(people) != n or people.shape[1] == 0:
        raise ValueError(
            f"`covariates` must have a row for each of the {n} people, got shape {people.shape}"
        )
    if np.isinf(people).any():
        raise ValueError("`covariates` has infinities; missing values are NaN")
    return people


def pair_features(
    prediction: Float[np.ndarray, "t n"],
    person: Float[np.ndarray, "t n"],
    near: Float[np.ndarray, "t n"],
    level: Float[np.ndarray, " t"],
    question: Float[np.ndarray, "t f"],
    covariates: Float[np.ndarray, "n c"] | None,
) -> Float[np.ndarray, "t n p"]:
    """What a learner sees of every question and person.

    **Arguments:** `prediction`, `person`, `near`: standardised predictions by the chosen candidate,
    the one of largest and the one of smallest penalty; `level`: predicted mean answers; `question`:
    features of the questions, of which the leading ones are seen; `covariates`: of the people.
    """
    t, n = prediction.shape
    shown = question[:, :COMPONENTS_OF_TEXT]
    columns = [prediction, person, near, np.broadcast_to(level[:, None], (t, n))]
    parts = [np.stack(columns, axis=-1), np.broadcast_to(shown[:, None], (t, n, shown.shape[1]))]
    if covariates is not None:
        parts.append(np.broadcast_to(covariates[None], (t, n, covariates.shape[1])))
    return np.concatenate(parts, axis=-1)
