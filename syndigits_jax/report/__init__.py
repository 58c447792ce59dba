"""Reports: sentences, tables and figures with their numbers and sources, and their files."""

from .document import Claim as Claim
from .document import Column as Column
from .document import Figure as Figure
from .document import Report as Report
from .document import Section as Section
from .document import Table as Table
