"""Families for batches, transforms, options, and families and networks from elsewhere; docs/families.md runs."""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinydetector import config, outputs, postprocess

import mshub_ssd as mshub
from mshub_ssd import families
from mshub_ssd.errors import MissingDependencyError, UsageError
from mshub_ssd.families import Transform, known
from mshub_ssd.networks.classification import ClassifierConfig

DOCUMENT = Path(__file__).parent.parent / "docs" / "families.md"
GREY = np.full((40, 40, 3), 200, np.uint8)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(known, "_registered", {})


def test_the_documents_code_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 6
    names: dict[str, object] = {"__name__": "families_document"}
    sys.modules["families_document"] = SimpleNamespace(__dict__=names)  # where dataclasses look for their names
    try:
        for block in blocks:
            exec(compile(block, DOCUMENT, "exec"), names)
    finally:
        del sys.modules["families_document"]


# --- transforms

size = st.tuples(st.integers(1, 900), st.integers(1, 900))


@given(image=size, given=st.tuples(st.integers(8, 600), st.integers(8, 600)), corners=st.tuples(*[st.floats(0, 1)] * 4))
def test_boxes_come_back_from_where_they_were_put(image, given, corners) -> None:
    box = np.float32([corners]) * np.float32([image[1], image[0]] * 2)
    for transform in (
        Transform.stretched(image, given),
        Transform.letterboxed(image, given),
        Transform.letterboxed(image, given, centred=False),
        Transform(image, given, (given[0] + 20, given[1] + 30), (-10, -15)),
    ):
        inside = transform.to_input(box)
        np.testing.assert_allclose(transform.to_picture(inside), box, atol=2e-3 * max(image))
        relative = inside / np.float32([given[1], given[0]] * 2)
        np.testing.assert_allclose(transform.relative_to_picture(relative), box, atol=2e-3 * max(image))


def test_a_letterbox_keeps_the_aspect_ratio_and_cuts_boxes_at_the_picture() -> None:
    transform = Transform.letterboxed((50, 100), (64, 64))
    assert (transform.placed_size, transform.offset, transform.scale) == ((32, 64), (16, 0), (0.64, 0.64))
    placed = transform.place(np.full((50, 100, 3), 9, np.uint8), fill=(1, 2, 3))
    assert placed.shape == (64, 64, 3)
    assert (placed[16:48] == 9).all()
    assert (placed[:16] == [1, 2, 3]).all()
    assert (placed[48:] == [1, 2, 3]).all()
    everything = np.float32([[0, 0, 64, 64]])
    assert transform.to_picture(everything).tolist() == [[0, 0, 100, 50]]
    assert transform.to_picture(everything, clip=False).tolist() == [[0, -25, 100, 75]]


def test_a_cut_takes_the_middle() -> None:
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    transform = Transform((4, 4), (2, 2), (4, 4), (-1, -1))
    assert np.array_equal(transform.place(picture), picture[1:3, 1:3])
    assert transform.to_picture(np.float32([[0, 0, 2, 2]])).tolist() == [[1, 1, 3, 3]]


def test_a_part_that_lies_outside_is_cut_and_the_rest_filled() -> None:
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    placed = Transform((4, 4), (4, 6), (4, 4), (-2, 1)).place(picture, fill=(255, 255, 255))
    assert np.array_equal(placed[:2, 1:5], picture[2:])
    assert (placed[2:] == 255).all()
    assert (placed[:, [0, 5]] == 255).all()


@pytest.mark.parametrize("bad", [(0, 5), (5,), None, (5, 2.5)])
def test_sizes_that_are_none_are_refused(bad: object) -> None:
    with pytest.raises(UsageError, match="input_size"):
        Transform((4, 4), bad, (4, 4))
    with pytest.raises(UsageError, match="image_size"):
        Transform.letterboxed(bad, (4, 4))


# --- batches


def test_a_batch_gives_what_its_pictures_give_alone() -> None:
    cfg = config()
    family = families.of(cfg)
    pictures = [np.zeros((height, 80, 3), np.uint8) for height in (30, 60, 90)]
    inputs, transforms = zip(*map(family.preprocess, pictures), strict=True)
    assert np.concatenate(inputs).shape == (3, 3, 64, 64)
    assert [transform.image_size for transform in transforms] == [(30, 80), (60, 80), (90, 80)]
    raw = [outputs(cfg, [(100 * i, 1 + i, 0.9)]) for i in range(3)]
    batch = tuple(np.stack(parts) for parts in zip(*raw, strict=True))
    found = family.postprocess(batch, transforms, pictures=pictures)
    alone = [postprocess(cfg, raw[i], pictures[i].shape[:2]) for i in range(3)]
    assert [one.to_dict() for one in found] == [one.to_dict() for one in alone]
    assert [one.names for one in found] == [("cat",), ("dog",), ("größte Kuh",)]
    assert all(one.image is picture for one, picture in zip(found, pictures, strict=True))
    assert family.postprocess((np.zeros((0, 480, 4)), np.zeros((0, 480, 4))), []) == []


def test_a_batch_of_another_size_is_refused() -> None:
    cfg = config()
    family = families.of(cfg)
    loc, scores = outputs(cfg, [])
    one = family.transform((10, 10))
    with pytest.raises(UsageError, match="2 along the first axis"):
        family.postprocess((loc[None], scores[None]), [one, one])
    with pytest.raises(UsageError, match="one picture per transform"):
        family.postprocess((loc[None], scores[None]), [one], pictures=[])
    with pytest.raises(UsageError, match="along the first axis"):
        family.postprocess((np.float32(3), scores[None]), [one])


def test_classifiers_take_batches_and_need_no_pictures() -> None:
    cfg = ClassifierConfig("small", 3, ("a", "b", "c"), resize=10, image_size=8, input_sizes=(8,))
    family = families.of(cfg)
    inputs, transform = family.preprocess(GREY)
    assert inputs.shape == (1, 3, 8, 8)
    assert (transform.placed_size, transform.offset) == ((10, 10), (-1, -1))
    logits = np.float32([[0, 2, 1], [5, 0, 0]])
    first, second = family.postprocess(logits, [transform] * 2, family.options(top_k=2))
    assert (first.names, second.names) == (("b", "c"), ("a", "b"))
    assert first.image is None
    assert first.to_dict()["image"] == {"width": 40, "height": 40}


# --- options


def test_at_most_a_hundred_come_unless_told_otherwise() -> None:
    cfg = config(max_per_class=480)
    loc, scores = outputs(cfg, [(anchor, 1, 0.5) for anchor in range(480)])
    assert len(postprocess(cfg, (loc, scores), (640, 640), iou_threshold=1)) == 100
    assert len(postprocess(cfg, (loc, scores), (640, 640), iou_threshold=1, max_detections=None)) == 480


def test_an_overlap_of_ones_own_replaces_the_published_one() -> None:
    cfg = config()
    loc, scores = outputs(cfg, [(0, 1, 0.9), (1, 1, 0.8), (2, 1, 0.7)])
    counts = [len(postprocess(cfg, (loc, scores), (640, 640), iou_threshold=limit)) for limit in (0, None, 1)]
    assert counts[0] == 1
    assert counts[2] == 3
    assert counts == sorted(counts)


@pytest.mark.parametrize(
    ("classes", "names"),
    [("cat", ("cat",)), (1, ("dog",)), (["größte Kuh", 0], ("größte Kuh", "cat")), ({2}, ("größte Kuh",))],
)
def test_only_the_classes_that_are_wanted(classes: object, names: tuple[str, ...]) -> None:
    cfg = config()
    raw = outputs(cfg, [(0, 1, 0.5), (100, 2, 0.8), (300, 3, 0.6)])
    assert postprocess(cfg, raw, (64, 64), classes=classes).names == names


@pytest.mark.parametrize(
    ("bad", "told"), [("cta", "did you mean 'cat'"), (3, "0 to 2"), ([], "for all"), ([True], "0 to 2"), (1.5, "names")]
)
def test_classes_that_are_none_are_refused(bad: object, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        families.of(config()).options(classes=bad)


@pytest.mark.parametrize("bad", [-0.1, 1.5, float("nan"), "0.5", True])
def test_an_overlap_outside_of_0_to_1_is_refused(bad: object) -> None:
    with pytest.raises(UsageError, match="iou_threshold"):
        families.of(config()).options(iou_threshold=bad)


# --- families of others


@dataclass(frozen=True)
class OneConfig:
    """A detector with one output, in parts of its input."""

    image_size: int = 10
    score_threshold: float = 0.5
    class_names: tuple[str, ...] = ("thing", "other")


class One(families.Detector):
    """Rows of x1, y1, x2, y2, score."""

    def decode(self, outputs: np.ndarray, transform: Transform, options: families.DetectionOptions) -> tuple:
        rows = outputs[outputs[:, 4] > options.score_threshold]
        return transform.relative_to_picture(rows[:, :4]), rows[:, 4], (rows[:, 0] > 0.4).astype(np.intp)


RAW = np.float32([[[0, 0, 0.5, 0.5, 0.6], [0.5, 0, 1, 1.5, 0.9], [0, 0, 1, 1, 0.2]]])


def one(family: families.Family | None, **options: object) -> mshub.Detections:
    assert isinstance(family, One)
    return family.postprocess(RAW, [family.transform((20, 40))], family.options(**options))[0]


def test_a_family_is_registered_for_a_type_and_for_a_name() -> None:
    assert families.of(OneConfig()) is None
    assert families.register(OneConfig, "one")(One) is One
    found = one(families.of(OneConfig()))
    assert found.names == ("other", "thing")
    assert found.boxes.tolist() == [[20, 0, 40, 20], [0, 0, 20, 10]]
    assert one(families.of(OneConfig()), classes="thing", score_threshold=0.1).names == ("thing", "thing")

    class Derived(OneConfig):
        pass

    assert isinstance(families.of(Derived()), One)
    assert isinstance(families.of(SimpleNamespace(family="one", class_names=())), One)
    with pytest.raises(UsageError, match="suppresses no boxes"):
        one(families.of(OneConfig()), iou_threshold=0.5)


def test_a_config_names_its_family_by_class_or_key() -> None:
    named = SimpleNamespace(family=One, image_size=10, score_threshold=0.5, class_names=("thing", "other"))
    assert len(one(families.of(named))) == 2
    assert isinstance(families.of(SimpleNamespace(family="ssd")), families.SSD)
    assert isinstance(families.of(SimpleNamespace(family="openmmlab")), families.OpenMMLab)
    with pytest.raises(UsageError, match="classifier, openmmlab, ssd, yolo, or a class"):
        families.of(SimpleNamespace(family="frcnn"))
    with pytest.raises(UsageError, match="nobody knows"):
        families.of(SimpleNamespace(family=3))


def test_a_taken_key_is_refused_and_the_same_class_may_come_again() -> None:
    with pytest.raises(UsageError, match="has a family already"):
        families.register("ssd")(One)
    families.register(OneConfig)(One)
    again = type("One", (families.Detector,), {"__module__": One.__module__, "__qualname__": One.__qualname__})
    families.register(OneConfig)(again)
    assert type(families.of(OneConfig())) is again
    with pytest.raises(UsageError, match="not a key"):
        families.register("not a name")


def test_an_installed_package_brings_its_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "other_nets-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other_nets\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "[mshub_ssd.families]\nother_nets.Config = other_nets:Loud\nloud = other_nets:Loud\n"
        "broken = other_nets:Nothing\nwrong = other_nets:Config\n",
        encoding="utf-8",
    )
    (tmp_path / "other_nets.py").write_text(
        "from mshub_ssd import families\nclass Config: class_names = ()\nclass Loud(families.Detector): pass\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    known._plugins.cache_clear()
    try:
        import other_nets

        assert isinstance(families.of(other_nets.Config()), other_nets.Loud)
        assert isinstance(families.of(SimpleNamespace(family="loud")), other_nets.Loud)
        with pytest.raises(MissingDependencyError, match="broken = other_nets:Nothing"):
            families.of(SimpleNamespace(family="broken"))
        with pytest.raises(UsageError, match="is no family"):
            families.of(SimpleNamespace(family="wrong"))
        with pytest.raises(UsageError, match="loud"):
            families.of(SimpleNamespace(family="quiet"))
    finally:
        known._plugins.cache_clear()
        sys.modules.pop("other_nets", None)


def test_detect_takes_a_network_whose_config_names_its_family() -> None:
    mindspore = pytest.importorskip("mindspore")

    class Own(mindspore.nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.config = SimpleNamespace(
                family=One,
                image_size=10,
                mean=(0.0, 0.0, 0.0),
                std=(1.0, 1.0, 1.0),
                score_threshold=0.5,
                class_names=("thing", "other"),
            )
            self.answer = mindspore.Tensor(RAW)

        def construct(self, x: object) -> object:
            return self.answer + 0 * x.sum()

    network = Own().set_train(False)
    found = mshub.detect(network, np.full((20, 40, 3), 200, np.uint8))
    assert found.names == ("other", "thing")
    assert len(found.crops()) == 2
    with pytest.raises(UsageError, match=r"docs/families\.md"):
        mshub.detect(mindspore.nn.ReLU(), GREY)
