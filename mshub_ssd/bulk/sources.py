"""What names mean: files, folders, patterns, urls, lists and videos, as one stream of pictures."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from mshub_ssd import store
from mshub_ssd.bulk.video import frames, is_video
from mshub_ssd.errors import ImageError, OfflineError, TransferError, UsageError
from mshub_ssd.redaction import scrub
from mshub_ssd.schemes import is_store

__all__ = ["STDIN", "Item", "Sources", "first_of", "stands_for_itself"]

STDIN = "-"

# How pictures begin. What follows `BM` and `P6` is no name of a file either.
_PICTURE = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|II\*\0|MM\0\*|II\+\0|....ftyp|\0\0\0\x0cjP|\xffO\xffQ"
    rb"|BM.{4}\0\0\0\0|P[1-7]\s+[#0-9W]|P[fF]\s+[0-9]",
    re.DOTALL,
)
_HEAD = 16


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


class _Rest:
    """A stream whose first bytes have been read already; only what reading a picture takes."""

    name = "standard input"

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head, self._stream = head, stream

    def read(self, count: int) -> bytes:
        head, self._head = self._head, b""
        return head + self._stream.read(count - len(head))


def first_of(stream: BinaryIO) -> tuple[Any | None, bytes]:
    """Tell a picture on standard input from a list of names, by its first bytes.

    Args:
        stream: Where it comes from.

    Returns:
        The picture as a stream, or None and the beginning of the list.
    """
    head = b""
    while len(head) < _HEAD and (more := stream.read(1)):
        head += more
        if more == b"\n" and not re.match(rb"\x89P|\xff|BM|P[1-7fF]\s|.{0,11}\0", head, re.DOTALL):
            break  # a short name
    return (_Rest(head, stream), b"") if _PICTURE.match(head) else (None, head)


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
        stdin: Where a list comes from, for ``-``.
        head: What was read of it already.
        picture: The picture on standard input, if it is one.
        done: How often each name has its row already; those are left out.

    Raises:
        UsageError: ``-`` is named twice.
    """

    def __init__(
        self,
        names: Sequence[str],
        stdin: BinaryIO | None = None,
        *,
        head: bytes = b"",
        picture: Any = None,
        done: Counter[str] | None = None,
    ) -> None:
        if list(names).count(STDIN) > 1:
            raise UsageError("- stands for standard input, which can be read once", hint="name it once")
        self._names, self._stdin, self._head, self._picture = tuple(names), stdin, head, picture
        self._done = Counter(done)
        self._listed: dict[str, list[str]] = {}  # what stores have said, which is not asked for twice

    def __iter__(self) -> Iterator[tuple[Item, bool]]:
        """Each picture, and whether it is to be looked at, or was already."""
        for name in self._names:
            if name == STDIN and self._picture is not None:
                yield self._item(name, self._picture)
            elif name == STDIN:
                for line in self._lines():
                    yield from self._meant(line)
            else:
                yield from self._meant(name)

    def count(self, seconds: float) -> int | None:
        """How many there are, if that can be told in so many seconds.

        Frames of videos are estimated from what their files say.
        """
        from mshub_ssd import pictures

        until, total = time.monotonic() + seconds, 0
        for name in self._names:
            if name == STDIN and self._picture is None:
                return None
            if is_video(name):
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

    def _lines(self) -> Iterator[str]:
        assert self._stdin is not None
        for line in _split(self._head, self._stdin):
            name = os.fsdecode(line.rstrip(b"\r\n"))
            if name.strip():
                yield name


def _split(head: bytes, stream: BinaryIO) -> Iterable[bytes]:
    """Lines as they come; the first ones have been read in part."""
    *whole, rest = head.split(b"\n")
    yield from whole
    yield rest + stream.readline()
    yield from iter(stream.readline, b"")
