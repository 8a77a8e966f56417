"""From pictures to inputs, and from the outputs of detectors to detections: preprocessing, decoding, suppression."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tinydetector import config, outputs, postprocess

from mshub_ssd import families
from mshub_ssd.errors import ImageError, UsageError
from mshub_ssd.families.candidates import pairs_above
from mshub_ssd.families.nms import class_nms
from mshub_ssd.networks.ssd.anchors import PyramidAnchors
from mshub_ssd.networks.ssd.boxes import encode
from mshub_ssd.networks.ssd.config import SSDConfig
from mshub_ssd.pictures import normalize, resize
from mshub_ssd.results import COCO_CLASSES

GOLDEN = Path(__file__).parent / "data" / "nms_golden.npz"


def nms(
    boxes: np.ndarray, scores: np.ndarray, limit: float, max_boxes: int | None = None, pixel_offset: float = 1.0
) -> np.ndarray:
    """The kept ones among boxes of one class."""
    rows = np.arange(len(boxes))
    return class_nms(
        boxes, rows, np.zeros_like(rows), scores, limit, max_per_class=max_boxes, pixel_offset=pixel_offset
    )


def select(cfg: SSDConfig, raw: tuple[np.ndarray, np.ndarray], image_size: tuple[int, int], threshold: float = 0.1):
    family = families.SSD(cfg)
    options = family.options(score_threshold=threshold, max_detections=None)
    return family.select(raw, family.transform(image_size), options)


def preprocess(image: np.ndarray, cfg: SSDConfig) -> np.ndarray:
    return families.of(cfg).preprocess(image)[0]


def slow_nms(boxes: np.ndarray, scores: np.ndarray, limit: float, most: int, one: float) -> list[int]:
    """The textbook loop, one pair at a time, every number a float32."""
    f = np.float32
    order = sorted(range(len(scores)), key=lambda i: (scores[i], i), reverse=True)
    area = [f(f(b[2] - b[0]) + f(one)) * f(f(b[3] - b[1]) + f(one)) for b in boxes]
    kept: list[int] = []
    for i in order:
        good = True
        for j in kept:
            a, b = boxes[i], boxes[j]
            h = max(f(0), f(f(min(a[2], b[2]) - max(a[0], b[0])) + f(one)))
            w = max(f(0), f(f(min(a[3], b[3]) - max(a[1], b[1])) + f(one)))
            inter = f(h * w)
            union = f(f(area[i] + area[j]) - inter)
            if union != 0 and f(inter / union) > f(limit):
                good = False
                break
        if good and len(kept) < most:
            kept.append(i)
    return kept


# --- suppression


def test_golden_post_processing_is_reproduced_exactly() -> None:
    with np.load(GOLDEN) as data:
        golden = {name: data[name] for name in data.files}
    boxes = golden["boxes"] * np.tile(golden["image_hw"], 2)
    rows, classes, values, _ = pairs_above(golden["scores"][:, 1:], float(golden["min_score"]))
    kept = class_nms(
        boxes, rows, classes, values, float(golden["nms_threshold"]), max_per_class=int(golden["max_boxes"])
    )
    assert np.array_equal(rows[kept], golden["det_index"])
    assert np.array_equal(classes[kept] + 1, golden["det_classes"])
    np.testing.assert_allclose(boxes[rows[kept]], golden["det_boxes"], atol=0.01, rtol=0)
    np.testing.assert_allclose(values[kept], golden["det_scores"], atol=1e-4, rtol=0)


def test_golden_through_the_whole_detector_with_encoded_boxes() -> None:
    with np.load(GOLDEN) as data:
        golden = {name: data[name] for name in data.files}
    spec = PyramidAnchors(128, (8,))
    count = len(spec.boxes())
    cfg = SSDConfig("golden", 128, 81, COCO_CLASSES, spec)
    loc, scores = np.zeros((1, count, 4), np.float32), np.zeros((1, count, 81), np.float32)
    loc[0, :1500] = encode(golden["boxes"], spec.boxes()[:1500])
    scores[0, :1500] = golden["scores"]
    found = select(cfg, (loc, scores), (480, 640))
    for cls in range(1, 81):
        ours, theirs = found.classes == cls, golden["det_classes"] == cls
        assert set(found.anchors[ours]) == set(golden["det_index"][theirs])
        np.testing.assert_allclose(found.boxes[ours], golden["det_boxes"][theirs][:, [1, 0, 3, 2]], atol=0.01, rtol=0)
        np.testing.assert_allclose(found.scores[ours], golden["det_scores"][theirs], atol=1e-4, rtol=0)
    assert found.classes.tolist() == sorted(found.classes.tolist())


coordinate = st.integers(-3, 12).map(float) | st.floats(-2, 12, width=32)
score = st.sampled_from([0.25, 0.5, 0.75]) | st.floats(0, 1, width=32)


@settings(max_examples=150)
@given(
    rows=st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate, score), max_size=40),
    limit=st.sampled_from([0.0, 0.3, 0.5, 0.6, 1.0]),
    most=st.integers(1, 12),
    one=st.sampled_from([0.0, 1.0]),
)
def test_nms_agrees_with_the_textbook_loop(rows: list[tuple[float, ...]], limit: float, most: int, one: float) -> None:
    table = np.asarray(rows, dtype=np.float32).reshape(-1, 5)
    got = nms(table[:, :4], table[:, 4], limit, max_boxes=most, pixel_offset=one)
    assert got.tolist() == slow_nms(table[:, :4], table[:, 4], limit, most, one)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("most", [7, 100, 4000])
def test_nms_over_many_windows_agrees_with_the_plain_loop(ties: bool, most: int) -> None:
    rng = np.random.default_rng(5)
    # Few distinct places, so that whole windows are suppressed and the best come from everywhere.
    corner = rng.uniform(0, 100, (60, 2))[rng.integers(0, 60, 9000)] + rng.normal(0, 0.7, (9000, 2))
    boxes = np.concatenate([corner, corner + 8], axis=1).astype(np.float32)
    scores = (rng.integers(0, 50, 9000) / 64 if ties else rng.random(9000)).astype(np.float32)
    one = np.float32(1)
    size = boxes[:, 2:] - boxes[:, :2] + one
    area = size[:, 0] * size[:, 1]
    left = np.argsort(scores, kind="stable")[::-1]
    wanted: list[int] = []
    while len(left) and len(wanted) < most:
        best, left = left[0], left[1:]
        wanted.append(int(best))
        low, high = np.maximum(boxes[best, :2], boxes[left, :2]), np.minimum(boxes[best, 2:], boxes[left, 2:])
        inter = np.maximum(high - low + one, np.float32(0)).prod(axis=1)
        left = left[inter / (area[best] + area[left] - inter) <= np.float32(0.6)]
    assert np.array_equal(nms(boxes, scores, 0.6, max_boxes=most), wanted)


@pytest.mark.parametrize("ties", [False, True])
def test_nothing_is_lost_between_windows(ties: bool) -> None:
    # The best 200 lie in one place, the other 9000 apart from each other and from them.
    y, x = np.divmod(np.arange(9000), 100)
    apart = np.stack([y, x, y + 0.5, x + 0.5], axis=1) * 10 + 1000
    boxes = np.concatenate([apart, np.tile([[0.0, 0.0, 9.0, 9.0]], (200, 1))]).astype(np.float32)
    rng = np.random.default_rng(2)
    scores = np.round(rng.random(9000), 2) if ties else rng.random(9000)
    scores = np.concatenate([scores, np.full(200, 2.0)]).astype(np.float32)
    expected = [9199, *np.argsort(scores[:9000], kind="stable")[::-1].tolist()]
    # array_equal: a failure must not spend minutes on comparing long lists.
    assert np.array_equal(nms(boxes, scores, 0.6), expected)
    assert np.array_equal(nms(boxes, scores, 0.6, max_boxes=3000), expected[:3000])


def test_equal_scores_are_taken_from_the_highest_index_down() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60]], np.float32)
    assert nms(boxes, np.full(3, 0.5, np.float32), 0.6).tolist() == [2, 1]


def test_iou_threshold_is_strict_and_counts_the_last_pixel() -> None:
    # 10 x 10 and 10 x 5 pixels with the last one counted: IoU is exactly 0.5, and 0.444 in plain geometry.
    boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 4]], np.float32)
    scores = np.array([0.9, 0.8], np.float32)
    assert nms(boxes, scores, 0.5).tolist() == [0, 1]
    assert nms(boxes, scores, 0.49).tolist() == [0]
    assert nms(boxes, scores, 0.49, pixel_offset=0.0).tolist() == [0, 1]


@pytest.mark.parametrize(
    "box", [[5, 5, 5, 5], [8, 8, 2, 2], [4, 4, 3, 3], [9, 0, 3, 9]], ids=["point", "inverted", "void", "half"]
)
@pytest.mark.parametrize("one", [0.0, 1.0])
def test_degenerate_boxes_do_not_suppress_real_ones(box: list[float], one: float) -> None:
    boxes = np.array([box, box, [0, 0, 20, 20]], np.float32)
    kept = nms(boxes, np.array([0.9, 0.8, 0.7], np.float32), 0.6, pixel_offset=one).tolist()
    assert 2 in kept
    assert kept[0] == 0


def test_nan_scores_and_unbounded_boxes_are_never_kept() -> None:
    boxes = np.array([[0, 0, 9, 9], [0, np.nan, 9, 9], [0, 0, np.inf, 9], [30, 30, 39, 39]], np.float32)
    scores = np.array([np.nan, 0.9, 0.8, 0.7], np.float32)
    assert nms(boxes, scores, 0.6).tolist() == [3]
    assert len(nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.6)) == 0


def test_classes_need_not_be_sorted_and_do_not_suppress_each_other() -> None:
    boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 9]], np.float32)
    rows, classes = np.array([0, 1, 0, 1]), np.array([7, 2, 2, 7])
    values = np.array([0.5, 0.6, 0.7, 0.8], np.float32)
    assert class_nms(boxes, rows, classes, values, 0.6).tolist() == [2, 3]


def test_suppression_stays_quick_even_when_every_score_passes() -> None:
    # CPU time, since machines are busy: about 0.4 s. The bound only catches another order of growth.
    spec = PyramidAnchors(640, (8, 16, 32, 64, 128))
    cfg = SSDConfig("big", 640, 21, COCO_CLASSES[:20], spec)
    rng = np.random.default_rng(0)
    loc = rng.normal(0, 1, (51150, 4)).astype(np.float32)
    scores = rng.random((51150, 21), dtype=np.float32) * np.float32(0.8) + np.float32(0.2)
    start = time.process_time()
    assert len(select(cfg, (loc, scores), (480, 640)).scores) == 20 * 100
    loc[:, 2:] = 60  # every box becomes the whole picture
    assert len(select(cfg, (loc, scores), (480, 640)).scores) == 20
    assert time.process_time() - start < 10


# --- postprocess


def test_detections_are_ranked_named_and_in_pixels_of_the_picture() -> None:
    cfg = config()
    loc, scores = outputs(cfg, [(0, 3, 0.4), (200, 1, 0.9), (200, 2, 0.6)])
    found = postprocess(cfg, (loc[None], scores[None]), (100, 200))
    assert found.names == ("cat", "dog", "größte Kuh")
    assert found.labels.tolist() == [0, 1, 2]
    assert found.scores.tolist() == pytest.approx([0.9, 0.6, 0.4])
    assert found.boxes.dtype == found.scores.dtype == np.float32
    cy, cx, h, w = cfg.anchors[200].tolist()
    wanted = [(cx - w / 2) * 200, (cy - h / 2) * 100, (cx + w / 2) * 200, (cy + h / 2) * 100]
    assert found.boxes[0].tolist() == pytest.approx(np.clip(wanted, 0, [200, 100, 200, 100]).tolist(), abs=1e-3)
    assert found.image_size == (100, 200)
    assert found.image is None


def test_score_threshold_is_strict_in_float32_and_lower_values_are_honoured() -> None:
    cfg = config()
    at, above = np.float32(0.1), np.nextafter(np.float32(0.1), np.float32(1))
    loc, scores = outputs(cfg, [(0, 1, float(at)), (100, 1, float(above)), (300, 1, 0.05)])
    assert postprocess(cfg, (loc, scores), (64, 64)).scores.tolist() == [float(above)]
    assert len(postprocess(cfg, (loc, scores), (64, 64), score_threshold=0.04)) == 3
    assert len(postprocess(cfg, (loc, scores), (64, 64), score_threshold=1)) == 0
    assert len(postprocess(cfg, (loc, scores), (64, 64), score_threshold=0.0)) > 3


def test_max_detections_keeps_the_best_of_all_classes() -> None:
    cfg = config()
    loc, scores = outputs(cfg, [(0, 1, 0.5), (100, 2, 0.8), (300, 3, 0.6)])
    assert postprocess(cfg, (loc, scores), (64, 64), max_detections=2).names == ("dog", "größte Kuh")
    assert len(postprocess(cfg, (loc, scores), (64, 64), max_detections=50)) == 3


def test_at_most_max_per_class_are_kept_of_each_class() -> None:
    cfg = config(max_per_class=2)
    loc, scores = outputs(cfg, [(i * 60, c, 0.5 + i / 100) for i in range(6) for c in (1, 2)])
    assert sorted(postprocess(cfg, (loc, scores), (64, 64)).labels.tolist()) == [0, 0, 1, 1]


def test_decoding_few_anchors_gives_what_decoding_all_gives() -> None:
    cfg = config()
    rng = np.random.default_rng(3)
    loc = rng.normal(0, 2, (len(cfg.anchors), 4)).astype(np.float32)
    scores = rng.random((len(cfg.anchors), 4), dtype=np.float32)
    few = select(cfg, (loc, scores), (300, 500), 0.9)
    everything = select(cfg, (loc, scores), (300, 500), 0.0)
    where = {
        (int(i), int(c)): box
        for i, c, box in zip(everything.anchors, everything.classes, everything.boxes, strict=True)
    }
    shared = [(k, (int(i), int(c))) for k, (i, c) in enumerate(zip(few.anchors, few.classes, strict=True))]
    assert len(shared) > 20
    for k, key in shared:
        if key in where:
            assert few.boxes[k].tolist() == where[key].tolist()


def test_nan_outputs_are_left_out() -> None:
    cfg = config()
    loc, scores = outputs(cfg, [(0, 1, 0.9), (100, 1, math.nan), (300, 1, 0.7)])
    loc[0] = np.nan
    found = postprocess(cfg, (loc, scores), (64, 64))
    assert found.scores.tolist() == pytest.approx([0.7])


def test_wrong_shapes_say_what_was_expected() -> None:
    cfg = config()
    loc, scores = outputs(cfg, [])
    count = len(cfg.anchors)
    for bad_loc, bad_scores, named in [
        (loc[:-1], scores, f"[{count}, 4]"),
        (loc, scores[:, :-1], f"[{count}, 4] or [1, {count}, 4]"),
        (np.stack([loc, loc]), scores, "pred_loc[i]"),
        (scores[:, :3], scores, "pred_loc"),
        (loc.astype(str), scores, "numbers"),
    ]:
        with pytest.raises(UsageError) as caught:
            postprocess(cfg, (bad_loc, bad_scores), (64, 64))
        assert named in str(caught.value)


def test_raw_logits_are_refused_instead_of_being_shown_as_probabilities() -> None:
    cfg = config()
    loc, scores = outputs(cfg, [(0, 1, 3.5)])
    with pytest.raises(UsageError, match=r"set_train\(False\)"):
        postprocess(cfg, (loc, scores), (64, 64))


@pytest.mark.parametrize("bad", [-0.1, 1.5, math.nan, "0.5", True])
def test_score_threshold_outside_of_probabilities_is_refused(bad: object) -> None:
    cfg = config()
    with pytest.raises(UsageError, match="score_threshold"):
        postprocess(cfg, outputs(cfg, []), (64, 64), score_threshold=bad)


@pytest.mark.parametrize("bad", [0, -3, 2.5, True])
def test_senseless_max_detections_is_refused(bad: object) -> None:
    cfg = config()
    with pytest.raises(UsageError, match="max_detections"):
        postprocess(cfg, outputs(cfg, []), (64, 64), max_detections=bad)


@pytest.mark.parametrize("bad", [(0, 5), (5,), (5, 5, 3), (5.5, 5), "ab", None, (True, 5)])
def test_senseless_image_size_is_refused(bad: object) -> None:
    cfg = config()
    with pytest.raises(UsageError, match="image_size"):
        postprocess(cfg, outputs(cfg, []), bad)


# --- preprocessing


def test_preprocess_against_a_hand_computation() -> None:
    # Doubling one row of two pixels: bilinear with half-pixel centres weighs 1, 3/4, 1/4, 0.
    cfg = config(image_size=4, mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 8.0))
    image = np.array([[[0, 100, 200], [40, 60, 200]]], np.uint8)
    got = preprocess(image, cfg)
    assert got.shape == (1, 3, 4, 4)
    assert got.dtype == np.float32
    rows = [[(v - 10) / 2 for v in (0, 10, 30, 40)], [(v - 20) / 4 for v in (100, 90, 70, 60)], [21.25] * 4]
    for channel, row in enumerate(rows):
        assert got[0, channel].tolist() == [row] * 4


def test_preprocess_is_float32_arithmetic_on_the_uint8_resize() -> None:
    image = np.random.default_rng(0).integers(0, 256, (97, 131, 3), np.uint8)
    cfg = config()
    small = resize(image, 64, 64)
    mean, std = (np.asarray(v, np.float32) for v in (cfg.mean, cfg.std))
    wanted = ((small.astype(np.float32) - mean) / std).transpose(2, 0, 1)[None]
    assert np.array_equal(preprocess(image, cfg), wanted)
    assert np.array_equal(normalize(small, cfg.mean, cfg.std), wanted)
    assert preprocess(image, cfg).flags.c_contiguous


def test_preprocess_refuses_what_is_no_rgb_picture() -> None:
    with pytest.raises(ImageError, match="uint8"):
        preprocess(np.zeros((4, 4, 3), np.float32), config())
