"""Sessions: settings, the cards, and what looks at pictures."""

from __future__ import annotations

from mshub_ssd.hub.predictor import Predictor
from mshub_ssd.hub.session import Hub, default_hub

__all__ = ["Hub", "Predictor", "default_hub"]
