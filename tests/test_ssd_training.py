"""Box matching and the losses of single-shot detectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mshub_ssd.errors import UsageError
from mshub_ssd.networks.ssd.anchors import LevelAnchors
from mshub_ssd.networks.ssd.boxes import corners, decode, encode, iou
from mshub_ssd.networks.ssd.matching import assign, match, match_batch

ANCHORS = LevelAnchors(
    64, (4, 2), (16.0, 32.0), (((0.2, 0.2), (0.2, 0.4)), ((0.5, 0.5), (0.3, 0.6), (0.6, 0.3)))
).boxes()


@st.composite
def objects(draw: st.DrawFn, least: int = 0, most: int = 8) -> tuple[Any, Any]:
    """Boxes inside the picture, of at least 2 % of its side, and their labels."""
    count = draw(st.integers(least, most))
    unit = st.floats(0, 1, width=32)
    low = draw(arrays(np.float32, (count, 2), elements=unit)) * np.float32(0.9)
    size = np.float32(0.02) + draw(arrays(np.float32, (count, 2), elements=unit)) * (np.float32(0.97) - low)
    labels = draw(arrays(np.int64, count, elements=st.integers(1, 10)))
    return np.concatenate([low, low + size], axis=1), labels


@given(objects(least=1))
def test_every_object_gets_an_anchor_and_no_anchor_prefers_another(sample: tuple[Any, Any]) -> None:
    boxes, _ = sample
    overlaps = iou(corners(ANCHORS), boxes)
    chosen = assign(overlaps, 0.5)
    assert set(range(len(boxes))) <= set(chosen.tolist())
    # Whatever overlaps an object well enough is positive; what does not was some object's last resort.
    assert (chosen[overlaps.max(axis=1) >= 0.5] >= 0).all()
    weak = chosen[(overlaps.max(axis=1) < 0.5) & (chosen >= 0)]
    assert len(weak) == len(set(weak.tolist()))


@given(objects(least=1, most=1))
def test_a_single_object_gets_its_best_anchor(sample: tuple[Any, Any]) -> None:
    overlaps = iou(corners(ANCHORS), sample[0])
    assert assign(overlaps)[overlaps[:, 0].argmax()] == 0


@given(objects())
def test_the_targets_decode_to_the_objects(sample: tuple[Any, Any]) -> None:
    boxes, labels = sample
    targets = match(boxes, labels, ANCHORS)
    assert targets.positives >= len(boxes)
    assert targets.locations.dtype == np.float32
    assert targets.labels.dtype == np.int32
    decoded = decode(targets.locations, ANCHORS, clip=False)
    for anchor in np.flatnonzero(targets.labels):
        distance = np.abs(boxes - decoded[anchor]).max(axis=1)
        assert distance.min() < 1e-5
        assert targets.labels[anchor] in labels[distance < 1e-5]
    assert not targets.locations[targets.labels == 0].any()


@given(objects(least=1))
def test_decoding_undoes_encoding(sample: tuple[Any, Any]) -> None:
    boxes = np.resize(sample[0], (len(ANCHORS), 4))
    np.testing.assert_allclose(decode(encode(boxes, ANCHORS), ANCHORS, clip=False), boxes, atol=1e-5)


def test_the_better_pair_wins_a_shared_best_anchor() -> None:
    overlaps = np.float32([[0.4, 0.3], [0.1, 0.2], [0.0, 0.0]])
    assert assign(overlaps).tolist() == [0, 1, -1]


def test_anchors_between_the_thresholds_are_ignored() -> None:
    overlaps = np.float32([[0.9], [0.45], [0.2]])
    assert assign(overlaps, 0.5, ignore=0.4).tolist() == [0, -2, -1]
    anchors = np.float32([[0.5, 0.5, 0.4, 0.4], [0.5, 0.5, 0.27, 0.27], [0.1, 0.1, 0.1, 0.1]])
    targets = match(np.float32([[0.3, 0.3, 0.7, 0.7]]), [3], anchors, ignore=0.4)
    assert targets.labels.tolist() == [3, -1, 0]


def test_a_batch_is_its_pictures() -> None:
    one = (np.float32([[0.1, 0.1, 0.6, 0.6]]), [4])
    none = (np.zeros((0, 4), np.float32), [])
    targets = match_batch([one, none], ANCHORS)
    assert targets.locations.shape == (2, len(ANCHORS), 4)
    assert set(targets.labels[0].tolist()) == {0, 4}
    assert not targets.labels[1].any()
    np.testing.assert_array_equal(targets.locations[0], match(*one, ANCHORS).locations)


@pytest.mark.parametrize(
    ("boxes", "labels", "words"),
    [
        ([[0.5, 0.5, 0.5, 0.9]], [1], "empty or not finite"),
        ([[0.1, 0.1, float("nan"), 0.9]], [1], "empty or not finite"),
        ([[0.1, 0.1, 0.9, 0.9]], [0], "not an object's"),
        ([[0.1, 0.1, 0.9, 0.9]], [1, 2], "every box needs a label"),
        ([[0.1, 0.1, 0.9, 0.9]] * (len(ANCHORS) + 1), [1] * (len(ANCHORS) + 1), "more objects than anchors"),
    ],
)
def test_unsound_objects_are_refused(boxes: Any, labels: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        match(np.float32(boxes), labels, ANCHORS)


# ------------------------------------------------------------------------------------------------ losses


@pytest.fixture(scope="module", params=["GRAPH_MODE", "PYNATIVE_MODE"])
def mindspore(request: pytest.FixtureRequest) -> Any:
    ms = pytest.importorskip("mindspore")
    before = ms.get_context("mode")
    ms.set_context(mode=getattr(ms, request.param))
    yield ms
    ms.set_context(mode=before)


def sample(seed: int = 0, batch: int = 3, classes: int = 5) -> tuple[Any, ...]:
    """Predictions and targets of a batch: pictures with objects, and a last one without."""
    rng = np.random.default_rng(seed)
    shape = (batch, len(ANCHORS))
    pred_loc = rng.normal(0, 1.5, (*shape, 4)).astype(np.float32)
    logits = rng.normal(0, 3, (*shape, classes)).astype(np.float32)
    labels = np.where(rng.random(shape) < 0.1, rng.integers(1, classes, shape), 0).astype(np.int32)
    labels[:, 5] = -1
    labels[-1] = 0
    locations = np.where(labels[..., None] > 0, rng.normal(0, 1, (*shape, 4)), 0).astype(np.float32)
    return pred_loc, logits, locations, labels


def smooth_l1(difference: Any, beta: float) -> Any:
    size = np.abs(difference)
    return np.where(size < beta, size**2 / (2 * beta), size - beta / 2)


def focal(logits: Any, targets: Any, gamma: float, alpha: float) -> Any:
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return np.where(targets > 0, -alpha * (1 - p) ** gamma * np.log(p), -(1 - alpha) * p**gamma * np.log(1 - p))


def giou(a: Any, b: Any) -> float:
    """Of two boxes (y1, x1, y2, x2), in plain Python."""
    overlap = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - overlap
    around = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return overlap / union - (around - union) / around


def test_the_focal_loss_is_the_papers(mindspore: Any) -> None:
    from mshub_ssd.networks.ssd.loss import SigmoidFocalLoss

    rng = np.random.default_rng(1)
    logits = rng.normal(0, 4, (6, 7)).astype(np.float32)
    targets = (rng.random((6, 7)) < 0.4).astype(np.float32)
    got = SigmoidFocalLoss(1.5, 0.3)(mindspore.Tensor(logits), mindspore.Tensor(targets)).asnumpy()
    np.testing.assert_allclose(got, focal(logits, targets, 1.5, 0.3), rtol=2e-4, atol=1e-6)


def test_wild_logits_give_finite_losses_and_gradients(mindspore: Any) -> None:
    from mshub_ssd.networks.ssd.loss import FocalSSDLoss

    pred_loc, logits, locations, labels = sample()
    loss = FocalSSDLoss(iou_weight=1.0, anchors=ANCHORS)
    inputs = [mindspore.Tensor(x) for x in (pred_loc * 100, logits * 1000, locations, labels)]
    value, gradients = mindspore.value_and_grad(loss, grad_position=(0, 1))(*inputs)
    assert np.isfinite(value.asnumpy())
    assert all(np.isfinite(gradient.asnumpy()).all() for gradient in gradients)


def test_smooth_l1_is_quadratic_then_linear(mindspore: Any) -> None:
    from mshub_ssd.networks.ssd.loss import SmoothL1

    x = np.linspace(-3, 3, 25, dtype=np.float32)
    got = SmoothL1(0.5)(mindspore.Tensor(x), mindspore.Tensor(np.zeros_like(x))).asnumpy()
    np.testing.assert_allclose(got, smooth_l1(x, 0.5), atol=1e-6)


def test_the_iou_loss_is_one_minus_giou(mindspore: Any) -> None:
    from mshub_ssd.networks.ssd.loss import BoxIoULoss

    pred_loc, _, locations, _ = sample()
    got = BoxIoULoss(ANCHORS)(mindspore.Tensor(pred_loc), mindspore.Tensor(locations)).asnumpy()
    a, b = decode(pred_loc, ANCHORS, clip=False), decode(locations, ANCHORS, clip=False)
    expected = [[1 - giou(x, y) for x, y in zip(*rows, strict=True)] for rows in zip(a, b, strict=True)]
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize(("ratio", "minimum"), [(3.0, 0), (1.5, 4), (100.0, 0)])
def test_mining_takes_the_hardest_background(mindspore: Any, ratio: float, minimum: int) -> None:
    from mshub_ssd.networks.ssd.loss import HardNegativeMining

    _, _, _, labels = sample(seed=3)
    losses = np.random.default_rng(4).random(labels.shape).astype(np.float32)
    mining = HardNegativeMining(ratio, minimum)
    mask = mining(mindspore.Tensor(losses), mindspore.Tensor(labels)).asnumpy()
    for loss, label, taken in zip(losses, labels, mask, strict=True):
        background = label == 0
        quota = min(background.sum(), max(np.ceil(ratio * (label > 0).sum()), minimum))
        assert taken.sum() == quota
        assert not taken[~background].any()
        if 0 < quota < background.sum():
            assert loss[taken > 0].min() > loss[background & (taken == 0)].max()


def test_the_multibox_loss_is_the_papers(mindspore: Any) -> None:
    from mshub_ssd.networks.ssd.loss import MultiBoxLoss

    pred_loc, logits, locations, labels = sample(seed=5)
    loss = MultiBoxLoss(ratio=2.0, location_weight=0.7)
    got = float(loss(*(mindspore.Tensor(x) for x in (pred_loc, logits, locations, labels))).asnumpy())
    shifted = logits.astype(np.float64)
    entropy = np.log(np.exp(shifted).sum(-1)) - np.take_along_axis(
        shifted, np.maximum(labels, 0)[..., None], -1
    ).squeeze(-1)
    total = (smooth_l1(pred_loc - locations, 1.0).sum(-1) * (labels > 0)).sum() * 0.7
    for row, label in zip(entropy, labels, strict=True):
        negatives = np.sort(row[label == 0])[::-1][: 2 * (label > 0).sum()]
        total += row[label > 0].sum() + negatives.sum()
    assert got == pytest.approx(total / (labels > 0).sum(), rel=1e-4)


def test_the_focal_ssd_loss_is_the_sum_of_its_parts(mindspore: Any) -> None:
    from mshub_ssd.networks.ssd.loss import FocalSSDLoss

    pred_loc, logits, locations, labels = sample(seed=6)
    loss = FocalSSDLoss(2.0, 0.4, class_weight=3.0, location_weight=0.5, iou_weight=1.5, anchors=ANCHORS, beta=0.4)
    tensors = [mindspore.Tensor(x) for x in (pred_loc, logits, locations, labels)]
    hot = np.eye(logits.shape[-1])[np.maximum(labels, 0)]
    total = 3.0 * (focal(logits, hot, 2.0, 0.4)[..., 1:].sum(-1) * (labels >= 0)).sum()
    total += 0.5 * (smooth_l1(pred_loc - locations, 0.4).sum(-1) * (labels > 0)).sum()
    a, b = decode(pred_loc, ANCHORS, clip=False), decode(locations, ANCHORS, clip=False)
    for picture, anchor in zip(*np.nonzero(labels > 0), strict=True):
        total += 1.5 * (1 - giou(a[picture, anchor], b[picture, anchor]))
    assert float(loss(*tensors).asnumpy()) == pytest.approx(total / (labels > 0).sum(), rel=1e-4)


def test_the_iou_loss_asks_for_the_anchors() -> None:
    pytest.importorskip("mindspore")
    from mshub_ssd.networks.ssd.loss import FocalSSDLoss

    with pytest.raises(UsageError, match="needs the anchors"):
        FocalSSDLoss(iou_weight=1.0)


@pytest.mark.slow  # training as a whole: test_finetuning.py
@pytest.mark.parametrize("kind", ["focal", "multibox"])
def test_a_few_steps_lower_the_loss(kind: str) -> None:
    ms = pytest.importorskip("mindspore")
    from mindspore import nn

    from mshub_ssd.networks.ssd.loss import FocalSSDLoss, MultiBoxLoss, WithLoss
    from mshub_ssd.networks.ssd.variants import ssd_mobilenet_v2

    ms.set_seed(3)
    network = ssd_mobilenet_v2(
        4,
        image_size=64,
        stem_channels=8,
        blocks=((2, 8, 1, 2), (2, 16, 1, 2)),
        last_channels=16,
        taps=((1, 16),),
        extras=(),
        box_sizes=(((0.2, 0.2),), ((0.4, 0.4),)),
        depthwise_head=True,
    )
    names = [parameter.name for parameter in network.get_parameters()]
    loss = MultiBoxLoss() if kind == "multibox" else FocalSSDLoss()
    cell = nn.TrainOneStepCell(WithLoss(network, loss), nn.Adam(network.trainable_params(), 5e-3)).set_train()
    rng = np.random.default_rng(0)
    boxes = [np.float32([[0.1, 0.2, 0.4, 0.5]]), np.float32([[0.4, 0.4, 0.9, 0.8]])]
    targets = match_batch([(box, [i + 1]) for i, box in enumerate(boxes)], network.config.anchors)
    pictures = rng.normal(0, 0.1, (2, 3, 64, 64)).astype(np.float32)
    pictures[0, :, 6:26, 13:32] += 1
    pictures[1, :, 26:58, 26:51] -= 1
    inputs = [ms.Tensor(x) for x in (pictures, targets.locations, targets.labels)]
    losses = [float(cell(*inputs).asnumpy()) for _ in range(12)]
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.7 * losses[0]
    # What is saved from the bare network afterwards must carry no wrapper's prefix.
    assert [parameter.name for parameter in network.get_parameters()] == names
    assert names[0].startswith("backbone.")
