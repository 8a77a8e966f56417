"""From urls and a digest to a verified file: the cache first, then the network."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mshub_ssd import settings as _settings
from mshub_ssd.errors import IntegrityError, MshubError, OfflineError, UsageError
from mshub_ssd.redaction import file_name
from mshub_ssd.settings import Settings
from mshub_ssd.store import locks, policy
from mshub_ssd.store import urls as _urls
from mshub_ssd.store.cache_set import CacheSet, Found
from mshub_ssd.store.digests import exact_size, parse, warn_of_weak_digest
from mshub_ssd.store.parts import bytes_under_way, discard, free_parts

if TYPE_CHECKING:
    from mshub_ssd.store.transfer import Job

__all__ = ["FileRequest", "Plan", "cached", "fetch", "fetch_many", "plan"]

logger = logging.getLogger("mshub_ssd.store")


@dataclass(frozen=True)
class Plan:
    """What `fetch` would do.

    Attributes:
        path: The verified cached file, when nothing needs to be downloaded; else None.
        sources: Addresses to try, in order; empty when `path` is set. They may hold secrets: show `shown`.
        shown: The same, fit for a message.
    """

    path: Path | None
    sources: tuple[str, ...] = field(default=(), repr=False)
    shown: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileRequest:
    """One file of several, for `fetch_many`; the fields are the arguments of `fetch`."""

    urls: Sequence[str] = field(repr=False)
    sha256: str
    size: int | None = None
    label: str | None = None
    max_bytes: int | None = None


def plan(
    urls: Sequence[str],
    sha256: str,
    *,
    found: Path | None = None,
    force: bool = False,
    settings: Settings | None = None,
) -> Plan:
    """Decide what `fetch` would do; touches neither disk nor network.

    Args:
        urls: Where the file can be had, best first.
        sha256: 64 hex digits, or at least the first 8 of them.
        found: The verified cached file, as `cached` returns it.
        force: Download even so.
        settings: Instead of the current ones.

    Raises:
        IntegrityError: `sha256` is not a digest.
        OfflineError: A download is needed, and `settings.offline` forbids it.
        TransferError: A url that is neither http nor https.
    """
    chosen = _settings.current() if settings is None else settings
    digest = parse(sha256)
    if found is not None and not force:
        return Plan(found)
    wanted = _urls.listed(urls)
    shown = tuple(_urls.redact(url) for url in wanted)
    if chosen.offline:
        raise OfflineError(
            "the file is not in the cache, and the network is forbidden"
            if found is None
            else "a fresh download was asked for, and the network is forbidden",
            where=" or ".join(shown),
            expected=f"{digest} in {' or '.join(map(str, chosen.homes))}",
            hint="leave --offline out, or unset MSHUB_OFFLINE (or settings key `offline`), and fetch again; or carry "
            "the file here and take it in: mshub cache add FILE",
        )
    sources = _urls.sources(wanted, chosen.endpoint)
    if not sources:
        _urls.check(None)
    return Plan(None, sources, tuple(_urls.redact(url) for url in sources))


def cached(urls: Sequence[str], sha256: str, settings: Settings | None = None) -> Path | None:
    """The verified cached file, or None; never uses the network, never moves anything.

    Args:
        urls: The asset's urls; they matter only to digests of fewer than 64 digits.
        sha256: 64 hex digits, or at least the first 8 of them.
        settings: Instead of the current ones.

    Raises:
        IntegrityError: `sha256` is not a digest, or what a short one stood for on first use cannot be read.
    """
    caches = CacheSet(_settings.current() if settings is None else settings)
    digest = caches.pinned(_urls.listed(urls), parse(sha256))
    return caches.find(digest).path if digest.full else None


def fetch(
    urls: Sequence[str],
    sha256: str,
    *,
    size: int | None = None,
    force: bool = False,
    label: str | None = None,
    max_bytes: int | None = None,
    settings: Settings | None = None,
) -> Path:
    """The local file with that digest: from the caches, else downloaded, verified and stored.

    Args:
        urls: Where the file can be had; tried in order, the user's mirror first.
        sha256: 64 hex digits, or at least the first 8 of them; the full digest is then recorded on
            first use, and later uses must match all of it.
        size: Its number of bytes, if known; one byte more ends a download.
        force: Download anew; the cached file is replaced only after the new bytes were verified.
        label: What it is for, e.g. a uid; shown by `entries`.
        max_bytes: Most bytes it can have, where `size` is not known; None for the policy's cap of 8 GiB.
        settings: Instead of the current ones.

    Returns:
        A read-only file in a cache (mode 0444); copy it before changing it.

    Raises:
        IntegrityError: Not a digest; or the bytes do not fit it, from any of the urls.
        TransferError: The download failed, or no cache can be written. What has arrived is kept, and the next
            call goes on after it.
        OfflineError: A download is needed, and `settings.offline` forbids it.
        DiskSpaceError: No room for the file.
        KeyboardInterrupt: As it came; what has arrived is kept, too.
    """
    chosen = _settings.current() if settings is None else settings
    return _fetch(FileRequest(urls, sha256, size, label, max_bytes), force, chosen, None)


def fetch_many(
    wanted: Sequence[FileRequest], *, force: bool = False, workers: int = 4, settings: Settings | None = None
) -> list[Path | MshubError]:
    """`fetch` for several files at once, with one progress bar.

    Args:
        wanted: The files; equal ones are fetched once.
        force: Download anew.
        workers: Most downloads at the same time.
        settings: Instead of the current ones.

    Returns:
        For each, in order, its path or the error that kept it away: one failure does not stop the others.

    Raises:
        UsageError: `workers` is not positive.
        KeyboardInterrupt: As it came; what has arrived of each is kept.
    """
    if not isinstance(wanted, Sequence) or isinstance(wanted, str | bytes):
        raise UsageError("fetch_many takes several files", expected="a list of FileRequest", got=repr(type(wanted)))
    if workers < 1:
        raise UsageError("fetch_many needs a worker", expected="workers of at least 1", got=str(workers))
    from concurrent.futures import ThreadPoolExecutor
    from threading import Event

    from mshub_ssd.store.transfer import Job
    from mshub_ssd.terminal import SharedProgress

    chosen = _settings.current() if settings is None else settings
    stop = Event()
    keys = [_key(item) for item in wanted]
    distinct = {key: item for key, item in zip(reversed(keys), reversed(wanted), strict=True) if isinstance(key, tuple)}
    with SharedProgress(f"{len(distinct)} files") as display:
        jobs = {
            key: Job(chosen, item.size, item.max_bytes, display=display, stop=stop, title=f"{number} {item.sha256}")
            for number, (key, item) in enumerate(distinct.items())
        }

        def one(key: tuple[tuple[str, ...], str]) -> Path | MshubError:
            try:
                return _fetch(distinct[key], force, chosen, jobs[key])
            except MshubError as error:
                return error

        with ThreadPoolExecutor(workers) as pool:
            futures = {key: pool.submit(one, key) for key in reversed(distinct)}
            try:
                done = {key: future.result() for key, future in futures.items()}
            except BaseException:
                for job in jobs.values():
                    job.abort()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return [done[key] if isinstance(key, tuple) else key for key in keys]


def _key(item: FileRequest) -> tuple[tuple[str, ...], str] | MshubError:
    """What two equal files have in common; or why it cannot be asked for."""
    if not isinstance(item, FileRequest):
        return UsageError("this is no file to fetch", expected="a FileRequest", got=repr(type(item)))
    try:
        return _urls.listed(item.urls), str(item.sha256).lower()
    except MshubError as error:
        return error


def _fetch(wanted: FileRequest, force: bool, chosen: Settings, job: Job | None) -> Path:
    given, urls = parse(wanted.sha256), _urls.listed(wanted.urls)
    caches = CacheSet(chosen)
    digest = caches.pinned(urls, given)
    found, stuck = Found(), frozenset[Path]()
    patience = policy.current()
    limit = patience.limit(wanted.size, wanted.max_bytes)
    if digest.full and not force:
        found = caches.find(digest, limit)
        if found.path is None and found.faults:
            stuck = caches.set_aside(digest, found, urls)
    step = plan(urls, wanted.sha256, found=found.path, force=force, settings=chosen)
    if step.path is not None:
        assert found.cache is not None  # it was found there
        found.cache.add_ref(step.path.name, wanted.label, urls)
        return step.path

    from mshub_ssd.store import transfer

    job = job or transfer.Job(chosen, wanted.size, wanted.max_bytes)
    cache = caches.receiving(digest, besides=stuck)

    def look() -> Path | None:
        job.check()
        now = caches.pinned(urls, given)
        return caches.find(now, limit).path if now.full else None

    what = f"downloading {file_name(step.sources[-1])}"
    progress = partial(bytes_under_way, cache.tmp, digest.text)
    waiting = replace(patience, locks=patience.locks and not force)
    with locks.hold(cache.locks / digest.text, what, look, progress, waiting) as path:
        if path is not None:
            cache.add_ref(path.name, wanted.label, urls)
            return path
        part = cache.part(digest.text)
        keep = interrupted = False
        try:
            if not force:
                part.adopt(patience, job.limit)
            short = given.text if digest is not given else None
            full = transfer.download(step.sources, part, digest, job, pinned_from=short)
            if not digest.full:
                cache.pin(urls, digest.text, full)
            # Before the last step, so that a kill in between leaves nothing large behind.
            for left in free_parts(cache.tmp, digest.text, patience):
                with contextlib.suppress(OSError):
                    discard(left)
            path = cache.publish(part, full)
        except IntegrityError:
            raise
        except BaseException as error:
            # What has filled a disk must not keep it full: everything else would fail as well.
            keep = not part.fills_the_disk()
            interrupted = isinstance(error, KeyboardInterrupt)
            raise
        finally:
            kept = part.finish(keep=keep)
            if kept and interrupted:
                logger.warning(
                    "interrupted: %s of %s are kept, and fetching again goes on after them",
                    exact_size(part.size),
                    wanted.label or file_name(step.sources[-1]),
                )
    cache.add_ref(path.name, wanted.label, urls)
    warn_of_weak_digest(digest.text, path.name, wanted.label or file_name(step.sources[-1]))
    return path
