"""Checkpoint files to arrays: ``read(path)`` gives {name: array}, `matching` fits them to a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd.checkpoints.matching import LoadReport, match_parameters, refuse, without_wrapping
from mshub_ssd.checkpoints.torch_names import Translation, translate
from mshub_ssd.errors import needing_extra
from mshub_ssd.formats import FORMATS, supported_format
from mshub_ssd.lazy import load

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "LoadReport",
    "Translation",
    "match_parameters",
    "read",
    "refuse",
    "translate",
    "without_wrapping",
    "write",
]


def read(
    path: Path, file_format: str = "ckpt", *, content: bytes | memoryview | None = None
) -> dict[str, NDArray[Any]]:
    """Read all tensors of a checkpoint.

    Args:
        path: The file.
        file_format: A key of `mshub_ssd.formats.FORMATS`; empty to go by the file's ending.
        content: The file's bytes, where they were read, and verified, already; `path` is then only named in errors.
            Bytes are used as they are, a memoryview is copied.

    Returns:
        Arrays by the file's own names, in its order; they may be read-only, strided views of its bytes in memory.

    Raises:
        CheckpointError: The file cannot be read, is damaged, or is no checkpoint.
        UnsupportedFormatError: No reader for this format.
        MissingDependencyError: NumPy, or the format's own package, is not installed.
    """
    key = supported_format(file_format, path.name)
    with needing_extra(f"reading a .{key} file"):
        arrays: dict[str, NDArray[Any]] = load(FORMATS[key].reader or "")(path, content)
    return arrays


def write(path: Path, arrays: Mapping[str, NDArray[Any]], *, overwrite: bool = False, durable: bool = False) -> None:
    """Write a ``.ckpt`` or ``.safetensors`` file, as its ending says; it appears whole or not at all.

    Args:
        path: Target.
        arrays: Tensors by name, in order.
        overwrite: Replace a file that is there.
        durable: Whether its bytes reach the disk before it gets its name.

    Raises:
        UsageError: The ending is another one, or the file is there.
        CheckpointError: A tensor's type has no place in the format, or the file cannot be written.
        MissingDependencyError: NumPy, or the format's own package, is not installed.
    """
    with needing_extra("writing a checkpoint"):
        load("mshub_ssd.checkpoints.writing:write")(path, arrays, overwrite=overwrite, durable=durable)
