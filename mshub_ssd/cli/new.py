"""``new``: writes a model card that validates, from options or from answers on a terminal."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mshub_ssd.cli.options import complete_uid, json_option, offline_option, verbosity_options
from mshub_ssd.cli.output import answer, guarded_stdout, mshub_command, note, without_secrets
from mshub_ssd.drafting import LEFT_OUT, QUESTIONS, Draft, Question
from mshub_ssd.errors import MshubError, UsageError
from mshub_ssd.hub import default_hub
from mshub_ssd.terminal import plain

if TYPE_CHECKING:
    from mshub_ssd import lint

__all__ = ["new_command"]

_INTERRUPTED = 130
_FLAGS = {"copy"}
_ALIASES = {"task": ("--module-type",), "license": ("--licence",)}
_SEVERAL = {"evaluation"}
_ONCE = {"checkpoint"}
_FILES = {"checkpoint", "classes"}
_METAVARS = {
    "checkpoint": "FILE|URL",
    "sha256": "DIGEST",
    "network": "KEY",
    "dataset": "NAMES",
    "classes": "FILE|NAMES",
    "evaluation": "FIGURES",
    "summary": "TEXT",
    "license": "SPDX",
    "author": "NAME",
    "repo-link": "URL",
    "user-id": "NAME",
    "mindspore-version": "X.Y",
    "model-version": "X.Y",
    "task": "TASK",
    "input-shape": "C,H,W",
}
# Looking into a checkpoint takes some seconds.
_SLOW = {"checkpoint", "sha256"}


def _complete_network(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from mshub_ssd import networks

    return [key for key in networks.names() if key.lower().startswith(incomplete.lower())]


def _question_options(command: Any) -> Any:
    """Decorator: the option of each question, in the order in which they are asked."""
    for question in reversed(QUESTIONS):
        names = (f"--{question.option}", *_ALIASES.get(question.option, ()), question.option.replace("-", "_"))
        more: dict[str, Any] = {"metavar": _METAVARS.get(question.option)}
        if question.option in _FLAGS:
            more = {"is_flag": True}
        elif question.option in _SEVERAL | _ONCE:
            more["multiple"] = True
        if question.option == "network":
            more["shell_complete"] = _complete_network
        elif question.option in _FILES:
            more["shell_complete"] = click.Path().shell_complete
        command = click.option(*names, help=question.help, **more)(command)
    return command


@click.command("new")
@offline_option
@click.argument("uid", shell_complete=complete_uid)
@_question_options
@click.option("--url", metavar="URL", help="Where the file of --checkpoint will be published: the card links that.")
@click.option("--fetch", is_flag=True, help="Download a url's file, to verify it or to take its digest.")
@click.option(
    "--registry",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of cards: the card is DIR/UID.md. By default hub_models here, or else this folder.",
)
@click.option("--no-input", is_flag=True, help="Never ask; say which options are missing.")
@click.option("--force", is_flag=True, help="Replace the card, and a file beside it.")
@click.option("--dry-run", is_flag=True, help="Print the card, and write nothing.")
@json_option
@verbosity_options
def new_command(
    uid: str,
    url: str | None,
    fetch: bool,
    registry: Path | None,
    no_input: bool,
    force: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write a model card for a checkpoint.

    UID is the card's name, publisher/version/name: me/1.0/ssd300_fish is written to me/1.0/ssd300_fish.md. On a
    terminal, what no option says is asked for. What can be known is filled in: digest and size from the file, the
    network and the number of its classes from the parameters in it.

    The exit code is 1 if `mshub validate` has something to say about the card.
    """
    from mshub_ssd import lint  # not before: `mshub --help` must not load the linter

    draft = Draft(default_hub(), uid, registry, force=force)
    given = {name.replace("_", "-"): value for name, value in options.items() if value not in (None, (), False)}
    for option in _ONCE & given.keys():
        if len(given[option]) > 1:
            raise click.UsageError(f"--{option} is given twice; where it will be published is --url")
        given[option] = given[option][0]
    if url is not None and fetch:
        raise click.UsageError("--fetch has nothing to do with --url: the digest is that of the file here")
    asking = not no_input and sys.stdin.isatty()
    try:
        missing = _fill(draft, given, url=url, fetch=fetch, asking=asking)
    except click.Abort:
        click.echo("\nstopped; nothing was written", err=True)
        click.get_current_context().exit(_INTERRUPTED)
    if missing:
        for line in draft.notes:
            note(line)
        listed = ", ".join(_named(question, draft) for question in missing)
        raise click.UsageError(
            f"the card needs {listed}. Give {'it' if len(missing) == 1 else 'them'} as options, or run this on a "
            "terminal and without --no-input to be asked"
        )
    draft.conclude()
    text = _text(draft)
    if dry_run:
        report = draft.foreseen(text)
        facts = {
            "uid": draft.uid,
            "path": str(draft.path),
            "written": False,
            "text": text,
            "notes": draft.notes,
            "findings": [finding.to_dict() for finding in report.findings],
        }
        for line in () if as_json else (*draft.notes, lint.render(report, "text")):
            note(line)
        answer(without_secrets(facts), text.rstrip("\n"), as_json, failed=not report.ok)
        return
    copy = draft.write(text)
    report = draft.check()
    facts = {
        "uid": draft.uid,
        "path": str(draft.path),
        "written": True,
        "copied": None if copy is None else str(copy),
        "network": draft.match and draft.match.key,
        "num_classes": draft.match and draft.match.num_classes,
        "notes": draft.notes,
        "findings": [finding.to_dict() for finding in report.findings],
        "next": _next(draft),
    }
    answer(without_secrets(facts), _told(draft, copy, report), as_json, failed=not report.ok)


def _text(draft: Draft) -> str:
    """The draft's card.

    Raises:
        UsageError: A value cannot be written to a card; it names the option.
    """
    try:
        return draft.text()
    except UsageError as error:
        option = next((one.option for one in QUESTIONS if one.field and one.field == error.where), None)
        if option is not None:
            error.where, error.hint = f"--{option}", f"correct --{option}"
        raise


def _fill(draft: Draft, given: dict[str, Any], *, url: str | None, fetch: bool, asking: bool) -> list[Question]:
    """Answer all questions, from options, by asking, or with what may be assumed; those left without an answer.

    Raises:
        MshubError: An option's value is wrong.
        click.Abort: Whoever was asked had enough.
    """
    missing: list[Question] = []
    left_out: set[str] = set()
    told: set[str] = set()
    at = 0
    while at < len(QUESTIONS):
        question = QUESTIONS[at]
        at += 1
        value = given.pop(question.option, None)
        is_digest = question.option == "sha256" and (value is not None or fetch)
        if question.option in _FLAGS:
            value = "yes" if value and question.is_open(draft) else None
        if is_digest and draft.file is not None:
            _refuse_empty(question, draft, value)
            with guarded_stdout():
                draft.take_digest(value or "", fetch=fetch)
        elif value is not None:
            _take(question, draft, " | ".join(value) if isinstance(value, tuple) else value)
        elif question.option in left_out or not question.is_open(draft):
            pass
        elif question.is_sure(draft) or not asking:
            default = question.default(draft) if question.assumed else None
            if default is not None:
                _take(question, draft, default)
            elif question.needed(draft):
                missing.append(question)
        elif not _ask(question, draft):
            left_out.add(question.option)
            question.leave(draft)
        if question.option == "checkpoint" and url is not None and draft.file is not None:
            draft.take_url(url)
        if question.option == "network":
            draft.refuse_named_network()
        if asking:
            for line in draft.notes:
                if line not in told:
                    click.echo(f"  {plain(line)}", err=True)
            told |= set(draft.notes)
        if draft.file is None and asking and "checkpoint" not in left_out:
            at = 0  # the file was withdrawn
    return missing


def _named(question: Question, draft: Draft) -> str:
    """An option that is missing, and what there is to say about that."""
    why = question.without(draft)
    return f"--{question.option}" + (f" ({why})" if why else "")


def _take(question: Question, draft: Draft, text: str) -> None:
    _refuse_empty(question, draft, text)
    if question.option in _SLOW and sys.stderr.isatty():
        click.echo("  looking at the checkpoint ...", err=True)
    # That builds networks, and other people's may print.
    try:
        with guarded_stdout():
            question.take(draft, text)
    except MshubError as error:
        # The card is no file yet.
        if error.where is None or error.where in (draft.uid, str(draft.path)):
            error.where = f"--{question.option}"
        raise


def _refuse_empty(question: Question, draft: Draft, text: str | None) -> None:
    """Refuse what is no value; the network may be `-`, which is none."""
    option = question.option
    if text is None or text.strip() not in ("", LEFT_OUT) or (text.strip() and option == "network"):
        return
    what = f"--{option} {_METAVARS.get(option, 'TEXT')}"
    raise UsageError(
        f"--{option} has no value",
        got=repr(text),
        hint=f"{what}, or leave it out" if question.may_be_left(draft) else f"give it one: {what}",
    )


def _ask(question: Question, draft: Draft) -> bool:
    """Ask until there is an answer; whether there is one, or the question is to be left."""
    if hint := question.hint(draft):
        click.echo(f"\n{plain(hint)}", err=True)
    default, doubted, needed = question.default(draft), "", question.needed(draft)
    title = question.text if needed or default else f"{question.text} (Enter for none)"
    while True:
        text = click.prompt(title, default=default or "", show_default=bool(default), err=True).strip()
        if text == LEFT_OUT and question.option in _FLAGS:
            text = "no"
        if text == LEFT_OUT or (not text and not needed):
            return False
        if not text:
            click.echo(f"  this one is needed; {LEFT_OUT} leaves it out all the same", err=True)
            continue
        try:
            _take(question, draft, text)
        except MshubError as error:
            click.echo(f"  {plain(str(error))}".replace("\n", "\n  "), err=True)
            if not question.is_open(draft):
                return True  # another one has to be answered again
            continue
        found = draft.objections(question.field) if question.field and text != doubted else []
        if not found:
            return True
        for finding in found:
            click.echo(f"  {finding.code} {plain(finding.message)}; {plain(finding.help or '')}", err=True)
        click.echo("  Enter keeps it nevertheless.", err=True)
        draft.values.pop(question.field, None)
        default = doubted = text


def _told(draft: Draft, copy: Path | None, report: lint.Report) -> str:
    from mshub_ssd import lint

    lines = [f"wrote {draft.path}" + (f", and {copy} beside it" if copy else "")]
    lines += [f"  {line}" for line in draft.notes]
    return "\n".join(
        [*lines, "", lint.render(report, "text"), "", "Try next:", *(f"  {line}" for line in _next(draft))]
    )


def _next(draft: Draft) -> list[str]:
    """What to type next."""
    program, name = mshub_command(), draft.uid if draft.listed else str(draft.path)
    away = draft.file is not None and draft.file.path is None
    lines = [f"{program} doctor {shlex.quote(name)}{' --fetch' if away else ''}"]
    if draft.match is None:
        lines = [f"{program} info {shlex.quote(name)}"]  # it cannot be loaded
    kind = draft.values.get("module-type", "")
    if draft.match is not None:
        verb = "classify" if kind.endswith("classification") else "detect"
        out = "" if verb == "classify" else " --out found.png"
        lines.append(f"{program} {verb} PICTURE --model {shlex.quote(name)}{out}")
    if not draft.listed:
        root = shlex.quote(str(draft.root.resolve()))
        lines.append(f"export MSHUB_REGISTRY={root}   # then {draft.uid} is its name everywhere")
    return lines
