"""Labelled boxes on a picture and bars below it, readable on any: bright, dark, busy, small or large. Pillow only."""

from __future__ import annotations

import io
import math
import os
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.errors import UsageError, needing_extra

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

__all__ = ["colour", "draw_boxes", "draw_scores", "notebook_png", "writable_suffixes", "write_picture"]

Colour = tuple[int, int, int]
Rect = tuple[int, int, int, int]  # left, top, right, bottom; the last two are outside

_BLACK: Colour = (0, 0, 0)
_WHITE: Colour = (255, 255, 255)
_PANEL: Colour = (24, 24, 27)
_TRACK: Colour = (63, 63, 70)

# A notebook should not carry a picture larger than a screen.
_NOTEBOOK_SIDE = 1600


@needing_extra("drawing")
def draw_boxes(
    image: NDArray[np.uint8], boxes: NDArray[Any], captions: Sequence[str], labels: Sequence[int] | NDArray[Any]
) -> Image.Image:
    """Draw boxes with captions on a copy of the picture.

    Outlines lie inside their boxes, captions above them or where there is room; nothing else changes.

    Args:
        image: RGB uint8 [h, w, 3].
        boxes: [n, 4] as x1, y1, x2, y2 in pixels, the most important first (it is drawn on top).
        captions: n texts.
        labels: n integers that choose the colours.

    Raises:
        MissingDependencyError: Pillow is not installed.
    """
    picture, pen = _canvas(image)
    height, width = image.shape[:2]
    style = _Style(width, height)
    frames = [_frame(box, width, height) for box in np.asarray(boxes, dtype=np.float64).reshape(-1, 4)]
    colours = [colour(int(label)) for label in labels]
    for frame, ink in zip(reversed(frames), reversed(colours), strict=True):
        _outline(pen, frame, ink, style)
    plates = _place(frames, [_fit(caption, style, width) for caption in captions], style, width, height)
    for (text, plate), ink in zip(reversed(plates), reversed(colours), strict=True):
        if text:
            _plate(pen, plate, text, ink, style)
    return picture


@needing_extra("drawing")
def draw_scores(
    image: NDArray[np.uint8], names: Sequence[str], scores: Sequence[float], labels: Sequence[int] | NDArray[Any]
) -> Image.Image:
    """Set the picture above a panel of rows: a name, a bar, a percentage.

    The picture is not painted over, and the panel is as wide, or wider where names need it.

    Args:
        image: RGB uint8 [h, w, 3].
        names: n texts; one that is too long ends in an ellipsis.
        scores: n probabilities.
        labels: n integers that choose the bars' colours.

    Raises:
        MissingDependencyError: Pillow is not installed.
    """
    height, width = image.shape[:2]
    font = _font(max(13, min(160, round(_side(width, height) / 26))))
    _, top, _, bottom = font.getbbox("ÄHbg0|")
    letter = math.ceil(bottom - top)
    margin = max(2, letter // 2)
    figures = [f"{100 * score:.1f} %" for score in scores]
    figure_width = math.ceil(max(font.getbbox(figure)[2] for figure in (*figures, "100.0 %")))
    panel = max(width, figure_width * 8)
    row = letter + margin
    canvas, pen = _canvas(np.full((height + row * len(names) + margin, panel, 3), _PANEL, dtype=np.uint8))
    canvas.paste(_canvas(image)[0], ((panel - width) // 2, 0))

    free = panel - 4 * margin - figure_width
    texts = [_shorten(name, font, 0.6 * free) for name in names]
    name_width = math.ceil(max((font.getbbox(text)[2] for text in texts), default=0))
    left, right = margin + name_width + margin, panel - 2 * margin - figure_width
    for index, (text, score, figure, label) in enumerate(zip(texts, scores, figures, labels, strict=True)):
        y = height + margin + row * index
        base = y - math.floor(top)
        pen.text((margin, base), text, fill=_WHITE, font=font)
        pen.rectangle((left, y, right - 1, y + letter - 1), fill=_TRACK)
        length = round(score * (right - left))
        if length:
            pen.rectangle((left, y, left + length - 1, y + letter - 1), fill=colour(int(label)))
        pen.text((panel - margin - font.getbbox(figure)[2], base), figure, fill=_WHITE, font=font)
    return canvas


def writable_suffixes() -> set[str]:
    """Endings of names that pictures can be written to."""
    from PIL import Image

    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.SAVE}


def write_picture(picture: Image.Image, path: str | os.PathLike[str]) -> Path:
    """Write a picture; the suffix decides the format.

    Returns:
        The path.

    Raises:
        UsageError: The suffix is unknown, or the file cannot be written.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in writable_suffixes():
        raise UsageError(
            f"no picture can be written with the suffix {suffix!r}",
            where=str(target),
            expected=".png, .jpg, .webp, …",
            hint=f"{target.with_suffix('.png')}",
        )
    options: dict[str, Any] = {"quality": 92} if suffix in (".jpg", ".jpeg", ".webp") else {}
    try:
        picture.save(target, **options)
    except OSError as error:
        raise UsageError(
            f"the picture cannot be written: {error}",
            where=str(target),
            hint=None if target.parent.is_dir() else f"mkdir -p '{target.parent}'",
        ) from error
    return target


def notebook_png(picture: Image.Image) -> bytes:
    """The picture as a PNG file no larger than a screen; the picture itself is made that small, too."""
    picture.thumbnail((_NOTEBOOK_SIDE, _NOTEBOOK_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


@lru_cache(maxsize=1024)
def colour(label: int) -> Colour:
    """A lively colour for a class: the same one always, and neighbours differ clearly.

    The hue turns by the golden angle from class to class, in a space (OKLCH) where equal steps look equal;
    the lightness goes through three levels, none so dark that it is lost on black.
    """
    hue = math.radians((25.0 + label * 137.50776) % 360)
    lightness = (0.70, 0.84, 0.60)[label % 3]
    chroma = 0.20
    while True:
        channels = _oklch(lightness, chroma, hue)
        if chroma < 0.04 or all(-1e-3 <= channel <= 1 + 1e-3 for channel in channels):
            break
        chroma -= 0.01  # outside what a screen can show
    red, green, blue = (round(255 * _gamma(min(max(channel, 0.0), 1.0))) for channel in channels)
    return red, green, blue


class _Style:
    """Measures that fit the size of a picture.

    Attributes:
        line: Width of the coloured line.
        casing: Width of the dark line on both sides of it, which shows on bright ground.
        pad: Space around the text in its plate, left and right.
        font: The font.
        rise: Height of a plate.
        base: Distance of the text's top from the plate's.
    """

    def __init__(self, width: int, height: int) -> None:
        side = _side(width, height)
        self.font = _font(max(10, min(160, round(side / 34))))
        # One height for all plates, so that a row of them looks even: from the tallest capital to the tail.
        _, top, _, bottom = self.font.getbbox("ÄHbg0|")
        gap = max(1, round((bottom - top) / 8))
        self.line = max(1, round(side / 260))
        self.casing = max(1, round(self.line / 3))
        self.pad = max(2, round((bottom - top) / 4))
        self.rise = math.ceil(bottom - top) + 2 * gap
        self.base = gap - math.floor(top)


def _canvas(image: NDArray[np.uint8]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A copy of the picture to draw on, and the pen."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(np.ascontiguousarray(image))
    return picture, ImageDraw.Draw(picture)


def _side(width: int, height: int) -> float:
    """The size of a picture as letters and lines see it: long narrow ones count by their short side, mostly."""
    return math.sqrt(min(width, height) * math.sqrt(width * height))


def _frame(box: NDArray[Any], width: int, height: int) -> Rect:
    """The pixels a box touches, limited to the picture, at least one."""
    x1, y1, x2, y2 = (float(value) if math.isfinite(value) else 0.0 for value in box)
    left, top = (min(max(math.floor(v), 0), size - 1) for v, size in ((x1, width), (y1, height)))
    right, bottom = (min(max(math.ceil(v), 1), size) for v, size in ((x2, width), (y2, height)))
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _outline(pen: ImageDraw.ImageDraw, frame: Rect, ink: Colour, style: _Style) -> None:
    left, top, right, bottom = frame
    room = min(right - left, bottom - top)
    # In a box of few pixels the lines must not cover all of it.
    line, casing = style.line, style.casing
    if room < 6 * (line + 2 * casing):
        line = max(1, min(line, room // 6))
        casing = 1 if room >= 10 else 0
    rings = [(_BLACK, casing), (ink, line), (_BLACK, casing)]
    depth = 0
    for paint, thickness in rings:
        x1, y1, x2, y2 = left + depth, top + depth, right - 1 - depth, bottom - 1 - depth
        if thickness and x2 >= x1 and y2 >= y1:
            pen.rectangle((x1, y1, x2, y2), outline=paint, width=thickness)
        depth += thickness


def _plate(pen: ImageDraw.ImageDraw, plate: Rect, text: str, ink: Colour, style: _Style) -> None:
    left, top, right, bottom = plate
    pen.rectangle((left, top, right - 1, bottom - 1), fill=ink, outline=_BLACK, width=style.casing)
    pen.text(
        (left + style.casing + style.pad, top + style.casing + style.base), text, fill=_contrast(ink), font=style.font
    )


def _fit(caption: str, style: _Style, width: int) -> tuple[str, int]:
    """The text that fits the picture's width, and the width of its plate."""
    frame = 2 * (style.pad + style.casing)
    text = _shorten(caption, style.font, width - frame)
    needed = math.ceil(style.font.getbbox(text)[2]) + frame
    return (text, needed) if text.strip("…") and needed <= width else ("", 0)


def _shorten(caption: str, font: Any, room: float) -> str:
    """The text, cut with an ellipsis where it is wider than the room."""
    text = _printable(caption, font)
    if font.getbbox(text)[2] <= room:
        return text
    ellipsis = _printable("…", font)
    # More letters are never narrower, so the longest beginning that fits can be bisected.
    count = bisect_right(range(1, len(text)), room, key=lambda n: font.getbbox(text[:n] + ellipsis)[2])
    return text[:count].rstrip(" ,") + ellipsis


def _place(
    frames: Sequence[Rect], texts: Sequence[tuple[str, int]], style: _Style, width: int, height: int
) -> list[tuple[str, Rect]]:
    """Put every caption near its box, inside the picture, and clear of earlier ones where that is easy."""
    rise = style.rise + 2 * style.casing
    taken = np.empty((len(frames), 4), dtype=np.int64)
    placed: list[tuple[str, Rect]] = []
    for (left, top, right, bottom), (text, wide) in zip(frames, texts, strict=True):
        if not text or rise > height:
            taken[len(placed)] = 0
            placed.append(("", (0, 0, 0, 0)))
            continue
        # Above the box, inside at its top, below, inside at its bottom; each flush left, then flush right.
        ys = (top - rise, top, bottom, bottom - rise)
        spots = np.array([(x, y) for x in (left, right - wide) for y in ys], dtype=np.int64)
        inside = np.clip(spots, 0, (width - wide, height - rise))
        moved = np.abs(spots - inside).sum(axis=1)
        ends = inside + np.array([wide, rise])
        earlier = taken[: len(placed)]
        common = np.minimum(ends[:, None], earlier[None, :, 2:]) - np.maximum(inside[:, None], earlier[None, :, :2])
        covered = np.prod(np.maximum(common, 0), axis=2).sum(axis=1)
        # A spot that had to be pushed into the picture may cover the box; that is better than covering text.
        best = int(np.lexsort((moved, covered))[0])
        (x, y), (x_end, y_end) = inside[best].tolist(), ends[best].tolist()
        taken[len(placed)] = x, y, x_end, y_end
        placed.append((text, (x, y, x_end, y_end)))
    return placed


def _printable(text: str, font: Any) -> str:
    """One line that the font can take; what it has no glyph for shows as a box or a question mark."""
    line = "".join(character if character.isprintable() else " " for character in text)
    line = line.encode("utf-8", "replace").decode("utf-8")
    # Pillow without FreeType has a bitmap font of Latin-1 only.
    return line if hasattr(font, "getmetrics") else line.encode("latin-1", "replace").decode("latin-1")


@lru_cache(maxsize=16)
def _font(size: int) -> Any:
    from PIL import ImageFont

    try:
        return ImageFont.load_default(size)
    except ImportError:  # Pillow was built without FreeType: one bitmap font of one size
        return ImageFont.load_default()


def _contrast(ink: Colour) -> Colour:
    """Black or white, whichever is easier to read on the ink (relative luminance, WCAG)."""
    red, green, blue = (_linear(channel / 255) for channel in ink)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return _BLACK if luminance > 0.179 else _WHITE


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


def _gamma(value: float) -> float:
    return 12.92 * value if value <= 0.0031308 else float(1.055 * value ** (1 / 2.4) - 0.055)


# From OKLab to the three kinds of cones, and from these to linear red, green and blue.
_CONES = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
_PRIMARIES = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def _oklch(lightness: float, chroma: float, hue: float) -> list[float]:
    """Linear red, green and blue of a colour in OKLCH."""
    lab = np.array([lightness, chroma * math.cos(hue), chroma * math.sin(hue)])
    return list((_PRIMARIES @ (_CONES @ lab) ** 3).tolist())
