"""Pictures with one class each: from a folder per class, or from a CSV file."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mshub_ssd.errors import AnnotationError, ImageError, UsageError
from mshub_ssd.evaluation.matching import MATCHES, listed, plain_name
from mshub_ssd.files import NotRegularError, read_regular
from mshub_ssd.terminal import brief, counted

__all__ = ["Example", "Labelled", "label_of_each", "read_csv", "read_folders"]


class Example(NamedTuple):
    """A picture and its class.

    Attributes:
        name: Path of the picture below the folder of pictures.
        label: What its class is called there.
    """

    name: str
    label: str


@dataclass(frozen=True)
class Labelled:
    """Pictures with one class each.

    Attributes:
        place: What messages call them: the path of the file or the folder.
        examples: The pictures.
        labels: The classes that there are: folders in ascending order, of a CSV file those that occur.
        notes: What is worth knowing.
    """

    place: str
    examples: tuple[Example, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_csv(source: str | os.PathLike[str]) -> Labelled:
    """Read a table with the columns ``image`` (a path below the folder of pictures) and ``label``; others do not count.

    Args:
        source: A CSV file in UTF-8; with tabs for commas if it ends like ``.tsv``.

    Raises:
        AnnotationError: It cannot be read, or a row makes no sense.
    """
    place = os.fspath(source)
    try:
        text = read_regular(Path(source)).decode("utf-8-sig")
    except NotRegularError as error:
        raise AnnotationError("this is no table of pictures", where=place, got=str(error)) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise AnnotationError("the table of pictures cannot be read", where=place, got=reason) from error
    rows = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if place.lower().endswith(".tsv") else ",")
    examples = []
    try:
        head = [name.strip().lower() for name in next(rows, [])]
        if "image" not in head or "label" not in head:
            raise AnnotationError(
                "the first line of the table does not name its columns",
                where=f"{place}:1",
                expected="image,label",
                got=repr(brief(",".join(head), 80)),
            )
        image, label = head.index("image"), head.index("label")
        for row in rows:
            if not row:
                continue
            cells = [cell.strip() for cell in row]
            if max(image, label) >= len(cells) or not cells[image] or not cells[label] or "\0" in cells[image]:
                raise AnnotationError(
                    "a row has no picture and label",
                    where=f"{place}:{rows.line_num}",
                    expected=",".join(head),
                    got=repr(brief(",".join(row), 80)),
                )
            examples.append(Example(cells[image], cells[label]))
    except csv.Error as error:
        raise AnnotationError(f"the table is no CSV: {error}", where=f"{place}:{rows.line_num}") from error
    if not examples:
        raise AnnotationError("there are no pictures in the table", where=place, expected="a row for each picture")
    return Labelled(place, tuple(examples), tuple(sorted({example.label for example in examples})))


def read_folders(folder: Path) -> Labelled:
    """The pictures in the folders of a folder, with the name of their folder as their label.

    Raises:
        AnnotationError: There are no folders in it, or it cannot be listed.
    """
    from mshub_ssd import pictures

    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise AnnotationError("the folder cannot be listed", where=str(folder), got=error.strerror) from error
    visible = [path for path in inside if not path.name.startswith(".")]
    folders = [path for path in visible if path.is_dir()]
    if not folders:
        raise AnnotationError(
            "there is no folder per class in this folder",
            where=str(folder),
            expected="folders with the names of the classes, and pictures in them",
            got=counted(len(visible), "file"),
            hint="or annotations=FILE (--annotations FILE): a CSV file with the columns image and label",
        )
    examples, empty = [], []
    for path in folders:
        try:
            found = [name for name in pictures.find(str(path), below=False) if isinstance(name, str)]
        except ImageError:
            empty.append(path.name)
            continue
        examples += [Example(os.path.relpath(name, folder), path.name) for name in found]
    if not examples:
        raise AnnotationError("there is no picture in the folders of the classes", where=str(folder), got=listed(empty))
    notes = []
    if len(folders) < len(visible):
        notes.append(f"{counted(len(visible) - len(folders), 'file')} beside the folders of the classes left out")
    if empty:
        notes.append(f"{counted(len(empty), 'folder')} without pictures: {listed(empty)}")
    return Labelled(str(folder), tuple(examples), tuple(path.name for path in folders), tuple(notes))


def label_of_each(
    labels: Sequence[str], classes: Sequence[str], identifiers: Sequence[str], match: str, place: str
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Which class of the model each label is.

    Args:
        labels: The data set's.
        classes: The model's, by label.
        identifiers: Further names of them, by label, e.g. WordNet ids; or none.
        match: ``name`` or ``order``.
        place: What messages call the data set.

    Returns:
        Label of the data set → 0-based label of the model; and what is worth knowing about it.

    Raises:
        UsageError: Labels and classes do not match.
    """
    if match not in MATCHES:
        raise UsageError("match says how classes find each other", expected='"name" or "order"', got=repr(match)[:80])
    if match == "order":
        if len(labels) != len(classes):
            raise UsageError(
                "labels and classes cannot be matched by their order: there are not as many of both",
                where=place,
                expected=counted(len(classes), "label"),
                got=counted(len(labels), "label"),
            )
        note = f"the {len(labels)} labels were taken for the classes by their order: {labels[0]} = {classes[0]}, …"
        return {label: index for index, label in enumerate(sorted(labels))}, (note,)
    known = _names(classes, identifiers)
    found = {label: known[form] for label in labels for form in [_form(label, known)] if form is not None}
    unknown = [label for label in labels if label not in found]
    if unknown and not found and all(_is_label(label, len(classes)) for label in labels):
        return {label: int(label) for label in labels}, ("the labels are numbers, and count the classes from 0",)
    if unknown:
        raise UsageError(
            f"the model knows no class of the name of {counted(len(unknown), 'label')}",
            where=place,
            expected=f"{listed(classes)}"
            + (", their WordNet ids" if identifiers else "")
            + ", or their numbers from 0",
            got=listed(unknown),
            hint="match='order' (--match order) if the order is the same"
            if len(labels) == len(classes)
            else "rename the labels",
        )
    if len(set(found.values())) < len(found):
        first, second = _same(found)
        raise UsageError("two labels are one class of the model", where=place, got=f"{first!r} and {second!r}")
    return found, ()


def _names(classes: Sequence[str], identifiers: Sequence[str]) -> dict[str, int]:
    """Every name that means one class only: its whole name, identifier and synonyms, and these written otherwise."""
    known: dict[str, int] = {}
    for names in (
        [(name, label) for label, name in enumerate(classes)],
        [(name, label) for label, name in enumerate(identifiers)],
        [(part.strip(), label) for label, name in enumerate(classes) for part in name.split(",")],
        [(plain_name(name), label) for label, name in enumerate(classes)],
        [(plain_name(part), label) for label, name in enumerate(classes) for part in name.split(",")],
    ):
        fresh: dict[str, set[int]] = {}
        for name, label in names:
            if name not in known:
                fresh.setdefault(name, set()).add(label)
        known |= {name: next(iter(some)) for name, some in fresh.items() if len(some) == 1}
    return known


def _form(label: str, known: Mapping[str, int]) -> str | None:
    return next((form for form in (label, plain_name(label)) if form in known), None)


def _is_label(label: str, count: int) -> bool:
    return label.isascii() and label.isdecimal() and len(label) < 10 and int(label) < count


def _same(found: Mapping[str, int]) -> tuple[str, str]:
    first: dict[int, str] = {}
    for label, number in found.items():
        if number in first:
            return first[number], label
        first[number] = label
    raise AssertionError("no two labels are the same")
