"""Urls and a digest in, a verified local file out.

Every path returned here names bytes that were hashed and compared; nothing is ever trusted by its name.

- `fetch`: from the cache or the network.
- `cached`: from the cache only.
- `plan`: what `fetch` would do, decided without touching disk or network.
- `verify_local`, `read_verified`: files that lie beside their card.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mshub_ssd import settings as _settings
from mshub_ssd.errors import IntegrityError, OfflineError
from mshub_ssd.settings import Settings
from mshub_ssd.store import urls as _urls
from mshub_ssd.store.blobs import Cache, hash_file
from mshub_ssd.store.digests import Digest, Hashed, mismatch, parse, read_fully

__all__ = ["Plan", "cached", "fetch", "plan", "read_verified", "verify_local"]


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
    wanted = _as_tuple(urls)
    shown = tuple(_urls.redact(url) for url in wanted)
    if chosen.offline:
        raise OfflineError(
            "the file is not in the cache, and the network is forbidden"
            if found is None
            else "a fresh download was asked for, and the network is forbidden",
            where=" or ".join(shown),
            expected=f"{digest} in {chosen.home}",
            hint="unset MSHUB_OFFLINE (or settings key `offline`) and fetch again",
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
        IntegrityError: `sha256` is not a digest, or the cached file cannot be read.
    """
    chosen = _settings.current() if settings is None else settings
    cache = Cache(chosen.home)
    digest = _pinned(cache, urls, parse(sha256))
    if not digest.full:
        return None
    return cache.look(digest.text, always=chosen.verify_always).path


def fetch(
    urls: Sequence[str],
    sha256: str,
    *,
    size: int | None = None,
    force: bool = False,
    settings: Settings | None = None,
) -> Path:
    """The local file with that digest: from the cache, else downloaded, verified and stored.

    Args:
        urls: Where the file can be had; tried in order, the user's mirror first.
        sha256: 64 hex digits, or at least the first 8 of them; the full digest is then recorded on
            first use, and later uses must match all of it.
        size: Its number of bytes, if known; one byte more ends a download.
        force: Download anew; the cached file is replaced only after the new bytes were verified.
        settings: Instead of the current ones.

    Returns:
        A read-only file in the cache (mode 0444); copy it before changing it.

    Raises:
        IntegrityError: Not a digest; or the bytes do not fit it, from any of the urls.
        TransferError: The download failed, or the cache cannot be written.
        OfflineError: A download is needed, and `settings.offline` forbids it.
        DiskSpaceError: No room for the file.
    """
    chosen = _settings.current() if settings is None else settings
    given = parse(sha256)
    wanted = _as_tuple(urls)
    cache = Cache(chosen.home)
    digest = _pinned(cache, wanted, given)
    found = None
    if digest.full and not force:
        look = cache.look(digest.text, always=chosen.verify_always)
        found = look.path
        if look.fault is not None:
            _set_aside(cache, digest, look.fault, wanted, offline=chosen.offline)
    step = plan(wanted, sha256, found=found, force=force, settings=chosen)
    if step.path is not None:
        return step.path

    from mshub_ssd.store import transfer

    with cache.part(digest.text) as part:
        short = given.text if digest is not given else None
        full = transfer.download(step.sources, part, digest, size=size, pinned_from=short, settings=chosen)
        if not digest.full:
            cache.pin(wanted, digest.text, full)
        return cache.publish(part, full)


def verify_local(path: Path, sha256: str) -> Path:
    """Hash a file that lies beside its card; nothing is copied or remembered.

    Args:
        path: The file.
        sha256: 64 hex digits, or at least the first 8 of them.

    Returns:
        `path`. Whoever may write there may change the file afterwards; `read_verified` leaves no such gap.

    Raises:
        IntegrityError: The file is missing, unreadable, or not the one promised.
    """
    digest = parse(sha256)
    try:
        got = hash_file(path)
    except (OSError, ValueError) as error:
        raise _no_local(path, digest, error) from error
    _compare_local(path, digest, got)
    return path


def read_verified(path: Path, sha256: str) -> bytes:
    """The bytes of a local file, read once and verified themselves: no gap between check and use.

    Args:
        path: The file; it must fit into memory.
        sha256: 64 hex digits, or at least the first 8 of them.

    Raises:
        IntegrityError: The file is missing, unreadable, or not the one promised.
    """
    import io

    digest = parse(sha256)
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise _no_local(path, digest, error) from error
    _compare_local(path, digest, read_fully(io.BytesIO(data)))
    return data


def _as_tuple(urls: Sequence[str]) -> tuple[str, ...]:
    return (urls,) if isinstance(urls, str) else tuple(urls)


def _pinned(cache: Cache, urls: Sequence[str], digest: Digest) -> Digest:
    if digest.full:
        return digest
    full = cache.pinned([url for url in _as_tuple(urls) if isinstance(url, str)], digest.text)
    return digest if full is None else Digest(full)


def _set_aside(cache: Cache, digest: Digest, fault: str, urls: tuple[str, ...], *, offline: bool) -> None:
    path = cache.blob(digest.text)
    if not offline:
        cache.quarantine(digest.text)
        return
    with contextlib.suppress(IntegrityError):  # the one below tells more
        cache.quarantine(digest.text)
    raise IntegrityError(
        "the cached file is damaged, and the network is forbidden",
        where=str(path),
        expected=str(digest),
        got=fault,
        hint=f"unset MSHUB_OFFLINE and fetch again from {' or '.join(map(_urls.redact, urls))}",
    )


def _no_local(path: Path, digest: Digest, error: OSError | ValueError) -> IntegrityError:
    reason = getattr(error, "strerror", None) or type(error).__name__
    return IntegrityError(
        f"the file beside the card cannot be read: {reason}",
        where=str(path),
        expected=str(digest),
        hint="put the file there, or mend the card's asset-link",
    )


def _compare_local(path: Path, digest: Digest, got: Hashed) -> None:
    if not digest.fits(got.hexdigest):
        raise mismatch(
            "the file beside the card is not the one the card promises",
            digest,
            got,
            where=str(path),
            hint=f"restore the file, or mend asset-sha256; compare with: sha256sum {shlex.quote(str(path))}",
        )
