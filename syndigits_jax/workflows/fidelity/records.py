"""The numbers of a fidelity measurement, one record each, and their file."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from syndigits_jax.results.records import check_results_path, write_document

PERSONAS = "personas"


def personas_of(condition: str) -> str:
    """The name of the population of personas of one condition; "": there are no conditions."""
    return f"{PERSONAS}: {condition}" if condition else PERSONAS


def is_personas(population: str) -> bool:
    """Whether a population is one of personas, not of real users or a baseline."""
    return population == PERSONAS or population.startswith(f"{PERSONAS}: ")


@dataclasses.dataclass(frozen=True)
class FidelityRecord:
    """One number of a measurement.

    - `population`: `personas` (`personas: NAME` for each of several conditions), `real` (the floor:
      other real users), a baseline or a ceiling; for held-out accuracies the ranker: `encoder`,
      `popularity`, `mean_rating`.
    - `metric`: as named by `FidelityMeasures.rows` and `PairedMeasures.rows`, or
      `pairwise_accuracy`.
    - `procedure`: how the population was placed: `ssr`, `newton`, or `trained`; for a baseline, how
      the real users from whom it is made were placed.
    - `reference`: how the real users in the comparison were placed; "" without a comparison.
    - `mean`, `low`, `high`: the estimate and its 95% interval; NaN (null in files) if undefined.
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
    """Records of the rows of a panel.

    **Arguments:** `population`, `procedure`, `reference`: as in [`FidelityRecord`][]; `rows`: with
    its other fields, as `FidelityMeasures.rows` returns them.
    """
    return [FidelityRecord(population, procedure=procedure, reference=reference, **r) for r in rows]


def write_fidelity_results(
    path: str | os.PathLike[str],
    records: Sequence[FidelityRecord],
    *,
    counts: Mapping[str, int],
    settings: Any,
    notes: Sequence[str] = (),
) -> None:
    """Write a results file, which is replaced as a whole.

    **Arguments:** `path`: the file; `records`: all numbers; `counts`: numbers of ratings, users and
    so on, by name; `settings`: a dataclass; `notes`: sentences. A [`run_description`][] is added.

    **Raises:** `ValueError` if `path` exists and is not a results file; it is not changed.
    """
    check_results_path(path)
    content = {
        "settings": dataclasses.asdict(settings),
        "counts": dict(counts),
        "notes": list(notes),
        "records": [dataclasses.asdict(record) for record in records],
    }
    write_document(path, content)
