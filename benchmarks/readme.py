"""The README's figures, from the committed results: `--write` puts them there."""

import argparse
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.report import RESULTS

README = Path(__file__).resolve().parents[1] / "README.md"
CONTROLS = ("Baseline", "InContext", "UserMean", "ItemMean")
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
    ]


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
    "table2": table2,
    "table5": table5,
    "speed": speed,
    "table6": table6,
    "ensembles": ensembles,
}


def with_results(text: str) -> str:
    """`text` with every marked block replaced by its figures."""
    for name, build in BLOCKS.items():
        mark = MARK.format(name)
        pattern = re.compile(rf"{re.escape(mark)}\n.*?{re.escape(END)}", re.DOTALL)
        block = "\n".join([mark, "", *build(), "", END])
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
        README.write_text(with_results(README.read_text()))
        return
    for name, build in BLOCKS.items():
        print(f"## {name}\n", *build(), "", sep="\n")


if __name__ == "__main__":
    main()
