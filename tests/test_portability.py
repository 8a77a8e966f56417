"""Other systems: no call is left that Windows or macOS lacks, and what they cannot do has a substitute that is as safe.

The programs below run on Linux with all taken away that those systems do not have (`elsewhere`).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from commands import run
from elsewhere import SYSTEMS, run_on
from faultserver import Fault, FaultServer, noise
from shelf import Shelf, sha256

import mshub_ssd
from mshub_ssd import files

CAT, DOG, BIRD = "own/1.0/cat", "own/1.0/dog", "own/1.0/bird"
DATA = {CAT: noise(300_000, 1), DOG: noise(700, 2), BIRD: noise(512, 3)}
PICTURE = Path(mshub_ssd.__file__).parent / "cli" / "demo_digits.png"
ENGINES = "import cv2, numpy, onnxruntime, openvino, PIL.Image, safetensors.numpy\n"

on_each = pytest.mark.parametrize("system", SYSTEMS)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache, in the user's own folder; Windows says of no other place whose it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return Path(os.environ["MSHUB_HOME"])


@pytest.fixture
def shelf(tmp_path: Path, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch, home: Path) -> Shelf:
    """Cards: of a file to download, of one by eight digits of its digest, of one beside its card."""
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "cards"))
    shelf = Shelf(tmp_path / "cards", fault_server)
    shelf.put(CAT, DATA[CAT])
    shelf.put(DOG, DATA[DOG], digits=8)
    shelf.put(BIRD, DATA[BIRD], beside=True)
    return shelf


def leftovers(home: Path) -> list[str]:
    return [path.name for path in home.rglob("*") if path.name.endswith((".part", ".json", ".new", ".old"))]


@on_each
def test_every_module_can_be_imported(system: str) -> None:
    shown = run_on(
        system,
        """
        import importlib, pkgutil, mshub_ssd
        sys.modules["mindspore"] = None
        names = [found.name for found in pkgutil.walk_packages(mshub_ssd.__path__, "mshub_ssd.")]
        for name in names:
            try:
                importlib.import_module(name)
            except ImportError as error:
                assert error.name == "mindspore", (name, error)
        print(len(names))
        """,
        first=ENGINES,
    )
    assert int(shown) > 150


@on_each
def test_files_are_fetched_kept_and_removed(system: str, shelf: Shelf, home: Path, tmp_path: Path) -> None:
    (tmp_path / "carried").write_bytes(DATA[CAT])
    shown = run_on(
        system,
        f"""
        import pathlib
        assert len(mshub("list")) > 90
        home = pathlib.Path({str(home)!r})
        for again in range(2):
            assert [one["size"] for one in mshub("fetch", {CAT!r}, {DOG!r}, {BIRD!r})] == [300_000, 700, 512]
        cat = pathlib.Path(mshub("fetch", {CAT!r})[0]["path"])
        assert [one["size"] for one in mshub("cache", "ls")] == [300_000, 700] or mshub("cache", "ls")
        assert all(one["fault"] is None for one in mshub("cache", "verify"))

        os.chmod(cat, 0o644)
        with open(cat, "r+b") as stream:
            stream.write(b"damaged")
        os.chmod(cat, 0o444)  # as a cache from elsewhere may be
        print([one["moved"] for one in mshub("cache", "verify", {CAT!r}, code=1)], cat.exists())
        mshub("cache", "add", {str(tmp_path / "carried")!r})
        mshub("cache", "prune")
        mshub("cache", "rm", {DOG!r})
        """,
    )
    assert shown.split() == ["[True]", "False"]
    assert [path.name for path in (home / "v1" / "blobs").rglob("*") if path.is_file()] == [sha256(DATA[CAT])]
    assert not leftovers(home / "v1" / "tmp")
    assert not [*(home / "v1" / "quarantine").iterdir(), *(home / "v1" / "locks").iterdir()]
    assert len(shelf.server.requests) == 2, "a file is downloaded once"


@on_each
def test_an_interrupted_download_goes_on(system: str, shelf: Shelf, home: Path) -> None:
    shelf.server.add(f"/{CAT}.ckpt", DATA[CAT], Fault(cut_after=200_000))
    program = f"""
        from mshub_ssd.store import policy
        with policy.override_policy(attempts=1):
            print(mshub("fetch", {CAT!r}, code={{code}}))
    """
    run_on(system, program.format(code=1))
    assert [path.suffix for path in (home / "v1" / "tmp").glob("*.part")] == [".part"]
    run_on(system, program.format(code=0))
    assert shelf.server.requests[-1].headers["range"] == "bytes=200000-"
    assert not leftovers(home / "v1" / "tmp")


@on_each
def test_bundles_travel(system: str, shelf: Shelf, tmp_path: Path) -> None:
    away = tmp_path / "away"
    run_on(
        system,
        f"""
        out = {str(tmp_path / "all.tar")!r}
        assert mshub("bundle", {CAT!r}, {DOG!r}, {BIRD!r}, "-o", out)["uids"] == [{BIRD!r}, {CAT!r}, {DOG!r}]
        os.environ |= {{"MSHUB_HOME": {str(away)!r}, "MSHUB_REGISTRY": ""}}
        assert len(mshub("bundle", "install", out)["new"]) == 3
        path = {str(away / "cards" / f"{CAT}.md")!r}
        text = open(path, encoding="utf-8").read()
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text.replace("small", "large"))
        assert mshub("bundle", "install", out, code=1)["error"]["code"] == "invalid-argument"
        assert mshub("bundle", "install", out, "--force")["replaced"] == [{CAT!r}]
        """,
    )
    assert (away / "cards" / "own/1.0/bird.ckpt").read_bytes() == DATA[BIRD]
    assert (away / "cards" / f"{CAT}.md").read_bytes() == (shelf.folder / f"{CAT}.md").read_bytes()
    assert not leftovers(away / "cards")
    # Linux makes the same file, byte for byte.
    assert run("bundle", CAT, DOG, BIRD, "-o", tmp_path / "here.tar").exit_code == 0
    assert (tmp_path / "here.tar").read_bytes() == (tmp_path / "all.tar").read_bytes()


@on_each
def test_cards_are_validated_and_fixed(system: str, tmp_path: Path) -> None:
    card = tmp_path / "cards/mindspore/1.10/ssd300_coco2017.md"
    card.parent.mkdir(parents=True)
    text = Path(mshub_ssd.info("mindspore/1.10/ssd300_coco2017").path or "").read_text(encoding="utf-8")
    card.write_text(text.replace('mindspore-version: "1.10"', "mindspore-version: 1.10"), encoding="utf-8")
    shown = run_on(
        system,
        f"""
        import multiprocessing
        import mshub_ssd
        used, take = [], multiprocessing.get_context
        multiprocessing.get_context = lambda name: used.append(name) or take(name)
        import mshub_ssd.lint.engine
        mshub_ssd.lint.engine._WORTH_A_PROCESS = 2
        linux, sys.platform = sys.platform, "darwin"  # it asks for the name: macOS forks badly
        found = mshub("validate", {str(Path(mshub_ssd.__file__).parent.parent / "hub_models")!r}, "--jobs", "2")
        sys.platform = linux
        print(found["summary"]["cards"], *used)
        print(*[one["code"] for one in mshub("validate", {str(tmp_path)!r}, code=1)["findings"]])
        mshub("validate", {str(tmp_path)!r}, "--fix")
        """,
    )
    first, second = shown.splitlines()
    assert first == f"{len(mshub_ssd.list_models())} spawn"
    assert "MC008" in second.split()
    assert 'mindspore-version: "1.10"' in card.read_text(encoding="utf-8")


@on_each
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_detections_are_the_same(system: str, engine: str, home: Path) -> None:
    model = "mshub/1.0/ssdmobilenetv2_digits"
    program = f"""
        found = mshub("detect", {str(PICTURE)!r}, "--model", {model!r}, "--engine", {engine!r})
        print([one["name"] for one in found["detections"]])
        print(mshub("cache", "ls", "--all"))
    """
    names, kept = run_on(system, program, first=ENGINES).splitlines()
    found = mshub_ssd.detect(model, PICTURE, engine=engine)
    assert names == str(list(found.names))
    assert "'kind': 'graph'" in kept
    # Nobody else can write there, so the graph is not made anew.
    broken = "from mshub_ssd import engines\nengines.record = None\n"
    assert run_on(system, broken + "import textwrap\n" + program.replace("\n        ", "\n"), first=ENGINES)


@on_each
def test_locks_tell_who_is_at_work(system: str, tmp_path: Path) -> None:
    run_on(
        system,
        f"""
        import pathlib
        from mshub_ssd.store import locks, policy
        path = pathlib.Path({str(tmp_path / "lock")!r})
        with locks.hold(path, "this", lambda: None, lambda: None, policy.current()) as found:
            assert found is None
            assert locks.holder(path, policy.current()).startswith(f"process {{os.getpid()}} on ")
            fd = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
            assert locks.try_lock(fd) is False
            assert os.lseek(fd, 0, os.SEEK_CUR) == 0
            locks.close(fd)
            assert locks.at_work(path, policy.current())
        assert not path.exists()

        locks.fcntl = locks.msvcrt = None  # as where a system has neither: then a file's age tells
        path.write_bytes(b"")
        with open(path) as stream:
            assert locks.try_lock(stream.fileno()) is None
        assert locks.at_work(path, policy.current())
        os.utime(path, (1, 1))
        assert not locks.at_work(path, policy.current())
        """,
    )


@pytest.mark.parametrize("inside", [True, False], ids=["own", "elsewhere"])
def test_without_owners_only_a_users_own_folder_is_believed(
    inside: bool, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path if inside else tmp_path / "other"))
    program = f"""
        import pathlib
        from mshub_ssd import settings, store
        from mshub_ssd.store import blobs, derived
        hashed, read = [], blobs.read_fully
        blobs.read_fully = lambda stream: (hashed.append(1), read(stream))[1]
        {{stored}}
        for again in range(2):
            mshub("fetch", {CAT!r})
        print(len(hashed), store.find_graph({{{{"of": "this"}}}}) is not None)
    """
    # What is published, here two files, is hashed once more under its name, which it can have only when it is closed.
    stored = 'derived.add_graph({"of": "this"}, [b"graph"], {})'
    assert run_on("windows", program.format(stored=stored)).split() == ["2", str(inside)]
    assert run_on("windows", program.format(stored="")).split() == ["0" if inside else "1", str(inside)]
    assert len(shelf.server.requests) == 1


def test_on_windows_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "home" / "v1").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"kept")
    (tmp_path / "home" / "v1" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "home" / "v1" / "name").symlink_to(tmp_path / "outside" / "file")
    run_on(
        "windows",
        f"""
        import pathlib
        from mshub_ssd import files
        home = pathlib.Path({str(tmp_path / "home")!r})
        for wrong in (lambda: files.open_regular(home / "v1" / "name", follow=False),
                      lambda: files.open_regular(home / "v1"),
                      lambda: files.open_folder(home, "v1", "link").__enter__()):
            try:
                wrong()
            except (files.NotRegularError, NotADirectoryError):
                continue
            raise AssertionError("it was opened")
        with files.open_regular(home / "v1" / "name") as stream:
            assert stream.read() == b"kept"
        with files.open_folder(home, "v1") as folder:
            for name in folder.names():
                folder.unlink(name)
        """,
    )
    assert not list((tmp_path / "home" / "v1").iterdir())
    assert (tmp_path / "outside" / "file").read_bytes() == b"kept"


def test_on_windows_a_name_that_is_being_read_is_waited_for(tmp_path: Path) -> None:
    run_on(
        "windows",
        f"""
        import pathlib, threading
        from mshub_ssd import files
        path = pathlib.Path({str(tmp_path / "record")!r})
        path.write_bytes(b"old")
        stream = files.open_regular(path)
        threading.Timer(0.1, stream.close).start()
        files.replace_file(path, b"new")
        assert path.read_bytes() == b"new"
        with files.open_regular(path):
            try:
                files.replace_file(path, b"newer")
            except PermissionError:
                assert [found.name for found in path.parent.iterdir()] == ["record"]
            else:
                raise AssertionError("it was replaced while it was open")
        """,
    )


def test_without_hard_links_a_name_is_still_given_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    for kind in ("refused", "missing"):
        if kind == "refused":
            monkeypatch.setattr(os, "link", refused)
        else:
            monkeypatch.delattr(os, "link")
        path = tmp_path / kind / "pin"
        path.parent.mkdir()
        with files.new_file(path, replace=False) as stream:
            stream.write(b"first")
        with pytest.raises(FileExistsError), files.new_file(path, replace=False) as stream:
            stream.write(b"second")
        assert path.read_bytes() == b"first"
        assert list(path.parent.iterdir()) == [path]


def test_places_on_different_drives_lie_in_no_common_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(paths: list[str]) -> str:
        raise ValueError("Paths don't have the same drive")

    assert files.lies_in(tmp_path, tmp_path)
    monkeypatch.setattr(os.path, "commonpath", refused)
    assert not files.lies_in(tmp_path, tmp_path)
