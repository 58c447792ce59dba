"""The rooms of the package: which may import which, held by reading the imports."""

import ast
import itertools
from collections import defaultdict
from pathlib import Path

import pytest

import syndigits_jax

PACKAGE = Path(syndigits_jax.__file__).parent
# Each may import those before it, and itself.
ORDER = (
    "version",
    "solvers",
    "sklearn",
    "inference",
    "tables",
    "results",
    "schema",
    "panel",
    "preferences",
    "fidelity",
    "distribution",
    "diagnostics",
    "calibration",
    "evaluation",
    "estimation",
    "datasets",
    "plots",
    "report",
    "saving",
    "respond",
    "workflows",
    "studies",
    "cli",
)


def name_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(path):
    """(module, name) of everything that a file imports from the package, wherever in it."""
    place = path.relative_to(PACKAGE).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            parts = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                parts = (*place[: len(place) - node.level + 1], *parts)
            elif parts[:1] == ("syndigits_jax",):
                parts = parts[1:]
            else:
                continue
            for alias in node.names:
                inner = ".".join([*parts, alias.name])
                yield (inner, None) if inner in FILES else (".".join(parts), alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("syndigits_jax."):
                    yield alias.name.removeprefix("syndigits_jax."), None


IMPORTS = {module: list(imports_of(path)) for module, path in FILES.items()}


def room(module):
    return module.split(".")[0]


def test_every_room_has_its_place():
    assert {room(module) for module in FILES} - {""} == set(ORDER)


def test_imports_never_turn_back():
    wrong = [
        f"{module} imports {target}"
        for module, found in IMPORTS.items()
        for target, _ in found
        if module and target and ORDER.index(room(target)) > ORDER.index(room(module))
    ]
    assert not wrong


def test_nothing_is_imported_from_the_package_itself():
    """But rooms, as in `from syndigits_jax import plots`."""
    found = {name for module, names in IMPORTS.items() if module for t, name in names if not t}
    assert found <= set()


def test_what_begins_with_an_underscore_stays_in_its_folder():
    wrong = []
    for module, (target, name) in [(m, i) for m, found in IMPORTS.items() for i in found]:
        folder = list(FILES[module].relative_to(PACKAGE).parent.parts)
        parts = [*target.split("."), *([name] if name else [])]
        for depth, part in enumerate(parts):
            if part.startswith("_") and part != "__version__":
                home = (
                    parts[:depth] if name is None or depth < len(parts) - 1 else parts[: depth - 1]
                )
                if folder[: len(home)] != home:
                    wrong.append(f"{module} imports {'.'.join(parts)}")
    assert not wrong


def test_no_circles():
    edges = defaultdict(set)
    for module, found in IMPORTS.items():
        for target, _ in found:
            if target in FILES and target != module:
                edges[module].add(target)
    waiting = {module: set(edges[module]) for module in FILES}
    while True:
        free = {module for module, needs in waiting.items() if not needs}
        if not free:
            break
        for module in free:
            del waiting[module]
        for needs in waiting.values():
            needs -= free
    circular = sorted(waiting)
    assert not circular, f"among these modules there is a circle of imports: {circular}"


LONGEST = 400
REASON = f"Longer than {LONGEST} lines: "  # in the head of a file that is


def test_longer_files_say_why():
    folders = (PACKAGE, *(PACKAGE.parent / name for name in ("tests", "benchmarks")))
    files = itertools.chain.from_iterable(folder.rglob("*.py") for folder in folders)
    unexplained = [
        str(path.relative_to(PACKAGE.parent))
        for path in files
        if len((text := path.read_text(encoding="utf-8")).splitlines()) > LONGEST
        and REASON not in (ast.get_docstring(ast.parse(text)) or "")
    ]
    assert not unexplained


@pytest.mark.parametrize("name", [n for n in dir(syndigits_jax) if not n.startswith("_")])
def test_public_names_are_found(name):
    assert getattr(syndigits_jax, name) is not None


def test_unknown_names_are_an_error():
    with pytest.raises(AttributeError, match="has no attribute 'Rigde'"):
        _ = syndigits_jax.Rigde
