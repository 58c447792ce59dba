"""The demonstration: ten methods against the controls on the simulated sample panel."""

import os
from pathlib import Path
from typing import Any

from syndigits_jax.calibration import (
    AlternatingLeastSquares,
    ElasticNet,
    HardImpute,
    Lasso,
    NeuralNet,
    Ridge,
    Settings,
    SoftImpute,
    SyntheticControl,
    SyntheticIntervention,
    SyntheticPrior,
)
from syndigits_jax.datasets import sample_panel
from syndigits_jax.studies.checkpoint import Checkpoints
from syndigits_jax.studies.protocol import Unit
from syndigits_jax.studies.records import Record, write_results
from syndigits_jax.studies.scoring import unit_records
from syndigits_jax.studies.tables import RESULTS, UNITS, OnProgress, UnitResult, evaluate


def demo_methods() -> dict[str, Any]:
    """The ten calibrators with penalties that suit a panel of 200 people and 40 questions."""
    return {
        "Ridge": Ridge(penalty=100.0),
        "Lasso": Lasso(alpha=0.02),
        "ElasticNet": ElasticNet(alpha=0.1, l1_ratio=0.1),
        "NeuralNet": NeuralNet(hidden=(8,), weight_decay=0.1),
        "SyntheticControl": SyntheticControl(penalty=1e-6),
        "SyntheticIntervention": SyntheticIntervention(rank=5, penalty=30.0),
        "HardImpute": HardImpute(rank=3),
        "SoftImpute": SoftImpute(rank=10, penalty=10.0),
        "AlternatingLeastSquares": AlternatingLeastSquares(rank=10, penalty=10.0),
        "SyntheticPrior": SyntheticPrior(rank=3),
    }


def run_demo(
    out: str | os.PathLike[str] | None = None, on_progress: OnProgress | None = None
) -> tuple[list[Record], UnitResult]:
    """Leave out every question of the sample panel in turn.

    Writes `results.json` to `out` and keeps finished parts there, as `run_table` does. Tables are
    called `demo`.
    """
    methods, panel = demo_methods(), sample_panel()
    store = None if out is None else Checkpoints(Path(out) / UNITS)
    unit = Unit("demo", "simulated", panel.name, "question", "default", tuple(methods))
    result = evaluate(unit, panel, methods, Settings(), store, on_progress)
    records = unit_records(unit, result.arrays)
    if out is not None:
        write_results(Path(out) / RESULTS, records)
    return records, result
