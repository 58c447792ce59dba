"""Messages of the library adapted to the command line: arguments become options."""

import ast
import contextlib
import importlib
import re
import shlex
from typing import Any

# Python expressions in messages of the readers, and the same on the command line.
_TYPED = (
    ("new_questions=True keeps them as new, ", ""),
    ("new_users=True keeps them as new", "--new-users predicts them"),
    ("join='inner'", "--join inner"),
    ("`level`", "--intervals"),
)
_MISSING = re.compile(r"""missing=('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")


def as_typed(text: str) -> str:
    """A message with options in place of arguments: names in backticks become options if the
    running command has them."""
    for name, option in _TYPED:
        text = text.replace(name, option)
    text = _MISSING.sub(lambda found: f"--missing {_quoted(ast.literal_eval(found[1]))}", text)
    context = _context()
    if context is None:
        return text
    options = {
        parameter.name: parameter.opts[0]
        for parameter in context.command.params
        if parameter.opts and parameter.opts[0].startswith("-")
    }
    return re.sub(r"`(\w+)`", lambda found: options.get(found[1], found[0]), text)


def _quoted(text: str) -> str:
    return shlex.quote(text) if set(text) & set('"$`\\!') else f'"{text}"'


def _context() -> Any:
    # Newer versions of typer include their own copy of click.
    for module in ("typer._click.globals", "click.globals"):
        with contextlib.suppress(ImportError):
            context = importlib.import_module(module).get_current_context(silent=True)
            if context is not None:
                return context
    return None
