"""Stata files that say or hold far more than they take are refused before memory is taken."""

import struct

import numpy as np
import pandas as pd
import pytest
from damaged_files import damage, read_or_refuse
from hypothesis import HealthCheck, given, settings
from stata_files import BYTE, REFERENCE, long_text, reference, write_stata

pyreadstat = pytest.importorskip("pyreadstat")

from syndigits_jax.datasets import read_questions, read_stata, read_table  # noqa: E402
from syndigits_jax.datasets.surveys.stata_sizes import refuse_expanding_stata  # noqa: E402
from syndigits_jax.tables import compressed  # noqa: E402

BILLIONS = 2_000_000_000
READERS = (read_table, read_questions, read_stata)


@pytest.fixture
def unread(monkeypatch):
    """The reader that takes memory is not reached."""
    monkeypatch.setattr(pyreadstat, "read_dta", lambda *_, **__: pytest.fail("read"))


def refused(path, *words):
    for reader in READERS:
        with pytest.raises(ValueError, match=path.name) as caught:
            reader(path)
        assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize("width", [1, 40])
def test_people_who_are_not_there(unread, tmp_path, width):
    path = write_stata(tmp_path / "s.dta", BILLIONS, bytes(3 * width), (BYTE,) * width)
    refused(path, "2,000,000,000 people", "damaged, or cut off")


def test_people_whose_answers_are_wider_than_the_file(unread, tmp_path):
    """Less people than the file has bytes."""
    path = write_stata(tmp_path / "s.dta", 100, b"", (2045, REFERENCE))
    refused(path, "100 people", "at least 2,053 bytes each")


@pytest.mark.parametrize(("version", "order"), [(8, "<HI"), (10, "<HI")])
def test_old_files_whose_people_are_not_there(unread, tmp_path, version, order):
    table = pd.DataFrame({"who": ["ann", "bob"], "car": [1.0, 2.0]})
    pyreadstat.write_dta(table, tmp_path / "s.dta", version=version)
    content = bytearray((tmp_path / "s.dta").read_bytes())
    assert struct.unpack_from(order, content, 4) == (2, 2)
    struct.pack_into(order, content, 4, 2, BILLIONS)
    (tmp_path / "s.dta").write_bytes(content)
    refused(tmp_path / "s.dta", "2,000,000,000 people")


def test_a_long_text_that_everybody_repeats(unread, tmp_path, monkeypatch):
    """A hundred kilobytes that would be ten megabytes, with a bound between; and the real one."""
    text = b"x" * 100_000
    path = write_stata(tmp_path / "s.dta", 100, reference(1, 1) * 100, (REFERENCE,),
                       long_text(1, 1, text))  # fmt: skip
    refuse_expanding_stata(path)
    monkeypatch.setattr(compressed, "FACTOR", 20)
    monkeypatch.setattr(compressed, "ARRAYS", 1 << 20)
    refused(path, "its contents take more than")


def test_a_long_text_that_says_that_it_is_long(unread, tmp_path):
    path = write_stata(tmp_path / "s.dta", 1, reference(1, 1), (REFERENCE,),
                       long_text(1, 1, b"x", 2**32 - 1))  # fmt: skip
    refused(path, "its contents take more than")


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("version", [117, 118, 119])
def test_long_texts_are_counted_to_the_byte(tmp_path, monkeypatch, version, order):
    """pandas writes them once for all who gave the same; both orders of bytes, three formats."""
    said = ["ü" * 3000, "short", "", "ü" * 3000] * 50 + ["other" * 500]
    table = pd.DataFrame({"who": np.arange(201), "said": said, "more": said[::-1],
                          "car": np.ones(201, np.int8)})  # fmt: skip
    path = tmp_path / "s.dta"
    table.to_stata(path, write_index=False, version=version, byteorder=order,
                   convert_strl=["said", "more"])  # fmt: skip
    total = 2 * sum(len(one.encode()) + 1 for one in said if one)  # each ends in a zero
    monkeypatch.setattr(compressed, "FACTOR", 1)
    monkeypatch.setattr(compressed, "ARRAYS", total)
    refuse_expanding_stata(path)
    assert read_stata(path).answers["car"].tolist() == [1.0] * 201
    monkeypatch.setattr(compressed, "ARRAYS", total - 1)
    with pytest.raises(compressed.ExpansionError):
        refuse_expanding_stata(path)


def test_labels_that_all_variables_share(tmp_path, monkeypatch):
    labels = {float(i): f"place {i}" for i in range(60)}
    names = [f"q{j}" for j in range(12)]
    table = pd.DataFrame({"who": ["ann", "bob"]} | {name: [1.0, 2.0] for name in names})
    path = tmp_path / "s.dta"
    pyreadstat.write_dta(table, path, variable_value_labels=dict.fromkeys(names, labels))
    assert len(read_questions(path)) == 12
    monkeypatch.setattr(compressed, "FACTOR", 1)
    monkeypatch.setattr(compressed, "ARRAYS", 64 * 12 * 60 - 1)
    refused(path, "its contents take more than")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
@given(harm=damage())
def test_damaged_files_with_long_texts_are_read_or_refused_by_name(tmp_path, harm):
    path = write_stata(tmp_path / "s.dta", 3, (b"\1" + reference(2, 1)) * 3, (BYTE, REFERENCE),
                       long_text(2, 1, b"yes"))  # fmt: skip
    assert read_stata(path).answers is None
    path.write_bytes(harm(path.read_bytes()))
    for reader in READERS:
        read_or_refuse(reader, path)
