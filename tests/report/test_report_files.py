"""The files of a report: the same numbers everywhere, whole, and equal in every run."""

import csv
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from fake_reports import NASTY, fake_report
from hypothesis import given
from hypothesis import strategies as st
from killed_writes import kill_at_each_write
from markdown_it import MarkdownIt
from parsed_pages import parsed

from syndigits_jax.report import (
    Claim,
    Column,
    Figure,
    Report,
    Section,
    Table,
    to_json,
    to_markdown,
    write_report,
)
from syndigits_jax.report import write as write_module
from syndigits_jax.report.cells import legible, no_formula

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def test_results_hold_every_number_in_full(folder, report):
    text = (folder / "results.json").read_text(encoding="utf-8")
    results = json.loads(text, parse_constant=refuse)
    assert results == json.loads(json.dumps(to_json(report), allow_nan=False))
    for name, claim in report.claims().items():
        found = results["claims"][name]
        assert (found["level"], found["finding"]) == (claim.level, claim.finding)
        assert found["source"] == claim.source
        wanted = {k: v if math.isfinite(v) else None for k, v in claim.values.items()}
        assert found["values"] == wanted
    for name, table in report.tables().items():
        for found, row in zip(results["tables"][name]["rows"], table.rows, strict=True):
            assert found == {k: None if v != v else v for k, v in row.items()}
    assert results["figures"]["worth"]["data"] == {"people": [5, 10], "error": [0.22, None]}
    assert results["facts"]["People"] == 12760
    assert [part["name"] for part in results["sections"]] == [s.name for s in report.sections]
    assert results["versions"]["syndigits_jax"]
    assert not {"date", "machine", "commit"} & results.keys()


def test_tables_hold_all_cells(folder, report):
    for name, table in report.tables().items():
        with open(folder / "tables" / f"{name}.csv", newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
        assert {key for row in table.rows for key in row} <= set(head)
        shown = [c.name for c in table.columns]
        assert [one for one in head if one in shown] == shown
        for found, row in zip(rows, table.rows, strict=True):
            for key, cell in zip(head, found, strict=True):
                value = row[key]
                if isinstance(value, str):
                    assert cell.removeprefix("'") == value
                    assert cell[:1] not in tuple("=+-@\t\r") or is_number(cell)
                elif value is None or math.isnan(value):
                    assert cell == ""
                else:
                    assert float(cell) == value


def is_number(text):
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


@given(
    st.text(max_size=4)
    | st.sampled_from(["=1+1", "-inf", "-5 to 5", "+1", "-.5e3", "@a", "\uff1d1"])
)
def test_no_text_of_a_table_is_a_formula(text):
    found = no_formula(text)
    assert found in (text, f"'{text}")
    assert (found == text) == (is_number(text) or text[:1] not in FORMULAS)
    assert no_formula(-1.5) == -1.5 and no_formula(None) is None


def unwritten(text):
    return " ".join(legible(text).split())


def test_markdown_is_read_as_meant(folder, report):
    text = (folder / "report.md").read_text(encoding="utf-8")
    page = parsed(MarkdownIt("commonmark").enable("table").render(text))
    assert not page.all("script", "b", "a")
    assert page.all("h1")[0].text == unwritten(report.title)
    paragraphs = [p.text for p in page.all("p")]
    for claim in report.claims().values():
        assert unwritten(claim.text) in paragraphs
    tables = page.all("table")[1:]
    assert len(tables) == len(report.tables())
    for found, table in zip(tables, report.tables().values()):
        rows = found.all("tr")
        assert len(rows) == 1 + len(table.rows)
        for row in rows:
            assert len(row.all("th", "td")) == len(table.columns)
        for row, cells in zip(rows[1:], table.rows):
            assert row.all("td")[0].text == unwritten(str(cells[table.columns[0].name]))
    images = {e.attributes["src"]: e.attributes["alt"] for e in page.all("img")}
    assert set(images) == {f"figures/{name}.png" for name in report.figures()}
    assert all((folder / path).is_file() for path in images)
    assert images["figures/methods.png"] == report.figures()["methods"].alt


@given(st.text(max_size=30))
def test_any_text_is_only_text_in_markdown(text):
    row = {"a": text}
    table = Table("t", "Title", (Column("a", "A", "text"),), (row, row))
    part = Section("s", f"x {text}", (Claim("c", text),), (table,), notes=(text,))
    made = to_markdown(Report("Report", {}, (), (part,)))
    page = parsed(MarkdownIt("commonmark").enable("table").render(made))
    assert [e.text for e in page.all("td")] == [unwritten(text)] * 2
    assert page.all("h2")[0].text == unwritten(f"x {text}")
    assert [e.text for e in page.all("li")] == [unwritten(text)]
    assert not page.all("a", "em", "strong", "code", "img", "ol", "blockquote", "hr")


def test_figures(folder, report):
    for name, figure in report.figures().items():
        png = (folder / "figures" / f"{name}.png").read_bytes()
        wide, high = (int.from_bytes(png[i : i + 4], "big") for i in (16, 20))
        assert (wide, high) == pytest.approx([150 * inches for inches in figure.size], abs=1)
        svg = ElementTree.parse(folder / "figures" / f"{name}.svg").getroot()
        assert float(svg.attrib["width"].removesuffix("pt")) == pytest.approx(72 * figure.size[0])
        pdf = (folder / "figures" / f"{name}.pdf").read_bytes()
        assert b"/FontFile2" in pdf
        assert b"/Type3" not in pdf and b"/CreationDate" not in pdf


def test_a_second_run_writes_the_same_bytes(folder, tmp_path):
    """In a new process, whose sets and dictionaries of texts are in another order."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from fake_reports import fake_report; "
        "from syndigits_jax.report import write_report; "
        "write_report(fake_report(25), sys.argv[2], formats=sys.argv[3:])"
    )
    helpers = str(Path(__file__).parents[1] / "helpers")
    seeds = os.environ | {"PYTHONHASHSEED": "7"}
    formats = ("html", "markdown", "csv", "json", "png", "pdf")  # the page has the drawings
    command = [sys.executable, "-c", code, helpers, tmp_path, *formats]
    subprocess.run(command, check=True, env=seeds)
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    assert len(files) == 3 + 4 + 3 * 5
    again = [path.relative_to(tmp_path) for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    assert set(again) == {path for path in files if path.suffix != ".svg"}
    different = [p for p in again if (folder / p).read_bytes() != (tmp_path / p).read_bytes()]
    assert not different


def failing(ax):
    raise RuntimeError("no drawing")


def test_nothing_is_written_if_a_figure_fails(tmp_path):
    figure = Figure("bad", "Bad", failing, "", "")
    report = Report("R", {}, (), (Section("s", "S", figures=(figure,)),))
    with pytest.raises(RuntimeError, match="no drawing"):
        write_report(report, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_results_come_last_and_whole(tmp_path, monkeypatch):
    report = Report("R", {"People": 1}, (), ())
    first = write_report(report, tmp_path, formats=("html", "json"))
    assert [path.name for path in first] == ["report.html", "results.json"]
    before = first[1].read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(write_module, "write_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_report(Report("Other", {}, (), ()), tmp_path, formats=("html", "json"))
    assert first[1].read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "results.json"]


def test_killed_at_any_write_it_leaves_one_report_or_the_other(tmp_path):
    report = fake_report(3, names=NASTY[:1])
    formats = ("markdown", "csv", "json")
    names = [
        str(path.relative_to(tmp_path)) for path in write_report(report, tmp_path, formats=formats)
    ]
    assert names[-1] == "results.json" and any(name.endswith(".csv") for name in names)
    kill_at_each_write(lambda: write_report(report, tmp_path, formats=formats), tmp_path, names)


def test_only_the_formats_asked_for(tmp_path):
    report = fake_report(3, names=NASTY[:1])
    written = write_report(report, tmp_path, formats=("markdown", "csv"))
    assert {path.suffix for path in written} == {".md", ".csv"}
    assert "![" not in (tmp_path / "report.md").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="formats: 'docx' is none of html, markdown"):
        write_report(report, tmp_path, formats=("docx",))


COLUMNS = (Column("a", "A"),)
FOLDERS = ("tables", "figures")


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Section("s", "S", claims=(Claim("c", "1"), Claim("c", "2"))), "claims: two different"),
        (
            Section("s", "S", tables=(Table("t", "T", COLUMNS, ({"b": 1},)),)),
            "no row has a cell 'a'",
        ),
        (
            Section("s", "S", tables=(Table("t", "T", (Column("a", "A", low="l"),), ({"a": 1},)),)),
            "no row has a cell 'l'",
        ),
    ],
)
def test_bad_parts_are_refused_before_anything_is_written(part, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        write_report(Report("R", {}, (), (part,)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_claim_may_stand_in_the_summary_and_in_a_section():
    claim = Claim("c", "Said twice.", {"estimate": 0.5})
    data = {"x": np.arange(2), "y": [np.float32(0.5), np.nan], "z": {"n": np.int64(3)}}
    figure = Figure("f", "F", failing, "", "", data=data)
    found = to_json(Report("R", {}, (claim,), (Section("s", "S", (claim,), (), (figure,)),)))
    assert (found["summary"], found["sections"][0]["claims"]) == (["c"], ["c"])
    drawn = json.loads(json.dumps(found["figures"]["f"]["data"], allow_nan=False))
    assert drawn == {"x": [0, 1], "y": [0.5, None], "z": {"n": 3}}


def test_names_of_a_users_columns_make_files(tmp_path):
    """Whatever the column is called, and however much alike two are."""
    names = ("groups_../../a b", "groups_../../a-b", "groups_年齢", "x" * 300, "plain_name.1")
    tables = tuple(Table(name, name, COLUMNS, ({"a": 1.0},), source="f()") for name in names)
    figures = tuple(Figure(name, name, lambda ax: ax.plot([1]), "", "") for name in names[:2])
    report = Report("R", {}, (), (Section("s / t", "S", (), tables, figures),))
    written = write_report(report, tmp_path, formats=("html", "markdown", "csv", "json", "png"))
    assert len(set(written)) == len(written) == 5 + 2 + 3
    assert {path.parent for path in written} <= {tmp_path, *(tmp_path / n for n in FOLDERS)}
    assert (tmp_path / "tables" / "plain_name.1.csv").is_file()
    assert all(re.fullmatch(r"[\w.-]+", path.name, re.ASCII) for path in written)
    assert list(json.loads((tmp_path / "results.json").read_text())["tables"]) == list(names)
    page = parsed((tmp_path / "report.html").read_text(encoding="utf-8"))
    ids = [e.attributes["id"] for e in page.all() if "id" in e.attributes]
    assert len(ids) == len(set(ids)) and not [one for one in ids if " " in one]


@pytest.mark.parametrize("option", ["figure_width", "font_size"])
def test_bad_sizes_of_figures_are_refused_before_any_work(tmp_path, option):
    for bad in (0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"`{option}` must be a positive number"):
            write_report(fake_report(), tmp_path / "out", **{option: bad})
    assert not (tmp_path / "out").exists()


def test_figures_for_a_column_of_a_paper(tmp_path):
    report = fake_report()
    write_report(report, tmp_path, formats=("svg", "pdf"), figure_width=3.3, font_size=8)
    for name in report.figures():
        root = ElementTree.parse(tmp_path / "figures" / f"{name}.svg").getroot()
        assert float(root.attrib["width"].removesuffix("pt")) == pytest.approx(72 * 3.3)
        texts = list(root.iter("{http://www.w3.org/2000/svg}text"))
        assert texts and all("".join(one.itertext()).strip() for one in texts)
        sizes = {
            float(size)
            for one in texts
            for size in re.findall(r"([0-9.]+)px", one.get("style", ""))
        }
        assert sizes and max(sizes) <= 8.01, sizes
        assert b"/FontFile2" in (tmp_path / "figures" / f"{name}.pdf").read_bytes()
