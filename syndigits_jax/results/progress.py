"""How far a long computation is, told to a callback."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Unit `unit` of `units` (from 0) has `done` of its `total` steps.

    `resumed` says that the unit was found finished; `counted`: what is counted, for display.
    """

    unit: int
    units: int
    label: str
    done: int
    total: int
    resumed: bool = False
    counted: str = "targets"


OnProgress = Callable[[Progress], None]
