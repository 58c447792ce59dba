"""`syndigits personas`: build personas, have their texts written, and write them to a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from syndigits_jax.cli.commands.respond import MISSING
from syndigits_jax.cli.commands.tables_options import as_options
from syndigits_jax.cli.render.collecting import print_report, showing_collection
from syndigits_jax.cli.render.console import output
from syndigits_jax.datasets.personas import check_personas_path, write_personas
from syndigits_jax.respond.personas.attributes import WrittenPersonas
from syndigits_jax.respond.personas.writing import WRITING_TEMPLATES, write_texts
from syndigits_jax.respond.prompts.templates import find_template
from syndigits_jax.respond.store.responses import ResponseStore
from syndigits_jax.schema import Persona
from syndigits_jax.tables.responses import some
from syndigits_jax.workflows.personas import KINDS

NO_TEXT = (
    "they have no texts yet: give --engine and --model to have a model write them, or ask with a "
    "template of their attributes"
)


def run(kind: str, out: Path, options: dict[str, Any], note: str = "") -> None:
    """Build personas of a kind and write them."""
    check_personas_path(out)
    with as_options():
        personas = KINDS[kind](**options)
    write_personas(out, personas)
    said = _size(personas)
    for line in (f"{len(personas)} personas{said}; written: {out}", note):
        if line:
            output().print(line, soft_wrap=True, markup=False)


def run_written(
    kind: str,
    out: Path,
    options: dict[str, Any],
    *,
    engine: Callable[[], Any] | None,
    template: str | None,
    store: Path | None,
    decoding: dict[str, Any],
) -> None:
    """Build personas of a kind, have a model write their texts, and write them.

    Without an engine they are written as they are, to be used or given texts elsewhere.
    """
    if engine is None:
        for name, value in (("--store", store), ("--template", template)):
            if value is not None:
                raise ValueError(f"{name} is for texts that a model writes; give --engine too")
        run(kind, out, options, NO_TEXT)
        return
    check_personas_path(out)
    chosen = find_template(template or WRITING_TEMPLATES[kind])
    settings = chosen.settings(**decoding)
    with as_options():
        personas = KINDS[kind](**options)
    store = out.with_name(out.name + ".responses") if store is None else store
    console = output()
    answering = engine()
    try:
        with ResponseStore(store) as opened, showing_collection() as show:
            written, report = write_texts(
                answering, chosen, personas, opened, settings, on_progress=show
            )
    finally:
        answering.close()
    print_report(console, report)
    if written is None:
        console.print(
            f"{report.missing} of {report.planned} texts are missing and {out} is not written; "
            f"the others are in {store}, and the same command asks only for these",
            soft_wrap=True,
            markup=False,
        )
        raise typer.Exit(MISSING)
    write_personas(out, written.personas)
    for line in (*_left_out(written), _summary(written, out)):
        console.print(line, soft_wrap=True, markup=False)


def _left_out(written: WrittenPersonas) -> list[str]:
    reasons = {"the model wrote nothing for": written.empty, "the model refused": written.refused}
    return [
        f"{why} {len(names)} personas, which are left out ({some(names)})"
        for why, names in reasons.items()
        if names
    ]


def _summary(written: WrittenPersonas, out: Path) -> str:
    return f"{len(written.personas)} personas{_size(written.personas)}; written: {out}"


def _size(personas: tuple[Persona, ...]) -> str:
    lengths = [len(p.text) + sum(len(line) + 1 for line in p.answers.values()) for p in personas]
    if not any(lengths):
        return ""
    mean = sum(lengths) / len(lengths)
    return f", of {min(lengths)} to {max(lengths)} characters ({mean:.0f} on average)"
