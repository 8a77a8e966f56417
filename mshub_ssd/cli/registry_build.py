"""``registry build``: a folder of cards as files for any web server."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from mshub_ssd.cli.options import json_option, verbosity_options
from mshub_ssd.cli.output import answer, mshub_command, note
from mshub_ssd.terminal import Bar, counted, size_text

__all__ = ["build_command"]

_FOLDER = click.Path(path_type=Path)
_SHOWN = 5


@click.command("build")
@click.argument("folder", type=_FOLDER, metavar="DIR")
@click.option(
    "-o", "--out", type=_FOLDER, required=True, metavar="OUT", help="The folder to write, or to bring up to date."
)
@click.option("--prune", is_flag=True, help="Remove parts that neither this revision nor the one before it needs.")
@json_option
@verbosity_options
def build_command(folder: Path, out: Path, prune: bool, as_json: bool) -> None:
    """Write the cards in DIR as files that any web server can serve.

    Readers fetch a small index.json and the parts they need. The same cards give the same bytes; building again writes
    only what changed, and index.json last. When you copy OUT to a server, copy parts/ first and index.json last.

    Exit code 1 if something in DIR could not be taken along; the rest is written.
    """
    from mshub_ssd.registry import build

    with Bar("building", unit=" cards") as bar:
        built = build(folder, out, prune=prune, advance=bar.advance)
    lost = [f"left out, {reason}: {place}" for place, reason in built.left_out]
    odd = [f"taken along, but cannot be read: {uid}: {reason}" for uid, reason in built.unreadable]
    for told in () if as_json else (lost, odd):
        for line in told[:_SHOWN]:
            note(line)
        if len(told) > _SHOWN:
            note(f"and {len(told) - _SHOWN} more; all of them: --json")
    news = (
        f"{counted(built.written, 'part')} new ({size_text(built.written_bytes)})" if built.changed else "nothing new"
    )
    text = (
        f"{out}: {counted(built.cards, 'card')} in {counted(built.parts, 'part')}, {size_text(built.bytes)}; {news}\n"
        f"revision {built.revision}\n"
        f"Try it: python -m http.server -d {shlex.quote(str(out))}, then"
        f" {mshub_command()} registry add NAME http://localhost:8000/"
    )
    answer(built.to_dict(), text, as_json, failed=bool(built.left_out))
