"""Families of networks: each knows how a picture becomes an input and how outputs become a result. NumPy only.

A family is told from the type of a network's configuration; one more is a module here and a row in `_FAMILIES`.
"""

from __future__ import annotations

from mshub_ssd.families.base import Detector, Family
from mshub_ssd.families.classifier import Classifier, check_top_k
from mshub_ssd.families.openmmlab import OpenMMLab
from mshub_ssd.families.ssd import SSD
from mshub_ssd.networks.classification import ClassifierConfig
from mshub_ssd.networks.ssd.config import SSDConfig
from mshub_ssd.networks.ssd.openmmlab_config import OpenMMLabConfig

__all__ = ["SSD", "Classifier", "Detector", "Family", "OpenMMLab", "check_top_k", "of"]

_FAMILIES: dict[type, type[Family]] = {SSDConfig: SSD, OpenMMLabConfig: OpenMMLab, ClassifierConfig: Classifier}


def of(config: object) -> Family | None:
    """The family of the network with this configuration, None if no family knows it."""
    return next((_FAMILIES[kind](config) for kind in type(config).__mro__ if kind in _FAMILIES), None)
