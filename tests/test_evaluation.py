"""`mshub.evaluate`: the figures of detectors are pycocotools' own, to the digit."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scenelab import UID, write_scenes

import mshub_ssd as mshub
from mshub_ssd.evaluation import Evaluation

pytest.importorskip("sklearn")
pytest.importorskip("cv2")
pytest.importorskip("pycocotools")

TWELVE = [
    *("mAP", "mAP@0.5", "mAP@0.75", "mAP small", "mAP medium", "mAP large"),
    *("AR@1", "AR@10", "AR@100", "AR small", "AR medium", "AR large"),
]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, 12)
    return folder


@pytest.fixture
def data(scenes: Path) -> dict[str, Any]:
    return json.loads((scenes / "annotations.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def done(scenes: Path) -> Evaluation:
    return mshub.evaluate(UID, annotations=scenes / "annotations.json", images=scenes / "pictures")


def by_hand(data: dict[str, Any], results: list[dict[str, Any]]) -> list[float]:
    """What pycocotools says when called as its manual says."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(data)
        truth.createIndex()
        scoring = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), "bbox")
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    return scoring.stats.tolist()


def test_the_figures_are_pycocotools_own(done: Evaluation, data: dict[str, Any], capsys: Any) -> None:
    assert list(done.metrics) == TWELVE
    assert list(done.metrics.values()) == by_hand(data, list(done.results))
    assert done.metrics["mAP@0.5"] > 0.9
    assert capsys.readouterr().out == ""


def test_crowds_areas_empty_pictures_and_categories_without_objects(scenes: Path, data: dict[str, Any]) -> None:
    rng = np.random.default_rng(5)
    for row in data["annotations"]:
        row["area"] = float(rng.choice([10, 900, 1100, 5000, 9300]))
        row["iscrowd"] = int(rng.random() < 0.2)
    data["annotations"] = [row for row in data["annotations"] if row["image_id"] not in (3, 4)]
    data["annotations"] = [row for row in data["annotations"] if row["category_id"] != 5]
    data["categories"] += [{"id": 90, "name": "never seen"}, {"id": 0, "name": "digits"}]
    done = mshub.evaluate(UID, annotations=data, images=scenes / "pictures", max_detections=None, score_threshold=0.01)
    assert list(done.metrics.values()) == by_hand(data, list(done.results))
    assert min(done.metrics.values()) > 0
    (four,) = [row for row in done.per_class if row["name"] == "4"]
    assert (four["objects"], four["AP"], four["AR"]) == (0, -1.0, -1.0)
    assert "never seen" not in {row["name"] for row in done.per_class}
