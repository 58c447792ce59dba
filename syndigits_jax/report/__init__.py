"""Reports: sentences, tables and figures, with the numbers behind them, written to files."""

from .contents import Claim as Claim
from .contents import Column as Column
from .contents import Contents as Contents
from .contents import Figure as Figure
from .contents import Section as Section
from .contents import Table as Table
from .document import Report as Report
from .html import to_html as to_html
from .markdown import to_markdown as to_markdown
from .record import to_json as to_json
from .text import to_text as to_text
from .write import FORMATS as FORMATS
from .write import write_report as write_report
