"""The networks as recorded graphs, on both engines: golden data, batches, names, configurations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import recordlab

from mshub_ssd import engines, networks

# Locations and scores (or logits), as the networks' specifications have them; Inception's scores are logits.
DETECTOR, CLASSIFIER, OPENMMLAB = (1e-4, 1e-5), (1e-4,), (1.0, 1.0)
TOLERANCE = {
    **dict.fromkeys(recordlab.networks.GOLDEN, DETECTOR),
    "ssd_inceptionv2": (1e-4, 2e-5),
    **dict.fromkeys(("sppnet_zfnet", "sppnet_single", "sppnet_mult"), CLASSIFIER),
    **dict.fromkeys(recordlab.openmmlab.KEYS, OPENMMLAB),
}


# A batch of three takes seconds on each; OpenVINO runs the same file, so its turn comes with the long proofs.
LARGE = {
    "ssd_resnet50_fpn",
    "ssd_mobilenet_v1_fpn",
    "ssd_resnet50",
    "ssd_vgg16",
    "openmmlab_ssd300",
    "openmmlab_ssd512",
}
ENGINES = ("onnxruntime", "openvino")
BATCHES = [
    pytest.param(key, engine, marks=pytest.mark.slow if engine == "openvino" and key in LARGE else ())
    for key in recordlab.KEYS
    for engine in ENGINES
]


@pytest.fixture(scope="module")
def key(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def recording(key: str) -> engines.Recording:
    return engines.record(key)


@pytest.fixture(scope="module")
def content(key: str, recording: engines.Recording) -> bytes:
    return engines.onnx_bytes(recording.graph, recordlab.weights(recording.graph, key))


@pytest.fixture(scope="module")
def runner(request: pytest.FixtureRequest, content: bytes) -> Iterator[engines.Runner]:
    pytest.importorskip(request.param)
    made = engines.runner(content, request.param, threads=1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def alone(key: str, runner: engines.Runner) -> Any:
    """What the network makes of the golden picture."""
    return runner.run(recordlab.picture(key))


@pytest.mark.parametrize("key", recordlab.KEYS, indirect=True)
@pytest.mark.parametrize("runner", ENGINES, indirect=True)
def test_outputs_match_the_golden_data(key: str, alone: Any) -> None:
    found = recordlab.differences(key, alone)
    assert all(d <= limit for d, limit in zip(found, TOLERANCE[key], strict=True)), found


@pytest.mark.parametrize(("key", "runner"), BATCHES, indirect=True)
def test_pictures_of_a_batch_do_not_mix(key: str, runner: engines.Runner, alone: Any) -> None:
    picture = recordlab.picture(key)
    three = runner.run(np.concatenate([picture * np.float32(0.25), picture, picture[:, :, ::-1] * np.float32(0.5)]))
    for one, batch in zip(recordlab.flat(alone), recordlab.flat(three), strict=True):
        assert len(batch) == 3
        np.testing.assert_allclose(batch[1:2], one, rtol=0, atol=2e-6)


@pytest.mark.parametrize("key", recordlab.KEYS, indirect=True)
def test_names_order_and_configuration_are_the_cells(key: str, recording: engines.Recording) -> None:
    pytest.importorskip("mindspore")
    cell = networks.build(key, initialised=False)
    types = networks.parameter_types(cell)
    assert list(recording.graph.parameters) == list(types)
    assert recording.graph.parameters == {name: (shape, str(dtype)) for name, (shape, dtype) in types.items()}
    assert recording.graph.used == tuple(types)
    assert recording.config == cell.config
    assert engines.Recording.from_dict(json.loads(json.dumps(recording.to_dict()))) == recording
