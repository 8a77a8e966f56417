"""What the default profile leaves alone, and what it must not let pass: whole cards, from the door."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

import mshub_ssd
from mshub_ssd.lint.config import load_config
from mshub_ssd.lint.engine import FixMode, lint
from mshub_ssd.lint.report import Report

BASE = (Path(__file__).parent / "lint/base.md").read_text(encoding="utf-8")
HUB = Path(mshub_ssd.__file__).parent.parent / "hub_models"
UID = "mindspore/1.7/ssd300_coco2017"
DIGEST = "662b72854cb4cb85cfbe03b801ac3640b4fb71db1211b4133a31b5a4b490af78"
MINIMAL = """\
# YOLOv8 for fish

---
model-name: yolov8
module-type: cv-object_detection
train-dataset: fish
asset:
- file-format: safetensors
  asset-link: https://example.org/model.safetensors
  asset-sha256: 662b72854cb4cb85cfbe03b801ac3640b4fb71db1211b4133a31b5a4b490af78
license: agpl-3.0
summary: Finds fish on pictures taken under water
---

Made by hand.
"""


def changed(text: str = BASE, **fields: str | None) -> str:
    """A card with other values of some fields; None takes the field out."""
    for name, value in fields.items():
        key = name.replace("_", "-")
        line = "" if value is None else rf"\g<1>{key}: {value}\n"
        text, count = re.subn(rf"^( *(?:- )?){key}:.*\n", line, text, count=1, flags=re.MULTILINE)
        if not count:
            text = text.replace("license:", f"{key}: {value}\nlicense:", 1)
    return text


def run(
    folder: Path,
    cards: dict[str, str],
    *,
    fix: FixMode = "none",
    profile: str | None = None,
    select: Sequence[str] = (),
) -> Report:
    for uid, text in cards.items():
        file = folder / f"{uid}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    config = load_config(profile=profile, select=select or None, use_file=False)
    return lint([folder], config, fix=fix)


def codes(report: Report) -> list[str]:
    return [finding.code for finding in report.findings]


# --- sound cards


@pytest.mark.parametrize("uid", ["somebody/1.0/yolov8_fish", "fish"])
def test_a_card_of_ones_own_needs_little(uid: str, tmp_path: Path) -> None:
    report = run(tmp_path, {uid: MINIMAL})
    assert codes(report) == [], str(report)


def test_a_card_of_an_official_publisher_needs_what_their_validator_asks_for(tmp_path: Path) -> None:
    report = run(tmp_path, {UID: MINIMAL}, select=["MC006"])
    missing = {finding.message.split()[2] for finding in report.findings}
    assert missing == {
        "backbone-name",
        "fine-tunable",
        "model-version",
        "author",
        "update-time",
        "repo-link",
        "user-id",
        "used-for",
        "mindspore-version",
    }
    without = changed(MINIMAL, model_name=None, summary=None)
    assert codes(run(tmp_path / "own", {"somebody/1.0/x": without})) == ["MC006", "MC006"]


@pytest.mark.parametrize(
    "fields",
    [
        {"license": "Apache2.0"},
        {"repo_link": "<https://gitee.com/mindspore/models/tree/master/official/cv/ssd>"},
        {"model_version": '"1.7"', "user_id": "MindSpore Team"},
        {"summary": "ssd300 is used for cv"},
        {"train_dataset": "ImageNet2012"},
        {"train_dataset": "none"},
        {"model_name": "SSD 300"},
        {"update_time": "2022-06-22"},
        {"allow_cache_ckpt": "True", "featured_image": "no-image"},
        {"evaluation": None, "train_dataset": None},
        {"summary": "\u201cgood\u201d \u2013 caf\u00e9"},
    ],
)
def test_house_style_is_nothing_by_default(fields: dict[str, str | None], tmp_path: Path) -> None:
    report = run(tmp_path, {UID: changed(**fields)})
    assert codes(report) == [], str(report)


def test_the_bundled_cards_need_few_comments() -> None:
    comments = [line for file in HUB.rglob("*.md") for line in file.read_text().splitlines() if "mshub: ignore" in line]
    assert len(comments) <= 20
    report = mshub_ssd.validate(HUB, use_config=False)
    assert (report.findings, report.suppressed) == ((), len(comments))


# --- digests that belong to no model


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "digest",
    [
        "0" * 64,
        '"' + "0" * 64 + '"',
        "f" * 64,
        "ab" * 32,
        "0011" * 16,
        "0123456789abcdef" * 4,
        "deadbeef" * 8,
        '"' + "1234567890" * 6 + '1234"',
        sha256(""),
        sha256("\n"),
        sha256("test"),
        sha256("hello"),
        sha256("hello\n").upper(),
        "00000000",
        "12345678",
        "deadbeef",
        "e3b0c442",
        "9f86d081",
    ],
)
def test_a_placeholder_is_no_digest_and_no_fix_makes_it_one(digest: str, tmp_path: Path) -> None:
    for mode in ("none", "safe", "unsafe"):
        report = run(tmp_path, {UID: changed(asset_sha256=digest)}, fix=mode)  # type: ignore[arg-type]
        assert codes(report) == ["MC013"], str(report)
        assert "placeholder" in report.findings[0].message or "that of" in report.findings[0].message
        assert (report.findings[0].fix, report.fixed) == (None, 0)


def test_digests_of_files_are_left_alone(tmp_path: Path) -> None:
    cards = {f"mindspore/1.7/m{at}_coco2017": changed(asset_sha256=f'"{sha256(f"file {at}")}"') for at in range(300)}
    report = run(tmp_path, cards, select=["MC013"])
    assert (report.checked, codes(report)) == (300, [])
    # Of numbers the one that YAML would take for such is still put in quotes.
    digits = "7182818284590452353602874713526624977572470936999595749669676277"
    assert run(tmp_path / "more", {UID: changed(asset_sha256=digits)}, fix="safe").fixed == 1


# --- fixes that would harm


def test_no_fix_overwrites_a_title_that_is_right(tmp_path: Path) -> None:
    text = changed(model_name="ssd300").replace("# ssd300", "# ssd_resnet50_fpn", 1)
    uid = "mindspore/1.7/ssdresnet50fpn_coco2017"
    run(tmp_path, {uid: text}, fix="unsafe", select=["MC02"])
    assert (tmp_path / f"{uid}.md").read_text().startswith("# ssd_resnet50_fpn\n")


def test_the_official_word_for_lite_files_stays(tmp_path: Path) -> None:
    text = changed(file_format="mslite", asset_link="https://example.org/models/r1.7/ssd300_coco2017_mAP25.17.ms")
    report = run(tmp_path, {UID: text}, fix="unsafe", select=["MC015", "MC055"])
    assert (codes(report), report.fixed) == ([], 0)


def test_a_card_that_is_no_utf_8_is_never_rewritten(tmp_path: Path) -> None:
    file = tmp_path / f"{UID}.md"
    file.parent.mkdir(parents=True)
    data = changed(license="Apache2.0").encode().replace(b"MindSpore team", b"J\xfcrgen")
    file.write_bytes(data)
    config = load_config(select=["MC024", "MC026"], use_file=False)
    report = lint([tmp_path], config, fix="unsafe")
    assert codes(report) == ["MC026", "MC024"]
    assert [finding.fix for finding in report.findings] == [None, None]
    assert (report.fixed, file.read_bytes()) == (0, data)


# --- what is told once, and where


@pytest.mark.parametrize("value", ["", "~", '""', "<>"])
def test_an_empty_link_is_told_once(value: str, tmp_path: Path) -> None:
    report = run(tmp_path, {UID: changed(repo_link=value)}, profile="strict", select=["MC006", "MC016", "MC061"])
    assert codes(report) == ["MC006"], str(report)


def test_nothing_is_said_to_be_there_that_is_not(tmp_path: Path) -> None:
    links = "vit-repo-link: https://example.org/a\nswin-repo-link: https://example.org/b\nuser-id:"
    text = changed(repo_link=None).replace("user-id:", links)
    report = run(tmp_path, {UID: text}, select=["MC007"])
    assert [finding.fix for finding in report.findings] == [None, None]
    assert not any("is there" in (finding.help or "") for finding in report.findings)
    report = run(tmp_path, {UID: text.replace("vit-repo-link", "repo-link")}, select=["MC007"])
    assert [finding.help for finding in report.findings] == ["delete it: repo-link is there"]


def test_a_placeholder_is_told_once(tmp_path: Path) -> None:
    fields = dict.fromkeys(("module_type", "used_for", "train_dataset", "accuracy", "summary"), "TODO")
    assert codes(run(tmp_path, {UID: changed(**fields)})) == ["MC057"] * 5


def test_one_digest_under_two_names_of_a_family_is_milder(tmp_path: Path) -> None:
    for other, severity in (("ssd300w48", "warning"), ("resnet152", "error")):
        text = BASE.replace("ssd300", other)
        report = run(tmp_path / other, {UID: BASE, f"mindspore/1.7/{other}_coco2017": text}, select=["MC014"])
        assert [finding.severity for finding in report.findings] == [severity] * 2


# --- cards that name another model


def test_the_file_of_a_neighbour_is_told_and_one_of_ones_own_is_not(tmp_path: Path) -> None:
    neighbour = BASE.replace("ssd300", "ssd300vgg").replace(DIGEST, sha256("neighbour"))
    cards = {UID: BASE, "mindspore/1.7/ssd300vgg_coco2017": neighbour}
    assert codes(run(tmp_path, cards)) == []
    wrong = changed(asset_link="https://example.org/models/r1.7/ssd300vgg_ascend_coco2017_mAP25.17.ckpt")
    report = run(tmp_path, {**cards, UID: wrong}, select=["MC056"])
    assert [(finding.uid, finding.line) for finding in report.findings] == [(UID, 20)]
    # A card alone knows no neighbours.
    assert codes(run(tmp_path / "alone", {UID: wrong}, select=["MC056"])) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("The code: research/cv/resnet50.", True),
        ("See [it](https://gitee.com/mindspore/models/tree/r1.7/official/nlp/bert/README.md).", True),
        ("The code: official/cv/ssd.", False),
        ("The code: official/cv/SSD/train.py; compare research/cv/resnet50.", False),
        ("The code: research/cv/ssd_ghostnet.", False),
        ("The research/cv community, official/site/news.", False),
        ("myresearch/cv/resnet50", False),
    ],
)
def test_the_folder_of_another_model_in_the_text(words: str, told: bool, tmp_path: Path) -> None:
    report = run(tmp_path, {UID: f"{BASE}\n{words}\n"}, select=["MC056"])
    assert codes(report) == ["MC056"] * told


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("train-dataset: coco2017 (half)", None),
        ("train-dataset: coco2017\u3001own", None),
        ("train-dataset: COCO2017+", None),
        ("train-dataset: COCO-2017", "train-dataset: coco2017"),
        ('train-dataset: "COCO\\x2d2017 | my own"', None),
        ("license: Apache 2.0, not for sale", None),
        ("license: Apache-2.0?", None),
        ("license: '!Apache-2.0'", None),
        ("license: Apache License, Version 2.0", "license: Apache-2.0"),
        ("update-time: 2022-06-22 a\\tb", "update-time: '2022-06-22 a\\tb'"),
    ],
)
def test_a_safe_fix_makes_no_true_statement_false(tmp_path: Path, before: str, after: str | None) -> None:
    key = before.partition(":")[0]
    text = re.sub(rf"^{key}: .*$", lambda _: before, BASE, flags=re.MULTILINE)
    path = tmp_path / "own" / "1.0" / "net_coco2017.md"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    report = lint([path], load_config(select=["MC022", "MC024", "MC040", "MC055", "MC062"], use_file=False), fix="safe")
    assert path.read_text(encoding="utf-8") == (text if after is None else text.replace(before, after)), str(report)
