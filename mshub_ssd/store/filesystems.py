"""What has to be known of fsspec: which file system an address means, its questions with an end, its failures in words.

fsspec's file systems know their own credentials, from the environment and from files; none pass through here. Reasons
are our own words, since those of the libraries below quote addresses and more.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import importlib
import os
import queue
import re
import shlex
import socket
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from mshub_ssd import schemes
from mshub_ssd.errors import MissingDependencyError, TransferError, install_hint
from mshub_ssd.redaction import redact
from mshub_ssd.store import urls as _urls
from mshub_ssd.store.fetchers import FailedError
from mshub_ssd.store.policy import Policy

__all__ = ["RefusedError", "failure_of", "is_empty", "limited", "names_bucket", "opened"]

Result = TypeVar("Result")

_KEPT = 8  # file systems
# Who changes one of these means another file system from now on.
_VARIABLES = ("AWS_", "AZURE_", "FSSPEC_", "GCS", "GOOGLE_", "HADOOP_", "HF_", "HTTP", "OCI", "OSS_", "S3_", "TOS_")
_filesystems: OrderedDict[tuple[object, ...], Any] = OrderedDict()

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9]{2,40}")
_NOBODY = {
    *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound"),
    *("SSOTokenLoadError", "TokenRetrievalError", "UnauthorizedSSOTokenError", "NoAuthTokenError"),
    *("DefaultCredentialsError", "RefreshError", "ClientAuthenticationError"),
}
_BROKEN = {
    *("EndpointConnectionError", "ConnectTimeoutError", "ConnectionClosedError", "ReadTimeoutError", "HTTPClientError"),
    *("ResponseStreamingError", "IncompleteReadError", "FSTimeoutError", "ClientPayloadError", "ClientOSError"),
    *("ClientConnectionError", "ServerDisconnectedError", "ServerTimeoutError", "ProtocolError", "IncompleteRead"),
}
_LATER = {errno.EBUSY, getattr(errno, "EREMOTEIO", errno.EIO), errno.EIO, errno.EAGAIN}
_ELSEWHERE = getattr(errno, "EREMCHG", -1)


class RefusedError(FailedError):
    """The store says no.

    Attributes:
        status: As a web server would say it: 404, 403, 401 where there are no credentials.
    """

    status: int = 0

    def __init__(self, status: int, reason: str, hint: str) -> None:
        super().__init__(reason, hint=hint)
        self.status = status


def opened(url: str, policy: Policy) -> tuple[Any, str]:
    """The file system an address means, and what the address is called there.

    One is kept for all threads of a process, and none is carried over a fork.

    Raises:
        FailedError: It cannot be had.
        MissingDependencyError: What it takes is not installed.
        TransferError: There is none of that scheme.
    """
    scheme = schemes.of(url)
    kind = _kind(url, scheme)
    options = {**kind._get_kwargs_from_urls(url), **_patience(scheme, policy)}
    told = repr(sorted((name, text) for name, text in os.environ.items() if name.upper().startswith(_VARIABLES)))
    # Credentials are among them, of which nothing but this is kept.
    key = (os.getpid(), scheme, repr(options), hashlib.sha256(told.encode("utf-8", "surrogatepass")).digest())
    found = _filesystems.get(key)
    if found is None:
        # The libraries below are told each time, or one listing would answer all later questions.
        found = kind(**options, use_listings_cache=False, skip_instance_cache=True)
        if scheme in ("s3", "s3a"):
            found.retries = 1  # it is asked again from here
        found = _filesystems.setdefault(key, found)
        while len(_filesystems) > _KEPT:
            _filesystems.popitem(last=False)
    return found, str(kind._strip_protocol(url))


def _kind(url: str, scheme: str) -> Any:
    try:
        fsspec = importlib.import_module("fsspec")
    except ImportError as error:
        raise MissingDependencyError(
            f"{scheme}:// needs the package fsspec: {error}", where=redact(url), hint=install_hint("fsspec")
        ) from None
    package, failure = schemes.STORES.get(scheme, ""), ""
    try:
        kind = fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        failure = str(error)  # fsspec's own words, which name a package
    except ValueError:
        raise TransferError(
            f"fsspec knows no scheme {scheme}",
            where=redact(url),
            expected=schemes.KNOWN,
            hint="correct the address, or install the package that brings it",
        ) from None
    if failure:
        raise MissingDependencyError(
            f"{scheme}:// needs a package that is not installed: {failure}",
            where=redact(url),
            hint=install_hint("fsspec") if package == "s3fs" else f"pip install fsspec {package}".rstrip(),
        )
    local = importlib.import_module("fsspec.implementations.local").LocalFileSystem
    if isinstance(kind, type) and issubclass(kind, local):
        _urls.check(f"file://{url}", own=True)  # which refuses it
    return kind


def _patience(scheme: str, policy: Policy) -> dict[str, Any]:
    if scheme not in ("s3", "s3a"):
        return {}
    given = importlib.import_module("fsspec.config").conf.get(scheme, {}).get("config_kwargs", {})
    ours = {
        "connect_timeout": policy.connect,
        "read_timeout": policy.read,
        "retries": {"total_max_attempts": 1, "mode": "standard"},
    }
    return {"config_kwargs": {**ours, **given}}


def limited(work: Callable[[], Result], url: str, seconds: float, stop: threading.Event | None = None) -> Result:
    """Ask, but not for ever: a thread of its own is left behind by one that never answers.

    Args:
        work: The question.
        url: What it is about, for messages.
        seconds: Longest wait for the answer.
        stop: Ends the wait at once when it is set.

    Raises:
        FailedError: The store does not answer, or says no.
        MshubError: Whatever `work` raises of these.
    """
    box: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            box.put((True, work()))
        except BaseException as error:  # noqa: BLE001 - told to who waits
            box.put((False, error))

    threading.Thread(target=run, name="mshub-store", daemon=True).start()
    end = time.monotonic() + seconds
    while True:
        rest = end - time.monotonic()
        try:
            # Not for ever: a wait without an end cannot be interrupted everywhere.
            good, found = box.get(timeout=max(0.0, min(rest, 0.2)))
            break
        except queue.Empty:
            if stop is not None and stop.is_set():
                raise FailedError("the transfer was broken off", again=True) from None
            if rest <= 0:
                raise FailedError("the store takes too long to answer", again=True) from None
    if good:
        result: Result = found
        return result
    raise failure_of(found, url)


def failure_of(error: BaseException, url: str) -> BaseException:
    """What the store's failure is in our own words; errors of ours, and what is no failure, as they are."""
    from mshub_ssd.errors import MshubError

    if isinstance(error, FailedError | MshubError) or not isinstance(error, Exception):
        return error
    found = list(_causes(error))
    names = {kind.__name__ for one in found for kind in type(one).__mro__}
    said = _said(found)
    if names & _NOBODY:
        return RefusedError(401, "there are no credentials for this store", _sign_in(url))
    if isinstance(error, FileNotFoundError):
        if names_bucket(error):
            return RefusedError(404, "there is no such bucket", f"check its name, and whose it is; {_look(url)}")
        return RefusedError(404, "there is no such file", f"check the address: {_look(url)}")
    if isinstance(error, PermissionError):
        why = f" ({said})" if said else ""
        return RefusedError(403, f"access is denied{why}", _sign_in(url))
    if isinstance(error, IsADirectoryError):
        return RefusedError(404, "this is a folder, and no file", f"check the address: {_look(url)}")
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in found):
        hint = "where it is of an authority of your own: AWS_CA_BUNDLE, or what this store's package wants"
        return FailedError("the store's certificate is refused", hint=hint)
    if any(isinstance(one, socket.gaierror) for one in found) or "ClientConnectorDNSError" in names:
        return FailedError("the name of the store's host cannot be resolved", again=False, hint=_endpoint(url))
    number = getattr(error, "errno", None)
    if number == _ELSEWHERE:
        hint = "name the bucket's region: AWS_DEFAULT_REGION"
        return RefusedError(301, "the bucket lies in another region", hint)
    if names & _BROKEN or isinstance(error, ConnectionError | TimeoutError | asyncio.TimeoutError):
        reason = next((one.strerror for one in found if isinstance(one, OSError) and one.errno and one.strerror), None)
        usual = reason is not None and len(reason) < 60 and "://" not in reason and "[" not in reason
        return FailedError(f"the connection failed{f': {reason}' if usual else ''}", again=True, hint=_endpoint(url))
    status = _status(found)
    again = status in (429, 500, 502, 503, 504) or (number in _LATER and isinstance(error, OSError))
    told = said or (str(status) if status else type(error).__name__)
    if status == 400:
        told += "; a wrong region or a token that has expired may be why"
    return FailedError(f"the store fails ({told})", again=again, hint=f"see what it says: {_plainly(url)}")


def names_bucket(error: BaseException) -> bool:
    """Whether it is the bucket that is not there, and not a file in it."""
    found = list(_causes(error))
    return _said(found) == "NoSuchBucket" or any("bucket does not exist" in str(one).lower() for one in found)


def is_empty(error: BaseException) -> bool:
    """Whether a part was refused because the file has no bytes at all."""
    return _said(list(_causes(error))) == "InvalidRange"


def _causes(error: BaseException) -> Iterator[BaseException]:
    todo, seen = [error], set[int]()
    while todo:
        one = todo.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            inner = (one.__cause__, one.__context__, *one.args)
            todo.extend(item for item in inner if isinstance(item, BaseException))


def _said(found: list[BaseException]) -> str | None:
    """The word by which the store itself calls the failure, e.g. ``AccessDenied``."""
    for one in found:
        response = getattr(one, "response", None)
        code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
        if isinstance(code, str) and _CODE.fullmatch(code):
            return code
    return None


def _status(found: list[BaseException]) -> int | None:
    for one in found:
        response = getattr(one, "response", None)
        about = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
        if isinstance(status := about.get("HTTPStatusCode"), int):
            return status
    return None


def _sign_in(url: str) -> str:
    if schemes.of(url) in ("s3", "s3a"):
        return (
            "say who asks: AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (aws sts get-caller-identity "
            "tells who that is); for a public bucket: export FSSPEC_S3='{\"anon\": true}'"
        )
    return f"say who asks, as fsspec's {schemes.STORES.get(schemes.of(url), 'file system')} wants it; {_plainly(url)}"


def _endpoint(url: str) -> str:
    if schemes.of(url) in ("s3", "s3a"):
        return "check the network; where the store is none of Amazon's, set AWS_ENDPOINT_URL"
    return "check the address and the network"


def _look(url: str) -> str:
    shown = redact(url)
    if schemes.of(url) in ("s3", "s3a"):
        return f"aws s3 ls {shlex.quote(shown.rpartition('/')[0] + '/')}"
    return _plainly(url)


def _plainly(url: str) -> str:
    code = f"import fsspec; print(fsspec.open({redact(url)!r}).fs.info({redact(url)!r}))"
    return f"python -c {shlex.quote(code)}"
