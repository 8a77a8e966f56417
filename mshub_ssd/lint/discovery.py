"""Which files a run looks at, and what their uids are."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mshub_ssd.cards import is_card_name
from mshub_ssd.errors import UsageError
from mshub_ssd.lint.report import Unreadable

__all__ = ["CardFile", "discover"]

_VERSION_FOLDER = re.compile(r"[0-9]+(?:\.[0-9]+)+")
_BACKENDS = {"ascend", "gpu", "cpu"}
_REGISTRY_FOLDER = "hub_models"


@dataclass(frozen=True, slots=True)
class CardFile:
    """A card to look at.

    Attributes:
        file: The file.
        path: As findings show it.
        uid: The card's uid, None where the file's place does not tell.
        sure: Whether it is a card by its place, or because it was given itself.
    """

    file: Path
    path: str
    uid: str | None
    sure: bool = True


def discover(
    paths: Sequence[str | Path], *, roots: Sequence[Path] = (), exclude: Sequence[str] = (), base: Path | None = None
) -> tuple[list[CardFile], list[Unreadable]]:
    """Find the cards below some paths.

    A card's uid is its path below a configured root; else below a folder ``hub_models``; else from the publisher on,
    where its folder is named like a version (``mindspore/1.7``, ``noah-cvlab/gpu/1.0``); else below the given folder.

    Args:
        paths: Files and folders. A file is a card whatever its name; in a folder those that end in ``.md`` may be, but
            for ``README.md`` and the like and whatever begins with a dot.
        roots: Registry folders.
        exclude: Wildcards for paths relative to `base`.
        base: What `exclude` is relative to, by default the working folder.

    Returns:
        The cards in natural order, each once, and what could not be read.

    Raises:
        UsageError: There is no path, one does not exist, or a folder has no Markdown file in it.
    """
    if not paths:
        raise UsageError("no path was given", expected="files or folders of cards", hint="mshub validate PATH")
    here = Path.cwd()
    base = base or here
    found: dict[str, CardFile] = {}
    unreadable: list[Unreadable] = []

    def add(file: Path, top: Path | None) -> None:
        absolute = Path(os.path.abspath(file))
        if str(absolute) in found or _excluded(absolute, exclude, base):
            return
        uid = _uid(absolute, roots, top)
        sure = top is None or _uid(absolute, roots, None) is not None
        found[str(absolute)] = CardFile(absolute, _shown(absolute, here), uid, sure)

    for given in paths:
        path = Path(given)
        if _is_folder(given):
            top = Path(os.path.abspath(path))
            lost, empty = len(unreadable), True
            for file in _walk(str(top), unreadable, here):
                add(file, top)
                empty = False
            if empty and len(unreadable) == lost:
                raise _no_cards(str(given))
        else:
            add(path, None)
    return sorted(found.values(), key=lambda card: _natural(card.path)), unreadable


def _no_cards(where: str) -> UsageError:
    return UsageError(
        "there is no card to check",
        where=where,
        expected="a folder with cards: Markdown files (.md) with front matter between two lines ---",
        hint="check the path: mshub validate PATH",
    )


def _is_folder(given: str | Path) -> bool:
    try:
        if not str(given):
            raise FileNotFoundError(None, "an empty name")
        return stat.S_ISDIR(Path(given).stat().st_mode)
    except (OSError, ValueError) as error:
        raise UsageError(
            "a path cannot be read",
            where=str(given) or '""',
            expected="a card, or a folder of cards",
            got=getattr(error, "strerror", None) or str(error),
            hint="check the path: mshub validate PATH",
        ) from error


def _walk(folder: str, unreadable: list[Unreadable], here: Path) -> Iterator[Path]:
    def note(error: OSError) -> None:
        shown = _shown(Path(error.filename or folder), here)
        unreadable.append(Unreadable(shown, error.strerror or type(error).__name__))

    for at, folders, files in os.walk(folder, onerror=note):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if is_card_name(name):
                yield Path(at, name)


def _excluded(file: Path, exclude: Sequence[str], base: Path) -> bool:
    if not exclude:
        return False
    shown = _shown(file, base)
    return any(fnmatch.fnmatchcase(shown, glob) or shown.startswith(f"{glob.rstrip('/')}/") for glob in exclude)


def _shown(file: Path, here: Path) -> str:
    text, folder = str(file), str(here)
    if text.startswith(folder + os.sep):
        text = text[len(folder) + 1 :]
    return text.replace(os.sep, "/")


def _uid(file: Path, roots: Sequence[Path], top: Path | None) -> str | None:
    for root in roots:
        if root in file.parents:
            return _below(file, root)
    parts = file.parts
    if _REGISTRY_FOLDER in parts[:-1]:
        last = len(parts) - 1 - parts[::-1].index(_REGISTRY_FOLDER)
        return "/".join(parts[last + 1 :]).removesuffix(".md")
    # Only the folder the card lies in: a checkout may lie below /builds/2.0.
    if len(parts) > 3 and _VERSION_FOLDER.fullmatch(parts[-2]):
        publisher = -4 if parts[-3] in _BACKENDS and len(parts) > 4 else -3
        return "/".join(parts[publisher:]).removesuffix(".md")
    return _below(file, top) if top else None


def _below(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix().removesuffix(".md")


def _natural(path: str) -> tuple[object, ...]:
    return tuple(
        (0, int(piece)) if piece.isdecimal() else (1, piece) for piece in re.split(r"([0-9]{1,9})|/", path) if piece
    )
