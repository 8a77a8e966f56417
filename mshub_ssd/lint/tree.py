"""What the rules about a whole tree need to know of each card: little, since it travels between processes."""

from __future__ import annotations

from dataclasses import dataclass

from mshub_ssd.lint.context import CardContext

__all__ = ["Facts", "FileFact", "facts_of"]


@dataclass(frozen=True, slots=True)
class FileFact:
    """One asset: its digest and link as written, and where the digest stands."""

    sha256: str
    url: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Facts:
    """One card: its place, name and files."""

    index: int
    path: str
    uid: str | None
    model: str | None
    files: tuple[FileFact, ...]


def facts_of(context: CardContext, index: int) -> Facts:
    """The facts of one card."""
    files = []
    for asset in context.assets:
        node, url = asset.scalar("asset-sha256"), asset.value("asset-link")
        digest = asset.value("asset-sha256")
        if node and url and digest:
            files.append(FileFact(digest.lower(), url, node.start, node.end))
    return Facts(index, context.path, context.uid, context.value("model-name"), tuple(files))
