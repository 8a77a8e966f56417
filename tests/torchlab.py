"""What PyTorch writes, and whether the reader gives the same: seeded state dicts of every type and kind of view."""

from __future__ import annotations

import random
import re
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mshub_ssd import checkpoints
from mshub_ssd.errors import CheckpointError

KNOWN = (
    *(torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint8, torch.bool, torch.complex64, torch.complex128),
)
UNKNOWN = (
    *(torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32, torch.uint64, torch.complex32),
    *("quantized", "sparse", "meta", "script", "subclass"),
)
_PARTS = {torch.complex64: torch.float32, torch.complex128: torch.float64, torch.complex32: torch.float16}


class _Named(torch.Tensor):
    pass


def _bits(draw: random.Random, dtype: torch.dtype, count: int) -> torch.Tensor:
    """Random bits, so that every kind of NaN, infinity and zero occurs."""
    if dtype == torch.bool:
        return torch.tensor([draw.random() < 0.5 for _ in range(count)])
    size = torch.empty(0, dtype=dtype).element_size()
    bits = bytearray(draw.randbytes(count * size))
    if draw.random() < 0.3 and count:
        bits[: min(count, 4) * size] = draw.choice([bytes(size), b"\xff" * size, bytes(size - 1) + b"\x80"]) * min(
            count, 4
        )
    return torch.frombuffer(bits, dtype=dtype) if count else torch.empty(0, dtype=dtype)


def _shape(draw: random.Random) -> tuple[int, ...]:
    return tuple(draw.choice([0, 1, 1, 2, 2, 3, 3, 4, 5, 16]) for _ in range(draw.choice([0, 1, 1, 2, 2, 3, 4])))


def _viewed(draw: random.Random, value: torch.Tensor) -> torch.Tensor:
    """A view of a tensor, of one of the kinds that PyTorch has."""
    sides = value.dim()
    axis = draw.randrange(sides) if sides else 0
    length = value.shape[axis] if sides else 0
    match draw.randrange(14):
        case 0 | 1 if sides:
            start, step = draw.randrange(length + 2), draw.choice([1, 1, 2, 3])
            return value[(slice(None),) * axis + (slice(start, draw.choice([None, length - 1, 0]), step),)]
        case 2 if sides > 1:
            return value.permute(*draw.sample(range(sides), sides))
        case 3:
            return value.unsqueeze(draw.randrange(sides + 1))
        case 4 if sides < 5:
            return value.unsqueeze(0).expand(draw.choice([0, 1, 3]), *value.shape)
        case 5 if value.untyped_storage().nbytes():
            room = value.untyped_storage().nbytes() // value.element_size() - value.storage_offset() - 1
            shape = tuple(draw.choice([0, 1, 2, 2, 3]) for _ in range(draw.randrange(4)))
            strides = tuple(draw.randrange(max(room // max(2 * len(shape), 1), 1) + 1) for _ in shape)
            if 0 in shape or sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True)) <= room:
                return value.as_strided(shape, strides, value.storage_offset())
        case 6 if sides > 1:
            return value.diagonal()
        case 7 if sides and length:
            return value.unfold(axis, draw.randint(1, length), draw.choice([1, 2]))
        case 8 | 9 if value.is_complex():
            return draw.choice(
                [value.real, value.imag, value.conj().imag, value.conj(), value.mH if sides == 2 else value]
            )
        case 10 | 11 if value.is_complex():
            return value.conj()
        case 12 if value.dtype != torch.bool and draw.random() < 0.4:
            return torch._neg_view(value)
        case 13:
            return value.flatten() if draw.random() < 0.5 else value.detach()
    return value


def _tensor(draw: random.Random, dtype: torch.dtype) -> torch.Tensor:
    shape = _shape(draw)
    count = 1
    for side in shape:
        count *= side
    value = _bits(draw, dtype, count + draw.choice([0, 0, 0, 7]))[:count].reshape(shape)
    for _ in range(draw.choice([0, 0, 1, 1, 2, 3])):
        if value.numel() <= 4096:
            value = _viewed(draw, value)
    return value


def _unknown(draw: random.Random) -> Any:
    """Something that PyTorch writes and the reader has no place for."""
    kind = draw.choice(UNKNOWN)
    if isinstance(kind, torch.dtype):
        return _bits(draw, kind, draw.randint(1, 9))
    if kind == "quantized":
        return torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    if kind == "sparse":
        return torch.eye(3).to_sparse()
    if kind == "meta":
        return torch.empty(3, device="meta")
    return torch.Size([1, 2]) if kind == "script" else torch.ones(3).as_subclass(_Named)


def _plain(draw: random.Random, depth: int = 0) -> Any:
    values = [None, True, False, 3, -1, 1 << 70, 0.5, float("nan"), "text", "\u6a21", b"\xff\x00", "", (), [], {}]
    if depth > 2 or draw.random() < 0.6:
        return draw.choice(values)
    inner = [_plain(draw, depth + 1) for _ in range(draw.randrange(4))]
    return draw.choice([inner, tuple(inner), {str(number): one for number, one in enumerate(inner)}])


def _state(draw: random.Random) -> dict[str, Any]:
    tensors = [_tensor(draw, draw.choice(KNOWN)) for _ in range(draw.choice([1, 1, 2, 3, 6]))]
    if draw.random() < 0.3:
        # Several on one storage.
        tensors += [_viewed(draw, draw.choice(tensors).detach()) for _ in range(draw.choice([1, 2]))]
    if draw.random() < 0.2:
        tensors.append(draw.choice(tensors))
    made = OrderedDict() if draw.random() < 0.6 else {}
    for number, one in enumerate(tensors):
        if (one.is_floating_point() or one.is_complex()) and draw.random() < 0.2:
            one = torch.nn.Parameter(one, requires_grad=draw.random() < 0.5)
        made[draw.choice(["layer.weight", "b", "\u6a21", "x y"]) + str(number)] = one
    if isinstance(made, OrderedDict) and draw.random() < 0.5:
        made._metadata = OrderedDict({"": {"version": 1}})
    if draw.random() < 0.05:
        module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
        module.register_buffer("extra", _tensor(draw, torch.int16))
        made = module.state_dict()
    return made


def sample(draw: random.Random) -> tuple[Any, dict[str, torch.Tensor] | None]:
    """Something to save, and the tensors the reader must give, or None where it must refuse."""
    state = _state(draw)
    form = draw.random()
    if form < 0.08:
        return {**state, "odd": _unknown(draw)}, None
    if form < 0.12:
        return draw.choice([{**state, "epoch": 3}, {"model": state}, [state], {"a": {"b": state}}, {}]), None
    if form < 0.6:
        return state, state
    saved: dict[str, Any] = {"state_dict": state}
    if draw.random() < 0.7:
        saved["meta"] = {f"m{number}": _plain(draw) for number in range(draw.randrange(5))}
    if draw.random() < 0.3:
        moments = {"step": torch.tensor(3.0), "exp_avg": torch.ones(2, 3)}
        saved["optimizer"] = {"state": {0: moments, 1: moments}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}
    return dict(draw.sample(list(saved.items()), len(saved))), state


def expected(value: torch.Tensor) -> np.ndarray:
    """The tensor's values as the reader promises them."""
    plain = value.detach().resolve_conj().resolve_neg().contiguous()
    if plain.dtype == torch.bfloat16:
        # By bits: a conversion may change a NaN.
        wide = plain.reshape(-1).view(torch.int16).numpy().astype(np.uint32) << np.uint32(16)
        return wide.view(np.float32).reshape(plain.shape)
    return plain.numpy()


def difference(seed: int, index: int, path: Path) -> str:
    """Save sample number `index` and read it again.

    Returns:
        "equal", "equal, with signs" where PyTorch had put some off, "refused", "refused: why" where it should have
        been read, "cannot be saved", or "different: how".
    """
    draw = random.Random(f"{seed}:{index}")
    warnings.simplefilter("ignore")
    saved, wanted = sample(draw)
    try:
        torch.save(saved, path, _use_new_zipfile_serialization=draw.random() < 0.5)
        arrays = None if wanted is None else {name: expected(value) for name, value in wanted.items()}
    except (RuntimeError, NotImplementedError):
        # Two types on one storage, say.
        return "cannot be saved"
    try:
        found = checkpoints.read(path, "pth")
    except CheckpointError as error:
        return "refused" if arrays is None else f"refused: {re.sub('[0-9]+', 'N', error.message)}"
    if arrays is None:
        return "different: read, although it is no plain state dict"
    if list(found) != list(arrays):
        return f"different: names {list(found)}"
    for name, array in arrays.items():
        got = found[name]
        if (got.dtype, got.shape) != (array.dtype, array.shape):
            return f"different: {name} is {got.dtype} {got.shape}, not {array.dtype} {array.shape}"
        if got.tobytes() != array.tobytes():
            return f"different: {name} of {array.dtype} {array.shape} has other bits"
    signs = any(value.is_conj() or value.is_neg() for value in wanted.values())
    return "equal, with signs" if signs else "equal"


def differences(count: int, seed: int, folder: Path, told: Callable[[str], None] = print) -> dict[str, Any]:
    """As `difference`, `count` times; files that could not be saved are replaced by others."""
    tally: Counter[str] = Counter()
    index = files = 0
    while files < count:
        path = folder / "now.pth"
        found = difference(seed, index, path)
        if found.startswith("different"):
            path.replace(folder / f"{seed}-{index}.pth")
            told(f"{seed}:{index}: {found}")
        files += found != "cannot be saved"
        tally[found] += 1
        index += 1
    equal = tally["equal"] + tally["equal, with signs"]
    supported = files - tally["refused"]
    return {
        "torch": torch.__version__,
        "files": files,
        "read, bit-equal": equal,
        "of these with signs put off": tally["equal, with signs"],
        "different": sum(times for found, times in tally.items() if found.startswith("different")),
        "refused, as they should be": tally["refused"],
        "refused, share of what should be read": round(1 - equal / supported, 4),
        "refusals": dict(sorted((found, times) for found, times in tally.items() if found.startswith("refused: "))),
        "could not be saved": tally["cannot be saved"],
    }
