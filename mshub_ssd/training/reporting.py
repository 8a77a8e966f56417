"""What is told while a training runs: a bar where somebody watches, else a plain line now and then."""

from __future__ import annotations

import sys
import time
from typing import Any

from mshub_ssd.terminal import clock

__all__ = ["Reporter"]

# Seconds between plain lines.
_EVERY = 30.0


class Reporter:
    """A bar on stderr with loss, pictures a second and time left; in a file or a pipe, lines.

    Args:
        total: Steps in all.
        start: Steps that were done before.
        batch_size: Pictures of a step.
        quiet: Say nothing.
    """

    def __init__(self, total: int, start: int, batch_size: int, *, quiet: bool = False) -> None:
        self._total, self._step, self._first, self._batch = total, start, start, batch_size
        self._quiet = quiet or sys.stderr is None
        self._began = self._told = time.monotonic()
        self._note = ""
        self._bar: Any = None
        if self._quiet:
            return
        from tqdm.auto import tqdm

        # In a notebook it is a widget, which needs no terminal.
        if sys.stderr.isatty() or "notebook" in tqdm.__mro__[1].__module__:
            self._bar = tqdm(total=total, initial=start, unit="step", smoothing=0.05, dynamic_ncols=True)

    def step(self, total: int) -> None:
        """One step is done; there will be so many."""
        self._step += 1
        if self._bar is not None:
            self._bar.total = total
            self._bar.update()
        self._total = total
        if self._bar is None and time.monotonic() - self._told >= _EVERY:
            self.line()

    def loss(self, value: float) -> None:
        """The loss of late."""
        self._note = f"loss {value:.3f}"
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self._note}, {self._speed():.0f} pictures/s", refresh=False)

    def line(self) -> None:
        """How it stands, in a plain line."""
        self._told = time.monotonic()
        rate = (self._step - self._first) / max(1e-9, self._told - self._began)
        left = (self._total - self._step) / rate if rate else 0.0
        self.say(
            f"step {self._step} of {self._total}, {self._note or 'no loss yet'}, {self._speed():.0f} pictures/s, "
            f"{clock(left)} left"
        )

    def say(self, text: str) -> None:
        """A line of its own."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """The end."""
        if self._bar is not None:
            self._bar.close()

    def _speed(self) -> float:
        seconds = max(1e-9, time.monotonic() - self._began)
        return (self._step - self._first) * self._batch / seconds
