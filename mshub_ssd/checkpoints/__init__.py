"""Checkpoint files to arrays: ``read(path)`` gives {name: array}, `matching` fits them to a network."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd.checkpoints.matching import LoadReport, match_parameters, refuse, without_wrapping
from mshub_ssd.errors import UnsupportedFormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "FORMATS",
    "LoadReport",
    "match_parameters",
    "read",
    "refuse",
    "supported_format",
    "without_wrapping",
]

# File formats that can be read, by the card's `file-format` or the file's ending, and their readers. The readers
# need NumPy, which fetching a file does not.
FORMATS = {"ckpt": "mshub_ssd.checkpoints.ckpt:read_ckpt"}

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
        hint=_ADVICE.get(key, "look for a card whose asset is a MindSpore checkpoint (.ckpt)"),
    )


def read(path: Path, file_format: str = "ckpt") -> dict[str, NDArray[Any]]:
    """Read all tensors of a checkpoint.

    Args:
        path: The file.
        file_format: A key of `FORMATS`.

    Returns:
        Arrays by name, in the file's order; they may be read-only views of the file.

    Raises:
        CheckpointError: The file is damaged or is no checkpoint.
        UnsupportedFormatError: No reader for this format.
    """
    module, _, reader = FORMATS[supported_format(file_format, path.name)].partition(":")
    arrays: dict[str, NDArray[Any]] = getattr(importlib.import_module(module), reader)(path)
    return arrays
