"""Objects of a repository by git: out of a clone on this machine, or from a server, no more than is asked for.

A server is asked for one commit without its history and without files, and then for the files of one folder. git writes
them as objects into a throw-away repository; nothing is ever checked out, so that neither hooks nor filters,
attributes or submodules are looked at. Nobody believes git either: `objects` holds all it gives against their hashes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from mshub_ssd import git
from mshub_ssd.errors import IntegrityError, MissingDependencyError, TransferError, UsageError
from mshub_ssd.files import POSIX
from mshub_ssd.foreign.objects import MAX_BYTES, MAX_OBJECT, hash_of, too_large
from mshub_ssd.redaction import hide
from mshub_ssd.settings import Settings
from mshub_ssd.terminal import plain, size_text

__all__ = ["Repository", "fetched", "local"]

_MOST = 512 << 20  # bytes of a download: a server that sends all files of a commit, asked for or not
_PATIENCE = 180.0  # seconds without a byte
_LONGEST = 1800.0
_LOOK = 0.05
_OTHERWISE = "see whether the server is there; a clone will do, too: MSHUB_REPOSITORIES='OWNER/NAME=/path'"
# What git says, and what that means to somebody who did not call git.
_MEANINGS = (
    ("dumb http transport", "there is no git server; what answers sends files, or a page, perhaps a login"),
    ("terminal prompts disabled", "the server wants a password, as some do for what they have not; none is sent"),
    ("unadvertised object", "the server is too old to give a commit by its hash"),
    ("not our ref", "the server does not have the commit"),
)


class Repository:
    """A repository whose objects can be read; a context manager.

    They are read as those of an empty repository of ours, so that nothing but objects counts: no configuration, and no
    server that would be asked for what is missing.

    Args:
        objects: Where they are.
        where: What it is called in messages.
        folder: An empty one, for the empty repository.
    """

    def __init__(self, objects: Path, where: str, folder: Path) -> None:
        self.where = where
        self._objects = objects
        self._folder = folder
        self._reader: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_: object) -> None:
        if self._reader is not None:
            git.end(self._reader)
        self._reader = None

    def bring(self, hexdigests: Iterable[str]) -> None:
        """See to it that files are here, if there is a server that may have them."""

    def read(self, kind: str, hexdigest: str) -> bytes:
        """The bytes of a commit or a tree, as git gives them.

        Raises:
            TransferError: It is not here.
            IntegrityError: It is damaged, or no commit or tree.
            TrustError: It is too large.
        """
        found = self._object(kind, hexdigest, MAX_OBJECT)
        if found is None:
            raise TransferError(f"the repository has no {kind} {hexdigest}", where=self.where)
        return found

    def blob(self, hexdigest: str, most: int = MAX_BYTES) -> bytes | None:
        """The bytes of a file, held against its hash; None if it is not here.

        Raises:
            IntegrityError: They are not the ones its hash names.
            TrustError: There are more than `most`.
        """
        data = self._object("blob", hexdigest, most)
        if data is not None and hash_of("blob", data) != hexdigest:
            raise IntegrityError(
                "a repository gives a file that is not the one its hash names",
                where=self.where,
                expected=hexdigest,
                got=hash_of("blob", data),
                hint="do not use that repository; take the code from another one: MSHUB_REPOSITORIES",
            )
        return data

    def _raw(self, hexdigest: str, most: int) -> tuple[str, int, bytes] | None:
        if self._reader is None:
            pipe = subprocess.PIPE
            empty = self._folder / "empty"
            if not empty.exists():
                _make_empty(empty, "")
            self._reader = _start(
                "cat-file", "--batch", git_dir=empty, more={"GIT_OBJECT_DIRECTORY": str(self._objects)},
                cwd=self._folder, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        return git.read_object(self._reader, hexdigest, most)

    def _object(self, kind: str, hexdigest: str, most: int) -> bytes | None:
        try:
            found = self._raw(hexdigest, most)
        except (OSError, ValueError) as error:
            raise IntegrityError(
                f"a repository cannot be read: {getattr(error, 'strerror', None) or error}",
                where=self.where,
                expected=f"the {kind} {hexdigest}",
                hint="git fsck tells what is wrong with a clone",
            ) from error
        if found is None:
            return None
        if found[0] != kind:
            raise IntegrityError(
                "a repository gives another kind of object",
                where=self.where,
                expected=f"{kind} {hexdigest}",
                got=found[0],
            )
        if found[1] > most:
            raise too_large(f"more than {size_text(most)} in {'files' if kind == 'blob' else 'a ' + kind}", self.where)
        return found[2]


class _Fetched(Repository):
    """A throw-away repository that asks a server."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder / "git" / "objects", hide(url), folder)
        self._protocol = url.partition(":")[0].lower()

    def bring(self, hexdigests: Iterable[str]) -> None:
        """See `Repository.bring`.

        Raises:
            TransferError: The server does not give them.
        """
        wanted = sorted(name for name in set(hexdigests) if self._raw(name, 0) is None)
        self.__exit__()  # what a reader has not found it does not look for again
        if wanted:
            self.fetch("--filter=blob:none", given=wanted)

    def fetch(self, *words: str, given: Iterable[str]) -> None:
        """Ask the server for objects.

        Raises:
            TransferError: It does not give them.
            TrustError: It gives too much.
        """
        asked, told = self._folder / "asked", self._folder / "told"
        asked.write_text("".join(f"{name}\n" for name in given), encoding="ascii")
        with asked.open("rb") as stdin, told.open("wb") as stderr:
            running = _start(
                "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", *words,
                "--stdin", "origin",
                git_dir=self._folder / "git",
                protocol=self._protocol,
                # Neither ~/.netrc nor anything else of the user's is read.
                more={"HOME": str(self._folder), "XDG_CONFIG_HOME": str(self._folder)},
                cwd=self._folder,
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=POSIX,
            )  # fmt: skip
            try:
                self._watch(running)
            finally:
                git.end(running, group=True)
        if running.returncode != 0:
            text = told.read_bytes()[-4000:].decode("utf-8", "replace")
            lines = [line for line in text.splitlines() if line.startswith(("fatal:", "error:", "remote:"))] or [text]
            said = plain(" ".join(lines[-2:]), exact=True)[:400] or "it gave up"
            meant = next((meaning for words, meaning in _MEANINGS if words in text), None)
            raise TransferError(
                f"git cannot fetch from a repository: {meant or said}",
                where=self.where,
                got=said if meant else None,
                hint=_OTHERWISE,
            )

    def _watch(self, running: subprocess.Popen[bytes]) -> None:
        begun = moved = time.monotonic()
        before = -1
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(_LOOK)
                return
            size, now = _size(self._folder), time.monotonic()
            if size > _MOST:
                raise too_large(f"a download of more than {size_text(_MOST)}", self.where)
            if size != before:
                before, moved = size, now
            if now - moved > _PATIENCE or now - begun > _LONGEST:
                raise TransferError(
                    f"a repository sent nothing for {now - moved:.0f} seconds" if now - moved > _PATIENCE
                    else f"a repository is not done after {now - begun:.0f} seconds",
                    where=self.where,
                    hint=_OTHERWISE,
                )  # fmt: skip


@contextlib.contextmanager
def local(path: Path, folder: Path) -> Iterator[Repository]:
    """A clone on this machine, bare or not.

    Args:
        path: The clone.
        folder: An empty one, where we may write.

    Raises:
        UsageError: There is none.
    """
    git_dir = path if git.is_bare(path) else path / ".git"
    if not git.is_bare(git_dir):
        raise UsageError(
            "there is no git repository",
            where=str(path),
            expected="a clone, bare or with its files",
            hint="correct MSHUB_REPOSITORIES, or `repositories` in the settings file",
        )
    with Repository(git_dir.absolute() / "objects", str(path), folder) as repository:
        yield repository


@contextlib.contextmanager
def fetched(url: str, commit: str, folder: Path, settings: Settings) -> Iterator[Repository]:
    """A commit of a server's repository, with its trees; files come when they are asked for.

    Args:
        url: With https or http.
        commit: All 40 hex digits.
        folder: An empty one, where git may write.
        settings: For the mirror's token.

    Raises:
        TransferError: The server does not give it.
        TrustError: It gives too much.
        MissingDependencyError: There is no git.
    """
    repository = _Fetched(folder, url)
    with repository:
        _make_empty(folder / "git", _config(url, settings))
        repository.fetch("--depth=1", "--filter=blob:none", given=[commit])
        yield repository


def _start(*words: str, git_dir: Path, **options: object) -> subprocess.Popen[bytes]:
    try:
        return git.start(*words, git_dir=git_dir, **options)  # type: ignore[arg-type]
    except FileNotFoundError as error:
        raise MissingDependencyError(
            "code of repositories comes by git, which is not installed",
            hint="install git, e.g. apt install git",
        ) from error


def _make_empty(git_dir: Path, config: str) -> None:
    # By hand, and not by `git init`: no templates, and nothing of a secret on a command line.
    for name in ("objects", "refs"):
        (git_dir / name).mkdir(parents=True, mode=0o700)
    (git_dir / "HEAD").write_text("ref: refs/heads/none\n", encoding="ascii")
    with os.fdopen(
        os.open(git_dir / "config", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as it:
        it.write(config)


def _config(url: str, settings: Settings) -> str:
    rows: dict[str, dict[str, str]] = {
        "core": {"repositoryFormatVersion": "1", "bare": "true", "askPass": "", "logAllRefUpdates": "false"},
        "extensions": {"partialClone": "origin"},
        'remote "origin"': {"url": url, "promisor": "true", "partialCloneFilter": "blob:none"},
        "fetch": {"unpackLimit": "1", "recurseSubmodules": "false", "writeCommitGraph": "false"},
        "gc": {"auto": "0"},
        "maintenance": {"auto": "false"},
        "protocol": {"version": "2"},
        "credential": {"helper": ""},
        "http": {"lowSpeedLimit": "1", "lowSpeedTime": "60", "followRedirects": "initial"},
    }
    authorities = next(
        filter(None, map(os.environ.get, ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"))), None
    )
    if authorities is not None:
        rows["http"]["sslCAPath" if Path(authorities).is_dir() else "sslCAInfo"] = authorities
    endpoint = settings.endpoint
    if settings.token and endpoint is not None and url.startswith(f"{endpoint.rstrip('/')}/"):
        # A redirect would take the token along.
        rows["http"] |= {"extraHeader": f"Authorization: Bearer {settings.token}", "followRedirects": "false"}
    lines = []
    for section, values in rows.items():
        lines.append(f"[{section}]")
        lines += [f"\t{key} = {_quoted(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    if not text.isprintable():
        raise UsageError(
            "a setting for git has a character that cannot be seen", got=plain(hide(text), exact=True)[:200]
        )
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _size(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # git renames what is complete
                total += os.lstat(f"{place}/{name}").st_size
    return total
