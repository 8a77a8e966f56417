"""Model hub client for MindSpore: from a model card to verified weights, a ready Cell and detections.

    import mshub_ssd as mshub

    network = mshub.load("mindspore/1.7/ssdresnet50fpn_coco2017")
    mshub.detect("mshub/1.0/ssdmobilenetv2_digits", "picture.png").draw()

Everything here is loaded on first use: importing the package, or listing models, imports neither MindSpore nor
NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mshub_ssd import errors as errors
    from mshub_ssd.cards import Card as Card
    from mshub_ssd.catalog import info as info
    from mshub_ssd.catalog import list_models as list_models
    from mshub_ssd.catalog import search as search
    from mshub_ssd.errors import MshubError as MshubError
    from mshub_ssd.inference import classify as classify
    from mshub_ssd.inference import detect as detect
    from mshub_ssd.inference import postprocess as postprocess
    from mshub_ssd.lint import validate as validate
    from mshub_ssd.loading import fetch as fetch
    from mshub_ssd.loading import load as load
    from mshub_ssd.loading import load_weights as load_weights
    from mshub_ssd.networks import register_network as register_network
    from mshub_ssd.results import Classification as Classification
    from mshub_ssd.results import Detections as Detections

# Public name → the module it lives in (PEP 562).
_HOMES = {
    "Card": "cards",
    "Classification": "results",
    "Detections": "results",
    "MshubError": "errors",
    "classify": "inference",
    "detect": "inference",
    "fetch": "loading",
    "info": "catalog",
    "list_models": "catalog",
    "load": "loading",
    "load_weights": "loading",
    "postprocess": "inference",
    "register_network": "networks",
    "search": "catalog",
    "validate": "lint",
}

__all__ = [*_HOMES, "__version__", "errors"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from mshub_ssd.settings import package_version

        return package_version()
    if name == "errors":
        return importlib.import_module("mshub_ssd.errors")
    if name in _HOMES:
        from mshub_ssd.errors import needing_extra

        with needing_extra(f"mshub_ssd.{name}"):
            value = getattr(importlib.import_module(f"mshub_ssd.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
