"""Pages that are made while the site is built: the reference of rooms and commands."""

import ast
from pathlib import Path
from typing import Any

import mkdocs_gen_files
import typer

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "syndigits_jax"
FOLDER = "reference"
SHARED = ("quiet", "verbose", "json")  # options of all commands
ROOMS = (  # in the order of a survey's way through the package
    "panel", "schema", "datasets", "saving", "estimation", "calibration", "evaluation",
    "inference", "distribution", "preferences", "fidelity", "respond", "report", "workflows",
    "plots", "diagnostics", "solvers", "sklearn", "tables", "results",
)  # fmt: skip


def main() -> None:
    """Write a page per room, one of all commands, and their order."""
    nav = mkdocs_gen_files.Nav()
    for room in ROOMS:
        nav[room,] = f"{room}.md"
        _write(f"{room}.md", _room(room))
    nav["commands",] = "commands.md"
    _write("commands.md", _commands())
    hidden = "---\nsearch:\n  exclude: true\n---\n\n"
    _write("SUMMARY.md", hidden + "".join(nav.build_literate_nav()))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        with mkdocs_gen_files.open(f"notebooks/{path.name}", "w") as file:
            file.write(path.read_text(encoding="utf-8"))


def _write(name: str, text: str) -> None:
    with mkdocs_gen_files.open(f"{FOLDER}/{name}", "w") as file:
        file.write(text)


def _room(room: str) -> str:
    place = PACKAGE / room
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    lines = [f"# `syndigits_jax.{room}`", ""]
    for path in files:
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if any(part.startswith("_") and part != "__init__" for part in parts):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.name == "__init__.py":
            if path.parent == place:
                lines += [ast.get_docstring(tree) or "", ""]
            continue
        if _public(tree):
            module = ".".join(("syndigits_jax", *parts))
            lines += [f"::: {module}", "    options:", "      heading_level: 2", ""]
    return "\n".join(lines)


def _public(tree: ast.Module) -> bool:
    """Whether a module defines anything that users may call."""
    kinds = ast.FunctionDef, ast.ClassDef
    return any(isinstance(node, kinds) and not node.name.startswith("_") for node in tree.body)


def _commands() -> str:
    from syndigits_jax.cli.app import app

    group: Any = typer.main.get_command(app)
    shared = [one for one in group.commands["demo"].params if one.name in SHARED]
    lines = ["# Commands", "", "Every option, from the program itself. All commands have", ""]
    lines += [*_options(shared), "and `--help`, `-h`.", ""]
    for name, command in group.commands.items():
        lines += _command(f"syndigits {name}", command)
    return "\n".join(lines)


def _command(name: str, command: Any) -> list[str]:
    lines = [f"## `{name}`", "", (command.help or "").replace("\b", "").strip(), ""]
    if hasattr(command, "commands"):
        for below, one in command.commands.items():
            lines += [
                "#" + line if line.startswith("## ") else line
                for line in _command(f"{name} {below}", one)
            ]
        return lines
    return [*lines, *_options([one for one in command.params if one.name not in SHARED])]


def _options(parameters: list[Any]) -> list[str]:
    if not parameters:
        return []
    lines = ["| option | meaning |", "|---|---|"]
    for parameter in parameters:
        meaning, default = _cell(getattr(parameter, "help", None)), _default(parameter)
        lines.append(f"| {_name(parameter)} | {meaning}{f' Default: {default}.' * bool(default)} |")
    return [*lines, ""]


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper() if parameter.name else ''}`"
    shown = ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))
    return shown + (" (required)" if parameter.required else "")


def _default(parameter: Any) -> str:
    value = parameter.default
    if value in (None, False, (), [], "") or callable(value):
        return ""
    return f"`{getattr(value, 'value', value)}`"


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


main()
