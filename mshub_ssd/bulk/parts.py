"""Results in an object store: rows in numbered parts, since no file there can be appended to."""

from __future__ import annotations

import io
import json
import logging
import re
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

from mshub_ssd import store
from mshub_ssd.bulk.journal import compare
from mshub_ssd.bulk.writing import check_parquet, new_writer
from mshub_ssd.errors import MshubError, UsageError
from mshub_ssd.redaction import redact
from mshub_ssd.settings import Settings

__all__ = ["Parts"]

_log = logging.getLogger(__name__)

_RECORD = "_made.json"  # readers of such folders leave out what begins with an underscore
_PART = re.compile(r"part-([0-9]{6,})-[0-9a-f]{8}\.(jsonl|parquet)")
_ROWS, _SECONDS = 10_000, 60.0  # of a part; what a killed run loses
_LARGEST = 1 << 30
_AT_ONCE = 8


class Parts:
    """Rows that are there for good once their part is; a context manager, at whose end the last part is written.

    ``s3://BUCKET/results.parquet`` becomes a folder of that name, with ``part-000000-….parquet`` and so on in it, as
    pandas, PyArrow, Spark and Ray read it, and a record of how the rows were made. A part is there as a whole or not at
    all. A name is never taken twice, so that no run destroys what another one wrote.

    Args:
        url: Where.
        options: What the rows depend on; fit for JSON.
        form: ``jsonl`` or ``parquet``.
        resume: Whether to go on with rows that are there.
        settings: For the network.

    Attributes:
        done: How many rows each picture has already.
        failed: How many of them tell of a failure.
        count: How many there are.

    Raises:
        UsageError: There are rows, and they are not to be gone on with, or were made with other options.
        TransferError: The store cannot be asked, or written.
    """

    def __init__(self, url: str, options: dict[str, Any], form: str, *, resume: bool, settings: Settings) -> None:
        if form == "parquet":
            check_parquet()
        self._url, self._form, self._settings = url.rstrip("/"), form, settings
        self.done: Counter[str] = Counter()
        self.failed = self.count = 0
        self._lines: list[bytes] = []
        self._since = time.monotonic()
        found = store.listing(self._url, settings=settings)
        names = [one.url[len(self._url) + 1 :] for one in found]
        parts = sorted(name for name in names if _PART.fullmatch(name))
        self._next = 1 + max((int(name.split("-")[1]) for name in parts), default=-1)
        self._compare(json.loads(json.dumps(options)), names, filled=bool(parts), resume=resume)
        for images, failed in self._read(parts):
            self.done.update(images)
            self.failed += failed
            self.count += len(images)

    def add(self, line: bytes) -> None:
        """A row as a line of JSON with its end.

        Raises:
            TransferError: A part cannot be written.
        """
        self._lines.append(line)
        if len(self._lines) >= _ROWS or time.monotonic() - self._since >= _SECONDS:
            self._flush()

    def __enter__(self) -> Parts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
            return
        try:
            self._flush()  # what was looked at before Ctrl-C, or before the model failed, is of use, too
        except MshubError as failure:
            _log.warning("%d rows are lost: %s", len(self._lines), failure)

    def _compare(self, options: dict[str, Any], names: Sequence[str], *, filled: bool, resume: bool) -> None:
        if _RECORD in names:
            if filled and not resume:
                raise UsageError(
                    "there are results already",
                    where=redact(self._url),
                    hint="go on with them: --resume; or take another name",
                )
            known = json.loads(store.read_file(f"{self._url}/{_RECORD}", 16 << 20, settings=self._settings))
            if filled:
                compare(known, options, redact(self._url))
                return
        elif names:
            raise UsageError(
                "there are files already, and nothing tells how they were made",
                where=redact(self._url),
                got=", ".join(names[:3]),
                hint="take another name",
            )
        data = json.dumps(options, indent=1).encode("ascii") + b"\n"
        store.write_file(f"{self._url}/{_RECORD}", data, settings=self._settings)

    def _read(self, parts: Sequence[str]) -> Iterator[tuple[list[str], int]]:
        """The pictures of each part, and how many of them failed."""

        def read(name: str) -> tuple[list[str], int]:
            data = store.read_file(f"{self._url}/{name}", _LARGEST, settings=self._settings)
            return _pictures(name, data, redact(self._url))

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from pool.map(read, parts)

    def _flush(self) -> None:
        self._since = time.monotonic()
        if not self._lines:
            return
        name = f"part-{self._next:06d}-{secrets.token_hex(4)}.{self._form}"
        data = b"".join(self._lines) if self._form == "jsonl" else _parquet(self._lines)
        store.write_file(f"{self._url}/{name}", data, settings=self._settings)
        _log.info("wrote %s with %d rows", name, len(self._lines))
        self._next, self._lines = self._next + 1, []


def _parquet(lines: Sequence[bytes]) -> bytes:
    into = io.BytesIO()
    writer = new_writer("parquet", into, lambda: (), lambda: None)
    for line in lines:
        writer.write(json.loads(line))
    writer.close()
    return into.getvalue()


def _pictures(name: str, data: bytes, where: str) -> tuple[list[str], int]:
    try:
        if name.endswith(".parquet"):
            import pyarrow.parquet

            table = pyarrow.parquet.read_table(io.BytesIO(data), columns=["image", "error"])
            images = [str(image) for image in table.column("image").to_pylist()]
            return images, sum(error is not None for error in table.column("error").to_pylist())
        rows = [json.loads(line) for line in data.splitlines()]
        return [str(row["image"]) for row in rows], sum("error" in row for row in rows)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UsageError(
            "a part of the results cannot be read",
            where=f"{where}/{name}",
            got=type(error).__name__,
            hint="remove it, and its pictures are looked at anew",
        ) from error
