"""Which cards there are: from a uid to its card, listing and searching.

A card's uid is its path below a root without ``.md``. Uids come from the paths alone; a card is read only when
it is asked for, or when a filter looks inside.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import re
import shlex
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mshub_ssd import settings
from mshub_ssd.cards.names import is_card_name, natural_key, valid_uid
from mshub_ssd.errors import CardError, UnknownModelError, UsageError
from mshub_ssd.files import is_private
from mshub_ssd.redaction import scrub

if TYPE_CHECKING:
    from mshub_ssd.cards import Card

__all__ = ["Registry", "default_registry", "installed_cards"]

_log = logging.getLogger(__name__)

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
            if (fault := _fault(root)) is not None:
                raise UsageError(
                    f"a folder of model cards {fault}",
                    where=str(root),
                    expected="folders that exist, in MSHUB_REGISTRY or in the settings file",
                    hint="create the folder, or take it out of MSHUB_REGISTRY",
                )
        self._paths: dict[str, Path] | None = None
        self._lost: dict[str, tuple[str, str]] = {}

    def uids(self) -> list[str]:
        """All uids in natural order (1.9 before 1.10)."""
        return list(self._index())

    def path(self, uid: str) -> Path:
        """The card file of a uid; ``.md`` at its end is understood.

        Raises:
            UnknownModelError: There is none; names the nearest.
            CardError: Something of that name is there, and is no file that can be read.
        """
        # Looked up among the files that were found, never joined: `../../etc/passwd` is just an unknown name.
        index = self._index()
        found = index.get(uid) or index.get(uid.removesuffix(".md")) if isinstance(uid, str) else None
        if found is None:
            raise self._unreadable(uid) or self._unknown(uid)
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
                for uid, path in _walk(root, self._lost):
                    paths.setdefault(uid, path)
            self._paths = dict(sorted(paths.items(), key=lambda item: _uid_key(item[0])))
        return self._paths

    def _unreadable(self, uid: str) -> CardError | None:
        """Why there is no card of that uid, where something of its name, or a folder above it, is in the way."""
        if not isinstance(uid, str):
            return None
        parts = uid.removesuffix(".md").split("/")
        names = ["/".join(parts), *("/".join(parts[:count]) + "/" for count in range(len(parts) - 1, 0, -1))]
        found = next((self._lost[name] for name in names if name in self._lost), None)
        if found is None:
            return None
        path, reason = found
        return CardError(
            f"cannot read the card: {reason}",
            where=path,
            expected="a readable file in a readable folder",
            hint=f"mend it: ls -ld {shlex.quote(path)}",
        )

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
            got=scrub(repr(uid))[:200],
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

    What somebody else could have installed comes last: it may add cards, but none takes the place of another.

    Raises:
        UsageError: A folder does not exist, or the package's own cards are missing.
    """
    chosen = current or settings.current()
    installed = [folder for folder in map(installed_cards, chosen.homes) if _is_folder(folder)]
    ours = [folder for folder in installed if is_private(folder.parent, folder)]
    others = [folder for folder in installed if folder not in ours]
    return Registry([*chosen.registry, *ours, _bundled(), *others])


def installed_cards(home: Path) -> Path:
    """The folder of a cache where bundles install their cards; it need not exist."""
    return home / "cards"


def _is_folder(path: Path) -> bool:
    return _fault(path) is None


def _fault(folder: Path) -> str | None:
    """Why something is no folder, to go on behind its name; None if it is one."""
    try:
        mode = folder.stat().st_mode
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:  # a link to itself, a file above it, a folder that may not be entered
        return f"cannot be used: {error.strerror}"
    except ValueError:
        return "cannot be used: no path has that name"
    return None if stat.S_ISDIR(mode) else "is no folder"


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


def _walk(root: Path, lost: dict[str, tuple[str, str]]) -> Iterator[tuple[str, Path]]:
    """Uids and card files below a root.

    Args:
        root: The folder.
        lost: Gets what is named like a card, or like a folder of cards (with a slash behind), and cannot be read:
            its path, and why.
    """
    real_root = os.path.realpath(root)

    def visit(folder: str, prefix: str, above: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
        try:
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            _log.warning("left out a folder of cards that cannot be read: %s: %s", folder, error.strerror)
            lost.setdefault(prefix, (folder, error.strerror or type(error).__name__))
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            card_like = is_card_name(entry.name)
            uid = prefix + entry.name.removesuffix(".md")
            kind, reason = _kind(entry, real_root)
            if kind == "lost":
                _log.debug("no card, %s: %r", reason, entry.path)
                lost.setdefault(uid if card_like else f"{uid}/", (entry.path, reason))
            elif kind == "folder":
                here = os.path.realpath(entry.path)
                if here not in above and len(prefix) < 200:
                    yield from visit(entry.path, f"{prefix}{entry.name}/", (*above, here))
            elif card_like and valid_uid(uid):
                yield uid, Path(entry.path)
            elif card_like:
                _log.debug("no card, the name is no uid: %r", entry.path)

    return visit(str(root), "", (real_root,))


def _kind(entry: os.DirEntry[str], root: str) -> tuple[str, str]:
    """``file``, ``folder``, or ``lost`` and why: a link to itself, to nothing or out of the root, a FIFO, a device."""
    try:
        if entry.is_symlink() and os.path.commonpath([os.path.realpath(entry.path), root]) != root:
            return "lost", f"it is a symbolic link out of {root}"
        if entry.is_dir():
            return "folder", ""
        if entry.is_file():
            return "file", ""
        entry.stat()
    except OSError as error:
        return "lost", error.strerror or type(error).__name__
    return "lost", "it is not a regular file"


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
