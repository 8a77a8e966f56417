"""Time for experiments with servers that let their clients wait: it passes by events, not by itself.

    with labclock.events() as clock:
        store.fetch(...)        # from a FaultServer that stalls, drips or never finishes its headers
    assert clock.passed() < 12  # seconds that would have been waited

Inside, a client in this process waits for as long as the machine needs. Only when the server has declared that no
more bytes will come does a wait time out, at once; only a body that drips lets the clock run while bytes arrive, and
pauses are taken as over. So no time limit is met because the machine is busy, and all of them are in no time.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

_PATIENCE = 60_000  # looks of 10 ms; only a hang takes so many


class Link:
    """What the server lets its client know about one connection.

    Attributes:
        asked: How often the client has sent something.
        answered: The same, as far as the server has sent all that it will send in answer.
        rate: Bytes a second as the client shall see them; None for as they come.
        ahead: How many bytes come before that counts.
        watched: Whether the client minds all this; else it lives by the real clock.
    """

    asked = answered = ahead = 0
    rate: int | None = None

    def __init__(self, watched: bool = False) -> None:
        self.watched = watched


_links: dict[Any, Link] = {}


def link(client: Any) -> Link:
    """The connection of the client with that address."""
    return _links.get(client) or Link()


class _Mine(threading.local):
    """Each thread has a time of its own, as if the others' waits took place beside its own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[_Timer] = []


_mine = _Mine()


def _pass(seconds: float) -> None:
    _mine.now += seconds
    for timer in [timer for timer in _mine.timers if timer.due <= _mine.now]:
        timer.cancel()
        timer.call()


class _Timer:
    """As threading.Timer."""

    daemon = False

    def __init__(self, interval: float, function: Callable[[], object]) -> None:
        self.interval, self.call, self.due = interval, function, 0.0

    def start(self) -> None:
        self.due = _mine.now + self.interval
        _mine.timers.append(self)

    def cancel(self) -> None:
        if self in _mine.timers:
            _mine.timers.remove(self)


class Clock:
    """Stands in for the module `time`.

    Attributes:
        pauses: Seconds of each pause, in order.
        expires: Asked whenever a client waits in vain: whether its time is up now; if not, it waits on.
    """

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.expires: Callable[[], bool] = lambda: True
        self._begun = _mine.now

    def monotonic(self) -> float:
        return _mine.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        _pass(seconds)

    def passed(self) -> float:
        """Seconds since the last call, in this thread."""
        before, self._begun = self._begun, _mine.now
        return _mine.now - before

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class _Socket(socket.socket):
    """A connection to a server whose silence counts as a time-out."""

    link = Link()
    clock: Clock

    @classmethod
    def of(cls, plain: socket.socket, clock: Clock) -> _Socket:
        limit = plain.gettimeout()
        made = cls(plain.family, plain.type, plain.proto, fileno=plain.detach())
        made.settimeout(limit)
        made.clock = clock
        made.link = _links[made.getsockname()] = Link(watched=True)
        return made

    def sendall(self, data: Any, flags: int = 0) -> None:
        self.link.asked += 1
        super().sendall(data, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        limit = self.gettimeout()
        assert limit is not None, "a wait without limit"
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        for _ in range(_PATIENCE):
            # The server says so after its last byte; the system may hand that over a little later.
            quiet = self.link.answered == self.link.asked
            if state := poll.poll(5 if quiet else 10):
                break
            if quiet and self.clock.expires():
                _pass(limit)
                raise TimeoutError("timed out")
            if quiet:
                time.sleep(0.01)
        else:
            raise AssertionError("the server neither sends nor stalls")
        rate, ahead = self.link.rate, self.link.ahead
        if rate is None:
            return super().recv_into(buffer, nbytes, flags)
        if state[0][1] & select.POLLHUP:
            return 0  # broken off here: what drips would not have arrived yet
        count = super().recv_into(buffer, min(nbytes or len(buffer), ahead or max(1, rate // 10)), flags)
        if ahead:
            self.link.ahead -= count
        else:
            _pass(count / rate)
        return count


@contextlib.contextmanager
def events() -> Iterator[Clock]:
    """Let the store's downloads in this process live by events; locks among processes keep the real clock."""
    from urllib3.util import connection

    import mshub_ssd.store.transfer  # noqa: F401 - what it imports is looked for below

    clock, connect = Clock(), connection.create_connection

    def watched(*args: Any, **more: Any) -> _Socket:
        return _Socket.of(connect(*args, **more), clock)

    modules = [module for name, module in sys.modules.items() if name.startswith("mshub_ssd.store.")]
    with contextlib.ExitStack() as stack:
        for module in modules:
            if getattr(module, "time", None) is time and not module.__name__.endswith(".locks"):
                stack.enter_context(mock.patch.object(module, "time", clock))
        stack.enter_context(mock.patch.object(threading, "Timer", _Timer))
        stack.enter_context(mock.patch.object(connection, "create_connection", watched))
        stack.callback(_links.clear)
        yield clock
