"""git, asked so that no repository makes it run or fetch anything, and without the user's configuration."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mshub_ssd.files import POSIX

if TYPE_CHECKING:
    import subprocess

__all__ = ["end", "is_bare", "pipes", "read_object", "start"]


def is_bare(path: Path) -> bool:
    """Whether a folder is a git repository by itself, without files that are checked out."""
    return (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir()


def start(
    *words: str, git_dir: Path, protocol: str = "none", more: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[bytes]:
    """Start git.

    Args:
        words: The command, and what it needs.
        git_dir: The repository.
        protocol: The one that it may speak.
        more: Further variables of its environment.
        options: Of `subprocess.Popen`.

    Raises:
        FileNotFoundError: There is no git.
        OSError: It cannot be run.
    """
    # Imported late: who lists cards asks only whether something is a repository.
    import subprocess

    # Configuration, helpers, hooks and traces come by variables, too.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("GIT_") and name != "SSH_ASKPASS"
    }
    environment |= {
        "GIT_DIR": str(git_dir),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        # A repository may lack objects on purpose, and name a command that brings them.
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": protocol,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "LC_ALL": "C",
        **(more or {}),
    }
    command = ["git", "--no-pager", "-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false", *words]
    return subprocess.Popen(command, env=environment, **options)  # noqa: S603 - words of ours, and hashes


def read_object(reader: subprocess.Popen[bytes], hexdigest: str, most: int) -> tuple[str, int, bytes] | None:
    """Ask ``git cat-file --batch`` for an object.

    Args:
        reader: The process.
        hexdigest: The object's hash.
        most: Read no more bytes than that, and pass over the rest.

    Returns:
        Its kind, its size, and as many of its bytes as are read; None if it is not there.

    Raises:
        OSError, ValueError: git has lost it, or a part of it.
    """
    stdin, stdout = pipes(reader)
    stdin.write(f"{hexdigest}\n".encode())
    stdin.flush()
    head = stdout.readline(1000).split()
    if len(head) == 2 and head[1] == b"missing":
        return None
    if len(head) != 3 or not head[2].isdigit():
        raise ValueError("git has lost it")
    size = int(head[2])
    data = stdout.read(min(size, most))
    _skip(stdout, size - len(data) + 1)  # and the line's end
    if len(data) < min(size, most):
        raise ValueError("git has lost a part of it")
    return head[1].decode("ascii", "replace"), size, data


def pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    """What a process reads, and what it writes.

    Raises:
        OSError: It was started without pipes.
    """
    if process.stdin is None or process.stdout is None:
        raise OSError("git was started without pipes")
    return process.stdin, process.stdout


def end(process: subprocess.Popen[bytes], *, group: bool = False) -> None:
    """End a process of ours, whatever it is at.

    Args:
        process: The process.
        group: With all that it started; it was made with ``start_new_session``.
    """
    with contextlib.suppress(OSError):
        import signal

        if group and POSIX and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    process.wait()


def _skip(stream: IO[bytes], count: int) -> None:
    while count > 0 and (data := stream.read(min(count, 1 << 20))):
        count -= len(data)
