"""How patient the store is; one value for all, so that tests can hurry it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Policy", "current", "override_policy"]


@dataclass(frozen=True)
class Policy:
    """How patient downloads are; times in seconds.

    Attributes:
        connect: Longest wait for a connection.
        read: Longest wait for the next byte.
        answer: Longest wait for a connection's handshake, and for an answer's headers, however they trickle.
        stall: A body that brings less than `trickle` bytes in this time is given up and resumed.
        trickle: See `stall`.
        attempts: Most attempts in a row without progress.
        lookups: Most attempts in a row where the name of a host cannot be resolved for the moment.
        progress: Bytes beyond the furthest so far that count as progress; a server that hands out a
            few bytes per connection would otherwise keep us for ever.
        backoff: Upper bound of the first random wait; it doubles each time.
        longest_wait: Upper bound of any random wait.
        longest_retry_after: A server that asks for more is given up.
        redirects: Most redirects followed.
        max_bytes: Most bytes of a file whose size nobody promised.
        segment: Bytes per request where one file comes over several connections.
        locks: Wait for another process that downloads the same file. Turned off by tests only: a lock saves
            bandwidth, nothing else depends on it.
        lock_idle: A download of another process that made no progress for so long is not waited for.
        lock_longest: Nor is one that takes longer than this in all.
        lock_poll: Pause between two looks at it.
        abandoned: Age at which a part or a lock is taken for left behind, where a file system knows no locks.
    """

    connect: float = 10.0
    read: float = 30.0
    answer: float = 60.0
    stall: float = 60.0
    trickle: int = 1024
    attempts: int = 5
    lookups: int = 2
    progress: int = 1 << 18
    backoff: float = 0.5
    longest_wait: float = 30.0
    longest_retry_after: float = 120.0
    redirects: int = 5
    max_bytes: int = 8 << 30
    segment: int = 8 << 20
    locks: bool = True
    lock_idle: float = 30.0
    lock_longest: float = 900.0
    lock_poll: float = 0.1
    abandoned: float = 600.0

    def limit(self, *promised: int | None) -> int:
        """Most bytes of a file: the first number that is known of those given, else `max_bytes`."""
        return next((count for count in promised if count is not None), self.max_bytes)


_policy = Policy()


def current() -> Policy:
    """The values in force."""
    return _policy


@contextlib.contextmanager
def override_policy(**changes: Any) -> Iterator[None]:
    """Private door for tests: other values in this process for a while."""
    global _policy
    before = _policy
    _policy = replace(before, **changes)
    try:
        yield
    finally:
        _policy = before
