"""A guard against accidents: code of others that is imported or builds a network writes no file and opens no socket.

Nor does it start processes. Python tells an audit hook of each such act before it happens. The hook cannot be taken
out again, so the process has one, which acts only for threads that are `guarded`. It is no sandbox: code that wants to
harm finds ways around it, compiled code is not seen at all, reading is free, and what the network does when it runs
later is not looked at.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from mshub_ssd.errors import TrustError

__all__ = ["guarded", "unguarded"]

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_SHOWN = 200

# What Python calls an act, and what it is in words. https://docs.python.org/3/library/audit_events.html
_FILES = {
    **dict.fromkeys(("os.chflags", "os.chmod", "os.chown", "os.utime"), "change a file's properties"),
    **dict.fromkeys(("os.setxattr", "os.removexattr", "shutil.chown"), "change a file's properties"),
    **dict.fromkeys(("os.link", "os.symlink"), "make a link"),
    **dict.fromkeys(("os.mkdir", "tempfile.mkdtemp"), "make a folder"),
    **dict.fromkeys(("os.remove", "os.rmdir", "shutil.rmtree"), "delete"),
    **dict.fromkeys(("os.rename", "shutil.move"), "move a file"),
    **dict.fromkeys(("os.truncate", "tempfile.mkstemp", "shutil.copyfile", "shutil.copytree"), "write a file"),
    **dict.fromkeys(("shutil.make_archive", "shutil.unpack_archive", "sqlite3.connect"), "write a file"),
}
_NETWORK = dict.fromkeys(
    ("socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyaddr", "socket.gethostbyname",
     "socket.__new__", "socket.sendmsg", "socket.sendto", "urllib.Request", "webbrowser.open"),
    "use the network",
)  # fmt: skip
_PROCESSES = {
    **dict.fromkeys(
        ("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile", "os.system", "pty.spawn",
         "subprocess.Popen"),
        "start a process",
    ),
    **dict.fromkeys(("os.kill", "os.killpg", "signal.pthread_kill"), "send a signal"),
    # Its refusals would be nobody's, and it would outlive the guard.
    "_thread.start_new_thread": "start a thread",
}  # fmt: skip
_OTHERS = {
    "builtins.input": "wait for somebody to type",
    "ctypes.dlopen": "load a compiled library",
    "sys.addaudithook": "set up an audit hook",
}
_REFUSED = {**_FILES, **_NETWORK, **_PROCESSES, **_OTHERS}

_guards: dict[int, _Guard] = {}
_hooking = threading.Lock()
_hooked = False


class _Guard:
    """What one thread may not do now, and what it tried.

    Attributes:
        folder: Where the code of others is.
        refused: What was refused, the first first.
        trusting: Whether what runs right now is not that code's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refused: list[TrustError] = []
        self.trusting = False

    def refuse(self, act: str, what: str) -> TrustError:
        error = TrustError(
            f"code of others tried to {act} while its network was built: refused",
            where=_line(sys._getframe(1), self.folder) or str(self.folder),
            expected="code that builds a network and does nothing else",
            got=what[:_SHOWN],
            hint="read that code; where the network does not need it, an adapter can keep it from running",
        )
        self.refused.append(error)
        return error


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Refuse this thread to write files, use the network and start processes.

    Args:
        folder: Where the code of others is, without symbolic links; for messages.

    Raises:
        TrustError: It tried. Also where the code caught the refusal itself: the network is not what it would be.
    """
    thread = threading.get_ident()
    if thread in _guards:
        yield
        return
    _hook()
    guard = _guards[thread] = _Guard(folder)
    try:
        yield
    except BaseException as error:
        if guard.refused and error is not guard.refused[0] and not isinstance(error, KeyboardInterrupt):
            raise guard.refused[0] from error
        raise
    finally:
        del _guards[thread]
    if guard.refused:
        raise guard.refused[0]


@contextmanager
def unguarded() -> Iterator[None]:
    """What is not the code of others: the import of an installed package, which may do what it does anywhere."""
    guard = _guards.get(threading.get_ident())
    if guard is None or guard.trusting:
        yield
        return
    guard.trusting = True
    try:
        yield
    finally:
        guard.trusting = False


def _hook() -> None:
    global _hooked
    with _hooking:
        if not _hooked:
            sys.addaudithook(_audit)
            _hooked = True


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _guards:  # all the rest of the process's life
        return
    if event == "open":
        path, _, flags = args
        # A number is a file that is open already.
        if isinstance(path, int) or not (flags or 0) & _WRITING or os.fsdecode(path) == os.devnull:
            return
        act, what = "write a file", os.fsdecode(path)
    elif event in _REFUSED:
        act, what = _REFUSED[event], _words(event, args)
    else:
        return
    guard = _guards.get(threading.get_ident()) or _guard_of_starter()
    if guard is not None and not guard.trusting:
        raise guard.refuse(act, what)


def _guard_of_starter() -> _Guard | None:
    """The guard of the thread that started this one, if this one runs the code that is watched there.

    Python 3.12 asks before a thread is started; older ones do not.
    """
    return next((it for it in list(_guards.values()) if _line(sys._getframe(2), it.folder)), None)


def _words(event: str, args: tuple[Any, ...]) -> str:
    # Only plain values: the repr of others may run the very code that is watched.
    plain = (str, bytes, int)
    flat = [value for value in args if type(value) in plain]
    flat += [item for value in args if type(value) in (list, tuple) for item in value if type(item) in plain]
    return f"{event}({', '.join(map(repr, flat))})"


def _line(frame: FrameType | None, folder: Path) -> str | None:
    """The innermost line of the folder's code that is being run."""
    inside = str(folder) + os.sep
    while frame is not None:
        if frame.f_code.co_filename.startswith(inside):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return None
