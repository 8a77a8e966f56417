"""The option ``--offline``: before any command, and on those that may download."""

from __future__ import annotations

import os

import click

__all__ = ["offline_option"]

_OFFLINE = "MSHUB_OFFLINE"


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
