"""Providers of other packages: entry points of the group ``mshub_ssd.providers`` that know networks for cards."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from mshub_ssd import lazy
from mshub_ssd.errors import UnknownModelError
from mshub_ssd.providers.recipes import Recipe

if TYPE_CHECKING:
    from mindspore import nn

    from mshub_ssd.cards import Card

__all__ = ["Provider", "candidates", "provider"]

_log = logging.getLogger(__name__)


class Provider(Protocol):
    """What an entry point ``name = module:object`` of the group ``mshub_ssd.providers`` names.

    Whoever installs a package trusts it: its recipes are of the level ``user``.
    """

    def candidates(self, card: Card) -> Sequence[Recipe]:
        """Recipes of the networks that a card may mean, most likely none. Asked for every card, so it must be cheap."""

    def build(self, recipe: Recipe, args: Sequence[Any], kwargs: Mapping[str, Any]) -> nn.Cell:
        """The network of one of its recipes, with arguments that the caller of `mshub_ssd.load` gave."""


def candidates(card: Card) -> list[Recipe]:
    """What the providers of other packages know of a card; one that fails is told and left out."""
    found: list[Recipe] = []
    for name in _named():
        try:
            recipes = list(provider(name).candidates(card))
        except Exception as error:  # noqa: BLE001 - somebody's package must not keep every card from being listed
            _log.warning("the provider %s fails for %s: %s: %s", name, card.uid, type(error).__name__, error)
            continue
        found += [dataclasses.replace(recipe, level="user", provider=name) for recipe in recipes]
    return found


@functools.cache
def provider(name: str) -> Provider:
    """The provider of that name.

    Raises:
        UnknownModelError: There is none.
    """
    if name not in _named():
        raise UnknownModelError(
            "no installed package has such a provider of networks",
            expected=", ".join(_named()) or "none is installed",
            got=name,
            hint="install the package again",
        )
    found: Provider = lazy.load(_named()[name])
    return found


@functools.cache
def _named() -> dict[str, str]:
    return lazy.plugins("mshub_ssd.providers")
