"""What loading a card means, decided from its text: nothing is fetched, opened or built here."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd import networks
from mshub_ssd.errors import (
    CardError,
    IntegrityError,
    MissingDependencyError,
    MshubError,
    UnknownModelError,
    UnsupportedFormatError,
    is_installed,
)
from mshub_ssd.files import lies_in
from mshub_ssd.formats import supported_format
from mshub_ssd.providers import packages, plugins, repository
from mshub_ssd.providers.building import check_code
from mshub_ssd.providers.recipes import Code, Recipe

if TYPE_CHECKING:
    from mshub_ssd.cards import Asset, Card

__all__ = [
    "Checkpoint",
    "Doubt",
    "Obstacle",
    "Plan",
    "Standing",
    "candidates",
    "checkpoint_of",
    "choose_asset",
    "choose_checkpoint",
    "choose_network",
    "code_of",
    "doubts",
    "obstacles",
    "plan",
    "standing",
]


@dataclass(frozen=True)
class Checkpoint:
    """The file that fills a network, and what it must be.

    Attributes:
        location: Its url, which may hold a password; or the absolute path of a file in the card's folder.
        sha256: Hex digits of its digest, 64 or the first 8 or more of them.
        size: Its number of bytes; None where the card does not say.
        format: Key of `mshub_ssd.formats`.
        label: What it is for: the card's uid.
        max_bytes: Most bytes that it can have, going by its network; None where that is not known.
    """

    location: str = field(repr=False)
    sha256: str
    size: int | None
    format: str
    label: str = ""
    max_bytes: int | None = None

    @property
    def path(self) -> Path | None:
        """The file in the card's folder, None for a url."""
        return Path(self.location) if os.path.isabs(self.location) else None  # noqa: PTH117


@dataclass(frozen=True)
class Plan:
    """What loading a card would do; nothing has been done yet.

    Attributes:
        card: The card.
        recipe: The network it means; where the checkpoint has to decide, the first candidate.
        checkpoint: What fills it; None without pretrained weights.
        doubts: What the card hardly means.
        others: The other candidates.
    """

    card: Card
    recipe: Recipe
    checkpoint: Checkpoint | None = None
    doubts: tuple[Doubt, ...] = ()
    others: tuple[Recipe, ...] = ()


@dataclass(frozen=True)
class Obstacle:
    """Why a card cannot be loaded, and what in it is to blame.

    Attributes:
        field: The card's field, written as in `Card.spans`; it need not be there.
        error: What `plan` raises.
    """

    field: str
    error: MshubError


@dataclass(frozen=True)
class Doubt:
    """Something that loading a card would do, and that the card hardly means.

    Attributes:
        field: The card's field, written as in `Card.spans`.
        message: What is odd, in one line.
        hint: What to do about it.
    """

    field: str
    message: str
    hint: str


@dataclass(frozen=True)
class Standing:
    """Whether a card can be loaded here, and as what.

    Attributes:
        key: Architecture key, None if the card means none that is known.
        reason: What in the card says so.
        error: Why it cannot be loaded; None if it can.
        recipe: The network, where it is known.
    """

    key: str | None = None
    reason: str | None = None
    error: MshubError | None = None
    recipe: Recipe | None = None

    @property
    def obstacle(self) -> str | None:
        """Why it cannot be loaded, in one sentence; None if it can."""
        return None if self.error is None else self.error.message

    @property
    def hint(self) -> str | None:
        """What would help."""
        return None if self.error is None else self.error.hint


def plan(card: Card, *, pretrained: bool = True) -> Plan:
    """Decide what loading the card means.

    Raises:
        UnknownModelError: The card means no network that is known here.
        UnsupportedFormatError: None of its assets can be loaded.
        IntegrityError: The asset has no digest.
        CardError: The network takes no such arguments as the card gives; or the asset's link is neither a url nor a
            file in the card's folder.
    """
    for obstacle in obstacles(card, pretrained=pretrained):
        raise obstacle.error
    recipe, *others = candidates(card)
    checkpoint = choose_checkpoint(card) if pretrained else None
    return Plan(card, recipe, checkpoint, tuple(doubts(card, recipe)), tuple(others))


def obstacles(card: Card, *, pretrained: bool = True) -> Iterator[Obstacle]:
    """All that keeps a card from being loaded, as far as its text tells; the first is what `plan` raises."""
    try:
        recipe = choose_network(card)
    except UnknownModelError as error:
        yield Obstacle("network", error)
    else:
        if recipe.code is None and not recipe.provider:
            yield from _argument_obstacles(card, recipe)
        elif recipe.level == "package":
            try:
                check_code(recipe)
            except MissingDependencyError as error:
                yield Obstacle("network", error)
    if not pretrained:
        return
    field = "asset"
    try:
        index, file_format = _first_loadable(card)
        field = f"asset[{index}].asset-sha256"
        _check_digest(card, card.assets[index])
        field = f"asset[{index}].asset-link"
        checkpoint_of(card, card.assets[index], file_format)
    except MshubError as error:
        yield Obstacle(field, error)


def doubts(card: Card, recipe: Recipe) -> Iterator[Doubt]:
    """What loading the card would do, and the card hardly means."""
    spec = networks.NETWORKS.get(recipe.key)
    names = recipe.classes if recipe.classes is not None else recipe.arguments.get("classes")
    if spec is not None and names is None and card.datasets:
        standard = recipe.arguments.get("num_classes", spec.num_classes) == spec.num_classes
        kind = re.match("[a-z]*", spec.classes)
        if standard and kind and not any(kind[0] in networks.normal(name) for name in card.datasets):
            yield Doubt(
                "train-dataset",
                f"the classes are named after {spec.classes}, and train-dataset is {', '.join(card.datasets)[:80]}",
                "name the classes: classes: [...]; or correct train-dataset",
            )
    if names is not None and len(set(names)) < len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        field = "classes" if recipe.classes is not None else "network.classes"
        yield Doubt(field, f"two classes are called {str(twice)[:60]!r}", "give every class a name of its own")
    if spec is not None:
        yield from _contradictions(card, recipe, spec)
    publisher = card.uid.split("/")[0] if "/" in card.uid else ""
    for index, asset in enumerate(card.assets):
        stem = _file_stem(asset.url)
        named = {networks.find_leading(stem, publisher), networks.find_leading(stem)} - {None}
        if named and recipe.key not in named:
            message = f"the file is named after {sorted(map(str, named))[0]}, and the card means {recipe.key}"
            yield Doubt(f"asset[{index}].asset-link", message, "link the file of this model, or correct `network:`")


def _contradictions(card: Card, recipe: Recipe, spec: networks.NetworkSpec) -> Iterator[Doubt]:
    """Where a card describes another kind of network than the one it means."""
    task = "image-classification" if spec.family == "classifier" else "object-detection"
    from mshub_ssd.cards import told_task

    told = told_task(card.module_type)
    if told != task and told in ("image-classification", "object-detection"):
        message = f"module-type says {told}, and {recipe.key} is for {task}"
        yield Doubt("module-type", message, "correct module-type, or `network:`")
    size = recipe.arguments.get("image_size", spec.image_size)
    sizes = (224, 180) if recipe.key in ("sppnet_mult", "sppnet_single") else (size,)
    shape = card.input_shape or ()
    if shape and all(isinstance(side, int) for side in shape) and shape not in [(3, side, side) for side in sizes]:
        message = f"input-shape is {str(list(shape))[:60]}, and {recipe.key} takes [3, {size}, {size}]"
        yield Doubt("input-shape", message, f"write [3, {size}, {size}], or correct `network:`")


def standing(card: Card) -> Standing:
    """Whether a card can be loaded, without an error; of a file beside the card, only that it is there is looked at."""
    found = next(obstacles(card), None)
    try:
        recipe = choose_network(card)
    except UnknownModelError as error:
        return Standing(error=error)
    if found is not None:
        return Standing(recipe.key, recipe.reason, found.error, recipe)
    path = choose_checkpoint(card).path
    if path is None or path.is_file():
        return Standing(recipe.key, recipe.reason, None, recipe)
    missing = IntegrityError(
        "the file beside the card is not there", where=str(path), hint="put it there, or correct the card's asset-link"
    )
    return Standing(recipe.key, recipe.reason, missing, recipe)


def choose_network(card: Card) -> Recipe:
    """Which network a card means: the first of its `candidates`.

    Raises:
        UnknownModelError: There is none.
    """
    return candidates(card)[0]


def candidates(card: Card) -> list[Recipe]:
    """The networks that a card may mean, the most trusted code first; its checkpoint decides.

    A network of this library, or one that was registered, is the only one: see `_own_network`. Then come packages, and
    the repository that the card links. Nothing is imported. A card's ``network:`` may name one of these by its key.

    Raises:
        UnknownModelError: There is none.
    """
    named = None if card.network is None else card.network.name
    if named is None or ":" not in named:
        try:
            return [_own_network(card)]
        except UnknownModelError:
            if named is not None:
                raise
    found = [*plugins.candidates(card), *packages.candidates(card), *repository.candidates(card)]
    if named is not None and card.network is not None:
        arguments = dict(card.network.arguments)
        found = [dataclasses.replace(recipe, arguments=arguments) for recipe in found if recipe.key == named]
    if not found:
        raise _unknown(card)
    # Code that is not here comes after code that is.
    return sorted(found, key=lambda recipe: recipe.level == "package" and not is_installed(_package(recipe)))


def code_of(card: Card) -> tuple[Code, ...]:
    """The folders of repositories that a card's network may be code of: none, or what its candidates name."""
    try:
        found = [recipe.code for recipe in candidates(card) if recipe.level == "repository"]
    except UnknownModelError:
        return ()
    return tuple(dict.fromkeys(code for code in found if code is not None))


def _own(key: str, reason: str, arguments: dict[str, Any], classes: tuple[str, ...] | None) -> Recipe:
    return Recipe(key, reason, arguments, classes, "builtin" if key in networks.NETWORKS else "user")


def _package(recipe: Recipe) -> str:
    return "" if recipe.code is None else recipe.code.name


def _unknown(card: Card) -> UnknownModelError:
    return UnknownModelError(
        f"the card {card.uid} does not say which network it means, or means one that is not known here",
        where=card.place,
        expected=", ".join(networks.names()),
        got=f"model-name {card.model_name!r}, backbone-name {card.backbone_name!r}",
        hint="add `network: <one of these>` to the card, or register the network with mshub_ssd.register_network",
    )


def _own_network(card: Card) -> Recipe:
    """Which network of this library or of the user's a card means, from the surest sign to the weakest.

    In this order: its ``network:`` key; the uid's last part before the data set, with the publisher before it and
    without; the asset's file name; the backbone's name, or the model's name where the backbone's name bears it out.
    The model's name alone proves nothing: published cards of five different networks say ``ssd300``.

    Raises:
        UnknownModelError: None of them names a known network.
    """
    if card.network is not None:
        key = networks.require(card.network.name)
        return _own(key, "the card's `network:`", dict(card.network.arguments), card.classes)
    publisher, _, last = card.uid.rpartition("/")
    publisher = publisher.split("/")[0]
    for text, before, reason in [
        # OpenMMLab's SSD300 is another network than the zoo's.
        *([(last, publisher, f"the uid's {last!r} with its publisher {publisher!r}")] if publisher else []),
        (last, "", f"the uid's {last!r}"),
        *((_file_stem(asset.url), "", f"the asset's file name {_file_stem(asset.url)!r}") for asset in card.assets),
    ]:
        found = networks.find_leading(text, before)
        if found:
            return _own(found, reason, {}, card.classes)
    named = _named_key(card)
    if named:
        return _own(*named, {}, card.classes)
    raise _unknown(card)


def choose_checkpoint(card: Card) -> Checkpoint:
    """The checkpoint to load, see `choose_asset` and `checkpoint_of`.

    Raises:
        UnsupportedFormatError, IntegrityError, CardError: As those do.
    """
    asset, file_format = choose_asset(card)
    return checkpoint_of(card, asset, file_format)


def choose_asset(card: Card) -> tuple[Asset, str]:
    """The asset to load, and its format: the first one that can be loaded.

    Raises:
        UnsupportedFormatError: The card has none.
        IntegrityError: The card gives no digest for it, or one that is none.
    """
    index, file_format = _first_loadable(card)
    _check_digest(card, card.assets[index])
    return card.assets[index], file_format


def _first_loadable(card: Card) -> tuple[int, str]:
    """The number of the first asset that can be loaded, and its format."""
    if not card.assets:
        raise UnsupportedFormatError(
            f"the card {card.uid} names no checkpoint",
            where=card.place,
            expected="an `asset:` with link and sha256",
            hint="load it without weights: pretrained=False",
        )
    refusals: list[UnsupportedFormatError] = []
    for index, asset in enumerate(card.assets):
        try:
            return index, supported_format(asset.file_format, asset.url)
        except UnsupportedFormatError as error:
            refusals.append(error)
    raise refusals[0]


def _check_digest(card: Card, asset: Asset) -> None:
    if asset.sha256_digits is None:
        raise IntegrityError(
            f"the card {card.uid} gives no digest for its checkpoint, so it cannot be verified",
            where=card.place,
            expected="asset-sha256: 64 hex digits",
            got=repr(asset.sha256)[:100] if asset.sha256 else None,
            hint="add the digest of a file you trust: sha256sum FILE",
        )


def checkpoint_of(card: Card, asset: Asset, file_format: str = "") -> Checkpoint:
    """Where an asset lies and what it must be; nothing is opened.

    Raises:
        CardError: Its link is neither a url nor the path of a file, or leads out of the card's folder, by its name or
            by a symbolic link.
    """
    target = card.resolve(asset)
    if isinstance(target, Path):
        folder = target.parent if card.path is None else card.path.parent
        if not lies_in(target, folder):
            raise CardError(
                "the asset-link leads out of the card's folder",
                where=str(card.path),
                expected=f"a file below {folder}",
                got=f"{asset.url}, which is {os.path.realpath(target)}",
                hint="put the file beside its card",
            )
        target = os.path.abspath(target)
    return Checkpoint(target, asset.sha256 or "", asset.size, file_format, card.uid, _size_limit(card))


def _size_limit(card: Card) -> int | None:
    """Most bytes that the card's checkpoint can have, going by its network; None where that is not known."""
    try:
        recipe = choose_network(card)
    except UnknownModelError:
        return None
    return None if recipe.arguments or recipe.classes else networks.largest_checkpoint(recipe.key)


def _argument_obstacles(card: Card, recipe: Recipe) -> Iterator[Obstacle]:
    for fault in networks.argument_faults(recipe.key, recipe.arguments, recipe.classes):
        error = CardError(
            fault.message,
            where=card.place,
            expected=fault.expected,
            got=fault.got,
            hint=fault.hint,
        )
        if fault.argument == "classes" and recipe.classes is not None:
            field = "classes"
        elif fault.argument in networks.NETWORKS[recipe.key].arguments:
            field = f"network.{fault.argument}"
        else:
            field = f"network.{fault.argument}:key"
        yield Obstacle(field, error)


def _named_key(card: Card) -> tuple[str, str] | None:
    by_backbone = networks.find(card.backbone_name or "")
    if by_backbone:
        return by_backbone, f"the backbone's name {card.backbone_name!r}"
    # GhostNet_SSD and ssd_ghostnet are the same words; ghostnet1.3x bears the name out.
    root = re.match(r"[a-z]*", networks.normal(card.backbone_name or ""))
    if root is None or len(root[0]) <= len("ssd"):
        return None
    words = sorted(re.split(r"[_-]", (card.model_name or "").lower()))
    named = [key for key in networks.names() if root[0] in networks.normal(key)]
    fits = [key for key in named if sorted(re.split(r"[_-]", key.lower())) == words]
    if len(fits) == 1:
        return fits[0], f"the model's name {card.model_name!r} with backbone {card.backbone_name!r}"
    return None


def _file_stem(url: str) -> str:
    return url.split("?")[0].rsplit("/", 1)[-1].rsplit(".", 1)[0]
