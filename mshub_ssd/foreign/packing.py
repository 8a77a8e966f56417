"""Code of repositories in one piece, to be carried to machines without a network.

A piece is a line of JSON, which names repository, commit and folder, and git's objects one after the other: the commit,
the trees that lead to the folder and those below it, and its files. Whoever unpacks it believes none of that: the
objects are held against the commit's forty digits as those of any repository, and the piece must be the very one that
packing the folder gives.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from mshub_ssd import settings as _settings
from mshub_ssd.errors import IntegrityError, TrustError, UsageError
from mshub_ssd.files import PLAIN
from mshub_ssd.foreign.checkout import (
    CARRIED,
    Checkout,
    Content,
    Wanted,
    may_miss,
    objects_in,
    obtain,
    publish,
    stored,
    trees_of,
)
from mshub_ssd.foreign.commits import full_commit, valid_repository
from mshub_ssd.foreign.links import plain_path
from mshub_ssd.foreign.objects import MAX_BYTES, too_large, walk
from mshub_ssd.settings import Settings
from mshub_ssd.terminal import size_text

__all__ = ["MAX_PIECE", "Piece", "pack_code", "unpack_code"]

MAX_PIECE = MAX_BYTES + (16 << 20)
"""Most bytes of a piece; those of the model zoo have 2 MB at most."""

_LINE = 2000


@dataclass(frozen=True)
class Piece:
    """A folder of a repository at a commit, proven; `unpack_code` makes it.

    Attributes:
        repository: Its name, which nothing proves but that a card means its commit.
        commit: All 40 hex digits.
        path: The folder.
    """

    repository: str
    commit: str
    path: str
    _content: Content

    @property
    def pin(self) -> str:
        """``REPOSITORY@COMMIT:FOLDER``."""
        return f"{self.repository}@{self.commit}:{self.path}"

    def keep(self, settings: Settings | None = None) -> Checkout:
        """Put it into the cache, where it stays without consent, too. That it may run is not said with this.

        Args:
            settings: Instead of the current ones.

        Raises:
            TransferError: It cannot be written.
        """
        chosen = _settings.current() if settings is None else settings
        found = publish(Wanted(self.repository, self.commit, self.path), self._content, chosen)
        with contextlib.suppress(OSError):  # there already, or in a cache that we only read
            mark = found.folder.parent / CARRIED
            os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL | PLAIN, 0o444))
        return found


def pack_code(repository: str, commit: str, path: str, *, settings: Settings | None = None) -> bytes:
    """A folder of a repository at a commit in one piece; it comes from the cache or by git, see `obtain`.

    Args:
        repository: Its name.
        commit: All 40 hex digits.
        path: The folder.
        settings: Instead of the current ones.

    Raises:
        MshubError: In one of its kinds: the code cannot be had.
    """
    found = obtain(repository, commit, path, settings=settings)
    want = Wanted(repository, commit, path)
    try:
        return _packed(want, stored(want, found.folder.parent, believe=True))
    except (OSError, ValueError) as error:
        raise IntegrityError(
            "code in the cache was changed while it was read", where=str(found.folder), hint="do it again"
        ) from error


def unpack_code(piece: bytes, where: str) -> Piece:
    """The folder that a piece holds, held against its commit.

    Args:
        piece: Its bytes.
        where: What it is called in messages.

    Raises:
        IntegrityError: It is none, or not what its commit says.
        TrustError: The folder has links, names that lead elsewhere, or too much.
    """
    try:
        end = piece.index(b"\n", 0, _LINE)
        named = json.loads(piece[:end])
        want = Wanted(str(named["repository"]), str(named["commit"]), str(named["path"]))
        if not (valid_repository(want.repository) and full_commit(want.commit) and plain_path(want.path)):
            raise ValueError("it names no folder of a repository at a commit")
        content = _content(want, objects_in(piece[end + 1 :], ("commit", "tree", "blob")))
        if _packed(want, content) != piece:
            raise ValueError("it holds more than the folder")
    except (TrustError, IntegrityError) as error:
        error.where = f"{where}: {error.where}"
        raise
    except (UsageError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = error.message if isinstance(error, UsageError) else str(error)
        raise IntegrityError(
            f"this is no code of a repository: {reason}"[:300],
            where=where,
            expected="a folder of a commit, as mshub_ssd packs it",
        ) from error
    return Piece(want.repository, want.commit, want.path, content)


def _content(want: Wanted, objects: Mapping[str, tuple[str, bytes]]) -> Content:
    """The folder that objects have.

    Raises:
        MshubError, ValueError: They have none that may be used.
    """
    trees = trees_of(objects, want.where)
    blobs = walk(trees, want.commit, want.path)
    data: dict[str, bytes] = {}
    for blob in blobs:
        found = objects.get(blob.hexdigest)
        if blob.left_out or (found is None and may_miss(blob)):
            continue
        if found is None or found[0] != "blob":
            raise ValueError(f"it lacks {blob.name}")
        data[blob.name] = found[1]
    # Each name is a file of its own, of however few objects.
    if sum(map(len, data.values())) > MAX_BYTES:
        raise too_large(f"more than {size_text(MAX_BYTES)}", want.where)
    return Content(tuple(blobs), data, _row(*trees.seen.values()))


def _packed(want: Wanted, content: Content) -> bytes:
    named = {"repository": want.repository, "commit": want.commit, "path": want.path}
    line = json.dumps(named, ensure_ascii=True).encode() + b"\n"
    # Equal files travel once.
    blobs = {blob.hexdigest: content.data[blob.name] for blob in content.blobs if blob.name in content.data}
    trees = trees_of(objects_in(content.objects), want.where)
    walk(trees, want.commit, want.path)
    return line + _row(*trees.seen.values()) + _row(*(("blob", data) for _, data in sorted(blobs.items())))


def _row(*objects: tuple[str, bytes]) -> bytes:
    return b"".join(f"{kind} {len(raw)}\0".encode() + raw for kind, raw in objects)
