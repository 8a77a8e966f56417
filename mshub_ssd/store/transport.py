"""What has to be known of the inside of urllib3 and http.client; all of it is in this module.

Two things have no public way there: to learn a connection's address before anything is sent over it, and to read a
body into memory that is there already (new memory for each piece costs up to half of the speed). When an update of
urllib3 or Python changes them, ``tests/test_store_transport.py`` tells which, and what to do.
"""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ReadTimeoutError

from mshub_ssd.store.addresses import Guard

if TYPE_CHECKING:
    import socket

    from mshub_ssd.store.fetchers import Answer

__all__ = ["GuardedAdapter", "reader"]


class _Plain(HTTPConnection):
    """A connection that asks a guard at every step."""

    def __init__(self, guard: Guard, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.guard = guard
        self.reached: str | None = None

    def _new_conn(self) -> socket.socket:
        if self.proxy is not None:  # whose address is the user's own choice
            sock = super()._new_conn()
        else:
            self.guard.foresee(self.host, self.port)
            sock = super()._new_conn()
            self.reached = self.guard.inspect(self.host, sock)
        self.guard.hold(sock)
        return sock

    def connect(self) -> None:
        with self.guard.limited():
            super().connect()

    def getresponse(self) -> Any:
        with self.guard.limited():
            response = super().getresponse()
        self.guard.peer = self.reached
        return response


class _Safe(_Plain, HTTPSConnection):
    pass


class GuardedAdapter(HTTPAdapter):
    """A transport for `requests` whose connections are watched by a guard."""

    def __init__(self, guard: Guard) -> None:
        self._pools = {
            "http": partial(_pool, guard, HTTPConnectionPool, _Plain),
            "https": partial(_pool, guard, HTTPSConnectionPool, _Safe),
        }
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Called by requests."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Called by requests."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        return manager


def _pool(guard: Guard, pool: Any, connection: Any, *args: Any, **kwargs: Any) -> Any:
    made = pool(*args, **kwargs)
    made.ConnectionCls = partial(connection, guard)
    return made


def reader(
    response: Answer, max_piece: int, buffer: Callable[[], memoryview] | None
) -> Callable[[], bytes | memoryview]:
    """What hands over as much of a body as has arrived: nothing is lost when the connection breaks.

    Args:
        response: Whose body.
        max_piece: Most bytes of a piece that has memory of its own.
        buffer: Tells where the next piece may be put; it is not asked again before that piece was used.
    """
    raw: Any = response.raw
    body: Any = getattr(raw, "_fp", None)
    if (
        buffer is not None
        and isinstance(body, http.client.HTTPResponse)
        and not body.chunked
        and body.length
        and isinstance(body.fp, io.BufferedReader)
    ):
        return partial(_read_into, raw, body, buffer)
    if hasattr(raw, "read1"):
        return partial(raw.read1, max_piece, decode_content=False)
    return partial(body.read1, max_piece)  # urllib3 before 2.1


def _read_into(raw: Any, body: Any, buffer: Callable[[], memoryview]) -> memoryview:
    """As `read1`, but into memory that is there already."""
    if not body.length:  # nothing is left: the connection can be used again
        body.read()
        raw.release_conn()
        return memoryview(b"")
    view = buffer()[: body.length]
    try:
        count = body.fp.readinto1(view)
    except TimeoutError as error:
        raise ReadTimeoutError(raw, "", "no more bytes") from error
    if not count:
        raise http.client.IncompleteRead(b"", body.length)
    body.length -= count
    return view[:count]
