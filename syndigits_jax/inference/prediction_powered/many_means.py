"""Prediction-powered means of many questions in one program."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...solvers.boundary import Numbers, as_floats
from ...solvers.checks import check_count
from ._inputs import check_flag, check_level, given_tuning, rows_of
from .estimate import Estimate
from .means import ppi_mean


def ppi_means(
    truth: Numbers,
    proxies: Numbers,
    *,
    sample_weight: Numbers | None = None,
    finite: bool = False,
    tuning: Numbers | None = None,
    level: Numbers = 0.95,
    skewness_corrected: bool = True,
    batch_size: int = 256,
) -> Estimate:
    """[`ppi_mean`][] of many questions in one call.

    **Arguments:** `truth`: (n, q), a column per question; `proxies`: (n, q) or (n, q, p);
    `sample_weight`, `finite`, `tuning`, `level`, `skewness_corrected`: as there; `batch_size`:
    questions at a time, which bounds memory.

    **Returns:** an [`Estimate`][] with arrays (q,); a question with fewer than two people asked is
    NaN, with the basis `TOO_FEW`.

    **Raises:** `ValueError` as there.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax.inference import ppi_means
        >>> rng = np.random.default_rng(0)
        >>> answers = rng.normal(size=(300, 4))
        >>> twins = answers + rng.normal(size=(300, 4))
        >>> answers[30:] = np.nan
        >>> print(ppi_means(answers, twins).value.shape)
        (4,)
    """
    truth, proxies, weight = as_floats(truth=truth, proxies=proxies, sample_weight=sample_weight)
    if truth.ndim != 2 or proxies.ndim not in (2, 3) or proxies.shape[:2] != truth.shape:
        raise ValueError(
            "`truth` must be (n, q), a column per question, and `proxies` (n, q) or (n, q, p), got "
            f"{truth.shape} and {proxies.shape}"
        )
    level, finite = check_level(level), check_flag("finite", finite)
    corrected = check_flag("skewness_corrected", skewness_corrected)
    some = rows_of(jnp.zeros_like(truth[:, 0]), proxies[:, 0], weight, None)  # checks the weights
    tuning = given_tuning(tuning, some.proxy.shape[1], some.answer.dtype)
    check_count("batch_size", batch_size)
    size = min(batch_size, max(truth.shape[1], 1))
    return _means(
        truth, proxies, weight, tuning, level, finite=finite, corrected=corrected, batch_size=size
    )


@functools.partial(jax.jit, static_argnames=("finite", "corrected", "batch_size"))
def _means(
    truth, proxies, weight, tuning, level, *, finite: bool, corrected: bool, batch_size: int
) -> Estimate:
    def one(question: tuple[Array, Array]) -> Estimate:
        return ppi_mean(
            *question, sample_weight=weight, finite=finite, tuning=tuning, level=level,
            skewness_corrected=corrected,
        )  # fmt: skip

    questions = jnp.moveaxis(truth, 1, 0), jnp.moveaxis(proxies, 1, 0)
    return jax.lax.map(one, questions, batch_size=batch_size)
