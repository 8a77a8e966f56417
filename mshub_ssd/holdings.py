"""Whom the files in the cache serve, and taking in files that were carried here by hand."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd import foreign, loading, providers, store
from mshub_ssd.errors import IntegrityError, MshubError, UsageError
from mshub_ssd.redaction import file_name

if TYPE_CHECKING:
    from mshub_ssd.cards import Card
    from mshub_ssd.hub import Hub
    from mshub_ssd.providers import Checkpoint

__all__ = ["Code", "cached_file", "code_users", "files_of", "named", "serves", "take_in", "users"]

Code = tuple[str, str, str]
"""Repository, commit and folder."""


def files_of(cards: Iterable[Card]) -> list[Checkpoint]:
    """Every asset of the cards that a file can be compared with."""
    found = []
    for card in cards:
        for asset in card.assets:
            if asset.sha256_digits:
                with contextlib.suppress(MshubError):  # `mshub info` tells it
                    found.append(providers.checkpoint_of(card, asset))
    return found


def serves(digest: str, files: Iterable[Checkpoint]) -> list[str]:
    """Uids of the models that use a file of the cache; where cards give short digests, those it may stand for."""
    wanted = [(file.sha256.lower(), file.label) for file in files if file.path is None]
    fitting = (uid for sha256, uid in wanted if sha256.startswith(digest) or digest.startswith(sha256))
    return list(dict.fromkeys(fitting)) if digest else []


def users(entry: store.Entry, files: Iterable[Checkpoint]) -> list[str]:
    """Uids of the models that use something in the cache; a graph serves those of its checkpoint."""
    if entry.kind != "graph":
        return serves(entry.digest, files)
    return list(dict.fromkeys([*serves(entry.checkpoint or "", files), *entry.labels]))


def code_users(cards: Iterable[Card]) -> dict[Code, list[str]]:
    """Uids of the models whose networks may be code, by that."""
    found: dict[Code, list[str]] = {}
    for card in cards:
        for code in providers.code_of(card):
            found.setdefault((code.name, code.version, code.path), []).append(card.uid)
    return found


def named(hub: Hub, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """What is in the cache of digests, models and code: digests of files and graphs, and pins of code.

    Args:
        hub: The session.
        names: Digests, uids or paths of cards, ``REPOSITORY@COMMIT[:FOLDER]``.

    Raises:
        MshubError: No such model, or nothing of it is in the cache.
    """
    found: dict[str, None] = {}
    pins: dict[str, None] = {}
    code = {(one.repository, one.commit, one.path): one.pin for one in foreign.code_in_caches(hub.settings)}
    stored = {entry.digest for entry in store.entries(hub.settings, kinds=("file", "part", "quarantined"))}
    graphs = store.entries(hub.settings, kinds=("graph",))
    for name in names:
        if foreign.is_pin(name):
            pins[name] = None
            continue
        if store.is_digest(name.lower()):
            found[name.lower()] = None
            continue
        card = hub.info(name)
        files = files_of([card])
        wanted = {_recorded(hub, file) for file in files if file.path is None}
        made = {one.digest for one in graphs if one.checkpoint in wanted or card.uid in one.labels}
        meant = [(one.name, one.version, one.path) for one in providers.code_of(card)]
        own = [code[one] for one in meant if one in code]
        pins |= dict.fromkeys(own)
        if not (wanted & stored) | made and not own:
            beside = [f"{file.path}, which lies beside its card" for file in files if file.path is not None]
            raise UsageError(
                f"nothing of {card.uid} is in the cache",
                where=_homes(hub),
                got=beside[-1] if beside else None,
                hint="mshub cache ls",
            )
        found |= dict.fromkeys([*sorted(wanted & stored), *sorted(made)])
    return list(found), list(pins)


def _recorded(hub: Hub, file: Checkpoint) -> str:
    """The whole digest, where a short one was recorded on first use."""
    path = loading.cached(file, settings=hub.settings) if len(file.sha256) < 64 else None
    return file.sha256.lower() if path is None else path.name


def cached_file(hub: Hub, name: str) -> Path:
    """The verified checkpoint of a model, if it is here; nothing is downloaded.

    Raises:
        MshubError: It is not.
    """
    checkpoint = hub.checkpoint(name)
    path = loading.cached(checkpoint, settings=hub.settings)
    if path is None:
        raise UsageError(
            f"the checkpoint of {checkpoint.label} is not in the cache",
            where=_homes(hub),
            expected=f"sha256 {checkpoint.sha256}",
            hint=f"mshub fetch {shlex.quote(name)}",
        )
    return path


def _homes(hub: Hub) -> str:
    return " or ".join(str(cache.path) for cache in store.caches(hub.settings))


def take_in(hub: Hub, file: Path, files: Sequence[Checkpoint], sha256: str | None = None) -> dict[str, Any]:
    """Store a file for all cards that promise it.

    Args:
        hub: The session.
        file: The file.
        files: What the cards promise, see `files_of`.
        sha256: The user's own word about a file that no card names.

    Returns:
        What was done, for JSON.

    Raises:
        MshubError: No card promises it, or it cannot be stored.
    """
    try:
        got = store.hash_file(file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise IntegrityError(
            f"the file cannot be read: {reason}", where=str(file), hint="give the path of a file"
        ) from error
    fitting = [one for one in files if got.hexdigest.startswith(one.sha256.lower())]
    linked = [one for one in fitting if one.path is None]
    if sha256 is None and not linked:
        raise _unknown(file, got.hexdigest, fitting, files)
    # What no card knows is compared with the user's own word.
    path = store.add(file, sha256 or got.hexdigest, settings=hub.settings)
    for one in linked:
        # The full digest first: it needs no second copy.
        for digest in dict.fromkeys((got.hexdigest, one.sha256.lower())):
            path = store.add(path, digest, urls=[one.location], label=one.label, settings=hub.settings)
    return {
        "file": str(file),
        "path": str(path),
        "sha256": got.hexdigest,
        "size": got.size,
        "uids": list(dict.fromkeys(one.label for one in linked)),
    }


def _unknown(file: Path, digest: str, fitting: Sequence[Checkpoint], files: Sequence[Checkpoint]) -> IntegrityError:
    name, expected = shlex.quote(str(file)), None
    if fitting:
        message = f"the file belongs beside the card {fitting[0].label}, not into the cache"
        hint = f"cp {name} {shlex.quote(str(fitting[0].path))}"
    elif _is_bundle(file):
        message = "the file is a bundle, which is installed as a whole"
        hint = f"mshub bundle install {name}"
    else:
        message = "no model card names this file"
        namesakes = [one for one in files if one.path is None and file_name(one.location) == file.name]
        wanted = list(dict.fromkeys(f"{one.sha256} for {one.label}" for one in namesakes))
        expected = f"sha256 {' or '.join(wanted[:3])}" if wanted else "the sha256 of a model's checkpoint"
        again = "copy it again, it may be cut off or another version; " if wanted else ""
        hint = (
            f"{again}to take it in nevertheless: mshub cache add {name} --sha256 DIGEST, with a digest from who made it"
        )
    return IntegrityError(message, where=str(file), expected=expected, got=f"sha256 {digest}", hint=hint)


def _is_bundle(file: Path) -> bool:
    from mshub_ssd import bundles

    try:
        bundles.inspect(file)
    except MshubError:
        return False
    return True
