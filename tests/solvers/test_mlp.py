"""Small networks: the training loop against plain NumPy, early stopping, batches of networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from syndigits_jax.solvers.mlp import MLP, _epoch_order, init_mlp, mlp_regression
from syndigits_jax.solvers.solution import Status

X64 = bool(jax.config.read("jax_enable_x64"))
KEY = jax.random.key(7)
N, P, HIDDEN, BATCH, EPOCHS = 23, 3, (5,), 8, 30


def problem(seed=0, n=N, p=P):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    return x, np.sin(x[:, 0]) + 0.5 * np.abs(x[:, 1]) + 0.1 * rng.normal(size=n)


def arrays(dtype, *values):
    return tuple(jnp.asarray(v, dtype) for v in values)


def in_dtype(model: MLP, dtype) -> MLP:
    return jax.tree.map(lambda a: a.astype(dtype), model)


@jax.jit
def fit(x, y, key, learning_rate, weight_decay, weight, init):
    """One compiled program for most tests."""
    return mlp_regression(
        x,
        y,
        hidden=HIDDEN,
        key=key,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        batch_size=BATCH,
        epochs=EPOCHS,
        patience=3,
        sample_weight=weight,
        init=init,
    )


def start(dtype=jnp.float32):
    return in_dtype(init_mlp(P, HIDDEN, key=KEY), dtype)


def plain_training(x, y, model, orders, learning_rate, decay, weight, patience=3):
    """The same training in float64 NumPy, one hidden layer: (parameters, losses of the epochs)."""
    w1, w2 = (np.asarray(w, float) for w in model.weights)
    b1, b2 = (np.asarray(b, float) for b in model.biases)
    theta = [w1, b1, w2, b2]
    m, v = [np.zeros_like(t) for t in theta], [np.zeros_like(t) for t in theta]
    best, best_theta, losses, updates = np.inf, theta, [], 0
    for order in orders:
        total = 0.0
        for first in range(0, len(y), BATCH):
            rows = order[first : first + BATCH]
            xb, yb, s = x[rows], y[rows], weight[rows]
            z = xb @ theta[0].T + theta[1]
            a = np.maximum(z, 0)
            r = a @ theta[2][0] + theta[3][0] - yb
            total += np.sum(s * r**2)
            d = 2 * s * r / s.sum()
            dz = np.outer(d, theta[2][0]) * (z > 0)
            gradient = [dz.T @ xb, dz.sum(0), (d @ a)[None], d.sum()[None]]
            updates += 1
            for i, g in enumerate(gradient):
                g = g + decay * theta[i]
                m[i] = 0.9 * m[i] + 0.1 * g
                v[i] = 0.999 * v[i] + 0.001 * g**2
                step = learning_rate * m[i] / (1 - 0.9**updates)
                theta = [*theta]
                theta[i] = theta[i] - step / (np.sqrt(v[i] / (1 - 0.999**updates)) + 1e-8)
        losses.append(total / weight.sum())
        if losses[-1] < best:
            best, best_theta, stalled = losses[-1], theta, 0
        else:
            stalled += 1
        if stalled == patience:
            break
    return best_theta, losses


def orders_of(key, n, epochs):
    order_key = jax.random.split(key)[1]
    return [np.asarray(_epoch_order(jax.random.fold_in(order_key, e), n)) for e in range(epochs)]


@pytest.mark.parametrize(
    ("learning_rate", "stops_early"), [(0.003, False), (0.3, True)], ids=["all epochs", "early"]
)
def test_training_is_what_the_docstring_says(learning_rate, stops_early, dtype):
    x, y = problem()
    weight = np.random.default_rng(1).uniform(0.5, 2, size=N)
    solution = fit(
        *arrays(dtype, x, y), KEY, *arrays(dtype, learning_rate, 0.05, weight), start(dtype)
    )
    orders = orders_of(KEY, N, EPOCHS)
    theta, losses = plain_training(x, y, start(), orders, learning_rate, 0.05, weight)
    assert (len(losses) < EPOCHS) == stops_early
    assert int(solution.steps) == len(losses)
    expected = Status.CONVERGED if stops_early else Status.FIXED_STEPS
    assert int(solution.status) == expected
    rtol = 2e-3 if dtype == jnp.float32 else 1e-9
    assert np.isnan(solution.optimality)  # no distance from an optimum is known
    change = abs(losses[-1] / losses[-2] - 1)
    np.testing.assert_allclose(solution.change, change, rtol=rtol, atol=rtol)
    model = solution.value
    for got, want in zip(
        [model.weights[0], model.biases[0], model.weights[1], model.biases[1]], theta, strict=True
    ):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("n", [1, 2, 57, 4096, 5000])
def test_orders_are_permutations_and_change_with_the_key(n):
    keys = jax.random.split(KEY, 3)
    orders = np.asarray(jax.vmap(lambda k: _epoch_order(k, n))(keys))
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(n), (3, 1)))
    if n > 2:
        assert (orders[0] != orders[1]).any()


def test_orders_are_uniform():
    keys = jax.random.split(KEY, 6000)
    orders = np.asarray(jax.vmap(lambda k: _epoch_order(k, 3))(keys))
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 6
    np.testing.assert_allclose(counts, 1000, atol=150)  # five standard deviations


def test_initial_parameters_fill_their_range():
    model = init_mlp(64, (50, 9), key=KEY)
    sizes = (64, 50, 9, 1)
    for i, (w, b) in enumerate(zip(model.weights, model.biases, strict=True)):
        bound = 1 / np.sqrt(sizes[i])
        assert w.shape == (sizes[i + 1], sizes[i]) and b.shape == (sizes[i + 1],)
        assert np.abs(w).max() <= bound and np.abs(b).max() <= bound
    first = np.asarray(model.weights[0]) * 8
    assert abs(first.mean()) < 0.05 and abs(first.std() - 1 / np.sqrt(3)) < 0.02
    np.testing.assert_allclose([first.min(), first.max()], [-1, 1], atol=0.01)


def test_prediction_is_the_network():
    model = init_mlp(P, (4, 2), key=KEY)
    x, _ = problem(2)
    h = x
    for w, b in zip(model.weights[:-1], model.biases[:-1], strict=True):
        h = np.maximum(h @ np.asarray(w).T + np.asarray(b), 0)
    expected = h @ np.asarray(model.weights[-1])[0] + np.asarray(model.biases[-1])[0]
    (xj,) = arrays(jnp.float32, x)
    np.testing.assert_allclose(model(xj), expected, atol=1e-5)
    np.testing.assert_allclose(model(xj[0]), expected[0], atol=1e-5)


def test_learns_a_linear_function_exactly(dtype):
    x, _ = problem(3)
    (xj,) = arrays(dtype, x)
    y = xj @ jnp.asarray([1.0, -2.0, 0.5], dtype) + 3
    solution = jax.jit(
        lambda y: mlp_regression(
            xj, y, hidden=(), key=KEY, learning_rate=0.05, epochs=2000, patience=None
        )
    )(y)
    np.testing.assert_allclose(solution.value.weights[0][0], [1.0, -2.0, 0.5], atol=1e-3)
    np.testing.assert_allclose(solution.value.biases[0][0], 3, atol=1e-3)
    assert float(jnp.mean((solution.value(xj) - y) ** 2)) < 1e-6
    assert int(solution.steps) == 2000


def test_learns_what_a_line_cannot():
    x, _ = problem(4, n=200)
    y = np.abs(x[:, 0]) - 1
    xj, yj = arrays(jnp.float32, x, y)
    run = jax.jit(
        lambda y: mlp_regression(xj, y, hidden=(16, 8), key=KEY, learning_rate=0.01, batch_size=50)
    )
    solution = run(yj)
    line = np.c_[x, np.ones(200)]
    unexplained = np.var(y - line @ np.linalg.lstsq(line, y, rcond=None)[0]) / np.var(y)
    assert unexplained > 0.8
    mse = np.mean((np.asarray(solution.value(xj)) - y) ** 2)
    assert mse / np.var(y) < 0.05


def test_doubled_weights_equal_duplicated_rows_in_full_batches():
    x, y = problem(5)
    rows = np.r_[np.arange(N), np.arange(10)]

    def run(x, y, weight):
        return mlp_regression(
            x, y, hidden=HIDDEN, key=KEY, epochs=20, batch_size=64, sample_weight=weight
        )

    twice = jax.jit(run)(*arrays(jnp.float32, x[rows], y[rows], np.ones(N + 10)))
    weighted = jax.jit(run)(*arrays(jnp.float32, x, y, np.bincount(rows)))
    for a, b in zip(jax.tree.leaves(twice), jax.tree.leaves(weighted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_rows_without_weight_cannot_matter():
    x, y = problem(6)
    weight = (np.arange(N) < 18) * 1.0
    arguments = KEY, jnp.float32(0.01), jnp.float32(0.0), jnp.asarray(weight, jnp.float32), start()
    first = fit(*arrays(jnp.float32, x, y), *arguments)
    x[18:], y[18:] = 9.0, -4.0
    second = fit(*arrays(jnp.float32, x, y), *arguments)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)


def test_vmap_stops_each_member_on_its_own_and_isolates_bad_ones():
    x, y = problem(7)
    xj, yj = arrays(jnp.float32, x, y)
    rates = jnp.asarray([0.3, 0.003, 0.03, 0.003], jnp.float32)
    keys = jax.random.split(KEY, 4)
    targets = jnp.stack([yj, yj, 2 * yj, yj.at[0].set(jnp.nan)])
    inits = jax.vmap(lambda k: init_mlp(P, HIDDEN, key=k))(keys)
    decay, weight = jnp.float32(0.01), jnp.ones(N, jnp.float32)
    axes = (None, 0, 0, 0, None, None, 0)
    batch = jax.vmap(fit, axes)(xj, targets, keys, rates, decay, weight, inits)
    assert len(set(np.asarray(batch.steps).tolist())) > 1
    assert int(batch.status[3]) == Status.NONFINITE and int(batch.steps[3]) == 1
    for i in range(3):
        init = jax.tree.map(lambda a, i=i: a[i], inits)
        alone = fit(xj, targets[i], keys[i], rates[i], decay, weight, init)
        assert int(batch.steps[i]) == int(alone.steps)
        member = jax.tree.map(lambda a, i=i: a[i], batch)
        for a, b in zip(jax.tree.leaves(member), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_same_key_same_network_other_key_other_network():
    x, y = arrays(jnp.float32, *problem(8))
    run = jax.jit(lambda key: mlp_regression(x, y, hidden=(4,), key=key, epochs=3))
    first, again, other = run(KEY), run(KEY), run(jax.random.key(1))
    np.testing.assert_array_equal(first.value.weights[0], again.value.weights[0])
    assert np.abs(first.value.weights[0] - other.value.weights[0]).max() > 1e-3


def test_constant_targets_are_finite(dtype):
    x, _ = arrays(dtype, *problem(9))
    for level in (0.0, 3.7):
        y = jnp.full(N, level, dtype)
        solution = fit(x, y, KEY, *arrays(dtype, 0.01, 0.0, np.ones(N)), start(dtype))
        assert np.isfinite(solution.change)
        assert np.abs(np.asarray(solution.value(x)) - level).max() < 5


def test_gradient_through_training_without_early_stopping(dtype):
    x, y = arrays(dtype, *problem(10))
    model = start(dtype)

    def loss(decay, y):
        solution = mlp_regression(
            x,
            y,
            hidden=HIDDEN,
            key=KEY,
            weight_decay=decay,
            learning_rate=0.02,
            batch_size=BATCH,
            epochs=6,
            patience=None,
            init=model,
        )
        return jnp.mean(solution.value(x))

    decay, value = jnp.asarray(0.5, dtype), jax.jit(loss)
    h = 0.05 if dtype == jnp.float32 else 1e-4
    difference = (value(decay + h, y) - value(decay - h, y)) / (2 * h)
    in_decay, in_y = jax.jit(jax.grad(loss, (0, 1)))(decay, y)
    rtol = 0.1 if dtype == jnp.float32 else 1e-3
    np.testing.assert_allclose(in_decay, difference, rtol=rtol)
    _, along = jax.jit(lambda t: jax.jvp(lambda y: loss(decay, y), (y,), (t,)))(jnp.ones_like(y))
    np.testing.assert_allclose(along, jnp.sum(in_y), rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": jnp.ones(4)}, "`y` has 4 rows"),
        ({"hidden": (3, 0)}, "`hidden`"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"epochs": 0}, "`epochs`"),
        ({"patience": 0}, "`patience`"),
        ({"weight_decay": -0.1}, "`weight_decay` must not be negative"),
        ({"init": init_mlp(2, (4,), key=KEY)}, "`init` has hidden layers"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"x": jnp.ones((5, 2)), "y": jnp.ones(5), "hidden": (3,), "key": KEY} | change
    with pytest.raises(ValueError, match=message):
        mlp_regression(**arguments)
