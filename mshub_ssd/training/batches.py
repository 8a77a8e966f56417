"""Batches in a given order, composed ahead of time by threads; each follows from the seed and its number alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mshub_ssd.networks.ssd.matching import match
from mshub_ssd.pictures import normalize
from mshub_ssd.training.augmenting import Augmentation
from mshub_ssd.training.data import Samples
from mshub_ssd.training.detectors import Target

__all__ = ["Batch", "Batches"]

# An object that is cut stays one while its centre is seen; what is left of it must have this share of the input.
_SMALLEST_SIDE = 0.008


class Batch(NamedTuple):
    """What a step learns from.

    Attributes:
        pictures: float32 [B, 3, S, S], normalised.
        locations: float32 [B, N, 4], offsets.
        labels: int32 [B, N]; 0 is the background.
    """

    pictures: NDArray[np.float32]
    locations: NDArray[np.float32]
    labels: NDArray[np.int32]


@dataclass(frozen=True)
class Batches:
    """The batches of a training, in order and without an end: the data over and over, shuffled each time.

    Attributes:
        samples: The data.
        target: What the network's input and anchors are.
        size: Pictures in a batch.
        seed: What all chance follows from.
        augmentation: What is done to pictures.
        threads: So many compose pictures.
        ahead: So many batches are composed before they are needed.
    """

    samples: Samples
    target: Target
    size: int
    seed: int
    augmentation: Augmentation
    threads: int = 2
    ahead: int = 3

    def stream(self, start: int = 0) -> Generator[Batch, None, None]:
        """The batches from number ``start`` on."""
        orders: dict[int, NDArray[np.intp]] = {}
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="mshub-batches")
        waiting: deque[list[Future[Batch]]] = deque()
        number = start
        try:
            while True:
                while len(waiting) < self.ahead:
                    places = range(number * self.size, (number + 1) * self.size)
                    waiting.append([pool.submit(self._one, place, self._index(place, orders)) for place in places])
                    number += 1
                parts = [future.result() for future in waiting.popleft()]
                yield Batch(*(np.stack(each) for each in zip(*parts, strict=True)))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def batch(self, number: int) -> Batch:
        """Batch `number`, composed in this thread."""
        orders: dict[int, NDArray[np.intp]] = {}
        places = range(number * self.size, (number + 1) * self.size)
        parts = [self._one(place, self._index(place, orders)) for place in places]
        return Batch(*(np.stack(each) for each in zip(*parts, strict=True)))

    def _index(self, place: int, orders: dict[int, NDArray[np.intp]]) -> int:
        """Which picture the one at this place of the whole training is."""
        epoch, within = divmod(place, len(self.samples))
        if epoch not in orders:
            orders.clear()
            orders[epoch] = np.random.default_rng((self.seed, 1, epoch)).permutation(len(self.samples))
        return int(orders[epoch][within])

    def _one(self, place: int, index: int) -> Batch:
        """One picture and its targets."""
        rng = np.random.default_rng((self.seed, 2, place))
        sample, target = self.samples[index], self.target
        height, width = sample.image.shape[:2]
        view = self.augmentation.view(rng, (height, width), sample.boxes)
        pixels = view.pixels(sample.image, target.image_size, target.fill)
        pixels = self.augmentation.recoloured(rng, pixels)
        boxes = view.boxes(sample.boxes)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        np.clip(boxes, 0, 1, out=boxes)
        seen = ((centres > 0) & (centres < 1) & (boxes[:, 2:] - boxes[:, :2] > _SMALLEST_SIDE)).all(axis=1)
        found = match(
            boxes[seen],
            sample.labels[seen] + 1,
            target.anchors,
            ignore=target.ignore,
            prior_scaling=target.prior_scaling,
        )
        return Batch(normalize(pixels, target.mean, target.std)[0], found.locations, found.labels)
