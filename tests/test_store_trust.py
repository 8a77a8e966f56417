"""What the cache believes, deletes and survives: other people's files, odd files, full disks, broken caches."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faultserver import Fault, FaultServer, noise
from storelab import plant_part
from test_store import as_nobody, damage, files

import mshub_ssd as mshub
from mshub_ssd import networks, store
from mshub_ssd.errors import DiskSpaceError, IntegrityError, TransferError
from mshub_ssd.settings import Settings
from mshub_ssd.store import blobs, transfer

BODY = noise(300_000)
SHA = hashlib.sha256(BODY).hexdigest()
LONG_AGO = time.time() - 5000


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with transfer.override_policy(backoff=0.001, longest_wait=0.004, progress=1000):
        yield


@pytest.fixture
def ours(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "cache")


def blob(ours: Settings, digest: str = SHA) -> Path:
    return ours.home / "v1" / "blobs" / "sha256" / digest[:2] / digest


def record(ours: Settings, digest: str = SHA) -> Path:
    return ours.home / "v1" / "records" / "sha256" / digest[:2] / digest


def forge(ours: Settings) -> None:
    """Other bytes under the digest, with a record that fits them."""
    place = blob(ours)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.write_bytes(b"wrong bytes")
    place.chmod(0o444)
    now = place.stat()
    facts = {"size": now.st_size, "mtime_ns": now.st_mtime_ns, "inode": now.st_ino, "ctime_ns": now.st_ctime_ns}
    record(ours).parent.mkdir(parents=True, exist_ok=True)
    record(ours).unlink(missing_ok=True)
    record(ours).write_text(json.dumps({"sha256": SHA, **facts}))


# --- whose records are believed


def test_a_record_of_our_own_in_a_cache_of_our_own_saves_the_hashing(
    fault_server: FaultServer, ours: Settings, hashed: list[int]
) -> None:
    url = fault_server.add("/a", BODY)
    path = store.fetch([url], SHA, settings=ours)
    for _ in range(2):
        assert store.fetch([url], SHA, settings=ours) == path
    assert hashed == []
    forge(ours)
    assert store.cached([url], SHA, ours) == path, "the forgery would not be believed anyhow, so nothing is proved"


def give_away_the_file(ours: Settings) -> None:
    os.chown(blob(ours), 65534, 65534)
    forged = json.loads(record(ours).read_text())
    record(ours).write_text(json.dumps({**forged, "ctime_ns": blob(ours).stat().st_ctime_ns}))


ELSEWHERE: dict[str, Callable[[Settings], object]] = {
    "a record of somebody else's": lambda ours: os.chown(record(ours), 65534, 65534),
    "a record others can write": lambda ours: record(ours).chmod(0o666),
    "a file of somebody else's": give_away_the_file,
    "a shard the group can write": lambda ours: record(ours).parent.chmod(0o775),
    "a folder of files everybody can write": lambda ours: (ours.home / "v1" / "blobs").chmod(0o777),
    "a home of somebody else's": lambda ours: os.chown(ours.home, 65534, 65534),
    "a record that is a link": lambda ours: (
        record(ours).rename(ours.home / "aside"),
        record(ours).symlink_to(ours.home / "aside"),
    ),
    "the record of another file": lambda ours: record(ours).write_text(
        record(ours).read_text().replace(SHA, SHA[::-1])
    ),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("case", ELSEWHERE)
def test_a_record_that_others_may_have_written_is_not_believed(
    fault_server: FaultServer, ours: Settings, case: str
) -> None:
    url = fault_server.add("/a", BODY)
    store.fetch([url], SHA, settings=ours)
    forge(ours)
    ELSEWHERE[case](ours)
    assert store.cached([url], SHA, ours) is None
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert len(fault_server.requests) == 2


def test_in_a_shared_cache_a_file_is_hashed_once_per_process(
    fault_server: FaultServer, ours: Settings, hashed: list[int]
) -> None:
    url = fault_server.add("/a", BODY)
    path = store.fetch([url], SHA, settings=ours)
    ours.home.chmod(0o2775)
    hashed.clear()
    for _ in range(3):
        assert store.fetch([url], SHA, settings=ours) == path
    assert hashed == []  # this process has hashed it while it came
    blobs._hashed_here.clear()  # as a new process has it
    for _ in range(3):
        assert store.fetch([url], SHA, settings=ours) == path
    assert hashed == [len(BODY)]
    damage(path, keep_times=True)
    assert store.cached([url], SHA, ours) is None


def test_the_folders_of_a_private_cache_are_private_whatever_the_umask(
    fault_server: FaultServer, ours: Settings
) -> None:
    def made() -> set[int]:
        return {stat.S_IMODE(path.stat().st_mode) for path in (ours.home, *ours.home.rglob("*")) if path.is_dir()}

    before = os.umask(0o002)
    try:
        store.fetch([fault_server.add("/a", BODY)], SHA, settings=ours, label="x")
        assert made() == {0o755}
        shutil.rmtree(ours.home)
        ours.home.mkdir()
        ours.home.chmod(0o775)  # a group's
        store.fetch([fault_server.add("/a", BODY)], SHA, settings=ours, label="x")
        assert made() == {0o775}
    finally:
        os.umask(before)


# --- the file that was hashed is the one that is returned


def test_a_part_that_is_exchanged_before_it_gets_its_name_is_not_returned(
    fault_server: FaultServer, ours: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.replace

    def exchange(self: Path, target: Path) -> Path:
        if self.suffix == ".part":
            self.unlink()
            self.write_bytes(b"somebody else's bytes")
        return real(self, target)

    url = fault_server.add("/a", BODY)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", exchange)
        with pytest.raises(IntegrityError, match="exchanged") as caught:
            store.fetch([url], SHA, settings=ours)
    assert "MSHUB_HOME" in str(caught.value)
    assert store.cached([url], SHA, ours) is None
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY


def test_two_who_store_the_same_file_at_once_both_get_it(
    fault_server: FaultServer, ours: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.replace

    def overtaken(self: Path, target: Path) -> Path:
        done = real(self, target)
        if self.suffix == ".part":
            self.write_bytes(BODY)
            real(self, target)
        return done

    url = fault_server.add("/a", BODY)
    monkeypatch.setattr(Path, "replace", overtaken)
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY


def test_a_cached_file_that_is_exchanged_while_it_is_hashed_is_not_returned(
    fault_server: FaultServer, ours: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fault_server.add("/a", BODY)
    path = store.fetch([url], SHA, settings=ours)
    always = replace(ours, verify_always=True)
    real = blobs.read_fully

    def exchanging(stream: object) -> object:
        got = real(stream)
        path.rename(path.with_name("aside"))
        path.write_bytes(b"somebody else's bytes")
        return got

    with monkeypatch.context() as patch:
        patch.setattr(blobs, "read_fully", exchanging)
        assert store.cached([url], SHA, always) is None
    assert store.fetch([url], SHA, settings=always).read_bytes() == BODY


def test_a_file_beside_its_card_that_is_exchanged_while_it_is_hashed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(BODY)
    real = blobs.read_fully

    def exchanging(stream: object) -> object:
        got = real(stream)
        path.unlink()
        path.write_bytes(b"somebody else's bytes")
        return got

    monkeypatch.setattr(blobs, "read_fully", exchanging)
    with pytest.raises(IntegrityError, match="exchanged"):
        store.verify_local(path, SHA)


# --- nothing foreign is deleted

STRANGERS = ["notes.txt", "thesis.part", "x.new", ".part", f"{SHA}.part.bak", f"{SHA}.1.ff.partial", "record.txt"]


def old_strangers(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in STRANGERS:
        (folder / name).write_text("precious")
        os.utime(folder / name, (LONG_AGO, LONG_AGO))
    below = folder / ("ab" * 32) / "deep"
    below.mkdir(parents=True)
    (below / "file").write_text("precious")
    for place in (below / "file", below, below.parent):
        os.utime(place, (LONG_AGO, LONG_AGO))


@pytest.mark.parametrize("linked", ["tmp", "locks", "quarantine", "refs", "blobs", "v1", "blobs/sha256", "records"])
def test_no_link_is_followed_when_room_is_made(
    fault_server: FaultServer, ours: Settings, tmp_path: Path, linked: str
) -> None:
    store.fetch([fault_server.add("/a", BODY)], SHA, settings=ours, label="x")
    place = ours.home / ("v1" if linked == "v1" else f"v1/{linked}")
    outside = tmp_path / "outside"
    if place.exists():
        shutil.copytree(place, outside)
        shutil.rmtree(place)
    old_strangers(outside)
    # Even names that this library gives stay, where a link leads to them.
    for name in (f"{SHA}.0123456789abcdef.part", f"{SHA}.1.{'ab' * 8}.new", SHA):
        if not (outside / name).exists():
            (outside / name).write_text("precious")
            os.utime(outside / name, (LONG_AGO, LONG_AGO))
    place.symlink_to(outside)
    before = files(outside)
    store.prune(unused_for=0, max_bytes=0, settings=ours)
    store.entries(ours, kinds=("file", "part", "quarantined", "rubbish"))
    assert files(outside) == before


@pytest.mark.parametrize("folder", ["tmp", "locks", "quarantine", "refs", "blobs/sha256/ab", "pins", "."])
def test_only_names_of_our_own_are_deleted(fault_server: FaultServer, ours: Settings, folder: str) -> None:
    store.fetch([fault_server.add("/a", BODY)], SHA, settings=ours, label="x")
    place = ours.home / "v1" / folder
    old_strangers(place)
    rubbish = ours.home / "v1" / "tmp" / f"{SHA}.1.{'ab' * 8}.new"
    rubbish.write_text("{}")
    os.utime(rubbish, (LONG_AGO, LONG_AGO))
    part = plant_part(ours, SHA, b"beginning")
    removal = store.prune(unused_for=0, max_bytes=0, settings=ours)
    store.remove([SHA[:8]], settings=ours) if blob(ours).exists() else None
    assert not rubbish.exists()
    assert not part.exists()
    assert not blob(ours).exists()
    assert {name: (place / name).read_text() for name in STRANGERS} == dict.fromkeys(STRANGERS, "precious")
    assert (place / ("ab" * 32) / "deep" / "file").read_text() == "precious"
    told = [why for entry, why in removal.kept if entry.path == place / ("ab" * 32)]
    assert all("empty" in why for why in told)


def test_a_folder_in_a_files_place_is_moved_aside_and_its_contents_stay(
    fault_server: FaultServer, ours: Settings
) -> None:
    blob(ours).mkdir(parents=True)
    (blob(ours) / "precious").write_text("precious")
    assert store.fetch([fault_server.add("/a", BODY)], SHA, settings=ours).read_bytes() == BODY
    (moved,) = (ours.home / "v1" / "quarantine").glob("*/precious")
    store.prune(settings=ours)
    store.remove([SHA], settings=ours)
    assert moved.read_text() == "precious"


@pytest.mark.parametrize("folder", ["tmp", "locks"])
def test_a_cache_whose_folder_is_a_link_receives_nothing(
    fault_server: FaultServer, ours: Settings, tmp_path: Path, folder: str
) -> None:
    (tmp_path / "outside").mkdir()
    (ours.home / "v1").mkdir(parents=True)
    (ours.home / "v1" / folder).symlink_to(tmp_path / "outside")
    with pytest.raises(TransferError, match="is a link"):
        store.fetch([fault_server.add("/a", BODY)], SHA, settings=ours)
    assert files(tmp_path / "outside") == {}


# --- odd files in the cache


def odd(place: Path, kind: str) -> None:
    place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            here = Path.cwd()
            os.chdir(place.parent)  # a socket's name may have 108 characters
            try:
                server.bind(place.name)
            finally:
                os.chdir(here)
    elif kind == "endless":
        place.symlink_to("/dev/zero")
    elif kind == "loop":
        place.symlink_to(place.name)
    elif kind == "folder":
        place.mkdir()
    else:
        with place.open("wb") as file:
            file.truncate(1 << 40)


ODD = ["fifo", "socket", "endless", "loop", "folder", "large"]


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_record_costs_a_hashing(fault_server: FaultServer, ours: Settings, kind: str) -> None:
    url = fault_server.add("/a", BODY)
    path = store.fetch([url], SHA, settings=ours)
    odd(record(ours), kind)
    for _ in range(2):
        assert store.fetch([url], SHA, settings=ours) == path
    assert len(fault_server.requests) == 1
    assert store.verify(settings=ours)[0].fault is None


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_pin_is_refused_with_its_place(fault_server: FaultServer, ours: Settings, kind: str) -> None:
    url = fault_server.add("/a", BODY)
    store.fetch([url], SHA[:16], settings=ours)
    (pin,) = (ours.home / "v1" / "pins").iterdir()
    odd(pin, kind)
    with pytest.raises(IntegrityError, match="first use cannot be read") as caught:
        store.fetch([url], SHA[:16], settings=ours)
    assert str(pin) in str(caught.value)


@pytest.mark.parametrize("kind", [kind for kind in ODD if kind != "large"])
def test_an_odd_file_in_a_files_place_heals(fault_server: FaultServer, ours: Settings, kind: str) -> None:
    url = fault_server.add("/a", BODY)
    odd(blob(ours), kind)
    assert store.cached([url], SHA, ours) is None
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    odd(blob(ours), kind)
    (checked,) = store.verify(settings=ours)
    assert checked.moved
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    store.prune(settings=ours)
    assert files(ours.home / "v1" / "quarantine") == {}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("folder", ["refs", "locks", "tmp"])
def test_odd_files_elsewhere_block_nothing(fault_server: FaultServer, ours: Settings, kind: str, folder: str) -> None:
    url = fault_server.add("/a", BODY)
    store.fetch([url], SHA, settings=ours, label="x")
    for name in (SHA, f"{SHA}.json", f"{SHA}.{'0' * 16}.part", f"{SHA}.{'0' * 16}.part.json"):
        if folder == "locks" and name != SHA:
            continue
        odd(ours.home / "v1" / folder / name, kind)
    with transfer.override_policy(lock_idle=0.2, lock_longest=0.5, lock_poll=0.01):
        assert store.fetch([url], SHA, settings=ours, force=True).read_bytes() == BODY
    store.entries(ours, kinds=("file", "part", "quarantined", "rubbish"))
    store.prune(settings=ours)
    assert store.cached([url], SHA, ours) is not None


# --- broken caches beside working ones


@pytest.mark.parametrize("kind", ["unreadable", "stuck"])
def test_an_unreadable_file_does_not_block_a_second_cache(fault_server: FaultServer, kind: str) -> None:
    url = fault_server.add("/a", BODY)
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        room.chmod(0o755)  # for nobody
        broken, own = room / "broken", room / "own"
        own.mkdir()
        own.chmod(0o777)
        store.fetch([url], SHA, settings=Settings(home=broken))
        blob(Settings(home=broken)).chmod(0)
        for place in (broken, *(path for path in broken.rglob("*") if path.is_dir())):
            # Stuck: new files could be written, but the unreadable one cannot be moved away.
            place.chmod(0o777 if kind == "stuck" and "blobs" not in place.parts else 0o755)
        both = Settings(home=broken, more_homes=(own,))
        for _ in range(2):
            got = as_nobody(lambda: store.fetch([url], SHA, settings=both))
            assert isinstance(got, Path), got
            assert got.is_relative_to(own)
            assert got.read_bytes() == BODY
        assert len(fault_server.requests) == 2
        refused = as_nobody(lambda: store.fetch([url], SHA, settings=Settings(home=broken)))
        assert isinstance(refused, IntegrityError | TransferError)
        assert str(broken) in str(refused)


def test_a_pin_that_cannot_be_read_does_not_hide_that_of_another_cache(
    fault_server: FaultServer, ours: Settings, tmp_path: Path
) -> None:
    url = fault_server.add("/a", BODY)
    other = Settings(home=tmp_path / "other")
    store.fetch([url], SHA[:16], settings=other)
    store.fetch([url], SHA[:16], settings=ours)
    (pin,) = (ours.home / "v1" / "pins").iterdir()
    pin.write_bytes(b"\xff")
    both = replace(ours, more_homes=(other.home,))
    assert store.fetch([url], SHA[:16], settings=both).read_bytes() == BODY
    with pytest.raises(IntegrityError, match="cannot be read"):
        store.fetch([url], SHA[:16], settings=ours)


# --- full disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 8 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_download_without_end_leaves_the_disk_usable(fault_server: FaultServer, small_disk: Path) -> None:
    ours = Settings(home=small_disk / "cache")
    endless = fault_server.add("/endless", b"x", then=Fault(infinite=True))
    good = fault_server.add("/good", BODY)
    for _ in range(2):
        with pytest.raises(DiskSpaceError, match="mshub cache prune"):
            store.fetch([endless], hashlib.sha256(b"x").hexdigest(), settings=ours)
        assert list((ours.home / "v1" / "tmp").iterdir()) == []
        assert shutil.disk_usage(small_disk).free > 7 << 20
    assert store.fetch([good], SHA, settings=ours).read_bytes() == BODY


def test_a_disk_that_is_full_already_gets_no_leftovers(fault_server: FaultServer, small_disk: Path) -> None:
    ours = Settings(home=small_disk / "cache")
    url = fault_server.add("/good", BODY)
    store.fetch([url], SHA, settings=ours)
    filler = ["dd", "if=/dev/zero", f"of={small_disk / 'full'}", "bs=64k"]
    assert b"No space" in subprocess.run(filler, capture_output=True, check=False).stderr
    for _ in range(3):
        with pytest.raises(DiskSpaceError):
            store.fetch([url], SHA, settings=ours, force=True)
        assert list((ours.home / "v1" / "tmp").iterdir()) == []
        assert list((ours.home / "v1" / "locks").iterdir()) == []
    (small_disk / "full").unlink()
    assert store.fetch([url], SHA, settings=ours, force=True).read_bytes() == BODY


def test_some_room_is_left_to_others(
    fault_server: FaultServer, ours: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = noise(20 << 20)
    url = fault_server.add("/a", body, then=Fault(chunked=True))
    usage = shutil.disk_usage("/")._replace(total=10 << 30, free=60 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DiskSpaceError, match="filling the disk"):
        store.fetch([url], hashlib.sha256(body).hexdigest(), settings=ours)
    assert list((ours.home / "v1" / "tmp").iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_what_has_filled_a_disk_is_not_kept(
    fault_server: FaultServer, ours: Settings, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    real, room = os.write, [100_000]

    def write(fd: int, data: bytes) -> int:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            room[0] -= len(data)
            if room[0] < 0:
                raise OSError(code, os.strerror(code))
        return real(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(DiskSpaceError):
            store.fetch([fault_server.add("/a", BODY)], SHA, settings=ours)
    assert list((ours.home / "v1" / "tmp").iterdir()) == []


# --- files of an unknown size


def test_a_known_network_limits_its_checkpoints_download(
    fault_server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fault_server.add("/weights.ckpt", BODY, then=Fault(infinite=True))
    cards = tmp_path / "cards" / "own"
    cards.mkdir(parents=True)
    card = "# t\n\n---\n\nmodel-name: t\nnetwork: ssd300\nasset:\n- file-format: ckpt\n  asset-link: {url}\n"
    card += f"  asset-sha256: {SHA}\n\n---\n\n## x\n"
    (cards / "net.md").write_text(card.format(url=url))
    monkeypatch.setenv("MSHUB_REGISTRY", str(cards.parent))
    small = replace(networks.NETWORKS["ssd300"], values=1000)
    monkeypatch.setitem(networks.NETWORKS, "ssd300", small)
    cap = networks.largest_checkpoint("ssd300")
    assert cap == 16_000 + (64 << 20)
    for _ in range(2):
        with pytest.raises(TransferError, match=rf"more than the .*\({cap} bytes\)"):
            mshub.fetch("own/net")
        assert files(Path(os.environ["MSHUB_HOME"]) / "v1" / "tmp") == {}, "too much of it is not kept"


def test_what_a_checkpoint_can_weigh_follows_from_the_networks() -> None:
    pytest.importorskip("mindspore")

    for key in networks.NETWORKS:
        with networks.building(initialised=False):
            expected = networks.parameter_types(networks.constructor(key)())
        weights = sum(kind.itemsize * math.prod(shape) for shape, kind in expected.values())
        cap = networks.largest_checkpoint(key)
        assert cap is not None
        assert 4 * weights < cap <= 4 * weights + (65 << 20)


def test_many_who_store_the_same_file_at_once_do_not_take_each_other_for_strangers(
    ours: Settings, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal files take the name again and again while one of them is being looked at."""
    body = b"the same for all" * 1000
    digest = hashlib.sha256(body).hexdigest()
    exchanges = 0

    def exchanging(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            nonlocal exchanges
            found = real(*args)
            blob = ours.home / "v1" / "blobs" / "sha256" / digest[:2] / digest
            if blob.exists() and exchanges < 10:
                exchanges += 1
                other = blob.with_name("other")
                other.write_bytes(body)
                other.replace(blob)
            return found

        return call

    monkeypatch.setattr(blobs, "sync_folder", exchanging(blobs.sync_folder))
    monkeypatch.setattr(blobs, "read_fully", exchanging(blobs.read_fully))
    path = store.fetch([fault_server.add("/net.ckpt", body)], digest, settings=ours)
    assert path.read_bytes() == body
    assert exchanges == 10
