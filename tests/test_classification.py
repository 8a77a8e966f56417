"""From a picture to its classes: preprocessing, ranking, drawing, and `classify` through library and command line."""

from __future__ import annotations

import hashlib
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import servelab
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from networks import save_checkpoint
from PIL import Image

import mshub_ssd as mshub
from mshub_ssd import engines, families, networks, pictures
from mshub_ssd.errors import ImageError, UsageError
from mshub_ssd.networks.classification import ClassifierConfig, class_names
from mshub_ssd.results import Classification, row_of

FIVE = ClassifierConfig("five", 5, ("ant", "bee", "cow", "dog", "eel"))
IMAGENET = ClassifierConfig("thousand", 1000, class_names(1000))
GREY = np.full((60, 80, 3), 128, np.uint8)


def colours(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def preprocess(image: np.ndarray, config: ClassifierConfig) -> np.ndarray:
    return families.of(config).preprocess(image)[0]


def rank(config: ClassifierConfig, logits: object, image: np.ndarray, top_k: int = 5) -> Classification:
    family = families.of(config)
    return family.result(logits, family.transform(image.shape[:2]), family.options(top_k=top_k), image)


# --- preprocessing

SIZES = [(300, 500), (500, 375), (80, 100), (256, 256), (1, 1), (1333, 37), (257, 255), (3, 700)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_preprocessing_is_what_the_networks_were_evaluated_with(height: int, width: int) -> None:
    transforms = pytest.importorskip("mindspore.dataset.vision")
    picture = colours(height, width)
    expected = transforms.CenterCrop(224)(transforms.Resize((256, 256))(picture))
    given = preprocess(picture, IMAGENET)
    assert (given.shape, given.dtype) == ((1, 3, 224, 224), np.float32)
    mean, std = (np.asarray(values)[:, None, None] for values in (IMAGENET.mean, IMAGENET.std))
    # Resizing and cutting give the same bytes; the greatest difference is 0.
    np.testing.assert_array_equal(np.rint(given[0] * std + mean).astype(np.uint8), expected.transpose(2, 0, 1))
    normal = transforms.Normalize(list(IMAGENET.mean), list(IMAGENET.std))(expected)
    # In float32 the order of operations shows: at most 1e-6 on values up to 2.7.
    np.testing.assert_allclose(given[0], transforms.HWC2CHW()(normal), rtol=0, atol=1e-6)


def test_preprocessing_refuses_what_is_no_picture() -> None:
    with pytest.raises(ImageError, match="uint8"):
        preprocess(np.zeros((10, 10, 3)), IMAGENET)


# --- ranking


def test_the_best_classes_come_first_with_their_probabilities() -> None:
    logits = np.log(np.float32([[0.1, 0.4, 0.05, 0.25, 0.2]])) + 7
    found = rank(FIVE, logits, GREY, top_k=3)
    assert found.labels.tolist() == [1, 3, 4]
    assert found.names == ("bee", "dog", "eel")
    assert found.scores.dtype == np.float32
    np.testing.assert_allclose(found.scores, [0.4, 0.25, 0.2], rtol=1e-6)
    assert len(found) == 3
    first, *_ = found
    assert (first.label, first.name, first.score) == (1, "bee", pytest.approx(0.4))
    assert rank(FIVE, logits[0], GREY, 3).to_dict() == found.to_dict()


@given(
    logits=st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=5, max_size=5),
    top_k=st.integers(1, 9),
)
def test_any_finite_logits_give_probabilities(logits: list[float], top_k: int) -> None:
    found = rank(FIVE, logits, GREY, top_k)
    assert len(found) == min(top_k, 5)
    assert len(set(found.labels.tolist())) == len(found)
    assert (np.diff(found.scores) <= 0).all()
    assert logits[found.labels[0]] == max(logits)
    everything = rank(FIVE, logits, GREY, 5)
    assert math.isclose(everything.scores.sum(), 1, rel_tol=1e-5)
    assert everything.names[: len(found)] == found.names
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()


def test_equal_classes_keep_their_order() -> None:
    assert rank(FIVE, np.zeros(5), GREY).labels.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("top_k", [0, -1, 2.0, True, "5", None, float("nan")])
def test_top_k_must_be_a_positive_number(top_k: object) -> None:
    with pytest.raises(UsageError, match="top_k"):
        rank(FIVE, np.zeros(5), GREY, top_k)
    # Before anything else is looked at.
    with pytest.raises(UsageError, match="top_k"):
        mshub.classify("no/such/model", "no-such.png", top_k)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (np.zeros((2, 5)), r"logits\[i\]"),
        (np.zeros(4), r"\[5\] or \[1, 5\]"),
        (np.zeros((5, 1)), r"\[5\] or \[1, 5\]"),
        (np.array(["a"] * 5), "numbers"),
        ([0, 1, np.nan, np.inf, 0], "2 of 5"),
    ],
)
def test_logits_that_do_not_fit_are_refused(logits: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rank(FIVE, logits, GREY)


def test_parts_that_do_not_belong_together_are_refused() -> None:
    labels, scores = np.arange(2), np.float32([0.5, 0.25])
    Classification(labels, ("a", "b"), scores, GREY)
    for parts in [
        (labels, ("a",), scores, GREY),
        (labels[:1], ("a", "b"), scores, GREY),
        (labels, ("a", "b"), scores[None], GREY),
        (labels, ("a", "b"), scores, GREY.astype(np.float32)),
        (labels, ("a", "b"), scores, GREY[:, :, 0]),
    ]:
        with pytest.raises(UsageError):
            Classification(*parts)


def test_what_it_prints() -> None:
    two = rank(FIVE, np.log([0.5, 0.2, 0.1, 0.1, 0.1]), GREY, 2)
    assert str(two).splitlines() == ["2 classes of a picture of 80 x 60", "  0.500  ant", "  0.200  bee"]
    assert repr(two) == "<2 classes of a picture of 80 x 60: ant 0.50, bee 0.20>"
    assert str(rank(IMAGENET, np.zeros(1000), GREY, 12)).endswith("… and 2 more")
    assert repr(rank(IMAGENET, np.zeros(1000), GREY, 12)).endswith(", 9 more>")
    assert repr(rank(FIVE, np.zeros(5), GREY, 1)).startswith("<1 class of")


# --- drawing


@pytest.mark.parametrize("size", [(60, 80), (1, 1), (32, 32), (900, 20), (20, 1500), (700, 1000)])
@pytest.mark.parametrize("fill", [24, 255])
def test_the_picture_stays_whole_and_the_bars_are_seen_below_it(size: tuple[int, int], fill: int) -> None:
    picture = np.full((*size, 3), fill, np.uint8)
    height, width = size
    # Names long and short, of any characters.
    names = (IMAGENET.class_names[2], "größte Kuh 人 🐄", "", "x" * 400, "\ud800 a\nb")
    drawn = Classification(np.arange(5), names, np.float32([1, 0.5, 0.25, 0.01, 0]), picture).draw()
    pixels = np.asarray(drawn)
    start = (drawn.width - width) // 2
    np.testing.assert_array_equal(pixels[:height, start : start + width], picture)
    panel = pixels[height:]
    rows = np.array_split(panel[: -(panel.shape[0] % 5) or None], 5)
    # A lively colour is one whose channels differ; text, track and ground are grey.
    lively = [int((np.ptp(row.astype(int), axis=2) > 60).any(axis=0).sum()) for row in rows]
    assert lively[0] > 0.15 * drawn.width
    assert lively[0] == pytest.approx(2 * lively[1], abs=3) == pytest.approx(4 * lively[2], abs=6)
    assert lively[4] == 0
    # White text on dark ground: the name on the left, the percentage on the right.
    for index, row in enumerate(rows):
        bright = (row.min(axis=2) > 230).any(axis=0)
        assert bright[-drawn.width // 5 :].any()
        assert bright[: drawn.width // 5].any() == (names[index] != "")


def test_a_name_that_is_too_long_is_cut_and_not_run_over_its_bar() -> None:
    panels = []
    for name in ("x" * 60, "x" * 400):
        found = Classification(np.zeros(1, int), (name,), np.float32([0.4]), GREY)
        panels.append(np.asarray(found.draw()))
    np.testing.assert_array_equal(*panels)


def test_letters_grow_with_the_picture() -> None:
    heights = []
    for scale in (1, 4):
        found = rank(FIVE, np.zeros(5), np.zeros((480 * scale, 640 * scale, 3), np.uint8))
        heights.append(found.draw().height - 480 * scale)
    assert heights[1] == pytest.approx(4 * heights[0], rel=0.1)


def test_a_thousand_classes_are_not_all_drawn() -> None:
    many = rank(IMAGENET, np.zeros(1000), GREY, 1000)
    assert many.draw().size == rank(IMAGENET, np.zeros(1000), GREY, 20).draw().size


def test_it_shows_itself_in_notebooks_and_saves(tmp_path: Path) -> None:
    found = rank(FIVE, np.zeros(5), colours(2000, 2500))
    with Image.open(io.BytesIO(found._repr_png_())) as shown:
        assert (shown.format, max(shown.size)) == ("PNG", 1600)
    found = rank(FIVE, np.zeros(5), GREY)
    assert found.save(tmp_path / "out.png") == tmp_path / "out.png"
    with Image.open(tmp_path / "out.png") as saved:
        np.testing.assert_array_equal(np.asarray(saved), np.asarray(found.draw()))
    with pytest.raises(UsageError, match=r"\.xyz"):
        found.save(tmp_path / "out.xyz")
    with pytest.raises(UsageError, match="mkdir"):
        found.save(tmp_path / "nowhere" / "out.png")


# --- classify

UID = "own/1.0/sppnet_single_insects"
DEMO = Path(mshub.__file__).parent / "cli" / "demo_digits.png"
NETWORK = {"name": "sppnet_single", "num_classes": 3, "hidden_units": 8}
CARD = """# SPPNet of insects

---

model-name: SPPNet
module-type: cv-image_classification
train-dataset: insects
evaluation: top1acc50
license: Apache-2.0
network: {network}
classes: [ant, bee, cicada]
asset:
- file-format: ckpt
  asset-link: small.ckpt
  asset-sha256: "{digest}"

---

## What it is
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small SPPNet's random weights."""
    mindspore = pytest.importorskip("mindspore")
    mindspore.set_seed(3)
    arguments = {name: value for name, value in NETWORK.items() if name != "name"}
    cell = networks.constructor("sppnet_single")(**arguments)
    arrays = {parameter.name: parameter.asnumpy() for parameter in cell.get_parameters()}
    return save_checkpoint(tmp_path_factory.mktemp("sppnet") / "small.ckpt", arrays).read_bytes()


@pytest.fixture
def uid(checkpoint: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A card with its checkpoint beside it."""
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "cards"))
    monkeypatch.setenv("GLOG_v", "3")
    card = tmp_path / "cards" / f"{UID}.md"
    card.parent.mkdir(parents=True)
    (card.parent / "small.ckpt").write_bytes(checkpoint)
    digest = hashlib.sha256(checkpoint).hexdigest()
    card.write_text(CARD.format(network=json.dumps(NETWORK), digest=digest), encoding="utf-8")
    return UID


def test_a_card_leads_to_the_classes_of_a_picture(uid: str, tmp_path: Path) -> None:
    import mindspore

    network = mshub.load(uid)
    assert network.card.task == "image-classification"
    assert network.load_report.ok
    assert network.config.class_names == ("ant", "bee", "cicada")
    found = mshub.classify(network, DEMO)
    assert isinstance(found, mshub.Classification)
    assert len(found) == 3, "the five best of three classes are three"
    assert set(found.names) == {"ant", "bee", "cicada"}
    assert found.scores.sum() == pytest.approx(1, abs=1e-6)

    picture = pictures.read_image(DEMO)
    np.testing.assert_array_equal(found.image, picture)
    logits = network(mindspore.Tensor(preprocess(picture, network.config))).asnumpy()
    assert rank(network.config, logits, picture).to_dict() == found.to_dict()
    with Image.open(DEMO) as opened:
        forms = [str(DEMO), opened.convert("RGB"), picture]
    assert all(mshub.classify(network, form).to_dict() == found.to_dict() for form in forms)
    # By the uid it is the same network, on whichever engine.
    best = mshub.classify(uid, DEMO, top_k=1)
    assert best.names == found.names[:1]
    np.testing.assert_allclose(best.scores, found.scores[:1], atol=1e-5)

    network.set_train(True)
    with pytest.raises(UsageError, match="training mode"):
        mshub.classify(network, DEMO)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_graph_takes_the_size_it_was_recorded_for_and_says_what_takes_the_other(
    uid: str, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(engine)
    rng = np.random.default_rng(0)
    usual, other, none = (rng.normal(size=(2, 3, side, side)).astype(np.float32) for side in (224, 180, 200))
    compiled, cell = mshub.compile(uid, engine), mshub.compile(uid, "mindspore")
    assert compiled.config.input_sizes == (224, 180)
    np.testing.assert_allclose(compiled(usual), cell(usual), atol=1e-4)
    for call in (lambda: compiled(other), lambda: compiled.map([usual, other])):
        with pytest.raises(UsageError, match=f"inputs of this size on {engine}") as caught:
            call()
        assert caught.value.got == "float32 [2, 3, 180, 180]"
        assert 'engine="mindspore" takes it' in str(caught.value.hint)
    assert cell(other).shape == (2, 3)
    for either in (compiled, cell):
        with pytest.raises(UsageError, match="inputs of this size") as caught:
            either(none)
        assert "classify" in str(caught.value.hint)
    # Below that door, too, what MindSpore's compiler cannot make of another size is told by the Cell itself.
    runner = engines.cell_runner(mshub.load(uid))
    runner.run(usual)
    monkeypatch.chdir(tmp_path)  # for what the compiler leaves
    with pytest.raises(UsageError, match="does not take an input of this shape"):
        runner.run(none)
    assert runner.run(other).shape == (2, 3)


def test_each_function_names_the_other_for_the_others_networks(uid: str) -> None:
    import mindspore

    network = mshub.load(uid)
    for wrong in (uid, network):
        with pytest.raises(UsageError, match=r"mshub_ssd\.classify"):
            mshub.detect(wrong, DEMO)
        with pytest.raises(UsageError, match=r"mshub_ssd\.classify"):
            mshub.postprocess(wrong, (np.zeros((1, 2, 4)), np.zeros((1, 2, 3))), (10, 10))
    detector = networks.constructor("ssd_mobilenetV2")(
        num_classes=3,
        image_size=64,
        stem_channels=8,
        blocks=[[1, 8, 1, 1], [4, 16, 1, 2]],
        last_channels=16,
        taps=[],
        extras=[],
        box_sizes=[[[0.3, 0.3]]],
    ).set_train(False)
    with pytest.raises(UsageError, match=r"mshub_ssd\.detect"):
        mshub.classify(detector, DEMO)
    with pytest.raises(UsageError, match="no configuration"):
        mshub.classify(mindspore.nn.ReLU(), DEMO)
    with pytest.raises(ImageError, match=r"nothing\.png"):
        mshub.classify(network, "nothing.png")


def test_the_command_prints_what_the_library_says(uid: str, tmp_path: Path) -> None:
    found = mshub.classify(uid, DEMO, top_k=2)
    out = tmp_path / "out.png"
    result = run("classify", DEMO, "--model", uid, "--top-k", 2, "--out", out)
    assert (result.exit_code, result.stderr) == (0, "")
    head, *rows = [line.split() for line in result.stdout.splitlines() if line]
    assert head == ["score", "label", "name"]
    assert rows == [*([f"{row.score:.3f}", str(row.label), row.name] for row in found), ["wrote", str(out)]]
    with Image.open(out) as drawn:
        np.testing.assert_array_equal(np.asarray(drawn), np.asarray(found.draw()))

    result = run("classify", DEMO, "--model", uid, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert answer["classes"] == mshub.classify(uid, DEMO).to_dict()["classes"]
    assert answer["image"] == {"path": str(DEMO), "width": 640, "height": 480}
    assert (answer["model"], answer["out"]) == (uid, None)


def test_the_commands_refuse_what_they_cannot_use(uid: str) -> None:
    result = run("detect", DEMO, "--model", uid)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "mshub classify" in result.stderr
    for args in (["--top-k", "0"], ["--top-k", "x"], ["--out", "out.xyz"]):
        result = run("classify", DEMO, "--model", uid, *args)
        assert (result.exit_code, result.stdout) == (2, "")
    assert f"classify picture.jpg --model {uid}" in run("info", uid).stdout


def test_a_classifier_is_served(uid: str, tmp_path: Path) -> None:
    with servelab.Server("--top-k", 2, home=tmp_path / "home", model=uid) as server:
        row = row_of(mshub.classify(uid, DEMO, top_k=2), None)
        answer = server.ask("POST", "/v1/classify", DEMO.read_bytes())
        assert (answer.status, answer.json) == (200, {**row, "size": [480, 640]})
        assert len(server.ask("POST", "/v1/classify?top_k=3", DEMO.read_bytes()).json["classes"]) == 3
        drawn = server.ask("POST", "/v1/classify?draw=jpeg", DEMO.read_bytes())
        assert (drawn.headers["content-type"], drawn.body[:2]) == ("image/jpeg", b"\xff\xd8")
        model = server.ask("GET", "/v1/model").json
        assert (model["kind"], model["path"], model["score_threshold"]) == ("classifier", "v1/classify", None)
        assert server.detect(DEMO.read_bytes()).code == "wrong-kind"
        assert server.ask("POST", "/v1/classify?classes=1", b"").code == "unknown-parameter"
        assert server.stop() == 0
