"""The multi-prototype Bradley-Terry preference encoder, and its scores as small quadratic forms.

Kumar, Dev and Garg, "The Persona Fidelity Gap", section 3.1, equations 1 to 4 and Table 4. A
user is a mixture π = softmax(w / τ) over p shared projectors P_k. Functions of w take that of all
users as an array (n, p), which is kept apart from the encoder.

Longer than 400 lines: the scores and the Gram form that stands for them are read together.
"""

import itertools
import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..solvers.boundary import Numbers, as_float, as_floats
from ..solvers.checks import check_known_squares
from ..solvers.keys import PRNGKey
from ..solvers.precision import full_precision

MAX_SCALE = 100.0
"""Largest e^σ: the clamp of the logit scale in CLIP, from which it is taken."""


class PreferenceEncoder(eqx.Module):
    """p projectors, each a GELU network from text vectors to preferences, and a logit scale.

    - `weights`: one (p, in, out) array per layer; `biases`: one (p, out) array per layer.
    - `logit_scale`: σ; scores are cosines times e^σ, at most [`MAX_SCALE`][].
    - `dropout`: share of hidden units left out where a key is given; static.
    - `temperature`: τ of the mixture; static.

    Users are not part of it: each costs only a row of w.
    """

    weights: tuple[Float[Array, "..."], ...]
    biases: tuple[Float[Array, "..."], ...]
    logit_scale: Float[Array, ""]
    dropout: float = eqx.field(static=True, default=0.1)
    temperature: float = eqx.field(static=True, default=1.0)

    @property
    def prototypes(self) -> int:
        """p, the number of projectors."""
        return self.weights[0].shape[0]

    @property
    def width(self) -> int:
        """e, the length of the text vectors."""
        return self.weights[0].shape[1]

    @property
    def scale(self) -> Float[Array, ""]:
        """e^σ, clamped."""
        return jnp.exp(jnp.minimum(self.logit_scale, math.log(MAX_SCALE)))


def init_encoder(
    key: PRNGKey,
    *,
    width: int = 384,
    prototypes: int = 4,
    hidden: Sequence[int] = (256, 256),
    dim: int = 128,
    dropout: float = 0.1,
    temperature: float = 1.0,
    dtype=jnp.float32,
) -> PreferenceEncoder:
    """A random encoder of Table 4: weights and biases uniform in ±1/√fan_in, σ = log(1 / 0.07).

    **Arguments:** `key`: of the random numbers; `width`: e, the length of the text vectors;
    `prototypes`: p; `hidden`: sizes of the hidden layers; `dim`: d, the length of embeddings;
    `dropout`, `temperature`: as in [`PreferenceEncoder`][]; `dtype`: of the parameters. Defaults
    are those of Table 4.

    **Raises:** `ValueError` for an empty layer, a dropout outside [0, 1) or a temperature that is
    not positive.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.preferences import init_encoder
        >>> encoder = init_encoder(key=jax.random.key(0), width=3, prototypes=2, hidden=(4,), dim=5)
        >>> print(encoder.prototypes, encoder.width, encoder.scale.round(2))
        2 3 14.29
    """
    sizes = (width, *hidden, dim)
    if min(*sizes, prototypes) < 1:
        raise ValueError(
            "`width`, `prototypes`, `hidden` and `dim` must be positive, got "
            f"{(width, prototypes, tuple(hidden), dim)}"
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must be in [0, 1), got {dropout}")
    check_temperature(temperature)
    keys = jax.random.split(key, 2 * (len(sizes) - 1))
    weights, biases = [], []
    for layer, (fan_in, out) in enumerate(itertools.pairwise(sizes)):
        a = 1 / math.sqrt(fan_in)
        shape = (prototypes, fan_in, out)
        weights.append(jax.random.uniform(keys[2 * layer], shape, dtype, -a, a))
        biases.append(jax.random.uniform(keys[2 * layer + 1], (prototypes, out), dtype, -a, a))
    return PreferenceEncoder(
        tuple(weights),
        tuple(biases),
        jnp.asarray(math.log(1 / 0.07), dtype),
        dropout=dropout,
        temperature=temperature,
    )


def init_mixture(key: PRNGKey, users: int, prototypes: int, dtype=jnp.float32):
    """Mixture logits w ~ N(0, I), (`users`, `prototypes`), drawn with `key` in `dtype`.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.preferences import init_mixture
        >>> print(init_mixture(key=jax.random.key(0), users=3, prototypes=2).shape)
        (3, 2)
    """
    return jax.random.normal(key, (users, prototypes), dtype)


@jax.custom_jvp
def _gelu(z: Float[Array, "m h"]) -> Float[Array, "m h"]:
    """z Φ(z). Its derivative reuses Φ(z), which reverse mode would compute again."""
    return z * _normal_cdf(z)


@_gelu.defjvp
def _gelu_jvp(primals, tangents):
    (z,), (t,) = primals, tangents
    phi = _normal_cdf(z)
    slope = phi + z * jnp.exp(-z * z / 2) * (1 / math.sqrt(2 * math.pi))
    return z * phi, slope * t


def _normal_cdf(z: Array) -> Array:
    return (1 + jax.lax.erf(z * math.sqrt(0.5))) / 2


def _hashed(x: Array) -> Array:
    """The 32-bit finaliser of MurmurHash3 (Appleby): every bit depends on all bits of `x`."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def _dropout(key: PRNGKey, p: int, shape: tuple[int, int], rate: float):
    """One function per prototype that drops units of an array of `shape`.

    Every random word serves four prototypes, so the rate is rounded to a multiple of 1/256. Words
    are hashed counters: JAX's own generator would take a tenth of a training step.
    """
    dropped = round(rate * 256)
    one, two = jax.random.bits(key, (2,), jnp.uint32)
    words = jnp.arange(math.prod(((p + 3) // 4, *shape)), dtype=jnp.uint32) + one
    words = _hashed(_hashed(words) ^ two).reshape((p + 3) // 4, *shape)

    def drop(k: int, z: Float[Array, "m h"]) -> Float[Array, "m h"]:
        byte = (words[k // 4] >> (8 * (k % 4))) & jnp.uint32(0xFF)
        return jnp.where(byte >= dropped, z / (1 - dropped / 256), 0)

    return drop


def project(
    encoder: PreferenceEncoder, x: Numbers, *, key: PRNGKey | None = None
) -> Float[Array, "p m d"]:
    """P_k(x) for every prototype k and every row of `x`, in the dtype of `x`.

    Hidden layers pass through GELU (exact) and, only with a `key`, dropout (its share rounded to a
    multiple of 1/256) with a mask per row and prototype.

    **Raises:** `ValueError` if the width of `x` is not the encoder's.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.preferences import init_encoder, project
        >>> encoder = init_encoder(key=jax.random.key(0), width=3, prototypes=2, hidden=(4,), dim=5)
        >>> print(project(encoder, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).shape)
        (2, 2, 5)
    """
    x = as_float("x", x)
    if x.ndim != 2:
        raise ValueError(f"`x` must be vectors in rows, (m, e), got shape {x.shape}")
    if x.shape[1] != encoder.width:
        raise ValueError(
            f"`x` has vectors of width {x.shape[1]}, but the encoder was made for width "
            f"{encoder.width}; both must come from the same sentence encoder"
        )
    layers = [
        (w.astype(x.dtype), b.astype(x.dtype))
        for w, b in zip(encoder.weights, encoder.biases, strict=True)
    ]
    hidden = len(layers) - 1
    drops = []
    if key is not None and encoder.dropout > 0 and hidden:
        for (w, _), layer_key in zip(layers, jax.random.split(key, hidden)):
            shape = (x.shape[0], w.shape[2])
            drops.append(_dropout(layer_key, encoder.prototypes, shape, encoder.dropout))
    # One plain product per prototype and layer: on CPUs several times faster than a batched one.
    outputs = []
    for k in range(encoder.prototypes):
        z = x
        for layer, (w, b) in enumerate(layers):
            z = z @ w[k]
            z = z + jnp.broadcast_to(b[k], z.shape)
            if layer < hidden:
                z = _gelu(z)
                z = drops[layer](k, z) if drops else z
        outputs.append(z)
    return jnp.stack(outputs)


def check_temperature(temperature: float) -> float:
    """`temperature`. **Raises:** `ValueError` unless it is a positive, finite number."""
    if not (isinstance(temperature, int | float | np.number) and 0 < temperature < math.inf):
        raise ValueError(f"`temperature` must be positive and finite, got {temperature!r}")
    return float(temperature)


def mixture_weights(w: Numbers, temperature: float = 1.0) -> Float[Array, "n p"]:
    """π = softmax(w / τ), equation 1, for logits `w`, (n, p).

    **Raises:** `ValueError` for a temperature that is not positive, and without a prototype.

    **Example:**

        >>> from syndigits_jax.preferences import mixture_weights
        >>> print(mixture_weights([[0.0, 0.0], [2.0, 0.0]]).round(2))
        [[0.5  0.5 ]
         [0.88 0.12]]
    """
    w = as_float("w", w)
    if w.ndim == 0 or w.shape[-1] == 0:
        raise ValueError(f"`w` must have a logit per prototype, (n, p), got shape {w.shape}")
    return jax.nn.softmax(w / check_temperature(temperature), axis=-1)


@full_precision
def user_embedding(
    projected_context: Numbers, w: Numbers, temperature: float = 1.0
) -> Float[Array, "n d"]:
    """u* = Σ_k π_k P_k(c̄), equations 1 and 4, for P of (p, d) and w of (n, p); not normalised.

    **Raises:** `ValueError` for shapes that do not fit, and a temperature that is not positive.

    **Example:**

        >>> from syndigits_jax.preferences import user_embedding
        >>> print(user_embedding([[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0]]).round(2))
        [[0.5 0.5]]
    """
    context, logits = as_floats(projected_context=projected_context, w=w)
    if context.ndim != 2 or logits.ndim == 0 or logits.shape[-1] != context.shape[0]:
        raise ValueError(
            f"`w` must be (n, p) with a logit for each of the p rows of `projected_context` "
            f"(p, d), got {logits.shape} and {context.shape}"
        )
    return mixture_weights(logits, temperature) @ context


class ScoreGram(eqx.Module):
    """The part of the scores of m items that does not depend on w: inner products of projections.

    Numerator and norms of the cosine in equation 2 are quadratic forms in π, so a score costs
    p (p + 1) products instead of 2 p d. Forms are stored as coefficients of the f = p (p + 1) / 2
    monomials π_i π_j, i ≤ j (see [`monomials`][]).

    - `numerator`, `square`: (m, f) forms of ⟨u(c̄), u(t)⟩ and |u(t)|².
    - `context`: (f,) form of |u(c̄)|².
    - `prototypes`: (p, d) projections P_k(c̄) of the reference context.
    - `scale`: e^σ. `temperature`: τ, static.
    """

    numerator: Float[Array, "*items f"]
    square: Float[Array, "*items f"]
    context: Float[Array, " f"]
    prototypes: Float[Array, "p d"]
    scale: Float[Array, ""]
    temperature: float = eqx.field(static=True, default=1.0)

    def take(self, items) -> "ScoreGram":
        """Only these items (positions, any shape)."""
        return eqx.tree_at(
            lambda g: (g.numerator, g.square), self, (self.numerator[items], self.square[items])
        )


def _triangle(p: int) -> tuple[list[int], list[int]]:
    rows = [i for i in range(p) for _ in range(i, p)]
    return rows, [j for i in range(p) for j in range(i, p)]


def monomials(pi: Float[Array, "*n p"]) -> Float[Array, "*n f"]:
    """π_i π_j for i ≤ j along the last axis."""
    rows, columns = _triangle(pi.shape[-1])
    return pi[..., jnp.array(rows)] * pi[..., jnp.array(columns)]


@full_precision
def projected_gram(
    projected_items: Float[Array, "p m d"],
    projected_context: Float[Array, "p d"],
    logit_scale: Float[Array, ""],
    temperature: float = 1.0,
) -> ScoreGram:
    """The [`ScoreGram`][] of given projections.

    **Arguments:** `projected_items`: (p, m, d) and `projected_context`: (p, d) from [`project`][];
    `logit_scale`: σ; `temperature`: τ.
    """
    numerator, square = _forms(projected_items, projected_context)
    inner = projected_context @ projected_context.T
    rows, columns = _triangle(inner.shape[0])
    context = jnp.stack(
        [inner[i, j] * (1 if i == j else 2) for i, j in zip(rows, columns, strict=True)]
    )
    return ScoreGram(
        numerator,
        square,
        context,
        projected_context,
        jnp.exp(jnp.minimum(logit_scale, math.log(MAX_SCALE))),
        temperature=temperature,
    )


@jax.custom_vjp
def _forms(
    items: Float[Array, "p m d"], context: Float[Array, "p d"]
) -> tuple[Float[Array, "m f"], Float[Array, "m f"]]:
    """`numerator` and `square` of a [`ScoreGram`][]; the gradient is by hand, ten times faster."""
    p = items.shape[0]
    inner = [item @ context.T for item in items]
    numerator, square = [], []
    for i, j in zip(*_triangle(p), strict=True):
        product = jnp.sum(items[i] * items[j], axis=1)
        same = i == j
        numerator.append(inner[i][:, i] if same else inner[i][:, j] + inner[j][:, i])
        square.append(product if same else 2 * product)
    return jnp.stack(numerator, axis=1), jnp.stack(square, axis=1)


def _forms_forward(items, context):
    return _forms(items, context), (items, context)


@full_precision
def _forms_backward(saved, cotangents):
    items, context = saved
    p = items.shape[0]
    rows, columns = _triangle(p)
    position = {}
    for number, (i, j) in enumerate(zip(rows, columns, strict=True)):
        position[i, j] = position[j, i] = number
    of_numerator, of_square = cotangents
    to_items, to_context = [], jnp.zeros_like(context)
    for i in range(p):
        partners = jnp.array([position[i, j] for j in range(p)])
        slopes = of_numerator[:, partners]
        to_context = to_context + slopes.T @ items[i]
        own = slopes @ context
        for j in range(p):
            own = own + 2 * of_square[:, position[i, j]][:, None] * items[j]
        to_items.append(own)
    return jnp.stack(to_items), to_context


_forms.defvjp(_forms_forward, _forms_backward)


@full_precision
def score_gram(
    encoder: PreferenceEncoder,
    items: Numbers,
    context: Numbers | None = None,
    *,
    block: int = 4096,
) -> ScoreGram:
    """The [`ScoreGram`][] of text vectors, projected `block` items at a time.

    **Arguments:** `encoder`: of the projections; `items`: (m, e) text vectors; `context`: (e,)
    reference text vector; by default c̄, the mean of `items` (equation 4). Give it where `items` are
    only a part of the catalogue. `block`: items per call of the projectors.

    **Raises:** `ValueError` if a width is not the encoder's or there is no item.

    **Example:**

        >>> import jax
        >>> import jax.numpy as jnp
        >>> from syndigits_jax.preferences import init_encoder, score_gram
        >>> encoder = init_encoder(key=jax.random.key(0), width=3, prototypes=2, hidden=(4,), dim=5)
        >>> gram = score_gram(encoder, jnp.eye(3))
        >>> print(gram.numerator.shape, gram.take(jnp.asarray([0, 2])).numerator.shape)
        (3, 3) (2, 3)
    """
    items, context = as_floats(items=items, context=context)
    if items.ndim != 2 or items.shape[0] == 0:
        raise ValueError(
            f"`items` must be (m, e), a vector for each of at least one item, got {items.shape}"
        )
    check_known_squares(items=items)
    if context is None:
        context = jnp.mean(items, axis=0)
    projected = project(encoder, context[None, :])[:, 0]
    parts = [
        projected_gram(
            project(encoder, items[first : first + block]),
            projected,
            encoder.logit_scale,
            encoder.temperature,
        )
        for first in range(0, items.shape[0], block)
    ]
    return eqx.tree_at(
        lambda g: (g.numerator, g.square),
        parts[0],
        (
            jnp.concatenate([part.numerator for part in parts]),
            jnp.concatenate([part.square for part in parts]),
        ),
    )


def _floor(values: Array) -> Array:
    """Squared norms, at least the smallest normal number: a zero vector has score 0."""
    return jnp.maximum(values, jnp.finfo(values.dtype).tiny)


@full_precision
def gram_scores(gram: ScoreGram, w: Numbers) -> Float[Array, "n m"]:
    """Scores (equation 2) of every item for every user.

    **Raises:** `ValueError` unless `w` has a logit for each prototype of `gram`.

    **Example:**

        >>> import jax
        >>> import jax.numpy as jnp
        >>> from syndigits_jax.preferences import gram_scores, init_encoder, score_gram
        >>> encoder = init_encoder(key=jax.random.key(0), width=3, hidden=(), dim=5, dtype=float)
        >>> print(gram_scores(score_gram(encoder, jnp.eye(3)), jnp.eye(2, 4)).shape)
        (2, 3)
    """
    w, prototypes = as_float("w", w), gram.prototypes.shape[0]
    if w.ndim != 2 or w.shape[1] != prototypes:
        raise ValueError(f"`w` must have shape (n, {prototypes}), got {w.shape}")
    phi = monomials(mixture_weights(w, gram.temperature))
    inverse = jax.lax.rsqrt(_floor(phi @ gram.context))[:, None]
    inverse_item = jax.lax.rsqrt(_floor(phi @ gram.square.T))
    return gram.scale * (phi @ gram.numerator.T) * inverse * inverse_item


@full_precision
def pair_scores(
    gram: ScoreGram,
    w: Float[Array, "n p"],
    user: Int[Array, "*k"],
    item: Int[Array, "*k"],
) -> Float[Array, "*k"]:
    """Scores of pairs: `user` and `item` are positions in `w` and `gram`, of one shape."""
    phi = monomials(mixture_weights(w, gram.temperature))
    inverse = jax.lax.rsqrt(_floor(phi @ gram.context))[user]
    of_user = phi[user]
    square = _floor(jnp.sum(of_user * gram.square[item], axis=-1))
    numerator = jnp.sum(of_user * gram.numerator[item], axis=-1)
    return gram.scale * numerator * inverse * jax.lax.rsqrt(square)


def scores(
    projected_items: Float[Array, "p m d"],
    projected_context: Float[Array, "p d"],
    w: Float[Array, "n p"],
    logit_scale: Float[Array, ""],
    temperature: float = 1.0,
) -> Float[Array, "n m"]:
    """s(i, t) = ⟨û_i(c), û_i(t)⟩ e^σ, equation 2; both sides pass through the user's mixture.

    **Arguments:** `projected_items`, `projected_context`, `logit_scale`, `temperature`: as in
    [`projected_gram`][]; `w`: (n, p) logits of the users.

    **Example:**

        >>> import jax.numpy as jnp
        >>> from syndigits_jax.preferences import scores
        >>> items = jnp.asarray([[[1.0, 0.0], [0.0, 1.0]]])  # one prototype, two items
        >>> found = scores(items, jnp.asarray([[1.0, 0.0]]), jnp.zeros((1, 1)), jnp.asarray(0.0))
        >>> print(found.round(2))
        [[1. 0.]]
    """
    return gram_scores(
        projected_gram(projected_items, projected_context, logit_scale, temperature), w
    )
