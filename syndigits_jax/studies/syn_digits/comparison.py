"""Comparison of the package's numbers with the paper's, as rows for printing."""

from collections.abc import Sequence
from dataclasses import dataclass

from syndigits_jax.results.records import Record
from syndigits_jax.studies.syn_digits.paper_values import ZERO_SHOT

_METRIC_TITLES = {"pearson_item_centred": ", correlation beyond the item means"}


@dataclass(frozen=True)
class Row:
    """One method: (mean, se) by setting in `ours`, those of the paper in `paper`, and by setting
    the `gain` over the twins in percent; all in one metric."""

    method: str
    ours: dict[str, tuple[float | None, float | None]]
    paper: tuple[float | None, float | None]
    gain: dict[str, float | None]

    def difference(self, setting: str) -> float | None:
        """Ours minus the paper's."""
        mean, paper = self.ours.get(setting, (None, None))[0], self.paper[0]
        return None if mean is None or paper is None else mean - paper


@dataclass(frozen=True)
class Block:
    """One printed table: all methods on one panel."""

    table: str
    dataset: str
    construction: str
    direction: str
    metric: str
    settings: tuple[str, ...]
    rows: tuple[Row, ...]
    unfinished: dict[str, dict[str, float]]
    """By setting and method, the share of fits that met their tolerance, if not all did."""
    unimputed: dict[str, dict[str, float]]
    """The same of the imputations before the fits."""

    @property
    def title(self) -> str:
        """The data set, the direction and the metric."""
        where = self.dataset
        if self.construction != ZERO_SHOT:
            where = f"{where}, {self.construction}"
        return f"{where}: new {self.direction}s{_METRIC_TITLES.get(self.metric, '')}"


def blocks(records: Sequence[Record], metric: str = "pearson") -> list[Block]:
    """Group records into one block per panel, methods in their order of appearance."""
    panels = dict.fromkeys(
        (r.table, r.dataset, r.construction, r.direction) for r in records if r.metric == metric
    )
    return [_block(panel, records, metric) for panel in panels]


def printed_blocks(records: Sequence[Record]) -> list[Block]:
    """Blocks of the correlation of every panel, and for new users also without the item means."""
    return [*blocks(records), *blocks(records, "pearson_item_centred")]


def largest_difference(records: Sequence[Record], setting: str = "reference") -> Record | None:
    """The record of a setting with the largest difference from the paper's mean, or None."""

    def distance(record: Record) -> float:
        if record.mean is None or record.paper_mean is None:
            return -1.0
        return abs(record.mean - record.paper_mean)

    mine = [r for r in records if r.setting == setting and r.metric == "pearson"]
    furthest = max(mine, key=distance, default=None)
    return furthest if furthest is not None and distance(furthest) >= 0 else None


def _block(panel: tuple[str, str, str, str], records: Sequence[Record], metric: str) -> Block:
    mine = [r for r in records if (r.table, r.dataset, r.construction, r.direction) == panel]
    values = {(r.method, r.setting, r.metric): r for r in mine}
    settings = tuple(dict.fromkeys(r.setting for r in mine))
    rows = []
    for method in dict.fromkeys(r.method for r in mine if r.metric == metric):
        found = {s: values[method, s, metric] for s in settings if (method, s, metric) in values}
        gains = {s: values.get((method, s, f"{metric}_gain_percent")) for s in settings}
        first = next(iter(found.values()))
        rows.append(
            Row(
                method,
                {s: (record.mean, record.se) for s, record in found.items()},
                (first.paper_mean, first.paper_se),
                {s: None if gain is None else gain.mean for s, gain in gains.items()},
            )
        )

    def unfinished(share: str) -> dict[str, dict[str, float]]:
        found = {
            s: {m: r.mean for (m, setting, name), r in values.items()
                if (setting, name) == (s, share) and r.mean is not None and r.mean < 1}
            for s in settings
        }  # fmt: skip
        return {s: shares for s, shares in found.items() if shares}

    return Block(
        *panel,
        metric=metric,
        settings=settings,
        rows=tuple(rows),
        unfinished=unfinished("converged"),
        unimputed=unfinished("imputation_converged"),
    )
