"""The responses of a run by cell of its grid, the basis of all exports."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..readouts.outcomes import NO_MASS
from .responses import Grid, ResponseStore, Run

_CHUNK = 100_000  # rows read at a time


class Cells:
    """The responses of a run, summed by cell of its grid (persona, question)."""

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
        with store.made_of("responses"):
            self._read_options(grid)
            self._read_responses(store, grid)

    def _read_options(self, grid: Grid) -> None:
        """The options of each question without refusals; `slot`: the column of each answer."""
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
        # Differences from the first value of the cell, so that the mean of equal values is exact.
        self.value_first = np.full(n * m, np.nan)
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
        where, values, weights = cell[valued], value[valued], weight[valued]
        new = np.flatnonzero(np.isnan(self.value_first[where]))[::-1]  # so that the first is kept
        self.value_first[where[new]] = values[new]
        differences = values / 4 - self.value_first[where] / 4  # a quarter cannot overflow
        np.add.at(self.value_sum, where, differences * weights)
        np.add.at(self.value_weight, where, weights)
        hard = np.flatnonzero(valued & ~soft)
        if len(hard) and self.width:
            equal = self.option_values[question[hard]] == value[hard, None]
            equal &= self.option_mask[question[hard]]
            response, slot = np.nonzero(equal)
            np.add.at(self.mass, cell[hard][response] * self.width + slot, 1.0)

    def distributions(self) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of options given an answer, (n, m, k), and whether there is one, (n, m)."""
        mass = self.mass.reshape(*self.shape, self.width)
        total = mass.sum(axis=-1)
        mask = total > NO_MASS
        return np.where(mask[..., None], mass, 0.0) / np.where(mask, total, 1.0)[..., None], mask

    def refused(self) -> np.ndarray:
        """The share of refusals, (n, m); 0 where nothing was asked."""
        return (self.refusals / np.maximum(self.asked, 1)).reshape(self.shape)

    def outside(self) -> np.ndarray:
        """The mean probability outside the answers, (n, m); 0 where it was not read."""
        return (self.outside_sum / np.maximum(self.outside_count, 1)).reshape(self.shape)

    def values(self) -> np.ndarray:
        """The mean value, or for nominal questions the most frequent one, (n, m); NaN if none."""
        known = self.value_weight > NO_MASS
        mean = self.value_first + 4 * (self.value_sum / np.where(known, self.value_weight, 1.0))
        values = np.where(known, mean, np.nan).reshape(self.shape)
        nominal = np.array([bool(q.scale and q.scale.kind == "nominal") for q in self.questions])
        nominal &= self.answers > 0
        if nominal.any():
            mass, mask = self.distributions()
            top = self.option_values[np.arange(len(nominal))[None], mass.argmax(axis=-1)]
            values = np.where(nominal[None], np.where(mask, top, np.nan), values)
        return values


def _latest(grid: Grid) -> Grid:
    """One entry per identifier: the latest version of a persona or question that was changed."""

    def one_each(found: dict[int, Any]) -> dict[int, Any]:
        last = {one.identifier: number for number, one in found.items()}
        return {number: one for number, one in found.items() if last[one.identifier] == number}

    return dataclasses.replace(
        grid, personas=one_each(grid.personas), questions=one_each(grid.questions)
    )


def _positions(numbers: Iterable[int]) -> np.ndarray:
    """An array with the position of each number, -1 for numbers that are absent."""
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
