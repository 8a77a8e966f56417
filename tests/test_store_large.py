"""Large downloads, whose bytes are hashed in a thread while the next ones come in."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import labclock
import pytest
from faultserver import Fault, FaultServer, noise
from hypothesis import given
from hypothesis import strategies as st
from storelab import QUICK

from mshub_ssd import store
from mshub_ssd.errors import IntegrityError, TransferError
from mshub_ssd.settings import Settings
from mshub_ssd.store import digests, transfer
from mshub_ssd.store.digests import BUFFER, Hasher

BODY = noise(40 << 20)
SHA = hashlib.sha256(BODY).hexdigest()
THREAD = "mshub-sha256"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Where server and client are slow, pieces are small; they shall go the way of large ones all the same.
    monkeypatch.setattr(digests, "_LARGE", 1 << 14)
    with transfer.override_policy(**{**QUICK, "max_bytes": 1 << 30}), labclock.events():
        yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(THREAD)], "no thread stays behind"


@pytest.fixture
def ours(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "cache", connections=1)


def test_every_byte_counts(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY)
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    for place in (0, BUFFER - 1, 13_000_001, len(BODY) - 1):
        url = fault_server.add("/a", BODY, then=Fault(flip_bit=8 * place))
        with pytest.raises(IntegrityError) as caught:
            store.fetch([url], SHA, settings=ours, force=True)
        assert str(len(BODY)) in str(caught.value)


def test_a_cut_costs_what_was_under_way(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY, Fault(cut_after=30_000_000), then=Fault(status=404))
    with pytest.raises(TransferError, match="30000000 bytes"):
        store.fetch([url], SHA, settings=ours)
    fault_server.add("/a", BODY)
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert fault_server.requests[-1].headers["range"] == "bytes=30000000-"


def test_the_connection_is_used_again_for_the_second_chance(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY, Fault(flip_bit=7))
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert (len(fault_server.requests), fault_server.connections) == (2, 1)


def test_without_another_thread_it_is_hashed_in_line(
    fault_server: FaultServer, ours: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = []
    start = threading.Thread.start

    def full(self: threading.Thread) -> None:
        if self.name.startswith(THREAD):
            refused.append(self.name)
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", full)
    url = fault_server.add("/a", BODY)
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert refused, "it was wanted"


@given(sizes=st.lists(st.sampled_from([1, 1000, 600_000, BUFFER]), max_size=12), foreign=st.integers(0, 12))
def test_buffers_may_be_filled_again_as_soon_as_they_are_handed_out(sizes: list[int], foreign: int) -> None:
    hasher, expected, random_ = Hasher(), hashlib.sha256(), random.Random(1)
    for index, size in enumerate(sizes):
        view = hasher.buffer()
        view[:] = bytes([random_.randrange(256)]) * len(view)
        expected.update(view[:size])
        if index == foreign:  # memory of the caller's own, changed at once
            own = bytearray(view[:size])
            hasher.update(own)
            own[:] = bytes(size)
        else:
            hasher.update(view[:size])
        if index % 5 == 4:
            assert hasher.hexdigest() == expected.copy().hexdigest()
    assert hasher.hexdigest() == expected.hexdigest()
    hasher.close()
