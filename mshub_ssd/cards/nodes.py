"""The front matter as nodes with their places, and what is wrong with a card."""

from __future__ import annotations

import bisect
import itertools
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from mshub_ssd.cards.model import Span
from mshub_ssd.redaction import scrub

__all__ = ["BREAK", "MapNode", "Node", "Problem", "Scalar", "SeqNode", "Source"]

BREAK = re.compile(r"\r\n|\n|\r")
"""A line's end; unlike YAML 1.1, no editor counts U+0085 and U+2028."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a card.

    Attributes:
        code: Stable short name of the kind of problem.
        fatal: Whether the card cannot be used at all.
        span: Place, None where the whole file is meant.
        hint: How to fix it.
    """

    code: str
    message: str
    fatal: bool
    span: Span | None = None
    expected: str | None = None
    got: str | None = None
    hint: str | None = None


class Scalar(NamedTuple):
    """Text as written; `plain` without quotes or block marks. `start` and `end` are offsets in `Source.text`."""

    text: str
    plain: bool
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SeqNode:
    """A list."""

    items: list[Node]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class MapNode:
    """A mapping; keys are unique."""

    items: list[tuple[Scalar, Node]]
    start: int
    end: int


Node = Scalar | SeqNode | MapNode


@dataclass(slots=True)
class Source:
    """A card's text and its parts.

    Attributes:
        text: The decoded text, without a byte order mark.
        title: Heading and its place, or None.
        front: Offsets of the text between the fences, or None without front matter.
        root: The front matter, or None where it cannot be composed.
        body: Offset of the body.
        values: How many values the front matter holds.
        problems: What is wrong, in the order found.
    """

    text: str
    title: tuple[str, int, int] | None = None
    front: tuple[int, int] | None = None
    root: MapNode | None = None
    body: int = 0
    values: int = 0
    problems: list[Problem] = field(default_factory=list)
    _starts: list[int] | None = None

    def line_starts(self) -> list[int]:
        """Offsets at which lines start."""
        if self._starts is None:
            self._starts = _line_starts(self.text)
        return self._starts

    def line(self, number: int) -> tuple[int, int]:
        """Where a line (from 0) and the next begin; behind the last one, where the text ends."""
        starts = self.line_starts()
        return starts[number], starts[number + 1] if number + 1 < len(starts) else len(self.text)

    def line_of(self, at: int) -> tuple[int, int]:
        """Where the line of an offset begins and ends, without its break."""
        start, below = self.line(bisect.bisect_right(self.line_starts(), at) - 1)
        return start, start + len(self.text[start:below].rstrip("\r\n"))

    def span(self, start: int, end: int) -> Span:
        """The place of an offset range."""
        starts = self.line_starts()
        line = bisect.bisect_right(starts, start)
        above = starts[line - 1]
        if line == len(starts) or end < starts[line]:
            return Span(line, start - above + 1, line, end - above + 1)
        below = bisect.bisect_right(starts, end)
        return Span(line, start - above + 1, below, end - starts[below - 1] + 1)

    def report(
        self,
        code: str,
        message: str,
        at: Node | tuple[int, int] | None = None,
        *,
        fatal: bool = False,
        expected: str | None = None,
        got: str | None = None,
        hint: str | None = None,
    ) -> None:
        """Note a problem at a node or offset range."""
        place = (at.start, at.end) if isinstance(at, (Scalar, SeqNode, MapNode)) else at
        span = None if place is None else self.span(*place)
        message = scrub(message)
        expected, got, hint = (text and scrub(text) for text in (expected, got, hint))
        if got is not None and len(got) > 120:
            got = got[:117] + "..."
        self.problems.append(Problem(code, message, fatal, span, expected, got, hint))


def _line_starts(text: str) -> list[int]:
    """Offsets at which lines start."""
    if "\r" in text:
        # One character for one, so that LF is all there is to look for.
        text = text.replace("\r\n", " \n").replace("\r", "\n")
    return [0, *itertools.accumulate(len(line) + 1 for line in text.split("\n")[:-1])]
