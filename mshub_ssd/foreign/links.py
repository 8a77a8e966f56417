"""Links of model cards into repositories: which repository, branch and folder one means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from mshub_ssd.foreign.commits import URLS, valid_repository

__all__ = ["RepoLink", "parse_repo_link", "plain_path"]

_LONGEST = 2000
_HOSTS = ("gitee.com", "github.com", "gitlab.com")  # elsewhere two names in a url may mean anything
_KINDS = ("tree", "blob", "raw", "src")  # what stands before the branch, by host


@dataclass(frozen=True)
class RepoLink:
    """What a card's link to code says.

    Attributes:
        repository: Its name, ``OWNER/NAME``.
        branch: The branch or tag, as the link has it; None where it names none.
        path: The folder, with ``/`` between its names; empty for the whole repository.
    """

    repository: str
    branch: str | None
    path: str


def parse_repo_link(text: str) -> RepoLink | None:
    """The repository, the branch and the folder that a link means; None if it is no link into a repository.

    Args:
        text: E.g. ``https://gitee.com/mindspore/models/tree/r1.9/official/cv/resnet``. A branch has no ``/``.
    """
    if len(text) > _LONGEST:
        return None
    try:
        parts = urlsplit(text.strip())
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:
        return None
    names = [unquote(name) for name in parts.path.split("/") if name]
    if parts.scheme.lower() not in ("http", "https") or not host or len(names) < 2:
        return None
    repository = _named(host, names[0], names[1].removesuffix(".git"))
    rest = names[3:] if names[2:3] == ["-"] else names[2:]
    if repository is None or (rest[0] not in _KINDS if rest else host not in _HOSTS):
        return None
    branch, path = (rest[1] if len(rest) > 1 else None), "/".join(rest[2:])
    if not plain_path(path) or (branch is not None and not re.fullmatch(r"[\w.+-]+", branch)):
        return None
    return RepoLink(repository, branch, path)


def plain_path(path: str) -> bool:
    """Whether a path leads down from where it begins, and nowhere else on any system; an empty one does."""
    return not path or all(
        name.strip(" .") and name.isprintable() and not re.search(r'[\\:*?"<>|]', name) for name in path.split("/")
    )


def _named(host: str, owner: str, name: str) -> str | None:
    """What a repository is called: a known one as this library does, others by their owners."""
    for known, urls in URLS.items():
        if f"https://{host}/{owner}/{name}.git" in urls:
            return known
    # The same name on another host is somebody else's.
    called = f"{host}/{owner}/{name}" if f"{owner}/{name}" in URLS else f"{owner}/{name}"
    return called if valid_repository(called) else None
