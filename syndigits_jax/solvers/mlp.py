"""Small ReLU networks for regression: Adam with early stopping, one or many by `vmap`."""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .boundary import Numbers, as_float
from .checks import check_penalty, number, regression_arrays
from .precision import full_precision
from .solution import Solution, Status
from .units import largest

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8  # Adam's usual constants (Kingma and Ba, 2015)


class MLP(eqx.Module):
    """A ReLU network with one output: x ↦ W_L relu(... relu(W_1 x + b_1) ...) + b_L.

    - `weights`: one (out, in) matrix per layer; the last has out = 1.
    - `biases`: one (out,) vector per layer.

    Without hidden layers it is an affine function.
    """

    weights: tuple[Float[Array, "..."], ...]
    biases: tuple[Float[Array, "..."], ...]

    @full_precision
    def __call__(self, x: Numbers) -> Float[Array, "*n"]:
        """Predict for rows of `x` (*n, p); one unbatched network only (`jax.vmap` over them)."""
        x = as_float("x", x).astype(self.weights[-1].dtype)
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            z = x @ w.T
            x = jax.nn.relu(z + jnp.broadcast_to(b, z.shape))
        return x @ self.weights[-1][0] + self.biases[-1][0]


def init_mlp(in_size: int, hidden: Sequence[int], *, key: PRNGKeyArray, dtype=jnp.float32) -> MLP:
    """Random weights and biases, uniform in ±1/√fan_in (PyTorch's default for linear layers).

    **Arguments:** `in_size`: p, the inputs; `hidden`: sizes of the hidden layers; `key`: of the
    random numbers; `dtype`: of the parameters.

    **Raises:** `ValueError` if a layer would be empty.
    """
    sizes = (in_size, *hidden, 1)
    if min(sizes) < 1:
        raise ValueError(
            f"`in_size` and every entry of `hidden` must be positive, got {sizes[:-1]}"
        )
    keys = jax.random.split(key, 2 * (len(sizes) - 1))
    weights, biases = [], []
    for layer, (fan_in, out) in enumerate(itertools.pairwise(sizes)):
        a = 1 / math.sqrt(fan_in)
        weights.append(jax.random.uniform(keys[2 * layer], (out, fan_in), dtype, -a, a))
        biases.append(jax.random.uniform(keys[2 * layer + 1], (out,), dtype, -a, a))
    return MLP(tuple(weights), tuple(biases))


def _epoch_order(key: PRNGKeyArray, n: int) -> Int[Array, " n"]:
    """A random permutation of `range(n)`, by sorting random bits that carry the index below them.

    Sorting one packed word is several times faster than sorting keys with values. At least 20
    random bits are left, so ties (broken by position) are too rare to matter; longer orders go
    the ordinary way.
    """
    shift = max(n - 1, 1).bit_length()
    if shift > 12:
        return jax.random.permutation(key, n).astype(jnp.int32)
    bits = jax.random.bits(key, (n,), jnp.uint32)
    packed = (bits >> shift << shift) | jnp.arange(n, dtype=jnp.uint32)
    packed = jax.lax.sort(packed, is_stable=False)
    return (packed & (2**shift - 1)).astype(jnp.int32)


def _squared_loss(
    model: MLP, x: Float[Array, "b p"], y: Float[Array, " b"], weight: Float[Array, " b"]
) -> Float[Array, ""]:
    return jnp.dot(weight, (model(x) - y) ** 2)


def _sqrt(v: Float[Array, "..."]) -> Float[Array, "..."]:
    """√v with derivative 0 at 0, the value for units that were never active."""
    positive = v > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, v, 1)), 0)


class _State(eqx.Module):
    model: MLP
    mean: MLP
    square: MLP
    updates: Float[Array, ""]
    previous: Float[Array, ""]
    loss: Float[Array, ""]
    best_loss: Float[Array, ""]
    best_model: MLP
    stalled: Int[Array, ""]
    epoch: Int[Array, ""]


@full_precision
def mlp_regression(
    x: Numbers,
    y: Numbers,
    *,
    hidden: Sequence[int],
    key: PRNGKeyArray,
    learning_rate: Numbers = 1e-3,
    weight_decay: Numbers = 0.0,
    batch_size: int = 128,
    epochs: int = 200,
    patience: int | None = 20,
    sample_weight: Numbers | None = None,
    init: MLP | None = None,
) -> Solution[MLP]:
    """Fit a ReLU network to `y` by minibatch Adam on the (weighted) mean squared error.

    Rows are reshuffled before each epoch and cut into batches; the last batch may be smaller.
    The loss of a batch is its weighted mean squared error, Σ w r² / Σ w. `weight_decay` · θ is
    added to the gradient of every parameter θ, biases too (an ℓ2 penalty, not decoupled decay).
    The epoch loss is the mean of the batch losses, each taken before its update and weighted by
    the weight of its rows. Training stops after `patience` epochs in a row without a lower epoch
    loss, and the parameters at the end of the best epoch are returned. (This is the network of
    the SYN-DIGITS paper, appendix A.4, which leaves initialisation and batches to the framework.)

    Under `jax.vmap` every member stops on its own; a stopped member is left as it is until the
    last one ends. With `patience=None` there is no early stopping. Gradients pass, forward and
    reverse, by unrolling with one checkpoint per epoch; the epoch at which training stops is
    treated as given, because it is piecewise constant.

    **Arguments:**

    - `x`, `y`: (n, p) inputs and (n,) targets; no missing values.
    - `hidden`: sizes of the hidden layers, e.g. `(16,)`; static.
    - `key`: of the initial parameters and the order of the rows. The same key in every member of a
      batch gives every member the same start and the same orders.
    - `learning_rate`, `weight_decay`: of Adam, not negative; may be traced or batched.
    - `batch_size`, `epochs`, `patience`: rows per batch, most epochs, and epochs without a lower
      loss before training stops; static. `patience=None` always runs all epochs.
    - `sample_weight`: (n,) non-negative weights of the rows in the loss. A batch without weight
      has loss 0 and moves the parameters by momentum and decay only.
    - `init`: parameters to start from instead of random ones; its layers must match `hidden`.

    **Returns:** a `Solution` with an [`MLP`][] and the epochs run as `steps`. Nothing is known of
    the distance from an optimum: `optimality` is NaN, and `change` the relative change of the epoch
    loss over the last two epochs. Status is `CONVERGED` after early stopping, `FIXED_STEPS` after
    all `epochs` (a budget, not a failure), `NONFINITE` where the loss of an epoch was not finite:
    training ends there, and the value holds the best parameters before. The R² on
    the training data is that of `value(x)`. Scale `x` and `y` to about one first: the steps of Adam
    have no unit.

    **Raises:** `ValueError` if shapes disagree, input is not numeric, a size is not positive, or a
    weight, the rate or the decay is negative.

    **Example:**

        >>> import jax
        >>> import numpy as np
        >>> from syndigits_jax.solvers import mlp_regression
        >>> x, key = np.linspace(-1, 1, 16)[:, None], jax.random.key(0)
        >>> network = mlp_regression(x, np.abs(x[:, 0]), hidden=(4,), key=key, epochs=20).value
        >>> print(network(x).shape)
        (16,)
    """
    x, y, weight = regression_arrays(x, y, sample_weight)
    _check(weight_decay, learning_rate, batch_size, epochs, patience)
    (n, p), dtype = x.shape, x.dtype
    learning_rate = number("learning_rate", learning_rate, dtype)
    weight_decay = number("weight_decay", weight_decay, dtype)
    weight = jnp.ones_like(y) if weight is None else weight / largest(weight)
    init_key, order_key = jax.random.split(key)
    if init is None:
        init = init_mlp(p, hidden, key=init_key, dtype=dtype)
    elif (got := tuple(w.shape[0] for w in init.weights[:-1])) != tuple(hidden):
        raise ValueError(f"`init` has hidden layers {got}, but `hidden` asks for {tuple(hidden)}")

    options = _Options(min(batch_size, n), epochs, patience)
    order = jax.random.key_data(order_key)
    data = (x, y, weight, init, learning_rate, weight_decay)
    if patience is None:
        state = _train(data, order, options, stop="never")
    else:
        state = _train_until_stopped(options, data, order)

    stopped = patience is not None and state.stalled >= patience
    status = jnp.where(stopped, int(Status.CONVERGED), int(Status.FIXED_STEPS))
    status = jnp.where(jnp.isfinite(state.loss), status, int(Status.NONFINITE)).astype(jnp.int32)
    none = jnp.full((), jnp.nan, dtype)
    return Solution(state.best_model, status, state.epoch, none, _relative_change(state))


class _Options(NamedTuple):
    batch_size: int
    epochs: int
    patience: int | None


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _train_until_stopped(options: _Options, data, order) -> _State:
    """Train with early stopping. Derivatives run the same epochs in a loop of fixed length."""
    return _train(data, order, options, stop="leave")


@_train_until_stopped.defjvp
def _train_until_stopped_jvp(options, primals, tangents):
    data, order = primals
    return jax.jvp(lambda d: _train(d, order, options, stop="wait"), (data,), (tangents[0],))


def _train(data, order_key, options: _Options, stop: Literal["never", "leave", "wait"]) -> _State:
    """The training loop. When it is time to stop it goes on all the same (`"never"`), leaves, or
    waits, the state as it is, for the last epoch, which reverse-mode differentiation needs."""
    x, y, weight, init, learning_rate, weight_decay = data
    n, dtype = x.shape[0], x.dtype
    order_key = jax.random.wrap_key_data(order_key)
    batch_size, epochs = options.batch_size, options.epochs
    batches = -(-n // batch_size)
    padding = batches * batch_size - n
    # Padded slots read row 0 with weight 0.
    is_row = jnp.arange(batches * batch_size).reshape(batches, batch_size) < n
    total = jnp.sum(weight)

    def update(carry, batch):
        model, mean, square, updates, epoch_loss = carry
        if batches == 1:  # the order of a full batch does not matter: spare the copy
            xb, yb, wb = x, y, weight
        else:
            rows, valid = batch
            xb = x.at[rows].get(mode="promise_in_bounds")
            yb = y.at[rows].get(mode="promise_in_bounds")
            wb = jnp.where(valid, weight.at[rows].get(mode="promise_in_bounds"), 0)
        batch_weight = jnp.sum(wb)
        wb = wb / jnp.where(batch_weight > 0, batch_weight, 1)
        loss, gradient = jax.value_and_grad(_squared_loss)(model, xb, yb, wb)

        updates = updates + 1
        correction1 = 1 / (1 - _BETA1**updates)
        correction2 = 1 / (1 - _BETA2**updates)
        gradient = jax.tree.map(lambda g, v: g + weight_decay * v, gradient, model)
        mean = jax.tree.map(lambda m, g: _BETA1 * m + (1 - _BETA1) * g, mean, gradient)
        square = jax.tree.map(lambda s, g: _BETA2 * s + (1 - _BETA2) * g * g, square, gradient)
        step = learning_rate * correction1
        model = jax.tree.map(
            lambda v, m, s: v - step * m / (_sqrt(s * correction2) + _EPSILON),
            model,
            mean,
            square,
        )
        return (model, mean, square, updates, epoch_loss + loss * batch_weight), None

    def epoch(state: _State) -> _State:
        batch = None
        if batches > 1:
            order = _epoch_order(jax.random.fold_in(order_key, state.epoch), n)
            order = jnp.pad(order, (0, padding)).reshape(batches, batch_size)
            batch = (order, is_row)
        carry = (state.model, state.mean, state.square, state.updates, jnp.zeros((), dtype))
        carry, _ = jax.lax.scan(update, carry, batch, length=batches)
        model, mean, square, updates, loss = carry
        loss = loss / jnp.where(total > 0, total, 1)
        better = loss < state.best_loss
        return _State(
            model,
            mean,
            square,
            updates,
            state.loss,
            loss,
            jnp.where(better, loss, state.best_loss),
            jax.tree.map(lambda a, b: jnp.where(better, a, b), model, state.best_model),
            jnp.where(better, 0, state.stalled + 1),
            state.epoch + 1,
        )

    def keep_going(state: _State):
        finite = jnp.isfinite(state.loss)
        patient = options.patience is None or state.stalled < options.patience
        return finite & patient & (state.epoch < epochs)

    zeros = jax.tree.map(jnp.zeros_like, init)
    zero, count = jnp.zeros((), dtype), jnp.zeros((), jnp.int32)
    infinity = jnp.full((), jnp.inf, dtype)
    state = _State(init, zeros, zeros, zero, zero, zero, infinity, init, count, count)
    if stop == "leave":
        return jax.lax.while_loop(keep_going, epoch, state)

    @jax.checkpoint
    def remembered(state: _State) -> _State:
        if stop == "never":
            return epoch(state)
        return jax.lax.cond(keep_going(state), epoch, lambda state: state, state)

    return jax.lax.fori_loop(0, epochs, lambda _, state: remembered(state), state)


def _relative_change(state: _State) -> Float[Array, ""]:
    """|loss of the last epoch / loss of the one before - 1|; NaN after the first."""
    before = jnp.where(state.previous > 0, state.previous, 1)
    change = jnp.where(state.previous > 0, jnp.abs(state.loss / before - 1), state.loss)
    return jax.lax.stop_gradient(jnp.where(state.epoch > 1, change, jnp.nan))


def _check(weight_decay, learning_rate, batch_size, epochs, patience) -> None:
    check_penalty("weight_decay", weight_decay)
    check_penalty("learning_rate", learning_rate)
    for name, size in (("batch_size", batch_size), ("epochs", epochs), ("patience", patience)):
        if size is not None and size < 1:
            raise ValueError(f"`{name}` must be positive, got {size}")
