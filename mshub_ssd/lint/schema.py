"""The JSON Schema of a card's front matter, for editors that complete and check while one types."""

from __future__ import annotations

from typing import Any

from mshub_ssd.formats import FORMATS
from mshub_ssd.lint.rules.fields import REQUIRED

__all__ = ["front_matter_schema"]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_DATE = (
    r"^[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-9]))$"
)
_PATH = r"(?!/|<|[A-Za-z][A-Za-z0-9+.\-]*:)(?!(?:.*/)?\.\.(?:/|$))[^\\]*[^\\/.]"
_LOADABLE = [one.key for one in FORMATS.values() if one.reader]
_URL = r"https?://[^\s<>/]+[^\s<>]*"


def front_matter_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of the fields between the two ``---`` lines, as YAML loads them.

    It describes a card without findings about its fields: the required ones are those of rule MC006, and further keys
    are allowed. Versions are text, because YAML reads ``1.10`` as the number 1.1; a date may stand in the card with
    or without quotes, and is text in JSON.
    """
    return {
        "$schema": _DRAFT,
        "title": "Front matter of a model card",
        "description": "What stands between the two --- lines of a model card for MindSpore.",
        "type": "object",
        "required": list(REQUIRED),
        "properties": {name: {"title": title, **rest} for name, title, rest in _fields()},
        "$defs": {
            "asset": _asset(),
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


def _fields() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (
            "model-name",
            "Model name",
            _text("What the model is called, by the code that builds it.", "ssd_mobilenetV2"),
        ),
        (
            "backbone-name",
            "Backbone",
            _text("The network that reads the picture; the model's own name where it has no such part.", "resnet50"),
        ),
        (
            "module-type",
            "Kind of model",
            _text("The field and the task, with a dash between them.", "cv-object_detection", "cv-classification"),
        ),
        (
            "fine-tunable",
            "Fine-tunable",
            {"description": "Whether training can go on from these weights.", "type": "boolean"},
        ),
        (
            "input-shape",
            "Input shape",
            {
                "description": "Size of one input without the batch: channels, height, width. Several inputs: a list "
                "of such lists.",
                "$ref": "#/$defs/shape",
                "examples": [[3, 300, 300]],
            },
        ),
        (
            "model-version",
            "Version of the model",
            _text("The model's own version. Quote it: YAML takes 1.10 for the number 1.1.", "1.0"),
        ),
        (
            "mindspore-version",
            "Version of MindSpore",
            _text("The MindSpore release the model was made with. Quote it, as every version.", "1.10"),
        ),
        (
            "train-dataset",
            "Training data",
            {
                "description": "The data set the model was trained on, or a list of several.",
                "anyOf": [
                    {"type": "string", "pattern": r"\S"},
                    {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": r"\S"}},
                ],
                "examples": ["coco2017", "imagenet2012"],
            },
        ),
        (
            "evaluation",
            "Evaluation",
            {
                "description": "Published figures. As text, every metric with its value, and | between two; or as a "
                "mapping from metric to value; or as a list of these.",
                "anyOf": [
                    {"$ref": "#/$defs/metrics"},
                    {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/metrics"}},
                    {"title": "None published", "description": "Quoted: YAML stumbles over a bare dash.", "const": "-"},
                ],
                "examples": ["mAP: 25.17", "top1acc: 64.82 | top5acc: 85.66", {"mAP@0.5": 0.9963}],
            },
        ),
        ("author", "Author", _text("Who trained the model.", "MindSpore team")),
        (
            "update-time",
            "Date of the last change",
            {
                **_text("Year, month and day, all digits written.", "2022-06-22"),
                "pattern": _DATE,
                "format": "date",
            },
        ),
        (
            "repo-link",
            "Source code",
            {
                "description": "Where the code that builds and trains the model can be read; best at a tag or commit, "
                "which does not move.",
                "type": "string",
                "pattern": rf"^(?:{_URL}|<{_URL}>)$",
            },
        ),
        ("user-id", "Publisher", _text("The account that publishes the card: the uid begins with it.", "MindSpore")),
        ("used-for", "Purpose", _text("What the weights are meant for.", "inference")),
        (
            "network",
            "Network",
            {
                "description": "The architecture, by its key; with arguments of its constructor as a mapping with "
                "`name`. Needed where the other names fit more than one network.",
                "anyOf": [
                    {"type": "string", "pattern": r"\S"},
                    {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {
                                "title": "Architecture",
                                "description": "Key of the architecture.",
                                "type": "string",
                                "pattern": r"\S",
                            }
                        },
                    },
                ],
                "examples": ["ssd_vgg16", {"name": "ssd_mobilenetV2", "num_classes": 21}],
            },
        ),
        (
            "classes",
            "Class names",
            {
                "description": "Names of the classes in the network's order, without a background, where they are "
                "not the data set's own. Quote those that look like numbers or switches.",
                "type": "array",
                "minItems": 1,
                "items": {"type": "string", "pattern": r"\S"},
                "examples": [["cat", "dog"]],
            },
        ),
        (
            "asset",
            "Files",
            {
                "description": "The model's files; the first that can be loaded is.",
                "type": "array",
                "minItems": 1,
                "items": {"$ref": "#/$defs/asset"},
            },
        ),
        ("license", "Licence", _text("SPDX identifier of the licence of the weights.", "Apache-2.0")),
        ("summary", "Summary", _text("One sentence that helps to choose: what it does, on what, how large it is.")),
    ]


def _text(description: str, *examples: str) -> dict[str, Any]:
    text: dict[str, Any] = {"description": description, "type": "string", "pattern": r"\S"}
    return {**text, "examples": list(examples)} if examples else text


def _asset() -> dict[str, Any]:
    return {
        "title": "File",
        "description": "One file of the model, and what proves it to be the right one.",
        "type": "object",
        "required": ["asset-link", "asset-sha256"],
        "properties": {
            "file-format": {
                "title": "Format",
                **_text(
                    "How the file is written; by default, as its ending says.",
                    *_LOADABLE,
                ),
            },
            "asset-link": {
                "title": "Link",
                "description": "Where the file lies: an http(s) address, or a path in the card's own folder.",
                "type": "string",
                "pattern": rf"^(?:{_URL}|<{_URL}>|{_PATH})$",
            },
            "asset-sha256": {
                "title": "SHA-256",
                "description": "The digest of the file, as `sha256sum FILE` prints it.",
                "type": "string",
                "pattern": "^[0-9a-fA-F]{64}$",
            },
            "asset-size": {
                "title": "Size",
                "description": "The number of bytes; checks of links compare it with what the server says.",
                "type": "integer",
                "minimum": 1,
            },
        },
    }


def _metrics() -> dict[str, Any]:
    one = rf"[^|]*[^|\s0-9.:=%+\-][^|]*?{_NUMBER}[ \t]*%?[ \t]*"
    return {
        "title": "Figures",
        "description": "Text such as `mAP: 25.17`, or a mapping from metric to value.",
        "anyOf": [
            {"type": "string", "pattern": rf"^{one}(?:\|{one})*$"},
            {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {
                    "anyOf": [{"type": "number"}, {"type": "string", "pattern": rf"^[ \t]*{_NUMBER}[ \t]*%?[ \t]*$"}]
                },
            },
        ],
    }
