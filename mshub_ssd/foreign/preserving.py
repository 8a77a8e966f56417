"""What code may change about a process, put back: import paths, arguments, folder, random numbers, logging, signals."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["preserved"]


@contextmanager
def preserved(folder: Path, private: str) -> Iterator[None]:
    """Leave the process as it was, whatever happens inside; modules of installed packages that were imported stay.

    Args:
        folder: Where the code is that runs inside.
        private: What names of modules start with that it may leave behind.
    """
    with ExitStack() as put_back:
        for keeper in (_interpreter, _folder, _environment, _random_numbers, _logging, _signals, _mindspore):
            put_back.callback(keeper())
        put_back.callback(_modules(folder, private))
        put_back.enter_context(warnings.catch_warnings())
        sys.dont_write_bytecode = True
        yield


def _interpreter() -> Callable[[], None]:
    lists = [
        (name, getattr(sys, name), list(getattr(sys, name))) for name in ("path", "meta_path", "path_hooks", "argv")
    ]
    plain = {name: getattr(sys, name) for name in ("stdin", "stdout", "stderr", "excepthook", "displayhook")}
    bytecode, depth = sys.dont_write_bytecode, sys.getrecursionlimit()

    def put_back() -> None:
        for name, same, content in lists:
            # The very list, because others may hold it.
            setattr(sys, name, same)
            if same != content:
                same[:] = content
        for name, value in plain.items():
            if getattr(sys, name) is not value:
                setattr(sys, name, value)
        sys.dont_write_bytecode = bytecode
        if sys.getrecursionlimit() != depth:
            sys.setrecursionlimit(depth)

    return put_back


def _folder() -> Callable[[], None]:
    try:
        before = Path.cwd()
    except FileNotFoundError:  # deleted under our feet: there is nothing to come back to
        return lambda: None

    def put_back() -> None:
        try:
            same = Path.cwd() == before
        except FileNotFoundError:
            same = False
        if not same:
            os.chdir(before)

    return put_back


def _environment() -> Callable[[], None]:
    before = dict(os.environ)

    def put_back() -> None:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value

    return put_back


def _random_numbers() -> Callable[[], None]:
    import numpy as np

    state = random.getstate()
    of_numpy = np.random.get_state()
    printing, errors = np.get_printoptions(), np.geterr()

    def put_back() -> None:
        random.setstate(state)
        np.random.set_state(of_numpy)
        np.set_printoptions(**printing)
        np.seterr(**errors)

    return put_back


def _logging() -> Callable[[], None]:
    manager = logging.root.manager
    loggers = [logging.root, *(it for it in manager.loggerDict.values() if isinstance(it, logging.Logger))]
    before = [
        (it, it.level, it.propagate, it.disabled, list(it.handlers), list(it.filters), [h.level for h in it.handlers])
        for it in loggers
    ]
    disabled = manager.disable

    def put_back() -> None:
        manager.disable = disabled
        for it, level, propagate, silent, handlers, filters, levels in before:
            if it.level != level:
                it.setLevel(level)
            it.propagate, it.disabled = propagate, silent
            it.handlers[:], it.filters[:] = handlers, filters
            for handler, level_before in zip(handlers, levels, strict=True):
                handler.level = level_before

    return put_back


def _signals() -> Callable[[], None]:
    if threading.current_thread() is not threading.main_thread():
        return lambda: None  # no other thread can set a handler
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}

    def put_back() -> None:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)

    return put_back


def _mindspore() -> Callable[[], None]:
    # The code's own calls of set_context do nothing (views.py); this is for what an installed package calls for it.
    if "mindspore" not in sys.modules:
        return lambda: None
    import mindspore

    before = {name: mindspore.get_context(name) for name in ("mode", "device_target")}

    def put_back() -> None:
        changed = {name: value for name, value in before.items() if mindspore.get_context(name) != value}
        if changed:
            mindspore.set_context(**changed)

    return put_back


def _modules(folder: Path, private: str) -> Callable[[], None]:
    before = dict(sys.modules)

    def put_back() -> None:
        for name, module in list(sys.modules.items()):
            if name not in before and not name.startswith(private) and _is_made_here(module, folder, private):
                del sys.modules[name]
        for name, module in before.items():
            if sys.modules.get(name) is not module:
                sys.modules[name] = module

    return put_back


def _is_made_here(module: Any, folder: Path, private: str) -> bool:
    """Whether a module is the code's own, or was made by hand, and not imported from an installed package."""
    if not isinstance(module, ModuleType):
        return False
    fields = vars(module)
    if str(fields.get("__name__")).startswith(private):
        return True
    file = fields.get("__file__")
    if file is None:
        return fields.get("__spec__") is None
    return Path(file).is_relative_to(folder)
