"""A small data set in COCO's form: scenes of held-out digits as files, and their annotations."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
UID = "mshub/1.0/ssdmobilenetv2_digits"


def write_scenes(folder: Path, count: int, *, seed: int = 10_000_019) -> dict[str, Any]:
    """Write `count` scenes to ``folder/pictures`` and ``folder/annotations.json``; the annotations."""
    from PIL import Image

    sys.path.insert(0, str(ROOT / "examples"))
    try:
        import digits_scenes
    finally:
        sys.path.remove(str(ROOT / "examples"))
    (folder / "pictures").mkdir(parents=True)
    _, digits = digits_scenes.load_digits()
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for number, scene in enumerate(digits_scenes.scenes(digits, digits_scenes.HELD_OUT, count, seed=seed), start=1):
        name = f"{number:04}.png"
        Image.fromarray(scene.image).save(folder / "pictures" / name, compress_level=1)
        height, width = scene.image.shape[:2]
        images.append({"id": number, "file_name": name, "height": height, "width": width})
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
    data = {
        "info": {"description": "held-out digits"},
        "images": images,
        "annotations": objects,
        "categories": [{"id": label + 1, "name": str(label)} for label in range(10)],
    }
    (folder / "annotations.json").write_text(json.dumps(data), encoding="utf-8")
    return data
