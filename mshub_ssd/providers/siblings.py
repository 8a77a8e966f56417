"""What to load instead of a card that cannot be: another card of the very same network."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterable

from mshub_ssd.cards import Card, version_key
from mshub_ssd.errors import UnknownModelError
from mshub_ssd.providers.planning import choose_network, standing

__all__ = ["is_loadable", "sibling"]

_log = logging.getLogger(__name__)


def is_loadable(card: Card) -> bool:
    """Whether a card can be loaded; why not is in the log."""
    error = standing(card).error
    if error is not None:
        _log.debug("%s is not loadable: %s", card.uid, error.message)
    return error is None


def sibling(card: Card, cards: Iterable[Card]) -> Card | None:
    """The newest loadable card of the network that this one means; None if it means none, or there is no other.

    Args:
        card: Any card.
        cards: Those to choose from; not looked at where the card means no network.
    """
    try:
        wanted = _kind(card)
    except UnknownModelError:
        return None
    found = [other for other in cards if is_loadable(other) and _kind(other) == wanted]
    return max(reversed(found), key=_age, default=None)


def _kind(card: Card) -> tuple[object, ...]:
    # With arguments and classes, for a COCO card is no help to somebody's digits.
    recipe = choose_network(card)
    return recipe.key, recipe.arguments, recipe.classes


def _age(card: Card) -> tuple[object, ...]:
    version = card.mindspore_version or card.model_version or ""
    return card.update_time or datetime.date.min, version_key(version)
