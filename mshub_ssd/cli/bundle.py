"""``bundle``: models with their checkpoints in one file, for machines without a network."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mshub_ssd import facts
from mshub_ssd.cli.options import OUT_FILE, complete_uid, json_option, offline_option, verbosity_options
from mshub_ssd.cli.output import answer, mshub_command
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
@click.option("--with-graph", is_flag=True, help="Write the networks down, too, so that the first `detect` need not.")
@click.option("--with-code", is_flag=True, help="Take along code of repositories that you consented to.")
@json_option
@verbosity_options
def make_command(
    uids: tuple[str, ...], out: Path, force: bool, with_graph: bool, with_code: bool, as_json: bool
) -> None:
    """Write a bundle; the word `make` may be left out.

    Checkpoints come from the cache, or are downloaded. UID may be a wildcard such as 'mindspore/1.8/*'; quote it. The
    same cards give the same bytes.
    """
    hub = default_hub()
    bundle = hub.make_bundle(facts.expand(hub, uids), out, force=force, with_graph=with_graph, with_code=with_code)
    text = f"wrote {out}: {_contents(bundle)}\nOn the other machine: mshub bundle install {shlex.quote(out.name)}"
    answer(bundle.to_dict(), text, as_json)


@bundle_group.command("install")
@click.argument("file", type=OUT_FILE)
@click.option("--dry-run", is_flag=True, help="Verify the bundle and tell what would be done; write nothing.")
@click.option("--force", is_flag=True, help="Replace cards of the same uids that say something else.")
@click.option("--without-graphs", is_flag=True, help="Leave its graphs out; they are made here when they are needed.")
@click.option("--without-code", is_flag=True, help="Leave its code of repositories out.")
@json_option
@verbosity_options
def install_command(
    file: Path, dry_run: bool, force: bool, without_graphs: bool, without_code: bool, as_json: bool
) -> None:
    """Take a bundle in: checkpoints into the cache, cards where all commands find them.

    Every byte is verified before a card is installed; then all cards are, or none. Graphs that this version of
    mshub_ssd would make otherwise are passed over (-v tells why), and so is code that no model means. Code runs only
    with your consent on this machine, whoever consented elsewhere.
    """
    from mshub_ssd import bundles, foreign

    with Bar("verifying" if dry_run else "installing", bundles.inspect(file).size) as bar:
        done = default_hub().install_bundle(
            file,
            force=force,
            dry_run=dry_run,
            with_graphs=not without_graphs,
            with_code=not without_code,
            advance=bar.advance,
        )
    states = {"new": done.new, "replaced": done.replaced, "present": done.present}
    words = dict(zip(states, ("installed", "replaced", "there already"), strict=True))
    if dry_run:
        words |= {"new": "would be installed", "replaced": "would be replaced"}
    state_of = {uid: words[state] for state, uids in states.items() for uid in uids}
    sizes = [member.size for member in done.bundle.of_kind("checkpoint")]
    verified = f"{counted(len(sizes), 'checkpoint')} verified, {size_text(sum(sizes))}; cards in {done.folder}"
    carried = {uid for member in done.bundle.of_kind("graph") for uid in member.uids}
    if carried:
        passed = len(carried) - len(done.graphs)
        verified += f"\n{counted(len(done.graphs), 'graph')} {'to keep' if dry_run else 'in the cache'}"
        verified += f", {passed} passed over" if passed else ""
    if folders := done.bundle.of_kind("code"):
        passed = len(folders) - len(done.code)
        verified += f"\n{counted(len(done.code), 'folder')} of code {'to keep' if dry_run else 'in the cache'}"
        verified += f", {passed} passed over" if passed else ""
        pins = dict.fromkeys(pin.partition(":")[0] for pin in done.code)
        waiting = [pin for pin in pins if not foreign.is_allowed(*foreign.parse_pin(pin))]
        verified += "".join(f"\nit runs only with your consent: {mshub_command()} trust add {pin}" for pin in waiting)
    following = [] if dry_run else [f"Next: {mshub_command()} info {shlex.quote(done.bundle.uids[0])}"]
    answer(
        {
            "bundle": done.bundle.to_dict(),
            "dry_run": dry_run,
            "folder": str(done.folder),
            **states,
            "graphs": done.graphs,
            "code": done.code,
        },
        "\n".join([table([(uid, state_of[uid]) for uid in done.bundle.uids]), "", verified, *following]),
        as_json,
    )


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
    rows = [("uid", "what", "size", "sha256")]
    for uid in bundle.uids:
        own = [
            member for kind in ("checkpoint", "graph", "code") for member in bundle.of_kind(kind) if uid in member.uids
        ]
        rows += [
            (uid if not number else "", one.kind, size_text(one.size), one.sha256) for number, one in enumerate(own)
        ]
    answer(bundle.to_dict(), f"{table(rows, right=(2,))}\n\n{_contents(bundle)}", as_json)


def _contents(bundle: bundles.Bundle) -> str:
    graphs = bundle.of_kind("graph")
    parts = [counted(len(bundle.of_kind(kind)), kind) for kind in ("card", "checkpoint")]
    if graphs:
        parts.append(f"{counted(len(graphs), 'graph')} ({size_text(sum(one.size for one in graphs))})")
    if code := bundle.of_kind("code"):
        parts.append(f"{counted(len(code), 'folder')} of code ({size_text(sum(one.size for one in code))})")
    return ", ".join([*parts, size_text(bundle.size)])
