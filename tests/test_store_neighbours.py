"""A cache among others: other users, other machines, other caches, broken ones among them."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from faultserver import Fault, FaultServer, noise
from storelab import plant_part
from test_store import as_nobody, files

import mshub_ssd as mshub
from mshub_ssd import store
from mshub_ssd.errors import IntegrityError, MshubError, OfflineError, TransferError, WeakDigestWarning
from mshub_ssd.settings import Settings
from mshub_ssd.store import blobs, local_files, transfer

BODY = noise(300_000)
SHA = hashlib.sha256(BODY).hexdigest()
LONG_AGO = time.time() - 30 * 86_400

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with transfer.override_policy(backoff=0.001, longest_wait=0.004, progress=1000):
        yield


@pytest.fixture
def ours(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "cache")


@pytest.fixture
def room(fault_server: FaultServer) -> Iterator[Path]:
    """A folder that everybody may enter. All that a download imports is here: others may not read our Python."""
    with tempfile.TemporaryDirectory() as folder:
        url = fault_server.add("/warm", b"warm")
        store.fetch([url], hashlib.sha256(b"warm").hexdigest(), settings=Settings(home=Path(folder) / "warm"))
        fault_server.requests.clear()
        Path(folder).chmod(0o777)
        yield Path(folder)


def blob(ours: Settings, digest: str = SHA) -> Path:
    return ours.home / "v1" / "blobs" / "sha256" / digest[:2] / digest


# --- other users


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077, 0o000])
def test_a_private_cache_is_believed_whatever_the_umask(
    fault_server: FaultServer, ours: Settings, hashed: list[int], umask: int
) -> None:
    before = os.umask(umask)
    try:
        store.fetch([fault_server.add("/a", BODY)], SHA, settings=ours)
        blobs._hashed_here.clear()  # as a new process has it
        for _ in range(3):
            assert store.cached([], SHA, ours) is not None
    finally:
        os.umask(before)
    assert hashed == []


@only_root
def test_a_copy_of_somebody_elses_cache_is_hashed_once_per_process(fault_server: FaultServer, room: Path) -> None:
    original, copy = Settings(home=room / "original"), Settings(home=room / "copy")
    store.fetch([fault_server.add("/a", BODY)], SHA, settings=original)
    shutil.copytree(original.home, copy.home)
    count = []
    real = blobs.read_fully
    blobs._hashed_here.clear()

    def ask() -> int:
        blobs.read_fully = lambda stream: count.append(1) or real(stream)
        for _ in range(5):
            assert store.cached([], SHA, copy) == blob(copy)
        return len(count)

    assert as_nobody(ask) == 1


@only_root
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_groups_cache_serves_all_of_the_group(fault_server: FaultServer, room: Path, umask: int) -> None:
    ours = Settings(home=room / "cache")
    ours.home.mkdir()
    os.chown(ours.home, 0, 65534)
    ours.home.chmod(0o2770)
    other = noise(5000, seed=5)
    digest = hashlib.sha256(other).hexdigest()
    before = os.umask(umask)
    try:
        store.fetch([fault_server.add("/a", BODY)], SHA, settings=ours)
        url = fault_server.add("/b", other)
        assert as_nobody(lambda: store.fetch([url], digest, settings=ours).read_bytes() == other) is True
        assert as_nobody(lambda: store.cached([], SHA, ours)) == blob(ours)
        assert store.cached([], digest, ours) == blob(ours, digest)
    finally:
        os.umask(before)


@only_root
def test_what_somebody_else_recorded_about_a_short_digest_is_told(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY)
    with pytest.warns(WeakDigestWarning, match="must match from now on"):
        store.fetch([url], SHA[:9], settings=ours, label="first")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.fetch([url], SHA[:9], settings=ours)
    (pin,) = (ours.home / "v1" / "pins").iterdir()
    os.chown(pin, 65534, 65534)
    with pytest.warns(WeakDigestWarning, match="somebody else recorded"):
        assert store.fetch([url], SHA[:9], settings=ours).read_bytes() == BODY


@pytest.mark.parametrize("mode", [0o775, 0o777, 0o755])
def test_cards_that_others_could_install_take_no_bundled_cards_place(
    ours: Settings, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    uid = "mindspore/1.7/ssdresnet50fpn_coco2017"
    bundled = mshub.info(uid)
    assert bundled.path is not None
    for name in (uid, "own/1.0/extra"):
        place = ours.home / "cards" / f"{name}.md"
        place.parent.mkdir(parents=True)
        place.write_bytes(bundled.path.read_bytes())
    (ours.home / "cards").chmod(mode)
    monkeypatch.setenv("MSHUB_HOME", str(ours.home))
    found = mshub.info(uid).path
    assert found is not None
    assert found.is_relative_to(ours.home) == (mode == 0o755)
    assert mshub.info("own/1.0/extra").path == ours.home / "cards" / "own" / "1.0" / "extra.md"


# --- other machines, and processes that ended


@only_root
def test_a_dead_processes_lock_that_cannot_be_removed_keeps_nobody(fault_server: FaultServer, room: Path) -> None:
    ours = Settings(home=room / "cache")
    url = fault_server.add("/a", BODY)
    for name in ("tmp", "locks", "blobs"):
        (ours.home / "v1" / name).mkdir(parents=True)
    for place in (ours.home, *ours.home.rglob("*")):
        place.chmod(0o777)
    locks = ours.home / "v1" / "locks"
    locks.chmod(0o1777)
    (locks / SHA).write_text("process 1 on elsewhere")
    assert as_nobody(lambda: store.fetch([url], SHA, settings=ours).read_bytes() == BODY) is True
    assert (locks / SHA).exists()


def test_a_lock_that_shows_no_life_keeps_nothing(
    fault_server: FaultServer, ours: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are no locks on open files, their age tells."""
    store.fetch([fault_server.add("/a", BODY)], SHA, settings=ours)
    lock, part = ours.home / "v1" / "locks" / SHA, plant_part(ours, SHA, b"beginning")
    note = part.with_name(f"{part.name}.json")
    for place in (lock, note):
        place.write_text("{}")

    def flock(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    assert [why for _, why in store.remove([SHA], settings=ours).kept], "it is young, and may be at work"
    for place in (lock, part, note):
        os.utime(place, (LONG_AGO, LONG_AGO))
    store.prune(settings=ours)
    assert not any(place.exists() for place in (lock, part, note))
    assert store.remove([SHA], settings=ours).kept == ()


# --- links


@pytest.mark.parametrize("linked", ["v1", "v1/blobs", "v1/blobs/sha256", "v1/quarantine", "v1/records", "v1/refs"])
def test_nothing_is_written_or_moved_behind_a_link(
    fault_server: FaultServer, ours: Settings, tmp_path: Path, linked: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = fault_server.add("/a", BODY)
    outside = tmp_path / "outside"
    for place in (SHA, f"sha256/{SHA[:2]}/{SHA}", f"{SHA[:2]}/{SHA}", f"blobs/sha256/{SHA[:2]}/{SHA}"):
        (outside / place).parent.mkdir(parents=True, exist_ok=True)
        (outside / place).write_text("precious")
    (ours.home / linked).parent.mkdir(parents=True)
    (ours.home / linked).symlink_to(outside)
    before = files(outside)
    with pytest.raises(MshubError, match="is a link"):
        store.fetch([url], SHA, settings=ours, label="x")
    store.prune(settings=ours)
    store.entries(ours)
    assert files(outside) == before
    assert store.fetch([url], SHA, settings=replace(ours, more_homes=(tmp_path / "own",))).read_bytes() == BODY
    if linked in ("v1", "v1/blobs", "v1/blobs/sha256"):
        assert str(ours.home / "v1") in caplog.text, "what is left out is told"


# --- broken caches beside working ones

BROKEN: dict[str, Callable[[Path], object]] = {
    "the home is a loop": lambda home: (shutil.rmtree(home), home.symlink_to(home.name)),
    "the home is a file": lambda home: (shutil.rmtree(home), home.write_text("")),
    "the home may not be entered": lambda home: home.chmod(0o700),
    "v1 is a loop": lambda home: (shutil.rmtree(home / "v1"), (home / "v1").symlink_to("v1")),
    "the files may not be entered": lambda home: (home / "v1" / "blobs").chmod(0o700),
    "the files cannot be written": lambda home: (home / "v1" / "blobs" / "sha256").chmod(0o755),
    "the pins may not be entered": lambda home: (home / "v1" / "pins").chmod(0o700),
    "the pins cannot be written": lambda home: (home / "v1" / "pins").chmod(0o755),
    "the pins are a loop": lambda home: ((home / "v1" / "pins").rmdir(), (home / "v1" / "pins").symlink_to("pins")),
    "the refs may not be entered": lambda home: (home / "v1" / "refs").chmod(0o700),
    "the records may not be entered": lambda home: (home / "v1" / "records").chmod(0o700),
    "the locks may not be entered": lambda home: (home / "v1" / "locks").chmod(0o700),
}


@only_root
@pytest.mark.parametrize("first", ["broken", "own"])
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_cache_hides_no_working_one(fault_server: FaultServer, room: Path, case: str, first: str) -> None:
    url = fault_server.add("/a", BODY)
    broken, own = room / "broken", room / "own"
    for name in ("tmp", "locks", "blobs/sha256", "records", "refs", "quarantine", "pins"):
        (broken / "v1" / name).mkdir(parents=True)
    for place in (broken, *broken.rglob("*")):
        place.chmod(0o777)
    BROKEN[case](broken)
    homes = (broken, own) if first == "broken" else (own, broken)
    both = Settings(home=homes[0], more_homes=homes[1:])

    def use() -> list[object]:
        got = [
            store.fetch([url], SHA[:10], settings=both, label="short").read_bytes() == BODY,
            store.fetch([url], SHA, settings=both, label="full").read_bytes() == BODY,
            store.fetch([url], SHA, settings=replace(both, offline=True)).read_bytes() == BODY,
            store.add(Path(__file__), hashlib.sha256(Path(__file__).read_bytes()).hexdigest(), settings=both).exists(),
            len(store.entries(both, kinds=("file", "part", "quarantined", "rubbish"))) >= 2,
            all(checked.fault is None for checked in store.verify(settings=both)),
            store.prune(settings=both).kept == (),
            len(store.caches(both)) == 2,
        ]
        try:
            store.fetch([url], SHA[::-1], settings=replace(both, offline=True))
        except OfflineError:
            got.append(True)
        return got

    assert as_nobody(use) == [True] * 9
    assert len(fault_server.requests) <= 2


# --- sizes


def test_a_file_far_too_large_is_not_hashed(fault_server: FaultServer, ours: Settings, tmp_path: Path) -> None:
    url = fault_server.add("/a", BODY)
    blob(ours).parent.mkdir(parents=True)
    beside = tmp_path / "model.ckpt"
    for place in (blob(ours), beside):
        with place.open("wb") as file:
            file.truncate(1 << 40)
    assert store.cached([url], SHA, ours) is None
    assert store.fetch([url], SHA, size=len(BODY), settings=ours).read_bytes() == BODY
    for call in (store.verify_local, store.read_verified):
        with pytest.raises(IntegrityError, match="more than the"):
            call(beside, SHA, max_bytes=1 << 20)


def test_a_part_larger_than_the_file_is_not_taken_up(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY)
    part = plant_part(ours, SHA, b"beginning")
    with part.open("r+b") as file:
        file.truncate(1 << 40)
    assert store.fetch([url], SHA, size=len(BODY), settings=ours).read_bytes() == BODY
    assert "range" not in fault_server.requests[0].headers
    assert not part.exists()


def test_a_transfer_cut_short_on_a_nearly_full_disk_leaves_nothing(
    fault_server: FaultServer, ours: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(ours.home.parent)
    full = os.statvfs_result([*real[:3], 10, 10, *real[5:]])
    url = fault_server.add("/a", BODY, then=Fault(cut_after=200_000, ignore_range=True))
    with transfer.override_policy(attempts=2, backoff=0.001, longest_wait=0.004), pytest.raises(TransferError):
        store.fetch([url], SHA, settings=ours)
    assert list((ours.home / "v1" / "tmp").glob("*.part")), "with room, it is kept"
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    with transfer.override_policy(attempts=2, backoff=0.001, longest_wait=0.004), pytest.raises(MshubError):
        store.fetch([url], SHA, settings=ours)
    assert list((ours.home / "v1" / "tmp").iterdir()) == []


@pytest.mark.parametrize("call", [store.verify_local, store.read_verified])
def test_a_file_of_another_size_than_promised_is_refused_before_it_is_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[..., object]
) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(BODY)
    assert call(path, SHA, size=len(BODY)) in (path, BODY)

    def never(*_: object) -> None:
        raise AssertionError("it was opened")

    monkeypatch.setattr(local_files, "hash_file", never)
    monkeypatch.setattr(local_files, "read_regular", never)
    with pytest.raises(IntegrityError, match="not the size") as caught:
        call(path, SHA, size=len(BODY) + 1)
    assert f"{len(BODY) + 1} bytes" in (caught.value.expected or "")
    assert f"{len(BODY)} bytes" in (caught.value.got or "")
