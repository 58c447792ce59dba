"""Synthetic populations to compare personas with: the paper's samplers, floors and ceilings.

All return (count, d) embeddings, made from real users (n, d) or from prototypes (p, d), the
projections P_k(c̄) of the context. None uses personas.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..preferences.encoder import check_temperature, init_mixture, user_embedding
from ..solvers.boundary import Numbers
from ..solvers.distances import population, positive, spread
from ..solvers.keys import PRNGKey
from ..solvers.precision import full_precision


def real_bootstrap(
    key: PRNGKey, real: Numbers, count: int, *, replace: bool = True
) -> Float[Array, "count d"]:
    """Real users drawn with replacement, or without.

    **Arguments:** `key`: of the draws; `real`: (n, d) users; `count`: number of draws; `replace`:
    whether a user may be drawn more than once.

    **Raises:** `ValueError` for NaN, no users, or without `replace` a `count` above n.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.fidelity import real_bootstrap
        >>> real = [[0.0, 1.0], [2.0, 3.0]]
        >>> print(real_bootstrap(key=jax.random.key(0), real=real, count=5).shape)
        (5, 2)
    """
    positive("count", count)
    real = population(real, "real", 1 if replace else count)
    return real[jax.random.choice(key, real.shape[0], (count,), replace=replace)]


def moment_matched_noise(key: PRNGKey, real: Numbers, count: int) -> Float[Array, "count d"]:
    """Gaussian noise with the mean and the SD (ddof = 0) of every coordinate: the paper's ceiling.

    Its covariance is diagonal on purpose (section 3.4). Users of K prototypes span K - 1 of the d
    dimensions and this noise spans all d, so it has coverage 0 by construction; a ceiling within
    the span of users is [`random_mixture`][].

    **Raises:** `ValueError` for NaN or no users.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.fidelity import moment_matched_noise
        >>> real = [[0.0, 1.0], [2.0, 3.0]]
        >>> print(moment_matched_noise(key=jax.random.key(0), real=real, count=5).shape)
        (5, 2)
    """
    positive("count", count)
    real = population(real, "real")
    noise = jax.random.normal(key, (count, real.shape[1]), real.dtype)
    mean, sd = spread(real)
    return mean[None, :] + sd[None, :] * noise


@full_precision
def random_mixture(
    key: PRNGKey, prototypes: Numbers, count: int, *, temperature: float = 1.0
) -> Float[Array, "count d"]:
    """Users whose mixture logits are N(0, I), as those of an encoder before training.

    Structureless within the span of users: a ceiling whose coverage is not 0 by construction.

    **Arguments:** `key`: of the logits; `prototypes`: (p, d); `count`: number of users;
    `temperature`: τ of the encoder's mixtures, as in [`mixture_weights`][].

    **Raises:** `ValueError` for NaN, no prototypes, or a temperature that is not positive.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.fidelity import random_mixture
        >>> prototypes = [[0.0, 1.0], [1.0, 0.0]]
        >>> print(random_mixture(key=jax.random.key(0), prototypes=prototypes, count=5).shape)
        (5, 2)
    """
    positive("count", count)
    prototypes = population(prototypes, "prototypes")
    logits = init_mixture(key, count, prototypes.shape[0], prototypes.dtype)
    return user_embedding(prototypes, logits, check_temperature(temperature))


@full_precision
def dirichlet_interpolation(
    key: PRNGKey,
    real: Numbers,
    count: int,
    *,
    anchors: int = 3,
    concentration: float = 1.0,
) -> Float[Array, "count d"]:
    """Dirichlet(β) mixtures of a few real users each, drawn uniformly (section 4).

    **Arguments:** `key`: of the draws; `real`: (n, d) users; `count`: number of mixtures;
    `anchors`: real users per mixture, all different; `concentration`: β of the Dirichlet weights.

    **Raises:** `ValueError` for NaN, fewer users than anchors, or a β that is not positive.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.fidelity import dirichlet_interpolation
        >>> real = [[0.0, 1.0], [2.0, 3.0], [4.0, 0.0]]
        >>> drawn = dirichlet_interpolation(key=jax.random.key(0), real=real, count=5, anchors=2)
        >>> print(drawn.shape, drawn.max() <= 4)
        (5, 2) True
    """
    positive("count", count)
    positive("anchors", anchors)
    real = population(real, "real", anchors)
    draw, mix = jax.random.split(key)
    keys = jax.random.split(draw, count)
    n = real.shape[0]

    def choose(key):
        # Floyd's algorithm: `anchors` different positions at a cost that does not grow with n.
        chosen = jnp.full(anchors, -1)
        for i, k in enumerate(jax.random.split(key, anchors)):
            last = n - anchors + i
            position = jax.random.randint(k, (), 0, last + 1)
            taken = jnp.any(chosen == position)
            chosen = chosen.at[i].set(jnp.where(taken, last, position))
        return chosen

    weights = _dirichlet(mix, concentration, (count, anchors), real.dtype)
    return jnp.einsum("ca,cad->cd", weights, real[jax.vmap(choose)(keys)])


@full_precision
def prototype_perturbation(
    key: PRNGKey,
    prototypes: Numbers,
    count: int,
    *,
    sigma: float = 0.01,
    concentration: float = 1.0,
) -> Float[Array, "count d"]:
    """Dirichlet(β) mixtures of the prototypes plus isotropic Gaussian noise of SD σ (section 4).

    **Arguments:** `key`: of the draws; `prototypes`: (p, d); `count`: number of mixtures; `sigma`:
    σ in the units of the embedding. The default is the paper's; whether it is large depends on the
    length of the encoder's embeddings. `concentration`: β of the Dirichlet weights.

    **Raises:** `ValueError` for NaN, no prototypes, a negative σ, or a β that is not positive.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.fidelity import prototype_perturbation
        >>> prototypes = [[0.0, 1.0], [1.0, 0.0]]
        >>> drawn = prototype_perturbation(key=jax.random.key(0), prototypes=prototypes, count=5)
        >>> print(drawn.shape)
        (5, 2)
    """
    positive("count", count)
    prototypes = population(prototypes, "prototypes")
    if sigma < 0:
        raise ValueError(f"`sigma` must not be negative, got {sigma}")
    mix, noise = jax.random.split(key)
    shape = (count, prototypes.shape[0])
    centres = _dirichlet(mix, concentration, shape, prototypes.dtype) @ prototypes
    return centres + sigma * jax.random.normal(noise, centres.shape, centres.dtype)


def _dirichlet(key, concentration: float, shape: tuple[int, int], dtype) -> Float[Array, "c a"]:
    if not concentration > 0:
        raise ValueError(f"`concentration` must be positive, got {concentration}")
    alpha = jnp.full(shape[1], concentration, dtype)
    return jax.random.dirichlet(key, alpha, (shape[0],), dtype)
