"""The README keeps its word: its commands are CI's, its code runs, its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def command(name: str) -> str:
    pattern = rf"^<!-- command: {name} -->\n```sh\n(.*)\n```$"
    found = re.findall(pattern, README, re.MULTILINE)
    assert len(found) == 1, f"README.md needs one one-line block after <!-- command: {name} -->"
    return found[0]


def test_two_commands_come_first():
    first, second = blocks("sh")[:2]
    assert first.strip() == command("demo")
    assert second.strip() == command("test")
    assert "syndigits demo" in first
    assert "pytest" in second


@pytest.mark.parametrize("name", ["demo", "test"])
def test_ci_reads_the_same_command(name):
    printed = subprocess.run(
        ["bash", ROOT / ".ci/run", "--command", name], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == command(name)


def test_python_blocks_run(tmp_path, users_environment):
    """As a reader would: one after another, in one session, in a folder of their own."""
    script = tmp_path / "readme.py"
    script.write_text("\n".join(blocks("python")))
    result = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=users_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "nan" not in result.stdout.lower()


def syndigits_lines() -> list[list[str]]:
    shell = "\n".join(blocks("sh")).replace("\\\n", " ")
    uses = re.findall(r"(?:^|&& )(syndigits .*?)(?:$| &&)", shell, re.MULTILINE)
    return [use.split()[1:] for use in uses]


def test_commands_exist_with_the_options_shown():
    typer = pytest.importorskip("typer")
    from syndigits_jax.cli.app import app

    commands = typer.main.get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    assert syndigits_lines()
    for name, *arguments in syndigits_lines():
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {a for a in arguments if a.startswith("--")} <= known, name


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_into_the_repository_exist(document):
    targets = re.findall(r"\]\(([^)#\s]+)", (ROOT / document).read_text())
    missing = [t for t in targets if "://" not in t and not (ROOT / t).exists()]
    assert not missing


def test_figures_are_those_of_the_committed_results():
    from benchmarks.readme import with_results

    assert with_results(README) == README, "run `python -m benchmarks.readme --write`"
