"""A nested hold-out as a table of predictions, beside the controls."""

from ..evaluation.controls import controls
from ..evaluation.holdout_result import HoldOut
from .components import COMPONENTS
from .questions import Nested
from .targets import AUTO


def held_out(run: Nested, components: bool = True) -> HoldOut:
    """The estimate of every known question beside the controls, in units of the answers.

    **Arguments:** `run`: the nested hold-out; `components`: whether each component alone is there.
    """
    problem = run.problem
    known, panel = problem.known, problem.given
    plain = {AUTO: run.prediction}
    if components:
        plain |= {name: run.alone(c) for c, name in enumerate(COMPONENTS)}
    found = {name: problem.units.original(values.T, known).T for name, values in plain.items()}
    return HoldOut(
        direction="question",
        panel=panel,
        targets=known,
        truth=panel.human[:, known].T,
        predictions={**controls(panel, known, "question"), **found},
        status={AUTO: run.moments.status},
        imputation_status={AUTO: run.moments.imputation_status},
    )
