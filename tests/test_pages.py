"""The README and the pages of the site: commands are those of CI, code runs, links exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").rglob("*.md")))
DOCUMENTS = (*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def command(which: str) -> str:
    pattern = rf"^<!-- command: {which} -->\n```sh\n(.*)\n```$"
    found = re.findall(pattern, README.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(found) == 1, f"README.md needs one one-line block after <!-- command: {which} -->"
    return found[0]


def test_two_commands_come_first():
    first, second = blocks(README, "sh")[:2]
    assert first.strip() == command("demo")
    assert second.strip() == command("test")
    assert "syndigits demo" in first
    assert "pytest" in second


@pytest.mark.parametrize("which", ["demo", "test"])
def test_ci_reads_the_same_command(which):
    printed = subprocess.run(
        ["bash", ROOT / ".ci/run", "--command", which], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == command(which)


# These compute more than they compile, and are the faster for it as users compile.
LONG = ("README.md", "docs/guides/fidelity.md")


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
def test_python_blocks_run(page, tmp_path, same_environment, users_environment):
    """As a reader would: one after another, in one session, in a folder of their own."""
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks(page, "python")))
    result = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=users_environment if name(page) in LONG else same_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "nan" not in result.stdout.lower()


def syndigits_lines(page: Path) -> list[list[str]]:
    shell = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    uses = re.findall(r"(?:^|&& )(syndigits .*?)(?:$| &&)", shell, re.MULTILINE)
    return [use.split()[1:] for use in uses]


@pytest.mark.parametrize("page", [page for page in PAGES if syndigits_lines(page)], ids=name)
def test_commands_exist_with_the_options_shown(page):
    typer = pytest.importorskip("typer")
    from syndigits_jax.cli.app import app

    commands = typer.main.get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    for word, *arguments in syndigits_lines(page):
        command = commands[word]
        if hasattr(command, "commands"):  # a group: the next word names the command
            command = command.commands[arguments[0]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {a for a in arguments if a.startswith("--")} <= known, word


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_into_the_repository_exist(document):
    targets = re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8"))
    ours = [target for target in targets if "://" not in target]
    made = [t for t in ours if "notebooks/" in t or "reference/" in t]  # by the site's build
    for target in made:
        if "notebooks/" in target:
            assert (ROOT / "notebooks" / Path(target).name).exists()
    missing = [t for t in ours if t not in made and not (document.parent / t).exists()]
    assert not missing


def test_every_page_is_in_the_navigation():
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    lost = [name(page) for page in PAGES[1:] if f"{page.relative_to(ROOT / 'docs')}" not in config]
    assert not lost


def fidelity_record(population, metric, mean, procedure="newton", reference="newton", **more):
    return {
        "study": "", "dataset": "d", "population": population, "metric": metric,
        "procedure": procedure, "reference": reference, "mean": mean, "low": None, "high": None,
        "paper_low": None, "paper_high": None, **more,
    }  # fmt: skip


def test_fidelity_figures_of_twins():
    from benchmarks.pages.fidelity import twins

    name = "calibrated_Ridge"
    table = twins(
        [
            fidelity_record(name, "item_pearson", 0.5, "", ""),
            fidelity_record(name, "coverage", 0.25),
            fidelity_record(name, "coverage", 0.75, reference="ssr"),  # another table's
            fidelity_record(name, "fgi_coverage", -0.001, low=-0.1, high=0.1),
            fidelity_record(name, "fgi_mmd2", None),  # unstable
            fidelity_record(name, "rank_accuracy", 0.8),
            fidelity_record(name, "rank_accuracy_shuffled", 0.7),
            fidelity_record("noise", "coverage", 0.0),
        ]
    )
    cells = "0.50 | 0.25 | – | 0.00 (-0.10 to 0.10) | – | – | 0.80 (0.70) |"
    assert table[2:] == [f"| calibrated, `Ridge` | {cells}"]
    assert twins([]) == []


def test_fidelity_figures_of_samplers():
    from benchmarks.pages.fidelity import baselines

    paper = {"paper_low": 0.02, "paper_high": 0.1}
    lines = baselines(
        [
            fidelity_record("dirichlet", "fgi_coverage", 0.1, "trained", "trained", **paper),
            fidelity_record("real", "fgi_coverage", 0.2, "ssr", "trained"),
            fidelity_record("real", "fgi_coverage", 0.3, "ssr", "ssr"),
            fidelity_record("encoder", "pairwise_accuracy", 0.7, "trained", ""),
        ]
    )
    assert lines[2:4] == [
        "| Dirichlet interpolation | 0.02 to 0.10 | 0.10 |",
        "| real users, placed by SSR | – | 0.20 |",
    ]
    assert lines[-1].endswith("d: encoder 0.70 (–).")
    assert baselines([]) == []


def test_figures_are_those_of_the_committed_results():
    from benchmarks.pages.fill import BLOCKS, MARK, filled

    marks = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        marks += MARK.findall(text)
        assert filled(text) == text, "run `python -m benchmarks.pages --write`"
    assert sorted(marks) == sorted(BLOCKS)
