"""Text for people: cleaned, aligned, counted, and bars that only people see."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from mshub_ssd import terminal
from mshub_ssd.terminal import Bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def watch(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Not a fixture: pytest captures anew before each test."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


@pytest.mark.parametrize(
    ("text", "shown", "exact"),
    [
        ("plain 模型 é", "plain 模型 é", "plain 模型 é"),
        ("a\x1b[31mb\x07", r"a\x1b[31mb\x07", r"a\x1b[31mb\x07"),
        ("a\tb\rc\x7f\x9b", r"a\tb\rc\x7f\x9b", r"a\tb\rc\x7f\x9b"),
        ("two\nlines\n", "two\nlines\n", r"two\nlines\n"),
        ("\u202egnp\u200b\U000e0041", r"\u202egnp\u200b\U000e0041", r"\u202egnp\u200b\U000e0041"),
        ("a\u3000b\u00a0c\x1b", "a\u3000b\u00a0c\\x1b", r"a\u3000b\xa0c\x1b"),
        ("\udcff", r"\udcff", r"\udcff"),
        ("", "", ""),
    ],
)
def test_nothing_invisible_reaches_a_terminal(text: str, shown: str, exact: str) -> None:
    assert terminal.plain(text) == shown
    assert terminal.plain(text, exact=True) == exact


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("模型", 4), ("e\u0301", 1), ("\u1112\u1161\u11ab", 2), ("", 0)]
)
def test_width_is_what_a_terminal_needs(text: str, columns: int) -> None:
    assert terminal.width(text) == columns


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [
        ("abcd", 4, "abcd"),
        ("abcde", 4, "abc…"),
        ("模型模型", 8, "模型模型"),
        ("模型模型", 7, "模型模…"),
        ("模型", 3, "模…"),
        ("ab", 0, "…"),
    ],
)
def test_a_text_is_cut_by_its_width(text: str, columns: int, shown: str) -> None:
    assert terminal.clipped(text, columns) == shown


def test_columns_are_aligned_by_their_width() -> None:
    assert terminal.table([("模型", "1", "x"), ("abc", "23", "")], right=(1,)) == "模型   1  x\nabc   23"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (10_000, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (2_400_123, "2.4 MB"),
        (1_610_612_736, "1.61 GB"),
        (5 * 10**15, "5e+03 TB"),
    ],
)
def test_sizes_have_three_digits(count: int, text: str) -> None:
    assert terminal.size_text(count) == text
    assert terminal.size_text(count, exact=True) == (text if count < 1000 else f"{text} ({count} bytes)")


def test_plurals() -> None:
    assert [terminal.counted(n, "card") for n in (0, 1, 2)] == ["0 cards", "1 card", "2 cards"]
    assert terminal.counted(2, "entry", "entries") == "2 entries"


def test_a_bar_is_shown_to_people_only(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = watch(monkeypatch)
    with terminal.Progress().track("weights", 100_000, 300_000) as advance:
        advance(200_000)
    assert "weights: 100%" in watched.getvalue()
    assert "300k/300k" in watched.getvalue()
    length = len(watched.getvalue())
    with terminal.Progress(shown=False).track("weights", 0, None) as advance:
        advance(1)
    with terminal.Bar("soon over", 2, unit="card", delay=60) as bar:
        bar.advance(1)
        bar.reach(2, 2)
    assert len(watched.getvalue()) == length
    for stream in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        with terminal.Bar("unseen", 2) as bar:
            bar.advance(1)
            bar.reach(2, 2)
    assert "tqdm_monitor" not in {type(thread).__name__ for thread in threading.enumerate()}


def test_several_downloads_share_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = watch(monkeypatch)
    with terminal.SharedProgress("2 files") as shared, shared.track("a", 0, 1000) as one:
        one(400)
        with shared.track("b", 500, None) as other:
            other(500)
        with shared.track("a", 300, 1000) as again:
            again(700)
    assert watched.getvalue().split("\r")[-1].startswith("2 files: 100%")
    assert "2.00k/2.00k" in watched.getvalue()


def test_the_bars_cost_nothing_where_nobody_watches() -> None:
    code = (
        "import json, sys\nfrom mshub_ssd import terminal\n"
        "with terminal.SharedProgress('x') as bars, bars.track('a', 0, 2) as advance:\n    advance(2)\n"
        "print(json.dumps([name for name in sys.modules if name.split('.')[0] in ('tqdm', 'requests', 'numpy')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (json.loads(done.stdout), done.stderr) == ([], "")


def test_where_nobody_watches_a_line_now_and_then_tells_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar("pictures", 10, start=2, unit="picture", lines=0.0) as bar:
        bar.advance(3)
    with Bar("pictures", None, unit="picture", lines=0.0) as bar:
        bar.advance(1)
    with Bar("pictures", 10, unit="picture", lines=3600.0) as late, Bar("pictures", 10, unit="picture") as none:
        late.advance(1)
        none.advance(1)
    known, unknown = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"pictures: 5 of 10, \S+ pictures/s, 0:00 left", known)
    assert re.fullmatch(r"pictures: 1, \S+ pictures/s", unknown)


def test_a_notebook_has_a_bar_though_it_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    with Bar("pictures", 2, unit="picture") as bar:
        bar.advance(2)
    assert "pictures: 100%" in capsys.readouterr().err
