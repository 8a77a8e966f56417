"""`finetune`: what is checked before, what is done to pictures, and what comes out, killed or not."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import SOURCE, run
from shapelab import write_shapes, write_tiny

import mshub_ssd as mshub
from mshub_ssd.errors import AnnotationError, ArgumentTypeError, ImageError, MshubError, UsageError

pytest.importorskip("cv2")
pytest.importorskip("pycocotools")

from mshub_ssd.training import Augmentation, Batches, CocoSamples, Sample, Target, coco_samples
from mshub_ssd.training.augmenting import View, whole
from mshub_ssd.training.schedule import Pace

DIGITS = "mshub/1.0/ssdmobilenetv2_digits"
DOCUMENT = (SOURCE / "docs" / "finetuning.md").read_text(encoding="utf-8")
# So many steps show whatever a training does: frozen, then not, measured twice, saved in between.
SHORT: dict[str, Any] = {
    "steps": 8,
    "batch_size": 4,
    "freeze_epochs": 0.5,
    "evaluate_every": 4,
    "save_every": 1,
    "seed": 7,
    "quiet": True,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Annotations of sixteen scenes, and the folder of their pictures."""
    return write_shapes(tmp_path_factory.mktemp("shapes"), 16)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mindspore")
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def unkilled(data: tuple[Path, Path], tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> mshub.Tuned:
    """A training from its beginning to its end."""
    out = tmp_path_factory.mktemp("unkilled") / "out"
    return mshub.finetune(tiny, annotations=data[0], images=data[1], out=out, **SHORT)


# ------------------------------------------------------------------------------------------------ the data


def test_annotations_become_samples(data: tuple[Path, Path]) -> None:
    samples = coco_samples(*data)
    content = json.loads(data[0].read_text(encoding="utf-8"))
    assert len(samples) == 16
    assert samples.name == "drawn shapes, seed 5"
    sample = samples[3]
    rows = [row for row in content["annotations"] if row["image_id"] == content["images"][3]["id"]]
    names = {row["id"]: row["name"] for row in content["categories"]}
    assert [samples.classes[label] for label in sample.labels] == [names[row["category_id"]] for row in rows]
    x, y, width, height = rows[0]["bbox"]
    assert sample.boxes[0].tolist() == [x, y, x + width, y + height]
    assert sample.image.shape[:2] == (content["images"][3]["height"], content["images"][3]["width"])


def spoilt(content: dict[str, Any], what: str) -> None:
    first = content["annotations"][0]
    if what == "outside":
        first["bbox"][0] += 5000
    elif what == "corners":
        _, _, width, height = first["bbox"]
        size = next(row for row in content["images"] if row["id"] == first["image_id"])
        first["bbox"] = [size["width"] - width, size["height"] - height, size["width"], size["height"]]
    elif what == "category":
        first["category_id"] = 99
    elif what == "elsewhere":
        content["images"][1]["file_name"] = "../secret.jpg"
    elif what == "missing":
        content["images"][2]["file_name"] = "no-such.jpg"
    elif what == "size":
        content["images"][0]["height"] += 7
    elif what == "twins":
        content["categories"][0]["name"] = content["categories"][1]["name"]
    elif what == "pictures":
        content["images"] = content["annotations"] = []
    else:
        content["annotations"] = [] if what == "objects" else [{**row, "iscrowd": 1} for row in content["annotations"]]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("outside", r"outside of its picture(.|\n)*annotation 1, on 00001.jpg"),
        ("corners", r"outside of its picture(.|\n)*not two corners"),
        ("category", r"category_id(.|\n)*annotations\[0\]"),
        ("elsewhere", r"outside of the folder(.|\n)*images\[1\]"),
        ("missing", r"1 of 16(.|\n)*no-such.jpg"),
        ("size", r"another size(.|\n)*images\[0\]"),
        ("twins", "two categories have one name"),
        ("pictures", "no pictures"),
        ("objects", "no objects"),
        ("crowds", "no objects to learn(.|\n)*crowds"),
    ],
)
def test_what_is_wrong_with_the_data_is_told_before_anything_is_done(
    data: tuple[Path, Path], tmp_path: Path, what: str, words: str
) -> None:
    content = json.loads(data[0].read_text(encoding="utf-8"))
    spoilt(content, what)
    with pytest.raises(AnnotationError, match=words):
        mshub.finetune(DIGITS, annotations=content, images=data[1], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_broken_picture_is_told_before_anything_is_done(data: tuple[Path, Path], tmp_path: Path) -> None:
    content = json.loads(data[0].read_text(encoding="utf-8"))
    shutil.copytree(data[1], tmp_path / "pictures")
    (tmp_path / "pictures" / content["images"][4]["file_name"]).write_text("no picture", encoding="utf-8")
    with pytest.raises(AnnotationError, match=r"cannot be read(.|\n)*images\[4\]"):
        mshub.finetune(DIGITS, annotations=content, images=tmp_path / "pictures", out=tmp_path / "out")


def test_what_cannot_be_learnt_is_left_out_and_said(data: tuple[Path, Path]) -> None:
    content = json.loads(data[0].read_text(encoding="utf-8"))
    content["categories"].append({"id": 40, "name": "unicorn"})
    content["annotations"][0]["bbox"][2] = 0
    content["annotations"][1]["iscrowd"] = 1
    samples = coco_samples(content, data[1])
    assert "unicorn" not in samples.classes
    assert "unicorn" in " ".join(samples.notes)
    total = sum(len(samples[index].labels) for index in range(len(samples)))
    assert total == len(content["annotations"]) - 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": 5, "epochs": 2}, "steps and epochs"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"batch_size": True}, "batch_size"),
        ({"seed": -1}, "seed"),
        ({"val_split": 1}, "val_split"),
        ({"file_format": "onnx"}, "format"),
        ({"images": None}, "folder of the pictures"),
        ({"val_images": "."}, "val_images without"),
        ({"model": "mindspore/1.6/sppnet_mult_imagenet2012"}, "cannot be trained here"),
    ],
)
def test_options_that_make_no_sense(
    data: tuple[Path, Path], tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    given = {"model": DIGITS, "annotations": data[0], "images": data[1], **options}
    with pytest.raises(UsageError, match=words):
        mshub.finetune(out=tmp_path / "out", **given)


def test_a_network_in_hand_is_no_name(data: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match="uid"):
        mshub.finetune(object(), annotations=data[0], images=data[1], out=tmp_path)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------- augmentation


def patch(size: tuple[int, int], box: tuple[int, int, int, int]) -> Any:
    """A black picture with one white rectangle."""
    picture = np.zeros((*size, 3), np.uint8)
    picture[box[1] : box[3], box[0] : box[2]] = 255
    return picture


@pytest.mark.parametrize("flip", [False, True])
def test_boxes_go_where_the_pixels_go(flip: bool) -> None:
    changes = Augmentation(crop=0.5, zoom_out=0.4, flip=flip)
    box = (60, 40, 130, 95)
    picture, boxes = patch((150, 200), box), np.array([box], np.float32)
    views = set()
    for seed in range(60):
        view = changes.view(np.random.default_rng(seed), (150, 200), boxes)
        views.add(view)
        seen = view.pixels(picture, 128, (0, 0, 0))[:, :, 0] > 127
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        expected = np.clip(view.boxes(boxes)[0] * 128, 0, 128)
        got = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
        np.testing.assert_allclose(got, expected, atol=1.01)
    assert len(views) > 30
    assert any(view.mirrored for view in views) is flip


def test_an_unchanged_view_is_what_the_network_will_see() -> None:
    from mshub_ssd.pictures import resize

    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (37, 53, 3), dtype=np.uint8)
    got = whole((37, 53)).pixels(picture, 80, (0, 0, 0)).astype(int)
    assert np.abs(got - resize(picture, 80, 80).astype(int)).max() <= 6
    mirrored = View(0, 0, 53, 37, mirrored=True).pixels(picture, 80, (0, 0, 0)).astype(int)
    assert np.abs(mirrored[:, ::-1] - got).max() <= 6


def test_colours_change_and_stay_colours() -> None:
    picture = np.random.default_rng(2).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    changed = Augmentation().recoloured(np.random.default_rng(3), picture)
    assert changed.shape == picture.shape
    assert changed.dtype == np.uint8
    assert (changed != picture).any()
    assert Augmentation(colour=0).recoloured(np.random.default_rng(3), picture) is picture


# -------------------------------------------------------------------------------------------------- batches


class Numbered:
    """Samples that tell which one they are by their brightness."""

    classes = ("thing",)
    name = "numbers"

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Sample:
        box = np.array([[8, 8, 40, 40]], np.float32)
        return Sample(np.full((64, 64, 3), 20 * index, np.uint8), box, np.zeros(1, np.int64))


TARGET = Target(
    image_size=32,
    anchors=np.array([[0.25, 0.25, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5], [0.5, 0.5, 0.9, 0.9]], np.float32),
    prior_scaling=(0.1, 0.2),
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)


def test_each_picture_is_seen_once_before_any_is_seen_again() -> None:
    still = Augmentation(crop=0, zoom_out=0, colour=0)
    batches = Batches(Numbered(), TARGET, size=4, seed=3, augmentation=still)
    seen = [int(one[0, 0, 0]) // 20 for number in range(5) for one in batches.batch(number).pictures]
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]


def test_a_batch_follows_from_the_seed_and_its_number() -> None:
    batches = Batches(Numbered(), TARGET, size=4, seed=3, augmentation=Augmentation(), threads=3)
    stream = batches.stream(2)
    try:
        for number in (2, 3, 4):
            for one, two in zip(next(stream), batches.batch(number), strict=True):
                np.testing.assert_array_equal(one, two)
    finally:
        stream.close()
    other = Batches(Numbered(), TARGET, size=4, seed=4, augmentation=Augmentation()).batch(2)
    assert (other.pictures != batches.batch(2).pictures).any()
    assert other.labels.shape == (4, 3)
    assert other.labels.dtype == np.int32


# ------------------------------------------------------------------------------------------------- schedule


def test_rates_rise_stay_and_fall_to_nothing() -> None:
    pace = Pace(1e-3, total=400, frozen=100)
    rates = []
    while not pace.done:
        rates.append(pace.rate())
        pace.advance()
    assert len(rates) == 400
    assert rates[0] < rates[10] < rates[99] == pytest.approx(1e-3)
    assert rates[100] < 1e-4
    assert max(rates[100:]) == pytest.approx(1e-3, rel=0.1)
    assert rates[-1] < 1e-5


def test_a_limit_of_time_shortens_what_is_left_and_nothing_else() -> None:
    def run(limit: float | None) -> list[float]:
        pace, rates = Pace(1e-3, total=300, frozen=30, limit=limit), []
        while not pace.done:
            rates.append(pace.rate())
            pace.advance()
            pace.keep_to_limit(pace.step * 1.0, slowest=1.0, rest=5.0)
        return rates

    assert run(1000) == run(None)
    short = run(100)
    assert 90 <= len(short) <= 96
    assert short[-1] < 1e-5


# -------------------------------------------------------------------------------------------- from end to end


def test_classes_of_the_same_name_keep_what_they_know() -> None:
    pytest.importorskip("mindspore")
    from mshub_ssd.hub import default_hub
    from mshub_ssd.training import detectors

    hub = default_hub()
    made = detectors.build(detectors.choose(hub, DIGITS, True), ["moon", "3", "sun"], hub)
    assert made.kept == ("3",)
    pytest.importorskip("openvino")
    picture = Path(mshub.__file__).parent / "cli" / "demo_digits.png"
    old = mshub.detect(DIGITS, picture, classes="3")
    with mshub.Predictor(made.twin(made.arrays()), engine="openvino", classes="3") as predict:
        new = predict(picture)
    np.testing.assert_allclose(new.boxes, old.boxes, atol=1e-3)
    np.testing.assert_allclose(new.scores, old.scores, atol=1e-5)


def test_checkpoint_and_card_are_as_promised(unkilled: mshub.Tuned, data: tuple[Path, Path]) -> None:
    assert sorted(path.name for path in unkilled.card.parent.iterdir()) == ["card.md", "network.ckpt", "result.json"]
    report = mshub.validate(unkilled.card)
    assert report.ok, report
    assert not report.findings
    card = mshub.info(unkilled.card)
    assert card.classes == unkilled.classes
    assert card.license == "Apache-2.0"
    assert {metric.name for metric in card.metrics} == {"mAP@0.5", "mAP@[.5:.95]"}
    assert card.assets[0].sha256 == unkilled.sha256
    assert "tiny" in card.body
    network = mshub.load(unkilled.card)
    assert network.config.class_names == unkilled.classes
    assert [step for step, _, _ in unkilled.points] == [4, 8]
    # What the card says is what comes out: on the pictures that were held out.
    from mshub_ssd.training.data import as_annotations, split

    _, held_out = split(coco_samples(*data), 0.1, SHORT["seed"])
    found = mshub.evaluate(unkilled.card, images=data[1], annotations=as_annotations(held_out), quiet=True)
    assert found.metrics["mAP"] == pytest.approx(unkilled.metrics["mAP"], abs=1e-6)


class InterruptedHereError(Exception):
    pass


def test_interrupted_and_resumed_it_ends_as_if_it_had_not_been(
    unkilled: mshub.Tuned, data: tuple[Path, Path], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mindspore

    read = CocoSamples.__getitem__

    def finetune(left: int = 10_000, **options: Any) -> mshub.Tuned:
        """A training that ends when so many pictures were read."""
        remaining = iter(range(left))

        def stopping(samples: CocoSamples, index: int) -> Sample:
            if next(remaining, None) is None:
                raise InterruptedHereError
            return read(samples, index)

        monkeypatch.setattr(CocoSamples, "__getitem__", stopping)
        return mshub.finetune(tiny, annotations=data[0], images=data[1], out=out, **{**SHORT, **options})

    out = tmp_path / "out"
    before = mindspore.get_context("mode"), np.random.get_state()[1].tolist()
    for left in (5, 9):  # in the frozen part, and after it
        with pytest.raises(InterruptedHereError):
            finetune(left, resume=True)
    assert (mindspore.get_context("mode"), np.random.get_state()[1].tolist()) == before
    with pytest.raises(UsageError, match="--resume"):
        finetune()
    with pytest.raises(UsageError, match=r"other options: seed(.|\n)*expected: seed 7"):
        finetune(resume=True, seed=8, val_annotations=data[0])
    # What a killed process was writing does not stay.
    left_over = out / "training.ckpt.123.0123abcd.new"
    left_over.write_bytes(b"half")
    for _ in range(2):  # the second time, there is nothing left to do
        ended = finetune(resume=True)
        assert not left_over.exists()
        assert ended.sha256 == unkilled.sha256
        assert ended.points == unkilled.points
        assert ended.card.read_text(encoding="utf-8") == unkilled.card.read_text(encoding="utf-8")


@pytest.mark.slow
def test_killed_on_the_command_line(unkilled: mshub.Tuned, data: tuple[Path, Path], tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--steps", "8", "--batch-size", "4", "--freeze-epochs", "0.5", "--evaluate-every", "4"]
    options += ["--save-every", "1", "--seed", "7", "--resume", "--json"]
    command = [sys.executable, "-m", "mshub_ssd", "finetune", str(tiny), "--annotations", str(data[0])]
    command += ["--images", str(data[1]), "--out", str(out), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (out / "training.ckpt").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(random.random() * 0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["sha256"] == unkilled.sha256
    assert answer["metrics"] == dict(unkilled.metrics)
    # Without a terminal there are lines, and no bar.
    assert "\r" not in done.stderr
    assert os.fspath(out) in done.stderr or "step" in done.stderr


def test_a_training_that_goes_astray_says_so(data: tuple[Path, Path], tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"astray(.|\n)*--learning-rate"):
        mshub.finetune(
            tiny,
            annotations=data[0],
            images=data[1],
            out=tmp_path / "out",
            val_split=0,
            **{**SHORT, "learning_rate": 1e30, "freeze_epochs": 0, "evaluate_every": 8},
        )


def test_a_picture_that_vanishes_is_named(
    data: tuple[Path, Path], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanished(samples: CocoSamples, index: int) -> Sample:
        raise ImageError("there is no such picture", where="gone.jpg")

    monkeypatch.setattr(CocoSamples, "__getitem__", vanished)
    with pytest.raises(MshubError, match=r"gone\.jpg"):
        mshub.finetune(tiny, annotations=data[0], images=data[1], out=tmp_path / "out", **SHORT)


def test_the_document_does_what_it_says(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL)[0].replace("\\\n", " ").replace(DIGITS, str(tiny))
    draw, train, detect = (shlex.split(line) for line in commands.splitlines())
    subprocess.run([sys.executable, SOURCE / draw[1], *draw[2:], "--pictures", "8", "--held-out", "3"], check=True)
    said = run(*train[1:], "--steps", "2", "--batch-size", "2")
    assert said.exit_code == 0, said.stderr
    assert "Try next" in said.stderr
    assert "my-shapes/card.md: 6 classes, 2 steps" in said.stdout
    assert run(*detect[1:]).exit_code == 0
    assert Path("found.png").exists()
    code = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)[0].replace(DIGITS, str(tiny))
    found: dict[str, Any] = {}
    exec(code, found)
    assert found["network"].config.class_names == found["tuned"].classes


NETWORKS = (
    "ssd300",
    "ssd_ghostnet",
    "ssd_inceptionv2",
    "ssd_mobilenet_v1_fpn",
    "ssd_mobilenetV2",
    "ssd_mobilenetV2_FPNlite",
    "ssd_resnet34",
    "ssd_resnet50",
    "ssd_resnet50_fpn",
    "ssd_vgg16",
    "openmmlab_ssd300",
    "openmmlab_ssd512",
    "openmmlab_ssdlite_mobilenetv2",
)


@pytest.mark.slow
@pytest.mark.parametrize("key", NETWORKS)
def test_every_ssd_of_the_family_learns(key: str, data: tuple[Path, Path], tmp_path: Path) -> None:
    learns(key, data, tmp_path, steps=2)


def test_a_feature_pyramid_learns(data: tuple[Path, Path], tmp_path: Path) -> None:
    learns("ssd_mobilenetV2_FPNlite", data, tmp_path, steps=1)


def learns(key: str, data: tuple[Path, Path], folder: Path, steps: int) -> None:
    """A step, with one before it that leaves the backbone alone if there are two, changes what it should."""
    pytest.importorskip("mindspore")
    import hashlib

    from networks import save_checkpoint, weights

    from mshub_ssd import checkpoints
    from mshub_ssd.cards import card_text

    arrays = weights(key)
    file = save_checkpoint(folder / "base.ckpt", arrays)
    asset = {
        "file-format": "ckpt",
        "asset-link": file.name,
        "asset-sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    card = folder / "base.md"
    card.write_text(card_text("base", {"model-name": "base", "network": key, "asset": [asset]}), encoding="utf-8")
    batch = 2
    done = mshub.finetune(
        card,
        annotations=data[0],
        images=data[1],
        out=folder / "out",
        steps=steps,
        freeze_epochs=(steps - 1) * batch / 16,
        batch_size=batch,
        val_split=0,
        seed=1,
        quiet=True,
    )
    after = checkpoints.read(done.checkpoint)
    same = [name for name, array in arrays.items() if name in after and after[name].shape == array.shape]
    changed = [name for name in same if (after[name] != arrays[name]).any()]
    # But the statistics of batch norms, and what is of levels on which no object was.
    learnt = [name for name in same if not name.endswith(("moving_mean", "moving_variance"))]
    assert len([name for name in learnt if name in changed]) > 0.85 * len(learnt)
    assert all(np.isfinite(array).all() for array in after.values())
    assert mshub.load(done.card).config.class_names == done.classes
