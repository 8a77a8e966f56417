"""An index of one source: SQLite with FTS5 in the cache, or in memory where no cache is ours alone to write.

It is refreshed by what changed, in one transaction, so that whoever is killed leaves the state before or after. One
process writes at a time; the others wait, and find the work done. An index that is damaged is thrown away.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd.files import is_private, make_folders
from mshub_ssd.registry.rows import Judge, order_of
from mshub_ssd.registry.source import Entry, Lost, Source
from mshub_ssd.registry.words import deletions
from mshub_ssd.settings import code_state

if TYPE_CHECKING:
    from mshub_ssd.registry.reading import Read
    from mshub_ssd.terminal import Bar

__all__ = ["DAMAGE", "Index", "alone", "discard", "open_index"]

DAMAGE = (sqlite3.Error, UnicodeDecodeError)
"""What a damaged file ends in: Python cannot spell what SQLite quotes of some in its messages."""

_log = logging.getLogger("mshub_ssd.registry")

_SCHEMA_VERSION = 3
_FILE = "cards.sqlite3"
_PATIENCE = 600.0  # seconds to wait for another process that is building the index
_SLOW = 1.0  # seconds after which a terminal is told what is going on
_UNUSED = 30 * 24 * 3600  # seconds after which an index that nobody opened may go
_BATCH = 500
_REMEMBERED = 200_000  # words and values that are known to be in the index without asking it
_CACHE = 32 << 10  # KiB of pages that a new index is built in
_KEPT = 32 << 10  # KiB of pages of an index that is asked
_HASH = 8 << 20  # bytes of words that are put in order at once for it; FTS5's own choice is 1 MiB
# What a new index would not mend: another process at work, a full disk, a file system without locks.
_NOT_MENDED = ("locked", "full", "I/O", "readonly", "memory", "protocol")
# A new row for a card that changed leaves the old one's words behind; beyond this share they are worth a new index.
_WASTE = 0.5

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE model (
    id INTEGER PRIMARY KEY, family TEXT UNIQUE NOT NULL, folded TEXT NOT NULL, last TEXT NOT NULL
);
CREATE INDEX model_last ON model (last);
CREATE TABLE card (
    id INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT UNIQUE NOT NULL, stamp TEXT NOT NULL, model INTEGER, best BLOB,
    sort BLOB NOT NULL, age BLOB NOT NULL, updated TEXT NOT NULL, size INTEGER, lost INTEGER NOT NULL, error TEXT,
    loadable INTEGER, network TEXT, file TEXT, kind TEXT
);
CREATE TABLE told (id INTEGER PRIMARY KEY, obstacle TEXT, facts TEXT NOT NULL);
CREATE TABLE value (id INTEGER PRIMARY KEY, facet TEXT NOT NULL, text TEXT NOT NULL, UNIQUE (facet, text));
CREATE TABLE has (value INTEGER NOT NULL, card INTEGER NOT NULL, PRIMARY KEY (value, card)) WITHOUT ROWID;
CREATE VIRTUAL TABLE names USING fts5 (name, title, summary, content='', columnsize=0, tokenize='trigram');
CREATE VIRTUAL TABLE words USING fts5 (lead, named, about, body, content='', columnsize=0, detail='column',
                                       tokenize="porter unicode61 remove_diacritics 2 tokenchars '.'");
CREATE TABLE spelling (id INTEGER PRIMARY KEY, word TEXT UNIQUE NOT NULL);
CREATE VIRTUAL TABLE spelled USING fts5 (word, content='', columnsize=0, tokenize='trigram');
CREATE TABLE deletion (letters TEXT NOT NULL, word INTEGER NOT NULL, PRIMARY KEY (letters, word)) WITHOUT ROWID;
"""

# What a new index gets once it is filled: sorting all at once takes less time than keeping order.
_ORDERS = """
CREATE INDEX card_sort ON card (sort);
CREATE INDEX card_new ON card (updated DESC, age DESC, sort);
CREATE INDEX card_model ON card (model, best);
CREATE INDEX card_best ON card (id, model, best);
CREATE INDEX card_kind ON card (kind) WHERE kind IS NOT NULL;
CREATE INDEX card_error ON card (error) WHERE error IS NOT NULL;
CREATE INDEX card_file ON card (file) WHERE file IS NOT NULL;
CREATE INDEX has_card ON has (card);
"""


class Index:
    """The cards of one source, as rows.

    Args:
        source: The cards.
        judge: Who says which of them can be loaded; None where nobody asks.
        path: The file; None for memory.
        fresh: There is no such file yet, and nobody else knows of it.
    """

    def __init__(self, source: Source, judge: Judge | None, path: Path | None, *, fresh: bool = False) -> None:
        self.source, self._judge, self.path = source, judge, path
        self.lock = threading.RLock()
        self.db = _create(path) if fresh or path is None else _connect(path)
        # A connection is part of a cycle (of its statements), and would stay open until the collector comes by.
        self._closing = weakref.finalize(self, self.db.close)

    def close(self) -> None:
        """Close the file; done by itself when nobody has the index any more."""
        with self.lock:
            self._closing()

    def refresh(self, *, complete: bool = False) -> None:
        """Take in what changed in the source.

        Args:
            complete: Look at everything, even where nothing seems to have changed.

        Raises:
            MshubError: The source cannot be read.
            sqlite3.Error: The index is damaged, or cannot be written.
        """
        with self.lock:
            memo = self._meta("memo")
            if memo is not None and not complete and self._unchanged(memo):
                return
            try:
                if memo is not None:
                    self._look(memo)
                    return
                with self._writing():
                    if self._meta("memo") is None:
                        self._fill()
            finally:
                self.source.close()

    def _unchanged(self, memo: str) -> bool:
        try:
            return self.source.unchanged(memo)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise sqlite3.DatabaseError(f"what it remembers makes no sense: {error}") from error

    def _look(self, memo: str) -> None:
        found = list(self.source.entries())
        changed, gone = self._compare(found)
        news = self.source.memo()
        if not changed and not gone:
            if news and news != memo:
                with self._writing():
                    self._set_meta("memo", news)
            return
        with self._writing(), _bar(len(changed)) as bar:
            # Somebody else may have done it while we waited.
            changed, gone = self._compare(found)
            self._write(changed, gone, bar.advance)
            self._set_meta("memo", news)

    def _fill(self) -> None:
        """Take in everything, for the first time."""
        for table in ("names", "words"):
            self.db.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('hashsize', ?)", (_HASH,))  # noqa: S608
        with _bar(None) as bar:
            self._write(self.source.entries(), (), bar.advance)
        for statement in filter(str.strip, _ORDERS.split(";")):
            self.db.execute(statement)
        for table in ("names", "words", "spelled"):
            self.db.execute(f"INSERT INTO {table} ({table}) VALUES ('optimize')")  # noqa: S608
        for table in ("names", "words"):
            self.db.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('hashsize', 1048576)")  # noqa: S608
        self._set_meta("memo", self.source.memo())

    def memo(self) -> str:
        """What the source remembers of its last complete look; empty if nothing."""
        with self.lock:
            return self._meta("memo") or ""

    def size(self) -> int | None:
        """Bytes of its files; None in memory."""
        if self.path is None:
            return None
        sizes = 0
        for ending in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                sizes += self.path.with_name(self.path.name + ending).stat().st_size
        return sizes

    def wasted(self) -> float:
        """The share of words that belong to cards that are no more."""
        with self.lock:
            (kept, last) = self.db.execute("SELECT count(*), coalesce(max(id), 0) FROM card").fetchone()
            return 1 - (kept / last) if last > 1000 else 0.0

    def _compare(self, found: Sequence[Entry | Lost]) -> tuple[list[Entry | Lost], set[str]]:
        """What is new or may say something else, and uids that are no more."""
        known: dict[str, str] = dict(self.db.execute("SELECT uid, stamp FROM card"))
        changed: list[Entry | Lost] = []
        for entry in found:
            stamp = entry.stamp if isinstance(entry, Entry) else f"lost: {entry.reason}"
            if known.pop(entry.uid, None) != stamp or not stamp:
                changed.append(entry)
        return changed, set(known)

    def _write(self, changed: Iterable[Entry | Lost], gone: Iterable[str], done: Callable[[int], object]) -> None:
        from mshub_ssd.registry.reading import read_rows  # most questions meet no card that changed

        left = iter(gone)
        while uids := list(itertools.islice(left, _BATCH)):
            self._forget(uids)
        writer = _Writer(self.db, self.source)
        for batch in read_rows(self.source, changed, self._judge):
            self._forget([one.uid for one, _ in batch])
            writer.write(list({one.uid: (one, row) for one, row in batch}.values()))
            done(len(batch))

    def _forget(self, uids: Sequence[str]) -> None:
        known = self.db.execute(
            "SELECT id FROM card WHERE uid IN (SELECT value FROM json_each(?))", (json.dumps(uids),)
        ).fetchall()
        self.db.executemany("DELETE FROM has WHERE card = ?", known)
        self.db.executemany("DELETE FROM told WHERE id = ?", known)
        self.db.executemany("DELETE FROM card WHERE id = ?", known)

    def _meta(self, key: str) -> str | None:
        found = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if found is None else str(found[0])

    def _set_meta(self, key: str, value: str) -> None:
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction; whoever writes at the moment is waited for."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")


class _Writer:
    """Puts rows into an index, many at a time."""

    def __init__(self, db: sqlite3.Connection, source: Source) -> None:
        self._db, self._source = db, source
        # Numbers are never given twice: words of a card that is no more may still stand under its own.
        (last,) = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'card'").fetchone()
        self._next: int = last + 1
        self._values: dict[tuple[str, str], int] = {}
        self._spelled: set[str] = set()

    def write(self, batch: Sequence[Read]) -> None:
        """Put in rows of cards that the index has not."""
        head: tuple[Any, ...]
        cards, told, has = list[tuple[Any, ...]](), list[tuple[Any, ...]](), list[tuple[int, int]]()
        names, words = list[tuple[Any, ...]](), list[tuple[Any, ...]]()
        spelled: dict[str, None] = {}
        for one, row in batch:
            number, self._next = self._next, self._next + 1
            if isinstance(row, str):
                # What lies in something larger may be damaged there: it is read anew when that changes.
                kept = isinstance(one, Entry) and self._source.path(one) is not None
                stamp = f"lost: {row}" if isinstance(one, Lost) else one.stamp if kept else ""
                head = (number, one.uid, stamp, None, None, order_of(one.uid), b"", "", None)
                cards.append((*head, isinstance(one, Lost), row, *[None] * 4))
                if isinstance(one, Lost):
                    told.append((number, one.path, "{}"))
                continue
            assert isinstance(one, Entry)
            verdict = row.verdict
            model = self._model(row.family)
            head = (number, row.uid, one.stamp, model, row.best, row.order, row.age, row.updated, row.size, False, None)
            if verdict is None:
                cards.append((*head, *[None] * 4))
            else:
                cards.append((*head, verdict.obstacle is None, verdict.network, verdict.file, verdict.kind))
            told.append((number, verdict and verdict.obstacle, row.facts))
            has += [(self._value(*facet), number) for facet in row.facets]
            names.append((number, row.name, row.title, row.summary))
            words.append((number, row.lead, row.named, row.about, row.body))
            spelled |= dict.fromkeys(row.spelled - self._spelled)
        self._db.executemany("INSERT INTO card VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", cards)
        self._db.executemany("INSERT INTO told VALUES (?, ?, ?)", told)
        self._db.executemany("INSERT OR IGNORE INTO has VALUES (?, ?)", has)
        self._db.executemany("INSERT INTO names (rowid, name, title, summary) VALUES (?, ?, ?, ?)", names)
        self._db.executemany("INSERT INTO words (rowid, lead, named, about, body) VALUES (?, ?, ?, ?, ?)", words)
        if len(self._spelled) < _REMEMBERED:
            self._spelled |= spelled.keys()
        self._spell(sorted(spelled))

    def _model(self, family: str) -> int:
        number = self._values.get((family, ""))
        if number is None:
            folded = family.lower()
            self._db.execute(
                "INSERT OR IGNORE INTO model (family, folded, last) VALUES (?, ?, ?)",
                (family, folded, folded.rsplit("/", 1)[-1]),
            )
            number = int(self._db.execute("SELECT id FROM model WHERE family = ?", (family,)).fetchone()[0])
            if len(self._values) < _REMEMBERED:
                self._values[family, ""] = number
        return number

    def _value(self, facet: str, text: str) -> int:
        number = self._values.get((facet, text))
        if number is None:
            self._db.execute("INSERT OR IGNORE INTO value (facet, text) VALUES (?, ?)", (facet, text))
            asked = self._db.execute("SELECT id FROM value WHERE facet = ? AND text = ?", (facet, text))
            number = int(asked.fetchone()[0])
            if len(self._values) < _REMEMBERED:
                self._values[facet, text] = number
        return number

    def _spell(self, words: Sequence[str]) -> None:
        for word in words:
            added = self._db.execute("INSERT OR IGNORE INTO spelling (word) VALUES (?)", (word,))
            if added.rowcount:
                self._db.execute("INSERT INTO spelled (rowid, word) VALUES (?, ?)", (added.lastrowid, word))
                rows = [(letters, added.lastrowid) for letters in deletions(word)]
                self._db.executemany("INSERT OR IGNORE INTO deletion VALUES (?, ?)", rows)


_in_memory: dict[str, Index] = {}
_opening = threading.Lock()


def open_index(source: Source, homes: Iterable[Path], judge: Judge | None = None) -> Index:
    """The index of a source, as the source is now.

    Args:
        source: The cards.
        homes: Caches; the first one that is ours alone to write keeps the index. Without one it is kept in memory, as
            long as the process lives.
        judge: Who says what can be loaded.

    Raises:
        MshubError: The source cannot be read.
    """
    name = _name(source, judge)
    for home in homes:
        index = _in_home(home / "index" / name, home, source, judge)
        if index is not None:
            return index
    with _opening:
        index = _in_memory.get(name)
        if index is None:
            index = _in_memory[name] = Index(source, judge, None)
    index.source = source
    index.refresh()
    return index


def _in_home(folder: Path, home: Path, source: Source, judge: Judge | None) -> Index | None:
    try:
        make_folders(folder.parent, 0o700)
        if not is_private(home, folder.parent) or (folder.exists() and not is_private(folder)):
            return None
    except OSError as error:
        _log.debug("no index in %s: %s", folder, error)
        return None
    for attempt in range(2):
        index = None
        try:
            if not (folder / _FILE).is_file():
                _build(folder, source, judge)
            index = Index(source, judge, folder / _FILE)
            index.refresh()
            if index.wasted() > _WASTE:
                raise sqlite3.DatabaseError("half of it is of cards that are no more")
            os.utime(folder)
        except (*DAMAGE, OSError) as error:
            if index is not None:
                index.close()
            told = str(error)
            if attempt or (isinstance(error, sqlite3.OperationalError) and any(word in told for word in _NOT_MENDED)):
                _log.warning("the index of the cards cannot be used, and is made in memory: %s: %s", folder, told)
                return None
            _log.info("the index of the cards is made anew: %s: %s", folder, told)
            discard(folder)
        except BaseException:
            if index is not None:
                index.close()
            raise
        else:
            return index
    return None


def _build(folder: Path, source: Source, judge: Judge | None) -> None:
    """Make an index beside its place, and put it there whole. One process does so; the others wait for it."""
    with alone(folder.with_name(f"{folder.name}.lock")):
        if (folder / _FILE).is_file():  # another one was quicker
            return
        import shutil  # it brings the compressors along

        _remove_unused(folder)
        new = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(new, ignore_errors=True)  # of one who was killed
        make_folders(new, 0o700)
        try:
            index = Index(source, judge, new / _FILE, fresh=True)
            try:
                index.refresh()
                # Others read while one writes; from now on, for the file remembers it.
                index.db.execute("PRAGMA locking_mode = NORMAL")
                index.db.execute("PRAGMA journal_mode = WAL")
            finally:
                index.close()
            _sync(new / _FILE)
            if folder.exists():
                discard(folder)
            new.rename(folder)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise


def _sync(path: Path) -> None:
    """A file that got its name before its bytes were on the disk would be damaged by a power failure."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a lock, which the system takes back from whoever dies; SQLite knows how on each system.

    Args:
        path: A file of its own, made where there is none.

    Raises:
        OSError: It cannot be written.
        sqlite3.Error: The same; or others held it for ten minutes.
    """
    lock = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        try:
            lock.execute("PRAGMA journal_mode = MEMORY")
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # there is something in the file
            path.write_bytes(b"")
            lock.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        lock.close()


def discard(folder: Path) -> None:
    """Take an index away with all its files at once: another process may be about to use some of them."""
    grave = folder.with_name(f"{folder.name}.{os.urandom(4).hex()}.old")
    with contextlib.suppress(OSError):
        folder.rename(grave)
        _remove(grave)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        import shutil

        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_unused(folder: Path) -> None:
    """Remove what is left of this index, and others that nobody has opened for a month."""
    now = time.time()
    with contextlib.suppress(OSError):
        for old in list(folder.parent.iterdir()):
            with contextlib.suppress(OSError):
                if old.name.endswith(".old"):
                    _remove(old)
                elif old.lstat().st_mtime < now - _UNUSED and not old.name.startswith(folder.name):
                    discard(old)


def _bar(total: int | None) -> Bar:
    from mshub_ssd.terminal import Bar

    return Bar("indexing cards", total, unit=" cards", delay=_SLOW, shown=_log.isEnabledFor(logging.WARNING))


def _name(source: Source, judge: Judge | None) -> str:
    fingerprint = "" if judge is None else judge.fingerprint
    told = "\0".join([str(_SCHEMA_VERSION), source.key, fingerprint, code_state("cards", "registry")])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        # A power failure may cost the last changes, and nothing else; the next look takes them in again. Its journal is
        # what `_build` chose: to choose again would wait for all others, where somebody has emptied the file.
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(f"PRAGMA cache_size = -{_KEPT}")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version != _SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"it is of version {version}, and not {_SCHEMA_VERSION}")
    except BaseException:
        db.close()
        raise
    return db


def _create(path: Path | None) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:" if path is None else path, isolation_level=None, check_same_thread=False)
    try:
        # Whoever is killed leaves a file that nobody looks at: there is nothing to roll back.
        for pragma in (
            "journal_mode = OFF",
            "synchronous = OFF",
            "locking_mode = EXCLUSIVE",
            f"cache_size = -{_CACHE}",
        ):
            if path is not None:
                db.execute(f"PRAGMA {pragma}")
        for statement in filter(str.strip, _TABLES.split(";")):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    except BaseException:
        db.close()
        raise
    return db
