"""``cache``: what the download cache holds, and keeping it."""

from __future__ import annotations

import re
import shlex
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mshub_ssd.cli.models import complete_uid, json_option
from mshub_ssd.cli.output import (
    emit,
    emit_json,
    failed_entry,
    finish,
    mshub_command,
    note,
    on_terminal,
    verbosity_options,
)
from mshub_ssd.errors import IntegrityError, MshubError, UsageError
from mshub_ssd.terminal import Bar, counted, size_text, table

if TYPE_CHECKING:
    from mshub_ssd import store

__all__ = ["cache_group"]

_SHOWN = 12  # digits of a digest in a table; every command takes them
_HEX = re.compile(r"[0-9a-fA-F]{8,64}", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {"B": 1} | {f"{letter}B": 1000**power for power, letter in enumerate("kMGT", 1)}
_BYTES |= {f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)}
_KINDS = ("file", "part", "quarantined", "rubbish")


def _quantity(units: dict[str, int], example: str) -> Callable[..., float | None]:
    """A callback of click's that understands numbers with units, e.g. ``30d`` or ``10GB``."""
    known = {unit.lower(): factor for unit, factor in units.items()}

    def convert(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
        if value is None:
            return None
        found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([a-z]+)", value.strip().lower(), re.ASCII)
        if found is None or found[2] not in known:
            raise click.BadParameter(f"{value!r} is not a number with a unit ({', '.join(units)}), such as {example}")
        return float(found[1]) * known[found[2]]

    return convert


@dataclass(frozen=True)
class _Use:
    """An asset of a card: whom a file in the cache serves."""

    uid: str
    sha256: str
    url: str | None
    path: Path | None


@click.group("cache")
@verbosity_options
def cache_group() -> None:
    """See and keep what was downloaded.

    Files are stored once under their SHA-256, however many models use them. Digests may be shortened to 8 digits.
    """


@cache_group.command("ls")
@click.option("--all", "everything", is_flag=True, help="Also interrupted downloads, quarantined files and rubbish.")
@click.option("--long", is_flag=True, help="Whole digests, and every model that uses a file.")
@json_option
@verbosity_options
def ls_command(everything: bool, long: bool, as_json: bool) -> None:
    """List the files with size, last use, and the models that use them."""
    from mshub_ssd import store

    entries = store.entries(kinds=_KINDS if everything else ("file",))
    users = _users() if entries else []
    if as_json:
        emit_json([{**entry.to_dict(), "uids": _uids(entry, users)} for entry in entries])
        return
    caches = store.caches()
    if not entries:
        where = " and ".join(str(cache.path) for cache in caches)
        note(f"The cache is empty: {where}. Fill it with: {mshub_command()} fetch UID")
        return
    for cache in caches:
        here = [entry for entry in entries if entry.home == cache.path]
        if len(caches) > 1:
            emit(f"{cache.path}{'' if cache.writable else '  (read-only)'}:")
        if here:
            emit(_listing(here, users, long))
    files = [entry for entry in entries if entry.kind == "file"]
    rest = len(entries) - len(files)
    others = f" and {counted(rest, 'other thing')}" if rest else ""
    emit(f"\n{counted(len(files), 'file')}{others}, {size_text(sum(entry.size for entry in entries))} in all")


@cache_group.command("verify")
@click.argument("names", nargs=-1, metavar="[DIGEST|UID]...", shell_complete=complete_uid)
@json_option
@verbosity_options
def verify_command(names: tuple[str, ...], as_json: bool) -> None:
    """Hash the files anew, all or those named, and put damaged ones into quarantine.

    The exit code is 1 if one was damaged.
    """
    from mshub_ssd import store

    digests = _digests(names) if names else None
    entries = [entry for entry in store.entries() if digests is None or entry.digest.startswith(tuple(digests))]
    with Bar("verifying", sum(entry.size for entry in entries)) as bar:
        checked = store.verify(digests, each=lambda one: bar.advance(one.entry.size))
    bad = [one for one in checked if one.fault is not None]
    if not checked:
        note(f"The cache is empty. Fill it with: {mshub_command()} fetch UID")
    if as_json:
        emit_json([{**one.entry.to_dict(), "fault": one.fault, "moved": one.moved} for one in checked])
    else:
        users = _users() if bad else []
        for one in bad:
            emit(_damage(one, users))
    if checked and not as_json:
        size = size_text(sum(one.entry.size for one in checked))
        emit(f"{counted(len(checked), 'file')} verified, {size}: {f'{len(bad)} damaged' if bad else 'all as promised'}")
    if bad:
        click.get_current_context().exit(1)


@cache_group.command("prune")
@click.option(
    "--unused-for",
    callback=_quantity(_SECONDS, "30d"),
    metavar="AGE",
    help="Also files not used for so long: 12h, 30d, 8w.",
)
@click.option(
    "--max-size",
    callback=_quantity(_BYTES, "10GB"),
    metavar="SIZE",
    help="Also files, those unused the longest first, until the rest takes no more: 500MB, 10GB.",
)
@click.option("--dry-run", is_flag=True, help="Only tell.")
@json_option
@verbosity_options
def prune_command(unused_for: float | None, max_size: float | None, dry_run: bool, as_json: bool) -> None:
    """Make room: remove interrupted downloads, quarantined files and rubbish.

    Downloads of living processes stay. With several caches, --max-size is for each.
    """
    from mshub_ssd import store

    most = None if max_size is None else int(max_size)
    _tell_removal(store.prune(unused_for=unused_for, max_bytes=most, dry_run=dry_run), dry_run, as_json)


@cache_group.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="DIGEST|UID...", shell_complete=complete_uid)
@click.option("--dry-run", is_flag=True, help="Only tell.")
@json_option
@verbosity_options
def rm_command(names: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Remove files, by digest or by the model that uses them.

    Other models that use them will download them again.
    """
    from mshub_ssd import store

    done = store.remove(_digests(names), dry_run=dry_run)
    _tell_removal(done, dry_run, as_json)
    if done.kept:
        click.get_current_context().exit(1)


@cache_group.command("path")
@click.argument("uid", required=False, shell_complete=complete_uid)
@json_option
@verbosity_options
def path_command(uid: str | None, as_json: bool) -> None:
    """Print the cache's folder; with UID, the path of its checkpoint if it is here.

    Several folders (MSHUB_HOME) are printed in the order they are searched. The exit code is 1 if the checkpoint is
    not here; nothing is downloaded.
    """
    from mshub_ssd import store

    if uid is not None:
        path = _here(uid)
        if as_json:
            emit_json({"uid": uid, "path": str(path)})
        else:
            emit(str(path))
        return
    caches = store.caches()
    if as_json:
        emit_json(
            [
                {"path": str(one.path), "exists": one.exists, "writable": one.writable, "receives": one.receives}
                for one in caches
            ]
        )
        return
    for one in caches:
        about = "receives new files" if one.receives else "" if one.writable else "read-only"
        emit(f"{one.path}  ({about})" if on_terminal() and len(caches) > 1 and about else str(one.path))


@cache_group.command("add")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--sha256", metavar="DIGEST", help="Take in the one FILE, which no card names, if this is its digest.")
@json_option
@verbosity_options
def add_command(files: tuple[Path, ...], sha256: str | None, as_json: bool) -> None:
    """Take in files that were carried here by hand.

    A file is copied into the cache when its SHA-256 is the one of a model's checkpoint, and is then used as if it had
    been downloaded. For a model whose card states only the first digits, it is recorded as the file meant, as on a
    first download. When one FILE is refused, the others are still taken in, the exit code is 1, and the JSON answer
    has an `error` in its place.
    """
    if sha256 is not None and len(files) > 1:
        raise click.UsageError("--sha256 is for one FILE")
    users = _users()
    done: list[dict[str, Any]] = []
    for file in dict.fromkeys(files):
        try:
            facts = _take_in(file, sha256, users)
        except MshubError as error:
            done.append(failed_entry(error, file=str(file)))
            continue
        done.append(facts)
        if not as_json:
            emit(_taken(facts))
    finish(done, as_json)


# --- whom a file serves


def _users() -> list[_Use]:
    """Every asset of every card."""
    from mshub_ssd import providers
    from mshub_ssd.hub import default_hub

    found = []
    for card in default_hub().registry.cards():
        for asset in card.assets:
            if asset.sha256 is None or not _HEX.fullmatch(asset.sha256):
                continue
            try:
                checkpoint = providers.checkpoint_of(card, asset)
            except MshubError:
                continue  # `mshub info` tells it
            url = checkpoint.location if checkpoint.path is None else None
            found.append(_Use(card.uid, asset.sha256.lower(), url, checkpoint.path))
    return found


def _uids(entry: store.Entry, users: Sequence[_Use]) -> list[str]:
    """Uids of the models that use a file; of those whose cards give short digests, where it is the one meant."""
    if not entry.digest:
        return []
    fitting = (use for use in users if use.sha256.startswith(entry.digest) or entry.digest.startswith(use.sha256))
    return list(dict.fromkeys(use.uid for use in fitting if use.path is None))


def _digests(names: Iterable[str]) -> list[str]:
    """Digests of files, from digests and from models.

    Raises:
        MshubError: No such model, or its file is not in the cache.
    """
    from mshub_ssd import providers, store
    from mshub_ssd.hub import default_hub

    found: dict[str, None] = {}
    entries = store.entries(kinds=("file", "part", "quarantined"))
    for name in names:
        if _HEX.fullmatch(name):
            found[name.lower()] = None
            continue
        card = default_hub().info(name)
        here, beside = [], None
        for asset in card.assets:
            where = providers.checkpoint_of(card, asset)
            digest = (asset.sha256 or "").lower()
            if where.path is None and _HEX.fullmatch(digest):
                pinned = store.cached([where.location], digest) if len(digest) < 64 else None
                digest = digest if pinned is None else pinned.name
                here += [entry.digest for entry in entries if entry.digest == digest]
            elif where.path is not None:
                beside = where.path
        if not here:
            raise UsageError(
                f"nothing of {card.uid} is in the cache",
                where=" or ".join(str(cache.path) for cache in store.caches()),
                got=f"{beside}, which lies beside its card" if beside else None,
                hint=f"{mshub_command()} cache ls",
            )
        found |= dict.fromkeys(here)
    return list(found)


def _here(uid: str) -> Path:
    """The verified checkpoint of a model, if it is here.

    Raises:
        MshubError: It is not.
    """
    from mshub_ssd import store
    from mshub_ssd.hub import default_hub

    checkpoint = default_hub().checkpoint(uid)
    if checkpoint.path is not None:
        return store.verify_local(checkpoint.path, checkpoint.sha256)
    path = store.cached([checkpoint.location], checkpoint.sha256)
    if path is None:
        raise UsageError(
            f"the checkpoint of {checkpoint.label} is not in the cache",
            where=" or ".join(str(cache.path) for cache in store.caches()),
            expected=f"sha256 {checkpoint.sha256}",
            hint=f"{mshub_command()} fetch {shlex.quote(uid)}",
        )
    return path


# --- taking in


def _take_in(file: Path, sha256: str | None, users: Sequence[_Use]) -> dict[str, Any]:
    """Store a file for all cards that promise it; the facts.

    Raises:
        MshubError: No card does, or it cannot be stored.
    """
    from mshub_ssd import store

    try:
        got = store.hash_file(file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise IntegrityError(
            f"the file cannot be read: {reason}", where=str(file), hint="give the path of a file"
        ) from error
    fitting = [use for use in users if got.hexdigest.startswith(use.sha256)]
    linked = [use for use in fitting if use.url is not None]
    path = None
    if sha256 is not None or linked:
        # What no card knows is compared with the user's own word.
        path = store.add(file, sha256 or got.hexdigest)
    for use in linked:
        # The full digest first: it needs no second copy.
        path = store.add(path or file, got.hexdigest, urls=[str(use.url)], label=use.uid)
        if len(use.sha256) < len(got.hexdigest):
            path = store.add(path, use.sha256, urls=[str(use.url)], label=use.uid)
    if path is None:
        raise _unknown(file, got.hexdigest, fitting, users)
    return {
        "file": str(file),
        "path": str(path),
        "sha256": got.hexdigest,
        "size": got.size,
        "uids": list(dict.fromkeys(use.uid for use in linked)),
    }


def _unknown(file: Path, digest: str, fitting: Sequence[_Use], users: Sequence[_Use]) -> IntegrityError:
    found = f"sha256 {digest}"
    if fitting:
        target = fitting[0].path
        return IntegrityError(
            f"the file belongs beside the card {fitting[0].uid}, not into the cache",
            where=str(file),
            got=found,
            hint=f"cp {shlex.quote(str(file))} {shlex.quote(str(target))}",
        )
    if _is_bundle(file):
        return IntegrityError(
            "the file is a bundle, which is installed as a whole",
            where=str(file),
            got=found,
            hint=f"{mshub_command()} bundle install {shlex.quote(str(file))}",
        )
    from mshub_ssd.redaction import file_name

    namesakes = [use for use in users if use.url is not None and file_name(use.url) == file.name]
    wanted = list(dict.fromkeys(f"{use.sha256} for {use.uid}" for use in namesakes))
    again = "copy it again, it may be cut off or another version; " if wanted else ""
    return IntegrityError(
        "no model card names this file",
        where=str(file),
        expected=f"sha256 {' or '.join(wanted[:3])}" if wanted else "the sha256 of a model's checkpoint",
        got=found,
        hint=f"{again}to take it in nevertheless: "
        f"{mshub_command()} cache add {shlex.quote(str(file))} --sha256 DIGEST, with a digest from who made it",
    )


def _is_bundle(file: Path) -> bool:
    from mshub_ssd import bundles

    try:
        bundles.inspect(file)
    except MshubError:
        return False
    return True


def _taken(facts: dict[str, Any]) -> str:
    uids = facts["uids"]
    serves = f"for {', '.join(uids)}" if uids else "no card names it"
    return f"{facts['path']}  ({size_text(facts['size'])}, {serves})"


# --- how things are told


def _listing(entries: Sequence[store.Entry], users: Sequence[_Use], long: bool) -> str:
    rows = [("digest", "size", "used", "for")]
    now = time.time()
    for entry in entries:
        uids = _uids(entry, users)
        about = _about(entry, uids, long)
        shown = entry.digest if long else entry.digest[:_SHOWN]
        rows.append((shown or "-", size_text(entry.size), _ago(now - entry.used), about))
        if long:
            rows += [("", "", "", uid) for uid in uids[1:]]
    return table(rows, right=(1,))


def _about(entry: store.Entry, uids: Sequence[str], long: bool) -> str:
    if uids:
        text = uids[0] + (f", shared by {len(uids)} uids" if len(uids) > 1 and not long else "")
    else:
        known = [*entry.labels, *entry.urls]
        text = f"{known[0]}, which no card names" if known else "no card names it" if entry.digest else entry.path.name
    if entry.kind == "part":
        state = f"{entry.busy} is downloading it" if entry.busy else "interrupted; fetching goes on after it"
        return f"{text} ({state})"
    return text if entry.kind == "file" else f"{text} ({entry.kind})"


def _damage(one: store.Checked, users: Sequence[_Use]) -> str:
    uids = _uids(one.entry, users)
    again = f"; fetch it again: {mshub_command()} fetch {shlex.quote(uids[0])}" if uids else ""
    moved = "moved to quarantine" if one.moved else "it could not be moved away"
    return f"damaged: {one.entry.path}\n  got: {one.fault}\n  {moved}{again}"


def _tell_removal(done: store.Removal, dry_run: bool, as_json: bool) -> None:
    if as_json:
        emit_json(
            {
                "dry_run": dry_run,
                "removed": [entry.to_dict() for entry in done.removed],
                "kept": [{**entry.to_dict(), "reason": reason} for entry, reason in done.kept],
                "freed": done.freed,
            }
        )
        return
    counts: dict[str, int] = defaultdict(int)
    for entry in done.removed:
        counts[entry.kind] += 1
        if entry.kind == "file":
            emit(f"{'would remove' if dry_run else 'removed'} {entry.digest[:_SHOWN]}  {size_text(entry.size)}")
    for entry, reason in done.kept:
        note(f"kept {entry.digest[:_SHOWN] or entry.path.name}: {reason}")
    names = {"file": "file", "part": "interrupted download", "quarantined": "quarantined file", "rubbish": "leftover"}
    what = ", ".join(counted(count, names[kind]) for kind, count in counts.items())
    if not what:
        emit("Nothing to remove.")
    else:
        emit(f"{what}: {size_text(done.freed)} {'would be ' if dry_run else ''}freed")


def _ago(seconds: float) -> str:
    """A time gone by, for people."""
    for unit, length in (("week", 7 * 86400), ("day", 86400), ("hour", 3600), ("minute", 60)):
        count = int(seconds // length)
        if count and (unit != "week" or count > 1):
            return f"{counted(count, unit)} ago"
    return "just now"
