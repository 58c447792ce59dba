"""Personas whose texts a model writes, with output about them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from syndigits_jax.cli.exits import INCOMPLETE, Ended
from syndigits_jax.cli.render.asking import print_report, showing_collection
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


def write_texts_of(
    kind: str,
    out: Path,
    options: dict[str, Any],
    *,
    engine: Callable[[], Any],
    template: str | None,
    store: Path | None,
    decoding: dict[str, Any],
) -> dict[str, Any]:
    """Build personas of a kind, have a model write their texts, and write them to `out`.

    **Arguments:**

    - `kind`: one of `WRITTEN_KINDS`; `options`: of its function in `workflows.personas`.
    - `out`: the file of personas.
    - `engine`: a function that returns the engine.
    - `template`: a name or path; by default the kind's.
    - `store`: for the responses; by default a file beside `out`.
    - `decoding`: settings that differ from the template's.
    """
    check_personas_path(out)
    chosen = find_template(template or WRITING_TEMPLATES[kind])
    settings = chosen.settings(**decoding)
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
        raise Ended(
            INCOMPLETE,
            f"{report.missing} of {report.planned} texts are missing and {out} is not written; "
            f"the others are in {store}, and the same command asks only for these",
        )
    write_personas(out, written.personas)
    for line in (*_left_out(written), _summary(written, out)):
        console.print(line, soft_wrap=True)
    return {"written": [out], "personas": len(written.personas)}


def _left_out(written: WrittenPersonas) -> list[str]:
    reasons = {"the model wrote nothing for": written.empty, "the model refused": written.refused}
    return [
        f"{why} {len(names)} personas, which are left out ({some(names)})"
        for why, names in reasons.items()
        if names
    ]


def _summary(written: WrittenPersonas, out: Path) -> str:
    return f"{len(written.personas)} personas{lengths(written.personas)}; written: {out}"


def lengths(personas: tuple[Persona, ...]) -> str:
    """The lengths of the texts, as text; empty if there are none."""
    found = [len(p.text) + sum(len(line) + 1 for line in p.answers.values()) for p in personas]
    if not any(found):
        return ""
    mean = sum(found) / len(found)
    return f", of {min(found)} to {max(found)} characters ({mean:.0f} on average)"
