"""Which cards can be loaded here: what the registry's index asks, which knows neither networks nor files."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import TYPE_CHECKING

from mshub_ssd.errors import is_installed
from mshub_ssd.lazy import plugins
from mshub_ssd.settings import code_state

if TYPE_CHECKING:
    from mshub_ssd.cards import Card
    from mshub_ssd.registry import Verdict

__all__ = ["CardJudge"]

# Packages that have networks of cards.
_PACKAGES = ("mindcv", "mindyolo", "mindocr")


class CardJudge:
    """Judges cards by their texts, as `mshub_ssd.providers` does."""

    @property
    def fingerprint(self) -> str:
        """Another one whenever the networks that are known here, or the code that chooses one, are others."""
        from mshub_ssd import networks

        code = code_state("formats.py", "providers", "providers/data", "networks", "foreign")
        return f"{code} {networks.names()} {_packages()}"

    def __call__(self, card: Card) -> Verdict:
        """Whether a card can be loaded, and as what."""
        from mshub_ssd import providers
        from mshub_ssd.errors import MshubError
        from mshub_ssd.registry import Verdict

        obstacle = next(providers.obstacles(card), None)
        try:
            recipe = providers.choose_network(card)
        except MshubError as error:
            return Verdict(None, error.message)
        kind = hashlib.sha256(
            json.dumps([recipe.key, recipe.arguments, recipe.classes], sort_keys=True, default=str).encode()
        ).hexdigest()
        if obstacle is not None:
            return Verdict(recipe.key, obstacle.error.message, kind=kind)
        path = providers.choose_checkpoint(card).path
        return Verdict(recipe.key, None, None if path is None else str(path), kind)


@functools.cache
def _packages() -> list[str]:
    """Installed packages that have networks of cards."""
    return [*filter(is_installed, _PACKAGES), *sorted(plugins("mshub_ssd.providers"))]
