"""Someone with nothing but a page and two tables of their own gets to a report.

The commands are those of the README and of docs/start.md, typed as they stand, in an empty folder,
with the installed `syndigits`.
"""

import csv
import functools
import json
import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from parsed_pages import parsed

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/start.md")
PEOPLE, QUESTIONS = 60, [f"q{j}" for j in range(1, 13)]
FEW, TWINS_ALONE = ("q4", "q7"), "q12"


def commands(page: str) -> list[str]:
    """What a page has its reader type about tables of their own, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    shell = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(shell).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("syndigits ") and "--human" in line]


def write(path, questions, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", *questions], *rows])


def two_tables(folder):
    """As people keep them: identifiers first, answers from 1 to 5, some cells empty, twins in
    another order of people and questions, and three people in either table only."""
    rng = random.Random(0)
    human, twin = [], []
    for i in range(PEOPLE):
        mood = rng.gauss(3, 1)
        said, told = {}, {}
        for j, question in enumerate(QUESTIONS):
            level = mood + (j % 3 - 1) * 0.4
            said[question] = min(5, max(1, round(level + rng.gauss(0, 0.7))))
            told[question] = min(5, max(1, round(0.6 * level + 1.6 + rng.gauss(0, 0.6))))
            if rng.random() < 0.05 or (question in FEW and i % 3):
                said[question] = ""
        name = f"R_{7919 * (i + 1)}"
        if i >= 3:
            human.append([name, *(said[q] for q in QUESTIONS if q != TWINS_ALONE)])
        if i < PEOPLE - 3:
            twin.append([name, *(told[q] for q in QUESTIONS[::-1])])
    write(folder / "human.csv", [q for q in QUESTIONS if q != TWINS_ALONE], human)
    write(folder / "twin.csv", QUESTIONS[::-1], twin[::-1])


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """The folder after all commands of both pages, and what each page's commands ended as."""
    folder = tmp_path_factory.mktemp("empty")
    two_tables(folder)
    known = os.environ | {"SYNDIGITS_CACHE": str(tmp_path_factory.mktemp("programs"))}
    done = {}

    @functools.cache
    def ended(words):
        program = Path(sys.executable).with_name(words[0])  # installed beside Python
        return subprocess.run(
            [program, *words[1:]], cwd=folder, env=known, capture_output=True, text=True,
            check=False, timeout=1200,
        )  # fmt: skip

    def typed(command):
        """With the options in one order, so that what both pages say is done once."""
        name, *options = shlex.split(command)
        pairs = sorted(zip(options[1::2], options[2::2], strict=True))
        return ended((name, options[0], *(word for pair in pairs for word in pair)))

    for page in PAGES:
        for command in commands(page):
            if command in done:
                continue
            before = set(folder.iterdir())
            result = typed(command)
            if result.returncode == 2 and "--join inner" in result.stderr:
                # It says so itself, in one line, and has written nothing.
                assert "R_" in result.stderr and result.stderr.count("\n") == 1
                assert set(folder.iterdir()) == before
                result = typed(f"{command} --join inner")
            done[command] = result
    return folder, done


def test_both_pages_have_the_way_from_two_tables_to_a_report():
    for page in PAGES:
        words = [command.split()[1] for command in commands(page)]
        assert words == ["evaluate", "calibrate", "estimate"], page
        assert "report.html" in (ROOT / page).read_text(encoding="utf-8")


def test_every_command_of_both_pages_works_on_tables_of_ones_own(walked):
    folder, done = walked
    assert done
    for command, result in done.items():
        assert result.returncode == 0, (command, result.stderr)
        assert "Traceback" not in result.stderr
        assert result.stdout.strip()
        out = re.search(r"--out (\S+)", command)
        assert out is None or (folder / out[1]).exists(), command


def test_the_readme_needs_no_second_try(walked):
    """Its commands work as they stand, with people in one table only."""
    _, done = walked
    for command in commands("README.md"):
        assert set(done[command].args[1:]) == set(shlex.split(command)[1:]), command


def test_the_report_opens_with_three_sentences_and_no_link_is_broken(walked):
    folder, _ = walked
    report = folder / "report"
    page = parsed((report / "report.html").read_text(encoding="utf-8"))
    results = json.loads((report / "results.json").read_text(encoding="utf-8"))
    said = [results["claims"][name]["text"] for name in results["summary"]]
    sentences = [e.text for e in page.all("header")[0].all("p")]
    assert len(said) == 3 and [one for one in sentences if one in said] == said
    assert all(one.endswith(".") for one in said)
    ids = {e.attributes["id"] for e in page.all() if "id" in e.attributes}
    links = [
        value for e in page.all() for name, value in e.attributes.items() if name in ("href", "src")
    ]
    assert len(links) > 3
    for link in links:
        assert link.startswith("data:") or (link[1:] in ids and link[0] == "#") or (
            "://" not in link and (report / link).is_file()
        ), link  # fmt: skip
    text = (report / "report.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)\)", text):
        assert (report / target).is_file(), target


def test_what_was_left_out_is_said_and_what_is_predicted_is_there(walked):
    folder, _ = walked
    notes = json.loads((folder / "report/results.json").read_text(encoding="utf-8"))["notes"]
    assert any("3 people without a twin left out" in note for note in notes), notes
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header[1:] == [TWINS_ALONE] and len(rows) == PEOPLE - 6
    assert all(1 <= float(row[1]) <= 5 for row in rows)
