"""Pictures of drawn shapes to detect, in COCO's form: seeded, with exact boxes.

    python examples/shapes_scenes.py shapes                 # 1,500 pictures to learn from, 300 held out

writes ``shapes/train.json`` with ``shapes/train/*.jpg``, and ``shapes/held_out.json`` with ``shapes/held_out/*.jpg``.
A scene has one to six filled shapes in any colour, turned by any angle, on a plain, sloped, blotchy or striped
background with noise; a shape differs from what is behind it by a quarter of the range or more. Its box is the tight
bounds of the shape. The two sets share no random numbers.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from coco_scenes import Scene, write_scenes
from numpy.typing import NDArray

__all__ = ["CLASSES", "compose", "scenes", "write"]

Floats = NDArray[np.float32]

CLASSES = ("circle", "cross", "ring", "square", "star", "triangle")

# Shapes are drawn this many times larger, and averaged.
_FINE = 4
_CONTRAST = 0.25


def scenes(count: int, *, seed: int, start: int = 0) -> Iterator[Scene]:
    """Scenes number ``start`` to ``start + count - 1`` of the endless sequence a seed stands for."""
    for index in range(start, start + count):
        yield compose(np.random.default_rng((seed, index)))


def compose(rng: np.random.Generator) -> Scene:
    """One scene, determined by the state of ``rng``."""
    height, width = (int(rng.integers(200, 341)) for _ in range(2))
    side = min(height, width)
    picture = _background(rng, height, width)
    boxes: list[tuple[int, int, int, int]] = []
    labels: list[int] = []
    for _ in range(int(rng.integers(1, 7))):
        label = int(rng.integers(len(CLASSES)))
        mask = _mask(rng, CLASSES[label], float(rng.uniform(1 / 6, 1 / 2)) * side)
        place = _place(rng, mask.shape, (height, width), boxes)
        if place is None:
            continue
        y, x = place
        patch = picture[y : y + mask.shape[0], x : x + mask.shape[1]]
        patch += mask[:, :, None] * (_colour(rng, patch.mean(axis=(0, 1))) - patch)
        boxes.append((x, y, x + mask.shape[1], y + mask.shape[0]))
        labels.append(label)
    noise = np.float32(rng.uniform(0, 0.08))
    picture += rng.standard_normal(picture.shape, dtype=np.float32) * noise
    return Scene(
        np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8),
        np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
        np.asarray(labels, dtype=np.int64),
    )


def write(folder: Path, name: str, count: int, *, seed: int) -> Path:
    """Write so many scenes as ``folder/name/*.jpg``, and their annotations.

    Returns:
        The annotations, ``folder/name.json``.
    """
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92]
    said = f"drawn shapes, seed {seed}"
    todo = scenes(count, seed=seed)
    return write_scenes(todo, folder, name, CLASSES, description=said, suffix=".jpg", parameters=quality)


def _background(rng: np.random.Generator, height: int, width: int) -> Floats:
    ys = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    xs = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    angle = rng.uniform(0, 2 * np.pi)
    slope = (np.sin(angle) * ys + np.cos(angle) * xs).astype(np.float32)
    kind = str(rng.choice(["plain", "sloped", "blotchy", "striped"]))
    if kind == "plain":
        pattern = np.zeros((height, width), np.float32)
    elif kind == "sloped":
        pattern = slope
    elif kind == "blotchy":
        cells = rng.random((int(rng.integers(3, 10)), int(rng.integers(3, 10))), dtype=np.float32) - np.float32(0.5)
        pattern = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    else:
        pattern = np.sin(slope * np.float32(2 * np.pi * rng.uniform(3, 12))).astype(np.float32) * np.float32(0.4)
    swing = rng.uniform(-0.35, 0.35, 3).astype(np.float32)
    ground: Floats = rng.uniform(0.1, 0.9, 3).astype(np.float32) + pattern[:, :, None] * swing
    return np.clip(ground, 0, 1)


def _colour(rng: np.random.Generator, behind: Floats) -> Floats:
    """A colour that differs from what is behind it by enough in some channel."""
    while True:
        colour = rng.uniform(0, 1, 3).astype(np.float32)
        if np.abs(colour - behind).max() >= _CONTRAST:
            return colour


def _mask(rng: np.random.Generator, name: str, length: float) -> Floats:
    """A shape of 0 to 1, cut at its bounds, the longer side about ``length``."""
    angle = rng.uniform(0, 2 * np.pi)
    side = max(8, round(length)) * _FINE
    canvas = np.zeros((2 * side, 2 * side), np.uint8)
    centre = np.array([side, side], dtype=np.float64)
    radius = side / 2
    if name in ("circle", "ring"):
        cv2.circle(canvas, (side, side), round(radius), 255, -1)
        if name == "ring":
            cv2.circle(canvas, (side, side), round(radius * rng.uniform(0.45, 0.65)), 0, -1)
    else:
        corners = _corners(rng, name)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = corners @ turn
        extent = np.ptp(points, axis=0).max()
        points = (points - points.min(axis=0) - np.ptp(points, axis=0) / 2) * (side / extent) + centre
        cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 255)
    rows, columns = np.flatnonzero(canvas.any(axis=1)), np.flatnonzero(canvas.any(axis=0))
    cut = canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    size = max(4, round(cut.shape[1] / _FINE)), max(4, round(cut.shape[0] / _FINE))
    small: Floats = cv2.resize(cut, size, interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
    return small


def _corners(rng: np.random.Generator, name: str) -> NDArray[np.float64]:
    """Corners of a shape, of any size and place."""
    if name == "square":
        angles, radii = np.arange(4) * np.pi / 2, np.ones(4)
    elif name == "triangle":
        angles, radii = np.arange(3) * 2 * np.pi / 3, np.ones(3)
    elif name == "star":
        angles, radii = np.arange(10) * np.pi / 5, np.where(np.arange(10) % 2, rng.uniform(0.38, 0.48), 1.0)
    else:
        arm = rng.uniform(0.14, 0.2)
        edge = [(arm, 0.5), (arm, arm), (0.5, arm)]
        quarter = np.array(edge)
        turn = np.array([[0, -1], [1, 0]], dtype=np.float64)
        parts = [quarter]
        for _ in range(3):
            parts.append(parts[-1] @ turn)
        return np.concatenate(parts)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]


def _place(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    canvas: tuple[int, int],
    taken: list[tuple[int, int, int, int]],
) -> tuple[int, int] | None:
    """Where a shape's corner goes so that its box touches no other one; None where it finds no room."""
    room_y, room_x = canvas[0] - shape[0], canvas[1] - shape[1]
    if room_y < 0 or room_x < 0:
        return None
    for _ in range(30):
        y, x = int(rng.integers(room_y + 1)), int(rng.integers(room_x + 1))
        if all(x + shape[1] <= x1 or x2 <= x or y + shape[0] <= y1 or y2 <= y for x1, y1, x2, y2 in taken):
            return y, x
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write them")
    parser.add_argument("--pictures", type=int, default=1500, help="to learn from")
    parser.add_argument("--held-out", type=int, default=300, help="to measure on")
    parser.add_argument("--seed", type=int, default=1, help="of the pictures to learn from")
    options = parser.parse_args()
    print(write(options.folder, "train", options.pictures, seed=2 * options.seed))
    print(write(options.folder, "held_out", options.held_out, seed=2 * options.seed + 1))


if __name__ == "__main__":
    main()
