"""``registry``: where cards come from."""

from __future__ import annotations

import datetime
import shlex
from typing import TYPE_CHECKING, Any

import click

from mshub_ssd.cli.options import json_option, offline_option, verbosity_options
from mshub_ssd.cli.output import answer, mshub_command, tell, without_secrets
from mshub_ssd.cli.registry_build import build_command
from mshub_ssd.errors import UsageError
from mshub_ssd.hub import default_hub
from mshub_ssd.redaction import hide, scrub
from mshub_ssd.terminal import counted, size_text, table

if TYPE_CHECKING:
    from mshub_ssd.registry import Account

__all__ = ["registry_group"]

_REVISION = 12  # letters of a revision that people see


@click.group("registry")
@verbosity_options
def registry_group() -> None:
    """Say where cards come from, and see which are damaged.

    A registry is a folder of cards, a checkout or a bare repository of the official hub, a zip or tar archive, the url
    of a static registry, or a place in an object store (s3://BUCKET/FOLDER). Searched are, in this order:
    MSHUB_REGISTRY, what bundles installed, the registries that were added here, and the cards of the package. A card
    hides those of the same uid that come later.
    """


registry_group.add_command(build_command)


@registry_group.command("list")
@offline_option
@click.option("--damaged", is_flag=True, help="Name the cards that cannot be read, and why.")
@json_option
@verbosity_options
def list_command(damaged: bool, as_json: bool) -> None:
    """Show the registries in the order they are searched, with their cards and the damaged ones."""
    found = list(default_hub().registries())
    facts = [_facts(one) for one in found]
    text = _damaged_text(found) if damaged else _text(found)
    _tell_errors(found)
    answer(without_secrets(facts), scrub(text), as_json, failed=any(one.error for one in found))


@registry_group.command("add")
@offline_option
@click.argument("name")
@click.argument("where")
@click.option("--first", is_flag=True, help="Search it before the others that were added.")
@json_option
@verbosity_options
def add_command(name: str, where: str, first: bool, as_json: bool) -> None:
    """Search the cards at WHERE from now on, under a name.

    WHERE is a folder, a checkout, an archive, a bare repository (also PATH@REVISION), the url of a static registry, or
    a place in an object store.
    """
    from mshub_ssd.registry import add_registry, remove_registry

    added = add_registry(name, where, default_hub().settings, first=first)
    # By its name it may also be one of MSHUB_REGISTRY, which looks the same.
    found = next(default_hub().registries(name))
    if found.error is not None:
        # A registry that cannot be read would be in the way of every command.
        remove_registry(name)
        raise found.error
    cards = counted(found.cards, "card")
    more = f", {counted(len(found.damaged), 'damaged one')}" if found.damaged else ""
    hidden = f", {found.hidden} of them hidden by earlier registries" if found.hidden else ""
    text = f"added {name}: {cards}{more}{hidden}, in {hide(added.where)}\nNext: {mshub_command()} list"
    answer(without_secrets(_facts(found)), text, as_json)


@registry_group.command("refresh")
@offline_option
@click.argument("name", required=False)
@json_option
@verbosity_options
def refresh_command(name: str | None, as_json: bool) -> None:
    """Look at every card of a registry now, or of all.

    Edits are seen without it; only where there are very many cards, or behind a url, it may take a minute.
    """
    found = list(default_hub().registries(name, complete=True))
    if not found:
        raise UsageError("there is no registry of that name", got=repr(name)[:100], hint="mshub registry list")
    _tell_errors(found)
    answer(
        without_secrets([_facts(one) for one in found]),
        scrub(_text(found)),
        as_json,
        failed=any(one.error for one in found),
    )


@registry_group.command("remove")
@click.argument("name")
@json_option
@verbosity_options
def remove_command(name: str, as_json: bool) -> None:
    """Forget a registry that was added; its cards stay where they are."""
    from mshub_ssd.registry import remove_registry

    gone = remove_registry(name)
    where = hide(gone.where)
    text = (
        f"removed {name}; its cards stay in {where}\nBack: {mshub_command()} registry add {name} {shlex.quote(where)}"
    )
    answer({"name": gone.name, "where": where}, text, as_json)


def _facts(one: Account) -> dict[str, Any]:
    return {
        "name": one.place.name,
        "role": one.place.role,
        "kind": one.kind,
        "where": one.where,
        "cards": one.cards,
        "hidden": one.hidden,
        "damaged": [{"uid": uid, "reason": reason} for uid, reason in one.damaged],
        "revision": one.revision,
        "looked": None if one.looked is None else _moment(one.looked).isoformat(timespec="seconds"),
        "index_bytes": one.index_bytes,
        "error": None if one.error is None else one.error.to_dict(),
    }


def _moment(seconds: float) -> datetime.datetime:
    """A time of day, as clocks show it here."""
    return datetime.datetime.fromtimestamp(seconds).astimezone()


def _tell_errors(found: list[Account]) -> None:
    for one in found:
        if one.error is not None:
            tell(one.error)


def _text(found: list[Account]) -> str:
    rows: list[tuple[str, ...]] = [("NAME", "KIND", "CARDS", "HIDDEN", "DAMAGED", "INDEX", "LOOKED AT", "WHERE")]
    for one in found:
        usable = one.error is None
        index = "" if one.index_bytes is None else size_text(one.index_bytes)
        looked = "" if one.looked is None else f"{_moment(one.looked):%Y-%m-%d %H:%M}"
        figures = [str(one.cards), str(one.hidden or ""), str(len(one.damaged) or ""), index] if usable else [""] * 4
        where = one.where if one.revision is None else f"{one.where}  ({one.revision[:_REVISION]})"
        rows.append((one.place.name, one.kind or "unusable", *figures, looked, where))
    damaged = sum(len(one.damaged) for one in found)
    more = f"\n\nThe damaged: {mshub_command()} registry list --damaged" if damaged else ""
    return f"{table(rows, right=(2, 3, 4, 5))}{more}"


def _damaged_text(found: list[Account]) -> str:
    blocks = []
    for one in found:
        if one.damaged:
            rows = [f"  {uid}\n    {reason}" for uid, reason in one.damaged]
            blocks.append("\n".join([f"{one.place.name}  {one.where}", *rows]))
    return "\n\n".join(blocks) or "No card is damaged."
