"""The ten calibrators of the paper's Table 1 (section 3.2, appendix A.2), as data.

Each is a frozen Equinox module. Hyperparameters to sweep or differentiate (`penalty`, `alpha`,
`l1_ratio`, `weight_decay`) are array leaves; those that fix shapes (`rank`, `hidden`) are static.
`fit` is pure: it works under `jit`, `vmap` and `grad` in both modes (synthetic prior carries no
gradient).

Longer than 400 lines: the ten calibrators stand together.
"""

import abc
import dataclasses
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt32

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
from ._hyperparameters import INFINITY, as_leaf, check_bounds, shown
from .problem import Regression, Stack
from .settings import Settings


class Fitted(eqx.Module):
    """What a calibrator finds for t targets, in scaled units.

    `prediction` (s, t) for the humans, and `training_mse` (t,) on the twins.
    """

    prediction: Float[Array, "s t"]
    training_mse: Float[Array, " t"]


class Calibrator(eqx.Module):
    """A method that predicts human answers to a target from donors and the twins' answers.

    Subclass [`FitAndTransfer`][] or [`MatrixCompletion`][], which say what `fit` is given. Where
    `differentiable` is false, predictions are constants to `grad` and `jvp`. It prints its
    hyperparameters, and scikit-learn's `clone` copies it.
    """

    differentiable: ClassVar[bool] = True

    def __repr__(self) -> str:
        fields = (f"{f.name}={shown(getattr(self, f.name))}" for f in dataclasses.fields(self))
        return f"{type(self).__name__}({', '.join(fields)})"

    def __sklearn_clone__(self) -> "Calibrator":
        return dataclasses.replace(self)

    def _check_rank(self, matrix: Array) -> None:
        check_rank(getattr(self, "rank", 1), matrix.shape, f"{type(self).__name__}: rank")


class FitAndTransfer(Calibrator):
    """Algorithm 1: fit the target on the twins' donors, apply the fit to the humans'."""

    @abc.abstractmethod
    def fit(self, problem: Regression, settings: Settings) -> Solution[Fitted]:
        """Solve one regression problem (one target)."""


class MatrixCompletion(Calibrator):
    """Algorithm 2: complete the stacked matrix of humans and twins."""

    @abc.abstractmethod
    def fit(self, problem: Stack, settings: Settings) -> Solution[Fitted]:
        """Complete one stack (all its targets at once)."""


def _with_value(solution: Solution, prediction: Array, training_mse: Array) -> Solution[Fitted]:
    """How the solver ended, with what it means for the humans."""
    return dataclasses.replace(solution, value=Fitted(prediction, training_mse))


@full_precision
def _transfer(problem: Regression, coef, intercept, solution: Solution) -> Solution[Fitted]:
    fitted = problem.x_twin @ coef + intercept
    prediction = problem.x_human @ coef + intercept
    return _with_value(solution, prediction[:, None], problem.training_mse(fitted)[None])


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

    penalty: float | int | Array = eqx.field(converter=as_leaf, default=100.0)

    def __check_init__(self):
        check_bounds(self, penalty=(0, INFINITY))

    def fit(self, problem: Regression, settings: Settings) -> Solution[Fitted]:
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

    alpha: float | int | Array = eqx.field(converter=as_leaf, default=0.1)
    l1_ratio: float | int | Array = eqx.field(converter=as_leaf, default=0.5)

    def __check_init__(self):
        check_bounds(self, alpha=(0, INFINITY), l1_ratio=(0, 1))

    def fit(self, problem: Regression, settings: Settings) -> Solution[Fitted]:
        """See [`FitAndTransfer.fit`][]."""
        return _elastic_net(problem, self.alpha, self.l1_ratio, settings)


class Lasso(FitAndTransfer):
    """Lasso: [`ElasticNet`][] with an ℓ1 penalty only (Hollingsworth and Wing 2020)."""

    alpha: float | int | Array = eqx.field(converter=as_leaf, default=0.01)

    def __check_init__(self):
        check_bounds(self, alpha=(0, INFINITY))

    def fit(self, problem: Regression, settings: Settings) -> Solution[Fitted]:
        """See [`FitAndTransfer.fit`][]."""
        return _elastic_net(problem, self.alpha, 1.0, settings)


def _elastic_net(problem: Regression, alpha, l1_ratio, settings: Settings) -> Solution[Fitted]:
    if problem.moments is None:
        x, y, weight = problem.training_set()
        solution = elastic_net(
            x, y, alpha, l1_ratio, sample_weight=weight, tol=settings.fitting.regression_tol
        )
    else:
        solution = elastic_net_from_gram(
            problem.moments, alpha, l1_ratio, tol=settings.fitting.regression_tol
        )
    return _transfer(problem, solution.value.coef, solution.value.intercept, solution)


class NeuralNet(FitAndTransfer):
    """A small ReLU network trained with Adam and early stopping on the training loss.

    `patience=None` trains for all `epochs`. `key` is a JAX random key for the start and the order
    of the minibatches, `jax.random.key(0)` by default. Gradients pass through the training, with
    the number of epochs held fixed.
    """

    hidden: tuple[int, ...] = eqx.field(static=True, default=(8,))
    weight_decay: float | int | Array = eqx.field(converter=as_leaf, default=0.05)
    learning_rate: float | int | Array = eqx.field(converter=as_leaf, default=1e-3)
    batch_size: int = eqx.field(static=True, default=128)
    epochs: int = eqx.field(static=True, default=200)
    patience: int | None = eqx.field(static=True, default=20)
    key: Key[Array, "..."] | UInt32[Array, "... 2"] | None = None

    def __check_init__(self):
        check_bounds(self, weight_decay=(0, INFINITY), learning_rate=(0, INFINITY))

    def fit(self, problem: Regression, settings: Settings) -> Solution[Fitted]:
        """See [`FitAndTransfer.fit`][]."""
        check_scalar("weight_decay", self.weight_decay)
        check_scalar("learning_rate", self.learning_rate)
        x, y, weight = problem.training_set()
        solution = mlp_regression(
            x,
            y,
            hidden=self.hidden,
            key=jax.random.key(0) if self.key is None else self.key,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            epochs=self.epochs,
            patience=self.patience,
            sample_weight=weight,
        )
        network = solution.value
        mse = problem.training_mse(network(problem.x_twin))
        return _with_value(solution, network(problem.x_human)[:, None], mse[None])


class SyntheticControl(FitAndTransfer):
    """Weights on the simplex, ridge `penalty`, no intercept (Abadie et al. 2010)."""

    penalty: float | int | Array = eqx.field(converter=as_leaf, default=1e-6)

    def __check_init__(self):
        check_bounds(self, penalty=(0, INFINITY))

    @full_precision
    def fit(self, problem: Regression, settings: Settings) -> Solution[Fitted]:
        """See [`FitAndTransfer.fit`][]."""
        certified = settings.fitting.simplex == "certified"
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
    penalty: float | int | Array = eqx.field(converter=as_leaf, default=100.0)

    def __check_init__(self):
        check_bounds(self, penalty=(0, INFINITY), rank=(1, INFINITY))

    def directions(self, problem: Regression) -> Float[Array, "p r"]:
        """The donors' leading right singular vectors, on which the regression is run."""
        x, weight = problem.x_twin, problem.donor_weight
        right = leading_subspace(x, self.rank, sample_weight=weight, tol=1e-3).value.right
        weight = jnp.ones_like(x[:, 0]) if weight is None else weight
        return attach_subspace_gradient(x, weight, right)

    @full_precision
    def fit(self, problem: Regression, settings: Settings) -> Solution[Fitted]:
        """See [`FitAndTransfer.fit`][]."""
        self._check_rank(problem.x_twin)
        check_scalar("penalty", self.penalty)
        x, y, weight = problem.training_set()
        directions = self.directions(problem)
        solution = ridge(x @ directions, y, self.penalty, sample_weight=weight)
        model = solution.value
        return _transfer(problem, directions @ model.coef, model.intercept, solution)


def _read_off(
    problem: Stack, solution: Solution, fitted_twin: Array | None = None
) -> Solution[Fitted]:
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
    return _with_value(solution, prediction, mse)


def _start(problem: Stack) -> Array | None:
    """Where spectral methods start: at the questions' means, which are zero after scaling."""
    return None if problem.layout == "over" else jnp.zeros_like(problem.values)


class HardImpute(MatrixCompletion):
    """Rank-constrained iterative SVD of the stack (Mazumder et al. 2010)."""

    rank: int = eqx.field(static=True, default=5)

    def __check_init__(self):
        check_bounds(self, rank=(1, INFINITY))

    def fit(self, problem: Stack, settings: Settings) -> Solution[Fitted]:
        """See [`MatrixCompletion.fit`][]."""
        self._check_rank(problem.values)
        solution = hard_impute(
            problem.values,
            problem.mask,
            self.rank,
            init=_start(problem),
            sample_weight=problem.weight,
            tol=settings.fitting.completion_tol,
            incomplete=problem.incomplete,
        )
        return _read_off(problem, solution)


class SoftImpute(MatrixCompletion):
    """Nuclear-norm regularised completion of the stack (Mazumder et al. 2010)."""

    rank: int = eqx.field(static=True, default=20)
    penalty: float | int | Array = eqx.field(converter=as_leaf, default=20.0)

    def __check_init__(self):
        check_bounds(self, penalty=(0, INFINITY), rank=(1, INFINITY))

    def fit(self, problem: Stack, settings: Settings) -> Solution[Fitted]:
        """See [`MatrixCompletion.fit`][]."""
        self._check_rank(problem.values)
        check_scalar("penalty", self.penalty)
        solution = soft_impute(
            problem.values,
            problem.mask,
            self.rank,
            self.penalty,
            init=_start(problem),
            sample_weight=problem.weight,
            tol=settings.fitting.completion_tol,
            incomplete=problem.incomplete,
            accelerate=settings.fitting.completion == "accelerated",
        )
        return _read_off(problem, solution)


class AlternatingLeastSquares(MatrixCompletion):
    """Alternating ridge regressions on the stack (Hastie et al. 2015).

    `key` is a JAX random key for the start, `jax.random.key(0)` by default.
    """

    rank: int = eqx.field(static=True, default=20)
    penalty: float | int | Array = eqx.field(converter=as_leaf, default=20.0)
    key: Key[Array, "..."] | UInt32[Array, "... 2"] | None = None

    def __check_init__(self):
        check_bounds(self, penalty=(0, INFINITY), rank=(1, INFINITY))

    def fit(self, problem: Stack, settings: Settings) -> Solution[Fitted]:
        """See [`MatrixCompletion.fit`][]."""
        self._check_rank(problem.values)
        check_scalar("penalty", self.penalty)
        solution = als(
            problem.values,
            problem.mask,
            self.rank,
            self.penalty,
            key=self.key,
            sample_weight=problem.weight,
            tol=settings.fitting.als_tol,
            incomplete=problem.incomplete,
            accelerate=settings.fitting.completion == "accelerated",
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
        check_bounds(self, rank=(1, INFINITY))

    def fit(self, problem: Stack, settings: Settings) -> Solution[Fitted]:
        """See [`MatrixCompletion.fit`][]."""
        self._check_rank(problem.human(problem.values))
        problem = jax.lax.stop_gradient(problem)
        weight = problem.weight
        solution = hard_impute(
            problem.human(problem.values),
            problem.human(problem.mask),
            self.rank,
            init=problem.twin(problem.values),
            sample_weight=None if weight is None else weight[: weight.shape[0] // 2],
            tol=settings.fitting.completion_tol,
            incomplete=problem.incomplete,
        )
        # The twins only start the iteration: their error is their distance to the fit.
        return _read_off(problem, solution, solution.value.fitted[:, -problem.targets :])
