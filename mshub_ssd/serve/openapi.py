"""The description of the server's interface, for programs: OpenAPI 3.1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mshub_ssd.serve.limits import Limits
from mshub_ssd.serve.options import parameters
from mshub_ssd.settings import package_version

if TYPE_CHECKING:
    from mshub_ssd.cards import Card

__all__ = ["description"]


def description(card: Card, verb: str, limits: Limits) -> dict[str, Any]:
    """What this server answers.

    Args:
        card: The model's.
        verb: ``detect`` or ``classify``.
        limits: What it takes.
    """
    refusals = {
        "400": "A parameter or the form makes no sense.",
        "408": f"The body did not come within {limits.timeout:g} seconds.",
        "413": f"More than {limits.max_bytes} bytes, or more than {limits.pictures} pictures.",
        "415": "The body is compressed.",
        "422": f"No picture, a damaged one, or one of more than {limits.max_pixels} pixels.",
        "503": "The queue is full, or the server is starting or being stopped; `Retry-After` tells when to try again.",
    }
    many = [
        {"name": name, "in": "query", "required": False, **facts}
        for name, facts in parameters(verb == "detect").items()
    ]
    binary = {"type": "string", "format": "binary"}
    form = {
        "type": "object",
        "properties": {"image": binary, "images": {"type": "array", "items": binary, "maxItems": limits.pictures}},
    }
    row = {"$ref": "#/components/schemas/Row"}
    rows = {"type": "array", "items": {"oneOf": [row, {"$ref": "#/components/schemas/Failure"}]}}
    post = {
        "operationId": verb,
        "summary": "Find objects on pictures." if verb == "detect" else "Say what is on pictures.",
        "description": "A picture as the body itself, or a form: one file `image`, or several `images`, which are "
        "answered with a list. Nothing is fetched: urls are no pictures.",
        "parameters": many,
        "requestBody": {
            "required": True,
            "content": {
                **{f"image/{kind}": {"schema": binary} for kind in ("png", "jpeg", "webp")},
                "application/octet-stream": {"schema": binary},
                "multipart/form-data": {"schema": form},
            },
        },
        "responses": {
            "200": {
                "description": "A row, a list of rows, or a drawn picture, as `Accept` or `draw` says.",
                "content": {
                    "application/json": {"schema": {"oneOf": [row, rows]}},
                    "image/png": {"schema": binary},
                    "image/jpeg": {"schema": binary},
                },
            },
            **{status: _refusal(text) for status, text in refusals.items()},
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{card.title or card.uid}, served by mshub",
            "version": package_version(),
            **({"license": {"name": card.license}} if card.license else {}),
        },
        "paths": {
            f"/v1/{verb}": {"post": post},
            "/v1/model": {"get": _get("The model's card in short, its classes and the server's limits.")},
            "/healthz": {"get": _get("Whether the server runs.")},
            "/readyz": {"get": {**_get("Whether pictures are taken."), "responses": _ready()}},
            "/metrics": {"get": _get("Metrics for Prometheus.", "text/plain")},
        },
        "components": {"schemas": {"Row": _row(verb), "Failure": _FAILURE, "Refusal": _REFUSED}},
    }


_NAMED = {"score": {"type": ["number", "null"]}, "label": {"type": "integer"}, "name": {"type": "string"}}
_SIZE = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2, "description": "height, width"}
_TOLD = {"code": {"type": "string"}, "message": {"type": "string"}}
_FAILURE = {
    "type": "object",
    "properties": {
        "image": {"type": ["string", "null"]},
        "error": {"type": "object", "properties": _TOLD, "required": list(_TOLD)},
    },
    "required": ["image", "error"],
}
_REFUSED = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {**_TOLD, "expected": {"type": "string"}, "hint": {"type": "string"}},
            "required": list(_TOLD),
        }
    },
    "required": ["error"],
}


def _row(verb: str) -> dict[str, Any]:
    box = {
        "type": "array",
        "items": {"type": ["number", "null"]},
        "minItems": 4,
        "maxItems": 4,
        "description": "x1, y1, x2, y2 in pixels of the picture",
    }
    found = {"box": box, **_NAMED} if verb == "detect" else _NAMED
    name = "detections" if verb == "detect" else "classes"
    listed = {
        "type": "array",
        "description": "best first",
        "items": {"type": "object", "properties": found, "required": list(found)},
    }
    named = {"type": ["string", "null"], "description": "the file's name in the form"}
    return {
        "type": "object",
        "properties": {"image": named, "size": _SIZE, name: listed},
        "required": ["image", "size", name],
    }


def _get(text: str, kind: str = "application/json") -> dict[str, Any]:
    return {"summary": text, "responses": {"200": {"description": text, "content": {kind: {}}}}}


def _ready() -> dict[str, Any]:
    return {"200": {"description": "They are."}, "503": _refusal("They are not: it is loading, stopping, or failed.")}


def _refusal(text: str) -> dict[str, Any]:
    return {
        "description": text,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
    }
