"""Sentences of a pipeline's report, on tables whose numbers are known."""

import jax.numpy as jnp
import numpy as np

from syndigits_jax.respond.store.export import ResponseTable, ResponseTensor
from syndigits_jax.respond.store.responses import Run
from syndigits_jax.workflows.fidelity.records import FidelityRecord
from syndigits_jax.workflows.pipeline.report import fidelity_section, variety


def table(probabilities, options):
    """Personas x questions x options; `options`: how many each question has. NaN: no answer."""
    p = np.array(probabilities, np.float32)
    there = np.arange(p.shape[2])[None, :] < np.array(options)[:, None]
    mask = ~np.isnan(p).any(axis=2)
    values = np.where(there, np.arange(1.0, p.shape[2] + 1)[None, :], 0).astype(np.float32)
    nothing = jnp.zeros(mask.shape)
    tensor = ResponseTensor(
        jnp.asarray(np.nan_to_num(p)), jnp.asarray(mask), jnp.asarray(there), jnp.asarray(values),
        nothing, nothing,
    )  # fmt: skip
    names = [tuple(map(str, range(count))) for count in options]
    run = Run(1, "t", "1", "0" * 8, "m", {"readout": "choice"})
    people, questions = (tuple(map(str, range(k))) for k in mask.shape)
    return ResponseTable(tensor, people, questions, tuple(names), run)


def test_places_are_judged_by_the_questions_that_have_them():
    # The third of the only question that has one always; the others evenly of two.
    even, third = [0.5, 0.5, 0, 0], [0, 0, 1, 0]
    _, said = variety(table([[even, third], [even, third]], (2, 4)))
    assert (
        "the third option of a question gets most: 100% of the answers to the 1 of 2 questions"
        in said
    )
    assert said.endswith("would give it 25%.")
    first = [1.0, 0, 0, 0]
    spread, said = variety(table([[first, first], [first, [0, 0, 0, 1]]], (2, 4)))
    # Three of four answers; by chance (1/2 + 1/2 + 1/4 + 1/4) / 4.
    assert "the first option of a question gets most: 75% of the answers; evenly spread" in said
    assert said.endswith("would give it 38%.")
    # Of its range: 0 to the first question, half of 0 to 1 to the second; the median of both.
    assert "standard deviation of 0.250 of its range" in spread


def test_what_was_not_answered_counts_for_nothing():
    absent, low, high = [np.nan] * 2, [1.0, 0], [0, 1.0]
    spread, said = variety(table([[low, low], [high, absent], [absent, absent]], (2, 2)))
    assert "0.500 of its range" in spread and "50% of the answers" in said
    assert variety(table([[low], [absent]], (2,))) == []
    assert variety(table([[[1.0]], [[1.0]]], (1,))) == []


def test_personas_come_after_real_users_and_say_how_they_were_placed():
    records = [
        FidelityRecord(population, "frechet", procedure, reference, value, value, value)
        for population, procedure, reference, value in (
            ("noise", "ssr", "ssr", 1.0), ("personas: a", "newton", "ssr", 0.5),
            ("personas: a", "ssr", "ssr", 0.001), ("real", "ssr", "ssr", 0.0),
            ("real", "trained", "trained", 7.0),
        )
    ]  # fmt: skip
    lines = fidelity_section(records, ["as it is"])
    rows = [line.split("|")[1:3] for line in lines if line.startswith("| ")][1:]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["real", "0.000"], ["personas: a, placed by newton", "0.500"],
        ["personas: a", "1.00e-03"], ["noise", "1.000"],
    ]  # fmt: skip
    assert "- as it is" in lines
    assert "No real users could be placed by newton." in fidelity_section(records, [], "newton")
