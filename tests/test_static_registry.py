"""The static form of a registry: what is built, what is read of it, and what a server cannot do to a reader."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from commands import SOURCE, answer, run
from faultserver import HTML, Fault, FaultServer

from mshub_ssd.errors import IntegrityError, MshubError, OfflineError, TransferError, UnknownModelError, UsageError
from mshub_ssd.registry import Folder, Registry, Web, build
from mshub_ssd.settings import Settings
from mshub_ssd.store.transfer import override_policy

WORDS = [
    f"{first}{last}" for first in ("ba", "ko", "lu", "mi", "ne", "pa") for last in ("ra", "sto", "vi", "xen", "zu")
]
ODD = "zoo/1.8/odd"
SSD = "zoo/1.10/ssd3_coco2017"


def card(name: str, version: str, *, says: str = "") -> str:
    told = random.Random(f"{name} {version}")
    body = " ".join(told.choice(WORDS) for _ in range(1500))
    return (
        f"# {name.upper()} 检测\n\n---\nmodel-name: {name}\nbackbone-name: {name}\nmodule-type: cv-detection\n"
        f"train-dataset: coco2017\nmindspore-version: {version}\nsummary: one of many {says}\n---\n\n{body}\n"
    )


def fill(root: Path) -> Path:
    """Sixty cards in a folder, one of them damaged."""
    for number in range(20):
        for version in ("1.9", "1.10", "2.3"):
            path = root / "zoo" / version / f"ssd{number}_coco2017.md"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(card(f"ssd{number}", version), encoding="utf-8")
    path = root / f"{ODD}.md"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"# Odd\r\n\r\n---\r\nmodel-name: [\r\n---\r\n\xff")
    return root


def publish(server: FaultServer, out: Path, *, root: bool = True, under: str = "/hub") -> str:
    """Serve what was built, the root last."""
    for path in sorted(out.rglob("*.part")):
        server.add(f"{under}/{path.relative_to(out).as_posix()}", path.read_bytes())
    if root:
        server.add(f"{under}/index.json", (out / "index.json").read_bytes())
    return f"{server.base}{under}/"


def state(source: Any) -> dict[str, bytes]:
    """All cards of a source."""
    return {entry.uid: source.read(entry) for entry in source.entries()}


def asked(server: FaultServer, since: int = 0) -> list[str]:
    """The kinds of files that were asked for."""
    return ["root" if request.path.endswith("index.json") else "part" for request in server.requests[since:]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("made")
    build(fill(made / "cards"), made / "out")
    return made


@pytest.fixture
def cards(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "cards", tmp_path / "cards")


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "out", tmp_path / "out")


@pytest.fixture
def ours(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture(autouse=True)
def hurry() -> Iterator[None]:
    with override_policy(backoff=0.01, longest_wait=0.02, attempts=2, read=20.0, answer=20.0, stall=1.0):
        yield


def test_a_folder_and_its_static_form_answer_alike(
    cards: Path, out: Path, ours: Settings, fault_server: FaultServer
) -> None:
    url = publish(fault_server, out)
    here = Registry([cards], ours.homes)
    there = Registry([Web(url, ours)], ours.homes)
    assert len(here.uids()) == 60
    assert there.uids() == here.uids()
    assert there.families(sort="newest") == here.families(sort="newest")
    assert there.damaged() == here.damaged()
    for text in ("ssd3", "检测", "ssd1 coco", "moxen", "lusto bara", "coco2071", "nothing"):
        assert there.search(text) == here.search(text), text
    for uid in here.uids():
        mine, theirs = here.card(uid), there.card(uid)
        assert theirs.body == mine.body
        assert theirs.origin == f"{url}{uid}.md"
        assert theirs.path is None
    assert there.card("ssd3_coco2017").uid == "zoo/2.3/ssd3_coco2017"
    with pytest.raises(UnknownModelError):
        there.card("zoo/1.9/absent")
    assert state(Web(url, ours)) == state(Folder(cards))


def test_one_uid_costs_the_root_and_one_part(out: Path, ours: Settings, fault_server: FaultServer) -> None:
    url = publish(fault_server, out)
    assert Registry([Web(url, ours)], ours.homes).card(SSD).uid == SSD
    assert asked(fault_server) == ["root", "part"]
    assert fault_server.sent < 40_000
    # Another process asks for nothing at once, and later whether the root changed.
    assert Registry([Web(url, ours)], ours.homes).card(SSD).uid == SSD
    assert len(fault_server.requests) == 2
    assert Registry([Web(url, ours, seconds=0)], ours.homes).card(SSD).uid == SSD
    assert asked(fault_server, 2) == ["root"]
    assert fault_server.requests[2].headers["if-none-match"]


def test_a_list_fetches_each_part_once_and_then_what_changed(
    cards: Path, out: Path, ours: Settings, fault_server: FaultServer
) -> None:
    url = publish(fault_server, out)
    parts = len(list(out.rglob("*.part")))
    assert parts > 3
    assert len(Registry([Web(url, ours)], ours.homes).uids()) == 60
    assert sorted(asked(fault_server)) == ["part"] * parts + ["root"]

    (cards / f"{SSD}.md").write_text(card("ssd3", "1.10", says="and quokka"), encoding="utf-8")
    built = build(cards, out)
    assert (built.written, built.changed) == (1, True)
    publish(fault_server, out)
    before = len(fault_server.requests)
    fresh = Registry([Web(url, ours, seconds=0)], ours.homes)
    assert [shown.uid for shown in fresh.search("quokka")] == [SSD]
    assert asked(fault_server, before).count("part") == 1


def test_what_helpers_index_is_remembered(tmp_path: Path, ours: Settings, fault_server: FaultServer) -> None:
    root = tmp_path / "small"
    root.mkdir()
    for number in range(1100):
        (root / f"net{number}.md").write_text(f"# Net {number}\n\n---\nmodel-name: net{number}\n---\n")
    build(root, tmp_path / "out")
    url = publish(fault_server, tmp_path / "out")
    assert len(Registry([Web(url, ours)], ours.homes).uids()) == 1100
    before = len(fault_server.requests)
    assert len(Registry([Web(url, ours, seconds=0)], ours.homes).uids()) == 1100
    assert asked(fault_server, before) == ["root"]


def test_within_a_minute_the_server_is_not_asked_again(
    cards: Path, out: Path, ours: Settings, fault_server: FaultServer
) -> None:
    url = publish(fault_server, out)
    web = Web(url, ours)
    registry = Registry([web], ours.homes)
    registry.uids()
    before = len(fault_server.requests)
    (cards / f"{SSD}.md").unlink()
    build(cards, out)
    publish(fault_server, out)
    assert len(registry.uids()) == 60
    assert len(fault_server.requests) == before
    assert web.refresh()
    assert fault_server.requests[-1].headers["cache-control"] == "no-cache"
    assert len(registry.uids()) == 59
    assert not web.refresh()


def test_offline_it_is_what_is_here(
    out: Path, ours: Settings, fault_server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = publish(fault_server, out)
    caplog.set_level(logging.INFO, "mshub_ssd.registry")
    away = Settings(home=ours.home, offline=True)
    with pytest.raises(OfflineError):
        Registry([Web(url, away)], ours.homes).uids()
    Web(url, ours).find(SSD)
    some = Web(url, away, seconds=0)
    assert some.find(SSD) is not None
    with pytest.raises(OfflineError):
        list(some.entries())
    list(Web(url, ours).entries())
    before = len(fault_server.requests)
    caplog.clear()
    assert len(Registry([Web(url, away, seconds=0)], ours.homes).uids()) == 60
    assert [record.getMessage().split(":")[0] for record in caplog.records].count("offline") == 1
    assert len(fault_server.requests) == before


def test_a_server_that_is_down_is_told(
    out: Path, ours: Settings, fault_server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = publish(fault_server, out)
    assert len(list(Web(url, ours).entries())) == 61
    fault_server.add("/hub/index.json", b"", then=Fault(status=503))
    web = Web(url, ours, seconds=0)
    assert web.find(SSD) is not None
    assert "cannot be asked, these are its cards as they were at" in caplog.text
    with pytest.raises(TransferError):
        web.refresh()
    with pytest.raises(TransferError, match="503"):
        Web(url, Settings(home=ours.home / "other")).find(SSD)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(body=HTML),
        Fault(body=b""),
        Fault(flip_bit=8 * 700),
        Fault(truncate=500),
        Fault(status=500),
        Fault(status=304),
        Fault(status=206),
        Fault(hang_up=True),
        Fault(cut_after=100),
        Fault(infinite=True, body=b"{"),
        Fault(stall_after=10, body=b"{}"),
        Fault(drip=40),
        Fault(gzip=True),
        Fault(redirect="file:///etc/passwd"),
        Fault(redirect="/hub/index.json"),
        Fault(body=b"[" * 100_000),
        Fault(headers={"Content-Length": "99999999999"}),
    ],
    ids=lambda fault: repr({key: value for key, value in vars(fault).items() if value})[:50],
)
def test_a_root_that_lies_is_our_error(fault: Fault, out: Path, ours: Settings, fault_server: FaultServer) -> None:
    url = publish(fault_server, out)
    fault_server.add("/hub/index.json", (out / "index.json").read_bytes(), then=fault)
    hurried = override_policy(backoff=0.01, longest_wait=0.02, attempts=1, read=1.0, answer=1.0, stall=0.5)
    with hurried, pytest.raises((TransferError, IntegrityError)) as told:
        list(Web(url, ours).entries())
    assert told.value.hint
    publish(fault_server, out)
    assert len(list(Web(url, ours).entries())) == 61


@pytest.mark.parametrize(
    "fault",
    [
        Fault(flip_bit=4321),
        Fault(truncate=1000),
        Fault(body=HTML),
        Fault(body=zlib.compress(bytes(1 << 27))),
        Fault(status=404),
        Fault(status=500),
        Fault(hang_up=True),
        Fault(infinite=True),
        Fault(stall_after=10),
    ],
    ids=lambda fault: repr({key: value for key, value in vars(fault).items() if value})[:50],
)
def test_a_part_that_lies_is_our_error(fault: Fault, out: Path, ours: Settings, fault_server: FaultServer) -> None:
    url = publish(fault_server, out)
    path = sorted(out.rglob("*.part"))[2]
    place = f"/hub/{path.relative_to(out).as_posix()}"
    fault_server.add(place, path.read_bytes(), then=fault)
    web = Web(url, ours)
    with override_policy(backoff=0.01, longest_wait=0.02, attempts=1, read=1.0, answer=1.0, stall=0.5):
        with pytest.raises((TransferError, IntegrityError), match="a part of the registry") as told:
            list(web.entries())
        assert path.name in str(told.value)
        with pytest.raises(MshubError):
            Registry([web], ours.homes).uids()
    # One bad answer is forgiven, and nothing wrong was kept.
    fault_server.add(place, path.read_bytes(), Fault(flip_bit=99))
    assert len(Registry([Web(url, ours)], ours.homes).uids()) == 60


def rewritten(out: Path, **changes: Any) -> bytes:
    """A root with other values, and the revision that fits them."""
    content = json.loads((out / "index.json").read_bytes())
    content.pop("revision")
    content.update(changes)
    text = json.dumps(content, sort_keys=True, separators=(",", ":")) + "\n"
    content["revision"] = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps(content).encode()


def hostile(out: Path) -> Iterator[dict[str, Any]]:
    parts = json.loads((out / "index.json").read_bytes())["parts"]
    prefix, digest, size = parts[0]
    for name in ("../../../etc/passwd", digest[:-1], digest.upper(), f"{digest}\n", "", None, 7, ["a"]):
        yield {"parts": [[prefix, name, size], *parts[1:]]}
    for wrong in (0, -1, 1 << 60, True, "9", None, 1.5):
        yield {"parts": [[prefix, digest, wrong], *parts[1:]]}
    for wrong in ("2", "0" * 65, f"{prefix}0", "1", None, 0):
        yield {"parts": [[wrong, digest, size], *parts[1:]]}
    yield {"parts": parts[1:]}
    yield {"parts": [*parts, parts[-1]]}
    yield {"parts": []}
    yield {"parts": {"a": 1}}
    yield {"cards": -1}
    yield {"cards": 60}
    yield {"cards": True}
    yield {"paged": 1}
    yield {"paged": True}
    yield {"version": 2}
    yield {"format": "other"}
    # Parts in each other's places, and one for all.
    yield {"parts": [[parts[0][0], *parts[1][1:]], [parts[1][0], *parts[0][1:]], *parts[2:]]}
    yield {"parts": [["", digest, size]]}


def test_a_hostile_root_is_our_error(out: Path, ours: Settings, fault_server: FaultServer) -> None:
    url = publish(fault_server, out)
    for number, changes in enumerate(hostile(out)):
        fault_server.add("/hub/index.json", rewritten(out, **changes))
        # With nothing here, and where the very parts are here already.
        for home in (ours.home / str(number), ours.home / "filled"):
            before = len(fault_server.requests)
            with pytest.raises(IntegrityError) as told:
                list(Web(url, Settings(home=home), seconds=0).entries())
            assert told.value.hint, changes
            paths = {request.path.partition("?")[0] for request in fault_server.requests[before:]}
            assert all(path.startswith(("/hub/index.json", "/hub/parts/")) for path in paths)
        fault_server.add("/hub/index.json", rewritten(out))
        assert len(list(Web(url, Settings(home=ours.home / "filled"), seconds=0).entries())) == 61


def test_parts_that_make_no_sense_are_our_error(out: Path, ours: Settings, fault_server: FaultServer) -> None:
    url = f"{fault_server.base}/hub/"
    text = b"hello"
    stamp = hashlib.sha256(text).hexdigest()[:16]

    def head(*rows: Any) -> bytes:
        return json.dumps({"cards": rows}).encode() + b"\n"

    good = zlib.compress(head(["a/b", 5, stamp]) + text)
    contents = [
        b"no zlib",
        zlib.compress(b""),
        zlib.compress(b"x" * (1 << 25)),
        good[:-5],
        good + b"more",
        zlib.compress(head(["../b", 5, stamp]) + text),
        zlib.compress(head(["a/readme", 5, stamp]) + text),
        zlib.compress(head([7, 5, stamp]) + text),
        zlib.compress(head(["a/b", 5, "0" * 16]) + text),
        zlib.compress(head(["a/b", 6, stamp]) + text),
        zlib.compress(head(["a/b", -5, stamp]) + text),
        zlib.compress(head(["a/b", 5, stamp], ["a/b", 0, stamp]) + text),
        zlib.compress(head(["a/b"]) + text),
        zlib.compress(head("abc") + text),
        zlib.compress(b'{"cards":{}}\n' + text),
        zlib.compress(b"[]\n" + text),
    ]
    for number, data in enumerate([good, *contents]):
        digest = hashlib.sha256(data).hexdigest()
        fault_server.add(f"/hub/parts/{digest[:2]}/{digest}.part", data)
        fault_server.add("/hub/index.json", rewritten(out, cards=1, paged=False, parts=[["", digest, len(data)]]))
        web = Web(url, Settings(home=ours.home / str(number)))
        if number == 0:
            assert state(web) == {"a/b": text}
            continue
        with pytest.raises(IntegrityError) as told:
            list(web.entries())
        assert digest in str(told.value)
        with pytest.raises(IntegrityError):
            web.find("a/b")


def versions(cards: Path, tmp_path: Path, count: int) -> list[tuple[Path, dict[str, bytes]]]:
    """Several revisions of a registry, each in a folder of its own, and what is in them."""
    found = []
    for number in range(count):
        for name in random.Random(number).sample(sorted(cards.rglob("ssd*.md")), 15):
            version = name.parent.name
            name.write_text(card(name.stem.split("_")[0], version, says=f"revision {number}"), encoding="utf-8")
        if number % 2:
            (cards / f"zoo/2.3/ssd{number}_coco2017.md").unlink()
        (cards / f"zoo/more{number}.md").write_text(card(f"more{number}", "2.3"), encoding="utf-8")
        out = tmp_path / f"out{number}"
        build(cards, out)
        found.append((out, state(Folder(cards))))
    return found


def test_a_root_that_is_swapped_midway_gives_one_revision(
    cards: Path, tmp_path: Path, ours: Settings, fault_server: FaultServer
) -> None:
    (old, before), (new, after) = versions(cards, tmp_path, 2)
    url = publish(fault_server, new)
    publish(fault_server, old)
    web = Web(url, ours, seconds=0)
    entry = web.find(SSD)
    assert entry is not None
    looking = web.entries()
    first = next(looking)
    # New cards come while the list of the old ones is read.
    publish(fault_server, new)
    assert {one.uid: web.read(one) for one in [first, *looking]} == before
    assert web.read(entry) == before[SSD]
    assert not web.unchanged(web.memo())
    assert state(web) == after


def test_an_old_root_whose_parts_are_gone_is_asked_for_again(
    cards: Path, tmp_path: Path, ours: Settings, fault_server: FaultServer
) -> None:
    (old, _), (new, after) = versions(cards, tmp_path, 2)
    url = publish(fault_server, new)
    # A cache on the way gives the old root once, whose parts are no longer there.
    fault_server.add(
        "/hub/index.json", (new / "index.json").read_bytes(), Fault(body=(old / "index.json").read_bytes())
    )
    assert state(Web(url, ours)) == after
    assert fault_server.requests[-1].headers.get("cache-control") != "no-cache"
    assert any(request.headers.get("cache-control") == "no-cache" for request in fault_server.seen("/hub/index.json"))


def test_a_new_root_before_its_parts_is_an_error_that_says_so(
    cards: Path, tmp_path: Path, ours: Settings, fault_server: FaultServer
) -> None:
    (old, before), (new, after) = versions(cards, tmp_path, 2)
    url = publish(fault_server, old)
    registry = Registry([Web(url, ours, seconds=0)], ours.homes)
    assert len(registry.uids()) == len(before) - 1
    fault_server.add("/hub/index.json", (new / "index.json").read_bytes())
    with pytest.raises(TransferError, match="cannot be had") as told:
        registry.uids()
    assert "upload parts/ before index.json" in (told.value.hint or "")
    publish(fault_server, new)
    assert {*registry.uids(), ODD} == set(after)


def test_two_revisions_are_never_mixed(cards: Path, tmp_path: Path, ours: Settings, fault_server: FaultServer) -> None:
    revisions = versions(cards, tmp_path, 4)
    roots = [(out / "index.json").read_bytes() for out, _ in revisions]
    states = [told for _, told in revisions]
    for out, _ in revisions:
        url = publish(fault_server, out)
    every = [path for out, _ in revisions for path in out.rglob("*.part")]
    stop = threading.Event()
    seed = random.Random(13)

    def swap() -> None:
        while not stop.wait(seed.uniform(0, 0.02)):
            fault_server.add("/hub/index.json", seed.choice(roots))
            path = seed.choice(every)
            place = f"/hub/parts/{path.parent.name}/{path.name}"
            faults = [Fault(status=404), Fault(flip_bit=seed.randrange(9999)), Fault(cut_after=50), Fault()]
            fault_server.add(place, path.read_bytes(), seed.choice(faults))

    thread = threading.Thread(target=swap, daemon=True)
    thread.start()
    good, bad = 0, list[str]()
    try:
        for _ in range(30):
            home = Settings(home=ours.home / str(seed.randrange(6)))
            web = Web(url, home, seconds=0)
            registry = Registry([web], home.homes)
            try:
                assert state(web) in states
                assert {shown.uid for shown in registry.models()} in [
                    {uid for uid in told if uid != ODD} for told in states
                ]
                entry = web.find(SSD)
                assert entry is not None
                assert web.read(entry) in [told[SSD] for told in states]
                good += 1
            except (TransferError, IntegrityError) as error:
                bad.append(error.message)
    finally:
        stop.set()
        thread.join()
    assert good > 5, bad
    assert all("a part of the registry" in message for message in bad)


def test_what_is_kept_is_looked_at(out: Path, ours: Settings, fault_server: FaultServer) -> None:
    url = publish(fault_server, out)
    before = state(Web(url, ours))
    kept = sorted((ours.home / "registry").rglob("*.part"))
    assert kept
    for path in kept[:2]:
        data = bytearray(path.read_bytes())
        data[20] ^= 1
        path.write_bytes(data)
    kept[2].unlink()
    count = len(fault_server.requests)
    assert state(Web(url, ours)) == before
    assert asked(fault_server, count) == ["part"] * 3
    for wrong in (b"", b"{}", b"[", b'{"root": "", "validator": {}, "checked": 0}', HTML):
        for path in (ours.home / "registry").rglob("root.json"):
            path.write_bytes(wrong)
        assert state(Web(url, ours)) == before


def test_a_cache_that_others_can_write_is_not_believed(out: Path, ours: Settings, fault_server: FaultServer) -> None:
    url = publish(fault_server, out)
    ours.home.mkdir()
    ours.home.chmod(0o777)
    web = Web(url, ours)
    assert len(state(web)) == 61
    count = len(fault_server.requests)
    assert len(state(web)) == 61
    assert len(fault_server.requests) == count
    assert not list(ours.home.rglob("root.json"))


def test_a_mirror_is_asked_first(out: Path, tmp_path: Path, fault_server: FaultServer) -> None:
    publish(fault_server, out, under="/mirror/hub.example/cards")
    far = Settings(home=tmp_path / "home", endpoint=f"{fault_server.base}/mirror")
    assert len(state(Web("https://hub.example/cards/", far))) == 61


def test_urls(out: Path, ours: Settings, fault_server: FaultServer) -> None:
    url = publish(fault_server, out)
    spellings = [url, url.rstrip("/"), f"{url}index.json"]
    assert {Web(spelt, ours).key for spelt in spellings} == {f"index:{url}"}
    secret = Web(url.replace("http://", "http://me:hush@"), ours)
    assert "hush" not in f"{secret.label} {secret.key}"
    entry = secret.find(SSD)
    assert entry is not None
    assert secret.origin(entry) == f"{url}{SSD}.md"
    assert fault_server.requests[0].headers["authorization"].startswith("Basic ")
    for wrong in (f"{url}?a=b", f"{url}#a"):
        with pytest.raises(UsageError):
            Web(wrong, ours)


def test_many_cards_have_pages(tmp_path: Path, ours: Settings, fault_server: FaultServer) -> None:
    root = tmp_path / "many"
    root.mkdir()
    filler = "word " * 26_000
    for number in range(320):
        (root / f"net{number}.md").write_text(f"# Net {number}\n\n---\nmodel-name: net{number}\n---\n\n{filler}\n")
    built = build(root, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "index.json").read_bytes())
    assert content["paged"]
    assert len(content["parts"]) <= 4
    url = publish(fault_server, tmp_path / "out")
    entry = Web(url, ours).find("net7")
    assert entry is not None
    assert asked(fault_server) == ["root", "part", "part"]
    assert len(list(Web(url, ours).entries())) == 320
    assert len(fault_server.requests) == built.parts + 1
    # One card more is one part more, one page and the root.
    (root / "net7.md").write_text("# Net\n\n---\nmodel-name: other\n---\n")
    assert build(root, tmp_path / "out").written == 2


def test_the_same_cards_give_the_same_bytes(cards: Path, out: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    built = build(cards, other)
    assert (built.cards, [uid for uid, _ in built.unreadable], built.left_out) == (61, [ODD], [])
    files = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert {path.relative_to(other): path.read_bytes() for path in other.rglob("*") if path.is_file()} == files
    assert built.bytes == sum(map(len, files.values())) == built.written_bytes
    times = {path: path.stat().st_mtime_ns for path in other.rglob("*")}
    again = build(cards, other)
    assert (again.changed, again.written, again.written_bytes) == (False, 0, 0)
    assert {path: path.stat().st_mtime_ns for path in other.rglob("*")} == times


def test_a_card_more_changes_one_part(cards: Path, out: Path) -> None:
    times = [int((out / "index.json").stat().st_mtime)]
    for number in range(12):
        (cards / f"zoo/new{number}.md").write_text(card(f"new{number}", "2.3"), encoding="utf-8")
        built = build(cards, out)
        assert built.changed
        assert 1 <= built.written <= 2  # two where one became too large
        times.append(int((out / "index.json").stat().st_mtime))
    # Servers that compare times by the second see each of them.
    assert len(set(times)) == len(times)
    # A part that was damaged on the disk is written again.
    path = sorted(out.rglob("*.part"))[0]
    path.write_bytes(b"?")
    assert build(cards, out).written <= 1


def test_old_parts_go_when_asked_to(cards: Path, out: Path) -> None:
    first = set(out.rglob("*.part"))
    counts = []
    for number in range(3):
        (cards / f"{SSD}.md").write_text(card("ssd3", "1.10", says=f"{number}"), encoding="utf-8")
        counts.append(build(cards, out, prune=number == 2).removed)
    assert counts == [0, 0, 2]  # those of the root before are still read by somebody
    left = set(out.rglob("*.part"))
    assert len(left) == len(first) + 1


def test_a_foreign_index_is_left_alone(cards: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.json").write_text('{"mine": 1}')
    with pytest.raises(UsageError, match="cannot hold the registry"):
        build(cards, site)
    assert (site / "index.json").read_text() == '{"mine": 1}'
    assert list(site.iterdir()) == [site / "index.json"]
    with pytest.raises(UsageError):
        build(tmp_path / "absent", tmp_path / "new")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a user who may not read everything")
def test_cards_that_cannot_be_read_are_told(cards: Path, tmp_path: Path) -> None:
    (cards / f"{SSD}.md").chmod(0)
    built = build(cards, tmp_path / "other")
    assert [place for place, _ in built.left_out] == [str(cards / f"{SSD}.md")]
    assert built.cards == 60


def test_links_out_of_the_folder_are_told(cards: Path, tmp_path: Path) -> None:
    (cards / "away.md").symlink_to(tmp_path / "elsewhere.md")
    built = build(cards, tmp_path / "other")
    assert [place for place, _ in built.left_out] == [str(cards / "away.md")]


def test_a_killed_build_leaves_the_registry_that_was_there(
    cards: Path, out: Path, ours: Settings, fault_server: FaultServer
) -> None:
    before = state(Folder(cards))
    for path in cards.rglob("ssd*.md"):
        path.write_text(card(path.stem.split("_")[0], path.parent.name, says="again"), encoding="utf-8")
    code = "import sys, pathlib; from mshub_ssd.registry import build; build(sys.argv[1], pathlib.Path(sys.argv[2]))"
    root = (out / "index.json").read_bytes()
    parts = set(out.rglob("*.part"))
    with subprocess.Popen([sys.executable, "-c", code, str(cards), str(out)]) as process:
        deadline = time.monotonic() + 60
        while set(out.rglob("*.part")) <= parts and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
    if (out / "index.json").read_bytes() == root:
        url = publish(fault_server, out)
        assert state(Web(url, ours)) == before
    build(cards, out)
    url = publish(fault_server, out, under="/next")
    assert state(Web(url, ours)) == state(Folder(cards))


def test_the_commands(cards: Path, tmp_path: Path, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    told = answer("registry", "build", cards, "-o", site)
    assert (told["cards"], told["changed"], told["unreadable"][0][0]) == (61, True, ODD)
    done = run("registry", "build", cards, "-o", site)
    assert "61 cards" in done.stdout
    assert "nothing new" in done.stdout
    assert ODD in done.stderr
    url = publish(fault_server, site)
    assert run("registry", "add", "lab", url).exit_code == 0
    (lab,) = (one for one in answer("registry", "list") if one["name"] == "lab")
    assert (lab["kind"], lab["cards"], lab["revision"]) == ("index", 60, told["revision"])
    assert SSD in run("list", "zoo/*", "--all").stdout
    assert answer("info", SSD)["origin"] == f"{url}{SSD}.md"
    monkeypatch.setenv("MSHUB_OFFLINE", "1")
    assert answer("info", SSD)["uid"] == SSD
    monkeypatch.delenv("MSHUB_OFFLINE")
    (cards / f"{SSD}.md").unlink()
    run("registry", "build", cards, "-o", site)
    publish(fault_server, site)
    (lab,) = answer("registry", "refresh", "lab")
    assert lab["cards"] == 59
    assert run("info", SSD).exit_code == 1
    (cards / "away.md").symlink_to(tmp_path / "elsewhere.md")
    assert run("registry", "build", cards, "-o", site).exit_code == 1
    assert run("registry", "build", tmp_path / "absent", "-o", site).exit_code == 1


def test_the_example_in_the_docs(cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (SOURCE / "docs" / "static.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(code, {})
    assert (tmp_path / "site" / "index.json").is_file()


def test_pythons_own_server_will_do(cards: Path, out: Path, ours: Settings) -> None:
    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, code: Any = "-", size: Any = "-") -> None:
            codes.append(int(code))

    codes: list[int] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(out))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        assert len(state(Web(url, ours))) == 61
        # Within two seconds of a change its time tells nothing, and the root is sent whole.
        assert Web(url, ours, seconds=0).find(SSD) is not None
        os.utime(out / "index.json", (1_600_000_000, 1_600_000_000))
        assert Web(url, ours, seconds=0).find(SSD) is not None
        assert Web(url, ours, seconds=0).find(SSD) is not None
        assert codes[-1] == 304
        (cards / f"{SSD}.md").unlink()
        build(cards, out)
        assert Web(url, ours, seconds=0).find(SSD) is None
        server.shutdown()


def test_parts_come_over_few_connections(tmp_path: Path, ours: Settings) -> None:
    for number in range(240):
        path = tmp_path / "cards" / f"net{number}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(card(f"net{number}", "1.0", says="word " * 400), encoding="utf-8")
    site = tmp_path / "site"
    build(tmp_path / "cards", site)
    connections, requests = [], []

    class Handler(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            connections.append(self.client_address)
            super().setup()

        def log_request(self, code: Any = "-", size: Any = "-") -> None:
            requests.append(code)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = Web(f"http://127.0.0.1:{server.server_address[1]}/", ours)
        try:
            assert len(list(source.entries())) == 240
        finally:
            server.shutdown()
    assert len(requests) > 20
    assert len(connections) <= 9, "one for the root, and of each of eight threads one"


def test_threads_share_one_source(out: Path, ours: Settings, fault_server: FaultServer) -> None:
    url = publish(fault_server, out)
    web = Web(url, ours, seconds=0)
    whole: list[object] = []

    def look() -> None:
        try:
            whole.append(len(state(web)))
        except MshubError as error:
            whole.append(error)

    threads = [threading.Thread(target=look) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert whole == [61] * 6


def test_parts_of_old_roots_leave_the_cache(cards: Path, out: Path, ours: Settings, fault_server: FaultServer) -> None:
    url = publish(fault_server, out)
    state(Web(url, ours))
    first = set((ours.home / "registry").rglob("*.part"))
    for path in first:
        os.utime(path, (1, 1))
    (cards / f"{SSD}.md").unlink()
    build(cards, out)
    publish(fault_server, out)
    state(Web(url, ours, seconds=0))
    left = set((ours.home / "registry").rglob("*.part"))
    assert len(left) == len(first)
    assert len(left - first) == 1
    shutil.rmtree(ours.home / "registry")
    assert len(state(Web(url, ours))) == 60
