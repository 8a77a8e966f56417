"""Files that lie beside their card: hashed on every use, never copied or remembered."""

from __future__ import annotations

import io
import shlex
from pathlib import Path

from mshub_ssd.errors import IntegrityError
from mshub_ssd.files import read_regular
from mshub_ssd.store.blobs import hash_file
from mshub_ssd.store.digests import Digest, Hashed, exact_size, mismatch, parse, read_fully, warn_of_weak_digest
from mshub_ssd.store.policy import current

__all__ = ["read_verified", "verify_local"]


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
    digest = parse(sha256)
    try:
        _expect_size(path, digest, size)
        got = hash_file(path, current().limit(size, max_bytes))
    except (OSError, ValueError) as error:
        raise _no_local(path, digest, error) from error
    _compare_local(path, digest, got)
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
    digest = parse(sha256)
    try:
        _expect_size(path, digest, size)
        data = read_regular(Path(path), current().limit(size, max_bytes))
    except (OSError, ValueError, MemoryError) as error:
        raise _no_local(path, digest, error) from error
    _compare_local(path, digest, read_fully(io.BytesIO(data)))
    return data


def _expect_size(path: Path, digest: Digest, size: int | None) -> None:
    have = Path(path).stat().st_size
    if size is not None and have != size:
        raise IntegrityError(
            "the file beside the card has not the size that the card promises",
            where=str(path),
            expected=f"{exact_size(size)}, {digest}",
            got=exact_size(have),
            hint="restore the file, or correct asset-size and asset-sha256",
        )


def _no_local(path: Path, digest: Digest, error: OSError | ValueError | MemoryError) -> IntegrityError:
    reason = getattr(error, "strerror", None) or type(error).__name__
    return IntegrityError(
        f"the file beside the card cannot be read: {reason}",
        where=str(path),
        expected=str(digest),
        hint="put the file there, or correct the card's asset-link",
    )


def _compare_local(path: Path, digest: Digest, got: Hashed) -> None:
    if not digest.fits(got.hexdigest):
        raise mismatch(
            "the file beside the card is not the one the card promises",
            digest,
            got,
            where=str(path),
            hint=f"restore the file, or correct asset-sha256; compare with: sha256sum {shlex.quote(str(path))}",
        )
    warn_of_weak_digest(digest.text, got.hexdigest, str(path), "nothing is on record")
