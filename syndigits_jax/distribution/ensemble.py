"""Weighted ensembles: from past questions' answer distributions to that of a new question."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from ..solvers.boundary import Numbers, host_floats
from .answers import Answers
from .certified import Fit, Penalties, certified_fit
from .design import Design, make_design, personas_of, rows_of, support_in
from .objective import Divergence, as_divergence
from .options import kept_options
from .targets import Targets, counts_of, make_targets, shares_of

SMOOTH_TOL, POLYHEDRAL_TOL = 1e-4, 1e-3


class EnsembleWeights(eqx.Module):
    """`personas`: (n,) weights of the twins, and `dummies`: (K,), together on the simplex."""

    personas: Float[Array, " n"]
    dummies: Float[Array, " K"]


class Ensemble(Fit[EnsembleWeights]):
    """Weights over n twins and K dummy twins, and how close to optimal they are known to be.

    A [`Solution`][], which [`raise_on_failure`][] takes:

    - `value`: the weights, also as `personas` (n,) and `dummies` (K,).
    - `optimality`, or `gap`: (objective - lower_bound) / (start - objective).
    - `status`, `steps`: of the solver. `NONFINITE`, with an infinite gap, where the divergence is
      infinite whatever the weights: χ² or KL with `floor` 0, and an option that no twin has.

    And, as in every [`Fit`][]:

    - `divergence`: the mean divergence from the training targets; `objective` adds the penalties.
    - `lower_bound`: a certificate: no weights have a smaller objective. A margin for rounding is
      subtracted, so that the gap is never 0.
    - `start`: the objective of the uniform ensemble of the same variant.

    `all_options`: whether all questions of the fit had all K options. If not, the options of a
    new question must be stated. Static.
    """

    all_options: bool = eqx.field(static=True)

    def __init__(self, *args, all_options: bool = True, **fields):
        super().__init__(*args, **fields)
        self.all_options = all_options

    @property
    def personas(self) -> Float[Array, " n"]:
        """The weights of the twins."""
        return self.value.personas

    @property
    def dummies(self) -> Float[Array, " K"]:
        """The weights of the dummy twins, one per option."""
        return self.value.dummies

    @property
    def effective_sample_size(self) -> Float[Array, ""]:
        """1 / Σ w² over twins and dummies: the number of equal weights with the same variance."""
        return 1 / (jnp.sum(self.personas**2) + jnp.sum(self.dummies**2))

    def carriers(self, count: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """Positions and weights of the `count` twins with the largest weights, largest first."""
        weights = np.asarray(self.personas)
        order = np.argsort(-weights, kind="stable")[:count]
        return order, weights[order]

    def predict(self, answers: Answers, *, options: Numbers = None) -> Float[Array, "q K"]:
        """(q, K) answer distributions of q questions that the same twins answered.

        An option that a question does not have gets nothing: a twin that chose it counts as
        missing, and the dummy that stands for it answers evenly among the others.

        **Arguments:** `answers`: of the twins of the fit, in the same order; `options`: (q, K) or
        (K,), true for the options that exist, of those stated in `answers`. By default those, or
        all K if all questions of the fit had all of them.

        **Raises:** `ValueError` for another number of twins or options than in the fit; if some
        question of the fit lacked an option and neither `options` nor `answers` states those of the
        new questions.
        """
        if answers.n != self.personas.shape[0] or answers.n_options != self.dummies.shape[0]:
            raise ValueError(
                f"`answers` are of {answers.n} twins with {answers.n_options} options; the "
                f"ensemble weighs {self.personas.shape[0]} with {self.dummies.shape[0]}. Questions "
                "with fewer options: see `options` of `Answers.from_choices`"
            )
        design = make_design(answers, jnp.asarray(self.options_of(answers, options)))
        return design.mix(jnp.concatenate([self.personas, self.dummies]))

    def options_of(self, answers: Answers, options: Numbers = None) -> Bool[np.ndarray, "q K"]:
        """The options that [`Ensemble.predict`][] takes new questions to have; errors as there."""
        if options is None and answers.options is None and not self.all_options:
            raise ValueError(
                "`options`: the questions of the fit did not have all the options, so that those "
                "of the new ones are not known: pass `options`, or state them in "
                "`Answers.from_choices`"
            )
        return options_among(options, answers)


@dataclass(frozen=True)
class Spec:
    """One fit of many: see [`fit_ensemble`][] for the fields.

    `divergence`: a name, or a [`Divergence`][]; `weight`: (m,) weights of the questions, 0 for
    those held out.
    """

    divergence: str | Divergence = "tv"
    variant: str = "both"
    ridge: float = 0.0
    entropy: float = 0.0
    weight: Numbers = None
    tol: float | None = None

    def __post_init__(self):
        as_divergence(self.divergence)
        for name in ("ridge", "entropy"):
            number = getattr(self, name)
            if not (np.isfinite(number) and number >= 0):
                raise ValueError(f"`{name}` must be finite and not negative, got {number}")
        if self.tol is not None and not 0 < self.tol < 1:
            raise ValueError(f"`tol` must lie between 0 and 1, got {self.tol}")

    @property
    def gap(self) -> float:
        """The relative gap to stop at."""
        if self.tol is not None:
            return self.tol
        return SMOOTH_TOL if as_divergence(self.divergence).smooth else POLYHEDRAL_TOL


def fit_ensemble(
    targets: Numbers,
    answers: Answers,
    divergence: str | Divergence = "tv",
    *,
    variant: str = "both",
    ridge: float = 0.0,
    entropy: float = 0.0,
    weight: Numbers = None,
    options: Numbers = None,
    values: Numbers = None,
    base: Numbers = None,
    floor: float = 1e-6,
    tol: float | None = None,
) -> Ensemble:
    """Weights of twins that match the answer distributions of m questions (equation 7.2).

    It checks its input, so it does not work under `jit`, `vmap` and `grad`; there, use
    [`certified_fit`][]. For more twins than fit in memory as a matrix, use [`fit_large`][].

    **Arguments:**

    - `targets`: (m, K) counts or shares of the human answers, NaN where a question has no such
      option. Without NaN and `options`, and unless `answers` say otherwise, all questions have all
      options, and an option that nobody chose has a share of 0.
    - `answers`: what the twins answered to the same questions.
    - `divergence`: `"tv"`, `"chi2"`, `"kl"`, `"hellinger"`, `"ks"`, `"cdf_l1"` or `"cdf_l2"`, or a
      [`Divergence`][] of one's own.
    - `variant`: weigh `"both"` personas and dummies, `"personas"` or `"dummies"` only.
    - `ridge`, `entropy`: penalties on ‖w‖² and on KL(w ‖ base).
    - `weight`: (m,) weights of the questions, such as sample sizes.
    - `options`: (m, K) or (K,), true for the options to keep (drop refusals here).
    - `values`: (K,) ascending ordinal values for the CDF distances, 1, 2, ... by default.
    - `base`: (n + K,) where the fit starts and what the entropy is relative to; uniform by default.
    - `floor`: ε of Q_ε = (1 - Kε) Q + ε. It keeps χ² and KL finite where an option has no twin,
      and the problem convex, which clipping would not.
    - `tol`: stop when the gap is below this share of the improvement over the start; 1e-4 for
      the smooth divergences and 1e-3 for TV, KS and ℓ1 by default.

    **Returns:** an [`Ensemble`][]; its `gap` certifies it.

    **Raises:** `ValueError` for targets, answers, options or weights that do not fit, and for
    traced ones.

    **Example:**

        >>> from syndigits_jax.distribution import Answers, fit_ensemble
        >>> answers = Answers.from_choices([[0, 0], [1, 0], [1, 1]], 2)  # 3 twins, 2 questions
        >>> shares = [[0.75, 0.25], [1.0, 0.0]]  # of the human answers
        >>> ensemble = fit_ensemble(shares, answers, "cdf_l2", variant="personas")
        >>> print(ensemble.personas.round(2), ensemble.gap < 1e-3)
        [0.75 0.25 0.  ] True
    """
    _not_traced(targets, answers, weight, options, values, base, ridge, entropy, floor, tol)
    spec = Spec(divergence, variant, float(ridge), float(entropy), weight, tol)
    return fit_ensembles(
        targets, answers, [spec], options=options, values=values, base=base, floor=floor
    )[0]


def fit_ensembles(
    targets: Numbers,
    answers: Answers,
    specs: Sequence[Spec],
    *,
    options: Numbers = None,
    values: Numbers = None,
    base: Numbers = None,
    floor: float = 1e-6,
    mesh: Mesh | None = None,
) -> list[Ensemble]:
    """Many fits to the same data: variants, penalties, held-out or resampled questions.

    Fits of one divergence run side by side in one program, which shares every pass over the
    answers.

    **Arguments:** `targets`, `answers`, `options`, `values`, `base`, `floor`: as in
    [`fit_ensemble`][]; `specs`: the fits; `mesh`: devices over whose first axis the twins' answers
    and the weights are spread while fitting. The returned weights stay spread if the devices divide
    the number of twins. The host checks the answers first, and writes them out as probabilities
    where memory allows.

    **Returns:** one [`Ensemble`][] per [`Spec`][], in order.

    **Raises:** `ValueError` as [`fit_ensemble`][], or if `specs` is empty.

    **Example:**

        >>> from syndigits_jax.distribution import Answers, Spec, fit_ensembles
        >>> answers = Answers.from_choices([[0, 0], [1, 0], [1, 1]], 2)  # 3 twins, 2 questions
        >>> specs = [Spec("cdf_l2", ridge=ridge) for ridge in (0.0, 0.1)]
        >>> fits = fit_ensembles([[0.75, 0.25], [1.0, 0.0]], answers, specs)
        >>> print(len(fits), fits[0].divergence < fits[1].divergence)
        2 True
    """
    if not specs:
        raise ValueError("`specs` is empty")
    keep, whole = checked_spec(targets, answers, options, values, floor)
    design = make_design(answers, whole.options, mesh)
    n, k, rows = answers.n, answers.n_options, rows_of(design)
    start = None if base is None else _base(base, n + k)
    if start is not None:
        start = jnp.concatenate([start[:n], jnp.zeros(rows - n, start.dtype), start[n:]])
        start = jnp.pad(start, (0, design.dummies.shape[1] - k))
    groups: dict[tuple[Divergence, bool], list[int]] = {}
    for i, spec in enumerate(specs):
        key = as_divergence(spec.divergence), spec.entropy > 0
        groups.setdefault(key, []).append(i)
    found: list[Ensemble | None] = [None] * len(specs)
    for (divergence, entropic), members in groups.items():
        some = [specs[i] for i in members]
        support = jnp.stack([support_in(s.variant, n, k, design) for s in some])
        dtype = whole.p.dtype
        weights = np.stack([shares_of(s.weight, answers.m) for s in some])
        weights = jnp.asarray(weights, dtype)
        penalties = Penalties(
            jnp.asarray([s.ridge for s in some], dtype),
            jnp.asarray([s.entropy for s in some], dtype),
            jnp.full(len(some), floor, dtype),
        )
        tol = jnp.asarray([s.gap for s in some], dtype)
        fits = _batch(divergence, entropic, whole, design, weights, support, penalties, tol, start)
        for row, i in enumerate(members):
            fit = jax.tree.map(lambda leaf, row=row: leaf[row], fits)
            found[i] = _ensemble(fit, n, k, design, bool(keep.all()))
    return [ensemble for ensemble in found if ensemble is not None]


@functools.partial(jax.jit, static_argnames=("entropic",))
def _batch(divergence, entropic, targets, design, weights, support, penalties, tol, base) -> Fit:
    def one(weight, support, penalty, tol):
        some = Targets(targets.p, weight, targets.options, targets.values)
        return certified_fit(
            divergence, some, design, support, penalty, base=base, entropic=entropic, tol=tol
        )

    return jax.vmap(one)(weights, support, penalties, tol)


def _ensemble(fit: Fit, n: int, k: int, design: Design, all_options: bool) -> Ensemble:
    rows = rows_of(design)
    return Ensemble(
        EnsembleWeights(personas_of(fit.value, n, design), fit.value[rows : rows + k]),
        fit.status,
        fit.steps,
        fit.gap,
        divergence=fit.divergence,
        objective=fit.objective,
        lower_bound=fit.lower_bound,
        start=fit.start,
        all_options=all_options,
    )


def _not_traced(*given) -> None:
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(given)):
        raise ValueError(
            "targets, answers and options are checked and must be concrete: under jit, vmap and "
            "grad use certified_fit, with make_targets and make_design called outside"
        )


def checked_spec(targets, answers: Answers, options, values, floor) -> tuple[np.ndarray, Targets]:
    """The options to keep, and the targets with equal weights for all questions.

    **Arguments:** `targets`, `answers`, `options`, `values`, `floor`: as in [`fit_ensemble`][].

    **Raises:** `ValueError` for any of them that does not fit, and for traced ones.
    """
    _not_traced(targets, answers, options, values, floor)
    keep = options_among(options, answers, targets)
    if not 0 <= floor * answers.n_options < 1:
        raise ValueError(f"`floor` must be at least 0 and below 1/{answers.n_options}, got {floor}")
    return keep, make_targets(targets, options=keep, values=values)


def options_among(
    options: Numbers, answers: Answers, targets: Numbers = None
) -> Bool[np.ndarray, "m K"]:
    """The `options` to keep, without those that `answers` or NaN in `targets` rule out.

    **Raises:** `ValueError` for a mask that does not fit, or targets of another shape.
    """
    shape = (answers.m, answers.n_options)
    counts = None if targets is None else counts_of(targets)
    if counts is not None and counts.shape != shape:
        raise ValueError(
            f"`targets` have shape {counts.shape}, the answers {shape}: rows must be the same "
            "questions, columns the same options"
        )
    return kept_options(shape, options=options, stated=answers.options, counts=counts)


def _base(base: Numbers, size: int) -> Array:
    _not_traced(base)
    given = host_floats("base", base)
    if given.shape != (size,) or not np.isfinite(given).all() or (given < 0).any():
        raise ValueError(
            f"`base` must be {size} finite numbers that are not negative: one per twin, then one "
            "per dummy"
        )
    if given.sum() == 0:
        raise ValueError("`base`: all weights are 0")
    return jnp.asarray(given / given.sum(), jnp.result_type(float))
