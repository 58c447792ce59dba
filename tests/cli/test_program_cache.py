"""Compiled programs that commands keep: where, switched off, spoilt, disk full, two at once."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
import typer
from jax.experimental.compilation_cache import compilation_cache
from typer.testing import CliRunner

from syndigits_jax.cli import program_cache
from syndigits_jax.cli.command import command
from syndigits_jax.cli.program_cache import SWITCH, cache_folder, prune

HIT, MISS = "/jax/compilation_cache/cache_hits", "/jax/compilation_cache/cache_misses"
OPTIONS = ("jax_compilation_cache_dir", "jax_compilation_cache_max_size",
           "jax_persistent_cache_min_compile_time_secs",
           "jax_persistent_cache_enable_xla_caches")  # fmt: skip
NOWHERE = Path("/nowhere").absolute()
heard: list[str] = []
jax.monitoring.register_event_listener(lambda event, **_: heard.append(event))


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "HOME/.cache/syndigits/compiled"),
        ("linux", {"XDG_CACHE_HOME": "/fast"}, "/fast/syndigits/compiled"),
        ("linux", {"XDG_CACHE_HOME": "not/absolute"}, "HOME/.cache/syndigits/compiled"),
        ("linux", {"XDG_CACHE_HOME": ""}, "HOME/.cache/syndigits/compiled"),
        ("darwin", {}, "HOME/Library/Caches/syndigits/compiled"),
        ("win32", {"LOCALAPPDATA": "/users/me"}, "/users/me/syndigits/compiled"),
        ("linux", {SWITCH: "/mine", "XDG_CACHE_HOME": "/fast"}, "/mine"),
        ("linux", {SWITCH: "mine"}, "HERE/mine"),
        ("linux", {SWITCH: "~/mine"}, "HOME/mine"),
        ("linux", {SWITCH: ""}, None),
        ("linux", {SWITCH: "off"}, None),
        ("linux", {SWITCH: " OFF "}, None),
    ],
)
def test_the_folder(platform, environment, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    if expected is not None:
        expected = Path(expected.replace("HOME", str(tmp_path)).replace("HERE", str(Path.cwd())))
    assert cache_folder(environment) == expected


def test_without_a_home_nothing_is_kept(monkeypatch):
    def nobody():
        raise RuntimeError("could not determine home directory")

    monkeypatch.setattr(Path, "home", nobody)
    assert cache_folder({}) is None
    assert cache_folder({"XDG_CACHE_HOME": "/fast"}) == Path("/fast/syndigits/compiled")


def tripled(x):
    return jnp.sin(3 * x)


@pytest.fixture
def run(monkeypatch):
    """Runs a command that compiles `tripled` anew: its output, and JAX's events meanwhile."""
    app = typer.Typer()

    @command(app, resume="run it again")
    def only():
        # What `jit` has traced it forgets with the function.
        def fresh(x):
            return tripled(x)

        told = [jax.config.jax_compilation_cache_dir, float(jax.jit(fresh)(jnp.float32(2)))]
        print(*told)

    def one(folder, *options):
        monkeypatch.setenv(SWITCH, str(folder))
        heard.clear()
        compilation_cache.reset_cache()
        done = CliRunner().invoke(app, options)
        assert done.exit_code == 0, done.output
        assert float(done.output.split()[-1]) == float(tripled(jnp.float32(2)))
        return done, list(heard)

    before = [getattr(jax.config, name) for name in OPTIONS]
    yield one
    assert [getattr(jax.config, name) for name in OPTIONS] == before
    compilation_cache.reset_cache()


def quiet(done):
    """Whether nothing but the one line of results is printed, on either stream."""
    return len(done.output.splitlines()) == 1


def entries(folder):
    return sorted(folder.glob("jit_fresh-*-cache"))


def test_the_second_command_reads_what_the_first_compiled(run, tmp_path):
    folder = tmp_path / "a" / "b"
    done, events = run(folder, "--verbose")
    assert MISS in events and HIT not in events
    assert f"compiled programs are kept in {folder} ({SWITCH}=off keeps none)" in " ".join(
        done.output.split()
    )
    assert len(entries(folder)) == 1
    assert os.name == "nt" or folder.stat().st_mode & 0o077 == 0
    done, events = run(folder)
    assert HIT in events and MISS not in events
    assert quiet(done)


@pytest.mark.parametrize("value", ["off", ""])
def test_nothing_is_kept_when_switched_off(value, run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done, events = run(value, "--verbose")
    assert HIT not in events and MISS not in events
    assert "compiled programs are not kept" in " ".join(done.output.split())
    assert list(tmp_path.iterdir()) == []


def test_a_cache_of_the_users_own_is_left_as_it_is(run, tmp_path):
    own = str(tmp_path / "own")
    jax.config.update("jax_compilation_cache_dir", own)
    try:
        done, _ = run(tmp_path / "ours", "--verbose")
        assert own in done.output.split()
        assert jax.config.jax_persistent_cache_min_compile_time_secs == 1
        assert f"compiled programs are kept in {own} (JAX_COMPILATION_CACHE_DIR)" in " ".join(
            done.output.split()
        )
    finally:
        jax.config.update("jax_compilation_cache_dir", None)
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("left", [0, 100])
def test_a_spoilt_entry_is_compiled_again_and_replaced(left, run, tmp_path):
    run(tmp_path)
    (entry,) = entries(tmp_path)
    whole = entry.read_bytes()
    assert len(whole) > 100
    entry.write_bytes(whole[:left])
    done, events = run(tmp_path)
    assert quiet(done) and HIT not in events[events.index(MISS) :] and not entries(tmp_path)
    run(tmp_path)
    assert entries(tmp_path) == [entry]
    _, events = run(tmp_path)
    assert MISS not in events


@contextlib.contextmanager
def no_file_longer_than(size):
    resource = pytest.importorskip("resource")  # not on Windows
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_no_error(run, tmp_path):
    with no_file_longer_than(100):
        done, events = run(tmp_path)
    assert quiet(done) and MISS in events
    assert not entries(tmp_path), "what was written of it is removed"
    _, events = run(tmp_path)
    assert MISS in events and len(entries(tmp_path)) == 1


def test_a_place_that_cannot_be_a_folder_is_no_error(run, tmp_path):
    (tmp_path / "file").write_text("here first")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        done, events = run(place)
        assert quiet(done) and MISS not in events
        done, _ = run(place, "--verbose")
        assert "compiled programs are not kept: " in " ".join(done.output.split())
    assert (tmp_path / "file").read_text() == "here first"


def test_those_longest_unused_are_removed_first(tmp_path):
    for age, name in enumerate(("new", "middle", "old")):
        path = tmp_path / f"jit_{name}-0-cache"
        path.write_bytes(bytes(100))
        os.utime(path, (1000 - age, 500 + age))
    (tmp_path / "another").write_bytes(bytes(1000))
    prune(tmp_path, 300)
    assert len(list(tmp_path.iterdir())) == 4
    prune(tmp_path, 250)
    assert {p.name for p in tmp_path.iterdir()} == {
        "jit_new-0-cache",
        "jit_middle-0-cache",
        "another",
    }
    prune(tmp_path, 0)
    assert {p.name for p in tmp_path.iterdir()} == {"another"}


def test_a_command_that_compiles_leaves_no_more_than_the_bound(run, tmp_path, monkeypatch):
    old = tmp_path / "jit_old-0-cache"
    old.write_bytes(bytes(4096))
    os.utime(old, (1, 1))
    run(tmp_path)
    assert old.exists()
    for path in entries(tmp_path):
        path.unlink()
    monkeypatch.setattr(program_cache, "MOST_BYTES", 4096)
    run(tmp_path)
    assert not old.exists() and len(entries(tmp_path)) == 1


AT_ONCE = """
import pathlib, sys, time, typer
from syndigits_jax.cli.command import command

app = typer.Typer()

@command(app, resume="run it again")
def only(me: str, other: str):
    import jax, jax.numpy as jnp
    hits = []
    jax.monitoring.register_event_listener(
        lambda event, **_: hits.append(1) if event.endswith("cache_hits") else None
    )
    here = pathlib.Path(sys.argv[0]).parent
    total = 0.0
    for k in range(30):
        (here / f"{me}.{k}").touch()  # the two go step by step, to meet at every program
        for _ in range(2000):
            if (here / f"{other}.{k}").exists():
                break
            time.sleep(0.001)
        total += float(jax.jit(lambda x: jnp.sin(x + k) * k)(1.0))
    print(f"{total:.4f}", len(hits), jax.config.jax_compilation_cache_dir)

app()
"""


def test_two_commands_at_once_share_a_folder(tmp_path):
    script, folder = tmp_path / "at_once.py", tmp_path / "cache"
    script.write_text(AT_ONCE)
    environment = os.environ | {SWITCH: str(folder), "JAX_PLATFORMS": "cpu"}

    def start(me, other):
        words = [sys.executable, str(script), me, other]
        pipe = subprocess.PIPE
        return subprocess.Popen(words, env=environment, text=True, stdout=pipe, stderr=pipe)

    ended = [one.communicate() for one in [start("a", "b"), start("b", "a")]]
    ended.append(start("c", "c").communicate())
    assert [errors for _, errors in ended] == [""] * 3
    totals, hits, folders = zip(*(said.split() for said, _ in ended))
    assert len(set(totals)) == 1 and set(folders) == {str(folder)}
    # The third finds everything whole, whatever the two did to one another.
    assert int(hits[2]) == len(list(folder.glob("*-cache"))) >= 30
