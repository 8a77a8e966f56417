"""``bundle``: models with their checkpoints in one file, for machines without a network."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mshub_ssd import facts
from mshub_ssd.cli.options import OUT_FILE, complete_uid, json_option, offline_option, verbosity_options
from mshub_ssd.cli.output import emit, emit_json, mshub_command
from mshub_ssd.hub import default_hub
from mshub_ssd.terminal import Bar, counted, size_text, table

if TYPE_CHECKING:
    from mshub_ssd import bundles

__all__ = ["bundle_group", "make_command"]


class _WithDefault(click.Group):
    """A group that takes everything but its commands' names for the arguments of ``make``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = next((word for word in args if not word.startswith("-")), None)
        if first is not None and first not in self.commands:
            args = ["make", *args]
        return super().parse_args(ctx, args)


@click.group("bundle", cls=_WithDefault, subcommand_metavar="UID... -o FILE | COMMAND ...")
@verbosity_options
def bundle_group() -> None:
    """Carry models to machines without a network.

    `mshub bundle UID... -o FILE` writes cards and checkpoints to one file; `mshub bundle install FILE` takes them in
    on the other machine, verified byte for byte.
    """


@bundle_group.command("make")
@offline_option
@click.argument("uids", nargs=-1, required=True, metavar="UID...", shell_complete=complete_uid)
@click.option("-o", "--out", type=OUT_FILE, required=True, metavar="FILE", help="The bundle to write.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@json_option
@verbosity_options
def make_command(uids: tuple[str, ...], out: Path, force: bool, as_json: bool) -> None:
    """Write a bundle; the word `make` may be left out.

    Checkpoints come from the cache, or are downloaded. UID may be a wildcard such as 'mindspore/1.8/*'; quote it. The
    same cards give the same bytes.
    """
    bundle = default_hub().make_bundle(facts.expand(default_hub(), uids), out, force=force)
    if as_json:
        emit_json(bundle.to_dict())
        return
    emit(f"wrote {out}: {_contents(bundle)}")
    emit(f"On the other machine: mshub bundle install {shlex.quote(out.name)}")


@bundle_group.command("install")
@click.argument("file", type=OUT_FILE)
@click.option("--dry-run", is_flag=True, help="Verify the bundle and tell what would be done; write nothing.")
@click.option("--force", is_flag=True, help="Replace cards of the same uids that say something else.")
@json_option
@verbosity_options
def install_command(file: Path, dry_run: bool, force: bool, as_json: bool) -> None:
    """Take a bundle in: checkpoints into the cache, cards where all commands find them.

    Every byte is verified before a card is installed; then all cards are, or none.
    """
    from mshub_ssd import bundles

    with Bar("verifying" if dry_run else "installing", bundles.inspect(file).size) as bar:
        done = default_hub().install_bundle(file, force=force, dry_run=dry_run, advance=bar.advance)
    if as_json:
        emit_json(
            {
                "bundle": done.bundle.to_dict(),
                "dry_run": dry_run,
                "folder": str(done.folder),
                "new": list(done.new),
                "replaced": list(done.replaced),
                "present": list(done.present),
            }
        )
        return
    rows = [(uid, state) for uid, state in _states(done, dry_run)]
    emit(table(rows))
    checkpoints = [member for member in done.bundle.members if not member.is_card]
    size = size_text(sum(member.size for member in checkpoints))
    emit(f"\n{counted(len(checkpoints), 'checkpoint')} verified, {size}; cards in {done.folder}")
    if not dry_run:
        emit(f"Next: {mshub_command()} info {shlex.quote(done.bundle.uids[0])}")


@bundle_group.command("ls")
@click.argument("file", type=OUT_FILE)
@json_option
@verbosity_options
def ls_command(file: Path, as_json: bool) -> None:
    """Show what a bundle says that it holds.

    The checkpoints are not read; `mshub bundle install --dry-run FILE` verifies them.
    """
    from mshub_ssd import bundles

    bundle = bundles.inspect(file)
    if as_json:
        emit_json(bundle.to_dict())
        return
    rows = [("uid", "size", "sha256")]
    for uid in bundle.uids:
        own = [member for member in bundle.members if not member.is_card and uid in member.uids]
        rows += [(uid if not number else "", size_text(one.size), one.sha256) for number, one in enumerate(own)]
    emit(table(rows, right=(1,)))
    emit(f"\n{_contents(bundle)}")


def _states(done: bundles.Installed, dry_run: bool) -> list[tuple[str, str]]:
    would = "would be " if dry_run else ""
    words = [(done.new, f"{would}installed"), (done.replaced, f"{would}replaced"), (done.present, "there already")]
    states = {uid: word for uids, word in words for uid in uids}
    return [(uid, states[uid]) for uid in done.bundle.uids]


def _contents(bundle: bundles.Bundle) -> str:
    checkpoints = sum(not member.is_card for member in bundle.members)
    cards, files = counted(len(bundle.uids), "card"), counted(checkpoints, "checkpoint")
    return f"{cards}, {files}, {size_text(bundle.size)}"
