"""SHA-256 digests as cards write them: parsing, hashing, and telling why bytes do not fit."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from mshub_ssd.errors import IntegrityError, WeakDigestWarning
from mshub_ssd.terminal import size_text

__all__ = [
    "Digest",
    "Hashed",
    "Hasher",
    "exact_size",
    "is_digest",
    "mismatch",
    "parse",
    "read_fully",
    "warn_of_weak_digest",
]

FULL = 64
"""Hex digits of a whole SHA-256."""

SHORTEST = 8
"""Fewest hex digits that are accepted as the beginning of one."""

DIGITS = "[0-9a-f]{8,64}"
"""Pattern of a digest, or of its beginning."""

ALL_DIGITS = "[0-9a-f]{64}"
"""Pattern of a whole digest."""

HEAD = 512
"""Bytes of a file's beginning that are kept to guess what it is."""

CHUNK = 1 << 20

BUFFER = 4 << 20
"""Most bytes read at once: waking up for few of them costs more than moving them."""

RECORDED = "all of them are on record and must match from now on"

_told: set[tuple[str, str, str]] = set()

_LARGE = 1 << 19
"""Bytes from which on a thread is worth its trouble."""

_EMPTY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Digest:
    """A digest from a card: all 64 hex digits, or the first 8 or more of them."""

    text: str

    @property
    def full(self) -> bool:
        """Whether all 64 digits are known."""
        return len(self.text) == FULL

    def fits(self, hexdigest: str) -> bool:
        """Whether the digest of some bytes (64 lower-case hex digits) is the promised one."""
        return hexdigest.startswith(self.text)

    def __str__(self) -> str:
        return f"sha256 {self.text}" if self.full else f"sha256 beginning with {self.text}"


@dataclass(frozen=True)
class Hashed:
    """What was learnt from reading bytes once.

    Attributes:
        hexdigest: SHA-256, 64 lower-case hex digits; empty when they were not read to the end.
        size: Number of bytes.
        head: The first 512 of them.
    """

    hexdigest: str
    size: int
    head: bytes


class Hasher:
    """SHA-256 of bytes that come in turn; a large piece is hashed in a thread, while the next one comes in.

    Two buffers go round and are used again: memory from the system costs as much as hashing it.
    """

    def __init__(self) -> None:
        self._hasher = hashlib.sha256()
        self._buffers = deque[bytearray]()
        self._pool: ThreadPoolExecutor | None = None
        self._work: Future[None] | None = None

    def buffer(self) -> memoryview:
        """Memory for the next bytes, to be filled from its beginning and given to `update`."""
        if not self._buffers:
            self._buffers.extend((bytearray(BUFFER), bytearray(BUFFER)))
        return memoryview(self._buffers[0])

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes. Those not in `buffer` are hashed before this returns."""
        view = memoryview(data)
        self._settle()
        if view.nbytes < _LARGE or not self._buffers or view.obj is not self._buffers[0]:
            self._hasher.update(view)
            return
        try:
            self._pool = self._pool or ThreadPoolExecutor(1, "mshub-sha256")
            self._work = self._pool.submit(self._hasher.update, view)
            self._buffers.rotate()
        except RuntimeError:  # no thread can be had: too many, or the interpreter is about to end
            self._pool = None
            self._hasher.update(view)

    def hexdigest(self) -> str:
        """Digest of all bytes so far."""
        self._settle()
        return self._hasher.hexdigest()

    def close(self) -> None:
        """Let go of thread and buffers. If they are needed again, there will be new ones."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._settle()
        self._buffers.clear()

    def _settle(self) -> None:
        if self._work is not None:
            self._work.result()
            self._work = None


def is_digest(text: str, *, whole: bool = False) -> bool:
    """Whether a text is a SHA-256 in lower-case hex digits, or the first 8 or more of them, unless it must be whole."""
    return re.fullmatch(ALL_DIGITS if whole else DIGITS, text) is not None


def parse(text: object) -> Digest:
    """Read a card's digest; case does not matter.

    Raises:
        IntegrityError: Neither 64 hex digits nor the first 8 or more of them.
    """
    word = text.lower() if isinstance(text, str) else ""
    if is_digest(word):
        return Digest(word)
    shown = repr(text)
    raise IntegrityError(
        "asset-sha256 must be 64 hex digits",
        expected=f"64 hex digits, or at least the first {SHORTEST} of them",
        got=shown if len(shown) <= 100 else f"{shown[:97]}...",
        hint="put the output of `sha256sum FILE` into the card",
    )


def warn_of_weak_digest(digits: str, full: str, what: str, record: str = RECORDED) -> None:
    """Tell the user, once per process and file, that bytes were believed because of a few digits only.

    Args:
        digits: Those of the card.
        full: The digest of the bytes.
        what: What they are for, e.g. a uid.
        record: What became of the other digits.
    """
    key = (digits.lower(), full, what)
    if len(digits) == FULL or key in _told:
        return
    _told.add(key)
    warnings.warn(
        f"{what}: the card gives only {len(digits)} of the {FULL} digits of the SHA-256, which prove little; "
        f"{record}. If you trust the file, put them into the card: asset-sha256: {full}",
        WeakDigestWarning,
        stacklevel=3,
    )


def read_fully(stream: Any) -> Hashed:
    """Hash an unbuffered binary stream from where it stands to its end."""
    hasher = hashlib.sha256()
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    size, head = 0, b""
    while count := stream.readinto(buffer):
        hasher.update(view[:count])
        if len(head) < HEAD:
            head += bytes(view[: min(count, HEAD - len(head))])
        size += count
    return Hashed(hasher.hexdigest(), size, head)


exact_size = partial(size_text, exact=True)
"""A number of bytes for a sentence, to the byte: ``1.5 GB (1500000000 bytes)``."""


def mismatch(
    message: str,
    wanted: Digest,
    got: Hashed,
    *,
    where: str,
    size: int | None = None,
    pinned_from: str | None = None,
    also: str = "",
    hint: str,
) -> IntegrityError:
    """The error for bytes that do not fit, with the likely cause.

    Args:
        message: First line.
        wanted: The digest asked for.
        got: What the bytes are.
        where: Url (already redacted) or path.
        size: Promised number of bytes, if known.
        pinned_from: The shorter digest of the card, when `wanted` was recorded on first use.
        also: What else to tell after the facts, e.g. what other mirrors did.
        hint: What to do next.
    """
    promised = str(wanted) if size is None else f"{wanted}, {exact_size(size)}"
    if pinned_from is not None:
        promised += f" (recorded on first use; the card gives {pinned_from})"
    cause = _likely_cause(got, size, pinned_from)
    found = f"sha256 {got.hexdigest}, {exact_size(got.size)}" if got.hexdigest else f"at least {exact_size(got.size)}"
    return IntegrityError(
        message,
        where=where,
        expected=promised,
        got=f"{found}; likely cause: {cause}{also}",
        hint=hint,
    )


def _likely_cause(got: Hashed, size: int | None, pinned_from: str | None) -> str:
    start = got.head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if got.hexdigest == _EMPTY:
        return "the body was empty"
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page (login, captive portal or error page) instead of the file"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer instead of the file"
    if size is not None and got.size < size:
        return f"truncated, {size - got.size} bytes are missing"
    if size is not None and got.size > size:
        return "more bytes than promised"
    if pinned_from is not None and got.hexdigest.startswith(pinned_from):
        return "the file was exchanged for another one with the same short digest"
    return "the file was replaced or damaged, or the card's digest is of another file"
