"""Cards of several folders as one: from a uid to its card, listing, searching."""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mshub_ssd.cards import natural_key
from mshub_ssd.errors import CardError, UnknownModelError, UsageError
from mshub_ssd.redaction import scrub
from mshub_ssd.registry import folder, remarks
from mshub_ssd.registry.folder import Lost

if TYPE_CHECKING:
    from mshub_ssd.cards import Card

__all__ = ["Registry"]

_NEAREST = 3


class Registry:
    """Model cards of one or more folders; a uid in an earlier folder hides the same one in later folders.

    Nothing is remembered: a card that is edited, added or removed is seen by the next call. A card is read only when
    it is asked for, or when a filter looks inside.

    Args:
        roots: Folders of cards.

    Raises:
        UsageError: A root is not a folder.
    """

    def __init__(self, roots: Sequence[str | Path]) -> None:
        self.roots = tuple(Path(root) for root in roots)
        for root in self.roots:
            if (fault := folder.fault(root)) is not None:
                raise UsageError(
                    f"a folder of model cards {fault}",
                    where=str(root),
                    expected="folders that exist, in MSHUB_REGISTRY or in the settings file",
                    hint="create the folder, or take it out of MSHUB_REGISTRY",
                )

    def uids(self) -> list[str]:
        """All uids in natural order (1.9 before 1.10)."""
        return list(self._walk()[0])

    def path(self, uid: str) -> Path:
        """The card file of a uid; ``.md`` at its end is understood.

        Raises:
            UnknownModelError: There is none; names the nearest.
            CardError: Something of that name is there, and is no file that can be read.
        """
        return self._find(uid)[1]

    def card(self, uid: str) -> Card:
        """The card of a uid.

        Raises:
            UnknownModelError: There is none; names the nearest.
            CardError: The card cannot be read.
        """
        from mshub_ssd.cards import read_card

        name, path = self._find(uid)
        return read_card(path, name)

    def list_models(
        self,
        pattern: str = "*",
        *,
        task: str | None = None,
        dataset: str | None = None,
        backbone: str | None = None,
        publisher: str | None = None,
        mindspore_version: str | None = None,
        predicate: Callable[[Card], bool] | None = None,
    ) -> list[str]:
        """Uids in natural order, those that fit all filters.

        Filters compare without case, and may hold the wildcards ``*``, ``?`` and ``[...]``. Names are also compared
        without ``_``, ``-`` and spaces. Cards that cannot be read are left out, with one warning for all of them
        in the log, once in a process.

        Args:
            pattern: Wildcard for the uid; ``*`` also matches ``/``.
            task: E.g. ``object-detection``.
            dataset: E.g. ``coco2017`` or ``coco*``.
            backbone: The backbone's name or a word of it or of the card's network, e.g. ``resnet50``.
            publisher: First part of the uid.
            mindspore_version: Text, e.g. ``1.10``.
            predicate: A further test.

        Raises:
            UsageError: A filter is not text (the number 1.10 would be 1.1).
        """
        filters = {
            "pattern": pattern,
            "task": task,
            "dataset": dataset,
            "backbone": backbone,
            "publisher": publisher,
            "mindspore_version": mindspore_version,
        }
        for name, value in filters.items():
            if value is not None and not isinstance(value, str):
                raise UsageError(
                    f"the filter {name} is not text",
                    expected=f'text, e.g. {name}="1.10"',
                    got=repr(value),
                    hint="put it in quotes: the number 1.10 is 1.1",
                )
        paths = self._walk()[0]
        chosen = [
            uid
            for uid in paths
            if _fits(pattern, uid) and (publisher is None or ("/" in uid and _fits(publisher, uid.split("/")[0])))
        ]
        if all(value is None for value in (task, dataset, backbone, mindspore_version, predicate)):
            return chosen

        def wanted(card: Card) -> bool:
            return (
                (task is None or _fits(task, card.task))
                and (dataset is None or any(_fits(dataset, name) for name in card.datasets))
                and (backbone is None or any(_fits(backbone, name) for name in _backbone_names(card)))
                and (mindspore_version is None or _fits(mindspore_version, card.mindspore_version, exact=True))
                and (predicate is None or predicate(card))
            )

        return [card.uid for card in _readable({uid: paths[uid] for uid in chosen}, self.roots) if wanted(card)]

    def search(self, text: str) -> list[str]:
        """Uids of the cards in which all words of `text` occur, best first.

        Searched are uid, title, names, data sets, task and summary, without case. Cards with more of the words in
        their uid come first, then natural order.
        """
        words = text.casefold().split()
        found: list[tuple[int, str]] = []
        for card in self.cards():
            uid = card.uid.casefold()
            network = card.network.name if card.network else None
            names = (card.title, card.model_name, card.backbone_name, network, card.task, card.module_type)
            texts = [name.casefold() for name in (*names, card.summary, *card.datasets) if name]
            if all(word in uid or any(word in place for place in texts) for word in words):
                found.append((-sum(word in uid for word in words), card.uid))
        # The index is in natural order, and sorting is stable.
        return [uid for _, uid in sorted(found, key=lambda item: item[0])]

    def cards(self) -> Iterator[Card]:
        """All cards, read one by one.

        Those that cannot be read are left out, with one warning for all of them in the log, once in a process.
        """
        return _readable(self._walk()[0], self.roots)

    def _find(self, uid: str) -> tuple[str, Path]:
        """A uid as it is meant, and its card file: one look per folder."""
        if isinstance(uid, str):
            for name in dict.fromkeys((uid, uid.removesuffix(".md"))):
                for root in self.roots:
                    if (path := folder.find(root, name)) is not None:
                        return name, path
        paths, lost = self._walk()
        raise _unreadable(uid, lost) or self._unknown(uid, list(paths))

    def _walk(self) -> tuple[dict[str, Path], dict[str, Lost]]:
        """The card files by uid, in natural order; and what is in the place of others."""
        paths: dict[str, Path] = {}
        lost: dict[str, Lost] = {}
        for root in self.roots:
            for found in folder.walk(root):
                if isinstance(found, Lost):
                    lost.setdefault(found.uid, found)
                else:
                    paths.setdefault(*found)
        return dict(sorted(paths.items(), key=lambda item: _uid_key(item[0]))), lost

    def _unknown(self, uid: str, known: Sequence[str]) -> UnknownModelError:
        near = _nearest(uid, known) if isinstance(uid, str) else []
        if near:
            hint = f"did you mean {' or '.join(near)}? try: mshub info {near[0]}"
        else:
            hint = "list the known ones: mshub list"
        return UnknownModelError(
            "no model card of that name",
            where=", ".join(map(str, self.roots)),
            expected="a uid such as mindspore/1.7/ssdresnet50fpn_coco2017",
            got=scrub(repr(uid))[:200],
            hint=hint,
        )


def _unreadable(uid: str, lost: Mapping[str, Lost]) -> CardError | None:
    """Why there is no card of that uid, where something of its name, or a folder above it, is in the way."""
    if not isinstance(uid, str):
        return None
    parts = uid.removesuffix(".md").split("/")
    names = ["/".join(parts), *("/".join(parts[:count]) + "/" for count in range(len(parts) - 1, 0, -1))]
    found = next((lost[name] for name in names if name in lost), None)
    if found is None:
        return None
    return CardError(
        f"cannot read the card: {found.reason}",
        where=found.path,
        expected="a readable file in a readable folder",
        hint=f"look at it: ls -ld {shlex.quote(found.path)}",
    )


def _nearest(uid: str, uids: Sequence[str]) -> list[str]:
    import difflib

    asked = uid.removesuffix(".md").casefold()
    if len(asked) > 200:
        return []
    lower = {known.casefold(): known for known in uids}
    if asked in lower:
        return [lower[asked]]
    last = asked.rsplit("/", 1)[-1]
    same_name = [known for folded, known in lower.items() if folded.rsplit("/", 1)[-1] == last]
    if same_name:
        # The newest first: that is the one most people want.
        return same_name[::-1][:_NEAREST]
    near = difflib.get_close_matches(asked, lower, n=_NEAREST, cutoff=0.6)
    if not near:
        names = {folded.rsplit("/", 1)[-1]: folded for folded in lower}
        near = [names[name] for name in difflib.get_close_matches(last, names, n=_NEAREST, cutoff=0.6)]
    return [lower[folded] for folded in near]


def _readable(paths: Mapping[str, Path], roots: Sequence[Path]) -> Iterator[Card]:
    from mshub_ssd.cards import read_card

    lost = []
    try:
        for uid, path in paths.items():
            try:
                card = read_card(path, uid)
            except CardError as error:
                lost.append((path, error))
            else:
                yield card
    finally:  # also where nobody wants the rest
        remarks.cards_left_out(lost, roots)


def _uid_key(uid: str) -> tuple[object, ...]:
    return tuple(natural_key(part) for part in uid.split("/"))


def _backbone_names(card: Card) -> list[str]:
    names = [name for name in (card.backbone_name, card.network and card.network.name) if name]
    return [*names, *(word for name in names for word in re.split(r"[_\-\s]", name))]


def _fits(wanted: str, name: str | None, *, exact: bool = False) -> bool:
    if name is None:
        return False
    low, asked = name.lower(), wanted.lower()
    if fnmatch.fnmatchcase(low, asked):
        return True
    return not exact and _squeezed(low) == _squeezed(asked)


def _squeezed(text: str) -> str:
    return re.sub(r"[_\-\s]", "", text)
