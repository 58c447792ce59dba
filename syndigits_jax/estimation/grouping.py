"""Folds of questions: at random, or whole blocks at a time; and blocks from names."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from ..results.keys import Key, entropy

_NUMBERED = re.compile(r"^(?:\d+_(?P<head>.+)|(?P<tail>.+?)[ _]+\d+)$")


def random_folds(count: int, folds: int, key: Key) -> Int[np.ndarray, " m"]:
    """The fold of each of `count` questions, sizes differing by one at most."""
    order = np.random.default_rng(entropy(key)).permutation(count)
    out = np.empty(count, np.int64)
    out[order] = np.arange(count) % max(1, min(folds, count))
    return out


def block_folds(blocks: Sequence[Any], folds: int) -> Int[np.ndarray, " m"]:
    """The fold of each question, whole blocks together: each into the emptiest, largest first."""
    names, member = np.unique(np.asarray(blocks, dtype=str), return_inverse=True)
    sizes = np.bincount(member)
    load = np.zeros(max(1, min(folds, len(names))), np.int64)
    fold_of = np.empty(len(names), np.int64)
    for block in np.argsort(-sizes, kind="stable"):
        fold_of[block] = np.argmin(load)
        load[fold_of[block]] += sizes[block]
    return fold_of[member]


def blocks_from_names(questions: Sequence[str]) -> tuple[str, ...]:
    """Blocks from question names that number the items of one battery.

    `Q5_1`, `Q5_2` and `Q5 3` belong to `Q5`; `1_Q7`, `2_Q7` to `Q7`; any other name is a block of
    its own.

    **Example:**

        >>> from syndigits_jax.estimation import blocks_from_names
        >>> print(blocks_from_names(["Q5_1", "Q5_2", "age"]))
        ('Q5', 'Q5', 'age')
    """
    out = []
    for name in questions:
        found = _NUMBERED.match(name.strip())
        out.append((found["head"] or found["tail"]).strip() if found else name)
    return tuple(out)
