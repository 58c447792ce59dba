"""How results print themselves, in a terminal and in a notebook."""

import dataclasses
import html.parser

import jax
import jax.numpy as jnp
import numpy as np
from fake_reports import fake_report

from syndigits_jax import Panel
from syndigits_jax.estimation import Estimates
from syndigits_jax.evaluation import HoldOut
from syndigits_jax.inference import Interval
from syndigits_jax.solvers import ridge
from syndigits_jax.solvers.solution import Solution


def cells(text: str) -> list[str]:
    """The cells of a table, unescaped; fails on an element that is not closed."""
    found, open_ = [], []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            open_.append(tag)

        def handle_endtag(self, tag):
            assert open_.pop() == tag

        def handle_data(self, data):
            found.append(data)

    Reader().feed(text)
    assert not open_
    return found


def test_panel():
    panel = Panel.from_arrays([[1.0, np.nan], [2.0, np.nan]], [[1.0, 2.0], [3.0, 1.0]], name="<b>")
    found = cells(panel._repr_html_())
    assert found[0] == "<b>"
    shown = dict(zip(found[1::2], found[2::2], strict=True))
    assert shown["users"] == "2" and shown["questions that nobody has answered"] == "1"
    assert shown["human answers missing"] == "50%"


def test_hold_out():
    panel = Panel.from_arrays(np.eye(4)[:, :2] + 1, np.eye(4)[:, :2] + 2)
    truth = panel.human.T
    held = HoldOut("question", panel, np.arange(2), truth, {"Baseline": truth, "None": 0 * truth})
    lines = str(held).splitlines()
    assert lines[0].startswith("2 questions held out") and max(map(len, lines)) <= 80
    assert lines[2].split()[:2] == ["Baseline", "1.000"] and lines[3].split()[-1] == "1.750"
    assert repr(held) == "HoldOut(2 questions of '' held out: Baseline, None)"
    found = cells(held._repr_html_())
    assert "Baseline" in found and "1.750" in found


def test_solution():
    x, y = jnp.eye(3)[:, :2], jnp.arange(3.0)
    assert str(ridge(x, y, 1.0)).startswith("Solution(converged; 0 steps; optimality ")
    both = jax.vmap(lambda penalty: ridge(x, y, penalty))(jnp.array([1.0, jnp.nan]))
    assert "1 converged, 1 nonfinite" in str(both)
    found = cells(both._repr_html_())
    assert len(found) == 1 and "coef" in found[0]
    assert "1 converged, 1 nonfinite" in found[0]
    assert max(map(len, found[0].splitlines())) <= 80
    empty = Solution(jnp.zeros(0), jnp.zeros(0, jnp.int32), jnp.zeros(0, jnp.int32), jnp.zeros(0))
    assert str(empty).startswith("Solution(")

    def traced(penalty):
        assert str(ridge(x, y, penalty)) == repr(ridge(x, y, penalty))
        return penalty

    jax.jit(traced)(1.0)


def test_estimates():
    names = tuple(f"a question with a long name, number {j}" for j in range(25))
    ends = Interval(np.append(np.arange(24.0), -np.inf), np.append(np.arange(24.0) + 2, np.inf))
    rest = {"low": np.zeros(25), "high": np.ones(25) * 30, "step": np.ones(25)}
    codes = np.zeros(25, int)
    found = Estimates(
        "question", ("ann", "bob"), names, np.zeros((2, 25)), np.arange(25.0) + 1, np.ones(25),
        ends, 0.9, **rest, setting=("known battery",) * 24 + ("new survey",), weights={}, learnt={},
        known_answers=codes, status=codes, imputation_status=codes,
    )  # fmt: skip
    assert repr(found) == "Estimates(2 users x 25 questions; questions, known battery, new survey)"
    lines = str(found).splitlines()
    assert lines[0] == "Estimates of 25 new questions, the first 20"
    assert len(lines) == 22 and max(map(len, lines)) <= 80
    assert lines[2].split()[-5:] == ["1.00", "0.00", "to", "2.00", "1.00"]
    table = cells(found._repr_html_())
    assert table[0] == lines[0] and names[19] in table and names[20] not in table
    last = dataclasses.replace(found, questions=names[-1:], mean_interval=Interval(
        np.array([-np.inf]), np.array([np.inf])))  # fmt: skip
    assert "too few known" in str(last)
    people = dataclasses.replace(found, direction="user", users=names)
    assert str(people).splitlines()[1].split() == ["setting", "answers"]


def test_reports():
    report = fake_report()
    assert max(len(line) for line in str(report).splitlines()) <= 80
    assert "<iframe" in report._repr_html_() or "<html" in report._repr_html_()
