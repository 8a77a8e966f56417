"""Taking bundles in."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from mshub_ssd import providers, store
from mshub_ssd.bundles.archive import Advance, Archive, Body, Bundle, Member
from mshub_ssd.bundles.staging import Staging, reading, refuse_card_as_asset
from mshub_ssd.errors import CardError, IntegrityError, TransferError, UsageError
from mshub_ssd.registry import default_registry, installed_cards

if TYPE_CHECKING:
    from mshub_ssd.cards import Asset, Card
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
    """

    bundle: Bundle
    folder: Path
    new: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    present: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Incoming:
    """A card of the bundle, and what becomes of it.

    Attributes:
        card: With the path it gets.
        data: Its bytes.
        wanted: Whether it is to be installed; else the very same card is there.
        replaces: Whether another card of its uid goes.
        beside: Whether files beside it are installed, too.
    """

    card: Card
    data: bytes = field(repr=False)
    wanted: bool = True
    replaces: bool = False
    beside: bool = True

    @property
    def path(self) -> Path:
        assert self.card.path is not None  # it was given one
        return self.card.path


@dataclass(frozen=True)
class _Use:
    """An asset that a file of the bundle is for.

    Attributes:
        incoming: The card.
        asset: The asset.
        url: Where the card says the file can be had; None when it lies beside the card.
        target: Where a file beside its card is to go; None when it is there, or needed nowhere.
    """

    incoming: _Incoming
    asset: Asset
    url: str | None = None
    target: Path | None = None


def install(
    path: Path,
    *,
    settings: Settings,
    force: bool = False,
    dry_run: bool = False,
    advance: Advance = lambda count: None,
) -> Installed:
    """Take a bundle in: checkpoints into the store, cards to where the registry finds them.

    Every member is verified against the manifest, and every checkpoint against its cards, too. Cards come last, and
    all of them or none.

    Args:
        path: The archive.
        settings: The caches, and the folders of cards.
        force: Replace cards of the same uids that say something else, and files beside them.
        dry_run: Verify the whole archive and decide, and write nothing.
        advance: Told about the bytes read.

    Raises:
        IntegrityError: The archive is not, byte for byte, what its manifest says, or a file is not the one its cards
            promise.
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
    with Archive(path) as archive, closing(Staging(folder, force)) as staging:
        members = archive.bundle.members
        cards = [_read_card(archive, member, folder, advance) for member in members if member.is_card]
        decided = _decide(archive.bundle, folder, cards, force, settings)
        for incoming in decided.values():
            if incoming.wanted:
                staging.claim(incoming.path)
        # All that can be refused is refused before a file is read.
        uses = {member: list(_uses(archive, member, decided, staging)) for member in members if not member.is_card}
        short = []
        for member, places in uses.items():
            with archive.member(member, advance) as body:
                if not dry_run:
                    short += _take_in(body, member, places, staging, settings)
        archive.finish()
        if not dry_run:
            for file, use in short:
                _record(file, str(use.asset.sha256), str(use.url), use.incoming.card.uid, settings)
            for incoming in decided.values():
                if incoming.wanted:
                    staging.add(incoming.path, io.BytesIO(incoming.data))
            staging.publish()
    return Installed(
        archive.bundle,
        folder,
        new=tuple(uid for uid, card in decided.items() if card.wanted and not card.replaces),
        replaced=tuple(uid for uid, card in decided.items() if card.wanted and card.replaces),
        present=tuple(uid for uid, card in decided.items() if not card.wanted),
    )


def _read_card(archive: Archive, member: Member, folder: Path, advance: Advance) -> tuple[Card, bytes]:
    from mshub_ssd.cards import parse_card

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
    from mshub_ssd.cards import read_bytes

    registry = default_registry(settings)
    known = set(registry.uids())
    decided = {}
    conflicts = []
    for card, data in cards:
        old = registry.path(card.uid) if card.uid in known else None
        ours = old == card.path
        same = False
        if old is not None:
            with reading(old):
                same = read_bytes(old) == data
        if same:
            decided[card.uid] = _Incoming(card, data, wanted=False, beside=ours)
            continue
        if old is not None and not ours and _before(old, folder, settings):
            raise UsageError(
                f"the card {card.uid} would be hidden by another one, whose folder is searched earlier",
                where=str(old),
                hint="take its folder out of MSHUB_REGISTRY or MSHUB_HOME, or rename that card",
            )
        if old is not None and not force:
            conflicts.append(f"{card.uid} ({old})")
        decided[card.uid] = _Incoming(card, data, replaces=old is not None)
    if conflicts:
        raise UsageError(
            "cards of these uids are there already, and say something else",
            where=str(bundle.path),
            got=", ".join(conflicts[:5]) + (f" and {len(conflicts) - 5} more" if len(conflicts) > 5 else ""),
            hint="keep them, or replace them with those of the bundle: --force",
        )
    return decided


def _before(path: Path, folder: Path, settings: Settings) -> bool:
    """Whether a registry finds a card before those of `folder`."""
    earlier = [*settings.registry, *map(installed_cards, settings.homes)]
    return any(path.is_relative_to(root) for root in earlier[: earlier.index(folder)])


def _uses(archive: Archive, member: Member, decided: dict[str, _Incoming], staging: Staging) -> Iterator[_Use]:
    """The assets a file is for.

    Raises:
        IntegrityError: A card it is said to be for promises another file.
        CardError, UsageError: It cannot be put where the card wants it.
    """
    targets: dict[Path, bool] = {}
    for uid in member.uids:
        incoming = decided[uid]
        fitting = [asset for asset in incoming.card.assets if _promises(asset, member.sha256)]
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
            if (where := checkpoint.path) is None:
                yield _Use(incoming, asset, url=checkpoint.location)
                continue
            refuse_card_as_asset(where)
            if incoming.beside and where not in targets:
                targets[where] = staging.claim(where, member.sha256, member.size)
                yield _Use(incoming, asset, target=where if targets[where] else None)


def _promises(asset: Asset, hexdigest: str) -> bool:
    digest = (asset.sha256 or "").lower()
    return store.is_digest(digest) and hexdigest.startswith(digest)


def _take_in(
    body: Body, member: Member, uses: Sequence[_Use], staging: Staging, settings: Settings
) -> list[tuple[Path, _Use]]:
    """Store a file of the bundle where its cards look for it.

    Returns:
        What is left to do once the whole archive is known to be good: to record which file short digests stand for.
    """
    source: BinaryIO | Path = cast(BinaryIO, body)  # as far as it is used here
    short = []
    for use in uses:
        if use.url is not None:
            source = store.add(
                source,
                member.sha256,
                urls=[use.url],
                size=member.size,
                label=use.incoming.card.uid,
                settings=settings,
            )
            if len(str(use.asset.sha256)) < len(member.sha256):
                short.append((source, use))
    for use in uses:
        if use.target is not None:
            source = staging.add(use.target, source, member.sha256)
    return short


def _record(file: Path, stated: str, url: str, uid: str, settings: Settings) -> None:
    """Record which file a short digest stands for, as on a first download."""
    known = store.cached([url], stated, settings)
    if known is None or known.name != file.name:
        _log.warning("%s states %s only; the bundle's file is taken for it from now on", uid, stated)
        store.add(file, stated, urls=[url], label=uid, settings=settings)
