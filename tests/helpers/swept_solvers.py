"""How the public functions of solvers, inference and diagnostics are called."""

import jax
import jax.numpy as jnp
import numpy as np
from disturbed import array, filled, mask, numbers, of

from syndigits_jax import diagnostics, inference, solvers

KEY = jax.random.key(0)
X, Y, OTHER = numbers("n", "m"), numbers("n", seed=1), numbers("n", seed=2)
ONES = filled(1, "n")
# (questions, people), as hold-outs are.
ROWS, ROWS_2 = numbers("m", "n"), numbers("m", "n", seed=3)
LINE = numbers("m", seed=4)
ALPHA = filled(0.5)


def quadratic(w):
    return jnp.sum((w - jnp.arange(w.shape[0], dtype=w.dtype)) ** 2)


def from_gram(solve):
    def call(x, y, sample_weight, **numbers):
        return solve(solvers.gram_statistics(x, y, sample_weight), **numbers)

    return call


SOLVERS = (
    of(solvers.als, x=X, mask=mask("n", "m"), rank=1, penalty=filled(0.5), sample_weight=ONES),
    of(solvers.critical_alpha, x=X, y=Y, l1_ratio=filled(0.5), sample_weight=ONES,
       undefined=("huge",)),
    of(solvers.elastic_net, x=X, y=Y, alpha=filled(0.1), l1_ratio=filled(0.5), sample_weight=ONES),
    of(solvers.elastic_net_from_gram, call=from_gram(solvers.elastic_net_from_gram), x=X, y=Y,
       sample_weight=ONES, alpha=filled(0.1), l1_ratio=filled(0.5)),
    of(solvers.elastic_net_path, x=X, y=Y, alphas=array([1.0, 0.5]), l1_ratio=filled(0.5),
       sample_weight=ONES),
    of(solvers.elastic_nets, x=X, y=numbers(2, "n", seed=1), alpha=array([0.5, 0.25]),
       l1_ratio=filled(0.5), sample_weight=ONES),
    of(solvers.exponentiated_gradient, x=X, y=Y, penalty=filled(0.5), sample_weight=ONES, steps=5),
    of(solvers.fold_in, x=X, mask=mask("n", "m"), loadings=numbers("m", 2), penalty=filled(0.5)),
    of(solvers.gram_statistics, x=X, y=Y, sample_weight=ONES, undefined=("huge",)),
    of(solvers.hard_impute, x=X, mask=mask("n", "m"), rank=1, sample_weight=ONES),
    of(solvers.kmeans, key=KEY, x=X, k=2),
    of(solvers.leading_subspace, x=X, rank=1, sample_weight=ONES),
    of(solvers.minimize_on_simplex, fun=quadratic, init=LINE, max_steps=20),
    of(solvers.mirror_descent, fun=quadratic, init=LINE, step_size=filled(0.1), max_steps=5),
    of(solvers.mlp_regression, x=X, y=Y, sample_weight=ONES, learning_rate=filled(0.01),
       hidden=(2,), key=KEY, epochs=2, patience=None),
    of(solvers.project_simplex, v=ROWS),
    of(solvers.ridge, x=X, y=Y, penalty=filled(0.5), sample_weight=ONES),
    of(solvers.ridge_from_gram, call=from_gram(solvers.ridge_from_gram), x=X, y=Y,
       sample_weight=ONES, penalty=filled(0.5)),
    of(solvers.ridge_loo_residuals, x=X, y=Y, penalty=filled(0.5), sample_weight=ONES),
    of(solvers.simplex_least_squares, x=X, y=Y, penalty=filled(0.5), sample_weight=ONES),
    of(solvers.soft_impute, x=X, mask=mask("n", "m"), rank=1, penalty=filled(0.5),
       sample_weight=ONES),
)  # fmt: skip

ASKED = array([1.0, 4, 2, 3, 5, 2, np.nan, np.nan])
ASKED_MANY = array([[1.0, 4, 2, 3], [2, 1, 3, 3], [5, 1, 1, 2], [np.nan] * 4] * 2)
YES = array([1.0, 0, 1, 0, 1, 1, np.nan, np.nan])
ARM = array([0.0, 1] * 4)
RESIDUALS = numbers("m", "n", seed=5, low=0.25, high=1)
SCORES = numbers("m", seed=6, low=0.25, high=1)


def product(x, y):
    return jnp.dot(x.astype(jnp.float32), y.astype(jnp.float32))


def count(value):
    """A Python number: whole, where it can be."""
    return int(value) if np.isfinite(value) else value.item()


def person_mean(answers):
    return np.full(np.shape(answers), np.nanmean(answers))


INFERENCE = (
    of(inference.bootstrap, call=lambda data, **o: inference.bootstrap(
        KEY, inference.nan_mean, data, **o), data=Y, replicates=5),
    of(inference.cheapest_split, cost_person=filled(10), cost_twin=filled(0.01), r2=filled(0.5),
       sd=filled(1), budget=filled(1000), level=filled(0.9)),
    of(inference.conformal_quantile, scores=SCORES, alpha=ALPHA),
    of(inference.cross_fit, predict=person_mean, truth=ASKED,
       folds=array([0, 1, 0, 1, 0, 1, -1, -1])),
    of(inference.exact_share_interval, call=lambda successes, trials, level:
       inference.exact_share_interval(*map(count, (successes, trials)), level.item()),
       successes=filled(3), trials=filled(4), level=filled(0.9)),
    of(inference.hierarchical_jackknife_plus, predictions_without=ROWS, residuals=RESIDUALS,
       mask=mask("m", "n"), scale=filled(1), alpha=ALPHA),
    of(inference.hierarchical_quantile, residuals=RESIDUALS, mask=mask("m", "n"), alpha=ALPHA),
    of(inference.jackknife_plus, predictions_without=ROWS, scores=SCORES, scale=filled(1),
       alpha=ALPHA),
    of(inference.jackknife_plus_half_width, prediction=Y, predictions_without=ROWS, scores=SCORES,
       scale=filled(1), alpha=ALPHA),
    of(inference.leave_one_out_quantiles, scores=SCORES, alpha=ALPHA),
    of(inference.nan_mean, values=Y, undefined=("no people",)),
    of(inference.people_needed, half_width=filled(0.1), sd=filled(1), r2=filled(0.5),
       twins=filled(1000), level=filled(0.9)),
    of(inference.permutation_p_value, observed=filled(0.5), permuted=Y),
    of(inference.permutation_test, call=lambda x, y: inference.permutation_test(
        KEY, product, x, y, replicates=5), x=Y, y=OTHER),
    of(inference.person_folds, key=KEY, truth=ASKED, folds=2),
    of(inference.ppi_difference, truth=ASKED, proxies=OTHER, group=ARM, sample_weight=ONES),
    of(inference.ppi_linear, x=numbers("n", 2), truth=ASKED, proxies=OTHER, sample_weight=ONES),
    of(inference.ppi_logistic, x=numbers("n", 1), truth=YES, proxies=filled(0.5, "n"),
       sample_weight=ONES),
    of(inference.ppi_mean, truth=ASKED, proxies=OTHER, sample_weight=ONES),
    of(inference.ppi_means, truth=ASKED_MANY, proxies=X, sample_weight=ONES),
    of(inference.ppi_quantile, truth=ASKED, proxies=OTHER, quantile=ALPHA, sample_weight=ONES),
    of(inference.ppi_share, truth=YES, proxies=filled(0.5, "n"), sample_weight=ONES),
    of(inference.question_scores, prediction=ROWS, truth=ROWS_2, scale=filled(1, "m")),
    of(inference.shrink, estimates=LINE, errors=SCORES),
    of(inference.sign_flip_test, key=KEY, differences=Y, replicates=5),
    of(inference.simultaneous_intervals, value=LINE, draws=numbers(9, "m")),
    of(inference.split_conformal, prediction=Y, scores=SCORES, scale=filled(1), alpha=ALPHA),
    of(inference.standard_error, values=Y, undefined=("no people", "one person")),
    of(inference.student_t_quantile, level=filled(0.9), df=array([3.0, 10.0])),
    of(inference.twin_scale, twin=ROWS, floor=filled(0.5)),
)  # fmt: skip


def latent(users, loadings, new, gram, cross, b, penalty):
    from syndigits_jax.diagnostics.error_bound import LatentPanel

    noise, new_noise = np.zeros((N_USERS, 3)), np.zeros(N_USERS)
    side = LatentPanel(users, loadings, new, noise=noise, new_noise=new_noise)
    return diagnostics.theorem_4_1(side, side, gram, cross, b, penalty)


N_USERS = 8
DIAGNOSTICS = (
    of(diagnostics.alignment, key=KEY, human=X, twin=numbers("n", "m", seed=7), rank=1, min_sd=0.0,
       shapes=("no people", "no questions")),
    of(diagnostics.estimate_error_bound, human=X, twin=numbers("n", "m", seed=7), target=0,
       penalty=filled(0.5), rank=1, key=KEY, shapes=("no people", "no questions", "one question")),
    of(diagnostics.select_rank, key=KEY, x=X, mask=mask("n", "m"), candidates=(1, 2),
       shapes=("no people", "no questions", "one question")),
    of(diagnostics.svd_diagnostics, human=X, twin=numbers("n", "m", seed=7), rank=1,
       shapes=("no people", "no questions", "one question")),
    of(diagnostics.theorem_4_1, call=latent, users=numbers(8, 2), loadings=numbers(3, 2),
       new=numbers(2), gram=array(np.eye(3)), cross=numbers(3), b=numbers(3), penalty=filled(0.5),
       shapes=(), also=("user_factors", "question_factors", "new_question")),
)  # fmt: skip

TABLE = (*SOLVERS, *INFERENCE, *DIAGNOSTICS)
EXCEPTIONS = {
    "solvers.raise_on_failure": "takes a solution, whose status it reads",
}
