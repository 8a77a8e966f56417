"""The linter's reports for people: what is shown of how many findings, and that marks stand under their spans."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lint_reports import FULL, OVERRIDE, SAFE, finding, findings, golden, harmless, reports

from mshub_ssd.lint.finding import Finding
from mshub_ssd.lint.formats import FORMATS, render
from mshub_ssd.lint.report import Report

quick = settings(max_examples=150)


def text_of(found: Finding) -> list[str]:
    """The lines of text that show a single finding."""
    return render(Report((found,), checked=1), "text").split("\n\n")[0].split("\n")


def test_the_whole_of_a_text_report() -> None:
    assert render(FULL, "text") == golden("""
        hub/own/1.0/net_pets.md:43:15: error MC013 the digest has 8 of 64 hex digits [malformed-digest]
        43 | asset-sha256: "d231a06e"
           |               ^^^^^^^^^^
           = help: run sha256sum on the file

        hub/own/1.0/net_pets.md:7:16: error MC008 the digest has 8 of 64 hex digits [lossy-version]
        7 | model-version: 1.10
          |                ^^^^
          = note: fixable with --fix: put it in quotes

        hub/own/1.0/net_pets.md:9:1: warning MC007 the digest has 8 of 64 hex digits [malformed-digest]
        9 | licence: MIT
          | ^^^^^^^
          = note: fixable with --fix --unsafe-fixes: call it license

        hub/own/1.0/net_pets.md:110:1: info MC047 the digest has 8 of 64 hex digits [trailing-space]
        110 |
            | ^^

        hub/own/1.0/secret.md: error cannot be read: Permission denied

        fixed in a.md: MC003
        1 fix applied
        91 cards checked: 2 errors, 1 warning, 1 info (4 suppressed in the cards, 12 known to the baseline)
        fixable: 1 with --fix, 1 with --fix --unsafe-fixes
        1 entry of the baseline found nothing any more: --update-baseline drops them
        1 path could not be read
    """)
    assert str(FULL) == render(FULL, "text") == render(FULL, "full")


def test_a_concise_report_has_a_line_for_each_finding() -> None:
    assert render(FULL, "concise") == golden("""
        hub/own/1.0/net_pets.md:43:15: error MC013 the digest has 8 of 64 hex digits
        hub/own/1.0/net_pets.md:7:16: error MC008 the digest has 8 of 64 hex digits
        hub/own/1.0/net_pets.md:9:1: warning MC007 the digest has 8 of 64 hex digits
        hub/own/1.0/net_pets.md:110:1: info MC047 the digest has 8 of 64 hex digits

        hub/own/1.0/secret.md: error cannot be read: Permission denied

        fixed in a.md: MC003
        1 fix applied
        91 cards checked: 2 errors, 1 warning, 1 info (4 suppressed in the cards, 12 known to the baseline)
        fixable: 1 with --fix, 1 with --fix --unsafe-fixes
        1 entry of the baseline found nothing any more: --update-baseline drops them
        1 path could not be read
    """)


def flood(count: int) -> Report:
    """A report of as many findings in as many cards, most of them of one rule."""
    found = [finding(path=f"{number}.md", fix=SAFE if number == 1 else None) for number in range(count - 1)]
    last = finding(path="z.md", code="MC047", name="trailing-space", severity="info", message="two\nlines")
    return Report((*found, last), checked=count)


def test_many_findings_are_a_table_of_rules_and_a_line_each() -> None:
    few, many = flood(20), flood(21)
    assert render(few, "text") == render(few, "full")
    head, rules, lines, counts = [block.split("\n") for block in re.split("\n\n|(?<=name)\n", render(many, "text"))]
    assert head == ["findings  fixable  code   severity  name"]
    assert rules == [
        "      20        1  MC013  error     malformed-digest",
        "       1           MC047  info      trailing-space",
    ]
    assert lines[:2] == [f"{number}.md:43:15: error MC013 the digest has 8 of 64 hex digits" for number in (0, 1)]
    assert (len(lines), lines[20]) == (21, r"z.md:43:15: info MC047 two\nlines")
    assert counts[:2] == ["21 cards checked: 20 errors, 1 info", "fixable: 1 with --fix"]
    assert "--format full" in counts[2]
    assert len(counts) == 3
    # What is asked for by name is as it was asked for.
    concise = render(many, "concise").split("\n")
    assert concise == render(many, "text").split("\n")[:-1]
    assert render(many, "full").count("= note: fixable") == 1
    assert render(many, "full").count("^^^^^^^^^^") == 21


def test_many_fixed_cards_are_counted() -> None:
    fixes = tuple((f"{number}.md", ("MC003", "MC047")) for number in range(21))
    assert render(Report(checked=21, fixes=fixes[:20]), "text").count("fixed in ") == 20
    many = Report(checked=21, fixes=fixes)
    assert render(many, "text").split("\n") == [
        "fixed in 21 cards: MC003 x21, MC047 x21",
        "42 fixes applied",
        "21 cards checked, nothing else found",
    ]
    assert render(many, "full").count("fixed in ") == 21


def test_a_report_is_short_where_nobody_printed_it() -> None:
    assert repr(flood(300)) == "<Report: 300 cards checked: 299 errors, 1 info>"
    assert repr(Report(checked=1)) == "<Report: 1 card checked, nothing found>"
    many = [finding(code="MC048", name="<script>"), *[finding(code="MC049")] * 20]
    page = replace(FULL, findings=(*FULL.findings, *many))._repr_html_()
    table = ElementTree.fromstring(f"<page>{page}</page>")
    cells = [[cell.text for cell in row] for row in table.iter("tr")]
    assert cells[0] == ["findings", "fixable", "code", "severity", "name"]
    assert ["1", None, "MC048", "error", "<script>"] in cells
    assert "91 cards checked: 23 errors, 1 warning, 1 info" in page
    page = replace(FULL, findings=(finding(message="<b>\n\u202e", help="one\ntwo"),))._repr_html_()
    cells = [[cell.text for cell in row] for row in ElementTree.fromstring(f"<page>{page}</page>").iter("tr")]
    assert cells[0] == ["place", "severity", "what is wrong, and what to do"]
    assert cells[1][2].endswith("<b>\\n\\u202e; one")
    assert "<p>1 card checked, nothing found</p>" in Report(checked=1)._repr_html_()


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (Report(checked=91), "91 cards checked, nothing found"),
        (Report(checked=1), "1 card checked, nothing found"),
        (Report(), "0 cards checked, nothing found"),
        (Report(checked=2, suppressed=3), "2 cards checked, nothing found (3 suppressed in the cards)"),
        (Report(checked=2, baselined=3), "2 cards checked, nothing found (3 known to the baseline)"),
        (
            Report(checked=2, fixes=(("a.md", ("MC003", "MC047", "MC003")),)),
            "fixed in a.md: MC003 x2, MC047\n3 fixes applied\n2 cards checked, nothing else found",
        ),
        (
            Report(checked=2, fixes=(("a.md", ("MC003",)),), diff="--- a"),
            "fixed in a.md: MC003\n1 fix to apply\n2 cards checked, nothing else found",
        ),
        (
            Report(checked=2, outdated=2),
            "2 cards checked, nothing found\n2 entries of the baseline found nothing any more: "
            "--update-baseline drops them",
        ),
    ],
)
def test_a_clean_run_says_so(report: Report, expected: str) -> None:
    assert render(report, "text") == expected


@pytest.mark.parametrize(
    ("found", "source", "marks"),
    [
        # What stands before the span takes its own room in a terminal.
        (finding("a\tb: x", (5, 6)), "a    b: x", "        ^"),
        (finding("a: \t\t", (3, 5)), "a:", "   ^^^^^^^^"),
        (finding("摘要: 检测器 x", (4, 7)), "摘要: 检测器 x", "      ^^^^^^"),
        (finding("cafe\u0301: no", (7, 9)), "cafe\u0301: no", "      ^^"),
        (finding("cafe\u0301s", (4, 5)), "cafe\u0301s", "   ^"),
        (finding("\u1112\u1161\u11ab: x", (5, 6)), "\u1112\u1161\u11ab: x", "    ^"),
        # What terminals would obey, or not show, is spelt out, and underlined as it is spelt.
        (finding("a\x1b[31mb", (1, 2)), "a\\x1b[31mb", " ^^^^"),
        (finding(f"a{OVERRIDE}b", (1, 2)), "a\\u202eb", " ^^^^^^"),
        (finding("a\u00a0b", (2, 3)), "a\\xa0b", "     ^"),
        (finding("a\U000e0001b", (2, 3)), "a\\U000e0001b", "           ^"),
        (finding("a\udce9b", (2, 3)), "a\\udce9b", "       ^"),
        # Nothing to underline: one mark where something is missing.
        (finding("abc", (1, 1)), "abc", " ^"),
        (finding("abc", (3, 3)), "abc", "   ^"),
        (finding("", (0, 0)), "", "^"),
        (finding("abc", (9, 12)), "abc", "   ^"),
        # Of several lines, the first to its end.
        (finding("asset: [", (7, 3), end_line=45), "asset: [", "       ^"),
        (finding("asset:  [a,", (0, 0), end_line=44), "asset:  [a,", "^" * 11),
        (finding("abc", (3, 0), end_line=44), "abc", "   ^"),
    ],
)
def test_marks_stand_under_the_span(found: Finding, source: str, marks: str) -> None:
    assert text_of(found)[1:3] == [f"43 | {source}".rstrip(), f"   | {marks}"]


@pytest.mark.parametrize(
    ("found", "source", "marks"),
    [
        (
            finding("a" * 300 + "XY" + "b" * 300, (300, 302)),
            "..." + "a" * 56 + "XY" + "b" * 56 + "...",
            " " * 59 + "^^",
        ),
        (finding("XY" + "b" * 300, (0, 2)), "XY" + "b" * 112 + "...", "^^"),
        (finding("a" * 300 + "XY", (300, 302)), "..." + "a" * 112 + "XY", " " * 115 + "^^"),
        (finding("a" * 300 + "XYZ", (300, 302)), "..." + "a" * 111 + "XYZ", " " * 114 + "^^"),
        (finding("X" * 5000, (2000, 4000)), "..." + "X" * 114 + "...", " " * 3 + "^" * 114),
        (finding("\t" * 90 + "X", (90, 91)), "..." + "    " * 28 + "X", " " * 115 + "^"),
        (finding("字" * 80 + "X", (80, 81)), "..." + "字" * 56 + "X", " " * 115 + "^"),
        # No mark without the letter it stands on, and nothing behind the span that is not next to it.
        (finding("字\u0301" * 100 + "X", (200, 201)), "..." + "字\u0301" * 56 + "X", " " * 115 + "^"),
        (finding("x" + "\u0301" * 300 + "tail", (1, 301)), "x" + "\u0301" * 240 + "...", "^"),
        (finding("字" * 60, (59, 60)), "字" * 60, " " * 118 + "^^"),
        (finding("x" * 119 + "é", (119, 120)), "x" * 119 + "é", " " * 119 + "^"),
    ],
)
def test_long_lines_are_clipped_around_the_span(found: Finding, source: str, marks: str) -> None:
    assert text_of(found)[1:3] == [f"43 | {source}", f"   | {marks}"]


def test_a_line_of_a_mebibyte_is_shown_at_once() -> None:
    for filling in ("x", "字", "\u0301", "\x1b"):
        shown = text_of(finding(filling * (1 << 20), (500_000, 500_001)))
        assert max(map(len, shown)) < 1000


def test_a_file_that_cannot_be_shown_has_no_line() -> None:
    found = finding("", (0, 0), line=1, end_line=1, message="the card is larger than 1 MiB", help="link to pictures")
    assert text_of(found) == [
        "hub/own/1.0/net_pets.md:1:1: error MC013 the card is larger than 1 MiB [malformed-digest]",
        "  = help: link to pictures",
    ]


def test_help_may_have_several_lines() -> None:
    assert text_of(finding(help="write\nasset:\n  - a"))[3:] == [
        "   = help: write",
        "           asset:",
        "             - a",
    ]


def test_colours_only_on_request() -> None:
    plain, colored = render(FULL, "text"), render(FULL, "text", color=True)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain
    assert "\x1b[1;31merror MC013\x1b[0m" in colored
    assert "\x1b[1;33m^^^^^^^\x1b[0m" in colored
    assert "\x1b[1;32m" in render(Report(checked=1), "text", color=True)
    assert "\x1b[1;31merror MC013\x1b[0m" in render(FULL, "concise", color=True)
    for name in FORMATS[3:]:
        assert render(FULL, name, color=True) == render(FULL, name)


# --- any report -----------------------------------------------------------------------------------------------------


@quick
@given(reports, st.booleans())
def test_text_never_steers_a_terminal(report: Report, color: bool) -> None:
    for name in ("text", "full", "concise"):
        text = render(report, name, color=color)
        assert harmless(re.sub(r"\x1b\[(?:[0-9];)?[0-9]{0,2}m", "", text) if color else text)


def columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me") or "\u1160" <= char <= "\u11ff" or "\ud7b0" <= char <= "\ud7fb":
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def spelt(char: str) -> str:
    if char == "\t":
        return "    "
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")


@quick
@given(findings())
@example(finding("\u0301" * 500, (200, 400)))
@example(finding("字\u0301" * 100, (99, 101)))
@example(finding("x" * 200 + "\u0301y", (200, 201)))
def test_marks_stand_under_the_span_of_any_line(found: Finding) -> None:
    found = replace(
        found, path="a.md", message="m", help=None, fix=None, line=found.line + 1, end_line=found.end_line + 1
    )
    _, source, marks = text_of(found)
    gutter = len(str(found.line)) + 3
    shown = source[gutter:].ljust(125)
    place = re.fullmatch(r"( *)(\^+)", marks[gutter:])
    assert place
    first, behind = place.span(2)
    assert sum(map(columns, shown.rstrip())) <= 120
    under, at = "", 0
    for char in shown:
        under += char if columns(char) and first <= at < behind else ""
        at += columns(char)
    last = len(found.excerpt) if found.end_line > found.line else found.end_column - 1
    before, span = found.excerpt[: found.column - 1], found.excerpt[found.column - 1 : last]
    expected = "".join(char for char in map(spelt, span) if len(char) > 1 or columns(char))
    width = sum(map(columns, expected))
    if width == 0:
        # Nothing, or only marks on the letter before: one caret, there.
        assert behind - first == 1
        ahead = sum(columns(char) for char in "".join(map(spelt, before)))
        if not source.startswith("...", gutter):
            assert first == (max(ahead - 1, 0) if span else ahead)
    elif width <= 114:
        assert under == expected
    else:
        assert len(under) > 50
        assert under in expected
