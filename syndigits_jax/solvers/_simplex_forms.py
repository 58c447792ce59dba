"""Least squares over the simplex as a pure quadratic form, without units, and its rounding."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .gram import gram_matrix
from .linear_model import GramStatistics
from .simplex import frank_wolfe_gap, uniform_weights
from .units import LARGEST_RATIO, divided, largest, power_of_two


class DenseForm(eqx.Module):
    """The quadratic form wᵀAw from its matrix A, (p, p)."""

    matrix: Float[Array, "p p"]

    def __call__(self, v: Float[Array, " p"]) -> Float[Array, " p"]:
        """The product A v."""
        return self.matrix @ v

    def diagonal(self) -> Float[Array, " p"]:
        """The diagonal of A: the objective at each vertex."""
        return jnp.diagonal(self.matrix)


class FactoredForm(eqx.Module):
    """The quadratic form Σᵢ weightᵢ (D w)ᵢ² + penalty ‖w‖², without its p x p matrix."""

    factor: Float[Array, "n p"]
    weight: Float[Array, " n"]
    penalty: Float[Array, ""]

    def __call__(self, v: Float[Array, " p"]) -> Float[Array, " p"]:
        """The product A v, A = Dᵀ diag(weight) D + penalty I."""
        return (self.weight * (self.factor @ v)) @ self.factor + self.penalty * v

    def diagonal(self) -> Float[Array, " p"]:
        """The diagonal of A: the objective at each vertex."""
        return self.weight @ self.factor**2 + self.penalty


class Rounding(NamedTuple):
    """How much rounding can change a form, in its units: through the data and the second moments.

    - `columns` (p,), `target`: weighted sums of squares of the data as given, not centred
    - `moments` (p,), `moment_target`: diagonals of the second moments that the form is the sum
      of; zero where it is held as the data
    """

    columns: Float[Array, " p"]
    target: Float[Array, ""]
    moments: Float[Array, " p"]
    moment_target: Float[Array, ""]

    def floor(self, w: Float[Array, " p"], value: Float[Array, ""]) -> Float[Array, ""]:
        """How far above its minimum the objective can be at `w`, whatever its gap says.

        An objective is known up to 2 |r| |δr|, with r the residual and δr its change by rounding
        of the data: a third of `eps` of every number (root mean square), on both sides of the
        difference. Sums of products are known up to about `eps` of their size.
        """
        eps = float(jnp.finfo(w.dtype).eps)
        data = jnp.dot(w**2, self.columns) + self.target
        inputs = 1.2 * eps * jnp.sqrt(jnp.maximum(value, 0) * data) + 0.2 * eps**2 * data
        sums = jnp.dot(w**2, self.moments)
        return inputs + eps * (sums + jnp.sqrt(sums * self.moment_target))


def residual_form(
    x: Float[Array, "n p"],
    y: Float[Array, " n"],
    penalty: Float[Array, ""],
    weight: Float[Array, " n"],
    support: Bool[Array, " p"],
) -> tuple[DenseForm | FactoredForm, Rounding]:
    """The objective of weights that sum to one: Xw - y = (X - y1ᵀ)w makes it a pure quadratic.

    Nothing cancels in this form, and its gradient and value come from one product. Columns off
    the support are set to 0, so that they cannot affect the answer. By static shape: the
    p x p matrix where n ≥ p, the factor otherwise. Divided by powers of two, so that it is of the
    size of n whatever the units; minimisers, relative gaps and derivatives stay what they are.
    """
    factor = jnp.where(support[None, :], x - y[:, None], 0)
    used = weight > 0
    unit, weight_unit = largest(jnp.where(used[:, None], factor, 0)), largest(weight)
    factor, weight = divided(factor, unit, used[:, None]), weight / weight_unit
    penalty, shrink = _unitless(penalty / weight_unit / unit / unit)
    weight = weight / shrink
    columns = weight @ divided(jnp.where(support[None, :], x, 0), unit, used[:, None]) ** 2
    target = jnp.dot(weight, divided(y, unit, used) ** 2)
    if x.shape[0] < x.shape[1]:
        none = jnp.zeros_like(columns), jnp.zeros_like(target)
        return FactoredForm(factor, weight, penalty), Rounding(columns, target, *none)
    gram = gram_matrix(factor * weight[:, None], factor)
    rounding = Rounding(columns, target, jnp.diagonal(gram), jnp.zeros_like(target))
    return DenseForm(gram + penalty * jnp.eye(x.shape[1], dtype=x.dtype)), rounding


def gram_form(
    stats: GramStatistics, penalty: Float[Array, ""], support: Bool[Array, " p"]
) -> tuple[DenseForm, Rounding]:
    """The same objective from second moments, which are about the means.

    The difference of the means is added separately: the squares of the means would cost digits.
    """
    x, y = stats.offsets()
    shift = jnp.where(support, x - y, 0)
    moment = stats.gram - stats.cross[:, None] - stats.cross[None, :] + stats.target_square
    moment = jnp.where(support[:, None] & support[None, :], moment, 0)
    moment = moment + stats.weight_sum * shift[:, None] * shift[None, :]
    unit = largest(jnp.diagonal(moment))
    penalty, shrink = _unitless(penalty / unit)
    moment = moment / unit / shrink + penalty * jnp.eye(moment.shape[0], dtype=moment.dtype)
    columns, target = stats.raw_squares()
    diagonal = jnp.diagonal(stats.gram)
    columns, diagonal = (jnp.where(support, a, 0) / unit / shrink for a in (columns, diagonal))
    target, moment_target = (a / unit / shrink for a in (target, stats.target_square))
    return DenseForm(moment), Rounding(columns, target, diagonal, moment_target)


def _unitless(penalty: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The penalty, and a divisor for the rest where the penalty is far larger than the data."""
    shrink = jnp.maximum(power_of_two(jnp.minimum(penalty, LARGEST_RATIO**2)), 1)
    return jnp.minimum(penalty, LARGEST_RATIO**2) / shrink, shrink


def gap_scale(form: DenseForm | FactoredForm, support: Bool[Array, " p"]) -> Float[Array, ""]:
    """The scale of relative gaps.

    The geometric mean of the objective at uniform weights and of its mean over single donors.
    The products in a gap are of this size, so rounding leaves about `eps` of it, however well
    uniform weights fit.
    """
    w = uniform_weights(support, form.diagonal().dtype)
    vertices = jnp.dot(w, form.diagonal())
    eps = float(jnp.finfo(w.dtype).eps)
    scale = jnp.sqrt(jnp.maximum(jnp.dot(w, form(w)), eps * vertices)) * jnp.sqrt(vertices)
    return jnp.where(scale == 0, 1, scale)


def relative_gap(
    w: Float[Array, " p"],
    image: Float[Array, " p"],
    support: Bool[Array, " p"],
    scale: Float[Array, ""],
) -> Float[Array, ""]:
    """The Frank-Wolfe gap of wᵀAw over `support` at `w`, from `image` = Aw, divided by `scale`."""
    return 2 * frank_wolfe_gap(image, w, support=support) / scale


def relative_floor(
    form: DenseForm | FactoredForm,
    rounding: Rounding,
    w: Float[Array, " p"],
    support: Bool[Array, " p"],
) -> Float[Array, ""]:
    """The smallest relative gap that can be certified at `w`; 0 for an objective that is 0.

    **Arguments:** `form`, `rounding`: of the objective, from `residual_form` or `gram_form`; `w`,
    `support`: (p,) weights, and those that are allowed.
    """
    floor = rounding.floor(w, jnp.dot(w, form(w))) / gap_scale(form, support)
    return jnp.where(jnp.any(form.diagonal() != 0), floor, 0)
