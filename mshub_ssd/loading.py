"""What a plan says, carried out: checkpoint → verified file → arrays → Cell."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd import checkpoints, cpu, networks, providers, store
from mshub_ssd.errors import MismatchError, MshubError
from mshub_ssd.providers import Checkpoint, Plan, Recipe
from mshub_ssd.settings import Settings

if TYPE_CHECKING:
    import mindspore
    from mindspore import nn
    from numpy.typing import NDArray

__all__ = ["cached", "fetch", "fetch_many", "fitted", "load", "load_weights", "mismatch", "plan_fetch", "read"]

_log = logging.getLogger(__name__)


def load(
    plan: Plan,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    settings: Settings,
    force: bool = False,
    strict: bool = True,
    trust_repo: bool = False,
) -> nn.Cell:
    """Build the network of a plan and fill it.

    Args:
        plan: Which network and which checkpoint.
        args: Passed on to the network's constructor.
        kwargs: Passed on to the constructor, before the card's own arguments.
        settings: The caches, and how to download.
        force: Download the checkpoint again even if it is cached.
        strict: Refuse a checkpoint whose parameters are not exactly the network's.
        trust_repo: Consent to run the code of the repository that the card links, at the commit of the plan.

    Returns:
        The network in inference mode, with ``card`` and ``load_report``.

    Raises:
        MshubError: In one of its kinds.
    """
    networks.require_mindspore()
    cpu.ensure_fast_cpu()
    # The file first: a failing download should not cost the time of building a network.
    recipe, card = plan.recipe, plan.card
    for doubt in plan.doubts:
        _log.warning("%s: %s; %s", card.uid, doubt.message, doubt.hint)
    providers.check_code(recipe, uid=card.uid, trust_repo=trust_repo)
    arrays = read(plan.checkpoint, settings=settings, force=force) if plan.checkpoint else None
    build = functools.partial(
        providers.build_network,
        args=args,
        kwargs=kwargs,
        settings=settings,
        initialised=arrays is None,
        trust_repo=trust_repo,
        uid=card.uid,
        where=card.place,
    )
    report = None
    if arrays is None:
        network = build(recipe)
    else:
        fitting = providers.fit((recipe, *plan.others), arrays, build)
        network, recipe, report = fitting.network, fitting.recipe, fitting.report
        if strict and not report.ok:
            raise mismatch(dataclasses.replace(plan, recipe=recipe), arrays, report)
        if not report.ok:
            _log.warning("%s: loaded in part: %s", card.uid, report)
        networks.fill(network, fitting.values)
    config = providers.config_for(recipe, network)
    if config is not None:
        network.config = config
    network.set_train(False)
    network.card = card
    network.load_report = report
    return network


def mismatch(plan: Plan, arrays: Mapping[str, NDArray[Any]], report: checkpoints.LoadReport) -> MismatchError:
    """The error for a checkpoint whose parameters are not those of the plan's network.

    Args:
        plan: The plan.
        arrays: The checkpoint's.
        report: What fits and what does not.
    """
    recipe, location = plan.recipe, plan.checkpoint.location if plan.checkpoint else ""
    return checkpoints.refuse(
        report,
        got=None if recipe.code is not None or recipe.provider else providers.owner(arrays, recipe.key),
        network=f"{recipe.key} (chosen by {recipe.reason})",
        where=f"{location} of {plan.card.uid}",
        hint="correct `network:` or the asset in the card; strict=False loads what fits",
    )


def load_weights(
    checkpoint: Checkpoint, recipe: Recipe | None, *, settings: Settings, force: bool = False
) -> dict[str, mindspore.Parameter]:
    """The parameters of a checkpoint by name; the training wrapper's prefix is taken off, optimizer state left out.

    Args:
        checkpoint: The file.
        recipe: The network it is for; where that is not known, the wrapper's prefix is read off the file.
        settings: The caches, and how to download.
        force: Download the file again even if it is cached.

    Raises:
        MshubError: In one of its kinds.
    """
    networks.require_mindspore()
    cpu.ensure_fast_cpu()
    arrays = read(checkpoint, settings=settings, force=force)
    expected = None
    if recipe is None or recipe.code is not None or recipe.provider:
        _log.info("%s: network unknown, so the wrapper's prefix is read off the file", checkpoint.label)
    else:
        network = networks.build(
            recipe.key, card=recipe.arguments, classes=recipe.classes, initialised=False, where=checkpoint.label
        )
        expected = networks.parameter_types(network)
    import mindspore

    return {
        key: mindspore.Parameter(mindspore.Tensor(array), name=key)
        for key, array in checkpoints.without_wrapping(arrays, expected).items()
    }


def fetch(checkpoint: Checkpoint, *, settings: Settings, force: bool = False) -> Path:
    """The verified file of a checkpoint, downloaded if need be.

    Raises:
        MshubError: In one of its kinds.
    """
    path, request = checkpoint.path, _request(checkpoint)
    if path is not None:
        return store.verify_local(path, request.sha256, size=request.size, max_bytes=request.max_bytes)
    return store.fetch(
        request.urls,
        request.sha256,
        size=request.size,
        force=force,
        label=request.label,
        max_bytes=request.max_bytes,
        settings=settings,
    )


def fetch_many(
    wanted: Iterable[Checkpoint | MshubError], *, settings: Settings, force: bool = False
) -> list[Path | MshubError]:
    """`fetch` for several checkpoints, several downloads at once.

    Args:
        wanted: The checkpoints; or, in place of one, why there is none.
        settings: The caches, and how to download.
        force: Download them again even if they are cached.

    Returns:
        For each, in order, the verified file or the error that kept it away: one failure does not stop the others.
    """
    listed = list(wanted)
    done: dict[Checkpoint, Path | MshubError] = {}
    distinct = [item for item in dict.fromkeys(listed) if isinstance(item, Checkpoint)]
    remote = [item for item in distinct if item.path is None]
    # Alone it gets a progress bar with its own name.
    for item in distinct if len(remote) == 1 else [item for item in distinct if item.path is not None]:
        try:
            done[item] = fetch(item, settings=settings, force=force)
        except MshubError as error:
            done[item] = error
    if len(remote) > 1:
        requests = list(map(_request, remote))
        done |= zip(remote, store.fetch_many(requests, force=force, settings=settings), strict=True)
    return [done[item] if isinstance(item, Checkpoint) else item for item in listed]


def cached(checkpoint: Checkpoint, *, settings: Settings) -> Path | None:
    """The verified file of a checkpoint, if it is here: in its card's folder or in a cache. No network.

    Raises:
        MshubError: The file in the card's folder is not the one promised; what is recorded cannot be read.
    """
    if checkpoint.path is not None:
        return fetch(checkpoint, settings=settings)
    return store.cached([checkpoint.location], checkpoint.sha256, settings)


def plan_fetch(checkpoint: Checkpoint, *, settings: Settings) -> store.Plan:
    """What `fetch` would do: the file that is here, or the addresses it would be downloaded from. No network.

    Raises:
        MshubError: What `fetch` would refuse; an `OfflineError` where a download is needed and forbidden.
    """
    found = cached(checkpoint, settings=settings)
    return store.plan([checkpoint.location], checkpoint.sha256, found=found, settings=settings)


def _request(checkpoint: Checkpoint) -> store.FileRequest:
    return store.FileRequest(
        [checkpoint.location], checkpoint.sha256, checkpoint.size, checkpoint.label, checkpoint.max_bytes
    )


def read(checkpoint: Checkpoint, *, settings: Settings, force: bool = False) -> dict[str, NDArray[Any]]:
    """The checkpoint's arrays; of a file beside its card the very bytes that were verified are read.

    Raises:
        MshubError: In one of its kinds.
    """
    content = None
    path = checkpoint.path
    if path is None:
        path = fetch(checkpoint, settings=settings, force=force)
    else:
        content = store.read_verified(path, checkpoint.sha256, size=checkpoint.size, max_bytes=checkpoint.max_bytes)
    return checkpoints.read(path, checkpoint.format, content=content)


def fitted(arrays: Mapping[str, NDArray[Any]], key: str, *, where: str) -> dict[str, NDArray[Any]]:
    """The values of a network's parameters, all of them and no others.

    Args:
        arrays: A checkpoint's.
        key: Architecture key of the network.
        where: The checkpoint, for messages.

    Raises:
        UnknownModelError: No such network.
        MismatchError: They are not the network's.
    """
    key = networks.require(key)
    networks.require_mindspore()
    expected = networks.parameter_types(networks.build(key, initialised=False))
    values, report = checkpoints.match_parameters(arrays, expected)
    if not report.ok:
        hint = "give another network, or none to convert the names alone"
        raise checkpoints.refuse(report, network=key, where=where, got=providers.owner(arrays, key), hint=hint)
    return values
