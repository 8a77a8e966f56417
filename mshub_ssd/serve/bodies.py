"""Bodies of requests: read within limits, and taken apart into pictures. Nothing is fetched, and no file is written."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from mshub_ssd.serve.limits import Limits, RefusedError, Room

__all__ = ["Upload", "is_form", "read_body", "uploads", "wants_list"]

_FORM = "multipart/form-data"
_LONGEST_NAME = 255
_ONE = "image"
_MANY = "images"


class Upload(NamedTuple):
    """One picture of a request.

    Attributes:
        field: The form's field.
        name: The file's name as the client gave it, without folders; None where there is none.
        data: Its bytes.
    """

    field: str
    name: str | None
    data: bytes


def is_form(request: Request) -> bool:
    """Whether the body is a form with files."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM


async def read_body(request: Request, limits: Limits, room: Room) -> bytes:
    """The body, counted while it comes; its length is then held in `room`.

    Raises:
        RefusedError: It is too long, comes too slowly, or there is no room for it.
        ClientDisconnect: The client went away.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RefusedError(
            415, "encoded-body", "bodies are taken as they are, not compressed", hint="send the file itself"
        )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limits.max_bytes:
        raise _too_long(limits)
    loop = asyncio.get_running_loop()
    chunks: list[bytes] = []
    length, until = 0, loop.time() + limits.timeout
    try:
        while True:
            try:
                message = await asyncio.wait_for(request.receive(), max(0.0, until - loop.time()))
            except asyncio.TimeoutError:
                raise RefusedError(
                    408, "slow-body", f"the body did not come within {limits.timeout:g} seconds", hint="send it quicker"
                ) from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            if length + len(chunk) > limits.max_bytes:
                raise _too_long(limits)
            room.take(len(chunk))
            length += len(chunk)
            chunks.append(chunk)
            if not message.get("more_body", False):
                break
        return b"".join(chunks)
    except BaseException:
        room.give(length)
        raise


def uploads(body: bytes, content_type: str, limits: Limits) -> list[Upload]:
    """The files of a form.

    Args:
        body: All of it.
        content_type: Of the request.
        limits: How many pictures there may be.

    Raises:
        RefusedError: It is no form, has too many files, or fields that are none.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise _no_form("the content type names no boundary")
    form = _Form(limits.pictures)
    try:
        parser = MultipartParser(boundary, form.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise _no_form(str(error)) from error
    if not form.ended:
        raise _no_form("it ends in the middle")
    if not form.files:
        raise RefusedError(400, "no-picture", "the form has no file", hint=f"curl -F {_ONE}=@picture.jpg …")
    return form.files


class _Form:
    """What a form's parser tells, gathered."""

    def __init__(self, max_files: int) -> None:
        self._max = max_files
        self._header, self._value = b"", b""
        self._disposition: bytes | None = None
        self._parts: list[bytes] = []
        self.files: list[Upload] = []
        self.ended = False

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._field,
            "on_header_value": self._add_value,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._over,
        }

    def _begin(self) -> None:
        if len(self.files) == self._max:
            raise RefusedError(
                413, "too-many-pictures", "the form has too many pictures", expected=f"at most {self._max} at once"
            )
        self._disposition, self._parts = None, []

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._parts.append(data[start:end])

    def _end(self) -> None:
        options = parse_options_header(self._disposition or b"")[1]
        field = options.get(b"name", b"").decode("utf-8", "replace")
        name = options.get(b"filename")
        if field not in (_ONE, _MANY) or name is None:
            raise RefusedError(
                400,
                "unknown-field",
                f"the form has a field {field[:40]!r} that is no picture",
                expected=f"files called {_ONE}, or {_MANY} for a list",
                hint="options go into the url: ?score_threshold=0.5",
            )
        base = name.decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
        self.files.append(Upload(field, base[:_LONGEST_NAME] or None, b"".join(self._parts)))
        self._parts = []

    def _over(self) -> None:
        self.ended = True


def wants_list(files: list[Upload]) -> bool:
    """Whether a form is answered with a list."""
    return len(files) > 1 or files[0].field == _MANY


def _no_form(why: str) -> RefusedError:
    return RefusedError(
        400, "broken-form", f"the body is no multipart form: {why[:120]}", hint=f"curl -F {_ONE}=@picture.jpg …"
    )


def _too_long(limits: Limits) -> RefusedError:
    return RefusedError(
        413,
        "too-large",
        "the body is longer than this server takes",
        expected=f"at most {limits.max_bytes} bytes",
        hint="send a smaller picture, or one at a time",
    )
