"""Whatever the user has becomes a picture, or a list of what each becomes one."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import ImageError
from mshub_ssd.pictures.arrays import RGB, from_array, is_tensor, to_array
from mshub_ssd.pictures.decoding import from_bytes, from_file, from_pil, from_stream
from mshub_ssd.schemes import is_store, is_url

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Downloader", "ImageLike", "name_of", "read_image", "several"]

ImageLike = Union[
    str, "os.PathLike[str]", bytes, bytearray, memoryview, IO[bytes], "Image.Image", NDArray[Any], "SupportsNumPy"
]
Downloader = Callable[[str], bytes]
"""The bytes at a url; raises a MshubError where they cannot be had."""

_ACCEPTED = (
    "a path or url, the bytes of a file, an open file, a PIL image, or an RGB uint8 array or tensor [height, width, 3]"
)


if TYPE_CHECKING:
    from typing import Protocol

    class SupportsNumPy(Protocol):
        """A tensor, e.g. MindSpore's or PyTorch's."""

        @property
        def shape(self) -> Any: ...


def read_image(image: ImageLike, download: Downloader | None = None) -> RGB:
    """Read a picture.

    A file is rotated as its EXIF orientation says, wherever it comes from; a PIL image, an array and a tensor are taken
    as they are. Transparent parts are put on white, grey is tripled, 16-bit grey is scaled from 0..65535 to 0..255,
    and of an animation the first frame is taken.

    Args:
        image: A path, a url (http, https, or an object store's), the bytes of a file, a file opened for reading bytes
            (read from its beginning where it can be rewound), a PIL image, or a uint8 array or tensor [h, w, 3] in RGB
            order ([h, w] and [h, w, 1]: grey).
        download: Gets what urls name; without it they are refused.

    Returns:
        RGB uint8 [h, w, 3]; it may share its memory with an array that was given.

    Raises:
        ImageError: It is missing, damaged, too large to be decoded safely, or no picture at all.
        MissingDependencyError: Pillow is not installed.
        MshubError: Whatever `download` raises.
    """
    return _read(image, download)


def _read(image: Any, download: Downloader | None) -> RGB:
    if isinstance(image, np.ndarray):
        return from_array(image)
    if isinstance(image, str) and is_url(image):
        return _from_url(image, download)
    if isinstance(image, str | os.PathLike):
        return _from_path(image)
    if isinstance(image, memoryview) and image.ndim > 1:
        return from_array(np.asarray(image))
    if isinstance(image, bytes | bytearray | memoryview):
        return from_bytes(image)
    # A PIL image in hand means that PIL is imported; anything else need not import it to be refused.
    if hasattr(image, "mode") and hasattr(image, "convert") and hasattr(image, "getbbox"):
        return from_pil(image)
    if is_tensor(image):
        return _from_tensor(image)
    if callable(getattr(image, "read", None)):
        return from_stream(image)
    raise ImageError("this is not a picture", expected=_ACCEPTED, got=_kind(image), hint=_hint(image))


def several(images: Any) -> Sequence[Any] | None:
    """The pictures of a list, a tuple or a stack [n, h, w, 3]; None for anything else, which is one picture or none.

    Args:
        images: What a user gave for one picture or several.
    """
    if isinstance(images, list | tuple):
        return images
    if isinstance(images, np.ndarray) and images.ndim == 4:
        return list(images)
    if is_tensor(images) and len(getattr(images, "shape", ())) == 4:
        return list(to_array(images))  # once for all, or each would be copied from its device by itself
    return None


def name_of(image: Any) -> str | None:
    """What a message calls a picture; None for one without a name."""
    return os.fspath(image) if isinstance(image, str | os.PathLike) else None


def _from_url(url: str, download: Downloader | None) -> RGB:
    if download is None:
        how = "aws s3 cp URL ." if is_store(url) else f"curl -LO {shlex.quote(url)}"
        raise ImageError("a picture must be a local file", where=url, hint=f"download it first: {how}")
    return from_bytes(download(url), url)


def _from_path(name: str | os.PathLike[str]) -> RGB:
    path = os.fspath(name)
    if not isinstance(path, str):
        hint = "os.fsdecode(path) makes a text of it"
        raise ImageError("the name of a picture is no text", expected=_ACCEPTED, got=repr(path), hint=hint)
    return from_file(Path(path), path)


def _from_tensor(tensor: Any) -> RGB:
    try:
        return from_array(to_array(tensor))
    except ImageError as error:
        if error.hint and "image" in error.hint:  # which speaks of arrays
            way = "image.asnumpy()" if hasattr(tensor, "asnumpy") else "image.numpy()"
            error.hint = f"make an array of the tensor, image = {way}; {error.hint}"
        raise


def _kind(thing: object) -> str:
    return "None" if thing is None else type(thing).__name__


def _hint(thing: object) -> str:
    if thing is None:
        return "the picture was not read: cv2.imread, for one, gives None for a file that it cannot read"
    if isinstance(thing, list | tuple):
        return "several pictures are a flat list: mshub_ssd.detect(model, [first, second])"
    if isinstance(thing, dict):
        return "give the picture in it, e.g. image=row['image']"
    if hasattr(thing, "__next__"):
        return "make a list of it: list(images)"
    return "np.asarray(image) makes an array of most things"
