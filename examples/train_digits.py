"""Train the digit detector that ships with the package, or measure it again.

    python examples/train_digits.py                # about 45 minutes on two cores
    python examples/train_digits.py --evaluate     # the card's figures, from the published checkpoint

Both need ``pip install -e ".[mindspore,train]"``; ``.[openvino,train]`` will do for the second. It is `mshub.finetune`
on scenes that are composed while it runs: once with a strong focal loss, and then with a milder one, which sends the
scores of wrong classes down. Everything follows from ``--seed``; killed, it goes on with ``--resume``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import digits_scenes
import numpy as np
from coco_scenes import Scene
from digits_scenes import ANOTHER_WAY, EVALUATION_SEED, HELD_OUT, TRAINING, Digits, Style, load_digits
from tqdm import tqdm

import mshub_ssd as mshub
from mshub_ssd import families
from mshub_ssd.training import Augmentation, Loss, Sample

UID = "mshub/1.0/ssdmobilenetv2_digits"
CLASSES = [str(digit) for digit in range(10)]
# A curve of precision and recall needs the unlikely detections too, which nobody wants to see drawn.
CURVE_THRESHOLD = 0.05


@dataclass(frozen=True)
class Figures:
    """What COCO's evaluation says: mAP at an IoU of 0.5 and the mean over 0.5 to 0.95."""

    map50: float
    map: float
    scenes: int
    digits: int


class Scenes:
    """Scenes of the training digits, each composed when it is asked for.

    Args:
        count: How many.
        seed: What they follow from.
        start: The number of the first one.
    """

    classes = CLASSES
    name = "digits"

    def __init__(self, count: int, seed: int, start: int = 0) -> None:
        self._count, self._seed, self._start = count, seed, start
        self._digits: Digits = load_digits()[0]

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int, /) -> Sample:
        scene = digits_scenes.compose(np.random.default_rng((self._seed, self._start + index)), self._digits, TRAINING)
        return Sample(scene.image, scene.boxes, scene.labels)


def train(model: str | Path, out: Path, options: argparse.Namespace) -> mshub.Tuned:
    """The two parts of the training; what the second came to."""
    # They choose the step, so they are of digits to learn from.
    measured = digits_scenes.write(out / "measured", "training", 100, seed=options.seed + 1_000_003)
    chosen = {
        "val_annotations": measured,
        "val_images": measured.with_suffix(""),
        "batch_size": options.batch_size,
        "seed": options.seed,
        # Scenes differ enough as they are.
        "augmentation": Augmentation(crop=0, zoom_out=0, colour=0),
        "resume": options.resume,
    }
    first = mshub.finetune(
        model,
        annotations=Scenes(options.steps * options.batch_size, options.seed),
        out=out / "first",
        steps=options.steps,
        learning_rate=options.rate,
        pretrained=options.from_published,
        input_size=options.image_size,
        loss=Loss(gamma=2.0, class_weight=4.0),
        **chosen,
    )
    return mshub.finetune(
        first.card,
        annotations=Scenes(options.finish * options.batch_size, options.seed, start=options.steps * options.batch_size),
        out=out / "last",
        steps=options.finish,
        learning_rate=options.rate / 4,
        freeze_epochs=0,
        loss=Loss(gamma=1.0, class_weight=2.0),
        **chosen,
    )


def categories() -> list[dict[str, Any]]:
    """The classes as COCO's categories."""
    return [{"id": label + 1, "name": name} for label, name in enumerate(CLASSES)]


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
            "categories": categories(),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluate", action="store_true", help="measure a model, train nothing")
    parser.add_argument("--model", default=UID, help="with --evaluate: measure this one; a uid or a card")
    parser.add_argument("--engine", default="auto", help="what runs the network that is measured")
    parser.add_argument("--precision", default="f32", help="what it computes in, f32 or bf16")
    parser.add_argument("--scenes", type=int, default=500, help="scenes to measure on, of each kind")
    parser.add_argument("--steps", type=int, default=3200, help="training steps")
    parser.add_argument("--finish", type=int, default=800, help="further steps that sharpen the scores")
    parser.add_argument("--from-published", action="store_true", help="begin with the published weights")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights and training scenes")
    parser.add_argument("--image-size", type=int, help="side of the input in pixels; by default the card's")
    parser.add_argument("--batch-size", type=int, default=16, help="scenes per step")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--out", type=Path, default=Path("digits"), help="folder to write")
    parser.add_argument("--resume", action="store_true", help="go on where it was interrupted")
    options = parser.parse_args()
    model: str | Path = options.model
    if not options.evaluate:
        model = train(UID, options.out, options).card
    report(mshub.compile(model, options.engine, options.precision), options.scenes)


if __name__ == "__main__":
    main()
