"""Writing the static form of a registry; see `mshub_ssd.registry.static`."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mshub_ssd.cards import parse_card
from mshub_ssd.errors import CardError, UsageError
from mshub_ssd.files import make_folders, new_file, read_regular, unfinished, writing
from mshub_ssd.registry import static
from mshub_ssd.registry.folder import Folder
from mshub_ssd.registry.source import Entry, Lost, Source
from mshub_ssd.registry.static import Part, Root
from mshub_ssd.terminal import Advance

__all__ = ["Built", "build"]

_TRIES = 3  # for cards that are edited meanwhile
_PART = re.compile(r"[0-9a-f]{64}\.part", re.ASCII)


@dataclass
class Built:
    """What was built.

    Attributes:
        out: The folder.
        revision: Of the registry as it is now.
        changed: Whether it was another one before, or none.
        cards: How many it holds.
        bytes: Of the root and all parts that it needs.
        parts: How many of them there are.
        written: How many of them were not there yet.
        written_bytes: Their bytes, and the root's if it changed.
        removed: Parts that were removed since no reader can need them any more.
        unreadable: Cards that cannot be read, and are carried as they are: uid and reason.
        left_out: What is named like a card, or a folder of cards, and could not be carried: place and reason.
    """

    out: Path
    revision: str = ""
    changed: bool = True
    cards: int = 0
    bytes: int = 0
    parts: int = 0
    written: int = 0
    written_bytes: int = 0
    removed: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """All of it, JSON-ready."""
        told = {name: [list(pair) for pair in getattr(self, name)] for name in ("unreadable", "left_out")}
        return {**self.__dict__, "out": str(self.out), **told}


@dataclass(frozen=True, slots=True)
class _Card:
    bits: int
    entry: Entry
    size: int
    stamp: str


class _EditedError(Exception):
    """A card says something else than a moment ago."""


def build(
    source: str | Path | Source, out: str | Path, *, prune: bool = False, advance: Advance | None = None
) -> Built:
    """Write the static form of a folder of cards, or change the one that is there.

    Parts have their digests for names, are written first, and never changed; the root comes last and at once. Whoever
    is killed leaves the registry that was there, and whoever reads meanwhile has the one or the other.

    Args:
        source: The cards.
        out: The folder; made if it is missing.
        prune: Remove parts that neither the new root nor the one before names.
        advance: Called with the number of cards that were read since.

    Raises:
        UsageError: The folder holds another ``index.json``; or the source is no folder.
        CardError: Cards are edited all the time.
        DiskSpaceError: No room.
        TransferError: The folder cannot be written.
    """
    chosen = Folder(source) if isinstance(source, str | Path) else source
    folder = Path(out)
    before = _before(folder)
    with writing(folder, "the registry"):
        make_folders(folder)
        for left in reversed(range(_TRIES)):
            try:
                built = _Build(chosen, folder, before).run(advance or _ignored)
                break
            except _EditedError as error:
                if not left:
                    raise CardError(
                        "a card is edited all the time",
                        where=str(error),
                        expected="cards that stay the same while they are read",
                        hint="build again when it is finished",
                    ) from None
        if prune:
            _prune(built, before)
    return built


class _Build:
    def __init__(self, source: Source, out: Path, before: tuple[bytes, Root] | None) -> None:
        self._source, self._before = source, before
        self.built = Built(out)
        self.named: set[str] = set()

    def run(self, advance: Advance) -> Built:
        built = self.built
        cards = sorted(self._cards(advance), key=lambda card: (card.bits, card.entry.uid))
        parts = []
        for prefix, some in static.split(cards, lambda card: card.bits, lambda card: card.size):
            data = static.encode_shard((card.entry.uid, self._read(card)) for card in some)
            parts.append(self._write(prefix, data))
        pages = [self._write(prefix, data) for prefix, data in static.encode_pages(parts)]
        root = static.encode_root(len(cards), pages or parts, paged=bool(pages))
        built.cards, built.bytes = len(cards), built.bytes + len(root)
        built.revision = static.read_root(root).revision
        built.changed = self._before is None or self._before[0] != root
        if built.changed:
            self._write_root(root)
        return built

    def _cards(self, advance: Advance) -> Iterator[_Card]:
        for found in self._source.entries():
            if isinstance(found, Lost):
                self.built.left_out.append((found.path, found.reason))
                continue
            try:
                text = self._source.read(found)
            except CardError as error:
                self.built.left_out.append((self._source.origin(found), error.message))
                continue
            try:
                parse_card(text, uid=found.uid)
            except CardError as error:
                self.built.unreadable.append((found.uid, error.message))
            advance(1)
            # Texts are read once more rather than kept: a million of them take gigabytes.
            yield _Card(static.bits_of(found.uid), found, len(text), static.stamp_of(text))

    def _read(self, card: _Card) -> bytes:
        try:
            text = self._source.read(card.entry)
        except CardError:
            text = None
        if text is None or static.stamp_of(text) != card.stamp:
            raise _EditedError(self._source.origin(card.entry))
        return text

    def _write(self, prefix: str, data: bytes) -> Part:
        part, built = Part(prefix, hashlib.sha256(data).hexdigest(), len(data)), self.built
        if part.digest in self.named:  # parts without cards
            return part
        self.named.add(part.digest)
        built.parts += 1
        built.bytes += len(data)
        path = built.out / part.name
        if not _holds(path, data):
            make_folders(path.parent)
            with new_file(path, durable=True) as stream:
                stream.write(data)
            built.written += 1
            built.written_bytes += len(data)
        return part

    def _write_root(self, data: bytes) -> None:
        path = self.built.out / static.ROOT
        earlier = -math.inf
        with contextlib.suppress(FileNotFoundError):
            earlier = path.stat().st_mtime
        with new_file(path, durable=True) as stream:
            stream.write(data)
        if earlier > (now := time.time()) - 1:
            # Servers tell two states of a file by the second: this one must be another.
            later = math.floor(max(earlier, now)) + 1
            os.utime(path, (later, later))
        self.built.written_bytes += len(data)


def _ignored(_count: int) -> None:
    """Nobody watches."""


def _holds(path: Path, data: bytes) -> bool:
    try:
        return read_regular(path, len(data)) == data
    except OSError:
        return False


def _before(out: Path) -> tuple[bytes, Root] | None:
    """The root that is there; None if there is none, or one that was damaged.

    Raises:
        UsageError: Something else has its name.
    """
    path = out / static.ROOT
    try:
        data = read_regular(path, static.MAX_ROOT)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _foreign(path, error.strerror or type(error).__name__) from error
    try:
        return data, static.read_root(data)
    except ValueError as error:
        if b'"mshub-registry"' in data and not isinstance(error, static.NewerFormatError):
            return None
        raise _foreign(path, str(error)) from error


def _foreign(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"this folder cannot hold the registry: {reason}",
        where=str(path),
        expected="a folder that is new, empty, or holds such a registry",
        hint=f"choose another folder, or remove {path.name}",
    )


def _prune(built: Built, before: tuple[bytes, Root] | None) -> None:
    kept = {
        digest for root in (_before(built.out), before) if root is not None for digest in _named(built.out, root[1])
    }
    for folder in (built.out / "parts").glob("[0-9a-f][0-9a-f]"):
        for path in list(folder.iterdir()):
            if unfinished(path.name) is not None and path.stat().st_mtime < time.time() - 3600:
                path.unlink()
            elif _PART.fullmatch(path.name) and path.stem not in kept:
                path.unlink()
                built.removed += 1


def _named(out: Path, root: Root) -> Iterator[str]:
    for part in root.parts.all:
        yield part.digest
        if root.paged:
            with contextlib.suppress(FileNotFoundError):
                yield from (one.digest for one in static.read_page(read_regular(out / part.name), part).all)
