"""Writers of ``.ckpt`` and ``.safetensors`` files; the former needs no MindSpore."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import CheckpointError, UsageError
from mshub_ssd.files import new_file
from mshub_ssd.formats import ending_of, format_of, main_endings
from mshub_ssd.lazy import load

__all__ = ["write", "write_ckpt", "write_safetensors"]

# MindSpore cuts tensors into slices of this size, because a message has a limit.
_SLICE = 512 << 20
_CKPT_TYPES = {
    "|i1": "Int8",
    "|u1": "UInt8",
    "<i2": "Int16",
    "<u2": "UInt16",
    "<i4": "Int32",
    "<u4": "UInt32",
    "<i8": "Int64",
    "<u8": "UInt64",
    "<f2": "Float16",
    "<f4": "Float32",
    "<f8": "Float64",
    "|b1": "Bool",
}


def write(path: Path, arrays: Mapping[str, NDArray[Any]], *, overwrite: bool = False, durable: bool = False) -> None:
    """Write a checkpoint; the file appears whole or not at all.

    Args:
        path: Target; its ending says which of the formats that have a writer.
        arrays: Tensors by name, in order.
        overwrite: Replace a file that is there.
        durable: Whether its bytes reach the disk before it gets its name.

    Raises:
        UsageError: The ending is another one, or the file is there.
        CheckpointError: A tensor's type has no place in the format, or the file cannot be written.
        MissingDependencyError: The package of the format is not installed.
    """
    target = format_of(None, path.name)
    if target is None or target.writer is None:
        raise UsageError(
            "the ending of a new checkpoint decides its format",
            where=str(path),
            expected=main_endings(written=True),
            got=ending_of(path.name) or "no ending",
        )
    if path.exists() and not overwrite:
        raise UsageError("the file is there already", where=str(path), hint="choose another name, or overwrite it")
    try:
        with new_file(path, mode=0o666, durable=durable) as file:
            load(target.writer)(file, arrays)
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint cannot be written: {error.strerror or error}",
            where=str(path),
            hint=None if path.parent.is_dir() else f"mkdir -p '{path.parent}'",
        ) from error


def write_ckpt(file: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Protocol Buffers: ``repeated Value value = 1`` with tag, dims, type and content (see `ckpt`)."""
    for name, array in arrays.items():
        kind = _CKPT_TYPES.get(array.dtype.str)
        if kind is None:
            raise CheckpointError(
                f"a .ckpt file cannot hold tensors of type {array.dtype}", where=name, expected=", ".join(_CKPT_TYPES)
            )
        dims = b"".join(b"\x08" + _varint(side) for side in array.shape)
        for content in _slices(array):
            tensor = dims + _field(2, kind.encode()) + _header(3, len(content))
            value = _field(1, name.encode()) + _header(2, len(tensor) + len(content))
            file.write(_header(1, len(value) + len(tensor) + len(content)) + value + tensor)
            file.write(content)


def _slices(array: NDArray[Any]) -> Iterator[memoryview]:
    content = np.asarray(array, order="C").reshape(-1).view(np.uint8).data
    for start in range(0, max(len(content), 1), _SLICE):
        yield content[start : start + _SLICE]


def _field(number: int, content: bytes) -> bytes:
    return _header(number, len(content)) + content


def _header(number: int, length: int) -> bytes:
    return bytes([number << 3 | 2]) + _varint(length)


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def write_safetensors(file: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    """The format of the package safetensors, by that package.

    Raises:
        MissingDependencyError: It is not installed.
        CheckpointError: A tensor's type has no place in the format.
    """
    from safetensors.numpy import save

    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise CheckpointError(f"a .safetensors file cannot hold tensors of type {array.dtype}", where=name)
    # The library writes the memory as it lies.
    file.write(save({name: np.asarray(array, order="C") for name, array in arrays.items()}))
