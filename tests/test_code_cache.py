"""Code in the cache: `mshub cache` and its Python doors list, verify, prune and remove it."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest
from commands import answer, refused, run
from repolab import Lab
from shelf import as_nobody, read_only

from mshub_ssd import foreign, settings
from mshub_ssd.errors import UsageError
from mshub_ssd.foreign import allow, code_in_caches, obtain, prune_code, remove_code, revoke, verify_code

ZOO = "mindspore/models"
NET, OTHER = "research/cv/net", "research/cv/other"
CARD = """# net

---

model-name: net

module-type: cv

repo-link: <https://gitee.com/mindspore/models/tree/r1.9/{path}>

---
"""
DAY = 86_400
# Many a file system stores times with less than we ask for.
LONG = 3 * DAY


@pytest.fixture
def commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A repository with two folders, both in the cache, one with a recipe and a card."""
    lab = Lab(tmp_path / "models.git")
    files = {"src": {"net.py": "class Net:\n    pass\n"}, "README.md": "# net\n"}
    made = lab.commit({"research": {"cv": {"net": files, "other": files, "third": {"a.py": ""}}}})
    monkeypatch.setenv("MSHUB_REPOSITORIES", f"{ZOO}={lab.path}")
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "cards"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    home = tmp_path / "cards" / "mindspore" / "1.9"
    home.mkdir(parents=True)
    (home / "net_mnist.md").write_text(CARD.format(path=NET))
    row = {"path": NET, "models": ["net"], "commits": [made], "call": {"callable": "src.net:Net"}}
    monkeypatch.setattr("mshub_ssd.providers.repository._rows", lambda: {(ZOO, NET): [row]})
    obtain(ZOO, made, NET)
    obtain(ZOO, made, OTHER)
    return made


def place(path: str) -> Path:
    return next(one.place for one in code_in_caches() if one.path == path)


def unused(path: str, seconds: float = LONG) -> None:
    when = time.time() - seconds
    os.utime(place(path) / "proof", (when, when))


def spoil(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.chmod(0o644)
    file.write_bytes(bytes(data))


def paths() -> list[str | None]:
    return [one.path for one in code_in_caches()]


def test_ls_shows_repository_commit_folder_size_and_whose_consent_covers_it(commit: str) -> None:
    allow(ZOO, commit)
    first, second = code_in_caches()
    assert (first.repository, first.commit, first.path, second.path) == (ZOO, commit, NET, OTHER)
    assert (first.files, first.size) == (2, 26)
    assert first.consent is not None
    assert first.consent.by == "command"
    assert first.pin == f"{ZOO}@{commit}:{NET}"
    told = run("cache", "ls").stdout
    assert f"{ZOO}@{commit[:12]}:{NET}" in told
    assert "mindspore/1.9/net_mnist" in told
    assert f"since {first.consent.given[:10]}" in told
    assert "no card means it" in told
    assert "2 folders of code" in told
    facts = answer("cache", "ls")
    assert [(one["kind"], one["digest"], one["folder"], one["uids"]) for one in facts] == [
        ("code", commit, NET, ["mindspore/1.9/net_mnist"]),
        ("code", commit, OTHER, []),
    ]
    assert facts[0]["consent"]["by"] == "command"
    revoke(ZOO, commit)
    assert {one["consent"] for one in answer("cache", "ls")} == {None}
    assert commit in run("cache", "ls", "--long").stdout


def test_looking_is_no_use(commit: str) -> None:
    unused(NET)
    run("cache", "ls")
    verify_code()
    assert next(one.used for one in code_in_caches() if one.path == NET) < time.time() - LONG + 60


def test_verify_hashes_and_removes_what_is_damaged(commit: str) -> None:
    assert [one.fault for one in verify_code()] == [None, None]
    done = run("cache", "verify")
    assert (done.exit_code, "2 folders of code verified" in done.stdout) == (0, True)
    spoil(place(NET) / "tree" / "src" / "net.py")
    done = run("cache", "verify", f"{ZOO}@{commit[:8]}:{OTHER}")
    assert (done.exit_code, "1 folder of code" in done.stdout) == (0, True), "only what is named"
    done = run("cache", "verify")
    assert done.exit_code == 1
    assert "damaged: " in done.stdout
    assert "fetched again" in done.stdout
    assert paths() == [OTHER]
    obtain(ZOO, commit, NET)
    assert [one.fault for one in verify_code()] == [None, None]


@pytest.mark.parametrize("what", ["proof", "added", "missing", "beside", "link"])
def test_every_damage_is_found(commit: str, what: str, tmp_path: Path) -> None:
    top = place(NET)
    (top / "tree").chmod(0o755)
    (top / "tree" / "src").chmod(0o755)
    if what == "proof":
        spoil(top / "proof")
    elif what == "added":
        (top / "tree" / "src" / "more.py").write_text("1")
    elif what == "missing":
        (top / "tree" / "README.md").unlink()
    elif what == "beside":
        (top / "more").write_text("1")
    else:
        (tmp_path / "elsewhere").write_text("class Net:\n    pass\n")
        (top / "tree" / "src" / "net.py").unlink()
        (top / "tree" / "src" / "net.py").symlink_to(tmp_path / "elsewhere")
    found = {one.entry.path: one for one in verify_code()}
    bad = found[None if what == "proof" else NET]
    assert bad.fault
    assert bad.removed
    assert found[OTHER].fault is None
    assert paths() == [OTHER]
    assert what != "link" or (tmp_path / "elsewhere").exists()


def test_prune_removes_what_nothing_covers(commit: str) -> None:
    assert prune_code().removed == (), "it was used just now: somebody may be reading it"
    unused(NET)
    unused(OTHER)
    allow(ZOO, commit)
    assert prune_code().removed == (), "consent covers it"
    revoke(ZOO, commit)
    (place(NET) / "carried").touch()
    done = run("cache", "prune", "--dry-run")
    assert f"would remove {ZOO}@{commit[:12]}:{OTHER}" in done.stdout
    assert paths() == [NET, OTHER]
    facts = answer("cache", "prune")
    assert [one["folder"] for one in facts["removed"]] == [OTHER]
    assert facts["freed"] == 26
    assert paths() == [NET], "a bundle brought it"
    allow(ZOO, commit)
    assert "1 folder of code: 26 bytes freed" in run("cache", "prune", "--unused-for", "2d").stdout
    assert paths() == []
    assert [one.name for one in (settings.current().home / "v1" / "code").iterdir()] == ["tmp"]


def test_rm_takes_commits_folders_and_models(commit: str) -> None:
    obtain(ZOO, commit, "research/cv/third")
    assert "removed" in run("cache", "rm", "mindspore/1.9/net_mnist").stdout
    assert paths() == [OTHER, "research/cv/third"]
    run("cache", "rm", f"{ZOO}@{commit[:10]}:{OTHER}")
    assert paths() == ["research/cv/third"]
    assert "would remove" in run("cache", "rm", "--dry-run", f"{ZOO}@{commit}").stdout
    run("cache", "rm", f"{ZOO}@{commit}")
    assert paths() == []
    assert "the cache holds no such code" in refused("cache", "rm", f"{ZOO}@{commit}")
    assert "nothing of mindspore/1.9/net_mnist is in the cache" in refused("cache", "rm", "mindspore/1.9/net_mnist")
    with pytest.raises(UsageError, match="names no code"):
        remove_code(["mindspore/models"])


def test_consent_stays_when_code_goes(commit: str) -> None:
    allow(ZOO, commit)
    run("cache", "rm", f"{ZOO}@{commit}")
    assert foreign.is_allowed(ZOO, commit)


def test_what_is_not_ours_stays(commit: str, tmp_path: Path) -> None:
    top = settings.current().home / "v1" / "code"
    aside = tmp_path / "aside"
    (top / "mindspore+models").rename(aside)
    (top / "mindspore+models").symlink_to(aside)
    (top / "notes.txt").write_text("mine")
    (top / "own+folder" / ("0" * 40)).mkdir(parents=True)
    assert code_in_caches() == []
    unused_for = prune_code(unused_for=0.0)
    assert unused_for.removed == ()
    assert len(list(aside.iterdir())) == 1
    assert (top / "notes.txt").exists()


def test_a_read_only_cache_is_left_alone(commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        room.chmod(0o755)  # for nobody
        (room / "cards").mkdir()
        for name in ("MSHUB_REGISTRY", "MSHUB_HOME", "XDG_CONFIG_HOME"):
            monkeypatch.setenv(name, str(room / ("home" if name == "MSHUB_HOME" else "cards")))
        obtain(ZOO, commit, NET)
        with read_only(room / "home"):
            code, out, told = as_nobody("cache", "rm", f"{ZOO}@{commit}")
        assert (code, out, told.count("the cache is read-only")) == (1, "Nothing to remove.\n", 1)
        assert paths() == [NET]
