"""Recorded networks with their golden weights and inputs, run on an engine."""

from __future__ import annotations

from typing import Any

import networks
import numpy as np
import openmmlab

from mshub_ssd import checkpoints, engines

KEYS = (*networks.GOLDEN, "sppnet_zfnet", "sppnet_single", "sppnet_mult", *openmmlab.KEYS)


def golden(key: str) -> dict[str, Any]:
    """The golden arrays of any network."""
    return (openmmlab if key in openmmlab.KEYS else networks).golden(key)


def weights(graph: engines.Graph, key: str) -> dict[str, np.ndarray]:
    """The golden weights of any network under the graph's names."""
    if key not in openmmlab.KEYS:
        # Two classifiers share theirs.
        return networks.weights("sppnet_single" if key == "sppnet_mult" else key)
    expected = {name: (shape, np.dtype(dtype)) for name, (shape, dtype) in graph.parameters.items()}
    values, report = checkpoints.match_parameters(openmmlab.weights(key), expected)
    assert report.ok, report
    return values


def picture(key: str) -> np.ndarray:
    """The golden input of any network."""
    if key in openmmlab.KEYS:
        return openmmlab.picture(key)
    if key in networks.GOLDEN:
        return networks.picture(key)
    random = networks._stream(int(golden(key)["seed"]), "input")
    return random.uniform(-2.0, 2.0, (1, 3, 224, 224)).astype(np.float32)


def differences(key: str, outputs: Any) -> list[float]:
    """Greatest distance from the golden data of locations and scores, or of logits.

    OpenMMLab's are given in units of their tolerance for values of that size.
    """
    stored = golden(key)
    if key in openmmlab.KEYS:
        absolute = 5e-4 if "lite" in key else 1e-4
        return [
            max(
                _distance(stored, f"{kind}_{i}_", value, absolute, 1e-4 if "lite" in key else 1e-5)
                for i, value in enumerate(part)
            )
            for kind, part in zip(("cls_score", "bbox_pred"), outputs, strict=True)
        ]
    if key in networks.GOLDEN:
        return [
            _distance(stored, f"{name}.", value) for name, value in zip(("pred_loc", "scores"), outputs, strict=True)
        ]
    return [_distance(stored, "logits", outputs)]


def _distance(stored: dict, name: str, value: np.ndarray, absolute: float = 1.0, relative: float = 0.0) -> float:
    whole = name.rstrip(".")
    if whole in stored:
        assert value.shape == stored[whole].shape
        expected, found = stored[whole], value
    else:
        assert value.shape == tuple(stored[f"{name}shape"])
        expected, found = stored[f"{name}val"], value.reshape(-1)[stored[f"{name}idx"]]
    assert np.isfinite(value).all()
    return float((np.abs(found - expected) / (absolute + relative * np.abs(expected))).max())


def runner(graph: engines.Graph, arrays: dict[str, np.ndarray], engine: str = "onnxruntime") -> engines.Runner:
    """A graph with weights on an engine, one thread."""
    return engines.runner(engines.onnx_bytes(graph, arrays), engine, threads=1)


def flat(outputs: Any) -> list[np.ndarray]:
    """Nested outputs in a row."""
    return [item for part in outputs for item in flat(part)] if isinstance(outputs, tuple) else [outputs]
