"""The networks against golden data: names, raw outputs, boxes and final detections."""

from __future__ import annotations

import hashlib
import inspect

import numpy as np
import pytest
from networks import GOLDEN, golden, parameters, picture, weights

import mshub_ssd
from mshub_ssd import families, networks
from mshub_ssd.errors import UnknownModelError, UsageError
from mshub_ssd.networks.classification import imagenet_classes
from mshub_ssd.networks.ssd import boxes
from mshub_ssd.results import COCO_CLASSES

mindspore = pytest.importorskip("mindspore")

# Absolute tolerances of the networks' specifications.
RAW, SCORE, BOX = 1e-4, 1e-5, 1e-5
# Its scores are raw logits of up to 13, not probabilities: one float32 step there is 1e-6.
LOGIT_SCORES = {"ssd_inceptionv2": 2e-5}
IMAGE_SIZE = (480, 640)


@pytest.fixture(scope="module", params=GOLDEN)
def key(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def network(key: str):
    cell = networks.constructor(key)()
    values = weights(key)
    for parameter in cell.get_parameters():
        parameter.set_data(mindspore.Tensor(values[parameter.name]))
    return cell.set_train(False)


def assert_close(stored: dict, name: str, value: np.ndarray, tolerance: float) -> None:
    assert value.shape == tuple(stored[f"{name}.shape"])
    if name in stored:
        np.testing.assert_allclose(value, stored[name], rtol=0, atol=tolerance)
    else:
        sample = value.reshape(-1)[stored[f"{name}.idx"]]
        np.testing.assert_allclose(sample, stored[f"{name}.val"], rtol=0, atol=tolerance)
    # The sample cannot see everything; sum and extremes can.
    total, _, _, low, high = stored[f"{name}.stats"]
    assert abs(value.astype(np.float64).sum() - total) <= tolerance * value.size
    assert value.min() == pytest.approx(low, abs=tolerance)
    assert value.max() == pytest.approx(high, abs=tolerance)


def test_parameter_names_shapes_and_order_are_the_published_ones(key: str, network) -> None:
    found = [(parameter.name, tuple(parameter.shape)) for parameter in network.get_parameters()]
    assert found == parameters(key)


def test_anchors_are_bit_equal(key: str, network) -> None:
    anchors = network.config.anchors
    count, digest = GOLDEN[key]
    assert (anchors.shape, anchors.dtype) == ((count, 4), np.float32)
    assert hashlib.sha256(anchors.tobytes()).hexdigest() == digest
    assert not anchors.flags.writeable


def test_outputs_match_the_golden_data(key: str, network, mode: str) -> None:
    stored = golden(key)
    image = mindspore.Tensor(picture(key))
    location, scores = (output.asnumpy() for output in network(image))
    assert_close(stored, "pred_loc", location, RAW)
    assert_close(stored, "scores", scores, LOGIT_SCORES.get(key, SCORE))
    assert_close(stored, "boxes", boxes.decode(location, network.config.anchors), BOX)

    found = mshub_ssd.postprocess(network, (location, scores), IMAGE_SIZE)
    assert_same_detections((found.boxes, found.scores, found.labels), published_detections(key, network))
    assert found.names[0] == network.config.class_names[found.labels[0]]


def test_detect_finds_the_golden_detections(key: str, network, monkeypatch: pytest.MonkeyPatch) -> None:
    # The golden input is no picture, so it takes the place of a preprocessed one.
    monkeypatch.setattr(families.SSD, "preprocess", lambda self, _: (picture(key), self.transform(IMAGE_SIZE)))
    found = mshub_ssd.detect(network, np.zeros((*IMAGE_SIZE, 3), np.uint8), max_detections=None)
    assert_same_detections((found.boxes, found.scores, found.labels), published_detections(key, network))


def test_training_mode_returns_logits(key: str, network) -> None:
    # Only the detector's own flag: with batch norms in training mode there is nothing to compare with.
    network.add_flags(training=True)
    try:
        _, logits = network(mindspore.Tensor(picture(key)))
        assert_close(golden(key), "logits", logits.asnumpy(), RAW)
        with pytest.raises(UsageError, match="training mode"):
            mshub_ssd.detect(network, np.zeros((8, 8, 3), np.uint8))
    finally:
        network.add_flags(training=False)


def published_detections(key: str, network) -> tuple:
    """Golden boxes as x1, y1, x2, y2, their probabilities and labels."""
    stored = golden(key)
    scores = stored["det_scores"]
    if network.config.activation == "none":
        # Published as logits; detections carry probabilities.
        scores = 1 / (1 + np.exp(-scores))
    return stored["det_boxes"][:, [1, 0, 3, 2]], scores, stored["det_classes"] - 1


def assert_same_detections(found: tuple, expected: tuple) -> None:
    """As sets per class: 0.01 px, 1e-4 in score, 99.9 % matched in both directions."""
    for one, other in ((found, expected), (expected, found)):
        unmatched = 0
        for label in np.unique(one[2]):
            mine, theirs = (
                np.column_stack([part[0] / 0.01, part[1] / 1e-4])[part[2] == label] for part in (one, other)
            )
            if len(theirs) == 0:
                unmatched += len(mine)
                continue
            distance = np.abs(mine[:, None] - theirs[None]).max(axis=-1)
            unmatched += int((distance.min(axis=1) > 1).sum())
        assert unmatched <= 0.001 * len(one[2])


@pytest.mark.parametrize("key", ["ssd_mobilenetV2", "ssd_mobilenetV2_FPNlite", "ssd_vgg16", "ssd_inceptionv2"])
def test_each_layout_takes_another_number_of_classes(key: str) -> None:
    cell = networks.constructor(key)(num_classes=4, classes=["a", "b", "c"])
    assert cell.config.class_names == ("a", "b", "c")
    size = cell.config.image_size
    location, scores = cell.set_train(False)(mindspore.ops.zeros((2, 3, size, size), mindspore.float32))
    assert location.shape == (2, len(cell.config.anchors), 4)
    assert scores.shape == (2, len(cell.config.anchors), 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 3, "classes": ["one"]}, "number of class names"),
        ({"num_classes": 1}, "at least one class"),
        ({"taps": [[13, 576], [4, 32]]}, "ascending"),
        ({"taps": [[99, 576]]}, "before the last layer"),
        ({"box_sizes": [[[0.1, 0.1]]]}, "anchors do not fit"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        networks.constructor("ssd_mobilenetV2")(**arguments)


def test_a_small_relative_is_built_by_the_same_constructor() -> None:
    cell = networks.constructor("ssd_mobilenetV2")(
        num_classes=3,
        image_size=100,
        stem_channels=8,
        blocks=[[1, 8, 1, 1], [4, 12, 1, 2], [4, 16, 1, 2]],
        last_channels=24,
        taps=[[2, 16]],
        extras=[[16, 0.5]],
        box_sizes=[[[0.1, 0.2]], [[0.3, 0.3], [0.4, 0.5]], [[0.8, 0.8]]],
        depthwise_head=True,
    )
    # Strides 4, 8 and 16 on 100 pixels.
    assert cell.config.anchor_spec.feature_sizes == (25, 13, 7)
    location, scores = cell.set_train(False)(mindspore.ops.zeros((1, 3, 100, 100), mindspore.float32))
    assert location.shape == (1, 25**2 + 2 * 13**2 + 7**2, 4)
    assert scores.shape[-1] == 3


@pytest.mark.parametrize("key", networks.NETWORKS)
def test_the_table_says_what_the_constructors_take(key: str) -> None:
    parameters = inspect.signature(networks.constructor(key)).parameters
    spec = networks.NETWORKS[key]
    assert list(spec.arguments) == list(parameters)
    assert all(spec.arguments[name].accepts(parameter.default) for name, parameter in parameters.items())
    assert parameters["num_classes"].default == spec.num_classes
    assert not list(networks.argument_faults(key, {name: one.default for name, one in parameters.items()}))
    cell = networks.constructor(key)()
    assert (
        spec.family
        == {"SSD": "ssd", "OpenMMLab": "openmmlab", "Classifier": "classifier"}[type(families.of(cell.config)).__name__]
    )
    assert sum(parameter.size for parameter in cell.get_parameters()) == spec.values
    assert cell.config.image_size == spec.image_size
    assert cell.config.class_names == (COCO_CLASSES if spec.classes == "coco2017" else imagenet_classes())


def test_names_are_compared_without_case_and_dashes() -> None:
    assert networks.find("SSD-ResNet50_fpn") == "ssd_resnet50_fpn"
    assert networks.find("ssdmobilenetv2") == "ssd_mobilenetV2"
    assert networks.find("resnet50") is None
    with pytest.raises(UnknownModelError, match="ssd_resnet50_fpn"):
        networks.constructor("ssd_resnet50_fnp")


def test_registered_networks_are_found_and_clashes_refused() -> None:
    @mshub_ssd.register_network("test_net_a")
    def build_a() -> None: ...

    assert networks.constructor("Test-Net-A") is build_a
    assert "test_net_a" in networks.names()
    with pytest.raises(UsageError, match="is taken"):

        @mshub_ssd.register_network("testneta")
        def build_b() -> None: ...

    with pytest.raises(UsageError, match="is taken"):
        mshub_ssd.register_network("ssd_mobilenetV2")(build_a)
    with pytest.raises(UsageError, match="architecture key"):
        mshub_ssd.register_network("no good")
