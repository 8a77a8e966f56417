"""JPEG by OpenCV, where that gives the very pixels that Pillow gives: in half the time, and other threads can run."""

from __future__ import annotations

import functools
import io
import logging
from typing import TYPE_CHECKING

import numpy as np

from mshub_ssd.pictures.arrays import RGB

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["is_jpeg", "pixels_of", "rotated"]

_log = logging.getLogger(__name__)

_BEGINNING, _END = b"\xff\xd8\xff", b"\xff\xd9"


def is_jpeg(head: bytes) -> bool:
    """Whether a file that begins so is a JPEG."""
    return head.startswith(_BEGINNING)


def pixels_of(data: bytes | bytearray | memoryview, opened: Image.Image) -> RGB | None:
    """The pixels of a JPEG, not rotated; None where Pillow has to decode it, or to say what is wrong with it.

    Args:
        data: The whole file.
        opened: The same as Pillow opened it, not loaded: its header is Pillow's to judge.
    """
    # A file that was cut short has no end, and OpenCV would make up what is missing.
    usual = opened.mode == "RGB" and opened.info.get("adobe_transform") != 0 and bytes(data[-2:]) == _END
    if not usual or not _alike():
        return None
    pixels = _decoded(data)
    return None if pixels is None or pixels.shape[1::-1] != opened.size else pixels


def rotated(pixels: RGB, orientation: int) -> RGB | None:
    """Pixels turned as an EXIF orientation says; None for those that mirror, which hardly any camera writes."""
    import cv2

    turns = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}
    if orientation not in turns:
        return None
    return np.asarray(cv2.rotate(pixels, turns[orientation]), dtype=np.uint8)


def _decoded(data: bytes | bytearray | memoryview) -> RGB | None:
    import cv2

    flags = getattr(cv2, "IMREAD_COLOR_RGB", cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
        if pixels is not None and not hasattr(cv2, "IMREAD_COLOR_RGB"):
            pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    except cv2.error as error:
        _log.debug("OpenCV does not decode a JPEG: %s", error)
        return None
    return None if pixels is None else np.asarray(pixels, dtype=np.uint8)


@functools.cache
def _alike() -> bool:
    """Whether this OpenCV and this Pillow decode JPEGs alike: each brings a library of its own."""
    try:
        import cv2  # noqa: F401 - tried here, for Pillow alone is enough to read pictures
    except ImportError:
        return False
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    # Smooth and noisy parts, and sides that no block divides.
    sample = Image.fromarray(noise).resize((75, 53), Image.Resampling.BICUBIC)
    for subsampling, progressive in ((0, False), (1, False), (2, False), (2, True)):
        stream = io.BytesIO()
        sample.save(stream, "JPEG", quality=80, subsampling=subsampling, progressive=progressive)
        pixels = _decoded(stream.getvalue())
        if pixels is None or not np.array_equal(np.asarray(Image.open(stream)), pixels):
            _log.info("JPEGs are decoded by Pillow: OpenCV's pixels are others")
            return False
    return True
