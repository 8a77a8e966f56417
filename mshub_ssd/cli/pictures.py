"""``detect``, ``classify`` and ``demo``: what is on a picture."""

from __future__ import annotations

import logging
import math
import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

from mshub_ssd.cli.models import metric_text
from mshub_ssd.cli.options import OUT_FILE, complete_uid, json_option, offline_option, verbosity_options
from mshub_ssd.cli.output import (
    emit,
    emit_json,
    guarded_stdout,
    mshub_command,
    python_command,
)
from mshub_ssd.errors import UsageError
from mshub_ssd.hub import default_hub
from mshub_ssd.terminal import size_text, table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mshub_ssd.cards import Card
    from mshub_ssd.results import Classification, Detections

    RGB: TypeAlias = NDArray[np.uint8]
    Answer = TypeVar("Answer", Detections, Classification)
    Look: TypeAlias = Callable[[Any, RGB], Answer]

__all__ = ["classify_command", "demo_command", "detect_command"]

_log = logging.getLogger(__name__)

_DEMO_MODEL = "mshub/1.0/ssdmobilenetv2_digits"
_DEMO_PICTURE = "demo_digits.png"
_FIGURES = (1, 2, 3, 4, 5)  # columns of numbers in the table of detections


def _number(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and math.isnan(value):  # which is in every range
        raise click.BadParameter("nan is not a score")
    return value


def _about_out(what: str) -> str:
    return f"Write the picture with {what}; the ending decides the format."


_image_argument = click.argument("image", type=click.Path(path_type=Path))
_model_option = click.option(
    "--model",
    required=True,
    shell_complete=complete_uid,
    metavar="UID",
    help="A name from `mshub list`, or a card file.",
)


@click.command("detect")
@offline_option
@_image_argument
@_model_option
@click.option("--out", type=OUT_FILE, metavar="FILE", help=_about_out("the boxes drawn"))
@click.option(
    "--score-threshold",
    type=click.FloatRange(0, 1),
    callback=_number,
    metavar="SCORE",
    help="Show what scores higher, 0 to 1.  [default: the model's own]",
)
@click.option(
    "--max-detections",
    type=click.IntRange(min=1),
    metavar="N",
    help="Show the best N at most.  [default: the model's own limit]",
)
@json_option
@verbosity_options
def detect_command(
    image: Path,
    model: str,
    out: Path | None,
    score_threshold: float | None,
    max_detections: int | None,
    as_json: bool,
) -> None:
    """Find objects on a picture.

    Prints a table, best first, with boxes in pixels of the picture as x1 y1 (top left) and x2 y2 (bottom right).
    Nothing is written unless --out is given.
    """

    def look(network: Any, pixels: RGB) -> Detections:
        from mshub_ssd import predictor

        return predictor.detect(network, pixels, score_threshold, max_detections)

    card, network, found = _look_at(image, model, out, look)
    if as_json:
        emit_json(_answer(found, card, image, out))
        return
    threshold = network.config.score_threshold if score_threshold is None else score_threshold
    emit(_table(found) if len(found) else _nothing(threshold))
    if out is not None:
        emit(f"\nwrote {out}")


@click.command("classify")
@offline_option
@_image_argument
@_model_option
@click.option("--out", type=OUT_FILE, metavar="FILE", help=_about_out("the classes below it"))
@click.option(
    "--top-k", type=click.IntRange(min=1), default=5, show_default=True, metavar="N", help="Show the best N classes."
)
@json_option
@verbosity_options
def classify_command(image: Path, model: str, out: Path | None, top_k: int, as_json: bool) -> None:
    """Say what is on a picture.

    Prints the most probable classes, best first. Nothing is written unless --out is given.
    """

    def look(network: Any, pixels: RGB) -> Classification:
        from mshub_ssd import predictor

        return predictor.classify(network, pixels, top_k)

    card, _, found = _look_at(image, model, out, look)
    if as_json:
        emit_json(_answer(found, card, image, out))
        return
    rows = [("score", "label", "name"), *((f"{row.score:.3f}", str(row.label), row.name) for row in found)]
    emit(table(rows, right=(0, 1)))
    if out is not None:
        emit(f"\nwrote {out}")


@click.command("demo")
@click.option(
    "--out",
    type=OUT_FILE,
    default=Path("mshub-demo.png"),
    show_default=True,
    metavar="FILE",
    help=_about_out("the boxes drawn"),
)
@json_option
@verbosity_options
def demo_command(out: Path, as_json: bool) -> None:
    """See it work: the bundled model finds handwritten digits on a bundled picture.

    Needs no network. The digits are held-out ones, which the model was not trained on.
    """
    from mshub_ssd import networks

    hub = default_hub()
    networks.require_mindspore()
    card = hub.info(_DEMO_MODEL)
    picture = _demo_picture()
    with guarded_stdout():
        from mshub_ssd import pictures, predictor

        _check_out(out)
        checkpoint = hub.fetch(_DEMO_MODEL)
        pixels = pictures.read_image(picture)
    # fetch has just compared the file with this digest, and load does so once more.
    digest = next(asset.sha256 for asset in card.assets if asset.sha256)
    if not as_json:
        figures = ", ".join(map(metric_text, card.metrics)) or "none given"
        emit("Finding handwritten digits that the model has not seen in training.\n")
        size = size_text(checkpoint.stat().st_size)
        emit(
            table(
                [
                    ("card", f"{card.uid}  ({card.path})"),
                    ("figures", f"{figures}  (as the card states them)"),
                    ("checkpoint", f"{checkpoint}  ({size})"),
                    ("sha256", f"{digest}  verified"),
                    ("picture", f"{picture}  ({pixels.shape[1]} x {pixels.shape[0]})"),
                ]
            )
        )
    with guarded_stdout():
        began = time.perf_counter()
        network = hub.load(_DEMO_MODEL)
        loaded = time.perf_counter()
        found = predictor.detect(network, pixels)
        first = time.perf_counter()
        predictor.detect(network, pixels)
        seconds = {
            "load": loaded - began,
            "first_picture": first - loaded,
            "next_picture": time.perf_counter() - first,
        }
        found.save(out)
    if as_json:
        answer = _answer(found, card, picture, out)
        answer["sha256"] = digest
        answer["seconds"] = {name: round(value, 4) for name, value in seconds.items()}
        emit_json(answer)
        return
    emit(
        f"time        {seconds['load']:.1f} s to load, with MindSpore's own start; "
        f"{seconds['first_picture']:.2f} s for the first picture, {seconds['next_picture']:.2f} s for the next\n"
    )
    emit(_table(found) if len(found) else _nothing(network.config.score_threshold))
    emit(f"\nwrote {out}\n\n{_what_next(picture)}")


def _look_at(image: Path, model: str, out: Path | None, look: Look[Answer]) -> tuple[Card, Any, Answer]:
    """Read the picture, load the model, ask it, and write what it says if that is wanted."""
    from mshub_ssd import networks

    hub = default_hub()
    if out is not None and _same_file(out, image):
        raise click.BadParameter("this is the picture itself, which would be lost", param_hint="'--out'")
    card = hub.info(model)
    networks.require_mindspore()
    with guarded_stdout():
        from mshub_ssd import pictures

        # Whatever can be refused is refused before the model is loaded.
        if out is not None:
            _check_out(out)
        pixels = pictures.read_image(image)
        began = time.perf_counter()
        network = hub.load(model)
        loaded = time.perf_counter()
        _log.info("loaded %s as %s in %.2f s", card.uid, hub.plan(model).recipe.key, loaded - began)
        found = look(network, pixels)
        _log.info("looked at %s in %.2f s", image, time.perf_counter() - loaded)
        if out is not None:
            found.save(out)
    return card, network, found


def _same_file(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except (OSError, ValueError):  # one of them is not there, or has no name a file can have
        return False


def _answer(found: Detections | Classification, card: Card, image: Path, out: Path | None) -> dict[str, Any]:
    answer = found.to_dict()
    answer["model"] = card.uid
    answer["image"] = {"path": str(image), **answer["image"]}
    answer["out"] = None if out is None else str(out)
    return answer


def _table(found: Detections) -> str:
    rows: list[tuple[str, ...]] = [("name", "score", "x1", "y1", "x2", "y2")]
    rows += [(row.name, f"{row.score:.3f}", *(f"{side:.1f}" for side in row.box)) for row in found]
    return table(rows, right=_FIGURES)


def _nothing(threshold: float) -> str:
    if threshold <= 0:
        return "Nothing found."
    return f"Nothing found with a score above {threshold:g}. Try a lower one: --score-threshold {threshold / 2:g}"


def _what_next(picture: Path) -> str:
    again = shlex.quote(str(picture))
    # Texts in single quotes, so that the program can stand in double ones, which is easier to read.
    program = f"import mshub_ssd as mshub; print(mshub.detect({_DEMO_MODEL!r}, {str(picture)!r}))"
    quoted = shlex.quote(program) if set(program) & set('"$`\\!') else f'"{program}"'
    return "\n".join(
        [
            "Try next:",
            f"  {mshub_command()} list --loadable",
            f"  {mshub_command()} detect {again} --model {_DEMO_MODEL} --score-threshold 0.5 --out again.png",
            f"  {python_command()} -c {quoted}",
        ]
    )


def _demo_picture() -> Path:
    from importlib import resources

    path = Path(str(resources.files("mshub_ssd.cli") / _DEMO_PICTURE))
    if not path.is_file():
        raise UsageError(
            "the demo's picture is missing from this installation",
            where=str(path),
            hint="pip install --force-reinstall --no-deps mshub_ssd",
        )
    return path


def _check_out(out: Path) -> None:
    """Refuse a picture that could not be written, before minutes are spent on it."""
    from PIL import Image

    writable = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.SAVE}
    if out.suffix.lower() not in writable:
        what = f"the ending {out.suffix!r} is" if out.suffix else "a name without an ending is"
        raise click.BadParameter(f"{out}: {what} no format of pictures; take .png, .jpg or .webp", param_hint="'--out'")
    if not out.parent.is_dir():
        raise click.BadParameter(
            f"the folder {out.parent} does not exist; mkdir -p {shlex.quote(str(out.parent))}", param_hint="'--out'"
        )
    if not os.access(out.parent, os.W_OK):
        raise click.BadParameter(f"the folder {out.parent.absolute()} cannot be written", param_hint="'--out'")
