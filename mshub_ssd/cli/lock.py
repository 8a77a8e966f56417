"""``lock`` and ``sync``: the exact models of a project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from mshub_ssd import facts
from mshub_ssd.cli.options import complete_uid, json_option, offline_option, verbosity_options
from mshub_ssd.cli.output import answer, failed_entry
from mshub_ssd.errors import MshubError
from mshub_ssd.hub import default_hub
from mshub_ssd.lockfile import FILE_NAME, Difference
from mshub_ssd.terminal import counted

__all__ = ["lock_command", "sync_command"]

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("lock")
@click.argument("uids", nargs=-1, metavar="[UID...]", shell_complete=complete_uid)
@click.option("-o", "--out", type=_FILE, default=Path(FILE_NAME), show_default=True, metavar="FILE", help="Lock file.")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 where the cards say something else by now.")
@json_option
@verbosity_options
def lock_command(uids: tuple[str, ...], out: Path, check: bool, as_json: bool) -> None:
    """Write down the exact models that a project uses: digests of their cards and checkpoints.

    The models of UID are added or renewed, the others in FILE stay as they are; without UID all of them are renewed.
    Nothing is downloaded. UID may be a wildcard; quote it.
    """
    hub = default_hub()
    names = facts.expand(hub, uids)
    changes = hub.lock(names, out, dry_run=check)
    changed = {uid: [vars(one) for one in found or ()] for uid, found in changes.items() if found != []}
    lines = [f"{uid}: {_change(found)}" for uid, found in changes.items()]
    lines.append("" if check else f"wrote {out}: {counted(len(changes), 'model')} looked at")
    told = {"file": str(out), "models": list(changes), "changed": changed, "written": not check}
    answer(told, "\n".join(filter(None, lines)), as_json, failed=check and bool(changed))


@click.command("sync")
@offline_option
@click.option("-f", "--file", type=_FILE, default=Path(FILE_NAME), show_default=True, metavar="FILE", help="Lock file.")
@click.option("--locked", is_flag=True, help="Refuse cards that say something else by now, instead of renewing FILE.")
@click.option("--bundle", type=_FILE, metavar="FILE", help="Take cards and checkpoints from this bundle first.")
@json_option
@verbosity_options
def sync_command(file: Path, locked: bool, bundle: Path | None, as_json: bool) -> None:
    """Bring the models of a lock file to the cache: from the cache, a bundle, or the network.

    With --locked they are exactly those that were locked, or the command fails and says what differs; everything else
    is still brought.
    """
    results = default_hub().sync(file, locked=locked, bundle=bundle)
    entries = []
    for uid, result in results.items():
        if isinstance(result, MshubError):
            entries.append(failed_entry(result, uid=uid))
        else:
            entries.append({"uid": uid, "path": str(result)})
    text = "\n".join(f"{entry['uid']}  {entry['path']}" for entry in entries if "path" in entry)
    answer(entries, text or None, as_json, failed=any("error" in entry for entry in entries))


def _change(found: Sequence[Difference] | None) -> str:
    if found is None:
        return "new"
    return "; ".join(f"{one.what}: {one.locked} -> {one.now}" for one in found) or "as it was"
