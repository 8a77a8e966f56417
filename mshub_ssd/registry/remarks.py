"""Warnings about what is left out of the registry: one line each, and once in a process, however often it is asked."""

from __future__ import annotations

import logging
from collections.abc import Iterable

__all__ = ["folder_left_out"]

_log = logging.getLogger("mshub_ssd.registry")

_told: set[tuple[str, str]] = set()


def folder_left_out(folder: str, reason: str | None) -> None:
    """Tell that a folder of cards is left out because it cannot be read, unless that has been told."""
    if _new([(folder, reason or "")]):
        _log.warning("left out a folder of cards that cannot be read: %s: %s", folder, reason)


def _new(facts: Iterable[tuple[str, str]]) -> bool:
    """Whether one of them has not been told yet; all of them have been from now on."""
    before = len(_told)
    _told.update(facts)
    return len(_told) > before
