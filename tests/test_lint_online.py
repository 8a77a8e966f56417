"""``mshub validate --online``: what is asked, how politely, and what the answers become. All servers are local."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pty
import socket
import ssl
import struct
import subprocess
import sys
import termios
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import commands
import labclock
import pytest
from click.testing import Result
from commands import PATIENCE
from faultserver import HTML, Fault, FaultServer, nobody, noise
from lintcards import CARD

import mshub_ssd
from mshub_ssd import online
from mshub_ssd.lint.config import load_config
from mshub_ssd.lint.engine import lint
from mshub_ssd.lint.online import Answers, Reply
from mshub_ssd.store import addresses, policy

SOURCE = Path(mshub_ssd.__file__).parent.parent
REPOSITORY = "https://gitee.com/mindspore/models/tree/r1.7/official/cv/ssd"
ASSET = "https://download.example.org/net_coco2017.ckpt"
DIGEST = "d0b0449bab807e03528c88498425921a7a43a8d97fdd92bed6cf25d5b3379b07"
TREE, RAW = "/own/models/tree/r1.7/cv/ssd", "/own/models/raw/r1.7/cv/ssd/mindspore_hub_conf.py"
ONLINE = "MC018,MC019,MC050,MC051,MC052"
BODY = noise(5000)
SHA = hashlib.sha256(BODY).hexdigest()
ENTRY = b"""
def create_network(name, *args, **kwargs):
    if name == "net":
        return Net(*args, **kwargs)
    raise NotImplementedError(name)
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def server(fault_server: FaultServer) -> FaultServer:
    """A repository with an entry point, and an asset, all as they should be."""
    fault_server.add(TREE, b"<html>the code</html>", then=Fault(headers={"Content-Type": "text/html"}))
    fault_server.add(RAW, ENTRY)
    fault_server.add("/net.ckpt", BODY)
    return fault_server


def card(repository: str, asset: str, *, name: str = "net", digest: str = SHA, file: str = "net_coco2017") -> Path:
    """Write a card; `asset` may bring further fields of its own."""
    text = CARD.replace(REPOSITORY, repository).replace(ASSET, asset).replace(DIGEST, digest)
    text = text.replace("model-name: net", f"model-name: {name}").replace("net_coco2017", file)
    path = Path(f"own/1.0/{file}.md")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def run(*args: object, select: str = ONLINE) -> Result:
    return commands.run("validate", "own", "--online", "--allow-private", "--json", "--select", select, *args)


def findings(result: Result) -> list[tuple[str, str, str]]:
    return [(one["code"], one["severity"], one["message"]) for one in json.loads(result.stdout)["findings"]]


# --- what is asked


def test_a_sound_card_is_clean_and_every_address_is_asked_once(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSHUB_TOKEN", "secret")
    monkeypatch.setenv("MSHUB_ENDPOINT", "https://mirror.example.org")
    for file in ("net_coco2017", "net_voc2012", "net_mnist"):
        card(server.base + TREE, server.base + "/net.ckpt", file=file)
    result = run()
    assert (result.exit_code, findings(result), result.stderr) == (0, [], "")
    assert Counter(request.path for request in server.requests) == {TREE: 1, RAW: 1, "/net.ckpt": 1}
    # A glance at the asset, not all of it.
    assert [request.headers["range"] for request in server.seen("/net.ckpt")] == ["bytes=0-511"]
    assert not any("authorization" in request.headers for request in server.requests)


@pytest.mark.parametrize(
    ("select", "options", "asked"),
    [
        ("MC013", [], set()),
        ("MC050", [], {TREE, "/net.ckpt"}),
        ("MC018", [], {RAW}),
        ("MC019", [], {RAW}),
        ("MC051", [], {"/net.ckpt"}),
        ("MC052", [], set()),
        ("MC052", ["--deep"], {"/net.ckpt"}),
    ],
)
def test_only_what_the_rules_need_is_asked(server: FaultServer, select: str, options: list[str], asked: set) -> None:
    card(server.base + TREE, server.base + "/net.ckpt")
    run(*options, select=select)
    assert {request.path for request in server.requests} == asked


def test_an_address_of_several_roles_is_asked_once(server: FaultServer) -> None:
    card(server.base + "/net.ckpt", server.base + "/net.ckpt", digest="0" * 64)
    assert findings(run()) == []
    assert len(server.requests) == 1
    assert [code for code, *_ in findings(run("--deep"))] == ["MC052"]


def test_nothing_is_asked_for_cards_that_are_let_off(server: FaultServer) -> None:
    card(server.base + TREE, server.base + "/gone.ckpt")
    Path("mshub.toml").write_text(f'[per-card-ignores]\n"own/*" = {json.dumps(ONLINE.split(","))}\n', encoding="utf-8")
    assert (findings(run()), server.requests) == ([], [])


def test_without_online_nothing_is_asked(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    card(server.base + TREE, server.base + "/gone.ckpt")
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was used"))
    result = commands.run("validate", "own", "--json")
    assert not set(ONLINE.split(",")) & {code for code, *_ in findings(result)}
    assert not server.requests


@pytest.mark.parametrize("option", ["--deep", "--allow-private", "--max-size=3"])
def test_its_options_need_online(option: str) -> None:
    card(REPOSITORY, ASSET)
    result = commands.run("validate", "own", option)
    assert (result.exit_code, "needs --online" in result.stderr) == (2, True)


def test_offline_is_refused_before_anything_is_done(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    card(server.base + TREE, server.base + "/net.ckpt")
    monkeypatch.setenv("MSHUB_OFFLINE", "1")
    result = run()
    assert (result.exit_code, server.requests) == (2, [])
    assert "MSHUB_OFFLINE" in json.loads(result.stdout)["error"]["message"]


# --- MC050: links that do not answer


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(status=404), "404 Not Found"),
        (Fault(status=410), "410 Gone"),
        (Fault(status=403), "403 Forbidden"),
        (Fault(status=500), "500 Internal Server Error"),
        (Fault(hang_up=True), "without an answer"),
        (Fault(redirect="/round"), "redirect loop"),
        (Fault(redirect="file:///etc/passwd"), "scheme file"),
        (Fault(stall_after=0, ignore_range=True), "stopped sending"),
    ],
)
def test_a_dead_link_is_an_error_at_the_link(server: FaultServer, fault: Fault, words: str) -> None:
    path = card(server.base + TREE, server.add("/round", BODY, then=fault))
    with policy.override_policy(backoff=0.01), labclock.events():
        result = run(select="MC050")
    (found,) = json.loads(result.stdout)["findings"]
    assert (result.exit_code, found["code"], found["severity"]) == (1, "MC050", "error")
    assert found["message"].startswith("asset-link is dead: ")
    assert words in found["message"]
    line = path.read_text().splitlines()[found["line"] - 1]
    assert line[found["column"] - 1 : found["end_column"] - 1] == f"{server.base}/round"


def test_a_failure_of_the_moment_is_asked_again(server: FaultServer) -> None:
    server.add(TREE, b"code", Fault(status=500), Fault(hang_up=True))
    server.add("/net.ckpt", BODY, Fault(status=502))
    card(server.base + TREE, server.base + "/net.ckpt")
    with policy.override_policy(backoff=0.01):
        assert [code for code, *_ in findings(run())] == ["MC050"]  # the second failure was one too many
    assert (len(server.seen(TREE)), len(server.seen("/net.ckpt"))) == (2, 2)


def test_a_host_that_is_gone_is_dead_and_says_nothing_about_names(server: FaultServer) -> None:
    with nobody() as base, policy.override_policy(backoff=0.01):
        card(base + TREE, server.base + "/net.ckpt", name="other")
        result = run()
    assert [(code, severity) for code, severity, _ in findings(result)] == [("MC050", "error")]
    assert "repo-link is dead: the connection failed: Connection refused" in result.stdout


def test_an_unknown_host_is_dead(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    card(REPOSITORY, ASSET)
    with policy.override_policy(backoff=0.01):
        messages = [message for *_, message in findings(run())]
    assert len(messages) == 2
    assert all("cannot be resolved" in message for message in messages)


def test_certificates_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with FaultServer(tls=context) as safe:
        safe.add(TREE, b"code")
        safe.add(RAW, ENTRY)
        safe.add("/net.ckpt", BODY)
        card(safe.base + TREE, safe.base + "/net.ckpt")
        found = findings(run("--deep"))
        assert [code for code, *_ in found] == ["MC050", "MC050"]
        assert all("certificate is refused" in message for *_, message in found)
        assert not safe.requests
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        assert findings(run("--deep")) == []


def test_private_addresses_are_not_asked_unless_allowed(server: FaultServer) -> None:
    path = card(server.base + TREE, server.base + "/net.ckpt")
    result = commands.run("validate", str(path), "--online", "--deep", "--select", ONLINE)
    assert (result.exit_code, server.requests) == (1, [])
    assert result.stdout.count("-link was not asked: the address is private: 127.0.0.1 [dead-link]") == 2
    assert "--allow-private" in result.stdout


@pytest.mark.parametrize("deep", [False, True])
def test_a_public_host_cannot_lead_to_a_private_address(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, deep: bool
) -> None:
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    with FaultServer(address="127.0.0.2") as inside:
        target = inside.add("/admin", BODY)
        card(server.base + TREE, server.add("/away", b"", then=Fault(redirect=target)))
        found = findings(run(*(["--deep"] if deep else [])))
        assert [code for code, *_ in found] == ["MC050"]
        assert found[0][2] == "asset-link is dead: the address is private: 127.0.0.2"
        assert not inside.requests


# --- MC051: files that are none


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(body=HTML), "a web page"),
        (Fault(body=HTML, ignore_range=True), "a web page"),
        (Fault(headers={"Content-Type": "text/html; charset=utf-8"}), "a web page"),
        (Fault(body=b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"), "a Git LFS pointer"),
        (Fault(body=b""), "empty"),
        (Fault(body=b"", ignore_range=True), "empty"),
        (Fault(body=bytes(1_000_001)), "1000001 bytes, more than the 1000000 allowed"),
    ],
)
@pytest.mark.parametrize("deep", [False, True])
def test_a_suspicious_asset(server: FaultServer, fault: Fault, words: str, deep: bool) -> None:
    server.add("/net.ckpt", BODY, then=fault)
    card(server.base + TREE, server.base + "/net.ckpt")
    (found,) = findings(run("--max-size", 1, *(["--deep"] if deep else [])))
    assert found[:2] == ("MC051", "error")
    assert words in found[2]
    assert len(server.seen("/net.ckpt")) == 1  # there is no point in downloading it


@pytest.mark.parametrize(("size", "wrong"), [(5000, False), (5001, True)])
def test_the_size_is_compared_where_the_card_gives_one(server: FaultServer, size: int, wrong: bool) -> None:
    path = card(server.base + TREE, f"{server.base}/net.ckpt\n  asset-size: {size}")
    found = json.loads(run().stdout)["findings"]
    assert [one["code"] for one in found] == ["MC051"] * wrong
    if wrong:
        assert "5000 bytes" in found[0]["message"]
        assert path.read_text().splitlines()[found[0]["line"] - 1].strip() == "asset-size: 5001"


# --- MC052: digests


@pytest.mark.parametrize("digest", ["0" * 64, "A" * 64])
def test_deep_compares_the_digest(server: FaultServer, digest: str) -> None:
    card(server.base + TREE, server.base + "/net.ckpt", digest=digest)
    assert findings(run()) == []
    (found,) = findings(run("--deep"))
    assert found == ("MC052", "error", f"the file's digest is {SHA}")


@pytest.mark.parametrize("digest", [SHA, SHA.upper(), "d231a06", "no digest at all"])
def test_deep_is_silent_where_the_digest_fits_or_is_none(server: FaultServer, digest: str) -> None:
    card(server.base + TREE, server.base + "/net.ckpt", digest=digest)
    assert findings(run("--deep")) == []


def test_a_short_digest_that_fits_can_be_completed(server: FaultServer) -> None:
    path = card(server.base + TREE, server.base + "/net.ckpt", digest=SHA[:8])
    rules = f"{ONLINE},MC013"
    found = findings(run("--deep", select=rules))
    assert [(code, severity) for code, severity, _ in found] == [("MC013", "error"), ("MC052", "info")]
    assert SHA in found[1][2]
    before = path.read_text()
    run("--deep", "--fix", select=rules)
    assert path.read_text() == before
    assert run("--deep", "--fix", "--unsafe-fixes", select=rules).exit_code == 0
    assert f'asset-sha256: "{SHA}"\n' in path.read_text()  # the quotes stay
    after = run("--deep", "--fix", "--unsafe-fixes", select=rules)
    assert (findings(after), json.loads(after.stdout)["summary"]["fixed"]) == ([], 0)


@pytest.mark.parametrize(("full", "written"), [("1" * 64, f'"{"1" * 64}"'), ("1" * 63 + "a", "1" * 63 + "a")])
def test_a_digest_of_figures_gets_quotes(full: str, written: str) -> None:
    path = card(REPOSITORY, ASSET, digest=full[:10])
    path.write_text(path.read_text().replace(f'"{full[:10]}"', full[:10]), encoding="utf-8")
    answers: Answers = {"replies": {ASSET: Reply(sha256=full)}, "networks": {}, "most": 1}
    lint([path], load_config(select=["MC052"], use_file=False), fix="unsafe", answers=answers)
    assert f"asset-sha256: {written}\n" in path.read_text()


def test_a_short_digest_that_does_not_fit_is_an_error(server: FaultServer) -> None:
    card(server.base + TREE, server.base + "/net.ckpt", digest="00000000")
    assert [(code, severity) for code, severity, _ in findings(run("--deep"))] == [("MC052", "error")]


def test_a_download_that_breaks_is_a_dead_link(server: FaultServer) -> None:
    server.add("/net.ckpt", BODY, Fault(), then=Fault(cut_after=100, ignore_range=True))
    card(server.base + TREE, server.base + "/net.ckpt")
    with policy.override_policy(backoff=0.01, attempts=2):
        assert [code for code, *_ in findings(run("--deep"))] == ["MC050"]


@pytest.mark.parametrize(
    ("body", "digest", "codes"),
    [(BODY, SHA, []), (BODY, "0" * 64, ["MC052"]), (b"", SHA, ["MC051", "MC052"]), (HTML, SHA, ["MC051", "MC052"])],
)
def test_files_beside_the_card(server: FaultServer, body: bytes, digest: str, codes: list[str]) -> None:
    card(server.base + TREE, "net.ckpt", digest=digest)
    Path("own/1.0/net.ckpt").write_bytes(body)
    assert [code for code, *_ in findings(run("--deep"))] == codes


def test_files_outside_of_the_cards_folder_are_not_read(server: FaultServer, here: Path) -> None:
    card(server.base + TREE, "net.ckpt", digest="0" * 64)
    (here / "secret").write_bytes(BODY)
    Path("own/1.0/net.ckpt").symlink_to(here / "secret")
    assert SHA not in run("--deep").stdout


# --- MC018 and MC019: the entry point


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(), None),
        (Fault(status=404), "the folder has no mindspore_hub_conf.py"),
        (Fault(body=b"def build(name): return 1\n"), "mindspore_hub_conf.py has no create_network"),
        (Fault(body=b"print 'create_network'\n"), "mindspore_hub_conf.py is no Python"),
        (Fault(body=b"from src.hub import create_network\n"), None),
        (Fault(body=b"from src.hub import *\n"), None),
        # Who answers like this has not said that there is none.
        (Fault(status=403), None),
        (Fault(status=500), None),
        (Fault(hang_up=True), None),
        (Fault(body=HTML), None),
        (Fault(body=b"\xff\xfe\x00"), None),
        (Fault(body=b"#" * 100_000), None),
        (Fault(body=b"x = 1", content_range="bytes 0-4/5000"), None),
        (Fault(cut_after=10), None),
        (Fault(cut_after=10, ignore_range=True), None),
        (Fault(body=b"x = " + b"-" * 60_000 + b"1\n"), None),
    ],
)
def test_the_entry_point(server: FaultServer, fault: Fault, words: str | None) -> None:
    server.add(RAW, ENTRY, then=fault)
    card(server.base + TREE, server.base + "/net.ckpt")
    with policy.override_policy(backoff=0.01):
        found = findings(run())
    assert [(code, severity) for code, severity, _ in found] == ([] if words is None else [("MC018", "error")])
    assert words is None or words in found[0][2]


def test_a_known_network_needs_no_entry_point(server: FaultServer) -> None:
    server.add(RAW, ENTRY, then=Fault(status=404))
    card(server.base + TREE, server.base + "/net.ckpt", name="net\n\nnetwork: ssd300")
    assert findings(run()) == []


def test_a_dead_repository_is_told_once(server: FaultServer) -> None:
    card(server.base + "/own/gone/tree/r1.7/cv/ssd", server.base + "/net.ckpt")
    assert [code for code, *_ in findings(run())] == ["MC050"]


@pytest.mark.parametrize(
    ("link", "entry"),
    [
        ("/own/models/tree/r1.7", "/own/models/raw/r1.7/mindspore_hub_conf.py"),
        ("/own/models/tree/r1.7/a/tree/b/", "/own/models/raw/r1.7/a/tree/b/mindspore_hub_conf.py"),
        ("/group/own/models/-/tree/v1/ssd", "/group/own/models/-/raw/v1/ssd/mindspore_hub_conf.py"),
        ("/own/models/tree/v1/ssd?x=1#readme", "/own/models/raw/v1/ssd/mindspore_hub_conf.py"),
        ("/own/models", None),
        ("/own/models/tree/", None),
    ],
)
def test_where_the_entry_point_is_looked_for(server: FaultServer, link: str, entry: str | None) -> None:
    card(server.base + link, server.base + "/net.ckpt")
    found = findings(run(select="MC018"))
    assert [request.path for request in server.requests] == ([] if entry is None else [entry])
    assert [code for code, *_ in found] == ([] if entry is None else ["MC018"])


@pytest.mark.parametrize(
    ("name", "severity"), [("net", None), ("other", "error"), ("Net", None), ("NET50", "warning"), ("net50", "error")]
)
def test_model_names_are_asked_in_small_letters(server: FaultServer, name: str, severity: str | None) -> None:
    server.add(RAW, ENTRY.replace(b'name == "net"', b'name in ("net", "NET50")'))
    card(server.base + TREE, server.base + "/net.ckpt", name=name)
    found = [(code, severity) for code, severity, _ in findings(run())]
    assert found == ([] if severity is None else [("MC019", severity)])


# --- politeness


class _Slow(ThreadingHTTPServer):
    """Answers after a moment, and remembers how many it answered at once."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: str, shared: dict[str, Any]) -> None:
        super().__init__((address, 0), _SlowHandler)
        self.shared = shared
        self.base = f"http://{address}:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class _SlowHandler(BaseHTTPRequestHandler):
    server: _Slow

    def do_GET(self) -> None:
        shared, own = self.server.shared, self.server.base
        with shared["lock"]:
            for key in ("all", own):
                shared["now"][key] += 1
                shared["most"][key] = max(shared["most"][key], shared["now"][key])
            if shared["now"]["all"] >= shared["expected"]:
                shared["full"].set()
        shared["full"].wait(PATIENCE)  # however slow the machine is, all of them come together once
        time.sleep(0.02)
        with shared["lock"]:
            for key in ("all", own):
                shared["now"][key] -= 1
        self.send_response(200)
        self.send_header("Content-Length", "1")
        self.end_headers()
        self.wfile.write(b"x")

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""


@pytest.mark.parametrize(("hosts", "in_all"), [(1, 2), (6, 8)])
def test_no_more_than_two_of_a_host_and_eight_in_all(hosts: int, in_all: int) -> None:
    shared: dict[str, Any] = {"lock": threading.Lock(), "now": Counter(), "most": Counter()}
    shared |= {"expected": in_all, "full": threading.Event()}
    servers = [_Slow(f"127.0.0.{number}", shared) for number in range(1, hosts + 1)]
    try:
        for number in range(8 * hosts):
            base = servers[number % hosts].base
            card(f"{base}/own/r{number}", f"{base}/{number}.ckpt", file=f"net_{number}")
        assert findings(run()) == []
    finally:
        for one in servers:
            one.shutdown()
            one.server_close()
    most = shared["most"]
    assert most.pop("all") == in_all
    assert max(most.values()) == 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mshub-online")]


def test_a_host_gets_the_pause_it_asks_for(server: FaultServer) -> None:
    server.add("/net.ckpt", BODY, Fault(status=429, headers={"Retry-After": "1"}))
    card(server.base + TREE, server.base + "/net.ckpt")
    begun = time.monotonic()
    assert findings(run()) == []
    assert time.monotonic() - begun >= 1
    assert len(server.seen("/net.ckpt")) == 2


def test_a_host_that_does_not_say_when_is_asked_again_ever_later(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online, "_PAUSE", 0.1)
    server.add("/net.ckpt", BODY, *[Fault(status=429)] * 3)
    card(server.base + TREE, server.base + "/net.ckpt")
    begun = time.monotonic()
    assert findings(run()) == []
    assert time.monotonic() - begun >= 0.1 + 0.2 + 0.4


@pytest.mark.parametrize("status", [429, 503])
def test_a_host_that_asks_for_too_long_a_pause_is_left_alone(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(online, "_PER_HOST", 1)
    later = Fault(status=status, headers={"Retry-After": "86400"})
    for number in range(10):
        link = server.add(f"/{number}.ckpt", BODY, then=later)
        card(server.base + TREE, link, file=f"net_{number}")
    # Another host keeps the askers busy for a while longer.
    monkeypatch.setattr(online, "_PAUSE", 0.3)
    with FaultServer(address="127.0.0.2") as other, policy.override_policy(backoff=0.01):
        card(server.base + TREE, other.add("/net.ckpt", BODY, Fault(status=429)), file="net_mnist")
        found = findings(run(select="MC050"))
        assert len(other.requests) == 2
    assert len(found) == 10
    assert {severity for _, severity, _ in found} == {"warning"}
    assert all("could not be checked" in message and "86400 seconds" in message for *_, message in found)
    # The store itself asks a failing server twice.
    assert [request.path for request in server.requests] == [TREE, *["/0.ckpt"] * (1 if status == 429 else 2)]


def test_ctrl_c_ends_it_at_once(server: FaultServer) -> None:
    server.add("/net.ckpt", BODY, then=Fault(stall_after=0, ignore_range=True))
    card(server.base + TREE, server.base + "/net.ckpt")
    child = commands.started("validate", "own", "--online", "--allow-private")
    try:
        server.await_seen("/net.ckpt")
        out, err = commands.interrupted(child)
    finally:
        child.kill()
    assert (child.returncode, out, err) == (130, "", "interrupted\n")


def test_progress_is_shown_on_a_terminal_only(server: FaultServer) -> None:
    card(server.base + TREE, server.base + "/net.ckpt")
    code = (
        "import sys, mshub_ssd.online as v; v._SLOW = 0.0; from mshub_ssd.cli import main; "
        "main(['validate', 'own', '--online', '--deep', '--allow-private', '--select', 'MC050,MC052'])"
    )
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        settings: dict[str, Any] = {"env": environment, "check": True, "timeout": PATIENCE, "stdout": subprocess.PIPE}
        shown = subprocess.run([sys.executable, "-c", code], stderr=theirs, **settings)
        os.write(theirs, b"end")
        assert "asking" in (terminal := os.read(ours, 65536).decode())
        assert "net.ckpt" not in terminal  # one bar, not one for each download
        silent = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, **settings)
        assert (silent.stderr, silent.stdout) == (b"", shown.stdout)
    finally:
        os.close(ours)
        os.close(theirs)
