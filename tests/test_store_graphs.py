"""Graphs in the cache: only what we recorded and can verify is found; everything else is made anew."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from commands import answer, run
from faultserver import noise
from shelf import read_only

from mshub_ssd import store
from mshub_ssd.errors import UsageError
from mshub_ssd.settings import Settings
from mshub_ssd.store import derived
from mshub_ssd.store.blobs import Cache

BODY = noise(100_000)
SHA = hashlib.sha256(BODY).hexdigest()
CHECKPOINT = "5" * 64
KEY = {"network": "ssd300", "arguments": {"num_classes": 3, "names": ["Kuh", "größte"]}, "checkpoint": CHECKPOINT}
FACTS = {"config": {"sizes": [1, 2], "score": 0.5}}


@pytest.fixture
def ours(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "mshub-home")


def add(ours: Settings, key: dict[str, object] = KEY, body: bytes = BODY) -> store.StoredGraph:
    pieces = [body[:10], memoryview(body)[10:]]
    return store.add_graph(key, pieces, FACTS, label="own/1/net", checkpoint=CHECKPOINT, settings=ours)


def key_file(ours: Settings) -> Path:
    return derived.key_file(Cache(ours.home), KEY)


def test_what_was_added_is_found_with_its_facts(ours: Settings) -> None:
    assert store.find_graph(KEY, ours) is None
    made = add(ours)
    found = store.find_graph(dict(reversed(KEY.items())), ours)
    assert found == made
    assert found.path.read_bytes() == BODY
    assert found.path == ours.home / "v1" / "graphs" / "sha256" / SHA[:2] / SHA
    assert found.facts == FACTS
    assert found.path.stat().st_mode & 0o222 == 0
    for other in ({**KEY, "checkpoint": "6" * 64}, {**KEY, "emitter": 2}, {}):
        assert store.find_graph(other, ours) is None


def test_a_hit_is_not_hashed_again_unless_it_must_be(ours: Settings, hashed: list[int]) -> None:
    add(ours)
    del hashed[:]
    assert store.find_graph(KEY, ours)
    assert not hashed
    assert store.find_graph(KEY, Settings(home=ours.home, verify_always=True))
    assert hashed == [len(BODY)]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, 5000)


def swap(path: Path) -> None:
    path.unlink()
    path.write_bytes(noise(len(BODY), seed=9))


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("harm", [flip, cut, swap, link], ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("times", ["new", "old"])
def test_a_file_that_was_changed_is_not_found_and_made_anew(harm, times: str, ours: Settings) -> None:
    path = add(ours).path
    before = path.stat()
    harm(path)
    if times == "old" and harm is not link:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.find_graph(KEY, ours) is None
    assert add(ours).path.read_bytes() == BODY
    found = store.find_graph(KEY, ours)
    assert found is not None
    assert found.path.read_bytes() == BODY


@pytest.mark.parametrize("changed", ["sha256", "facts", "key", "check", "everything", "nonsense", "list", "empty"])
def test_a_record_that_was_changed_is_not_believed(changed: str, ours: Settings) -> None:
    add(ours)
    other = add(ours, {"other": 1}, noise(500))
    record = key_file(ours)
    stored = json.loads(record.read_text())
    stored |= {"sha256": other.path.name} if changed == "sha256" else {}
    stored |= {changed: {}} if changed in ("facts", "key") else {}
    stored |= {"check": "0" * 64} if changed == "check" else {}
    if changed == "everything":  # the record of something else under this name, whole in itself
        stored = json.loads(derived.key_file(Cache(ours.home), {"other": 1}).read_text())
    text = {"nonsense": "{", "list": "[1]", "empty": ""}.get(changed, json.dumps(stored))
    record.write_text(text)
    assert store.find_graph(KEY, ours) is None
    add(ours)
    assert store.find_graph(KEY, ours).path.name == SHA


def test_what_others_can_write_is_not_believed(ours: Settings, tmp_path: Path, caplog) -> None:
    add(ours)
    for place in (key_file(ours), key_file(ours).parent, ours.home, add(ours).path.parent):
        before = place.stat().st_mode
        place.chmod(before | 0o020)
        assert store.find_graph(KEY, ours) is None, place
        place.chmod(before)
        assert store.find_graph(KEY, ours) is not None
    ours.home.chmod(0o2775)
    caplog.set_level("INFO", "mshub_ssd")
    # Nobody else can write where it goes now.
    made = add(ours)
    assert made.path.read_bytes() == BODY
    assert not made.path.is_relative_to(ours.home)
    assert made.path.parents[4].stat().st_mode & 0o077 == 0
    assert "this process only" in caplog.text
    ours.home.chmod(0o755)


def test_the_record_of_another_user_is_not_believed(ours: Settings) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    add(ours)
    os.chown(key_file(ours), 12345, -1)
    assert store.find_graph(KEY, ours) is None


def test_a_read_only_cache_serves_and_another_one_receives(ours: Settings, tmp_path: Path) -> None:
    made = add(ours)
    both = Settings(home=ours.home, more_homes=(tmp_path / "second",))
    with read_only(ours.home):
        assert store.find_graph(KEY, both) == made


def test_damage_in_one_cache_is_mended_from_another(ours: Settings, tmp_path: Path) -> None:
    add(ours)
    second = Settings(home=tmp_path / "second")
    add(second)
    both = Settings(home=ours.home, more_homes=(second.home,))
    flip(store.find_graph(KEY, both).path)
    found = store.find_graph(KEY, both)
    assert found is not None
    assert found.path.is_relative_to(second.home)
    assert found.path.read_bytes() == BODY


def test_keeping_knows_graphs(ours: Settings) -> None:
    add(ours)
    assert store.entries(ours) == []
    (entry,) = store.entries(ours, kinds=("graph",))
    assert (entry.digest, entry.size, entry.kind, entry.labels) == (SHA, len(BODY), "graph", ("own/1/net",))
    assert entry.checkpoint == CHECKPOINT
    assert store.prune(settings=ours).removed == ()
    assert [one.fault for one in store.verify(settings=ours)] == [None]
    flip(entry.path)
    (checked,) = store.verify([SHA[:12]], settings=ours)
    assert checked.fault
    assert checked.moved
    assert store.entries(ours, kinds=("graph",)) == []
    assert [one.kind for one in store.prune(settings=ours).removed] == ["quarantined"]
    add(ours)
    removed = store.remove([SHA], settings=ours)
    assert [one.kind for one in removed.removed] == ["graph"]
    assert removed.freed == len(BODY)
    left = [path for path in (ours.home / "v1").rglob("*") if path.is_file() and path.name != "CACHEDIR.TAG"]
    assert left == []


def test_prune_counts_graphs_and_takes_those_that_nobody_finds(ours: Settings) -> None:
    add(ours)
    lost = add(ours, {"other": 1}, noise(700, seed=4)).path
    derived.key_file(Cache(ours.home), {"other": 1}).unlink()
    assert [one.path for one in store.prune(dry_run=True, settings=ours).removed] == [lost]
    assert {one.digest for one in store.prune(max_bytes=10, settings=ours).removed} == {SHA, lost.name}
    assert store.find_graph(KEY, ours) is None


def test_records_of_graphs_that_are_gone_are_rubbish(ours: Settings) -> None:
    add(ours).path.unlink()
    record = key_file(ours)
    assert store.prune(settings=ours).removed == ()
    os.utime(record, (time.time() - 10**6,) * 2)
    assert [one.path for one in store.prune(settings=ours).removed] == [record]


def test_a_digest_that_is_no_graph_is_refused(ours: Settings) -> None:
    add(ours)
    with pytest.raises(UsageError):
        store.remove(["0" * 64], settings=ours)


def test_the_command_line_shows_and_removes_graphs(ours: Settings) -> None:
    add(ours)
    shown = run("cache", "ls").stdout
    assert SHA[:12] in shown
    assert "(graph)" in shown
    assert "0 files, 1 graph" in shown
    (fact,) = answer("cache", "ls")
    assert (fact["kind"], fact["checkpoint"], fact["uids"]) == ("graph", CHECKPOINT, ["own/1/net"])
    assert "1 graph" in run("cache", "rm", SHA[:12], "--dry-run").stdout
    done = run("cache", "verify")
    assert done.exit_code == 0, done.output
    flip(store.find_graph(KEY, ours).path)
    done = run("cache", "verify")
    assert done.exit_code == 1
    assert "made anew" in done.stdout
    add(ours)
    assert "1 graph" in run("cache", "rm", SHA[:12]).stdout
    assert store.find_graph(KEY, ours) is None
    shutil.rmtree(ours.home)
