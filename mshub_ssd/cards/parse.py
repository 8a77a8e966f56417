"""From the text of a card to a `Card`.

Scalars are typed by the fields of a card, never by YAML: a version ``1.10`` stays ``1.10``, a digest of digits
only stays text, ``evaluation: no`` is no boolean.
"""

from __future__ import annotations

import datetime
import itertools
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mshub_ssd.cards.fields import ASSET_FIELDS, FIELDS, FORMS
from mshub_ssd.cards.metrics import METRIC_KEYS, NUMBER, read_evaluation, read_value
from mshub_ssd.cards.model import DIGEST, Asset, Card, FrozenDict, Metric, NetworkRef, Span, Version
from mshub_ssd.cards.nodes import MapNode, Node, Problem, Scalar, SeqNode, Source
from mshub_ssd.cards.recovery import recover
from mshub_ssd.cards.source import read_bytes, read_source
from mshub_ssd.cards.tasks import task_of
from mshub_ssd.errors import CardError
from mshub_ssd.redaction import hide, scrub

__all__ = ["Examination", "Problem", "examine_card", "parse_card", "read_card", "read_card_with_text"]

_NOTHING = {"", "-", "~", "null"}
_NO_VALUE = _NOTHING | {"no", "none", "n/a", "na", "nil"}
_SWITCH = {**dict.fromkeys(("true", "yes", "on"), True), **dict.fromkeys(("false", "no", "off"), False)}
_PLAIN_KEY = re.compile(r"[^.\[\]\":\s]+")
_DATE = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})")
_COUNT = re.compile(r"\+?[0-9]{1,18}")
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
_REAL = re.compile(rf"[-+]?{NUMBER}")
_MAX_REAL = 200
_MAX_PIECES = 1000
_MAX_METRICS = 1000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Examination:
    """All that can be told about a card.

    Attributes:
        card: The card, or None where a fatal problem leaves none.
        problems: Everything wrong with it, in the order found.
        source: The text and the nodes of the front matter.
        draft: What could be read, fatal problems or not; None where there are no fields at all.
    """

    card: Card | None
    problems: tuple[Problem, ...]
    source: Source
    draft: Card | None = None


def parse_card(text: str | bytes, *, uid: str, path: Path | None = None, origin: str | None = None) -> Card:
    """Read a card from its text.

    Args:
        text: The whole file; bytes are read as UTF-8, whatever the locale.
        uid: The card's uid.
        path: File the text comes from; relative assets resolve against its folder.
        origin: Where it comes from, in words or as a url, without secrets; the path where there is one.

    Raises:
        CardError: The card cannot be used; names file, line, column and what to do.
    """
    result = examine_card(text, uid=uid, path=path, origin=origin)
    if result.card is not None:
        return result.card
    problem = next(problem for problem in result.problems if problem.fatal)
    raise card_error(problem, str(path) if path else origin or uid)


def read_card(path: str | Path, uid: str | None = None) -> Card:
    """Read a card from a file.

    Args:
        path: The card's file.
        uid: The card's uid; without it the file's name without ``.md``.

    Raises:
        CardError: The file cannot be read, or the card cannot be used.
    """
    return read_card_with_text(path, uid)[0]


def read_card_with_text(path: str | Path, uid: str | None = None) -> tuple[Card, bytes]:
    """`read_card`, and the bytes that the card was read from."""
    file = Path(path)
    try:
        data = read_bytes(file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CardError(
            f"cannot read the card: {reason}",
            where=str(path),
            expected="a readable file",
            hint="check the path, or list the known cards: mshub list",
        ) from error
    if uid is None:
        uid = file.name[:-3] if file.name.lower().endswith(".md") else file.name
    return parse_card(data, uid=uid, path=file), data


def examine_card(
    text: str | bytes, *, uid: str, path: Path | None = None, origin: str | None = None, tolerant: bool = False
) -> Examination:
    """Read a card and collect everything that is wrong with it; never raises for what the text holds.

    Args:
        text: The whole file; bytes are read as UTF-8.
        uid: The card's uid.
        path: File the text comes from.
        origin: As for `parse_card`.
        tolerant: Read on behind a fatal problem, field by field: one syntax error then hides no other. For a
            reader of the nodes in `Examination.source`; the draft has no `Card.spans`.
    """
    source = read_source(text, tolerant=tolerant)
    if tolerant and source.root is None and source.front is not None:
        recover(source)
    draft = None if source.root is None else _Reader(source, source.root).card(uid, path, origin, spans=not tolerant)
    fatal = any(problem.fatal for problem in source.problems)
    return Examination(None if fatal else draft, tuple(source.problems), source, draft)


def card_error(problem: Problem, where: str) -> CardError:
    """The error for a problem, `where` naming the file."""
    span = problem.span
    error = CardError(
        problem.message,
        where=f"{where}:{span.line}:{span.column}" if span else where,
        expected=problem.expected,
        got=problem.got,
        hint=problem.hint,
    )
    if span:
        error.line, error.column = span.line, span.column
    return error


class _UnreadableError(Exception):
    """A value is not of the kind that its field takes."""

    def __init__(self, kind: str, *, fatal: bool = False) -> None:
        self.kind = kind
        self.fatal = fatal


class _Reader:
    """From the nodes of one front matter to the fields of a `Card`."""

    def __init__(self, source: Source, root: MapNode) -> None:
        self.source = source
        self.root = root
        self.extra: dict[str, Any] = {}
        self.metrics: list[Metric] = []

    def card(self, uid: str, path: Path | None, origin: str | None, spans: bool) -> Card:
        source = self.source
        fields: dict[str, Any] = {}
        for key, node in self.root.items:
            if key.text in FIELDS and key.text in _READERS:
                attribute, read = _READERS[key.text]
                fields[attribute] = self._value(key.text, node, read)
            else:
                self._unknown(key.text, node)
        assert source.front is not None
        parts: dict[str, Span] = {}
        if spans:
            parts = {":front-matter": source.span(*source.front), ":body": source.span(source.body, len(source.text))}
            if source.title:
                parts[":title"] = source.span(*source.title[1:])
            self._spans(self.root, "", parts)
        fields["metrics"] = tuple(self.metrics)
        card = Card(
            uid=uid,
            title=source.title[0] if source.title else None,
            body=source.text[source.body :],
            extra=FrozenDict(self.extra),
            origin=origin or (None if path is None else str(path)),
            path=path,
            spans=FrozenDict(parts),
            **{name: value for name, value in fields.items() if value is not None},
        )
        task = task_of(card)
        # A copy by dataclasses.replace costs more than this one assignment.
        object.__setattr__(card, "task", task)
        return card

    def text(self, key: str, node: Node) -> str | None:
        if not isinstance(node, Scalar):
            raise _UnreadableError("text")
        text = node.text.strip()
        return None if node.plain and text.lower() in _NOTHING else text or None

    def version(self, key: str, node: Node) -> Version | None:
        text = self.text(key, node)
        return None if text is None else Version(text)

    def link(self, key: str, node: Node) -> str | None:
        text = self.text(key, node)
        return text[1:-1].strip() if text and text.startswith("<") and text.endswith(">") else text

    file_link = link

    def digest(self, key: str, node: Node) -> str | None:
        text = self.text(key, node)
        return text and text.lower()

    def switch(self, key: str, node: Node) -> bool | None:
        return self._scalar(key, node, "switch", lambda text: _SWITCH.get(text.lower()))

    def date(self, key: str, node: Node) -> datetime.date | None:
        return self._scalar(key, node, "date", _date)

    def size(self, key: str, node: Node) -> int | None:
        return self._scalar(key, node, "size", lambda text: int(text) or None if _COUNT.fullmatch(text) else None)

    def _scalar(self, key: str, node: Node, kind: str, read: Callable[[str], T | None]) -> T | None:
        """The value of a text, None where there is none."""
        text = self.text(key, node)
        value = None if text is None else read(text)
        if text is not None and value is None:
            raise _UnreadableError(kind)
        return value

    def shape(self, key: str, node: Node) -> tuple[Any, ...] | None:
        if isinstance(node, Scalar) and self.text(key, node) is None:
            return None
        shape = self._numbers(node)
        if not isinstance(shape, tuple):
            raise _UnreadableError("shape")
        return shape

    def _numbers(self, node: Node) -> int | tuple[Any, ...] | None:
        if isinstance(node, Scalar):
            return int(node.text) if _WHOLE.fullmatch(node.text.strip()) else None
        if isinstance(node, MapNode):
            return None
        items = tuple(self._numbers(item) for item in node.items)
        return None if None in items else items

    def datasets(self, key: str, node: Node) -> tuple[str, ...] | None:
        items = node.items if isinstance(node, SeqNode) else [node]
        names: list[str] = []
        for item in items:
            if not isinstance(item, Scalar):
                raise _UnreadableError("datasets")
            pieces = re.split(r"[|,]", item.text, maxsplit=_MAX_PIECES) if item is node else [item.text]
            names += [name for name in (piece.strip() for piece in pieces) if name.lower() not in _NO_VALUE]
        return tuple(names)

    def evaluation(self, key: str, node: Node) -> None:
        """Collect metrics; what cannot be read as name and value, and what goes on for ever, stays in `extra`."""
        if isinstance(node, Scalar) and node.text.strip().lower() in _NO_VALUE:
            return
        entries = list(itertools.islice(read_evaluation(node, self.source.text), _MAX_METRICS + 1))
        self.metrics += [entry.metric for entry in entries[:_MAX_METRICS] if entry.metric is not None]
        if len(entries) > _MAX_METRICS or any(entry.metric is None for entry in entries):
            raise _UnreadableError("evaluation")

    def assets(self, key: str, node: Node) -> tuple[Asset, ...] | None:
        if isinstance(node, Scalar) and node.text.strip().lower() in _NO_VALUE:
            return ()
        if isinstance(node, MapNode):
            self.source.report(
                "asset-shape",
                "asset is a mapping, not a list",
                node,
                expected="a list of assets",
                hint="put a dash before the first key of every asset",
            )
            node = SeqNode([node], node.start, node.end)
        if not isinstance(node, SeqNode):
            raise _UnreadableError("assets", fatal=True)
        found = [self._value(f"{key}[{index}]", item, _Reader._asset) for index, item in enumerate(node.items)]
        return tuple(asset for asset in found if asset is not None)

    def _asset(self, name: str, node: Node) -> Asset | None:
        if not isinstance(node, MapNode):
            raise _UnreadableError("asset", fatal=True)
        values: dict[str, Any] = dict.fromkeys(Asset.__slots__)
        places: dict[str, Node] = {}
        for key, item in node.items:
            if key.text in ASSET_FIELDS:
                attribute, read = _READERS[key.text]
                values[attribute] = self._value(f"{name}.{key.text}", item, read)
                places[key.text] = item
            else:
                self._unknown(f"{name}.{_step(key.text)}", item)
        link, digest = values["url"], values["sha256"]
        if not link:
            self.source.report(
                "asset-link",
                "an asset has no asset-link",
                places.get("asset-link", node),
                fatal=True,
                expected=f"asset-link: {FORMS['file_link']}",
                hint="add the asset-link, or delete the asset",
            )
            return None
        if digest is None:
            self.source.report(
                "asset-sha256",
                "an asset has no asset-sha256, so nothing can vouch for the file",
                places.get("asset-sha256", node),
                expected=FORMS["digest"],
                hint=f"run sha256sum on the file behind {hide(link)[:200]} and add asset-sha256",
            )
        elif not DIGEST.fullmatch(digest):
            self.source.report(
                "asset-sha256",
                "asset-sha256 is no SHA-256 digest",
                places["asset-sha256"],
                expected=FORMS["digest"],
                got=repr(digest),
                hint="run sha256sum on the file",
            )
        return Asset(**values)

    def network(self, key: str, node: Node) -> NetworkRef | None:
        if isinstance(node, Scalar):
            name = self.text(key, node)
            return NetworkRef(name) if name else None
        if isinstance(node, MapNode):
            values = {name.text: value for name, value in node.items}
            named = values.pop("name", None)
            if isinstance(named, Scalar) and named.text.strip():
                arguments = {name: _typed(value) for name, value in values.items()}
                return NetworkRef(named.text.strip(), FrozenDict(arguments))
        raise _UnreadableError("network", fatal=True)

    def classes(self, key: str, node: Node) -> tuple[str, ...] | None:
        if isinstance(node, Scalar) and self.text(key, node) is None:
            return None
        if isinstance(node, SeqNode) and node.items and all(isinstance(item, Scalar) for item in node.items):
            names = tuple(item.text.strip() for item in node.items if isinstance(item, Scalar))
            if all(names):
                return names
        raise _UnreadableError("classes", fatal=True)

    def _unknown(self, key: str, node: Node) -> None:
        self.extra[key] = _kept(node)
        if key.lower() in METRIC_KEYS and (metric := read_value(key, node, self.source.text).metric):
            self.metrics.append(metric)

    def _value(self, key: str, node: Node, read: Callable[[_Reader, str, Node], Any]) -> Any:
        """What `read` makes of a value; one that it cannot read is reported, and kept as it stands."""
        try:
            return read(self, key, node)
        except _UnreadableError as error:
            self.extra[key] = _kept(node)
            self.source.report(
                "value",
                f"the value of {key} cannot be read",
                node,
                fatal=error.fatal,
                expected=FORMS[error.kind],
                got=repr(scrub(self.source.text[node.start : node.end])[:200]),
                hint=f"correct {key}, or leave it out",
            )
            return None

    def _spans(self, node: Node, at: str, spans: dict[str, Span]) -> dict[str, Span]:
        if isinstance(node, MapNode):
            for key, value in node.items:
                path = f"{at}.{_step(key.text)}" if at else _step(key.text)
                spans[f"{path}:key"] = self.source.span(key.start, key.end)
                spans[path] = self.source.span(value.start, value.end)
                self._spans(value, path, spans)
        elif isinstance(node, SeqNode):
            for index, item in enumerate(node.items):
                spans[f"{at}[{index}]"] = self.source.span(item.start, item.end)
                self._spans(item, f"{at}[{index}]", spans)
        return spans


# By the key in the card: the attribute, and what reads the value.
_READERS: dict[str, tuple[str, Callable[[_Reader, str, Node], Any]]] = {
    field.key: (field.attribute, getattr(_Reader, field.kind))
    for field in (*FIELDS.values(), *ASSET_FIELDS.values())
    if field.attribute
}


def _step(key: str) -> str:
    """A key as a step of a span's path; quoted where it would be taken for path syntax."""
    return key if _PLAIN_KEY.fullmatch(key) else f"[{json.dumps(key, ensure_ascii=False)}]"


def _kept(node: Node) -> Any:
    """A value of no schema: the text as it stands, lists as tuples, None for an empty one."""
    if isinstance(node, Scalar):
        return None if node.plain and not node.text else node.text
    if isinstance(node, SeqNode):
        return tuple(_kept(item) for item in node.items)
    return FrozenDict({key.text: _kept(value) for key, value in node.items})


def _typed(node: Node) -> Any:
    """An argument of a network's constructor."""
    if isinstance(node, SeqNode):
        return tuple(_typed(item) for item in node.items)
    if isinstance(node, MapNode):
        return FrozenDict({key.text: _typed(value) for key, value in node.items})
    text = node.text.strip()
    if not node.plain:
        return node.text
    if _WHOLE.fullmatch(text):
        return int(text)
    if len(text) <= _MAX_REAL and _REAL.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    return None if text.lower() in {"", "~", "null"} else text


def _date(text: str) -> datetime.date | None:
    found = _DATE.fullmatch(text)
    try:
        return datetime.date(*map(int, found.groups())) if found else None
    except ValueError:  # 2022-02-30
        return None
