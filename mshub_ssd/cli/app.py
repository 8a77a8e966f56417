"""The program: its commands, and what happens to errors."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from typing import Any

import click

from mshub_ssd.cli.options import offline_option, verbosity_options
from mshub_ssd.cli.output import reporting, tell_failure
from mshub_ssd.errors import MshubError, needing_extra
from mshub_ssd.lazy import load

__all__ = ["cli"]

_INTERRUPTED = 130  # the code of a process that died of SIGINT


# Command → where it lives; loaded when it is asked for, so that none pays for what the others need.
_COMMANDS = {
    "bundle": "bundle:bundle_group",
    "cache": "cache:cache_group",
    "classify": "pictures:classify_command",
    "convert": "convert:convert_command",
    "demo": "demo:demo_command",
    "detect": "pictures:detect_command",
    "doctor": "doctor:doctor_command",
    "evaluate": "evaluate:evaluate_command",
    "fetch": "models:fetch_command",
    "finetune": "finetune:finetune_command",
    "info": "models:info_command",
    "list": "models:list_command",
    "lock": "lock:lock_command",
    "new": "new:new_command",
    "registry": "registry:registry_group",
    "schema": "validate:schema_command",
    "search": "models:search_command",
    "serve": "serve:serve_command",
    "sync": "lock:sync_command",
    "trust": "trust:trust_group",
    "validate": "validate:validate_command",
}


class _Program(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = load(f"mshub_ssd.cli.{_COMMANDS[cmd_name]}")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _COMMANDS and not ctx.resilient_parsing:
            import difflib

            if close := difflib.get_close_matches(args[0], _COMMANDS):
                ctx.fail(f"No such command {args[0]!r}. Did you mean {' or '.join(map(repr, close))}?")
        return super().resolve_command(ctx, args)

    def main(self, args: Sequence[str] | None = None, *more: Any, **options: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            # A name the locale cannot spell should not end the program.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        options["standalone_mode"] = False  # errors come here
        words = list(sys.argv[1:] if args is None else args)
        with reporting():
            try:
                code = super().main(words, *more, **options)
            except (MshubError, click.ClickException) as failure:
                code = tell_failure(failure, _wants_json(words))
        sys.exit(code)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with needing_extra("this command"):
                return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(_INTERRUPTED)


def _wants_json(words: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, even if it makes no sense otherwise."""
    options = words[: words.index("--")] if "--" in words else words
    return not {"--json", "--format=json"}.isdisjoint(options) or ("--format", "json") in itertools.pairwise(options)


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

    Exit codes: 0 done, 1 findings or a refusal you can fix (the message says how), 2 wrong usage. With --json, stdout
    has one JSON document: the answer, or the error.
    """
