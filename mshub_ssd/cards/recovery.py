"""Fields of a front matter that is broken as a whole: each is read on its own."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

from mshub_ssd.cards.composing import MAX_NODES, compose, report_repeated
from mshub_ssd.cards.fields import ASSET_FIELDS, FIELDS
from mshub_ssd.cards.nodes import MapNode, Node, Scalar, SeqNode, Source

__all__ = ["recover"]

_MAX_FIELDS = 60
_MAX_LINES = 100
_FIELD = re.compile(r"^(?!\.\.\.)[^\s#-].*$", re.MULTILINE)
_LINE = re.compile(
    r"^[ \t]*(?P<dash>-[ \t]+)?(?P<key>[^\W\d_](?:[\w.-]| (?=\w)){0,60})[ \t]*[:\uff1a][ \t]*(?P<value>[^\r\n]*)",
    re.MULTILINE,
)
_TAGS = re.compile(r"^(?:[!&][^ \t]*[ \t]+)+")
# Reading on would cost more than it tells.
_HOPELESS = {"yaml-size", "yaml-depth"}
_CHINESE = {field.chinese: field.key for field in (*FIELDS.values(), *ASSET_FIELDS.values()) if field.chinese}


def recover(source: Source) -> None:
    """Put what can be read of a broken front matter into `source.root`.

    Fields that are sound YAML are composed; the others are read line by line. Problems of single fields take the
    place of the one that stopped the whole, unless only the whole is broken.
    """
    if source.front is None or any(problem.code in _HOPELESS for problem in source.problems):
        return
    start, end = source.front
    heads = [found.start() for found in itertools.islice(_FIELD.finditer(source.text, start, end), _MAX_FIELDS)]
    if not heads:
        return
    whole = source.problems[-1:]
    kept = len(source.problems) - 1
    del source.problems[kept:]
    pairs: list[tuple[Scalar, Node]] = []
    seen: dict[str, Scalar] = {}
    for head, below in zip(heads, [*heads[1:], end], strict=True):
        found = compose(source, head, below) if source.values < MAX_NODES else None
        if source.problems and source.problems[-1].code == "front-matter":
            source.problems[-1] = replace(source.problems[-1], message="this line is no field", got=None)
        for key, node in found.items if found else _lines(source, head, below):
            if key.text not in seen:
                seen[key.text] = key
                pairs.append((key, node))
            else:
                report_repeated(source, seen[key.text], key, top=True)
    codes = {problem.code for problem in source.problems[kept:]}
    only_whole = whole and whole[0].code == "yaml-document"
    if only_whole or "fullwidth-colon" in codes or not any(problem.fatal for problem in source.problems[kept:]):
        source.problems[kept:] = whole
    if pairs:
        source.root = MapNode(pairs, start, end)


def _lines(source: Source, start: int, end: int) -> list[tuple[Scalar, Node]]:
    """The one field between two offsets, as lines ``key: value`` and list items of such lines."""
    found = list(itertools.islice(_LINE.finditer(source.text, start, end), _MAX_LINES))
    if not found or found[0].start() != start or found[0]["dash"]:
        return []
    key, value = _pair(source, found[0])
    items: list[list[tuple[Scalar, Node]]] = []
    for line in found[1:]:
        if line["dash"] or not items:
            items.append([])
        pair = _pair(source, line)
        if all(pair[0].text != known.text for known, _ in items[-1]):
            items[-1].append(pair)
    if not items or value.text:
        return [(key, value)]
    nodes: list[Node] = [MapNode(pairs, pairs[0][0].start, pairs[-1][1].end) for pairs in items if pairs]
    return [(key, SeqNode(nodes, nodes[0].start, nodes[-1].end))]


def _pair(source: Source, line: re.Match[str]) -> tuple[Scalar, Scalar]:
    name, value = line["key"], line["value"].rstrip()
    quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'"
    start, end = line.start("value"), line.start("value") + len(value)
    if quoted:
        value = value[1:-1]
    else:
        # A tag or an anchor is refused, but the text behind it is what the author meant.
        value = _TAGS.sub("", value)
        start = end - len(value)
    return Scalar(_CHINESE.get(name, name), True, *line.span("key")), Scalar(value, not quoted, start, end)
