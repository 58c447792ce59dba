"""From stored responses to arrays, tables and panels."""

import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._files import replacing
from .._frames import import_pandas
from ..panel import Panel
from .outcomes import NO_MASS
from .store import Grid, ResponseStore, Run, reading

StoreLike = ResponseStore | str | os.PathLike[str]
_CHUNK = 100_000  # rows read at a time


class ResponseTensor(eqx.Module):
    """How n personas answered m questions of at most k options, as arrays for `jit`.

    **Arguments:**

    - `probabilities`: of each option given that the persona answers, over all draws and orders;
      sums to 1 where `mask`, else 0. Answers that were chosen, drawn or parsed count as shares.
    - `mask`: whether there is an answer.
    - `option_mask`: which options a question has. A refusal is none of them.
    - `values`: the number that an option stands for, 0 where there is none.
    - `refused`: the share or probability of the refusal; 0 where nothing was asked.
    - `outside`: the mean probability of anything but an answer, 0 where it was not read.
    """

    probabilities: Float[Array, "n m k"]
    mask: Bool[Array, "n m"]
    option_mask: Bool[Array, "m k"]
    values: Float[Array, "m k"]
    refused: Float[Array, "n m"]
    outside: Float[Array, "n m"]


@dataclass(frozen=True, eq=False)
class ResponseTable:
    """A tensor and what its axes mean: identifiers of personas and questions, labels of options
    (per question), and the run it is of."""

    tensor: ResponseTensor
    personas: tuple[str, ...]
    questions: tuple[str, ...]
    options: tuple[tuple[str, ...], ...]
    run: Run

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all of it to an `.npz` file, whole or not at all.

        **Raises:** `ValueError` for another suffix.
        """
        if not str(path).endswith(".npz"):
            raise ValueError(f"{path}: a tensor is written to a file that ends in .npz")
        width = self.tensor.values.shape[1]
        labels = [[*names, *[""] * (width - len(names))] for names in self.options]
        names = [field.name for field in dataclasses.fields(ResponseTensor)]
        arrays: dict[str, Any] = {name: np.asarray(getattr(self.tensor, name)) for name in names}
        arrays |= {"personas": np.array(self.personas), "questions": np.array(self.questions)}
        arrays |= {"options": np.array(labels), "run": np.array(str(self.run))}
        with replacing(path) as temporary:
            np.savez_compressed(temporary, **arrays)


def choose_run(store: ResponseStore, run: int | str | None = None) -> Run:
    """The run that is meant.

    **Arguments:** `run`: its number, or words (of the template, model or settings) that are in the
    description of one run only; may be left out where there is but one.

    **Raises:** `ValueError` listing all runs, unless exactly one is meant.
    """
    runs = store.runs()
    if not runs:
        raise ValueError(f"{store.path}: nothing was asked yet")
    found = list(runs)
    if run is not None:
        text = str(run)
        found = [one for one in runs if text == str(one.id)]
        if not text.isdigit():
            found = [one for one in runs if all(word in str(one) for word in text.split())]
    if len(found) == 1:
        return found[0]
    listed = "; ".join(f"{one.id}: {one}" for one in runs)
    wanted = "choose one" if run is None else f"{run!r} is {len(found)} of them"
    raise ValueError(f"{store.path}: `run`: the store has {len(runs)} runs, {wanted}: {listed}")


def read_tensor(
    store: StoreLike, run: int | str | None = None, *, everything: bool = False, dtype: Any = None
) -> ResponseTable:
    """The responses of a run as a tensor (persona, question, option).

    Its axes are the personas and questions of the latest call that asked them, in that order;
    what has no response yet is masked. Answers to questions without options, and parsed numbers
    that are none of the options, are in [`read_frame`][] only.

    **Arguments:** `run`: as in [`choose_run`][]. `everything`: all personas and questions that
    were ever asked in the run. `dtype`: JAX's default float by default.

    **Raises:** `ValueError` as `choose_run` does, or if nothing was asked or no question has
    options; what
    [`ResponseStore`][] raises.
    """
    with reading(store) as opened:
        cells = _Cells(opened, choose_run(opened, run), everything)
    if not cells.width:
        raise ValueError(f"{cells.run}: no question has answer options; make a table instead")
    dtype = jnp.result_type(float) if dtype is None else jnp.dtype(dtype)
    probabilities, mask = cells.distributions()
    tensor = ResponseTensor(
        probabilities=jnp.asarray(probabilities, dtype),
        mask=jnp.asarray(mask),
        option_mask=jnp.asarray(cells.option_mask),
        values=jnp.asarray(cells.option_values, dtype),
        refused=jnp.asarray(cells.refused(), dtype),
        outside=jnp.asarray(cells.outside(), dtype),
    )
    return ResponseTable(tensor, cells.personas, cells.identifiers, cells.labels, cells.run)


def read_frame(store: StoreLike, run: int | str | None = None, *, everything: bool = False) -> Any:
    """The responses of a run as a pandas data frame of values: personas x questions.

    A cell is the mean over draws, orders and, where probabilities were read, options, refusals
    aside; for nominal questions the most frequent or probable option, the first of several. NaN is
    missing, refused, or unparsed.

    **Arguments** and **raises:** as [`read_tensor`][]; `ImportError` without pandas.
    """
    pd = import_pandas()
    with reading(store) as opened:
        cells = _Cells(opened, choose_run(opened, run), everything)
    frame = pd.DataFrame(
        cells.values(),
        index=pd.Index(cells.personas, name="persona", dtype=object),
        columns=pd.Index(cells.identifiers, dtype=object),
    )
    return frame


def read_records(store: StoreLike, run: int | str | None = None) -> Any:
    """Every response as a row of a pandas data frame, with all that is known of it.

    **Arguments:** `run`: as in [`choose_run`][]; all runs by default. `probabilities` is a list,
    in the order of the question's answers.

    **Raises:** `ValueError` as `choose_run` does; what [`ResponseStore`][] raises; `ImportError`
    without pandas.
    """
    pd = import_pandas()
    query = (
        "SELECT runs.id AS run, personas.identifier AS persona, questions.identifier AS question, "
        "shown, draw, text, value, status, probabilities, outside, finish_reason, prompt_tokens, "
        "completion_tokens, cached_tokens, time, template, template_version, template_hash, model, "
        "settings, engine, engine_version, package_version FROM responses "
        "JOIN runs ON runs.id = responses.run JOIN personas ON personas.id = persona "
        "JOIN questions ON questions.id = question JOIN sessions ON sessions.id = session "
    )
    names = [part.split()[-1].split(".")[-1] for part in query[7 : query.index(" FROM")].split(",")]
    with reading(store) as opened:
        if run is None:
            rows = list(opened.rows(query))
        else:
            where = query + "WHERE runs.id = ?"
            rows = list(opened.rows(where, (choose_run(opened, run).id,)))
    frame = pd.DataFrame(rows, columns=names)
    frame["time"] = pd.to_datetime(frame["time"].astype(float), unit="s", utc=True)
    for name in ("value", "outside"):
        frame[name] = frame[name].astype(float)
    frame["probabilities"] = [
        None if blob is None else np.frombuffer(blob, "<f4").tolist()
        for blob in frame["probabilities"]
    ]
    return frame


def read_ratings(
    store: StoreLike, run: int | str | None = None, *, everything: bool = False
) -> Any:
    """The values of a run as a long table, a row per persona and item that was rated.

    A pandas data frame with the columns persona, item and rating and, where personas have such
    attributes, seed (the real user it was made from) and condition: what `syndigits fidelity`
    takes.

    **Arguments** and **raises:** as [`read_frame`][].
    """
    pd = import_pandas()
    with reading(store) as opened:
        cells = _Cells(opened, choose_run(opened, run), everything)
    values = cells.values()
    i, j = np.nonzero(~np.isnan(values))
    columns: dict[str, Any] = {
        "persona": np.array(cells.personas, object)[i],
        "item": np.array(cells.identifiers, object)[j],
        "rating": values[i, j],
    }
    for name in ("seed", "condition"):
        of = [attributes.get(name) for attributes in cells.attributes]
        if any(value is not None for value in of):
            columns[name] = np.array(of, object)[i]
    return pd.DataFrame(columns)


def to_panel(
    store: StoreLike,
    human: Any,
    run: int | str | None = None,
    *,
    everything: bool = False,
    join: str = "error",
    new_questions: bool = False,
    new_users: bool = False,
    name: str = "",
    missing: str | Iterable[Any] = (),
) -> Panel:
    """The responses of a run beside human answers, aligned by identifier, as a panel.

    The ranges are those of the questions' scales; human answers that are a question's refusal code
    become missing.

    **Arguments:** `human`: a pandas data frame, or the path of a table as
    [`read_table`][syndigits_jax.datasets.read_table] takes it; personas carry the identifiers of
    the people they stand for. The others as in [`Panel.from_frames`][] and [`read_tensor`][].

    **Raises:** what these raise, and what [`read_frame`][] does.
    """
    if isinstance(human, str | os.PathLike):
        from ..datasets.tables import read_table

        human = read_table(human, numeric=False)
    with reading(store) as opened:
        chosen = choose_run(opened, run)
        twin = read_frame(opened, chosen.id, everything=everything)
        if join == "inner":  # a question that no twin answered is not there
            twin = twin.dropna(axis=1, how="all")
        questions = opened.grid(chosen.id, everything=everything).questions.values()
    refusals = {q.identifier: q.refusal for q in questions if q.refusal is not None}
    codes = {column: refusals[column] for column in human.columns if column in refusals}
    if codes:
        human = human.copy()
        for column, code in codes.items():
            human[column] = human[column].mask(human[column] == code)
    panel = Panel.from_frames(
        human, twin, join=join, new_questions=new_questions, new_users=new_users, name=name,
        missing=missing,
    )  # fmt: skip
    kept = set(panel.questions)
    scales = {q.identifier: q.scale for q in questions if q.scale and q.identifier in kept}
    return panel.with_scale(scales) if scales else panel


class _Cells:
    """The responses of a run as flat arrays, and where in the grid each belongs."""

    def __init__(self, store: ResponseStore, run: Run, everything: bool):
        self.run = run
        grid = store.grid(run.id, everything=everything)
        if not grid.personas or not grid.questions:
            raise ValueError(f"{store.path}: run {run.id} ({run}): nothing was asked yet")
        if everything:
            grid = _latest(grid)
        self.personas = tuple(p.identifier for p in grid.personas.values())
        self.attributes = tuple(p.attributes for p in grid.personas.values())
        self.questions = tuple(grid.questions.values())
        self.identifiers = tuple(q.identifier for q in self.questions)
        self.shape = (len(self.personas), len(self.questions))
        self._read_options(grid)
        self._read_responses(store, grid)

    def _read_options(self, grid: Grid) -> None:
        """Refusals are no options: `slot` says which column an answer's probability goes to."""
        answers = [grid.answers.get(number, []) for number in grid.questions]
        kept = [
            [position for position, (value, _) in enumerate(one) if value != question.refusal]
            for question, one in zip(self.questions, answers)
        ]
        self.width = max(map(len, kept), default=0)
        m, longest = len(kept), max(map(len, answers), default=0)
        self.option_mask = np.zeros((m, self.width), bool)
        self.option_values = np.zeros((m, self.width))
        self.slot = np.full((m, longest + 1), -1)
        labels = []
        for j, (one, positions) in enumerate(zip(answers, kept)):
            self.option_mask[j, : len(positions)] = True
            self.option_values[j, : len(positions)] = [one[p][0] for p in positions]
            self.slot[j, positions] = np.arange(len(positions))
            labels.append(tuple(str(one[p][1]) for p in positions))
        self.labels = tuple(labels)
        self.answers = np.array([len(one) for one in answers], int)

    def _read_responses(self, store: ResponseStore, grid: Grid) -> None:
        row = _positions(grid.personas)
        column = _positions(grid.questions)
        query = (
            "SELECT persona, question, value, status = 'refused', outside, probabilities "
            "FROM responses WHERE run = ?"
        )
        n, m = self.shape
        # Sums over the responses of a cell.
        self.mass = np.zeros(n * m * self.width)
        self.asked, self.refusals = np.zeros(n * m), np.zeros(n * m)
        self.outside_sum, self.outside_count = np.zeros(n * m), np.zeros(n * m)
        self.value_sum, self.value_weight = np.zeros(n * m), np.zeros(n * m)
        for chunk in _chunks(store.rows(query, (self.run.id,))):
            persona, question, value, refused, outside, blobs = zip(*chunk)
            i = _looked_up(row, persona)
            j = _looked_up(column, question)
            here = (i >= 0) & (j >= 0)
            if not here.all():
                blobs = [blob for blob, wanted in zip(blobs, here) if wanted]
            self._add(
                i[here] * m + j[here],
                j[here],
                np.array(value, float)[here],  # None becomes NaN
                np.array(refused, bool)[here],
                np.array(outside, float)[here],
                blobs,
            )

    def _add(self, cell, question, value, refused, outside, blobs: Sequence[bytes | None]) -> None:
        soft = np.fromiter((blob is not None for blob in blobs), bool, len(blobs))
        lengths = np.fromiter((0 if b is None else len(b) // 4 for b in blobs), int, len(blobs))
        if np.any(soft & (lengths != self.answers[question])):
            raise ValueError(f"{self.run}: probabilities that are not one per answer; damaged?")
        weight = np.ones(len(cell))
        if soft.any():
            flat = np.frombuffer(b"".join(blob or b"" for blob in blobs), "<f4").astype(float)
            owner = np.repeat(np.arange(len(cell)), lengths)
            answer = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            slot = self.slot[question[owner], answer]
            kept = slot >= 0
            where = cell[owner[kept]] * self.width + slot[kept]
            np.add.at(self.mass, where, flat[kept])
            answered = np.bincount(owner[kept], flat[kept], len(cell))
            weight = np.where(soft, answered, weight)
            refused = np.where(soft, 1.0 - answered, refused)
        np.add.at(self.asked, cell, 1.0)
        np.add.at(self.refusals, cell, np.clip(refused, 0.0, 1.0))
        seen = ~np.isnan(outside)
        np.add.at(self.outside_sum, cell[seen], outside[seen])
        np.add.at(self.outside_count, cell[seen], 1.0)
        valued = ~np.isnan(value)
        np.add.at(self.value_sum, cell[valued], (value * weight)[valued])
        np.add.at(self.value_weight, cell[valued], weight[valued])
        hard = np.flatnonzero(valued & ~soft)
        if len(hard) and self.width:
            equal = self.option_values[question[hard]] == value[hard, None]
            equal &= self.option_mask[question[hard]]
            response, slot = np.nonzero(equal)
            np.add.at(self.mass, cell[hard][response] * self.width + slot, 1.0)

    def distributions(self) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities given an answer, and whether there is one."""
        mass = self.mass.reshape(*self.shape, self.width)
        total = mass.sum(axis=-1)
        mask = total > NO_MASS
        return np.where(mask[..., None], mass, 0.0) / np.where(mask, total, 1.0)[..., None], mask

    def refused(self) -> np.ndarray:
        return (self.refusals / np.maximum(self.asked, 1)).reshape(self.shape)

    def outside(self) -> np.ndarray:
        return (self.outside_sum / np.maximum(self.outside_count, 1)).reshape(self.shape)

    def values(self) -> np.ndarray:
        known = self.value_weight > NO_MASS
        mean = self.value_sum / np.where(known, self.value_weight, 1.0)
        values = np.where(known, mean, np.nan).reshape(self.shape)
        nominal = np.array([bool(q.scale and q.scale.kind == "nominal") for q in self.questions])
        nominal &= self.answers > 0
        if nominal.any():
            mass, mask = self.distributions()
            top = self.option_values[np.arange(len(nominal))[None], mass.argmax(axis=-1)]
            values = np.where(nominal[None], np.where(mask, top, np.nan), values)
        return values


def _latest(grid: Grid) -> Grid:
    """One row per identifier: of a persona or question that was changed, the latest version."""

    def one_each(found: dict[int, Any]) -> dict[int, Any]:
        last = {one.identifier: number for number, one in found.items()}
        return {number: one for number, one in found.items() if last[one.identifier] == number}

    return dataclasses.replace(
        grid, personas=one_each(grid.personas), questions=one_each(grid.questions)
    )


def _positions(numbers: Iterable[int]) -> np.ndarray:
    """The position of each number of the store, -1 for others."""
    numbers = list(numbers)
    table = np.full(max(numbers, default=0) + 1, -1)
    table[numbers] = np.arange(len(numbers))
    return table


def _looked_up(table: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
    found = np.array(numbers)
    return np.where(found < len(table), table[np.minimum(found, len(table) - 1)], -1)


def _chunks(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    while chunk := list(itertools.islice(rows, _CHUNK)):
        yield chunk
