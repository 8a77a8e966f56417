"""Careful file work: regular files only, no links followed, small files all or nothing, and who can write where.

What a system cannot do has its substitute here, so that no other module asks which system it runs on.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import stat
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

from mshub_ssd.errors import DiskSpaceError, MshubError, TransferError

__all__ = [
    "NO_FOLLOW",
    "NO_WAIT",
    "PLAIN",
    "POSIX",
    "Folder",
    "NotRegularError",
    "is_link",
    "is_private",
    "is_shared",
    "lies_in",
    "make_folders",
    "move_over",
    "new_file",
    "open_folder",
    "open_regular",
    "owned",
    "read_json",
    "read_regular",
    "replace_file",
    "unfinished",
    "writing",
]

POSIX = hasattr(os, "geteuid")
"""Whether files have owners and modes, and an open one can be renamed and removed. On Windows neither is so."""

PLAIN = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0) | getattr(os, "O_BINARY", 0)
"""Flags for opening any file: its bytes as they are, and not for child processes."""

NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
"""Flag for opening no link. Nothing on Windows, where `open_regular` compares what it opened with what has the name."""

NO_WAIT = getattr(os, "O_NONBLOCK", 0)
"""Flag for not waiting at a FIFO. Nothing on Windows, whose folders hold none."""

# What the systems say when a socket, or a link that must not be followed, is opened.
_ODD = {errno.ENXIO, errno.EOPNOTSUPP, errno.ELOOP, errno.EISDIR}

# What file systems without hard links say.
_NO_HARD_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK}

# On Windows: one that leads elsewhere, be it a symbolic link or a junction.
_NAME_SURROGATE = 0x20000000

# On Windows a name cannot be had while somebody reads the file; readers of small files are quick.
_TRIES, _PAUSE = 20, 0.02

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
    flags = os.O_RDONLY | PLAIN | NO_WAIT | (0 if follow else NO_FOLLOW)
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
        if not POSIX and isinstance(error, PermissionError) and path.is_dir():
            raise NotRegularError(path) from error
        raise
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegularError(path)
        if not follow and not NO_FOLLOW and not os.path.samestat(path.lstat(), status):
            raise NotRegularError(path)
        return FileIO(fd, "rb")
    except BaseException:
        os.close(fd)
        raise


def read_regular(path: Path, max_bytes: int | None = None, *, follow: bool = True, touch: bool = True) -> bytes:
    """The bytes of a regular file, in memory once: a file takes its own size, and no more.

    Args:
        path: The file.
        max_bytes: A larger file is an error; None for any size. What is appended while it is read is left out.
        follow: Whether its last component may be a symbolic link.
        touch: Whether reading may count as a use of the file (its access time).

    Raises:
        NotRegularError: Something else lies there.
        OSError: It cannot be read, is larger, or became shorter meanwhile.
        ValueError: No path can have that name.
    """
    with open_regular(path, follow=follow, touch=touch) as stream:
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
        with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | PLAIN, mode), "wb") as stream:
            yield stream
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        if replace:
            move_over(place, path)
        else:
            _give_name(place, path)
    finally:
        with contextlib.suppress(OSError):
            place.unlink(missing_ok=True)


def move_over(place: Path, path: Path) -> None:
    """Give a closed file another name on the same file system, in place of what has it.

    Raises:
        OSError: It cannot have it.
    """
    for left in reversed(range(1 if POSIX else _TRIES)):
        try:
            place.replace(path)
            return
        except PermissionError:
            if not left:
                raise
            time.sleep(_PAUSE)


def _give_name(place: Path, path: Path) -> None:
    """Let a file have another name, if nothing has it.

    Raises:
        OSError: Something has it, or it cannot be had.
    """
    try:
        if not hasattr(os, "link"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(path))
        os.link(place, path)  # unlike a rename, never replaces
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # The name is taken first, by an empty file that is ours, and that one is replaced.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | PLAIN, 0o600))
        try:
            move_over(place, path)
        except OSError:
            path.unlink(missing_ok=True)
            raise


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
        if POSIX and keep_mode and path.exists():
            os.fchmod(stream.fileno(), stat.S_IMODE(path.stat().st_mode))
        stream.write(data)


def unfinished(name: str) -> str | None:
    """The name that a file would have got, if it has that of one which a process was killed writing."""
    found = _UNFINISHED.fullmatch(name)
    return found[1] if found else None


@contextlib.contextmanager
def writing(path: Path, what: str = "the file") -> Iterator[None]:
    """Tell the system's errors about something that is written as ours.

    Args:
        path: Where it is written.
        what: What it is.

    Raises:
        DiskSpaceError: There is no room.
        TransferError: It cannot be written for another reason.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, MshubError):
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        kind: type[MshubError] = DiskSpaceError if full else TransferError
        raise kind(
            f"{what} cannot be written: {error.strerror or type(error).__name__}",
            where=str(path),
            hint="make room there, or choose another place" if full else "choose another place",
        ) from error


def lies_in(path: Path, folder: Path) -> bool:
    """Whether a path, with all links followed, leads into a folder; one that leads nowhere does not."""
    real, top = os.path.realpath(path), os.path.realpath(folder)
    try:
        return not os.path.islink(real) and os.path.commonpath([real, top]) == top  # noqa: PTH114
    except ValueError:  # on different drives
        return False


def is_link(path: Path) -> bool:
    """Whether a name leads elsewhere: a symbolic link, or a junction of Windows. What cannot be looked at does not."""
    try:
        return _leads_away(path.lstat())
    except OSError:
        return False


def _leads_away(status: os.stat_result) -> bool:
    return stat.S_ISLNK(status.st_mode) or bool(getattr(status, "st_reparse_tag", 0) & _NAME_SURROGATE)


class Folder:
    """A folder to which no link leads; `open_folder` makes it.

    Where the system has descriptors of folders, whatever is renamed meanwhile, it stays this very folder. On Windows
    it is looked at when it is opened, so whoever may write above it could exchange it for a link afterwards.
    """

    def __init__(self, path: Path, fd: int | None) -> None:
        self._path, self._fd = path, fd

    def names(self) -> list[str]:
        """What is in it."""
        return os.listdir(self._path if self._fd is None else self._fd)  # noqa: PTH208 - by descriptor

    def status(self, name: str) -> os.stat_result:
        """What lies under a name; no link is followed."""
        return os.stat(self._at(name), dir_fd=self._fd, follow_symlinks=False)

    def unlink(self, name: str) -> None:
        """Remove a file or a link."""
        if not POSIX and stat.S_ISREG(self.status(name).st_mode):
            os.chmod(self._at(name), stat.S_IWRITE)  # noqa: PTH101 - there a read-only file could not be removed
        os.unlink(self._at(name), dir_fd=self._fd)

    def rmdir(self, name: str) -> None:
        """Remove an empty folder."""
        os.rmdir(self._at(name), dir_fd=self._fd)

    def _at(self, name: str) -> str:
        return name if self._fd is not None else str(self._path / name)


@contextlib.contextmanager
def open_folder(root: Path, *names: str) -> Iterator[Folder]:
    """A folder below another; no link is followed on the way down.

    Args:
        root: Where to begin; it may be reached through links.
        names: The folders below it, one after the other.

    Raises:
        OSError: One is not there, or is no folder.
    """
    path = root.joinpath(*names)
    if os.open not in os.supports_dir_fd:
        for place in (root.joinpath(*names[:count]) for count in range(len(names) + 1)):
            status = place.stat() if place == root else place.lstat()
            if not stat.S_ISDIR(status.st_mode) or (place != root and _leads_away(status)):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
        yield Folder(path, None)
        return
    flags = os.O_RDONLY | os.O_DIRECTORY | PLAIN
    fd = os.open(root, flags)
    try:
        for name in names:
            inner = os.open(name, flags | NO_FOLLOW, dir_fd=fd)
            os.close(fd)
            fd = inner
        yield Folder(path, fd)
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
    """Whether only we, or root, can write what has this status, so that it may be believed.

    On Windows a status does not tell; there `is_private` alone decides.
    """
    return not POSIX or (status.st_uid in (os.geteuid(), 0) and not is_shared(status))


def is_shared(status: os.stat_result) -> bool:
    """Whether the group or everybody may write there; never on Windows, where modes say nothing of it."""
    return POSIX and bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def is_private(home: Path, *folders: Path) -> bool:
    """Whether nobody but us or root can write to folders of a cache, or to those between them and `home`, included.

    Windows keeps everybody but administrators out of a user's own folder; of all other places nothing is known there,
    and they are not private.
    """
    top = os.fspath(home)
    places = {top}
    for folder in folders:
        place = os.fspath(folder)
        while len(place) > len(top):
            places.add(place)
            place = os.path.dirname(place)  # noqa: PTH120 - every hit in the cache comes by here
    try:
        if not POSIX:
            own = Path.home()
            return all(os.path.isdir(place) and lies_in(Path(place), own) for place in places)  # noqa: PTH112
        return all(owned(os.stat(place)) for place in places)  # noqa: PTH116
    except (OSError, RuntimeError):  # RuntimeError: we have no home
        return False
