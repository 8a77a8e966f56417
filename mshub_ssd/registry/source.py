"""What a source of cards is: a place that says which cards it holds, and gives their bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from mshub_ssd.cards import Card

__all__ = ["ENDINGS", "OFFICIAL", "TICK", "Entry", "Lost", "Source", "read_entry", "read_with_text"]

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz")
"""How the names of archives end."""

OFFICIAL = "mshub_res/assets"
"""Where the official hub has its cards."""

TICK = 2_000_000_000
"""Nanoseconds in which a file may change twice and keep its times."""


class Entry(NamedTuple):
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
        kind: ``folder``, ``archive``, ``git``, ``index`` or ``objects``.
        label: What people call it: a path or a url, without secrets.
        key: The same text for the same place, in every process.
    """

    kind: str
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

    def looked(self) -> float | None:
        """The time of the look that `unchanged` or `entries` answered with last, where that may be an earlier one."""

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

    def close(self) -> None:
        """Let go of what is kept for reading many cards; it can be used as before."""


def read_entry(source: Source, entry: Entry) -> Card:
    """The card of an entry.

    Raises:
        CardError: It cannot be read.
    """
    return read_with_text(source, entry)[0]


def read_with_text(source: Source, entry: Entry) -> tuple[Card, bytes]:
    """The card of an entry, and the bytes it was read from.

    Raises:
        CardError: It cannot be read.
    """
    from mshub_ssd.cards import parse_card

    data = source.read(entry)
    return parse_card(data, uid=entry.uid, path=source.path(entry), origin=source.origin(entry)), data
