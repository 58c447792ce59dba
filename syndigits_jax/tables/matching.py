"""Matching of two tables by identifier."""

import warnings
from collections.abc import Sequence

from .cells import TableWarning
from .near_misses import nearly, only_in
from .responses import some


def matched(
    human: Sequence[str],
    twin: Sequence[str],
    kind: str,
    join: str,
    keep_new: bool,
    keep_argument: str,
) -> tuple[tuple[str, ...], int, int]:
    """The identifiers of a panel: those in both tables, then those of new twins if kept.

    **Arguments:** `human`, `twin`: identifiers of the two tables; `kind`: `"respondents"` or
    `"questions"`, for messages; `join`: `"error"`, or `"inner"` to drop identifiers that only one
    table has; `keep_new`: keep those that only `twin` has; `keep_argument`: the name of that
    option, for messages.

    **Returns:** the identifiers, and how many of `human` and of `twin` are dropped.

    **Raises:** `ValueError` naming a few identifiers that only one table has (`join="error"`), or
    if the tables have none in common. **Warns** (`TableWarning`) of identifiers that nearly match,
    where they are dropped.

    **Example:**

        >>> from syndigits_jax.tables.matching import matched
        >>> human, twin = ["ann", "bob"], ["bob", "eve"]
        >>> print(matched(human, twin, "respondents", "inner", False, "new_users"))
        (('bob',), 1, 1)
    """
    in_twin = set(twin)
    shared = tuple(name for name in human if name in in_twin)
    lost, new = only_in(human, twin), tuple(only_in(twin, human))
    close = nearly(lost, new)
    tail = f"; {close}" if close else ""
    if not shared:
        raise ValueError(
            f"`human` and `twin` have no {kind} in common ({some(human)} against {some(twin)})"
            + tail
        )
    if join == "error" and lost:
        raise ValueError(
            f"`twin` lacks {len(lost)} of the {len(human)} {kind} in `human` ({some(lost)}){tail}; "
            "join='inner' drops them"
        )
    if join == "error" and new and not keep_new:
        raise ValueError(
            f"`human` lacks {len(new)} of the {len(twin)} {kind} in `twin` ({some(new)}){tail}; "
            f"{keep_argument}=True keeps them as new, join='inner' drops them"
        )
    if close:
        warnings.warn(
            f"{kind} that only one table has are not matched, but {close} (`human` against "
            "`twin`); make them alike if they are the same",
            TableWarning,
            stacklevel=3,
        )
    return (shared + new, len(lost), 0) if keep_new else (shared, len(lost), len(new))
