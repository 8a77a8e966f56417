"""Who is at work on a file. Courtesy among processes: it saves bandwidth, and nothing is safer for it."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from mshub_ssd.files import create_file, open_regular
from mshub_ssd.store.policy import Policy

__all__ = ["Lock", "Owner", "hold", "holder", "read_json"]

logger = logging.getLogger("mshub_ssd.store")

_SMALL = 1 << 16

Found = TypeVar("Found")


@dataclass(frozen=True)
class Owner:
    """A process, told apart from all others, those of other machines and former ones of the same number too.

    Attributes:
        pid: Its number.
        host: Its machine's name.
        boot: Which start of the machine.
        space: Its namespace of process numbers: containers have their own.
        start: When it started, in the machine's ticks.
    """

    pid: int
    host: str
    boot: str = ""
    space: str = ""
    start: str = ""

    @classmethod
    def me(cls) -> Owner:
        """This process."""
        return _me(os.getpid())

    @classmethod
    def read(cls, stored: object) -> Owner | None:
        """From what `asdict` made of one, or None."""
        if not isinstance(stored, dict) or set(stored) != set(cls.__dataclass_fields__):
            return None
        pid = stored["pid"]
        if type(pid) is not int or pid <= 0 or not all(isinstance(v, str) for k, v in stored.items() if k != "pid"):
            return None
        return cls(**stored)

    def gone(self) -> bool | None:
        """Whether it has ended; None when that cannot be told from here."""
        me = Owner.me()
        if self.host != me.host:
            return None
        if self.boot != me.boot:
            return True
        if self.space != me.space:
            return None
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass  # it lives, as somebody else's
        state, start = _process(self.pid)
        return state in ("Z", "X") or start != self.start

    def __str__(self) -> str:
        shown = "".join(char if char.isprintable() else "?" for char in self.host[:100])
        return f"process {self.pid} on {shown}"


@functools.lru_cache(1)
def _me(pid: int) -> Owner:
    boot = space = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    with contextlib.suppress(OSError):
        space = str(Path("/proc/self/ns/pid").readlink())
    return Owner(pid, os.uname().nodename, boot, space, _process(pid)[1])


def _process(pid: int) -> tuple[str, str]:
    """State and start of a process; empty where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return "", ""


def read_json(path: Path) -> dict[str, Any] | None:
    """A small record of ours; None when it is missing, damaged, or something else."""
    try:
        with open_regular(path, follow=False) as stream:
            stored = json.loads(stream.read(_SMALL) or b"")
    except (OSError, ValueError, RecursionError):
        return None
    return stored if isinstance(stored, dict) else None


class Lock:
    """A lock that is held, or the leave to go on without one.

    Attributes:
        key: Tells it apart from all others.
    """

    def __init__(self, path: Path | None = None, key: str = "", pace: float = 0.0) -> None:
        self._path = path
        self.key = key
        self._pace = pace
        self._beaten = time.monotonic()

    def beat(self) -> None:
        """Tell those who wait that bytes still arrive; call it as often as you like."""
        now = time.monotonic()
        if self._path is not None and now - self._beaten >= self._pace:
            self._beaten = now
            if (read_json(self._path) or {}).get("key") == self.key:
                with contextlib.suppress(OSError):
                    os.utime(self._path)

    def release(self) -> None:
        """Give it back, unless somebody took it away."""
        if self._path is not None and (read_json(self._path) or {}).get("key") == self.key:
            with contextlib.suppress(OSError):
                self._path.unlink()


def holder(path: Path, policy: Policy) -> Owner | None:
    """Who holds the lock there; None when nobody does, or the holder has ended, or may have and shows no life."""
    owner = Owner.read((read_json(path) or {}).get("owner"))
    gone = True if owner is None else owner.gone()
    if gone is None:
        try:
            gone = time.time() - path.lstat().st_mtime > policy.abandoned
        except OSError:
            gone = True
    return None if gone else owner


@contextlib.contextmanager
def hold(
    path: Path, what: str, look: Callable[[], Found | None], policy: Policy
) -> Iterator[tuple[Lock, Found | None]]:
    """Take the lock, or wait until another process has done the work.

    Args:
        path: Of the lock; its folder exists.
        what: The work, for people: ``downloading a.ckpt``.
        look: Finds the work done, or None.
        policy: For how long to wait.

    Yields:
        The lock, and what `look` found. Without either (nothing found, and the lock not ours, because its owner is
        too slow or locks cannot be had here) the work is to be done all the same.
    """
    if not policy.locks:
        yield Lock(), None
        return
    lock = Lock(path, secrets.token_hex(8), policy.lock_beat)
    try:
        found = _take(lock, path, what, look, policy)
        yield lock, found
    finally:
        # Whatever happened, and whenever: it looks whether it is ours.
        lock.release()


def _take(lock: Lock, path: Path, what: str, look: Callable[[], Found | None], policy: Policy) -> Found | None:
    begun = changed = time.monotonic()
    told = False
    beat: object = None
    while True:
        try:
            create_file(path, json.dumps({"key": lock.key, "owner": asdict(Owner.me()), "what": what}).encode())
        except FileExistsError:
            pass
        except OSError as error:
            logger.debug("no lock at %s: %s", path, error.strerror)
            return None
        else:
            # Somebody may have finished between the caller's look and this lock.
            return look()
        found = look()
        if found is not None:
            return found
        now = time.monotonic()
        seen = _stamp(path)
        if seen != beat:
            beat, changed = seen, now
        owner = Owner.read((read_json(path) or {}).get("owner"))
        gone = owner.gone() if owner is not None else None
        # Watched rather than compared with a clock: clocks of two machines differ.
        idle = now - changed > policy.lock_idle
        if (gone or (gone is None and idle)) and _break(path, seen):
            continue
        if gone or idle or now - begun > policy.lock_longest:
            logger.info("not waiting any longer for %s", owner)
            return None
        if not told and now - begun > min(1.0, policy.lock_idle / 2):
            told = True
            _tell(f"waiting for {owner or 'another process'}, which is {what} (lock: {path})")
        time.sleep(policy.lock_poll)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _break(path: Path, seen: tuple[int, int] | None) -> bool:
    """Remove a lock whose owner has ended. Two who do so at once may both go on to download: no harm.

    Returns:
        Whether it is out of the way; in a folder of somebody else's it may not be.
    """
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return True
    except OSError as error:
        logger.debug("the lock of a process that has ended cannot be removed: %s: %s", path, error.strerror)
        return False
    if _stamp(aside) != seen:  # it was somebody's new one
        with contextlib.suppress(OSError):
            os.link(aside, path)
    with contextlib.suppress(OSError):
        aside.unlink()
    return True


def _tell(message: str) -> None:
    logger.info("%s", message)
    if sys.stderr is not None and sys.stderr.isatty():
        print(message, file=sys.stderr)
