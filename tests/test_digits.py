"""The digit scenes, and the detector that ships with the package."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mshub_ssd as mshub
from mshub_ssd import engines
from mshub_ssd.errors import UsageError
from mshub_ssd.networks.ssd.boxes import iou

ROOT = Path(__file__).resolve().parents[1]
UID = "mshub/1.0/ssdmobilenetv2_digits"

pytest.importorskip("sklearn")
pytest.importorskip("cv2")


@pytest.fixture(scope="module", autouse=True)
def examples_on_the_path() -> Iterator[None]:
    sys.path.insert(0, str(ROOT / "examples"))
    yield
    with contextlib.suppress(ValueError):
        sys.path.remove(str(ROOT / "examples"))


@pytest.fixture(scope="module")
def train_digits(examples_on_the_path: None) -> Any:
    pytest.importorskip("mindspore")
    pytest.importorskip("pycocotools")
    import train_digits

    return train_digits


@pytest.fixture(scope="module")
def network() -> Any:
    pytest.importorskip("mindspore")
    return mshub.load(UID)


# ------------------------------------------------------------------------------------------------ scenes


def test_training_and_held_out_digits_are_apart() -> None:
    from digits_scenes import load_digits

    training, held_out = load_digits()
    assert len(training.images) == 1437
    assert len(held_out.images) == 360
    assert not set(training.indices) & set(held_out.indices)
    # No digit's picture occurs on both sides, either.
    seen = {digit.tobytes() for digit in training.images}
    assert not any(digit.tobytes() in seen for digit in held_out.images)
    assert set(held_out.labels) == set(training.labels) == set(range(10))
    again, _ = load_digits()
    np.testing.assert_array_equal(again.indices, training.indices)


@pytest.mark.parametrize("name", ["TRAINING", "HELD_OUT", "ANOTHER_WAY"])
def test_a_seed_stands_for_the_same_scenes(name: str) -> None:
    import digits_scenes

    _, digits = digits_scenes.load_digits()
    style = getattr(digits_scenes, name)
    first = list(digits_scenes.scenes(digits, style, 5, seed=3))
    for one, two in zip(first[2:], digits_scenes.scenes(digits, style, 3, seed=3, start=2), strict=True):
        np.testing.assert_array_equal(one.image, two.image)
        np.testing.assert_array_equal(one.boxes, two.boxes)
    other = next(digits_scenes.scenes(digits, style, 1, seed=4))
    assert first[0].image.shape != other.image.shape or (first[0].image != other.image).any()


def test_held_out_scenes_are_as_promised() -> None:
    from digits_scenes import HELD_OUT, load_digits, scenes

    _, digits = load_digits()
    relative, brighter, overlaps = [], [], 0
    for scene in scenes(digits, HELD_OUT, 60, seed=5):
        height, width = scene.image.shape[:2]
        assert scene.image.dtype == np.uint8
        assert scene.image.shape[2] == 3
        boxes = scene.boxes
        assert len(boxes) == len(scene.labels)
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2] <= width).all()
        assert (boxes[:, 3] <= height).all()
        sizes = boxes[:, 2:] - boxes[:, :2]
        relative += (sizes.max(axis=1) / min(height, width)).tolist()
        pairs = iou(boxes, boxes)[~np.eye(len(boxes), dtype=bool)]
        assert pairs.max(initial=0) < 0.2
        overlaps += int((pairs > 0).any())
        for x1, y1, x2, y2 in boxes.astype(int):
            patch = scene.image[y1:y2, x1:x2].astype(float)
            brighter.append(patch.mean() > np.median(scene.image))
    # From a sixth to a half of the picture's side, up to the rounding of a pixel.
    assert 1 / 6 - 0.01 < min(relative) < 0.2
    assert 0.45 < max(relative) < 0.5 + 0.01
    # Light on dark and dark on light, some of it overlapping.
    assert 0.25 < np.mean(brighter) < 0.75
    assert overlaps >= 5


def test_boxes_are_the_tight_bounds_of_the_ink() -> None:
    from digits_scenes import HELD_OUT, load_digits, scenes

    _, digits = load_digits()
    plain = dataclasses.replace(
        HELD_OUT,
        backgrounds=("plain",),
        noise=0,
        colour=0,
        counts=(1, 1),
        contrasts=(0.9, 0.9),
        dark_ink=0,
    )
    for scene in scenes(digits, plain, 25, seed=6):
        grey = scene.image[:, :, 0].astype(float)
        ink = (grey - np.median(grey)) / (grey.max() - np.median(grey)) > 0.3
        rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        expected = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        # A digit's darkest cell may be a little below full ink: a pixel of slack.
        np.testing.assert_allclose(scene.boxes[0], expected, atol=3)


def test_a_batch_for_training_fits_the_network(train_digits: Any) -> None:
    from mshub_ssd.networks.ssd.boxes import decode
    from mshub_ssd.training import Augmentation, Batches, Target

    anchors = np.array([[0.25, 0.25, 0.3, 0.2], [0.75, 0.75, 0.3, 0.2]], np.float32).repeat(40, axis=0)
    target = Target(96, anchors, prior_scaling=(0.1, 0.2), mean=(0, 0, 0), std=(1, 1, 1))
    batches = Batches(train_digits.Scenes(40, seed=1), target, 4, 1, Augmentation(crop=0, zoom_out=0, colour=0))
    pictures, locations, labels = batches.batch(2)
    assert pictures.shape == (4, 3, 96, 96)
    assert labels.shape == (4, 80)
    assert labels.max() <= 10
    boxes = decode(locations, anchors, clip=False)[labels > 0]
    assert len(boxes)
    assert (boxes > -1e-4).all()
    assert (boxes < 1 + 1e-4).all()
    for one, two in zip((pictures, locations, labels), batches.batch(2), strict=True):
        np.testing.assert_array_equal(one, two)


# ------------------------------------------------------------------------------------- the shipped detector


def test_card_and_script_name_the_same_classes(train_digits: Any) -> None:
    card = mshub.info(UID)
    assert card.network is not None
    assert list(card.classes or ()) == train_digits.CLASSES == list(train_digits.Scenes(1, seed=1).classes)


def test_the_checkpoint_is_small_and_holds_the_network_only() -> None:
    path = mshub.fetch(UID)
    assert path.stat().st_size <= 4_000_000
    pytest.importorskip("mindspore")
    weights = mshub.load_weights(UID)
    assert sum(parameter.size for parameter in weights.values()) * 4 > 0.95 * path.stat().st_size
    assert not [name for name in weights if "moment" in name.split(".")[0] or name.startswith("network.")]


def test_its_figures_are_those_of_the_card(train_digits: Any) -> None:
    stated = {metric.name: float(metric.value) for metric in mshub.info(UID).metrics}
    figures = train_digits.evaluate(mshub.compile(UID), train_digits.HELD_OUT, 500, quiet=True)
    assert figures.scenes == 500
    assert figures.map50 == pytest.approx(stated["mAP@0.5"], abs=1e-3)
    assert figures.map == pytest.approx(stated["mAP@[.5:.95]"], abs=1e-3)
    if engines.has_bf16():
        rough = train_digits.evaluate(mshub.compile(UID, precision="bf16"), train_digits.HELD_OUT, 500, quiet=True)
        assert rough.map50 == pytest.approx(figures.map50, abs=3e-3)
        assert rough.map == pytest.approx(figures.map, abs=3e-3)
    else:
        with pytest.raises(UsageError, match="bf16"):
            mshub.compile(UID, precision="bf16")


def test_it_holds_up_on_scenes_made_another_way(train_digits: Any, network: Any) -> None:
    compiled = mshub.compile(network, "mindspore")
    figures = train_digits.evaluate(compiled, train_digits.ANOTHER_WAY, 30, seed=78, quiet=True)
    assert figures.map50 >= 0.97


def test_it_reads_the_demo_picture(train_digits: Any, network: Any) -> None:
    from digits_scenes import demo_scene

    picture = ROOT / "mshub_ssd" / "cli" / "demo_digits.png"
    found = mshub.detect(network, picture)
    truth = demo_scene()
    assert len(found.boxes) == len(truth.boxes)
    best = iou(truth.boxes[:, [1, 0, 3, 2]], found.boxes[:, [1, 0, 3, 2]])
    assert best.max(axis=1).min() > 0.6
    assert [found.names[i] for i in best.argmax(axis=1)] == [str(label) for label in truth.labels]
