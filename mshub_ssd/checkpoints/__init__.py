"""Checkpoint files to arrays: ``read(path)`` gives {name: array}, `matching` fits them to a network."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd.checkpoints.matching import LoadReport, match_parameters, refuse, without_wrapping
from mshub_ssd.checkpoints.torch_names import Translation, translate
from mshub_ssd.errors import MissingDependencyError, UnsupportedFormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "FORMATS",
    "LoadReport",
    "Translation",
    "match_parameters",
    "read",
    "refuse",
    "supported_format",
    "translate",
    "without_wrapping",
    "write",
]

# File formats that can be read, by the card's `file-format` or the file's ending, and their readers. The readers
# need NumPy, which fetching a file does not.
FORMATS = {
    "ckpt": "mshub_ssd.checkpoints.ckpt:read_ckpt",
    "pth": "mshub_ssd.checkpoints.pth:read_pth",
    "safetensors": "mshub_ssd.checkpoints.safetensors_file:read_safetensors",
}

_ADVICE = {
    "mindir": "a MINDIR holds a compiled graph: load it with mindspore.load and nn.GraphCell",
    "ms": "a .ms file is for MindSpore Lite: run it with mindspore_lite.Model",
    "mslite": "a .ms file is for MindSpore Lite: run it with mindspore_lite.Model",
    "onnx": "an ONNX model runs in ONNX Runtime; MindSpore does not read it",
    "air": "an AIR model is compiled for one Ascend chip: convert it with the ATC tool",
}


def supported_format(file_format: str, name: str) -> str:
    """The key of `FORMATS` for an asset.

    Args:
        file_format: What the card says, may be empty.
        name: File name or url of the asset, whose ending is used where the card says nothing.

    Raises:
        UnsupportedFormatError: The format cannot be loaded into a Cell; the error says what to do instead.
    """
    ending = Path(name.split("?")[0]).suffix.lower().lstrip(".")
    key = (file_format or ending).strip().lower().lstrip(".")
    if key in FORMATS:
        return key
    raise UnsupportedFormatError(
        f"assets of format {key or 'unknown'!r} cannot be loaded into a network",
        where=name,
        expected=" or ".join(sorted(FORMATS)),
        got=key or "no file-format and no file name ending",
        hint=_ADVICE.get(key, "look for a card whose asset is a .ckpt, .safetensors or .pth file"),
    )


def read(
    path: Path, file_format: str = "ckpt", *, content: bytes | memoryview | None = None
) -> dict[str, NDArray[Any]]:
    """Read all tensors of a checkpoint.

    Args:
        path: The file.
        file_format: A key of `FORMATS`.
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
    module, _, reader = FORMATS[key].partition(":")
    arrays: dict[str, NDArray[Any]] = getattr(_part(module, f"reading a .{key} file"), reader)(path, content)
    return arrays


def write(path: Path, arrays: Mapping[str, NDArray[Any]], *, overwrite: bool = False) -> None:
    """Write a ``.ckpt`` or ``.safetensors`` file, as its ending says; it appears whole or not at all.

    Args:
        path: Target.
        arrays: Tensors by name, in order.
        overwrite: Replace a file that is there.

    Raises:
        UsageError: The ending is another one, or the file is there.
        CheckpointError: A tensor's type has no place in the format, or the file cannot be written.
        MissingDependencyError: NumPy, or the format's own package, is not installed.
    """
    _part("mshub_ssd.checkpoints.writing", "writing a checkpoint").write(path, arrays, overwrite=overwrite)


def _part(module: str, purpose: str) -> Any:
    """A module that needs NumPy, which the light core does not have."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{purpose} needs {error.name or 'NumPy'}", hint="pip install 'mshub_ssd[mindspore]'"
        ) from error
