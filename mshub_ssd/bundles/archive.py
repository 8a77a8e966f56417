"""The form of a bundle: the manifest, the archive's bytes, and reading them with no trust in either."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mshub_ssd.cards import valid_uid
from mshub_ssd.errors import IntegrityError, UsageError
from mshub_ssd.files import NotRegularError, open_regular
from mshub_ssd.store import is_digest

__all__ = [
    "CHUNK",
    "END",
    "MANIFEST",
    "Advance",
    "Archive",
    "Body",
    "Bundle",
    "Member",
    "broken",
    "encode",
    "header",
    "inspect",
    "padding",
    "total",
    "travels",
    "unreadable",
]

MANIFEST = "mshub-bundle.json"
VERSION = 1

BLOCK = 512
CHUNK = 1 << 20
END = bytes(2 * BLOCK)
_MAX_MANIFEST = 4 << 20  # bytes; some 15,000 members
_MAX_CARD = 1 << 20  # bytes, as for any card
_MAX_CARDS = 256 << 20  # bytes of all cards together: they are held in memory
_MAX_FILE = (8 << 30) - 1  # bytes; a tar header has eleven octal digits

_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a folder",
    b"6": "a FIFO",
}

Advance = Callable[[int], object]
"""Told the number of bytes done since the last call."""


@dataclass(frozen=True)
class Member:
    """One file of a bundle.

    Attributes:
        path: Its name in the archive.
        size: Bytes.
        sha256: 64 lower-case hex digits.
        uids: The card's uid, or the uids of the cards the file is for.
    """

    path: str
    size: int
    sha256: str
    uids: tuple[str, ...]

    @property
    def is_card(self) -> bool:
        """Whether it is a card rather than a checkpoint."""
        return self.path.startswith("cards/")


@dataclass(frozen=True)
class Bundle:
    """What a bundle holds.

    Attributes:
        path: The archive.
        members: Cards first, each kind in the order of their names.
    """

    path: Path
    members: tuple[Member, ...]

    @property
    def uids(self) -> tuple[str, ...]:
        """The cards' uids."""
        return tuple(member.uids[0] for member in self.members if member.is_card)

    @property
    def size(self) -> int:
        """Bytes of all members."""
        return sum(member.size for member in self.members)

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        members = [
            {"path": one.path, "sha256": one.sha256, "size": one.size, "uids": list(one.uids)} for one in self.members
        ]
        return {"path": str(self.path), "size": self.size, "uids": list(self.uids), "members": members}


def inspect(path: Path) -> Bundle:
    """What a bundle says that it holds; its manifest is checked, the other members are not read.

    Raises:
        IntegrityError: It cannot be read, or is no bundle.
    """
    with Archive(path) as archive:
        return archive.bundle


def header(path: str, size: int) -> bytes:
    """The tar header (ustar) of a regular file.

    Raises:
        UsageError: Its name is too long, or it is too large.
    """
    if size > _MAX_FILE:
        raise UsageError(
            "a file is too large for a bundle", where=path, expected=f"at most {_MAX_FILE} bytes", got=str(size)
        )
    prefix, name = "", path
    # As much as fits goes into the name; the rest, cut at a slash, into the prefix.
    while len(name) > 100 and "/" in name:
        head, _, name = name.partition("/")
        prefix = f"{prefix}/{head}" if prefix else head
    if len(name) > 100 or len(prefix) > 155:
        raise UsageError(
            "a card's name is too long for a bundle",
            where=path,
            expected="at most 100 characters in its last parts, and 155 before them",
            hint="rename the card",
        )

    def octal(value: int, width: int) -> bytes:
        return f"{value:0{width - 1}o}".encode() + b"\0"

    def text(value: str, width: int) -> bytes:
        return value.encode("ascii").ljust(width, b"\0")

    before = text(name, 100) + octal(0o644, 8) + octal(0, 8) + octal(0, 8) + octal(size, 12) + octal(0, 12)
    after = b"0" + bytes(100) + b"ustar\x0000" + bytes(80) + text(prefix, 155) + bytes(12)
    checksum = sum(before) + sum(after) + 8 * ord(" ")
    return before + f"{checksum:06o}".encode() + b"\0 " + after


def padding(size: int) -> bytes:
    """What fills a member's last block."""
    return bytes(-size % BLOCK)


def total(manifest: int, members: Sequence[Member]) -> int:
    """Bytes of the whole archive."""
    sizes = [manifest, *(member.size for member in members)]
    return sum(BLOCK + size + -size % BLOCK for size in sizes) + len(END)


def encode(bundle: Bundle) -> bytes:
    """The manifest."""
    members = bundle.to_dict()["members"]
    return json.dumps({"format": "mshub-bundle", "version": VERSION, "members": members}, indent=1).encode() + b"\n"


def _parse_manifest(data: bytes, path: Path) -> Bundle:
    """The bundle a manifest describes; it must be written as `write` writes it.

    Raises:
        IntegrityError: It is no manifest, of another version, or contradicts itself.
    """
    try:
        stated = json.loads(data)
        version = stated["version"] if stated["format"] == "mshub-bundle" else None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise broken(path, "the manifest cannot be read", type(error).__name__) from error
    if type(version) is int and version > VERSION:
        raise IntegrityError(
            "the bundle has a newer format than this mshub_ssd knows",
            where=str(path),
            expected=f"version {VERSION}",
            got=f"version {version}",
            hint="pip install --upgrade mshub_ssd",
        )
    try:
        bundle = Bundle(path, tuple(_parse_member(item) for item in stated["members"]))
        same = version == VERSION and encode(bundle) == data
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise broken(path, "the manifest describes something that is no member", str(error)[:200]) from error
    if not same:
        raise broken(path, "the manifest is not as mshub_ssd writes it")
    paths = [member.path for member in bundle.members]
    if paths != sorted(set(paths)):
        raise broken(path, "the manifest names a member twice, or in a wrong order")
    if sum(member.size for member in bundle.members if member.is_card) > _MAX_CARDS:
        raise broken(path, "the cards are too large")
    served = {uid for member in bundle.members if not member.is_card for uid in member.uids}
    if not bundle.uids or served != set(bundle.uids):
        odd = sorted(served ^ set(bundle.uids))
        raise broken(path, "not every card has a file, or not every file a card", ", ".join(odd[:3]) or "no cards")
    return bundle


def _parse_member(item: Any) -> Member:
    member = Member(item["path"], item["size"], item["sha256"], tuple(item["uids"]))
    kinds = [type(member.path), type(member.size), type(member.sha256), *map(type, member.uids)]
    if kinds[:3] != [str, int, str] or set(kinds[3:]) != {str}:
        raise ValueError("a field of a wrong type")
    if member.size < 0 or not is_digest(member.sha256, whole=True):
        raise ValueError(f"size {member.size}, sha256 {member.sha256!r}")
    if list(member.uids) != sorted(set(member.uids)) or not all(map(travels, member.uids)):
        raise ValueError(f"uids {member.uids!r}")
    if member.is_card:
        fits = member.path == f"cards/{member.uids[0]}.md" and len(member.uids) == 1 and member.size <= _MAX_CARD
    else:
        fits = member.path == f"files/{member.sha256}" and member.size <= _MAX_FILE
    if not fits:
        raise ValueError(f"path {member.path!r}")
    return member


def travels(uid: str) -> bool:
    """Whether a registry lists a card of that name; it takes a readme for a readme."""
    return valid_uid(uid) and uid.rpartition("/")[2].lower() != "readme"


class Archive:
    """A bundle being read, from its start to its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._stream = io.BufferedReader(open_regular(path))
        except NotRegularError:
            raise broken(path, "this is no regular file") from None
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from error
        try:
            self.bundle = self._open()
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def broken(self, message: str, got: str | None = None) -> IntegrityError:
        """The error for what is no bundle of ours."""
        return broken(self._path, message, got)

    @contextlib.contextmanager
    def member(self, member: Member, advance: Advance) -> Iterator[Body]:
        """The next member's bytes; at the end of the block they were read and verified to the last one."""
        block = self.read(BLOCK)
        if block != header(member.path, member.size):
            raise self._foreign(block, member)
        body = Body(self, member, advance)
        yield body
        while body.read(CHUNK):
            pass
        if any(self.read(-member.size % BLOCK)):
            raise self.broken(f"there are bytes behind the member {member.path}")

    def finish(self) -> None:
        """Refuse anything behind the last member."""
        if self.read(len(END)) != END or self._stream.read(1):
            raise self.broken("the archive does not end after its last member")

    def read(self, count: int) -> bytes:
        """So many bytes.

        Raises:
            IntegrityError: There are fewer, or they cannot be read.
        """
        try:
            data = self._stream.read(count)
        except OSError as error:
            raise unreadable(self._path, error) from error
        if len(data) != count:
            raise self.broken("the archive is cut off")
        return data

    def _open(self) -> Bundle:
        try:
            size = os.fstat(self._stream.fileno()).st_size
            head = self._stream.read(BLOCK)
        except OSError as error:
            raise unreadable(self._path, error) from error
        length = _stated_size(head)
        if length > _MAX_MANIFEST or head != header(MANIFEST, max(length, 0)):
            raise self.broken("this is no bundle", _kind(head))
        bundle = _parse_manifest(self.read(length), self._path)
        if any(self.read(-length % BLOCK)):
            raise self.broken("there are bytes behind the manifest")
        expected = total(length, bundle.members)
        if size != expected:
            what = "cut off" if size < expected else "longer than its members"
            raise self.broken(f"the archive is {what}", f"{size} bytes, not {expected}")
        return bundle

    def _foreign(self, block: bytes, member: Member) -> IntegrityError:
        return self.broken(f"another member stands where the manifest calls for {member.path}", _kind(block))


class Body(io.RawIOBase):
    """The bytes of one member; the last read compares them with the manifest."""

    def __init__(self, archive: Archive, member: Member, advance: Advance) -> None:
        super().__init__()
        self.name = member.path
        self._archive, self._member, self._advance = archive, member, advance
        self._left = member.size
        self._hasher = hashlib.sha256()

    def read(self, count: int = -1) -> bytes:
        """The next bytes, none at the end.

        Raises:
            IntegrityError: They are not those of the manifest.
        """
        count = self._left if count < 0 else min(count, self._left)
        data = self._archive.read(count)
        self._hasher.update(data)
        self._left -= count
        self._advance(count)
        # Together with the last bytes, so that nobody has them all before they are verified.
        if not self._left and self._hasher.hexdigest() != self._member.sha256:
            raise IntegrityError(
                "a member is not the one the manifest promises",
                where=f"{self._member.path} in {self._archive.bundle.path}",
                expected=f"sha256 {self._member.sha256}",
                got=f"sha256 {self._hasher.hexdigest()}",
                hint="copy the bundle again, or make it anew",
            )
        return data


def _stated_size(head: bytes) -> int:
    try:
        return int(head[124:135], 8)
    except ValueError:
        return -1


def _kind(block: bytes) -> str | None:
    """What an archive's header stands for, in words."""
    if len(block) < BLOCK or block[257:262] != b"ustar":
        return "no header of a tar archive"
    name = block[:100].rstrip(b"\0").decode("ascii", "backslashreplace")
    kind = _KINDS.get(block[156:157], "")
    return f"{kind} named {name!r}" if kind else f"a member named {name!r}, of {_stated_size(block)} bytes"


def broken(path: Path, message: str, got: str | None = None) -> IntegrityError:
    """The error for what is no bundle of ours."""
    return IntegrityError(
        f"the bundle cannot be used: {message}",
        where=str(path),
        expected="a file written by `mshub bundle`, unchanged",
        got=got,
        hint="copy it again, or make it anew: mshub bundle UID... -o FILE",
    )


def unreadable(path: Path, error: OSError | ValueError) -> IntegrityError:
    """The error for a file that cannot be read."""
    reason = getattr(error, "strerror", None) or str(error)
    return IntegrityError(f"the file cannot be read: {reason}", where=str(path), hint="check the path")
