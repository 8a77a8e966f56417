"""Where cards lie: what the user names, what bundles installed, what was added, and the package's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mshub_ssd.errors import UsageError
from mshub_ssd.files import is_private
from mshub_ssd.git import is_bare
from mshub_ssd.registry.folder import Folder, fault
from mshub_ssd.registry.registry import Registry
from mshub_ssd.registry.rows import Judge
from mshub_ssd.registry.source import ENDINGS, Source
from mshub_ssd.schemes import is_store, is_url
from mshub_ssd.settings import Settings

__all__ = ["Place", "all_places", "default_registry", "installed_cards", "open_source"]


@dataclass(frozen=True)
class Place:
    """A place with cards.

    Attributes:
        name: What it is called: its name if it was added, else ``MSHUB_REGISTRY``, ``bundles`` or ``package``.
        where: A path, or a url as text.
        role: ``named`` by the user, ``bundles``, ``added`` or ``package``.
    """

    name: str
    where: Path | str
    role: str


def all_places(settings: Settings) -> Iterator[Place]:
    """All places with cards, in the order they are searched.

    First ``MSHUB_REGISTRY``, then what bundles installed, then what was added, then the cards of the package. What
    somebody else could have installed comes last: it may add cards, but none takes the place of another.

    Raises:
        UsageError: The package's own cards are missing.
    """
    added = {one.name: one.where if is_url(one.where) else Path(one.where) for one in settings.added}
    for named in settings.registry:
        if isinstance(named, str) and named in added:
            yield Place(named, added.pop(named), "named")
        else:
            yield Place("MSHUB_REGISTRY", named, "named")
    installed = [folder for folder in map(installed_cards, settings.homes) if fault(folder) is None]
    ours = [folder for folder in installed if is_private(folder.parent, folder)]
    for folder in ours:
        yield Place("bundles", folder, "bundles")
    for name, where in added.items():
        yield Place(name, where, "added")
    yield Place("package", _bundled(), "package")
    for folder in installed:
        if folder not in ours:
            yield Place("bundles", folder, "bundles")


def default_registry(settings: Settings, judge: Judge | None = None) -> Registry:
    """The cards of `all_places`.

    Args:
        settings: The places, and the caches, of which the first that is ours alone keeps the index.
        judge: Who says which cards can be loaded.

    Raises:
        UsageError: A place cannot be used, or the package's own cards are missing.
    """
    return Registry([open_place(place, settings) for place in all_places(settings)], settings.homes, judge)


def open_place(place: Place, settings: Settings) -> Source:
    """The cards of a place.

    Raises:
        UsageError: It cannot be used.
    """
    try:
        return open_source(place.where, settings)
    except UsageError as error:
        if place.role == "added":
            error.hint = f"if it is gone for good: mshub registry remove {place.name}"
        raise


def open_source(place: Path | str, settings: Settings) -> Source:
    """The cards of a folder, an archive, a bare repository (or ``PATH@REVISION`` of any) or a url.

    Raises:
        UsageError: It is none of these.
        MissingDependencyError: It is a repository, and there is no git.
    """
    # What is not needed is not imported: listing must be quick.
    if isinstance(place, str) and is_store(place):
        from mshub_ssd.registry.bucket import Bucket

        return Bucket(place, settings)
    if isinstance(place, str) and is_url(place):
        from mshub_ssd.registry.web import Web

        return Web(place, settings)
    path = Path(place)
    if fault(path) is None:
        return _repository(path) if is_bare(path) else Folder(path)
    if path.name.lower().endswith(ENDINGS) and _is_there(path):
        from mshub_ssd.registry.archive import Archive

        return Archive(path)
    if not _is_there(path):
        before, at, revision = str(path).rpartition("@")
        for folder in (Path(before), Path(before, ".git")):
            if at and is_bare(folder):
                return _repository(folder, revision)
    return Folder(path)  # which tells why it is none


def _repository(path: Path, revision: str = "HEAD") -> Source:
    from mshub_ssd.registry.git import Git

    return Git(path, revision)


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True


def installed_cards(home: Path) -> Path:
    """The folder of a cache where bundles install their cards; it need not exist."""
    return home / "cards"


def _bundled() -> Path:
    package = Path(__file__).resolve().parent.parent
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
