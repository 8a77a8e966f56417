"""Connections as uvicorn holds them, with the limits that it lacks: on a request's head, on idle and on greedy clients.

The app itself limits bodies and pictures, under any server. What happens before a request is one, and after its answer
was given away, only the connection sees.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["Connection", "connection_class"]

MAX_HEAD = 16 << 10
"""Bytes of a request line and its headers."""

_MAX_PIPELINED = 4
_SEND_BUFFER = 256 << 10  # or the system takes megabytes of an answer that nobody reads
# Each piece of a body costs some microseconds, however small: nobody sends so many that are so small but to cost them.
_FREE_PIECES = 1000
_LEAST_PIECE = 64
_LINGER = 2.0  # seconds in which what a refused client still sends is thrown away
_PHRASES = {
    400: "Bad Request",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class Connection(HttpToolsProtocol):
    """One client's connection.

    Attributes:
        timeout: Seconds for a request's head, and for taking a piece of an answer.
        max_connections: More are refused.
        refused: Told the reason whenever a connection is refused.
    """

    timeout: float
    max_connections: int
    refused: Callable[[str], None]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        self._deadline: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None
        self._head = self._pieces = self._bytes = 0
        # Whatever the system does not take at once is waited for, so that an answer in memory is one that counts.
        transport.set_write_buffer_limits(high=0)
        line = transport.get_extra_info("socket")
        if line is not None and line.family != getattr(socket, "AF_UNIX", None):
            line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._parting = _Parting(transport, self._owes_bytes, self.loop)
        super().connection_made(cast("asyncio.Transport", self._parting))
        if len(self.connections) > 2 * self.max_connections:
            transport.abort()
        elif len(self.connections) > self.max_connections:
            self._answer(503, "busy", "the server has as many connections as it takes", retry=True)
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        for timer in (self._deadline, self._taking):
            if timer is not None:
                timer.cancel()
        self._parting.over()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some of a request."""
        if self._parting.is_closing():
            return
        if not self._in_body():
            self._head += len(data)
            if self._head > MAX_HEAD and self._busy():
                self._parting.abort()  # further requests, long before the first is answered
                return
        super().data_received(data)
        if self._parting.is_closing():
            return
        if self._busy():
            self._forget_deadline()
        elif self._head > MAX_HEAD:
            self._head_too_long()
        elif self._deadline is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """A request's head is here."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEAD:
            self._head_too_long()
        if self._parting.is_closing() or len(self.pipeline) >= _MAX_PIPELINED:
            raise ValueError("no more requests")  # httptools stops reading, and uvicorn asks `send_400_response`
        self._head = self._pieces = self._bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body is here: a chunk, or what came at once."""
        self._pieces += 1
        self._bytes += len(body)
        if self._pieces > _FREE_PIECES and self._bytes < _LEAST_PIECE * self._pieces:
            self._answer(400, "tiny-chunks", f"the body comes in pieces of less than {_LEAST_PIECE} bytes")
            raise ValueError("no more of it")
        super().on_body(body)

    def on_response_complete(self) -> None:
        """The answer was given away."""
        super().on_response_complete()
        if self._head and not self._parting.is_closing() and not self._busy():
            self._expect_head()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request."""
        if not self._parting.is_closing():
            self._answer(400, "bad-request", "this is no HTTP request")

    def pause_writing(self) -> None:
        """The client does not take its answer as quickly as it is given."""
        super().pause_writing()
        self._taking = self.loop.call_later(self.timeout, self._abandon)

    def resume_writing(self) -> None:
        """It has taken what there was."""
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
        super().resume_writing()

    def _in_body(self) -> bool:
        return self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _owes_bytes(self) -> bool:
        """Whether the client may be sending still, so that closing at once would look like a broken line to it."""
        return self._head > 0 or (self.cycle is not None and self.cycle.more_body)

    def _expect_head(self) -> None:
        self._forget_deadline()
        self._deadline = self.loop.call_later(self.timeout, self._late)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if not self._busy():
            self._answer(408, "slow-request", f"the request's head did not come within {self.timeout:g} seconds")

    def _head_too_long(self) -> None:
        self._answer(431, "head-too-long", f"the request's head is longer than {MAX_HEAD} bytes")

    def _abandon(self) -> None:
        self.refused("slow-reader")
        self._parting.abort()

    def _answer(self, status: int, code: str, message: str, retry: bool = False) -> None:
        """Answer outside of any request, and part."""
        if self._parting.is_closing():
            return
        self._forget_deadline()
        self.refused(code)
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self._parting.abort()  # in the middle of another answer
            return
        body = json.dumps({"error": {"code": code, "message": message}}).encode() + b"\n"
        head = [f"HTTP/1.1 {status} {_PHRASES[status]}", "content-type: application/json", "connection: close"]
        head += [f"content-length: {len(body)}", *(["retry-after: 1"] if retry else [])]
        self._parting.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        if self.cycle is not None and not self.cycle.response_complete:
            # The app is still reading a body whose rest makes no sense.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._parting.close(linger=True)


class _Parting:
    """A transport that parts from clients so that they get their answer.

    Where a socket is closed while bytes lie unread in it, the system tells the client of a broken line, and many never
    read what was said to them. So what comes is thrown away for a while.
    """

    def __init__(self, transport: asyncio.Transport, owed: Callable[[], bool], loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._owed, self._loop = transport, owed, loop
        self._end: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._end is not None or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        if self._end is None:
            self._transport.write(data)

    def close(self, linger: bool = False) -> None:
        if self.is_closing():
            return
        if not linger and not self._owed():
            self._transport.close()
            return
        self._end = self._loop.call_later(_LINGER, self._transport.close)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()

    def abort(self) -> None:
        self._transport.abort()

    def over(self) -> None:
        if self._end is not None:
            self._end.cancel()


def connection_class(timeout: float, max_connections: int, refused: Callable[[str], None]) -> type[Connection]:
    """Connections with these limits, for uvicorn's ``http``."""
    limits = {"timeout": timeout, "max_connections": max_connections, "refused": staticmethod(refused)}
    return type("LimitedConnection", (Connection,), limits)
