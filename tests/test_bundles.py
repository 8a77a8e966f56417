"""Bundles: what travels arrives byte for byte, and what is no bundle of ours changes nothing."""

from __future__ import annotations

import errno
import io
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import bundlelab
import pytest
from bundlelab import ALL, BIRD, CAT, DATA, DOG, FISH, TWIN, fill, forge, pair
from commands import PATIENCE, answer, refused, run
from faultserver import FaultServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shelf import Shelf, as_nobody, card_text, command_without_sockets, read_only, sha256, tree, without_sockets

import mshub_ssd
from mshub_ssd import bundles, store
from mshub_ssd.bundles import archive
from mshub_ssd.errors import CardError, IntegrityError, MshubError, TransferError, UsageError
from mshub_ssd.hub import Hub

DIGITS = "mshub/1.0/ssdmobilenetv2_digits"


@pytest.fixture
def shelf(tmp_path: Path, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "cards"))
    shelf = Shelf(tmp_path / "cards", fault_server)
    fill(shelf)
    return shelf


_made: list[Path] = []


@pytest.fixture
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the cards and `all.tar`, their bundle; made once, and for looking only."""
    if not _made:
        _made.append(bundlelab.make(tmp_path_factory.mktemp("made")).parent)
    return _made[0]


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A bundle of all of them, to be damaged."""
    path = tmp_path / "stick" / "all.tar"
    path.parent.mkdir()
    shutil.copy(made / "all.tar", path)
    return path


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another machine's cache: it has none of the cards, and no server answers."""
    monkeypatch.setenv("MSHUB_HOME", str(tmp_path / "away"))
    return tmp_path / "away"


def no_card_came(away: Path) -> bool:
    return not (away / "cards").exists()


# --- there and back


def test_what_was_bundled_works_without_a_network(away: Path, bundle: Path, made: Path) -> None:
    assert not set(ALL) & set(mshub_ssd.list_models())
    shown = command_without_sockets("bundle", "install", bundle)
    assert shown.splitlines()[:5] == [f"{uid:14}  installed" for uid in ALL]

    assert "4 checkpoints verified" in shown
    assert mshub_ssd.list_models("o[wt]*/*") == ALL
    for uid in ALL:
        path = Path(command_without_sockets("fetch", uid).strip())
        assert path.read_bytes() == DATA[uid]
        assert (away / "cards" / f"{uid}.md").read_bytes() == (made / "cards" / f"{uid}.md").read_bytes()
    assert Path(mshub_ssd.fetch(BIRD)) == away / "cards/own/1.0/files/bird.ckpt"
    assert {entry.digest: entry.labels for entry in store.entries()} == {
        sha256(DATA[CAT]): (CAT, TWIN),
        sha256(DATA[DOG]): (DOG,),
        sha256(DATA[FISH]): (FISH,),
    }
    again = answer("bundle", "install", bundle)
    assert (again["new"], again["replaced"], again["present"]) == ([], [], ALL)
    names = {path.name for path in away.rglob("*")}
    assert not [name for name in names if name.startswith(".new") or name.endswith((".part", ".old"))]


def test_a_network_is_loaded_on_a_machine_without_a_network(
    fault_server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mindspore")
    card = mshub_ssd.info(DIGITS)
    assert card.path is not None
    weights = (card.path.parent / card.assets[0].url).read_bytes()
    text = card.path.read_text(encoding="utf-8")
    own = tmp_path / "cards" / "own" / "1.0" / "digits.md"
    own.parent.mkdir(parents=True)
    own.write_text(text.replace(card.assets[0].url, f"<{fault_server.add('/digits.ckpt', weights)}>"), "utf-8")
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "cards"))
    out = tmp_path / "digits.tar"
    assert run("bundle", "own/1.0/*", "-o", out).exit_code == 0
    monkeypatch.delenv("MSHUB_REGISTRY")
    away = str(tmp_path / "away")
    command_without_sockets("bundle", "install", out, MSHUB_HOME=away)
    program = "import mshub_ssd as m; network = m.load('own/1.0/digits'); print(network.card.path)"
    found = without_sockets(program, MSHUB_HOME=away, GLOG_v="3")
    assert found.strip() == f"{away}/cards/own/1.0/digits.md"


def test_the_same_cards_give_the_same_bytes(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = tmp_path / "first.tar", tmp_path / "other.tar"
    Hub().make_bundle(ALL, first)
    for path in shelf.folder.rglob("*"):
        path.chmod(0o700)
        os.utime(path, (1, 1))
    monkeypatch.setenv("MSHUB_HOME", str(tmp_path / "fresh"))
    facts = answer("bundle", *reversed(ALL), CAT, "-o", other)
    assert other.read_bytes() == first.read_bytes()
    assert facts["uids"] == ALL
    assert facts["size"] == sum(member["size"] for member in facts["members"])
    with tarfile.open(other) as opened:
        names = opened.getnames()
        assert names == ["mshub-bundle.json", *(member["path"] for member in facts["members"])]
        assert all(member.isreg() and member.mtime == member.uid == 0 for member in opened)
        assert opened.extractfile(f"files/{sha256(DATA[CAT])}").read() == DATA[CAT]  # type: ignore[union-attr]
    assert len([name for name in names if name.startswith("files/")]) == 4, "equal bytes travel once"


def test_headers_are_the_same_whichever_python_writes_them() -> None:
    # A bundle of one Python is read by another, byte for byte.
    short, long = (
        sha256(archive.header(name, 513)) for name in ("mshub-bundle.json", f"cards/{'p' * 90}/1.0/{'n' * 90}.md")
    )
    assert short == "4296fc8ae716b7ce7b1491c8f1e16bb2b2e1f21895579e3bee0e39a2bb8b47ce"
    assert long == "11b4b3478d75fc0fa062b2d08b04d1bdfb04f681b9004187dc83fddd6c5a58ab"


def test_ls_and_dry_run_tell_and_write_nothing(away: Path, bundle: Path, tmp_path: Path) -> None:
    before = tree(tmp_path)
    shown = run("bundle", "ls", bundle).stdout
    for uid in ALL:
        assert f"{uid:14}  " in shown
    assert "5 cards, 4 checkpoints" in shown
    facts = answer("bundle", "ls", bundle)
    assert facts["uids"] == ALL
    assert {member["sha256"] for member in facts["members"]} >= {sha256(data) for data in DATA.values()}
    assert run("bundle", "install", "--dry-run", bundle).stdout.count("would be installed") == 5
    assert answer("bundle", "install", "--dry-run", bundle)["new"] == ALL
    assert f"bundle install {bundle}" in refused("cache", "add", bundle)
    # Looking for what a card means leaves an index of the cards.
    assert {name: what for name, what in tree(tmp_path).items() if not name.startswith("away")} == before


def test_cards_of_files_and_long_names_travel(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = f"{'p' * 90}/1.0/{'n' * 90}"
    shelf.put(long, b"long")
    out = tmp_path / "b.tar"
    assert run("bundle", "make", long, shelf.folder / f"{CAT}.md", "-o", out).exit_code == 0
    monkeypatch.setenv("MSHUB_HOME", str(tmp_path / "away"))
    monkeypatch.delenv("MSHUB_REGISTRY")
    assert answer("bundle", "install", out)["new"] == ["cat", long]
    assert Path(mshub_ssd.fetch(long)).read_bytes() == b"long"
    assert Path(mshub_ssd.fetch("cat")).read_bytes() == DATA[CAT]


# --- making


def test_making_refuses_before_it_writes(shelf: Shelf, tmp_path: Path) -> None:
    out = tmp_path / "out" / "b.tar"
    assert "No such file" in refused("bundle", CAT, "-o", out)
    out.parent.mkdir()
    assert "no model card" in refused("bundle", CAT, "own/1.0/none", "-o", out)
    shelf.put("own/1.0/gone", b"gone", served=False)
    assert "404" in refused("bundle", CAT, "own/1.0/gone", "-o", out)
    assert "the network is forbidden" in refused("bundle", FISH, "-o", out, "--offline")
    (shelf.folder / "own/1.0/files/bird.ckpt").write_bytes(b"other")
    assert "not the one the card promises" in refused("bundle", BIRD, "-o", out)
    copy = tmp_path / "cat.md"
    copy.write_text((shelf.folder / f"{DOG}.md").read_text())
    assert "two different cards" in refused("bundle", shelf.folder / f"{CAT}.md", copy, "-o", out)
    strange = tmp_path / "my card.md"
    strange.write_bytes((shelf.folder / f"{DOG}.md").read_bytes())
    assert "no uid" in refused("bundle", strange, "-o", out)
    assert run("bundle", CAT).exit_code == 2
    assert run("bundle", "-o", out).exit_code == 2
    with pytest.raises(UsageError):
        Hub().make_bundle([], out)
    assert list(out.parent.iterdir()) == []
    assert run("bundle", CAT, "-o", out).exit_code == 0
    first = out.read_bytes()
    assert "--force" in refused("bundle", DOG, "-o", out)
    assert out.read_bytes() == first
    assert run("bundle", DOG, "-o", out, "--force").exit_code == 0
    assert bundles.inspect(out).uids == (DOG,)


def test_a_full_disk_leaves_no_half_bundle(shelf: Shelf, tmp_path: Path) -> None:
    Hub().make_bundle([CAT], tmp_path / "first.tar")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(MshubError, match="cannot be written"):
            Hub().make_bundle([CAT], tmp_path / "second.tar")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in tmp_path.glob("*.tar*")) == ["first.tar"]
    assert not list(tmp_path.glob(".*"))


# --- what is there already


def test_a_card_that_says_something_else_stays_unless_forced(away: Path, bundle: Path) -> None:
    assert run("bundle", "install", bundle).exit_code == 0
    mine, beside = away / "cards" / f"{CAT}.md", away / "cards/own/1.0/files/bird.ckpt"
    mine.write_bytes(mine.read_bytes() + b"\nMine.\n")
    before = tree(away)
    said = refused("bundle", "install", bundle)
    assert f"{CAT} ({mine})" in said
    assert "--force" in said
    assert tree(away) == before
    facts = answer("bundle", "install", "--force", bundle)
    assert (facts["new"], facts["replaced"]) == ([], [CAT])
    assert b"Mine." not in mine.read_bytes()
    beside.write_bytes(b"damaged")
    assert f"{beside}" in refused("bundle", "install", bundle)
    assert beside.read_bytes() == b"damaged"
    assert run("bundle", "install", "--force", bundle).exit_code == 0
    assert Path(mshub_ssd.fetch(BIRD)).read_bytes() == DATA[BIRD]
    beside.unlink()
    assert run("bundle", "install", bundle).exit_code == 0
    assert Path(mshub_ssd.fetch(BIRD)).read_bytes() == DATA[BIRD]


def test_the_packages_own_cards_are_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "b.tar"
    assert run("bundle", DIGITS, "-o", out).exit_code == 0
    monkeypatch.setenv("MSHUB_HOME", str(tmp_path / "away"))
    facts = answer("bundle", "install", out)
    assert (facts["new"], facts["present"]) == ([], [DIGITS])
    assert no_card_came(tmp_path / "away")


def test_installed_cards_come_before_the_packages_and_after_ones_own(
    away: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = forge(tmp_path / "b.tar", pair(DIGITS))
    assert "say something else" in refused("bundle", "install", path)
    assert answer("bundle", "install", "--force", path)["replaced"] == [DIGITS]
    assert mshub_ssd.info(DIGITS).path == away / "cards" / f"{DIGITS}.md"
    own = tmp_path / "own" / f"{DIGITS}.md"
    own.parent.mkdir(parents=True)
    own.write_text(card_text("https://x.example/x.ckpt", "0" * 64), encoding="utf-8")
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "own"))
    assert mshub_ssd.info(DIGITS).path == own
    assert "would be hidden" in refused("bundle", "install", "--force", path)


def test_cards_of_every_cache_are_found(
    away: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("bundle", "install", bundle).exit_code == 0
    monkeypatch.setenv("MSHUB_HOME", os.pathsep.join([str(tmp_path / "mine"), str(away)]))
    for uid in ALL:
        assert Path(mshub_ssd.fetch(uid)).read_bytes() == DATA[uid]
    before = tree(away)
    assert answer("bundle", "install", bundle)["present"] == ALL
    assert tree(away) == before


def test_a_read_only_cache_refuses_and_the_next_one_receives(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        room.chmod(0o755)  # for nobody
        shared, own, stick = room / "shared", room / "own", room / "b.tar"
        (shared / "v1" / "tmp").mkdir(parents=True)
        own.mkdir()
        own.chmod(0o777)
        shutil.copy(made / "all.tar", stick)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(room))
        monkeypatch.setenv("MSHUB_HOME", str(shared))
        with read_only(shared):
            code, out, err = as_nobody("bundle", "install", stick)
            assert (code, out) == (1, "")
            assert "no cache can be written" in err
            monkeypatch.setenv("MSHUB_HOME", os.pathsep.join([str(shared), str(own)]))
            assert as_nobody("bundle", "install", stick)[0] == 0
            assert sorted(tree(shared)) == ["v1", "v1/tmp"]
            assert Path(as_nobody("fetch", DOG)[1].strip()).is_relative_to(own)


# --- all or nothing


@pytest.mark.parametrize("warm", [False, True])
def test_every_member_is_verified_whoever_reads_it(away: Path, bundle: Path, warm: bool) -> None:
    if warm:  # the cache has the files, and need not read those of the bundle
        Hub().install_bundle(bundle)
        shutil.rmtree(away / "cards")
    whole = bundle.read_bytes()
    with tarfile.open(bundle) as opened:
        begins = {info.name: info.offset_data for info in opened}
    for member in bundles.inspect(bundle).members:
        last = begins[member.path] + member.size - 1
        if member.size:
            bundle.write_bytes(whole[:last] + bytes([whole[last] ^ 1]) + whole[last + 1 :])
            for dry_run in (True, False):
                with pytest.raises(IntegrityError) as caught:
                    Hub().install_bundle(bundle, dry_run=dry_run)
                assert member.sha256 in str(caught.value)
                assert no_card_came(away)
    assert all(sha256(entry.path.read_bytes()) == entry.digest for entry in store.entries())


def test_killed_at_any_moment_every_card_there_is_whole_and_has_its_file(
    away: Path, bundle: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSHUB_OFFLINE", "1")
    chance = random.Random(5)
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()

    def install(dies_at: int) -> None:
        calls = 0

        def count(frame: object, event: str, arg: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")
            if calls == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        Hub().install_bundle(bundle)
        sys.setprofile(None)
        told.put(calls)

    Hub().install_bundle(bundle)
    whole = 0
    for number in range(21):
        shutil.rmtree(away)
        # The first one counts the calls; random names make others have some more or less.
        child = context.Process(target=install, args=(number and chance.randint(1, whole * 95 // 100),))
        child.start()
        child.join(PATIENCE)
        if number == 0:
            whole = told.get()
        else:
            assert child.exitcode == -signal.SIGKILL
        for uid in {*ALL} & {*mshub_ssd.list_models()}:
            card = away / "cards" / f"{uid}.md"
            assert card.read_bytes() == (made / "cards" / f"{uid}.md").read_bytes()
            assert Path(mshub_ssd.fetch(uid)).read_bytes() == DATA[uid]
        Hub().install_bundle(bundle)
        assert all(Path(mshub_ssd.fetch(uid)).read_bytes() == DATA[uid] for uid in ALL)


def test_what_a_killed_installation_left_goes_with_the_next_one_a_day_later(away: Path, bundle: Path) -> None:
    old, young = away / "cards" / ".new-1-01d01d01", away / "cards" / ".new-1-90c49049"
    for left in (old, young):
        left.mkdir(parents=True)
        for name in ("0", "0.old", "1.1.01d0.new"):
            (left / name).write_bytes(b"x")
    os.utime(old, (1, 1))
    Hub().install_bundle(bundle)
    assert not old.exists()
    assert young.exists()


def test_cards_that_cannot_all_be_written_are_all_taken_back(away: Path, bundle: Path) -> None:
    stuck = away / "cards" / "own" / "1.1"
    stuck.parent.mkdir(parents=True)
    stuck.write_bytes(b"a file where a folder should be")
    before = tree(away)
    with pytest.raises(TransferError, match="cannot be written"):
        Hub().install_bundle(bundle)
    assert {name: what for name, what in tree(away).items() if name.startswith("cards")} == before | {"cards": "folder"}


@pytest.mark.parametrize("kind", ["endless", "loop", "nowhere", "fifo"])
@pytest.mark.parametrize("name", ["own/1.0/cat.md", "own/1.0/files/bird.ckpt"])
def test_what_is_no_file_where_one_is_to_go_is_told_and_stays(away: Path, bundle: Path, kind: str, name: str) -> None:
    place = away / "cards" / name
    place.parent.mkdir(parents=True)
    if kind == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to({"endless": "/dev/zero", "loop": place.name, "nowhere": "no/where"}[kind])
    before = tree(away / "cards")
    for force in (False, True):
        with pytest.raises(MshubError) as caught:
            Hub().install_bundle(bundle, force=force)
        assert place.name in str(caught.value)
        assert tree(away / "cards") == before


@pytest.mark.parametrize("links", [True, False])
def test_cards_that_are_replaced_come_back_where_not_all_can_be(
    away: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    Hub().install_bundle(bundle)
    card = away / "cards" / "own" / "1.0" / "cat.md"
    card.write_bytes(card.read_bytes() + b"\nmore\n")
    (away / "cards" / "own" / "1.1" / "cat.md").unlink()
    before = tree(away / "cards")
    real, no_link = Path.replace, OSError(errno.EPERM, os.strerror(errno.EPERM))

    def full(self: Path, target: Path) -> Path:
        if Path(target).parts[-2:] == ("1.1", "cat.md"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, target)

    def link(*_: object, **__: object) -> None:
        raise no_link

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        if not links:  # some file systems have none
            patch.setattr(os, "link", link)
        with pytest.raises(MshubError):
            Hub().install_bundle(bundle, force=True)
    assert tree(away / "cards") == before
    assert card.read_bytes().endswith(b"more\n")


def test_links_among_the_installed_cards_are_not_followed_out(away: Path, bundle: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (away / "cards").mkdir(parents=True)
    (away / "cards" / "own").symlink_to(outside)
    with pytest.raises(UsageError, match="leads out"):
        Hub().install_bundle(bundle)
    assert list(outside.iterdir()) == []
    assert sorted(tree(away / "cards")) == ["own"]


# --- what is no bundle of ours


def damaged(change: Callable[[bytes], bytes]) -> Callable[[Path, Path], None]:
    def apply(bundle: Path, _away: Path) -> None:
        bundle.write_bytes(change(bundle.read_bytes()))

    return apply


def forged(members: list[Any], **how: Any) -> Callable[[Path, Path], None]:
    def apply(bundle: Path, _away: Path) -> None:
        forge(bundle, members, **how)

    return apply


def packed(*infos: tarfile.TarInfo, keep: bool = True) -> Callable[[Path, Path], None]:
    """The members of the bundle, if they are kept, and others, written by the standard library."""

    def apply(bundle: Path, _away: Path) -> None:
        with tarfile.open(bundle) as old:
            members = [(info, old.extractfile(info).read()) for info in old if keep]  # type: ignore[union-attr]
        with tarfile.open(bundle, "w") as new:
            for info, data in members:
                new.addfile(info, io.BytesIO(data))
            for info in infos:
                new.addfile(info, io.BytesIO(bytes(info.size)))

    return apply


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def changed(number: int, **fields: Any) -> Callable[[list[dict[str, Any]]], Any]:
    def apply(items: list[dict[str, Any]]) -> Any:
        items[number] |= fields
        return items

    return apply


BAD_UID = pair("own/1.0/cat")[0][1]
CAT_FILE = pair()[1]


@pytest.mark.parametrize(
    ("attack", "error", "said"),
    [
        (damaged(lambda data: b""), IntegrityError, "no bundle"),
        (damaged(lambda data: data[:-1]), IntegrityError, "cut off"),
        (damaged(lambda data: data[: len(data) // 2]), IntegrityError, "cut off"),
        (damaged(lambda data: data + b"\0"), IntegrityError, "longer than its members"),
        (damaged(lambda data: data[:-1] + b"x"), IntegrityError, "does not end after"),
        (damaged(lambda data: bytes(len(data))), IntegrityError, "no bundle"),
        (packed(), IntegrityError, "longer than its members"),
        (packed(entry("../../evil")), IntegrityError, "longer than"),
        (packed(entry("/etc/evil"), keep=False), IntegrityError, "a member named '/etc/evil'"),
        (packed(entry("link", tarfile.SYMTYPE, "/etc"), keep=False), IntegrityError, "a symbolic link named 'link'"),
        (packed(entry("link", tarfile.LNKTYPE, "x"), keep=False), IntegrityError, "a hard link"),
        (packed(entry("null", tarfile.CHRTYPE), keep=False), IntegrityError, "a device"),
        (packed(entry("fifo", tarfile.FIFOTYPE), keep=False), IntegrityError, "a FIFO"),
        (packed(entry("folder", tarfile.DIRTYPE), keep=False), IntegrityError, "a folder"),
        (forged(pair(), version=4), IntegrityError, "pip install --upgrade"),
        (forged(pair(), version=True), IntegrityError, "not as mshub_ssd writes it"),
        (forged(pair(), format="zip"), IntegrityError, "not as mshub_ssd writes it"),
        (forged(pair(), more=1), IntegrityError, "not as mshub_ssd writes it"),
        (forged([]), IntegrityError, "no cards"),
        (forged(pair()[:1]), IntegrityError, "not every card has a file"),
        (forged(pair()[1:]), IntegrityError, "not every file a card"),
        (forged([*pair(), *pair()]), IntegrityError, "twice"),
        (forged(pair()[::-1]), IntegrityError, "wrong order"),
        (forged([*pair(), ("files/x", b"", [CAT])]), IntegrityError, "path 'files/x'"),
        (forged([(f"cards/{CAT}.md", b"x" * ((1 << 20) + 1), [CAT]), CAT_FILE]), IntegrityError, "path"),
        (forged(pair(), stated=lambda items: items[:1]), IntegrityError, "not every card has a file"),
        (forged(pair(), stated=lambda items: "abc"), IntegrityError, "no member"),
        (forged(pair(), stated=lambda items: [*items, None]), IntegrityError, "no member"),
        (forged(pair(), stated=changed(0, size=1.0)), IntegrityError, "wrong type"),
        (forged(pair(), stated=changed(1, size=True)), IntegrityError, "wrong type"),
        (forged(pair(), stated=changed(1, size=-3)), IntegrityError, "size -3"),
        (forged(pair(), stated=changed(1, size=1 << 40)), IntegrityError, "path"),
        (forged(pair(), stated=changed(1, size=4)), IntegrityError, "another member stands"),
        (forged(pair(), stated=changed(1, sha256="0" * 64)), IntegrityError, "path"),
        (forged(pair(), stated=changed(1, sha256="0" * 63)), IntegrityError, "sha256"),
        (forged(pair(), stated=changed(1, uids=[])), IntegrityError, "wrong type"),
        (forged(pair(), stated=changed(1, uids=[DOG])), IntegrityError, "not every"),
        (forged(pair(), stated=changed(1, uids=[CAT, CAT])), IntegrityError, "uids"),
        (forged(pair(), stated=changed(0, path="cards/own/1.0/dog.md")), IntegrityError, "path"),
        (forged([("cards/readme.md", BAD_UID, ["readme"]), (*CAT_FILE[:2], ["readme"])]), IntegrityError, "uids"),
        (forged([(f"cards/{CAT}.md", b"no card", [CAT]), CAT_FILE]), CardError, f"cards/{CAT}.md in "),
        (forged([pair(data=b"dog")[0], CAT_FILE]), IntegrityError, "not the one its card promises"),
        (forged([(f"cards/{CAT}.md", pair()[0][1], [CAT]), pair(data=b"x")[1]]), IntegrityError, sha256(b"cat")),
        (forged(pair(link="../cat.ckpt")), CardError, "leads out of the card's folder"),
        (forged(pair(link="/etc/cat.ckpt")), CardError, "absolute"),
        (forged(pair(link="ftp://files.example/cat.ckpt")), CardError, "scheme"),
        (forged(pair(link="dog.md")), CardError, "names a card"),
        (
            forged([pair("a/b")[0], pair("a/b.md/c")[0], (*CAT_FILE[:2], ["a/b", "a/b.md/c"])]),
            UsageError,
            "go to one place",
        ),
        (forged(sorted([*pair("a/b", b"x", "f.ckpt"), *pair("a/c", b"y", "f.ckpt")])), UsageError, "go to one place"),
    ],
)
def test_what_is_no_bundle_is_refused_and_changes_nothing(
    away: Path,
    bundle: Path,
    tmp_path: Path,
    attack: Callable[[Path, Path], None],
    error: type[MshubError],
    said: str,
) -> None:
    attack(bundle, away)
    before = tree(tmp_path)
    for dry_run in (True, False):
        with pytest.raises(error) as caught:
            Hub().install_bundle(bundle, dry_run=dry_run)
        assert said in str(caught.value)
        assert no_card_came(away)
    after = tree(tmp_path)
    assert {name: what for name, what in after.items() if not name.startswith("away")} == before
    assert refused("bundle", "install", bundle).startswith("error: ")


ODD_NAMES = ["../evil", "/evil", "a/../../evil", "a//b", "", ".", "..", "a/.hidden", "a b", "a\\b", "a\0b", "ä", "a\n"]


@pytest.mark.parametrize("uid", [*ODD_NAMES, "x" * 300])
def test_a_name_that_is_no_uid_is_refused(away: Path, bundle: Path, tmp_path: Path, uid: str) -> None:
    def renamed(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [items[0] | {"path": f"cards/{uid}.md", "uids": [uid]}, items[1] | {"uids": [uid]}]

    forge(bundle, pair("x"), stated=renamed)
    before = tree(tmp_path)
    with pytest.raises(IntegrityError, match="uids"):
        Hub().install_bundle(bundle)
    assert tree(tmp_path) == before


@settings(
    max_examples=300,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(bundlelab.KINDS))
def test_no_change_to_a_bundle_gets_through(made: Path, seed: int, kind: str) -> None:
    bundlelab.attack((made / "all.tar").read_bytes(), kind, seed)


def test_a_manifest_too_large_to_be_one_is_not_read(away: Path, bundle: Path) -> None:
    size = archive._MAX_MANIFEST + 1
    with bundle.open("wb") as stream:
        stream.write(archive.header(archive.MANIFEST, size))
        stream.truncate(size + 2048)
    assert "no bundle" in refused("bundle", "ls", bundle)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path, tmp_path / "none", Path("/dev/null")):
        with pytest.raises(IntegrityError):
            bundles.inspect(path)
        with pytest.raises(IntegrityError):
            Hub().install_bundle(path)


def test_deep_json_is_no_manifest(away: Path, bundle: Path) -> None:
    body = b"[" * 1_000_000
    bundle.write_bytes(bundlelab.packed(archive.MANIFEST, body) + archive.END)
    assert "manifest cannot be read" in refused("bundle", "ls", bundle)


def test_a_bundles_members_are_told_as_they_are(bundle: Path) -> None:
    found = bundles.inspect(bundle)
    assert found.to_dict()["uids"] == list(found.uids) == ALL
    assert replace(found, members=()).size == 0
