"""Pictures in: whatever the user has becomes RGB uint8 [h, w, 3], resized and normalised."""

from __future__ import annotations

import difflib
import io
import os
import shlex
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import ImageError, needing_extra
from mshub_ssd.files import NotRegularError, open_regular

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["RGB", "ImageLike", "normalize", "read_image", "resize", "square_input"]

RGB = NDArray[np.uint8]
ImageLike = Union[str, "os.PathLike[str]", "Image.Image", NDArray[Any]]

_ACCEPTED = "a path, a PIL image, or an RGB uint8 array [height, width, 3]"

# How an array of another kind becomes uint8.
_DTYPE_HINTS = {
    "b": 'image.astype("uint8") * 255',
    "i": 'for values of 0..255: image.astype("uint8")',
    "u": 'for values of 0..255: image.astype("uint8")',
    "f": 'for values of 0..255: image.round().clip(0, 255).astype("uint8")',
}

# What Pillow's decoders raise on damaged files, besides OSError.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, LookupError, OverflowError, struct.error, zlib.error)


def read_image(image: ImageLike) -> RGB:
    """Read a picture.

    A file is rotated as its EXIF orientation says; a PIL image and an array are taken as they are. Transparent
    parts are put on white, grey is tripled, 16-bit grey is scaled from 0..65535 to 0..255, and of an
    animation the first frame is taken.

    Args:
        image: A path, a PIL image, or a uint8 array [h, w, 3] in RGB order ([h, w] and [h, w, 1]: grey).

    Returns:
        RGB uint8 [h, w, 3]; it may share its memory with an array that was given.

    Raises:
        ImageError: It is missing, damaged, too large to be decoded safely, or no picture at all.
        MissingDependencyError: Pillow is not installed.
    """
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, (str, os.PathLike)):
        return _from_file(image)
    # A PIL image in hand means that PIL is imported; anything else need not import it to be refused.
    if hasattr(image, "mode") and hasattr(image, "convert") and hasattr(image, "getbbox"):
        with _decoding(None):
            return _from_array(np.asarray(_to_rgb(image)))
    hint = "np.asarray(image) makes an array of most things"
    if hasattr(image, "asnumpy"):
        hint = "turn the tensor into an array: image.asnumpy()"
    elif isinstance(image, (bytes, bytearray, memoryview)):
        hint = "PIL.Image.open(io.BytesIO(data)) makes a picture of the bytes of a file"
    raise ImageError("this is not a picture", expected=_ACCEPTED, got=type(image).__name__, hint=hint)


def square_input(
    image: RGB,
    side: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    *,
    crop: int | None = None,
) -> NDArray[np.float32]:
    """Resize a picture to a square (the aspect ratio is not kept), cut out its centre, and normalise it.

    Args:
        image: RGB uint8 [h, w, 3].
        side: Width and height to resize to, in pixels.
        mean: See `normalize`.
        std: See `normalize`.
        crop: Side of the square that is cut out, None for all of it.

    Returns:
        float32 [1, 3, S, S] with S the side, or that of the cut.

    Raises:
        ImageError: It is not an RGB uint8 array.
        MissingDependencyError: OpenCV is not installed.
    """
    resized = resize(_from_array(np.asarray(image)), side, side)
    inner = side if crop is None else crop
    start = (side - inner) // 2
    return normalize(resized[start : start + inner, start : start + inner], mean, std)


@needing_extra("resizing a picture")
def resize(image: RGB, width: int, height: int) -> RGB:
    """Resize with OpenCV's bilinear interpolation on uint8, as the networks were evaluated."""
    import cv2

    try:
        return np.asarray(cv2.resize(image, (width, height)), dtype=np.uint8)
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


def _from_array(image: NDArray[Any]) -> RGB:
    shape = tuple(image.shape)
    got = f"{image.dtype} array of shape {list(shape)}"
    if image.dtype != np.uint8:
        raise ImageError(
            "the pixels of a picture must be uint8",
            expected="an RGB uint8 array [height, width, 3]",
            got=got,
            hint=_dtype_hint(image),
        )
    if image.size == 0:
        raise ImageError("the picture is empty", expected="at least one pixel", got=got)
    if image.ndim == 3 and shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim == 2:
        return np.repeat(image[:, :, None], 3, axis=2)
    if image.ndim == 3 and shape[2] == 3:
        return np.ascontiguousarray(image)
    raise ImageError(
        "the array has not the shape of one picture",
        expected="[height, width, 3] in RGB order, or [height, width] for grey",
        got=got,
        hint=_shape_hint(shape),
    )


def _dtype_hint(image: NDArray[Any]) -> str:
    if image.dtype == np.uint16:
        return 'for values of 0..65535: (image // 257).astype("uint8")'
    if image.dtype.kind == "f" and image.size and np.nanmax(np.abs(image)) <= 1:
        return 'for values of 0..1: (image * 255).round().clip(0, 255).astype("uint8")'
    return _DTYPE_HINTS.get(image.dtype.kind, "give numbers of 0..255 as uint8")


def _shape_hint(shape: tuple[int, ...]) -> str:
    if len(shape) == 4:
        return "give one picture at a time: image[0]"
    if len(shape) == 3 and shape[2] == 4:
        return "drop the alpha channel: image[:, :, :3]"
    planes = len(shape) == 3 and shape[0] in (1, 3)
    return "move the channels to the end: image.transpose(1, 2, 0)" if planes else f"give {_ACCEPTED}"


@needing_extra("reading a picture")
def _from_file(name: str | os.PathLike[str]) -> RGB:
    path = Path(name)
    where = str(name)
    if where.startswith(("http://", "https://")):
        raise ImageError(
            "a picture must be a local file", where=where, hint=f"download it first: curl -LO {shlex.quote(where)}"
        )
    from PIL import Image, ImageOps, UnidentifiedImageError

    # Opened here: Pillow would wait for ever for a FIFO, or read a device without an end.
    with _opened(path, where) as stream, io.BufferedReader(stream) as file, _decoding(where):
        head = file.peek(16)[:16]
        try:
            opened = Image.open(file)
        except UnidentifiedImageError as error:
            raise ImageError(
                "the file is not a picture Pillow can read",
                expected="PNG, JPEG, WebP, BMP, TIFF, GIF, …",
                got=f"a file that begins with {head!r}" if head else "an empty file",
                hint=f"file {shlex.quote(where)}",
            ) from error
        opened.load()  # a damaged picture fails here, so that below only its EXIF block can be at fault
        upright: Image.Image = opened
        try:
            upright = ImageOps.exif_transpose(opened)
        except _DAMAGED:
            warnings.warn(f"unreadable EXIF data in {where}: taken as not rotated", stacklevel=4)
        return _from_array(np.asarray(_to_rgb(upright)))


@contextmanager
def _decoding(where: str | None) -> Iterator[None]:
    """Make whatever Pillow raises on a picture an ImageError that names it."""
    from PIL import Image

    try:
        yield
    except ImageError as error:
        error.where = where
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"the picture is too large to be decoded safely: {error}",
            where=where,
            hint="if you trust it: raise PIL.Image.MAX_IMAGE_PIXELS, or make it smaller with another program",
        ) from error
    except _DAMAGED as error:
        raise ImageError(
            f"the picture is damaged or of a kind Pillow cannot convert: {error}",
            where=where,
            hint="open it in a viewer; save it again as PNG or JPEG, or fetch it again",
        ) from error


def _opened(path: Path, where: str) -> io.FileIO:
    try:
        return open_regular(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError(
            "there is no such picture", where=str(path.absolute()), hint="check the path; " + _nearby(path)
        ) from error
    except NotRegularError as error:
        if path.is_dir():
            raise ImageError("this is a folder, not a picture", where=where, hint="give one file in it") from error
        raise ImageError(
            "this is neither a file nor a picture but a FIFO, socket or device",
            where=where,
            hint="write the picture to a file first",
        ) from error
    except (OSError, ValueError) as error:
        raise ImageError(
            "the picture may not be read" if isinstance(error, PermissionError) else "the picture cannot be opened",
            where=where,
            got=getattr(error, "strerror", None) or str(error),
            hint=f"ls -l {shlex.quote(where)}",
        ) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image as Pillow

    if image.mode == "I" or image.mode.startswith("I;16"):
        return Pillow.fromarray(_grey_to_uint8(np.asarray(image))).convert("RGB")
    if image.mode == "F":
        raise ImageError(
            "a picture of floating point values has no defined brightness",
            expected="8-bit or 16-bit pixels",
            got=f"mode {image.mode}",
            hint="scale its values to 0..255 and save it as 8-bit",
        )
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        layer = image.convert("RGBA")
        white = Pillow.new("RGBA", layer.size, "white")
        return Pillow.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _grey_to_uint8(grey: NDArray[Any]) -> RGB:
    """Wide grey values; those of a "32-bit" file are nearly always 16-bit ones in a larger box."""
    wide = grey.astype(np.int64)
    if wide.size and (wide.min() < 0 or wide.max() > 65535):
        raise ImageError(
            "a grey picture of 32-bit values has no defined brightness",
            expected="values of 0..65535",
            got=f"values of {wide.min()}..{wide.max()}",
            hint="scale its values and save it as 8-bit or 16-bit",
        )
    return ((wide + 128) // 257).astype(np.uint8)


def _nearby(path: Path) -> str:
    """What lies where the picture was expected."""
    parent = path.parent
    look = f"ls {shlex.quote(str(parent.absolute()))}"
    try:
        if not parent.is_dir():
            return f"the folder {parent.absolute()} does not exist either"
        names = sorted(item.name for item in parent.iterdir())
    except OSError:  # the folder may be entered but not listed
        return look
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {parent / close[0]}?" if close else look
