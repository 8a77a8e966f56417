"""What names mean: files, folders, patterns, urls, lists and videos, as one stream of pictures."""

from __future__ import annotations

import os
import re
import select
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from mshub_ssd import store
from mshub_ssd.bulk.video import frames, is_video
from mshub_ssd.errors import ImageError, OfflineError, TransferError, UsageError
from mshub_ssd.redaction import scrub
from mshub_ssd.schemes import is_store

__all__ = ["STDIN", "Input", "Item", "Sources", "stands_for_itself"]

STDIN = "-"

# How pictures begin. What follows `BM` and `P6` is no name of a file either.
_PICTURE = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|II\*\0|MM\0\*|II\+\0|....ftyp|\0\0\0\x0cjP|\xffO\xffQ"
    rb"|BM.{4}\0\0\0\0|P[1-7]\s+[#0-9W]|P[fF]\s+[0-9]",
    re.DOTALL,
)
_MAYBE = re.compile(rb"\x89P|\xff|BM|P[1-7fF]\s|.{0,11}\0", re.DOTALL)
_HEAD, _CHUNK = 16, 1 << 16


@dataclass(frozen=True)
class Item:
    """A picture to be looked at.

    Attributes:
        name: As it was given.
        picture: What a Predictor takes; an error where there is none.
        frame: Number of the frame in a video, from 0.
        time: Seconds since the video's beginning.
        per_second: Frames per second of the video.
    """

    name: str
    picture: Any
    frame: int | None = None
    time: float | None = None
    per_second: float | None = None


class Input:
    """Standard input, of which it can be told whether something is there.

    Args:
        stream: Where it comes from; only this reads it.
    """

    name = "standard input"

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._ahead = b""
        try:
            self._fd: int | None = stream.fileno()
        except (OSError, ValueError, AttributeError):  # a buffer
            self._fd = None

    def is_picture(self) -> bool:
        """Whether what comes is a picture, by its first bytes, and no list of names."""
        while len(self._ahead) < _HEAD:
            more = self._some()
            self._ahead += more
            if not more or (b"\n" in more and not _MAYBE.match(self._ahead)):
                break  # a short name
        return _PICTURE.match(self._ahead) is not None

    def read(self, count: int) -> bytes:
        """So many bytes, fewer at the end."""
        parts, size = [self._ahead], len(self._ahead)
        while size < count and (more := self._some()):
            parts.append(more)
            size += len(more)
        data = b"".join(parts)
        self._ahead = data[count:]
        return data[:count]

    def lines(self) -> Iterator[bytes | None]:
        """Lines as they come; None where the next one is not there yet."""
        while True:
            *whole, self._ahead = self._ahead.split(b"\n")
            yield from whole
            if not self._is_there():
                yield None
            more = self._some()
            if not more:
                break
            self._ahead += more
        if self._ahead:
            yield self._ahead

    def _some(self) -> bytes:
        return self._stream.read(_CHUNK) if self._fd is None else os.read(self._fd, _CHUNK)

    def _is_there(self) -> bool:
        if self._fd is None:
            return True
        try:
            return bool(select.select([self._fd], [], [], 0)[0])
        except (OSError, ValueError):  # Windows asks sockets only
            return True


def stands_for_itself(name: str) -> bool:
    """Whether a name means one picture: no folder, pattern, list or video."""
    from mshub_ssd import pictures

    if name == STDIN or is_video(name):
        return False
    if is_store(name):
        return pictures.named_so(name)
    if pictures.is_url(name) or "\0" in name:
        return True
    return not os.path.isdir(name) and (not set(name) & set("*?[") or os.path.lexists(name))  # noqa: PTH112


class Sources:
    """The pictures that a user named.

    Args:
        names: Files, folders, patterns, urls, videos, or ``-``.
        stdin: Where a list comes from, or a picture, for ``-``.
        done: How often each name has its row already; those are left out.

    Raises:
        UsageError: ``-`` is named twice.
    """

    def __init__(
        self,
        names: Sequence[str],
        stdin: Input | None = None,
        *,
        done: Counter[str] | None = None,
    ) -> None:
        if list(names).count(STDIN) > 1:
            raise UsageError("- stands for standard input, which can be read once", hint="name it once")
        self._names, self._stdin = tuple(names), stdin
        self._done = Counter(done)
        self._listed: dict[str, list[str]] = {}  # what stores have said, which is not asked for twice

    def __iter__(self) -> Iterator[tuple[Item, bool] | None]:
        """Each picture, and whether it is to be looked at, or was already; None where the next one is not there yet."""
        for name in self._names:
            if name == STDIN and self._stdin is not None:
                if self._stdin.is_picture():
                    yield self._item(name, self._stdin)
                    continue
                for line in self._stdin.lines():
                    if line is None:
                        yield None
                    elif line.strip():
                        yield from self._meant(os.fsdecode(line.rstrip(b"\r")))
            else:
                yield from self._meant(name)

    def count(self, seconds: float) -> int | None:
        """How many there are, if that can be told in so many seconds.

        Frames of videos are estimated from what their files say.
        """
        from mshub_ssd import pictures

        until, total = time.monotonic() + seconds, 0
        for name in self._names:
            if name == STDIN or is_video(name):
                return None
            try:
                if is_store(name):
                    total += len(self._in_store(name))
                    continue
                for _ in pictures.find(name):
                    total += 1
                    if not total % 256 and time.monotonic() > until:
                        return None
            except (ImageError, TransferError, OfflineError):
                total += 1
        return total

    def _meant(self, name: str) -> Iterator[tuple[Item, bool]]:
        from mshub_ssd import pictures

        try:
            for one in self._in_store(name) if is_store(name) else pictures.find(name):
                if isinstance(one, ImageError):
                    yield self._item(one.where or name, one)
                elif is_video(one) and not pictures.is_url(one):
                    yield from self._frames(one)
                else:
                    yield self._item(one, one)
        except (ImageError, TransferError, OfflineError) as error:
            yield self._item(name, error)

    def _in_store(self, url: str) -> list[str]:
        """The pictures that an address in an object store means: itself, those of a folder, or of a pattern.

        Raises:
            ImageError: There are none.
            TransferError: The store cannot be asked.
            OfflineError: The network is forbidden.
        """
        from mshub_ssd import pictures

        if pictures.named_so(url):
            return [url]
        if url not in self._listed:
            base = url.rstrip("/")
            if set(url) & set("*?["):
                fitting = store.files_at(url)
                found = [url] if fitting is None else pictures.in_order(fitting)
            elif not url.endswith("/") and store.exists(url) is not None:
                found = [url]
            else:
                names = pictures.chosen(one.url[len(base) + 1 :] for one in store.listing(url))
                found = [f"{base}/{name}" for name in names]
            if not found:
                raise ImageError(
                    "there is no picture under this address",
                    where=scrub(url),
                    expected="PNG, JPEG, WebP, …",
                    hint="check it; ** stands for any folders",
                )
            self._listed[url] = found
        return self._listed[url]

    def _frames(self, name: str) -> Iterator[tuple[Item, bool]]:
        key, skipped = scrub(name), 0
        try:
            # What is done was the beginning.
            skipped, self._done[key] = self._done[key], 0
            for frame in frames(name, skipped):
                yield Item(name, frame.picture, frame.number, frame.seconds, frame.per_second), True
        except ImageError as error:
            if not skipped:
                yield Item(name, error), True

    def _item(self, name: str, picture: Any) -> tuple[Item, bool]:
        key = scrub(name)
        if self._done[key]:
            self._done[key] -= 1
            return Item(name, picture), False
        return Item(name, picture), True
