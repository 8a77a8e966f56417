"""What the linter has to say: findings with their places, fixes, and the report they make up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from mshub_ssd.cards import Span

__all__ = ["SEVERITIES", "Edit", "Finding", "Fix", "Report", "Severity", "Unreadable"]

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""The worst first."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the characters from `start` to `end` of the card by `text`.

    Offsets count characters of the decoded text behind a byte order mark, which is itself at -1.
    """

    start: int
    end: int
    text: str
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Fix:
    """A mend of one finding.

    Attributes:
        title: What it does, in one line.
        edits: Its changes; they do not overlap.
        safe: Whether the card means the same afterwards, so that ``--fix`` may apply it unasked.
    """

    title: str
    edits: tuple[Edit, ...]
    safe: bool = True

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values; lines and columns count from 1, the end is exclusive."""
        edits = []
        for edit in self.edits:
            span = edit.span or Span(1, 1, 1, 1)
            edits.append(
                {
                    "line": span.line,
                    "column": span.column,
                    "end_line": span.end_line,
                    "end_column": span.end_column,
                    "replacement": edit.text,
                }
            )
        return {"title": self.title, "applicability": "safe" if self.safe else "unsafe", "edits": edits}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a rule found.

    Attributes:
        code: The rule's stable code, e.g. ``MC013``.
        name: The rule's name, e.g. ``malformed-digest``.
        severity: ``error``, ``warning`` or ``info``.
        path: The card's file, relative to the working folder where it lies below it, with ``/``.
        uid: The card's uid, None where the file's place does not tell.
        line: 1-based, as are the others; columns in characters, the end is exclusive.
        message: What is wrong, in one line.
        help: How to mend it.
        fix: The mend itself, where the linter knows it.
        excerpt: The line `line` of the card; of a very long one the part around the place.
        excerpt_column: Column at which `excerpt` begins.
        shown: The finding written out, if that was done where it was found; no part of what it is.
    """

    code: str
    name: str
    severity: Severity
    path: str
    uid: str | None
    line: int
    column: int
    end_line: int
    end_column: int
    message: str
    help: str | None = None
    fix: Fix | None = None
    excerpt: str = ""
    excerpt_column: int = 1
    shown: str | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "code": self.code,
            "severity": self.severity,
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "end_line": self.end_line,
            "end_column": self.end_column,
            "message": self.message,
            "help": self.help,
            "fix": None if self.fix is None else self.fix.to_dict(),
        }

    def sort_key(self) -> tuple[Any, ...]:
        """Order within a card: by place, then by code."""
        return (self.line, self.column, self.code, self.message)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file or folder below a given path that could not be read, so nothing is known about it."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a run of the linter found.

    Attributes:
        findings: By card in the order of the files, then by place.
        checked: Number of cards looked at.
        unreadable: What could not be looked at.
        suppressed: Number of findings that comments in the cards suppress.
        baselined: Number of findings that the baseline knows already.
        outdated: Number of findings of the baseline that are no more.
        fixes: Codes of the fixes applied (or shown, with a diff), by card.
        diff: What the fixes change, as a unified diff; only where one was asked for.
    """

    findings: tuple[Finding, ...] = ()
    checked: int = 0
    unreadable: tuple[Unreadable, ...] = ()
    suppressed: int = 0
    baselined: int = 0
    outdated: int = 0
    fixes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    diff: str = ""

    @property
    def ok(self) -> bool:
        """Whether there are neither errors nor warnings, and every card could be read."""
        return not self.unreadable and all(finding.severity == "info" for finding in self.findings)

    @property
    def fixed(self) -> int:
        """Number of fixes applied, or shown with a diff."""
        return sum(len(codes) for _, codes in self.fixes)

    def count(self, severity: Severity) -> int:
        """Number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def summary(self) -> dict[str, Any]:
        """Counts, JSON-ready."""
        return {
            "cards": self.checked,
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "infos": self.count("info"),
            "fixable": sum(finding.fix is not None for finding in self.findings),
            "suppressed": self.suppressed,
            "baselined": self.baselined,
            "outdated_baseline": self.outdated,
            "fixed": self.fixed,
            "codes": dict(sorted(Counter(finding.code for finding in self.findings).items())),
            "unreadable": [{"path": item.path, "reason": item.reason} for item in self.unreadable],
            "ok": self.ok,
        }

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, as ``mshub validate --format json`` prints them."""
        return {"findings": [finding.to_dict() for finding in self.findings], "summary": self.summary()}

    def __str__(self) -> str:
        from mshub_ssd.lint.formats import render

        return render(self, "text")


def worst(findings: Iterable[Finding]) -> Severity | None:
    """The worst severity there is, or None."""
    found = {finding.severity for finding in findings}
    return next((severity for severity in SEVERITIES if severity in found), None)
