"""The store against servers that go wrong: retries, resuming, redirects, mirrors, secrets, TLS."""

from __future__ import annotations

import email.utils
import hashlib
import logging
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import labclock
import pytest
from faultserver import GOOD, HTML, Fault, FaultServer, nobody, noise
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from test_store import BODY, IMPATIENT, SHA, nothing_to_trust

from mshub_ssd import store
from mshub_ssd.errors import IntegrityError, MshubError, TransferError
from mshub_ssd.settings import Settings
from mshub_ssd.store import transfer

TOKEN = "planted-t0ken-5up3r53cr3t"


@pytest.fixture(autouse=True)
def clock() -> Iterator[labclock.Clock]:
    with transfer.override_policy(**IMPATIENT), labclock.events() as clock:
        yield clock


@pytest.fixture
def ours(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "cache")


# --- "Done when": one of our errors each time, and nothing left that a later call would trust


@pytest.mark.parametrize(
    ("fault", "digest", "size", "kind", "words"),
    [
        (Fault(flip_bit=777), SHA, None, IntegrityError, "not those the card promises"),
        (Fault(truncate=200_000), SHA, len(BODY), IntegrityError, "truncated, 100000 bytes are missing"),
        (Fault(truncate=200_000), SHA, None, IntegrityError, "200000 bytes"),
        (GOOD, SHA[::-1], None, IntegrityError, SHA[::-1]),
        (Fault(redirect="/x"), SHA, None, TransferError, "redirect loop"),
        (Fault(cut_after=150_000, ignore_range=True), SHA, None, TransferError, "cut short after"),
        (Fault(cut_after=150_000, headers={"Content-Length": None}), SHA, None, IntegrityError, "150000 bytes"),
        (Fault(cut_after=150_000, chunked=True, ignore_range=True), SHA, None, TransferError, "cut short"),
        (Fault(cut_after=150_000, reset=True, ignore_range=True), SHA, None, TransferError, "reset by peer"),
        (
            Fault(cut_after=150_000, headers={"Content-Length": "-5"}, ignore_range=True),
            SHA,
            len(BODY),
            TransferError,
            "150000 of",
        ),
        (Fault(headers={"Content-Length": "299000"}), SHA, None, IntegrityError, "299000"),
        (Fault(hang_up=True), SHA, None, TransferError, "without an answer"),
        (Fault(hang_up=True, reset=True), SHA, None, TransferError, "reset by peer"),
        (Fault(stall_after=150_000, ignore_range=True), SHA, None, TransferError, "stopped sending"),
        (Fault(status=500), SHA, None, TransferError, "500 Internal Server Error"),
        (Fault(status=404), SHA, None, TransferError, "404 Not Found"),
        (Fault(status=204), SHA, None, TransferError, "204"),
        (Fault(status=206, body=BODY), SHA, None, TransferError, "206"),
        (Fault(status=302), SHA, None, TransferError, "302"),
        (Fault(gzip=True), SHA, None, TransferError, "gzip"),
        (Fault(body=HTML), SHA, None, IntegrityError, "HTML page"),
        (Fault(body=b""), SHA, None, IntegrityError, "the body was empty"),
        (Fault(body=b"version https://git-lfs.github.com/spec/v1\n"), SHA, None, IntegrityError, "Git LFS"),
        (Fault(infinite=True), SHA, len(BODY), IntegrityError, "more bytes than promised"),
        (Fault(body=BODY + b"x"), SHA, len(BODY), IntegrityError, "more bytes than promised"),
        (Fault(redirect="file:///etc/passwd"), SHA, None, TransferError, "scheme file"),
        (Fault(redirect="http://[broken/"), SHA, None, TransferError, "redirect"),
        (Fault(redirect="http://:80/x"), SHA, None, TransferError, "redirect"),
    ],
)
def test_whatever_goes_wrong_is_our_error_twice_and_leaves_nothing(
    fault_server: FaultServer,
    ours: Settings,
    fault: Fault,
    digest: str,
    size: int | None,
    kind: type[MshubError],
    words: str,
) -> None:
    url = fault_server.add("/x", BODY, then=fault)
    for _ in range(2):
        with pytest.raises(kind) as caught:
            store.fetch([url], digest, size=size, settings=ours)
        assert type(caught.value) is kind
        assert words in str(caught.value)
        assert url in str(caught.value)
        assert caught.value.hint
        assert nothing_to_trust(ours)
        assert store.cached([url], digest, ours) is None
    fault_server.add("/x", BODY)
    if digest == SHA:
        assert store.fetch([url], digest, settings=ours).read_bytes() == BODY


def test_nobody_listens(ours: Settings) -> None:
    with nobody() as base:
        for _ in range(2):
            with pytest.raises(TransferError, match="Connection refused"):
                store.fetch([f"{base}/x"], SHA, settings=ours)
            assert nothing_to_trust(ours)


def test_a_body_without_end_meets_the_cap(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY, then=Fault(infinite=True))
    with transfer.override_policy(max_bytes=200_000):
        for fault in (Fault(infinite=True), GOOD):
            fault_server.add("/a", BODY, then=fault)
            with pytest.raises(TransferError, match="200000 bytes"):
                store.fetch([url], SHA, settings=ours)
            assert nothing_to_trust(ours)
    assert len(fault_server.requests) == 2


FAULTS = st.builds(
    Fault,
    status=st.sampled_from([None] * 12 + [206, 301, 400, 408, 416, 429, 503]),
    headers=st.sampled_from(
        [{}] * 4 + [{"Content-Length": v} for v in (None, "-1", "10", "99999", "9" * 30)] + [{"ETag": '"other"'}]
    ),
    body=st.sampled_from([None] * 5 + [b"", HTML]),
    cut_after=st.none() | st.integers(0, 9000),
    reset=st.booleans(),
    hang_up=st.sampled_from([False] * 9 + [True]),
    flip_bit=st.none() | st.integers(0, 10**6),
    truncate=st.none() | st.integers(0, 9000),
    ignore_range=st.booleans(),
    content_range=st.none() | st.sampled_from(["bytes 0-8999/9000", "bytes 5-5/9", "bytes */9000", "x"]),
    gzip=st.sampled_from([False] * 9 + [True]),
    chunked=st.booleans(),
)


@pytest.fixture(scope="module")
def shared_server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@hypothesis_settings(max_examples=60)
@given(
    scripts=st.lists(st.lists(FAULTS, max_size=4), min_size=1, max_size=2),
    then=st.sampled_from([GOOD, GOOD, Fault(flip_bit=1), Fault(hang_up=True)]),
    size=st.sampled_from([None, 9000, 100]),
)
def test_any_script_of_faults_ends_in_the_right_file_or_our_error(
    shared_server: FaultServer, scripts: list[list[Fault]], then: Fault, size: int | None
) -> None:
    body = noise(9000, seed=2)
    digest = hashlib.sha256(body).hexdigest()
    with tempfile.TemporaryDirectory() as folder:
        ours = Settings(home=Path(folder))
        urls = [shared_server.add(f"/h{n}", body, *script, then=then) for n, script in enumerate(scripts)]
        for _ in range(2):
            try:
                path = store.fetch(urls, digest, size=size, settings=ours)
            except (IntegrityError, TransferError):
                assert nothing_to_trust(ours)
            else:
                assert path.read_bytes() == body
                assert not list((ours.home / "v1" / "tmp").iterdir())


# --- retries, resuming, redirects, mirrors


def test_a_broken_download_resumes_where_it_stopped(fault_server: FaultServer, ours: Settings) -> None:
    cuts = [Fault(cut_after=100_000), Fault(cut_after=50_000, reset=True), Fault(stall_after=60_000), Fault(status=503)]
    url = fault_server.add("/a", BODY, *cuts)
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    asked = [request.headers.get("range") for request in fault_server.requests]
    assert asked == [None, "bytes=100000-", "bytes=150000-", "bytes=210000-", "bytes=210000-"]
    assert fault_server.requests[1].headers["if-range"].startswith('"')


@pytest.mark.parametrize(
    "second",
    [
        Fault(ignore_range=True),
        Fault(content_range="bytes 5-299999/300000"),
        Fault(content_range="bytes 100000-299999/400000"),
        Fault(content_range="nonsense"),
        Fault(status=416),
        Fault(status=416, headers={"Content-Range": "bytes */77"}),
        Fault(flip_bit=2_000_000),
    ],
)
def test_a_wrong_answer_to_a_range_begins_again(
    fault_server: FaultServer, ours: Settings, caplog: pytest.LogCaptureFixture, second: Fault
) -> None:
    caplog.set_level(logging.INFO, logger="mshub_ssd")
    url = fault_server.add("/a", BODY, Fault(cut_after=100_000), second)
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert len(fault_server.requests) <= 4
    if second.content_range:
        assert "another range" in caplog.text, "found out by the offset, not only by the digest"


def test_a_file_that_changes_between_two_attempts_is_begun_again(fault_server: FaultServer, ours: Settings) -> None:
    old = Fault(cut_after=100_000, body=noise(300_000, seed=9), headers={"ETag": '"old"'})
    url = fault_server.add("/a", BODY, old)
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert fault_server.requests[1].headers["if-range"] == '"old"'
    assert len(fault_server.requests) == 2


def test_all_bytes_are_enough_whatever_length_was_promised(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY, Fault(headers={"Content-Length": "300009"}, cut_after=300_000))
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert len(fault_server.requests) == 1


def test_416_after_all_bytes_arrived_is_the_end(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY, Fault(headers={"Content-Length": "300009"}, cut_after=300_000))
    assert store.fetch([url], SHA[:12], settings=ours).read_bytes() == BODY
    assert fault_server.requests[1].headers["range"] == "bytes=300000-"


def test_attempts_without_progress_are_counted(fault_server: FaultServer, ours: Settings) -> None:
    url = fault_server.add("/a", BODY, then=Fault(cut_after=10))
    with pytest.raises(TransferError, match="5 attempts without progress"):
        store.fetch([url], SHA, settings=ours)
    assert len(fault_server.requests) == 5, "10 bytes a time are no progress"
    fault_server.requests.clear()
    fault_server.add("/a", BODY, then=Fault(cut_after=20_000))
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert len(fault_server.requests) == 15


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_a_refusal_is_not_repeated(fault_server: FaultServer, ours: Settings, status: int) -> None:
    url = fault_server.add("/a", BODY, then=Fault(status=status))
    with pytest.raises(TransferError, match=str(status)):
        store.fetch([url], SHA, settings=ours)
    assert len(fault_server.requests) == 1


@pytest.mark.parametrize("form", ["7", "date", "garbage", "121"])
def test_retry_after_is_honoured_and_capped(
    fault_server: FaultServer, ours: Settings, clock: labclock.Clock, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    text = email.utils.formatdate(time.time() + 9, usegmt=True) if form == "date" else form
    url = fault_server.add("/a", BODY, Fault(status=429, headers={"Retry-After": text}))
    if form == "121":
        with pytest.raises(TransferError, match="121 seconds"):
            store.fetch([url], SHA, settings=ours)
        assert not clock.pauses
        return
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    (pause,) = clock.pauses
    least = {"7": 7, "date": 9, "garbage": 0}[form]
    assert least <= pause <= least + 0.1


def test_redirects_are_followed_five_times(fault_server: FaultServer, ours: Settings) -> None:
    for number in range(6):
        fault_server.add(f"/r{number}", b"", then=Fault(redirect=f"/r{number + 1}", infinite=number == 3))
    fault_server.add("/r6", BODY)
    url = fault_server.base
    assert store.fetch([f"{url}/r1"], SHA, settings=ours).read_bytes() == BODY
    with pytest.raises(TransferError, match="more than 5 redirects") as caught:
        store.fetch([f"{url}/r0"], SHA, force=True, settings=ours)
    assert f"{url}/r0 -> {url}/r1 -> {url}/r2" in str(caught.value)


def test_mirrors_are_tried_in_order_and_the_endpoint_first(fault_server: FaultServer, ours: Settings) -> None:
    first = fault_server.add("/first", BODY, then=Fault(status=404))
    second = fault_server.add("/second", BODY)
    mirrored = replace(ours, endpoint=f"{fault_server.base}/mirror/")
    path = store.fetch([first, second], SHA, settings=mirrored)
    assert path.read_bytes() == BODY
    local = fault_server.host
    asked = [request.path for request in fault_server.requests]
    assert asked == [f"/mirror/{local}/first", f"/mirror/{local}/second", "/first", "/second"]

    fault_server.requests.clear()
    with FaultServer() as other:
        last = other.add("/last", BODY, then=Fault(status=403))
        bad = fault_server.add("/bad", BODY, then=Fault(flip_bit=3))
        with pytest.raises(IntegrityError) as caught:
            store.fetch([bad, last], SHA, force=True, settings=ours)
    assert [request.path for request in fault_server.requests] == ["/bad", "/bad"], "one clean second chance"
    assert f"{last}: the server answered 403 Forbidden" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *["ftp://h/x", "file:///etc/passwd", "data:,x", "javascript:0", "sftp://b/k", "C:\\x", "//h/x", "x", ""],
        *["http://", "http://[::1", "http://h:99999/x", "http://127.0.0.1:0/x", "http://a b/", "http://.../x"],
        *["http://*/x", "http://\udcff/", f"http://{'a' * 70}/"],
    ],
)
def test_odd_urls_are_our_errors(ours: Settings, url: str) -> None:
    with pytest.raises(TransferError) as caught:
        store.fetch([url], SHA, settings=ours)
    if url.startswith(("ftp", "file", "data", "sftp", "javascript")):
        assert url.partition(":")[0] in caught.value.message
    assert nothing_to_trust(ours)


def test_no_url_at_all(ours: Settings) -> None:
    with pytest.raises(TransferError, match="asset-link"):
        store.fetch([], SHA, settings=ours)


# --- secrets and TLS


def told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))


def test_the_token_reaches_its_own_host_only_and_no_message(
    fault_server: FaultServer, ours: Settings, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    host = fault_server.host
    with FaultServer() as foreign:
        away = foreign.add("/away", BODY)
        secret = replace(ours, endpoint=f"{fault_server.base}/m", token=TOKEN)
        fault_server.add(f"/m/{foreign.host}/a", BODY, Fault(redirect="/m/near"), then=Fault(status=500))
        fault_server.add("/m/near", BODY, Fault(redirect=away))
        store.fetch([f"{foreign.base}/a"], SHA, settings=secret)
        assert [request.headers.get("authorization") for request in fault_server.requests] == [f"Bearer {TOKEN}"] * 2
        assert len(foreign.requests) == 1

        # By way of a foreign host nobody gets it, not even its own host.
        fault_server.requests.clear()
        foreign.add("/back", BODY, then=Fault(redirect=f"{fault_server.base}/home"))
        fault_server.add("/home", BODY, then=Fault(status=403))
        for fault in (Fault(status=500), Fault(flip_bit=1), Fault(redirect="ftp://x/"), Fault(hang_up=True)):
            fault_server.add(f"/m/{foreign.host}/back", BODY, then=fault)
            with pytest.raises(MshubError) as caught:
                store.fetch([f"{foreign.base}/back"], SHA, force=True, settings=secret)
            assert TOKEN not in told(caught.value)
        home = fault_server.seen("/home")
        assert home
        assert all("authorization" not in request.headers for request in [*home, *foreign.requests])
        assert all(TOKEN not in str(request) for request in foreign.requests)
        store.fetch([fault_server.add("/m/direct", BODY)], SHA, force=True, settings=secret)
        assert fault_server.seen("/m/direct")[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert host in caplog.text, "nothing was logged, so nothing was proved"
    assert TOKEN not in caplog.text + "".join(capfd.readouterr())
    with pytest.raises(TransferError) as caught:
        store.fetch([f"{fault_server.base}/x"], SHA, force=True, settings=replace(secret, token=f"{TOKEN}\n€"))
    assert TOKEN not in told(caught.value)


def test_userinfo_and_query_of_a_url_are_used_but_never_shown(
    fault_server: FaultServer, ours: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="mshub_ssd")
    fault_server.add("/a", BODY, Fault(status=503), Fault(redirect="/b?sig=s3cret"))
    fault_server.add("/b", BODY, then=Fault(status=403))
    url = f"http://user:{TOKEN}@{fault_server.host}/a?key=s3cret#s3cret"
    with pytest.raises(TransferError) as caught:
        store.fetch([url], SHA, settings=ours)
    assert all(request.headers["authorization"].startswith("Basic ") for request in fault_server.requests)
    assert fault_server.requests[0].path == "/a?key=s3cret"
    text = told(caught.value) + caplog.text
    assert f"{fault_server.base}/a?..." in text
    assert TOKEN not in text
    assert "s3cret" not in text
    with nobody() as base:
        dead = base.replace("//", f"//user:{TOKEN}@") + "/a?key=s3cret"
        with pytest.raises(TransferError) as caught:
            store.fetch([dead], SHA, settings=ours)
    assert TOKEN not in told(caught.value)
    assert "s3cret" not in told(caught.value)


def test_netrc_is_left_alone(
    fault_server: FaultServer, ours: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\ndefault login me password mine\n")
    monkeypatch.setenv("NETRC", str(netrc))
    fault_server.add("/b", BODY)
    store.fetch([fault_server.add("/a", BODY, Fault(redirect="/b"))], SHA, settings=ours)
    assert [request.headers.get("authorization") for request in fault_server.requests] == [None, None]


def test_a_proxy_is_used(fault_server: FaultServer, ours: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", fault_server.base)
    fault_server.add("http://files.invalid/a", BODY)
    assert store.fetch(["http://files.invalid/a"], SHA, settings=ours).read_bytes() == BODY


def test_tls_needs_a_certificate_and_is_never_left(
    fault_server: FaultServer, ours: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trustme = pytest.importorskip("trustme")
    import ssl

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    plain = fault_server.add("/plain", BODY)
    with FaultServer(tls=context) as safe:
        url = safe.add("/a", BODY)
        with pytest.raises(TransferError, match="certificate is refused"):
            store.fetch([url], SHA, settings=ours)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
        safe.add("/a", BODY, then=Fault(redirect=plain))
        with pytest.raises(TransferError, match="leaves https for http"):
            store.fetch([url], SHA, force=True, settings=ours)
        assert not fault_server.requests
        up = fault_server.add("/up", b"", then=Fault(redirect=safe.add("/ok", BODY)))
        assert store.fetch([up], SHA, force=True, settings=ours).read_bytes() == BODY
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
        with pytest.raises(TransferError, match=r"none\.pem"):
            store.fetch([url], SHA, force=True, settings=ours)
