"""The `syndigits` command, a thin layer over the workflows, the studies and the plots."""

import sys

# Modules of the `study` extra that the command line needs.
_NEEDS = ("typer", "rich", "pandas", "matplotlib")


def main() -> None:
    """Run the command line; exit with 2 and one line if the `study` extra is missing."""
    try:
        from syndigits_jax.cli.app import app
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in _NEEDS:
            raise
        print(
            f"error: the command line needs {missing}, which is not installed; "
            'run: pip install "syndigits-jax[study]"',
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    try:
        app()
    except SystemExit as end:
        from syndigits_jax.cli.exits import INTERRUPTED
        from syndigits_jax.cli.termination import TERMINATED, leave_soon

        if end.code in (INTERRUPTED, TERMINATED):
            leave_soon(end.code)
        raise
