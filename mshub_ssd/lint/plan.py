"""What loading a card would do, as the rules need to know it; whoever knows networks and files works it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mshub_ssd.cards import Card

__all__ = ["CardPlan", "Planner", "Remark"]


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about the plan of a card that the card tells.

    Attributes:
        field: The field to blame, written as in `Card.spans`: ``network.num_classes``, ``asset[0].asset-sha256``, with
            ``:key`` behind it for its name; of one that is not there, the nearest part that is.
        message: What is wrong, in one line.
        hint: What to do about it.
    """

    field: str
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class CardPlan:
    """What loading a card would do.

    Attributes:
        network: Key of the network that the card means; None where it means none that is known here.
        obstacles: Why `load` would refuse.
        doubts: What `load` would do, and the card hardly means.
    """

    network: str | None = None
    obstacles: tuple[Remark, ...] = ()
    doubts: tuple[Remark, ...] = ()


Planner = Callable[[Card], CardPlan]
"""Works the plan of a card out; must bear being sent to another process."""
