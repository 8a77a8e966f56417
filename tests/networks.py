"""Deterministic weights and inputs for the golden data, and checkpoints made of them.

Every tensor has a random stream of its own, keyed by seed and name, so that neither order nor company matters.
The golden files in ``data/`` were computed from exactly these values.
"""

from __future__ import annotations

import hashlib
import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parent / "data"
# Detectors with golden outputs: number of their anchors, and the digest of the anchors' float32 bytes.
GOLDEN = {
    "ssd300": (1917, "84c2eb29965dfc07a298e795a134e964c490e1e30f233d94c8630f0ef19bbaf9"),
    "ssd_ghostnet": (1917, "84c2eb29965dfc07a298e795a134e964c490e1e30f233d94c8630f0ef19bbaf9"),
    "ssd_inceptionv2": (1917, "84c2eb29965dfc07a298e795a134e964c490e1e30f233d94c8630f0ef19bbaf9"),
    "ssd_mobilenetV2": (2034, "14e7d8a50a086ce6f0182eee7680e74d6ddfa840ad91d5bf381cbb862c25be60"),
    "ssd_mobilenetV2_FPNlite": (12804, "6caef7e84be003dddd6a6e8e46059aa9eb5b3b9dec578dcd29cf5c6c0fbaf288"),
    "ssd_mobilenet_v1_fpn": (51150, "d9778564cdb91ed6e3c063d2fe7624c83ab9752403e721d94c15f9ea2d00e018"),
    "ssd_resnet34": (8732, "9d47fbb0c6a31a6e8ae2a72e4ddc267583f91194021f72a4a2369b74551d22c7"),
    "ssd_resnet50": (51150, "d9778564cdb91ed6e3c063d2fe7624c83ab9752403e721d94c15f9ea2d00e018"),
    "ssd_resnet50_fpn": (51150, "d9778564cdb91ed6e3c063d2fe7624c83ab9752403e721d94c15f9ea2d00e018"),
    "ssd_vgg16": (7308, "7de0a175ec56024032f3d3484dcb532c1f941effef1623e52ad2c5dbcc9c9078"),
}


def parameters(key: str) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a network's parameters in order, as published."""
    listed = json.loads((DATA / key / "params.json").read_text(encoding="utf-8"))["params"]
    return [(name, tuple(shape)) for name, shape in listed]


def golden(key: str) -> dict[str, Any]:
    """The golden arrays of a network."""
    with np.load(DATA / key / "golden.npz") as stored:
        return dict(stored)


@lru_cache(maxsize=2)
def weights(key: str) -> dict[str, np.ndarray]:
    """The golden weights of a network."""
    stored = golden(key)
    seed, gain = int(stored["seed"]), float(stored["gain"])
    return {name: tensor(name, shape, seed, gain) for name, shape in parameters(key)}


def tensor(name: str, shape: tuple[int, ...], seed: int, gain: float = 1.0) -> np.ndarray:
    """The value of one parameter: drawn in float64, rounded to float32 at the end."""
    random = _stream(seed, name)
    kind = name.rpartition(".")[2]
    if kind in ("gamma", "moving_variance"):
        value = random.uniform(0.8, 1.2, shape)
    elif kind == "moving_mean":
        value = 0.1 * random.standard_normal(shape)
    elif kind in ("beta", "bias"):
        value = 0.05 * random.standard_normal(shape)
        # Class heads start low, so that most scores lie below the threshold.
        if kind == "bias" and shape[0] % 81 == 0:
            value = value - 4.0
    else:
        value = gain * math.sqrt(2.0 / math.prod(shape[1:])) * random.standard_normal(shape)
    return value.astype(np.float32)


def picture(key: str) -> np.ndarray:
    """The golden input [1, 3, S, S] of a network."""
    stored = golden(key)
    random = _stream(int(stored["seed"]), "input")
    return random.uniform(-2.0, 2.0, tuple(stored["input_shape"])).astype(np.float32)


def save_checkpoint(path: Path, arrays: dict[str, np.ndarray], *, training: bool = False) -> Path:
    """Write a ``.ckpt`` as MindSpore does, bare or as a training cell leaves it.

    With `training`, names carry the loss cell's prefix, the moving statistics come last, and optimizer slots and
    counters stand between.
    """
    import mindspore

    entries = dict(arrays)
    if training:
        moving = [name for name in arrays if ".moving_" in name]
        trainable = [name for name in arrays if name not in moving]
        entries = {"learning_rate": np.linspace(0.1, 0, 50, dtype=np.float32)}
        entries |= {f"network.{name}": arrays[name] for name in reversed(trainable)}
        entries |= {f"moments.network.{name}": np.zeros_like(arrays[name]) for name in trainable}
        entries |= {"momentum": np.float32(0.9).reshape(()), "global_step": np.array([50], np.int32)}
        entries |= {f"network.{name}": arrays[name] for name in moving}
    listed = [{"name": name, "data": mindspore.Tensor(value)} for name, value in entries.items()]
    mindspore.save_checkpoint(listed, str(path))
    path.chmod(0o644)
    return path


def sha256(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _stream(seed: int, name: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return np.random.Generator(np.random.Philox(int.from_bytes(digest[:8], "little")))
