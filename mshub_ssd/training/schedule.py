"""How long a training is, and how fast it learns at each step; all of it follows from numbers, never from the clock.

Only a limit of time, where somebody sets one, looks at the clock: it shortens what is left when that would take longer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Pace", "planned_steps"]

_DEFAULT_STEPS = 600
# Of all steps, so many with the backbone frozen.
_FROZEN_SHARE = 0.1
_WARM_UP = 50
_FIRST_LOOK = 10


def planned_steps(pictures: int, batch_size: int, steps: int | None, epochs: float | None) -> int:
    """How many steps a training has: what was asked for, or 600."""
    if epochs is not None:
        return max(1, math.ceil(epochs * pictures / batch_size))
    return _DEFAULT_STEPS if steps is None else steps


def frozen_steps(steps: int, pictures: int, batch_size: int, freeze_epochs: float | None) -> int:
    """How many of the steps leave the backbone alone: so many passes over the data, or a tenth of the steps."""
    if freeze_epochs is None:
        return round(_FROZEN_SHARE * steps)
    return min(steps, math.ceil(freeze_epochs * pictures / batch_size))


@dataclass
class Pace:
    """Where a training stands.

    The learning rate rises over the first steps, stays while the backbone is frozen, rises again when that starts to
    learn, and falls to zero as half a cosine.

    Attributes:
        peak: The highest learning rate.
        total: How many steps there will be.
        frozen: How many of them, the first ones, leave the backbone alone.
        limit: Seconds that all of it may take, None for no limit.
        step: How many are done.
        progress: How much of the way after the frozen steps is done, 0 to 1.
        seconds: How long the steps took until this process began.
    """

    peak: float
    total: int
    frozen: int
    limit: float | None = None
    step: int = 0
    progress: float = 0.0
    seconds: float = 0.0

    @property
    def is_frozen(self) -> bool:
        """Whether the next step leaves the backbone alone."""
        return self.step < self.frozen

    @property
    def done(self) -> bool:
        """Whether there is no next step."""
        return self.step >= self.total

    def rate(self) -> float:
        """Learning rate of the next step."""
        begun = 0 if self.is_frozen else self.frozen
        length = (self.frozen if self.is_frozen else self.total) - begun
        warm_up = max(1, min(_WARM_UP, length // 5))
        rising = min(1.0, (self.step - begun + 1) / warm_up)
        return self.peak * rising * 0.5 * (1 + math.cos(math.pi * self.progress))

    def advance(self) -> None:
        """One step is done."""
        if not self.is_frozen:
            # Evenly over what is left, however much that is.
            self.progress += (1 - self.progress) / max(1, self.total - self.step)
        self.step += 1

    def keep_to_limit(self, seconds: float, slowest: float, rest: float) -> None:
        """Shorten what is left if it would take too long.

        Args:
            seconds: How long it took so far.
            slowest: Seconds that a step takes.
            rest: Seconds that are needed for what comes after the steps.
        """
        if self.limit is None or self.step < _FIRST_LOOK:
            return
        room = max(0, math.floor((self.limit - seconds - rest) / max(slowest, 1e-6)))
        if self.step + room < self.total:
            self.total = self.step + room
            self.frozen = min(self.frozen, max(self.step, round(_FROZEN_SHARE * self.total)))

    def to_dict(self) -> dict[str, Any]:
        """What has to be remembered."""
        names = ("total", "frozen", "step", "progress", "seconds")
        return {name: getattr(self, name) for name in names}

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` gave."""
        self.total, self.frozen, self.step = (int(stored[name]) for name in ("total", "frozen", "step"))
        self.progress, self.seconds = float(stored["progress"]), float(stored["seconds"])
