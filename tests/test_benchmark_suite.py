"""The suite of benchmarks: its judges, its counts, its comparisons and its page; no times."""

import contextlib
import dataclasses
import json

import numpy as np
import pytest

from benchmarks.pages import accuracy
from benchmarks.pages import suite as page
from benchmarks.suite import child, run
from benchmarks.suite.case import Side, Work
from benchmarks.suite.cases import completion, distances, hard_impute, ridge, simplex
from benchmarks.suite.growth import exponent
from benchmarks.suite.registry import CASES


def measured(seconds: float, error: float) -> dict:
    return {"seconds": seconds, "judged": {"error": error}}


def small(name):
    case = CASES[name]
    problem = dict(case.problem(**case.sizes["small"]))
    return case, problem | case.reference(problem)


def test_operations_and_bytes_are_those_of_the_textbook():
    n, p, k = 60, 20, 5
    _, problem = small("ridge-path")
    gram, factors = p * (p + 1) * n, k * (p**3 / 3 + 2 * p**2)
    assert ridge.work(problem, {}) == Work(gram + factors + 2 * n * p, 4 * (n * p + n + k * p))
    _, problem = small("prdc")
    pairs = 300 * 299 + 300 * 300
    assert distances.work_pairs(problem, {}) == Work(2 * pairs * 8, 4 * 600 * 8)
    _, problem = small("completion")
    once, twice = (completion.work(problem, {"steps": steps}) for steps in (1, 2))
    assert twice == Work(2 * once.operations, 2 * once.bytes)


def test_floor_is_the_slower_of_arithmetic_and_memory():
    assert Work(100.0, 10.0).seconds(50.0, 10.0) == 2.0
    assert Work(100.0, 10.0).seconds(1e9, 2.0) == 5.0


def test_judge_of_ridge_knows_the_solution():
    _, problem = small("ridge")
    x, y = (problem[k].astype(float) for k in ("x", "y"))
    x, y = x - x.mean(axis=0), y - y.mean()
    coef = np.linalg.solve(x.T @ x + problem["penalty"][0] * np.eye(20), x.T @ y)
    assert ridge.judge(problem, {"coef": coef[None]})["error"] < 1e-12
    assert ridge.judge(problem, {"coef": 1.01 * coef[None]})["error"] > 1e-3


def test_judge_of_leave_one_out_knows_the_residuals():
    _, problem = small("ridge-loo")
    x, y = (problem[k].astype(float) for k in ("x", "y"))
    residuals = np.empty((len(problem["penalty"]), len(y)))
    for row, penalty in zip(residuals, problem["penalty"], strict=True):
        for i in range(len(y)):
            rest = np.arange(len(y)) != i
            mean, target = x[rest].mean(axis=0), y[rest].mean()
            xc, yc = x[rest] - mean, y[rest] - target
            coef = np.linalg.solve(xc.T @ xc + penalty * np.eye(20), xc.T @ yc)
            row[i] = abs(y[i] - target - (x[i] - mean) @ coef)
    assert ridge.judge_loo(problem, {"residuals": residuals})["error"] < 1e-10
    residuals[1, 7] += 0.1
    assert ridge.judge_loo(problem, {"residuals": residuals})["error"] > 0.01


def test_judge_of_the_simplex_bounds_the_distance_to_the_optimum():
    optimize = pytest.importorskip("scipy.optimize")
    _, problem = small("simplex")
    x, y, penalty = problem["x"].astype(float), problem["y"].astype(float), problem["penalty"]
    found = optimize.minimize(
        lambda w: np.sum((x @ w - y) ** 2) + penalty * w @ w,
        np.full(12, 1 / 12),
        bounds=[(0, 1)] * 12,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        tol=1e-12,
    )
    best = simplex.judge(problem, {"w": found.x})
    other = simplex.judge(problem, {"w": np.full(12, 1 / 12)})
    assert best["error"] < 1e-4
    assert other["objective"] - best["objective"] <= other["error"]
    assert other["error"] > 1e-2


def test_judge_of_hard_impute_is_the_objective_above_its_least():
    """Its programs take the same steps, so they have the same error, which falls."""
    _, problem = small("hard-impute")
    few = hard_impute._by_svd(problem)(3)
    same = hard_impute._by_eigenvectors(problem)(3)
    many = hard_impute._by_svd(problem)(300)
    loose, other, tight = (
        hard_impute.judge(problem, {"fitted": fit})["error"] for fit in (few, same, many)
    )
    assert abs(loose - other) < 1e-5
    assert tight < 1e-5 < 1e-3 < loose
    worse = hard_impute.judge(problem, {"fitted": 1.01 * many})["error"]
    assert worse > tight


def test_judge_of_completion_is_a_gap():
    _, problem = small("completion")
    solve = completion._numpy(problem)
    loose, tight = (completion.judge(problem, solve(s)) for s in (2, 200))
    assert tight["error"] < 1e-5 < loose["error"]
    assert loose["objective"] - tight["objective"] <= loose["error"]


def test_judge_of_completion_is_the_formula():
    _, problem = small("completion")
    answer = completion._numpy(problem)(3)
    fitted = answer["left"].astype(float) @ answer["right"].T
    x = np.where(problem["mask"], problem["x"], 0).astype(float)
    residual, penalty = np.where(problem["mask"], x - fitted, 0), problem["penalty"]
    dual = min(1, penalty / np.linalg.norm(residual, 2)) * residual
    primal = 0.5 * np.sum(residual**2) + penalty * np.linalg.norm(fitted, "nuc")
    gap = primal - np.sum(dual * x) + 0.5 * np.sum(dual**2)
    found = completion.judge(problem, answer)
    assert found["error"] == pytest.approx(gap / (0.5 * np.sum(x**2)), rel=1e-9)
    assert found["objective"] == pytest.approx(primal / (0.5 * np.sum(x**2)), rel=1e-9)


@pytest.mark.parametrize("side", ["ours, soft impute", "ours, alternating"])
def test_what_the_judge_of_completion_is_handed_is_our_fit(side):
    case, problem = small("completion")
    result = case.sides[side].prepare(problem)(10)
    answer = case.sides[side].answer(problem, result)
    fitted = np.asarray(result.value.fitted)
    np.testing.assert_allclose(answer["left"] @ answer["right"].T, fitted, atol=1e-5)


def test_a_size_may_have_other_efforts_or_leave_a_side_out(monkeypatch):
    sides = {
        "ours": Side(lambda problem: lambda _: None, efforts=(1, 2), efforts_at={"large": (3,)}),
        "slow": Side(lambda problem: lambda _: None, left_out={"large": "takes hours"}),
    }
    case = dataclasses.replace(CASES["frechet"], sides=sides, reference=lambda problem: {})
    case = dataclasses.replace(case, sizes=dict.fromkeys(("small", "large"), case.sizes["small"]))
    asked = []

    def in_child(case, name, side, shape, efforts, *options):
        asked.append((name, efforts))
        return {"runs": []}, []

    monkeypatch.setattr(run, "in_child", in_child)
    assert run.run_case(case, "large", {})["sides"]["slow"] == {"left_out": "takes hours"}
    assert asked == [("ours", (3,))]
    run.run_case(case, "small", {})
    assert asked[1:] == [("ours", (1, 2)), ("slow", (None,))]


def test_threads_of_long_calls_are_those_that_were_faster(monkeypatch):
    seconds = {(1, 2): 1.0, (1, 1): 1.5, (2, 2): 3.0, (2, 1): 2.5, (3, 1): 5.0}
    threads: list[int] = []

    @contextlib.contextmanager
    def limits(count):
        threads.append(count)
        yield

    def measured(solve, **repeats):
        took = seconds[solve(), threads[-1]]
        return dict.fromkeys(("seconds", "least_seconds", "processor_seconds"), took), None

    monkeypatch.setattr(child, "threadpool_limits", limits)
    monkeypatch.setattr(child, "measured", measured)
    monkeypatch.setattr(child, "threads_of", lambda own, quick: (2, 1))
    case = CASES["frechet"]
    side = Side(lambda problem: lambda effort: effort)
    figures, answers, _ = child.run_side(case, side, dict(case.sizes["small"]), False, (1, 2, 3))
    tried = [(one["effort"], one["threads"]) for one in figures]
    assert tried == [(1, 2), (1, 1), (2, 2), (2, 1), (3, 1)]
    assert len(answers) == len(figures)


def test_judge_of_distances_is_the_definition():
    _, problem = small("prdc")
    x, y = (problem[k].astype(float) for k in ("x", "y"))

    def apart(a, b):
        return np.linalg.norm(a[:, None] - b[None], axis=2)

    radius = np.sort(apart(x, x), axis=1)[:, 5]
    inside = apart(x, y) < radius[:, None]
    assert problem["exact"]["precision"] == inside.any(axis=0).mean()
    assert problem["exact"]["coverage"] == inside.any(axis=1).mean()
    assert problem["exact"]["density"] == pytest.approx(inside.sum(axis=0).mean() / 5)
    wrong = {**problem["exact"], "recall": problem["exact"]["recall"] - 0.01}
    assert distances.judge(problem, wrong)["error"] == pytest.approx(0.01)


def test_fastest_run_within_the_target_counts():
    runs = [measured(1.0, 1e-2), measured(3.0, 1e-6), measured(2.0, 1e-4)]
    assert run.best(runs, 1e-4) is runs[2]
    assert run.best(runs, 1e-8) is None
    chosen = {"ours": runs[1], "ours, float64": runs[2], "slow": runs[1], "never": None}
    assert run.ratios({"chosen": chosen}) == {"slow": 1.5}
    assert run.ratios({"chosen": {"ours": None, "slow": runs[1]}}) == {}


def test_exponent_of_a_power():
    rows = [{"value": v, "processor_seconds": 3 * v**1.5} for v in (10, 20, 40)]
    assert exponent(rows) == pytest.approx(1.5)


def test_page_says_who_is_faster():
    fast = {"seconds": 0.006, "least_seconds": 0.005, "spread": 0.1, "compilation_seconds": 1.0}
    fast |= {"operations": 1e6, "bytes": 1e3, "processor_seconds": 0.01, "share_timed": 1.0}
    slow = {"seconds": 0.0036, "processor_seconds": 0.02, "share_timed": 0.05}
    case = {
        "what": "w", "size": {"n": 5}, "target": 1e-4, "why": "because",
        "sides": {
            "ours": {"peak_gib": 1.0, "runs": [fast | {"compilation_seconds": 2.5}, fast]},
            "a": {},
            "b": {"runs": [{"seconds": 2.0, "judged": {"error": 2e-3}}]},
            "c": {"left_out": "c missing"},
        },
        "chosen": {"ours": fast, "a": slow, "b": None}, "load_before": 1.0, "load_after": 9.0,
    }  # fmt: skip
    [said, *_, line] = page.peers({"k": case})
    assert "(timed: `k` 5%)" in said and "| 2.5 s |" in line
    assert "a 0.60 (2.0), **a is faster**; " in line
    assert "; b does not get there (2.0e-03 after 2 s); c: c missing" in line
    assert "6 ms ± 10%" in line and "| 5 rows |" in line
    rates = {"bytes_per_second": 1e9, "operations_per_second": 1e9}
    [*_, line] = page.floors({"k": case}, {"rates": rates})
    assert line.endswith("| 1 ms | 20% | because |")


def test_picture_leaves_out_what_a_faster_run_beats():
    runs = [measured(3.0, 1e-6), measured(1.0, 1e-2), measured(2.0, 1e-2), measured(4.0, 0.0)]
    assert accuracy.frontier(runs) == [(1.0, 1e-2), (3.0, 1e-6), (4.0, accuracy.LEAST)]
    assert accuracy.frontier([]) == []


def test_picture_has_a_panel_per_iterative_kernel(tmp_path):
    side = {"runs": [measured(seconds, 1 / seconds) for seconds in (1.0, 2.0, 3.0)]}
    case = {"name": "iterates", "size": {"n": 5}, "target": 0.1, "sides": {"ours": side}}
    once = {**case, "name": "once", "sides": {"ours": {"runs": side["runs"][:1]}, "missing": {}}}
    path = tmp_path / "accuracy.svg"
    assert accuracy.plot_accuracy({"iterates": case, "once": once, "script": {}}, path) == 1
    assert path.read_text(encoding="utf-8").startswith("<?xml")
    assert accuracy.plot_accuracy({"once": once}, tmp_path / "none.svg") == 0
    assert not (tmp_path / "none.svg").exists()


@pytest.mark.slow
def test_command_measures_judges_and_writes(tmp_path, monkeypatch):
    from benchmarks.suite import command

    case = dataclasses.replace(
        CASES["ridge"],
        sides={
            "ours": CASES["ridge"].sides["ours"],
            "missing": Side(lambda problem: lambda _: None, needs=("no_such_module",)),
        },
    )
    monkeypatch.setitem(command.CASES, "ridge", case)
    out = tmp_path / "suite.json"
    command.main(["ridge", "--size", "small", "--out", str(out)])
    report = json.loads(out.read_text())
    assert {"machine", "versions", "commit", "date", "rates"} <= set(report)
    found = report["cases"]["ridge"]
    assert found["sides"]["missing"] == {"left_out": "no_such_module not installed"}
    [fit] = found["sides"]["ours"]["runs"]
    # One program, compiled once; moving the arguments to the device compiles nothing of size.
    assert 1 <= fit["programs_first"] <= 3
    assert fit["programs_again"] == 0
    assert fit["operations"] == 20 * 21 * 60 + 20**3 / 3 + 2 * 20**2 + 2 * 60 * 20
    assert fit["bytes"] == 4 * (60 * 20 + 60 + 20)
    assert fit["judged"]["error"] < 1e-5
    assert found["chosen"]["ours"] == fit
    # A later run of another case keeps this one.
    monkeypatch.setitem(command.CASES, "frechet", dataclasses.replace(CASES["frechet"], sides={}))
    command.main(["frechet", "--size", "small", "--out", str(out)])
    assert list(json.loads(out.read_text())["cases"]) == ["ridge", "frechet"]
