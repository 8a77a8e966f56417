"""What a model is for: the one table of tasks, and what tells the task of a card.

A key is the field's usual name, as Hugging Face and Papers with Code write it. A row says by which words people ask
for the task, in English and Chinese, and which names, data sets and folders give it away in a card. Words of the card
itself come first; then names that mean one task; then the data set; then names of backbones, which stand for their
usual task only where nothing speaks against it; then the repository; and at last the card's field.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from mshub_ssd.cards.task_table import AREA_WORDS, AREAS, CLASSIFIED, FIELD_KEYS, GROUPS, NOT_CLASSIFIED, TABLE

if TYPE_CHECKING:
    from mshub_ssd.cards.model import Card

__all__ = [
    "Task",
    "find_task",
    "is_kind",
    "kin_of",
    "known_tasks",
    "matching_tasks",
    "named_task",
    "search_words",
    "task_of",
    "told_task",
]


class Task(NamedTuple):
    """A row of the table.

    Attributes:
        key: Name of the task, ``object-detection``.
        field: Broad field: cv, nlp, audio, recommendation, graph, scientific, rl, multimodal.
        words: English words that mean this task and no other; the key's own need not stand here.
        chinese: Chinese words that mean this task and no other.
        broader: Tasks of which this one is a kind; evidence for it refines what they say.
        names: Names of models, small and without separators, that mean this task. A name ends where a word of the
            card's name ends, at a digit, or anywhere with ``*`` behind it.
        backbones: The same for architectures that serve many tasks.
        data: Data sets that are used for nothing else, with ``*`` likewise.
        folders: Folders of repositories, where a name alone would say too little or something else.
        homes: Repositories, and folders of many models, as a last hint.
    """

    key: str
    field: str
    words: tuple[str, ...] = ()
    chinese: tuple[str, ...] = ()
    broader: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    backbones: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    homes: tuple[str, ...] = ()


_HEAD = re.compile(r"([a-z0-9-]+) \(([a-z]+)\)(?: < (.+))?")


def _rows(table: str) -> Iterator[Task]:
    """The rows of a table as text."""
    for block in re.split(r"\n(?=[a-z0-9])", re.sub(r"(?m)^#.*\n|^\n", "", table).strip()):
        head, *lines = re.sub(r"\n {4,}", " ", block).splitlines()
        found = _HEAD.fullmatch(head)
        if found is None:
            raise ValueError(f"no head of a row: {head!r}")
        parts: dict[str, tuple[str, ...]] = {"broader": tuple((found[3] or "").split())}
        for line in lines:
            part, _, text = line.strip().partition(": ")
            parts[part] = tuple(text.split(", ") if part in ("words", "chinese") else text.split())
        yield Task(found[1], found[2], **parts)


_TASKS = tuple(_rows(TABLE))
_ROWS = {task.key: task for task in _TASKS}
# Words of a module-type that leave the task open.
_OPEN = {*FIELD_KEYS.values(), "natural-language-understanding"}

_LONGEST = 200
_LONGEST_TEXT = 1000
_DEEPEST = 8
_WORD = re.compile(r"[a-z0-9]+")
_END = re.compile(r"$|[0-9]|v[0-9]")


def _squeezed(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))


def _chinese(text: str) -> bool:
    # A pattern with this range would take longer to compile than all the rest of the table.
    return not text.isascii() and any("\u4e00" <= sign <= "\u9fff" for sign in text)


def _meanings() -> dict[str, str]:
    """The one task of every word, by the squeezed word."""
    found: dict[str, str] = {}
    for task in _TASKS:
        for word in (task.key, *task.words, *task.chinese):
            found[_squeezed(word)] = task.key
    return found


def _narrower() -> dict[str, frozenset[str]]:
    """The kinds of every task, kinds of kinds among them."""
    kinds = {key: {task.key for task in _TASKS if key in task.broader} for key in _ROWS}
    grown = True
    while grown:
        sizes = {key: len(found) for key, found in kinds.items()}
        for found in kinds.values():
            found.update(*(kinds[key] for key in tuple(found)))
        grown = any(len(kinds[key]) > size for key, size in sizes.items())
    return {key: frozenset(found) for key, found in kinds.items()}


_MEANINGS = _meanings()
_NARROWER = _narrower()
_SEVERAL = {_squeezed(word): keys for words, keys in GROUPS.items() for word in words.split(", ")}
_NAMES = {name: task.key for task in _TASKS for name in task.names}
_BACKBONES = {name: task.key for task in _TASKS for name in task.backbones}
_DATA = {name: task.key for task in _TASKS for name in task.data}
_NAME_LENGTH = max(len(name) for table in (_NAMES, _BACKBONES, _DATA) for name in table)
_FOLDERS = {folder: task.key for task in _TASKS for folder in task.folders}
_HOMES = {folder: task.key for task in _TASKS for folder in task.homes}
_CHINESE_WORDS = tuple(word for word in _MEANINGS if _chinese(word))
_ENGLISH = [word.lower() for task in _TASKS for word in (task.key, *task.words)]
_FIRST_WORDS = {_WORD.findall(word)[0] for word in _ENGLISH}
_MOST_WORDS = max(len(_WORD.findall(word)) for word in _ENGLISH)


def known_tasks() -> tuple[Task, ...]:
    """The table, in its order: by field, and the fields themselves at the end."""
    return _TASKS


def find_task(key: str) -> Task | None:
    """The row of a key; None for a task that a card made up."""
    return _ROWS.get(key)


def named_task(text: str) -> str | None:
    """The task or field that a whole text is a word for, in English or Chinese; None if it is none."""
    word = _squeezed(text)
    return _MEANINGS.get(word) or next(iter(_SEVERAL.get(word, ())), None)


def is_kind(task: str | None, of: str) -> bool:
    """Whether a task is another one or a kind of it: face detection is object detection."""
    return task is not None and (task == of or task in _NARROWER.get(of, ()))


def told_task(module_type: str | None) -> str | None:
    """The task that a module-type names; None where it gives the field only."""
    area, _, rest = (module_type or "").lower().partition("-")
    word = re.sub(r"[_\s]+", "-", rest.strip()).strip("-")
    whole = _MEANINGS.get(_squeezed(area + rest))
    if not word:
        return whole if area.strip() not in AREAS else None
    known = AREA_WORDS.get(area, {}).get(word) or _MEANINGS.get(_squeezed(word)) or whole
    return known or (f"{area}-{word}" if word in {"classification", "segmentation", "detection"} else word)


def task_of(card: Card) -> str | None:
    """The task of a card.

    Of a card that tells nothing but its field, the task is the field: ``computer-vision``. None only where neither
    words nor names nor the repository say anything.
    """
    told = told_task(card.module_type)
    if told is not None and told not in _ROWS:
        return told
    area = (card.module_type or "").lower().partition("-")[0].strip()
    fields = AREAS.get(area)
    found = None if told in _OPEN else told
    for key in _evidence(card):
        if found is None:
            if fields is None or _ROWS[key].field in fields:
                found = key
        elif key in _NARROWER[found]:
            found = key
    if found is None or (found in _OPEN and told is not None):
        found = told or (FIELD_KEYS[fields[0]] if fields else found)
    return found


def _evidence(card: Card) -> Iterator[str]:
    """What the parts of a card say, the surest first; each is right on its own."""
    network = card.network.name if card.network else None
    own = [name for name in (network, card.model_name, card.title) if name]
    folders = list(_folders(card.repo_link or ""))
    if network and (task := _named(network)[0]):
        yield task
    yield from (_FOLDERS[folder] for folder in folders if folder in _FOLDERS)
    uid = card.uid.rpartition("/")[2]
    last = folders[0].rpartition("/")[2] if folders else ""
    for name in (*own, card.backbone_name, last, uid):
        if name and (task := _named(name)[0]):
            yield task
    phrases = _phrases(f"{card.title or ''} . {card.summary or ''}")
    if len(phrases) == 1:
        yield from phrases
    yield from filter(None, map(_data_task, card.datasets))
    plain = [name.lower() for name in card.datasets]
    for name in (*own, last, uid):
        task = _named(name)[1]
        if task and not (task == "image-classification" and any(name.startswith(NOT_CLASSIFIED) for name in plain)):
            yield task
    figures = any(metric.name.lower().startswith("top") for metric in card.metrics)
    if figures and any(name.startswith(CLASSIFIED) for name in plain):
        yield "image-classification"
    yield from (_HOMES[folder] for folder in folders if folder in _HOMES)


@lru_cache(maxsize=4096)
def _named(name: str) -> tuple[str | None, str | None]:
    """The task that a name means, and the usual task of the first architecture in it."""
    backbone = None
    pieces = _WORD.findall(name[:_LONGEST].lower().replace("+", "plus"))
    for index in range(len(pieces)):
        text = "".join(pieces[index:])
        ends = set(_ends(pieces[index:]))
        # A short name in the middle of another one proves nothing.
        shortest = 2 if index == 0 else 5
        if task := _longest(text, ends, _NAMES, shortest):
            return task, backbone
        backbone = backbone or _longest(text, ends, _BACKBONES, 2)
    return None, backbone


@lru_cache(maxsize=4096)
def _data_task(name: str) -> str | None:
    pieces = _WORD.findall(name[:_LONGEST].lower())
    return _longest("".join(pieces), set(_ends(pieces)), _DATA, 2)


def _ends(pieces: list[str]) -> Iterator[int]:
    total = 0
    for piece in pieces:
        total += len(piece)
        yield total


def _longest(text: str, ends: set[int], table: dict[str, str], shortest: int) -> str | None:
    """The value of the longest name that `text` begins with."""
    for length in range(min(len(text), _NAME_LENGTH), 1, -1):
        start = text[:length]
        if task := table.get(start + "*"):
            return task
        if length >= shortest and (task := table.get(start)) and (length in ends or _END.match(text, length)):
            return task
    return None


@lru_cache(maxsize=4096)
def _folders(link: str) -> tuple[str, ...]:
    """All folders that a link names, the longest and last first, without the branch."""
    path = link[:_LONGEST].lower().rstrip(">").partition("://")[2].partition("?")[0]
    parts = [part for part in path.split("/")[1:] if part]
    for word in ("tree", "blob"):
        if word in parts:
            at = parts.index(word)
            parts = parts[:at] + parts[at + 2 :]
    parts = parts[-_DEEPEST:]
    spans = sorted((end, end - start) for start in range(len(parts)) for end in range(start + 1, len(parts) + 1))
    return tuple("/".join(parts[end - size : end]) for end, size in reversed(spans))


def _phrases(text: str) -> set[str]:
    """The tasks that the words of a text mean, without the fields and without those that another one refines."""
    found: set[str] = set()
    words = _WORD.findall(text[:_LONGEST_TEXT].lower())
    at = 0
    while at < len(words):
        for size in range(_MOST_WORDS if words[at] in _FIRST_WORDS else 0, 0, -1):
            if (key := _MEANINGS.get("".join(words[at : at + size]))) and key not in _OPEN:
                found.add(key)
                at += size - 1
                break
        at += 1
    if _chinese(text):
        found.update(_MEANINGS[word] for word in _CHINESE_WORDS if word in text and _MEANINGS[word] not in _OPEN)
    return {key for key in found if not found & _NARROWER[key]}


def search_words(task: str | None) -> tuple[str, ...]:
    """The words by which people look for a task, in English and Chinese, the closest first.

    Its own, those that mean several tasks, those of the tasks of which it is a kind, and those of its field.
    """
    row = _ROWS.get(task or "")
    if row is None:
        return (task.replace("-", " "),) if task else ()
    words = [row.key.replace("-", " "), *row.words, *row.chinese]
    words += [word for text, keys in GROUPS.items() if row.key in keys for word in text.split(", ")]
    for key in row.broader:
        words += search_words(key)
    field = _ROWS[FIELD_KEYS[row.field]]
    words += [field.key.replace("-", " "), *field.words, *field.chinese]
    return tuple(dict.fromkeys(words))


def matching_tasks(text: str) -> list[str]:
    """The tasks that a filter means, in the table's order; empty where it means none.

    Args:
        text: A key, a synonym in English or Chinese, a field (`语音`: all tasks of audio), a part of a key
            (``classification``), its beginning, or a pattern with ``*`` and ``?``. Case, hyphens, underscores and
            spaces make no difference. A task stands for its kinds too.
    """
    asked = text.strip().lower()
    if any(sign in asked for sign in "*?["):
        pattern = re.sub(r"[_\s]+", "-", asked)
        return [key for key in _ROWS if fnmatch.fnmatchcase(key, pattern)]
    word = _squeezed(asked)
    if not word:
        return []
    meant = {*_SEVERAL.get(word, ()), *([_MEANINGS[word]] if word in _MEANINGS else ())}
    meant = meant or {task.key for task in _TASKS if any(_squeezed(part) == word for part in _parts(task.key))}
    if not meant and _chinese(word):
        meant = {_MEANINGS[known] for known in _CHINESE_WORDS if word in known} - set(FIELD_KEYS.values())
    elif not meant and len(word) > 2:
        meant = {
            task.key for task in _TASKS if any(_squeezed(part).startswith(word) for part in _parts(task.key, True))
        }
    meant.update(*(_NARROWER[key] for key in tuple(meant)))
    fields = {_ROWS[key].field for key in meant if key in FIELD_KEYS.values()}
    return [task.key for task in _TASKS if task.key in meant or task.field in fields]


def kin_of(keys: Sequence[str]) -> list[str]:
    """All tasks of the fields that some tasks belong to."""
    fields = {_ROWS[key].field for key in keys if key in _ROWS}
    return [task.key for task in _TASKS if task.field in fields]


def _parts(key: str, to_end: bool = False) -> Iterator[str]:
    """All runs of a key's words; with `to_end`, those that reach its end."""
    words = key.split("-")
    for start in range(len(words)):
        for end in range(len(words) if to_end else start + 1, len(words) + 1):
            yield "-".join(words[start:end])
