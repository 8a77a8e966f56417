"""Git repositories as tests want them, honest and hostile, and a server for them."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Tree = Mapping[str, "bytes | str | Tree"]


class Lab:
    """A bare repository, written object by object; nothing is ever checked out of it.

    Args:
        path: Where it is made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.git("init", "--quiet", "--bare", "--template=", str(path), at=None)
        self.config("uploadpack.allowFilter", "true")

    def git(self, *words: str, given: bytes = b"", at: Path | None = Path()) -> str:
        """What git says; with none of the user's configuration."""
        environment = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
        environment |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
        where = [] if at is None else [f"--git-dir={self.path}"]
        done = subprocess.run(["git", *where, *words], input=given, capture_output=True, check=True, env=environment)
        return done.stdout.decode().strip()

    def config(self, key: str, value: str) -> None:
        self.git("config", key, value)

    def write(self, kind: str, data: bytes) -> str:
        """An object of these bytes, whatever git thinks of them."""
        hexdigest = hashlib.sha1(f"{kind} {len(data)}\0".encode() + data).hexdigest()
        place = self.object(hexdigest)
        if not place.exists():
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(zlib.compress(f"{kind} {len(data)}\0".encode() + data))
        return hexdigest

    def object(self, hexdigest: str) -> Path:
        return self.path / "objects" / hexdigest[:2] / hexdigest[2:]

    def tamper(self, hexdigest: str, data: bytes, kind: str = "blob") -> None:
        """Let an object have other bytes than its hash says."""
        place = self.object(hexdigest)
        place.unlink()
        place.write_bytes(zlib.compress(f"{kind} {len(data)}\0".encode() + data))

    def blob(self, data: bytes | str) -> str:
        return self.write("blob", data.encode() if isinstance(data, str) else data)

    def rows(self, *rows: tuple[str, bytes, str]) -> str:
        """A tree of rows: mode, name, hash."""
        return self.write(
            "tree", b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(key) for mode, name, key in rows)
        )

    def tree(self, files: Tree) -> str:
        """A tree of files and folders."""
        rows = []
        for name, item in files.items():
            inner = self.blob(item) if isinstance(item, bytes | str) else self.tree(item)
            mode = "100644" if isinstance(item, bytes | str) else "40000"
            rows.append((mode, name.encode(), inner))
        rows.sort(key=lambda row: row[1] + (b"/" if row[0] == "40000" else b""))
        return self.rows(*rows)

    def commit(self, tree: str | Tree, branch: str = "master", told: str = "a commit") -> str:
        """A commit of a tree, to which a branch leads."""
        top = tree if isinstance(tree, str) else self.tree(tree)
        who = "A U Thor <a@example.com> 1700000000 +0000"
        made = self.write("commit", f"tree {top}\nauthor {who}\ncommitter {who}\n\n{told}\n".encode())
        self.git("update-ref", f"refs/heads/{branch}", made)
        return made


class Served:
    """What a server was asked, and how much it sent."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.sent = 0
        self.stall = threading.Event()  # set: answers do not come before `going`
        self.going = threading.Event()
        self.locked = False  # asks for a password, and takes none
        self.elsewhere: str | None = None  # sends all who ask to another server
        self.instead: tuple[int, str, bytes] | None = None  # what all are answered: status, type, body
        self.cut = False  # breaks off in the middle of each answer
        self.old = False  # knows the protocol's first version only


@contextmanager
def serving(root: Path) -> Iterator[Served]:
    """Serve the repositories below a folder by git's own program for it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                body = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)

        def _answer(self, body: bytes) -> None:
            served.asked.append((self.path, dict(self.headers)))
            if served.stall.is_set():
                served.going.wait()
            if served.instead is not None:
                status, kind, page = served.instead
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)
                return
            if served.locked or served.elsewhere:
                self.send_response(401 if served.locked else 302)
                self.send_header("WWW-Authenticate", 'Basic realm="x"')
                self.send_header("Location", f"{served.elsewhere}{self.path}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            environment = {
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_CONFIG_GLOBAL": os.devnull,
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_GIT_PROTOCOL": "" if served.old else self.headers.get("Git-Protocol", ""),
            }
            done = subprocess.run(
                ["git", "http-backend"], input=body, capture_output=True, check=False, env=environment
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
            served.sent += len(content)
            self.send_response(int(lines.pop("Status", "200").split()[0]))
            for name, text in lines.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if served.cut and self.command == "POST":
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
                return
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Served(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.going.set()
        server.shutdown()
        server.server_close()
        thread.join()
