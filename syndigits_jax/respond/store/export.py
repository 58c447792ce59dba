"""From stored responses to arrays, tables and panels."""

import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ...panel import Panel
from ...results.files import replacing
from ...tables.cells import MissingCodes
from ...tables.frames import as_backend, import_pandas
from ._grid_cells import Cells
from .responses import ResponseStore, Run, reading

StoreLike = ResponseStore | str | os.PathLike[str]


class ResponseTensor(eqx.Module):
    """Answers of n personas to m questions of at most k options, as arrays for `jit`.

    **Arguments:**

    - `probabilities`: of each option given an answer, averaged over draws and orders; they sum to 1
      where `mask`, else they are 0. For chosen, drawn or parsed answers they are shares.
    - `mask`: whether there is an answer.
    - `option_mask`: the options that each question has, without its refusal.
    - `values`: the number of each option, 0 where there is none.
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
    """A tensor with the identifiers of its personas and questions, the labels of the options of
    each question, and its run."""

    tensor: ResponseTensor
    personas: tuple[str, ...]
    questions: tuple[str, ...]
    options: tuple[tuple[str, ...], ...]
    run: Run

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table to an `.npz` file, which is replaced as a whole.

        **Raises:** `ValueError` for another suffix, or for a text with a null character at its end.
        """
        if not str(path).endswith(".npz"):
            raise ValueError(f"{path}: a tensor is written to a file that ends in .npz")
        width = self.tensor.values.shape[1]
        labels = [[*names, *[""] * (width - len(names))] for names in self.options]
        names = [field.name for field in dataclasses.fields(ResponseTensor)]
        arrays: dict[str, Any] = {name: np.asarray(getattr(self.tensor, name)) for name in names}
        texts = {"personas": self.personas, "questions": self.questions, "options": labels}
        for name, of in texts.items():
            arrays[name] = np.array(of)
            if not np.array_equal(
                arrays[name], np.array(of, object)
            ):  # zeros at the end are dropped
                raise ValueError(f"{path}: NumPy cannot keep a null character at the end of {name}")
        arrays["run"] = np.array(str(self.run))
        with replacing(path) as temporary:
            np.savez_compressed(temporary, **arrays)


def choose_run(store: ResponseStore, run: int | str | None = None) -> Run:
    """The run selected by its number or by words of its description.

    **Arguments:** `store`: an open store. `run`: the run's number, or words (of the template, model
    or settings) that only occur in its description; may be omitted if there is only one run.

    **Raises:** `ValueError` listing all runs, unless exactly one is selected.
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
    wanted = "choose one" if run is None else f"{run!r} matches {len(found)} of them"
    raise ValueError(f"{store.path}: `run`: the store has {len(runs)} runs, {wanted}: {listed}")


def read_tensor(
    store: StoreLike, run: int | str | None = None, *, everything: bool = False, dtype: Any = None
) -> ResponseTable:
    """The responses of a run as a tensor (persona, question, option).

    Its axes are the personas and questions of the latest call, in their order; cells without a
    response are masked. Answers to questions without options, and parsed numbers that are none of
    the options, are only in [`read_frame`][].

    **Arguments:**

    - `store`: an open store, or the path of one.
    - `run`: as in [`choose_run`][].
    - `everything`: whether to include all personas and questions that were ever asked in the run.
    - `dtype`: a floating-point type; JAX's default float by default.

    **Raises:** `ValueError` as `choose_run` does, or if nothing was asked, no question has
    options, or `dtype` cannot hold an option's value; what [`ResponseStore`][] raises.
    """
    with reading(store) as opened:
        cells = Cells(opened, choose_run(opened, run), everything)
    if not cells.width:
        raise ValueError(f"{cells.run}: no question has answer options; make a table instead")
    dtype = jnp.result_type(float) if dtype is None else jnp.dtype(dtype)
    most = np.abs(cells.option_values).max(initial=0.0)
    if most > float(jnp.finfo(dtype).max):
        raise ValueError(
            f"{cells.run}: an option's value is {most:g}, which {dtype.name} cannot hold; give a "
            "wider `dtype`, or make a table instead"
        )
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


def read_frame(
    store: StoreLike,
    run: int | str | None = None,
    *,
    everything: bool = False,
    backend: str = "pandas",
) -> Any:
    """The responses of a run as a data frame of values: personas x questions.

    A cell is the mean over draws, orders and, where probabilities were read, options, without
    refusals; for nominal questions it is the most frequent or probable option, the first of equal
    ones. NaN: missing, refused, or unparsed.

    **Arguments:** `store`, `run`, `everything`: as in [`read_tensor`][]; `backend`: as in
    [`Panel.to_frames`][].

    **Raises:** as these; `ImportError` without pandas.
    """
    pd = import_pandas()
    with reading(store) as opened:
        cells = Cells(opened, choose_run(opened, run), everything)
    frame = pd.DataFrame(
        cells.values(),
        index=pd.Index(cells.personas, name="persona", dtype=object),
        columns=pd.Index(cells.identifiers, dtype=object),
    )
    return as_backend(frame, backend)


def read_records(store: StoreLike, run: int | str | None = None, *, backend: str = "pandas") -> Any:
    """Every response as a row of a data frame, with all its stored fields.

    The column `probabilities` holds lists, in the order of the question's answers.

    **Arguments:** `store`: an open store, or the path of one. `run`: as in [`choose_run`][]; all
    runs by default. `backend`: as in [`Panel.to_frames`][].

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
        with opened.made_of("responses"):
            frame = pd.DataFrame(rows, columns=names)
            frame["time"] = pd.to_datetime(frame["time"].astype(float), unit="s", utc=True)
            for name in ("value", "outside"):
                frame[name] = frame[name].astype(float)
            frame["probabilities"] = [
                None if blob is None else np.frombuffer(blob, "<f4").tolist()
                for blob in frame["probabilities"]
            ]
    return as_backend(frame, backend)


def read_ratings(
    store: StoreLike,
    run: int | str | None = None,
    *,
    everything: bool = False,
    backend: str = "pandas",
) -> Any:
    """The values of a run as a long table, one row per persona and rated item.

    A data frame with the columns persona, item and rating and, if personas have these
    attributes, seed (the real user that the persona was made from) and condition. This is the
    input format of `syndigits fidelity`.

    **Arguments:** `store`, `run`, `everything`, `backend`: as in [`read_frame`][]. **Raises:** as
    there.
    """
    pd = import_pandas()
    with reading(store) as opened:
        cells = Cells(opened, choose_run(opened, run), everything)
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
    return as_backend(pd.DataFrame(columns), backend)


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
    missing: str | Iterable[Any] | MissingCodes = (),
) -> Panel:
    """The responses of a run and human answers, aligned by identifier, as a panel.

    The panel has the ranges of the questions' scales. Human answers that are a question's refusal
    code become missing. Personas must have the identifiers of the people they represent.

    **Arguments:**

    - `store`, `run`, `everything`: as in [`read_tensor`][].
    - `human`: a table for [`read_table`][syndigits_jax.datasets.read_table]: a path, or a data
      frame.
    - `join`, `new_questions`, `new_users`, `name`, `missing`: as in [`Panel.from_frames`][]. With
      `join="inner"`, questions that no persona answered are dropped too.

    **Raises:** what [`Panel.from_frames`][], `read_table` and [`read_frame`][] raise.
    """
    from ...datasets.tables import read_table

    missing = MissingCodes.of(missing)
    human = read_table(human, missing=missing, numeric=False, argument="human")
    with reading(store) as opened:
        chosen = choose_run(opened, run)
        twin = read_frame(opened, chosen.id, everything=everything)
        if join == "inner":  # a question that no twin answered counts as absent
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
