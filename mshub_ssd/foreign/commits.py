"""Repositories whose code cards name: where each is, and which commit a branch stands for.

A branch moves, and a tag may; what runs here does not. Cards name branches, this table says which commit is meant,
and no server is asked for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mshub_ssd.errors import UsageError
from mshub_ssd.settings import Settings

__all__ = ["BRANCHES", "URLS", "commit_of", "full_commit", "known", "sources", "valid_repository"]

URLS: Mapping[str, tuple[str, ...]] = {
    "mindspore/models": ("https://gitee.com/mindspore/models.git", "https://github.com/mindspore-ai/models.git"),
}
"""Where each repository is: the same commits at every url, which are asked in this order."""

BRANCHES: Mapping[str, Mapping[str, str]] = {
    "mindspore/models": {
        "r1.2": "8e793d47400d5afc1a31e2279f5f083d2d2dfa54",
        "r1.3": "a72eb23edcf78d8c76c1500f915c18775ada0d1f",
        "r1.4": "0016dc9ff61f09aee0cd6037528e012009e2139e",
        "r1.5": "154d170dbd5740f5c19cb0e3dfe9e88a565d8ba5",
        "r1.6": "3f84e6a876e739d0c54db58ebbc61b8f450d675a",
        "r1.7": "09ab8f24b3157a2c93599e840ec6500e96e6e1f6",
        "r1.8": "8a0c1c4b4669918eaa9b8bc9e2314a710d1519a1",
        "r1.9": "e197ef52f564e47a2198e78da9b4c75010c4406b",
        "r1.10": "885fe379d64e24da0db3296f548dce798ca73114",
        "r2.0": "3edbe945d308e1aa07f50f21e83b37f990c839d2",
        "master": "eab643f51336dbf7d711f02d27e6516e5affee59",
    },
}
"""Which commit each branch of a repository stands for."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*){1,2}")


def commit_of(repository: str, branch: str) -> str | None:
    """The commit that a branch stands for; None for what the table does not have.

    Args:
        repository: Its name, e.g. ``mindspore/models``.
        branch: As a card's link has it, e.g. ``r1.9``.
    """
    return BRANCHES.get(repository, {}).get(branch)


def valid_repository(text: str) -> bool:
    """Whether a repository can be called so: ``OWNER/NAME``, perhaps with its host before."""
    return len(text) <= 200 and _REPOSITORY.fullmatch(text) is not None


def full_commit(text: str) -> bool:
    """Whether a text is a commit's whole name: 40 hex digits. Nothing shorter, no branch and no tag pins anything."""
    return _COMMIT.fullmatch(text) is not None


def known(settings: Settings) -> tuple[str, ...]:
    """The repositories that can be had: those of this library, and those that the user's settings place somewhere."""
    return tuple(dict.fromkeys([*URLS, *(name for name, _ in settings.repositories)]))


def sources(repository: str, settings: Settings) -> tuple[str | Path, ...]:
    """Where to look for a repository, in this order: local clones as paths, others as urls.

    A place that the user gave for it is the only one; else the user's mirror comes before the repository's own urls.

    Raises:
        UsageError: Nobody knows such a repository.
    """
    given = tuple(place for name, place in settings.repositories if name == repository)
    if given:
        return given
    if repository not in URLS:
        raise UsageError(
            "no repository of that name is known",
            expected=", ".join(known(settings)),
            got=repr(repository)[:100],
            hint="to say where one is: MSHUB_REPOSITORIES='OWNER/NAME=/path/of/a/clone'",
        )
    urls = URLS[repository]
    if settings.endpoint is None:
        return urls
    mirror = settings.endpoint.rstrip("/")
    return (*(f"{mirror}/{url.partition('://')[2]}" for url in urls[:1]), *urls)
