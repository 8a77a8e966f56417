"""A script run as ``python SCRIPT`` would, with this library under the name ``mindspore_hub``."""

from __future__ import annotations

import builtins
import io
import os
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from types import ModuleType, TracebackType
from typing import NoReturn

from mshub_ssd.compat.installing import install_as_mindspore_hub

__all__ = ["main"]

_Hook = Callable[[type[BaseException], BaseException, TracebackType | None], object]

_USAGE = """\
usage: python -m mshub_ssd.compat SCRIPT [ARGUMENT ...]

Run a Python script in which `import mindspore_hub` is this library (docs/migration.md). A script that asks for an
Ascend or a GPU where there is none runs on the CPU, and says so."""


def main() -> None:
    """Run the script that the command line names; what it raises, and its exit code, are its own."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE, file=sys.stdout if arguments else sys.stderr)
        raise SystemExit(0 if arguments else 2)
    script = arguments[0]
    try:
        with io.open_code(os.path.abspath(script)) as stream:
            source = stream.read()
    except OSError as error:
        _refuse(f"can't open file {script!r}: [Errno {error.errno}] {error.strerror}")
    install_as_mindspore_hub()
    sys.argv = arguments
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):  # then Python puts no folder there
        sys.path[0] = os.path.dirname(os.path.realpath(script))  # noqa: PTH120
    module = ModuleType("__main__")
    # The script's own module from now on: classes are pickled, and processes started, by way of it.
    module.__file__, module.__loader__ = script, SourceFileLoader("__main__", script)
    vars(module).update(__builtins__=builtins, __cached__=None)
    sys.modules["__main__"] = module
    sys.excepthook = _told_from(script, sys.excepthook)
    exec(compile(source, script, "exec", dont_inherit=True), vars(module))  # noqa: S102 - what the user asked for


def _told_from(script: str, tell: _Hook) -> _Hook:
    """Tells of errors without the calls that led to the script."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        first = trace
        while first is not None and first.tb_frame.f_code.co_filename != script:
            first = first.tb_next
        if first is None and not isinstance(error, SyntaxError):
            first = trace
        tell(kind, error.with_traceback(first), first)

    return hook


def _refuse(message: str) -> NoReturn:
    print(f"python -m mshub_ssd.compat: {message}", file=sys.stderr)
    raise SystemExit(2)
