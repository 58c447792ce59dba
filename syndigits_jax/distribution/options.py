"""Which options a question has: stated with its answers, by a mask, or by blanks in its counts."""

import numpy as np
from jaxtyping import Bool, Float

from ..solvers.boundary import Numbers, as_mask


def kept_options(
    shape: tuple[int, int],
    *,
    options: Numbers = None,
    stated: Numbers = None,
    counts: Float[np.ndarray, "m K"] | None = None,
) -> Bool[np.ndarray, "m K"]:
    """The options of m questions that take part: those that no argument rules out.

    **Arguments:** `shape`: (m, K); `options`: (m, K) or (K,), true for the options to keep;
    `stated`: (m, K), which options the questions have; `counts`: (m, K), NaN where a question has
    no such option.

    **Raises:** `ValueError` for a mask that is not boolean or of another shape, that keeps an
    option whose count is NaN (if it is given per question), or that leaves a question no option.
    """
    keep = np.ones(shape, bool) if stated is None else np.array(as_mask("options", stated))
    if options is not None:
        given = np.asarray(as_mask("options", options))
        if given.shape not in (shape, shape[1:]):
            raise ValueError(
                f"`options` must be a mask of shape {shape} or {shape[1:]}, got {given.shape}"
            )
        keep = keep & given
    if counts is not None:
        blank = np.isnan(counts)
        if options is not None and given.ndim == 2 and (blank & keep).any():
            j, k = np.argwhere(blank & keep)[0]
            raise ValueError(
                f"`targets` is NaN at option {k} of question {j}, which `options` says exists"
            )
        keep = keep & ~blank
    if not keep.any(axis=1).all():
        j = int(np.argmin(keep.any(axis=1)))
        raise ValueError(f"`options`: question {j} keeps no option")
    return keep
