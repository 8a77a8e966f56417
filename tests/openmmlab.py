"""OpenMMLab's golden weights and inputs, and a writer of ``.pth`` files that needs no PyTorch."""

from __future__ import annotations

import hashlib
import io
import json
import math
import struct
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parent / "data"
KEYS = ("openmmlab_ssd300", "openmmlab_ssd512", "openmmlab_ssdlite_mobilenetv2")
# Highest absolute value of the golden input.
_INPUT_RANGE = {"openmmlab_ssdlite_mobilenetv2": 2.0}
_FIRST_GAIN = 1 / 64


def stream(seed: int, name: str) -> np.random.Generator:
    """The random numbers of one tensor."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return np.random.Generator(np.random.Philox(int.from_bytes(digest[:8], "little")))


def golden(key: str) -> dict[str, Any]:
    """The golden arrays of a network."""
    with np.load(DATA / key / "golden.npz") as stored:
        return dict(stored)


def parameters(key: str, layout: str = "params") -> list[tuple[str, tuple[int, ...]]]:
    """PyTorch's names and shapes in order; ``old_params`` is the layout before 2.14."""
    listed = json.loads((DATA / key / f"{layout}.json").read_text(encoding="utf-8"))
    return [(name, tuple(shape)) for name, shape in listed]


@lru_cache(maxsize=1)
def weights(key: str) -> dict[str, np.ndarray]:
    """The golden weights under PyTorch's names."""
    seed = int(golden(key)["seed"])
    return {name: _tensor(name, shape, seed) for name, shape in parameters(key)}


def old_weights(key: str) -> dict[str, np.ndarray]:
    """The golden weights as a file of the old layout holds them; the head's two branches change places there."""
    values = {_old_name(name): value for name, value in weights(key).items()}
    return {name: values[name] for name, _ in parameters(key, "old_params")}


def _old_name(name: str) -> str:
    parts = name.split(".")
    if parts[:2] == ["neck", "extra_layers"]:
        return f"backbone.extra.{2 * int(parts[2]) + int(parts[3])}.{parts[5]}"
    if parts[:2] == ["neck", "l2_norm"]:
        return "backbone.l2_norm.weight"
    if parts[0] == "bbox_head":
        return ".".join([*parts[:3], parts[4]])
    return name


def _tensor(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return np.zeros((), np.int64)
    random = stream(seed, name)
    if kind == "running_mean":
        value = 0.1 * random.standard_normal(shape)
    elif kind == "running_var":
        value = random.uniform(0.8, 1.2, shape)
    elif name.endswith("l2_norm.weight"):
        value = 20 * random.uniform(0.8, 1.2, shape)
    elif kind == "bias":
        value = 0.05 * random.standard_normal(shape)
    elif len(shape) == 1:
        value = random.uniform(0.8, 1.2, shape)
    else:
        gain = _FIRST_GAIN if name == "backbone.features.0.weight" else 1.0
        value = random.standard_normal(shape) * (math.sqrt(2.0 / math.prod(shape[1:])) * gain)
    return value.astype(np.float32)


def picture(key: str) -> np.ndarray:
    """The golden input [1, 3, S, S] of a network."""
    stored = golden(key)
    limit = _INPUT_RANGE.get(key, 100.0)
    random = stream(int(stored["seed"]), "input")
    return random.uniform(-limit, limit, tuple(stored["input_shape"])).astype(np.float32)


_STORAGE = {"f4": "FloatStorage", "f2": "HalfStorage", "f8": "DoubleStorage", "i8": "LongStorage", "b1": "BoolStorage"}


class Pickle:
    """Opcodes of PyTorch's pickles, one value after the other."""

    def __init__(self, legacy: bool) -> None:
        self.legacy = legacy
        self.storages: dict[str, bytes] = {}

    def value(self, value: Any) -> bytes:
        """Any plain value, array (a tensor) or ready-made bytes of opcodes."""
        if isinstance(value, Raw):
            return value.opcodes
        if value is None:
            return b"N"
        if isinstance(value, bool):
            return b"\x88" if value else b"\x89"
        if isinstance(value, int):
            size = value.bit_length() // 8 + 1
            return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
        if isinstance(value, float):
            return b"G" + struct.pack(">d", value)
        if isinstance(value, str):
            text = value.encode()
            return b"X" + struct.pack("<I", len(text)) + text
        if isinstance(value, tuple):
            return b"(" + b"".join(map(self.value, value)) + b"t"
        if isinstance(value, list):
            return b"](" + b"".join(map(self.value, value)) + b"e"
        if isinstance(value, dict):
            pairs = b"".join(self.value(key) + self.value(item) for key, item in value.items())
            return b"}(" + pairs + b"u"
        return self.tensor(value)

    def ordered(self, value: dict[str, Any]) -> bytes:
        """An OrderedDict with the attribute that PyTorch gives it."""
        pairs = b"".join(self.value(key) + self.value(item) for key, item in value.items())
        return b"ccollections\nOrderedDict\n)R(" + pairs + b"u}" + self.value("_metadata") + b"}sb"

    def tensor(self, array: np.ndarray) -> bytes:
        """A contiguous tensor with a storage of its own."""
        key = str(len(self.storages))
        self.storages[key] = array.tobytes()
        strides = tuple(step // array.itemsize for step in np.zeros(array.shape, array.dtype).strides)
        return self.rebuild(self.storage(key, array.dtype.str[1:], array.size), 0, array.shape, strides)

    def storage(self, key: str, kind: str, count: int) -> bytes:
        """A persistent id."""
        last = b"N" if self.legacy else b""
        name = f"ctorch\n{_STORAGE[kind]}\n".encode()
        return (
            b"(" + self.value("storage") + name + self.value(key) + self.value("cpu") + self.value(count) + last + b"tQ"
        )

    def rebuild(self, storage: bytes, offset: int, shape: tuple, strides: tuple) -> bytes:
        """The call that makes a tensor of a storage."""
        arguments = b"".join(map(self.value, (offset, tuple(shape), tuple(strides), False)))
        return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + arguments + b"ccollections\nOrderedDict\n)RtR"


class Raw:
    """Opcodes to stand for a value."""

    def __init__(self, opcodes: bytes) -> None:
        self.opcodes = opcodes


def pth_bytes(
    state: dict[str, Any], meta: dict[str, Any] | None = None, *, legacy: bool = False, extra: bytes = b"N"
) -> bytes:
    """A checkpoint ``{meta, state_dict, extra}``, or a bare state dict where `meta` is None."""
    writer = Pickle(legacy)
    body = writer.ordered(state)
    if meta is not None:
        body = b"}(" + writer.value("meta") + writer.value(meta) + writer.value("state_dict") + body
        body += writer.value("extra") + extra + b"u"
    return container(b"\x80\x02" + body + b".", writer.storages, legacy=legacy)


def container(pickled: bytes, storages: dict[str, bytes], *, legacy: bool = False, top: str = "weights") -> bytes:
    """One of the two containers around a ready pickle; legacy storages are taken to be float32."""
    if not legacy:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(f"{top}/data.pkl", pickled)
            for key, data in storages.items():
                archive.writestr(f"{top}/data/{key}", data)
            archive.writestr(f"{top}/version", b"3\n")
        return buffer.getvalue()
    plain = Pickle(True)
    parts = [bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")]
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts += [b"\x80\x02" + plain.value(1001) + b".", b"\x80\x02" + plain.value(system) + b".", pickled]
    parts.append(b"\x80\x02" + plain.value(sorted(storages)) + b".")
    parts += [struct.pack("<q", len(storages[key]) // 4) + storages[key] for key in sorted(storages)]
    return b"".join(parts)
