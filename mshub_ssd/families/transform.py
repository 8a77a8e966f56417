"""Where a picture lies in a network's input, and how boxes come back from there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import ImageError, UsageError
from mshub_ssd.pictures import RGB, Interpolation, resize
from mshub_ssd.results import is_count

__all__ = ["Transform"]

Floats = NDArray[np.float32]
Size = tuple[int, int]

# A resized picture of more would take 400 MB.
_MAX_PIXELS = 1 << 27


@dataclass(frozen=True)
class Transform:
    """Where a picture lies in a network's input: stretched, letterboxed or cut.

    Sizes are (height, width), as the shapes of arrays; boxes are x1, y1, x2, y2.

    Attributes:
        image_size: The original picture's size in pixels.
        input_size: The size of the network's input.
        placed_size: The size that the picture is resized to.
        offset: (top, left) of the resized picture in the input; negative where it is cut.
        interpolation: How it is resized.

    Raises:
        UsageError: A size is not two positive whole numbers.
    """

    image_size: Size
    input_size: Size
    placed_size: Size
    offset: Size = (0, 0)
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", _size("image_size", self.image_size))
        object.__setattr__(self, "input_size", _size("input_size", self.input_size))
        object.__setattr__(self, "placed_size", _size("placed_size", self.placed_size))

    @classmethod
    def stretched(cls, image_size: Size, input_size: Size) -> Transform:
        """The picture fills the input; its aspect ratio is not kept."""
        return cls(image_size, input_size, input_size)

    @classmethod
    def letterboxed(cls, image_size: Size, input_size: Size, *, centred: bool = True) -> Transform:
        """The picture keeps its aspect ratio, as large as the input lets it be, in the middle or at the top left."""
        height, width = _size("image_size", image_size)
        scale = min(input_size[0] / height, input_size[1] / width)
        placed = max(1, round(height * scale)), max(1, round(width * scale))
        rest = input_size[0] - placed[0], input_size[1] - placed[1]
        return cls((height, width), input_size, placed, (rest[0] // 2, rest[1] // 2) if centred else (0, 0))

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the input per pixel of the picture, down and across."""
        return self.placed_size[0] / self.image_size[0], self.placed_size[1] / self.image_size[1]

    @property
    def origin(self) -> tuple[float, float]:
        """Where the picture's corner lies in the input, (top, left), for boxes."""
        return self.offset

    def place(self, picture: RGB, fill: tuple[int, int, int] = (0, 0, 0)) -> RGB:
        """Make the input's pixels: the picture resized and put in its place.

        Args:
            picture: RGB uint8 [h, w, 3], of `image_size`.
            fill: Colour of what the picture does not cover.

        Returns:
            RGB uint8 [H, W, 3], of `input_size`.

        Raises:
            ImageError: The picture cannot be resized, or is too long and narrow for that.
            MissingDependencyError: OpenCV is not installed.
        """
        (high, wide), (tall, broad), (top, left) = self.placed_size, self.input_size, self.offset
        if high * wide > _MAX_PIXELS:
            raise ImageError(
                "the picture is too long and narrow for this network, which keeps its aspect ratio",
                expected=f"at most {_MAX_PIXELS} pixels once its shorter side has {min(high, wide)}",
                got=f"{picture.shape[1]} x {picture.shape[0]} pixels",
                hint="cut the part that matters out of it first",
            )
        resized = resize(picture, wide, high, self.interpolation)
        # A picture that covers all of the input is at most cut.
        if top <= 0 and left <= 0 and high + top >= tall and wide + left >= broad:
            return resized[-top : tall - top, -left : broad - left]
        canvas = np.empty((tall, broad, 3), dtype=np.uint8)
        canvas[:] = fill
        part = resized[max(0, -top) : max(0, tall - top), max(0, -left) : max(0, broad - left)]
        canvas[max(0, top) : max(0, top) + len(part), max(0, left) : max(0, left) + part.shape[1]] = part
        return canvas

    def to_picture(self, boxes: NDArray[Any], *, clip: bool = True) -> Floats:
        """Boxes in pixels of the input as boxes in pixels of the picture.

        Args:
            boxes: [n, 4] as x1, y1, x2, y2.
            clip: Limit them to the picture.

        Returns:
            float32 [n, 4].
        """
        moved = np.asarray(boxes, dtype=np.float32)
        if any(self.origin):
            moved = moved - np.asarray(self.origin[::-1] * 2, dtype=np.float32)
        moved = moved / np.asarray(self.scale[::-1] * 2, dtype=np.float32)
        return self._clipped(moved) if clip else moved

    def relative_to_picture(self, boxes: NDArray[Any], *, clip: bool = True) -> Floats:
        """Boxes in parts of the input, 0 to 1, as boxes in pixels of the picture; see `to_picture`."""
        if self.placed_size != self.input_size or any(self.offset):
            return self.to_picture(boxes * np.asarray(self.input_size[::-1] * 2, dtype=np.float32), clip=clip)
        moved = np.asarray(boxes, dtype=np.float32) * np.asarray(self.image_size[::-1] * 2, dtype=np.float32)
        return self._clipped(moved) if clip else moved

    def to_input(self, boxes: NDArray[Any]) -> Floats:
        """Boxes in pixels of the picture as boxes in pixels of the input: what `to_picture` undoes."""
        scaled = np.asarray(boxes, dtype=np.float32) * np.asarray(self.scale[::-1] * 2, dtype=np.float32)
        return scaled + np.asarray(self.origin[::-1] * 2, dtype=np.float32)

    def _clipped(self, boxes: Floats) -> Floats:
        height, width = self.image_size
        return np.clip(boxes, np.float32(0), np.asarray([width, height] * 2, dtype=np.float32), out=boxes)


def _size(name: str, value: Any) -> Size:
    if type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int and min(value) > 0:
        return value  # nearly always
    sides = list(value) if isinstance(value, Iterable) else []
    if len(sides) != 2 or not all(is_count(side) for side in sides):
        raise UsageError(
            f"{name} must be (height, width) in pixels",
            expected="two positive whole numbers",
            got=repr(value),
            hint="of a picture: rgb.shape[:2] for an array, pil.size[::-1] for a PIL image",
        )
    return int(sides[0]), int(sides[1])
