"""The numbers of a fidelity measurement, one record each, and the file they are kept in."""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from syndigits_jax.results.files import write_text
from syndigits_jax.results.records import finite_or_none, run_description

PERSONAS = "personas"


def personas_of(condition: str) -> str:
    """The population of the personas made in one way, "" where all were."""
    return f"{PERSONAS}: {condition}" if condition else PERSONAS


def is_personas(population: str) -> bool:
    """Whether it is one of personas, not of real users nor a baseline."""
    return population == PERSONAS or population.startswith(f"{PERSONAS}: ")


@dataclasses.dataclass(frozen=True)
class FidelityRecord:
    """One number.

    - `population`: `personas` (`personas: NAME` where they were made in several ways), `real` (the
      floor: other real users), a baseline or a ceiling; for
      held-out accuracies, what ranks: `encoder`, `popularity`, `mean_rating`.
    - `metric`: as `FidelityPanel.rows` and `PairedPanel.rows` name them; or `pairwise_accuracy`.
    - `procedure`: how the population was placed: `ssr`, `newton`, or `trained`. Baselines are made
      of real users placed by the procedure that is named.
    - `reference`: how the real users were placed that it is compared with; "" where with none.
    - `mean`, `low`, `high`: the estimate and its 95% interval; NaN (null in files) where undefined.
    """

    population: str
    metric: str
    procedure: str
    reference: str
    mean: float
    low: float
    high: float


def panel_records(
    population: str, procedure: str, reference: str, rows: Iterable[Mapping[str, Any]]
) -> list[FidelityRecord]:
    """Records of the rows of a panel."""
    return [FidelityRecord(population, procedure=procedure, reference=reference, **r) for r in rows]


def write_fidelity_results(
    path: str | os.PathLike[str],
    records: Sequence[FidelityRecord],
    *,
    counts: Mapping[str, int],
    settings: Any,
    notes: Sequence[str] = (),
) -> None:
    """Write [`run_description`][], settings (a dataclass), counts, notes and records, whole or not.

    **Raises:** `ValueError` if `path` holds something that is not a results file: it stays.
    """
    check_results_path(path)
    document = {
        **run_description(),
        "settings": dataclasses.asdict(settings),
        "counts": dict(counts),
        "notes": list(notes),
        "records": finite_or_none([dataclasses.asdict(record) for record in records]),
    }
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def check_results_path(path: str | os.PathLike[str]) -> None:
    """Refuse, before any work, to replace what is not a results file. **Raises:** `ValueError`."""
    path = Path(path)
    if path.parent.exists() and not path.parent.is_dir():
        raise ValueError(f"out: {path.parent} is not a folder")
    if not path.exists():
        return
    try:
        known = {"machine", "versions", "records"} <= json.loads(path.read_text("utf-8")).keys()
    except (ValueError, AttributeError, OSError):
        known = False
    if not known:
        raise ValueError(f"{path} is not a results file written by this package")
