"""Who is at work on a file. Courtesy among processes: it saves bandwidth, and nothing is safer for it.

A lock is held on an open file (``flock``; on Windows on a byte far behind its end), so the system gives it back when
its process ends, however it does, and whatever machine or container of this kernel it ran in. What only its age can
tell is where a file system knows no locks.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from mshub_ssd.files import NO_FOLLOW, NO_WAIT, PLAIN, POSIX, open_regular
from mshub_ssd.store.policy import Policy
from mshub_ssd.terminal import plain

__all__ = ["at_work", "close", "has_name", "hold", "holder", "try_lock"]

fcntl: ModuleType | None
msvcrt: ModuleType | None
try:
    import fcntl
except ImportError:
    fcntl = None
try:
    import msvcrt
except ImportError:
    msvcrt = None

logger = logging.getLogger("mshub_ssd.store")

# Windows lets nobody else read what is locked, so it is a byte where none is.
_FAR = (1 << 31) - 2

Found = TypeVar("Found")

# Open files of this process that are locked.
_locked: set[int] = set()


def _let_go() -> None:
    """In a forked child: its copies would hold the locks even after the parent has ended."""
    if _locked:
        nothing = os.open(os.devnull, os.O_RDWR | PLAIN)
        for fd in _locked:
            # Not closed: the number could come to mean another file.
            os.dup2(nothing, fd, inheritable=False)
        os.close(nothing)
        _locked.clear()


if hasattr(os, "register_at_fork"):  # where there is none, no process forks
    os.register_at_fork(after_in_child=_let_go)


def try_lock(fd: int) -> bool | None:
    """Lock an open file until `close`: whether nobody else has. None where there are no locks."""
    try:
        _lock(fd)
    except BlockingIOError:
        return False
    except OSError as error:  # ENOLCK and the like; EBADF over NFS, where one who may only read cannot lock
        logger.debug("no locks here: %s", error.strerror)
        return None
    _locked.add(fd)
    return True


def close(fd: int) -> None:
    """Close a file that `try_lock` was asked for."""
    if fd in _locked:
        _locked.discard(fd)
        _unlock(fd)
    os.close(fd)


def _lock(fd: int, *, shared: bool = False) -> None:
    """Lock an open file, now or never.

    Raises:
        BlockingIOError: Somebody else has it.
        OSError: There are no locks here.
    """
    if fcntl is not None:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    elif msvcrt is not None:
        try:
            _lock_byte(fd, msvcrt.LK_NBLCK)
        except PermissionError as error:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
    else:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def _unlock(fd: int) -> None:
    """Give a lock back where closing the file would do so only some time later."""
    if fcntl is None and msvcrt is not None:
        with contextlib.suppress(OSError):
            _lock_byte(fd, msvcrt.LK_UNLCK)


def _lock_byte(fd: int, mode: int) -> None:
    assert msvcrt is not None
    at = os.lseek(fd, 0, os.SEEK_CUR)
    os.lseek(fd, _FAR, os.SEEK_SET)
    try:
        msvcrt.locking(fd, mode, 1)
    finally:
        os.lseek(fd, at, os.SEEK_SET)


def has_name(fd: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except OSError:
        return False


def at_work(path: Path, policy: Policy) -> bool:
    """Whether a process has a file locked; where that cannot be told, whether it was written not long ago."""
    try:
        with open_regular(path, follow=False, touch=False) as stream:
            _lock(stream.fileno(), shared=True)
            _unlock(stream.fileno())
            return False
    except BlockingIOError:
        return True
    except OSError:
        pass
    try:
        return time.time() - path.lstat().st_mtime <= policy.abandoned
    except OSError:
        return False


def holder(path: Path, policy: Policy) -> str | None:
    """Who holds the lock there, e.g. ``process 12 on host``; None when nobody does."""
    if not at_work(path, policy):
        return None
    try:
        with open_regular(path, follow=False) as stream:
            name = (stream.read(200) or b"").decode("utf-8", "replace").strip()
    except OSError:
        name = ""
    return plain(name, exact=True) or "another process"


@contextlib.contextmanager
def hold(
    path: Path, what: str, look: Callable[[], Found | None], progress: Callable[[], object], policy: Policy
) -> Iterator[Found | None]:
    """Take the lock, or wait until another process has done the work.

    Args:
        path: Of the lock; its folder exists.
        what: The work, for people: ``downloading a.ckpt``.
        look: Finds the work done, or None.
        progress: Something that changes while the holder gets on.
        policy: For how long to wait.

    Yields:
        What `look` found. If that is nothing, the work is to be done, even where the lock is not ours, because its
        holder is too slow or locks cannot be had here.
    """
    if not policy.locks:
        yield None
        return
    lock = _Lock(path)
    try:
        yield _wait(lock, what, look, progress, policy)
    finally:
        lock.release()


class _Lock:
    """A file that is there while somebody has it locked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def take(self) -> bool | None:
        """Whether it is ours now; None where there cannot be one."""
        try:
            self._fd = self._open()
        except OSError as error:
            logger.debug("no lock at %s: %s", self.path, error.strerror)
            return None
        got = try_lock(self._fd)
        if got is False or not has_name(self._fd, self.path):
            # Its last holder may have removed it before we had it locked.
            self._close()
            return False
        with contextlib.suppress(OSError):  # it is only read by people, and may be somebody else's file
            import platform

            os.ftruncate(self._fd, 0)
            os.write(self._fd, f"process {os.getpid()} on {platform.node()}\n".encode())
        return got

    def release(self) -> None:
        """Give it back, if it is ours."""
        ours = self._fd is not None and has_name(self._fd, self.path)
        if not POSIX:
            # An open file cannot be removed there: neither ours, nor that of whoever has taken it by then.
            self._close()
        if ours:
            with contextlib.suppress(OSError):
                self.path.unlink()
        self._close()

    def _open(self) -> int:
        # One of somebody else's may only be read; with O_CREAT, not even that where all may write.
        for flags in (os.O_RDWR, os.O_RDWR | os.O_CREAT, os.O_RDONLY):
            try:
                return os.open(self.path, flags | PLAIN | NO_FOLLOW | NO_WAIT, 0o644)
            except (FileNotFoundError, PermissionError) as error:
                failure = error
        raise failure

    def _close(self) -> None:
        if self._fd is not None:
            close(self._fd)
        self._fd = None


def _wait(
    lock: _Lock, what: str, look: Callable[[], Found | None], progress: Callable[[], object], policy: Policy
) -> Found | None:
    begun = changed = time.monotonic()
    seen: object = None
    told = False
    while True:
        got = lock.take()
        # Somebody may have finished between the caller's look and this lock.
        found = look()
        if got is not False or found is not None:
            return found
        now, before = time.monotonic(), seen
        seen = progress()
        if seen != before:
            changed = now
        if now - changed > policy.lock_idle or now - begun > policy.lock_longest:
            logger.info("not waiting any longer for %s", holder(lock.path, policy))
            return None
        if not told and now - begun > min(1.0, policy.lock_idle / 2):
            told = True
            _tell(f"waiting for {holder(lock.path, policy)}, which is {what} (lock: {lock.path})")
        time.sleep(policy.lock_poll)


def _tell(message: str) -> None:
    logger.info("%s", message)
    if sys.stderr is not None and sys.stderr.isatty():
        print(message, file=sys.stderr)
