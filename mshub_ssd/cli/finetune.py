"""``finetune``: a detector for one's own classes, trained on one's own pictures."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mshub_ssd.cli.options import complete_uid, json_option, offline_option, verbosity_options
from mshub_ssd.cli.output import answer, guarded_stdout, mshub_command, note, without_secrets
from mshub_ssd.hub import default_hub

if TYPE_CHECKING:
    from mshub_ssd.training import Tuned

__all__ = ["finetune_command"]

_FOLDER = click.Path(path_type=Path)
_ABOVE_NONE = click.FloatRange(min=0, min_open=True)


def _number(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):  # nan is in every range
        raise click.BadParameter("this is no number")
    return value


_NUMBER: dict[str, Any] = {"callback": _number}
_WHOLE = click.IntRange(min=1)


@click.command("finetune")
@offline_option
@click.argument("model", metavar="UID", shell_complete=complete_uid)
@click.option(
    "--annotations", required=True, type=_FOLDER, metavar="FILE", help="What is on the pictures: COCO's JSON."
)
@click.option(
    "--images", required=True, type=_FOLDER, metavar="DIR", help="The folder that the names in FILE begin in."
)
@click.option("--out", required=True, type=_FOLDER, metavar="DIR", help="Where checkpoint and card are written.")
@click.option("--val-annotations", type=_FOLDER, metavar="FILE", help="What is measured on.")
@click.option("--val-images", type=_FOLDER, metavar="DIR", help="The folder of these pictures.  [default: --images]")
@click.option(
    "--val-split",
    type=click.FloatRange(0, 0.9),
    **_NUMBER,
    default=0.1,
    show_default=True,
    metavar="SHARE",
    help="Without --val-annotations: hold out this part of the pictures, by the seed. 0 measures nothing.",
)
@click.option("--steps", type=_WHOLE, metavar="N", help="How many steps.  [default: 600]")
@click.option("--epochs", type=_ABOVE_NONE, **_NUMBER, metavar="N", help="Instead: how often each picture is seen.")
@click.option(
    "--minutes", type=_ABOVE_NONE, **_NUMBER, metavar="N", help="A limit: fewer steps where they would take longer."
)
@click.option("--batch-size", type=_WHOLE, default=16, show_default=True, metavar="N", help="Pictures of a step.")
@click.option(
    "--learning-rate", type=_ABOVE_NONE, **_NUMBER, default=1e-3, show_default=True, metavar="RATE", help="The highest."
)
@click.option(
    "--freeze-epochs",
    type=click.FloatRange(min=0),
    **_NUMBER,
    metavar="N",
    help="So many passes over the pictures leave the backbone alone.  [default: a tenth of the steps]",
)
@click.option(
    "--flip/--no-flip",
    default=False,
    show_default=True,
    help="Mirror half of the pictures. Not for digits, letters and signs.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="What chance follows from."
)
@click.option(
    "--input-size", type=_WHOLE, metavar="PIXELS", help="Side of the input, where the network lets one choose."
)
@click.option(
    "--device", type=click.Choice(["CPU", "GPU", "Ascend"]), help="What it runs on.  [default: what MindSpore has]"
)
@click.option("--evaluate-every", type=_WHOLE, metavar="N", help="Measure after so many steps.  [default: four times]")
@click.option("--save-every", type=_WHOLE, metavar="N", help="Remember the state so often.  [default: once a minute]")
@click.option("--from-scratch", is_flag=True, help="Begin with random weights.")
@click.option("--name", metavar="NAME", help="What the new model is called.  [default: as the one it is made of]")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["ckpt", "safetensors"]),
    default="ckpt",
    show_default=True,
    help="What kind of file the checkpoint is.",
)
@click.option("--resume", is_flag=True, help="Go on where a run in --out was interrupted; where there was none, begin.")
@json_option
@verbosity_options
def finetune_command(model: str, from_scratch: bool, as_json: bool, **options: Any) -> None:
    """Train a detector for the classes of your own pictures.

    UID's weights are taken as far as they fit, classes by their names. The backbone is frozen at first. The best
    weights go to DIR with a card, DIR/card.md, that every command takes in the place of a UID.

    The same seed gives the same weights on the same machine. A run that was killed goes on with --resume and ends as
    if it had not been.
    """
    if options["steps"] is not None and options["epochs"] is not None:
        raise click.UsageError("--steps and --epochs both say how long it takes; give one of them")
    quiet = logging.getLogger("mshub_ssd").level >= logging.ERROR  # -q
    with guarded_stdout():
        from mshub_ssd.training import finetune

        done = finetune(model, pretrained=not from_scratch, hub=default_hub(), quiet=quiet, **options)
    answer(without_secrets(done.to_dict()), str(done), as_json)
    if not as_json:
        for line in _next(done):
            note(line)


def _next(done: Tuned) -> list[str]:
    return ["", "Try next:", f"  {mshub_command()} detect PICTURE --model {done.card} --out found.png"]
