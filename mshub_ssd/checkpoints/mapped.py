"""What all readers share: the mapped file, one kind of refusal, and bfloat16."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import CheckpointError

__all__ = ["DamagedError", "mapped", "refusing", "widen_bfloat16"]


class DamagedError(Exception):
    """What is wrong with the bytes; becomes a CheckpointError that names the file.

    Args:
        message: What is wrong.
        hint: What to do about it, where completing the file would not help.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


@contextmanager
def refusing(path: Path, kind: str, expected: str) -> Iterator[None]:
    """Turn what a reader meets into a CheckpointError.

    Args:
        path: The file being read.
        kind: What it should be, e.g. ``"MindSpore checkpoint"``.
        expected: Who writes such files.

    Raises:
        CheckpointError: In place of a DamagedError or an OSError.
    """
    try:
        yield
    except DamagedError as error:
        raise CheckpointError(
            f"not a readable {kind}: {error}",
            where=str(path),
            expected=expected,
            hint=error.hint or "check that the file is complete, and that the card's `file-format` is right",
        ) from error
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint: {error.strerror or error}", where=str(path)) from error


def mapped(path: Path) -> memoryview:
    """The file's bytes, read-only and not copied.

    Raises:
        DamagedError: The file is empty.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            raise DamagedError("the file is empty")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def widen_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """bfloat16 is the upper half of a float32; NumPy has no such type."""
    wide = np.zeros(bits.shape, dtype="<u4")
    # In place: a temporary would cost as much memory again.
    wide |= bits
    wide <<= 16
    return wide.view("<f4")
