"""A local HTTP/1.1 server whose answers go wrong by script.

    def test_something(fault_server):
        url = fault_server.add("/file", body, Fault(status=500), Fault(cut_after=100))
        ...                                   # 500, then a cut body, then whole ones
        assert fault_server.requests[1].headers["range"] == "bytes=100-"

Each request to a path takes the next fault of its script; when the script is used up, `then` (a good
answer unless told otherwise) serves all further requests. Every request is recorded.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import os
import random
import select
import socket
import ssl
import struct
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import labclock
import pytest

PATIENCE = 600  # seconds; only a hang takes so long, however busy the machine

HTML = b"<!DOCTYPE html><html><head><title>Please log in</title></head><body>Welcome</body></html>"
"""What a captive portal says."""


@dataclass(frozen=True)
class Fault:
    """One answer; without arguments a good one.

    Attributes:
        status: Answer with this status and `body` (or nothing) rather than the file.
        headers: Header lines to add or replace; a value of None leaves one out.
        body: Other bytes than the file's.
        redirect: Location of a redirect (status 302 unless `status` says otherwise).
        cut_after: Close the connection after so many bytes of the body.
        reset: Close it by RST rather than FIN.
        hang_up: Close it without any answer.
        stall_after: Stop sending after so many bytes, and keep the connection until the client gives it up.
        infinite: Never stop sending; no Content-Length.
        flip_bit: Number of the bit of the body to flip.
        truncate: Send only so many bytes, with a Content-Length that fits them.
        ignore_range: Answer a Range request with the whole file and 200.
        content_range: Another Content-Range.
        drip: Send so many bytes a second, ten times a second.
        slow_headers: Send the headers byte by byte, so many a second, and never finish them.
        head_status: Answer HEAD (and nothing else) with this status.
        gzip: Send the body compressed.
        chunked: Use Transfer-Encoding: chunked.
        until: Answer only once this is set.
    """

    status: int | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    body: bytes | None = None
    redirect: str | None = None
    cut_after: int | None = None
    reset: bool = False
    hang_up: bool = False
    stall_after: int | None = None
    infinite: bool = False
    flip_bit: int | None = None
    truncate: int | None = None
    ignore_range: bool = False
    content_range: str | None = None
    drip: int | None = None
    slow_headers: int | None = None
    head_status: int | None = None
    gzip: bool = False
    chunked: bool = False
    until: threading.Event | None = None


GOOD = Fault()


@dataclass(frozen=True)
class Request:
    """A request as it came: method, path with query, headers by lower-case name."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class _Page:
    body: bytes
    script: deque[Fault]
    then: Fault
    etag: str


class FaultServer:
    """A server on a free port of 127.0.0.1, running in threads until `close`.

    Attributes:
        base: ``http://127.0.0.1:PORT``.
        host: ``127.0.0.1:PORT``.
        requests: All requests so far, oldest first.
        sent: Bytes of bodies handed to the network so far.
        connections: How many were accepted so far.

    Args:
        tls: Serve https with this.
        address: Numeric address to listen at.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, *, address: str = "127.0.0.1") -> None:
        self.sent = self.connections = 0
        self.requests: list[Request] = []
        self._pages: dict[str, _Page] = {}
        self._changed = threading.Condition()
        self._accepted: set[Any] = set()
        self._open = self._gathered = 0
        self._closing = threading.Event()
        self._server = _Server((address, 0), _Handler)
        self._server.faults = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.host = f"{address}:{self._server.server_address[1]}"
        self.base = f"{'http' if tls is None else 'https'}://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> FaultServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, path: str, body: bytes, *script: Fault, then: Fault = GOOD) -> str:
        """Serve `body` at `path` (no query), going wrong by script; returns its url."""
        page = _Page(body, deque(script), then, f'"{hashlib.sha256(body).hexdigest()[:16]}"')
        with self._changed:
            self._pages[path] = page
        return self.base + path

    def seen(self, path: str) -> list[Request]:
        """The requests to one path, queries left aside."""
        return [request for request in list(self.requests) if request.path.partition("?")[0] == path]

    def gather(self, count: int) -> None:
        """Answer no further request before so many of them have come."""
        self._gathered = len(self.requests) + count

    def await_requests(self, count: int) -> None:
        """Return once so many requests have come in all."""
        self._await(lambda: len(self.requests) >= count)

    def await_seen(self, path: str) -> None:
        """Return once a path has been asked for."""
        self._await(lambda: bool(self.seen(path)))

    def settle(self) -> None:
        """Return once all connections are done with, those of clients that were killed while they connected too."""
        with socket.socket() as last:
            last.bind((self._server.server_address[0], 0))
            self._accepted.discard(last.getsockname())
            last.connect(self._server.server_address)
            # They are accepted in turn.
            self._await(lambda: last.getsockname() in self._accepted)
        self._await(lambda: self._open == 0)

    def _await(self, met: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(met, PATIENCE), "the server waits in vain"

    def close(self) -> None:
        """Stop; answers under way are broken off."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def _next(self, request: Request) -> tuple[_Page, Fault] | None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(self.requests) >= self._gathered or self._closing.is_set(), PATIENCE)
            page = self._pages.get(request.path.partition("?")[0])
            if page is None:
                return None
            return page, page.script.popleft() if page.script else page.then


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    faults: FaultServer

    def process_request(self, request: Any, client_address: Any) -> None:
        self._count(1, client_address)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self._count(-1)

    def _count(self, change: int, client_address: Any = None) -> None:
        with self.faults._changed:
            self.faults._open += change
            if change > 0:
                self.faults.connections += 1
                self.faults._accepted.add(client_address)
            self.faults._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    _link: labclock.Link
    _asked: int

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self._link = labclock.link(self.client_address)
        self._link.ahead, self._link.rate, self._asked = 0, None, self._link.asked
        self._reply()
        if not self.close_connection:  # else its end, which is still to come, is the answer
            self._link.answered = self._asked

    def _reply(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        found = self.server.faults._next(Request(self.command, self.path, headers))
        if found is None:
            self._send(404, {"Content-Length": "9"}, b"not found", GOOD)
            return
        page, fault = found
        while fault.until is not None and not fault.until.wait(0.02):
            if self.server.faults._closing.is_set():
                return
        if fault.hang_up:
            self._drop(fault.reset)
            return
        body = page.body if fault.body is None else fault.body
        if fault.flip_bit is not None and body:
            spot, bit = divmod(fault.flip_bit % (8 * len(body)), 8)
            body = body[:spot] + bytes([body[spot] ^ (1 << bit)]) + body[spot + 1 :]
        if fault.truncate is not None:
            body = body[: fault.truncate]
        extra: dict[str, str | None] = {}
        if fault.slow_headers is not None:
            self._trickle(fault.slow_headers)
            return
        if fault.head_status is not None and self.command == "HEAD":
            status, body = fault.head_status, b""
        elif fault.redirect is not None:
            status, body = fault.status or 302, b""
            extra["Location"] = fault.redirect
        elif fault.status is not None:
            status, body = fault.status, fault.body or b""
        else:
            status, body, extra = self._file(page, fault, headers, body)
        extra["Content-Length"] = str(len(body))
        if fault.infinite:
            extra["Content-Length"] = None
        if fault.chunked:
            extra |= {"Content-Length": None, "Transfer-Encoding": "chunked"}
        self._send(status, extra | dict(fault.headers), body, fault)

    def _file(
        self, page: _Page, fault: Fault, asked: dict[str, str], body: bytes
    ) -> tuple[int, bytes, dict[str, str | None]]:
        extra: dict[str, str | None] = {"Accept-Ranges": "bytes", "ETag": page.etag}
        if fault.gzip:
            return 200, gzip.compress(body), extra | {"Content-Encoding": "gzip"}
        if asked.get("if-none-match") == page.etag:
            return 304, b"", extra
        span = asked.get("range", "")
        fresh = asked.get("if-range", page.etag) == page.etag
        if not span.startswith("bytes=") or fault.ignore_range or not fresh:
            return 200, body, extra
        first, _, end = span[6:].partition("-")
        start, last = int(first), min(int(end or len(body)), len(body) - 1)
        if start >= len(body):
            return 416, b"", extra | {"Content-Range": f"bytes */{len(body)}"}
        place = fault.content_range or f"bytes {start}-{last}/{len(body)}"
        return 206, body[start : last + 1], extra | {"Content-Range": place}

    def _send(self, status: int, headers: Mapping[str, str | None], body: bytes, fault: Fault) -> None:
        if headers.get("Content-Length") is None and not fault.chunked:
            self.close_connection = True
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        if fault.drip is not None and self._link.watched:
            self._link.ahead = len(b"".join(self._headers_buffer)) + len("\r\n")
            self._link.rate = fault.drip
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault.infinite:
            self._forever(body or b"x")
            return
        stop = fault.cut_after if fault.cut_after is not None else fault.stall_after
        piece = body if stop is None else body[:stop]
        if fault.chunked:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b"")
            if stop is None:
                self.wfile.write(b"0\r\n\r\n")
        elif fault.drip is not None and not self._link.watched:
            self._pour(piece, fault.drip, max(1, fault.drip // 10))
        else:
            self._pour(piece, None, 1 << 16)
        if fault.stall_after is not None:
            self._wait_for_the_end()
            self._drop(reset=True)
        elif fault.cut_after is not None:
            self._drop(fault.reset)

    def _pour(self, body: bytes, pace: int | None, block: int) -> None:
        faults, view, begun = self.server.faults, memoryview(body), time.monotonic()
        for start in range(0, len(view), block):
            self.wfile.write(view[start : start + block])
            with faults._changed:
                faults.sent += len(view[start : start + block])
            if pace is not None:
                ahead = (start + block) / pace - (time.monotonic() - begun)
                if ahead > 0 and faults._closing.wait(ahead):
                    return

    def _trickle(self, pace: int) -> None:
        self.close_connection = True
        head = b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 60_000
        if self._link.watched:
            self._link.rate = pace
            self.wfile.write(head)
            self._wait_for_the_end()
            return
        for byte in head:
            self.wfile.write(bytes([byte]))
            if self.server.faults._closing.wait(1 / pace):
                return

    def _forever(self, body: bytes) -> None:
        block = body * (1 + (1 << 16) // len(body))
        while not self.server.faults._closing.is_set():
            self.wfile.write(block)

    def _wait_for_the_end(self) -> None:
        self._link.answered = self._asked
        self.connection.settimeout(0.05)
        while not self.server.faults._closing.is_set():
            try:
                if not self.connection.recv(1):
                    return
                self._link.answered = self._link.asked  # nor will another request be answered
            except TimeoutError:
                continue
            except OSError:
                return

    def _drop(self, reset: bool) -> None:
        self.close_connection = True
        if reset:
            # An RST overtakes what the client's side has not acknowledged; what it has can still be read.
            unsent, gone = bytearray(4), select.poll()
            gone.register(self.connection, 0)  # tells of its end, which comes unasked
            with contextlib.suppress(OSError):
                fcntl.ioctl(self.connection, termios.TIOCOUTQ, unsent)
                while any(unsent) and not gone.poll(1) and not self.server.faults._closing.is_set():
                    fcntl.ioctl(self.connection, termios.TIOCOUTQ, unsent)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    """``http://127.0.0.1:PORT`` where nobody listens, and nobody else can while this lasts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that no compression and no accident makes."""
    return random.Random(seed).randbytes(size)


@pytest.fixture
def fault_server() -> Iterator[FaultServer]:
    """A `FaultServer` for one test."""
    with FaultServer() as server:
        yield server
