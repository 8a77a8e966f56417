"""Detections: their rows, JSON, drawing and saving."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tinydetector import config, outputs, postprocess
from without import run_without

from mshub_ssd.errors import UsageError
from mshub_ssd.networks.ssd.config import class_names
from mshub_ssd.pictures import read_image
from mshub_ssd.results import COCO_CLASSES, Classification, ClassScore, Detection, Detections


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
    assert repr(found) == f"<2 detections in a picture of 200 x 100: cat 0.90, {rows[1].name} 0.40>"
    assert str(found).splitlines()[0] == "2 detections in a picture of 200 x 100"
    assert "0.900  cat " in str(found)


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


# --- picking


def four(image: np.ndarray | None = None) -> Detections:
    boxes = np.float32([[0, 0, 10, 10], [5.5, 5, 20.5, 20], [-3, 90, 7, 130], [60, 60, 60, 60]])
    scores = np.float32([0.9, 0.8, 0.5, 0.25])
    return Detections.ranked(boxes, scores, np.array([0, 1, 0, 2]), ("cat", "dog", "cow"), (100, 200), image=image)


def test_a_number_picks_a_detection() -> None:
    found = four()
    best = found[0]
    assert isinstance(best, Detection)
    assert (best.name, best.label, best.box) == ("cat", 0, (0, 0, 10, 10))
    assert found[-1] == found[np.int64(3)] == list(found)[3]
    for outside in (4, -5):
        with pytest.raises(IndexError, match="of 4"):
            found[outside]


@pytest.mark.parametrize(
    ("chosen", "rows"),
    [
        (slice(None), [0, 1, 2, 3]),
        (slice(1, 3), [1, 2]),
        (slice(None, None, -2), [1, 3]),
        ([3, 0], [0, 3]),
        ([-1, 3, 1], [1, 3]),
        ([True, False, True, False], [0, 2]),
        (np.array([False] * 4), []),
        ([], []),
        (np.array([2], np.uint8), [2]),
    ],
)
def test_slices_masks_and_positions_pick_a_part_that_is_still_sorted(chosen: object, rows: list[int]) -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    found = four(image)
    part = found[chosen]
    assert isinstance(part, Detections)
    assert list(part) == [list(found)[row] for row in rows]
    assert part.boxes.shape == (len(rows), 4)
    assert part.image is image
    assert part.classes == found.classes
    assert len(part.to_coco(1)) == len(rows)
    assert part.draw().size == (200, 100)


@pytest.mark.parametrize("bad", ["cat", 1.5, [0.5], [4], [-5], [True], np.zeros((4, 4), bool), None])
def test_what_picks_nothing_is_refused(bad: object) -> None:
    with pytest.raises(UsageError, match=r"where\(classes"):
        four()[bad]


def test_where_filters_by_class_and_score() -> None:
    found = four()
    assert found.where(classes="cat").labels.tolist() == [0, 0]
    assert found.where(classes=["cow", 1]).names == ("dog", "cow")
    assert found.where(classes="cat", min_score=0.5).scores.tolist() == [np.float32(0.9), 0.5]
    assert found.where(min_score=0.81).names == ("cat",)
    assert len(found.where()) == 4
    assert len(found.where(classes=[])) == 0
    for bad, told in [("cta", "'cat'"), (3, "0 to 2"), (True, "0 to 2")]:
        with pytest.raises(UsageError, match=told):
            found.where(classes=bad)
    with pytest.raises(UsageError, match="min_score"):
        found.where(min_score=float("nan"))


def test_a_mask_made_of_its_own_columns_picks() -> None:
    found = four()
    assert found[(found.scores > 0.4) & (found.labels == 0)].names == ("cat", "cat")


def test_results_cannot_be_changed_and_do_not_lock_what_they_were_made_of() -> None:
    scores = np.float32([0.5])
    boxes = np.zeros((1, 4), np.float32)
    found = Detections(boxes, scores, np.array([0]), ("cat",), (10, 10))
    for array in (found.boxes, found.scores, found.labels, found[:1].boxes):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    scores[0] = boxes[0, 0] = 0.25
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.scores = scores


def test_crops_are_the_pixels_that_boxes_touch() -> None:
    image = np.arange(100 * 200 * 3, dtype=np.uint32).astype(np.uint8).reshape(100, 200, 3)
    crops = four(image).crops()
    assert np.array_equal(crops[0], image[:10, :10])
    assert np.array_equal(crops[1], image[5:20, 5:21])
    assert np.array_equal(crops[2], image[90:, :7])
    assert np.array_equal(crops[3], image[60:61, 60:61])
    crops[0][:] = 0
    assert image[0, 0, 1] == 1
    with pytest.raises(UsageError, match="no picture"):
        four().crops()
    wild = Detections(
        np.float32([[np.nan, 0, np.inf, 5], [500, 500, 600, 600]]), np.float32([0.5, 0.4]), np.array([0, 0]),
        ("a", "a"), (100, 200), image=image,
    )  # fmt: skip
    assert [crop.shape for crop in wild.crops()] == [(5, 1, 3), (1, 1, 3)]


def test_a_table_needs_pandas_and_says_so() -> None:
    code = """
import numpy as np
from mshub_ssd.results import Detections
from mshub_ssd.errors import MissingDependencyError
try:
    Detections(np.zeros((0, 4), "f"), np.zeros(0, "f"), np.zeros(0, int), (), (1, 1)).to_pandas()
except MissingDependencyError as error:
    print(error)
"""
    assert "pip install pandas" in run_without({"pandas"}, code)


def test_a_table_has_a_row_per_detection(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever pandas makes of columns is pandas' affair.
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=dict))
    table = four().to_pandas()
    assert list(table) == ["name", "label", "score", "x1", "y1", "x2", "y2"]
    assert table["name"] == ["cat", "dog", "cat", "cow"]
    assert table["x2"].tolist() == [10, 20.5, 7, 60]
    classes = Classification(np.array([1]), ("b",), np.float32([0.5]), np.zeros((4, 4, 3), np.uint8))
    assert list(classes.to_pandas()) == ["name", "label", "score"]


def test_a_classification_is_picked_from_alike() -> None:
    found = Classification(np.array([4, 0, 2]), ("e", "a", "c"), np.float32([0.5, 0.3, 0.1]), image_size=(4, 6))
    assert found[0] == ClassScore(0.5, 4, "e")
    assert found[1:].names == ("a", "c")
    assert found[found.scores > 0.2].names == ("e", "a")
    assert found.where(classes=["c", 0]).names == ("a", "c")
    assert found.where(classes="unknown").names == ()
    assert repr(found[:1]).startswith("<1 class of a picture of 6 x 4")
    assert found.to_dict()["image"] == {"width": 6, "height": 4}
    assert found._repr_png_() is None
    with pytest.raises(UsageError, match="no picture"):
        found.draw()
    with pytest.raises(ValueError, match="read-only"):
        found.scores[0] = 1
