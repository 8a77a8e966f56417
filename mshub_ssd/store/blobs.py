"""The cache on disk: content-addressed files that are never trusted by their name.

::

    <home>/v1/CACHEDIR.TAG
    <home>/v1/blobs/sha256/ab/<64 hex>      verified files, mode 0444
    <home>/v1/records/sha256/ab/<64 hex>    what stat said when the blob was last hashed (see `_believed`)
    <home>/v1/pins/<64 hex>                 the full digest a short one stood for on first use
    <home>/v1/refs/<64 hex>.json           for which card and url a blob was stored
    <home>/v1/graphs/                       files made here, see `derived`
    <home>/v1/quarantine/<64 hex>           a blob that failed, for a post-mortem
    <home>/v1/locks/<digest>                who is downloading; courtesy only
    <home>/v1/tmp/                          parts (see `parts`) and files about to be renamed

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
import stat
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mshub_ssd.errors import IntegrityError
from mshub_ssd.files import (
    PLAIN,
    POSIX,
    is_link,
    is_private,
    is_shared,
    make_folders,
    new_file,
    open_regular,
    owned,
    read_json,
    replace_file,
)
from mshub_ssd.redaction import file_name, redact
from mshub_ssd.store.digests import FULL, Hashed, exact_size, is_digest, parse, read_fully, warn_of_weak_digest
from mshub_ssd.store.parts import SET_HOME, Part, disk_error

__all__ = ["Cache", "CacheLookup", "hash_file", "sync_folder"]

logger = logging.getLogger("mshub_ssd.store")

_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This file marks a cache folder of mshub_ssd; its content can be downloaded again.\n"
)

# Files fresher than this get no record: a later change in place then always shows in the file's times,
# however coarse the file system's clock is.
_FRESH_NS = 50_000_000

# Records and pins are a few hundred bytes.
_SMALL = 1 << 16


@dataclass(frozen=True)
class CacheLookup:
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


# How often a file just stored is looked at anew when others without locks store the same one: dozens may.
_MEETINGS = 16

# What this process has hashed itself, for caches whose records cannot be believed or written.
_hashed_here: dict[Path, _Stamp] = {}


def hash_file(path: Path, max_bytes: int | None = None) -> Hashed:
    """Hash a regular file.

    Raises:
        OSError: It cannot be read, is larger, is no regular file, or another one took its name meanwhile.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if max_bytes is not None and size > max_bytes:
            raise OSError(
                errno.EFBIG,
                f"it has {exact_size(size)}, more than the {exact_size(max_bytes)} it can have",
                str(path),
            )
        got = read_fully(stream)
        if not os.path.samestat(path.stat(), os.fstat(stream.fileno())):
            raise OSError(errno.ESTALE, "it was exchanged while it was read", str(path))
    return got


class Cache:
    """The files below one `home`.

    Args:
        home: The cache's folder.
        kind: Which of its files: ``blobs``, or ``graphs``.
    """

    def __init__(self, home: Path, kind: str = "blobs") -> None:
        self.home = home
        self.kind = kind
        self.root = home / "v1"
        self.tmp = self.root / "tmp"
        self.locks = self.root / "locks"
        self.refs = self.root / "refs"
        self.quarantined = self.root / "quarantine"

    def blob(self, hexdigest: str) -> Path:
        """Where the file with that digest (64 lower-case hex digits) lies, if it does."""
        return self._shard(self.kind, hexdigest)

    def look(
        self, hexdigest: str, *, always: bool = False, in_use: bool = True, max_bytes: int | None = None
    ) -> CacheLookup:
        """Find a verified file: by its stat record, or by hashing it again.

        A record is believed where nobody but us or root can have written it or the file; elsewhere a file is hashed
        once per process.

        Args:
            hexdigest: 64 lower-case hex digits.
            always: Hash it in any case.
            in_use: Whether hashing it counts as a use of the file.
            max_bytes: A larger file is not the one, and not hashed.
        """
        path = self.blob(hexdigest)
        for _ in range(3):
            try:
                with open_regular(path, follow=False, touch=in_use) as stream:
                    before = os.fstat(stream.fileno())
                    if not always and self._believed(hexdigest, before):
                        return CacheLookup(path)
                    if max_bytes is not None and before.st_size > max_bytes:
                        return CacheLookup(
                            None,
                            f"{exact_size(before.st_size)}, more than the {exact_size(max_bytes)} it can have",
                        )
                    got = read_fully(stream)
                    after = os.fstat(stream.fileno())
                named = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return CacheLookup(None)
            except OSError as error:
                return CacheLookup(None, (error.strerror or type(error).__name__) if _seen(path) else None)
            if got.hexdigest != hexdigest:
                return CacheLookup(None, f"sha256 {got.hexdigest}, {exact_size(got.size)}")
            # The file that was hashed must be the one that has the name.
            if _Stamp.of(before) == _Stamp.of(after) == _Stamp.of(named):
                if time.time_ns() - after.st_mtime_ns > _FRESH_NS and not always:
                    self._remember(hexdigest, after)
                return CacheLookup(path)
        return CacheLookup(None, "it changed each time it was read")

    def quarantine(self, hexdigest: str) -> None:
        """Move a blob that failed out of the way; only the last one per digest is kept.

        Raises:
            IntegrityError: It cannot be moved, e.g. in a read-only cache.
        """
        path = self.blob(hexdigest)
        aside = self.quarantined / hexdigest
        try:
            self._refuse_links(path.parent, self.record(hexdigest).parent, aside.parent)
            self.record(hexdigest).unlink(missing_ok=True)
            self.make(aside.parent)
            if aside.is_dir() or path.is_dir():
                aside = aside.with_name(f"{hexdigest}.{secrets.token_hex(4)}")
            path.replace(aside)
        except FileNotFoundError:
            return  # another process was faster
        except OSError as error:
            raise IntegrityError(
                f"a cached file is damaged and cannot be moved away: {error.strerror}",
                where=str(path),
                hint=f"delete {path}, or {SET_HOME}",
            ) from error
        logger.warning("a damaged cached file was moved to %s", aside)

    def prepare(self, label: str) -> None:
        """Make the folders that writing needs, and see that a file can be stored before it is downloaded.

        Args:
            label: The digits of its digest that are known.

        Raises:
            TransferError, DiskSpaceError: The cache cannot be written.
        """
        goals = [self.root / self.kind / "sha256" / label[:2]]
        if len(label) < FULL:
            goals.append(self.root / "pins")
        try:
            self._refuse_links(*goals, self.tmp, self.locks, self.quarantined, self.refs, self.root / "records")
            for folder in (self.tmp, self.locks):
                self.make(folder)
            tag = self.root / "CACHEDIR.TAG"
            if not tag.exists() or not tag.stat().st_size:
                replace_file(tag, _TAG.encode(), scratch=self.tmp)
            for folder in (self.tmp, *goals):
                there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
                if not there.is_dir():
                    raise NotADirectoryError(errno.ENOTDIR, f"{there} is no folder")
                if not os.access(there, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(there))
        except OSError as error:
            raise disk_error(error, self.root, "the cache folder cannot be written") from error

    def part(self, label: str) -> Part:
        """A new private file on the cache's file system; finish it.

        Raises:
            TransferError, DiskSpaceError: The cache cannot be written.
        """
        try:
            return Part(self.tmp, label)
        except OSError as error:
            raise disk_error(error, self.root, "the cache folder cannot be written") from error

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
            self._refuse_links(path.parent)
            self.make(path.parent)
            if path.is_dir() and not is_link(path):
                self.quarantine(hexdigest)
            try:
                part.move(path)
            except PermissionError:
                # On Windows whoever reads the same file keeps its name; then that one is as good.
                if POSIX or self.look(hexdigest, always=True).path is None:
                    raise
            sync_folder(path.parent)
            if made:
                sync_folder(path.parent.parent)
            named, mine = path.lstat(), part.status()
        except OSError as error:
            raise disk_error(error, path, "the download could not be stored") from error
        if mine is not None and os.path.samestat(named, mine):
            self._remember(hexdigest, mine)
        elif not any(self.look(hexdigest, always=mine is not None).path for _ in range(_MEETINGS)):
            # Those who store the same file at once may meet here; then another one's is as good. What had to be closed
            # to get its name is hashed again under it.
            raise IntegrityError(
                "the download was exchanged for another file while it was stored",
                where=str(path),
                expected=f"sha256 {hexdigest}",
                hint=f"somebody else writes to this cache: {SET_HOME} that others cannot write to",
            )
        return path

    def pinned(self, urls: Sequence[str], short: str) -> str | None:
        """The full digest recorded when `short` was first used for these urls.

        Raises:
            IntegrityError: The record is unreadable, or two urls have different ones.
        """
        found: dict[str, Path] = {}
        for url in urls:
            path = self._pin_path(url, short)
            status = _seen(path)
            if status is None:
                continue
            full = str((read_json(path) or {}).get("sha256"))
            if not is_digest(full, whole=True) or not full.startswith(short):
                raise IntegrityError(
                    "the digest recorded on first use cannot be read",
                    where=str(path),
                    hint=f"delete {path} to trust the next download anew, or put the full sha256 into the card",
                )
            if not owned(status) or not (POSIX or is_private(self.home, path.parent)):
                warn_of_weak_digest(short, full, file_name(url), "somebody else recorded which file they stand for")
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
            try:
                self._refuse_links(path.parent)
                self.make(path.parent)
                with (
                    contextlib.suppress(FileExistsError),
                    new_file(path, replace=False, scratch=self.tmp, durable=True) as stream,
                ):
                    stream.write(json.dumps({"sha256": full}).encode())
                sync_folder(path.parent)
            except OSError as error:
                raise disk_error(error, path, "the digest of first use could not be recorded") from error
        winner = self.pinned(urls, short)
        if winner != full:
            raise IntegrityError(
                f"two downloads with the same short digest {short} differ",
                expected=f"sha256 {winner} (recorded on first use)",
                got=f"sha256 {full}",
                hint="put the full sha256 into the card",
            )

    def record(self, hexdigest: str) -> Path:
        """Where the stat record of a file lies."""
        return self._shard("records", hexdigest)

    def add_ref(self, hexdigest: str, label: str | None, urls: Sequence[str]) -> None:
        """Record what a blob is stored for, once; a failure is not worth an error.

        Args:
            hexdigest: 64 lower-case hex digits.
            label: E.g. a uid.
            urls: Where it can be had; the first one is recorded, without secrets.
        """
        if label is None and not urls:
            return
        facts = {"sha256": hexdigest, "label": label, "url": redact(urls[0]) if urls else None}
        text = json.dumps(facts, sort_keys=True)
        path = self.refs / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
        try:
            if path.exists():
                return
            self._refuse_links(path.parent)
            self.make(path.parent)
            replace_file(path, text.encode(), scratch=self.tmp)
        except OSError as error:
            logger.debug("no reference to %s: %s", hexdigest, error.strerror)

    def _shard(self, kind: str, hexdigest: str) -> Path:
        # The name is built from checked hex digits only, so no card can lead it elsewhere.
        if not parse(hexdigest).full:
            raise IntegrityError("only a full digest names a cached file", got=hexdigest)
        return self.root / kind / "sha256" / hexdigest[:2] / hexdigest

    def _pin_path(self, url: str, short: str) -> Path:
        key = hashlib.sha256(f"{url}\n{short}".encode("utf-8", "surrogatepass")).hexdigest()
        return self.root / "pins" / key

    def make(self, folder: Path) -> None:
        """Make a folder of the cache and those above it.

        Raises:
            OSError: It cannot be made.
        """
        # Folders are shared where the cache's own is, and nowhere else, whatever the umask says.
        try:
            home = self.home.stat()
        except FileNotFoundError:
            make_folders(folder, 0o755)
        else:
            shared = is_shared(home)
            make_folders(folder, stat.S_IMODE(home.st_mode) if shared else 0o755, exactly=shared)

    def _refuse_links(self, *folders: Path) -> None:
        """See that no folder between this cache's own and others in it is a link, which leads who knows where.

        Raises:
            OSError: One is.
        """
        for folder in folders:
            for place in (folder, *folder.parents):
                if place == self.home:
                    break
                if is_link(place):
                    raise NotADirectoryError(errno.ENOTDIR, f"{place} is a link, not a folder", str(place))

    def _believed(self, hexdigest: str, status: os.stat_result) -> bool:
        """Whether the blob with this status was hashed before, by us or by somebody we believe."""
        stamp, path, record = _Stamp.of(status), self.blob(hexdigest), self.record(hexdigest)
        try:
            with open_regular(record, follow=False) as stream:
                if all(map(owned, (status, os.fstat(stream.fileno())))) and is_private(
                    self.home, path.parent, record.parent
                ):
                    stored = json.loads(stream.read(_SMALL) or b"")
                    if stored == {"sha256": hexdigest, **asdict(stamp)}:
                        return True
        except (OSError, ValueError, RecursionError):
            pass  # no record, or a damaged one
        if _hashed_here.get(path) != stamp:
            return False
        if owned(status) and is_private(self.home, path.parent):
            self._remember(hexdigest, status)
        return True

    def _remember(self, hexdigest: str, status: os.stat_result) -> None:
        _hashed_here[self.blob(hexdigest)] = _Stamp.of(status)
        path = self.record(hexdigest)
        record = {"sha256": hexdigest, **asdict(_Stamp.of(status))}
        try:
            self._refuse_links(path.parent)
            self.make(path.parent)
            replace_file(path, json.dumps(record).encode(), scratch=self.tmp)
        except OSError as error:
            # Costs a second hashing in the next process, nothing else; usual in a read-only cache.
            logger.debug("no stat record for %s: %s", hexdigest, error.strerror)


def _seen(path: Path) -> os.stat_result | None:
    """What has that name, as far as can be seen from here."""
    try:
        return path.lstat()
    except OSError as error:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            logger.warning("cannot look for %s: %s", path, error.strerror)
        return None


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable; nothing on Windows, which opens no folders and keeps a journal of names."""
    if not POSIX:
        return
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | PLAIN)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
