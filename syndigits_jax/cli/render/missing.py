"""What a join left out."""

from collections.abc import Mapping


def dropped_text(dropped: Mapping[str, int]) -> str:
    """How many respondents and questions `--join inner` left out, by table."""
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
