"""Pictures as networks take them: resized and normalised."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import ImageError, needing_extra
from mshub_ssd.pictures.arrays import RGB

__all__ = ["Interpolation", "normalize", "resize"]

Interpolation = Literal["bilinear", "bicubic", "area"]


@needing_extra("resizing a picture")
def resize(image: RGB, width: int, height: int, interpolation: Interpolation = "bilinear") -> RGB:
    """Resize with OpenCV on uint8, as the networks were evaluated."""
    import cv2

    flags = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}
    try:
        return np.asarray(cv2.resize(image, (width, height), interpolation=flags[interpolation]), dtype=np.uint8)
    except cv2.error as error:  # e.g. a side beyond OpenCV's limits
        raise ImageError(
            f"OpenCV cannot resize this picture: {error}",
            got=f"{image.shape[1]} x {image.shape[0]} pixels",
            hint="make the picture smaller first",
        ) from error


def normalize(image: RGB, mean: tuple[float, float, float], std: tuple[float, float, float]) -> NDArray[np.float32]:
    """(pixel - mean) / std per channel in float32: uint8 [h, w, 3] becomes [1, 3, h, w]."""
    planes = image.transpose(2, 0, 1).astype(np.float32, order="C")
    planes -= np.asarray(mean, dtype=np.float32)[:, None, None]
    planes /= np.asarray(std, dtype=np.float32)[:, None, None]
    return planes[None]
