"""Comments in a card that silence findings, each with its reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from mshub_ssd.lint.finding import Edit, Finding, Fix
from mshub_ssd.lint.subject import Hit, Subject

__all__ = ["Suppression", "apply", "complaints", "read"]

_COMMENT = re.compile(r"(?P<open>#|<!--+)[ \t]*mshub:(?P<words>[^\r\n]*)")
_WORDS = re.compile(
    r"[ \t]*ignore(?P<card>-card)?[ \t]*\[(?P<codes>[^\]\r\n]*)\][ \t:]*(?P<reason>.*?)[ \t]*(?:--+>.*)?"
)
_NO_CONTENT = re.compile(r"[ \t]*(?:#.*|<!--.*-->[ \t]*)?")


@dataclass(slots=True)
class Suppression:
    """One comment.

    Attributes:
        codes: Codes it silences, as written.
        line: 1-based line it silences, None for the whole card.
        reason: Why; empty where the author gives none.
        start: Offset of the comment.
        end: Offset behind it.
        offsets: What to delete to be rid of it.
        used: Codes that silenced something.
        fault: What is wrong with the comment itself; it then silences nothing.
    """

    codes: tuple[str, ...]
    line: int | None
    reason: str
    start: int
    end: int
    offsets: tuple[int, int]
    used: set[str] = field(default_factory=set)
    fault: str | None = None


def read(subject: Subject) -> list[Suppression]:
    """The comments of a card."""
    return list(_read(subject)) if "mshub:" in subject.text else []


def _read(subject: Subject) -> Iterator[Suppression]:
    text, source = subject.text, subject.source
    if source.front is None:
        return
    starts = source.line_starts()
    values = [(node.start, node.end) for _, node in subject.scalars()]
    for found in _COMMENT.finditer(text, source.front[0]):
        in_front = found.start() < source.front[1]
        if in_front != (found["open"] == "#"):
            continue
        if in_front and any(start <= found.start() < end for start, end in values):
            continue
        if not in_front and not _is_markup(subject, found.start()):
            continue
        line = source.span(found.start(), found.start()).line
        above = starts[line - 1]
        end = found.end()
        if not in_front:
            close = text.find("-->", found.start(), end)
            end = close + 3 if close >= 0 else end
        alone = not text[above : found.start()].strip() and not text[end : found.end()].strip()
        before = above + len(text[above : found.start()].rstrip())
        below = starts[line] if line < len(starts) else len(text)
        deleted = (above, below) if alone else (before, end)
        words = _WORDS.fullmatch(found["words"])
        if words is None:
            yield Suppression((), None, "", found.start(), end, deleted, fault="is not understood")
            continue
        codes = tuple(code.strip().upper() for code in words["codes"].split(",") if code.strip())
        target: int | None = line
        if words["card"]:
            target = None
        elif alone:
            target = next(
                (
                    number + 1
                    for number in range(line, len(starts))
                    if not _NO_CONTENT.fullmatch(_line(text, starts, number))
                ),
                line,
            )
        fault = None if codes else "names no rule"
        yield Suppression(codes, target, words["reason"].strip(), found.start(), end, deleted, fault=fault)


def _line(text: str, starts: Sequence[int], number: int) -> str:
    return text[starts[number] : starts[number + 1] if number + 1 < len(starts) else len(text)].rstrip("\r\n")


def _is_markup(subject: Subject, at: int) -> bool:
    """Whether a comment in the body is one to Markdown too, and no part of a code block."""
    line = subject.source.span(at, at).line - 1 - subject.first_body_line
    for token in subject.tokens:
        if token.map and token.map[0] <= line < token.map[1]:
            if token.type == "html_block":
                return True
            if token.type == "inline" and any(
                child.type == "html_inline" and child.content.startswith("<!--") for child in token.children or ()
            ):
                return True
    return False


def apply(findings: Iterable[Finding], suppressions: Sequence[Suppression]) -> tuple[list[Finding], int]:
    """Leave out what is silenced; marks the comments as used.

    Returns:
        The findings that remain, and the number of the others.
    """
    if not suppressions:
        remaining = list(findings)
        return remaining, 0
    remaining, silenced = [], 0
    for finding in findings:
        fitting = [
            one
            for one in suppressions
            if one.fault is None and finding.code in one.codes and one.line in (None, finding.line)
        ]
        if fitting:
            silenced += 1
            for one in fitting:
                one.used.add(finding.code)
        else:
            remaining.append(finding)
    return remaining, silenced


def complaints(suppressions: Sequence[Suppression], known: Iterable[str], testable: Iterable[str]) -> Iterator[Hit]:
    """What is wrong with the comments themselves.

    Args:
        suppressions: After `apply`.
        known: All codes there are.
        testable: Codes that this run could have found in this card.
    """
    known, testable = set(known), set(testable)
    for one in suppressions:
        if one.fault:
            yield Hit(
                one.start,
                one.end,
                f"the comment {one.fault}",
                "write `mshub: ignore[MC013] reason` or `mshub: ignore-card[MC013] reason`",
            )
            continue
        if not one.reason:
            yield Hit(
                one.start, one.end, "the comment gives no reason", "say behind the bracket why the finding is all right"
            )
        strange = [code for code in one.codes if code not in known]
        if strange:
            yield Hit(one.start, one.end, f"there is no rule {', '.join(strange)}", "see mshub validate --list-rules")
        idle = [code for code in one.codes if code in testable and code not in one.used]
        if idle:
            fix = None
            if len(idle) == len(one.codes):
                fix = Fix("delete the comment", (Edit(*one.offsets, ""),))
            yield Hit(
                one.start,
                one.end,
                f"the comment silences nothing: {', '.join(idle)}",
                "delete what is no longer needed",
                fix,
            )
