"""The linter's output formats for machines: what they read back."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lint_reports import FULL, SAFE, finding, golden, harmless, reports

from mshub_ssd.cards.nodes import Source
from mshub_ssd.errors import UsageError
from mshub_ssd.lint.finding import Edit, Fix
from mshub_ssd.lint.formats import render
from mshub_ssd.lint.report import Report
from mshub_ssd.lint.rules import all_rules

quick = settings(max_examples=150)

SARIF_SCHEMA = json.loads((Path(__file__).parent / "data" / "sarif-schema-2.1.0.json").read_text(encoding="utf-8"))
SARIF = jsonschema.Draft7Validator(SARIF_SCHEMA)


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
    assert caught.value.expected == "text, full, concise, json, github, gitlab, sarif, junit"
