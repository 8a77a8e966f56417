"""Decisions about addresses, pure: what may be asked, in which order, with whose secret, shown how."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit

from mshub_ssd import schemes
from mshub_ssd.errors import TransferError, UsageError
from mshub_ssd.redaction import ENCODE, ambiguous, redact
from mshub_ssd.schemes import is_store

__all__ = ["Origin", "check", "hop", "is_store", "listed", "origin", "redact", "sources", "strip_userinfo"]

_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]
"""Scheme, host, port: the only place a secret belongs to."""


def check(url: object, *, own: bool = False) -> SplitResult:
    """Split a url that may be asked for.

    Args:
        url: The url.
        own: Whether the user himself names it, who may name any place that fsspec reaches; a card may not.

    Raises:
        TransferError: It is neither an http or https url with a host, nor the address of an object store.
    """
    if schemes.is_store(url):
        return _check_store(str(url), own)
    return _check_web(url)


def _check_store(url: str, own: bool) -> SplitResult:
    scheme = schemes.of(url)
    if scheme in schemes.LOCAL or not (own or scheme in schemes.STORES or scheme == "memory"):
        raise _unknown_scheme(url, scheme)
    fault, parts = schemes.fault_of_store(url), None
    if fault is None:
        try:
            parts = urlsplit(url)
        except ValueError:
            fault = "is none that can be used"
    if parts is None:
        raise TransferError(
            f"the address {fault}",
            where=redact(url),
            expected=f"{scheme}://BUCKET/KEY, and nothing secret in it",
            hint="who may read it is told to fsspec, by the environment or its files: docs/object_stores.md",
        )
    return parts


def _unknown_scheme(url: str, scheme: str) -> TransferError:
    return TransferError(
        f"the scheme {scheme} is not one this library downloads from",
        where=redact(url),
        expected=f"http or https, or that of an object store: {', '.join(schemes.STORES)}",
        got=scheme,
        hint="name a file of this machine by its path"
        if scheme in schemes.LOCAL
        else "give the card an https asset-link, or a path relative to the card",
    )


def _check_web(url: object) -> SplitResult:
    shown = redact(url)
    if not isinstance(url, str) or not url:
        raise TransferError("asset-link is not a url", got=shown or "nothing", expected="https://HOST/PATH")
    if ambiguous(url):
        raise TransferError(
            "the url's user and password cannot be told from the rest of it",
            where=shown,
            expected="https://USER:PASSWORD@HOST/PATH",
            hint=ENCODE,
        )
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise TransferError("not a usable url", where=shown, expected="https://HOST/PATH") from None
    if parts.scheme not in _PORTS:
        # What is before the first colon of `user:password@host` is no scheme, and nothing to show.
        scheme = "(none)" if "@" in parts.path and not parts.netloc else parts.scheme or "(none)"
        raise _unknown_scheme(url, scheme)
    if not host or port == 0:
        raise TransferError("the url names no host", where=shown, expected="https://HOST/PATH")
    return parts


def listed(urls: object) -> tuple[str, ...]:
    """The urls a caller gave: one, or several.

    Raises:
        UsageError: Something else than text, or a list of texts.
    """
    if isinstance(urls, str):
        return (urls,)
    if isinstance(urls, Iterable) and not isinstance(urls, bytes | bytearray):
        found = tuple(urls)
        if all(isinstance(url, str) for url in found):
            return found
    raise UsageError(
        "urls are texts", expected='a list such as ["https://HOST/PATH"]', got=redact(urls), hint="give a list of urls"
    )


def origin(url: str) -> Origin:
    """Scheme, host and port of an http or https url that `check` accepted."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").rstrip("."), parts.port or _PORTS[parts.scheme]


def strip_userinfo(url: str) -> tuple[str, str | None]:
    """Take ``user:password`` out of a url.

    Returns:
        The url without it, and the unquoted pair, or None.
    """
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    bare = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    return bare, (unquote(userinfo) if at and userinfo else None)


def sources(urls: Iterable[str], endpoint: str | None) -> tuple[str, ...]:
    """Addresses to try, in order: the user's mirror of each url, then the urls themselves.

    Args:
        urls: The asset's own urls.
        endpoint: Root of a mirror; ``https://HOST[:PORT]/PATH?QUERY`` lies there as
            ``<endpoint>/HOST[:PORT]/PATH?QUERY``, and ``s3://BUCKET/KEY`` as ``<endpoint>/s3/BUCKET/KEY``.

    Raises:
        TransferError: A url that may not be asked for.
        UsageError: The endpoint is neither an http or https url nor the address of an object store.
    """
    own = list(urls)
    mirrored = []
    for url in own:
        parts = check(url)
        # `..` would lead a card out of its own corner of the mirror, with the user's token.
        climbs = any(unquote(step) in (".", "..") for step in unquote(parts.path).split("/"))
        if endpoint and not climbs:
            root = _endpoint(endpoint)
            if url.startswith(f"{root}/"):
                continue
            if schemes.is_store(url):
                place = f"{schemes.of(url)}/{url.partition('://')[2]}"
                mirrored.append(f"{root}/{place if schemes.is_store(root) else quote(place)}")
            else:
                path = f"{root}/{parts.netloc.rpartition('@')[2]}/{parts.path.lstrip('/')}"
                mirrored.append(f"{path}?{parts.query}" if parts.query else path)
    return tuple(dict.fromkeys([*mirrored, *own]))


def hop(chain: tuple[str, ...], location: str, limit: int) -> str:
    """Where a redirect leads.

    Args:
        chain: Urls asked so far, the redirecting one last.
        location: The server's ``Location``.
        limit: Most redirects followed.

    Raises:
        TransferError: A loop, too many, another scheme, from https down to http.
    """
    try:
        target, _ = strip_userinfo(urljoin(chain[-1], location))
        shown = " -> ".join(redact(url) for url in (*chain, target))
        scheme = _check_web(target).scheme
    except TransferError as error:
        raise TransferError(f"redirect refused, {error.message}: {shown}") from None
    except ValueError:
        raise TransferError(f"redirect from {redact(chain[-1])} to something that is no url") from None
    if scheme == "http" and urlsplit(chain[-1]).scheme == "https":
        raise TransferError(f"redirect refused, it leaves https for http: {shown}")
    if target in chain:
        raise TransferError(f"redirect loop: {shown}")
    if len(chain) > limit:
        raise TransferError(f"more than {limit} redirects: {shown}")
    return target


def _endpoint(endpoint: str) -> str:
    try:
        parts = check(endpoint)
    except TransferError as error:
        raise _bad_endpoint(endpoint, error.message, error.hint) from None
    if parts.query or parts.fragment:
        raise _bad_endpoint(endpoint, "a mirror's address has no query and no fragment")
    return endpoint.rstrip("/")


def _bad_endpoint(endpoint: str, reason: str, hint: str | None = None) -> UsageError:
    return UsageError(
        f"MSHUB_ENDPOINT cannot be used: {reason}",
        where=redact(endpoint),
        expected="https://HOST/PATH",
        hint="correct or unset MSHUB_ENDPOINT" + (f": {hint}" if hint == ENCODE else ""),
    )
