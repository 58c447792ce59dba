"""Tables 2, 4 and 5 and Figure 5: answers of individuals; and how fast they are computed."""

import json

from benchmarks.pages.tables import CONTROLS, cell, head, methods_of, records_of, row
from benchmarks.report import RESULTS


def table2() -> list[str]:
    """New films: 250 held out in turn, 500 people."""
    return _comparison(records_of("table2"), {"default MSE": "mse"})


def table4() -> list[str]:
    """New survey questions: the default construction, and in how many others it is so."""
    everything = records_of("table4")
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
    for index, method in enumerate(methods_of(first), start=2):
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
        f"The last two columns, of the default setting, are about all {len(constructions)} "
        f"constructions: on how many a method's correlation is above that of `Baseline`, and how "
        f"many of its fits converged. On {where} of them every method is ahead of `UserMean`.",
    ]


def figure5() -> list[str]:
    """The top of the adaptive curve, one sentence."""
    records = records_of("figure5")

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
        f"In Figure 5 a question is calibrated only where the training MSE is at most τ. In the "
        f"reference setting {', '.join(said)}. In the default setting `Ridge` reaches {chosen:.3f} "
        f"with a τ that is chosen for every question by the other questions, as in practice."
    ]


def few_shot() -> list[str]:
    """What the twins are worth in respondents, one sentence."""
    worth = json.loads((RESULTS / "few_shot.json").read_text())["worth"]

    def span(metric: str) -> str:
        found = [round(k) for name, k in worth[metric].items() if name != "Baseline"]
        return f"{min(found)}" if min(found) == max(found) else f"{min(found)} to {max(found)}"

    return [
        f"How many respondents are the twins worth? To predict ratings of a new film equally well "
        f"without twins, {span('mse')} people would have to rate it to equal calibrated twins in "
        f"squared error, and {span('pearson')} in correlation; raw twins are worth "
        f"{worth['mse']['Baseline']:.0f} and {worth['pearson']['Baseline']:.0f}."
    ]


def table5() -> list[str]:
    """New people: both data sets."""
    lines = []
    records = records_of("table5")
    for dataset, title in (
        ("movielens", "MovieLens, 500 people:"),
        ("twin-2k-500", "Twin-2K-500, 2,058 people:"),
    ):
        some = [record for record in records if record["dataset"] == dataset]
        extra = {"default MSE": "mse", "default, beyond the item mean": "pearson_item_centred"}
        lines += [title, "", *_comparison(some, extra), ""]
    return lines[:-1]


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
        f"{ratios['shared_over_with_compilation']:.0f} times with our compilation counted). For "
        f"single methods it takes {min(single):.0f} to {max(single):.0f} times as long. Its times "
        f"are extrapolated from {len(report['peer_folds'])} folds."
    ]


def _comparison(records: list[dict], extra: dict[str, str]) -> list[str]:
    """Correlations as published and in both settings, and further metrics of the default."""
    lines = head(["", "paper", "reference", "default", *extra])
    for method in methods_of(records):
        wanted = {"method": method, "metric": "pearson"}
        cells = [
            f"`{method}`",
            cell(records, "paper_mean", setting="reference", **wanted),
            cell(records, setting="reference", **wanted),
            cell(records, setting="default", **wanted),
        ]
        cells += [
            cell(records, setting="default", method=method, metric=metric)
            for metric in extra.values()
        ]
        lines.append(row(cells))
    return lines
