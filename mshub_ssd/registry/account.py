"""What there is to tell about each place with cards: how many it has, how many are damaged, and their index."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from mshub_ssd.errors import MshubError
from mshub_ssd.redaction import hide
from mshub_ssd.registry import queries
from mshub_ssd.registry.bucket import Bucket
from mshub_ssd.registry.index import Index, open_index
from mshub_ssd.registry.places import Place, all_places, open_place
from mshub_ssd.registry.rows import Judge
from mshub_ssd.registry.web import Web
from mshub_ssd.settings import Settings

__all__ = ["Account", "accounts"]


@dataclass(frozen=True)
class Account:
    """What there is to tell about a place with cards.

    Attributes:
        place: The place.
        where: It, for people and without secrets.
        kind: ``folder``, ``archive``, ``git``, ``index`` or ``objects``; None where that cannot be told.
        cards: How many cards can be read.
        damaged: Uids of those that cannot, with the reason; a folder's ends in a slash.
        hidden: How many of the cards have a uid that a place before has, too.
        revision: What its source remembers of the last look, where that is one word: the hash of a tree, a revision.
        looked: When the place was last looked at, as a time of day; None where it cannot be used.
        index_bytes: Size of its index; None where that is in memory only.
        error: Why the place cannot be used.
    """

    place: Place
    where: str
    kind: str | None = None
    cards: int = 0
    damaged: tuple[tuple[str, str], ...] = ()
    hidden: int = 0
    revision: str | None = None
    looked: float | None = None
    index_bytes: int | None = None
    error: MshubError | None = None


def accounts(
    settings: Settings, judge: Judge | None = None, *, name: str | None = None, complete: bool = False
) -> Iterator[Account]:
    """Look at the places, one by one; one that cannot be used is an `Account` with its error.

    Args:
        settings: The places.
        judge: As for the registry whose index it is.
        name: Only those of this name.
        complete: Look at every card's place, even where nothing seems to have changed.
    """
    before = list[Index]()
    for place in all_places(settings):
        where = hide(str(place.where))
        if name is not None and place.name != name:
            continue
        try:
            source = open_place(place, settings)
            if complete and isinstance(source, Web | Bucket):
                source.refresh()
            index = open_index(source, settings.homes, judge)
            if complete:
                index.refresh(complete=True)
            hidden = set[str]().union(*(queries.shared(index, one) for one in before))
            before.append(index)
            damaged = tuple(queries.damaged(index))
            yield Account(
                place,
                source.label,
                source.kind,
                cards=queries.count(index),
                damaged=damaged,
                hidden=queries.count(index, hidden),
                revision=index.memo().partition(" ")[0] or None if source.kind in ("git", "index", "objects") else None,
                looked=source.looked() or time.time(),
                index_bytes=index.size(),
            )
        except MshubError as error:
            yield Account(place, where, error=error)
