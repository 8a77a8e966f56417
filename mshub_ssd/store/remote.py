"""Places in object stores: which files lie there, and files written there. All through fsspec, and nothing is kept."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from mshub_ssd.errors import TransferError
from mshub_ssd.settings import Settings
from mshub_ssd.store import urls as _urls
from mshub_ssd.store.digests import exact_size
from mshub_ssd.store.probing import online

__all__ = ["Listed", "check_place", "exists", "files_at", "listing", "read_file", "remove_file", "write_file"]

Result = TypeVar("Result")

_SECONDS = 900.0  # for a question whose answer may be long; what is read of a socket has shorter ones
_TICK = 2.0
_WILD = frozenset("*?[")
# Where a file appears when all of it has come, and folders need not be made.
_WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci", "tos", "hf", "memory"}


@dataclass(frozen=True)
class Listed:
    """A file that a store lists.

    Attributes:
        url: Its address.
        size: Number of bytes, None where the store does not say.
        stamp: Another one whenever the file may be another; empty where nothing tells.
    """

    url: str
    size: int | None
    stamp: str


def check_place(url: str) -> None:
    """Refuse what is no address of an object store, without asking anybody.

    Raises:
        TransferError: It is none, or holds what should be secret.
    """
    _urls.check(url, own=True)
    if not _urls.is_store(url):
        raise TransferError(
            "this is no place of an object store", where=_urls.redact(url), expected="s3://BUCKET/KEY", got=url[:8]
        )


def files_at(url: str, *, settings: Settings | None = None) -> list[str] | None:
    """The files that an address means which names a folder or a pattern.

    Args:
        url: ``s3://BUCKET/FOLDER``, or with ``*``, ``?`` and ``[...]`` in it, where ``**`` stands for any folders.
        settings: Instead of the current ones.

    Returns:
        The addresses of those in the folder (not in those below it), or of those that fit the pattern, in the store's
        order; None where it is a file.

    Raises:
        TransferError: The store cannot be asked, or there is nothing at all.
        OfflineError: `settings.offline` forbids the network.
    """
    if _WILD & set(url):
        base = url[: min(url.index(letter) for letter in _WILD if letter in url)].rpartition("/")[0]

        def fitting(system: Any, path: str) -> list[str] | None:
            with contextlib.suppress(FileNotFoundError):
                if system.info(path).get("type") == "file":
                    return None  # a name that looks like a pattern
            start = type(system)._strip_protocol(base)
            found = system.glob(path, detail=True)
            return [base + name[len(start) :] for name, told in found.items() if told.get("type") == "file"]

        return _asked(url, fitting, settings)

    def in_folder(system: Any, path: str) -> list[str] | None:
        if not url.endswith("/") and path.strip("/") and system.info(path).get("type") == "file":
            return None
        return [one.url for one in _rows(url, path, system.ls(path, detail=True))]

    return _asked(url, in_folder, settings)


def listing(url: str, *, settings: Settings | None = None) -> list[Listed]:
    """All files below a folder, in the order of names; none where there is no such folder in the bucket.

    Args:
        url: ``s3://BUCKET`` or ``s3://BUCKET/FOLDER``.
        settings: Instead of the current ones.

    Raises:
        TransferError: The store cannot be asked, or has no such bucket.
        OfflineError: `settings.offline` forbids the network.
    """

    def all_below(system: Any, path: str) -> list[Listed]:
        found = system.find(path, detail=True)
        if not found and not path.strip("/").partition("/")[2]:
            system.ls(path)  # which tells of a bucket that is not there
        return _rows(url, path, found.values())

    return sorted(_asked(url, all_below, settings), key=lambda one: one.url)


def exists(url: str, *, settings: Settings | None = None) -> Listed | None:
    """The file of an address; None if the store has none.

    Raises:
        TransferError: The store cannot be asked.
        OfflineError: `settings.offline` forbids the network.
    """
    from mshub_ssd.store.filesystems import names_bucket

    def look(system: Any, path: str) -> Listed | None:
        try:
            told = system.info(path)
        except FileNotFoundError as error:
            if names_bucket(error):
                raise
            return None
        return None if told.get("type") == "directory" else _listed(url, told)

    return _asked(url, look, settings)


def read_file(url: str, max_bytes: int, *, settings: Settings | None = None) -> bytes:
    """The bytes of a file by one question; nothing vouches for them.

    Raises:
        TransferError: They cannot be had, or are more.
        OfflineError: `settings.offline` forbids the network.
    """
    from mshub_ssd.store.fetchers import FailedError
    from mshub_ssd.store.filesystems import is_empty

    def read(system: Any, path: str) -> bytes:
        try:
            data = bytes(system.cat_file(path, start=0, end=max_bytes + 1))
        except (OSError, ValueError) as error:
            if not is_empty(error):
                raise
            return b""
        if len(data) > max_bytes:
            raise FailedError(f"the file has more than the {exact_size(max_bytes)} allowed")
        return data

    return _asked(url, read, settings)


def write_file(url: str, data: bytes, *, settings: Settings | None = None) -> None:
    """Write a file: others see the whole of it, or what was there before.

    Raises:
        TransferError: It cannot be written.
        OfflineError: `settings.offline` forbids the network.
    """
    from mshub_ssd import schemes

    def write(system: Any, path: str) -> None:
        if schemes.of(url) in _WHOLE:
            system.pipe_file(path, data)
            return
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        beside = f"{path}.{secrets.token_hex(8)}.part"
        try:
            system.pipe_file(beside, data)
            if system.exists(path):
                system.rm_file(path)
            system.mv(beside, path)
        except BaseException:
            with contextlib.suppress(Exception):
                system.rm_file(beside)
            raise

    _asked(url, write, settings)


def remove_file(url: str, *, settings: Settings | None = None) -> None:
    """Remove a file, if it is there.

    Raises:
        TransferError: It cannot be removed.
        OfflineError: `settings.offline` forbids the network.
    """

    def remove(system: Any, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            system.rm_file(path)

    _asked(url, remove, settings)


def _asked(url: str, work: Callable[[Any, str], Result], settings: Settings | None) -> Result:
    from mshub_ssd.store.filesystems import limited, opened
    from mshub_ssd.store.transfer import Job, persist

    check_place(url)
    job = Job(online(url, settings))

    def ask() -> Result:
        system, path = opened(url, job.policy)
        system.invalidate_cache()
        return work(system, path)

    return persist(url, job, lambda _: limited(ask, url, _SECONDS, job.stop))


def _rows(url: str, path: str, found: Any) -> list[Listed]:
    """What lies in a folder; what a store lists besides files, and a folder's own name, is left out."""
    base, start = url.rstrip("/"), path.rstrip("/")
    return [
        _listed(base + told["name"][len(start) :], told)
        for told in found
        if told.get("type") == "file" and told["name"].startswith(f"{start}/") and not told["name"].endswith("/")
    ]


def _listed(url: str, told: dict[str, Any]) -> Listed:
    from mshub_ssd.store.objects import facts_of

    facts = facts_of(told)
    size, state, moment = facts["size"], facts["headers"].get("ETag"), facts["moment"]
    # A time tells two states apart only where the file cannot have changed twice in it.
    if state is None and moment is not None and moment.timestamp() < time.time() - _TICK:
        state = moment.isoformat()
    return Listed(url, size, f"{size}-{state}" if state else "")
