"""The preference encoder against equations 1 to 4 written out, and invariances of its scores."""

import equinox as eqx
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from raters import DIM, WIDTH, P, mixtures, small_encoder, texts
from scipy.special import erf, softmax

from syndigits_jax.preferences.encoder import (
    MAX_SCALE,
    gram_scores,
    init_encoder,
    init_mixture,
    mixture_weights,
    pair_scores,
    project,
    projected_gram,
    score_gram,
    scores,
    user_embedding,
)

KEY = jax.random.key(3)


def plain_project(encoder, x):
    """One projector after the other, in float64 NumPy."""
    out = []
    for k in range(P):
        z = np.asarray(x, float)
        for layer, (w, b) in enumerate(zip(encoder.weights, encoder.biases)):
            z = z @ np.asarray(w[k], float) + np.asarray(b[k], float)
            if layer < len(encoder.weights) - 1:
                z = z * (1 + erf(z / np.sqrt(2))) / 2
        out.append(z)
    return np.stack(out)


def plain_scores(encoder, x, context, w):
    """Equation 2, user by user and item by item."""
    items, reference = plain_project(encoder, x), plain_project(encoder, context[None])[:, 0]
    out = np.empty((len(w), len(x)))
    for i, pi in enumerate(softmax(np.asarray(w, float) / encoder.temperature, axis=1)):
        u = pi @ reference
        for t in range(len(x)):
            v = pi @ items[:, t]
            out[i, t] = u @ v / np.linalg.norm(u) / np.linalg.norm(v)
    return out * np.exp(float(encoder.logit_scale))


def test_paper_sizes():
    encoder = jax.eval_shape(lambda: init_encoder(KEY))
    assert [w.shape for w in encoder.weights] == [(4, 384, 256), (4, 256, 256), (4, 256, 128)]
    assert (encoder.dropout, encoder.temperature) == (0.1, 1.0)
    assert float(small_encoder().scale) == pytest.approx(1 / 0.07, rel=1e-5)


def test_projection_and_scores_are_the_papers(dtype):
    encoder, x, w = small_encoder(dtype), texts(9, dtype=dtype), mixtures(5, dtype=dtype)
    context = jnp.mean(x, axis=0)
    np.testing.assert_allclose(project(encoder, x), plain_project(encoder, x), atol=2e-6)
    want = plain_scores(encoder, x, context, w)
    tolerance = 2e-4 if dtype == jnp.float32 else 1e-10
    gram = score_gram(encoder, x, block=4)
    np.testing.assert_allclose(gram_scores(gram, w), want, atol=tolerance)
    reference = project(encoder, context[None])[:, 0]
    direct = scores(project(encoder, x), reference, w, encoder.logit_scale, encoder.temperature)
    np.testing.assert_allclose(direct, want, atol=tolerance)
    user, item = jnp.array([4, 0, 4, 2]), jnp.array([8, 8, 0, 3])
    np.testing.assert_allclose(
        pair_scores(gram, w, user, item), want[np.asarray(user), np.asarray(item)], atol=tolerance
    )


def test_embedding_is_the_mixture_of_prototypes(dtype):
    reference = jnp.asarray(np.random.default_rng(0).normal(size=(P, DIM)), dtype)
    w = mixtures(6, dtype=dtype)
    want = softmax(np.asarray(w) / 2, axis=1) @ np.asarray(reference)
    np.testing.assert_allclose(user_embedding(reference, w, 2.0), want, rtol=1e-5, atol=1e-6)


def test_temperature_divides_the_logits():
    x, w = texts(5), mixtures(3)
    cold = eqx.tree_at(lambda e: e.logit_scale, small_encoder(), jnp.float32(1))
    warm = init_encoder(jax.random.key(0), width=WIDTH, hidden=(7, 5), dim=DIM, temperature=2.0)
    warm = eqx.tree_at(lambda e: e.logit_scale, warm, jnp.float32(1))
    np.testing.assert_allclose(
        gram_scores(score_gram(warm, x), 2 * w), gram_scores(score_gram(cold, x), w), atol=1e-5
    )


def test_scale_is_clamped():
    large = eqx.tree_at(lambda e: e.logit_scale, small_encoder(), jnp.float32(9))
    assert float(large.scale) == pytest.approx(MAX_SCALE, rel=1e-5)
    gram = score_gram(large, texts(4))
    assert float(jnp.max(jnp.abs(gram_scores(gram, mixtures(3))))) <= MAX_SCALE * 1.0001


def test_context_as_item_scores_the_scale():
    """The reason why the context is the catalogue's mean: with c = φ(item) every score is e^σ."""
    encoder, x = small_encoder(), texts(1)
    np.testing.assert_allclose(
        gram_scores(score_gram(encoder, x), mixtures(5)), float(encoder.scale), rtol=1e-5
    )


@hypothesis.settings(max_examples=6)
@hypothesis.given(st.integers(0, 1000), st.floats(0.1, 50), st.floats(-20, 20))
def test_scores_ignore_scaling_of_projections_and_shifts_of_logits(seed, factor, shift):
    rng = np.random.default_rng(seed)
    items = jnp.asarray(rng.normal(size=(P, 7, DIM)), jnp.float32)
    reference = jnp.asarray(rng.normal(size=(P, DIM)), jnp.float32)
    w, sigma = mixtures(4, seed), jnp.float32(2.0)
    want = scores(items, reference, w, sigma)
    one = items * jnp.asarray(np.where(np.arange(7) == 2, factor, 1), jnp.float32)[None, :, None]
    np.testing.assert_allclose(scores(one, reference, w, sigma), want, atol=1e-4)
    np.testing.assert_allclose(
        scores(items, reference * jnp.float32(factor), w, sigma), want, atol=1e-4
    )
    shifted = w + jnp.float32(shift)
    np.testing.assert_allclose(scores(items, reference, shifted, sigma), want, atol=5e-4)
    np.testing.assert_allclose(mixture_weights(shifted), mixture_weights(w), atol=1e-5)


def test_zero_projections_score_zero():
    gram = projected_gram(
        jnp.zeros((P, 2, DIM), jnp.float32), jnp.ones((P, DIM), jnp.float32), jnp.float32(2)
    )
    assert np.asarray(gram_scores(gram, mixtures(3))).tolist() == [[0, 0]] * 3


def test_dropout_needs_a_key_and_keeps_the_mean():
    x = texts(3)
    linear_in_hidden = small_encoder()
    drops = jax.vmap(lambda k: project(linear_in_hidden, x, key=k))
    one, two = drops(jax.random.split(KEY, 2))
    assert float(jnp.max(jnp.abs(one - two))) > 1e-3
    single = init_encoder(KEY, width=WIDTH, hidden=(50,), dim=2, dropout=0.3)
    many = project(single, jnp.tile(x, (4000, 1)), key=KEY).reshape(P, 4000, 3, 2)
    many = jnp.swapaxes(many, 0, 1)
    error = (jnp.mean(many, axis=0) - project(single, x)) / jnp.std(many, axis=0)
    assert float(jnp.max(jnp.abs(error))) < 5 / np.sqrt(4000)


def test_dropout_masks_are_fair_and_independent():
    """One layer of units that are all 1: the mean share, and pairs of rows, units, prototypes."""
    m, h = 300, 64
    wide = init_encoder(KEY, width=1, hidden=(h,), dim=h, prototypes=6, dropout=0.25)
    unit = jnp.broadcast_to(jnp.eye(h)[None], (6, h, h))
    big = eqx.tree_at(
        lambda e: (e.weights, e.biases),
        wide,
        ((jnp.zeros((6, 1, h)), unit), (jnp.full((6, h), 20.0), jnp.zeros((6, h)))),
    )
    kept = np.asarray(project(big, jnp.zeros((m, 1)), key=KEY)) > 0
    share, error = kept.mean(), 5 * np.sqrt(0.25 * 0.75 / kept.size)
    assert abs(share - 0.75) < error
    other = np.asarray(project(big, jnp.zeros((m, 1)), key=jax.random.key(9))) > 0
    for a, b in (
        (kept[:, 1:], kept[:, :-1]),
        (kept[..., 1:], kept[..., :-1]),
        (kept[1:], kept[:-1]),
        (kept[4:], kept[:2]),
        (kept, other),
    ):
        assert abs(np.mean(a & b) - 0.75**2) < 6 * np.sqrt(0.25 / a.size)


def test_gradient_of_the_forms():
    """By hand in the library, by JAX here: through every projection of items and context."""
    rng = np.random.default_rng(0)
    dtype = jnp.result_type(float)
    items, context = (jnp.asarray(rng.normal(size=s), dtype) for s in ((P, 7, DIM), (P, DIM)))
    w, sigma = mixtures(3, dtype=dtype), jnp.asarray(1.0, dtype)
    weight = jnp.asarray(rng.normal(size=(3, 7)), dtype)

    def direct(items, context):
        pi = jax.nn.softmax(w, axis=1)
        u = pi @ context
        v = jnp.einsum("np,pmd->nmd", pi, items)
        cosine = jnp.einsum("nd,nmd->nm", u, v) / jnp.linalg.norm(v, axis=2)
        return jnp.sum(weight * jnp.exp(sigma) * cosine / jnp.linalg.norm(u, axis=1)[:, None])

    def by_forms(items, context):
        return jnp.sum(weight * scores(items, context, w, sigma))

    got, want = (jax.grad(f, argnums=(0, 1))(items, context) for f in (by_forms, direct))
    for a, b in zip(got, want):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_starts_are_standard_normal():
    w = np.asarray(init_mixture(KEY, 20_000, P))
    np.testing.assert_allclose(w.mean(0), 0, atol=0.04)
    np.testing.assert_allclose(np.cov(w.T), np.eye(P), atol=0.04)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": (0,)}, "hidden"),
        ({"prototypes": 0}, "prototypes"),
        ({"dropout": 1.0}, "dropout"),
        ({"temperature": 0.0}, "temperature"),
    ],
)
def test_bad_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        init_encoder(KEY, **arguments)


def test_wrong_width_and_empty_catalogue():
    with pytest.raises(ValueError, match="width 5"):
        project(small_encoder(), jnp.zeros((2, 5)))
    with pytest.raises(ValueError, match="at least one item"):
        score_gram(small_encoder(), jnp.zeros((0, WIDTH)))
