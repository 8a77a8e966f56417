"""The store: verified bytes or one of our errors, whatever the server, the disk and the caller do."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import hashlib
import io
import itertools
import json
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import labclock
import pytest
from faultserver import HTML, PATIENCE, Fault, FaultServer, noise

from mshub_ssd import store
from mshub_ssd.errors import DiskSpaceError, IntegrityError, MshubError, OfflineError, TransferError, UsageError
from mshub_ssd.settings import Settings
from mshub_ssd.store import transfer

BODY = noise(300_000)
SHA = hashlib.sha256(BODY).hexdigest()
IMPATIENT = {"backoff": 0.001, "longest_wait": 0.004, "read": 10.0, "connect": 10.0, "progress": 1000}


@pytest.fixture(autouse=True)
def clock() -> Iterator[labclock.Clock]:
    with transfer.override_policy(**IMPATIENT), labclock.events() as clock:
        yield clock


@pytest.fixture
def ours(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "cache")


def files(root: Path) -> dict[str, bytes]:
    found = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def nothing_to_trust(ours: Settings) -> bool:
    """No blob, no pin, no lock. What has arrived may be kept as a part, which nobody trusts: it is hashed again."""
    return all(name == "v1/CACHEDIR.TAG" or name.startswith("v1/tmp/") for name in files(ours.home))


def damage(path: Path, *, keep_times: bool) -> None:
    """Flip a bit in place, as a bad disk would."""
    before = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.seek(before.st_size // 2)
        byte = stream.read(1)[0]
        stream.seek(before.st_size // 2)
        stream.write(bytes([byte ^ 1]))
    path.chmod(0o444)
    later = before.st_mtime_ns + (0 if keep_times else 5_000_000_000)
    os.utime(path, ns=(later, later))


# --- from the network to the cache, and from the cache


def test_fetch_downloads_once_and_then_uses_the_cache(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a.ckpt", BODY)
    path = store.fetch([url], SHA.upper(), settings=ours)
    assert path == ours.home / "v1" / "blobs" / "sha256" / SHA[:2] / SHA
    assert path.read_bytes() == BODY
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert (ours.home / "v1" / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")
    assert not list((ours.home / "v1" / "tmp").iterdir())
    assert store.fetch([url], SHA, settings=ours) == store.cached([url], SHA, ours) == path
    (request,) = fault_server.requests
    assert request.headers["accept-encoding"] == "identity"


def test_home_comes_from_the_environment(fault_server: FaultServer, tmp_path: Path) -> None:
    path = store.fetch([fault_server.add("/a", BODY)], SHA)
    assert path.is_relative_to(tmp_path / "mshub-home")


def test_equal_bytes_are_stored_once(fault_server: FaultServer, ours: Settings) -> None:
    first = store.fetch([fault_server.add("/a", BODY)], SHA, settings=ours)
    assert store.fetch(["https://elsewhere.invalid/b"], SHA, settings=ours) == first


def test_force_downloads_anew_and_replaces_only_after_verification(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY)
    path = store.fetch([url], SHA, settings=ours)
    first = path.stat().st_ino, path.stat().st_ctime_ns
    assert store.fetch([url], SHA, force=True, settings=ours) == path
    assert len(fault_server.requests) == 2
    assert (path.stat().st_ino, path.stat().st_ctime_ns) != first
    fault_server.add("/a", BODY, then=Fault(flip_bit=12345))
    with pytest.raises(IntegrityError):
        store.fetch([url], SHA, force=True, settings=ours)
    assert path.read_bytes() == BODY
    assert store.fetch([url], SHA, settings=ours) == path


@pytest.mark.parametrize("keep_times", [False, True])
def test_a_damaged_cached_file_is_moved_away_and_downloaded_again(
    fault_server: FaultServer, ours: Settings, keep_times: bool
) -> None:
    url = fault_server.add("/a", BODY)
    path = store.fetch([url], SHA, settings=ours)
    damage(path, keep_times=keep_times)
    assert store.cached([url], SHA, ours) is None
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert len(fault_server.requests) == 2
    assert [p.name for p in (ours.home / "v1" / "quarantine").iterdir()] == [SHA]


def test_verify_always_catches_what_no_stat_shows(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY)
    path = store.fetch([url], SHA, settings=ours)
    damage(path, keep_times=True)
    now = path.stat()
    record = {"size": now.st_size, "mtime_ns": now.st_mtime_ns, "inode": now.st_ino, "ctime_ns": now.st_ctime_ns}
    (ours.home / "v1" / "records" / "sha256" / SHA[:2] / SHA).write_text(json.dumps({"sha256": SHA, **record}))
    assert store.cached([url], SHA, ours) == path, "the forged record should be believed, or this proves nothing"
    always = replace(ours, verify_always=True)
    assert store.cached([url], SHA, always) is None
    assert store.fetch([url], SHA, settings=always).read_bytes() == BODY


@pytest.mark.parametrize("record", [None, b"", b"[]", b'{"size": 1}', b"\xff", b"[" * 100_000, b'{"size": "x"}'])
def test_a_missing_or_damaged_record_only_costs_a_hashing(
    fault_server: FaultServer, ours: Settings, record: bytes | None
) -> None:
    url = fault_server.add("/a", BODY)
    path = store.fetch([url], SHA, settings=ours)
    place = ours.home / "v1" / "records" / "sha256" / SHA[:2] / SHA
    good = place.read_bytes()
    place.unlink()
    if record is not None:
        place.write_bytes(record)
    assert store.fetch([url], SHA, settings=ours) == path
    assert place.read_bytes() == good
    assert len(fault_server.requests) == 1


@pytest.mark.parametrize("kind", ["folder", "fifo", "link to other bytes", "dangling link", "empty"])
def test_something_else_in_the_files_place_is_not_trusted(
    fault_server: FaultServer, ours: Settings, tmp_path: Path, kind: str
) -> None:
    url = fault_server.add("/a", BODY)
    place = ours.home / "v1" / "blobs" / "sha256" / SHA[:2] / SHA
    place.parent.mkdir(parents=True)
    target = tmp_path / "target"
    if kind == "folder":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "empty":
        place.touch()
    else:
        place.symlink_to(target)
        if kind == "link to other bytes":
            target.write_bytes(b"precious")
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert not place.is_symlink()
    assert not target.exists() or target.read_bytes() == b"precious"


def test_offline_uses_the_cache_without_a_socket(
    fault_server: FaultServer, ours: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fault_server.add("/a", BODY)
    path = store.fetch([url], SHA, settings=ours)
    offline = replace(ours, offline=True)

    def no_socket(*args: object, **kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", no_socket)
    monkeypatch.setattr(socket, "getaddrinfo", no_socket)
    assert store.fetch([url], SHA, settings=ours) == path
    assert store.fetch([url], SHA, settings=offline) == path
    assert store.cached([url], SHA, offline) == path
    for force, digest in ((True, SHA), (False, SHA[::-1]), (False, "12345678")):
        with pytest.raises(OfflineError) as caught:
            store.fetch([f"{url}?key=hidden"], digest, force=force, settings=offline)
        assert digest in str(caught.value)
        assert url in str(caught.value)
        assert "MSHUB_OFFLINE" in str(caught.value)
        assert "hidden" not in str(caught.value)
    damage(path, keep_times=False)
    with pytest.raises(IntegrityError, match="damaged"):
        store.fetch([url], SHA, settings=offline)
    with pytest.raises(OfflineError):
        store.fetch([url], SHA, settings=offline)


def test_plan_decides_without_disk_or_network(tmp_path: Path) -> None:
    ours = Settings(home=tmp_path / "none", endpoint="https://mirror.example/x/")
    urls = ["https://user:pw@a.example:8443/f/b.ckpt?sig=1", "http://b.example/c"]
    step = store.plan(urls, SHA, settings=ours)
    assert step.sources == (
        "https://mirror.example/x/a.example:8443/f/b.ckpt?sig=1",
        "https://mirror.example/x/b.example/c",
        *urls,
    )
    assert "pw" not in repr(step)
    assert "sig" not in repr(step)
    assert step.shown[2] == "https://a.example:8443/f/b.ckpt?..."
    hit = store.plan(urls, SHA, found=Path("/x"), settings=ours)
    assert (hit.path, hit.sources) == (Path("/x"), ())
    assert store.plan(urls, SHA, found=Path("/x"), force=True, settings=ours).sources == step.sources
    climbing = store.plan(["https://a.example/%2e%2e/admin"], SHA, settings=ours)
    assert climbing.sources == ("https://a.example/%2e%2e/admin",), "`..` must not climb about in the mirror"
    with pytest.raises(UsageError, match="MSHUB_ENDPOINT"):
        store.plan(urls, SHA, settings=replace(ours, endpoint="ftp://mirror.example"))
    assert not ours.home.exists()


# --- digests


@pytest.mark.parametrize(
    "digest",
    ["", "1234567", "g" * 64, SHA + "0", f" {SHA}", "../../../etc/passwd", "\uff11" * 8, None, 12345678, SHA[:7]],
)
def test_what_is_no_digest_is_refused_before_any_transfer(
    fault_server: FaultServer, ours: Settings, digest: Any
) -> None:
    url = fault_server.add("/a", BODY)
    for call in (
        lambda: store.fetch([url], digest, settings=ours),
        lambda: store.cached([url], digest, ours),
        lambda: store.verify_local(Path(__file__), digest),
        lambda: store.read_verified(Path(__file__), digest),
        lambda: store.plan([url], digest, settings=ours),
    ):
        with pytest.raises(IntegrityError, match="asset-sha256 must be 64 hex digits") as caught:
            call()
        assert repr(digest) in str(caught.value)
    assert not fault_server.requests
    assert not ours.home.exists()


def twins() -> tuple[bytes, bytes, str]:
    """Two bodies with the same first 8 hex digits (the birthday paradox needs some 80,000 tries)."""
    seen: dict[str, bytes] = {}
    for number in itertools.count():
        body = b"twin %d" % number
        short = hashlib.sha256(body).hexdigest()[:8]
        if short in seen:
            return seen[short], body, short
        seen[short] = body
    raise AssertionError


def test_a_short_digest_is_trusted_on_first_use_only(fault_server: FaultServer, ours: Settings) -> None:
    first, second, short = twins()
    url = fault_server.add("/a", first)
    assert store.cached([url], short, ours) is None
    path = store.fetch([url], short.upper(), settings=ours)
    assert path.read_bytes() == first
    assert path.name == hashlib.sha256(first).hexdigest()
    assert store.cached([url], short, ours) == store.fetch([url], short, settings=ours) == path
    assert len(fault_server.requests) == 1

    fault_server.add("/a", second)
    for again in range(2):
        with pytest.raises(IntegrityError) as caught:
            store.fetch([url], short, force=True, settings=ours)
        assert "recorded on first use" in str(caught.value)
        assert path.name in str(caught.value)
        assert "same short digest" in str(caught.value)
        assert path.read_bytes() == first, again
    path.unlink()
    with pytest.raises(IntegrityError, match=r"recorded on first use"):
        store.fetch([url], short, settings=ours)
    other = fault_server.add("/b", second)
    assert store.fetch([other], short, settings=ours).read_bytes() == second
    with pytest.raises(IntegrityError, match="two urls"):
        store.fetch([url, other], short, settings=ours)


def test_of_two_first_uses_at_once_one_wins(fault_server: FaultServer, ours: Settings) -> None:
    first, second, short = twins()
    done = threading.Event()
    url = fault_server.add("/a", b"", Fault(body=second, until=done), then=Fault(body=first))
    with transfer.override_policy(locks=False), concurrent.futures.ThreadPoolExecutor() as pool:
        loser = pool.submit(store.fetch, [url], short, settings=ours)
        fault_server.await_requests(1)
        path = store.fetch([url], short, settings=ours)
        done.set()
        error = loser.exception(PATIENCE)
    assert isinstance(error, IntegrityError)
    assert "same short digest" in str(error)
    assert path.read_bytes() == first
    assert store.cached([url], short, ours) == path
    assert not (ours.home / "v1" / "blobs" / "sha256").joinpath(*_place(second)).exists()


def _place(body: bytes) -> tuple[str, str]:
    digest = hashlib.sha256(body).hexdigest()
    return digest[:2], digest


def test_a_short_digest_that_does_not_fit_records_nothing(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY)
    for _ in range(2):
        with pytest.raises(IntegrityError):
            store.fetch([url], "00000000", settings=ours)
        assert nothing_to_trust(ours)


@pytest.mark.parametrize("text", ["", "{}", '{"sha256": "0"}', json.dumps({"sha256": "f" * 64})])
def test_a_damaged_record_of_first_use_is_not_ignored(fault_server: FaultServer, ours: Settings, text: str) -> None:
    url = fault_server.add("/a", BODY)
    store.fetch([url], SHA[:10], settings=ours)
    (pin,) = (ours.home / "v1" / "pins").iterdir()
    pin.write_text(text)
    with pytest.raises(IntegrityError, match="first use") as caught:
        store.fetch([url], SHA[:10], settings=ours)
    assert str(pin) in str(caught.value)


# --- disks, processes, interruptions


def test_the_first_byte_waits_for_room(
    fault_server: FaultServer, ours: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fault_server.add("/a", BODY)
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=300_000))
    for size, requests in ((len(BODY), 0), (None, 1)):
        with pytest.raises(DiskSpaceError) as caught:
            store.fetch([url], SHA, size=size, settings=ours)
        for words in ("315000 bytes", "300000 bytes", str(ours.home), "MSHUB_HOME"):
            assert words in str(caught.value)
        assert len(fault_server.requests) == requests
        assert nothing_to_trust(ours)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_midway(
    fault_server: FaultServer, ours: Settings, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    url = fault_server.add("/a", BODY)
    real, calls = os.write, itertools.count()

    def write(fd: int, data: bytes) -> int:
        if stat.S_ISREG(os.fstat(fd).st_mode) and next(calls) >= 1:
            raise OSError(code, os.strerror(code))
        return real(fd, data[:1000])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(DiskSpaceError, match="MSHUB_HOME"):
            store.fetch([url], SHA, settings=ours)
    assert nothing_to_trust(ours)
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY


def test_a_kernel_that_refuses_to_grow_the_file(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(DiskSpaceError):
            store.fetch([url], SHA, settings=ours)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert nothing_to_trust(ours)


def _as_nobody(queue: Any, call: Callable[[], object]) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    try:
        queue.put(call())
    except MshubError as error:
        queue.put(error)


def as_nobody(call: Callable[[], object]) -> object:
    """Run in a forked process without root's right to write everywhere."""
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=_as_nobody, args=(queue, call))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 0
    return queue.get()


def test_a_read_only_cache_serves_hits_and_explains_misses(fault_server: FaultServer) -> None:
    url = fault_server.add("/a", BODY)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        ours = Settings(home=Path(folder) / "home")
        path = store.fetch([url], SHA, settings=ours)
        damaged = store.fetch([fault_server.add("/c", HTML)], hashlib.sha256(HTML).hexdigest(), settings=ours)
        damage(damaged, keep_times=False)
        folders = [ours.home, *(p for p in ours.home.rglob("*") if p.is_dir())]
        for place in folders:
            place.chmod(0o555)
        try:
            before, requests = files(ours.home), len(fault_server.requests)
            always = replace(ours, verify_always=True)
            for choice in (ours, always, replace(ours, offline=True)):
                assert as_nobody(lambda choice=choice: store.fetch([url], SHA, settings=choice)) == path
            (ours.home / "v1" / "records" / "sha256" / SHA[:2] / SHA).write_bytes(b"")
            assert as_nobody(lambda: store.fetch([url], SHA, settings=ours)) == path
            missed = as_nobody(lambda: store.fetch([url], SHA[::-1], settings=ours))
            assert isinstance(missed, TransferError)
            assert "MSHUB_HOME" in str(missed)
            assert "Permission denied" in str(missed)
            refused = as_nobody(lambda: store.fetch([url], damaged.name, settings=ours))
            assert isinstance(refused, IntegrityError)
            assert str(damaged) in str(refused)
            assert len(fault_server.requests) == requests, "a miss that cannot be stored is not downloaded"
            assert set(files(ours.home)) == set(before)
        finally:
            for place in folders:
                place.chmod(0o755)


@pytest.mark.parametrize("home", ["file", "file/below", "x" * 300])
def test_a_home_that_cannot_be_is_explained(fault_server: FaultServer, tmp_path: Path, home: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MshubError, match="MSHUB_HOME"):
        store.fetch([fault_server.add("/a", BODY)], SHA, settings=Settings(home=tmp_path / home))


def _fetch_at_once(barrier: Any, url: str, digest: str, ours: Settings, results: Any) -> None:
    barrier.wait(PATIENCE)
    try:
        path = store.fetch([url], digest, settings=ours)
        results.put(hashlib.sha256(path.read_bytes()).hexdigest())
    except MshubError as error:
        results.put(repr(error))


@pytest.mark.parametrize("digits", [64, 12])
def test_eight_processes_at_once(fault_server: FaultServer, ours: Settings, digits: int) -> None:
    body = noise(3_000_000, seed=3)
    digest = hashlib.sha256(body).hexdigest()
    url = fault_server.add("/big", body, Fault(cut_after=999_999), Fault(flip_bit=5), Fault(status=503))
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(8), context.SimpleQueue()
    arguments = (barrier, url, digest[:digits], ours, results)
    workers = [context.Process(target=_fetch_at_once, args=arguments) for _ in range(8)]
    for worker in workers:
        worker.start()
    got = [results.get() for _ in workers]
    for worker in workers:
        worker.join(PATIENCE)
    assert got == [digest] * 8
    assert not list((ours.home / "v1" / "tmp").iterdir())
    assert store.cached([url], digest[:digits], ours) is not None


def test_an_interruption_keeps_what_has_arrived_and_says_so(
    fault_server: FaultServer, ours: Settings, clock: labclock.Clock, caplog: pytest.LogCaptureFixture
) -> None:
    url = fault_server.add("/a", BODY, Fault(stall_after=100_000))

    def interrupt() -> bool:
        assert [path.stat().st_size for path in ours.home.rglob("*.part")] == [100_000]
        signal.raise_signal(signal.SIGINT)
        return False

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    clock.expires = interrupt
    try:
        with pytest.raises(KeyboardInterrupt):
            store.fetch([url], SHA, settings=ours)
    finally:
        signal.signal(signal.SIGINT, before)
    assert nothing_to_trust(ours)
    assert "100 kB (100000 bytes) of a are kept, and fetching again goes on after them" in caplog.text
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert [request.headers.get("range") for request in fault_server.requests] == [None, "bytes=100000-"]
    assert not list((ours.home / "v1" / "tmp").iterdir())


def test_hostile_names_write_nothing_outside_the_home(
    fault_server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder that no other test writes to.
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    sandbox = tmp_path / "sandbox"
    ours = Settings(home=sandbox / "a" / "home")
    sandbox.mkdir()
    (sandbox / "precious").write_text("precious")
    header = {"Content-Disposition": 'attachment; filename="../../../evil"'}
    names = [
        "/../../evil",
        "/%2e%2e/%2e%2e/evil",
        "/..%2f..%2fevil",
        "/a%00b",
        "/a\\..\\evil",
        "/~/x",
        "/" + "n" * 3000,
    ]
    digests = ["../../evil", "/etc/evil", "..", "a/../../evil", "\0" * 64, f"../{'0' * 61}", SHA[:12], SHA, "c:evil"]
    cwd = sorted(Path.cwd().iterdir())
    for name, digest in itertools.product(names, digests):
        fault_server.add(name, BODY, then=Fault(headers=header))
        with contextlib.suppress(MshubError):
            store.fetch([fault_server.base + name], digest, settings=ours)
    assert fault_server.requests
    outside = {name for name in files(sandbox) if not name.startswith("a/home/v1/")}
    assert outside == {"precious"}
    assert sorted(Path.cwd().iterdir()) == cwd


# --- files beside their card


def test_local_files_are_hashed_on_every_use(tmp_path: Path, ours: Settings) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(BODY)
    before = path.stat()
    assert store.verify_local(path, SHA.upper()) == store.verify_local(path, SHA[:8]) == path
    assert store.read_verified(path, SHA) == BODY
    damage(path, keep_times=True)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    for call in (store.verify_local, store.read_verified):
        for digest in (SHA, SHA[:8]):
            with pytest.raises(IntegrityError) as caught:
                call(path, digest)
            assert str(path) in str(caught.value)
            assert digest in str(caught.value)
        for missing in (tmp_path / "none", tmp_path, tmp_path / "\0"):
            with pytest.raises(IntegrityError, match="cannot be read"):
                call(missing, SHA)
    assert not ours.home.exists()


# --- what people see, and what is loaded


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_for_terminals_only(
    fault_server: FaultServer, ours: Settings, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fault_server.add("/weights.ckpt", BODY)
    store.fetch([url], SHA, settings=ours)
    assert capfd.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    store.fetch([url], SHA, force=True, settings=ours)
    assert "weights.ckpt: 100%" in terminal.getvalue()
    assert "300k/300k" in terminal.getvalue()


def test_a_hit_needs_neither_requests_nor_numpy(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY)
    store.fetch([url], SHA, settings=ours)
    code = (
        "import sys, pathlib\nfrom mshub_ssd import store\nfrom mshub_ssd.settings import Settings\n"
        f"print(store.fetch([{url!r}], {SHA!r}, settings=Settings(home=pathlib.Path({str(ours.home)!r}))))\n"
        "print(sorted({'requests', 'urllib3', 'tqdm', 'numpy', 'mindspore', 'ssl'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.splitlines()[1] == "[]"
    assert len(fault_server.requests) == 1
