"""Adaptive transfer: calibrate a target only where calibration can be expected to help.

The published rule (SYN-DIGITS, section 5.3) uses the calibrated prediction where the training
error on the twins is at most a threshold τ, and the twins' own answers otherwise. Its figure picks
the τ that is best on the very questions it is scored on; `leave_one_out_threshold` picks it on
the other questions. `uncertainty_rule` and `local_uncertainty_rule` compare conformal bounds on
the two errors instead, and need no threshold.

**Constant twin answers.** If all twins answer a question alike, there is nothing to fit, and the
training error is NaN: no rule transfers it. In the reference settings (`alike_twins="fitted"`) the
error is 0 as published, and the threshold rule transfers it at every τ. The fit-and-transfer
methods then predict a constant too, and by the Pearson rule for constants both choices score 0: on
such questions the decision changes no correlation, though it does change errors and the scores of
the matrix completions. `on_constant` decides how they are treated:

- `"rule"`: nothing special, decide by the training error;
- `"baseline"`: never transfer;
- `"calibrated"`: always transfer;
- `"exclude"`: leave them out of every mean.

Longer than 400 lines: the published rule and its alternatives are read side by side.
"""

import functools
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..inference.alike import alike
from ..inference.conformal import conformal_quantile, leave_one_out_quantiles
from ..solvers.boundary import Numbers, as_float, as_floats, as_mask
from ..solvers.checks import check_positive, check_probability
from ..solvers.precision import full_precision
from .metrics import Summary, summarize

if TYPE_CHECKING:
    from .holdout_result import HoldOut

PerTarget = Numbers  # (t,)
Flags = Numbers  # (t,) booleans

THRESHOLDS = tuple(step / 100 for step in range(101))
"""The published sweep of τ: 0, 0.01, ..., 1."""


def transfer_decision(
    training_mse: PerTarget,
    tau: Numbers,
    *,
    constant: Flags | None = None,
    on_constant: str = "rule",
) -> Bool[Array, " t"]:
    """True where the training error on the twins is at most `tau`; never for a NaN error.

    **Arguments:**

    - `training_mse`: (t,) training errors of the targets.
    - `tau`: the threshold τ (section 5.3).
    - `constant`: (t,) which targets have constant twin answers; needed unless `on_constant` is
      `"rule"`.
    - `on_constant`: what to do with those, see the module; `"exclude"` gives false here.

    **Raises:** `ValueError` for an unknown `on_constant`, or if it needs `constant` and that is
    not given.

    **Example:**

        >>> from syndigits_jax.evaluation.adaptive import transfer_decision
        >>> print(transfer_decision([0.2, 0.7, float("nan")], 0.5))
        [ True False False]
    """
    training_mse, tau = as_floats(training_mse=training_mse, tau=tau)
    decision = training_mse <= tau
    if on_constant not in ("rule", "baseline", "calibrated", "exclude"):
        raise ValueError(
            f"on_constant: 'rule', 'baseline', 'calibrated' or 'exclude', got {on_constant!r}"
        )
    if on_constant == "rule":
        return decision
    if constant is None:
        raise ValueError(f"constant: needed for on_constant={on_constant!r}")
    return jnp.where(as_mask("constant", constant), on_constant == "calibrated", decision)


def adapt(
    decision: Flags,
    calibrated: Numbers,
    baseline: Numbers,
) -> Float[Array, " t *cells"]:
    """`calibrated` where `decision` (t,) is to transfer, else `baseline`: scores or predictions.

    **Example:**

        >>> from syndigits_jax.evaluation.adaptive import adapt
        >>> print(adapt([True, False], [0.6, 0.5], [0.4, 0.3]))
        [0.6 0.3]
    """
    calibrated, baseline = as_floats(calibrated=calibrated, baseline=baseline)
    decision = as_mask("decision", decision)
    shape = (-1,) + (1,) * (calibrated.ndim - 1)
    return jnp.where(
        jnp.broadcast_to(decision.reshape(shape), calibrated.shape), calibrated, baseline
    )


def _scores_per_threshold(
    calibrated: PerTarget,
    baseline: PerTarget,
    training_mse: PerTarget,
    taus: Numbers,
    constant: Flags | None,
    on_constant: str,
) -> tuple[Float[Array, " g"], Bool[Array, "g t"], Float[Array, "g t"]]:
    calibrated, baseline, training_mse = as_floats(
        calibrated=calibrated, baseline=baseline, training_mse=training_mse
    )
    grid = as_float("taus", taus).astype(calibrated.dtype)

    def one(tau: Float[Array, ""]) -> Bool[Array, " t"]:
        return transfer_decision(training_mse, tau, constant=constant, on_constant=on_constant)

    decisions = jax.vmap(one)(grid)
    scores = jax.vmap(adapt, in_axes=(0, None, None))(decisions, calibrated, baseline)
    if on_constant == "exclude":
        scores = jnp.where(as_mask("constant", constant)[None, :], jnp.nan, scores)
    return grid, decisions, scores


class AdaptiveCurve(eqx.Module):
    """The mean score at every threshold (Figure 5).

    - `tau`: the thresholds.
    - `summary`: mean, standard error and count of the scores at each.
    - `share`: fraction of the counted targets that are transferred.
    """

    tau: Float[Array, " g"]
    summary: Summary
    share: Float[Array, " g"]


def adaptive_curve(
    calibrated: PerTarget,
    baseline: PerTarget,
    training_mse: PerTarget,
    taus: Numbers = THRESHOLDS,
    *,
    constant: Flags | None = None,
    on_constant: str = "rule",
) -> AdaptiveCurve:
    """Scores of the threshold rule for every τ.

    The best point of the curve is chosen on the targets it is averaged over, so it is optimistic.

    **Arguments:**

    - `calibrated`, `baseline`: (t,) scores of the two predictions; NaN scores are not counted.
    - `training_mse`, `constant`, `on_constant`: as in [`transfer_decision`][]; `"exclude"` leaves
      constant targets out of the means.
    - `taus`: (g,) thresholds; the published sweep by default.

    **Returns:** an [`AdaptiveCurve`][]. **Raises:** as [`transfer_decision`][].

    **Example:**

        >>> from syndigits_jax.evaluation.adaptive import adaptive_curve, best_threshold
        >>> calibrated, baseline, error = [0.6, 0.5, 0.1], [0.4, 0.3, 0.3], [0.2, 0.4, 0.9]
        >>> curve = adaptive_curve(calibrated, baseline, error, taus=[0.1, 0.5, 1.0])
        >>> print(curve.share.round(2), best_threshold(curve))
        [0.   0.67 1.  ] 0.5
    """
    grid, decisions, scores = _scores_per_threshold(
        calibrated, baseline, training_mse, taus, constant, on_constant
    )
    counted = ~jnp.isnan(scores)
    transferred = jnp.sum(decisions & counted, axis=1, dtype=scores.dtype)
    total = jnp.maximum(jnp.sum(counted, axis=1, dtype=scores.dtype), 1)
    return AdaptiveCurve(grid, jax.vmap(summarize)(scores), transferred / total)


def best_threshold(curve: AdaptiveCurve, *, maximize: bool = True) -> Float[Array, ""]:
    """The τ with the best mean score, for use on new questions. Ties go to the smallest τ."""
    mean = curve.summary.mean if maximize else -curve.summary.mean
    return curve.tau[jnp.nanargmax(mean)]


class AdaptiveChoice(eqx.Module):
    """A decision per target, the score it leads to, and the summary of those scores.

    - `tau`: the threshold used for each target (NaN for rules without one).
    """

    tau: Float[Array, " t"]
    transferred: Bool[Array, " t"]
    scores: Float[Array, " t"]
    summary: Summary


@full_precision
def leave_one_out_threshold(
    calibrated: PerTarget,
    baseline: PerTarget,
    training_mse: PerTarget,
    taus: Numbers = THRESHOLDS,
    *,
    constant: Flags | None = None,
    on_constant: str = "rule",
    maximize: bool = True,
) -> AdaptiveChoice:
    """For each target the τ that is best on all *other* targets: an out-of-sample score.

    Ties go to the smallest τ, which transfers least.

    **Arguments:** `calibrated`, `baseline`, `training_mse`, `taus`, `constant`, `on_constant`: as
    in [`adaptive_curve`][]; `maximize`: false for errors, of which the smallest is best.

    **Returns:** an [`AdaptiveChoice`][]. **Raises:** as [`transfer_decision`][].

    **Example:**

        >>> from syndigits_jax.evaluation.adaptive import leave_one_out_threshold
        >>> calibrated, baseline, error = [0.6, 0.5, 0.1], [0.4, 0.3, 0.3], [0.2, 0.4, 0.9]
        >>> choice = leave_one_out_threshold(calibrated, baseline, error, taus=[0.1, 0.5, 1.0])
        >>> print(choice.tau, choice.transferred)
        [0.5 0.5 0.5] [ True  True False]
    """
    grid, decisions, scores = _scores_per_threshold(
        calibrated, baseline, training_mse, taus, constant, on_constant
    )
    counted = ~jnp.isnan(scores)
    filled = jnp.where(counted, scores, 0)
    # Sums over the others, never total minus own: a target must not influence its threshold.
    others = 1 - jnp.eye(scores.shape[1], dtype=scores.dtype)
    mean = (filled @ others) / jnp.maximum(counted.astype(scores.dtype) @ others, 1)
    # Thresholds with the same decisions differ only by the rounding of their sums: count them as
    # ties, or the choice among them would be arbitrary.
    gain = mean if maximize else -mean
    size = jnp.max(jnp.max(jnp.abs(filled), axis=0)[:, None] * others, axis=0)
    slack = 32 * jnp.finfo(scores.dtype).eps * size
    best = jnp.max(gain, axis=0) - slack
    chosen: Int[Array, " t"] = jnp.argmax(gain >= best[None, :], axis=0)
    own = jnp.arange(scores.shape[1])
    picked = scores[chosen, own]
    return AdaptiveChoice(grid[chosen], decisions[chosen, own], picked, summarize(picked))


class UncertaintyRule(eqx.Module):
    """Conformal bounds on the two errors of every target, and the choice they lead to."""

    calibrated_bound: Float[Array, " t"]
    baseline_bound: Float[Array, " t"]
    transferred: Bool[Array, " t"]


def uncertainty_rule(
    calibrated_error: PerTarget,
    baseline_error: PerTarget,
    calibrated_scale: PerTarget,
    baseline_scale: PerTarget,
    alpha: Numbers = 0.5,
) -> UncertaintyRule:
    """Transfer where the conformal bound on the calibrated error is the smaller one.

    **Arguments:**

    - `calibrated_error`, `baseline_error`: a non-negative error of each target (root mean squared
      error, or 1 - correlation).
    - `calibrated_scale`, `baseline_scale`: how large those errors are expected to be up to one
      common factor, positive and known without human answers to the target (`twin_scale`, or a
      function of the training MSE). If their ratio is the same everywhere, so is the decision.
    - `alpha`: the bound holds with probability 1 - alpha over targets; 0.5 compares medians,
      0.1 is cautious.

    **Returns:** an [`UncertaintyRule`][]. The bound of target j is scale_j times the conformal
    quantile of error / scale over the *other* targets, so the rule's score is out of sample. For a
    new target use `conformal_quantile` over all known ones, times its own scale.

    **Example:**

        >>> from syndigits_jax.evaluation.adaptive import uncertainty_rule
        >>> errors, others, ones = [0.1, 0.2, 0.3, 0.2], [0.4, 0.5, 0.6, 0.5], [1.0] * 4
        >>> print(uncertainty_rule(errors, others, ones, ones).transferred)
        [ True  True  True  True]
    """

    def bound(error: Float[Array, " t"], scale: Float[Array, " t"]) -> Float[Array, " t"]:
        return scale * leave_one_out_quantiles(error / scale, alpha)

    calibrated_error, baseline_error, calibrated_scale, baseline_scale = as_floats(
        calibrated_error=calibrated_error,
        baseline_error=baseline_error,
        calibrated_scale=calibrated_scale,
        baseline_scale=baseline_scale,
    )
    calibrated = bound(calibrated_error, calibrated_scale)
    baseline = bound(baseline_error, baseline_scale)
    return UncertaintyRule(calibrated, baseline, calibrated < baseline)


def _ranks(values: Float[Array, " t"]) -> Float[Array, " t"]:
    """Average ranks over those that are not NaN: in (0, 1], the same for equal values."""
    known = ~jnp.isnan(values)
    ordered = jnp.sort(jnp.where(known, values, jnp.inf))
    count = jnp.maximum(jnp.sum(known, dtype=values.dtype), 1)
    filled = jnp.where(known, values, 0)
    ends = (
        jnp.searchsorted(ordered, filled, side="left"),
        jnp.searchsorted(ordered, filled, side="right"),
    )
    rank = (ends[0] + ends[1] + 1).astype(values.dtype) / (2 * count)
    return jnp.where(known, rank, jnp.nan)


def _local_bound(
    error: Float[Array, " t"], weight: Float[Array, "t t"], alpha: float | Float[Array, ""]
) -> Float[Array, " t"]:
    known = ~jnp.isnan(error)
    weight = weight * known.astype(error.dtype)[None, :]
    unit = jnp.max(jnp.where(known, error, 0))
    unit = jnp.where(unit > 0, unit, 1)
    error = error / unit  # what is tiny depends on it
    filled = jnp.where(known, error, 0)
    total, size = weight @ filled, jnp.sum(weight, axis=1)
    tiny = jnp.finfo(error.dtype).eps
    # Row j, column k: the scale of target k from all targets but k and j.
    size_without = size[None, :] - weight.T
    without = (total[None, :] - weight.T * filled[:, None]) / jnp.maximum(size_without, tiny)
    ratios = jnp.where(size_without > tiny, error[None, :] / jnp.maximum(without, tiny), jnp.nan)
    ratios = jnp.where(jnp.eye(error.shape[0], dtype=bool), jnp.nan, ratios)
    quantiles = jax.vmap(lambda row: conformal_quantile(row, alpha))(ratios)
    return unit * jnp.maximum(total / jnp.maximum(size, tiny), tiny) * quantiles


@full_precision
def local_uncertainty_rule(
    calibrated_error: PerTarget,
    baseline_error: PerTarget,
    difficulty: PerTarget,
    alpha: Numbers = 0.5,
    *,
    bandwidth: float = 0.1,
) -> UncertaintyRule:
    """`uncertainty_rule` with both scales learned from targets of similar `difficulty`.

    The expected error of a target is the mean error of the others, weighted by a Gaussian kernel
    in the rank of `difficulty`. No part of a target's bounds, scales included, uses its own errors.

    **Arguments:**

    - `calibrated_error`, `baseline_error`: (t,) errors at least 0; NaN errors are left out.
    - `difficulty`: (t,) what makes targets similar, such as the training MSE. A target where it is
      NaN takes part in no other's bound, has infinite bounds, and is not transferred.
    - `alpha`: as in [`uncertainty_rule`][].
    - `bandwidth`: standard deviation of the kernel, as a fraction of the targets.

    **Returns:** an [`UncertaintyRule`][]. **Raises:** `ValueError` unless `bandwidth` is positive.
    """
    check_positive(bandwidth=bandwidth)
    calibrated_error, baseline_error, difficulty = as_floats(
        calibrated_error=calibrated_error, baseline_error=baseline_error, difficulty=difficulty
    )
    rank = _ranks(difficulty)
    known = ~jnp.isnan(rank)
    # Neighbours are 1/t apart: a narrower kernel would give all of them practically no weight.
    width = jnp.maximum(bandwidth, 1 / jnp.maximum(jnp.sum(known, dtype=rank.dtype), 1))
    rank = jnp.where(known, rank, 0)
    weight = jnp.exp(-(((rank[:, None] - rank[None, :]) / width) ** 2) / 2)
    pairs = known[:, None] & known[None, :] & ~jnp.eye(rank.shape[0], dtype=bool)
    weight = jnp.where(pairs, weight, 0)
    calibrated_error, baseline_error = (
        jnp.where(known, error, jnp.nan) for error in (calibrated_error, baseline_error)
    )
    calibrated, baseline = (
        jnp.where(known, _local_bound(error, weight, alpha), jnp.inf)
        for error in (calibrated_error, baseline_error)
    )
    return UncertaintyRule(calibrated, baseline, calibrated < baseline)


class AdaptiveTransfer(eqx.Module):
    """All ways to decide, scored on the same targets.

    - `never`, `always`: baseline and calibrated scores without any choice.
    - `curve`: the threshold rule over τ; its best point is optimistic.
    - `threshold`: τ chosen on the other targets.
    - `uncertainty`: the rule on conformal bounds (τ is NaN).
    - `constant`: which targets have constant twin answers.
    """

    never: Summary
    always: Summary
    curve: AdaptiveCurve
    threshold: AdaptiveChoice
    uncertainty: AdaptiveChoice
    constant: Bool[Array, " t"]


def constant_rows(twin: Numbers) -> Bool[Array, " t"]:
    """Rows of `twin` (t, s), the targets, that are alike up to rounding or hold fewer than two.

    NaN is missing.
    """
    twin = as_float("twin", twin)
    return alike(twin, ~jnp.isnan(twin), 1)


def adaptive_transfer(
    holdout: "HoldOut",
    method: str,
    *,
    baseline: str = "Baseline",
    taus: Numbers = THRESHOLDS,
    on_constant: str = "rule",
    alpha: float = 0.5,
    bandwidth: float = 0.1,
) -> AdaptiveTransfer:
    """Every decision rule on a hold-out evaluation, scored by Pearson correlation.

    The uncertainty rule is `local_uncertainty_rule` on 1 - correlation and the training MSE.

    **Arguments:**

    - `holdout`: the evaluation, such as [`leave_one_question_out`][] returns.
    - `method`, `baseline`: names of the calibrated and the other predictions in it.
    - `taus`: thresholds of the threshold rule; the published sweep by default.
    - `on_constant`: what to do with targets of constant twin answers, see the module.
    - `alpha`, `bandwidth`: as in [`local_uncertainty_rule`][].

    **Returns:** an [`AdaptiveTransfer`][]. **Raises:** `ValueError` for a method without training
    errors, or an alpha outside (0, 1).

    **Example:**

        >>> from syndigits_jax import Ridge, leave_one_question_out
        >>> from syndigits_jax.datasets import sample_panel
        >>> from syndigits_jax.evaluation import adaptive_transfer
        >>> panel = sample_panel().take(questions=slice(0, 8))
        >>> found = adaptive_transfer(leave_one_question_out([Ridge(10.0)], panel), "Ridge")
        >>> print(found.always.count, found.threshold.transferred.shape)
        8 (8,)
    """
    check_probability(alpha=alpha)
    if method not in holdout.training_mse:
        raise ValueError(
            f"method: no training errors for {method!r}; there are {list(holdout.training_mse)}"
        )
    training_mse = jnp.asarray(holdout.training_mse[method])
    calibrated = jnp.asarray(holdout.scores("pearson", method)).astype(training_mse.dtype)
    unchanged = jnp.asarray(holdout.scores("pearson", baseline)).astype(training_mse.dtype)
    constant = constant_rows(holdout.predictions[baseline])
    grid = np.asarray(as_float("taus", taus))
    if grid.ndim != 1 or not grid.size:
        raise ValueError(f"`taus` must be thresholds (k,), at least one, got shape {grid.shape}")
    return _all_rules(
        calibrated,
        unchanged,
        training_mse,
        constant,
        alpha,
        taus=tuple(grid.tolist()),
        on_constant=on_constant,
        bandwidth=bandwidth,
    )


@functools.partial(jax.jit, static_argnames=("taus", "on_constant", "bandwidth"))
def _all_rules(
    calibrated: Float[Array, " t"],
    unchanged: Float[Array, " t"],
    training_mse: Float[Array, " t"],
    constant: Bool[Array, " t"],
    alpha: float | Float[Array, ""],
    *,
    taus: tuple[float, ...],
    on_constant: str,
    bandwidth: float,
) -> AdaptiveTransfer:
    options = {"constant": constant, "on_constant": on_constant}
    transferred = local_uncertainty_rule(
        1 - calibrated, 1 - unchanged, training_mse, alpha, bandwidth=bandwidth
    ).transferred
    left_out = constant & (on_constant == "exclude")
    if on_constant != "rule":
        transferred = jnp.where(constant, on_constant == "calibrated", transferred)

    def scored(values: Float[Array, " t"]) -> Float[Array, " t"]:
        return jnp.where(left_out, jnp.nan, values)

    picked = scored(adapt(transferred, calibrated, unchanged))
    return AdaptiveTransfer(
        never=summarize(scored(unchanged)),
        always=summarize(scored(calibrated)),
        curve=adaptive_curve(calibrated, unchanged, training_mse, taus, **options),
        threshold=leave_one_out_threshold(calibrated, unchanged, training_mse, taus, **options),
        uncertainty=AdaptiveChoice(
            jnp.full_like(picked, jnp.nan), transferred, picked, summarize(picked)
        ),
        constant=constant,
    )
