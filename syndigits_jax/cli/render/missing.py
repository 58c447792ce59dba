"""People and questions dropped by a join."""

from collections.abc import Mapping


def dropped_text(dropped: Mapping[str, int]) -> str:
    """The numbers of respondents and questions dropped by `--join inner`, by table, as text."""
    parts = []
    for table in ("human", "twin"):
        counts = [
            f"{count} {one}" if count == 1 else f"{count} {one}s"
            for kind, one in (("users", "respondent"), ("questions", "question"))
            if (count := dropped.get(f"{table}_{kind}", 0))
        ]
        if counts:
            parts.append(f"{' and '.join(counts)} that only {table} has")
    return f"dropped by --join inner: {', '.join(parts) or 'nothing'}"
