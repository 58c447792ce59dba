"""The ten calibrators of the paper's Table 1 (section 3.2, appendix A.2), as data.

Each is a frozen Equinox module. Hyperparameters to sweep or differentiate (`penalty`, `alpha`,
`l1_ratio`, `weight_decay`) are array leaves; those that fix shapes (`rank`, `hidden`) are static.
`fit` is pure: it works under `jit`, `vmap` and `grad` in both modes (synthetic prior carries no
gradient).

Longer than 400 lines: the ten calibrators stand together.
"""

import abc
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from ..solvers.checks import check_scalar
from ..solvers.completion import als, hard_impute, soft_impute
from ..solvers.elastic_net import elastic_net, elastic_net_from_gram
from ..solvers.exponentiated_gradient import (
    exponentiated_gradient,
    exponentiated_gradient_from_gram,
)
from ..solvers.low_rank import check_rank, leading_subspace
from ..solvers.mlp import mlp_regression
from ..solvers.precision import full_precision
from ..solvers.ridge import ridge, ridge_from_gram
from ..solvers.simplex_least_squares import simplex_least_squares, simplex_least_squares_from_gram
from ..solvers.solution import Solution
from ..solvers.subspace_gradient import attach_subspace_gradient
from .problem import Regression, Stack
from .settings import Settings


class Fit(eqx.Module):
    """A calibrator's result for t targets, in scaled units.

    `prediction` (s, t) for the humans, `training_mse` (t,) on the twins, and the solver's
    `status`, `steps` and `optimality`.
    """

    prediction: Float[Array, "s t"]
    training_mse: Float[Array, " t"]
    status: Int[Array, ""]
    steps: Int[Array, ""]
    optimality: Float[Array, ""]


def _leaf(value) -> Array:
    try:
        value = float(value) if isinstance(value, str) else value
        return jnp.asarray(value, dtype=jnp.result_type(value, float))
    except (TypeError, ValueError):
        raise ValueError(f"a calibrator's penalty must be a number, got {value!r}") from None


_WHOLE = ("rank",)


def _check(module: eqx.Module, **bounds: tuple[int | float, int | float]) -> None:
    """Raise `ValueError` for concrete hyperparameters outside their bounds; tracers pass."""
    for name, (low, high) in bounds.items():
        value = getattr(module, name)
        if isinstance(value, Tracer) or not isinstance(value, (jax.Array, int, float)):
            continue
        # NumPy: inside `jit` JAX would trace the comparison, even of numbers that are known.
        if name in _WHOLE and int(value) != value:
            raise ValueError(f"{type(module).__name__}: {name} must be a whole number, got {value}")
        array = np.asarray(value)
        if not np.all((array >= low) & (array <= high) & np.isfinite(array)):
            finite = f"finite and at least {low:g}"
            span = finite if high == INFINITY else f"in [{low:g}, {high:g}]"
            raise ValueError(f"{type(module).__name__}: {name} must be {span}, got {value}")


INFINITY = float("inf")


class Calibrator(eqx.Module):
    """A method that predicts human answers to a target from donors and the twins' answers.

    Subclass [`FitAndTransfer`][] or [`MatrixCompletion`][], which say what `fit` is given. Where
    `differentiable` is false, predictions are constants to `grad` and `jvp`.
    """

    differentiable: ClassVar[bool] = True

    def _check_rank(self, matrix: Array) -> None:
        check_rank(getattr(self, "rank", 1), matrix.shape, f"{type(self).__name__}: rank")


class FitAndTransfer(Calibrator):
    """Algorithm 1: fit the target on the twins' donors, apply the fit to the humans'."""

    @abc.abstractmethod
    def fit(self, problem: Regression, settings: Settings) -> Fit:
        """Solve one regression problem (one target)."""


class MatrixCompletion(Calibrator):
    """Algorithm 2: complete the stacked matrix of humans and twins."""

    @abc.abstractmethod
    def fit(self, problem: Stack, settings: Settings) -> Fit:
        """Complete one stack (all its targets at once)."""


@full_precision
def _transfer(problem: Regression, coef, intercept, solution: Solution) -> Fit:
    fitted = problem.x_twin @ coef + intercept
    prediction = problem.x_human @ coef + intercept
    mse = problem.training_mse(fitted)
    return Fit(prediction[:, None], mse[None], solution.status, solution.steps, solution.optimality)


class Ridge(FitAndTransfer):
    """Ridge regression, Σ(y - xw - b)² + `penalty`·‖w‖², b free (Ben-Michael et al. 2021).

    **Example:**

        >>> import jax
        >>> import jax.numpy as jnp
        >>> from syndigits_jax import Ridge, calibrate_question
        >>> human, twin = jnp.eye(6)[:, :2], jnp.sin(jnp.arange(18.0)).reshape(6, 3)
        >>> first = lambda method: calibrate_question(method, human, twin).prediction[0, 0]
        >>> print(type(jax.grad(first)(Ridge(penalty=10.0))).__name__)  # slopes, by field
        Ridge
    """

    penalty: float | int | Array = eqx.field(converter=_leaf, default=100.0)

    def __check_init__(self):
        _check(self, penalty=(0, INFINITY))

    def fit(self, problem: Regression, settings: Settings) -> Fit:
        """See [`FitAndTransfer.fit`][]."""
        check_scalar("penalty", self.penalty)
        if problem.moments is None:
            x, y, weight = problem.training_set()
            solution = ridge(x, y, self.penalty, sample_weight=weight)
        else:
            solution = ridge_from_gram(problem.moments, self.penalty)
        return _transfer(problem, solution.value.coef, solution.value.intercept, solution)


class ElasticNet(FitAndTransfer):
    """Elastic net, 1/(2n)·Σ(y - xw - b)² + `alpha`·(ρ‖w‖₁ + (1-ρ)/2·‖w‖²), ρ = `l1_ratio`."""

    alpha: float | int | Array = eqx.field(converter=_leaf, default=0.1)
    l1_ratio: float | int | Array = eqx.field(converter=_leaf, default=0.5)

    def __check_init__(self):
        _check(self, alpha=(0, INFINITY), l1_ratio=(0, 1))

    def fit(self, problem: Regression, settings: Settings) -> Fit:
        """See [`FitAndTransfer.fit`][]."""
        return _elastic_net(problem, self.alpha, self.l1_ratio, settings)


class Lasso(FitAndTransfer):
    """Lasso: [`ElasticNet`][] with an ℓ1 penalty only (Hollingsworth and Wing 2020)."""

    alpha: float | int | Array = eqx.field(converter=_leaf, default=0.01)

    def __check_init__(self):
        _check(self, alpha=(0, INFINITY))

    def fit(self, problem: Regression, settings: Settings) -> Fit:
        """See [`FitAndTransfer.fit`][]."""
        return _elastic_net(problem, self.alpha, 1.0, settings)


def _elastic_net(problem: Regression, alpha, l1_ratio, settings: Settings) -> Fit:
    if problem.moments is None:
        x, y, weight = problem.training_set()
        solution = elastic_net(
            x, y, alpha, l1_ratio, sample_weight=weight, tol=settings.regression_tol
        )
    else:
        solution = elastic_net_from_gram(
            problem.moments, alpha, l1_ratio, tol=settings.regression_tol
        )
    return _transfer(problem, solution.value.coef, solution.value.intercept, solution)


class NeuralNet(FitAndTransfer):
    """A small ReLU network trained with Adam and early stopping on the training loss.

    `patience=None` trains for all `epochs`. Gradients pass through the training, with the number
    of epochs held fixed.
    """

    hidden: tuple[int, ...] = eqx.field(static=True, default=(8,))
    weight_decay: float | int | Array = eqx.field(converter=_leaf, default=0.05)
    learning_rate: float | int | Array = eqx.field(converter=_leaf, default=1e-3)
    batch_size: int = eqx.field(static=True, default=128)
    epochs: int = eqx.field(static=True, default=200)
    patience: int | None = eqx.field(static=True, default=20)
    seed: int = eqx.field(static=True, default=0)

    def __check_init__(self):
        _check(self, weight_decay=(0, INFINITY), learning_rate=(0, INFINITY))

    def fit(self, problem: Regression, settings: Settings) -> Fit:
        """See [`FitAndTransfer.fit`][]."""
        check_scalar("weight_decay", self.weight_decay)
        check_scalar("learning_rate", self.learning_rate)
        x, y, weight = problem.training_set()
        solution = mlp_regression(
            x,
            y,
            hidden=self.hidden,
            key=jax.random.key(self.seed),
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            epochs=self.epochs,
            patience=self.patience,
            sample_weight=weight,
        )
        network = solution.value
        mse = problem.training_mse(network(problem.x_twin))
        prediction = network(problem.x_human)
        return Fit(
            prediction[:, None], mse[None], solution.status, solution.steps, solution.optimality
        )


class SyntheticControl(FitAndTransfer):
    """Weights on the simplex, ridge `penalty`, no intercept (Abadie et al. 2010)."""

    penalty: float | int | Array = eqx.field(converter=_leaf, default=1e-6)

    def __check_init__(self):
        _check(self, penalty=(0, INFINITY))

    @full_precision
    def fit(self, problem: Regression, settings: Settings) -> Fit:
        """See [`FitAndTransfer.fit`][]."""
        certified = settings.simplex == "certified"
        x, y, weight = problem.training_set()
        if problem.moments is None:
            solve = simplex_least_squares if certified else exponentiated_gradient
            solution = solve(x, y, self.penalty, sample_weight=weight)
        else:
            solve = (
                simplex_least_squares_from_gram if certified else exponentiated_gradient_from_gram
            )
            # The moments are stored about the means, as the other regressions need them.
            solution = solve(problem.moments.without_intercept(), self.penalty)
        return _transfer(problem, solution.value, jnp.zeros((), x.dtype), solution)


class SyntheticIntervention(FitAndTransfer):
    """Ridge on the leading singular directions of the twins' donors (Agarwal et al. 2025).

    Gradients include how the subspace of the directions turns with the donors. They are NaN where
    that has no derivative: where the last direction kept is no stronger than the first left out.
    """

    rank: int = eqx.field(static=True, default=20)
    penalty: float | int | Array = eqx.field(converter=_leaf, default=100.0)

    def __check_init__(self):
        _check(self, penalty=(0, INFINITY), rank=(1, INFINITY))

    def directions(self, problem: Regression) -> Float[Array, "p r"]:
        """The donors' leading right singular vectors, on which the regression is run."""
        x, weight = problem.x_twin, problem.donor_weight
        right = leading_subspace(x, self.rank, sample_weight=weight, tol=1e-3).value.right
        weight = jnp.ones_like(x[:, 0]) if weight is None else weight
        return attach_subspace_gradient(x, weight, right)

    @full_precision
    def fit(self, problem: Regression, settings: Settings) -> Fit:
        """See [`FitAndTransfer.fit`][]."""
        self._check_rank(problem.x_twin)
        check_scalar("penalty", self.penalty)
        x, y, weight = problem.training_set()
        directions = self.directions(problem)
        solution = ridge(x @ directions, y, self.penalty, sample_weight=weight)
        model = solution.value
        return _transfer(problem, directions @ model.coef, model.intercept, solution)


def _read_off(problem: Stack, solution: Solution, fitted_twin: Array | None = None) -> Fit:
    """Predictions and training error from a completed stack."""
    t = problem.targets
    fitted = solution.value.fitted
    prediction = (problem.human(fitted) if fitted_twin is None else fitted)[:, -t:]
    fitted_twin = problem.twin(fitted)[:, -t:] if fitted_twin is None else fitted_twin
    twin, mask = problem.twin(problem.values)[:, -t:], problem.twin(problem.mask)[:, -t:]
    weight = mask.astype(twin.dtype)
    if problem.weight is not None:
        weight = weight * problem.weight[-weight.shape[0] :][:, None]
    total = jnp.sum(weight, axis=0)
    mse = jnp.sum(weight * (twin - fitted_twin) ** 2, axis=0) / jnp.where(total > 0, total, 1)
    return Fit(prediction, mse, solution.status, solution.steps, solution.optimality)


def _start(problem: Stack) -> Array | None:
    """Where spectral methods start: at the questions' means, which are zero after scaling."""
    return None if problem.layout == "over" else jnp.zeros_like(problem.values)


class HardImpute(MatrixCompletion):
    """Rank-constrained iterative SVD of the stack (Mazumder et al. 2010)."""

    rank: int = eqx.field(static=True, default=5)

    def __check_init__(self):
        _check(self, rank=(1, INFINITY))

    def fit(self, problem: Stack, settings: Settings) -> Fit:
        """See [`MatrixCompletion.fit`][]."""
        self._check_rank(problem.values)
        solution = hard_impute(
            problem.values,
            problem.mask,
            self.rank,
            start=_start(problem),
            sample_weight=problem.weight,
            tol=settings.completion_tol,
        )
        return _read_off(problem, solution)


class SoftImpute(MatrixCompletion):
    """Nuclear-norm regularised completion of the stack (Mazumder et al. 2010)."""

    rank: int = eqx.field(static=True, default=20)
    penalty: float | int | Array = eqx.field(converter=_leaf, default=20.0)

    def __check_init__(self):
        _check(self, penalty=(0, INFINITY), rank=(1, INFINITY))

    def fit(self, problem: Stack, settings: Settings) -> Fit:
        """See [`MatrixCompletion.fit`][]."""
        self._check_rank(problem.values)
        check_scalar("penalty", self.penalty)
        solution = soft_impute(
            problem.values,
            problem.mask,
            self.rank,
            self.penalty,
            start=_start(problem),
            sample_weight=problem.weight,
            tol=settings.completion_tol,
        )
        return _read_off(problem, solution)


class AlternatingLeastSquares(MatrixCompletion):
    """Alternating ridge regressions on the stack (Hastie et al. 2015)."""

    rank: int = eqx.field(static=True, default=20)
    penalty: float | int | Array = eqx.field(converter=_leaf, default=20.0)
    seed: int = eqx.field(static=True, default=0)

    def __check_init__(self):
        _check(self, penalty=(0, INFINITY), rank=(1, INFINITY))

    def fit(self, problem: Stack, settings: Settings) -> Fit:
        """See [`MatrixCompletion.fit`][]."""
        self._check_rank(problem.values)
        check_scalar("penalty", self.penalty)
        solution = als(
            problem.values,
            problem.mask,
            self.rank,
            self.penalty,
            key=jax.random.key(self.seed),
            sample_weight=problem.weight,
            tol=settings.als_tol,
        )
        return _read_off(problem, solution)


class SyntheticPrior(MatrixCompletion):
    """Hard impute of the *human* matrix alone, its missing entries started from the twins'.

    Carries no gradient: where a column has no human answer the result depends on the start, which
    no condition at the solution determines. All derivatives of its predictions are zero, including
    those through the scaling and through known answers to the target.
    """

    differentiable: ClassVar[bool] = False
    rank: int = eqx.field(static=True, default=8)

    def __check_init__(self):
        _check(self, rank=(1, INFINITY))

    def fit(self, problem: Stack, settings: Settings) -> Fit:
        """See [`MatrixCompletion.fit`][]."""
        self._check_rank(problem.human(problem.values))
        problem = jax.lax.stop_gradient(problem)
        weight = problem.weight
        solution = hard_impute(
            problem.human(problem.values),
            problem.human(problem.mask),
            self.rank,
            start=problem.twin(problem.values),
            sample_weight=None if weight is None else weight[: weight.shape[0] // 2],
            tol=settings.completion_tol,
        )
        # The twins only start the iteration: their error is their distance to the fit.
        return _read_off(problem, solution, solution.value.fitted[:, -problem.targets :])
