"""Graphs: files that were made here of verified ones, kept so that they need not be made again.

::

    <home>/v1/graphs/sha256/ab/<64 hex>     the files, verified like downloads
    <home>/v1/graphs/keys/<64 hex>.json     what each was made of, its digest, and what is known of it

No card knows a graph's digest, so our own record of it is what counts: it is believed only where nobody but us or root
can have written it, or the file. A file that is not the one recorded is not found, and whoever needs it makes it anew.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mshub_ssd import settings as _settings
from mshub_ssd.errors import IntegrityError, MshubError, TransferError
from mshub_ssd.files import is_private, open_regular, owned, read_regular, replace_file
from mshub_ssd.settings import Settings
from mshub_ssd.store import locks, policy
from mshub_ssd.store.blobs import Cache
from mshub_ssd.store.cache_set import CacheSet
from mshub_ssd.store.digests import is_digest
from mshub_ssd.store.parts import SET_HOME, discard, disk_error, free_parts

__all__ = ["StoredGraph", "add_graph", "digest_in", "find_graph", "graphs_of", "key_file", "making_graph", "record_of"]

logger = logging.getLogger("mshub_ssd.store")

# A record holds the names of some thousand classes at most.
_MAX_RECORD = 4 << 20


@dataclass(frozen=True)
class StoredGraph:
    """A graph in a cache.

    Attributes:
        path: The verified file.
        digest: Its SHA-256.
        facts: What its maker wrote beside it.
    """

    path: Path
    digest: str
    facts: Mapping[str, Any]


def graphs_of(cache: Cache) -> Cache:
    """The same cache's graphs; `Cache.blob` is where a graph lies."""
    return Cache(cache.home, "graphs")


def key_file(cache: Cache, key: Mapping[str, Any]) -> Path:
    """Where the record of a graph lies, by what it is made of."""
    return cache.root / "graphs" / "keys" / f"{hashlib.sha256(_canonical(key)).hexdigest()}.json"


def find_graph(key: Mapping[str, Any], settings: Settings | None = None) -> StoredGraph | None:
    """The graph that was made of this, if it is here, unharmed, and was made by somebody we believe.

    A damaged file is put into quarantine.

    Args:
        key: What it is made of; fit for JSON.
        settings: Instead of the current ones.
    """
    chosen = _settings.current() if settings is None else settings
    for cache in CacheSet(chosen).caches:
        known = record_of(cache, key_file(cache, key))
        if known is None or known["key"] != json.loads(_canonical(key)):
            continue
        graphs, digest = graphs_of(cache), known["sha256"]
        if not is_private(cache.home, graphs.blob(digest).parent):
            continue
        look = graphs.look(digest, always=chosen.verify_always)
        if look.path is not None:
            return StoredGraph(look.path, digest, known["facts"])
        if look.fault is not None:
            logger.warning("a graph in the cache is damaged, and made anew: %s", look.fault)
            with contextlib.suppress(IntegrityError):  # in a read-only cache it stays, and is not used
                graphs.quarantine(digest)
    return None


@contextlib.contextmanager
def making_graph(key: Mapping[str, Any], what: str, settings: Settings | None = None) -> Iterator[StoredGraph | None]:
    """Make a graph while other processes that want the same one wait for it.

    Args:
        key: What it is made of; fit for JSON.
        what: The work, for people: ``writing a network down``.
        settings: Instead of the current ones.

    Yields:
        The graph, where another process has made it meanwhile. If None, it is to be made, even where others may be
        at it: in caches that cannot be written, and once they took too long.
    """
    chosen = _settings.current() if settings is None else settings
    digest = hashlib.sha256(_canonical(key)).hexdigest()
    try:
        place = _receiving(digest, chosen, lasting=True).locks / digest
    except TransferError:
        yield None
        return
    with locks.hold(place, what, lambda: find_graph(key, chosen), lambda: None, policy.current()) as found:
        yield found


def add_graph(
    key: Mapping[str, Any],
    pieces: Iterable[bytes | memoryview],
    facts: Mapping[str, Any],
    *,
    label: str | None = None,
    checkpoint: str | None = None,
    settings: Settings | None = None,
    lasting: bool = False,
) -> StoredGraph:
    """Keep a graph in the first cache that only we can write; where there is none, until the process ends.

    Args:
        key: What it is made of; fit for JSON.
        pieces: Its bytes.
        facts: What to hand out with it; fit for JSON.
        label: What it is for, e.g. a uid.
        checkpoint: Digest of the checkpoint whose weights it holds.
        settings: Instead of the current ones.
        lasting: Not for this process alone.

    Raises:
        DiskSpaceError, TransferError: It could not be stored.
    """
    pieces = list(pieces)
    digest = _digest(pieces)
    cache = _receiving(digest, _settings.current() if settings is None else settings, lasting)
    graphs = graphs_of(cache)
    part = graphs.part(digest)
    try:
        part.require(sum(map(len, pieces)))
        for piece in pieces:
            part.write(piece)
        # What killed processes left of the same file.
        for left in free_parts(graphs.tmp, digest, policy.current()):
            with contextlib.suppress(OSError):
                discard(left)
        path = graphs.publish(part, digest)
    finally:
        part.finish()
    record = {"sha256": digest, "key": key, "facts": facts, "label": label, "checkpoint": checkpoint}
    target = key_file(cache, key)
    try:
        graphs.make(target.parent)
        replace_file(target, _canonical({**record, "check": _check(record)}), scratch=cache.tmp)
    except OSError as error:
        raise disk_error(error, target, "the record of a graph could not be written") from error
    return StoredGraph(path, digest, json.loads(_canonical(facts)))


def record_of(cache: Cache, path: Path) -> dict[str, Any] | None:
    """The record of a graph, if it is whole and nobody but us or root can have written it."""
    try:
        with open_regular(path, follow=False) as stream:
            status = os.fstat(stream.fileno())
        if not owned(status) or not is_private(cache.home, path.parent):
            return None
        stored = json.loads(read_regular(path, _MAX_RECORD, follow=False))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(stored, dict):
        return None
    check = stored.pop("check", None)
    whole = set(stored) == {"sha256", "key", "facts", "label", "checkpoint"} and check == _check(stored)
    return stored if whole and is_digest(str(stored["sha256"]), whole=True) else None


def digest_in(path: Path) -> str | None:
    """The digest that a record names, whoever wrote it; None if it names none."""
    try:
        found = json.loads(read_regular(path, _MAX_RECORD, follow=False))["sha256"]
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        return None
    return found if isinstance(found, str) and is_digest(found, whole=True) else None


def _receiving(digest: str, settings: Settings, lasting: bool) -> Cache:
    """The first cache that can be written, and by nobody but us."""
    for cache in CacheSet(settings).caches:
        graphs = graphs_of(cache)
        try:
            graphs.prepare(digest)
            graphs.make(graphs.blob(digest).parent)
            graphs.make(key_file(cache, {}).parent)
        except (MshubError, OSError) as error:
            logger.debug("no graphs in %s: %s", cache.home, error)
            continue
        if is_private(cache.home, graphs.tmp, graphs.blob(digest).parent, key_file(cache, {}).parent):
            return cache
    if lasting:
        raise TransferError("no cache can be written by this user alone", hint=SET_HOME)
    logger.info("no cache can be written by this user alone, so the graph is kept for this process only")
    return _passing()


def _passing() -> Cache:
    """A cache that goes when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="mshub-graphs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    cache = Cache(folder)
    graphs_of(cache).prepare("0" * 64)
    return cache


def _digest(pieces: Iterable[bytes | memoryview]) -> str:
    sum_of_all = hashlib.sha256()
    for piece in pieces:
        sum_of_all.update(piece)
    return sum_of_all.hexdigest()


def _check(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(record)).hexdigest()


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
