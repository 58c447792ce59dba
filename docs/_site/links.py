"""Links of docstrings: a name in brackets leads to the object of that name.

Docstrings name their neighbours as [`name`][], by their bare name. Here each becomes the full path:
of the same class or module if it is defined there, else of what the module imports by that name,
else of the nearest public object so called.
"""

import ast
import re
from pathlib import Path
from typing import Any

import griffe

PACKAGE = Path(__file__).resolve().parents[2] / "syndigits_jax"
DEVELOPERS = re.compile(r"\n\nLonger than \d+ lines: (?:.+\n?)+")  # what only they need
LINK = re.compile(r"\[`([\w.]+)`\]\[([\w.]*)\]")


def _homes() -> dict[str, list[str]]:
    """Full paths of everything public, by bare name and by `Class.member`."""
    homes: dict[str, list[str]] = {}

    def add(path: str, name: str) -> None:
        homes.setdefault(name, []).append(f"{path}.{name}")

    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        if any(part.startswith("_") and part != "__init__" for part in parts) or "cli" in parts:
            continue  # the reference has neither
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        body = ast.parse(file.read_text(encoding="utf-8")).body
        for name in _documented(body):
            add(module, name)
        for node in body:
            if isinstance(node, ast.ClassDef):
                for name in _documented(node.body):
                    add(module, f"{node.name}.{name}")
    return homes


def _documented(body: list[ast.stmt]) -> list[str]:
    """Functions, classes, and names that a docstring follows: what the reference shows."""
    names = []
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(after, ast.Expr):
            first = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            names += [first.id] if isinstance(first, ast.Name) else []
    return names


class Links(griffe.Extension):
    """Completes the links of every docstring."""

    def __init__(self) -> None:
        self.homes = _homes()

    def on_instance(self, *, node: Any, obj: griffe.Object, **kwargs: Any) -> None:
        """Complete the links of one object's docstring."""
        if obj.docstring is not None:
            text = DEVELOPERS.sub("", obj.docstring.value)
            obj.docstring.value = LINK.sub(lambda found: self._link(found, obj.path), text)

    def _link(self, found: re.Match[str], path: str) -> str:
        shown, target = found.groups()
        if target in self.homes.get(shown, ()):
            return found.group()
        name = shown.removesuffix("()")
        home = self._nearest(name, path)
        return f"[`{shown}`][{home}]" if home else f"`{shown}`"

    def _nearest(self, name: str, path: str) -> str | None:
        parts = path.split(".")
        known = self.homes.get(name, [])
        # A member of the class that is documented, or of the class that a member belongs to.
        for end in (len(parts), len(parts) - 1):
            inner = f"{parts[end - 1]}.{name}"
            for home in self.homes.get(inner, []):
                if home == ".".join(parts[:end]) + f".{name}":
                    return home

        def shared(home: str) -> int:
            both = zip(home.split("."), parts, strict=False)
            return next((i for i, (a, b) in enumerate(both) if a != b), len(parts))

        return max(known, key=shared) if known else None
