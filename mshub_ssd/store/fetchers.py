"""Who gets what an address names: a table from schemes to fetchers. http and https are ours, all others fsspec's.

Fetchers speak one language, that of http: a question with a range or a validator, an answer with a status, headers and
a body. So resuming, retries, mirrors, several connections, and what is believed, are the same for all of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from mshub_ssd import lazy, schemes
from mshub_ssd.settings import Settings
from mshub_ssd.store.policy import Policy

__all__ = ["Answer", "Clients", "FailedError", "Fetcher", "Fetchers"]

_FETCHERS = {
    "http": "mshub_ssd.store.client:Client",
    "https": "mshub_ssd.store.client:Client",
}
_OTHERS = "mshub_ssd.store.objects:Objects"


@dataclass(eq=False)
class FailedError(Exception):
    """One attempt that came to nothing; never leaves the store.

    Attributes:
        reason: Why, fit for a message.
        again: Whether another attempt may do better.
        after: Seconds the server asks to wait, or None.
        attempts: How many in a row are enough, where those of the policy are too many.
        hint: What to do about it, where there is more to say than to check address and network.
    """

    reason: str
    again: bool = False
    after: float | None = None
    attempts: int | None = None
    hint: str | None = None


class Answer(Protocol):
    """What came back; `requests.Response` is one.

    Attributes:
        raw: Gives the body.
    """

    status_code: int
    raw: Any

    @property
    def headers(self) -> Mapping[str, str]:
        """As http has them."""


class Fetcher(Protocol):
    """Asks for what addresses name; for one thread."""

    def __exit__(self, *_: object) -> None:
        """Let go of connections."""

    def drop(self) -> None:
        """Break off what is under way; the rest of it is not wanted."""

    def abort(self) -> None:
        """From another thread: let what is under way fail at once, and all that follows."""

    def answer(
        self, source: str, headers: dict[str, str] | None = None, method: str = "GET"
    ) -> AbstractContextManager[tuple[Answer, tuple[str, ...]]]:
        """Ask; the last answer, whatever its status, its body unread; and the urls asked.

        Raises:
            FailedError: No answer came, or it may not be asked for.
        """

    def body(
        self, source: str, headers: dict[str, str], wanted: tuple[int, ...] = (200, 206, 416)
    ) -> AbstractContextManager[Answer]:
        """Ask for a file; the answer has one of the statuses that are wanted.

        Raises:
            FailedError: Anything else came back.
        """


class Fetchers:
    """A fetcher of each kind, made when it is first needed; for one thread.

    Args:
        settings: For endpoint and token.
        policy: For how long to wait.
        allow_private: Whether a url's own host may be loopback or private. What a public one redirects to may not.
    """

    def __init__(self, settings: Settings, policy: Policy, *, allow_private: bool = True) -> None:
        self._settings, self._policy, self._allow_private = settings, policy, allow_private
        self._made: dict[str, Fetcher] = {}
        self._aborted = False

    def __enter__(self) -> Fetchers:
        return self

    def __exit__(self, *_: object) -> None:
        for fetcher in self._made.values():
            fetcher.__exit__()

    def drop(self) -> None:
        """See `Fetcher.drop`."""
        for fetcher in self._made.values():
            fetcher.drop()

    def abort(self) -> None:
        """See `Fetcher.abort`."""
        self._aborted = True
        for fetcher in tuple(self._made.values()):
            fetcher.abort()

    def answer(
        self, source: str, headers: dict[str, str] | None = None, method: str = "GET"
    ) -> AbstractContextManager[tuple[Answer, tuple[str, ...]]]:
        """See `Fetcher.answer`."""
        return self._of(source).answer(source, headers, method)

    def body(
        self, source: str, headers: dict[str, str], wanted: tuple[int, ...] = (200, 206, 416)
    ) -> AbstractContextManager[Answer]:
        """See `Fetcher.body`."""
        return self._of(source).body(source, headers, wanted)

    def _of(self, url: str) -> Fetcher:
        place = _FETCHERS.get(schemes.of(url), _OTHERS)
        if place not in self._made:
            made: Fetcher = lazy.load(place)(self._settings, self._policy, allow_private=self._allow_private)
            self._made[place] = made
            if self._aborted:  # meanwhile, by another thread
                made.abort()
        return self._made[place]


class Clients:
    """Fetchers that are kept from one small file to the next, so that a host is not greeted for each of them.

    Args:
        settings: As for `Fetchers`.
        policy: The same.
    """

    def __init__(self, settings: Settings, policy: Policy) -> None:
        self._settings, self._policy = settings, policy
        self._free: list[Fetchers] = []

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_: object) -> None:
        while self._free:
            self._free.pop().__exit__()

    @contextlib.contextmanager
    def client(self) -> Iterator[Fetchers]:
        """Some that nobody else has; kept for the next if all went well."""
        try:
            client = self._free.pop()  # one step, so threads need no lock
        except IndexError:
            client = Fetchers(self._settings, self._policy)
        try:
            yield client
        except BaseException:
            client.__exit__()
            raise
        self._free.append(client)
