"""Which cards there are: from a uid to its card, listing and searching.

A card's uid is its path below a root without ``.md``. Uids come from the paths alone; a card is read only when
it is asked for, or when a filter looks inside.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mshub_ssd import settings
from mshub_ssd.cards.names import natural_key, valid_uid
from mshub_ssd.errors import CardError, UnknownModelError, UsageError

if TYPE_CHECKING:
    from mshub_ssd.cards import Card

__all__ = ["Registry", "default_registry", "installed_cards"]

_log = logging.getLogger(__name__)

_NO_CARDS = {"readme.md"}
_NEAREST = 3


class Registry:
    """Model cards of one or more folders; a uid in an earlier folder hides the same one in later folders.

    Args:
        roots: Folders of cards.

    Raises:
        UsageError: A root is not a folder.
    """

    def __init__(self, roots: Sequence[str | Path]) -> None:
        self.roots = tuple(Path(root) for root in roots)
        for root in self.roots:
            if not root.is_dir():
                raise UsageError(
                    "a folder of model cards does not exist",
                    where=str(root),
                    expected="folders that exist, in MSHUB_REGISTRY or in the settings file",
                    hint="create the folder, or take it out of MSHUB_REGISTRY",
                )
        self._paths: dict[str, Path] | None = None

    def uids(self) -> list[str]:
        """All uids in natural order (1.9 before 1.10)."""
        return list(self._index())

    def path(self, uid: str) -> Path:
        """The card file of a uid; ``.md`` at its end is understood.

        Raises:
            UnknownModelError: There is none; names the nearest.
        """
        # Looked up among the files that were found, never joined: `../../etc/passwd` is just an unknown name.
        index = self._index()
        found = index.get(uid) or index.get(uid.removesuffix(".md")) if isinstance(uid, str) else None
        if found is None:
            raise self._unknown(uid)
        return found

    def card(self, uid: str) -> Card:
        """The card of a uid.

        Raises:
            UnknownModelError: There is none; names the nearest.
            CardError: The card cannot be read.
        """
        from mshub_ssd.cards import read_card

        path = self.path(uid)
        return read_card(path, uid if uid in self._index() else uid.removesuffix(".md"))

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
        without ``_``, ``-`` and spaces. Cards that cannot be read are left out, with a warning in the log.

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
        chosen = [
            uid
            for uid in self._index()
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

        return [card.uid for card in self.cards(chosen) if wanted(card)]

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

    def cards(self, uids: Sequence[str] | None = None) -> Iterator[Card]:
        """The cards of some uids of this registry, by default of all, read one by one.

        Cards that cannot be read are left out, with a warning in the log.
        """
        from mshub_ssd.cards import read_card

        for uid in self._index() if uids is None else uids:
            try:
                yield read_card(self._index()[uid], uid)
            except CardError as error:
                _log.warning("left out a card that cannot be read: %s", error)

    def _index(self) -> dict[str, Path]:
        if self._paths is None:
            paths: dict[str, Path] = {}
            for root in self.roots:
                for uid, path in _walk(root):
                    paths.setdefault(uid, path)
            self._paths = dict(sorted(paths.items(), key=lambda item: _uid_key(item[0])))
        return self._paths

    def _unknown(self, uid: str) -> UnknownModelError:
        near = self._nearest(uid) if isinstance(uid, str) else []
        if near:
            hint = f"did you mean {' or '.join(near)}? try: mshub info {near[0]}"
        else:
            hint = "list the known ones: mshub list"
        return UnknownModelError(
            "no model card of that name",
            where=", ".join(map(str, self.roots)),
            expected="a uid such as mindspore/1.7/ssdresnet50fpn_coco2017",
            got=repr(uid)[:200],
            hint=hint,
        )

    def _nearest(self, uid: str) -> list[str]:
        import difflib

        asked = uid.removesuffix(".md").casefold()
        if len(asked) > 200:
            return []
        lower = {known.casefold(): known for known in self._index()}
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


def default_registry(current: settings.Settings | None = None) -> Registry:
    """The folders of ``MSHUB_REGISTRY``, then the cards that bundles installed, then the cards of the package.

    Raises:
        UsageError: A folder does not exist, or the package's own cards are missing.
    """
    chosen = current or settings.current()
    installed = [folder for folder in map(installed_cards, chosen.homes) if _is_folder(folder)]
    return Registry([*chosen.registry, *installed, _bundled()])


def installed_cards(home: Path) -> Path:
    """The folder of a cache where bundles install their cards; it need not exist."""
    return home / "cards"


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # e.g. below a folder that may not be entered
        return False


def _bundled() -> Path:
    package = Path(__file__).resolve().parent
    # In a wheel the cards lie inside the package, in a checkout beside it.
    for folder in (package / "_hub_models", package.parent / "hub_models"):
        if folder.is_dir():
            return folder
    raise UsageError(
        "the bundled model cards are missing",
        where=str(package),
        expected="a folder _hub_models in the package, or hub_models beside it",
        hint="install mshub_ssd again",
    )


def _walk(root: Path) -> Iterator[tuple[str, Path]]:
    """Uids and card files below a root."""
    real_root = os.path.realpath(root)

    def visit(folder: str, prefix: str, above: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
        try:
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            _log.warning("left out a folder of cards that cannot be read: %s: %s", folder, error.strerror)
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            real = None
            if entry.is_symlink():
                real = os.path.realpath(entry.path)
                if os.path.commonpath([real, real_root]) != real_root:
                    _log.debug("no card, a symbolic link out of %s: %s", root, entry.path)
                    continue
            if entry.is_dir():
                here = real or os.path.realpath(entry.path)
                if here not in above and len(prefix) < 200:
                    yield from visit(entry.path, f"{prefix}{entry.name}/", (*above, here))
                continue
            if not entry.name.endswith(".md") or entry.name.lower() in _NO_CARDS or not entry.is_file():
                continue
            uid = prefix + entry.name[:-3]
            if valid_uid(uid):
                yield uid, Path(entry.path)
            else:
                _log.debug("no card, the name is no uid: %s", entry.path)

    return visit(str(root), "", (real_root,))


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
