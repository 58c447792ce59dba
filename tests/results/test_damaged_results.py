"""Saved objects, finished units, arrays and results files that went wrong."""

import io
import json
import zipfile

import numpy as np
import pytest
from damaged_files import DEEP, changed, damage, read_or_refuse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syndigits_jax import Ridge, Settings, load, save
from syndigits_jax.preferences import embed_texts
from syndigits_jax.preferences._store import read_arrays, write_arrays
from syndigits_jax.results.checkpoints import Checkpoints
from syndigits_jax.results.objects import SavedFileError
from syndigits_jax.results.records import Record, check_results_path, read_results, write_results
from syndigits_jax.schema import Option, Persona, Question
from syndigits_jax.workflows.evaluate.run import check_report_folder

once = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
OBJECT = {
    "numbers": np.arange(5.0), "text": ("a", 1, None), "settings": Settings(), "ridge": Ridge(),
    "question": Question("q", "?", (Option(1, "a"), Option(2, "b")), item={"title": "Up"}),
    "persona": Persona("p", "A teacher.", {"age": "45"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "whole.npz"
    save(path, OBJECT)
    return path.read_bytes()


def with_header(whole, header):
    """The saved file with another header, as text or a document."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as stored, zipfile.ZipFile(out, "w") as new:
        for name in stored.namelist():
            own = stored.read(name)
            if name == "header.json":
                own = header if isinstance(header, str) else json.dumps(header(json.loads(own)))
            new.writestr(name, own)
    return out.getvalue()


@once
@given(harm=damage())
def test_a_damaged_object_is_loaded_or_refused_by_name(saved, tmp_path, harm):
    path = tmp_path / "object.npz"
    path.write_bytes(harm(saved))
    read_or_refuse(load, path)


@settings(once, max_examples=40)
@given(data=st.data())
def test_an_object_with_any_header_is_loaded_or_refused_by_name(saved, tmp_path, data):
    path = tmp_path / "object.npz"
    path.write_bytes(with_header(saved, lambda header: data.draw(changed(header))))
    read_or_refuse(load, path)


def array_of(shape, dtype="<f8"):
    """The start of an array's file, which says that it is larger than any memory."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def members(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as new:
        for name, content in files.items():
            new.writestr(name.replace("__", "."), content)
    return out.getvalue()


HEADER = '{"kind": "syndigits_jax object", "format": 1, "object": %s}'
ARRAY = HEADER % '{"array": 0, "dtype": "float64"}'


@pytest.mark.parametrize(
    "content",
    [
        members(header__json=HEADER % DEEP),
        members(header__json=ARRAY, **{"0__npy": array_of("(1000000000000000,)")}),
        members(header__json=ARRAY, **{"0__npy": array_of("(9" * 9)}),
        members(header__json=ARRAY, **{"0__npy": array_of("(1,)", "|O")}),
        members(header__json=HEADER % '{"array": "../../x", "dtype": ""}'),
        members(header__json=HEADER % '{"class": "schema.Option", "fields": [1]}'),
        members(header__json=HEADER % '{"enum": "schema.Option", "value": 1}'),
        members(header__json=HEADER % '{"dict": [[{"list": []}, 1]]}'),
        members(header__json=HEADER % '{"key": 0, "of": "none"}', **{"0__npy": array_of("(0,)")}),
    ],
    ids=range(9),
)
def test_crafted_objects_are_refused_by_name_and_write_nothing(tmp_path, content):
    """A nesting without end, sizes beyond any memory, objects, and names out of the folder."""
    path = tmp_path / "object.npz"
    path.write_bytes(content)
    with pytest.raises(SavedFileError, match=r"object\.npz: is damaged"):
        load(path)
    assert [one.name for one in tmp_path.iterdir()] == ["object.npz"]


def test_what_cannot_be_opened_is_no_damage(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileNotFoundError, match="folder"):
        load(tmp_path / "folder")
    store = Checkpoints(tmp_path)
    (tmp_path / "k.npz").mkdir()
    with pytest.raises(IsADirectoryError):
        store.load("k")


@once
@given(harm=damage())
def test_a_damaged_unit_is_computed_again(tmp_path, harm):
    store = Checkpoints(tmp_path)
    store.save("k", {"x": np.arange(50.0), "text": np.array(["a", "é"])})
    whole = store.path("k").read_bytes()
    store.path("k").write_bytes(harm(whole))
    found = store.load("k")
    assert found is None or set(found) <= {"x", "text"}
    store.path("k").write_bytes(whole)


@once
@given(harm=damage())
def test_damaged_arrays_are_read_or_refused_by_name(tmp_path, harm):
    path = tmp_path / "a.npz"
    write_arrays(path, {"x": np.arange(50.0), "y": np.ones((2, 3))})
    path.write_bytes(harm(path.read_bytes()))
    read_or_refuse(read_arrays, path)


def test_texts_of_a_damaged_cache_are_encoded_again(tmp_path):
    asked = []

    def encoder(texts):
        asked.append(texts)
        return np.array([[len(text), 1.0] for text in texts])

    for _ in range(2):
        found = embed_texts(["a", "bcd"], encoder, cache=tmp_path, name="length")
    assert len(asked) == 1
    (path,) = tmp_path.rglob("*.npz")
    for content in (path.read_bytes()[:-40], b"", b"PK\x03\x04"):
        path.write_bytes(content)
        again = embed_texts(["a", "bcd"], encoder, cache=tmp_path, name="length")
        np.testing.assert_array_equal(again, found)
    assert len(asked) == 4


def record():
    return Record("t", "d", "c", "question", "Ridge", "reference", "pearson", 0.5, 0.1, 9)


@once
@given(data=st.data(), harm=damage(text=True), any_value=st.booleans())
def test_results_files_are_read_or_refused_by_name(tmp_path, data, harm, any_value):
    path = tmp_path / "results.json"
    path.unlink(missing_ok=True)
    write_results(path, [record()])
    if any_value:
        path.write_text(json.dumps(data.draw(changed(json.loads(path.read_text())))))
    else:
        path.write_bytes(harm(path.read_bytes()))
    read_or_refuse(read_results, path)
    read_or_refuse(check_results_path, path)
    read_or_refuse(lambda at: check_report_folder(at.parent), path)


@pytest.mark.parametrize("text", [DEEP, '{"records": 1' + "0" * 5000 + "}", "\0"])
def test_what_is_no_results_file_is_left_alone(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    for reader in (read_results, check_results_path, lambda at: check_report_folder(at.parent)):
        with pytest.raises(ValueError, match=r"results\.json"):
            reader(path)
    assert path.read_text() == text
