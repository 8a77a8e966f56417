"""Cards read for the index: by this process, or many of them by helpers, ``python -m mshub_ssd.registry.reading``.

Helpers are programs of their own, never forks: MindSpore's threads do not survive a fork, and a spawned process would
run the user's script. Each gets a line of JSON on its standard input and answers with one. Whatever goes wrong with
one, its cards are read by this process.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mshub_ssd import cpu
from mshub_ssd.errors import CardError
from mshub_ssd.registry.rows import Judge, Row, row_of
from mshub_ssd.registry.source import Entry, Lost, Source

__all__ = ["Read", "main", "read_rows"]

_log = logging.getLogger("mshub_ssd.registry")

Read = tuple[Entry | Lost, Row | str]
"""What was found, and its row; or why it cannot be read."""

_MANY = 1000  # cards that are worth the start of helpers
_BATCH = 64
_MOST = 4  # helpers; one process writes what they read, and does not keep up with more
_PATIENCE = 5.0  # seconds for a helper to end by itself


def read_rows(source: Source, found: Iterable[Entry | Lost], judge: Judge | None) -> Iterator[list[Read]]:
    """Read cards, batch by batch, in about the order given.

    Args:
        source: Where they are.
        found: Which; taken bit by bit.
        judge: Who says which can be loaded.

    Raises:
        MshubError: `found` raised it.
    """
    rest = iter(found)
    first = list(itertools.islice(rest, _MANY))
    rest = itertools.chain(first, rest)
    helpers = min(_MOST, cpu.thread_limit() or os.cpu_count() or 1)
    if len(first) < _MANY or helpers == 1 or not sys.executable:
        yield from (_read_here(source, batch, judge) for batch in _batches(rest))
        return
    crew = _Helpers(source, _batches(rest), judge, helpers)
    try:
        yield from crew.answers()
    finally:
        crew.close()


def _batches(found: Iterator[Entry | Lost]) -> Iterator[list[Entry | Lost]]:
    while batch := list(itertools.islice(found, _BATCH)):
        yield batch


def _read_here(source: Source, batch: Sequence[Entry | Lost], judge: Judge | None) -> list[Read]:
    return [(one, one.reason if isinstance(one, Lost) else _read(*_order(source, one), judge)) for one in batch]


_Order = tuple[str, str | None, str | bytes, str]
"""A card to be read: uid, file or else None, what it holds if there is no file, where it came from."""


def _order(source: Source, entry: Entry) -> _Order:
    path = source.path(entry)
    if path is None:
        try:
            return entry.uid, None, source.read(entry), source.origin(entry)
        except CardError as error:
            return entry.uid, None, error.message, ""
    # The index outlives the folder that this process is in.
    return entry.uid, os.path.abspath(path), b"", source.origin(entry)


def _read(uid: str, path: str | None, data: str | bytes, origin: str, judge: Judge | None) -> Row | str:
    from mshub_ssd.cards import parse_card, read_card

    try:
        if isinstance(data, str):
            raise CardError(data, where=uid)
        card = parse_card(data, uid=uid, origin=origin) if path is None else read_card(path, uid)
    except CardError as error:
        _log.debug("a card that cannot be read: %s", error)
        return error.message
    return row_of(card, judge)


class _Helpers:
    """Helper processes, and a thread for each that asks it."""

    def __init__(
        self, source: Source, batches: Iterator[list[Entry | Lost]], judge: Judge | None, helpers: int
    ) -> None:
        self._source, self._batches, self._judge = source, batches, judge
        self._guard = threading.Lock()
        self._stopped = False
        self._processes: list[subprocess.Popen[bytes]] = []
        self._answers: queue.Queue[tuple[list[Entry | Lost], bytes | None] | BaseException | None] = queue.Queue(8)
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(helpers)]
        for thread in self._threads:
            thread.start()

    def answers(self) -> Iterator[list[Read]]:
        """What was read; ends when all is."""
        working = len(self._threads)
        while working:
            told = self._answers.get()
            if told is None:
                working -= 1
            elif isinstance(told, BaseException):
                raise told
            else:
                batch, answer = told
                yield _read_here(self._source, batch, self._judge) if answer is None else _understood(batch, answer)
        # What is left where no helper could be started, or none lived on.
        for batch in self._batches:
            yield _read_here(self._source, batch, self._judge)

    def close(self) -> None:
        """End all, whatever they are at."""
        self._stopped = True
        for process in self._processes:
            process.kill()
        while any(thread.is_alive() for thread in self._threads):
            with contextlib.suppress(queue.Empty):
                self._answers.get(timeout=0.05)  # a thread may wait for room
        for process in self._processes:
            process.wait()

    def _ask(self) -> None:
        """Give one helper batch after batch."""
        try:
            with self._guard:
                if self._stopped:
                    return
                process = self._start()
            if process is not None:
                self._ask_one(process)
        except OSError as error:
            _log.info("cards are read without a helper: %s", error)
        except BaseException as error:  # noqa: BLE001 - the source's: who asked for the rows gets it
            self._answers.put(error)
        finally:
            self._answers.put(None)

    def _start(self) -> subprocess.Popen[bytes]:
        import mshub_ssd

        # Started where the package lies, which comes first on its path: it runs this very package.
        process = subprocess.Popen(
            [sys.executable, "-m", "mshub_ssd.registry.reading"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=Path(mshub_ssd.__file__).parents[1],
        )
        self._processes.append(process)
        return process

    def _ask_one(self, process: subprocess.Popen[bytes]) -> None:
        asked, answers = process.stdin, process.stdout
        if asked is None or answers is None:
            return
        judge = self._judge
        with contextlib.suppress(BrokenPipeError), asked, answers:
            name = None if judge is None else f"{type(judge).__module__}:{type(judge).__qualname__}"
            asked.write(json.dumps(name).encode() + b"\n")
            asked.flush()
            # A network that was registered in this process is known to no other.
            if _parsed(answers.readline()) != {"fingerprint": None if judge is None else judge.fingerprint}:
                _log.info("cards are read without a helper: it knows other networks, or did not start")
                return
            while not self._stopped:
                with self._guard:
                    batch = next(self._batches, None)
                if batch is None:
                    return
                answer = b""
                with contextlib.suppress(OSError):
                    asked.write(_spelt([_order(self._source, one) for one in batch if isinstance(one, Entry)]))
                    asked.flush()
                    answer = answers.readline()
                good = answer.endswith(b"\n")
                self._answers.put((batch, answer if good else None))
                if not good:
                    _log.info("a helper that reads cards ended with %s", process.poll())
                    return


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _spelt(orders: Sequence[_Order]) -> bytes:
    # Bytes as text of the same numbers: a card may be no UTF-8.
    told = [
        (uid, path, data.decode("latin-1"), origin, None) if isinstance(data, bytes) else (uid, path, "", origin, data)
        for uid, path, data, origin in orders
    ]
    return json.dumps(told).encode() + b"\n"


def _understood(batch: Sequence[Entry | Lost], answer: bytes) -> list[Read]:
    told = iter(json.loads(answer))
    found: list[Read] = []
    for one in batch:
        if isinstance(one, Lost):
            found.append((one, one.reason))
        else:
            row = next(told)
            found.append((one, row if isinstance(row, str) else Row.from_list(row)))
    return found


def main() -> int:
    """Answer line by line, until there are no more."""
    import gc
    import signal

    gc.set_threshold(100_000)  # cards leave next to nothing that refers to itself
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started this one; then its input ends
    lines, out = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what a package of networks prints is no answer
    name = json.loads(lines.readline())
    judge: Judge | None = None
    if name is not None:
        module, _, attribute = name.partition(":")
        judge = getattr(importlib.import_module(module), attribute)()
    answer: Any = {"fingerprint": None if judge is None else judge.fingerprint}
    while True:
        out.write(json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))
        out.write(b"\n")
        out.flush()
        line = lines.readline()
        if not line.endswith(b"\n"):
            return 0
        rows = [
            _read(uid, path, reason or text.encode("latin-1"), origin, judge)
            for uid, path, text, origin, reason in json.loads(line)
        ]
        answer = [row if isinstance(row, str) else row.to_list() for row in rows]


if __name__ == "__main__":
    sys.exit(main())
