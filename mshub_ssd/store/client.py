"""One question over http or https and its answer: redirects, secrets, certificates, addresses.

Reasons in messages are our own words, since those of the libraries below quote urls.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import os
import re
import socket
import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.utils import select_proxy
from urllib3 import exceptions as low

from mshub_ssd import settings as _settings
from mshub_ssd.errors import TransferError
from mshub_ssd.redaction import ENCODE, ambiguous
from mshub_ssd.schemes import is_web
from mshub_ssd.settings import Settings
from mshub_ssd.store import addresses
from mshub_ssd.store import urls as _urls
from mshub_ssd.store.fetchers import FailedError
from mshub_ssd.store.policy import Policy
from mshub_ssd.store.transport import GuardedAdapter

__all__ = ["Client", "number", "read_errors", "reason_of", "retry_after", "status_text"]

_PROXIES = {"http", "https", "socks4", "socks4a", "socks5", "socks5h"}
_LENGTH = re.compile(r"\s*(\d{1,18})\s*", re.ASCII)
_REDIRECTS = {301, 302, 303, 307, 308}
_TRANSIENT = {408, 425, 429}
_LATE = "the server takes too long to answer"
_UNKNOWN_HOST = (
    "check the address, and whether this machine has a network; behind a proxy set HTTPS_PROXY, with a mirror "
    "MSHUB_ENDPOINT; or carry the file here: mshub cache add FILE"
)


class Client:
    """One `requests` session, used without its own redirects, cookies and netrc; for one thread.

    Args:
        settings: For endpoint and token.
        policy: For how long to wait.
        allow_private: Whether a url's own host may be loopback or private. What a public one redirects to may not.
    """

    def __init__(self, settings: Settings, policy: Policy, *, allow_private: bool = True) -> None:
        self._policy = policy
        self._allow_private = allow_private
        self._guard = addresses.Guard(policy.answer)
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, GuardedAdapter(self._guard))
        self._token = settings.token
        self._home: _urls.Origin | None = None
        self._endpoint_login: str | None = None
        if is_web(settings.endpoint):
            endpoint = str(settings.endpoint)
            with contextlib.suppress(TransferError):  # `plan` has refused a wrong one already
                _urls.check(endpoint)
                self._home = _urls.origin(endpoint)
                self._endpoint_login = _urls.strip_userinfo(endpoint)[1]

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._guard.hang_up()
        self._session.close()

    def drop(self) -> None:
        """Break off what is under way; the rest of it is not wanted."""
        self._guard.hang_up()

    def abort(self) -> None:
        """From another thread: let what is under way fail at once, and all that follows."""
        self._guard.abort()

    @contextlib.contextmanager
    def answer(
        self, source: str, headers: dict[str, str] | None = None, method: str = "GET"
    ) -> Iterator[tuple[requests.Response, tuple[str, ...]]]:
        """Ask, and follow redirects by hand.

        Yields:
            The last answer, whatever its status, its body unread; and the urls asked. Afterwards the connection
            is kept if the body was read to its end.

        Raises:
            FailedError: No answer came, or a redirect or an address is refused.
        """
        response, chain = self._follow(source, headers or {}, method)
        try:
            yield response, chain
        except BaseException:
            self._guard.hang_up()
            raise
        finally:
            if not response.raw.closed:
                self._guard.hang_up()
            response.close()

    def _follow(self, source: str, headers: dict[str, str], method: str) -> tuple[requests.Response, tuple[str, ...]]:
        url, login = _urls.strip_userinfo(source)
        first = _urls.origin(url)
        chain: tuple[str, ...] = (url,)
        trusted = True
        self._guard.public_only = not self._allow_private
        while True:
            # Once a redirect has left the place a secret belongs to, the secret stays behind for good.
            trusted = trusted and _urls.origin(url) == first
            response, public = self._ask(
                method, url, {**headers, **self._authorization(first, login)} if trusted else headers
            )
            location = response.headers.get("Location")
            if response.status_code not in _REDIRECTS or not location:
                return response, chain
            self._guard.hang_up()
            response.close()
            refusal = ""
            try:
                url = _urls.hop(chain, _as_utf8(location), self._policy.redirects)
            except TransferError as error:
                refusal = error.message
            if refusal:
                raise FailedError(refusal)
            self._guard.public_only = public or not self._allow_private
            chain = (*chain, url)

    @contextlib.contextmanager
    def body(
        self, source: str, headers: dict[str, str], wanted: tuple[int, ...] = (200, 206, 416)
    ) -> Iterator[requests.Response]:
        """Ask for a file; the answer has one of the statuses that are wanted, and no encoding.

        Raises:
            FailedError: Anything else came back.
        """
        with self.answer(source, headers) as (response, chain):
            status = response.status_code
            if status not in wanted:
                via = "" if len(chain) == 1 else f" at {' -> '.join(map(_urls.redact, chain))}"
                raise FailedError(
                    f"the server answered {status_text(status)}{via}",
                    again=status in _TRANSIENT or 500 <= status <= 599,
                    after=retry_after(response.headers.get("Retry-After")),
                )
            encoding = response.headers.get("Content-Encoding", "").strip().lower()
            if encoding not in ("", "identity"):
                raise FailedError(f"the server sends another encoding than asked for ({encoding[:40]!r})")
            yield response

    def _authorization(self, place: _urls.Origin, login: str | None) -> dict[str, str]:
        if place == self._home:
            if self._token:
                return {"Authorization": f"Bearer {self._token}"}
            login = login or self._endpoint_login
        if login is None:
            return {}
        pair = login if ":" in login else f"{login}:"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"}

    def _ask(self, method: str, url: str, headers: dict[str, str]) -> tuple[requests.Response, bool]:
        """One exchange; also tells whether the other side is on the open internet."""
        session, policy = self._session, self._policy
        self._guard.late = False
        begun = time.monotonic()
        try:
            request = session.prepare_request(
                requests.Request(
                    method,
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
            target = request.url or url
            ways = session.merge_environment_settings(target, {}, True, None, None)
            behind = self._behind_proxy(target, ways["proxies"])
            # Past the session: its send() would read a redirect's whole body, however long.
            response = session.get_adapter(target).send(
                request,
                stream=True,
                timeout=(policy.connect, policy.read),
                verify=_authorities(ways["verify"]),
                cert=ways["cert"],
                proxies=ways["proxies"],
            )
        except TransferError:  # about the proxy; it is an OSError, too
            raise
        except addresses.RefusedAddressError as error:
            failure = FailedError(f"refused, {error}, and {_urls.redact(url)} may only lead to the open internet")
        except read_errors() as error:  # requests' own are OSErrors
            failure = self._failure(error, url, time.monotonic() - begun)
        else:
            if self._guard.late:
                # Headers that end with the connection pass for whole ones below.
                response.close()
                raise FailedError(_LATE, again=True)
            peers = (self._guard.peer,) if behind is None else behind
            return response, not peers or any(peer and addresses.is_public(peer) for peer in peers)
        raise failure

    def _failure(self, error: Exception, url: str, seconds: float) -> FailedError:
        if self._guard.late:
            return FailedError(_LATE, again=True)
        unknown = next((item for item in _causes(error) if isinstance(item, socket.gaierror)), None)
        if unknown is None:
            return FailedError(reason_of(error), again=_is_transient(error))
        proxied = any(isinstance(item, low.ProxyError | requests.exceptions.ProxyError) for item in _causes(error))
        whose = "the proxy's host" if proxied else f"the host {_urls.origin(url)[1]}"
        return FailedError(
            f"the name of {whose} cannot be resolved",
            # The system has tried again itself when it took long; without a network it does not.
            again=unknown.errno == socket.EAI_AGAIN and seconds < 1,
            attempts=self._policy.lookups,
            hint=_UNKNOWN_HOST,
        )

    def _behind_proxy(self, url: str, proxies: Any) -> tuple[str, ...] | None:
        """Addresses of a host that is asked through a proxy, as far as they are known here; None without one.

        Raises:
            RefusedAddressError: One is private, and may not be.
            TransferError: The proxy's own address makes no sense.
        """
        proxy = select_proxy(url, proxies)
        if not proxy:
            return None
        _check_proxy(proxy, urlsplit(url).scheme)
        _, host, port = _urls.origin(url)
        return (addresses.refuse_private if self._guard.public_only else addresses.resolve)(host, port)


def _check_proxy(proxy: str, scheme: str) -> None:
    """Refuse a proxy's address that the libraries below would stumble over.

    Raises:
        TransferError: It makes no sense; names the variable it comes from.
    """
    fault = _fault_of_proxy(proxy)
    if fault is None:
        return
    names = [name for word in (f"{scheme}_proxy", "all_proxy") for name in (word, word.upper())]
    variable = next((name for name in names if os.environ.get(name) == proxy), "the proxy settings")
    raise TransferError(
        "the proxy cannot be used",
        where=variable,
        expected="http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT",
        got=f"{variable}={_urls.redact(proxy)}, which {fault}",
        hint=f"correct {variable}, or unset it" + (f"; {ENCODE}" if "@" in proxy else ""),
    )


def _fault_of_proxy(proxy: str) -> str | None:
    url = proxy if "://" in proxy else f"http://{proxy}"
    if re.search(r"[\x00-\x20\x7f\\]", url):
        return "holds a space, a backslash or a control character"
    if ambiguous(url):
        return "has a user or password that is not percent-encoded"
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        return "is no url"
    if parts.scheme not in _PROXIES:
        return f"has the scheme {parts.scheme}"
    if not host or port == 0:
        return "names no host" if not host else "has the port 0"
    if parts.scheme.startswith("socks") and importlib.util.find_spec("socks") is None:
        return "is a SOCKS proxy, for which a package is missing: pip install 'requests[socks]'"
    return None


def _authorities(chosen: Any) -> Any:
    """Whose certificates are trusted: requests knows its own variables, but not OpenSSL's."""
    if chosen is not True and chosen:
        return chosen
    return os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR") or True


def number(text: str | None) -> int | None:
    """A header's number of up to 18 digits, or None."""
    found = _LENGTH.fullmatch(text or "")
    return int(found[1]) if found else None


def retry_after(text: str | None) -> float | None:
    """Seconds from either form of the header; None if it says neither."""
    if not text:
        return None
    seconds = number(text)
    if seconds is not None:
        return float(seconds)
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


def status_text(status: int) -> str:
    """A status with its name: ``404 Not Found``."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _no_netrc(request: Any) -> Any:
    """An auth that adds nothing; without one requests would look into ~/.netrc."""
    return request


def read_errors() -> tuple[type[Exception], ...]:
    """All that the libraries below raise when the network or an answer is at fault."""
    # ValueError: http.client and the codecs of host names raise it for odd answers and names.
    return (OSError, HTTPException, low.HTTPError, ValueError)


def _is_transient(error: Exception) -> bool:
    if isinstance(error, (ValueError, low.LocationValueError)) or _certificate_fault(error):
        return False
    return isinstance(error, (requests.ConnectionError, requests.Timeout, low.HTTPError))


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
    for item in _causes(error):
        if isinstance(item, ssl.SSLCertVerificationError):
            return str(getattr(item, "verify_message", "") or "it does not verify")
    return None


def reason_of(error: Exception) -> str:
    """Our own words for a failure below; never the library's text, which quotes urls and their secrets."""
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
