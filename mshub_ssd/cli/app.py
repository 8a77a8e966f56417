"""The program: its commands, and what happens to errors."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from mshub_ssd.cli.offline import offline_option
from mshub_ssd.cli.output import Interrupted, as_refusal, reporting, verbosity_options
from mshub_ssd.errors import MshubError, needing_extra

__all__ = ["cli"]


# Command → where it lives; loaded when it is asked for, so that none pays for what the others need.
_COMMANDS = {
    "bundle": "bundle:bundle_group",
    "cache": "cache:cache_group",
    "classify": "pictures:classify_command",
    "convert": "convert:convert_command",
    "demo": "pictures:demo_command",
    "detect": "pictures:detect_command",
    "doctor": "doctor:doctor_command",
    "fetch": "models:fetch_command",
    "info": "models:info_command",
    "list": "models:list_command",
    "schema": "validate:schema_command",
    "search": "models:search_command",
    "validate": "validate:validate_command",
}


class _Program(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"mshub_ssd.cli.{module}"), name)
        return command

    def main(self, *args: Any, **kwargs: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            # A name the locale cannot spell should not end the program.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        with reporting():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with needing_extra("this command"):
                return super().invoke(ctx)
        except MshubError as error:
            raise as_refusal(error) from error
        except KeyboardInterrupt as error:
            raise Interrupted from error


def _show_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from mshub_ssd.settings import package_version

        click.echo(f"mshub {package_version()}")
        context.exit()


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@offline_option
@verbosity_options
def cli() -> None:
    """Model hub for MindSpore: from a model card to what is on a picture.

    Exit codes: 0 done, 1 a refusal you can mend (the message says how), 2 wrong usage.
    """
