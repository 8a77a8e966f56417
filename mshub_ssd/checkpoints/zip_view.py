"""The members of a zip file without compression, as views of its bytes.

Checkpoints of PyTorch store their members as they are. A file that compresses, encrypts, repeats, misplaces or
overlaps any is refused, so all members together have no more bytes than the file.
"""

from __future__ import annotations

import struct
import zlib

from mshub_ssd.checkpoints.content import DamagedError, shown

__all__ = ["Member", "checked", "stored_members"]

_END = b"PK\x05\x06"
_END64 = b"PK\x06\x06"
_LOCATOR64 = b"PK\x06\x07"
_ENTRY = b"PK\x01\x02"
_LOCAL = b"PK\x03\x04"
_MAX_MEMBERS = 100_000
_MAX_COMMENT = 0xFFFF
# In a 32-bit field: the value stands in the zip64 record.
_FULL32 = 0xFFFFFFFF
_UTF8, _ENCRYPTED = 1 << 11, 1 << 0


class Member:
    """One member.

    Attributes:
        content: Its bytes.
        crc: CRC-32 that the directory promises.
        start: Where its own header begins in the file.
        end: Where its bytes end.
    """

    __slots__ = ("content", "crc", "end", "start")

    def __init__(self, content: memoryview, crc: int, start: int, end: int) -> None:
        self.content = content
        self.crc = crc
        self.start = start
        self.end = end


def checked(name: str, member: Member) -> memoryview:
    """The bytes of a member, compared with their CRC-32.

    Raises:
        DamagedError: They differ.
    """
    if zlib.crc32(member.content) != member.crc:
        raise DamagedError(f"the CRC-32 of its member {shown(name)} does not fit the content")
    return member.content


def stored_members(view: memoryview) -> dict[str, Member]:
    """All members of a zip file by name.

    Args:
        view: The whole file.

    Raises:
        DamagedError: It is no zip file, is damaged, or holds anything but plainly stored members.
    """
    count, size, directory = _directory(view)
    if count > _MAX_MEMBERS:
        raise DamagedError(f"it has {count:,} members, more than {_MAX_MEMBERS:,}")
    at, end = directory, directory + size
    if end > len(view):
        raise DamagedError("its directory of members lies beyond its end")
    members: dict[str, Member] = {}
    for _ in range(count):
        name, member, at = _entry(view, at, end)
        if name in members:
            raise DamagedError(f"two members are called {shown(name)}")
        members[name] = member
    free = 0
    for member in sorted(members.values(), key=lambda member: member.start):
        if member.start < free:
            raise DamagedError("its members overlap")
        free = member.end
    if free > directory:
        raise DamagedError("its members overlap its directory")
    return members


def _directory(view: memoryview) -> tuple[int, int, int]:
    """Number of members, and size and offset of the central directory."""
    tail_start = max(0, len(view) - _MAX_COMMENT - 22)
    tail = bytes(view[tail_start:])
    found = tail.rfind(_END)
    if found < 0 or len(tail) - found < 22:
        raise DamagedError("its directory of members is missing; is the file cut short?")
    disk, first_disk, here, count, size, offset, _ = struct.unpack_from("<4H2IH", tail, found + 4)
    at = tail_start + found - 20
    if at >= 0 and view[at : at + 4] == _LOCATOR64:
        (record,) = struct.unpack_from("<Q", view, at + 8)
        if record + 56 > len(view) or view[record : record + 4] != _END64:
            raise DamagedError("its zip64 directory record is not where it should be")
        disk, first_disk, here, count, size, offset = struct.unpack_from("<2I4Q", view, record + 16)
    if disk or first_disk or here != count:
        raise DamagedError("it is one part of a divided zip file")
    return count, size, offset


def _entry(view: memoryview, at: int, end: int) -> tuple[str, Member, int]:
    if at + 46 > end or view[at : at + 4] != _ENTRY:
        raise DamagedError("its directory of members is damaged")
    flags, method = struct.unpack_from("<2H", view, at + 8)
    crc, packed, size, name_length, extra_length, comment_length = struct.unpack_from("<3I3H", view, at + 16)
    (offset,) = struct.unpack_from("<I", view, at + 42)
    extra_at = at + 46 + name_length
    following = extra_at + extra_length + comment_length
    if following > end:
        raise DamagedError("its directory of members is damaged")
    raw_name = bytes(view[at + 46 : extra_at])
    name = _name(raw_name, flags)
    if flags & _ENCRYPTED:
        raise DamagedError(f"its member {shown(name)} is encrypted")
    if method != 0:
        raise DamagedError(f"its member {shown(name)} is compressed, which no checkpoint's is")
    size, packed, offset = _zip64(view[extra_at : extra_at + extra_length], size, packed, offset)
    if size != packed:
        raise DamagedError(f"its member {shown(name)} has two different sizes")
    return name, _member(view, offset, size, crc, name, raw_name), following


def _name(raw: bytes, flags: int) -> str:
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "ascii")
    except UnicodeDecodeError as error:
        raise DamagedError("the name of a member is not readable") from error
    parts = name.split("/")
    if not name or "\\" in name or "\0" in name or ".." in parts or parts[0] == "":
        raise DamagedError(f"its member {shown(name)} would lie outside of the archive")
    return name


def _zip64(extra: memoryview, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Sizes and offset, those too large for their fields taken from the zip64 record."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        at += 4
        if kind == 1:
            values = list(struct.unpack_from(f"<{min(length, len(extra) - at) // 8}Q", extra, at))
            try:
                size = values.pop(0) if size == _FULL32 else size
                packed = values.pop(0) if packed == _FULL32 else packed
                offset = values.pop(0) if offset == _FULL32 else offset
            except IndexError as error:
                raise DamagedError("a zip64 record is too short") from error
            break
        at += length
    return size, packed, offset


def _member(view: memoryview, offset: int, size: int, crc: int, name: str, raw_name: bytes) -> Member:
    if offset + 30 > len(view) or view[offset : offset + 4] != _LOCAL:
        raise DamagedError(f"its member {shown(name)} is not where the directory says")
    name_length, extra_length = struct.unpack_from("<2H", view, offset + 26)
    start = offset + 30 + name_length + extra_length
    if bytes(view[offset + 30 : offset + 30 + name_length]) != raw_name:
        raise DamagedError(f"its member {shown(name)} has another name in its own header")
    if start + size > len(view):
        raise DamagedError(
            f"it ends early: its member {shown(name)} has {size:,} bytes, {len(view) - start:,} are left"
        )
    return Member(view[start : start + size], crc, offset, start + size)
