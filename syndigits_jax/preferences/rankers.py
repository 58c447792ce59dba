"""Rankers to compare the preference encoder with: popularity, mean ratings, matrix factors."""

import functools
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..solvers.boundary import Numbers, as_floats, host_floats
from ..solvers.checks import check_positive
from ..solvers.keys import PRNGKey
from ._row_adam import descend_rows, row_adamw, rows_at
from ._training_step import cut_batches
from .pairs import Pairs, Ratings, held_out_pair_table, pair_table, sample_pairs


def popularity_scores(train: Ratings) -> Float[np.ndarray, " m"]:
    """Number of ratings of every item: the same ranking for everyone.

    **Example:**

        >>> from syndigits_jax.datasets import rating_table
        >>> from syndigits_jax.preferences import popularity_scores
        >>> ratings = rating_table(["ann", "bob", "bob"], ["x", "x", "y"], [5, 3, 4])
        >>> print(popularity_scores(ratings))
        [2. 1.]
    """
    return np.bincount(train.item, minlength=len(train.items)).astype(float)


def mean_rating_scores(train: Ratings, prior: float = 5.0) -> Float[np.ndarray, " m"]:
    """Mean rating of every item, with `prior` ratings of the overall mean added to each.

    **Raises:** `ValueError` for a `prior` that is not positive, and without any rating.

    **Example:**

        >>> from syndigits_jax.datasets import rating_table
        >>> from syndigits_jax.preferences import mean_rating_scores
        >>> ratings = rating_table(["ann", "bob", "bob"], ["x", "x", "y"], [5, 3, 1])
        >>> print(mean_rating_scores(ratings, prior=1.0))
        [3.667 2.        ]
    """
    check_positive(prior=prior)
    _check_some(train)
    counts = popularity_scores(train)
    sums = np.bincount(train.item, train.rating, minlength=len(train.items))
    return (sums + prior * train.rating.mean()) / (counts + prior)


def _check_some(train: Ratings) -> None:
    if len(train.rating) == 0:
        raise ValueError("`train` has no rating")


def _positions(name: str, values: Numbers, count: int) -> Int[np.ndarray, " k"]:
    """Positions below `count`. **Raises:** `ValueError` naming the argument."""
    given = host_floats(name, values)
    if given.ndim != 1 or np.any((given != np.round(given)) | (given < 0) | (given >= count)):
        raise ValueError(
            f"`{name}` must hold positions from 0 to {count - 1}, (k,), got shape {given.shape}"
            + (f" and {given.min():g} to {given.max():g}" if given.size else "")
        )
    return given.astype(np.int64)


def remembered_scores(
    train: Ratings, user: Int[np.ndarray, " k"], item: Int[np.ndarray, " k"]
) -> Float[np.ndarray, " k"]:
    """A user's own rating where `train` has it, else their mean (with the overall mean as prior).

    This is the accuracy of memory alone: of a held-out item and an earlier one, the rating of the
    latter is known. Accuracy on such pairs therefore says little about items that the user has not
    rated before. Compare pairs of two held-out items, on which this ranker is at chance.

    **Arguments:** `train`: earlier ratings; `user`, `item`: (k,) positions of the pairs to score.

    **Raises:** `ValueError` for positions of no user or item, and without any earlier rating.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax.datasets import rating_table
        >>> from syndigits_jax.preferences import remembered_scores
        >>> ratings = rating_table(["ann", "bob", "bob"], ["x", "x", "y"], [5, 3, 1])
        >>> print(remembered_scores(ratings, np.asarray([1, 1]), np.asarray([0, 1])))
        [3. 1.]
    """
    n, m = len(train.users), len(train.items)
    _check_some(train)
    user, item = _positions("user", user, n), _positions("item", item, m)
    if user.shape != item.shape:
        raise ValueError(f"`item` must have the shape of `user`, {user.shape}, got {item.shape}")
    cell = train.user.astype(np.int64) * m + train.item
    order = np.argsort(cell)
    wanted = user.astype(np.int64) * m + item
    at = np.minimum(np.searchsorted(cell[order], wanted), max(len(cell) - 1, 0))
    overall = train.rating.mean()
    counts = np.bincount(train.user, minlength=n)
    mean = (np.bincount(train.user, train.rating, minlength=n) + overall) / (counts + 1)
    known = cell[order][at] == wanted
    return np.where(known, train.rating[order][at], mean[user])


def ranking_accuracy(better: Numbers, worse: Numbers) -> float:
    """Share of pairs whose preferred item scores higher, (q,) scores each; a tie counts one half.

    **Raises:** `ValueError` if there is no pair, for unequal lengths, or NaN.

    **Example:**

        >>> from syndigits_jax.preferences import ranking_accuracy
        >>> print(ranking_accuracy([0.9, 0.5, 0.2, 0.8], [0.1, 0.5, 0.7, 0.3]))
        0.625
    """
    better, worse = (np.asarray(a) for a in as_floats(better=better, worse=worse))
    if better.ndim != 1 or better.shape != worse.shape:
        raise ValueError(f"`worse` must have the shape of `better`, (q,), got {worse.shape}")
    for name, scores in (("better", better), ("worse", worse)):
        if np.isnan(scores).any():
            raise ValueError(f"`{name}` has NaN; leave out pairs without a score")
    if len(better) == 0:
        raise ValueError("`better`: there is no pair to evaluate")
    return float(np.mean((better > worse) + 0.5 * (better == worse)))


class Factorisation(eqx.Module):
    """Scores x_ui = ⟨p_u, q_i⟩ + b_i (Rendle et al., 2009).

    - `users`: (n, f) p. `items`: (m, f) q. `bias`: (m,) b.
    """

    users: Float[Array, "n f"]
    items: Float[Array, "m f"]
    bias: Float[Array, " m"]

    def scores(self, user: Int[np.ndarray, " k"], item: Int[np.ndarray, " k"]) -> np.ndarray:
        """Scores of k (user, item) pairs, given by their positions."""
        p, q, b = (np.asarray(a) for a in (self.users, self.items, self.bias))
        return np.sum(p[user] * q[item], axis=1) + b[item]

    def accuracy(self, pairs: Pairs) -> float:
        """Share of pairs that these scores order correctly; a tie counts one half."""
        return ranking_accuracy(
            self.scores(pairs.user, pairs.better), self.scores(pairs.user, pairs.worse)
        )


@dataclass(frozen=True)
class FactorisationSettings:
    """How [`fit_bpr`][] trains.

    - `factors`: length of the users' and items' vectors.
    - `gap`, `cap`, `batch_size`, `epochs`, `patience`: as in [`TrainingSettings`][].
    - `learning_rate`: of AdamW, constant.
    - `weight_decay`: of the rows in a batch.
    """

    factors: int = 16
    gap: float = 1.0
    cap: int | None = 100
    batch_size: int = 512
    epochs: int = 30
    patience: int = 5
    learning_rate: float = 0.01
    weight_decay: float = 0.1

    def __post_init__(self):
        for name in ("factors", "batch_size", "epochs", "patience", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive, got {getattr(self, name)}")
        if not self.weight_decay >= 0:
            raise ValueError(f"`weight_decay` must not be negative, got {self.weight_decay}")


def fit_bpr(
    train: Ratings,
    validation: Ratings | None = None,
    *,
    key: PRNGKey,
    settings: FactorisationSettings | None = None,
) -> Factorisation:
    """Matrix factors by Bayesian personalised ranking, on the pairs the encoder is trained on.

    Minimises -log sig(x_ua - x_ub) over pairs of ratings that differ by the gap, by lazy AdamW on
    the rows in a batch (Rendle et al., 2009).

    **Arguments:** `train`: ratings of n users; `validation`: later ratings of the same users, for
    early stopping; `key`: of starts, pairs and their order; `settings`: defaults if `None`.

    **Returns:** the factors of the epoch with the best held-out accuracy; without `validation`,
    those of the last epoch.

    **Raises:** `ValueError` if no user has a pair, or no held-out item has one.

    **Example:**

        >>> import jax
        >>> import numpy as np
        >>> from syndigits_jax.datasets import rating_table
        >>> from syndigits_jax.preferences import FactorisationSettings, fit_bpr
        >>> ratings = rating_table(["ann", "ann", "bob", "bob"], list("xyxy"), [5, 1, 4, 2])
        >>> settings = FactorisationSettings(factors=2, epochs=10)
        >>> factors = fit_bpr(ratings, key=jax.random.key(0), settings=settings)
        >>> user, item = np.asarray([0, 1]), np.asarray([0, 0])
        >>> print(factors.scores(user, item) > factors.scores(user, item + 1))
        [ True  True]
    """
    settings = FactorisationSettings() if settings is None else settings
    n, m = len(train.users), len(train.items)
    table = pair_table(train, settings.gap)
    if table.total == 0:
        raise ValueError(f"`train`: no user has two ratings {settings.gap} or more apart (`gap`)")
    start_key, epoch_key, validation_key = jax.random.split(key, 3)
    held_out = None
    if validation is not None:
        held_out_table = held_out_pair_table(train, validation, settings.gap)
        held_out = sample_pairs(validation_key, held_out_table, settings.cap)
        if len(held_out) == 0:
            raise ValueError("`validation`: no held-out item differs from an earlier one by `gap`")
    factors = 0.1 * jax.random.normal(start_key, (n + m, settings.factors))
    users, items = factors[:n], jnp.concatenate([factors[n:], jnp.zeros((m, 1))], axis=1)
    optimiser = row_adamw(settings.learning_rate, settings.weight_decay)
    state = _Factors(users, items, optimiser.init(users), optimiser.init(items))
    best, best_accuracy, stalled = None, -1.0, 0
    for epoch in range(settings.epochs):
        pair_key, order_key = jax.random.split(jax.random.fold_in(epoch_key, epoch))
        pairs = sample_pairs(pair_key, table, settings.cap)
        order = np.asarray(jax.random.permutation(order_key, len(pairs)))
        columns = (pairs.user[order], pairs.better[order], pairs.worse[order])
        chunks, _ = cut_batches(columns, n, settings.batch_size, len(pairs))
        state = _epoch(state, jax.tree.map(jnp.asarray, chunks[0]), settings=settings)
        found = Factorisation(state.users, state.items[:, :-1], state.items[:, -1])
        if held_out is None:
            best = found
            continue
        accuracy = found.accuracy(held_out)
        stalled = 0 if accuracy > best_accuracy else stalled + 1
        if stalled == 0:
            best, best_accuracy = found, accuracy
        if stalled >= settings.patience:
            break
    assert best is not None  # at least one epoch was run
    return best


class _Factors(eqx.Module):
    """Rows of users and of items (with their bias last), and the states of their optimisers."""

    users: Float[Array, "n f"]
    items: Float[Array, "m f1"]
    of_users: Any
    of_items: Any


def _factor_loss(
    p: Float[Array, "b f"], q: Float[Array, "b2 f1"], weight: Float[Array, " b"]
) -> Float[Array, ""]:
    """Mean loss of b pairs; `q` holds their better items, then their worse ones."""
    b = p.shape[0]
    margin = jnp.sum(p * (q[:b, :-1] - q[b:, :-1]), axis=1) + q[:b, -1] - q[b:, -1]
    return jnp.sum(weight * jax.nn.softplus(-margin)) / jnp.maximum(jnp.sum(weight), 1)


@functools.partial(jax.jit, static_argnames="settings")
def _epoch(
    state: _Factors,
    batches: tuple[Int[Array, "l b"], Int[Array, "l b"], Int[Array, "l b"]],
    *,
    settings: FactorisationSettings,
) -> _Factors:
    n, m = len(state.users), len(state.items)
    optimiser = row_adamw(settings.learning_rate, settings.weight_decay)

    def step(state: _Factors, batch) -> tuple[_Factors, None]:
        user, better, worse = batch
        weight = (user < n).astype(state.users.dtype)
        # Padding pairs have no user and no item.
        both = jnp.where(jnp.concatenate([user, user]) < n, jnp.concatenate([better, worse]), m)
        p, q = rows_at(state.users, user), rows_at(state.items, both)
        slope_p, slope_q = jax.grad(_factor_loss, argnums=(0, 1))(p, q, weight)
        users, of_users = descend_rows(optimiser, state.users, state.of_users, user, slope_p)
        items, of_items = descend_rows(optimiser, state.items, state.of_items, both, slope_q)
        return _Factors(users, items, of_users, of_items), None

    return jax.lax.scan(step, state, batches)[0]
