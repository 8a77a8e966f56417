"""Taking bundles in."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from mshub_ssd import providers, store
from mshub_ssd.bundles.archive import Advance, Archive, Bundle, Member, opened
from mshub_ssd.bundles.carrying import Carried, Code
from mshub_ssd.bundles.staging import Staging, refuse_card_as_asset
from mshub_ssd.cards import Card, parse_card
from mshub_ssd.errors import CardError, IntegrityError, TransferError, UsageError
from mshub_ssd.registry import all_places, default_registry, installed_cards
from mshub_ssd.settings import Settings

__all__ = ["Installed", "install"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Installed:
    """What `install` did, or would do.

    Attributes:
        bundle: What was read, every member of it verified.
        folder: Where cards are installed.
        new: Uids whose cards were installed.
        replaced: Uids whose cards, other ones, were replaced by force.
        present: Uids whose very cards were there already.
        graphs: Uids of the graphs that are in the cache now; those of the bundle that are missing were passed over.
        code: What is in the cache now of the bundle's code, as ``REPOSITORY@COMMIT:FOLDER``; the rest was passed over.
    """

    bundle: Bundle
    folder: Path
    new: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    graphs: tuple[str, ...] = ()
    code: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Incoming:
    """A card of the bundle, and what becomes of it.

    Attributes:
        card: The card.
        used: The same as it will be found: one that is there already may lie elsewhere.
        path: Where it is to lie.
        data: Its bytes.
        fate: ``new``, ``replaced`` (another card of its uid goes) or ``present`` (the very same card is there).
        beside: Whether files beside it are installed, too.
    """

    card: Card
    used: Card
    path: Path
    data: bytes = field(repr=False)
    fate: str
    beside: bool


def install(
    path: Path,
    *,
    settings: Settings,
    force: bool = False,
    dry_run: bool = False,
    with_graphs: bool = True,
    with_code: bool = True,
    advance: Advance = lambda count: None,
) -> Installed:
    """Take a bundle in: checkpoints into the store, cards to where the registry finds them, graphs into their cache.

    Every member is verified against the manifest, and every checkpoint against its cards, too. Cards come last, and
    all of them or none. Graphs that this version would not write down alike are passed over, and so is code that none
    of the cards means here. No code is run, and none may run for having come.

    Args:
        path: The archive.
        settings: The caches, and the folders of cards.
        force: Replace cards of the same uids that say something else, and files beside them.
        dry_run: Verify the whole archive and decide, and write nothing.
        with_graphs: Keep its graphs, too.
        with_code: Keep its code, too.
        advance: Told about the bytes read.

    Raises:
        IntegrityError: The archive is not, byte for byte, what its manifest says, a file is not the one its cards
            promise, a graph is none of its card's network, or code is not what its commit says.
        TrustError: Code in it has links, names that lead elsewhere, or too much.
        CardError: A card in it cannot be read.
        UsageError: A card of that uid, or a file beside it, is there and is another one.
        TransferError, DiskSpaceError: The cache cannot be written.
    """
    caches = store.caches(settings)
    receiving = next((cache.path for cache in caches if cache.receives), None)
    if receiving is None:
        raise TransferError(
            "no cache can be written",
            where=" or ".join(str(cache.path) for cache in caches),
            hint="set MSHUB_HOME to a folder that can be written",
        )
    folder = installed_cards(receiving)
    with opened(path) as archive, closing(Staging(folder, force)) as staging:
        cards = [_read_card(archive, one, folder, advance) for one in archive.bundle.of_kind("card")]
        decided = _decide(archive.bundle, folder, cards, force, settings)
        wanted = [one for one in decided.values() if one.fate != "present"]
        for incoming in wanted:
            staging.claim(incoming.path)
        # All that can be refused is refused before a file is read.
        files = archive.bundle.of_kind("checkpoint")
        uses = {member: list(_uses(archive, member, decided, staging)) for member in files}
        carried = Carried(archive.bundle, {uid: one.used for uid, one in decided.items()}, settings)
        short = []
        for member, checkpoints in uses.items():
            with archive.member(member, advance) as body:
                if not dry_run:
                    stored, more = _take_in(body, member, checkpoints, staging, settings)
                    short += more
                    carried.here(member.sha256, stored)
        for member in archive.bundle.of_kind("graph"):
            with archive.member(member, advance) as body:
                data = body.read()
            if with_graphs:
                carried.examine(member, data)
        code = Code({uid: one.used for uid, one in decided.items()}, settings)
        for member in archive.bundle.of_kind("code"):
            with archive.member(member, advance) as body:
                data = body.read()
            if with_code:
                code.examine(member, data, f"{member.path} in {path}")
        archive.finish()
        if not dry_run:
            for file, checkpoint in short:
                _record(file, checkpoint, settings)
            carried.keep()
            code.keep()
            for incoming in wanted:
                staging.add(incoming.path, io.BytesIO(incoming.data))
            staging.publish()
    return Installed(
        archive.bundle,
        folder,
        new=tuple(uid for uid, card in decided.items() if card.fate == "new"),
        replaced=tuple(uid for uid, card in decided.items() if card.fate == "replaced"),
        present=tuple(uid for uid, card in decided.items() if card.fate == "present"),
        graphs=carried.uids,
        code=code.pins,
    )


def _read_card(archive: Archive, member: Member, folder: Path, advance: Advance) -> tuple[Card, bytes]:
    with archive.member(member, advance) as body:
        data = body.read()
    path = folder / f"{member.uids[0]}.md"
    try:
        return parse_card(data, uid=member.uids[0], path=path), data
    except CardError as error:
        error.where = str(error.where).replace(str(path), f"{member.path} in {archive.bundle.path}")
        raise


def _decide(
    bundle: Bundle, folder: Path, cards: Sequence[tuple[Card, bytes]], force: bool, settings: Settings
) -> dict[str, _Incoming]:
    """What becomes of each card, by uid.

    Raises:
        UsageError: Another one of its uid is in the way.
    """
    registry = default_registry(settings)
    roles = dict(zip(registry.sources, all_places(settings), strict=True))
    own = list(map(installed_cards, settings.homes))
    decided: dict[str, _Incoming] = {}
    conflicts = []
    for card, data in cards:
        path, fate, ours, used = folder / f"{card.uid}.md", "new", True, card
        found = registry.find(card.uid)
        if found is not None:
            source, entry = found
            old, place = source.path(entry), roles[source]
            ours = old == path
            fate = "present" if source.read(entry) == data else "replaced"
            if fate == "present" and not ours:
                used = parse_card(data, uid=card.uid, path=old, origin=source.origin(entry))
            earlier = place.role == "named" or place.where in own[: own.index(folder)]
            if fate == "replaced" and not ours and earlier:
                raise UsageError(
                    f"the card {card.uid} would be hidden by another one, whose registry is searched earlier",
                    where=source.origin(entry),
                    hint="take its registry out of MSHUB_REGISTRY or MSHUB_HOME, or rename that card",
                )
            if fate == "replaced" and not force:
                conflicts.append(f"{card.uid} ({source.origin(entry)})")
        decided[card.uid] = _Incoming(card, used, path, data, fate, beside=ours or fate == "replaced")
    if conflicts:
        raise UsageError(
            "cards of these uids are there already, and say something else",
            where=str(bundle.path),
            got=", ".join(conflicts[:5]) + (f" and {len(conflicts) - 5} more" if len(conflicts) > 5 else ""),
            hint="keep them, or replace them with those of the bundle: --force",
        )
    return decided


def _uses(
    archive: Archive, member: Member, decided: dict[str, _Incoming], staging: Staging
) -> Iterator[providers.Checkpoint]:
    """What a file is for: urls it can be had from, and places beside cards where it is needed.

    Raises:
        IntegrityError: A card it is said to be for promises another file.
        CardError, UsageError: It cannot be put where the card wants it.
    """
    for uid in member.uids:
        incoming = decided[uid]
        fitting = [
            asset
            for asset in incoming.card.assets
            if asset.sha256 and len(asset.sha256) >= 8 and member.sha256.startswith(asset.sha256.lower())
        ]
        if not fitting:
            stated = ", ".join(str(asset.sha256) for asset in incoming.card.assets) or "no file"
            raise IntegrityError(
                "a file in the bundle is not the one its card promises",
                where=f"{member.path} in {archive.bundle.path}",
                expected=f"sha256 {stated}, by the card {uid}",
                got=f"sha256 {member.sha256}",
                hint="make the bundle anew where there is a network: mshub bundle UID... -o FILE",
            )
        for asset in fitting:
            checkpoint = providers.checkpoint_of(incoming.card, asset)
            refuse_card_as_asset(checkpoint)
            place = checkpoint.path
            if place is None or (incoming.beside and staging.claim(place, member.sha256, member.size)):
                yield checkpoint


def _take_in(
    source: BinaryIO | Path,
    member: Member,
    checkpoints: Sequence[providers.Checkpoint],
    staging: Staging,
    settings: Settings,
) -> tuple[Path | None, list[tuple[Path, providers.Checkpoint]]]:
    """Store a file of the bundle where its cards look for it: in the store first, then beside cards.

    Returns:
        Where it is now, if it was needed; and what is left to do once the whole archive is known to be good: to record
        which file short digests stand for.
    """
    short = []
    for one in sorted(checkpoints, key=lambda one: one.path is not None):
        if one.path is None:
            source = store.add(
                source, member.sha256, urls=[one.location], size=member.size, label=one.label, settings=settings
            )
            if len(one.sha256) < len(member.sha256):
                short.append((source, one))
        else:
            source = staging.add(one.path, source, member.sha256)
    return source if isinstance(source, Path) else None, short


def _record(file: Path, checkpoint: providers.Checkpoint, settings: Settings) -> None:
    """Record which file a short digest stands for, as on a first download."""
    known = store.cached([checkpoint.location], checkpoint.sha256, settings)
    if known is None or known.name != file.name:
        _log.warning(
            "%s states %s only; the bundle's file is taken for it from now on", checkpoint.label, checkpoint.sha256
        )
        store.add(file, checkpoint.sha256, urls=[checkpoint.location], label=checkpoint.label, settings=settings)
