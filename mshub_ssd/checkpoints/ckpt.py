"""Reader of MindSpore's ``.ckpt`` files, bounded and without MindSpore.

The file is a Protocol Buffers message, ``repeated Value value = 1``, with ``Value {string tag = 1;
Tensor tensor = 2}`` and ``Tensor {repeated int64 dims = 1; string tensor_type = 2; bytes tensor_content = 3}``.
A tensor above 512 MiB stands in several neighbouring values of the same tag. A file saved with
``crc_check=True`` ends with ``crc_num`` and ten bytes of CRC-32. Every length is checked against what is left
of the file before anything is allocated, and numbers are counted, so a damaged or hostile file ends in a
`CheckpointError`.
"""

from __future__ import annotations

import binascii
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.checkpoints.content import (
    DamagedError,
    Steps,
    check_truth,
    file_content,
    refusing,
    shown,
    widen_bfloat16,
)

__all__ = ["read_ckpt"]

_DTYPES = {
    "Int8": "<i1",
    "UInt8": "<u1",
    "Int16": "<i2",
    "UInt16": "<u2",
    "Int32": "<i4",
    "UInt32": "<u4",
    "Int64": "<i8",
    "UInt64": "<u8",
    "Float16": "<f2",
    "Float32": "<f4",
    "Float64": "<f8",
    "Bool": "|b1",
    # The upper half of a float32; NumPy has no such type, so it is widened.
    "BFloat16": "<u2",
}
_MAX_TENSORS = 100_000
_MAX_NAME = 4096
_MAX_DIMS = 32
# Numbers that structure the file: keys of fields, lengths, sides. A tensor has some eighteen.
_MAX_NUMBERS = 1_000_000
_CRC_MARK = b"crc_num"


@dataclass
class _Tensor:
    dims: tuple[int, ...]
    kind: str
    chunks: list[memoryview] = field(default_factory=list)


def read_ckpt(path: Path, content: bytes | memoryview | None = None) -> dict[str, NDArray[Any]]:
    """Read all tensors of a ``.ckpt`` file.

    Args:
        path: The file.
        content: Its bytes, where they were read already.

    Returns:
        Arrays by name in the file's order. Text entries are left out. Arrays are read-only views of the
        file's bytes where possible.

    Raises:
        CheckpointError: The file cannot be read, is damaged, or is not a checkpoint.
    """
    with refusing(path, "MindSpore checkpoint", "a .ckpt file written by mindspore.save_checkpoint"):
        view = _without_crc(memoryview(file_content(path, content)))
        return _arrays(_tensors(view, Steps(_MAX_NUMBERS)))


def _without_crc(view: memoryview) -> memoryview:
    """The message without its optional checksum, which is verified."""
    tail = len(_CRC_MARK) + 10
    if len(view) <= tail or bytes(view[-tail:-10]) != _CRC_MARK:
        return view
    body = view[:-tail]
    if binascii.crc32(body) != int.from_bytes(view[-10:], "big"):
        raise DamagedError("its CRC-32 does not fit its content")
    return body


def _tensors(view: memoryview, steps: Steps) -> dict[str, _Tensor]:
    found: dict[str, _Tensor] = {}
    last = None
    for number, value in _fields(view, steps):
        if number != 1 or not isinstance(value, memoryview):
            raise DamagedError(f"unexpected field {number} at the top level")
        tag, tensor = _value(value, steps)
        if tag in found:
            known = found[tag]
            # Slices of one large tensor stand side by side; anything else is a clash.
            if tag != last or known.dims != tensor.dims or known.kind != tensor.kind:
                raise DamagedError(f"two tensors are called {shown(tag)}")
            known.chunks += tensor.chunks
        elif len(found) >= _MAX_TENSORS:
            raise DamagedError(f"more than {_MAX_TENSORS:,} tensors")
        else:
            found[tag] = tensor
        last = tag
    return found


def _value(view: memoryview, steps: Steps) -> tuple[str, _Tensor]:
    tag: str | None = None
    tensor: _Tensor | None = None
    for number, value in _fields(view, steps):
        if number == 1 and isinstance(value, memoryview):
            tag = _text(value, "a tensor's name")
        elif number == 2 and isinstance(value, memoryview):
            tensor = _tensor(value, steps)
        elif number == 3:
            raise DamagedError("it holds a map parameter, which no network here has")
        else:
            raise DamagedError(f"unexpected field {number} in an entry")
    if not tag or tensor is None:
        raise DamagedError("an entry has no name or no tensor")
    return tag, tensor


def _tensor(view: memoryview, steps: Steps) -> _Tensor:
    dims: list[int] = []
    kind = ""
    content = memoryview(b"")
    for number, value in _fields(view, steps):
        if number == 1:
            # Written one by one by MindSpore; the packed form is as valid.
            dims += [value] if isinstance(value, int) else _varints(value, steps)
            if len(dims) > _MAX_DIMS:
                raise DamagedError(f"a tensor with more than {_MAX_DIMS} dimensions")
        elif number == 2 and isinstance(value, memoryview):
            kind = _text(value, "a tensor's type")
        elif number == 3 and isinstance(value, memoryview):
            content = value
        else:
            raise DamagedError(f"unexpected field {number} in a tensor")
    # Scalars were written as [0] by older versions, as [] by newer ones.
    return _Tensor(() if dims == [0] and len(content) else tuple(dims), kind, [content])


def _arrays(tensors: dict[str, _Tensor]) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for name, tensor in tensors.items():
        if tensor.kind == "str":
            continue
        if tensor.kind not in _DTYPES:
            raise DamagedError(f"tensor {shown(name)} has the unknown type {shown(tensor.kind)}")
        dtype = np.dtype(_DTYPES[tensor.kind])
        count = math.prod(tensor.dims)
        size = sum(len(chunk) for chunk in tensor.chunks)
        if size != count * dtype.itemsize:
            raise DamagedError(
                f"tensor {shown(name)} of shape {tensor.dims} and type {tensor.kind} has {size:,} bytes, "
                f"not {count * dtype.itemsize:,}"
            )
        content = tensor.chunks[0] if len(tensor.chunks) == 1 else b"".join(tensor.chunks)
        array: NDArray[Any] = np.frombuffer(content, dtype=dtype).reshape(tensor.dims)
        if tensor.kind == "Bool":
            check_truth(array)
        elif tensor.kind == "BFloat16":
            array = widen_bfloat16(array)
        arrays[name] = array
    if not arrays:
        raise DamagedError("it holds no tensors")
    return arrays


def _fields(view: memoryview, steps: Steps) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a message: an int for varints, the bytes for everything else."""
    at, end = 0, len(view)
    while at < end:
        steps.spend(2)
        key, at = _varint(view, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(view, at)
            yield number, value
        elif wire == 2:
            length, at = _varint(view, at)
            if length > end - at:
                raise DamagedError(f"it ends early: {length:,} bytes are announced, {end - at:,} are left")
            yield number, view[at : at + length]
            at += length
        else:
            raise DamagedError(f"field {number} has wire type {wire}")


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            raise DamagedError("it ends within a number")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise DamagedError("a number is longer than 64 bits")


def _varints(view: memoryview, steps: Steps) -> list[int]:
    values: list[int] = []
    at = 0
    while at < len(view) and len(values) <= _MAX_DIMS:
        steps.spend()
        value, at = _varint(view, at)
        values.append(value)
    return values


def _text(view: memoryview, what: str) -> str:
    if len(view) > _MAX_NAME:
        raise DamagedError(f"{what} is longer than {_MAX_NAME} bytes")
    try:
        return bytes(view).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DamagedError(f"{what} is not UTF-8") from error
