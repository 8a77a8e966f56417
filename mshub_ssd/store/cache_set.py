"""Several caches as one: all are searched, the first that can be written receives."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mshub_ssd.errors import IntegrityError, MshubError, TransferError
from mshub_ssd.settings import Settings
from mshub_ssd.store import policy
from mshub_ssd.store import urls as _urls
from mshub_ssd.store.blobs import Cache
from mshub_ssd.store.digests import Digest
from mshub_ssd.store.parts import SET_HOME

__all__ = ["CacheSet", "Found"]

logger = logging.getLogger("mshub_ssd.store")


@dataclass(frozen=True)
class Found:
    """What the caches hold under a digest.

    Attributes:
        path: The verified file, or None.
        cache: Where it lies.
        faults: Damaged files met before it: where, and what is wrong.
    """

    path: Path | None = None
    cache: Cache | None = None
    faults: tuple[tuple[Cache, str], ...] = ()


class CacheSet:
    """The caches of `settings`, in order."""

    def __init__(self, settings: Settings) -> None:
        self.caches = tuple(Cache(home) for home in settings.homes)
        self._always = settings.verify_always
        self._offline = settings.offline

    def find(self, digest: Digest, max_bytes: int | None = None) -> Found:
        """The first verified file with that full digest.

        Args:
            digest: All 64 digits.
            max_bytes: Most bytes it can have; None for the policy's cap.
        """
        limit = policy.current().limit(max_bytes)
        faults: list[tuple[Cache, str]] = []
        for cache in self.caches:
            look = cache.look(digest.text, always=self._always, max_bytes=limit)
            if look.path is not None:
                return Found(look.path, cache, tuple(faults))
            if look.fault is not None:
                faults.append((cache, look.fault))
        return Found(faults=tuple(faults))

    def pinned(self, urls: Sequence[str], digest: Digest) -> Digest:
        """The full digest, if `digest` is one or was recorded on first use; else `digest`.

        Raises:
            IntegrityError: The record is unreadable, or there are different ones.
        """
        if digest.full:
            return digest
        known = [url for url in urls if isinstance(url, str)]
        found: dict[str, Cache] = {}
        unreadable: IntegrityError | None = None
        for cache in self.caches:
            try:
                full = cache.pinned(known, digest.text)
            except IntegrityError as error:
                unreadable = unreadable or error
            else:
                if full is not None:
                    found[full] = cache
        if len(found) > 1:
            raise IntegrityError(
                f"two caches recorded different files on first use of {digest.text}",
                got=" and ".join(f"{full} in {cache.home}" for full, cache in found.items()),
                hint="put the full sha256 into the card",
            )
        # Another cache's record will do; without one, what was trusted first must be known.
        if unreadable is not None and not found:
            raise unreadable
        return Digest(next(iter(found))) if found else digest

    def receiving(self, digest: Digest, besides: Collection[Path] = ()) -> Cache:
        """The first cache that can be written.

        Args:
            digest: Of the file it is to receive.
            besides: Homes of caches that will not do.

        Raises:
            TransferError, DiskSpaceError: None can; what keeps the first one from it.
        """
        first: MshubError | None = None
        for cache in self.caches:
            if cache.home in besides:
                continue
            try:
                cache.prepare(digest.text)
            except MshubError as error:
                logger.debug("%s", error)
                first = first or error
            else:
                return cache
        raise first or TransferError("no cache can be written", hint=SET_HOME)

    def set_aside(self, digest: Digest, found: Found, urls: Sequence[str]) -> frozenset[Path]:
        """Move damaged files out of the way, where no verified one was found.

        Returns:
            Homes of the caches whose damaged file could not be moved; another one must receive the file.

        Raises:
            IntegrityError: It cannot be moved and no other cache can be written; or the network is forbidden.
        """
        stuck: dict[Path, IntegrityError] = {}
        for cache, _ in found.faults:
            try:
                cache.quarantine(digest.text)
            except IntegrityError as error:
                stuck[cache.home] = error
        if self._offline and found.faults:
            cache, fault = found.faults[0]
            raise IntegrityError(
                "the cached file is damaged, and the network is forbidden",
                where=str(cache.blob(digest.text)),
                expected=str(digest),
                got=fault,
                hint="leave --offline out or unset MSHUB_OFFLINE, and fetch again from "
                + " or ".join(map(_urls.redact, urls)),
            )
        for reason in stuck.values():
            try:
                self.receiving(digest, besides=stuck)
            except MshubError:
                raise reason from None
            logger.warning("%s: %s", reason.where, reason.message)
        return frozenset(stuck)
