"""Pictures changed at random while a detector learns: the crops of the SSD paper, zooming out, mirroring, colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import needing_extra
from mshub_ssd.pictures import RGB

__all__ = ["Augmentation", "View", "whole"]

Floats = NDArray[np.float32]

# As in the SSD paper: a crop must cover this share of some object, or may lie anywhere, or there is none at all.
_COVERED = (None, 0.1, 0.3, 0.5, 0.7, 0.9, 0.0)
_TRIES = 50
_SMALLEST = 0.4
_STRETCH = 2.0


class View(NamedTuple):
    """What the network sees of a picture: a region that becomes the square input.

    Attributes:
        left: Of the region, in pixels of the picture; it may lie outside.
        top: Likewise.
        width: Likewise.
        height: Likewise.
        mirrored: Whether left and right are exchanged.
    """

    left: float
    top: float
    width: float
    height: float
    mirrored: bool = False

    def boxes(self, boxes: Floats) -> Floats:
        """Boxes (x1, y1, x2, y2) in pixels of the picture as (y1, x1, y2, x2) in parts of the region, not clipped."""
        corner, size = np.array([[self.left, self.top] * 2, [self.width, self.height] * 2], np.float32)
        moved = (boxes - corner) / size
        if self.mirrored:
            moved[:, [0, 2]] = 1 - moved[:, [2, 0]]
        return np.ascontiguousarray(moved[:, [1, 0, 3, 2]])

    @needing_extra("training")
    def pixels(self, picture: RGB, side: int, fill: tuple[float, ...]) -> RGB:
        """The region as RGB uint8 [side, side, 3]."""
        import cv2

        across, down = side / self.width, side / self.height
        # As resizing does it, centres of pixels lie at halves.
        shift_x = (0.5 - self.left) * across - 0.5
        shift_y = (0.5 - self.top) * down - 0.5
        if self.mirrored:
            across, shift_x = -across, side - 1 - shift_x
        matrix = np.array([[across, 0, shift_x], [0, down, shift_y]], np.float64)
        flags: dict[str, Any] = {"flags": cv2.INTER_LINEAR}
        # What lies half a pixel beyond the border of the picture is as the border; far beyond, it is the filling.
        inside = self.left >= 0 and self.top >= 0
        inside = inside and self.left + self.width <= picture.shape[1] and self.top + self.height <= picture.shape[0]
        if inside:
            flags["borderMode"] = cv2.BORDER_REPLICATE
        else:
            flags |= {"borderMode": cv2.BORDER_CONSTANT, "borderValue": fill}
        return np.asarray(cv2.warpAffine(picture, matrix, (side, side), **flags), dtype=np.uint8)


def whole(picture_size: tuple[int, int]) -> View:
    """The whole picture of (height, width)."""
    return View(0.0, 0.0, float(picture_size[1]), float(picture_size[0]))


@dataclass(frozen=True)
class Augmentation:
    """What may be done to pictures.

    Attributes:
        crop: Share of pictures that a part is cut out of.
        zoom_out: Share of pictures that are made smaller, with nothing around them.
        largest: So many times the picture's sides are those of what it is put on, at most.
        flip: Whether half of the pictures are mirrored.
        colour: How strongly brightness, contrast and colours change; 0 for not at all.
    """

    crop: float = 0.4
    zoom_out: float = 0.15
    largest: float = 1.6
    flip: bool = False
    colour: float = 1.0

    def view(self, rng: np.random.Generator, picture_size: tuple[int, int], boxes: Floats) -> View:
        """A view of a picture of (height, width), with boxes (x1, y1, x2, y2) on it."""
        kind = rng.random()
        view = whole(picture_size)
        if kind < self.crop:
            view = _cropped(rng, picture_size, boxes)
        elif kind < self.crop + self.zoom_out:
            factor = float(rng.uniform(1, self.largest))
            left, top = rng.uniform(0, factor - 1, 2) * (view.width, view.height)
            view = View(-float(left), -float(top), view.width * factor, view.height * factor)
        return view._replace(mirrored=bool(self.flip and rng.random() < 0.5))

    def recoloured(self, rng: np.random.Generator, pixels: RGB) -> RGB:
        """Pixels with other brightness, contrast, saturation and tints."""
        if self.colour <= 0:
            return pixels
        amount = self.colour
        gain = np.exp(rng.uniform(-0.3, 0.3) * amount) * np.exp(rng.uniform(-0.1, 0.1, 3) * amount)
        shift = rng.uniform(-24, 24) * amount
        blend = rng.uniform(-0.4, 0.3) * amount if rng.random() < 0.5 else 0.0
        # One matrix does it all: contrast around the middle, brightness, and towards grey or away from it.
        grey = np.array([0.299, 0.587, 0.114])
        matrix = np.diag(gain * (1 + blend)) - blend * np.outer(gain, grey)
        offset = 128 + shift - matrix @ np.full(3, 128.0)
        import cv2

        both = np.concatenate([matrix, offset[:, None]], axis=1)
        # Saturates at 0 and 255.
        return np.asarray(cv2.transform(pixels, both), dtype=np.uint8)


def _cropped(rng: np.random.Generator, picture_size: tuple[int, int], boxes: Floats) -> View:
    """A region that covers enough of some object and the centre of at least one; the whole picture where none does."""
    height, width = picture_size
    least = _COVERED[int(rng.integers(len(_COVERED)))]
    if least is None:
        return whole(picture_size)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for _ in range(_TRIES):
        across, down = rng.uniform(_SMALLEST, 1, 2) * (width, height)
        if not 1 / _STRETCH <= (across * height) / (down * width) <= _STRETCH:
            continue
        left, top = rng.uniform(0, width - across), rng.uniform(0, height - down)
        if not len(boxes):
            return View(float(left), float(top), float(across), float(down))
        low, high = np.array([left, top]), np.array([left + across, top + down])
        if not ((centres > low) & (centres < high)).all(axis=1).any():
            continue
        shared = np.clip(np.minimum(boxes[:, 2:], high) - np.maximum(boxes[:, :2], low), 0, None).prod(axis=1)
        if (shared / areas).max() >= least:
            return View(float(left), float(top), float(across), float(down))
    return whole(picture_size)
