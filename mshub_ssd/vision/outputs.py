"""A detector's raw outputs to `Detections`, whichever family the detector is of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.networks.ssd.config import SSDConfig
from mshub_ssd.networks.ssd.openmmlab_config import OpenMMLabConfig
from mshub_ssd.vision import detection, openmmlab
from mshub_ssd.vision.detection import Detections

__all__ = ["DetectorConfig", "postprocess"]

DetectorConfig = SSDConfig | OpenMMLabConfig


def postprocess(
    config: DetectorConfig,
    first: Any,
    second: Any,
    image_size: Sequence[int],
    score_threshold: float | None = None,
    max_detections: int | None = None,
    *,
    image: NDArray[np.uint8] | None = None,
) -> Detections:
    """Turn a detector's two outputs for one picture into detections.

    Args:
        config: The detector's; its type decides what the outputs are.
        first: ``pred_loc`` [1, N, 4], or OpenMMLab's ``cls_scores``, one map per level.
        second: ``scores`` [1, N, C], or OpenMMLab's ``bbox_preds``, one map per level.
        image_size: (height, width) of the original picture in pixels.
        score_threshold: Keep scores greater than this, 0 to 1; None for the network's published value.
        max_detections: Keep the best so many of all classes; None for all, with OpenMMLab's networks for the
            published 200.
        image: The picture, RGB uint8, for drawing.

    Returns:
        The detections, best first.

    Raises:
        UsageError: A shape or an argument does not fit; the message says what was expected.
    """
    if isinstance(config, OpenMMLabConfig):
        return openmmlab.postprocess(config, first, second, image_size, score_threshold, max_detections, image=image)
    return detection.postprocess(config, first, second, image_size, score_threshold, max_detections, image=image)
