"""Drawing of labelled boxes."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from PIL import ImageFont

from mshub_ssd.results import drawing
from mshub_ssd.results.drawing import colour, draw_boxes


def changed(before: np.ndarray, boxes: list[list[float]], captions: list[str] | None = None) -> np.ndarray:
    """Which pixels drawing touches."""
    names = ["cat 0.90"] * len(boxes) if captions is None else captions
    after = np.asarray(draw_boxes(before, np.float32(boxes), names, range(len(boxes))))
    assert after.shape == before.shape
    return np.any(after != before, axis=-1)


def luminance(rgb: np.ndarray) -> np.ndarray:
    value = np.asarray(rgb, float) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("ground", [0, 128, 255])
def test_only_outline_and_label_change(ground: int) -> None:
    before = np.full((240, 320, 3), ground, np.uint8)
    touched = changed(before, [[60, 80, 200, 180]])
    assert touched[80:180, 60:200].any()
    assert not touched[100:160, 80:180].any(), "the inside of the box stays as it is"
    outside = touched.copy()
    outside[80:180, 60:200] = False
    ys, xs = np.nonzero(outside)
    assert ys.min() >= 50  # the label stands right above the box,
    assert ys.max() < 80
    assert xs.min() >= 60  # from its left edge on
    assert xs.max() < 200


@pytest.mark.parametrize("ground", [0, 30, 128, 230, 255])
@pytest.mark.parametrize("label", [0, 1, 2, 5, 44])
def test_outline_is_visible_on_any_ground(ground: int, label: int) -> None:
    before = np.full((240, 320, 3), ground, np.uint8)
    after = np.asarray(draw_boxes(before, np.float32([[60, 80, 200, 180]]), [""], [label]))
    edge = luminance(after[120:140, 60:70].reshape(-1, 3))
    back = luminance(np.array([ground] * 3))
    contrast = (np.maximum(edge, back) + 0.05) / (np.minimum(edge, back) + 0.05)
    assert contrast.max() > 3


def test_label_text_has_contrast_on_every_colour() -> None:
    for label in range(300):
        ink = luminance(np.array(colour(label)))
        assert max((ink + 0.05) / 0.05, 1.05 / (ink + 0.05)) > 4.5


def test_colours_are_stable_and_distinct() -> None:
    assert colour(3) == colour(3)
    colours = [colour(label) for label in range(80)]
    assert len(set(colours)) == 80
    for one, other in pairwise(colours):
        assert np.abs(np.subtract(one, other)).sum() > 80


@pytest.mark.parametrize(
    "box", [[0, 0, 320, 240], [-50, -50, 30, 30], [300, 220, 400, 400], [319.5, 0, 320, 1], [10, 0, 20, 5]]
)
def test_labels_stay_inside_the_picture(box: list[float]) -> None:
    # A label cut off at an edge would lose its dark border there; inside it has all four sides.
    before = np.full((240, 320, 3), 255, np.uint8)
    with_label = np.asarray(draw_boxes(before, np.float32([box]), ["cat 0.90"], [0]))
    without = np.asarray(draw_boxes(before, np.float32([box]), [""], [0]))
    ys, xs = np.nonzero(np.any(with_label != without, axis=-1))
    assert xs.max() - xs.min() > 30
    left, top, right, bottom = xs.min(), ys.min(), xs.max(), ys.max()
    inside = with_label[top + 2 : bottom - 2, left + 2 : right - 2].reshape(-1, 3)
    assert (inside == colour(0)).all(axis=1).mean() > 0.3
    assert (inside < 60).all(axis=1).any(), "there is text on it"


def test_labels_of_boxes_in_one_place_do_not_cover_each_other() -> None:
    before = np.full((300, 400, 3), 255, np.uint8)
    box = [100, 100, 260, 200]
    alone = [np.asarray(draw_boxes(before, np.float32([box]), ["cat 0.90"], [label])) for label in range(3)]
    together = np.asarray(draw_boxes(before, np.float32([box] * 3), ["cat 0.90"] * 3, range(3)))
    for label in range(3):
        ink = np.array(colour(label))
        plate = (alone[label] == ink).all(axis=-1)[:100].sum()  # the part above the box
        seen = (together == ink).all(axis=-1).sum()
        assert plate > 200
        assert seen >= plate, "the outlines of the later ones are hidden, their labels are not"


def test_captions_of_any_characters_and_length_can_be_drawn() -> None:
    before = np.zeros((120, 160, 3), np.uint8)
    for caption in ["größte Kuh", "人 0.5", "🐄", "a\nb\tc", "\ud800", "", "x" * 500, "\u202eabc", "e\u0301"]:
        drawn = np.asarray(draw_boxes(before, np.float32([[20, 40, 90, 100]]), [caption], [1]))
        assert drawn.shape == before.shape
        assert drawn.any(), "at least the box is there"


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3, 3), (12, 12), (32, 32), (2000, 20)])
def test_tiny_and_narrow_pictures(size: tuple[int, int]) -> None:
    height, width = size
    before = np.full((height, width, 3), 77, np.uint8)
    assert changed(before, [[0, 0, width, height], [width / 2, 0, width, height]]).any()


def test_degenerate_and_unbounded_boxes_do_not_crash() -> None:
    before = np.zeros((100, 100, 3), np.uint8)
    changed(before, [[5, 5, 5, 5], [50, 50, 10, 10], [np.nan, 0, np.inf, 20], [500, 500, 600, 600]])
    assert not changed(before, []).any()


def test_lines_and_letters_grow_with_the_picture() -> None:
    heights = []
    for scale in (1, 4):
        before = np.full((240 * scale, 320 * scale, 3), 255, np.uint8)
        touched = changed(before, [[60 * scale, 80 * scale, 200 * scale, 180 * scale]])
        touched[80 * scale :] = False
        ys, _ = np.nonzero(touched)
        heights.append(ys.max() - ys.min() + 1)
    assert heights[1] > 2 * heights[0]


def test_pillow_without_freetype_draws_with_its_bitmap_font(monkeypatch: pytest.MonkeyPatch) -> None:
    bitmap = ImageFont.load_default_imagefont()

    def load_default(size: float | None = None) -> object:
        if size is not None:
            raise ImportError("The _imagingft C module is not installed")
        return bitmap

    monkeypatch.setattr(ImageFont, "load_default", load_default)
    drawing._font.cache_clear()
    try:
        before = np.full((120, 160, 3), 255, np.uint8)
        assert changed(before, [[20, 60, 90, 100]], ["人 größte 0.5"])[40:60, 20:60].any()
    finally:
        drawing._font.cache_clear()


def test_a_hundred_boxes_are_drawn_quickly() -> None:
    rng = np.random.default_rng(0)
    before = rng.integers(0, 256, (720, 1280, 3), np.uint8)
    start = rng.random((100, 2)) * [1100, 600]
    boxes = np.concatenate([start, start + 100], axis=1)
    began = time.process_time()
    draw_boxes(before, boxes, ["traffic light 0.55"] * 100, range(100))
    assert time.process_time() - began < 3  # about 0.05 s of CPU time
