"""Lock files: the exact models that a project uses, and in what a card says something else by now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd.errors import IntegrityError, UsageError
from mshub_ssd.files import read_regular, replace_file
from mshub_ssd.redaction import hide

if TYPE_CHECKING:
    from mshub_ssd.providers import Plan

__all__ = ["FILE_NAME", "Difference", "check", "differences", "locked_model", "read_lock", "write_lock"]

FILE_NAME = "mshub.lock"
"""What a lock file is called unless a name is given."""

_VERSION = 1
_MOST_BYTES = 16 << 20
_MEANINGS = {
    "card": "the card's text",
    "network": "the network",
    "arguments": "the network's arguments",
    "classes": "the classes",
    "checkpoint": "the checkpoint",
    "sha256": "the checkpoint's digest",
    "size": "the checkpoint's size",
    "format": "the checkpoint's format",
    "link": "the checkpoint's address",
}


@dataclass(frozen=True)
class Difference:
    """Something that a card says differently than when it was locked.

    Attributes:
        what: In words.
        locked: The value then.
        now: The value now.
    """

    what: str
    locked: str
    now: str


def locked_model(plan: Plan) -> dict[str, Any]:
    """What a lock file holds of a model: digests of card and checkpoint, and what loading goes by."""
    card, checkpoint = plan.card, plan.checkpoint
    asset = None
    if checkpoint is not None:
        location = hide(checkpoint.location) if checkpoint.path is None else checkpoint.path.name
        asset = {
            "sha256": checkpoint.sha256.lower(),
            "size": checkpoint.size,
            "format": checkpoint.format,
            "link": location,
        }
    told = {
        "card": card.digest(),
        "network": plan.recipe.key,
        "arguments": plan.recipe.arguments,
        "classes": plan.recipe.classes,
        "checkpoint": asset,
    }
    plain: dict[str, Any] = json.loads(json.dumps(told, default=dict))
    return plain


def differences(locked: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """In what two states of a model differ; the card's text is told only where nothing else does."""
    found = list(_differing(locked, now))
    others = [one for one in found if one.what != _MEANINGS["card"]]
    yield from others or found


def check(uid: str, plan: Plan, models: Mapping[str, Any], where: Path) -> None:
    """See that a model is the one that was locked.

    Raises:
        UsageError: It is not in the lock file.
        IntegrityError: It says something else; names what.
    """
    if uid not in models:
        raise UsageError(
            f"the model {uid} is not locked",
            where=str(where),
            expected=", ".join(list(models)[:3]) or "a locked model",
            got=uid,
            hint=f"mshub lock {uid} -o {where}",
        )
    found = list(differences(models[uid], locked_model(plan)))
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise IntegrityError(
            f"the model {uid} is not the one that was locked: {found[0].what} differs{more}",
            where=str(plan.card.origin or plan.card.uid),
            expected=f"{found[0].locked}, by {where}",
            got=found[0].now,
            hint=f"mshub lock {uid} -o {where}, if it should be this one",
        )


def read_lock(path: Path) -> dict[str, dict[str, Any]]:
    """The models of a lock file by uid.

    Raises:
        UsageError: It cannot be read, or is no lock file of a version that is known here.
    """
    try:
        stored = json.loads(read_regular(path, _MOST_BYTES))
    except FileNotFoundError:
        raise UsageError(
            "there is no lock file of that name", where=str(path), hint=f"mshub lock UID... -o {path}"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"the lock file cannot be read: {error}", where=str(path), expected="JSON") from error
    models = stored.get("models") if isinstance(stored, dict) else None
    if not isinstance(models, dict) or not all(isinstance(one, dict) for one in models.values()):
        raise UsageError("this is no lock file", where=str(path), expected='{"version": 1, "models": {...}}')
    if stored.get("version") != _VERSION:
        raise UsageError(
            "the lock file is of a version that is not known here",
            where=str(path),
            expected=str(_VERSION),
            got=repr(stored.get("version"))[:80],
            hint="pip install --upgrade mshub_ssd",
        )
    return models


def write_lock(path: Path, models: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a lock file, whole or not at all; the same models give the same bytes.

    Raises:
        UsageError: It cannot be written.
    """
    blocks = []
    for uid in sorted(models):
        rows = [
            f"      {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in models[uid].items()
        ]
        blocks.append(f"    {json.dumps(uid)}: {{\n" + ",\n".join(rows) + "\n    }")
    # A line a fact, so that a change shows as one.
    text = f'{{\n  "version": {_VERSION},\n  "models": {{\n' + ",\n".join(blocks) + "\n  }\n}\n"
    try:
        replace_file(path, text.encode())
    except OSError as error:
        raise UsageError(f"the lock file cannot be written: {error.strerror}", where=str(path)) from error


def _differing(locked: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    for key in dict.fromkeys([*locked, *now]):
        before, after = locked.get(key), now.get(key)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict) and key == "checkpoint":
            yield from _differing(before, after)
        else:
            yield Difference(_MEANINGS.get(key, key), _shown(before), _shown(after))


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:120]
