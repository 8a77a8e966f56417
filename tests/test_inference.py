"""From a picture to detections, through the public doors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mshub_ssd as mshub
from mshub_ssd import families, pictures
from mshub_ssd.errors import ImageError, UsageError

mindspore = pytest.importorskip("mindspore")

DIGITS = "mshub/1.0/ssdmobilenetv2_digits"
DEMO = Path(mshub.__file__).parent / "cli" / "demo_digits.png"


@pytest.fixture(scope="module")
def network():
    return mshub.load(DIGITS)


def alike(first: mshub.Detections, second: mshub.Detections) -> None:
    """The same, but for the last digits of another engine."""
    assert first.names == second.names
    np.testing.assert_allclose(first.boxes, second.boxes, atol=1e-2)
    np.testing.assert_allclose(first.scores, second.scores, atol=1e-4)


def test_the_bundled_detector_finds_digits(network) -> None:
    found = mshub.detect(network, DEMO)
    assert len(found) >= 5
    assert set(found.names) <= set("0123456789")
    height, width = found.image_size
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [width, height, width, height]).all()
    assert (np.diff(found.scores) <= 0).all()
    assert all(name == network.config.class_names[label] for name, label in zip(found.names, found.labels, strict=True))


def test_every_form_of_a_picture_gives_the_same_detections(network) -> None:
    with Image.open(DEMO) as opened:
        picture = opened.convert("RGB")
    forms = [str(DEMO), DEMO, picture, np.asarray(picture)]
    results = [mshub.detect(network, form).to_dict() for form in forms]
    assert all(result == results[0] for result in results)


def test_a_uid_works_as_well_and_is_loaded_once(network, monkeypatch: pytest.MonkeyPatch) -> None:
    first = mshub.detect(DIGITS, DEMO)
    monkeypatch.setattr(mshub.Hub, "open_pipeline", lambda *_: pytest.fail("loaded again"))
    second = mshub.detect(DIGITS, DEMO)
    assert first.to_dict() == second.to_dict()
    alike(first, mshub.detect(network, DEMO))


def test_detect_is_preprocessing_network_and_postprocess(network) -> None:
    picture = pictures.read_image(DEMO)
    outputs = network(mindspore.Tensor(families.of(network.config).preprocess(picture)[0]))
    by_hand = mshub.postprocess(network, outputs, picture.shape[:2])
    arrays = tuple(output.asnumpy() for output in outputs)
    assert by_hand.to_dict() == mshub.postprocess(network, arrays, picture.shape[:2]).to_dict()
    assert by_hand.to_dict() == mshub.detect(network, DEMO).to_dict()


def test_postprocess_takes_a_batch(network) -> None:
    pixels = pictures.read_image(DEMO)
    shots, family = [pixels, np.ascontiguousarray(pixels[:300, 100:])], families.of(network.config)
    batch = np.concatenate([family.preprocess(shot)[0] for shot in shots])
    outputs, sizes = network(mindspore.Tensor(batch)), [shot.shape[:2] for shot in shots]
    for given in (sizes, np.array(sizes)):
        found = mshub.postprocess(network, outputs, given, max_detections=100)
        for one, shot in zip(found, shots, strict=True):
            alike(one, mshub.detect(network, shot))
            assert one.image_size == shot.shape[:2]
    with pytest.raises(UsageError, match="so many pictures"):
        mshub.postprocess(network, outputs, sizes * 2)


def test_thresholds_and_limits_are_honoured(network) -> None:
    usual = mshub.detect(network, DEMO)
    lower = mshub.detect(network, DEMO, score_threshold=0.005)
    assert len(lower) > len(usual)
    assert lower.scores.min() < network.config.score_threshold
    higher = mshub.detect(network, DEMO, score_threshold=0.9)
    assert (higher.scores > 0.9).all()
    best = mshub.detect(network, DEMO, max_detections=3)
    np.testing.assert_array_equal(best.scores, usual.scores[:3])


def test_detections_draw_themselves(network, tmp_path: Path) -> None:
    found = mshub.detect(network, DEMO)
    assert found._repr_png_().startswith(b"\x89PNG")
    found.save(tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as drawn:
        assert drawn.size == (found.image_size[1], found.image_size[0])


def test_bad_input_is_refused(network) -> None:
    with pytest.raises(ImageError, match=r"nothing\.png"):
        mshub.detect(network, "nothing.png")
    with pytest.raises(ImageError):
        mshub.detect(network, np.zeros((3, 5), np.float64))
    with pytest.raises(UsageError, match="pair"):
        mshub.postprocess(network, np.zeros((1, 2, 4)), (10, 10))
    with pytest.raises(UsageError):
        mshub.postprocess(network, (np.zeros((1, 2, 4)), np.zeros((1, 2, 11))), (10, 10))
