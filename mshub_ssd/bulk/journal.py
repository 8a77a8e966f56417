"""A run that may be killed at any moment, and goes on where it was."""

from __future__ import annotations

import json
import os
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from mshub_ssd.errors import UsageError
from mshub_ssd.files import PLAIN, read_regular, replace_file, writing
from mshub_ssd.store import locks

__all__ = ["Journal", "compare"]

_MAX_RECORD = 16 << 20


class Journal:
    """Rows that are there for good once they are written: whole lines, appended one by one; a context manager.

    Beside it lies a record of how the rows were made, so that none that were made otherwise are added.

    Args:
        out: Where the results shall be in the end.
        options: What the rows depend on; fit for JSON.
        is_result: Whether the lines themselves are the result. Otherwise they lie beside it until it is written.

    Attributes:
        done: How many rows each picture has already.
        failed: How many of them tell of a failure.
        count: How many there are.

    Raises:
        UsageError: The rows there were made with other options, are no rows, or another run is at work on them.
        MshubError: In one of its kinds: the files cannot be written.
    """

    def __init__(self, out: Path, options: dict[str, Any], *, is_result: bool) -> None:
        self.path = out if is_result else out.with_name(f"{out.name}.rows.jsonl")
        self._record = out.with_name(f"{out.name}.resume")
        self.done: Counter[str] = Counter()
        self.failed = self.count = 0
        with writing(self.path, "the rows"):
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | PLAIN, 0o644)
        try:
            if locks.try_lock(self._fd) is False:
                raise UsageError("another run is at work on these results", where=str(out), hint="wait for it to end")
            self._compare(json.loads(json.dumps(options)), out)
            self._read()
        except BaseException:
            self.close()
            raise

    def add(self, line: bytes) -> None:
        """A row as a line with its end.

        Raises:
            MshubError: In one of its kinds: it cannot be written.
        """
        with writing(self.path, "a row"):
            written = os.write(self._fd, line)
            while written < len(line):
                written += os.write(self._fd, line[written:])

    def rows(self) -> Iterator[dict[str, Any]]:
        """All rows, from the first one on."""
        with self.path.open("rb") as stream:
            for line in stream:
                yield json.loads(line)

    def finish(self) -> None:
        """The result is written; what lies beside it has done its work. The record stays with rows that are it."""
        if self._record.with_suffix("") != self.path:
            self.path.unlink(missing_ok=True)
            self._record.unlink(missing_ok=True)

    def close(self) -> None:
        """Let others go on with it."""
        if self._fd >= 0:
            locks.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _compare(self, options: dict[str, Any], out: Path) -> None:
        try:
            known = json.loads(read_regular(self._record, _MAX_RECORD))
        except FileNotFoundError:
            if os.fstat(self._fd).st_size:
                raise UsageError(
                    "there are results already, and nothing tells how they were made",
                    where=str(self.path),
                    expected=f"{self._record.name} beside it, which a run with --resume writes",
                    hint=f"rm {shlex.quote(str(self.path))}, or take another name",
                ) from None
            with writing(self._record):
                replace_file(self._record, json.dumps(options, indent=1).encode("ascii") + b"\n")
            return
        except (OSError, ValueError) as error:
            raise UsageError(
                "what tells how these results were made cannot be read", where=str(self._record), got=str(error)
            ) from error
        compare(known, options, str(out))

    def _read(self) -> None:
        """Count the rows, and take away what a run left half written."""
        sound = 0
        with os.fdopen(os.dup(self._fd), "rb") as stream:
            stream.seek(0)
            for number, line in enumerate(stream, 1):
                row = _row(line)
                if row is None:
                    if stream.read(1):
                        raise UsageError(
                            "this is no row of results",
                            where=f"{self.path}:{number}",
                            got=repr(line[:80]),
                            hint="take another name",
                        )
                    break
                sound += len(line)
                self.done[str(row["image"])] += 1
                self.failed += "error" in row
                self.count += 1
        with writing(self.path, "the rows"):
            os.ftruncate(self._fd, sound)


def compare(known: object, options: dict[str, Any], where: str) -> None:
    """Hold the record of results that are there against what is asked for.

    Raises:
        UsageError: It was something else.
    """
    known = known if isinstance(known, dict) else {}
    other = sorted(key for key in {*known, *options} if known.get(key) != options.get(key))
    if other:
        raise UsageError(
            f"the results there were made in another way: {', '.join(other)}",
            where=where,
            expected=", ".join(f"{key}={known.get(key)!r}" for key in other)[:500],
            got=", ".join(f"{key}={options.get(key)!r}" for key in other)[:500],
            hint="give the same arguments again, or take another name",
        )


def _row(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and "image" in row else None
