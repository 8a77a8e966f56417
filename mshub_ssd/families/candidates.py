"""Which pairs of an anchor and a class are worth a look: those above a threshold, or the best of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pairs", "best_pairs", "pairs_above"]

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]

# Scores compared at once: they and the answers fit a core's cache.
_BLOCK = 1 << 18


class Pairs(NamedTuple):
    """Cells of a table of scores, row by row.

    Attributes:
        rows: [m].
        columns: [m].
        scores: float32 [m].
        bound: Whatever is above the threshold and not here scores less than this; minus infinity when all are here.
    """

    rows: Indices
    columns: Indices
    scores: Floats
    bound: float


def pairs_above(
    scores: NDArray[Any], threshold: float, *, background: int | None = None, best: int | None = None
) -> Pairs:
    """Every (row, column) whose score is greater than the threshold, compared in float32, or the best of them.

    Args:
        scores: [n, c]; NaN is never above.
        threshold: Strict lower bound.
        background: A column that does not count.
        best: So many of the highest scores are enough; more come where scores are equal.
    """
    width = scores.shape[1]
    flat = np.ascontiguousarray(scores, dtype=np.float32).reshape(-1)
    lowest = np.nextafter(np.float32(threshold), np.float32(np.inf))
    bound = lowest
    parts: list[Indices] = []
    held, room = 0, np.inf if best is None else 4 * best
    step = max(1, _BLOCK // width) * width
    # Nothing is above infinity, which has no next number.
    for start in range(0, len(flat) if threshold < np.inf else 0, step):
        above = flat[start : start + step] >= bound
        if background is not None:
            above.reshape(-1, width)[:, background] = False
        found = np.flatnonzero(above)
        found += start
        parts.append(found)
        held += len(found)
        if held > room:
            assert best is not None
            parts, bound = _best(flat, parts, best)
            held = len(parts[0])
            room = max(room, 2 * held)
    if best is not None and held > best:
        parts, bound = _best(flat, parts, best)
    cells = np.concatenate(parts) if parts else np.empty(0, dtype=np.intp)
    rows, columns = np.divmod(cells, width)
    return Pairs(rows, columns, flat[cells], float(bound) if bound > lowest else -np.inf)


def best_pairs(
    scores: NDArray[Any], threshold: float, wanted: int | None, *, background: int | None = None
) -> Iterator[Pairs]:
    """The best pairs above a threshold, then more of them, and at last all.

    Whoever wants the best few that suppression leaves need not look at all pairs, since none suppresses a better
    one.

    Args:
        scores: See `pairs_above`.
        threshold: See `pairs_above`.
        wanted: So many are wanted in the end, None for all.
        background: See `pairs_above`.
    """
    size = None if wanted is None else 8 * wanted + 256
    while True:
        pairs = pairs_above(scores, threshold, background=background, best=size)
        yield pairs
        if size is None or pairs.bound == -np.inf:
            return
        size *= 8


def _best(flat: Floats, parts: list[Indices], count: int) -> tuple[list[Indices], np.float32]:
    """The cells with the best scores among some, with all that equal the last one; and its score."""
    cells = np.concatenate(parts)
    values = flat[cells]
    bound = np.partition(values, -count)[-count]
    return [cells[values >= bound]], bound
