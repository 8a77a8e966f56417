"""`mshub.evaluate`: the figures of detectors are pycocotools' own, to the digit."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scenelab import UID, write_scenes
from without import run_without

import mshub_ssd as mshub
from mshub_ssd.cards import Metric
from mshub_ssd.errors import AnnotationError, MshubError, UsageError
from mshub_ssd.evaluation import Evaluation, match_classes, read_annotations
from mshub_ssd.results import COCO_CLASSES

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
    write_scenes(folder, 8)
    return folder


@pytest.fixture
def data(scenes: Path) -> dict[str, Any]:
    return json.loads((scenes / "held_out.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def done(scenes: Path) -> Evaluation:
    return mshub.evaluate(UID, annotations=scenes / "held_out.json", images=scenes / "held_out")


def by_hand(data: dict[str, Any], results: list[dict[str, Any]], **params: Any) -> list[float]:
    """What pycocotools says when called as its manual says."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(data)
        truth.createIndex()
        scoring = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), "bbox")
        for name, value in params.items():
            setattr(scoring.params, name, value)
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    return scoring.stats.tolist()


def look(scenes: Path, data: Any, **options: Any) -> Evaluation:
    return mshub.evaluate(UID, annotations=data, images=scenes / "held_out", **options)


# --- figures


def test_the_figures_are_pycocotools_own(done: Evaluation, data: dict[str, Any], capsys: Any) -> None:
    assert list(done.metrics) == TWELVE
    assert list(done.metrics.values()) == by_hand(data, list(done.results))
    assert done.metrics["mAP@0.5"] > 0.9
    assert capsys.readouterr().out == ""
    assert done.counts == {
        "pictures": 8,
        "objects": len(data["annotations"]),
        "detections": len(done.results),
        "failed": 0,
        "other_size": 0,
    }
    assert done.settings["score_threshold"] == 0.05, "the card's 0.3 is for showing"
    assert (done.settings["iou_threshold"], done.settings["max_detections"]) == (0.6, 100)
    assert done.notes == ()


def test_crowds_areas_empty_pictures_and_categories_without_objects(scenes: Path, data: dict[str, Any]) -> None:
    rng = np.random.default_rng(5)
    for row in data["annotations"]:
        row["area"] = float(rng.choice([10, 900, 1100, 5000, 9300]))
        row["iscrowd"] = int(rng.random() < 0.2)
    data["annotations"] = [row for row in data["annotations"] if row["image_id"] not in (3, 4)]
    data["annotations"] = [row for row in data["annotations"] if row["category_id"] != 5]
    data["categories"] += [{"id": 90, "name": "never seen"}, {"id": 0, "name": "digits"}]
    done = look(scenes, data, max_detections=None, score_threshold=0.01)
    assert list(done.metrics.values()) == by_hand(data, list(done.results))
    assert min(done.metrics.values()) > 0
    (four,) = [row for row in done.per_class if row["name"] == "4"]
    assert (four["objects"], four["AP"], four["AR"]) == (0, -1.0, -1.0)
    assert "never seen" not in {row["name"] for row in done.per_class}


@pytest.mark.parametrize("seed", range(2))
def test_whatever_the_truth_the_figures_are_pycocotools_own(
    scenes: Path, done: Evaluation, data: dict[str, Any], seed: int
) -> None:
    """Detections that are half right, on objects moved, doubled, swapped and taken away."""
    rng = np.random.default_rng(seed)
    kept = []
    for row in data["annotations"]:
        for _ in range(int(rng.integers(0, 3))):
            x, y, width, height = row["bbox"]
            moved = [x + rng.normal(0, 8), y + rng.normal(0, 8), width * rng.uniform(0.6, 1.4), height]
            label = row["category_id"] if rng.random() < 0.8 else int(rng.integers(1, 11))
            more = {"id": len(kept) + 1, "bbox": moved, "area": width * height * rng.uniform(0.05, 2)}
            kept.append({**row, **more, "category_id": label, "iscrowd": int(rng.random() < 0.1)})
    data["annotations"] = kept
    found = look(scenes, data)
    assert list(found.metrics.values()) == by_hand(data, list(found.results))
    assert found.results == done.results, "the truth says nothing about what is found"


def test_a_part_of_the_pictures_and_of_the_categories(scenes: Path, data: dict[str, Any], done: Evaluation) -> None:
    some = look(scenes, data, limit=5)
    assert some.counts["pictures"] == 5
    results = [row for row in done.results if row["image_id"] <= 5]
    assert list(some.results) == results
    assert list(some.metrics.values()) == by_hand(data, results, imgIds=[1, 2, 3, 4, 5])
    few = look(scenes, data, categories=["3", "7"])
    assert [row["name"] for row in few.per_class] == ["3", "7"]
    assert list(few.metrics.values()) == by_hand(data, list(done.results), catIds=[4, 8])
    assert look(scenes, data, categories="3").per_class == few.per_class[:1]
    with pytest.raises(UsageError, match="no such category"):
        look(scenes, data, categories=["3", "x"])
    for bad in (0, True, 2.5):
        with pytest.raises(UsageError, match="limit"):
            look(scenes, data, limit=bad)


def test_nothing_to_find_and_nothing_found(scenes: Path, data: dict[str, Any]) -> None:
    found = look(scenes, data, limit=2, score_threshold=1.0)
    assert (found.counts["detections"], found.metrics["mAP"], found.metrics["AR@100"]) == (0, 0.0, 0.0)
    assert found.confusion.matrix.sum() == found.confusion.matrix[:, -1].sum() == found.counts["objects"]
    empty = look(scenes, {**data, "annotations": []}, limit=2)
    assert set(empty.metrics.values()) == {-1.0}
    assert json.loads(json.dumps(empty.to_dict()))["metrics"]["mAP"] == -1


def test_very_many_categories_cost_nothing(scenes: Path, data: dict[str, Any], done: Evaluation) -> None:
    # pycocotools would make tables of 97 kB a category.
    data["categories"] += [{"id": 100 + number, "name": f"c{number}"} for number in range(200_000)]
    many = look(scenes, data)
    assert (many.metrics, many.per_class) == (done.metrics, done.per_class)
    row = data["annotations"][0]
    more = [{**row, "id": 1000 + number, "category_id": 100 + number} for number in range(20_000)]
    with pytest.raises(UsageError, match="the name of 20000 categories") as caught:
        look(scenes, {**data, "annotations": more})
    assert caught.value.got == "c0, c1, c2, c3, c4 and 19995 more"


def test_the_table_of_classes(done: Evaluation, data: dict[str, Any]) -> None:
    for row in done.per_class:
        only = by_hand(data, list(done.results), catIds=[row["id"]])
        assert row["objects"] == sum(one["category_id"] == row["id"] for one in data["annotations"])
        if row["objects"]:
            assert (row["AP"], row["AP@0.5"], row["AR"]) == pytest.approx((only[0], only[1], only[8]), abs=1e-12)
    assert done.curves is not None
    assert done.curves.precision.shape == (len(done.curves.names), 10, 101)
    assert done.curves.precision[:, 0].mean() == pytest.approx(done.metrics["mAP@0.5"])
    pandas = pytest.importorskip("pandas")
    assert isinstance(done.to_pandas(), pandas.DataFrame)
    assert list(done.to_pandas()["name"]) == [row["name"] for row in done.per_class]


def test_what_was_taken_for_what(scenes: Path, data: dict[str, Any], done: Evaluation) -> None:
    right = done.confusion.matrix
    assert done.confusion.labels == (*"0123456789", "nothing")
    assert right[:-1].sum() == len(data["annotations"])
    assert np.trace(right) > 0.9 * len(data["annotations"])
    for row in data["annotations"]:
        row["category_id"] = 11 - row["category_id"]
    wrong = look(scenes, data).confusion
    assert np.array_equal(wrong.matrix[:-1], right[9::-1])
    assert {"truth": "9", "found": "0", "count": int(right[0, 0])} in wrong.mistakes()
    for row in data["annotations"]:
        row["iscrowd"] = 1
    crowds = look(scenes, data).confusion.matrix
    assert crowds[:-1].sum() == 0, "nothing there that could be found"
    assert crowds.sum() <= right[-1].sum(), "and what a crowd covers is no false alarm"


# --- showing


def test_text_html_json_and_plots(done: Evaluation, tmp_path: Path) -> None:
    text = str(done)
    assert text.splitlines()[0].startswith(f"{UID} on 8 pictures with ")
    assert f"mAP@0.5     {done.metrics['mAP@0.5']:.4f}" in text
    assert "<table>" in done._repr_html_()
    assert repr(done).startswith(f"<Evaluation of {UID} on 8 pictures: mAP 0.")
    facts = json.loads(json.dumps(done.to_dict(), allow_nan=False))
    assert facts["metrics"] == done.metrics
    assert facts["per_class"] == list(done.per_class)
    pytest.importorskip("matplotlib")
    written = done.save_plots(tmp_path / "new" / "plots")
    assert [path.name for path in written] == ["precision-recall.png", "confusion.png"]
    for path in written:
        assert Image.open(path).size[0] > 500
    assert type(done.plot("confusion")).__name__ == "Figure"
    with pytest.raises(UsageError, match="no such plot"):
        done.plot("roc")


def test_names_that_matplotlib_would_take_for_formulas(done: Evaluation, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    names = ("$a_", "b$ & \\x", *(f"名前{n}\x1b[31m" for n in range(8)))
    assert done.curves is not None
    odd = dataclasses.replace(
        done,
        confusion=dataclasses.replace(done.confusion, names=names),
        curves=dataclasses.replace(done.curves, names=names[: len(done.curves.names)]),
    )
    assert len(odd.save_plots(tmp_path)) == 2


# --- pictures that are not as they should be


def test_broken_missing_and_strange_pictures_are_counted_and_told(
    scenes: Path, data: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(scenes / "held_out", folder)
    (folder / "00002.png").unlink()
    (folder / "00003.png").write_bytes((folder / "00003.png").read_bytes()[:900])
    (folder / "00004.png").write_text("no picture")
    (folder / "00005.png").unlink()
    os.mkfifo(folder / "00005.png")
    Image.open(folder / "00006.png").resize((300, 200)).save(folder / "00006.png")
    data["images"][6].update(height=1, width=1)
    del data["images"][7]["height"]
    done = mshub.evaluate(UID, annotations=data, images=folder)
    assert [failure.image for failure in done.failures] == [f"0000{n}.png" for n in (2, 3, 4, 5)]
    assert (done.counts["pictures"], done.counts["failed"], done.counts["other_size"]) == (8, 4, 2)
    lost = sum(row["image_id"] in (2, 3, 4, 5) for row in data["annotations"])
    _, failed, other = done.notes
    assert failed.startswith(f"4 pictures could not be read, and {lost} objects on them count as not found: 00002.png")
    assert other.startswith("2 pictures of another size than the annotations say")
    assert "00006.png has 300 x 200 for " in other
    # As pycocotools has it: nothing was found on them.
    assert list(done.metrics.values()) == by_hand(data, list(done.results))
    assert done.to_dict()["failures"][0]["error"]["code"] == "invalid-image"
    assert "4 not readable" in str(done)


def test_no_picture_at_all(scenes: Path, data: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of the 8 pictures could be read") as caught:
        mshub.evaluate(UID, annotations=data, images=tmp_path)
    assert "00001.png" in str(caught.value.got)
    with pytest.raises(UsageError, match="no folder of pictures"):
        mshub.evaluate(UID, annotations=data, images=tmp_path / "missing")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../b.png", "."])
def test_a_file_leads_nowhere_else(scenes: Path, data: dict[str, Any], name: str) -> None:
    data["images"][1]["file_name"] = name
    with pytest.raises(AnnotationError, match="outside of the folder") as caught:
        look(scenes, data)
    assert str(caught.value.where).endswith("the image with the id 2")


# --- files that are no annotations


def test_what_may_be_missing(data: dict[str, Any]) -> None:
    for row in data["annotations"]:
        del row["area"], row["iscrowd"]
    del data["info"]
    found = read_annotations(data)
    assert len(found.notes) == 1
    assert found.notes[0].startswith(f"{len(data['annotations'])} objects without area")
    one = found.instances[1][0]
    assert (one.area, one.crowd) == (one.box[2] * one.box[3], False)


NO_ID = ["missing", None, True, "x", 2.5, 1e400, float("nan"), [], {}, 10**400]
NO_TEXT = ["missing", None, True, "", 3, [], {}]
NO_BOX = ["missing", None, "x", [], [1, 2, 3], [1, 2, -3, 4], [1, 2, 3, "4"], [1, 2, 3, 1e400], [1, 2, 3, 10**400], {}]
NO_AREA = ["x", True, -1, float("nan"), 10**400, []]
FAULTS = {
    ("images", "id"): NO_ID,
    ("images", "file_name"): [*NO_TEXT, "a\0b"],
    ("images", "height"): ["x", 0, -5, 2.5, True, 10**400, []],
    ("categories", "id"): NO_ID,
    ("categories", "name"): NO_TEXT,
    ("annotations", "id"): NO_ID,
    ("annotations", "image_id"): [*NO_ID, 99],
    ("annotations", "category_id"): [*NO_ID, 99],
    ("annotations", "bbox"): NO_BOX,
    ("annotations", "area"): NO_AREA,
    ("annotations", "iscrowd"): ["x", 2, None, []],
}


@pytest.mark.parametrize(("part", "key"), FAULTS)
def test_whatever_makes_no_sense_is_told_with_its_place(data: dict[str, Any], part: str, key: str) -> None:
    for value in FAULTS[part, key]:
        odd = copy.deepcopy(data)
        if value == "missing":
            del odd[part][2][key]
        else:
            odd[part][2][key] = value
        with pytest.raises(AnnotationError) as caught:
            read_annotations(odd)
        assert caught.value.where == f"annotations: {part}[2]" + ("" if value == "missing" else f".{key}")
        assert caught.value.message == f"{key} " + ("is missing" if value == "missing" else "makes no sense")
        assert caught.value.expected


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        (lambda d: d["images"][3].update(id=1), "images[3].id", "an id is there twice"),
        (lambda d: d["annotations"][3].update(id=1), "annotations[3].id", "an id is there twice"),
        (lambda d: d["categories"][3].update(id=1), "categories[3].id", "an id is there twice"),
        (lambda d: d["annotations"].insert(3, 7), "annotations[3]", "no JSON object"),
        (lambda d: d.pop("categories"), "", "no list of classes"),
        (lambda d: d.update(images={}), "images", "no list of pictures"),
        (lambda d: d.update(images=[]), "images", "no pictures"),
    ],
)
def test_places(data: dict[str, Any], change: Any, place: str, message: str) -> None:
    change(data)
    with pytest.raises(AnnotationError, match=message) as caught:
        read_annotations(data)
    assert caught.value.where == (f"annotations: {place}" if place else "annotations")


@pytest.mark.parametrize(
    ("content", "message", "place"),
    [
        (b"", "not JSON", ":1:1"),
        (b'{"images": [\n  1,\n  }', "not JSON", ":3:3"),
        (b"\xff\xfe\xff", "not JSON", ""),
        (b"[" * 100_000, "not JSON", ""),
        (b'{"images": [{"id": ' + b"9" * 5000 + b"}]}", "not JSON", ""),
        (b"[]", "no JSON object", ""),
        (b'[{"image_id": 1, "score": 0.5}]', "these are detections", ""),
        (b"null", "no JSON object", ""),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, message: str, place: str) -> None:
    path = tmp_path / "coco.json"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=message) as caught:
        read_annotations(path)
    assert caught.value.where == f"{path}{place}"


def test_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.json")
    for name in ("missing.json", "fifo.json", ".", "x\0"):
        with pytest.raises(AnnotationError):
            read_annotations(tmp_path / name)


def test_a_byte_order_mark_is_no_matter(tmp_path: Path, data: dict[str, Any]) -> None:
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(data), encoding="utf-8-sig")
    assert len(read_annotations(path).pictures) == 8


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "bbox", "name"]), inner),
    max_leaves=6,
)


@settings(max_examples=30)
@given(changes=st.lists(st.tuples(st.sampled_from(sorted(FAULTS)), st.integers(0, 2), JSON), max_size=3), more=JSON)
def test_nothing_but_our_errors(changes: list[Any], more: Any) -> None:
    data: dict[str, Any] = {
        "info": more,
        "images": [{"id": n, "file_name": f"{n}.png", "height": 9, "width": 9} for n in range(3)],
        "categories": [{"id": n, "name": f"{n}"} for n in range(3)],
        "annotations": [{"id": n, "image_id": n, "category_id": n, "bbox": [1, 2, 3, 4]} for n in range(3)],
    }
    for (part, key), row, value in changes:
        data[part][row][key] = value
    with contextlib.suppress(AnnotationError):
        read_annotations(data)
    data["images"] = more
    with contextlib.suppress(AnnotationError):
        read_annotations(data)


def test_boxes_given_by_two_corners_and_an_id_of_0_are_remarked(data: dict[str, Any]) -> None:
    data["annotations"][0]["id"] = 0
    for row in data["annotations"]:
        x, y, width, height = row["bbox"]
        row["bbox"] = [x, y, x + width, y + height]
    notes = read_annotations(data).notes
    assert any("not two corners" in note for note in notes)
    assert any("has the id 0" in note for note in notes)


# --- classes


def test_classes_find_their_categories_by_name() -> None:
    classes = ("traffic light", "Dog", "cat", "cow")
    matched = match_classes(classes, {5: "Traffic_Light", 7: "cat", 9: "dog", 11: "fish"}, {5, 7})
    assert matched.categories == {0: 5, 1: 9, 2: 7}
    assert "1 class of the model is not in the annotations" in matched.notes[0]
    assert "traffic light = Traffic_Light" in matched.notes[1]
    with pytest.raises(UsageError, match="knows no class of the name of 1 category") as caught:
        match_classes(classes, {5: "Traffic_Light", 7: "cats"}, {5, 7})
    assert (caught.value.got, "did you mean 'cat'" in str(caught.value.expected)) == ("cats", True)
    with pytest.raises(UsageError, match="two categories have one name"):
        match_classes(("cat",), {1: "cat", 2: "cat"}, {1, 2})
    assert match_classes(("cat",), {1: "cat", 2: "cat"}, {2}).categories == {0: 2}, "the other one has no object"


def test_coco_numbers_its_80_classes_up_to_90() -> None:
    numbers = sorted({*range(1, 91)} - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
    categories = dict(zip(numbers, COCO_CLASSES, strict=True))
    for match in ("name", "order"):
        matched = match_classes(COCO_CLASSES, categories, set(numbers), match)
        assert matched.categories == dict(enumerate(numbers))
    with pytest.raises(UsageError, match="not as many of both"):
        match_classes(COCO_CLASSES, {**categories, 91: "hair brush"}, set(), "order")
    with pytest.raises(UsageError, match="match"):
        match_classes(COCO_CLASSES, categories, set(), "luck")


def test_by_order_only_if_the_user_says_so(scenes: Path, data: dict[str, Any], done: Evaluation) -> None:
    for row in data["categories"]:
        row["name"] = f"digit {row['name']}"
    with pytest.raises(UsageError, match="knows no class") as caught:
        look(scenes, data)
    assert "match='order' (--match order)" in str(caught.value.hint)
    found = look(scenes, data, match="order")
    assert found.metrics == done.metrics
    assert found.notes == ("classes were matched by their order; 10 of 10 have another name in the annotations",)


# --- the card's figures


def carded(done: Evaluation, *metrics: Metric, datasets: tuple[str, ...] = ("digits",)) -> Evaluation:
    assert done.card is not None
    return dataclasses.replace(done, card=dataclasses.replace(done.card, metrics=metrics, datasets=datasets))


def test_the_cards_figures(done: Evaluation) -> None:
    value, fifty = done.metrics["mAP"], done.metrics["mAP@0.5"]
    same = carded(done, Metric("mAP@0.5", fifty), Metric("mAP@[.5:.95]", round(100 * value, 2)))
    compared = same.against_card()
    assert compared.reproduced
    assert [figure.status for figure in compared.figures] == ["reproduced"] * 2
    assert [figure.measured for figure in compared.figures] == [fifty, value]
    assert compared.notes == ()
    assert "is reproduced" in str(compared)
    assert "<table>" in compared._repr_html_()
    assert json.dumps(compared.to_dict())
    other = carded(done, Metric("mAP@0.5", fifty), Metric("mAP", value - 0.01)).against_card()
    assert not other.reproduced
    assert [figure.status for figure in other.figures] == ["reproduced", "differs"]
    assert other.notes[0].endswith("score_threshold=0.3 (--score-threshold 0.3)")
    assert carded(done, Metric("mAP", value - 0.01)).against_card(0.011).reproduced
    assert carded(done, Metric("mAP", value - 0.01, 0.009)).against_card().reproduced, "the card's own spread"
    assert carded(done, Metric("acc", float(int(100 * value + 0.5)))).against_card().reproduced, "half a digit"


def test_figures_that_cannot_be_compared(done: Evaluation) -> None:
    for odd in (
        carded(done, Metric("top1acc", 60.0)),
        carded(done, Metric("mAP", 80.0), datasets=("VOC2012",)),
        carded(done, Metric("mAP small", 0.4)),
        carded(done, Metric("mAP", 120.0)),
    ):
        compared = odd.against_card()
        assert (compared.reproduced, compared.figures[0].status) == (False, "not comparable")
        assert compared.figures[0].why
        assert "no figure of the card" in str(compared)
    assert "states no figure" in str(carded(done).against_card())
    assert not carded(done).against_card().reproduced
    coco = carded(done, Metric("mAP", done.metrics["mAP"]), datasets=("coco2017",)).against_card()
    assert coco.notes == ("nothing tells that this is the card's data set, coco2017: compare only if it is",)
    assert carded(done, datasets=()).against_card().notes[0].startswith("the card does not name the data set")


def test_a_part_tells_nothing_of_the_card(scenes: Path, data: dict[str, Any], done: Evaluation) -> None:
    for options in ({"limit": 2}, {"categories": ["3"]}):
        with pytest.raises(UsageError, match="a part of the data set"):
            dataclasses.replace(done, settings={**done.settings, **options}).against_card()
    with pytest.raises(UsageError, match="no card"):
        dataclasses.replace(done, card=None).against_card()
    for bad in (-1, 2, float("nan"), True):
        with pytest.raises(UsageError, match="tolerance"):
            done.against_card(bad)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("mAP", "detector", "mAP"),
        ("box AP", "detector", "mAP"),
        ("acc", "detector", "mAP"),
        ("mAP@[.5:.95]", "detector", "mAP"),
        ("mAP@0.5:0.95", "detector", "mAP"),
        ("mAP50-95", "detector", "mAP"),
        ("mAP(0.5-0.95)", "detector", None),
        ("bbox_mAP_50", "detector", "mAP@0.5"),
        ("AP@0.5", "detector", "mAP@0.5"),
        ("mAP@IoU=0.50", "detector", "mAP@0.5"),
        ("AP75", "detector", "mAP@0.75"),
        ("APs", "detector", "mAP small"),
        ("mAP large", "detector", "mAP large"),
        ("recall", "detector", None),
        ("top1acc", "classifier", "top-1"),
        ("Top-1 Accuracy", "classifier", "top-1"),
        ("acc@5", "classifier", "top-5"),
        ("Accuracy", "classifier", "top-1"),
        ("top10", "classifier", None),
    ],
)
def test_what_cards_call_their_figures(name: str, kind: str, expected: str | None) -> None:
    from mshub_ssd.evaluation.comparing import measured_name

    assert measured_name(name, kind) == expected


# --- what models there are


def test_options_that_make_no_sense(scenes: Path, data: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="a detector is evaluated with annotations"):
        look(scenes, None)
    for options in ({"score_threshold": 2}, {"iou_threshold": "x"}, {"max_detections": 0}, {"engine": "abacus"}):
        with pytest.raises(MshubError):
            look(scenes, data, limit=1, **options)


def test_what_is_not_installed_is_named(scenes: Path, tmp_path: Path) -> None:
    code = (
        "import mshub_ssd as m\n"
        f"try: m.evaluate({UID!r}, annotations={str(scenes / 'held_out.json')!r}, images={str(scenes)!r})\n"
        "except m.errors.MissingDependencyError as e: print(e.message, e.hint, sep='|')\n"
    )
    message, hint = run_without({"pycocotools"}, code).strip().split("|")
    assert message.startswith("evaluation of detectors needs pycocotools")
    assert hint == "pip install 'mshub_ssd[evaluate]'"
    code = (
        "from mshub_ssd.evaluation import Confusion, require_matplotlib\nimport mshub_ssd as m\n"
        "try: require_matplotlib()\n"
        "except m.errors.MissingDependencyError as e: print(e.message, e.hint, sep='|')\n"
    )
    message, hint = run_without({"matplotlib"}, code).strip().split("|")
    assert (message.partition(":")[0], hint) == ("a plot needs matplotlib", "pip install 'mshub_ssd[evaluate]'")
