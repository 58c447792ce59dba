"""How long the rest takes: by what was done since the first report, not by what was read back."""

import pytest

from syndigits_jax.cli.render import console
from syndigits_jax.results.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_what_was_done_before_is_not_counted(clock):
    left = console._Left()
    assert left(Progress(0, 2, "encoder", 80, 100)) == ""  # of a run before this one
    clock[0] += 10
    assert left(Progress(0, 2, "encoder", 85, 100)) == "30 s left"
    assert left(Progress(1, 2, "panels", 0, 10)) == ""
    clock[0] += 60
    assert left(Progress(1, 2, "panels", 2, 10)) == "4 min 0 s left"
    assert left(Progress(1, 2, "panels", 10, 10)) == ""


def test_lines_say_it(clock, capsys):
    show = console._lines(console.Console(stderr=True, width=120))
    for done in (40, 45, 50, 100):
        show(Progress(0, 1, "encoder", done, 100, counted="steps"))
        clock[0] += 20
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "[1/1] encoder: 100 steps ..."
    assert lines[1] == "[1/1] encoder: 45 of 100 steps, 20 s, 3 min 40 s left"
    assert lines[2] == "[1/1] encoder: 50 of 100 steps, 40 s, 3 min 20 s left"
    assert lines[3] == "[1/1] encoder: done in 60.0 s" and len(lines) == 4
