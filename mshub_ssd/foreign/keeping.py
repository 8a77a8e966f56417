"""Code in the caches: listing, verifying and removing it, as `mshub_ssd.store` does with files.

Nothing here needs git or the network, and nothing is run. What a folder is called in its repository no name in the
cache tells; its proof does, which has the trees that lead there.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mshub_ssd import settings as _settings
from mshub_ssd.errors import MshubError, UsageError
from mshub_ssd.files import is_link, is_private, open_folder
from mshub_ssd.foreign.checkout import (
    CARRIED,
    CODE,
    Wanted,
    names_below,
    objects_in,
    proof_of,
    scratch_in,
    stored,
    trees_of,
)
from mshub_ssd.foreign.commits import full_commit, valid_repository
from mshub_ssd.foreign.consent import Consent, allowed
from mshub_ssd.settings import Settings

__all__ = [
    "CheckedCode",
    "CodeRemoval",
    "StoredCode",
    "code_in_caches",
    "is_pin",
    "prune_code",
    "remove_code",
    "verify_code",
]

logger = logging.getLogger("mshub_ssd.foreign")

LASTING = 2 * 86_400.0
"""Code that was used within so many seconds stays without consent, too: somebody may be reading it. Many file systems
remember a use no better than to a day."""

_PIN = re.compile(r"([^@:]+)@([0-9a-f]{8,40})(?::(.*))?", re.DOTALL)
_KEY = re.compile(r"[A-Za-z0-9._-]{0,60}-[0-9a-f]{16}")
_OWN = {"tree", "proof", "absent", CARRIED}
_MOST_TREES = 50_000  # looked at for the name of a folder
_READ_ONLY = "the cache is read-only"


@dataclass(frozen=True)
class StoredCode:
    """A folder of a repository in a cache.

    Attributes:
        repository: Its name.
        commit: All 40 hex digits.
        path: The folder in the repository; None where the cache is damaged and does not tell.
        place: Where it lies.
        home: The cache's folder.
        size: Bytes of its files.
        files: Their number.
        stored: When it came, in seconds since the epoch.
        used: When it was last used, as far as the file system remembers (many do so once a day), else `stored`.
        consent: Your consent to run the code of its commit; None where you gave none.
        carried: Whether a bundle brought it: it may not be had otherwise.
    """

    repository: str
    commit: str
    path: str | None
    place: Path
    home: Path
    size: int
    files: int
    stored: float
    used: float
    consent: Consent | None = None
    carried: bool = False

    @property
    def pin(self) -> str:
        """``REPOSITORY@COMMIT:FOLDER``."""
        return f"{self.repository}@{self.commit}" + ("" if self.path is None else f":{self.path}")

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON; with the keys that files in the cache have, too."""
        consent = self.consent
        return {
            "kind": "code",
            "digest": self.commit,
            "repository": self.repository,
            "commit": self.commit,
            "folder": self.path,
            "size": self.size,
            "files": self.files,
            "path": str(self.place),
            "home": str(self.home),
            "stored": self.stored,
            "used": self.used,
            "carried": self.carried,
            "consent": None if consent is None else {"given": consent.given, "by": consent.by, "uid": consent.uid},
        }


@dataclass(frozen=True)
class CheckedCode:
    """What `verify_code` found out about a folder.

    Attributes:
        entry: The folder.
        fault: What is wrong with it; None when every file is the commit's.
        removed: Whether it was removed; False when it could not be, e.g. in a read-only cache.
    """

    entry: StoredCode
    fault: str | None = None
    removed: bool = False


@dataclass(frozen=True)
class CodeRemoval:
    """What was removed, or would be.

    Attributes:
        removed: The folders.
        kept: Those that were to go and stayed, each with the reason.
        freed: Bytes of `removed`.
    """

    removed: tuple[StoredCode, ...] = ()
    kept: tuple[tuple[StoredCode, str], ...] = ()

    @property
    def freed(self) -> int:
        """Bytes of `removed`."""
        return sum(entry.size for entry in self.removed)


def is_pin(text: str) -> bool:
    """Whether a text names code in a cache: ``REPOSITORY@COMMIT[:FOLDER]``, with 8 digits of the commit or more."""
    found = _PIN.fullmatch(text)
    return found is not None and valid_repository(found[1])


def code_in_caches(settings: Settings | None = None) -> list[StoredCode]:
    """The code that the caches hold, by cache, repository, commit and folder. Nothing counts as a use of it.

    Args:
        settings: Instead of the current ones.
    """
    chosen = _settings.current() if settings is None else settings
    consents = {(one.repository, one.commit): one for one in allowed()}
    return [entry for home in chosen.homes for entry in _entries(home, consents)]


def verify_code(
    pins: Collection[str] | None = None,
    *,
    settings: Settings | None = None,
    each: Callable[[CheckedCode], object] = lambda checked: None,
) -> list[CheckedCode]:
    """Hold code in the caches against its commits, and remove what is damaged: it is fetched again when it is needed.

    Args:
        pins: Only this, see `is_pin`; None for all.
        settings: Instead of the current ones.
        each: Told about every folder as soon as it was hashed.

    Raises:
        UsageError: A pin is none, or there is no such code.
    """
    done = []
    for entry in _chosen(pins, code_in_caches(settings)):
        fault = _fault(entry)
        removed = fault is not None and _kept_because(entry) is None
        if removed:
            try:
                _take_away(entry)
            except OSError as error:
                logger.debug("%s stays: %s", entry.place, error.strerror)
                removed = False
        done.append(CheckedCode(entry, fault, removed))
        each(done[-1])
    return done


def remove_code(pins: Collection[str], *, dry_run: bool = False, settings: Settings | None = None) -> CodeRemoval:
    """Remove code from all caches that can be written; consent stays as it is.

    Args:
        pins: What, see `is_pin`.
        dry_run: Only tell.
        settings: Instead of the current ones.

    Raises:
        UsageError: A pin is none, or there is no such code.
    """
    return _remove(_chosen(pins, code_in_caches(settings)), dry_run)


def prune_code(
    *,
    unused_for: float | None = None,
    dry_run: bool = False,
    settings: Settings | None = None,
) -> CodeRemoval:
    """Remove code that lacks your consent, came in no bundle, and was not used for two days; more on request.

    Args:
        unused_for: Code last used longer ago than this (seconds) goes in any case.
        dry_run: Only tell.
        settings: Instead of the current ones.

    Raises:
        UsageError: A negative age.
    """
    if unused_for is not None and unused_for < 0:
        raise UsageError("unused_for cannot be negative", where="prune", got=str(unused_for))
    chosen = _settings.current() if settings is None else settings
    now, going = time.time(), []
    for entry in code_in_caches(chosen):
        idle = now - entry.used
        covered = entry.consent is not None or entry.carried
        if (unused_for is not None and idle > unused_for) or (not covered and idle > LASTING):
            going.append(entry)
    return _remove(going, dry_run)


def _entries(home: Path, consents: dict[tuple[str, str], Consent]) -> Iterator[StoredCode]:
    for owner in _names(home, *CODE):
        repository = owner.replace("+", "/")
        if not valid_repository(repository):
            continue
        for commit in filter(full_commit, _names(home, *CODE, owner)):
            for key in filter(_KEY.fullmatch, _names(home, *CODE, owner, commit)):
                place = home.joinpath(*CODE, owner, commit, key)
                with contextlib.suppress(FileNotFoundError):  # gone meanwhile
                    consent = consents.get((repository, commit))
                    path = _path_of(repository, commit, place)
                    yield StoredCode(
                        repository,
                        commit,
                        path,
                        place,
                        home,
                        *_measured(place),
                        consent,
                        os.path.lexists(place / CARRIED),
                    )


def _names(home: Path, *names: str) -> list[str]:
    """The folders in a folder of the cache; no link is followed. What cannot be listed is left out."""
    try:
        with open_folder(home, *names) as folder:
            found = sorted(folder.names())
    except FileNotFoundError:
        return []
    except OSError as error:
        # A home that cannot be is told where it is needed.
        level = logging.WARNING if os.path.isdir(home) else logging.DEBUG  # noqa: PTH112 - never raises
        logger.log(level, "left out %s: %s", home.joinpath(*names), error.strerror)
        return []
    return [name for name in found if not is_link(home.joinpath(*names, name)) and home.joinpath(*names, name).is_dir()]


def _measured(place: Path) -> tuple[int, int, float, float]:
    """Bytes and number of the files; when they came, and were last used."""
    size = count = 0
    for top, _, names in os.walk(place / "tree"):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(top, name)).st_size  # noqa: PTH118 - many of them
                count += 1
    try:
        status = (place / "proof").lstat()
    except FileNotFoundError:
        status = place.lstat()
    return size, count, status.st_mtime, max(status.st_atime, status.st_mtime)


def _path_of(repository: str, commit: str, place: Path) -> str | None:
    """What a folder in the cache is called in its repository: the one that its proof leads to, and its name fits."""

    def fits(path: str) -> bool:
        return Wanted(repository, commit, path).place.rpartition("/")[2] == place.name

    try:
        objects = objects_in(proof_of(place, touch=False))
        trees = trees_of(objects, str(place))
        waiting, left = [("", trees.commit(commit))], _MOST_TREES
        while waiting:
            path, tree = waiting.pop()
            if fits(path):
                return path
            for mode, raw, hexdigest in trees.tree(tree):
                left -= 1
                if left < 0:
                    return None
                if mode == "40000" and hexdigest in objects:
                    name = raw.decode("utf-8", "backslashreplace")
                    waiting.append((f"{path}/{name}" if path else name, hexdigest))
    except (MshubError, OSError, ValueError) as error:
        logger.debug("the proof of %s does not tell its folder: %s", place, error)
    return None


def _fault(entry: StoredCode) -> str | None:
    """What is wrong with a folder, in words."""
    if entry.path is None:
        return "its proof is not that of the commit"
    try:
        private = is_private(entry.home, *(Path(top) for top, _, _ in os.walk(entry.place)))
        want = Wanted(entry.repository, entry.commit, entry.path)
        content = stored(want, entry.place, believe=private, touch=False)
        odd = names_below(entry.place / "tree") ^ set(content.data)
        odd |= set(os.listdir(entry.place)) - _OWN  # noqa: PTH208 - names
    except MshubError as error:
        return f"{error.message}: {Path(error.where or entry.place).name}, {error.got}"
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", None) or error)
    return f"{min(odd)} does not belong there" if odd else None


def _chosen(pins: Collection[str] | None, there: Sequence[StoredCode]) -> list[StoredCode]:
    if pins is None:
        return list(there)
    chosen: dict[Path, StoredCode] = {}
    for text in pins:
        found = _PIN.fullmatch(text)
        if found is None or not is_pin(text):
            raise UsageError(
                "this names no code of a repository",
                expected="REPOSITORY@COMMIT or REPOSITORY@COMMIT:FOLDER, the commit with 8 of its digits or more",
                got=repr(text)[:250],
            )
        fitting = [
            entry
            for entry in there
            if entry.repository == found[1] and entry.commit.startswith(found[2]) and found[3] in (None, entry.path)
        ]
        if not fitting:
            raise UsageError("the cache holds no such code", expected=text[:250], hint="mshub cache ls")
        commits = sorted({entry.commit for entry in fitting})
        if len(commits) > 1:
            raise UsageError(
                f"{found[2]} is the beginning of several commits", got=", ".join(commits), hint="give more digits"
            )
        chosen |= {entry.place: entry for entry in fitting}
    return list(chosen.values())


def _remove(going: Sequence[StoredCode], dry_run: bool) -> CodeRemoval:
    removed: list[StoredCode] = []
    kept: list[tuple[StoredCode, str]] = []
    for entry in going:
        reason = _kept_because(entry)
        if reason is None and not dry_run:
            try:
                _take_away(entry)
            except OSError as error:
                reason = error.strerror or type(error).__name__
        if reason is None:
            removed.append(entry)
        else:
            kept.append((entry, reason))
    return CodeRemoval(tuple(removed), tuple(kept))


def _kept_because(entry: StoredCode) -> str | None:
    top = entry.home.joinpath(*CODE)
    for place in (entry.place.parent, entry.place, top):
        if not os.access(place, os.W_OK | os.X_OK):
            return _READ_ONLY
    return None


def _take_away(entry: StoredCode) -> None:
    """Let a folder vanish in one step, and then remove it.

    Raises:
        OSError: It cannot be removed; or a link leads there by now, which is nothing of ours.
    """
    top = entry.home.joinpath(*CODE)
    (top / "tmp").mkdir(mode=0o755, exist_ok=True)
    for place in (top, *(place for place in entry.place.parents if place != top and top in place.parents), entry.place):
        if is_link(place):
            raise OSError(errno.ENOTDIR, "a link leads there", str(place))
    with scratch_in(top) as scratch:
        with contextlib.suppress(FileNotFoundError):  # another process removed it
            entry.place.rename(scratch / "old")
        for place in (entry.place.parent, entry.place.parent.parent):
            with contextlib.suppress(OSError):  # there is more
                place.rmdir()
