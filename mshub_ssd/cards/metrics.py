"""Published figures: from `top1acc64.82 | top5acc85.66` to names and numbers.

A figure is read as a person reads it, or not at all: of a range, a fraction or two figures in one text no number
is picked out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mshub_ssd.cards.model import Metric
from mshub_ssd.cards.nodes import MapNode, Node, Scalar, SeqNode

__all__ = [
    "MAX_FIGURE",
    "METRIC_KEYS",
    "NUMBER",
    "Entry",
    "parse_metric",
    "read_evaluation",
    "read_figure",
    "read_value",
]

MAX_FIGURE = 200
"""So long may one figure be, in characters."""
METRIC_KEYS = {"map", "accuracy"}
"""Fields of old cards, in small letters, each of which is a figure."""
# The lookbehind changes no match, but a text of digits is tried once and not from each of them.
NUMBER = r"(?<![0-9])(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
"""A number without sign, as YAML and JSON readers know it."""

_MAX_PIECES = 1000
_MAX_RUN = 3
_UNSIGNED = NUMBER.replace(r"(?:\.[0-9]*)?", r"(?:\.[0-9]*|,[0-9]+)?")
_MINUS = "\u2212"
_VALUE = (
    rf"(?P<sign>[-+{_MINUS}]?)(?P<value>{_UNSIGNED})[ \t]*(?P<unit>[%\uff05]?)"
    rf"(?:[ \t]*(?:\u00b1|\+/?-)[ \t]*(?P<spread>{_UNSIGNED})[ \t]*(?P<last>[%\uff05]?))?"
)
_NUMBER = re.compile(_VALUE)
_FIGURE = re.compile(rf"(?P<head>.*?){_VALUE}")
_PLAIN = str.maketrans({",": ".", _MINUS: "-", "\uff05": "%"})
_SEPARATORS = " \t:=\uff1a\uff1d"
# In {mAP: 24,08} and [mAP24,08] YAML ends the figure at its comma.
_RUN_ON = re.compile(r"\s*,\s*(?P<more>[0-9][^\s,:{}\[\]#|]{0,40})(?=\s*[,}\]])")
_BETWEEN = re.compile(r"[,;\uff0c\uff1b\u3001]\s+|[;\uff0c\uff1b\u3001]|\s+(?:and\s+|[/&]\s+)?(?=[^\W\d_])")

_COMMA = re.compile(",")

_NO_FIGURE = "no metric and value"
_RANGE = "a range, or a dash that may mean one"
_SEVERAL = "several figures without | between them"
_ROUGH = "no exact figure"
ROUGH_WORDS = (
    *("about", "above", "and", "approx", "approximately", "around", "at", "below", "bis", "ca", "circa", "from"),
    *("least", "most", "nearly", "or", "over", "roughly", "than", "through", "to", "under", "up", "versus", "vs"),
)
"""Words before a number that is not the figure, or not all of it."""
MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november"),
    *("december", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"),
)
"""Behind these stands no figure, but a day or a year."""
NEVER_NEGATIVE = (
    "acc",
    "accuracy",
    "map",
    "ap",
    "ar",
    "iou",
    "miou",
    "f1",
    "recall",
    "precision",
    "auc",
    "psnr",
    "ssim",
)
"""Metrics behind which a dash is no sign."""
_WORDS = re.compile(rf"(?:^|[\s:=(])(?:{'|'.join(ROUGH_WORDS)})\.?$")
_VERSION = re.compile(r"(?:^|\s)(?:v|ver|version|release)\.?$")
_MONTH = re.compile(rf"(?:^|[\s,])(?:{'|'.join(MONTHS)})\.?(?:\s+[0-9]{{1,2}}\.?)?$")
_DECIMAL = r"(?<![0-9.@])(?!0?\.(?:50?|75|95)(?![0-9]))[0-9]*\.[0-9]+%?"
_JOINED = re.compile(
    r"[0-9]%?\s*[,;\uff0c\uff1b\u3001]"  # acc76.1, top5acc93.0
    r"|[0-9]\.[0-9]+%?\s*[/&]"  # acc76.1 / top5acc93.0
    r"|(?<![0-9])[:\uff1a]\s*[0-9]+(?:\.[0-9]+)?%?\s+[^\W\d_]"  # acc: 76 top5: 93
    rf"|(?<![=@.])(?:{_DECIMAL})\s+[^\W\d_]"  # acc76.1 top5acc93.0
)
_TWO_VALUES = re.compile(rf"(?<![=@.])(?:{_DECIMAL})$")
_EQUALS = re.compile(r"=[ \t]*[0-9]+(?:\.[0-9]+)?%?\s+[^\W\d_]")
_SAID = re.compile(r"[:\uff1a]\s|\s=\s")
_THRESHOLDS = re.compile(r"@\[?0?\.[0-9]+(?::0?\.[0-9]+)?$|50$")
_THOUSANDS = re.compile(r"(?P<before>^|.)(?<![0-9.])[0-9]{1,3}$")
_POWER = re.compile(r"[0-9][\sxX\u00d7*.]*[xX\u00d7*eE^]$")
_DASHES = "-\u2013\u2014"
_NO_SIGN = re.compile(rf"(?:acc|(?:^|[^a-z])(?:{'|'.join(NEVER_NEGATIVE)}))$")


@dataclass(frozen=True, slots=True)
class Entry:
    """One figure of an evaluation, or what cannot be read as one.

    Attributes:
        text: As the card has it; of a mapping only the value.
        start: Where it begins in the card's text.
        end: Where it ends there.
        metric: What it says, None where it cannot be read.
        reason: Why not.
        mended: The text as it should be written, where it differs: 24.08 for 24,08; figures parted by ``|``.
        number: The value as written, without its sign and with a point for a decimal comma; its zeros count.
        key: The metric's name in a mapping.
    """

    text: str
    start: int
    end: int
    metric: Metric | None
    reason: str = ""
    mended: str | None = None
    number: str = ""
    key: str | None = None


def parse_metric(text: str) -> Metric | None:
    """Read ``top1acc64.82``, ``mAP: 25,17`` or ``acc: 0.12 ± 0.01`` as name and value; None where it is neither."""
    return read_figure(text).metric


def read_figure(text: str, start: int = 0, end: int = 0) -> Entry:
    """Read a text as one metric and its value; the places go into the entry."""
    text = text.strip()
    found, name, reason = _read(text)
    if found is None or reason:
        return Entry(text, start, end, None, reason, _parted(text))
    plain = _plain(text, found)
    return Entry(text, start, end, _metric(name, found), "", None if plain == text else plain, _point(found))


def _read(text: str) -> tuple[re.Match[str] | None, str, str]:
    """The parts of a figure, its name, and why it is none."""
    found = _FIGURE.fullmatch(text) if len(text) <= MAX_FIGURE else None
    if found is None:
        return None, "", _NO_FIGURE if text else "nothing between two |"
    name = found["head"].rstrip(_SEPARATORS)
    if name[-1:] in _DASHES and name[-2:-1].isspace() and found["head"][-1:].isspace():
        name = name[:-2].rstrip()  # top-1 - 64.82
    return found, name, _objection(found, name) or _no_number(found)


def _plain(text: str, found: re.Match[str]) -> str:
    """A figure as every reader knows it: a point for a decimal comma, ASCII signs."""
    return text[: found.start("sign")] + text[found.start("sign") :].translate(_PLAIN)


def read_value(key: str, node: Node, card: str) -> Entry:
    """Read the value of a mapping from metric to value.

    Args:
        key: The metric's name.
        node: Its value.
        card: The card's text, in which the value may run on: of ``{mAP: 24,08}`` YAML takes 24.
    """
    if not isinstance(node, Scalar):
        return Entry(card[node.start : node.end], node.start, node.end, None, "no number", key=key)
    text, end = _run_on(node, card, node.text.strip())
    start = node.start
    if not node.plain and card[start + 1 : end - 1] == text:
        start, end = start + 1, end - 1  # between the quotes
    found = _NUMBER.fullmatch(text) if len(text) <= MAX_FIGURE else None
    reason = "no number" if found is None else _no_number(found)
    if found is None or reason:
        return Entry(text, start, end, None, reason, key=key)
    plain = text.translate(_PLAIN)
    return Entry(text, start, end, _metric(key, found), "", None if plain == text else plain, _point(found), key)


def read_evaluation(node: Node, card: str) -> Iterator[Entry]:
    """Read an evaluation, figure by figure.

    Args:
        node: A text, a mapping, or a list of these.
        card: The card's text, in which the nodes have their places.
    """
    done = 0
    for item in node.items if isinstance(node, SeqNode) else [node]:
        if item.start < done:
            continue
        if isinstance(item, MapNode):
            for key, value in item.items:
                if key.start >= done:
                    entry = read_value(key.text, value, card)
                    yield entry
                    done = entry.end
        elif isinstance(item, Scalar):
            text, done = _run_on(item, card, item.text)
            yield from _pieces(item, text, done, card)
        else:
            yield Entry(card[item.start : item.end], item.start, item.end, None, "a list is no metric and value")


def _pieces(node: Scalar, text: str, end: int, card: str) -> Iterator[Entry]:
    """The figures of a text, each with its place; an empty one lies on what ends it."""
    if "|" not in text and text == text.strip() and card[node.start : end] == text:
        yield read_figure(text, node.start, end)
        return
    # A value with escapes, or over several lines, has no text in the card to point at.
    offset = card[node.start : end].find(text)
    at = 0
    for piece in text.split("|", _MAX_PIECES):
        bare = piece.strip()
        first = at + len(piece) - len(piece.lstrip()) if bare else min(at + len(piece), len(text) - 1)
        last = first + max(len(bare), 1)
        place = (node.start, end) if offset < 0 else (node.start + offset + first, node.start + offset + last)
        yield read_figure(bare, *place)
        at += len(piece) + 1


def _run_on(node: Scalar, card: str, text: str) -> tuple[str, int]:
    """A value's text and end, with what YAML cut off at a comma."""
    end = node.end
    for _ in range(_MAX_RUN if node.plain else 0):
        more = _RUN_ON.match(card, end)
        if more is None or read_figure(more["more"]).metric:
            break
        text, end = text + more.group(), more.end()
    return text, end


def _point(found: re.Match[str]) -> str:
    return found["value"].replace(",", ".")


def _metric(name: str, found: re.Match[str]) -> Metric:
    spread = found["spread"]
    value = float((found["sign"] + found["value"]).translate(_PLAIN))
    return Metric(name, value, None if spread is None else float(spread.translate(_PLAIN)))


def _no_number(found: re.Match[str]) -> str:
    """Why a value cannot be told, or an empty text."""
    for text in (found["value"], found["spread"]):
        whole, comma, behind = (text or "").partition(",")
        if comma and len(behind) == 3 and whole.strip("0"):
            return f"{text} may be {whole}{behind} or {whole}.{behind}" if len(text) < 40 else "no number"
        if text and not math.isfinite(float(text.replace(",", "."))):
            return "no number"
    # 12 % ± 1 may be one per cent of 12.
    return "a spread of unclear unit" if found["spread"] and found["unit"] and not found["last"] else ""


def _objection(found: re.Match[str], name: str) -> str:
    """Why a number at the end of a text is not the figure that the text gives, or an empty text."""
    head, value = found["head"], found["value"]
    if not any(map(str.isalpha, name)) or name.endswith("@"):
        return _NO_FIGURE  # a bare number names nothing, `mAP@0.5` names a threshold and no value
    if not name.isalnum() and _JOINED.search(name):
        return _SEVERAL
    bare = head.rstrip()
    if bare[-1] in _SEPARATORS:
        if bare == head and value.lstrip("0.") == "95" and _THRESHOLDS.search(name):
            return _NO_FIGURE  # mAP@0.5:0.95
        return _SEVERAL if bare[-1] == "=" and _EQUALS.search(name) else ""
    small = bare.lower()
    if _WORDS.search(small):
        return _ROUGH
    if _VERSION.search(small):
        return "a version, and no figure"
    if value.isdigit() and _MONTH.search(small):
        return "a date, and no figure"
    if _SAID.search(name):
        return _NO_FIGURE  # mAP: about 25
    if _POWER.search(bare):
        return "no plain number"
    return _behind_a_gap(found, name, bare) if bare != head else _unparted(found, name)


def _behind_a_gap(found: re.Match[str], name: str, bare: str) -> str:
    last, value = bare[-1], found["value"]
    if last.isdigit():
        # 12 345 is one number, and so may be acc12 345; top5 100 is not.
        thousands = None if found["sign"] else _THOUSANDS.search(bare)
        groups = re.match(r"[0-9]{3}(?![0-9])", value)
        if thousands and groups and not (thousands["before"].isalpha() and value.startswith("100")):
            return "more than one number"
        return "more than one number" if _TWO_VALUES.search(name) else ""
    if last in _DASHES:
        return _RANGE if name[-1:].isdigit() else "" if bare[-2:-1].isspace() else _ROUGH
    return (
        ""
        if last.isalpha() or last in "_)]%\uff05*'\"\u2191\u2193" or (bare[-2:-1].isalpha() and last == ".")
        else _ROUGH
    )


def _unparted(found: re.Match[str], name: str) -> str:
    last, value = found["head"][-1], found["value"]
    if found["sign"]:
        if last.isdigit():
            return _RANGE
        if found["sign"] != "+" and _NO_SIGN.search(name.lower()):
            return "a dash that may be no minus"
    elif last in _DASHES:
        return _RANGE if name[-1:].isdigit() else _ROUGH
    if value.startswith(".") or (last == "_" and name[-2:-1].isdigit() and len(value) == 3 and value.isdigit()):
        return "no plain number"
    return "" if last.isalpha() or last in "_)]%\uff05\u2191\u2193" else _NO_FIGURE


def _parted(text: str) -> str | None:
    """The figures of a text with `|` between them, None where not every part of it is one."""
    if len(text) > MAX_FIGURE:
        return None
    for between in (_BETWEEN, _COMMA):
        parts = [part.strip() for part in between.split(text)]
        read = [_read(part) for part in parts]
        if len(parts) > 1 and not any(reason for _, _, reason in read):
            return " | ".join(_plain(part, found) for part, (found, _, _) in zip(parts, read, strict=True) if found)
    return None
