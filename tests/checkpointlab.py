"""Checkpoints made of parts, and hostile ones: made to be expensive, or to meet a limit of NumPy or Python."""

from __future__ import annotations

import binascii
import io
import json
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from openmmlab import Pickle, Raw, container, pth_bytes

STATE = {"a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "count": np.array(7.0, np.float32)}


# --- ready-made pieces of files


def text(value: str) -> bytes:
    """The opcode of a text."""
    return Pickle(False).value(value)


ORDERED = b"ccollections\nOrderedDict\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
NEG = b"}" + text("neg") + b"\x88s"


def storage(kind: str = "Float", count: bytes = b"K\x18", key: str = "0", legacy: bool = False) -> bytes:
    """A persistent id; `count` is opcodes."""
    name = f"ctorch\n{kind}Storage\n".encode()
    return b"(" + text("storage") + name + text(key) + text("cpu") + count + (b"N" if legacy else b"") + b"tQ"


def tensor(stored: bytes, offset: int = 0, shape: tuple = (1,), strides: tuple = (1,), mark: bytes = b"") -> bytes:
    """Function and arguments of a tensor, without the call; `mark` is the metadata's opcodes."""
    values = b"".join(map(Pickle(False).value, (offset, shape, strides, False)))
    return REBUILD + b"(" + stored + values + ORDERED + b")R" + mark + b"t"


def beside(opcodes: bytes, legacy: bool = False) -> bytes:
    """A good state dict, with a value made of opcodes next to it."""
    return pth_bytes(STATE, {}, legacy=legacy, extra=opcodes)


def holding(opcodes: bytes, legacy: bool = False) -> bytes:
    """A checkpoint that is one value, with a storage of 24 float32."""
    return container(b"\x80\x02" + opcodes + b".", {"0": STATE["a.weight"].tobytes()}, legacy=legacy)


def entry(opcodes: bytes, legacy: bool = False) -> bytes:
    """A state dict of one entry."""
    return holding(b"}" + text("w") + opcodes + b"s", legacy)


def message(number: int, content: bytes | int) -> bytes:
    """One field of Protocol Buffers."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def ckpt_entry(name: str | bytes, dims: tuple[int, ...], kind: str, content: bytes) -> bytes:
    """One tensor of a ``.ckpt`` file."""
    sides = b"".join(message(1, side) for side in dims)
    inner = sides + message(2, kind.encode()) + message(3, content)
    return message(1, message(1, name if isinstance(name, bytes) else name.encode()) + message(2, inner))


def safetensors_bytes(header: Any, data: bytes = b"") -> bytes:
    """A ``.safetensors`` file with any header."""
    packed = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(packed)) + packed + data


def safe_entry(kind: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


def overlapping(members: int, size: int) -> bytes:
    """A zip file whose storages of bfloat16 share `size` bytes; each holds the headers of those behind it as well."""
    names = [f"w/data/{number:05}" for number in range(members)]
    tail, fields, starts = bytes(size), [], []
    for name in reversed(names):
        sizes = binascii.crc32(tail), len(tail), len(tail), len(name), 0
        fields.insert(0, struct.pack("<5H3I2H", 20, 0, 0, 0, 0, *sizes))
        tail = b"PK\x03\x04" + fields[0] + name.encode() + tail
        starts.insert(0, len(tail))
    tensors = b""
    for name, packed in zip(names, fields, strict=True):
        count = struct.unpack_from("<I", packed, 14)[0] // 2
        tensors += text(name) + tensor(storage("BFloat16", Pickle(False).value(count), name[7:])) + b"R"
    pickled = b"\x80\x02}(" + tensors + b"u."
    names.append("w/data.pkl")
    fields.append(struct.pack("<5H3I2H", 20, 0, 0, 0, 0, binascii.crc32(pickled), len(pickled), len(pickled), 10, 0))
    starts.append(len(tail) + 40 + len(pickled))
    body = b"PK\x03\x04" + fields[-1] + b"w/data.pkl" + pickled + tail
    directory = b"".join(
        b"PK\x01\x02\x14\x00" + packed + struct.pack("<3H2I", 0, 0, 0, 0, len(body) - start) + name.encode()
        for name, packed, start in zip(names, fields, starts, strict=True)
    )
    end = struct.pack("<4H2IH", 0, 0, len(names), len(names), len(directory), len(body), 0)
    return body + directory + b"PK\x05\x06" + end


def stretched(content: bytes) -> bytes:
    """A zip file whose last member is said to reach into the directory of members."""
    data = bytearray(content)
    at = data.rindex(b"PK\x01\x02")
    size = struct.unpack_from("<I", data, at + 20)[0] + 8
    struct.pack_into("<2I", data, at + 20, size, size)
    return bytes(data)


# --- bombs: name → format, and the file for a number of bytes, which those of a fixed size leave aside

_HUGE = b"\x8a\xff" + b"\x7f" * 255
# A tuple that would be 10 ** 40 values long if spelled out.
ENDLESS = b"(" * 40 + b"K\x01" + b"".join(b"q%c" % level + b"h%c" % level * 9 + b"t" for level in range(40))


def _repeated(first: bytes, again: bytes, size: int) -> bytes:
    """A value made once and used over and over, all in one tuple."""
    return b"(" + first + again * (size // len(again)) + b"t"


def _counted(part: Callable[[int], bytes], size: int) -> bytes:
    return b"".join(part(number) for number in range(size // len(part(1 << 16))))


def _number(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def _states(count: int, arguments: bytes, each: bytes, stored: bytes = bytes(96)) -> bytes:
    """`count` entries: `each` is the opcodes of a value, made of function 1 and arguments 2 of the memo."""
    first = text("x") + b"(" + REBUILD + b"q\x01" + arguments[len(REBUILD) :] + b"q\x02" + b"h\x01h\x02Rq\x03t"
    entries = b"".join(text(f"{number:05x}") + each for number in range(count))
    return container(b"\x80\x02}(" + first + text("state_dict") + b"}(" + entries + b"uu.", {"0": stored})


def _members(size: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("w/data.pkl", b"\x80\x02" + b"}" * 400_000 + b".")
        for number in range(size // 120):
            archive.writestr(f"w/data/{number:05}", b"")
    return buffer.getvalue()


_SIDES = (0, 1 << 62, 1 << 62)
_ONES = (1,) * 32
_ZEROS = (0,) * 32
_MERSENNE = (1 << 61) - 1
_BIG = Pickle(False).value

BOMBS: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "endless tuple as a count": ("pth", lambda n: entry(tensor(storage(count=ENDLESS)) + b"R")),
    "deep tuple as a count": ("pth", lambda n: entry(tensor(storage(count=b"K\x01" + b"\x85" * n)) + b"R")),
    "deep tuple as a count, legacy": (
        "pth",
        lambda n: entry(tensor(storage(count=b"K\x01" + b"\x85" * n, legacy=True)) + b"R", True),
    ),
    "huge count": ("pth", lambda n: entry(tensor(storage(count=_HUGE)) + b"R")),
    "deep tuple as a key": ("pth", lambda n: beside(b"}K\x01" + b"\x85" * n + b"Ns")),
    "deep tuple as a mark": ("pth", lambda n: entry(tensor(storage(), mark=b"}K\x01" + b"\x85" * n + b"Ns") + b"R")),
    "deep tuple as protocol": ("pth", lambda n: holding(b"K\x01", True)[:15] + b"\x80\x02K\x01" + b"\x85" * n + b"."),
    "deep tuple": ("pth", lambda n: beside(b"K\x01" + b"\x85" * n)),
    "deep tuple of three": ("pth", lambda n: beside(b"K\x01q\x00" + b"h\x00h\x00\x87" * (n // 5))),
    "deep list in meta": ("pth", lambda n: pth_bytes(STATE, {"x": Raw(b"]" * (n // 2) + b"a" * (n // 2 - 1))})),
    "wide list in meta": ("pth", lambda n: pth_bytes(STATE, {"x": Raw(_repeated(b"]q\x01", b"h\x01", n))})),
    "deep dictionaries": (
        "pth",
        lambda n: beside(b"(" + ORDERED + b"q\x00)RK\x01" + b"h\x00)RK\x01" * (n // 7) + b"s" * (n // 7) + b"t"),
    ),
    "lists": ("pth", lambda n: beside(_repeated(b"", b"]", n))),
    "dictionaries": ("pth", lambda n: beside(_repeated(b"", b"}", n))),
    "dictionaries of one": ("pth", lambda n: beside(_repeated(b"", b"}NNs", n))),
    "lists of one, legacy": ("pth", lambda n: beside(_repeated(b"", b"]Na", n), True)),
    "OrderedDicts": ("pth", lambda n: beside(_repeated(ORDERED + b"q\x00", b"h\x00)R", n))),
    "OrderedDicts of one list": (
        "pth",
        lambda n: beside(
            b"(]("
            + _counted(lambda k: _number(k) + b"N\x86", n)
            + b"eq\x01"
            + ORDERED
            + b"q\x02"
            + b"h\x02h\x01\x85R" * 1000
            + b"t"
        ),
    ),
    "bytes of one text": (
        "pth",
        lambda n: beside(
            b"("
            + text("x" * n)
            + b"q\x01"
            + text("latin1")
            + b"\x86q\x02c_codecs\nencode\nq\x03"
            + b"h\x03h\x02R" * 2000
            + b"t"
        ),
    ),
    "wide texts": ("pth", lambda n: beside(_repeated(b"", text("\U0001f600"), n))),
    "one wide text": ("pth", lambda n: beside(text("x" * n + "\U0001f600"))),
    "memo": ("pth", lambda n: beside(b"(" + _counted(lambda k: b"}r" + struct.pack("<I", k + 999), n) + b"t")),
    "numbers": ("pth", lambda n: beside(b"(" + _counted(_number, n) + b"t")),
    "names": ("pth", lambda n: beside(_repeated(b"", ORDERED, n))),
    "keys of one hash": (
        "pth",
        lambda n: beside(
            b"}(" + _counted(lambda k: _BIG((k % (1 << 16) + k // (1 << 16) + 1) * _MERSENNE) + b"N", n) + b"u"
        ),
    ),
    "keys of like hashes": ("pth", lambda n: beside(b"}(" + _counted(lambda k: _BIG(k << 40) + b"N", n) + b"u")),
    "tensors": (
        "pth",
        lambda n: beside(
            _repeated(
                REBUILD + b"q\x01" + tensor(storage(), 0, _ONES, _ZEROS)[len(REBUILD) :] + b"q\x02", b"h\x01h\x02R", n
            )
        ),
    ),
    "state of tensors": ("pth", lambda n: _states(7000, tensor(storage(), 0, _ONES, _ZEROS), b"h\x01h\x02R")),
    "state of negatives": ("pth", lambda n: _states(n // 50, tensor(storage(), 0, _ONES, _ZEROS, NEG), b"h\x03")),
    "state of one tensor": ("pth", lambda n: _states(n // 12, tensor(storage()), b"h\x03")),
    "negatives of much": (
        "pth",
        lambda n: _states(
            4, tensor(storage("Double", _BIG(n // 8)), 0, (n // 8,), (1,), NEG), b"h\x03", bytes(n // 8 * 8)
        ),
    ),
    "expanded": ("pth", lambda n: entry(tensor(storage(), 0, (1 << 30, 1 << 30), (0, 0)) + b"R")),
    "members": ("pth", _members),
    "overlapping members": ("pth", lambda n: overlapping(400, n // 2 * 2)),
    "member over the directory": ("pth", lambda n: stretched(pth_bytes(STATE))),
    "empty of 2 ** 124": ("pth", lambda n: entry(tensor(storage(), 0, _SIDES, _SIDES) + b"R")),
    "empty of 2 ** 124, legacy": (
        "pth",
        lambda n: entry(tensor(storage(legacy=True), 0, _SIDES, _SIDES) + b"R", True),
    ),
    "stride of 2 ** 62": ("pth", lambda n: entry(tensor(storage(), 0, (1,), (1 << 62,)) + b"R")),
    "lone surrogate": (
        "pth",
        lambda n: holding(b"}X\x03\x00\x00\x00\xed\xa0\x80" + tensor(storage()) + b"Rs"),
    ),
    "ckpt: side of 2 ** 63": ("ckpt", lambda n: ckpt_entry("x", (0, 1 << 63), "Float32", b"")),
    "ckpt: side of 2 ** 64": ("ckpt", lambda n: ckpt_entry("x", ((1 << 64) - 1, 0), "Float32", b"")),
    "ckpt: empty of 2 ** 124": ("ckpt", lambda n: ckpt_entry("x", _SIDES, "Int8", b"")),
    "ckpt: scalars": (
        "ckpt",
        lambda n: _counted(lambda k: ckpt_entry(f"{k:05x}", (), "Int8", b"a"), n),
    ),
    "ckpt: packed sides": (
        "ckpt",
        lambda n: _counted(
            lambda k: message(1, message(1, b"%05x" % k) + message(2, message(1, b"\x01" * 32) + message(3, b"a"))), n
        ),
    ),
    "ckpt: slices of nothing": ("ckpt", lambda n: message(1, message(1, b"a") + message(2, b"")) * (n // 7)),
    "ckpt: fields of nothing": ("ckpt", lambda n: message(1, message(1, b"a") + message(2, b"\x1a\x00" * (n // 2)))),
    "ckpt: sides of nothing": ("ckpt", lambda n: message(1, message(1, b"a") + message(2, b"\x0a\x00" * (n // 2)))),
    "ckpt: bfloat16": ("ckpt", lambda n: ckpt_entry("x", (n // 2,), "BFloat16", bytes(n // 2 * 2))),
    "safetensors: 40 sides": (
        "safetensors",
        lambda n: safetensors_bytes({"x": safe_entry("F32", [1] * 40, 0, 4)}, bytes(4)),
    ),
    "safetensors: side of 2 ** 63": (
        "safetensors",
        lambda n: safetensors_bytes({"x": safe_entry("F32", [0, 1 << 63], 0, 0)}),
    ),
    "safetensors: empty of 2 ** 124": (
        "safetensors",
        lambda n: safetensors_bytes({"x": safe_entry("F32", list(_SIDES), 0, 0)}),
    ),
    "safetensors: tensors": (
        "safetensors",
        lambda n: safetensors_bytes({f"{k:05x}": safe_entry("U8", [0], 0, 0) for k in range(n // 70)}),
    ),
    "safetensors: sides": (
        "safetensors",
        lambda n: safetensors_bytes({f"{k:05x}": safe_entry("U8", [0] + [1] * 31, 0, 0) for k in range(n // 160)}),
    ),
    "safetensors: one with many sides": (
        "safetensors",
        lambda n: safetensors_bytes(b'{"a":{"dtype":"U8","shape":[0' + b",0" * (n // 2) + b'],"data_offsets":[0,0]}}'),
    ),
    "safetensors: nested": ("safetensors", lambda n: safetensors_bytes(b'{"a":' + b"[" * n)),
    "safetensors: long type": (
        "safetensors",
        lambda n: safetensors_bytes(
            b'{"a":{"dtype":"' + "\u202e".encode() * (n // 6) + b'","shape":[0],"data_offsets":[0,0]}}'
        ),
    ),
    "safetensors: bfloat16": (
        "safetensors",
        lambda n: safetensors_bytes({"x": safe_entry("BF16", [n // 2], 0, n // 2 * 2)}, bytes(n // 2 * 2)),
    ),
}
