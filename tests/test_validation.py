"""What `validate` passes, `plan`, `list --loadable`, `doctor` and `load` do not refuse for what the card tells."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import commands
import pytest

import mshub_ssd as mshub
from mshub_ssd.errors import MshubError

UID = "own/1.0/ssd300_coco2017"
CARD = """\
# ssd300

---
model-name: ssd300
backbone-name: mobilenetv2
module-type: cv-object_detection
fine-tunable: True
model-version: "1"
train-dataset: {dataset}
evaluation: mAP25.17
author: Some team
update-time: "2022-06-22"
repo-link: https://gitee.com/mindspore/models/tree/r1.7/official/cv/ssd
user-id: own
used-for: inference
mindspore-version: "1.7"
{more}asset:
- file-format: ckpt
  asset-link: net.ckpt
  asset-sha256: {digest}
license: Apache-2.0
summary: A small detector of everyday things
---

## What it is
"""


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound card with its file beside it, found by its uid."""
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path))
    path = tmp_path / f"{UID}.md"
    path.parent.mkdir(parents=True)
    path.with_name("net.ckpt").write_bytes(b"weights")
    write(path)
    return path


def write(path: Path, *, dataset: str = "coco2017", digest: str = "", more: str = "") -> None:
    right = hashlib.sha256(b"weights").hexdigest()
    path.write_text(CARD.format(dataset=dataset, digest=digest or right, more=more), encoding="utf-8")


def codes(path: Path) -> list[str]:
    return [finding.code for finding in mshub.validate(path, use_config=False).findings]


def test_a_sound_card_is_not_blamed(card: Path) -> None:
    assert codes(card) == []
    assert mshub.list_models("own/*", loadable=True) == [UID]


@pytest.mark.parametrize(
    "more",
    [
        "network: ssd_301\n",
        "network: {name: ssd300, num_clases: 21}\n",
        "network: {name: ssd300, num_classes: 1}\n",
        "network: {name: ssd_mobilenetV2, image_size: big}\n",
        "network: {name: ssd300, num_classes: 21}\nclasses: [cat, dog]\n",
        "classes: [cat, dog]\n",
    ],
)
def test_what_the_network_refuses_is_told(card: Path, more: str) -> None:
    write(card, more=more)
    assert codes(card) == ["MC053"]
    assert mshub.list_models("own/*", loadable=True) == []
    with pytest.raises(MshubError):
        mshub.Hub().plan(UID)


def test_a_wrong_or_missing_file_beside_the_card_is_told(card: Path) -> None:
    write(card, digest=hashlib.sha256(b"other").hexdigest())
    assert codes(card) == ["MC053"]
    card.with_name("net.ckpt").unlink()
    assert codes(card) == ["MC029"]
    assert mshub.list_models("own/*", loadable=True) == []
    listed = json.loads(commands.run("list", "own/*", "--json").stdout)
    assert "is not there" in json.dumps(listed)


def test_labels_of_another_data_set_are_told(card: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(card, dataset="birds")
    assert codes(card) == ["MC054"]
    answer = json.loads(commands.run("doctor", UID, "--json").stdout)
    notes = [one["text"] for one in answer["findings"] if (one["subject"], one["state"]) == ("network", "note")]
    assert notes == ["the classes are named after coco2017, and train-dataset is birds"]
    with caplog.at_level(logging.WARNING), pytest.raises(MshubError):
        mshub.load(UID)  # the file holds no weights
    assert "named after coco2017" in caplog.text
    write(card, dataset="birds", more="network: {name: ssd300, num_classes: 3}\nclasses: [robin, wren]\n")
    assert codes(card) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("cv-object_detection", "cv-classification"),
        ("used-for:", "input-shape: [3, 512, 512]\nused-for:"),
        ("used-for:", "input-shape: [300, 300, 3]\nused-for:"),
    ],
)
def test_a_card_of_another_kind_of_network_is_told(card: Path, before: str, after: str) -> None:
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace("used-for:", "input-shape: [3, 300, 300]\nused-for:"), encoding="utf-8")
    assert codes(card) == []
    card.write_text(text.replace(before, after), encoding="utf-8")
    assert codes(card) == ["MC054"]


def test_nothing_is_said_of_networks_that_are_not_known_here(card: Path) -> None:
    other = card.with_name("stpm_mvtecad.md")
    text = card.read_text(encoding="utf-8").replace("ssd300", "stpm").replace("mobilenetv2", "resnet18")
    other.write_text(text.replace("- file-format: ckpt\n  asset-link: net", "- file-format: air\n  asset-link: net"))
    assert "MC053" not in codes(other)
