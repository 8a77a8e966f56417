"""``convert``: a checkpoint with MindSpore's names, in a format of MindSpore's, for good."""

from __future__ import annotations

from pathlib import Path

import click

from mshub_ssd import formats
from mshub_ssd.cli.options import json_option, verbosity_options
from mshub_ssd.cli.output import answer, guarded_stdout
from mshub_ssd.errors import UsageError

__all__ = ["convert_command"]


@click.command("convert")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--network", metavar="KEY", help="Refuse OLD unless it fits this network; takes off wrapper prefixes.")
@click.option("--force", is_flag=True, help="Overwrite NEW.")
@json_option
@verbosity_options
def convert_command(old: Path, new: Path, network: str | None, force: bool, as_json: bool) -> None:
    """Convert a checkpoint to MindSpore's names and formats.

    OLD is a .pth, .ckpt or .safetensors file, NEW a .ckpt or .safetensors file. Batch norms get MindSpore's names,
    and SSDs of MMDetection before 2.14 their names of today; a file that has them keeps its tensors and names as
    they are. The values never change. PyTorch is not needed, and nothing inside a .pth file is run.
    """
    target = formats.format_of(None, new.name)
    if target is None or target.writer is None:
        raise click.BadParameter(f"the ending must be {formats.main_endings(written=True)}", param_hint="'NEW'")
    if new.exists() and not force:
        raise UsageError("the file is there already", where=str(new), hint="choose another name, or --force")
    from mshub_ssd import checkpoints

    arrays = checkpoints.read(old, "")
    translation = checkpoints.translate(arrays)
    renamed = sum(name != new_name for name, new_name in translation.names.items())
    if network is None:
        values = {new_name: arrays[name] for name, new_name in translation.names.items()}
    else:
        from mshub_ssd import loading

        with guarded_stdout():
            values = loading.fitted(arrays, network, where=str(old))
    checkpoints.write(new, values, overwrite=force)
    facts = {
        "source": str(old),
        "target": str(new),
        "network": network,
        "layout": translation.layout or None,
        "tensors": len(values),
        "renamed": renamed,
        "dropped": list(translation.dropped),
    }
    layout = f", from the layout of {translation.layout}" if translation.layout else ""
    dropped = f", {len(translation.dropped)} counters left out" if translation.dropped else ""
    answer(facts, f"wrote {new}: {len(values)} tensors, {renamed} renamed{layout}{dropped}", as_json)
