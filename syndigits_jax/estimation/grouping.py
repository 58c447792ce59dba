"""Folds of questions: at random, or whole blocks at a time; and blocks from names."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from ..results.keys import Key, entropy

_SEPARATED = re.compile(r"^(?:\d+_(?P<item_first>.+)|(?P<item_last>.+?)[ _]+\d+)$")
_LETTERED = re.compile(r"^(?P<head>.*\d)[A-Za-z]$")
_NUMBERED = re.compile(r"^(?P<head>.*[^\W\d_])\d+$")


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

    Items are told apart in one of three ways, the first by which two names have a block in common:

    - by a number that is set apart: `Q5_1`, `Q5_2` and `Q5 3` belong to `Q5`; `1_Q7`, `2_Q7` to
      `Q7`;
    - by a letter after a number: `Q5a`, `Q5b` belong to `Q5`;
    - by a number after letters, unless all names would be one block: `item1`, `item2` belong to
      `item` if there is `mood1` too.

    So `Q5_1`, `Q5_2`, `Q6`, `Q7` are a battery and two other questions: the numbers of the latter
    count questions. Any other name is a block of its own.

    **Example:**

        >>> from syndigits_jax.estimation import blocks_from_names
        >>> print(blocks_from_names(["Q5_1", "Q5_2", "age"]))
        ('Q5', 'Q5', 'age')
    """
    blocks = tuple(questions)
    for form in (_SEPARATED, _LETTERED, _NUMBERED):
        found = [form.match(name.strip()) for name in questions]
        heads = [None if one is None else next(filter(None, one.groups())) for one in found]
        numbered = [head for head in heads if head is not None]
        shared = len(set(numbered)) < len(numbered)
        if form is _NUMBERED and len(set(heads)) == 1:
            break
        if shared or form is _SEPARATED:
            pairs = zip(heads, questions, strict=True)
            blocks = tuple(name if head is None else head.strip() for head, name in pairs)
        if shared:
            break
    return blocks
