"""The table of tasks, and what it makes of cards and of what people type."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshub_ssd.cards import (
    Card,
    find_task,
    is_kind,
    known_tasks,
    matching_tasks,
    parse_card,
    search_words,
    task_of,
    told_task,
)
from mshub_ssd.cards.task_table import AREA_WORDS, AREAS, FIELD_KEYS, GROUPS
from mshub_ssd.providers import choose_network, doubts

KEYS = [task.key for task in known_tasks()]
ZOO = "https://gitee.com/mindspore/models/tree/r1.7"


def card(*lines: str, title: str = "x", uid: str = "mindspore/1.7/x") -> Card:
    text = "\n\n".join(lines)
    return parse_card(f"# {title}\n\n---\n\n{text}\n\n---\n\n## Introduction\n", uid=uid)


def plain(word: str) -> str:
    return "".join(sign for sign in word.lower() if sign.isalnum())


# --- the table ------------------------------------------------------------------------------------------------------


def test_no_word_means_two_tasks_but_those_that_the_table_lists() -> None:
    words = Counter(plain(word) for task in known_tasks() for word in (task.key, *task.words, *task.chinese))
    assert [word for word, count in words.items() if count > 1] == []
    several = Counter(plain(word) for text in GROUPS for word in text.split(", "))
    assert [word for word, count in several.items() if count > 1] == []
    assert set(several) & set(words) == set()


@pytest.mark.parametrize("part", ["names", "backbones", "data", "folders", "homes"])
def test_no_name_means_two_tasks(part: str) -> None:
    names = [name for task in known_tasks() for name in getattr(task, part)]
    assert [name for name, count in Counter(names).items() if count > 1] == []
    for name in names:
        if part in ("names", "backbones", "data"):
            assert plain(name) == name.removesuffix("*"), f"a card's name is compared without separators: {name}"
        else:
            assert name == name.lower().strip("/")


def test_a_name_is_either_a_task_or_a_backbone() -> None:
    assert not {n for task in known_tasks() for n in task.names} & {n for task in known_tasks() for n in task.backbones}


def test_whatever_the_table_refers_to_is_in_it() -> None:
    assert len(set(KEYS)) == len(KEYS)
    for task in known_tasks():
        assert find_task(task.key) is task
        assert set(task.broader) <= set(KEYS) - {task.key}
        assert task.field in FIELD_KEYS
    assert set(FIELD_KEYS.values()) <= set(KEYS)
    assert {key for keys in GROUPS.values() for key in keys} <= set(KEYS)
    assert {key for words in AREA_WORDS.values() for key in words.values()} <= set(KEYS)
    assert {field for fields in AREAS.values() for field in fields} <= set(FIELD_KEYS)


def test_every_task_can_be_asked_for_in_both_languages() -> None:
    for task in known_tasks():
        assert task.chinese, task.key
        for word in (task.key, *task.words, *task.chinese):
            assert task.key in matching_tasks(word), (task.key, word)
            assert told_task(f"x-{word}") == task.key
        assert len(search_words(task.key)) >= 3


# --- cards ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("centernet_resnet50_v1", "object-detection"),
        ("CascadeRCNN", "object-detection"),
        ("RefineDet", "object-detection"),
        ("res2net_faster_rcnn", "object-detection"),
        ("YOLOv8-fish", "object-detection"),
        ("maskrcnn_mobilenetv1", "instance-segmentation"),
        ("retinaface", "face-detection"),
        ("advanced_east", "scene-text-detection"),
        ("crnn_seq2seq_ocr", "scene-text-recognition"),
        ("DeepLabV3plus_s8", "semantic-segmentation"),
        ("UNet3+", "medical-image-segmentation"),
        ("simple_pose", "keypoint-detection"),
        ("PoseNet", "camera-localization"),
        ("IPT-SRx2", "super-resolution"),
        ("DnCNN", "image-denoising"),
        ("CycleGAN", "image-to-image-translation"),
        ("wgan", "image-generation"),
        ("siamRPN", "object-tracking"),
        ("Deepsort", "multi-object-tracking"),
        ("inception_resnet_v2", "image-classification"),
        ("shufflenet_v2_x0_5", "image-classification"),
        ("glore_res50", "image-classification"),
        ("swinv2_tiny_window8", "image-classification"),
    ],
)
def test_a_name_that_leaves_no_doubt_is_enough(name: str, task: str) -> None:
    assert card("module-type: cv", f"model-name: {name}").task == task


@pytest.mark.parametrize(
    ("lines", "task"),
    [
        # A model of many uses is told by its data.
        (["module-type: nlp", "model-name: bert_base", "train-dataset: SQuAD1.1"], "question-answering"),
        (["module-type: nlp", "model-name: bert_base", "train-dataset: cluener"], "named-entity-recognition"),
        (["module-type: nlp", "model-name: ernie", "train-dataset: chnsenticorp"], "sentiment-analysis"),
        (["module-type: nlp", "model-name: tinybert", "train-dataset: enwiki128_mnli"], "natural-language-inference"),
        (["module-type: nlp", "model-name: transformer", "train-dataset: wmt"], "translation"),
        (["module-type: nlp", "model-name: bert_base"], "language-modeling"),
        (["module-type: nlp", "model-name: transformer"], "natural-language-processing"),
        (["module-type: cv", "model-name: IPT", "train-dataset: rain100l"], "image-deraining"),
        (["module-type: cv", "model-name: IPT", "train-dataset: somewhere"], "image-restoration"),
        (["module-type: cv", "model-name: unet2d", "train-dataset: ISBI challenge"], "medical-image-segmentation"),
        (["module-type: cv", "model-name: unet2d", "train-dataset: roofs"], "semantic-segmentation"),
        (["module-type: cv", "model-name: hrnet", "train-dataset: cityscapes"], "semantic-segmentation"),
        (["module-type: cv", "model-name: hrnet", "train-dataset: LoveDA"], "remote-sensing-segmentation"),
        (["module-type: cv", "model-name: resnet50", "train-dataset: market1501"], "person-re-identification"),
        # A backbone on data for something else proves nothing.
        (["module-type: cv", "model-name: resnet50", "train-dataset: coco2017"], "computer-vision"),
        (["module-type: cv", "model-name: new", "backbone-name: resnet50"], "computer-vision"),
        (["module-type: cv", "model-name: new", "train-dataset: cifar10"], "computer-vision"),
        (
            ["module-type: cv", "model-name: new", "train-dataset: cifar10", "evaluation: top1acc 91"],
            "image-classification",
        ),
        # What the card says stands above its names, and a narrower name above that.
        (["module-type: cv-classification", "model-name: yolov5"], "image-classification"),
        (["module-type: cv-object_detection", "model-name: ctpn"], "scene-text-detection"),
        (["module-type: cv-segmentation", "summary: for semantic segmentation"], "semantic-segmentation"),
        (["module-type: nlp-natural_language_understanding", "train-dataset: multi30k"], "translation"),
        (["module-type: nlp-emotion_classification"], "sentiment-analysis"),
        (["module-type: audio-tagging"], "audio-tagging"),
        (["module-type: object_detection"], "object-detection"),
        (["module-type: cv-目标检测"], "object-detection"),
        (["module-type: cv-sheep_counting", "model-name: ssd300"], "sheep-counting"),
        (["module-type: cv-classification", "model-name: x", "summary: finds and detects"], "image-classification"),
        # Title and summary, where they mean one task.
        (["module-type: cv", "model-name: x", "summary: Optical flow of street scenes"], "optical-flow-estimation"),
        (["module-type: cv", "model-name: x", "summary: 用于人脸识别的网络"], "face-recognition"),
        (["module-type: cv", "model-name: x", "summary: optical flow, style transfer"], "computer-vision"),
        # The folder: where the name says too little, and what kind of folder it is.
        (["module-type: cv", "model-name: dem", f"repo-link: {ZOO}/research/cv/dem"], "zero-shot-image-classification"),
        (["module-type: cv", "model-name: centernet", f"repo-link: {ZOO}/research/cv/centernet"], "keypoint-detection"),
        (["module-type: nlp", "model-name: rotate", f"repo-link: {ZOO}/research/nlp/rotate"], "link-prediction"),
        (["model-name: x", f"repo-link: {ZOO}/research/audio/x"], "audio"),
        (
            [
                "module-type: cv",
                "model-name: x",
                "repo-link: https://github.com/mindspore-lab/mindyolo/tree/v1/configs/x",
            ],
            "object-detection",
        ),
        # The field, and nothing.
        (["module-type: recommend"], "recommendation"),
        (["module-type: gnn"], "graph-machine-learning"),
        (["module-type: hpc"], "scientific-computing"),
        (["module-type: rl"], "reinforcement-learning"),
        (["module-type: mm"], "multimodal"),
        (["author: nobody"], None),
        # Names of another field, and parts of longer names.
        (["module-type: nlp", "model-name: yolov5"], "natural-language-processing"),
        (["module-type: cv", "model-name: organic"], "computer-vision"),
        (["module-type: cv", "model-name: gateway"], "computer-vision"),
        (["module-type: cv", "model-name: vitality"], "computer-vision"),
        (["module-type: cv", "model-name: my_enet_east"], "computer-vision"),
    ],
)
def test_task_of_a_card(lines: list[str], task: str | None) -> None:
    assert card(*lines).task == task


def test_the_uid_tells_where_nothing_else_does() -> None:
    assert card("module-type: cv", uid="me/1.0/ssdresnet50fpn_fish").task == "object-detection"
    assert card("module-type: cv", uid="me/1.0/fish").task == "computer-vision"


def test_a_kind_counts_as_what_it_is_a_kind_of() -> None:
    assert is_kind("face-detection", "object-detection")
    assert is_kind("medical-image-segmentation", "image-segmentation")
    assert is_kind("sheep-counting", "sheep-counting")
    assert not is_kind("object-detection", "face-detection")
    assert not is_kind(None, "object-detection")


texts = st.text(max_size=60) | st.sampled_from(["cv", "cv-", "-", "nlp-classification", "mm-a b_c", "-目标检测"])


@settings(max_examples=300, deadline=None)
@given(texts, texts, texts, texts, st.lists(texts, max_size=3), texts)
def test_any_text_gives_a_task_or_none(
    module: str, model: str, title: str, link: str, data: list[str], summary: str
) -> None:
    strange = Card(
        uid=model,
        title=title,
        module_type=module,
        model_name=model,
        backbone_name=title,
        repo_link=f"https://x/{link}",
        datasets=tuple(data),
        summary=summary,
    )
    task = task_of(strange)
    assert task is None or task
    assert task_of(strange) == task
    assert isinstance(search_words(task), tuple)
    assert set(matching_tasks(model)) <= set(KEYS)


def test_hostile_lengths_cost_nothing() -> None:
    long = "a-" * 200_000
    strange = Card(
        uid="x", module_type="cv", model_name=long, title=long, repo_link=long, summary=long, datasets=(long,)
    )
    assert task_of(strange) == "computer-vision"


# --- what people type -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "some", "none"),
    [
        ("object-detection", ["object-detection", "face-detection"], ["image-classification"]),
        ("Object_Detection", ["object-detection"], ["image-classification"]),
        ("objectdetection", ["object-detection"], ["image-classification"]),
        ("classification", ["image-classification", "text-classification", "video-classification"], ["face-detection"]),
        ("detection", ["object-detection", "anomaly-detection", "keypoint-detection"], ["image-classification"]),
        ("segmentation", ["semantic-segmentation", "medical-image-segmentation", "instance-segmentation"], ["audio"]),
        ("image-segmentation", ["semantic-segmentation", "medical-image-segmentation"], ["object-detection"]),
        ("translation", ["translation"], ["image-to-image-translation"]),
        ("machine translation", ["translation"], ["image-to-image-translation"]),
        ("语音", ["speech-recognition", "text-to-speech", "audio-tagging", "audio"], ["translation"]),
        ("目标检测", ["object-detection", "face-detection"], ["anomaly-detection"]),
        ("检测", ["object-detection", "anomaly-detection", "edge-detection"], ["image-classification"]),
        ("人脸", ["face-detection", "face-recognition"], ["object-detection"]),
        ("OCR", ["scene-text-detection", "scene-text-recognition"], ["object-detection"]),
        ("ASR", ["speech-recognition"], ["text-to-speech"]),
        ("tts", ["text-to-speech"], ["speech-recognition"]),
        ("NER", ["named-entity-recognition"], ["face-recognition"]),
        ("pose estimation", ["keypoint-detection", "6d-pose-estimation"], ["depth-estimation"]),
        ("nlp", ["translation", "question-answering", "natural-language-processing"], ["image-classification"]),
        ("*segmentation", ["semantic-segmentation"], ["object-detection"]),
        ("image*", ["image-classification", "image-to-video"], ["object-detection"]),
        ("object-det", ["object-detection"], ["image-classification"]),
        ("classif", ["image-classification", "text-classification"], ["object-detection"]),
    ],
)
def test_filter(text: str, some: list[str], none: list[str]) -> None:
    found = matching_tasks(text)
    assert set(some) <= set(found)
    assert not set(none) & set(found)
    assert found == [key for key in KEYS if key in found]


@pytest.mark.parametrize("text", ["", "  ", "-", "zebra", "斑马", "o", "*zebra*", "[", "x" * 10_000])
def test_a_filter_that_means_nothing(text: str) -> None:
    assert matching_tasks(text) == []


def test_search_words() -> None:
    words = search_words("face-detection")
    assert words[:3] == ("face detection", "face detector", "人脸检测")
    assert {"face", "object detection", "目标检测", "computer vision", "计算机视觉"} <= set(words)
    assert {"语音", "语音合成", "tts"} <= set(search_words("text-to-speech"))
    assert "ocr" in search_words("scene-text-detection")
    assert search_words("sheep-counting") == ("sheep counting",)
    assert search_words(None) == ()


# --- who uses it ----------------------------------------------------------------------------------------------------


def test_a_doubt_about_module_type_quotes_module_type_only() -> None:
    sppnet = card("module-type: cv", "model-name: ssd300", "network: sppnet_mult", "train-dataset: imagenet2012")
    assert not [doubt for doubt in doubts(sppnet, choose_network(sppnet)) if doubt.field == "module-type"]
    wrong = card("module-type: cv-object_detection", "network: sppnet_mult", "train-dataset: imagenet2012")
    said = [doubt.message for doubt in doubts(wrong, choose_network(wrong)) if doubt.field == "module-type"]
    assert said == ["module-type says object-detection, and sppnet_mult is for image-classification"]


# --- around it ------------------------------------------------------------------------------------------------------


def test_the_table_needs_nothing_heavy() -> None:
    code = "import sys, mshub_ssd.cards.tasks; print(*sorted(name.partition('.')[0] for name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "yaml", "mindspore", "PIL", "click", "onnxruntime", "openvino"} & set(loaded)


def test_the_search_queries_are_well_formed() -> None:
    path = Path(__file__).parent / "data" / "search_queries.json"
    rows = json.loads(path.read_text("utf-8"))
    assert Counter(row["part"] for row in rows) == {"first": 27, "more": 40}
    assert len({row["query"] for row in rows}) == len(rows)
    for row in rows:
        assert bool(row["want"]) != row.get("nearest", False), row["query"]
        assert row["why"]
