"""Options that several commands share, and how the shell completes them."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import click

from mshub_ssd.errors import MshubError
from mshub_ssd.hub import default_hub

__all__ = [
    "OUT_FILE",
    "complete_uid",
    "engine_option",
    "json_option",
    "offline_option",
    "precision_option",
    "verbosity_options",
]

_LIBRARY = logging.getLogger("mshub_ssd")
_OFFLINE = "MSHUB_OFFLINE"

OUT_FILE = click.Path(dir_okay=False, path_type=Path)
"""The type of a file to be written."""

engine_option = click.option(
    "--engine",
    type=click.Choice(["auto", "openvino", "onnxruntime", "mindspore"]),
    default="auto",
    show_default=True,
    help="What runs the model.",
)
precision_option = click.option(
    "--precision",
    type=click.Choice(["f32", "bf16"]),
    default="f32",
    show_default=True,
    help="What it computes in; bf16 where engine and CPU have it.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


def complete_uid(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Uids for the shell's completion."""
    try:
        return default_hub().list_models(f"{incomplete}*")
    except MshubError:
        return []  # a completion has nowhere to tell it


def _forbid_network(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    before = os.environ.get(_OFFLINE)
    os.environ[_OFFLINE] = "1"

    def restore() -> None:
        if before is None:
            os.environ.pop(_OFFLINE, None)
        else:
            os.environ[_OFFLINE] = before

    context.find_root().call_on_close(restore)


offline_option = click.option(
    "--offline",
    is_flag=True,
    expose_value=False,
    callback=_forbid_network,
    help="Never use the network; say what is missing. The same as MSHUB_OFFLINE=1.",
)


def _louder(_context: click.Context, _parameter: click.Parameter, count: int) -> None:
    if count:
        _LIBRARY.setLevel(logging.INFO if count == 1 else logging.DEBUG)


def _quieter(_context: click.Context, _parameter: click.Parameter, quiet: bool) -> None:
    if quiet:
        _LIBRARY.setLevel(logging.ERROR)
        warnings.simplefilter("ignore")


def verbosity_options(command: Any) -> Any:
    """Decorator: the options ``-v`` and ``-q``, which every command and the program itself take."""
    verbose = click.option(
        "-v", "--verbose", count=True, expose_value=False, callback=_louder, help="Say what is done; -vv for more."
    )
    quiet = click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, callback=_quieter, help="No warnings and remarks."
    )
    return verbose(quiet(command))
