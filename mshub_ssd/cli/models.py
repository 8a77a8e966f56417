"""``list``, ``search``, ``info`` and ``fetch``: which models there are, and their files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mshub_ssd import facts
from mshub_ssd.cli.options import complete_uid, json_option, offline_option, verbosity_options
from mshub_ssd.cli.output import (
    answer,
    emit,
    emit_json,
    failed_entry,
    mshub_command,
    note,
    on_terminal,
    without_secrets,
)
from mshub_ssd.errors import MshubError
from mshub_ssd.hub import default_hub
from mshub_ssd.redaction import hide, scrub
from mshub_ssd.terminal import clipped, counted, plain, size_text, table, width

if TYPE_CHECKING:
    from mshub_ssd import store
    from mshub_ssd.cards import Card
    from mshub_ssd.hub import Hub
    from mshub_ssd.providers import Standing
    from mshub_ssd.registry import Registry, Shown

__all__ = ["fetch_command", "info_command", "list_command", "search_command"]

_CUT = 28  # columns that a task or the data sets may take in a table
_KNOWN = 12  # values of a filter that are named where none fits
# Task → the command, the same in Python, and further arguments.
_USES = {
    "object-detection": ("detect", 'mshub.detect(network, "picture.jpg").save("found.png")', " --out found.png"),
    "image-classification": ("classify", 'print(mshub.classify(network, "picture.jpg"))', ""),
}


@click.command("list")
@click.argument("pattern", default="*", metavar="[PATTERN]")
@click.option("--task", metavar="NAME", help="E.g. object-detection.")
@click.option("--dataset", metavar="NAME", help="Data set it was trained on, e.g. coco2017.")
@click.option("--backbone", metavar="NAME", help="E.g. resnet50.")
@click.option("--publisher", metavar="NAME", help="First part of the uid, e.g. mindspore.")
@click.option("--network", metavar="NAME", help="Architecture, e.g. ssd_vgg16.")
@click.option("--mindspore-version", metavar="VERSION", help="MindSpore version of the card, e.g. 1.10.")
@click.option("--loadable/--not-loadable", default=None, help="Only models that can, or cannot, be loaded here.")
@click.option("--sort", type=click.Choice(["name", "newest", "size"]), default="name", show_default=True, help="Order.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N.")
@click.option("--all", "every", is_flag=True, help="Every version of each model, a line each.")
@json_option
@verbosity_options
def list_command(
    pattern: str,
    loadable: bool | None,
    sort: str,
    limit: int | None,
    every: bool,
    as_json: bool,
    **filters: str | None,
) -> None:
    """List the models, one per line: of each its newest version that can be loaded, else its newest.

    PATTERN is a wildcard for the uid, such as 'mindspore/*' or '*resnet50*'; quote it. Filters take wildcards, too.
    A terminal shows a table; a pipe gets bare uids. --json answers with every version.
    """
    registry = default_hub().registry
    ask = registry.models if every or as_json else registry.families
    found = ask(pattern, sort=sort, limit=limit, loadable=loadable, **filters)
    if not found:
        note(_nothing_fits(registry, pattern, filters))
    _show(found, as_json)


@click.command("search")
@click.argument("text", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N.")
@json_option
@verbosity_options
def search_command(text: tuple[str, ...], limit: int | None, as_json: bool) -> None:
    """Find models by words, best first: names, titles, data sets, tasks, backbones, summaries, bodies.

    TEXT may be English or Chinese; hyphens and case do not matter, and one letter in five may be wrong. Of each model
    the newest version that can be loaded is shown, else the newest.
    """
    words = " ".join(text)
    registry = default_hub().registry
    found = registry.search(words, limit)
    if not found:
        near = [shown.uid for shown in registry.nearest(words)]
        advice = f"The nearest: {', '.join(near)}" if near else f"Try fewer words, or: {mshub_command()} list"
        note(f"No card has all of {words!r}. {advice}")
    _show(found, as_json)


@click.command("info")
@click.argument("uid", shell_complete=complete_uid)
@json_option
@verbosity_options
def info_command(uid: str, as_json: bool) -> None:
    """Show what a model's card says.

    UID is a name as `mshub list` shows it, the path of a card file, or the url of one.
    """
    hub = default_hub()
    card = hub.info(uid)
    found = hub.standing(card)
    answer(without_secrets(facts.model_facts(card, found)), scrub(_description(card, found, uid)), as_json)


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
    hub = default_hub()
    names = facts.expand(hub, uids)
    if dry_run:
        from mshub_ssd import store

        parts = store.entries(hub.settings, kinds=("part",))
        entries = [_planned(hub, name, parts) for name in names]
        text = _plan_text([entry for entry in entries if "error" not in entry])
    else:
        try:
            results = hub.fetch_many(names)
        except KeyboardInterrupt:
            _tell_how_to_go_on(uids)
            raise
        text = None
        entries = [_fetched(hub, name, result, as_json) for name, result in zip(names, results, strict=True)]
    answer(entries, text, as_json, failed=any("error" in entry for entry in entries))


def _fetched(hub: Hub, name: str, result: Path | MshubError, as_json: bool) -> dict[str, Any]:
    """Show the outcome for one model; the facts for JSON."""
    if isinstance(result, MshubError):
        return failed_entry(result, uid=name)
    facts.warn_of_weak_digest(hub, name, result)
    if as_json:
        return facts.file_facts(hub, name, result)
    emit(str(result))
    return {}


def _planned(hub: Hub, name: str, parts: Sequence[store.Entry]) -> dict[str, Any]:
    try:
        return facts.download_facts(hub, name, parts)
    except MshubError as error:
        return failed_entry(error, uid=name)


def _plan_text(plans: Sequence[dict[str, Any]]) -> str | None:
    blocks = []
    for plan in plans:
        size = "" if plan["size"] is None else size_text(plan["size"])
        digest = facts.digest_text(plan["sha256"], plan["sha256_digits"])
        if plan["path"] is not None:
            rows = [("here", f"{plan['path']}  ({size})"), ("sha256", digest if plan["sha256_digits"] < 64 else "")]
        else:
            kept = f"; {size_text(plan['kept'])} of it are here already" if plan["kept"] else ""
            rows = [("or from" if number else "from", url) for number, url in enumerate(plan["sources"])]
            rows += [("size", size), ("sha256", f"{digest}{kept}")]
        blocks.append("\n".join([plan["uid"], *(f"  {label:9} {text}" for label, text in rows if text)]))
    missing = {plan["sha256"]: plan["size"] for plan in plans if plan["path"] is None}
    here = sum(plan["path"] is not None for plan in plans)
    sizes = [size for size in missing.values() if size is not None]
    total = f", {'' if len(sizes) == len(missing) else 'at least '}{size_text(sum(sizes))}" if sizes else ""
    blocks.append(f"\n{here} of {len(plans)} here, {counted(len(missing), 'file')} to download{total}.")
    return "\n".join(blocks) if plans else None


def _tell_how_to_go_on(uids: Sequence[str]) -> None:
    from mshub_ssd import store

    if any(part.size for part in store.entries(kinds=("part",)) if part.busy is None):
        note(f"What has arrived is kept; go on with: {mshub_command()} fetch {shlex.join(uids)}")


def _nothing_fits(registry: Registry, pattern: str, filters: dict[str, str | None]) -> str:
    """Why a list is empty, and what to type instead."""
    for name, wanted in filters.items():
        if wanted is not None and not registry.values_like(name, wanted):
            known = registry.values(name)
            import difflib

            near = difflib.get_close_matches(wanted.lower(), known, n=_KNOWN, cutoff=0.4) or known[:_KNOWN]
            more = f" and {len(known) - len(near)} more" if len(known) > len(near) else ""
            option = f"--{name.replace('_', '-')}"
            return f"No card says {option} {shlex.quote(wanted)}. There are: {', '.join(near) or 'none'}{more}"
    part = pattern != "*" and not set(pattern) & set("*?[")
    why = "PATTERN must fit the whole uid. " if part else ""
    return f"No model fits. {why}Try: {mshub_command()} list" + (f" {shlex.quote(f'*{pattern}*')}" if part else "")


def _show(found: Sequence[Shown], as_json: bool) -> None:
    if as_json:
        emit_json(without_secrets([facts.shown_facts(shown) for shown in found]))
    elif not found:
        return
    elif on_terminal():
        import shutil

        columns = shutil.get_terminal_size().columns or 80  # a terminal that tells no width, before Python 3.11
        emit(plain(scrub(_listing(found, columns))))
    else:
        emit("\n".join(shown.uid for shown in found))


def _listing(found: Sequence[Shown], columns: int) -> str:
    """A table of models that fits the terminal; uid and figure are never cut."""
    several = any(shown.versions > 1 for shown in found)
    rows = [("MODEL", "CARDS", "FIGURE", "TASK", "DATA", "SIZE", "LOADS")]
    rows += [
        (
            shown.uid,
            str(shown.versions),
            facts.figure_text(shown),
            shown.facts.get("task") or "",
            ", ".join(shown.facts.get("datasets", ())),
            "" if shown.size is None else size_text(shown.size),
            facts.loads_text(shown),
        )
        for shown in found
    ]
    wanted = [0, *([1] if several else []), 2, 6, 5, 4, 3]  # what goes first where there is no room stands last
    room = columns
    shown_columns = []
    for column in wanted:
        widest = max(width(row[column]) for row in rows)
        needed = min(widest, _CUT) if column in (3, 4) else widest
        if column > 2 and room < needed + 2:
            continue
        shown_columns.append(column)
        room -= needed + 2
    chosen = sorted(shown_columns)
    cut = [tuple(clipped(row[at], _CUT) if at in (3, 4) else row[at] for at in chosen) for row in rows]
    return table(cut, right=tuple(chosen.index(at) for at in (1, 5) if at in chosen))


def _description(card: Card, found: Standing, name: str) -> str:
    from mshub_ssd.cards import is_kind, shape_text
    from mshub_ssd.providers import code_text, sees

    rows = [
        ("uid", card.uid),
        ("task", card.task or card.module_type),
        ("network", f"{found.key}, by {found.reason}" if found.key else "unknown"),
        ("code", found.recipe and code_text(found.recipe)),
        ("backbone", card.backbone_name),
        ("input", shape_text(card.input_shape)),
        ("data sets", ", ".join(card.datasets)),
        ("classes", ", ".join(card.classes or ())),
        ("metrics", ", ".join(map(str, card.metrics)) or "none given"),
        ("MindSpore", card.mindspore_version),
        ("author", ", ".join(str(part) for part in (card.author, card.update_time) if part)),
        ("licence", card.license or "none given"),
        ("repository", card.repo_link and hide(card.repo_link)),
    ]
    for asset in card.assets:
        rows.append((asset.file_format or "asset", hide(asset.url)))
        rows.append(("  size", None if asset.size is None else size_text(asset.size)))
        rows.append(("  sha256", facts.digest_text(asset.sha256, asset.sha256_digits)))
    rows.append(("card", hide(card.place)))
    known = [(label, str(text)) for label, text in rows if text]
    parts = [card.title or card.uid, *([card.summary] if card.summary else []), table(known)]
    if found.obstacle:
        next_step = f"\n  next: {found.hint}" if found.hint else ""
        return "\n\n".join([*parts, f"It cannot be loaded: {found.obstacle}.{next_step}"])
    consent = ", trust_repo=True" if found.recipe and found.recipe.level == "repository" else ""
    call = f"mshub.load({json.dumps(name, ensure_ascii=False)}{consent})"
    python = f"In Python:\n  import mshub_ssd as mshub\n  network = {call}"
    if consent:
        parts.append(f"Read the code first:\n  {mshub_command()} trust show {shlex.quote(name)}")
    # Of code of others it may not be known what it makes of pictures.
    usable = found.recipe is None or sees(found.recipe)
    kind = next((task for task in _USES if usable and is_kind(card.task, task)), None)
    if kind is not None:
        verb, use, out = _USES[kind]
        command = f"{mshub_command()} {verb} picture.jpg --model {shlex.quote(name)}{out}"
        parts += [f"{python}\n  {use}", f"In a shell:\n  {command}"]
    else:
        parts.append(python)
    return "\n\n".join(parts)
