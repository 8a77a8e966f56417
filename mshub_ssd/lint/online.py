"""What the rules about the network work on: which addresses a card gives, and what was found out about them.

Nothing here asks anybody; `mshub_ssd.cli.validate_online` does, and hands the answers over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict
from urllib.parse import urlsplit

from mshub_ssd.cards import Asset
from mshub_ssd.cards.nodes import Scalar
from mshub_ssd.errors import CardError
from mshub_ssd.lint.context import AssetNode, CardContext
from mshub_ssd.lint.entry_point import FILE_NAME
from mshub_ssd.lint.rules.provenance import fault_of

__all__ = ["Answers", "Reply", "asset_addresses", "entry_address", "likeness", "repository"]

_TREE = re.compile(r"(?P<repository>/.+?)/(?P<dash>-/)?tree/(?P<place>[^/].*)")
_PAGE_TYPES = ("text/html", "application/xhtml+xml")

State = Literal["here", "missing", "busy", "private", "dead"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of one question.

    Attributes:
        state: ``here``; ``missing`` where the host says so (404, 410); ``busy`` where it wants to be asked later;
            ``private`` where the address was not asked; ``dead`` for all other failures.
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
        networks: The known network that a card means, by the card's path; other cards mean none.
        most: Most bytes that an asset may have.
    """

    replies: Mapping[str, Reply]
    networks: Mapping[str, str]
    most: int


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
