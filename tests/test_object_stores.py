"""Object stores through fsspec, moto's server being S3: assets, folders, and what may go wrong."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import fsspec.registry  # noqa: F401 - some packages of it are hidden
import pytest
from commands import run
from faultserver import PATIENCE, FaultServer, noise
from s3lab import KEY_ID, S3, SECRET, Cut, Refuse, Silent

from mshub_ssd import store
from mshub_ssd.cards import parse_card
from mshub_ssd.errors import (
    CardError,
    IntegrityError,
    MissingDependencyError,
    MshubError,
    OfflineError,
    TransferError,
    UsageError,
)
from mshub_ssd.settings import Settings
from mshub_ssd.store.policy import override_policy

BODY = noise(9_000_000, seed=3)
SHA = hashlib.sha256(BODY).hexdigest()
SMALL = noise(50_000, seed=4)
SMALL_SHA = hashlib.sha256(SMALL).hexdigest()


@pytest.fixture
def ours(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture(autouse=True)
def hurry() -> Iterator[None]:
    with override_policy(backoff=0.01, longest_wait=0.02, attempts=3):
        yield


# --- assets


def test_an_asset_comes_verified_and_once(s3: S3, ours: Settings) -> None:
    url = s3.put("zoo/weights v1@a.ckpt", BODY)
    path = store.fetch([url], SHA, size=len(BODY), settings=ours)
    assert path.read_bytes() == BODY
    ranges = [one.range for one in s3.asked("GET")]
    assert len(ranges) >= 2
    assert all(ranges), "in pieces"
    seen = len(s3.requests)
    assert store.fetch([url], SHA, settings=ours) == path
    assert len(s3.requests) == seen


def test_wrong_bytes_are_refused_and_nothing_is_left(s3: S3, ours: Settings) -> None:
    url = s3.put("weights.ckpt", SMALL[:-1] + b"\0")
    with pytest.raises(IntegrityError) as caught:
        store.fetch([url], SMALL_SHA, settings=ours)
    assert url in str(caught.value)
    assert f"aws s3 cp {url} - | sha256sum" in str(caught.value)
    assert store.cached([url], SMALL_SHA, ours) is None
    assert not list(ours.home.rglob("*.part"))
    # A good one beside it will do.
    good = s3.put("good.ckpt", SMALL)
    assert store.fetch([url, good], SMALL_SHA, settings=ours).read_bytes() == SMALL


def test_more_bytes_than_promised_are_not_taken(s3: S3, ours: Settings) -> None:
    url = s3.put("weights.ckpt", SMALL)
    with pytest.raises(IntegrityError):
        store.fetch([url], SMALL_SHA, size=100, settings=ours)
    with pytest.raises(TransferError, match="allowed"):
        store.fetch([url], SMALL_SHA, max_bytes=100, settings=ours)


def test_a_cut_connection_is_resumed(s3: S3, ours: Settings) -> None:
    url = s3.put("weights.ckpt", BODY)
    s3.faults["weights.ckpt"] = [Cut(1_000_000), Cut(500_000)]
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    starts = [int(str(one.range).removeprefix("bytes=").partition("-")[0]) for one in s3.asked("GET")]
    assert starts == sorted(starts)
    assert starts[-1] > 0


def test_what_has_arrived_is_gone_on_with_by_the_next_process(s3: S3, ours: Settings) -> None:
    url = s3.put("weights.ckpt", BODY)
    s3.faults["weights.ckpt"] = [None, *[Refuse(503, "SlowDown")]]
    with pytest.raises(TransferError, match="SlowDown") as caught:
        store.fetch([url], SHA, settings=ours)
    assert "are kept" in str(caught.value)
    seen = len(s3.asked("GET"))
    s3.faults.clear()
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert s3.asked("GET")[seen].range.startswith("bytes=4194304-")  # type: ignore[union-attr]


def test_a_process_that_was_killed_leaves_what_it_had(s3: S3, ours: Settings) -> None:
    url, until = s3.put("weights.ckpt", BODY), threading.Event()
    s3.faults["weights.ckpt"] = [None, Silent(until)]
    fork = multiprocessing.get_context("fork")
    child = fork.Process(target=store.fetch, args=([url], SHA), kwargs={"settings": ours})
    child.start()
    while len(s3.asked("GET")) < 2:
        assert child.exitcode is None
        time.sleep(0.02)
    child.kill()
    child.join(PATIENCE)
    until.set()
    assert store.cached([url], SHA, ours) is None
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert s3.asked("GET")[2].range.startswith("bytes=4194304-")  # type: ignore[union-attr]


def test_another_file_in_its_place_is_not_mixed_with_the_beginning_of_this_one(s3: S3, ours: Settings) -> None:
    url = s3.put("weights.ckpt", noise(len(BODY), seed=9))
    s3.faults["weights.ckpt"] = [None, Refuse(503, "SlowDown")]
    with pytest.raises(TransferError):
        store.fetch([url], SHA, settings=ours)
    s3.faults.clear()
    s3.put("weights.ckpt", BODY)
    seen = len(s3.asked("GET"))
    assert store.fetch([url], SHA, settings=ours).read_bytes() == BODY
    assert s3.asked("GET")[seen].range.startswith("bytes=0-")  # type: ignore[union-attr]


def test_several_connections(s3: S3, ours: Settings) -> None:
    url = s3.put("weights.ckpt", BODY)
    with override_policy(segment=1 << 20):
        path = store.fetch([url], SHA, settings=replace(ours, connections=4))
    assert path.read_bytes() == BODY
    assert len(s3.asked("GET")) > 5


def test_a_store_that_falls_silent_is_given_up(s3: S3, ours: Settings) -> None:
    url = s3.put("weights.ckpt", SMALL)
    until = threading.Event()
    s3.faults["weights.ckpt"] = [Silent(until) for _ in range(9)]
    try:
        with override_policy(answer=0.3, attempts=2), pytest.raises(TransferError, match="too long to answer"):
            store.fetch([url], SMALL_SHA, settings=ours)
    finally:
        until.set()


def test_offline_asks_nobody(s3: S3, ours: Settings) -> None:
    url = s3.put("weights.ckpt", SMALL)
    with pytest.raises(OfflineError):
        store.fetch([url], SMALL_SHA, settings=replace(ours, offline=True))
    with pytest.raises(OfflineError):
        store.listing(s3.url, settings=replace(ours, offline=True))
    assert s3.requests == []
    path = store.fetch([url], SMALL_SHA, settings=ours)
    assert store.fetch([url], SMALL_SHA, settings=replace(ours, offline=True)) == path


def test_a_mirror_may_be_a_bucket_and_a_bucket_may_be_mirrored(
    s3: S3, ours: Settings, fault_server: FaultServer
) -> None:
    s3.put("mirror/files.example/a/w.ckpt", SMALL)
    chosen = replace(ours, endpoint=f"{s3.url}/mirror")
    assert store.fetch(["https://files.example/a/w.ckpt"], SMALL_SHA, settings=chosen).read_bytes() == SMALL
    fault_server.add("/m/s3/models/a%20b.ckpt", BODY)
    chosen = replace(ours, endpoint=f"{fault_server.base}/m")
    assert store.fetch(["s3://models/a b.ckpt"], SHA, settings=chosen).read_bytes() == BODY


def test_threads_and_forks_may_ask_as_well(s3: S3, ours: Settings) -> None:
    urls = [s3.put(f"{number}.ckpt", bytes([number]) * 1000) for number in range(8)]
    digests = [hashlib.sha256(bytes([number]) * 1000).hexdigest() for number in range(8)]
    wanted = [store.FileRequest([url], digest) for url, digest in zip(urls[:6], digests, strict=False)]
    assert all(isinstance(found, Path) for found in store.fetch_many(wanted, settings=ours))
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda url: store.exists(url, settings=ours), urls))
    fork = multiprocessing.get_context("fork")
    child = fork.Process(target=store.fetch, args=([urls[7]], digests[7]), kwargs={"settings": ours})
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert store.cached([urls[7]], digests[7], ours)


# --- refusals


def test_what_is_missing_or_forbidden_is_told_with_what_to_do(s3: S3, ours: Settings) -> None:
    url = s3.put("secret.ckpt", SMALL)

    def refusal(url: str) -> TransferError:
        with pytest.raises(TransferError) as caught:
            store.fetch([url], SMALL_SHA, settings=ours)
        assert caught.value.where == url
        return caught.value

    missing = refusal(f"{s3.url}/zoo/nothing.ckpt")
    assert missing.got == "there is no such file"
    assert f"aws s3 ls {s3.url}/zoo/" in str(missing.hint)
    assert refusal("s3://no-such-bucket-here/a.ckpt").got == "there is no such bucket"
    s3.put("folder/x", b"x")
    assert "folder" in str(refusal(f"{s3.url}/folder").got)
    s3.faults["HEAD secret.ckpt"] = [Refuse(403, "AccessDenied")]
    denied = refusal(url)
    assert denied.got == "access is denied"
    assert "AWS_PROFILE" in str(denied.hint)
    del s3.faults["HEAD secret.ckpt"]
    s3.faults["secret.ckpt"] = [Refuse(403, "InvalidAccessKeyId")]
    assert "InvalidAccessKeyId" in str(refusal(url).got)


def test_nobody_to_ask_as_and_nobody_to_ask(s3: S3, ours: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    url = s3.put("w.ckpt", SMALL)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(TransferError, match="connection failed") as refused:
        store.fetch([url], SMALL_SHA, settings=ours)
    assert "AWS_ENDPOINT_URL" in str(refused.value.hint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(TransferError, match="no credentials") as nobody:
        store.fetch([url], SMALL_SHA, settings=ours)
    assert "AWS_PROFILE" in str(nobody.value.hint)
    # Whoever is known again may go on.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert store.fetch([url], SMALL_SHA, settings=ours).read_bytes() == SMALL


@pytest.mark.parametrize(
    "url",
    [
        f"s3://{KEY_ID}:{SECRET}@bucket/key",
        "s3://S3CR3T@bucket/key",
        "s3://u:S3CR3T/x@bucket/key",
        "gs://u:S3CR3T@bucket/key",
        "abfs://u:S3CR3T@account.dfs.core.windows.net/key",
        "hdfs://u:S3CR3T@host:8020/key",
    ],
)
def test_credentials_in_an_address_are_refused_and_shown_nowhere(
    url: str, ours: Settings, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    told = []
    for ask in (
        lambda: store.fetch([url], SMALL_SHA, settings=ours),
        lambda: store.probe(url, settings=ours),
        lambda: store.listing(url, settings=ours),
        lambda: store.fetch(["https://a.example/x"], SMALL_SHA, settings=replace(ours, endpoint=url)),
        lambda: _card(url).resolve(_card(url).assets[0]),
    ):
        with pytest.raises((TransferError, UsageError, CardError), match="user or password") as caught:
            ask()
        told.append(f"{caught.value} {caught.value.to_dict()} {caught.value!r}")
    monkeypatch.setenv("MSHUB_REGISTRY", url)
    for arguments in (["list"], ["list", "--json"], ["registry", "add", "lab", url]):
        done = run(*arguments, *(["--verbose"] if arguments[0] == "list" else []))
        told.append(done.output)
    text = "\n".join([*told, caplog.text, *map(str, tmp_path.rglob("*"))])
    assert "S3CR3T" not in text
    assert SECRET not in text


def test_credentials_of_the_environment_are_shown_nowhere(
    s3: S3, ours: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="mshub_ssd")
    url = s3.put("w.ckpt", SMALL)
    s3.faults["HEAD no.ckpt"] = [Refuse(403, "SignatureDoesNotMatch")]
    told = []
    for bad in (f"{s3.url}/no.ckpt", f"{s3.url}/none.ckpt", "s3://no-such-bucket-here/x"):
        with pytest.raises(TransferError) as caught:
            store.fetch([bad], SMALL_SHA, settings=ours)
        told += [str(caught.value), repr(caught.value.__cause__), repr(caught.value.__context__)]
    store.fetch([url], SMALL_SHA, settings=ours)
    kept = "".join(f"{path} {path.read_bytes()!r}" for path in ours.home.rglob("*") if path.is_file())
    for secret in (KEY_ID, SECRET):
        assert secret not in caplog.text + "".join(told) + kept


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "local:///etc/passwd", "zip://x", "simplecache://s3", "git://x", "dir://x"]
)
def test_no_scheme_leads_around_the_rules_for_files(url: str, ours: Settings, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="is not one this library downloads from"):
        store.fetch([url], SMALL_SHA, settings=ours)
    with pytest.raises(TransferError, match="is not one this library downloads from"):
        store.probe(url, settings=ours)
    with pytest.raises(CardError, match="has the scheme"):
        _card(url).resolve(_card(url).assets[0])


def test_a_card_may_name_known_stores_and_no_others(ours: Settings) -> None:
    for url in ("s3://b/k", "gs://b/k", "abfs://c@a.dfs.core.windows.net/k", "hdfs://host:8020/k", "hf://o/r/f"):
        assert _card(url).resolve(_card(url).assets[0]) == url
    for url in ("memory://b/k", "ftp://b/k", "sftp://b/k", "s3://b", "s3://b/d/", "s3:///k"):
        with pytest.raises(CardError):
            _card(url).resolve(_card(url).assets[0])
    with pytest.raises(TransferError, match="is not one this library downloads from"):
        store.fetch(["ftp://b/k"], SMALL_SHA, settings=ours)


def test_what_is_not_installed_is_named(ours: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingDependencyError, match="gcsfs") as caught:
        store.fetch(["gs://b/k"], SMALL_SHA, settings=ours)
    assert caught.value.hint == "pip install fsspec gcsfs"
    with pytest.raises(TransferError, match="knows no scheme nowhere"):
        store.probe("nowhere://b/k", settings=ours)
    for missing in ("s3fs", "fsspec"):
        monkeypatch.setitem(sys.modules, missing, None)
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
        with pytest.raises(MissingDependencyError, match=missing) as caught:
            store.fetch(["s3://b/k"], SMALL_SHA, settings=ours)
        assert caught.value.hint == "pip install 'mshub_ssd[fsspec]'"


def _card(link: str) -> object:
    text = f"# net\n\n---\nmodel-name: net\nasset:\n- asset-link: {link}\n  asset-sha256: {SMALL_SHA}\n---\n"
    return parse_card(text.encode(), uid="lab/1.0/net")


# --- cards that name such assets


def test_a_card_with_such_an_asset_is_sound_and_fetched(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = s3.put("net.ckpt", SMALL)
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "cards"))
    (tmp_path / "cards" / "lab").mkdir(parents=True)
    (tmp_path / "cards" / "lab" / "net.md").write_text(
        f"# net\n\n---\nmodel-name: net\nasset:\n- file-format: ckpt\n  asset-link: {url}\n"
        f"  asset-sha256: {SMALL_SHA}\n  asset-size: {len(SMALL)}\n---\n"
    )
    done = run("fetch", "lab/net", "--json")
    assert done.exit_code == 0, done.output
    assert SECRET not in done.output
    done = run("validate", tmp_path / "cards", "--online", "--deep", "--select", "MC029,MC030,MC050,MC051,MC052")
    assert done.exit_code == 0, done.output
    s3.remove("net.ckpt")
    done = run("validate", tmp_path / "cards", "--online", "--select", "MC050")
    assert "dead: the host answers 404 Not Found" in done.output
    # What this machine cannot ask is no fault of the card's.
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    done = run("validate", tmp_path / "cards", "--online", "--select", "MC050")
    assert "could not be checked: there are no credentials" in done.output
    monkeypatch.setitem(sys.modules, "fsspec", None)
    done = run("validate", tmp_path / "cards", "--online", "--select", "MC050")
    assert "mshub_ssd[fsspec]" in done.output


# --- folders


def test_listing_and_patterns(s3: S3, ours: Settings) -> None:
    for key in ("a/2.jpg", "a/10.jpg", "a/b/3.jpg", "a/notes.txt", "a/", "ab.jpg"):
        s3.put(key, key)
    assert [one.url for one in store.listing(f"{s3.url}/a", settings=ours)] == [
        f"{s3.url}/a/{name}" for name in ("10.jpg", "2.jpg", "b/3.jpg", "notes.txt")
    ]
    assert all(one.stamp and one.size for one in store.listing(s3.url, settings=ours))
    assert set(store.files_at(f"{s3.url}/a/", settings=ours) or ()) == {
        f"{s3.url}/a/{name}" for name in ("10.jpg", "2.jpg", "notes.txt")
    }
    assert store.files_at(f"{s3.url}/a/2.jpg", settings=ours) is None
    assert store.files_at(f"{s3.url}/a/**/*.jpg", settings=ours) == [
        f"{s3.url}/a/{name}" for name in ("10.jpg", "2.jpg", "b/3.jpg")
    ]
    assert store.listing(f"{s3.url}/none", settings=ours) == []
    with pytest.raises(MshubError, match=r"asked") as caught:
        store.listing("s3://no-such-bucket-here", settings=ours)
    assert caught.value.got == "there is no such bucket"


def test_small_files_come_by_one_question(s3: S3, ours: Settings) -> None:
    url, empty = s3.put("a.bin", SMALL), s3.put("empty", b"")
    assert store.read_file(url, len(SMALL), settings=ours) == SMALL
    assert len(s3.requests) == 1
    assert store.read_file(empty, 10, settings=ours) == b""
    with pytest.raises(TransferError, match="more than the 100 bytes allowed"):
        store.read_file(url, 100, settings=ours)


def test_files_are_written_whole(s3: S3, ours: Settings) -> None:
    url = f"{s3.url}/out/a.bin"
    assert store.exists(url, settings=ours) is None
    store.write_file(url, SMALL, settings=ours)
    assert s3.get("out/a.bin") == SMALL
    assert store.exists(url, settings=ours).size == len(SMALL)  # type: ignore[union-attr]
    store.remove_file(url, settings=ours)
    store.remove_file(url, settings=ours)
    assert s3.names() == []
    s3.faults["PUT out/a.bin"] = [Refuse(403, "AccessDenied")]
    with pytest.raises(TransferError) as caught:
        store.write_file(url, SMALL, settings=ours)
    assert caught.value.got == "access is denied (AccessDenied)"
