"""Bytes from addresses into a sink: resuming, retries, mirrors, several connections.

Nothing here is believed because a server said so: lengths and ranges are hints that save time, the
digest decides.
"""

from __future__ import annotations

import contextlib
import logging
import random
import re
import shlex
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from mshub_ssd.errors import MshubError, TransferError
from mshub_ssd.redaction import file_name
from mshub_ssd.settings import Settings
from mshub_ssd.store import urls as _urls
from mshub_ssd.store.client import number, read_errors, reason_of, status_text
from mshub_ssd.store.digests import CHUNK, HEAD, Digest, Hashed, exact_size, mismatch
from mshub_ssd.store.fetchers import Answer, Clients, FailedError, Fetchers
from mshub_ssd.store.parts import Sink
from mshub_ssd.store.policy import Policy, current, override_policy
from mshub_ssd.store.transport import reader
from mshub_ssd.terminal import Advance, Progress

__all__ = ["Job", "Policy", "content_range", "download", "override_policy", "persist", "read_head"]

logger = logging.getLogger("mshub_ssd.store")

_RANGE = re.compile(r"\s*bytes\s+(?:(\d{1,18})-(\d{1,18})|\*)\s*/\s*(\d{1,18}|\*)\s*", re.ASCII | re.IGNORECASE)

Result = TypeVar("Result")


@dataclass
class Job:
    """What accompanies one download.

    Attributes:
        settings: For endpoint, token and the number of connections.
        size: Promised number of bytes, if known.
        max_bytes: Most bytes where the size is not known; None for the policy's cap.
        display: Where its progress is shown.
        stop: When set, the download ends with a KeyboardInterrupt.
        allow_private: Whether a url's own host may be loopback or private.
        title: Its name in a display of several; None for the url's last part.
        policy: How patient it is.
        kept: Clients to take one from; None for one of its own.
        clients: Those at work now, to be broken off from another thread.
    """

    settings: Settings
    size: int | None = None
    max_bytes: int | None = None
    display: Progress | None = None
    stop: threading.Event | None = None
    allow_private: bool = True
    title: str | None = None
    policy: Policy = field(default_factory=current)
    kept: Clients | None = None
    clients: list[Fetchers] = field(default_factory=list)

    @contextlib.contextmanager
    def client(self) -> Iterator[Fetchers]:
        """A client that `abort` knows of."""
        chosen: contextlib.AbstractContextManager[Fetchers]
        if self.kept is not None:
            chosen = self.kept.client()
        else:
            chosen = Fetchers(self.settings, self.policy, allow_private=self.allow_private)
        with chosen as client:
            self.clients.append(client)
            try:
                yield client
            finally:
                self.clients.remove(client)

    @property
    def limit(self) -> int:
        """Most bytes of the file."""
        return self.policy.limit(self.size, self.max_bytes)

    def abort(self) -> None:
        """From another thread: end as if interrupted."""
        if self.stop is not None:
            self.stop.set()
        for client in tuple(self.clients):
            client.abort()

    def check(self) -> None:
        """Raise KeyboardInterrupt once `stop` is set."""
        if self.stop is not None and self.stop.is_set():
            raise KeyboardInterrupt

    def pause(self, seconds: float) -> None:
        """Sleep, but not past `stop`."""
        if self.stop is None:
            time.sleep(seconds)
        else:
            self.stop.wait(seconds)
        self.check()


class _TooLongError(Exception):
    """More bytes than the card promises: at least so many."""


@dataclass
class _Source:
    """One url, and what is known about it between attempts.

    Attributes:
        ranges: Whether it can be asked for the rest of a file.
        many: Whether it can be asked over several connections.
        chances: Mismatches after which it is given up.
        at_once: Whether its next turn comes without a pause.
        idle: Attempts since the last progress.
        ready: Earliest moment of the next attempt, on the monotonic clock.
        given_up: Why, or None while it is worth asking.
        hint: What to do about it, if there is something special.
    """

    url: str
    ranges: bool = True
    many: bool = True
    validator: str | None = None
    total: int | None = None
    chances: int = 2
    at_once: bool = False
    idle: int = 0
    ready: float = 0.0
    given_up: str | None = None
    hint: str | None = None

    @property
    def shown(self) -> str:
        return _urls.redact(self.url)

    @property
    def advice(self) -> str:
        if self.hint or _urls.is_store(self.url):
            return self.hint or "check the address and the network"
        return f"check the address and the network: curl -sSLI {shlex.quote(self.shown)}"

    def fail(self, failure: FailedError, policy: Policy, *, progress: bool) -> None:
        """Decide whether and when it is asked again."""
        logger.info("%s: %s", self.shown, failure.reason)
        self.idle = 0 if progress else self.idle + 1
        self.ready = time.monotonic() + (failure.after or 0.0)
        self.hint = failure.hint
        if not failure.again:
            self.given_up = failure.reason
        elif self.idle >= min(policy.attempts, failure.attempts or policy.attempts):
            self.given_up = f"{failure.reason} (given up after {self.idle} attempts without progress)"
        elif failure.after is not None and failure.after > policy.longest_retry_after:
            self.given_up = f"{failure.reason}; the server asks to come back in {failure.after:.0f} seconds"


def download(sources: tuple[str, ...], sink: Sink, digest: Digest, job: Job, *, pinned_from: str | None = None) -> str:
    """Fill `sink` with bytes that fit `digest`.

    Args:
        sources: Urls in the order to try them; all of them before the first pause. What one has begun, another may
            finish. After a mismatch each is asked alone, from the beginning, with one clean second chance.
        sink: Empty, or with the beginning of the bytes; on return it holds the verified ones.
        digest: What they must fit.
        job: Size, settings and the like.
        pinned_from: The card's shorter digest when `digest` was recorded on first use (for the message).

    Returns:
        The full digest of the bytes.

    Raises:
        IntegrityError: A server sent bytes that do not fit, and no other source had those that do.
        TransferError: No source answered with a whole body.
        DiskSpaceError: No room.
    """
    if sink.size > job.limit:
        sink.reset()
    if digest.full and sink.size and digest.fits(sink.hashed().hexdigest):
        return digest.text
    if job.size is not None:
        sink.require(job.size - sink.size)
    todo = [_Source(source, many=job.settings.connections > 1) for source in sources]
    for source in todo:
        source.validator, source.total = sink.noted(source.url)
    with job.client() as client:
        run = _Run(client, sink, digest, job)
        found = run.ask(todo, together=True)
        while found is None and (alive := [source for source in todo if source.given_up is None]):
            sink.reset()
            found = run.ask(alive[:1], together=False)
    if found is not None:
        return found
    failed = [source for source in todo if source.chances > 0]
    raise _failure(digest, failed, run.wrong, sink, job.size, pinned_from)


def persist(url: str, job: Job, work: Callable[[Fetchers], Result]) -> Result:
    """Ask one url something until it is answered.

    Raises:
        TransferError: It is not.
    """
    source = _Source(url)
    with job.client() as client:
        for _ in _turns([source], job):
            try:
                return work(client)
            except FailedError as failure:
                source.fail(failure, job.policy, progress=False)
    raise TransferError(
        "the url could not be asked",
        where=source.shown,
        got=source.given_up,
        hint=source.advice,
    )


def _turns(todo: list[_Source], job: Job) -> Iterator[_Source]:
    """Whose turn it is, until all are given up: every source once, then a pause."""
    policy, clock = job.policy, time.monotonic()
    while True:
        for source in todo:
            if source.given_up is None and source.ready <= clock:
                while True:
                    job.check()
                    source.at_once = False
                    yield source
                    if not source.at_once:
                        break
        alive = [source for source in todo if source.given_up is None]
        if not alive:
            return
        soonest, now = min(source.ready for source in alive), time.monotonic()
        idle = min(source.idle for source in alive)
        jitter = random.uniform(0, min(policy.longest_wait, policy.backoff * 2**idle))  # noqa: S311
        wait = max(0.0, soonest - now) + jitter
        logger.info("trying again in %.1f s", wait)
        job.pause(wait)
        clock = max(now + wait, time.monotonic())


class _Run:
    """One download: several attempts at several sources, one sink."""

    def __init__(self, client: Fetchers, sink: Sink, digest: Digest, job: Job) -> None:
        self.wrong: tuple[str, Hashed] | None = None
        self._client = client
        self._sink = sink
        self._digest = digest
        self._job = job
        self._furthest = sink.size
        self._limit = job.limit
        # Whether bytes of more than one source may be in the sink: a mismatch is then nobody's fault yet.
        self._mixed = sink.size > 0

    def ask(self, todo: list[_Source], *, together: bool) -> str | None:
        """Let sources take turns until the bytes are here and fit.

        Returns:
            Their digest; None when all were given up, or, if they work together, after the first mismatch.
        """
        sink = self._sink
        if not together:
            self._furthest, self._mixed = 0, False
        for source in _turns(todo, self._job):
            try:
                if not self._attempted(source):
                    self._mixed = self._mixed or (len(todo) > 1 and sink.size > 0)
                    continue
                got = sink.hashed()
            except _TooLongError as error:
                got = Hashed("", error.args[0], sink.hashed().head)
            if got.hexdigest and self._digest.fits(got.hexdigest):
                return got.hexdigest
            logger.info("%s: other bytes than the card promises", source.shown)
            self.wrong = (source.shown, got)
            source.chances -= not self._mixed
            if source.chances <= 0:
                source.given_up = "other bytes"
            sink.reset()
            self._furthest, self._mixed = 0, False
            if together:
                # The one whose bytes they were is asked again first.
                todo.sort(key=lambda other: other is not source)
                return None
            source.at_once = source.given_up is None
        return None

    def _attempted(self, source: _Source) -> bool:
        """Whether an attempt brought everything."""
        try:
            self._attempt(source)
            return True
        except FailedError as failure:
            if self._digest.full and self._digest.fits(self._sink.hashed().hexdigest):
                return True  # whatever else the server promised
            progress = self._sink.size >= self._furthest + self._job.policy.progress
            if progress:
                self._furthest = self._sink.size
            source.fail(failure, self._job.policy, progress=progress)
            return False

    def _attempt(self, source: _Source) -> None:
        sink, size = self._sink, self._job.size
        headers = {}
        if sink.size and source.ranges:
            headers["Range"] = f"bytes={sink.size}-"
            if source.validator:
                headers["If-Range"] = source.validator
        elif sink.size:
            sink.reset()
        with self._client.body(source.url, headers) as response:
            rest = _place(response, sink, source, asked="Range" in headers)
            if rest == 0 and response.status_code == 416:
                return  # everything is here already; the digest decides
            end = None if rest is None else sink.size + rest
            limit = self._limit
            if end is None or rest is None:
                pass
            elif end <= limit:
                sink.require(rest)
            elif size is None:
                raise FailedError(f"the body has {exact_size(end)}, more than the {exact_size(limit)} allowed")
            else:
                limit = min(limit, HEAD)  # a glance at it, for the message
            display = self._job.display or Progress()
            title = self._job.title or file_name(source.url)
            with display.track(title, sink.size, end if end is not None else size) as advance:
                if source.many and source.ranges and end is not None and rest is not None and end <= limit:
                    piece = self._segment()
                    if rest >= 2 * piece:
                        self._stream(response, advance, limit=limit, end=end, stop=sink.size + piece)
                        self._client.drop()
                        self._segments(source, advance, end, piece)
                        return
                self._stream(response, advance, limit=limit, end=end, stop=None)

    def _stream(self, response: Answer, advance: Advance, *, limit: int, end: int | None, stop: int | None) -> None:
        """Read a body to its end, or until the sink has `stop` bytes."""
        sink, size = self._sink, self._job.size
        for data in _pieces(response, self._job, buffer=sink.buffer):
            room = max(1, (limit + 1 if stop is None else stop) - sink.size)
            sink.write(data[:room] if len(data) > room else data)
            advance(min(len(data), room))
            if sink.size == stop:
                return
            if sink.size > limit:
                if size is not None:
                    raise _TooLongError(max(sink.size, end or 0))
                sink.reset()  # whatever it is, it is not the file
                raise FailedError(f"the body has more than the {exact_size(limit)} allowed")
        promised = end if end is not None else size
        if promised is not None and sink.size < promised:
            raise FailedError(f"the body ended after {sink.size} of {promised} bytes", again=True)

    def _segment(self) -> int:
        """Bytes per request over several connections: all that are under way fit into 12 MiB."""
        return min(self._job.policy.segment, (12 << 20) // self._job.settings.connections)

    def _segments(self, source: _Source, advance: Advance, end: int, piece: int) -> None:
        """Fetch the rest over several connections, ahead of the one place where bytes are written and hashed."""
        sink, job = self._sink, self._job
        source.many = False  # one failure, and it goes on over a single connection
        starts = deque(range(sink.size, end, piece))
        waiting: deque[Future[bytearray]] = deque()
        with contextlib.ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(job.settings.connections))
            idle = deque(stack.enter_context(job.client()) for _ in range(job.settings.connections))
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)

            def fetch(start: int, last: int) -> bytearray:
                client = idle.popleft()  # as many as there are threads
                try:
                    return _range(client, source, start, last, end, job)
                finally:
                    idle.append(client)

            try:
                while starts or waiting:
                    while starts and len(waiting) < job.settings.connections:
                        start = starts.popleft()
                        waiting.append(pool.submit(fetch, start, min(start + piece, end) - 1))
                    data = waiting.popleft().result()
                    sink.write(data)
                    advance(len(data))
            except BaseException:
                for client in tuple(job.clients):
                    if client is not self._client:
                        client.abort()
                raise
        source.many = True


def content_range(response: Answer) -> tuple[int | None, int | None, int | None] | None:
    """First and last byte and total of a Content-Range, each None where unknown; None without one."""
    span = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if span is None:
        return None
    first, last, total = (None if text in (None, "*") else int(text) for text in span.groups())
    return first, last, total


def read_head(response: Answer, count: int, job: Job) -> bytes:
    """The first `count` bytes of a body, or all if there are fewer.

    Raises:
        FailedError: It breaks off.
    """
    data = bytearray()
    for piece in _pieces(response, job):
        data += piece
        if len(data) >= count:
            break
    return bytes(data[:count])


def _range(client: Fetchers, source: _Source, start: int, last: int, total: int, job: Job) -> bytearray:
    headers = {"Range": f"bytes={start}-{last}"}
    if source.validator:
        headers["If-Range"] = source.validator
    data, count = bytearray(last + 1 - start), 0
    with client.body(source.url, headers) as response:
        if response.status_code != 206 or content_range(response) != (start, last, total):
            raise FailedError("the server answered a request for a part with something else", again=True)
        for piece in _pieces(response, job, 1 << 17):
            if count + len(piece) > len(data):
                raise FailedError("a part of the body is longer than it should be", again=True)
            data[count : count + len(piece)] = piece
            count += len(piece)
    if count != len(data):
        raise FailedError(f"a part of the body has {count} bytes, not {len(data)}", again=True)
    return data


def _pieces(
    response: Answer, job: Job, max_piece: int = CHUNK, buffer: Callable[[], memoryview] | None = None
) -> Iterator[bytes | memoryview]:
    """The body as it arrives.

    Args:
        response: Whose body.
        job: For its patience.
        max_piece: Most bytes of a piece that has memory of its own.
        buffer: Tells where the next piece may be put; it is not asked again before that piece was used.

    Raises:
        FailedError: It breaks off, or trickles.
    """
    policy = job.policy
    read = reader(response, max_piece, buffer)
    since, count, window = time.monotonic(), 0, 0
    while True:
        job.check()
        reason = ""
        try:
            data = read()
        except read_errors() as error:
            reason = reason_of(error)
        if reason:
            raise FailedError(f"{reason} after {exact_size(count)} of this answer", again=True)
        if not data:
            return
        count += len(data)
        window += len(data)
        now = time.monotonic()
        if window >= policy.trickle:
            since, window = now, 0
        elif now - since > policy.stall:
            raise FailedError(f"the server sends {window} bytes in {now - since:.0f} s", again=True)
        yield data


def _failure(
    digest: Digest,
    failed: list[_Source],
    wrong: tuple[str, Hashed] | None,
    sink: Sink,
    size: int | None,
    pinned_from: str | None,
) -> MshubError:
    also = "; ".join(f"{source.shown}: {source.given_up}" for source in failed)
    if wrong is not None:
        shown, got = wrong
        return mismatch(
            "the downloaded bytes are not those the card promises",
            digest,
            got,
            where=shown,
            size=size,
            pinned_from=pinned_from,
            also=f" (and {also})" if also else "",
            hint=f"fetch again later; compare with: {_printing(shown)} | sha256sum",
        )
    kept = (
        f"; {exact_size(sink.size)} are kept, and fetching again goes on after them" if sink.keeps and sink.size else ""
    )
    return TransferError(
        "the download failed",
        where=" or ".join(source.shown for source in failed),
        expected=f"a file with {digest}" if digest.text else None,
        got=(failed[0].given_up or "" if len(failed) == 1 else also) + kept,
        hint=failed[-1].advice,
    )


def _printing(shown: str) -> str:
    """The command that writes what an address names to its output."""
    if not _urls.is_store(shown):
        return f"curl -sSL {shlex.quote(shown)}"
    if shown.startswith("s3://"):
        return f"aws s3 cp {shlex.quote(shown)} -"
    code = f"import fsspec, shutil, sys; shutil.copyfileobj(fsspec.open({shown!r}).open(), sys.stdout.buffer)"
    return f"python -c {shlex.quote(code)}"


def _place(response: Answer, sink: Sink, source: _Source, *, asked: bool) -> int | None:
    """Make `sink` end where the body begins.

    Returns:
        Number of bytes the body should have, or None if the server does not tell.

    Raises:
        FailedError: The body does not belong at any place we asked for.
    """
    headers, status = response.headers, response.status_code
    length = None if "Transfer-Encoding" in headers else number(headers.get("Content-Length"))
    span = content_range(response)
    if status == 200:
        if sink.size:
            sink.reset()
        source.total = length
        source.validator = _validator(headers.get("ETag"), headers.get("Last-Modified"))
        accepts = headers.get("Accept-Ranges", "").strip().lower()
        if accepts == "none":
            source.ranges = False
        if accepts != "bytes":
            source.many = False
        sink.note(source.url, source.validator, length)
        return length
    if not asked:
        raise FailedError(
            f"the server answered {status_text(status)} to a request for the whole file", again=status == 206
        )
    start, last, total = span or (None, None, None)
    if status == 416 and total == sink.size:
        return 0
    if status == 206 and start is not None and last is not None:
        same = total is None or source.total is None or total == source.total
        if start == sink.size and last >= start and same:
            return last + 1 - start if total is None else total - start
    # This server's ranges cannot be relied on, or the file has changed: begin again, without them.
    source.ranges = False
    sink.reset()
    raise FailedError("the server answered a request for the rest with another range", again=True)


def _validator(etag: str | None, modified: str | None) -> str | None:
    if etag and etag.startswith('"'):
        return etag
    # A weak ETag may not be used; the digest would catch a change in any case.
    return modified if etag is None else None
