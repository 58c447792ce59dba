"""Files are written whole or not at all, also if their folder changes meanwhile."""

import errno
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from killed_writes import contents, dying, left_over

from syndigits_jax.preferences._store import read_arrays, write_arrays
from syndigits_jax.results import files
from syndigits_jax.results.checkpoints import CheckpointError, Checkpoints
from syndigits_jax.results.files import replacing, together, write_text


def removed(folder):
    shutil.rmtree(folder)


def moved(folder):
    folder.rename(folder.with_name("moved"))


def made_anew(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def replaced(folder):
    moved(folder)
    folder.mkdir()


def linked_elsewhere(folder):
    moved(folder)
    folder.with_name("other").mkdir()
    folder.symlink_to(folder.with_name("other"))


def made_a_file(folder):
    shutil.rmtree(folder)
    folder.write_text("")


GONE = (removed, moved, made_anew, replaced, linked_elsewhere, made_a_file)


@pytest.mark.parametrize("happens", GONE, ids=lambda case: case.__name__)
@pytest.mark.parametrize("opened_before", [True, False])
def test_a_folder_that_vanishes_leaves_no_part_of_a_file(tmp_path, happens, opened_before):
    folder = tmp_path / "folder"
    with pytest.raises(OSError, match="cannot be written") as error, replacing(folder / "a") as new:
        if opened_before:
            with new.open("w") as file:
                file.write("half")
                happens(folder)
                file.write("whole")
        else:
            happens(folder)
            new.with_name(new.name).chmod(0o600)
    assert error.value.filename == str(folder / "a")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path != folder]


def test_a_file_is_whole_where_its_folder_is_made_anew_before_it_is_written(tmp_path):
    folder = tmp_path / "folder"
    with replacing(folder / "a") as new:
        made_anew(folder)
        new.write_text("whole")
    assert (folder / "a").read_text() == "whole"
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_a_relative_path_is_of_the_folder_that_it_was_given_in(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    with replacing("a.txt") as new:
        monkeypatch.chdir(tmp_path / "other")
        new.write_text("x")
    assert (tmp_path / "a.txt").read_text() == "x" and not list((tmp_path / "other").iterdir())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_names_the_file_that_was_asked_for(tmp_path, number):
    (tmp_path / "a").write_text("old")
    with pytest.raises(OSError, match="cannot be written") as error, replacing(tmp_path / "a"):
        raise OSError(number, "no room")
    assert (error.value.filename, error.value.errno) == (str(tmp_path / "a"), number)
    assert (tmp_path / "a").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_folder_in_place_of_the_file_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="cannot be written") as error:
        write_text(tmp_path / "a", "x")
    assert error.value.filename == str(tmp_path / "a")
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_an_error_of_another_file_stays_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError) as error, replacing(tmp_path / "a"):
        (tmp_path / "none").read_text()
    assert error.value.filename == str(tmp_path / "none")


def test_arrays_are_kept_under_any_name(tmp_path):
    for name in ("a.npz", "run.ckpt", "plain"):
        write_arrays(tmp_path / "new" / name, {"x": np.arange(3)})
        np.testing.assert_array_equal(read_arrays(tmp_path / "new" / name)["x"], np.arange(3))
    assert len(list((tmp_path / "new").iterdir())) == 3


# --- several files ----------------------------------------------------------------------------


def test_files_of_one_block_take_their_places_at_its_end_in_their_order(tmp_path):
    first, last = tmp_path / "first.txt", tmp_path / "new" / "last.txt"
    first.write_text("old")
    with dying() as placed, together():
        write_text(first, "new")
        with together():  # is part of the outer one
            write_text(last, "new")
        other = threading.Thread(target=write_text, args=(tmp_path / "other", "at once"))
        other.start()
        other.join()
        assert first.read_text() == "old" and not last.exists()
        assert placed == [str(tmp_path / "other")]
    assert placed[1:] == [str(first), str(last)]
    assert first.read_text() == last.read_text() == "new" and not left_over(tmp_path)
    write_text(first, "later")
    assert first.read_text() == "later"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no room"), KeyboardInterrupt()])
def test_what_stops_one_file_stops_them_all(tmp_path, error):
    for name in "abc":
        (tmp_path / name).write_text("old")
    with pytest.raises(type(error)) as raised, together():
        write_text(tmp_path / "a", "new")
        with replacing(tmp_path / "b"):
            raise error
    if isinstance(error, OSError):
        assert raised.value.filename == str(tmp_path / "b")
    assert contents(tmp_path) == dict.fromkeys("abc", b"old") and not left_over(tmp_path)


def test_a_file_that_cannot_take_its_place_is_named(tmp_path):
    (tmp_path / "b").mkdir()
    with pytest.raises(OSError, match="cannot be written") as error, together():
        for name in "abc":
            write_text(tmp_path / name, "new")
    assert error.value.filename == str(tmp_path / "b")
    assert contents(tmp_path) == {"a": b"new"} and not left_over(tmp_path)


def test_a_folder_is_searched_for_left_overs_once(tmp_path, monkeypatch):
    searched = []
    monkeypatch.setattr(files, "remove_partial", searched.append)
    for _ in range(3):
        for folder in (tmp_path / "a", tmp_path / "b"):
            write_text(folder / "file", "x")
    assert searched == [tmp_path / "a", tmp_path / "b"]


# --- finished units ---------------------------------------------------------------------------


def unit(value):
    return lambda: {"x": np.full(2, value)}


@pytest.mark.parametrize("happens", GONE, ids=lambda case: case.__name__)
@pytest.mark.parametrize("resumed", [False, True])
def test_units_that_were_taken_away_are_not_passed_over(tmp_path, happens, resumed):
    folder = tmp_path / "folder"
    for _ in range(1 + resumed):
        store = Checkpoints(folder)
        store.get("a", unit(1.0))
        store.get("b", unit(2.0))

    def meanwhile():
        happens(folder)
        return unit(3.0)()

    with pytest.raises(CheckpointError, match=r"2 of the 2 finished units.*unit c is not kept"):
        store.get("c", meanwhile)
    for _ in range(2):  # and before anything is computed
        with pytest.raises(CheckpointError, match="run the same command again"):
            store.get("d", lambda: pytest.fail("computed in vain"))
    assert not list(folder.glob("*.npz"))
    if happens in (moved, replaced):
        assert sorted(path.name for path in (tmp_path / "moved").iterdir()) == ["a.npz", "b.npz"]


def test_a_folder_that_was_there_and_is_gone_before_the_first_unit(tmp_path):
    Checkpoints(tmp_path / "folder").get("a", unit(1.0))
    store = Checkpoints(tmp_path / "folder")
    removed(tmp_path / "folder")
    with pytest.raises(CheckpointError, match="removed, moved or replaced"):
        store.get("b", unit(2.0))
    again = Checkpoints(tmp_path / "folder")  # another run begins anew
    assert again.get("b", unit(2.0))[1] is False


def test_one_unit_that_was_taken_away_is_missed(tmp_path):
    store = Checkpoints(tmp_path)
    store.get("a", unit(1.0))
    store.get("b", unit(1.0))
    store.path("a").unlink()
    with pytest.raises(CheckpointError, match="1 of the 2 finished units"):
        store.get("c", unit(1.0))


def test_units_are_kept_where_they_were_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Checkpoints("units")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    store.get("a", unit(1.0))
    assert Path(tmp_path / "units" / "a.npz").exists()


# --- who writes -------------------------------------------------------------------------------


def test_every_writer_goes_through_one_place():
    """No other module makes temporary files or renames them, nor writes a file by its own name."""
    root = Path(__file__).parents[2]
    own = {"syndigits_jax/results/files.py"}
    words = ("os.replace(", "mkstemp(", ".write_text(", ".write_bytes(", ".savefig(", "savez(",
             "savez_compressed(", ".to_csv(", ".to_parquet(", "json.dump(")  # fmt: skip
    found = {}
    for source in (*root.glob("syndigits_jax/**/*.py"), *root.glob("benchmarks/**/*.py")):
        name = str(source.relative_to(root))
        for line in source.read_text(encoding="utf-8").splitlines():
            example = line.strip().startswith((">>>", "..."))
            told = any(word in line for word in words) and not example
            kept = any(word in line for word in ("temporary", "(file,", "(stream,"))
            if told and not kept and name not in own:
                found.setdefault(name, []).append(line.strip())
    assert found == {}
