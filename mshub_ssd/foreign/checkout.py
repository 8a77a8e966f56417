"""Folders of repositories at pinned commits, in the cache; every file proven each time before it is used.

::

    <home>/v1/code/<owner>+<name>/<commit>/<folder's name>-<16 hex>/tree/    the files, 0444, in folders of 0555
    <home>/v1/code/<owner>+<name>/<commit>/<folder's name>-<16 hex>/proof    the commit and its trees, as git has them
    <home>/v1/code/<owner>+<name>/<commit>/<folder's name>-<16 hex>/absent   what a partial clone had not, if anything
    <home>/v1/code/<owner>+<name>/<commit>/<folder's name>-<16 hex>/carried  there if it came in a bundle
    <home>/v1/code/tmp/                                                      what is being made

The proof is held against the commit's forty digits, and the files against the proof, so neither need be believed. What
the files are when they are imported is what they were then only where nobody else can write: elsewhere they are copied
to a place of our own first.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mshub_ssd import settings as _settings
from mshub_ssd.errors import IntegrityError, MshubError, OfflineError, TransferError, UsageError
from mshub_ssd.files import NO_FOLLOW, PLAIN, is_link, is_private, make_folders, read_regular
from mshub_ssd.foreign import fetching
from mshub_ssd.foreign.commits import full_commit, sources, valid_repository
from mshub_ssd.foreign.links import plain_path
from mshub_ssd.foreign.objects import MAX_BYTES, MAX_FILES, MAX_OBJECT, Blob, Trees, hash_of, too_large, walk
from mshub_ssd.redaction import hide
from mshub_ssd.settings import Settings
from mshub_ssd.store import locks
from mshub_ssd.terminal import size_text

__all__ = [
    "CARRIED",
    "CODE",
    "Checkout",
    "Content",
    "File",
    "Wanted",
    "folder",
    "listing",
    "may_miss",
    "names_below",
    "objects_in",
    "obtain",
    "proof_of",
    "publish",
    "scratch_in",
    "stored",
    "trees_of",
    "workshop",
]

logger = logging.getLogger("mshub_ssd.foreign")

CARRIED = "carried"
"""The name of a file beside a folder's files that says that a bundle brought it."""

CODE = ("v1", "code")
"""The folders of a cache below which code lies."""

_HEAD = re.compile(rb"(commit|tree|blob) (\d{1,8})\0")
_ABANDONED = 86_400.0  # seconds, where a file system knows no locks
_passing: list[Path] = []  # a cache of this process's, where there is no other


@dataclass(frozen=True)
class File:
    """A file of a folder.

    Attributes:
        name: Its path below the folder, with ``/``.
        size: Its bytes; None for one that is left out.
        left_out: Why it is not there: ``compiled``, ``picture`` or ``absent`` (a partial clone had it not); else empty.
    """

    name: str
    size: int | None
    left_out: str = ""


@dataclass(frozen=True)
class Checkout:
    """A folder of a commit on this machine, proven when it was handed out.

    Attributes:
        repository: Its name.
        commit: All 40 hex digits.
        path: The folder in the repository.
        folder: Where its files are.
        files: What it has.
    """

    repository: str
    commit: str
    path: str
    folder: Path
    files: tuple[File, ...]
    _hexdigests: dict[str, str]

    def read(self, name: str) -> bytes:
        """The bytes of a file, proven anew: who compiles these runs what the commit has.

        Args:
            name: Its path below the folder, with ``/``.

        Raises:
            FileNotFoundError: The commit has no such file, or it was left out.
            IntegrityError: It was changed.
        """
        if name not in self._hexdigests:
            raise FileNotFoundError(f"{self.repository}@{self.commit} has no {self.path}/{name}")
        return _proven(self.folder / name, self._hexdigests[name])


def folder(repository: str, commit: str, path: str, *, settings: Settings | None = None) -> Path:
    """The folder with the files of a repository's folder at a commit; see `obtain`."""
    return obtain(repository, commit, path, settings=settings).folder


def listing(repository: str, commit: str, path: str, *, settings: Settings | None = None) -> tuple[File, ...]:
    """The files that a repository's folder has at a commit; see `obtain`."""
    return obtain(repository, commit, path, settings=settings).files


def obtain(repository: str, commit: str, path: str, *, settings: Settings | None = None) -> Checkout:
    """A repository's folder at a commit: from the cache, or by git; every file is proven. Nothing of it is run.

    Args:
        repository: Its name, e.g. ``mindspore/models``.
        commit: All 40 hex digits.
        path: The folder, with ``/``.
        settings: Instead of the current ones.

    Raises:
        UsageError: There is no such repository, commit or folder.
        IntegrityError: What a repository gives is not what the commit says.
        TrustError: The folder has links, names that lead elsewhere, or too much.
        TransferError: No repository gives the commit.
        OfflineError: It is not in the cache, and the network is forbidden.
        MissingDependencyError: There is no git.
    """
    chosen = _settings.current() if settings is None else settings
    if not valid_repository(repository) or not full_commit(commit) or not plain_path(path):
        raise UsageError(
            "code is taken from a folder of a repository at a commit",
            expected="OWNER/NAME, 40 hex digits and a path such as official/cv/resnet",
            got=repr((repository, commit, path))[:300],
        )
    want = Wanted(repository, commit, path)
    carried: Content | None = None
    for home in (*_passing, *chosen.homes):
        place = home.joinpath(*CODE, want.place)
        if not os.path.lexists(place):
            continue
        found, sound = _look(want, home, place)
        if found is not None and sound:
            return want.checkout(place, found)
        if found is not None:
            # Whole, but somebody else can write there, or something was added: a copy of the proven bytes will do.
            carried = carried or found
    if carried is None:
        carried = _obtain(want, chosen)
    return publish(want, carried, chosen)


@dataclass(frozen=True)
class Content:
    """Proven bytes.

    Attributes:
        blobs: The files of the commit's folder.
        data: Their bytes, by name; those left out have none.
        objects: The commit and the trees.
    """

    blobs: tuple[Blob, ...]
    data: dict[str, bytes]
    objects: bytes


@dataclass(frozen=True)
class Wanted:
    """A folder of a commit that somebody wants; nothing is known of it yet.

    Attributes:
        repository: Its name.
        commit: All 40 hex digits.
        path: The folder.
    """

    repository: str
    commit: str
    path: str

    @property
    def where(self) -> str:
        """What messages call it."""
        return f"{self.repository}@{self.commit}:{self.path}"

    @property
    def place(self) -> str:
        """Where it lies below a cache's folder for code."""
        last = re.sub(r"[^A-Za-z0-9._-]", "_", self.path.rpartition("/")[2])[:60]
        key = hashlib.sha256(self.path.encode()).hexdigest()[:16]
        return f"{self.repository.replace('/', '+')}/{self.commit}/{last}-{key}"

    def checkout(self, place: Path, content: Content) -> Checkout:
        """What is handed out of a folder in the cache that has this content."""
        files = tuple(
            File(blob.name, len(content.data[blob.name]), "")
            if blob.name in content.data
            else File(blob.name, None, blob.left_out or "absent")
            for blob in content.blobs
        )
        known = {blob.name: blob.hexdigest for blob in content.blobs if blob.name in content.data}
        return Checkout(self.repository, self.commit, self.path, place / "tree", files, known)


def _look(want: Wanted, home: Path, place: Path) -> tuple[Content | None, bool]:
    """What the cache has, if every file is the commit's; and whether it can be used where it lies."""
    try:
        private = is_private(home, *_folders(place)) and not is_link(place)
        content = stored(want, place, believe=private)
        extra = names_below(place / "tree") ^ set(content.data)
        if extra:
            logger.warning("a file does not belong into a folder of code, which is made anew: %s", min(extra))
        return content, private and not extra
    except (MshubError, OSError, ValueError) as error:
        reason = error.message if isinstance(error, MshubError) else getattr(error, "strerror", None) or error
        logger.warning("code in the cache is damaged, and fetched again: %s: %s", place, reason)
        return None, False


def objects_in(data: bytes, kinds: tuple[str, ...] = ("commit", "tree")) -> dict[str, tuple[str, bytes]]:
    """The objects of a proof, or of another row of git's objects: kind and bytes, by the hash that these have.

    Raises:
        ValueError: It is damaged, or has objects of another kind.
    """
    objects: dict[str, tuple[str, bytes]] = {}
    at = 0
    while at < len(data):
        head = _HEAD.match(data, at)
        if head is None or head[1].decode() not in kinds or head.end() + int(head[2]) > len(data):
            raise ValueError("its proof is damaged")
        at = head.end() + int(head[2])
        kind, raw = head[1].decode(), data[head.end() : at]
        objects[hash_of(kind, raw)] = (kind, raw)
    return objects


def trees_of(objects: Mapping[str, tuple[str, bytes]], where: str) -> Trees:
    """Trees that read from objects at hand; for one that is missing they raise a ValueError."""

    def read(kind: str, hexdigest: str) -> bytes:
        found = objects.get(hexdigest)
        if found is None or found[0] != kind:
            raise ValueError("its proof is not that of the commit")
        return found[1]

    return Trees(read, where)


def proof_of(place: Path, *, touch: bool = True) -> bytes:
    """The proof of a folder in a cache, which proves nothing before it is held against a commit.

    Raises:
        OSError, ValueError: It cannot be read.
    """
    return read_regular(place / "proof", MAX_FILES * MAX_OBJECT // 64, follow=False, touch=touch)


def stored(want: Wanted, place: Path, *, believe: bool, touch: bool = True) -> Content:
    """The bytes of a folder in a cache, held against the commit.

    Args:
        want: The folder.
        place: Where it lies.
        believe: Whether its own word counts for what a partial clone had not.
        touch: Whether this is a use of it.

    Raises:
        MshubError, OSError, ValueError: They are not the commit's.
    """
    proof = proof_of(place, touch=touch)
    blobs = walk(trees_of(objects_in(proof), want.where), want.commit, want.path)
    absent: set[str] = set()
    if believe and os.path.lexists(place / "absent"):
        absent = {str(name) for name in json.loads(read_regular(place / "absent", MAX_OBJECT, follow=False))}
    taken = [blob for blob in blobs if not blob.left_out and not (may_miss(blob) and blob.name in absent)]
    return Content(
        tuple(blobs), {blob.name: _proven(place / "tree" / blob.name, blob.hexdigest) for blob in taken}, proof
    )


def _proven(path: Path, hexdigest: str) -> bytes:
    """The bytes of a file in a cache, which are those of a hash."""
    got = "something that is no file of ours"
    with contextlib.suppress(OSError):
        data = read_regular(path, MAX_BYTES, follow=False)
        got = hash_of("blob", data)
        if got == hexdigest:
            return data
    raise IntegrityError(
        "a file of a repository's code was changed in the cache: it is not used",
        where=str(path),
        expected=hexdigest,
        got=got,
        hint="the next `load` or `mshub trust show UID` fetches it again",
    )


def may_miss(blob: Blob) -> bool:
    """Whether a clone may lack a file: the large ones are data, of which a network hardly needs any."""
    return not blob.name.endswith((".py", ".yaml", ".yml", ".json", ".cfg", ".ini"))


def _folders(place: Path) -> Iterator[Path]:
    for top, _, _ in os.walk(place):
        yield Path(top)


def names_below(top: Path) -> set[str]:
    """Everything below a folder but folders with something in them."""
    found = set()
    for place, folders, names in os.walk(top):
        inner = Path(place).relative_to(top)
        links = [name for name in folders if is_link(Path(place, name))]
        empty = [name for name in folders if name not in links and not os.listdir(Path(place, name))]  # noqa: PTH208
        found |= {(inner / name).as_posix() for name in [*names, *links, *empty]}
    return found


def _obtain(want: Wanted, settings: Settings) -> Content:
    """The folder from the first repository that has it.

    Raises:
        MshubError: None has; see `obtain`.
    """
    failures: list[MshubError] = []
    skipped = False
    for source in sources(want.repository, settings):
        if isinstance(source, str) and settings.offline:
            skipped = True
            continue
        try:
            with contextlib.ExitStack() as stack:
                scratch = stack.enter_context(scratch_in(workshop(settings)))
                if isinstance(source, Path):
                    repository = stack.enter_context(fetching.local(source, scratch))
                else:
                    logger.info("fetching %s from %s", want.where, hide(source))
                    repository = stack.enter_context(fetching.fetched(source, want.commit, scratch, settings))
                return _read(want, repository, partial=isinstance(source, Path))
        except (TransferError, IntegrityError) as error:
            failures.append(error)
    if skipped and not failures:
        raise OfflineError(
            f"code of {want.repository} is not in the cache, and the network is forbidden",
            where=want.where,
            hint="leave --offline out or unset MSHUB_OFFLINE once; or MSHUB_REPOSITORIES='OWNER/NAME=/path/of/a/clone'",
        )
    worst = next((error for error in failures if isinstance(error, IntegrityError)), failures[-1])
    if len(failures) == 1:
        raise worst
    raise type(worst)(
        f"no repository gives the code: {worst.message}",
        where=want.where,
        expected=worst.expected,
        got="; ".join(f"{error.where}: {error.message}" for error in failures),
        hint=worst.hint,
    ) from worst


def _read(want: Wanted, repository: fetching.Repository, *, partial: bool) -> Content:
    trees = Trees(repository.read, want.where)
    blobs = walk(trees, want.commit, want.path)
    taken = [blob for blob in blobs if not blob.left_out]
    repository.bring(blob.hexdigest for blob in taken)
    data: dict[str, bytes] = {}
    room = MAX_BYTES
    for blob in taken:
        found = repository.blob(blob.hexdigest, room)
        if found is None and partial and may_miss(blob):
            logger.warning("a clone lacks a file of the commit: %s: %s/%s", repository.where, want.path, blob.name)
            continue
        if found is None:
            raise TransferError(
                "a repository has not all files of a commit",
                where=repository.where,
                expected=f"{want.path}/{blob.name} ({blob.hexdigest})",
                hint="name a whole clone in MSHUB_REPOSITORIES, or none",
            )
        room -= len(found)
        if room < 0:
            raise too_large(f"more than {size_text(MAX_BYTES)}", want.where)
        data[blob.name] = found
    objects = b"".join(f"{kind} {len(raw)}\0".encode() + raw for kind, raw in trees.seen.values())
    return Content(tuple(blobs), data, objects)


def publish(want: Wanted, content: Content, settings: Settings) -> Checkout:
    """Write proven bytes where only we can, and let them appear in one step."""
    top = workshop(settings)
    place = top / want.place
    with scratch_in(top) as scratch:
        made = scratch / "new"
        _write(made, content)
        make_folders(place.parent, 0o755, exactly=True)
        for _ in range(8):
            try:
                made.rename(place)
                break
            except OSError:
                if not os.path.lexists(place):
                    raise
            # Somebody else may have been quicker; what is damaged is moved out of the way.
            found, sound = _look(want, top.parent.parent, place)
            if found is not None and sound:
                return want.checkout(place, found)
            with contextlib.suppress(FileNotFoundError):
                place.rename(scratch / f"old{time.monotonic_ns()}")
    return want.checkout(place, content)


def _write(made: Path, content: Content) -> None:
    (made / "tree").mkdir(parents=True, mode=0o755)
    rows: list[tuple[Path, bytes]] = [(made / "tree" / name, data) for name, data in content.data.items()]
    rows.append((made / "proof", content.objects))
    absent = [blob.name for blob in content.blobs if not blob.left_out and blob.name not in content.data]
    if absent:
        rows.append((made / "absent", json.dumps(absent).encode()))
    for path, data in rows:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | PLAIN, 0o444), "wb") as stream:
            stream.write(data)
    for place in _folders(made):
        place.chmod(0o755 if place == made else 0o555)


def workshop(settings: Settings) -> Path:
    """The first cache's folder for code that only we can write; where there is none, one until the process ends."""
    for home in settings.homes:
        top = home.joinpath(*CODE)
        try:
            make_folders(home, 0o755)
            make_folders(top / "tmp", 0o755, exactly=True)
        except OSError as error:
            logger.debug("no code in %s: %s", home, error)
            continue
        if is_private(home, top / "tmp") and os.access(top / "tmp", os.W_OK):
            return top
    if not _passing:
        logger.info("no cache can be written by this user alone, so code is kept for this process only")
        _passing.append(Path(tempfile.mkdtemp(prefix="mshub-code-")))
        atexit.register(discard, _passing[0])
    top = _passing[0] / "v1" / "code"
    make_folders(top / "tmp", 0o700)
    return top


@contextlib.contextmanager
def scratch_in(top: Path) -> Iterator[Path]:
    """A folder of this process's; what killed ones left is removed first."""
    _clear(top / "tmp")
    while True:
        name = f"{os.getpid()}.{os.urandom(8).hex()}"
        lock = top / "tmp" / f"{name}.lock"
        held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | PLAIN, 0o600)
        if locks.try_lock(held) is not False and locks.has_name(held, lock):
            break
        locks.close(held)  # somebody took it for one that was left
    made = top / "tmp" / name
    try:
        made.mkdir(mode=0o700)
        yield made
    finally:
        discard(made)
        lock.unlink(missing_ok=True)
        locks.close(held)


def _clear(tmp: Path) -> None:
    """Remove what killed processes left."""
    for lock in tmp.glob("*.lock"):
        try:
            held = os.open(lock, os.O_RDWR | PLAIN | NO_FOLLOW)
        except OSError:
            continue
        try:
            free = locks.try_lock(held)
            if free is None:
                free = time.time() - os.fstat(held).st_mtime > _ABANDONED
            if free:
                discard(lock.with_suffix(""))
                lock.unlink(missing_ok=True)
        except OSError as error:
            logger.debug("%s stays: %s", lock, error.strerror)
        finally:
            locks.close(held)


def discard(top: Path) -> None:
    """Remove a folder of ours, whose folders may be read-only."""
    for place, folders, _ in os.walk(top):
        for name in folders:
            inner = Path(place, name)
            if not is_link(inner):
                with contextlib.suppress(OSError):
                    inner.chmod(0o700)
    shutil.rmtree(top, ignore_errors=True)
