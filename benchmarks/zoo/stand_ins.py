"""What stands for things that old code misses: stubs, unknown numbers, and names as they were."""

from __future__ import annotations

import inspect
import sys
import types
from typing import Any

from mindspore import nn, ops

used: set[str] = set()
"""Names of what was used since the process began; `leniency` tells what they mean."""


def _in_cell() -> bool:
    """Whether a network is being built just now."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_name == "__init__" and isinstance(frame.f_locals.get("self"), nn.Cell):
            return True
        frame = frame.f_back
    return False


class _StubType(type):
    """Classes that stand for anything: called, asked for names, used as a base or a decorator."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return stub(f"{cls.__stub__}.{name}")

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls.__mro__[1] is not object:  # a class of the code that has a stub as its base
            return super().__call__(*args, **kwargs)
        if _in_cell():
            used.add(f"called:{cls.__stub__}")
        if len(args) == 1 and not kwargs and inspect.isroutine(args[0]):
            return args[0]
        return stub(f"{cls.__stub__}()")

    def __iter__(cls) -> Any:
        return iter(())

    def __len__(cls) -> int:
        return 0

    def __bool__(cls) -> bool:
        return False

    def __enter__(cls) -> Any:
        return cls

    def __exit__(cls, *args: Any) -> None:
        return None

    def __getitem__(cls, key: Any) -> Any:
        return stub(f"{cls.__stub__}[]")

    def __setitem__(cls, key: Any, value: Any) -> None:
        return None


def stub(name: str) -> Any:
    """Something that stands for what is missing."""
    return _StubType("Stub", (), {"__stub__": name, "__module__": "stubs"})


class Unknown(int):
    """What a statement would have set that failed: some number, which checkpoints tell, or whatever it is used as."""

    def __new__(cls) -> Unknown:
        """A number like that of classes."""
        return super().__new__(cls, 16)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Unknown()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Another one."""
        return Unknown()

    def __getitem__(self, key: Any) -> Any:
        return Unknown()

    def __setitem__(self, key: Any, value: Any) -> None:
        return None

    def __len__(self) -> int:
        return 16

    def __iter__(self) -> Any:
        return iter(())

    def __enter__(self) -> Unknown:
        return self

    def __exit__(self, *args: Any) -> None:
        return None


class StubModule(types.ModuleType):
    """A module of which everything can be asked."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return stub(f"{self.__name__}.{name}")


class EasyDict(dict):
    """A dictionary whose keys are attributes, and so are those of dictionaries in it."""

    def __init__(self, given: Any = None, **more: Any):
        super().__init__()
        for key, value in {**dict(given or {}), **more}.items():
            setattr(self, key, value)
        for key, value in vars(type(self)).items():
            if not (key.startswith("__") and key.endswith("__")) and key not in ("update", "pop"):
                setattr(self, key, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, (list, tuple)):
            value = type(value)(EasyDict(item) if isinstance(item, dict) else item for item in value)
        elif isinstance(value, dict) and not isinstance(value, EasyDict):
            value = EasyDict(value)
        super().__setattr__(name, value)
        super().__setitem__(name, value)

    __setitem__ = __setattr__

    def update(self, given: Any = None, **more: Any) -> None:
        """As of a dictionary; attributes follow."""
        for key, value in {**dict(given or {}), **more}.items():
            setattr(self, key, value)

    def pop(self, key: str, *default: Any) -> Any:
        """As of a dictionary; attributes follow."""
        if key in self.__dict__:
            delattr(self, key)
        return super().pop(key, *default)


EasyDict.__module__ = "easydict"


class ResizeBilinear(nn.Cell):
    """As `nn.ResizeBilinear` was."""

    def __init__(self, half_pixel_centers: bool = False):
        super().__init__()
        self.half_pixel_centers = half_pixel_centers

    def construct(self, x: Any, size: Any = None, scale_factor: Any = None, align_corners: bool = False) -> Any:
        """Resize to a size, or by a factor."""
        if size is None:
            size = (x.shape[2] * scale_factor, x.shape[3] * scale_factor)
        half = self.half_pixel_centers and not align_corners
        return ops.operations.ResizeBilinearV2(align_corners, half)(x, size)


class ResizeBilinearOperation(nn.Cell):
    """As `ops.ResizeBilinear` was: the size is told beforehand."""

    def __init__(self, size: Any, align_corners: bool = False, half_pixel_centers: bool = False):
        super().__init__()
        self.size = tuple(size)
        self.resize = ops.operations.ResizeBilinearV2(align_corners, half_pixel_centers)

    def construct(self, x: Any) -> Any:
        """Resize."""
        return self.resize(x, self.size)


ResizeBilinear.__module__ = "mindspore.nn"
ResizeBilinearOperation.__module__ = "mindspore.ops"
ResizeBilinearOperation.__name__ = ResizeBilinearOperation.__qualname__ = "ResizeBilinear"


class Validator:
    """As `mindspore._checkparam.Validator` was: values pass as they are."""

    def __getattr__(self, name: str) -> Any:
        def passing(*args: Any, **kwargs: Any) -> Any:
            return args[1] if name == "check_value_type" and len(args) > 1 else (args[0] if args else None)

        return passing


class Rel:
    """As `mindspore._checkparam.Rel` was."""

    EQ, NE, LT, LE, GT, GE, INC_NEITHER, INC_LEFT, INC_RIGHT, INC_BOTH, IN, NOT_IN = range(1, 13)


def passing(function: Any = None, *args: Any, **kwargs: Any) -> Any:
    """A decorator that decorates nothing."""
    return function if callable(function) else passing
