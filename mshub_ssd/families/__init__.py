"""Families of networks: how pictures become inputs and outputs become results, for batches. NumPy only.

A family is told from the type of a network's configuration, or named by it; other packages add theirs by entry point.
"""

from __future__ import annotations

from mshub_ssd.families.base import Detector, Family
from mshub_ssd.families.classifier import ClassificationOptions, Classifier, check_top_k
from mshub_ssd.families.known import of, register
from mshub_ssd.families.nms import class_nms
from mshub_ssd.families.openmmlab import OpenMMLab
from mshub_ssd.families.options import DetectionOptions
from mshub_ssd.families.ssd import SSD
from mshub_ssd.families.transform import Transform
from mshub_ssd.families.yolo import YOLO

__all__ = [
    "SSD",
    "YOLO",
    "ClassificationOptions",
    "Classifier",
    "DetectionOptions",
    "Detector",
    "Family",
    "OpenMMLab",
    "Transform",
    "check_top_k",
    "class_nms",
    "of",
    "register",
]
