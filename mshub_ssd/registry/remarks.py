"""Warnings about what is left out of the registry: one line each, and once in a process, however often it is asked."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from mshub_ssd.errors import CardError

__all__ = ["cards_left_out", "folder_left_out"]

_log = logging.getLogger("mshub_ssd.registry")

_told: set[tuple[str, str]] = set()


def cards_left_out(lost: Sequence[tuple[Path, CardError]], roots: Sequence[Path]) -> None:
    """Tell that cards are left out because they cannot be read, unless all of that has been told.

    Args:
        lost: Each with its file and what is wrong with it; that is told in full at the level ``DEBUG``.
        roots: The registry's folders.
    """
    if not _new((str(path), error.message) for path, error in lost):
        return
    for _, error in lost:
        _log.debug("left out a card that cannot be read: %s", error)
    first, fault = lost[0]
    if len(lost) == 1:
        said, where = "a card cannot be read and is left out:", [first]
    else:
        said, where = f"{len(lost)} cards cannot be read and are left out, the first", _holding(lost, roots)
    places = shlex.join(map(str, where))
    _log.warning("%s %s (%s); see: mshub validate %s", said, fault.where or first, fault.message, places)


def folder_left_out(folder: str, reason: str | None) -> None:
    """Tell that a folder of cards is left out because it cannot be read, unless that has been told."""
    if _new([(folder, reason or "")]):
        _log.warning("left out a folder of cards that cannot be read: %s: %s", folder, reason)


def _holding(lost: Sequence[tuple[Path, CardError]], roots: Sequence[Path]) -> list[Path]:
    return [root for root in roots if any(root in path.parents for path, _ in lost)]


def _new(facts: Iterable[tuple[str, str]]) -> bool:
    """Whether one of them has not been told yet; all of them have been from now on."""
    before = len(_told)
    _told.update(facts)
    return len(_told) > before
