"""What a source of cards is: a place that says which cards it holds, and gives their bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from mshub_ssd.cards import Card

__all__ = ["Entry", "Lost", "Source", "read_entry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A card in a source.

    Attributes:
        uid: Its path in the source without ``.md``.
        place: Where it is, in the source's own words: a path, a member of an archive, a digest.
        stamp: Another one whenever the card may say something else; empty if it cannot be trusted to be.
    """

    uid: str
    place: str
    stamp: str


@dataclass(frozen=True, slots=True)
class Lost:
    """What is named like a card, or like a folder of cards, and cannot be read.

    Attributes:
        uid: The uid it would have; of a folder, the beginning of its cards' uids, with a slash at the end.
        path: Where it lies.
        reason: Why it cannot be read.
    """

    uid: str
    path: str
    reason: str


class Source(Protocol):
    """A place with cards in it. May be used by many threads.

    Attributes:
        label: What people call it: a path or a url, without secrets.
        key: The same text for the same place, in every process.
    """

    label: str
    key: str

    def entries(self) -> Iterator[Entry | Lost]:
        """Everything that is there, in the order of names.

        Raises:
            MshubError: The source itself cannot be read.
        """

    def memo(self) -> str:
        """What to remember of the last complete look at the `entries`, for `unchanged`."""

    def unchanged(self, memo: str) -> bool:
        """Whether nothing has changed since, as far as that can be told at once; False means: look again."""

    def find(self, uid: str) -> Entry | None:
        """The card of exactly that uid, without looking at the others."""

    def read(self, entry: Entry) -> bytes:
        """A card's bytes.

        Raises:
            CardError: They cannot be had.
        """

    def origin(self, entry: Entry) -> str:
        """Where a card came from: a path or a url, without secrets."""

    def path(self, entry: Entry) -> Path | None:
        """The card's file, if it is one that lies on this machine by itself."""


def read_entry(source: Source, entry: Entry) -> Card:
    """The card of an entry.

    Raises:
        CardError: It cannot be read.
    """
    from mshub_ssd.cards import parse_card, read_card

    path = source.path(entry)
    # A file is read by the door that knows what can be wrong with files.
    card = parse_card(source.read(entry), uid=entry.uid) if path is None else read_card(path, entry.uid)
    return dataclasses.replace(card, origin=source.origin(entry))
