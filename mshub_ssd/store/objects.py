"""Files of object stores, and of whatever else fsspec reaches, asked as a web server is: with ranges and validators.

They are read in pieces that grow while they come fast: a slow connection gets on, and a broken one loses little.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import Any

from mshub_ssd import schemes
from mshub_ssd.settings import Settings
from mshub_ssd.store import addresses
from mshub_ssd.store import urls as _urls
from mshub_ssd.store.fetchers import FailedError
from mshub_ssd.store.filesystems import RefusedError, limited, opened
from mshub_ssd.store.policy import Policy

__all__ = ["Objects", "facts_of"]

_RANGE = re.compile(r"bytes=(\d+)-(\d*)", re.ASCII)
_LEAST, _FIRST, _MOST = 1 << 16, 1 << 22, 1 << 23  # bytes of a piece
_FAST, _SLOW = 0.5, 4.0  # seconds for one
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "modificationTime", "created")


@dataclass
class _Found:
    """An answer; see `mshub_ssd.store.fetchers.Answer`."""

    status_code: int
    headers: dict[str, str] = field(default_factory=dict)
    raw: Any = None
    refusal: RefusedError | None = None


class Objects:
    """Asks fsspec, for one thread; see `Fetcher`.

    Args:
        settings: Unused; what fsspec needs to know it finds by itself.
        policy: For how long to wait.
        allow_private: Whether an address that names a machine may name one that is loopback or private.
    """

    def __init__(self, settings: Settings, policy: Policy, *, allow_private: bool = True) -> None:
        self._policy, self._allow_private = policy, allow_private
        self._stop = threading.Event()
        self.piece = _FIRST

    def __exit__(self, *_: object) -> None:
        """See `Fetcher.__exit__`: file systems are kept for the process."""

    def drop(self) -> None:
        """See `Fetcher.drop`: between two pieces nothing is under way."""

    def abort(self) -> None:
        """See `Fetcher.abort`."""
        self._stop.set()

    @contextlib.contextmanager
    def answer(
        self, source: str, headers: dict[str, str] | None = None, method: str = "GET"
    ) -> Iterator[tuple[_Found, tuple[str, ...]]]:
        """See `Fetcher.answer`."""
        found = self._ask(source, headers or {}, method)
        try:
            yield found, (source,)
        finally:
            if found.raw is not None:
                found.raw.close()

    @contextlib.contextmanager
    def body(self, source: str, headers: dict[str, str], wanted: tuple[int, ...] = (200, 206, 416)) -> Iterator[_Found]:
        """See `Fetcher.body`."""
        with self.answer(source, headers) as (found, _):
            if found.refusal is not None:
                raise found.refusal
            if found.status_code not in wanted:
                raise FailedError(f"the store has another range of it ({found.status_code})", again=True)
            yield found

    def ask(self, work: Any, url: str) -> Any:
        """One question to a file system, with an end.

        Raises:
            FailedError: No answer, or none that is any use.
        """
        return limited(work, url, self._policy.answer, self._stop)

    def _ask(self, url: str, asked: dict[str, str], method: str) -> _Found:
        self._foresee(url)
        try:
            file, told = self.ask(lambda: _look(url, self._policy), url)
        except RefusedError as refusal:
            return _Found(refusal.status, refusal=refusal)
        size, headers = told.pop("size"), told["headers"]
        if any(asked.get(name) == headers.get(known) for name, known in _SAME.items() if name in asked):
            file.close()
            return _Found(304, headers)
        span = _RANGE.fullmatch(asked.get("Range", ""))
        if "If-Range" in asked and asked["If-Range"] not in (headers.get("ETag"), headers.get("Last-Modified")):
            span = None  # it is another file by now, and all of it is wanted
        first, last = (int(span[1]), int(span[2] or size)) if span and size is not None else (0, size)
        status = 200
        if span and size is not None:
            last = min(last, size - 1)
            if first > last:
                file.close()
                return _Found(416, {**headers, "Content-Range": f"bytes */{size}"})
            status = 206
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
            headers["Content-Length"] = str(last + 1 - first)
        elif size is not None:
            headers |= {"Content-Length": str(size), "Accept-Ranges": "bytes"}
            last = size - 1
        if method == "HEAD":
            file.close()
            return _Found(status, headers)
        return _Found(status, headers, _Body(self, url, file, first, None if last is None else last + 1))

    def _foresee(self, url: str) -> None:
        """Refuse a machine that is private, where it must not be; fsspec tells nobody whom it reached."""
        place = schemes.host_of(url)
        if self._allow_private or place is None:
            return
        refusal = ""
        try:
            addresses.refuse_private(*place)
        except addresses.RefusedAddressError as error:
            refusal = str(error)
        if refusal:
            raise FailedError(f"refused, {refusal}, and {_urls.redact(url)} may only lead to the open internet")


_SAME = {"If-None-Match": "ETag", "If-Modified-Since": "Last-Modified"}


class _Body:
    """The bytes of a file between two places."""

    def __init__(self, asker: Objects, url: str, file: Any, start: int, end: int | None) -> None:
        self._asker, self._url, self._file = asker, url, file
        self._at, self._end = start, end

    def read1(self, _count: int = -1, **_: object) -> bytes:
        """The next piece, as large as seems good; empty at the end.

        Raises:
            OSError: It does not come.
        """
        count = self._asker.piece if self._end is None else min(self._asker.piece, self._end - self._at)
        if count <= 0:
            return b""

        def read() -> bytes:
            self._file.seek(self._at)
            return bytes(self._file.read(count))

        reason, begun = "", time.monotonic()
        try:
            data: bytes = self._asker.ask(read, self._url)
        except FailedError as failure:
            reason = failure.reason
        if reason:
            self._asker.piece = max(_LEAST, self._asker.piece // 4)
            raise OSError(reason)
        if not data and self._end is not None:
            raise OSError("the body was cut short")
        seconds = time.monotonic() - begun
        if seconds < _FAST and count == self._asker.piece:
            self._asker.piece = min(_MOST, count * 2)
        elif seconds > _SLOW:
            self._asker.piece = max(_LEAST, count // 2)
        self._at += len(data)
        return data

    def close(self) -> None:
        """Let go of the file."""
        with contextlib.suppress(Exception):  # whatever a file system has against that
            self._file.close()


def _look(url: str, policy: Policy) -> tuple[Any, dict[str, Any]]:
    """A file, and what its store says of it."""
    system, path = opened(url, policy)
    system.invalidate_cache()
    file = system.open(path, "rb", cache_type="none")
    told = getattr(file, "details", None)
    facts = facts_of(told if isinstance(told, dict) else system.info(path))
    if facts["type"] == "directory":
        raise IsADirectoryError(path)
    return file, {"size": facts["size"], "headers": facts["headers"]}


def facts_of(told: dict[str, Any]) -> dict[str, Any]:
    """What a file system says of a file, whatever it calls it: its size, its type, and headers as a web server's."""
    size, etag = told.get("size"), told.get("ETag") or told.get("etag")
    headers = {}
    if isinstance(etag, str) and etag.isprintable():
        headers["ETag"] = etag if etag.startswith(('"', "W/")) else f'"{etag}"'
    moment = next((when for name in _TIMES if (when := _moment(told.get(name))) is not None), None)
    if moment is not None:
        now = datetime.datetime.now(datetime.timezone.utc)
        headers |= {"Last-Modified": format_datetime(moment, usegmt=True), "Date": format_datetime(now, usegmt=True)}
    if isinstance(kind := told.get("ContentType") or told.get("contentType"), str):
        headers["Content-Type"] = kind
    known = size if isinstance(size, int) else None
    return {"size": known, "type": told.get("type", "file"), "headers": headers, "moment": moment}


def _moment(when: object) -> datetime.datetime | None:
    utc = datetime.timezone.utc
    try:
        if isinstance(when, int | float) and not isinstance(when, bool):
            return datetime.datetime.fromtimestamp(when / 1000 if when > 1e11 else when, utc)
        if isinstance(when, str):
            when = datetime.datetime.fromisoformat(when.replace("Z", "+00:00"))
    except (ValueError, OverflowError, OSError):
        return None
    if not isinstance(when, datetime.datetime):
        return None
    return when.replace(tzinfo=utc) if when.tzinfo is None else when.astimezone(utc)
