"""Speed of a verified download, side by side: 1 GiB from a local nginx.

    python benchmarks/store_speed.py [--size MIB] [--runs N] [--folder DIR] [--out FILE]

Compares, on the same folder and in turns:

- ours: `store.fetch` into an empty cache (hashed on the way, synced to the disk, published);
- curl, then hashing: ``curl -o file`` and ``sha256sum file``;
- curl, then Python's hashlib, which uses the CPU's SHA instructions where coreutils does not;
- the official client's way: urlretrieve, which tells the share that is done after every block of 8 KiB, then reading
  the file whole; and the same without telling.

Needs nginx (``apt-get install nginx-light``) and curl.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

OURS = """
import json, pathlib, sys, time
from mshub_ssd import store
import requests  # urllib.request is loaded before the clock starts, too
from mshub_ssd.settings import Settings
url, digest, home, connections = sys.argv[1:]
def status(field):
    line = next(line for line in open("/proc/self/status") if line.startswith(field))
    return int(line.split()[1]) * 1024
idle, begun = status("VmRSS"), time.perf_counter()
store.fetch([url], digest, settings=Settings(home=pathlib.Path(home), connections=int(connections)))
seconds = time.perf_counter() - begun
print(json.dumps({"seconds": seconds, "memory": status("VmHWM") - idle}))
"""

OFFICIAL = """
import hashlib, sys, time, urllib.request
url, digest, target, telling = sys.argv[1:]
def told(count, block, total):
    print("\\r%5.1f%%" % min(100, 100 * count * block / total), end="")
begun = time.perf_counter()
urllib.request.urlretrieve(url, target, told if int(telling) else None)
with open(target, "rb") as stream:
    got = hashlib.sha256(stream.read()).hexdigest()
print(time.perf_counter() - begun, file=sys.stderr)
assert got == digest
"""


@contextlib.contextmanager
def nginx(root: Path, rate: str | None = None) -> Iterator[str]:
    """A local nginx that serves a folder; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    limit = f"limit_rate {rate};" if rate else ""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        temp = "".join(
            f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (Path(folder) / "nginx.conf").write_text(
            f"worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; daemon off;"
            "events { worker_connections 64; }"
            f"http {{ access_log off; sendfile on; {temp}"
            f"server {{ listen 127.0.0.1:{port}; location / {{ root {root}; {limit} }} }} }}\n"
        )
        user = ["-g", "user root;"] if os.geteuid() == 0 else []
        process = subprocess.Popen(["nginx", "-p", folder, "-c", f"{folder}/nginx.conf", *user])
        try:
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def ours(url: str, digest: str, folder: Path, connections: int = 1) -> dict[str, float]:
    """A download by this library, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", OURS, url, digest, str(folder / "home"), str(connections)],
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def curl(url: str, digest: str, folder: Path, *, coreutils: bool) -> dict[str, float]:
    """A download by curl, then hashing the file."""
    target = folder / "curl.bin"
    begun = time.perf_counter()
    subprocess.run(["curl", "-sS", "-o", str(target), url], check=True)
    if coreutils:
        got = subprocess.run(["sha256sum", str(target)], check=True, capture_output=True, text=True).stdout[:64]
    else:
        hasher, buffer = hashlib.sha256(), bytearray(1 << 20)
        with target.open("rb", buffering=0) as stream:
            while count := stream.readinto(buffer):
                hasher.update(memoryview(buffer)[:count])
        got = hasher.hexdigest()
    seconds = time.perf_counter() - begun
    assert got == digest
    return {"seconds": seconds}


def official(url: str, digest: str, folder: Path, *, telling: bool) -> dict[str, float]:
    """urlretrieve, then the whole file into memory, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", OFFICIAL, url, digest, str(folder / "retrieved.bin"), str(int(telling))],
        check=True,
        capture_output=True,
        text=True,
    )
    return {"seconds": float(done.stderr)}


def compare(url: str, digest: str, size: int, folder: Path, runs: int) -> dict[str, Any]:
    """All ways in turns."""
    ways: dict[str, Callable[[], dict[str, float]]] = {
        "ours": lambda: ours(url, digest, folder),
        "curl, sha256sum": lambda: curl(url, digest, folder, coreutils=True),
        "curl, hashlib": lambda: curl(url, digest, folder, coreutils=False),
        "the official way": lambda: official(url, digest, folder, telling=True),
        "the official way, silent": lambda: official(url, digest, folder, telling=False),
        "ours, 4 connections": lambda: ours(url, digest, folder, 4),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            found[name].append(way())
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            os.sync()  # nobody pays for the one before
    seconds = {name: [run["seconds"] for run in runs_] for name, runs_ in found.items()}
    own = seconds["ours"]
    return {
        "MB/s": {name: round(size / statistics.median(times) / 1e6, 1) for name, times in seconds.items()},
        "ours as a multiple of": {
            # Paired, run by run: the machine's mood changes.
            name: round(statistics.median(other / mine for other, mine in zip(times, own, strict=True)), 2)
            for name, times in seconds.items()
            if name != "ours"
        },
        "memory above the idle process, MB": round(max(run["memory"] for run in found["ours"]) / 1e6, 1),
        "memory with 4 connections, MB": round(max(run["memory"] for run in found["ours, 4 connections"]) / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024, help="MiB")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--folder", type=Path, action="append", help="where files are written; may be given twice")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "store_speed.json")
    options = parser.parse_args()
    if not shutil.which("nginx") or not shutil.which("curl"):
        raise SystemExit("nginx and curl are needed: apt-get install nginx-light curl")
    size = options.size << 20
    report: dict[str, Any] = {
        "command": "python benchmarks/store_speed.py",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
        "size": size,
        "runs": options.runs,
        "into": {},
    }
    with tempfile.TemporaryDirectory() as served:
        Path(served).chmod(0o755)
        body = Path(served) / "weights.ckpt"
        hasher = hashlib.sha256()
        with body.open("wb") as stream:
            for _ in range(options.size):
                block = os.urandom(1 << 20)
                hasher.update(block)
                stream.write(block)
        digest = hasher.hexdigest()
        with nginx(Path(served)) as base:
            for parent in options.folder or [Path(tempfile.gettempdir()), Path("/dev/shm")]:
                with tempfile.TemporaryDirectory(dir=parent) as folder:
                    report["into"][str(parent)] = compare(
                        f"{base}/weights.ckpt", digest, size, Path(folder), options.runs
                    )
        small = Path(served) / "small.ckpt"
        small.write_bytes(body.read_bytes()[: 64 << 20])
        digest = hashlib.sha256(small.read_bytes()).hexdigest()
        # A server that limits each connection, as many do: where several connections are worth it.
        with nginx(Path(served), rate="20m") as base, tempfile.TemporaryDirectory() as folder:
            report["64 MiB from a server with 20 MB/s per connection, s"] = {
                f"{count} connections": round(
                    ours(f"{base}/small.ckpt", digest, Path(folder) / str(count), count)["seconds"], 2
                )
                for count in (1, 4)
            }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
