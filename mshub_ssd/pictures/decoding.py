"""Files and streams of pictures, decoded by Pillow."""

from __future__ import annotations

import difflib
import io
import os
import shlex
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import ImageError, needing_extra
from mshub_ssd.files import NotRegularError, open_regular
from mshub_ssd.pictures import jpeg
from mshub_ssd.pictures.arrays import RGB, from_array

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["from_bytes", "from_file", "from_pil", "from_stream", "size_of"]

MAX_BYTES = 64 << 20
"""Most bytes that are downloaded, or read of a stream, for one picture."""

_BYTES_HINT = "look at where these bytes come from"

# The tag of EXIF data that says how a picture is rotated.
_ORIENTATION = 0x0112

# What Pillow's decoders raise on damaged files, besides OSError.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, LookupError, OverflowError, struct.error, zlib.error)


def from_file(path: Path, where: str) -> RGB:
    """The picture in a file.

    Args:
        path: The file.
        where: What messages call it.

    Raises:
        ImageError: It is missing, no regular file, or no picture.
        MissingDependencyError: Pillow is not installed.
    """
    # Opened here: Pillow would wait for ever for a FIFO, or read a device without an end.
    with _opened(path, where) as stream, io.BufferedReader(stream) as file:
        head = file.peek(16)[:16]
        whole = None
        size = os.fstat(stream.fileno()).st_size
        if jpeg.is_jpeg(head) and size <= MAX_BYTES:
            with _decoding(where):
                # So much room is made before anything is read, so not simply MAX_BYTES.
                whole = file.read(size or MAX_BYTES)
        return _decoded(file, where, head, whole, hint=f"file {shlex.quote(where)}")


def from_bytes(
    data: bytes | bytearray | memoryview, where: str | None = None, formats: Sequence[str] | None = None
) -> RGB:
    """The picture in the bytes of a file.

    Args:
        data: The bytes.
        where: What messages call them.
        formats: Only these, by Pillow's names; None for all that it knows.

    Raises:
        ImageError: They are no picture.
        MissingDependencyError: Pillow is not installed.
    """
    head = bytes(data[:16])
    whole = data if jpeg.is_jpeg(head) else None
    return _decoded(io.BytesIO(data), where, head, whole, hint=_BYTES_HINT, formats=formats)


@needing_extra("reading a picture")
def size_of(
    data: bytes | bytearray | memoryview, where: str | None = None, formats: Sequence[str] | None = None
) -> tuple[int, int]:
    """The size of the picture in the bytes of a file as its header has it: nothing is decoded.

    Args:
        data: The bytes.
        where: What messages call them.
        formats: As for `from_bytes`.

    Returns:
        (height, width), not rotated.

    Raises:
        ImageError: They are no picture.
        MissingDependencyError: Pillow is not installed.
    """
    with _decoding(where):
        width, height = _found(io.BytesIO(data), bytes(data[:16]), _BYTES_HINT, formats).size
    return height, width


def from_stream(stream: Any) -> RGB:
    """The picture in an open file, from its beginning where it can be rewound; it is left open.

    Args:
        stream: It has ``read``.

    Raises:
        ImageError: It gives text, cannot be read, does not end, or is no picture.
        MissingDependencyError: Pillow is not installed.
    """
    name = getattr(stream, "name", None)
    where = name if isinstance(name, str) else type(stream).__name__
    try:
        # What has just been written to a buffer lies before its position.
        if getattr(stream, "seekable", bool)():
            stream.seek(0)
        data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: it is closed, or its text cannot be decoded
        raise ImageError("the stream cannot be read", where=where, got=str(error), hint="open it anew") from error
    if not isinstance(data, bytes | bytearray | memoryview):
        text = isinstance(data, str)
        raise ImageError(
            "the stream gives text instead of bytes" if text else "the stream gives no bytes",
            where=where,
            got=type(data).__name__,
            hint='open the file as open(path, "rb")' if text else "give the bytes themselves",
        )
    if len(data) > MAX_BYTES:
        raise ImageError(
            "the stream is longer than a picture should be",
            where=where,
            expected=f"at most {MAX_BYTES >> 20} MiB",
            hint="if you trust it: give the path of the file, or its bytes",
        )
    return from_bytes(data, where)


@needing_extra("reading a picture")
def from_pil(image: Image.Image) -> RGB:
    """The pixels of a PIL image, as they are: not rotated.

    Args:
        image: The image; it is loaded if it was not.

    Raises:
        ImageError: Its file is damaged, or it has no defined brightness.
    """
    with _decoding(None):
        return from_array(np.asarray(_to_rgb(image)))


def _found(file: BinaryIO, head: bytes, hint: str, formats: Sequence[str] | None) -> Image.Image:
    """What Pillow makes of a file's header."""
    from PIL import Image, UnidentifiedImageError

    what = "file" if isinstance(file, io.BufferedReader) else "bytes"
    if formats is not None:
        Image.init()
        formats = [name for name in formats if name in Image.OPEN]  # Pillow may be built without some
    try:
        return Image.open(file, formats=formats)
    except UnidentifiedImageError as error:
        verb = "is" if what == "file" else "are"
        found = f"a file that begins with {head!r}" if what == "file" else f"bytes that begin with {head!r}"
        raise ImageError(
            f"the {what} {verb} not a picture Pillow can read",
            expected="PNG, JPEG, WebP, BMP, TIFF, GIF, …" if formats is None else ", ".join(formats),
            got=found if head else "an empty file" if what == "file" else "no bytes at all",
            hint=hint,
        ) from error


@needing_extra("reading a picture")
def _decoded(
    file: BinaryIO,
    where: str | None,
    head: bytes,
    whole: bytes | bytearray | memoryview | None,
    *,
    hint: str,
    formats: Sequence[str] | None = None,
) -> RGB:
    """The picture in a file, rotated as its EXIF orientation says.

    Args:
        file: It stands where the picture begins, or its bytes are given.
        where: What messages call it.
        head: Its first bytes.
        whole: All its bytes if it is a JPEG, or None.
        hint: What to do if it is no picture.
        formats: As for `from_bytes`.
    """
    from PIL import ImageOps

    with _decoding(where):
        opened = _found(file if whole is None else io.BytesIO(whole), head, hint, formats)
        pixels = None if whole is None else jpeg.pixels_of(whole, opened)
        if pixels is None:
            opened.load()  # a damaged picture fails here, so that below only its EXIF block can be at fault
        upright: Image.Image = opened
        try:
            # Most pictures stand upright, and would be copied.
            orientation = opened.getexif().get(_ORIENTATION, 1)
            if orientation != 1:
                pixels = None if pixels is None else jpeg.rotated(pixels, orientation)
                upright = opened if pixels is not None else ImageOps.exif_transpose(opened)
        except _DAMAGED:
            warnings.warn(f"unreadable EXIF data in {where or 'a picture'}: taken as not rotated", stacklevel=5)
        return from_array(np.asarray(_to_rgb(upright)) if pixels is None else pixels)


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
            hint = "give the files in it, e.g. list(folder.glob('*.jpg'))"
            raise ImageError("this is a folder, not a picture", where=where, hint=hint) from error
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
    return image if image.mode == "RGB" else image.convert("RGB")


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
