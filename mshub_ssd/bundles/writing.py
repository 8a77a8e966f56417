"""Writing bundles."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from mshub_ssd import foreign, graphs, loading, providers
from mshub_ssd.bundles.archive import (
    CHUNK,
    END,
    MANIFEST,
    Bundle,
    Member,
    encode,
    header,
    padding,
    total,
    travels,
)
from mshub_ssd.bundles.staging import hash_of, refuse_card_as_asset
from mshub_ssd.cards import Card
from mshub_ssd.errors import DiskSpaceError, IntegrityError, MshubError, UsageError
from mshub_ssd.files import new_file, writing
from mshub_ssd.providers import Code
from mshub_ssd.settings import Settings
from mshub_ssd.store import is_digest

__all__ = ["write"]


def write(
    cards: Sequence[tuple[Card, bytes]],
    out: Path,
    *,
    settings: Settings,
    force: bool = False,
    with_graph: bool = False,
    with_code: bool = False,
) -> Bundle:
    """Write cards and their checkpoints to a bundle; the checkpoints come from the cache or are downloaded.

    The same cards give the same bytes. The file appears when it is whole.

    Args:
        cards: The cards, each with the bytes it was read from.
        out: The archive.
        settings: The caches, and how to download.
        force: Overwrite it.
        with_graph: Write the networks down, too, for engines other than MindSpore.
        with_code: Take the code of repositories along that the networks may be; it needs consent.

    Raises:
        TrustError: The user has not consented to such code.
        MshubError: A card cannot travel, a checkpoint or code cannot be had, a network cannot be written down, or `out`
            cannot be written.
    """
    if not cards:
        raise UsageError("a bundle needs a card", expected="at least one uid")
    if out.exists() and not force:
        raise UsageError("the file is there already", where=str(out), hint="choose another name, or --force")
    read = _read(cards)
    # What needs consent is refused before a checkpoint is downloaded.
    code = _code([card for card, _ in read], settings) if with_code else []
    files = _checkpoints([card for card, _ in read], settings)
    found: list[tuple[Member, bytes | Path]] = [
        *(
            (Member(f"cards/{card.uid}.md", len(data), hashlib.sha256(data).hexdigest(), (card.uid,)), data)
            for card, data in read
        ),
        *(
            (Member(f"files/{digest}", file.stat().st_size, digest, tuple(sorted(uids))), file)
            for digest, (file, uids) in sorted(files.items())
        ),
        *(_graphs([card for card, _ in read], settings) if with_graph else ()),
        *code,
    ]
    bundle = Bundle(out, tuple(member for member, _ in found))
    manifest = encode(bundle)
    # What does not fit into an archive is refused before anything is written.
    first, *headers = [header(MANIFEST, len(manifest)), *(header(one.path, one.size) for one in bundle.members)]
    with writing(out):
        size = total([len(manifest), *(one.size for one in bundle.members)])
        free = shutil.disk_usage(out.absolute().parent).free
        if free < size:
            raise DiskSpaceError(
                "not enough room for the bundle",
                where=str(out),
                expected=f"{size} bytes",
                got=f"{free} bytes are free",
                hint="write it to another disk: -o FILE",
            )
        with new_file(out, durable=True, mode=0o666) as stream:
            stream.write(first + manifest + padding(len(manifest)))
            for head, (member, source) in zip(headers, found, strict=True):
                stream.write(head)
                _copy(source, stream, member)
                stream.write(padding(member.size))
            stream.write(END)
    return bundle


def _read(cards: Sequence[tuple[Card, bytes]]) -> list[tuple[Card, bytes]]:
    """The cards with the bytes they were read from, in the archive's order, each once."""
    found: dict[str, tuple[Card, bytes]] = {}
    for card, data in cards:
        if not travels(card.uid):
            raise UsageError(
                "the card's name is no uid, and no registry would list it",
                where=card.place,
                expected="letters, digits, `.`, `_` and `-`, e.g. ssd300_coco2017.md",
                got=repr(card.uid),
                hint="rename the file",
            )
        if found.setdefault(card.uid, (card, data))[1] != data:
            raise UsageError(
                f"two different cards have the uid {card.uid}",
                got=f"{found[card.uid][0].place} and {card.place}",
                hint="leave one of them out",
            )
    return [found[uid] for uid in sorted(found, key=lambda uid: f"{uid}.md")]


def _checkpoints(cards: Sequence[Card], settings: Settings) -> dict[str, tuple[Path, list[str]]]:
    """Digest → a verified file with it, and the uids it is for."""
    wanted = [providers.choose_checkpoint(card) for card in cards]
    for checkpoint in wanted:
        refuse_card_as_asset(checkpoint)
    files: dict[str, tuple[Path, list[str]]] = {}
    for checkpoint, result in zip(wanted, loading.fetch_many(wanted, settings=settings), strict=True):
        if isinstance(result, MshubError):
            raise result
        stated = checkpoint.sha256.lower()
        digest = stated if is_digest(stated, whole=True) else hash_of(result)
        files.setdefault(digest, (result, []))[1].append(checkpoint.label)
    return files


def _graphs(cards: Sequence[Card], settings: Settings) -> list[tuple[Member, bytes | Path]]:
    """What the cards' networks compute; equal ones with equal checkpoints travel once."""
    found: dict[str, tuple[bytes, list[str]]] = {}
    for card in cards:
        data = graphs.written_down(providers.plan(card), settings)
        found.setdefault(hashlib.sha256(data).hexdigest(), (data, []))[1].append(card.uid)
    return [
        (Member(f"graphs/{digest}", len(data), digest, tuple(sorted(uids))), data)
        for digest, (data, uids) in sorted(found.items())
    ]


def _code(cards: Sequence[Card], settings: Settings) -> list[tuple[Member, bytes | Path]]:
    """The code that the cards' networks may be, each folder of a commit once."""
    wanted: dict[Code, list[str]] = {}
    for card in cards:
        for code in providers.code_of(card):
            foreign.require(code.name, code.version, uid=card.uid, path=code.path)
            wanted.setdefault(code, []).append(card.uid)
    found: list[tuple[Member, bytes | Path]] = []
    for code, uids in wanted.items():
        data = foreign.pack_code(code.name, code.version, code.path, settings=settings)
        digest = hashlib.sha256(data).hexdigest()
        found.append((Member(f"sources/{digest}", len(data), digest, tuple(sorted(uids))), data))
    return sorted(found, key=lambda row: row[0].path)


def _copy(source: bytes | Path, stream: BinaryIO, member: Member) -> None:
    hasher, count = hashlib.sha256(), 0
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb", buffering=0) as file:
        while count <= member.size and (data := file.read(CHUNK)):
            hasher.update(data)
            count += len(data)
            stream.write(data)
    if (count, hasher.hexdigest()) != (member.size, member.sha256):
        raise IntegrityError(
            "a file changed while it was bundled",
            where=str(source) if isinstance(source, Path) else member.path,
            expected=f"sha256 {member.sha256}, {member.size} bytes",
            got=f"sha256 {hasher.hexdigest()}, {count} bytes",
            hint="do it again",
        )
