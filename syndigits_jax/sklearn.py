"""The solvers as estimators of scikit-learn, for pipelines and searches (extra `sklearn`).

They compute in the precision of the data they are given, as scikit-learn does: float64 in double
precision, whatever JAX's own default is. What they learn is NumPy arrays. Parameters are checked by
`fit`, as scikit-learn wants it.
"""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np

from .solvers.completion import als, fold_in, hard_impute, soft_impute
from .solvers.elastic_net import elastic_net
from .solvers.ridge import ridge
from .solvers.simplex_least_squares import simplex_least_squares
from .solvers.solution import Status

try:
    from sklearn.base import (
        BaseEstimator,
        OneToOneFeatureMixin,
        RegressorMixin,
        TransformerMixin,
    )
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "estimators need scikit-learn 1.6 or newer, which is not installed: "
        'pip install "syndigits-jax[sklearn]"'
    ) from error

__all__ = ["ElasticNetRegressor", "LowRankImputer", "RidgeRegressor", "SimplexRegressor"]
_FLOATS = [np.float64, np.float32]
_METHODS = ("soft", "hard", "als")


@contextlib.contextmanager
def _precision_of(x: np.ndarray) -> Iterator[None]:
    """Double precision for float64."""
    if x.dtype == np.float64:
        home = jax if hasattr(jax, "enable_x64") else jax.experimental  # where JAX is older
        enable: Any = vars(home)["enable_x64"]
        with enable(True):
            yield
    else:
        yield


def _padded(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, ...]:
    """Data with rows of no weight behind them, so that folds of about one size share a program."""
    n, p = x.shape
    if n < p:  # solvers take another way there
        return x, y, weight
    size = 1 << (n - 1).bit_length() if n <= 1024 else -(-n // 1024) * 1024
    extra = max(size, 8) - n
    return np.pad(x, ((0, extra), (0, 0))), np.pad(y, (0, extra)), np.pad(weight, (0, extra))


class _Regressor(RegressorMixin, BaseEstimator):
    """Fits `coef_` and `intercept_` by one of the solvers."""

    coef_: np.ndarray
    intercept_: float

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "_Regressor":
        """Fit to the rows of `X` (n, p) and `y` (n,), weighted by `sample_weight` (n,).

        **Raises:** `ValueError` for data or parameters that cannot be used, and for a singular
        problem. **Warns** (`ConvergenceWarning`) where `max_iter` was reached.
        """
        X, y = validate_data(self, X, y, dtype=_FLOATS, y_numeric=True)
        y = np.asarray(y, X.dtype)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, X, dtype=X.dtype, ensure_non_negative=True
            )
        rows = _padded(X, y, np.ones(len(X), X.dtype) if sample_weight is None else sample_weight)
        with _precision_of(X):
            solution, coef, intercept = self._solved(*map(jnp.asarray, rows))
            self.coef_ = np.asarray(coef)
            self.intercept_ = float(intercept)
            _report(self, solution)
        return self

    def _solved(self, x: Any, y: Any, weight: Any) -> tuple[Any, Any, Any]:
        raise NotImplementedError

    def predict(self, X: Any) -> np.ndarray:
        """Predictions (n,) for the rows of `X` (n, p)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_FLOATS, reset=False)
        return X @ self.coef_ + np.asarray(self.intercept_, self.coef_.dtype)


class RidgeRegressor(_Regressor):
    """Ridge regression, Σ wᵢ (yᵢ - xᵢb - b₀)² + `alpha` |b|², as [`ridge`][] solves it.

    **Arguments:** `alpha`: penalty, not negative; `fit_intercept`: whether b₀ is free.

    After `fit`: `coef_` (p,), `intercept_`, `optimality_` (relative residual of the normal
    equations).

    **Example:**

        >>> import numpy as np
        >>> from sklearn.model_selection import GridSearchCV
        >>> from syndigits_jax.sklearn import RidgeRegressor
        >>> x = np.arange(12.0)[:, None]
        >>> search = GridSearchCV(RidgeRegressor(), {"alpha": [0.1, 100.0]}, cv=3)
        >>> print(search.fit(x, 2 * x[:, 0] + 1).best_params_)
        {'alpha': 0.1}
    """

    def __init__(self, alpha: Any = 1.0, *, fit_intercept: Any = True):
        self.alpha = alpha
        self.fit_intercept = fit_intercept

    def _solved(self, x: Any, y: Any, weight: Any) -> tuple[Any, Any, Any]:
        intercept = bool(self.fit_intercept)
        found = ridge(x, y, self.alpha, sample_weight=weight, fit_intercept=intercept)
        return found, found.value.coef, found.value.intercept


class ElasticNetRegressor(_Regressor):
    """Elastic net with scikit-learn's objective, as [`elastic_net`][] solves it.

    1/(2W) Σ wᵢ (yᵢ - xᵢb - b₀)² + `alpha` (`l1_ratio` |b|₁ + ½ (1 - `l1_ratio`) |b|²), W = Σ wᵢ.

    **Arguments:** `alpha`, `l1_ratio`: penalty and its mix; `fit_intercept`: whether b₀ is free;
    `tol`, `max_iter`: the relative duality gap to stop at, and the most steps.

    After `fit`: `coef_` (p,), `intercept_`, `n_iter_`, `optimality_` (the gap reached).

    **Example:**

        >>> import numpy as np
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> from syndigits_jax.sklearn import ElasticNetRegressor
        >>> x = np.eye(6)[:, :2]
        >>> model = make_pipeline(StandardScaler(), ElasticNetRegressor(0.1)).fit(x, x[:, 0])
        >>> print(model.predict(x)[:2].round(2))
        [0.85 0.03]
    """

    def __init__(
        self,
        alpha: Any = 1.0,
        *,
        l1_ratio: Any = 0.5,
        fit_intercept: Any = True,
        tol: Any = 1e-6,
        max_iter: Any = 10_000,
    ):
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter

    def _solved(self, x: Any, y: Any, weight: Any) -> tuple[Any, Any, Any]:
        found = elastic_net(
            x, y, self.alpha, self.l1_ratio, sample_weight=weight,
            fit_intercept=bool(self.fit_intercept), tol=self.tol, max_steps=self.max_iter,
        )  # fmt: skip
        return found, found.value.coef, found.value.intercept


class SimplexRegressor(_Regressor):
    """Least squares with weights that are not negative and sum to one, without an intercept.

    Σ wᵢ (yᵢ - xᵢb)² + `alpha` |b|², as [`simplex_least_squares`][] solves it: synthetic control.

    **Arguments:** `alpha`: penalty, not negative; `tol`, `max_iter`: the relative Frank-Wolfe gap
    to stop at, and the most steps.

    After `fit`: `coef_` (p,), `n_iter_`, `optimality_` (the gap reached).

    **Example:**

        >>> from syndigits_jax.sklearn import SimplexRegressor
        >>> donors = [[1.0, 0.0, 4.0], [0.0, 2.0, 4.0], [1.0, 1.0, 4.0]]
        >>> print(SimplexRegressor().fit(donors, [0.25, 1.5, 1.0]).coef_.round(2))
        [0.25 0.75 0.  ]
    """

    def __init__(self, alpha: Any = 0.0, *, tol: Any = 1e-6, max_iter: Any = 5000):
        self.alpha = alpha
        self.tol = tol
        self.max_iter = max_iter

    def _solved(self, x: Any, y: Any, weight: Any) -> tuple[Any, Any, Any]:
        found = simplex_least_squares(
            x, y, self.alpha, sample_weight=weight, tol=self.tol, max_steps=self.max_iter
        )
        return found, found.value, 0.0

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # no intercept, no free scale
        return tags


class LowRankImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Missing entries from a low-rank fit; observed ones stay as they are.

    A matrix of low rank is fitted to the observed entries, by default less their column means.
    Rows that are transformed are placed on its row space by their own observed entries, the rows of
    the fit too.

    **Arguments:**

    - `method`: `"soft"` ([`soft_impute`][], a nuclear-norm penalty), `"hard"` ([`hard_impute`][], a
      fixed rank without a penalty) or `"als"` (the objective of soft by alternating ridge).
    - `rank`: the most that the fit may have; lowered where the matrix is smaller.
    - `alpha`: the penalty, in the unit of the data times √n; not read by `"hard"`.
    - `center`: whether column means are taken off first; they count to the rank otherwise.
    - `tol`, `max_iter`: the relative change to stop at, and the most refits.
    - `random_state`: of the start of `"als"`, an integer.

    After `fit`: `mean_` (m,) that is taken off, `components_` (r, m) of the row space, `n_iter_`.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax.sklearn import LowRankImputer
        >>> x = np.outer([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0])
        >>> x[3, 2] = np.nan
        >>> imputer = LowRankImputer("hard", rank=1, center=False, tol=1e-7)
        >>> print(imputer.fit_transform(x)[3].round(1))
        [ 4.  8. 12.]
    """

    def __init__(
        self,
        method: Any = "soft",
        *,
        rank: Any = 10,
        alpha: Any = 0.1,
        center: Any = True,
        tol: Any = 1e-4,
        max_iter: Any = 1000,
        random_state: Any = 0,
    ):
        self.method = method
        self.rank = rank
        self.alpha = alpha
        self.center = center
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "LowRankImputer":
        """Fit to `X` (n, m), NaN where missing; `y` is not used.

        **Raises:** `ValueError` for data or parameters that cannot be used, and for a column
        without any entry. **Warns** (`ConvergenceWarning`) where `max_iter` was reached.
        """
        if self.method not in _METHODS:
            raise ValueError(f"`method` must be one of {_METHODS}, got {self.method!r}")
        X = validate_data(self, X, dtype=_FLOATS, ensure_all_finite="allow-nan")
        observed = ~np.isnan(X)
        if not observed.any(axis=0).all():
            raise ValueError(f"column {int(np.argmin(observed.any(axis=0)))} has no entry")
        self.mean_ = np.nanmean(X, axis=0) if self.center else np.zeros(X.shape[1], X.dtype)
        filled = np.where(observed, X - self.mean_, 0)
        rank = min(int(self.rank), *X.shape)
        self._penalty = 0.0 if self.method == "hard" else float(self.alpha) * float(len(X)) ** 0.5
        with _precision_of(X):
            options = {"tol": self.tol, "max_steps": self.max_iter}
            x, mask = jnp.asarray(filled), jnp.asarray(observed)
            if self.method == "hard":
                solution = hard_impute(x, mask, rank, **options)
            elif self.method == "soft":
                solution = soft_impute(x, mask, rank, self._penalty, **options)
            else:
                key = jax.random.key(self.random_state)
                solution = als(x, mask, rank, self._penalty, key=key, **options)
            self.components_ = np.asarray(solution.value.loadings).T
            _report(self, solution)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """`X` (k, m) with its missing entries filled in."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_FLOATS, ensure_all_finite="allow-nan", reset=False)
        observed = ~np.isnan(X)
        filled = np.where(observed, X - self.mean_, 0).astype(X.dtype)
        with _precision_of(X):
            loadings = jnp.asarray(self.components_.T.astype(X.dtype))
            mask = jnp.asarray(observed)
            fitted = np.asarray(fold_in(jnp.asarray(filled), mask, loadings, self._penalty))
        return np.where(observed, X, fitted + self.mean_).astype(X.dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _report(estimator: Any, solution: Any) -> None:
    """How the solver ended: attributes, a warning, or an error."""
    status = Status(int(solution.status))
    name = type(estimator).__name__
    if status in (Status.SINGULAR, Status.NONFINITE):
        raise ValueError(
            f"{name}: the problem is {status.word}; a positive `alpha`, columns that are not "
            "repeated, and smaller numbers help"
        )
    estimator.n_iter_ = max(1, int(solution.steps))
    estimator.optimality_ = float(solution.optimality)
    if status == Status.MAX_STEPS:
        warnings.warn(
            f"{name}: {estimator.n_iter_} steps did not reach `tol`; raise `max_iter` or `tol`, or "
            "scale the columns alike",
            ConvergenceWarning,
            stacklevel=3,
        )
