"""The study's conclusions in words, from its records."""

import math
from collections.abc import Iterable, Sequence

from syndigits_jax.results.format import fixed
from syndigits_jax.workflows.fidelity.records import FidelityRecord

DRAWS = "calibrated_draws"
_POPULATION = {
    "fgi_coverage": "gap index of coverage",
    "fgi_frechet": "gap index of the Fréchet distance",
    "fgi_mmd2": "gap index of MMD",
    "fgi_sliced_wasserstein": "gap index of the sliced Wasserstein distance",
    "dispersion_ratio": "spread relative to real users",
}
_PAIRED = {
    "paired_distance": "distance to one's own human",
    "paired_distance_shuffled": "distance to somebody else's",
    "rank_accuracy": "rank accuracy",
}
_HIGHER = ("coverage", "rank_accuracy", "item_pearson", "user_pearson")
_BETTER, _WORSE, _SAME = "better", "worse", "no difference that can be told"


def answer(records: Sequence[FidelityRecord], calibrated: Sequence[str]) -> list[str]:
    """Conclusions on the effect of calibration, on the item level and in preference space.

    A difference is only reported if the two 95% intervals do not overlap. This is conservative, as
    the populations are of the same people.

    **Arguments:** `records`: of the study; `calibrated`: names of calibrated populations.
    """
    found = {(r.population, r.metric, r.procedure, r.reference): r for r in records}
    primary = calibrated[0]
    changed = [*calibrated, DRAWS]

    def get(name: str, metric: str, procedure: str) -> FidelityRecord | None:
        return found.get((name, metric, procedure, procedure))

    def compared(metrics: Iterable[str], name: str, procedure: str) -> list[str]:
        pairs = [(get("twins", m, procedure), get(name, m, procedure), m) for m in metrics]
        return [_verdict(m, a, b) for a, b, m in pairs if a is not None and b is not None]

    notes = []
    for metric, label in (
        ("item_pearson", "correlation per film, over people"),
        ("user_pearson", "correlation per person, over films"),
    ):
        numbers = [f"{n} {_number(get(n, metric, ''))}" for n in ("twins", *changed, "item_means")]
        notes.append(f"Item level, {label}: {', '.join(numbers)}.")
    for procedure, where in (
        ("newton", "placed by Newton's method"),
        ("newton, other films", "placed by Newton's method, films new to the calibration"),
        ("ssr", "placed by SSR"),
    ):
        parts = []
        for name in changed:
            if verdicts := compared(_POPULATION, name, procedure):
                parts.append(
                    f"{name} is better than twins in {verdicts.count(_BETTER)} and worse in "
                    f"{verdicts.count(_WORSE)} of {len(verdicts)} measures"
                )
        if not parts:
            continue
        notes.append(
            f"Population, {where}: {'; '.join(parts)}. {_details(get, primary, procedure)}"
        )
        own = []
        for name in ("twins", *changed):
            mine, other = (get(name, f"rank_accuracy{s}", procedure) for s in ("", "_shuffled"))
            if mine is not None and other is not None:
                own.append(f"{name} {_number(mine)} (with somebody else's {_number(other)})")
        if own:
            notes.append(f"Pairs, {where}: rank accuracy of {', '.join(own)}.")
    return notes


def _details(get, primary: str, procedure: str) -> str:
    parts = []
    for metric, label in (_POPULATION | _PAIRED).items():
        rows = [get(n, metric, procedure) for n in ("twins", primary, DRAWS)]
        if rows[0] is None or rows[1] is None:
            continue
        text = f"{label}: twins {_number(rows[0])}, calibrated {_number(rows[1])}"
        text += "" if rows[2] is None else f", drawn {_number(rows[2])}"
        if not metric.endswith("_shuffled"):
            text += f" ({_verdict(metric, rows[0], rows[1])})"
        parts.append(text)
    return "; ".join(parts) + "."


def _verdict(metric: str, before: FidelityRecord, after: FidelityRecord) -> str:
    values = (before.low, before.high, after.low, after.high)
    if not all(map(math.isfinite, values)):
        return "undefined"
    lower, higher = after.high < before.low, after.low > before.high
    if not (lower or higher):
        return _SAME
    if metric == "dispersion_ratio":
        return _BETTER if abs(after.mean - 1) < abs(before.mean - 1) else _WORSE
    return _BETTER if higher == (metric in _HIGHER) else _WORSE


def _number(record: FidelityRecord | None) -> str:
    if record is None or not math.isfinite(record.mean):
        return "undefined"
    return f"{fixed(record.mean)} [{fixed(record.low)}, {fixed(record.high)}]"
