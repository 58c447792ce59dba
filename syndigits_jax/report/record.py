"""A report as `results.json`: every number in full, beside the call that computes it."""

from dataclasses import asdict
from typing import Any

from ..results.records import finite_or_none, versions
from .cells import plain
from .contents import Claim, Contents


def to_json(report: Contents) -> dict[str, Any]:
    """Every number of every claim, table and figure, in full precision, and the versions.

    **Returns:** plain data: `title`, `facts`, `summary` (names of claims), `sections` (names of
    their parts), `claims`, `tables` and `figures` by name, `notes`, `versions`. What is not finite
    is `None`. There are no dates and times: equal numbers give equal files.

    **Raises:** `ValueError` if names are repeated.

    **Example:**

        >>> from syndigits_jax.report import Claim, Report, to_json
        >>> values = {"estimate": 0.42, "lower": 0.37, "upper": 0.47}
        >>> claim = Claim("quality.correlation", "They correlate at .42.", values, level=0.95)
        >>> found = to_json(Report("Twins", {"people": 760}, (claim,), ()))
        >>> print(found["claims"]["quality.correlation"]["values"]["lower"])
        0.37
    """
    report.check()
    tables = {
        name: {
            "title": table.title,
            "note": table.note,
            "source": table.source,
            "columns": [asdict(column) for column in table.columns],
            "rows": [dict(row) for row in table.rows],
        }
        for name, table in report.tables().items()
    }
    figures = {
        name: {"title": one.title, "caption": one.caption, "alt": one.alt, "data": one.data}
        for name, one in report.figures().items()
    }
    document = {
        "versions": versions(),
        "title": report.title,
        "facts": report.facts,
        "summary": [claim.name for claim in report.summary],
        "sections": [
            {
                "name": part.name,
                "title": part.title,
                "claims": [claim.name for claim in part.claims],
                "tables": [table.name for table in part.tables],
                "figures": [figure.name for figure in part.figures],
                "notes": part.notes,
            }
            for part in report.sections
        ],
        "claims": {name: _claim(claim) for name, claim in report.claims().items()},
        "tables": tables,
        "figures": figures,
        "notes": report.notes,
    }
    return finite_or_none(plain(document))


def _claim(claim: Claim) -> dict[str, Any]:
    return {
        "text": claim.text,
        "values": dict(claim.values),
        "level": claim.level,
        "finding": claim.finding,
        "source": claim.source,
    }
