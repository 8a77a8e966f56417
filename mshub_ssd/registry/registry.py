"""Cards of several sources as one: from a name to its card, listing, searching."""

from __future__ import annotations

import functools
import heapq
import itertools
import shlex
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from mshub_ssd.errors import CardError, UnknownModelError, UsageError
from mshub_ssd.redaction import scrub
from mshub_ssd.registry import queries
from mshub_ssd.registry.folder import Folder
from mshub_ssd.registry.index import DAMAGE, Index, discard, open_index
from mshub_ssd.registry.queries import Found, Query
from mshub_ssd.registry.rows import FACETS, Judge, Shown
from mshub_ssd.registry.source import Entry, Source, read_entry
from mshub_ssd.registry.words import english, says_little, spelled, squeezed, written_as_one

if TYPE_CHECKING:
    from mshub_ssd.cards import Card

__all__ = ["Registry"]

P = ParamSpec("P")
T = TypeVar("T")
_Asking = Callable[[Index, frozenset[str], int | None, Collection[str] | None], list[Found]]

_NEAREST = 3
_FEW = 5000  # uids that a misspelt one is compared with one by one
_COMPARED = 300  # of more
# How filters are called in the library and on the command line.
_EXAMPLES = {"mindspore_version": '"1.10"', "dataset": '"coco2017"', "task": '"object-detection"'}


def _question(method: Callable[P, T]) -> Callable[P, T]:
    """Let all parts of a question be answered by one look at the sources."""

    @functools.wraps(method)
    def asked(*args: P.args, **kwargs: P.kwargs) -> T:
        state: Any = getattr(args[0], "_asked")  # noqa: B009 - the type checker sees any object here
        if not getattr(state, "depth", 0):
            state.depth, state.indexes = 0, None
        state.depth += 1
        try:
            return method(*args, **kwargs)
        except DAMAGE:
            if state.depth > 1:
                raise
            # An index was damaged where no look at the sources came by. Made anew, it is asked once more.
            state.indexes = None
            getattr(args[0], "_throw_away")()  # noqa: B009
            return method(*args, **kwargs)
        finally:
            state.depth -= 1

    return asked


class Registry:
    """Model cards of one or more sources; a uid in an earlier source hides the same one in later sources.

    A card that is edited, added or removed is seen by the next question. Lists and searches are answered by an index
    in the cache, which is refreshed by what changed; a card is read when it is asked for.

    Args:
        sources: Folders of cards, or other sources.
        homes: Caches; the first that is ours alone to write keeps the index. Without one it is kept in memory.
        judge: Who says which cards can be loaded; without one nobody does.

    Raises:
        UsageError: A folder is not one.
    """

    def __init__(
        self, sources: Sequence[str | Path | Source], homes: Iterable[Path] = (), judge: Judge | None = None
    ) -> None:
        self.sources: tuple[Source, ...] = tuple(
            Folder(source) if isinstance(source, str | Path) else source for source in sources
        )
        self._homes, self._judge = tuple(homes), judge
        self._lock = threading.Lock()
        self._opened: list[Index] | None = None
        self._asked = threading.local()

    @_question
    def uids(self) -> list[str]:
        """All uids in natural order (1.9 before 1.10)."""
        found = [row for index, hidden in self._indexes() for row in queries.uids(index, hidden)]
        return [uid for _, uid in sorted(found)]

    @_question
    def entry(self, name: str) -> tuple[Source, Entry]:
        """Where the card of a name is.

        Args:
            name: A uid, or one that is unambiguous without publisher and version: ``ssd300_coco2017`` and
                ``mindspore/latest/ssd300_coco2017`` mean that model's newest loadable card, else its newest. ``.md``
                at the end is understood.

        Raises:
            UnknownModelError: There is none, or several models have that name; names the nearest.
            CardError: Something of that name is there, and is no file that can be read.
        """
        if not isinstance(name, str):
            raise self._unknown(name)
        found = self.find(name)
        if found is None:
            if (error := self._unreadable(name)) is not None:
                raise error
            meant = self._meant_by(name)
            found = None if meant is None else self.find(meant)
        if found is None:
            raise self._unknown(name)
        return found

    def find(self, uid: str) -> tuple[Source, Entry] | None:
        """Where the card of exactly this uid is, None if there is none; looks at no other cards."""
        for name in dict.fromkeys((uid, uid.removesuffix(".md"))):
            for source in self.sources:
                if (found := source.find(name)) is not None:
                    return source, found
        return None

    def _meant_by(self, name: str) -> str | None:
        """The uid that is meant by a short name."""
        parts = name.removesuffix(".md").split("/")
        kept = [part for part in parts if part.lower() != "latest"]
        if not all(kept) or (len(kept) == len(parts) and len(parts) > 1):
            return None
        family = "/".join(kept)
        found = [one for index, hidden in self._indexes() for one in queries.of_family(index, family, hidden)]
        known = sorted(queries.best_of(found), key=lambda one: one.sort)
        if len(known) > 1:
            raise UnknownModelError(
                "several models have that name",
                expected=" or ".join(one.shown.uid for one in known[:_NEAREST]),
                got=scrub(repr(name))[:200],
                hint=f"name one of them: mshub info {known[0].shown.uid}",
            )
        return known[0].shown.uid if known else None

    @_question
    def path(self, uid: str) -> Path:
        """The card file of a uid.

        Raises:
            UnknownModelError: There is none; names the nearest.
            CardError: It is no file that can be read, or no file of this machine.
        """
        source, entry = self.entry(uid)
        path = source.path(entry)
        if path is None:
            raise CardError("this card is no file of its own", where=source.origin(entry), hint=f"mshub info {uid}")
        return path

    @_question
    def card(self, uid: str) -> Card:
        """The card of a uid.

        Raises:
            UnknownModelError: There is none; names the nearest.
            CardError: The card cannot be read.
        """
        return read_entry(*self.entry(uid))

    @_question
    def list_models(
        self, pattern: str = "*", *, sort: str = "name", limit: int | None = None, **filters: object
    ) -> list[str]:
        """Uids of the models that fit all filters; see `models`."""
        return [shown.uid for shown in self.models(pattern, sort=sort, limit=limit, **filters)]

    @_question
    def models(
        self, pattern: str = "*", *, sort: str = "name", limit: int | None = None, **filters: object
    ) -> list[Shown]:
        """The models that fit all filters, as lists show them.

        Filters compare without case, and may hold the wildcards ``*``, ``?`` and ``[...]``. Names are also compared
        without ``_``, ``-`` and spaces. Cards that cannot be read fit no filter.

        Args:
            pattern: Wildcard for the uid; ``*`` also matches ``/``.
            sort: ``name`` (1.9 before 1.10), ``newest`` or ``size``.
            limit: At most so many.
            **filters: ``task``, ``dataset``, ``backbone`` (or a word of it or of the network), ``publisher``,
                ``mindspore_version``, ``network``; and ``loadable``, True or False.

        Raises:
            UsageError: A filter is not text (the number 1.10 would be 1.1), or fits nothing that any card says.
        """
        query = self._query(pattern, filters)
        _check_order(sort, limit)
        return [found.shown for found in itertools.islice(self._merged(query, sort), limit)]

    @_question
    def families(
        self, pattern: str = "*", *, sort: str = "name", limit: int | None = None, **filters: object
    ) -> list[Shown]:
        """Of each model in all its versions one row: the newest that can be loaded, else the newest.

        Args and errors are those of `models`; `Shown.versions` counts the cards that fit.
        """
        query = self._query(pattern, filters)
        _check_order(sort, limit)
        return self._families(query, sort, limit)

    def _families(self, query: Query, sort: str, limit: int | None) -> list[Shown]:
        return self._first(
            lambda index, hidden, count, only: queries.families(index, query, hidden, sort, count, only),
            lambda one: _order(one, sort),
            limit,
        )

    @_question
    def search(self, text: str, limit: int | None = None) -> list[Shown]:
        """Models whose cards hold every word of a text, best first: of each family one card.

        Searched are names, titles, data sets, tasks in English and Chinese, summaries and bodies, without case and
        hyphens. A word that no card has may be misspelt, one letter in five; Chinese that no card has as a whole is
        parted into words. A name counts more than a title, that more than a summary, and that more than the body; the
        newest comes first among equals.

        Args:
            text: Words.
            limit: At most so many.
        """
        _check_order("name", limit)
        queries.check_text(text)
        words = self._spelled(queries.words_of(text))
        if words is None:
            return []
        if not _is_task(text):
            return self._found(words, limit)
        # Who names a task means the task, and not words that stand somewhere.
        from mshub_ssd.cards import matching_tasks

        tasks = set(matching_tasks(text))
        count = limit
        while True:
            found = self._found(words, count, farthest=queries.SUMMARY)
            others = {shown.family for shown in found if shown.facts.get("task") not in tasks}
            named = {shown.uid for shown in self._found(words, None, farthest=queries.NAME, only=others)}
            meant = [shown for shown in found if shown.uid in named or shown.facts.get("task") in tasks]
            if limit is None or count is None or len(meant) >= limit or len(found) < count:
                return meant[:limit]
            count *= 4

    @_question
    def nearest(self, text: str, limit: int = _NEAREST) -> list[Shown]:
        """The models that come nearest to a search that finds nothing.

        Those with most of its words; else those of the task that is named, or that such a model would have, or of its
        field; else those whose names are spelt most alike.
        """
        queries.check_text(text)
        words = [word for one in queries.words_of(text) for word in self._nearly(one)]
        found = self._found(words, limit, every=False) if words and not _is_task(text) else []
        return found or self._of_task_like(_task_in(text) or text, limit) or self._spelt_like(text, limit)

    def cards(self) -> Iterator[Card]:
        """All cards, read one by one; those that cannot be read are left out."""
        for found in self._merged(Query(), "name"):
            if found.shown.error is None:
                try:
                    yield self.card(found.shown.uid)
                except (CardError, UnknownModelError):  # changed this moment; the next look tells
                    continue

    @_question
    def newest_of_kind(self, kind: str) -> str | None:
        """Uid of the newest loadable card of the very same network, see `Verdict.kind`; None if there is none."""
        found = [one for index, hidden in self._indexes() if (one := queries.newest_of_kind(index, kind, hidden))]
        return max(found, key=lambda one: (one.updated, one.age)).shown.uid if found else None

    @_question
    def damaged(self) -> list[tuple[str, str]]:
        """Cards and folders of cards that cannot be read: uid and reason."""
        return [row for index, _ in self._indexes() for row in queries.damaged(index)]

    @_question
    def values(self, facet: str) -> list[str]:
        """Everything that cards say of a facet, e.g. all tasks."""
        return sorted({text for index, _ in self._indexes() for text in queries.facet_values(index, facet)})

    @_question
    def values_like(self, facet: str, wanted: str) -> set[str]:
        """What cards say of a facet that a filter means."""
        known = self.values(facet)
        exact = facet == "mindspore_version"
        found = {text for text in known if queries.fits(wanted, text, exact=exact)}
        if facet == "task":
            from mshub_ssd.cards import matching_tasks

            found |= set(matching_tasks(wanted)).intersection(known)
        return found

    def _indexes(self) -> list[tuple[Index, frozenset[str]]]:
        """The index of each source, and the uids in it that sources before have, too; as of this question."""
        state = self._asked
        if getattr(state, "depth", 0) and state.indexes is not None:
            return list(state.indexes)
        indexes = self._refreshed()
        found = [
            (index, frozenset[str]().union(*(queries.shared(index, before) for before in indexes[:number])))
            for number, index in enumerate(indexes)
        ]
        if getattr(state, "depth", 0):
            state.indexes = found
        return found

    def _refreshed(self) -> list[Index]:
        with self._lock:
            if self._opened is not None:
                try:
                    for index in self._opened:
                        index.refresh()
                    return self._opened
                except DAMAGE:  # opening it again tells what to do
                    self._opened = None
            self._opened = [open_index(source, self._homes, self._judge) for source in self.sources]
            return self._opened

    def _throw_away(self) -> None:
        with self._lock:
            for index in self._opened or ():
                if index.path is not None:  # it is not closed: another thread may be asking it
                    discard(index.path.parent)
            self._opened = None

    def _merged(self, query: Query, sort: str) -> Iterator[Found]:
        streams = [queries.models(index, query, hidden, sort) for index, hidden in self._indexes()]
        return heapq.merge(*streams, key=lambda found: _order(found, sort))

    def _query(self, pattern: str, filters: dict[str, object]) -> Query:
        loadable = filters.pop("loadable", None)
        for name, value in {"pattern": pattern, **filters}.items():
            if name not in ("pattern", *FACETS):
                raise TypeError(f"there is no filter {name}")
            if value is not None and not isinstance(value, str):
                raise UsageError(
                    f"the filter {name} is not text",
                    expected=f"text, e.g. {name}={_EXAMPLES.get(name, '...')}",
                    got=repr(value),
                    hint="put it in quotes: the number 1.10 is 1.1",
                )
        facets = {}
        for name, value in filters.items():
            if isinstance(value, str):
                facets[name] = self.values_like(name, value)
        return Query(pattern, facets, None if loadable is None else bool(loadable))

    def _found(
        self,
        words: Sequence[queries.Word],
        limit: int | None,
        *,
        every: bool = True,
        farthest: int | None = None,
        only: Collection[str] | None = None,
    ) -> list[Shown]:
        return self._first(
            lambda index, hidden, count, some: queries.hits(
                index, words, hidden, every=every, farthest=farthest, limit=count, only=only if some is None else some
            ),
            # Where it was found, then the newest, then names.
            lambda one: (one.score, _Backwards((one.updated, one.age)), one.sort),
            limit,
        )

    def _first(self, ask: _Asking, key: Callable[[Found], Any], limit: int | None) -> list[Shown]:
        """The first families of an answer; those of several sources are one.

        Args:
            ask: Answers for an index and the uids hidden in it: the first so many, or some families only.
            key: What sorts the answer.
            limit: So many.
        """
        indexes = self._indexes()
        count = limit
        while True:
            answers = [ask(index, hidden, count, None) for index, hidden in indexes]
            cut = [number for number, found in enumerate(answers) if count is not None and len(found) >= count]
            if cut and len(indexes) > 1:
                # What one source has of a family is missing where it came too late in another one.
                known = {one.shown.family for found in answers for one in found}
                ends = [key(answers[number][-1]) for number in cut]
                for number in cut:
                    missing = known - {one.shown.family for one in answers[number]}
                    answers[number] += ask(*indexes[number], None, missing) if missing else []
            merged = sorted(queries.best_of(one for found in answers for one in found), key=key)[:limit]
            if (
                count is None
                or not cut
                or len(indexes) == 1
                or (len(merged) == limit and not any(end < key(merged[-1]) for end in ends))
            ):
                return [one.shown for one in merged]
            count *= 4

    def _spelled(self, words: Sequence[queries.Word]) -> list[queries.Word] | None:
        """The words as they are meant; None where one of them means nothing."""
        indexes = [index for index, _ in self._indexes()]
        parted = list[queries.Word]()
        for word in words:
            name = queries.joined(parted[-1], word) if parted else None
            if name is not None and any(queries.occurs(index, name, queries.NAME) for index in indexes):
                parted[-1] = name
            else:
                parted.append(word)
        telling = [word for word in parted if not says_little(word.text)]
        meant = [one for word in telling or parted for one in self._each_meant(word)]
        return None if None in meant or not meant else list(dict.fromkeys(word for word in meant if word is not None))

    def _each_meant(self, word: queries.Word, *, looser: bool = False) -> list[queries.Word | None]:
        """A word as it is meant; of Chinese that no card has as a whole, each of the words in it."""
        whole = self._meant(word, looser=looser)
        if whole is not None or word.text.isascii():
            return [whole]
        parts = written_as_one(word.text, _is_task)
        if parts == [word.text]:
            return [None]
        telling = queries.words_of(" ".join(part for part in parts if not says_little(part)))
        return [self._meant(part, looser=looser) for part in telling] or [None]

    def _nearly(self, word: queries.Word) -> list[queries.Word]:
        """What cards have of a word: it as it is meant, words in it, or pairs of its Chinese characters."""
        found = [part for part in self._each_meant(word, looser=True) if part is not None]
        if found or word.text.isascii() or _task_in(word.text):
            return found
        pairs = [queries.Word((text,)) for text in dict.fromkeys(word.texts)]
        return [pair for pair in pairs if any(queries.occurs(index, pair) for index, _ in self._indexes())]

    def _meant(self, word: queries.Word, *, looser: bool = False) -> queries.Word | None:
        """A word as it is, if some card has it, else the spellings that come nearest; None where there is none."""
        indexes = [index for index, _ in self._indexes()]
        if any(queries.occurs(index, word) for index in indexes):
            return word
        text = word.text
        if not text.isascii():
            method = queries.Word(english(text), misspelt=True)
            return method if method.texts and any(queries.occurs(index, method) for index in indexes) else None
        near: dict[str, int] = {}
        for index in indexes:
            near.update(queries.spellings(index, text, looser=looser))
        # Of words that hold each other the shortest will do: it is found in the others.
        ranks = {known: (edits, len(known)) for known, edits in near.items()}
        for rank in sorted(set(ranks.values())):
            meant = queries.Word(tuple(sorted(known for known in near if ranks[known] == rank)), misspelt=True)
            if any(queries.occurs(index, meant) for index in indexes):
                return meant
        return None

    def _of_task_like(self, text: str, limit: int) -> list[Shown]:
        """Models of the task that a text names, or that a model of that name would have; or of its field."""
        from mshub_ssd.cards import Card, kin_of, matching_tasks, task_of

        task = task_of(Card(uid=squeezed(text) or "model", model_name=text))
        for tasks in (matching_tasks(text), [task] if task else [], kin_of(matching_tasks(text) or [task or ""])):
            known = set(self.values("task")).intersection(tasks)
            if known:
                return self._families(Query(facets={"task": known}), "newest", limit)
        return []

    def _spelt_like(self, text: str, limit: int) -> list[Shown]:
        words = [
            queries.Word(tuple(like), misspelt=True)
            for word in queries.words_of(text)
            for index, _ in self._indexes()
            if word.texts[0].isascii() and (like := queries.alike(index, word.texts[0]))
        ]
        return self._found(words, limit, every=False) if words else []

    def _unreadable(self, uid: str) -> CardError | None:
        """Why there is no card of that uid, where something of its name, or a folder above it, is in the way."""
        if not isinstance(uid, str):
            return None
        parts = uid.removesuffix(".md").split("/")
        names = ["/".join(parts), *("/".join(parts[:count]) + "/" for count in range(len(parts) - 1, 0, -1))]
        for index, _ in self._indexes():
            lost = queries.lost(index, names)
            if found := next((lost[name] for name in names if name in lost), None):
                reason, path = found
                return CardError(
                    f"cannot read the card: {reason}",
                    where=path,
                    expected="a readable file in a readable folder",
                    hint=f"look at it: ls -ld {shlex.quote(path)}" if index.source.kind == "folder" else None,
                )
        return None

    def _unknown(self, uid: str) -> UnknownModelError:
        near = self._similar(uid) if isinstance(uid, str) else []
        if near:
            hint = f"did you mean {' or '.join(near)}? try: mshub info {near[0]}"
        else:
            hint = "list the known ones: mshub list"
        return UnknownModelError(
            "no model card of that name",
            where=", ".join(source.label for source in self.sources),
            expected="a uid such as mindspore/1.7/ssdresnet50fpn_coco2017",
            got=scrub(repr(uid))[:200],
            hint=hint,
        )

    def _similar(self, uid: str) -> list[str]:
        """What a wrong uid may mean: the same but for case; the same model in another version; one spelt alike."""
        import difflib

        asked = uid.removesuffix(".md").casefold()
        if not asked or len(asked) > 200:
            return []
        family = "/".join(part for part in asked.split("/") if not queries.is_version(part))
        last = asked.rsplit("/", 1)[-1]
        for name in dict.fromkeys((family, last)):
            found = [one for index, hidden in self._indexes() for one in queries.of_family(index, name, hidden)]
            if found:
                exact = [one for one in found if one.shown.uid.casefold() == asked]
                newest = sorted(found, key=lambda one: one.newness, reverse=True)
                return [one.shown.uid for one in [*exact, *newest]][: 1 if exact else _NEAREST]
        rows = self._candidates(last) if len(asked) > 2 else []
        lower = {known.casefold(): known for known in rows}
        near = difflib.get_close_matches(asked, lower, n=_NEAREST, cutoff=0.6)
        if not near:
            names = {folded.rsplit("/", 1)[-1]: folded for folded in lower}
            near = [names[name] for name in difflib.get_close_matches(last, names, n=_NEAREST, cutoff=0.6)]
        return [lower[folded] for folded in near] or [shown.uid for shown in self.nearest(last)]

    def _candidates(self, name: str) -> list[str]:
        """Uids that a misspelt one is compared with: all, or of very many those that share words with it."""
        if sum(queries.count(index) for index, _ in self._indexes()) <= _FEW:
            return self.uids()
        words = []
        for word in sorted(spelled([name])):
            like = {near for index, _ in self._indexes() for near in queries.alike(index, word)}
            if like:
                words.append(queries.Word(tuple(sorted(like)), misspelt=True))
        found = self._found(words, _COMPARED, every=False, farthest=queries.NAME + 2) if words else []
        return [shown.uid for shown in found]


def _is_task(text: str) -> bool:
    """Whether a whole text is a word for a task."""
    from mshub_ssd.cards import named_task

    return named_task(text) is not None


def _task_in(text: str) -> str | None:
    """The last word for a task in Chinese that is written as one: it says what the ones before specify."""
    chinese = [word.text for word in queries.words_of(text) if not word.text.isascii()]
    parts = (part for word in chinese for part in reversed(written_as_one(word, _is_task)))
    return next((part for part in parts if _is_task(part)), None)


def _check_order(sort: str, limit: int | None) -> None:
    if sort not in queries.SORTS:
        raise UsageError("no such order", expected=", ".join(queries.SORTS), got=repr(sort)[:80])
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise UsageError("limit is not a number of models", expected="1 or more, or None", got=repr(limit)[:80])


class _Backwards:
    """What compares the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: tuple[str, bytes]) -> None:
        self.value = value

    def __lt__(self, other: _Backwards) -> bool:
        return other.value < self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Backwards) and self.value == other.value


def _order(found: Found, sort: str) -> tuple[object, ...]:
    if sort == "newest":
        return (_Backwards((found.updated, found.age)), found.sort)
    if sort == "size":
        size = found.shown.size
        return (size is None, size or 0, found.sort)
    return (found.sort,)
