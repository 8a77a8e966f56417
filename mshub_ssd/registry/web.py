"""A registry in its static form on a server; see `mshub_ssd.registry.static`.

The root is believed as the server's word, once a minute; everything else is held against the digests that it names.
What was fetched is kept in the cache. An answer is of one revision: parts never change, so it is finished with those
of the root it was begun with, or begun again with another.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from typing import TypeVar
from urllib.parse import urlsplit

from mshub_ssd import store
from mshub_ssd.cards import is_card_name, valid_uid
from mshub_ssd.errors import CardError, IntegrityError, OfflineError, TransferError, UsageError
from mshub_ssd.files import read_regular, unfinished
from mshub_ssd.redaction import redact
from mshub_ssd.registry import static
from mshub_ssd.registry.shelf import Shelf
from mshub_ssd.registry.source import Entry
from mshub_ssd.registry.static import Part, Root, Shard
from mshub_ssd.settings import Settings
from mshub_ssd.terminal import Bar, counted

__all__ = ["SECONDS", "Web"]

_log = logging.getLogger("mshub_ssd.registry")

SECONDS = 60.0
"""For so long an answer of the server about its root holds, for all processes with the same cache."""

_CONNECTIONS = 8  # for many small files
_ATTEMPTS = 2  # at a root that is here already, in another state maybe
_BEGINNINGS = 3  # of one answer, while the registry changes
_OPEN = 1 << 25  # bytes of cards that are kept expanded
_UNUSED = 24 * 3600  # seconds after which a part that the root does not name may go

Result = TypeVar("Result")


@dataclass(frozen=True)
class _State:
    """A root that is here, and what is known about it.

    Attributes:
        data: Its bytes.
        root: What it says.
        validator: What tells the server that it is here.
        checked: When the server was asked last, as a time of day.
    """

    data: bytes
    root: Root
    validator: store.Validator
    checked: float


@dataclass(frozen=True)
class _Batch:
    """What parts that are fetched together share.

    Attributes:
        stop: Ends them all.
        clients: Their connections.
    """

    stop: threading.Event
    clients: store.Clients


class Web:
    """A registry in its static form, as a `Source`.

    Args:
        url: Of the folder with ``index.json``, or of that file.
        settings: For the cache, the network and the like.
        seconds: For how long the root is not asked for again; 0 to ask each time.

    Raises:
        UsageError: The url has a query or a fragment.
    """

    kind = "index"

    def __init__(self, url: str, settings: Settings, *, seconds: float = SECONDS) -> None:
        parts = urlsplit(url)
        if parts.query or parts.fragment:
            raise UsageError(
                "a registry's url has no query and no fragment",
                where=redact(url),
                expected=f"https://HOST/PATH/, where {static.ROOT} lies",
            )
        self._base = url.removesuffix(static.ROOT).rstrip("/") + "/"
        self._settings, self._seconds = settings, seconds
        self.label = redact(self._base)
        self.key = f"index:{self.label}"
        self._lock = threading.RLock()
        self._state: _State | None = None
        self._answered: float | None = None
        self._shelf = Shelf(self.key, settings.homes)
        self._told = False
        self._memory: dict[str, bytes] = {}
        self._open: OrderedDict[Part, Shard] = OrderedDict()
        self._looked = threading.local()

    def entries(self) -> Iterator[Entry]:
        """See `Source.entries`; fetches all parts that are not here yet.

        Raises:
            TransferError: The server cannot be asked, or lacks what its root names.
            IntegrityError: It sends something else.
            OfflineError: Parts are missing here, and the network is forbidden.
        """
        # Now, and not bit by bit: the memo is for the thread that asks, whichever threads take the entries.
        self._looked.revision, found = self._consistently(self._all)
        return iter(found)

    def memo(self) -> str:
        """See `Source.memo`: the revision of the last look in this thread."""
        return getattr(self._looked, "revision", "")

    def unchanged(self, memo: str) -> bool:
        """See `Source.unchanged`; asks the server if that was long enough ago."""
        return memo == self._root().revision

    def looked(self) -> float | None:
        """See `Source.looked`: when the server answered."""
        return self._answered

    def age(self) -> float | None:
        """Seconds since the server was asked; None if no root is here."""
        with self._lock:
            return None if (state := self._here()) is None else time.time() - state.checked

    def refresh(self) -> bool:
        """Ask the server for its root now; whether it is another one.

        Raises:
            MshubError: It does not give one.
        """
        with self._lock:
            before = self._here()
            return self._root(anew=True).revision != (before and before.root.revision)

    def find(self, uid: str) -> Entry | None:
        """See `Source.find`: the root and one part, or two where there are many thousands of cards."""
        if not valid_uid(uid) or not is_card_name(f"{uid.rpartition('/')[2]}.md"):
            return None

        def look(root: Root) -> Entry | None:
            part = root.parts.of(static.bits_of(uid))
            if root.paged:
                part = self._page(part).of(static.bits_of(uid))
            stamp = self._shard(part).stamps.get(uid)
            return None if stamp is None else _entry(uid, part, stamp)

        return self._consistently(look)

    def read(self, entry: Entry) -> bytes:
        """See `Source.read`; the very state of the card that the entry is of.

        Raises:
            MshubError: Its part is neither here nor to be had any more.
        """
        digest, size, prefix = entry.place.split(" ")
        text = self._shard(Part(prefix, digest, int(size))).texts.get(entry.uid)
        if text is None:
            raise CardError("the registry has no such card", where=self.origin(entry), hint="mshub list")
        return text

    def origin(self, entry: Entry) -> str:
        """See `Source.origin`: where the card's file would be beside the root."""
        return f"{self.label}{entry.uid}.md"

    def path(self, entry: Entry) -> None:
        """See `Source.path`: there is none."""

    def close(self) -> None:
        """See `Source.close`."""
        with self._lock:
            self._open.clear()

    def _consistently(self, ask: Callable[[Root], Result]) -> Result:
        """An answer from one root: where parts of it cannot be had, from the one that may be there by now."""
        root = self._root()
        for _ in range(_BEGINNINGS):
            try:
                return ask(root)
            except OfflineError:
                raise
            except (TransferError, IntegrityError) as error:
                failure = error
            try:
                now = self._root(anew=True)
            except (TransferError, IntegrityError) as error:
                _log.info("%s: %s", self.label, error.message)
                break
            if now.revision == root.revision:
                break
            root = now
        raise failure

    def _root(self, *, anew: bool = False) -> Root:
        """The root: the one that is here if the server was asked lately, else the server's.

        Raises:
            TransferError: The server cannot be asked, and there is none here; or it was to be asked anew.
            IntegrityError: What it sends is none.
            OfflineError: There is none here, and the network is forbidden.
        """
        with self._lock:
            state, now = self._here(), time.time()
            if state is not None and not anew and 0 <= now - state.checked < self._seconds:
                return state.root
            if state is not None and self._settings.offline:
                if not self._told:
                    self._told = True
                    _log.info("offline: %s as it was at %s", self.label, _time(state.checked))
                return state.root
            try:
                data, validator = store.read_changed(
                    self._base + static.ROOT,
                    max_bytes=static.MAX_ROOT,
                    # Who asks anew doubts what is here; a server may say the same of two states.
                    known=None if state is None or anew else state.validator,
                    anew=anew,
                    attempts=None if state is None else _ATTEMPTS,
                    settings=self._settings,
                )
            except TransferError as error:
                if state is None or anew:
                    raise
                _log.warning(
                    "the registry cannot be asked, these are its cards as they were at %s: %s: %s",
                    *(_time(state.checked), self.label, error.got or error.message),
                )
                self._state = replace(state, checked=now)  # not asked again at once; other processes do
                return state.root
            if data is not None or state is None:
                state = _State(data or b"", self._parsed(data or b""), validator, now)
            self._state = replace(state, checked=now)
            self._answered = now
            self._keep_root(self._state)
            return self._state.root

    def _parsed(self, data: bytes) -> Root:
        try:
            return static.read_root(data)
        except ValueError as error:
            newer = isinstance(error, static.NewerFormatError)
            raise IntegrityError(
                f"this is no root of a registry that can be used: {error}",
                where=f"{self.label}{static.ROOT}",
                expected="what `mshub registry build` writes",
                got=None if newer else f"{len(data)} bytes, beginning {data[:40]!r}",
                hint="pip install -U mshub_ssd" if newer else "check the address; behind a portal, log in",
            ) from None

    def _here(self) -> _State | None:
        """The root that is here: in this process, else in the cache."""
        if self._state is None and (folder := self._shelf.folder) is not None:
            try:
                stored = json.loads(read_regular(folder / "root.json", 2 * static.MAX_ROOT, follow=False))
                data = stored["root"].encode()
                state = _State(data, static.read_root(data), store.Validator(**stored["validator"]), stored["checked"])
                _time(state.checked)
                self._state, self._answered = state, state.checked
            except FileNotFoundError:
                pass
            except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
                _log.info("what is kept of %s cannot be used: %s", self.label, error)
        return self._state

    def _keep_root(self, state: _State) -> None:
        told = {"root": state.data.decode(), "validator": asdict(state.validator), "checked": state.checked}
        self._shelf.keep("root.json", json.dumps(told).encode())

    def _stored(self, part: Part) -> bytes | None:
        """A part that is here, and is what its name says."""
        data = self._memory.get(part.digest)
        if data is None:
            data = self._shelf.read(part.name, static.MAX_PART)
        return data if data is not None and hashlib.sha256(data).hexdigest() == part.digest else None

    def _part(self, part: Part, read: Callable[[bytes], Result], batch: _Batch | None = None) -> Result:
        """What a part says, that is here or is fetched; kept once it was verified and read."""
        data = stored = self._stored(part)
        if data is None:
            try:
                data = store.read_expected(
                    self._base + part.name,
                    part.digest,
                    part.size,
                    settings=self._settings,
                    stop=None if batch is None else batch.stop,
                    clients=None if batch is None else batch.clients,
                )
            except (IntegrityError, TransferError) as error:
                other = "is not what" if isinstance(error, IntegrityError) else "cannot be had, which"
                raise type(error)(
                    f"a part of the registry {other} its {static.ROOT} names",
                    where=error.where,
                    expected=error.expected,
                    got=error.got,
                    hint=f"try again in a minute; if the server is yours, upload parts/ before {static.ROOT}",
                ) from error
        try:
            result = read(data)
        except ValueError as error:
            raise IntegrityError(
                f"a part of the registry makes no sense: {error}",
                where=self.label + part.name,
                expected="what `mshub registry build` writes",
                hint="tell whoever runs this registry: mshub registry build writes it anew",
            ) from None
        if stored is None and not self._shelf.keep(part.name, data):
            self._memory[part.digest] = data
        return result

    def _page(self, part: Part, batch: _Batch | None = None) -> static.Parts:
        return self._part(part, lambda data: static.read_page(data, part), batch)

    def _names(self, part: Part, batch: _Batch | None = None) -> dict[str, str]:
        """Uid → stamp of the cards in a part; of one that is to be fetched, the texts are looked at, too."""
        return self._part(part, lambda data: static.read_shard(data, part, texts=batch is not None).stamps, batch)

    def _shard(self, part: Part) -> Shard:
        with self._lock:
            found = self._open.get(part)
            if found is not None:
                self._open.move_to_end(part)
                return found
        found = self._part(part, lambda data: static.read_shard(data, part))
        with self._lock:
            self._open[part] = found
            while len(self._open) > 1 and sum(map(_weight, self._open.values())) > _OPEN:
                self._open.popitem(last=False)
        return found

    def _all(self, root: Root) -> tuple[str, list[Entry]]:
        """The revision of a root, and all cards of it."""
        pages, parts = list(root.parts.all), list[Part]()
        for one in self._each(pages, self._page) if root.paged else [root.parts]:
            parts += one.all
        found = [
            _entry(uid, part, stamp)
            for part, names in zip(parts, self._each(parts, self._names), strict=True)
            for uid, stamp in names.items()
        ]
        if len(found) != root.cards:
            raise IntegrityError(
                "the registry has another number of cards than its root says",
                where=f"{self.label}{static.ROOT}",
                expected=counted(root.cards, "card"),
                got=str(len(found)),
                hint="tell whoever runs this registry: mshub registry build writes it anew",
            )
        found.sort(key=lambda entry: entry.uid)
        self._forget({part.digest for part in (*pages, *parts)})
        return root.revision, found

    def _each(self, parts: Sequence[Part], read: Callable[..., Result]) -> list[Result]:
        """What parts say; those that are missing are fetched, several at once."""
        found: dict[str, Result] = {}
        missing: dict[str, Part] = {}
        for part in parts:
            if self._stored(part) is not None:
                found[part.digest] = read(part)
            else:
                missing[part.digest] = part
        if missing:
            size = sum(part.size for part in missing.values())
            _log.info("fetching %s (%s bytes) of %s", counted(len(missing), "part"), f"{size:,}", self.label)
            stop = threading.Event()
            with (
                store.keeping_connections(self._settings) as clients,
                Bar(f"cards of {urlsplit(self.label).hostname}", size) as bar,
                ThreadPoolExecutor(_CONNECTIONS) as pool,
            ):
                batch = _Batch(stop, clients)
                futures = {pool.submit(read, part, batch): part for part in missing.values()}
                try:
                    for future in as_completed(futures):
                        found[futures[future].digest] = future.result()
                        bar.advance(futures[future].size)
                except BaseException:
                    stop.set()
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
        return [found[part.digest] for part in parts]

    def _forget(self, named: Iterable[str]) -> None:
        """Remove parts that the root has not named for a day; other processes may still read with one before it."""
        keep, old = set(named), time.time() - _UNUSED
        for digest in set(self._memory) - keep:
            self._memory.pop(digest, None)
        if (folder := self._shelf.folder) is None:
            return
        with contextlib.suppress(OSError):
            for inner in (folder / "parts").iterdir():
                for path in inner.iterdir():
                    with contextlib.suppress(OSError):
                        if (unfinished(path.name) or path.stem not in keep) and path.stat().st_mtime < old:
                            path.unlink()


def _entry(uid: str, part: Part, stamp: str) -> Entry:
    return Entry(uid, f"{part.digest} {part.size} {part.prefix}", stamp)


def _weight(shard: Shard) -> int:
    return sum(map(len, shard.texts.values()))


def _time(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
