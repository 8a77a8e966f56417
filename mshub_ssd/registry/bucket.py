"""Registries in object stores: the static form, an archive, or a folder of cards; which of them, the store tells.

The store is asked once a minute; its word for the state of a file (ETag) tells what changed. What was fetched is kept
in the cache; a store that cannot be reached is told as a warning, with the time of the cards that are shown.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import tempfile
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from mshub_ssd import store
from mshub_ssd.cards import is_card_name, valid_uid
from mshub_ssd.errors import CardError, TransferError, UsageError
from mshub_ssd.files import new_file
from mshub_ssd.redaction import redact
from mshub_ssd.registry import static
from mshub_ssd.registry.archive import Archive
from mshub_ssd.registry.shelf import Shelf
from mshub_ssd.registry.source import ENDINGS, OFFICIAL, Entry, Lost
from mshub_ssd.registry.web import SECONDS, Web
from mshub_ssd.settings import Settings
from mshub_ssd.store import Listed
from mshub_ssd.terminal import Bar, counted

__all__ = ["Bucket"]

_log = logging.getLogger("mshub_ssd.registry")

_CONNECTIONS = 16  # for many small files
_LISTING = "listing.json"
_LARGEST = 1 << 30  # bytes of a listing that is kept, or of an archive
_UNUSED = 24 * 3600  # seconds after which a card that the listing does not name may go


class Bucket:
    """A place in an object store, as a `Source`.

    Args:
        url: ``s3://BUCKET/FOLDER`` of cards or of a static registry, or ``s3://BUCKET/KEY.zip``.
        settings: For the cache, the network and the like.
        seconds: For how long the store is not asked again; 0 to ask each time.

    Raises:
        UsageError: There is no such address.
    """

    def __init__(self, url: str, settings: Settings, *, seconds: float = SECONDS) -> None:
        try:
            store.check_place(url)
        except TransferError as error:
            raise UsageError(
                error.message, where=error.where, expected=error.expected, got=error.got, hint=error.hint
            ) from None
        self._url, self._settings, self._seconds = url.rstrip("/"), settings, seconds
        self.label = redact(url)
        self.key = f"bucket:{self._url}"
        self._lock = threading.RLock()
        packed = self._url.lower().endswith(ENDINGS)
        self._packed = _Packed(self._url, settings, seconds) if packed else None
        self._web, self._cards = Web(self._url, settings, seconds=seconds), _Cards(self._url, settings, seconds)
        self._chosen: Web | _Packed | _Cards | None = self._packed
        self._asked = 0.0
        self.kind = "archive" if packed else "objects"

    def _source(self, *, anew: bool = False) -> Web | _Packed | _Cards:
        """What lies there: as the store says, or if it cannot be asked, as it did."""
        if self._packed is not None:
            return self._packed
        with self._lock:
            if self._chosen is None or anew or time.monotonic() - self._asked >= self._seconds:
                self._chosen, self._asked = self._form(anew=anew), time.monotonic()
                self.kind = self._chosen.kind
            return self._chosen

    def _form(self, *, anew: bool) -> Web | _Cards:
        ages = [(age, one) for one in (self._web, self._cards) if (age := one.age()) is not None]
        age, known = min(ages, key=lambda pair: pair[0], default=(0.0, None))
        if known is not None and (self._settings.offline or (not anew and 0 <= age < self._seconds)):
            return known
        try:
            root = store.exists(f"{self._url}/{static.ROOT}", settings=self._settings)
        except TransferError:
            if known is None or anew:
                raise
            return known
        return self._cards if root is None else self._web

    def entries(self) -> Iterator[Entry | Lost]:
        """See `Source.entries`."""
        return iter(self._source().entries())

    def memo(self) -> str:
        """See `Source.memo`."""
        return self._source().memo()

    def unchanged(self, memo: str) -> bool:
        """See `Source.unchanged`; asks the store if that was long enough ago."""
        return self._source().unchanged(memo)

    def looked(self) -> float | None:
        """See `Source.looked`."""
        return None if self._chosen is None else self._chosen.looked()

    def refresh(self) -> bool:
        """Ask the store now; whether there is something else.

        Raises:
            MshubError: It does not say.
        """
        return self._source(anew=True).refresh()

    def find(self, uid: str) -> Entry | None:
        """See `Source.find`."""
        return self._source().find(uid)

    def read(self, entry: Entry) -> bytes:
        """See `Source.read`."""
        return self._source().read(entry)

    def origin(self, entry: Entry) -> str:
        """See `Source.origin`."""
        return self._source().origin(entry)

    def path(self, entry: Entry) -> None:
        """See `Source.path`: there is none."""

    def close(self) -> None:
        """See `Source.close`."""
        if self._chosen is not None:
            self._chosen.close()


@dataclass(frozen=True)
class _State:
    """What the store said.

    Attributes:
        revision: Another one whenever it says something else.
        checked: When it was asked last, as a time of day.
        cards: uid → (key below the address, stamp).
    """

    revision: str
    checked: float
    cards: dict[str, tuple[str, str]]


class _Asked:
    """What forms have in common that are one listing, or one file's state, at a time."""

    kind = "objects"

    def __init__(self, url: str, settings: Settings, seconds: float) -> None:
        self._url, self._settings, self._seconds = url, settings, seconds
        self.label = redact(url)
        self._shelf = Shelf(f"{self.kind}:{url}", settings.homes)
        self._lock = threading.RLock()
        self._state: _State | None = None
        self._answered: float | None = None
        self._told = False

    def age(self) -> float | None:
        """Seconds since the store was asked; None if nothing of it is here."""
        with self._lock:
            return None if (state := self._here()) is None else time.time() - state.checked

    def memo(self) -> str:
        """See `Source.memo`."""
        with self._lock:
            return "" if self._state is None else self._state.revision

    def unchanged(self, memo: str) -> bool:
        """See `Source.unchanged`."""
        return memo == self._now().revision

    def looked(self) -> float | None:
        """See `Source.looked`."""
        return self._answered

    def refresh(self) -> bool:
        """See `Bucket.refresh`."""
        with self._lock:
            before = self._here()
            return self._now(anew=True).revision != (before and before.revision)

    def _ask(self, known: _State | None) -> _State:
        raise NotImplementedError

    def _now(self, *, anew: bool = False) -> _State:
        """The state that is here if the store was asked lately, else what the store says.

        Raises:
            TransferError: The store cannot be asked, and there is none here; or it was to be asked anew.
            OfflineError: There is none here, and the network is forbidden.
        """
        with self._lock:
            state, now = self._here(), time.time()
            if state is not None and not anew and 0 <= now - state.checked < self._seconds:
                return state
            if state is not None and self._settings.offline:
                if not self._told:
                    self._told = True
                    _log.info("offline: %s as it was at %s", self.label, _time(state.checked))
                return state
            try:
                found = self._ask(state)
            except TransferError as error:
                if state is None or anew:
                    raise
                _log.warning(
                    "the registry cannot be asked, these are its cards as they were at %s: %s: %s",
                    *(_time(state.checked), self.label, error.got or error.message),
                )
                # Not asked again at once; other processes do.
                self._state = _State(state.revision, now, state.cards)
                return self._state
            self._state, self._answered = found, found.checked
            told = {"revision": found.revision, "checked": found.checked, "cards": found.cards}
            self._shelf.keep(_LISTING, json.dumps(told).encode())
            return found

    def _here(self) -> _State | None:
        if self._state is None and (data := self._shelf.read(_LISTING, _LARGEST)) is not None:
            try:
                told = json.loads(data)
                cards = {str(uid): (str(place), str(stamp)) for uid, (place, stamp) in told["cards"].items()}
                self._state = _State(str(told["revision"]), float(told["checked"]), cards)
                self._answered = self._state.checked
                _time(self._state.checked)
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError, OSError) as error:
                self._state = None
                _log.info("what is kept of %s cannot be used: %s", self.label, error)
        return self._state


class _Cards(_Asked):
    """A folder of cards in a store; a checkout of the official hub stands for the cards in it."""

    def entries(self) -> Iterator[Entry | Lost]:
        """See `Source.entries`; fetches all cards that are not here yet."""
        state = self._now()
        found = [Entry(uid, place, stamp) for uid, (place, stamp) in sorted(state.cards.items())]
        lost = self._fetch([one for one in found if one.stamp and self._stored(one) is None])
        self._forget(found)
        return iter([lost.get(one.uid, one) for one in found])

    def find(self, uid: str) -> Entry | None:
        """See `Source.find`."""
        found = self._now().cards.get(uid)
        return None if found is None else Entry(uid, *found)

    def read(self, entry: Entry) -> bytes:
        """See `Source.read`."""
        data = self._stored(entry) if entry.stamp else None
        if data is None:
            try:
                data = self._get(entry)
            except TransferError as error:
                raise CardError(
                    f"cannot read the card: {error.got or error.message}", where=self.origin(entry), hint=error.hint
                ) from error
        return data

    def origin(self, entry: Entry) -> str:
        """See `Source.origin`."""
        return f"{self._url}/{entry.place}"

    def close(self) -> None:
        """See `Source.close`."""

    def _ask(self, known: _State | None) -> _State:
        files = store.listing(self._url, settings=self._settings)
        places = {one.url[len(self._url) + 1 :]: one for one in files}
        named = {place: one for place, one in places.items() if is_card_name(place.rpartition("/")[2])}
        root = f"{OFFICIAL}/" if any(place.startswith(f"{OFFICIAL}/") for place in named) else ""
        cards = {}
        for place, one in named.items():
            uid = place.removeprefix(root).removesuffix(".md")
            hidden = any(step.startswith(".") for step in place.split("/"))
            if place.startswith(root) and valid_uid(uid) and not hidden:
                cards[uid] = (place, one.stamp)
        if not cards:
            raise _nothing(self._url, files)
        told = json.dumps(sorted(cards.items())).encode()
        unsure = any(not stamp for _, stamp in cards.values())
        return _State("" if unsure else hashlib.sha256(told).hexdigest(), time.time(), cards)

    def _get(self, entry: Entry) -> bytes:
        from mshub_ssd.cards import MAX_BYTES

        data = store.read_file(self.origin(entry), MAX_BYTES, settings=self._settings)
        if entry.stamp:
            self._shelf.keep(_name(entry), data)
        return data

    def _stored(self, entry: Entry) -> bytes | None:
        from mshub_ssd.cards import MAX_BYTES

        return self._shelf.read(_name(entry), MAX_BYTES)

    def _fetch(self, missing: list[Entry]) -> dict[str, Lost]:
        """Fetch cards, several at once; those that cannot be had, by their uids."""
        lost: dict[str, Lost] = {}
        if not missing or self._shelf.folder is None:
            return lost
        _log.info("fetching %s of %s", counted(len(missing), "card"), self.label)
        with Bar(f"cards of {self.label}", len(missing), unit="card") as bar:
            pool = ThreadPoolExecutor(_CONNECTIONS)
            futures = {pool.submit(self._get, entry): entry for entry in missing}
            try:
                for future in as_completed(futures):
                    entry = futures[future]
                    try:
                        future.result()
                    except TransferError as error:
                        lost[entry.uid] = Lost(entry.uid, self.origin(entry), str(error.got or error.message))
                    bar.advance(1)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        return lost

    def _forget(self, found: Iterable[Entry]) -> None:
        """Remove cards that the listing has not named for a day."""
        if (folder := self._shelf.folder) is None:
            return
        keep, old = {_name(entry) for entry in found}, time.time() - _UNUSED
        with contextlib.suppress(OSError):
            for path in (folder / "cards").glob("*/*"):
                if f"cards/{path.parent.name}/{path.name}" not in keep and path.stat().st_mtime < old:
                    path.unlink()


class _Packed(_Asked):
    """An archive in a store: fetched as a whole when it is another one, and read where it is kept."""

    kind = "archive"
    _archive: Archive | None = None
    _revision = ""

    def entries(self) -> Iterator[Entry | Lost]:
        """See `Source.entries`."""
        return self._opened().entries()

    def find(self, uid: str) -> Entry | None:
        """See `Source.find`."""
        return self._opened().find(uid)

    def read(self, entry: Entry) -> bytes:
        """See `Source.read`."""
        return self._opened().read(entry)

    def origin(self, entry: Entry) -> str:
        """See `Source.origin`: no address, since nothing lies beside a card in an archive."""
        return f"{entry.place} in {self.label}"

    def close(self) -> None:
        """See `Source.close`."""

    def _ask(self, known: _State | None) -> _State:
        told = store.exists(self._url, settings=self._settings)
        if told is None:
            raise TransferError("there is no such archive", where=self.label, hint="check the address")
        revision = hashlib.sha256(told.stamp.encode()).hexdigest() if told.stamp else ""
        return _State(revision, time.time(), {})

    def _opened(self) -> Archive:
        with self._lock:
            state = self._now()
            if self._archive is None or not state.revision or self._revision != state.revision:
                self._archive, self._revision = Archive(self._file(state)), state.revision
            return self._archive

    def _file(self, state: _State) -> Path:
        ending = next(ending for ending in ENDINGS if self._url.lower().endswith(ending))
        folder = self._shelf.folder
        if folder is None:
            keeper = tempfile.TemporaryDirectory()
            weakref.finalize(self, keeper.cleanup)
            folder = Path(keeper.name)
        path = folder / f"{state.revision[:32] or 'archive'}{ending}"
        if state.revision and path.is_file():
            return path
        with new_file(path) as stream:
            store.digest_of(self._url, allow_private=True, max_bytes=_LARGEST, settings=self._settings, into=stream)
        for other in folder.glob(f"*{ending}"):
            if other != path and other.stat().st_mtime < time.time() - _UNUSED:
                with contextlib.suppress(OSError):
                    other.unlink()
        return path


def _nothing(url: str, files: list[Listed]) -> TransferError:
    return TransferError(
        "there is no card under this address",
        where=redact(url),
        expected=f"NAME.md files, {static.ROOT} of a static registry, or an archive ({', '.join(ENDINGS)})",
        got=f"{counted(len(files), 'file')}, none of them a card" if files else "nothing at all",
        hint="check the address",
    )


def _name(entry: Entry) -> str:
    digest = hashlib.sha256(f"{entry.place}\0{entry.stamp}".encode()).hexdigest()
    return f"cards/{digest[:2]}/{digest}.md"


def _time(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
