"""Progress of a long computation, reported to a callback."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Unit `unit` of `units` (from 0) has `done` of its `total` steps.

    `label`: name of the unit; `resumed`: whether it was finished before; `counted`: what is
    counted, for display.
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
"""A context to enter, with a text to show, while a step of unknown length runs."""


def no_step(text: str) -> AbstractContextManager[None]:
    """An [`OnStep`][] that shows nothing."""
    return contextlib.nullcontext()
