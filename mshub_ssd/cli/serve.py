"""``serve``: one model as a server."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from typing import Any

import click

from mshub_ssd.cli.options import (
    complete_uid,
    engine_option,
    json_option,
    offline_option,
    precision_option,
    verbosity_options,
)
from mshub_ssd.cli.output import emit, emit_raw, guarded_stdout, note

__all__ = ["serve_command"]

_fraction = click.FloatRange(0, 1)
_positive = click.IntRange(min=1)
_seconds = click.FloatRange(0, 86400, min_open=True)


@click.command("serve")
@offline_option
@click.argument("model", shell_complete=complete_uid, metavar="UID")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where it listens; 0.0.0.0 for other machines.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes any that is free."
)
@engine_option
@precision_option
@click.option("--threads", type=_positive, metavar="N", help="The engine's threads.  [default: as many as are good]")
@click.option("--score-threshold", type=_fraction, help="Where a request says nothing.  [default: the model's own]")
@click.option("--iou-threshold", type=_fraction, help="Where a request says nothing.  [default: the model's own]")
@click.option("--max-detections", type=_positive, help="Where a request says nothing.  [default: 100]")
@click.option("--top-k", type=_positive, help="Of a classifier, where a request says nothing.  [default: 5]")
@click.option("--batch", type=_positive, default=8, show_default=True, help="Pictures given to the engine at once.")
@click.option(
    "--max-wait-ms",
    type=click.FloatRange(0, 10_000),
    default=5.0,
    show_default=True,
    help="How long a batch waits for pictures that are on their way.",
)
@click.option("--max-queue", type=_positive, default=64, show_default=True, help="Pictures that may wait.")
@click.option("--max-pixels", type=_positive, default=50_000_000, show_default=True, help="Of one picture.")
@click.option("--max-bytes", type=_positive, default=32 << 20, show_default=True, help="Of one request.")
@click.option("--max-held-bytes", type=_positive, default=256 << 20, show_default=True, help="Of all requests.")
@click.option("--max-pictures", type=_positive, default=16, show_default=True, help="In one request.")
@click.option("--max-connections", type=_positive, default=512, show_default=True, help="Clients at once.")
@click.option(
    "--timeout",
    type=_seconds,
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="For a request's head, for its body, and for its picture's turn.",
)
@click.option(
    "--stop-timeout",
    type=_seconds,
    default=25.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a stop waits for pictures that were let in.",
)
@click.option("--access-log/--no-access-log", default=True, show_default=True, help="A line per request on stderr.")
@json_option
@verbosity_options
def serve_command(
    model: str,
    host: str,
    port: int,
    max_bytes: int,
    max_held_bytes: int,
    max_pixels: int,
    max_pictures: int,
    max_queue: int,
    timeout: float,
    access_log: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Answer requests with what is on their pictures.

    UID is a name from `mshub list`, or a card file. Prints the url, where there is a page to drop pictures on; programs
    POST a picture to v1/detect (v1/classify), see openapi.json there. SIGTERM or Ctrl-C stops it: pictures that were
    let in are answered, and the exit code is 0.

    It asks for no password. Where other machines reach it, let a proxy in front of it see to that and to TLS.
    """
    from mshub_ssd import serve

    limits = serve.Limits(
        max_bytes=max_bytes,
        max_held_bytes=max_held_bytes,
        max_pixels=max_pixels,
        max_pictures=max_pictures,
        max_queue=max_queue,
        timeout=timeout,
    )
    with contextlib.ExitStack() as told:
        told.enter_context(_logs(access_log))

        def listening(url: str) -> None:
            if as_json:
                emit_raw(json.dumps({"url": url, "model": model}) + "\n")
            else:
                emit(f"serving {model} at {url}")
            told.enter_context(guarded_stdout())  # stdout has had its one line

        serve.run(model, host=host, port=port, limits=limits, listening=listening, **options)
    note("stopped: what was let in has been answered")


@contextlib.contextmanager
def _logs(access_log: bool) -> Iterator[None]:
    """What goes to stderr while it serves: a line per request, and no remarks on broken ones, which are counted."""
    levels = dict.fromkeys(("uvicorn", "python_multipart"), logging.ERROR)
    if access_log and logging.getLogger("mshub_ssd").isEnabledFor(logging.WARNING):
        levels["mshub_ssd.serve.access"] = logging.INFO
    before = {name: logging.getLogger(name).level for name in levels}
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
