"""Sessions: settings, the cards, and what looks at pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mshub_ssd.hub.session import Hub, default_hub
from mshub_ssd.lazy import exports

if TYPE_CHECKING:
    from mshub_ssd.hub.predictor import Predictor

__all__ = ["Hub", "Predictor", "default_hub"]

__getattr__ = exports(__name__, {"Predictor": "predictor"})
