"""What there is to learn from: pictures with boxes and labels, checked before anything is trained."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import AnnotationError, ImageError, UsageError, needing_extra
from mshub_ssd.evaluation import Annotations, Instance, Picture, check_inside, read_annotations
from mshub_ssd.files import open_regular
from mshub_ssd.pictures import RGB, read_image
from mshub_ssd.terminal import counted

__all__ = ["CocoSamples", "Sample", "Samples", "as_annotations", "coco_samples", "split"]

# Boxes that people drew go over the border by a pixel or so.
_SLACK = 2.0
_LISTED = 3


class Sample(NamedTuple):
    """A picture and what is on it.

    Attributes:
        image: RGB uint8 [h, w, 3].
        boxes: float32 [n, 4] as x1, y1, x2, y2 in pixels, of positive width and height.
        labels: [n], positions in the classes of the data.
    """

    image: RGB
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


class Samples(Protocol):
    """Pictures to learn from, each made or read when it is asked for; threads ask for several at once.

    Attributes:
        classes: Names of the classes.
        name: What cards call the data.
    """

    @property
    def classes(self) -> Sequence[str]:
        """See above."""

    @property
    def name(self) -> str:
        """See above."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


@dataclass(frozen=True)
class CocoSamples:
    """A folder of pictures with annotations in COCO's form.

    Attributes:
        classes: Names of the categories that some object has, by ascending id.
        name: What the annotations call themselves, or their file's name.
        folder: The pictures' folder.
        annotations: The data set.
        notes: What was left out, and why.
    """

    classes: tuple[str, ...]
    name: str
    folder: Path
    annotations: Annotations
    notes: tuple[str, ...] = ()
    labels: Mapping[int, int] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.annotations.pictures)

    def __getitem__(self, index: int, /) -> Sample:
        picture = self.annotations.pictures[index]
        image = read_image(self.folder / picture.name)
        height, width = image.shape[:2]
        objects = [one for one in self.annotations.instances.get(picture.id, ()) if _counts(one)]
        boxes = np.asarray([one.box for one in objects], dtype=np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        np.clip(boxes, 0, np.array([width, height] * 2, np.float32), out=boxes)
        labels = np.asarray([self.labels[one.category] for one in objects], dtype=np.int64)
        seen = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        return Sample(image, boxes[seen], labels[seen])


def coco_samples(
    source: str | os.PathLike[str] | Mapping[str, Any] | Annotations, folder: str | os.PathLike[str]
) -> CocoSamples:
    """Read annotations in COCO's form and check all of them, and every picture's file and size.

    Crowds and objects without width or height are left out, and so are categories without objects.

    Args:
        source: Path of a JSON file, or what is in one.
        folder: Where the pictures are.

    Raises:
        AnnotationError: The annotations make no sense, there is nothing to learn in them, a picture is missing or of
            another size, or a box lies outside of its picture.
        UsageError: There is no such folder.
    """
    where = Path(folder)
    if not where.is_dir():
        raise UsageError(
            "this is no folder of pictures", where=os.fspath(where), hint="images=DIR (--images DIR) names a folder"
        )
    found = source if isinstance(source, Annotations) else read_annotations(source)
    if not found.pictures:
        raise AnnotationError("there are no pictures", where=found.place, expected="images: [...]")
    for index, picture in enumerate(found.pictures):
        check_inside(where, picture.name, f"{found.place}: images[{index}]")
    sizes = _sizes(found, where)
    crowds = flat = 0
    used: set[int] = set()
    for picture in found.pictures:
        for one in found.instances.get(picture.id, ()):
            crowds += one.crowd
            flat += not one.crowd and not _counts(one)
            if _counts(one):
                used.add(one.category)
                _check_box(found, picture, one, sizes[picture.id])
    if not used:
        raise AnnotationError(
            "there are no objects to learn",
            where=found.place,
            expected="annotations: [...] with boxes of positive width and height",
            got=f"{counted(len(found.pictures), 'picture')}, {counted(crowds, 'crowd')}, {flat} boxes without area",
        )
    classes = {number: name for number, name in found.categories.items() if number in used}
    _refuse_twins(found, classes)
    notes = list(found.notes)
    empty = [name for number, name in found.categories.items() if number not in used]
    if empty:
        notes.append(f"no object of {', '.join(map(repr, empty[:5]))}{', …' * (len(empty) > 5)}: left out")
    if crowds:
        notes.append(f"{counted(crowds, 'crowd')} left out")
    if flat:
        notes.append(f"{counted(flat, 'box', 'boxes')} without width or height left out")
    name = found.description or (Path(found.place).stem if found.place != "annotations" else where.name)
    labels = {number: label for label, number in enumerate(classes)}
    return CocoSamples(tuple(classes.values()), name, where, found, tuple(notes), labels)


def split(samples: CocoSamples, share: float, seed: int) -> tuple[CocoSamples, CocoSamples]:
    """Some pictures to learn from, and the others to measure on, drawn by the seed.

    Raises:
        UsageError: One of the two would have nothing in it.
    """
    count = len(samples)
    held = max(1, round(count * share))
    order = np.random.default_rng((seed, 3)).permutation(count)
    parts = []
    for chosen in (sorted(order[held:].tolist()), sorted(order[:held].tolist())):
        pictures = tuple(samples.annotations.pictures[index] for index in chosen)
        ids = {picture.id for picture in pictures}
        instances = {key: some for key, some in samples.annotations.instances.items() if key in ids}
        if not any(_counts(one) for some in instances.values() for one in some):
            raise UsageError(
                f"of {counted(count, 'picture')}, {held} held out for measuring leave one side without objects",
                where=samples.annotations.place,
                hint="give pictures to measure on: --val-annotations FILE --val-images DIR",
            )
        found = replace(samples.annotations, pictures=pictures, instances=instances)
        parts.append(replace(samples, annotations=found))
    return parts[0], parts[1]


def check_classes(validation: CocoSamples, classes: Collection[str]) -> None:
    """Refuse pictures to measure on with objects of a class that is not learnt.

    Raises:
        AnnotationError: There is one.
    """
    for name in validation.classes:
        if name not in classes:
            near = difflib.get_close_matches(name, list(classes), n=1)
            raise AnnotationError(
                "the pictures to measure on have a class that is not learnt",
                where=validation.annotations.place,
                expected=", ".join(list(classes)[:20]),
                got=repr(name),
                hint=f"did you mean {near[0]!r}?" if near else "give both sets the same names of categories",
            )


def as_annotations(samples: CocoSamples) -> dict[str, Any]:
    """The data set in COCO's form, as evaluation takes it."""
    content = samples.annotations.dataset()
    names = {picture.id: picture for picture in samples.annotations.pictures}
    for row in content["images"]:
        picture = names[row["id"]]
        row["file_name"] = picture.name
        if picture.size is not None:
            row["height"], row["width"] = picture.size
    content["categories"] = [row for row in content["categories"] if row["name"] in samples.classes]
    kept = {row["id"] for row in content["categories"]}
    content["annotations"] = [row for row in content["annotations"] if row["category_id"] in kept]
    content["info"] = {"description": samples.name}
    return content


def _counts(one: Instance) -> bool:
    return not one.crowd and one.box[2] > 0 and one.box[3] > 0


def _refuse_twins(found: Annotations, classes: Mapping[int, str]) -> None:
    seen: dict[str, int] = {}
    for number, name in classes.items():
        if name in seen:
            raise AnnotationError(
                "two categories have one name",
                where=f"{found.place}: categories",
                got=f"{name!r}, of the ids {seen[name]} and {number}",
                hint="give each its own name, or both one id",
            )
        seen[name] = number


def _check_box(found: Annotations, picture: Picture, one: Instance, size: tuple[int, int]) -> None:
    height, width = size
    x, y, across, down = one.box
    if x < -_SLACK or y < -_SLACK or x + across > width + _SLACK or y + down > height + _SLACK:
        corners = x < across <= width + _SLACK and y < down <= height + _SLACK
        raise AnnotationError(
            "a box lies outside of its picture",
            where=f"{found.place}: annotation {one.id}, on {picture.name}",
            expected=f"x, y, width and height within {width} x {height} pixels",
            got=", ".join(f"{value:g}" for value in one.box),
            hint="COCO's boxes are x, y, width and height, not two corners" if corners else "correct the box",
        )


@needing_extra("reading pictures")
def _sizes(found: Annotations, folder: Path) -> dict[int, tuple[int, int]]:
    """(height, width) of each picture, by its id: from its file's header.

    Raises:
        AnnotationError: A file is missing, is no picture, or of another size than the annotations say.
    """
    from PIL import Image, ImageOps  # noqa: F401 - imported once, before the threads do

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda picture: _size(folder / picture.name), found.pictures))
    sizes: dict[int, tuple[int, int]] = {}
    missing = [
        picture.name
        for picture, answer in zip(found.pictures, answers, strict=True)
        if isinstance(answer, FileNotFoundError | NotADirectoryError)
    ]
    if missing:
        some = "all of them" if len(missing) == len(found.pictures) else f"{len(missing)} of {len(found.pictures)}"
        raise AnnotationError(
            f"pictures are missing: {some}",
            where=os.fspath(folder),
            expected="the files that the annotations name",
            got=", ".join(missing[:_LISTED]) + ", …" * (len(missing) > _LISTED),
            hint="is --images the folder that the names in the annotations begin in?",
        )
    for index, (picture, answer) in enumerate(zip(found.pictures, answers, strict=True)):
        if isinstance(answer, Exception):
            raise AnnotationError(
                "a picture cannot be read",
                where=f"{found.place}: images[{index}], {folder / picture.name}",
                got=str(answer)[:200] or type(answer).__name__,
                hint="fetch it again, or take it out of the annotations",
            )
        if picture.size is not None and picture.size != answer:
            turned = picture.size == answer[::-1]
            raise AnnotationError(
                "a picture has another size than its annotations say",
                where=f"{found.place}: images[{index}], {picture.name}",
                expected=f"{picture.size[1]} x {picture.size[0]} pixels",
                got=f"{answer[1]} x {answer[0]} pixels",
                hint="it is turned by its EXIF data: were the boxes drawn on it as it is shown?"
                if turned
                else "correct height and width, and its boxes",
            )
        sizes[picture.id] = answer
    return sizes


def _size(path: Path) -> tuple[int, int] | Exception:
    from PIL import Image

    try:
        with open_regular(path) as stream, Image.open(stream) as picture:
            width, height = picture.size
            # As `read_image` turns it.
            turned = picture.getexif().get(0x0112, 1) >= 5
            return (width, height) if turned else (height, width)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, ImageError) as error:
        return error
