"""Whose word counts: what may be believed because nobody but us, or root, can have written it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["is_private", "is_shared", "owned"]


def owned(status: os.stat_result) -> bool:
    """Whether only we, or root, can write what has this status."""
    return status.st_uid in (os.geteuid(), 0) and not is_shared(status)


def is_shared(status: os.stat_result) -> bool:
    """Whether the group or everybody may write there."""
    return bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def is_private(home: Path, *folders: Path) -> bool:
    """Whether nobody but us or root can write to folders of a cache, or to those between them and `home`, included."""
    top = os.fspath(home)
    places = {top}
    for folder in folders:
        place = os.fspath(folder)
        while len(place) > len(top):
            places.add(place)
            place = os.path.dirname(place)  # noqa: PTH120 - every hit in the cache comes by here
    try:
        return all(owned(os.stat(place)) for place in places)  # noqa: PTH116
    except OSError:
        return False
