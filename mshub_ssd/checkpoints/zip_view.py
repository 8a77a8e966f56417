"""The members of a zip file without compression, as views of its bytes.

Checkpoints of PyTorch store their members as they are. A file that compresses, encrypts, repeats, misplaces or
overlaps any is refused, so all members together have no more bytes than the file. `zipfile` reads the directory; where
a member's bytes begin, which it does not tell, is read here.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass

from mshub_ssd.checkpoints.content import DamagedError, shown

__all__ = ["Member", "checked", "stored_members"]

_ENTRY, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
_MAX_MEMBERS = 100_000
_UTF8, _ENCRYPTED = 1 << 11, 1 << 0


@dataclass(frozen=True, slots=True)
class Member:
    """One member.

    Attributes:
        content: Its bytes.
        crc: CRC-32 that the directory promises.
        start: Where its own header begins in the file.
        end: Where its bytes end.
    """

    content: memoryview
    crc: int
    start: int
    end: int


def checked(name: str, member: Member) -> memoryview:
    """The bytes of a member, compared with their CRC-32.

    Raises:
        DamagedError: They differ.
    """
    if zlib.crc32(member.content) != member.crc:
        raise DamagedError(f"the CRC-32 of its member {shown(name)} does not fit the content")
    return member.content


def stored_members(content: bytes) -> dict[str, Member]:
    """All members of a zip file by name.

    Args:
        content: The whole file.

    Raises:
        DamagedError: It is no zip file, is damaged, or holds anything but plainly stored members.
    """
    count = content.count(_ENTRY)
    if count > _MAX_MEMBERS:  # before zipfile makes an object of each
        raise DamagedError(f"it has {count:,} members, more than {_MAX_MEMBERS:,}")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries, directory = archive.infolist(), archive.start_dir
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OverflowError) as error:
        raise DamagedError("its directory of members is missing or damaged; is the file cut short?") from error
    view, free = memoryview(content), 0
    members: dict[str, Member] = {}
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        name = entry.orig_filename
        if name in members:
            raise DamagedError(f"two members are called {shown(name)}")
        member = members[name] = _member(view, entry)
        if member.start < free:
            raise DamagedError("its members overlap")
        free = member.end
    if free > directory:
        raise DamagedError("its members overlap its directory")
    return members


def _member(view: memoryview, entry: zipfile.ZipInfo) -> Member:
    name, size, offset = entry.orig_filename, entry.file_size, entry.header_offset
    parts = name.split("/")
    if not name or "\\" in name or "\0" in name or ".." in parts or parts[0] == "":
        raise DamagedError(f"its member {shown(name)} would lie outside of the archive")
    if entry.flag_bits & _ENCRYPTED:
        raise DamagedError(f"its member {shown(name)} is encrypted")
    if entry.compress_type != zipfile.ZIP_STORED:
        raise DamagedError(f"its member {shown(name)} is compressed, which no checkpoint's is")
    if size != entry.compress_size:
        raise DamagedError(f"its member {shown(name)} has two different sizes")
    if not 0 <= offset <= len(view) - 30 or view[offset : offset + 4] != _LOCAL:
        raise DamagedError(f"its member {shown(name)} is not where the directory says")
    name_length, extra_length = struct.unpack_from("<2H", view, offset + 26)
    start = offset + 30 + name_length + extra_length
    if bytes(view[offset + 30 : offset + 30 + name_length]) != name.encode(
        "utf-8" if entry.flag_bits & _UTF8 else "cp437"
    ):
        raise DamagedError(f"its member {shown(name)} has another name in its own header")
    if start + size > len(view):
        raise DamagedError(
            f"it ends early: its member {shown(name)} has {size:,} bytes, {len(view) - start:,} are left"
        )
    return Member(view[start : start + size], entry.CRC, offset, start + size)
