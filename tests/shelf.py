"""Model cards with small checkpoints, and the command line on them, for tests of what travels and what is kept."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from commands import PATIENCE, environment, run
from faultserver import FaultServer

# In front of a program: every socket is an error.
NO_SOCKETS = """
import socket
class Refused(socket.socket):
    def __init__(self, *args, **kwargs):
        raise AssertionError("a socket was opened")
socket.socket = Refused
socket.create_connection = socket.getaddrinfo = Refused
"""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Shelf:
    """A folder of cards whose checkpoints a local server has.

    Args:
        folder: Of the cards; made.
        server: Of the checkpoints.
    """

    def __init__(self, folder: Path, server: FaultServer) -> None:
        self.folder, self.server = folder, server
        folder.mkdir(parents=True, exist_ok=True)

    def put(
        self,
        uid: str,
        data: bytes,
        *,
        digits: int = 64,
        link: str | None = None,
        beside: bool = False,
        note: str = "",
        served: bool = True,
    ) -> str:
        """A card with a checkpoint; returns the digest of its bytes.

        Args:
            uid: Of the card.
            data: The checkpoint.
            digits: How many of its digest the card states.
            link: The asset-link; by default a page of the server, named after the uid.
            beside: Put the checkpoint beside the card instead.
            note: Something to say in the card.
            served: Whether the server has the checkpoint.
        """
        path = self.folder / f"{uid}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        name = uid.rpartition("/")[2] + ".ckpt"
        if beside:
            link = link or name
            target = path.parent / link
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        elif link is None:
            link = f"<{self.url(uid)}>"
            if served:
                self.server.add(f"/{uid}.ckpt", data)
        path.write_text(card_text(link, sha256(data)[:digits], note), encoding="utf-8")
        return sha256(data)

    def url(self, uid: str) -> str:
        """Where the server has a checkpoint."""
        return f"{self.server.base}/{uid}.ckpt"


def card_text(link: str, digest: str, note: str = "") -> str:
    asset = f'asset:\n- file-format: ckpt\n  asset-link: {link}\n  asset-sha256: "{digest}"'
    rows = "model-name: small\n\nmodule-type: cv-object_detection\n\ntrain-dataset: pets\n\nlicense: Apache-2.0"
    return f"# small\n\n---\n\n{rows}\n\n{asset}\n\n---\n\n## What it is\n\n{note}\n"


def without_sockets(program: str, **more: str) -> str:
    """The output of a Python program that cannot open a socket."""
    done = subprocess.run(
        [sys.executable, "-c", NO_SOCKETS + program],
        capture_output=True,
        text=True,
        check=False,
        env=environment(**more),
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def command_without_sockets(*args: object, **more: str) -> str:
    """The output of a command that cannot open a socket."""
    words = [str(arg) for arg in args]
    return without_sockets(f"from mshub_ssd.cli import main\nmain({words!r})", **more)


def tree(folder: Path) -> dict[str, str]:
    """Everything below a folder: what it is, and the digest of its bytes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"link {path.readlink()}"
        else:
            found[name] = sha256(_read(path)) if path.is_file() else "folder"
    return found


def _read(path: Path) -> bytes:
    # Looking is no use: it must not change when a file was read last.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOATIME), "rb") as stream:
        return stream.read()


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder in which nothing can be written, but by root."""
    places = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for place in places:
        place.chmod(0o555)
    try:
        yield
    finally:
        for place in places:
            place.chmod(0o755)


def _call(queue: Any, call: Callable[[], object]) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    queue.put(call())


def as_nobody(*args: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command run without root's right to write everywhere."""

    def call() -> tuple[int, str, str]:
        result = run(*args)
        return result.exit_code, result.stdout, result.stderr

    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=_call, args=(queue, call))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 0
    found: tuple[int, str, str] = queue.get()
    return found
