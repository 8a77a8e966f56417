"""Text for people: where, what, the line with the place underlined, and what to do; of many findings a line each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Literal

from mshub_ssd.lint.finding import SEVERITIES, Finding
from mshub_ssd.lint.formats.shared import visible
from mshub_ssd.terminal import counted, table, width

if TYPE_CHECKING:
    from mshub_ssd.lint.report import Report

__all__ = ["describer", "fix_note", "render", "rule_counts", "statistics", "summary", "verdict"]

_FEW = 20
"""So many findings are shown with their lines, so many fixed cards are named."""
_COLUMNS = 120
_CUT = "..."
_UNSAFE = "--fix --unsafe-fixes"
_TAB = "    "
_STYLES = {
    "error": "1;31",
    "warning": "1;33",
    "info": "1;36",
    "path": "1",
    "rule": "2",
    "gutter": "1;34",
    "good": "1;32",
}

# What takes one column each in every terminal, by far the most of what is in cards.
_PLAIN = re.compile("[ -~\u00a1-\u00ac\u00ae-\u02ff\u2010-\u2027\u2030-\u205e]*")

_Paint = Callable[[str, str], str]
_Cell = tuple[str, int]
"""A character as it is shown, and the columns it takes in a terminal."""


def render(report: Report, *, color: bool = False, shape: Literal["text", "full", "concise"] = "text") -> str:
    """Findings, then what could not be read, then counts.

    Args:
        report: What the linter found.
        color: Colour it for a terminal.
        shape: ``full`` shows each finding with its line; ``concise`` gives it one line, to be searched, and counts
            the rules before a flood; ``text`` chooses by the number of findings.
    """
    paint = _colored if color else _bare
    many = len(report.findings) > _FEW
    full = shape == "full" or (shape == "text" and not many)
    if full:
        blocks = [finding.shown or _block(finding, paint) for finding in report.findings]
    else:
        blocks = [statistics(report)] if many else []
        blocks += ["\n".join(_line(finding, paint) for finding in report.findings)] if report.findings else []
    if report.unreadable:
        word = paint("error", "error")
        lost = [(paint(visible(item.path), "path"), visible(item.reason)) for item in report.unreadable]
        blocks.append("\n".join(f"{path}: {word} cannot be read: {reason}" for path, reason in lost))
    counts = summary(report, full=shape == "full")
    if report.ok:
        counts = [paint(line, "good") for line in counts]
    if report.hidden:
        counts.append(f"{len(report.hidden)} of them not shown, being milder than asked for")
    if many and shape == "text":
        counts.append("a finding in full: give its card alone, --select CODE, or --format full")
    return "\n\n".join([*blocks, "\n".join(counts)])


def describer(*, color: bool = False) -> Callable[[Finding], str]:
    """What writes a single finding as `render` does; can be sent to another process."""
    return partial(_block, paint=_colored if color else _bare)


def rule_counts(report: Report) -> list[tuple[str, ...]]:
    """Of each rule that found something: findings, those with a fix, code, severity, name; with a head, most first."""
    numbers = Counter(finding.code for finding in report.findings)
    fixable = Counter(finding.code for finding in report.findings if finding.fix)
    names = {finding.code: finding.name for finding in report.findings}
    worst: dict[str, int] = {}
    for finding in report.findings:
        rank = SEVERITIES.index(finding.severity)
        worst[finding.code] = min(rank, worst.get(finding.code, rank))
    rows = [
        (str(number), str(fixable[code] or ""), code, SEVERITIES[worst[code]], visible(names[code]))
        for code, number in sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    ]
    return [("findings", "fixable", "code", "severity", "name"), *rows]


def statistics(report: Report) -> str:
    """`rule_counts` as a table."""
    return table(rule_counts(report), right=(0, 1))


def summary(report: Report, *, full: bool = False) -> list[str]:
    """The counts of a report in a few lines; a single one where there is nothing to do.

    Args:
        report: What the linter found.
        full: Name all cards that were fixed, however many.
    """
    each = full or len(report.fixes) <= _FEW
    lines = [f"fixed in {visible(path)}: {_told(codes)}" for path, codes in report.fixes if each]
    if not each:
        everything = _told([code for _, codes in report.fixes for code in codes])
        lines.append(f"fixed in {counted(len(report.fixes), 'card')}: {everything}")
    if report.fixed:
        fixes = counted(report.fixed, "fix", "fixes")
        lines.append(f"{fixes} to apply" if report.diff else f"{fixes} applied")
    lines.append(verdict(report))
    fixes_known = [finding.fix.safe for finding in report.findings if finding.fix]
    ways = {"--fix": fixes_known.count(True), _UNSAFE: fixes_known.count(False)}
    fixable = ", ".join(f"{number} with {option}" for option, number in ways.items() if number)
    if fixable:
        lines.append(f"fixable: {fixable}")
    if report.outdated:
        entries = counted(report.outdated, "entry", "entries")
        lines.append(f"{entries} of the baseline found nothing any more: --update-baseline drops them")
    if report.unreadable:
        lines.append(f"{counted(len(report.unreadable), 'path')} could not be read")
    return lines


def verdict(report: Report) -> str:
    """How many cards were checked, and how many findings of each severity there are."""
    counts = {severity: report.count(severity) for severity in SEVERITIES}
    found = ", ".join(counted(number, severity) for severity, number in counts.items() if number)
    ending = f": {found}" if found else ", nothing else found" if report.fixed else ", nothing found"
    silent = {"suppressed in the cards": report.suppressed, "known to the baseline": report.baselined}
    aside = ", ".join(f"{number} {where}" for where, number in silent.items() if number)
    return f"{counted(report.checked, 'card')} checked{ending}{f' ({aside})' if aside else ''}"


def fix_note(finding: Finding) -> str | None:
    """Which option fixes a finding, and how."""
    if finding.fix is None:
        return None
    return f"fixable with {'--fix' if finding.fix.safe else _UNSAFE}: {visible(finding.fix.title)}"


def _colored(text: str, style: str) -> str:
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def _bare(text: str, style: str) -> str:
    return text


def _told(codes: Iterable[str]) -> str:
    return ", ".join(f"{code} x{n}" if n > 1 else code for code, n in sorted(Counter(codes).items()))


def _line(finding: Finding, paint: _Paint) -> str:
    place = f"{visible(finding.path)}:{finding.line}:{finding.column}"
    kind = paint(f"{finding.severity} {finding.code}", finding.severity)
    return f"{paint(place, 'path')}: {kind} {visible(finding.message)}"


def _block(finding: Finding, paint: _Paint) -> str:
    block = f"{_line(finding, paint)} {paint(f'[{visible(finding.name)}]', 'rule')}"
    number = str(finding.line)
    margin = " " * len(number)
    # Nothing to see in an empty file, or in one too large to be read.
    if finding.excerpt or (finding.line, finding.column) != (1, 1):
        shown, at, length = _underlined(finding)
        line = f"{paint(f'{number} |', 'gutter')} {shown}".rstrip()
        marks = paint("^" * length, finding.severity)
        block += f"\n{line}\n{paint(f'{margin} |', 'gutter')} {' ' * at}{marks}"
    equals = paint(f"{margin} =", "gutter")
    if finding.help:
        first, *others = [visible(line) for line in finding.help.splitlines()] or [""]
        block += f"\n{equals} help: {first}"
        for line in others:
            block += f"\n{margin}         {line}".rstrip()
    note = fix_note(finding)
    return f"{block}\n{equals} note: {note}" if note else block


def _underlined(finding: Finding) -> tuple[str, int, int]:
    """What is shown of a finding's line, the column its marks begin at (from 0), and their number."""
    line, cut = finding.excerpt, finding.excerpt_column - 1
    start = min(max(finding.column - 1 - cut, 0), len(line))
    end = len(line) if finding.end_line > finding.line else min(max(finding.end_column - 1 - cut, start), len(line))
    if not cut and len(line) <= _COLUMNS and _PLAIN.fullmatch(line):
        return line, start, max(end - start, 1)
    near = line[max(0, start - _COLUMNS) : end + _COLUMNS]
    if _PLAIN.fullmatch(near) and end - start < _COLUMNS - 2 * len(_CUT):
        # The same as below, where every character takes one column.
        room = _COLUMNS - 2 * len(_CUT) - (end - start)
        first = max(0, start - max(room // 2, room - (len(line) - end)))
        last = min(len(line), end + room - (start - first))
        left, right = _CUT if first or cut else "", _CUT if last < len(line) else ""
        return f"{left}{line[first:last]}{right}", len(left) + start - first, max(end - start, 1)
    # Lines may be a mebibyte long: only what can be shown is looked at.
    before = _cells(line[max(0, start - _COLUMNS) : start])
    inside = _cells(line[start : min(end, start + 2 * _COLUMNS)])
    behind = _cells(line[end : end + _COLUMNS])
    looked_at = len(before) + len(inside) + len(behind)
    if looked_at < len(line) or _width(before) + _width(inside) + _width(behind) > _COLUMNS:
        before, inside, behind = _clipped(before, inside, behind, end - start)
    left = _CUT if len(before) < start or cut else ""
    right = _CUT if start + len(inside) + len(behind) < len(line) else ""
    shown = "".join(text for text, _ in (*before, *inside, *behind))
    at, length = len(left) + _width(before), _width(inside)
    if inside and not length and at:
        at -= 1  # nothing but combining marks: they stand on the character before
    return f"{left}{shown}{right}", at, max(length, 1)


def _clipped(
    before: list[_Cell], inside: list[_Cell], behind: list[_Cell], whole: int
) -> tuple[list[_Cell], list[_Cell], list[_Cell]]:
    """The cells in and next to a span of `whole` characters that fit into a line with the marks of what was cut."""
    room = _COLUMNS - 2 * len(_CUT)
    inside = _fitting(inside, room)
    room -= _width(inside)
    left = max(room // 2, room - _width(behind))
    before = _fitting(reversed(before), left)[::-1]
    while before and not before[0][1]:
        del before[0]  # a combining mark whose letter was cut
    behind = _fitting(behind, room - _width(before)) if len(inside) == whole else []
    return before, inside, behind


def _fitting(cells: Iterable[_Cell], room: int) -> list[_Cell]:
    taken = []
    for cell in cells:
        room -= cell[1]
        if room < 0:
            break
        taken.append(cell)
    return taken


def _cells(text: str) -> list[_Cell]:
    return [_cell(char) for char in text]


def _cell(char: str) -> _Cell:
    if " " <= char <= "~":
        return char, 1
    if char == "\t":
        return _TAB, len(_TAB)
    if not char.isprintable():
        spelt = visible(char)
        return spelt, len(spelt)
    return char, width(char)


def _width(cells: Iterable[_Cell]) -> int:
    return sum(columns for _, columns in cells)
