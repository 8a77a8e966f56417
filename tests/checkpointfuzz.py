"""Seeded damage to checkpoints, and the reading of each file in a process that tells what it cost.

Number N of a seed is always the same file. Mutations know the formats: opcodes of pickles and fields of messages are
changed with all lengths and checksums kept right, since most blind ones end at the first check.
"""

from __future__ import annotations

import io
import json
import mmap
import os
import pickletools
import random
import re
import resource
import struct
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from checkpointlab import BOMBS, STATE, ckpt_entry, message, safe_entry, safetensors_bytes
from openmmlab import DATA, pth_bytes

from mshub_ssd import checkpoints
from mshub_ssd.errors import CheckpointError, UnsupportedFormatError

MOST_SECONDS = 2.0
MOST_BYTES = 256 << 20
_HANG = 30  # seconds of CPU after which a process is ended
_SAMPLES = ("sample_zip", "sample_legacy", "bare_state_dict_zip", "malicious_zip", "malicious_legacy", "signs_zip")
_NUMBERS = [0, 1, 2, 31, 32, 33, 255, 256, 0xFFFF, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 62]
_NUMBERS += [(1 << 63) - 1, 1 << 63, (1 << 64) - 1]


File = tuple[str, bytes]


def seeds(largest: int) -> tuple[list[File], list[File]]:
    """Format and bytes of files to begin with: good and malicious ones, and the bombs of at most `largest` bytes."""
    found = [("pth", (DATA / "pth_samples" / f"{stem}.pth").read_bytes()) for stem in _SAMPLES]
    found += [
        ("pth", pth_bytes(STATE, meta, legacy=legacy)) for legacy in (False, True) for meta in (None, {"a": (1,)})
    ]
    tensors = [
        ("Int8", "i1"),
        ("UInt64", "u8"),
        ("Float16", "f2"),
        ("Float64", "f8"),
        ("Bool", "?"),
        ("BFloat16", "u2"),
    ]
    plain = b"".join(ckpt_entry(f"net.{kind}", (2, 3), kind, np.ones(6, code).tobytes()) for kind, code in tensors)
    sliced = b"".join(ckpt_entry("long", (4,), "Float32", bytes(8)) for _ in range(2))
    found += [("ckpt", plain), ("ckpt", plain + sliced + ckpt_entry("scalar", (), "Int32", bytes(4)))] * 3
    kinds = [("F64", 8), ("F32", 4), ("BF16", 2), ("I8", 1), ("BOOL", 1), ("C64", 8), ("F8_E4M3", 1)]
    header, at = {"__metadata__": {"format": "np"}}, 0
    for kind, size in kinds:
        header[kind] = safe_entry(kind, [2, 3], at, at + 6 * size)
        at += 6 * size
    found += [("safetensors", safetensors_bytes(header, bytes(at)))] * 2
    del header["F8_E4M3"]
    found += [("safetensors", safetensors_bytes(header, bytes(at - 6)))] * 3
    made = [(kind, make(20_000)) for kind, make in BOMBS.values()]
    return found, [(kind, data) for kind, data in made if len(data) <= largest]


def mutant(seed: int, index: int, files: tuple[list[File], list[File]]) -> File:
    """File number `index`: its format and its bytes."""
    draw = random.Random(f"{seed}:{index}")
    samples, hostile = files
    kind, data = draw.choice(hostile if hostile and draw.random() < 0.1 else samples)
    others = [other for name, other in samples if name == kind]
    if draw.random() < 0.6:
        data = _STRUCTURES[kind](draw, data)
    for _ in range(draw.choice([0, 0, 1, 1, 2, 4])):
        data = _blind(draw, data, draw.choice(others))
    return kind, data


def _blind(draw: random.Random, data: bytes, other: bytes) -> bytes:
    changed = bytearray(data or b"\0")
    # Most bytes are tensors; structure stands at the beginning and at the end.
    at = draw.choice([draw.randrange(len(changed)), draw.randrange(min(len(changed), 600))])
    at = at if draw.random() < 0.7 else len(changed) - 1 - min(at, len(changed) - 1)
    match draw.randrange(9):
        case 0 | 1:
            changed[at] ^= 1 << draw.randrange(8)
        case 2:
            changed[at : at + draw.randint(1, 4)] = draw.randbytes(draw.randint(1, 4))
        case 3:
            del changed[at : at + draw.randint(1, 9)]
        case 4:
            changed[at:at] = draw.randbytes(draw.randint(1, 9))
        case 5:
            del changed[at:]
        case 6:
            start = draw.randrange(len(other) or 1)
            changed[at : at + draw.choice([0, 20])] = other[start : start + draw.randint(1, 300)]
        case _:
            size = draw.choice([1, 2, 4, 8])
            value = draw.choice(_NUMBERS) & ((1 << 8 * size) - 1)
            changed[at : at + size] = value.to_bytes(size, draw.choice(["little", "little", "big"]))
    return bytes(changed)


# --- pickles


def _opcodes(pickled: bytes) -> list[bytes]:
    places = [at for _, _, at in pickletools.genops(pickled)]
    return [pickled[start:end] for start, end in zip(places, [*places[1:], len(pickled)], strict=True)]


def _any_opcode(draw: random.Random) -> bytes:
    number = draw.choice([*_NUMBERS, -1, -(1 << 31)])
    packed = number.to_bytes(9, "little", signed=True)
    slot = draw.randrange(12)
    return draw.choice(
        [
            *(bytes([code]) for code in b"(})]tNRQsuaeb.\x85\x86\x87\x88\x89"),
            *(b"h%c" % slot, b"q%c" % slot, b"r" + struct.pack("<I", number & 0xFFFFFFFF)),
            *(b"h%c" % slot, b"h%c" % slot, b"K%c" % (number & 255), b"J" + struct.pack("<i", draw.choice([-1, 0, 7]))),
            *(b"\x8a\x09" + packed, b"\x8a" + bytes([draw.randrange(256)]) + packed),
            *(b"G" + draw.randbytes(8), b"X" + struct.pack("<I", number & 0xFFFFFFFF), b"X\x01\0\0\0a"),
            *(b"X\x03\0\0\0neg", b"X\x04\0\0\0conj", b"X\x0a\0\0\0state_dict", b"X\x06\0\0\0latin1"),
            *(b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"c_codecs\nencode\n"),
            *(b"ctorch\nComplexFloatStorage\n", b"ctorch\nBFloat16Storage\n", b"ctorch._utils\n_rebuild_parameter\n"),
        ]
    )


def _changed_pickle(draw: random.Random, pickled: bytes) -> bytes:
    try:
        codes = _opcodes(pickled)
    except (ValueError, UnicodeDecodeError):
        return pickled
    for _ in range(draw.choice([1, 1, 1, 2, 5])):
        at, other = draw.randrange(len(codes) + 1), draw.randrange(len(codes) or 1)
        match draw.randrange(8):
            case 0:
                del codes[at : at + draw.choice([1, 1, 3])]
            case 1:
                codes[at:at] = codes[other : other + 1]
            case 2 if max(at, other) < len(codes):
                codes[at], codes[other] = codes[other], codes[at]
            case 3:
                codes[at:at] = codes[min(at, other) : min(at, other) + draw.randrange(20)]
            case 4:
                codes[at:at] = codes[at : at + draw.choice([1, 2, 5])] * draw.choice([2, 10, 1000])
            case 5:
                codes.insert(at, _any_opcode(draw))
            case _:
                codes[at : at + 1] = [_any_opcode(draw)]
    return b"".join(codes)


def _changed_pth(draw: random.Random, data: bytes) -> bytes:
    if data[:4] == b"PK\x03\x04":
        return _changed_zip(draw, data)
    # The parts of the older container: pickles, then storages.
    parts, stream = [], io.BytesIO(data)
    try:
        while len(parts) < 5:
            begin = stream.tell()
            for _ in pickletools.genops(stream):
                pass
            parts.append(data[begin : stream.tell()])
    except (ValueError, UnicodeDecodeError):
        return data
    at = draw.choice([1, 2, 3, 3, 3, 3, 4])
    parts[at] = _changed_pickle(draw, parts[at])
    return b"".join(parts) + data[stream.tell() :]


def _changed_zip(draw: random.Random, data: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as old:
            members = [(info.filename, old.read(info)) for info in old.infolist()]
    except (zipfile.BadZipFile, NotImplementedError):
        return data
    number = next((at for at, (name, _) in enumerate(members) if name.endswith("data.pkl")), 0)
    for _ in range(draw.choice([1, 1, 2])):
        if draw.random() < 0.8:
            members[number] = (members[number][0], _changed_pickle(draw, members[number][1]))
        else:
            at = draw.randrange(len(members))
            name, content = members[at]
            change = draw.randrange(4)
            if change == 0 and len(members) > 1:
                del members[at]
                number = min(number, len(members) - 1)
            elif change == 1:
                members[at] = (draw.choice([name.replace("data", "x"), f"{name}/y", "a/byteorder"]), content)
            else:
                members[at] = (name, content[: draw.randrange(len(content) + 1)] if change == 2 else content * 2)
    buffer = io.BytesIO()
    top = members[number][0].removesuffix("/data.pkl")
    with zipfile.ZipFile(buffer, "w") as new:
        for name, content in dict(members).items():
            new.writestr(name, content)
        if draw.random() < 0.1 and f"{top}/byteorder" not in dict(members):
            new.writestr(f"{top}/byteorder", "big")
    return _changed_directory(draw, buffer.getvalue()) if draw.random() < 0.2 else buffer.getvalue()


def _changed_directory(draw: random.Random, data: bytes) -> bytes:
    """Another number in a field of the directory of members, or of a member's own header."""
    changed = bytearray(data)
    mark, most = draw.choice([(b"PK\x01\x02", 46), (b"PK\x01\x02", 46), (b"PK\x05\x06", 20), (b"PK\x03\x04", 28)])
    places = [found.start() for found in re.finditer(re.escape(mark), data)]
    if places:
        at = draw.choice(places) + draw.randrange(4, most)
        size = draw.choice([2, 4])
        near = int.from_bytes(changed[at : at + size], "little") + draw.choice([-1, 1, 42])
        value = draw.choice([near, *_NUMBERS]) & ((1 << 8 * size) - 1)
        changed[at : at + size] = value.to_bytes(size, "little")
    return bytes(changed)


# --- messages and headers


def _changed_ckpt(draw: random.Random, data: bytes) -> bytes:
    return _changed_message(draw, data, 0)


def _changed_message(draw: random.Random, data: bytes, level: int) -> bytes:
    """One field changed, at any level, with all lengths around it right."""
    fields: list[tuple[int, bytes | int]] = []
    stream = io.BytesIO(data)
    while (key := _read_varint(stream)) is not None:
        value = _read_varint(stream)
        if value is None or key & 7 not in (0, 2):
            return data
        fields.append((key >> 3, value if key & 7 == 0 else stream.read(min(value, len(data)))))
    if not fields:
        return data
    at = draw.randrange(len(fields))
    number, content = fields[at]
    deeper = isinstance(content, bytes) and (level == 0 or (level == 1 and number == 2))
    if deeper and draw.random() < 0.85:
        fields[at] = (number, _changed_message(draw, content, level + 1))
    else:
        match draw.randrange(7):
            case 0:
                del fields[at]
            case 1:
                fields[at:at] = [fields[at]] * draw.choice([1, 2, 40])
            case 2:
                fields[at] = (draw.choice([0, 1, 2, 3, 4, 1 << 20]), content)
            case 3 if isinstance(content, bytes):
                cut = content[: draw.randrange(len(content) + 1)]
                fields[at] = (number, draw.choice([cut, content * 2, draw.randbytes(3), b"BFloat16", b"Bool", b"str"]))
            case 4:
                other = draw.randrange(len(fields))
                fields[at], fields[other] = fields[other], fields[at]
            case _:
                fields.insert(at, (1, draw.choice(_NUMBERS)))
                if draw.random() < 0.5:
                    del fields[at + 1]
    return b"".join(message(number, content) for number, content in fields)


def _read_varint(stream: io.BytesIO) -> int | None:
    value = 0
    for shift in range(0, 70, 7):
        byte = stream.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    return None


def _changed_safetensors(draw: random.Random, data: bytes) -> bytes:
    size = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + size])
        entries = [value for value in header.values() if "shape" in value]
    except (ValueError, AttributeError, TypeError, RecursionError):
        return data
    if not entries:
        return data
    one = draw.choice(entries)
    numbers = draw.choice([one["shape"], one["shape"], one["data_offsets"]])
    match draw.randrange(7):
        case 0:
            one["dtype"] = draw.choice(["F32", "BOOL", "BF16", "U8", "F8_E5M2", "F4", "", None, 3])
        case 1:
            one["shape"] = one["shape"][:1] * draw.choice([0, 1, 2, 32, 33, 40])
        case 2:
            one["shape"] = draw.choice([[0, draw.choice(_NUMBERS)], [1] * 40, [draw.choice(_NUMBERS)] * 3, None])
        case 3:
            header[draw.choice(["", "x" * 5000, "\u202e", "\ud800", "a"])] = one
        case 4:
            data = data[:8] + bytes(size) + draw.randbytes(len(data) - 8 - size)
        case _:
            if numbers:
                numbers[draw.randrange(len(numbers))] = draw.choice([*_NUMBERS, -1, 1.5, None, 1 << 70])
    return safetensors_bytes(header, data[8 + size :])


_STRUCTURES: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "pth": _changed_pth,
    "ckpt": _changed_ckpt,
    "safetensors": _changed_safetensors,
}


# --- reading and measuring


def outcome(path: Path, kind: str) -> str:
    """What reading gives: "read", "refused", or a fault in words."""
    try:
        for array in checkpoints.read(path, kind).values():
            array.tobytes()
    except (CheckpointError, UnsupportedFormatError) as error:
        if "not enough memory" in str(error):
            return "asks for more memory than 3 GiB"
        return "refused" if error.where else "the error does not say where"
    except BaseException:  # noqa: BLE001 - whatever else it is, it is the fault looked for
        return traceback.format_exc()[-1500:]
    return "read"


def _status(key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def measured(path: Path, kind: str, idle: int) -> tuple[str, float, int]:
    """Outcome, seconds of CPU, and bytes above `idle` at the highest."""
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again from here
    start = time.process_time()
    found = outcome(path, kind)
    return found, time.process_time() - start, _status("VmHWM") - idle


def _prepare() -> int:
    """What a process needs before its first file; bytes of memory it then has."""
    room = _status("VmSize") + (3 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return _status("VmRSS")


def singly(path: Path, kind: str, tries: int = 3) -> tuple[str, float, int]:
    """Read one file, each time in a process of its own, again where it is slow: the machine may be."""
    best = ("the process died or hung", float(_HANG), 0)
    for _ in range(tries):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            idle = _prepare()
            resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + _HANG, resource.RLIM_INFINITY))
            os.write(writing, json.dumps(measured(path, kind, idle)).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as stream:
            told = stream.read()
        os.waitpid(child, 0)
        if not told:
            return best
        found, seconds, size = json.loads(told)
        best = min((found, seconds, size), best, key=lambda one: one[1])
        if seconds <= MOST_SECONDS:
            break
    return best


def fault(found: str, seconds: float, size: int) -> str:
    """What is wrong with a measurement, or nothing."""
    if found not in ("read", "refused"):
        return found
    if seconds > MOST_SECONDS:
        return f"takes {seconds:.2f} s"
    return f"takes {size / (1 << 20):.0f} MiB" if size > MOST_BYTES else ""


def mutations(count: int, seed: int, folder: Path, largest_bomb: int = 100_000) -> dict[str, Any]:
    """Read `count` damaged files, one after the other in one process; a dead one is followed by another.

    Returns:
        Counts by format and outcome, the worst of time and memory, and the faults; their files are left in `folder`.
    """
    files = seeds(largest_bomb)
    shared = mmap.mmap(-1, 32)
    tally: Counter[str] = Counter()
    slowest, largest, spent, faults, at = (0.0, -1), (0, -1), 0.0, [], 0
    for index, kind, found, seconds, size in _readings(count, seed, files, folder, shared):
        if fault(found, seconds, size):
            # Once more, in a process that nothing else has happened in.
            path = folder / f"{seed}-{index}.{kind}"
            path.write_bytes(mutant(seed, index, files)[1])
            found, seconds, size = singly(path, kind)
            if wrong := fault(found, seconds, size):
                faults.append(f"{path.name}: {wrong}")
                found = "fault"
            else:
                path.unlink()
        tally[f"{kind} {found}"] += 1
        slowest, largest = max(slowest, (seconds, index)), max(largest, (size, index))
        spent += seconds
        at += 1
    return {
        "files": at,
        "outcomes": dict(sorted(tally.items())),
        "slowest, s": round(slowest[0], 3),
        "largest, MiB": round(largest[0] / (1 << 20), 1),
        "CPU, s": round(spent, 1),
        "faults": faults,
    }


def _readings(
    count: int, seed: int, files: tuple[list[File], list[File]], folder: Path, shared: mmap.mmap
) -> Iterator[tuple[int, str, str, float, int]]:
    at = 0
    while at < count:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            status = 1
            try:
                idle = _prepare()
                with os.fdopen(writing, "w", buffering=1) as stream:
                    for index in range(at, count):
                        shared[:20] = b"%020d" % index
                        kind, data = mutant(seed, index, files)
                        path = folder / f"now.{kind}"
                        path.write_bytes(data)
                        most = int(time.process_time()) + _HANG
                        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
                        stream.write(json.dumps([index, kind, *measured(path, kind, idle)]) + "\n")
                status = 0
            finally:
                os._exit(status)
        os.close(writing)
        with os.fdopen(reading) as stream:
            for line in stream:
                index, kind, found, seconds, size = json.loads(line)
                yield index, kind, found, seconds, size
        _, status = os.waitpid(child, 0)
        at = int(shared[:20]) + 1
        if status:
            last = at - 1
            yield last, mutant(seed, last, files)[0], f"the process died or hung: wait status {status}", 0.0, 0


def bombs(size: int, folder: Path) -> dict[str, Any]:
    """Read every bomb, of up to some `size` bytes, in a process of its own; files of faults are left in `folder`."""
    rows: dict[str, list[Any]] = {}
    faults = []
    for name, (kind, make) in BOMBS.items():
        path = folder / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.{kind}"
        # Made elsewhere, so that the memory it takes is not there to be used again.
        child = os.fork()
        if not child:
            path.write_bytes(make(size))
            os._exit(0)
        os.waitpid(child, 0)
        found, seconds, memory = singly(path, kind)
        rows[name] = [path.stat().st_size, found[:40], round(seconds, 3), round(memory / (1 << 20), 1)]
        if wrong := fault(found, seconds, memory):
            faults.append(f"{path.name}: {wrong}")
        else:
            path.unlink()
    return {
        "files": len(rows),
        "read": sum(row[1] == "read" for row in rows.values()),
        "slowest, s": max(row[2] for row in rows.values()),
        "largest, MiB": max(row[3] for row in rows.values()),
        "faults": faults,
        "bytes, outcome, s, MiB": rows,
    }
