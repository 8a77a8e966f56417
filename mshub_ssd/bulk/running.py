"""Pictures by a Predictor, with what belongs to each: its row, its drawing."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from mshub_ssd.ahead import NOT_YET
from mshub_ssd.bulk.drawing import Drawings
from mshub_ssd.bulk.sources import Item
from mshub_ssd.bulk.writing import Writer
from mshub_ssd.errors import MshubError

__all__ = ["Looked", "Streams", "keep_freed_memory", "look", "write_rows"]

_log = logging.getLogger(__name__)

# glibc's mallopt.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


class Streams(Protocol):
    """A Predictor."""

    def stream(self, images: Iterable[Any]) -> Iterator[Any]:
        """One result per picture."""


class Looked(NamedTuple):
    """A picture that was looked at.

    Attributes:
        item: The picture.
        result: What is on it, or a Failure.
        row: The same for programs.
        out: Where it was drawn.
    """

    item: Item
    result: Any
    row: dict[str, Any]
    out: Path | None


def look(predictor: Streams, sources: Iterable[tuple[Item, bool] | None], drawings: Drawings) -> Iterator[Looked]:
    """Look at pictures, and draw what is found; when one is given out, its drawing is there.

    Args:
        predictor: What looks.
        sources: The pictures, and whether each is to be looked at; None where the next one is not there yet.
        drawings: Where they are drawn.

    Raises:
        MshubError: In one of its kinds: a drawing cannot be written.
    """
    from mshub_ssd.results import Failure, row_of

    ahead: deque[tuple[Item, Path | None]] = deque()

    def pictures() -> Iterator[Any]:
        for one in sources:
            if one is None:
                yield NOT_YET
                continue
            item, wanted = one
            out = drawings.reserve(item)
            if not wanted:
                continue
            # What the Predictor holds is enough.
            ahead.append((Item(item.name, None, item.frame, item.time, item.per_second), out))
            yield Failure(item.name, item.picture) if isinstance(item.picture, MshubError) else item.picture

    stream = predictor.stream(pictures())
    with closing(stream):  # type: ignore[type-var] # it is a generator
        for result in stream:
            item, out = ahead.popleft()
            more = {} if item.frame is None else {"frame": item.frame, "time": item.time}
            if isinstance(result, Failure):
                out = None
            elif out is not None:
                drawings.draw(item, result, out)
            yield Looked(item, result, row_of(result, item.name, **more), out)


def write_rows(rows: Iterable[dict[str, Any]], writer: Writer) -> None:
    """All rows, and the end."""
    for row in rows:
        writer.write(row)
    writer.close()


def keep_freed_memory() -> None:
    """Let this process keep what pictures leave behind, for the next ones.

    By itself the C library gives large blocks back to the system and asks for them anew, so that every page is filled
    with zeros for every picture: four times the work of decoding a small one. Nothing where it is another library.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 32 << 20)
        library.mallopt(_TRIM_THRESHOLD, 64 << 20)
        library.mallopt(_ARENA_MAX, 2)  # each thread would keep some for itself
    except (OSError, AttributeError) as error:
        _log.debug("memory is managed as it is: %s", error)
