"""The text of a card taken apart: title, front matter, body."""

from __future__ import annotations

import io
import itertools
import os
import re
from pathlib import Path

from mshub_ssd.cards.composing import CONTROL, compose
from mshub_ssd.cards.nodes import BREAK, Source
from mshub_ssd.files import open_regular

__all__ = ["MAX_BYTES", "MAX_FRONT", "MAX_LINES", "read_bytes", "read_source"]

MAX_BYTES = 1 << 20
MAX_FRONT = 1 << 17
MAX_LINES = 100_000
_MAX_CONTROLS = 20

_VISIBLE = re.compile(r"\S")
_FENCE = re.compile(r"---[ \t]*(?=\r|\n|\Z)")
_LATER_FENCE = re.compile(r"[\r\n]---[ \t]*(?=\r|\n|\Z)")
_SECTION = re.compile(r"(?<=[\n\r])##+[ \t]")


def read_bytes(path: Path) -> bytes:
    """The bytes of a card's file, of too large a one as many as show that; never blocks, whatever lies there.

    Raises:
        OSError: It cannot be read, or is no regular file.
        ValueError: No path can have that name.
    """
    with io.BufferedReader(open_regular(path)) as stream:
        # Room for the largest card would be taken, and given back, for each of thousands.
        told = min(os.fstat(stream.fileno()).st_size, MAX_BYTES)
        data = stream.read(told + 1)
        return data if len(data) <= told else data + stream.read(MAX_BYTES - told)  # it grew, or its size tells nothing


def read_source(data: str | bytes, *, tolerant: bool = False) -> Source:
    """Take a card apart.

    Never raises for what the text holds: whatever is wrong is in `Source.problems`, and `Source.root` is None
    where a fatal one leaves nothing to read.

    Args:
        data: The whole file.
        tolerant: Read on behind a fatal problem as far as the text makes sense, for a reader that wants to know
            about all of them.
    """
    source = _decode(data, tolerant)
    if source.problems and not (tolerant and source.text):
        return source
    _find_parts(source, tolerant)
    if source.front is not None and source.front[1] - source.front[0] > MAX_FRONT:
        source.report(
            "yaml-size",
            f"the front matter is larger than {MAX_FRONT >> 10} KiB",
            (source.front[0], source.front[0]),
            fatal=True,
            hint="keep long lists out of the card: link to them",
        )
    elif source.front is not None:
        _check_controls(source, tolerant)
        if tolerant or not source.problems:
            source.root = compose(source, *source.front)
    return source


def _decode(data: str | bytes, tolerant: bool) -> Source:
    # A text may hold half a character (a lone surrogate), which is no UTF-8 either.
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > MAX_BYTES:
        return _too_large("the card is larger than 1 MiB", f"at most {MAX_BYTES} bytes")
    try:
        source = Source(raw.decode("utf-8").removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        source = Source(raw[: error.start].decode("utf-8").removeprefix("\ufeff"))
        at = len(source.text)
        if tolerant:
            source.text = raw.decode("utf-8", "replace").removeprefix("\ufeff")
        source.report(
            "encoding",
            "the card is not UTF-8",
            (at, at),
            fatal=True,
            expected="UTF-8 text",
            got="half a character (a lone surrogate)"
            if isinstance(data, str)
            else f"byte 0x{raw[error.start]:02x} at offset {error.start}",
            hint="save the file in the encoding UTF-8",
        )
        return source
    if source.text.count("\n") + source.text.count("\r") > MAX_LINES:
        return _too_large(f"the card has more than {MAX_LINES} lines", f"at most {MAX_LINES} lines")
    nul = source.text.find("\0")
    if nul >= 0:
        source.report(
            "control",
            "the card holds a NUL character",
            (nul, nul + 1),
            fatal=True,
            hint="delete it, or save the file as UTF-8 if it is UTF-16",
        )
    return source


def _too_large(message: str, expected: str) -> Source:
    source = Source("")
    hint = "keep pictures and logs out of the card: link to them"
    source.report("size", message, fatal=True, expected=expected, hint=hint)
    return source


def _find_parts(source: Source, tolerant: bool) -> None:
    text = source.text
    fence = _fence(text, 0)
    if fence is None:
        source.report(
            "front-matter",
            "the card has no front matter",
            (0, 0),
            fatal=True,
            expected="a line --- before the card's fields and another one after them",
            hint="put the fields (model-name: ..., asset: ...) between two lines ---",
        )
        return
    _read_head(source, fence[0])
    start = _next_line(text, fence[1])
    closing = _fence(text, start)
    if closing is None:
        source.report(
            "front-matter",
            "the front matter has no end",
            (fence[0], fence[0] + 3),
            fatal=True,
            expected="a line --- after the card's fields",
            hint="put a line --- after the last field",
        )
        if tolerant:
            heading = _SECTION.search(text, start)
            source.body = heading.start() if heading else len(text)
            source.front = (start, source.body)
        return
    source.front = (start, closing[0])
    source.body = _next_line(text, closing[1])
    if source.title is None:
        # Front matter at the top of the file: the heading is the first line of the body, if anywhere.
        first = _VISIBLE.search(text, source.body)
        source.title = _heading(text, first.start()) if first else None


def _fence(text: str, at: int) -> tuple[int, int] | None:
    """Where the next fence begins and ends."""
    found = _FENCE.match(text) if at == 0 else None
    if found:
        return found.span()
    found = _LATER_FENCE.search(text, max(at - 1, 0))
    return (found.start() + 1, found.end()) if found else None


def _read_head(source: Source, end: int) -> None:
    """The text before the front matter: nothing, or a title."""
    text = source.text
    at = 0
    while found := _VISIBLE.search(text, at, end):
        start = found.start()
        heading = _heading(text, start) if source.title is None else None
        at = _next_line(text, start)
        if heading is None:
            line = text[start:at].rstrip()
            source.report(
                "front-matter",
                "only a title may stand before the front matter",
                (start, start + len(line)),
                fatal=True,
                expected="`# Title`, or nothing, before the first line ---",
                got=repr(line[:60]),
                hint="move this text below the second line ---",
            )
            return
        source.title = heading


def _heading(text: str, at: int) -> tuple[str, int, int] | None:
    """The title in a line ``# title`` (closing hashes are no part of it) and its offsets."""
    line = text[at : _next_line(text, at)].rstrip()
    inner = line[1:].lstrip()
    if not line.startswith("#") or not inner or inner.startswith("#"):
        return None
    start = at + len(line) - len(inner)
    unclosed = inner.rstrip("#")
    if unclosed != inner and unclosed[-1:].isspace():
        inner = unclosed.rstrip()
    return inner, start, start + len(inner)


def _next_line(text: str, at: int) -> int:
    found = BREAK.search(text, at)
    return found.end() if found else len(text)


def _check_controls(source: Source, tolerant: bool) -> None:
    assert source.front is not None
    for found in itertools.islice(CONTROL.finditer(source.text, *source.front), _MAX_CONTROLS if tolerant else 1):
        if found.group() == "\0" and source.problems:
            continue  # reported for the whole text
        source.report(
            "control",
            "the front matter holds a control character",
            found.span(),
            fatal=True,
            got=repr(found.group()),
            hint="delete it",
        )
