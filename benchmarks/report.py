"""What every benchmark writes: its figures with the machine, the versions and the date."""

from pathlib import Path
from typing import Any

from syndigits_jax.results.records import write_document

RESULTS = Path(__file__).parent / "results"


def write_report(path: Path, **figures: Any) -> None:
    """Write `figures` as JSON, whole or not at all."""
    write_document(path, figures)
    print(f"written to {path}")
