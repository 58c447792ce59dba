"""The affine model that regressions return, and the sufficient statistics they share."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .boundary import Numbers, as_float
from .checks import regression_arrays
from .gram import gram_matrix
from .precision import full_precision


class LinearModel(eqx.Module):
    """`x @ coef + intercept`.

    **Example:**

        >>> from syndigits_jax.solvers import ridge
        >>> model = ridge([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], 0.0).value
        >>> print(model([[4.0], [5.0]]).round(2))
        [ 9. 11.]
    """

    coef: Float[Array, "*batch p"]
    intercept: Float[Array, "*batch"]

    @full_precision
    def __call__(self, x: Numbers) -> Float[Array, "*n"]:
        """Predict for rows of `x` (*n, p); one unbatched model only (`jax.vmap` over models)."""
        return as_float("x", x).astype(self.coef.dtype) @ self.coef + self.intercept


class GramStatistics(eqx.Module):
    """Weighted, centred second moments of a regression: sufficient for a squared loss.

    With weights w (sum W) and weighted means x̄, ȳ:

    - `gram`: Σᵢ wᵢ (xᵢ - x̄)(xᵢ - x̄)ᵀ, shape (p, p)
    - `cross`: Σᵢ wᵢ (xᵢ - x̄)(yᵢ - ȳ), shape (p,)
    - `target_square`: Σᵢ wᵢ (yᵢ - ȳ)²
    - `x_mean`, `y_mean`: x̄ and ȳ of a regression with an intercept, which absorbs them; zero
      without one
    - `weight_sum`: W
    - `x_offset`, `y_offset`: the means where there is no intercept; zero (or `None`) with one.
      They are kept apart from the moments, which would lose digits to them.
    """

    gram: Float[Array, "p p"]
    cross: Float[Array, " p"]
    target_square: Float[Array, ""]
    x_mean: Float[Array, " p"]
    y_mean: Float[Array, ""]
    weight_sum: Float[Array, ""]
    x_offset: Float[Array, " p"] | None = None
    y_offset: Float[Array, ""] | None = None

    def offsets(self) -> tuple[Float[Array, " p"], Float[Array, ""]]:
        """`x_offset` and `y_offset`, zeros for `None`."""
        x = jnp.zeros_like(self.x_mean) if self.x_offset is None else self.x_offset
        return x, jnp.zeros_like(self.y_mean) if self.y_offset is None else self.y_offset

    def moments(self) -> tuple[Float[Array, "p p"], Float[Array, " p"], Float[Array, ""]]:
        """`gram`, `cross` and `target_square` of the regression; not centred without intercept."""
        x, y = self.offsets()
        lever = self.weight_sum * x
        return (
            self.gram + lever[:, None] * x[None, :],
            self.cross + lever * y,
            self.target_square + self.weight_sum * y**2,
        )

    def without_intercept(self) -> "GramStatistics":
        """The statistics of the same data without an intercept: the means become offsets."""
        x, y = self.offsets()
        return GramStatistics(
            self.gram,
            self.cross,
            self.target_square,
            jnp.zeros_like(self.x_mean),
            jnp.zeros_like(self.y_mean),
            self.weight_sum,
            self.x_mean + x,
            self.y_mean + y,
        )

    def raw_squares(self) -> tuple[Float[Array, " p"], Float[Array, ""]]:
        """Σᵢ wᵢ xᵢⱼ² of every column and Σᵢ wᵢ yᵢ², which bound the rounding of the data."""
        x, y = self.offsets()
        return (
            jnp.diagonal(self.gram) + self.weight_sum * (self.x_mean + x) ** 2,
            self.target_square + self.weight_sum * (self.y_mean + y) ** 2,
        )

    def intercept(self, coef: Float[Array, " p"]) -> Float[Array, ""]:
        """The unpenalised intercept that goes with `coef`."""
        return self.y_mean - jnp.dot(self.x_mean, coef)

    @full_precision
    def squared_error(self, coef: Float[Array, " p"]) -> Float[Array, ""]:
        """Σᵢ wᵢ (yᵢ - ŷᵢ)² of the model with `coef` and its intercept; never negative."""
        x, y = self.offsets()
        value = self.target_square - 2 * jnp.dot(self.cross, coef) + coef @ self.gram @ coef
        return jnp.maximum(value, 0) + self.weight_sum * (y - jnp.dot(x, coef)) ** 2


def extremes(
    values: Float[Array, "n ..."], used: Bool[Array, " n"]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The largest and the least of the rows that are `used`; the first is below without any."""
    used = used.reshape(-1, *(1,) * (values.ndim - 1))
    top = jnp.max(jnp.where(used, values, -jnp.inf), axis=0)
    return top, jnp.min(jnp.where(used, values, jnp.inf), axis=0)


def _about(values: Float[Array, "n ..."], w: Float[Array, " n"], total: Float[Array, ""]):
    """`values` minus their weighted mean, and that mean.

    A second pass takes out what rounding left in the first: with means far from zero that is of
    the size of the last digit of the mean. Columns that are constant over the rows of positive
    weight come out as exactly zero there.
    """
    first = (w @ values) / total
    centred = values - first[None]
    rest = (w @ centred) / total
    centred = centred - rest[None]
    top, low = extremes(values, w > 0)
    used = (w > 0).reshape(-1, *(1,) * (values.ndim - 1))
    # Zero in value only: the derivative in a constant column is that of any other.
    noise = jnp.where((top == low)[None] & used, jax.lax.stop_gradient(centred), 0)
    return centred - noise, first + rest


@full_precision
def centre(
    x: Float[Array, "n p"],
    y: Float[Array, "n ..."],
    sample_weight: Float[Array, " n"] | None = None,
    *,
    fit_intercept: bool = True,
) -> tuple[
    Float[Array, "n p"],
    Float[Array, "n ..."],
    Float[Array, " n"],
    Float[Array, " p"],
    Float[Array, "..."],
]:
    """Weighted centring, without checks.

    **Arguments:** `x`: (n, p); `y`: (n,) or (n, t); `sample_weight`: (n,), 1 by default;
    `fit_intercept`: whether to centre at all.

    **Returns:** `(x - x̄, y - ȳ, w, x̄, ȳ)`, with means of zero without intercept.
    """
    w = jnp.ones_like(x[:, 0]) if sample_weight is None else sample_weight
    if not fit_intercept:
        return x, y, w, jnp.zeros_like(x[0]), jnp.zeros_like(y[0])
    total = jnp.sum(w)
    total = jnp.where(total > 0, total, 1)
    xc, x_mean = _about(x, w, total)
    yc, y_mean = _about(y, w, total)
    return xc, yc, w, x_mean, y_mean


@full_precision
def gram_statistics(
    x: Numbers,
    y: Numbers,
    sample_weight: Numbers | None = None,
    *,
    fit_intercept: bool = True,
) -> GramStatistics:
    """Second moments of a weighted regression of `y` (n,) on `x` (n, p).

    **Arguments:** `x`: (n, p) design; `y`: (n,) target; `sample_weight`: (n,), 1 by default; rows
    of weight 0 have no effect (their cells must be finite); `fit_intercept`: whether the regression
    has an intercept. The squares of the data times `sample_weight` must be within the range of the
    type: in float32, data between about 1e-17 and 1e17.

    **Raises:** `ValueError` for shapes that do not fit, non-numeric input, or negative weights.

    **Example:**

        >>> from syndigits_jax.solvers import gram_statistics
        >>> stats = gram_statistics([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
        >>> print(stats.gram.round(2), stats.cross.round(2), stats.weight_sum)
        [[2.]] [4.] 3.0
    """
    x, y, sample_weight = regression_arrays(x, y, sample_weight)
    xc, yc, w, x_mean, y_mean = centre(x, y, sample_weight)
    weighted = xc * w[:, None]
    no_x, no_y = jnp.zeros_like(x_mean), jnp.zeros_like(y_mean)
    return GramStatistics(
        gram=gram_matrix(weighted, xc),
        cross=weighted.T @ yc,
        target_square=jnp.dot(w, yc**2),
        x_mean=x_mean if fit_intercept else no_x,
        y_mean=y_mean if fit_intercept else no_y,
        weight_sum=jnp.sum(w),
        x_offset=no_x if fit_intercept else x_mean,
        y_offset=no_y if fit_intercept else y_mean,
    )
