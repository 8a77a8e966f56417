"""A detector small enough to think through, without weights: its configuration and made-up outputs."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mshub_ssd import families
from mshub_ssd.networks.ssd.anchors import PyramidAnchors
from mshub_ssd.networks.ssd.config import SSDConfig
from mshub_ssd.results import Detections


def config(**changes: object) -> SSDConfig:
    """A small detector: 64 px, 8 x 8 + 4 x 4 cells of 6 anchors, three classes."""
    base = SSDConfig(
        name="tiny",
        image_size=64,
        num_classes=4,
        class_names=("cat", "dog", "größte Kuh"),
        anchor_spec=PyramidAnchors(64, (8, 16)),
    )
    return dataclasses.replace(base, **changes)


def outputs(cfg: SSDConfig, objects: list[tuple[int, int, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Raw outputs: zero offsets, and (anchor, class, score) for the objects."""
    count = len(cfg.anchors)
    loc, scores = np.zeros((count, 4), np.float32), np.full((count, cfg.num_classes), 0.01, np.float32)
    for anchor, cls, score in objects:
        scores[anchor, cls] = score
    return loc, scores


def postprocess(
    cfg: object, raw: object, image_size: Any, *, image: np.ndarray | None = None, **options: Any
) -> Detections:
    """What the family of the configuration makes of a detector's outputs for one picture."""
    family = families.of(cfg)
    return family.result(raw, family.transform(image_size), family.options(**options), image)
