"""What the static form of a registry weighs, and what its readers fetch: files, bytes and seconds over HTTP.

    python benchmarks/static_registry.py FOLDER [--copies N]

The folder is served from this machine, so the seconds are those of reading, not of a network. With ``--copies`` its
cards are taken N times, under other publishers.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mshub_ssd.registry import Folder, Registry, Web, build
from mshub_ssd.settings import Settings

served: list[tuple[int, int]] = []
_ONE = """
import sys, pathlib
from mshub_ssd.registry import Registry, Web
from mshub_ssd.settings import Settings
home = pathlib.Path(sys.argv[2])
Registry([Web(sys.argv[1], Settings(home=home), seconds=0)], [home]).card(sys.argv[3])
"""


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        path = Path(self.translate_path(self.path))
        served.append((int(code), path.stat().st_size if int(code) == 200 else 0))


def told(what: str, work: Callable[[], object]) -> None:
    """Do something, and tell what it took."""
    served.clear()
    begun, busy = time.perf_counter(), time.process_time()
    work()
    seconds, cpu = time.perf_counter() - begun, time.process_time() - busy
    unchanged = sum(code == 304 for code, _ in served)
    size = sum(size for _, size in served)
    asked = f"{len(served):6} requests ({unchanged} of them 304) {size:12,} bytes"
    print(f"{what:40} {asked} {seconds:8.2f} s {cpu:7.2f} s CPU")


def main() -> None:
    """Build, serve, read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--copies", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        cards, out, home = (Path(place, name) for name in ("cards", "out", "home"))
        found = Folder(chosen.folder)
        for number in range(chosen.copies):
            shutil.copytree(found.root, cards / f"copy{number}" if chosen.copies > 1 else cards)
        uids = [entry.uid for entry in Folder(cards).entries()]
        print(f"{len(uids)} cards")
        told("built", lambda: print(_summary(build(cards, out))))
        told("built again", lambda: print(_summary(build(cards, out))))
        with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(out))) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_address[1]}/"

            def one() -> None:
                subprocess.run([sys.executable, "-c", _ONE, url, str(home), uids[7]], check=True)

            def listing() -> None:
                Registry([Web(url, Settings(home=home), seconds=0)], [home]).search("resnet")

            time.sleep(3)  # times of files tell nothing before
            told("one card, a process of its own, no cache", one)
            told("the same once more", one)
            told("all parts", lambda: list(Web(url, Settings(home=home), seconds=0).entries()))
            told("first search: parts are here, no index", listing)
            told("second search", listing)
            first = cards / f"{uids[7]}.md"
            first.write_bytes(first.read_bytes() + b"\nedited\n")
            told("built after one card was edited", lambda: print(_summary(build(cards, out))))
            time.sleep(3)
            told("search after it", listing)
            server.shutdown()


def _summary(built: Any) -> str:
    shown = {key: value for key, value in built.to_dict().items() if key not in ("out", "unreadable", "left_out")}
    return f"  {shown}, {len(built.unreadable)} unreadable"


if __name__ == "__main__":
    main()
