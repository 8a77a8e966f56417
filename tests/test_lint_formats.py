"""The linter's output formats: what people see, and what machines read back."""

from __future__ import annotations

import json
import re
import textwrap
import unicodedata
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lint_reports import OVERRIDE, SAFE, UNSAFE, finding, findings, reports

from mshub_ssd.cards.nodes import Source
from mshub_ssd.errors import UsageError
from mshub_ssd.lint.finding import Edit, Finding, Fix
from mshub_ssd.lint.formats import FORMATS, render
from mshub_ssd.lint.report import Report, Unreadable
from mshub_ssd.lint.rules import all_rules

quick = settings(max_examples=150)

SARIF_SCHEMA = json.loads((Path(__file__).parent / "data" / "sarif-schema-2.1.0.json").read_text(encoding="utf-8"))
SARIF = jsonschema.Draft7Validator(SARIF_SCHEMA)


FULL = Report(
    findings=(
        finding(help="run sha256sum on the file"),
        finding("model-version: 1.10", (15, 19), line=7, end_line=7, code="MC008", name="lossy-version", fix=SAFE),
        finding("licence: MIT", (0, 7), line=9, end_line=9, code="MC007", severity="warning", fix=UNSAFE),
        finding("  ", (0, 2), line=110, end_line=110, code="MC047", name="trailing-space", severity="info"),
    ),
    checked=91,
    unreadable=(Unreadable("hub/own/1.0/secret.md", "Permission denied"),),
    suppressed=4,
    baselined=12,
    outdated=1,
    fixes=(("a.md", ("MC003",)),),
)


def text_of(found: Finding) -> list[str]:
    """The lines of text that show a single finding."""
    return render(Report((found,), checked=1), "text").split("\n\n")[0].split("\n")


def golden(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


# --- text ---------------------------------------------------------------------------------------------------------


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
          = note: fixable with --unsafe-fixes: call it license

        hub/own/1.0/net_pets.md:110:1: info MC047 the digest has 8 of 64 hex digits [trailing-space]
        110 |
            | ^^

        hub/own/1.0/secret.md: error cannot be read: Permission denied

        fixed in a.md: MC003
        1 fix applied
        91 cards checked: 2 errors, 1 warning, 1 info (4 suppressed in the cards, 12 known to the baseline)
        fixable: 1 with --fix, 1 with --unsafe-fixes
        1 entry of the baseline found nothing any more: --update-baseline drops them
        1 path could not be read
    """)
    assert str(FULL) == render(FULL, "text")


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
    for name in FORMATS[1:]:
        assert render(FULL, name, color=True) == render(FULL, name)


# --- any report -----------------------------------------------------------------------------------------------------


def harmless(text: str) -> bool:
    return all(char == "\n" or char.isprintable() for char in text)


@quick
@given(reports, st.booleans())
def test_text_never_steers_a_terminal(report: Report, color: bool) -> None:
    text = render(report, "text", color=color)
    assert harmless(re.sub(r"\x1b\[(?:[0-9];)?[0-9]{0,2}m", "", text) if color else text)


def columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me") or char == "\u1161":
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


# --- machines ---------------------------------------------------------------------------------------------------------


@quick
@given(reports)
def test_json_is_the_report(report: Report) -> None:
    text = render(report, "json")
    assert text.isascii()
    assert json.loads(text) == report.to_dict()
    assert text.startswith('{\n  "findings": [')


def test_json_has_the_promised_keys() -> None:
    parsed = json.loads(render(FULL, "json"))
    assert set(parsed) == {"findings", "summary"}
    keys = {"code", "severity", "path", "line", "column", "end_line", "end_column", "message", "help", "fix"}
    assert all(set(item) == keys for item in parsed["findings"])
    assert parsed["summary"]["errors"] == 2


def commands(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Workflow commands as GitHub's runner reads them."""
    found = []
    for line in text.split("\n"):
        if line.startswith("::"):
            head, _, data = line[2:].partition("::")
            name, _, rest = head.partition(" ")
            pairs = [pair.partition("=") for pair in rest.split(",")]
            found.append((name, {key: decoded(value) for key, _, value in pairs}, decoded(data)))
    return found


def decoded(text: str) -> str:
    for code, char in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, char)
    return text


def test_a_github_annotation() -> None:
    found = finding(path="a,b:c%.md", message="50% of it", help="fix it", fix=SAFE)
    several = finding(severity="info", end_line=45)
    text = render(Report((found, several), checked=2), "github")
    assert text.split("\n")[0] == (
        "::error file=a%2Cb%3Ac%25.md,line=43,col=15,endLine=43,endColumn=25,title=MC013 malformed-digest"
        "::a,b:c%25.md:43:15: MC013 50%25 of it%0Ahelp: fix it%0Afixable with --fix: put it in quotes"
    )
    # GitHub's runner drops columns that are on different lines.
    assert text.split("\n")[1].startswith("::notice file=hub/own/1.0/net_pets.md,line=43,endLine=45,title=")
    assert text.split("\n")[2:] == ["2 cards checked: 1 error, 1 info", "fixable: 1 with --fix"]


@quick
@given(reports)
def test_github_gets_one_command_for_each_finding(report: Report) -> None:
    text = render(report, "github")
    assert harmless(text)
    read = commands(text)
    assert len(read) == len(report.findings) + len(report.unreadable)
    levels = {"error": "error", "warning": "warning", "info": "notice"}
    for found, (name, properties, message) in zip(report.findings, read, strict=False):
        assert name == levels[found.severity]
        assert properties["line"] == str(found.line)
        assert properties["title"] == f"{found.code} {found.name}"
        assert properties["file"].isprintable()
        assert f":{found.line}:{found.column}: {found.code} " in message
        if found.path.isprintable():
            assert properties["file"] == found.path


@quick
@given(reports, st.integers(1, 50))
def test_gitlab_fingerprints_are_unique_and_outlive_shifts(report: Report, shift: int) -> None:
    text = render(report, "gitlab")
    issues = json.loads(text)
    assert text.isascii()
    assert len(issues) == len(report.findings) + len(report.unreadable)
    for issue in issues:
        assert issue["severity"] in {"info", "minor", "major", "critical", "blocker"}
        assert issue["description"].isprintable()
        assert issue["check_name"]
        assert issue["location"]["lines"]["begin"] >= 1
        json.dumps(issue, ensure_ascii=False).encode("utf-8")  # no half characters
    prints = [issue["fingerprint"] for issue in issues]
    assert len(set(prints)) == len(prints)
    moved = [replace(found, line=found.line + shift, end_line=found.end_line + shift) for found in report.findings]
    again = json.loads(render(replace(report, findings=tuple(moved)), "gitlab"))
    assert [issue["fingerprint"] for issue in again] == prints


def test_a_gitlab_issue() -> None:
    first, _, third, fourth, lost = json.loads(render(FULL, "gitlab"))
    fingerprint = first.pop("fingerprint")
    assert re.fullmatch("[0-9a-f]{64}", fingerprint)
    assert first == {
        "description": "MC013 the digest has 8 of 64 hex digits; run sha256sum on the file",
        "check_name": "MC013",
        "severity": "major",
        "location": {"path": "hub/own/1.0/net_pets.md", "lines": {"begin": 43, "end": 43}},
    }
    assert [issue["severity"] for issue in (third, fourth, lost)] == ["minor", "info", "critical"]
    other = json.loads(render(Report((finding('asset-sha256: "0a47a1ca"'),), checked=1), "gitlab"))
    assert other[0]["fingerprint"] != fingerprint


@settings(quick, max_examples=60)
@given(reports)
def test_sarif_is_valid_whatever_it_says(report: Report) -> None:
    text = render(report, "sarif")
    assert text.isascii()
    log = json.loads(text)
    assert [error.message for error in SARIF.iter_errors(log)] == []
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == sorted({found.code for found in report.findings})
    assert len(run["results"]) == len(report.findings)
    for result, found in zip(run["results"], report.findings, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == found.code
        place = result["locations"][0]["physicalLocation"]
        assert place["region"]["startColumn"] == found.column
        address = place["artifactLocation"]
        assert re.fullmatch(r"[\w.~/%:-]*", address["uri"], re.ASCII)
        if not found.path.startswith("/") and "\udfff" not in found.path:
            assert address["uriBaseId"] == "%SRCROOT%"
            assert unquote(address["uri"], errors="surrogateescape") == found.path
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] == (not report.unreadable)
    assert len(invocation.get("toolExecutionNotifications", ())) == len(report.unreadable)


def test_a_sarif_log() -> None:
    (run,) = json.loads(render(FULL, "sarif"))["runs"]
    assert run["columnKind"] == "unicodeCodePoints"
    result = run["results"][1]
    assert result.pop("partialFingerprints")
    assert result == {
        "ruleId": "MC008",
        "ruleIndex": 1,
        "level": "error",
        "message": {"text": "the digest has 8 of 64 hex digits"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": "hub/own/1.0/net_pets.md", "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": 7, "startColumn": 16, "endLine": 7, "endColumn": 20},
                }
            }
        ],
        "fixes": [
            {
                "description": {"text": "put it in quotes"},
                "artifactChanges": [
                    {
                        "artifactLocation": {"uri": "hub/own/1.0/net_pets.md", "uriBaseId": "%SRCROOT%"},
                        "replacements": [
                            {
                                "deletedRegion": {"startLine": 1, "startColumn": 16, "endLine": 1, "endColumn": 20},
                                "insertedContent": {"text": '"1.10"'},
                            }
                        ],
                    }
                ],
                "properties": {"applicability": "safe"},
            }
        ],
    }
    assert [item["level"] for item in run["results"]] == ["error", "error", "warning", "note"]
    assert run["results"][0]["message"]["text"].endswith("digits\nhelp: run sha256sum on the file")
    (notification,) = run["invocations"][0]["toolExecutionNotifications"]
    assert notification["message"]["text"] == "hub/own/1.0/secret.md cannot be read: Permission denied"
    # The rules say what `--explain` says, at the severity they have by themselves.
    rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    for code, known in all_rules().items():
        if code in rules:
            assert rules[code]["fullDescription"]["text"].startswith(known.what[:20])
            assert known.why in rules[code]["help"]["text"]
            level = "note" if known.severity == "info" else known.severity
            assert rules[code]["defaultConfiguration"] == {"level": level, "enabled": known.profile == "default"}


def test_sarif_messages_hold_no_links_of_strangers() -> None:
    (run,) = json.loads(render(Report((finding(message="got '[x](http://evil)' [y]"),)), "sarif"))["runs"]
    assert run["results"][0]["message"]["text"] == "got '\\[x](http://evil)' [y]"


@quick
@given(st.text("ab\n\r字\U0001f600", max_size=40), st.integers(0, 40), st.integers(0, 40), st.text("xy\n", max_size=3))
def test_a_sarif_fix_does_what_the_edit_does(text: str, one: int, other: int, new: str) -> None:
    start, end = sorted((min(one, len(text)), min(other, len(text))))
    edit = Edit(start, end, new, Source(text).span(start, end))
    (run,) = json.loads(render(Report((finding(fix=Fix("fix", (edit,))),)), "sarif"))["runs"]
    (replacement,) = run["results"][0]["fixes"][0]["artifactChanges"][0]["replacements"]
    region = replacement["deletedRegion"]
    rows = re.split("(?<=\n)|(?<=\r)(?!\n)", text)
    offsets = [
        sum(map(len, rows[: region[f"{edge}Line"] - 1])) + region[f"{edge}Column"] - 1 for edge in ("start", "end")
    ]
    inserted = replacement.get("insertedContent", {"text": ""})["text"]
    assert text[: offsets[0]] + inserted + text[offsets[1] :] == text[:start] + new + text[end:]


def test_sarif_tells_a_byte_order_mark_as_bytes_and_leaves_out_what_it_cannot_tell() -> None:
    mark = Fix("delete it", (Edit(-1, 0, "", Source("").span(0, 0)),))
    placeless = Fix("?", (Edit(3, 4, "x"),))
    many = Fix("end lines with LF", tuple(Edit(at, at + 1, "", Source("a").span(0, 1)) for at in range(1000)))
    found = tuple(finding(fix=fix) for fix in (mark, placeless, many))
    log = json.loads(render(Report(found), "sarif"))
    assert not list(SARIF.iter_errors(log))
    first, *others = log["runs"][0]["results"]
    (replacement,) = first["fixes"][0]["artifactChanges"][0]["replacements"]
    assert replacement == {"deletedRegion": {"byteOffset": 0, "byteLength": 3}}
    assert all("fixes" not in result for result in others)


@quick
@given(reports)
def test_junit_is_xml_whatever_it_says(report: Report) -> None:
    text = render(report, "junit")
    assert harmless(text)
    top = ElementTree.fromstring(text.encode("utf-8"))
    (suite,) = top
    cases = suite.findall("testcase")
    failed = [found for found in report.findings if found.severity != "info"]
    failures = suite.findall("testcase/failure")
    errors = suite.findall("testcase/error")
    assert [failure.get("type") for failure in failures] == [found.code for found in failed]
    assert len(errors) == len(report.unreadable)
    assert len(cases) == max(1, len(report.findings) + len(errors))
    for element in (top, suite):
        counts = [element.get(name) for name in ("tests", "failures", "errors")]
        assert counts == [str(len(cases)), str(len(failures)), str(len(errors))]
    assert all(case.get("name") and case.get("classname") is not None for case in cases)
    assert (not failures and not errors) == report.ok


def test_a_junit_case() -> None:
    assert render(Report((finding(path="a.md", message='<b>"', help="fix it"),), checked=1), "junit") == golden("""
        <?xml version="1.0" encoding="utf-8"?>
        <testsuites name="mshub validate" tests="1" failures="1" errors="0">
          <testsuite name="mshub validate" tests="1" failures="1" errors="0" skipped="0">
            <testcase classname="a.md" name="MC013 malformed-digest 43:15" file="a.md" line="43">
              <failure type="MC013" message="&lt;b&gt;&quot;">a.md:43:15: error MC013 &lt;b&gt;" [malformed-digest]
        help: fix it</failure>
            </testcase>
          </testsuite>
        </testsuites>
    """)
    clean = ElementTree.fromstring(render(Report(checked=91), "junit"))
    assert [case.findtext("system-out") for case in clean.iter("testcase")] == ["91 cards checked, nothing found"]


def test_paths_are_told_relative_to_a_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "repository" / "cards"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    outside = tmp_path / "näh e.md"
    report = Report((finding(path="a#b.md"), finding(path=str(outside))), checked=2)
    for root in (work.parent, Path("..")):
        issues = json.loads(render(report, "gitlab", root=root))
        assert [issue["location"]["path"] for issue in issues] == ["cards/a#b.md", str(outside)]
        assert "::error file=cards/a#b.md," in render(report, "github", root=root)
        (run,) = json.loads(render(report, "sarif", root=root))["runs"]
        places = [result["locations"][0]["physicalLocation"]["artifactLocation"] for result in run["results"]]
        assert places[0] == {"uri": "cards/a%23b.md", "uriBaseId": "%SRCROOT%"}
        assert places[1] == {"uri": f"file://{tmp_path}/n%C3%A4h%20e.md"}
    assert json.loads(render(report, "gitlab"))[0]["location"]["path"] == "a#b.md"


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match="output format") as caught:
        render(Report(), "xml")
    assert caught.value.expected == "text, json, github, gitlab, sarif, junit"
