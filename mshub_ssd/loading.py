"""From a name to a network: uid or card file → plan → verified file → arrays → Cell."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd import checkpoints, networks, runtime, store
from mshub_ssd.cards import Asset, Card, read_card
from mshub_ssd.errors import (
    CardError,
    IntegrityError,
    MshubError,
    UnknownModelError,
    UnsupportedFormatError,
    UsageError,
)
from mshub_ssd.registry import default_registry

if TYPE_CHECKING:
    import mindspore
    from mindspore import nn

__all__ = [
    "Choice",
    "Plan",
    "choose_network",
    "fetch",
    "find_card",
    "info",
    "list_models",
    "load",
    "load_weights",
    "plan",
    "search",
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
        file_format: Its format, a key of `mshub_ssd.checkpoints.FORMATS`.
    """

    card: Card
    choice: Choice
    asset: Asset | None = None
    file_format: str = ""


def load(
    name: str,
    *args: Any,
    source: str | None = None,
    pretrained: bool = True,
    force_reload: bool = False,
    strict: bool = True,
    **kwargs: Any,
) -> nn.Cell:
    """A ready-to-infer network from a model card.

    Args:
        name: A uid such as ``mindspore/1.7/ssdresnet50fpn_coco2017``, or the path of a card file.
        *args: Passed on to the network's constructor.
        source: ``"local"`` forces `name` to be a path; ``"gitee"`` and ``"github"`` are accepted and mean a uid.
        pretrained: Load the card's checkpoint; otherwise the weights are initialised at random.
        force_reload: Download the checkpoint again even if it is cached.
        strict: Refuse a checkpoint whose parameters are not exactly the network's. With False, load what
            fits; the account is at ``network.load_report``.
        **kwargs: Passed on to the constructor, before the card's own arguments, e.g. ``num_classes=21``.

    Returns:
        The network in inference mode, with ``card``, ``config`` (for detectors) and ``load_report``.

    Raises:
        MshubError: In one of its kinds; every failure arrives as one.
    """
    card = find_card(name, source)
    planned = plan(card, pretrained=pretrained)
    runtime.require_mindspore()
    runtime.ensure_fast_cpu()
    # The file first: a failing download should not cost the time of building a network.
    arrays = _read_asset(planned, force_reload) if pretrained else None
    with _uninitialised_parameters(arrays is not None):
        network = _construct(planned, args, kwargs)
    report = None
    if arrays is not None:
        report = _fill(network, arrays, planned, strict)
    network.set_train(False)
    network.card = card
    network.load_report = report
    return network


def load_weights(name: str, source: str | None = None, force_reload: bool = False) -> dict[str, mindspore.Parameter]:
    """The parameters of a card's checkpoint, named as in the network.

    Args:
        name: A uid or the path of a card file.
        source: As for `load`.
        force_reload: Download the checkpoint again even if it is cached.

    Returns:
        Parameters by name; the training wrapper's prefix is taken off, optimizer state left out.

    Raises:
        MshubError: In one of its kinds.
    """
    card = find_card(name, source)
    asset, file_format = _asset(card)
    runtime.require_mindspore()
    runtime.ensure_fast_cpu()
    arrays = checkpoints.read(_file(card, asset, force_reload), file_format)
    expected = None
    try:
        choice = choose_network(card)
    except UnknownModelError:
        _log.info("%s: network unknown, so the wrapper's prefix is read off the file", card.uid)
    else:
        with _uninitialised_parameters(True):
            expected = _expected(_construct(Plan(card, choice), (), {}))
    import mindspore

    return {
        key: mindspore.Parameter(mindspore.Tensor(array), name=key)
        for key, array in checkpoints.without_wrapping(arrays, expected).items()
    }


def fetch(name: str) -> Path:
    """The verified checkpoint file of a card, downloaded if need be.

    Args:
        name: A uid or the path of a card file.

    Raises:
        MshubError: In one of its kinds.
    """
    card = find_card(name)
    return _file(card, _asset(card)[0], False)


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


def _is_loadable(card: Card) -> bool:
    try:
        planned = plan(card)
    except MshubError as error:
        _log.debug("%s is not loadable: %s", card.uid, error.message)
        return False
    return bool(planned.asset and planned.asset.sha256)


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
    path = Path(name).expanduser()
    looks_like_path = isinstance(name, Path) or name.endswith(".md")
    if source == "local" or (source is None and looks_like_path and path.is_file()):
        if not path.is_file():
            raise UnknownModelError("no such card file", where=str(path), hint="give the path of a .md file")
        return read_card(path)
    return default_registry().card(str(name))


def plan(card: Card, *, pretrained: bool = True) -> Plan:
    """Decide what loading the card means, without touching network, disk or MindSpore.

    Raises:
        UnknownModelError: The card means no network that is known here.
        UnsupportedFormatError: None of its assets can be loaded.
        IntegrityError: The asset has no digest.
    """
    choice = choose_network(card)
    if not pretrained:
        return Plan(card, choice)
    asset, file_format = _asset(card)
    return Plan(card, choice, asset, file_format)


def choose_network(card: Card) -> Choice:
    """Which network a card means, from the surest sign to the weakest.

    In this order: its ``network:`` key; the uid's last part before the data set; the asset's file name; the
    backbone's name, or the model's name where the backbone's name bears it out. The model's name alone proves
    nothing: published cards of five different networks say ``ssd300``.

    Raises:
        UnknownModelError: None of them names a known network.
    """
    if card.network is not None:
        key = networks.find(card.network.name)
        if key is None:
            networks.constructor(card.network.name)  # raises, naming the nearest
        return Choice(key or card.network.name, "the card's `network:`", dict(card.network.arguments))
    last = card.uid.rsplit("/", 1)[-1]
    for text, reason in [
        (last, f"the uid's {last!r}"),
        *((_file_stem(asset.url), f"the asset's file name {_file_stem(asset.url)!r}") for asset in card.assets),
    ]:
        found = _leading_key(text)
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


def _leading_key(text: str) -> str | None:
    """The architecture whose key the words of `text` begin with; the longest match wins."""
    words = text.split("_")
    for count in range(len(words), 0, -1):
        key = networks.find("".join(words[:count]))
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


def _asset(card: Card) -> tuple[Asset, str]:
    """The asset to load, and its format: the first one that can be loaded."""
    if not card.assets:
        raise UnsupportedFormatError(
            f"the card {card.uid} names no checkpoint",
            where=str(card.path or card.uid),
            expected="an `asset:` with link and sha256",
            hint="look for a sibling with `mshub search`, or load without weights: pretrained=False",
        )
    refusal: UnsupportedFormatError | None = None
    for asset in card.assets:
        try:
            return asset, checkpoints.supported_format(asset.file_format or "", asset.url)
        except UnsupportedFormatError as error:
            refusal = refusal or error
    assert refusal is not None  # the loop ran at least once
    raise refusal


def _file(card: Card, asset: Asset, force_reload: bool) -> Path:
    if not asset.sha256:
        raise IntegrityError(
            f"the card {card.uid} gives no digest for its checkpoint, so it cannot be verified",
            where=str(card.path or card.uid),
            expected="asset-sha256: 64 hex digits",
            hint="add the digest of a file you trust: sha256sum FILE",
        )
    target = card.resolve(asset)
    if isinstance(target, str):
        return store.fetch([target], asset.sha256, force=force_reload)
    folder = target.parent if card.path is None else card.path.parent
    if not target.resolve().is_relative_to(folder.resolve()):
        raise CardError(
            "the asset-link leads out of the card's folder",
            where=str(card.path),
            expected=f"a file below {folder}",
            got=f"{asset.url}, which is {target.resolve()}",
            hint="put the file beside its card",
        )
    return store.verify_local(target, asset.sha256)


def _read_asset(planned: Plan, force_reload: bool) -> Any:
    assert planned.asset is not None
    return checkpoints.read(_file(planned.card, planned.asset, force_reload), planned.file_format)


def _construct(planned: Plan, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> nn.Cell:
    from mindspore import nn

    build = networks.constructor(planned.choice.key)
    arguments = dict(planned.choice.arguments)
    if planned.card.classes and _takes(build, "classes"):
        arguments["classes"] = list(planned.card.classes)
    if "num_classes" in kwargs or args:
        # The card's names belong to the card's number of classes.
        arguments.pop("classes", None)
        if args:
            arguments.pop("num_classes", None)
    arguments.update(kwargs)
    try:
        inspect.signature(build).bind(*args, **arguments)
    except TypeError as error:
        raise UsageError(
            f"the network {planned.choice.key} cannot be built with these arguments: {error}",
            where=str(planned.card.path or planned.card.uid),
            expected=f"{planned.choice.key}{inspect.signature(build)}",
            got=", ".join([*map(repr, args), *(f"{key}={value!r}" for key, value in arguments.items())]),
            hint="correct the arguments of load() or of the card's `network:`",
        ) from error
    network = build(*args, **arguments)
    if not isinstance(network, nn.Cell):
        raise UsageError(
            f"the constructor of {planned.choice.key} did not return a network",
            expected="a mindspore.nn.Cell",
            got=repr(type(network)),
        )
    return network


def _takes(function: Callable[..., Any], name: str) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(p.name == name or p.kind is p.VAR_KEYWORD for p in parameters)


def _expected(network: nn.Cell) -> dict[str, tuple[tuple[int, ...], Any]]:
    import mindspore

    return {
        parameter.name: (tuple(parameter.shape), mindspore.dtype_to_nptype(parameter.dtype))
        for parameter in network.get_parameters()
    }


def _fill(network: nn.Cell, arrays: Any, planned: Plan, strict: bool) -> checkpoints.LoadReport:
    """Give the network the checkpoint's values, all or, when not strict, those that fit."""
    import mindspore
    import numpy as np

    expected = {name: (shape, np.dtype(kind)) for name, (shape, kind) in _expected(network).items()}
    values, report = checkpoints.match_parameters(arrays, expected)
    card, asset = planned.card, planned.asset
    if strict and not report.ok:
        raise checkpoints.refuse(
            report,
            network=f"{planned.choice.key} (chosen by {planned.choice.reason})",
            where=f"{asset.url if asset else '?'} of {card.uid}",
            hint="correct `network:` or the asset in the card; strict=False loads what fits",
        )
    if not report.ok:
        _log.warning("%s: loaded in part: %s", card.uid, report)
    for parameter in network.get_parameters():
        if parameter.name in values:
            parameter.set_data(mindspore.Tensor(values[parameter.name]))
    if not report.ok:
        network.init_parameters_data()
    return report


@contextmanager
def _uninitialised_parameters(skip: bool) -> Iterator[None]:
    """Build networks without drawing random values that a checkpoint overwrites."""
    if not skip:
        yield
        return
    try:
        from mindspore.nn.utils import no_init_parameters
    except ImportError:
        # Other versions of MindSpore: slower, and just as right.
        yield
        return
    with no_init_parameters():
        yield
