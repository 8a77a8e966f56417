"""The checkpoint of a new card: where it is, where it will be, and what proves it to be the right one."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from mshub_ssd import schemes, store
from mshub_ssd.errors import IntegrityError, UnsupportedFormatError, UsageError
from mshub_ssd.files import lies_in, make_folders, new_file, open_regular
from mshub_ssd.formats import FORMATS, format_of, main_endings
from mshub_ssd.redaction import hide
from mshub_ssd.settings import Settings

__all__ = ["NewFile", "copied", "digested", "find", "is_url", "place", "published"]


_BLOCK = 1 << 20


@dataclass(frozen=True)
class NewFile:
    """A checkpoint that a card is to name.

    Attributes:
        link: As the card will say: a url, or a path relative to the card.
        format: Key of `mshub_ssd.formats`.
        sha256: 64 hex digits; None where they are not known yet.
        size: Number of bytes, None where that is not known.
        path: The file, where it is on this machine.
        outside: Whether it lies elsewhere than in the card's folder, so that it must be copied.
    """

    link: str
    format: str
    sha256: str | None = None
    size: int | None = None
    path: Path | None = None
    outside: bool = False

    @property
    def name(self) -> str:
        """Its name without folders and ending."""
        return unquote(self.link.partition("?")[0]).rpartition("/")[2].rpartition(".")[0]

    @property
    def loadable(self) -> bool:
        """Whether `load` can read files of this format."""
        return FORMATS[self.format].reader is not None


def is_url(text: str) -> bool:
    """Whether a checkpoint is named by its address."""
    return schemes.is_web(text) or schemes.of(text) in schemes.STORES


def find(text: str, folder: Path, settings: Settings) -> NewFile:
    """What a text says about the checkpoint: hashed where it is a file.

    Args:
        text: A url, or the path of a file.
        folder: The card's folder, which need not exist.
        settings: The caches, where a file of a url may be.

    Raises:
        UsageError: It is neither; or its ending is that of no format.
        IntegrityError: The file cannot be read.
    """
    kind = format_of(None, text)
    if kind is None:
        raise UnsupportedFormatError(
            "the checkpoint has no ending that is known",
            where=hide(text),
            expected=f"{main_endings()}; or one of {', '.join(FORMATS)}, which cannot be loaded",
            got=text.rpartition("/")[2] or "nothing",
            hint="give the file its ending",
        )
    if is_url(text):
        return NewFile(text, kind.key)
    path = Path(text).expanduser()
    try:
        got = store.hash_file(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise IntegrityError(
            f"the checkpoint cannot be read: {reason}",
            where=str(path),
            expected="a file, or an address that begins with https://",
            hint="check the path",
        ) from error
    inside = folder.is_dir() and lies_in(path, folder)
    link = os.path.relpath(os.path.realpath(path), os.path.realpath(folder)) if inside else path.name
    return NewFile(link.replace(os.sep, "/"), kind.key, got.hexdigest, got.size, path, outside=not inside)


def published(file: NewFile, url: str) -> NewFile:
    """The file as a card names it that links the address where it will be.

    Raises:
        UsageError: That is no address, or one of another kind of file; or the file is named by its address already.
    """
    if is_url(file.link):
        raise UsageError(
            "the checkpoint is an address already",
            where="--url",
            expected="--checkpoint with the file that will be there",
            got=hide(file.link),
            hint="give the file as --checkpoint, or leave --url out",
        )
    if not is_url(url):
        raise UsageError(
            "this is no address",
            where="--url",
            expected="an address that begins with https://",
            got=repr(hide(url)[:200]),
            hint="correct --url",
        )
    kind = format_of(None, url)
    if kind is not None and kind.key != file.format:
        raise UsageError(
            "the address is one of another kind of file",
            where="--url",
            expected=f"a {file.format} file, as {file.path} is",
            got=hide(url),
            hint="correct --url or --checkpoint",
        )
    return replace(file, link=url, outside=False)


def digested(file: NewFile, sha256: str, *, fetch: bool, settings: Settings, label: str) -> NewFile:
    """The file with the digest that somebody vouches for.

    Args:
        file: Of a url without a digest, or of a path, which is then compared.
        sha256: 64 hex digits; empty to believe what the server sends now.
        fetch: Whether it may be downloaded; it then lies in the cache.
        settings: The caches.
        label: The card's uid.

    Raises:
        IntegrityError: It is no digest, or the file is another one.
        TransferError: It cannot be downloaded.
    """
    sha256 = sha256.strip().lower()
    if sha256 and not store.is_digest(sha256, whole=True):
        raise IntegrityError(
            "this is no SHA-256 digest", expected="64 hex digits", got=repr(sha256[:80]), hint="run sha256sum FILE"
        )
    if file.path is not None:
        if sha256 not in ("", file.sha256):
            raise IntegrityError(
                "the checkpoint is not the file that the digest is of",
                where=str(file.path),
                expected=f"sha256 {sha256}",
                got=f"sha256 {file.sha256}",
                hint="give the right file, or leave --sha256 out",
            )
        return file
    if sha256:
        path = store.cached([file.link], sha256, settings=settings)
        if path is None and fetch:
            path = store.fetch([file.link], sha256, label=label, settings=settings)
        return replace(file, sha256=sha256, path=path, size=path.stat().st_size if path else None)
    if not fetch:
        raise UsageError(
            "nothing says which file should be behind the url, so no download of it could be verified",
            where=hide(file.link),
            expected="--sha256 with its 64 hex digits, from whoever made the file (sha256sum FILE)",
            hint="--fetch downloads the file now, and takes the digest of what comes",
        )
    with tempfile.TemporaryDirectory(prefix="mshub-") as folder:
        fresh = Path(folder) / "download"
        with fresh.open("xb") as stream:
            sha256, size = store.digest_of(file.link, allow_private=True, settings=settings, into=stream)
        path = store.add(fresh, sha256, urls=[file.link], label=label, settings=settings)
    return replace(file, sha256=sha256, size=size, path=path)


def copied(file: NewFile, folder: Path, *, force: bool) -> NewFile:
    """The file as it is once `place` has copied it into the card's folder.

    Raises:
        UsageError: Another file of that name is there.
    """
    target = folder / file.link
    if target.exists() and not force and store.hash_file(target).hexdigest != file.sha256:
        raise UsageError(
            "another file of that name lies beside the card already",
            where=str(target),
            hint="rename one of them; --force replaces what is there",
        )
    return replace(file, outside=False)


def place(source: Path, file: NewFile, folder: Path) -> Path | None:
    """Copy a checkpoint into the card's folder, unless the same file is there; what was written.

    Raises:
        IntegrityError: It cannot be copied, or changed meanwhile.
    """
    target = folder / file.link
    try:
        if target.exists() and store.hash_file(target).hexdigest == file.sha256:
            return None
        make_folders(folder)
        with open_regular(source) as stream, new_file(target, mode=0o666) as out:
            shutil.copyfileobj(stream, out, _BLOCK)
        if store.hash_file(target).hexdigest != file.sha256:
            target.unlink()
            raise IntegrityError("the checkpoint changed while it was copied", where=str(source), hint="try again")
    except OSError as error:
        raise IntegrityError(
            f"the checkpoint cannot be copied beside the card: {error.strerror or error}",
            where=str(target),
            hint=f"cp {shlex.quote(str(source))} {shlex.quote(str(target))}",
        ) from error
    return target
