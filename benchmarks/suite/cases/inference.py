"""Prediction-powered means of many questions at once."""

import jax.numpy as jnp
import numpy as np

from benchmarks.suite.case import Answer, Case, Problem, Side, Work
from benchmarks.suite.processes import one_per_core
from syndigits_jax.inference import ppi_means


def problem(questions: int, people: int, asked: int, timed: int) -> Problem:
    """The first `asked` people answer, twins of all do; the peer is timed on `timed` questions."""
    rng = np.random.default_rng(0)
    answers = rng.normal(size=(people, questions)).astype(np.float32)
    twins = answers + rng.normal(size=answers.shape).astype(np.float32)
    truth = np.where((np.arange(people) < asked)[:, None], answers, np.float32(np.nan))
    return {"truth": truth, "twins": twins, "asked": asked, "timed": timed}


def _ours(problem: Problem):
    truth, twins = jnp.asarray(problem["truth"]), jnp.asarray(problem["twins"])
    return lambda _: ppi_means(truth, twins)


def _mean_and_interval(columns: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[float, ...]:
    """By ppi-python: the answers of those asked, and the twins of them and of the others."""
    from ppi_py import ppi_mean_ci, ppi_mean_pointestimate

    return float(ppi_mean_pointestimate(*columns)[0]), *map(float, np.ravel(ppi_mean_ci(*columns)))


def _columns(problem: Problem) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    asked, timed = problem["asked"], problem["timed"]
    return [
        (y[:asked].astype(float), t[:asked].astype(float), t[asked:].astype(float))
        for y, t in zip(problem["truth"].T[:timed], problem["twins"].T[:timed], strict=True)
    ]


def _ppi_python(problem: Problem):
    columns = _columns(problem)
    return lambda _: np.asarray([_mean_and_interval(one) for one in columns])


def _ppi_python_on_all_cores(problem: Problem):
    """One process per core."""
    from joblib import delayed

    columns = _columns(problem)
    pool = one_per_core(len(columns))
    return lambda _: np.asarray(pool(delayed(_mean_and_interval)(one) for one in columns))


def judge(problem: Problem, answer: Answer) -> dict[str, float]:
    """Estimates beside those with the variance-optimal coefficient, by definition.

    Root mean square, over the error of the mean of those asked: definitions of the coefficient
    differ between programs, so that no estimate is the only right one.
    """
    estimate = answer["estimate"]
    columns = slice(len(estimate))
    truth = problem["truth"][:, columns].astype(np.float64)
    twins = problem["twins"][:, columns].astype(np.float64)
    asked = problem["asked"]
    y, t, rest = truth[:asked], twins[:asked], twins[asked:]
    share = asked / len(rest)
    covariance = np.mean((y - y.mean(0)) * (t - t.mean(0)), axis=0)
    tuned = np.clip(covariance / ((1 + share) * np.var(twins, axis=0)), 0, 1)
    exact = y.mean(0) - tuned * (t.mean(0) - rest.mean(0))
    apart = np.sqrt(np.mean((estimate - exact) ** 2))
    return {"error": apart / np.sqrt(np.mean((y.mean(0)) ** 2))}


def work(problem: Problem, answer: Answer) -> Work:
    """Each answer is read twice, for means and for second moments."""
    size = problem["twins"].size
    return Work(10.0 * size, 16.0 * size)


CASES = (
    Case(
        "ppi",
        "prediction-powered means with intervals",
        {
            "small": {"questions": 30, "people": 60, "asked": 30, "timed": 30},
            "paper": {"questions": 10_000, "people": 1000, "asked": 100, "timed": 3000},
            "large": {"questions": 50_000, "people": 1000, "asked": 100, "timed": 3000},
        },
        problem,
        {
            "ours": Side(_ours, lambda p, r: {"estimate": np.asarray(r.value)}),
        }
        | {
            name: Side(
                prepare,
                lambda p, r: {"estimate": r[:, 0]},
                needs=("ppi_py", "joblib"),
                dtype="float64",
                share=lambda p: p["timed"] / p["twins"].shape[1],
                processes=prepare is _ppi_python_on_all_cores,
            )
            for name, prepare in (
                ("ppi-python", _ppi_python),
                ("ppi-python by joblib", _ppi_python_on_all_cores),
            )
        },
        judge,
        work,
        target=0.3,
        why="intervals are corrected for skewness and small samples, with many passes over the "
        "answers",
    ),
)
