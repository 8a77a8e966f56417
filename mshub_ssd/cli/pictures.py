"""``detect``, ``classify`` and ``demo``: what is on a picture."""

from __future__ import annotations

import itertools
import logging
import math
import os
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mshub_ssd import facts
from mshub_ssd.cli.options import OUT_FILE, complete_uid, json_option, offline_option, verbosity_options
from mshub_ssd.cli.output import (
    answer,
    emit,
    guarded_stdout,
    mshub_command,
    python_command,
)
from mshub_ssd.errors import UsageError
from mshub_ssd.hub import default_hub
from mshub_ssd.terminal import size_text, table

if TYPE_CHECKING:
    from mshub_ssd.cards import Card
    from mshub_ssd.results import Classification, Detections

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
    card, network, found = _look_at("detect", image, model, out, score_threshold, max_detections)
    threshold = network.config.score_threshold if score_threshold is None else score_threshold
    answer(_facts(found, card, image, out), _words(_table(found, threshold), out), as_json)


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
    card, _, found = _look_at("classify", image, model, out, top_k)
    rows = [("score", "label", "name"), *((f"{row.score:.3f}", str(row.label), row.name) for row in found)]
    answer(_facts(found, card, image, out), _words(table(rows, right=(0, 1)), out), as_json)


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
    digest = hub.checkpoint(_DEMO_MODEL).sha256
    if not as_json:
        figures = ", ".join(map(facts.metric_text, card.metrics)) or "none given"
        rows = [
            ("card", f"{card.uid}  ({card.path})"),
            ("figures", f"{figures}  (as the card states them)"),
            ("checkpoint", f"{checkpoint}  ({size_text(checkpoint.stat().st_size)})"),
            ("sha256", f"{digest}  verified"),
            ("picture", f"{picture}  ({pixels.shape[1]} x {pixels.shape[0]})"),
        ]
        emit(f"Finding handwritten digits that the model has not seen in training.\n\n{table(rows)}")
    with guarded_stdout():
        times = [time.perf_counter()]
        network = hub.load(_DEMO_MODEL)
        times.append(time.perf_counter())
        for _ in range(2):
            found = predictor.detect(network, pixels)
            times.append(time.perf_counter())
        found.save(out)
    load, first, following = (after - before for before, after in itertools.pairwise(times))
    seconds = {"load": round(load, 4), "first_picture": round(first, 4), "next_picture": round(following, 4)}
    text = (
        f"time        {load:.1f} s to load, with MindSpore's own start; "
        f"{first:.2f} s for the first picture, {following:.2f} s for the next\n\n"
        f"{_words(_table(found, network.config.score_threshold), out)}\n\n{_what_next(picture)}"
    )
    answer({**_facts(found, card, picture, out), "sha256": digest, "seconds": seconds}, text, as_json)


def _look_at(verb: str, image: Path, model: str, out: Path | None, *arguments: Any) -> tuple[Card, Any, Any]:
    """Read the picture, load the model, ask it, and write what it says if that is wanted.

    Args:
        verb: A function of `mshub_ssd.predictor`.
        image: The picture.
        model: Uid, or path of a card.
        out: Where to write the picture with what was found.
        arguments: Further ones of the function.

    Returns:
        The card, the network, and what was found.
    """
    if out is not None and _same_file(out, image):
        raise click.BadParameter("this is the picture itself, which would be lost", param_hint="'--out'")
    from mshub_ssd import networks, providers

    hub = default_hub()
    card = hub.info(model)
    networks.require_mindspore()
    with guarded_stdout():
        from mshub_ssd import pictures, predictor

        # Whatever can be refused is refused before the model is loaded.
        if out is not None:
            _check_out(out)
        pixels = pictures.read_image(image)
        began = time.perf_counter()
        network = hub.load(model)
        loaded = time.perf_counter()
        _log.info("loaded %s as %s in %.2f s", card.uid, providers.choose_network(card).key, loaded - began)
        found = getattr(predictor, verb)(network, pixels, *arguments)
        _log.info("looked at %s in %.2f s", image, time.perf_counter() - loaded)
        if out is not None:
            found.save(out)
    return card, network, found


def _same_file(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except (OSError, ValueError):  # one of them is not there, or has no name a file can have
        return False


def _facts(found: Detections | Classification, card: Card, image: Path, out: Path | None) -> dict[str, Any]:
    facts = found.to_dict()
    own = {"model": card.uid, "image": {"path": str(image), **facts["image"]}, "out": None if out is None else str(out)}
    return {**facts, **own}


def _words(table: str, out: Path | None) -> str:
    return table if out is None else f"{table}\n\nwrote {out}"


def _table(found: Detections, threshold: float) -> str:
    if not len(found):
        above = f" with a score above {threshold:g}. Try a lower one: --score-threshold {threshold / 2:g}"
        return f"Nothing found{above if threshold > 0 else '.'}"
    rows: list[tuple[str, ...]] = [("name", "score", "x1", "y1", "x2", "y2")]
    rows += [(row.name, f"{row.score:.3f}", *(f"{side:.1f}" for side in row.box)) for row in found]
    return table(rows, right=_FIGURES)


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
    from mshub_ssd.results import writable_suffixes

    if out.suffix.lower() not in writable_suffixes():
        what = f"the ending {out.suffix!r} is" if out.suffix else "a name without an ending is"
        raise click.BadParameter(f"{out}: {what} no format of pictures; take .png, .jpg or .webp", param_hint="'--out'")
    if not out.parent.is_dir():
        raise click.BadParameter(
            f"the folder {out.parent} does not exist; mkdir -p {shlex.quote(str(out.parent))}", param_hint="'--out'"
        )
    if not os.access(out.parent, os.W_OK):
        raise click.BadParameter(f"the folder {out.parent.absolute()} cannot be written", param_hint="'--out'")
