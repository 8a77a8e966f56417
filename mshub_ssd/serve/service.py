"""The work behind a server: pictures decoded by a few threads, gathered into batches, looked at by one network."""

from __future__ import annotations

import asyncio
import io
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mshub_ssd import engines, families, pictures
from mshub_ssd.errors import ImageError, MshubError, UsageError
from mshub_ssd.hub import Hub, default_hub
from mshub_ssd.results import Failure, row_of
from mshub_ssd.serve.limits import Limits, RefusedError, Room, Turns
from mshub_ssd.serve.metrics import Metrics

if TYPE_CHECKING:
    from mshub_ssd.cards import Card
    from mshub_ssd.families import Family
    from mshub_ssd.pipeline import Pipeline

__all__ = ["FORMATS", "Batching", "Service"]

_log = logging.getLogger(__name__)
T = TypeVar("T")

# What strangers may send. Pillow knows many more formats, most of them old, and one that runs a program.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
# A progressive JPEG goes over its pixels once per scan; cameras and programs make some ten.
_SCAN = b"\xff\xda"
_MAX_WORK = 20  # times the most pixels
# For clients; the library's own hints are for whoever has the file and the program.
_HINT = "send a whole file of one of these formats, and no larger a picture than the server takes"
_ENCODING: dict[str, dict[str, Any]] = {"PNG": {"compress_level": 3}, "JPEG": {"quality": 92}}


@dataclass(frozen=True)
class Batching:
    """How pictures are gathered for the network.

    Attributes:
        size: So many at once.
        max_wait: Seconds that the first of them waits for others; only for such as are on their way already.

    Raises:
        UsageError: One of them makes no sense.
    """

    size: int = 8
    max_wait: float = 0.005

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or isinstance(self.size, bool) or self.size < 1:
            raise UsageError("batch must be a positive whole number", got=repr(self.size)[:80])
        if not isinstance(self.max_wait, int | float) or not 0 <= self.max_wait <= 10:
            raise UsageError("max_wait_ms must be 0 to 10,000", got=f"{self.max_wait * 1000:g}")


@dataclass(eq=False)
class _Job:
    """One picture on its way. What is not needed any more is let go of at once."""

    data: bytes
    name: str | None
    options: Any
    draw: str | None
    abandoned: bool = False


@dataclass(eq=False)
class _Input:
    """What the network looks at, and where its outputs are awaited."""

    array: Any
    done: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    since: float = field(default_factory=time.monotonic)


class Service:
    """A model that any number of requests share.

    Args:
        model: A uid, or the path of a card.
        hub: The session that finds and loads it; the default one unless given.
        running: ``engine``, ``precision`` and ``threads``, as for `Predictor`.
        limits: What it takes.
        batching: How pictures are gathered.
        decoders: So many threads decode; None for one per processor.
        check: Given the family once it is known; may raise what then is the `failure`.

    Attributes:
        card: The model's card.
        failure: Why the model could not be loaded.
        stopping: Whether no more pictures are taken.

    Raises:
        MshubError: There is no such model or engine.
    """

    def __init__(
        self,
        model: str | Path,
        hub: Hub | None,
        running: dict[str, Any],
        limits: Limits,
        batching: Batching,
        decoders: int | None = None,
        check: Callable[[Family], object] = lambda _: None,
    ) -> None:
        self._hub, self._model, self._running = hub or default_hub(), model, running
        self.card: Card = self._hub.info(model)
        engines.choose(running["engine"])  # what is missing is said before anybody comes
        engines.check_options(running["precision"], running["threads"])
        self.limits, self._batching, self._decoders = limits, batching, decoders or _processors()
        self._check_family = check
        self.metrics = Metrics()
        self.room = Room(max(limits.max_held_bytes, limits.max_bytes))
        self.failure: MshubError | None = None
        self.stopping = False
        self._pipeline: Pipeline | None = None
        self._waiting = 0
        self._rate = _Rate()
        self.metrics.queue.set_function(lambda: self._waiting)
        self.metrics.held.set_function(lambda: self.room.taken)
        self.metrics.ready.set_function(lambda: float(self.ready))
        self.metrics.queue_limit.set(limits.max_queue)
        self._tasks: set[asyncio.Task[Any]] = set()

    # --- its life

    async def start(self) -> None:
        """Begin to load the model; `ready` tells when it is."""
        self._pool = ThreadPoolExecutor(self._decoders, thread_name_prefix="mshub-serve-pictures")
        self._network = ThreadPoolExecutor(1, thread_name_prefix="mshub-serve-network")
        self._turns = Turns(self.limits.max_pixels)
        self._inputs: asyncio.Queue[_Input] = asyncio.Queue()
        self.stopping, self.failure = False, None
        self._gatherer = asyncio.create_task(self._gather())
        self._loader = asyncio.create_task(self._load())

    async def loaded(self) -> None:
        """Wait until the model is loaded.

        Raises:
            MshubError: It cannot be.
        """
        await self._loader
        if self.failure is not None:
            raise self.failure

    async def close(self) -> None:
        """Answer what was let in, and let go of the model."""
        self.stopping = True
        while self._tasks:
            await asyncio.wait(self._tasks)
        for task in (self._loader, self._gatherer):
            task.cancel()
        await asyncio.gather(self._loader, self._gatherer, return_exceptions=True)
        self._pool.shutdown(wait=True)
        self._network.shutdown(wait=True)
        if self._pipeline is not None:
            self._flow.close()
            self._pipeline.close()
            self._pipeline = None

    @property
    def ready(self) -> bool:
        """Whether pictures are taken."""
        return self._pipeline is not None and not self.stopping

    @property
    def idle(self) -> bool:
        """Whether no picture waits."""
        return not self._waiting

    @property
    def family(self) -> Family:
        """How the network sees pictures.

        Raises:
            RefusedError: The model is not loaded.
        """
        self._check_open()
        assert self._pipeline is not None
        return self._pipeline.family

    @property
    def engine(self) -> tuple[str, str] | None:
        """Engine and precision; None before the model is loaded."""
        return None if self._pipeline is None else (self._pipeline.runner.name, self._pipeline.runner.precision)

    async def _load(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            pipeline = await loop.run_in_executor(self._network, self._opened)
        except MshubError as error:
            self.failure = error
            _log.error("the model cannot be loaded: %s", error)
            return
        self._pipeline = pipeline
        told = {"engine": pipeline.runner.name, "precision": pipeline.runner.precision}
        self.metrics.model.info({"uid": self.card.uid, **told})

    def _opened(self) -> Pipeline:
        began = time.perf_counter()
        pipeline = self._hub.open_pipeline(self._model, **self._running)
        try:
            if not isinstance(pipeline.family, families.Detector | families.Classifier):
                raise UsageError(
                    "only detectors and classifiers are served",
                    got=f"a {pipeline.family.kind}",
                    hint="see docs/serving.md",
                )
            self._check_family(pipeline.family)
            # Engines compile at the first picture, and another form for several: nobody should wait for that.
            blank, _ = pipeline.family.preprocess(np.zeros((64, 64, 3), np.uint8))
            pipeline.runner.run(blank)
            self._flow = pipeline.runner.flow()
            self._flow.start(blank).result()
        except BaseException:
            pipeline.close()
            raise
        _log.info("loaded in %.1f s", time.perf_counter() - began)
        return pipeline

    # --- pictures

    def admit(self, count: int = 1) -> None:
        """See whether so many pictures are let in now.

        Raises:
            RefusedError: Not now.
        """
        self._check_open()
        if self._waiting + count > self.limits.max_queue:
            raise RefusedError(
                503,
                "queue-full",
                "as many pictures are waiting as this server lets wait",
                hint="try again later",
                retry_after=self._rate.seconds_for(self._waiting),
            )

    async def look(self, images: Sequence[tuple[str | None, bytes]], options: Any, draw: str | None) -> list[Any]:
        """What is on pictures.

        Args:
            images: Names and bytes; the caller holds no room for them any more.
            options: From the family's `options`.
            draw: ``PNG`` or ``JPEG`` for the drawn picture in place of its row.

        Returns:
            A row or the bytes of a picture for each, or a `Failure`.

        Raises:
            RefusedError: There is no place for them, or it took too long.
        """
        self.admit(len(images))
        self._waiting += len(images)
        jobs = [_Job(data, name, options, draw) for name, data in images]
        for job in jobs:  # no `take`: the caller has just given back at least as much
            self.room.taken += len(job.data)
        tasks = [asyncio.create_task(self._through(job)) for job in jobs]
        for task in tasks:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            # Shielded: a thread that decodes cannot be stopped, and what it holds counts until it is done.
            return await asyncio.wait_for(asyncio.gather(*map(asyncio.shield, tasks)), self.limits.timeout)
        except asyncio.TimeoutError:
            raise RefusedError(
                503,
                "too-slow",
                f"the picture was not looked at within {self.limits.timeout:g} seconds",
                hint="try again later",
                retry_after=self._rate.seconds_for(self._waiting),
            ) from None
        finally:
            for job in jobs:
                job.abandoned = True

    async def _through(self, job: _Job) -> Any:
        held, inside = len(job.data), 0
        try:
            try:
                size = await self.apart(_claimed_size, job.data, self.limits)
                inside = await self._turns.enter(size[0] * size[1])
                if job.abandoned:
                    return None
                array, transform, picture = await self._timed("read", self._read, job)
            except ImageError as error:
                return Failure(job.name, ImageError(error.message, expected=error.expected, got=error.got, hint=_HINT))
            self.room.give(held)
            job.data, held = b"", 0
            if picture is None:
                self._turns.leave(inside)
                inside = 0
            if job.abandoned:
                return None
            waiting = _Input(array)
            self._inputs.put_nowait(waiting)
            outputs = await waiting.done
            self.metrics.pictures.inc()
            return await self._timed("tell", self._told, job, outputs, transform, picture)
        finally:
            self.room.give(held)
            self._turns.leave(inside)
            self._waiting -= 1
            self._rate.count()

    def _read(self, job: _Job) -> tuple[Any, Any, Any]:
        pixels = pictures.from_bytes(job.data, formats=FORMATS)
        family = self._open_pipeline.family
        array, transform = family.preprocess(pixels)
        return array, transform, pixels if job.draw else None

    def _told(self, job: _Job, outputs: Any, transform: Any, picture: Any) -> Any:
        family = self._open_pipeline.family
        result = family.postprocess(outputs, [transform], job.options, pictures=[picture])[0]
        if job.draw is None:
            return {**row_of(result, job.name), "size": list(transform.image_size)}
        into = io.BytesIO()
        result.draw().save(into, format=job.draw, **_ENCODING[job.draw])
        return into.getvalue()

    async def _gather(self) -> None:
        """Give pictures to the network, as many at once as have come, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._inputs.get()]
            until = loop.time() + self._batching.max_wait
            while len(batch) < self._batching.size:
                if self._inputs.empty():
                    left = until - loop.time()
                    # Who is alone need not wait: a later one begins the next batch.
                    if left <= 0 or self._waiting <= len(batch):
                        break
                    try:
                        batch.append(await asyncio.wait_for(self._inputs.get(), left))
                    except asyncio.TimeoutError:
                        break
                else:
                    batch.append(self._inputs.get_nowait())
            now = time.monotonic()
            for one in batch:
                self.metrics.stages.labels("wait").observe(now - one.since)
            self.metrics.batches.observe(len(batch))
            run = loop.run_in_executor(self._network, self._run, batch, loop)
            failure: Any = (await asyncio.gather(run, return_exceptions=True))[0]
            self.metrics.stages.labels("network").observe(time.monotonic() - now)
            for one in batch:
                if not one.done.done():
                    one.done.set_exception(failure)

    def _run(self, batch: Sequence[_Input], loop: asyncio.AbstractEventLoop) -> None:
        """Let the network look, in its thread; each picture is told of when it is through.

        A lone one has all processors; of several, as many are under way as the engine likes, so that together they take
        less.
        """
        if len(batch) == 1:
            outputs = self._open_pipeline.runner.run(batch[0].array)
            loop.call_soon_threadsafe(batch[0].done.set_result, outputs)
            return
        under_way: deque[tuple[_Input, engines.Running]] = deque()
        waiting = deque(batch)
        while waiting or under_way:
            if waiting and len(under_way) < self._flow.depth:
                one = waiting.popleft()
                under_way.append((one, self._flow.start(one.array)))
            else:
                one, running = under_way.popleft()
                loop.call_soon_threadsafe(one.done.set_result, running.result())

    async def _timed(self, stage: str, work: Callable[..., T], *args: Any) -> T:
        began = time.monotonic()
        try:
            return await self.apart(work, *args)
        finally:
            self.metrics.stages.labels(stage).observe(time.monotonic() - began)

    async def apart(self, work: Callable[..., T], *args: Any) -> T:
        """Do something in a thread, for the loop must not wait."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)

    @property
    def _open_pipeline(self) -> Pipeline:
        assert self._pipeline is not None
        return self._pipeline

    def _check_open(self) -> None:
        if self.stopping:
            raise RefusedError(503, "stopping", "the server is being stopped", hint="ask another one", retry_after=5)
        if self.failure is not None:
            raise RefusedError(503, self.failure.code, "the model could not be loaded", hint="see the server's log")
        if self._pipeline is None:
            raise RefusedError(503, "loading", "the model is still being loaded", hint="try again", retry_after=2)


class _Rate:
    """Pictures per second, lately."""

    def __init__(self) -> None:
        self._since, self._count, self._rate = time.monotonic(), 0, 0.0

    def count(self) -> None:
        self._count += 1
        span = time.monotonic() - self._since
        if span >= 1:
            self._rate, self._count, self._since = self._count / span, 0, time.monotonic()

    def seconds_for(self, waiting: int) -> int:
        return max(1, min(60, math.ceil(waiting / self._rate))) if self._rate else 1


def _claimed_size(data: bytes, limits: Limits) -> tuple[int, int]:
    """(height, width) as a picture's header has it, if it may be decoded.

    Raises:
        ImageError: It is none, or decoding it is too much work.
    """
    if not data:
        raise ImageError("there is no picture: no bytes came")
    height, width = pictures.size_of(data, formats=FORMATS)
    pixels = height * width
    if pixels > limits.max_pixels:
        raise ImageError(
            "the picture has too many pixels",
            expected=f"at most {limits.max_pixels}",
            got=f"{width} x {height}",
        )
    scans = data.count(_SCAN) if data.startswith(b"\xff\xd8") else 1
    if pixels * scans > _MAX_WORK * limits.max_pixels:
        raise ImageError("the picture has more scans than a picture needs", got=f"{scans}")
    return height, width


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
