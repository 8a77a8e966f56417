"""A folder of results that grows part by part: whole ones count, torn ones do not, and all are of one run's making."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd import store
from mshub_ssd.errors import TransferError, UsageError
from mshub_ssd.files import make_folders, read_regular, replace_file, writing
from mshub_ssd.redaction import redact
from mshub_ssd.schemes import is_store, is_url

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Part", "ResultsFolder", "part_name"]

_log = logging.getLogger(__name__)

# Names with _ are no data for whoever reads folders of Parquet files: Arrow, Spark, Ray.
_ACCOUNT = "_mshub_run.json"
_FORMAT = "mshub_ssd results in parts"
_KEY = b"mshub"
_PART = re.compile(r"part-[0-9]{9,}-[0-9a-f]{16}\.parquet")
_MAX_PART = 1 << 30


@dataclass(frozen=True)
class Part:
    """A part that is whole.

    Attributes:
        name: Its file's name.
        pictures: How many rows it has.
        failures: How many of them are errors.
    """

    name: str
    pictures: int
    failures: int


class ResultsFolder:
    """Parts of results and an account of what made them.

    Args:
        place: The folder's path, or its address in an object store; it need not exist.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self._files: _Folder | _Bucket = _Bucket(place) if is_url(place) else _Folder(place)

    def begin(self, making: Mapping[str, Any]) -> str:
        """Make the folder, or see that what is in it was made in the same way.

        Args:
            making: The model and the options; fit for JSON.

        Returns:
            What each part of it carries, to tell that it belongs there.

        Raises:
            UsageError: The results in it were made in another way, or it holds others.
            TransferError, DiskSpaceError: It cannot be written.
        """
        account = {"format": _FORMAT, **json.loads(json.dumps(making))}
        there = self._account()
        if there == account:
            return _mark(account)
        filled = any(name.endswith(".parquet") for name in self._files.names())
        if there is None and filled:
            raise UsageError(
                "this folder has Parquet files of others", where=self.place, hint="give a folder of its own"
            )
        # Of a run that was refused before it had made anything, nothing is left.
        if there is not None and filled:
            differing = [key for key in {**there, **account} if there.get(key) != account.get(key)]
            raise UsageError(
                "the results in this folder were made in another way",
                where=self.place,
                expected=", ".join(f"{key}={there.get(key)!r}" for key in differing)[:300],
                got=", ".join(f"{key}={account.get(key)!r}" for key in differing)[:300],
                hint="give another folder, or the options of the first run",
            )
        self._files.write(_ACCOUNT, json.dumps(account, indent=1).encode())
        return _mark(account)

    def check(self, mark: str) -> None:
        """See that this machine sees the folder.

        Args:
            mark: From `begin`, wherever that was called.

        Raises:
            UsageError: It does not, or sees another one of that name.
        """
        there = self._account()
        if there is None or _mark(there) != mark:
            raise UsageError(
                "the folder of results is not the same on this machine",
                where=self.place,
                expected="a file system that all machines share, or an object store",
                got="another folder" if there else "no such folder",
            )

    def find(self, name: str, mark: str) -> tuple[Part, list[str]] | None:
        """A part, and the names of its pictures; None where there is none, or only a torn one.

        Raises:
            UsageError: It was made in another way.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        data = self._files.read(name)
        if data is None:
            return None
        try:
            file = pq.ParquetFile(io.BytesIO(data))
            told = json.loads((file.schema_arrow.metadata or {})[_KEY])
            names = file.read(["image"]).column("image").to_pylist()
            part, known = Part(name, int(told["pictures"]), int(told["failures"])), told["mark"]
        # What a file of that name holds may be anything.
        except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:
            _log.warning("%s/%s is torn, and made anew: %s", self.place, name, error)
            return None
        if part.pictures != len(names):
            _log.warning("%s/%s is torn, and made anew: it has %d rows", self.place, name, len(names))
            return None
        if known != mark:
            raise UsageError(
                "a part in this folder belongs to other results",
                where=f"{self.place}/{name}",
                hint="move it away, or give another folder",
            )
        return part, names

    def parts(self, mark: str) -> list[tuple[Part, list[str]]]:
        """All that are whole, with the names of their pictures; what is torn is put out of readers' sight.

        Raises:
            UsageError: One of them was made in another way.
            TransferError: The folder cannot be read or written.
        """
        names = sorted(name for name in self._files.names() if _PART.fullmatch(name))
        # Object stores take their time for each.
        with ThreadPoolExecutor(8) as pool:
            looked = list(zip(names, pool.map(lambda name: self.find(name, mark), names), strict=True))
        for name, found in looked:
            if found is None:
                self._files.rename(name, f"_{name}.torn")
        return [found for _, found in looked if found is not None]

    def add(self, name: str, mark: str, table: pa.Table, failures: int) -> Part:
        """Write a part; it appears whole or not at all.

        Raises:
            TransferError, DiskSpaceError: It cannot be written.
        """
        import pyarrow.parquet as pq

        told = {"mark": mark, "pictures": table.num_rows, "failures": failures}
        content = io.BytesIO()
        pq.write_table(table.replace_schema_metadata({_KEY: json.dumps(told).encode()}), content)
        self._files.write(name, content.getvalue())
        return Part(name, table.num_rows, failures)

    def _account(self) -> dict[str, Any] | None:
        data = self._files.read(_ACCOUNT)
        if data is None:
            return None
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or found.get("format") != _FORMAT:
            raise UsageError(
                "the account of these results cannot be read",
                where=f"{self.place}/{_ACCOUNT}",
                expected=_FORMAT,
                hint="give another folder",
            )
        return found


class _Folder:
    """Files of a folder on this machine, or on one that all machines share."""

    def __init__(self, place: str) -> None:
        self._path = Path(place)

    def names(self) -> list[str]:
        with writing(self._path, "the folder of results"):
            make_folders(self._path)
            return [path.name for path in self._path.iterdir()]

    def read(self, name: str) -> bytes | None:
        path = self._path / name
        try:
            return read_regular(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise TransferError("results cannot be read", where=str(path), got=error.strerror) from error

    def write(self, name: str, data: bytes) -> None:
        path = self._path / name
        with writing(path, "a part of the results"):
            replace_file(path, data)

    def rename(self, name: str, new: str) -> None:
        path = self._path / name
        with writing(path, "a torn part"):
            path.replace(path.with_name(new))


class _Bucket:
    """Files below an address of an object store."""

    def __init__(self, place: str) -> None:
        self._url = place.rstrip("/")
        if not is_store(place):
            raise UsageError(
                "results cannot be written there", where=redact(place), expected="a folder, or s3://BUCKET/FOLDER"
            )

    def names(self) -> list[str]:
        begin = len(self._url) + 1
        return [name for one in store.listing(self._url) if "/" not in (name := one.url[begin:])]

    def read(self, name: str) -> bytes | None:
        url = f"{self._url}/{name}"
        return None if store.exists(url) is None else store.read_file(url, _MAX_PART)

    def write(self, name: str, data: bytes) -> None:
        store.write_file(f"{self._url}/{name}", data)

    def rename(self, name: str, new: str) -> None:
        self.write(new, self.read(name) or b"")
        store.remove_file(f"{self._url}/{name}")


def _mark(account: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(account, sort_keys=True).encode()).hexdigest()


def part_name(first: int, names: Sequence[str]) -> str:
    """What a part is called: where it begins in the list of all pictures, and which pictures it holds.

    So one that is made twice, because whoever made it was lost before he could tell, takes its own place.
    """
    told = hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"part-{first:09d}-{told}.parquet"
