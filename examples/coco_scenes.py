"""Scenes for a detector, as drawn pictures with boxes, and how they are written in COCO's form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Scene", "write_scenes"]


@dataclass(frozen=True)
class Scene:
    """A picture and what is on it.

    Attributes:
        image: RGB uint8 [h, w, 3].
        boxes: Tight boxes float32 [n, 4] as x1, y1, x2, y2 in pixels.
        labels: [n], positions among the classes.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


def write_scenes(
    scenes: Iterable[Scene],
    folder: Path,
    name: str,
    classes: Sequence[str],
    *,
    description: str,
    suffix: str,
    parameters: Sequence[int] = (),
) -> Path:
    """Write scenes as ``folder/name/00001.suffix`` and so on, and their annotations.

    Args:
        scenes: The scenes.
        folder: Where; made if it is missing.
        name: What the set is called.
        classes: Names, by label.
        description: What the annotations say of the set.
        suffix: Of the pictures, with its dot.
        parameters: Of OpenCV's ``imwrite``.

    Returns:
        The annotations in COCO's form, ``folder/name.json``.
    """
    (folder / name).mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes, start=1):
        file = f"{number:05}{suffix}"
        height, width = scene.image.shape[:2]
        cv2.imwrite(str(folder / name / file), cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR), list(parameters))
        images.append({"id": number, "file_name": file, "height": height, "width": width})
        for (x1, y1, x2, y2), label in zip(scene.boxes.tolist(), scene.labels.tolist(), strict=True):
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    content = {
        "info": {"description": description},
        "images": images,
        "annotations": objects,
        "categories": [{"id": label + 1, "name": one} for label, one in enumerate(classes)],
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
