"""The networks as recorded graphs, on ONNX Runtime: golden data, batches, names, configurations."""

from __future__ import annotations

import json

import numpy as np
import pytest
import recordlab

from mshub_ssd import engines, networks

pytest.importorskip("onnxruntime")

# Locations and scores (or logits), as the networks' specifications have them; Inception's scores are logits.
DETECTOR, CLASSIFIER, OPENMMLAB = (1e-4, 1e-5), (1e-4,), (1.0, 1.0)
TOLERANCE = {
    **dict.fromkeys(recordlab.networks.GOLDEN, DETECTOR),
    "ssd_inceptionv2": (1e-4, 2e-5),
    **dict.fromkeys(("sppnet_zfnet", "sppnet_single", "sppnet_mult"), CLASSIFIER),
    **dict.fromkeys(recordlab.openmmlab.KEYS, OPENMMLAB),
}


@pytest.fixture(scope="module", params=recordlab.KEYS)
def key(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def recording(key: str) -> engines.Recording:
    return engines.record(key)


def test_outputs_match_the_golden_data_and_batches_do_not_mix(key: str, recording: engines.Recording) -> None:
    run = recordlab.runner(recording.graph, recordlab.weights(recording.graph, key)).run
    picture = recordlab.picture(key)
    alone = run(picture)
    found = recordlab.differences(key, alone)
    assert all(d <= limit for d, limit in zip(found, TOLERANCE[key], strict=True)), found

    three = run(np.concatenate([picture * np.float32(0.25), picture, picture[:, :, ::-1] * np.float32(0.5)]))
    for one, batch in zip(flat(alone), flat(three), strict=True):
        assert len(batch) == 3
        np.testing.assert_allclose(batch[1:2], one, rtol=0, atol=2e-6)


def flat(outputs):
    return [item for part in outputs for item in flat(part)] if isinstance(outputs, tuple) else [outputs]


def test_names_order_and_configuration_are_the_cells(key: str, recording: engines.Recording) -> None:
    pytest.importorskip("mindspore")
    cell = networks.build(key, initialised=False)
    types = networks.parameter_types(cell)
    assert list(recording.graph.parameters) == list(types)
    assert recording.graph.parameters == {name: (shape, str(dtype)) for name, (shape, dtype) in types.items()}
    assert recording.graph.used == tuple(types)
    assert recording.config == cell.config
    assert engines.Recording.from_dict(json.loads(json.dumps(recording.to_dict()))) == recording
