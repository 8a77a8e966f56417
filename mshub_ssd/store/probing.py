"""Questions about a url, with nothing kept: is it there, how large is it, what is its digest."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

from mshub_ssd import settings as _settings
from mshub_ssd.errors import OfflineError
from mshub_ssd.settings import Settings
from mshub_ssd.store import urls as _urls
from mshub_ssd.store.digests import Digest
from mshub_ssd.store.parts import Sink

if TYPE_CHECKING:
    from mshub_ssd.store.fetchers import Fetchers
    from mshub_ssd.store.transfer import Job

__all__ = ["Copying", "Probe", "digest_of", "online", "probe"]


@dataclass(frozen=True)
class Probe:
    """What a server says about a url.

    Attributes:
        status: Status of the last answer, e.g. 200 or 404; 200 where a part of the file was asked for and sent.
        size: Bytes of the whole file, None when the server does not tell.
        content_type: In lower case, without parameters; None when the server does not tell.
        final_url: Where redirects led, without secrets.
        head: The first bytes, when they were asked for.
        retry_after: Seconds after which the server wants to be asked again, None when it does not say.
    """

    status: int
    size: int | None
    content_type: str | None
    final_url: str
    head: bytes = b""
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the file is there."""
        return self.status == 200

    @property
    def status_text(self) -> str:
        """The status with its name: ``404 Not Found``."""
        from mshub_ssd.store.client import status_text

        return status_text(self.status)


def probe(
    url: str,
    *,
    allow_private: bool = False,
    max_bytes: int = 0,
    attempts: int = 2,
    settings: Settings | None = None,
) -> Probe:
    """Ask about a url: with HEAD, or, where that is refused or bytes are wanted, with a GET of a few bytes.

    Args:
        url: An http or https url, or the address of an object store.
        allow_private: Whether its host may be loopback or private. A redirect from a public to a private address
            is refused in any case, https is never left for http, and certificates are verified.
        max_bytes: How many of the first bytes are wanted.
        attempts: How often a server that fails for the moment is asked.
        settings: Instead of the current ones.

    Returns:
        The last answer, whatever its status.

    Raises:
        TransferError: Not such a url, no answer, or a refused address or redirect; `got` tells which.
        OfflineError: `settings.offline` forbids the network.
    """
    from mshub_ssd.store.fetchers import FailedError
    from mshub_ssd.store.transfer import Job, persist

    chosen = online(url, settings)
    job = Job(settings=chosen, allow_private=allow_private)
    job.policy = replace(job.policy, attempts=attempts)
    left = [attempts]

    def work(client: Fetchers) -> Probe:
        left[0] -= 1
        found = None if max_bytes else _asked(client, job, url, "HEAD", 0)
        if found is None or found.status >= 400:
            found = _asked(client, job, url, "GET", max_bytes)
        if found.status >= 500 and left[0] > 0:
            raise FailedError("the server fails", again=True)
        return found

    return persist(url, job, work)


def digest_of(
    url: str,
    *,
    allow_private: bool = False,
    max_bytes: int | None = None,
    quiet: bool = False,
    settings: Settings | None = None,
    into: BinaryIO | None = None,
) -> tuple[str, int]:
    """Download and hash a file, keeping nothing unless asked to.

    Args:
        url: An http or https url, or the address of an object store.
        allow_private: Whether its host may be loopback or private; see `probe`.
        max_bytes: Most bytes; a larger file is refused. None for the policy's cap of 8 GiB.
        quiet: Show no progress.
        settings: Instead of the current ones.
        into: An empty file of the caller's that gets the bytes, too. Nothing vouches for them but the digest returned.

    Returns:
        Its sha256, 64 hex digits, and its number of bytes.

    Raises:
        TransferError: It could not be downloaded, or is larger than `max_bytes`.
        OfflineError: `settings.offline` forbids the network.
    """
    from mshub_ssd.store.transfer import Job, download
    from mshub_ssd.terminal import Progress

    chosen = replace(online(url, settings), connections=1)
    job = Job(chosen, max_bytes=max_bytes, allow_private=allow_private, display=Progress(shown=not quiet))
    with contextlib.closing(Sink() if into is None else Copying(into)) as sink:
        # Any digest begins with nothing.
        return download((url,), sink, Digest(""), job), sink.size


class Copying(Sink):
    """A sink that writes the bytes to a file besides."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        super().__init__()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes."""
        super().write(data)
        self._stream.write(data)

    def reset(self) -> None:
        """Begin again with no bytes."""
        super().reset()
        self._stream.seek(0)
        self._stream.truncate()


def online(url: str, settings: Settings | None) -> Settings:
    """The settings in force, for a url that may be asked.

    Raises:
        TransferError: It is no such url.
        OfflineError: `settings.offline` forbids the network.
    """
    chosen = _settings.current() if settings is None else settings
    _urls.check(url, own=True)
    if chosen.offline:
        raise OfflineError(
            "the network is needed, and forbidden",
            where=_urls.redact(url),
            hint="leave --offline out or unset MSHUB_OFFLINE, and try again",
        )
    return chosen


def _asked(client: Fetchers, job: Job, url: str, method: str, count: int) -> Probe:
    from mshub_ssd.store.client import number, retry_after
    from mshub_ssd.store.transfer import content_range, read_head

    headers = {"Range": f"bytes=0-{max(count, 1) - 1}"} if method == "GET" else {}
    with client.answer(url, headers, method) as (response, chain):
        status = response.status_code
        size = number(response.headers.get("Content-Length"))
        span = content_range(response)
        if method == "GET" and status in (206, 416) and span is not None:
            # An empty file has no first byte.
            status, size = (200, span[2]) if status == 206 or span[2] == 0 else (status, span[2])
        elif status == 206:
            size = None
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        head = read_head(response, count, job) if count and status == 200 else b""
        later = retry_after(response.headers.get("Retry-After"))
        return Probe(status, size if status == 200 else None, kind or None, _urls.redact(chain[-1]), head, later)
