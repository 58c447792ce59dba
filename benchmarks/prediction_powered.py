"""Prediction-powered inference: coverage in simulations, what real twins are worth, and speed.

`--part coverage`: simulated populations with good, useless and adversarial twins, n from 20 to 500.
`--part study`: the people of MovieLens or Twin-2K-500 who answered a question are a finite
population; k of them, drawn at random, are asked, and its mean is known.
`--part speed`: 10,000 questions in one call.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.report import RESULTS, write_report
from syndigits_jax.evaluation import other_answers, person_mean
from syndigits_jax.inference import (
    Estimate,
    cross_fit,
    person_folds,
    ppi_difference,
    ppi_linear,
    ppi_logistic,
    ppi_mean,
    ppi_means,
    ppi_quantile,
    ppi_share,
)

SIZES = (20, 50, 100, 200, 500)
LEVELS = (0.9, 0.95)
PEOPLE = 1000
TWINS = ("good", "useless", "adversarial")
PERSON_MEAN, REGRESSION, OTHERS = (
    "no twin: mean of others", "no twin: regression", "no twin: both"
)  # fmt: skip
CONSTRUCTIONS = ("movielens", "Text Persona - GPT4.1-mini")

# --- coverage -----------------------------------------------------------------------------------


def simulated(key: Any, repeats: int, kind: str, what: str) -> tuple[Any, Any, Any, float]:
    """Answers, twins and a regressor (repeats, PEOPLE), and the truth.

    Twins are correlated with the latent answer at 0.8, 0, or -0.8 with a level of 5 too much.
    """
    keys = jax.random.split(key, 3)
    latent, noise, x = (jax.random.normal(k, (repeats, PEOPLE)) for k in keys)
    twin = {
        "good": 0.8 * latent + 0.6 * noise,
        "useless": noise,
        "adversarial": 5 - 0.8 * latent + 0.6 * noise,
    }[kind]
    if what in ("mean", "difference", "median"):
        return latent, twin, x, 0.0
    if what == "skewed mean":
        return jnp.exp(latent), twin, x, float(np.exp(0.5))
    if what == "heavy-tailed mean":  # t with 5 degrees of freedom
        normal = jax.random.normal(jax.random.fold_in(key, 3), (5, repeats, PEOPLE))
        return latent / jnp.sqrt(jnp.mean(normal**2, axis=0)), twin, x, 0.0
    if what == "mean of a scale":
        cuts = jnp.asarray([-1.5, -0.5, 0.5, 1.5])
        # Four cuts that lie symmetrically: the mean is in the middle.
        return (latent[..., None] > cuts).sum(-1).astype(latent.dtype), twin, x, 2.0
    if what in ("share 0.3", "share 0.05"):
        share = float(what.split()[1])
        cut = jax.scipy.stats.norm.ppf(1 - share)
        return (latent > cut).astype(latent.dtype), twin, x, share
    if what == "linear slope":
        return 0.5 * x + latent, 0.5 * x + twin, x, 0.5
    if what == "logistic slope":
        uniform = jax.scipy.stats.norm.cdf(latent)
        answer = (uniform < jax.nn.sigmoid(x)).astype(latent.dtype)
        return answer, jax.nn.sigmoid(x - 2 * twin), x, 1.0
    raise ValueError(what)


def estimator(what: str, level: Any, skewness_corrected: bool = True) -> Callable[..., Estimate]:
    """From answers, twins and a regressor of one population to an estimate."""
    options = {"level": level, "skewness_corrected": skewness_corrected}
    if what.startswith("share"):
        return lambda truth, twin, _: ppi_share(truth, twin, level=level)
    if what == "median":
        return lambda truth, twin, _: ppi_quantile(truth, twin, 0.5, level=level)
    if what == "difference":
        group = np.arange(PEOPLE) % 2
        return lambda truth, twin, _: ppi_difference(truth, twin, group, **options)
    if what.endswith("slope"):
        fit = ppi_linear if what == "linear slope" else ppi_logistic

        def slope(truth: Any, twin: Any, x: Any) -> Estimate:
            found = fit(jnp.stack([jnp.ones_like(x), x], axis=1), truth, twin, level=level).value
            return jax.tree.map(lambda leaf: leaf[..., -1], found)

        return slope
    return lambda truth, twin, _: ppi_mean(truth, twin, **options)


def has_t_interval(what: str) -> bool:
    """Whether the interval is one that is corrected for skewness, so that there is another."""
    return "mean" in what or what == "difference"


def coverage_run(what: str, kind: str, batch: int) -> Callable[..., Any]:
    """Estimates of many populations; one program for all numbers of people and levels."""

    @jax.jit
    def run(key: Any, n: Any, level: Any) -> Any:
        answer, twin, x, _ = simulated(key, batch, kind, what)
        truth = jnp.where(jnp.arange(PEOPLE) < n, answer, jnp.nan)
        found = [jax.vmap(estimator(what, level))(truth, twin, x)]
        if has_t_interval(what):
            found.append(jax.vmap(estimator(what, level, False))(truth, twin, x))
        return [one for both in found for one in (both, both.classical)]

    return run


def coverage_row(
    what: str, kind: str, n: int, level: float, repeats: int, batch: int, run: Callable[..., Any]
) -> dict[str, Any]:
    _, _, _, target = simulated(jax.random.key(0), 1, kind, what)
    batches = [
        [np.stack([one.value, one.lower, one.upper], axis=1) for one in run(key, n, level)]
        for key in jax.random.split(jax.random.key(1), repeats // batch)
    ]
    found = [np.concatenate(parts) for parts in zip(*batches, strict=True)]
    good = np.isfinite(found).all(axis=(0, 2))
    both, alone, *usual = (rows[good] for rows in found)

    def covers(rows: np.ndarray) -> float:
        return float(np.mean((rows[:, 1] <= target) & (target <= rows[:, 2])))

    def width(rows: np.ndarray) -> float:
        return float(np.mean(rows[:, 2] - rows[:, 1]))

    plain = {}
    if usual:
        plain = {
            "coverage_t": covers(usual[0]), "coverage_people_t": covers(usual[1]),
            "width_ratio_to_t": width(both) / width(usual[0]),
            "width_ratio_to_t_people": width(alone) / width(usual[1]),
        }  # fmt: skip
    gain = np.mean((alone[:, 0] - target) ** 2) / np.mean((both[:, 0] - target) ** 2)
    return {
        "what": what, "twins": kind, "n": n, "level": level, "repeats": len(both),
        "undefined": int(repeats - len(both)),
        "coverage": covers(both), "coverage_people": covers(alone),
        "width_ratio": width(both) / width(alone), "effective_ratio": float(gain), **plain,
    }  # fmt: skip


def _usual(row: Mapping[str, Any]) -> str:
    """What the usual t interval covers, and how wide the corrected one is to it."""
    if "coverage_t" not in row:
        return ""
    return (
        f"{row['coverage_t']:.3f} ({row['coverage_people_t']:.3f})  "
        f"{row['width_ratio_to_t']:.3f} ({row['width_ratio_to_t_people']:.3f})"
    )


def coverage(args: argparse.Namespace) -> None:
    start, rows = time.perf_counter(), []
    many, few = args.repeats, max(args.repeats // 10, 1000)
    cases = {
        "mean": many, "mean of a scale": many, "skewed mean": many, "heavy-tailed mean": many,
        "share 0.3": many, "share 0.05": many, "difference": many, "median": few,
        "linear slope": few, "logistic slope": few,
    }  # fmt: skip
    print(
        f"{'':16} {'twins':12} {'n':>4} level  coverage (people)  width ratio  effective ratio  "
        "t interval (people): coverage, width to it"
    )
    chosen = {what: repeats for what, repeats in cases.items() if what in (args.what or cases)}
    for what, repeats in chosen.items():
        batch = 100 if what == "median" else 1000
        for kind in TWINS:
            run = coverage_run(what, kind, batch)
            for n in SIZES:
                for level in LEVELS:
                    row = coverage_row(what, kind, n, level, repeats, batch, run)
                    rows.append(row)
                    print(
                        f"{what:16} {kind:12} {n:4} {level:5.2f}  {row['coverage']:8.3f} "
                        f"({row['coverage_people']:.3f})  {row['width_ratio']:11.3f}  "
                        f"{row['effective_ratio']:15.2f}  {_usual(row)}",
                        flush=True,
                    )
    out = args.out or RESULTS / "prediction_powered_coverage.json"
    if out.exists():  # what other calls found is kept
        before = json.loads(out.read_text())["rows"]
        rows = [row for row in before if row["what"] not in chosen] + rows
    write_report(out, people=PEOPLE, seconds=time.perf_counter() - start, rows=rows)


# --- real people --------------------------------------------------------------------------------


def predictions(name: str, data: Path) -> tuple[Any, dict[str, np.ndarray]]:
    """A panel, and predictions (n, m) of every answer that have not seen the question's answers."""
    from syndigits_jax.datasets import load_movielens, load_twin_2k_500
    from syndigits_jax.estimation import blocks_from_names, hold_out_questions

    if name == "movielens":
        panel, blocks = load_movielens(data), None
    else:
        panel = load_twin_2k_500(data, name)
        blocks = blocks_from_names(panel.questions)
    held = hold_out_questions(panel, blocks=blocks)
    found = {"raw twin": panel.twin}
    for label, key in (
        ("in-context twin", "InContext"), ("auto", "Auto"), ("z-scored mean", "ZScoredUserMean")
    ):  # fmt: skip
        if key in held.predictions:
            full = np.full(panel.human.shape, np.nan)
            full[:, held.targets] = held.predictions[key].T
            found[label] = full
    return panel, found


def study_panel(name: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    panel, known = predictions(name, args.data)
    human = panel.human
    sd = np.nanstd(human, axis=0)
    sets: dict[str, tuple[str, ...]] = {label: (label,) for label in known}
    sets["raw twin and auto"] = ("raw twin", "auto")
    sums: dict[tuple[str, int], list[np.ndarray]] = {}

    @jax.jit
    def run(truth: Any, proxy: Any, weight: Any) -> Estimate:
        def one(y: Any, x: Any) -> Estimate:
            return ppi_mean(y, x, sample_weight=weight, finite=True, level=args.level)

        return jax.vmap(one)(truth, proxy)

    rng = np.random.default_rng(args.seed)
    columns = [j for j in range(panel.m) if (~np.isnan(human[:, j])).sum() >= 2 * max(args.ks)]
    columns = [j for j in columns if sd[j] > 0 and np.isfinite(known["auto"][:, j]).any()]
    if args.questions is not None:  # evenly spaced
        places = np.linspace(0, len(columns) - 1, min(args.questions, len(columns)))
        columns = [columns[i] for i in places.round().astype(int)]
    for done, j in enumerate(columns):
        who = np.flatnonzero(~np.isnan(human[:, j]))
        answers, size = human[who, j], len(who)
        others = np.delete(human[who], j, axis=1)
        learn = other_answers(others)
        for k in args.ks:
            order = np.argsort(rng.random((args.draws, size)), axis=1)[:, :k]
            truth = np.full((args.draws, size), np.nan)
            np.put_along_axis(truth, order, answers[order], axis=1)
            proxies = {
                label: np.broadcast_to(
                    np.stack([known[one][who, j] for one in parts], axis=-1),
                    (args.draws, size, len(parts)),
                )
                for label, parts in sets.items()
            }
            fits = [
                cross_fit(learn, one, person_folds(jax.random.key(i), one))
                for i, one in enumerate(truth[: args.ridge_draws])
            ]
            mean = np.broadcast_to(person_mean(others), (len(fits), size))
            proxies[PERSON_MEAN] = mean[:1].repeat(args.draws, axis=0)[:, :, None]
            proxies[REGRESSION] = np.stack(fits)[:, :, None]
            proxies[OTHERS] = np.stack([mean, np.stack(fits)], axis=2)
            for label, proxy in proxies.items():
                shape = args.draws, panel.n
                weight = jnp.asarray(np.arange(panel.n) < size, jnp.float32)
                found = run(
                    _same_shape(truth[: len(proxy)], *shape), _same_shape(proxy, *shape), weight
                )
                found = jax.device_get(found)
                claimed = np.asarray(found.effective_people) / k - 1
                for title, one in ((label, found), (f"people alone ({label})", found.classical)):
                    inside = (one.lower <= answers.mean()) & (answers.mean() <= one.upper)
                    error = (one.value - answers.mean()) / sd[j]
                    width = one.half_width / sd[j]
                    told = np.stack([inside, error**2, width, claimed], axis=1)
                    sums.setdefault((title, k), []).append(told[: len(proxy)])
        if done % 20 == 0:
            print(f"{name}: {done + 1} of {len(columns)} questions", flush=True)
    out = []
    for (title, k), rows in sums.items():
        if title.startswith("people alone"):
            continue
        mine, alone = np.concatenate(rows), np.concatenate(sums[f"people alone ({title})", k])
        usable = np.isfinite(mine[:, 2])  # not where all people asked gave the same answer
        mine, alone = mine[usable], alone[usable]
        out.append(
            {"panel": name, "proxies": title, "k": k, "questions": len(columns),
             "draws": args.draws, "ridge_draws": args.ridge_draws,
             "estimates": len(mine), "coverage": mine[:, 0].mean(),
             "coverage_people": alone[:, 0].mean(),
             "width_ratio": mine[:, 2].sum() / alone[:, 2].sum(),
             "worth_realised": alone[:, 1].sum() / mine[:, 1].sum() - 1,
             "worth_claimed": float(np.median(mine[:, 3]))}
        )  # fmt: skip
    return out


def _same_shape(rows: np.ndarray, draws: int, people: int) -> Any:
    """Rows for so many draws and people, so that one program serves all; the rest are nobody."""
    rows = rows[np.resize(np.arange(len(rows)), draws)]
    rest = np.full((draws, people - rows.shape[1], *rows.shape[2:]), np.nan)
    return jnp.asarray(np.concatenate([rows, rest], axis=1), jnp.float32)


def study(args: argparse.Namespace) -> None:
    start, rows = time.perf_counter(), []
    for name in args.panels:
        rows += study_panel(name, args)
        print(f"\n{name}, {100 * args.level:.0f}% intervals")
        print(f"{'proxies':24} {'k':>4} coverage (people)  width ratio  n_eff/n - 1: real  claimed")
        for row in rows:
            if row["panel"] == name:
                print(
                    f"{row['proxies']:24} {row['k']:4} {row['coverage']:8.3f} "
                    f"({row['coverage_people']:.3f})  {row['width_ratio']:11.3f}  "
                    f"{row['worth_realised']:16.3f}  {row['worth_claimed']:7.3f}"
                )
    out = args.out or RESULTS / "prediction_powered_study.json"
    done = {(row["panel"], row["k"]) for row in rows}
    if out.exists():  # what other calls found is kept
        before = json.loads(out.read_text())["rows"]
        rows = [row for row in before if (row["panel"], row["k"]) not in done] + rows
    write_report(
        out, level=args.level, seed=args.seed, seconds=time.perf_counter() - start, rows=rows
    )


# --- speed --------------------------------------------------------------------------------------


def speed(args: argparse.Namespace) -> None:
    questions, people = 10_000, 1000
    rng = np.random.default_rng(0)
    answers = rng.normal(size=(people, questions)).astype(np.float32)
    twins = answers + rng.normal(size=answers.shape).astype(np.float32)
    truth = np.where((np.arange(people) < 100)[:, None], answers, np.float32(np.nan))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        jax.block_until_ready(ppi_means(truth, twins))
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{questions} questions x {people} people: {seconds[0]:.1f} s with compilation, then "
          f"{min(seconds[1:]):.1f} s; peak memory {peak:.0f} MB")  # fmt: skip
    out = args.out or RESULTS / "prediction_powered_speed.json"
    write_report(out, questions=questions, people=people, seconds=seconds, peak_megabytes=peak)


PARTS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "coverage": coverage,
    "study": study,
    "speed": speed,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    found = os.environ.get("SYNDIGITS_DATA")
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--data", type=Path, default=found, help="for the study")
    parser.add_argument("--what", nargs="+", help="of the simulation, such as mean; all by default")
    parser.add_argument("--repeats", type=int, default=20_000, help="of the simulation")
    parser.add_argument("--panels", nargs="+", default=list(CONSTRUCTIONS), choices=CONSTRUCTIONS)
    parser.add_argument("--ks", type=int, nargs="+", default=[20, 50, 100], help="people asked")
    parser.add_argument("--questions", type=int, help="so many, evenly spaced; all by default")
    parser.add_argument("--draws", type=int, default=100, help="of people, per question")
    parser.add_argument("--ridge-draws", type=int, default=20, help="of these for other answers")
    parser.add_argument("--level", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with threadpool_limits(1):  # small factorisations: BLAS's own threads only wait
        PARTS[args.part](args)


if __name__ == "__main__":
    main()
