"""What a person at a terminal sees: bars, spinners, and names shown as they are."""

import io
import re

import pandas as pd
import pytest
from rich.console import Console

from syndigits_jax.cli.command import Showing
from syndigits_jax.cli.render import asking, console, target
from syndigits_jax.inference import ppi_mean
from syndigits_jax.respond.asking.collect import CollectionProgress
from syndigits_jax.results.progress import Progress
from syndigits_jax.workflows.target import CALIBRATED, OTHERS, RAW, TargetEstimate


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 100 columns in place of the error stream."""
    monkeypatch.setenv("TERM", "xterm")
    text = io.StringIO()
    found = console.progress_output()
    found.file, found._force_terminal, found.quiet = text, True, False
    found._width, found.is_interactive = 100, True
    for module in (console, asking):
        monkeypatch.setattr(module, "progress_output", lambda: found)
    return text


def shown(text):
    """The last state of every line, without colours and movements."""
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.getvalue())
    return [line.rstrip() for line in re.split(r"[\r\n]+", plain) if line.strip()]


def test_every_unit_has_a_bar(terminal):
    with console.showing_progress() as show:
        show(Progress(0, 2, "films", 0, 4))
        show(Progress(0, 2, "films", 4, 4))
        show(Progress(1, 2, "[red]twins[/x]", 3, 5, resumed=True))
    lines = shown(terminal)
    assert lines[-2].startswith("[1/2] films") and "4/4" in lines[-2]
    assert lines[-1].startswith("[2/2] [red]twins[/x] (resumed)") and "3/5" in lines[-1]


def test_a_step_has_a_spinner(terminal):
    with console.showing_step("reading [/file] ..."):
        pass
    assert "reading [/file] ..." in shown(terminal)[-1]


def test_responses_have_a_bar_with_what_is_known_of_them(terminal):
    with asking.showing_collection() as show:
        show(CollectionProgress(0, 10, 5, 0, 0, 0, 0, 0.0))
        assert "waiting" in asking.said(CollectionProgress(0, 10, 5, 0, 0, 0, 0, 0.0))
        show(CollectionProgress(4, 10, 5, 1, 800, 200, 400, 2.0))
    last = shown(terminal)[-1]
    assert last.startswith("responses") and "9/15" in last  # with those that were there already
    assert "2.0/s, 3 s left, 1.0 k tokens (50% cached), 1 failed" in " ".join(last.split())


@pytest.mark.parametrize("terminal_there", [True, False])
def test_brackets_in_names_are_shown_as_they_are(monkeypatch, terminal_there):
    monkeypatch.setattr(Console, "is_terminal", property(lambda self: terminal_there))
    monkeypatch.setattr(console, "showing", lambda: Showing(results=True, progress=True))
    out = console.output(80)
    out.file = io.StringIO()
    out.print("written: out[v2]/a[/b].csv", soft_wrap=True)
    assert "written: out[v2]/a[/b].csv" in shown(out.file)[0]


# --- estimate -------------------------------------------------------------------------------------


def estimated(truth, others, **fields):
    truth = pd.Series(truth, dtype=float).to_numpy()
    found = {name: ppi_mean(truth, proxy) for name, proxy in others.items()}
    return TargetEstimate("Q1[sq1]", "mean", 0.95, found, CALIBRATED, len(truth), **fields)


def printed(result, monkeypatch, **options):
    text = io.StringIO()
    out = Console(width=120, file=text, markup=False)
    monkeypatch.setattr(target, "output", lambda: out)
    target.print_target(result, None, **({"joined": False, "weighted": False} | options))
    return text.getvalue()


def test_an_estimate_says_where_people_alone_do_as_much(monkeypatch):
    truth = [1.0, 2, 3, 4, 5, 2] + [float("nan")] * 14
    good = [1.1, 2.2, 2.9, 4.1, 4.8, 1.9] + [1.0, 2, 3, 4, 5, 1, 2] * 2
    poor = [2.0, 1, 4, 3, 5, 1] + [3.0, 2] * 7
    result = estimated(
        truth, {RAW: poor, CALIBRATED: poor, OTHERS: good}, dropped={"human_users": 3}
    )
    text = printed(result, monkeypatch, joined=True)
    assert "Q1[sq1]: mean" in text and "6 of 20 people were asked" in text
    assert "people's other answers alone, without any twin, do as much" in text
    assert "3" in text.splitlines()[0]  # who was left out
    assert result.estimates[OTHERS].worth > result.estimate.worth
    other_way = printed(estimated(truth, {CALIBRATED: good, OTHERS: poor}), monkeypatch)
    assert "are the twins' own" in other_way


def test_an_estimate_of_answers_all_alike_says_so(monkeypatch):
    truth = [3.0] * 6 + [float("nan")] * 14
    text = printed(estimated(truth, {CALIBRATED: [3.0, 2, 4, 1] * 5}), monkeypatch)
    assert "gave the same answer: how much people differ is unknown; ask more" in text
