"""Pictures in: whatever the user has becomes RGB uint8 [h, w, 3], resized and normalised."""

from __future__ import annotations

from mshub_ssd.pictures.arrays import RGB
from mshub_ssd.pictures.decoding import MAX_BYTES, from_bytes, size_of
from mshub_ssd.pictures.finding import chosen, find, in_order, named_so
from mshub_ssd.pictures.reading import Downloader, ImageLike, name_of, read_image, several
from mshub_ssd.pictures.sizing import Interpolation, normalize, resize
from mshub_ssd.schemes import is_url

__all__ = [
    "MAX_BYTES",
    "RGB",
    "Downloader",
    "ImageLike",
    "Interpolation",
    "chosen",
    "find",
    "from_bytes",
    "in_order",
    "is_url",
    "name_of",
    "named_so",
    "normalize",
    "read_image",
    "resize",
    "several",
    "size_of",
]
