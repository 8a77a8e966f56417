"""Text for people: what may reach a terminal or a notebook, columns, sizes, plurals, and progress bars."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = [
    "Advance",
    "Bar",
    "Progress",
    "SharedProgress",
    "brief",
    "clipped",
    "clock",
    "counted",
    "html_block",
    "html_table",
    "html_text",
    "plain",
    "size_text",
    "table",
    "width",
]

Advance = Callable[[int], object]
"""What takes the number of new bytes."""

_UNITS = ("kB", "MB", "GB", "TB")
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def plain(text: str, *, exact: bool = False) -> str:
    r"""`text` with everything that is no visible character spelt out, as in ``\u202e``.

    Cards come from strangers: control characters steer terminals, and bidirectional ones reorder what a reader sees.

    Args:
        text: The text.
        exact: Spell out ends of lines and all spaces but the usual one, too: one line, of which each character counts.
    """
    if text.isprintable():
        return text
    if not exact and "\n" in text:
        return "\n".join(map(plain, text.split("\n")))
    return "".join(c if c.isprintable() or (not exact and unicodedata.category(c) == "Zs") else _spelt(c) for c in text)


def _spelt(char: str) -> str:
    number = ord(char)
    if number < 0x100:
        return _SHORT.get(char) or f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def width(text: str) -> int:
    """Columns that a text without control characters takes in a terminal."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def clipped(text: str, columns: int) -> str:
    """A text that takes no more columns; where something is missing, it ends in a mark."""
    if width(text) <= columns:
        return text
    return text[: sum(used < columns for used in itertools.accumulate(map(_columns, text)))] + "…"


def _columns(char: str) -> int:
    # Marks on the letter before, and the inner letters of a Korean syllable, take no room of their own.
    if unicodedata.category(char) in {"Mn", "Me"} or "\u1160" <= char <= "\u11ff" or "\ud7b0" <= char <= "\ud7fb":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows as aligned columns.

    Args:
        rows: Texts, the same number in each row.
        right: Columns to align on their right, such as numbers.
    """
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]

    def padded(column: int, text: str) -> str:
        space = " " * (widths[column] - width(text))
        return space + text if column in right else text + space

    return "\n".join("  ".join(padded(*cell) for cell in enumerate(row)).rstrip() for row in rows)


def brief(text: str, limit: int) -> str:
    """The beginning of a stranger's text in one line, of that many columns and not many more characters."""
    shown = clipped(plain(text[: 2 * limit], exact=True), limit)
    return f"{shown[: 2 * limit - 1]}…" if len(text) > 2 * limit and not shown.endswith("…") else shown


def html_text(text: str, limit: int = 300) -> str:
    """A text for a notebook: nothing in it is taken for HTML, and what is no visible character is spelt out.

    Args:
        text: Of strangers.
        limit: So many columns at most.
    """
    import html

    return html.escape(brief(text, limit))


def html_block(*parts: str) -> str:
    """Parts of HTML as one, in which a notebook takes nothing between dollar signs for a formula."""
    return f'<div class="tex2jax_ignore mathjax_ignore">{"".join(parts)}</div>'


def html_table(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> str:
    """Rows as a table for a notebook, whose theme colours it; what is in them is escaped.

    Args:
        rows: Texts; without a head, the first of each is a heading of its row.
        head: What stands above the columns.
    """

    def row(cells: Sequence[str], headings: int) -> str:
        kinds = ["th" if column < headings else "td" for column in range(len(cells))]
        shown = (
            f'<{kind} style="text-align:left">{html_text(cell)}</{kind}>'
            for kind, cell in zip(kinds, cells, strict=True)
        )
        return f"<tr>{''.join(shown)}</tr>"

    lines = [row(head, len(head))] if head else []
    return f"<table>{''.join([*lines, *(row(cells, 0 if head else 1) for cells in rows)])}</table>"


def size_text(count: int, *, exact: bool = False) -> str:
    """A number of bytes, e.g. ``2.4 MB``.

    Args:
        count: The number.
        exact: Tell it to the byte as well, where sizes are compared: ``2.4 MB (2400123 bytes)``.
    """
    if count < 1000:
        return f"{count} bytes"
    power = 1
    while power < len(_UNITS) and count >= 999.5 * 1000**power:  # which three digits round to 1000
        power += 1
    text = f"{count / 1000**power:.3g} {_UNITS[power - 1]}"
    return f"{text} ({count} bytes)" if exact else text


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """``1 card``, ``2 cards``."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


class Bar:
    """A progress bar on stderr where somebody watches, nothing elsewhere; a context manager.

    Args:
        title: What stands before it.
        total: What will be reached, if known.
        start: What is there already.
        unit: What is counted, ``B`` for bytes.
        delay: Seconds to wait before it is shown; such a bar leaves nothing behind.
        shown: False for none in any case.
        lines: Where nobody watches: seconds between two lines that tell how far it is; None for none.
    """

    def __init__(
        self,
        title: str | None = None,
        total: int | None = None,
        *,
        start: int = 0,
        unit: str = "B",
        delay: float | None = None,
        shown: bool = True,
        lines: float | None = None,
    ) -> None:
        self._bar: Any = None
        self._lines: _Lines | None = None
        notebook = _in_notebook()
        if not shown or sys.stderr is None:
            return
        if not sys.stderr.isatty() and not notebook:
            if lines is not None:
                self._lines = _Lines(title or "progress", total, start, unit, lines)
            return
        if notebook:
            from tqdm.auto import tqdm
        else:
            from tqdm import tqdm  # type: ignore[assignment] # the base of the other

        class Quiet(tqdm):  # type: ignore[type-arg]  # not generic when it runs
            monitor_interval = 0  # its thread would outlive the bar

        self._bar = Quiet(
            desc=title,
            total=total,
            initial=start,
            unit=unit,
            unit_scale=unit == "B",
            miniters=1,  # or a bar that was fast before stands still without the thread
            delay=delay or 0,
            leave=delay is None,
            file=sys.stderr,
        )

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, count: int) -> None:
        """Go on by `count`."""
        if self._bar is not None:
            self._bar.update(count)
        if self._lines is not None:
            self._lines.advance(count)

    def reach(self, done: int, total: int) -> None:
        """Show `done` of `total`."""
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)


class _Lines:
    """How far something is, told in a line now and then."""

    def __init__(self, title: str, total: int | None, start: int, unit: str, seconds: float) -> None:
        self._title, self._total, self._start, self._unit = title, total, start, unit
        self._done, self._every = start, seconds
        self._begun = self._told = time.monotonic()

    def advance(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._told < self._every:
            return
        self._told = now
        rate = (self._done - self._start) / (now - self._begun)
        text = f"{self._title}: {self._done}"
        if self._total is not None:
            text += f" of {self._total}"
        text += f", {rate:.3g} {self._unit}s/s"
        if self._total is not None and rate > 0:
            text += f", {clock((self._total - self._done) / rate)} left"
        print(text, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """A duration as a clock shows it."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _in_notebook() -> bool:
    """Whether this is the kernel of a notebook, which shows bars though it has no terminal."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


class Progress:
    """One bar per download.

    Args:
        shown: False for no bars, for those who have one of their own.
    """

    def __init__(self, *, shown: bool = True) -> None:
        self._shown = shown

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
        with Bar(title, total, start=start, shown=self._shown) as bar:
            yield bar.advance


class SharedProgress(Progress):
    """One bar for several downloads at once; a context manager."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._guard = threading.Lock()
        self._state: dict[str, tuple[int, int]] = {}
        self._bar = Bar(title)

    def __enter__(self) -> SharedProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__()

    @contextlib.contextmanager
    def track(self, title: str, start: int, total: int | None) -> Iterator[Advance]:
        """One of the downloads; a later attempt at the same one goes on from its `start`."""
        done = start

        def advance(count: int) -> None:
            nonlocal done
            with self._guard:
                done += count
                self._state[title] = (done, max(done, total or 0))
                self._bar.reach(*map(sum, zip(*self._state.values(), strict=True)))

        advance(0)
        yield advance
