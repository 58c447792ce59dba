"""Answer distributions of people beside the answers of twins: readers, and a simulator.

Longer than 400 lines: readers, with an example, and the simulator of what they read.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from ..results.keys import Key, entropy
from ..tables.cells import MissingCodes
from ..tables.frame_table import FrameTable
from ..tables.frames import is_frame
from ..tables.near_misses import hint, only_in
from ..tables.responses import some
from .syn_digits import data_root, required_file
from .tables import read_table
from .text_tables import read_json

_MOVIELENS = Path("MovieLens-20M", "distribution_calibration")
_OPINIONQA = Path("OpinionQA", "distribution_calibration")
REFUSED = "Refused"
_PUBLISHED_SEED = 42


@dataclass(frozen=True, eq=False)
class DistributionData:
    """Counts of human answers and the choices of twins, aligned by question.

    - `questions` (m), `twins` (n), `options` (K): identifiers, and the options' labels.
    - `counts`: (m, K) how many people chose each option, NaN where a question has no such option,
      and everywhere in a question that nobody was asked.
    - `choices`: (n, m) positions of the options that the twins chose, NaN where missing.
    - `values`: (K,) ascending ordinal values of the options.
    - `kept`: (m, K) which options exist and are to be compared (refusals may be dropped).
    - `assumed`, `unknown`: questions whose options are not stated, and could or could not be
      inferred: see [`load_distributions`][].
    """

    questions: tuple[str, ...]
    twins: tuple[str, ...]
    options: tuple[str, ...]
    counts: Float[np.ndarray, "m K"]
    choices: Float[np.ndarray, "n m"]
    values: Float[np.ndarray, " K"]
    kept: Bool[np.ndarray, "m K"]
    name: str = ""
    assumed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def asked(self) -> Bool[np.ndarray, " m"]:
        """Questions whose human distribution is known."""
        return np.asarray(~np.isnan(self.counts).all(axis=1))

    def take(self, positions: Sequence[int] | np.ndarray) -> "DistributionData":
        """Some of the questions."""
        where = np.asarray(positions)
        questions = tuple(self.questions[j] for j in where)
        return dataclasses.replace(
            self,
            questions=questions,
            assumed=tuple(name for name in self.assumed if name in questions),
            unknown=tuple(name for name in self.unknown if name in questions),
            counts=self.counts[where],
            choices=self.choices[:, where],
            kept=self.kept[where],
        )

    def published_split(self, share: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
        """Training and test positions of the published evaluation (legacy NumPy generator)."""
        order = np.arange(len(self.questions))
        np.random.RandomState(_PUBLISHED_SEED).shuffle(order)
        cut = int(share * len(order))
        return order[:cut], order[cut:]


def load_movielens_distributions(data_dir: str | PathLike[str]) -> DistributionData:
    """MovieLens-20M: rating counts of 500 films in ten steps, ratings of 2,058 twins.

    The two published tables name films differently; their rows are matched by the films' mean
    rating, which both hold and which is unique.

    **Raises:** `FileNotFoundError` naming the missing file and where the data come from;
    `ValueError` if the tables do not match; `ImportError` without pandas.
    """
    folder = data_root(data_dir, _MOVIELENS) / _MOVIELENS
    films = read_table(required_file(folder / "top_movies_df.csv"), numeric=False)
    twins = read_table(required_file(folder / "persona_ratings.csv"), numeric=False)
    values = np.arange(1, 11) / 2
    try:
        counts = films[[f"{v:.1f}" for v in values]].to_numpy(float)
        column, row = films["avg_rating"].to_numpy(float), twins["avg_rating"].to_numpy(float)
        answers = twins.drop(columns="avg_rating").to_numpy(float).T
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder}: not the published tables of films ({error})") from error
    order = {round(x, 9): i for i, x in enumerate(row)}
    if len(order) < len(row) or sorted(round(x, 9) for x in column) != sorted(order):
        raise ValueError(f"{folder}: films and ratings cannot be matched by their mean rating")
    where = [order[round(x, 9)] for x in column]
    return _build(
        questions=[str(title) for title in films.index],
        twins=[str(name) for name in twins.columns if name != "avg_rating"],
        options=[f"{v:g}" for v in values],
        counts=counts,
        answers=answers[:, where],
        values=values,
        name="movielens",
    )


def load_opinionqa(data_dir: str | PathLike[str], *, drop_refused: bool = True) -> DistributionData:
    """OpinionQA: 489 questions with five options, the last of which is "Refused"; 2,058 twins.

    `drop_refused`: compare the other four options only, as `kept` shows, since a refusal has no
    rank among them. The published tables keep it and rank it highest.

    **Raises:** `FileNotFoundError`, `ValueError`, `ImportError` as the other readers.
    """
    folder = data_root(data_dir, _OPINIONQA) / _OPINIONQA
    path = required_file(folder / "Qs_likert_scale_5_choices.json")
    twins = read_table(required_file(folder / "persona_answers.csv"), numeric=False)
    try:
        catalogue = read_json(path)
        rows = {
            name: [float(entry["choice_counts"].get(str(k), 0)) for k in range(1, 6)]
            for name, entry in catalogue.items()
        }
        labels = np.array([catalogue[name]["choices"] for name in twins.index])
        refused = (labels == REFUSED) & np.ones(5, bool)
        counts = np.array([rows[name] for name in twins.index])
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path}: not the catalogue of questions ({error})") from error
    try:
        answers = twins.to_numpy(float).T
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / 'persona_answers.csv'}: not answers ({error})") from error
    return _build(
        questions=[str(name) for name in twins.index],
        twins=[str(name) for name in twins.columns],
        options=["1", "2", "3", "4", "5"],
        counts=counts,
        answers=answers,
        values=np.arange(1.0, 6.0),
        kept=~refused if drop_refused else None,
        name="opinionqa",
    )


def load_distributions(
    targets: str | PathLike[str] | Any,
    twins: str | PathLike[str] | Any,
    *,
    new_options: Mapping[str, Sequence[str]] | None = None,
    missing: str | Iterable[Any] = (),
) -> DistributionData:
    """Your own files: a table of option counts, and one of the twins' answers.

    Both are paths, or data frames with the first column as the index, if they have one.

    `targets` has a row per question and a column per option, named by the option's value (1, 2, 3);
    a blank cell is an option that the question does not have. `twins` has a row per twin and a
    column per question, cells being values of options, blank where missing. Questions are matched
    by identifier; those without any count, and those that only the twins answered, are the new
    questions, which are to be predicted. `missing`: codes of a missing answer of a twin, as in
    [`read_table`][]; they do not apply to counts.

    New questions have the options that `new_options` lists for them. One that it does not list
    gets the options of the questions with counts, if all of these have the same. Otherwise its
    options are chosen among the sets that questions with counts have: if just one set holds all
    that the twins chose, it is taken, and the question is listed in `assumed`; if not, `kept` has
    all options, and the question is listed in `unknown`.

    **Raises:** `ValueError` naming the table, for cells that are not numbers, counts that are
    negative or all zero, answers that are no option of their question, no twins, or questions
    that no twin answered; else as [`read_table`][].

    **Example:**

        >>> import tempfile
        >>> from pathlib import Path
        >>> import pandas as pd
        >>> from syndigits_jax.datasets import load_distributions
        >>> counts = pd.DataFrame({"1": [30, 5], "2": [10, 35]}, index=["q1", "q2"])
        >>> twins = pd.DataFrame({"q1": [1, 2], "q2": [2, 2], "q3": [1, 2]}, index=["t1", "t2"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     paths = Path(folder) / "counts.csv", Path(folder) / "twins.csv"
        ...     counts.to_csv(paths[0])
        ...     twins.to_csv(paths[1])
        ...     data = load_distributions(*paths)
        >>> print(data.questions, data.asked, data.choices.tolist())
        ('q1', 'q2', 'q3') [ True  True False] [[0.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    """
    codes = MissingCodes.of(missing)
    counts, answers = (
        FrameTable.read(
            table if is_frame(table) else read_table(table, numeric=False), name, None, c
        )
        for table, name, c in ((targets, "targets", None), (twins, "twins", codes))
    )
    codes.warn_unmet("`twins`")
    for table in (counts, answers):
        if not table.users:
            raise ValueError(f"{table.argument}: the table has no rows")
    values = _option_values(counts.questions)
    order = np.argsort(values)
    options = [counts.questions[i] for i in order]
    lost = only_in(counts.users, answers.questions)
    new = only_in(answers.questions, counts.users)
    if lost:
        raise ValueError(
            f"twins: no answers to {len(lost)} questions of targets ({some(lost)})"
            + hint(lost, new)
        )
    questions = [*counts.users, *new]
    given = answers.at(answers.users, questions)
    empty = [name for name, column in zip(questions, given.T) if np.isnan(column).all()]
    if empty:
        raise ValueError(f"twins: none of them answers {len(empty)} questions ({some(empty)})")
    cells = counts.at(questions, options)
    kept = ~np.isnan(cells)
    new = np.asarray(~kept.any(axis=1))
    sets = np.unique(kept[~new], axis=0)
    kept[new] = True
    listed = [_new_question(name, questions, new) for name in new_options or {}]
    for j, (name, its_own) in zip(listed, (new_options or {}).items()):
        kept[j] = _among(its_own, options, values[order], name)
    data = _build(
        questions=questions,
        twins=list(answers.users),
        options=options,
        counts=cells,
        answers=given,
        values=values[order],
        kept=kept,
        name="" if is_frame(targets) else Path(targets).stem,
    )
    if len(sets):
        data = _inferred(data, sets, np.setdiff1d(np.flatnonzero(new), listed))
    chosen = np.nan_to_num(data.choices).astype(int)
    _refuse(data, given, ~np.isnan(given) & ~data.kept[np.arange(len(questions)), chosen])
    return data


def _new_question(name: str, questions: Sequence[str], new: np.ndarray) -> int:
    if name not in questions or not new[questions.index(name)]:
        predicted = [question for question, is_new in zip(questions, new) if is_new]
        raise ValueError(
            f"new_options: {name!r} is none of the questions to predict ({some(predicted)})"
        )
    return questions.index(name)


def _inferred(
    data: DistributionData, sets: Bool[np.ndarray, "s K"], questions: np.ndarray
) -> DistributionData:
    """`data` with the options of new `questions`, from the `sets` of options of the others."""
    if len(sets) == 1:
        data.kept[questions] = sets[0]
        return data
    assumed, unknown = [], []
    for j in questions:
        chosen = data.choices[:, j][~np.isnan(data.choices[:, j])].astype(int)
        possible = sets[sets[:, chosen].all(axis=1)]
        (assumed if len(possible) == 1 else unknown).append(data.questions[j])
        if len(possible) == 1:
            data.kept[j] = possible[0]
    return dataclasses.replace(data, assumed=tuple(assumed), unknown=tuple(unknown))


def _among(its_own: Sequence[str], options: Sequence[str], values: np.ndarray, name: str):
    """Which of the `options` (K,) are named, as they stand or by their value."""
    wanted = _option_values(its_own, f"new_options: {name!r}")
    unknown = [option for option, value in zip(its_own, wanted) if value not in values]
    if unknown:
        raise ValueError(
            f"new_options: {name!r} cannot have {some(unknown)}, the options of targets are "
            f"{', '.join(options)}"
        )
    return np.isin(values, wanted)


def _option_values(options: Sequence[str], argument: str = "targets") -> np.ndarray:
    try:
        values = np.array([float(option) for option in options])
    except ValueError:
        values = np.array([np.nan])
    if not np.isfinite(values).all():
        raise ValueError(
            f"{argument}: options must be named by their values, such as 1, 2, 3; got "
            f"{some(list(options))}"
        )
    if len(values) < 2 or len(np.unique(values)) < len(values):
        raise ValueError(
            f"{argument}: needs at least two options with different values; got "
            f"{some(list(options))}"
        )
    return values


def _build(*, questions, twins, options, counts, answers, values, name, kept=None):
    position = np.searchsorted(values, answers).clip(0, len(values) - 1).astype(float)
    known = ~np.isnan(answers)
    total = np.nansum(counts, axis=1)
    negative = (np.nan_to_num(counts) < 0).any(axis=1)
    nobody = (total == 0) & ~np.isnan(counts).all(axis=1)
    for wrong, what in ((negative, "a negative count for"), (nobody, "nobody is counted in")):
        if wrong.any():
            raise ValueError(f"targets: {what} question {questions[int(np.argmax(wrong))]!r}")
    data = DistributionData(
        tuple(questions),
        tuple(twins),
        tuple(options),
        counts,
        np.where(known, position, np.nan),
        values,
        np.ones(counts.shape, bool) if kept is None else kept,
        name,
    )
    _refuse(data, answers, known & (values[position.astype(int)] != answers))
    return data


def _refuse(data: DistributionData, answers: np.ndarray, wrong: np.ndarray) -> None:
    """**Raises:** `ValueError` naming the first of the answers that are `wrong`, if any."""
    if wrong.any():
        i, j = np.argwhere(wrong)[0]
        options = ", ".join(o for o, here in zip(data.options, data.kept[j]) if here)
        raise ValueError(
            f"twins: {data.twins[i]!r} answers {answers[i, j]:g} to {data.questions[j]!r}, which "
            f"is none of the options {options}"
        )


@dataclass(frozen=True, eq=False)
class DistributionTruth:
    """The truth behind simulated distributions: `shares` (m, K) of the whole human population,
    `probabilities` (n, m, K) of every twin, `coefficients` (m - 1,) of the last question, and
    `ratio`, the largest weight of a twin type among humans over that among twins.
    """

    shares: Float[np.ndarray, "m K"]
    probabilities: Float[np.ndarray, "n m K"]
    coefficients: Float[np.ndarray, " p"]
    ratio: float


def simulate_distributions(
    twins: int = 300,
    questions: int = 40,
    options: int = 5,
    *,
    key: Key = 0,
    types: int = 12,
    ratio: float = 3.0,
    spread: float = 1.0,
    sample: int | None = None,
) -> tuple[DistributionData, DistributionTruth]:
    """People and twins under Assumptions 7.1 to 7.3 of the paper, with known truth.

    Both populations consist of the same types in different proportions. The last question is a
    convex combination of the others.

    **Arguments:** `twins`, `questions`, `options`, `types`: their numbers; `key`: a JAX random key
    or an integer; `ratio`: the largest share of a type among humans over that among twins;
    `spread`: how much the types' answers differ; `sample`: how many people answer each question, in
    which case `counts` are counts; by default they are the shares of the whole population.

    **Raises:** `ValueError` for sizes or a ratio below their minimum.
    """
    if min(twins, options - 1, types - 1) < 1 or questions < 3 or not 1 <= ratio < np.inf:
        raise ValueError(
            "`twins` must be positive, `options` and `types` at least 2, `questions` at least 3, "
            f"`ratio` finite and at least 1; got {twins}, {options}, {types}, {questions}, {ratio}"
        )
    if not 0 < spread < np.inf or (sample is not None and sample < 1):
        raise ValueError(
            f"`spread` must be positive and finite, and `sample` positive, got {spread} and "
            f"{sample}"
        )
    rng = np.random.default_rng(entropy(key))
    rows = rng.dirichlet(np.full(options, 1 / spread), (types, questions - 1))
    coefficients = rng.dirichlet(np.ones(questions - 1))
    last = np.tensordot(rows, coefficients, (1, 0))[:, None]
    rows = np.concatenate([rows, last], axis=1)
    twin_share = rng.dirichlet(np.full(types, 5.0))
    tilt = rng.uniform(0, 1, types)
    human_share = twin_share * tilt / (twin_share @ tilt)
    # Mixed with the twins' own proportions until no type is over-represented by more than `ratio`.
    excess = float((human_share / twin_share).max())
    mix = min(1.0, (ratio - 1) / (excess - 1)) if excess > ratio else 1.0
    human_share = mix * human_share + (1 - mix) * twin_share
    kind = rng.choice(types, twins, p=twin_share)
    probabilities = rows[kind]
    shares = np.tensordot(human_share, rows, 1)
    counts = shares
    if sample is not None:
        counts = np.stack([rng.multinomial(sample, p / p.sum()) for p in shares]).astype(float)
    uniform = rng.random((twins, questions, 1))
    choices = (uniform > np.cumsum(probabilities, axis=2)[:, :, :-1]).sum(axis=2)
    data = _build(
        questions=[f"q{j}" for j in range(questions)],
        twins=[f"t{i}" for i in range(twins)],
        options=[str(k + 1) for k in range(options)],
        counts=counts,
        answers=choices + 1.0,
        values=np.arange(1.0, options + 1),
        name="simulated",
    )
    truth = DistributionTruth(
        shares, probabilities, coefficients, float((human_share / twin_share).max())
    )
    return data, truth
