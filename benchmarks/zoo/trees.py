"""A bare clone of a zoo: its commits by branch, a folder's files and their hashes, a folder's copy."""

from __future__ import annotations

import io
import re
import subprocess
from functools import cache
from pathlib import Path


class Zoo:
    """A git repository with one folder per model.

    Args:
        repository: The git directory.
        commits: The commit of each branch that cards name.
    """

    def __init__(self, repository: Path, commits: dict[str, str]):
        self.repository = repository
        self.commits = commits

    def _git(self, *arguments: str) -> bytes:
        command = ["git", f"--git-dir={self.repository}", *arguments]
        return subprocess.run(command, check=True, capture_output=True).stdout

    @cache  # noqa: B019 (one zoo per process)
    def _tree(self, commit: str) -> dict[str, str]:
        listing = self._git("ls-tree", "-r", "-z", commit).decode("utf-8", "surrogateescape")
        rows = (line.split("\t", 1) for line in listing.split("\0") if line)
        return {name: facts.split()[2] for facts, name in rows if facts.split()[1] == "blob"}

    @cache  # noqa: B019
    def files(self, commit: str, path: str) -> dict[str, str]:
        """The folder's files at a commit, by name within the folder, with the hash of what they hold."""
        start = path.rstrip("/") + "/"
        return {name[len(start) :]: blob for name, blob in self._tree(commit).items() if name.startswith(start)}

    def branches(self, path: str) -> list[str]:
        """The branches that have the folder."""
        return [branch for branch, commit in self.commits.items() if self.files(commit, path)]

    def read(self, commit: str, path: str) -> str:
        """A file's text."""
        return self._git("show", f"{commit}:{path}").decode("utf-8", "replace")

    def extract(self, commit: str, path: str, to: Path) -> Path:
        """Copy a folder at a commit, without pictures, documents and compiled programs' sources; where the copy is.

        Files that the clone lists but has not are left out.
        """
        wanted = {name: blob for name, blob in self.files(commit, path).items() if not _LEFT_OUT.search(name)}
        command = ["git", f"--git-dir={self.repository}", "cat-file", "--batch"]
        asked = "".join(f"{blob}\n" for blob in wanted.values()).encode()
        out = io.BytesIO(subprocess.run(command, input=asked, check=True, capture_output=True).stdout)
        for name in wanted:
            kind = out.readline().split()
            if len(kind) != 3:
                continue
            data = out.read(int(kind[2]))
            out.read(1)
            place = to / path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        return to / path


_LEFT_OUT = re.compile(r"\.(png|jpe?g|gif|bmp|pdf|md|cc|cpp|h|hpp|so|zip|mp4|wav|ppt)$|(^|/)\.\.?(/|$)", re.IGNORECASE)
