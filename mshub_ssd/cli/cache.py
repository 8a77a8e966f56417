"""``cache``: what the download cache holds, and keeping it."""

from __future__ import annotations

import functools
import re
import shlex
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mshub_ssd.cli.options import complete_uid, json_option, verbosity_options
from mshub_ssd.cli.output import answer, failed_entry, mshub_command, note, on_terminal
from mshub_ssd.errors import MshubError
from mshub_ssd.hub import default_hub
from mshub_ssd.terminal import Bar, counted, size_text, table

if TYPE_CHECKING:
    from mshub_ssd import foreign, holdings, store
    from mshub_ssd.providers import Checkpoint

__all__ = ["cache_group"]

_SHOWN = 12  # digits of a digest in a table; every command takes them
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {"B": 1} | {f"{letter}B": 1000**power for power, letter in enumerate("kMGT", 1)}
_BYTES |= {f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)}
_NAMES = {"part": "interrupted download", "quarantined": "quarantined file", "rubbish": "leftover"}
_KINDS = ("file", "graph", "part", "quarantined", "rubbish")
_KEPT = _KINDS[:2]


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


@click.group("cache")
@verbosity_options
def cache_group() -> None:
    """See and keep what was downloaded.

    Files are stored once under their SHA-256, however many models use them. Digests may be shortened to 8 digits.
    Graphs are networks with their weights, made here for engines other than MindSpore; what is removed is made anew.
    Code is that of repositories, see `mshub trust`; it is named REPOSITORY@COMMIT or REPOSITORY@COMMIT:FOLDER.
    """


@cache_group.command("ls")
@click.option("--all", "everything", is_flag=True, help="Also interrupted downloads, quarantined files and rubbish.")
@click.option("--long", is_flag=True, help="Whole digests, and every model that uses a file.")
@json_option
@verbosity_options
def ls_command(everything: bool, long: bool, as_json: bool) -> None:
    """List files, graphs and code with size, last use, and the models that use them; of code, whether it may run."""
    from mshub_ssd import foreign, store

    entries = store.entries(kinds=_KINDS if everything else _KEPT)
    code = foreign.code_in_caches()
    users, code_users = _users(), _code_users()
    caches = store.caches()
    if not entries and not code and not as_json:
        where = " and ".join(str(cache.path) for cache in caches)
        note(f"The cache is empty: {where}. Fill it with: {mshub_command()} fetch UID")
    blocks = []
    for cache in caches:
        here = [entry for entry in entries if entry.home == cache.path]
        blocks += [f"{cache.path}{'' if cache.writable else '  (read-only)'}:"] if len(caches) > 1 else []
        blocks += [_listing(here, users, long)] if here else []
        folders = [one for one in code if one.home == cache.path]
        blocks += [*([""] if here else []), _code_listing(folders, code_users, long)] if folders else []
    count, graphs = (sum(entry.kind == kind for entry in entries) for kind in _KEPT)
    more = len(entries) - count - graphs
    others = f", {counted(graphs, 'graph')}" if graphs else ""
    others += f", {counted(len(code), 'folder')} of code" if code else ""
    others += f" and {counted(more, 'other thing')}" if more else ""
    size = sum(entry.size for entry in entries) + sum(one.size for one in code)
    blocks.append(f"\n{counted(count, 'file')}{others}, {size_text(size)} in all")
    facts = [{**entry.to_dict(), "uids": users(entry)} for entry in entries]
    facts += [{**one.to_dict(), "uids": code_users(one)} for one in code]
    answer(facts, "\n".join(blocks) if entries or code else None, as_json)


@cache_group.command("verify")
@click.argument("names", nargs=-1, metavar="[DIGEST|UID|CODE]...", shell_complete=complete_uid)
@json_option
@verbosity_options
def verify_command(names: tuple[str, ...], as_json: bool) -> None:
    """Hash files, graphs and code anew, all or those named; damaged files go into quarantine, damaged code is removed.

    The exit code is 1 if something was damaged.
    """
    from mshub_ssd import foreign, holdings, store

    digests, pins = holdings.named(default_hub(), names) if names else (None, None)
    everything = store.entries(kinds=_KEPT)
    entries = [entry for entry in everything if digests is None or entry.digest.startswith(tuple(digests))]
    with Bar("verifying", sum(entry.size for entry in entries)) as bar:
        checked = store.verify(digests, each=lambda one: bar.advance(one.entry.size))
    code = foreign.verify_code(pins)
    bad = [one for one in checked if one.fault is not None]
    bad_code = [one for one in code if one.fault is not None]
    if not checked and not code:
        note(f"The cache is empty. Fill it with: {mshub_command()} fetch UID")
    users = _users()
    size = size_text(sum(one.entry.size for one in checked) + sum(one.entry.size for one in code))
    count = counted(len(checked), "file") + (f" and {counted(len(code), 'folder')} of code" if code else "")
    found = f"{len(bad) + len(bad_code)} damaged" if bad or bad_code else "all as promised"
    damaged = [*(_damage(one, users) for one in bad), *map(_code_damage, bad_code)]
    text = "\n".join([*damaged, f"{count} verified, {size}: {found}"]) if checked or code else None
    facts = [{**one.entry.to_dict(), "fault": one.fault, "moved": one.moved} for one in checked]
    facts += [{**one.entry.to_dict(), "fault": one.fault, "moved": one.removed} for one in code]
    answer(facts, text, as_json, failed=bool(damaged))


@cache_group.command("prune")
@click.option(
    "--unused-for",
    callback=_quantity(_SECONDS, "30d"),
    metavar="AGE",
    help="Also files, graphs and code not used for so long: 12h, 30d, 8w.",
)
@click.option(
    "--max-size",
    callback=_quantity(_BYTES, "10GB"),
    metavar="SIZE",
    help="Also files and graphs, those unused the longest first, until the rest takes no more: 500MB, 10GB.",
)
@click.option("--dry-run", is_flag=True, help="Only tell.")
@json_option
@verbosity_options
def prune_command(unused_for: float | None, max_size: float | None, dry_run: bool, as_json: bool) -> None:
    """Make room: remove interrupted downloads, quarantined files, rubbish, and code that may not run.

    Code goes that you did not consent to and no bundle brought, once it was not used for two days. Downloads of living
    processes stay. With several caches, --max-size is for each.
    """
    from mshub_ssd import foreign, store

    most = None if max_size is None else int(max_size)
    done = store.prune(unused_for=unused_for, max_bytes=most, dry_run=dry_run)
    _tell_removal(done, foreign.prune_code(unused_for=unused_for, dry_run=dry_run), dry_run, as_json)


@cache_group.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="DIGEST|UID|CODE...", shell_complete=complete_uid)
@click.option("--dry-run", is_flag=True, help="Only tell.")
@json_option
@verbosity_options
def rm_command(names: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Remove files by digest, code by commit, or both by the model that uses them.

    Other models that use them will download them again. Your consent to code stays: `mshub trust remove`.
    """
    from mshub_ssd import foreign, holdings, store

    digests, pins = holdings.named(default_hub(), names)
    done = store.remove(digests, dry_run=dry_run) if digests else store.Removal()
    code = foreign.remove_code(pins, dry_run=dry_run)
    _tell_removal(done, code, dry_run, as_json, failed=bool(done.kept or code.kept))


@cache_group.command("path")
@click.argument("uid", required=False, shell_complete=complete_uid)
@json_option
@verbosity_options
def path_command(uid: str | None, as_json: bool) -> None:
    """Print the cache's folder; with UID, the path of its checkpoint if it is here.

    Several folders (MSHUB_HOME) are printed in the order they are searched. The exit code is 1 if the checkpoint is
    not here; nothing is downloaded.
    """
    from mshub_ssd import holdings, store

    if uid is not None:
        path = str(holdings.cached_file(default_hub(), uid))
        answer({"uid": uid, "path": path}, path, as_json)
        return
    names = ("path", "exists", "writable", "receives")
    caches = [{name: getattr(one, name) for name in names} | {"path": str(one.path)} for one in store.caches()]
    rows = []
    for one in caches:
        about = "receives new files" if one["receives"] else "" if one["writable"] else "read-only"
        rows.append(f"{one['path']}  ({about})" if on_terminal() and len(caches) > 1 and about else str(one["path"]))
    answer(caches, "\n".join(rows), as_json)


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
    from mshub_ssd import holdings

    if sha256 is not None and len(files) > 1:
        raise click.UsageError("--sha256 is for one FILE")
    files_of_cards = holdings.files_of(default_hub().registry.cards())
    done: list[dict[str, Any]] = []
    for file in dict.fromkeys(files):
        try:
            done.append(holdings.take_in(default_hub(), file, files_of_cards, sha256))
        except MshubError as error:
            done.append(failed_entry(error, file=str(file)))
    taken = [_taken(facts) for facts in done if "error" not in facts]
    answer(done, "\n".join(taken) or None, as_json, failed=len(taken) < len(done))


def _users() -> Callable[[store.Entry], list[str]]:
    """What tells the uids of the models that use a file or graph; it reads all cards when it is first asked."""
    from mshub_ssd import holdings

    @functools.cache
    def files() -> list[Checkpoint]:
        return holdings.files_of(default_hub().registry.cards())

    return lambda entry: holdings.users(entry, files())


def _code_users() -> Callable[[foreign.StoredCode], list[str]]:
    """The same for code."""
    from mshub_ssd import holdings

    @functools.cache
    def known() -> dict[holdings.Code, list[str]]:
        return holdings.code_users(default_hub().registry.cards())

    return lambda one: known().get((one.repository, one.commit, one.path or ""), [])


def _code_listing(
    entries: Sequence[foreign.StoredCode], users: Callable[[foreign.StoredCode], list[str]], long: bool
) -> str:
    rows = [("code", "size", "used", "consent", "for")]
    now = time.time()
    for entry in entries:
        uids = users(entry)
        more = f", shared by {len(uids)} uids" if len(uids) > 1 and not long else ""
        consent = "none" if entry.consent is None else f"since {entry.consent.given[:10]}"
        about = f"{uids[0]}{more}" if uids else "no card means it"
        rows.append((_code_name(entry, long), size_text(entry.size), _ago(now - entry.used), consent, about))
        if long:
            rows += [("", "", "", "", uid) for uid in uids[1:]]
    return table(rows, right=(1,))


def _code_name(entry: foreign.StoredCode, long: bool = False) -> str:
    commit = entry.commit if long else entry.commit[:_SHOWN]
    return f"{entry.repository}@{commit}:{entry.path or entry.place.name}"


def _code_damage(one: foreign.CheckedCode) -> str:
    removed = "removed; it is fetched again when it is needed" if one.removed else "it could not be removed"
    return f"damaged: {one.entry.place}\n  got: {one.fault}\n  {removed}"


def _taken(facts: dict[str, Any]) -> str:
    uids = facts["uids"]
    serves = f"for {', '.join(uids)}" if uids else "no card names it"
    return f"{facts['path']}  ({size_text(facts['size'])}, {serves})"


def _listing(entries: Sequence[store.Entry], users: Callable[[store.Entry], list[str]], long: bool) -> str:
    rows = [("digest", "size", "used", "for")]
    now = time.time()
    for entry in entries:
        uids = users(entry)
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


def _damage(one: store.Checked, users: Callable[[store.Entry], list[str]]) -> str:
    uids = users(one.entry)
    again = f"; fetch it again: {mshub_command()} fetch {shlex.quote(uids[0])}" if uids else ""
    again = "; it is made anew when it is needed" if one.entry.kind == "graph" else again
    moved = "moved to quarantine" if one.moved else "it could not be moved away"
    return f"damaged: {one.entry.path}\n  got: {one.fault}\n  {moved}{again}"


def _tell_removal(
    done: store.Removal, code: foreign.CodeRemoval, dry_run: bool, as_json: bool, *, failed: bool = False
) -> None:
    removed, verb = ("would remove", "would be freed") if dry_run else ("removed", "freed")
    rows = [f"{removed} {one.digest[:_SHOWN]}  {size_text(one.size)}" for one in done.removed if one.kind in _KEPT]
    rows += [f"{removed} {_code_name(one)}  {size_text(one.size)}" for one in code.removed]
    counts = Counter(one.kind for one in done.removed)
    told = [counted(count, _NAMES.get(kind, kind)) for kind, count in counts.items()]
    told += [f"{counted(len(code.removed), 'folder')} of code"] if code.removed else []
    freed = done.freed + code.freed
    rows.append(f"{', '.join(told)}: {size_text(freed)} {verb}" if told else "Nothing to remove.")
    stayed = [(one.digest[:_SHOWN] or one.path.name, reason) for one, reason in done.kept]
    stayed += [(_code_name(one), reason) for one, reason in code.kept]
    for name, reason in stayed if not as_json else ():
        note(f"kept {name}: {reason}")
    facts = {
        "dry_run": dry_run,
        "removed": [*(one.to_dict() for one in done.removed), *(one.to_dict() for one in code.removed)],
        "kept": [
            *({**one.to_dict(), "reason": reason} for one, reason in done.kept),
            *({**one.to_dict(), "reason": reason} for one, reason in code.kept),
        ],
        "freed": freed,
    }
    answer(facts, "\n".join(rows), as_json, failed=failed)


def _ago(seconds: float) -> str:
    """A time gone by, for people."""
    for unit, length in (("week", 7 * 86400), ("day", 86400), ("hour", 3600), ("minute", 60)):
        count = int(seconds // length)
        if count and (unit != "week" or count > 1):
            return f"{counted(count, unit)} ago"
    return "just now"
