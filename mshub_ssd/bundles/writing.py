"""Writing bundles."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mshub_ssd import catalog, store
from mshub_ssd.bundles.archive import (
    CHUNK,
    END,
    FULL,
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

if TYPE_CHECKING:
    from mshub_ssd.cards import Asset, Card

__all__ = ["write"]


def write(names: Sequence[str], out: Path, *, force: bool = False) -> Bundle:
    """Write cards and their checkpoints to a bundle; the checkpoints come from the cache or are downloaded.

    The same cards give the same bytes. The file appears when it is whole.

    Args:
        names: Uids or paths of card files.
        out: The archive.
        force: Overwrite it.

    Raises:
        MshubError: A card cannot be found or read, a checkpoint cannot be had, or `out` cannot be written.
    """
    if not names:
        raise UsageError("a bundle needs a card", expected="at least one uid")
    if out.exists() and not force:
        raise UsageError("the file is there already", where=str(out), hint="choose another name, or --force")
    cards = _cards(names)
    files = _checkpoints(cards)
    sources: dict[str, bytes | Path] = {}
    members = []
    for card, data in cards:
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


def _cards(names: Sequence[str]) -> list[tuple[Card, bytes]]:
    """The cards with the bytes they were read from, in the archive's order, each once."""
    from mshub_ssd.cards import parse_card, read_bytes

    found: dict[str, tuple[Card, bytes]] = {}
    for name in names:
        card = catalog.find_card(name)
        assert card.path is not None  # it was read from a file
        with reading(card.path):
            data = read_bytes(card.path)
        # The bytes that travel are the ones that were understood.
        card = parse_card(data, uid=card.uid, path=card.path)
        if not travels(card.uid):
            raise UsageError(
                "the card's name is no uid, and no registry would list it",
                where=str(card.path),
                expected="letters, digits, `.`, `_` and `-`, e.g. ssd300_coco2017.md",
                got=repr(card.uid),
                hint="rename the file",
            )
        if found.setdefault(card.uid, (card, data))[1] != data:
            raise UsageError(
                f"two different cards have the uid {card.uid}",
                got=f"{found[card.uid][0].path} and {card.path}",
                hint="leave one of them out",
            )
    return [found[uid] for uid in sorted(found, key=lambda uid: f"{uid}.md")]


def _checkpoints(cards: Sequence[tuple[Card, bytes]]) -> dict[str, tuple[Path, list[str]]]:
    """Digest → a verified file with it, and the uids it is for."""
    chosen: list[tuple[Card, Asset]] = []
    paths: dict[str, Path] = {}
    wanted: dict[str, store.FileRequest] = {}
    for card, _ in cards:
        asset = catalog.choose_asset(card)[0]
        assert asset.sha256 is not None  # choose_asset saw to it
        where = catalog.locate(card, asset)
        chosen.append((card, asset))
        if isinstance(where, str):
            wanted[card.uid] = store.FileRequest(
                [where], asset.sha256, label=card.uid, max_bytes=catalog.size_limit(card)
            )
        else:
            refuse_card_as_asset(where, asset)
            paths[card.uid] = store.verify_local(where, asset.sha256)
    results = store.fetch_many(list(wanted.values())) if wanted else []
    for uid, result in zip(wanted, results, strict=True):
        if isinstance(result, MshubError):
            raise result
        paths[uid] = result
    files: dict[str, tuple[Path, list[str]]] = {}
    for card, asset in chosen:
        assert asset.sha256 is not None
        path = paths[card.uid]
        digest = asset.sha256.lower()
        if not FULL.fullmatch(digest):
            digest = hash_of(path)
        files.setdefault(digest, (path, []))[1].append(card.uid)
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
    scratch = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
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
        with scratch.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(out)
    except OSError as error:
        if isinstance(error, MshubError):
            raise
        raise not_written(error, out) from error
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
