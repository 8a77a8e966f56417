"""What the user decides: environment first, then the user's file, then defaults.

A cache chosen by `set_home` comes before all of them, until the process ends.

The user's file is ``config.toml`` in the platform's configuration folder for ``mshub``, e.g.
``~/.config/mshub/config.toml``; its keys are the field names of `Settings`. Beside it lie ``registries.json``, which
``mshub registry`` writes, and the folder ``trust`` of ``mshub trust``.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mshub_ssd.errors import ArgumentTypeError, UsageError
from mshub_ssd.files import read_regular
from mshub_ssd.redaction import hide, redact
from mshub_ssd.schemes import is_url, is_web

__all__ = [
    "AddedRegistry",
    "Settings",
    "added_registries",
    "code_state",
    "current",
    "package_version",
    "registries_file",
    "set_home",
    "trust_folder",
    "user_file",
    "valid_registry_name",
]

_log = logging.getLogger(__name__)
_told: set[Path] = set()
# Written and read in one step each, so threads need no lock.
_chosen_home: Path | None = None

_TRUE = {"1", "true", "yes", "on", "always"}
_FALSE = {"", "0", "false", "no", "off", "auto", "never"}


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class AddedRegistry:
    """A registry that ``mshub registry add`` gave a name.

    Attributes:
        name: Its name.
        where: A url, or an absolute path, of a repository perhaps with ``@REVISION``.
    """

    name: str
    where: str

    def __repr__(self) -> str:
        return f"AddedRegistry(name={self.name!r}, where={hide(self.where)!r})"


@dataclass(frozen=True)
class Settings:
    """Every setting, resolved.

    Attributes:
        home: Root of the download cache (``MSHUB_HOME``, the first of its folders).
        registry: Further places with cards, searched before all others (``MSHUB_REGISTRY``): paths, and as text urls
            and names of added registries.
        offline: Forbid the network (``MSHUB_OFFLINE``).
        endpoint: A mirror, tried first as ``<endpoint>/<host>/<path>`` (``MSHUB_ENDPOINT``).
        token: Secret sent to the endpoint's host only (``MSHUB_TOKEN``).
        verify_always: Hash cached files on every use (``MSHUB_VERIFY=always``).
        more_homes: Further caches, the rest of ``MSHUB_HOME`` (folders with `os.pathsep` between them). All are
            searched; the first that can be written receives new files.
        connections: Connections per download (``MSHUB_CONNECTIONS``, 1 to 16). More than one helps where a server
            limits each connection's speed, and nowhere else.
        added: What ``mshub registry add`` gave names, in the order they are searched.
        repositories: Where repositories of code are to be had instead of their own urls (``MSHUB_REPOSITORIES``):
            names, and for each the path of a clone or a url.
    """

    home: Path
    registry: tuple[Path | str, ...] = ()
    offline: bool = False
    endpoint: str | None = None
    token: str | None = None
    verify_always: bool = False
    more_homes: tuple[Path, ...] = ()
    connections: int = 1
    added: tuple[AddedRegistry, ...] = ()
    repositories: tuple[tuple[str, Path | str], ...] = ()

    @property
    def homes(self) -> tuple[Path, ...]:
        """Every cache, in the order they are searched."""
        return tuple(dict.fromkeys((self.home, *self.more_homes)))

    def __repr__(self) -> str:
        # No secret must reach a log by way of a repr.
        endpoint = None if self.endpoint is None else redact(self.endpoint)
        registry = tuple(hide(place) if isinstance(place, str) else place for place in self.registry)
        shown = {**self.__dict__, "token": None if self.token is None else "***", "endpoint": endpoint}
        shown["registry"] = registry
        shown["repositories"] = tuple(
            (name, hide(place) if isinstance(place, str) else place) for name, place in self.repositories
        )
        return f"Settings({', '.join(f'{k}={v!r}' for k, v in shown.items())})"


def current(environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """The settings as they are now.

    Args:
        environ: Environment to read instead of the process's own.
        given: Values that win over both, by their keys in the user's file; None stands for nothing given.

    Raises:
        UsageError: A value makes no sense, or the user's file cannot be read.
    """
    env = os.environ if environ is None else environ
    stored = _read_user_file()

    def value(key: str) -> tuple[str, Any]:
        """Whose value it is, for messages, and the value; None where nobody gave one."""
        variable = f"MSHUB_{key.upper()}"
        if given.get(key) is not None:
            return key, given[key]
        if key == "home" and environ is None and _chosen_home is not None:
            return key, _chosen_home
        return variable, env[variable] if variable in env else stored.get(key)

    def text(key: str) -> str | None:
        found = value(key)[1]
        return None if found is None else str(found) or None

    def folders(key: str) -> tuple[Path, ...]:
        name, found = value(key)
        if isinstance(found, os.PathLike):
            found = [found]
        listed = found if isinstance(found, list | tuple) else str(found or "").split(os.pathsep)
        return tuple(_folder(str(item), name) for item in listed if str(item))

    def places(key: str) -> tuple[Path | str, ...]:
        name, found = value(key)
        if isinstance(found, os.PathLike):
            found = [found]
        listed = found if isinstance(found, list | tuple) else _split(str(found or ""), name)
        return tuple(
            _folder(str(item), name) if isinstance(item, os.PathLike) else _place(str(item), name, added)
            for item in listed
            if str(item)
        )

    added = added_registries()
    homes = folders("home") or (_default_home(),)
    return Settings(
        home=homes[0],
        more_homes=homes[1:],
        registry=places("registry"),
        added=added,
        offline=_switch(*value("offline")),
        endpoint=text("endpoint"),
        token=text("token"),
        verify_always=_switch(*value("verify")),
        connections=_count(*value("connections"), most=16),
        repositories=_repositories(*value("repositories")),
    )


def set_home(folder: str | os.PathLike[str] | None) -> None:
    """Choose the cache of this process, whatever the environment and the user's file say; None to follow them again.

    Args:
        folder: It need not exist; a relative one lies below the folder that is the current one now.

    Raises:
        ArgumentTypeError: It is no path.
        UsageError: There can be no such folder.
    """
    global _chosen_home
    if folder is None:
        _chosen_home = None
        return
    name = os.fspath(folder) if isinstance(folder, str | os.PathLike) else None
    if not isinstance(name, str):
        raise ArgumentTypeError("a folder is named by text", expected="a path", got=repr(type(folder)))
    hint = "give a folder, or one that can be made; None for the usual one"
    if not name:
        raise UsageError("a folder has a name", expected="a path", got="''", hint=hint)
    chosen = _folder(name, "home")
    if ".." in chosen.parts:
        chosen = chosen.resolve()
    # A folder that exists, or is to be made below one: the nearest thing that is there decides.
    nearest = next((place for place in (chosen, *chosen.parents) if os.path.lexists(place)), chosen)
    if not nearest.is_dir():
        raise UsageError("the cache cannot lie there: this is no folder", where=str(nearest), got=repr(name), hint=hint)
    _chosen_home = chosen


def user_file() -> Path:
    """Path of the user's settings file; it need not exist, and cannot where there is no home folder."""
    return _at_home("config", "XDG_CONFIG_HOME") / "config.toml"


def registries_file() -> Path:
    """Path of the file with the registries that were added; it need not exist."""
    return user_file().with_name("registries.json")


def trust_folder() -> Path:
    """Path of the folder with the user's consents to code of others; it need not exist."""
    return user_file().with_name("trust")


def valid_registry_name(text: str) -> bool:
    """Whether a registry can be called so: letters, digits, ``.``, ``_`` and ``-``, 64 at most."""
    return _NAME.fullmatch(text) is not None


def package_version() -> str:
    """Version of the installed package, ``0+unknown`` when run from a bare source tree."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mshub_ssd")
    except PackageNotFoundError:
        return "0+unknown"


def code_state(*parts: str) -> str:
    """What tells two states of the package's code apart, for what is kept of its work.

    Args:
        *parts: The modules that the work follows from, and folders of them.
    """
    package = os.path.dirname(__file__)  # noqa: PTH120 - this runs in every quick command
    above = os.path.dirname(package)  # noqa: PTH120
    # A wheel's files may all have one time: the version is in a name beside the package.
    told: list[object] = [name for name in sorted(os.listdir(above)) if name.startswith("mshub_ssd-")]  # noqa: PTH208
    for part in parts:
        place = f"{package}/{part}"
        files = [place] if part.endswith(".py") else sorted(one.path for one in os.scandir(place))
        for file in files:
            if file.endswith((".py", ".jsonl")):
                state = os.stat(file)  # noqa: PTH116
                told.append((file[len(package) :], state.st_size, state.st_mtime_ns))
    return repr(told)


def _default_home() -> Path:
    return _at_home("cache", "XDG_CACHE_HOME")


def _at_home(kind: str, variable: str) -> Path:
    home = os.environ.get("HOME", "")
    if sys.platform == "linux" and os.path.isabs(home) and {variable, "ANDROID_DATA"}.isdisjoint(os.environ):  # noqa: PTH117
        return Path(home, f".{kind}", "mshub")  # as below, without the import: a twentieth of a quick command
    import platformdirs

    try:
        folder = getattr(platformdirs, f"user_{kind}_dir")("mshub", appauthor=False)
    except RuntimeError:
        folder = "~"
    # Without a home folder some versions leave `~` in the name, which would be made wherever the user stands. Nothing
    # can lie below a device: the settings file is absent, and whoever needs the cache is told to set MSHUB_HOME.
    return Path(os.devnull, "mshub") if folder.startswith("~") else Path(folder)


def _folder(name: str, variable: str) -> Path:
    try:
        if "\0" in name:
            raise ValueError("it holds a NUL")
        return Path(name).expanduser().absolute()
    except (OSError, RuntimeError, ValueError) as error:  # no such user, no home, the working folder is gone
        raise UsageError(
            f"{variable} names a folder that cannot be found: {getattr(error, 'strerror', None) or error}",
            expected="an absolute path",
            got=repr(name),
            hint=f"set {variable} (or settings key `{variable.removeprefix('MSHUB_').lower()}`) to an absolute path",
        ) from error


def _split(text: str, variable: str) -> list[str]:
    """The places in a text: `os.pathsep` stands between them, or ``;``, which a url needs."""
    found: list[str] = []
    for piece in map(str.strip, text.split(";")):
        if is_url(piece):
            found.append(piece)
            continue
        if "://" in piece:
            raise UsageError(
                f"{variable} holds a url beside something else",
                expected="`;` before and behind each url",
                got=repr(hide(piece)),
                hint=f"set {variable}='FOLDER;https://HOST/PATH'",
            )
        found += piece.split(os.pathsep)
    return found


def _place(text: str, variable: str, added: tuple[AddedRegistry, ...]) -> Path | str:
    """A place with cards; who means a folder that is called like an added registry writes ``./NAME``."""
    if is_url(text) or any(text == one.name for one in added):
        return text
    return _folder(text, variable)


def _repositories(variable: str, found: object) -> tuple[tuple[str, Path | str], ...]:
    """Names and places: a table in the settings file, ``NAME=PLACE;NAME=PLACE`` in the environment."""
    if found is None or isinstance(found, str):
        rows = [piece.strip().partition("=") for piece in (found or "").split(";") if piece.strip()]
        pairs: list[tuple[Any, Any]] = [(name.strip(), place.strip()) for name, _, place in rows]
    else:
        pairs = list(found.items()) if isinstance(found, Mapping) else [("", found)]
    for name, place in pairs:
        if not isinstance(place, str | os.PathLike) or not str(place) or "/" not in name:
            raise UsageError(
                f"{variable} does not say where a repository is",
                expected="OWNER/NAME=/path/of/a/clone or OWNER/NAME=https://HOST/PATH, with `;` between them",
                got=hide(f"{name}={place}")[:200],
                hint='in the settings file: repositories = { "OWNER/NAME" = "/path/of/a/clone" }',
            )
    return tuple((name, _clone(str(place), variable)) for name, place in pairs)


def _clone(place: str, variable: str) -> Path | str:
    if is_web(place):
        return place
    if place.startswith("file://"):
        from urllib.request import url2pathname

        return _folder(url2pathname(place.removeprefix("file://")), variable)
    if "://" in place:
        raise UsageError(
            f"{variable} names a place that code is not taken from",
            expected="a path, or a url with https, http or file",
            got=hide(place)[:200],
        )
    return _folder(place, variable)


def _switch(name: str, value: object) -> bool:
    word = str("" if value is None else value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise UsageError(
        f"{name} is neither on nor off",
        expected="1 or 0",
        got=repr(value),
        hint=f"unset {name}, or set it to 1 or 0",
    )


def _count(name: str, value: object, *, most: int) -> int:
    word = str("1" if value is None or value == "" else value).strip()
    if word.isascii() and word.isdigit() and 1 <= int(word[:9]) <= most:
        return int(word)
    raise UsageError(
        f"{name} is not a number from 1 to {most}",
        expected=f"1 to {most}",
        got=repr(value),
        hint=f"unset {name}, or set it to a number from 1 to {most}",
    )


def _is_there(path: Path) -> bool:
    """Whether a settings file that cannot be read exists; where nobody can tell, the user learns it once."""
    try:
        path.lstat()
    except PermissionError as error:
        if path.parent not in _told:
            _told.add(path.parent)
            _log.warning(
                "settings are left aside, their folder may not be entered: %s: %s", path.parent, error.strerror
            )
        return False
    except (OSError, ValueError):  # its folder cannot exist: a file or a link to itself above it, too long a name
        return False
    return True


def added_registries() -> tuple[AddedRegistry, ...]:
    """What ``mshub registry add`` gave names, as the file says now.

    Raises:
        UsageError: It cannot be read.
    """
    path = registries_file()
    try:
        rows = json.loads(read_regular(path, 1 << 20))["registries"]
        found = tuple(AddedRegistry(row["name"], row["where"]) for row in rows)
        if not all(valid_registry_name(one.name) and isinstance(one.where, str) and one.where for one in found):
            raise ValueError("a name or a place in it is none")
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        if isinstance(error, OSError) and not _is_there(path):
            return ()
        raise UsageError(
            f"cannot read the list of added registries: {getattr(error, 'strerror', None) or error}",
            where=str(path),
            hint="correct or delete it, and add them again: mshub registry add NAME WHERE",
        ) from error
    return found


def _read_user_file() -> dict[str, Any]:
    path = user_file()
    try:
        data = read_regular(path, 1 << 20)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        if not _is_there(path):
            return {}
        # It may forbid the network: going on without it is not for us to decide.
        raise UsageError(
            f"cannot read the settings file: {getattr(error, 'strerror', None) or error}",
            where=str(path),
            hint=f"chmod u+r {shlex.quote(str(path))}, or leave it aside: set XDG_CONFIG_HOME to another folder",
        ) from error
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        parsed = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"the settings file is not valid TOML: {error}", where=str(path), hint=f"correct or delete {path}"
        ) from error
    known = {"home", "registry", "offline", "endpoint", "token", "verify", "connections", "repositories"}
    unknown = sorted(set(parsed) - known)
    if unknown:
        raise UsageError(
            f"the settings file has an unknown key: {', '.join(unknown)}",
            where=str(path),
            expected=", ".join(sorted(known)),
            hint=f"correct {path}",
        )
    return parsed
