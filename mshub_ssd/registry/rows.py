"""What the index keeps of a card: what lists and filters show, and the text that is searched."""

from __future__ import annotations

import functools
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mshub_ssd.registry.words import fold, spelled, squeezed, tokens

if TYPE_CHECKING:
    from mshub_ssd.cards import Card

__all__ = [
    "FACETS",
    "Judge",
    "Row",
    "Shown",
    "Verdict",
    "called",
    "family_of",
    "is_version",
    "order_of",
    "row_of",
    "version_order",
]

FACETS = ("task", "dataset", "backbone", "publisher", "mindspore_version", "network")
"""What models are filtered by."""

_PARTS = re.compile(r"[a-z]+|[0-9]+")
_DIGITS = re.compile(r"([0-9]+)")
_ATOM = re.compile(r"([0-9]+)|([^\W\d_]+)")
_VERSION = re.compile(r"v?[0-9]+(\.[0-9]+)*(rc[0-9]+)?|master|latest")
_SHOWN = ("title", "task", "datasets", "metrics", "backbone_name", "mindspore_version", "update_time")


class Verdict(NamedTuple):
    """Whether a card can be loaded here, and as what.

    Attributes:
        network: Architecture key, None if the card means none that is known.
        obstacle: Why it cannot be loaded, None if it can.
        file: The file beside the card that it needs; that it is there is looked at anew each time.
        kind: Equal for cards of the very same network with the same arguments and classes.
    """

    network: str | None
    obstacle: str | None
    file: str | None = None
    kind: str | None = None


class Judge(Protocol):
    """Who knows what can be loaded: rooms that the registry does not know."""

    @property
    def fingerprint(self) -> str:
        """Another one whenever a card may be judged differently."""

    def __call__(self, card: Card) -> Verdict:
        """Judge a card by its text."""


@dataclass(frozen=True)
class Shown:
    """A card as lists show it.

    Attributes:
        uid: Its uid.
        family: One model in all its versions: the uid without them.
        error: Why the card cannot be read; then the rest is missing.
        loadable: Whether it can be loaded; None where nobody can tell.
        network: Architecture key.
        obstacle: Why it cannot be loaded.
        size: Bytes of its first asset, where the card says.
        facts: title, task, datasets, metrics, backbone_name, mindspore_version and update_time, JSON-ready.
        versions: So many cards of the family were found with it.
    """

    uid: str
    family: str
    error: str | None = None
    loadable: bool | None = None
    network: str | None = None
    obstacle: str | None = None
    size: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    versions: int = 1


@dataclass(slots=True)  # frozen ones take much longer to make, and there are many
class Row:
    """A card as the index keeps it."""

    uid: str
    family: str
    order: bytes
    age: bytes
    updated: str
    size: int | None
    facts: str
    verdict: Verdict | None
    facets: tuple[tuple[str, str], ...]
    name: str
    title: str
    summary: str
    lead: str
    named: str
    about: str
    body: str
    spelled: frozenset[str]

    @property
    def best(self) -> bytes:
        """What is greatest for the best card of a family: one that can be loaded, then the newest."""
        loadable = self.verdict is not None and self.verdict.obstacle is None
        tie = zlib.crc32(self.uid.encode()).to_bytes(4, "big")
        return b"".join([b"\1" if loadable else b"\0", self.age or b"\0", self.updated.encode(), b"\0", tie])

    def to_list(self) -> list[Any]:
        """The row as JSON takes it."""
        values = [getattr(self, name) for name in self.__slots__]
        return [
            value.decode("latin-1")
            if isinstance(value, bytes)
            else list(value)
            if isinstance(value, frozenset)
            else value
            for value in values
        ]

    @classmethod
    def from_list(cls, values: Sequence[Any]) -> Row:
        """The row that `to_list` was asked for."""
        told = dict(zip(cls.__slots__, values, strict=True))
        for name in ("order", "age"):
            told[name] = told[name].encode("latin-1")
        told["verdict"] = told["verdict"] and Verdict(*told["verdict"])
        told["facets"] = tuple((facet, text) for facet, text in told["facets"])
        told["spelled"] = frozenset(told["spelled"])
        return cls(**told)


def row_of(card: Card, judge: Judge | None) -> Row:
    """What is kept of a card."""
    from mshub_ssd.cards import search_words

    verdict = None if judge is None else judge(card)
    version = str(card.mindspore_version or "")
    publisher = card.uid.split("/")[0] if "/" in card.uid else ""
    named = card.network.name if card.network else None
    network = (verdict and verdict.network) or named
    backbones = [name for name in (card.backbone_name, named) if name]
    backbones += [word for name in backbones for word in re.split(r"[_\-\s]", name)]
    facets = {
        "task": [card.task],
        "dataset": card.datasets,
        "backbone": backbones,
        "publisher": [publisher],
        "mindspore_version": [version],
        "network": [network],
    }
    names = [text for text in (card.uid, card.model_name, card.backbone_name, network) if text]
    others = [text for text in (card.title, card.module_type, *card.datasets) if text]
    about = [*others, *search_words(card.task)]
    return Row(
        uid=card.uid,
        family=family_of(card.uid),
        order=order_of(card.uid),
        age=version_order(_uid_version(card.uid) or version),
        updated=card.update_time.isoformat() if card.update_time else "",
        size=card.assets[0].size if card.assets else None,
        facts=json.dumps(card.to_dict(_SHOWN), ensure_ascii=False, separators=(",", ":")),
        verdict=verdict,
        facets=tuple((kind, text) for kind, texts in facets.items() for text in dict.fromkeys(texts) if text),
        name=_both(names),
        title=_both(others),
        summary=fold(card.summary or ""),
        lead=" ".join(dict.fromkeys(_leads(card))),
        named=" ".join(dict.fromkeys([*tokens(" ".join(names)), *_PARTS.findall(fold(" ".join(names)))])),
        about=" ".join(word for text in about for word in _seen(text).tokens),
        body=" ".join(tokens(" ".join([card.summary or "", card.body]))),
        spelled=frozenset[str]().union(*(_seen(text).spelled for text in (*names, *about))),
    )


def family_of(uid: str) -> str:
    """One model in all its versions: its uid without the parts that are versions."""
    parts = uid.split("/")
    kept = [part for part in parts[:-1] if not is_version(part)]
    return "/".join([*kept, parts[-1]])


def is_version(part: str) -> bool:
    """Whether a part of a uid is a version."""
    return _VERSION.fullmatch(part.lower()) is not None


def order_of(uid: str) -> bytes:
    """A uid as bytes that sort naturally: 1.9 before 1.10."""
    return b"\0".join(_natural(part) for part in uid.split("/"))


def version_order(version: str) -> bytes:
    """A version as bytes that sort as `mshub_ssd.cards.version_key` does: 1.9 < 1.10, and 2.3rc1 < 2.3 < 2.3.0."""
    atoms = [b"\3" + _number(digits) if digits else b"\1" + word.lower().encode() for digits, word in _atoms(version)]
    return b"".join([*atoms, b"\2" if atoms else b""])


def _atoms(version: str) -> list[tuple[str, str]]:
    return _ATOM.findall(version)


def _natural(text: str) -> bytes:
    pieces = _DIGITS.split(text.lower())
    encoded = [b"\2" + _number(piece) if at % 2 else piece.encode() for at, piece in enumerate(pieces)]
    return b"".join(encoded) + b"\1" + text.encode()


def _number(digits: str) -> bytes:
    stripped = digits.lstrip("0")
    # The length first, as text that sorts; a uid holds 200 letters at most, a version is cut.
    return f"{min(len(stripped), 999):03d}{stripped[:999]}".encode()


def _uid_version(uid: str) -> str:
    return next((part for part in reversed(uid.split("/")[:-1]) if is_version(part)), "")


def called(task: str, text: str) -> bool:
    """Whether a folded text is part of the words by which people look for a task."""
    from mshub_ssd.cards import search_words

    return any(text in form for word in search_words(task) for form in (fold(word), squeezed(word)))


def _both(texts: list[str]) -> str:
    """Texts as they are written, and without what people leave out."""
    return "\n".join(dict.fromkeys(form for text in texts for form in _seen(text).forms))


class _Seen(NamedTuple):
    forms: tuple[str, str]
    tokens: tuple[str, ...]
    spelled: frozenset[str]


@functools.lru_cache(maxsize=4096)
def _seen(text: str) -> _Seen:
    """A text as it is searched; many cards share what their task and data sets are called."""
    return _Seen((fold(text), squeezed(text)), tuple(tokens(text)), frozenset(spelled([text])))


def _leads(card: Card) -> list[str]:
    """What a model is called, without its data set."""
    last = card.uid.rsplit("/", 1)[-1]
    names = [last, last.split("_")[0], card.model_name or ""]
    return [word for name in names if (word := squeezed(name))]
