"""From a name to a network: uid or card file → plan → verified file → arrays → Cell."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd import checkpoints, cpu, networks, recognise, runtime, store
from mshub_ssd.catalog import Plan, choose_asset, choose_network, find_card, locate, plan, size_limit
from mshub_ssd.errors import MshubError, UnknownModelError, UsageError, needing_extra

if TYPE_CHECKING:
    import mindspore
    from mindspore import nn

    from mshub_ssd.cards import Asset, Card

__all__ = ["fetch", "fetch_many", "load", "load_weights", "plan_fetch"]

_log = logging.getLogger(__name__)


@needing_extra("mshub_ssd.load")
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
    cpu.ensure_fast_cpu()
    # The file first: a failing download should not cost the time of building a network.
    arrays = None
    if planned.asset is not None:
        arrays = _read_asset(card, planned.asset, planned.file_format, force_reload)
    with nullcontext() if arrays is None else runtime.uninitialised_parameters():
        network = _construct(planned, args, kwargs)
    report = None
    if arrays is not None:
        report = _fill(network, arrays, planned, strict)
    network.set_train(False)
    network.card = card
    network.load_report = report
    return network


@needing_extra("mshub_ssd.load_weights")
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
    asset, file_format = choose_asset(card)
    runtime.require_mindspore()
    cpu.ensure_fast_cpu()
    arrays = _read_asset(card, asset, file_format, force_reload)
    expected = None
    try:
        choice = choose_network(card)
    except UnknownModelError:
        _log.info("%s: network unknown, so the wrapper's prefix is read off the file", card.uid)
    else:
        with runtime.uninitialised_parameters():
            expected = runtime.parameter_types(_construct(Plan(card, choice), (), {}))
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
    return _file(card, choose_asset(card)[0], False)


def fetch_many(names: Sequence[str]) -> list[Path | MshubError]:
    """`fetch` for several cards, several downloads at once.

    Args:
        names: Uids or paths of card files.

    Returns:
        For each, in order, the verified file or the error that kept it away: one failure does not stop the others.
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise UsageError("fetch_many takes several names", expected="a list of uids", got=repr(type(names)))
    names = list(names)
    if not all(isinstance(name, str | Path) for name in names):
        raise UsageError("a model is named by text", expected="a list of uids", got=repr(list(map(type, names)))[:200])
    done: dict[str, Path | MshubError] = {}
    wanted: dict[str, store.FileRequest] = {}
    for name in dict.fromkeys(names):
        try:
            found = _wanted(name)
            if isinstance(found, store.FileRequest):
                wanted[name] = found
            else:
                done[name] = found
        except MshubError as error:
            done[name] = error
    if len(wanted) == 1:
        # Alone it gets a progress bar with its own name.
        ((name, only),) = wanted.items()
        try:
            done[name] = store.fetch(only.urls, only.sha256, label=only.label, max_bytes=only.max_bytes)
        except MshubError as error:
            done[name] = error
    elif wanted:
        done |= zip(wanted, store.fetch_many(list(wanted.values())), strict=True)
    return [done[name] for name in names]


def plan_fetch(name: str) -> store.Plan:
    """What `fetch` would do: the file that is here, or the addresses it would be downloaded from. No network.

    Args:
        name: A uid or the path of a card file.

    Raises:
        MshubError: What `fetch` would refuse; an `OfflineError` where a download is needed and forbidden.
    """
    found = _wanted(name)
    if isinstance(found, Path):
        return store.Plan(found)
    return store.plan(found.urls, found.sha256, found=store.cached(found.urls, found.sha256))


def _wanted(name: str) -> store.FileRequest | Path:
    """What to ask the store for; or the verified file, where it lies beside its card."""
    card = find_card(name)
    asset = choose_asset(card)[0]
    assert asset.sha256 is not None  # choose_asset saw to it
    target = locate(card, asset)
    if isinstance(target, Path):
        return store.verify_local(target, asset.sha256, max_bytes=size_limit(card))
    return store.FileRequest([target], asset.sha256, label=card.uid, max_bytes=size_limit(card))


def _file(card: Card, asset: Asset, force_reload: bool) -> Path:
    assert asset.sha256 is not None  # choose_asset saw to it
    target = locate(card, asset)
    if isinstance(target, str):
        return store.fetch([target], asset.sha256, force=force_reload, label=card.uid, max_bytes=size_limit(card))
    return store.verify_local(target, asset.sha256, max_bytes=size_limit(card))


def _read_asset(card: Card, asset: Asset, file_format: str, force_reload: bool) -> Any:
    """The checkpoint's arrays; of a file beside its card the very bytes that were verified are read."""
    assert asset.sha256 is not None  # choose_asset saw to it
    target = locate(card, asset)
    if isinstance(target, Path):
        return checkpoints.read(
            target, file_format, content=store.read_verified(target, asset.sha256, max_bytes=size_limit(card))
        )
    return checkpoints.read(_file(card, asset, force_reload), file_format)


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
        network = build(*args, **arguments)
    except MshubError:
        raise
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise UsageError(
            f"the network {planned.choice.key} cannot be built with these arguments: {error}",
            where=str(planned.card.path or planned.card.uid),
            expected=f"{planned.choice.key}{inspect.signature(build)}",
            got=", ".join([*map(repr, args), *(f"{key}={value!r}" for key, value in arguments.items())]),
            hint="correct the arguments of load() or of the card's `network:`",
        ) from error
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


def _fill(network: nn.Cell, arrays: Any, planned: Plan, strict: bool) -> checkpoints.LoadReport:
    """Give the network the checkpoint's values, all or, when not strict, those that fit."""
    import mindspore

    values, report = checkpoints.match_parameters(arrays, runtime.parameter_types(network))
    card, asset = planned.card, planned.asset
    if strict and not report.ok:
        raise checkpoints.refuse(
            report,
            got=recognise.owner(arrays, planned.choice.key),
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
