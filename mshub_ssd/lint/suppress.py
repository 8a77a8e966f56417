"""Comments in a card that silence findings, each with its reason."""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from mshub_ssd.lint.context import CardContext, Violation
from mshub_ssd.lint.finding import Edit, Finding, Fix

__all__ = ["Suppression", "apply", "complaints", "read"]

_COMMENT = re.compile(r"(?P<open>#|<!--+)[ \t]*mshub:(?P<words>[^\r\n]*)")
_WORDS = re.compile(r"[ \t]*ignore(?P<card>-card)?[ \t]*\[(?P<codes>[^\]\r\n]*)\][ \t:]*")
_MAX_COMMENTS = 100
_FAR = 50
"""So many lines below a comment its line may be."""


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


def read(context: CardContext) -> list[Suppression]:
    """The comments of a card."""
    return list(_read(context)) if "mshub:" in context.text else []


def _read(context: CardContext) -> Iterator[Suppression]:
    text, source = context.text, context.source
    if source.front is None:
        return
    values = context.value_spans()
    markup = _markup_lines(context)
    for found in itertools.islice(_COMMENT.finditer(text, source.front[0]), _MAX_COMMENTS):
        in_front = found.start() < source.front[1]
        if in_front != (found["open"] == "#"):
            continue
        line = source.span(found.start(), found.start()).line
        if in_front:
            if text[found.start() - 1] not in " \t\r\n":
                continue  # to YAML, a # behind a letter is a letter
            before = bisect.bisect_right(values, (found.start(), len(text))) - 1
            if before >= 0 and found.start() < values[before][1]:
                continue  # part of a value
        elif not any(first <= line - 1 - context.first_body_line < last for first, last in markup):
            continue
        above, below = source.line(line - 1)
        end = found.end()
        if not in_front:
            close = text.find("-->", found.start(), end)
            end = close + 3 if close >= 0 else end
        alone = not text[above : found.start()].strip() and not text[end : found.end()].strip()
        before = above + len(text[above : found.start()].rstrip())
        deleted = (above, below) if alone else (before, end)
        said = text[found.start("words") : end].removesuffix("-->").rstrip("- \t")
        words = _WORDS.match(said)
        if words is None:
            yield Suppression((), None, "", found.start(), end, deleted, fault="is not understood")
            continue
        codes = tuple(code.strip().upper() for code in words["codes"].split(",") if code.strip())
        target: int | None = line
        if words["card"]:
            target = None
        elif alone:
            lines = range(line, min(line + _FAR, len(source.line_starts())))
            filled = (number + 1 for number in lines if _has_content(text[slice(*source.line(number))]))
            target = next(filled, line)
        fault = None if codes else "names no rule"
        yield Suppression(codes, target, said[words.end() :].strip(), found.start(), end, deleted, fault=fault)


def _has_content(line: str) -> bool:
    bare = line.strip()
    return bool(bare) and not bare.startswith("#") and not (bare.startswith("<!--") and bare.endswith("-->"))


def _markup_lines(context: CardContext) -> list[tuple[int, int]]:
    """Lines of the body in which a comment is one to Markdown too, and no part of a code block."""
    found = []
    for token in context.tokens:
        inline = token.type == "inline" and any(child.type == "html_inline" for child in token.children or ())
        if token.map and (inline or token.type == "html_block"):
            found.append((token.map[0], token.map[1]))
    return found


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


def complaints(
    suppressions: Sequence[Suppression], known: Iterable[str], testable: Iterable[str]
) -> Iterator[Violation]:
    """What is wrong with the comments themselves.

    Args:
        suppressions: After `apply`.
        known: All codes there are.
        testable: Codes that this run could have found in this card.
    """
    known, testable = set(known), set(testable)
    for one in suppressions:
        if one.fault:
            yield Violation(
                one.start,
                one.end,
                f"the comment {one.fault}",
                "write `mshub: ignore[MC013] reason` or `mshub: ignore-card[MC013] reason`",
            )
            continue
        if not one.reason:
            yield Violation(
                one.start, one.end, "the comment gives no reason", "say behind the bracket why the finding is all right"
            )
        strange = [code for code in one.codes if code not in known]
        if strange:
            yield Violation(
                one.start, one.end, f"there is no rule {', '.join(strange)}", "see mshub validate --list-rules"
            )
        idle = [code for code in one.codes if code in testable and code not in one.used]
        if idle:
            fix = None
            if len(idle) == len(one.codes):
                fix = Fix("delete the comment", (Edit(*one.offsets, ""),))
            yield Violation(
                one.start,
                one.end,
                f"the comment silences nothing: {', '.join(idle)}",
                "delete what is no longer needed",
                fix,
            )
