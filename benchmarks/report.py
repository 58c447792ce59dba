"""What every benchmark writes: its figures with the machine, the versions and the date."""

import json
from pathlib import Path
from typing import Any

from syndigits_jax.results.files import write_text
from syndigits_jax.results.records import run_description

RESULTS = Path(__file__).parent / "results"


def write_report(path: Path, **figures: Any) -> None:
    """Write `figures` as JSON, whole or not at all."""
    report = {
        **run_description(),
        **figures,
    }
    write_text(path, json.dumps(report, indent=1) + "\n")
    print(f"written to {path}")
