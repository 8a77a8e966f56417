"""Careful file work: regular files only, no links followed, small files all or nothing, and who can write where."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import stat
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

__all__ = [
    "NotRegularError",
    "is_private",
    "is_shared",
    "lies_in",
    "make_folders",
    "new_file",
    "open_folder",
    "open_regular",
    "owned",
    "read_json",
    "read_regular",
    "replace_file",
    "unfinished",
]

# What the system says when a socket, or a link that must not be followed, is opened.
_ODD = {errno.ENXIO, errno.ELOOP, errno.EISDIR}

_SMALL = 1 << 16

_UNFINISHED = re.compile(r"(.+)\.\d+\.[0-9a-f]+\.new", re.ASCII)


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


def read_regular(path: Path, max_bytes: int | None = None, *, follow: bool = True) -> bytes:
    """The bytes of a regular file, in memory once: a file takes its own size, and no more.

    Args:
        path: The file.
        max_bytes: A larger file is an error; None for any size. What is appended while it is read is left out.
        follow: Whether its last component may be a symbolic link.

    Raises:
        NotRegularError: Something else lies there.
        OSError: It cannot be read, is larger, or became shorter meanwhile.
        ValueError: No path can have that name.
    """
    with open_regular(path, follow=follow) as stream:
        size = os.fstat(stream.fileno()).st_size
        if max_bytes is not None and size > max_bytes:
            raise OSError(errno.EFBIG, f"it has {size:,} bytes, more than the {max_bytes:,} that are read", str(path))
        # One object of the right size, handed out without a copy.
        buffer = io.BytesIO(bytes(size))
        at = 0
        with buffer.getbuffer() as room:
            while at < size and (count := stream.readinto(room[at:])):
                at += count
    if at < size:
        raise OSError(errno.ESTALE, "it became shorter while it was read", str(path))
    return buffer.getvalue()


def read_json(path: Path) -> dict[str, Any] | None:
    """A small record of ours; None when it is missing, damaged, or something else."""
    try:
        stored = json.loads(read_regular(path, _SMALL, follow=False))
    except (OSError, ValueError, RecursionError):
        return None
    return stored if isinstance(stored, dict) else None


@contextlib.contextmanager
def new_file(
    path: Path, *, replace: bool = True, scratch: Path | None = None, durable: bool = False, mode: int = 0o644
) -> Iterator[BinaryIO]:
    """A file that appears when the block ends, whole; when it ends with an error, not at all.

    Args:
        path: The file; its folder exists.
        replace: Whether it takes the place of what has its name.
        scratch: Folder on the same file system where it is written first, by default its own.
        durable: Whether its bytes reach the disk before it gets its name.
        mode: Its permissions, but for those that the umask takes away.

    Raises:
        FileExistsError: Something has its name, and is not replaced.
        OSError: It cannot be written; nothing is left behind.
    """
    place = (scratch or path.parent) / f"{path.name}.{os.getpid()}.{os.urandom(8).hex()}.new"
    try:
        with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as stream:
            yield stream
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        if replace:
            place.replace(path)
        else:
            os.link(place, path)  # unlike a rename, never replaces
    finally:
        with contextlib.suppress(OSError):
            place.unlink(missing_ok=True)


def replace_file(path: Path, data: bytes, *, scratch: Path | None = None, keep_mode: bool = False) -> None:
    """Write a small file, in place of what has its name; it appears whole or not at all.

    Args:
        path: The file; its folder exists.
        data: Its bytes.
        scratch: Folder on the same file system where it is written first, by default its own.
        keep_mode: Leave its permissions as they were; a new file gets the usual ones.

    Raises:
        OSError: It cannot be written; nothing is left behind.
    """
    with new_file(path, scratch=scratch, mode=0o666 if keep_mode else 0o644) as stream:
        if keep_mode and path.exists():
            os.fchmod(stream.fileno(), stat.S_IMODE(path.stat().st_mode))
        stream.write(data)


def unfinished(name: str) -> str | None:
    """The name that a file would have got, if it has that of one which a process was killed writing."""
    found = _UNFINISHED.fullmatch(name)
    return found[1] if found else None


def lies_in(path: Path, folder: Path) -> bool:
    """Whether a path, with all links followed, leads into a folder; one that leads nowhere does not."""
    real, top = os.path.realpath(path), os.path.realpath(folder)
    return not os.path.islink(real) and os.path.commonpath([real, top]) == top  # noqa: PTH114


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


def make_folders(path: Path, mode: int = 0o777, *, exactly: bool = False) -> None:
    """Make a folder and those above it that are missing, all with the same mode.

    Args:
        path: The folder.
        mode: Its permissions.
        exactly: Whether they hold whatever the umask says.

    Raises:
        OSError: One cannot be made, or is there and is no folder.
    """
    if path.is_dir():
        return
    missing = [path]
    while not missing[-1].parent.is_dir() and missing[-1].parent != missing[-1]:
        missing.append(missing[-1].parent)
    for place in reversed(missing):
        try:
            place.mkdir(mode)
        except FileExistsError:
            if not place.is_dir():
                raise
        else:
            if exactly:
                place.chmod(mode)


def owned(status: os.stat_result) -> bool:
    """Whether only we, or root, can write what has this status, so that it may be believed."""
    return status.st_uid in (os.geteuid(), 0) and not is_shared(status)


def is_shared(status: os.stat_result) -> bool:
    """Whether the group or everybody may write there."""
    return bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def is_private(home: Path, *folders: Path) -> bool:
    """Whether nobody but us or root can write to folders of a cache, or to those between them and `home`, included."""
    top = os.fspath(home)
    places = {top}
    for folder in folders:
        place = os.fspath(folder)
        while len(place) > len(top):
            places.add(place)
            place = os.path.dirname(place)  # noqa: PTH120 - every hit in the cache comes by here
    try:
        return all(owned(os.stat(place)) for place in places)  # noqa: PTH116
    except OSError:
        return False
