"""The study's answer in words, made from its records."""

import math
from collections.abc import Iterable, Sequence

from syndigits_jax.studies.fidelity_records import FidelityRecord

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
    "rank_accuracy_shuffled": "rank accuracy with somebody else's",
}
_HIGHER = ("coverage", "rank_accuracy", "item_pearson", "user_pearson")
_BETTER, _WORSE, _SAME = "better", "worse", "no difference that can be told"


def answer(records: Sequence[FidelityRecord], calibrated: Sequence[str]) -> list[str]:
    """Whether calibration closes the item-level gap, and the one in preference space.

    A difference is called one only where the two 95% intervals are apart, which is cautious: the
    populations are of the same people.
    """
    found = {(r.population, r.metric, r.procedure, r.reference): r for r in records}
    primary = calibrated[0]

    def get(name: str, metric: str, procedure: str) -> FidelityRecord | None:
        return found.get((name, metric, procedure, procedure))

    def compared(metrics: Iterable[str], name: str, procedure: str) -> list[str]:
        pairs = [(get("twins", m, procedure), get(name, m, procedure), m) for m in metrics]
        return [_verdict(m, a, b) for a, b, m in pairs if a is not None and b is not None]

    item, user = (
        [_number(get(n, metric, "")) for n in ("twins", primary, DRAWS)]
        for metric in ("item_pearson", "user_pearson")
    )
    notes = [
        f"Item level: correlation per film {item[0]} for twins, {item[1]} calibrated ({item[2]} "
        f"drawn); per person over films {user[0]}, {user[1]} ({user[2]})."
    ]
    for procedure, where in (
        ("newton", "placed by Newton's method"),
        ("newton, other films", "placed by Newton's method, films new to the calibration"),
        ("ssr", "placed by SSR"),
    ):
        verdicts = {n: compared(_POPULATION, n, procedure) for n in (primary, DRAWS)}
        if not verdicts[primary]:
            continue
        parts = []
        for name, label in ((primary, "calibrated means"), (DRAWS, "calibrated draws")):
            if verdicts[name]:
                counts = {v: verdicts[name].count(v) for v in (_BETTER, _WORSE)}
                parts.append(
                    f"{label} are better than twins in {counts[_BETTER]} and worse in "
                    f"{counts[_WORSE]} of {len(verdicts[name])} measures"
                )
        notes.append(
            f"Population, {where}: {'; '.join(parts)}. {_details(get, primary, procedure)}"
        )
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
    return f"{record.mean:.3f} [{record.low:.3f}, {record.high:.3f}]"
