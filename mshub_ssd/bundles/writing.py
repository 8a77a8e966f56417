"""Writing bundles."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mshub_ssd import loading, providers
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
from mshub_ssd.bundles.staging import hash_of, not_written, reading, refuse_card_as_asset
from mshub_ssd.errors import DiskSpaceError, IntegrityError, MshubError, UsageError
from mshub_ssd.files import new_file
from mshub_ssd.store import is_digest

if TYPE_CHECKING:
    from mshub_ssd.cards import Card
    from mshub_ssd.settings import Settings

__all__ = ["write"]


def write(cards: Sequence[Card], out: Path, *, settings: Settings, force: bool = False) -> Bundle:
    """Write cards and their checkpoints to a bundle; the checkpoints come from the cache or are downloaded.

    The same cards give the same bytes. The file appears when it is whole.

    Args:
        cards: The cards, read from files.
        out: The archive.
        settings: The caches, and how to download.
        force: Overwrite it.

    Raises:
        MshubError: A card cannot be read again, a checkpoint cannot be had, or `out` cannot be written.
    """
    if not cards:
        raise UsageError("a bundle needs a card", expected="at least one uid")
    if out.exists() and not force:
        raise UsageError("the file is there already", where=str(out), hint="choose another name, or --force")
    read = _read(cards)
    files = _checkpoints([card for card, _ in read], settings)
    sources: dict[str, bytes | Path] = {}
    members = []
    for card, data in read:
        path = f"cards/{card.uid}.md"
        sources[path] = data
        members.append(Member(path, len(data), hashlib.sha256(data).hexdigest(), (card.uid,)))
    for digest in sorted(files):
        file, uids = files[digest]
        sources[f"files/{digest}"] = file
        members.append(Member(f"files/{digest}", file.stat().st_size, digest, tuple(sorted(uids))))
    bundle = Bundle(out, tuple(members))
    manifest = encode(bundle)
    for path, size in [(MANIFEST, len(manifest)), *((member.path, member.size) for member in members)]:
        header(path, size)  # refuses what does not fit into an archive before anything is written
    with _appearing(out, total(len(manifest), members)) as stream:
        stream.write(header(MANIFEST, len(manifest)) + manifest + padding(len(manifest)))
        for member in members:
            stream.write(header(member.path, member.size))
            _copy(sources[member.path], stream, member)
            stream.write(padding(member.size))
        stream.write(END)
    return bundle


def _read(cards: Sequence[Card]) -> list[tuple[Card, bytes]]:
    """The cards with the bytes they were read from, in the archive's order, each once."""
    from mshub_ssd.cards import parse_card, read_bytes

    found: dict[str, tuple[Card, bytes]] = {}
    for card in cards:
        assert card.path is not None  # it was read from a file
        with reading(card.path):
            data = read_bytes(card.path)
        # The bytes that travel are the ones that were understood.
        again = parse_card(data, uid=card.uid, path=card.path)
        if not travels(card.uid):
            raise UsageError(
                "the card's name is no uid, and no registry would list it",
                where=str(card.path),
                expected="letters, digits, `.`, `_` and `-`, e.g. ssd300_coco2017.md",
                got=repr(card.uid),
                hint="rename the file",
            )
        if found.setdefault(card.uid, (again, data))[1] != data:
            raise UsageError(
                f"two different cards have the uid {card.uid}",
                got=f"{found[card.uid][0].path} and {card.path}",
                hint="leave one of them out",
            )
    return [found[uid] for uid in sorted(found, key=lambda uid: f"{uid}.md")]


def _checkpoints(cards: Sequence[Card], settings: Settings) -> dict[str, tuple[Path, list[str]]]:
    """Digest → a verified file with it, and the uids it is for."""
    wanted = [providers.choose_checkpoint(card) for card in cards]
    for checkpoint in wanted:
        if checkpoint.path is not None:
            refuse_card_as_asset(checkpoint.path)
    files: dict[str, tuple[Path, list[str]]] = {}
    for checkpoint, result in zip(wanted, loading.fetch_many(wanted, settings=settings), strict=True):
        if isinstance(result, MshubError):
            raise result
        digest = checkpoint.sha256.lower()
        if not is_digest(digest, whole=True):
            digest = hash_of(result)
        files.setdefault(digest, (result, []))[1].append(checkpoint.label)
    return files


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


@contextlib.contextmanager
def _appearing(out: Path, size: int) -> Iterator[BinaryIO]:
    """A file that is there when it is whole, and not at all otherwise."""
    try:
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
            yield stream
    except OSError as error:
        if isinstance(error, MshubError):
            raise
        raise not_written(error, out) from error
