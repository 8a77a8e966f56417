"""The same cards as a folder, a checkout, archives and bare repositories; named registries; cards by url."""

from __future__ import annotations

import datetime
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import run, started
from faultserver import FaultServer

import mshub_ssd
from mshub_ssd.errors import CardError, MissingDependencyError, MshubError, OfflineError, UsageError
from mshub_ssd.hub import Hub
from mshub_ssd.registry import Registry, folder, open_source
from mshub_ssd.settings import current

OFFICIAL = "mshub_res/assets"
DIGEST = "0" * 64


def mshub(*words: str) -> tuple[int, str, str]:
    done = run(*words)
    return done.exit_code, done.stdout, done.stderr


def text(uid: str, *lines: str, title: str = "Toy") -> bytes:
    version = next((part for part in uid.split("/") if part[0].isdigit()), "1.10")
    front = ["model-name: toy", "module-type: cv", f"mindspore-version: {version}", "train-dataset: coco2017", *lines]
    return "\n".join([f"# {title}", "", "---", *front, "---", "", "## 模型 body", ""]).encode()


def some_cards() -> dict[str, bytes]:
    """Some sixty cards by their files' names, a few of which are damaged or none."""
    found: dict[str, bytes] = {}
    for version in ("1.3", "1.9", "1.10", "2.0rc1"):
        for name in ("ssd300_coco2017", "resnet50_imagenet2012", "ssdmobilenetv2_coco2017", "crnn_synth"):
            for publisher in ("mindspore", "noah-cvlab/gpu", "noah-cvlab/ascend"):
                uid = f"{publisher}/{version}/{name}"
                found[f"{uid}.md"] = text(uid, f"summary: {name} 用于目标检测 of {publisher}")
    found |= {
        f"mindspore/1.9/asset{number}.md": text(
            f"mindspore/1.9/asset{number}",
            *(
                "asset:",
                "  - file-format: ckpt",
                f"    asset-link: files/a{number}.ckpt",
                f"    asset-sha256: {DIGEST}",
            ),
        )
        for number in range(6)
    }
    found["mindspore/1.9/broken.md"] = b"---\na: b: c\n---\n"
    found["mindspore/1.9/bytes.md"] = b"\xff\xfe\x00"
    found["mindspore/1.9/huge.md"] = text("mindspore/1.9/huge") + b"x" * (1 << 20)
    found["mindspore/1.9/chinese.md"] = text("mindspore/1.9/chinese", title="目标检测")
    found["mindspore/1.9/v1.2_name.with.dots.md"] = text("mindspore/1.9/dots")
    found["mindspore/1.9/模型.md"] = text("mindspore/1.9/none")
    found["README.md"] = b"# no card\n"
    return found


def put(root: Path, cards: dict[str, bytes]) -> Path:
    for name, data in cards.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def zipped(path: Path, cards: dict[str, bytes], before: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in cards.items():
            archive.writestr(before + name, data)
    return path


def tarred(path: Path, cards: dict[str, bytes], before: str = "", mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in cards.items():
            info = tarfile.TarInfo(before + name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def bare(folder: Path, cards: dict[str, bytes], below: str = "") -> Path:
    work = folder.with_suffix(".work")
    put(work / below, cards)
    git(work, "init", "-q", "-b", "main")
    git(work, "add", "-A")
    git(work, "commit", "-qm", "cards")
    git(work, "clone", "-q", "--bare", ".", str(folder))
    return folder


MAKERS: dict[str, Callable[[Path, dict[str, bytes]], Path]] = {
    "checkout": lambda at, cards: put(at / "hub" / OFFICIAL, cards).parents[1],
    "zip": lambda at, cards: zipped(at / "cards.zip", cards),
    "zip-of-github": lambda at, cards: zipped(at / "hub.zip", cards, f"hub-master/{OFFICIAL}/"),
    "zip-in-folder": lambda at, cards: zipped(at / "hub.zip", cards, "my-cards/"),
    "tar": lambda at, cards: tarred(at / "cards.tar", cards, "./", "w:"),
    "tar.gz": lambda at, cards: tarred(at / "cards.tar.gz", cards, f"{OFFICIAL}/"),
    "tgz": lambda at, cards: tarred(at / "cards.tgz", cards),
    "tar.xz": lambda at, cards: tarred(at / "cards.tar.xz", cards, mode="w:xz"),
    "bare": lambda at, cards: bare(at / "hub.git", cards, OFFICIAL),
    "bare-root": lambda at, cards: bare(at / "hub.git", cards),
}


def registry(place: Path) -> Registry:
    settings = current()
    return Registry([open_source(place, settings)], settings.homes)


def said(one: Registry) -> dict[str, object]:
    cards = list(one.cards())
    return {
        "uids": one.uids(),
        "listed": one.list_models("*", mindspore_version="1.10"),
        "newest": [shown.uid for shown in one.families(sort="newest")],
        "found": [shown.uid for shown in one.search("ssd300 coco2017")],
        "chinese": [shown.uid for shown in one.search("目标检测")],
        "damaged": one.damaged(),
        "cards": [{**card.to_dict(), "path": None, "origin": None} for card in cards],
        "short": one.card("mindspore/latest/ssd300_coco2017").uid,
    }


@pytest.mark.parametrize("kind", MAKERS)
def test_every_source_says_the_same(tmp_path: Path, kind: str) -> None:
    cards = some_cards()
    expected = said(registry(put(tmp_path / "plain", cards)))
    place = MAKERS[kind](tmp_path, cards)
    found = said(registry(place))
    assert found == expected
    assert len(expected["uids"]) == 56  # type: ignore[arg-type]
    assert [uid for uid, _ in expected["damaged"]] == [f"mindspore/1.9/{name}" for name in ("broken", "bytes", "huge")]  # type: ignore[attr-defined]
    assert said(registry(place)) == found
    card = registry(place).card("noah-cvlab/gpu/1.10/ssd300_coco2017")
    assert (card.path is None) == (kind != "checkout")
    assert card.origin is not None
    assert str(place) in card.origin
    assert card.origin.endswith("noah-cvlab/gpu/1.10/ssd300_coco2017.md")


@pytest.mark.parametrize("kind", MAKERS)
def test_a_relative_asset_without_a_folder_is_told(tmp_path: Path, kind: str) -> None:
    card = registry(MAKERS[kind](tmp_path, some_cards())).card("mindspore/1.9/asset3")
    if card.path is not None:
        assert card.resolve(card.assets[0]) == card.path.parent / "files/a3.ckpt"
        return
    with pytest.raises(CardError, match="this card lies in no folder") as caught:
        card.resolve(card.assets[0])
    assert "unpack its archive" in str(caught.value.hint)
    assert str(card.origin) in str(caught.value.where)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "bare"])
def test_edits_are_seen(tmp_path: Path, kind: str) -> None:
    cards = some_cards()
    place = MAKERS[kind](tmp_path, cards)
    one = registry(place)
    assert len(one.uids()) == 56
    cards["mindspore/1.9/new.md"] = text("mindspore/1.9/new", title="Fresh fish")
    cards["mindspore/1.9/bytes.md"] = text("mindspore/1.9/bytes")
    del cards["mindspore/1.9/chinese.md"]
    if kind == "bare":
        shutil.rmtree(place)
        shutil.rmtree(place.with_suffix(".work"))
    MAKERS[kind](tmp_path, cards)
    for again in (one, registry(place)):
        assert len(again.uids()) == 57
        assert [shown.uid for shown in again.search("fresh fish")] == ["mindspore/1.9/new"]
        assert again.find("mindspore/1.9/chinese") is None
        assert again.card("mindspore/1.9/bytes").mindspore_version == "1.9"


def test_a_revision_of_a_repository(tmp_path: Path) -> None:
    work = put(tmp_path / "work", {"a/1.0/one.md": text("a/1.0/one")})
    git(work, "init", "-q", "-b", "main")
    git(work, "add", "-A")
    git(work, "commit", "-qm", "one")
    git(work, "tag", "v1")
    put(work, {"a/1.0/two.md": text("a/1.0/two")})
    git(work, "add", "-A")
    git(work, "commit", "-qm", "two")
    git(work, "clone", "-q", "--bare", ".", str(tmp_path / "bare.git"))
    assert registry(tmp_path / "bare.git").uids() == ["a/1.0/one", "a/1.0/two"]
    for place in ("bare.git@v1", "work@v1", "bare.git@main~1"):
        assert registry(tmp_path / place).uids() == ["a/1.0/one"]
    assert registry(work).uids() == ["a/1.0/one", "a/1.0/two"]
    for place in ("bare.git@nothing", "bare.git@--help", "bare.git@main..v1", "bare.git@HEAD:a"):
        with pytest.raises(UsageError):
            registry(tmp_path / place)


def test_a_repository_runs_nothing_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = bare(tmp_path / "hub.git", {"a/1.0/one.md": text("a/1.0/one"), "-a/x.md": text("x")})
    trap = tmp_path / "trap"
    script = f"#!/bin/sh\ntouch {trap}\n"
    for hook in ("post-checkout", "pre-auto-gc", "fsmonitor-watchman"):
        (place / "hooks" / hook).write_text(script)
        (place / "hooks" / hook).chmod(0o755)
    with (place / "config").open("a") as config:
        config.write(f"[core]\n\tfsmonitor = {place}/hooks/post-checkout\n\tpager = {place}/hooks/post-checkout\n")
        config.write(f'\tsshCommand = {place}/hooks/post-checkout\n[remote "origin"]\n\tpromisor = true\n')
        config.write(f"\turl = ext::{place}/hooks/post-checkout\n[extensions]\n\tpartialClone = origin\n")
    objects = [path for path in (place / "objects").rglob("*") if path.is_file()]
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    one = registry(place)
    assert one.uids() == ["a/1.0/one"]
    for path in objects:  # what is missing is not fetched
        path.chmod(0o644)
        path.unlink()
    with pytest.raises(MshubError):
        registry(place).card("a/1.0/one")
    assert not trap.exists()


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = bare(tmp_path / "hub.git", {"a/1.0/one.md": text("a/1.0/one")})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="git"):
        registry(place)


def _hostile_tar(path: Path, mode: str) -> None:
    with tarfile.open(path, mode) as archive:
        for name in ("../out.md", "/abs.md", "a/../../b.md", ".hidden/x.md", "a/1.0/good.md", "a\\b.md", "a/b\n.md"):
            info = tarfile.TarInfo(name)
            data = text("a/1.0/good")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, kind in (("a/1.0/soft.md", tarfile.SYMTYPE), ("a/1.0/hard.md", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("a/1.0/pipe.md")
        info.type = tarfile.FIFOTYPE
        archive.addfile(info)


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:xz"])
def test_hostile_tars(tmp_path: Path, mode: str) -> None:
    place = tmp_path / "bad.tar"
    _hostile_tar(place, mode)
    one = registry(place)
    assert one.uids() == ["a/1.0/good"]
    reasons = dict(one.damaged())
    assert sorted(reasons) == [f"a/1.0/{name}" for name in ("hard", "pipe", "soft")]
    assert "links in archives are not followed" in reasons["a/1.0/soft"]
    with pytest.raises(CardError, match="not followed"):
        one.card("a/1.0/soft")


def test_hostile_zips(tmp_path: Path) -> None:
    place = tmp_path / "bad.zip"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("../out.md", "/abs.md", "a/../../b.md", "a/1.0/good.md"):
            archive.writestr(name, text("a/1.0/good"))
        link = zipfile.ZipInfo("a/1.0/soft.md")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("a/1.0/bomb.md", b"\0" * (64 << 20))
        archive.writestr(zipfile.ZipInfo("a/1.0/packed.md"), text("x"), zipfile.ZIP_BZIP2)
    one = registry(place)
    assert one.uids() == ["a/1.0/good"]
    reasons = dict(one.damaged())
    assert sorted(reasons) == [f"a/1.0/{name}" for name in ("bomb", "packed", "soft")]
    assert "1 MiB" in reasons["a/1.0/bomb"] or "larger" in reasons["a/1.0/bomb"]


def test_a_tar_of_headers_only_is_refused_at_once(tmp_path: Path) -> None:
    """A header that says it is followed by a gigabyte of names."""
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    (tmp_path / "bad.tar").write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + b"\0" * 4096)
    with pytest.raises(UsageError, match="cannot be read"):
        registry(tmp_path / "bad.tar").uids()


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
def test_damaged_archives_end_in_an_error_of_ours(tmp_path: Path, kind: str) -> None:
    place = MAKERS[kind](tmp_path, some_cards())
    whole = place.read_bytes()
    expected = set(registry(place).uids())
    # A tar ends in blocks of zeros, of which one is enough.
    ends = [len(whole) // 2, len(whole) - 30] if kind != "tar" else [len(whole) // 2]
    for number, count in enumerate([0, 1, 100, 513, *ends]):
        cut = tmp_path / f"cut{number}{''.join(place.suffixes)}"
        cut.write_bytes(whole[:count])
        with pytest.raises(UsageError, match="archive of model cards cannot be read"):
            registry(cut).uids()
    for at in range(20, len(whole), len(whole) // 40):
        flipped = tmp_path / f"flip{''.join(place.suffixes)}"
        flipped.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            found = set(registry(flipped).uids())
        except MshubError:
            continue
        # A tar without compression has no sums but those of its headers.
        assert found <= expected or kind in ("tar", "zip")


def test_a_damaged_member_is_a_row_with_its_error_until_it_is_whole(tmp_path: Path) -> None:
    cards = {f"a/1.0/m{number}.md": os.urandom(8).hex().encode() + text(f"a/1.0/m{number}") for number in range(3)}
    cards = {name: text(name[:-3], f"summary: {number} {os.urandom(200).hex()}") for number, name in enumerate(cards)}
    place = zipped(tmp_path / "cards.zip", cards)
    whole = place.read_bytes()
    with zipfile.ZipFile(place) as archive:
        at = archive.getinfo("a/1.0/m1.md").header_offset + 80
    place.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    one = registry(place)
    assert one.uids() == ["a/1.0/m0", "a/1.0/m2"]
    assert [uid for uid, _ in one.damaged()] == ["a/1.0/m1"]
    with pytest.raises(CardError) as caught:
        one.card("a/1.0/m1")
    assert f"{place}:a/1.0/m1.md" in str(caught.value.where)
    place.write_bytes(whole)
    assert (len(one.uids()), one.damaged()) == (3, [])


def test_order_decides_on_clashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = "a/1.0/one"
    places = {
        "zip": zipped(tmp_path / "z.zip", {f"{uid}.md": text(uid, title="zip")}),
        "tar": tarred(tmp_path / "t.tgz", {f"{uid}.md": text(uid, title="tar")}),
        "git": bare(tmp_path / "g.git", {f"{uid}.md": text(uid, title="git")}),
    }
    for order in (("zip", "tar", "git"), ("git", "zip", "tar"), ("tar", "git", "zip")):
        assert Hub(registry=[places[kind] for kind in order]).info(uid).title == order[0]
        monkeypatch.setenv("MSHUB_REGISTRY", ";".join(str(places[kind]) for kind in order))
        assert mshub_ssd.info(uid).title == order[0]
        assert mshub_ssd.list_models("a/*") == [uid]
    monkeypatch.setenv("MSHUB_REGISTRY", os.pathsep.join([str(places["tar"]), str(places["zip"])]))
    assert mshub_ssd.info(uid).title == "tar"


def test_registries_that_are_added_at_once_are_all_there(tmp_path: Path) -> None:
    processes = []
    for number in range(6):
        put(tmp_path / f"own{number}", {f"a/{number}.md": text(f"a/{number}")})
        processes.append(started("registry", "add", f"lab{number}", str(tmp_path / f"own{number}")))
    for process in processes:
        _, said = process.communicate()
        assert process.returncode == 0, said
    told = json.loads(mshub("registry", "list", "--json")[1])
    assert {one["name"] for one in told} == {*(f"lab{number}" for number in range(6)), "package"}
    processes = [started("registry", "remove", f"lab{number}") for number in range(6)]
    assert [process.wait() for process in processes] == [0] * 6
    assert [one["name"] for one in json.loads(mshub("registry", "list", "--json")[1])] == ["package"]


def test_the_list_tells_when_a_place_was_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_MANY", 0)  # as where there are very many cards
    mshub("registry", "add", "lab", str(put(tmp_path / "own", {"a/one.md": text("a/one")})))

    def looked() -> datetime.datetime:
        found = json.loads(mshub("registry", "list", "--json")[1])[0]["looked"]
        return datetime.datetime.fromisoformat(found)

    first = looked()
    assert abs((datetime.datetime.now().astimezone() - first).total_seconds()) < 60
    later = time.time() + 30
    with monkeypatch.context() as clock:
        clock.setattr(folder.time, "time", lambda: later)
        assert looked() == first, "it was believed"
        mshub("registry", "refresh", "lab")
        assert looked() > first
    assert f"{first:%Y-%m-%d}" in mshub("registry", "list")[1]


def test_registries_with_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = "a/1.0/one"
    place = zipped(tmp_path / "z.zip", {f"{uid}.md": text(uid, title="zip"), "a/1.0/bad.md": b"no card"})
    other = put(tmp_path / "own", {f"{uid}.md": text(uid, title="own"), "b/two.md": text("b/two")})
    code, out, _ = mshub("registry", "add", "lab", str(place))
    assert (code, "1 card" in out, "1 damaged" in out) == (0, True, True)
    assert mshub_ssd.info(uid).title == "zip"
    assert mshub("registry", "add", "mine", str(other), "--first")[0] == 0
    assert mshub_ssd.info(uid).title == "own"
    told = json.loads(mshub("registry", "list", "--json")[1])
    assert [(one["name"], one["kind"], one["cards"], len(one["damaged"]), one["hidden"]) for one in told[:2]] == [
        ("mine", "folder", 2, 0, 0),
        ("lab", "archive", 1, 1, 1),
    ]
    assert told[2]["name"] == "package"
    code, out, _ = mshub("registry", "list", "--damaged")
    assert (code, "a/1.0/bad" in out) == (0, True)
    # Named in MSHUB_REGISTRY, it comes first, and once.
    monkeypatch.setenv("MSHUB_REGISTRY", "lab")
    assert mshub_ssd.info(uid).title == "zip"
    assert [one["name"] for one in json.loads(mshub("registry", "list", "--json")[1])] == ["lab", "mine", "package"]
    monkeypatch.delenv("MSHUB_REGISTRY")
    assert mshub("registry", "refresh", "lab")[0] == 0
    assert mshub("registry", "refresh", "nobody")[0] == 1
    for words in (["add", "lab", str(other)], ["add", "../x", str(other)], ["add", "x", str(tmp_path / "none")]):
        assert mshub("registry", *words)[0] == 1
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK")
    assert mshub("registry", "add", "broken", str(broken))[0] == 1
    assert "broken" not in mshub("registry", "list")[1]
    shutil.rmtree(other)
    code, _, err = mshub("list")
    assert (code, "mshub registry remove mine" in err) == (1, True)
    code, out, err = mshub("registry", "list")
    assert (code, "unusable" in out, "lab" in out) == (1, True, True)
    assert mshub("registry", "remove", "mine")[0] == 0
    assert mshub("registry", "remove", "mine")[0] == 1
    assert mshub_ssd.info(uid).title == "zip"


def test_places_that_make_no_sense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.txt").write_text("x")
    put(tmp_path / "lab", {"a/1.0/folder.md": text("a/1.0/folder")})
    put(tmp_path / "other", {"a/1.0/named.md": text("a/1.0/named")})
    monkeypatch.chdir(tmp_path)
    assert mshub("registry", "add", "lab", "other")[0] == 0
    # A text may be a name, a path never is.
    for place, first in (("lab", "named"), (Path("lab"), "folder"), ("./lab", "folder")):
        assert str(Hub(registry=[place]).registry.sources[0].label).endswith("other" if first == "named" else "lab")
    for place in (tmp_path / "nothing", tmp_path / "notes.txt", tmp_path / "nothing.zip"):
        with pytest.raises(UsageError, match="an archive") as caught:
            Hub(registry=[place]).list_models()
        assert str(place) in str(caught.value.where)
    monkeypatch.setenv("MSHUB_REGISTRY", f"{tmp_path}:https://u:geheim@example.org/hub")
    with pytest.raises(UsageError, match="beside something else") as caught:
        mshub_ssd.list_models()
    assert "geheim" not in str(caught.value)
    assert "geheim" not in repr(Hub(registry=["https://u:geheim@example.org/hub"]).settings)


def test_a_card_by_its_url(fault_server: FaultServer, tmp_path: Path) -> None:
    asset = ("asset:", "  - file-format: ckpt", "    asset-link: files/a b#1.ckpt", f"    asset-sha256: {DIGEST}")
    data = text("x", "network: ssd_vgg16", *asset)
    url = fault_server.add(f"/raw/{OFFICIAL}/noah-cvlab/gpu/1.10/a.b_v1.2.md", data)
    card = mshub_ssd.info(f"{url}?token=geheim")
    assert (card.uid, card.path, card.origin) == ("noah-cvlab/gpu/1.10/a.b_v1.2", None, url)
    assert card.resolve(card.assets[0]) == url.replace("a.b_v1.2.md", "files/a%20b%231.ckpt")
    assert mshub_ssd.Hub().checkpoint(url).location == url.replace("a.b_v1.2.md", "files/a%20b%231.ckpt")
    code, out, _ = mshub("info", url, "--json")
    assert (code, json.loads(out)["origin"]) == (0, url)
    assert json.loads(mshub("doctor", url, "--json")[1])
    code, out, _ = mshub("fetch", "--dry-run", url)
    assert (code, "files/a%20b%231.ckpt" in out) == (0, True)
    plain = fault_server.add("/elsewhere/toy.md", data)
    assert mshub_ssd.info(plain).uid == "toy"


def test_urls_that_are_no_cards(fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    page = fault_server.add("/login.md", b"<!DOCTYPE html><html>")
    with pytest.raises(CardError) as caught:
        mshub_ssd.info(page)
    assert page in str(caught.value.where)
    with pytest.raises(ConnectionError):
        mshub_ssd.info(fault_server.add("/huge.md", b"x" * (2 << 20)))
    with pytest.raises(UsageError, match="not the url of a card"):
        mshub_ssd.info(fault_server.add("/card", b"x"))
    monkeypatch.setenv("MSHUB_OFFLINE", "1")
    with pytest.raises(OfflineError):
        mshub_ssd.info(page)


@pytest.mark.parametrize(
    ("page", "raw", "uid"),
    [
        (
            f"https://github.com/mindspore-ai/hub/blob/master/{OFFICIAL}/mindspore/1.10/x.md?plain=1#L3",
            f"https://raw.githubusercontent.com/mindspore-ai/hub/master/{OFFICIAL}/mindspore/1.10/x.md",
            "mindspore/1.10/x",
        ),
        (
            f"https://gitee.com/mindspore/hub/tree/r2.0/{OFFICIAL}/noah-cvlab/gpu/1.0/a_v1.0.md",
            f"https://gitee.com/mindspore/hub/raw/r2.0/{OFFICIAL}/noah-cvlab/gpu/1.0/a_v1.0.md",
            "noah-cvlab/gpu/1.0/a_v1.0",
        ),
        ("https://example.org/a/b/blob/c/hub_models/p/1.0/y.md", None, "p/1.0/y"),
        ("https://example.org/%E6%A8%A1.md", None, "模"),
    ],
)
def test_pages_of_cards(page: str, raw: str | None, uid: str) -> None:
    from mshub_ssd.hub.naming import raw_url, uid_of_url

    assert raw_url(page) == (raw or page)
    assert uid_of_url(raw_url(page)) == uid


def test_a_bundle_of_cards_that_lie_in_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = "mshub/1.0/ssdmobilenetv2_digits"
    package = Path(mshub_ssd.info(digits).path or "").parent
    info = mshub_ssd.info(digits)
    cards = {"z/1.0/toy.md": Path(str(info.path)).read_bytes(), "z/1.0/other.md": text("z/1.0/other")}
    place = zipped(tmp_path / "cards.zip", cards)
    hub = Hub(registry=[place])
    with pytest.raises(CardError, match="lies in no folder"):
        hub.make_bundle(["z/1.0/toy"], tmp_path / "out.tar")
    assert any(path.suffix != ".md" for path in package.iterdir())
    # What a bundle brings is hidden by an archive that says something else.
    folder = put(tmp_path / "own", {})
    folder.mkdir()
    shutil.copytree(package, folder / "z/1.0")
    (folder / "z/1.0/ssdmobilenetv2_digits.md").rename(folder / "z/1.0/other.md")
    Hub(registry=[folder]).make_bundle(["z/1.0/other"], tmp_path / "out.tar")
    with pytest.raises(UsageError, match="searched earlier") as caught:
        hub.install_bundle(tmp_path / "out.tar")
    assert f"{place}:z/1.0/other.md" in str(caught.value.where)


def test_the_documents_examples_run(tmp_path: Path) -> None:
    document = (Path(__file__).parents[1] / "docs" / "registry.md").read_text(encoding="utf-8")
    blocks = [part.split("```")[0] for part in document.split("```sh\n")[1:]]
    put(tmp_path / "cards", {"lab/1.0/toy.md": text("lab/1.0/toy"), "lab/1.0/bad.md": b"no card"})
    zipped(tmp_path / "hub-master.zip", {"lab/1.0/zipped.md": text("lab/1.0/zipped")}, f"hub-master/{OFFICIAL}/")
    bare(tmp_path / "hub.git", {"lab/1.0/tracked.md": text("lab/1.0/tracked")}, OFFICIAL)
    script = "set -e\n" + "\n".join(blocks)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "lab/1.0/zipped" in done.stdout
    assert "lab/1.0/tracked" in done.stdout
    python = [part.split("```")[0] for part in document.split("```python\n")[1:]]
    for block in python:
        done = subprocess.run(
            [sys.executable, "-c", block], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
