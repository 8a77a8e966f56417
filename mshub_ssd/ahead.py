"""Things made ready by threads, a bounded number ahead, run somewhere else meanwhile, and given out in order."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from queue import SimpleQueue
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

__all__ = ["NOT_YET", "Cancelled", "Limits", "Stop", "Work", "in_order"]

Thing = TypeVar("Thing")
Ready = TypeVar("Ready")
Running = TypeVar("Running")
Result = TypeVar("Result", covariant=True)

# Things that take longer to come are slow: then a result that is there is given out before the next one is waited for,
# and one that is about to be there is awaited for this part of the time.
_SLOW = 0.02
_PATIENCE = 0.25
# Another thread helps where one keeps the others waiting so often in a row, or for so long.
_OFTEN = 4
_LONG = 0.05
# So long the threads have for what they are doing when all is cancelled. A download that stalls would take a minute
# more: its thread ends by itself.
_LEAVE = 2.0


NOT_YET: Any = type("NotYet", (), {"__repr__": lambda _: "NOT_YET"})()
"""What an iterable may give where it would wait: all that is under way is given out before it is asked again."""


class Cancelled(Exception):  # noqa: N818 - no error: nobody wants the result any more
    """Nobody wants what is being worked on; ends the work, and is told to nobody."""


class Stop:
    """Whether those who work shall stop; given to whoever works.

    Attributes:
        requested: Whether they shall.
    """

    requested = False

    def check(self) -> None:
        """Called between the steps of a work.

        Raises:
            Cancelled: They shall stop.
        """
        if self.requested:
            raise Cancelled


class Limits(NamedTuple):
    """How far ahead to work.

    Attributes:
        under_way: So many things at most are taken and not yet given out as results.
        threads: So many threads may make things ready; more, if that takes long.
        running: So many batches are worth starting before one is finished; half of them keep whatever runs them busy.
    """

    under_way: int
    threads: int
    running: int


class Work(Protocol[Thing, Ready, Running, Result]):  # type: ignore[misc] # variances of no concern
    """What is done with things."""

    def prepare(self, thing: Thing, stop: Stop) -> Ready:
        """Make one ready; in any thread."""

    def start(self, batch: Sequence[Ready]) -> Running:
        """Start with some that are ready; in the thread that asks for results, as all that follows."""

    def is_done(self, running: Running, seconds: float) -> bool:
        """Whether what was started is done, or will be within so many seconds."""

    def finish(self, running: Running) -> Iterable[Result]:
        """As many results."""

    def drop(self, running: Running) -> None:
        """Nobody wants the results."""


class _Slot(Generic[Thing, Ready]):
    """A thing being made ready; the lock is open when it is."""

    def __init__(self, thing: Thing) -> None:
        self.thing: list[Thing] = [thing]
        self.ready: list[Ready] = []
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()

    def is_done(self, seconds: float = 0.0) -> bool:
        done = self.done.acquire(timeout=seconds)
        if done:
            self.done.release()
        return done


def in_order(
    things: Iterable[Thing],
    work: Work[Thing, Ready, Running, Result],
    limits: Limits,
    *,
    batch: int = 1,
    max_threads: int = 32,
) -> Generator[Result, None, None]:
    """What `work` makes of things, in their order.

    The iterable runs in the thread that asks for results. When the generator is closed, or ends with an error, what has
    not begun is dropped, what has is told to stop, and no thread is left.

    Args:
        things: Any number of them, without an end too; they may be slow to come. `NOT_YET` among them is none.
        work: What is done with them.
        limits: How far ahead to work.
        batch: So many are started together, at the end fewer.
        max_threads: So many threads at most, however long it takes to make things ready.

    Raises:
        BaseException: What the iterable raises, after the results of what came before; and what `work` raises.
    """
    source = iter(things)
    team: _Team[Thing, Ready] = _Team(work.prepare, max_threads)
    slots: deque[_Slot[Thing, Ready]] = deque()
    running: deque[Running] = deque()
    open_batch: list[Ready] = []
    under_way, pull, waits = 0, 0.0, 0
    ended, waiting, failure = False, False, None
    try:
        while True:
            slow = pull > _SLOW
            if not under_way:
                waiting = False
            while not (ended or waiting) and under_way < limits.under_way:
                if slow and (
                    work.is_done(running[0], pull * _PATIENCE)
                    if running
                    else slots and slots[0].is_done(pull * _PATIENCE)
                ):
                    break
                begun = time.perf_counter()
                try:
                    thing = next(source)
                    waiting = thing is NOT_YET
                    if not waiting:
                        slots.append(team.take(thing))
                        under_way += 1
                except StopIteration:
                    ended = True
                except Exception as error:  # noqa: BLE001 - raised below, in its place
                    ended, failure = True, error
                pull = time.perf_counter() - begun
                slow = pull > _SLOW
            while slots and len(running) < limits.running:
                head = slots[0]
                if not head.is_done():
                    if slow and running:
                        break
                    waits += 1
                    if waits > _OFTEN:
                        team.grow(limits.threads)
                        waits = 0
                    while not head.is_done(_LONG):
                        team.grow(max_threads)
                else:
                    waits = 0
                if head.error is not None:
                    break
                slots.popleft()
                open_batch += head.ready
                if len(open_batch) == batch:
                    running.append(work.start(open_batch))
                    open_batch = []
            # What is over, or slow to go on, is not kept waiting for a whole batch; nor is what fills all the room.
            stuck = not running and (not slots or slots[0].error is not None)
            if open_batch and stuck and (ended or slow or waiting or under_way >= limits.under_way or slots):
                running.append(work.start(open_batch))
                open_batch = []
            if running:
                # Some in a row, where all that may run do: each kind of work runs from the processor's caches then, and
                # a small network gains a tenth.
                for _ in range(max(1, len(running) - limits.running // 2)):
                    for result in work.finish(running.popleft()):
                        under_way -= 1
                        yield result
            elif slots and slots[0].error is not None:
                raise slots[0].error
            elif ended and not slots and not open_batch:
                break
        if failure is not None:
            raise failure
    finally:
        team.leave()
        while running:
            work.drop(running.popleft())


class _Team(Generic[Thing, Ready]):
    """Threads that make things ready in turn."""

    def __init__(self, prepare: Callable[[Thing, Stop], Ready], most: int) -> None:
        self._prepare, self._most = prepare, most
        self._jobs: SimpleQueue[_Slot[Thing, Ready] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._stop = Stop()

    def take(self, thing: Thing) -> _Slot[Thing, Ready]:
        """Let some thread make a thing ready."""
        slot: _Slot[Thing, Ready] = _Slot(thing)
        self._jobs.put(slot)
        if not self._threads:
            self.grow(1)
        return slot

    def grow(self, most: int) -> None:
        """Let one more thread help, if there are fewer than so many."""
        if len(self._threads) >= min(most, self._most):
            return
        # A daemon, for the interpreter shall not wait for a download at its end.
        thread = threading.Thread(target=_run, args=(self._jobs, self._prepare, self._stop), daemon=True)
        thread.name = f"mshub-pictures-{len(self._threads) + 1}"
        thread.start()
        self._threads.append(thread)

    def leave(self) -> None:
        """Stop, and wait for the threads to end."""
        self._stop.requested = True
        for _ in self._threads:
            self._jobs.put(None)
        until = time.monotonic() + _LEAVE
        for thread in self._threads:
            if thread is not threading.current_thread():  # a collector may close a generator anywhere
                thread.join(max(0.0, until - time.monotonic()))


def _run(jobs: SimpleQueue[_Slot[Thing, Ready] | None], prepare: Callable[[Thing, Stop], Ready], stop: Stop) -> None:
    while (slot := jobs.get()) is not None:
        try:
            stop.check()
            # Whoever holds the slot shall not hold the thing as well.
            slot.ready.append(prepare(slot.thing.pop(), stop))
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            slot.error = error
        slot.done.release()
        del slot  # what it holds would live until the next one comes
