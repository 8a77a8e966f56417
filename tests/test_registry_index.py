"""The index of the registry: crowds, kills, damage, full and foreign disks, threads, changes in the midst of a look."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import registrylab as lab

from mshub_ssd import networks
from mshub_ssd.hub import Hub
from mshub_ssd.hub.judging import CardJudge
from mshub_ssd.registry import Folder, Registry, folder, index, reading

CARDS = 40


@pytest.fixture(autouse=True)
def no_registered_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes ask as well, and know none of this one's."""
    monkeypatch.setattr(networks.constructors, "_registered", {})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    lab.write_cards(tmp_path / "cards", CARDS)
    return tmp_path / "cards"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir(mode=0o700)
    return tmp_path / "home"


def test_a_crowd_builds_one_index(root: Path, home: Path) -> None:
    _, said = lab.crowd(root, home, 6)
    first = [one.uid for one in Registry([root], [home], CardJudge()).search("coco2017", 5)]
    assert said == {f"20 40 {first}\n"}
    assert len(list((home / "index").glob("?" * 32))) == 1


@pytest.mark.parametrize("cold", [True, False])
def test_who_is_killed_leaves_the_state_before_or_after(root: Path, home: Path, cold: bool) -> None:
    lab.asked(root, home)
    lab.kills(root, home, 3, seed=1, cold=cold)


@pytest.mark.parametrize("name", sorted(lab.damages(Path(__file__), random.Random(0))))
def test_a_damaged_index_is_made_anew(root: Path, home: Path, name: str) -> None:
    right = lab.asked(root, home)
    lab.damages(lab.index_file(home), random.Random(1))[name]()
    for _ in range(2):
        found = lab.asked(root, home)
        assert found == right or name == lab.BITS
    if name != lab.BITS:
        with contextlib.closing(sqlite3.connect(lab.index_file(home))) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            (cards,) = db.execute("SELECT count(*) FROM card").fetchone()
        assert cards == CARDS, "in the cache, and not in memory"
    assert len(list((home / "index").iterdir())) <= 2, "nothing is left behind"


def test_an_index_that_is_damaged_while_it_is_open(root: Path, home: Path) -> None:
    registry = Registry([root], [home], CardJudge())
    right = lab.told(registry)
    file = lab.index_file(home)
    with file.open("r+b") as stream:
        stream.write(b"\0" * 8192)
    assert lab.told(registry) == right
    shutil.rmtree(file.parent)
    assert lab.told(registry) == right


def test_no_room_and_no_right_to_write(root: Path, home: Path) -> None:
    right = lab.truth(root)
    code = (
        "import sys, resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "import registrylab as lab; from pathlib import Path;"
        "import json; print(json.dumps(lab.asked(Path(sys.argv[1]), Path(sys.argv[2]))['uids']))"
    )
    done = lab.run(code, root, home)
    assert json.loads(done.stdout) == right["uids"]
    assert not list((home / "index").glob("*/*"))
    file = home.parent / "file"
    file.write_text("no folder")
    assert lab.asked(root, file) == right
    home.chmod(0o777)
    assert lab.asked(root, home) == right
    assert not list((home / "index").glob("*/*")), "others could write it"


def test_no_room_for_what_changed(root: Path, home: Path) -> None:
    lab.asked(root, home)
    card = root / "own/1.0/net3_coco2017.md"
    lab.write_card(card, 6, 2)
    code = (
        "import sys, resource; import registrylab as lab; from pathlib import Path;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "import json; print(json.dumps(lab.asked(Path(sys.argv[1]), Path(sys.argv[2]))['other']))"
    )
    done = lab.run(code, root, home)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["own/1.0/net3_coco2017"]
    assert "made in memory" in done.stderr, "it is told"
    assert lab.asked(root, home) == lab.truth(root), "with room again"


def test_an_index_that_others_keep_locked(root: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_PATIENCE", 0.2)
    lab.asked(root, home)
    before = lab.index_file(home).stat().st_mtime_ns
    holder = sqlite3.connect(lab.index_file(home), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert lab.asked(root, home)["other"] == [], "nothing is to be written"
    lab.write_card(root / "own/1.0/net3_coco2017.md", 6, 2)
    assert lab.asked(root, home) == lab.truth(root), "in memory"
    assert lab.index_file(home).stat().st_mtime_ns == before
    holder.execute("ROLLBACK")
    holder.close()
    assert lab.asked(root, home) == lab.truth(root)


def test_a_cache_that_can_only_be_read(root: Path, tmp_path: Path) -> None:
    # What root may write to is no proof: the asking process gives up its rights.
    code = """
import os, resource, sys, json
from pathlib import Path
import registrylab as lab
root, home = Path(sys.argv[1]), Path(sys.argv[2])
for path in (home, home.with_name("loaded")):
    path.mkdir(mode=0o700)
    lab.asked(root, path)
lab.write_card(root / "own/1.0/net3_coco2017.md", 6, 2)
right = lab.truth(root)
os.chdir(home.parent)
for path in [*home.rglob("*"), home]:
    if os.getuid() == 0:
        os.chown(path, 65534, 65534)
    path.chmod(0o500 if path.is_dir() else 0o400)
names = sorted(str(path) for path in home.rglob("*"))
if os.getuid() == 0:
    for path in [home.parent, *home.parents]:
        path.chmod(path.stat().st_mode | 0o711)
        if path == Path(sys.argv[3]):
            break
    os.setresuid(65534, 65534, 65534)
try:
    (home / "new").write_text("")
except PermissionError:
    pass
else:
    sys.exit("this cache can be written")
found = lab.asked(root, home)
assert found == right, found
assert sorted(str(path) for path in home.rglob("*")) == names
print("right")
"""
    place = Path(tempfile.mkdtemp())  # whose folders above may be entered by all
    try:
        shutil.copytree(root, place / "cards")
        done = lab.run(code, place / "cards", place / "home", place)
        assert done.stdout == "right\n", done.stderr
    finally:
        shutil.rmtree(place)


def test_a_file_that_was_emptied_is_not_waited_for(root: Path, home: Path) -> None:
    open_still = Registry([root], [home], CardJudge())
    right = lab.told(open_still)
    lab.index_file(home).write_bytes(b"")
    begun = time.monotonic()
    assert lab.asked(root, home) == right
    assert lab.told(open_still) == right
    assert time.monotonic() - begun < 10


def test_connections_are_closed(root: Path, home: Path) -> None:
    code = (
        "import sys, gc, os; import registrylab as lab; from pathlib import Path; from mshub_ssd import Hub;"
        "gc.disable(); root, home = Path(sys.argv[1]), Path(sys.argv[2]); files = '/proc/self/fd';"
        "lab.asked(root, home); kept = lab.Registry([root], [home]); kept.uids();"
        "none = lab.Registry([root]); none.uids(); hub = Hub(registry=root, home=home); hub.search('coco2017');"
        "print([name for one in os.listdir(files) if os.path.islink(f'{files}/{one}')"
        " for name in [os.readlink(f'{files}/{one}')] if name.endswith('.sqlite3')])"
    )
    done = lab.run(code, root, home, options=["-X", "dev", "-W", "error"])
    assert done.returncode == 0, done.stderr
    assert "ResourceWarning" not in done.stderr, done.stderr
    if sys.platform == "linux":
        assert done.stdout.count("sqlite3") == 1, "only that of what is kept"


def test_many_threads_ask_while_cards_change(root: Path, home: Path) -> None:
    hub = Hub(registry=root, home=home)
    stop = threading.Event()
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            while not stop.is_set():
                assert len([uid for uid in hub.list_models("own/*") if uid.startswith("own")]) >= CARDS - 1
                hub.search("coco2017 net3")
        except BaseException as error:  # noqa: BLE001 - the test's own thread raises it
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    card = root / "own/1.0/net3_coco2017.md"
    for version in range(30):
        lab.write_card(card, 6, version)
        if version % 3 == 0:
            card.unlink()
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed, failed[0]
    lab.write_card(card, 6, 99)
    assert hub.search("state99") == ["own/1.0/net3_coco2017"]


def test_changes_during_a_look(root: Path, home: Path) -> None:
    class Moving(Folder):
        def entries(self):  # type: ignore[no-untyped-def]
            for at, entry in enumerate(super().entries()):
                if at == 10:
                    (root / "own/1.0/net5_coco2017.md").unlink(missing_ok=True)
                    lab.write_card(root / "own/1.0/later_coco2017.md", 77)
                    lab.write_card(root / "own/1.0/aaa_coco2017.md", 78)
                yield entry

    Registry([Moving(root)], [home], CardJudge()).uids()
    assert lab.asked(root, home) == lab.truth(root)


def _renamed(root: Path) -> None:
    (root / "own/1.0/net4_coco2017.md").rename(root / "own/2.0/moved_coco2017.md")


def _replaced(root: Path) -> None:
    """Of the same size and time: only the inode tells."""
    card = root / "own/1.0/net4_coco2017.md"
    times, text = card.stat(), card.read_text(encoding="utf-8")
    new = card.with_name(".new")
    new.write_text(text.replace("state1", "state2"), encoding="utf-8")
    os.utime(new, ns=(times.st_atime_ns, times.st_mtime_ns))
    new.replace(card)
    assert (card.stat().st_size, card.stat().st_mtime_ns) == (times.st_size, times.st_mtime_ns)


CHANGES: dict[str, Callable[[Path], object]] = {
    "changed": lambda root: lab.write_card(root / "own/1.0/net4_coco2017.md", 8, 2),
    "added": lambda root: lab.write_card(root / "own/1.0/new_coco2017.md", 99),
    "removed": lambda root: (root / "own/1.0/net4_coco2017.md").unlink(),
    "renamed": _renamed,
    "a folder renamed": lambda root: (root / "own").rename(root / "other"),
    "replaced": _replaced,
    "damaged": lambda root: (root / "own/1.0/net4_coco2017.md").write_bytes(b"\xff\xfe"),
    "a folder in its place": lambda root: [
        (root / "own/1.0/net4_coco2017.md").unlink(),
        (root / "own/1.0/net4_coco2017.md").mkdir(),
    ],
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen_by_the_next_question(
    root: Path, home: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "TICK", 0)  # the times of files that were just written are believed
    kept = Registry([root], [home], CardJudge())
    before = lab.told(kept)
    CHANGES[name](root)
    right = lab.truth(root)
    assert right != before
    assert lab.told(kept) == right
    assert lab.asked(root, home) == right, "another process would see it, too"


def test_a_card_that_changes_twice_within_a_tick(root: Path, home: Path) -> None:
    card = root / "own/1.0/net3_coco2017.md"
    registry = Registry([root], [home], CardJudge())
    for version in (4, 5, 6):
        lab.write_card(card, 6, version)
        os.utime(card, ns=(10**18, 10**18))
        assert [one.uid for one in registry.search(f"state{version}")] == ["own/1.0/net3_coco2017"]


def test_helpers_read_the_same(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (root / "own/1.0/broken.md").write_bytes(b"\xff")
    (root / "own/1.0/chinese.md").write_text("# 检测\n\n---\nmodel-name: 检测\n---\n\n目标", encoding="utf-8")
    right = lab.truth(root)
    monkeypatch.setattr(reading, "_MANY", 10)
    monkeypatch.setattr(reading, "_BATCH", 7)
    started: list[Any] = []
    popen = subprocess.Popen

    def counted(*args: Any, **more: Any) -> Any:
        started.append(popen(*args, **more))
        return started[-1]

    monkeypatch.setattr(reading.subprocess, "Popen", counted)
    assert lab.asked(root, tmp_path / "h1") == right
    assert started
    assert all(process.poll() is not None for process in started), "none is left"
    monkeypatch.setattr(sys, "executable", "/nothing/there")
    assert lab.asked(root, tmp_path / "h2") == right, "without helpers"
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    assert lab.asked(root, tmp_path / "h3") == right, "with helpers that end at once"


def test_an_exact_uid_opens_no_index(root: Path, home: Path) -> None:
    registry = Registry([root], [home], CardJudge())
    assert registry.card("own/1.0/net3_coco2017").model_name == "net6"
    assert not (home / "index").exists()
