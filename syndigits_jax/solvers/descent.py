"""One step of an optax optimiser, for any tree of parameters."""

from typing import Any, TypeVar, cast

import jax
import optax

Parameters = TypeVar("Parameters")  # a tree of arrays


def updates(
    optimiser: optax.GradientTransformation,
    gradient: Parameters,
    state: Any,
    parameters: Parameters,
    **extra: Any,
) -> tuple[Parameters, Any]:
    """(what to add to the parameters, the optimiser's next state).

    Works under strict type promotion too, which optax's counters of steps do not.

    **Arguments:** `optimiser`: any of optax; `gradient`: of the loss, a tree like `parameters`;
    `state`: the optimiser's, from its `init`; `extra`: arguments of optimisers that take more.
    """
    # optax declares trees of its own kinds only, of which a module is none.
    transform: Any = optax.with_extra_args_support(optimiser)
    with jax.numpy_dtype_promotion("standard"):
        return transform.update(gradient, state, parameters, **extra)


def descend(
    optimiser: optax.GradientTransformation,
    gradient: Parameters,
    state: Any,
    parameters: Parameters,
    **extra: Any,
) -> tuple[Parameters, Any]:
    """(the parameters after one step, the optimiser's next state).

    **Arguments:** `optimiser`, `gradient`, `state`, `parameters`, `extra`: as in [`updates`][].
    """
    step, state = updates(optimiser, gradient, state, parameters, **extra)
    return moved(parameters, step), state


def moved(parameters: Parameters, step: Any) -> Parameters:
    """The parameters after a step that [`updates`][] returned."""
    values: Any = parameters
    return cast(Parameters, optax.apply_updates(values, step))
