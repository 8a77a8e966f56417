"""A bare git repository with cards as a `Source`: nothing is checked out.

Cards are told apart by the hashes that git has of them, so that a new commit costs what it changed. git itself is
asked, without the user's configuration, and so that a repository can make it run nothing and fetch nothing.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from mshub_ssd import git
from mshub_ssd.cards import is_card_name, valid_uid
from mshub_ssd.errors import CardError, MissingDependencyError, UsageError
from mshub_ssd.registry.source import OFFICIAL, Entry, Lost

__all__ = ["Git", "valid_revision"]

_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]*(?:[~^][0-9]*)*")
_PATIENCE = 120.0  # seconds for one answer
_MOST = 256 << 20  # bytes of a list of files
_TABLES = 8  # states of repositories that a process keeps

Table = dict[str, Entry | Lost]

_tables: dict[tuple[str, str], Table] = {}


class Git:
    """A bare repository as a `Source`; of one of the official hub, the cards in it.

    Args:
        path: The repository.
        revision: A branch, a tag or a commit; the repository's own branch unless told otherwise.

    Raises:
        UsageError: It is no repository, or has no such revision.
        MissingDependencyError: There is no git.
    """

    kind = "git"

    def __init__(self, path: str | Path, revision: str = "HEAD") -> None:
        self._path, self._revision = Path(path).absolute(), revision
        self.label = str(self._path) if revision == "HEAD" else f"{self._path}@{revision}"
        self.key = f"git:{self._path.resolve()}@{revision}"
        self._lock = threading.Lock()
        self._reader: subprocess.Popen[bytes] | None = None
        self._many = False
        self._looked = ("", "")
        if not git.is_bare(self._path) or not valid_revision(revision):
            raise self._unusable("it is no git repository" if valid_revision(revision) else "no revision is named so")
        self._tree()

    def entries(self) -> Iterator[Entry | Lost]:
        """See `Source.entries`."""
        self._many = True
        self._looked = self._tree()
        return iter(self._table(self._looked).values())

    def memo(self) -> str:
        """See `Source.memo`: the hash of the folder with the cards."""
        return " ".join(self._looked)

    def unchanged(self, memo: str) -> bool:
        """See `Source.unchanged`."""
        return bool(memo) and " ".join(self._tree()) == memo

    def looked(self) -> None:
        """See `Source.looked`: each question looks."""

    def find(self, uid: str) -> Entry | None:
        """See `Source.find`."""
        found = self._table(self._tree()).get(uid)
        return found if isinstance(found, Entry) else None

    def read(self, entry: Entry) -> bytes:
        """See `Source.read`; of too large a card as much as shows that."""
        # Imported late: listing needs no parser.
        from mshub_ssd.cards import MAX_BYTES

        with self._lock:
            if self._many and self._reader is None:
                self._reader = self._start("cat-file", "--batch")
            reader = self._reader or self._start("cat-file", "--batch")
            try:
                return _object(reader, entry.stamp, MAX_BYTES)
            except (OSError, ValueError) as error:
                self._stop()
                raise CardError(
                    f"cannot read the card: {getattr(error, 'strerror', None) or error}",
                    where=self.origin(entry),
                    expected="a whole repository",
                    hint=f"look what is wrong with it: git --git-dir={shlex.quote(str(self._path))} fsck",
                ) from error
            finally:
                if reader is not self._reader:
                    git.end(reader)

    def origin(self, entry: Entry) -> str:
        """See `Source.origin`."""
        return f"{self.label}:{entry.place}"

    def path(self, entry: Entry) -> None:
        """See `Source.path`."""

    def close(self) -> None:
        """See `Source.close`: end the process that gives one card after the other."""
        with self._lock:
            self._many = False
            self._stop()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it was never made
            self.close()

    def _stop(self) -> None:
        if self._reader is not None:
            git.end(self._reader)
        self._reader = None

    def _tree(self) -> tuple[str, str]:
        """The hash of the folder with the cards as it is now, and what stands before their names."""
        asked = (f"{self._revision}^{{tree}}", f"{self._revision}:{OFFICIAL}")
        told = self._ask("cat-file", "--batch-check", given="".join(f"{name}\n" for name in asked)).decode(
            "utf-8", "replace"
        )
        found = [line.split(" ") for line in told.splitlines()]
        trees = [words[0] if len(words) == 3 and words[1] == "tree" else None for words in found]
        if len(trees) != len(asked) or trees[0] is None:
            raise self._unusable(f"it has no revision {self._revision}, or no commit")
        return (trees[1], f"{OFFICIAL}/") if trees[1] is not None else (trees[0], "")

    def _table(self, folder: tuple[str, str]) -> Table:
        """What is in the folder with the cards; the same hash means the same, for ever."""
        tree, before = folder
        known = (f"{self.key} {before}", tree)
        if known not in _tables:
            listed = self._ask("ls-tree", "-r", "-z", "--full-tree", tree)
            while len(_tables) >= _TABLES:
                _tables.pop(next(iter(_tables)), None)
            _tables[known] = dict(sorted((found.uid, found) for found in self._found(listed, before)))
        return _tables[known]

    def _found(self, listed: bytes, before: str) -> Iterator[Entry | Lost]:
        for row in listed.split(b"\0"):
            what, _, raw = row.partition(b"\t")
            name = raw.decode("utf-8", "replace")
            uid = name.removesuffix(".md")
            if not is_card_name(name.rpartition("/")[2]) or not valid_uid(uid):
                continue
            mode, kind, hexdigest = what.decode("ascii").split()
            if kind == "blob" and mode.startswith("100"):
                yield Entry(uid, f"{before}{name}", hexdigest)
            else:
                reason = "it is a link, and links in repositories are not followed"
                yield Lost(uid, f"{self.label}:{before}{name}", reason if mode == "120000" else "it is no regular file")

    def _ask(self, *words: str, given: str = "") -> bytes:
        """What git says to a question.

        Raises:
            UsageError: It cannot answer.
        """
        asked = self._start(*words, quiet=False)
        timer = threading.Timer(_PATIENCE, asked.kill)
        timer.start()
        try:
            stdin, stdout = git.pipes(asked)
            with contextlib.suppress(BrokenPipeError), stdin:
                stdin.write(given.encode())
            told = stdout.read(_MOST + 1)
            if len(told) > _MOST:
                raise self._unusable(f"its list of files has more than {_MOST:,} bytes")
            complaint = (asked.stderr.read(10_000) if asked.stderr else b"").decode("utf-8", "replace").strip()
            if asked.wait() != 0:
                raise self._unusable(complaint.removeprefix("fatal: ") or "git gave up")
            return told
        finally:
            timer.cancel()
            git.end(asked)

    def _start(self, *words: str, quiet: bool = True) -> subprocess.Popen[bytes]:
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        try:
            return git.start(*words, git_dir=self._path, stdin=pipe, stdout=pipe, stderr=nothing if quiet else pipe)
        except FileNotFoundError as error:
            raise MissingDependencyError(
                "a bare git repository is read by git, which is not installed",
                where=self.label,
                hint="install git, or name a checkout or an archive of the repository",
            ) from error
        except OSError as error:
            raise self._unusable(f"git cannot be run: {error.strerror}") from error

    def _unusable(self, reason: str) -> UsageError:
        return UsageError(
            f"a git repository of model cards cannot be read: {reason}",
            where=self.label,
            expected="a bare repository, or PATH@REVISION",
            hint="correct it, or take it out of MSHUB_REGISTRY or `mshub registry`",
        )


def valid_revision(text: str) -> bool:
    """Whether a text can name a branch, a tag or a commit, and cannot be taken for an option or a range."""
    return len(text) <= 200 and ".." not in text and _REVISION.fullmatch(text) is not None


def _object(reader: subprocess.Popen[bytes], hexdigest: str, most: int) -> bytes:
    found = git.read_object(reader, hexdigest, most + 1)
    if found is None or found[0] != "blob":
        raise ValueError("git has lost it")
    return found[2]
