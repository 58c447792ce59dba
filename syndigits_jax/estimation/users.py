"""Estimate the answers of new users from their twins, chosen by the known users."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ..panel import Panel
from ..results.keys import Key
from .components import WeightedPanel
from .grouping import random_folds
from .levels import extremes
from .people import effective_weight
from .stack import OnFit, OuterMoments, fold_pairs, in_order
from .user_components import (
    USER_COMPONENTS,
    user_components,
    user_moments,
)
from .weights import FOLDS, USER_FIXED_WEIGHTS


@dataclass(frozen=True)
class UserFolds(OuterMoments):
    """Out-of-fold predictions of the known users, and moments for their weights.

    - `known`: (k,) positions.
    - `values`: (c, k, m) standardised; `mean`, `sd`: (F, m) of the questions without each fold.

    Weights that do not help are 0: a new user is then predicted to give the mean answers.
    """

    or_nothing = True

    known: Int[np.ndarray, " k"]
    values: Float[np.ndarray, "c k m"]
    mean: Float[np.ndarray, "f m"]
    sd: Float[np.ndarray, "f m"]

    def predictions(self, weights: Float[np.ndarray, " c"]) -> Float[np.ndarray, "k m"]:
        """Out-of-fold predictions of the known users in units of the answers."""
        z = np.einsum("c,ckm->km", weights, self.values)
        return self.mean[self.fold] + self.sd[self.fold] * z


def user_folds(
    responses: WeightedPanel,
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
    responses = _of_known(responses, known)
    fold = random_folds(len(known), FOLDS, key)
    folds, (n, m) = int(fold.max()) + 1, responses.human.shape
    dtype, size = responses.human.dtype, len(USER_COMPONENTS)
    outer = OuterMoments.empty(fold, size, dtype)
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
        outer.store(pair, members, jax.tree.map(lambda leaf: leaf[known[members]], moments))

    in_order(fit, fold_pairs(fold, nested), workers, on_fit)
    return UserFolds(outer.gram, outer.cross, outer.size, fold, known, values, mean, sd)


def _of_known(responses: WeightedPanel, known: Int[np.ndarray, " k"]) -> WeightedPanel:
    """The same responses; only the known users have a weight, in units of people."""
    weight = np.zeros(responses.human.shape[0])
    weight[known] = np.asarray(responses.weight, np.float64)[known]
    weight = jnp.asarray(effective_weight(weight), responses.weight.dtype)
    return WeightedPanel(responses.human, responses.twin, weight)


def ranges_without(
    panel: Panel, users: Int[np.ndarray, " t"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Declared ranges; else the span of the twins' and of the other users' answers.

    **Arguments:** `panel`; `users`: (t,) positions of those whose human answers are not used.
    """
    human = panel.human.copy()
    human[users] = np.nan
    low, high = extremes(np.concatenate([human, panel.twin]))
    return (
        np.where(np.isnan(panel.low), low, panel.low),
        np.where(np.isnan(panel.high), high, panel.high),
    )


def predict_users(
    responses: WeightedPanel, found: UserFolds, users: Int[np.ndarray, " t"]
) -> tuple[Float[np.ndarray, "t m"], Float[np.ndarray, " m"], Float[np.ndarray, " m"], np.ndarray]:
    """Predictions of new users in units of the answers, from all known users.

    **Returns:** (t, m) predictions, the humans' mean and standard deviation of every question, and
    the weights.
    """
    responses = _of_known(responses, found.known)
    used = np.zeros(responses.human.shape[0], bool)
    used[found.known] = True
    values, mean, sd = map(np.asarray, user_components(responses, jnp.asarray(used)))
    weights, _ = found.weights(USER_FIXED_WEIGHTS)
    z = np.einsum("c,ctm->tm", weights, values[:, users])
    return mean + sd * z, mean, sd, weights
