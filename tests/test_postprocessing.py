"""Post-processing against a plain way: the same detections for every threshold, cap and choice of classes."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shelf import NO_SOCKETS
from tinydetector import config, postprocess
from without import run_without

import mshub_ssd as mshub
from mshub_ssd import engines, families, pictures
from mshub_ssd.errors import MshubError, UsageError
from mshub_ssd.families import candidates
from mshub_ssd.families.base import softmax
from mshub_ssd.families.candidates import best_pairs, pairs_above
from mshub_ssd.families.openmmlab import flatten
from mshub_ssd.networks.ssd import boxes as coding
from mshub_ssd.networks.ssd.anchors import PyramidAnchors
from mshub_ssd.networks.ssd.config import SSDConfig, class_names
from mshub_ssd.networks.ssd.openmmlab_config import OpenMMLabConfig, StridedAnchors
from mshub_ssd.networks.ssd.openmmlab_config import decode as decode_deltas
from mshub_ssd.results import Detections

F = np.float32
Rows = tuple[list[np.ndarray], list[np.float32], list[int]]


def suppress(boxes: np.ndarray, scores: np.ndarray, limit: float, most: int, offset: float) -> list[int]:
    """The kept ones of one class: the best that is left, again and again, and out with what overlaps it."""
    one = F(offset)
    size = boxes[:, 2:] - boxes[:, :2] + one
    area = size[:, 0] * size[:, 1]
    left = np.argsort(scores, kind="stable")[::-1]
    left = left[np.isfinite(boxes[left]).all(axis=1)]
    kept: list[int] = []
    while len(left) and len(kept) < most:
        best, left = int(left[0]), left[1:]
        kept.append(best)
        low, high = np.maximum(boxes[best, :2], boxes[left, :2]), np.minimum(boxes[best, 2:], boxes[left, 2:])
        inter = np.maximum(high - low + one, F(0)).prod(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            left = left[~(inter / (area[best] + area[left] - inter) > F(limit))]
    return kept


def ranked(found: Rows, names: tuple[str, ...], size: tuple[int, int], cap: int | None) -> Detections:
    boxes, scores, labels = found
    return Detections.ranked(
        np.asarray(boxes, F).reshape(-1, 4), np.asarray(scores, F), np.asarray(labels, int), names, size,
        max_detections=cap,
    )  # fmt: skip


def plain_ssd(
    cfg: SSDConfig, raw: tuple, size: tuple[int, int], threshold: float, iou: float, labels: list[int], cap: int | None
) -> Detections:
    """Every box decoded, every class sorted and suppressed as a whole, and only then the best of all."""
    offsets, scores = raw
    high, wide = size
    boxes = coding.decode(offsets, cfg.anchors, cfg.prior_scaling)[:, [1, 0, 3, 2]] * F([wide, high, wide, high])
    limit = F(threshold)
    if cfg.activation == "none":
        with np.errstate(divide="ignore"):
            limit = F(np.log(threshold / (1 - threshold))) if threshold < 1 else F(np.inf)
    found: Rows = ([], [], [])
    for label in labels:
        rows = np.flatnonzero(scores[:, label + 1] > limit)
        values = scores[rows, label + 1]
        kept = suppress(boxes[rows], values, iou, cfg.max_per_class, 1.0)
        if cfg.activation == "none":
            values = (0.5 + 0.5 * np.tanh(0.5 * values)).astype(F)
        found[0].extend(boxes[rows][kept])
        found[1].extend(values[kept])
        found[2].extend([label] * len(kept))
    return ranked(found, cfg.class_names, size, cap)


def assert_equal(got: Detections, wanted: Detections) -> None:
    assert got.names == wanted.names
    assert np.array_equal(got.scores, wanted.scores)
    assert np.array_equal(got.boxes, wanted.boxes)


@st.composite
def outputs(draw: st.DrawFn, count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes that overlap little or much, scores with many ties or few, low or high on the whole."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([0.0, 0.3, 2.0, 30.0]))
    offsets = rng.normal(0, spread, (count, 4)).astype(F)
    if draw(st.booleans()):
        offsets[:, 2:] = 40  # boxes larger than the picture: nearly all are the same
    scores = rng.random((count, classes)) ** draw(st.sampled_from([0.2, 1.0, 8.0]))
    levels = draw(st.sampled_from([2, 10, 1000, 0]))
    if levels:
        scores = np.round(scores * levels) / levels
    if draw(st.booleans()):
        scores[:, draw(st.integers(1, classes - 1))] *= 0.01
    return offsets, scores.astype(F)


thresholds = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]) | st.floats(0, 1)
caps = st.sampled_from([1, 3, 20, 100, 1000, None])
overlaps = st.sampled_from([0.0, 0.3, 0.6, 1.0])


@settings(max_examples=150, deadline=None)
@given(data=st.data(), threshold=thresholds, cap=caps, iou=overlaps, logits=st.booleans())
def test_ssd_finds_what_the_plain_way_finds(data, threshold: float, cap: int | None, iou: float, logits: bool) -> None:
    cfg = config(max_per_class=data.draw(st.sampled_from([2, 100])), activation="none" if logits else "sigmoid")
    raw = data.draw(outputs(len(cfg.anchors), cfg.num_classes))
    if logits:
        # Many a probability is shared by logits that differ.
        raw = (raw[0], (raw[1] - F(0.3)) * F(data.draw(st.sampled_from([1.0, 12.0, 30.0]))))
    chosen = data.draw(st.none() | st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True))
    labels = [0, 1, 2] if chosen is None else sorted(chosen)
    got = postprocess(
        cfg, raw, (97, 131), score_threshold=threshold, iou_threshold=iou, classes=chosen, max_detections=cap
    )
    assert_equal(got, plain_ssd(cfg, raw, (97, 131), threshold, iou, labels, cap))


def test_unequal_logits_of_one_probability_are_not_decided_by_their_logits() -> None:
    # All round to the probability 1; the first class comes first, although its logits are the lowest.
    cfg = config(activation="none")
    rng = np.random.default_rng(3)
    logits = rng.random((len(cfg.anchors), 4)) + np.asarray([0, 20, 30, 40])
    raw = rng.normal(0, 1, (len(cfg.anchors), 4)).astype(F), logits.astype(F)
    got = postprocess(cfg, raw, (97, 131), max_detections=1)
    assert got.names == ("cat",)
    assert_equal(got, plain_ssd(cfg, raw, (97, 131), 0.1, 0.6, [0, 1, 2], 1))


@pytest.mark.parametrize("cap", [1, 100, 700, None])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("crowded", [False, True])
def test_large_outputs_are_the_plain_ones(cap: int | None, ties: bool, crowded: bool) -> None:
    cfg = SSDConfig("large", 320, 9, class_names(9), PyramidAnchors(320, (8, 16, 32, 64, 128)))
    rng = np.random.default_rng(7)
    count = len(cfg.anchors)
    scores = rng.random((count, 9)) * np.linspace(0.3, 1, 9)
    if ties:
        scores = np.round(scores * 40) / 40
    if crowded:
        # The best 3,000 of each class lie in one place, so that the first look at the best is not enough.
        offsets = rng.normal(0, 0.3, (count, 4))
        offsets[scores.max(axis=1) > 0.6] = [0, 0, 60, 60]
    else:
        offsets = rng.normal(0, 1, (count, 4))
    raw = offsets.astype(F), scores.astype(F)
    got = postprocess(cfg, raw, (480, 640), max_detections=cap)
    assert_equal(got, plain_ssd(cfg, raw, (480, 640), 0.1, 0.6, list(range(8)), cap))


def plain_openmmlab(
    cfg: OpenMMLabConfig, raw: tuple, size: tuple[int, int], threshold: float, iou: float, labels: list[int],
    cap: int | None,
) -> Detections:  # fmt: skip
    scale = F([cfg.image_size / size[1], cfg.image_size / size[0]] * 2)
    deltas = np.concatenate([flatten(level, 4) for level in raw[1]])
    boxes = decode_deltas(deltas, cfg.anchors, cfg.delta_stds, image_size=cfg.image_size) / scale
    taken: list[tuple[int, int, np.float32]] = []
    start = 0
    for level in raw[0]:
        table = softmax(flatten(level, cfg.num_classes))[:, :-1]
        pairs = [(start + r, c, table[r, c]) for r, c in zip(*np.nonzero(table > F(threshold)), strict=True)]
        taken += sorted(pairs, key=lambda pair: -pair[2])[: cfg.nms_pre]
        start += len(table)
    taken = [pair for pair in taken if (boxes[pair[0], 2:] > boxes[pair[0], :2]).all()]
    found: Rows = ([], [], [])
    for label in labels:
        own = [(row, score) for row, other, score in taken if other == label]
        own_boxes = np.asarray([boxes[row] for row, _ in own], F).reshape(-1, 4)
        kept = suppress(own_boxes, np.asarray([score for _, score in own], F), iou, len(own), 0.0)
        found[0].extend(own_boxes[kept])
        found[1].extend(own[i][1] for i in kept)
        found[2].extend([label] * len(kept))
    return ranked(found, cfg.class_names, size, cap)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), threshold=thresholds, cap=caps, iou=overlaps)
def test_openmmlab_finds_what_the_plain_way_finds(data, threshold: float, cap: int | None, iou: float) -> None:
    spec = StridedAnchors(64, (6, 3, 1), (11, 22, 64), ((10, 20), (20, 40), (40, 60)), ((2,), (2, 3), (2,)))
    cfg = OpenMMLabConfig("small", 64, 4, ("a", "b", "c"), spec, nms_pre=data.draw(st.sampled_from([5, 60, 1000])))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    grid = data.draw(st.sampled_from([1, 4, 1000]))
    gain = data.draw(st.sampled_from([1, 5, 30]))
    background = data.draw(st.sampled_from([0, 3, 20]))
    levels = list(zip(spec.per_cell, spec.feature_sizes, strict=True))
    scores = [
        np.round(rng.normal(0, 1, (n * 4, side, side)) * grid).astype(F) / F(grid) * F(gain) for n, side in levels
    ]
    for score in scores:
        score[3::4] += background
    deltas = [rng.normal(0, data.draw(st.sampled_from([0.5, 20])), (n * 4, side, side)).astype(F) for n, side in levels]
    chosen = data.draw(st.none() | st.just([2, 0]))
    got = postprocess(
        cfg, (scores, deltas), (50, 90), score_threshold=threshold, iou_threshold=iou, classes=chosen,
        max_detections=cap,
    )  # fmt: skip
    labels = [0, 1, 2] if chosen is None else [0, 2]
    published = cfg.max_detections if cap is None else cap
    assert_equal(got, plain_openmmlab(cfg, (scores, deltas), (50, 90), threshold, iou, labels, published))


@pytest.mark.parametrize("cap", [30, 2000])
def test_many_crowded_maps_are_the_plain_ones(cap: int) -> None:
    spec = StridedAnchors(64, (16, 8, 4), (4, 8, 16), ((5, 10), (10, 20), (20, 40)), ((2,), (2, 3), (2,)))
    cfg = OpenMMLabConfig("large", 64, 4, ("a", "b", "c"), spec, nms_pre=5000)
    rng = np.random.default_rng(4)
    scores, deltas = [], []
    for count, side in zip(spec.per_cell, spec.feature_sizes, strict=True):
        logits = rng.normal(0, 1, (count, 4, side, side))
        moves = rng.normal(0, 1, (count, 4, side, side))
        # The best of all lie in one place, so that the first look at the best is not enough.
        moves.transpose(0, 2, 3, 1)[(logits[:, :3] - logits[:, 3:]).max(axis=1) > 0.3] = [0, 0, 40, 40]
        scores.append(logits.reshape(-1, side, side).astype(F))
        deltas.append(moves.reshape(-1, side, side).astype(F))
    got = postprocess(cfg, (scores, deltas), (50, 90), score_threshold=0.0, max_detections=cap)
    assert len(got) >= 30
    assert_equal(got, plain_openmmlab(cfg, (scores, deltas), (50, 90), 0.0, 0.45, [0, 1, 2], cap))


# --- candidates


@pytest.mark.parametrize("threshold", [0.1, 0.9, 1.0, -np.inf, np.inf])
@pytest.mark.parametrize("background", [None, 0, 6])
def test_pairs_above_come_row_by_row_without_the_background(threshold: float, background: int | None) -> None:
    scores = np.random.default_rng(0).random((50, 7), dtype=np.float32)
    scores[3, 3], scores[4, 4], scores[5, 5] = np.nan, np.inf, -np.inf
    pairs = pairs_above(scores, threshold, background=background)
    cells = itertools.product(range(50), range(7))
    expected = [(r, c) for r, c in cells if c != background and scores[r, c] > np.float32(threshold)]
    assert list(zip(pairs.rows.tolist(), pairs.columns.tolist(), strict=True)) == expected
    assert np.array_equal(pairs.scores, scores[pairs.rows, pairs.columns])
    assert pairs.bound == -np.inf


@pytest.mark.parametrize("block", [14, 700, 1 << 18])
@pytest.mark.parametrize("levels", [3, 50, 10**6])
def test_the_best_pairs_are_all_that_reach_the_bound(block: int, levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "_BLOCK", block)
    scores = (np.random.default_rng(1).integers(0, levels, (3000, 7)) / levels).astype(np.float32)
    everything = pairs_above(scores, 0.2, background=2)
    for best in (1, 100, 5000, 20000):
        pairs = pairs_above(scores, 0.2, background=2, best=best)
        wanted = everything.scores >= max(pairs.bound, 0)
        assert np.array_equal(pairs.rows, everything.rows[wanted])
        assert np.array_equal(pairs.columns, everything.columns[wanted])
        assert len(pairs.rows) >= min(best, len(everything.rows))
        assert np.count_nonzero(pairs.scores > pairs.bound) < best or pairs.bound == -np.inf


def test_ever_more_pairs_come_until_all_are_there() -> None:
    scores = np.random.default_rng(1).random((3000, 7), dtype=np.float32)
    sizes = [len(pairs.rows) for pairs in best_pairs(scores, 0.1, 1)]
    assert sizes[0] < 300
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == (scores > np.float32(0.1)).sum()
    assert len(list(best_pairs(scores, 0.1, None))) == 1


def test_few_detections_cost_few_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Counted, since machines are busy: of 51,150 anchors with 80 classes above the threshold.
    cfg = SSDConfig("big", 640, 81, class_names(81), PyramidAnchors(640, (8, 16, 32, 64, 128)))
    rng = np.random.default_rng(0)
    raw = rng.normal(0, 1, (51150, 4)).astype(F), rng.random((51150, 81), dtype=F)
    decoded: list[int] = []

    def counting(offsets: np.ndarray, *rest: object) -> np.ndarray:
        decoded.append(len(offsets))
        return coding.decode(offsets, *rest)

    monkeypatch.setattr("mshub_ssd.families.ssd.decode", counting)
    family = families.of(cfg)
    found = family.result(raw, family.transform((480, 640)), family.options())
    assert len(found) == 100
    assert sum(decoded) < 2000


# --- by a uid: the card alone is enough

DIGITS = "mshub/1.0/ssdmobilenetv2_digits"
DEMO = Path(mshub.__file__).parent / "cli" / "demo_digits.png"


def unreachable(folder: Path, uid: str) -> None:
    """The digit detector's card, with a checkpoint that cannot be had."""
    known = mshub.info(DIGITS)
    assert known.path is not None
    path = folder / f"{uid}.md"
    path.parent.mkdir(parents=True)
    text = known.path.read_text(encoding="utf-8")
    path.write_text(text.replace(known.assets[0].url, "<http://127.0.0.1:9/digits.ckpt>"), encoding="utf-8")


def test_a_uid_needs_no_checkpoint_no_engine_and_no_mindspore(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    unreachable(tmp_path / "cards", "own/1.0/digits")
    compiled = mshub.compile(DIGITS, "openvino")
    picture = pictures.read_image(DEMO)
    outputs = compiled(families.of(compiled.config).preprocess(picture)[0])
    np.savez(tmp_path / "outputs.npz", *outputs)
    printed = run_without(
        {"mindspore", "openvino", "onnxruntime", "cv2"},
        NO_SOCKETS
        + f"""
import json, os, sys
os.environ["MSHUB_HOME"], os.environ["MSHUB_REGISTRY"] = {str(tmp_path / "home")!r}, {str(tmp_path / "cards")!r}
import numpy
import mshub_ssd as mshub
outputs = tuple(numpy.load({str(tmp_path / "outputs.npz")!r}).values())
for size in ({picture.shape[:2]}, [{picture.shape[:2]}]):
    found = mshub.postprocess("own/1.0/digits", outputs, size, max_detections=100)
    print(json.dumps((found[0] if isinstance(found, list) else found).to_dict()))
print([name for name in sys.modules if name.partition(".")[0] in ("mindspore", "openvino", "onnxruntime")])
print(os.path.exists(os.environ["MSHUB_HOME"] + "/v1/blobs"))
""",
    ).splitlines()
    want = mshub.detect(DIGITS, DEMO, engine="openvino").to_dict()
    assert [json.loads(line) for line in printed[:2]] == [json.loads(json.dumps(want))] * 2
    assert printed[2:] == ["[]", "False"]


def test_the_configuration_of_a_uid_is_made_once_and_follows_its_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    real = engines.record
    monkeypatch.setattr(engines, "record", lambda key, *rest: told.append(key) or real(key, *rest))
    unreachable(tmp_path, "own/1.0/digits")
    outputs = np.zeros((1, 2700, 4), np.float32), np.full((1, 2700, 11), 0.4, np.float32)
    with mshub.Hub(registry=tmp_path) as hub:
        for _ in range(3):
            found = hub.postprocess("own/1.0/digits", outputs, (160, 160), 0.3)
        assert told == ["ssd_mobilenetV2"]
        assert set(found.names) <= set("0123456789")
        path = tmp_path / "own" / "1.0" / "digits.md"
        path.write_text(path.read_text(encoding="utf-8").replace("num_classes: 11", "num_classes: 12"), "utf-8")
        with pytest.raises(MshubError):
            hub.postprocess("own/1.0/digits", outputs, (160, 160), 0.3)
    with pytest.raises(UsageError, match="closed"):
        hub.postprocess("own/1.0/digits", outputs, (160, 160))


def test_nothing_of_a_model_need_be_here() -> None:
    uid = "mindspore/1.7/ssdresnet50fpn_coco2017"
    loc, scores = np.zeros((1, 51150, 4), np.float32), np.zeros((1, 51150, 81), np.float32)
    scores[0, 7, 3] = 0.9
    with mshub.Hub(offline=True) as hub:
        found = hub.postprocess(uid, (loc, scores), (480, 640))
        assert found.names == ("car",)
        with pytest.raises(UsageError, match="pair"):
            hub.postprocess(uid, loc, (480, 640))
