"""The affine model that regressions return, and the sufficient statistics they share."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._precision import full_precision


class LinearModel(eqx.Module):
    """`x @ coef + intercept`."""

    coef: Float[Array, "*batch p"]
    intercept: Float[Array, "*batch"]

    @full_precision
    def __call__(self, x: Float[Array, "*n p"]) -> Float[Array, "*n"]:
        """Predict for rows of `x`; one unbatched model only (use `jax.vmap` over models)."""
        return x @ self.coef + self.intercept


class GramStatistics(eqx.Module):
    """Weighted, centred second moments of a regression: all that a squared loss needs.

    With weights w (sum W) and weighted means x̄, ȳ (zero without intercept):

    - `gram`: Σᵢ wᵢ (xᵢ - x̄)(xᵢ - x̄)ᵀ, shape (p, p)
    - `cross`: Σᵢ wᵢ (xᵢ - x̄)(yᵢ - ȳ), shape (p,)
    - `target_square`: Σᵢ wᵢ (yᵢ - ȳ)²
    - `x_mean`, `y_mean`, `weight_sum`
    """

    gram: Float[Array, "p p"]
    cross: Float[Array, " p"]
    target_square: Float[Array, ""]
    x_mean: Float[Array, " p"]
    y_mean: Float[Array, ""]
    weight_sum: Float[Array, ""]

    def intercept(self, coef: Float[Array, " p"]) -> Float[Array, ""]:
        """The unpenalised intercept that goes with `coef`."""
        return self.y_mean - jnp.dot(self.x_mean, coef)

    @full_precision
    def squared_error(self, coef: Float[Array, " p"]) -> Float[Array, ""]:
        """Σᵢ wᵢ (yᵢ - ŷᵢ)² of the model with `coef` and its intercept; never negative."""
        value = self.target_square - 2 * jnp.dot(self.cross, coef) + coef @ self.gram @ coef
        return jnp.maximum(value, 0)


@full_precision
def centre(
    x: Float[Array, "n p"],
    y: Float[Array, " n"],
    sample_weight: Float[Array, " n"] | None = None,
    *,
    fit_intercept: bool = True,
) -> tuple[
    Float[Array, "n p"],
    Float[Array, " n"],
    Float[Array, " n"],
    Float[Array, " p"],
    Float[Array, ""],
]:
    """Weighted centring: `(x - x̄, y - ȳ, w, x̄, ȳ)`; the means are zero without intercept."""
    w = jnp.ones_like(y) if sample_weight is None else sample_weight
    if not fit_intercept:
        return x, y, w, jnp.zeros_like(x[0]), jnp.zeros_like(y[0])
    total = jnp.sum(w)
    total = jnp.where(total > 0, total, 1)
    x_mean = (w @ x) / total
    y_mean = jnp.dot(w, y) / total
    return x - x_mean[None, :], y - y_mean, w, x_mean, y_mean


@full_precision
def gram_statistics(
    x: Float[Array, "n p"],
    y: Float[Array, " n"],
    sample_weight: Float[Array, " n"] | None = None,
    *,
    fit_intercept: bool = True,
) -> GramStatistics:
    """Second moments of a weighted regression of `y` on `x`; rows of weight 0 take no part."""
    xc, yc, w, x_mean, y_mean = centre(x, y, sample_weight, fit_intercept=fit_intercept)
    weighted = xc * w[:, None]
    return GramStatistics(
        gram=weighted.T @ xc,
        cross=weighted.T @ yc,
        target_square=jnp.dot(w, yc**2),
        x_mean=x_mean,
        y_mean=y_mean,
        weight_sum=jnp.sum(w),
    )
