"""Folders of other people's code, imported under private names: each finds its own modules, and nobody else's.

Such code says ``from src.resnet import resnet50`` or ``import config``, and so does that of the next folder. Its
modules are therefore called ``_mshub_foreign.<number>.src.resnet`` in `sys.modules`, and the code has builtins of its
own, whose ``__import__`` looks into its folder first. Functions keep the builtins they were defined with: an import
that stands inside one works whenever it is called, in whatever thread. Modules that the code shall see otherwise than
they are (`views`, `adapters`) are handed out by the same ``__import__``, so that nothing has to be changed for others.
"""

from __future__ import annotations

import builtins
import importlib.util
import itertools
import logging
import os
import pprint
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from mshub_ssd.cpu import ensure_fast_cpu
from mshub_ssd.errors import ForeignCodeError, MshubError, UsageError
from mshub_ssd.foreign.adapters import Surroundings, helping, surroundings
from mshub_ssd.foreign.guard import guarded, unguarded
from mshub_ssd.foreign.preserving import preserved
from mshub_ssd.foreign.views import View, made_up, real_module
from mshub_ssd.networks import require_mindspore

__all__ = ["ForeignCode", "isolated"]

_log = logging.getLogger(__name__)

_PRIVATE = "_mshub_foreign"
# What a folder can never put its own in place of.
_NEVER_LOCAL = frozenset({"mindspore", "numpy", *sys.builtin_module_names})

# The process has one folder, one sys.argv and one sys.path: one thread at a time.
_one_at_a_time = threading.RLock()
_numbers = itertools.count(1)


@contextmanager
def isolated(folder: Path, adapters: Sequence[str] = (), argv: Sequence[str] = ()) -> Iterator[ForeignCode]:
    """Code of others, importable here under private names; the process is as before when this ends, errors included.

    What is imported from the folder stays in `sys.modules` under private names, because the objects made of it need it:
    its functions import from the folder whenever they run.

    Args:
        folder: The folder that the code is meant to be run in.
        adapters: Names of what it needs that is not there any more; `adapters.describe` lists them.
        argv: What it finds on the command line, if it looks.

    Raises:
        UsageError: There is no such folder, or no such adapter.
        MissingDependencyError: MindSpore is not installed.
        TrustError: The code tried to write files, to use the network or to start processes.
    """
    require_mindspore()
    import mindspore  # noqa: F401 - before anything is remembered, because its import changes a process, too

    ensure_fast_cpu()
    code = ForeignCode(folder, surroundings(adapters), argv)
    try:
        with code.active():
            yield code
    except BaseException:
        code.forget()
        raise


class ForeignCode:
    """The code of one folder, as `isolated` gives it.

    Attributes:
        folder: The folder, without symbolic links.
        name: What the private names of its modules start with.
    """

    def __init__(self, folder: Path, around: Surroundings, argv: Sequence[str] = ()) -> None:
        self.folder = Path(os.path.realpath(folder))
        if not self.folder.is_dir():
            raise UsageError("there is no such folder of code", where=str(folder), expected="a folder")
        self.name = f"{_PRIVATE}.{next(_numbers)}"
        self._around = around
        self._argv = [str(self.folder / "main.py"), *argv]
        self._path = [str(self.folder / place) for place in (".", *around.folders)]
        self._builtins = {**vars(builtins), **around.builtins, "__import__": self._import, "print": self._print}
        self._running = 0
        self._installed: dict[str, bool] = {}
        try:
            self._started_in: Path | None = Path.cwd()
        except FileNotFoundError:  # deleted
            self._started_in = None
        around.replace("sys", path=lambda: self._path, argv=lambda: list(self._argv))
        around.replace("importlib", import_module=lambda: self._import_module)
        around.replace("pprint", pprint=lambda: self._pprint, pp=lambda: self._pprint)
        self._viewed = {name.rpartition(".")[0] for name in around.names}
        for name in [*self._viewed, *around.packages]:
            self._viewed.update(_above(name))

    def resolve(self, place: str) -> Any:
        """What ``module:name`` is for this code; the name may have dots.

        Raises:
            ForeignCodeError: The code fails, or has no such name.
            TrustError: It tried what it may not do.
        """
        module, _, name = place.partition(":")
        with self.active(), self.failing(f"{module} cannot be imported"):
            found: Any = self._module(module)
            for part in name.split(".") if name else ():
                try:
                    found = getattr(found, part)
                except AttributeError:
                    raise ForeignCodeError(
                        f"{module} has no {name}",
                        where=str(getattr(self._module(module), "__file__", self.folder)),
                        hint="the recipe belongs to another commit of this code",
                    ) from None
        return found

    def forget(self) -> None:
        """Take the code's modules out of `sys.modules`: nothing that is made of them is used any more."""
        for name in [it for it in sys.modules if it == self.name or it.startswith(f"{self.name}.")]:
            del sys.modules[name]

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let the code run: the process's state is kept, and the guard is up."""
        with _one_at_a_time:
            if self._running:
                yield
                return
            with ExitStack() as inside:
                inside.enter_context(preserved(self.folder, _PRIVATE))
                inside.enter_context(guarded(self.folder))
                sys.argv = list(self._argv)
                warnings.simplefilter("ignore")
                for context in self._around.contexts:
                    inside.enter_context(context(self.folder))
                self._running += 1
                try:
                    yield
                finally:
                    self._running -= 1

    @contextmanager
    def failing(self, what: str) -> Iterator[None]:
        """Make an error of this library of whatever the code raises.

        Args:
            what: What cannot be done then.
        """
        try:
            yield
        except MshubError:
            raise
        except (Exception, SystemExit) as error:
            raise self._failure(what, error) from error

    def _failure(self, what: str, error: BaseException) -> ForeignCodeError:
        inside = str(self.folder) + os.sep
        lines = [step for step in traceback.extract_tb(error.__traceback__) if step.filename.startswith(inside)]
        where = f"{lines[-1].filename}:{lines[-1].lineno}" if lines else str(self.folder)
        names = helping(error)
        hint = f"an adapter may help: {', '.join(names)}" if names else "an adapter may help: docs/adapters.md"
        if isinstance(error, ModuleNotFoundError) and error.name and not names:
            hint = f"pip install what {error.name} is part of, or let an adapter stand in for it: stub:{error.name}"
        if isinstance(error, SystemExit):
            return ForeignCodeError(
                f"{what}: the code ended the program, as parsers of the command line do",
                where=where,
                expected="a command line as in the recipe's argv",
                got=" ".join(self._argv[1:]) or "none",
                hint=hint,
            )
        # The rest is MindSpore's call stack, or NumPy's story; the cause has it all.
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        return ForeignCodeError(f"{what}: {type(error).__name__}: {said}", where=where, hint=hint)

    # What stands in for Python's own.

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """The ``__import__`` of the code."""
        if level:
            name = self._absolute(name, str((globals or {}).get("__package__") or ""), level)
        elif not self._is_ours(name):
            self._must_be_installed(name)
            with unguarded():
                return builtins.__import__(name, {}, {}, fromlist or (), 0)
        module = self._module(name)
        if not fromlist:
            return self._module(name.partition(".")[0])
        listed = getattr(module, "__all__", ()) if "*" in fromlist else fromlist
        for item in listed:
            # What a view has from the real module only later may have a view itself.
            if item != "*" and item not in vars(module) and (isinstance(module, View) or not hasattr(module, item)):
                self._submodule(module, name, item)
        return module

    def _import_module(self, name: str, package: str | None = None) -> ModuleType:
        """`importlib.import_module` of the code."""
        level = len(name) - len(name.lstrip("."))
        if level:
            name = self._absolute(name[level:], package or "", level)
        return self._module(name.removeprefix(f"{self.name}."))

    def _print(
        self, *values: Any, sep: str | None = " ", end: str = "\n", file: Any = None, flush: bool = False
    ) -> None:
        """`print` of the code: what it says while it is imported is for those who look for its faults."""
        if self._running and file in (None, sys.stdout, sys.stderr):
            _log.debug("%s", (" " if sep is None else sep).join(map(str, values)))
        else:
            print(*values, sep=sep, end=end, file=file, flush=flush)  # where a network prints when it runs

    def _pprint(self, value: Any, stream: Any = None, *args: Any, **kwargs: Any) -> None:
        """`pprint.pprint` of the code."""
        self._print(pprint.pformat(value, *args, **kwargs), file=stream)

    def _absolute(self, name: str, package: str, level: int) -> str:
        """The name that a relative one means, as the code itself would call it."""
        inside = f"{package}.".startswith(f"{self.name}.")
        parts = package.split(".")
        if not inside or level > len(parts) - self.name.count("."):
            raise ImportError("attempted relative import beyond top-level package")
        above = parts[: len(parts) - level + 1]
        return ".".join([*above, *([name] if name else [])]).removeprefix(self.name).removeprefix(".")

    # Which module a name means.

    def _is_ours(self, name: str) -> bool:
        """Whether a name means something else here than for the rest of the process."""
        top = name.partition(".")[0]
        around = self._around
        known = top in self._viewed or top in around.packages or top in around.aliases or top in around.files
        return known or self._is_local(top)

    def _is_local(self, top: str) -> bool:
        if top in _NEVER_LOCAL:
            return False
        if f"{self.name}.{top}" in sys.modules:
            return True
        if self._file(top, self._path) is not None:
            return True
        # A folder of data may be called like a package; one with code is meant.
        folders = self._folders(top, self._path)
        return any(next(Path(it).rglob("*.py"), None) for it in folders) or (folders != [] and not _is_installed(top))

    def _must_be_installed(self, name: str) -> None:
        """Keep the code from what lies where the process was started: the user's modules may have its names, too.

        Raises:
            ModuleNotFoundError: It is the user's.
        """
        top = name.partition(".")[0]
        if top not in self._installed:
            self._installed[top] = top != "__main__" and (
                top in sys.stdlib_module_names
                or (home := _home(top)) is None
                or home not in (self._started_in, _home("__main__"))
            )
        if not self._installed[top]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    def _module(self, name: str) -> ModuleType:
        """The module that a name means here, imported."""
        if not name:
            return self._root()
        with _one_at_a_time if self._running else nullcontext():  # another thread may not have finished it
            found = sys.modules.get(f"{self.name}.{name}")
        if found is not None:
            return found
        if not self._is_ours(name):
            self._must_be_installed(name)
            with unguarded():
                return importlib.import_module(name)
        with self.active():
            return self._make(name)

    def _make(self, name: str) -> ModuleType:
        parent, _, leaf = name.rpartition(".")
        above = self._module(parent)
        private = f"{self.name}.{name}"
        if private in sys.modules:  # its package imported it
            return sys.modules[private]
        made = next((it for it in (name, *_above(name)) if it in self._around.packages), None)
        if made is not None:
            module = self._around.packages[made](private)
            sys.modules[private] = module
        elif name in self._around.aliases:
            module = sys.modules[private] = self._module(self._around.aliases[name])
        elif name.partition(".")[0] in self._viewed:
            module = self._view(name, private)
        else:
            module = self._execute(name, private, above)
        module = sys.modules.get(private, module)  # it may have put something else in its place
        # Nothing is ever written into a module that is everybody's, or over what a view shows.
        if above.__name__.startswith(self.name) and not (isinstance(above, View) and leaf in vars(above)):
            setattr(above, leaf, module)
        return module

    def _submodule(self, module: ModuleType, name: str, item: str) -> None:
        """Import what ``from module import item`` may mean, if it is a module; the attribute is looked up later."""
        full = f"{name}.{item}" if name else item
        if not hasattr(module, "__path__") and not isinstance(module, View):
            return
        try:
            self._module(full)
        except ModuleNotFoundError as error:
            if error.name not in (full, f"{self.name}.{full}"):
                raise

    def _root(self) -> ModuleType:
        for name, path in ((_PRIVATE, []), (self.name, [str(self.folder)])):
            if name not in sys.modules:
                module = made_up(name, {"__package__": name})
                module.__path__ = path
                sys.modules[name] = module
        return sys.modules[self.name]

    # Views.

    def _view(self, name: str, private: str) -> ModuleType:
        with unguarded():
            real = real_module(name)
        names = self._around.names_of(name, real)
        if real is None and not names and not any(it.startswith(f"{name}.") for it in self._viewed):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if real is None:
            sys.modules[private] = made_up(private, names)
        elif name in self._viewed:
            view = sys.modules[private] = View(private, real)
            view._mshub_fill(names, self._other_view, live=name == "sys")
        else:  # below a module that has a view, and as it is
            sys.modules[private] = real
        return sys.modules[private]

    def _other_view(self, name: str) -> ModuleType | None:
        return self._module(name) if name in self._viewed else None

    # Files.

    def _execute(self, name: str, private: str, above: ModuleType) -> ModuleType:
        leaf = name.rpartition(".")[2]
        places = self._path if above.__name__ == self.name else [str(it) for it in getattr(above, "__path__", ())]
        renamed = self._around.files.get(name)
        file = self._file(leaf, places)
        if file is None and renamed is not None:
            file = next((it for place in places if (it := Path(place, renamed)).is_file()), None)
        if file is None:
            folders = self._folders(leaf, places)
            if not folders:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            module = made_up(private, {"__package__": private})
            module.__path__ = folders
            sys.modules[private] = module
            return module
        if not Path(os.path.realpath(file)).is_relative_to(self.folder):
            raise ImportError(f"{file} leads out of the folder of its code", name=name)
        package = file.name == "__init__.py"
        spec = importlib.util.spec_from_file_location(
            private, file, submodule_search_locations=[str(file.parent)] if package else None
        )
        if spec is None:
            raise ImportError(f"{file} is no file of Python code", name=name)
        module = importlib.util.module_from_spec(spec)
        vars(module)["__builtins__"] = self._builtins
        sys.modules[private] = module
        try:
            # Never what was compiled before: it need not be what can be read.
            exec(compile(file.read_bytes(), str(file), "exec", dont_inherit=True), vars(module))  # noqa: S102
        except BaseException:
            sys.modules.pop(private, None)
            raise
        return module

    def _file(self, leaf: str, places: Sequence[str]) -> Path | None:
        for place in self._inside(places):
            for file in (place / leaf / "__init__.py", place / f"{leaf}.py"):
                if file.is_file():
                    return file
        return None

    def _folders(self, leaf: str, places: Sequence[str]) -> list[str]:
        """Folders without ``__init__.py``: together they are a package, as elsewhere."""
        return [str(place / leaf) for place in self._inside(places) if (place / leaf).is_dir()]

    def _inside(self, places: Sequence[str]) -> Iterator[Path]:
        """Those of the search path that belong to the code; the rest is everybody's."""
        for place in places:
            path = Path(os.path.realpath(self.folder / place))
            if path.is_relative_to(self.folder):
                yield path


def _above(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _is_installed(top: str) -> bool:
    spec = _spec(top)
    return spec is not None and spec.origin is not None


def _home(top: str) -> Path | None:
    """The folder that a module is found in."""
    spec = _spec(top)
    file = spec.origin if spec else getattr(sys.modules.get(top), "__file__", None)
    if file is None or not Path(file).is_file():
        return None
    return Path(file).absolute().parents[1 if spec and spec.submodule_search_locations else 0]


def _spec(top: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError):  # a module that was made by hand has none
        return None
