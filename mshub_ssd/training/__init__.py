"""Detectors for one's own classes, trained on one's own pictures: `finetune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mshub_ssd.lazy import exports

if TYPE_CHECKING:
    from mshub_ssd.training.augmenting import Augmentation
    from mshub_ssd.training.batches import Batch, Batches
    from mshub_ssd.training.data import CocoSamples, Sample, Samples, coco_samples
    from mshub_ssd.training.detectors import Loss, Target, target_of
    from mshub_ssd.training.result import Tuned
    from mshub_ssd.training.running import finetune

__all__ = [
    "Augmentation",
    "Batch",
    "Batches",
    "CocoSamples",
    "Loss",
    "Sample",
    "Samples",
    "Target",
    "Tuned",
    "coco_samples",
    "finetune",
    "target_of",
]

__getattr__ = exports(
    __name__,
    {
        "Augmentation": "augmenting",
        "Batch": "batches",
        "Batches": "batches",
        "CocoSamples": "data",
        "Loss": "detectors",
        "Sample": "data",
        "Samples": "data",
        "Target": "detectors",
        "Tuned": "result",
        "coco_samples": "data",
        "finetune": "running",
        "target_of": "detectors",
    },
)
