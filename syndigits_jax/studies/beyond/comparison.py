"""Tables of the study for printing, and what they show in words, from its records."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from syndigits_jax.estimation import AUTO
from syndigits_jax.results.format import with_error
from syndigits_jax.results.names import METHODS
from syndigits_jax.results.records import Record
from syndigits_jax.studies.beyond.summaries import HIGHER_IS_BETTER, METRICS, TABLE, less
from syndigits_jax.studies.beyond.units import ALONE, KNOWN_BATTERY, NEW_SURVEY, NEW_USERS, Unit

TWINS = "Baseline"
_PAPER_TABLES = ("table2", "table4", "table5")
_QUARTER = 0.75

TITLES = {
    "pearson": "correlation",
    "pearson_fisher_z": "Fisher-z mean",
    "mse_over_range2": "squared error / range²",
    "mean_rmse_over_range": "error of the mean / range",
}


@dataclass(frozen=True)
class Cell:
    """A number, its standard error, and of which prediction it is where that was chosen."""

    mean: float | None
    se: float | None
    name: str = ""


@dataclass(frozen=True)
class Row:
    """One metric of one hold-out; `None` where there is no such number.

    - `controls`: by name. `published`: the paper's best method. `alone`: the best method of ours.
      `auto`: the estimator. `lead`: `auto` less the best control, paired.
    - `twins_lead`: `auto` less the twins, paired.
    """

    metric: str
    controls: dict[str, Cell]
    published: Cell | None
    alone: Cell | None
    auto: Cell
    lead: Cell
    twins_lead: Cell

    def better(self, difference: float) -> bool:
        """Whether `difference`, from `auto` less another number, is in the estimator's favour."""
        return difference > 0 if self.metric in HIGHER_IS_BETTER else difference < 0


@dataclass(frozen=True)
class Table:
    """All metrics of one hold-out, its number of targets, and the share of fits that converged."""

    unit: Unit
    count: int
    rows: tuple[Row, ...]
    converged: float


def tables(records: Sequence[Record]) -> list[Table]:
    """The study's tables, in the order of its records.

    Records of `table2`, `table4` and `table5` in the `default` setting are candidates for the best
    single method, where they are of the same people and the same kind of hold-out.
    """
    mine = [r for r in records if r.table == TABLE]
    units = dict.fromkeys(Unit(r.dataset, r.construction, r.setting) for r in mine)
    others = [
        r for r in records
        if r.table in _PAPER_TABLES and r.setting == "default" and r.method in METHODS
    ]  # fmt: skip
    return [_table(unit, mine, others) for unit in units]


def _table(unit: Unit, mine: Sequence[Record], others: Sequence[Record]) -> Table:
    place = unit.dataset, unit.construction, unit.direction
    own = [r for r in mine if (r.dataset, r.construction, r.setting) == (*place[:2], unit.setting)]
    found = {(r.method, r.metric): r for r in own}
    names = dict.fromkeys(r.method for r in own if r.mean is not None)
    trivial = [name for name in names if name != AUTO and not name.endswith(ALONE)]
    single = {
        metric: [found[name, metric] for name in names if name.endswith(ALONE)]
        for metric in METRICS
    }
    if unit.setting != NEW_SURVEY:
        for r in others:
            if (r.dataset, r.construction, r.direction) == place and r.metric in single:
                single[r.metric].append(r)
    printed = next((r for r in own if r.paper_mean is not None), None)
    rows = []
    for metric in METRICS:
        best = _best(metric, [found[name, metric] for name in trivial])
        alone = _best(metric, single[metric])
        published = None
        if printed is not None and metric == printed.metric:
            published = Cell(printed.paper_mean, printed.paper_se, printed.method)
        rows.append(
            Row(
                metric,
                {name: _cell(found[name, metric]) for name in trivial},
                published,
                None if alone is None else _cell(alone, alone.method.removesuffix(ALONE)),
                _cell(found[AUTO, metric]),
                _lead(found, metric, None if best is None else best.method),
                _lead(found, metric, TWINS),
            )
        )
    converged = found[AUTO, "converged"].mean
    count = found[AUTO, "pearson"].count
    return Table(unit, count, tuple(rows), 0.0 if converged is None else converged)


def _lead(found: Mapping[tuple[str, str], Record], metric: str, name: str | None) -> Cell:
    record = None if name is None else found.get((AUTO, less(metric, name)))
    return Cell(None, None) if record is None or name is None else _cell(record, name)


def _cell(record: Record, name: str = "") -> Cell:
    return Cell(record.mean, record.se, name)


def _best(metric: str, candidates: Iterable[Record]) -> Record | None:
    known = [r for r in candidates if r.mean is not None]
    sign = 1 if metric in HIGHER_IS_BETTER else -1
    return max(known, key=lambda r: sign * (r.mean or 0), default=None)


def findings(made: Sequence[Table]) -> list[str]:
    """What the tables show: how often the estimator is ahead, and every number where it is not."""
    said = []
    for setting in (KNOWN_BATTERY, NEW_SURVEY, NEW_USERS):
        some = [table for table in made if table.unit.setting == setting]
        if some:
            said += _findings(setting, some)
    return said


def _findings(setting: str, made: Sequence[Table]) -> Iterator[str]:
    behind = []
    for i, metric in enumerate(METRICS):
        ahead = clearly = 0
        for table in made:
            lead = table.rows[i].lead
            if lead.mean is None:
                continue
            clear = lead.se is not None and abs(lead.mean) > 2 * lead.se
            better = table.rows[i].better(lead.mean)
            ahead += better
            clearly += better and clear
            if not better:
                by = with_error(lead.mean, lead.se, 4)
                behind.append(f"{table.unit.where}, {TITLES[metric]}: {lead.name}, by {by}")
        yield (
            f"{setting}, {TITLES[metric]}: auto is ahead of the best control in {ahead} of "
            f"{len(made)} panels, in {clearly} by more than two standard errors."
        )
    yield from _hindsight_finding(setting, made, "the paper's best method", lambda r: r.published)
    yield from _hindsight_finding(setting, made, "the best single method", lambda r: r.alone)
    if setting != NEW_USERS:
        yield _mean_finding(setting, made)
    if behind:
        yield f"{setting}, where a control is ahead of auto: {'; '.join(behind)}."


def _hindsight_finding(
    setting: str, made: Sequence[Table], what: str, chosen: Callable[[Row], Cell | None]
) -> Iterator[str]:
    """In how many panels the correlation is above that of a method chosen in hindsight."""
    short, count = [], 0
    for table in made:
        row = next(row for row in table.rows if row.metric == "pearson")
        cell = chosen(row)
        if cell is None or cell.mean is None:
            continue
        count += 1
        if row.auto.mean is None or row.auto.mean <= cell.mean:
            ours, theirs = (with_error(c.mean, c.se, 4) for c in (row.auto, cell))
            short.append(f"{table.unit.where} ({ours}; {cell.name} {theirs})")
    if count:
        yield (
            f"{setting}, correlation: auto is ahead of {what} in {count - len(short)} of {count} "
            "panels" + (f"; not in {', '.join(short)}." if short else ".")
        )


def _mean_finding(setting: str, made: Sequence[Table]) -> str:
    shares, clearly = [], 0
    for table in made:
        row = next(row for row in table.rows if row.metric == "mean_rmse_over_range")
        twins, lead = row.controls[TWINS].mean, row.twins_lead
        if twins and row.auto.mean is not None:
            shares.append(row.auto.mean / twins)
            lower = lead.mean is not None and lead.se is not None and lead.mean < -2 * lead.se
            clearly += shares[-1] <= _QUARTER and lower
    if not shares:
        return f"{setting}: the error of a question's mean is not known."
    return (
        f"{setting}: the error of a question's mean is {min(shares):.2f} to {max(shares):.2f} "
        "times the twins'; it is lower by a quarter, and by more than two standard errors, in "
        f"{clearly} of {len(made)} panels."
    )


def notes(made: Sequence[Table], with_methods: bool) -> list[str]:
    """What the tables must be read with.

    **Arguments:** `made`: the tables; `with_methods`: whether records of the ten methods are among
    the candidates for the best single method.
    """
    said = [
        "Standard errors leave out one block in turn: questions of Twin-2K-500 are grouped by the "
        "battery that their names number, films and people stand alone. The best control is that "
        "of each row, in hindsight, and the difference from it is paired.",
        "The paper's numbers leave out one question or person at a time; here a tenth of the "
        "questions or people, or whole blocks of questions, are left out together, which leaves "
        "less to learn from. The standard errors of recorded and printed methods take targets for "
        "independent. The paper leaves out no whole survey.",
        "The estimator was chosen on simulated panels, on MovieLens and on the construction Text "
        "Persona - GPT4.1-mini; on the other constructions it was run once.",
    ]
    constructions = len({t.unit.construction for t in made if t.unit.dataset != "movielens"})
    if constructions > 1:
        said.insert(
            0,
            f"The {constructions} constructions of Twin-2K-500 are {constructions} kinds of twins "
            "of one sample of people who answered the same questions, not as many replications: "
            "that they agree is no further evidence.",
        )
    if any(t.unit.setting == NEW_USERS for t in made):
        said.append(
            "For new users, the error of the mean is that of a person's mean answer; for new "
            "questions, that of a question's."
        )
    candidates = "the estimator's components, each alone on the same level and spread"
    if with_methods:
        candidates += (
            ", and for correlations the ten methods as recorded here, which leave out one question "
            "or a group of people at a time"
        )
    else:
        candidates += (
            "; reproduce table2, table4 and table5 in the default setting into the same folder to "
            "have the ten methods among them"
        )
    said.append(f"The best single method is that of each row, in hindsight, among {candidates}.")
    return said


def has_methods(records: Iterable[Record]) -> bool:
    """Whether there are records of the paper's tables in the default setting."""
    return any(r.table in _PAPER_TABLES and r.setting == "default" for r in records)
