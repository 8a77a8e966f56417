"""``trust``: consent to the code of repositories, and how to read it first."""

from __future__ import annotations

import contextlib
import shlex
from typing import TYPE_CHECKING, Any

import click

from mshub_ssd.cli.options import complete_uid, json_option, offline_option, verbosity_options
from mshub_ssd.cli.output import answer, mshub_command, note
from mshub_ssd.errors import UnknownModelError, UsageError
from mshub_ssd.hub import default_hub
from mshub_ssd.terminal import counted, size_text, table

if TYPE_CHECKING:
    from mshub_ssd.foreign import Checkout, Consent, RepoLink

__all__ = ["trust_group"]

_BY = {"command": "mshub trust add", "trust_repo": "trust_repo=True"}


@click.group("trust")
@verbosity_options
def trust_group() -> None:
    """Say whose code may run: networks that are code of a repository need your consent.

    Consent is for one commit, which nobody can change afterwards. The code then runs as you, with all that you may do:
    read it first.
    """


@trust_group.command("add")
@click.argument("pin", metavar="REPOSITORY@COMMIT")
@json_option
@verbosity_options
def add_command(pin: str, as_json: bool) -> None:
    """Consent to run the code of a repository at a commit.

    COMMIT has all its 40 hex digits: a branch, a tag or a short name can come to mean other code.
    """
    from mshub_ssd import foreign

    repository, commit = foreign.parse_pin(pin)
    settings = default_hub().settings
    if repository not in foreign.known(settings):
        raise UsageError(
            "no repository of that name is known",
            expected=", ".join(foreign.known(settings)),
            got=repr(repository)[:100],
            hint="to say where one is: MSHUB_REPOSITORIES='OWNER/NAME=/path/of/a/clone'",
        )
    if foreign.BRANCHES.get(repository) and not _branches(repository, commit):
        note(f"no model card means this commit; those of {repository}: {_known_commits(repository)}")
    given = foreign.allow(repository, commit)
    back = f"{mshub_command()} trust remove {given.pin}"
    answer(_facts(given), f"code of {given.pin} may run from now on, as you\nBack: {back}", as_json)


@trust_group.command("list")
@json_option
@verbosity_options
def list_command(as_json: bool) -> None:
    """Show the commits whose code may run, since when, and how you said so."""
    from mshub_ssd import foreign

    found = foreign.allowed()
    rows = [("REPOSITORY", "COMMIT", "BRANCH", "SINCE", "BY")]
    for one in found:
        by = _BY[one.by] if one.uid is None else f"{_BY[one.by]} for {one.uid}"
        rows.append((one.repository, one.commit, ", ".join(_branches(one.repository, one.commit)), one.given, by))
    text = table(rows) if found else "No code of repositories may run."
    answer([_facts(one) for one in found], text, as_json)


@trust_group.command("remove")
@click.argument("pin", metavar="REPOSITORY[@COMMIT]")
@json_option
@verbosity_options
def remove_command(pin: str, as_json: bool) -> None:
    """Take consent back, for one commit or for all of a repository."""
    from mshub_ssd import foreign

    repository, commit = foreign.parse_pin(pin) if "@" in pin else (pin, None)
    gone = foreign.revoke(repository, commit)
    answer([_facts(one) for one in gone], "\n".join(f"code of {one.pin} may no longer run" for one in gone), as_json)


@trust_group.command("show")
@offline_option
@click.argument("uid", shell_complete=complete_uid)
@click.option("--file", "name", metavar="NAME", help="Print this file.")
@json_option
@verbosity_options
def show_command(uid: str, name: str | None, as_json: bool) -> None:
    """Print the files that would be imported for a model, or one of them; they are fetched, and not run."""
    from mshub_ssd import foreign

    link, commit = _code_of(uid)
    found = foreign.obtain(link.repository, commit, link.path, settings=default_hub().settings)
    if name is None:
        answer(_code_facts(found), _listing(uid, found), as_json)
        return
    try:
        data = found.read(name)
    except FileNotFoundError:
        raise UsageError(
            "the folder has no such file, or it is left out",
            where=f"{found.repository}@{found.commit}:{found.path}",
            got=name[:200],
            hint=f"mshub trust show {shlex.quote(uid)}",
        ) from None
    text = data.decode("utf-8", "backslashreplace")
    answer({"name": name, "size": len(data), "text": text}, text.removesuffix("\n"), as_json)


def _code_of(uid: str) -> tuple[RepoLink, str]:
    """The folder with the code of a model, and its commit.

    Raises:
        UsageError: Its card means none that is known.
    """
    from mshub_ssd import foreign, providers

    card = default_hub().info(uid)
    with contextlib.suppress(UnknownModelError):  # then there is the link to read
        for recipe in providers.candidates(card):
            if recipe.level == "repository" and recipe.code is not None:
                return foreign.RepoLink(recipe.code.name, None, recipe.code.path), recipe.code.version
    link = foreign.parse_repo_link(card.repo_link or "")
    if link is None or not link.path:
        raise UsageError(
            "the card names no folder of a repository",
            where=str(card.origin or card.uid),
            expected="repo-link: https://gitee.com/mindspore/models/tree/r1.9/official/cv/resnet",
            got=repr(card.repo_link)[:200],
        )
    commit = foreign.commit_of(link.repository, link.branch or "")
    if commit is None:
        raise UsageError(
            f"no commit is known for the card's branch {link.branch} of {link.repository}",
            where=str(card.origin or card.uid),
            expected="; ".join(f"{name}: {', '.join(table)}" for name, table in foreign.BRANCHES.items()),
            got=str(card.repo_link)[:200],
            hint="branches are not followed, since they move: code of other repositories comes from their packages",
        )
    return link, commit


def _listing(uid: str, found: Checkout) -> str:
    from mshub_ssd import foreign

    mine = (one for one in foreign.allowed() if (one.repository, one.commit) == (found.repository, found.commit))
    given = next(mine, None)
    pin = f"{found.repository}@{found.commit}"
    rows = [("FILE", "SIZE")]
    for one in found.files:
        rows.append((one.name, f"left out: {one.left_out}" if one.size is None else size_text(one.size)))
    taken = [one.size for one in found.files if one.size is not None]
    command = mshub_command()
    consent = (
        f"Consent: since {given.given}, by {_BY[given.by]}\nBack: {command} trust remove {pin}"
        if given is not None
        else f"Consent: none\nTo consent, once you have read it: {command} trust add {pin}"
    )
    return (
        f"{pin}\n{found.path}: {counted(len(taken), 'file')}, {size_text(sum(taken))}, in {found.folder}\n\n"
        f"{table(rows, right=(1,))}\n\nOne of them: {command} trust show {shlex.quote(uid)} --file NAME\n{consent}"
    )


def _code_facts(found: Checkout) -> dict[str, Any]:
    from mshub_ssd import foreign

    return {
        "repository": found.repository,
        "commit": found.commit,
        "path": found.path,
        "allowed": foreign.is_allowed(found.repository, found.commit),
        "folder": str(found.folder),
        "files": [{"name": one.name, "size": one.size, "left_out": one.left_out or None} for one in found.files],
    }


def _facts(one: Consent) -> dict[str, Any]:
    return {
        "repository": one.repository,
        "commit": one.commit,
        "branches": _branches(one.repository, one.commit),
        "given": one.given,
        "by": one.by,
        "uid": one.uid,
    }


def _branches(repository: str, commit: str) -> list[str]:
    """The branches that stand for a commit."""
    from mshub_ssd import foreign

    return [branch for branch, meant in foreign.BRANCHES.get(repository, {}).items() if meant == commit]


def _known_commits(repository: str) -> str:
    from mshub_ssd import foreign

    return ", ".join(f"{branch} {commit}" for branch, commit in foreign.BRANCHES[repository].items())
