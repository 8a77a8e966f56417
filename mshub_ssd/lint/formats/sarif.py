"""SARIF 2.1.0, the exchange format of static analysis, as code scanning reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mshub_ssd.lint.finding import Edit, Finding, Fix
from mshub_ssd.lint.formats.shared import fingerprints, located, visible

if TYPE_CHECKING:
    from mshub_ssd.lint.report import Report
    from mshub_ssd.lint.rules import Rule

__all__ = ["render"]

_SCHEMA = "https://raw.githubusercontent.com/oasis-tcs/sarif-spec/master/Schemata/sarif-schema-2.1.0.json"
_LEVELS = {"error": "error", "warning": "warning", "info": "note"}
_LINK = re.compile(r"\[(?=[^\]]*\]\()")
# Halves of surrogate pairs, but for those that stand for undecodable bytes of a file's name.
_UNFIT = re.compile("[\ud800-\udc7f\udd00-\udfff]")
# A file whose every line end is to be fixed would be a report larger than itself.
_MAX_EDITS = 200


def render(report: Report, root: Path | None) -> str:
    """A log with one run.

    Fixes of very many edits, such as new line ends throughout a file, are left out.
    """
    from mshub_ssd.lint.rules import all_rules

    rules = all_rules()
    first = {finding.code: finding for finding in reversed(report.findings)}
    codes = sorted(first)
    index = {code: number for number, code in enumerate(codes)}
    driver = {
        "name": "mshub",
        "fullName": "mshub validate",
        "version": _version(),
        "rules": [_descriptor(first[code], rules) for code in codes],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(report, root)],
        "results": [
            _result(finding, index[finding.code], digest, root)
            for finding, digest in zip(report.findings, fingerprints(report.findings, root), strict=True)
        ],
    }
    log = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [run],
    }
    return json.dumps(log, indent=2)


def _version() -> str:
    try:
        return version("mshub_ssd")
    except PackageNotFoundError:
        return "0+unknown"


def _message(text: str) -> dict[str, str]:
    # In messages `[text](target)` is a link, and cards come from strangers.
    return {"text": _LINK.sub(r"\\[", "\n".join(visible(line) for line in text.split("\n")))}


def _descriptor(finding: Finding, rules: Mapping[str, Rule]) -> dict[str, Any]:
    descriptor: dict[str, Any] = {"id": finding.code, "name": finding.name}
    rule = rules.get(finding.code)
    if rule is None:
        return {**descriptor, "defaultConfiguration": {"level": _LEVELS[finding.severity]}}
    short = " ".join(rule.what.split("\n\n")[0].split())
    examples = {"Bad": rule.bad, "Good": rule.good}
    plain = "\n\n".join([rule.why, *(f"{title}:\n{text}" for title, text in examples.items())])
    marked = "\n\n".join([rule.why, *(f"{title}:\n\n````text\n{text}\n````" for title, text in examples.items())])
    return {
        **descriptor,
        "shortDescription": _message(short),
        "fullDescription": _message(rule.what),
        "help": {**_message(plain), "markdown": marked},
        "defaultConfiguration": {"level": _LEVELS[rule.severity], "enabled": rule.profile == "default"},
    }


def _result(finding: Finding, index: int, digest: str, root: Path | None) -> dict[str, Any]:
    region = {
        "startLine": finding.line,
        "startColumn": finding.column,
        "endLine": finding.end_line,
        "endColumn": finding.end_column,
    }
    artifact = _artifact(finding.path, root)
    result = {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "message": _message(f"{finding.message}\nhelp: {finding.help}" if finding.help else finding.message),
        "locations": [{"physicalLocation": {"artifactLocation": artifact, "region": region}}],
        # The name that code scanning looks for; without it, it hashes the surroundings of the line.
        "partialFingerprints": {"primaryLocationLineHash": f"{digest[:16]}:1"},
    }
    fix = finding.fix and _fix(finding.fix, artifact)
    if fix:
        result["fixes"] = [fix]
    return result


def _fix(fix: Fix, artifact: dict[str, str]) -> dict[str, Any] | None:
    replacements = [_replacement(edit) for edit in fix.edits[: _MAX_EDITS + 1]]
    if not replacements or len(replacements) > _MAX_EDITS or None in replacements:
        return None
    return {
        "description": _message(fix.title),
        "artifactChanges": [{"artifactLocation": artifact, "replacements": replacements}],
        "properties": {"applicability": "safe" if fix.safe else "unsafe"},
    }


def _replacement(edit: Edit) -> dict[str, Any] | None:
    region: dict[str, int]
    if (edit.start, edit.end) == (-1, 0):
        # A byte order mark is on no line: it can be told only as bytes.
        region = {"byteOffset": 0, "byteLength": 3}
    elif edit.span is None or edit.start < 0:
        return None
    else:
        span = edit.span
        region = {
            "startLine": span.line,
            "startColumn": span.column,
            "endLine": span.end_line,
            "endColumn": span.end_column,
        }
    replacement: dict[str, Any] = {"deletedRegion": region}
    if edit.text:
        replacement["insertedContent"] = {"text": edit.text}
    return replacement


def _invocation(report: Report, root: Path | None) -> dict[str, Any]:
    invocation: dict[str, Any] = {"executionSuccessful": not report.unreadable}
    if report.unreadable:
        invocation["toolExecutionNotifications"] = [
            {
                "level": "error",
                "message": _message(f"{item.path} cannot be read: {item.reason}"),
                "locations": [{"physicalLocation": {"artifactLocation": _artifact(item.path, root)}}],
            }
            for item in report.unreadable
        ]
    return invocation


def _artifact(path: str, root: Path | None) -> dict[str, str]:
    placed = located(path, root)
    address = quote(_UNFIT.sub("\ufffd", placed).encode("utf-8", "surrogateescape"))
    return {"uri": f"file://{address}"} if placed.startswith("/") else {"uri": address, "uriBaseId": "%SRCROOT%"}
