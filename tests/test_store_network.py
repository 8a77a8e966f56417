"""The store's manners on the network: private addresses, probes, trickles, mirrors, several connections."""

from __future__ import annotations

import hashlib
import logging
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import labclock
import pytest
from commands import environment
from faultserver import HTML, PATIENCE, Fault, FaultServer, noise
from storelab import QUICK, UNHURRIED
from test_store import files
from test_store_faults import TOKEN

from mshub_ssd import store
from mshub_ssd.errors import MshubError, OfflineError, TransferError
from mshub_ssd.settings import Settings
from mshub_ssd.store import addresses, transfer

BODY = noise(300_000)
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def clock() -> Iterator[labclock.Clock]:
    with transfer.override_policy(**{**QUICK, "max_bytes": 1 << 30}), labclock.events() as clock:
        yield clock


@pytest.fixture
def ours(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "cache")


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """A server that counts as one on the open internet, at 127.0.0.2; 127.0.0.1 stays private."""
    real = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.2" or real(address))
    with FaultServer(address="127.0.0.2") as server:
        yield server


# --- addresses


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *[("8.8.8.8", True), ("2606:4700::1111", True), ("::ffff:8.8.8.8", True), ("64:ff9b::808:808", True)],
        *[("127.0.0.1", False), ("127.9.9.9", False), ("10.1.2.3", False), ("172.16.0.1", False)],
        *[("192.168.1.1", False), ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False)],
        *[("224.0.0.1", False), ("255.255.255.255", False), ("240.0.0.1", False), ("198.18.0.1", False)],
        *[("::1", False), ("::", False), ("fe80::1%eth0", False), ("fd00::1", False), ("fec0::1", False)],
        *[("::ffff:127.0.0.1", False), ("::ffff:10.0.0.1", False), ("64:ff9b::7f00:1", False), ("::127.0.0.1", False)],
        *[("2002:7f00:1::", False), ("2002:a00:1::", False), ("ff02::1", False), ("localhost", False), ("", False)],
    ],
)
def test_which_addresses_belong_to_the_open_internet(address: str, public: bool) -> None:
    assert addresses.is_public(address) is public


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"])
def test_a_public_host_may_not_redirect_to_a_private_one(
    internet: FaultServer, fault_server: FaultServer, ours: Settings, name: str
) -> None:
    inside = fault_server.add("/inside", BODY).replace("127.0.0.1", name)
    url = internet.add("/a", BODY, then=Fault(redirect=inside))
    with pytest.raises(TransferError, match="address is private") as caught:
        store.fetch([url], SHA, settings=ours)
    assert "open internet" in str(caught.value)
    assert not fault_server.connections
    internet.add("/near", BODY)
    internet.add("/a", BODY, then=Fault(redirect="/near"))
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY


def test_a_private_host_may_redirect_to_a_private_one_but_not_by_way_of_a_public_one(
    internet: FaultServer, fault_server: FaultServer, ours: Settings
) -> None:
    url = fault_server.add("/a", BODY, then=Fault(redirect="/b"))
    fault_server.add("/b", BODY)
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    fault_server.add("/a", BODY, then=Fault(redirect=internet.base + "/back"))
    internet.add("/back", b"", then=Fault(redirect=fault_server.base + "/b"))
    with pytest.raises(TransferError, match="address is private"):
        store.fetch([url], SHA, force=True, settings=ours)


def test_a_name_that_resolves_to_another_address_each_time_does_not_help(
    internet: FaultServer, fault_server: FaultServer, ours: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault_server.add("/inside", BODY)
    port = fault_server.host.partition(":")[2]
    real, asked = socket.getaddrinfo, []

    def tricky(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "rebind.example":
            return real(host, *args, **kwargs)
        asked.append(host)
        return real("127.0.0.2" if len(asked) % 2 else "127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", tricky)
    url = internet.add("/a", BODY, then=Fault(redirect=f"http://rebind.example:{port}/inside"))
    with pytest.raises(TransferError, match=r"rebind\.example, which is 127\.0\.0\.1"):
        store.fetch([url], SHA, settings=ours)
    assert len(asked) == 2, "it should pass the first look, or the second one is not tested"
    assert not fault_server.requests, "not a byte may be sent there"


def test_behind_a_proxy_the_name_is_checked(
    internet: FaultServer, fault_server: FaultServer, ours: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", internet.base)
    target = internet.base.replace("127.0.0.2", "files.invalid")
    internet.add(f"{target}/a", b"", then=Fault(redirect=f"{fault_server.base}/inside"))
    with pytest.raises(TransferError, match="address is private"):
        store.fetch([f"{target}/a"], SHA, settings=ours)
    internet.add(f"{target}/b", BODY)
    assert store.fetch([f"{target}/b"], SHA, settings=ours).read_bytes() == BODY
    assert store.probe(f"{target}/b", settings=ours).size == len(BODY)
    with pytest.raises(TransferError, match="address is private"):
        store.probe(f"{fault_server.base}/x", settings=ours)
    assert not fault_server.requests


# --- probes


def test_probe_asks_with_head(fault_server: FaultServer, ours: Settings) -> None:
    fault_server.add("/a", BODY, then=Fault(headers={"Content-Type": "Application/Octet-Stream; x=y"}))
    url = fault_server.add("/r", b"", then=Fault(redirect="/a?sig=s3cret"))
    found = store.probe(url, allow_private=True, settings=ours)
    assert found == store.Probe(200, len(BODY), "application/octet-stream", f"{fault_server.base}/a?...", b"")
    assert found.ok
    assert [request.method for request in fault_server.requests] == ["HEAD", "HEAD"]
    assert not ours.home.exists()


@pytest.mark.parametrize("status", [403, 404, 405, 501])
def test_probe_asks_again_where_head_is_refused(fault_server: FaultServer, ours: Settings, status: int) -> None:
    url = fault_server.add("/a", BODY, then=Fault(head_status=status))
    found = store.probe(url, allow_private=True, settings=ours)
    assert (found.status, found.size) == (200, len(BODY))
    assert fault_server.requests[1].headers["range"] == "bytes=0-0"
    assert fault_server.sent <= 1


def test_probe_brings_the_first_bytes(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY)
    assert store.probe(url, allow_private=True, max_bytes=100, settings=ours).head == BODY[:100]
    fault_server.add("/a", BODY, then=Fault(ignore_range=True))
    found = store.probe(url, allow_private=True, max_bytes=100, settings=ours)
    assert (found.head, found.size) == (BODY[:100], len(BODY))
    fault_server.add("/empty", b"")
    found = store.probe(f"{fault_server.base}/empty", allow_private=True, max_bytes=9, settings=ours)
    assert (found.status, found.size, found.head) == (200, 0, b"")
    fault_server.add("/endless", HTML, then=Fault(infinite=True, ignore_range=True))
    found = store.probe(f"{fault_server.base}/endless", allow_private=True, max_bytes=9, settings=ours)
    assert (found.size, found.head) == (None, HTML[:9])


def test_probe_tells_every_status_and_repeats_what_may_pass(fault_server: FaultServer, ours: Settings) -> None:
    found = store.probe(f"{fault_server.base}/none", allow_private=True, settings=ours)
    assert (found.status, found.ok, found.size) == (404, False, None)
    url = fault_server.add("/a", BODY, Fault(status=503), Fault(status=503))
    assert store.probe(url, allow_private=True, settings=ours).ok
    fault_server.add("/a", BODY, then=Fault(status=503))
    assert store.probe(url, allow_private=True, settings=ours).status == 503


def test_probe_refuses_what_it_should(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY)
    for ask in (store.probe, store.digest_of):
        with pytest.raises(TransferError, match=r"address is private: 127\.0\.0\.1"):
            ask(url, settings=ours)
        with pytest.raises(OfflineError):
            ask(url, allow_private=True, settings=replace(ours, offline=True))
        with pytest.raises(TransferError, match="scheme file"):
            ask("file:///etc/passwd", allow_private=True, settings=ours)
    assert not fault_server.requests
    fault_server.add("/loop", b"", then=Fault(redirect="/loop"))
    with pytest.raises(TransferError, match="redirect loop"):
        store.probe(f"{fault_server.base}/loop", allow_private=True, settings=ours)
    with pytest.raises(TransferError, match="without an answer"):
        store.probe(fault_server.add("/x", BODY, then=Fault(hang_up=True)), allow_private=True, settings=ours)


def test_digest_of_hashes_and_keeps_nothing(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY, Fault(cut_after=100_000), Fault(status=503))
    assert store.digest_of(url, allow_private=True, settings=ours) == (SHA, len(BODY))
    assert fault_server.requests[1].headers["range"] == "bytes=100000-"
    assert not ours.home.exists()
    with pytest.raises(TransferError, match="more than the"):
        store.digest_of(url, allow_private=True, max_bytes=299_999, settings=ours)
    assert store.digest_of(url, allow_private=True, max_bytes=300_000, settings=ours)[0] == SHA


# --- time


def test_a_trickle_is_given_up_and_resumed(fault_server: FaultServer, ours: Settings, clock: labclock.Clock) -> None:
    url = fault_server.add("/a", BODY, Fault(drip=50))
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert clock.passed() < 3
    assert len(fault_server.requests) == 2
    assert fault_server.requests[1].headers["range"].startswith("bytes=")


@pytest.mark.parametrize("limit", [0.1, 0.3, 0.4, 5.0])
def test_headers_without_end_are_given_up(
    fault_server: FaultServer, ours: Settings, clock: labclock.Clock, limit: float
) -> None:
    """Wherever they are broken off: in the status, after it, in a name, in a value."""
    url = fault_server.add("/a", BODY, then=Fault(slow_headers=50))
    with transfer.override_policy(answer=limit), pytest.raises(TransferError, match="takes too long to answer"):
        store.fetch([url], SHA, settings=ours)
    assert clock.passed() < 3 * limit + 1


@pytest.mark.parametrize(
    ("fault", "limit", "words"),
    [
        (Fault(stall_after=1000, ignore_range=True), "read", "stopped sending"),
        (Fault(drip=50), "stall", "the server sends"),
        (Fault(slow_headers=50), "answer", "takes too long to answer"),
    ],
)
def test_the_limits_hold_by_the_real_clock(tmp_path: Path, fault: Fault, limit: str, words: str) -> None:
    """One limit is short at a time, and each attempt must run into it: a slow machine changes nothing."""
    program = (
        "import sys\nfrom mshub_ssd import store\nfrom mshub_ssd.settings import Settings\n"
        "from mshub_ssd.store import transfer\nfrom pathlib import Path\n"
        f"limits = {UNHURRIED!r} | {{{limit!r}: 0.2}}\n"
        "with transfer.override_policy(**limits, attempts=2, backoff=0.0):\n"
        "    store.fetch([sys.argv[1]], sys.argv[2], settings=Settings(home=Path(sys.argv[3])))\n"
    )
    with FaultServer() as server:
        url = server.add("/a", BODY, then=fault)
        command = [sys.executable, "-c", program, url, SHA, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), timeout=PATIENCE)
        assert "TransferError" in done.stderr
        assert words in done.stderr
        server.settle()
        assert len(server.requests) <= 2


def test_mirrors_are_asked_before_the_first_pause(
    fault_server: FaultServer, ours: Settings, clock: labclock.Clock
) -> None:
    busy = Fault(status=429, headers={"Retry-After": "50"})
    urls = [fault_server.add("/1", BODY, busy), fault_server.add("/2", BODY, Fault(status=503))]
    urls.append(fault_server.add("/3", BODY, Fault(cut_after=100_000)))
    assert store.fetch(urls, SHA, settings=ours).read_bytes() == BODY
    assert [request.path for request in fault_server.requests] == ["/1", "/2", "/3", "/2"]
    assert len(clock.pauses) == 1
    assert clock.pauses[0] < 1, "the mirror that asked for 50 seconds is not waited for while others are there"
    assert fault_server.requests[-1].headers["range"] == "bytes=100000-", "one mirror goes on where another stopped"


def test_what_one_mirror_damaged_another_mends(fault_server: FaultServer, ours: Settings) -> None:
    first = fault_server.add("/1", BODY, Fault(cut_after=150_000, flip_bit=5), then=Fault(status=500))
    second = fault_server.add("/2", BODY)
    assert store.fetch([first, second], SHA, settings=ours).read_bytes() == BODY
    asked = [(request.path, request.headers.get("range")) for request in fault_server.requests]
    assert asked == [("/1", None), ("/2", "bytes=150000-"), ("/2", None)]


def test_each_mirror_has_a_clean_second_chance(fault_server: FaultServer, ours: Settings) -> None:
    first = fault_server.add("/1", BODY, then=Fault(flip_bit=5))
    second = fault_server.add("/2", BODY, Fault(flip_bit=7))
    assert store.fetch([first, second], SHA, settings=ours).read_bytes() == BODY
    asked = [(request.path, request.headers.get("range")) for request in fault_server.requests]
    assert asked == [("/1", None), ("/1", None), ("/2", None), ("/2", None)]


# --- secrets and certificates


def test_the_token_is_in_no_file_of_the_cache(fault_server: FaultServer, ours: Settings) -> None:
    secret = replace(ours, endpoint=f"{fault_server.base}/m", token=TOKEN)
    fault_server.add("/m/files.invalid/a", BODY, then=Fault(cut_after=10, ignore_range=True))
    with pytest.raises(TransferError):
        store.fetch([f"https://user:{TOKEN}@files.invalid/a?key={TOKEN}"], SHA, label="x", settings=secret)
    found = files(ours.home)
    assert [name for name in found if name.endswith(".part.json")]
    assert not [name for name, data in found.items() if TOKEN.encode() in data or TOKEN in name]
    fault_server.add("/m/files.invalid/a", BODY)
    store.fetch([f"https://user:{TOKEN}@files.invalid/a?key={TOKEN}"], SHA, label="x", settings=secret)
    found = files(ours.home)
    assert not [name for name, data in found.items() if TOKEN.encode() in data or TOKEN in name]
    assert any(b"files.invalid" in data for data in found.values()), "the view should name the host at least"


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_private_authorities_are_trusted_on_request(
    ours: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with FaultServer(tls=context) as safe:
        url = safe.add("/a", BODY)
        with pytest.raises(TransferError, match="certificate is refused"):
            store.probe(url, allow_private=True, settings=ours)
        monkeypatch.setenv(variable, str(tmp_path / "ca.pem"))
        assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY


# --- several connections, several files


def test_one_file_over_several_connections(fault_server: FaultServer, ours: Settings) -> None:
    body = noise(5_000_000, seed=8)
    digest = hashlib.sha256(body).hexdigest()
    url = fault_server.add("/a", body)
    with transfer.override_policy(segment=500_000):
        assert store.fetch([url], digest, settings=replace(ours, connections=4)).read_bytes() == body
    ranges = {request.headers.get("range") for request in fault_server.requests}
    assert ranges == {None, *(f"bytes={n}-{n + 499_999}" for n in range(500_000, 5_000_000, 500_000))}
    assert {request.headers.get("if-range") for request in fault_server.requests[1:]} != {None}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503),
        Fault(cut_after=1000),
        Fault(ignore_range=True),
        Fault(content_range="bytes 0-1/2"),
        Fault(flip_bit=30_000_000),
        Fault(headers={"ETag": '"new"'}),
    ],
)
def test_a_fault_in_one_of_several_connections(fault_server: FaultServer, ours: Settings, fault: Fault) -> None:
    body = noise(5_000_000, seed=8)
    digest = hashlib.sha256(body).hexdigest()
    url = fault_server.add("/a", body, Fault(), Fault(), Fault(), fault)
    with transfer.override_policy(segment=500_000):
        assert store.fetch([url], digest, settings=replace(ours, connections=3)).read_bytes() == body


def test_a_server_without_ranges_gets_one_connection(fault_server: FaultServer, ours: Settings) -> None:
    body = noise(2_000_000, seed=8)
    url = fault_server.add("/a", body, then=Fault(ignore_range=True, headers={"Accept-Ranges": None}))
    with transfer.override_policy(segment=100_000):
        many = replace(ours, connections=3)
        assert store.fetch([url], hashlib.sha256(body).hexdigest(), settings=many).read_bytes() == body
    assert len(fault_server.requests) == 1


def test_an_interruption_ends_all_downloads_at_once(
    fault_server: FaultServer,
    ours: Settings,
    clock: labclock.Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    bodies = [noise(200_000, seed=seed) for seed in range(3)]
    wanted = [
        store.FileRequest(
            [fault_server.add(f"/{n}", body, then=Fault(stall_after=100_000))], hashlib.sha256(body).hexdigest()
        )
        for n, body in enumerate(bodies)
    ]

    def interrupt(self: Any, timeout: float | None = None) -> Any:
        while len([path for path in ours.home.rglob("*.part") if path.stat().st_size == 100_000]) < 3:
            time.sleep(0.005)
        raise KeyboardInterrupt

    from concurrent.futures import Future

    clock.expires = lambda: False  # nothing but the interruption ends their waits
    before = threading.enumerate()
    with monkeypatch.context() as patch:
        patch.setattr(Future, "result", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.fetch_many(wanted, settings=ours)
    assert caplog.text.count("are kept") == 3
    left = [thread for thread in threading.enumerate() if thread not in before]
    assert not [thread for thread in left if thread.name.startswith("ThreadPoolExecutor")]
    for n, body in enumerate(bodies):
        fault_server.add(f"/{n}", body)
    got = store.fetch_many(wanted, settings=ours)
    assert [path.read_bytes() for path in got if not isinstance(path, MshubError)] == bodies
    assert all("range" in fault_server.seen(f"/{n}")[-1].headers for n in range(3))
