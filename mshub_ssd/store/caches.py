"""Several caches as one: all are searched, the first that can be written receives."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mshub_ssd.errors import IntegrityError, MshubError
from mshub_ssd.settings import Settings
from mshub_ssd.store import urls as _urls
from mshub_ssd.store.blobs import Cache
from mshub_ssd.store.digests import Digest

__all__ = ["Found", "Roots"]

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


class Roots:
    """The caches of `settings`, in order."""

    def __init__(self, settings: Settings) -> None:
        self.caches = tuple(Cache(home) for home in settings.homes)
        self._always = settings.verify_always
        self._offline = settings.offline

    def find(self, digest: Digest) -> Found:
        """The first verified file with that full digest.

        Raises:
            IntegrityError: A file is there, cannot be read, and no other cache has it.
        """
        faults: list[tuple[Cache, str]] = []
        unreadable: IntegrityError | None = None
        for cache in self.caches:
            try:
                look = cache.look(digest.text, always=self._always)
            except IntegrityError as error:
                unreadable = unreadable or error
                continue
            if look.path is not None:
                return Found(look.path, cache, tuple(faults))
            if look.fault is not None:
                faults.append((cache, look.fault))
        if unreadable is not None:
            raise unreadable
        return Found(faults=tuple(faults))

    def pinned(self, urls: Sequence[str], digest: Digest) -> Digest:
        """The full digest, if `digest` is one or was recorded on first use; else `digest`.

        Raises:
            IntegrityError: The record is unreadable, or there are different ones.
        """
        if digest.full:
            return digest
        known = [url for url in urls if isinstance(url, str)]
        found = {full: cache for cache in self.caches if (full := cache.pinned(known, digest.text)) is not None}
        if len(found) > 1:
            raise IntegrityError(
                f"two caches recorded different files on first use of {digest.text}",
                got=" and ".join(f"{full} in {cache.home}" for full, cache in found.items()),
                hint="put the full sha256 into the card",
            )
        return Digest(next(iter(found))) if found else digest

    def receiving(self) -> Cache:
        """The first cache that can be written.

        Raises:
            TransferError, DiskSpaceError: None can; what keeps the first one from it.
        """
        first: MshubError | None = None
        for cache in self.caches:
            try:
                cache.prepare()
            except MshubError as error:
                logger.debug("%s", error)
                first = first or error
            else:
                return cache
        assert first is not None  # there is always one cache
        raise first

    def set_aside(self, digest: Digest, found: Found, urls: Sequence[str]) -> None:
        """Move damaged files out of the way, where no verified one was found.

        Raises:
            IntegrityError: It cannot be moved and none could take its place; or the network is forbidden.
        """
        stuck: IntegrityError | None = None
        for cache, _ in found.faults:
            try:
                cache.quarantine(digest.text)
            except IntegrityError as error:
                stuck = stuck or error
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
        if stuck is not None:
            damaged = {cache.home for cache, _ in found.faults}
            try:
                elsewhere = self.receiving().home not in damaged
            except MshubError:
                elsewhere = False
            if not elsewhere:
                raise stuck
            logger.warning("%s: %s", stuck.where, stuck.message)
