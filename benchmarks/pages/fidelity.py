"""Figures of persona fidelity; none as long as their results are not there."""

import json
from collections.abc import Sequence
from typing import Any

from benchmarks.pages.tables import head, number, row
from benchmarks.report import RESULTS

BASELINES, TWINS = "fidelity-baselines", "fidelity-twins"
_REFERENCE = "newton"  # the placement that the table of twins is about
_TITLES = {
    "real": "real people, others",
    "in_context": "twins in context",
    "calibrated_draws": "draws",
    "calibrated_draws_offset": "draws, films' means too",
    "twins_centred": "twins, less each film's mean",
    "item_means": "everybody's film means",
    "real_bootstrap": "real users, drawn again",
    "prototype_perturbation": "perturbed prototypes",
    "gaussian_mixture_diagonal": "Gaussian mixture, diagonal",
    "gaussian_mixture_full": "Gaussian mixture, full",
    "dirichlet": "Dirichlet interpolation",
    "bpr": "BPR",
}
_DATASETS = {
    "amazon-2018-industrial-and-scientific": "Amazon, industrial",
    "amazon-2018-office-products": "Amazon, office",
    "ml-latest-small": "MovieLens, small",
}
_SAMPLERS = (
    ("real_bootstrap", "trained"),
    ("dirichlet", "trained"),
    ("gaussian_mixture_full", "trained"),
    ("gaussian_mixture_diagonal", "trained"),
    ("prototype_perturbation", "trained"),
    ("untrained_encoder", "trained"),
    ("real", "ssr"),
    ("real", "newton"),
)
_RANKERS = ("encoder", "mean_rating", "popularity", "bpr")

Records = Sequence[dict[str, Any]]


def fidelity() -> list[str]:
    """Twins before and after calibration, and the samplers of the paper."""
    parts = [twins(_read(TWINS)), baselines(_read(BASELINES))]
    lines: list[str] = []
    for part in filter(None, parts):
        lines += [*part, ""]
    return lines[:-1]


def fidelity_speed() -> list[str]:
    """The sentence on speed; nothing while a benchmark has not been run."""
    paths = [
        RESULTS / f"{name}.json" for name in ("encoder_speed", "ssr_speed", "fidelity_metrics")
    ]
    if not all(path.exists() for path in paths):
        return []
    encoder, placing, metrics = (json.loads(path.read_text()) for path in paths)
    ratio, epoch = encoder["ours_against"], encoder["full_epoch"]
    runs = {(run["name"], run["size"]): run for run in metrics["runs"]}
    most = max(size for name, size in runs if name == "prdc")
    common = max(size for name, size in runs if name == "prdc_package")
    ours, peer = runs["prdc", common], runs["prdc_package", common]
    placed = placing["ours"]
    return [
        f"On {encoder['machine']['cores']} CPU cores: in {encoder['steps']} steps the encoder "
        f"trains on {encoder['pairs_per_second']['ours']:,.0f} pairs a second, "
        f"{min(ratio['torch_loader'], ratio['torch_arrays']):.1f} times as many as the same model "
        f"in PyTorch and {ratio['products']:.0%} of what its matrix products alone allow. An epoch "
        f"of {epoch['users']:,} users ({epoch['cap']} pairs each at most) takes "
        f"{epoch['seconds']:.0f} s ({epoch['pairs_per_second']:,.0f} pairs a second) and "
        f"{epoch['peak_gib']:.1f} GiB. Placing "
        f"{placing['personas']:,} personas by {placing['probes']} probe items takes "
        f"{placed['ssr']['seconds']:.1f} s by SSR and {placed['newton']['seconds']:.1f} s by "
        f"Newton's method, to the optimum; SSR in PyTorch, one persona at a time, takes "
        f"{placing['loop']['times_slower']:.0f} times as long (extrapolated). "
        f"PRDC of {most:,} against {most:,} points takes {runs['prdc', most]['seconds']:.0f} s and "
        f"{runs['prdc', most]['peak_gib']:.1f} GiB. For {common:,} points it is "
        f"{peer['seconds'] / ours['seconds']:.1f} times as fast as the `prdc` package, which takes "
        f"{peer['peak_gib']:.1f} GiB. MMD² of {most:,} points takes "
        f"{runs['mmd', most]['seconds']:.0f} s."
    ]


def twins(records: Records) -> list[str]:
    """A row per population of twins, placed by Newton's method; [] without records."""
    found = {(r["population"], r["procedure"], r["reference"], r["metric"]): r for r in records}

    def at(population: str, metric: str) -> dict[str, Any] | None:
        return found.get((population, _REFERENCE, _REFERENCE, metric))

    # Those that answered films themselves; real users have no answers to be compared with.
    names = [r["population"] for r in records if r["metric"] == "item_pearson"]
    names = [n for n in dict.fromkeys(["real", *names]) if at(n, "coverage") is not None]
    if not names:
        return []
    columns = [
        "MovieLens, 500 people and their twins", "correlation per film", "coverage", "spread",
        "FGI coverage", "FGI Fréchet", "FGI MMD²", "rank accuracy (somebody else's)",
    ]  # fmt: skip
    lines = head(columns)
    for name in names:
        shuffled = _value(at(name, "rank_accuracy_shuffled"))
        accuracy = _value(at(name, "rank_accuracy"))
        cells = [
            _title(name),
            _value(found.get((name, "", "", "item_pearson"))),
            _value(at(name, "coverage")),
            _value(at(name, "dispersion_ratio")),
            *(
                _value(at(name, m)) if name == "real" else _interval(at(name, m))
                for m in ("fgi_coverage", "fgi_frechet", "fgi_mmd2")
            ),
            accuracy if shuffled == "–" else f"{accuracy} ({shuffled})",
        ]
        lines.append(row(cells))
    return lines


def baselines(records: Records) -> list[str]:
    """FGI of coverage of every sampler and data set, and who ranks held-out items how well."""
    datasets = list(dict.fromkeys(r["dataset"] for r in records))
    found = {
        (r["dataset"], r["population"], r["procedure"], r["metric"]): r
        for r in records
        if r["reference"] in ("", "trained")
    }
    lines = head(["FGI of coverage, against users as trained", "paper", *map(_dataset, datasets)])
    start = len(lines)
    for population, procedure in _SAMPLERS:
        values = [found.get((d, population, procedure, "fgi_coverage")) for d in datasets]
        known = [r for r in values if r is not None]
        if known:
            name = _title(population)
            if procedure != "trained":
                how = {"ssr": "SSR", "newton": "Newton's method"}[procedure]
                name = f"real users, placed by {how}"
            lines.append(row([name, _paper(known[0]), *map(_interval, values)]))
    if len(lines) == start:
        return []
    said = []
    for dataset in datasets:
        each = []
        for ranker in _RANKERS:
            any_pair, held_out = (
                found.get((dataset, ranker, "trained", f"pairwise_accuracy{suffix}"))
                for suffix in ("", "_both_held_out")
            )
            if any_pair is not None:
                each.append(f"{_title(ranker)} {_value(any_pair)} ({_value(held_out)})")
        if each:
            said.append(f"{_dataset(dataset)}: {', '.join(each)}")
    if said:
        start = (
            "Share of held-out pairs ordered correctly (in parentheses: pairs of two items that "
            "were both held out): "
        )
        lines += ["", start + "; ".join(said) + "."]
    return lines


def _read(name: str) -> Records:
    path = RESULTS / "tables" / f"{name}.json"
    return json.loads(path.read_text())["records"] if path.is_file() else []


def _dataset(name: str) -> str:
    return _DATASETS.get(name, name)


def _title(population: str) -> str:
    if population in _TITLES:
        return _TITLES[population]
    kind, _, method = population.partition("_")
    if kind == "calibrated" and method[:1].isupper():
        return f"calibrated, `{method}`"
    return population.replace("_", " ")


def _value(record: dict[str, Any] | None) -> str:
    """The mean, or a dash where there is none (undefined, or too unstable to be printed)."""
    return "–" if record is None else number(record["mean"])


def _interval(record: dict[str, Any] | None) -> str:
    text = _value(record)
    if record is None or text == "–" or record["low"] is None or record["high"] is None:
        return text
    return f"{text} ({number(record['low'])} to {number(record['high'])})"


def _paper(record: dict[str, Any]) -> str:
    low, high = record["paper_low"], record["paper_high"]
    if low is None or high is None:
        return "–"
    return number(low) if low == high else f"{number(low)} to {number(high)}"
