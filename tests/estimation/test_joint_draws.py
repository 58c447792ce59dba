"""Joint draws of people's answers: the arrays against closed forms, and what an estimate draws."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.kinds_of_twins import SCALE, twins_of_kind

from syndigits_jax.estimation import draw_people, estimate_questions, estimate_users
from syndigits_jax.estimation.answer_model import AnswerModel, rank_correlation
from syndigits_jax.estimation.answer_shapes import ShapeData, option_use, twin_shape
from syndigits_jax.estimation.joint_residuals import (
    Residuals,
    correlations,
    fit_residual_kernel,
    twin_loadings,
)
from syndigits_jax.estimation.options import Tilt, option_probabilities
from syndigits_jax.panel import Panel

NEW = [5, 6, 11]
WEIGHT = np.linspace(0.5, 2, 120)


def hidden(panel, at=NEW):
    """The panel as if nobody had answered the questions at these positions."""
    return panel.with_missing(
        human=np.broadcast_to(np.isin(np.arange(panel.m), at), (panel.n, panel.m))
    )


@functools.cache
def estimated():
    panel = hidden(twins_of_kind("informative", 0, missing=0.1))
    return panel, estimate_questions(panel, expect=False, sample_weight=WEIGHT)


def model_of(found, predicted):
    """The model of an estimate, about the predictions of another."""
    assert found.source is not None
    return found.source.model(predicted.prediction.T, predicted.sd)[0]


def coins(people, loading):
    """A model of even coins whose ranks have these loadings on one factor."""
    q, dtype = len(loading), jnp.result_type(float)
    zeros = jnp.zeros((q, people), dtype)
    return AnswerModel(
        options=jnp.tile(jnp.asarray([[0.0, 1.0]], dtype), (q, 1)),
        log_base=jnp.zeros((q, 2), dtype),
        tilt=Tilt(zeros, zeros[:, 0]),
        smooth=jnp.zeros(q, bool),
        low=zeros[:, 0],
        high=zeros[:, 0] + 1,
        step=zeros[:, 0] + 1,
        loading=jnp.asarray(loading, dtype)[:, None],
        block_loading=zeros[:, :1],
        block=jnp.zeros(q, jnp.int32),
        number=jnp.arange(q, dtype=jnp.uint32),
        block_number=jnp.zeros(1, jnp.uint32),
        answer=zeros,
        known=zeros > 0,
    )


def test_coins_go_together_as_their_ranks_do():
    """Sheppard (1899): the correlation of two medians' signs is 2/π arcsin ρ."""
    draws = np.asarray(draw_people(coins(500, [0.9, 0.8, 0.0]), 40, key=jax.random.key(0)))
    assert set(np.unique(draws)) == {0, 1}
    found = np.corrcoef(draws.reshape(-1, 3).T)
    np.testing.assert_allclose(found[0, 1], 2 / np.pi * np.arcsin(0.72), atol=0.02)
    np.testing.assert_allclose(found[:2, 2], 0, atol=0.02)
    # Of one person, over draws: everyone is drawn anew.
    by_person = [np.corrcoef(draws[:, i, :2].T)[0, 1] for i in range(500)]
    np.testing.assert_allclose(np.nanmean(by_person), found[0, 1], atol=0.03)


def test_the_correlation_of_an_answer_with_its_rank():
    half, weight = np.full((3, 2), 0.5), np.ones(3)
    found = rank_correlation(*map(jnp.asarray, (half, np.array([0.0, 1.0]), weight)))
    np.testing.assert_allclose(found, np.sqrt(2 / np.pi), rtol=1e-5)
    grid = np.linspace(-4, 4, 201)
    normal = np.exp(-(grid**2) / 2)
    normal = np.tile(normal / normal.sum(), (3, 1))
    found = rank_correlation(*map(jnp.asarray, (normal, grid, weight)))
    np.testing.assert_allclose(found, 1, atol=0.01)


def test_draws_have_the_predicted_means_and_the_estimated_spread():
    panel, found = estimated()
    draws = found.draws(400, key=1)
    assert draws.shape == (400, panel.n, len(NEW))
    assert set(np.unique(draws)) <= set(np.arange(1.0, 8.0))
    np.testing.assert_allclose(draws.mean(axis=0), found.prediction, atol=0.35)
    np.testing.assert_allclose((draws.mean(axis=0) - found.prediction).mean(axis=0), 0, atol=0.02)
    mean = np.average(draws.mean(axis=0), axis=0, weights=WEIGHT)
    spread = np.sqrt(np.average(((draws - mean) ** 2).mean(axis=0), axis=0, weights=WEIGHT))
    np.testing.assert_allclose(spread, found.sd, rtol=0.02)
    assert np.all(found.prediction.std(axis=0) < 0.9 * found.sd)
    # The shares are those of the same distributions.
    for i, name in enumerate(found.questions):
        shares = np.average(
            (draws[..., i, None] == found.options(name)).mean(axis=0), axis=0, weights=WEIGHT
        )
        np.testing.assert_allclose(shares, found.shares(name), atol=0.01)


def test_a_key_decides_and_nothing_else_does():
    """Neither the number of draws, nor other questions without answers, nor `expect`."""
    panel, found = estimated()
    draws = found.draws(8, key=3)
    np.testing.assert_array_equal(found.draws(3, key=jax.random.key(3)), draws[:3])
    assert np.mean(found.draws(8, key=4) == draws) < 0.5
    alone = estimate_questions(panel, [panel.questions[6]], expect=False, sample_weight=WEIGHT)
    np.testing.assert_array_equal(alone.draws(8, key=3)[:, :, 0], draws[:, :, 1])


def test_known_answers_are_not_drawn():
    panel = twins_of_kind("informative", 0, missing=0.1)
    name = panel.questions[5]
    some = panel.with_missing(
        human=(np.arange(panel.m) == 5)[None] & (np.arange(panel.n) >= 40)[:, None]
    )
    found = estimate_questions(some, [name], expect=False, sample_weight=WEIGHT)
    draws, answers = found.draws(6)[:, :, 0], some.human[:, 5]
    known = ~np.isnan(answers)
    assert 20 < known.sum() <= 40
    np.testing.assert_array_equal(
        draws[:, known], np.broadcast_to(answers[known], (6, known.sum()))
    )
    assert np.mean(draws[:, ~known].std(axis=0) > 0) > 0.8


def test_human_answers_to_targets_shape_no_draws():
    """Of two targets, replacing one's answers changes nothing in the model but these answers."""
    panel, rng = twins_of_kind("informative", 0, missing=0.1), np.random.default_rng(9)
    at = np.isin(np.arange(panel.m), NEW)[None] & panel.human_mask
    other = SCALE.nearest(rng.uniform(1, 7, panel.human.shape))
    _, before = estimated()
    models = []
    for changed in (panel, panel.replace(human=np.where(at, other, panel.human))):
        names = [panel.questions[j] for j in NEW]
        found = estimate_questions(changed, names, expect=False, sample_weight=WEIGHT)
        models.append(model_of(found, before))
    nothing = jnp.zeros_like(models[0].answer)
    bare = [dataclasses.replace(model, answer=nothing) for model in models]
    jax.tree.map(np.testing.assert_array_equal, *bare)
    unanswered = model_of(before, before)
    everyone = dataclasses.replace(unanswered, answer=nothing, known=models[0].known)
    jax.tree.map(np.testing.assert_array_equal, bare[0], everyone)
    # Those to a known question do.
    moved = np.where((np.arange(panel.m) == 7)[None] & panel.human_mask, other, panel.human)
    noisy = estimate_questions(
        hidden(panel.replace(human=moved)), expect=False, sample_weight=WEIGHT
    )
    changed = model_of(noisy, before)
    assert not np.array_equal(changed.loading, unanswered.loading)
    assert not np.array_equal(changed.log_base, unanswered.log_base)


def test_correlations_of_new_residuals_are_learnt_from_known_pairs():
    """Residuals share what twins share, and what a battery shares."""
    rng, n, k = np.random.default_rng(2), 1500, 60
    truth = rng.normal(size=(k, 2)) * [0.7, 0.4]
    block, fold = np.repeat(np.arange(12), 5), np.repeat(np.arange(6), 10)
    tastes, of_block = rng.normal(size=(n, 2)), rng.normal(size=(n, 12))
    twin = rng.normal(size=(n, 2)) @ truth.T + 0.5 * rng.normal(size=(n, k))
    residual = 0.5 * tastes @ truth.T + 0.5 * of_block[:, block] + 0.7 * rng.normal(size=(n, k))
    residual[rng.random(residual.shape) < 0.2] = np.nan
    mask, dtype = ~np.isnan(residual), jnp.result_type(float)
    values = Residuals(jnp.asarray(np.nan_to_num(residual), dtype), jnp.asarray(mask))
    correlation, count = correlations(values, jnp.ones(n, dtype))
    z = (twin - twin.mean(0)) / twin.std(0) / np.sqrt(n)
    gram = jnp.asarray(z.T @ z, dtype)
    loading = jnp.zeros((k, 30), dtype)
    for f in range(6):
        found = twin_loadings(gram, gram, jnp.asarray(fold != f))
        loading = jnp.where(jnp.asarray(fold == f)[:, None], found, loading)
    kernel = fit_residual_kernel(loading, jnp.asarray(fold), jnp.asarray(block), correlation, count)
    assert int(kernel.pairs) == 6 * 45
    a, b = map(np.asarray, kernel.loadings(loading))
    modelled = a @ a.T + (block[:, None] == block[None]) * (b @ b.T)
    shared = 0.25 * truth @ truth.T + 0.25 * (block[:, None] == block[None])
    scale = np.sqrt(np.diag(shared) + 0.49)
    pair = np.triu(fold[:, None] == fold[None], 1)
    expected = (shared / np.outer(scale, scale))[pair]
    error = modelled[pair] - expected
    assert np.sqrt(np.mean(error**2)) < 0.35 * np.sqrt(np.mean(expected**2))
    assert np.corrcoef(modelled[pair], expected)[0, 1] > 0.9
    # It is a correlation matrix's: what is shared is below 1.
    assert np.all(np.diag(a @ a.T + b @ b.T) < 1)


def test_how_people_use_options_is_learnt_from_known_questions():
    """People avoid the middle of seven options; no mean and spread would say so."""
    rng, n, k = np.random.default_rng(3), 300, 12
    base = np.array([1, 1, 1, 0.2, 1, 1, 1])
    mean = np.clip(4 + rng.normal(size=(k, n)), 1.5, 6.5)
    options = np.arange(1.0, 8.0)
    human = np.empty((n, k))
    sd = np.full(k, 1.7)
    for j in range(k):
        p = np.asarray(option_probabilities(mean[j], 1.7, options, base=base), float)
        u = rng.random((n, 1))
        human[:, j] = options[np.minimum((u > np.cumsum(p, axis=1)).sum(axis=1), 6)]
    data = ShapeData(np.full(k, 1.0), np.full(k, 7.0), np.ones(k), np.ones(k, bool))
    known = np.arange(k), human, mean, sd, np.ones(n)
    use = option_use(data, 7, *known)
    found = use.base()
    assert found[3] < 0.5 * found[[1, 2, 4, 5]].min()
    # A scale of other options learns nothing from these.
    np.testing.assert_array_equal(option_use(data, 5, *known).base(), np.ones(5))
    # Nor from questions that are left out.
    left_out = np.arange(k) < 6
    rest = [mean[6:], sd[6:]]
    alone = option_use(data, 7, np.arange(6, k), human[:, 6:], *rest, np.ones(n)).base()
    np.testing.assert_allclose(use.base(left_out), alone, rtol=1e-6)
    np.testing.assert_array_equal(use.base(np.ones(k, bool)), np.ones(7))


@pytest.mark.parametrize("kind", ["counts", "money"])
def test_counts_and_money_keep_the_twins_shape(kind):
    rng = np.random.default_rng(4)
    twin = rng.poisson(2.0, 800).astype(float) if kind == "counts" else rng.lognormal(3, 0.5, 800)
    mean, sd = (5.0, 4.0) if kind == "counts" else (60.0, 70.0)
    shape = twin_shape(twin, np.ones(800), mean, sd, 0.0, 1000.0)
    assert shape.smooth and np.all(np.diff(shape.options) >= 0)
    np.testing.assert_allclose(shape.options.mean(), mean, rtol=1e-3)
    np.testing.assert_allclose(shape.options.std(), sd, rtol=0.02)
    third = np.mean((shape.options - mean) ** 3) / sd**3
    assert third > 0.5  # skewed to the right, as the twins
    if kind == "counts":
        np.testing.assert_allclose(np.mean(shape.options == 0), np.mean(twin == 0), atol=0.02)


def open_answers(n=150, k=24, seed=5):
    """Skewed whole numbers without a declared range, and twins who say half as much."""
    rng = np.random.default_rng(seed)
    taste, loading = rng.normal(size=(n, 2)), rng.normal(size=(2, k)) * 0.4
    level = np.exp(rng.normal(2, 0.3, k))
    human = np.round(level * np.exp(taste @ loading + 0.5 * rng.normal(size=(n, k))))
    twin = np.round(0.5 * level * np.exp(taste @ loading + 0.3 * rng.normal(size=(n, k))))
    return Panel.from_arrays(human, twin)


def test_open_answers_are_drawn_as_whole_numbers_of_the_right_level():
    panel = open_answers()
    found = estimate_questions(hidden(panel, [3]), expect=False)
    draws, truth = found.draws(50)[:, :, 0], panel.human[:, 3]
    assert np.all(draws >= found.low) and np.all(draws <= found.high)
    np.testing.assert_array_equal(draws, np.round(draws))
    assert len(np.unique(draws)) > 15
    np.testing.assert_allclose(draws.mean(), found.mean[0], rtol=0.05)
    np.testing.assert_allclose(draws.std(), found.sd[0], rtol=0.15)
    quantiles = np.linspace(0.1, 0.9, 9)
    drawn, real = (np.quantile(values, quantiles) for values in (draws, truth))
    twins = np.quantile(panel.twin[:, 3], quantiles)
    assert np.abs(drawn - real).mean() < 0.6 * np.abs(twins - real).mean()


def test_draws_work_in_either_precision_and_under_vmap(dtype):
    model = jax.tree.map(
        lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf,
        coins(20, [0.5, 0.5]),
    )
    keys = jax.random.split(jax.random.key(0), 3)
    many = jax.vmap(lambda key: draw_people(model, 4, key=key))(keys)
    assert many.shape == (3, 4, 20, 2) and many.dtype == dtype
    np.testing.assert_array_equal(many[1], draw_people(model, 4, key=keys[1]))


def test_what_cannot_be_drawn_is_refused():
    _, found = estimated()
    with pytest.raises(ValueError, match="`num_draws`"):
        found.draws(0)
    panel = twins_of_kind("informative", 0)
    users = estimate_users(panel, panel.users[:2], expect=False)
    with pytest.raises(ValueError, match="new users"):
        users.draws(2)
    few = hidden(panel.take(questions=slice(0, 6)), [4, 5])
    with pytest.raises(ValueError, match="4 other questions"):
        estimate_questions(few, expect=False).draws(2)
    nothing = np.full(panel.m, np.nan)
    alike = panel.replace(
        twin=np.where(np.arange(panel.m) == 5, 3.0, panel.twin), low=nothing, high=nothing
    )
    # No question without a declared range holds the twins' answer.
    alike = alike.replace(twin=np.where(np.arange(panel.m) == 5, 50.0, alike.twin))
    with pytest.raises(ValueError, match=f"range of '{panel.questions[5]}'"):
        estimate_questions(hidden(alike, [5]), expect=False).draws(2)
