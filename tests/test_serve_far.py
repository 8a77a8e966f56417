"""The server in company: Chromium on its page, and Ray Serve around its app. Both are installed by hand.

apt-get install chromium && pip install playwright "ray[serve]" && pytest -m slow tests/test_serve_far.py
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import servelab as lab
from commands import SOURCE, environment

import mshub_ssd as mshub
from mshub_ssd.results import row_of

pytestmark = pytest.mark.slow


def test_the_page_shows_the_boxes_of_a_dropped_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SOURCE / "benchmarks"))
    import servepage

    with lab.Server(home=tmp_path) as server:
        told = servepage.prove(server.url)
        assert server.stop() == 0
    assert (told["boxes drawn"], told["requests to other places"]) == (11, 0)


def test_ray_serves_the_same_app(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "examples/ray_serve.py", lab.DIGITS, "--port", str(port), "--replicas", "2"]
    patient = {"RAY_raylet_start_wait_time_s": "400", "RAY_USAGE_STATS_ENABLED": "0", "MSHUB_HOME": str(tmp_path)}
    log = tmp_path / "ray.log"
    row = row_of(mshub.detect(lab.DIGITS, lab.DEMO), None)
    with log.open("wb") as said:
        process = subprocess.Popen(
            [*command, "--cpus", "0.5"], cwd=SOURCE, env=environment(**patient), stdout=said, stderr=said
        )
    server = lab.Client(port)
    try:
        while b"serving " not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            time.sleep(0.5)
        assert server.ask("GET", "/readyz").status == 200
        assert [server.detect(lab.DEMO).json for _ in range(10)] == [row] * 10
        assert server.detect(b"no picture").code == "invalid-image"
        assert server.raw(lab.request(b"", length=33 << 20)).code == "too-large"
        assert len(server.form(("image", "a", lab.DEMO), ("image", "b", lab.DEMO)).json) == 2
        assert server.ask("GET", "/").headers["content-security-policy"].startswith("default-src 'none'")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=lab.PATIENCE) == 0, log.read_text()
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
