"""Consent to run the code of a repository: for one commit, recorded, revocable.

Beside the user's settings lies a folder ``trust`` with one small file per commit, which only its owner can write::

    ~/.config/mshub/trust/mindspore+models@e197ef52f564e47a2198e78da9b4c75010c4406b.json

Each file appears whole or not at all, and none is ever changed, so that no lock is needed. One that somebody else
could have written is no consent.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from mshub_ssd.errors import TrustError, UsageError
from mshub_ssd.files import make_folders, new_file, open_regular, owned
from mshub_ssd.foreign.commits import full_commit, valid_repository
from mshub_ssd.settings import trust_folder

__all__ = ["Consent", "allow", "allowed", "is_allowed", "parse_pin", "require", "revoke"]

logger = logging.getLogger("mshub_ssd.foreign")

_SMALL = 1 << 14
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)

By = Literal["command", "trust_repo"]


@dataclass(frozen=True)
class Consent:
    """That the code of one commit may run.

    Attributes:
        repository: Its name, e.g. ``mindspore/models``.
        commit: All 40 hex digits.
        given: When, e.g. ``2026-01-31T12:00:00Z``.
        by: How: ``command`` for ``mshub trust add``, ``trust_repo`` for ``load(..., trust_repo=True)``.
        uid: The model for which it was given, if it was for one.
    """

    repository: str
    commit: str
    given: str
    by: By
    uid: str | None = None

    @property
    def pin(self) -> str:
        """``REPOSITORY@COMMIT``."""
        return f"{self.repository}@{self.commit}"


def parse_pin(text: str) -> tuple[str, str]:
    """Repository and commit of ``REPOSITORY@COMMIT``.

    Raises:
        UsageError: It is none; a branch, a tag or a part of a commit's name is no commit.
    """
    repository, _, commit = text.rpartition("@")
    return _checked(repository, commit.lower())


def allow(repository: str, commit: str, *, by: By = "command", uid: str | None = None) -> Consent:
    """Record that the code of a commit may run; a consent that is there already stays as it is.

    Args:
        repository: Its name.
        commit: All 40 hex digits.
        by: How the user says so.
        uid: The model for which it is given.

    Raises:
        UsageError: There is no such commit, or the consent cannot be recorded.
    """
    _checked(repository, commit)
    known = _read(_place(repository, commit))
    if known is not None:
        return known
    now = datetime.datetime.now(datetime.timezone.utc)
    new = Consent(repository, commit, now.strftime("%Y-%m-%dT%H:%M:%SZ"), by, uid)
    path = _place(repository, commit)
    try:
        make_folders(path.parent.parent)
        make_folders(path.parent, 0o700)
        with new_file(path, mode=0o600, durable=True) as stream:
            stream.write((json.dumps(asdict(new), indent=2) + "\n").encode())
    except OSError as error:
        raise UsageError(
            f"the consent cannot be recorded: {error.strerror}",
            where=str(path),
            hint="see to it that its folder can be written, or set XDG_CONFIG_HOME to one that can",
        ) from error
    if _read(path) is None:
        raise UsageError(
            "the consent does not count: others can write where it is recorded",
            where=str(path.parent),
            expected="a folder that only you can write",
            hint="chmod go-w the folder, and those above it that are yours",
        )
    return new


def revoke(repository: str, commit: str | None = None) -> list[Consent]:
    """Take consent back, for one commit or for all of a repository; what is loaded already stays loaded.

    Returns:
        What had been given.

    Raises:
        UsageError: No consent was given there, or its record cannot be removed.
    """
    if commit is not None:
        _checked(repository, commit)
    gone = [one for one in allowed() if one.repository == repository and commit in (None, one.commit)]
    if not gone:
        raise UsageError(
            "no consent was given there",
            expected=", ".join(one.pin for one in allowed()) or "there is none",
            got=(repository if commit is None else f"{repository}@{commit}")[:250],
            hint="mshub trust list",
        )
    for one in gone:
        path = _place(one.repository, one.commit)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(f"the consent cannot be taken back: {error.strerror}", where=str(path)) from error
    return gone


def allowed() -> list[Consent]:
    """Every consent that was given, by repository and time; records that others could have written do not count."""
    try:
        names = sorted(os.listdir(trust_folder()))  # noqa: PTH208 - names, whatever else is there
    except OSError:
        return []
    found = (_read(trust_folder() / name) for name in names if name.endswith(".json"))
    return sorted((one for one in found if one is not None), key=lambda one: (one.repository, one.given, one.commit))


def is_allowed(repository: str, commit: str) -> bool:
    """Whether the code of a commit may run."""
    return valid_repository(repository) and full_commit(commit) and _read(_place(repository, commit)) is not None


def require(repository: str, commit: str, *, uid: str, path: str, trust_repo: bool = False) -> None:
    """See that the code of a commit may run.

    Args:
        repository: Its name.
        commit: All 40 hex digits.
        uid: The model that needs it.
        path: The folder in the repository.
        trust_repo: The user consents with this very call, which is recorded.

    Raises:
        TrustError: The user has not consented; it says to what, how to read it first, and what to type.
        UsageError: There is no such commit.
    """
    _checked(repository, commit)
    if is_allowed(repository, commit):
        return
    if trust_repo is not True:  # no other value is a consent: "no" is true, too
        raise TrustError(
            f"the network of {uid} is code of the repository {repository}, which runs only with your consent",
            where=f"{repository}@{commit}:{path}",
            expected="your consent to run the code of this commit, with all that you may do yourself",
            got="none",
            hint=f"read the code: mshub trust show {uid}; then consent: mshub trust add {repository}@{commit}, "
            "or load(uid, trust_repo=True)",
        )
    try:
        allow(repository, commit, by="trust_repo", uid=uid)
    except UsageError as error:
        logger.warning("your consent holds for this call only: %s (%s)", error.message, error.where)


def _checked(repository: str, commit: str) -> tuple[str, str]:
    if valid_repository(repository) and full_commit(commit):
        return repository, commit
    raise UsageError(
        "consent is given for one commit of a repository",
        expected="REPOSITORY@COMMIT with all 40 hex digits, e.g. mindspore/models@e197ef52f564e4…",
        got=repr(f"{repository}@{commit}")[:250],
        hint="`mshub trust show UID` tells the commit that a model needs; branches, tags and short names can move",
    )


def _place(repository: str, commit: str) -> Path:
    return trust_folder() / f"{repository.replace('/', '+')}@{commit}.json"


def _read(path: Path) -> Consent | None:
    """A consent, if it is whole, is the one of that name, and nobody but its owner can have written it."""
    try:
        if not owned(path.parent.stat()):
            raise PermissionError("others can write in its folder")
        with open_regular(path, follow=False) as stream:
            if not owned(os.fstat(stream.fileno())):
                raise PermissionError("others can write it")
            data = stream.read(_SMALL) or b""
        stored = json.loads(data)
        found = Consent(**{name: stored[name] for name in ("repository", "commit", "given", "by", "uid")})
        if list(_faults(found, path)):
            raise ValueError(", ".join(_faults(found, path)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        with contextlib.suppress(OSError):
            path.lstat()
            reason = getattr(error, "strerror", None) or error
            logger.warning("a record of consent does not count: %s: %s", path, reason)
        return None
    return found


def _faults(found: Consent, path: Path) -> Iterator[str]:
    if not isinstance(found.repository, str) or not valid_repository(found.repository):
        yield "it names no repository"
    elif not isinstance(found.commit, str) or not full_commit(found.commit):
        yield "it names no commit"
    elif _place(found.repository, found.commit) != path:
        yield "it is that of another commit"
    elif not isinstance(found.given, str) or not _TIME.fullmatch(found.given):
        yield "it has no time"
    elif found.by not in ("command", "trust_repo") or not isinstance(found.uid, str | None):
        yield "it does not say how it was given"
