"""Which pictures a user means who names files, folders and patterns."""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import NoReturn

from mshub_ssd.errors import ImageError
from mshub_ssd.schemes import is_url

__all__ = ["chosen", "find", "in_order", "named_so"]

# What is looked for in folders; a file that is named is read whatever its name.
_RASTER = {".bmp", ".dib", ".gif", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp", ".avif"}
# A folder of more is in the order of characters.
_MANY = 100_000
_ENDINGS = _RASTER | {".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"}


def find(name: str, *, below: bool = True) -> Iterator[str | ImageError]:
    """The pictures that a name means, as they are found: a folder is listed when its turn comes.

    Args:
        name: A file or a url, which stand for themselves; a folder, which stands for the pictures in it and in those
            below it, hidden ones and links to folders left out; or a pattern with ``*``, ``?`` or ``[...]``, in which
            ``**`` stands for any folders. A file whose name looks like a pattern is that file.
        below: Whether a folder stands for what is below it, too.

    Yields:
        At least one name; those of a folder and a pattern in natural order (2 before 10), folders after files. An
        error in place of a folder below that cannot be listed.

    Raises:
        ImageError: There is no picture in the folder, or none that the pattern fits.
    """
    if is_url(name) or "\0" in name:
        yield name
    # Not pathlib's: a name too long for a file is no folder, and is told when it is read.
    elif os.path.isdir(name):  # noqa: PTH112
        none = True
        for one in _in_folder(name, below):
            if isinstance(one, ImageError) and one.where == name:
                raise one
            none = False
            yield one
        if none:
            _refuse("there is no picture in this folder", name, f"ls -R {shlex.quote(name)}")
    elif not set(name) & set("*?[") or os.path.lexists(name):
        yield name
    else:
        paths = [path for path in glob.iglob(name, recursive=True) if not os.path.isdir(path)]  # noqa: PTH112, PTH207
        if not paths:
            _refuse("no file fits this pattern", name, "* stands for any name, and ** for any folders")
        yield from in_order(paths)


def named_so(name: str) -> bool:
    """Whether a name ends like a picture's, and is no pattern."""
    return os.path.splitext(name)[1].lower() in _ENDINGS and not set(name) & set("*?[")  # noqa: PTH122


def in_order(names: list[str]) -> list[str]:
    """Names in natural order (2 before 10); of very many, in that of characters."""
    # Keys take ten times the room of names.
    return sorted(names, key=_natural if len(names) <= _MANY else None)


def _in_folder(name: str, recursive: bool) -> Iterator[str | ImageError]:
    folders = [name]  # a stack, for folders may lie deeper than Python calls
    while folders:
        folder = folders.pop()
        files, below = [], []
        try:
            with os.scandir(folder) as entries:
                for item in entries:
                    if item.name.startswith("."):
                        continue
                    if item.is_dir():
                        if recursive and not item.is_symlink():
                            below.append(item.name)
                    elif os.path.splitext(item.name)[1].lower() in _ENDINGS:  # noqa: PTH122 - a tenth of the time
                        files.append(item.name)
        except OSError as error:
            hint = f"ls -ld {shlex.quote(folder)}"
            yield ImageError("the folder cannot be listed", where=folder, got=error.strerror, hint=hint)
            continue
        for file in in_order(files):
            yield os.path.join(folder, file)  # noqa: PTH118 - the name as it was given
        folders += [os.path.join(folder, one) for one in reversed(in_order(below))]  # noqa: PTH118


def chosen(names: Iterable[str]) -> list[str]:
    """Of the files below a folder, the pictures, in the order of `find`; hidden ones are left out.

    Args:
        names: Paths below the folder, with ``/``.
    """
    # Files before folders, on each level.
    found: dict[str, list[str]] = {}
    for name in names:
        folder, _, file = name.rpartition("/")
        if os.path.splitext(file)[1].lower() in _ENDINGS and not any(step.startswith(".") for step in name.split("/")):  # noqa: PTH122
            found.setdefault(folder, []).append(file)
    folders = sorted(found, key=lambda folder: [_natural(step) for step in folder.split("/")] if folder else [])
    return [f"{folder}/{file}" if folder else file for folder in folders for file in in_order(found[folder])]


def _natural(name: str) -> list[tuple[int, int, str]]:
    """What puts 2 before 10, and numbers before letters."""
    parts: Iterable[str] = filter(None, re.split(r"([0-9]{1,18})", name))
    return [(0, int(part), part) if part.isascii() and part.isdecimal() else (1, 0, part) for part in parts]


def _refuse(message: str, name: str, hint: str) -> NoReturn:
    raise ImageError(message, where=name, expected="PNG, JPEG, WebP, BMP, TIFF, GIF, …", hint=hint)
