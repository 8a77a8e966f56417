"""Train the digit detector that ships with the package, or measure it again.

    python examples/train_digits.py                # about 45 minutes on two cores
    python examples/train_digits.py --evaluate     # the card's figures, from the published checkpoint

Both need ``pip install -e ".[mindspore,train]"``; ``.[openvino,train]`` will do for the second. Everything follows
from ``--seed``; MindSpore may still differ in the last bits from one machine to the next.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import itertools
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import digits_scenes
import numpy as np
from digits_scenes import ANOTHER_WAY, HELD_OUT, TRAINING, Scene, Style, load_digits
from numpy.typing import NDArray
from tqdm import tqdm

import mshub_ssd as mshub
from mshub_ssd import cpu, families, networks
from mshub_ssd.networks.ssd.matching import match_batch

UID = "mshub/1.0/ssdmobilenetv2_digits"
CLASSES = [str(digit) for digit in range(10)]
# The card's `network:` without its name. The anchors are clusters of the training scenes' boxes.
NETWORK: dict[str, Any] = {
    "num_classes": 11,
    "image_size": 160,
    "stem_channels": 16,
    "blocks": [[2, 24, 2, 2], [3, 64, 3, 2], [2, 128, 4, 2], [2, 160, 2, 1]],
    "last_channels": 256,
    "taps": [[5, 160]],
    "extras": [],
    "box_sizes": [
        [[0.084, 0.151], [0.118, 0.152], [0.116, 0.238], [0.155, 0.196], [0.168, 0.261]],
        [
            [0.176, 0.343],
            [0.229, 0.268],
            [0.246, 0.357],
            [0.210, 0.455],
            [0.329, 0.334],
            [0.288, 0.458],
            [0.360, 0.498],
        ],
    ],
    "depthwise_head": True,
    "score_threshold": 0.3,
}
# A curve of precision and recall needs the unlikely detections too, which nobody wants to see drawn.
CURVE_THRESHOLD = 0.05
# Held-out scenes must not share random numbers with training scenes, whatever --seed.
EVALUATION_SEED = 10_000_019


@dataclass(frozen=True)
class Figures:
    """What COCO's evaluation says: mAP at an IoU of 0.5 and the mean over 0.5 to 0.95."""

    map50: float
    map: float
    scenes: int
    digits: int


@dataclass(frozen=True)
class Phase:
    """A stretch of the training with a schedule of its own.

    Attributes:
        steps: Its length.
        rate: Highest learning rate.
        gamma: Of the focal loss.
        class_weight: Weight of the focal loss.
    """

    steps: int
    rate: float
    gamma: float
    class_weight: float


Batch = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int32]]


def make_batch(number: int, *, seed: int, size: int, image_size: int, anchors: NDArray[np.float32]) -> Batch:
    """Batch `number` of the training: pictures [B, 3, S, S] and their targets."""
    digits, _ = load_digits()
    pictures, objects = [], []
    for scene in digits_scenes.scenes(digits, TRAINING, size, seed=seed, start=number * size):
        height, width = scene.image.shape[:2]
        pictures.append(cv2.resize(scene.image, (image_size, image_size), interpolation=cv2.INTER_LINEAR))
        relative = scene.boxes[:, [1, 0, 3, 2]] / np.float32([height, width, height, width])
        objects.append((relative, scene.labels + 1))
    targets = match_batch(objects, anchors)
    return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2)), targets.locations, targets.labels


def _produce(queue: Any, start: int, stop: int, options: dict[str, Any]) -> None:
    cv2.setNumThreads(1)
    for number in range(start, stop):
        queue.put(make_batch(number, **options))


def batches(first: int, steps: int, **options: Any) -> Iterator[Batch]:
    """The training's batches in order, composed by a second process ahead of time."""
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue(maxsize=24)
    worker = context.Process(target=_produce, args=(queue, first, first + steps, options), daemon=True)
    worker.start()
    try:
        for _ in range(steps):
            yield queue.get(timeout=120)
    finally:
        worker.terminate()
        worker.join()


def train(network: Any, out: Path, phase: Phase, *, first: int, seed: int, batch_size: int, image_size: int) -> None:
    """One phase of the training, on batches `first` to ``first + phase.steps - 1``; ends with a checkpoint."""
    import mindspore as ms
    from mindspore import nn

    from mshub_ssd.networks.ssd.loss import FocalSSDLoss, WithLoss

    steps, anchors = phase.steps, network.config.anchors
    loss = FocalSSDLoss(
        gamma=phase.gamma,
        alpha=0.5,
        class_weight=phase.class_weight,
        location_weight=0.5,
        iou_weight=1.5,
        anchors=anchors,
        beta=0.4,
    )
    warm_up = min(200, max(1, steps // 10))
    ramp = np.minimum(1, (np.arange(steps) + 1) / warm_up)
    decay = 0.5 * (1 + np.cos(np.pi * np.clip((np.arange(steps) - warm_up) / max(1, steps - warm_up), 0, 1)))
    rates = (phase.rate * ramp * decay).astype(np.float32)
    optimizer = nn.Adam(network.trainable_params(), ms.Tensor(rates))
    cell = nn.TrainOneStepCell(WithLoss(network, loss), optimizer).set_train()

    mean = np.float32(network.config.mean).reshape(3, 1, 1)
    std = np.float32(network.config.std).reshape(3, 1, 1)
    source = batches(first, steps, seed=seed, size=batch_size, image_size=image_size, anchors=anchors)
    with tqdm(total=steps, unit="step", smoothing=0.05) as bar:
        for step, (pictures, locations, labels) in enumerate(source, start=1):
            value = cell(ms.Tensor((pictures - mean) / std), ms.Tensor(locations), ms.Tensor(labels))
            bar.update()
            # Reading the loss waits for the step to end, which costs speed.
            if step % 50 == 0 or step == steps:
                bar.set_postfix_str(f"loss {float(value.asnumpy()):.3f}")
            if step % 500 == 0 or step == steps:
                save(network, out)


def build(image_size: int | None = None) -> Any:
    """The network with random weights."""
    from mindspore import ops

    from mshub_ssd.networks.ssd.variants import ssd_mobilenet_v2

    network = ssd_mobilenet_v2(**{**NETWORK, "image_size": image_size or NETWORK["image_size"], "classes": CLASSES})
    for name, parameter in network.parameters_and_names():
        # At the start nearly every anchor is background, so say so: the first losses stay small.
        if "multi_cls_layers" in name and name.endswith(".3.bias"):
            parameter.set_data(ops.full_like(parameter, -4.0))
    return network


def evaluate(
    network: Any,
    style: Style,
    count: int,
    *,
    seed: int = EVALUATION_SEED,
    score_threshold: float = CURVE_THRESHOLD,
    quiet: bool = False,
) -> Figures:
    """Measure a compiled network on `count` scenes of held-out digits, as COCO measures it.

    Boxes are in pixels of each scene.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    _, digits = load_digits()
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    todo = digits_scenes.scenes(digits, style, count, seed=seed)
    with tqdm(total=count, unit="scene", disable=quiet) as bar:
        while chunk := list(itertools.islice(todo, 20)):
            for scene, detections in zip(chunk, detect_all(network, chunk, score_threshold), strict=True):
                number = len(images) + 1
                images.append({"id": number, "height": scene.image.shape[0], "width": scene.image.shape[1]})
                objects += ground_truth(scene, number, first_id=len(objects) + 1)
                found += detections.to_coco(number)
            bar.update(len(chunk))
    if not found:
        return Figures(0.0, 0.0, count, len(objects))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": images,
            "annotations": objects,
            "categories": [{"id": label + 1, "name": name} for label, name in enumerate(CLASSES)],
        }
        truth.createIndex()
        scoring = COCOeval(truth, truth.loadRes(found), "bbox")
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    return Figures(float(scoring.stats[1]), float(scoring.stats[0]), count, len(objects))


def detect_all(network: Any, scenes: list[Scene], score_threshold: float | None = None) -> list[mshub.Detections]:
    """Detections on each scene, in one pass through the network."""
    family = families.of(network.config)
    options = family.options(score_threshold=score_threshold, max_detections=None)
    inputs, transforms = zip(*(family.preprocess(scene.image) for scene in scenes), strict=True)
    return family.postprocess(network(np.concatenate(inputs)), transforms, options)


def ground_truth(scene: Scene, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """A scene's digits as COCO annotations."""
    rows = []
    for i, ((x1, y1, x2, y2), label) in enumerate(zip(scene.boxes.tolist(), scene.labels.tolist(), strict=True)):
        width, height = x2 - x1, y2 - y1
        rows.append(
            {
                "id": first_id + i,
                "image_id": image_id,
                "category_id": label + 1,
                "bbox": [x1, y1, width, height],
                "area": width * height,
                "iscrowd": 0,
            }
        )
    return rows


def report(network: Any, count: int) -> None:
    """Measure and print the card's table."""
    for name, style in [("held-out scenes", HELD_OUT), ("scenes made another way", ANOTHER_WAY)]:
        for threshold in (CURVE_THRESHOLD, network.config.score_threshold):
            started = time.perf_counter()
            figures = evaluate(network, style, count, score_threshold=threshold)
            print(
                f"{figures.scenes} {name}, {figures.digits} digits, scores above {threshold:g}: mAP@0.5 "
                f"{figures.map50:.4f}, mAP@[.5:.95] {figures.map:.4f} ({time.perf_counter() - started:.0f} s)"
            )


def save(network: Any, path: Path) -> None:
    """Write the bare network's checkpoint, whole or not at all."""
    import mindspore as ms

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.partial.ckpt")
    partial.unlink(missing_ok=True)
    ms.save_checkpoint(network, str(partial))
    partial.chmod(0o644)  # MindSpore leaves 0400
    partial.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluate", action="store_true", help="measure the published checkpoint, train nothing")
    parser.add_argument("--checkpoint", type=Path, help="with --evaluate: measure this file instead")
    parser.add_argument("--engine", default="auto", help="what runs the network that is measured")
    parser.add_argument("--precision", default="f32", help="what it computes in, f32 or bf16")
    parser.add_argument("--scenes", type=int, default=500, help="scenes to measure on, of each kind")
    parser.add_argument("--steps", type=int, default=3200, help="training steps")
    parser.add_argument("--finish", type=int, default=800, help="further steps that sharpen the scores")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights and training scenes")
    parser.add_argument("--image-size", type=int, default=NETWORK["image_size"], help="side of the input in pixels")
    parser.add_argument("--batch-size", type=int, default=16, help="scenes per step")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--out", type=Path, default=Path("ssdmobilenetv2_digits.ckpt"), help="checkpoint to write")
    options = parser.parse_args()

    if options.evaluate and options.checkpoint is None:
        report(mshub.compile(UID, options.engine, options.precision), options.scenes)
        return
    networks.require_mindspore()
    cpu.ensure_fast_cpu()
    import mindspore as ms

    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_seed(options.seed)
    network = build(options.image_size)
    if options.evaluate:
        missing, unused = ms.load_param_into_net(network, ms.load_checkpoint(str(options.checkpoint)), True)
        if missing or unused:
            parser.error(f"{options.checkpoint} does not fit this network: {[*missing, *unused][:3]}")
    else:
        size = sum(parameter.size for parameter in network.get_parameters())
        print(f"{size:,} parameters, {len(network.config.anchors):,} anchors, {options.batch_size} scenes a step")
        # The focal loss leaves wrong classes at scores around a third; a milder one at the end sends them down.
        phases = [
            Phase(options.steps, options.rate, gamma=2.0, class_weight=4.0),
            Phase(options.finish, options.rate / 4, gamma=1.0, class_weight=2.0),
        ]
        first = 0
        for phase in phases:
            shape = {"batch_size": options.batch_size, "image_size": options.image_size}
            if phase.steps:
                train(network, options.out, phase, first=first, seed=options.seed, **shape)
            first += phase.steps
        print(f"{options.out}: sha256 {hashlib.sha256(options.out.read_bytes()).hexdigest()}")
    report(mshub.compile(network.set_train(False), options.engine, options.precision), options.scenes)


if __name__ == "__main__":
    main()
