"""Estimate the answers of new users from their twins, chosen by the known users."""

import itertools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ..panel import Panel
from ..results.keys import Key
from .components import Responses
from .grouping import random_folds
from .stack import OnFit, in_order
from .user_components import (
    USER_COMPONENTS,
    user_components,
    user_moments,
)
from .weights import FEWEST_QUESTIONS, FOLDS, USER_FIXED_WEIGHTS, learnt_weights


@dataclass(frozen=True)
class UserFolds:
    """Out-of-fold predictions of the known users, and moments for their weights.

    - `known`: (k,) positions; `fold`: (k,).
    - `values`: (c, k, m) standardised; `mean`, `sd`: (F, m) of the questions without each fold.
    - `gram`, `cross`, `size`: (F + 1, k, ...) as in [`FoldMoments`][].
    """

    known: Int[np.ndarray, " k"]
    fold: Int[np.ndarray, " k"]
    values: Float[np.ndarray, "c k m"]
    mean: Float[np.ndarray, "f m"]
    sd: Float[np.ndarray, "f m"]
    gram: Float[np.ndarray, "o k c c"]
    cross: Float[np.ndarray, "o k c"]
    size: Float[np.ndarray, "o k"]

    def weights(self, outer: int | None = None) -> tuple[Float[np.ndarray, " c"], bool]:
        """Pooled weights, without fold `outer` if one is given, and whether they were learnt."""
        place = len(self.gram) - 1 if outer is None else outer
        prior = jnp.asarray(USER_FIXED_WEIGHTS, self.gram.dtype)
        if int(np.sum(self.size[place] > 0)) < FEWEST_QUESTIONS:
            return np.asarray(prior), False
        arrays = self.gram[place], self.cross[place], self.size[place], self.fold
        weights, _ = learnt_weights(*map(jnp.asarray, arrays), prior)
        return np.asarray(weights), True

    def predictions(self, weights: Float[np.ndarray, " c"]) -> Float[np.ndarray, "k m"]:
        """Out-of-fold predictions of the known users in units of the answers."""
        z = np.einsum("c,ckm->km", weights, self.values)
        return self.mean[self.fold] + self.sd[self.fold] * z


def user_folds(
    responses: Responses,
    known: Int[np.ndarray, " k"],
    *,
    nested: bool = True,
    key: Key = 0,
    workers: int = 1,
    on_fit: OnFit | None = None,
) -> UserFolds:
    """Fit every fold, and every pair of folds, of the known users.

    **Arguments:**

    - `responses`: of all users; those not `known` take no part.
    - `known`: (k,) positions of the known users.
    - `nested`: whether pairs of folds are fitted too, so that weights without a fold exist.
    - `key`: decides the folds; `workers`: pairs computed at once; `on_fit`: progress.
    """
    fold = random_folds(len(known), FOLDS, key)
    folds, (n, m) = int(fold.max()) + 1, responses.human.shape
    pairs = [(f, f) for f in range(folds)]
    if nested:
        pairs += list(itertools.combinations(range(folds), 2))
    dtype, size = responses.human.dtype, len(USER_COMPONENTS)
    gram = np.zeros((folds + 1, len(known), size, size), dtype)
    cross, weight = np.zeros(gram.shape[:3], dtype), np.zeros(gram.shape[:2], dtype)
    values = np.zeros((size, len(known), m), dtype)
    mean, sd = np.zeros((folds, m), dtype), np.zeros((folds, m), dtype)

    def fit(pair: tuple[int, int]) -> None:
        f, g = pair
        members = np.flatnonzero((fold == f) | (fold == g))
        used = np.zeros(n, bool)
        used[known] = True
        used[known[members]] = False
        found, level, spread = user_components(responses, jnp.asarray(used))
        moments = jax.device_get(user_moments(found, responses, level, spread))
        if f == g:
            values[:, members] = np.asarray(found)[:, known[members]]
            mean[f], sd[f] = np.asarray(level), np.asarray(spread)
            place = np.full(len(members), folds)
        else:
            place = np.where(fold[members] == f, g, f)
        gram[place, members] = moments.gram[known[members]]
        cross[place, members] = moments.cross[known[members]]
        weight[place, members] = moments.size[known[members]]

    in_order(fit, pairs, workers, on_fit)
    return UserFolds(known, fold, values, mean, sd, gram, cross, weight)


def ranges_without(
    panel: Panel, users: Int[np.ndarray, " t"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Declared ranges; else the span of the twins' and of the other users' answers.

    **Arguments:** `panel`; `users`: (t,) positions of those whose human answers are not used.
    """
    human = panel.human.copy()
    human[users] = np.nan
    both = np.concatenate([human, panel.twin])
    missing = np.isnan(both)
    low = np.min(np.where(missing, np.inf, both), axis=0)
    high = np.max(np.where(missing, -np.inf, both), axis=0)
    return (
        np.where(np.isnan(panel.low), low, panel.low),
        np.where(np.isnan(panel.high), high, panel.high),
    )


def predict_users(
    responses: Responses, found: UserFolds, users: Int[np.ndarray, " t"]
) -> tuple[Float[np.ndarray, "t m"], Float[np.ndarray, " m"], Float[np.ndarray, " m"], np.ndarray]:
    """Predictions of new users in units of the answers, from all known users.

    **Returns:** (t, m) predictions, the humans' mean and standard deviation of every question, and
    the weights.
    """
    used = np.zeros(responses.human.shape[0], bool)
    used[found.known] = True
    values, mean, sd = map(np.asarray, user_components(responses, jnp.asarray(used)))
    weights, _ = found.weights()
    z = np.einsum("c,ctm->tm", weights, values[:, users])
    return mean + sd * z, mean, sd, weights
