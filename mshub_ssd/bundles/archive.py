"""The form of a bundle: the manifest, the archive's bytes, and reading them with no trust in either."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from mshub_ssd import foreign
from mshub_ssd.cards import valid_uid
from mshub_ssd.errors import IntegrityError, MshubError, UsageError
from mshub_ssd.files import NotRegularError, open_regular
from mshub_ssd.store import is_digest

__all__ = [
    "CHUNK",
    "END",
    "MANIFEST",
    "Advance",
    "Archive",
    "Bundle",
    "Member",
    "encode",
    "header",
    "inspect",
    "opened",
    "padding",
    "reading",
    "total",
    "travels",
]

MANIFEST = "mshub-bundle.json"
VERSION = 3  # of bundles with code; those without are as they were before there was any
_WITHOUT_CODE, _WITHOUT_GRAPHS = 2, 1

BLOCK = 512
CHUNK = 1 << 20
END = bytes(2 * BLOCK)
_MAX_MANIFEST = 4 << 20  # bytes; some 15,000 members
_MAX_CARD = 1 << 20  # bytes, as for any card
_MAX_CARDS = 256 << 20  # bytes of all cards together: they are held in memory
_MAX_FILE = (8 << 30) - 1  # bytes; a tar header has eleven octal digits
_MAX_GRAPH = 16 << 20  # bytes; a hundred times what the largest one here takes
_MAX_GRAPHS = 64 << 20  # bytes of all graphs together: they are held in memory, too
_MAX_CODE = 256 << 20  # bytes of all code together, likewise

_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.DIRTYPE: "a folder",
    tarfile.FIFOTYPE: "a FIFO",
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
    def kind(self) -> str:
        """``card``, ``checkpoint``, ``graph`` or ``code``."""
        return {"cards": "card", "graphs": "graph", "sources": "code"}.get(self.path.partition("/")[0], "checkpoint")


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
        return tuple(member.uids[0] for member in self.of_kind("card"))

    def of_kind(self, kind: str) -> tuple[Member, ...]:
        """The members of one kind, in their order."""
        return tuple(member for member in self.members if member.kind == kind)

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
    with opened(path) as archive:
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
    info = tarfile.TarInfo(path)  # owner, time and mode are the same for every file
    info.size = size
    try:
        return info.tobuf(tarfile.USTAR_FORMAT, "ascii")
    except ValueError as error:
        raise UsageError(
            "a card's name is too long for a bundle",
            where=path,
            expected="at most 100 characters in its last parts, and 155 before them",
            hint="rename the card",
        ) from error


def padding(size: int) -> bytes:
    """What fills a member's last block."""
    return bytes(-size % BLOCK)


def total(sizes: Iterable[int]) -> int:
    """Bytes of an archive with files of such sizes, the manifest's among them."""
    return sum(BLOCK + size + -size % BLOCK for size in sizes) + len(END)


def encode(bundle: Bundle) -> bytes:
    """The manifest."""
    members = bundle.to_dict()["members"]
    version = _WITHOUT_CODE if bundle.of_kind("graph") else _WITHOUT_GRAPHS
    version = VERSION if bundle.of_kind("code") else version
    return json.dumps({"format": "mshub-bundle", "version": version, "members": members}, indent=1).encode() + b"\n"


def _parse_manifest(data: bytes, path: Path) -> Bundle:
    """The bundle a manifest describes; it must be written as `write` writes it.

    Raises:
        IntegrityError: It is no manifest, of another version, or contradicts itself.
    """
    try:
        stated = json.loads(data)
        version = stated["version"] if stated["format"] == "mshub-bundle" else None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _broken(path, "the manifest cannot be read", type(error).__name__) from error
    if type(version) is int and version > VERSION:
        raise IntegrityError(
            "the bundle has a newer format than this mshub_ssd knows",
            where=str(path),
            expected=f"version {VERSION} at most",
            got=f"version {version}",
            hint="pip install --upgrade mshub_ssd",
        )
    try:
        bundle = Bundle(path, tuple(_parse_member(item) for item in stated["members"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _broken(path, "the manifest describes something that is no member", str(error)[:200]) from error
    if encode(bundle) != data:
        raise _broken(path, "the manifest is not as mshub_ssd writes it")
    paths = [member.path for member in bundle.members]
    if paths != sorted(set(paths)):
        raise _broken(path, "the manifest names a member twice, or in a wrong order")
    for kind, most in (("card", _MAX_CARDS), ("graph", _MAX_GRAPHS), ("code", _MAX_CODE)):
        if sum(member.size for member in bundle.of_kind(kind)) > most:
            raise _broken(path, "the code is too large" if kind == "code" else f"the {kind}s are too large")
    uids = set(bundle.uids)
    odd = sorted({uid for member in bundle.of_kind("checkpoint") for uid in member.uids} ^ uids)
    if odd or not uids:
        raise _broken(path, "not every card has a file, or not every file a card", ", ".join(odd[:3]) or "no cards")
    for kind, name in (("graph", "a graph"), ("code", "code")):
        if odd := sorted({uid for member in bundle.of_kind(kind) for uid in member.uids} - uids):
            raise _broken(path, f"{name} is for a card that is not there", ", ".join(odd[:3]))
    return bundle


def _parse_member(item: Any) -> Member:
    member = Member(item["path"], item["size"], item["sha256"], tuple(item["uids"]))
    texts = {type(member.path), type(member.sha256), *map(type, member.uids)}
    if texts != {str} or type(member.size) is not int or not member.uids:
        raise ValueError("a field of a wrong type")
    if member.size < 0 or not is_digest(member.sha256, whole=True):
        raise ValueError(f"size {member.size}, sha256 {member.sha256!r}")
    if list(member.uids) != sorted(set(member.uids)) or not all(map(travels, member.uids)):
        raise ValueError(f"uids {member.uids!r}")
    own, most = {
        "card": (f"cards/{member.uids[0]}.md", _MAX_CARD),
        "checkpoint": (f"files/{member.sha256}", _MAX_FILE),
        "graph": (f"graphs/{member.sha256}", _MAX_GRAPH),
        "code": (f"sources/{member.sha256}", foreign.MAX_PIECE),
    }[member.kind]
    if member.path != own or member.size > most or (member.kind == "card" and len(member.uids) > 1):
        raise ValueError(f"path {member.path!r}")
    return member


def travels(uid: str) -> bool:
    """Whether a registry lists a card of that name; it takes a readme for a readme."""
    return valid_uid(uid) and uid.rpartition("/")[2].lower() != "readme"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """A bundle, to be read from its start to its end.

    Raises:
        IntegrityError: It cannot be read, or is no bundle.
    """
    with reading(path):
        try:
            stream = io.BufferedReader(open_regular(path))
        except NotRegularError as error:
            raise _broken(path, "this is no regular file") from error
    with stream:
        yield Archive(path, stream)


class Archive:
    """A bundle being read; `opened` makes it."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self._path, self._stream = path, stream
        with reading(path):
            size, head = os.fstat(stream.fileno()).st_size, stream.read(BLOCK)
        found, length = _stands_for(head)
        if not 0 <= length <= _MAX_MANIFEST or head != header(MANIFEST, length):
            raise _broken(path, "this is no bundle", found)
        self.bundle = _parse_manifest(self.read(length), path)
        if any(self.read(-length % BLOCK)):
            raise _broken(path, "there are bytes behind the manifest")
        expected = total([length, *(member.size for member in self.bundle.members)])
        if size != expected:
            said = "the archive is cut off" if size < expected else "the archive is longer than its members"
            raise _broken(path, said, f"{size} bytes, not {expected}")

    @contextlib.contextmanager
    def member(self, member: Member, advance: Advance) -> Iterator[BinaryIO]:
        """The next member's bytes; at the end of the block they were read and verified to the last one."""
        head = self.read(BLOCK)
        if head != header(member.path, member.size):
            said = f"another member stands where the manifest calls for {member.path}"
            raise _broken(self._path, said, _stands_for(head)[0])
        body = _Body(self, member, advance)
        yield cast(BinaryIO, body)  # as far as it is used here
        while body.read(CHUNK):
            pass
        if any(self.read(-member.size % BLOCK)):
            raise _broken(self._path, f"there are bytes behind the member {member.path}")

    def finish(self) -> None:
        """Refuse anything behind the last member."""
        if self.read(len(END)) != END or self._stream.read(1):
            raise _broken(self._path, "the archive does not end after its last member")

    def read(self, count: int) -> bytes:
        """So many bytes.

        Raises:
            IntegrityError: There are fewer, or they cannot be read.
        """
        with reading(self._path):
            data = self._stream.read(count)
        if len(data) != count:
            raise _broken(self._path, "the archive is cut off")
        return data


class _Body:
    """The bytes of one member; the last read compares them with the manifest."""

    def __init__(self, archive: Archive, member: Member, advance: Advance) -> None:
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


def _stands_for(head: bytes) -> tuple[str, int]:
    """What a header of an archive announces, in words, and how many bytes of it; -1 for what is no header."""
    try:
        info = tarfile.TarInfo.frombuf(head, "ascii", "backslashreplace")
    except tarfile.HeaderError:
        return "no header of a tar archive", -1
    kind = _KINDS.get(info.type)
    return f"{kind} named {info.name!r}" if kind else f"a member named {info.name!r}, of {info.size} bytes", info.size


def _broken(path: Path, message: str, got: str | None = None) -> IntegrityError:
    """The error for what is no bundle of ours."""
    return IntegrityError(
        f"the bundle cannot be used: {message}",
        where=str(path),
        expected="a file written by `mshub bundle`, unchanged",
        got=got,
        hint="copy it again, or make it anew: mshub bundle UID... -o FILE",
    )


@contextlib.contextmanager
def reading(
    path: Path, message: str = "the file cannot be read", kind: type[MshubError] = IntegrityError
) -> Iterator[None]:
    """Tell the system's errors about a file that is read as ours."""
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, MshubError):
            raise
        raise kind(
            f"{message}: {getattr(error, 'strerror', None) or error}", where=str(path), hint="check the path"
        ) from error
