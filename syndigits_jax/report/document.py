"""A report that shows itself: in a notebook as its page, in a terminal as text."""

from dataclasses import dataclass

from .contents import Claim as Claim
from .contents import Column as Column
from .contents import Contents
from .contents import Figure as Figure
from .contents import Section as Section
from .contents import Table as Table
from .html import framed
from .text import to_text


@dataclass(frozen=True)
class Report(Contents):
    """A report: `facts` are shown at its head, by label; `summary` are the first sentences.

    `print` shows it in 80 columns, a notebook as its page.
    """

    def __str__(self) -> str:
        return to_text(self)

    def _repr_html_(self) -> str:
        return framed(self)
