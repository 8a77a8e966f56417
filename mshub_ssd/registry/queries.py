"""Questions to the index of one source. Answers come from rows; no card is read."""

from __future__ import annotations

import fnmatch
import json
import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mshub_ssd.errors import UsageError
from mshub_ssd.registry.index import Index
from mshub_ssd.registry.rows import Shown, called, is_version
from mshub_ssd.registry.words import allowed_edits, deletions, fold, is_chinese, near, squeezed, together, tokens
from mshub_ssd.registry.words import is_version as whole_version

__all__ = [
    "NAME",
    "SORTS",
    "SUMMARY",
    "Found",
    "Query",
    "Word",
    "alike",
    "best_of",
    "check_text",
    "count",
    "damaged",
    "facet_values",
    "families",
    "fits",
    "hits",
    "is_version",
    "joined",
    "lost",
    "models",
    "newest_of_kind",
    "occurs",
    "of_family",
    "shared",
    "spellings",
    "uids",
    "words_of",
]

_SHOWN = "uid, family, error, loadable, network, obstacle, size, facts, file, sort, age, updated"
# By age, what says no version or date comes last; by size, what says none.
_ORDERS = {
    "name": "sort",
    "newest": "updated DESC, age DESC, sort",
    "size": "size IS NULL, size, sort",
}
_CARDS = "card JOIN told USING (id) JOIN model ON model.id = card.model"
SORTS = tuple(_ORDERS)
"""What answers can be sorted by."""

_CHUNK = 500
_RUNS = re.compile(r"[a-z]+|[^a-z]+")
_SHORT = 3  # letters of a word that are too few to be misspelt
_LONGEST = 1000  # letters of a pattern or a search: no uid has so many, and nobody types them
_CANDIDATES = 300  # words that a misspelt one is compared with
# Where a word was found, the best place first: table and column of the index, and whether its beginning will do.
_PLACES = (
    ("words", "lead", False),
    ("words", "lead", True),
    ("words", "named", False),
    ("names", "name", False),
    ("words", "about", False),
    ("names", "title", False),
    ("names", "summary", False),
    ("words", "body", False),
)
NAME = _PLACES.index(("names", "name", False))
"""The last of the places of names, among those where a word may be found."""
SUMMARY = _PLACES.index(("names", "summary", False))
"""The place of summaries among them."""

_MISSPELT = 2  # places behind the right spelling


@dataclass(frozen=True)
class Query:
    """Which models are wanted.

    Attributes:
        pattern: Wildcard for the uid, without case; ``*`` also matches ``/``.
        facets: For each facet, the values that will do.
        loadable: Only models that can be loaded here, or only the others.
    """

    pattern: str = "*"
    facets: Mapping[str, Collection[str]] = field(default_factory=dict)
    loadable: bool | None = None

    def where(self, hidden: Collection[str]) -> tuple[str, list[Any]]:
        """The condition in SQL, and its values.

        Args:
            hidden: Uids that a source before has, too.
        """
        clauses, values = ["model IS NOT NULL"], list[Any]()
        if len(self.pattern) > _LONGEST:
            clauses.append("FALSE")
        elif self.pattern != "*":
            clauses.append("lower(uid) GLOB ?")
            values.append(self.pattern.lower().replace("[!", "[^"))
        for facet, texts in self.facets.items():
            clauses.append(
                "card.id IN (SELECT card FROM has WHERE value IN"
                " (SELECT id FROM value WHERE facet = ? AND text IN (SELECT value FROM json_each(?))))"
            )
            values += [facet, json.dumps(sorted(texts))]
        if self.loadable is not None:
            # Of a file that should lie beside its card, `models` sees whether it does.
            clauses.append("loadable = 1" if self.loadable else "(loadable IS NOT 1 OR file IS NOT NULL)")
        if hidden:
            clauses.append("uid NOT IN (SELECT value FROM json_each(?))")
            values.append(json.dumps(sorted(hidden)))
        return " AND ".join(clauses), values


@dataclass(frozen=True)
class Found:
    """A model in an answer, and what it is sorted by.

    Attributes:
        shown: What is shown of it.
        sort: Its uid, for the natural order.
        age: Its version, for the order of versions.
        updated: Its date as ISO text, empty if none is given.
        score: How far from the best place its words were found.
    """

    shown: Shown
    sort: bytes
    age: bytes
    updated: str
    score: int = 0

    @property
    def newness(self) -> tuple[bool, bytes, str]:
        """What sorts cards of one family: what can be loaded, then the newest."""
        return bool(self.shown.loadable), self.age, self.updated


@dataclass(frozen=True)
class Word:
    """A word of a search: the texts that stand for it, and whether they are other spellings of it."""

    texts: tuple[str, ...]
    misspelt: bool = False

    @property
    def text(self) -> str:
        """It as it was typed, if it has not been replaced."""
        return self.texts[0] if self.texts[0].isascii() else together(self.texts)


def models(index: Index, query: Query, hidden: Collection[str] = (), sort: str = "name") -> Iterator[Found]:
    """Cards that fit, one by one."""
    where, values = query.where(hidden)
    with index.lock:
        cursor = index.db.execute(f"SELECT card.id FROM card WHERE {where} ORDER BY {_ORDERS[sort]}", values)  # noqa: S608
    while True:
        with index.lock:  # not while others work with what they got
            rows = cursor.fetchmany(_CHUNK)
            numbers = [number for (number,) in rows]
            shown = {row[0]: row[1:] for row in index.db.execute(_BY_NUMBER, (json.dumps(numbers),))}
        if not rows:
            return
        # One that went meanwhile is left out.
        for found in (_found(shown[number]) for number in numbers if number in shown):
            if query.loadable is None or bool(found.shown.loadable) is query.loadable:
                yield found


_BY_NUMBER = f"SELECT card.id, {_SHOWN} FROM {_CARDS} WHERE card.id IN (SELECT value FROM json_each(?))"  # noqa: S608


def uids(index: Index, hidden: Collection[str] = ()) -> list[tuple[bytes, str]]:
    """What sorts a card, and its uid, of all that can be read."""
    where, values = Query().where(hidden)
    with index.lock:
        return index.db.execute(f"SELECT sort, uid FROM card WHERE {where}", values).fetchall()  # noqa: S608


def families(
    index: Index,
    query: Query,
    hidden: Collection[str] = (),
    sort: str = "name",
    limit: int | None = None,
    only: Collection[str] | None = None,
) -> list[Found]:
    """Of each family its newest card that can be loaded, else its newest, and how many there are.

    Args:
        index: The cards.
        query: Which are wanted.
        hidden: Uids that a source before has, too.
        sort: Their order.
        limit: The first of them.
        only: Of these families.
    """
    where, values = query.where(hidden)
    if only is not None:
        where += " AND model IN (SELECT id FROM model WHERE family IN (SELECT value FROM json_each(?)))"
        values.append(json.dumps(sorted(only)))
    with index.lock:
        numbers = index.db.execute(
            f"SELECT id, versions FROM (SELECT id, max(best), count(*) AS versions FROM card WHERE {where}"  # noqa: S608
            f" GROUP BY model) JOIN card USING (id) ORDER BY {_ORDERS[sort]} LIMIT ?",
            # Of a file that should lie beside its card, only a look tells whether it does.
            [*values, -1 if limit is None or query.loadable is not None else limit],
        ).fetchall()
    found = _with(index, [(number, many, 0) for number, many in numbers])
    return [one for one in found if query.loadable is None or bool(one.shown.loadable) is query.loadable][:limit]


def _with(index: Index, rows: Sequence[tuple[int, int, int]]) -> list[Found]:
    """What is shown of cards by their numbers, each with the number of its versions and its score."""
    found: list[Found] = []
    for at in range(0, len(rows), _CHUNK):
        chunk = rows[at : at + _CHUNK]
        with index.lock:
            numbers = json.dumps([number for number, _, _ in chunk])
            shown = {row[0]: row[1:] for row in index.db.execute(_BY_NUMBER, (numbers,))}
        found += [_found(shown[number], *more) for number, *more in chunk if number in shown]
    return found


def of_family(index: Index, family: str, hidden: Collection[str] = ()) -> list[Found]:
    """All cards of families of this name, with a publisher or of any, in any order."""
    name = family.lower()
    where, values = Query().where(hidden)
    with index.lock:
        rows = index.db.execute(
            f"SELECT {_SHOWN} FROM {_CARDS} WHERE {where} AND model IN"  # noqa: S608
            " (SELECT id FROM model WHERE last = ? AND (folded = ? OR substr(folded, ?) = ?))",
            [*values, name.rsplit("/", 1)[-1], name, -len(name) - 1, f"/{name}"],
        ).fetchall()
    return list(map(_found, rows))


def newest_of_kind(index: Index, kind: str, hidden: Collection[str] = ()) -> Found | None:
    """The newest loadable card of the very same network, by date and then version."""
    where, values = Query(loadable=True).where(hidden)
    with index.lock:
        rows = index.db.execute(
            f"SELECT {_SHOWN} FROM {_CARDS} WHERE {where} AND kind = ? ORDER BY updated DESC, age DESC, sort DESC",  # noqa: S608
            [*values, kind],
        )
        return next((found for found in map(_found, rows) if found.shown.loadable), None)


def facet_values(index: Index, facet: str) -> list[str]:
    """All values of a facet that some card has."""
    with index.lock:
        rows = index.db.execute(
            "SELECT text FROM value WHERE facet = ? AND EXISTS (SELECT 1 FROM has WHERE value = id)", (facet,)
        )
        return [text for (text,) in rows]


def count(index: Index, among: Collection[str] | None = None) -> int:
    """How many cards can be read, of all or of these uids."""
    where = "" if among is None else " AND uid IN (SELECT value FROM json_each(?))"
    with index.lock:
        (number,) = index.db.execute(
            f"SELECT count(*) FROM card WHERE error IS NULL{where}",  # noqa: S608
            [] if among is None else [json.dumps(sorted(among))],
        ).fetchone()
    return int(number)


def damaged(index: Index) -> list[tuple[str, str]]:
    """Uid and reason of what cannot be read."""
    with index.lock:
        return index.db.execute("SELECT uid, error FROM card WHERE error IS NOT NULL ORDER BY sort").fetchall()


def lost(index: Index, uids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Of uids what is named like a card or a folder of cards and cannot be read: why, and where it lies."""
    with index.lock:
        rows = index.db.execute(
            "SELECT uid, error, obstacle FROM card JOIN told USING (id)"
            " WHERE lost AND uid IN (SELECT value FROM json_each(?))",
            (json.dumps(uids),),
        )
        return {uid: (reason, path) for uid, reason, path in rows}


def shared(index: Index, other: Index) -> set[str]:
    """Uids of an index that another one has, too."""
    if index is other:
        return set()
    with index.lock, other.lock:
        few, many = (index, other) if count(index) <= count(other) else (other, index)
        found: set[str] = set()
        cursor = few.db.execute("SELECT uid FROM card WHERE NOT lost")
        while rows := cursor.fetchmany(_CHUNK):
            found.update(
                uid
                for (uid,) in many.db.execute(
                    "SELECT uid FROM card WHERE NOT lost AND uid IN (SELECT value FROM json_each(?))",
                    (json.dumps([uid for (uid,) in rows]),),
                )
            )
    return found


def fits(wanted: str, text: str, *, exact: bool = False) -> bool:
    """Whether a value is meant: by a wildcard, or but for case, hyphens, underscores and spaces."""
    low, asked = text.lower(), wanted.lower()
    return fnmatch.fnmatchcase(low, asked) or (not exact and bool(squeezed(asked)) and squeezed(low) == squeezed(asked))


def check_text(text: str) -> None:
    """Refuse a search that is longer than any that somebody types.

    Raises:
        UsageError: It is.
    """
    if len(text) > _LONGEST:
        raise UsageError(
            "a search is some words", expected=f"at most {_LONGEST:,} letters", got=f"{len(text):,} letters"
        )


def words_of(text: str) -> list[Word]:
    """The words of a search, each once."""
    found: dict[tuple[str, ...], None] = {}
    for part in fold(text).split():
        pieces = tokens(part)
        joined = part if whole_version(part) else squeezed(part)
        if pieces and all(is_chinese(piece[0]) for piece in pieces):
            found[tuple(pieces)] = None  # as pairs
        elif joined:
            found[(joined,)] = None
    return [Word(texts) for texts in found]


def occurs(index: Index, word: Word, farthest: int | None = None) -> bool:
    """Whether any card has a word; in the places up to one of them, if that is given."""
    with index.lock:
        return any(
            index.db.execute(f"{sql} LIMIT 1", (match,)).fetchone()
            for place, sql, match in _matches(index, word)
            if farthest is None or place <= farthest
        )


def joined(first: Word, second: Word) -> Word | None:
    """What a name makes of two words: of ``yolo`` and ``v8`` ``yolov8``; None where the second is no short number."""
    text, number = first.texts[0], second.texts[0]
    if len(number) > _SHORT or number.isalpha() or not (text + number).isascii() or not text[-1:].isalpha():
        return None
    return Word((text + number,))


def spellings(index: Index, word: str, *, looser: bool = False) -> dict[str, int]:
    """What a misspelt word may be: words of names and titles that are, or hold, it, and how many letters differ.

    Digits are taken to be right: only the letters between them are looked at.
    """
    allowed = allowed_edits(word) + looser
    runs = _RUNS.findall(word)
    found = {"": 0}
    for run in runs:
        choices = {run: 0}
        if run.isalpha() and len(run) > _SHORT:
            choices.update(_spellings_of_letters(index, run, allowed))
        found = {
            before + choice: edits + more
            for before, edits in found.items()
            for choice, more in choices.items()
            if edits + more <= allowed
        }
    return {text: edits for text, edits in found.items() if edits}


def _spellings_of_letters(index: Index, word: str, edits: int) -> dict[str, int]:
    with index.lock:
        cut = index.db.execute(
            "SELECT word FROM spelling WHERE id IN (SELECT word FROM deletion WHERE letters IN"
            " (SELECT value FROM json_each(?)))",
            (json.dumps(sorted(deletions(word))),),
        ).fetchall()
    known = [*alike(index, word, _CANDIDATES), *(text for (text,) in cut)]
    distances = {text: near(word, text, edits) for text in known if len(text) >= len(word) - edits}
    return {text: distance for text, distance in distances.items() if distance}


def alike(index: Index, word: str, limit: int = 3) -> list[str]:
    """Words of names and titles that share the most runs of three letters with a word."""
    pieces = [word[at : at + 3] for at in range(len(word) - 2)]
    if not pieces:
        return []
    with index.lock:
        rows = index.db.execute(
            "SELECT word FROM spelling JOIN (SELECT rowid AS id, rank FROM spelled WHERE spelled MATCH ?"
            " ORDER BY rank LIMIT ?) USING (id) ORDER BY rank",
            (" OR ".join(map(_quoted, pieces)), limit),
        ).fetchall()
    return [text for (text,) in rows]


def hits(
    index: Index,
    words: Sequence[Word],
    hidden: Collection[str] = (),
    *,
    every: bool = True,
    farthest: int | None = None,
    limit: int | None = None,
    only: Collection[str] | None = None,
) -> list[Found]:
    """The best card of each family in which words occur, best first.

    Args:
        index: The cards.
        words: What is looked for.
        hidden: Uids that a source before has, too.
        every: All words must occur; otherwise the more the better.
        farthest: The last of the places where a word counts.
        limit: The first of them.
        only: Of these families.
    """
    parts, values = list[str](), list[Any]()
    for number, word in enumerate(words):
        for place, sql, match in _matches(index, word):
            if farthest is not None and place > farthest:
                continue
            parts.append(f"SELECT id, {number} AS word, {place} AS place FROM ({sql})")  # noqa: S608
            values.append(match)
    if not parts:
        return []
    where, more = Query().where(hidden)
    if only is not None:
        where += " AND model IN (SELECT id FROM model WHERE family IN (SELECT value FROM json_each(?)))"
        more.append(json.dumps(sorted(only)))
    absent = len(_PLACES) + _MISSPELT + 1
    if len(words) == 1:
        scored = f"SELECT id, min(place) - {absent} AS score, 1 AS many FROM hit GROUP BY id"  # noqa: S608
    else:
        scored = (
            f"SELECT id, sum(place - {absent}) AS score, count(*) AS many FROM"  # noqa: S608
            " (SELECT id, min(place) AS place FROM hit GROUP BY id, word) GROUP BY id"
        )
    numbers_sql = (
        f"WITH hit AS ({' UNION ALL '.join(parts)}), scored AS ({scored})"  # noqa: S608
        # The other columns come from the row with the greatest key: the best place, then the best card.
        " SELECT id, score, versions FROM (SELECT id, score, count(*) AS versions, max(key) FROM"
        " (SELECT id, score, model, printf('%09d', 100000000 - score) || hex(best) AS key FROM scored"
        f" JOIN card USING (id) WHERE {where}{' AND many = ?' if every else ''}) GROUP BY model)"
        " JOIN card USING (id) ORDER BY score, updated DESC, age DESC, sort LIMIT ?"
    )
    with index.lock:
        rows = index.db.execute(
            numbers_sql, [*values, *more, *([len(words)] if every else []), -1 if limit is None else limit]
        ).fetchall()
    return _with(index, [(number, many, score + absent * len(words)) for number, score, many in rows])


def best_of(found: Iterable[Found]) -> Iterator[Found]:
    """The best of each family over several sources, with the number of all."""
    families: dict[str, Found] = {}
    for one in found:
        other = families.get(one.shown.family)
        if other is None:
            families[one.shown.family] = one
            continue
        best = max(one, other, key=lambda each: (-each.score, each.newness))
        shown = replace(best.shown, versions=one.shown.versions + other.shown.versions)
        families[one.shown.family] = replace(best, shown=shown, score=min(one.score, other.score))
    return iter(families.values())


def _matches(index: Index, word: Word) -> Iterator[tuple[int, str, str]]:
    """Where to look for a word: how good the place is, the cards' numbers in SQL, and its value."""
    behind = _MISSPELT if word.misspelt else 0
    pairs = all(map(is_chinese, "".join(word.texts)))
    for place, (table, column, beginning) in enumerate(_PLACES):
        if table == "names":
            # Trigrams find no text of one or two letters.
            texts = [] if pairs else [text for text in word.texts if len(text) >= 3]
        else:
            texts = list(word.texts)
        if not texts:
            continue
        quoted = [f"{_quoted(text)}{' *' if beginning else ''}" for text in texts]
        sql = f"SELECT rowid AS id FROM {table} WHERE {table} MATCH ?"  # noqa: S608
        yield place + behind, sql, f"{column} : ({(' AND ' if pairs else ' OR ').join(quoted)})"
        if column == "title":  # so are the words for its task, which many cards share
            tasks = [task for task in facet_values(index, "task") if any(called(task, text) for text in texts)]
            if tasks:
                yield place + behind, _OF_TASKS, json.dumps(tasks)


_OF_TASKS = (
    "SELECT card AS id FROM has WHERE value IN"
    " (SELECT id FROM value WHERE facet = 'task' AND text IN (SELECT value FROM json_each(?)))"
)


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _found(row: Sequence[Any], versions: int = 1, score: int = 0) -> Found:
    uid, family, error, loadable, network, obstacle, size, facts, file, sort, age, updated = row
    judged = None if loadable is None else bool(loadable)
    if judged and file is not None and not Path(file).is_file():
        judged, obstacle = False, "the file beside the card is not there"
    try:
        shown = Shown(uid, family, error, judged, network, obstacle, size, json.loads(facts), versions)
    except ValueError as wrong:
        raise sqlite3.DatabaseError(f"what it tells of {uid!r} makes no sense") from wrong
    return Found(shown, sort, age, updated, score)
