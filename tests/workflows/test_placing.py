"""Placement of personas and users together: as each alone, kept once finished, and resumed."""

import jax
import numpy as np
import pytest

from syndigits_jax.datasets.preference_simulator import simulate_preferences
from syndigits_jax.preferences import init_mixture, place_users
from syndigits_jax.results.checkpoints import Checkpoints
from syndigits_jax.workflows.fidelity import placing
from syndigits_jax.workflows.fidelity.parts import purpose_key
from syndigits_jax.workflows.fidelity.placing import PROCEDURES, place_populations

KEY = jax.random.key(1)
COLUMNS = ("w", "status", "steps", "gradient_norm", "embedding", "loss", "pairs")


@pytest.fixture(scope="module")
def world():
    users, truth = simulate_preferences(12, 20, key=0, ratings=8)
    personas = users.where(users.user < 5).compact().with_items(users.items)
    return truth.gram, personas, users


def place(world, store=None, said=None, **options):
    def say(*progress):
        if said is not None:
            said.append(progress)

    return place_populations(KEY, *world, store=store, say=say, **options)


def assert_same(found, expected):
    """Bit for bit."""
    for mine, theirs in zip(found, expected, strict=True):
        assert list(mine) == list(theirs)
        for procedure, placed in mine.items():
            for name in COLUMNS:
                one, other = (np.asarray(getattr(p, name)) for p in (placed, theirs[procedure]))
                assert one.dtype == other.dtype and one.tobytes() == other.tobytes(), name


def test_together_as_each_alone(world):
    gram, personas, users = world
    said = []
    found = place(world, said=said)
    for placed, table, purpose in zip(found, (personas, users), ("personas", "control")):
        for procedure in PROCEDURES:
            start = init_mixture(purpose_key(KEY, purpose), len(table.users), 4)
            init = start if procedure == "ssr" else None
            alone = place_users(gram, table, method=procedure, init=init)
            for name in COLUMNS:
                one, other = (np.asarray(getattr(p, name)) for p in (placed[procedure], alone))
                np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4, err_msg=name)
    done = [d for _, d, _ in said]
    assert done == sorted(done) and said[-1][1:] == (34, 34)
    assert {text.partition(", ")[2] for text, _, _ in said} == {*PROCEDURES, ""}


def test_a_killed_run_continues_after_the_last_finished_placement(world, tmp_path, monkeypatch):
    whole, called = place(world), []

    def placed(*arguments, method, **options):
        called.append(method)
        if called == ["ssr", "newton"]:
            raise KeyboardInterrupt
        return place_users(*arguments, method=method, **options)

    monkeypatch.setattr(placing, "place_users", placed)
    with pytest.raises(KeyboardInterrupt):
        place(world, Checkpoints(tmp_path))
    [kept] = tmp_path.iterdir()
    assert kept.name.startswith("placement-ssr-")
    assert_same(place(world, Checkpoints(tmp_path)), whole)
    assert called == ["ssr", "newton", "newton"]
    assert_same(place(world, Checkpoints(tmp_path)), whole)
    assert called == ["ssr", "newton", "newton"]
    # What determines a placement is part of its name.
    place(world, Checkpoints(tmp_path), gap=2.0, procedures=("newton",))
    gram, personas, users = world
    place((gram, personas, users.where(users.user != 3)), Checkpoints(tmp_path))
    assert called[3:] == ["newton", "ssr", "newton"] and len(list(tmp_path.iterdir())) == 5
