"""`mshub serve` in a process of its own, and clients of every kind: proper, hostile, slow."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from commands import SOURCE, environment
from faultserver import PATIENCE

DIGITS = "mshub/1.0/ssdmobilenetv2_digits"
DEMO = (SOURCE / "mshub_ssd" / "cli" / "demo_digits.png").read_bytes()


class Answer(NamedTuple):
    """What a server said; status 0 where it said nothing, and only ended the connection."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The refusal's code."""
        return self.json["error"]["code"] if self.status >= 400 else None


class Client:
    """Requests to a server on this machine.

    Args:
        port: Where it listens.
    """

    def __init__(self, port: int) -> None:
        self.port = port

    def metrics(self) -> dict[str, float]:
        """Metrics without labels, by name, and those with, by name and labels as they stand."""
        lines = self.ask("GET", "/metrics").body.decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def ask(self, method: str, path: str, body: Any = None, timeout: float = PATIENCE, **headers: str) -> Answer:
        """A request by Python's own client."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            got = connection.getresponse()
            return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
        finally:
            connection.close()

    def detect(self, picture: bytes, query: str = "", **headers: str) -> Answer:
        return self.ask("POST", f"/v1/detect{query}", picture, **headers)

    def form(self, *files: tuple[str, str | None, bytes], query: str = "") -> Answer:
        """A form with these (field, file name, content)."""
        body, kind = form(*files)
        return self.ask("POST", f"/v1/detect{query}", body, content_type=kind)

    def raw(self, *pieces: bytes, pause: float = 0.0, end: bool = False, wait: float = PATIENCE) -> Answer:
        """Bytes as they are, with pauses; the answer comes while they go, or after."""
        with self.connected() as client:
            client.settimeout(wait)
            gone = threading.Event()

            def send() -> None:
                with contextlib.suppress(OSError):
                    for piece in pieces:
                        client.sendall(piece)
                        if pause and gone.wait(pause):
                            return
                    if end:
                        client.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send)
            sender.start()
            try:
                return received(client)
            finally:
                gone.set()
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
                sender.join()

    @contextlib.contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as client:
            yield client


class Server(Client):
    """The command, started; a free port, and ready for pictures.

    Args:
        options: Of the command line.
        home: The cache.
        model: Uid.
    """

    def __init__(self, *options: object, home: Path, model: str = DIGITS) -> None:
        command = [sys.executable, "-m", "mshub_ssd", "serve", model, "--port", "0", "--json", *map(str, options)]
        self.log = home / f"serve-{time.monotonic_ns()}.log"
        home.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment(MSHUB_HOME=str(home))
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.said()
        self.url: str = json.loads(line)["url"]
        super().__init__(int(self.url.rstrip("/").rpartition(":")[2]))

    def until_ready(self) -> Server:
        until = time.monotonic() + PATIENCE
        while self.ask("GET", "/readyz").status != 200:
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < until
            time.sleep(0.05)
        return self

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def __enter__(self) -> Server:
        try:
            return self.until_ready()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=PATIENCE)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)

    def memory(self, name: str = "VmHWM") -> int:
        """Bytes of memory: the most so far, or VmRSS now."""
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
        assert found
        return int(found[1]) << 10


def received(client: socket.socket) -> Answer:
    """The first answer on a connection."""
    response = http.client.HTTPResponse(client)
    try:
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())
    except (http.client.BadStatusLine, ConnectionError):
        return Answer(0, {}, b"")
    finally:
        response.close()


def form(*files: tuple[str, str | None, bytes]) -> tuple[bytes, str]:
    """A multipart form and its content type."""
    parts = []
    for field, name, content in files:
        named = "" if name is None else f'; filename="{name}"'
        head = f'--edge\r\nContent-Disposition: form-data; name="{field}"{named}\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join([*parts, b"--edge--\r\n"]), "multipart/form-data; boundary=edge"


def png(width: int, height: int, rows: bytes = b"", mode: int = 2) -> bytes:
    """A PNG file that claims a size, with whatever in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, mode, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def gif(width: int, height: int) -> bytes:
    """A GIF whose screen is one pixel and whose frame is larger."""
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02D\x01\0;"


def many_scans(count: int, side: int = 1000) -> bytes:
    """A progressive JPEG that is gone over again and again."""
    from PIL import Image

    into = io.BytesIO()
    Image.new("L", (side, side), 90).save(into, "JPEG", progressive=True)
    data = into.getvalue()
    last = data.rfind(b"\xff\xda")
    return data[:last] + data[last:-2] * count + b"\xff\xd9"


def request(body: bytes = DEMO, path: str = "/v1/detect", length: object = None, extra: bytes = b"") -> bytes:
    """A POST as it goes over the line."""
    length = len(body) if length is None else length
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n".encode() + extra + b"\r\n" + body


def chunked(*chunks: bytes, end: bool = True) -> bytes:
    """A POST whose body tells no length."""
    head = b"POST /v1/detect HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in chunks) + (b"0\r\n\r\n" if end else b"")


Caller = Callable[[Server], Answer]


def hostile(max_bytes: int, max_pixels: int, max_pictures: int) -> dict[str, tuple[Caller, set[int]]]:
    """Clients that mean no good or make mistakes, and what they may be answered; 0: the connection just ends.

    Args:
        max_bytes: What the server takes.
        max_pixels: What it takes.
        max_pictures: What it takes.
    """
    side = int(max_pixels**0.5) + 1
    get = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
    many = [("image", f"{number}.png", DEMO[:100]) for number in range(max_pictures + 1)]
    flood, kind = form(*[("image", "a", b"")] * 20_000)
    header_flood = b"--edge\r\n" + b"X: " + b"a" * 200_000 + b"\r\n\r\n\r\n--edge--\r\n"
    return {
        "empty body": (lambda server: server.detect(b""), {422}),
        "no length at all": (lambda server: server.raw(b"POST /v1/detect HTTP/1.1\r\nHost: a\r\n\r\n"), {422}),
        "text": (lambda server: server.detect(b"hello" * 1000), {422}),
        "a url": (lambda server: server.detect(b"http://169.254.169.254/latest/meta-data"), {422}),
        "half a picture": (lambda server: server.detect(DEMO[: len(DEMO) // 2]), {422}),
        "svg": (lambda server: server.detect(b'<svg xmlns="http://www.w3.org/2000/svg"/>'), {422}),
        "postscript": (lambda server: server.detect(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), {422}),
        "too many pixels": (lambda server: server.detect(png(side, side, b"")), {422}),
        "huge claim": (lambda server: server.detect(png(2**31 - 1, 2**31 - 1)), {422}),
        "large frame in a small gif": (lambda server: server.detect(gif(side, side)), {422}),
        "no pixels": (lambda server: server.detect(png(0, 0)), {422}),
        "many scans": (lambda server: server.detect(many_scans(3000)), {422}),
        "too long": (lambda server: server.raw(request(b"a" * (max_bytes + 1))), {413}),
        "too long, in chunks": (lambda server: server.raw(chunked(*[b"a" * 65536] * (max_bytes // 65536 + 1))), {413}),
        "claims too much": (lambda server: server.raw(request(b"", length=10**12)), {413}),
        "claims absurdly much": (lambda server: server.raw(request(b"", length=10**30)), {400, 413}),
        "negative length": (lambda server: server.raw(request(b"", length=-1)), {400}),
        "length is a word": (lambda server: server.raw(request(b"", length="many")), {400}),
        "two lengths": (lambda server: server.raw(request(extra=b"Content-Length: 3\r\n")), {400}),
        "length and chunks": (lambda server: server.raw(request(extra=b"Transfer-Encoding: chunked\r\n")), {400}),
        "broken chunk": (lambda server: server.raw(chunked(end=False) + b"zz\r\nabc"), {400}),
        "chunks of one byte": (lambda server: server.raw(chunked(*trickle(DEMO))), {400}),
        "leaves in the middle": (lambda server: server.raw(request(DEMO[:9], length=len(DEMO)), end=True), {0, 400}),
        "long header": (lambda server: server.raw(get + b"X: " + b"a" * 100_000 + b"\r\n\r\n"), {431}),
        "many headers": (lambda server: server.raw(get + b"X: a\r\n" * 50_000 + b"\r\n"), {431}),
        "header without an end": (lambda server: server.raw(get + b"X: " + b"a" * 100_000), {431}),
        "long path": (lambda server: server.raw(b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"), {431}),
        "no http": (lambda server: server.raw(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(300)), {400}),
        "http 0.9": (lambda server: server.raw(b"GET /\r\n\r\n"), {200, 400}),
        "http 2": (lambda server: server.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), {400}),
        "zeros": (lambda server: server.raw(bytes(1000)), {400}),
        "ten thousand requests at once": (lambda server: server.raw((get + b"\r\n") * 10_000), {0, 200, 400}),
        "climbing path": (lambda server: server.raw(b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n"), {404}),
        "hidden file": (lambda server: server.ask("GET", "/page.js%00.html"), {404}),
        "wrong method": (lambda server: server.ask("DELETE", "/v1/detect"), {405}),
        "compressed": (lambda server: server.detect(DEMO, content_encoding="gzip"), {415}),
        "no number": (lambda server: server.detect(DEMO, "?score_threshold=nan"), {400}),
        "unknown parameter": (lambda server: server.detect(DEMO, "?url=http://a/b.png"), {400}),
        "unknown class": (lambda server: server.detect(DEMO, "?classes=tiger"), {400}),
        "too many rows": (lambda server: server.detect(DEMO, "?max_detections=1000000"), {400}),
        "long number": (lambda server: server.detect(DEMO, "?max_detections=" + "9" * 5000), {400}),
        "form without an edge": (lambda server: server.detect(DEMO, content_type="multipart/form-data"), {400}),
        "form that is none": (
            lambda server: server.detect(DEMO, content_type="multipart/form-data; boundary=edge"),
            {400},
        ),
        "form without an end": (
            lambda server: server.detect(form(many[0])[0][:-12], content_type=form(many[0])[1]),
            {400},
        ),
        "form with too many files": (lambda server: server.form(*many), {413}),
        "form with very many files": (lambda server: server.detect(flood, content_type=kind), {413}),
        "form with a long header": (lambda server: server.detect(header_flood, content_type=kind), {400}),
        "form with an option": (lambda server: server.form(("url", None, b"http://a/b.png")), {400}),
    }


def trickle(data: bytes, size: int = 1) -> list[bytes]:
    """Data in small pieces."""
    return [data[start : start + size] for start in range(0, len(data), size)]


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
