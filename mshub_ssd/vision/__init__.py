"""Pictures in, detections out: reading, preprocessing, decoding, suppression and drawing. NumPy only inside."""

from __future__ import annotations

from mshub_ssd.vision.detection import Detection, Detections, Selection, postprocess, select
from mshub_ssd.vision.images import ImageLike, normalize, preprocess, read_image, resize

__all__ = [
    "Detection",
    "Detections",
    "ImageLike",
    "Selection",
    "normalize",
    "postprocess",
    "preprocess",
    "read_image",
    "resize",
    "select",
]
