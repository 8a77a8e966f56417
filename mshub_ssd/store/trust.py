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


def is_private(home: Path, folder: Path) -> bool:
    """Whether nobody but us or root can write to a folder or to those between it and `home`, `home` included."""
    place = folder
    while True:
        try:
            if not owned(place.stat()):
                return False
        except OSError:
            return False
        if place == home:
            return True
        if place == place.parent:
            return False
        place = place.parent
