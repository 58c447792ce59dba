"""A report in a terminal, and the texts of its figures."""

import io
import re
import unicodedata

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure as Canvas
from parsed_pages import parsed

from syndigits_jax.report import Column, Report, Section, Table, to_html, to_markdown
from syndigits_jax.report import glyphs as glyphs_module
from syndigits_jax.report.cells import shown, shown_fact, shown_interval
from syndigits_jax.report.glyphs import escape_unknown, needed_fonts


def columns_of(line):
    wide = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)
    return wide - sum(unicodedata.category(c) in ("Mn", "Me", "Cf") for c in line)


def test_a_terminal_shows_it_in_80_columns(report):
    text = str(report)
    lines = text.split("\n")
    assert max(map(columns_of, lines)) <= 80
    flat = " ".join(text.split())
    for claim in report.claims().values():
        assert " ".join(claim.text.split()) in flat
    assert not [c for c in text if unicodedata.category(c) == "Cc" and c != "\n"]
    assert "0.42 [0.37, 0.47]" in text
    assert "... and 17 more" in text


def test_tables_too_broad_for_a_terminal_go_on_below():
    columns = tuple(Column(f"c{i}", f"A column of some breadth {i}") for i in range(8))
    rows = tuple({f"c{i}": 10 * j + i for i in range(8)} for j in range(2))
    text = str(Report("R", {}, (), (Section("s", "S", tables=(Table("t", "T", columns, rows),)),)))
    assert max(map(len, text.split("\n"))) <= 80
    for i in range(8):
        assert f"breadth {i}" in text and f"{10 + i}.00" in text


@pytest.mark.parametrize(
    ("cell", "kind", "digits", "text"),
    [
        (0.12345, "number", 2, "0.12"),
        (-0.0001, "number", 2, "0.00"),
        (0.4249, "share", 2, "42%"),
        (0.4249, "share", 3, "42.5%"),
        (12345.0, "count", 2, "12,345"),
        (float("nan"), "share", 2, "-"),
        (None, "count", 2, "-"),
        (3, "text", 2, "3"),
        ("men", "text", 2, "men"),
        ("too few", "number", 2, "too few"),
    ],
)
def test_cells_are_rounded_as_their_column_says(cell, kind, digits, text):
    assert shown(cell, Column("a", "A", kind, digits)) == text


def test_intervals_are_shown_where_both_ends_are_known():
    column = Column("a", "A", "share", low="l", high="u")
    assert shown_interval({"a": 0.5, "l": 0.4, "u": 0.61}, column) == "[40%, 61%]"
    assert shown_interval({"a": 0.5, "l": float("nan"), "u": 0.6}, column) == ""
    assert shown_fact(12760) == "12,760" and shown_fact(0.5) == "0.500"


def labelled(text):
    """A figure with `text` as a tick label, and as a title."""
    axes = Canvas().subplots()
    axes.set_yticks([0, 1], [text, "plain"])
    axes.set_title(text)
    return axes.figure


def texts(figure):
    figure.savefig(io.BytesIO())  # warnings about absent glyphs are errors
    return figure.axes[0].get_yticklabels()[0].get_text(), figure.axes[0].get_title()


def test_characters_without_a_font_are_escaped(monkeypatch):
    monkeypatch.setattr(glyphs_module, "_found", lambda lacking: ())
    figure = labelled("a \U000e0041中\x07\u202e 文")
    escape_unknown(figure, needed_fonts(figure))
    assert set(texts(figure)) == {"a \\u4e2d\ufffd \\u6587"}
    long = labelled("中" * 40)
    escape_unknown(long, [])
    assert re.fullmatch(r"(\\u4e2d)+.{0,5}…", texts(long)[0])


def test_a_font_that_has_the_characters_is_found(tmp_path, monkeypatch):
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    pen.lineTo((500, 0))
    pen.lineTo((250, 700))
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    names = [".notdef", "middle"]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({0xF0123: "middle"})
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (600, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Only One Glyph", "styleName": "Regular"})
    builder.setupOS2(usWeightClass=400)
    builder.setupPost()
    builder.save(tmp_path / "one.ttf")
    before = list(font_manager.fontManager.ttflist)
    font_manager.fontManager.addfont(tmp_path / "one.ttf")
    glyphs_module._found.cache_clear()
    monkeypatch.setattr(glyphs_module, "_visible", lambda c: True)  # it is of private use
    try:
        figure = labelled("x\U000f0123")
        fonts = needed_fonts(figure)
        assert fonts == ["Only One Glyph"]
        escape_unknown(figure, fonts)
        assert figure.axes[0].get_title() == "x\U000f0123"
    finally:
        font_manager.fontManager.ttflist[:] = before
        glyphs_module._found.cache_clear()


def in_parts(part="measure"):
    columns = (Column("group", "Group", "text"), Column("value", "Value"))
    rows = tuple(
        {"measure": measure, "group": group, "value": value}
        for measure, value in (("Spread <s>", 1.25), ("Correlation", 0.5))
        for group in ("old", "young")
    )
    table = Table("t", "T", columns, rows, part=part)
    return Report("R", {}, (), (Section("s", "S", tables=(table,)),))


def test_the_title_of_a_part_stands_once_above_its_rows():
    found = in_parts()
    wanted = ["Spread <s>", "old", "young", "Correlation", "old", "young"]
    text = [line.split()[0] for line in str(found).splitlines() if line.startswith("  ")]
    assert text == ["Group", *(title.split()[0].upper() if title[0].isupper() else title
                               for title in wanted)]  # fmt: skip
    lines = [line.split("|")[1].strip() for line in to_markdown(found).splitlines() if "|" in line]
    assert [line.replace("\\", "") for line in lines[-6:]] == wanted
    (table,) = [
        one for one in parsed(to_html(found)).all("table") if "facts" not in str(one.attributes)
    ]
    assert [row.all("th")[0].text for row in table.all("tbody")[0].all("tr")] == wanted[:1]
    assert [[th.text for th in body.all("th")] for body in table.all("tbody")] == [
        wanted[:1], wanted[1:3], wanted[3:4], wanted[4:],
    ]  # fmt: skip
    assert table.all("tbody")[0].all("th")[0].attributes["colspan"] == "2"
    with pytest.raises(ValueError, match="no row has a cell 'kind'"):
        in_parts("kind").check()
