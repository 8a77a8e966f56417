"""What arguments a network's constructor takes, told without NumPy and MindSpore."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = [
    "CHANNELS",
    "MOBILENET_V2_BLOCKS",
    "MOBILE_EXTRAS",
    "MOBILE_TAPS",
    "NAME",
    "SWITCH",
    "Fault",
    "Kind",
    "Relations",
    "listed",
    "mobilenet_v2_relations",
    "real",
    "row",
    "whole",
]

_MAX_LISTED = 10_000


@dataclass(frozen=True)
class Kind:
    """What values an argument may have.

    Attributes:
        text: In words, to go on behind "expected".
        accepts: Whether a value, as a card gives it, is one of them.
    """

    text: str
    accepts: Callable[[object], bool]


class Fault(NamedTuple):
    """What is wrong with one argument.

    Attributes:
        argument: Its name.
        message: In one line, with the value.
        expected: What it should be.
        got: What it is.
        hint: What to do about it.
    """

    argument: str
    message: str
    expected: str
    got: str
    hint: str = "correct the card's `network:`"


def whole(low: int = 1, high: int = 100_000) -> Kind:
    """A whole number."""

    def accepts(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return Kind(f"a whole number from {low} to {high}", accepts)


def real(low: float = 0, high: float = 1, *, above: bool = False) -> Kind:
    """A number from `low`, or above it, up to `high`."""

    def accepts(value: object) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        return low < value <= high or (value == low and not above)

    return Kind(f"a number {'above' if above else 'from'} {low:g}, up to {high:g}", accepts)


def row(names: str, *columns: Kind) -> Kind:
    """A list of so many values, each of its own kind; the names say what they are."""

    def accepts(value: object) -> bool:
        if not isinstance(value, list | tuple) or len(value) != len(columns):
            return False
        return all(kind.accepts(item) for kind, item in zip(columns, value, strict=True))

    return Kind(f"[{names}]", accepts)


def listed(item: Kind, *, least: int = 0, optional: bool = False) -> Kind:
    """A list of values of one kind; where it is optional, null instead."""

    def accepts(value: object) -> bool:
        if value is None:
            return optional
        if not isinstance(value, list | tuple) or not least <= len(value) <= _MAX_LISTED:
            return False
        return all(map(item.accepts, value))

    return Kind(f"a list, each item {item.text}", accepts)


SWITCH = Kind("true or false", lambda value: isinstance(value, bool))
NAME = Kind("a text", lambda value: isinstance(value, str | int | float) and str(value).strip() != "")
CHANNELS = whole(1, 65_536)

Relations = Callable[[Mapping[str, Any]], Iterator[Fault]]

MOBILENET_V2_BLOCKS: tuple[tuple[int, int, int, int], ...] = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""(expansion, channels, repeats, stride of the first) of table 2 of https://arxiv.org/abs/1801.04381."""

MOBILE_EXTRAS = ((512, 0.2), (256, 0.25), (256, 0.5), (128, 0.25))
"""(channels, hidden width / input width) of the further levels behind a mobile backbone."""

MOBILE_TAPS = ((13, 576),)
"""(layer, channels) of the first level's output."""


def mobilenet_v2_relations(arguments: Mapping[str, Any]) -> Iterator[Fault]:
    """What must agree between the arguments of ``ssd_mobilenetV2``, each of them sound alone."""
    blocks: Sequence[Sequence[int]] = arguments.get("blocks", MOBILENET_V2_BLOCKS)
    layers = 1 + sum(repeats for _, _, repeats, _ in blocks)
    taps: Sequence[Sequence[int]] = arguments.get("taps", MOBILE_TAPS)
    tapped = [layer for layer, _ in taps]
    if tapped != sorted(set(tapped)) or any(layer >= layers for layer in tapped):
        yield Fault(
            "taps",
            f"taps names layers that the blocks do not have, or not in ascending order: {tapped}",
            f"ascending numbers from 0 to {layers - 1}",
            repr(tapped),
        )
    width = arguments.get("last_channels", 1280)
    extras: Sequence[Sequence[float]] = arguments.get("extras", MOBILE_EXTRAS)
    for channels, ratio in extras:
        if round(width * ratio) < 1:
            yield Fault(
                "extras", f"extras leaves a level without channels inside: {ratio:g}", "a larger ratio", f"{ratio:g}"
            )
        width = channels
    sizes = arguments.get("box_sizes")
    levels = len(taps) + 1 + len(extras)
    if sizes is not None and len(sizes) != levels:
        yield Fault(
            "box_sizes",
            f"box_sizes has {len(sizes)} levels, and the network {levels}",
            f"{levels} lists: one per tap, one for the last layer, one per extra",
            f"{len(sizes)} lists",
        )
