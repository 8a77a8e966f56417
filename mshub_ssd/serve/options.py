"""What a request may ask for, read from its query and its ``Accept``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, cast

from mshub_ssd.errors import UsageError
from mshub_ssd.families import Detector, Family
from mshub_ssd.serve.limits import RefusedError

__all__ = ["MAX_ROWS", "drawn_as", "options_of", "parameters", "usual_options"]

MAX_ROWS = 1000
"""Detections of one picture, or classes, at most."""

_DRAWN = {"png": "PNG", "jpeg": "JPEG", "1": "PNG", "true": "PNG"}
_NOT_DRAWN = ("0", "false")
_KINDS = {"application/json": None, "image/png": "PNG", "image/jpeg": "JPEG"}


def parameters(detects: bool) -> dict[str, dict[str, Any]]:
    """The query's parameters, as OpenAPI describes them."""
    fraction = {"type": "number", "minimum": 0, "maximum": 1}
    count = {"type": "integer", "minimum": 1, "maximum": MAX_ROWS}
    draw = {
        "draw": {
            "description": "A drawn picture in place of JSON, whatever `Accept` says; 1 means png.",
            "schema": {"type": "string", "enum": ["png", "jpeg", "1", "0"]},
        }
    }
    if not detects:
        return {"top_k": {"description": "So many classes, best first.", "schema": count}, **draw}
    return {
        "score_threshold": {"description": "Detections have a higher score than this.", "schema": fraction},
        "iou_threshold": {
            "description": "Boxes that overlap no better one of their class by more than this.",
            "schema": fraction,
        },
        "max_detections": {"description": "At most so many, the best ones.", "schema": count},
        "classes": {
            "description": "Only this class, by name or 0-based label; may be repeated.",
            "schema": {"type": "array", "items": {"type": "string"}},
        },
        **draw,
    }


def usual_options(family: Family, usual: dict[str, Any]) -> Any:
    """What the family is asked to keep where a request says nothing.

    Args:
        family: The network's.
        usual: What the server's owner chose; None for what the network has itself.

    Raises:
        UsageError: A choice makes no sense for this network.
    """
    names = parameters(isinstance(family, Detector))
    for name, value in usual.items():
        if value is not None and name not in names:
            raise UsageError(f"{name} means nothing to a {family.kind}", got=repr(value)[:200], hint="leave it out")
    return cast("Any", family).options(**{name: value for name, value in usual.items() if value is not None})


def options_of(query: Iterable[tuple[str, str]], family: Family, usual: dict[str, Any]) -> Any:
    """What the network's family is asked to keep.

    Args:
        query: Names and values, decoded.
        family: The network's.
        usual: What holds where the query says nothing.

    Raises:
        RefusedError: A name is unknown, or a value makes no sense.
    """
    known = parameters(isinstance(family, Detector))
    chosen = {name: value for name, value in usual.items() if value is not None}
    classes: list[str | int] = []
    seen: set[str] = set()
    for name, text in query:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise RefusedError(
                400,
                "unknown-parameter",
                f"there is no parameter {name[:40]!r}",
                expected=", ".join(known),
                hint=f"did you mean {near[0]!r}?" if near else None,
            )
        if name in seen and name != "classes":
            raise RefusedError(400, "repeated-parameter", f"{name} is given twice", hint="leave one out")
        seen.add(name)
        if name == "classes":
            classes.append(_class(text, getattr(family.config, "class_names", ())))
        elif name != "draw":
            chosen[name] = _number(name, text, known[name]["schema"])
    if classes:
        chosen["classes"] = classes
    try:
        return cast("Any", family).options(**chosen)
    except UsageError as error:
        raise RefusedError.of(error, 400) from error


def drawn_as(query: Iterable[tuple[str, str]], accept: str) -> str | None:
    """How the answer shall be drawn: ``PNG``, ``JPEG``, or None for JSON.

    Raises:
        RefusedError: The query wants what there is not.
    """
    wanted = dict(query).get("draw")
    if wanted is None:
        return _KINDS[_preferred(accept, tuple(_KINDS))]
    if wanted.lower() in _NOT_DRAWN:
        return None
    if wanted.lower() not in _DRAWN:
        raise RefusedError(400, "invalid-argument", "draw says how to draw", expected="png, jpeg, 1 or 0")
    return _DRAWN[wanted.lower()]


def _preferred(accept: str, kinds: Sequence[str]) -> str:
    """The kind that an ``Accept`` likes best, and the first of several; the first, too, if it likes none."""
    ranges = []
    for part in accept[:1000].split(",")[:50]:
        name, *options = (word.strip().lower() for word in part.split(";"))
        quality = next((option[2:] for option in options if option.startswith("q=")), "1")
        try:
            ranges.append((name, float(quality)))
        except ValueError:
            continue

    def liking(kind: str) -> float:
        fitting = {name: quality for name, quality in ranges if name in (kind, f"{kind.partition('/')[0]}/*", "*/*")}
        for name in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
            if name in fitting:
                return fitting[name] if fitting[name] == fitting[name] else 0.0
        return 0.0

    return max(kinds, key=liking)


def _class(text: str, names: Sequence[str]) -> str | int:
    # int() takes no more than some thousand digits.
    return int(text) if text not in names and text.isdecimal() and len(text) < 10 else text


def _number(name: str, text: str, schema: dict[str, Any]) -> float | int:
    whole = schema["type"] == "integer"
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = float("nan")
    if not schema["minimum"] <= value <= schema["maximum"]:
        raise RefusedError(
            400,
            "invalid-argument",
            f"{name} makes no sense: {text[:40]!r}",
            expected=f"a {'whole ' if whole else ''}number of {schema['minimum']} to {schema['maximum']}",
        )
    return value
