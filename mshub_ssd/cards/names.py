"""Names of cards and versions: their form and their order. Light, because listing needs no more than this."""

from __future__ import annotations

import re

__all__ = ["is_card_name", "natural_key", "valid_uid", "version_key"]

_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_UID_BYTES = 200
_NO_CARDS = {"readme.md", "changelog.md", "contributing.md", "code_of_conduct.md", "security.md", "license.md"}
_DIGITS = re.compile(r"([0-9]+)")
_VERSION_ATOM = re.compile(r"([0-9]+)|([^\W\d_]+)")


def valid_uid(text: str) -> bool:
    """Whether `text` has the form of a uid: parts of letters, digits, ``.``, ``_`` and ``-`` joined by ``/``."""
    return len(text) <= _UID_BYTES and ".." not in text and _UID.fullmatch(text) is not None


def is_card_name(name: str) -> bool:
    """Whether a file of that name, in a folder of cards, is one: Markdown, not hidden, no README or the like."""
    return name.endswith(".md") and not name.startswith(".") and name.lower() not in _NO_CARDS


def natural_key(text: str) -> tuple[object, ...]:
    """Sorting key with which digits compare as numbers: ``a9`` comes before ``a10``.

    The text itself ends the key, so that equal keys mean equal texts.
    """
    pieces = [_number(piece) if position % 2 else piece for position, piece in enumerate(_DIGITS.split(text.lower()))]
    return (*pieces, (-1, ""), str(text))


def version_key(text: str) -> tuple[object, ...]:
    """Sorting key of a version: 1.9 < 1.10 < 2.3rc1 < 2.3 < 2.3.0.

    Numbers rank above the end of the text, and that above words such as ``rc``.
    """
    atoms: list[tuple[object, ...]] = []
    for digits, word in _VERSION_ATOM.findall(text):
        atoms.append((2, *_number(digits)) if digits else (0, word.lower()))
    return (*atoms, (1,), str(text))


def _number(digits: str) -> tuple[int, str]:
    # Digits stay text, length first: int() refuses more than 4300 of them.
    stripped = digits.lstrip("0")
    return (len(stripped), stripped)
