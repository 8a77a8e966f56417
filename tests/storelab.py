"""Experiments on the store, for the tests (small) and for ``benchmarks/store_proofs.py`` (large).

Each returns figures and raises AssertionError when a promise is broken.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import pathlib
import random
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import labclock
from commands import interrupt
from faultserver import HTML, PATIENCE, Fault, FaultServer, noise

from mshub_ssd import store
from mshub_ssd.errors import IntegrityError, MshubError, TransferError, UsageError
from mshub_ssd.settings import Settings
from mshub_ssd.store import transfer

FORK = multiprocessing.get_context("fork")
INTERRUPTED = 130

UNHURRIED = {name: float(PATIENCE) for name in ("connect", "read", "answer", "stall", "lock_idle", "lock_longest")}
"""Patience that no busy machine exhausts."""


@contextlib.contextmanager
def fresh_home() -> Iterator[Settings]:
    """A cache of its own, in memory where there is such a folder."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Settings(home=Path(folder))


def wrong_blobs(ours: Settings) -> list[str]:
    """Names in the cache whose bytes are others."""
    blobs = [path for path in (ours.home / "v1" / "blobs").rglob("*") if path.is_file()]
    return [path.name for path in blobs if hashlib.sha256(path.read_bytes()).hexdigest() != path.name]


def parts(ours: Settings) -> list[Path]:
    """Files under way or left over; a killed process may leave its small notes as well."""
    return list((ours.home / "v1" / "tmp").glob("*.part"))


def kills(rounds: int, size: int, *, seed: int, chain: int = 2) -> dict[str, Any]:
    """kill -9 at random moments of a download, up to `chain` times, then one more fetch in a living process.

    Most moments are numbers of bytes: the process is killed as soon as that many are on the disk, while the server
    holds back the last ones. Some come before the first byte, some once the server has sent all of them.

    Args:
        rounds: Least number of kills.
        size: Bytes of the file.
        seed: Of the moments.
        chain: Most kills of one download.
    """
    chance = random.Random(seed)
    body = noise(size, seed=seed)
    digest = hashlib.sha256(body).hexdigest()
    again: list[float] = []
    children = killed = survived = resumed = 0
    # No pause can be negative: whoever waits for the lock of a killed process fails.
    with FaultServer() as server, transfer.override_policy(**UNHURRIED, lock_poll=-1.0):
        while killed < rounds:
            with fresh_home() as ours:
                before, asked, until_now = server.sent, len(server.requests), killed
                for _ in range(chance.randint(1, chain)):
                    moment = {0: "early", 5: "late"}.get(children % 10, "amid")
                    children += 1
                    if _killed(server, body, digest, ours, moment, chance):
                        killed += 1
                    else:
                        survived += 1
                server.settle()
                assert not wrong_blobs(ours)
                kept = _kept(ours)
                url = server.add("/weights.ckpt", body)
                hit = store.cached([url], digest, ours) is not None
                seen = len(server.requests)
                path = store.fetch([url], digest, settings=ours)
                assert path.read_bytes() == body
                starts = [request.headers.get("range") for request in server.requests[seen:]]
                assert starts == ([] if hit or kept == size else [f"bytes={kept}-" if kept else None])
                assert not parts(ours)
                resumed += any("range" in request.headers for request in server.requests[asked:])
                server.settle()
                if killed > until_now:
                    again.append((server.sent - before) / size - 1)
    return {
        "kills": killed,
        "finished before the kill": survived,
        "downloads killed": len(again),
        "resumed": resumed,
        "size": size,
        "downloaded again, mean": round(sum(again) / len(again), 4),
        "downloaded again, largest": round(max(again), 4),
        "wrong blobs": 0,
        "unverified bytes returned": 0,
    }


def _killed(server: FaultServer, body: bytes, digest: str, ours: Settings, moment: str, chance: random.Random) -> bool:
    """Whether a fetching process was killed, rather than being faster."""
    server.settle()  # or the request of one that was killed before could take the fault that is meant for this one
    size, kept, asked = len(body), _kept(ours), len(server.requests)
    if moment == "amid" and kept < size - 1:
        reach = chance.randint(kept + 1, size - 1)
        url = server.add("/weights.ckpt", body, Fault(stall_after=chance.randint(reach, size - 1) - kept))
        pid = _started(url, digest, ours)
        _await(lambda: _kept(ours) >= reach, pid)
    elif moment == "early" and kept < size:
        reach = 0
        url = server.add("/weights.ckpt", body, Fault(stall_after=size - 1 - kept))
        pid = _started(url, digest, ours)
        if chance.random() < 0.5:
            _await(lambda: len(server.requests) > asked, pid)
    else:
        reach, all_sent = 0, server.sent + size - kept
        pid = _started(server.add("/weights.ckpt", body), digest, ours)
        _await(lambda: server.sent >= all_sent, pid)
    os.kill(pid, signal.SIGKILL)
    status = _status(pid)
    assert status in (0, -signal.SIGKILL), "the fetch failed instead of being killed"
    assert status == 0 or _kept(ours) >= reach, "bytes that had reached the disk are gone"
    assert status == -signal.SIGKILL or reach == 0, "the server did not hold it back"
    return status != 0


def interrupts(rounds: int, size: int, *, seed: int) -> dict[str, Any]:
    """Ctrl-C once a random number of bytes is there: the process ends, leaves no lock, and its bytes are of use.

    The server has fallen silent, and no time limit is near: nothing but the interruption ends the process.
    """
    chance = random.Random(seed)
    body = noise(size, seed=seed)
    digest = hashlib.sha256(body).hexdigest()
    slowest, resumed, again = 0.0, 0, 0
    with FaultServer() as server, transfer.override_policy(**UNHURRIED):
        for number in range(rounds):
            with fresh_home() as ours:
                reach = chance.randint(1, size - 1) if number % 5 else 0
                url = server.add("/weights.ckpt", body, Fault(stall_after=chance.randint(reach, size - 1)))
                asked = len(server.requests)
                pid = _started(url, digest, ours)
                _await(lambda reach=reach: _kept(ours) >= reach, pid)  # type: ignore[misc]
                server.await_requests(asked + 1)
                begun = time.monotonic()
                if interrupt(pid, lambda pid=pid: _has_ended(pid)) == 1:  # type: ignore[misc]
                    slowest = max(slowest, time.monotonic() - begun)
                else:
                    again += 1
                assert _status(pid) == INTERRUPTED
                assert not list((ours.home / "v1").glob("locks/*"))
                server.settle()
                assert len(server.requests) == asked + 1, "it went on"
                kept = _kept(ours)
                assert kept >= reach, "bytes that had reached the disk are gone"
                assert store.fetch([url], digest, settings=ours).read_bytes() == body
                assert server.requests[-1].headers.get("range") == (f"bytes={kept}-" if kept else None)
                resumed += kept > 0
    assert again <= max(2, rounds // 20), "too often one Ctrl-C is not enough"
    return {"interrupts": rounds, "resumed": resumed, "pressed again": again, "slowest end, s": round(slowest, 3)}


def kills_at_calls(size: int, *, step: int = 1) -> dict[str, Any]:
    """kill -9 right before the n-th call into the system, for all n (or each `step`-th)."""
    body = noise(size, seed=5)
    digest = hashlib.sha256(body).hexdigest()
    killed = 0
    with FaultServer() as server:
        url = server.add("/weights.ckpt", body)
        for number in range(0, 10_000, step):
            with fresh_home() as ours:
                if not _dies_at(number, url, digest, ours):
                    break
                killed += 1
                assert not wrong_blobs(ours)
                assert store.fetch([url], digest, settings=ours).read_bytes() == body
                assert not wrong_blobs(ours)
                assert not parts(ours)
    assert killed > 10 // step, "nothing was killed, so nothing was proved"
    return {"kills": killed}


def graph_kills(rounds: int, size: int, *, seed: int) -> dict[str, Any]:
    """kill -9 while a graph is written: half of them before a call into the system, half at a number of bytes.

    What is found afterwards is nothing, or the whole graph; and the next one who makes it gets it.
    """
    chance = random.Random(seed)
    body = noise(size, seed=seed)
    key = {"network": "lab", "checkpoint": "0" * 64}
    pieces = [body[start : start + size // 7 + 1] for start in range(0, size, size // 7 + 1)]
    tally: Counter[str] = Counter()
    while tally["kills"] < rounds:
        with fresh_home() as ours:

            def make(ours: Settings = ours) -> Path:
                found = store.add_graph(key, pieces, {"known": 1}, label="a/1/b", checkpoint="0" * 64, settings=ours)
                return found.path

            for _ in range(chance.randint(1, 3)):
                at_call = chance.random() < 0.5
                pid = _forked(make, chance.randrange(60) if at_call else None)
                if not at_call:
                    goal = chance.randrange(size)
                    _await(lambda goal=goal, ours=ours: _kept(ours) > goal, pid)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                status = _status(pid)
                assert status in (0, -signal.SIGKILL), "it failed instead of being killed"
                tally["kills"] += status != 0
                found = store.find_graph(key, ours)
                tally["found after a kill" if found else "nothing after a kill"] += status != 0
                assert found is None or found.path.read_bytes() == body
            assert make().read_bytes() == body
            again = store.find_graph(key, ours)
            assert again is not None
            assert again.path.read_bytes() == body
            assert again.facts == {"known": 1}
            assert not parts(ours), "what a killed process left of the same file is still there"
    return dict(tally)


def crowd(processes: int, rounds: int, size: int, *, locks: bool, digits: int = 64) -> dict[str, Any]:
    """Many processes fetch the same cold file at once; without locks none is answered before all have asked."""
    body = noise(size, seed=7)
    digest = hashlib.sha256(body).hexdigest()
    transfers: list[float] = []
    with FaultServer() as server, transfer.override_policy(**UNHURRIED, locks=locks, lock_poll=0.01):
        url = server.add("/weights.ckpt", body)
        for _ in range(rounds):
            with fresh_home() as ours:
                barrier, results = FORK.Barrier(processes), FORK.SimpleQueue()
                before = server.sent
                if not locks:
                    server.gather(processes)
                arguments = (barrier, url, digest[:digits], ours, results)
                workers = [FORK.Process(target=_one_of_many, args=arguments) for _ in range(processes)]
                for worker in workers:
                    worker.start()
                got = [results.get() for _ in workers]
                for worker in workers:
                    worker.join(PATIENCE)
                server.settle()
                assert got == [digest] * processes, set(got)
                assert not wrong_blobs(ours)
                assert not list((ours.home / "v1" / "tmp").iterdir())
                assert not list((ours.home / "v1" / "locks").iterdir())
                transfers.append((server.sent - before) / size)
    return {
        "processes": processes,
        "rounds": rounds,
        "size": size,
        "locks": locks,
        "full transfers a round, mean": round(sum(transfers) / rounds, 3),
        "full transfers a round, largest": round(max(transfers), 3),
        "corrupt": 0,
    }


def turmoil(processes: int, *, kills: int, fetches: int, seed: int) -> dict[str, Any]:
    """Processes fetch a few files over and over, others are killed, and one verifies, prunes and removes meanwhile.

    It ends after so many kills and so many fetches, and a chore for each kill.
    """
    bodies = [noise(200_000 + 1000 * number, seed=number) for number in range(4)]
    with FaultServer() as server, fresh_home() as ours, transfer.override_policy(**UNHURRIED, lock_poll=0.01):
        wanted = [(server.add(f"/{n}", body), hashlib.sha256(body).hexdigest()) for n, body in enumerate(bodies)]
        enough, results = FORK.Event(), FORK.SimpleQueue()
        fetched, kept_house = FORK.Value("l", 0), FORK.Value("l", 0)
        kinds = [(_fetcher, fetched)] * processes + [(_keeper, kept_house)]
        workers = [
            FORK.Process(target=kind, args=(wanted, ours, enough, count, seed + number, results))
            for number, (kind, count) in enumerate(kinds)
        ]
        for worker in workers:
            worker.start()
        chance = random.Random(seed)
        killed = 0
        while killed < kills or fetched.value < fetches or kept_house.value < kills:
            assert all(worker.is_alive() for worker in workers), "one of them died of an error"
            # More calls than a download takes, so that some come through.
            killed += _dies_at(chance.randrange(60), *chance.choice(wanted), ours)
        enough.set()
        tally: Counter[str] = Counter()
        for _ in workers:
            tally.update(results.get())
        for worker in workers:
            worker.join(PATIENCE)
        assert not wrong_blobs(ours)
        for (url, digest), body in zip(wanted, bodies, strict=True):
            assert store.fetch([url], digest, settings=ours).read_bytes() == body
    assert not {name for name in tally if name not in ("fetched", "gone before it was opened", "kept house")}, tally
    return {"processes": processes, "kills": killed, **tally}


def _fetcher(wanted: list[tuple[str, str]], ours: Settings, enough: Any, count: Any, seed: int, results: Any) -> None:
    chance, tally = random.Random(seed), Counter[str]()
    while not enough.is_set():
        url, digest = chance.choice(wanted)
        try:
            with store.fetch([url], digest, label=f"{seed}", settings=ours).open("rb") as stream:
                # Once it is open, nothing that others do may change it.
                time.sleep(chance.uniform(0, 0.002))
                good = hashlib.sha256(stream.read()).hexdigest() == digest
                tally["fetched" if good else "wrong bytes"] += 1
            with count:
                count.value += 1
        except FileNotFoundError:
            tally["gone before it was opened"] += 1  # the keeper removed it: its good right
        except MshubError as error:
            tally[f"{type(error).__name__}: {error}"] += 1
    results.put(dict(tally))


def _keeper(wanted: list[tuple[str, str]], ours: Settings, enough: Any, count: Any, seed: int, results: Any) -> None:
    chance, tally = random.Random(seed), Counter[str]()
    while not enough.is_set():
        time.sleep(chance.uniform(0, 0.02))
        act = chance.randrange(4)
        if act == 0:
            faults = [checked.fault for checked in store.verify(settings=ours) if checked.fault]
            tally.update(faults)
        elif act == 1:
            store.prune(settings=ours)
        elif act == 2:
            store.prune(max_bytes=300_000, settings=ours)
        else:
            with contextlib.suppress(UsageError):  # it is not there
                store.remove([chance.choice(wanted)[1]], settings=ours)
        tally["kept house"] += 1
        with count:
            count.value += 1
    results.put(dict(tally))


def flips(count: int, size: int, *, seed: int) -> dict[str, Any]:
    """One flipped bit somewhere in the cache: in a file, its record, or a part; never returned unverified."""
    chance = random.Random(seed)
    body = noise(size, seed=seed)
    digest = hashlib.sha256(body).hexdigest()
    tally = {"file": 0, "file, times kept": 0, "record": 0, "part": 0}
    found_by_verify = 0
    with FaultServer() as server, fresh_home() as ours:
        url = server.add("/weights.ckpt", body)
        always = Settings(home=ours.home, verify_always=True)
        path = store.fetch([url], digest, settings=ours)
        record = ours.home / "v1" / "records" / "sha256" / digest[:2] / digest
        for number in range(count):
            kind = chance.choice(list(tally))
            tally[kind] += 1
            if kind == "part":
                _plant_part(ours, digest, flipped(body[: chance.randint(1, size)], chance))
                path.unlink()
                got = store.fetch([url], digest, settings=ours)
            else:
                target = record if kind == "record" else path
                keep = target.stat() if kind == "file, times kept" else None
                target.chmod(0o644)
                target.write_bytes(flipped(target.read_bytes(), chance))
                if keep is not None:
                    # What a failing disk does: no system call, so no trace in the times. The record is made to fit.
                    os.utime(target, ns=(keep.st_atime_ns, keep.st_mtime_ns))
                    _forge_record(record, target)
                    assert store.cached([url], digest, ours) == path, "the forgery failed, so nothing is proved"
                    if number % 2:
                        (checked,) = store.verify(settings=ours)
                        assert checked.fault is not None
                        assert checked.moved
                        found_by_verify += 1
                    got = store.fetch([url], digest, settings=always)
                else:
                    got = store.fetch([url], digest, settings=ours)
            assert got.read_bytes() == body, kind
            shutil.rmtree(ours.home / "v1" / "quarantine", ignore_errors=True)
    return {"flips": count, **tally, "found by verify": found_by_verify, "returned unverified": 0}


def flipped(data: bytes, chance: random.Random) -> bytes:
    """The same with one bit turned over."""
    spot, bit = divmod(chance.randrange(8 * len(data)), 8)
    return data[:spot] + bytes([data[spot] ^ (1 << bit)]) + data[spot + 1 :]


def plant_part(ours: Settings, digest: str, data: bytes) -> Path:
    """An interrupted download, as a process that ended leaves it."""
    folder = ours.home / "v1" / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{digest}.{random.randbytes(8).hex()}.part"
    path.write_bytes(data)
    return path


_plant_part = plant_part


def _forge_record(record: Path, target: Path) -> None:
    import json

    now = target.stat()
    facts = {"size": now.st_size, "mtime_ns": now.st_mtime_ns, "inode": now.st_ino, "ctime_ns": now.st_ctime_ns}
    record.write_text(json.dumps({"sha256": target.name, **facts}))


def _kept(ours: Settings) -> int:
    """Bytes of the largest part."""
    sizes = [0]
    for part in parts(ours):
        with contextlib.suppress(FileNotFoundError):  # it was renamed meanwhile
            sizes.append(part.stat().st_size)
    return max(sizes)


def _started(url: str, digest: str, ours: Settings, dies_at: int | None = None) -> int:
    """A forked process that fetches; its status will be 0, or `INTERRUPTED`."""
    return _forked(lambda: store.fetch([url], digest, settings=ours), dies_at)


def _forked(task: Callable[[], object], dies_at: int | None = None) -> int:
    """A forked process that does something; its status will be 0, or `INTERRUPTED`."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            # A shell's background jobs ignore Ctrl-C, and their children inherit that.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if dies_at is not None:
                _die_at(dies_at)
            task()
            status = 0
        except KeyboardInterrupt:
            status = INTERRUPTED
        except BaseException:  # noqa: BLE001 - told on stderr, for it must not reach pytest
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid


def _await(met: Callable[[], bool], pid: int) -> None:
    """Wait for something, or for the end of a process."""
    until = time.monotonic() + PATIENCE
    while not met() and not _has_ended(pid):
        assert time.monotonic() < until, "it hangs"
        time.sleep(0.0005)


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _status(pid: int) -> int:
    """What a process ends with: its status, or less than 0 for a signal."""
    _await(lambda: False, pid)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _dies_at(number: int, url: str, digest: str, ours: Settings) -> bool:
    """Whether a process that fetches made so many calls into the system; it was killed before the next one."""
    status = _status(_started(url, digest, ours, number))
    assert status in (0, -signal.SIGKILL), "the fetch failed instead of being killed"
    return status != 0


def _die_at(number: int) -> None:
    """Let this process be killed before its n-th call that touches the disk."""
    left = [number]

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return call(*args, **kwargs)

        return instead

    for name in ("open", "write", "fsync", "replace", "rename", "link", "unlink", "utime", "fchmod", "mkdir"):
        setattr(os, name, dying(getattr(os, name)))
        accessor = getattr(pathlib, "_NormalAccessor", None)  # Python 3.10's pathlib took its own references
        if hasattr(accessor, name):
            setattr(accessor, name, staticmethod(dying(getattr(accessor, name))))


def _one_of_many(barrier: Any, url: str, digest: str, ours: Settings, results: Any) -> None:
    try:
        barrier.wait(PATIENCE)
        path = store.fetch([url], digest, settings=ours)
        results.put(hashlib.sha256(path.read_bytes()).hexdigest())
    except BaseException as error:  # noqa: BLE001 - the one who waits for it shall be told
        results.put(repr(error) + str(error))


FAULTS: dict[str, Fault] = {
    "cut": Fault(cut_after=20_000),
    "cut at once": Fault(cut_after=0),
    "cut by reset": Fault(cut_after=20_000, reset=True),
    "cut, no ranges": Fault(cut_after=20_000, ignore_range=True),
    "cut, no length": Fault(cut_after=20_000, headers={"Content-Length": None}),
    "cut chunks": Fault(cut_after=20_000, chunked=True),
    "chunks": Fault(chunked=True),
    "negative length": Fault(headers={"Content-Length": "-5"}),
    "short length": Fault(headers={"Content-Length": "99"}),
    "long length": Fault(headers={"Content-Length": "50100"}, cut_after=50_000),
    "huge length": Fault(headers={"Content-Length": "9" * 30}, cut_after=50_000),
    "no ranges": Fault(ignore_range=True),
    "wrong range": Fault(content_range="bytes 5-49999/50000"),
    "range of another file": Fault(content_range="bytes 0-9/10"),
    "nonsense for a range": Fault(content_range="x"),
    "other bytes": Fault(body=noise(50_000, seed=99)),
    "another tag each time": Fault(headers={"ETag": '"other"'}, cut_after=20_000),
    "weak tag": Fault(headers={"ETag": 'W/"weak"'}, cut_after=20_000),
    "packed": Fault(gzip=True),
    "flipped bit": Fault(flip_bit=160_001),
    "truncated": Fault(truncate=30_000),
    "416": Fault(status=416),
    "429": Fault(status=429, headers={"Retry-After": "0"}),
    "429, garbage": Fault(status=429, headers={"Retry-After": "soon"}),
    "429, for long": Fault(status=429, headers={"Retry-After": "3600"}),
    "500": Fault(status=500),
    "404": Fault(status=404),
    "206 unasked": Fault(status=206, body=noise(50_000, seed=98)),
    "drip": Fault(drip=20),
    "stall": Fault(stall_after=20_000),
    "headers that never end": Fault(slow_headers=20),
    "no answer": Fault(hang_up=True),
    "reset": Fault(hang_up=True, reset=True),
    "no end": Fault(infinite=True),
    "redirect loop": Fault(redirect="/m0"),
    "redirect to a file": Fault(redirect="file:///etc/passwd"),
    "redirect to nowhere": Fault(redirect="http://[broken/"),
    "login page": Fault(body=HTML),
    "empty": Fault(body=b""),
}
"""What a server may do for ever; the file has 50,000 bytes."""

QUICK = {
    "backoff": 0.001,
    "longest_wait": 0.004,
    "read": 0.25,
    "connect": 5.0,
    "answer": 0.2,
    "stall": 0.2,
    "progress": 1000,
    "attempts": 3,
    "max_bytes": 200_000,
}
"""Patience for servers on this machine, where time passes by events."""


def matrix(name: str, *, part: str, mirrors: int) -> str:
    """One fault, with or without a part to go on from, alone or before a good mirror; returns what became of it.

    Args:
        name: Of one of `FAULTS`.
        part: ``none``, ``good`` or ``bad``: its bytes are the file's, or not.
        mirrors: 1, the faulty one; or 3, the last one good.
    """
    body = noise(50_000, seed=4)
    digest = hashlib.sha256(body).hexdigest()
    with FaultServer() as server, fresh_home() as ours, transfer.override_policy(**QUICK), labclock.events() as clock:
        urls = [server.add(f"/m{number}", body, then=FAULTS[name]) for number in range(min(mirrors, 2))]
        if mirrors == 3:
            urls.append(server.add("/good", body))
        if part != "none":
            start = body[:30_000] if part == "good" else noise(30_000, seed=5)
            plant_part(ours, digest, start)
        outcome = []
        for _ in range(2):
            clock.passed()
            outcome.append(_outcome(urls, digest, ours, body))
            # Every attempt at every source may wait once for the body and once for the headers.
            assert clock.passed() < 12, "it hangs"
            assert not wrong_blobs(ours)
        if mirrors == 3:
            assert outcome == ["file", "file"]
        for number in range(2):
            server.add(f"/m{number}", body)
        assert _outcome(urls, digest, ours, body) == "file", "a mended server is enough"
        return outcome[0]


def _outcome(urls: list[str], digest: str, ours: Settings, body: bytes) -> str:
    try:
        path = store.fetch(urls, digest, settings=ours)
    except (IntegrityError, TransferError) as error:
        failure: MshubError = error
    else:
        assert path.read_bytes() == body
        return "file"
    assert failure.hint
    assert store.cached(urls, digest, ours) is None
    return type(failure).__name__


def scripts(count: int, *, seed: int) -> dict[str, Any]:
    """Random scripts of random faults, random parts, one to three mirrors, full and short digests."""
    chance = random.Random(seed)
    body = noise(9000, seed=2)
    full = hashlib.sha256(body).hexdigest()
    tally = {"file": 0, "IntegrityError": 0, "TransferError": 0}
    slowest = 0.0
    patience = {**QUICK, "read": 0.15, "answer": 0.2, "stall": 0.15, "max_bytes": 20_000}
    with FaultServer() as server, transfer.override_policy(**patience), labclock.events() as clock:
        for number in range(count):
            with fresh_home() as ours:
                urls = []
                for mirror in range(chance.randint(1, 3)):
                    script = [_random_fault(chance) for _ in range(chance.randint(0, 4))]
                    then = Fault() if chance.random() < 0.6 else _random_fault(chance)
                    urls.append(server.add(f"/s{number}-{mirror}", body, *script, then=then))
                digest = full if chance.random() < 0.8 else full[:16]
                size = chance.choice([None, None, 9000, 100])
                if chance.random() < 0.4:
                    kept = chance.randint(1, 12_000)
                    plant_part(ours, digest, body[:kept] if chance.random() < 0.7 else noise(kept, seed=number))
                for _ in range(2):
                    clock.passed()
                    try:
                        path = store.fetch(urls, digest, size=size, settings=ours)
                    except (IntegrityError, TransferError) as error:
                        tally[type(error).__name__] += 1
                        assert not (ours.home / "v1" / "blobs").exists()
                    else:
                        tally["file"] += 1
                        assert path.read_bytes() == body
                        assert not parts(ours)
                    slowest = max(slowest, clock.passed())
                    assert slowest < 20, "it hangs"
    return {
        "scripts": count,
        "calls": 2 * count,
        **tally,
        "longest waits of a call, s": round(slowest, 2),
        "wrong files": 0,
    }


def _random_fault(chance: random.Random) -> Fault:
    def maybe(odds: float, value: Any, otherwise: Any = None) -> Any:
        return value if chance.random() < odds else otherwise

    lengths = [{"Content-Length": text} for text in (None, "-1", "10", "99999", "9" * 30)]
    tags = [{"ETag": '"other"'}, {"ETag": 'W/"weak"'}, {"Retry-After": "0"}, {"Accept-Ranges": "none"}]
    return Fault(
        status=maybe(0.3, chance.choice([206, 301, 400, 404, 408, 416, 429, 500, 503])),
        headers=maybe(0.3, chance.choice(lengths + tags), {}),
        body=maybe(0.1, chance.choice([b"", HTML])),
        redirect=maybe(0.05, chance.choice(["/nowhere", "ftp://x/", "http://[", "/s0-0"])),
        cut_after=maybe(0.4, chance.randint(0, 9000)),
        reset=chance.random() < 0.3,
        hang_up=chance.random() < 0.05,
        stall_after=maybe(0.02, chance.randint(0, 9000)),
        flip_bit=maybe(0.15, chance.randint(0, 72_000)),
        truncate=maybe(0.1, chance.randint(0, 9000)),
        ignore_range=chance.random() < 0.2,
        content_range=maybe(0.1, chance.choice(["bytes 0-8999/9000", "bytes 5-5/9", "bytes */9000", "x"])),
        gzip=chance.random() < 0.05,
        chunked=chance.random() < 0.2,
    )


_NASTY = [
    *["..", "../..", "/etc/evil", "~", "\0", "\n", "..\\..\\evil", "%2e%2e%2f", "a" * 300, "é", "\udcff", "CON", "-rf"],
]


def hostile(count: int, *, seed: int) -> dict[str, Any]:
    """Names made to lead out of the cache, in every place that takes one; nothing is written elsewhere."""
    chance = random.Random(seed)
    body = noise(2000, seed=6)
    digest = hashlib.sha256(body).hexdigest()

    def nasty() -> str:
        pieces = [chance.choice([*_NASTY, "/", "\\", "evil", ".part", digest, digest[:12]]) for _ in range(4)]
        return chance.choice(["", "/"]).join(pieces)

    refused = stored = 0
    with FaultServer() as server, fresh_home() as room, transfer.override_policy(**QUICK), labclock.events():
        outside = room.home
        (outside / "precious").write_text("precious")
        ours = Settings(home=outside / "a" / "home")
        elsewhere = _names(Path.cwd()) | _names(Path(tempfile.gettempdir()))
        for _ in range(count):
            name = nasty()
            path = "/" + "".join(char if "!" <= char <= "~" else f"%{ord(char) & 255:02x}" for char in name)
            header = {"Content-Disposition": f'attachment; filename="{name.encode("ascii", "replace").decode()}"'}
            then = Fault(headers={} if "\n" in name or "\0" in name else header)
            url = server.add(path.partition("?")[0].partition("#")[0], body, then=then)
            asked = chance.choice([url, f"{url}?{path}", f"{url}#{path}", nasty(), f"file://{path}", f"http://{path}/"])
            wanted = chance.choice([digest, digest, digest[:12], nasty(), nasty()[:64]])
            try:
                if chance.random() < 0.7:
                    store.fetch([asked], wanted, label=nasty(), settings=ours)
                else:
                    carried = outside / "precious"
                    store.add(carried, wanted, urls=[asked], label=nasty(), settings=ours)
                stored += 1
            except MshubError:
                refused += 1
            with contextlib.suppress(MshubError):
                chance.choice([store.remove, store.verify])([nasty()], settings=ours)
        for entry in store.entries(ours, kinds=("file", "part")):
            assert entry.path.is_relative_to(ours.home / "v1")
        inside = ours.home / "v1"
        strays = [path for path in outside.rglob("*") if path.is_file() and not path.is_relative_to(inside)]
        assert strays == [outside / "precious"]
        assert (outside / "precious").read_text() == "precious"
        new = (_names(Path.cwd()) | _names(Path(tempfile.gettempdir()))) - elsewhere
        assert not [name for name in new if "evil" in name or digest[:12] in name]
    assert stored > count // 20
    assert refused > count // 20
    return {"inputs": count, "refused": refused, "stored": stored, "written outside": 0}


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
