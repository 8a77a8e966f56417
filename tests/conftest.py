"""What every test gets: a home, settings and network of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from faultserver import fault_server  # noqa: F401 - a fixture for all tests
from hypothesis import HealthCheck, settings
from s3lab import moto, s3  # noqa: F401 - likewise

# No example fails, and none is refused, because the machine is busy.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_NETWORK = {
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
    "requests_ca_bundle",
    "curl_ca_bundle",
    "ssl_cert_file",
    "ssl_cert_dir",
    "netrc",
}


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the user's settings, cache or proxies."""
    for name in list(os.environ):
        if name.startswith("MSHUB_") or name.lower() in _NETWORK:
            monkeypatch.delenv(name)
    monkeypatch.setenv("MSHUB_HOME", str(tmp_path / "mshub-home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(params=["GRAPH_MODE", "PYNATIVE_MODE"])
def mode(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each of MindSpore's modes in turn; the one before is restored."""
    import mindspore

    before = mindspore.get_context("mode")
    mindspore.set_context(mode=getattr(mindspore, request.param))
    yield request.param
    mindspore.set_context(mode=before)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry, its size, for each cached file that is hashed."""
    from mshub_ssd.store import blobs

    told: list[int] = []
    real = blobs.read_fully

    def counting(stream: object) -> object:
        got = real(stream)
        told.append(got.size)
        return got

    monkeypatch.setattr(blobs, "read_fully", counting)
    return told
