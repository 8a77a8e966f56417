"""``demo``: the bundled model finds digits on the bundled picture."""

from __future__ import annotations

import itertools
import shlex
import time
from pathlib import Path

import click

from mshub_ssd.cli.options import OUT_FILE, json_option, verbosity_options
from mshub_ssd.cli.output import answer, emit, guarded_stdout, mshub_command, python_command
from mshub_ssd.cli.pictures import check_folder, facts_of, words_of
from mshub_ssd.errors import UsageError
from mshub_ssd.hub import default_hub
from mshub_ssd.terminal import size_text, table

__all__ = ["demo_command"]

_DEMO_MODEL = "mshub/1.0/ssdmobilenetv2_digits"
_DEMO_PICTURE = "demo_digits.png"


@click.command("demo")
@click.option(
    "--out",
    type=OUT_FILE,
    default=Path("mshub-demo.png"),
    show_default=True,
    metavar="FILE",
    help="Write the picture with the boxes drawn; the ending decides the format.",
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
        from mshub_ssd.bulk import table_of
        from mshub_ssd.hub import Predictor
        from mshub_ssd.results import row_of

        _check_out(out)
        check_folder(out.parent)
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
        f"{words_of(table_of(row_of(found, None), predictor.options.score_threshold), out)}\n\n{_what_next(picture)}"
    )
    answer({**facts_of(found, card, picture, out), "sha256": digest, "seconds": seconds}, text, as_json)


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
