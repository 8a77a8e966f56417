"""The inside of urllib3 and http.client, as `mshub_ssd.store.transport` needs it, and names that do not resolve."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from typing import Any

import labclock
import pytest
import requests
from faultserver import Fault, FaultServer, noise
from urllib3.connection import HTTPConnection, HTTPSConnection

from mshub_ssd import store
from mshub_ssd.errors import TransferError
from mshub_ssd.settings import Settings
from mshub_ssd.store import transport
from mshub_ssd.store.addresses import Guard, RefusedAddressError

BODY = noise(300_000)
SHA = hashlib.sha256(BODY).hexdigest()

WHAT_TO_DO = (
    "urllib3 or http.client has changed inside; {}. See mshub_ssd/store/transport.py, measure with "
    "benchmarks/store_speed.py, and limit the versions of urllib3 in pyproject.toml until it is done."
)


@pytest.fixture
def ours(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "cache")


# --- what an update may break


def test_a_body_is_read_into_memory_that_is_there(fault_server: FaultServer) -> None:
    response = requests.get(fault_server.add("/a", BODY), stream=True, timeout=60)
    room, got = bytearray(1 << 20), b""
    read = transport.reader(response, 1 << 16, lambda: memoryview(room))
    while piece := read():
        owner = piece.obj if isinstance(piece, memoryview) else None
        assert owner is room, WHAT_TO_DO.format("find where a response keeps http.client's own: it was `_fp`")
        got += piece
    assert got == BODY
    assert response.raw.closed or response.raw.isclosed(), "the connection was to be given back"


@pytest.mark.parametrize("fault", [Fault(chunked=True), Fault(headers={"Content-Length": None})])
def test_any_other_body_is_read_piece_by_piece(fault_server: FaultServer, fault: Fault) -> None:
    """So is every body where the inside is not as it was: slower, but as it should be."""
    response = requests.get(fault_server.add("/a", BODY, fault), stream=True, timeout=60)
    read = transport.reader(response, 1 << 16, lambda: memoryview(bytearray(1 << 20)))
    pieces = list(iter(read, b""))
    assert all(isinstance(piece, bytes) and len(piece) <= 1 << 16 for piece in pieces)
    assert b"".join(pieces) == BODY


def test_a_body_of_an_unknown_kind_is_read_too(fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    response = requests.get(fault_server.add("/a", BODY), stream=True, timeout=60)
    if not hasattr(response.raw, "read1"):
        pytest.skip("urllib3 before 2.1 has no other way")
    monkeypatch.setattr(transport.http.client, "HTTPResponse", type("Another", (), {}))
    read = transport.reader(response, 1 << 16, lambda: memoryview(bytearray(1 << 20)))
    assert b"".join(iter(read, b"")) == BODY


@pytest.mark.parametrize("kind", [HTTPConnection, HTTPSConnection])
def test_a_connection_is_made_where_it_is_watched(kind: Any) -> None:
    assert callable(getattr(kind, "_new_conn", None)), WHAT_TO_DO.format(
        "find what makes the socket, before TLS and proxies: it was `_new_conn`"
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_address_is_refused_before_a_byte_is_sent(fault_server: FaultServer, scheme: str) -> None:
    guard = Guard(60.0)
    guard.public_only = True
    guard.foresee = lambda host, port: None  # type: ignore[method-assign]
    session = requests.Session()
    session.mount(f"{scheme}://", transport.GuardedAdapter(guard))
    with pytest.raises(RefusedAddressError):
        session.get(f"{scheme}://{fault_server.host}/a", timeout=60)
    assert not fault_server.requests, WHAT_TO_DO.format("nothing looks at addresses any more")


# --- names that do not resolve


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Hosts that were looked up; those that end with `.invalid` are unknown, those with `.test` for the moment."""
    real, asked = socket.getaddrinfo, []

    def getaddrinfo(host: Any, *args: Any, **more: Any) -> Any:
        asked.append(host)
        if host.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if host.endswith(".test"):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize(("host", "tries"), [("models.invalid", 1), ("models.test", 2)])
def test_a_host_that_cannot_be_resolved_is_told_within_two_seconds(
    ours: Settings, lookups: list[str], host: str, tries: int
) -> None:
    with labclock.events() as clock:
        with pytest.raises(TransferError, match=f"the name of the host {host} cannot be resolved") as caught:
            store.fetch([f"https://{host}/a.ckpt"], SHA, settings=ours)
        with pytest.raises(TransferError, match=f"the name of the host {host} cannot be resolved"):
            store.probe(f"https://{host}/a.ckpt", allow_private=True, settings=ours)
        assert clock.passed() < 4
        assert len(lookups) == 2 * tries
    for word in ("network", "HTTPS_PROXY", "MSHUB_ENDPOINT", "mshub cache add"):
        assert word in (caught.value.hint or "")


def test_a_look_up_that_took_long_is_not_tried_again(
    ours: Settings, lookups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = socket.getaddrinfo
    with labclock.events() as clock:

        def slow(*args: Any, **more: Any) -> Any:
            clock.sleep(10)
            return watched(*args, **more)

        monkeypatch.setattr(socket, "getaddrinfo", slow)
        with pytest.raises(TransferError, match="cannot be resolved"):
            store.fetch(["https://models.test/a.ckpt"], SHA, settings=ours)
    assert lookups == ["models.test"]


def test_mirrors_are_tried_when_a_host_cannot_be_resolved(
    fault_server: FaultServer, ours: Settings, lookups: list[str]
) -> None:
    urls = ["https://models.invalid/a", "https://models.test/a", fault_server.add("/a", BODY)]
    with labclock.events() as clock:
        assert store.fetch(urls, SHA, settings=ours).read_bytes() == BODY
        assert clock.passed() == 0
    assert lookups[:2] == ["models.invalid", "models.test"]


def test_an_unknown_proxy_is_told_as_such(ours: Settings, lookups: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:3128")
    with labclock.events(), pytest.raises(TransferError, match="the name of the proxy's host cannot be resolved"):
        store.fetch(["https://models.invalid/a"], SHA, settings=ours)
    assert lookups.count("proxy.invalid") == 1
