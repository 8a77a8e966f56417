"""Workflow commands, which GitHub shows as annotations in the diff of a pull request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mshub_ssd.lint.finding import Finding
from mshub_ssd.lint.formats.shared import located, visible
from mshub_ssd.lint.formats.text import fix_note, summary

if TYPE_CHECKING:
    from mshub_ssd.lint.report import Report

__all__ = ["render"]

_COMMANDS = {"error": "error", "warning": "warning", "info": "notice"}


def render(report: Report, root: Path | None) -> str:
    """One command per finding and unreadable path, then the counts as plain lines for the log."""
    lines = [_annotation(finding, located(finding.path, root)) for finding in report.findings]
    for item in report.unreadable:
        path = located(item.path, root)
        lines.append(_command("error", {"file": path, "title": "unreadable"}, f"{path} cannot be read: {item.reason}"))
    return "\n".join([*lines, *summary(report)])


def _annotation(finding: Finding, path: str) -> str:
    properties: dict[str, str | int] = {"file": path, "line": finding.line}
    if finding.line == finding.end_line:
        properties |= {"col": finding.column, "endLine": finding.end_line, "endColumn": finding.end_column}
    else:
        # The runner refuses columns on several lines.
        properties["endLine"] = finding.end_line
    properties["title"] = f"{finding.code} {finding.name}"
    # The log shows nothing but the message: it has to name the place again.
    text = [f"{path}:{finding.line}:{finding.column}: {finding.code} {finding.message}"]
    if finding.help:
        text.append(f"help: {finding.help}")
    note = fix_note(finding)
    return _command(_COMMANDS[finding.severity], properties, *text, *([note] if note else []))


def _command(name: str, properties: dict[str, str | int], *lines: str) -> str:
    given = ",".join(f"{key}={_escaped(visible(str(value)), ':,')}" for key, value in properties.items())
    return f"::{name} {given}::{_escaped(chr(10).join(map(visible, lines)))}"


def _escaped(text: str, more: str = "") -> str:
    for char in f"%\r\n{more}":  # the percent sign first
        text = text.replace(char, f"%{ord(char):02X}")
    return text
