"""Encoder training: a step against AdamW, resumption, truth recovered, bad input."""

import dataclasses
import functools
import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from syndigits_jax.datasets.preference_simulator import simulate_preferences
from syndigits_jax.datasets.ratings import rating_table
from syndigits_jax.preferences._training_step import (
    Batch,
    batch_loss,
    make_batches,
    one_cycle,
    run_steps,
    start_state,
    train_step,
)
from syndigits_jax.preferences.encoder import gram_scores, init_encoder, init_mixture, score_gram
from syndigits_jax.preferences.pairs import Pairs, held_out_pair_table, sample_pairs
from syndigits_jax.preferences.training import (
    TrainingSettings,
    _shuffled,
    pairwise_accuracy,
    train_encoder,
)

KEY = jax.random.key(11)
SMALL = TrainingSettings(
    epochs=3, batch_size=64, cap=20, projector_rate=1e-2, mixture_rate=5e-2, chunk_steps=4
)


@functools.cache
def ratings():
    table, truth = simulate_preferences(60, 30, key=0, ratings=15)
    return table.split(), truth


def small_encoder(dropout=0.1, hidden=(8,)):
    return init_encoder(KEY, width=12, hidden=hidden, dim=6, dropout=dropout)


def fit(settings=SMALL, **options):
    (train, validation, _), truth = ratings()
    options = {"init": small_encoder(), "key": KEY, **options}
    return train_encoder(truth.vectors, train, validation, settings=settings, **options)


def same(one, two):
    a, b = (jax.tree.leaves(eqx.filter(t, eqx.is_array)) for t in (one, two))
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


def shares(steps, warmup, peak=1.0):
    """The learning rates of a cycle over the peak, at its steps and at its end."""
    with jax.numpy_dtype_promotion("standard"):  # as optax counts its steps
        rates = jax.vmap(one_cycle(peak, steps, warmup))(jnp.arange(steps + 1))
    return np.asarray(rates) / peak


def test_one_cycle():
    rates = shares(100, 0.1, peak=2.0)
    assert rates[0] == pytest.approx(1 / 25) and rates[10] == pytest.approx(1)
    assert rates.argmax() == 10 and rates[-1] == pytest.approx(4e-6, rel=0.05)
    # Half a cosine, by its values half-way.
    assert rates[5] == pytest.approx((1 + 1 / 25) / 2, abs=1e-3)
    assert rates[55] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(("steps", "warmup"), [(5, 0.1), (1, 0.9), (40, 0.0)])
def test_one_cycle_without_a_step_to_warm_up(steps, warmup):
    rates = shares(steps, warmup).tolist()
    assert rates[0] == pytest.approx(1) and rates[-1] == pytest.approx(4e-6, rel=0.05)
    assert rates == sorted(rates, reverse=True)


def test_loss_is_that_of_the_scores():
    truth = ratings()[1]
    encoder, x = small_encoder(), jnp.asarray(truth.vectors)
    w = init_mixture(KEY, 5, 4)
    better, worse = jnp.array([1, 2, 3, 4, 5]), jnp.array([7, 1, 9, 8, 3])
    context = jnp.mean(x, axis=0)
    weight = jnp.array([1.0, 1, 1, 1, 0], jnp.float32)
    batch = Batch(jnp.arange(5), jnp.arange(10), better, worse)
    run = jax.jit(batch_loss, static_argnums=7)
    loss, margin = run(encoder, w, x, context, batch, weight, None, None)
    scores = gram_scores(score_gram(encoder, x), w)
    want = scores[jnp.arange(5), better] - scores[jnp.arange(5), worse]
    np.testing.assert_allclose(margin, want, atol=1e-4)
    assert float(loss) == pytest.approx(float(np.mean(np.log1p(np.exp(-want[:4])))), rel=1e-4)
    rough, _ = run(encoder, w, x, context, batch, weight, None, "bfloat16")
    assert rough.dtype == jnp.float32 and float(rough) == pytest.approx(float(loss), rel=0.1)


class Adamw:
    """AdamW of one array (Loshchilov and Hutter, 2019), in NumPy."""

    def __init__(self, value, rate, decay):
        self.value, self.rate, self.decay = np.asarray(value, float), rate, decay
        self.mean = self.square = np.zeros_like(self.value)
        self.count = 0

    def step(self, gradient, share):
        self.count += 1
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.999 * self.square + 0.001 * gradient**2
        mean, square = self.mean / (1 - 0.9**self.count), self.square / (1 - 0.999**self.count)
        move = mean / (np.sqrt(square) + 1e-8) + self.decay * self.value
        self.value = self.value - self.rate * share * move


def test_steps_are_those_of_clipped_adamw():
    """A rate per group, the schedule, one length of the gradient; all users in all batches."""
    truth = ratings()[1]
    x, context = jnp.asarray(truth.vectors), jnp.mean(jnp.asarray(truth.vectors), axis=0)
    encoder, w = small_encoder(dropout=0.0), init_mixture(KEY, 3, 4)
    settings = dataclasses.replace(SMALL, clip=0.5, weight_decay=0.1)
    rng = np.random.default_rng(0)
    user, every = jnp.array([2, 0, 1, 0]), jnp.arange(30)
    batches = [
        Batch(user, every, *(jnp.asarray(rng.integers(0, 30, 4)) for _ in range(2)))
        for _ in range(6)
    ]

    def loss(parameters, batch):
        encoder, w = parameters
        return batch_loss(
            encoder, w[user], x, context, batch, jnp.ones(4, jnp.float32), None, None
        )[0]

    slope = jax.jit(jax.grad(loss))
    share = shares(40, settings.warmup)
    leaves, shape = jax.tree.flatten((encoder, w))
    judges = [Adamw(leaf, settings.projector_rate, 0.1) for leaf in leaves]
    judges[-2].rate, judges[-2].decay = settings.scale_rate, 0.0
    judges[-1].rate = settings.mixture_rate
    assert judges[-2].value.shape == () and judges[-1].value.shape == w.shape
    state: Any = start_state(encoder, w, settings)
    step = jax.jit(lambda s, b: train_step(s, b, x, context, KEY, 40, settings)[0])
    clipped = 0
    for t, batch in enumerate(batches):
        at = jax.tree.unflatten(shape, [jnp.asarray(j.value, jnp.float32) for j in judges])
        gradient = [np.asarray(g, float) for g in jax.tree.leaves(slope(at, batch))]
        length = np.sqrt(sum(np.sum(g * g) for g in gradient))
        clipped += length > settings.clip
        for judge, g in zip(judges, gradient, strict=True):
            judge.step(g * min(1, settings.clip / length), share[t])
        state = step(state, batch)
    assert clipped > 0
    got = jax.tree.leaves((state.encoder, state.w))
    for a, judge in zip(got, judges, strict=True):
        np.testing.assert_allclose(a, judge.value, atol=5e-5)


def test_batches_hold_every_pair_and_each_item_once():
    rng = np.random.default_rng(0)
    columns = (rng.integers(0, 7, 20), rng.integers(0, 30, 20), rng.integers(0, 30, 20))
    chunks, count = make_batches(columns, 7, 8, 2)
    assert count == 3 and [c.user.shape for c in chunks] == [(2, 8)] * 2
    assert chunks[1].user[0].tolist() == [*columns[0][16:], 7, 7, 7, 7]
    items = np.concatenate([np.asarray(c.items) for c in chunks])
    assert items.shape[1] <= 16
    for side, column in (("better", columns[1]), ("worse", columns[2])):
        at = np.concatenate([np.asarray(getattr(c, side)) for c in chunks])
        assert np.take_along_axis(items, at, axis=1).ravel()[:20].tolist() == column.tolist()
    for i in range(3):
        part = slice(8 * i, 8 * i + 8)
        different = np.union1d(columns[1][part], columns[2][part])
        assert items[i, : len(different)].tolist() == different.tolist() or i == 2


def test_filled_up_batches_and_chunks_do_not_matter():
    """Three batches in chunks of two: as one by one, the padding without effect."""
    truth = ratings()[1]
    x = jnp.asarray(truth.vectors)
    context = jnp.mean(x, axis=0)
    rng = np.random.default_rng(0)
    columns = (rng.integers(0, 7, 20), rng.integers(0, 30, 20), rng.integers(0, 30, 20))
    chunks, _ = make_batches(columns, 7, 8, 2)
    encoder, w = small_encoder(dropout=0.0), init_mixture(KEY, 7, 4)
    run = functools.partial(run_steps, x=x, context=context, key=KEY, steps=9, settings=SMALL)
    state = start_state(*jax.tree.map(jnp.copy, (encoder, w)), SMALL)
    for chunk, steps in zip(chunks, (2, 1)):
        state, loss, _ = run(state, jax.tree.map(jnp.asarray, chunk), jnp.int32(steps))
    single = start_state(*jax.tree.map(jnp.copy, (encoder, w)), SMALL)
    step = jax.jit(lambda state, batch: train_step(state, batch, x, context, KEY, 9, SMALL))
    for first in (0, 8, 16):
        user, better, worse = (jnp.asarray(c[first : first + 8]) for c in columns)
        batch = Batch(user, jnp.arange(30), better, worse)
        single, last, _ = step(single, batch)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(single)):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert float(loss) == pytest.approx(float(last), rel=1e-4)


@pytest.mark.parametrize("together", [1, 5])
def test_shuffled_pairs_stay_together(together):
    order = _shuffled(KEY, 23, together)
    assert sorted(order.tolist()) == list(range(23))
    kept = np.mean(np.diff(order) == 1)
    assert kept > 0.7 if together > 1 else kept < 0.2


def test_truth_is_recovered():
    """Accuracy near the Bayes rate; mixtures up to the order of the prototypes."""
    table, truth = simulate_preferences(300, 100, key=0, ratings=40, spread=4.0, scale=20.0)
    train, validation, test = table.split()
    settings = TrainingSettings(
        epochs=20, batch_size=512, projector_rate=2e-2, mixture_rate=1e-1, chunk_steps=100
    )
    start = init_encoder(jax.random.key(2), width=12, hidden=(), dim=6, dropout=0.0)
    fitted = train_encoder(truth.vectors, train, validation, key=KEY, settings=settings, init=start)
    pairs = sample_pairs(KEY, held_out_pair_table(train, test), None)
    accuracy = pairwise_accuracy(fitted.gram(jnp.asarray(truth.vectors)), fitted.w, pairs)
    bayes = pairwise_accuracy(truth.gram, jnp.asarray(truth.w), pairs)
    assert 0.93 < bayes < 0.99 and bayes - 0.04 < accuracy < bayes + 0.005
    got, want = softmax(np.asarray(fitted.w), axis=1), softmax(truth.w, axis=1)
    agreement = max(
        np.mean(got[:, order].argmax(axis=1) == want.argmax(axis=1))
        for order in itertools.permutations(range(4))
    )
    assert agreement > 0.75  # .25 by chance, about .33 for the best order of a random one
    assert fitted.validation[fitted.best_epoch] == fitted.validation.max()


def test_simulated_ratings_follow_the_model():
    table, truth = simulate_preferences(200, 40, key=3, ratings=40, levels=None)
    utilities = table.matrix()
    margin = truth.scores[:, :20] - truth.scores[:, 20:]
    won = utilities[:, :20] > utilities[:, 20:]
    probability = 1 / (1 + np.exp(-margin))
    for low in np.arange(0, 1, 0.2):
        inside = (probability >= low) & (probability < low + 0.2)
        error = won[inside].mean() - probability[inside].mean()
        assert abs(error) < 4 * 0.5 / np.sqrt(inside.sum() / 2)
    with pytest.raises(ValueError, match="ratings"):
        simulate_preferences(5, 10, key=0, ratings=11)


def test_resumes_bit_for_bit(tmp_path):
    whole = fit(checkpoint=tmp_path / "whole.npz")
    part = tmp_path / "part.npz"

    def interrupt(progress):
        if progress.epoch == 1 and np.isnan(progress.validation):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(checkpoint=part, on_progress=interrupt)
    epochs = []
    resumed = fit(checkpoint=part, on_progress=lambda p: epochs.append(p.epoch))
    assert set(epochs) == {1, 2}
    assert same(whole, resumed) and whole.best_epoch == resumed.best_epoch
    again = fit(checkpoint=part, on_progress=lambda p: pytest.fail("nothing is left to do"))
    assert same(whole, again)
    with pytest.raises(ValueError, match="another run"):
        fit(checkpoint=part, key=jax.random.key(12))
    assert same(whole, fit())


def test_progress_and_early_stopping():
    reports = []
    settings = dataclasses.replace(SMALL, projector_rate=0.0, mixture_rate=0.0, patience=2)
    settings = dataclasses.replace(settings, epochs=9, scale_rate=0.0)
    fitted = fit(settings, on_progress=reports.append)
    assert fitted.best_epoch == 0 and len(fitted.validation) == 3
    assert all(r.pairs_per_second > 0 and r.steps == reports[0].steps for r in reports)
    assert [r.step for r in reports] == sorted(r.step for r in reports)
    assert [r.validation for r in reports if r.validation == r.validation] == [*fitted.validation]


def test_without_validation_the_last_epoch_counts():
    (train, _, _), truth = ratings()
    fitted = train_encoder(truth.vectors, train, key=KEY, settings=SMALL, init=small_encoder())
    assert fitted.best_epoch == 2 and np.isnan(fitted.validation).all()
    assert fitted.loss[2] < fitted.loss[0] and fitted.accuracy[2] > fitted.accuracy[0]


def test_users_without_pairs_stay_at_their_start():
    (train, _, _), truth = ratings()
    flat = np.where(train.user < 20, 3.0, train.rating)
    w = init_mixture(KEY, 60, 4)
    fitted = train_encoder(
        truth.vectors,
        dataclasses.replace(train, rating=flat),
        key=KEY,
        settings=SMALL,
        init=small_encoder(),
        init_w=w,
    )
    assert fitted.trained.tolist() == [False] * 20 + [True] * 40
    assert np.array_equal(fitted.w[:20], w[:20])
    assert not np.any(np.asarray(fitted.w[20:] == w[20:]))
    assert fitted.embedding().shape == (60, 6)


def test_accuracy_counts_ties_one_half():
    truth = ratings()[1]
    gram, w = truth.gram, jnp.asarray(truth.w)
    user, item, other = (np.array(v, np.int32) for v in ([0, 1, 2], [3, 4, 5], [3, 6, 7]))
    scores = truth.scores[user, item] - truth.scores[user, other]
    want = float(np.mean((np.sign(scores) + 1) / 2))
    assert scores[0] == 0
    assert pairwise_accuracy(gram, w, Pairs(user, item, other)) == pytest.approx(want)
    with pytest.raises(ValueError, match="no pair to evaluate"):
        pairwise_accuracy(gram, w, Pairs(user[:0], item[:0], other[:0]))


def test_bad_training_input():
    (train, validation, _), truth = ratings()
    x = truth.vectors
    go = functools.partial(train_encoder, key=KEY, settings=SMALL)
    with pytest.raises(ValueError, match="one per item"):
        go(x[:-1], train)
    with pytest.raises(ValueError, match="finite"):
        go(x * np.nan, train)
    with pytest.raises(ValueError, match="width 12"):
        go(x, train, init=init_encoder(KEY, width=5, hidden=()))
    with pytest.raises(ValueError, match="`init_w`"):
        go(x, train, init_w=jnp.zeros((3, 4)))
    with pytest.raises(ValueError, match="`context` must be 12 finite numbers"):
        go(x, train, context=x[0] * np.nan)
    with pytest.raises(ValueError, match="no user has two ratings"):
        go(x, dataclasses.replace(train, rating=train.rating * 0))
    with pytest.raises(ValueError, match="`validation`"):
        go(x, train, validation.where(validation.user < 0))
    one_item = rating_table(["a", "b"], ["x", "x"], [1, 5])
    with pytest.raises(ValueError, match="no user has two ratings"):
        go(x[:1], one_item)


def test_the_context_is_the_mean_of_items_unless_given():
    (train, _, _), truth = ratings()
    x, settings = truth.vectors, dataclasses.replace(SMALL, epochs=1)
    mean = train_encoder(x, train, key=KEY, settings=settings)
    np.testing.assert_allclose(mean.context, np.mean(x, axis=0), atol=1e-6)
    same = train_encoder(x, train, key=KEY, settings=settings, context=mean.context)
    np.testing.assert_array_equal(same.w, mean.w)
    other = train_encoder(x, train, key=KEY, settings=settings, context=x[3])
    np.testing.assert_array_equal(other.context, x[3])
    assert not np.array_equal(other.w, mean.w)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("gap", -1.0),
        ("cap", 0),
        ("epochs", 0),
        ("patience", 0),
        ("projector_rate", -1.0),
        ("clip", 0.0),
        ("warmup", 1.0),
        ("precision", "float8"),
    ],
)
def test_bad_training_settings(setting, value):
    with pytest.raises(ValueError, match=setting):
        TrainingSettings(**{setting: value})
