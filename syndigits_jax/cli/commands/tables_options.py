"""What commands that read response tables say about them."""

import ast
import contextlib
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Annotated

import typer

MissingOption = Annotated[
    str,
    typer.Option(
        help="What stands for a missing answer beside empty cells: texts and numbers, separated "
        'by commas, such as "refused,n/a,-99".'
    ),
]
# What the readers' messages call by its Python name, as it is typed here.
_TYPED = (
    ("new_questions=True keeps them as new, ", ""),
    ("new_users=True keeps them as new", "--new-users predicts them"),
    ("join='inner'", "--join inner"),
    ("`id_column`", "--id-column"),
    ("`missing`", "--missing"),
)
_MISSING = re.compile(r"""missing=('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")


@contextlib.contextmanager
def as_options() -> Iterator[None]:
    """Errors call arguments as they are typed on the command line."""
    try:
        yield
    except ValueError as error:
        raise ValueError(typed(str(error))) from error


def typed(text: str) -> str:
    """A message with options in place of the arguments of Python."""
    for name, option in _TYPED:
        text = text.replace(name, option)
    return _MISSING.sub(lambda found: f"--missing {_quoted(ast.literal_eval(found[1]))}", text)


def dropped_text(dropped: Mapping[str, int]) -> str:
    """How many respondents and questions `--join inner` left out, by table."""
    parts = []
    for table in ("human", "twin"):
        counts = [
            f"{count} {one}" if count == 1 else f"{count} {one}s"
            for kind, one in (("users", "respondent"), ("questions", "question"))
            if (count := dropped.get(f"{table}_{kind}", 0))
        ]
        if counts:
            parts.append(f"{' and '.join(counts)} that only {table} has")
    return f"dropped by --join inner: {', '.join(parts) or 'nothing'}"


def _quoted(text: str) -> str:
    return shlex.quote(text) if set(text) & set('"$`\\!') else f'"{text}"'
