"""Table 6 and the weighted ensembles: answer distributions, and how fast they are fitted."""

import json
from collections.abc import Iterable

from benchmarks.pages.tables import cell, head, records_of, row
from benchmarks.report import RESULTS


def table6() -> list[str]:
    """Answer distributions of new questions: both data sets."""
    metrics = {"tv": "TV", "chi2": "χ²", "kl": "KL", "hellinger": "Hellinger", "ks": "KS"}
    metrics |= {"cdf_l1": "CDF ℓ1", "cdf_l2": "CDF ℓ2"}
    lines, everything = [], records_of("table6")
    for dataset, title in (
        ("movielens", "MovieLens, 100 films, ten steps:"),
        ("opinionqa", "OpinionQA, 98 questions, five options:"),
    ):
        records = [
            r for r in everything if (r["dataset"], r["construction"]) == (dataset, "summary")
        ]
        lines += [title, "", *head(["", *metrics.values()])]
        for label, key, setting, variant in (
            ("equal weights", "mean", "default", "uniform"),
            ("mean of past questions", "mean", "default", "mean-distribution"),
            ("paper", "paper_mean", "reference", "both"),
            ("reference", "mean", "reference", "both"),
            ("default, twins and dummies", "mean", "default", "both"),
            ("default, dummies alone", "mean", "default", "dummies"),
            ("`fit_blend`", "mean", "default", "blend"),
        ):
            wanted = {"setting": setting, "variant": variant}
            cells = (cell(records, key, metric=metric, **wanted) for metric in metrics)
            lines.append(row([label, *cells]))
        lines.append("")
    return lines[:-1]


def ensembles() -> list[str]:
    """All 21 fits, and a million twins."""
    report = json.loads((RESULTS / "ensembles_speed.json").read_text())
    large = json.loads((RESULTS / "million_twins.json").read_text())
    lines = head(["21 fits (seven divergences, three variants), seconds", "MovieLens", "OpinionQA"])
    found = [report["datasets"][name] for name in ("movielens", "opinionqa")]
    for label, seconds in (
        ("plain NumPy, 100,000 published steps", lambda r: r["peer"]["seconds"]),
        ("the same, its products by BLAS", lambda r: r["peer"]["seconds_with_blas"]),
        ("reference setting", lambda r: r["reference"]["seconds"]),
        ("default: certified", lambda r: r["default"]["steady"]),
        ("default, with compilation", lambda r: r["default"]["with_compilation"]),
    ):
        lines.append(row([label, *(f"{seconds(r):,.1f}" for r in found)]))
    fits = ", ".join(
        f"{fit['seconds_with_compilation']:.0f} s ({fit['divergence']})" for fit in large["fits"]
    )
    return [
        *lines,
        "",
        f"On {report['machine']['cores']} CPU cores; times of 100,000 published steps are "
        f"extrapolated from fewer. {large['twins']:,} simulated twins with {large['questions']} "
        f"questions are fitted to a certified gap of {large['tol']:g} in {fits}, with compilation, "
        f"in at most {large['peak_gib']:.1f} GiB.",
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
        f"A published step, on the two data sets, moves {moved} MB at {reached} GB/s, where the "
        f"machine reached {max(report['bytes_per_second'].values()) / 1e9:.0f} GB/s in that run. "
        "Its arithmetic alone takes longer than moving the bytes would, and the step takes "
        f"{over} times as long as its arithmetic; the aim was twice. The aim for the reference "
        f"setting was 100 times NumPy's speed. Beside plain NumPy it is {both(plain, '.0f')}, "
        f"beside NumPy with BLAS {both(blas, '.0f')}, where a step that took no longer than its "
        f"arithmetic would reach {both(best, '.0f')}."
    )
