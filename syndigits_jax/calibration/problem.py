"""The two array problems that calibrators solve, in one orientation: samples x features.

New questions: samples are users, features the donor questions. New users: samples are questions,
features the donor users. Everything below is pure. The four builders take the same: `human` and
`twin` donors, the twins' answers to the target, the weights of the users, and the settings.
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..inference.alike import alike
from ..panel import Responses
from ..solvers.linear_model import GramStatistics, gram_statistics
from ..solvers.precision import full_precision
from .settings import Number, Settings


class Regression(eqx.Module):
    """Fit on the twins, apply to the humans (the paper's Algorithm 1), in scaled units.

    - `x_twin`, `y_twin`, `weight`: the twins' donors, target and sample weights.
    - `x_human`: the humans' donors.
    - `centre`, `scale`: (s,) map a prediction z back to `centre + scale * z`.
    - `donor_weight`: (s,) sample weights of the donors alone, whether or not the target was
      answered; `None` if all are equal.
    - `moments`: second moments of the training set, or `None` (see `with_moments`).
    - `twins_alike`: whether the twins' answers to the target do not vary, so that a fit to them
      has no error and carries no information.
    """

    x_twin: Float[Array, "s p"]
    y_twin: Float[Array, " s"]
    weight: Float[Array, " s"]
    x_human: Float[Array, "s p"]
    centre: Float[Array, " s"]
    scale: Float[Array, " s"]
    moments: GramStatistics | None = None
    donor_weight: Float[Array, " s"] | None = None
    twins_alike: Bool[Array, ""] | bool = False

    def training_set(self) -> tuple[Array, Array, Array]:
        """`(x, y, sample_weight)` of the twins."""
        return self.x_twin, self.y_twin, self.weight

    @property
    def donors(self) -> Float[Array, "s p"]:
        """The humans' donors."""
        return self.x_human

    def with_moments(self) -> "Regression":
        """Add the training set's second moments if they are smaller than the data.

        They are what ridge, lasso, elastic net and synthetic control share.
        """
        x, y, weight = self.training_set()
        if x.shape[0] < x.shape[1]:
            return self
        moments = gram_statistics(x, y, weight)
        return eqx.tree_at(lambda r: r.moments, self, moments, is_leaf=lambda leaf: leaf is None)

    def training_mse(self, fitted: Float[Array, " s"]) -> Float[Array, ""]:
        """Mean squared error of fitted values on the twins, in scaled units."""
        return weighted_mean((self.y_twin - fitted) ** 2, self.weight)


class Stack(eqx.Module):
    """Humans joined with twins, the humans' targets missing (Algorithm 2), in scaled units.

    - `values`, `mask`: the joined matrix. With layout `"over"` (2s, f) humans above twins, as in
      the paper's Figure 1; with `"beside"` (s, 2f) humans left of twins. The last t of the f
      columns of each half are the targets.
    - `weight`: row weights, or `None`.
    - `centre`, `scale`: (s, t), to map predictions back.
    - `twins_alike`: (t,) whether the twins' answers to a target do not vary.
    - `incomplete`: how many columns have missing entries, at most; `None` if all may.
    """

    values: Float[Array, "rows columns"]
    mask: Bool[Array, "rows columns"]
    weight: Float[Array, " rows"] | None
    centre: Float[Array, "s t"]
    scale: Float[Array, "s t"]
    twins_alike: Bool[Array, " t"]
    layout: Literal["over", "beside"] = eqx.field(static=True, default="over")
    incomplete: int | None = eqx.field(static=True, default=None)

    @property
    def targets(self) -> int:
        """t, the number of target columns."""
        return self.centre.shape[1]

    def human(self, joined: Array) -> Array:
        """The humans' half (s, f) of a matrix of the stack's shape."""
        rows, columns = self.values.shape
        return joined[: rows // 2] if self.layout == "over" else joined[:, : columns // 2]

    @property
    def donors(self) -> Float[Array, "s p"]:
        """The humans' donors, 0 (their mean) where missing."""
        return self.human(self.values)[:, : -self.targets]

    def twin(self, joined: Array) -> Array:
        """The twins' half (s, f) of a matrix of the stack's shape."""
        rows, columns = self.values.shape
        return joined[rows // 2 :] if self.layout == "over" else joined[:, columns // 2 :]


def weighted_mean(values: Float[Array, " s"], weight: Float[Array, " s"]) -> Float[Array, ""]:
    """Mean of `values`; 0 if all weights are 0."""
    total = jnp.sum(weight)
    return jnp.sum(weight * values) / jnp.where(total > 0, total, 1)


def moments_over(
    x: Float[Array, "n m"], weight: Float[Array, "n m"], axis: int, min_std: Number
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Weighted mean and population standard deviation along `axis`, which is kept with size 1.

    **Arguments:**

    - `x`: (n, m) numbers; those of weight 0 must be finite too.
    - `weight`: (n, m) weights, at least 0.
    - `axis`: the axis to sum over.
    - `min_std`: a standard deviation below this is replaced by it, one that is zero to rounding
      by 1.

    **Returns:** the means and the standard deviations.
    """
    total = jnp.sum(weight, axis=axis, keepdims=True)
    total = jnp.where(total > 0, total, 1)
    mean = jnp.sum(weight * x, axis=axis, keepdims=True) / total
    # The mean of many numbers is off by more than their rounding, so even equal numbers would
    # deviate from it; a second pass corrects that.
    mean = mean + jnp.sum(weight * (x - mean), axis=axis, keepdims=True) / total
    square = jnp.sum(weight * (x - mean) ** 2, axis=axis, keepdims=True) / total
    size = jnp.max(jnp.abs(jnp.where(weight > 0, x, 0)), axis=axis, keepdims=True)
    rounding = 16 * jnp.finfo(x.dtype).eps * size
    varies = (square > rounding**2) & ~alike(x, weight > 0, axis, keepdims=True)
    std = jnp.maximum(jnp.sqrt(jnp.where(varies, square, 1)), min_std)
    return mean, jnp.where(varies, std, 1)


def scaled_columns(
    x: Float[Array, "n m"], weight: Float[Array, "n m"], min_std: Number
) -> tuple[Float[Array, "n m"], Float[Array, "1 m"], Float[Array, "1 m"]]:
    """Columns less their weighted mean, over their standard deviation; and both of these.

    A column that does not vary among its entries of positive weight is 0 throughout: as a donor
    it carries no information.
    """
    mean, std = moments_over(x, weight, 0, min_std)
    constant = alike(x, weight > 0, 0, keepdims=True)
    return jnp.where(constant, 0, (x - mean) / std), mean, std


def _user_weight(weight: Float[Array, " n"] | None, donors: Responses) -> Float[Array, " n"]:
    """The weights of the users, 1 where none are given."""
    return jnp.ones((donors.shape[0],), donors.dtype) if weight is None else weight


@full_precision
def question_regression(
    human: Responses,
    twin: Responses,
    target: Responses,
    weight: Float[Array, " n"] | None,
    settings: Settings,
) -> Regression:
    """The regression problem of one new question (Algorithm 1).

    Donors are scaled by column, each side by its own statistics; the target by the twins'.

    **Arguments:**

    - `human`, `twin`: (n, p) imputed answers to the donor questions; their masks are not read.
    - `target`: (n,) the twins' answers to the new question.
    - `weight`: (n,) weights of the users; `None` if equal.
    - `settings`: see [`Preparation`][]. With `missing_target="drop"` a missing answer to the target
      has weight 0 in the fit; if not, it counts as the mean answer.

    **Returns:** the [`Regression`][], with users as samples.
    """
    min_std, missing = settings.preparation.min_std, settings.preparation.missing_target
    weight = _user_weight(weight, human)
    everyone = jnp.broadcast_to(weight[:, None], human.shape)
    x_human, _, _ = scaled_columns(human.values, everyone, min_std)
    x_twin, _, _ = scaled_columns(twin.values, everyone, min_std)
    present = target.mask.astype(target.dtype) * weight
    mean, std = moments_over(target.values[:, None], present[:, None], 0, min_std)
    return Regression(
        x_twin=x_twin,
        y_twin=jnp.where(target.mask, (target.values - mean[0]) / std[0], 0),
        weight=present if missing == "drop" else weight,
        x_human=x_human,
        centre=jnp.broadcast_to(mean[0], target.shape),
        scale=jnp.broadcast_to(std[0], target.shape),
        donor_weight=weight,
        twins_alike=alike(target.values, present > 0, 0),
    ).with_moments()


@full_precision
def user_regression(
    human: Responses,
    twin: Responses,
    target: Responses,
    weight: Float[Array, " d"] | None,
    settings: Settings,
) -> Regression:
    """The regression problem of one new user (section 6).

    Every question is scaled by its donors' statistics, each side by its own, and the target user's
    twin by the twins'; then users become features.

    **Arguments:**

    - `human`, `twin`: (d, m) imputed answers of the d donor users and of their twins.
    - `target`: (m,) the answers of the new user's twin.
    - `weight`: (d,) weights of the donor users in the questions' statistics; `None` if equal.
    - `settings`: see [`Preparation`][] and [`NewUsers`][]. With `missing_target="drop"` questions
      that the target's twin did not answer, or that all donor twins answer alike, have weight 0 in
      the fit.

    **Returns:** the [`Regression`][], with questions as samples.
    """
    min_std, missing = settings.preparation.min_std, settings.preparation.missing_target
    limit = settings.new_users.outlier_limit
    weight = _user_weight(weight, human)
    everyone = jnp.broadcast_to(weight[:, None], human.shape)
    x_human, human_mean, human_std = scaled_columns(human.values, everyone, min_std)
    x_twin, twin_mean, twin_std = scaled_columns(twin.values, everyone, min_std)
    y = jnp.where(target.mask, (target.values - twin_mean[0]) / twin_std[0], 0)
    y = jnp.clip(y, -limit, limit)
    counted = (weight > 0)[:, None]
    high = jnp.max(jnp.where(counted, twin.values, -jnp.inf), axis=0)
    low = jnp.min(jnp.where(counted, twin.values, jnp.inf), axis=0)
    # Imputed answers to a constant question differ by the tolerance of the imputation.
    varies = high - low > 1e-4 * jnp.maximum(jnp.abs(high), jnp.abs(low))
    used = (target.mask & varies).astype(target.dtype)
    by_humans = settings.new_users.statistics == "human"
    mean, std = (human_mean, human_std) if by_humans else (twin_mean, twin_std)
    size = _scaled_size(target.values, twin_mean[0], twin_std[0])
    return Regression(
        x_twin=x_twin.T,
        y_twin=y,
        weight=used if missing == "drop" else jnp.ones_like(y),
        x_human=x_human.T,
        centre=mean[0],
        scale=std[0],
        twins_alike=alike(target.values, target.mask, 0) | alike(y, used > 0, 0, size=size),
    ).with_moments()


@full_precision
def question_stack(
    human: Responses,
    twin: Responses,
    target: Responses,
    weight: Float[Array, " n"] | None,
    settings: Settings,
    incomplete: int | None = None,
) -> Stack:
    """The completion problem of one new question (Algorithm 2): humans above twins.

    Columns are scaled by their observed statistics; the target column comes last.

    **Arguments:**

    - `human`, `twin`: (n, p) answers to the donor questions.
    - `target`: (n,) the twins' answers to the new question.
    - `weight`: (n,) weights of the users; `None` if equal.
    - `settings`: see [`Preparation`][].
    - `incomplete`: the most columns, the target's too, in which a human's or a twin's answer is
      missing, where it is known.

    **Returns:** the [`Stack`][], with users as samples and layout `"over"`.
    """
    min_std, ones = settings.preparation.min_std, _user_weight(weight, human)
    nobody = Responses(jnp.zeros_like(target.values), jnp.zeros_like(target.mask))
    twin = _joined(twin, _as_column(target), 1)
    twin, mean, std = _scale_observed(twin, ones, min_std)
    human, _, _ = _scale_observed(human, ones, min_std)
    stack = _joined(_joined(human, _as_column(nobody), 1), twin, 0)
    column = (target.shape[0], 1)
    return Stack(
        values=stack.values,
        mask=stack.mask,
        weight=None if weight is None else jnp.concatenate([weight, weight]),
        centre=jnp.broadcast_to(mean[:, -1:], column),
        scale=jnp.broadcast_to(std[:, -1:], column),
        twins_alike=alike(target.values, target.mask & (ones > 0), 0)[None],
        incomplete=incomplete,
    )


@full_precision
def user_stack(
    human: Responses,
    twin: Responses,
    targets: Responses,
    weight: Float[Array, " d"] | None,
    settings: Settings,
) -> Stack:
    """The completion problem of t new users: questions as rows, donors and then targets as columns.

    Questions are scaled by observed statistics: the humans' by the donors', the twins' by those of
    all twins, in which a new user's twin has the mean weight of the users of positive weight.

    **Arguments:**

    - `human`, `twin`: (d, m) the answers of the donor users and of their twins.
    - `targets`: (t, m) the answers of the new users' twins.
    - `weight`: (d,) weights of the donor users in the questions' statistics; `None` if equal.
    - `settings`: see [`Preparation`][] and [`NewUsers`][]. With `stack="over"` a user's human and
      twin answers are in one column, so that the twin informs the new user's prediction; `"beside"`
      gives them separate columns.

    **Returns:** the [`Stack`][], with questions as samples and t targets.
    """
    min_std, rule = settings.preparation.min_std, settings.new_users
    t, m = targets.shape
    weight = _user_weight(weight, human)
    count = jnp.maximum(jnp.sum((weight > 0).astype(targets.dtype)), 1)
    average = jnp.broadcast_to(jnp.sum(weight) / count, (t,))
    twin, twin_mean, twin_std = _scale_observed(
        _joined(twin, targets, 0), jnp.concatenate([weight, average]), min_std
    )
    scaled = jnp.clip(twin.values[-t:], -rule.outlier_limit, rule.outlier_limit)
    twin = Responses(twin.values.at[-t:].set(scaled), twin.mask)
    human, human_mean, human_std = _scale_observed(human, weight, min_std)
    by_humans = rule.statistics == "human"
    mean, std = (human_mean, human_std) if by_humans else (twin_mean, twin_std)
    nobody = Responses(jnp.zeros_like(targets.values), jnp.zeros_like(targets.mask))
    stack = _joined(_joined(human, nobody, 0).T, twin.T, 0 if rule.stack == "over" else 1)
    size = _scaled_size(targets.values, twin_mean, twin_std)
    return Stack(
        values=stack.values,
        mask=stack.mask,
        weight=None,
        centre=jnp.broadcast_to(mean.T, (m, t)),
        scale=jnp.broadcast_to(std.T, (m, t)),
        twins_alike=alike(targets.values, targets.mask, 1)
        | alike(scaled, targets.mask, 1, size=size),
        layout=rule.stack,
    )


def _as_column(target: Responses) -> Responses:
    return Responses(target.values[:, None], target.mask[:, None])


def _joined(first: Responses, second: Responses, axis: int) -> Responses:
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis), first, second)


def _scaled_size(x, mean, std):
    """The size that the rounding error of (x - mean) / std is relative to."""
    return jnp.maximum(jnp.abs(x), jnp.abs(mean)) / std


def _scale_observed(
    x: Responses, row_weight: Float[Array, " n"], min_std: Number
) -> tuple[Responses, Float[Array, "1 m"], Float[Array, "1 m"]]:
    """Columns centred and scaled by their observed entries; missing entries become 0."""
    weight = x.mask.astype(x.dtype) * row_weight[:, None]
    scaled, mean, std = scaled_columns(x.values, weight, min_std)
    return Responses(jnp.where(x.mask, scaled, 0), x.mask), mean, std
