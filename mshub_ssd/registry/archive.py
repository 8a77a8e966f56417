"""A zip or tar archive of cards as a `Source`: read where it lies, nothing is unpacked.

Its members' names are only compared, never used as paths, and links in it are never followed. A zip, and a tar that is
not compressed, give one card without reading the others. A compressed tar is read through once in a process; its
cards then lie in a file that has no name and is gone with the process.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import re
import stat
import struct
import tarfile
import tempfile
import threading
import time
import weakref
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO

from mshub_ssd.cards import is_card_name, valid_uid
from mshub_ssd.errors import CardError, UsageError
from mshub_ssd.files import open_regular
from mshub_ssd.registry.rows import is_version
from mshub_ssd.registry.source import ENDINGS, OFFICIAL, TICK, Entry, Lost

__all__ = ["Archive"]

_MEMBERS = 1_000_000
_UNPACKED = 4 << 30  # most bytes that a compressed tar may become
_KEPT = 512 << 20  # most bytes of cards in one
_PIECE = 1 << 20  # most bytes that a header of a tar may want at once
_TABLES = 8  # archives whose tables a process keeps
_OFFICIAL = re.compile(rf"(?:[^/]+/)?{OFFICIAL}/")
_LOCAL = struct.Struct("<4s22xHH")  # of a zip: what stands before each member
_DAMAGED = (
    *(EOFError, OSError, ValueError, OverflowError, RuntimeError, NotImplementedError, RecursionError, struct.error),
    *(zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, zipfile.LargeZipFile),
)


@dataclass(frozen=True, slots=True)
class _Member:
    """Where the bytes of a card are; `method` is None where they are as they stand, in the archive or the file kept."""

    offset: int
    stored: int
    size: int
    method: int | None = None
    crc: int = 0


@dataclass
class _Table:
    """What an archive holds, as of one state of its file."""

    state: str
    sure: bool  # whether another state of the file would be told from this one
    found: dict[str, Entry | Lost] = field(default_factory=dict)
    members: dict[str, _Member] = field(default_factory=dict)
    kept: IO[bytes] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


_tables: OrderedDict[str, _Table] = OrderedDict()
_keeping = threading.Lock()


class Archive:
    """An archive of cards as a `Source`; of one of the official hub, the cards in it.

    A single folder around everything is left out of the uids, as the archives of GitHub and Gitee have it; versions
    right below it tell that it is a publisher's.

    Args:
        path: The archive.

    Raises:
        UsageError: It is no regular file that can be read.
    """

    kind = "archive"

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self.label = str(path)
        self.key = f"archive:{self._path.resolve()}"
        self._last: _Table | None = None
        try:
            open_regular(self._path).close()
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error

    def entries(self) -> Iterator[Entry | Lost]:
        """See `Source.entries`."""
        return iter(self._table().found.values())

    def memo(self) -> str:
        """See `Source.memo`: the state of the archive's file."""
        return self._last.state if self._last is not None and self._last.sure else ""

    def unchanged(self, memo: str) -> bool:
        """See `Source.unchanged`."""
        try:
            return bool(memo) and _state(self._path.stat()) == memo
        except OSError as error:
            raise self._unusable(error) from error

    def looked(self) -> None:
        """See `Source.looked`: each question looks."""

    def find(self, uid: str) -> Entry | None:
        """See `Source.find`."""
        found = self._table().found.get(uid)
        return found if isinstance(found, Entry) else None

    def read(self, entry: Entry) -> bytes:
        """See `Source.read`; of too large a card as much as shows that."""
        # Imported late: listing needs no parser.
        from mshub_ssd.cards import MAX_BYTES

        try:
            with open_regular(self._path) as stream:
                table = self._last
                if table is None or _state(_status(stream)) != table.state:
                    table = self._table()
                member = table.members.get(entry.place)
                if member is None:
                    raise EOFError("it is no longer in the archive")
                if table.kept is not None:
                    with table.lock:
                        return _stored(table.kept, member, MAX_BYTES)
                return _stored(stream, member, MAX_BYTES)
        except _DAMAGED as error:
            raise CardError(
                f"cannot read the card: {_reason(error)}",
                where=self.origin(entry),
                expected="an archive that is whole",
                hint="get the archive again",
            ) from error

    def origin(self, entry: Entry) -> str:
        """See `Source.origin`."""
        return f"{self.label}:{entry.place}"

    def path(self, entry: Entry) -> None:
        """See `Source.path`."""

    def close(self) -> None:
        """See `Source.close`."""

    def _table(self) -> _Table:
        """What the archive holds now."""
        try:
            state = _state(self._path.stat())
            with _keeping:
                table = _tables.get(self.key)
            if table is None or table.state != state or not table.sure:
                with open_regular(self._path) as stream:
                    table = _read_table(self.label, stream)
                with _keeping:
                    _tables[self.key] = table
                    _tables.move_to_end(self.key)
                    while len(_tables) > _TABLES:
                        _tables.popitem(last=False)
        except _DAMAGED as error:
            raise self._unusable(error) from error
        self._last = table
        return table

    def _unusable(self, error: BaseException) -> UsageError:
        return UsageError(
            f"an archive of model cards cannot be read: {_reason(error)}",
            where=self.label,
            expected=f"a whole archive, {', '.join(ENDINGS)}",
            hint="get it again, or take it out of MSHUB_REGISTRY or `mshub registry`",
        )


def _read_table(label: str, stream: io.FileIO) -> _Table:
    status = _status(stream)
    sure = max(status.st_mtime_ns, status.st_ctime_ns) < time.time_ns() - TICK
    table = _Table(_state(status), sure)
    head = stream.read(6)
    stream.seek(0)
    if label.lower().endswith(".zip") or head.startswith((b"PK\3\4", b"PK\5\6")):
        rows = _zip_members(stream)
    elif head.startswith(b"\x1f\x8b"):
        rows = _packed_members(stream, gzip.open, table)
    elif head.startswith(b"\xfd7zXZ\0"):
        rows = _packed_members(stream, lzma.open, table)
    else:
        rows = _tar_members(_Guarded(io.BufferedReader(stream), None), None)
    # A name that comes twice means the last one, as it does to who unpacks the archive.
    known = {name: (member, stamp) for name, member, stamp in rows if is_card_name(name.rpartition("/")[2])}
    root = _root(known)
    for name, (member, stamp) in sorted(known.items()):
        uid = name.removeprefix(root).removesuffix(".md")
        if not name.startswith(root) or not valid_uid(uid):
            continue
        if isinstance(member, _Member):
            table.members[name] = member
            table.found[uid] = Entry(uid, name, stamp)
        else:
            table.found[uid] = Lost(uid, f"{label}:{name}", member)
    return table


def _root(names: Iterable[str]) -> str:
    """What stands before the uids in the names of cards."""
    official = sorted({found[0] for name in names if (found := _OFFICIAL.match(name))}, key=len)
    if official:
        return official[0]
    parts = [name.split("/") for name in names]
    tops = {part[0] if len(part) > 1 else "" for part in parts}
    if len(tops) != 1 or "" in tops or any(len(part) > 2 and is_version(part[1]) for part in parts):
        return ""
    return f"{tops.pop()}/"


def _clean(name: str) -> str:
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name


Row = tuple[str, "_Member | str", str]
"""Name of a member; where its bytes are, or why they cannot be had; its stamp."""


def _zip_members(stream: io.FileIO) -> Iterator[Row]:
    with zipfile.ZipFile(stream) as archive:
        if len(archive.infolist()) > _MEMBERS:
            raise ValueError(f"it has more than {_MEMBERS:,} members")
        for info in archive.infolist():
            name = _clean(info.filename)
            kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0
            what: _Member | str = _Member(
                info.header_offset, info.compress_size, info.file_size, info.compress_type, info.CRC
            )
            if info.is_dir():
                continue
            if kind not in (0, stat.S_IFREG):
                what = _not_read(kind == stat.S_IFLNK)
            elif info.flag_bits & 1:
                what = "it is encrypted"
            elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                what = f"it is compressed by the method {info.compress_type}, and not by deflate"
            yield name, what, f"{info.CRC:08x}-{info.file_size}"


def _packed_members(packed: io.FileIO, unpacked: Callable[[Any], Any], table: _Table) -> Iterator[Row]:
    kept = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the table
    table.kept = kept
    weakref.finalize(table, kept.close)
    with unpacked(packed) as stream:
        guarded = _Guarded(stream, _UNPACKED)
        yield from _tar_members(guarded, kept)
        while guarded.read(_PIECE):  # the sum at the end tells whether all of it was right
            pass


def _tar_members(stream: _Guarded, kept: IO[bytes] | None) -> Iterator[Row]:
    """The members of a tar, whose cards' bytes are kept elsewhere if they cannot be had from the archive directly."""
    from mshub_ssd.cards import MAX_BYTES

    count = 0
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        while (info := archive.next()) is not None:
            vars(archive)["members"] = []  # a tar may have very many
            count += 1
            if count > _MEMBERS:
                raise ValueError(f"it has more than {_MEMBERS:,} members")
            name = _clean(info.name)
            if info.isdir() or not is_card_name(name.rpartition("/")[2]):
                continue
            if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.issparse():
                yield name, _not_read(info.issym() or info.islnk()), ""
                continue
            stream.seek(info.offset_data)
            data = stream.read(min(info.size, MAX_BYTES + 1))
            if len(data) < min(info.size, MAX_BYTES + 1):
                raise EOFError("it ends too early")
            stamp = f"{hashlib.sha256(data).hexdigest()}-{info.size}"
            if kept is None:
                yield name, _Member(info.offset_data, info.size, info.size), stamp
                continue
            at = kept.tell()
            if at + len(data) > _KEPT:
                raise ValueError(f"its cards have more than {_KEPT:,} bytes")
            kept.write(data)
            yield name, _Member(at, len(data), len(data)), stamp
    if stream.last.strip(b"\0"):
        raise tarfile.ReadError("it ends in what is no header")
    if len(stream.last) < tarfile.BLOCKSIZE:
        raise EOFError("it ends too early")


def _not_read(link: bool) -> str:
    return "it is a link, and links in archives are not followed" if link else "it is no regular file"


def _stored(stream: IO[bytes], member: _Member, most: int) -> bytes:
    """The bytes of a member, of one that is too large as many as show that."""
    offset = member.offset
    if member.method is not None:
        stream.seek(offset)
        magic, name, extra = _LOCAL.unpack(_exactly(stream, _LOCAL.size))
        if magic != b"PK\3\4":
            raise ValueError("the archive is damaged where the card should begin")
        offset += _LOCAL.size + name + extra
    stream.seek(offset)
    if member.method != zipfile.ZIP_DEFLATED:
        data = _exactly(stream, min(member.stored, most + 1))
    else:
        # What cannot be made smaller grows by some thousandths.
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(min(member.stored, 2 * most)), most + 1)
    if len(data) > most:
        return data
    if len(data) != member.size or (member.method is not None and zlib.crc32(data) != member.crc):
        raise ValueError("its bytes in the archive are damaged")
    return data


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError("the archive ends too early")
    return data


class _Guarded(io.RawIOBase):
    """A stream that gives nothing of it too much at once, and not too much of it; no header makes that happen."""

    def __init__(self, stream: BinaryIO | io.BufferedIOBase, limit: int | None) -> None:
        self._stream: Any = stream
        self._limit = limit
        self.last = b""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _PIECE + 1:
            raise ValueError("a header in it wants too much")
        self._check(self._stream.tell() + size)
        self.last = self._stream.read(size)
        return self.last

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < 0:
            raise ValueError("a header in it is damaged")
        self._check(offset)
        return int(self._stream.seek(offset))

    def tell(self) -> int:
        return int(self._stream.tell())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def _check(self, end: int) -> None:
        if self._limit is not None and end > self._limit + _PIECE:
            raise ValueError(f"it becomes more than {self._limit:,} bytes")


def _status(stream: io.FileIO) -> os.stat_result:
    return os.fstat(stream.fileno())


def _state(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}"


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
