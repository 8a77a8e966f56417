"""Where scripts expect their files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mshub_ssd.errors import UsageError
from mshub_ssd.foreign.adapters.surroundings import Surroundings, adapter

__all__: list[str] = []


@adapter("cwd", "the code's folder is the working folder while it is imported and called")
@adapter("cwd:PLACE", "a folder of the code is the working folder, e.g. `cwd:scripts`")
def _cwd(around: Surroundings, place: str = ".") -> None:
    _must_lie_inside(place)

    @contextmanager
    def inside(folder: Path) -> Iterator[None]:
        os.chdir(folder / place)  # put back with the rest of the process's state
        yield

    around.contexts.append(inside)


@adapter("environ:NAME=VALUE", "a variable of the environment while the code is imported and called")
def _environment(around: Surroundings, setting: str) -> None:
    name, equals, value = setting.partition("=")
    if not name or not equals:
        raise UsageError("an adapter's variable has no value", got=setting, expected="environ:NAME=VALUE")

    @contextmanager
    def inside(_folder: Path) -> Iterator[None]:
        os.environ[name] = value  # put back with the rest, too
        yield

    around.contexts.append(inside)


@adapter("misspelt-conf", "`mindspore_hub_conf` is in a file called `mindpsore_hub_conf.py`")
def _misspelt(around: Surroundings) -> None:
    around.files["mindspore_hub_conf"] = "mindpsore_hub_conf.py"


@adapter(
    "folder:PLACE", "modules are also looked for in this folder of the code, as if a script had extended `sys.path`"
)
def _further_folder(around: Surroundings, place: str) -> None:
    _must_lie_inside(place)
    around.folders.append(place)


@adapter("renamed:MODULE=NAME", "the code imports a module of its own by a name that it has not any more")
def _renamed(around: Surroundings, names: str) -> None:
    module, _, now = names.partition("=")
    if not module or not now:
        raise UsageError("an adapter's module has no name", got=names, expected="renamed:MODULE=NAME")
    around.aliases[module] = now


def _must_lie_inside(place: str) -> None:
    if Path(place).is_absolute() or ".." in Path(place).parts:
        raise UsageError("an adapter's folder must lie in that of the code", got=place, expected="a relative path")
