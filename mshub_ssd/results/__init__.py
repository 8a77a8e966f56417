"""What is on a picture: `Detections` and `Classification`, which print, draw and save themselves. NumPy only."""

from __future__ import annotations

from mshub_ssd.results.base import check_count, is_count
from mshub_ssd.results.coco import COCO_CLASSES
from mshub_ssd.results.drawing import writable_suffixes
from mshub_ssd.results.results import Classification, ClassScore, Detection, Detections
from mshub_ssd.results.rows import Failure, json_line, row_of

__all__ = [
    "COCO_CLASSES",
    "ClassScore",
    "Classification",
    "Detection",
    "Detections",
    "Failure",
    "check_count",
    "is_count",
    "json_line",
    "row_of",
    "writable_suffixes",
]
