"""Progress for people who watch; nothing for logs."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Display", "Shared", "Silent"]

Advance = Callable[[int], object]


class Display:
    """One bar per download, on a terminal."""

    @contextlib.contextmanager
    def track(self, title: str, start: int, total: int | None) -> Iterator[Advance]:
        """Show a download under way.

        Args:
            title: Its name.
            start: Bytes that are here already.
            total: Bytes in all, if known.

        Yields:
            What takes the number of new bytes.
        """
        if not _on_terminal():
            yield lambda count: None
            return
        with _bar(title, start, total) as bar:
            yield bar.update


class Silent(Display):
    """No bar, for those who have one of their own."""

    @contextlib.contextmanager
    def track(self, title: str, start: int, total: int | None) -> Iterator[Advance]:
        """Show nothing."""
        yield lambda count: None


class Shared(Display):
    """One bar for several downloads at once; a context manager."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._guard = threading.Lock()
        self._state: dict[str, tuple[int, int]] = {}
        self._bar: Any = None

    def __enter__(self) -> Shared:
        if _on_terminal():
            self._bar = _bar(self._title, 0, None)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    @contextlib.contextmanager
    def track(self, title: str, start: int, total: int | None) -> Iterator[Advance]:
        """One of the downloads; a later attempt at the same one goes on from its `start`."""
        self._set(title, start, total or 0)
        done = start

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self._set(title, done, total or 0)

        yield advance

    def _set(self, title: str, done: int, total: int) -> None:
        with self._guard:
            self._state[title] = (done, max(done, total))
            if self._bar is not None:
                self._bar.total = sum(whole for _, whole in self._state.values())
                self._bar.update(sum(part for part, _ in self._state.values()) - self._bar.n)


def _on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _bar(title: str, start: int, total: int | None) -> Any:
    from tqdm import tqdm

    return tqdm(desc=title, initial=start, total=total, unit="B", unit_scale=True, unit_divisor=1024, file=sys.stderr)
