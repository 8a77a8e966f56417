"""JUnit XML, which most CI systems read as the results of tests."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

from mshub_ssd.lint.finding import Finding
from mshub_ssd.lint.formats.shared import visible
from mshub_ssd.lint.formats.text import fix_note, summary

if TYPE_CHECKING:
    from mshub_ssd.lint.report import Report

__all__ = ["render"]

_NAME = "mshub validate"


def render(report: Report) -> str:
    """One suite; errors and warnings are failed cases, infos passed ones; a clean run is one passed case."""
    failures = report.count("error") + report.count("warning")
    tests = len(report.findings) + len(report.unreadable)
    counts = {"tests": tests or 1, "failures": failures, "errors": len(report.unreadable)}
    attributes = {"name": _NAME, **{key: str(value) for key, value in counts.items()}}
    top = ElementTree.Element("testsuites", attributes)
    suite = ElementTree.SubElement(top, "testsuite", {**attributes, "skipped": "0"})
    for finding in report.findings:
        name = f"{finding.code} {finding.name} {finding.line}:{finding.column}"
        case = _case(suite, finding.path, name, line=str(finding.line))
        if finding.severity == "info":
            inner = ElementTree.SubElement(case, "system-out")
        else:
            message = visible(finding.message)
            inner = ElementTree.SubElement(case, "failure", {"type": finding.code, "message": message})
        inner.text = _told(finding)
    for item in report.unreadable:
        case = _case(suite, item.path, "readable")
        ElementTree.SubElement(case, "error", {"type": "unreadable", "message": visible(item.reason)})
    if not tests:
        case = ElementTree.SubElement(suite, "testcase", {"classname": _NAME, "name": "cards"})
        ElementTree.SubElement(case, "system-out").text = "\n".join(summary(report))
    ElementTree.indent(top)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(top, encoding="unicode")


def _case(suite: ElementTree.Element, path: str, name: str, **more: str) -> ElementTree.Element:
    shown = visible(path)
    attributes = {"classname": shown, "name": visible(name), "file": shown, **more}
    return ElementTree.SubElement(suite, "testcase", attributes)


def _told(finding: Finding) -> str:
    place = f"{finding.path}:{finding.line}:{finding.column}"
    lines = [f"{place}: {finding.severity} {finding.code} {finding.message} [{finding.name}]"]
    if finding.help:
        lines.append(f"help: {finding.help}")
    return "\n".join(filter(None, [*map(visible, lines), fix_note(finding)]))
