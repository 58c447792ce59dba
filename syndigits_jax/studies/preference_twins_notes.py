"""The study's answer in words, made from its records."""

import math
from collections.abc import Sequence

from syndigits_jax.studies.fidelity_records import FidelityRecord

_MEASURES = {
    "coverage": "coverage",
    "fgi_coverage": "gap index of coverage",
    "fgi_frechet": "gap index of the Fréchet distance",
    "fgi_mmd2": "gap index of MMD",
    "fgi_sliced_wasserstein": "gap index of the sliced Wasserstein distance",
    "dispersion_ratio": "spread relative to real users",
    "rank_accuracy": "rank accuracy",
    "paired_distance": "distance to one's own human",
}
_HIGHER = ("coverage", "rank_accuracy")


def answer(records: Sequence[FidelityRecord], calibrated: Sequence[str]) -> list[str]:
    """Whether calibration closes the item-level gap, and the one in preference space.

    A difference is called one only where the two 95% intervals are apart.
    """
    found = {(r.population, r.metric, r.procedure, r.reference): r for r in records}
    primary = calibrated[0]
    notes = []
    item = [found.get((n, "item_pearson", "", "")) for n in ("twins", primary)]
    user = [found.get((n, "user_pearson", "", "")) for n in ("twins", primary)]
    notes.append(
        f"Item level: correlation per film {_number(item[0])} for twins, {_number(item[1])} "
        f"calibrated; per person {_number(user[0])} and {_number(user[1])}."
    )
    for procedure in ("newton", "newton, other films", "ssr"):
        parts = []
        for metric, label in _MEASURES.items():
            rows = [
                found.get((n, metric, procedure, procedure))
                for n in ("twins", primary, "calibrated_draws")
            ]
            if rows[0] is None or rows[1] is None:
                continue
            text = f"{label}: twins {_number(rows[0])}, calibrated {_number(rows[1])}"
            if rows[2] is not None:
                text += f", drawn {_number(rows[2])}"
            parts.append(f"{text} ({_verdict(metric, rows[0], rows[1])})")
        if parts:
            notes.append(f"Preference space, placed by {procedure}: {'; '.join(parts)}.")
    return notes


def _verdict(metric: str, before: FidelityRecord, after: FidelityRecord) -> str:
    values = (before.low, before.high, after.low, after.high)
    if not all(map(math.isfinite, values)):
        return "undefined"
    lower = after.high < before.low
    if metric == "dispersion_ratio":
        if not lower and not after.low > before.high:
            return "calibration changes nothing that can be told"
        closer = abs(after.mean - 1) < abs(before.mean - 1)
        return f"calibration brings it {'closer to' if closer else 'farther from'} 1"
    if lower or after.low > before.high:
        better = lower != (metric in _HIGHER)
        return f"calibration makes it {'better' if better else 'worse'}"
    return "calibration changes nothing that can be told"


def _number(record: FidelityRecord | None) -> str:
    if record is None or not math.isfinite(record.mean):
        return "undefined"
    return f"{record.mean:.2f} [{record.low:.2f}, {record.high:.2f}]"
