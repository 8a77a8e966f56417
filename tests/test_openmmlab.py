"""OpenMMLab's detectors against golden data: names, anchors, inputs, raw outputs, boxes and detections."""

from __future__ import annotations

import hashlib

import numpy as np
import openmmlab
import pytest
from tinydetector import postprocess

import mshub_ssd as mshub
from mshub_ssd import checkpoints, families, networks
from mshub_ssd.checkpoints.torch_names import translate
from mshub_ssd.errors import UsageError
from mshub_ssd.families.base import softmax
from mshub_ssd.families.openmmlab import flatten
from mshub_ssd.networks.ssd.openmmlab_config import decode, percent_sizes

mindspore = pytest.importorskip("mindspore")

ANCHORS = {
    "openmmlab_ssd300": "4368ea575777774c1ea7ef4a8f70ffb41baf0f580ad6827e4be9c75f00b368bf",
    "openmmlab_ssd512": "ece295156b68fc3621e0e2bc2e9ccaaa2e211c927563b2ad3c423154ef22defb",
    "openmmlab_ssdlite_mobilenetv2": "ada5ba525afce45047af30b6f294dc3922bdfe14776f66a70f4050bdc3269a37",
}
# Tolerances of the specifications: (raw outputs, relative, softmax, boxes clipped, unclipped, share matched). The
# batch norms of the last one amplify rounding.
TOLERANCE = {
    "openmmlab_ssd300": (1e-4, 1e-5, 2e-5, 5e-3, 1e-2, 1.0),
    "openmmlab_ssd512": (1e-4, 1e-5, 2e-5, 5e-3, 1e-2, 1.0),
    "openmmlab_ssdlite_mobilenetv2": (1e-3, 1e-4, 2e-4, 5e-2, 5e-2, 0.995),
}


@pytest.fixture(scope="module", params=openmmlab.KEYS)
def key(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def network(key: str):
    cell = networks.constructor(key)()
    expected = {parameter.name: (tuple(parameter.shape), np.dtype("float32")) for parameter in cell.get_parameters()}
    values, report = checkpoints.match_parameters(openmmlab.weights(key), expected)
    assert report.ok, report
    for parameter in cell.get_parameters():
        parameter.set_data(mindspore.Tensor(values[parameter.name]))
    return cell.set_train(False)


def assert_close(stored: dict, name: str, value: np.ndarray, absolute: float, relative: float = 0.0) -> None:
    assert value.shape == tuple(stored[f"{name}_shape"])
    sample = value.reshape(-1)[stored[f"{name}_idx"]]
    np.testing.assert_allclose(sample, stored[f"{name}_val"], rtol=relative, atol=absolute)
    # The sample cannot see everything; the whole tensor's figures can.
    _, mean, std, low, high = stored[f"{name}_stats"]
    wide = value.astype(np.float64)
    assert abs(wide.mean() - mean) <= 1e-3 * std
    assert wide.std() == pytest.approx(std, rel=1e-3)
    limit = absolute + relative * max(abs(low), abs(high))
    assert wide.min() == pytest.approx(low, abs=limit)
    assert wide.max() == pytest.approx(high, abs=limit)


def assert_same_detections(found, stored: dict, kind: str, key: str, share: float | None = None) -> None:
    """As sets: each one has a partner of its label, within the tolerances of score and box."""
    _, _, score_limit, box_limit, _, usual = TOLERANCE[key]
    share = usual if share is None else share
    theirs = {part: stored[f"{kind}_{part}"].astype(np.float64) for part in ("bboxes", "scores", "labels")}
    mine = {"bboxes": found.boxes, "scores": found.scores, "labels": found.labels}
    for one, other in ((mine, theirs), (theirs, mine)):
        apart = (
            (one["labels"][:, None] != other["labels"])
            | (np.abs(one["scores"][:, None] - other["scores"]) > score_limit)
            | (np.abs(one["bboxes"][:, None] - other["bboxes"]).max(axis=-1) > box_limit)
        )
        assert (~apart.all(axis=1)).mean() >= share


def test_parameter_names_and_shapes_are_the_published_ones(key: str, network) -> None:
    published = openmmlab.parameters(key)
    spelled = translate(name for name, _ in published)
    expected = [(spelled.names[name], shape) for name, shape in published if name in spelled.names]
    found = [(parameter.name, tuple(parameter.shape)) for parameter in network.get_parameters()]
    assert sorted(found) == sorted(expected)
    # MindSpore lists a batch norm's statistics before its weights; the modules come in the published order.
    assert list(dict.fromkeys(name.rpartition(".")[0] for name, _ in found)) == list(
        dict.fromkeys(name.rpartition(".")[0] for name, _ in expected)
    )
    assert all(name.endswith(".num_batches_tracked") for name in spelled.dropped)
    assert len(spelled.dropped) == (76 if "lite" in key else 0)


def test_anchors_are_bit_equal(key: str, network) -> None:
    anchors = network.config.anchors
    assert anchors.dtype == np.float32
    assert not anchors.flags.writeable
    assert hashlib.sha256(anchors.tobytes()).hexdigest() == ANCHORS[key]
    assert len(anchors) == sum(
        n * side**2
        for n, side in zip(network.config.anchor_spec.per_cell, network.config.anchor_spec.feature_sizes, strict=True)
    )


def test_outputs_match_the_golden_data(key: str, network, mode: str) -> None:
    stored = openmmlab.golden(key)
    raw, relative, score_limit, clipped, unclipped, _ = TOLERANCE[key]
    scores, deltas = network(mindspore.Tensor(openmmlab.picture(key)))
    assert isinstance(scores, tuple)
    assert isinstance(deltas, tuple)
    scores, deltas = ([item.asnumpy() for item in part] for part in (scores, deltas))
    for i, (score, delta) in enumerate(zip(scores, deltas, strict=True)):
        assert_close(stored, f"cls_score_{i}", score, raw, relative)
        assert_close(stored, f"bbox_pred_{i}", delta, raw, relative)
    config = network.config
    rows = np.concatenate([flatten(item[0], config.num_classes) for item in scores])
    moves = np.concatenate([flatten(item[0], 4) for item in deltas])
    assert_close(stored, "softmax", softmax(rows), score_limit)
    size = config.image_size
    assert_close(stored, "boxes_clipped", decode(moves, config.anchors, image_size=size), clipped)
    assert_close(stored, "boxes_unclipped", decode(moves, config.anchors), unclipped)

    found = mshub.postprocess(network, (scores, deltas), (size, size))
    assert len(found) == 200
    assert (np.diff(found.scores) <= 0).all()
    assert_same_detections(found, stored, "det", key)
    height, width = (int(side) for side in stored["rescaled_ori_hw"])
    assert_same_detections(mshub.postprocess(network, (scores, deltas), (height, width)), stored, "rescaled", key)
    everything = mshub.postprocess(network, (scores, deltas), (size, size), max_detections=100_000)
    assert len(everything) == pytest.approx(len(stored["all_scores"]), rel=0.005)
    assert_same_detections(everything, stored, "all", key, share=0.99 if "lite" in key else 0.995)
    assert found.names[0] == config.class_names[found.labels[0]]

    # More than the published threshold lets through, and fewer than the published number.
    few = mshub.postprocess(network, (scores, deltas), (size, size), max_detections=5)
    np.testing.assert_array_equal(few.scores, found.scores[:5])
    low = mshub.postprocess(network, (scores, deltas), (size, size), 0.001, 100_000)
    assert low.scores.min() < config.score_threshold
    high = mshub.postprocess(network, (scores, deltas), (size, size), 0.5)
    assert (high.scores > 0.5).all()
    for wrong in [(deltas, scores), (scores[:-1], deltas[:-1]), (np.zeros(3), deltas), (scores, [*deltas[:-1], "x"])]:
        with pytest.raises(UsageError, match="does not fit"):
            mshub.postprocess(network, wrong, (size, size))


def test_preprocessing_matches_the_golden_data(key: str, network) -> None:
    with np.load(openmmlab.DATA / "openmmlab_preprocess.npz") as file:
        stored = dict(file)
    for name, (height, width) in {"down": (427, 640), "up": (97, 131)}.items():
        y, x = np.mgrid[:height, :width]
        planes = np.stack([(3 * x + 2 * y) % 256, (x * y // 7) % 256, (5 * (x - y)) % 256], axis=-1)
        bgr = planes + openmmlab.stream(3, "image").integers(0, 40, (height, width, 3))
        made = families.of(network.config).preprocess((bgr % 256).astype(np.uint8)[..., ::-1])[0]
        assert made.dtype == np.float32
        assert_close(stored, f"{key.removeprefix('openmmlab_')}_{name}_tensor_v3", made, 1e-5)


def test_detect_is_preprocessing_network_and_postprocess(network) -> None:
    image = np.random.default_rng(5).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    whole = mshub.detect(network, image, score_threshold=0.01, max_detections=None)
    outputs = network(mindspore.Tensor(families.of(network.config).preprocess(image)[0]))
    assert len(whole) == 200
    assert whole.to_dict() == mshub.postprocess(network, outputs, (60, 80), 0.01).to_dict()
    assert (whole.boxes >= 0).all()
    assert (whole.boxes <= np.array([80, 60, 80, 60]) + 1e-3).all()


def test_equal_boxes_suppress_each_other_within_a_class_only() -> None:
    config = networks.constructor("openmmlab_ssd300")(num_classes=3, classes=["a", "b"]).config
    levels = list(zip(config.anchor_spec.per_cell, config.anchor_spec.feature_sizes, strict=True))
    scores = [np.zeros((count * 3, side, side), np.float32) for count, side in levels]
    deltas = [np.zeros((count * 4, side, side), np.float32) for count, side in levels]
    for score in scores:
        score[2::3] = 20  # the background, which is last
    last = scores[-1].reshape(4, 3)
    # Anchor 1 contains anchor 0; the first class sees both, the second only the smaller.
    last[0] = [5, 5, -20]
    last[1] = [9, -20, -20]
    found = postprocess(config, (scores, deltas), (150, 600), score_threshold=0.3)
    assert found.names == ("a", "b")
    assert found.scores[0] == pytest.approx(1.0)
    assert found.scores[1] == pytest.approx(0.5)
    # The whole picture: sizes 261 and 287 are cut at its border only beyond 300.
    assert found.boxes[1] == pytest.approx([(150 - 130.5) * 2, (150 - 130.5) / 2, (150 + 130.5) * 2, (150 + 130.5) / 2])
    # A box that lies outside of the picture is nothing.
    deltas[-1].reshape(4, 4)[0, 0] = 100
    assert postprocess(config, (scores, deltas), (150, 600), score_threshold=0.3).names == ("a",)


@pytest.mark.filterwarnings("error")
def test_outputs_that_are_no_numbers_are_no_detections() -> None:
    config = networks.constructor("openmmlab_ssdlite_mobilenetv2")().config
    levels = list(zip(config.anchor_spec.per_cell, config.anchor_spec.feature_sizes, strict=True))
    for score, delta in [(np.nan, 0), (np.inf, 0), (0, np.nan), (0, np.inf)]:
        scores = [np.full((count * 81, side, side), score, np.float32) for count, side in levels]
        deltas = [np.full((count * 4, side, side), delta, np.float32) for count, side in levels]
        found = postprocess(config, (scores, deltas), (100, 100), score_threshold=0.01, max_detections=100_000)
        assert len(found) == 0
    fine = postprocess(
        config,
        (scores, [np.zeros_like(delta) for delta in deltas]),
        (100, 100),
        score_threshold=0.01,
        max_detections=10,
    )
    assert len(fine) == 10
    assert fine.scores == pytest.approx(1 / 81)


def test_sizes_in_percent_are_the_published_ones() -> None:
    expected = ((21, 45), (45, 99), (99, 153), (153, 207), (207, 261), (261, 315))
    assert percent_sizes(300, (7, 15), 15, 6) == expected
    expected = ((20, 51), (51, 133), (133, 215), (215, 296), (296, 378), (378, 460), (460, 542))
    assert percent_sizes(512, (4, 10), 10, 7) == expected


def test_detect_finds_the_golden_detections(key: str, network, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = openmmlab.golden(key)
    # The golden input is no picture, so it takes the place of a preprocessed one.
    monkeypatch.setattr(
        families.OpenMMLab, "preprocess", lambda self, image: (openmmlab.picture(key), self.transform(image.shape[:2]))
    )
    height, width = (int(side) for side in stored["rescaled_ori_hw"])
    found = mshub.detect(network, np.zeros((height, width, 3), np.uint8), max_detections=None)
    assert len(found) == 200
    assert_same_detections(found, stored, "rescaled", key)
