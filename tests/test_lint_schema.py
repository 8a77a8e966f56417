"""The JSON Schema of the front matter: valid itself, true to the cards, of one mind with the linter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import mshub_ssd
from mshub_ssd.cards import FIELDS
from mshub_ssd.lint.context import CardContext
from mshub_ssd.lint.rules import all_rules
from mshub_ssd.lint.rules.fields import REQUIRED
from mshub_ssd.lint.schema import front_matter_schema

HUB = Path(mshub_ssd.__file__).parent.parent / "hub_models"
SCHEMA = front_matter_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

GOOD: dict[str, Any] = {
    "model-name": "ssd300",
    "backbone-name": "ssd",
    "module-type": "cv-object_detection",
    "fine-tunable": True,
    "input-shape": [3, 300, 300],
    "model-version": "1.10",
    "train-dataset": "coco2017",
    "evaluation": "mAP: 25.17",
    "author": "somebody",
    "update-time": "2022-06-22",
    "repo-link": "<https://example.org/models/tree/r1.7/ssd>",
    "user-id": "somebody",
    "used-for": "inference",
    "mindspore-version": "1.10",
    "asset": [{"file-format": "ckpt", "asset-link": "https://example.org/a.ckpt", "asset-sha256": "0" * 64}],
    "license": "Apache-2.0",
    "summary": "Finds things",
}


class Loader(yaml.SafeLoader):
    """YAML as usual, but for dates, which JSON does not have."""


Loader.yaml_implicit_resolvers = {
    char: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
    for char, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def faults(fields: dict[str, Any]) -> list[tuple[str, str]]:
    """What the schema objects to: the kind and place of each fault."""
    found = []
    for error in VALIDATOR.iter_errors(fields):
        if error.validator == "required":
            missing = set(error.validator_value) - set(error.instance)
            name = next(name for name in missing if repr(name) in error.message)
            found.append(("required", "/".join(map(str, (*error.absolute_path, name)))))
        else:
            found.append((str(error.validator), "/".join(map(str, error.absolute_path))))
    return sorted(found)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"].endswith("2020-12/schema")
    assert front_matter_schema() is not front_matter_schema()
    assert front_matter_schema() == SCHEMA


def test_every_field_is_told_in_words() -> None:
    properties = SCHEMA["properties"]
    assert set(properties) == {key for key, field in FIELDS.items() if field.attribute}
    assert SCHEMA["required"] == list(REQUIRED)
    for name, schema in {**properties, **SCHEMA["$defs"]["asset"]["properties"]}.items():
        assert schema["title"], name
        assert len(schema["description"]) > 15, name
        for example in schema.get("examples", ()):
            VALIDATOR.evolve(schema={**schema, "$defs": SCHEMA["$defs"]}).validate(example)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"evaluation": "top1acc64.82 | top5acc85.66"},
        {"evaluation": "mAP 0.241"},
        {"evaluation": "acc: 97.5 %"},
        {"evaluation": "精度: 0.9"},
        {"evaluation": {"mAP@0.5": 0.9963, "recall": "81%"}},
        {"evaluation": ["mAP: 1", {"recall": 2}]},
        {"evaluation": "-"},
        {"evaluation": "acc: 0.12 \u00b1 0.01 % | mAP@0.5:0.95: 37.6 | avgReward-9.11 | acc1.72e-05"},
        {"evaluation": {"acc": "0.12 +/- 0.01", "mAP": "24.08 %"}},
        {"train-dataset": ["coco2017", "own"]},
        {"input-shape": [[3, 300, 300], [1]]},
        {"network": "ssd300"},
        {"network": {"name": "ssd300", "num_classes": 21}},
        {"classes": ["cat", "dog"]},
        {"repo-link": "https://example.org/x"},
        {"update-time": "2024-02-29"},
        {"asset": [{"asset-link": "weights/small.ckpt", "asset-sha256": "AB" * 32, "more": 1}]},
        {"own-key": {"may": ["be", "anything"]}},
    ],
)
def test_right_values_pass(changes: dict[str, Any]) -> None:
    VALIDATOR.validate({**GOOD, **changes})


def asset(**changes: str) -> dict[str, Any]:
    return {"asset": [{**GOOD["asset"][0], **changes}]}


@pytest.mark.parametrize(
    ("changes", "kind", "place"),
    [
        (asset(**{"asset-sha256": "d231a06e"}), "pattern", "asset/0/asset-sha256"),
        (asset(**{"asset-sha256": "g" * 64}), "pattern", "asset/0/asset-sha256"),
        (asset(**{"asset-sha256": "0" * 65}), "pattern", "asset/0/asset-sha256"),
        (asset(**{"asset-link": "/etc/passwd"}), "pattern", "asset/0/asset-link"),
        (asset(**{"asset-link": "a/../../b.ckpt"}), "pattern", "asset/0/asset-link"),
        (asset(**{"asset-link": "ftp://example.org/a.ckpt"}), "pattern", "asset/0/asset-link"),
        (asset(**{"asset-link": "https:///a.ckpt"}), "pattern", "asset/0/asset-link"),
        ({"asset": GOOD["asset"][0]}, "type", "asset"),
        ({"asset": []}, "minItems", "asset"),
        ({"asset": [{"asset-link": "a.ckpt"}]}, "required", "asset/0/asset-sha256"),
        ({"model-version": 1.1}, "type", "model-version"),
        ({"mindspore-version": 2}, "type", "mindspore-version"),
        ({"model-name": None}, "type", "model-name"),
        ({"model-name": " "}, "pattern", "model-name"),
        ({"update-time": "2022-2-17"}, "pattern", "update-time"),
        ({"update-time": "2022-02-30"}, "pattern", "update-time"),
        ({"update-time": "2022-13-01"}, "pattern", "update-time"),
        ({"update-time": "22.06.2022"}, "pattern", "update-time"),
        ({"fine-tunable": "perhaps"}, "type", "fine-tunable"),
        ({"input-shape": "3 x 300 x 300"}, "type", "input-shape"),
        ({"input-shape": [3, "300"]}, "anyOf", "input-shape/1"),
        ({"evaluation": False}, "anyOf", "evaluation"),
        ({"evaluation": "good"}, "anyOf", "evaluation"),
        ({"evaluation": "25.17"}, "anyOf", "evaluation"),
        ({"evaluation": {"mAP": "good"}}, "anyOf", "evaluation"),
        ({"evaluation": {"mAP": "24,08"}}, "anyOf", "evaluation"),
        ({"evaluation": {"mAP": 24, "08": None}}, "anyOf", "evaluation"),
        ({"evaluation": "mAP: 24,08"}, "anyOf", "evaluation"),
        ({"evaluation": "mAP 70-75"}, "anyOf", "evaluation"),
        ({"evaluation": "acc76.1, top5acc93.0"}, "anyOf", "evaluation"),
        ({"evaluation": "mAP: 24.08 | "}, "anyOf", "evaluation"),
        ({"train-dataset": []}, "anyOf", "train-dataset"),
        ({"repo-link": "gitee.com/models"}, "pattern", "repo-link"),
        ({"repo-link": "<https://example.org"}, "pattern", "repo-link"),
        ({"network": {"num_classes": 21}}, "anyOf", "network"),
        ({"classes": ["cat", 0]}, "type", "classes/1"),
    ],
)
def test_wrong_values_do_not(changes: dict[str, Any], kind: str, place: str) -> None:
    assert faults({**GOOD, **changes}) == [(kind, place)]


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_field_is_named(name: str) -> None:
    assert faults({key: value for key, value in GOOD.items() if key != name}) == [("required", name)]


@pytest.mark.parametrize("file", sorted(HUB.rglob("*.md")), ids=lambda file: file.relative_to(HUB).as_posix())
def test_schema_and_rules_object_to_the_same_in_the_bundled_cards(file: Path) -> None:
    data = file.read_bytes()
    context = CardContext(data, path=str(file), uid=file.relative_to(HUB).as_posix().removesuffix(".md"))
    assert context.source.front
    fields = yaml.load(context.text[slice(*context.source.front)], Loader)
    rules = all_rules()
    missing = {
        ("required", name)
        for violation in rules["MC006"].check(context)
        for name in REQUIRED
        if f"the field {name} " in violation.message
    }
    digests = {
        ("pattern", f"asset/{one.index}/asset-sha256")
        for violation in rules["MC013"].check(context)
        for one in context.assets
        if (node := one.scalar("asset-sha256")) and node.start == violation.start
    }
    assert set(faults(fields)) == missing | digests
    # The rest of the bundled cards has no fault at all.
    strange = {"mshub", "noah-cvlab", "openmmlab"}
    assert not missing | digests or file.relative_to(HUB).parts[0] in strange


def test_loaders_that_make_all_values_text_differ_in_types_only() -> None:
    text = (HUB / "mindspore/1.9/ssd300_coco2017.md").read_text(encoding="utf-8").split("\n---\n")[1]
    fields = yaml.load(text, yaml.BaseLoader)
    assert {place.split("/")[0] for _, place in faults(fields)} == {"fine-tunable", "input-shape"}
