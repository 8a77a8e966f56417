"""``evaluate``: how good a model is on one's own pictures."""

from __future__ import annotations

import json
import logging
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mshub_ssd.cli.options import (
    OUT_FILE,
    complete_uid,
    engine_option,
    json_option,
    offline_option,
    precision_option,
    verbosity_options,
)
from mshub_ssd.cli.output import answer, emit, guarded_stdout, note, without_secrets
from mshub_ssd.errors import UsageError
from mshub_ssd.files import replace_file, writing
from mshub_ssd.hub import default_hub

if TYPE_CHECKING:
    from mshub_ssd.evaluation import CardComparison, Evaluation

__all__ = ["evaluate_command"]

_DEFAULT_TOLERANCE = 0.002
_FOLDER = click.Path(path_type=Path)


def _number(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and math.isnan(value):  # which is in every range
        raise click.BadParameter("nan is no number of 0 to 1")
    return value


_SHARE: dict[str, Any] = {"type": click.FloatRange(0, 1), "callback": _number}


@click.command("evaluate")
@offline_option
@click.argument("model", metavar="UID", shell_complete=complete_uid)
@click.option("--images", required=True, type=_FOLDER, metavar="DIR", help="The folder of pictures.")
@click.option(
    "--annotations",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Detectors: JSON in COCO's form. Classifiers: CSV with the columns image and label; without it, the folders "
    "in DIR are the classes.",
)
@click.option(
    "--match",
    type=click.Choice(["name", "order"]),
    default="name",
    show_default=True,
    help="How the model's classes and those of the data find each other.",
)
@click.option("--category", "categories", multiple=True, metavar="NAME", help="Only this category; may be repeated.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N pictures.")
@click.option(
    "--score-threshold",
    **_SHARE,
    metavar="SCORE",
    help="Detections score higher.  [default: the model's own if it is 0.1 or lower, else 0.05; YOLO: 0.001]",
)
@click.option(
    "--iou-threshold",
    **_SHARE,
    metavar="IOU",
    help="Leave out what overlaps a better box of its class by more.  [default: the model's own]",
)
@click.option(
    "--max-detections",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="The best N of a picture.",
)
@engine_option
@precision_option
@click.option("--against-card", is_flag=True, help="Say whether the card's figures come out; exit code 1 if not.")
@click.option(
    "--tolerance",
    **_SHARE,
    default=_DEFAULT_TOLERANCE,
    show_default=True,
    metavar="SHARE",
    help="How far a figure may be from the card's.",
)
@click.option("--out", type=OUT_FILE, metavar="FILE", help="Write the answer to FILE, too, as JSON.")
@click.option("--results", type=OUT_FILE, metavar="FILE", help="Write the detections to FILE, in COCO's form.")
@click.option("--plots", type=_FOLDER, metavar="DIR", help="Write precision-recall.png and confusion.png to DIR.")
@json_option
@verbosity_options
def evaluate_command(
    model: str,
    images: Path,
    annotations: Path | None,
    against_card: bool,
    tolerance: float,
    out: Path | None,
    results: Path | None,
    plots: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure how good a model is on your pictures.

    Of a detector COCO's figures, as pycocotools counts them; of a classifier top-1 and top-5. A picture that cannot be
    read counts as one on which nothing was found; then the exit code is 1.
    """
    with guarded_stdout():
        from mshub_ssd.evaluation import evaluate

        for path in (out, results):
            if path is not None:
                _check_folder(path.parent)
        if against_card:
            _check_whole(options)
        if plots is not None:
            from mshub_ssd.evaluation import require_matplotlib

            require_matplotlib()
            with writing(plots, "the folder of plots"):
                plots.mkdir(parents=True, exist_ok=True)
        done = evaluate(
            model,
            images=images,
            annotations=annotations,
            hub=default_hub(),
            quiet=not logging.getLogger("mshub_ssd").isEnabledFor(logging.WARNING),
            **{**options, "categories": list(options["categories"]) or None},
        )
        compared = done.against_card(tolerance) if against_card else None
        facts = _facts(done, compared)
        if results is not None:
            _write(results, list(done.results))
        if out is not None:
            _write(out, facts)
        written = [*filter(None, [out, results]), *(done.save_plots(plots) if plots is not None else [])]
    failed = bool(done.failures) or (compared is not None and not compared.reproduced)
    if not as_json:
        emit("\n\n".join(str(part) for part in (done, compared) if part is not None))
        for path in written:
            note(f"wrote {path}")
    answer(facts, None, as_json, failed=failed)


def _facts(done: Evaluation, compared: CardComparison | None) -> dict[str, Any]:
    facts = done.to_dict()
    if compared is not None:
        facts["against_card"] = compared.to_dict()
    told: dict[str, Any] = without_secrets(facts)
    return told


def _check_whole(options: dict[str, Any]) -> None:
    for name in ("limit", "categories"):
        if options[name]:
            raise UsageError(
                "a part of the data set cannot tell whether the card's figures are reproduced",
                hint=f"leave out --{'category' if name == 'categories' else name}, or --against-card",
            )


def _check_folder(folder: Path) -> None:
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise click.BadParameter(f"the folder {folder} is not there, or cannot be written")


def _write(path: Path, content: Any) -> None:
    with writing(path):
        replace_file(path, (json.dumps(content, allow_nan=False) + "\n").encode("ascii"))
