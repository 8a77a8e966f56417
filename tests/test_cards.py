"""Model cards: the layout of the published hub, written anew, and everything that can be wrong with it."""

from __future__ import annotations

import copy
import datetime
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from mshub_ssd.cards import (
    Asset,
    Card,
    Metric,
    Version,
    examine_card,
    parse_card,
    parse_metric,
    read_card,
    valid_uid,
)
from mshub_ssd.errors import CardError

DIGEST = "00aa" * 16

PUBLISHED = f"""\
# toy_ssd

---

model-name: toy_ssd

backbone-name: toynet

module-type: cv

fine-tunable: True

model-version: 1.10

train-dataset: coco2017

evaluation: top1acc64.82 | top5acc85.66

author: Some team

update-time: 2023-2-17

repo-link: <https://example.org/models/tree/r1.10/toy>

user-id: Some

used-for: inference

mindspore-version: 1.10

asset:

-
    file-format: ckpt
    asset-link: <https://example.org/r1.10/toy_ssd.ckpt>
    asset-sha256: {DIGEST}

license: Apache2.0

summary: toy_ssd finds toys, “quickly”

---

## Introduction

A toy.

---

The line above is no fence.
"""


def card(text: str | bytes = PUBLISHED, **kwargs: object) -> Card:
    return parse_card(text, uid="some/1.10/toyssd_coco2017", **kwargs)  # type: ignore[arg-type]


def with_line(old: str, new: str) -> str:
    assert PUBLISHED.count(old) == 1
    return PUBLISHED.replace(old, new)


def front(*lines: str) -> str:
    return "\n".join(["---", *lines, "---", ""])


def refusal(text: str | bytes) -> CardError:
    with pytest.raises(CardError) as caught:
        parse_card(text, uid="some/1.0/card", path=Path("cards/broken.md"))
    error = caught.value
    assert error.hint, "every refusal says how to fix"
    assert error.where is not None
    assert error.where.startswith("cards/broken.md")
    if error.line is not None:
        assert error.where == f"cards/broken.md:{error.line}:{error.column}"
    return error


# --- the published layout ---------------------------------------------------------------------------------------


def test_published_layout() -> None:
    read = card()
    assert read.uid == "some/1.10/toyssd_coco2017"
    assert read.title == "toy_ssd"
    assert (read.model_name, read.backbone_name) == ("toy_ssd", "toynet")
    assert (read.module_type, read.task) == ("cv", "object-detection")
    assert read.fine_tunable is True
    assert read.model_version == read.mindspore_version == "1.10"
    assert read.datasets == ("coco2017",)
    assert read.metrics == (Metric("top1acc", 64.82), Metric("top5acc", 85.66))
    assert (read.author, read.user_id, read.used_for) == ("Some team", "Some", "inference")
    assert read.update_time == datetime.date(2023, 2, 17)
    assert read.repo_link == "https://example.org/models/tree/r1.10/toy"
    assert read.assets == (Asset("ckpt", "https://example.org/r1.10/toy_ssd.ckpt", DIGEST),)
    assert read.license == "Apache2.0"
    assert read.summary == "toy_ssd finds toys, “quickly”"
    assert read.body.endswith("---\n\nThe line above is no fence.\n")
    assert read.network is None
    assert read.classes is None
    assert not read.extra
    assert read.path is None


def test_spans_point_at_the_text() -> None:
    spans = card().spans
    lines = PUBLISHED.splitlines()
    for path, text in [
        ("model-name", "toy_ssd"),
        ("mindspore-version", "1.10"),
        ("mindspore-version:key", "mindspore-version"),
        ("asset[0].asset-sha256", DIGEST),
        ("asset[0].asset-link", "<https://example.org/r1.10/toy_ssd.ckpt>"),
        ("summary", "toy_ssd finds toys, “quickly”"),
        (":title", "toy_ssd"),
    ]:
        span = spans[path]
        assert span.line == span.end_line
        assert lines[span.line - 1][span.column - 1 : span.end_column - 1] == text
    assert (spans["model-name"].line, spans["model-name"].column) == (5, 13)
    assert lines[spans[":body"].line] == "## Introduction"


def test_line_ends_and_byte_order_mark_change_nothing() -> None:
    plain = card()
    crlf = PUBLISHED.replace("\n", "\r\n")
    for variant in (crlf, crlf.encode(), PUBLISHED.replace("\n", "\r"), "\ufeff" + PUBLISHED):
        other = card(variant)
        assert other.to_dict() | {"body": ""} == plain.to_dict() | {"body": ""}
        assert dict(other.spans) == dict(plain.spans)
    assert card("\ufeff" + PUBLISHED).body == plain.body
    assert card(crlf).body == plain.body.replace("\n", "\r\n")


def test_columns_count_characters() -> None:
    read = card(front('名 前: "𝛼é"   # 注', "summary: {é: 𝛽, ö: x}"))
    assert read.extra["名 前"] == "𝛼é"
    span = read.spans["""["名 前"]"""]
    assert (span.line, span.column, span.end_column) == (2, 6, 10)
    inner = read.spans["summary.ö"]
    assert (inner.line, inner.column, inner.end_column) == (3, 20, 21)


def test_front_matter_first_takes_the_heading_below_it() -> None:
    assert card(front("model-name: a") + "\n# The Title #\n\ntext\n").title == "The Title"
    assert card(front("model-name: a") + "\ntext\n# no title\n").title is None
    assert card("# C#\n" + front("model-name: a")).title == "C#"


def test_no_closing_newline_and_trailing_spaces() -> None:
    assert card("--- \nmodel-name: a  \n---\t").model_name == "a"


@pytest.mark.parametrize("spelling", ["-", "- ", "no", "none", "~", "'-'", "No", ""])
def test_evaluation_none_given(spelling: str) -> None:
    result = examine_card(with_line("top1acc64.82 | top5acc85.66", spelling), uid="u")
    assert result.card is not None
    assert result.card.metrics == ()
    assert "evaluation" not in result.card.extra
    # Mending must not move what stands around it.
    assert result.card.spans["author"] == card().spans["author"]
    span = result.card.spans["evaluation"]
    if spelling.strip():
        assert (span.line, span.column) == (17, 13)


def test_bare_dashes_are_mended_and_reported() -> None:
    text = front("evaluation: -", "accuracy: -   # none", "summary: |", "  key: -", "author: a")
    result = examine_card(text, uid="u")
    assert result.card is not None
    assert result.card.summary == "key: -"
    assert result.card.extra == {"accuracy": "-"}
    assert [(p.code, p.span and (p.span.line, p.span.column)) for p in result.problems] == [
        ("bare-dash", (2, 13)),
        ("bare-dash", (3, 11)),
    ]


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("top1acc64.82", "top1acc", 64.82),
        ("mAP25.17", "mAP", 25.17),
        ("acc1.72e-05", "acc", 1.72e-05),
        ("F1score61.94", "F1score", 61.94),
        ("P@1acc42.7", "P@1acc", 42.7),
        ("cfp-fp98.29", "cfp-fp", 98.29),
        ("2Dprojection99.7", "2Dprojection", 99.7),
        ("avgReward-9.11", "avgReward", -9.11),
        ("100%-EER:98.73", "100%-EER", 98.73),
        ("VR@FAR=0.1%:96.03", "VR@FAR=0.1%", 96.03),
        ("mAP@0.5:0.95 = 37.5%", "mAP@0.5:0.95", 37.5),
        ("top1 acc: .5", "top1 acc", 0.5),
    ],
)
def test_metric(text: str, name: str, value: float) -> None:
    assert parse_metric(text) == Metric(name, value)
    assert parse_metric(f"  {text} ") == Metric(name, value)


@pytest.mark.parametrize("text", ["2.2m", "41.98", "mAP@0.5", "", "good", "acc1e999", "a" * 500 + "1"])
def test_no_metric(text: str) -> None:
    assert parse_metric(text) is None


def test_unreadable_evaluation_is_kept_and_reported() -> None:
    result = examine_card(with_line("top1acc64.82 | top5acc85.66", "acc93 | 2.2m"), uid="u")
    assert result.card is not None
    assert result.card.metrics == (Metric("acc", 93),)
    assert result.card.extra["evaluation"] == "acc93 | 2.2m"
    assert [problem.code for problem in result.problems] == ["value"]


def test_metrics_as_mapping_and_as_keys_of_their_own() -> None:
    read = card(front("evaluation: {mAP@0.5: 0.993, mAP: 0.82}", "mAP: 0.241", "accuracy: 41.98"))
    expected = (Metric("mAP@0.5", 0.993), Metric("mAP", 0.82), Metric("mAP", 0.241), Metric("accuracy", 41.98))
    assert read.metrics == expected
    assert read.extra == {"mAP": "0.241", "accuracy": "41.98"}
    assert card(front("evaluation:", "- mAP25.17", "- top1: 3")).metrics == (Metric("mAP", 25.17), Metric("top1", 3))


@pytest.mark.parametrize("written", ["1.10", '"1.10"', "'1.10'", " 1.10   # the tenth"])
def test_versions_are_text(written: str) -> None:
    read = card(with_line("mindspore-version: 1.10", f"mindspore-version: {written}"))
    assert read.mindspore_version == "1.10"
    assert json.loads(json.dumps(read.to_dict()))["mindspore_version"] == "1.10"


def test_versions_have_a_natural_order() -> None:
    ordered = ["0.7", "1.0", "1.3", "1.9", "1.10", "2.3rc1", "2.3", "2.3.0", "2.10"]
    assert sorted(map(Version, reversed(ordered))) == ordered
    assert Version("1.9") < "1.10"
    assert max("1.9", Version("1.10"), "1.2") == "1.10"
    assert Version("1.10") >= "1.9"
    assert Version("1.0") != "1.00"
    assert (Version("1.0") < "1.00") != (Version("1.00") < "1.0")
    assert Version("9" * 5000) > Version("8" * 5000)
    assert {Version("1.10"): 1}["1.10"] == 1


@pytest.mark.parametrize(
    ("written", "date"), [("2022-06-22", (2022, 6, 22)), ("2023-2-7", (2023, 2, 7)), ("'2020-09-08'", (2020, 9, 8))]
)
def test_dates(written: str, date: tuple[int, int, int]) -> None:
    assert card(front(f"update-time: {written}")).update_time == datetime.date(*date)


@pytest.mark.parametrize(
    ("line", "attribute"),
    [
        ("update-time: 2022-02-30", "update_time"),
        ("update-time: soon", "update_time"),
        ("update-time: [2022, 1, 1]", "update_time"),
        ("fine-tunable: maybe", "fine_tunable"),
        ("input-shape: 3x300x300", "input_shape"),
        ("input-shape: {a: 1}", "input_shape"),
        ("input-shape: [3, three]", "input_shape"),
        ("mindspore-version: [1, 10]", "mindspore_version"),
        ("summary: {a: b}", "summary"),
    ],
)
def test_what_cannot_be_read_is_kept_and_reported(line: str, attribute: str) -> None:
    result = examine_card(front(line), uid="u")
    assert result.card is not None
    assert getattr(result.card, attribute) is None
    assert list(result.card.extra) == [line.split(":")[0]]
    (problem,) = result.problems
    assert (problem.code, problem.fatal) == ("value", False)
    assert problem.span is not None
    assert (problem.span.line, problem.span.column) == (2, line.index(": ") + 3)


def test_switches_shapes_and_data_sets() -> None:
    read = card(front("fine-tunable: no", "input-shape: [[640, 480, 3], [640, 480, 3]]", "train-dataset: A | B c"))
    assert read.fine_tunable is False
    assert read.input_shape == ((640, 480, 3), (640, 480, 3))
    assert read.datasets == ("A", "B c")
    assert card(front("input-shape: [3, 300, 300]", "train-dataset: a, b")).input_shape == (3, 300, 300)
    assert card(front("train-dataset: a, b")).datasets == ("a", "b")
    assert card(front("train-dataset:", "- a, b", "- c")).datasets == ("a, b", "c")
    assert card(front("train-dataset: N/A")).datasets == ()


def test_several_assets_and_their_digests() -> None:
    text = front(
        "asset:",
        "",
        "- file-format: ckpt  ",
        "",
        "  asset-link: https://example.org/a.ckpt",
        "",
        f"  asset-sha256: {'AB' * 32}",
        "- file-format: mslite",
        "  asset-link: <https://example.org/a.ms>",
        "  asset-sha256: 77dcaf0f",
        "- asset-link: b.ckpt",
        f"  asset-sha256: {'12' * 32}",
        "  asset-size: 12",
        "  size: 12",
        "- asset-link: c.ckpt",
        "- asset-link: d.ckpt",
        "  asset-sha256: todo",
    )
    result = examine_card(text, uid="u")
    assert result.card is not None
    assert result.card.assets == (
        Asset("ckpt", "https://example.org/a.ckpt", "ab" * 32),
        Asset("mslite", "https://example.org/a.ms", "77dcaf0f"),
        Asset(None, "b.ckpt", "12" * 32, 12),
        Asset(None, "c.ckpt", None),
        Asset(None, "d.ckpt", "todo"),
    )
    assert result.card.extra == {"asset[2].size": "12"}
    lines = [problem.span.line for problem in result.problems if problem.span]
    assert [problem.code for problem in result.problems] == ["asset-sha256", "asset-sha256"]
    assert lines == [16, 18]
    assert not any(problem.fatal for problem in result.problems)


def test_network_with_typed_arguments() -> None:
    block = card(
        front(
            "network:",
            "  name: ssd_mobilenetV2",
            "  width: 0.5",
            "  num_classes: 11",
            "  momentum: 1e-3",
            "  slim: true",
            "  head: null",
            '  quoted: "11"',
            "  word: depthwise",
            "  scales: [0.1, 2, [x]]",
            "  nested: {a: -1}",
        )
    ).network
    assert block is not None
    assert block.name == "ssd_mobilenetV2"
    assert block.arguments == {
        "width": 0.5,
        "num_classes": 11,
        "momentum": 0.001,
        "slim": True,
        "head": None,
        "quoted": "11",
        "word": "depthwise",
        "scales": (0.1, 2, ("x",)),
        "nested": {"a": -1},
    }
    assert isinstance(block.arguments["num_classes"], int)
    assert isinstance(block.arguments["width"], float)
    flow = card(front("network: {name: ssd_mobilenetV2, width: 0.5}")).network
    assert flow is not None
    assert (flow.name, dict(flow.arguments)) == ("ssd_mobilenetV2", {"width": 0.5})
    short = card(front("network: ssd300")).network
    assert short is not None
    assert (short.name, dict(short.arguments)) == ("ssd300", {})


def test_classes() -> None:
    assert card(front("classes: [0, 1, yes, '2']")).classes == ("0", "1", "yes", "2")
    assert card(front("classes:", "- a b", "- c")).classes == ("a b", "c")


def test_unknown_keys_are_kept() -> None:
    read = card(front("train-backend: gpu", "mindspore-lite: true", "more: {deep: [1, {x: 1.10}], nothing: }"))
    assert read.extra == {
        "train-backend": "gpu",
        "mindspore-lite": "true",
        "more": {"deep": ("1", {"x": "1.10"}), "nothing": None},
    }
    assert read.to_dict()["extra"]["more"] == {"deep": ["1", {"x": "1.10"}], "nothing": None}


@pytest.mark.parametrize(
    ("lines", "task"),
    [
        (["module-type: cv-object_detection"], "object-detection"),
        (["module-type: cv-classification"], "image-classification"),
        (["module-type: cv-super-resolution"], "super-resolution"),
        (["module-type: cv-semantic_segmentation"], "semantic-segmentation"),
        (["module-type: audio-TTS"], "text-to-speech"),
        (["module-type: nlp-natural_language_understanding"], "natural-language-understanding"),
        (["module-type: cv", "model-name: GhostNet_SSD"], "object-detection"),
        (["module-type: cv", "model-name: x", "network: ssd_mobilenetV2"], "object-detection"),
        (["module-type: cv", "model-name: SPPNet"], "image-classification"),
        (["module-type: cv", "model-name: resnet50", "train-dataset: ImageNet2012"], "image-classification"),
        (["module-type: cv", "model-name: dcgan", "train-dataset: imagenet2012"], "image-generation"),
        (["module-type: cv", "model-name: simple_pose", "train-dataset: coco2017"], "keypoint-detection"),
        (["module-type: cv", "model-name: essd"], "computer-vision"),
        (["module-type: cv"], "computer-vision"),
        (["module-type: nlp", "model-name: ssd"], "natural-language-processing"),
        (["author: nobody"], None),
    ],
)
def test_task(lines: list[str], task: str | None) -> None:
    assert card(front(*lines)).task == task


# --- the Card as an object --------------------------------------------------------------------------------------


def test_cards_are_frozen_and_copied_and_pickled() -> None:
    read = card(front("network: {name: a, b: [1]}", "x: {y: z}", f"asset: [{{asset-link: a, asset-sha256: {DIGEST}}}]"))
    assert pickle.loads(pickle.dumps(read)) == copy.deepcopy(read) == read
    assert hash(read) == hash(copy.deepcopy(read))
    with pytest.raises(AttributeError):
        read.uid = "other"  # type: ignore[misc]
    assert read.network is not None
    for mapping in (read.extra, read.spans, read.network.arguments, read.extra["x"]):
        with pytest.raises(TypeError):
            mapping["new"] = 1  # type: ignore[index]
        with pytest.raises(AttributeError):
            mapping._items = {}  # type: ignore[attr-defined]


def test_to_dict_is_json_ready(tmp_path: Path) -> None:
    file = tmp_path / "toy.md"
    file.write_text(PUBLISHED, encoding="utf-8")
    plain = read_card(file).to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["uid"] == "toy"
    assert plain["path"] == str(file)
    assert plain["update_time"] == "2023-02-17"
    assert plain["metrics"][0] == {"name": "top1acc", "value": 64.82, "spread": None}
    assert plain["assets"][0] == {
        "file_format": "ckpt",
        "url": "https://example.org/r1.10/toy_ssd.ckpt",
        "sha256": DIGEST,
        "size": None,
        "sha256_digits": 64,
    }
    assert "spans" not in plain


def with_asset(link: str, path: Path | None = Path("folder/card.md")) -> tuple[Card, Asset]:
    text = front("asset:", f"- asset-link: {json.dumps(link)}", f"  asset-sha256: {DIGEST}")
    read = parse_card(text, uid="u", path=path)
    return read, read.assets[0]


@pytest.mark.parametrize("written", ["5,001", "0", "-1", "1.5", "1e6", "many", "[1]", "9" * 5000])
def test_a_size_that_is_no_number_of_bytes_is_a_problem(written: str) -> None:
    text = front("asset:", "- asset-link: a.ckpt", f"  asset-sha256: {DIGEST}", f"  asset-size: {written}")
    result = examine_card(text, uid="u")
    assert result.card is not None
    assert result.card.assets[0].size is None
    assert "asset[0].asset-size" in result.card.extra
    assert [problem.message for problem in result.problems] == ["the value of asset[0].asset-size cannot be read"]


@pytest.mark.parametrize("link", ["https://example.org/a b".replace(" ", "%20"), "http://h:80/x?y", "HTTPS://h/x"])
def test_urls_resolve_to_themselves(link: str) -> None:
    read, asset = with_asset(link)
    assert read.resolve(asset) == link


@pytest.mark.parametrize("link", ["a.ckpt", "./a.ckpt", "deep/a.ckpt", "a b.ckpt", "a..b.ckpt"])
def test_relative_assets_resolve_to_the_cards_folder(link: str) -> None:
    read, asset = with_asset(link)
    assert read.resolve(asset) == Path("folder") / link


@pytest.mark.parametrize(
    "link",
    [
        "../a.ckpt",
        "deep/../../a.ckpt",
        "deep/..",
        "/etc/passwd",
        "//host/a.ckpt",
        "..\\a.ckpt",
        "C:\\a.ckpt",
        "C:/a.ckpt",
        "file:///etc/passwd",
        "ftp://example.org/a.ckpt",
        "https:///a.ckpt",
        "https:a.ckpt",
        "http://?x",
        "https://example.org/a b",
        "javascript:alert(1)",
        "a\u0001.ckpt",
        "deep/",
        ".",
    ],
)
def test_other_links_are_refused(link: str) -> None:
    read, asset = with_asset(link)
    with pytest.raises(CardError) as caught:
        read.resolve(asset)
    assert (caught.value.line, caught.value.column) == (3, 15)
    assert caught.value.where == f"{Path('folder/card.md')}:3:15"
    assert caught.value.hint


def test_a_relative_asset_needs_a_folder() -> None:
    read, asset = with_asset("a.ckpt", path=None)
    with pytest.raises(CardError, match="no folder"):
        read.resolve(asset)


# --- broken cards -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("", 1, 1, "no front matter"),
        ("# Title\n\ntext\n", 1, 1, "no front matter"),
        ("# Title\n\n---\n\nmodel-name: a\n", 3, 1, "no end"),
        ("# Title\n\nSome words\n\n---\na: b\n---\n", 3, 1, "only a title"),
        ("# One\n# Two\n---\na: b\n---\n", 2, 1, "only a title"),
        ("---\n---\n", 2, 1, "no fields"),
        ("---\n\n# a comment\n\n---\n", 2, 1, "no fields"),
        ("---\n- a\n- b\n---\n", 2, 1, "no fields"),
        ("---\njust words\n---\n", 2, 1, "no fields"),
        ("# 标题\n\n---\n\n模型名称\uff1aa\n\n作者\uff1ab\n\n---\n", 5, 5, "full-width"),
        ("---\naccuracy: vit-base: 84.02 / x: 3\n---\n", 2, 19, "holds a second"),
        ("---\nsummary: @home\n---\n", 2, 10, "starts with '@'"),
        ("---\nsummary:\n\tx: 1\n---\n", 3, 1, "indented with a tab"),
        ("---\na: [1, 2\n---\n", 2, 4, "never closed"),
        ("---\nasset: - a\n---\n", 2, 8, "starts on the line of its key"),
        ("---\nmodel-name: a\nauthor: b\nmodel-name: c\n---\n", 4, 1, "twice"),
        ("---\nasset:\n- asset-link: a\n\n  asset-link: b\n---\n", 5, 3, "twice"),
        ("---\nx: {a: 1, a: 2}\n---\n", 2, 11, "twice"),
        ("---\na: &x 1\n---\n", 2, 4, "anchors"),
        ("---\na: &x [1]\nb: *x\n---\n", 2, 4, "anchors"),
        ("---\nb: *x\n---\n", 2, 4, "anchors"),
        ("---\na: !!python/object/apply:os.system [echo]\n---\n", 2, 4, "tags"),
        ("---\na: !x y\n---\n", 2, 4, "tags"),
        ("---\n? [a, b]\n: c\n---\n", 2, 3, "key must be a word"),
        ("---\na: 1\n--- b\nc: 2\n---\n", 3, 1, "several YAML documents"),
        ("---\na: b\0c\n---\n", 2, 5, "NUL"),
        ("---\na: b\n---\nbody \0\n", 4, 6, "NUL"),
        ('---\na: "\\0"\n---\n', 2, 4, "NUL"),
        ("---\na: b\x07c\n---\n", 2, 5, "control character"),
        ("---\n\ufeffa: b\n---\n", 2, 1, "control character"),
        ("---\na: \ud800\n---\n", 2, 4, "surrogate"),
        ("---\na: " + "[" * 21 + "]" * 21 + "\n---\n", 2, 23, "20 levels"),
        ("---\nasset: ckpt\n---\n", 2, 8, "asset cannot be read"),
        ("---\nasset: [ckpt]\n---\n", 2, 9, "asset[0] cannot be read"),
        ("---\nasset:\n- file-format: ckpt\n---\n", 3, 3, "no asset-link"),
        ("---\nasset:\n- asset-link:\n---\n", 3, None, "no asset-link"),
        ("---\nnetwork: [a]\n---\n", 2, 10, "network cannot be read"),
        ("---\nnetwork: {width: 1}\n---\n", 2, 10, "network cannot be read"),
        ("---\nclasses: a, b\n---\n", 2, 10, "classes cannot be read"),
        ("---\nclasses: []\n---\n", 2, 10, "classes cannot be read"),
        ("---\nclasses: [a, '']\n---\n", 2, 10, "classes cannot be read"),
    ],
)
def test_broken_cards(text: str, line: int, column: int | None, message: str) -> None:
    error = refusal(text)
    assert message in str(error)
    assert error.line == line
    if column is not None:
        assert error.column == column


def test_twenty_levels_are_allowed() -> None:
    deep = "[" * 19 + "]" * 19
    assert card(front(f"a: {deep}")).extra["a"] is not None


def test_deep_nesting_and_bombs_are_refused_at_once() -> None:
    assert "20 levels" in refusal(front("a: " + "[" * 90_000)).message
    assert "10000 values" in refusal(front("a: [" + "1," * 50_000 + "1]")).message
    assert "128 KiB" in refusal(front("a: [" + "1," * 100_000 + "1]")).message
    assert "100000 lines" in refusal(front("a: b") + "\n" * 100_001).message
    assert "anchors" in refusal(front("a: &a [x]", *(f"b{n}: &b{n} [*a, *a]" for n in range(50)))).message


def test_bytes_that_are_not_utf8() -> None:
    error = refusal("---\nä: ö\nauthor: ".encode() + b"M\xfcller\n---\n")
    assert (error.line, error.column) == (3, 10)
    assert "0xfc" in str(error)
    assert "UTF-8" in refusal("---\na: b\n---\n".encode("utf-16")).message


def test_size_limit() -> None:
    head = front("model-name: a")
    full = head + "x" * ((1 << 20) - len(head))
    assert card(full).model_name == "a"
    assert card(full.encode()).model_name == "a"
    for text in (full + "x", (full + "x").encode(), head + "é" * (1 << 19)):
        assert "1 MiB" in refusal(text).message


def test_all_problems_of_a_card_are_found() -> None:
    text = front("fine-tunable: maybe", "a: 1", "a: 2", "evaluation: -", "asset:", "- file-format: x", "network: [1]")
    codes = [problem.code for problem in examine_card(text, uid="u").problems]
    assert codes == ["duplicate-key", "bare-dash", "value", "asset-link", "value"]


# --- files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "uid"), [("ghostnet_ssd_v1.0.md", "ghostnet_ssd_v1.0"), ("a.MD", "a"), ("card.txt", "card.txt")]
)
def test_uid_of_a_file(tmp_path: Path, name: str, uid: str) -> None:
    file = tmp_path / name
    file.write_text(PUBLISHED, encoding="utf-8")
    assert read_card(file).uid == uid
    assert read_card(str(file)).path == file
    assert read_card(file, "x/y").uid == "x/y"


def test_unreadable_files(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.md"
    os.mkfifo(fifo)
    for path in (tmp_path, tmp_path / "none.md", fifo, "a\0b.md"):
        with pytest.raises(CardError) as caught:
            read_card(path)
        assert caught.value.hint


def test_locale_does_not_matter(tmp_path: Path) -> None:
    file = tmp_path / "toy.md"
    file.write_bytes(PUBLISHED.encode())
    code = (
        "import sys, locale; from mshub_ssd.cards import read_card\n"
        "assert 'utf' not in locale.getpreferredencoding(False).lower(), 'the locale was not switched'\n"
        "print(ascii(read_card(sys.argv[1]).summary))"
    )
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code, str(file)], env=plain, capture_output=True, text=True)
    assert done.stdout.strip() == ascii("toy_ssd finds toys, “quickly”"), done.stderr


@pytest.mark.parametrize(
    "uid", ["a", "mindspore/1.7/ssdresnet50fpn_coco2017", "noah-cvlab/ascend/0.7/ghostnet_ssd_v1.0", "3d/1/x"]
)
def test_valid_uids(uid: str) -> None:
    assert valid_uid(uid)


@pytest.mark.parametrize(
    "uid", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.b", "-a", "a b", "ä", "a\n", "a\\b", "a" * 201, "a..b"]
)
def test_invalid_uids(uid: str) -> None:
    assert not valid_uid(uid)
