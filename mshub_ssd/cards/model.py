"""What a model card says, as frozen objects.

A card is data: nothing here opens a file or a connection. `mshub_ssd.cards.parse` builds the objects, with the
place of every field in `Card.spans`.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urljoin

from mshub_ssd.cards.fields import FORMS
from mshub_ssd.cards.names import version_key
from mshub_ssd.errors import CardError
from mshub_ssd.redaction import ENCODE, ambiguous, hide
from mshub_ssd.schemes import STORES, fault_of_store, is_store, is_url

__all__ = [
    "DIGEST",
    "Asset",
    "Card",
    "FrozenDict",
    "Metric",
    "NetworkRef",
    "Span",
    "Version",
]

DIGEST = re.compile(r"[0-9a-f]{8,64}")
"""A SHA-256 in small letters, or the first digits of one."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_NO_SECRETS = "correct the asset-link; who may read it is told to fsspec, by the environment or its files"
# A NUL would make the file system raise a bare ValueError; a backslash is a folder's end on some systems.
_NO_LINK = re.compile(r"[\x00-\x1f\x7f\\]")


class Version(str):
    """A version number as the card writes it; equal as text, ordered by its numbers.

    ``Version("1.9") < Version("1.10") < Version("2.3rc1") < Version("2.3") < Version("2.3.0")``
    """

    __slots__ = ()

    def key(self) -> tuple[Any, ...]:
        """Sorting key; see `mshub_ssd.cards.names.version_key`."""
        return version_key(self)

    def __lt__(self, other: str) -> bool:
        return version_key(self) < version_key(other) if isinstance(other, str) else NotImplemented

    def __le__(self, other: str) -> bool:
        return version_key(self) <= version_key(other) if isinstance(other, str) else NotImplemented

    def __gt__(self, other: str) -> bool:
        return version_key(self) > version_key(other) if isinstance(other, str) else NotImplemented

    def __ge__(self, other: str) -> bool:
        return version_key(self) >= version_key(other) if isinstance(other, str) else NotImplemented


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FrozenDict(Mapping[str, Any]):
    """A mapping that cannot be changed, but copied and pickled (a mappingproxy cannot)."""

    _items: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_items", dict(self._items))

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


class Span(NamedTuple):
    """A place in the card's text; lines and columns count from 1, columns in characters, the end is exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Metric:
    """One published figure, e.g. ``Metric("mAP", 25.17)``; the value is as the card writes it, not scaled.

    Attributes:
        spread: What stands behind ``±``, None where the card gives none.
    """

    name: str
    value: float
    spread: float | None = None

    def __repr__(self) -> str:
        spread = "" if self.spread is None else f", {self.spread!r}"
        return f"Metric({self.name!r}, {self.value!r}{spread})"

    def __str__(self) -> str:
        spread = "" if self.spread is None else f" \u00b1 {self.spread:.15g}"
        return f"{self.name} {self.value:.15g}{spread}"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of a model.

    Attributes:
        file_format: ``ckpt``, ``safetensors``, …; None where the card does not say.
        url: The link as written, without ``<>``: a url, or a path relative to the card. See `Card.resolve`.
        sha256: Lower-case digest (64 hex digits, or a prefix of at least 8), None where the card gives none.
            Other text is kept as it stands; whoever loads the file refuses it.
        size: Number of bytes, None where the card does not say.
    """

    file_format: str | None
    url: str
    sha256: str | None
    size: int | None = None

    @property
    def sha256_digits(self) -> int | None:
        """Hex digits of the SHA-256 that the card gives; fewer than 64 prove little. None where it gives none."""
        return len(self.sha256) if self.sha256 and DIGEST.fullmatch(self.sha256.lower()) else None

    def to_dict(self) -> dict[str, Any]:
        """The asset as JSON-ready values."""
        named = {name: getattr(self, name) for name in self.__slots__}
        return {**named, "sha256_digits": self.sha256_digits}

    def __repr__(self) -> str:
        from mshub_ssd.cards.showing import asset_line

        return asset_line(self)


@dataclass(frozen=True, slots=True)
class NetworkRef:
    """The architecture a card asks for by its ``network:`` key, and arguments of the constructor."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=FrozenDict)


@dataclass(frozen=True, slots=True)
class Card:
    """A model card.

    Texts are None, and tuples empty, where the card does not say.

    Attributes:
        uid: Path of the card in its registry without ``.md``; the file's stem outside of one.
        title: Heading of the card.
        task: ``object-detection``, ``image-classification``, …; the field, ``computer-vision``, where no more can be
            told, and None where not even that. See `mshub_ssd.cards.tasks`.
        module_type: The raw text; what it says of the task comes before anything else.
        input_shape: Numbers, or one tuple of numbers per input.
        mindspore_version: Text (``1.10`` stays ``1.10``) that is ordered as a version.
        metrics: Published figures, in the card's order.
        classes: Names of the classes without background, where they are not the data set's own.
        body: Everything after the front matter, as it stands in the file.
        extra: Keys this library does not know, and known ones whose value it could not read, as text.
        origin: Where the card came from: a path or a url, without secrets.
        path: File the card was read from; None where it is not one of this machine.
        spans: Place of every field. Front matter by path (``asset[0].asset-sha256``), its key with ``:key``
            behind (``asset[0].asset-sha256:key``), other parts as ``:title``, ``:front-matter`` and ``:body``.
    """

    uid: str
    title: str | None = None
    model_name: str | None = None
    backbone_name: str | None = None
    task: str | None = None
    module_type: str | None = None
    fine_tunable: bool | None = None
    input_shape: tuple[Any, ...] | None = None
    model_version: Version | None = None
    mindspore_version: Version | None = None
    datasets: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()
    author: str | None = None
    update_time: datetime.date | None = None
    repo_link: str | None = None
    user_id: str | None = None
    used_for: str | None = None
    assets: tuple[Asset, ...] = ()
    license: str | None = None
    summary: str | None = None
    body: str = ""
    extra: Mapping[str, Any] = field(default_factory=FrozenDict)
    origin: str | None = None
    path: Path | None = None
    network: NetworkRef | None = None
    classes: tuple[str, ...] | None = None
    spans: Mapping[str, Span] = field(default_factory=FrozenDict, repr=False)

    def __repr__(self) -> str:
        from mshub_ssd.cards.showing import line

        return line(self)

    def __str__(self) -> str:
        from mshub_ssd.cards.showing import text

        return text(self)

    def _repr_html_(self) -> str:
        from mshub_ssd.cards.showing import html

        return html(self)

    def to_dict(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """The card as JSON-ready values, without `spans`; urls stand there as in the card, with their passwords.

        Args:
            names: Only these attributes.
        """
        wanted = self.__slots__ if names is None else names
        return {name: _jsonable(getattr(self, name)) for name in wanted if name != "spans"}

    def digest(self) -> str:
        """SHA-256 of all that the card says; where it lies, and how its text is laid out, does not count."""
        told = json.dumps({**self.to_dict(), "path": None, "origin": None}, sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def place(self) -> str:
        """What messages call it: its path, else where it came from, else its uid."""
        return str(self.path or self.origin or self.uid)

    def resolve(self, asset: Asset) -> Path | str:
        """Where an asset lies: its url, http(s) or an object store's, or the path of a file in the card's folder.

        Pure arithmetic on names: that the file exists, and that no symbolic link leads out of the folder, is for
        the reader of the file to check. A card that came from a url has its files there, on the same host.

        Raises:
            CardError: The link is neither, or leads out of the card's folder.
        """
        link = asset.url
        if _NO_LINK.search(link):
            raise self._bad_link(asset, "holds a backslash or a control character")
        if _SCHEME.match(link):
            scheme, _, rest = link.partition(":")
            host = re.split(r"[/?#]", rest[2:], maxsplit=1)[0] if rest.startswith("//") else ""
            if scheme.lower() not in {"http", "https", *STORES}:
                raise self._bad_link(asset, f"has the scheme {scheme.lower()}:")
            if not host or " " in link:
                raise self._bad_link(asset, "names no host" if not host else "holds a space")
            if scheme.lower() in STORES:
                if fault := fault_of_store(link, file=True):
                    raise self._bad_link(asset, fault, _NO_SECRETS)
            elif ambiguous(link):
                raise self._bad_link(asset, "has a user or password that is not percent-encoded", ENCODE)
            return link
        parts = link.split("/")
        if link.startswith("/"):
            raise self._bad_link(asset, "is an absolute path")
        if ".." in parts:
            raise self._bad_link(asset, "leads out of the card's folder")
        if parts[-1] in {"", "."}:
            raise self._bad_link(asset, "names a folder")
        if self.path is not None:
            return self.path.parent.joinpath(*parts)
        origin = self.origin or ""
        if is_store(origin):  # whose keys are taken as they stand
            return f"{origin.rpartition('/')[0]}/{'/'.join(part for part in parts if part not in ('', '.'))}"
        if is_url(origin):
            # A file's name may hold what would end a url's path.
            return urljoin(origin, f"./{quote(link)}")
        raise self._bad_link(
            asset,
            "is relative, and this card lies in no folder",
            "unpack its archive, or check its repository out, and name that folder in MSHUB_REGISTRY",
        )

    def _bad_link(self, asset: Asset, fault: str, hint: str = "correct the asset-link") -> CardError:
        place = next(
            (self.spans.get(f"asset[{index}].asset-link") for index, known in enumerate(self.assets) if known == asset),
            None,
        )
        where = self.place
        error = CardError(
            f"the asset-link {fault}",
            where=f"{where}:{place.line}:{place.column}" if place else where,
            expected=FORMS["file_link"],
            got=repr(hide(asset.url)),
            hint=hint,
        )
        if place:
            error.line, error.column = place.line, place.column
        return error


def _jsonable(value: Any) -> Any:
    if isinstance(value, Asset):
        return value.to_dict()
    if isinstance(value, (Metric, NetworkRef)):
        return {name: _jsonable(getattr(value, name)) for name in value.__slots__}
    if isinstance(value, Mapping):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, (Path, Version)):
        return str(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value
