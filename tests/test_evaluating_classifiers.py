"""`mshub.evaluate` for classifiers, for networks in the user's hands, and for families of other packages."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import mshub_ssd as mshub
from mshub_ssd import families
from mshub_ssd.cards import Metric
from mshub_ssd.errors import AnnotationError, UsageError
from mshub_ssd.networks.classification import ClassifierConfig, class_names, imagenet_ids
from mshub_ssd.networks.yolo import YOLOConfig

COLOURS = {"red": (220, 40, 30), "green": (30, 200, 60), "blue": (20, 40, 210)}
NAMES = ("red, crimson", "green", "blue")


def cell(config: Any, function: Any) -> Any:
    """A network of our own: a MindSpore Cell."""
    mindspore = pytest.importorskip("mindspore")

    class Own(mindspore.nn.Cell):
        def construct(self, batch: Any) -> Any:
            return function(mindspore, batch)

    network = Own().set_train(False)
    network.config = config
    return network


@pytest.fixture(scope="module")
def by_colour() -> Any:
    """Names the colour that a picture has most of."""
    config = ClassifierConfig("colours", 3, NAMES, resize=16, image_size=16, input_sizes=(16,))
    return cell(config, lambda mindspore, batch: mindspore.ops.ReduceMean()(batch, (2, 3)))


def fill(folder: Path, **pictures: tuple[str, int]) -> None:
    """Write pictures: folder's name → (what colour they have, how many)."""
    for name, (colour, count) in pictures.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.full((20 + number, 24, 3), COLOURS[colour], np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def test_a_folder_per_class(by_colour: Any, tmp_path: Path) -> None:
    fill(tmp_path, Crimson=("red", 3), green=("green", 2), blue=("red", 1))
    Image.new("RGB", (9, 9), COLOURS["blue"]).save(tmp_path / "blue" / "a.png")
    (tmp_path / "green" / "broken.png").write_text("no picture")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.txt").write_text("nothing")
    done = mshub.evaluate(by_colour, images=tmp_path)
    assert done.metrics == {"top-1": 6 / 8}, "of three classes the best five are all"
    assert (done.kind, done.model, done.card) == ("classifier", "Own", None)
    assert done.counts == {"pictures": 8, "failed": 1}
    rows = {row["name"]: (row["pictures"], row["top-1"]) for row in done.per_class}
    assert rows == {"red, crimson": (3, 1.0), "green": (3, 2 / 3), "blue": (2, 1 / 2)}
    assert done.confusion.matrix.tolist() == [[3, 0, 0], [0, 2, 0], [1, 0, 1]]
    assert done.confusion.mistakes() == [{"truth": "blue", "found": "red, crimson", "count": 1}]
    assert [failure.image for failure in done.failures] == ["green/broken.png"]
    assert done.notes == (
        "1 file beside the folders of the classes left out",
        "1 picture could not be read, and counts as wrong: green/broken.png",
    )
    assert json.loads(json.dumps(done.to_dict()))["metrics"] == done.metrics
    assert "top-1  0.7500" in str(done)
    assert "<table>" in done._repr_html_()
    pytest.importorskip("matplotlib")
    assert [path.name for path in done.save_plots(tmp_path / "plots")] == ["confusion.png"]


def test_a_table_of_pictures(by_colour: Any, tmp_path: Path) -> None:
    fill(tmp_path / "pictures", some=("red", 2), more=("green", 2))
    table = tmp_path / "labels.csv"
    table.write_text('\ufeffid,Label,image\n1,red,some/0.png\n2,"red, crimson",some/1.png\n\n3,2,more/0.png\n')
    with pytest.raises(UsageError, match="knows no class of the name of 1 label") as caught:
        mshub.evaluate(by_colour, annotations=table, images=tmp_path / "pictures")
    assert caught.value.got == "2"
    table.write_text("image\tlabel\nsome/0.png\tred\nmore/0.png\tblue\n")
    table = table.rename(tmp_path / "labels.tsv")
    done = mshub.evaluate(by_colour, annotations=table, images=tmp_path / "pictures")
    assert (done.metrics["top-1"], done.annotations) == (0.5, str(table))
    assert done.notes == ("1 class of the model without pictures here",)
    numbers = tmp_path / "numbers.csv"
    numbers.write_text("image,label\nsome/0.png,0\nmore/0.png,1\n")
    done = mshub.evaluate(by_colour, annotations=numbers, images=tmp_path / "pictures")
    assert done.metrics["top-1"] == 1
    assert done.notes[0] == "the labels are numbers, and count the classes from 0"
    assert mshub.evaluate(by_colour, annotations=numbers, images=tmp_path / "pictures", limit=1).counts["pictures"] == 1


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("", "does not name its columns", ":1"),
        ("file,class\na.png,red\n", "does not name its columns", ":1"),
        ("image,label\n", "no pictures in the table", ""),
        ("image,label\na.png,red\nb.png\n", "no picture and label", ":3"),
        ("image,label\na.png,red\n,red\n", "no picture and label", ":3"),
        ('image,label\n"a\n.png",red\nb.png, \n', "no picture and label", ":4"),
        ("image,label\n../../a.png,red\n", "outside of the folder", ""),
    ],
)
def test_tables_that_are_none(by_colour: Any, tmp_path: Path, text: str, message: str, line: str) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(text)
    with pytest.raises(AnnotationError, match=message) as caught:
        mshub.evaluate(by_colour, annotations=table, images=tmp_path)
    assert caught.value.where == f"{table}{line}"


def test_no_table(by_colour: Any, tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(b"image,label\n\xe9.png,red\n")
    for name in ("missing.csv", "latin.csv"):
        with pytest.raises(AnnotationError, match="cannot be read"):
            mshub.evaluate(by_colour, annotations=tmp_path / name, images=tmp_path)


def test_folders_that_are_no_classes(by_colour: Any, tmp_path: Path) -> None:
    name, table = "x" * 100_000, tmp_path / ".labels.csv"
    table.write_text(f"image,label\n{name},red\n{name},red\n")
    with pytest.raises(UsageError, match="none of the 2 pictures") as caught:
        mshub.evaluate(by_colour, annotations=table, images=tmp_path)
    assert len(str(caught.value)) < 1000
    with pytest.raises(AnnotationError, match="no folder per class"):
        mshub.evaluate(by_colour, images=tmp_path)
    (tmp_path / "red").mkdir()
    with pytest.raises(AnnotationError, match="no picture in the folders"):
        mshub.evaluate(by_colour, images=tmp_path)
    fill(tmp_path, green=("green", 1), blue=("blue", 1))
    done = mshub.evaluate(by_colour, images=tmp_path)
    assert (done.metrics["top-1"], done.notes) == (1.0, ("1 folder without pictures: red",))
    (tmp_path / "red").rename(tmp_path / "zebra")
    with pytest.raises(UsageError, match="knows no class of the name of 1 label") as caught:
        mshub.evaluate(by_colour, images=tmp_path)
    assert (caught.value.where, caught.value.got) == (str(tmp_path), "zebra")
    assert "--match order" in str(caught.value.hint)
    ordered = mshub.evaluate(by_colour, images=tmp_path, match="order")
    assert (ordered.metrics["top-1"], ordered.notes[1]) == (0.5, ordered.notes[1])
    assert "by their order: blue = red, crimson" in ordered.notes[1]
    (tmp_path / "Crimson").mkdir()
    (tmp_path / "zebra").rename(tmp_path / "red")
    with pytest.raises(UsageError, match="two labels are one class"):
        mshub.evaluate(by_colour, images=tmp_path)


def test_what_a_classifier_does_not_take(by_colour: Any, tmp_path: Path) -> None:
    fill(tmp_path, red=("red", 1))
    for options in ({"score_threshold": 0.5}, {"categories": ["red"]}):
        with pytest.raises(UsageError, match="means nothing to a classifier"):
            mshub.evaluate(by_colour, images=tmp_path, **options)
    coco = {"images": [{"id": 1, "file_name": "red/0.png"}], "annotations": [], "categories": []}
    with pytest.raises(UsageError, match="a class for each picture"):
        mshub.evaluate(by_colour, annotations=coco, images=tmp_path)


def test_wordnet_ids_and_synonyms_mean_imagenets_classes(tmp_path: Path) -> None:
    ids = imagenet_ids()
    config = ClassifierConfig("thousand", 1000, class_names(1000), resize=8, image_size=8, input_sizes=(8,))
    # The second class is always the best, and the first is among the best five.
    logits = np.zeros((1, 1000), np.float32)
    logits[0, :6] = [3, 9, 2, 1, 4, 5]
    network = cell(config, lambda mindspore, batch: mindspore.Tensor(logits) + 0 * batch.sum())
    fill(tmp_path, **{ids[0]: ("red", 1), ids[1]: ("red", 1)})
    done = mshub.evaluate(network, images=tmp_path)
    assert done.metrics == {"top-1": 0.5, "top-5": 1.0}
    (tmp_path / ids[0]).rename(tmp_path / "Tinca tinca")
    (tmp_path / ids[1]).rename(tmp_path / "great_white_shark")
    (tmp_path / "great_white_shark").rename(tmp_path / "hen")
    assert mshub.evaluate(network, images=tmp_path).metrics == {"top-1": 0.0, "top-5": 0.5}
    card = SimpleNamespace(uid="x", metrics=(Metric("top1acc", 0.0), Metric("acc@5", 50.1)), datasets=("imagenet2012",))
    compared = dataclasses.replace(mshub.evaluate(network, images=tmp_path), card=card).against_card()
    assert [figure.status for figure in compared.figures] == ["reproduced", "reproduced"]


def test_ambiguous_names_mean_nothing(tmp_path: Path) -> None:
    from mshub_ssd.evaluation.labelled import label_of_each

    names = class_names(1000)
    assert sum("crane" in name.split(", ") for name in names) == 2
    with pytest.raises(UsageError, match="knows no class"):
        label_of_each(["crane"], names, imagenet_ids(), "name", "here")
    assert label_of_each([names[7]], names, (), "name", "here")[0] == {names[7]: 7}


@settings(max_examples=25)
@given(text=st.text(max_size=40), data=st.binary(max_size=40))
def test_nothing_but_our_errors_of_tables(tmp_path_factory: Any, text: str, data: bytes) -> None:
    from mshub_ssd.evaluation.labelled import read_csv

    path = tmp_path_factory.getbasetemp() / "odd.csv"
    for content in (data, text.encode("utf-8", "replace"), b"image,label\n" + text.encode("utf-8", "replace")):
        path.write_bytes(content)
        with contextlib.suppress(AnnotationError):
            assert read_csv(path).examples


# --- detectors of other packages


class Corners(families.Detector):
    """Finds what it is told: rows of x1, y1, x2, y2, score, label relative to the picture."""

    def decode(self, outputs: Any, transform: Any, options: Any) -> Any:
        rows = np.asarray(outputs)
        rows = rows[rows[:, 4] > options.score_threshold]
        boxes = transform.relative_to_picture(rows[:, :4].astype(np.float32))
        return boxes, rows[:, 4].astype(np.float32), rows[:, 5].astype(np.intp)


@dataclasses.dataclass(frozen=True)
class Options:
    max_detections: int | None = None


class Bare(families.Family):
    """No Detector by its type, but what it finds are Detections; its options are its own."""

    def transform(self, image_size: Any) -> Any:
        return families.Transform.stretched(image_size, (8, 8))

    def options(self, *, max_detections: int | None = None) -> Options:
        return Options(max_detections)

    def result(self, outputs: Any, transform: Any, options: Any, picture: Any = None) -> Any:
        return Corners(self.config).result(
            outputs, transform, families.DetectionOptions(0.0, None, None, options.max_detections), picture
        )


COCO: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "red/0.png", "height": 20, "width": 24}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 0, 12, 10]}],
    "categories": [{"id": 3, "name": "square"}, {"id": 4, "name": "dot"}],
}


@pytest.mark.parametrize("family", [Corners, Bare])
def test_a_detector_of_another_package(tmp_path: Path, family: type) -> None:
    pytest.importorskip("pycocotools")
    fill(tmp_path, red=("red", 1))
    rows = np.float32([[[0, 0, 0.5, 0.5, 0.9, 1], [0.5, 0.5, 1, 1, 0.4, 0], [0, 0, np.nan, 1, 0.3, 0]]])
    config = SimpleNamespace(
        name="own",
        family=family,
        class_names=("dot", "square"),
        image_size=8,
        score_threshold=0.2,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
    )
    network = cell(config, lambda mindspore, batch: mindspore.Tensor(rows) + 0 * batch.sum())
    done = mshub.evaluate(network, annotations=COCO, images=tmp_path)
    assert done.metrics["mAP"] == pytest.approx(1)
    assert done.results[0] == {
        "image_id": 7,
        "category_id": 3,
        "bbox": [0.0, 0.0, 12.0, 10.0],
        "score": pytest.approx(0.9),
    }
    assert len(done.results) == 2
    assert any("1 detection left out" in note for note in done.notes)
    assert done.confusion.matrix.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_a_network_in_training_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, red=("red", 1))
    network = mshub.load("mshub/1.0/ssdmobilenetv2_digits", pretrained=False) if pytest.importorskip("mindspore") else 0
    network.set_train(True)
    coco = {**COCO, "annotations": []}
    with pytest.raises(UsageError, match="training mode"):
        mshub.evaluate(network, annotations=coco, images=tmp_path)


def test_a_yolo_detector_is_measured_as_it_was_published(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    fill(tmp_path, red=("red", 1))
    # cx, cy, w, h in pixels of the 24 x 24 input, then the scores of dot and square.
    rows = np.float32([[[6, 7, 12, 10, 0.0, 0.01], [18, 18, 4, 4, 0.0005, 0.0]]])
    config = YOLOConfig("yolo", 2, ("dot", "square"), image_size=24, rows="classes")
    network = cell(config, lambda mindspore, batch: mindspore.Tensor(rows) + 0 * batch.sum())
    done = mshub.evaluate(network, annotations=COCO, images=tmp_path)
    assert (done.settings["score_threshold"], done.settings["own_score_threshold"]) == (0.001, 0.25)
    assert [row["category_id"] for row in done.results] == [3]
    assert done.metrics["mAP@0.5"] == pytest.approx(1)
