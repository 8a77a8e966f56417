"""``detect``, ``classify`` and ``demo``: what is on pictures."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mshub_ssd.cli.options import OUT_FILE, complete_uid, json_option, offline_option, verbosity_options
from mshub_ssd.cli.output import (
    answer,
    emit,
    failed_entry,
    guarded_stdout,
    mshub_command,
    on_terminal,
    python_command,
    without_secrets,
)
from mshub_ssd.errors import ImageError, OfflineError, TransferError, UsageError
from mshub_ssd.hub import default_hub
from mshub_ssd.redaction import file_name
from mshub_ssd.terminal import Bar, size_text, table

if TYPE_CHECKING:
    from mshub_ssd.cards import Card
    from mshub_ssd.hub import Predictor
    from mshub_ssd.results import Classification, Detections

__all__ = ["classify_command", "demo_command", "detect_command"]

_log = logging.getLogger(__name__)

_DEMO_MODEL = "mshub/1.0/ssdmobilenetv2_digits"
_DEMO_PICTURE = "demo_digits.png"
_STDIN = "-"
_SLOW = 1.0  # seconds after which a progress bar is worth its line
_FIGURES = (1, 2, 3, 4, 5)  # columns of numbers in the table of detections


def _number(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and math.isnan(value):  # which is in every range
        raise click.BadParameter("nan is not a score")
    return value


def _about_out(what: str) -> str:
    return f"Write the picture with {what}; the ending decides the format. Of several pictures: a folder for them."


_OUT = click.Path(path_type=Path)
_images_argument = click.argument("images", nargs=-1, required=True, metavar="PICTURE...")
_model_option = click.option(
    "--model",
    required=True,
    shell_complete=complete_uid,
    metavar="UID",
    help="A name from `mshub list`, or a card file.",
)
_engine_option = click.option(
    "--engine",
    type=click.Choice(["auto", "openvino", "onnxruntime", "mindspore"]),
    default="auto",
    show_default=True,
    help="What runs the model.",
)
_precision_option = click.option(
    "--precision",
    type=click.Choice(["f32", "bf16"]),
    default="f32",
    show_default=True,
    help="What it computes in; bf16 where engine and CPU have it.",
)


@click.command("detect")
@offline_option
@_images_argument
@_model_option
@click.option("--out", type=_OUT, metavar="FILE", help=_about_out("the boxes drawn"))
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
    default=100,
    show_default=True,
    metavar="N",
    help="Show the best N at most.",
)
@click.option(
    "--iou-threshold",
    type=click.FloatRange(0, 1),
    callback=_number,
    metavar="IOU",
    help="Leave out what overlaps a better box of its class by more.  [default: the model's own]",
)
@click.option("--class", "classes", multiple=True, metavar="NAME", help="Show only this class; may be repeated.")
@_engine_option
@_precision_option
@json_option
@verbosity_options
def detect_command(
    images: tuple[str, ...],
    model: str,
    out: Path | None,
    score_threshold: float | None,
    max_detections: int,
    iou_threshold: float | None,
    classes: tuple[str, ...],
    engine: str,
    precision: str,
    as_json: bool,
) -> None:
    """Find objects on pictures.

    PICTURE is a file, a folder, a pattern such as 'holiday/**/*.jpg' (quote it), a url, or - for standard input.

    Prints a table, best first, with boxes in pixels of the picture as x1 y1 (top left) and x2 y2 (bottom right).
    Nothing is written unless --out is given. The model is loaded once. When a picture cannot be read, the others are
    still looked at, the exit code is 1, and the JSON answer, a list where there may be several, has an `error` in its
    place.
    """

    def words(found: Detections, predictor: Predictor) -> str:
        return _table(found, predictor.options.score_threshold)

    chosen = {
        "score_threshold": score_threshold,
        "iou_threshold": iou_threshold,
        "classes": list(classes) or None,
        "max_detections": max_detections,
        "engine": engine,
        "precision": precision,
    }
    _Looking("Detector", model, out, chosen, words, as_json).at(images)


@click.command("classify")
@offline_option
@_images_argument
@_model_option
@click.option("--out", type=_OUT, metavar="FILE", help=_about_out("the classes below it"))
@click.option(
    "--top-k", type=click.IntRange(min=1), default=5, show_default=True, metavar="N", help="Show the best N classes."
)
@_engine_option
@_precision_option
@json_option
@verbosity_options
def classify_command(
    images: tuple[str, ...], model: str, out: Path | None, top_k: int, engine: str, precision: str, as_json: bool
) -> None:
    """Say what is on pictures.

    PICTURE is a file, a folder, a pattern such as 'holiday/**/*.jpg' (quote it), a url, or - for standard input.

    Prints the most probable classes, best first. Nothing is written unless --out is given. Of several pictures, one
    that cannot be read does not stop the others; the exit code is 1.
    """

    def words(found: Classification, _: Any) -> str:
        rows = [("score", "label", "name"), *((f"{row.score:.3f}", str(row.label), row.name) for row in found)]
        return table(rows, right=(0, 1))

    chosen = {"top_k": top_k, "engine": engine, "precision": precision}
    _Looking("Classifier", model, out, chosen, words, as_json).at(images)


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
    from mshub_ssd import engines

    hub = default_hub()
    engine = engines.choose()
    card = hub.info(_DEMO_MODEL)
    picture = _demo_picture()
    with guarded_stdout():
        from mshub_ssd.hub import Predictor

        _check_out(out)
        _check_folder(out.parent)
        checkpoint = hub.fetch(_DEMO_MODEL)
        pixels = hub.read_image(picture)
    # fetch has just compared the file with this digest, and load does so once more.
    digest = hub.checkpoint(_DEMO_MODEL).sha256
    if not as_json:
        figures = ", ".join(map(str, card.metrics)) or "none given"
        rows = [
            ("card", f"{card.uid}  ({card.place})"),
            ("figures", f"{figures}  (as the card states them)"),
            ("checkpoint", f"{checkpoint}  ({size_text(checkpoint.stat().st_size)})"),
            ("sha256", f"{digest}  verified"),
            ("picture", f"{picture}  ({pixels.shape[1]} x {pixels.shape[0]})"),
        ]
        emit(f"Finding handwritten digits that the model has not seen in training.\n\n{table(rows)}")
    with guarded_stdout():
        times = [time.perf_counter()]
        predictor = Predictor(_DEMO_MODEL, hub=hub)
        times.append(time.perf_counter())
        for _ in range(2):
            found = predictor(pixels)
            times.append(time.perf_counter())
        found.save(out)
    load, first, following = (after - before for before, after in itertools.pairwise(times))
    seconds = {"load": round(load, 4), "first_picture": round(first, 4), "next_picture": round(following, 4)}
    text = (
        f"time        {load:.1f} s to load on {engine.name}, its start included; "
        f"{first:.2f} s for the first picture, {following:.2f} s for the next\n\n"
        f"{_words(_table(found, predictor.options.score_threshold), out)}\n\n{_what_next(picture)}"
    )
    answer({**_facts(found, card, picture, out), "sha256": digest, "seconds": seconds}, text, as_json)


class _Looking:
    """Pictures read one after the other, a model loaded once, asked about each, and what it says told.

    Args:
        kind: What the model must be.
        model: Uid, or path of a card.
        out: Where to write pictures with what was found.
        chosen: Options of the Predictor.
        words: Makes the text for people of what was found and the Predictor.
        as_json: Whether JSON was asked for.
    """

    def __init__(
        self,
        kind: str,
        model: str,
        out: Path | None,
        chosen: Mapping[str, Any],
        words: Callable[[Any, Any], str],
        as_json: bool,
    ) -> None:
        from mshub_ssd import engines

        self._hub = default_hub()
        self._card = self._hub.info(model)
        # What is missing is said before anything is fetched or read.
        engines.choose(chosen["engine"])
        self._kind, self._model, self._out, self._chosen = kind, model, out, chosen
        self._words, self._as_json = words, as_json
        self._predictor: Predictor | None = None

    def at(self, images: Sequence[str]) -> None:
        """Look at what these arguments mean, and answer."""
        found = list(self._found(images))
        # A folder of one picture gives a list, or programs would have to look into it first.
        single = len(images) == 1 and [name for name, _ in found] == list(images)
        outs = _Outs(self._out, several=not single)
        if single:
            facts, text = self._one(images[0], outs)
            answer(facts, text, self._as_json)
            return
        entries, shown = [], self._as_json or not on_terminal()
        with Bar("pictures", len(found), unit="picture", delay=_SLOW, shown=shown) as bar:
            for name, error in found:
                try:
                    if error is not None:
                        raise error
                    facts, text = self._one(name, outs)
                except (ImageError, TransferError, OfflineError) as refusal:
                    refusal.where = refusal.where or name
                    entries.append(failed_entry(refusal, model=self._card.uid, image={"path": name}))
                else:
                    entries.append(facts)
                    if not self._as_json:
                        emit(f"{without_secrets(name)}\n{text}\n")
                bar.advance(1)
        answer(entries, None, self._as_json, failed=any("error" in entry for entry in entries))

    def _found(self, images: Sequence[str]) -> Iterator[tuple[str, ImageError | None]]:
        """Each picture that is meant, and why there is none where a folder or a pattern means nothing."""
        from mshub_ssd import pictures

        if images.count(_STDIN) > 1:
            raise click.BadParameter("- stands for standard input, which can be read once", param_hint="'PICTURE...'")
        for name in images:
            try:
                yield from ((path, None) for path in ([name] if name == _STDIN else pictures.find(name)))
            except ImageError as error:
                if len(images) == 1:
                    raise
                yield name, error

    def _one(self, name: str, outs: _Outs) -> tuple[dict[str, Any], str]:
        """What is on one picture, for programs and for people."""
        out = outs.of(name)
        with guarded_stdout():
            # Whatever can be refused is refused before the model is loaded.
            outs.check()
            pixels = self._hub.read_image(sys.stdin.buffer if name == _STDIN else name)
            predictor = self._loaded()
            began = time.perf_counter()
            found = predictor(pixels)
            _log.info("looked at %s in %.2f s", name, time.perf_counter() - began)
            if out is not None:
                found.save(out)
        return _facts(found, self._card, name, out), _words(self._words(found, predictor), out)

    def _loaded(self) -> Predictor:
        from mshub_ssd import families, pipeline, providers
        from mshub_ssd.hub import Predictor

        if self._predictor is None:
            began = time.perf_counter()
            self._predictor = Predictor(self._model, hub=self._hub, **self._chosen)
            pipeline.as_kind(self._predictor.family, getattr(families, self._kind))
            seconds = time.perf_counter() - began
            key = providers.choose_network(self._card).key
            _log.info("loaded %s as %s in %.2f s, run by %s", self._card.uid, key, seconds, self._predictor.engine)
        return self._predictor


class _Outs:
    """Where each picture is written: to the file that was asked for, or into the folder.

    Args:
        out: What was asked for, None for nothing.
        several: Whether there may be several pictures, so that it has to be a folder.
    """

    def __init__(self, out: Path | None, *, several: bool) -> None:
        self._out, self._several = out, several
        self._folder = out is not None and (several or out.is_dir())
        self._taken: set[str] = set()
        self._checked = False

    def check(self) -> None:
        """Refuse what cannot be written, before minutes are spent on it; a folder that is missing is made.

        Raises:
            BadParameter: It cannot.
        """
        if self._out is None or self._checked:
            return
        if not self._folder:
            _check_out(self._out)
            _check_folder(self._out.parent)
        else:
            if not self._out.is_dir():
                _check_new_folder(self._out)
                _check_folder(self._out.parent)
                with contextlib.suppress(FileExistsError):
                    self._out.mkdir()
            _check_folder(self._out)
        self._checked = True

    def of(self, name: str) -> Path | None:
        """The file for a picture, which no other one has.

        Raises:
            BadParameter: It would take the picture's own place.
        """
        if self._out is None:
            return None
        out = self._out / self._name(name) if self._folder else self._out
        if _same_file(out, name):
            raise click.BadParameter("this is the picture itself, which would be lost", param_hint="'--out'")
        return out

    def _name(self, name: str) -> str:
        from mshub_ssd import pictures
        from mshub_ssd.results import writable_suffixes

        plain = Path("stdin" if name == _STDIN else file_name(name) if pictures.is_url(name) else name)
        suffix = plain.suffix if plain.suffix.lower() in writable_suffixes() else ".png"
        endings = itertools.chain([suffix], (f"-{number}{suffix}" for number in itertools.count(2)))
        chosen = next(name for name in map(plain.stem.__add__, endings) if name.lower() not in self._taken)
        self._taken.add(chosen.lower())
        return chosen


def _same_file(first: Path, second: str) -> bool:
    try:
        return first.samefile(second)
    except (OSError, ValueError):  # one of them is not there, or has no name a file can have
        return False


def _facts(found: Detections | Classification, card: Card, image: str | Path, out: Path | None) -> dict[str, Any]:
    facts = found.to_dict()
    picture = {"path": without_secrets(str(image)), **facts["image"]}
    return {**facts, "model": card.uid, "image": picture, "out": None if out is None else str(out)}


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


def _check_new_folder(out: Path) -> None:
    if out.exists():
        raise click.BadParameter(f"{out} is no folder, and there may be several pictures", param_hint="'--out'")
    if out.suffix:
        raise click.BadParameter(
            f"{out}: there may be several pictures, which need a folder; if this is one: mkdir {shlex.quote(str(out))}",
            param_hint="'--out'",
        )


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise click.BadParameter(
            f"the folder {folder} does not exist; mkdir -p {shlex.quote(str(folder))}", param_hint="'--out'"
        )
    if not os.access(folder, os.W_OK):
        raise click.BadParameter(f"the folder {folder.absolute()} cannot be written", param_hint="'--out'")
