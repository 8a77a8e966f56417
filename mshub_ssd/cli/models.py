"""``list``, ``search``, ``info`` and ``fetch``: which models there are, and their files."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mshub_ssd.cli.offline import offline_option
from mshub_ssd.cli.output import (
    emit,
    emit_json,
    failed_entry,
    finish,
    mshub_command,
    note,
    on_terminal,
    verbosity_options,
    without_secrets,
)
from mshub_ssd.errors import CardError, MshubError, UnknownModelError
from mshub_ssd.redaction import hide, scrub
from mshub_ssd.terminal import counted, size_text, table, width

if TYPE_CHECKING:
    from mshub_ssd.cards import Asset, Card, Metric
    from mshub_ssd.providers import Standing
    from mshub_ssd.registry import Registry

__all__ = [
    "asset_facts",
    "complete_uid",
    "digest_text",
    "expand",
    "fetch_command",
    "info_command",
    "is_weak",
    "json_option",
    "list_command",
    "metric_text",
    "search_command",
]

json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


def complete_uid(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Uids for the shell's completion."""
    from mshub_ssd.hub import default_hub

    try:
        return default_hub().list_models(f"{incomplete}*")
    except MshubError:
        return []  # a completion has nowhere to tell it


@click.command("list")
@click.argument("pattern", default="*", metavar="[PATTERN]")
@click.option("--task", metavar="NAME", help="E.g. object-detection.")
@click.option("--dataset", metavar="NAME", help="Data set it was trained on, e.g. coco2017.")
@click.option("--backbone", metavar="NAME", help="E.g. resnet50.")
@click.option("--publisher", metavar="NAME", help="First part of the uid, e.g. mindspore.")
@click.option("--mindspore-version", metavar="VERSION", help="MindSpore version of the card, e.g. 1.10.")
@click.option("--loadable/--not-loadable", default=None, help="Only models that can, or cannot, be loaded here.")
@json_option
@verbosity_options
def list_command(pattern: str, loadable: bool | None, as_json: bool, **filters: str | None) -> None:
    """List the models, one uid per line.

    PATTERN is a wildcard for the uid, such as 'mindspore/*' or '*resnet50*'; quote it. Filters take wildcards, too.
    A terminal also shows task, data sets and the first published figure; a pipe gets the bare uids.
    """
    from mshub_ssd.hub import default_hub

    uids = default_hub().list_models(pattern, loadable=loadable, **filters)
    if not uids:
        part = pattern != "*" and not set(pattern) & set("*?[")
        why = "PATTERN must fit the whole uid. " if part else ""
        note(f"No model fits. {why}Try: {mshub_command()} list" + (f" {shlex.quote(f'*{pattern}*')}" if part else ""))
    _show(uids, as_json)


@click.command("search")
@click.argument("text", nargs=-1, required=True)
@json_option
@verbosity_options
def search_command(text: tuple[str, ...], as_json: bool) -> None:
    """Find models whose cards mention every word of TEXT, best first."""
    from mshub_ssd.hub import default_hub

    words = " ".join(text)
    uids = default_hub().search(words)
    if not uids:
        note(f"No card mentions {words!r}. Try fewer words, or: {mshub_command()} list")
    _show(uids, as_json)


@click.command("info")
@click.argument("uid", shell_complete=complete_uid)
@json_option
@verbosity_options
def info_command(uid: str, as_json: bool) -> None:
    """Show what a model's card says.

    UID is a name as `mshub list` shows it, or the path of a card file.
    """
    from mshub_ssd.hub import default_hub

    hub = default_hub()
    card = hub.info(uid)
    found = hub.standing(card)
    if as_json:
        facts = {"network_key": found.key, "loadable": found.obstacle is None, "obstacle": found.obstacle}
        assets = [asset_facts(asset) for asset in card.assets]
        links = {"assets": assets, "repo_link": card.repo_link and hide(card.repo_link)}
        emit_json(without_secrets({**card.to_dict(), **links, **facts}))
    else:
        emit(scrub(_description(card, found, uid)))


@click.command("fetch")
@offline_option
@click.argument("uids", nargs=-1, required=True, shell_complete=complete_uid, metavar="UID...")
@click.option("--dry-run", is_flag=True, help="Tell what is here and what would be downloaded from where; no network.")
@json_option
@verbosity_options
def fetch_command(uids: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Download checkpoints, verify them, and print their paths, one per line.

    UID may be a wildcard such as 'mindspore/1.8/*' (quote it), which means those of its models that have a
    checkpoint. Files that were fetched before are not downloaded again. When one fails, the others are still fetched,
    the exit code is 1, and the JSON answer has an `error` in its place. After Ctrl-C the same command goes on where it
    was.
    """
    from mshub_ssd.hub import default_hub

    names = expand(uids)
    if dry_run:
        answer = _plans(names)
        if not as_json:
            _show_plans([facts for facts in answer if "error" not in facts])
    else:
        try:
            results = default_hub().fetch_many(names)
        except KeyboardInterrupt:
            _tell_how_to_go_on(uids)
            raise
        answer = [_fetched(uid, result, as_json) for uid, result in zip(names, results, strict=True)]
    finish(answer, as_json)


def expand(names: Sequence[str]) -> list[str]:
    """Names of models, each once, with wildcards replaced by the uids that fit and have a checkpoint.

    Raises:
        UnknownModelError: A wildcard fits none.
    """
    from mshub_ssd.hub import default_hub

    found: dict[str, None] = {}
    for name in names:
        if not set(name) & set("*?[") or Path(name).is_file():
            found[name] = None
            continue
        fitting = default_hub().list_models(name)
        usable = [uid for uid in fitting if _has_checkpoint(uid)]
        if not usable:
            raise UnknownModelError(
                "no model with a checkpoint fits" if fitting else "no model fits",
                expected="a wildcard for whole uids, such as 'mindspore/1.8/*'",
                got=repr(name),
                hint=f"{mshub_command()} list" + (f" {shlex.quote(name)} --loadable" if fitting else ""),
            )
        if len(usable) < len(fitting):
            note(f"Left out of {name}: {len(fitting) - len(usable)} without a checkpoint that can be loaded.")
        found |= dict.fromkeys(usable)
    return list(found)


def _has_checkpoint(uid: str) -> bool:
    from mshub_ssd import providers
    from mshub_ssd.hub import default_hub

    try:
        providers.choose_asset(default_hub().info(uid))
    except MshubError:
        return False
    return True


def _fetched(uid: str, result: Path | MshubError, as_json: bool) -> dict[str, Any]:
    """Show the outcome for one model; the facts for JSON."""
    from mshub_ssd import providers, store
    from mshub_ssd.hub import default_hub

    if isinstance(result, MshubError):
        return failed_entry(result, uid=uid)
    asset = providers.choose_asset(default_hub().info(uid))[0]
    # Of what lies beside its card, and has no digest for a name, it is always told.
    if asset.sha256 and is_weak(asset) and len(result.name) == 64:
        store.warn_of_weak_digest(asset.sha256, result.name, uid)
    if not as_json:
        emit(str(result))
        return {}
    # The card's own digest may be a short one.
    hashed = store.hash_file(result)
    return {
        "uid": uid,
        "path": str(result),
        "sha256": hashed.hexdigest,
        "sha256_digits": asset.sha256_digits,
        "size": hashed.size,
    }


def _plans(names: Sequence[str]) -> list[dict[str, Any]]:
    """For each model what fetching would do."""
    from mshub_ssd import providers, store
    from mshub_ssd.hub import default_hub

    parts = store.entries(kinds=("part",))
    plans: list[dict[str, Any]] = []
    for name in names:
        try:
            plan = default_hub().plan_fetch(name)
            asset = providers.choose_asset(default_hub().info(name))[0]
        except MshubError as error:
            plans.append(failed_entry(error, uid=name))
            continue
        digest = str(asset.sha256).lower()
        kept = max((part.size for part in parts if part.digest.startswith(digest) and not part.busy), default=0)
        plans.append(
            {
                "uid": name,
                "sha256": digest,
                "sha256_digits": asset.sha256_digits,
                "path": None if plan.path is None else str(plan.path),
                "size": None if plan.path is None else plan.path.stat().st_size,
                "sources": list(plan.shown),
                "kept": kept if plan.path is None else 0,
            }
        )
    return plans


def _show_plans(plans: Sequence[dict[str, Any]]) -> None:
    for facts in plans:
        if facts["path"] is not None:
            emit(f"{facts['uid']}\n  here      {facts['path']}  ({size_text(facts['size'])})")
            if weakness := _weakness(facts["sha256_digits"]):
                emit(f"  sha256    {facts['sha256']}{weakness}")
            continue
        kept = f"; {size_text(facts['kept'])} of it are here already" if facts["kept"] else ""
        lines = [f"  {'from' if not number else 'or from':9} {url}" for number, url in enumerate(facts["sources"])]
        emit(
            "\n".join([facts["uid"], *lines, f"  sha256    {facts['sha256']}{_weakness(facts['sha256_digits'])}{kept}"])
        )
    if plans:
        missing = {facts["sha256"] for facts in plans if facts["path"] is None}
        here = sum(facts["path"] is not None for facts in plans)
        emit(f"\n{here} of {len(plans)} here, {counted(len(missing), 'file')} to download.")


def _tell_how_to_go_on(uids: Sequence[str]) -> None:
    from mshub_ssd import store

    if any(part.size for part in store.entries(kinds=("part",)) if part.busy is None):
        note(f"What has arrived is kept; go on with: {mshub_command()} fetch {shlex.join(uids)}")


def asset_facts(asset: Asset) -> dict[str, Any]:
    """An asset for JSON."""
    return {**asset.to_dict(), "url": hide(asset.url)}


def digest_text(asset: Asset) -> str:
    """An asset's digest for people, who are told when it is a weak one."""
    return f"{asset.sha256}{_weakness(asset.sha256_digits)}" if asset.sha256 else "none given"


def _weakness(digits: int | None) -> str:
    return "" if digits is None or digits == 64 else f"  ({digits} of 64 digits, which prove little)"


def is_weak(asset: Asset) -> bool:
    """Whether the card gives only the first digits of the asset's digest."""
    return asset.sha256_digits is not None and asset.sha256_digits < 64


def metric_text(metric: Metric) -> str:
    """E.g. ``mAP 25.17``; the value as the card has it."""
    return f"{metric.name} {metric.value:.15g}"


def _show(uids: list[str], as_json: bool) -> None:
    from mshub_ssd.hub import default_hub

    # One for all cards: each looks through its folders once.
    registry = default_hub().registry
    if as_json:
        emit_json(without_secrets([_entry(uid, registry) for uid in uids]))
    elif not uids:
        return
    elif on_terminal():
        space = max(map(width, uids))
        columns = shutil.get_terminal_size().columns or 80  # a terminal that tells no width, before Python 3.11
        # Line by line: reading thousands of cards takes a while.
        for uid in uids:
            line = f"{uid}{' ' * (space - width(uid))}  {scrub(_aside(uid, registry))}".rstrip()
            emit(line if len(line) <= columns else line[: max(columns - 1, len(uid))] + "…")
    else:
        emit("\n".join(uids))


def _aside(uid: str, registry: Registry) -> str:
    try:
        card = registry.card(uid)
    except CardError as error:
        return f"(unreadable: {error.message})"
    return ", ".join([card.task or "task unknown", *card.datasets, *map(metric_text, card.metrics[:1])])


def _entry(uid: str, registry: Registry) -> dict[str, Any]:
    from mshub_ssd import providers

    try:
        card = registry.card(uid)
    except CardError as error:
        return {"uid": uid, "loadable": False, "obstacle": error.message}
    whole = card.to_dict()
    found = providers.standing(card)
    names = ("title", "task", "datasets", "metrics", "backbone_name", "mindspore_version")
    return {
        "uid": uid,
        **{name: whole[name] for name in names},
        "network_key": found.key,
        "loadable": found.obstacle is None,
        "obstacle": found.obstacle,
    }


def _description(card: Card, found: Standing, name: str) -> str:
    rows: list[tuple[str, str]] = [("uid", card.uid)]

    def row(label: str, text: object) -> None:
        if text:
            rows.append((label, str(text)))

    row("task", card.task or card.module_type)
    row("network", f"{found.key}, by {found.reason}" if found.key else "unknown")
    row("backbone", card.backbone_name)
    row("input", _shape(card.input_shape))
    row("data sets", ", ".join(card.datasets))
    row("classes", ", ".join(card.classes or ()))
    row("metrics", ", ".join(map(metric_text, card.metrics)) or "none given")
    row("MindSpore", card.mindspore_version)
    row("author", ", ".join(str(part) for part in (card.author, card.update_time) if part))
    row("licence", card.license or "none given")
    row("repository", card.repo_link and hide(card.repo_link))
    for asset in card.assets:
        row(asset.file_format or "asset", hide(asset.url))
        row("  sha256", digest_text(asset))
    row("card", card.path)
    parts = [card.title or card.uid, table(rows)]
    if card.summary:
        parts.insert(1, card.summary)
    if found.obstacle:
        parts.append(f"It cannot be loaded: {found.obstacle}." + (f"\n  next: {found.hint}" if found.hint else ""))
    else:
        parts.append(
            f"In Python:\n  import mshub_ssd as mshub\n  network = mshub.load({json.dumps(name, ensure_ascii=False)})"
        )
        if card.task == "object-detection":
            parts[-1] += '\n  mshub.detect(network, "picture.jpg").save("found.png")'
            parts.append(
                f"In a shell:\n  {mshub_command()} detect picture.jpg --model {shlex.quote(name)} --out found.png"
            )
        elif card.task == "image-classification":
            parts[-1] += '\n  print(mshub.classify(network, "picture.jpg"))'
            parts.append(f"In a shell:\n  {mshub_command()} classify picture.jpg --model {shlex.quote(name)}")
    return "\n\n".join(parts)


def _shape(shape: tuple[Any, ...] | None) -> str:
    if not shape:
        return ""
    if any(isinstance(side, tuple) for side in shape):
        return " and ".join(_shape(side if isinstance(side, tuple) else (side,)) for side in shape)
    return " x ".join(map(str, shape))
