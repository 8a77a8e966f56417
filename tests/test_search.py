"""Searching: what people type, and what they find."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest
from commands import SOURCE, environment
from hypothesis import given, settings
from hypothesis import strategies as st

from mshub_ssd.errors import UsageError
from mshub_ssd.registry import Registry
from mshub_ssd.registry.words import near, squeezed, tokens, written_as_one

# uid, module-type, data set, backbone, summary, body
CARDS = [
    ("zoo/1.9/ssd300_coco2017", "cv-object_detection", "coco2017", "ssd_vgg16", "Boxes in one pass.", ""),
    ("zoo/1.10/ssd300_coco2017", "cv-object_detection", "coco2017", "ssd_vgg16", "Boxes in one pass.", ""),
    ("zoo/1.10/ssdmobilenetv2_coco2017", "cv-object_detection", "coco2017", "ssd_mobilenetV2", "A light one.", ""),
    ("zoo/1.10/resnet50_imagenet2012", "cv-image_classification", "imagenet2012", "resnet50", "Deep and residual.", ""),
    ("zoo/1.8/mobilenetv2_imagenet2012", "cv-image_classification", "imagenet2012", "mobilenetv2", "For phones.", ""),
    (
        "zoo/1.8/deepspeech2_librispeech",
        "audio-speech_recognition",
        "librispeech",
        "deepspeech2",
        "Listens.",
        "After pruning.",
    ),
    ("zoo/1.8/bert_cnnews", "nlp-text_classification", "cnnews", "bert", "Reads the news.", "Trained on a wombat."),
    ("zoo/1.8/albert_squad", "nlp-question_answering", "squad", "albert", "Answers.", ""),
    ("zoo/2.5/hunyuan3d_objaverse", "mm-image_to_3d", "objaverse", "hunyuan3d", "Meshes.", ""),
    ("zoo/1.8/yolov5s_coco2017", "cv-object_detection", "coco2017", "yolov5", "Fast.", "本模型认识袋熊。"),
]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    root = tmp_path_factory.mktemp("cards")
    for uid, kind, data, backbone, summary, body in CARDS:
        path = root / f"{uid}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        name = uid.rsplit("/", 1)[-1].split("_")[0]
        path.write_text(
            f"# {name}\n\n---\nmodel-name: {name}\nbackbone-name: {backbone}\nmodule-type: {kind}\n"
            f"train-dataset: {data}\nmindspore-version: {uid.split('/')[1]}\n---\n\n{summary}\n\n## More\n\n{body}\n",
            encoding="utf-8",
        )
    return Registry([root])


def found(registry: Registry, text: str) -> list[str]:
    return [shown.uid.rsplit("/", 1)[-1].split("_")[0] for shown in registry.search(text)]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("ssd300", ["ssd300"]),
        ("SSD-300", ["ssd300"]),
        ("ssd 300", ["ssd300"]),
        ("ResNet-50", ["resnet50"]),
        ("resnet_50 ImageNet", ["resnet50"]),
        ("mobilnet", ["mobilenetv2", "ssdmobilenetv2"]),
        ("moiblenet", ["mobilenetv2", "ssdmobilenetv2"]),
        ("yollov5", ["yolov5s"]),
        ("yolo v5", ["yolov5s"]),
        ("resnet 50 imagenet", ["resnet50"]),
        ("剪枝", ["deepspeech2"]),
        ("ssd目标检测", ["ssd300", "ssdmobilenetv2"]),
        ("SSD-300目标检测", ["ssd300"]),
        ("yollov5目标检测", ["yolov5s"]),
        ("袋熊目标检测", ["yolov5s"]),
        ("基于resnet的图像分类", ["resnet50"]),
        ("语音识别剪枝", ["deepspeech2"]),
        ("yolo 网络", ["yolov5s"]),
        ("ssd语音识别", []),
        ("ssd熊猫", []),
        ("图生3D", ["hunyuan3d"]),
        ("用于objaverse的图生3D", ["hunyuan3d"]),
        ("7d目标检测", []),
        ("目标检测7d", []),
        ("的网络", []),
        ("bert", ["bert", "albert"]),
        ("speech recognition", ["deepspeech2"]),
        ("语音", ["deepspeech2"]),
        ("语音识别", ["deepspeech2"]),
        ("ASR", ["deepspeech2"]),
        ("目标检测", ["ssd300", "ssdmobilenetv2", "yolov5s"]),
        ("coco2017 phones", []),
        ("residual", ["resnet50"]),
        ("wombat", ["bert"]),
        ("袋熊", ["yolov5s"]),
        ("1.9", ["ssd300"]),
        ("vgg16 1.10", ["ssd300"]),
        ("xyzzy", []),
        ("", []),
        ("!? --", []),
        ('"; DROP TABLE card; --', []),
        ("NEAR(a b) OR *", []),
    ],
)
def test_a_search_finds_what_is_meant(registry: Registry, text: str, first: list[str]) -> None:
    assert found(registry, text)[: max(1, len(first))] == first


def test_of_each_model_the_newest_is_found_and_all_are_counted(registry: Registry) -> None:
    (shown,) = registry.search("ssd300")
    assert (shown.uid, shown.versions) == ("zoo/1.10/ssd300_coco2017", 2)
    (old,) = registry.search("ssd300 1.9")
    assert (old.uid, old.versions) == ("zoo/1.9/ssd300_coco2017", 1)


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("resnet50 wombat", {"resnet50", "bert"}),
        ("whisper", {"deepspeech2"}),
        ("pose estimation", {"ssd300", "ssdmobilenetv2", "resnet50", "mobilenetv2", "yolov5s"}),
        ("xyzzy", set()),
        ("中文语音合成", {"deepspeech2"}),
        ("熊猫识别", {"deepspeech2", "resnet50", "mobilenetv2", "ssd300", "ssdmobilenetv2", "yolov5s"}),
        ("熊猫", set()),
    ],
)
def test_where_nothing_is_found_the_nearest_are_offered(registry: Registry, text: str, nearest: set[str]) -> None:
    assert registry.search(text) == []
    offered = {shown.uid.rsplit("/", 1)[-1].split("_")[0] for shown in registry.nearest(text)}
    assert offered <= nearest
    assert bool(offered) is bool(nearest)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("工业异常检测", ["工业", "异常检测"]),
        ("gan图像生成", ["gan", "图像生成"]),
        ("unet3d分割", ["unet3d", "分割"]),  # `unet` is known, and no word of it
        ("三维图像分类与图像生成", ["三维", "图像分类", "与", "图像生成"]),
        ("袋熊", ["袋熊"]),
        ("", []),
    ],
)
def test_chinese_without_spaces_is_parted_at_words_that_are_known(text: str, words: list[str]) -> None:
    known = {"异常检测", "检测", "图像", "图像生成", "图像分类", "unet"}
    assert written_as_one(text, known.__contains__) == words


@settings(max_examples=60)
@given(st.text(max_size=60))
def test_no_text_is_an_error(registry: Registry, text: str) -> None:
    for shown in [*registry.search(text, 5), *registry.nearest(text)]:
        assert shown.uid
    assert squeezed(squeezed(text)) == squeezed(text)
    assert all(tokens(text))


def test_no_search_takes_long(registry: Registry) -> None:
    for text in ("x" * 1000, "图" * 1000, ("ab图" * 334)[:1000], "a " * 500):
        begun = time.process_time()
        registry.search(text, 5)
        registry.nearest(text)
        assert time.process_time() - begun < 2
        for ask in (registry.search, registry.nearest):
            with pytest.raises(UsageError, match="some words") as caught:
                ask(text + "y")
            assert "1,001 letters" in str(caught.value.got)


@given(st.text("abcde", min_size=1, max_size=12), st.text("abcde", max_size=6), st.integers(0, 11))
def test_one_wrong_letter_is_one_edit(word: str, before: str, at: int) -> None:
    text = before + word
    at %= len(word)
    assert near(word, text, 1) == 0
    for wrong in (word[:at] + "x" + word[at + 1 :], word[:at] + "x" + word[at:], word[:at] + word[at + 1 :]):
        distance = near(wrong, text, 1)
        assert distance is not None
        assert distance <= 1
    assert near("xyz", text, 2) is None


DOCUMENT = (SOURCE / "docs" / "search.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("code", "promised"), re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", DOCUMENT, re.DOTALL))
def test_the_documents_code_does_what_it_says(code: str, promised: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), cwd=SOURCE)
    assert (done.returncode, done.stdout) == (0, promised), done.stderr
