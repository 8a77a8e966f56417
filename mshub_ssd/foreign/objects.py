"""git's objects, held against their hashes by this module: what a commit has below a folder.

A commit's hash is that of its bytes, which name the hash of its tree, which names those of the trees and files in it.
So forty digits prove every file, whoever sent it, and what proves it can be kept beside the files.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mshub_ssd.errors import IntegrityError, TrustError, UsageError
from mshub_ssd.foreign.links import plain_path
from mshub_ssd.terminal import plain, size_text

__all__ = ["MAX_BYTES", "MAX_FILES", "Blob", "Trees", "hash_of", "too_large", "walk"]

MAX_FILES = 5_000
"""Most files of a folder; those of the model zoo have 118 at most."""

MAX_BYTES = 64 << 20
"""Most bytes of a folder; those of the model zoo have 2 MB at most."""

MAX_OBJECT = 4 << 20
"""Most bytes of a commit or a tree."""

_DEEPEST, _LONGEST = 32, 400

_TREE, _LINK, _MODULE = "40000", "120000", "160000"
_FILES = ("100644", "100664", "100755")
_ROW = re.compile(rb"([0-7]{5,6}) ([^\0]+)\0(.{20})", re.DOTALL)
_COMMIT = re.compile(rb"tree ([0-9a-f]{40})\n")

# Compiled code cannot be read before somebody consents to it, and would hide what can; no network needs a picture.
_COMPILED = re.compile(r"(?:.*/)?__pycache__/.*|.*\.(?:py[cod]|so(?:\.[\d.]+)?|dll|dylib|exe|whl|egg)", re.IGNORECASE)
_PICTURE = re.compile(r".*\.(?:png|jpe?g|gif|bmp|tiff?|webp|ico|svg|pdf|mp4|avi)", re.IGNORECASE)
# Names that mean a device on Windows, whatever follows a dot; and git's own folder, as some file systems spell it.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
_GIT = re.compile(r"\.git[ .]*|git~\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Blob:
    """A file of a commit.

    Attributes:
        name: Its path below the folder, with ``/``.
        hexdigest: Its hash in git.
        left_out: Why it is not taken; empty for one that is.
    """

    name: str
    hexdigest: str
    left_out: str = ""


class Trees:
    """Commits and trees that were held against their hashes; what proves the files.

    Args:
        read: Gives the bytes of a commit or tree by its hash.
        where: Whose they are, for messages.
    """

    def __init__(self, read: Callable[[str, str], bytes], where: str) -> None:
        self._read = read
        self.where = where
        self.seen: dict[str, tuple[str, bytes]] = {}

    def commit(self, hexdigest: str) -> str:
        """The hash of a commit's tree."""
        found = _COMMIT.match(self._get("commit", hexdigest))
        if found is None:
            raise _broken("a commit that names no tree", self.where)
        return found[1].decode()

    def tree(self, hexdigest: str) -> Iterator[tuple[str, bytes, str]]:
        """The rows of a tree: mode, name, hash."""
        data, at = self._get("tree", hexdigest), 0
        while at < len(data):
            found = _ROW.match(data, at)
            if found is None:
                raise _broken("a tree that cannot be read", self.where)
            yield found[1].decode().lstrip("0"), found[2], found[3].hex()
            at = found.end()

    def _get(self, kind: str, hexdigest: str) -> bytes:
        if hexdigest not in self.seen:
            data = self._read(kind, hexdigest)
            if hash_of(kind, data) != hexdigest:
                raise IntegrityError(
                    f"a repository gives a {kind} that is not the one its hash names",
                    where=self.where,
                    expected=hexdigest,
                    got=hash_of(kind, data),
                    hint="do not use that repository; take the code from another one: MSHUB_REPOSITORIES",
                )
            self.seen[hexdigest] = (kind, data)
        return self.seen[hexdigest][1]


def hash_of(kind: str, data: bytes) -> str:
    """What git calls an object of these bytes."""
    # git's names are SHA-1. Who wants two files of one name must write both: the user consents to the commit of one.
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()


def walk(trees: Trees, commit: str, path: str) -> list[Blob]:
    """The files below a folder of a commit.

    Args:
        trees: Gives commits and trees.
        commit: The commit.
        path: The folder, with ``/``; empty for all.

    Raises:
        IntegrityError: Something is not what its hash says.
        TrustError: There are links, names that lead elsewhere or mean the same file, or too many files.
        UsageError: There is no such folder.
    """
    if not plain_path(path):
        raise UsageError(
            "this is no folder of a repository", expected="a path such as official/cv/resnet", got=path[:200]
        )
    top = trees.commit(commit)
    for name in path.split("/") if path else []:
        inner = next((row for row in trees.tree(top) if row[1] == name.encode()), None)
        if inner is None or inner[0] != _TREE:
            raise UsageError("the commit has no such folder", where=trees.where, got=path[:200])
        top = inner[2]
    found: list[Blob] = []
    folders = 0
    waiting = [("", top)]
    while waiting:
        before, tree = waiting.pop()
        folders += 1
        known: dict[str, str] = {}
        for mode, raw, hexdigest in trees.tree(tree):
            name = _checked(mode, raw, before, known, trees.where)
            if mode == _TREE:
                waiting.append((f"{name}/", hexdigest))
            else:
                found.append(Blob(name, hexdigest, _left_out(name)))
            if len(found) + len(waiting) + folders > MAX_FILES:
                raise too_large(f"more than {MAX_FILES} files and folders", trees.where)
    return sorted(found, key=lambda blob: blob.name)


def too_large(what: str, where: str) -> TrustError:
    """The refusal of a folder that no network's code fills."""
    return TrustError(
        "a folder of a repository is too large for the code of a network: refused",
        where=where,
        expected=f"{MAX_FILES} files and {size_text(MAX_BYTES)} at most",
        got=what,
    )


def _checked(mode: str, raw: bytes, before: str, known: dict[str, str], where: str) -> str:
    """The path of a row; names that any system could take for something else are refused on all."""
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise _hostile("a name that is no UTF-8", repr(raw), where) from None
    whole = before + name
    if mode in (_LINK, _MODULE):
        raise _hostile("a symbolic link" if mode == _LINK else "a submodule", whole, where)
    if mode != _TREE and mode not in _FILES:
        raise _hostile("something that is neither file nor folder", whole, where)
    if (
        "/" in name
        or not plain_path(name)
        or _GIT.fullmatch(name)
        or _DEVICE.fullmatch(name)
        or name.endswith((" ", "."))
    ):
        raise _hostile("a name that leads elsewhere", whole, where)
    if len(raw) > 255 or len(whole) > _LONGEST or whole.count("/") > _DEEPEST:
        raise _hostile("a path that is too long", whole, where)
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    if folded in known:
        raise _hostile(f"two names for one file: {plain(known[folded], exact=True)} and", whole, where)
    known[folded] = name
    return whole


def _left_out(name: str) -> str:
    if _COMPILED.fullmatch(name):
        return "compiled"
    return "picture" if _PICTURE.fullmatch(name) else ""


def _hostile(what: str, name: str, where: str) -> TrustError:
    return TrustError(
        f"a folder of a repository has {what}: refused",
        where=where,
        expected="files and folders with plain names",
        got=plain(os.fsdecode(name.encode("utf-8", "backslashreplace")), exact=True)[:200],
    )


def _broken(what: str, where: str) -> IntegrityError:
    return IntegrityError(f"a repository gives {what}", where=where, expected="a whole repository")
