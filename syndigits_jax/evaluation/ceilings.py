"""Ceilings: how well people's answers can be predicted at all, given how they repeat.

Asked again, people do not answer alike, and a mean over few people is not the population's. No
prediction can be expected to correlate with one set of answers beyond what another set of the same
people's answers tells. Whoever knew the true value would correlate with one measurement at the
square root of its reliability (Spearman, 1904).
"""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..inference.resampling import BootstrapResult, bootstrap
from ..solvers.boundary import Numbers, as_floats, concrete
from ..solvers.checks import check_broadcast
from ..solvers.keys import PRNGKey

FEWEST_COMMON = 3
"""People who answered twice that a question needs for a correlation."""


def attenuation_corrected(
    correlation: Numbers, reliability: Numbers, other: Numbers = 1.0
) -> Float[Array, "*shape"]:
    """The correlation with what was measured without error: r / √(reliability · other).

    **Arguments:** `correlation`: of a prediction with answers; `reliability`: of the answers;
    `other`: of the prediction, 1 if it is to be judged as it is. NaN where a reliability is not
    positive. By chance the result can exceed 1.

    **Example:**

        >>> from syndigits_jax.evaluation import attenuation_corrected
        >>> print(attenuation_corrected(0.4, 0.64))
        0.5
    """
    r, a, b = as_floats(correlation=correlation, reliability=reliability, other=other)
    check_broadcast(correlation=r, reliability=a, other=b)
    usable = (a > 0) & (b > 0)
    return jnp.where(usable, r / jnp.sqrt(jnp.where(usable, a * b, 1)), jnp.nan)


def share_of_ceiling(
    scores: Numbers,
    ceilings: Numbers,
    *,
    key: PRNGKey,
    groups: Iterable[Any] | None = None,
    replicates: int = 2000,
    level: float = 0.95,
) -> BootstrapResult:
    """Mean score over mean ceiling, with a bootstrap interval over questions or blocks.

    A ceiling of √reliability makes it the mean attenuation-corrected correlation, weighted by the
    ceilings; the reliability itself compares with another answer of the same person.

    **Arguments:**

    - `scores`: (t,) of each question, such as correlations; `ceilings`: (t,). A question without
      either (NaN) is left out.
    - `key`: of the resampling.
    - `groups`: (t,) blocks of questions that are resampled together; by default each on its own.
    - `replicates`, `level`: as in [`bootstrap`][syndigits_jax.inference.bootstrap].

    **Returns:** a [`BootstrapResult`][syndigits_jax.inference.BootstrapResult].

    **Raises:** `ValueError` for shapes that do not fit, no question with both, and a mean ceiling
    that is not positive.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.evaluation import share_of_ceiling
        >>> scores, ceilings = [0.3, 0.4, 0.35], [0.6, 0.8, 0.7]
        >>> print(share_of_ceiling(scores, ceilings, key=jax.random.key(0)).estimate.round(2))
        0.5
    """
    x, top = as_floats(scores=scores, ceilings=ceilings)
    if x.ndim != 1 or x.shape != top.shape:
        raise ValueError(
            f"`ceilings` must have the shape of `scores` (t,), got {top.shape} and {x.shape}"
        )
    used = ~(jnp.isnan(x) | jnp.isnan(top))
    labels = list(range(x.shape[0])) if groups is None else list(groups)
    if len(labels) != x.shape[0]:
        raise ValueError(f"`groups` must name {x.shape[0]} questions, got {len(labels)}")
    known = concrete(jnp.sum(jnp.where(used, top, 0)))
    if known is not None and not known > 0:
        raise ValueError("`ceilings`: no question has a score and a positive ceiling")
    names = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    member = jnp.asarray([names[label] for label in labels])
    sums = [
        jax.ops.segment_sum(jnp.where(used, values, 0), member, len(names)) for values in (x, top)
    ]
    return bootstrap(key, _ratio, jnp.stack(sums, axis=1), replicates=replicates, level=level)


def _ratio(data: Float[Array, "b 2"]) -> Float[Array, ""]:
    score, ceiling = jnp.sum(data[:, 0]), jnp.sum(data[:, 1])
    return jnp.where(ceiling > 0, score / jnp.where(ceiling > 0, ceiling, 1), jnp.nan)
