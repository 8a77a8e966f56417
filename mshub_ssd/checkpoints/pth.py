"""Reader of PyTorch's checkpoint files (``.pth``), bounded and without PyTorch.

There are two containers. The newer one is a zip file with the pickled objects in ``<name>/data.pkl`` and every
storage in a member of its own; the older one is a row of pickles followed by the storages. Both are read through
`unpickle`, which builds plain values and tensors only. A tensor is a strided view of a storage: it becomes a
read-only array on the file's bytes. Only what NumPy cannot view is copied: bfloat16, the other byte order, and
tensors whose signs PyTorch left to be changed on first use. No two storages share bytes, so widening and swapping
them all takes twice the file's size at most.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.checkpoints.content import (
    DamagedError,
    Steps,
    check_truth,
    file_content,
    printable,
    refusing,
    shown,
    widen_bfloat16,
)
from mshub_ssd.checkpoints.unpickle import MAX_STEPS, Storage, StorageType, Tensor, is_plain, load_pickle
from mshub_ssd.checkpoints.zip_view import Member, checked, stored_members

__all__ = ["read_pth", "read_pth_meta"]

_ZIP = b"PK\x03\x04"
_LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
_LEGACY_PROTOCOL = 1001
_PREAMBLE_STEPS = 1000
_MAX_TENSORS = 20_000
_MAX_NAME = 4096
# All tensors together may have this much more room than their file: shared and repeated storages are rare.
_GROWTH, _ALLOWANCE = 2, 16 << 20
_MAX_STRIDE = 1 << 62


@dataclass
class _Content:
    """A checkpoint's objects, and the bytes of its storages."""

    value: Any
    storages: Callable[[Storage], memoryview]
    byte_order: str


def read_pth(path: Path, content: bytes | memoryview | None = None) -> dict[str, NDArray[Any]]:
    """Read all tensors of a ``.pth`` file.

    Args:
        path: The file: a checkpoint with ``state_dict`` (and ``meta``), or a bare state dict.
        content: Its bytes, where they were read already.

    Returns:
        Arrays by name in the file's order, read-only, possibly strided views of the file's bytes; bfloat16
        becomes float32.

    Raises:
        CheckpointError: The file cannot be read, is damaged, is not a checkpoint, asks for anything but plain
            values and tensors, or is one of MMDetection 1.x.
    """
    with _refusing(path):
        data = file_content(path, content)
        opened = _open(data)
        state, meta = _parts(opened.value)
        _refuse_old_conventions(meta)
        return dict(_arrays(state, opened, _GROWTH * len(data) + _ALLOWANCE))


def read_pth_meta(path: Path, content: bytes | memoryview | None = None) -> dict[str, Any]:
    """The ``meta`` of a ``.pth`` file: plain values such as ``mmdet_version`` and ``CLASSES``; empty without one.

    Args:
        path: The file.
        content: Its bytes, where they were read already.

    Raises:
        CheckpointError: As for `read_pth`.
    """
    with _refusing(path):
        return _parts(_open(file_content(path, content)).value)[1]


def _refusing(path: Path) -> Any:
    return refusing(path, "PyTorch checkpoint", "a .pth file written by torch.save")


def _open(data: bytes) -> _Content:
    if data.startswith(_ZIP):
        return _open_zip(data)
    if data.startswith(_LEGACY):
        return _open_legacy(memoryview(data))
    raise DamagedError("it is neither a zip file nor a row of pickles with PyTorch's magic number")


def _open_zip(content: bytes) -> _Content:
    members = stored_members(content)
    tops = [name.removesuffix("/data.pkl") for name in members if name.endswith("/data.pkl")]
    tops = [name for name in tops if "/" not in name]
    if len(tops) != 1:
        raise DamagedError("it is a zip file, but has no data.pkl" if not tops else "it has two data.pkl")
    top = tops[0]
    if f"{top}/constants.pkl" in members or any(name.startswith(f"{top}/code/") for name in members):
        raise DamagedError("it is a TorchScript program, not a checkpoint")
    order = "<"
    if f"{top}/byteorder" in members:
        word = bytes(members[f"{top}/byteorder"].content[:8])
        if word not in (b"little", b"big"):
            raise DamagedError(f"its byte order is {word!r}")
        order = "<" if word == b"little" else ">"
    known: dict[str, Storage] = {}

    def persistent(identity: tuple[Any, ...]) -> Storage:
        if len(identity) != 5:
            raise DamagedError("a storage is not named as PyTorch names them")
        return _registered(known, identity)

    data = checked(f"{top}/data.pkl", members[f"{top}/data.pkl"])
    value, _ = load_pickle(data, 0, persistent, Steps(MAX_STEPS))

    def storage_bytes(storage: Storage) -> memoryview:
        name = f"{top}/data/{storage.key}"
        member: Member | None = members.get(name)
        if member is None:
            raise DamagedError(f"its member {shown(name)} is missing")
        expected = storage.count * storage.kind.itemsize
        if len(member.content) != expected:
            raise DamagedError(f"its member {shown(name)} has {len(member.content):,} bytes, not {expected:,}")
        return checked(name, member)

    return _Content(value, storage_bytes, order)


def _open_legacy(view: memoryview) -> _Content:
    known: dict[str, Storage] = {}

    def none_yet(_: tuple[Any, ...]) -> Storage:
        raise DamagedError("its preamble refers to a storage")

    def persistent(identity: tuple[Any, ...]) -> Storage:
        if identity[:1] == ("module",):
            raise DamagedError("it holds a pickled nn.Module, that is program code, instead of a state dict")
        if len(identity) != 6:
            raise DamagedError("a storage is not named as PyTorch names them")
        whole = _registered(known, identity)
        window = identity[5]
        if window is None:
            return whole
        numbers = window[1:] if isinstance(window, tuple) and len(window) == 3 else ()
        if len(numbers) != 2 or not all(type(number) is int and number >= 0 for number in numbers):
            raise DamagedError("a part of a storage is not described as PyTorch describes them")
        first, count = numbers
        if first + count > whole.count:
            raise DamagedError("a part of a storage reaches beyond it")
        return Storage(whole.kind, whole.key, whole.count, (first, count))

    preamble, steps = Steps(_PREAMBLE_STEPS), Steps(MAX_STEPS)
    protocol, at = load_pickle(view, len(_LEGACY), none_yet, preamble)
    if type(protocol) is not int or protocol != _LEGACY_PROTOCOL:
        raise DamagedError(f"its protocol is not {_LEGACY_PROTOCOL}")
    system, at = load_pickle(view, at, none_yet, preamble)
    little = system.get("little_endian") if isinstance(system, dict) else None
    if type(little) is not bool:
        raise DamagedError("it does not say its byte order")
    value, at = load_pickle(view, at, persistent, steps)
    keys, at = load_pickle(view, at, none_yet, steps)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise DamagedError("its list of storages is no list of names")
    if len(set(keys)) != len(keys) or set(keys) != set(known):
        raise DamagedError("its list of storages is not the one its tensors need")
    contents: dict[str, memoryview] = {}
    for key in keys:
        if len(view) - at < 8:
            raise DamagedError("it ends early, before a storage")
        (count,) = struct.unpack_from("<q" if little else ">q", view, at)
        at += 8
        expected, size = known[key].count, known[key].count * known[key].kind.itemsize
        if count != expected:
            raise DamagedError(f"the storage {shown(key)} has {count:,} elements, not {expected:,}")
        if size > len(view) - at:
            raise DamagedError(f"it ends early: a storage has {size:,} bytes, {len(view) - at:,} are left")
        contents[key] = view[at : at + size]
        at += size
    return _Content(value, lambda storage: contents[storage.key], "<" if little else ">")


def _registered(known: dict[str, Storage], identity: tuple[Any, ...]) -> Storage:
    """The storage of a persistent id; all ids of one key must agree."""
    word, kind, key, _, count = identity[:5]
    if word != "storage" or not isinstance(kind, StorageType) or not isinstance(key, str) or len(key) > _MAX_NAME:
        raise DamagedError("a storage is not named as PyTorch names them")
    if type(count) is not int or not 0 <= count < 1 << 62:
        raise DamagedError(f"the storage {shown(key)} has {shown(count)} elements")
    storage = known.setdefault(key, Storage(kind, key, count))
    if storage.kind != kind or storage.count != count:
        raise DamagedError(f"the storage {shown(key)} is described in two ways")
    return storage


def _parts(value: Any) -> tuple[Mapping[Any, Any], dict[str, Any]]:
    """State dict and meta of a checkpoint."""
    if not isinstance(value, dict):
        raise DamagedError(f"it holds a {type(value).__name__}, not a state dict")
    state: Any = value
    meta: Any = {}
    if "state_dict" in value:
        state, meta = value["state_dict"], value.get("meta")
        meta = {} if meta is None else meta
        if not isinstance(meta, dict) or not is_plain(meta):
            raise DamagedError("its meta is more than plain values")
    if not isinstance(state, dict):
        raise DamagedError(f"its state_dict is a {type(state).__name__}")
    if not state:
        raise DamagedError("it holds no tensors")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            listed = ", ".join(map(shown, list(value)[:8]))
            raise DamagedError(
                f"the entry {shown(name)} is no tensor, so this is no state dict, and it has none under 'state_dict' "
                f"either; it holds {listed}"
                if state is value
                else f"the entry {shown(name)} of its state_dict is no tensor"
            )
    return state, dict(meta)


def _refuse_old_conventions(meta: Mapping[str, Any]) -> None:
    version = meta.get("mmdet_version")
    if isinstance(version, str) and version.partition(".")[0] in ("0", "1"):
        raise DamagedError(
            f"it was written by MMDetection {printable(version[:40])}, where the background was the first class and "
            "anchors came in another order; weights of 2.0 and later can be used"
        )


def _arrays(state: Mapping[str, Tensor], content: _Content, room: int) -> Iterator[tuple[str, NDArray[Any]]]:
    if len(state) > _MAX_TENSORS:
        raise DamagedError(f"more than {_MAX_TENSORS:,} tensors")
    whole: dict[str, NDArray[Any]] = {}
    for name, tensor in state.items():
        if not name or len(name) > _MAX_NAME:
            raise DamagedError(f"a tensor's name has {len(name):,} characters")
        storage = tensor.storage
        room -= tensor.count * storage.kind.itemsize
        if room < 0:
            raise DamagedError("its tensors repeat their storages until they are far larger than the file")
        if storage.key not in whole:
            whole[storage.key] = _elements(storage, content.storages(storage), content.byte_order)
        yield name, _view(tensor, whole[storage.key])


def _elements(storage: Storage, data: memoryview, byte_order: str) -> NDArray[Any]:
    """A whole storage as an array of one dimension."""
    code = storage.kind.code
    dtype = np.dtype(byte_order + ("u2" if code == "bf16" else code))
    elements: NDArray[Any] = np.frombuffer(data, dtype=dtype) if len(data) else np.zeros(0, dtype)
    if not dtype.isnative:
        elements = elements.astype(dtype.newbyteorder("="))
    if code == "bf16":
        elements = widen_bfloat16(elements)
    elif code == "b1":
        check_truth(elements)
    elements.setflags(write=False)
    return elements


def _view(tensor: Tensor, elements: NDArray[Any]) -> NDArray[Any]:
    if 0 in tensor.shape:
        return np.zeros(tensor.shape, elements.dtype)
    first = tensor.offset + (tensor.storage.window[0] if tensor.storage.window else 0)
    size = elements.itemsize
    # NumPy checks these bounds once more.
    array: NDArray[Any] = np.ndarray(
        tensor.shape,
        elements.dtype,
        buffer=elements,
        offset=first * size,
        # The stride of a single element leads nowhere, and may be any number.
        strides=tuple(min(stride * size, _MAX_STRIDE) for stride in tensor.strides),
    )
    if tensor.conj or tensor.neg:
        array = array.copy()
        (np.conjugate if tensor.conj else np.negative)(array, out=array)
        array.setflags(write=False)
    return array
