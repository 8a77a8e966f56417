"""The static form of a registry: files that any web server can serve, and that never change but for one.

    index.json                  the root: the revision, how many cards there are, and the parts that hold them
    parts/ab/ab12….part         a part, named by the SHA-256 of its bytes: zlib of some cards, or of a list of parts

Cards are told apart by 64 bits: 32 of the hash of the last word of their uid, so that the versions of a model lie
together, where they compress well; then 32 of the hash of the whole uid. A part holds the cards whose bits begin with
its prefix; one that would be too large is two, of one bit more. So the parts follow from the cards alone, a card that
changes changes one of them, and a uid says which one it is in. A root that would name too many parts names pages,
which do. The revision is the digest of the root's own content, and with it of all cards.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from mshub_ssd.cards import is_card_name, valid_uid

__all__ = [
    "MAX_PART",
    "MAX_ROOT",
    "ROOT",
    "NewerFormatError",
    "Part",
    "Parts",
    "Root",
    "Shard",
    "bits_of",
    "encode_pages",
    "encode_root",
    "encode_shard",
    "read_page",
    "read_root",
    "read_shard",
    "split",
    "stamp_of",
]

ROOT = "index.json"
"""Name of the root."""

MAX_ROOT = 1 << 22
"""Most bytes of a root: enough for a hundred million cards."""

MAX_PART = 1 << 24
"""Most bytes of a part, compressed or not; but for cards of more than a hundredth of it, parts are far smaller."""

_FORMAT, _VERSION = "mshub-registry", 1
_BITS = 64
_SHARD = 1 << 17  # bytes of cards in a part: some 16 KB compressed
_FAN = 256  # parts that a root or a page names
_STAMP = 16  # hex digits
_LEVEL = 9

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PREFIX = re.compile(r"[01]{0,64}", re.ASCII)

T = TypeVar("T")


class NewerFormatError(ValueError):
    """A root of a version that is not known here."""


class Part(NamedTuple):
    """A part as a root or a page names it.

    Attributes:
        prefix: Bits that those of its cards begin with.
        digest: SHA-256 of its bytes.
        size: Number of its bytes.
    """

    prefix: str
    digest: str
    size: int

    @property
    def name(self) -> str:
        """Its path beside the root."""
        return f"parts/{self.digest[:2]}/{self.digest}.part"

    @property
    def first(self) -> int:
        """The lowest bits that it is about."""
        return int(self.prefix.ljust(_BITS, "0"), 2)


class Parts:
    """Parts that share all cards, or those of a prefix, among them, in the order of their bits.

    Raises:
        ValueError: They leave some out, or overlap.
    """

    def __init__(self, parts: Iterable[Part], within: str = "") -> None:
        self.all = tuple(parts)
        at = int(within.ljust(_BITS, "0"), 2)
        end = at + (1 << _BITS - len(within))
        self._firsts = []
        for part in self.all:
            if not part.prefix.startswith(within) or part.first != at:
                raise ValueError("its parts are not for all cards, each for its own")
            self._firsts.append(at)
            at += 1 << _BITS - len(part.prefix)
        if at != end:
            raise ValueError("its parts are not for all cards")

    def of(self, bits: int) -> Part:
        """The part for certain bits, which the prefix of all of them begins."""
        return self.all[bisect.bisect_right(self._firsts, bits) - 1]


@dataclass(frozen=True)
class Root:
    """What the root says.

    Attributes:
        revision: Its digest.
        cards: How many there are.
        paged: Whether its parts are pages, which name those with the cards.
        parts: What it names.
    """

    revision: str
    cards: int
    paged: bool
    parts: Parts


@dataclass(frozen=True)
class Shard:
    """A part with cards.

    Attributes:
        stamps: Uid → its card's stamp.
        texts: Uid → its card's bytes; empty if they were not asked for.
    """

    stamps: dict[str, str]
    texts: dict[str, bytes]


def bits_of(uid: str) -> int:
    """What tells which part a card is in."""
    halves = [hashlib.sha256(text.encode()).digest()[:4] for text in (uid.rpartition("/")[2], uid)]
    return int.from_bytes(b"".join(halves), "big")


def stamp_of(text: bytes) -> str:
    """What tells two states of a card apart."""
    return hashlib.sha256(text).hexdigest()[:_STAMP]


def split(
    items: Sequence[T], bits: Callable[[T], int], weigh: Callable[[T], int], most: int = _SHARD, prefix: str = ""
) -> Iterator[tuple[str, Sequence[T]]]:
    """Items in the order of their bits, in groups that weigh no more than allowed; each with its prefix."""
    if len(items) < 2 or len(prefix) == _BITS or sum(map(weigh, items)) <= most:
        yield prefix, items
        return
    middle = int(f"{prefix}1".ljust(_BITS, "0"), 2)
    at = bisect.bisect_left(items, middle, key=bits)
    yield from split(items[:at], bits, weigh, most, f"{prefix}0")
    yield from split(items[at:], bits, weigh, most, f"{prefix}1")


def encode_shard(cards: Iterable[tuple[str, bytes]]) -> bytes:
    """The bytes of a part with cards."""
    # By the last word, then the versions: what is alike lies near.
    ordered = sorted(cards, key=lambda card: (card[0].rpartition("/")[2], card[0]))
    head = _json({"cards": [[uid, len(text), stamp_of(text)] for uid, text in ordered]})
    return zlib.compress(b"".join([head, *(text for _, text in ordered)]), _LEVEL)


def encode_pages(parts: Sequence[Part]) -> Iterator[tuple[str, bytes]]:
    """Pages that name parts: their prefixes and bytes. None where the root can name the parts itself."""
    if len(parts) > _FAN:
        for prefix, some in split(parts, lambda part: part.first, lambda _: 1, _FAN):
            yield prefix, zlib.compress(_json({"parts": [list(part) for part in some]}), _LEVEL)


def encode_root(cards: int, parts: Sequence[Part], *, paged: bool) -> bytes:
    """The bytes of a root."""
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "cards": cards,
        "paged": paged,
        "parts": [list(part) for part in parts],
    }
    return _json({**content, "revision": _revision(content)})


def read_root(data: bytes) -> Root:
    """What a root says.

    Raises:
        NewerFormatError: Of a version that is not known here.
        ValueError: It is none, or was damaged.
    """
    content = _object(data)
    if content.get("format") != _FORMAT:
        raise ValueError("it is no root of a registry")
    told = content.pop("revision", None)
    if told != _revision(content):
        raise ValueError("it was damaged: its content is not that of its revision")
    if content.get("version") != _VERSION:
        raise NewerFormatError(f"it has version {content.get('version')!r}, and this library reads {_VERSION}")
    cards, paged = content.get("cards"), content.get("paged")
    if type(cards) is not int or cards < 0 or type(paged) is not bool:
        raise ValueError("it does not say what a root says")
    return Root(str(told), cards, paged, Parts(_parts(content.get("parts"))))


def read_page(data: bytes, part: Part) -> Parts:
    """The parts that a page names.

    Raises:
        ValueError: It is no such page.
    """
    return Parts(_parts(_object(_expand(data, None)).get("parts")), part.prefix)


def read_shard(data: bytes, part: Part, *, texts: bool = True) -> Shard:
    """The cards of a part whose digest fits.

    Args:
        data: Its bytes.
        part: What names it.
        texts: Whether their texts are wanted, and held against their stamps.

    Raises:
        ValueError: It is no such part.
    """
    head, _, rest = _expand(data, None if texts else b"\n").partition(b"\n")
    rows = _object(head).get("cards")
    stamps, found, at = dict[str, str](), dict[str, bytes](), 0
    begins = int(part.prefix or "0", 2)
    for uid, size, stamp in rows if isinstance(rows, list) else [(None, None, None)]:
        if not isinstance(uid, str) or type(size) is not int or not isinstance(stamp, str) or size < 0 or uid in stamps:
            raise ValueError("it does not say what a part with cards says")
        if not valid_uid(uid) or not is_card_name(f"{uid.rpartition('/')[2]}.md"):
            raise ValueError("it holds what is no uid")
        if bits_of(uid) >> (_BITS - len(part.prefix)) != begins:
            raise ValueError(f"it holds a card that does not belong there: {uid}")
        stamps[uid] = stamp
        if texts:
            found[uid] = rest[at : at + size]
            at += size
            if stamp_of(found[uid]) != stamp:
                raise ValueError(f"a card is not what it says: {uid}")
    if texts and at != len(rest):
        raise ValueError("its cards have other sizes than it says")
    return Shard(stamps, found)


def _expand(data: bytes, until: bytes | None) -> bytes:
    """What was compressed, no more than allowed; or only what comes before a byte, and a bit of what follows."""
    stream = zlib.decompressobj()
    found = bytearray()
    try:
        while not stream.eof and (until is None or until not in found):
            more = stream.decompress(stream.unconsumed_tail or (b"" if found else data), _SHARD)
            if not more and not stream.eof:
                raise ValueError("it ends too early")
            found += more
            if len(found) > MAX_PART:
                raise ValueError(f"it holds more than {MAX_PART} bytes")
    except zlib.error:
        raise ValueError("it is not compressed as parts are") from None
    if stream.unused_data:
        raise ValueError("something follows it")
    return bytes(found)


def _parts(rows: object) -> Iterator[Part]:
    for row in rows if isinstance(rows, list) else [None]:
        prefix, digest, size = row if isinstance(row, list) and len(row) == 3 else (None, None, None)
        if (
            not isinstance(prefix, str)
            or not isinstance(digest, str)
            or type(size) is not int
            or not _PREFIX.fullmatch(prefix)
            or not _DIGEST.fullmatch(digest)
            or not 0 < size <= MAX_PART
        ):
            raise ValueError("it names something that is no part")
        yield Part(prefix, digest, size)


def _revision(content: dict[str, Any]) -> str:
    return hashlib.sha256(_json(content)).hexdigest()


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found
