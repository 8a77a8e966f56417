"""Fields of a front matter that is broken as a whole: each is read on its own."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

from mshub_ssd.cards.composing import MAX_NODES, compose, report_repeated
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
# What cards written in Chinese call their fields.
_CHINESE = {
    "\u6a21\u578b\u540d\u79f0": "model-name",
    "\u9aa8\u5e72\u7f51\u7edc": "backbone-name",
    "\u6a21\u5757\u7c7b\u578b": "module-type",
    "\u53ef\u5fae\u8c03": "fine-tunable",
    "\u8f93\u5165\u5f62\u72b6": "input-shape",
    "\u6a21\u578b\u7248\u672c": "model-version",
    "\u8bad\u7ec3\u6570\u636e\u96c6": "train-dataset",
    "\u51c6\u786e\u7387": "accuracy",
    "\u4f5c\u8005": "author",
    "\u66f4\u65b0\u65f6\u95f4": "update-time",
    "\u4ee3\u7801\u4ed3\u94fe\u63a5": "repo-link",
    "\u7528\u6237ID": "user-id",
    "\u7528\u9014": "used-for",
    "\u8bad\u7ec3\u540e\u7aef": "train-backend",
    "\u63a8\u7406\u540e\u7aef": "infer-backend",
    "MindSpore Lite": "mindspore-lite",
    "MindSpore\u7248\u672c": "mindspore-version",
    "\u8d44\u6e90": "asset",
    "\u6587\u4ef6\u683c\u5f0f": "file-format",
    "\u8d44\u6e90\u94fe\u63a5": "asset-link",
    "\u8d44\u6e90SHA256\u6821\u9a8c\u7801": "asset-sha256",
    "\u8bb8\u53ef\u8bc1": "license",
    "\u6458\u8981": "summary",
}


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
