"""What is spread over devices, on one and on all of them: a script for processes of their own.

`python several_devices.py WORK ...` does each work and prints its name when one device and all
devices agree. A work also asserts that every device had its own share: its results lie on all of
them, a part on each, or its program does a share of the products.
"""

import sys
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest

from syndigits_jax.calibration import Ridge, SoftImpute
from syndigits_jax.datasets import sample_panel, simulate_distributions
from syndigits_jax.datasets.preference_simulator import simulate_preferences
from syndigits_jax.distribution import Answers, Spec, fit_ensembles
from syndigits_jax.estimation import hold_out_questions, stack
from syndigits_jax.evaluation import holdout_run, leave_one_question_out, leave_one_user_out
from syndigits_jax.fidelity import mmd2_unbiased, mmd_permutation_test, neighbour_radius, prdc
from syndigits_jax.preferences import (
    TrainingSettings,
    init_encoder,
    place_newton,
    place_ssr,
    score_gram,
    train_encoder,
)
from syndigits_jax.preferences import training as training_module
from syndigits_jax.solvers.devices import to_host

KEY = jax.random.key(7)


def agree(one: Any, all_of_them: Any, mesh, tolerance: float = 2e-4) -> None:
    """Equal up to a share of the largest number, NaN in the same places."""
    one, other = (
        jax.tree.leaves(to_host(mesh, eqx.filter(t, eqx.is_array_like))) for t in (one, all_of_them)
    )
    for a, b in zip(one, other, strict=True):
        scale = np.nanmax(np.abs(a), initial=1e-3)
        np.testing.assert_allclose(b, a, rtol=0, atol=tolerance * scale)


def spread(tree: Any, mesh) -> None:
    """Every array lies on all devices of the mesh, with different rows on each."""
    for leaf in jax.tree.leaves(tree):
        assert len(leaf.sharding.device_set) == mesh.size, leaf.sharding
        assert {s.data.shape[0] * mesh.size for s in leaf.addressable_shards} == {leaf.shape[0]}


class Watched:
    """In place of `to_host` of a module: what comes to the host was spread over the devices."""

    def __init__(self, module: Any, mesh):
        self.module, self.mesh, self.seen = module, mesh, 0

    def __enter__(self):
        self.module.to_host = self
        return self

    def __exit__(self, *_):
        self.module.to_host = to_host

    def __call__(self, mesh, tree):
        spread(tree, self.mesh)
        self.seen += 1
        return to_host(mesh, tree)


def panel(users: int = 24, questions: int = 9):
    return sample_panel().take(users=slice(0, users), questions=slice(0, questions))


def hold_out(mesh) -> None:
    # A completion takes the same way, and another program to compile in every process.
    methods = [Ridge(10.0), SoftImpute(2, 1.0)][: 2 if jax.process_count() == 1 else 1]
    one = leave_one_question_out(methods, panel())
    with Watched(holdout_run, mesh) as watched:
        found = leave_one_question_out(methods, panel(), batch_size=1, mesh=mesh)
    assert watched.seen == len(methods) * -(-9 // mesh.size)  # batches of nine folds
    agree(one.predictions, found.predictions, None)
    assert (one.status["Ridge"] == found.status["Ridge"]).all()


def hold_out_users(mesh) -> None:
    one = leave_one_user_out([Ridge(10.0)], panel(), targets=range(9))
    with Watched(holdout_run, mesh) as watched:
        found = leave_one_user_out([Ridge(10.0)], panel(), targets=range(9), mesh=mesh)
    assert watched.seen
    agree(one.predictions, found.predictions, None)


def auto(mesh) -> None:
    done = []
    one = hold_out_questions(panel())
    with Watched(stack, mesh) as watched:
        found = hold_out_questions(panel(), mesh=mesh, on_fit=lambda *counts: done.append(counts))
    assert watched.seen == -(-45 // mesh.size)  # nine folds and their pairs
    assert done[0] == (0, 45) and done[1] == (mesh.size, 45) and done[-1] == (45, 45)
    agree(one.predictions, found.predictions, None, 2e-3)


def fits(mesh) -> None:
    data, _ = simulate_distributions(twins=16, questions=4, options=3, key=0)
    answers = Answers.from_choices(data.choices, 3)
    specs = [Spec("cdf_l2", ridge=0.1)]
    [one] = fit_ensembles(data.counts, answers, specs)
    [found] = fit_ensembles(data.counts, answers, specs, mesh=mesh)
    spread(found.personas, mesh)
    objective, start = to_host(mesh, (found.objective, found.start))
    assert abs(objective - float(one.objective)) <= 2e-3 * (start - float(one.objective))
    agree(one.personas, found.personas, mesh, 2e-2)


def placement(mesh) -> None:
    rng = np.random.default_rng(0)
    items = rng.normal(size=(6, 3)).astype(np.float32)
    encoder = init_encoder(KEY, width=3, prototypes=2, hidden=(), dim=4, dropout=0.0)
    gram = score_gram(encoder, items)
    ratings = rng.integers(1, 6, (16, 6)).astype(np.float32)
    for place in (place_ssr, place_newton):
        options = {"key": KEY, "batch_size": 2} | ({"steps": 20} if place is place_ssr else {})
        one = place(gram, ratings, **options)
        found = place(gram, ratings, mesh=mesh, **options)
        spread((found.w, found.embedding, found.status), mesh)
        agree(one, found, mesh, 2e-3)
    # 13 raters leave places of the last devices empty; every rater has their own probes.
    own = gram.take(np.tile(np.arange(6), (13, 1)))
    found = place_newton(own, ratings[:13], key=KEY, mesh=mesh)
    agree(one.w[:13], found.w, mesh, 2e-3)


def points(mesh) -> None:
    rng = np.random.default_rng(1)
    x, y = (rng.normal(size=(n, 3)).astype(np.float32) for n in (32, 19))
    # Blocks of a few rows, of which the devices do not divide the number.
    spread(neighbour_radius(x, 3, block=64, mesh=mesh), mesh)
    agree(prdc(x, y, 3, block=64), prdc(x, y, 3, block=64, mesh=mesh), mesh, 1e-6)
    agree(mmd2_unbiased(x, y, 1.0), mmd2_unbiased(x, y, 1.0, mesh=mesh), mesh)
    options = {"key": KEY, "x": y, "y": x, "sigma": 1.0, "permutations": 19}
    one, found = mmd_permutation_test(**options), mmd_permutation_test(**options, mesh=mesh)
    agree(one, found, mesh)


def training(mesh) -> None:
    table, truth = simulate_preferences(24, 16, key=0, ratings=8)
    train, validation, _ = table.split()
    settings = TrainingSettings(
        epochs=2, batch_size=64, projector_rate=1e-2, mixture_rate=5e-2, chunk_steps=2
    )
    with pytest.raises(ValueError, match="cannot share evenly"):
        odd = TrainingSettings(batch_size=mesh.size + 1)
        train_encoder(truth.vectors, train, key=KEY, settings=odd, mesh=mesh)
    start = init_encoder(KEY, width=12, prototypes=2, hidden=(32,), dim=6, dropout=0.1)
    calls = []

    def watched(*args, **options):
        if not calls:
            calls.append(run_steps.lower(*args, **options).compile())
        return run_steps(*args, **options)

    def fit(**options):
        calls.clear()
        return train_encoder(
            truth.vectors, train, validation, key=KEY, init=start, settings=settings, **options
        ), calls[0]

    run_steps, training_module.run_steps = training_module.run_steps, watched
    (one, alone), (found, shared) = fit(), fit(mesh=mesh)
    training_module.run_steps = run_steps
    agree((one.encoder, one.w, one.loss), (found.encoder, found.w, found.loss), None, 5e-3)
    assert np.array_equal(one.validation, found.validation)
    # Every device projects its share of the items, and the gradients are added.
    assert "all-reduce" in shared.as_text() and "all-reduce" not in alone.as_text()
    assert shared.cost_analysis()["flops"] * mesh.size < 1.8 * alone.cost_analysis()["flops"]


WORKS = {f.__name__: f for f in (hold_out, hold_out_users, auto, fits, placement, points, training)}

if __name__ == "__main__":
    mesh = jax.make_mesh((jax.device_count(),), ("devices",))
    assert mesh.size > 1
    for name in sys.argv[1:]:
        WORKS[name](mesh)
        print(name, flush=True)
