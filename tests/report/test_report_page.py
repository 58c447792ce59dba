"""The page of a report: nothing from outside, nothing injected, everything there."""

import base64
import hashlib
import itertools
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parsed_pages import parsed

from syndigits_jax.report import Claim, Column, Report, Section, Table, to_html
from syndigits_jax.report.cells import legible

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")


@pytest.fixture(scope="session")
def text(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def page(text):
    return parsed(text)


def test_nothing_is_loaded(page, text):
    """No attribute leads out of the page, and its policy would refuse it if one did."""
    for element in page.all():
        for name, value in element.attributes.items():
            if name in ("href", "src", "srcset", "action", "data"):
                assert value.startswith(("#", "data:")), (element.tag, name, value)
            for target in re.findall(r"url\(([^)]*)\)", value):
                assert target.startswith("#"), (element.tag, name, value)
            assert not name.startswith("on"), (element.tag, name)
    style = page.all("style")
    assert len(style) == 1
    assert "url(" not in style[0].text and "@import" not in style[0].text
    policy = next(m for m in page.all("meta") if "Policy" in m.attributes.get("http-equiv", ""))
    assert "default-src 'none'" in policy.attributes["content"]


def test_the_only_script_is_ours(page, text):
    (script,) = page.all("script")
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text


def test_anchors_lead_somewhere(page):
    ids = [e.attributes["id"] for e in page.all() if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    used = {
        value[1:] for e in page.all() if (value := e.attributes.get("href", "")).startswith("#")
    }
    for element in page.all():
        used.update(re.findall(r"url\(#([^)]*)\)", " ".join(element.attributes.values())))
        if "aria-labelledby" in element.attributes:
            used.add(element.attributes["aria-labelledby"])
    assert used <= set(ids)
    sections = [e.attributes["id"] for e in page.all("section")]
    links = [e.attributes["href"][1:] for nav in page.all("nav") for e in nav.all("a")]
    assert links == sections


def test_everything_of_the_report_is_there(page, report):
    sentences = [p.text for p in page.all("p")]
    for claim in report.claims().values():
        assert sentences.count(legible(claim.text)) >= 1
        assert claim.source in page.text
    titles = [e.text for e in page.all(*HEADINGS)]
    for part in report.sections:
        assert part.title in titles
        for note in part.notes:
            assert note in [li.text for li in page.all("li")]
    tables = {
        e.attributes["aria-labelledby"]: e for e in page.all("table") if len(e.attributes) > 1
    }
    for name, table in report.tables().items():
        rows = tables[f"table-{name}"].all("tr")[1:]
        assert len(rows) == len(table.rows)
        for row, cells in zip(rows, table.rows):
            first = row.all("th")[0]
            assert first.text == legible(str(cells[table.columns[0].name]))
            assert first.attributes["scope"] == "row"
    for figure in report.figures().values():
        assert figure.caption in [e.text for e in page.all("figcaption")]
        assert figure.alt in [e.attributes.get("aria-label") for e in page.all("div")]


def test_numbers_shown_are_in_the_results(page, folder, report):
    """Cells show what `results.json` has, rounded; nothing is shown that it does not have."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    tables = {
        e.attributes["aria-labelledby"]: e for e in page.all("table") if len(e.attributes) > 1
    }
    compared = 0
    for name, table in results["tables"].items():
        columns = table["columns"]
        for shown, row in zip(tables[f"table-{name}"].all("tr")[1:], table["rows"], strict=True):
            for cell, column in zip(shown.all("th", "td"), columns, strict=True):
                value = row[column["name"]]
                if column["kind"] == "text":
                    continue
                compared += 1
                if value is None:
                    assert (cell.attributes["data-v"], cell.text) == ("", "-")
                    continue
                assert float(cell.attributes["data-v"]) == value
                texts = re.findall(r"-?[\d.,]+", cell.text)
                numbers = [float(one.strip(",").replace(",", "")) for one in texts]
                scale = 100 if column["kind"] == "share" else 1
                ends = [row[column[end]] for end in ("low", "high") if column[end]]
                half = 0.5 * 10.0 ** -(0 if column["kind"] != "number" else column["digits"])
                assert numbers == pytest.approx(
                    [scale * one for one in (value, *ends)], abs=half + 1e-9
                )
    assert compared > 60
    for part in page.all("dt"):
        name, _, numbers = part.text.partition(": ")
        claim = results["claims"][name]
        expected = dict(claim["values"]) | ({"level": claim["level"]} if claim["level"] else {})
        for one in filter(None, numbers.replace("no numbers", "").split(", ")):
            key, number = one.rsplit(" ", 1)
            value = expected.pop(key)
            assert (
                number == "-" if value is None else float(number) == pytest.approx(value, rel=1e-3)
            )
        assert not expected


def test_headings_and_tables_for_screen_readers(page):
    levels = [int(e.tag[1]) for e in page.all(*HEADINGS)]
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
    for table in page.all("table"):
        assert all(th.attributes.get("scope") in ("row", "col") for th in table.all("th"))
    for drawing in page.all("svg"):
        assert drawing.attributes["aria-hidden"] == "true"
    assert page.all("html")[0].attributes["lang"] == "en"


def test_long_tables_are_folded_and_can_be_sorted(page):
    wrappers = [e for e in page.all("div") if e.attributes.get("class") == "table"]
    folds = {e.all("h3")[0].attributes["id"]: e for e in wrappers}
    questions = folds["table-questions"]
    (fold,) = [e for e in questions.all("details") if e.attributes["class"] == "rest"]
    assert "10 more rows" in fold.text
    assert "sortable" in questions.all("table")[0].attributes["class"]
    assert "sortable" not in folds["table-methods"].all("table")[0].attributes["class"]
    assert not [e for e in folds["table-methods"].all("details") if e.attributes["class"] == "rest"]


def luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_contrast_in_light_and_dark(page):
    """WCAG 2.1: 4.5 for text, 3 for graphics that carry meaning."""
    style = page.all("style")[0].text
    themes = [
        dict(re.findall(r"--(\w+): (#\w{6})", part)) for part in re.findall(r":root \{[^}]*", style)
    ]
    light, dark = themes
    assert light.keys() == dark.keys()
    used = {
        name
        for e in page.all()
        for name in re.findall(r"var\(--(\w+)", e.attributes.get("style", ""))
    }
    assert used <= light.keys()
    for theme in themes:
        for name, least in (
            ("ink", 4.5),
            ("muted", 4.5),
            ("link", 4.5),
            ("blue", 3),
            ("grey", 3),
            ("orange", 3),
            ("green", 3),
        ):
            high, low = sorted((luminance(theme[name]), luminance(theme["paper"])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= least, name


@given(st.text(max_size=40))
def test_any_text_is_only_text(text):
    row = {"a": text, "b": 1.0}
    table = Table("t", text, (Column("a", text, "text"), Column("b", text)), (row,), note=text)
    part = Section("s", text, (Claim("c", text, source=text),), (table,), notes=(text,))
    page = parsed(to_html(Report(text, {text: text}, (), (part,), (text,))))
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert len(page.all("h1", "h2", "h3")) == 6
    wanted = legible(text).replace("\r", "\n")
    assert [page.all(tag)[0].text for tag in ("h1", "title")] == [wanted, wanted]
    assert [e.text for e in page.all("li")][-1] == wanted
    assert page.all("tbody")[1].all("th")[0].text == wanted


def test_a_notebook_shows_the_page_in_a_frame(report):
    small = Report(report.title, report.facts, report.summary, ())
    (frame,) = parsed(small._repr_html_()).all("iframe")
    assert frame.attributes["srcdoc"] == to_html(small)
