"""For whom do estimates hold: errors of groups of people, and how well they are known.

All measures are averages over questions, in shares of the range of the answers. A small group has
noisier means and distributions, which would make its twins look worse. So what the sampling of
people adds to a squared difference is subtracted in closed form: the sampling variance of the
difference of two means of the same people. The expected error does not depend on the size of the
group then, and can come out a little below 0 where there is none.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..inference.pigeonhole import block_members
from ..inference.sample_weight import checked_weight
from ..inference.simultaneous import Resampled
from ..solvers.boundary import Numbers, as_float
from ..solvers.checks import check_count, check_known_squares
from ..solvers.keys import PRNGKey
from ..solvers.precision import full_precision
from ._group_bootstrap import THRESHOLDS, Answers, bootstrap_groups


class GroupErrors(eqx.Module):
    """Errors of e estimates in g groups, with draws of the bootstrap.

    - `level`: (e, g) mean square of the error of the mean answer.
    - `spread`: (e, g) standard deviation of the estimates over that of the answers, NaN where these
      do not vary.
    - `correlation`: (e, g) over the people of a group, 0 where estimates do not vary.
    - `distribution`: (e, g) mean square of the difference of the shares of people who answer at
      most x, over the range of x ([`THRESHOLDS`][]): the squared Cramér-von Mises distance. For
      questions with two options its root is the difference of the shares.
    - `gap`, `distribution_gap`: (e, p) for each of `pairs`, mean square of the error of the
      difference of their means, and of their shares of people who answer at most x.
    - `share`: (g,) share of the groups' people, by weight; `pairs`: positions of two groups each.
    - `estimates`: names; `groups`: labels.

    Roots of the squares, 0 for those below 0, keep their order: the roots of the ends of an
    interval are one of the root.
    """

    level: Resampled
    spread: Resampled
    correlation: Resampled
    distribution: Resampled
    gap: Resampled
    distribution_gap: Resampled
    share: Float[Array, " g"]
    pairs: tuple[tuple[int, int], ...] = eqx.field(static=True)
    estimates: tuple[str, ...] = eqx.field(static=True)
    groups: tuple[str, ...] = eqx.field(static=True)


@full_precision
def group_errors(
    estimates: Mapping[str, Numbers],
    truth: Numbers,
    groups: Iterable[Any],
    *,
    key: PRNGKey,
    within: Mapping[str, Numbers] | None = None,
    cumulative: Mapping[str, Numbers] | None = None,
    blocks: Iterable[Any] | None = None,
    sample_weight: Numbers | None = None,
    replicates: int = 1000,
    batch_size: int = 20,
) -> GroupErrors:
    """Errors of estimates in every group of people and every pair of groups.

    An answer counts where all estimates have it. People are resampled within their groups and
    questions, or blocks of them, at once (the pigeonhole bootstrap of Owen, 2007); intervals from
    the draws are a little too wide rather than too narrow. Memory is about 15 numbers per answer
    and estimate.

    **Arguments:**

    - `estimates`: by name, (q, n) estimates in shares of the range, a row per question.
    - `truth`: (q, n) answers, likewise; NaN where missing. Every group needs at least two answers
      to every question.
    - `groups`: (n,) labels; "" or `None` for people of no group, who do not count.
    - `key`: of the resampling.
    - `within`: by name, (q, n) variances of a person's own answer about the estimate, where
      estimates are means of distributions; 0 by default.
    - `cumulative`: by name, (q, n, 12) probabilities that the answer is at most each of
      [`THRESHOLDS`][], NaN for questions whose distribution and spread are not judged. By default
      estimates are taken for answers.
    - `blocks`: (q,) the survey or battery of each question, resampled as a whole.
    - `sample_weight`: (n,) weights of the people.
    - `replicates`: of the bootstrap; `batch_size`: of them at a time, which bounds memory.

    **Returns:** [`GroupErrors`][], groups in the order of their labels.

    **Raises:** `ValueError` for shapes, labels, weights or blocks that do not fit, fewer than two
    groups, fewer than two questions or blocks, and a group with fewer than two answers to a
    question.

    **Example:**

        >>> import jax
        >>> import numpy as np
        >>> from syndigits_jax.evaluation import group_errors
        >>> rng = np.random.default_rng(0)
        >>> truth, old = rng.uniform(size=(20, 90)), np.arange(90) % 3 == 0
        >>> twin = truth + 0.2 * old + 0.1 * rng.normal(size=truth.shape)
        >>> people = np.where(old, "old", "young")
        >>> found = group_errors({"twin": twin}, truth, people, key=jax.random.key(0))
        >>> print(found.groups, found.level.value.round(2))
        ('old', 'young') [[0.04 0.  ]]
    """
    names = tuple(estimates)
    if not names:
        raise ValueError("`estimates` must have at least one estimate")
    y = as_float("truth", truth)
    if y.ndim != 2:
        raise ValueError(f"`truth` must be (q, n), a row per question, got {y.shape}")
    x = _stacked("estimates", estimates, names, y)
    extra = None if within is None else _stacked("within", within, names, y)
    shares = None if cumulative is None else _stacked("cumulative", cumulative, names, y)
    check_known_squares(estimates=x, truth=y)
    labels, code = _codes(groups, y.shape[1])
    weight = checked_weight(sample_weight, y.shape[1], y.dtype)
    check_count("replicates", replicates, least=2)
    member, count = block_members(blocks, y.shape[0])

    order = np.argsort(code, kind="stable")  # groups in a row, people of none first
    order = order[np.searchsorted(code[order], 0) :]
    inside = code[order]
    size = np.bincount(inside, minlength=len(labels))
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    at = jnp.asarray(order)

    def people(values: Array, axis: int) -> Array:
        return jnp.take(values, at, axis=axis)

    used = ~jnp.isnan(people(y, 1)) & ~jnp.any(jnp.isnan(people(x, 2)), axis=0)
    some = np.asarray(used) & (np.asarray(weight)[order] > 0)[None]
    counts = np.stack([some[:, inside == k].sum(axis=1) for k in range(len(labels))])
    if counts.min(initial=2) < 2:
        group, question = np.argwhere(counts < 2)[0]
        raise ValueError(
            f"`groups`: {labels[group]!r} has {counts[group, question]} answers to question "
            f"{question}; every group needs at least two to every question"
        )
    answers = Answers(
        x=people(x, 2),
        y=people(y, 1),
        used=used,
        within=None if extra is None else people(extra, 2),
        cumulative=None if shares is None else people(shares, 2),
        weight=people(weight, 0),
        inside=jnp.asarray(inside),
        start=jnp.asarray(start[inside]),
        size=jnp.asarray(size[inside]),
        member=jnp.asarray(member),
    )
    found = bootstrap_groups(
        answers,
        jax.random.split(key, replicates),
        groups=len(labels),
        blocks=count,
        batch_size=min(batch_size, replicates),
    )
    pairs = tuple((i, j) for i in range(len(labels)) for j in range(i + 1, len(labels)))
    total = np.bincount(inside, np.asarray(weight)[order], minlength=len(labels))
    share = jnp.asarray(total / total.sum(), y.dtype)
    return GroupErrors(*found, share=share, pairs=pairs, estimates=names, groups=labels)


def _stacked(name: str, given: Mapping[str, Numbers], names: tuple[str, ...], y: Array) -> Array:
    """The arrays by name, one after the other, in the type of the truth."""
    if set(given) != set(names):
        raise ValueError(f"`{name}` must have the estimates {list(names)}, got {list(given)}")
    tail = (len(THRESHOLDS),) if name == "cumulative" else ()
    arrays = [as_float(f"{name}[{key!r}]", given[key]).astype(y.dtype) for key in names]
    for key, array in zip(names, arrays, strict=True):
        if array.shape != y.shape + tail:
            raise ValueError(f"`{name}[{key!r}]` must have shape {y.shape + tail}, as `truth`")
    return jnp.stack(arrays)


def _codes(groups: Iterable[Any], n: int) -> tuple[tuple[str, ...], np.ndarray]:
    """Labels in order, and the position of each person's, -1 for none."""
    given = ["" if label is None else str(label) for label in groups]
    if len(given) != n:
        raise ValueError(f"`groups` must have {n} labels, one per person, got {len(given)}")
    labels = tuple(sorted(set(given) - {""}))
    if len(labels) < 2:
        raise ValueError(f"`groups`: at least two groups are needed, got {len(labels)}")
    place = {label: i for i, label in enumerate(labels)}
    return labels, np.array([place.get(label, -1) for label in given])
