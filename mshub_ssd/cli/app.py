"""The program: its commands, and what happens to errors."""

from __future__ import annotations

import sys
from typing import Any

import click

from mshub_ssd.cli import bundle, cache, convert, doctor, models, pictures, validate
from mshub_ssd.cli.output import Interrupted, as_refusal, reporting, verbosity_options
from mshub_ssd.errors import MshubError

__all__ = ["cli"]


class _Program(click.Group):
    def main(self, *args: Any, **kwargs: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            # A name the locale cannot spell should not end the program.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        with reporting():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
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
@models.offline_option
@verbosity_options
def cli() -> None:
    """Model hub for MindSpore: from a model card to what is on a picture.

    Exit codes: 0 done, 1 a refusal you can mend (the message says how), 2 wrong usage.
    """


for command in (
    models.list_command,
    models.search_command,
    models.info_command,
    models.fetch_command,
    pictures.classify_command,
    pictures.detect_command,
    pictures.demo_command,
    doctor.doctor_command,
    convert.convert_command,
    validate.validate_command,
    validate.schema_command,
    cache.cache_group,
    bundle.bundle_group,
):
    cli.add_command(command)

# All that may download; for the others it can stand before the command, where it means nothing.
for command in (
    models.fetch_command,
    pictures.classify_command,
    pictures.detect_command,
    doctor.doctor_command,
    bundle.make_command,
):
    models.offline_option(command)
