"""Results as columns of one fixed type, a row per picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mshub_ssd.redaction import scrub

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["row_name", "schema", "to_table"]

_TEXT = ("image", "error_code", "error_message")


def schema(kind: str) -> pa.Schema:
    """The columns, the same for every part and every picture.

    Args:
        kind: ``detector`` or ``classifier``; the latter has no boxes.
    """
    import pyarrow as pa

    columns = [("image", pa.string()), ("height", pa.int32()), ("width", pa.int32())]
    if kind == "detector":
        columns.append(("boxes", pa.list_(pa.list_(pa.float32()))))
    columns += [("scores", pa.list_(pa.float32())), ("labels", pa.list_(pa.int32())), ("names", pa.list_(pa.string()))]
    columns += [("error_code", pa.string()), ("error_message", pa.string())]
    return pa.schema(columns)


def row_name(picture: str) -> str:
    """What the column ``image`` says of a picture of this name."""
    return str(_text(scrub(picture)))


def to_table(rows: Iterable[Mapping[str, Any]], kind: str) -> pa.Table:
    """Rows of `mshub_ssd.results.row_of` as columns: no box is an empty list, no result is null."""
    import pyarrow as pa

    return pa.Table.from_pylist([_flat(row, kind) for row in rows], schema(kind))


def _flat(row: Mapping[str, Any], kind: str) -> dict[str, Any]:
    flat: dict[str, Any] = {"image": row["image"]}
    if "error" in row:
        flat |= {"error_code": row["error"]["code"], "error_message": row["error"]["message"]}
    else:
        flat["height"], flat["width"] = row["size"] or (None, None)
        found = row["detections" if kind == "detector" else "classes"]
        for column, key in (("boxes", "box"), ("scores", "score"), ("labels", "label"), ("names", "name")):
            if key != "box" or kind == "detector":
                flat[column] = [one[key] for one in found]
    # What a name of a file holds that is no text would not be written.
    return {key: _text(value) if key in _TEXT else value for key, value in flat.items()}


def _text(value: str | None) -> str | None:
    return None if value is None else value.encode("utf-8", "backslashreplace").decode("utf-8")
