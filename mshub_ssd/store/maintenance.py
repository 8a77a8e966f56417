"""What the caches hold, and keeping them: listing, verifying, removing, taking in.

Nothing here needs the network. A removal asks no lock for leave except the one that counts: a file whose download
is under way in a living process stays.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from mshub_ssd import settings as _settings
from mshub_ssd.errors import IntegrityError, MshubError, UsageError
from mshub_ssd.files import open_folder, open_regular, read_json, unfinished
from mshub_ssd.settings import Settings
from mshub_ssd.store import derived, locks, policy
from mshub_ssd.store import urls as _urls
from mshub_ssd.store.blobs import Cache
from mshub_ssd.store.cache_set import CacheSet
from mshub_ssd.store.digests import ALL_DIGITS, CHUNK, DIGITS, FULL, is_digest, mismatch, parse
from mshub_ssd.store.parts import is_note, is_part, note_of

logger = logging.getLogger("mshub_ssd.store")

__all__ = ["CacheInfo", "Checked", "Entry", "Removal", "add", "caches", "entries", "prune", "remove", "verify"]

KINDS = ("file", "graph", "part", "quarantined", "rubbish")

# What stays until somebody wants it gone.
_KEPT = ("file", "graph")

# The cache's folders, and the names this library gives there. Nothing else is ever removed.
_BLOBS, _TMP, _LOCKS = ("v1", "blobs", "sha256"), ("v1", "tmp"), ("v1", "locks")
_QUARANTINE, _REFS = ("v1", "quarantine"), ("v1", "refs")
_GRAPHS, _KEYS = ("v1", "graphs", "sha256"), ("v1", "graphs", "keys")
_QUARANTINED = re.compile(ALL_DIGITS + r"(\.[0-9a-f]{8})?")
_REF = re.compile(ALL_DIGITS + r"\.json")
_SMALL_FILE = re.compile(rf"CACHEDIR\.TAG|{DIGITS}(\.json)?")


@dataclass(frozen=True)
class CacheInfo:
    """One cache.

    Attributes:
        path: Its folder, one of ``MSHUB_HOME``.
        exists: Whether it is there.
        writable: Whether it can be written, or made.
        receives: Whether new files go there.
    """

    path: Path
    exists: bool
    writable: bool
    receives: bool


@dataclass(frozen=True)
class Entry:
    """One thing in a cache.

    Attributes:
        digest: 64 lower-case hex digits; of a part as many as its card gives (at least 8), of rubbish none.
        size: Bytes.
        path: Where it lies.
        home: The cache's folder.
        stored: When it was last written, in seconds since the epoch.
        used: When it was last read, as far as the file system remembers (many do so once a day), else `stored`.
        kind: ``file``; ``graph``, made here of a checkpoint; ``part`` of a download, under way or interrupted;
            ``quarantined``, a file or graph that was found damaged; ``rubbish``, what a killed process left.
        labels: What it was fetched for, e.g. uids; sorted.
        urls: Where it came from, without secrets; sorted.
        busy: Who downloads this digest now, e.g. ``process 12 on host``; None when nobody does.
        checkpoint: Of a graph, the digest of the checkpoint whose weights it holds; else None.
    """

    digest: str
    size: int
    path: Path
    home: Path
    stored: float
    used: float
    kind: str = "file"
    labels: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    busy: str | None = None
    checkpoint: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**plain, "path": str(self.path), "home": str(self.home), "labels": [*self.labels], "urls": [*self.urls]}


@dataclass(frozen=True)
class _Place:
    """Something in a folder of the cache: where, and what lstat says."""

    path: Path
    status: os.stat_result


@dataclass(frozen=True)
class Checked:
    """What `verify` found out about a file.

    Attributes:
        entry: The file.
        fault: What is wrong with it; None when its bytes are those of its digest.
        moved: Whether it was put into quarantine; False when it could not be, e.g. in a read-only cache.
    """

    entry: Entry
    fault: str | None = None
    moved: bool = False


@dataclass(frozen=True)
class Removal:
    """What was removed, or would be.

    Attributes:
        removed: The entries.
        kept: Those that were to go and stayed, each with the reason.
        freed: Bytes of `removed`.
    """

    removed: tuple[Entry, ...] = ()
    kept: tuple[tuple[Entry, str], ...] = ()

    @property
    def freed(self) -> int:
        """Bytes of `removed`."""
        return sum(entry.size for entry in self.removed)


def caches(settings: Settings | None = None) -> list[CacheInfo]:
    """The caches in the order they are searched; nothing is made."""
    found = []
    receives = True
    for cache in _caches(settings):
        writable = _writable(cache)
        found.append(CacheInfo(cache.home, os.path.isdir(cache.root), writable, receives and writable))  # noqa: PTH112 - never raises
        receives = receives and not writable
    return found


def entries(settings: Settings | None = None, *, kinds: Collection[str] = ("file",)) -> list[Entry]:
    """What the caches hold, by cache and then by digest. A damaged or unreadable cache shows what can be seen.

    Args:
        settings: Instead of the current ones.
        kinds: Some of ``file``, ``graph``, ``part``, ``quarantined``, ``rubbish``.

    Raises:
        UsageError: Another kind.
    """
    wrong = sorted(set(kinds) - set(KINDS))
    if wrong:
        raise UsageError("no such kind of entry", expected=", ".join(KINDS), got=", ".join(wrong))
    return [entry for cache in _caches(settings) for entry in _entries(cache, kinds)]


def verify(
    digests: Collection[str] | None = None,
    *,
    settings: Settings | None = None,
    each: Callable[[Checked], object] = lambda checked: None,
) -> list[Checked]:
    """Hash cached files and graphs anew, whatever their records say, and move damaged ones into quarantine.

    Args:
        digests: Only these (64 hex digits, or the first 8 or more); None for all.
        settings: Instead of the current ones.
        each: Told about every file as soon as it was hashed.

    Raises:
        IntegrityError: Not a digest.
        UsageError: A digest of which nothing is there, or one that fits several.
    """
    files = entries(settings, kinds=_KEPT)
    chosen = files if digests is None else _chosen(digests, files)
    done = []
    for entry in chosen:
        cache = _cache_of(entry)
        moved = False
        look = cache.look(entry.digest, always=True, in_use=False)
        if look.path is None and look.fault is None:
            continue  # another process removed it
        if look.fault is not None:
            with contextlib.suppress(IntegrityError):  # told by `moved`
                cache.quarantine(entry.digest)
                moved = True
        done.append(Checked(entry, look.fault, moved))
        each(done[-1])
    return done


def remove(digests: Collection[str], *, dry_run: bool = False, settings: Settings | None = None) -> Removal:
    """Remove files and graphs with their parts, records and refs from all caches that can be written.

    Args:
        digests: 64 hex digits each, or the first 8 or more.
        dry_run: Only tell.
        settings: Instead of the current ones.

    Raises:
        IntegrityError: Not a digest.
        UsageError: A digest of which nothing is there, or one that fits several.
    """
    there = entries(settings, kinds=(*_KEPT, "part", "quarantined"))
    return _remove(_chosen(digests, there), dry_run)


def prune(
    *,
    unused_for: float | None = None,
    max_bytes: int | None = None,
    keep: Collection[str] = (),
    dry_run: bool = False,
    settings: Settings | None = None,
) -> Removal:
    """Make room: interrupted downloads, quarantined files, graphs without a record and rubbish go; others on request.

    Args:
        unused_for: Files and graphs last used longer ago than this (seconds) go, too.
        max_bytes: Files and graphs last used longest ago go until those of each cache take at most so many bytes.
        keep: Digests (64 hex digits, or the first 8 or more) that stay in any case.
        dry_run: Only tell.
        settings: Instead of the current ones.

    Raises:
        IntegrityError: `keep` holds something that is no digest.
        UsageError: A negative age or size.
    """
    import time

    for name, value in (("unused_for", unused_for), ("max_bytes", max_bytes)):
        if value is not None and value < 0:
            raise UsageError(f"{name} cannot be negative", where="prune", got=str(value))
    spared = tuple(parse(word).text for word in keep)
    now = time.time()
    going: list[Entry] = []
    for cache in _caches(settings):
        going += _entries(cache, ("part", "quarantined", "rubbish"))
        graphs = list(_entries(cache, ("graph",)))
        lost = [entry for entry in graphs if entry.checkpoint is None]
        going += lost  # nobody finds them any more
        files = [*_entries(cache, ("file",)), *(entry for entry in graphs if entry.checkpoint is not None)]
        left = sum(entry.size for entry in files)
        for entry in sorted(files, key=lambda entry: entry.used):
            old = unused_for is not None and now - entry.used > unused_for
            if (old or (max_bytes is not None and left > max_bytes)) and not entry.digest.startswith(spared or ("-",)):
                going.append(entry)
                left -= entry.size
    # What is being downloaded is no rubbish, and not worth a word.
    idle = [entry for entry in going if entry.kind in _KEPT or entry.busy is None]
    return _remove(idle, dry_run)


def add(
    source: Path | BinaryIO,
    sha256: str,
    *,
    urls: Sequence[str] = (),
    size: int | None = None,
    label: str | None = None,
    settings: Settings | None = None,
) -> Path:
    """Take in a file that was carried here by hand: copied, hashed on the way, and stored if it fits.

    Args:
        source: The file, or an unbuffered or buffered binary stream, read to its end.
        sha256: What it must fit: 64 hex digits, or at least the first 8 of them.
        urls: Where a card says it can be had; a digest of fewer than 64 digits is recorded for them, as `fetch` does.
        size: Its number of bytes, if known; one byte more ends the copy.
        label: What it is for, e.g. a uid.
        settings: Instead of the current ones.

    Returns:
        The verified file in the cache.

    Raises:
        IntegrityError: Not a digest, the file cannot be read, or it does not fit.
        TransferError: No cache can be written.
        DiskSpaceError: No room for the file.
    """
    given, urls = parse(sha256), _urls.listed(urls)
    if not isinstance(source, Path) and not hasattr(source, "read"):
        raise UsageError("this is no file", expected="a pathlib.Path, or a binary stream", got=repr(type(source)))
    chosen = _settings.current() if settings is None else settings
    every = CacheSet(chosen)
    digest = every.pinned(tuple(urls), given)
    shown = str(source) if isinstance(source, Path) else str(getattr(source, "name", "the stream"))
    found = every.find(digest, size) if digest.full else None
    if found is not None and found.path is not None and found.cache is not None:
        found.cache.add_ref(digest.text, label, urls)
        return found.path
    with contextlib.ExitStack() as stack:
        if isinstance(source, Path):
            with _reading(shown):
                stream: Any = stack.enter_context(open_regular(source))
            size = os.fstat(stream.fileno()).st_size if size is None else size
        else:
            stream = source
        cache = every.receiving(digest)
        part = cache.part(digest.text)
        stack.callback(part.finish)
        if size is not None:
            part.require(size)
        while data := _read(stream, shown):
            part.write(data)
            if size is not None and part.size > size:
                break
        got = part.hashed()
        if not digest.fits(got.hexdigest):
            raise mismatch(
                "the file is not the one that is wanted",
                digest,
                got,
                where=shown,
                size=size if not isinstance(source, Path) else None,
                pinned_from=given.text if digest is not given else None,
                hint="fetch it again where there is a network; compare with: sha256sum FILE",
            )
        if not digest.full and urls:
            cache.pin(tuple(urls), digest.text, got.hexdigest)
        path = cache.publish(part, got.hexdigest)
    cache.add_ref(got.hexdigest, label, urls)
    return path


def _caches(settings: Settings | None) -> tuple[Cache, ...]:
    return CacheSet(_settings.current() if settings is None else settings).caches


def _writable(cache: Cache) -> bool:
    place = cache.tmp
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    except OSError:
        return False


def _entries(cache: Cache, kinds: Collection[str]) -> Iterator[Entry]:
    busy = _busy(cache)
    if "file" in kinds:
        refs = _refs(cache)
        for shard in _listed(cache.home, *_BLOBS):
            for place in _listed(cache.home, *_BLOBS, shard.path.name):
                if is_digest(name := place.path.name, whole=True) and name[:2] == shard.path.name:
                    labels, urls = refs.get(name, (set(), set()))
                    yield _entry(cache, place, name, "file", busy, labels, urls)
    if "graph" in kinds:
        yield from _graphs(cache)
    if "part" in kinds:
        for place in _listed(cache.home, *_TMP):
            if is_part(place.path.name) and (digest := place.path.name.partition(".")[0]):
                yield _entry(cache, place, digest, "part", busy)
    if "quarantined" in kinds:
        for place in _listed(cache.home, *_QUARANTINE):
            if _QUARANTINED.fullmatch(place.path.name):
                yield _entry(cache, place, place.path.name.partition(".")[0], "quarantined", {})
    if "rubbish" in kinds:
        for place in _rubbish(cache):
            yield _entry(cache, place, "", "rubbish", {})


def _graphs(cache: Cache) -> Iterator[Entry]:
    """The graphs; one without a record that can be believed has no checkpoint."""
    known: dict[str, tuple[set[str], str]] = {}
    for place in _listed(cache.home, *_KEYS):
        if _REF.fullmatch(place.path.name) and (record := derived.record_of(cache, place.path)) is not None:
            labels, _ = known.setdefault(record["sha256"], (set(), str(record["checkpoint"])))
            labels |= {record["label"]} if isinstance(record["label"], str) else set()
    for shard in _listed(cache.home, *_GRAPHS):
        for place in _listed(cache.home, *_GRAPHS, shard.path.name):
            if is_digest(name := place.path.name, whole=True) and name[:2] == shard.path.name:
                labels, checkpoint = known.get(name, (set(), None))
                yield replace(_entry(cache, place, name, "graph", {}, labels), checkpoint=checkpoint)


def _cache_of(entry: Entry) -> Cache:
    return Cache(entry.home, "graphs" if entry.kind == "graph" else "blobs")


def _entry(
    cache: Cache,
    place: _Place,
    digest: str,
    kind: str,
    busy: dict[str, str],
    labels: Collection[str] = (),
    urls: Collection[str] = (),
) -> Entry:
    if kind == "part" and locks.at_work(place.path, policy.current()):
        busy = {digest: "a living process", **busy}
    owner = next((who for label, who in busy.items() if digest.startswith(label) or label.startswith(digest)), None)
    status = place.status
    return Entry(
        digest=digest,
        size=status.st_size,
        path=place.path,
        home=cache.home,
        stored=status.st_mtime,
        used=max(status.st_atime, status.st_mtime),
        kind=kind,
        labels=tuple(sorted(labels)),
        urls=tuple(sorted(urls)),
        busy=owner if digest else None,
    )


def _listed(home: Path, *names: str) -> list[_Place]:
    """What lies in a folder of the cache, by name; no link is followed. What cannot be listed is left out."""
    found = []
    try:
        with open_folder(home, *names) as folder:
            for name in sorted(folder.names()):
                with contextlib.suppress(FileNotFoundError):  # gone meanwhile
                    found.append(_Place(home.joinpath(*names, name), folder.status(name)))
    except FileNotFoundError:
        pass  # nothing was ever stored there
    except OSError as error:
        # A home that cannot be is told where it is needed.
        logger.log(
            logging.WARNING if os.path.isdir(home) else logging.DEBUG,  # noqa: PTH112 - never raises
            "left out %s: %s",
            home.joinpath(*names),
            error.strerror,
        )
    return found


def _busy(cache: Cache) -> dict[str, str]:
    """Digest → who downloads it."""
    return {
        place.path.name: owner
        for place in _listed(cache.home, *_LOCKS)
        if is_digest(place.path.name) and (owner := locks.holder(place.path, policy.current()))
    }


def _refs(cache: Cache) -> dict[str, tuple[set[str], set[str]]]:
    found: dict[str, tuple[set[str], set[str]]] = {}
    for place in _listed(cache.home, *_REFS):
        facts = read_json(place.path) or {}
        digest, label, url = facts.get("sha256"), facts.get("label"), facts.get("url")
        if isinstance(digest, str):
            labels, urls = found.setdefault(digest, (set(), set()))
            if isinstance(label, str):
                labels.add(label)
            if isinstance(url, str):
                urls.add(url)
    return found


def _rubbish(cache: Cache) -> Iterator[_Place]:
    """What killed processes left: half-written small files, notes without a part, old locks, records of no graph.

    Only names that this library gives: whoever put something else there may want it back.
    """
    import time

    patience = policy.current()
    for folder in (_TMP, _LOCKS):
        listed = _listed(cache.home, *folder)
        names = {place.path.name for place in listed}
        for place in listed:
            name = place.path.name
            stale = _is_scratch(name) or (folder == _TMP and is_note(name) and name.removesuffix(".json") not in names)
            if folder == _LOCKS and is_digest(name):
                stale = locks.holder(place.path, patience) is None
            if stale and time.time() - place.status.st_mtime > patience.abandoned:
                yield place
    graphs = derived.graphs_of(cache)
    for place in _listed(cache.home, *_KEYS):
        if _REF.fullmatch(place.path.name) and time.time() - place.status.st_mtime > patience.abandoned:
            digest = derived.digest_in(place.path)
            if digest is None or not graphs.blob(digest).exists():
                yield place


def _is_scratch(name: str) -> bool:
    target = unfinished(name)
    return target is not None and (is_note(target) or _SMALL_FILE.fullmatch(target) is not None)


def _chosen(digests: Collection[str], there: Sequence[Entry]) -> list[Entry]:
    chosen: dict[Path, Entry] = {}
    for word in digests:
        wanted = parse(word)
        fitting = [entry for entry in there if wanted.fits(entry.digest) or entry.digest == wanted.text]
        known = {entry.digest for entry in fitting if len(entry.digest) == FULL}
        if not fitting:
            raise UsageError(
                "the cache holds no such file",
                expected=str(wanted),
                hint="mshub cache ls",
            )
        if len(known) > 1:
            raise UsageError(
                f"{wanted.text} is the beginning of several files' digests",
                got=", ".join(sorted(known)),
                hint="give more digits",
            )
        chosen |= {entry.path: entry for entry in fitting}
    return list(chosen.values())


def _remove(going: Sequence[Entry], dry_run: bool) -> Removal:
    removed: list[Entry] = []
    kept: list[tuple[Entry, str]] = []
    for entry in going:
        cache = _cache_of(entry)
        if entry.busy is not None:
            kept.append((entry, f"{entry.busy} is downloading it"))
            continue
        if not os.access(entry.path.parent, os.W_OK | os.X_OK):
            kept.append((entry, "the cache is read-only"))
            continue
        if not dry_run:
            try:
                _delete(cache, entry)
            except OSError as error:
                kept.append((entry, error.strerror or type(error).__name__))
                continue
        removed.append(entry)
    return Removal(tuple(removed), tuple(kept))


def _delete(cache: Cache, entry: Entry) -> None:
    if entry.kind in _KEPT:
        _unlink(cache, cache.record(entry.digest))
    _unlink(cache, entry.path)
    if entry.kind == "part":
        _unlink(cache, note_of(entry.path))
    if entry.kind == "file":
        for place in _listed(cache.home, *_REFS):
            if _REF.fullmatch(place.path.name) and (read_json(place.path) or {}).get("sha256") == entry.digest:
                _unlink(cache, place.path)
    if entry.kind == "graph":
        for place in _listed(cache.home, *_KEYS):
            if _REF.fullmatch(place.path.name) and derived.digest_in(place.path) == entry.digest:
                _unlink(cache, place.path)


def _unlink(cache: Cache, path: Path) -> None:
    """Remove a file, a link, or an empty folder of the cache; no link is followed on the way.

    Raises:
        OSError: It cannot be removed, or is a folder with something in it, which is nothing of ours.
    """
    *folders, name = path.relative_to(cache.home).parts
    with contextlib.suppress(FileNotFoundError), open_folder(cache.home, *folders) as folder:
        if stat.S_ISDIR(folder.status(name).st_mode):
            folder.rmdir(name)
        else:
            folder.unlink(name)


@contextlib.contextmanager
def _reading(shown: str) -> Iterator[None]:
    try:
        yield
    except MshubError:  # of a stream of ours
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise IntegrityError(
            f"the file cannot be read: {reason}", where=shown, hint="give the path of a file"
        ) from error


def _read(stream: Any, shown: str) -> bytes:
    with _reading(shown):
        return stream.read(CHUNK) or b""
