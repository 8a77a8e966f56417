"""Careful file work: regular files and nothing else, folders without following links, small files all or nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

__all__ = ["NotRegularError", "make_folders", "open_folder", "open_regular", "read_regular", "replace_file"]

# What the system says when a socket, or a link that must not be followed, is opened.
_ODD = {errno.ENXIO, errno.ELOOP, errno.EISDIR}


class NotRegularError(OSError):
    """A folder, FIFO, socket, device, or a link that must not be followed, in a file's place."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.EINVAL, "it is not a regular file", str(path))


def open_regular(path: Path, *, follow: bool = True, touch: bool = True) -> FileIO:
    """Open a regular file for reading, unbuffered; never blocks, whatever lies there.

    Args:
        path: The file.
        follow: Whether its last component may be a symbolic link.
        touch: Whether reading may count as a use of the file (its access time).

    Raises:
        NotRegularError: Something else lies there.
        OSError: It cannot be opened.
        ValueError: No path can have that name.
    """
    # O_NONBLOCK: opening a FIFO would wait for a writer.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        try:
            fd = os.open(path, flags if touch else flags | getattr(os, "O_NOATIME", 0))
        except PermissionError:
            if touch:
                raise
            fd = os.open(path, flags)  # only a file's owner may leave its access time alone
    except OSError as error:
        if error.errno in _ODD and not (follow and error.errno == errno.ELOOP):
            raise NotRegularError(path) from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise NotRegularError(path)
        return FileIO(fd, "rb")
    except BaseException:
        os.close(fd)
        raise


def read_regular(path: Path, limit: int | None = None, *, follow: bool = True) -> bytes:
    """The bytes of a regular file.

    Args:
        path: The file.
        limit: Most bytes; a larger file is an error.
        follow: Whether its last component may be a symbolic link.

    Raises:
        NotRegularError: Something else lies there.
        OSError: It cannot be read, or is larger.
        ValueError: No path can have that name.
    """
    with open_regular(path, follow=follow) as stream:
        if limit is None:
            return stream.readall()
        pieces = bytearray()
        while len(pieces) <= limit and (piece := stream.read(limit + 1 - len(pieces))):
            pieces += piece
    if len(pieces) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit:,} bytes", str(path))
    return bytes(pieces)


def replace_file(path: Path, data: bytes, *, scratch: Path | None = None) -> None:
    """Write a small file, in place of what has its name; it appears whole or not at all.

    Args:
        path: The file; its folder exists.
        data: Its bytes.
        scratch: Folder on the same file system where it is written first, by default its own.

    Raises:
        OSError: It cannot be written; nothing is left behind.
    """
    place = (scratch or path.parent) / f"{path.name}.{os.getpid()}.{os.urandom(8).hex()}.new"
    try:
        with place.open("xb") as stream:
            stream.write(data)
        place.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            place.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def open_folder(root: Path, *names: str) -> Iterator[int]:
    """A descriptor of a folder below another, for calls that take ``dir_fd``; no link is followed on the way down.

    Args:
        root: Where to begin; it may be reached through links.
        names: The folders below it, one after the other.

    Raises:
        OSError: One is not there, or is no folder.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    fd = os.open(root, flags)
    try:
        for name in names:
            inner = os.open(name, flags | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)


def make_folders(path: Path, mode: int = 0o777) -> None:
    """Make a folder and those above it that are missing, all with the same mode less the umask.

    Raises:
        OSError: One cannot be made, or is there and is no folder.
    """
    if path.is_dir():
        return
    missing = [path]
    while not missing[-1].parent.is_dir() and missing[-1].parent != missing[-1]:
        missing.append(missing[-1].parent)
    for place in reversed(missing):
        place.mkdir(mode, exist_ok=True)
