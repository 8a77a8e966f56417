"""Where cards lie: the user's folders, those that bundles installed, and the package's own."""

from __future__ import annotations

from pathlib import Path

from mshub_ssd.errors import UsageError
from mshub_ssd.files import is_private
from mshub_ssd.registry.folder import fault
from mshub_ssd.registry.registry import Registry
from mshub_ssd.registry.rows import Judge
from mshub_ssd.settings import Settings

__all__ = ["default_registry", "installed_cards"]


def default_registry(settings: Settings, judge: Judge | None = None) -> Registry:
    """The folders of ``MSHUB_REGISTRY``, then the cards that bundles installed, then the cards of the package.

    What somebody else could have installed comes last: it may add cards, but none takes the place of another.

    Args:
        settings: The folders, and the caches, of which the first that is ours alone keeps the index.
        judge: Who says which cards can be loaded.

    Raises:
        UsageError: A folder does not exist, or the package's own cards are missing.
    """
    installed = [folder for folder in map(installed_cards, settings.homes) if fault(folder) is None]
    ours = [folder for folder in installed if is_private(folder.parent, folder)]
    others = [folder for folder in installed if folder not in ours]
    return Registry([*settings.registry, *ours, _bundled(), *others], settings.homes, judge)


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
