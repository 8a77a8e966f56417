"""Cards of MindCV and MindYOLO from the card to the answer: found, fitted to their checkpoints, looking at pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import save_checkpoint, sha256

from mshub_ssd.errors import MismatchError, UsageError
from mshub_ssd.hub import Hub

pytest.importorskip("mindspore")
pytest.importorskip("mindcv")
pytest.importorskip("mindyolo")

CARD = """# {model}

---

model-name: {model}

module-type: cv

train-dataset: {data}

repo-link: <https://github.com/mindspore-lab/{package}/tree/v0.4.0/configs/{model}>

asset:

-
    file-format: ckpt
    asset-link: {model}.ckpt
    asset-sha256: {digest}

---
"""
PICTURE = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)


class Shelf:
    """A registry of such cards, with checkpoints made here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hub = Hub(registry=str(folder))

    def card(self, package: str, model: str, data: str, **arguments: int) -> str:
        uid = f"mindspore/2.3/{model}_{data.lower()}"
        home = self.folder / "mindspore" / "2.3"
        home.mkdir(parents=True, exist_ok=True)
        told = {"package": package, "model": model, "data": data}
        card = home / f"{model}_{data.lower()}.md"
        card.write_text(CARD.format(**told, digest="0" * 64))
        network = self.hub.load(uid, pretrained=False, **arguments)
        arrays = {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}
        file = save_checkpoint(home / f"{model}.ckpt", arrays)
        card.write_text(CARD.format(**told, digest=sha256(file)))
        return uid


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_a_classifier_names_pictures(shelf: Shelf) -> None:
    uid = shelf.card("mindcv", "squeezenet1_0", "ImageNet2012")
    assert uid in shelf.hub.list_models(loadable=True)
    network = shelf.hub.load(uid)
    assert network.load_report.ok
    want = network(_batch(shelf.hub, network)).asnumpy()[0]
    seen = shelf.hub.classify(uid, PICTURE, top_k=3)
    assert seen.labels.tolist() == np.argsort(-want, kind="stable")[:3].tolist()
    assert all(len(name) > 2 and not name.startswith("class ") for name in seen.names)
    assert seen.scores.sum() <= 1 + 1e-6
    with pytest.raises(UsageError, match="MindSpore only"):
        shelf.hub.classify(uid, PICTURE, engine="openvino")


def _batch(hub: Hub, network: Any) -> Any:
    import mindspore

    from mshub_ssd import families

    return mindspore.Tensor(families.of(network.config).preprocess(PICTURE)[0])


def test_the_checkpoint_tells_how_many_classes(shelf: Shelf) -> None:
    uid = shelf.card("mindcv", "squeezenet1_0", "Flowers", num_classes=5)
    seen = shelf.hub.classify(uid, PICTURE, top_k=9)
    assert sorted(seen.names) == [f"class {number}" for number in range(5)]
    uid = shelf.card("mindyolo", "yolov5n", "Pets", num_classes=3)
    network = shelf.hub.load(uid)
    assert network.config.num_classes == 3
    assert network.load_report.ok


@pytest.mark.slow
def test_a_detector_finds_objects(shelf: Shelf) -> None:
    uid = shelf.card("mindyolo", "yolov5n", "COCO2017")
    seen = shelf.hub.detect(uid, PICTURE, score_threshold=1e-6, max_detections=7)
    assert len(seen) == 7, "random weights find something everywhere"
    assert (seen.boxes[:, 0] >= 0).all()
    assert (seen.boxes[:, 2] <= 120).all()
    assert "person" in shelf.hub.load(uid).config.class_names


def test_another_networks_checkpoint_is_refused(shelf: Shelf) -> None:
    uid = shelf.card("mindcv", "squeezenet1_0", "ImageNet2012")
    file = shelf.folder / "mindspore" / "2.3" / "squeezenet1_0.ckpt"
    file.chmod(0o644)
    save_checkpoint(file, {"features.0.weight": np.zeros((3, 3), np.float32), "odd": np.zeros(2, np.float32)})
    card = shelf.folder / f"{uid}.md"
    card.write_text(CARD.format(package="mindcv", model="squeezenet1_0", data="ImageNet2012", digest=sha256(file)))
    with pytest.raises(MismatchError, match="mindcv:squeezenet1_0") as caught:
        shelf.hub.load(uid)
    assert "odd" in caught.value.report.unexpected
