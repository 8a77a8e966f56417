"""What the linter has to say: findings with their places, and fixes."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from mshub_ssd.cards import Span

__all__ = ["SEVERITIES", "Edit", "Finding", "Fix", "Severity"]

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""The worst first."""


class Edit(NamedTuple):
    """Replace the characters from `start` to `end` of the card by `text`.

    Offsets count characters of the decoded text behind a byte order mark, which is itself at -1.
    """

    start: int
    end: int
    text: str
    span: Span | None = None


class Fix(NamedTuple):
    """What corrects one finding.

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
        help: How to fix it.
        fix: The fix itself, where the linter knows it.
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

    def __reduce__(self) -> tuple[Any, ...]:
        return Finding, _values_of(self)  # several times as fast as what dataclasses do

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


_values_of = attrgetter(*Finding.__slots__)
