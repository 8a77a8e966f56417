"""Networks whose code is in the model zoo's repository: recipes by folder and model."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from mshub_ssd import foreign, networks
from mshub_ssd.providers.recipes import Call, Code, Input, Recipe

if TYPE_CHECKING:
    from mshub_ssd.cards import Card

__all__ = ["candidates"]


def candidates(card: Card) -> list[Recipe]:
    """What a card of the zoo may mean, going by the folder that it links and its name.

    The commit is that of the card's branch where a recipe was proven there, else one where it was.
    """
    link = foreign.parse_repo_link(card.repo_link or "")
    if link is None:
        return []
    commit = None if link.branch is None else foreign.commit_of(link.repository, link.branch)
    named = [(row, _model(row["models"], card)) for row in _rows().get((link.repository, link.path), ())]
    meant = [(row, model) for row, model in named if model is not None]
    # What holds at the card's own commit comes in place of what other states of the code say.
    meant = [(row, model) for row, model in meant if commit in row["commits"]] or meant
    found = []
    for row, model in meant:
        at = commit if commit is not None and commit in row["commits"] else str(row["commits"][0])
        call = row["call"]
        found.append(
            Recipe(
                f"{link.repository}:{link.path}:{model}",
                f"its repository's folder {link.path} and the name {model!r}",
                classes=card.classes,
                level="repository",
                code=Code(link.repository, at, link.path),
                call=Call(
                    call["callable"],
                    tuple(call.get("args", ())),
                    call.get("kwargs", {}),
                    tuple(call.get("argv", ())),
                ),
                inputs=tuple(Input(tuple(one["shape"]), one["type"]) for one in row.get("inputs") or ()),
                adapters=tuple(row.get("adapters", ())),
                proven=frozenset(row.get("proven", ())),
            )
        )
    return found


def _model(models: list[str], card: Card) -> str | None:
    """The name under which a recipe is meant for a card, if it is."""
    last = networks.normal(card.uid.rpartition("/")[2])
    own = networks.normal(card.model_name or "")
    for model in models:
        name = networks.normal(model)
        if name == own or last == name or (last.startswith(name) and own in ("", name)):
            return model
    return None


@functools.cache
def _rows() -> Mapping[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    file = resources.files("mshub_ssd.providers") / "data" / "zoo.jsonl"
    if file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if "path" in row:
                found.setdefault((row.get("repository", "mindspore/models"), row["path"]), []).append(row)
    return found
