"""Files under way: one writer each, hashed while they are written, taken up again after an interruption.

A part is ``<digest>.<random>.part``, locked by its writer as long as it lives; beside it ``….part.json`` tells where
its bytes came from and what the server called them. Only the process that made a part ever writes to it. Whoever takes
up the part of another one copies its bytes into a part of its own, hashing them: should the writer live after all, its
late writes reach nothing that anybody will return.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

from mshub_ssd.errors import DiskSpaceError, MshubError, TransferError
from mshub_ssd.files import NO_FOLLOW, PLAIN, POSIX, move_over, open_regular, read_json, replace_file
from mshub_ssd.store import locks
from mshub_ssd.store.digests import DIGITS, HEAD, Hashed, Hasher, exact_size
from mshub_ssd.store.policy import Policy

__all__ = [
    "MAKE_ROOM",
    "SET_HOME",
    "Part",
    "Sink",
    "bytes_under_way",
    "discard",
    "disk_error",
    "free_parts",
    "is_note",
    "is_part",
    "note_of",
]

logger = logging.getLogger("mshub_ssd.store")

SET_HOME = "set MSHUB_HOME to a folder you can write to"
MAKE_ROOM = "make room there (mshub cache prune), or set MSHUB_HOME to a folder on a larger disk"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

# Blobs are dated back by a second, and fresher files get no record: a later change in place then always
# shows in the file's times, however coarse the file system's clock is.
_BACKDATE_NS = 1_000_000_000

_PUSH = 16 << 20
"""Bytes written before the system is asked to bring them to the disk."""

_SPARE, _SPARE_SHARE = 64 << 20, 100
"""A download ends where so few bytes of the disk are free, or, where it is small, this part of it."""

_FULL, _FULL_SHARE = 256 << 20, 20
"""Likewise, a disk so full that what has arrived is not kept on it."""

_FEW_FILES = 64
"""A disk that has room for fewer files is full."""

_SHAPE = re.compile(DIGITS + r"\.[0-9a-f]{16}\.part")
_NOTE = ".json"


class Sink:
    """Where a transfer puts its bytes; this one keeps nothing but their digest.

    Attributes:
        size: How many there are.
        keeps: Whether a later download goes on after them.
    """

    size: int
    keeps = False

    def __init__(self) -> None:
        self._hasher = Hasher()
        self.reset()

    def buffer(self) -> memoryview:
        """Memory to read the next bytes into; written from there they cost least."""
        return self._hasher.buffer()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes."""
        self._hasher.update(data)
        if len(self._head) < HEAD:
            self._head += bytes(data[: HEAD - len(self._head)])
        self.size += len(data)

    def reset(self) -> None:
        """Begin again with no bytes."""
        self.close()
        self.size, self._head, self._hasher = 0, b"", Hasher()

    def close(self) -> None:
        """Let go of what hashing took."""
        self._hasher.close()

    def hashed(self) -> Hashed:
        """Digest, size and beginning of the bytes so far."""
        return Hashed(self._hasher.hexdigest(), self.size, self._head)

    def require(self, count: int) -> None:
        """See that `count` more bytes have room."""

    def note(self, source: str, validator: str | None, total: int | None) -> None:
        """Remember where the bytes come from, for a later process."""

    def noted(self, source: str) -> tuple[str | None, int | None]:
        """The validator and total noted for that source, if the bytes come from there."""
        return None, None


class Part(Sink):
    """A file under way in the cache. Not visible to anybody but those who take it up later."""

    keeps = True
    _crowded = False

    def __init__(self, folder: Path, label: str) -> None:
        super().__init__()
        self.label = label
        self._folder = folder
        self._facts: dict[str, Any] = {}
        self._begin()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes.

        Raises:
            DiskSpaceError: The disk or the quota is full.
            TransferError: Another failure to write.
        """
        view = memoryview(data)
        try:
            while view:
                count = os.write(self._fd, view)
                super().write(view[:count])
                view = view[count:]
        except OSError as error:
            self._crowded = error.errno in _NO_ROOM
            raise disk_error(error, self.path.parent, "the download could not be written") from error
        if self.size - self._pushed >= _PUSH:
            self._push()
            self._leave_room()

    def reset(self) -> None:
        """Begin again with no bytes."""
        if hasattr(self, "_fd"):
            try:
                os.ftruncate(self._fd, 0)
                os.lseek(self._fd, 0, os.SEEK_SET)
            except OSError as error:
                raise disk_error(error, self.path.parent, "the download could not be written") from error
        super().reset()
        self._pushed, self._crowded = 0, False

    def require(self, count: int) -> None:
        """See that `count` more bytes have room, with 5 % to spare.

        Raises:
            DiskSpaceError: They have not.
        """
        need = count + count // 20
        try:
            have = shutil.disk_usage(self.path.parent).free
        except OSError as error:
            raise disk_error(error, self.path.parent, "the disk's free room cannot be told") from error
        if have < need:
            raise DiskSpaceError(
                "not enough room on the disk for the download",
                where=str(self.path.parent),
                expected=f"{exact_size(need)} free",
                got=f"{exact_size(have)} free",
                hint=MAKE_ROOM,
            )

    def note(self, source: str, validator: str | None, total: int | None) -> None:
        """Remember where the bytes come from. Addresses hold secrets, so only their digest is kept."""
        facts = {"source": _key(source), "validator": validator, "total": total}
        if facts != self._facts:
            self._note(facts)

    def noted(self, source: str) -> tuple[str | None, int | None]:
        """The validator and total noted for that source, if the bytes come from there."""
        if not self.size or self._facts.get("source") != _key(source):
            return None, None
        validator, total = self._facts.get("validator"), self._facts.get("total")
        return (
            validator if isinstance(validator, str) and validator.isascii() and validator.isprintable() else None,
            total if type(total) is int and total >= 0 else None,
        )

    def seal(self) -> None:
        """Make it durable, read-only and backdated; on Windows, where an open file keeps its name, it is closed."""
        past = time.time_ns() - _BACKDATE_NS
        if POSIX:
            os.fchmod(self._fd, 0o444)
            os.utime(self._fd, ns=(past, past))
            os.fsync(self._fd)
        else:
            # Not read-only: there nothing could take such a file's place, or remove it.
            os.fsync(self._fd)
            self._let_go()
            os.utime(self.path, ns=(past, past))

    def move(self, target: Path) -> None:
        """Give it its final name, replacing what has it.

        Raises:
            OSError: It cannot be had.
        """
        try:
            move_over(self.path, target)
        except FileNotFoundError:
            if not self._open:
                raise
            # Somebody took us for dead and removed it: what was verified is still in our hands.
            self._recover()
            move_over(self.path, target)
        note_of(self.path).unlink(missing_ok=True)

    def status(self) -> os.stat_result | None:
        """What stat says about this very file, wherever it was moved; None once it had to be closed."""
        return os.fstat(self._fd) if self._open else None

    def finish(self, *, keep: bool = False) -> bool:
        """Close it, and remove it unless it was published or is kept for another try.

        Returns:
            Whether bytes were kept.
        """
        self.close()
        try:
            # The file knows best: an interruption may come between a write and its being counted.
            kept = keep and self._open and os.fstat(self._fd).st_size > 0
            ours = not self._open or locks.has_name(self._fd, self.path)
            if not POSIX:
                self._let_go()
            if not kept and ours:
                self.path.unlink(missing_ok=True)
            if not kept:
                note_of(self.path).unlink(missing_ok=True)
            return kept
        except OSError as error:  # nobody will trust it, it only takes room
            logger.warning("%s could not be removed: %s", self.path, error.strerror)
            return False
        finally:
            self._let_go()

    def adopt(self, policy: Policy, max_bytes: int) -> None:
        """Take up the largest part of the same file that nobody works on any more; this one is empty.

        Args:
            policy: For the age at which a part counts as left behind where there are no locks.
            max_bytes: A larger part cannot be one of the file, and goes.

        Raises:
            TransferError: This cache cannot be written.
        """
        for path in sorted(free_parts(self._folder, self.label, policy), key=_size, reverse=True):
            facts = read_json(note_of(path)) or {}
            try:
                if _size(path) <= max_bytes:
                    with open_regular(path, follow=False) as stream:
                        self.require(os.fstat(stream.fileno()).st_size)
                        self._take_in(stream)
                self._note(facts)
            except (OSError, DiskSpaceError) as error:
                logger.info("%s cannot be taken up: %s", path, error)
                self.reset()
            with contextlib.suppress(OSError):
                discard(path)
            if self.size:
                logger.info("going on after %s of an earlier download", exact_size(self.size))
                return

    def fills_the_disk(self) -> bool:
        """Whether there is so little room that it had better go than be kept for another try."""
        if self._crowded:
            return True
        try:
            if not hasattr(os, "statvfs"):
                room = shutil.disk_usage(self.path.parent)
                return room.free < min(_FULL, room.total // _FULL_SHARE)
            disk = os.statvfs(self.path.parent)
        except OSError:
            return False
        if disk.f_files and disk.f_favail < _FEW_FILES:
            return True
        return disk.f_bavail * disk.f_frsize < min(_FULL, disk.f_blocks * disk.f_frsize // _FULL_SHARE)

    def _leave_room(self) -> None:
        try:
            disk = shutil.disk_usage(self.path.parent)
        except OSError:
            return  # then the system tells when the disk is full
        spare = min(_SPARE, disk.total // _SPARE_SHARE)
        if disk.free < spare:
            self._crowded = True
            raise DiskSpaceError(
                "the download is filling the disk",
                where=str(self.path.parent),
                expected=f"{exact_size(spare)} left free",
                got=f"{exact_size(disk.free)} free after {exact_size(self.size)} of it",
                hint=MAKE_ROOM,
            )

    def _push(self) -> None:
        """Have the system begin to write what it holds back, lest all of it waits for `seal`."""
        # The advice is meant for bytes not needed again; Linux starts to write them, and those unwritten stay at hand.
        if hasattr(os, "posix_fadvise"):
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._fd, self._pushed, self.size - self._pushed, os.POSIX_FADV_DONTNEED)
        self._pushed = self.size

    def _note(self, facts: dict[str, Any]) -> None:
        self._facts = facts
        try:
            replace_file(note_of(self.path), json.dumps(facts).encode())
        except OSError as error:  # costs a resumed download its If-Range, nothing else
            logger.debug("%s could not be noted: %s", self.path, error.strerror)

    def _begin(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | PLAIN | NO_FOLLOW
        while True:
            self.path = self._folder / f"{self.label}.{secrets.token_hex(8)}.part"
            self._fd, self._open = os.open(self.path, flags, 0o600), True
            if locks.try_lock(self._fd) is not False and locks.has_name(self._fd, self.path):
                return
            # Somebody took it for one left behind before it was locked.
            self._let_go()
            self.path.unlink(missing_ok=True)

    def _let_go(self) -> None:
        if self._open:
            self._open = False
            locks.close(self._fd)

    def _take_in(self, stream: Any) -> None:
        while count := stream.readinto(view := self.buffer()):
            self.write(view[:count])

    def _recover(self) -> None:
        before, was = self.hashed(), self._fd
        note_of(self.path).unlink(missing_ok=True)
        self._begin()
        try:
            with os.fdopen(was, "rb", buffering=0, closefd=False) as stream:
                stream.seek(0)
                self.reset()
                self._take_in(stream)
        finally:
            locks.close(was)
        if self.hashed() != before:
            raise OSError(errno.EIO, "the file changed under our hands")
        self.seal()


def parts_of(folder: Path, label: str) -> list[Path]:
    """All parts of the file with that digest, or beginning of one."""
    try:
        return [
            Path(entry) for entry in os.scandir(folder) if entry.name.startswith(f"{label}.") and is_part(entry.name)
        ]
    except OSError:
        return []


def free_parts(folder: Path, label: str, policy: Policy) -> list[Path]:
    """Those that nobody works on any more."""
    return [path for path in parts_of(folder, label) if not locks.at_work(path, policy)]


def bytes_under_way(folder: Path, label: str) -> int:
    """Bytes of all parts of a file, which grow as long as somebody gets on."""
    return sum(map(_size, parts_of(folder, label)))


def is_part(name: str) -> bool:
    """Whether a file in the folder of parts has a part's name."""
    return _SHAPE.fullmatch(name) is not None


def is_note(name: str) -> bool:
    """Whether it has the name of a part's note."""
    return name.endswith(_NOTE) and is_part(name.removesuffix(_NOTE))


def discard(path: Path) -> None:
    """Remove a part that is ours or nobody's.

    Raises:
        OSError: It cannot be removed.
    """
    path.unlink(missing_ok=True)
    note_of(path).unlink(missing_ok=True)


def disk_error(error: OSError, path: Path, what: str) -> MshubError:
    """The error for a disk that does not do as it is told."""
    reason = error.strerror or type(error).__name__
    if error.errno in _NO_ROOM:
        return DiskSpaceError(f"{what}: {reason}", where=str(path), hint=MAKE_ROOM)
    return TransferError(f"{what}: {reason}", where=str(path), hint=SET_HOME)


def note_of(path: Path) -> Path:
    """Where the note of a part lies."""
    return path.with_name(path.name + _NOTE)


def _key(source: str) -> str:
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
