"""Consent to code of repositories: for one commit, recorded, listed, revocable; and what a card's link means."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from commands import environment
from hypothesis import given
from hypothesis import strategies as st

from mshub_ssd import foreign, settings
from mshub_ssd.errors import MshubError, TrustError, UsageError
from mshub_ssd.foreign import RepoLink, parse_repo_link

ZOO = "mindspore/models"
R19 = "e197ef52f564e47a2198e78da9b4c75010c4406b"
OTHER = "885fe379d64e24da0db3296f548dce798ca73114"
UID = "mindspore/1.9/resnet50_cifar10"
PATH = "official/cv/resnet"


def needed(commit: str = R19, trust_repo: bool = False) -> None:
    foreign.require(ZOO, commit, uid=UID, path=PATH, trust_repo=trust_repo)


def records() -> list[Path]:
    return sorted(settings.trust_folder().iterdir()) if settings.trust_folder().exists() else []


# --- consent


def test_without_consent_the_error_says_to_what_how_to_read_it_and_what_to_type() -> None:
    with pytest.raises(TrustError) as caught:
        needed()
    error = caught.value
    assert isinstance(error, PermissionError)
    assert isinstance(error, MshubError)
    assert error.code == "trust"
    assert error.where == f"{ZOO}@{R19}:{PATH}"
    assert f"mshub trust show {UID}" in str(error)
    assert f"mshub trust add {ZOO}@{R19}" in str(error)
    assert "trust_repo=True" in str(error)
    assert records() == []


def test_consent_is_for_one_commit() -> None:
    foreign.allow(ZOO, R19)
    needed()
    with pytest.raises(TrustError):
        needed(OTHER)
    assert not foreign.is_allowed(ZOO, OTHER)
    assert not foreign.is_allowed("mindspore/others", R19)


def test_consent_is_recorded_listed_and_revocable() -> None:
    foreign.allow(ZOO, OTHER)
    needed(trust_repo=True)
    told = {one.commit: (one.by, one.uid) for one in foreign.allowed()}
    assert told == {OTHER: ("command", None), R19: ("trust_repo", UID)}
    assert all(one.given.endswith("Z") and one.repository == ZOO for one in foreign.allowed())
    needed()  # what was given by trust_repo counts from now on
    assert [one.pin for one in foreign.revoke(ZOO, R19)] == [f"{ZOO}@{R19}"]
    with pytest.raises(TrustError):
        needed()
    needed(OTHER)
    foreign.revoke(ZOO)
    assert foreign.allowed() == []
    with pytest.raises(UsageError, match="no consent"):
        foreign.revoke(ZOO)


def test_giving_it_twice_keeps_the_first() -> None:
    first = foreign.allow(ZOO, R19)
    needed(trust_repo=True)
    assert foreign.allow(ZOO, R19, by="trust_repo") == first
    assert foreign.allowed() == [first]


@pytest.mark.parametrize("value", ["yes", "no", 1, "False", None])
def test_only_true_itself_is_a_consent(value: object) -> None:
    with pytest.raises(TrustError):
        needed(trust_repo=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "commit",
    ["r1.9", "master", "v1.0", "HEAD", R19[:39], R19[:7], R19 + "0", R19.upper(), "", "-" * 40, R19 + "\n", f"{R19}^"],
)
def test_nothing_but_a_whole_commit_is_consented_to(commit: str) -> None:
    with pytest.raises(UsageError, match="one commit"):
        foreign.allow(ZOO, commit)
    with pytest.raises(UsageError, match="one commit"):
        needed(commit, trust_repo=True)
    assert not foreign.is_allowed(ZOO, commit)
    assert records() == []


@pytest.mark.parametrize(
    "repository", ["models", "../models", "a/../b", "/etc", "a/b/c/d", "a b/c", "-a/b", "a//b", ""]
)
def test_repositories_have_plain_names(repository: str) -> None:
    with pytest.raises(UsageError):
        foreign.allow(repository, R19)
    assert records() == []


def test_a_pin_is_taken_apart() -> None:
    assert foreign.parse_pin(f"{ZOO}@{R19.upper()}") == (ZOO, R19)
    for text in (ZOO, f"{ZOO}@r1.9", R19, f"@{R19}", f"{ZOO}@"):
        with pytest.raises(UsageError, match="one commit"):
            foreign.parse_pin(text)


def test_records_are_private() -> None:
    old = os.umask(0)
    try:
        settings.user_file().parent.mkdir(parents=True, mode=0o755)
        foreign.allow(ZOO, R19)
    finally:
        os.umask(old)
    (record,) = records()
    assert record.stat().st_mode & 0o777 == 0o600
    assert record.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_record_that_others_could_have_written_is_no_consent(what: str, caplog: pytest.LogCaptureFixture) -> None:
    foreign.allow(ZOO, R19)
    (record,) = records()
    (record if what == "file" else record.parent).chmod(0o777)
    with pytest.raises(TrustError):
        needed()
    assert foreign.allowed() == []
    assert "does not count" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"commit": OTHER},
        {"commit": "r1.9"},
        {"repository": "mindspore/other"},
        {"repository": None},
        {"by": "card"},
        {"given": "long ago"},
        {"uid": 5},
    ],
)
def test_a_record_that_says_something_else_than_its_name_is_no_consent(change: dict[str, object]) -> None:
    foreign.allow(ZOO, R19)
    (record,) = records()
    record.write_text(json.dumps({**json.loads(record.read_text()), **change}))
    assert foreign.allowed() == []
    with pytest.raises(TrustError):
        needed()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 10_000, b'{"repository": "a/b"}'])
def test_a_damaged_record_is_no_consent_and_hides_no_other(data: bytes) -> None:
    foreign.allow(ZOO, OTHER)
    foreign.allow(ZOO, R19)
    next(one for one in records() if R19 in one.name).write_bytes(data)
    with pytest.raises(TrustError):
        needed()
    assert [one.commit for one in foreign.allowed()] == [OTHER]
    foreign.allow(ZOO, R19)  # may be given again
    needed()


def test_a_link_is_no_record(tmp_path: Path) -> None:
    foreign.allow(ZOO, R19)
    (record,) = records()
    elsewhere = tmp_path / "elsewhere.json"
    record.rename(elsewhere)
    record.symlink_to(elsewhere)
    with pytest.raises(TrustError):
        needed()


def test_files_of_others_in_the_folder_are_left_alone() -> None:
    foreign.allow(ZOO, R19)
    (settings.trust_folder() / "notes.txt").write_text("mine")
    (settings.trust_folder() / "odd.json").mkdir()
    assert [one.commit for one in foreign.allowed()] == [R19]
    foreign.revoke(ZOO)
    assert [one.name for one in records()] == ["notes.txt", "odd.json"]


def test_many_at_once_lose_nothing() -> None:
    commits = [f"{number:040x}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda commit: foreign.allow(ZOO, commit), commits * 2))
    assert {one.commit for one in foreign.allowed()} == set(commits)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda commit: foreign.revoke(ZOO, commit), commits[::2]))
    assert {one.commit for one in foreign.allowed()} == set(commits[1::2])
    assert len(records()) == 12


def test_processes_share_them() -> None:
    code = f"from mshub_ssd import foreign; foreign.allow({ZOO!r}, {R19!r})"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment(), timeout=120)
    needed()


def test_where_nothing_can_be_recorded_trust_repo_holds_for_the_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="cannot be recorded"):
        foreign.allow(ZOO, R19)
    assert foreign.allowed() == []
    needed(trust_repo=True)
    assert "for this call only" in caplog.text
    with pytest.raises(TrustError):
        needed()


# --- which commit a branch stands for


def test_the_table_has_whole_commits() -> None:
    table = foreign.BRANCHES[ZOO]
    assert set(table) >= {"r1.3", "r1.5", "r1.6", "r1.7", "r1.8", "r1.9", "r1.10", "master"}
    assert all(foreign.parse_pin(f"{ZOO}@{commit}") for commit in table.values())
    assert len(set(table.values())) == len(table)
    assert foreign.commit_of(ZOO, "r1.9") == R19


@pytest.mark.parametrize(("repository", "branch"), [(ZOO, "r9.9"), (ZOO, ""), ("mindspore/hub", "r1.9")])
def test_what_the_table_has_not_is_not_guessed(repository: str, branch: str) -> None:
    assert foreign.commit_of(repository, branch) is None


# --- links of cards

GITEE = "https://gitee.com/mindspore/models"


@pytest.mark.parametrize(
    ("link", "repository", "branch", "path"),
    [
        (f"{GITEE}/tree/r1.9/official/cv/resnet", ZOO, "r1.9", "official/cv/resnet"),
        (f"{GITEE}/tree/r1.10/research/cv/3D_DenseNet", ZOO, "r1.10", "research/cv/3D_DenseNet"),
        (f"{GITEE}/tree/master/official/recommend/Wide_and_Deep_Multitable/", ZOO, "master",
         "official/recommend/Wide_and_Deep_Multitable"),
        (f"{GITEE}/tree/r1.3/official/nlp/bert_thor#readme", ZOO, "r1.3", "official/nlp/bert_thor"),
        (f"  {GITEE}/blob/r1.6/research/cv/IRN/README.md?a=b ", ZOO, "r1.6", "research/cv/IRN/README.md"),
        (f"{GITEE}/tree/r1.9/research/cv/a%20b", ZOO, "r1.9", "research/cv/a b"),
        (GITEE, ZOO, None, ""),
        (f"{GITEE}.git", ZOO, None, ""),
        (f"{GITEE}/tree/r1.9", ZOO, "r1.9", ""),
        ("HTTPS://www.Gitee.com/mindspore/models/tree/r1.9/official", ZOO, "r1.9", "official"),
        ("http://gitee.com/mindspore/models/tree/r1.9/official", ZOO, "r1.9", "official"),
        ("https://github.com/mindspore-ai/models/tree/r1.9/official/cv/vit", ZOO, "r1.9", "official/cv/vit"),
        # The same owner's name on another host is somebody else's.
        ("https://github.com/mindspore/models/tree/r1.9/a", "github.com/mindspore/models", "r1.9", "a"),
        ("https://github.com/mindspore-lab/mindcv/tree/v0.4.0/configs/bit", "mindspore-lab/mindcv", "v0.4.0",
         "configs/bit"),
        ("https://gitlab.com/a/b/-/tree/main/c/d", "a/b", "main", "c/d"),
    ],
)  # fmt: skip
def test_links_mean_repository_branch_and_folder(link: str, repository: str, branch: str | None, path: str) -> None:
    assert parse_repo_link(link) == RepoLink(repository, branch, path)


@pytest.mark.parametrize(
    "link",
    [
        "",
        "mindspore/models",
        "https://gitee.com/",
        "https://gitee.com/mindspore",
        "https://www.mindspore.cn/resources/hub",
        f"{GITEE}/issues/I5ABC",
        f"{GITEE}/tree/r1.9/official/../../etc",
        f"{GITEE}/tree/r1.9/official/%2e%2e/%2e%2e/etc",
        f"{GITEE}/tree/r1.9/a/b%5c..%5cc",
        f"{GITEE}/tree/r1.9/a%00b",
        f"{GITEE}/tree/r1.9/C:",
        f"{GITEE}/tree/-upload-pack=x/a",
        f"{GITEE}/tree/a%20b/c",
        "ext::sh -c touch% /tmp/x",
        "file:///etc/a/b",
        "https://[::1/a/b",
        f"{GITEE}/tree/r1.9/{'a/' * 2000}",
    ],
)
def test_what_is_no_link_into_a_repository_means_none(link: str) -> None:
    assert parse_repo_link(link) is None


@given(st.text(max_size=80) | st.text(max_size=80).map(lambda text: f"{GITEE}/tree/{text}"))
def test_any_text_gives_a_plain_path_or_none(text: str) -> None:
    found = parse_repo_link(text)
    if found is not None:
        assert not {"", ".", ".."} & set(found.path.split("/")) or found.path == ""
        assert found.branch is None or not found.branch.startswith("-")
        assert "\\" not in found.path


# --- where repositories are to be had


def test_settings_place_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSHUB_REPOSITORIES", f"{ZOO}={tmp_path}; a/b=https://u:secret@host/x ;c/d=file://{tmp_path}/d")
    found = settings.current()
    assert found.repositories == ((ZOO, tmp_path), ("a/b", "https://u:secret@host/x"), ("c/d", tmp_path / "d"))
    assert "secret" not in repr(found)
    monkeypatch.delenv("MSHUB_REPOSITORIES")
    settings.user_file().parent.mkdir(parents=True)
    settings.user_file().write_text(f'repositories = {{ "{ZOO}" = "{tmp_path}" }}\n')
    assert settings.current().repositories == ((ZOO, tmp_path),)


@pytest.mark.parametrize("text", [ZOO, f"{ZOO}=", "models=/a", "=/a", "a/b=ext::sh -c x", "a/b=ssh://host/x"])
def test_settings_that_place_nothing_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSHUB_REPOSITORIES", text)
    if text.startswith("a/b=ext::"):
        assert settings.current().repositories[0][1].is_absolute()  # type: ignore[union-attr]  # a path, never a command
        return
    with pytest.raises(UsageError, match="MSHUB_REPOSITORIES"):
        settings.current()
