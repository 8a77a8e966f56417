"""A pickle interpreter for PyTorch's checkpoints that can build plain values and tensors, and nothing else.

Python's own unpickler finds and calls whatever a file names. This one knows some thirty opcodes and a short list
of names, each of which stands for code in this module: nothing a file names is ever imported, looked up or
called. Room and time are bounded by the number of bytes and by a number of steps: one for each opcode, and more
where an opcode copies or computes more, charged before it does.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mshub_ssd.checkpoints.content import DamagedError, Steps, shown

__all__ = ["MAX_STEPS", "State", "Storage", "StorageType", "Tensor", "is_plain", "load_pickle"]

MAX_STEPS = 500_000
"""Most steps of one file; a published checkpoint takes some ten thousand, one with its optimizer's state a hundred."""

_MAX_DIMS = 32
_SIDES = f"a tensor's shape or strides are not at most {_MAX_DIMS} whole numbers from 0 up"
_MAX_GLOBAL = 256
# Bytes of all texts of one pickle, and of all bytes made of texts; in memory a text may take four times its bytes.
_MAX_TEXT = 32 << 20
# Larger numbers can be chosen so that all have one hash, and a dictionary of them takes for ever.
_MAX_KEY = 1 << 60


class State(dict[Any, Any]):
    """An OrderedDict of the file; attributes a file sets on it are dropped."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class StorageType:
    """Element type of a storage, as a NumPy type without byte order; ``bf16`` has none."""

    code: str

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return 2 if self.code == "bf16" else int(self.code[1:])


@dataclass(frozen=True, slots=True)
class Storage:
    """A storage as the pickle names it.

    Attributes:
        kind: Element type.
        key: Its name in the file.
        count: Number of elements.
        window: (first element, number of elements) where it is a part of the storage `key`.
    """

    kind: StorageType
    key: str
    count: int
    window: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Tensor:
    """A strided view of a storage; its bounds were checked. Offset and strides count elements.

    Attributes:
        storage: Where its elements lie.
        offset: Its first element.
        shape: Its sides.
        strides: Elements from one to the next, for each side.
        conj: Whether its values are the conjugates of the stored ones, which are complex.
        neg: Whether its values are the stored ones, which are real, with the other sign.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    conj: bool = False
    neg: bool = False

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class _Name:
    """One of the functions and classes a file may name."""

    text: str


_ORDERED_DICT = _Name("collections OrderedDict")
_TENSOR = _Name("torch._utils _rebuild_tensor_v2")
_PARAMETER = _Name("torch._utils _rebuild_parameter")
_ENCODE = _Name("_codecs encode")

_STORAGES = {
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "bf16",
    "DoubleStorage": "f8",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "b1",
    "ComplexFloatStorage": "c8",
    "ComplexDoubleStorage": "c16",
}
# The whole allow list. Files of PyTorch before 0.4 name storages of the GPU they were saved from.
_ALLOWED: dict[str, _Name | StorageType] = {
    name.text: name for name in (_ORDERED_DICT, _TENSOR, _PARAMETER, _ENCODE)
} | {f"{module} {name}": StorageType(code) for module in ("torch", "torch.cuda") for name, code in _STORAGES.items()}

_MARK = object()
# Types whose values PyTorch negates bit by bit.
_NEGATED = {"f4", "f8", "i1", "u1", "i2", "i4", "i8"}
_KEYS = (str, int, float, bytes, type(None))


def load_pickle(
    view: memoryview, at: int, persistent: Callable[[tuple[Any, ...]], Storage], steps: Steps
) -> tuple[Any, int]:
    """Read one pickle of protocol 2.

    Args:
        view: The bytes.
        at: Where the pickle begins.
        persistent: Makes a storage of a persistent id.
        steps: What the file may still cost.

    Returns:
        The value, made of None, bool, int, float, str, bytes, tuple, list, dict, `State` and `Tensor`; and the
        place after its end.

    Raises:
        DamagedError: It is damaged, or asks for anything that is not on the allow list.
    """
    return _Machine(view, at, persistent, steps).run()


def is_plain(value: Any) -> bool:
    """Whether a value of `load_pickle` holds no tensors and no names of the allow list; cycles are none the worse."""
    seen: set[int] = set()
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, (dict, list, tuple)):
            if id(item) in seen:
                continue
            seen.add(id(item))
            rest.extend(item.values() if isinstance(item, dict) else item)
        elif not isinstance(item, (*_KEYS, bool)):
            return False
    return True


class _Machine:
    def __init__(
        self, view: memoryview, at: int, persistent: Callable[[tuple[Any, ...]], Storage], steps: Steps
    ) -> None:
        self.view = view
        self.at = at
        self.persistent = persistent
        self.steps = steps
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.room_for_text = _MAX_TEXT

    def run(self) -> tuple[Any, int]:
        if bytes(self.view[self.at : self.at + 2]) != b"\x80\x02":
            raise DamagedError("its objects are not pickled with protocol 2")
        self.at += 2
        while True:
            self.steps.spend()
            code = self.take(1)[0]
            if code == 0x2E:  # STOP
                value = self.pop()
                if self.stack:
                    raise DamagedError("a pickle ends with values left over")
                return value, self.at
            step = _STEPS.get(code)
            if step is None:
                raise DamagedError(f"its pickle uses the opcode {code:#04x}, which a checkpoint has no need of")
            step(self)

    def take(self, count: int) -> bytes:
        if count > len(self.view) - self.at:
            raise DamagedError("it ends early, within a pickle")
        self.at += count
        return bytes(self.view[self.at - count : self.at])

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise DamagedError("a pickle takes a value that is not there")
        return self.stack.pop()

    def since_mark(self) -> list[Any]:
        place = len(self.stack) - 1
        while place >= 0 and self.stack[place] is not _MARK:
            place -= 1
        if place < 0:
            raise DamagedError("a pickle closes a group it has not opened")
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def charge_text(self, length: int) -> None:
        self.room_for_text -= length
        if self.room_for_text < 0:
            raise DamagedError(f"its pickle holds more than {_MAX_TEXT:,} bytes of text")

    def text(self) -> str:
        length = self.number("<I")
        self.charge_text(length)
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise DamagedError("a text in its pickle is not UTF-8") from error

    def remember(self, place: int) -> None:
        value = self.pop()
        self.stack.append(value)
        self.memo[place] = value

    def recall(self, place: int) -> None:
        if place not in self.memo:
            raise DamagedError("a pickle refers to a value that is not there")
        self.stack.append(self.memo[place])

    def fill(self, items: list[Any]) -> None:
        target = self.pop()
        if not isinstance(target, dict) or len(items) % 2:
            raise DamagedError("a pickle fills something that is no dictionary")
        _fill(target, list(zip(items[::2], items[1::2], strict=True)))
        self.stack.append(target)

    def extend(self, items: list[Any]) -> None:
        target = self.pop()
        if not isinstance(target, list):
            raise DamagedError("a pickle appends to something that is no list")
        target.extend(items)
        self.stack.append(target)

    def last(self, count: int) -> list[Any]:
        return [self.pop() for _ in range(count)][::-1]

    def name(self) -> None:
        words = []
        for _ in range(2):
            line, newline, _ = bytes(self.view[self.at : self.at + _MAX_GLOBAL]).partition(b"\n")
            if not newline:
                raise DamagedError("a name in its pickle is too long, or the file ends within it")
            self.at += len(line) + 1
            words.append(line.decode("utf-8", "backslashreplace"))
        wanted = " ".join(words)
        if wanted not in _ALLOWED:
            raise DamagedError(
                f"it asks for {shown('.'.join(words))}, which a checkpoint has no need of; "
                "it may be malicious. Nothing of it was run",
                hint="do not open it with other programs either; fetch the file again from its publisher",
            )
        self.stack.append(_ALLOWED[wanted])

    def reduce(self) -> None:
        arguments = self.pop()
        function = self.pop()
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise DamagedError("a pickle calls something that is no function")
        self.stack.append(_CALLS[function](self, arguments))

    def build(self) -> None:
        state = self.pop()
        target = self.pop()
        if type(target) is not State or type(state) is not dict:
            raise DamagedError("a pickle sets attributes of something that is no OrderedDict")
        self.stack.append(target)

    def storage(self) -> None:
        identity = self.pop()
        if not isinstance(identity, tuple):
            raise DamagedError("a storage is not named as PyTorch names them")
        self.stack.append(self.persistent(identity))


def _fill(target: dict[Any, Any], pairs: list[tuple[Any, Any]]) -> None:
    for key, value in pairs:
        # Only keys whose hash is cheap: nested tuples can be made to take forever.
        if not isinstance(key, _KEYS):
            raise DamagedError(f"a dictionary has a key that is a {type(key).__name__}")
        if isinstance(key, int) and not -_MAX_KEY < key < _MAX_KEY:
            raise DamagedError(f"a dictionary has the key {shown(key)}")
        if key in target:
            raise DamagedError(f"a dictionary has the key {shown(key)} twice")
        target[key] = value


def _ordered_dict(machine: _Machine, arguments: tuple[Any, ...]) -> State:
    made = State()
    if arguments:
        (pairs,) = arguments if len(arguments) == 1 else (None,)
        if not isinstance(pairs, list):
            raise DamagedError("an OrderedDict is made of something that is no list of pairs")
        # One list can be made into many of them.
        machine.steps.spend(len(pairs))
        if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
            raise DamagedError("an OrderedDict is made of something that is no list of pairs")
        _fill(made, [(pair[0], pair[1]) for pair in pairs])
    return made


def _tensor(machine: _Machine, arguments: tuple[Any, ...]) -> Tensor:
    if len(arguments) not in (6, 7):
        raise DamagedError("a tensor is not described as PyTorch describes them")
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, Storage) or not _is_count(offset):
        raise DamagedError("a tensor is not described as PyTorch describes them")
    for sides in (shape, strides):
        if not isinstance(sides, tuple) or len(sides) > _MAX_DIMS:
            raise DamagedError(_SIDES)
        # One description can be made into many tensors.
        machine.steps.spend(len(sides))
        if not all(map(_is_count, sides)):
            raise DamagedError(_SIDES)
    if len(shape) != len(strides):
        raise DamagedError("a tensor has not as many strides as dimensions")
    available = storage.count if storage.window is None else storage.window[1]
    # One without elements may begin anywhere.
    if 0 not in shape:
        last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
        if last >= available:
            raise DamagedError(f"a tensor reaches to element {last:,} of a storage of {available:,}")
    return Tensor(storage, offset, shape, strides, *_signs(arguments[6:], storage.kind))


def _signs(metadata: tuple[Any, ...], kind: StorageType) -> tuple[bool, bool]:
    """Whether values are to be conjugated and negated, which PyTorch puts off until they are used."""
    marks = metadata[0] if metadata else None
    if marks is None:
        return False, False
    if not isinstance(marks, dict) or not all(
        key in ("conj", "neg") and isinstance(mark, bool) for key, mark in marks.items()
    ):
        raise DamagedError("a tensor is marked in a way that is not known")
    conj, neg = marks.get("conj", False), marks.get("neg", False)
    if conj and not kind.code.startswith("c"):
        raise DamagedError("a tensor is marked as the conjugate of numbers that are not complex")
    # Of all others, what PyTorch makes of zeros and NaNs depends on their place and on the processor.
    if neg and kind.code not in _NEGATED:
        raise DamagedError(f"a tensor of type {kind.code} is marked as the negative of what is stored")
    return conj, neg


def _parameter(_: _Machine, arguments: tuple[Any, ...]) -> Tensor:
    if len(arguments) != 3 or not isinstance(arguments[0], Tensor):
        raise DamagedError("a parameter is made of something that is no tensor")
    return arguments[0]


def _encode(machine: _Machine, arguments: tuple[Any, ...]) -> bytes:
    # How protocol 2 spells bytes.
    if len(arguments) != 2 or not isinstance(arguments[0], str) or arguments[1] != "latin1":
        raise DamagedError("bytes are not spelled as pickle spells them")
    # One text can be made into many.
    machine.charge_text(len(arguments[0]))
    try:
        return arguments[0].encode("latin1")
    except UnicodeEncodeError as error:
        raise DamagedError("bytes are not spelled as pickle spells them") from error


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


_CALLS: dict[_Name, Callable[[_Machine, tuple[Any, ...]], Any]] = {
    _ORDERED_DICT: _ordered_dict,
    _TENSOR: _tensor,
    _PARAMETER: _parameter,
    _ENCODE: _encode,
}

_STEPS: dict[int, Callable[[_Machine], None]] = {
    ord("("): lambda m: m.stack.append(_MARK),
    ord("}"): lambda m: m.stack.append({}),
    ord("]"): lambda m: m.stack.append([]),
    ord(")"): lambda m: m.stack.append(()),
    ord("t"): lambda m: m.stack.append(tuple(m.since_mark())),
    0x85: lambda m: m.stack.append(tuple(m.last(1))),
    0x86: lambda m: m.stack.append(tuple(m.last(2))),
    0x87: lambda m: m.stack.append(tuple(m.last(3))),
    ord("X"): lambda m: m.stack.append(m.text()),
    ord("J"): lambda m: m.stack.append(m.number("<i")),
    ord("K"): lambda m: m.stack.append(m.number("<B")),
    ord("M"): lambda m: m.stack.append(m.number("<H")),
    0x8A: lambda m: m.stack.append(int.from_bytes(m.take(m.number("<B")), "little", signed=True)),
    ord("G"): lambda m: m.stack.append(m.number(">d")),
    ord("N"): lambda m: m.stack.append(None),
    0x88: lambda m: m.stack.append(True),
    0x89: lambda m: m.stack.append(False),
    ord("q"): lambda m: m.remember(m.number("<B")),
    ord("r"): lambda m: m.remember(m.number("<I")),
    ord("h"): lambda m: m.recall(m.number("<B")),
    ord("j"): lambda m: m.recall(m.number("<I")),
    ord("c"): lambda m: m.name(),
    ord("R"): lambda m: m.reduce(),
    ord("Q"): lambda m: m.storage(),
    ord("s"): lambda m: m.fill(m.last(2)),
    ord("u"): lambda m: m.fill(m.since_mark()),
    ord("a"): lambda m: m.extend(m.last(1)),
    ord("e"): lambda m: m.extend(m.since_mark()),
    ord("b"): lambda m: m.build(),
}
