"""How good a model is on one's own pictures: COCO's figures of detectors, top-1 and top-5 of classifiers.

Reading annotations needs the standard library alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mshub_ssd.evaluation.annotations import Annotations, Instance, Picture, check_inside, read_annotations
from mshub_ssd.evaluation.matching import match_classes
from mshub_ssd.lazy import exports

if TYPE_CHECKING:
    from mshub_ssd.evaluation.comparing import CardComparison, CardFigure
    from mshub_ssd.evaluation.plots import require_matplotlib
    from mshub_ssd.evaluation.result import Confusion, Curves, Evaluation
    from mshub_ssd.evaluation.running import evaluate

__all__ = [
    "Annotations",
    "CardComparison",
    "CardFigure",
    "Confusion",
    "Curves",
    "Evaluation",
    "Instance",
    "Picture",
    "check_inside",
    "evaluate",
    "match_classes",
    "read_annotations",
    "require_matplotlib",
]

__getattr__ = exports(
    __name__,
    {
        "CardComparison": "comparing",
        "CardFigure": "comparing",
        "Confusion": "result",
        "Curves": "result",
        "Evaluation": "result",
        "evaluate": "running",
        "require_matplotlib": "plots",
    },
)
