"""Files that lie beside their card: hashed on every use, never copied or remembered."""

from __future__ import annotations

import io
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mshub_ssd.errors import IntegrityError
from mshub_ssd.files import read_regular
from mshub_ssd.store.blobs import hash_file
from mshub_ssd.store.digests import Hashed, exact_size, mismatch, parse, read_fully, warn_of_weak_digest
from mshub_ssd.store.policy import current

__all__ = ["read_verified", "verify_local"]

Read = TypeVar("Read")


def verify_local(path: Path, sha256: str, *, size: int | None = None, max_bytes: int | None = None) -> Path:
    """Hash a file that lies beside its card; nothing is copied or remembered.

    Args:
        path: The file.
        sha256: 64 hex digits, or at least the first 8 of them.
        size: Its number of bytes, if known; a file of another size is refused unread.
        max_bytes: A larger file is refused unread; None for the policy's cap of 8 GiB.

    Returns:
        `path`, which named the very file that was hashed. Whoever may write there may change it afterwards;
        `read_verified` leaves no such gap.

    Raises:
        IntegrityError: The file is missing, unreadable, or not the one promised.
    """
    _verified(path, sha256, size, max_bytes, hash_file, lambda got: got)
    return path


def read_verified(path: Path, sha256: str, *, size: int | None = None, max_bytes: int | None = None) -> bytes:
    """The bytes of a local file, read once and verified themselves: no gap between check and use.

    Args:
        path: The file; it must fit into memory.
        sha256: 64 hex digits, or at least the first 8 of them.
        size: Its number of bytes, if known; a file of another size is refused unread.
        max_bytes: A larger file is refused unread; None for the policy's cap of 8 GiB.

    Raises:
        IntegrityError: The file is missing, unreadable, or not the one promised.
    """
    return _verified(path, sha256, size, max_bytes, read_regular, lambda data: read_fully(io.BytesIO(data)))


def _verified(
    path: Path,
    sha256: str,
    size: int | None,
    max_bytes: int | None,
    read: Callable[[Path, int], Read],
    hashed: Callable[[Read], Hashed],
) -> Read:
    digest = parse(sha256)
    found = None
    try:
        have = Path(path).stat().st_size
        if size in (None, have):
            found = read(Path(path), current().limit(size, max_bytes))
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise IntegrityError(
            f"the file beside the card cannot be read: {reason}",
            where=str(path),
            expected=str(digest),
            hint="put the file there, or correct the card's asset-link",
        ) from error
    if found is None:
        raise IntegrityError(
            "the file beside the card has not the size that the card promises",
            where=str(path),
            expected=f"{digest}, {exact_size(size or 0)}",
            got=exact_size(have),
            hint="restore the file, or correct asset-size and asset-sha256",
        )
    got = hashed(found)
    if not digest.fits(got.hexdigest):
        raise mismatch(
            "the file beside the card is not the one the card promises",
            digest,
            got,
            where=str(path),
            hint=f"restore the file, or correct asset-sha256; compare with: sha256sum {shlex.quote(str(path))}",
        )
    warn_of_weak_digest(digest.text, got.hexdigest, str(path), "nothing is on record")
    return found
