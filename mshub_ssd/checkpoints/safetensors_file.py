"""Reader of ``.safetensors`` files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.checkpoints.content import (
    DamagedError,
    check_truth,
    file_content,
    printable,
    refusing,
    shown,
    widen_bfloat16,
)

__all__ = ["read_safetensors"]

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "U64": "<u8",
    "I32": "<i4",
    "U32": "<u4",
    "I16": "<i2",
    "U16": "<u2",
    "I8": "|i1",
    "U8": "|u1",
    "BOOL": "|b1",
    "C64": "<c8",
}
_MAX_DIMS = 32
_MAX_QUOTE = 200
_MARGIN = 32 << 20


def read_safetensors(path: Path, content: bytes | memoryview | None = None) -> dict[str, NDArray[Any]]:
    """Read all tensors of a ``.safetensors`` file.

    Args:
        path: The file.
        content: Its bytes, where they were read already.

    Returns:
        Arrays by name, ordered by name; bfloat16 becomes float32.

    Raises:
        CheckpointError: The file cannot be read, is damaged, or is not a safetensors file.
        MissingDependencyError: The package safetensors is not installed.
    """
    import safetensors

    deserialize: Any = safetensors.deserialize  # which has no types
    with refusing(path, "safetensors file", "a .safetensors file"):
        try:
            content = file_content(path, content)
            # The library copies every tensor. Where there is no room for that it panics, or hangs: here it is an error.
            bytes(len(content) + _MARGIN)
            entries = deserialize(content)
        except safetensors.SafetensorError as error:
            # It quotes the file.
            raise DamagedError(printable(str(error)[:_MAX_QUOTE])) from error
        if not entries:
            raise DamagedError("it holds no tensors")
        return {name: _array(name, entry) for name, entry in sorted(entries, key=lambda pair: pair[0])}


def _array(name: str, entry: dict[str, Any]) -> NDArray[Any]:
    kind = entry["dtype"]
    if kind not in _DTYPES:
        raise DamagedError(f"tensor {shown(name)} has the type {kind}, which is not supported")
    shape = entry["shape"]
    if len(shape) > _MAX_DIMS:
        raise DamagedError(f"tensor {shown(name)} has more than {_MAX_DIMS} dimensions")
    array: NDArray[Any] = np.frombuffer(entry["data"], dtype=_DTYPES[kind])
    if kind == "BOOL":
        check_truth(array)
    if kind == "BF16":
        array = widen_bfloat16(array)
    array = array.reshape(shape)
    array.setflags(write=False)
    return array
