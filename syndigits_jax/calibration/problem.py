"""The two array problems that calibrators solve, in one orientation: samples x features.

New questions: samples are users, features the donor questions. New users: samples are questions,
features the donor users. Everything below is pure; missing entries are 0 with a mask.
"""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..inference.alike import alike
from ..solvers.linear_model import GramStatistics, gram_statistics
from ..solvers.precision import full_precision


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
    """

    values: Float[Array, "rows columns"]
    mask: Bool[Array, "rows columns"]
    weight: Float[Array, " rows"] | None
    centre: Float[Array, "s t"]
    scale: Float[Array, "s t"]
    twins_alike: Bool[Array, " t"]
    layout: Literal["over", "beside"] = eqx.field(static=True, default="over")

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
    x: Float[Array, "n m"], weight: Float[Array, "n m"], axis: int, min_std: float
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
    x: Float[Array, "n m"], weight: Float[Array, "n m"], min_std: float
) -> tuple[Float[Array, "n m"], Float[Array, "1 m"], Float[Array, "1 m"]]:
    """Columns less their weighted mean, over their standard deviation; and both of these.

    A column that does not vary among its entries of positive weight is 0 throughout: as a donor
    it carries no information.
    """
    mean, std = moments_over(x, weight, 0, min_std)
    constant = alike(x, weight > 0, 0, keepdims=True)
    return jnp.where(constant, 0, (x - mean) / std), mean, std


@full_precision
def question_regression(
    human: Float[Array, "n p"],
    twin: Float[Array, "n p"],
    target: Float[Array, " n"],
    target_mask: Bool[Array, " n"],
    *,
    user_weight: Float[Array, " n"],
    min_std: float,
    drop_missing: bool,
) -> Regression:
    """The regression problem of one new question (Algorithm 1).

    Donors are scaled by column, each side by its own statistics; the target by the twins'.

    **Arguments:**

    - `human`, `twin`: (n, p) imputed answers to the donor questions.
    - `target`: (n,) the twins' answers to the new question, 0 where missing.
    - `target_mask`: (n,) where they are not missing.
    - `user_weight`: (n,) weights of the users.
    - `min_std`: a standard deviation below this counts as this, in the unit of the answers.
    - `drop_missing`: whether a missing answer to the target has weight 0 in the fit; if not, it
      counts as the mean answer.

    **Returns:** the [`Regression`][], with users as samples.
    """
    everyone = jnp.broadcast_to(user_weight[:, None], human.shape)
    x_human, _, _ = scaled_columns(human, everyone, min_std)
    x_twin, _, _ = scaled_columns(twin, everyone, min_std)
    present = target_mask.astype(target.dtype) * user_weight
    mean, std = moments_over(target[:, None], present[:, None], 0, min_std)
    y = jnp.where(target_mask, (target - mean[0]) / std[0], 0)
    centre = jnp.broadcast_to(mean[0], target.shape)
    scale = jnp.broadcast_to(std[0], target.shape)
    return Regression(
        x_twin=x_twin,
        y_twin=y,
        weight=present if drop_missing else user_weight,
        x_human=x_human,
        centre=centre,
        scale=scale,
        donor_weight=user_weight,
        twins_alike=alike(target, present > 0, 0),
    ).with_moments()


@full_precision
def user_regression(
    human: Float[Array, "d m"],
    twin: Float[Array, "d m"],
    target: Float[Array, " m"],
    target_mask: Bool[Array, " m"],
    *,
    user_weight: Float[Array, " d"],
    min_std: float,
    drop_missing: bool,
    human_statistics: bool,
    outlier_limit: float,
) -> Regression:
    """The regression problem of one new user (section 6).

    Every question is scaled by its donors' statistics, each side by its own, and the target user's
    twin by the twins'; then users become features.

    **Arguments:**

    - `human`, `twin`: (d, m) imputed answers of the d donor users and of their twins.
    - `target`: (m,) the answers of the new user's twin, 0 where missing.
    - `target_mask`: (m,) where they are not missing.
    - `user_weight`: (d,) weights of the donor users in the questions' statistics.
    - `min_std`: as in [`question_regression`][].
    - `drop_missing`: whether questions that the target's twin did not answer, or that all donor
      twins answer alike, have weight 0 in the fit.
    - `human_statistics`: whether predictions are mapped back by the humans' means and standard
      deviations; if not, by the twins'.
    - `outlier_limit`: the target's scaled answers are clipped to this many standard deviations.

    **Returns:** the [`Regression`][], with questions as samples.
    """
    everyone = jnp.broadcast_to(user_weight[:, None], human.shape)
    x_human, human_mean, human_std = scaled_columns(human, everyone, min_std)
    x_twin, twin_mean, twin_std = scaled_columns(twin, everyone, min_std)
    y = jnp.where(target_mask, (target - twin_mean[0]) / twin_std[0], 0)
    y = jnp.clip(y, -outlier_limit, outlier_limit)
    counted = (user_weight > 0)[:, None]
    high = jnp.max(jnp.where(counted, twin, -jnp.inf), axis=0)
    low = jnp.min(jnp.where(counted, twin, jnp.inf), axis=0)
    # Imputed answers to a constant question differ by the tolerance of the imputation.
    varies = high - low > 1e-4 * jnp.maximum(jnp.abs(high), jnp.abs(low))
    used = (target_mask & varies).astype(target.dtype)
    weight = used if drop_missing else jnp.ones_like(target)
    mean, std = (human_mean, human_std) if human_statistics else (twin_mean, twin_std)
    return Regression(
        x_twin=x_twin.T,
        y_twin=y,
        weight=weight,
        x_human=x_human.T,
        centre=mean[0],
        scale=std[0],
        twins_alike=alike(target, target_mask, 0)
        | alike(y, used > 0, 0, size=_scaled_size(target, twin_mean[0], twin_std[0])),
    ).with_moments()


@full_precision
def question_stack(
    human: Float[Array, "n p"],
    human_mask: Bool[Array, "n p"],
    twin: Float[Array, "n p"],
    twin_mask: Bool[Array, "n p"],
    target: Float[Array, " n"],
    target_mask: Bool[Array, " n"],
    *,
    user_weight: Float[Array, " n"] | None,
    min_std: float,
) -> Stack:
    """The completion problem of one new question (Algorithm 2): humans above twins.

    Columns are scaled by their observed statistics; the target column comes last.

    **Arguments:**

    - `human`, `human_mask`: (n, p) answers to the donor questions, 0 where missing, and where
      they are not missing.
    - `twin`, `twin_mask`: (n, p) the same of the twins.
    - `target`, `target_mask`: (n,) the twins' answers to the new question, likewise.
    - `user_weight`: (n,) weights of the users; `None` if they are equal.
    - `min_std`: as in [`question_regression`][].

    **Returns:** the [`Stack`][], with users as samples and layout `"over"`.
    """
    twin = jnp.concatenate([twin, target[:, None]], axis=1)
    twin_mask = jnp.concatenate([twin_mask, target_mask[:, None]], axis=1)
    weight = jnp.ones_like(target) if user_weight is None else user_weight
    twin, mean, std = _scale_observed(twin, twin_mask, weight, min_std)
    human, _, _ = _scale_observed(human, human_mask, weight, min_std)
    centre = jnp.broadcast_to(mean[:, -1:], (target.shape[0], 1))
    scale = jnp.broadcast_to(std[:, -1:], (target.shape[0], 1))
    human = jnp.concatenate([human, jnp.zeros_like(target)[:, None]], axis=1)
    human_mask = jnp.concatenate([human_mask, jnp.zeros((target.shape[0], 1), bool)], axis=1)
    return Stack(
        values=jnp.concatenate([human, twin]),
        mask=jnp.concatenate([human_mask, twin_mask]),
        weight=None if user_weight is None else jnp.concatenate([user_weight, user_weight]),
        centre=centre,
        scale=scale,
        twins_alike=alike(target, target_mask & (weight > 0), 0)[None],
    )


@full_precision
def user_stack(
    human: Float[Array, "d m"],
    human_mask: Bool[Array, "d m"],
    twin: Float[Array, "d m"],
    twin_mask: Bool[Array, "d m"],
    targets: Float[Array, "t m"],
    target_masks: Bool[Array, "t m"],
    *,
    user_weight: Float[Array, " d"],
    min_std: float,
    human_statistics: bool,
    outlier_limit: float,
    layout: Literal["over", "beside"],
) -> Stack:
    """The completion problem of t new users: questions as rows, donors and then targets as columns.

    Questions are scaled by observed statistics: the humans' by the donors', the twins' by those of
    all twins, in which a new user's twin has the mean weight of the users of positive weight.

    **Arguments:**

    - `human`, `human_mask`: (d, m) the donor users' answers, 0 where missing, and where they are
      not missing.
    - `twin`, `twin_mask`: (d, m) the same of their twins.
    - `targets`, `target_masks`: (t, m) the same of the new users' twins.
    - `user_weight`: (d,) weights of the donor users in the questions' statistics.
    - `min_std`: as in [`question_regression`][].
    - `human_statistics`, `outlier_limit`: as in [`user_regression`][].
    - `layout`: `"over"` joins a user's human and twin answers in one column, so that the twin
      informs the new user's prediction; `"beside"` gives them separate columns.

    **Returns:** the [`Stack`][], with questions as samples and t targets.
    """
    t = targets.shape[0]
    count = jnp.maximum(jnp.sum((user_weight > 0).astype(targets.dtype)), 1)
    average = jnp.broadcast_to(jnp.sum(user_weight) / count, (t,))
    twin_weight = jnp.concatenate([user_weight, average])
    twin = jnp.concatenate([twin, targets])
    twin_mask = jnp.concatenate([twin_mask, target_masks])
    twin, twin_mean, twin_std = _scale_observed(twin, twin_mask, twin_weight, min_std)
    scaled = jnp.clip(twin[-t:], -outlier_limit, outlier_limit)
    twin = twin.at[-t:].set(scaled)
    human, human_mean, human_std = _scale_observed(human, human_mask, user_weight, min_std)
    mean, std = (human_mean, human_std) if human_statistics else (twin_mean, twin_std)
    human = jnp.concatenate([human, jnp.zeros_like(targets)])
    human_mask = jnp.concatenate([human_mask, jnp.zeros(targets.shape, bool)])
    axis = 0 if layout == "over" else 1
    return Stack(
        values=jnp.concatenate([human.T, twin.T], axis),
        mask=jnp.concatenate([human_mask.T, twin_mask.T], axis),
        weight=None,
        centre=jnp.broadcast_to(mean.T, (targets.shape[1], t)),
        scale=jnp.broadcast_to(std.T, (targets.shape[1], t)),
        twins_alike=alike(targets, target_masks, 1)
        | alike(scaled, target_masks, 1, size=_scaled_size(targets, twin_mean, twin_std)),
        layout=layout,
    )


def _scaled_size(x, mean, std):
    """The size that the rounding error of (x - mean) / std is relative to."""
    return jnp.maximum(jnp.abs(x), jnp.abs(mean)) / std


def _scale_observed(x, mask, row_weight, min_std):
    """Columns centred and scaled by their observed entries; missing entries become 0."""
    weight = mask.astype(x.dtype) * row_weight[:, None]
    scaled, mean, std = scaled_columns(x, weight, min_std)
    return jnp.where(mask, scaled, 0), mean, std
