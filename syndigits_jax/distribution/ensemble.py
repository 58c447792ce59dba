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
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from .answers import Answers
from .certified import Fit, Penalties, certified_fit
from .design import Design, make_design, personas_of, rows_of, support_in
from .objective import DIVERGENCES, SMOOTH, Targets, make_targets

SMOOTH_TOL, POLYHEDRAL_TOL = 1e-4, 1e-3


class Ensemble(eqx.Module):
    """Weights over n twins and K dummy twins, and how good they are known to be.

    - `personas`: (n,) and `dummies`: (K,) weights, together on the simplex.
    - `divergence`: the mean divergence from the training targets; `objective` adds the penalties.
    - `lower_bound`: a certificate: no weights have a smaller objective.
    - `start`: the objective of the uniform ensemble of the same variant.
    - `gap`: (objective - lower_bound) / (start - objective).
    - `status`, `steps`: of the solver. `NONFINITE`, with an infinite gap, where the divergence is
      infinite whatever the weights: χ² or KL with `floor` 0, and an option that no twin has.
    """

    personas: Float[Array, " n"]
    dummies: Float[Array, " K"]
    divergence: Float[Array, ""]
    objective: Float[Array, ""]
    lower_bound: Float[Array, ""]
    start: Float[Array, ""]
    gap: Float[Array, ""]
    status: Int[Array, ""]
    steps: Int[Array, ""]

    @property
    def effective_sample_size(self) -> Float[Array, ""]:
        """1 / Σ w² over twins and dummies: how many equal weights would vary as much."""
        return 1 / (jnp.sum(self.personas**2) + jnp.sum(self.dummies**2))

    def carriers(self, count: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """Positions and weights of the `count` twins that weigh most, heaviest first."""
        weights = np.asarray(self.personas)
        order = np.argsort(-weights, kind="stable")[:count]
        return order, weights[order]

    def predict(self, answers: Answers, *, options: ArrayLike | None = None) -> Array:
        """(q, K) answer distributions of q questions that the same twins answered.

        `options`: (q, K) or (K,), true for the options that exist, all by default.

        **Raises:** `ValueError` for other twins or options than in the fit.
        """
        if answers.n != self.personas.shape[0] or answers.n_options != self.dummies.shape[0]:
            raise ValueError(
                f"answers are of {answers.n} twins with {answers.n_options} options; the ensemble "
                f"weighs {self.personas.shape[0]} with {self.dummies.shape[0]}"
            )
        keep = _options(options, answers)
        design = make_design(answers.restricted(keep), jnp.asarray(keep))
        return design.mix(jnp.concatenate([self.personas, self.dummies]))


@dataclass(frozen=True)
class Spec:
    """One fit of many: see [`fit_ensemble`][] for the fields.

    `weight`: (m,) weights of the questions, which may be 0: a held-out question is one of weight 0.
    """

    divergence: str = "tv"
    variant: str = "both"
    ridge: float = 0.0
    entropy: float = 0.0
    weight: tuple[float, ...] | np.ndarray | None = None
    tol: float | None = None

    def __post_init__(self):
        if self.divergence not in DIVERGENCES:
            raise ValueError(f"divergence must be one of {DIVERGENCES}, got {self.divergence!r}")
        for name in ("ridge", "entropy"):
            number = getattr(self, name)
            if not (np.isfinite(number) and number >= 0):
                raise ValueError(f"{name} must be finite and not negative, got {number}")
        if self.tol is not None and not 0 < self.tol < 1:
            raise ValueError(f"tol must lie between 0 and 1, got {self.tol}")

    @property
    def gap(self) -> float:
        """The relative gap to stop at."""
        if self.tol is not None:
            return self.tol
        return SMOOTH_TOL if self.divergence in SMOOTH else POLYHEDRAL_TOL


def fit_ensemble(
    targets: ArrayLike,
    answers: Answers,
    divergence: str = "tv",
    *,
    variant: str = "both",
    ridge: float = 0.0,
    entropy: float = 0.0,
    weight: ArrayLike | None = None,
    options: ArrayLike | None = None,
    values: ArrayLike | None = None,
    base: ArrayLike | None = None,
    floor: float = 1e-6,
    tol: float | None = None,
) -> Ensemble:
    """Weights of twins that match the answer distributions of m questions (equation 7.2).

    It checks its input, so that it does not work under `jit`, `vmap` and `grad`; there, use
    [`certified_fit`][]. For more twins than fit in memory as a matrix, use [`fit_large`][].

    **Arguments:**

    - `targets`: (m, K) counts or shares of the human answers.
    - `answers`: what the twins answered to the same questions.
    - `divergence`: `"tv"`, `"chi2"`, `"kl"`, `"hellinger"`, `"ks"`, `"cdf_l1"` or `"cdf_l2"`.
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
    """
    _not_traced(targets, answers, weight, options, values, base, ridge, entropy, floor, tol)
    share = None if weight is None else tuple(np.asarray(weight, float).tolist())
    spec = Spec(divergence, variant, float(ridge), float(entropy), share, tol)
    return fit_ensembles(
        targets, answers, [spec], options=options, values=values, base=base, floor=floor
    )[0]


def fit_ensembles(
    targets: ArrayLike,
    answers: Answers,
    specs: Sequence[Spec],
    *,
    options: ArrayLike | None = None,
    values: ArrayLike | None = None,
    base: ArrayLike | None = None,
    floor: float = 1e-6,
    mesh: Mesh | None = None,
) -> list[Ensemble]:
    """Many fits to the same data: variants, penalties, held-out or resampled questions.

    Fits of one divergence run side by side in one program, which shares every pass over the
    answers. Arguments as in [`fit_ensemble`][], and `mesh`: devices over whose first axis the
    twins' answers and the weights are spread while fitting; the weights returned stay so if the
    devices divide the number of twins. The host checks the answers first, and writes them out as
    probabilities where these are few enough. One [`Ensemble`][] per [`Spec`][], in order.

    **Raises:** `ValueError` as there, or if `specs` is empty.
    """
    if not specs:
        raise ValueError("specs is empty")
    keep, whole = _checked(targets, answers, options, values, floor)
    design = make_design(answers.restricted(keep), whole.options, mesh)
    n, k, rows = answers.n, answers.n_options, rows_of(design)
    start = None if base is None else _base(base, n + k)
    if start is not None:
        start = jnp.concatenate([start[:n], jnp.zeros(rows - n, start.dtype), start[n:]])
        start = jnp.pad(start, (0, design.dummies.shape[1] - k))
    groups: dict[tuple[str, bool], list[int]] = {}
    for i, spec in enumerate(specs):
        groups.setdefault((spec.divergence, spec.entropy > 0), []).append(i)
    found: list[Ensemble | None] = [None] * len(specs)
    for (name, entropic), members in groups.items():
        some = [specs[i] for i in members]
        support = jnp.stack([support_in(s.variant, n, k, design) for s in some])
        weights = jnp.stack([_weighted(targets, keep, s).weight for s in some])
        dtype = whole.p.dtype
        penalties = Penalties(
            jnp.asarray([s.ridge for s in some], dtype),
            jnp.asarray([s.entropy for s in some], dtype),
            jnp.full(len(some), floor, dtype),
        )
        tol = jnp.asarray([s.gap for s in some], dtype)
        fits = _batch(name, entropic, whole, design, weights, support, penalties, tol, start)
        for row, i in enumerate(members):
            fit = jax.tree.map(lambda leaf, row=row: leaf[row], fits)
            found[i] = _ensemble(fit, n, k, design)
    return [ensemble for ensemble in found if ensemble is not None]


@functools.partial(jax.jit, static_argnames=("name", "entropic"))
def _batch(name, entropic, targets, design, weights, support, penalties, tol, base) -> Fit:
    def one(weight, support, penalty, tol):
        some = Targets(targets.p, weight, targets.options, targets.values)
        return certified_fit(
            name, some, design, support, penalty, base=base, entropic=entropic, tol=tol
        )

    return jax.vmap(one)(weights, support, penalties, tol)


def _weighted(targets: ArrayLike, keep: np.ndarray, spec: Spec) -> Targets:
    weight = None if spec.weight is None else np.asarray(spec.weight, float)
    return make_targets(targets, options=keep, weight=weight)


def _ensemble(fit: Fit, n: int, k: int, design: Design) -> Ensemble:
    rows = rows_of(design)
    return Ensemble(
        personas_of(fit.weights, n, design),
        fit.weights[rows : rows + k],
        fit.divergence,
        fit.objective,
        fit.lower_bound,
        fit.start,
        fit.gap,
        fit.status,
        fit.steps,
    )


def _not_traced(*given) -> None:
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(given)):
        raise ValueError(
            "targets, answers and options are checked and must be concrete: under jit, vmap and "
            "grad use certified_fit, with make_targets and make_design called outside"
        )


def _checked(targets, answers: Answers, options, values, floor) -> tuple[np.ndarray, Targets]:
    """The options to keep, and the targets of equally weighted questions."""
    _not_traced(targets, answers, options, values, floor)
    keep = _options(options, answers)
    if np.shape(targets) != keep.shape:
        raise ValueError(
            f"targets have shape {np.shape(targets)}, the answers {keep.shape}: rows must be the "
            "same questions, columns the same options"
        )
    if not 0 <= floor * answers.n_options < 1:
        raise ValueError(f"floor must be at least 0 and below 1/{answers.n_options}, got {floor}")
    return keep, make_targets(targets, options=keep, values=values)


def _options(options: ArrayLike | None, answers: Answers) -> np.ndarray:
    shape = (answers.m, answers.n_options)
    keep = np.ones(shape, bool) if options is None else np.asarray(options)
    if keep.dtype != bool or keep.shape not in (shape, shape[1:]):
        raise ValueError(
            f"options must be a mask of shape {shape} or {shape[1:]}, got {keep.dtype} of shape "
            f"{keep.shape}"
        )
    return np.broadcast_to(keep, shape)


def _base(base: ArrayLike, size: int) -> Array:
    _not_traced(base)
    given = np.asarray(base, float)
    if given.shape != (size,) or not np.isfinite(given).all() or (given < 0).any():
        raise ValueError(
            f"base must be {size} finite numbers that are not negative: one per twin, then one per "
            "dummy"
        )
    if given.sum() == 0:
        raise ValueError("base: all weights are 0")
    return jnp.asarray(given / given.sum(), jnp.result_type(float))
