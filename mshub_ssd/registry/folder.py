"""One folder of cards. A card's uid is its path below it without ``.md``."""

from __future__ import annotations

import json
import logging
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from mshub_ssd.cards import is_card_name, valid_uid
from mshub_ssd.errors import CardError, UsageError
from mshub_ssd.registry import remarks
from mshub_ssd.registry.source import OFFICIAL, TICK, Entry, Lost

__all__ = ["Folder", "fault", "find", "walk"]

_log = logging.getLogger("mshub_ssd.registry")

_MAX_DEPTH = 200  # letters of a folder's name below the root
# Looking at every file of more than so many takes longer than a listing should.
_MANY = 20_000
_SECONDS = 60  # for which the times of the folders vouch for so many files


class Folder:
    """A folder of cards as a `Source`; a checkout of the official hub stands for the cards in it.

    Args:
        root: The folder.

    Attributes:
        root: The folder with the cards.

    Raises:
        UsageError: It is no folder.
    """

    kind = "folder"

    def __init__(self, root: str | Path) -> None:
        if (wrong := fault(Path(root))) is not None:
            raise UsageError(
                f"a folder of model cards {wrong}",
                where=str(root),
                expected="a folder, an archive (.zip, .tar, .tar.gz, .tar.xz), a bare git repository, a url, or the "
                "name of an added registry",
                hint="create the folder, or take it out of MSHUB_REGISTRY",
            )
        official = Path(root, OFFICIAL)
        self.root = official if fault(official) is None else Path(root)
        self.label = str(self.root)
        self.key = f"folder:{os.path.realpath(self.root)}"
        self._look: tuple[float, dict[str, int], int] = (0.0, {}, 0)
        self._looked: float | None = None

    def entries(self) -> Iterator[Entry | Lost]:
        """See `Source.entries`; a folder in it that cannot be read is told in the log."""
        begun, count, folders = time.time(), 0, dict[str, int]()
        for found in walk(self.root, stamps=True, folders=folders):
            count += 1
            yield found
        self._look = begun, folders, count
        self._looked = begun

    def memo(self) -> str:
        """See `Source.memo`: the times of all folders, if there are so many cards that this is worth it."""
        begun, folders, count = self._look
        return json.dumps({"looked": begun, "folders": folders}) if count > _MANY else ""

    def unchanged(self, memo: str) -> bool:
        """See `Source.unchanged`: of many cards, one that was edited in place is noticed within a minute."""
        if not memo:
            return False
        known = json.loads(memo)
        age = time.time() - known["looked"]
        if not 0 <= age < _SECONDS or any(_changed(path) != changed for path, changed in known["folders"].items()):
            return False
        self._looked = known["looked"]
        return True

    def looked(self) -> float | None:
        """See `Source.looked`."""
        return self._looked

    def find(self, uid: str) -> Entry | None:
        """See `Source.find`."""
        path = find(self.root, uid)
        return None if path is None else Entry(uid, str(path), "")

    def read(self, entry: Entry) -> bytes:
        """See `Source.read`."""
        from mshub_ssd.cards import read_bytes

        try:
            return read_bytes(Path(entry.place))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise CardError(
                f"cannot read the card: {reason}",
                where=entry.place,
                expected="a readable file",
                hint="check the path, or list the known cards: mshub list",
            ) from error

    def origin(self, entry: Entry) -> str:
        """See `Source.origin`."""
        return entry.place

    def path(self, entry: Entry) -> Path:
        """See `Source.path`."""
        return Path(entry.place)

    def close(self) -> None:
        """See `Source.close`."""


def _changed(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116 - many of them
    except OSError:
        return -1


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


def walk(root: Path, *, stamps: bool = False, folders: dict[str, int] | None = None) -> Iterator[Entry | Lost]:
    """The card files below a root, and what is in the place of some; in the order of names.

    Args:
        root: The folder.
        stamps: With the stamps of the files, which takes a look at each.
        folders: Receives the paths of all folders, each with its time before it was looked into.
    """
    real_root = os.path.realpath(root)
    now = time.time_ns()
    # Folders on the way to where we are: what is left of each, what its uids begin with, and the real folders above.
    way: list[tuple[Iterator[os.DirEntry[str]], str, tuple[str, ...]]] = []

    def enter(folder: str, prefix: str, above: tuple[str, ...]) -> Lost | None:
        if folders is not None:
            folders[folder] = _changed(folder)
        try:
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            remarks.folder_left_out(folder, error.strerror)
            return Lost(prefix, folder, error.strerror or type(error).__name__)
        way.append((iter(entries), prefix, above))
        return None

    if (lost := enter(str(root), "", (real_root,))) is not None:
        yield lost
    while way:
        entries, prefix, above = way[-1]
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            card_like = is_card_name(name)
            uid = prefix + name.removesuffix(".md")
            # Nearly all are plain files, which is told without a further look.
            kind, reason = ("file", "") if entry.is_file(follow_symlinks=False) else _kind(entry, real_root)
            if kind == "lost":
                _log.debug("no card, %s: %r", reason, entry.path)
                yield Lost(uid if card_like else f"{uid}/", entry.path, reason)
            elif kind == "folder":
                here = os.path.realpath(entry.path)
                if here not in above and len(prefix) < _MAX_DEPTH:
                    if (lost := enter(entry.path, f"{prefix}{name}/", (*above, here))) is not None:
                        yield lost
                    break  # the rest of this one comes later
            elif card_like and valid_uid(uid):
                yield Entry(uid, entry.path, _stamp(entry, now) if stamps else "")
            elif card_like:
                _log.debug("no card, the name is no uid: %r", entry.path)
        else:
            way.pop()


def _stamp(entry: os.DirEntry[str], now: int) -> str:
    """What tells two states of a file apart; nothing for one that was changed just now, and may be changed again."""
    try:
        status = entry.stat()
    except OSError:  # reading it tells
        return ""
    if max(status.st_mtime_ns, status.st_ctime_ns) > now - TICK:
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}"


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
