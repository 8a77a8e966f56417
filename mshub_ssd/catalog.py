"""Which models there are, and what each card means: decisions only, nothing is fetched or built here."""

from __future__ import annotations

import datetime
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd import networks
from mshub_ssd.cards.names import version_key
from mshub_ssd.errors import (
    CardError,
    IntegrityError,
    MshubError,
    UnknownModelError,
    UnsupportedFormatError,
    UsageError,
)
from mshub_ssd.files import lies_in
from mshub_ssd.formats import supported_format
from mshub_ssd.registry import default_registry

if TYPE_CHECKING:
    from mshub_ssd.cards import Asset, Card

__all__ = [
    "Choice",
    "Plan",
    "choose_asset",
    "choose_network",
    "find_card",
    "info",
    "list_models",
    "locate",
    "plan",
    "search",
    "size_limit",
]

_log = logging.getLogger(__name__)

# The official client's words for where its cards lie; the cards are part of this library.
_SOURCES = (None, "local", "gitee", "github")


@dataclass(frozen=True)
class Choice:
    """The network a card means.

    Attributes:
        key: Architecture key.
        reason: What in the card says so.
        arguments: Constructor arguments the card gives.
    """

    key: str
    reason: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What loading a card would do; nothing has been done yet.

    Attributes:
        card: The card.
        choice: The network it means.
        asset: The asset to load, None without pretrained weights.
        file_format: Its format, a key of `mshub_ssd.formats.FORMATS`.
    """

    card: Card
    choice: Choice
    asset: Asset | None = None
    file_format: str = ""


def info(name: str) -> Card:
    """The card of a uid or of a card file.

    Raises:
        MshubError: No such card, or one that cannot be read.
    """
    return find_card(name)


def list_models(
    pattern: str = "*",
    *,
    task: str | None = None,
    dataset: str | None = None,
    backbone: str | None = None,
    publisher: str | None = None,
    mindspore_version: str | None = None,
    loadable: bool | None = None,
) -> list[str]:
    """Uids of the models, in natural order (1.9 before 1.10).

    Args:
        pattern: Shell-style pattern on the uid.
        task: E.g. ``object-detection``.
        dataset: Name of a training data set.
        backbone: Name of the backbone.
        publisher: First part of the uid.
        mindspore_version: The card's MindSpore version, e.g. ``"1.10"``.
        loadable: Only models that `load` has a network and a checkpoint for (True), or only the others (False).
    """

    def fits(card: Card) -> bool:
        return _is_loadable(card) is loadable

    return default_registry().list_models(
        pattern,
        task=task,
        dataset=dataset,
        backbone=backbone,
        publisher=publisher,
        mindspore_version=mindspore_version,
        predicate=None if loadable is None else fits,
    )


def search(text: str) -> list[str]:
    """Uids of the models whose cards mention every word of `text`, best first."""
    return default_registry().search(text)


def find_card(name: str, source: str | None = None) -> Card:
    """The card of a uid or of a card file.

    Raises:
        UnknownModelError: No such uid, no such file.
        CardError: The card cannot be read.
        UsageError: `source` is not one of the known words.
    """
    if source not in _SOURCES:
        raise UsageError(
            "unknown source", expected='None, "local", "gitee" or "github"', got=repr(source), hint="leave it out"
        )
    if not isinstance(name, str | Path):
        raise UsageError("a model is named by text", expected="a uid or the path of a card", got=repr(type(name)))
    path = _card_file(name)
    looks_like_path = isinstance(name, Path) or name.endswith(".md")
    if source == "local" or (source is None and looks_like_path and path is not None):
        if path is None:
            raise UnknownModelError("no such card file", where=str(name), hint="give the path of a .md file")
        # Listing goes through this module and needs no parser.
        from mshub_ssd.cards import read_card

        return read_card(path)
    return default_registry().card(str(name))


def _card_file(name: str | Path) -> Path | None:
    """The file of that name, if there is one; what is there and cannot be read is told by whoever reads it."""
    try:
        path = Path(name).expanduser()
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, RuntimeError, ValueError):  # RuntimeError: ~ of nobody
        return None
    except OSError as error:
        # Too long for a name, or below a folder that may not be entered: a uid, unless it is surely a path.
        _log.debug("no card file: %r: %s", name, error.strerror)
        return None
    return None if path.is_dir() else path


def plan(card: Card, *, pretrained: bool = True) -> Plan:
    """Decide what loading the card means, without touching network, weights or MindSpore.

    Raises:
        UnknownModelError: The card means no network that is known here.
        UnsupportedFormatError: None of its assets can be loaded.
        IntegrityError: The asset has no digest.
    """
    choice = choose_network(card)
    if not pretrained:
        return Plan(card, choice)
    asset, file_format = choose_asset(card)
    return Plan(card, choice, asset, file_format)


def choose_network(card: Card) -> Choice:
    """Which network a card means, from the surest sign to the weakest.

    In this order: its ``network:`` key; the uid's last part before the data set, with the publisher before it and
    without; the asset's file name; the backbone's name, or the model's name where the backbone's name bears it out.
    The model's name alone proves nothing: published cards of five different networks say ``ssd300``.

    Raises:
        UnknownModelError: None of them names a known network.
    """
    if card.network is not None:
        key = networks.require(card.network.name)
        return Choice(key, "the card's `network:`", dict(card.network.arguments))
    publisher, _, last = card.uid.rpartition("/")
    publisher = publisher.split("/")[0]
    for text, before, reason in [
        # OpenMMLab's SSD300 is another network than the zoo's.
        *([(last, publisher, f"the uid's {last!r} with its publisher {publisher!r}")] if publisher else []),
        (last, "", f"the uid's {last!r}"),
        *((_file_stem(asset.url), "", f"the asset's file name {_file_stem(asset.url)!r}") for asset in card.assets),
    ]:
        found = _leading_key(text, before)
        if found:
            return Choice(found, reason)
    named = _named_key(card)
    if named:
        return Choice(*named)
    raise UnknownModelError(
        f"the card {card.uid} does not say which network it means, or means one that is not known here",
        where=str(card.path or card.uid),
        expected=", ".join(networks.names()),
        got=f"model-name {card.model_name!r}, backbone-name {card.backbone_name!r}",
        hint="add `network: <one of these>` to the card, or register the network with mshub_ssd.register_network",
    )


def choose_asset(card: Card) -> tuple[Asset, str]:
    """The asset to load, and its format: the first one that can be loaded.

    Raises:
        UnsupportedFormatError: The card has none; names the newest sibling that has one.
        IntegrityError: The card gives no digest for it.
    """
    try:
        return _first_asset(card)
    except UnsupportedFormatError as error:
        sibling = _sibling(card)
        if sibling is not None:
            error.hint = f"load {sibling.uid}, the same network with a checkpoint; {error.hint}"
        raise


def size_limit(card: Card) -> int | None:
    """Most bytes that the card's checkpoint can have, going by its network; None where that is not known."""
    try:
        choice = choose_network(card)
    except UnknownModelError:
        return None
    return None if choice.arguments or card.classes else networks.largest_checkpoint(choice.key)


def locate(card: Card, asset: Asset) -> Path | str:
    """Where an asset lies: its url, or the path of a file in the card's folder; nothing is opened.

    Raises:
        CardError: Neither; or it leads out of the card's folder, by its name or by a symbolic link.
    """
    target = card.resolve(asset)
    if isinstance(target, str):
        return target
    folder = target.parent if card.path is None else card.path.parent
    if not lies_in(target, folder):
        raise CardError(
            "the asset-link leads out of the card's folder",
            where=str(card.path),
            expected=f"a file below {folder}",
            got=f"{asset.url}, which is {os.path.realpath(target)}",
            hint="put the file beside its card",
        )
    return target


def _first_asset(card: Card) -> tuple[Asset, str]:
    if not card.assets:
        raise UnsupportedFormatError(
            f"the card {card.uid} names no checkpoint",
            where=str(card.path or card.uid),
            expected="an `asset:` with link and sha256",
            hint="load it without weights: pretrained=False",
        )
    refusal: UnsupportedFormatError | None = None
    for asset in card.assets:
        try:
            file_format = supported_format(asset.file_format, asset.url)
        except UnsupportedFormatError as error:
            refusal = refusal or error
            continue
        if not asset.sha256:
            raise IntegrityError(
                f"the card {card.uid} gives no digest for its checkpoint, so it cannot be verified",
                where=str(card.path or card.uid),
                expected="asset-sha256: 64 hex digits",
                hint="add the digest of a file you trust: sha256sum FILE",
            )
        return asset, file_format
    assert refusal is not None  # the loop ran at least once
    raise refusal


def _sibling(card: Card) -> Card | None:
    """The newest card of the very same network whose checkpoint can be loaded."""
    try:
        wanted = _kind(card)
    except UnknownModelError:
        return None
    found = [other for other in default_registry().cards() if _is_loadable(other) and _kind(other) == wanted]
    return max(reversed(found), key=_age, default=None)


def _kind(card: Card) -> tuple[Any, ...]:
    """Equal for cards of one network; with arguments and classes, for a COCO card is no help to somebody's digits."""
    choice = choose_network(card)
    return choice.key, dict(choice.arguments), card.classes


def _age(card: Card) -> tuple[datetime.date, tuple[object, ...]]:
    """Sorting key, the newest last; cards of one age keep their order."""
    return card.update_time or datetime.date.min, version_key(card.mindspore_version or card.model_version or "")


def _is_loadable(card: Card) -> bool:
    try:
        choose_network(card)
        _first_asset(card)
    except MshubError as error:
        _log.debug("%s is not loadable: %s", card.uid, error.message)
        return False
    return True


def _leading_key(text: str, before: str = "") -> str | None:
    """The architecture whose key is `before` and the first words of `text`; the longest match wins."""
    words = text.split("_")
    for count in range(len(words), 0, -1):
        key = networks.find(before + "".join(words[:count]))
        if key:
            return key
    return None


def _named_key(card: Card) -> tuple[str, str] | None:
    by_backbone = networks.find(card.backbone_name or "")
    if by_backbone:
        return by_backbone, f"the backbone's name {card.backbone_name!r}"
    # GhostNet_SSD and ssd_ghostnet are the same words; ghostnet1.3x bears the name out.
    root = re.match(r"[a-z]*", networks.normal(card.backbone_name or ""))
    words = sorted(re.split(r"[_-]", (card.model_name or "").lower()))
    fits = [
        key
        for key in networks.names()
        if sorted(re.split(r"[_-]", key.lower())) == words
        and root
        and len(root[0]) > len("ssd")
        and root[0] in networks.normal(key)
    ]
    if len(fits) == 1:
        return fits[0], f"the model's name {card.model_name!r} with backbone {card.backbone_name!r}"
    return None


def _file_stem(url: str) -> str:
    return url.split("?")[0].rsplit("/", 1)[-1].rsplit(".", 1)[0]
