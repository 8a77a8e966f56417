"""From a recipe to its Cell, whoever wrote the code: this library, a package, or a repository that may be run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd import foreign, networks
from mshub_ssd.errors import MissingDependencyError, install_hint, is_installed
from mshub_ssd.providers import plugins
from mshub_ssd.providers.recipes import Call, Recipe

if TYPE_CHECKING:
    from mindspore import nn

    from mshub_ssd.settings import Settings

__all__ = ["build_network", "check_code"]


def build_network(
    recipe: Recipe,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    settings: Settings,
    initialised: bool = True,
    trust_repo: bool = False,
    uid: str = "",
    where: str | None = None,
) -> nn.Cell:
    """Build a recipe's network.

    Args:
        recipe: How.
        args: The caller's arguments, instead of the recipe's.
        kwargs: The caller's arguments by name; they come before the recipe's and the card's.
        settings: The caches of code.
        initialised: Whether the parameters get values; a checkpoint would overwrite them anyway.
        trust_repo: Consent to run the repository's code, at this commit.
        uid: The card.
        where: Where the card is, for messages.

    Raises:
        MissingDependencyError: The package is not installed.
        TrustError: The repository's code may not be run, or did what it must not while it was built.
        MshubError: In one of its kinds: the code cannot be had, or does not build with these arguments.
    """
    call, code = recipe.call, recipe.code
    if recipe.provider:
        return plugins.provider(recipe.provider).build(recipe, args, {**recipe.arguments, **(kwargs or {})})
    if call is None or code is None:
        return networks.build(
            recipe.key,
            args,
            kwargs,
            card=recipe.arguments,
            classes=recipe.classes,
            initialised=initialised,
            where=where,
        )
    merged = Call(
        call.callable, tuple(args) or call.args, {**call.kwargs, **recipe.arguments, **(kwargs or {})}, call.argv
    )
    check_code(recipe, uid=uid, trust_repo=trust_repo)
    initialised = initialised or recipe.values
    if recipe.level == "repository":
        folder = foreign.folder(code.name, code.version, code.path, settings=settings)
        return foreign.build(folder, merged, recipe.adapters, initialised=initialised)
    # Packages have no folder of their own; they are watched in the same way.
    with tempfile.TemporaryDirectory() as empty:
        return foreign.build(Path(empty), merged, recipe.adapters, initialised=initialised)


def check_code(recipe: Recipe, *, uid: str = "", trust_repo: bool = False) -> None:
    """See that a recipe's code may run here, before anything is done for it; imports nothing.

    Args:
        recipe: The recipe.
        uid: The card.
        trust_repo: Consent to run the repository's code, at this commit.

    Raises:
        MissingDependencyError: It is a package's that is not installed.
        TrustError: It is a repository's, and the user has not consented.
    """
    code = recipe.code
    if code is None:
        return
    if recipe.level == "repository":
        foreign.require(code.name, code.version, uid=uid, path=code.path, trust_repo=trust_repo)
    elif not is_installed(code.name):
        raise MissingDependencyError(
            f"the network {recipe.key} is in the package {code.name}, which is not installed",
            expected=f"{code.name}{code.version}",
            hint=install_hint(code.name),
        )
