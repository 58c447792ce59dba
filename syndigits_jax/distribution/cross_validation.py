"""Choices made on the training questions alone: penalties, blends, and cross-fitted predictions."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..solvers.boundary import Numbers, host_floats
from ..solvers.keys import PRNGKey, seed_generator
from .answers import Answers
from .ensemble import Ensemble, Spec, fit_ensembles, options_among
from .evaluation import divergence_by_question, mean_distribution
from .objective import Divergence
from .targets import Targets, make_targets, shares_of


def question_folds(m: int, folds: int, *, key: PRNGKey | None = None) -> Int[np.ndarray, " m"]:
    """A random fold, 0 .. `folds` - 1, for each of `m` questions; sizes are as equal as possible.

    `key`: of the assignment, a fixed one by default.

    **Raises:** `ValueError` unless 2 <= folds <= m.
    """
    if not 2 <= folds <= m:
        raise ValueError(f"`folds` must lie between 2 and the {m} training questions, got {folds}")
    key = jax.random.key(0) if key is None else key
    return seed_generator(key).permutation(np.arange(m) % folds)


def cross_fit(
    targets: Numbers,
    answers: Answers,
    specs: Sequence[Spec],
    *,
    folds: int = 5,
    key: PRNGKey | None = None,
    options: Numbers = None,
    values: Numbers = None,
    floor: float = 1e-6,
) -> tuple[Float[np.ndarray, "specs m K"], Float[np.ndarray, "m K"]]:
    """Predictions of every training question by fits that did not see it.

    All folds of all specs are one batch of fits: a question held out is one of weight 0.

    **Arguments:**

    - `targets`, `answers`, `options`, `values`, `floor`: as in [`fit_ensemble`][].
    - `specs`: the fits to compare.
    - `folds`: number of folds of questions.
    - `key`: of the assignment of questions to folds, a fixed one by default.

    **Returns:** per spec the (m, K) distributions, and those of the control: the mean human
    distribution of the other folds.

    **Raises:** `ValueError` as [`fit_ensemble`][], and for a number of folds outside 2 to m.
    """
    keep = options_among(options, answers, targets)
    predictions, means, _ = fit_folds(targets, answers, specs, folds, key, keep, values, floor)
    return predictions, means


def fit_folds(targets, answers: Answers, specs, folds, key, keep, values, floor):
    """Predictions and means as [`cross_fit`][] returns them, and every spec's fit to all questions.

    **Arguments:** `targets`, `answers`, `specs`, `folds`, `key`, `values`, `floor`: as in
    [`cross_fit`][]; `keep`: (m, K), the options that take part, from `options_among`.
    """
    fold = question_folds(answers.m, folds, key=key)
    many = []
    for spec in specs:
        share = shares_of(spec.weight, answers.m)
        # No question is in fold -1: the last fit of a spec is to all of them.
        many += [
            dataclasses.replace(spec, weight=np.where(fold == k, 0, share))
            for k in (*range(folds), -1)
        ]
    fits = fit_ensembles(targets, answers, many, options=keep, values=values, floor=floor)
    predictions = np.empty((len(specs), answers.m, answers.n_options))
    means = np.empty((answers.m, answers.n_options))
    for i in range(len(specs)):
        for k in range(folds):
            fit, held = fits[i * (folds + 1) + k], fold == k
            predictions[i, held] = np.asarray(fit.predict(answers, options=keep))[held]
    for k in range(folds):
        seen = make_targets(targets, options=keep, weight=np.where(fold == k, 0.0, 1.0))
        means[fold == k] = np.asarray(mean_distribution(seen, keep))[fold == k]
    return predictions, means, fits[folds :: folds + 1]


@dataclass(frozen=True)
class Blend:
    """The default predictor: an ensemble, mixed with the mean human distribution if that is better.

    - `ensemble`: fitted to all training questions with the chosen penalties, `spec`.
    - `targets`: the human distributions it was fitted to.
    - `share`: of the mean distribution in the prediction, chosen together with the penalties.
    - `error`: (specs, shares) cross-validated mean divergence; `specs`, `shares`: what was tried.
    """

    ensemble: Ensemble
    targets: Targets
    spec: Spec
    share: float
    specs: tuple[Spec, ...]
    shares: tuple[float, ...]
    error: Float[np.ndarray, "specs shares"]

    def predict(self, answers: Answers, *, options: Numbers = None) -> Float[Array, "q K"]:
        """(q, K) answer distributions of new questions; see [`Ensemble.predict`][]."""
        keep = self.ensemble.options_of(answers, options)
        twins = self.ensemble.predict(answers, options=keep)
        return (1 - self.share) * twins + self.share * mean_distribution(self.targets, keep)


def fit_blend(
    targets: Numbers,
    answers: Answers,
    divergence: str | Divergence = "tv",
    *,
    variant: str = "both",
    entropies: Numbers = (0.0, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3),
    ridges: Numbers = (0.0,),
    shares: Numbers = (0.0, 0.25, 0.5, 0.75, 1.0),
    folds: int = 5,
    key: PRNGKey | None = None,
    weight: Numbers = None,
    options: Numbers = None,
    values: Numbers = None,
    floor: float = 1e-6,
) -> Blend:
    """Choose penalties and the share of the mean distribution by cross-validation over questions.

    Every combination of `entropies` and `ridges` is fitted to all questions, and without each fold
    in turn, in one batch. The combination and the share are chosen together.

    **Arguments:**

    - `targets`, `answers`, `divergence`, `variant`, `weight`, `options`, `values`, `floor`: as in
      [`fit_ensemble`][]. The cross-validated error is the mean of `divergence` with `weight`.
    - `entropies`, `ridges`: penalties to try.
    - `shares`: of the mean human distribution in the prediction, to try; 0 is the ensemble alone.
    - `folds`, `key`: number of folds of questions, and the key of their assignment, a fixed one by
      default.

    **Returns:** a [`Blend`][] with the smallest cross-validated error.

    **Raises:** `ValueError` as [`fit_ensemble`][]; for empty or nested grids, shares outside 0..1,
    and a number of folds outside 2 to m.
    """
    grid = {"entropies": entropies, "ridges": ridges, "shares": shares}
    numbers = {name: host_floats(name, given) for name, given in grid.items()}
    if not all(given.ndim == 1 and given.size for given in numbers.values()):
        raise ValueError("`entropies`, `ridges` and `shares` must not be empty, nor nested")
    entropies, ridges, shares = (given.tolist() for given in numbers.values())
    if not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"`shares` must lie between 0 and 1, got {tuple(shares)}")
    keep = options_among(options, answers, targets)
    specs = tuple(Spec(divergence, variant, r, e, weight) for e in entropies for r in ridges)
    predictions, means, fits = fit_folds(targets, answers, specs, folds, key, keep, values, floor)
    truth = make_targets(targets, options=keep, weight=weight, values=values)

    def error(twins: np.ndarray, share: float) -> float:
        q = jnp.asarray((1 - share) * twins + share * means, truth.p.dtype)
        return float(jnp.dot(truth.weight, divergence_by_question(divergence, truth, q)))

    table = np.array([[error(twins, share) for share in shares] for twins in predictions])
    row, column = np.unravel_index(np.argmin(table), table.shape)
    share = float(shares[int(column)])
    return Blend(fits[row], truth, specs[row], share, specs, tuple(shares), table)
