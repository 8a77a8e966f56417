"""The cache on disk: content-addressed files that are never trusted by their name.

::

    <home>/v1/CACHEDIR.TAG
    <home>/v1/blobs/sha256/ab/<64 hex>      verified files, mode 0444
    <home>/v1/records/sha256/ab/<64 hex>    what stat said when the blob was last hashed
    <home>/v1/pins/<64 hex>                 the full digest a short one stood for on first use
    <home>/v1/quarantine/<64 hex>           a blob that failed, for a post-mortem
    <home>/v1/tmp/                          parts, private to one call

Correctness needs no lock: parts have unique names, and everything visible appears by one atomic step.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mshub_ssd.errors import DiskSpaceError, IntegrityError, MshubError, TransferError
from mshub_ssd.store.digests import HEAD, Hashed, human, parse, read_fully

__all__ = ["Cache", "Look", "Part", "hash_file"]

logger = logging.getLogger("mshub_ssd.store")

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SET_HOME = "set MSHUB_HOME to a folder you can write to"
_MAKE_ROOM = "make room there, or set MSHUB_HOME to a folder on a larger disk"
_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This file marks a cache folder of mshub_ssd; its content can be downloaded again.\n"
)

# Blobs are dated back by a second, and fresher files get no record: a later change in place then always
# shows in the file's times, however coarse the file system's clock is.
_BACKDATE_NS = 1_000_000_000
_FRESH_NS = 50_000_000


@dataclass(frozen=True)
class Look:
    """What the cache holds under a digest.

    Attributes:
        path: The verified file, or None.
        fault: What is wrong with the file there, or None.
    """

    path: Path | None
    fault: str | None = None


@dataclass(frozen=True)
class _Stamp:
    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> _Stamp:
        return cls(status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)


def hash_file(path: Path) -> Hashed:
    """Hash a regular file.

    Raises:
        OSError: It cannot be read, or is no regular file.
    """
    with _open(path) as stream:
        return read_fully(stream)


class Part:
    """A file under way, hashed while it is written. Not visible to anybody else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._head = b""
        self._hasher = hashlib.sha256()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(path, flags, 0o600)

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            DiskSpaceError: The disk or the quota is full.
            TransferError: Another failure to write.
        """
        view = memoryview(data)
        self._hasher.update(view)
        if len(self._head) < HEAD:
            self._head += bytes(view[: HEAD - len(self._head)])
        self.size += len(view)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise _disk_error(error, self.path.parent, "the download could not be written") from error

    def reset(self) -> None:
        """Begin again with no bytes."""
        try:
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
        except OSError as error:
            raise _disk_error(error, self.path.parent, "the download could not be written") from error
        self.size, self._head, self._hasher = 0, b"", hashlib.sha256()

    def hashed(self) -> Hashed:
        """Digest, size and beginning of the bytes so far."""
        return Hashed(self._hasher.hexdigest(), self.size, self._head)

    def require(self, count: int) -> None:
        """See that `count` more bytes have room, with 5 % to spare.

        Raises:
            DiskSpaceError: They have not.
        """
        need = count + count // 20
        try:
            have = shutil.disk_usage(self.path.parent).free
        except OSError as error:
            raise _disk_error(error, self.path.parent, "the disk's free room cannot be told") from error
        if have < need:
            raise DiskSpaceError(
                "not enough room on the disk for the download",
                where=str(self.path.parent),
                expected=f"{human(need)} free",
                got=f"{human(have)} free",
                hint=_MAKE_ROOM,
            )

    def seal(self) -> None:
        """Make it durable, read-only and backdated."""
        os.fchmod(self._fd, 0o444)
        past = time.time_ns() - _BACKDATE_NS
        os.utime(self._fd, ns=(past, past))
        os.fsync(self._fd)

    def status(self) -> os.stat_result:
        """What stat says about this very file, wherever it was moved."""
        return os.fstat(self._fd)

    def close(self) -> None:
        """Close it, and remove it unless it was published."""
        os.close(self._fd)
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:  # nobody will trust it, it only takes room
            logger.warning("%s could not be removed: %s", self.path, error.strerror)


class Cache:
    """The files below one `home`."""

    def __init__(self, home: Path) -> None:
        self.root = home / "v1"
        self.tmp = self.root / "tmp"

    def blob(self, hexdigest: str) -> Path:
        """Where the file with that digest (64 lower-case hex digits) lies, if it does."""
        return self._shard("blobs", hexdigest)

    def look(self, hexdigest: str, *, always: bool = False) -> Look:
        """Find a verified file: by its stat record, or by hashing it again.

        Args:
            hexdigest: 64 lower-case hex digits.
            always: Hash it in any case.

        Raises:
            IntegrityError: A file is there and cannot be read.
        """
        path = self.blob(hexdigest)
        for _ in range(3):
            try:
                stream = _open(path)
            except (FileNotFoundError, NotADirectoryError):
                return Look(None)
            except IsADirectoryError:
                return Look(None, "it is not a regular file")
            except OSError as error:
                raise _unreadable(path, error) from error
            with stream:
                before = os.fstat(stream.fileno())
                if not always and self._recorded(hexdigest) == _Stamp.of(before):
                    return Look(path)
                try:
                    got = read_fully(stream)
                except OSError as error:
                    raise _unreadable(path, error) from error
                after = os.fstat(stream.fileno())
            if got.hexdigest != hexdigest:
                return Look(None, f"sha256 {got.hexdigest}, {human(got.size)}")
            if _Stamp.of(before) == _Stamp.of(after):
                if time.time_ns() - after.st_mtime_ns > _FRESH_NS and not always:
                    self._record(hexdigest, after)
                return Look(path)
        return Look(None, "it changed each time it was read")

    def quarantine(self, hexdigest: str) -> None:
        """Move a blob that failed out of the way; only the last one per digest is kept.

        Raises:
            IntegrityError: It cannot be moved, e.g. in a read-only cache.
        """
        path = self.blob(hexdigest)
        aside = self.root / "quarantine" / hexdigest
        try:
            self._shard("records", hexdigest).unlink(missing_ok=True)
            aside.parent.mkdir(parents=True, exist_ok=True)
            if aside.is_dir() or path.is_dir():
                aside = aside.with_name(f"{hexdigest}.{secrets.token_hex(4)}")
            path.replace(aside)
        except FileNotFoundError:
            return  # another process was faster
        except OSError as error:
            raise IntegrityError(
                f"a cached file is damaged and cannot be moved away: {error.strerror}",
                where=str(path),
                hint=f"delete {path}, or {_SET_HOME}",
            ) from error
        logger.warning("a damaged cached file was moved to %s", aside)

    @contextlib.contextmanager
    def part(self, label: str) -> Iterator[Part]:
        """A new private file on the cache's file system; gone at the end unless published.

        Parts of dead processes are left alone for now; to take one over, rename it first (one winner).

        Raises:
            TransferError: The cache cannot be written.
        """
        try:
            self._prepare()
            part = Part(self.tmp / f"{label}.{os.getpid()}.{secrets.token_hex(8)}.part")
        except OSError as error:
            raise _disk_error(error, self.root, "the cache folder cannot be written") from error
        try:
            yield part
        finally:
            part.close()

    def publish(self, part: Part, hexdigest: str) -> Path:
        """Make a part whose bytes were compared with `hexdigest` visible under it.

        Raises:
            IntegrityError: The part's digest is another one.
            DiskSpaceError, TransferError: It could not be stored.
        """
        if part.hashed().hexdigest != hexdigest:
            raise IntegrityError(
                "refusing to publish other bytes than were verified",
                expected=hexdigest,
                got=part.hashed().hexdigest,
            )
        path = self.blob(hexdigest)
        try:
            part.seal()
            made = not path.parent.exists()
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir() and not path.is_symlink():
                self.quarantine(hexdigest)
            part.path.replace(path)
            _sync_folder(path.parent)
            if made:
                _sync_folder(path.parent.parent)
        except OSError as error:
            raise _disk_error(error, path, "the download could not be stored") from error
        self._record(hexdigest, part.status())
        return path

    def pinned(self, urls: Sequence[str], short: str) -> str | None:
        """The full digest recorded when `short` was first used for these urls.

        Raises:
            IntegrityError: The record is unreadable, or two urls have different ones.
        """
        found: dict[str, Path] = {}
        for url in urls:
            path = self._pin_path(url, short)
            try:
                text = path.read_text("utf-8")
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, UnicodeDecodeError) as error:
                raise _bad_pin(path, type(error).__name__) from error
            full = _pin_value(text)
            if full is None or not full.startswith(short):
                raise _bad_pin(path, repr(text[:100]))
            found[full] = path
        if len(found) > 1:
            raise IntegrityError(
                f"two urls of one asset stood for different files on first use of {short}",
                got=" and ".join(found),
                hint=f"put the full sha256 into the card, or delete {' or '.join(map(str, found.values()))}",
            )
        return next(iter(found), None)

    def pin(self, urls: Sequence[str], short: str, full: str) -> None:
        """Record on first use which full digest a short one stands for; the first process wins.

        Raises:
            IntegrityError: Another process recorded another one meanwhile.
            TransferError, DiskSpaceError: The record cannot be written.
        """
        for url in urls:
            path = self._pin_path(url, short)
            scratch = self.tmp / f"pin.{os.getpid()}.{secrets.token_hex(8)}.part"
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with scratch.open("x", encoding="utf-8") as stream:
                    stream.write(json.dumps({"sha256": full}))
                    stream.flush()
                    os.fsync(stream.fileno())
                with contextlib.suppress(FileExistsError):
                    os.link(scratch, path)  # unlike a rename, never replaces
                    _sync_folder(path.parent)
            except OSError as error:
                raise _disk_error(error, path, "the digest of first use could not be recorded") from error
            finally:
                with contextlib.suppress(OSError):
                    scratch.unlink(missing_ok=True)
        winner = self.pinned(urls, short)
        if winner != full:
            raise IntegrityError(
                f"two downloads with the same short digest {short} differ",
                expected=f"sha256 {winner} (recorded on first use)",
                got=f"sha256 {full}",
                hint="put the full sha256 into the card",
            )

    def _shard(self, kind: str, hexdigest: str) -> Path:
        # The name is built from checked hex digits only, so no card can lead it elsewhere.
        if not parse(hexdigest).full:
            raise IntegrityError("only a full digest names a cached file", got=hexdigest)
        return self.root / kind / "sha256" / hexdigest[:2] / hexdigest

    def _pin_path(self, url: str, short: str) -> Path:
        key = hashlib.sha256(f"{url}\n{short}".encode("utf-8", "surrogatepass")).hexdigest()
        return self.root / "pins" / key

    def _prepare(self) -> None:
        self.tmp.mkdir(parents=True, exist_ok=True)
        tag = self.root / "CACHEDIR.TAG"
        if not tag.exists():
            with contextlib.suppress(FileExistsError), tag.open("x", encoding="ascii") as stream:
                stream.write(_TAG)

    def _recorded(self, hexdigest: str) -> _Stamp | None:
        try:
            stored = json.loads(self._shard("records", hexdigest).read_bytes())
            return _Stamp(**stored) if isinstance(stored, dict) else None
        except (OSError, ValueError, TypeError, RecursionError):
            return None  # no record, or a damaged one: the file is hashed

    def _record(self, hexdigest: str, status: os.stat_result) -> None:
        path = self._shard("records", hexdigest)
        scratch = self.tmp / f"record.{os.getpid()}.{secrets.token_hex(8)}.part"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_text(json.dumps(asdict(_Stamp.of(status))), "utf-8")
            scratch.replace(path)
        except OSError as error:
            # Costs a second hashing next time, nothing else; usual in a read-only cache.
            logger.debug("no stat record for %s: %s", hexdigest, error.strerror)
            with contextlib.suppress(OSError):
                scratch.unlink(missing_ok=True)


def _open(path: Path) -> Any:
    # O_NONBLOCK: a FIFO in the file's place must not hang us.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise IsADirectoryError(errno.EISDIR, "not a regular file", str(path))
    return os.fdopen(fd, "rb", buffering=0)


def _pin_value(text: str) -> str | None:
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError):
        return None
    full = stored.get("sha256") if isinstance(stored, dict) else None
    try:
        digest = parse(full)
    except IntegrityError:
        return None
    return digest.text if digest.full else None


def _bad_pin(path: Path, got: str) -> IntegrityError:
    return IntegrityError(
        "the digest recorded on first use cannot be read",
        where=str(path),
        got=got,
        hint=f"delete {path} to trust the next download anew, or put the full sha256 into the card",
    )


def _unreadable(path: Path, error: OSError) -> IntegrityError:
    return IntegrityError(
        f"a cached file cannot be read, so it is not verified: {error.strerror or type(error).__name__}",
        where=str(path),
        hint=f"mend its permissions, delete it, or {_SET_HOME}",
    )


def _disk_error(error: OSError, path: Path, what: str) -> MshubError:
    reason = error.strerror or type(error).__name__
    if error.errno in _NO_ROOM:
        return DiskSpaceError(f"{what}: {reason}", where=str(path), hint=_MAKE_ROOM)
    return TransferError(f"{what}: {reason}", where=str(path), hint=_SET_HOME)


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
