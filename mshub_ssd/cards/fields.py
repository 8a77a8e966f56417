"""The fields of a card, in one table: reading, checking, the JSON Schema and ``docs/cards.md`` follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["ASSET_FIELDS", "FIELDS", "FORMS", "Field"]

FORMS = {
    "text": "a text",
    "version": "a version such as 1.10",
    "link": "a link",
    "switch": "True or False",
    "date": "a date such as 2022-06-22",
    "shape": "a list of numbers such as [3, 300, 300]",
    "datasets": "names of data sets",
    "evaluation": "metrics such as `top1acc64.82 | top5acc85.66`",
    "network": "a network's name, or a mapping {name: ..., arguments ...}",
    "classes": "a list of class names",
    "assets": "a list of assets, each with asset-link and asset-sha256",
    "asset": "the keys file-format, asset-link and asset-sha256",
    "file_link": "an http(s) or s3 url (or another object store's), or the path of a file in the card's folder",
    "digest": "64 hex digits",
    "size": "a number of bytes",
}
"""Kinds of values, and how people are told to write them."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    Attributes:
        key: Its name in a card.
        attribute: Of `Card` or `Asset`; empty for fields that only other programs read.
        kind: A key of `FORMS`.
        title: Its name for people.
        description: What it means.
        examples: Values as YAML loads them.
        required: Whether every card needs it.
        official: Whether cards of the official hub's publishers need it too.
        chinese: What cards written in Chinese call it.
        rule: The linter's rule that tells what is wrong with its value, where there is one for it alone.
    """

    key: str
    attribute: str
    kind: str
    title: str
    description: str
    examples: tuple[Any, ...] = ()
    required: bool = False
    official: bool = False
    chinese: str = ""
    rule: str = ""


_ALL = (
    Field(
        "model-name",
        "model_name",
        "text",
        "Model name",
        "What the model is called, by the code that builds it.",
        ("ssd_mobilenetV2",),
        required=True,
        chinese="\u6a21\u578b\u540d\u79f0",
    ),
    Field(
        "backbone-name",
        "backbone_name",
        "text",
        "Backbone",
        "The network that reads the picture; the model's own name where it has no such part.",
        ("mobilenetV2", "resnet50"),
        official=True,
        chinese="\u9aa8\u5e72\u7f51\u7edc",
    ),
    Field(
        "module-type",
        "module_type",
        "text",
        "Kind of model",
        "The field and the task, with a dash between them.",
        ("cv-object_detection", "cv-classification"),
        required=True,
        chinese="\u6a21\u5757\u7c7b\u578b",
    ),
    Field(
        "fine-tunable",
        "fine_tunable",
        "switch",
        "Fine-tunable",
        "Whether training can go on from these weights.",
        (True,),
        official=True,
        chinese="\u53ef\u5fae\u8c03",
    ),
    Field(
        "input-shape",
        "input_shape",
        "shape",
        "Input shape",
        "Size of one input without the batch: channels, height, width. Several inputs: a list of such lists.",
        ([3, 300, 300],),
        chinese="\u8f93\u5165\u5f62\u72b6",
    ),
    Field(
        "model-version",
        "model_version",
        "version",
        "Version of the model",
        "The model's own version. Quote it: YAML takes 1.10 for the number 1.1.",
        ("1.0",),
        official=True,
        chinese="\u6a21\u578b\u7248\u672c",
    ),
    Field(
        "train-dataset",
        "datasets",
        "datasets",
        "Training data",
        "The data set the model was trained on, or a list of several.",
        ("coco2017", "imagenet2012"),
        chinese="\u8bad\u7ec3\u6570\u636e\u96c6",
    ),
    Field(
        "evaluation",
        "metrics",
        "evaluation",
        "Evaluation",
        "Published figures. As text, every metric with its value, and | between two; or as a mapping from metric to "
        "value; or as a list of these. Decimals have a point; a spread may follow behind \u00b1 or +/-.",
        ("mAP: 25.17", "top1acc: 64.82 | top5acc: 85.66", {"mAP@0.5": 0.9963, "acc": "0.12 +/- 0.01"}),
        rule="MC011",
    ),
    Field(
        "author",
        "author",
        "text",
        "Author",
        "Who trained the model.",
        ("MindSpore team",),
        official=True,
        chinese="\u4f5c\u8005",
    ),
    Field(
        "update-time",
        "update_time",
        "date",
        "Date of the last change",
        "Year, month and day, all digits written.",
        ("2022-06-22",),
        official=True,
        chinese="\u66f4\u65b0\u65f6\u95f4",
        rule="MC009",
    ),
    Field(
        "repo-link",
        "repo_link",
        "link",
        "Source code",
        "Where the code that builds and trains the model can be read; best at a tag or commit, which does not move.",
        ("https://gitee.com/mindspore/models/tree/r1.7/official/cv/ssd",),
        official=True,
        chinese="\u4ee3\u7801\u4ed3\u94fe\u63a5",
    ),
    Field(
        "user-id",
        "user_id",
        "text",
        "Publisher",
        "The account that publishes the card: the uid begins with it.",
        ("MindSpore",),
        official=True,
        chinese="\u7528\u6237ID",
    ),
    Field(
        "used-for",
        "used_for",
        "text",
        "Purpose",
        "What the weights are meant for.",
        ("inference",),
        official=True,
        chinese="\u7528\u9014",
    ),
    Field(
        "mindspore-version",
        "mindspore_version",
        "version",
        "Version of MindSpore",
        "The MindSpore release the model was made with. Quote it, as every version.",
        ("1.10",),
        official=True,
        chinese="MindSpore\u7248\u672c",
    ),
    Field(
        "network",
        "network",
        "network",
        "Network",
        "The architecture, by its key; with arguments of its constructor as a mapping with `name`. Needed where the "
        "other names fit more than one network.",
        ("ssd_vgg16", {"name": "ssd_mobilenetV2", "num_classes": 21}),
    ),
    Field(
        "classes",
        "classes",
        "classes",
        "Class names",
        "Names of the classes in the network's order, without a background, where they are not the data set's own. "
        "Quote those that look like numbers or switches.",
        (["cat", "dog"],),
    ),
    Field(
        "asset",
        "assets",
        "assets",
        "Files",
        "The model's files; the first that can be loaded is.",
        chinese="\u8d44\u6e90",
    ),
    Field(
        "license",
        "license",
        "text",
        "Licence",
        "SPDX identifier of the licence of the weights.",
        ("Apache-2.0",),
        required=True,
        chinese="\u8bb8\u53ef\u8bc1",
    ),
    Field(
        "summary",
        "summary",
        "text",
        "Summary",
        "One sentence that helps to choose: what it does, on what, how large it is.",
        ("Finds 80 kinds of everyday things on pictures of 320 x 320 pixels",),
        required=True,
        chinese="\u6458\u8981",
    ),
    Field("accuracy", "", "text", "Accuracy", "A figure, better in `evaluation`.", chinese="\u51c6\u786e\u7387"),
    Field("train-backend", "", "text", "Trained on", "Hardware of the training.", chinese="\u8bad\u7ec3\u540e\u7aef"),
    Field("infer-backend", "", "text", "Runs on", "Hardware it is meant for.", chinese="\u63a8\u7406\u540e\u7aef"),
    Field(
        "allow-cache-ckpt",
        "",
        "switch",
        "May be cached",
        "Whether the official hub may keep a copy of the checkpoint.",
        (True,),
    ),
    Field(
        "featured-image", "", "text", "Picture", "File name of the picture that the official hub shows.", ("no-image",)
    ),
    Field("mindspore-lite", "", "text", "MindSpore Lite", "Whether MindSpore Lite runs it.", chinese="MindSpore Lite"),
)
FIELDS = {field.key: field for field in _ALL}
"""What cards may hold, in the order of a good card. Further keys are allowed, and may be mistakes."""

ASSET_FIELDS = {
    field.key: field
    for field in (
        Field(
            "file-format",
            "file_format",
            "text",
            "Format",
            "How the file is written; by default, as its ending says.",
            ("ckpt", "safetensors", "pth"),
            chinese="\u6587\u4ef6\u683c\u5f0f",
        ),
        Field(
            "asset-link",
            "url",
            "file_link",
            "Link",
            "Where the file lies: an http(s) or s3 address, or a path in the card's own folder.",
            ("https://example.org/ssdmobilenetv2_coco2017.ckpt",),
            required=True,
            chinese="\u8d44\u6e90\u94fe\u63a5",
        ),
        Field(
            "asset-sha256",
            "sha256",
            "digest",
            "SHA-256",
            "The digest of the file, as `sha256sum FILE` prints it.",
            ("8fee56a7787ab8b3507988843b02b1feb86d01bc514576c188f9e396ceab0c15",),
            required=True,
            chinese="\u8d44\u6e90SHA256\u6821\u9a8c\u7801",
        ),
        Field(
            "asset-size",
            "size",
            "size",
            "Size",
            "The number of bytes: a longer download ends there, and links are checked for it.",
            (15_872_210,),
        ),
    )
}
"""What an item of `asset` may hold."""
