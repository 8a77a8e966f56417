"""What the caches hold and keeping it; several caches as one; files carried by hand."""

from __future__ import annotations

import hashlib
import io
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from faultserver import Fault, FaultServer, noise
from storelab import flipped, plant_part
from test_store import Terminal, as_nobody, damage, files

from mshub_ssd import settings, store
from mshub_ssd.errors import IntegrityError, TransferError, UsageError
from mshub_ssd.settings import Settings
from mshub_ssd.store import transfer

BODY = noise(100_000)
SHA = hashlib.sha256(BODY).hexdigest()
OTHER = noise(70_000, seed=2)
OTHER_SHA = hashlib.sha256(OTHER).hexdigest()


@pytest.fixture
def ours(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "cache")


@pytest.fixture
def filled(fault_server: FaultServer, ours: Settings) -> Settings:
    """Two files; the first for two cards."""
    store.fetch([fault_server.add("/a.ckpt", BODY) + "?sig=s3cret"], SHA, label="x/1/a", settings=ours)
    store.fetch([fault_server.add("/b.ckpt", BODY)], SHA, label="x/1/b", settings=ours)
    store.fetch([fault_server.add("/c.ckpt", OTHER)], OTHER_SHA, label="x/1/c", settings=ours)
    fault_server.requests.clear()
    return ours


def living_lock(ours: Settings, digest: str) -> subprocess.Popen[bytes]:
    """A process that downloads that digest and does not come to an end."""
    code = (
        "import sys, pathlib\nfrom mshub_ssd.store import locks, policy\n"
        "path = pathlib.Path(sys.argv[1])\npath.parent.mkdir(parents=True, exist_ok=True)\n"
        "with locks.hold(path, 'x', lambda: None, lambda: None, policy.Policy()):\n"
        "    print('there', flush=True)\n    sys.stdin.read()"
    )
    place = ours.home / "v1" / "locks" / digest
    process = subprocess.Popen([sys.executable, "-c", code, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    return process


# --- listing


def test_entries_tell_what_is_there_and_what_for(filled: Settings) -> None:
    first, second = sorted(store.entries(filled), key=lambda entry: -entry.size)
    assert (first.digest, first.size, first.kind, first.home) == (SHA, 100_000, "file", filled.home)
    assert first.path.read_bytes() == BODY
    assert first.labels == ("x/1/a", "x/1/b")
    assert [url.rpartition("/")[2] for url in first.urls] == ["a.ckpt?...", "b.ckpt"]
    assert second.labels == ("x/1/c",)
    made = filled.home.stat().st_ctime
    assert made - 2 < first.stored < time.time(), "the moment, dated back by a second"
    assert first.used >= first.stored
    assert first.to_dict()["labels"] == ["x/1/a", "x/1/b"]
    assert not any(b"s3cret" in data for data in files(filled.home).values())
    assert store.entries(Settings(home=filled.home / "nowhere")) == []
    with pytest.raises(UsageError, match="no such kind"):
        store.entries(filled, kinds=("files",))


def test_a_second_hit_writes_nothing(filled: Settings, fault_server: FaultServer) -> None:
    before = {path: path.stat().st_mtime_ns for path in filled.home.rglob("*")}
    store.fetch([fault_server.base + "/b.ckpt"], SHA, label="x/1/b", settings=filled)
    assert {path: path.stat().st_mtime_ns for path in filled.home.rglob("*")} == before
    assert not fault_server.requests


def test_parts_and_quarantine_are_listed_on_request(filled: Settings) -> None:
    part = plant_part(filled, SHA[:10], b"beginning")
    damaged = store.cached([], OTHER_SHA, filled)
    assert damaged is not None
    damage(damaged, keep_times=False)
    (checked,) = [checked for checked in store.verify(settings=filled) if checked.fault]
    assert (checked.entry.digest, checked.moved) == (OTHER_SHA, True)
    kinds = {entry.kind: entry for entry in store.entries(filled, kinds=("file", "part", "quarantined", "rubbish"))}
    assert kinds["part"].path == part
    assert kinds["part"].digest == SHA[:10]
    assert kinds["part"].busy is None
    assert kinds["quarantined"].digest == OTHER_SHA
    assert "rubbish" not in kinds
    assert [entry.digest for entry in store.entries(filled)] == [SHA]


# --- verifying


def test_verify_hashes_everything_whatever_the_records_say(filled: Settings) -> None:
    told: list[store.Checked] = []
    assert [checked.fault for checked in store.verify(settings=filled, each=told.append)] == [None, None]
    assert len(told) == 2
    path = store.cached([], SHA, filled)
    assert path is not None
    damage(path, keep_times=True)
    (checked,) = store.verify([SHA[:9]], settings=filled)
    assert checked.fault is not None
    assert "sha256" in checked.fault
    assert not path.exists()
    with pytest.raises(UsageError, match="no such file"):
        store.verify(["0" * 12], settings=filled)
    with pytest.raises(IntegrityError, match="64 hex digits"):
        store.verify(["../../x"], settings=filled)


# --- removing


def test_remove_takes_the_file_with_all_that_belongs_to_it(filled: Settings) -> None:
    plant_part(filled, SHA, b"beginning")
    dry = store.remove([SHA], dry_run=True, settings=filled)
    assert {entry.kind for entry in dry.removed} == {"file", "part"}
    assert dry.freed == 100_009
    assert store.cached([], SHA, filled) is not None
    assert store.remove([SHA[:12]], settings=filled) == dry
    assert store.cached([], SHA, filled) is None
    left = [name for name, data in files(filled.home).items() if SHA in name or SHA.encode() in data]
    assert left == []
    assert store.cached([], OTHER_SHA, filled) is not None
    with pytest.raises(UsageError, match="mshub cache ls"):
        store.remove([SHA], settings=filled)


def test_a_beginning_that_fits_two_files_removes_neither(ours: Settings) -> None:
    import itertools

    seen: dict[str, bytes] = {}
    for number in itertools.count():
        body = b"twin %d" % number
        short = hashlib.sha256(body).hexdigest()[:8]
        if short in seen:
            break
        seen[short] = body
    for data in (body, seen[short]):
        store.add(io.BytesIO(data), hashlib.sha256(data).hexdigest(), settings=ours)
    with pytest.raises(UsageError, match="several"):
        store.remove([short], settings=ours)
    assert len(store.entries(ours)) == 2


def test_prune_removes_rubbish_and_on_request_what_was_not_used(filled: Settings) -> None:
    part = plant_part(filled, "ab" * 32, b"beginning")
    stray = filled.home / "v1" / "tmp" / f"{SHA}.1.ff.new"
    fresh = filled.home / "v1" / "tmp" / f"{SHA}.2.ff.new"
    lock = filled.home / "v1" / "locks" / ("cd" * 32)
    for path in (stray, fresh, lock):
        path.write_text("{}")
    for path in (stray, lock):
        os.utime(path, (time.time() - 5000, time.time() - 5000))
    dry = store.prune(dry_run=True, settings=filled)
    assert {entry.path for entry in dry.removed} == {part, stray, lock}
    assert part.exists()
    assert store.prune(settings=filled) == dry
    assert not part.exists()
    assert fresh.exists(), "it may be somebody's at work"
    assert len(store.entries(filled)) == 2

    old = time.time() - 10 * 86_400
    path = store.cached([], SHA, filled)
    assert path is not None
    os.utime(path, (old, old))
    assert store.prune(unused_for=86_400, keep=[SHA[:8]], settings=filled).removed == ()
    assert [entry.digest for entry in store.prune(unused_for=86_400, settings=filled).removed] == [SHA]
    assert store.prune(max_bytes=70_000, settings=filled).removed == ()
    assert [entry.digest for entry in store.prune(max_bytes=69_999, settings=filled).removed] == [OTHER_SHA]
    assert store.entries(filled) == []
    with pytest.raises(UsageError, match="negative"):
        store.prune(max_bytes=-1, settings=filled)


@pytest.mark.skipif(not hasattr(os, "O_NOATIME"), reason="only Linux can read a file without using it")
def test_verifying_a_file_is_no_use_of_it(filled: Settings) -> None:
    path = store.cached([], SHA, filled)
    assert path is not None
    old = time.time() - 10 * 86_400
    os.utime(path, (old, old))
    assert [checked.fault for checked in store.verify(settings=filled)] == [None, None]
    assert path.stat().st_atime == pytest.approx(old)
    assert [entry.digest for entry in store.prune(unused_for=86_400, settings=filled).removed] == [SHA]


def test_what_a_living_process_downloads_stays(filled: Settings) -> None:
    process = living_lock(filled, SHA)
    try:
        (entry,) = [entry for entry in store.entries(filled) if entry.digest == SHA]
        assert entry.busy is not None
        assert entry.busy.startswith(f"process {process.pid} on ")
        for removal in (store.remove([SHA], settings=filled), store.prune(unused_for=0, max_bytes=0, settings=filled)):
            assert [(kept.digest, reason) for kept, reason in removal.kept] == [
                (SHA, f"{entry.busy} is downloading it")
            ]
        assert store.cached([], SHA, filled) is not None
    finally:
        process.kill()
        process.wait()
    assert [entry.digest for entry in store.remove([SHA], settings=filled).removed] == [SHA]


def test_keeping_needs_no_socket(filled: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_socket(*args: object, **kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", no_socket)
    monkeypatch.setattr(socket, "getaddrinfo", no_socket)
    offline = replace(filled, offline=True)
    (tmp_path / "carried").write_bytes(b"carried")
    store.add(tmp_path / "carried", hashlib.sha256(b"carried").hexdigest(), settings=offline)
    wanted = [store.FileRequest(["https://x.invalid/"], digest) for digest in (SHA, OTHER_SHA)]
    assert all(isinstance(path, Path) for path in store.fetch_many(wanted, settings=offline))
    assert len(store.verify(settings=offline)) == 3
    assert [root.receives for root in store.caches(offline)] == [True]
    assert len(store.remove([SHA, OTHER_SHA], settings=offline).removed) == 2
    store.prune(max_bytes=0, settings=offline)
    assert store.entries(offline) == []


# --- several caches


def test_home_may_be_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = os.pathsep.join([str(tmp_path / "a"), "", str(tmp_path / "b")])
    read = settings.current({"MSHUB_HOME": listed})
    assert read.homes == (tmp_path / "a", tmp_path / "b")
    assert read.home == tmp_path / "a"
    path = settings.user_file()
    path.parent.mkdir(parents=True)
    path.write_text(f'home = ["{tmp_path}/c", "{tmp_path}/d"]\nconnections = 3\n')
    assert settings.current({}).homes == (tmp_path / "c", tmp_path / "d")
    assert settings.current({}).connections == 3
    for word in ("0", "17", "x", "-1", "1.5"):
        with pytest.raises(UsageError, match="MSHUB_CONNECTIONS"):
            settings.current({"MSHUB_CONNECTIONS": word})


def test_all_caches_are_searched_and_the_first_writable_one_receives(fault_server: FaultServer) -> None:
    third = noise(5000, seed=3)
    digest = hashlib.sha256(third).hexdigest()
    url = fault_server.add("/d.ckpt", third)
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        room.chmod(0o755)  # for nobody
        shared, own = room / "shared", room / "own"
        own.mkdir()
        own.chmod(0o777)
        both = Settings(home=shared, more_homes=(own,))
        path = store.fetch([fault_server.add("/a.ckpt", BODY)], SHA, settings=both)
        assert path.is_relative_to(shared)
        fault_server.requests.clear()
        places = [shared, *(path for path in shared.rglob("*") if path.is_dir())]
        for place in places:
            place.chmod(0o555)
        try:
            before = files(shared)
            hit = as_nobody(lambda: store.fetch(["https://x.invalid/"], SHA, label="new", settings=both))
            assert hit == path
            assert not fault_server.requests
            got = as_nobody(lambda: store.fetch([url], digest, settings=both))
            assert isinstance(got, Path)
            assert got.is_relative_to(own)
            assert got.read_bytes() == third
            found = as_nobody(lambda: store.caches(both))
            assert found == [store.CacheInfo(shared, True, False, False), store.CacheInfo(own, True, True, True)]
            kept = as_nobody(lambda: store.remove([SHA], settings=both))
            assert isinstance(kept, store.Removal)
            assert [reason for _, reason in kept.kept] == ["the cache is read-only"]
            assert files(shared) == before
        finally:
            for place in places:
                place.chmod(0o755)
        assert [(entry.home, entry.digest) for entry in store.entries(both)] == [(shared, SHA), (own, digest)]


def test_a_damaged_file_in_a_shared_cache_is_replaced_in_ones_own(
    filled: Settings, fault_server: FaultServer, tmp_path: Path
) -> None:
    own = replace(filled, home=tmp_path / "own", more_homes=(filled.home,))
    path = store.cached([], SHA, own)
    assert path is not None
    assert path.is_relative_to(filled.home)
    damage(path, keep_times=False)
    got = store.fetch([fault_server.base + "/b.ckpt"], SHA, settings=own)
    assert got.is_relative_to(own.home)
    assert got.read_bytes() == BODY


def test_a_short_digest_is_remembered_across_caches(
    filled: Settings, fault_server: FaultServer, tmp_path: Path
) -> None:
    url = fault_server.base + "/b.ckpt"
    path = store.fetch([url], SHA[:10], settings=filled)
    own = replace(filled, home=tmp_path / "own", more_homes=(filled.home,))
    assert store.cached([url], SHA[:10], own) == path


# --- carried by hand


@pytest.mark.parametrize("stream", [False, True])
def test_add_takes_in_what_fits(ours: Settings, tmp_path: Path, stream: bool) -> None:
    carried = tmp_path / "carried.ckpt"
    carried.write_bytes(BODY)
    source = carried.open("rb") if stream else carried
    url = "https://files.example/a.ckpt"
    path = store.add(source, SHA[:16], urls=[url], label="x/1/a", settings=ours)
    assert path.read_bytes() == BODY
    assert carried.exists()
    offline = replace(ours, offline=True)
    assert store.fetch([url], SHA[:16], settings=offline) == store.fetch([url], SHA, settings=offline) == path
    (entry,) = store.entries(ours)
    assert (entry.labels, entry.urls) == (("x/1/a",), (url,))
    assert store.add(carried, SHA, settings=ours) == path


def test_add_refuses_what_does_not_fit(ours: Settings, tmp_path: Path) -> None:
    carried = tmp_path / "carried.ckpt"
    carried.write_bytes(flipped(BODY, random.Random(1)))
    with pytest.raises(IntegrityError, match="not the one that is wanted") as caught:
        store.add(carried, SHA, settings=ours)
    assert str(carried) in str(caught.value)
    with pytest.raises(IntegrityError, match="more bytes than promised"):
        store.add(io.BytesIO(BODY + b"x" * 3_000_000), SHA, size=len(BODY), settings=ours)
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(IntegrityError, match="cannot be read"):
            store.add(missing, SHA, settings=ours)
    assert store.entries(ours, kinds=("file", "part", "quarantined")) == []
    (tmp_path / "file").touch()
    with pytest.raises(TransferError, match="MSHUB_HOME"):
        store.add(io.BytesIO(BODY), SHA, settings=Settings(home=tmp_path / "file"))


# --- several downloads


def test_fetch_many_goes_on_after_an_error(fault_server: FaultServer, ours: Settings) -> None:
    wanted = [
        store.FileRequest([fault_server.add("/a", BODY)], SHA, len(BODY), "x/a"),
        store.FileRequest([fault_server.add("/bad", BODY, then=Fault(flip_bit=1))], SHA[::-1]),
        store.FileRequest([fault_server.base + "/a"], SHA.upper()),
        store.FileRequest([fault_server.add("/c", OTHER)], OTHER_SHA),
        store.FileRequest(["ftp://x/"], "no digest"),
    ]
    with transfer.override_policy(backoff=0.001, longest_wait=0.001):
        first, bad, again, other, none = store.fetch_many(wanted, settings=ours, workers=3)
    assert isinstance(first, Path)
    assert first == again
    assert first.read_bytes() == BODY
    assert isinstance(other, Path)
    assert isinstance(bad, IntegrityError)
    assert isinstance(none, IntegrityError)
    assert len(fault_server.seen("/a")) == 1
    assert {label for entry in store.entries(ours) for label in entry.labels} == {"x/a"}
    with pytest.raises(UsageError):
        store.fetch_many(wanted, workers=0, settings=ours)


def test_several_downloads_share_one_bar(
    fault_server: FaultServer, ours: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    wanted = [
        store.FileRequest([fault_server.add("/x/same.ckpt", BODY, Fault(cut_after=50_000))], SHA),
        store.FileRequest([fault_server.add("/y/same.ckpt", OTHER)], OTHER_SHA),
    ]
    with transfer.override_policy(backoff=0.001, longest_wait=0.001):
        store.fetch_many(wanted, settings=ours)
        assert capfd.readouterr() == ("", "")
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        store.fetch_many(wanted, force=True, settings=ours)
    assert "2 files: 100%" in terminal.getvalue()
    assert "170k/170k" in terminal.getvalue()
