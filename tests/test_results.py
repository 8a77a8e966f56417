"""Detections: their rows, JSON, drawing and saving."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tinydetector import config, outputs, postprocess

from mshub_ssd.errors import UsageError
from mshub_ssd.networks.ssd.config import class_names
from mshub_ssd.pictures import read_image
from mshub_ssd.results import COCO_CLASSES, Detections


def some(image: np.ndarray | None = None) -> Detections:
    cfg = config()
    loc, scores = outputs(cfg, [(0, 3, 0.4), (200, 1, 0.9)])
    return postprocess(cfg, (loc, scores), (100, 200), image=image)


def test_rows_dict_and_repr_tell_the_same() -> None:
    found = some()
    rows = list(found)
    assert len(rows) == len(found) == 2
    assert rows[0].name == "cat"
    assert rows[0].label == 0
    back = json.loads(json.dumps(found.to_dict()))
    assert back["image"] == {"width": 200, "height": 100}
    assert np.array_equal(np.float32([row["box"] for row in back["detections"]]), found.boxes)
    assert np.array_equal(np.float32([row["score"] for row in back["detections"]]), found.scores)
    assert [row["name"] for row in back["detections"]] == list(found.names)
    assert [row["label"] for row in back["detections"]] == found.labels.tolist()
    assert repr(found).splitlines()[0] == "<2 detections in a picture of 200 x 100"
    assert "0.900  cat " in repr(found)


def test_empty_results_are_detections_too() -> None:
    cfg = config()
    found = postprocess(cfg, outputs(cfg, []), (100, 200), image=np.zeros((100, 200, 3), np.uint8))
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert found.names == ()
    assert list(found) == found.to_coco(1) == []
    assert repr(found) == "<0 detections in a picture of 200 x 100>"
    assert not np.asarray(found.draw()).any()


def test_coco_rows_use_cocos_own_ids_by_name() -> None:
    def rows(names: tuple[str, ...], labels: list[int]) -> list[dict[str, object]]:
        boxes = np.float32([[10, 20, 40, 80]] * len(labels))
        scores = np.linspace(0.9, 0.5, len(labels), dtype=np.float32)
        return Detections.ranked(boxes, scores, np.array(labels), names, (100, 100)).to_coco(17)

    got = rows(class_names(81), [0, 11, 79])
    assert [row["category_id"] for row in got] == [1, 13, 90]
    assert got[0]["bbox"] == [10, 20, 30, 60]
    assert got[0]["image_id"] == 17
    assert [row["category_id"] for row in rows(tuple(reversed(COCO_CLASSES)), [0, 79])] == [90, 1]
    assert [row["category_id"] for row in rows(tuple("0123456789"), [0, 9])] == [1, 10]
    json.dumps(got)


def test_parts_that_do_not_belong_together_are_refused() -> None:
    found = some()
    with pytest.raises(UsageError, match="do not belong together"):
        dataclasses.replace(found, names=("cat",))
    with pytest.raises(UsageError, match=r"\[100, 200, 3\]"):
        dataclasses.replace(found, image=np.zeros((200, 100, 3), np.uint8))


def test_drawing_needs_a_picture_of_the_right_size(tmp_path: Path) -> None:
    found = some()
    assert found._repr_png_() is None
    with pytest.raises(UsageError, match=r"draw\(image="):
        found.draw()
    with pytest.raises(UsageError, match=r"\[100, 200, 3\]"):
        found.draw(image=np.zeros((50, 50, 3), np.uint8))
    assert found.draw(image=np.zeros((100, 200, 3), np.uint8)).size == (200, 100)
    with pytest.raises(UsageError, match=r"draw\(image="):
        found.save(tmp_path / "out.png")


def test_save_and_notebook_give_the_drawn_picture(tmp_path: Path) -> None:
    image = np.full((100, 200, 3), 90, np.uint8)
    found = some(image)
    drawn = np.asarray(found.draw())
    assert found.image is image
    assert (image == 90).all()
    assert np.array_equal(read_image(found.save(tmp_path / "ä.png")), drawn)
    png = found._repr_png_()
    assert png is not None
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), drawn)
    found.save(tmp_path / "out.jpg")
    assert read_image(tmp_path / "out.jpg").shape == (100, 200, 3)
    with pytest.raises(UsageError, match=r"out\.png"):
        found.save(tmp_path / "out.xyz")
    with pytest.raises(UsageError, match="mkdir -p"):
        found.save(tmp_path / "none" / "out.png")


def test_a_notebook_gets_no_giant_picture() -> None:
    cfg = config()
    found = postprocess(cfg, outputs(cfg, []), (300, 4000), image=np.zeros((300, 4000, 3), np.uint8))
    assert Image.open(io.BytesIO(found._repr_png_() or b"")).size == (1600, 120)
    assert found.draw().size == (4000, 300)
