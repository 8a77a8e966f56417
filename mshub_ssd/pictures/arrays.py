"""Arrays and tensors of pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import ImageError

__all__ = ["RGB", "from_array", "is_tensor", "to_array"]

RGB = NDArray[np.uint8]

# How an array of another kind becomes uint8.
_DTYPE_HINTS = {
    "b": 'image.astype("uint8") * 255',
    "i": 'for values of 0..255: image.astype("uint8")',
    "u": 'for values of 0..255: image.astype("uint8")',
    "f": 'for values of 0..255: image.round().clip(0, 255).astype("uint8")',
}


def is_tensor(thing: Any) -> bool:
    """Whether something is a tensor: MindSpore's have ``asnumpy``, those of PyTorch and others ``numpy``."""
    return callable(getattr(thing, "asnumpy", None)) or callable(getattr(thing, "numpy", None))


def to_array(tensor: Any) -> NDArray[Any]:
    """The values of a tensor, on whatever device it is.

    Raises:
        ImageError: They cannot be had.
    """
    try:
        if hasattr(tensor, "asnumpy"):
            return np.asarray(tensor.asnumpy())
        for step in ("detach", "cpu"):
            tensor = getattr(tensor, step, lambda same=tensor: same)()
        return np.asarray(tensor.numpy())
    except (TypeError, ValueError, RuntimeError) as error:  # bfloat16 and the like, which NumPy does not know
        raise ImageError(
            "the values of this tensor cannot be had",
            expected="a uint8 tensor [height, width, 3]",
            got=str(error).partition("\n")[0],
            hint="turn it into a uint8 array first",
        ) from error


def from_array(image: NDArray[Any]) -> RGB:
    """The picture in an array, which it may share its memory with.

    Args:
        image: uint8 [h, w, 3] in RGB order; [h, w] and [h, w, 1] are grey.

    Raises:
        ImageError: It is no such array; the hint says how it becomes one.
    """
    shape = tuple(image.shape)
    if image.dtype == np.uint8 and len(shape) == 3 and shape[2] == 3 and image.size:  # nearly always
        return np.ascontiguousarray(image)
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
        return "give one picture at a time, image[0], or the whole stack to mshub_ssd.detect or classify"
    if len(shape) == 3 and shape[2] == 4:
        return "drop the alpha channel: image[:, :, :3]"
    planes = len(shape) == 3 and shape[0] in (1, 3)
    return (
        "move the channels to the end: image.transpose(1, 2, 0)"
        if planes
        else "give an RGB uint8 array [height, width, 3]"
    )
