"""The ASGI app: its paths, its answers, and what is told of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from mshub_ssd.families import Detector
from mshub_ssd.results import Failure, json_line
from mshub_ssd.serve.bodies import is_form, read_body, uploads, wants_list
from mshub_ssd.serve.limits import Limits, RefusedError
from mshub_ssd.serve.metrics import CONTENT_TYPE
from mshub_ssd.serve.openapi import description
from mshub_ssd.serve.options import MAX_ROWS, drawn_as, options_of, usual_options
from mshub_ssd.serve.service import Batching, Service

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mshub_ssd.families import Family
    from mshub_ssd.hub import Hub

__all__ = ["create_app"]

_access = logging.getLogger("mshub_ssd.serve.access")

_PIECE = 64 << 10
_SLOWEST = 50_000  # bytes of a drawn picture that a client takes per second, at least
_CLIENT_GONE = 499  # as nginx logs it
_PAGE = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}


def create_app(
    model: str | Path,
    *,
    hub: Hub | None = None,
    engine: str = "auto",
    precision: str = "f32",
    threads: int | None = None,
    score_threshold: float | None = None,
    iou_threshold: float | None = None,
    max_detections: int | None = None,
    top_k: int | None = None,
    batch: int = 8,
    max_wait_ms: float = 5.0,
    decoders: int | None = None,
    limits: Limits | None = None,
    wait: bool = False,
) -> Starlette:
    """An ASGI app for one model: pictures in, JSON or drawn pictures out.

    The model is loaded when the server starts the app, in the background: ``/readyz`` tells when it is. docs/serving.md
    describes what it answers, and so does its own ``/openapi.json``.

    Args:
        model: A uid, or the path of a card.
        hub: The session that finds and loads it; the default one unless given.
        engine: What runs it, see `Predictor`.
        precision: What it computes in, see `Predictor`.
        threads: The engine's threads; None for as many as are good.
        score_threshold: What holds where a request says nothing; None for the network's own.
        iou_threshold: As `score_threshold`.
        max_detections: As `score_threshold`; None for 100.
        top_k: As `score_threshold`, of a classifier; None for 5.
        batch: So many pictures are given to the engine together.
        max_wait_ms: So long the first of them waits for others that are on their way.
        decoders: Threads that decode pictures; None for one per processor.
        limits: What it takes.
        wait: The server's start ends when the model is loaded, or fails with it, instead of going on before.

    Raises:
        MshubError: There is no such model or engine, or an option makes no sense.
    """
    batching = Batching(batch, max_wait_ms / 1000)
    running = {"engine": engine, "precision": precision, "threads": threads}
    usual = {
        "score_threshold": score_threshold,
        "iou_threshold": iou_threshold,
        "max_detections": max_detections,
        "top_k": top_k,
    }

    def check(family: Family) -> object:
        return usual_options(family, usual)

    service = Service(model, hub, running, limits or Limits(), batching, decoders, check)
    doors = _Doors(service, usual)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await service.start()
        try:
            if wait:
                await service.loaded()
            yield
        finally:
            await service.close()

    routes = [
        Route("/v1/detect", doors.detect, methods=["POST"]),
        Route("/v1/classify", doors.classify, methods=["POST"]),
        Route("/v1/model", doors.model),
        Route("/openapi.json", doors.openapi),
        Route("/healthz", doors.live),
        Route("/readyz", doors.ready),
        Route("/metrics", doors.metrics),
        *(Route(path, doors.page) for path in _PAGE),
    ]
    handlers: Any = {HTTPException: _http_error, RefusedError: doors.refuse, ClientDisconnect: _gone, Exception: _fault}
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    app.add_middleware(_Told, service=service, paths=frozenset(route.path for route in routes))
    app.state.service = service
    return app


class _Doors:
    """What answers each path."""

    def __init__(self, service: Service, usual: dict[str, Any]) -> None:
        self._service, self._usual = service, usual

    async def detect(self, request: Request) -> Response:
        return await self._look(request, "detect")

    async def classify(self, request: Request) -> Response:
        return await self._look(request, "classify")

    async def _look(self, request: Request, verb: str) -> Response:
        service = self._service
        family = service.family
        fitting = _verb(family)
        if verb != fitting:
            raise RefusedError(404, "wrong-kind", f"this model is a {family.kind}", hint=f"POST /v1/{fitting}")
        query = request.query_params.multi_items()
        options = options_of(query, family, self._usual)
        draw = drawn_as(query, request.headers.get("accept", "*/*"))
        service.admit()  # before a body is taken for nothing
        body = await read_body(request, service.limits, service.room)
        held = len(body)
        try:
            if is_form(request):
                files = await service.apart(uploads, body, request.headers["content-type"], service.limits)
                images, listed = [(one.name, one.data) for one in files], wants_list(files)
            else:
                images, listed = [(None, body)], False
        finally:
            service.room.give(held)
        del body
        if listed and draw:
            raise RefusedError(400, "many-drawn", "one picture at a time is drawn", hint="send one, or take JSON")
        found = await _unless_gone(request, service.look(images, options, draw))
        if listed:
            rows = [one.to_dict() if isinstance(one, Failure) else one for one in found]
            return _json(rows)
        (one,) = found
        if isinstance(one, Failure):
            raise RefusedError.of(one.error, 422)
        return _json(one) if draw is None else _Drawn(one, f"image/{draw.lower()}", service)

    async def model(self, request: Request) -> Response:
        """What there is to know of the model, for the page and for programs."""
        service = self._service
        family = service.family
        card = service.card
        facts = card.to_dict(("uid", "title", "task", "model_name", "backbone_name", "datasets", "author", "license"))
        names = list(getattr(family.config, "class_names", ()))
        engine, precision = service.engine or (None, None)
        detects = isinstance(family, Detector)
        return _json(
            {
                **facts,
                "summary": card.summary,
                "metrics": [str(metric) for metric in card.metrics],
                "kind": family.kind,
                "path": f"v1/{_verb(family)}",
                "classes": names,
                "score_threshold": usual_options(family, self._usual).score_threshold if detects else None,
                "engine": engine,
                "precision": precision,
                "limits": {
                    "max_bytes": service.limits.max_bytes,
                    "max_pixels": service.limits.max_pixels,
                    "max_pictures": service.limits.pictures,
                    "max_rows": MAX_ROWS,
                },
            }
        )

    async def openapi(self, _: Request) -> Response:
        service = self._service
        return _json(description(service.card, _verb(service.family), service.limits))

    async def live(self, _: Request) -> Response:
        return _json({"status": "live"})

    async def ready(self, _: Request) -> Response:
        assert self._service.family  # or it is refused, with the reason
        return _json({"status": "ready"})

    async def metrics(self, _: Request) -> Response:
        return Response(self._service.metrics.text(), media_type=CONTENT_TYPE)

    async def page(self, request: Request) -> Response:
        name, kind = _PAGE[request.scope["path"].removeprefix(request.scope.get("root_path", "")) or "/"]
        headers = {"content-security-policy": _CSP, "cache-control": "no-cache"}
        return Response(_file(name), media_type=kind, headers=headers)

    async def refuse(self, _: Request, refusal: Exception) -> Response:
        assert isinstance(refusal, RefusedError)
        self._service.metrics.refusals.labels(refusal.code).inc()
        headers = {} if refusal.retry_after is None else {"retry-after": str(refusal.retry_after)}
        return _json(refusal.to_dict(), refusal.status, headers)


def _verb(family: Any) -> str:
    return "detect" if isinstance(family, Detector) else "classify"


async def _unless_gone(request: Request, work: Any) -> Any:
    """What comes of the work; it is given up when the client goes away."""
    doing = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((doing, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientDisconnect
        return doing.result()
    finally:
        for task in (doing, leaving):
            task.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Drawn(Response):
    """A drawn picture, given away piece by piece; it counts as held until the client has it."""

    def __init__(self, content: bytes, media_type: str, service: Service) -> None:
        super().__init__(content, media_type=media_type)
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size, room = len(self.body), self._service.room
        room.take(size)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            pieces = self._pieces(send)
            await asyncio.wait_for(pieces, self._service.limits.timeout + size / _SLOWEST)
        except asyncio.TimeoutError:
            # The server ends the connection, for the answer is not complete.
            self._service.metrics.refusals.labels("slow-reader").inc()
        finally:
            room.give(size)

    async def _pieces(self, send: Send) -> None:
        body = memoryview(self.body)
        for start in range(0, len(body), _PIECE):
            await send({"type": "http.response.body", "body": bytes(body[start : start + _PIECE]), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class _Told:
    """Around the app: times, counts and logs requests, without what might be secret, and ends refused bodies."""

    def __init__(self, app: ASGIApp, service: Service, paths: frozenset[str]) -> None:
        self._app, self._service, self._paths = app, service, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0
        names = {name.lower() for name, _ in scope["headers"]}
        unread = bool(names & {b"content-length", b"transfer-encoding"})

        async def received() -> Message:
            nonlocal unread
            message = await receive()
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                unread = False
            return message

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers.setdefault(name, value)
                # What is left of the body would be taken for the next request.
                if unread or self._service.stopping:
                    headers["connection"] = "close"
            await send(message)

        try:
            await self._app(scope, received, sent)
        except Exception:
            status = status or 500
            raise
        finally:
            self._tell(scope, status or _CLIENT_GONE, time.perf_counter() - began)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        # Only paths of ours: others, and all queries, may hold what is nobody's business.
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        path = path if path in self._paths else "other"
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "OTHER"
        metrics = self._service.metrics
        metrics.requests.labels(path, str(status)).inc()
        metrics.seconds.labels(path).observe(seconds)
        client = (scope.get("client") or ("-",))[0]
        _access.info('%s "%s %s" %d %.1f ms', client, method, path, status, 1000 * seconds)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    content = json_line(value) if isinstance(value, dict) else json.dumps(value, allow_nan=False).encode() + b"\n"
    return Response(content, status, headers, media_type="application/json")


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {404: "not-found", 405: "wrong-method"}
    refusal = RefusedError(
        error.status_code,
        codes.get(error.status_code, "bad-request"),
        {404: "there is nothing here", 405: "not by this method"}.get(error.status_code, error.detail),
        hint="GET openapi.json tells what there is",
    )
    return _json(refusal.to_dict(), refusal.status, dict(error.headers or {}))


async def _gone(_: Request, __: Exception) -> None:
    """Nobody is there to be answered."""


async def _fault(_: Request, __: Exception) -> Response:
    """A mistake of ours; the server logs it."""
    return _json(RefusedError(500, "internal", "the server made a mistake", hint="see its log").to_dict(), 500)


@lru_cache
def _file(name: str) -> bytes:
    return (resources.files("mshub_ssd.serve") / "page" / name).read_bytes()
