"""One folder of cards. A card's uid is its path below it without ``.md``; no card is opened here."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mshub_ssd.cards import is_card_name, valid_uid
from mshub_ssd.registry import remarks

__all__ = ["Lost", "fault", "find", "walk"]

_log = logging.getLogger("mshub_ssd.registry")

_MAX_DEPTH = 200  # letters of a folder's name below the root


@dataclass(frozen=True)
class Lost:
    """What is named like a card, or like a folder of cards, and cannot be read.

    Attributes:
        uid: The uid it would have; of a folder, the beginning of its cards' uids, with a slash at the end.
        path: Where it lies.
        reason: Why it cannot be read.
    """

    uid: str
    path: str
    reason: str


def fault(folder: Path) -> str | None:
    """Why something is no folder, to go on behind its name; None if it is one."""
    try:
        mode = folder.stat().st_mode
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:  # a link to itself, a file above it, a folder that may not be entered
        return f"cannot be used: {error.strerror}"
    except ValueError:
        return "cannot be used: no path has that name"
    return None if stat.S_ISDIR(mode) else "is no folder"


def find(root: Path, uid: str) -> Path | None:
    """The card file of a uid, if `walk` would find it; looks at nothing else."""
    name = f"{uid}.md"
    if not valid_uid(uid) or not is_card_name(name.rpartition("/")[2]):
        return None
    path = root / name
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        real_root = os.path.realpath(root)
        if os.path.realpath(path) == os.path.join(real_root, name):  # noqa: PTH118
            return path
        # A link is on the way: each folder must lie in the root, and none may lead back up.
        above = [real_root]
        for end in [at for at, letter in enumerate(name) if letter == "/"]:
            here = os.path.realpath(root / name[:end])
            if here in above or not _inside(here, real_root):
                return None
            above.append(here)
        return path if _inside(os.path.realpath(path), real_root) else None
    except OSError:
        return None


def walk(root: Path) -> Iterator[tuple[str, Path] | Lost]:
    """Uids and card files below a root, and what is in the place of some; in the order of names."""
    real_root = os.path.realpath(root)

    def visit(folder: str, prefix: str, above: tuple[str, ...]) -> Iterator[tuple[str, Path] | Lost]:
        try:
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            remarks.folder_left_out(folder, error.strerror)
            yield Lost(prefix, folder, error.strerror or type(error).__name__)
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            uid = prefix + entry.name.removesuffix(".md")
            card_like = is_card_name(entry.name)
            kind, reason = _kind(entry, real_root)
            if kind == "lost":
                _log.debug("no card, %s: %r", reason, entry.path)
                yield Lost(uid if card_like else f"{uid}/", entry.path, reason)
            elif kind == "folder":
                here = os.path.realpath(entry.path)
                if here not in above and len(prefix) < _MAX_DEPTH:
                    yield from visit(entry.path, f"{prefix}{entry.name}/", (*above, here))
            elif card_like and valid_uid(uid):
                yield uid, Path(entry.path)
            elif card_like:
                _log.debug("no card, the name is no uid: %r", entry.path)

    return visit(str(root), "", (real_root,))


def _inside(path: str, root: str) -> bool:
    try:
        return os.path.commonpath([path, root]) == root
    except ValueError:  # on different drives
        return False


def _kind(entry: os.DirEntry[str], root: str) -> tuple[str, str]:
    """``file``, ``folder``, or ``lost`` and why: a link to itself, to nothing or out of the root, a FIFO, a device."""
    try:
        if entry.is_symlink() and not _inside(os.path.realpath(entry.path), root):
            return "lost", f"it is a symbolic link out of {root}"
        if entry.is_dir():
            return "folder", ""
        if entry.is_file():
            return "file", ""
        entry.stat()
    except OSError as error:
        return "lost", error.strerror or type(error).__name__
    return "lost", "it is not a regular file"
