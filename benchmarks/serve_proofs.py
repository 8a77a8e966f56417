"""The promises of `mshub serve`, kept by a real server on this machine; docs/serving.md tells the figures.

    python benchmarks/serve_proofs.py [--only NAME ...] [--out FILE]
    python benchmarks/serve_proofs.py --screenshot docs/images/serve-page.png

Experiments:

- crowd: 200 requests at once, good, oversized, empty, hostile and slow ones among them. Good ones get the rows that
  `mshub.detect` gives; the others are answered as `tests/servelab.py` has written down for each kind. Then the same
  with a queue of eight pictures, where 503 with Retry-After is an answer too, and how quickly it comes.
- memory: a hundred of the largest pictures that are allowed, in waves of twenty; drawn, too, for clients that do not
  read; a thousand silent connections. The most memory that the server had.
- stop: SIGTERM while forty pictures wait. All are answered, new ones are refused with 503, the exit code is 0.
- fairness: how long a picture takes while clients send chunks of one byte, and trickle.
- speed: pictures per second by the number of clients, and how large the batches were.
- page: headless Chromium drops a picture on the page, chooses one by keyboard, moves the slider, and drops a text;
  needs Debian's chromium and `pip install playwright`.

Each experiment stops at the first broken promise. Results are merged into the file.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

import servelab as lab  # noqa: E402 - needs the path

import mshub_ssd as mshub  # noqa: E402
from mshub_ssd.pictures import read_image  # noqa: E402
from mshub_ssd.results import row_of  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "serve.json"
SMALL = {"max_bytes": 2_000_000, "max_pixels": 2_000_000, "max_pictures": 4}


def options(**limits: object) -> list[object]:
    return [part for name, value in limits.items() for part in (f"--{name.replace('_', '-')}", value)]


def shots(count: int) -> list[bytes]:
    """Pictures that differ in what is on them, as files of several formats."""
    from PIL import Image

    pixels = read_image(lab.DEMO)
    made = []
    for number in range(count):
        part = pixels[: 480 - 8 * (number % 30), 6 * (number % 40) :]
        into = io.BytesIO()
        Image.fromarray(part).save(into, ("PNG", "JPEG", "WEBP", "BMP")[number % 4])
        made.append(into.getvalue())
    return made


def expected(pictures: list[bytes]) -> list[dict[str, Any]]:
    with mshub.Predictor(lab.DIGITS) as predict:
        return [row_of(found, None) for found in predict(pictures)]


def at_once(calls: list[Any]) -> list[Any]:
    """What calls return that all begin at one moment."""
    gate = threading.Barrier(len(calls))

    def call(work: Any) -> Any:
        gate.wait()
        began = time.perf_counter()
        return work(), time.perf_counter() - began

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def crowd(home: Path) -> dict[str, Any]:
    """Two hundred at once."""
    good = shots(120)
    rows = expected(good)
    told: dict[str, Any] = {}
    for queue in (256, 8):
        with lab.Server(*options(**SMALL, max_queue=queue, timeout=10), home=home) as server:
            server.detect(lab.DEMO)
            before = server.memory("VmRSS")
            bad = list(lab.hostile(**SMALL).items())
            slow = [
                lambda: server.raw(*lab.trickle(b"GET / HTTP/1.1\r\nX: " + b"a" * 500), pause=0.1),
                lambda: server.raw(lab.request()[:500], *lab.trickle(lab.DEMO[500:900]), pause=0.1),
                lambda: server.raw(b""),
            ]
            mean = [(name, lambda client=client: client(server), allowed) for name, (client, allowed) in bad]
            mean += [("slow", slow[number % 3], {408}) for number in range(80 - len(mean))]
            calls = [lambda data=data: server.detect(data) for data in good] + [call for _, call, _ in mean]
            answers = at_once(calls)
            codes: Counter[str] = Counter()
            quick = []
            for row, (answer, seconds) in zip(rows, answers[:120], strict=True):
                if answer.status == 503 and queue == 8:
                    assert answer.code == "queue-full", answer
                    assert int(answer.headers["retry-after"]) >= 1
                    quick.append(seconds)
                else:
                    assert (answer.status, answer.json) == (200, row), answer
                codes[f"good {answer.status}"] += 1
            for (name, _, allowed), (answer, _) in zip(mean, answers[120:], strict=True):
                full = {503} if queue == 8 else set()
                assert answer.status in allowed | full, (name, answer)
                codes[f"bad {answer.status}"] += 1
            assert server.detect(good[0]).json == rows[0]
            figures = server.metrics()
            batches = figures["mshub_batch_pictures_sum"] / figures["mshub_batch_pictures_count"]
            told[f"a queue of {queue}"] = {
                "answers": dict(sorted(codes.items())),
                "seconds for a good answer, median": round(median(s for a, s in answers[:120] if a.status == 200), 2),
                "seconds for the last good answer": round(max(s for a, s in answers[:120] if a.status == 200), 2),
                "pictures per batch": round(batches, 1),
                "memory before, MiB": before >> 20,
                "most memory, MiB": server.memory() >> 20,
            }
            if quick:
                told[f"a queue of {queue}"]["seconds for a 503, median"] = round(median(quick), 3)
            assert server.stop() == 0, server.said()
    return told


def memory(home: Path) -> dict[str, Any]:
    """The most memory for the worst that is allowed."""
    from PIL import Image

    limit = 25_000_000
    into = io.BytesIO()
    Image.linear_gradient("L").resize((5000, 5000)).convert("RGBA").save(into, "PNG", compress_level=1)
    large = into.getvalue()
    told: dict[str, Any] = {"pixels allowed": limit, "file, MB": round(len(large) / 1e6, 1)}
    with lab.Server(*options(max_pixels=limit, max_bytes=32 << 20, max_queue=64, timeout=120), home=home) as server:
        server.detect(lab.DEMO)
        told["at rest, MiB"] = server.memory("VmRSS") >> 20
        codes: Counter[int] = Counter()
        for _ in range(5):
            codes.update(answer.status for answer, _ in at_once([lambda: server.detect(large)] * 20))
        assert set(codes) <= {200, 503}, codes
        told["a hundred of the largest"] = {"answers": dict(codes), "most memory, MiB": server.memory() >> 20}
        unread = [server.connected() for _ in range(10)]
        clients = [client.__enter__() for client in unread]
        for client in clients:
            client.sendall(lab.request(large, "/v1/detect?draw=1"))
        time.sleep(20)
        told["ten drawn that nobody reads, most memory, MiB"] = server.memory() >> 20
        for client in unread:
            client.__exit__(None, None, None)
        silent = [server.connected() for _ in range(1000)]
        for client in silent:
            client.__enter__()
        told["a thousand silent connections, most memory, MiB"] = server.memory() >> 20
        for client in silent:
            client.__exit__(None, None, None)
        until = time.monotonic() + 60
        while server.detect(lab.DEMO).status != 200:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert server.stop() == 0, server.said()
    # Bodies and drawn pictures, and pictures decoded and made opaque: some twenty bytes for each of the pixels allowed.
    bound = told["at rest, MiB"] + ((256 << 20) + 20 * limit) // (1 << 20)
    told["must stay below, MiB"] = bound
    assert told["a thousand silent connections, most memory, MiB"] < bound, told
    return told


def stop(home: Path) -> dict[str, Any]:
    """Stopped while many wait."""
    good = shots(40)
    rows = expected(good)
    with lab.Server(*options(max_queue=64), home=home) as server:
        server.detect(lab.DEMO)
        with ThreadPoolExecutor(48) as pool:
            waiting = [pool.submit(server.detect, data) for data in good]
            while server.metrics()["mshub_queue_pictures"] < 20:
                time.sleep(0.002)
            began = time.perf_counter()
            stopped = pool.submit(server.stop)
            refused: Counter[str] = Counter()
            while not stopped.done():
                try:
                    answer = server.detect(lab.DEMO)
                    refused[str(answer.code or answer.status)] += 1
                except OSError:
                    refused["not connected"] += 1
            seconds = time.perf_counter() - began
            answers = [one.result() for one in waiting]
    codes = Counter(answer.status if answer.status == 200 else answer.code for answer in answers)
    late = [answer for answer in answers if answer.status != 200]
    assert all(answer.code == "stopping" for answer in late), codes
    assert all(answer.json == row for answer, row in zip(answers, rows, strict=True) if answer.status == 200)
    assert codes[200] >= 20, codes
    assert stopped.result() == 0, server.said()
    return {
        "answered": {str(code): count for code, count in codes.items()},
        "asked while it stopped": dict(refused),
        "seconds": round(seconds, 2),
        "exit code": stopped.result(),
    }


def fairness(home: Path) -> dict[str, Any]:
    """A picture's time in bad company."""
    told = {}

    def timed(server: lab.Server) -> float:
        began = time.perf_counter()
        assert server.detect(lab.DEMO).status == 200
        return time.perf_counter() - began

    with lab.Server(*options(timeout=10), home=home) as server:
        timed(server)
        told["alone, ms"] = round(1000 * median(timed(server) for _ in range(50)), 1)
        over = threading.Event()
        tiny = lab.chunked(*[b"a"] * 200_000, end=False)

        def chunks() -> None:
            while not over.is_set():
                with server.connected() as client:
                    client.settimeout(5)
                    try:
                        while not over.is_set():
                            client.sendall(tiny)
                            time.sleep(0.1)  # twelve megabytes a second: the line itself is not what is tried
                    except OSError:
                        continue

        def trickle() -> None:
            while not over.is_set():
                server.raw(*lab.trickle(lab.request()[:60]), pause=0.05, wait=30)

        for name, work, count in (("chunks of one byte, ms", chunks, 4), ("trickling requests, ms", trickle, 100)):
            over.clear()
            threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
            for thread in threads:
                thread.start()
            time.sleep(1)
            times = [timed(server) for _ in range(50)]
            over.set()
            for thread in threads:
                thread.join()
            told[f"beside {count} clients with {name}"] = [round(1000 * median(times), 1), round(1000 * max(times), 1)]
        assert server.stop() == 0
    return {"median (and longest) time of a picture": told}


def speed(home: Path) -> dict[str, Any]:
    """Pictures per second; the servers take turns."""
    pictures = shots(32)
    figures: dict[str, list[float]] = {}
    batches: dict[str, list[float]] = {}
    with contextlib.ExitStack() as running:
        servers = {}
        for batch, wait in ((1, 0), (8, 0), (8, 5)):
            chosen = options(batch=batch, max_wait_ms=wait, max_queue=256)
            name = f"batches of up to {batch}, a wait of {wait} ms"
            servers[name] = running.enter_context(lab.Server(*chosen, "--no-access-log", home=home))
        turn = random.Random(7)
        for _ in range(15):
            for clients in (1, 4, 16):
                for batch, server in turn.sample(list(servers.items()), len(servers)):
                    before = server.metrics()
                    with ThreadPoolExecutor(clients) as pool:
                        began = time.perf_counter()
                        answers = list(pool.map(server.detect, pictures))
                        seconds = time.perf_counter() - began
                    assert {answer.status for answer in answers} == {200}
                    after = server.metrics()
                    gathered, runs = (after[name] - before[name] for name in _BATCH)
                    name = f"{clients} clients, {batch}"
                    figures.setdefault(name, []).append(len(answers) / seconds)
                    batches.setdefault(name, []).append(gathered / runs)
    told = {name: {"pictures per second, median of 15": round(median(some), 1)} for name, some in figures.items()}
    for name, some in batches.items():
        told[name]["pictures per batch"] = round(median(some), 2)
    return told


_BATCH = ("mshub_batch_pictures_sum", "mshub_batch_pictures_count")


def page(home: Path, screenshot: Path | None = None) -> dict[str, Any]:
    """A browser."""
    import servepage

    with lab.Server(home=home) as server:
        told = servepage.prove(server.url, screenshot)
        assert server.stop() == 0, server.said()
    return told


EXPERIMENTS = {one.__name__: one for one in (crowd, memory, stop, fairness, speed, page)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--screenshot", type=Path, help="only the page, and a picture of it")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="mshub-serve-"))
    try:
        if arguments.screenshot:
            page(work, arguments.screenshot)
            return
        told = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else {}
        for name in arguments.only:
            print(name, flush=True)
            found = {
                "result": EXPERIMENTS[name](work),
                "python": platform.python_version(),
                "cores": len(os.sched_getaffinity(0)),
            }
            print(json.dumps(found, indent=2), flush=True)
            told[name] = found
            arguments.out.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
