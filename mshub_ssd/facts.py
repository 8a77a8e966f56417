"""What is told about models and their files: dictionaries for programs, and the words for people."""

from __future__ import annotations

import dataclasses
import logging
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd.errors import MshubError, UnknownModelError
from mshub_ssd.redaction import hide
from mshub_ssd.schemes import is_url

if TYPE_CHECKING:
    from mshub_ssd import store
    from mshub_ssd.cards import Asset, Card
    from mshub_ssd.hub import Hub
    from mshub_ssd.providers import Recipe, Standing
    from mshub_ssd.registry import Shown

__all__ = [
    "asset_facts",
    "code_facts",
    "digest_text",
    "download_facts",
    "expand",
    "figure_text",
    "file_facts",
    "loads_text",
    "model_facts",
    "shown_facts",
    "warn_of_weak_digest",
]

_log = logging.getLogger(__name__)

_FULL = 64  # digits of a SHA-256


def asset_facts(asset: Asset) -> dict[str, Any]:
    """An asset for JSON."""
    return {**asset.to_dict(), "url": hide(asset.url)}


def digest_text(digest: str | None, digits: int | None) -> str:
    """A card's digest for people, who are told when only its first digits are given."""
    if not digest:
        return "none given"
    return digest if digits in (None, _FULL) else f"{digest}  ({digits} of {_FULL} digits, which prove little)"


def shown_facts(shown: Shown) -> dict[str, Any]:
    """A model of a list for JSON."""
    return {
        "uid": shown.uid,
        **shown.facts,
        "size": shown.size,
        "network_key": shown.network,
        "code": _code(shown),
        "loadable": bool(shown.loadable),
        "obstacle": shown.obstacle,
    }


def figure_text(shown: Shown) -> str:
    """The first published figure of a model of a list, under its right name; empty if there is none."""
    from mshub_ssd.cards import Metric

    if not shown.facts.get("metrics"):
        return ""
    figure = Metric(**shown.facts["metrics"][0])
    # What COCO measures is no accuracy, whatever published cards call it.
    if shown.facts["task"] == "object-detection" and figure.name.lower() in ("acc", "accuracy"):
        figure = dataclasses.replace(figure, name="mAP")
    return str(figure)


def loads_text(shown: Shown) -> str:
    """Whether a model of a list loads here: yes, no, or with consent to run a repository's code."""
    if not shown.loadable:
        return "no"
    return "consent" if "/" in (_code(shown) or "") else "yes"


def _code(shown: Shown) -> str | None:
    """The package or repository whose code the network is; None for this library's and the user's networks."""
    name, colon, _ = (shown.network or "").partition(":")
    return name if colon else None


def model_facts(card: Card, standing: Standing) -> dict[str, Any]:
    """A card for JSON, and whether it can be loaded."""
    return {
        **card.to_dict(),
        "assets": [asset_facts(asset) for asset in card.assets],
        "repo_link": card.repo_link and hide(card.repo_link),
        "size": card.assets[0].size if card.assets else None,
        "network_key": standing.key,
        "code": None if standing.recipe is None else code_facts(standing.recipe),
        "loadable": standing.obstacle is None,
        "obstacle": standing.obstacle,
    }


def code_facts(recipe: Recipe) -> dict[str, Any]:
    """Whose code a network is, for JSON."""
    code = recipe.code
    return {
        "level": recipe.level,
        "name": code and code.name,
        "version": code and code.version,
        "path": (code and code.path) or None,
        "adapters": list(recipe.adapters),
        "proven": sorted(recipe.proven),
    }


def expand(hub: Hub, names: Iterable[str]) -> list[str]:
    """Names of models, each once, with wildcards replaced by the uids that fit and have a checkpoint.

    Raises:
        UnknownModelError: A wildcard fits none.
    """
    found: dict[str, None] = {}
    for name in names:
        if is_url(name) or not set(name) & set("*?[") or Path(name).is_file():
            found[name] = None
            continue
        fitting = hub.list_models(name)
        usable = [uid for uid in fitting if _has_checkpoint(hub, uid)]
        if not usable:
            raise UnknownModelError(
                "no model with a checkpoint fits" if fitting else "no model fits",
                expected="a wildcard for whole uids, such as 'mindspore/1.8/*'",
                got=repr(name),
                hint="mshub list" + (f" {shlex.quote(name)} --loadable" if fitting else ""),
            )
        if len(usable) < len(fitting):
            _log.warning("%s: %d left out, without a checkpoint that can be loaded", name, len(fitting) - len(usable))
        found |= dict.fromkeys(usable)
    return list(found)


def _has_checkpoint(hub: Hub, uid: str) -> bool:
    from mshub_ssd import providers

    try:
        providers.choose_asset(hub.info(uid))
    except MshubError:
        return False
    return True


def warn_of_weak_digest(hub: Hub, name: str, path: Path) -> None:
    """Tell that a file of the cache was believed because of a few digits; of one beside its card it is always told."""
    from mshub_ssd import store

    if len(path.name) == _FULL:
        store.warn_of_weak_digest(hub.checkpoint(name).sha256, path.name, name)


def file_facts(hub: Hub, name: str, path: Path) -> dict[str, Any]:
    """The verified checkpoint of a model, for JSON."""
    from mshub_ssd import store

    # The card's own digest may be a short one; a file in the cache has just been compared with its name.
    digest = path.name if len(path.name) == _FULL else store.hash_file(path).hexdigest
    promised = hub.checkpoint(name).sha256
    return {
        "uid": name,
        "path": str(path),
        "sha256": digest,
        "sha256_digits": len(promised),
        "size": path.stat().st_size,
    }


def download_facts(hub: Hub, name: str, parts: Sequence[store.Entry]) -> dict[str, Any]:
    """What fetching a model would do, for JSON; `kept` are bytes of an interrupted download.

    Args:
        hub: The session.
        name: A uid or the path of a card file.
        parts: The downloads in the caches.

    Raises:
        MshubError: What `Hub.fetch` would refuse without the network.
    """
    from mshub_ssd import loading

    checkpoint = hub.checkpoint(name)
    plan = loading.plan_fetch(checkpoint, settings=hub.settings)
    digest = checkpoint.sha256.lower()
    facts = {"uid": name, "sha256": digest, "sha256_digits": len(digest)}
    if plan.path is not None:
        return {**facts, "path": str(plan.path), "size": plan.path.stat().st_size, "sources": [], "kept": 0}
    kept = max((part.size for part in parts if part.digest.startswith(digest) and not part.busy), default=0)
    return {**facts, "path": None, "size": checkpoint.size, "sources": list(plan.shown), "kept": kept}
