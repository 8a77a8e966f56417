"""uvicorn, run so that clients cannot hold it up and a stop loses no answer."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from mshub_ssd.errors import UsageError
from mshub_ssd.serve.app import create_app
from mshub_ssd.serve.connections import connection_class
from mshub_ssd.serve.service import Service

__all__ = ["run"]

_log = logging.getLogger(__name__)

_M_MMAP_THRESHOLD = -3  # from malloc.h
_LARGE = 4 << 20
_KEEP_ALIVE = 5
_LAST_WORDS = 5  # seconds for bodies on their way in, and for answers on their way out


def run(
    model: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    max_connections: int = 512,
    stop_timeout: float = 25.0,
    listening: Callable[[str], object] = lambda url: None,
    **options: Any,
) -> None:
    """Serve a model until SIGTERM or Ctrl-C.

    Then whatever was let in is answered, new pictures are refused with 503, and it returns; a second signal ends it
    at once.

    Args:
        model: A uid, or the path of a card.
        host: Where it listens; ``0.0.0.0`` for other machines. There is no password.
        port: 0 for any that is free.
        max_connections: More are refused with 503.
        stop_timeout: Seconds after which a stop does not wait for answers any more.
        listening: Told the url once clients may come.
        options: As for `create_app`.

    Raises:
        MshubError: There is no such model, it cannot be loaded, or it cannot listen there.
    """
    _return_memory()
    app = create_app(model, **options)
    service: Service = app.state.service
    listener = _listener(host, port)
    refused = service.metrics.refusals
    config = uvicorn.Config(
        app,
        http=connection_class(service.limits.timeout, max_connections, lambda reason: refused.labels(reason).inc()),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_LAST_WORDS,
    )
    server = _Server(config, service, stop_timeout)
    listening(_url(listener))
    # uvicorn raises the signals that it took once more at its end, for whom they were meant before.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        listener.close()
    if service.failure is not None:
        raise service.failure


class _Server(uvicorn.Server):
    """A server that goes on listening, and refusing, until everybody who was let in has an answer."""

    def __init__(self, config: uvicorn.Config, service: Service, stop_timeout: float) -> None:
        super().__init__(config)
        self._service, self._stop_timeout = service, stop_timeout
        self._stopped: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal has come."""
        if self._stopped is None:
            self._service.stopping = True
            self._stopped = time.monotonic()
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Whether it is over; asked ten times a second."""
        if await super().on_tick(counter) or self._service.failure is not None:
            return True
        if self._stopped is None:
            return False
        seconds = time.monotonic() - self._stopped
        # Bodies that are still on their way were not let in; they get a moment.
        done = self._service.idle and (not self.server_state.tasks or seconds > _LAST_WORDS)
        return done or seconds > self._stop_timeout


def _return_memory() -> None:
    """Let glibc give large pictures' memory back at once.

    By itself it learns from the first that are freed to keep as much for the next ones, for each thread anew: twice
    what is needed at the worst moment, and for ever.
    """
    if "MALLOC_MMAP_THRESHOLD_" in os.environ:  # the user's own choice
        return
    try:
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
    except (AttributeError, OSError, TypeError):  # another system, or another C library: nothing to be said to it
        _log.debug("no glibc here")


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        raise UsageError(
            "the server cannot listen there",
            where=f"{host}:{port}",
            got=getattr(error, "strerror", None) or str(error),
            hint="--port 0 takes any port that is free; --host 127.0.0.1 is this machine only",
        ) from error


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{port}/"
