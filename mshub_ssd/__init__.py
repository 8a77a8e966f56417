"""Model hub client for MindSpore: from a model card to verified weights, a ready Cell and detections.

    import mshub_ssd as mshub

    network = mshub.load("mindspore/1.7/ssdresnet50fpn_coco2017")
    mshub.detect("mshub/1.0/ssdmobilenetv2_digits", "picture.png").draw()

Everything here is loaded on first use: importing the package, or listing models, imports neither MindSpore nor
NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mshub_ssd import errors as errors
    from mshub_ssd import ray as ray
    from mshub_ssd.cards import Card as Card
    from mshub_ssd.compat import CellInfo as CellInfo
    from mshub_ssd.compat import get_hub_dir as get_hub_dir
    from mshub_ssd.compat import hub_list as hub_list
    from mshub_ssd.compat import install_as_mindspore_hub as install_as_mindspore_hub
    from mshub_ssd.compat import set_hub_dir as set_hub_dir
    from mshub_ssd.errors import MshubError as MshubError
    from mshub_ssd.evaluation import Evaluation as Evaluation
    from mshub_ssd.evaluation import evaluate as evaluate
    from mshub_ssd.hub import Hub as Hub
    from mshub_ssd.hub import Predictor as Predictor
    from mshub_ssd.networks import register_network as register_network
    from mshub_ssd.results import Classification as Classification
    from mshub_ssd.results import Detections as Detections
    from mshub_ssd.results import Failure as Failure
    from mshub_ssd.training import Tuned as Tuned
    from mshub_ssd.training import finetune as finetune
    from mshub_ssd.validation import validate as validate

    __version__: str
    _hub = Hub()
    classify = _hub.classify
    compile = _hub.compile
    detect = _hub.detect
    fetch = _hub.fetch
    info = _hub.info
    list_models = _hub.list_models
    load = _hub.load
    load_weights = _hub.load_weights
    postprocess = _hub.postprocess
    search = _hub.search

# Public name → the module it lives in (PEP 562).
_HOMES = {
    "Card": "cards",
    "CellInfo": "compat",
    "Classification": "results",
    "Detections": "results",
    "Evaluation": "evaluation",
    "Failure": "results",
    "Hub": "hub",
    "MshubError": "errors",
    "Predictor": "hub",
    "Tuned": "training",
    "evaluate": "evaluation",
    "finetune": "training",
    "get_hub_dir": "compat",
    "hub_list": "compat",
    "install_as_mindspore_hub": "compat",
    "register_network": "networks",
    "set_hub_dir": "compat",
    "validate": "validation",
}
# Methods of the default Hub.
_VERBS = (
    "classify",
    "compile",
    "detect",
    "fetch",
    "info",
    "list_models",
    "load",
    "load_weights",
    "postprocess",
    "search",
)

# Rooms that are public as they are.
_ROOMS = ("errors", "ray")

__all__ = [*_HOMES, *_ROOMS, *_VERBS, "__version__"]


def _function(name: str) -> object:
    """A method of `Hub` as a function: it calls that of the default Hub."""
    import functools
    import inspect

    from mshub_ssd.hub import Hub, default_hub

    method = getattr(Hub, name)

    @functools.wraps(method)
    def function(*args: object, **kwargs: object) -> object:
        return getattr(default_hub(), name)(*args, **kwargs)

    signature = inspect.signature(method)
    # Where pickle finds it, and what help() shows.
    function.__module__, function.__qualname__ = __name__, name
    vars(function)["__signature__"] = signature.replace(parameters=list(signature.parameters.values())[1:])
    del vars(function)["__wrapped__"]
    return function


if not TYPE_CHECKING:  # with it, checkers would take any name for one of ours

    def __getattr__(name: str) -> object:
        value: object
        if name == "__version__":
            from mshub_ssd.settings import package_version

            return package_version()
        if name in _ROOMS:
            return importlib.import_module(f"mshub_ssd.{name}")
        if name in _VERBS:
            value = _function(name)
        elif name in _HOMES:
            from mshub_ssd.errors import needing_extra

            with needing_extra(f"mshub_ssd.{name}"):
                value = getattr(importlib.import_module(f"mshub_ssd.{_HOMES[name]}"), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
