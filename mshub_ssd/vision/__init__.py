"""Pictures in, detections or classes out: reading, preprocessing, decoding, suppression, drawing. NumPy only inside."""

from __future__ import annotations

from mshub_ssd.vision.classification import Classification, ClassScore
from mshub_ssd.vision.detection import Detection, Detections, Selection, select
from mshub_ssd.vision.images import ImageLike, normalize, preprocess, read_image, resize
from mshub_ssd.vision.outputs import DetectorConfig, postprocess

__all__ = [
    "ClassScore",
    "Classification",
    "Detection",
    "Detections",
    "DetectorConfig",
    "ImageLike",
    "Selection",
    "normalize",
    "postprocess",
    "preprocess",
    "read_image",
    "resize",
    "select",
]
