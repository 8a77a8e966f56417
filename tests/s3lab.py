"""An S3 of one's own for tests: moto's server, and before it a proxy that records, refuses, cuts and falls silent.

def test_something(s3):
    url = s3.put("weights.ckpt", body)      # s3://BUCKET/weights.ckpt, in a bucket of this test's own
    s3.faults["weights.ckpt"] = [Cut(after=100_000)]
    ...
    assert s3.asked("GET", "weights.ckpt")[1].range == "bytes=..."
"""

from __future__ import annotations

import contextlib
import copy
import http.client
import itertools
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote

import pytest
import requests
from faultserver import PATIENCE

KEY_ID, SECRET = "AKIAPLANTEDINTESTS", "pl4nted/Secret+Value"
_numbers = itertools.count()


@dataclass(frozen=True)
class Cut:
    """The connection is closed after so many bytes of a body."""

    after: int


@dataclass(frozen=True)
class Silent:
    """Nothing is answered before this is set."""

    until: threading.Event


@dataclass(frozen=True)
class Refuse:
    """Answered by the proxy, as S3 words it."""

    status: int
    code: str


@dataclass(frozen=True)
class Asked:
    """A request: method, key in the bucket (with its query, if it has one), the bytes wanted."""

    method: str
    key: str
    range: str | None


class S3:
    """What a test sees: a bucket of its own, and the proxy."""

    def __init__(self, moto: str, bucket: str) -> None:
        self._moto, self.bucket = moto, bucket
        self.faults: dict[str, list[Any]] = {}
        self.requests: list[Asked] = []
        self._lock = threading.Lock()
        lab = self

        class Handler(_Proxy):
            s3 = lab

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._direct("PUT", "")

    def another(self, bucket: str) -> S3:
        """The same, for putting things into another bucket."""
        other = copy.copy(self)
        other.bucket = bucket
        other._direct("PUT", "")
        return other

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}"

    def put(self, key: str, data: bytes | str) -> str:
        """Write an object past the proxy; its address."""
        body = data.encode() if isinstance(data, str) else data
        self._direct("PUT", f"/{quote(key)}", body)
        return f"{self.url}/{key}"

    def get(self, key: str) -> bytes:
        return self._direct("GET", f"/{quote(key)}").content

    def remove(self, key: str) -> None:
        self._direct("DELETE", f"/{quote(key)}")

    def _direct(self, method: str, what: str, body: bytes | None = None) -> requests.Response:
        signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=lab/20260101/us-east-1/s3/aws4_request"}
        url = f"{self._moto}/{self.bucket}{what}"
        answer = requests.request(method, url, headers=signed, data=body, timeout=PATIENCE)
        answer.raise_for_status()
        return answer

    def names(self) -> list[str]:
        from xml.etree import ElementTree

        answer = self._direct("GET", "?list-type=2")
        return [str(one.text) for one in ElementTree.fromstring(answer.text).iter() if one.tag.endswith("Key")]

    def asked(self, method: str = "GET", key: str | None = None) -> list[Asked]:
        return [one for one in self.requests if one.method == method and key in (None, one.key)]

    def fault(self, asked: Asked) -> Any:
        """Record a request; what shall go wrong with it."""
        with self._lock:
            self.requests.append(asked)
            left = self.faults.get(f"{asked.method} {asked.key}") or (
                self.faults.get(asked.key) if asked.method == "GET" else None
            )
            if not left:
                return None
            return left[0] if isinstance(left[0], Refuse) else left.pop(0)


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    s3: S3

    def do_GET(self) -> None:
        key = unquote(self.path.lstrip("/").partition("/")[2])
        fault = self.s3.fault(Asked(self.command, key, self.headers.get("Range")))
        body = self._body()
        if isinstance(fault, Silent):
            fault.until.wait(PATIENCE)
            self.close_connection = True
            return
        if isinstance(fault, Refuse):
            text = f"<?xml version='1.0'?><Error><Code>{fault.code}</Code><Message>no</Message></Error>".encode()
            self._send(fault.status, {"Content-Type": "application/xml"}, text, len(text))
            return
        connection = http.client.HTTPConnection(self.s3._moto.removeprefix("http://"), timeout=PATIENCE)
        with contextlib.closing(connection):
            named = {name: text for name, text in self.headers.items() if name.lower() not in ("transfer-encoding",)}
            connection.request(self.command, self.path, body or None, named)
            answer = connection.getresponse()
            data = answer.read()
        told = {
            name: text
            for name, text in answer.getheaders()
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "server", "date")
        }
        length = int(answer.headers.get("Content-Length") or len(data)) if self.command == "HEAD" else len(data)
        if isinstance(fault, Cut) and len(data) > fault.after:
            self._send(answer.status, told, data[: fault.after], length)
            self.close_connection = True
            return
        self._send(answer.status, told, data, length)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while count := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(count)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _send(self, status: int, headers: dict[str, str], data: bytes, length: int) -> None:
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(OSError):
                self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The address of a server, for all tests of a process."""
    server_module = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(moto: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[S3]:
    """An S3 with an empty bucket, which the environment names."""
    lab = S3(moto, f"bucket-{next(_numbers)}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", lab.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # No file of the user's.
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    yield lab
    lab.close()
