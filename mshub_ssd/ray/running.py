"""``mshub detect --ray``: a lake of pictures looked at by all machines of a cluster, part by part."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import pickle
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd import cpu
from mshub_ssd.errors import MshubError, UsageError, is_installed
from mshub_ssd.hub import default_hub
from mshub_ssd.ray.columns import row_name, to_table
from mshub_ssd.ray.looking import Classifier, Detector
from mshub_ssd.ray.needing import needing_ray
from mshub_ssd.ray.results import Part, ResultsFolder, part_name
from mshub_ssd.schemes import is_url

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Summary", "run"]

_log = logging.getLogger(__name__)

# Rows of a part: many enough that a million pictures make a thousand files, few enough that what is lost with an actor
# is soon made again.
_LEAST, _MOST = 8, 1000
# Parts for each actor, so that all of them end at about the same time.
_EACH = 8
# What an actor asks Ray for of the CPUs that it uses: of a machine that is lost, the actors find room on the others.
_ASKED = 0.5

_PATIENCE = 10.0  # seconds for a cluster to answer

Told = Callable[[int, int], object]


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        out: The folder with the results.
        pictures: How many rows are in it now, of these pictures.
        before: How many of them were there already.
        failures: How many rows are errors.
        parts: How many files were written now.
        actors: How many actors looked.
    """

    out: str
    pictures: int
    before: int
    failures: int
    parts: int
    actors: int


def run(
    kind: str,
    model: str,
    pictures: Sequence[str],
    out: str,
    *,
    options: Mapping[str, Any],
    address: str | None = None,
    actors: int | None = None,
    cpus: int = 1,
    told: Told | None = None,
) -> Summary:
    """Look at pictures on a Ray cluster, and write what is on them as Parquet files, a row per picture.

    What is in the folder already is not looked at again. Pictures are read where they are looked at, by the names that
    are given here.

    Args:
        kind: ``detector`` or ``classifier``.
        model: A uid, the same card on all machines.
        pictures: Names of files that all machines see, or urls; one that is named twice counts once.
        out: A folder that all machines see.
        options: Of `Detector` or `Classifier`.
        address: Of the cluster; by default what ``RAY_ADDRESS`` says, else this machine alone.
        actors: So many look at once; by default as many as there are CPUs for.
        cpus: Each of them uses so many.
        told: Is called with the number of pictures that are done, and of all.

    Raises:
        MissingDependencyError: Ray Data is not installed.
        UsageError: The results in the folder were made in another way, or an option makes no sense.
        MshubError: In one of its kinds: the model cannot be loaded there, or Ray gave up.
    """
    card = default_hub().info(model)
    name = str(Path(model).absolute()) if Path(model).is_file() else card.uid
    made = {"detector": Detector, "classifier": Classifier}[kind](name, cpus=cpus, card=card.digest(), **options)
    with needing_ray("mshub detect --ray"):
        if not is_installed("ray"):  # which takes seconds to import, and is not needed where all is done
            raise ModuleNotFoundError("No module named 'ray'", name="ray")
        import pyarrow.parquet  # noqa: F401
    spec = made.specification
    folder = ResultsFolder(out if is_url(out) else os.path.abspath(out))
    mark = folder.begin({"kind": kind, **{key: spec[key] for key in ("model", "card", "version")}, **spec["chosen"]})
    there = folder.parts(mark)
    wanted = {row_name(name): name for name in pictures}
    done = {name for _, names in there for name in names} & wanted.keys()
    left = [(number, name) for number, (key, name) in enumerate(wanted.items()) if key not in done]
    failures = sum(part.failures for part, _ in there)
    tell = told or (lambda _done, _all: None)
    reached = len(done)
    tell(reached, len(wanted))
    finished: list[Part] = []
    if left:
        with _cluster(address), _quiet():
            actors = actors or _room(cpus)
            jobs = _jobs(left, actors)
            job = {"looking": made, "out": folder.place, "mark": mark, "base": str(Path.cwd())}
            job["witness"] = _witness(name for _, name in left)
            for part in _parts(jobs, job, min(actors, len(jobs)), cpus):
                finished.append(part)
                reached += part.pictures
                tell(reached, len(wanted))
    return Summary(
        out=folder.place,
        pictures=reached,
        before=len(done),
        failures=failures + sum(part.failures for part in finished),
        parts=len(finished),
        actors=min(actors or 0, len(finished)),
    )


class PartMaker:
    """What an actor does: pictures' names in, a part of the results written, and its account out.

    Args:
        job: What `run` says of it.
    """

    def __init__(self, job: Mapping[str, Any]) -> None:
        self._job = job
        self._looking: Detector | Classifier = job["looking"]
        self._folder = ResultsFolder(job["out"])
        self._checked = False

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Make the parts that a batch asks for.

        What keeps it from that, such as a model that cannot be loaded or a folder that this machine does not see, is
        a value: of errors, Ray leaves their text.
        """
        import pyarrow as pa

        made: list[dict[str, Any]] = []
        for row in batch.to_pylist():
            try:
                self._check()
                part = self._part(row["part"], list(map(os.fsdecode, row["names"])))
                made.append({**vars(part), "error": None})
            except MshubError as error:
                made.append({**vars(Part(row["part"], 0, 0)), "error": pickle.dumps(error)})
        columns = [("name", pa.string()), ("pictures", pa.int64()), ("failures", pa.int64()), ("error", pa.binary())]
        return pa.Table.from_pylist(made, pa.schema(columns))

    def _part(self, name: str, names: Sequence[str]) -> Part:
        mark = self._job["mark"]
        # Whoever made it may have been lost before he could tell.
        there = self._folder.find(name, mark)
        if there is not None:
            return there[0]
        places = [one if is_url(one) else str(Path(self._job["base"], one)) for one in names]
        rows = list(self._looking.rows(places, names))
        failures = sum("error" in row for row in rows)
        return self._folder.add(name, mark, to_table(rows, self._looking.kind), failures)

    def _check(self) -> None:
        if self._checked:
            return
        self._folder.check(self._job["mark"])
        witness = self._job["witness"]
        if witness is not None and _size(witness[0]) != witness[1]:
            raise UsageError(
                "this machine does not see the pictures",
                where=witness[0],
                expected="a file system that all machines share, or urls",
                got="no such file" if _size(witness[0]) is None else "another file of that name",
            )
        self._checked = True


def _jobs(left: Sequence[tuple[int, str]], actors: int) -> list[tuple[str, list[str]]]:
    """Which pictures go into which part."""
    size = min(_MOST, max(_LEAST, math.ceil(len(left) / (actors * _EACH))))
    found = []
    for begin in range(0, len(left), size):
        some = left[begin : begin + size]
        names = [name for _, name in some]
        found.append((part_name(some[0][0], names), names))
    return found


def _parts(jobs: Sequence[tuple[str, list[str]]], job: Mapping[str, Any], actors: int, cpus: int) -> Iterator[Part]:
    """The parts, as they are made."""
    import pyarrow as pa
    import ray

    # A block is a part: Ray gives it to one actor, and to another one if that is lost.
    names = pa.list_(pa.binary())
    tables = [
        pa.table({"part": [part], "names": pa.array([list(map(os.fsencode, some))], names)}) for part, some in jobs
    ]
    dataset = ray.data.from_arrow(tables).map_batches(
        PartMaker,
        fn_constructor_kwargs={"job": dict(job)},
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
        num_cpus=cpus * _ASKED,
    )
    try:
        for row in dataset.iter_rows():
            error = row.pop("error")
            if error is not None:
                raise pickle.loads(error)  # noqa: S301 - from our own actor
            yield Part(**row)
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines()
        raise MshubError(
            "Ray gave up",
            got=lines[-1][:400] if lines else type(error).__name__,
            hint="the same command again goes on after what is done",
        ) from error


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """Connected to Ray; what was not there before is gone afterwards."""
    with needing_ray("mshub detect --ray"):
        import ray.data

    if ray.is_initialized():
        yield
        return
    # Whoever wants to tell Ray's makers says so.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # It has remarks on how Ray Data uses Ray.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    alone = {"include_dashboard": False, "num_cpus": cpu.thread_limit()} if where == "local" else {}
    try:
        _knock(where)
        ray.init(address=where, logging_level=logging.ERROR, log_to_driver=False, **alone)
    except Exception as error:  # Ray raises whatever it likes, plain Exceptions among them
        raise UsageError(
            "there is no Ray cluster to be reached",
            where=where,
            got=str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__,
            hint="ray status --address ADDRESS shows whether it runs; without --address this machine works alone",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """See that somebody listens there: Ray would wait for minutes.

    Raises:
        OSError: Nobody does.
    """
    host, colon, port = address.removeprefix("ray://").partition("/")[0].rpartition(":")
    if colon and port.isdecimal():
        with socket.create_connection((host.strip("[]"), int(port)), _PATIENCE):
            pass


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Ray Data without its own bars and lines: progress is told by us."""
    import ray

    context = ray.data.DataContext.get_current()
    wanted = {"enable_progress_bars": False, "print_on_execution_start": False}
    before = {name: getattr(context, name) for name in wanted if hasattr(context, name)}
    logger = logging.getLogger("ray.data")
    level = logger.level
    try:
        for name in before:
            setattr(context, name, wanted[name])
        logger.setLevel(logging.ERROR)
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            setattr(context, name, value)


def _room(cpus: int) -> int:
    """So many actors the cluster's CPUs are enough for."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)) // cpus)


def _witness(names: Iterator[str]) -> tuple[str, int] | None:
    """A picture of this machine's files, by which others see whether they have the same ones."""
    for name in names:
        path = os.path.abspath(name)
        if not is_url(name) and (size := _size(path)) is not None:
            return path, size
    return None


def _size(path: str) -> int | None:
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return None
