"""The README's figures, from the committed results: `--write` puts them there."""

import argparse
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.readme_draws import draws
from benchmarks.readme_fidelity import fidelity, fidelity_speed
from benchmarks.readme_inference import prediction_powered
from benchmarks.readme_respond import respond, respond_speed
from benchmarks.report import RESULTS
from syndigits_jax.results.files import write_text

README = Path(__file__).resolve().parents[1] / "README.md"
CONTROLS = ("Baseline", "InContext", "UserMean", "ZScoredUserMean", "ItemMean")
MARK = "<!-- results: {} -->"
END = "<!-- /results -->"


def _records(table: str) -> list[dict]:
    return json.loads((RESULTS / "tables" / f"{table}.json").read_text())["records"]


def _cell(records: Iterable[dict], key: str = "mean", **wanted: str) -> str:
    """One number as printed, or a dash."""
    for record in records:
        if all(record[name] == value for name, value in wanted.items()):
            value = record[key]
            return "–" if value is None else f"{value:.3f}"
    return "–"


def _methods(records: Iterable[dict]) -> list[str]:
    found = dict.fromkeys(record["method"] for record in records)
    return [c for c in CONTROLS if c in found] + [m for m in found if m not in CONTROLS]


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _comparison(records: list[dict], extra: dict[str, str]) -> list[str]:
    """Correlations as published and in both settings, and further metrics of the default."""
    head = ["", "paper", "reference", "default", *extra]
    lines = [_row(head), "|---" + "|--:" * (len(head) - 1) + "|"]
    for method in _methods(records):
        wanted = {"method": method, "metric": "pearson"}
        cells = [
            f"`{method}`",
            _cell(records, "paper_mean", setting="reference", **wanted),
            _cell(records, setting="reference", **wanted),
            _cell(records, setting="default", **wanted),
        ]
        cells += [
            _cell(records, setting="default", method=method, metric=metric)
            for metric in extra.values()
        ]
        lines.append(_row(cells))
    return lines


def table2() -> list[str]:
    """New films: 250 held out in turn, 500 people."""
    return _comparison(_records("table2"), {"default MSE": "mse"})


def table4() -> list[str]:
    """New survey questions: the default construction, and in how many others it is so."""
    everything = _records("table4")
    constructions = list(dict.fromkeys(record["construction"] for record in everything))
    first = [record for record in everything if record["construction"] == constructions[0]]
    defaults = {
        (record["construction"], record["method"], record["metric"]): record
        for record in everything
        if record["setting"] == "default"
    }

    def wins(method: str, control: str) -> int:
        return sum(
            defaults[c, method, "pearson"]["mean"] > defaults[c, control, "pearson"]["mean"]
            for c in constructions
        )

    lines = _comparison(first, {"default MSE": "mse"})
    lines[0] += f" ahead of `Baseline`, of {len(constructions)} | converged |"
    lines[1] += "--:|--:|"
    least = len(constructions)
    for index, method in enumerate(_methods(first), start=2):
        if method in CONTROLS:
            lines[index] += " | |"
            continue
        fits = [defaults[c, method, "converged"] for c in constructions]
        share = sum(fit["mean"] * fit["count"] for fit in fits) / sum(fit["count"] for fit in fits)
        lines[index] += f" {wins(method, 'Baseline')} | {100 * share:.0f}% |"
        least = min(least, wins(method, "UserMean"))
    where = "all" if least == len(constructions) else f"at least {least}"
    return [
        *lines,
        "",
        f"Last two columns: by default, on the {len(constructions)} constructions that are there; "
        f"on {where} of them every method is ahead of `UserMean`.",
    ]


def figure5() -> list[str]:
    """The top of the adaptive curve, one sentence."""
    records = _records("figure5")

    def at(method: str, setting: str, metric: str, key: str = "mean") -> float:
        [found] = [
            r[key]
            for r in records
            if (r["method"], r["setting"], r["metric"]) == (method, setting, metric)
        ]
        return found

    said = []
    for method in ("Ridge", "ElasticNet"):
        best, tau = (method, "reference", "adaptive_pearson_best"), "adaptive_threshold_best"
        said.append(
            f"`{method}` is best at a correlation of {at(*best):.3f} at τ = "
            f"{at(method, 'reference', tau):.2f} (paper: {at(*best, 'paper_mean'):.3f} near "
            f"{at(method, 'reference', tau, 'paper_mean'):.2f})"
        )
    chosen = at("Ridge", "default", "adaptive_pearson_chosen")
    return [
        f"Figure 5 calibrates only where the training MSE is at most τ: in the reference setting "
        f"{', '.join(said)}; by default `Ridge` reaches {chosen:.3f} with a τ that is "
        f"chosen for every question by the others, as one would have to."
    ]


def few_shot() -> list[str]:
    """What the twins are worth in respondents, one sentence."""
    worth = json.loads((RESULTS / "few_shot.json").read_text())["worth"]

    def span(metric: str) -> str:
        found = [round(k) for name, k in worth[metric].items() if name != "Baseline"]
        return f"{min(found)}" if min(found) == max(found) else f"{min(found)} to {max(found)}"

    return [
        f"What are twins worth? So many people would have to be asked about a new film, and no "
        f"twins used, to predict it equally well for the others: {span('mse')} in squared error "
        f"and {span('pearson')} in correlation for calibrated twins, "
        f"{worth['mse']['Baseline']:.0f} and {worth['pearson']['Baseline']:.0f} for the twins as "
        f"they are."
    ]


def table5() -> list[str]:
    """New people: both data sets."""
    lines = []
    records = _records("table5")
    for dataset, title in (
        ("movielens", "MovieLens, 500 people:"),
        ("twin-2k-500", "Twin-2K-500, 2,058 people:"),
    ):
        some = [record for record in records if record["dataset"] == dataset]
        extra = {"default MSE": "mse", "default, beyond the item mean": "pearson_item_centred"}
        lines += [title, "", *_comparison(some, extra), ""]
    return lines[:-1]


def table6() -> list[str]:
    """Answer distributions of new questions: both data sets."""
    metrics = {"tv": "TV", "chi2": "χ²", "kl": "KL", "hellinger": "Hellinger", "ks": "KS"}
    metrics |= {"cdf_l1": "CDF ℓ1", "cdf_l2": "CDF ℓ2"}
    lines, everything = [], _records("table6")
    for dataset, title in (
        ("movielens", "MovieLens, 100 films, ten steps:"),
        ("opinionqa", "OpinionQA, 98 questions, five options:"),
    ):
        records = [
            r for r in everything if (r["dataset"], r["construction"]) == (dataset, "summary")
        ]
        lines += [title, "", _row(["", *metrics.values()]), "|---" + "|--:" * len(metrics) + "|"]
        for label, key, setting, variant in (
            ("all twins alike", "mean", "default", "uniform"),
            ("mean of past questions", "mean", "default", "mean-distribution"),
            ("paper", "paper_mean", "reference", "both"),
            ("reference", "mean", "reference", "both"),
            ("default, twins and dummies", "mean", "default", "both"),
            ("default, dummies alone", "mean", "default", "dummies"),
            ("`fit_blend`", "mean", "default", "blend"),
        ):
            wanted = {"setting": setting, "variant": variant}
            cells = (_cell(records, key, metric=metric, **wanted) for metric in metrics)
            lines.append(_row([label, *cells]))
        lines.append("")
    return lines[:-1]


def ensembles() -> list[str]:
    """All 21 fits, and a million twins."""
    report = json.loads((RESULTS / "ensembles_speed.json").read_text())
    large = json.loads((RESULTS / "million_twins.json").read_text())
    lines = [
        "| 21 fits (seven divergences, three variants), seconds | MovieLens | OpinionQA |",
        "|---|--:|--:|",
    ]
    found = [report["datasets"][name] for name in ("movielens", "opinionqa")]
    for label, seconds in (
        ("plain NumPy, 100,000 published steps", lambda r: r["peer"]["seconds"]),
        ("the same, its products by BLAS", lambda r: r["peer"]["seconds_with_blas"]),
        ("reference setting", lambda r: r["reference"]["seconds"]),
        ("default: certified", lambda r: r["default"]["steady"]),
        ("default, with compilation", lambda r: r["default"]["with_compilation"]),
    ):
        lines.append(_row([label, *(f"{seconds(r):,.1f}" for r in found)]))
    fits = ", ".join(
        f"{fit['seconds_with_compilation']:.0f} s ({fit['divergence']})" for fit in large["fits"]
    )
    return [
        *lines,
        "",
        f"On {report['machine']['cores']} CPU cores; published steps are extrapolated from some of "
        f"them. {large['twins']:,} simulated twins x {large['questions']} questions are fitted to "
        f"a certified gap of {large['tol']:g} in {fits}, in at most {large['peak_gib']:.1f} GiB.",
        "",
        _floors(report, found),
    ]


def _floors(report: dict, found: list[dict]) -> str:
    """How far a published step is from what the machine can do, and what that leaves of 100."""
    steps = [r["step"] for r in found]

    def both(values: Iterable[float], form: str) -> str:
        return " and ".join(format(value, form) for value in values)

    moved = both((r["reference"]["bytes_per_step"] / 1e6 for r in found), ".0f")
    reached = both((step["bytes_per_second"] / 1e9 for step in steps), ".0f")
    over = both((step["over_higher_floor"] for step in steps), ".1f")
    plain = [r["ratios"]["peer_over_reference"] for r in found]
    blas = [r["ratios"]["peer_with_blas_over_reference"] for r in found]
    best = [ratio * step["over_higher_floor"] for ratio, step in zip(blas, steps, strict=True)]
    return (
        f"A published step moves {moved} MB at {reached} GB/s, where "
        f"{max(report['bytes_per_second'].values()) / 1e9:.0f} GB/s were measured; its arithmetic "
        f"alone takes longer than moving them would, and the step {over} times as long as its "
        f"arithmetic. The aim of 100 times NumPy is missed: it is {both(plain, '.0f')} times plain "
        f"NumPy and {both(blas, '.0f')} times NumPy with BLAS, which a step at its arithmetic "
        f"floor would make {both(best, '.0f')}. GPUs are not measured yet."
    )


def speed() -> list[str]:
    """Ours against the straightforward implementation."""
    report = json.loads((RESULTS / "table2_speed.json").read_text())
    ratios, ours = report["ratios"], report["ours"]
    single = [row["ratio"] for row in report["methods"]]
    return [
        f"All ten methods of Table 2, 250 folds each, on {report['machine']['cores']} CPU cores: "
        f"{ours['steady']:.0f} s once compiled, {ours['with_compilation']:.0f} s with compilation, "
        f"{ours['peak_gib']:.1f} GiB at most. Our own straightforward scikit-learn, NumPy and "
        f"PyTorch program of the same protocol, fold by fold on the same cores, takes "
        f"{ratios['published_over_steady']:.0f} times as long if it imputes anew for every method, "
        f"as the published code does, and "
        f"{ratios['shared_over_steady']:.0f} times if it imputes once per fold "
        f"({ratios['published_over_with_compilation']:.0f} and "
        f"{ratios['shared_over_with_compilation']:.0f} times with our compilation counted); single "
        f"methods {min(single):.0f} to {max(single):.0f} times. The peer's times are "
        f"extrapolated from {len(report['peer_folds'])} folds; the rest is in "
        f"[`benchmarks`](benchmarks)."
    ]


BLOCKS: dict[str, Callable[[], list[str]]] = {
    "prediction-powered": prediction_powered,
    "table2": table2,
    "few_shot": few_shot,
    "table4": table4,
    "figure5": figure5,
    "table5": table5,
    "speed": speed,
    "table6": table6,
    "ensembles": ensembles,
    "fidelity": fidelity,
    "fidelity-speed": fidelity_speed,
    "draws": draws,
    "respond": respond,
    "respond-speed": respond_speed,
}


def with_results(text: str) -> str:
    """`text` with every marked block replaced by its figures."""
    for name, build in BLOCKS.items():
        mark = MARK.format(name)
        pattern = re.compile(rf"{re.escape(mark)}\n.*?{re.escape(END)}", re.DOTALL)
        lines = build()
        block = "\n".join([mark, "", *lines, "", END] if lines else [mark, END])
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"README.md needs exactly one block from {mark} to {END}")
        text = (
            text[: text.index(mark)] + block + text[text.index(END, text.index(mark)) + len(END) :]
        )
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the README's blocks")
    if parser.parse_args().write:
        write_text(README, with_results(README.read_text(encoding="utf-8")))
        return
    for name, build in BLOCKS.items():
        print(f"## {name}\n", *build(), "", sep="\n")


if __name__ == "__main__":
    main()
