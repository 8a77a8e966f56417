"""What the rules about the network work on: which addresses a card gives, and what was found out about them.

Nothing here asks anybody; `mshub_ssd.online` does, and hands the answers over.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict
from urllib.parse import urlsplit

from mshub_ssd.cards import Asset, Scalar, read_bytes
from mshub_ssd.errors import CardError
from mshub_ssd.files import lies_in
from mshub_ssd.lint.context import AssetNode, CardContext
from mshub_ssd.lint.discovery import discover
from mshub_ssd.lint.entry_point import FILE_NAME
from mshub_ssd.lint.rules.provenance import fault_of

if TYPE_CHECKING:
    from mshub_ssd.lint.config import Config

__all__ = [
    "Answers",
    "Question",
    "Reply",
    "asset_addresses",
    "cards_to_ask",
    "entry_address",
    "likeness",
    "questions_of",
    "repository",
]

_TREE = re.compile(r"(?P<repository>/.+?)/(?P<dash>-/)?tree/(?P<place>[^/].*)")
_PAGE_TYPES = ("text/html", "application/xhtml+xml")

State = Literal["here", "missing", "busy", "unasked", "private", "dead"]
Kind = Literal["page", "asset", "whole", "text", "local"]
_KINDS: tuple[Kind, ...] = ("page", "asset", "whole", "text", "local")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """Something to find out.

    Attributes:
        where: A url, or the path of a file.
        kind: Whether a ``page`` is there; what a glance at an ``asset`` shows, and what all of its bytes do
            (``whole``); the ``text`` of a file; a ``local`` one.
    """

    where: str
    kind: Kind

    @property
    def host(self) -> str:
        """Whom it is a burden to."""
        return "" if self.kind == "local" else (urlsplit(self.where).hostname or "")

    def depth(self) -> int:
        """How much it asks; of several questions about one address, the deepest answers the others."""
        return _KINDS.index(self.kind)


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of one question.

    Attributes:
        state: ``here``; ``missing`` where the host says so (404, 410); ``busy`` where it wants to be asked later;
            ``unasked`` where this machine cannot ask a store, for want of a package or of credentials; ``private``
            where the address was not asked; ``dead`` for all other failures.
        fault: Why it is not here, to go on behind "... is dead: ".
        size: Number of bytes, None where nobody tells.
        likeness: What the file is instead of a checkpoint, e.g. ``a web page``, where that can be seen.
        sha256: Digest of all of the bytes, where they were read.
        text: The whole file, where it was asked for and is short enough.
    """

    state: State = "here"
    fault: str | None = None
    size: int | None = None
    likeness: str | None = None
    sha256: str | None = None
    text: str | None = None


class Answers(TypedDict):
    """What the network said.

    Attributes:
        replies: By url, or by path for files beside their card. What is not there was not asked.
        max_bytes: Most bytes that an asset may have.
    """

    replies: Mapping[str, Reply]
    max_bytes: int


def cards_to_ask(paths: Sequence[str | Path], config: Config) -> Iterator[tuple[CardContext, frozenset[str]]]:
    """The cards below some paths, and the codes of the rules they are held to.

    Raises:
        UsageError: A path does not exist.
    """
    cards, _ = discover(paths, roots=config.roots, exclude=config.exclude, base=config.base)
    for card in cards:
        try:
            data = read_bytes(card.file)
        except OSError as error:
            _log.debug("%s cannot be read: %s", card.path, error)  # the linter reports it
            continue
        rules = config.enabled - config.let_off(card.file, card.uid)
        yield CardContext(data, path=card.path, uid=card.uid, file=card.file), rules


def questions_of(context: CardContext, rules: frozenset[str], *, deep: bool) -> Iterator[Question]:
    """What the rules want to know of a card.

    Args:
        context: The card.
        rules: Codes of the rules it is held to.
        deep: Whether assets are to be read as a whole.
    """
    found = repository(context)
    if found and "MC050" in rules:
        yield Question(found[1], "page")
    entry = entry_address(found[1]) if found else None
    if entry and rules & {"MC018", "MC019"}:
        yield Question(entry, "text")
    whole = deep and "MC052" in rules
    if whole or rules & {"MC050", "MC051"}:
        for _, _, where in asset_addresses(context):
            if isinstance(where, str):
                yield Question(where, "whole" if whole else "asset")
            elif context.file and lies_in(where, context.file.parent):
                yield Question(str(where), "local")


def repository(context: CardContext) -> tuple[Scalar, str] | None:
    """The repo-link and where it stands, if it can be asked for."""
    node, link = context.scalar("repo-link"), context.value("repo-link")
    return (node, link) if node and link and not fault_of(link) else None


def entry_address(link: str) -> str | None:
    """Where the entry point of a linked folder can be read as it is.

    ``https://HOST/OWNER/REPOSITORY/tree/REF/FOLDER`` has it at
    ``https://HOST/OWNER/REPOSITORY/raw/REF/FOLDER/mindspore_hub_conf.py``.

    Returns:
        None for links of another form.
    """
    parts = urlsplit(link)
    found = _TREE.fullmatch(parts.path)
    if found is None:
        return None
    folder = f"{found['repository']}/{found['dash'] or ''}raw/{found['place'].rstrip('/')}"
    return parts._replace(path=f"{folder}/{FILE_NAME}", query="", fragment="").geturl()


def asset_addresses(context: CardContext) -> Iterator[tuple[AssetNode, Scalar, str | Path]]:
    """The assets with their links, and where these lead: a url, or a file beside the card."""
    for asset in context.assets:
        node, link = asset.scalar("asset-link"), asset.value("asset-link")
        if node is None or link is None or context.card is None:
            continue
        try:
            yield asset, node, context.card.resolve(Asset(None, link, None))
        except CardError:
            continue  # MC029 tells


def likeness(content_type: str | None, head: bytes) -> str | None:
    """What a file is instead of a checkpoint, if that can be seen.

    Args:
        content_type: What the server calls it, None where it does not.
        head: Its first bytes.
    """
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:40].lower()
    if content_type in _PAGE_TYPES or start.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer"
    return None
