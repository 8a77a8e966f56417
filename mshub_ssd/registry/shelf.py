"""Where what was fetched of a registry is kept: a folder in the cache, if nobody else can write there."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from mshub_ssd.files import is_private, make_folders, new_file, read_regular

__all__ = ["Shelf"]

_log = logging.getLogger("mshub_ssd.registry")


class Shelf:
    """The folder of one registry, in the first cache that is ours alone to write; there may be none.

    Args:
        key: The same text for the same registry.
        homes: The caches.
    """

    def __init__(self, key: str, homes: Sequence[Path]) -> None:
        self._name, self._homes = hashlib.sha256(key.encode()).hexdigest()[:32], homes
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._searched = False

    @property
    def folder(self) -> Path | None:
        """The folder, which is made; None for memory."""
        with self._lock:
            if not self._searched:
                self._searched = True
                for home in self._homes:
                    folder = home / "registry" / self._name
                    try:
                        make_folders(folder, 0o700)
                        if is_private(home, folder.parent, folder):
                            self._folder = folder
                            break
                    except OSError as error:
                        _log.debug("no registry in %s: %s", folder, error)
            return self._folder

    def keep(self, name: str, data: bytes) -> bool:
        """Write a file, all of it or nothing; whether that was possible."""
        if (folder := self.folder) is None:
            return False
        path = folder / name
        try:
            make_folders(path.parent, 0o700)
            with new_file(path) as stream:
                stream.write(data)
        except OSError as error:
            _log.debug("cannot keep %s: %s", path, error)
            return False
        return True

    def read(self, name: str, limit: int) -> bytes | None:
        """A file of at most so many bytes; None where there is none that can be read."""
        if (folder := self.folder) is not None:
            with contextlib.suppress(OSError, ValueError):
                return read_regular(folder / name, limit, follow=False)
        return None
