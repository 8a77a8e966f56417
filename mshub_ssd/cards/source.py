"""The text of a card taken apart: title, front matter as nodes with their places, body.

The front matter is composed from YAML's events by our own few lines, so that scalars stay the text the author
wrote, every node knows its place, and whatever a card has no use for (anchors, aliases, tags, deep nesting,
several documents) is refused before it costs anything.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from mshub_ssd.cards.model import Span

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_NODES",
    "MapNode",
    "Node",
    "Problem",
    "Scalar",
    "SeqNode",
    "Source",
    "compose",
    "read_source",
]

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_NODES = 10_000
_MAX_DASHES = 32
_MAX_CONTROLS = 20
_OPENED = ("quoted scalar", "flow sequence", "flow mapping")

_BREAK = re.compile(r"\r\n|\n|\r")
_VISIBLE = re.compile(r"\S")
_FENCE = re.compile(r"(?:\A|(?<=[\n\r]))---[ \t]*(?=\r|\n|\Z)")
# What YAML has no room for, and the byte order mark: libyaml swallows one, and every place behind it would be wrong.
_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_SECTION = re.compile(r"(?<=[\n\r])##+[ \t]")
_REST_OF_BARE_DASH = re.compile(r"-[ \t]*(?:[ \t]#[^\r\n]*)?(?=\r|\n|\Z)")
_UNFIT = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a card.

    Attributes:
        code: Stable short name of the kind of problem.
        fatal: Whether the card cannot be used at all.
        span: Place, None where the whole file is meant.
        hint: How to mend it.
    """

    code: str
    message: str
    fatal: bool
    span: Span | None = None
    expected: str | None = None
    got: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Scalar:
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
        if got is not None and len(got) > 120:
            got = got[:117] + "..."
        self.problems.append(Problem(code, message, fatal, span, expected, got, hint))


def read_source(data: str | bytes, *, tolerant: bool = False) -> Source:
    """Take a card apart.

    Never raises for what the text holds: whatever is wrong is in `Source.problems`, and `Source.root` is None
    where a fatal one leaves nothing to read.

    Args:
        data: The whole file.
        tolerant: Read on behind a fatal problem as far as the text makes sense, for a reader that wants to know
            about all of them.
    """
    source = _decode(data, tolerant)
    if source.problems and not (tolerant and source.text):
        return source
    _find_parts(source, tolerant)
    if source.front is not None:
        _check_controls(source, tolerant)
        if tolerant or not source.problems:
            source.root = compose(source, *source.front)
    return source


def _line_starts(text: str) -> list[int]:
    """Offsets at which lines start; unlike YAML 1.1, no editor counts U+0085 and U+2028 as line breaks."""
    if "\r" not in text:
        return [0, *itertools.accumulate(len(line) + 1 for line in text.split("\n")[:-1])]
    return [0, *(found.end() for found in _BREAK.finditer(text))]


def _decode(data: str | bytes, tolerant: bool) -> Source:
    too_long = Source(
        "",
        problems=[
            Problem(
                "size",
                "the card is larger than 1 MiB",
                True,
                expected=f"at most {MAX_BYTES} bytes",
                hint="keep pictures and logs out of the card: link to them",
            )
        ],
    )
    if len(data) > MAX_BYTES:
        return too_long
    if isinstance(data, bytes):
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            source = Source(data[: error.start].decode("utf-8").removeprefix("\ufeff"))
            at = len(source.text)
            if tolerant:
                source.text = data.decode("utf-8", "replace").removeprefix("\ufeff")
            source.report(
                "encoding",
                "the card is not UTF-8",
                (at, at),
                fatal=True,
                expected="UTF-8 text",
                got=f"byte 0x{data[error.start]:02x} at offset {error.start}",
                hint="save the file in the encoding UTF-8",
            )
            return source
    else:
        try:
            size = len(data.encode("utf-8"))
        except UnicodeEncodeError as error:
            text, size = data, 0
            source = Source(text.removeprefix("\ufeff"))
            at = error.start - (len(text) - len(source.text))
            source.report(
                "encoding",
                "the card holds half a character (a lone surrogate)",
                (at, at + 1),
                fatal=True,
                got=repr(text[error.start]),
                hint="read the file as UTF-8, or hand over its bytes",
            )
            return source
        if size > MAX_BYTES:
            return too_long
        text = data
    source = Source(text.removeprefix("\ufeff"))
    nul = source.text.find("\0")
    if nul >= 0:
        source.report(
            "control",
            "the card holds a NUL character",
            (nul, nul + 1),
            fatal=True,
            hint="delete it, or save the file as UTF-8 if it is UTF-16",
        )
    return source


def _find_parts(source: Source, tolerant: bool) -> None:
    text = source.text
    fence = _FENCE.search(text)
    if fence is None:
        source.report(
            "front-matter",
            "the card has no front matter",
            (0, 0),
            fatal=True,
            expected="a line --- before the card's fields and another one after them",
            hint="put the fields (model-name: ..., asset: ...) between two lines ---",
        )
        return
    _read_head(source, fence.start())
    start = _next_line(text, fence.end())
    closing = _FENCE.search(text, start)
    if closing is None:
        source.report(
            "front-matter",
            "the front matter has no end",
            (fence.start(), fence.start() + 3),
            fatal=True,
            expected="a line --- after the card's fields",
            hint="put a line --- after the last field",
        )
        if tolerant:
            heading = _SECTION.search(text, start)
            source.body = heading.start() if heading else len(text)
            source.front = (start, source.body)
        return
    source.front = (start, closing.start())
    source.body = _next_line(text, closing.end())
    if source.title is None:
        # Front matter at the top of the file: the heading is the first line of the body, if anywhere.
        first = _VISIBLE.search(text, source.body)
        source.title = _heading(text, first.start()) if first else None


def _read_head(source: Source, end: int) -> None:
    """The text before the front matter: nothing, or a title."""
    text = source.text
    at = 0
    while found := _VISIBLE.search(text, at, end):
        start = found.start()
        heading = _heading(text, start) if source.title is None else None
        at = _next_line(text, start)
        if heading is None:
            line = text[start:at].rstrip()
            source.report(
                "front-matter",
                "only a title may stand before the front matter",
                (start, start + len(line)),
                fatal=True,
                expected="`# Title`, or nothing, before the first line ---",
                got=repr(line[:60]),
                hint="move this text below the second line ---",
            )
            return
        source.title = heading


def _heading(text: str, at: int) -> tuple[str, int, int] | None:
    """The title in a line ``# title`` (closing hashes are no part of it) and its offsets."""
    line = text[at : _next_line(text, at)].rstrip()
    inner = line[1:].lstrip()
    if not line.startswith("#") or not inner or inner.startswith("#"):
        return None
    start = at + len(line) - len(inner)
    unclosed = inner.rstrip("#")
    if unclosed != inner and unclosed[-1:].isspace():
        inner = unclosed.rstrip()
    return inner, start, start + len(inner)


def _next_line(text: str, at: int) -> int:
    found = _BREAK.search(text, at)
    return found.end() if found else len(text)


def _check_controls(source: Source, tolerant: bool) -> None:
    assert source.front is not None
    for found in itertools.islice(_CONTROL.finditer(source.text, *source.front), _MAX_CONTROLS if tolerant else 1):
        if found.group() == "\0" and source.problems:
            continue  # reported for the whole text
        source.report(
            "control",
            "the front matter holds a control character",
            found.span(),
            fatal=True,
            got=repr(found.group()),
            hint="delete it",
        )


class _RefusedError(Exception):
    """A fatal problem was reported; stop composing."""


def compose(source: Source, start: int, end: int) -> MapNode | None:
    """Compose the fields between two offsets; mends a bare dash (``evaluation: -``) where YAML stumbles over it.

    Returns:
        The fields, or None with a fatal problem in `source`.
    """
    import yaml

    text = source.text[start:end]
    if any(problem.code in ("control", "encoding") for problem in source.problems):
        text = _CONTROL.sub(" ", text)  # reported already; one character for one, so no column moves
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    dashes: list[int] = []
    while True:
        found = len(source.problems)
        composer = _Composer(source, start, frozenset(dashes))
        try:
            root = composer.document(loader(text))
        except _RefusedError:
            return None
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            # The pure Python loader lets the last two through for absurd escapes.
            at = _place(error, len(text))
            key_before = text[:at].rstrip(" \t").endswith(":")
            bare = key_before and _REST_OF_BARE_DASH.match(text, at)
            if not bare or at in dashes or len(dashes) >= _MAX_DASHES:
                _report_syntax(source, error, start + at)
                return None
            # `~` is YAML's own "nothing".
            text = f"{text[:at]}~{text[at + 1 :]}"
            dashes.append(at)
            del source.problems[found:]
        else:
            break
    for at in dashes:
        source.report(
            "bare-dash",
            "a bare dash is not readable as YAML",
            (start + at, start + at + 1),
            got="-",
            hint="leave the key out, or quote the dash",
        )
    if isinstance(root, MapNode):
        return root
    _report_no_mapping(source, root, start, end)
    return None


class _Composer:
    """From YAML's events to nodes."""

    def __init__(self, source: Source, offset: int, dashes: frozenset[int]) -> None:
        import yaml.events

        self._kinds = yaml.events
        self._source = source
        self._offset = offset
        self._dashes = dashes
        self._nodes = 0

    def document(self, loader: Any) -> Node | None:
        try:
            return self._root(iter(loader.get_event, None))
        finally:
            self._source.values += self._nodes
            loader.dispose()

    def _root(self, events: Iterator[Any]) -> Node | None:
        kinds = self._kinds
        root: Node | None = None
        seen = False
        for event in events:
            if isinstance(event, kinds.DocumentStartEvent):
                if seen or event.explicit:
                    self._refuse(
                        event,
                        "yaml-document",
                        "the front matter holds several YAML documents",
                        "delete the line that starts with --- or ...",
                    )
                seen = True
                root = self._node(next(events), events, 1)
        return root

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        kinds = self._kinds
        kind = type(event)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._refuse(
                event,
                "yaml-size",
                f"the front matter holds more than {MAX_NODES} values",
                "keep long lists out of the card: link to them",
            )
        if kind is kinds.AliasEvent or event.anchor is not None:
            self._refuse(
                event,
                "yaml-alias",
                "a card may not use YAML anchors and aliases (& and *)",
                "write the value out, or quote a text that starts with & or *",
            )
        if event.tag is not None:
            self._refuse(
                event,
                "yaml-tag",
                f"a card may not use YAML tags (!), here {self._written(event)!r}",
                "delete the tag, or quote a text that starts with !",
            )
        if kind is kinds.ScalarEvent:
            return self._scalar(event)
        if depth > MAX_DEPTH:
            self._refuse(
                event,
                "yaml-depth",
                f"the front matter is nested more than {MAX_DEPTH} levels deep",
                "write flatter values",
            )
        start = event.start_mark.index
        if kind is kinds.SequenceStartEvent:
            items: list[Node] = []
            while type(event := next(events)) is not kinds.SequenceEndEvent:
                items.append(self._node(event, events, depth + 1))
            return SeqNode(items, *self._range(start, event.end_mark.index))
        pairs: list[tuple[Scalar, Node]] = []
        keys: dict[str, Scalar] = {}
        while type(event := next(events)) is not kinds.MappingEndEvent:
            key = self._node(event, events, depth + 1)
            if not isinstance(key, Scalar):
                self._refuse(
                    event,
                    "yaml-key",
                    "a key must be a word, not a list or a mapping",
                    "quote a key that starts with [ or {",
                )
            value = self._node(next(events), events, depth + 1)
            if key.text in keys:
                report_repeated(self._source, keys[key.text], key)
                continue
            keys[key.text] = key
            pairs.append((key, value))
        return MapNode(pairs, *self._range(start, event.end_mark.index))

    def _scalar(self, event: Any) -> Scalar:
        start, end = event.start_mark.index, event.end_mark.index
        text, plain = event.value, event.style is None or event.style == ""
        if start in self._dashes and plain:
            text = "-"
        if event.style == '"' and _UNFIT.search(text):
            self._refuse(
                event, "control", "a quoted text holds an escape for NUL or half a character", "delete the escape"
            )
        return Scalar(text, plain, *self._range(start, end))

    def _range(self, start: int, end: int) -> tuple[int, int]:
        """Offsets in the card; a collection or block text ends with its last visible character."""
        text = self._source.text
        first, last = start + self._offset, end + self._offset
        while last > first and text[last - 1] in " \t\r\n":
            last -= 1
        return first, last

    def _written(self, event: Any) -> str:
        """The first word of a value as the card has it."""
        start = self._offset + event.start_mark.index
        return self._source.text[start : start + 60].split(None, 1)[0]

    def _refuse(self, event: Any, code: str, message: str, hint: str) -> NoReturn:
        place = self._range(event.start_mark.index, event.end_mark.index)
        self._source.report(code, message, place, fatal=True, hint=hint)
        raise _RefusedError


def report_repeated(source: Source, earlier: Scalar, key: Scalar) -> None:
    """Note that a key stands twice in one mapping."""
    line = source.span(earlier.start, earlier.end).line
    source.report(
        "duplicate-key",
        f"the key {key.text[:60]!r} stands twice",
        key,
        fatal=True,
        expected="every key once",
        got=f"{key.text[:60]!r} again; first given in line {line}",
        hint="delete one of the two, or start a further list item with a dash",
    )


def _place(error: Exception, size: int) -> int:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if any(opened in str(getattr(error, "context", None)) for opened in _OPENED):
        mark = getattr(error, "context_mark", None) or mark  # where it was opened, not where the text ends
    return min(mark.index, size) if mark is not None else 0


# What libyaml says, in words for people who do not write parsers, and what to do about it.
_SYNTAX = (
    ("mapping values", 'a value holds a second ": "', 'put quotes around a text that holds ": "'),
    ("block sequence entries", "a list starts on the line of its key", "start the list on the line below its key"),
    ("cannot start any token", "a value starts with {char!r}", "put quotes around the value"),
    ("quoted scalar", "a quote is never closed", "close it with the same quote"),
    ("flow sequence", "a bracket [ is never closed, or a comma is missing", "close it with ]"),
    ("flow mapping", "a brace {{ is never closed, or a comma is missing", "close it with }}"),
    ("could not find expected ':'", "a line has no colon", "write every field as `key: value`"),
)


def _report_syntax(source: Source, error: Exception, at: int) -> None:
    said = str(getattr(error, "problem", None) or error).splitlines()[0]
    about = f"{getattr(error, 'context', None)}; {said}"
    line = source.text[source.text.rfind("\n", 0, at) + 1 : _next_line(source.text, at)].strip()
    char = source.text[at : at + 1]
    found = next(((words, hint) for mark, words, hint in _SYNTAX if mark in about), None)
    if char == "\t":
        found = ("a line is indented with a tab", "indent with spaces instead of tabs")
    words, hint = found or (said, "put quotes around texts with special characters, and check the indentation")
    if found:
        words, hint = words.format(char=char), hint.format()
    source.report("yaml", f"the front matter is not YAML: {words}", (at, at), fatal=True, got=repr(line), hint=hint)


def _report_no_mapping(source: Source, root: Node | None, start: int, end: int) -> None:
    place = (root.start, root.end) if root else (start, end)
    wide = source.text.find("\uff1a", *place)
    if wide >= 0:
        source.report(
            "fullwidth-colon",
            "the front matter is written with full-width colons, which YAML does not know",
            (wide, wide + 1),
            fatal=True,
            expected="fields such as `model-name: ssd300`",
            got=repr(source.text[wide]),
            hint="write an ASCII colon and a space after every key",
        )
        return
    found = "nothing" if root is None else "a list" if isinstance(root, SeqNode) else "a text"
    source.report(
        "front-matter",
        "the front matter holds no fields",
        place,
        fatal=True,
        expected="fields such as `model-name: ssd300`",
        got=found,
        hint="write every field as `key: value`, with a space after the colon",
    )
