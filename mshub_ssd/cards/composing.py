"""From YAML to nodes, by our own few lines over libyaml's events.

Scalars stay the text the author wrote, every node knows its place, and whatever a card has no use for (anchors,
aliases, tags, deep nesting, several documents) is refused before it costs anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NoReturn

from mshub_ssd.cards.nodes import BREAK, MapNode, Node, Scalar, SeqNode, Source

__all__ = ["CONTROL", "MAX_DEPTH", "MAX_NODES", "compose", "report_repeated"]

MAX_DEPTH = 20
MAX_NODES = 10_000
_MAX_DASHES = 8
_MAX_KEY = 200
_NO_END = ("unexpected end", "unexpected document", "did not find expected")
_OPENED = ("quoted scalar", "flow sequence", "flow mapping")

# What YAML has no room for, and the byte order mark: libyaml swallows one, and every place behind it would be wrong.
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
_DIRECTIVE = re.compile(r"^%.*", re.MULTILINE)
_REST_OF_BARE_DASH = re.compile(r"-[ \t]*(?:[ \t]#[^\r\n]*)?(?=\r|\n|\Z)")
_UNFIT = re.compile("[\x00\ud800-\udfff]")


class _RefusedError(Exception):
    """A fatal problem was reported; stop composing."""


def compose(source: Source, start: int, end: int) -> MapNode | None:
    """Compose the fields between two offsets; reads over a bare dash (``evaluation: -``).

    Returns:
        The fields, or None with a fatal problem in `source`.
    """
    import yaml

    text = source.text[start:end]
    if any(problem.code in ("control", "encoding") for problem in source.problems):
        text = CONTROL.sub(" ", text)  # reported already; one character for one, so no column moves
    directive = _DIRECTIVE.search(text)
    if directive:
        # libyaml takes time that grows with the square of their number.
        place = (start + directive.start(), start + directive.end())
        source.report("yaml-tag", "a card may not use YAML directives (%)", place, fatal=True, hint="delete the line")
        return None
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
            at = _place(error, text)
            key_before = text[:at].rstrip(" \t").endswith(":")
            bare = key_before and _REST_OF_BARE_DASH.match(text, at)
            tired = len(dashes) >= _MAX_DASHES or source.values > MAX_NODES
            if not bare or at in dashes or tired:
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


_BLANK = " \t\r\n"


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
            if len(key.text) > _MAX_KEY:
                # The path of every value below would repeat it.
                self._refuse(event, "yaml-key", f"a key is longer than {_MAX_KEY} characters", "give it a short name")
            value = self._node(next(events), events, depth + 1)
            if key.text in keys:
                report_repeated(self._source, keys[key.text], key, top=depth == 1)
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
        first, last = start + self._offset, end + self._offset
        if last > first and self._source.text[last - 1] in _BLANK:
            first, last = self._range(start, end)
        return Scalar(text, plain, first, last)

    def _range(self, start: int, end: int) -> tuple[int, int]:
        """Offsets in the card; a collection or block text ends with its last visible character."""
        text = self._source.text
        first, last = start + self._offset, end + self._offset
        while last > first and text[last - 1] in _BLANK:
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


def report_repeated(source: Source, earlier: Scalar, key: Scalar, *, top: bool) -> None:
    """Note that a key stands twice in one mapping, `top` being the outermost."""
    line = source.span(earlier.start, earlier.end).line
    source.report(
        "duplicate-key",
        f"the key {key.text[:60]!r} stands twice",
        key,
        fatal=True,
        expected="every key once",
        got=f"{key.text[:60]!r} again; first given in line {line}",
        hint="delete one of the two" if top else "delete one of the two, or start a further list item with a dash",
    )


def _place(error: Exception, text: str) -> int:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    unclosed = any(words in str(getattr(error, "problem", None)) for words in _NO_END)
    if unclosed and any(opened in str(getattr(error, "context", None)) for opened in _OPENED):
        mark = getattr(error, "context_mark", None) or mark  # where it was opened, not where the text ends
    at = min(mark.index, len(text)) if mark is not None else 0
    if "<document start>" in str(getattr(error, "problem", None)):
        at = max(text.rfind("\n...", 0, at) + 1, 0)  # the line that ended the document, not the one behind it
    return at


# What libyaml says, in words for people who do not write parsers, and what to do about it.
_SYNTAX = (
    ("mapping values", 'a value holds a second ": "', 'put quotes around a text that holds ": "'),
    ("block sequence entries", "a list starts on the line of its key", "start the list on the line below its key"),
    ("cannot start any token", "a value starts with {char!r}", "put quotes around the value"),
    ("escape", "YAML does not know this escape", "write \\\\ for a backslash, or use single quotes"),
    ("quoted scalar", "a quote is never closed", "close it with the same quote"),
    ("flow sequence", "a bracket [ is never closed, or a comma is missing", "close it with ]"),
    ("flow mapping", "a brace {{ is never closed, or a comma is missing", "close it with }}"),
    ("expected <document start>", "a line ... ends it too early", "delete the line ..."),
    ("could not find expected ':'", "a line has no colon", "write every field as `key: value`"),
)


def _report_syntax(source: Source, error: Exception, at: int) -> None:
    said = str(getattr(error, "problem", None) or error).splitlines()[0]
    about = f"{getattr(error, 'context', None)}; {said}"
    line = source.text[source.text.rfind("\n", 0, at) + 1 : _line_end(source.text, at)].strip()
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


def _line_end(text: str, at: int) -> int:
    found = BREAK.search(text, at)
    return found.start() if found else len(text)
