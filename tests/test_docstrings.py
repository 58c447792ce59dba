"""Documentation of public functions: each of four or more parameters is described."""

import ast
from pathlib import Path

import syndigits_jax

PACKAGE = Path(syndigits_jax.__file__).parent
FEW = 4


def public_functions():
    """(module, name, parameters, docstring) of public functions and methods in public modules."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        # The command line documents itself by the help of its options.
        if parts[0] == "cli" or any(p.startswith("_") and p != "__init__" for p in parts):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                functions = [n for n in node.body if isinstance(n, ast.FunctionDef)]
            else:
                functions = [node] if isinstance(node, ast.FunctionDef) else []
            for function in functions:
                if not function.name.startswith("_"):
                    given = function.args
                    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
                    names = [name for name in names if name not in ("self", "cls")]
                    yield ".".join(parts), function.name, names, ast.get_docstring(function) or ""


def test_every_public_function_has_a_docstring():
    assert not [f"{module}.{name}" for module, name, _, text in public_functions() if not text]


def test_functions_of_many_parameters_document_all():
    lacking = {
        f"{module}.{name}": [one for one in names if f"`{one}`" not in text]
        for module, name, names, text in public_functions()
        if len(names) >= FEW
    }
    assert not {name: absent for name, absent in lacking.items() if absent}
