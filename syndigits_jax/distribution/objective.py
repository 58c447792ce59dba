"""What an ensemble minimises: a convex function of the distributions it predicts.

Every [`Divergence`][] comes in three forms: its value, a smooth lower bound (the divergence itself,
where it is smooth), and a linear lower bound with the slope of the smooth one. The last gives the
certificates, because a linear function on the simplex has its minimum at a vertex.
"""

import abc
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from . import divergences
from .targets import Targets

DivergenceName = Literal["tv", "chi2", "kl", "hellinger", "ks", "cdf_l1", "cdf_l2"]
DIVERGENCES: tuple[str, ...] = get_args(DivergenceName)
"""The names that functions take instead of a [`Divergence`][]."""


class Divergence(eqx.Module):
    """A divergence of predicted distributions from true ones, convex in the predicted ones.

    Functions that fit or score take an object of this kind, or the name of one that is here. For a
    divergence of one's own, write a class with [`Divergence.by_question`][]. If the divergence has
    kinks, set `smooth` to false and write `smoothed_by_question` and `touching_by_question` too.
    Numbers that it depends on are fields: Python numbers, so that objects can be compared and
    hashed. Under `jit` an object may be an argument, whose numbers are then traced, or static.

    - `smooth`: whether it has a gradient everywhere; if not, it is fitted in stages.
    - `over_cells`: whether it is a sum over the options of a question, each with its own p and q.
      Options that no twin has then add a constant, which fits leave out.
    """

    smooth: ClassVar[bool] = True
    over_cells: ClassVar[bool] = False

    @abc.abstractmethod
    def by_question(self, targets: Targets, q: Float[Array, "m K"]) -> Float[Array, " m"]:
        """The divergence of `targets.p` from `q`, per question.

        Entries at options that a question does not have (`targets.options`) are to be ignored.
        """

    def published(self, targets: Targets, q: Float[Array, "m K"]) -> Float[Array, " m"]:
        """[`Divergence.by_question`][] as the published evaluation clips probabilities."""
        return self.by_question(targets, q)

    def smoothed_by_question(
        self, targets: Targets, q: Float[Array, "m K"], width: Float[Array, ""]
    ) -> Float[Array, " m"]:
        """A smooth lower bound per question, which tends to it as `width` goes to 0."""
        return self.by_question(targets, q)

    def touching_by_question(
        self, targets: Targets, q: Float[Array, "m K"], width: Float[Array, ""]
    ) -> Float[Array, " m"]:
        """At `q`, the linear lower bound with the slope of the smooth one, per question."""
        return self.smoothed_by_question(targets, q, width)

    def unit(self, targets: Targets) -> Float[Array, ""]:
        """The unit of the divergence, which rounding is a share of; 1 by default."""
        return jnp.ones((), targets.p.dtype)

    def value(self, targets: Targets, q: Float[Array, "m K"]) -> Float[Array, ""]:
        """Weighted mean over questions of the divergence of `targets.p` from `q`."""
        return _mean(targets, self.by_question(targets, q))

    def smoothed(
        self, targets: Targets, q: Float[Array, "m K"], width: Float[Array, ""]
    ) -> Float[Array, ""]:
        """A smooth lower bound of `value` that tends to it as `width` goes to 0 (Nesterov 2005).

        **Arguments:** `targets`, `q`: as in [`Divergence.value`][]; `width`: of the smoothing,
        positive, in the unit of the distributions.
        """
        return _mean(targets, self.smoothed_by_question(targets, q, width))

    def touching(
        self, targets: Targets, q: Float[Array, "m K"], width: Float[Array, ""]
    ) -> Float[Array, ""]:
        """At `q`, the linear lower bound of `value` whose slope is that of `smoothed` there.

        For the smooth divergences this is the tangent, whose value at `q` is `value`. For TV, ℓ1
        and KS it is ⟨y, P - Q⟩ at the dual point y of the smoothing, which is feasible for any
        width.

        **Arguments:** `targets`, `q`, `width`: as in [`Divergence.smoothed`][].
        """
        return _mean(targets, self.touching_by_question(targets, q, width))

    def reached(self, targets: Targets, reached: Bool[Array, "m K"]) -> Targets:
        """`targets` with shares of 0 where not `reached`, if that only takes out a constant."""
        if not self.over_cells:
            return targets
        p = jnp.where(reached, targets.p, 0)
        return Targets(p, targets.weight, targets.options, targets.values)


def _mean(targets: Targets, by_question: Float[Array, " m"]) -> Float[Array, ""]:
    # The divergence of a question of weight 0 may be infinite: it is left out.
    counts = targets.weight > 0
    return jnp.sum(jnp.where(counts, targets.weight * jnp.where(counts, by_question, 0), 0))


def _huber(x: Array, width: Array) -> Array:
    size = jnp.abs(x)
    return jnp.where(size < width, x * x / (2 * width), size - width / 2)


class TotalVariation(Divergence):
    """[`total_variation`][]: half the sum of absolute differences."""

    smooth: ClassVar[bool] = False

    def by_question(self, targets, q):
        """See [`Divergence.by_question`][]."""
        return divergences.total_variation(targets.p, q, options=targets.options)

    def smoothed_by_question(self, targets, q, width):
        """See [`Divergence.smoothed_by_question`][]."""
        x = jnp.where(targets.options, targets.p - q, 0)
        return jnp.sum(_huber(x, width), axis=1) / 2

    def touching_by_question(self, targets, q, width):
        """See [`Divergence.touching_by_question`][]."""
        x = jnp.where(targets.options, targets.p - q, 0)
        return jnp.sum(jnp.clip(x / width, -1, 1) * x, axis=1) / 2


class _OverCells(Divergence):
    """A sum over cells, whose published form clips probabilities; `formula` takes a `clip`."""

    over_cells: ClassVar[bool] = True
    formula: ClassVar[Callable[..., Array]]
    smallest: ClassVar[float]

    def by_question(self, targets, q):
        """See [`Divergence.by_question`][]."""
        return self.formula(targets.p, q, options=targets.options)

    def published(self, targets, q):
        """See [`Divergence.published`][]."""
        return self.formula(targets.p, q, options=targets.options, clip=self.smallest)


class ChiSquare(_OverCells):
    """[`chi_square`][]."""

    formula = staticmethod(divergences.chi_square)
    smallest = divergences.REFERENCE_CLIP["chi2"]


class KullbackLeibler(_OverCells):
    """[`kullback_leibler`][]: of the truth from the prediction."""

    formula = staticmethod(divergences.kullback_leibler)
    smallest = divergences.REFERENCE_CLIP["kl"]


class Hellinger(_OverCells):
    """[`hellinger`][]: the squared distance."""

    formula = staticmethod(divergences.hellinger)
    smallest = divergences.REFERENCE_CLIP["hellinger"]


class KolmogorovSmirnov(Divergence):
    """[`kolmogorov_smirnov`][]: the largest difference of the distribution functions."""

    smooth: ClassVar[bool] = False

    def by_question(self, targets, q):
        """See [`Divergence.by_question`][]."""
        return divergences.kolmogorov_smirnov(targets.p, q, options=targets.options)

    def smoothed_by_question(self, targets, q, width):
        """See [`Divergence.smoothed_by_question`][]."""
        both = _both_signs(targets, q)
        largest = jax.scipy.special.logsumexp(both / width, axis=1)
        return width * (largest - jnp.log(float(both.shape[1])))

    def touching_by_question(self, targets, q, width):
        """See [`Divergence.touching_by_question`][]."""
        both = _both_signs(targets, q)
        return jnp.sum(jax.nn.softmax(both / width, axis=1) * both, axis=1)


class CdfL1(Divergence):
    """[`cdf_l1`][]: the 1-Wasserstein distance of positions on the scale."""

    smooth: ClassVar[bool] = False

    def by_question(self, targets, q):
        """See [`Divergence.by_question`][]."""
        return divergences.cdf_l1(targets.p, q, options=targets.options, values=targets.values)

    def smoothed_by_question(self, targets, q, width):
        """See [`Divergence.smoothed_by_question`][]."""
        x, gaps = _cdf_parts(targets, q)
        return jnp.sum(gaps * _huber(x, width), axis=1)

    def touching_by_question(self, targets, q, width):
        """See [`Divergence.touching_by_question`][]."""
        x, gaps = _cdf_parts(targets, q)
        return jnp.sum(gaps * jnp.clip(x / width, -1, 1) * x, axis=1)

    def unit(self, targets):
        """The mean step between options."""
        return _mean_step(targets)


class CdfL2(Divergence):
    """[`cdf_l2`][]: the Cramér distance of positions on the scale."""

    def by_question(self, targets, q):
        """See [`Divergence.by_question`][]."""
        return divergences.cdf_l2(targets.p, q, options=targets.options, values=targets.values)

    def unit(self, targets):
        """The mean step between options."""
        return _mean_step(targets)


def _cdf_parts(t: Targets, q: Array) -> tuple[Array, Array]:
    difference = divergences._cdf_difference(t.p, q, t.options)
    return difference, divergences._spacing(t.values, difference)


def _both_signs(t: Targets, q: Array) -> Array:
    difference, _ = _cdf_parts(t, q)
    return jnp.concatenate([difference, -difference], axis=1)


def _mean_step(targets: Targets) -> Float[Array, ""]:
    values = targets.values
    return (values[-1] - values[0]) / max(values.shape[0] - 1, 1)


_NAMED: Mapping[str, Divergence] = MappingProxyType(
    {
        "tv": TotalVariation(),
        "chi2": ChiSquare(),
        "kl": KullbackLeibler(),
        "hellinger": Hellinger(),
        "ks": KolmogorovSmirnov(),
        "cdf_l1": CdfL1(),
        "cdf_l2": CdfL2(),
    }
)


def as_divergence(divergence: str | Divergence) -> Divergence:
    """The divergence of a name, or the object as it is.

    **Raises:** `ValueError` for another name.
    """
    if isinstance(divergence, Divergence):
        return divergence
    if not isinstance(divergence, str) or divergence not in _NAMED:
        raise ValueError(
            f"`divergence` must be one of {DIVERGENCES} or a `Divergence`, got {divergence!r}"
        )
    return _NAMED[divergence]
