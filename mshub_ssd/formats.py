"""Formats of the files that cards name, in one table.

Light: readers and writers are named, and imported by who calls them (`mshub_ssd.lazy.load`), because they need NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from mshub_ssd.errors import UnsupportedFormatError

__all__ = ["FORMATS", "Format", "ending_of", "format_of", "main_endings", "supported_format"]


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        key: Its name here.
        endings: How names of such files end; the first is the usual one.
        words: What cards call it besides `key`.
        reader: ``module:function`` that gives its tensors; None where it cannot be loaded into a network.
        writer: ``module:function`` that writes tensors, None where there is none.
        advice: What to do with a file that has no reader.
    """

    key: str
    endings: tuple[str, ...]
    words: tuple[str, ...] = ()
    reader: str | None = None
    writer: str | None = None
    advice: str = ""


_ALL = (
    Format(
        "ckpt",
        (".ckpt",),
        reader="mshub_ssd.checkpoints.ckpt:read_ckpt",
        writer="mshub_ssd.checkpoints.writing:write_ckpt",
    ),
    Format(
        "safetensors",
        (".safetensors",),
        reader="mshub_ssd.checkpoints.safetensors_file:read_safetensors",
        writer="mshub_ssd.checkpoints.writing:write_safetensors",
    ),
    # Whatever torch.save wrote; the reader looks at the bytes, and refuses what has such a name only.
    Format("pth", (".pth", ".pt", ".bin"), words=("pt",), reader="mshub_ssd.checkpoints.pth:read_pth"),
    Format(
        "mindir",
        (".mindir",),
        advice="a MINDIR holds a compiled graph: load it with mindspore.load and nn.GraphCell",
    ),
    Format(
        "mslite",
        (".ms",),
        words=("ms",),
        advice="a .ms file is for MindSpore Lite: run it with mindspore_lite.Model",
    ),
    Format("onnx", (".onnx",), advice="an ONNX model runs in ONNX Runtime; MindSpore does not read it"),
    Format(
        "air",
        (".air",),
        advice="an AIR model is compiled for one Ascend chip: convert it with the ATC tool",
    ),
)
FORMATS = {one.key: one for one in _ALL}
_BY_WORD = {word: one for one in _ALL for word in (one.key, *one.words)}
_BY_ENDING = {ending: one for one in _ALL for ending in one.endings}


def format_of(word: str | None, name: str) -> Format | None:
    """The format of an asset, None where it is none of the table.

    Args:
        word: What the card says, may be empty.
        name: File name or url of the asset, whose ending tells where the card says nothing.
    """
    word = _normal(word)
    return _BY_WORD.get(word) if word else _BY_ENDING.get(ending_of(name))


def supported_format(word: str | None, name: str) -> str:
    """The key of an asset's format, which can be loaded into a network.

    Args:
        word: As for `format_of`.
        name: As for `format_of`.

    Raises:
        UnsupportedFormatError: It cannot be loaded; the error says what to do instead.
    """
    found = format_of(word, name)
    if found is not None and found.reader:
        return found.key
    called = _normal(word) or ending_of(name).lstrip(".")
    raise UnsupportedFormatError(
        f"assets of format {called or 'unknown'!r} cannot be loaded into a network",
        where=name,
        expected=" or ".join(one.key for one in _ALL if one.reader),
        got=called or "no file-format and no file name ending",
        hint=found.advice if found else f"look for a card whose asset is a {main_endings()} file",
    )


def ending_of(name: str) -> str:
    """How a file name or url ends, in small letters and with its dot; empty without an ending."""
    if "://" in name:
        name = unquote(name.partition("?")[0].partition("#")[0])
    name = name.rpartition("/")[2]
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def main_endings(*, written: bool = False) -> str:
    """The usual endings of what can be read, or written, for messages: ``.ckpt, .safetensors or .pth``."""
    *first, last = [one.endings[0] for one in _ALL if (one.writer if written else one.reader)]
    return f"{', '.join(first)} or {last}"


def _normal(word: str | None) -> str:
    return (word or "").strip().lower().lstrip(".")
