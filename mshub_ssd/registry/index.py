"""An index of one source: SQLite with FTS5 in the cache, or in memory where no cache is ours alone to write.

It is refreshed by what changed, in one transaction, so that whoever is killed leaves the state before or after. One
process writes at a time; the others wait, and find the work done. An index that is damaged is thrown away.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mshub_ssd.errors import CardError
from mshub_ssd.files import is_private, make_folders
from mshub_ssd.registry.rows import Judge, Row, family_of, order_of, row_of
from mshub_ssd.registry.source import Entry, Lost, Source, read_entry
from mshub_ssd.registry.words import deletions
from mshub_ssd.settings import package_version

__all__ = ["Index", "open_index"]

_log = logging.getLogger("mshub_ssd.registry")

_SCHEMA_VERSION = 1
_FILE = "cards.sqlite3"
_PATIENCE = 120.0  # seconds to wait for another process that is building the index
_UNUSED = 30 * 24 * 3600  # seconds after which an index that nobody opened may go
_BATCH = 500
# A new row for a card that changed leaves the old one's words behind; beyond this share they are worth a new index.
_WASTE = 0.5

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE card (
    id INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT UNIQUE NOT NULL, place TEXT NOT NULL, stamp TEXT NOT NULL,
    family TEXT NOT NULL, sort BLOB NOT NULL, age BLOB NOT NULL, updated TEXT NOT NULL, size INTEGER,
    lost INTEGER NOT NULL DEFAULT 0, error TEXT, loadable INTEGER, network TEXT, obstacle TEXT, file TEXT, kind TEXT,
    facts TEXT NOT NULL
);
CREATE INDEX card_sort ON card (sort);
CREATE INDEX card_family ON card (family, age);
CREATE INDEX card_kind ON card (kind) WHERE kind IS NOT NULL;
CREATE INDEX card_error ON card (error) WHERE error IS NOT NULL;
CREATE TABLE value (id INTEGER PRIMARY KEY, facet TEXT NOT NULL, text TEXT NOT NULL, UNIQUE (facet, text));
CREATE TABLE has (value INTEGER NOT NULL, card INTEGER NOT NULL, PRIMARY KEY (value, card)) WITHOUT ROWID;
CREATE INDEX has_card ON has (card);
CREATE VIRTUAL TABLE names USING fts5 (name, title, summary, content='', columnsize=0, tokenize='trigram');
CREATE VIRTUAL TABLE words USING fts5 (lead, named, about, body, content='', columnsize=0, detail='column',
                                       tokenize="porter unicode61 remove_diacritics 2 tokenchars '.'");
CREATE TABLE spelling (id INTEGER PRIMARY KEY, word TEXT UNIQUE NOT NULL);
CREATE VIRTUAL TABLE spelled USING fts5 (word, content='', columnsize=0, tokenize='trigram');
CREATE TABLE deletion (letters TEXT NOT NULL, word INTEGER NOT NULL, PRIMARY KEY (letters, word)) WITHOUT ROWID;
"""


class Index:
    """The cards of one source, as rows.

    Args:
        source: The cards.
        judge: Who says which of them can be loaded; None where nobody asks.
        path: The file; None for memory.
    """

    def __init__(self, source: Source, judge: Judge | None, path: Path | None) -> None:
        self.source, self._judge, self._path = source, judge, path
        self.lock = threading.RLock()
        self.db = _connect(path)

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            self.db.close()

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
            if memo is not None and not complete and self.source.unchanged(memo):
                return
            try:
                self._look(memo)
            finally:
                self.source.close()

    def _look(self, memo: str | None) -> None:
        found = list(self.source.entries())
        changed, gone = self._compare(found)
        news = self.source.memo()
        if not changed and not gone and memo is not None:
            if news and news != memo:
                with self._writing():
                    self._set_meta("memo", news)
            return
        with self._writing():
            # Somebody else may have done it while we waited.
            changed, gone = self._compare(found)
            self._write(changed, gone)
            self._set_meta("memo", news)

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

    def _write(self, changed: Sequence[Entry | Lost], gone: Iterable[str]) -> None:
        for uid in [*gone, *(entry.uid for entry in changed)]:
            self.db.execute("DELETE FROM has WHERE card = (SELECT id FROM card WHERE uid = ?)", (uid,))
            self.db.execute("DELETE FROM card WHERE uid = ?", (uid,))
        values: dict[tuple[str, str], int] = {}
        for entry in changed:
            if isinstance(entry, Lost):
                self._add_lost(entry.uid, entry.path, f"lost: {entry.reason}", entry.reason, lost=True)
                continue
            try:
                row = row_of(read_entry(self.source, entry), self._judge)
            except CardError as error:
                _log.debug("a card that cannot be read: %s", error)
                # What lies in something larger may be damaged there: it is read anew when that changes.
                stamp = "" if self.source.path(entry) is None else entry.stamp
                self._add_lost(entry.uid, entry.place, stamp, error.message)
            else:
                self._add(entry, row, values)

    def _add_lost(self, uid: str, place: str, stamp: str, reason: str, *, lost: bool = False) -> None:
        self.db.execute(
            "INSERT INTO card (uid, place, stamp, family, sort, age, updated, lost, error, facts)"
            " VALUES (?, ?, ?, ?, ?, x'', '', ?, ?, '{}')",
            (uid, place, stamp, family_of(uid), order_of(uid), lost, reason),
        )

    def _add(self, entry: Entry, row: Row, values: dict[tuple[str, str], int]) -> None:
        verdict = row.verdict
        judged = (None,) * 5 if verdict is None else (verdict.obstacle is None, *verdict)
        number = self.db.execute(
            "INSERT INTO card (uid, place, stamp, family, sort, age, updated, size, loadable, network, obstacle, file,"
            " kind, facts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(row.uid, entry.place, entry.stamp, row.family, row.order, row.age, row.updated, row.size),
                *judged,
                row.facts,
            ),
        ).lastrowid
        for facet in row.facets:
            if facet not in values:
                self.db.execute("INSERT OR IGNORE INTO value (facet, text) VALUES (?, ?)", facet)
                (values[facet],) = self.db.execute(
                    "SELECT id FROM value WHERE facet = ? AND text = ?", facet
                ).fetchone()
            self.db.execute("INSERT OR IGNORE INTO has VALUES (?, ?)", (values[facet], number))
        self.db.execute(
            "INSERT INTO names (rowid, name, title, summary) VALUES (?, ?, ?, ?)",
            (number, row.name, row.title, row.summary),
        )
        self.db.execute(
            "INSERT INTO words (rowid, lead, named, about, body) VALUES (?, ?, ?, ?, ?)",
            (number, row.lead, row.named, row.about, row.body),
        )
        for word in row.spelled:
            if (word, "") in values:
                continue
            values[word, ""] = 0
            added = self.db.execute("INSERT OR IGNORE INTO spelling (word) VALUES (?)", (word,))
            if added.rowcount:
                self.db.execute("INSERT INTO spelled (rowid, word) VALUES (?, ?)", (added.lastrowid, word))
                rows = [(letters, added.lastrowid) for letters in deletions(word)]
                self.db.executemany("INSERT OR IGNORE INTO deletion VALUES (?, ?)", rows)

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
        fresh = not folder.exists()
        make_folders(folder, 0o700)
        if not is_private(home, folder.parent, folder):
            return None
    except OSError as error:
        _log.debug("no index in %s: %s", folder, error)
        return None
    if fresh:
        _remove_unused(folder.parent)
    for attempt in range(2):
        index = None
        try:
            index = Index(source, judge, folder / _FILE)
            index.refresh()
            if index.wasted() > _WASTE:
                raise sqlite3.DatabaseError("half of it is of cards that are no more")
            os.utime(folder)
        except sqlite3.OperationalError as error:
            # Busy for minutes, a full disk, a file system without locks: nothing that a new index would mend.
            _log.warning("the index of the cards cannot be used, and is made in memory: %s: %s", folder, error)
        except sqlite3.DatabaseError as error:
            _log.info("the index of the cards is made anew: %s: %s", folder, error)
            if attempt == 0:
                if index is not None:
                    index.close()
                _discard(folder)
                with contextlib.suppress(OSError):
                    make_folders(folder, 0o700)
                continue
        else:
            return index
        if index is not None:
            index.close()
        return None
    return None


def _discard(folder: Path) -> None:
    """Take an index away with all its files at once: another process may be about to use some of them."""
    grave = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.old")
    with contextlib.suppress(OSError):
        folder.rename(grave)
        shutil.rmtree(grave, ignore_errors=True)


def _remove_unused(folder: Path) -> None:
    """Remove indexes of other sources and versions that nobody has opened for a month."""
    now = time.time()
    with contextlib.suppress(OSError):
        for old in list(folder.iterdir()):
            with contextlib.suppress(OSError):
                if old.stat().st_mtime < now - _UNUSED:
                    _discard(old)


def _name(source: Source, judge: Judge | None) -> str:
    fingerprint = "" if judge is None else judge.fingerprint
    told = "\0".join([str(_SCHEMA_VERSION), source.key, fingerprint, _code()])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


@functools.cache
def _code() -> str:
    """What tells two states of the code apart that rows follow from."""
    home = Path(__file__).parent.parent
    files = [path for room in ("cards", "registry") for path in sorted((home / room).glob("*.py"))]
    states = [(path.name, status.st_size, status.st_mtime_ns) for path in files for status in [path.stat()]]
    return f"{package_version()} {states}"


def _connect(path: Path | None) -> sqlite3.Connection:
    db = sqlite3.connect(
        ":memory:" if path is None else path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
    )
    try:
        if path is not None:
            # A power failure may cost the last changes, and nothing else; the next look takes them in again.
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
        if db.execute("PRAGMA user_version").fetchone()[0] != _SCHEMA_VERSION:
            db.execute("BEGIN IMMEDIATE")
            if db.execute("PRAGMA user_version").fetchone()[0] != _SCHEMA_VERSION:
                for statement in filter(str.strip, _TABLES.split(";")):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db
