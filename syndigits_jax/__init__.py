"""Calibrate LLM-simulated people against real ones, in JAX.

Names are imported when they are first used: `import syndigits_jax` alone starts nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calibration import AlternatingLeastSquares as AlternatingLeastSquares
    from .calibration import Calibrated as Calibrated
    from .calibration import ElasticNet as ElasticNet
    from .calibration import HardImpute as HardImpute
    from .calibration import Lasso as Lasso
    from .calibration import NeuralNet as NeuralNet
    from .calibration import Ridge as Ridge
    from .calibration import Settings as Settings
    from .calibration import SoftImpute as SoftImpute
    from .calibration import SyntheticControl as SyntheticControl
    from .calibration import SyntheticIntervention as SyntheticIntervention
    from .calibration import SyntheticPrior as SyntheticPrior
    from .calibration import calibrate_question as calibrate_question
    from .calibration import calibrate_user as calibrate_user
    from .calibration import preset as preset
    from .estimation import estimate_questions as estimate_questions
    from .estimation import estimate_users as estimate_users
    from .evaluation import HoldOut as HoldOut
    from .evaluation import leave_one_question_out as leave_one_question_out
    from .evaluation import leave_one_user_out as leave_one_user_out
    from .panel import Panel as Panel
    from .saving import load as load
    from .saving import save as save

from .version import __version__ as __version__

_ROOM = {
    "calibration": (
        "AlternatingLeastSquares",
        "Calibrated",
        "ElasticNet",
        "HardImpute",
        "Lasso",
        "NeuralNet",
        "Ridge",
        "Settings",
        "SoftImpute",
        "SyntheticControl",
        "SyntheticIntervention",
        "SyntheticPrior",
        "calibrate_question",
        "calibrate_user",
        "preset",
    ),
    "estimation": ("estimate_questions", "estimate_users"),
    "evaluation": ("HoldOut", "leave_one_question_out", "leave_one_user_out"),
    "panel": ("Panel",),
    "saving": ("load", "save"),
}
_HOME = {name: room for room, names in _ROOM.items() for name in names}
_MODULES = (
    "calibration",
    "datasets",
    "diagnostics",
    "distribution",
    "estimation",
    "evaluation",
    "fidelity",
    "inference",
    "panel",
    "plots",
    "preferences",
    "report",
    "respond",
    "saving",
    "schema",
    "solvers",
    "tables",
    "workflows",
)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    elif name in _MODULES:
        value = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*_HOME, *_MODULES, *(name for name in globals() if name.startswith("__"))})
