"""Which cards belong to a zoo, and to which of its folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mshub_ssd.cards import read_card
from mshub_ssd.errors import MshubError
from mshub_ssd.foreign.links import parse_repo_link


@dataclass(frozen=True)
class ZooCard:
    """A card of a zoo.

    Attributes:
        uid: The card.
        branch: The branch that it names.
        path: The folder.
        model: The model's name, as the card has it.
    """

    uid: str
    branch: str
    path: str
    model: str


def zoo_cards(folder: Path, repository: str) -> list[ZooCard]:
    """The cards in a folder (publisher/version/name.md) whose code is in a repository."""
    found = []
    for file in sorted(folder.rglob("*.md")):
        uid = file.relative_to(folder).with_suffix("").as_posix()
        try:
            card = read_card(file, uid)
        except MshubError:
            continue
        link = parse_repo_link(card.repo_link or "")
        if link and link.repository == repository and link.branch and link.path:
            found.append(ZooCard(uid, link.branch, link.path, card.model_name or ""))
    return found
