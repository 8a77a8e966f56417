"""What all readers share: the file's bytes, one kind of refusal, values in messages, and types NumPy lacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import CheckpointError
from mshub_ssd.files import read_regular

__all__ = ["DamagedError", "Steps", "check_truth", "file_content", "printable", "refusing", "shown", "widen_bfloat16"]

_MAX_SHOWN = 80


class DamagedError(Exception):
    """What is wrong with the bytes; becomes a CheckpointError that names the file.

    Args:
        message: What is wrong.
        hint: What to do about it, where completing the file would not help.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Steps:
    """The work a file may cost; whatever it asks for is charged before it is done."""

    def __init__(self, max_steps: int) -> None:
        self.max_steps = max_steps
        self.left = max_steps

    def spend(self, count: int = 1) -> None:
        """Charge `count` steps.

        Raises:
            DamagedError: There are not so many left.
        """
        self.left -= count
        if self.left < 0:
            raise DamagedError(f"reading it takes more than {self.max_steps:,} steps")


@contextmanager
def refusing(path: Path, kind: str, expected: str) -> Iterator[None]:
    """Turn what a reader meets into a CheckpointError.

    Args:
        path: The file being read.
        kind: What it should be, e.g. ``"MindSpore checkpoint"``.
        expected: Who writes such files.

    Raises:
        CheckpointError: In place of a DamagedError, an OSError, and what sizes out of all bounds lead to.
    """
    damaged = "check that the file is complete, and that the card's `file-format` is right"
    try:
        yield
    except DamagedError as error:
        raise CheckpointError(
            f"not a readable {kind}: {error}", where=str(path), expected=expected, hint=error.hint or damaged
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"cannot read the checkpoint: {error.strerror or error}",
            where=str(path),
            expected="a regular file that may be read",
            hint="check the path, and whose file it is",
        ) from error
    except MemoryError as error:
        raise CheckpointError(
            "there is not enough memory to read the checkpoint",
            where=str(path),
            hint="end other programs, or read it on a machine with more memory than the file has bytes",
        ) from error
    # NumPy's limits on sides, strides and their products; Python's on numbers and nesting.
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise CheckpointError(
            f"not a readable {kind}: it describes something that no array or text can be",
            where=str(path),
            expected=expected,
            hint=damaged,
        ) from error


def file_content(path: Path, given: bytes | memoryview | None) -> bytes:
    """All bytes of a file, read once, so that nothing depends on what becomes of the file.

    Args:
        path: The file.
        given: Its bytes, where they were read already.

    Raises:
        DamagedError: The file is empty.
        OSError: It cannot be read, became shorter meanwhile, or is no regular file.
    """
    # A copy of a memoryview, whose bytes may change or vanish, but not of bytes.
    content = read_regular(path) if given is None else bytes(given)
    if not content:
        raise DamagedError("the file is empty")
    return content


def shown(value: object) -> str:
    """A value of the file, for a message: short and on one line.

    Containers are not spelled out: a few hundred bytes can describe endless ones.
    """
    if isinstance(value, (str, bytes)):
        return repr(value) if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]!r}…"
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a number of {value.bit_length()} bits"
    if value is None or isinstance(value, (int, float)):
        return repr(value)
    return f"a {type(value).__name__}"


def printable(text: str) -> str:
    """A text of the file, for a message, with what is not to be printed replaced."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def check_truth(array: NDArray[np.bool_]) -> None:
    """NumPy takes any byte for a truth value, and does odd things with those above 1.

    Raises:
        DamagedError: One is neither 0 nor 1.
    """
    if array.size and array.view(np.uint8).max() > 1:
        raise DamagedError("a truth value is neither 0 nor 1")


def widen_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """bfloat16 is the upper half of a float32; NumPy has no such type."""
    wide = np.zeros(bits.shape, dtype="<u4")
    # In place: a temporary would cost as much memory again.
    wide |= bits
    wide <<= 16
    return wide.view("<f4")
