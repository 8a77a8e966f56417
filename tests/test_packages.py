"""Cards of MindCV and MindYOLO: their recipes, what pictures are made into, and what outputs mean.

``data/mindyolo_0.5.0.npz`` holds what MindYOLO's own data set, `letterbox`, `non_max_suppression` and `scale_coords`
made of the pictures and rows of the tests here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mshub_ssd as mshub
from mshub_ssd import families
from mshub_ssd.cards import Card, parse_card
from mshub_ssd.errors import ImageError, MissingDependencyError, UsageError, is_installed
from mshub_ssd.networks import config_from_dict, config_to_dict
from mshub_ssd.networks.classification import ClassifierConfig, class_names, imagenet_classes
from mshub_ssd.networks.yolo import YOLOConfig
from mshub_ssd.networks.yolo import class_names as detected
from mshub_ssd.providers import packages
from mshub_ssd.providers.recipes import Recipe
from mshub_ssd.results import COCO_CLASSES

ROWS = [
    json.loads(line)
    for line in (Path(packages.__file__).parent / "data" / "packages.jsonl").read_text(encoding="utf-8").splitlines()
]
GOLDEN = Path(__file__).parent / "data" / "mindyolo_0.5.0.npz"
PLACES = {
    "mindcv:crossvit_9": "mindcv/tree/v0.4.0/configs/crossvit",
    "mindcv:mobilenet_v1_025": "mindcv/tree/v0.5.0/configs/mobilenetv1",
    "mindcv:squeezenet1_0": "mindcv/tree/v0.5.0/configs/squeezenet",
    "mindyolo:yolov8n": "mindyolo/tree/v0.4.0/configs/yolov8",
    "mindyolo:yolov5n": "mindyolo/tree/v0.5.0/configs/yolov5",
    "mindyolo:yolox_s": "mindyolo/tree/v0.5.0/configs/yolox",
}


def text_of(key: str, more: str = "", **fields: str) -> str:
    """A card's text, as the hub has them."""
    said = {
        "model-name": key.partition(":")[2],
        "backbone-name": "none",
        "module-type": "cv",
        "train-dataset": "ImageNet2012" if key.startswith("mindcv") else "COCO2017",
        "repo-link": f"<https://github.com/mindspore-lab/{PLACES.get(key, '')}>",
        **{name.replace("_", "-"): value for name, value in fields.items()},
    }
    lines = "\n\n".join(f"{name}: {value}" for name, value in said.items() if value)
    return f"# {key}\n\n---\n\n{lines}\n\n{more}\n\n---\n\n## Introduction\n\nIt.\n"


def card(key: str, more: str = "", **fields: str) -> Card:
    text = text_of(key, more, **fields)
    return parse_card(text, uid=f"mindspore/2.3/{key.partition(':')[2]}_set", path=Path("card.md"))


def recipe(key: str, **fields: Any) -> Recipe:
    (found,) = packages.candidates(card(key, **fields))
    return found


# --- recipes


def test_every_row_is_a_recipe() -> None:
    assert len(ROWS) == len({row["key"] for row in ROWS}) == 65
    for row in ROWS:
        package, _, model = row["key"].partition(":")
        assert package == row["package"]
        assert row["call"]["callable"].startswith(f"{package}.models.")
        assert all(len(commit) == 40 and int(commit, 16) for commit in row["commits"])
        assert set(row["proven"]) <= {"constructs", "runs", "verified"}
        assert '"pretrained": true' not in json.dumps(row["call"])
        if "models" in row:
            assert model.endswith(f"@{row['path']}")
            assert row["repository"] == "mindspore/models"
            assert "verified" in row["proven"]
            continue
        assert row["repository"] == f"mindspore-lab/{package}"
        assert row["configuration"].startswith(row["path"] + "/")
        assert len(row["commits"]) == 2
        if row["proven"]:
            name, axis, factor, rest = row["classes"]
            assert name.endswith("weight")
            assert axis in (0, 1)
            assert factor in (1, 3)
            assert rest >= 0
            assert row["parameters"] > 10
            assert len(row["digest"]) == 64
    cards = [row for row in ROWS if "models" not in row and row["package"] != "mindocr"]
    assert [row["key"] for row in cards if "constructs" not in row["proven"]] == ["mindcv:rexnet_09"]
    assert [row["key"] for row in cards if "runs" not in row["proven"]] == ["mindcv:pvt_tiny", "mindcv:rexnet_09"]


def test_every_row_has_a_configuration_that_can_be_written_down() -> None:
    for row in ROWS:
        if row["family"] is None:
            continue
        place = f"{row['package']}/tree/v0.4.0/{row['path']}"
        if "models" not in row:
            found = recipe(row["key"], repo_link=f"<https://github.com/mindspore-lab/{place}>")
        else:
            link = f"<https://gitee.com/mindspore/models/tree/r1.9/{row['path']}>"
            found = recipe(f"zoo:{row['models'][0]}", repo_link=link, train_dataset="imagenet2012")
        config = packages.config_for(found)
        assert isinstance(config, ClassifierConfig if row["package"] == "mindcv" else YOLOConfig)
        assert config_from_dict(json.loads(json.dumps(config_to_dict(config)))) == config
        assert config.name == found.key == row["key"]
        family = families.of(config)
        assert family is not None
        (given,) = found.inputs
        assert family.preprocess(np.zeros((30, 50, 3), np.uint8))[0].shape == given.shape
        assert len(config.class_names) == config.num_classes


@pytest.mark.parametrize("key", PLACES)
def test_a_card_names_its_network(key: str) -> None:
    found = recipe(key)
    package, _, model = key.partition(":")
    assert (found.key, found.level, found.arguments, found.classes) == (key, "package", {}, None)
    assert packages.package_of(found)[0] == package
    assert model in found.reason
    assert package in found.reason
    assert found.call is not None
    assert found.call.kwargs["num_classes"] in (80, 1000, 1001)
    assert found.proven == {"constructs", "runs"}


@pytest.mark.parametrize(
    "fields",
    [
        {"repo_link": "<https://gitee.com/mindspore/models/tree/r1.9/official/cv/resnet>"},
        {"repo_link": "<https://github.com/somebody/mindcv/tree/v0.4.0/configs/crossvit>"},
        {"repo_link": "<https://github.com/mindspore-lab/mindcv2/tree/v0.4.0/configs/crossvit>"},
        {"repo_link": "<https://github.com/mindspore-lab/mindyolo/tree/v0.4.0/configs/yolov8>"},
        {"repo_link": ""},
        {"model_name": "crossvit_nine"},
    ],
)
def test_other_cards_name_none(fields: dict[str, str]) -> None:
    assert packages.candidates(card("mindcv:crossvit_9", **fields)) == []


def test_names_that_differ_in_signs_are_one() -> None:
    found = recipe("mindcv:vit_b32_224", repo_link="<https://github.com/mindspore-lab/mindcv/tree/v0.4.0/configs/vit>")
    assert found.call is not None
    assert found.call.callable == "mindcv.models.vit:vit_b_32_224"


def test_a_card_of_ones_own_names_a_network_by_its_key() -> None:
    written = card(
        "mindcv:squeezenet1_0",
        "network:\n    name: mindcv:squeezenet1_0\n    num_classes: 3\n\nclasses: [ant, bee, cow]",
        repo_link="",
    )
    (found,) = packages.candidates(written)
    assert (found.key, found.arguments, found.classes) == (
        "mindcv:squeezenet1_0",
        {"num_classes": 3},
        ("ant", "bee", "cow"),
    )
    assert packages.config_for(found).class_names == ("ant", "bee", "cow")
    assert packages.candidates(card("mindcv:squeezenet1_0", "network: ssd_vgg16")) == []


def test_classes_are_named_after_the_cards_data_set() -> None:
    found = recipe("mindcv:crossvit_9")
    assert packages.config_for(found).class_names == imagenet_classes()
    assert packages.config_for(recipe("mindcv:crossvit_9", train_dataset="food")).class_names[:2] == (
        "class 0",
        "class 1",
    )
    # MindCV's MobileNetV1 has 1001 classes, and was trained on 1000 labels from 0.
    more = packages.config_for(recipe("mindcv:mobilenet_v1_025")).class_names
    assert more == (*imagenet_classes(), "class 1000")
    assert packages.config_for(recipe("mindyolo:yolov8n")).class_names == COCO_CLASSES
    cards = recipe("mindyolo:yolov8n", train_dataset="objects")
    assert packages.config_for(cards).class_names == tuple(f"class {number}" for number in range(80))


@pytest.mark.parametrize(
    ("key", "parameter", "shape", "count"),
    [
        ("mindcv:squeezenet1_0", "classifier.1.weight", (7, 512, 1, 1), 7),
        ("mindcv:mobilenet_v1_025", "classifier.weight", (1000, 256), 1000),
        ("mindyolo:yolov5n", "model.model.24.m.0.weight", (3 * (4 + 5), 64, 1, 1), 4),
    ],
)
def test_a_checkpoint_tells_the_number_of_classes(key: str, parameter: str, shape: tuple[int, ...], count: int) -> None:
    found = packages.sized(recipe(key), {parameter: shape, "other.weight": (3,)})
    assert found.call is not None
    assert found.call.kwargs["num_classes"] == count
    assert packages.config_for(found).num_classes == count
    wrapped = packages.sized(recipe(key), {f"network.{parameter}": shape, "other.weight": (3,)})
    assert wrapped == found
    for senseless in ({}, {parameter: ()}, {parameter: (0,)}, {f"a.{parameter}": shape, f"b.{parameter}": shape}):
        assert packages.sized(recipe(key), senseless) == recipe(key)


def test_wrong_class_names_are_refused() -> None:
    found = dataclasses.replace(recipe("mindyolo:yolov8n"), classes=("one", "two"))
    with pytest.raises(UsageError, match="number of class names"):
        packages.config_for(found)


def test_a_recipe_of_other_code_has_no_configuration() -> None:
    assert packages.config_for(Recipe("mindocr:crnn_vgg7", "said so")) is None
    assert packages.package_of(Recipe("ssd_vgg16", "said so")) == ("", "")


def test_candidates_import_nothing() -> None:
    code = (
        "import sys\n"
        "from mshub_ssd.cards import parse_card\n"
        "from mshub_ssd.providers import packages\n"
        "text = '# x\\n\\n---\\n\\nmodel-name: crossvit_9\\n\\n"
        "repo-link: <https://github.com/mindspore-lab/mindcv/tree/v0.4.0/configs/crossvit>\\n\\n---\\n'\n"
        "assert packages.candidates(parse_card(text, uid='x'))\n"
        "assert not {'mindspore', 'mindcv', 'mindyolo', 'numpy', 'cv2'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# --- networks

FEW = ["mindcv:squeezenet1_0", "mindcv:googlenet", "mindyolo:yolov8n", "mindyolo:yolox_s"]


def written(folder: Path, key: str, checkpoint: Path | None = None, **fields: str) -> Path:
    """A card's file, with a checkpoint beside it."""
    asset = ""
    if checkpoint is not None:
        digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
        asset = f"asset:\n\n-\n    file-format: ckpt\n    asset-link: {checkpoint.name}\n    asset-sha256: {digest}"
    path = folder / f"{re.sub(r'[^a-z0-9_]', '_', key)}.md"
    path.write_text(text_of(key, asset, **fields), encoding="utf-8")
    return path


def shapes_of(network: Any) -> dict[str, tuple[int, ...]]:
    return {item.name: tuple(map(int, item.shape)) for item in network.get_parameters()}


@pytest.mark.parametrize("key", FEW)
def test_a_card_is_loaded_and_used(key: str, tmp_path: Path) -> None:
    mindspore = pytest.importorskip("mindspore")
    package = key.partition(":")[0]
    pytest.importorskip(package)
    row = next(row for row in ROWS if row["key"] == key)
    link = f"<https://github.com/mindspore-lab/{package}/tree/v0.5.0/{row['path']}>"
    path = written(tmp_path, key, repo_link=link)
    shapes = shapes_of(mshub.load(path, pretrained=False))
    assert len(shapes) == row["parameters"]
    text = "\n".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items()))
    assert hashlib.sha256(text.encode()).hexdigest() == row["digest"]

    few = mshub.load(path, pretrained=False, num_classes=5)
    assert few.config.class_names == tuple(f"class {number}" for number in range(5))
    mindspore.save_checkpoint(few, str(tmp_path / "few.ckpt"))
    with mshub.Predictor(written(tmp_path, key, tmp_path / "few.ckpt", repo_link=link)) as predict:
        assert predict.config == few.config
        assert predict.engine == "mindspore"
        picture = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
        # Of random values no detector is sure.
        seen = predict(picture)
    if package == "mindcv":
        assert len(seen) == 5
        assert math.isclose(seen.scores.sum(), 1, abs_tol=1e-5)
        assert mshub.classify(few, picture).labels.tolist() == seen.labels.tolist()
    else:
        seen = mshub.detect(few, picture, score_threshold=0.0, max_detections=20)
        assert len(seen) == 20
        assert seen.image_size == (60, 90)
        assert (seen.boxes >= 0).all()
        assert (seen.boxes <= [90, 60, 90, 60]).all()


def test_loaded_values_are_all_that_counts(tmp_path: Path) -> None:
    """Networks are built without values for their parameters; nothing else may be made of those."""
    mindspore = pytest.importorskip("mindspore")
    pytest.importorskip("mindyolo")
    path = written(tmp_path, "mindyolo:yolov8n")
    network = mshub.load(path, pretrained=False)
    mindspore.save_checkpoint(network, str(tmp_path / "some.ckpt"))
    again = mshub.load(written(tmp_path, "mindyolo:yolov8n", tmp_path / "some.ckpt"))
    given = mindspore.Tensor(np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32))
    np.testing.assert_array_equal(network(given)[0].asnumpy(), again(given)[0].asnumpy())


# --- stand-ins for the zoo's code


STAND_INS = [
    ("r1.7", "official/cv/dpn", "dpn", "mindcv.models.dpn:dpn92"),
    ("r1.10", "official/cv/nasnet", "nasnet", "mindcv.models.nasnet:nasnet_a_4x1056"),
    ("r1.3", "official/cv/shufflenetv2", "shufflenetv2", "mindcv.models.shufflenetv2:shufflenet_v2_x1_0"),
    ("r1.9", "research/cv/ghostnet", "ghostnet", "mindcv.models.ghostnet:ghostnet_100"),
    ("r1.9", "official/cv/xception", "xception", "mindcv.models.xception:xception"),
    ("r1.9", "research/cv/squeezenet1_1", "squeezenet1_1", "mindcv.models.squeezenet:squeezenet1_1"),
    ("r1.9", "research/cv/repvgg", "repvgg", "mindcv.models.repvgg:repvgg_a0"),
]


@pytest.mark.parametrize(("branch", "path", "model", "callable_"), STAND_INS)
def test_mindcv_stands_in_where_outputs_were_compared(branch: str, path: str, model: str, callable_: str) -> None:
    link = f"<https://gitee.com/mindspore/models/tree/{branch}/{path}>"
    (found,) = packages.candidates(card(f"zoo:{model}", repo_link=link, train_dataset="imagenet2012"))
    assert found.call is not None
    assert (found.level, found.call.callable) == ("package", callable_)
    assert "verified" in found.proven
    row = packages._rows()[found.key]
    assert row["apart"] <= 1e-5
    # What the zoo makes of pictures was compared as well, with the same rule: no proof, no family.
    config = packages.config_for(found)
    assert (config is None) == (model == "repvgg") == (not packages.sees(found))
    if config is not None:
        assert config.class_names[0] == "tench, Tinca tinca"
        assert config.resize_to == ("square" if model in ("dpn", "squeezenet1_1") else "shorter side")
        sizes = {"xception": (320, 299), "squeezenet1_1": (256, 227)}
        assert (config.resize, config.image_size) == sizes.get(model, (256, 224))


@pytest.mark.parametrize(
    ("branch", "path", "model", "dataset"),
    [
        ("r1.5", "official/cv/shufflenetv2", "shufflenetv2", "imagenet2012"),  # its script of then takes BGR
        ("r1.9", "research/cv/squeezenet1_1", "squeezenet1_1", "cifar10"),  # another script prepares these
    ],
)
def test_where_the_zoos_script_does_otherwise_nothing_is_known_of_pictures(
    branch: str, path: str, model: str, dataset: str, tmp_path: Path
) -> None:
    link = f"<https://gitee.com/mindspore/models/tree/{branch}/{path}>"
    (found,) = packages.candidates(card(f"zoo:{model}", repo_link=link, train_dataset=dataset))
    assert "verified" in found.proven
    assert packages.config_for(found) is None


def test_the_zoos_names_become_mindcvs() -> None:
    names = {
        ("research/cv/ghostnet", "ghostnet"): {
            "conv_stem.weight": "conv_stem.weight",
            "blocks.0.ghost1.primary_conv.conv.weight": "blocks.0.0.ghost1.primary_conv.0.weight",
            "blocks.10.ghost2.cheap_operation.bn.gamma": "blocks.6.4.ghost2.cheap_operation.1.gamma",
            "blocks.11.shortcut.0.conv.weight": "blocks.7.0.shortcut.0.weight",
            "blocks.11.shortcut.0.bn.beta": "blocks.7.0.shortcut.1.beta",
            "blocks.11.shortcut.1.conv.weight": "blocks.7.0.shortcut.2.weight",
            "blocks.11.dw.bn.moving_mean": "blocks.7.0.bn_dw.moving_mean",
            "blocks.15.se.conv_reduce.bias": "blocks.8.3.se.conv_reduce.bias",
            "blocks.16.bn.gamma": "blocks.9.features.1.gamma",
        },
        ("official/cv/xception", "xception"): {
            "block12.skipbn.gamma": "blocks.11.skipbn.gamma",
            "network.block1.rep.0.conv1.weight": "network.blocks.0.rep.0.conv1.weight",
            "fc.bias": "classifier.bias",
        },
        ("research/cv/squeezenet1_1", "squeezenet1_1"): {"final_conv.bias": "classifier.1.bias"},
    }
    for (path, model), wanted in names.items():
        link = f"<https://gitee.com/mindspore/models/tree/r1.9/{path}>"
        (found,) = packages.candidates(card(f"zoo:{model}", repo_link=link))
        for name, meant in wanted.items():
            for pattern, replacement in found.rename:
                name = re.sub(pattern, replacement, name)
            assert name == meant


@pytest.mark.parametrize(
    ("branch", "path", "model"),
    [
        ("r1.5", "official/cv/dpn", "dpn"),  # its groups are parameters of their own
        ("master", "official/cv/dpn", "dpn"),
        ("r1.7", "official/cv/resnet", "resnet50"),  # pads in another way
        ("r1.7", "official/cv/dpn", "dpn131"),
        # Names and shapes map, and small inputs of the first would not tell: ReLU6 for ReLU, other padding.
        ("r1.9", "official/cv/mobilenetv1", "mobilenetv1"),
        ("r1.9", "research/cv/efficientnetv2", "efficientnetv2"),  # another epsilon in its batch norms
        ("master", "research/cv/ghostnet", "GhostNet-600"),
    ],
)
def test_mindcv_stands_in_nowhere_else(branch: str, path: str, model: str) -> None:
    link = f"<https://gitee.com/mindspore/models/tree/{branch}/{path}>"
    assert packages.candidates(card(f"zoo:{model}", repo_link=link)) == []


def test_a_stand_in_takes_the_zoos_checkpoint_without_consent(tmp_path: Path) -> None:
    mindspore = pytest.importorskip("mindspore")
    pytest.importorskip("mindcv")
    link = "<https://gitee.com/mindspore/models/tree/r1.9/official/cv/shufflenetv2>"
    network = mshub.load(written(tmp_path, "zoo:shufflenetv2", repo_link=link), pretrained=False)
    arrays = [
        {"name": item.name.replace("classifier.", "classifier.0."), "data": item} for item in network.get_parameters()
    ]
    mindspore.save_checkpoint(arrays, str(tmp_path / "zoo.ckpt"))
    again = mshub.load(written(tmp_path, "zoo:shufflenetv2", tmp_path / "zoo.ckpt", repo_link=link))
    given = mindspore.Tensor(np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32))
    np.testing.assert_array_equal(network(given).asnumpy(), again(given).asnumpy())
    # Whose classes these are the card does not say, and so not which script prepared its pictures.
    with pytest.raises(UsageError, match="no configuration of a known family"):
        mshub.classify(again, np.zeros((8, 8, 3), np.uint8))
    path = written(tmp_path, "zoo:shufflenetv2", tmp_path / "zoo.ckpt", repo_link=link, train_dataset="imagenet2012")
    found = mshub.classify(path, np.zeros((8, 8, 3), np.uint8))
    assert len(found) == 5
    assert found.names[0] in imagenet_classes()


# --- MindOCR


def test_mindocr_is_used_where_it_is() -> None:
    link = "<https://github.com/mindspore-lab/mindocr/tree/v0.5.0/configs/det/dbnet>"
    found = recipe("mindocr:dbnet_resnet50", repo_link=link, train_dataset="ICDAR2015")
    assert found.call is not None
    assert found.call.args[0]["dict"]["backbone"]["dict"]["pretrained"] is False
    assert packages.config_for(found) is None
    if not is_installed("mindocr"):
        from mshub_ssd import providers

        wanted = card("mindocr:dbnet_resnet50", repo_link=link)
        with pytest.raises(MissingDependencyError, match="is not installed") as raised:
            providers.plan(wanted, pretrained=False)
        assert raised.value.hint is not None
        assert "no extra" in raised.value.hint


# --- what classifiers are given


def classifier(side: int, crop: float, interpolation: Any = "bilinear") -> families.Family:
    config = ClassifierConfig(
        "some",
        1000,
        class_names(1000),
        resize=math.floor(side / crop),
        image_size=side,
        resize_to="shorter side",
        interpolation=interpolation,
    )
    family = families.of(config)
    assert family is not None
    return family


# At (341, 888) and 299 pixels the longer side has 887 pixels, since MindSpore computes it in float32.
SIZES = [(341, 888), (888, 341), (300, 500), (500, 375), (256, 256), (7, 5), (37, 700), (257, 255)]


@pytest.mark.parametrize("side", [224, 299])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_pictures_are_what_mindcv_evaluates(height: int, width: int, side: int) -> None:
    vision = pytest.importorskip("mindspore.dataset.vision")
    picture = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for interpolation, most in (("bilinear", 0), ("bicubic", 1)):
        family = classifier(side, 0.875, interpolation)
        how = getattr(vision.Inter, interpolation.upper())
        wanted = vision.CenterCrop(side)(vision.Resize(math.floor(side / 0.875), how)(picture))
        config = family.config
        steps = vision.HWC2CHW()(vision.Normalize(list(config.mean), list(config.std))(wanted))
        given = family.preprocess(picture)[0]
        # Of bicubic interpolation MindSpore's and OpenCV's differ by one grey level here and there.
        np.testing.assert_allclose(given[0], steps, rtol=0, atol=1e-6 + most / min(config.std) * 1.001)


def test_the_shorter_side_and_the_centre() -> None:
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[:, 50:150] = 255
    given, transform = classifier(80, 0.8).preprocess(picture)
    assert (transform.placed_size, transform.offset) == ((100, 200), (-10, -60))
    assert given.shape == (1, 3, 80, 80)
    assert (given > 2).all()


def test_a_picture_too_narrow_to_keep_its_aspect_ratio_is_refused() -> None:
    with pytest.raises(ImageError, match="too long and narrow"):
        classifier(224, 0.875).preprocess(np.zeros((60_000, 1, 3), np.uint8))


def test_configurations_of_others_need_not_say_how_pictures_are_resized() -> None:
    plain = ClassifierConfig("some", 1000, class_names(1000))
    family = families.of(plain)
    assert family is not None
    assert family.transform((30, 90)).placed_size == (256, 256)


# --- what detectors are given, and what they find


def picture_of(height: int, width: int) -> np.ndarray:
    down, across = np.indices((height, width))
    return ((down // 3 * 7 + across // 2 * 3)[..., None] + np.asarray([0, 60, 120])).astype(np.uint8)


def yolo(count: int, *, side: int = 64, objects: bool = True, iou: float = 0.65) -> families.YOLO:
    rows: Any = "object and classes" if objects else "classes"
    config = YOLOConfig("some", count, detected(count), image_size=side, rows=rows, nms_threshold=iou)
    family = families.of(config)
    assert isinstance(family, families.YOLO)
    return family


@pytest.mark.parametrize("number", range(6))
def test_pictures_and_boxes_are_mindyolos(number: int) -> None:
    with np.load(GOLDEN) as stored:
        size, given, rows, found, facts = (
            stored[f"{name}_{number}"] for name in ("size", "input", "rows", "found", "facts")
        )
    count, objects, threshold, iou = int(facts[0]), bool(facts[1]), float(facts[2]), float(facts[3])
    family = yolo(count, objects=objects, iou=iou)
    picture = picture_of(*size.tolist())
    inputs, transform = family.preprocess(picture)
    np.testing.assert_allclose(inputs, given / np.float32(255), rtol=0, atol=1e-7)
    options = family.options(score_threshold=threshold, max_detections=None)
    (seen,) = family.postprocess(rows[None], [transform], options, pictures=[picture])
    assert len(seen) == len(found) > 0
    order, other = np.lexsort((seen.labels, -seen.scores)), np.lexsort((found[:, 5], -found[:, 4]))
    np.testing.assert_allclose(seen.boxes[order], found[other, :4], rtol=0, atol=1e-3)
    np.testing.assert_allclose(seen.scores[order], found[other, 4], rtol=0, atol=1e-6)
    assert seen.labels[order].tolist() == found[other, 5].astype(int).tolist()


def test_what_follows_the_rows_does_not_matter() -> None:
    family = yolo(2)
    rows = np.float32([[[32, 32, 20, 10, 0.9, 0.8, 0.1]], [[32, 32, 20, 10, 0.9, 0.1, 0.7]]])
    transforms = [family.transform((64, 64)), family.transform((32, 64))]
    for outputs in (rows, (rows, 1), (rows, (np.zeros((2, 3)), np.zeros((5,)))), [rows]):
        first, second = family.postprocess(outputs, transforms)
        assert (first.labels.tolist(), second.labels.tolist()) == ([0], [1])
        np.testing.assert_allclose(first.boxes, [[22, 27, 42, 37]], atol=1e-4)
        np.testing.assert_allclose(second.boxes, [[22, 11, 42, 21]], atol=1e-4)
    np.testing.assert_allclose(first.scores, [0.72], atol=1e-6)


def test_boxes_go_there_and_back() -> None:
    family = yolo(2, side=640)
    for size in ((480, 640), (427, 640), (1000, 333), (33, 20)):
        transform = family.transform(size)
        boxes = np.float32([[1, 2, 15, 12], [0, 0, size[1], size[0]]])
        np.testing.assert_allclose(transform.to_picture(transform.to_input(boxes)), boxes, atol=1e-3)


def test_a_box_may_be_there_once_for_each_of_its_classes() -> None:
    family = yolo(3, objects=False)
    rows = np.float32([[32, 32, 20, 10, 0.9, 0.8, 0.1], [33, 32, 20, 10, 0.6, 0.85, 0.1]])
    (seen,) = family.postprocess(rows[None], [family.transform((64, 64))])
    assert seen.labels.tolist() == [0, 1]
    np.testing.assert_allclose(seen.scores, [0.9, 0.85])
    (seen,) = family.postprocess(rows[None], [family.transform((64, 64))], family.options(classes=["class 1"]))
    assert seen.labels.tolist() == [1]


def test_one_class_scores_as_the_object() -> None:
    family = yolo(1)
    rows = np.float32([[[32, 32, 20, 10, 0.9, 0.3]]])
    (seen,) = family.postprocess(rows, [family.transform((64, 64))])
    np.testing.assert_allclose(seen.scores, [0.9])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((1, 4, 8), np.float32), "does not fit"),
        (np.zeros((1, 4, 7), np.complex64), "does not fit"),
        (np.float32([[[32, 32, 20, 10, 3.0, 0.3, 0.3]]]), "raw logits"),
        (np.float32([[[32, 32, 20, 10, 0.9, 5.0, 0.3]]]), "raw logits"),
    ],
)
def test_outputs_that_make_no_sense_are_refused(rows: np.ndarray, message: str) -> None:
    family = yolo(2)
    with pytest.raises(UsageError, match=message):
        family.postprocess(rows, [family.transform((64, 64))])


def test_what_is_not_a_number_is_not_found() -> None:
    family = yolo(2)
    rows = np.full((1, 3, 7), np.nan, np.float32)
    rows[0, 1] = [32, 32, 20, 10, 0.9, 0.8, np.nan]
    (seen,) = family.postprocess(rows, [family.transform((64, 64))])
    assert seen.labels.tolist() == [0]
    empty = np.zeros((1, 0, 7), np.float32)
    assert len(family.postprocess(empty, [family.transform((64, 64))])[0]) == 0


def test_networks_without_a_family_say_so() -> None:
    nn = pytest.importorskip("mindspore").nn
    from mshub_ssd.pipeline import Pipeline

    with pytest.raises(UsageError, match="no configuration of a known family"):
        Pipeline.of_cell(nn.ReLU())
