"""Small sets of drawn shapes in COCO's form, and a detector small enough to be trained in a test."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

TINY = {
    "name": "ssd_mobilenetV2",
    "num_classes": 3,
    "image_size": 64,
    "stem_channels": 8,
    "blocks": [[1, 8, 1, 2], [2, 16, 1, 2]],
    "last_channels": 24,
    "taps": [],
    "extras": [],
    "box_sizes": [[[0.25, 0.25], [0.45, 0.45]]],
    "depthwise_head": True,
    "score_threshold": 0.05,
}


def shapes() -> Any:
    """The module of the example."""
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        import shapes_scenes
    finally:
        sys.path.remove(str(ROOT / "examples"))
    return shapes_scenes


def write_shapes(folder: Path, count: int, *, name: str = "train", seed: int = 5) -> tuple[Path, Path]:
    """Write `count` scenes; the annotations and the folder of pictures."""
    return shapes().write(folder, name, count, seed=seed), folder / name


def write_tiny(folder: Path, classes: tuple[str, ...] = ("circle", "moon")) -> Path:
    """Write the tiny detector, with random weights, as a checkpoint and a card; the card's path."""
    import mindspore

    from mshub_ssd import checkpoints, networks
    from mshub_ssd.cards import card_text

    folder.mkdir(parents=True, exist_ok=True)
    mindspore.set_seed(3)
    arguments = {key: value for key, value in TINY.items() if key != "name"}
    network = networks.build("ssd_mobilenetV2", card=arguments, classes=classes)
    file = folder / "tiny.ckpt"
    checkpoints.write(file, {one.name: one.asnumpy() for one in network.get_parameters()})
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    asset = {"file-format": "ckpt", "asset-link": file.name, "asset-sha256": digest}
    values = {
        "model-name": "tiny",
        "network": TINY,
        "classes": list(classes),
        "license": "Apache-2.0",
        "asset": [asset],
    }
    card = folder / "tiny.md"
    card.write_text(card_text("tiny", values), encoding="utf-8")
    return card
