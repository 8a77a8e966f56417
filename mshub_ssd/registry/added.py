"""Registries with names: what ``mshub registry add`` and ``remove`` write for `mshub_ssd.settings` to read."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from mshub_ssd.errors import UsageError
from mshub_ssd.files import make_folders, replace_file
from mshub_ssd.registry.index import alone
from mshub_ssd.registry.places import open_source
from mshub_ssd.schemes import is_url
from mshub_ssd.settings import AddedRegistry, Settings, added_registries, registries_file, valid_registry_name

__all__ = ["add_registry", "remove_registry"]


def add_registry(name: str, where: str, settings: Settings, *, first: bool = False) -> AddedRegistry:
    """Give a place with cards a name, under which it is searched from now on.

    Args:
        name: The name.
        where: A folder, an archive, a bare repository (perhaps ``PATH@REVISION``), the url of a static registry, or
            a place in an object store.
        settings: For caches, the network and the like.
        first: Whether it is searched before the others that were added, and not behind them.

    Raises:
        UsageError: The name is taken or none, or there is no such place.
    """
    if not valid_registry_name(name):
        raise UsageError(
            "a registry cannot be called so",
            expected="letters, digits, `.`, `_` and `-`, 64 at most, e.g. lab",
            got=repr(name)[:100],
        )
    place: str | Path = where if is_url(where) else Path(os.path.abspath(Path(where).expanduser()))
    open_source(place, settings)
    new = AddedRegistry(name, str(place))
    with _changing() as registries:
        if any(one.name == name for one in registries):
            raise UsageError(
                f"there is a registry called {name} already",
                hint=f"choose another name, or: mshub registry remove {shlex.quote(name)}",
            )
        registries.insert(0 if first else len(registries), new)
    return new


def remove_registry(name: str) -> AddedRegistry:
    """Forget a registry; its cards stay where they are.

    Raises:
        UsageError: There is none of that name.
    """
    with _changing() as registries:
        gone = next((one for one in registries if one.name == name), None)
        if gone is None:
            raise UsageError(
                "no registry of that name was added",
                expected=", ".join(one.name for one in registries) or "there is none",
                got=repr(name)[:100],
                hint="mshub registry list",
            )
        registries.remove(gone)
    return gone


@contextlib.contextmanager
def _changing() -> Iterator[list[AddedRegistry]]:
    """The registries that were added; what the block makes of them is written, and nobody else writes meanwhile."""
    path = registries_file()
    try:
        make_folders(path.parent)
        with alone(path.with_suffix(".lock")):
            registries = list(added_registries())
            yield registries
            told = {"registries": [{"name": one.name, "where": one.where} for one in registries]}
            replace_file(path, (json.dumps(told, indent=2) + "\n").encode())
    except (OSError, sqlite3.Error) as error:
        raise UsageError(
            f"the list of added registries cannot be written: {getattr(error, 'strerror', None) or error}",
            where=str(path),
            hint="see to it that its folder can be written, or name the cards in MSHUB_REGISTRY",
        ) from error
