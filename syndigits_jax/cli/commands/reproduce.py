"""`syndigits reproduce TABLE`: the published tables and studies, with the package's numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from syndigits_jax.cli.choices import METHOD_NAMES, METHODS, Method, Setting, Study
from syndigits_jax.cli.command import command
from syndigits_jax.cli.options import NO_OPTIONS, OutFolder, Seed

Data = Annotated[
    Path,
    typer.Option("--data", metavar="FOLDER", help="Folder of the published SYN-DIGITS data."),
]
StudyData = Annotated[
    Path,
    typer.Option(
        "--data", metavar="FOLDER", help="Folder that holds amazon-2018, movielens and syn-digits."
    ),
]
SettingOption = Annotated[
    Setting,
    typer.Option(
        "--setting",
        metavar="NAME",
        help="reference: as published; default: with defects corrected; or both, side by side.",
    ),
]
Constructions = Annotated[
    list[str],
    typer.Option(
        "--construction",
        help="Construction of twins in Twin-2K-500, by the name of its folder; repeatable.",
    ),
]
Methods = Annotated[
    list[Method], typer.Option("--method", help=f"Method; repeatable: {METHOD_NAMES}.", **METHODS)
]
NO_METHODS: list[Method] = []
NO_STUDIES: list[Study] = []
_RESUME = "finished parts are kept; run the same command again to resume"

reproduce = typer.Typer(
    no_args_is_help=True, help="Compute published tables anew, and print our numbers beside them."
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(reproduce, name="reproduce")


@command(reproduce, resume=_RESUME)
def table2(
    data: Data,
    out: OutFolder,
    method: Methods = NO_METHODS,
    setting: SettingOption = Setting.REFERENCE,
) -> dict[str, Any]:
    """New questions, MovieLens: correlation by method."""
    return _table("table2", data, out, (), method, setting)


@command(reproduce, resume=_RESUME)
def table4(
    data: Data,
    out: OutFolder,
    construction: Constructions = NO_OPTIONS,
    method: Methods = NO_METHODS,
    setting: SettingOption = Setting.REFERENCE,
) -> dict[str, Any]:
    """New questions, every construction of Twin-2K-500: correlation by method."""
    return _table("table4", data, out, construction, method, setting)


@command(reproduce, resume=_RESUME)
def table5(
    data: Data,
    out: OutFolder,
    construction: Constructions = NO_OPTIONS,
    method: Methods = NO_METHODS,
    setting: SettingOption = Setting.REFERENCE,
) -> dict[str, Any]:
    """New people, MovieLens and Twin-2K-500: correlation by method."""
    return _table("table5", data, out, construction, method, setting)


@command(reproduce, resume=_RESUME)
def figure5(
    data: Data,
    out: OutFolder,
    construction: Constructions = NO_OPTIONS,
    method: Methods = NO_METHODS,
    setting: SettingOption = Setting.REFERENCE,
) -> dict[str, Any]:
    """Adaptive transfer: correlation by threshold of the training error."""
    return _table("figure5", data, out, construction, method, setting)


@command(reproduce, resume=_RESUME)
def table6(
    data: Data, out: OutFolder, setting: SettingOption = Setting.REFERENCE
) -> dict[str, Any]:
    """Answer distributions of new questions, MovieLens and OpinionQA: every divergence."""
    return _ensembles("table6", data, out, setting)


@command(reproduce, "tables9-10", resume=_RESUME)
def tables9_10(
    data: Data, out: OutFolder, setting: SettingOption = Setting.REFERENCE
) -> dict[str, Any]:
    """Answer distributions: every divergence minimised, with twins, dummies or both."""
    return _ensembles("tables9-10", data, out, setting)


@command(reproduce, resume=_RESUME)
def fidelity(
    data: StudyData,
    out: OutFolder,
    dataset: Annotated[
        list[str], typer.Option(help="Data set, such as ml-latest-small; repeatable.")
    ] = NO_OPTIONS,
    study: Annotated[list[Study], typer.Option(help="Which study; repeatable.")] = NO_STUDIES,
    embeddings: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where vectors of item texts are kept, for all runs."),
    ] = None,
    seed: Seed = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Take few epochs and resamples, for a first look.")
    ] = False,
) -> dict[str, Any]:
    """The Persona Fidelity Gap on public ratings, and twins before and after calibration."""
    from syndigits_jax.cli.render.fidelity_studies import show_studies

    written = show_studies(
        data, out, datasets=dataset, studies=list(map(str, study)), embeddings=embeddings,
        seed=seed, quick=quick,
    )  # fmt: skip
    return {"written": written}


@command(reproduce, resume=_RESUME)
def beyond(
    data: Data,
    out: OutFolder,
    dataset: Annotated[
        list[str], typer.Option(help="Data set: movielens, twin-2k-500; repeatable.")
    ] = NO_OPTIONS,
    construction: Constructions = NO_OPTIONS,
) -> dict[str, Any]:
    """Our combined estimate (`auto`) of new questions, surveys and people, beside every control."""
    from syndigits_jax.cli.render.beyond import show_beyond

    return {"written": show_beyond(data, out, dataset, construction)}


def _table(
    table: str,
    data: Path,
    out: Path,
    constructions: Sequence[str],
    methods: Sequence[Method],
    setting: Setting,
) -> dict[str, Any]:
    from syndigits_jax.cli.render.tables import show_table

    names = list(map(str, methods))
    return {"written": show_table(table, data, out, constructions, names, str(setting))}


def _ensembles(table: str, data: Path, out: Path, setting: Setting) -> dict[str, Any]:
    from syndigits_jax.cli.render.ensembles import show_ensembles

    return {"written": show_ensembles(table, data, out, str(setting))}
