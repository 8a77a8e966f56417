"""Which pictures a user means who names files, folders and patterns."""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from mshub_ssd.errors import ImageError
from mshub_ssd.schemes import is_url

__all__ = ["find"]

# What is looked for in folders; a file that is named is read whatever its name.
_RASTER = {".bmp", ".dib", ".gif", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp", ".avif"}
_ENDINGS = _RASTER | {".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"}


def find(name: str) -> list[str]:
    """The pictures that a name means.

    Args:
        name: A file or a url, which stand for themselves; a folder, which stands for the pictures in it (not in those
            below it); or a pattern with ``*``, ``?`` or ``[...]``, in which ``**`` stands for any folders. A file
            whose name looks like a pattern is that file.

    Returns:
        At least one name; those of folders and patterns in natural order (2 before 10).

    Raises:
        ImageError: There is no picture in the folder, or none that the pattern fits.
    """
    if is_url(name) or "\0" in name:
        return [name]
    # Not pathlib's: a name too long for a file is no folder, and is told when it is read.
    if os.path.isdir(name):  # noqa: PTH112
        found = _in_folder(name)
        if not found:
            _refuse("there is no picture in this folder", name, f"ls {shlex.quote(name)}")
    elif not set(name) & set("*?[") or os.path.lexists(name):
        return [name]
    else:
        found = [path for path in glob.iglob(name, recursive=True) if not os.path.isdir(path)]  # noqa: PTH112, PTH207
        if not found:
            _refuse("no file fits this pattern", name, "* stands for any name, and ** for any folders")
    return sorted(found, key=_natural)


def _in_folder(name: str) -> list[str]:
    try:
        with os.scandir(name) as entries:
            return [str(Path(name, item.name)) for item in entries if _is_picture(item)]
    except OSError as error:
        hint = f"ls -ld {shlex.quote(name)}"
        raise ImageError("the folder cannot be listed", where=name, got=error.strerror, hint=hint) from error


def _is_picture(item: os.DirEntry[str]) -> bool:
    return Path(item.name).suffix.lower() in _ENDINGS and not item.name.startswith(".") and not item.is_dir()


def _natural(name: str) -> list[tuple[int, int, str]]:
    """What puts 2 before 10, and numbers before letters."""
    parts: Iterable[str] = filter(None, re.split(r"([0-9]{1,18})", name))
    return [(0, int(part), part) if part.isascii() and part.isdecimal() else (1, 0, part) for part in parts]


def _refuse(message: str, name: str, hint: str) -> NoReturn:
    raise ImageError(message, where=name, expected="PNG, JPEG, WebP, BMP, TIFF, GIF, …", hint=hint)
