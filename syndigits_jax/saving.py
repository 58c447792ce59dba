"""Save and load what was fitted: one file, which holds numbers and text and runs no code."""

import importlib.metadata
from os import PathLike
from typing import Any

from .calibration.calibrate import Calibrated
from .calibration.calibrators import (
    AlternatingLeastSquares,
    ElasticNet,
    Fitted,
    HardImpute,
    Lasso,
    NeuralNet,
    Ridge,
    SoftImpute,
    SyntheticControl,
    SyntheticIntervention,
    SyntheticPrior,
)
from .calibration.settings import FewShot, Fitting, Imputation, NewUsers, Preparation, Settings
from .distribution.answers import Answers
from .distribution.certified import Fit, Penalties
from .distribution.cross_validation import Blend
from .distribution.ensemble import Ensemble, EnsembleWeights, Spec
from .distribution.objective import (
    CdfL1,
    CdfL2,
    ChiSquare,
    Hellinger,
    KolmogorovSmirnov,
    KullbackLeibler,
    TotalVariation,
)
from .distribution.targets import Targets
from .estimation.components import WeightedPanel
from .estimation.levels import Levels, Line, QuestionTable
from .estimation.person_intervals import Judged, PersonIntervals
from .estimation.question_draws import DrawSource
from .estimation.questions import Problem
from .estimation.questions import Scale as EstimationScale
from .estimation.results import Estimates, Expected
from .estimation.share_intervals import KnownShares
from .estimation.stack import FoldMoments
from .estimation.units import AnswerUnits
from .evaluation.adaptive import AdaptiveChoice, AdaptiveCurve, AdaptiveTransfer, UncertaintyRule
from .evaluation.few_shot import FewShotCurve
from .evaluation.gate import TwinGain
from .evaluation.holdout_result import HoldOut
from .evaluation.metrics import Summary
from .evaluation.probability_calibration import Scaling
from .evaluation.reliability_diagram import Reliability
from .evaluation.repeatability import Retest, SplitHalf
from .evaluation.threshold import ThresholdChoice
from .evaluation.tuning import Choice
from .inference.conformal import Interval
from .inference.resampling import BootstrapResult, PermutationResult
from .panel.arrays import PanelArrays, Responses
from .panel.panel import Panel
from .preferences.encoder import PreferenceEncoder, ScoreGram
from .preferences.placement import Placement
from .preferences.rankers import Factorisation, FactorisationSettings
from .preferences.training import TrainedEncoder
from .report.document import Claim, Column, Figure, Report, Section, Table
from .results.objects import Classes, read_object, write_object
from .schema import Option, Persona, Question, Scale
from .solvers.completion import Completion
from .solvers.kmeans import Clusters
from .solvers.linear_model import LinearModel
from .solvers.low_rank import Factors
from .solvers.mlp import MLP
from .solvers.solution import Solution, Status

_ROOMS: dict[str, tuple[type, ...]] = {
    "calibration": (
        Ridge, ElasticNet, Lasso, NeuralNet, SyntheticControl, SyntheticIntervention, HardImpute,
        SoftImpute, AlternatingLeastSquares, SyntheticPrior, Fitted, Calibrated, Settings,
        Imputation, Preparation, NewUsers, Fitting, FewShot,
    ),
    "distribution": (
        Answers, Fit, Penalties, Blend, Ensemble, EnsembleWeights, Spec, Targets, TotalVariation,
        ChiSquare, KullbackLeibler, Hellinger, KolmogorovSmirnov, CdfL1, CdfL2,
    ),
    "estimation": (
        Estimates, Expected, WeightedPanel, Levels, Line, QuestionTable, PersonIntervals, Judged,
        DrawSource, Problem, EstimationScale, KnownShares, FoldMoments, AnswerUnits,
    ),
    "evaluation": (
        HoldOut, Scaling, Summary, AdaptiveCurve, AdaptiveChoice, AdaptiveTransfer, UncertaintyRule,
        Retest, SplitHalf, FewShotCurve, TwinGain, Reliability, ThresholdChoice, Choice,
    ),
    "inference": (Interval, BootstrapResult, PermutationResult),
    "panel": (Panel, PanelArrays, Responses),
    "preferences": (
        PreferenceEncoder, ScoreGram, Placement, Factorisation,
        FactorisationSettings, TrainedEncoder,
    ),
    "report": (
        Claim, Column, Figure, Report, Section,
        Table,
    ),
    "schema": (Option, Persona, Question, Scale),
    "solvers": (
        Completion, Clusters, LinearModel, Factors, MLP,
        Solution, Status,
    ),
}  # fmt: skip
"""Classes that files may hold, by room. A file has the names, so that neither may change."""


def _not_kept(axes: Any) -> None:
    raise ValueError(
        "this figure was loaded from a file, which holds its data, caption and text, but not how "
        "it is drawn; make the report again for its figures"
    )


def _classes() -> Classes:
    by_name = {f"{room}.{one.__name__}": one for room, kinds in _ROOMS.items() for one in kinds}
    left_out = {"report.Figure": {"draw": _not_kept}}
    return Classes(by_name, left_out, importlib.metadata.version("syndigits-jax"))


def save(path: str | PathLike[str], obj: Any) -> None:
    """Write what was fitted, or what it was fitted to, to one file; [`load`][] restores it.

    Calibrators and their `Settings`; calibrated answers, estimates (with what their intervals and
    draws are made of) and hold-outs; ensembles, blends, their answers and targets; encoders,
    placements and factorisations; panels; reports, of whose figures the data are kept, not how they
    are drawn; the solvers' results; arrays, numbers and text. Also dictionaries, lists and tuples
    of these, so that a result and the settings that made it stay together:
    `save("run.npz", {"settings": settings, "result": result})`. The file is a zip archive of arrays
    (`.npy`) and a JSON header with the versions; it is written whole or not at all, and equal
    objects make equal files. Types are kept, bit for bit.

    **Arguments:** `path`: of the file, of any name; `obj`: what is saved.

    **Raises:** `ValueError` for anything else, such as a class of your own; `OSError` if the file
    cannot be written.

    **Example:**

        >>> import tempfile
        >>> from pathlib import Path
        >>> from syndigits_jax import Ridge, Settings, load, save
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "method.npz"
        ...     save(path, {"method": Ridge(penalty=10.0), "settings": Settings.reference()})
        ...     stored = load(path)
        >>> print(stored["method"].penalty, stored["settings"].imputation.method)
        10.0 hard
    """
    write_object(path, obj, _classes())


def load(path: str | PathLike[str]) -> Any:
    """What [`save`][] wrote. Nothing in the file is executed.

    **Raises:** `FileNotFoundError`; [`SavedFileError`][syndigits_jax.results.objects] (a
    `ValueError`) naming the file and what is different: not a file of [`save`][], cut off, of a
    later format, with a class or a field that this version does not have, or in double precision,
    which JAX would round here. **Warns** (`SavedFileWarning`) where a file of an older version
    lacks a field that has a default.

    **Example:**

        >>> import tempfile
        >>> from pathlib import Path
        >>> from syndigits_jax import load, save
        >>> from syndigits_jax.datasets import sample_panel
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "panel.npz"
        ...     save(path, sample_panel())
        ...     print(load(path).n)
        200
    """
    return read_object(path, _classes())
