"""Downloads that go on where another process stopped, and processes that wait for each other."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import labclock
import pytest
from faultserver import PATIENCE, Fault, FaultServer, noise
from storelab import FORK, QUICK, UNHURRIED, plant_part

from mshub_ssd import store
from mshub_ssd.errors import IntegrityError, TransferError
from mshub_ssd.files import create_file
from mshub_ssd.settings import Settings
from mshub_ssd.store import locks, parts, transfer
from mshub_ssd.store.blobs import Cache
from mshub_ssd.store.locks import Owner

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


def ended() -> Owner:
    """A process that lived until just now."""
    queue = FORK.SimpleQueue()
    process = FORK.Process(target=lambda: queue.put(Owner.me()))
    process.start()
    owner = queue.get()
    process.join()
    assert isinstance(owner, Owner)
    return owner


def owned_part(ours: Settings, data: bytes, owner: Owner | None, **facts: object) -> Path:
    """A part with a note, as a process leaves it that was killed."""
    path = plant_part(ours, SHA, data)
    path = path.rename(path.with_name(path.name.replace(".0.", f".{owner.pid if owner else 7}.")))
    note = path.with_name(f"{path.name}.json")
    if owner is not None:
        note.write_text(json.dumps({**facts, "owner": asdict(owner)}))
    return path


# --- parts


def test_a_failed_download_goes_on_in_the_next_call(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY, Fault(cut_after=120_000), then=Fault(status=404))
    with pytest.raises(TransferError) as caught:
        store.fetch([url], SHA, settings=ours)
    assert "117.2 KiB (120000 bytes) are kept" in str(caught.value)
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
    owned_part(ours, BODY[:100_000], ended(), source=source, validator=tag, total=300_000)
    owned_part(ours, BODY[:50_000], ended())
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert fault_server.requests[0].headers["range"] == "bytes=100000-", "the largest one"
    assert fault_server.requests[0].headers["if-range"] == tag
    assert not list((ours.home / "v1" / "tmp").iterdir()), "the smaller one is of no use any more"


def test_a_complete_part_needs_no_network(ours: Settings) -> None:
    owned_part(ours, BODY, ended())
    assert store.fetch(["http://127.0.0.1:1/none"], SHA, settings=ours).read_bytes() == BODY


@pytest.mark.parametrize(
    "note",
    [b"", b"[]", b"{", b'{"owner": 5}', b'{"owner": {"pid": -1}}', b"\xff" * 100, b"[" * 100_000],
)
def test_a_damaged_note_is_no_reason_to_touch_a_part_yet(
    fault_server: FaultServer, ours: Settings, note: bytes
) -> None:
    path = owned_part(ours, BODY[:100_000], Owner.me())
    path.with_name(f"{path.name}.json").write_bytes(note)
    url = fault_server.add("/a", BODY)
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert "range" not in fault_server.requests[0].headers
    assert path.exists()
    old = time.time() - 5000
    os.utime(path, (old, old))
    store.remove([SHA], settings=ours)
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "free"),
    [
        ({}, False),
        ({"start": "1"}, True),
        ({"pid": 2**22 + 1}, True),
        ({"pid": 10**30}, True),
        ({"boot": "earlier"}, True),
        ({"host": "elsewhere", "pid": 2**22 + 1}, False),
        ({"space": "container", "pid": 2**22 + 1}, False),
    ],
)
def test_only_the_parts_of_ended_processes_are_taken(
    fault_server: FaultServer, ours: Settings, change: dict[str, object], free: bool
) -> None:
    path = owned_part(ours, BODY[:100_000], replace(Owner.me(), **change))  # type: ignore[arg-type]
    url = fault_server.add("/a", BODY)
    store.fetch([url], SHA, settings=ours)
    assert ("range" in fault_server.requests[0].headers) is free
    assert path.exists() is not free
    if not free and change:
        # Nobody can be asked about it, but after ten minutes nobody can be at work on it either.
        old = time.time() - 700
        os.utime(path, (old, old))
        store.fetch([url], SHA, force=True, settings=ours)
        assert not path.exists()


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


def test_of_several_takers_one_wins(ours: Settings) -> None:
    path = plant_part(ours, SHA, b"beginning")
    mine = parts.take_over(path)
    assert mine is not None
    assert mine.read_bytes() == b"beginning"
    assert parts.take_over(path) is None
    assert not [name for name in mine.parent.iterdir() if name.name.startswith(path.name)]


def test_an_owner_taken_for_dead_still_publishes_what_it_verified(
    fault_server: FaultServer, ours: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it writes later reaches nothing that was taken from it."""
    url = fault_server.add("/a", BODY)
    real = Cache.publish

    def robbed(self: Cache, part: parts.Part, digest: str) -> Path:
        taken = parts.take_over(part.path)
        assert taken is not None
        taken.write_bytes(b"someone else's" * 30_000)
        taken.unlink()
        return real(self, part, digest)

    monkeypatch.setattr(Cache, "publish", robbed)
    with pytest.raises(TransferError, match="changed under our hands"):
        store.fetch([url], SHA, settings=ours)
    assert store.cached([url], SHA, ours) is None

    def robbed_cleanly(self: Cache, part: parts.Part, digest: str) -> Path:
        taken = parts.take_over(part.path)
        assert taken is not None
        taken.unlink()
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
        patch.setattr(parts.Memory, "write", interrupt)
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


@pytest.mark.parametrize("beats", [True, False])
def test_a_process_is_waited_for_as_long_as_it_shows_progress(ours: Settings, watch: Watch, beats: bool) -> None:
    place = ours.home / "lock"
    place.parent.mkdir(parents=True)
    create_file(place, json.dumps({"key": "x", "owner": asdict(Owner.me())}).encode())
    if beats:
        watch.each = lambda: os.utime(place, (watch.now, watch.now))
    patience = transfer.Policy(lock_idle=0.4, lock_poll=0.3)
    with locks.hold(place, "testing", lambda: "done" if watch.now > 50 else None, patience) as (_, found):
        assert found == ("done" if beats else None)
    assert watch.now > 50 if beats else 0.4 < watch.now < 1
    assert place.exists(), "it is not ours"


def test_a_download_shows_its_progress(
    fault_server: FaultServer, ours: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, touched = os.utime, []

    def utime(path: Any, *args: Any, **more: Any) -> None:
        touched.append(path)
        real(path, *args, **more)

    monkeypatch.setattr(os, "utime", utime)
    with transfer.override_policy(lock_beat=0.0):
        store.fetch([fault_server.add("/a", BODY)], SHA, settings=ours)
    assert ours.home / "v1" / "locks" / SHA in touched


def test_a_process_that_makes_no_progress_is_not_waited_for(
    fault_server: FaultServer, ours: Settings, watch: Watch
) -> None:
    url = fault_server.add("/a", BODY, Fault(stall_after=1000))
    with transfer.override_policy(**{**UNHURRIED, "lock_idle": 0.2}, lock_beat=math.inf):
        owner = FORK.Process(target=fetch_slowly, args=(url, ours))
        owner.start()
        fault_server.await_requests(1)
        assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
        assert 0.2 < watch.now < 0.3
        assert owner.is_alive(), "it was still at work"
    owner.kill()
    owner.join()


@pytest.mark.parametrize("content", ["dead", "elsewhere", b"", b"\xff", b'{"owner": {}}'])
def test_a_lock_left_behind_delays_nobody_for_long(
    fault_server: FaultServer, ours: Settings, watch: Watch, content: str | bytes
) -> None:
    folder = ours.home / "v1" / "locks"
    folder.mkdir(parents=True)
    place = folder / SHA
    if isinstance(content, bytes):
        place.write_bytes(content)
    else:
        owner = ended() if content == "dead" else replace(Owner.me(), host="elsewhere")
        create_file(place, json.dumps({"key": "x", "owner": asdict(owner)}).encode())
    with transfer.override_policy(lock_idle=30.0 if content == "dead" else 0.2):
        assert store.fetch([fault_server.add("/a", BODY)], SHA, settings=ours).read_bytes() == BODY
    assert watch.now == 0 if content == "dead" else 0.2 < watch.now < 0.3
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
    with locks.hold(place, "testing", lambda: None, transfer.Policy()) as (_, found):
        assert found is None
        place.unlink()
        create_file(place, json.dumps({"key": "another", "owner": asdict(Owner.me())}).encode())
    assert place.exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, IntegrityError])
def test_no_lock_stays_behind_whatever_interrupts(ours: Settings, error: type[BaseException]) -> None:
    place = ours.home / "lock"
    place.parent.mkdir(parents=True)

    def look() -> None:
        assert place.exists()
        raise error("now")

    with pytest.raises(error), locks.hold(place, "testing", look, transfer.Policy()):
        pass
    assert not place.exists()
