"""GitLab's Code Quality report, which it shows in merge requests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd.lint.formats.shared import fingerprints, headline, located, visible, well_formed

if TYPE_CHECKING:
    from mshub_ssd.lint.report import Report

__all__ = ["render"]

_SEVERITIES = {"error": "major", "warning": "minor", "info": "info"}


def render(report: Report, root: Path | None) -> str:
    """A JSON list of issues."""
    issues = [
        _issue(
            finding.code,
            headline(finding),
            _SEVERITIES[finding.severity],
            fingerprint,
            located(finding.path, root),
            {"begin": finding.line, "end": finding.end_line},
        )
        for finding, fingerprint in zip(report.findings, fingerprints(report.findings, root), strict=True)
    ]
    for number, item in enumerate(report.unreadable):
        path = located(item.path, root)
        fingerprint = hashlib.sha256(f"unreadable\0{number}\0{path}".encode("utf-8", "surrogatepass")).hexdigest()
        text = f"cannot be read: {visible(item.reason)}"
        issues.append(_issue("unreadable", text, "critical", fingerprint, path, {"begin": 1, "end": 1}))
    return json.dumps(issues, indent=2)


def _issue(
    check: str, description: str, severity: str, fingerprint: str, path: str, lines: dict[str, int]
) -> dict[str, Any]:
    return {
        "description": description,
        "check_name": check,
        "fingerprint": fingerprint,
        "severity": severity,
        "location": {"path": well_formed(path), "lines": lines},
    }
