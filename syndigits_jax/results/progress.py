"""How far a long computation is, told to a callback."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
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

OnStep = Callable[[str], AbstractContextManager[None]]
"""Entered with a text while something of unknown length runs."""


def no_step(text: str) -> AbstractContextManager[None]:
    """An [`OnStep`][] that shows nothing."""
    return contextlib.nullcontext()
