"""The version of the code behind a result: a hash of its modules and of all that they import."""

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

import syndigits_jax


@functools.cache  # the version at the first call, even if files change later
def code_version(modules: tuple[str, ...], root: Path | None = None) -> str:
    """A hash of the source of `modules`, so that results of older code are not reused.

    A dotted name such as `"evaluation.holdout"` stands for the module and everything in the
    package that it imports, directly or not; a path such as `"studies/syn_digits/scoring.py"` for
    that file alone.

    **Arguments:** `root`: the folder of the package, this one by default.

    **Raises:** `FileNotFoundError` if there is no such module.
    """
    root = Path(syndigits_jax.__file__).parent if root is None else root
    digest = hashlib.sha256(syndigits_jax.__version__.encode())
    for source in source_files(modules, root):
        digest.update(str(source.relative_to(root)).encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def source_files(modules: tuple[str, ...], root: Path) -> list[Path]:
    """The files that [`code_version`][] hashes, sorted."""
    alone = {root / name for name in modules if name.endswith(".py")}
    for path in alone:
        path.stat()
    found: set[Path] = set()
    waiting = [_file(root, name) for name in modules if not name.endswith(".py")]
    while waiting:
        source = waiting.pop()
        if source not in found:
            found.add(source)
            waiting += _imported(source, root)
    return sorted(found | alone)


def _file(root: Path, name: str) -> Path:
    base = root.joinpath(*name.split("."))
    path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    path.stat()
    return path


def _imported(source: Path, root: Path) -> Iterator[Path]:
    """The modules of the package that a file imports, lazy imports included."""
    place = source.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first, *rest = alias.name.split(".")
                if first == root.name and rest:
                    yield _file(root, ".".join(rest))
        elif isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".") if node.module else []
            if node.level:
                parts = [*place[: len(place) - node.level + 1], *parts]
            elif parts and parts[0] == root.name:
                parts = parts[1:]
            else:
                continue
            for alias in node.names:
                yield from _named(root, parts, alias.name)


def _named(root: Path, package: list[str], name: str) -> Iterator[Path]:
    """The source of `from package import name`: a module, or the one that an `__init__` names."""
    base = root.joinpath(*package)
    if (base / name).is_dir() or (base / f"{name}.py").is_file():
        yield _file(root, ".".join([*package, name]))
    elif base.with_suffix(".py").is_file() and package:
        yield base.with_suffix(".py")
    elif package:
        init = base / "__init__.py"
        for node in ast.parse(init.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.ImportFrom):
                continue
            if name in [alias.asname or alias.name for alias in node.names]:
                inner = (node.module or "").split(".") if node.module else []
                above = package[: len(package) - node.level + 1]
                yield from _named(root, [*above, *inner], name)
                return
        yield init
    # The package's own `__init__` only re-exports names; its version is hashed separately.
