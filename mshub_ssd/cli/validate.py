"""``validate`` and ``schema``: what is wrong with model cards, and what their fields are.

Exit codes of ``validate``: 0 neither errors nor warnings; 1 findings; 2 wrong usage, or a path that cannot be read.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mshub_ssd.cli.options import verbosity_options
from mshub_ssd.cli.output import emit, emit_raw, note, on_terminal, tell_failure
from mshub_ssd.errors import MshubError, UsageError
from mshub_ssd.terminal import Bar, table

if TYPE_CHECKING:
    from mshub_ssd import lint

__all__ = ["schema_command", "validate_command"]

# Spelt out, because `mshub --help` must not load the linter.
_FORMATS = ("text", "full", "concise", "json", "github", "gitlab", "sarif", "junit")
_TEXTS = _FORMATS[:3]
_MARKDOWN = "markdown"
_LEVELS = ("error", "warning", "info")
_PROFILES = ("default", "strict")
_SLOW = 1.0  # seconds after which a progress bar is worth its lines
# Where CI systems say that the repository lies; their reports name files from there.
_CHECKOUTS = {
    "github": ["GITHUB_WORKSPACE"],
    "gitlab": ["CI_PROJECT_DIR"],
    "sarif": ["GITHUB_WORKSPACE", "CI_PROJECT_DIR"],
}


@dataclass(frozen=True)
class _Wishes:
    """The command's options."""

    paths: tuple[str, ...]
    format: str
    output: Path | None
    select: list[str] | None
    ignore: list[str]
    profile: str | None
    fix: bool
    unsafe_fixes: bool
    diff: bool
    baseline: Path | None
    update_baseline: bool
    no_config: bool
    config: Path | None
    level: str
    statistics: bool
    jobs: int
    explain: tuple[str, ...]
    list_rules: bool
    online: bool
    deep: bool
    allow_private: bool
    max_size: int | None


@click.command("validate")
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option(
    "--format",
    "format_",
    type=click.Choice([*_FORMATS, _MARKDOWN]),
    help="How to tell the findings. text, the default, is full for a few of them and concise, a line each, for many; "
    "markdown is for --explain.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to FILE instead of stdout.")
@click.option(
    "--profile",
    type=click.Choice(_PROFILES),
    help="default: what breaks loading, misleads, or the official validator refuses; strict: house style, too.",
)
@click.option("--select", multiple=True, metavar="CODES", help="Run these rules only: MC013,MC02 or ALL.")
@click.option("--ignore", multiple=True, metavar="CODES", help="Do not run these rules.")
@click.option("--fix", is_flag=True, help="Apply the fixes that leave the cards' meaning alone.")
@click.option("--unsafe-fixes", is_flag=True, help="With --fix or --diff: the other fixes, too.")
@click.option("--diff", is_flag=True, help="Show what the fixes would change, and change nothing.")
@click.option("--baseline", type=click.Path(path_type=Path), metavar="FILE", help="Findings to leave out: old debt.")
@click.option("--update-baseline", is_flag=True, help="Write what is found now to the baseline.")
@click.option("--no-config", is_flag=True, help="Read no mshub.toml and no pyproject.toml.")
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="Read this mshub.toml or pyproject.toml."
)
@click.option(
    "--level", type=click.Choice(_LEVELS), default="info", help="Hide milder findings; the exit code stays the same."
)
@click.option("--statistics", is_flag=True, help="Count the findings of each rule instead of showing them.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Most processes to use; by default all cores.")
@click.option("--explain", multiple=True, metavar="CODE", help="Explain a rule, by code or name; all for all of them.")
@click.option("--list-rules", is_flag=True, help="List the rules as configured here.")
@click.option("--online", is_flag=True, help="Ask the network, too: do the links answer?")
@click.option("--deep", is_flag=True, help="With --online: download every asset and compare its digest.")
@click.option("--allow-private", is_flag=True, help="With --online: addresses of private networks, too.")
@click.option(
    "--max-size",
    type=click.IntRange(min=1),
    metavar="MB",
    help="With --online: larger assets are findings, and not downloaded; by default 5000.",
)
@verbosity_options
def validate_command(
    paths: tuple[str, ...],
    format_: str | None,
    as_json: bool,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    jobs: int | None,
    **options: Any,
) -> None:
    """Check model cards: files, and folders with all cards below them.

    Nothing leaves this machine unless --online is given. Findings that shall stay are silenced in the card itself,
    with a reason; `--explain CODE` shows how. Settings are read from mshub.toml, or from [tool.mshub] in
    pyproject.toml, in the first PATH's folder or above.

    Exit codes: 0 neither errors nor warnings, 1 findings, 2 wrong usage or a path that cannot be read.
    """
    if as_json and format_ not in (None, "json"):
        raise click.UsageError(f"--json and --format {format_} exclude each other")
    wishes = _Wishes(
        paths=paths,
        format="json" if as_json else format_ or "text",
        select=_split(select) if select else None,
        ignore=_split(ignore),
        jobs=jobs or _usable_cores(),
        **options,
    )
    _check(wishes)
    try:
        status = _carry_out(wishes)
    except MshubError as error:
        tell_failure(error, wishes.format == "json")
        status = 2  # 1 means findings here, and nothing else
    click.get_current_context().exit(status)


@click.command("schema")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to FILE instead of stdout.")
@click.option(
    "--format", "format_", type=click.Choice(["json", _MARKDOWN]), default="json", help="markdown is a page to read."
)
@verbosity_options
def schema_command(output: Path | None, format_: str) -> None:
    """Print the JSON Schema of a card's fields, for editors and other programs."""
    from mshub_ssd import lint

    text = lint.field_reference() if format_ == _MARKDOWN else json.dumps(lint.front_matter_schema(), indent=2)
    if output is None:
        emit(text)
    else:
        _write_file(output, f"{text}\n")


def _check(wishes: _Wishes) -> None:
    """Refuse what makes no sense before anything is done.

    Raises:
        click.UsageError: The options contradict each other, or there is no path.
    """

    def exclude(first: str, second: str, both: bool) -> None:
        if both:
            raise click.UsageError(f"{first} and {second} exclude each other")

    exclude("--config", "--no-config", wishes.config is not None and wishes.no_config)
    exclude("--diff", "--update-baseline", wishes.diff and wishes.update_baseline)
    exclude("--diff", "--statistics", wishes.diff and wishes.statistics)
    exclude("--profile", "--select", wishes.profile is not None and wishes.select is not None)
    if wishes.explain or wishes.list_rules:
        allowed = ("text", "json", _MARKDOWN) if wishes.explain else ("text", "json")
        if wishes.format not in allowed:
            raise click.UsageError(f"rules are told as {' or '.join(allowed)}, not as {wishes.format}")
        return
    if wishes.format == _MARKDOWN:
        raise click.UsageError("--format markdown is for --explain")
    if wishes.format != "text" and (wishes.diff or wishes.statistics):
        option = "--diff" if wishes.diff else "--statistics"
        more = "; the numbers are in its summary.codes" if wishes.statistics and wishes.format == "json" else ""
        raise click.UsageError(f"{option} has a form of its own, not {wishes.format}{more}")
    for option, given in (
        ("--deep", wishes.deep),
        ("--allow-private", wishes.allow_private),
        ("--max-size", wishes.max_size),
    ):
        if given and not wishes.online:
            raise click.UsageError(f"{option} needs --online")
    if wishes.unsafe_fixes and not (wishes.fix or wishes.diff):
        raise click.UsageError("--unsafe-fixes alone fixes nothing: add --fix, or --diff to look first")
    if not wishes.paths:
        raise click.UsageError("no PATH was given. Name a card, or a folder of cards: mshub validate hub_models")
    if wishes.output is not None and not wishes.output.parent.is_dir():
        raise click.BadParameter(f"there is no folder {wishes.output.parent}", param_hint="'--output'")


def _carry_out(wishes: _Wishes) -> int:
    if wishes.explain:
        _tell(wishes, _explanation(wishes))
        return 0
    config = _config(wishes)
    if wishes.list_rules:
        _tell(wishes, _rules(wishes, config))
        return 0
    if not _running(wishes, config):
        raise UsageError(
            "no rule is left to run",
            where="--select and --ignore" + (f", {config.file}" if config.file else ""),
            hint="select others: mshub validate --list-rules"
            if wishes.online or not config.enabled
            else "these rules need the network: add --online",
        )
    report = _lint(wishes, config)
    if wishes.update_baseline:
        _update_baseline(wishes, config, report)
    elif wishes.diff:
        _show_diff(wishes, report)
    elif wishes.statistics:
        _tell(wishes, _statistics(report))
    else:
        _show(wishes, report)
    if report.unreadable:
        return 2
    if wishes.update_baseline:
        return 0
    return 0 if report.ok and not report.diff else 1


def _config(wishes: _Wishes) -> lint.Config:
    from mshub_ssd import lint

    config = lint.load_config(
        Path(wishes.paths[0]) if wishes.paths else None,
        select=wishes.select,
        ignore=wishes.ignore,
        profile=wishes.profile,
        file=wishes.config,
        use_file=not wishes.no_config,
        baseline=wishes.baseline,
        read_baseline=not wishes.update_baseline,
    )
    if wishes.update_baseline and config.baseline_file is None:
        raise UsageError(
            "no baseline file was named",
            expected="--baseline FILE, or baseline in mshub.toml",
            hint='--baseline mshub-baseline.json, and put baseline = "mshub-baseline.json" into mshub.toml',
        )
    return config


def _lint(wishes: _Wishes, config: lint.Config) -> lint.Report:
    from mshub_ssd import lint, validation

    # One mistyped path should not keep the others from being checked.
    paths = [path for path in wishes.paths if os.path.lexists(path)]
    missing = tuple(lint.Unreadable(path, "no such file or folder") for path in wishes.paths if path not in paths)
    answers = None
    if wishes.online and paths:
        from mshub_ssd import online

        max_bytes = online.MAX_BYTES if wishes.max_size is None else wishes.max_size * 10**6
        answers = online.gather(
            paths, config, deep=wishes.deep, allow_private=wishes.allow_private, max_bytes=max_bytes
        )
    # Writing lines with their marks takes time, so each process writes its own; single lines are quicker written
    # than sent, and `text` shows no others where there are cards enough for several processes to find much.
    describe = None
    if wishes.format == "full" and not wishes.update_baseline:
        describe = lint.describer(color=_in_color(wishes))
    with Bar(unit="card", delay=_SLOW) as bar:
        report = lint.lint(
            paths or wishes.paths,
            config,
            jobs=wishes.jobs,
            fix="unsafe" if wishes.unsafe_fixes else "safe" if wishes.fix or wishes.diff else "none",
            write=not wishes.diff,
            progress=bar.reach,
            answers=answers,
            describe=describe,
            planner=validation.plan_card,
        )
    return dataclasses.replace(report, unreadable=(*missing, *report.unreadable)) if missing else report


def _show(wishes: _Wishes, report: lint.Report) -> None:
    from mshub_ssd import lint

    shown = report.from_level(wishes.level)
    color = _in_color(wishes)
    _tell(wishes, lint.render(shown, wishes.format, color=color, root=_checkout(wishes.format)), color=color)


def _show_diff(wishes: _Wishes, report: lint.Report) -> None:
    from mshub_ssd import lint

    if wishes.output is not None:
        _write_file(wishes.output, report.diff)
    elif on_terminal():
        if report.diff:
            emit(report.diff.rstrip("\n"))
    else:
        emit_raw(report.diff)
    for line in lint.summary(report):
        note(line)


def _statistics(report: lint.Report) -> str:
    from mshub_ssd import lint

    lost = [f"{item.path}: cannot be read: {item.reason}" for item in report.unreadable]
    blocks = [lint.statistics(report)] if report.findings else []
    return "\n\n".join([*blocks, "\n".join([*lost, *lint.summary(report)])])


def _update_baseline(wishes: _Wishes, config: lint.Config, report: lint.Report) -> None:
    from mshub_ssd import lint

    path = config.baseline_file
    assert path is not None  # _config saw to it
    before = lint.Baseline.load(path) if path.exists() else lint.Baseline(path.parent)
    existing = [given for given in wishes.paths if os.path.lexists(given)]
    cards, _ = lint.discover(existing, roots=config.roots, exclude=config.exclude, base=config.base)
    lost = {item.path for item in report.unreadable}
    # What this run says nothing about stays known: cards and rules that it did not look at.
    after = before.updated(
        report.findings,
        cards=[card.path for card in cards if card.path not in lost],
        codes=_running(wishes, config),
    )
    after.write(path)
    added, removed = before.change_to(after)
    facts = {"path": str(path), "findings": len(after), "added": added, "removed": removed}
    if wishes.format == "json":
        _tell(wishes, json.dumps({"baseline": facts, "summary": report.summary()}, indent=2))
    else:
        _tell(wishes, f"wrote {path}: {len(after)} findings known, {added} of them new, {removed} gone")
    for item in report.unreadable:
        note(f"{item.path}: cannot be read: {item.reason}")


def _running(wishes: _Wishes, config: lint.Config) -> set[str]:
    """The codes that can come up in this run."""
    from mshub_ssd import lint

    return {
        code
        for code, rule in lint.all_rules().items()
        if code in config.enabled and (wishes.online or rule.scope != "online")
    }


def _explanation(wishes: _Wishes) -> str:
    from mshub_ssd import lint

    rules = lint.find_rules(wishes.explain)
    if wishes.format == "json":
        return json.dumps([lint.rule_facts(rule) for rule in rules], indent=2)
    if wishes.format == _MARKDOWN:
        return lint.rule_reference(rules)
    return "\n\n\n".join(map(lint.explained, rules))


def _rules(wishes: _Wishes, config: lint.Config) -> str:
    from mshub_ssd import lint

    rules = lint.find_rules(["all"])
    if wishes.format == "json":
        return json.dumps([lint.rule_facts(rule, config) for rule in rules], indent=2)
    return table(lint.rule_table(rules, config))


def _tell(wishes: _Wishes, text: str, *, color: bool = False) -> None:
    """Bring an answer to stdout, or to the file that was asked for."""
    if wishes.output is not None:
        _write_file(wishes.output, f"{text}\n")
    elif color or wishes.format not in (*_TEXTS, "json"):
        emit_raw(f"{text}\n")
    else:
        emit(text)


def _write_file(path: Path, text: str) -> None:
    try:
        path.write_bytes(text.encode("utf-8", "backslashreplace"))  # names of files need not be UTF-8
    except OSError as error:
        raise UsageError(
            f"the output cannot be written: {error.strerror or type(error).__name__}",
            where=str(path),
            hint="give another --output FILE",
        ) from error
    note(f"wrote {path}")


def _checkout(format_: str) -> Path | None:
    here = Path.cwd()
    for name in _CHECKOUTS.get(format_, ()):
        folder = os.environ.get(name)
        if folder and here.is_relative_to(folder):
            return Path(folder)
    return None


def _in_color(wishes: _Wishes) -> bool:
    return wishes.format in _TEXTS and wishes.output is None and _wants_color()


def _wants_color(environ: Mapping[str, str] | None = None) -> bool:
    """Colours for people; https://no-color.org and https://force-color.org have the last word."""
    env = os.environ if environ is None else environ
    if env.get("NO_COLOR"):
        return False
    if env.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return on_terminal() and env.get("TERM") != "dumb"


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _split(values: Sequence[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]
