"""Gaussian mixtures by expectation maximisation: the paper's third baseline.

Fitted in standardised coordinates: divided by the spread along each principal axis for full
covariances (maximum likelihood does not depend on the axes), of each coordinate for diagonal ones.
Axes without spread get none, so that users who span K - 1 of d dimensions are matched within
them. An absolute regularisation in the original units would instead fill all d dimensions with
noise, which matters when embeddings are short.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..solvers.boundary import Numbers, as_float, concrete
from ..solvers.checks import check_positive, check_steps, number
from ..solvers.distances import Frame, population, positive
from ..solvers.keys import PRNGKey
from ..solvers.kmeans import kmeans
from ..solvers.precision import full_precision
from ..solvers.solution import Solution, status_code

_KMEANS_STEPS = 20


class GaussianMixture(eqx.Module):
    """A mixture of p Gaussians over points x = centre + z @ axes.

    **Arguments:**

    - `weights`: of the components, positive, summing to 1.
    - `z_means`, `z_factors`: means and lower Cholesky factors of the covariances of z.
    - `centre`, `axes`: of the standardised coordinates, in which every axis has spread 1 or 0.
    """

    weights: Float[Array, " p"]
    z_means: Float[Array, "p d"]
    z_factors: Float[Array, "p d d"]
    centre: Float[Array, " d"]
    axes: Float[Array, "d d"]

    @property
    def means(self) -> Float[Array, "p d"]:
        """Component means, in the units of the data."""
        return self.centre[None, :] + self.z_means @ self.axes

    @property
    def covariances(self) -> Float[Array, "p d d"]:
        """Component covariances, in the units of the data."""
        factors = jnp.swapaxes(self.z_factors, 1, 2) @ self.axes
        return jnp.swapaxes(factors, 1, 2) @ factors

    @full_precision
    def sample(self, key: PRNGKey, count: int) -> Float[Array, "count d"]:
        """`count` independent draws."""
        positive("count", count)
        choose, noise = jax.random.split(key)
        component = jax.random.categorical(choose, jnp.log(self.weights), shape=(count,))
        draws = jax.random.normal(noise, (count, len(self.centre)), self.centre.dtype)
        spread = jnp.einsum("cij,cj->ci", self.z_factors[component], draws)
        return self.centre[None, :] + (self.z_means[component] + spread) @ self.axes


def _standardise(x: Float[Array, "n d"], rotate: bool) -> tuple[Array, Array, Array]:
    """`(z, centre, axes)` with x = centre + z @ axes, and z of unit variance, or 0, per axis."""
    n, d = x.shape
    centre = jnp.mean(x, axis=0)
    deviations = x - centre[None, :]
    if rotate:
        # The factor of the QR decomposition has the same singular values, more accurately than
        # the covariance has their squares.
        triangle = jnp.linalg.qr(deviations, mode="r") / jnp.sqrt(n)
        _, spread, basis = jnp.linalg.svd(jnp.pad(triangle, ((0, d - len(triangle)), (0, 0))))
    else:
        spread, basis = jnp.std(x, axis=0), jnp.eye(d, dtype=x.dtype)
    real = spread > 100 * float(jnp.finfo(x.dtype).eps) * jnp.max(spread)
    spread = jnp.where(real, spread, 0)
    inverse = jnp.where(real, 1 / jnp.where(real, spread, 1), 0)
    return (deviations @ basis.T) * inverse[None, :], centre, spread[:, None] * basis


def _maximise(z, share, diagonal, penalty):
    """Weights, means and Cholesky factors from the components' shares of each point."""
    mass = jnp.sum(share, axis=0) + 10 * float(jnp.finfo(z.dtype).eps)
    means = (share.T @ z) / mass[:, None]
    eye = jnp.eye(z.shape[1], dtype=z.dtype)

    def factor(component):
        weight, mean, size = component
        deviations = z - mean[None, :]
        weighted = weight[:, None] * deviations
        if diagonal:
            variance = jnp.sum(weighted * deviations, axis=0) / size + penalty
            return jnp.sqrt(variance)[None, :] * eye
        covariance = (weighted.T @ deviations) / size
        return jnp.linalg.cholesky(covariance + penalty * eye)

    # One component at a time: as much memory as the data.
    factors = jax.lax.map(factor, (share.T, means, mass))
    return mass / jnp.sum(mass), means, factors


def _expect(z, parameters, diagonal):
    """Log density of every point under the mixture, and the components' shares of it."""

    def log_density(component):
        weight, mean, factor = component
        scale = jnp.diagonal(factor)
        deviations = (z - mean[None, :]).T
        if diagonal:
            white = deviations / scale[:, None]
        else:
            white = jax.scipy.linalg.solve_triangular(factor, deviations, lower=True)
        return jnp.log(weight) - jnp.sum(jnp.log(scale)) - jnp.sum(white**2, axis=0) / 2

    logs = jax.lax.map(log_density, parameters).T
    total = jax.nn.logsumexp(logs, axis=1)
    return total, jnp.exp(logs - total[:, None])


def _labels(init: Numbers, components: int, n: int) -> Int[Array, " n"]:
    values = as_float("init", init)
    if values.shape != (n,):
        raise ValueError(f"`init` must have shape {(n,)}, got {values.shape}")
    known = concrete(values)
    if known is not None and not np.isin(known, np.arange(components)).all():
        raise ValueError(f"`init` must be whole numbers from 0 to {components - 1}")
    return values.astype(jnp.int32)


@full_precision
def fit_gaussian_mixture(
    key: PRNGKey,
    x: Numbers,
    components: int = 16,
    *,
    covariance: str = "full",
    regularisation: Numbers = 1e-6,
    tol: Numbers = 1e-3,
    max_steps: int | Int[Array, ""] = 100,
    init: Numbers | None = None,
) -> Solution[GaussianMixture]:
    """Expectation maximisation from clusters (k-means++) of `x`.

    Means and axes are in the units of the data and shift with their origin; weights do not depend
    on either, and fits with full covariances do not depend on the axes. The paper names diagonal
    covariances in its text (section 4) and full ones in its Table 6.

    **Arguments:**

    - `key`: of the k-means++ seeds.
    - `x`: (n, d) points.
    - `components`: number of Gaussians; static.
    - `covariance`: `"full"` or `"diagonal"`; static.
    - `regularisation`: added to every variance, relative to that of the whole population along the
      same (principal) axis; may be traced, as may `tol` and `max_steps`.
    - `tol`: stop when the mean log likelihood of a user grows by less in one step.
    - `max_steps`: most steps.
    - `init`: (n,) clusters, 0 to `components` - 1, to start from in place of k-means; `key` is
      then not used.

    **Returns:** a `Solution` with a [`GaussianMixture`][]; `change` is the growth in the last step,
    and `optimality` NaN, as the distance from a local maximum is not known.

    **Raises:** `ValueError` for fewer users than components, NaN, another `covariance`, an `init`
    that does not fit, a regularisation that is not positive, or a `max_steps` below one.

    **Example:**

        >>> import jax
        >>> import numpy as np
        >>> from syndigits_jax.fidelity import fit_gaussian_mixture
        >>> x = np.asarray([[0.0], [1.0], [2.0], [90.0], [91.0], [92.0]])
        >>> mixture = fit_gaussian_mixture(key=jax.random.key(0), x=x, components=2).value
        >>> print(np.sort(mixture.means[:, 0]).round(1), mixture.weights.round(2))
        [ 1. 91.] [0.5 0.5]
    """
    positive("components", components)
    check_steps(max_steps)
    if covariance not in ("full", "diagonal"):
        raise ValueError(f"`covariance` must be 'full' or 'diagonal', got {covariance!r}")
    check_positive(regularisation=regularisation)
    x = population(x, "x", components)
    penalty, tol = number("regularisation", regularisation, x.dtype), number("tol", tol, x.dtype)
    diagonal = covariance == "diagonal"
    frame = Frame.of(x)
    z, centre, axes = _standardise(frame.cloud(x).about, rotate=not diagonal)
    centre, axes = frame.unit * (frame.centre + centre), frame.unit * axes
    if init is None:
        labels = kmeans(key, z, components, max_steps=_KMEANS_STEPS).value.labels
    else:
        labels = _labels(init, components, x.shape[0])
    share = jax.nn.one_hot(labels, components, dtype=z.dtype)
    steps_allowed = jnp.asarray(max_steps, jnp.int32)
    found, growth, steps = _climbed(z, share, penalty, tol, steps_allowed, diagonal)
    weights, means, factors = found
    mixture = GaussianMixture(weights, means, factors, centre, axes)
    finite = jnp.stack([jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(mixture)]).all()
    status = status_code(growth < tol, finite & jnp.isfinite(growth))
    return Solution(mixture, status, steps, jnp.full_like(growth, jnp.nan), growth)


@functools.partial(jax.jit, static_argnames="diagonal")
def _climbed(z, share, penalty, tol, max_steps, diagonal: bool):
    """Weights, means and factors from the components' first shares, the last growth, and steps."""
    start = _maximise(z, share, diagonal, penalty)

    def body(state):
        parameters, last, _, step = state
        total, share = _expect(z, parameters, diagonal)
        value = jnp.mean(total)
        return _maximise(z, share, diagonal, penalty), value, value - last, step + 1

    def unfinished(state):
        _, _, growth, step = state
        # The first value has no predecessor; NaN ends the loop.
        return (step < max_steps) & ((growth >= tol) | (step < 2))

    infinite = jnp.asarray(jnp.inf, z.dtype)
    state = (start, -infinite, infinite, jnp.zeros((), jnp.int32))
    state = jax.lax.while_loop(unfinished, body, state)
    found, _, growth, steps = state
    return found, growth, steps
