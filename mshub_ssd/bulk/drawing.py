"""Drawings of what was found: one file, or a folder of them, and drawn videos."""

from __future__ import annotations

import itertools
import os
import shlex
import unicodedata
from pathlib import Path
from types import TracebackType
from typing import Any

from mshub_ssd.bulk.sources import STDIN, Item
from mshub_ssd.bulk.video import VideoFile
from mshub_ssd.errors import UsageError
from mshub_ssd.files import is_link
from mshub_ssd.redaction import file_name

__all__ = ["Drawings"]

# Most file systems take names of 255 bytes; a number and an ending must fit as well.
_LONGEST = 200


class Drawings:
    """Where each picture is drawn; a context manager, at whose end videos are whole.

    Args:
        file: One file for one picture or one video.
        folder: A folder for any number of them; made if it is missing.
        videos: Whether videos can be drawn: none can be gone on with.

    Raises:
        UsageError: It cannot be.
    """

    def __init__(self, *, file: Path | None = None, folder: Path | None = None, videos: bool = True) -> None:
        self._file, self._folder, self._videos = file, folder, videos
        self._taken: dict[str, int] = {}
        self._named: tuple[str, Path] | None = None
        self._video: tuple[Path, VideoFile] | None = None

    def check(self) -> None:
        """Refuse what cannot be written, before minutes are spent on it.

        Raises:
            UsageError: The folder is none, cannot be written, or its own folder is missing.
        """
        folder = self._folder if self._folder is not None else self._file.parent if self._file is not None else None
        if folder is None:
            return
        if folder == self._folder and not folder.exists() and folder.parent.is_dir():
            folder.mkdir(exist_ok=True)
        if not folder.is_dir():
            there = folder.exists()
            raise UsageError(
                f"{folder} is no folder" if there else f"the folder {folder} does not exist",
                hint="take another name" if there else f"mkdir -p {shlex.quote(str(folder))}",
            )
        if not os.access(folder, os.W_OK):
            raise UsageError(f"the folder {folder.absolute()} cannot be written", hint="take another one")

    def reserve(self, item: Item) -> Path | None:
        """The file for a picture, which no other one has; the same one in each run over the same pictures.

        Raises:
            UsageError: It would take the picture's own place.
        """
        if item.frame and self._named is not None and self._named[0] == item.name:
            return self._named[1]
        if self._file is not None:
            out = self._file
        elif self._folder is not None:
            out = self._folder / self._name(item)
        else:
            return None
        if item.frame is not None and not self._videos:
            raise UsageError(
                "a drawn video cannot be gone on with", where=item.name, hint="leave out --resume, or the drawings"
            )
        if _same_file(out, item.name):
            raise UsageError("this is the picture itself, which would be lost", where=str(out), hint="draw elsewhere")
        self._named = item.name, out
        return out

    def draw(self, item: Item, found: Any, out: Path) -> None:
        """Draw what was found on a picture, or the next frame of a video.

        Raises:
            UsageError: It cannot be written.
        """
        if item.frame is None:
            if self._folder is not None and is_link(out):
                out.unlink()  # whoever put it there shall not choose what is written
            found.save(out)
            return
        if self._video is None or self._video[0] != out:
            self._end_video()
            self._video = out, VideoFile(out, item.per_second or 25.0)
        import numpy as np

        self._video[1].add(np.asarray(found.draw().convert("RGB")))

    def __enter__(self) -> Drawings:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end_video(whole=kind is None)

    def _end_video(self, *, whole: bool = True) -> None:
        if self._video is not None:
            self._video[1].close(whole=whole)
            self._video = None

    def _name(self, item: Item) -> str:
        from mshub_ssd import pictures
        from mshub_ssd.results import writable_suffixes

        name = item.name
        plain = Path("stdin" if name == STDIN else file_name(name) if pictures.is_url(name) else name)
        suffix = plain.suffix if plain.suffix.lower() in writable_suffixes() else ".png"
        if item.frame is not None:
            suffix = ".mp4"
        stem = os.fsdecode(os.fsencode(plain.stem)[:_LONGEST]).replace("\0", "") or "picture"
        first = chosen = stem + suffix
        for number in itertools.count(self._taken.get(_key(first), 1)):
            chosen = first if number == 1 else f"{stem}-{number}{suffix}"
            if _key(chosen) not in self._taken:
                self._taken[_key(chosen)] = 2
                self._taken[_key(first)] = number + 1
                break
        return chosen


def _key(name: str) -> str:
    """Some file systems take names for the same that differ in case, or in how letters are put together."""
    return unicodedata.normalize("NFC", name).casefold()


def _same_file(first: Path, second: str) -> bool:
    try:
        return first.samefile(second)
    except (OSError, ValueError):  # one of them is not there, or has no name a file can have
        return False
