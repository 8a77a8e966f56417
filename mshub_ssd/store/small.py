"""Small files, straight into memory: nothing is kept here, and all guards of downloads hold."""

from __future__ import annotations

import contextlib
import io
import threading
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from mshub_ssd.errors import TransferError
from mshub_ssd.settings import Settings
from mshub_ssd.store import urls as _urls
from mshub_ssd.store.digests import exact_size, parse
from mshub_ssd.store.probing import Copying, online

if TYPE_CHECKING:
    from mshub_ssd.store.fetchers import Answer, Clients, Fetchers

__all__ = ["Validator", "keeping_connections", "read_changed", "read_expected"]

_LONGEST = 1000  # letters of a validator
_SECONDS = 2.0  # in which a file may change twice and keep its date


@dataclass(frozen=True)
class Validator:
    """What tells a server which state of a file is here already.

    Attributes:
        url: Who said so; it means nothing to others.
        etag: Its ``ETag``.
        modified: Its ``Last-Modified``, where that tells two states apart.
    """

    url: str = ""
    etag: str | None = None
    modified: str | None = None


def read_changed(
    url: str,
    *,
    max_bytes: int,
    known: Validator | None = None,
    anew: bool = False,
    attempts: int | None = None,
    settings: Settings,
) -> tuple[bytes | None, Validator]:
    """The bytes of a url if they changed; nothing vouches for them.

    Args:
        url: A url, whose host may be private; the user's mirror is asked first.
        max_bytes: Most bytes; a larger file is refused.
        known: What an earlier call returned, if its bytes are still here.
        anew: Let no cache on the way answer.
        attempts: How often a server that fails for the moment is asked.
        settings: For endpoint, token and the like.

    Returns:
        The bytes, or None if they are those of `known`; and what to ask with next time.

    Raises:
        TransferError: They cannot be had.
        OfflineError: `settings.offline` forbids the network.
    """
    online(url, settings)
    failure: TransferError | None = None
    for source in _urls.sources((url,), settings.endpoint):
        try:
            return _ask(source, max_bytes, known, anew, attempts, settings)
        except TransferError as error:
            failure = error
    raise failure or TransferError("there is no url to ask", where=_urls.redact(url))


def read_expected(
    url: str,
    sha256: str,
    size: int,
    *,
    settings: Settings,
    stop: threading.Event | None = None,
    clients: Clients | None = None,
) -> bytes:
    """The bytes of a url, which fit a digest.

    Args:
        url: A url, whose host may be private; the user's mirror is asked first.
        sha256: 64 hex digits.
        size: Their number.
        settings: For endpoint, token and the like.
        stop: When set, by another thread, the download ends with a KeyboardInterrupt.
        clients: What `keeping_connections` gave.

    Raises:
        IntegrityError: A server sent other bytes, and no other had these.
        TransferError: They cannot be had.
        OfflineError: `settings.offline` forbids the network.
    """
    from mshub_ssd.store.transfer import Job, download
    from mshub_ssd.terminal import Progress

    chosen = replace(online(url, settings), connections=1)
    job = Job(chosen, size=size, stop=stop, display=Progress(shown=False), kept=clients)
    into = io.BytesIO()
    with contextlib.closing(Copying(into)) as sink:
        download(_urls.sources((url,), settings.endpoint), sink, parse(sha256), job)
    return into.getvalue()


def keeping_connections(settings: Settings) -> Clients:
    """For `read_expected`: many small files of one host over few connections, as long as its block lasts.

    Args:
        settings: Those of the files.
    """
    from mshub_ssd.store.fetchers import Clients
    from mshub_ssd.store.policy import current

    return Clients(settings, current())


def _ask(
    url: str, max_bytes: int, known: Validator | None, anew: bool, attempts: int | None, settings: Settings
) -> tuple[bytes | None, Validator]:
    from mshub_ssd.store.client import number
    from mshub_ssd.store.fetchers import FailedError
    from mshub_ssd.store.transfer import Job, persist, read_head
    from mshub_ssd.terminal import Progress

    headers = {"Cache-Control": "no-cache", "Pragma": "no-cache"} if anew else {}
    if known is not None and known.url == _urls.redact(url):
        asked = {"If-None-Match": known.etag, "If-Modified-Since": known.modified}
        headers |= {name: text for name, text in asked.items() if text}
    conditional = not {"If-None-Match", "If-Modified-Since"}.isdisjoint(headers)
    job = Job(settings, max_bytes=max_bytes, display=Progress(shown=False))
    if attempts is not None:
        job.policy = replace(job.policy, attempts=attempts)

    def work(client: Fetchers) -> tuple[bytes | None, Validator]:
        with client.body(url, headers, (200, 304) if conditional else (200,)) as response:
            if response.status_code == 304 and known is not None:
                return None, known
            length = None if "Transfer-Encoding" in response.headers else number(response.headers.get("Content-Length"))
            if length is not None and length > max_bytes:
                raise FailedError(f"the body has {exact_size(length)}, more than the {exact_size(max_bytes)} allowed")
            data = read_head(response, max_bytes + 1, job)
            if len(data) > max_bytes:
                raise FailedError(f"the body has more than the {exact_size(max_bytes)} allowed")
            if length is not None and len(data) < length:
                raise FailedError(f"the body ended after {len(data)} of {length} bytes", again=True)
            return data, _validator(url, response)

    return persist(url, job, work)


def _validator(url: str, response: Answer) -> Validator:
    headers = response.headers
    etag, modified = (
        text if text and len(text) <= _LONGEST and text.isprintable() else None
        for text in (headers.get("ETag"), headers.get("Last-Modified"))
    )
    try:
        told = parsedate_to_datetime(headers.get("Date", "")).timestamp()
        age = told - parsedate_to_datetime(modified or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        age = 0.0
    return Validator(_urls.redact(url), etag, modified if age >= _SECONDS else None)
