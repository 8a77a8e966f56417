"""The JSON Schema of a card's front matter, for editors that complete and check while one types."""

from __future__ import annotations

from typing import Any

from mshub_ssd.cards import ASSET_FIELDS, FIELDS, Field, figure_value_pattern, figures_pattern
from mshub_ssd.schemes import STORES

__all__ = ["front_matter_schema"]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_DATE = (
    r"^[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-9]))$"
)
_PATH = r"(?!/|<|[A-Za-z][A-Za-z0-9+.\-]*:)(?!(?:.*/)?\.\.(?:/|$))[^\\]*[^\\/.]"
_URL = r"https?://[^\s<>/]+[^\s<>]*"
# A bucket, Azure's `container@account` or a machine with its port; nobody's name or password.
_STORE = (
    rf"(?:(?:{'|'.join(STORES)})://[A-Za-z0-9._-]+|(?:az|abfss?|oci)://[A-Za-z0-9$_-]+@[A-Za-z0-9._-]+"
    r"|(?:web)?hdfs://[A-Za-z0-9._-]+:[0-9]+)/[^\s<>]*[^\s<>/]"
)

_TEXT = {"type": "string", "pattern": r"\S"}
_TEXTS = {"type": "array", "minItems": 1, "items": _TEXT}
_KINDS: dict[str, dict[str, Any]] = {
    "text": _TEXT,
    "version": _TEXT,
    "link": {"type": "string", "pattern": rf"^(?:{_URL}|<{_URL}>)$"},
    "switch": {"type": "boolean"},
    "date": {"type": "string", "pattern": _DATE, "format": "date"},
    "shape": {"$ref": "#/$defs/shape"},
    "datasets": {"anyOf": [_TEXT, _TEXTS]},
    "evaluation": {
        "anyOf": [
            {"$ref": "#/$defs/metrics"},
            {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/metrics"}},
            {"title": "None published", "description": "Quoted: YAML stumbles over a bare dash.", "const": "-"},
        ]
    },
    "network": {
        "anyOf": [
            _TEXT,
            {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"title": "Architecture", "description": "Key of the architecture.", **_TEXT}},
            },
        ]
    },
    "classes": _TEXTS,
    "assets": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/asset"}},
    "file_link": {"type": "string", "pattern": rf"^(?:{_URL}|<{_URL}>|{_STORE}|<{_STORE}>|{_PATH})$"},
    "digest": {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"},
    "size": {"type": "integer", "minimum": 1},
}


def front_matter_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of the fields between the two ``---`` lines, as YAML loads them.

    It describes a card without findings about its fields: the required ones are those that rule MC006 asks of every
    card, whoever publishes it, and further keys are allowed. Versions are text, because YAML reads ``1.10`` as the
    number 1.1; a date may stand in the card with or without quotes, and is text in JSON.
    """
    return {
        "$schema": _DRAFT,
        "title": "Front matter of a model card",
        "description": "What stands between the two --- lines of a model card for MindSpore.",
        "type": "object",
        "required": [key for key, field in FIELDS.items() if field.required],
        "properties": {key: _property(field) for key, field in FIELDS.items() if field.attribute},
        "$defs": {
            "asset": {
                "title": "File",
                "description": "One file of the model, and what proves it to be the right one.",
                "type": "object",
                "required": [key for key, field in ASSET_FIELDS.items() if field.required],
                "properties": {key: _property(field) for key, field in ASSET_FIELDS.items()},
            },
            "metrics": _metrics(),
            "shape": {
                "title": "Shape",
                "description": "Whole numbers, or one shape per input.",
                "type": "array",
                "minItems": 1,
                "items": {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/shape"}]},
            },
        },
    }


def _property(field: Field) -> dict[str, Any]:
    found = {"title": field.title, "description": field.description, **_KINDS[field.kind]}
    return {**found, "examples": list(field.examples)} if field.examples else found


def _metrics() -> dict[str, Any]:
    return {
        "title": "Figures",
        "description": "Text such as `mAP: 25.17` or `acc: 0.12 \u00b1 0.01`, or a mapping from metric to value.",
        "anyOf": [
            {"type": "string", "pattern": figures_pattern()},
            {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {
                    "anyOf": [{"type": "number"}, {"type": "string", "pattern": figure_value_pattern()}]
                },
            },
        ],
    }
