"""Rows: what is on a picture as every program gets it, and `Failure`, which stands where a picture is broken."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mshub_ssd.errors import MshubError
from mshub_ssd.redaction import scrub
from mshub_ssd.results.results import Classification, Detections

__all__ = ["Failure", "json_line", "row_of"]

_ENCODER = json.JSONEncoder(allow_nan=False)


@dataclass(frozen=True)
class Failure:
    """Why there is no result for a picture of a stream.

    Attributes:
        image: The picture's name; None for one without a name, e.g. an array.
        error: What is wrong with it.
    """

    image: str | None
    error: MshubError

    def to_dict(self) -> dict[str, Any]:
        """Its row, see `row_of`."""
        return row_of(self, self.image)


def row_of(result: Any, image: str | None, **more: Any) -> dict[str, Any]:
    """What is on a picture, ready for JSON.

    Args:
        result: `Detections`, a `Classification`, a `Failure`, or a result of another package that has ``to_dict``.
        image: The picture's name, or None. Users and passwords in urls are left out.
        more: What else tells which picture it is, e.g. ``frame`` and ``time`` of a video; comes after the name.

    Returns:
        ``{"image", "size": [h, w], "detections": [{"box": [x1, y1, x2, y2], "score", "label", "name"}]}``; of a
        classifier ``"classes": [{"score", "label", "name"}]`` in their place; of a failure
        ``{"image", "error": {"code", "message"}}``. Best first; numbers that are not finite are None.
    """
    row: dict[str, Any] = {"image": None if image is None else scrub(image), **more}
    if isinstance(result, Failure):
        return {**row, "error": {"code": result.error.code, "message": result.error.message}}
    if isinstance(result, Detections):
        columns = (result.boxes, result.scores, result.labels)
        found = [
            {"box": box, "score": score, "label": label, "name": name}
            for box, score, label, name in zip(*(column.tolist() for column in columns), result.names, strict=True)
        ]
        if not (np.isfinite(result.boxes).all() and np.isfinite(result.scores).all()):
            found = _finite(found)
        return {**row, "size": list(result.image_size), "detections": found}
    if isinstance(result, Classification):
        size = None if result.image_size is None else list(result.image_size)
        classes = [{"score": _finite(one.score), "label": one.label, "name": one.name} for one in result]
        return {**row, "size": size, "classes": classes}
    facts = dict(result.to_dict())
    seen = facts.pop("image", None) or {}
    return {**row, "size": [seen.get("height"), seen.get("width")], **_finite(facts)}


def json_line(row: dict[str, Any]) -> bytes:
    """A row as one line of JSON in ASCII, with its end."""
    # DEL is the one control character that JSON leaves alone.
    return _ENCODER.encode(row).replace("\x7f", "\\u007f").encode("ascii") + b"\n"


def _finite(value: Any) -> Any:
    """A value whose numbers JSON knows."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
