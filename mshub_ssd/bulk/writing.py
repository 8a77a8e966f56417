"""Rows in files: JSON lines, JSON, COCO results, a table, Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any, BinaryIO, Protocol

from mshub_ssd.errors import MissingDependencyError, UsageError, install_hint
from mshub_ssd.terminal import plain, table

__all__ = ["FORMATS", "Writer", "check_parquet", "format_of", "new_writer", "table_of"]

FORMATS = ("table", "json", "jsonl", "coco", "parquet")
"""The forms that results are written in."""

_ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".parquet": "parquet", ".txt": "table"}
_FIGURES = (1, 2, 3, 4, 5)  # columns of numbers in the table of detections
_GROUP = 1000  # rows of a Parquet file that are held in memory


class Writer(Protocol):
    """What takes rows."""

    def write(self, row: dict[str, Any]) -> None:
        """The next one."""

    def close(self) -> None:
        """There are no more."""


def format_of(path: PurePath) -> str | None:
    """The format that the end of a file's name means."""
    return _ENDINGS.get(path.suffix.lower())


def new_writer(
    form: str, stream: BinaryIO, classes: Callable[[], Sequence[str]], threshold: Callable[[], float | None]
) -> Writer:
    """What writes rows in a format.

    Args:
        form: One of `FORMATS`.
        stream: Where to.
        classes: Tells the names of all the network's classes.
        threshold: Tells the score above which a detector was asked for.

    Raises:
        MissingDependencyError: Parquet needs pyarrow.
    """
    if form == "parquet":
        return _Parquet(stream)
    if form == "coco":
        return _Coco(stream, classes)
    if form == "table":
        return _Table(stream, threshold)
    return _Lines(stream) if form == "jsonl" else _List(stream)


def check_parquet() -> None:
    """See that Parquet files can be written.

    Raises:
        MissingDependencyError: They cannot.
    """
    try:
        import pyarrow.parquet  # noqa: F401 - tried only
    except ImportError as error:
        raise MissingDependencyError(f"Parquet files need pyarrow: {error}", hint=install_hint("parquet")) from error


def table_of(row: dict[str, Any], threshold: float | None) -> str:
    """A row in words, best first.

    Args:
        row: See `mshub_ssd.results.row_of`.
        threshold: Score above which a detector was asked for.
    """
    if "error" in row:
        return plain(f"error: {row['error']['message']}")
    if "classes" in row:
        classes = [(f"{one['score'] or 0:.3f}", str(one["label"]), one["name"]) for one in row["classes"]]
        return table([("score", "label", "name"), *classes], right=(0, 1))
    if "detections" not in row:
        return plain(json.dumps({key: value for key, value in row.items() if key != "image"}))
    if not row["detections"]:
        if not threshold:
            return "Nothing found."
        return f"Nothing found with a score above {threshold:g}. Try a lower one: --score-threshold {threshold / 2:g}"
    lines: list[tuple[str, ...]] = [("name", "score", "x1", "y1", "x2", "y2")]
    lines += [
        (one["name"], _figure(one["score"], 3), *(_figure(side, 1) for side in one["box"])) for one in row["detections"]
    ]
    return table(lines, right=_FIGURES)


def _figure(value: float | None, digits: int) -> str:
    return "?" if value is None else f"{value:.{digits}f}"


class _Lines:
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, row: dict[str, Any]) -> None:
        from mshub_ssd.results import json_line

        self._stream.write(json_line(row))

    def close(self) -> None:
        self._stream.flush()


class _List:
    """A JSON list, one entry a line."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._before = stream, b"[\n"

    def write(self, row: dict[str, Any]) -> None:
        from mshub_ssd.results import json_line

        self._stream.write(self._before + json_line(row).rstrip(b"\n"))
        self._before = b",\n"

    def close(self) -> None:
        self._stream.write(b"\n]\n" if self._before == b",\n" else b"[]\n")
        self._stream.flush()


class _Coco(_List):
    """COCO results: an entry per detection, none for a picture that could not be read."""

    def __init__(self, stream: BinaryIO, classes: Callable[[], Sequence[str]]) -> None:
        super().__init__(stream)
        self._classes = classes

    def write(self, row: dict[str, Any]) -> None:
        import numpy as np

        from mshub_ssd.results import Detections

        rows = row.get("detections", ())
        if not rows:
            return
        floats = np.asarray([[*one["box"], one["score"]] for one in rows], dtype=np.float32)
        found = Detections(
            boxes=floats[:, :4],
            scores=floats[:, 4],
            labels=np.asarray([one["label"] for one in rows], dtype=np.intp),
            names=tuple(one["name"] for one in rows),
            image_size=tuple(row["size"]),
            classes=tuple(self._classes()),
        )
        name = row["image"]
        stem = os.path.splitext(os.path.basename(name))[0]  # noqa: PTH119, PTH122 - a url has one, too
        number = int(stem) if stem.isascii() and stem.isdecimal() else name
        for one in found.to_coco(number):
            super().write(one)


class _Table:
    def __init__(self, stream: BinaryIO, threshold: Callable[[], float | None]) -> None:
        self._stream, self._threshold = stream, threshold

    def write(self, row: dict[str, Any]) -> None:
        frame = f"  frame {row['frame']}  {row['time']:.3f} s" if "frame" in row else ""
        text = f"{plain(row['image'] or 'picture')}{frame}\n{plain(table_of(row, self._threshold()))}\n\n"
        self._stream.write(text.encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        self._stream.flush()


class _Parquet:
    """A row per picture; boxes, scores, labels and names lie in lists."""

    def __init__(self, stream: BinaryIO) -> None:
        check_parquet()
        import pyarrow
        import pyarrow.parquet

        entry = [("score", pyarrow.float32()), ("label", pyarrow.int32()), ("name", pyarrow.string())]
        box = ("box", pyarrow.list_(pyarrow.float32()))
        self._schema = pyarrow.schema(
            [
                ("image", pyarrow.string()),
                ("frame", pyarrow.int64()),
                ("time", pyarrow.float64()),
                ("size", pyarrow.list_(pyarrow.int32())),
                ("detections", pyarrow.list_(pyarrow.struct([box, *entry]))),
                ("classes", pyarrow.list_(pyarrow.struct(entry))),
                ("error", pyarrow.struct([("code", pyarrow.string()), ("message", pyarrow.string())])),
            ]
        )
        self._rows: list[dict[str, Any]] = []
        self._writer = pyarrow.parquet.ParquetWriter(stream, self._schema)

    def write(self, row: dict[str, Any]) -> None:
        unknown = set(row) - set(self._schema.names)
        if unknown:
            raise UsageError(
                "results of this kind of network have no form in Parquet",
                got=", ".join(sorted(unknown)),
                hint="--format jsonl",
            )
        # A name of bytes that are no text would end the run.
        name = row["image"] or ""
        self._rows.append({**row, "image": name if _is_text(name) else plain(name, exact=True)})
        if len(self._rows) >= _GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow

        if self._rows:
            self._writer.write_table(pyarrow.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
