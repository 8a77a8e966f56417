"""Annotations in COCO's form: read and checked, so that whatever is wrong with a file is told with its place."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from mshub_ssd.errors import AnnotationError
from mshub_ssd.files import NotRegularError, read_regular
from mshub_ssd.terminal import brief, counted

__all__ = ["Annotations", "Instance", "Picture", "check_inside", "read_annotations"]

_PARTS = {"images": "pictures", "annotations": "objects", "categories": "classes"}
# Where an entry is: the list and its place in it. A text of it is made only for errors.
_At = tuple[str, int]
# A float holds whole numbers up to here, and pycocotools keeps ids in floats.
_MAX_ID = 1 << 53


class Picture(NamedTuple):
    """A picture of a data set.

    Attributes:
        id: Its number in the file.
        name: Path of the picture below the folder of pictures.
        size: (height, width) as the file says, None where it does not.
    """

    id: int
    name: str
    size: tuple[int, int] | None


class Instance(NamedTuple):
    """An object on a picture.

    Attributes:
        id: Its number in the file.
        category: Number of its category.
        box: x, y, width and height in pixels, as the file has them.
        area: As the file has it, that of the box where it does not.
        crowd: Whether it is a crowd: a region of objects that were not told apart.
    """

    id: int
    category: int
    box: tuple[float, float, float, float]
    area: float
    crowd: bool


@dataclass(frozen=True)
class Annotations:
    """A data set in COCO's form.

    Attributes:
        place: What messages call it: its path, or ``annotations``.
        pictures: The pictures, in the file's order.
        instances: Picture's id → the objects on it, in the file's order; pictures without any are missing.
        categories: Category's id → its name, by ascending id.
        description: What the file says of the data set, if it does.
        notes: What is odd and did not stop the reading.
    """

    place: str
    pictures: tuple[Picture, ...]
    instances: Mapping[int, tuple[Instance, ...]]
    categories: Mapping[int, str]
    description: str = ""
    notes: tuple[str, ...] = ()

    def dataset(self, pictures: Sequence[Picture] | None = None) -> dict[str, Any]:
        """The data set as pycocotools takes it; whoever gets it may change it.

        Args:
            pictures: Only these; None for all.
        """
        chosen = self.pictures if pictures is None else pictures
        return {
            "images": [{"id": picture.id} for picture in chosen],
            "annotations": [
                {
                    "id": one.id,
                    "image_id": picture.id,
                    "category_id": one.category,
                    "bbox": list(one.box),
                    "area": one.area,
                    "iscrowd": int(one.crowd),
                }
                for picture in chosen
                for one in self.instances.get(picture.id, ())
            ],
            "categories": [{"id": number, "name": name} for number, name in self.categories.items()],
        }

    def used(self) -> set[int]:
        """Ids of the categories that some object has."""
        return {one.category for some in self.instances.values() for one in some}


def read_annotations(source: str | os.PathLike[str] | Mapping[str, Any]) -> Annotations:
    """Read annotations of objects in COCO's form.

    Needed are ``images`` (``id``, ``file_name``), ``annotations`` (``id``, ``image_id``, ``category_id``, ``bbox``) and
    ``categories`` (``id``, ``name``). Where ``area`` is missing it is that of the box, and ``iscrowd`` is then 0.

    Args:
        source: Path of a JSON file, or what is in one.

    Raises:
        AnnotationError: It cannot be read, or something in it makes no sense; `where` has the place.
    """
    if isinstance(source, Mapping):
        place, content = "annotations", source
    else:
        place = os.fspath(source)
        content = _load(place)
    return _Reader(place).read(content)


def check_inside(folder: Path, name: str, where: str) -> None:
    """Refuse a picture that lies elsewhere, for annotations come from strangers.

    Args:
        folder: The folder of pictures.
        name: Path of the picture, as the annotations have it.
        where: What messages call the entry.

    Raises:
        AnnotationError: It does not lie below the folder.
    """
    top = os.path.abspath(folder)
    path = os.path.abspath(os.path.join(top, name))  # noqa: PTH118 - an absolute name stands for itself
    if not path.startswith(os.path.join(top, "")):  # noqa: PTH118
        raise AnnotationError(
            "a picture lies outside of the folder of pictures",
            where=where,
            expected=f"a path below {folder}",
            got=repr(brief(name, 120)),
            hint="name a folder above it: images=DIR (--images DIR)",
        )


def _load(place: str) -> Any:
    try:
        data = read_regular(Path(place))
    except NotRegularError as error:
        raise AnnotationError("this is no file of annotations", where=place, got=str(error)) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise AnnotationError("the annotations cannot be read", where=place, got=reason, hint=_FORM_HINT) from error
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        raise AnnotationError(
            f"the annotations are not JSON: {error.msg}",
            where=f"{place}:{error.lineno}:{error.colno}",
            got=repr(brief(error.doc[error.pos : error.pos + 40], 40)) if error.pos < len(error.doc) else "its end",
            hint=_FORM_HINT,
        ) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, numbers without end, brackets without end
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise AnnotationError(
            "the annotations are not JSON that can be read", where=place, got=reason[:200], hint=_FORM_HINT
        ) from error


_FORM_HINT = "annotations are COCO's: {images: [...], annotations: [...], categories: [...]}"


class _Reader:
    """Reads one file.

    Args:
        place: What messages call it.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._no_area = self._outside = 0

    def read(self, content: Any) -> Annotations:
        if not isinstance(content, Mapping):
            results = isinstance(content, list) and content and isinstance(content[0], dict) and "score" in content[0]
            self._refuse(
                "",
                "these are detections, and no annotations" if results else "the annotations are no JSON object",
                "an object with images, annotations and categories",
                _kind(content),
                _FORM_HINT,
            )
        categories = self._categories(content)
        pictures = self._pictures(content)
        if not pictures:
            self._refuse("images", "there are no pictures in the annotations", "one at least", "none")
        sizes = {picture.id: picture.size for picture in pictures}
        instances: dict[int, list[Instance]] = {}
        seen: dict[int, int] = {}
        for index, row in self._rows(content, "annotations"):
            image, one = self._instance(index, row, sizes, categories)
            if one.id in seen:
                self._twice(("annotations", index), one.id, seen[one.id])
            seen[one.id] = index
            instances.setdefault(image, []).append(one)
        info = content.get("info")
        said = info.get("description") if isinstance(info, Mapping) else None
        return Annotations(
            self._place,
            tuple(pictures),
            {image: tuple(some) for image, some in instances.items()},
            dict(sorted(categories.items())),
            said if isinstance(said, str) else "",
            tuple(self._notes(0 in seen)),
        )

    def _notes(self, zero: bool) -> Iterator[str]:
        if self._no_area:
            yield f"{counted(self._no_area, 'object')} without area: that of the box counts"
        if self._outside:
            yield (
                f"{counted(self._outside, 'box', 'boxes')} far outside of the picture: "
                "COCO's are x, y, width and height, not two corners"
            )
        if zero:
            yield "an object has the id 0, and pycocotools takes what matches it for a false alarm: count from 1"

    def _categories(self, content: Mapping[str, Any]) -> dict[int, str]:
        found: dict[int, str] = {}
        places: dict[int, int] = {}
        for index, row in self._rows(content, "categories"):
            at = ("categories", index)
            number, name = self._id(at, row, "id"), row.get("name")
            if not isinstance(name, str) or not name:
                self._wrong(at, row, "name", "a text")
            if number in found:
                self._twice(at, number, places[number])
            found[number], places[number] = name, index
        return found

    def _pictures(self, content: Mapping[str, Any]) -> list[Picture]:
        found: list[Picture] = []
        places: dict[int, int] = {}
        for index, row in self._rows(content, "images"):
            at = ("images", index)
            number, name = self._id(at, row, "id"), row.get("file_name")
            if not isinstance(name, str) or not name or "\0" in name:
                self._wrong(at, row, "file_name", "path of the picture below the folder of pictures")
            if number in places:
                self._twice(at, number, places[number])
            places[number] = index
            sides = [self._side(at, row, side) for side in ("height", "width")]
            found.append(Picture(number, name, (sides[0], sides[1]) if sides[0] and sides[1] else None))
        return found

    def _instance(
        self,
        index: int,
        row: Mapping[str, Any],
        sizes: Mapping[int, tuple[int, int] | None],
        categories: Mapping[int, str],
    ) -> tuple[int, Instance]:
        at = ("annotations", index)
        number, image, category = (
            self._id(at, row, "id"),
            self._id(at, row, "image_id"),
            self._id(at, row, "category_id"),
        )
        if image not in sizes:
            self._wrong(at, row, "image_id", "the id of one of the images")
        if category not in categories:
            self._wrong(at, row, "category_id", "the id of one of the categories")
        box = row.get("bbox")
        if not isinstance(box, list | tuple) or len(box) != 4 or not all(map(_is_number, box)):
            self._wrong(at, row, "bbox", "[x, y, width, height], four numbers")
        x, y, width, height = box
        if width < 0 or height < 0:
            self._wrong(at, row, "bbox", "[x, y, width, height] of no negative size")
        size = sizes[image]
        if size is not None and (x + width > 1.5 * size[1] or y + height > 1.5 * size[0]):
            self._outside += 1
        area = row.get("area")
        if area is None:
            self._no_area += 1
            area = width * height
        elif not _is_number(area) or area < 0:
            self._wrong(at, row, "area", "a number of square pixels")
        crowd = row.get("iscrowd", 0)
        if crowd not in (0, 1):
            self._wrong(at, row, "iscrowd", "0 or 1")
        return image, Instance(number, category, (x, y, width, height), area, bool(crowd))

    def _rows(self, content: Mapping[str, Any], part: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
        rows = content.get(part)
        if not isinstance(rows, list | tuple):
            message = f"the annotations have no list of {_PARTS[part]}"
            self._refuse(part if part in content else "", message, f"{part}: [...]", _kind(rows), _FORM_HINT)
        for index, row in enumerate(rows):
            if not isinstance(row, Mapping):
                self._refuse(f"{part}[{index}]", "an entry is no JSON object", "an object", brief(repr(row), 60))
            yield index, row

    def _id(self, at: _At, row: Mapping[str, Any], key: str) -> int:
        value = row.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not -_MAX_ID <= value <= _MAX_ID:
            self._wrong(at, row, key, "a whole number")
        return value

    def _side(self, at: _At, row: Mapping[str, Any], key: str) -> int:
        value = row.get(key)
        if value is None:
            return 0
        if not _is_number(value) or value < 1 or value != int(value):
            self._wrong(at, row, key, "a whole number of pixels")
        return int(value)

    def _wrong(self, at: _At, row: Mapping[str, Any], key: str, expected: str) -> NoReturn:
        place, missing = f"{at[0]}[{at[1]}]", key not in row
        what = f"{key} is missing" if missing else f"{key} makes no sense"
        got = None if missing else brief(repr(row[key]), 80)
        self._refuse(place if missing else f"{place}.{key}", what, expected, got)

    def _twice(self, at: _At, number: int, first: int) -> NoReturn:
        part, index = at
        got = f"{number}, which {part}[{first}] has, too"
        self._refuse(f"{part}[{index}].id", "an id is there twice", "another number for each", got)

    def _refuse(self, at: str, message: str, expected: str, got: str | None, hint: str | None = None) -> NoReturn:
        where = f"{self._place}: {at}" if at else self._place
        raise AnnotationError(message, where=where, expected=expected, got=got, hint=hint)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
