"""Files on their way into a folder of cards: all of them appear, or none."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
import time
from pathlib import Path
from typing import BinaryIO

from mshub_ssd import store
from mshub_ssd.bundles.archive import CHUNK, reading
from mshub_ssd.errors import CardError, IntegrityError, UsageError
from mshub_ssd.files import (
    is_link,
    is_shared,
    lies_in,
    move_over,
    new_file,
    open_folder,
    open_regular,
    unfinished,
    writing,
)
from mshub_ssd.providers import Checkpoint

__all__ = ["Staging", "hash_of", "refuse_card_as_asset"]

_SCRATCH = re.compile(r"\.new-\d+-[0-9a-f]{8}")  # registries pass over names that begin with a dot
_STAGED = re.compile(r"\d+(\.old)?")
_ABANDONED = 86400  # seconds; no installation takes so long


class Staging:
    """Files gathered beside the place where they will appear.

    Args:
        folder: The folder of cards.
        force: Replace files that are there.
    """

    def __init__(self, folder: Path, force: bool) -> None:
        self._folder, self._force = folder, force
        self._scratch = folder / f".new-{os.getpid()}-{secrets.token_hex(4)}"
        self._claimed: dict[Path, str | None] = {}  # what goes there; None for the folders above
        self._moves: dict[Path, Path] = {}
        self._made: list[Path] = []

    def claim(self, target: Path, sha256: str | None = None, size: int | None = None) -> bool:
        """Decide about a place; nothing is written.

        Args:
            target: Where a file is to go.
            sha256: Its digest: the very same file may be there. None for a card, which was looked at before.
            size: Its number of bytes.

        Returns:
            Whether the file is needed.

        Raises:
            UsageError: The place is taken, or leads out of the folder.
            TransferError: It cannot be looked at.
        """
        with writing(target):
            if sha256 is not None and self._claimed.get(target) == sha256:
                return False  # for another card
            if target in self._claimed or any(map(self._claimed.get, target.parents)):
                raise UsageError("two members of the bundle go to one place", where=str(target))
            self._claimed |= dict.fromkeys(target.parents) | {target: sha256 or "a card"}
            there = next(place for place in target.parents if place.exists())
            if self._folder.exists() and not lies_in(there, self._folder):
                raise UsageError("a link leads out of the folder of cards", where=str(there), hint="remove the link")
            try:
                odd = not stat.S_ISREG(target.lstat().st_mode)
            except FileNotFoundError:
                return True
            same = not odd and sha256 is not None and target.stat().st_size == size and hash_of(target) == sha256
            if odd or (sha256 is not None and not same and not self._force):
                raise UsageError(
                    "something else is there already",
                    where=str(target),
                    expected="a card" if sha256 is None else f"sha256 {sha256}",
                    hint="move it away" if odd else "keep it, or replace it with that of the bundle: --force",
                )
            return not same

    def add(self, target: Path, source: BinaryIO | Path, sha256: str | None = None) -> Path:
        """Gather a file for a place that was claimed; returns where it is until `publish`.

        Raises:
            IntegrityError: It is not the one with `sha256`.
            TransferError, DiskSpaceError: It cannot be written.
        """
        with writing(target):
            self._mkdir(self._scratch)
            staged = self._scratch / str(len(self._moves))
            opened = source.open("rb") if isinstance(source, Path) else contextlib.nullcontext(source)
            with opened as file, new_file(staged, durable=True) as stream:
                shutil.copyfileobj(file, stream, CHUNK)
            if sha256 is not None and hash_of(staged) != sha256:
                raise IntegrityError("a file changed while it was installed", where=str(target), hint="do it again")
        self._moves[target] = staged
        return staged

    def publish(self) -> None:
        """Let all files appear, in the order they were added.

        Raises:
            TransferError, DiskSpaceError: One cannot be written; the others are taken back.
        """
        done: list[tuple[Path, Path | None]] = []
        try:
            for target, staged in self._moves.items():
                with writing(target):
                    self._mkdir(target.parent)
                    old = staged.with_suffix(".old") if os.path.lexists(target) else None
                    if old is not None:
                        _keep(target, old)
                    move_over(staged, target)
                    done.append((target, old))
        except BaseException:
            for target, old in reversed(done):
                with contextlib.suppress(OSError):  # the first failure is the one to tell
                    target.unlink() if old is None else move_over(old, target)
            raise
        self._made.clear()

    def close(self) -> None:
        """Leave nothing behind but what was published."""
        _clear(self._scratch)
        with contextlib.suppress(OSError):  # of processes that were killed
            for left in () if is_link(self._folder) else self._folder.iterdir():
                if _SCRATCH.fullmatch(left.name) and time.time() - left.lstat().st_mtime > _ABANDONED:
                    _clear(left)
        for folder in reversed(self._made):
            with contextlib.suppress(OSError):  # somebody else uses it
                folder.rmdir()

    def _mkdir(self, folder: Path) -> None:
        for place in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
            # What others can write in is believed less; the umask alone shall not make it so.
            place.mkdir(0o777 if is_shared(place.parent.stat()) else 0o755, exist_ok=True)
            self._made.append(place)


def _keep(path: Path, copy: Path) -> None:
    """Let a file have a second name, for the case that it must be put back."""
    try:
        os.link(path, copy, follow_symlinks=False)
    except (OSError, AttributeError, NotImplementedError):
        # Not every system and file system has hard links; links are not followed to who knows how much.
        with open_regular(path, follow=False) as source, new_file(copy) as stream:
            shutil.copyfileobj(source, stream)


def _clear(scratch: Path) -> None:
    """Remove a folder of staged files, but nothing in it that is not ours; no link is followed."""
    with contextlib.suppress(OSError):
        with open_folder(scratch.parent, scratch.name) as folder:
            for name in folder.names():
                if _STAGED.fullmatch(unfinished(name) or name):
                    folder.unlink(name)
        scratch.rmdir()


def hash_of(path: Path) -> str:
    """The SHA-256 of a file.

    Raises:
        IntegrityError: It cannot be read.
    """
    with reading(path):
        return store.hash_file(path).hexdigest


def refuse_card_as_asset(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint whose name a registry would take for a card.

    Raises:
        CardError: It is one.
    """
    if checkpoint.path is not None and checkpoint.path.name.lower().endswith(".md"):
        raise CardError(
            "the asset-link names a card, not a checkpoint",
            where=str(checkpoint.path),
            got=checkpoint.path.name,
            hint="correct the asset-link",
        )
