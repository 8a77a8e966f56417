"""``detect`` and ``classify``: what is on pictures."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import logging
import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mshub_ssd import store
from mshub_ssd.ahead import NOT_YET
from mshub_ssd.cli.lakes import looked_by_ray, ray_options
from mshub_ssd.cli.options import (
    complete_uid,
    engine_option,
    json_option,
    offline_option,
    precision_option,
    verbosity_options,
)
from mshub_ssd.cli.output import (
    answer,
    emit,
    emit_json,
    emit_raw,
    guarded_stdout,
    note,
    on_terminal,
    tell,
    without_secrets,
)
from mshub_ssd.errors import ImageError, UsageError
from mshub_ssd.files import new_file, writing
from mshub_ssd.hub import default_hub
from mshub_ssd.schemes import is_store, is_url
from mshub_ssd.terminal import Bar, counted

if TYPE_CHECKING:
    from mshub_ssd import bulk
    from mshub_ssd.cards import Card
    from mshub_ssd.hub import Predictor
    from mshub_ssd.results import Classification, Detections

__all__ = ["check_folder", "classify_command", "detect_command", "facts_of", "words_of"]

_log = logging.getLogger(__name__)

Found = TypeVar("Found")

_STDIN = "-"
_SLOW = 1.0  # seconds after which a progress bar is worth its line
_NOW_AND_THEN = 10.0  # seconds between two lines that tell how far it is, where there is no terminal
_COUNTING = 0.3  # seconds that may be spent on counting pictures


def _number(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and math.isnan(value):  # which is in every range
        raise click.BadParameter("nan is not a score")
    return value


class _Place(click.Path):
    """A path, or the address of an object store, which stays the text it is."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        return value if is_store(value) else super().convert(value, parameter, context)


_OUT = _Place(path_type=Path)
_images_argument = click.argument("images", nargs=-1, required=True, metavar="PATH...")
_model_option = click.option(
    "--model",
    required=True,
    shell_complete=complete_uid,
    metavar="UID",
    help="A name from `mshub list`, or a card file.",
)


def _output_options(command: Any) -> Any:
    """Decorator: where results and drawings go."""
    options = [
        click.option(
            "--out",
            type=_OUT,
            metavar="FILE",
            help="Write here: the drawing of one picture or video if FILE ends like one, else the results. "
            "s3://BUCKET/FILE.jsonl or .parquet becomes a folder of parts.",
        ),
        click.option(
            "--out-dir",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="Draw every picture and video into this folder.",
        ),
        click.option(
            "--format",
            "form",
            type=click.Choice(["table", "json", "jsonl", "coco", "parquet"]),
            help="Of the results.  [default: what FILE ends with, else table]",
        ),
        click.option("--resume", is_flag=True, help="Go on with the results in FILE where a run was interrupted."),
        json_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command("detect")
@offline_option
@_images_argument
@_model_option
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
@click.option(
    "--class", "--classes", "classes", multiple=True, metavar="NAME", help="Show only this class; may be repeated."
)
@engine_option
@precision_option
@_output_options
@ray_options
@verbosity_options
def detect_command(
    images: tuple[str, ...],
    model: str,
    score_threshold: float | None,
    max_detections: int,
    iou_threshold: float | None,
    classes: tuple[str, ...],
    engine: str,
    precision: str,
    **output: Any,
) -> None:
    """Find objects on pictures.

    PATH is a file, a folder with all below it, a pattern such as 'holiday/**/*.jpg' (quote it), a url, a place
    in an object store (s3://BUCKET/FOLDER), a video, or - for standard input: a list of such names, one a line, or a
    picture.

    Prints a table, best first, with boxes in pixels of the picture as x1 y1 (top left) and x2 y2 (bottom right).
    Nothing is written unless --out or --out-dir is given. When a picture cannot be read, the others are still looked
    at, its row has an `error`, and the exit code is 1.
    """
    chosen = {
        "score_threshold": score_threshold,
        "iou_threshold": iou_threshold,
        "classes": list(classes) or None,
        "max_detections": max_detections,
        "engine": engine,
        "precision": precision,
    }
    if not looked_by_ray("detector", model, images, chosen, output):
        _Looking("Detector", model, chosen, **output).at(images)


@click.command("classify")
@offline_option
@_images_argument
@_model_option
@click.option(
    "--top-k", type=click.IntRange(min=1), default=5, show_default=True, metavar="N", help="Show the best N classes."
)
@engine_option
@precision_option
@_output_options
@ray_options
@verbosity_options
def classify_command(
    images: tuple[str, ...], model: str, top_k: int, engine: str, precision: str, **output: Any
) -> None:
    """Say what is on pictures.

    PATH is a file, a folder with all below it, a pattern such as 'holiday/**/*.jpg' (quote it), a url, a place
    in an object store (s3://BUCKET/FOLDER), a video, or - for standard input: a list of such names, one a line, or a
    picture.

    Prints the most probable classes, best first. Nothing is written unless --out or --out-dir is given. When a picture
    cannot be read, the others are still looked at, its row has an `error`, and the exit code is 1.
    """
    chosen = {"top_k": top_k, "engine": engine, "precision": precision}
    if not looked_by_ray("classifier", model, images, chosen, output):
        _Looking("Classifier", model, chosen, **output).at(images)


class _Looking:
    """Pictures looked at by a model that is loaded once, and what it says told or written.

    Args:
        kind: What the model must be.
        model: Uid, or path of a card.
        chosen: Options of the Predictor.
        out: Where to write the results, or the drawing of one picture.
        out_dir: Where to write drawings.
        form: Format of the results.
        resume: Whether to go on with results that are there.
        as_json: Whether JSON was asked for.
    """

    def __init__(
        self,
        kind: str,
        model: str,
        chosen: Mapping[str, Any],
        *,
        out: Path | str | None,
        out_dir: Path | None,
        form: str | None,
        resume: bool,
        as_json: bool,
    ) -> None:
        from mshub_ssd import engines

        self._hub = default_hub()
        self._card = self._hub.info(model)
        # What is missing is said before anything is fetched or read.
        self._engine = engines.choose(chosen["engine"]).name
        self._kind, self._model, self._chosen = kind, model, chosen
        self._out, self._out_dir, self._form, self._resume, self._as_json = out, out_dir, form, resume, as_json
        self._predictor: Predictor | None = None

    def at(self, images: Sequence[str]) -> None:
        """Look at what these arguments mean, and answer."""
        from mshub_ssd import bulk

        if images.count(_STDIN) > 1:
            raise click.BadParameter("- stands for standard input, which can be read once", param_hint="'PATH...'")
        stdin = bulk.Input(sys.stdin.buffer) if _STDIN in images else None
        piped = stdin if stdin is not None and stdin.is_picture() else None
        one = len(images) == 1 and (bulk.stands_for_itself(images[0]) or piped is not None)
        results = self._results(images, one=one)
        # Whatever can be refused is refused before the model is loaded.
        drawn = self._out if results is None and isinstance(self._out, Path) else None
        with guarded_stdout():
            drawings = bulk.Drawings(file=drawn, folder=self._out_dir, videos=not self._resume)
            _checked(drawings.check, "'--out-dir'" if self._out_dir is not None else "'--out'")
        if one and results is None and self._form in (None, "table"):
            facts, text = self._one(images[0], piped, drawings)
            answer(facts, text, self._as_json)
            return
        sources = functools.partial(bulk.Sources, images, stdin)
        with contextlib.ExitStack() as stack:
            journal: bulk.Journal | bulk.Parts | None = None
            if isinstance(results, str) and self._form in ("jsonl", "parquet"):
                options, form = without_secrets(self._options(images)), str(self._form)
                parts = bulk.Parts(results, options, form, resume=self._resume, settings=self._hub.settings)
                journal = stack.enter_context(parts)
            elif self._resume and isinstance(results, Path):
                lines = self._form == "jsonl"
                journal = stack.enter_context(bulk.Journal(results, self._options(images), is_result=lines))
            stack.enter_context(drawings)
            failed, count = self._all(sources, drawings, journal, results)
        if results is not None:
            note(f"wrote {counted(count, 'row')} to {results}")
        if failed:
            click.echo(f"{failed} of {counted(count, 'picture')} could not be looked at", err=True)
            click.get_current_context().exit(1)

    def _all(
        self,
        sources: Callable[..., bulk.Sources],
        drawings: bulk.Drawings,
        journal: bulk.Journal | bulk.Parts | None,
        results: Path | str | None,
    ) -> tuple[int, int]:
        """Look at any number of pictures; how many failed, and how many there were."""
        from mshub_ssd import bulk
        from mshub_ssd.results import Failure, json_line

        bulk.keep_freed_memory()
        failed, count = (journal.failed, journal.count) if journal is not None else (0, 0)
        found = sources(done=journal.done if journal is not None else None)
        shown = self._as_json or results is not None or not on_terminal()
        with (
            self._writing(journal, results) as write,
            Bar(
                "pictures",
                found.count(_COUNTING) if shown else None,
                start=count,
                unit="picture",
                delay=_SLOW,
                shown=shown,
                lines=None if not logging.getLogger("mshub_ssd").isEnabledFor(logging.WARNING) else _NOW_AND_THEN,
            ) as bar,
        ):
            looked = bulk.look(self, found, drawings)
            with contextlib.closing(looked):  # type: ignore[type-var] # it is a generator
                # MindSpore and what it calls write to stdout; the others do so at most while they are loaded.
                guard = guarded_stdout if self._engine == "mindspore" else contextlib.nullcontext
                while True:
                    with guard():
                        one = next(looked, None)
                    if one is None:
                        break
                    count += 1
                    if isinstance(one.result, Failure):
                        failed += 1
                        one.result.error.where = one.result.error.where or one.item.name
                        tell(one.result.error)
                    if journal is not None:
                        journal.add(json_line(one.row))
                    else:
                        write(one)
                    bar.advance(1)
        if isinstance(journal, bulk.Journal) and isinstance(results, Path) and self._form != "jsonl":
            with new_file(results, durable=True) as stream:
                bulk.write_rows(journal.rows(), self._writer(stream))
            journal.finish()
        return failed, count

    @contextlib.contextmanager
    def _writing(
        self, journal: bulk.Journal | bulk.Parts | None, results: Path | str | None
    ) -> Iterator[Callable[[bulk.Looked], None]]:
        """What takes each picture that was looked at."""
        if journal is not None:
            yield lambda one: None
        elif self._as_json:
            entries: list[dict[str, Any]] = []
            yield lambda one: entries.append(self._entry(one))
            emit_json(entries)
        elif results is None and self._form in (None, "table"):
            yield self._tell
        else:
            with contextlib.ExitStack() as stack:
                stream: Any = _Stdout()
                if isinstance(results, str):
                    stream = io.BytesIO()
                elif results is not None:
                    stack.enter_context(writing(results, "the results"))
                    # Lines are there as they come; anything else is of no use before it is whole.
                    whole = self._form != "jsonl"
                    stream = stack.enter_context(new_file(results) if whole else results.open("wb"))
                writer = self._writer(stream)
                yield lambda one: writer.write(one.row)
                writer.close()
                if isinstance(results, str):
                    store.write_file(results, stream.getvalue(), settings=self._hub.settings)

    def _writer(self, stream: Any) -> bulk.Writer:
        from mshub_ssd import bulk

        form = self._form or "table"
        return bulk.new_writer(form, stream, lambda: self._loaded().config.class_names, self._threshold)

    def stream(self, images: Iterable[Any]) -> Iterator[Any]:
        """As `Predictor.stream`; the model is loaded when there is something to look at."""
        from mshub_ssd.results import Failure

        rest = iter(images)
        for image in rest:
            if image is NOT_YET:
                continue
            if isinstance(image, Failure):
                yield image
                continue
            if isinstance(image, str) and not is_url(image) and not os.path.lexists(image):
                try:
                    self._hub.read_image(image)
                except ImageError as error:
                    yield Failure(image, error)
                    continue
            with guarded_stdout():
                predictor = self._loaded()
            with contextlib.closing(predictor.stream(itertools.chain([image], rest))) as found:  # type: ignore[type-var]
                yield from found

    def _results(self, images: Sequence[str], *, one: bool) -> Path | str | None:
        """Where the results are written, None for stdout; sets the format.

        Raises:
            BadParameter: The options do not fit together.
        """
        from mshub_ssd import bulk

        if self._as_json and (self._form is not None or self._resume):
            raise click.BadParameter(
                "--json is one answer for programs; take --format without it", param_hint="'--json'"
            )
        drawn = self._out is not None and self._is_drawing(images, self._out, one=one)
        if self._out is not None and not drawn:
            if self._as_json:
                raise click.BadParameter("results in FILE are written with --format json", param_hint="'--json'")
            out = PurePosixPath(self._out) if isinstance(self._out, str) else self._out
            self._form = self._form or bulk.format_of(out)
            if self._form is None:
                what = f"the ending {out.suffix!r} is" if out.suffix else "a name without an ending is"
                raise click.BadParameter(
                    f"{self._out}: {what} no format of pictures or results; take .png, .jpg or .webp for a drawing, "
                    ".jsonl, .json or .parquet for results, or say --format",
                    param_hint="'--out'",
                )
            if isinstance(self._out, Path):
                check_folder(self._out.parent)
            elif self._resume and self._form not in ("jsonl", "parquet"):
                raise click.BadParameter(
                    "in object stores it goes on with .jsonl and .parquet", param_hint="'--resume'"
                )
        results = None if drawn else self._out
        if results is None and (self._resume or self._form == "parquet"):
            why = "--resume goes on with results in a file" if self._resume else "Parquet is no text"
            raise click.BadParameter(f"{why}: give --out FILE", param_hint="'--out'")
        if self._form == "coco" and self._kind != "Detector":
            raise click.BadParameter("COCO results are those of detectors", param_hint="'--format'")
        if self._form == "parquet":
            bulk.check_parquet()
        return results

    def _is_drawing(self, images: Sequence[str], out: Path | str, *, one: bool) -> bool:
        """Whether a file is meant for a drawing.

        Raises:
            BadParameter: It cannot be.
        """
        from mshub_ssd import bulk
        from mshub_ssd.results import writable_suffixes

        if isinstance(out, str):
            store.check_place(out)
            if PurePosixPath(out).suffix.lower() in (".mp4", ".avi", *writable_suffixes()):
                raise click.BadParameter("drawings are files of this machine: --out FILE", param_hint="'--out'")
            return False
        if out.is_dir():
            raise click.BadParameter(f"{out} is a folder; drawings go there with --out-dir", param_hint="'--out'")
        suffix = out.suffix.lower()
        video = suffix in (".mp4", ".avi")
        if not video and suffix not in writable_suffixes():
            return False
        if video != (len(images) == 1 and bulk.is_video(images[0])) or not (one or video):
            what = "video" if video else "picture"
            raise click.BadParameter(
                f"{out} would be the drawing of one {what}; drawings of several go to a folder, --out-dir",
                param_hint="'--out'",
            )
        return True

    def _options(self, images: Sequence[str]) -> dict[str, Any]:
        """What the results depend on."""
        return {
            "command": "detect" if self._kind == "Detector" else "classify",
            "pictures": list(images),
            "model": self._card.uid,
            "card": self._card.digest(),
            **self._chosen,
            "engine": self._engine,
            "format": self._form,
            "out_dir": None if self._out_dir is None else str(self._out_dir),
        }

    def _one(self, name: str, picture: Any, drawings: bulk.Drawings) -> tuple[dict[str, Any], str]:
        """What is on one picture, for programs and for people."""
        from mshub_ssd import bulk
        from mshub_ssd.results import row_of

        item = bulk.Item(name, name if picture is None else picture)
        out = _checked(lambda: drawings.reserve(item), "'--out'")
        with guarded_stdout():
            pixels = self._hub.read_image(item.picture)
            predictor = self._loaded()
            began = time.perf_counter()
            found = predictor(pixels)
            _log.info("looked at %s in %.2f s", name, time.perf_counter() - began)
            if out is not None:
                drawings.draw(item, found, out)
        text = bulk.table_of(row_of(found, name), self._threshold())
        return facts_of(found, self._card, name, out), words_of(text, out)

    def _entry(self, one: bulk.Looked) -> dict[str, Any]:
        """What ``--json`` says of one of several pictures."""
        from mshub_ssd.results import Failure

        if isinstance(one.result, Failure):
            return {"model": self._card.uid, "image": {"path": one.item.name}, "error": one.result.error.to_dict()}
        facts = facts_of(one.result, self._card, one.item.name, one.out)
        if one.item.frame is not None:
            facts["image"].update(frame=one.item.frame, time=one.item.time)
        return facts

    def _tell(self, one: bulk.Looked) -> None:
        """Tell people what is on one of several pictures; what failed has been told."""
        from mshub_ssd import bulk
        from mshub_ssd.results import Failure

        if isinstance(one.result, Failure):
            return
        frame = "" if one.item.frame is None else f"  frame {one.item.frame}  {one.item.time:.3f} s"
        text = bulk.table_of(one.row, self._threshold())
        emit(f"{without_secrets(one.item.name)}{frame}\n{words_of(text, one.out)}\n")

    def _threshold(self) -> float | None:
        return getattr(self._predictor.options, "score_threshold", None) if self._predictor is not None else None

    def _loaded(self) -> Predictor:
        from mshub_ssd import families, pipeline, providers
        from mshub_ssd.hub import Predictor

        if self._predictor is None:
            began = time.perf_counter()
            self._predictor = Predictor(self._model, hub=self._hub, **self._chosen)
            pipeline.as_kind(self._predictor.family, getattr(families, self._kind))
            seconds = time.perf_counter() - began
            key = providers.choose_network(self._card).key
            self._engine = self._predictor.engine
            _log.info("loaded %s as %s in %.2f s, run by %s", self._card.uid, key, seconds, self._engine)
        return self._predictor


class _Stdout:
    """Standard output for those who write bytes."""

    def write(self, data: bytes) -> None:
        emit_raw(data.decode("utf-8"))

    def flush(self) -> None:
        """Each write is flushed."""


def _checked(call: Callable[[], Found], option: str) -> Found:
    """Call something whose refusals are about an option."""
    try:
        return call()
    except UsageError as error:
        where, hint = f"{error.where}: " if error.where else "", f"; {error.hint}" if error.hint else ""
        raise click.BadParameter(f"{where}{error.message}{hint}", param_hint=option) from error


def facts_of(found: Detections | Classification, card: Card, image: str | Path, out: Path | None) -> dict[str, Any]:
    """What is on a picture, as ``--json`` tells it."""
    facts = found.to_dict()
    picture = {"path": without_secrets(str(image)), **facts["image"]}
    return {**facts, "model": card.uid, "image": picture, "out": None if out is None else str(out)}


def words_of(table: str, out: Path | None) -> str:
    """What is on a picture, and where it was drawn."""
    return table if out is None else f"{table}\n\nwrote {out}"


def check_folder(folder: Path) -> None:
    """Refuse a folder that is missing or cannot be written."""
    if not folder.is_dir():
        raise click.BadParameter(
            f"the folder {folder} does not exist; mkdir -p {shlex.quote(str(folder))}", param_hint="'--out'"
        )
    if not os.access(folder, os.W_OK):
        raise click.BadParameter(f"the folder {folder.absolute()} cannot be written", param_hint="'--out'")
