"""Small ReLU networks for regression: Adam with early stopping, one or many by `vmap`."""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .boundary import Numbers, as_float
from .checks import check_count, check_penalty, check_scalar, number, regression_arrays
from .descent import descend
from .precision import full_precision
from .solution import Solution, Status
from .units import largest

# Added below the root of the second moment, so that units that were never active, whose moment is
# 0, have derivative 0 and not NaN. Its root is a rounding error beside Adam's epsilon, 1e-8.
_EPSILON_ROOT = 1e-30


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


class _Data(eqx.Module):
    """What training depends on and can be differentiated by."""

    x: Float[Array, "n p"]
    y: Float[Array, " n"]
    weight: Float[Array, " n"]
    init: MLP
    learning_rate: Float[Array, ""]
    weight_decay: Float[Array, ""]

    def optimiser(self) -> optax.GradientTransformation:
        """Adam on the loss with its ℓ2 penalty."""
        return optax.chain(
            optax.add_decayed_weights(self.weight_decay),
            optax.scale_by_adam(eps_root=_EPSILON_ROOT),
            optax.scale_by_learning_rate(self.learning_rate),
        )


class _State(eqx.Module):
    model: MLP
    adam: Any
    previous: Float[Array, ""]
    loss: Float[Array, ""]
    best_loss: Float[Array, ""]
    best_model: MLP
    stalled: Int[Array, ""]
    epoch: Int[Array, ""]

    @classmethod
    def start(cls, data: _Data) -> "_State":
        """The state before the first epoch."""
        zero, count = jnp.zeros_like(data.learning_rate), jnp.zeros((), jnp.int32)
        model: Any = data.init  # optax declares trees of its own kinds only
        adam = data.optimiser().init(model)
        return cls(data.init, adam, zero, zero, zero + jnp.inf, data.init, count, count)


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
    return _fit(_Data(x, y, weight, init, learning_rate, weight_decay), order, options)


class _Options(NamedTuple):
    batch_size: int
    epochs: int
    patience: int | None


@functools.partial(jax.jit, static_argnames="options")
def _fit(data: _Data, order: Array, options: _Options) -> Solution[MLP]:
    """[`mlp_regression`][] from checked arguments."""
    patience = options.patience
    if patience is None:
        state = _train(data, order, options, stop="never")
    else:
        state = _train_until_stopped(options, data, order)

    stopped = patience is not None and state.stalled >= patience
    status = jnp.where(stopped, int(Status.CONVERGED), int(Status.FIXED_STEPS))
    status = jnp.where(jnp.isfinite(state.loss), status, int(Status.NONFINITE)).astype(jnp.int32)
    none = jnp.full_like(state.loss, jnp.nan)
    return Solution(state.best_model, status, state.epoch, none, _relative_change(state))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _train_until_stopped(options: _Options, data, order) -> _State:
    """Train with early stopping. Derivatives run the same epochs in a loop of fixed length."""
    return _train(data, order, options, stop="leave")


@_train_until_stopped.defjvp
def _train_until_stopped_jvp(options, primals, tangents):
    data, order = primals
    return jax.jvp(lambda d: _train(d, order, options, stop="wait"), (data,), (tangents[0],))


def _train(
    data: _Data, order: Array, options: _Options, stop: Literal["never", "leave", "wait"]
) -> _State:
    """The training loop. When it is time to stop it goes on all the same (`"never"`), leaves, or
    waits, the state as it is, for the last epoch, which reverse-mode differentiation needs."""

    def keep_going(state: _State):
        finite = jnp.isfinite(state.loss)
        patient = options.patience is None or state.stalled < options.patience
        return finite & patient & (state.epoch < options.epochs)

    def epoch(state: _State) -> _State:
        return _epoch(data, order, options, state)

    state = _State.start(data)
    if stop == "leave":
        return jax.lax.while_loop(keep_going, epoch, state)

    @jax.checkpoint
    def remembered(state: _State) -> _State:
        if stop == "never":
            return epoch(state)
        return jax.lax.cond(keep_going(state), epoch, lambda state: state, state)

    return jax.lax.fori_loop(0, options.epochs, lambda _, state: remembered(state), state)


def _epoch(data: _Data, order: Array, options: _Options, state: _State) -> _State:
    """One pass over all rows, and whether its loss is the lowest so far."""
    optimiser, dtype = data.optimiser(), data.y.dtype

    def update(carry, batch):
        model, adam, epoch_loss = carry
        xb, yb, wb = _rows(data, batch)
        batch_weight = jnp.sum(wb)
        wb = wb / jnp.where(batch_weight > 0, batch_weight, 1)
        loss, gradient = jax.value_and_grad(_squared_loss)(model, xb, yb, wb)
        model, adam = descend(optimiser, gradient, adam, model)
        return (model, adam, epoch_loss + loss * batch_weight), None

    batches, count = _batches(order, state.epoch, data.y.shape[0], options.batch_size)
    carry = (state.model, state.adam, jnp.zeros((), dtype))
    (model, adam, loss), _ = jax.lax.scan(update, carry, batches, length=count)
    total = jnp.sum(data.weight)
    loss = loss / jnp.where(total > 0, total, 1)
    better = loss < state.best_loss
    return _State(
        model,
        adam,
        state.loss,
        loss,
        jnp.where(better, loss, state.best_loss),
        jax.tree.map(lambda a, b: jnp.where(better, a, b), model, state.best_model),
        jnp.where(better, 0, state.stalled + 1),
        state.epoch + 1,
    )


def _batches(order: Array, epoch: Int[Array, ""], n: int, size: int):
    """((rows of each batch, whether each is one), number of batches); padded with row 0.

    None for the rows of a single batch, whose order does not matter.
    """
    count = -(-n // size)
    if count == 1:
        return None, count
    key = jax.random.fold_in(jax.random.wrap_key_data(order), epoch)
    rows = jnp.pad(_epoch_order(key, n), (0, count * size - n)).reshape(count, size)
    return (rows, jnp.arange(count * size).reshape(count, size) < n), count


def _rows(data: _Data, batch):
    """Inputs, targets and weights of a batch; padding has weight 0."""
    if batch is None:
        return data.x, data.y, data.weight
    rows, valid = batch
    x, y, weight = (a.at[rows].get(mode="promise_in_bounds") for a in (data.x, data.y, data.weight))
    return x, y, jnp.where(valid, weight, 0)


def _relative_change(state: _State) -> Float[Array, ""]:
    """|loss of the last epoch / loss of the one before - 1|; NaN after the first."""
    before = jnp.where(state.previous > 0, state.previous, 1)
    change = jnp.where(state.previous > 0, jnp.abs(state.loss / before - 1), state.loss)
    return jax.lax.stop_gradient(jnp.where(state.epoch > 1, change, jnp.nan))


def _check(weight_decay, learning_rate, batch_size, epochs, patience) -> None:
    for name, rate in (("weight_decay", weight_decay), ("learning_rate", learning_rate)):
        check_scalar(name, rate)
        check_penalty(name, rate)
    for name, size in (("batch_size", batch_size), ("epochs", epochs), ("patience", patience)):
        if size is not None:
            check_count(name, size)
