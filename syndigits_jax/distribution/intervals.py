"""How far off a predicted answer share may be: conformal intervals over questions."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..inference.conformal import Interval, conformal_quantile
from ..solvers.boundary import Numbers, as_float
from ..solvers.keys import PRNGKey
from .answers import Answers
from .cross_validation import Blend, fit_folds
from .ensemble import Spec, options_among
from .options import kept_options
from .targets import Targets, make_targets


def share_intervals(
    targets: Numbers,
    answers: Answers,
    new_answers: Answers,
    spec: Spec | Blend,
    *,
    alpha: float = 0.1,
    simultaneous: bool = False,
    folds: int = 10,
    key: PRNGKey | None = None,
    options: Numbers = None,
    new_options: Numbers = None,
    values: Numbers = None,
    floor: float = 1e-6,
) -> tuple[Float[Array, "q K"], Interval]:
    """Predicted answer shares of new questions, with intervals for the true ones.

    The widths are conformal quantiles of how far *cross-fitted* predictions of the training
    questions were off: in-sample errors of thousands of weights would be far too small. Questions
    are taken as exchangeable. The prediction is that of a fit to all questions, a little better
    than the fits behind the widths, so coverage errs on the safe side.

    **Arguments:**

    - `targets`, `answers`, `options`, `values`, `floor`: the training questions, as in
      [`fit_ensemble`][].
    - `new_answers`: the same twins' answers to the q new questions.
    - `spec`: the fit, or a [`Blend`][] of the same targets and answers, whose penalties and share
      are taken as given.
    - `alpha`: the share of intervals that may miss.
    - `simultaneous`: use one width that covers all options of a question at once, not one width
      per option.
    - `folds`, `key`: number of folds of the cross-fit, and the key of their assignment, a fixed one
      by default.
    - `new_options`: (q, K) or (K,) the new questions' options, as in [`Ensemble.predict`][].

    **Returns:** predictions (q, K), and an [`Interval`][] of the same shape, within [0, 1].

    **Raises:** `ValueError` as [`fit_ensemble`][]; for an `alpha` outside (0, 1).
    """
    keep = options_among(options, answers, targets)
    blend = spec if isinstance(spec, Blend) else None
    chosen = spec if isinstance(spec, Spec) else spec.spec
    [crossed], means, [fit] = fit_folds(targets, answers, [chosen], folds, key, keep, values, floor)
    here = fit.options_of(new_answers, new_options)
    if blend is None:
        q = fit.predict(new_answers, options=here)
    else:
        q = blend.predict(new_answers, options=here)
        crossed = (1 - blend.share) * crossed + blend.share * means
    truth = make_targets(targets, options=keep, values=values)
    return q, intervals_around(
        q, crossed, truth, alpha=alpha, simultaneous=simultaneous, options=here
    )


def intervals_around(
    q: Numbers,
    crossed: Numbers,
    truth: Targets,
    *,
    alpha: float = 0.1,
    simultaneous: bool = False,
    options: Numbers,
) -> Interval:
    """Conformal intervals around any predictions, from the errors of cross-fitted ones.

    **Arguments:** `q`: (q, K) predictions for the new questions; `crossed`: (m, K) cross-fitted
    predictions of the training questions; `truth`: their true distributions; `alpha`,
    `simultaneous`: as in [`share_intervals`][]; `options`: (q, K) or (K,), which options the new
    questions have.

    **Returns:** an [`Interval`][] of the shape of `q`, within [0, 1]; 0 at options left out.

    **Raises:** `ValueError` for an `alpha` outside (0, 1), and shapes that do not fit.
    """
    q = as_float("q", q)
    fitted = np.asarray(as_float("crossed", crossed))
    if fitted.shape != truth.p.shape or q.ndim != 2 or q.shape[1] != truth.p.shape[1]:
        raise ValueError(
            f"`crossed` must have the targets' shape {truth.p.shape} and `q` as many options, got "
            f"{fitted.shape} and {q.shape}"
        )
    missed = np.abs(fitted - np.asarray(truth.p))
    off = jnp.asarray(np.where(np.asarray(truth.options), missed, np.nan), q.dtype)
    if simultaneous:
        off = jnp.broadcast_to(jnp.nanmax(off, axis=1, keepdims=True), off.shape)
    width = jax.vmap(lambda column: conformal_quantile(column, alpha), in_axes=1)(off)
    here = jnp.asarray(kept_options(q.shape, options=options))
    lower, upper = jnp.clip(q - width[None], 0, 1), jnp.clip(q + width[None], 0, 1)
    return Interval(jnp.where(here, lower, 0), jnp.where(here, upper, 0))
