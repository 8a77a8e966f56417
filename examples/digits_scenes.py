"""Pictures of handwritten digits to detect: composed from real digits, seeded, with exact boxes.

    python examples/digits_scenes.py OUT.png                 # the picture of `mshub demo`
    python examples/digits_scenes.py FOLDER --scenes 500     # what the digit detector's figures are measured on

The second writes ``FOLDER/held_out.json``, annotations in COCO's form, and ``FOLDER/held_out/*.png``; with ``--style
another_way`` or ``--style training`` those are the names.

The digits are the 1,797 pictures of scikit-learn's copy of the UCI set (8x8, 17 grey levels); 1,437 of them
serve for training, 360 are held out, and no scene mixes the two. A scene is a picture of any size with a
background, and digits placed on it at random; its boxes are the tight bounds of the ink.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from coco_scenes import Scene, write_scenes
from numpy.typing import NDArray

__all__ = [
    "ANOTHER_WAY",
    "EVALUATION_SEED",
    "HELD_OUT",
    "STYLES",
    "TRAINING",
    "Digits",
    "Style",
    "compose",
    "demo_scene",
    "load_digits",
    "scenes",
    "write",
]

Floats = NDArray[np.float32]

# Where the mask of an upscaled digit exceeds this it counts as ink.
INK = 0.3
_SPLIT_SEED = 20261121
_HELD_OUT = 360


@dataclass(frozen=True)
class Digits:
    """Digit pictures.

    Attributes:
        images: [n, 8, 8], ink from 0 to 1.
        labels: [n], 0 to 9.
        indices: [n], positions in the full set.
    """

    images: Floats
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]


@dataclass(frozen=True)
class Style:
    """How scenes look; pairs are the bounds of a uniform draw.

    Attributes:
        sides: Length of the shorter side in pixels.
        stretch: Ratio of the longer to the shorter side; either may be the width.
        square: Share of square pictures.
        counts: Number of digits aimed at; fewer where there is no room.
        scales: Longer side of a digit's ink box relative to the picture's shorter side.
        contrasts: Difference of ink and background, of the full range.
        noise: Highest standard deviation of the noise, of the full range.
        overlap: Highest share of the smaller of two ink boxes that the other may cover.
        backgrounds: Kinds of background drawn from.
        upscalings: Ways of enlarging a digit drawn from.
        dark_ink: Share of scenes with dark ink on a light background.
        colour: Share of tinted scenes.
        warp: Strength of the random affine change of digits; 0 for none.
    """

    sides: tuple[int, int] = (240, 480)
    stretch: tuple[float, float] = (1.0, 1.34)
    square: float = 0.5
    counts: tuple[int, int] = (1, 6)
    scales: tuple[float, float] = (1 / 6, 1 / 2)
    contrasts: tuple[float, float] = (0.3, 0.9)
    noise: float = 0.08
    overlap: float = 0.1
    backgrounds: tuple[str, ...] = ("plain", "gradient", "blotchy")
    upscalings: tuple[str, ...] = ("linear", "cubic", "lanczos", "smooth")
    dark_ink: float = 0.5
    colour: float = 0.3
    warp: float = 0.0


# What the published figures are measured on.
HELD_OUT = Style()
# Wider than HELD_OUT in every respect.
TRAINING = Style(
    sides=(120, 300),
    stretch=(1.0, 1.6),
    counts=(0, 8),
    scales=(0.135, 0.56),
    contrasts=(0.25, 1.0),
    noise=0.09,
    overlap=0.15,
    backgrounds=("plain", "plain", "gradient", "gradient", "blotchy", "blotchy", "stripes"),
    upscalings=("linear", "cubic", "lanczos", "smooth", "soft", "pillow", "blocks"),
    colour=0.4,
    warp=1.0,
)
# Scenes made another way: large pictures, anti-aliased upscaling by Pillow, light ink on plain dark ground.
ANOTHER_WAY = Style(
    sides=(320, 800),
    stretch=(1.0, 1.5),
    square=0.3,
    counts=(1, 7),
    contrasts=(0.6, 0.95),
    noise=0.0,
    overlap=0.0,
    backgrounds=("plain",),
    upscalings=("pillow",),
    dark_ink=0.0,
    colour=0.0,
)
STYLES = {"held_out": HELD_OUT, "another_way": ANOTHER_WAY, "training": TRAINING}
# Scenes to measure on must not share random numbers with those to learn from, whose seeds are small.
EVALUATION_SEED = 10_000_019


def load_digits() -> tuple[Digits, Digits]:
    """The training and the held-out digits, always the same split."""
    from sklearn.datasets import load_digits as load

    data: Any = load()
    images = (data.images / 16).astype(np.float32)
    labels = data.target.astype(np.int64)
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(images)).astype(np.int64)
    held_out, training = np.sort(order[:_HELD_OUT]), np.sort(order[_HELD_OUT:])
    return (
        Digits(images[training], labels[training], training),
        Digits(images[held_out], labels[held_out], held_out),
    )


def scenes(digits: Digits, style: Style, count: int, *, seed: int, start: int = 0) -> Iterator[Scene]:
    """Scenes number ``start`` to ``start + count - 1`` of the endless sequence a seed stands for."""
    for index in range(start, start + count):
        yield compose(np.random.default_rng((seed, index)), digits, style)


def compose(rng: np.random.Generator, digits: Digits, style: Style) -> Scene:
    """One scene, determined by the state of ``rng``."""
    height, width = _canvas(rng, style)
    side = min(height, width)
    dark = bool(rng.random() < style.dark_ink)
    mixed = 0 < style.dark_ink < 1 and rng.random() < 0.15
    ground = _background(rng, str(rng.choice(style.backgrounds)), height, width, style, dark)
    tinted = rng.random() < style.colour
    picture = ground[:, :, None]
    if tinted:
        picture = picture * rng.uniform(0.75, 1.0, 3).astype(np.float32)
    boxes: list[tuple[int, int, int, int]] = []
    labels: list[int] = []
    for _ in range(int(rng.integers(style.counts[0], style.counts[1] + 1))):
        choice = int(rng.integers(len(digits.images)))
        scale = float(rng.uniform(*style.scales))
        mask = _enlarge(rng, digits.images[choice], scale * side, str(rng.choice(style.upscalings)), style.warp)
        place = _place(rng, mask, (height, width), boxes, style.overlap)
        if place is None:
            continue
        if mixed:
            dark = bool(rng.random() < 0.5)
        tint = rng.uniform(-0.12, 0.12, 3) if tinted else np.zeros(1)
        y, x = place
        _ink(
            picture[y : y + mask.shape[0], x : x + mask.shape[1]],
            mask,
            rng.uniform(*style.contrasts),
            dark,
            tint,
        )
        top, left, bottom, right = _bounds(mask)
        boxes.append((x + left, y + top, x + right, y + bottom))
        labels.append(int(digits.labels[choice]))
    if style.noise > 0:
        sigma = np.float32(rng.uniform(0, style.noise))
        picture += rng.standard_normal((height, width, 1), dtype=np.float32) * sigma
    np.clip(picture, 0, 1, out=picture)
    picture *= 255
    grey_or_rgb = np.rint(picture, out=picture).astype(np.uint8)
    return Scene(
        image=grey_or_rgb if tinted else np.repeat(grey_or_rgb, 3, axis=2),
        boxes=np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.asarray(labels, dtype=np.int64),
    )


def write(folder: Path, name: str, count: int, *, seed: int = EVALUATION_SEED) -> Path:
    """Write so many scenes as ``folder/name/*.png``, which lose nothing, and their annotations.

    Args:
        folder: Where; made if it is missing.
        name: A key of `STYLES`. Only scenes to learn from have the digits to learn from.
        count: Number of scenes.
        seed: What the scenes follow from.

    Returns:
        The annotations in COCO's form, ``folder/name.json``.
    """
    training, held_out = load_digits()
    todo = scenes(training if name == "training" else held_out, STYLES[name], count, seed=seed)
    said = f"scenes of digits, {name}, seed {seed}"
    return write_scenes(todo, folder, name, [str(digit) for digit in range(10)], description=said, suffix=".png")


def demo_scene(seed: int = 106) -> Scene:
    """The picture `mshub demo` looks at: held-out digits, light on the dark side and dark on the light one.

    The seed is one of those where the published detector gets every digit right: a demonstration, no measurement.
    """
    _, digits = load_digits()
    rng = np.random.default_rng(seed)
    height, width, cell = 480, 640, 160
    ys = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    xs = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    share = 1 / (1 + np.exp(-9 * (0.8 * xs + 0.35 * ys - 0.58)))
    dusk, paper = np.float32([0.07, 0.12, 0.25]), np.float32([0.98, 0.92, 0.80])
    picture = (dusk + share * (paper - dusk)).astype(np.float32)
    blotches = cv2.resize(rng.random((5, 7), dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    picture += 0.09 * (blotches[:, :, None] - np.float32(0.5))
    boxes, labels = [], []
    numbers = [*range(10), 3]
    for place, number in zip(rng.permutation(12)[: len(numbers)].tolist(), numbers, strict=True):
        choice = int(rng.choice(np.flatnonzero(digits.labels == number)))
        mask = _enlarge(rng, digits.images[choice], rng.uniform(86, 138), "smooth", rim=1)
        room_y, room_x = cell - mask.shape[0], cell - mask.shape[1]
        y = place // 4 * cell + int(rng.integers(max(1, room_y // 4), max(2, room_y * 3 // 4)))
        x = place % 4 * cell + int(rng.integers(max(1, room_x // 4), max(2, room_x * 3 // 4)))
        y, x = min(y, height - mask.shape[0]), min(x, width - mask.shape[1])
        patch = picture[y : y + mask.shape[0], x : x + mask.shape[1]]
        dark = float(patch.mean()) > 0.5
        _ink(patch, mask, rng.uniform(0.5, 0.85), dark, rng.uniform(-0.25, 0.25, 3))
        top, left, bottom, right = _bounds(mask)
        boxes.append((x + left, y + top, x + right, y + bottom))
        labels.append(number)
    return Scene(
        np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8),
        np.asarray(boxes, dtype=np.float32),
        np.asarray(labels, dtype=np.int64),
    )


def _canvas(rng: np.random.Generator, style: Style) -> tuple[int, int]:
    short = int(rng.integers(style.sides[0], style.sides[1] + 1))
    square = rng.random() < style.square
    long = short if square else round(short * rng.uniform(*style.stretch))
    return (short, long) if rng.random() < 0.5 else (long, short)


def _background(rng: np.random.Generator, kind: str, height: int, width: int, style: Style, dark_ink: bool) -> Floats:
    """Grey levels [h, w] that leave room for the ink on the side it is on."""
    level = rng.uniform(0, 1 - style.contrasts[1] * rng.uniform(0.4, 1))
    swing = float(rng.uniform(0.05, 0.3))
    pattern: Floats
    if kind == "plain":
        pattern = np.zeros((height, width), np.float32)
    elif kind == "gradient":
        angle = rng.uniform(0, 2 * np.pi)
        ys = np.linspace(0, 1, height, dtype=np.float32)[:, None]
        xs = np.linspace(0, 1, width, dtype=np.float32)[None, :]
        pattern = (np.sin(angle) * ys + np.cos(angle) * xs).astype(np.float32)
        pattern -= pattern.min()
    elif kind == "blotchy":
        cells = rng.random((int(rng.integers(3, 12)), int(rng.integers(3, 12))), dtype=np.float32)
        pattern = np.clip(cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)
    else:  # stripes
        angle = rng.uniform(0, np.pi)
        wave = rng.uniform(0.05, 0.3) * min(height, width)
        ys = np.arange(height, dtype=np.float32)[:, None]
        xs = np.arange(width, dtype=np.float32)[None, :]
        phase = (np.sin(angle) * ys + np.cos(angle) * xs) * np.float32(2 * np.pi / wave)
        pattern = (np.sin(phase.astype(np.float32)) > 0).astype(np.float32)
        swing *= 0.5
    ground = np.clip(level + swing * pattern, 0, 1).astype(np.float32)
    return np.subtract(1, ground, dtype=np.float32) if dark_ink else ground


def _enlarge(
    rng: np.random.Generator, digit: Floats, length: float, how: str, warp: float = 0, rim: int | None = None
) -> Floats:
    """The mask of a digit, 0 to 1, whose ink box has the longer side ``length``."""
    # Without the empty rim the outermost strokes end in a hard edge; both kinds occur in the wild.
    if rim is None:
        rim = int(rng.random() < 0.7)
    tile = np.pad(digit, rim)
    if warp > 0:
        tile = _warp(rng, digit, warp)
    if how == "blocks":
        tile = np.pad(digit, rim)
    rows, columns = np.nonzero(tile > INK)
    extent = max(np.ptp(rows), np.ptp(columns)) + 1.0
    # Interpolation eats about half a cell of the ink's extent where its edges are soft.
    factor = length / extent
    for _ in range(2):
        mask = _resize(tile, max(4, round(tile.shape[0] * factor)), max(4, round(tile.shape[1] * factor)), how)
        top, left, bottom, right = _bounds(mask)
        got = max(bottom - top, right - left)
        if abs(got - length) <= 1:
            break
        factor *= length / got
    return mask


def _warp(rng: np.random.Generator, digit: Floats, strength: float) -> Floats:
    """A slightly rotated, sheared and squeezed copy on a finer grid, or the digit itself every third time."""
    rim = int(rng.random() < 0.7)
    if rng.random() < 0.35:
        return np.pad(digit, rim)
    fine = cv2.resize(np.pad(digit, 2), (48, 48), interpolation=cv2.INTER_CUBIC)
    angle = rng.normal(0, 0.1 * strength)
    shear = rng.normal(0, 0.1 * strength)
    sx, sy = np.exp(rng.normal(0, 0.1 * strength, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[sx, shear], [0, sy]]) * 0.9
    centre = np.array([23.5, 23.5])
    affine = np.concatenate([matrix, (centre - matrix @ centre)[:, None]], axis=1)
    warped: Floats = np.clip(cv2.warpAffine(fine, affine, (48, 48), flags=cv2.INTER_LINEAR), 0, 1)
    return warped


def _resize(tile: Floats, height: int, width: int, how: str) -> Floats:
    if how == "pillow":
        from PIL import Image

        filters = (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC)
        # Alternates with the size: a further draw here would tie the scene to the number of trials.
        enlarged = Image.fromarray(np.rint(tile * 255).astype(np.uint8)).resize((width, height), filters[height % 2])
        return np.asarray(enlarged, dtype=np.float32) / np.float32(255)
    if how == "smooth":  # supersampled, then averaged
        large = cv2.resize(tile, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)
        mask = cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)
    elif how == "soft":
        mask = cv2.resize(tile, (width, height), interpolation=cv2.INTER_CUBIC)
        mask = cv2.GaussianBlur(mask, (0, 0), max(0.3, 0.025 * height))
    else:
        methods = {
            "linear": cv2.INTER_LINEAR,
            "cubic": cv2.INTER_CUBIC,
            "lanczos": cv2.INTER_LANCZOS4,
            "blocks": cv2.INTER_NEAREST,
        }
        mask = cv2.resize(tile, (width, height), interpolation=methods[how])
    return np.clip(mask, 0, 1).astype(np.float32)


def _bounds(mask: Floats) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of the ink; the last two exclusive."""
    ink = mask > INK
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return 0, 0, mask.shape[0], mask.shape[1]
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _place(
    rng: np.random.Generator,
    mask: Floats,
    canvas: tuple[int, int],
    taken: list[tuple[int, int, int, int]],
    overlap: float,
) -> tuple[int, int] | None:
    """Where the mask's corner goes so that it lies inside and covers little of the others."""
    room_y, room_x = canvas[0] - mask.shape[0], canvas[1] - mask.shape[1]
    if room_y < 0 or room_x < 0:
        return None
    top, left, bottom, right = _bounds(mask)
    area = (bottom - top) * (right - left)
    for _ in range(30):
        y, x = int(rng.integers(room_y + 1)), int(rng.integers(room_x + 1))
        for x1, y1, x2, y2 in taken:
            shared_x = min(x + right, x2) - max(x + left, x1)
            shared_y = min(y + bottom, y2) - max(y + top, y1)
            smaller = min(area, (x2 - x1) * (y2 - y1))
            if shared_x > 0 and shared_y > 0 and shared_x * shared_y > overlap * smaller:
                break
        else:
            return y, x
    return None


def _ink(patch: Floats, mask: Floats, contrast: float, dark: bool, tint: NDArray[np.float64]) -> None:
    """Blend ink into the picture, in place, on the asked side of the local background if there is room."""
    ground = float(patch.mean())
    room = ground if dark else 1 - ground
    other = 1 - room
    # Too little room for a legible digit on this side: use the other one.
    if room < 0.25 and other > room:
        dark, room = not dark, other
    step = min(contrast, room)
    colour = np.clip(ground + (-step if dark else step) + tint * step, 0, 1).astype(np.float32)
    patch += mask[:, :, None] * (colour - patch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the picture to write, or with --scenes the folder")
    parser.add_argument("--scenes", type=int, metavar="N", help="write so many scenes and their annotations")
    parser.add_argument("--style", choices=STYLES, default="held_out", help="how they look")
    parser.add_argument("--seed", type=int, default=EVALUATION_SEED, help="what they follow from")
    options = parser.parse_args()
    if options.scenes is not None:
        print(write(options.out, options.style, options.scenes, seed=options.seed))
        return
    from PIL import Image

    Image.fromarray(demo_scene().image).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
