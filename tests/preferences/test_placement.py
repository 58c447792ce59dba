"""Placement: pair loss against a double loop, Adam against Algorithm 1, Newton at an optimum."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from raters import DIM, WIDTH, P, likert, linear_gram, mixtures, texts
from scipy.optimize import minimize
from scipy.special import softmax

from syndigits_jax.preferences._pair_loss import (
    pair_counts,
    pair_derivatives,
    pair_gradient,
    pair_loss,
)
from syndigits_jax.preferences._placement_solvers import best_start, newton_derivatives
from syndigits_jax.preferences.encoder import (
    gram_scores,
    init_encoder,
    mixture_weights,
    score_gram,
)
from syndigits_jax.preferences.placement import place_newton, place_ssr
from syndigits_jax.solvers import Solution, Status, raise_on_failure

X64 = bool(jax.config.read("jax_enable_x64"))
KEY = jax.random.key(5)
NAN = np.nan
ssr = jax.jit(place_ssr, static_argnames=("gap", "batch_size"))
newton = jax.jit(place_newton, static_argnames=("gap", "batch_size"))


def listed_pairs(r, gap=1.0):
    return [(a, b) for a in range(len(r)) for b in range(len(r)) if r[a] - r[b] >= gap]


def listed_loss(s, r, gap=1.0):
    return sum(np.log1p(np.exp(s[b] - s[a])) for a, b in listed_pairs(r, gap))


def raters(n=6, m=23, seed=0, dtype=jnp.float32):
    """Ratings with missing entries, more probes than are taken per pass, and scores."""
    rng = np.random.default_rng(seed)
    r = rng.integers(1, 6, (m, n)).astype(float)
    r[rng.random(r.shape) < 0.2] = NAN
    return jnp.asarray(3 * rng.normal(size=(m, n)), dtype), jnp.asarray(r, dtype)


@pytest.mark.parametrize("gap", [1.0, 2.0])
def test_pair_loss_lists_the_same_pairs(dtype, gap):
    s, r = raters(dtype=dtype)
    wins, pairs = pair_counts(r, gap)
    for i in range(r.shape[1]):
        found = listed_pairs(np.asarray(r[:, i]), gap)
        assert len(found) == int(pairs[i])
        assert np.bincount([a for a, _ in found], minlength=len(r)).tolist() == wins[:, i].tolist()
    want = [listed_loss(np.asarray(s[:, i], float), np.asarray(r[:, i]), gap) for i in range(6)]
    np.testing.assert_allclose(pair_loss(s, r, gap), want, rtol=2e-6)


def test_gradient_and_curvature_are_those_of_the_listed_loss(dtype):
    s, r = raters(dtype=dtype)

    def listed(s):
        difference = s[:, None] - s[None]
        valid = r[:, None] - r[None] >= 1
        return jnp.sum(jnp.where(valid, jax.nn.softplus(-difference), 0), axis=(0, 1))

    wins, _ = pair_counts(r, 1.0)
    want, pull = jax.vjp(listed, s)
    (gradient,) = pull(jnp.ones_like(want))
    tolerance = 1e-4 if dtype == jnp.float32 else 1e-11
    np.testing.assert_allclose(pair_gradient(s, r, wins, 1.0), gradient, atol=tolerance)
    np.testing.assert_allclose(
        jax.grad(lambda s: jnp.sum(pair_loss(s, r, 1.0)))(s), gradient, atol=tolerance
    )
    v = jnp.asarray(np.random.default_rng(1).normal(size=s.shape), dtype)
    _, bent = jax.jvp(jax.grad(lambda s: jnp.sum(listed(s))), (s,), (v,))
    loss, slope, (curved,) = pair_derivatives(s, r, wins, (v,), 1.0)
    np.testing.assert_allclose(loss, want, rtol=2e-6)
    np.testing.assert_allclose(slope, gradient, atol=tolerance)
    np.testing.assert_allclose(curved, bent, atol=tolerance)


def test_scores_far_apart_stay_finite():
    s = jnp.array([[100.0], [-70.0], [-100.0]])
    r = jnp.array([[1.0], [5.0], [3.0]])
    wins, _ = pair_counts(r, 1.0)
    assert float(jnp.sum(pair_loss(s, r, 1.0))) == pytest.approx(2 * 170, abs=31)
    np.testing.assert_allclose(pair_gradient(s, r, wins, 1.0), [[2], [-1], [-1]], atol=1e-5)


def test_rescaled_ratings_keep_their_pairs():
    _, r = raters()
    for unit in (0.37, 1 / 3, 1e-3):
        wins, _ = pair_counts(r * jnp.float32(unit), unit)
        assert jnp.array_equal(wins, pair_counts(r, 1.0)[0])


def test_adam_is_algorithm_1():
    """Against optax on the listed loss, in the same precision."""
    gram, start = linear_gram(12), mixtures(3, seed=9)
    r = likert(gram_scores(gram, mixtures(3)), 0).at[1, 3].set(NAN)
    placed = ssr(gram, r, init=start, steps=50)

    def loss(w):
        s = gram_scores(gram, w)
        gaps = r[:, :, None] - r[:, None]
        return jnp.sum(
            jnp.where(gaps >= 1, jax.nn.softplus(s[:, None, :] - s[:, :, None]), 0), axis=(1, 2)
        )

    adam = optax.adam(0.01)

    @jax.jit
    def step(w, state):
        update, state = adam.update(jax.grad(lambda w: jnp.sum(loss(w)))(w), state)
        return optax.apply_updates(w, update), state

    w, state = start, adam.init(start)
    with jax.numpy_dtype_promotion("standard"):  # as optax counts its steps
        for _ in range(50):
            w, state = step(w, state)
    np.testing.assert_allclose(placed.w, w, atol=2e-4)
    np.testing.assert_allclose(placed.loss, loss(w) / placed.pairs, rtol=1e-4)
    np.testing.assert_allclose(
        placed.embedding, mixture_weights(w) @ gram.prototypes, rtol=1e-3, atol=1e-5
    )
    assert placed.status.tolist() == [Status.FIXED_STEPS] * 3
    assert placed.pairs.tolist() == [len(listed_pairs(np.asarray(row))) for row in r]


def test_steps_bound_how_far_ssr_gets():
    """200 steps of 0.01: at most about 2 per logit, so two starts end apart; Newton's agree."""
    gram = linear_gram(40)
    r = likert(gram_scores(gram, mixtures(20)), 1)
    starts = [mixtures(20, seed) / 1.5 for seed in (11, 12)]
    placed = [ssr(gram, r, init=start) for start in starts]
    for start, p in zip(starts, placed):
        assert float(jnp.max(jnp.abs(p.w - start))) < 3
    best = newton(gram, r)
    apart = jnp.abs(mixture_weights(placed[0].w) - mixture_weights(placed[1].w))
    assert float(jnp.mean(jnp.max(apart, axis=1))) > 0.05
    assert jnp.all(best.loss <= jnp.minimum(placed[0].loss, placed[1].loss) + 1e-3)
    assert float(jnp.median(best.gradient_norm)) < float(jnp.median(placed[0].gradient_norm)) / 100


def objective(gram, r, ridge=1e-3, gap=1.0):
    def value(w):
        s = np.asarray(gram_scores(gram, jnp.asarray(w, gram.scale.dtype)[None]))[0]
        r_ = np.asarray(r)
        return listed_loss(s.astype(float), r_, gap) / len(listed_pairs(r_, gap)) + (
            ridge / 2 * np.sum(w**2)
        )

    return value


def test_newton_finds_scipys_optimum(dtype):
    gram = linear_gram(10, dtype=dtype)
    r = likert(gram_scores(gram, mixtures(3, dtype=dtype)), 2, levels=4)
    placed = newton(gram, r)
    assert placed.status.tolist() == [Status.CONVERGED] * 3
    assert float(jnp.max(placed.gradient_norm)) < 1e-5
    for i in range(3):
        value = objective(gram, r[i])
        judge = minimize(value, np.asarray(placed.w[i]) + 0.1, method="Nelder-Mead")
        assert value(np.asarray(placed.w[i])) <= judge.fun + 1e-5


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("place", [ssr, newton])
def test_what_is_reported_belongs_to_the_logits(place, temperature):
    """Loss, gradient norm and embedding short of an optimum, by their definitions in NumPy."""
    encoder = init_encoder(KEY, width=WIDTH, hidden=(), dim=DIM, temperature=temperature)
    gram = score_gram(encoder, texts(9))
    r = likert(gram_scores(gram, mixtures(3)), 2)
    ridge = 0.1 if place is newton else 0.0
    settings = {"ridge": ridge, "max_steps": 1} if place is newton else {"steps": 5}
    placed = place(gram, r, init=mixtures(3, 9), **settings)
    weights = softmax(np.asarray(placed.w, float) / temperature, axis=1)
    embedding = weights @ np.asarray(gram.prototypes, float)
    np.testing.assert_allclose(placed.embedding, embedding, rtol=1e-4, atol=1e-5)
    h = 2e-2
    for i in range(3):
        w, value = np.asarray(placed.w[i], float), objective(gram, r[i], ridge)
        gradient = [(value(w + e) - value(w - e)) / (2 * h) for e in h * np.eye(P)]
        assert float(placed.gradient_norm[i]) == pytest.approx(np.linalg.norm(gradient), rel=0.02)
        assert float(placed.loss[i]) == pytest.approx(objective(gram, r[i], 0.0)(w), rel=1e-4)


def test_newton_starts_from_the_best_of_the_listed_starts():
    gram = linear_gram(10)
    r = likert(gram_scores(gram, mixtures(12)), 2)
    starts = np.vstack([np.zeros(P), 3 * np.eye(P)])
    scores = np.asarray(gram_scores(gram, jnp.asarray(starts, r.dtype)), float)
    best = [np.argmin([listed_loss(s, row) for s in scores]) for row in np.asarray(r)]
    assert len(set(best)) > 2
    np.testing.assert_array_equal(best_start(gram, r.T, P, 1.0).T, starts[best])


def test_derivatives_against_finite_differences():
    dtype = jnp.float64 if X64 else jnp.float32
    gram, w = linear_gram(11, dtype=dtype), mixtures(3, dtype=dtype).T / 3
    r = likert(gram_scores(gram, mixtures(3, dtype=dtype)), 3).T
    wins, pairs = pair_counts(r, 1.0)
    derivatives = jax.jit(
        functools.partial(newton_derivatives, gram, r, wins, pairs, gap=1.0, ridge=1e-2)
    )
    value, gradient, hessian = derivatives(w=w)
    h, tolerance = (1e-5, 1e-7) if X64 else (2e-2, 2e-3)
    for k in range(P):
        up, down = (derivatives(w=w.at[k].add(sign * h)) for sign in (1, -1))
        np.testing.assert_allclose((up[0] - down[0]) / (2 * h), gradient[k], atol=tolerance)
        np.testing.assert_allclose((up[1] - down[1]) / (2 * h), hessian[:, k].T, atol=tolerance)
    for i in range(3):
        want = objective(gram, r[:, i], 1e-2)(np.asarray(w[:, i]))
        assert float(value[i]) == pytest.approx(want, rel=1e-5)


def test_planted_mixtures_come_back_better_with_more_probes():
    truth, gram = mixtures(150), linear_gram(160)
    scores = gram_scores(gram, truth)
    errors = []
    for m in (10, 40, 160):
        r = jnp.pad(likert(scores[:, :m], 4), ((0, 0), (0, 160 - m)), constant_values=NAN)
        placed = newton(gram, r)
        assert int(jnp.sum(placed.status)) == 0
        errors.append(float(jnp.mean(jnp.abs(mixture_weights(placed.w) - mixture_weights(truth)))))
    assert errors[0] > 1.4 * errors[1] > 1.4 * 1.4 * errors[2]
    assert errors[2] < 0.04


def test_ssr_recovers_planted_mixtures_better_with_more_probes():
    """From the middle, as its 200 steps go no farther than about 2."""
    truth, gram = mixtures(150) / 2, linear_gram(160)
    scores = gram_scores(gram, truth)
    errors = []
    for m in (10, 40, 160):
        r = jnp.pad(likert(scores[:, :m], 4), ((0, 0), (0, 160 - m)), constant_values=NAN)
        placed = ssr(gram, r, init=jnp.zeros((150, P), jnp.float32))
        errors.append(float(jnp.mean(jnp.abs(mixture_weights(placed.w) - mixture_weights(truth)))))
    assert errors[0] > 1.3 * errors[1] > 1.3 * 1.3 * errors[2]
    assert errors[2] < 0.04


@hypothesis.settings(max_examples=4)
@hypothesis.given(st.integers(0, 100))
def test_what_placement_ignores(seed):
    """Relabelled ratings with the same pairs, a rater's order, probes' order, missing probes."""
    rng = np.random.default_rng(seed)
    gram = linear_gram(15, seed)
    r = likert(gram_scores(gram, mixtures(8, seed)), seed)
    start = mixtures(8, seed + 1)
    want = ssr(gram, r, init=start, steps=60)
    # Monotone relabelling that keeps every gap of one or more, and no other.
    relabelled = jnp.asarray(np.array([0.0, -7, 1, 2.5, 40, 41])[np.asarray(r).astype(int)])
    np.testing.assert_allclose(
        ssr(gram, relabelled.astype(r.dtype), init=start, steps=60).w, want.w, atol=1e-6
    )
    probes, people = rng.permutation(15), rng.permutation(8)
    other = ssr(gram.take(probes), r[people][:, probes], init=start[people], steps=60)
    np.testing.assert_allclose(other.w, want.w[people], atol=2e-3)
    wider = jnp.concatenate([r, jnp.full((8, 15), NAN)], axis=1)
    twice = gram.take(np.concatenate([np.arange(15)] * 2))
    np.testing.assert_allclose(ssr(twice, wider, init=start, steps=60).w, want.w, atol=1e-5)
    # A common shift of the start's logits shifts the result.
    shifted = ssr(gram, r, init=start + 3, steps=60)
    np.testing.assert_allclose(shifted.w, want.w + 3, atol=2e-3)


@pytest.mark.parametrize("place", [ssr, newton])
def test_constant_raters_are_flagged(place):
    gram = linear_gram(9)
    r = np.full((4, 9), 3.0)
    r[1, 4] = NAN
    r[2] = NAN
    r[3] = np.arange(9)
    start = mixtures(4)
    placed = place(gram, jnp.asarray(r, jnp.float32), init=start)
    assert placed.constant.tolist() == [True, True, True, False]
    assert placed.pairs.tolist() == [0, 0, 0, 36]
    assert placed.loss[:3].tolist() == [0, 0, 0]
    assert jnp.all(jnp.isfinite(placed.w)) and jnp.all(jnp.isfinite(placed.gradient_norm))
    if place is ssr:
        assert jnp.array_equal(placed.w[:3], start[:3])
    else:
        np.testing.assert_allclose(placed.w[:3], 0, atol=1e-2)


@pytest.mark.parametrize("place", [ssr, newton])
def test_tiles_and_own_probes_do_not_matter(place):
    gram = linear_gram(14)
    r = likert(gram_scores(gram, mixtures(7)), 6)
    start = mixtures(7, 8)
    want = place(gram, r, init=start)
    tiled = place(gram, r, init=start, batch_size=3)
    own = place(gram.take(jnp.tile(jnp.arange(14)[None], (7, 1))), r, init=start, batch_size=4)
    for other in (tiled, own):
        np.testing.assert_allclose(mixture_weights(other.w), mixture_weights(want.w), atol=2e-3)
        np.testing.assert_allclose(other.loss, want.loss, atol=1e-4)


@pytest.mark.parametrize(
    ("place", "first", "other"),
    [
        (ssr, {"steps": 3, "learning_rate": 0.1}, {"steps": 4, "learning_rate": 0.2}),
        (
            newton,
            {"max_steps": 4, "tol": 1e-6, "ridge": 0.1},
            {"max_steps": 1, "tol": 10.0, "ridge": 1.0},
        ),
    ],
)
def test_settings_compile_nothing_anew(place, first, other):
    gram, start = linear_gram(7), mixtures(2)
    r = likert(gram_scores(gram, mixtures(2)), 6)
    want = place(gram, r, init=start, **first)
    compiled = place._cache_size()
    for name, value in other.items():
        found = place(gram, r, init=start, **{**first, name: value})
        assert not np.array_equal(found.w, want.w)
    assert place._cache_size() == compiled


def test_a_placement_is_a_solution():
    """Steps and status per rater; Newton's own cap is told from convergence."""
    gram, start = linear_gram(12), mixtures(5)
    r = likert(gram_scores(gram, start), 6)
    placed = newton(gram, r, init=mixtures(5, 3))
    assert raise_on_failure(placed) is placed and isinstance(placed, Solution)
    assert jnp.array_equal(placed.value, placed.w)
    assert jnp.array_equal(placed.optimality, placed.gradient_norm)
    assert 0 < int(placed.steps.min()) < int(placed.steps.max()) < 60
    settled = newton(gram, r, init=placed.w, tol=1e-3)
    assert settled.steps.tolist() == [0] * 5 and settled.status.tolist() == [0] * 5
    early = newton(gram, r, init=mixtures(5, 3), max_steps=2)
    assert early.steps.tolist() == [2] * 5
    with pytest.raises(RuntimeError, match="5 of 5 problems reached `max_steps`"):
        raise_on_failure(early, name="placement")
    assert ssr(gram, r, key=KEY, steps=3).steps.tolist() == [3] * 5


def test_starts_come_from_the_key():
    gram = linear_gram(6)
    r = likert(gram_scores(gram, mixtures(3)), 6)
    one, same, other = (ssr(gram, r, key=jax.random.key(k), steps=1).w for k in (0, 0, 1))
    assert jnp.array_equal(one, same) and not jnp.array_equal(one, other)


def test_nan_scores_are_reported():
    gram = jax.tree.map(lambda a: a * jnp.nan, linear_gram(6))
    r = likert(jnp.zeros((2, 6), jnp.float32), 6)
    assert newton(gram, r).status.tolist() == [Status.NONFINITE] * 2
    assert ssr(gram, r, key=KEY).status.tolist() == [Status.NONFINITE] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ratings": jnp.zeros((2, 5))}, "one column per probe"),
        ({"ratings": jnp.zeros((0, 6))}, "at least one rater"),
        ({"ratings": jnp.full((2, 6), jnp.inf)}, "infinite"),
        ({"init": jnp.zeros((2, 3))}, "init"),
        ({"gap": 0.0}, "gap"),
        ({"steps": 0}, "`steps` must be at least 1"),
        ({"learning_rate": 0.0}, "`learning_rate` must be positive"),
        ({"batch_size": 0}, "batch_size"),
        ({"key": None}, "key"),
        ({"gram": linear_gram(6).take(jnp.zeros((3, 6), jnp.int32))}, "3 raters"),
    ],
)
def test_bad_placement_input(change, message):
    arguments = {"gram": linear_gram(6), "ratings": jnp.zeros((2, 6)), "key": KEY, **change}
    with pytest.raises(ValueError, match=message):
        place_ssr(**arguments)
    if not {"steps", "learning_rate", "key"} & change.keys():
        with pytest.raises(ValueError, match=message):
            place_newton(**arguments)


@pytest.mark.parametrize("setting", ["ridge", "tol", "max_steps"])
def test_bad_settings_of_newton(setting):
    with pytest.raises(ValueError, match=f"`{setting}` must be"):
        place_newton(linear_gram(6), jnp.zeros((2, 6)), **{setting: 0})
