"""Bytes over http and https into a part file: redirects, retries, resuming, mirrors.

Nothing here is believed because a server said so: lengths and ranges are hints that save time, the
digest decides. Reasons in messages are our own words, since those of the libraries below quote urls.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import random
import re
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mshub_ssd import settings as _settings
from mshub_ssd.errors import TransferError
from mshub_ssd.settings import Settings
from mshub_ssd.store import urls as _urls
from mshub_ssd.store.blobs import Part
from mshub_ssd.store.digests import HEAD, Digest, Hashed, human, mismatch

if TYPE_CHECKING:
    import requests

__all__ = ["Policy", "download", "impatient"]

logger = logging.getLogger("mshub_ssd.store")

_RANGE = re.compile(r"\s*bytes\s+(?:(\d{1,18})-(\d{1,18})|\*)\s*/\s*(\d{1,18}|\*)\s*", re.ASCII | re.IGNORECASE)
_LENGTH = re.compile(r"\s*(\d{1,18})\s*", re.ASCII)
_REDIRECTS = {301, 302, 303, 307, 308}
_TRANSIENT = {408, 425, 429}


@dataclass(frozen=True)
class Policy:
    """How patient downloads are; times in seconds.

    Attributes:
        connect: Longest wait for a connection.
        read: Longest wait for the next byte.
        attempts: Most attempts in a row without progress.
        progress: Bytes beyond the furthest so far that count as progress; a server that hands out a
            few bytes per connection would otherwise keep us for ever.
        backoff: Upper bound of the first random wait; it doubles each time.
        longest_wait: Upper bound of any random wait.
        longest_retry_after: A server that asks for more is given up.
        redirects: Most redirects followed.
        most: Most bytes of a file whose size nobody promised.
        chunk: Most bytes per read.
    """

    connect: float = 10.0
    read: float = 30.0
    attempts: int = 5
    progress: int = 1 << 18
    backoff: float = 0.5
    longest_wait: float = 30.0
    longest_retry_after: float = 120.0
    redirects: int = 5
    most: int = 8 << 30
    chunk: int = 1 << 20


_policy = Policy()


@contextlib.contextmanager
def impatient(**changes: Any) -> Iterator[None]:
    """Private door for tests: other `Policy` values in this process for a while."""
    global _policy
    before = _policy
    _policy = replace(before, **changes)
    try:
        yield
    finally:
        _policy = before


class _FailedError(Exception):
    """One attempt, or one source, that came to nothing; never leaves this module."""

    def __init__(self, reason: str, *, again: bool = False, after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again
        self.after = after


class _TooLongError(Exception):
    """More bytes than the card promises: at least `least`."""

    def __init__(self, least: int) -> None:
        super().__init__(least)
        self.least = least


@dataclass
class _Progress:
    """What is known about one source between attempts."""

    ranges: bool = True
    validator: str | None = None
    total: int | None = None


def download(
    sources: tuple[str, ...],
    part: Part,
    digest: Digest,
    *,
    size: int | None,
    pinned_from: str | None,
    settings: Settings,
) -> str:
    """Fill `part` with bytes that fit `digest`.

    Args:
        sources: Urls in the order to try them. After a mismatch a source gets one clean second chance.
        part: Empty part file; on return it holds the verified bytes.
        digest: What they must fit.
        size: Their promised number, if known.
        pinned_from: The card's shorter digest when `digest` was recorded on first use (for the message).
        settings: For endpoint and token.

    Returns:
        The full digest of the bytes.

    Raises:
        IntegrityError: A server sent bytes that do not fit, and no other source had those that do.
        TransferError: No source answered with a whole body.
        DiskSpaceError: No room.
    """
    if size is not None:
        part.require(size)
    wrong: tuple[str, Hashed] | None = None
    failed: list[tuple[str, str]] = []
    with _Client(settings, _policy) as client:
        for source in sources:
            for _ in range(2):
                part.reset()
                shown = _urls.redact(source)
                try:
                    reason = client.receive(source, part, size)
                except _TooLongError as error:
                    got = Hashed("", error.least, part.hashed().head)
                else:
                    if reason is not None:
                        failed.append((shown, reason))
                        break
                    got = part.hashed()
                    if digest.fits(got.hexdigest):
                        return got.hexdigest
                logger.info("%s sent other bytes than the card promises", shown)
                wrong = (shown, got)
    also = "; ".join(f"{shown}: {reason}" for shown, reason in failed)
    if wrong is not None:
        shown, got = wrong
        raise mismatch(
            "the downloaded bytes are not those the card promises",
            digest,
            got,
            where=shown,
            size=size,
            pinned_from=pinned_from,
            also=f" (and {also})" if also else "",
            hint=f"fetch again later; compare with: curl -sSL {shlex.quote(shown)} | sha256sum",
        )
    raise TransferError(
        "the download failed",
        where=" or ".join(shown for shown, _ in failed),
        expected=f"a file with {digest}",
        got=failed[0][1] if len(failed) == 1 else also,
        hint=f"check the address and the network: curl -sSLI {shlex.quote(failed[-1][0])}",
    )


class _Client:
    """One `requests` session, used without its own redirects, cookies and netrc."""

    def __init__(self, settings: Settings, policy: Policy) -> None:
        import requests

        self._policy = policy
        self._session = requests.Session()
        self._token = settings.token
        self._home: _urls.Origin | None = None
        self._endpoint_login: str | None = None
        if settings.endpoint:
            with contextlib.suppress(TransferError):  # `plan` has refused a wrong one already
                _urls.check(settings.endpoint)
                self._home = _urls.origin(settings.endpoint)
                self._endpoint_login = _urls.strip_userinfo(settings.endpoint)[1]

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def receive(self, source: str, part: Part, size: int | None) -> str | None:
        """Fill `part` from one source, in as many attempts as bring it forward.

        Returns:
            None when the body is complete, else why it is not.

        Raises:
            _TooLongError: It is longer than `size`.
        """
        policy = self._policy
        known = _Progress()
        idle, furthest = 0, 0
        while True:
            try:
                self._attempt(source, part, size, known)
                return None
            except _FailedError as failure:
                failed = failure
            if not failed.again:
                return failed.reason
            idle += 1
            if part.size >= furthest + policy.progress:
                idle, furthest = 0, part.size
            if idle >= policy.attempts:
                return f"{failed.reason} (given up after {idle} attempts without progress)"
            wait = random.uniform(0, min(policy.longest_wait, policy.backoff * 2**idle))  # noqa: S311
            if failed.after is not None:
                if failed.after > policy.longest_retry_after:
                    return f"{failed.reason}; the server asks to come back in {failed.after:.0f} seconds"
                wait += failed.after
            logger.info("%s: %s; trying again in %.1f s", _urls.redact(source), failed.reason, wait)
            time.sleep(wait)

    def _attempt(self, source: str, part: Part, size: int | None, known: _Progress) -> None:
        headers = {}
        if part.size and known.ranges:
            headers["Range"] = f"bytes={part.size}-"
            if known.validator:
                headers["If-Range"] = known.validator
        elif part.size:
            part.reset()
        response = self._open(source, headers)
        with contextlib.closing(response):
            rest = _place(response, part, known, asked="Range" in headers)
            if rest == 0 and response.status_code == 416:
                return  # everything is here already; the digest decides
            end = None if rest is None else part.size + rest
            limit = self._policy.most if size is None else size
            if end is None or rest is None:
                pass
            elif end <= limit:
                part.require(rest)
            elif size is None:
                raise _FailedError(f"the body has {human(end)}, more than the {human(limit)} allowed")
            else:
                limit = min(limit, HEAD)  # a glance at it, for the message
            self._stream(response, part, end=end, limit=limit, size=size, title=_urls.file_name(source))

    def _stream(
        self, response: requests.Response, part: Part, *, end: int | None, limit: int, size: int | None, title: str
    ) -> None:
        raw: Any = response.raw
        # read1 hands over what has arrived: nothing is lost when the connection breaks.
        read, most = (raw.read1, self._policy.chunk) if hasattr(raw, "read1") else (raw.read, 1 << 16)
        with _bar(title, part.size, end if end is not None else size) as advance:
            while True:
                reason = ""
                try:
                    data = read(most, decode_content=False)
                except _read_errors() as error:
                    reason = _reason(error)
                if reason:
                    raise _FailedError(f"{reason} after {human(part.size)}", again=True)
                if not data:
                    break
                room = limit + 1 - part.size
                part.write(data[:room] if len(data) > room else data)
                advance(len(data))
                if part.size > limit:
                    if size is not None:
                        raise _TooLongError(max(part.size, end or 0))
                    raise _FailedError(f"the body has more than the {human(limit)} allowed")
        promised = end if end is not None else size
        if promised is not None and part.size < promised:
            raise _FailedError(f"the body ended after {part.size} of {promised} bytes", again=True)

    def _open(self, source: str, headers: dict[str, str]) -> requests.Response:
        """Ask, and follow redirects by hand; the response has status 200, 206 or 416.

        Raises:
            _FailedError: Anything else came back, or a redirect is refused.
        """
        url, login = _urls.strip_userinfo(source)
        first = _urls.origin(url)
        chain: tuple[str, ...] = (url,)
        trusted = True
        while True:
            # Once a redirect has left the place a secret belongs to, the secret stays behind for good.
            trusted = trusted and _urls.origin(url) == first
            response = self._ask(url, {**headers, **self._authorization(first, login)} if trusted else headers)
            status = response.status_code
            if status in (200, 206, 416):
                encoding = response.headers.get("Content-Encoding", "").strip().lower()
                if encoding not in ("", "identity"):
                    response.close()
                    raise _FailedError(f"the server sends another encoding than asked for ({encoding[:40]!r})")
                return response
            after = _retry_after(response.headers.get("Retry-After"))
            location = response.headers.get("Location")
            response.close()
            if status in _REDIRECTS and location:
                refusal = ""
                try:
                    url = _urls.hop(chain, _as_utf8(location), self._policy.redirects)
                except TransferError as error:
                    refusal = error.message
                if refusal:
                    raise _FailedError(refusal)
                chain = (*chain, url)
                continue
            again = status in _TRANSIENT or 500 <= status <= 599
            via = "" if len(chain) == 1 else f" at {' -> '.join(map(_urls.redact, chain))}"
            raise _FailedError(f"the server answered {_phrase(status)}{via}", again=again, after=after)

    def _authorization(self, place: _urls.Origin, login: str | None) -> dict[str, str]:
        if place == self._home:
            if self._token:
                return {"Authorization": f"Bearer {self._token}"}
            login = login or self._endpoint_login
        if login is None:
            return {}
        pair = login if ":" in login else f"{login}:"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"}

    def _ask(self, url: str, headers: dict[str, str]) -> requests.Response:
        import requests

        session, policy = self._session, self._policy
        try:
            request = session.prepare_request(
                requests.Request(
                    "GET",
                    url,
                    headers={
                        "User-Agent": f"mshub_ssd/{_settings.package_version()}",
                        "Accept": "*/*",
                        "Accept-Encoding": "identity",
                        **headers,
                    },
                    auth=_no_netrc,
                )
            )
            ways = session.merge_environment_settings(request.url or url, {}, True, None, None)
            # Past the session: its send() would read a redirect's whole body, however long.
            adapter = session.get_adapter(request.url or url)
            return adapter.send(
                request,
                stream=True,
                timeout=(policy.connect, policy.read),
                verify=ways["verify"] or True,
                cert=ways["cert"],
                proxies=ways["proxies"],
            )
        except _read_errors() as error:  # requests' own are OSErrors
            reason, again = _reason(error), _is_transient(error)
        raise _FailedError(reason, again=again)


def _place(response: requests.Response, part: Part, known: _Progress, *, asked: bool) -> int | None:
    """Make `part` end where the body begins.

    Returns:
        Number of bytes the body should have, or None if the server does not tell.

    Raises:
        _FailedError: The body does not belong at any place we asked for.
    """
    headers, status = response.headers, response.status_code
    length = None if "Transfer-Encoding" in headers else _number(headers.get("Content-Length"))
    span = _RANGE.fullmatch(headers.get("Content-Range", ""))
    if status == 200:
        if part.size:
            part.reset()
        known.total = length
        known.validator = _validator(headers.get("ETag"), headers.get("Last-Modified"))
        if headers.get("Accept-Ranges", "").strip().lower() == "none":
            known.ranges = False
        return length
    if not asked:
        raise _FailedError(
            f"the server answered {_phrase(status)} to a request for the whole file", again=status == 206
        )
    total = None if span is None or span[3] == "*" else int(span[3])
    if status == 416 and total == part.size:
        return 0
    if status == 206 and span is not None and span[1] is not None:
        start, last = int(span[1]), int(span[2])
        same = total is None or known.total is None or total == known.total
        if start == part.size and last >= start and same:
            return last + 1 - start if total is None else total - start
    # This server's ranges cannot be relied on, or the file has changed: begin again, without them.
    known.ranges = False
    part.reset()
    raise _FailedError("the server answered a request for the rest with another range", again=True)


def _validator(etag: str | None, modified: str | None) -> str | None:
    if etag and etag.startswith('"'):
        return etag
    # A weak ETag may not be used; the digest would catch a change in any case.
    return modified if etag is None else None


def _number(text: str | None) -> int | None:
    found = _LENGTH.fullmatch(text or "")
    return int(found[1]) if found else None


def _retry_after(text: str | None) -> float | None:
    """Seconds from either form of the header; None if it says neither."""
    if not text:
        return None
    seconds = _number(text)
    if seconds is not None:
        return float(seconds)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _as_utf8(location: str) -> str:
    """Header values arrive as latin-1; servers mean UTF-8."""
    try:
        return location.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return location


def _phrase(status: int) -> str:
    from http import HTTPStatus

    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _no_netrc(request: Any) -> Any:
    """An auth that adds nothing; without one requests would look into ~/.netrc."""
    return request


def _read_errors() -> tuple[type[Exception], ...]:
    from http.client import HTTPException

    from urllib3.exceptions import HTTPError

    # ValueError: http.client and the codecs of host names raise it for odd answers and names.
    return (OSError, HTTPException, HTTPError, ValueError)


def _is_transient(error: Exception) -> bool:
    import requests
    from urllib3.exceptions import HTTPError, LocationValueError

    if isinstance(error, (ValueError, LocationValueError)) or _certificate_fault(error):
        return False
    return isinstance(error, (requests.ConnectionError, requests.Timeout, HTTPError))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it wraps, by whatever attribute."""
    todo, seen = [error], set()
    while todo:
        item = todo.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        inner = (item.__cause__, item.__context__, getattr(item, "reason", None), *item.args)
        todo.extend(thing for thing in inner if isinstance(thing, BaseException))


def _certificate_fault(error: Exception) -> str | None:
    import ssl

    for item in _causes(error):
        if isinstance(item, ssl.SSLCertVerificationError):
            return str(getattr(item, "verify_message", "") or "it does not verify")
    return None


def _reason(error: Exception) -> str:
    """Our own words for a failure below; never the library's text, which quotes urls and their secrets."""
    import socket
    import ssl
    from http.client import IncompleteRead, RemoteDisconnected

    import requests
    from urllib3 import exceptions as low

    fault = _certificate_fault(error)
    if fault:
        return f"the server's certificate is refused: {fault} (private CAs: REQUESTS_CA_BUNDLE)"
    causes = list(_causes(error))
    plain: list[tuple[tuple[type[BaseException], ...], str]] = [
        ((requests.exceptions.InvalidProxyURL,), "the proxy's url is not usable"),
        ((requests.exceptions.ProxyError, low.ProxyError), "the proxy failed"),
        ((requests.exceptions.InvalidURL, requests.exceptions.MissingSchema), "not a usable url"),
        ((requests.exceptions.InvalidSchema, low.LocationValueError, UnicodeError), "not a usable url"),
        ((requests.exceptions.InvalidHeader, low.InvalidHeader), "an unusable header"),
        ((socket.gaierror,), "the host's name cannot be resolved"),
        ((ssl.SSLError,), "the TLS connection failed"),
    ]
    vague: list[tuple[tuple[type[BaseException], ...], str]] = [
        ((low.ReadTimeoutError, requests.ReadTimeout), "the server stopped sending"),
        ((low.ConnectTimeoutError, requests.ConnectTimeout, TimeoutError), "the connection timed out"),
        ((low.IncompleteRead, IncompleteRead), "the body was cut short"),
        ((RemoteDisconnected,), "the server closed the connection without an answer"),
    ]
    for types, words in plain:
        if any(isinstance(item, types) for item in causes):
            return words
    for item in causes:
        if isinstance(item, OSError) and item.errno and item.strerror:
            return f"the connection failed: {item.strerror}"
    for types, words in vague:
        if any(isinstance(item, types) for item in causes):
            return words
    for item in causes:
        if type(item) is OSError:  # requests' own, about a CA file that is not there; it quotes no url
            return str(item)
    return f"the connection broke ({type(causes[0]).__name__})"


@contextlib.contextmanager
def _bar(title: str, start: int, total: int | None) -> Iterator[Any]:
    """A progress bar on a terminal, nothing elsewhere; yields what takes the number of new bytes."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda count: None
        return
    from tqdm import tqdm

    with tqdm(
        desc=title, initial=start, total=total, unit="B", unit_scale=True, unit_divisor=1024, file=sys.stderr
    ) as bar:
        yield bar.update
