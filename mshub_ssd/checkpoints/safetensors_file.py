"""Reader of ``.safetensors`` files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.checkpoints.mapped import DamagedError, refusing, widen_bfloat16
from mshub_ssd.errors import MissingDependencyError

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


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Read all tensors of a ``.safetensors`` file.

    Args:
        path: The file.

    Returns:
        Arrays by name, ordered by name; bfloat16 becomes float32.

    Raises:
        CheckpointError: The file cannot be read, is damaged, or is not a safetensors file.
        MissingDependencyError: The package safetensors is not installed.
    """
    try:
        import safetensors
    except ImportError as error:
        raise MissingDependencyError(
            "reading a .safetensors file needs the package safetensors", hint="pip install safetensors"
        ) from error
    deserialize: Any = safetensors.deserialize  # which has no types
    with refusing(path, "safetensors file", "a .safetensors file"):
        try:
            entries = deserialize(path.read_bytes())
        except safetensors.SafetensorError as error:
            raise DamagedError(str(error)) from error
        if not entries:
            raise DamagedError("it holds no tensors")
        return {name: _array(name, entry) for name, entry in sorted(entries, key=lambda pair: pair[0])}


def _array(name: str, entry: dict[str, Any]) -> NDArray[Any]:
    kind = entry["dtype"]
    if kind not in _DTYPES:
        raise DamagedError(f"tensor {name!r:.80} has the type {kind}, which is not supported")
    array: NDArray[Any] = np.frombuffer(entry["data"], dtype=_DTYPES[kind])
    if kind == "BOOL" and len(array) and array.view(np.uint8).max() > 1:
        raise DamagedError(f"tensor {name!r:.80} has a truth value that is neither 0 nor 1")
    if kind == "BF16":
        array = widen_bfloat16(array)
    array = array.reshape(entry["shape"])
    array.setflags(write=False)
    return array
