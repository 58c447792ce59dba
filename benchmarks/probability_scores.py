"""How good option probabilities are, and what twins know that a control without twins does not.

On MovieLens and constructions of Twin-2K-500: log score, Brier score, ranked probability score (of
options spread from 0 to 1), calibration error and SimBench score of the estimate's probabilities,
of the twins, of the marginal of the others' answers and of controls, with skills; what calibration
of probabilities gains, nested; ceilings of means and shares; and the gate. Every question is
predicted as if nobody had answered it; questions of at most eleven listed options count. Nothing is
tuned on these data: the twins are smoothed by a share of .1, controls spread by the mean spread of
other folds' questions.
"""

import argparse
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.report import RESULTS, write_report
from syndigits_jax.datasets import load_movielens, load_twin_2k_500, read_twin_2k_500_questions
from syndigits_jax.estimation import (
    HeldOutProbabilities,
    blocks_from_names,
    hold_out_learned_control,
    hold_out_probabilities,
)
from syndigits_jax.evaluation import (
    HoldOut,
    brier_score,
    expected_calibration_error,
    from_points,
    log_score,
    marginal_of_others,
    nested_probability_calibration,
    other_answers,
    probability_losses,
    ranked_probability_score,
    reliability,
    simbench_score,
    skill,
    smoothed,
    split_half,
    twin_gain,
)
from syndigits_jax.inference import cross_fit, person_folds
from syndigits_jax.panel import Panel
from syndigits_jax.results.files import replacing

CONSTRUCTIONS = (
    "Text Persona - GPT4.1-mini",
    "Text Persona (Default Temperature) - GPT4.1-mini",
)
KINDS = ("temperature", "vector", "ordinal")
SMOOTHING = 0.1
FLOOR = 1e-3
"""The share of the uniform forecast in every forecast but the one-hot one: none is 0."""
FEWEST_ALIKE = 10
"""Questions with the same number of options that a calibration needs."""

ONE_HOT = "Twins, one-hot"

Forecasts = dict[str, np.ndarray]


def tf_idf(texts: list[str]) -> np.ndarray:
    """(m, vocabulary) TF-IDF vectors of length 1."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(sublinear_tf=True, stop_words="english").fit_transform(texts).toarray()


def movielens(data: Path) -> tuple[Panel, None, np.ndarray]:
    """The panel, no blocks, and vectors of the films' titles and genres."""
    import pandas

    panel = load_movielens(data)
    found = (data / "movielens" / "ml-latest-small" / "movies.csv").resolve()
    films = pandas.read_csv(found, dtype=str).set_index("movieId")
    texts = []
    for name in panel.questions:
        known = name in films.index
        texts.append(" ".join(films.loc[name, ["title", "genres"]]) if known else name)
    return panel, None, tf_idf([text.replace("|", " ") for text in texts])


def twin_2k_500(data: Path, construction: str) -> tuple[Panel, tuple[str, ...], np.ndarray]:
    """The panel, its blocks, and vectors of the questions' texts and options."""
    panel = load_twin_2k_500(data, construction)
    questions = read_twin_2k_500_questions(data / "twin-2k-500" / "questions.json")
    texts = []
    for name in panel.questions:
        question = questions[name]
        texts.append(" ".join([question.text, *(o.label for o in question.options)]))
    return panel, blocks_from_names(panel.questions), tf_idf(texts)


def asked_control(panel: Panel) -> HoldOut:
    """Every question from people's other answers, learnt from the answers to it of other people."""
    known = np.flatnonzero(panel.human_mask.any(axis=0))
    rows = []
    for j in known:
        answers = panel.human[:, j]
        learn = other_answers(np.delete(panel.human, j, axis=1))
        found = cross_fit(learn, answers, person_folds(jax.random.key(int(j)), answers))
        rows.append(np.clip(found, panel.low[j], panel.high[j]))
    return HoldOut("question", panel, known, panel.human[:, known].T, {"Asked": np.stack(rows)})


def usual_spread(held: HeldOutProbabilities, human: np.ndarray) -> np.ndarray:
    """(t,) the mean standard deviation of other folds' questions, scaled to a question's range."""
    width = np.array([values[-1] - values[0] for values in held.options])
    relative = np.nanstd(human, axis=1) / width
    return width * [relative[held.fold != fold].mean() for fold in held.fold]


def forecasts_of(
    panel: Panel, at: np.ndarray, held: HeldOutProbabilities, points: Mapping[str, np.ndarray]
) -> Forecasts:
    """Every forecast in the layout of `held`."""
    human = panel.human[:, at].T
    sd = usual_spread(held, human)
    here = np.arange(held.probabilities.shape[2])[None, :] < held.sizes[:, None]

    def twins(answers: np.ndarray) -> np.ndarray:
        return held.distributed(lambda i, values: np.asarray(from_points(answers[at[i]], values)))

    raw = twins(panel.twin.T)
    out = {
        "Auto": held.probabilities,
        ONE_HOT: raw,
        "Twins, smoothed": np.asarray(smoothed(raw, SMOOTHING, options=here[:, None, :])),
    }
    for name, answers in panel.controls.items():
        found = smoothed(twins(answers.T), SMOOTHING, options=here[:, None, :])
        out[f"{name}, smoothed"] = np.asarray(found)
    out |= {name: held.spread(prediction, sd) for name, prediction in points.items()}
    out = {
        name: p if name == ONE_HOT else np.asarray(smoothed(p, FLOOR, options=here[:, None, :]))
        for name, p in out.items()
    }
    out["Uniform"] = held.distributed(
        lambda _, values: np.full((panel.n, len(values)), 1 / len(values))
    )
    out["Marginal of others"] = np.asarray(
        marginal_of_others(held.answers, here.shape[1], options=here)
    )
    return out


def mean_losses(p: np.ndarray, held: HeldOutProbabilities, mask: np.ndarray) -> dict[str, float]:
    """Mean over questions of the three scores."""
    ranked = np.zeros(len(p))
    for size in np.unique(held.sizes):
        at = held.sizes == size
        values = np.linspace(0, 1, size)
        ranked[at] = ranked_probability_score(
            p[at][:, :, :size], held.answers[at], values=values, mask=mask[at]
        )
    return {
        "log": float(np.mean(log_score(p, held.answers, mask=mask))),
        "brier": float(np.mean(brier_score(p, held.answers, mask=mask))),
        "rps": float(np.mean(ranked)),
    }


def scored(forecasts: Forecasts, held: HeldOutProbabilities) -> list[dict[str, Any]]:
    """Scores of every forecast, on answers that all of them forecast, and skills."""
    mask = ~np.isnan(held.answers)
    for p in forecasts.values():
        mask &= ~np.isnan(p).any(axis=2)
    here = np.arange(held.probabilities.shape[2])[None, :] < held.sizes[:, None]
    chosen = np.where(mask[..., None], held.answers[..., None] == np.arange(here.shape[1]), 0)
    true = chosen.sum(axis=1) / mask.sum(axis=1)[:, None]
    losses = {name: mean_losses(p, held, mask) for name, p in forecasts.items()}
    rows = []
    for name, p in forecasts.items():
        shares = np.where(mask[..., None], np.nan_to_num(p), 0).sum(axis=1)
        shares = shares / mask.sum(axis=1)[:, None]
        against = {
            score: {
                other: float(skill(losses[name][score], found[score]))
                for other, found in losses.items()
                if other != name
            }
            for score in losses[name]
        }
        rows.append(
            {
                "forecast": name,
                **losses[name],
                "calibration_error": float(expected_calibration_error(p, held.answers, mask=mask)),
                "calibration_error_top": float(
                    expected_calibration_error(p, held.answers, events="top", mask=mask)
                ),
                "simbench": float(np.mean(simbench_score(shares, true, options=here))),
                "skill": against,
            }
        )
    return rows


def calibrated(forecasts: Forecasts, held: HeldOutProbabilities) -> list[dict[str, Any]]:
    """What nested calibration gains, over questions with enough others of as many options."""
    sizes, counts = np.unique(held.sizes, return_counts=True)
    usable = [int(size) for size, count in zip(sizes, counts) if count >= FEWEST_ALIKE]
    rows = []
    for name in ("Auto", "Twins, smoothed"):
        inner = held.without if name == "Auto" else None
        for kind in ("none", *KINDS):
            parts = []
            for size in usable:
                at = np.flatnonzero(held.sizes == size)
                p, y = forecasts[name][at][:, :, :size], held.answers[at]
                if kind != "none":
                    folds = held.fold[at]
                    own = None
                    if inner is not None:
                        place = np.searchsorted(np.unique(held.fold), np.unique(folds))
                        own = inner[place][:, at][..., :size]
                    found = nested_probability_calibration(kind, p, y, folds, without=own)
                    p = np.asarray(found.value)
                scores = [log_score(p, y), brier_score(p, y)]
                scores += [ranked_probability_score(p, y, values=np.linspace(0, 1, size))]
                error = float(expected_calibration_error(p, y)) * len(at)
                parts.append([*(float(np.sum(score)) for score in scores), error, len(at)])
            total = np.sum(parts, axis=0)
            names = ("log", "brier", "rps", "calibration_error")
            row: dict[str, Any] = dict(zip(names, (total[:4] / total[4]).tolist()))
            rows.append({"forecast": name, "kind": kind, "questions": int(total[4]), **row})
    return rows


def gate(
    panel: Panel,
    at: np.ndarray,
    held: HeldOutProbabilities,
    forecasts: Forecasts,
    controls: Mapping[str, np.ndarray],
    blocks: tuple[str, ...] | None,
) -> list[dict[str, Any]]:
    """Does the estimate, and do the twins, know what each control does not?"""
    truth, rows = panel.human[:, at].T, []
    groups = None if blocks is None else [blocks[j] for j in at]
    for name, estimate in (("Auto", held.mean), ("Twins", panel.twin[:, at].T)):
        for other, control in controls.items():
            for comparison in ("pearson", "partial"):
                found = twin_gain(
                    estimate,
                    control,
                    truth,
                    key=jax.random.key(0),
                    comparison=comparison,
                    blocks=groups,
                )
                rows.append({"estimate": name, "control": other, "comparison": comparison})
                rows[-1] |= _interval(found)
    for name in ("Auto", "Twins, smoothed"):
        for other in controls:
            losses = [
                np.asarray(probability_losses("log", forecasts[one], held.answers))
                for one in (name, other)
            ]
            found = twin_gain(*losses, key=jax.random.key(0), comparison="loss", blocks=groups)
            rows.append({"estimate": name, "control": other, "comparison": "log score"})
            rows[-1] |= _interval(found)
    return rows


def _interval(found: Any) -> dict[str, Any]:
    ends = {name: float(getattr(found, name)) for name in ("standard_error", "lower", "upper")}
    return {"gain": float(found.estimate), **ends, "verdict": found.verdict}


def judged(
    panel: Panel, blocks: tuple[str, ...] | None, texts: np.ndarray
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Everything for one panel, and its reliability diagrams."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    seconds = {}

    def timed(name: str, function: Any, *args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        with threadpool_limits(1, user_api="openmp"):  # boosting's threads wait by spinning
            found = function(*args, **options)
        seconds[name] = time.perf_counter() - start
        print(f"  {name}: {seconds[name]:.0f} s", flush=True)
        return found

    held = timed("estimate", hold_out_probabilities, panel, blocks=blocks, without_folds=True)
    at = np.array([panel.questions.index(name) for name in held.questions])
    boosting = HistGradientBoostingRegressor(random_state=0)
    known = {"blocks": blocks, "embeddings": texts}
    controls = {
        "Person mean": timed("person mean", hold_out_learned_control, panel),
        "Learned": timed("learned", hold_out_learned_control, panel, **known),
        "Learned, boosted": timed(
            "boosted", hold_out_learned_control, panel, learner=boosting, **known
        ),
        "Asked": timed("asked", asked_control, panel),
    }
    points = {}
    for name, found in controls.items():
        place = {j: i for i, j in enumerate(found.targets)}
        points[name] = next(iter(found.predictions.values()))[[place[j] for j in at]]
    forecasts = forecasts_of(panel, at, held, points)
    rows = timed("scores", scored, forecasts, held)
    for row in rows:
        line = " ".join(f"{row[s]:.4f}" for s in ("log", "brier", "rps", "calibration_error"))
        print(f"  {row['forecast']:<20} {line}  SimBench {100 * row['simbench']:.1f}", flush=True)
    gains = timed("calibration", calibrated, forecasts, held)
    for row in gains:
        line = " ".join(f"{row[s]:.4f}" for s in ("log", "brier", "rps", "calibration_error"))
        print(f"  {row['forecast']:<20} {row['kind']:<12} {line}", flush=True)
    verdicts = timed("gate", gate, panel, at, held, forecasts, points, blocks)
    for row in verdicts:
        numbers = " ".join(f"{row[k]:7.3f}" for k in ("gain", "lower", "upper"))
        names = f"{row['estimate']:<16} - {row['control']:<17} {row['comparison']:<9}"
        print(f"  {names} {numbers}  {row['verdict']}", flush=True)
    key = jax.random.key(0)
    size = int(held.sizes.max())
    width = panel.high - panel.low
    halves = {
        "means": split_half((panel.human / width)[:, at], key=key),
        "shares": split_half(held.answers.T, key=key, of="shares", size=size),
    }
    ceilings = {
        name: {"reliability": float(h.reliability), "distance_of_halves": float(h.distance)}
        for name, h in halves.items()
    }
    shown = {name: forecasts[name] for name in ("Auto", "Twins, smoothed", "Marginal of others")}
    diagrams = {name: reliability(p, held.answers) for name, p in shown.items()}
    report = {
        "people": panel.n,
        "questions": len(at),
        "options": {int(k): int(np.sum(held.sizes == k)) for k in np.unique(held.sizes)},
        "correlation": {
            name: float(np.mean(_correlations(panel, at, prediction)))
            for name, prediction in {"Auto": held.mean, "Twins": panel.twin.T[at], **points}.items()
        },
        "scores": rows,
        "calibration": gains,
        "gate": verdicts,
        "ceilings": ceilings,
        "seconds": seconds,
    }
    return report, diagrams


def _correlations(panel: Panel, at: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    from syndigits_jax.evaluation.metrics import score_targets

    truth = np.where(np.isnan(prediction), np.nan, panel.human[:, at].T)
    return np.asarray(score_targets("pearson", np.nan_to_num(prediction), truth))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    given = os.environ.get("SYNDIGITS_DATA")
    parser.add_argument("--data", type=Path, default=given, required=given is None)
    parser.add_argument("--only", nargs="+", help="names of data sets; all by default")
    parser.add_argument("--people", type=int, help="the first so many people; all by default")
    parser.add_argument("--every", type=int, default=1, help="every so manieth question")
    parser.add_argument("--out", type=Path, default=RESULTS / "probability_scores.json")
    args = parser.parse_args()
    readers: dict[str, Any] = {"movielens": lambda: movielens(args.data)}
    for name in CONSTRUCTIONS:
        readers[f"twin-2k-500, {name}"] = lambda name=name: twin_2k_500(args.data, name)
    reports: dict[str, Any] = {}
    figures = {}
    for name, read in readers.items():
        if args.only and name not in args.only:
            continue
        print(name, flush=True)
        panel, blocks, texts = read()
        kept = np.arange(0, panel.m, args.every)
        panel, texts = panel.take(slice(0, args.people), kept), texts[kept]
        blocks = None if blocks is None else tuple(blocks[j] for j in kept)
        reports[name], figures[name] = judged(panel, blocks, texts)
        chosen = {"smoothing": SMOOTHING, "every": args.every}
        write_report(args.out, **chosen, datasets=reports)
    from syndigits_jax.plots import plot_reliability

    for name, diagrams in figures.items():
        stem = name.split(",")[0] if name == "movielens" else name.split("(")[-1].split(")")[0]
        path = args.out.with_name(
            f"{args.out.stem}_{stem.split(',')[0].lower().replace(' ', '-')}.png"
        )
        figure: Any = plot_reliability(diagrams).figure
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150)
        print(f"written to {path}")


if __name__ == "__main__":
    main()
