"""Resumption: keys change with what determines a result, and finished units are not recomputed."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from syndigits_jax.results import checkpoints as module
from syndigits_jax.results.checkpoints import (
    Checkpoints,
    describe,
    unit_key,
)

CODE = ("results.checkpoints",)


class Penalised(eqx.Module):
    penalty: jax.Array
    rank: int = eqx.field(static=True)


class Renamed(Penalised):
    pass


def test_keys_are_equal_for_equal_content_and_differ_otherwise():
    data = np.arange(40.0)
    base = {"method": Penalised(jnp.asarray(1.0), 3), "data": data, "setting": "default"}
    key = unit_key(CODE, **base)
    assert key == unit_key(
        CODE, **{**base, "data": data.copy(), "method": Penalised(jnp.asarray(1.0), 3)}
    )
    changed = data.copy()
    changed[7] = np.nan
    for difference in (
        {"method": Penalised(jnp.asarray(2.0), 3)},
        {"method": Penalised(jnp.asarray(1.0), 4)},
        {"method": Renamed(jnp.asarray(1.0), 3)},
        {"data": changed},
        {"data": data.reshape(4, 10)},
        {"data": data.astype(np.float32)},
        {"setting": "reference"},
    ):
        assert unit_key(CODE, **{**base, **difference}) != key


def test_keys_change_with_the_code(monkeypatch):
    key = unit_key(CODE, a=1)
    monkeypatch.setattr(module, "code_version", lambda rooms: "changed")
    assert unit_key(CODE, a=1) != key


def test_the_order_of_methods_counts_only_as_content():
    assert describe({"b": 1, "a": (1, 2)}) == {"b": 1, "a": [1, 2]}
    assert unit_key(CODE, x={"b": 1, "a": 2}) == unit_key(CODE, x={"a": 2, "b": 1})


def test_what_cannot_be_described_is_refused():
    with pytest.raises(TypeError, match="cannot describe a object"):
        describe(object())


def test_a_finished_unit_is_not_computed_again(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"scores": np.array([0.5, np.nan]), "seconds": np.asarray(2.0)}

    store = Checkpoints(tmp_path / "units")
    first, was_there = store.get("k", compute)
    assert not was_there
    second, was_there = store.get("k", compute)
    assert was_there and len(calls) == 1
    assert set(first) == set(second)
    np.testing.assert_array_equal(first["scores"], second["scores"])
    assert [p.name for p in (tmp_path / "units").iterdir()] == ["k.npz"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_unit_leaves_nothing(tmp_path, error):
    def fail():
        raise error

    with pytest.raises(error):
        Checkpoints(tmp_path).get("k", fail)
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_midway_leaves_nothing(tmp_path, monkeypatch):
    def half(file, **arrays):
        file.write_bytes(b"PK")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", half)
    with pytest.raises(OSError, match="disk full"):
        Checkpoints(tmp_path).save("k", {"a": np.zeros(3)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"text"])
def test_an_unreadable_unit_is_computed_again(tmp_path, content):
    (tmp_path / "k.npz").write_bytes(content)
    arrays, was_there = Checkpoints(tmp_path).get("k", lambda: {"a": np.ones(2)})
    assert not was_there
    np.testing.assert_array_equal(arrays["a"], 1.0)
    assert Checkpoints(tmp_path).load("k") is not None


def test_dataclass_settings_enter_by_name_and_value():
    @dataclasses.dataclass(frozen=True)
    class Settings:
        rank: int = 5
        floor: float | None = None

    assert describe(Settings())["rank"] == 5
    assert describe(Settings()) != describe(Settings(floor=1.0))
