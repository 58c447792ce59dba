"""Full-precision matrix products, whatever the backend's default."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec("P")
T = TypeVar("T")


def full_precision(function: Callable[P, T]) -> Callable[P, T]:
    """Trace `function` with `HIGHEST` matmul precision.

    TF32 or bfloat16 products, the default on recent accelerators, leave Gram matrices
    indefinite; every solver is traced inside this decorator.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        with jax.default_matmul_precision("highest"):
            return function(*args, **kwargs)

    return wrapper
