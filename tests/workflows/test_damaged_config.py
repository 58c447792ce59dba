"""A pipeline's file, embeddings and tables of ratings that went wrong: read, or refused by name."""

import os

import numpy as np
import pytest
from damaged_files import DEEP, damage, read_or_refuse
from hypothesis import HealthCheck, given, settings

from syndigits_jax.workflows.evaluate.inputs import read_inputs
from syndigits_jax.workflows.fidelity.files import read_embeddings, read_fidelity_files
from syndigits_jax.workflows.files import Files
from syndigits_jax.workflows.pipeline.config import read_pipeline

once = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
CONFIG = """out = "../out"
[questions]
file = "q.json"
block = ["Prix é"]
[[personas]]
kind = "survey"
human = "human.csv"
questions = "q.json"
people = 5
[engine]
kind = "vllm"
model = "m"
[respond]
template = "survey"
readout = "sample"
temperature = 1
allow_missing = 0.1
[calibrate]
human = "sub/human.csv"
groups = ["sex"]
"""


@settings(once, max_examples=40)
@given(harm=damage(text=True))
def test_a_damaged_configuration_is_read_or_refused_by_name(tmp_path, harm):
    path = tmp_path / "c.toml"
    path.write_bytes(harm(CONFIG.encode()))
    read_or_refuse(read_pipeline, path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("temperature = 1", "temperature = 1" + "0" * 400, "temperature"),
        ("temperature = 1", "temperature = 1" + "0" * 5000, "not a TOML file"),
        ("people = 5", f"people = {DEEP}", "not a TOML file"),
        ("people = 5", "people = 1" + "0" * 5000, "not a TOML file"),
        ("allow_missing = 0.1", "allow_missing = nan", "`allow_missing`"),
        ('out = "../out"', "out = 3", "`out`"),
        ('"survey"\nreadout', '"../../t.toml"\nreadout', "no such file"),
        ("kind", "k\x00nd", "line 6"),
    ],
)
def test_odd_values_are_said_with_their_key(tmp_path, old, new, words):
    path = tmp_path / "c.toml"
    assert old in CONFIG
    path.write_text(CONFIG.replace(old, new, 1))
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read_pipeline(path)
    assert words in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == ["c.toml"]


@once
@given(harm=damage())
@pytest.mark.parametrize("name", ["e.npy", "e.npz"])
def test_damaged_embeddings_are_read_or_refused_by_name(tmp_path, name, harm):
    whole, path = tmp_path / f"whole-{name}", tmp_path / name
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    if name.endswith("z"):
        np.savez_compressed(whole, embeddings=values)
    else:
        np.save(whole, values)
    path.write_bytes(harm(whole.read_bytes()))
    found = read_or_refuse(lambda at: read_embeddings(at, 4), path)
    assert found is None or found.shape == (4, 3)


TABLES = {
    "r.csv": "user,item,rating,time\nu1,f1,4.5,1\nu2,f2,3,2\nu1,f2,1,3\n",
    "i.csv": "item,title\nf1,Alien (1979)\nf2,L'été\n",
    "p.csv": "persona,item,rating,seed\np1,f1,4,u1\np2,f2,3,u2\n",
}


@once
@given(harm=damage(text=True))
@pytest.mark.parametrize("name", TABLES)
def test_damaged_tables_of_ratings_are_read_or_refused_by_name(tmp_path, name, harm):
    """By the name of this file or of one that it no longer fits."""
    for other, text in TABLES.items():
        (tmp_path / other).write_text(text)
    path = tmp_path / name
    path.write_bytes(harm(path.read_bytes()))
    paths = [tmp_path / other for other in TABLES]
    try:
        read_fidelity_files(*paths)
    except ValueError as error:
        assert any(str(one) in str(error) for one in paths), error
        assert type(error) is ValueError or type(error).__module__.startswith("syndigits_jax")


def test_links_in_a_circle_are_no_file_for_a_workflow(tmp_path):
    loop = tmp_path / "q.json"
    os.symlink(loop, loop)
    with pytest.raises(FileNotFoundError, match=r"q\.json"):
        Files().questions(loop)
    with pytest.raises((FileNotFoundError, ValueError), match=r"q\.json"):
        read_inputs(loop, loop)
