"""Downloads that go on where another process stopped, and processes that wait for each other."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import labclock
import pytest
from faultserver import PATIENCE, Fault, FaultServer, noise
from storelab import FORK, QUICK, UNHURRIED, plant_part

from mshub_ssd import store
from mshub_ssd.errors import IntegrityError, TransferError
from mshub_ssd.settings import Settings
from mshub_ssd.store import locks, parts, transfer
from mshub_ssd.store.blobs import Cache
from mshub_ssd.store.digests import Digest
from mshub_ssd.terminal import Progress

BODY = noise(300_000)
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with transfer.override_policy(**{**QUICK, "max_bytes": 1 << 30, "lock_poll": 0.01}), labclock.events():
        yield


class Watch:
    """Stands in for the module `time` where locks are waited for: every pause is a step of the clock.

    Attributes:
        now: Seconds waited so far.
        each: Called in every pause.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.each: Callable[[], object] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.each()
        time.sleep(0.001)  # others need the machine


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    watch = Watch()
    with monkeypatch.context() as patch:
        patch.setattr(locks, "time", watch)
        yield watch


@pytest.fixture
def ours(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "cache")


def kept_part(ours: Settings, data: bytes, **facts: object) -> Path:
    """A part with a note, as a process leaves it that was killed."""
    path = plant_part(ours, SHA, data)
    path.with_name(f"{path.name}.json").write_text(json.dumps(facts))
    return path


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that knows no locks."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """The number of another process, which has a file locked as long as this lasts."""

    def lock(path: Path, there: Any, enough: Any) -> None:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            there.set()
            enough.wait(PATIENCE)

    there, enough = FORK.Event(), FORK.Event()
    process = FORK.Process(target=lock, args=(path, there, enough))
    process.start()
    assert there.wait(PATIENCE)
    try:
        assert process.pid is not None
        yield process.pid
    finally:
        enough.set()
        process.join(PATIENCE)


# --- parts


def test_a_failed_download_goes_on_in_the_next_call(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY, Fault(cut_after=120_000), then=Fault(status=404))
    with pytest.raises(TransferError) as caught:
        store.fetch([url], SHA, settings=ours)
    assert "120 kB (120000 bytes) are kept" in str(caught.value)
    fault_server.add("/a", BODY)
    fault_server.requests.clear()
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    (request,) = fault_server.requests
    assert request.headers["range"] == "bytes=120000-"
    assert request.headers["if-range"].startswith('"'), "the tag was remembered across calls"
    assert not list((ours.home / "v1" / "tmp").iterdir())


def test_the_part_of_a_killed_process_is_taken_up(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY)
    tag = f'"{hashlib.sha256(BODY).hexdigest()[:16]}"'
    source = hashlib.sha256(url.encode()).hexdigest()
    kept_part(ours, BODY[:100_000], source=source, validator=tag, total=300_000)
    kept_part(ours, BODY[:50_000])
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert fault_server.requests[0].headers["range"] == "bytes=100000-", "the largest one"
    assert fault_server.requests[0].headers["if-range"] == tag
    assert not list((ours.home / "v1" / "tmp").iterdir()), "the smaller one is of no use any more"


def test_a_complete_part_needs_no_network(ours: Settings) -> None:
    kept_part(ours, BODY)
    assert store.fetch(["http://127.0.0.1:1/none"], SHA, settings=ours).read_bytes() == BODY


@pytest.mark.parametrize("note", [b"", b"[]", b"{", b'{"validator": 5}', b"\xff" * 100, b"[" * 100_000])
def test_a_damaged_note_costs_the_tag_only(fault_server: FaultServer, ours: Settings, note: bytes) -> None:
    path = kept_part(ours, BODY[:100_000])
    path.with_name(f"{path.name}.json").write_bytes(note)
    assert store.fetch([fault_server.add("/a", BODY)], SHA, settings=ours).read_bytes() == BODY
    (request,) = fault_server.requests
    assert request.headers["range"] == "bytes=100000-"
    assert "if-range" not in request.headers
    assert not list((ours.home / "v1" / "tmp").iterdir())


def test_the_part_of_a_living_process_is_left_alone(fault_server: FaultServer, ours: Settings) -> None:
    path, url = kept_part(ours, BODY[:100_000]), fault_server.add("/a", BODY)
    with locked(path):
        store.fetch([url], SHA, settings=ours)
        assert "range" not in fault_server.requests[0].headers
        (entry,) = store.entries(ours, kinds=("part",))
        assert entry.busy == "a living process"
        assert [reason for _, reason in store.remove([SHA], settings=ours).kept] == [f"{entry.busy} is downloading it"]
    store.fetch([url], SHA, force=True, settings=ours)
    assert not path.exists()


@pytest.mark.usefixtures("no_locks")
def test_without_locks_the_age_of_a_part_tells_whether_it_was_left_behind(
    fault_server: FaultServer, ours: Settings
) -> None:
    path, url = kept_part(ours, BODY[:100_000]), fault_server.add("/a", BODY)
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert "range" not in fault_server.requests[0].headers
    assert path.exists()
    old = time.time() - 700
    os.utime(path, (old, old))
    store.fetch([url], SHA, force=True, settings=ours)
    assert not list((ours.home / "v1" / "tmp").iterdir())
    assert not list((ours.home / "v1" / "locks").iterdir())


def test_a_forked_child_keeps_nothing_of_its_parents_alive(fault_server: FaultServer, ours: Settings) -> None:
    """Neither the lock nor the part, when the parent is killed and the child lives on."""
    url, born = fault_server.add("/a", BODY, Fault(stall_after=100_000)), FORK.Event()
    tmp = ours.home / "v1" / "tmp"

    def parent() -> None:
        threading.Thread(target=store.fetch, args=([url], SHA), kwargs={"settings": ours}, daemon=True).start()
        while sum(part.stat().st_size for part in tmp.glob("*.part")) < 100_000:
            time.sleep(0.001)
        if os.fork() == 0:
            born.set()
            time.sleep(PATIENCE)
            os._exit(0)
        time.sleep(PATIENCE)

    with transfer.override_policy(**UNHURRIED, lock_poll=-1.0):  # whoever waits for the lock fails
        process = FORK.Process(target=os_group, args=(parent,))
        process.start()
        assert born.wait(PATIENCE)
        assert process.pid is not None
        process.kill()
        process.join()  # without a limit, which would wait for the child as well
        try:
            assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert fault_server.requests[-1].headers["range"] == "bytes=100000-"


def os_group(work: Callable[[], None]) -> None:
    """Do it in a process group of its own."""
    os.setpgid(0, 0)
    work()


@pytest.mark.parametrize("kind", ["link", "folder", "longer", "wrong"])
def test_what_is_no_beginning_of_the_file_costs_nothing_but_time(
    fault_server: FaultServer, ours: Settings, tmp_path: Path, kind: str
) -> None:
    path = plant_part(ours, SHA, {"longer": BODY + b"x", "wrong": noise(50_000, seed=5)}.get(kind, b""))
    if kind in ("link", "folder"):
        path.unlink()
    if kind == "link":
        (tmp_path / "precious").write_bytes(b"precious")
        path.symlink_to(tmp_path / "precious")
    if kind == "folder":
        path.mkdir()
    url = fault_server.add("/a", BODY)
    assert store.fetch([url], SHA, size=len(BODY), settings=ours).read_bytes() == BODY
    if kind == "link":
        assert (tmp_path / "precious").read_bytes() == b"precious"


def test_a_part_that_was_robbed_while_it_was_made_is_made_again(
    ours: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its making and its being locked, somebody may take it for one left behind."""
    cache, real, robbed = Cache(ours.home), fcntl.flock, []

    def flock(fd: int, kind: int) -> None:
        if len(robbed) < 2:
            (part,) = cache.tmp.glob("*.part")
            robbed.append(part)
            part.unlink()
            if len(robbed) == 1:
                raise BlockingIOError
        real(fd, kind)

    cache.prepare(SHA)
    monkeypatch.setattr(fcntl, "flock", flock)
    part = cache.part(SHA)
    part.write(BODY)
    assert len(robbed) == 2
    assert cache.publish(part, SHA).read_bytes() == BODY
    part.finish()


def test_an_owner_taken_for_dead_still_publishes_what_it_verified(
    fault_server: FaultServer, ours: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it writes later reaches nothing that was taken from it."""
    url = fault_server.add("/a", BODY)
    real = Cache.publish

    def robbed(self: Cache, part: parts.Part, digest: str) -> Path:
        taken = part.path.rename(part.path.with_name("taken"))
        taken.write_bytes(b"someone else's" * 30_000)
        taken.unlink()
        return real(self, part, digest)

    monkeypatch.setattr(Cache, "publish", robbed)
    with pytest.raises(TransferError, match="changed under our hands"):
        store.fetch([url], SHA, settings=ours)
    assert store.cached([url], SHA, ours) is None

    def robbed_cleanly(self: Cache, part: parts.Part, digest: str) -> Path:
        part.path.unlink()
        return real(self, part, digest)

    monkeypatch.setattr(Cache, "publish", robbed_cleanly)
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY


def test_a_part_that_does_not_fit_is_thrown_away(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY, then=Fault(flip_bit=9))
    with pytest.raises(IntegrityError):
        store.fetch([url], SHA, settings=ours)
    assert not list((ours.home / "v1" / "tmp").iterdir())


def test_nothing_is_published_under_another_digest(ours: Settings) -> None:
    cache = Cache(ours.home)
    cache.prepare(SHA)
    part = cache.part(SHA)
    part.write(b"other bytes")
    with pytest.raises(IntegrityError, match="refusing to publish"):
        cache.publish(part, SHA)
    assert part.finish() is False
    assert store.entries(ours, kinds=("file", "part")) == []


def test_an_interruption_between_writing_and_counting_loses_nothing(
    fault_server: FaultServer, ours: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fault_server.add("/a", BODY, Fault(stall_after=100_000))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(parts.Sink, "write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.fetch([url], SHA, settings=ours)
    (part,) = (ours.home / "v1" / "tmp").glob("*.part")
    kept = part.stat().st_size
    assert 0 < kept <= 100_000
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert fault_server.requests[-1].headers["range"] == f"bytes={kept}-"


# --- locks


def fetch_slowly(url: str, ours: Settings) -> None:
    store.fetch([url], SHA, settings=ours)


def test_the_second_process_waits_and_says_for_whom(
    fault_server: FaultServer, ours: Settings, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="mshub_ssd")
    go_on = threading.Event()
    url = fault_server.add("/a", BODY, Fault(until=go_on))
    with transfer.override_policy(**{**UNHURRIED, "lock_idle": math.inf, "lock_longest": math.inf}):
        owner = FORK.Process(target=fetch_slowly, args=(url, ours))
        owner.start()
        fault_server.await_requests(1)
        # The first gets its bytes once the second has said that it waits.
        watch.each = lambda: go_on.set() if "waiting for" in caplog.text else None
        assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
        owner.join(PATIENCE)
    assert len(fault_server.requests) == 1
    assert f"waiting for process {owner.pid} on {os.uname().nodename}, which is downloading a" in caplog.text


@pytest.mark.parametrize("moves", [True, False])
def test_a_process_is_waited_for_as_long_as_it_shows_progress(ours: Settings, watch: Watch, moves: bool) -> None:
    place = ours.home / "lock"
    place.parent.mkdir(parents=True)
    place.touch()
    patience = transfer.Policy(lock_idle=0.4, lock_poll=0.3)

    def look() -> str | None:
        return "done" if watch.now > 50 else None

    with locked(place), locks.hold(place, "testing", look, lambda: watch.now if moves else 0, patience) as found:
        assert found == ("done" if moves else None)
    assert watch.now > 50 if moves else 0.4 < watch.now < 1
    assert place.exists(), "it is not ours"


def test_a_download_shows_its_progress(fault_server: FaultServer, ours: Settings) -> None:
    part, seen = Cache(ours.home), []

    class Shown(Progress):
        @contextlib.contextmanager
        def track(self, title: str, start: int, total: int | None) -> Iterator[Callable[[int], object]]:
            yield lambda count: seen.append(parts.bytes_under_way(part.tmp, SHA))

    job = transfer.Job(ours, display=Shown())
    part.prepare(SHA)
    sink = part.part(SHA)
    transfer.download((fault_server.add("/a", BODY),), sink, Digest(SHA), job)
    sink.finish()
    assert seen == sorted(seen)
    assert seen[-1] == len(BODY)


def test_a_process_that_makes_no_progress_is_not_waited_for(
    fault_server: FaultServer, ours: Settings, watch: Watch
) -> None:
    url = fault_server.add("/a", BODY, Fault(stall_after=1000))
    with transfer.override_policy(**{**UNHURRIED, "lock_idle": 0.2}):
        owner = FORK.Process(target=fetch_slowly, args=(url, ours))
        owner.start()
        fault_server.await_requests(1)
        assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
        assert 0.2 < watch.now < 0.3
        assert owner.is_alive(), "it was still at work"
    owner.kill()
    owner.join()


@pytest.mark.parametrize("content", [b"process 1 on elsewhere", b"", b"\xff"])
def test_a_lock_left_behind_delays_nobody(
    fault_server: FaultServer, ours: Settings, watch: Watch, content: bytes
) -> None:
    folder = ours.home / "v1" / "locks"
    folder.mkdir(parents=True)
    (folder / SHA).write_bytes(content)
    assert store.fetch([fault_server.add("/a", BODY)], SHA, settings=ours).read_bytes() == BODY
    assert watch.now == 0
    assert not list(folder.iterdir())


def test_where_no_lock_can_be_had_the_work_is_done_all_the_same(fault_server: FaultServer, ours: Settings) -> None:
    folder = ours.home / "v1" / "locks"
    folder.mkdir(parents=True)
    (folder / SHA).mkdir()  # neither file nor free
    with transfer.override_policy(lock_idle=0.1):
        assert store.fetch([fault_server.add("/a", BODY)], SHA, settings=ours).read_bytes() == BODY


def test_a_lock_that_was_taken_away_is_not_given_back(ours: Settings) -> None:
    place = ours.home / "lock"
    place.parent.mkdir(parents=True)
    with locks.hold(place, "testing", lambda: None, lambda: None, transfer.Policy()) as found:
        assert found is None
        place.unlink()
        place.touch()
    assert place.exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, IntegrityError])
def test_no_lock_stays_behind_whatever_interrupts(ours: Settings, error: type[BaseException]) -> None:
    place = ours.home / "lock"
    place.parent.mkdir(parents=True)

    def look() -> None:
        assert place.exists()
        raise error("now")

    with pytest.raises(error), locks.hold(place, "testing", look, lambda: None, transfer.Policy()):
        pass
    assert not place.exists()
