"""Bundles with the code of repositories: what travels, what is refused, and that consent does not."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundlelab import forge
from commands import answer, refused, run
from repolab import Lab
from shelf import sha256, tree

from mshub_ssd import bundles, foreign
from mshub_ssd.bundles.archive import opened
from mshub_ssd.errors import IntegrityError, MshubError, OfflineError, TrustError
from mshub_ssd.foreign import code_in_caches, obtain, pack_code
from mshub_ssd.hub import Hub

ZOO = "mindspore/models"
PATH = "research/cv/net"
UID, TWIN, PLAIN = "mindspore/1.9/net_mnist", "mindspore/1.9/net_cifar10", "mindspore/1.9/plain_mnist"
FILES = {
    "src": {"__init__.py": "", "net.py": "class Net:\n    pass\n"},
    "same.py": "class Net:\n    pass\n",
    "a.png": b"1",
}
CARD = """# net

---

model-name: {name}

module-type: cv

repo-link: <https://gitee.com/mindspore/models/tree/r1.9/{path}>

asset:

-
    file-format: ckpt
    asset-link: {name}.ckpt
    asset-sha256: {digest}

---
"""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "models.git")


@pytest.fixture
def commit(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A repository, two cards that mean a folder of it, and one that means none."""
    made = lab.commit({"research": {"cv": {"net": FILES, "other": {"x.py": "1"}}}})
    monkeypatch.setenv("MSHUB_REPOSITORIES", f"{ZOO}={lab.path}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "cards"))
    home = tmp_path / "cards" / "mindspore" / "1.9"
    home.mkdir(parents=True)
    for uid in (UID, TWIN, PLAIN):
        name = uid.rpartition("/")[2].rpartition("_")[0]
        path = PATH if uid != PLAIN else "research/cv/nothing"
        (home / f"{name}.ckpt").write_bytes(name.encode())
        text = CARD.format(name=name, path=path, digest=sha256(name.encode()))
        (home / f"{uid.rpartition('/')[2]}.md").write_text(text)
    row = {"path": PATH, "models": ["net"], "commits": [made], "call": {"callable": "src.net:Net"}}
    monkeypatch.setattr("mshub_ssd.providers.repository._rows", lambda: {(ZOO, PATH): [row]})
    return made


@pytest.fixture
def bundle(commit: str, tmp_path: Path) -> Path:
    foreign.allow(ZOO, commit)
    Hub().make_bundle([UID, TWIN, PLAIN], tmp_path / "b.tar", with_code=True)
    foreign.revoke(ZOO, commit)
    return tmp_path / "b.tar"


@pytest.fixture
def away(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another machine: neither repository, cards nor code."""
    monkeypatch.setenv("MSHUB_HOME", str(tmp_path / "away"))
    monkeypatch.setenv("MSHUB_REGISTRY", "")
    monkeypatch.setenv("MSHUB_REPOSITORIES", f"{ZOO}=https://127.0.0.1:1/none.git")
    monkeypatch.setenv("MSHUB_OFFLINE", "1")
    return tmp_path / "away"


def members_of(path: Path) -> list[tuple[str, bytes, list[str]]]:
    found = []
    with opened(path) as archive:
        for member in archive.bundle.members:
            with archive.member(member, lambda count: None) as body:
                found.append((member.path, body.read(), list(member.uids)))
    return found


def with_piece(path: Path, change: Callable[[bytes], bytes], **more: Any) -> Path:
    """The bundle with its code changed, and all else made to fit."""
    members = members_of(path)
    name, data, uids = members.pop()
    assert name.startswith("sources/")
    data = change(data)
    return forge(path, [*members, (f"sources/{sha256(data)}", data, uids)], version=3, **more)


# --- there and back


def test_code_travels_with_its_cards_and_needs_consent_again(commit: str, bundle: Path, away: Path) -> None:
    with pytest.raises(OfflineError):
        obtain(ZOO, commit, PATH)
    dry = run("bundle", "install", "--dry-run", bundle)
    assert "1 folder of code to keep" in dry.stdout
    assert not (away / "v1" / "code").exists()
    done = answer("bundle", "install", bundle)
    assert done["code"] == [f"{ZOO}@{commit}:{PATH}"]
    (entry,) = code_in_caches()
    assert (entry.path, entry.carried, entry.consent) == (PATH, True, None)
    assert obtain(ZOO, commit, PATH).read("src/net.py") == b"class Net:\n    pass\n"
    assert [one.fault for one in foreign.verify_code()] == [None]
    assert foreign.allowed() == []
    with pytest.raises(TrustError, match="runs only with your consent"):
        Hub().load(UID)
    again = run("bundle", "install", bundle)
    assert f"trust add {ZOO}@{commit}" in again.stdout
    foreign.allow(ZOO, commit)
    assert "consent" not in run("bundle", "install", bundle).stdout


def test_bundles_show_their_code(bundle: Path) -> None:
    read = bundles.inspect(bundle)
    (code,) = read.of_kind("code")
    assert code.uids == tuple(sorted([UID, TWIN]))
    told = run("bundle", "ls", bundle).stdout
    assert "code" in told
    assert "1 folder of code" in told
    assert json.loads(read_manifest(bundle))["version"] == 3


def read_manifest(path: Path) -> str:
    data = path.read_bytes()
    return data[512 : 512 + int(data[124:135], 8)].decode()


def test_the_same_code_gives_the_same_bytes_and_none_without_being_asked(
    commit: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Hub().make_bundle([UID, TWIN, PLAIN], tmp_path / "without.tar")
    assert json.loads(read_manifest(tmp_path / "without.tar"))["version"] == 1
    monkeypatch.setenv("MSHUB_HOME", str(tmp_path / "other"))
    foreign.allow(ZOO, commit)
    assert "1 folder of code" in run("bundle", UID, TWIN, PLAIN, "--with-code", "-o", tmp_path / "again.tar").stdout
    assert (tmp_path / "again.tar").read_bytes() == bundle.read_bytes()


def test_making_one_needs_consent(commit: str, tmp_path: Path) -> None:
    told = refused("bundle", UID, "--with-code", "-o", tmp_path / "b.tar", code=1)
    assert "consent" in told
    assert f"trust add {ZOO}@{commit}" in told
    assert not (tmp_path / "b.tar").exists()
    Hub().make_bundle([PLAIN], tmp_path / "b.tar", with_code=True)
    assert bundles.inspect(tmp_path / "b.tar").of_kind("code") == ()


def test_code_can_be_left_out(bundle: Path, away: Path) -> None:
    assert answer("bundle", "install", "--without-code", bundle)["code"] == []
    assert code_in_caches() == []


def test_code_that_no_card_means_here_is_passed_over(
    commit: str, bundle: Path, away: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = lab.commit({"research": {"cv": {"net": {"src": {"net.py": "evil = 1\n"}}}}}, branch="own")
    monkeypatch.setenv("MSHUB_REPOSITORIES", f"{ZOO}={lab.path}")
    piece = pack_code(ZOO, own, PATH)
    foreign.remove_code([f"{ZOO}@{own}"])
    with_piece(bundle, lambda _: piece)
    assert "0 folders of code in the cache, 1 passed over" in run("bundle", "install", bundle).stdout
    assert code_in_caches() == []


def test_what_is_here_stays_and_is_marked(commit: str, bundle: Path, away: Path, lab: Lab, monkeypatch: Any) -> None:
    monkeypatch.setenv("MSHUB_REPOSITORIES", f"{ZOO}={lab.path}")
    obtain(ZOO, commit, PATH)
    assert not code_in_caches()[0].carried
    run("bundle", "install", bundle)
    assert code_in_caches()[0].carried
    assert not foreign.prune_code().removed


# --- what is refused


def renamed(**names: str) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        line, _, rest = data.partition(b"\n")
        return json.dumps(json.loads(line) | names).encode() + b"\n" + rest

    return change


def appended(kind: str, data: bytes) -> Callable[[bytes], bytes]:
    return lambda piece: piece + f"{kind} {len(data)}\0".encode() + data


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda piece: b"", "no code of a repository"),
        (lambda piece: b"{}\n", "no code of a repository"),
        (lambda piece: b"[" * 1000 + b"\n", "no code of a repository"),
        (lambda piece: piece[:-1], "no code of a repository"),
        (lambda piece: piece.replace(b"class Net", b"class Bad"), "it lacks"),
        (lambda piece: piece.replace(b"class Net:\n    pass\n", b"", 1).replace(b"blob 20\0", b"", 1), "it lacks"),
        (appended("blob", b"more"), "more than the folder"),
        (appended("tree", b""), "more than the folder"),
        (appended("tag", b"x"), "damaged"),
        (appended("blob", b"class Net:\n    pass\n"), "more than the folder"),
        (lambda piece: piece.partition(b"\n")[0] + b" \n" + piece.partition(b"\n")[2], "more than the folder"),
        (renamed(commit="0" * 40), "no code of a repository"),
        (renamed(commit="r1.9"), "names no folder"),
        (renamed(repository="../models"), "names no folder"),
        (renamed(path="../.."), "names no folder"),
        (renamed(path="research/cv/nothing"), "no such folder"),
        (renamed(path="research/cv/other"), "no code of a repository"),
        (renamed(path="research"), "no code of a repository"),
    ],
)
def test_what_is_not_the_commits_is_refused_and_changes_nothing(
    bundle: Path, away: Path, change: Callable[[bytes], bytes], said: str
) -> None:
    with_piece(bundle, change)
    with pytest.raises(IntegrityError, match=said):
        Hub().install_bundle(bundle)
    assert not (away / "cards").exists()
    assert not (away / "v1" / "code").exists()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("120000", b"net.py")], "symbolic link"),
        ([("160000", b"net.py")], "submodule"),
        ([("100644", b"..")], "leads elsewhere"),
        ([("100644", b".git")], "leads elsewhere"),
        ([("100644", b"con.py")], "leads elsewhere"),
        ([("100644", b"a.py"), ("100644", b"A.py")], "two names"),
        ([("100644", f"{n}.py".encode()) for n in range(2600)], "too large"),
    ],
)
def test_hostile_folders_are_refused(
    bundle: Path, away: Path, lab: Lab, tmp_path: Path, rows: list[tuple[str, bytes]], said: str
) -> None:
    big = b"#" * (30 << 10)
    inner = lab.rows(*((mode, name, lab.blob(big)) for mode, name in rows))
    cv = lab.rows(("40000", b"net", inner))
    top = lab.rows(("40000", b"research", research := lab.rows(("40000", b"cv", cv))))
    made = lab.commit(top)

    def piece(_: bytes) -> bytes:
        line = json.dumps({"repository": ZOO, "commit": made, "path": PATH}).encode() + b"\n"
        found = [("commit", made), ("tree", top), ("tree", research), ("tree", cv), ("tree", inner)]
        objects = [*found, ("blob", lab.blob(big))]
        for kind, name in objects:
            data = lab.git("cat-file", kind, name) if kind == "commit" else None
            raw = (data + "\n").encode() if data is not None else raw_of(lab, name)
            line += f"{kind} {len(raw)}\0".encode() + raw
        return line

    with_piece(bundle, piece)
    before = tree(tmp_path)
    with pytest.raises(TrustError, match=said):
        Hub().install_bundle(bundle)
    after = tree(tmp_path)
    assert {name: what for name, what in after.items() if name not in before and not name.startswith("away")} == {}
    assert not (away / "cards").exists()
    assert not (away / "v1" / "code").exists()


def raw_of(lab: Lab, name: str) -> bytes:
    return zlib.decompress(lab.object(name).read_bytes()).partition(b"\0")[2]


def test_code_for_cards_that_are_not_there_is_refused(bundle: Path, away: Path) -> None:
    members = members_of(bundle)
    name, data, _ = members.pop()
    forge(bundle, [*members, (name, data, ["own/1.0/cat"])], version=3)
    with pytest.raises(IntegrityError, match="code is for a card that is not there"):
        Hub().install_bundle(bundle)


def test_one_changed_byte_anywhere_is_refused(bundle: Path, away: Path) -> None:
    whole = bundle.read_bytes()
    start = whole.index(b"sources/", 2000) if b"sources/" in whole[2000:] else len(whole) // 2
    for at in range(start, len(whole), 311):
        bundle.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(MshubError):
            Hub().install_bundle(bundle)
    assert not (away / "v1" / "code").exists()


def test_all_code_together_is_bounded(bundle: Path, away: Path) -> None:
    members = members_of(bundle)[:-1]
    large = [
        {"path": f"sources/{digest}", "sha256": digest, "size": 64 << 20, "uids": [UID]}
        for digest in (f"{number:064x}" for number in range(5))
    ]
    forge(bundle, members, version=3, stated=lambda items: [*items, *large])
    with pytest.raises(IntegrityError, match="the code is too large"):
        Hub().install_bundle(bundle)
