"""Repair of a population in preference space: weights for personas, or maps that move them.

Fit on some real users and personas, and evaluate on others: weights and maps both adapt to the
sample they were fitted to. Personas need not be paired with real users.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ..solvers.boundary import Numbers, as_float, concrete
from ..solvers.checks import check_positive, check_steps, number
from ..solvers.distances import (
    BLOCK,
    Cloud,
    Frame,
    finite_or_nan,
    map_rows,
    nearest,
    population,
    populations,
    positive,
    squared_distances,
)
from ..solvers.keys import PRNGKey
from ..solvers.linear_model import GramStatistics
from ..solvers.precision import full_precision
from ..solvers.simplex_least_squares import simplex_least_squares_from_gram
from ..solvers.solution import Solution, status_code
from .frechet import closest_rotation, psd_root
from .mmd import bandwidth, gaussian_kernel, kernel_row_means

_DENSE = 1 << 24  # cost matrices up to this size are stored; beyond, Sinkhorn recomputes them


@full_precision
def reweight_kernel(
    x: Numbers,
    y: Numbers,
    sigma: ArrayLike | None = None,
    *,
    penalty: ArrayLike = 0.0,
    tol: ArrayLike = 1e-4,
    max_steps: ArrayLike = 5000,
    block: int = BLOCK,
) -> Solution[Float[Array, " l"]]:
    """Weights w of the personas `y` that bring them closest to the real users `x` in kernel space.

    Minimises |Σⱼ wⱼ k(yⱼ, ·) - mean k(x, ·)|² + λ|w|², the squared MMD of the weighted population
    (as a V-statistic: a point counts with itself), over w ≥ 0 with sum 1. Weights do not depend on
    units (with σ in them), nor on a common rotation and translation.

    **Arguments:**

    - `x`, `y`: (n, d) and (l, d) points.
    - `sigma`: bandwidth in their units, by default the median distance of both populations stacked.
    - `penalty`: λ ≥ 0, against weights that follow the sample of real users too closely.
    - `tol`, `max_steps`: as in [`simplex_least_squares`][].
    - `block`: distances held in memory at a time.

    **Returns:** a `Solution` with (l,) weights; memory is l² numbers beside the `block`.

    **Raises:** `ValueError` for fewer than two points in either, unequal widths, or NaN.

    **Example:**

        >>> from syndigits_jax.fidelity import reweight_kernel
        >>> weights = reweight_kernel([[0.0], [1.0], [1.0], [1.0]], [[0.0], [1.0]], sigma=0.1).value
        >>> print(weights.round(2))
        [0.25 0.75]
    """
    x, y = populations(x, y, 2)
    frame = Frame.of(x, y)
    sigma = bandwidth(sigma, x, y) / frame.unit
    to_x, to_y = frame.cloud(x), frame.cloud(y)
    zero = jnp.zeros((), x.dtype)
    cross = kernel_row_means(to_y, to_x, sigma, block)
    stats = GramStatistics(
        gram=gaussian_kernel(squared_distances(to_y, to_y, sigma), sigma),
        cross=finite_or_nan(cross, x, y),
        target_square=jnp.mean(kernel_row_means(to_x, to_x, sigma, block)),
        x_mean=jnp.zeros(y.shape[0], x.dtype),
        y_mean=zero,
        weight_sum=zero + 1,
    )
    return simplex_least_squares_from_gram(stats, penalty, tol=tol, max_steps=max_steps)


def reweight_transport(x: Numbers, y: Numbers, *, block: int = BLOCK) -> Float[Array, " l"]:
    """Weights of the personas that bring them closest to `x` in transport distance, of any order.

    With the weights free, every real user goes to the nearest persona, whose weight is the share of
    users it receives: that is the minimum, in closed form. Does not depend on units, nor on a
    common rotation and translation.

    **Raises:** `ValueError` for an empty population, unequal widths, or NaN.

    **Example:**

        >>> from syndigits_jax.fidelity import reweight_transport
        >>> print(reweight_transport([[0.0], [1.0], [1.1], [0.9]], [[0.0], [1.0]]))
        [0.25 0.75]
    """
    x, y = populations(x, y)
    _, position = nearest(x, y, 1, block=block)
    ones = jnp.ones(x.shape[0], x.dtype)
    weights = jax.ops.segment_sum(ones, position[:, 0], y.shape[0]) / x.shape[0]
    return finite_or_nan(weights, x, y)


def resample(key: PRNGKey, y: Numbers, weights: Numbers, count: int) -> Float[Array, "count d"]:
    """Personas drawn with probabilities `weights`: an unweighted population from a weighted one.

    **Arguments:** `key`: of the draws; `y`: (l, d) personas; `weights`: (l,), not negative; only
    their ratios matter; `count`: number of draws, with replacement.

    **Raises:** `ValueError` for NaN in `y`, if there is not one weight per row of `y`, or for
    weights that are negative, not finite or all zero.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.fidelity import resample
        >>> drawn = resample(key=jax.random.key(0), y=[[1.0], [2.0]], weights=[0.0, 1.0], count=3)
        >>> print(drawn[:, 0])
        [2. 2. 2.]
    """
    positive("count", count)
    y, weights = population(y, "y"), as_float("weights", weights)
    if weights.shape != y.shape[:1]:
        raise ValueError(f"`weights` must have shape {y.shape[:1]}, got {weights.shape}")
    known = concrete(weights)
    if known is not None and not (np.isfinite(known).all() and (known >= 0).all() and known.any()):
        raise ValueError("`weights` must be finite, none negative and not all zero")
    # Divided by the largest, so that their sum neither overflows nor underflows.
    weights = weights / jnp.max(weights)
    return y[jax.random.choice(key, y.shape[0], (count,), p=weights)]


class AffineMap(eqx.Module):
    """x = target + (y - source) @ matrix: the optimal map between two Gaussian fits.

    **Arguments:** `source`, `target`: means; `matrix`: symmetric, positive semidefinite.
    """

    source: Float[Array, " d"]
    target: Float[Array, " d"]
    matrix: Float[Array, "d d"]

    @full_precision
    def __call__(self, y: Numbers) -> Float[Array, "k d"]:
        """Personas moved, those of the fit or others."""
        y = population(y, "y").astype(self.matrix.dtype)
        return self.target[None, :] + (y - self.source[None, :]) @ self.matrix


@full_precision
def fit_affine_map(x: Numbers, y: Numbers, *, rtol: float = 1e-4) -> AffineMap:
    """The map of least movement that gives `y` the mean and the covariance of `x`.

    Outliers remain outliers. Dispersion is restored along every axis along which `y` has any (an SD
    of at least `rtol` times its largest); the shapes of clusters are not. The map is in the units
    of the data and shifts with their origin: `c x`, `c y` have the same matrix.

    **Raises:** `ValueError` for fewer than two points in either, unequal widths, or NaN.

    **Example:**

        >>> from syndigits_jax.fidelity import fit_affine_map
        >>> move = fit_affine_map([[0.0], [4.0]], [[1.0], [2.0]])
        >>> print(move.matrix.round(2), move([[1.0], [1.5], [2.0]]).round(2).tolist())
        [[4.]] [[0.0], [2.0], [4.0]]
    """
    x, y = populations(x, y, 2)
    frame = Frame.of(x, y)
    x, y = frame.cloud(x).about, frame.cloud(y).about
    target, source = psd_root(x), psd_root(y)
    rank = max(len(target), len(source))
    target, source = (jnp.pad(r, ((0, rank - len(r)), (0, 0))) for r in (target, source))
    rotation = closest_rotation(target @ source.T)
    # With Σx = TᵀT and Σy = SᵀS: S⁺ Uᵀ T is symmetric, and takes one covariance to the other.
    matrix = jnp.linalg.pinv(source, rtol=rtol) @ rotation.T @ target
    source_mean, target_mean = (frame.unit * (frame.centre + jnp.mean(z, axis=0)) for z in (y, x))
    return AffineMap(source_mean, target_mean, (matrix + matrix.T) / 2)


class TransportMap(eqx.Module):
    """An entropic optimal transport plan, as a function of any persona.

    **Arguments:**

    - `users`: (n, d) the real users it leads to; `potential`: their dual potential over ε.
    - `width`: √ε, the distance over which mass is spread.
    """

    users: Float[Array, "n d"]
    potential: Float[Array, " n"]
    width: Float[Array, ""]

    @property
    def epsilon(self) -> Float[Array, ""]:
        """The entropic regularisation, a squared distance."""
        return self.width**2

    def _prepared(self, y: Numbers):
        """`y` in a frame with the users, and the logits of some of its rows."""
        y = population(y, "y").astype(self.users.dtype)
        if y.shape[1] != self.users.shape[1]:
            raise ValueError(f"`y` has width {y.shape[1]}, the users {self.users.shape[1]}")
        frame = Frame.of(self.users, y)
        users, width = frame.cloud(self.users), self.width / frame.unit

        def logits(rows: Cloud) -> Float[Array, "b n"]:
            squares = squared_distances(rows, users, width)
            return self.potential[None, :] - squares / width**2

        return frame.cloud(y), logits

    def __call__(self, y: Numbers, *, block: int = BLOCK) -> Float[Array, "k d"]:
        """Every persona moved to the mean of the real users that its mass goes to.

        Personas that were not in the fit can be moved as well (Pooladian and Niles-Weed, 2021).
        Means reduce dispersion a little, more for larger ε; [`TransportMap.sample`][] does not.
        """
        return _means(self, population(y, "y"), block)

    def sample(self, key: PRNGKey, y: Numbers, *, block: int = BLOCK) -> Float[Array, "k d"]:
        """Every persona moved to one of those users, drawn by mass, which keeps full dispersion."""
        return _drawn(self, key, population(y, "y"), block)


@functools.partial(jax.jit, static_argnames="block")
def _means(plan: TransportMap, y: Float[Array, "k d"], block: int) -> Float[Array, "k d"]:
    cloud, logits = plan._prepared(y)

    @full_precision
    def mean(rows, _):
        return jax.nn.softmax(logits(rows), axis=1) @ plan.users

    return map_rows(mean, cloud, len(plan.users), block)


@functools.partial(jax.jit, static_argnames="block")
def _drawn(
    plan: TransportMap, key: PRNGKey, y: Float[Array, "k d"], block: int
) -> Float[Array, "k d"]:
    cloud, logits = plan._prepared(y)
    keys = jax.random.split(key, len(cloud.square))

    def draw(rows, position):
        some = keys[jnp.minimum(position, len(keys) - 1)]
        return jax.vmap(jax.random.categorical)(some, logits(rows))

    return plan.users[map_rows(draw, cloud, len(plan.users), block)]


def fit_transport_map(
    x: Numbers,
    y: Numbers,
    *,
    epsilon: ArrayLike = 0.01,
    tol: ArrayLike = 1e-3,
    max_steps: int = 20_000,
) -> Solution[TransportMap]:
    """Entropic optimal transport of personas `y` to real users `x`, squared distances, by Sinkhorn.

    The map is in the units of the data and shifts with their origin.

    **Arguments:**

    - `x`, `y`: (n, d) and (l, d) points.
    - `epsilon`: regularisation over the mean squared distance between the populations. Smaller
      follows the sample more closely, and takes more steps.
    - `tol`: summed absolute error that the plan's marginals may have.
    - `max_steps`: most Sinkhorn steps; static, as the errors of all steps are kept.

    **Returns:** a `Solution` with a [`TransportMap`][]; `optimality` is the summed absolute error
    of the marginals.

    **Raises:** `ValueError` for an empty population, unequal widths, NaN, or an ε, `tol` or
    `max_steps` that is not positive.

    **Example:**

        >>> from syndigits_jax.fidelity import fit_transport_map
        >>> move = fit_transport_map([[0.0], [10.0]], [[1.0], [2.0]]).value
        >>> print(move([[1.0], [2.0]]).round(1).tolist())
        [[0.0], [10.0]]
    """
    x, y = populations(x, y)
    check_positive(epsilon=epsilon, tol=tol)
    check_steps(max_steps)
    frame = Frame.of(x, y)
    to_x, to_y = frame.cloud(x).about, frame.cloud(y).about
    # The mean squared distance of all pairs, without the pairs.
    scale = jnp.mean(jnp.sum(to_x**2, axis=1)) + jnp.mean(jnp.sum(to_y**2, axis=1))
    scale = scale - 2 * jnp.sum(jnp.mean(to_x, axis=0) * jnp.mean(to_y, axis=0))
    root = jnp.sqrt(jnp.where(scale > 0, scale, 1))
    strength = number("epsilon", epsilon, x.dtype)
    limit = number("tol", tol, x.dtype)
    g, errors, converged, steps = _sinkhorn(to_x / root, to_y / root, strength, limit, max_steps)
    potential = jnp.asarray(g, x.dtype) / strength
    width = finite_or_nan(frame.unit * root * jnp.sqrt(strength), x, y)
    finite = jnp.isfinite(width) & jnp.all(jnp.isfinite(potential))
    # The errors of steps that were not taken are -1.
    errors = jnp.asarray(errors, x.dtype)
    error = errors[jnp.sum(errors != -1) - 1]
    status = status_code(jnp.asarray(converged), finite)
    return Solution(TransportMap(x, potential, width), status, steps, error)


@functools.partial(jax.jit, static_argnames="max_steps")
def _sinkhorn(x: Float[Array, "n d"], y: Float[Array, "l d"], epsilon, tol, max_steps: int):
    """Of ott's plan that leads `y` to `x`: potential, errors, whether converged, steps taken."""
    # Imported here, because the import takes about a second and only this function needs it.
    from ott.geometry import pointcloud
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import sinkhorn

    batch = None if len(x) * len(y) <= _DENSE else 512
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        geometry = pointcloud.PointCloud(y, x, epsilon=epsilon, batch_size=batch)
        # Steps are taken in tens, never more than `max_steps`.
        tens = min(10, max_steps)
        solver = sinkhorn.Sinkhorn(
            threshold=tol, inner_iterations=tens, max_iterations=max_steps // tens * tens
        )
        plan = solver(linear_problem.LinearProblem(geometry))
        return plan.g, plan.errors, plan.converged, jnp.asarray(plan.n_iters, jnp.int32)
