"""Code by git at a pinned commit: what comes is what the commit says, nothing runs, and nothing lands elsewhere."""

from __future__ import annotations

import functools
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from commands import environment
from repolab import Lab, Served, serving

from mshub_ssd import foreign, settings
from mshub_ssd.errors import (
    IntegrityError,
    MissingDependencyError,
    OfflineError,
    TransferError,
    TrustError,
    UsageError,
)
from mshub_ssd.foreign import Checkout, folder, listing, obtain

ZOO = "mindspore/models"
PATH = "official/cv/net"
NOISE = random.Random(7).randbytes(3 << 20)
FILES = {
    "README.md": "# net\n",
    "mindspore_hub_conf.py": "from src.net import Net\n",
    "src": {"__init__.py": "", "net.py": "class Net:\n    pass\n", "conf": {"net.yaml": "width: 8\n"}},
    "ascend310_infer": {"build.sh": "make\n"},
    "net.png": b"\x89PNG",
    "__pycache__": {"net.cpython-310.pyc": b"\0\0"},
    "fast.so": b"\x7fELF",
}
NAMES = {"README.md", "mindspore_hub_conf.py", "src/__init__.py", "src/net.py", "src/conf/net.yaml",
         "ascend310_infer/build.sh"}  # fmt: skip


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "served" / "mindspore" / "models.git")


@pytest.fixture
def commit(lab: Lab) -> str:
    return lab.commit({"official": {"cv": {"net": FILES, "other": {"weights.bin": NOISE}}}})


@pytest.fixture
def clone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The repository is had from a clone on this machine."""
    monkeypatch.setenv("MSHUB_REPOSITORIES", f"{ZOO}={lab.path}")
    return lab


@pytest.fixture
def server(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The repository is had from a server."""
    with serving(lab.path.parents[1]) as served:
        monkeypatch.setenv("MSHUB_REPOSITORIES", f"{ZOO}={served.url}/mindspore/models.git")
        yield served


def cache() -> Path:
    return settings.current().home / "v1" / "code"


def left() -> list[str]:
    """What is neither code in the cache nor its folder for what is being made."""
    home = settings.current().home
    if not home.exists():
        return []
    found = [path.relative_to(home).as_posix() for path in home.rglob("*") if not path.is_dir()]
    return [name for name in found if not name.startswith("v1/code/") or name.startswith("v1/code/tmp/")]


def taken(found: Checkout) -> set[str]:
    return {path.relative_to(found.folder).as_posix() for path in found.folder.rglob("*") if path.is_file()}


def everything(top: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


# --- what comes


@pytest.mark.parametrize("way", ["clone", "server"])
def test_the_folders_files_come_and_nothing_else(way: str, commit: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(way)
    found = obtain(ZOO, commit, PATH)
    assert taken(found) == NAMES
    assert found.read("src/net.py") == b"class Net:\n    pass\n" == (found.folder / "src" / "net.py").read_bytes()
    assert {file.name: file.size for file in found.files if file.size is not None} == {
        name: (found.folder / name).stat().st_size for name in NAMES
    }
    # What nobody can read first, and what no network needs, is told and left out.
    assert {file.name: file.left_out for file in found.files if file.left_out} == {
        "net.png": "picture",
        "fast.so": "compiled",
        "__pycache__/net.cpython-310.pyc": "compiled",
    }
    assert folder(ZOO, commit, PATH) == found.folder
    assert listing(ZOO, commit, PATH) == found.files
    assert left() == []


def test_only_the_folders_files_are_downloaded(server: Served, commit: str) -> None:
    obtain(ZOO, commit, PATH)
    assert 0 < server.sent < 20_000 < len(NOISE)
    before = len(server.asked)
    obtain(ZOO, commit, PATH)
    assert len(server.asked) == before


def test_a_server_that_sends_everything_will_do(server: Served, lab: Lab, commit: str) -> None:
    lab.config("uploadpack.allowFilter", "false")
    assert taken(obtain(ZOO, commit, PATH)) == NAMES


def test_a_clone_with_its_files_will_do(lab: Lab, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.git("clone", "--quiet", "--no-checkout", str(lab.path), str(tmp_path / "work"), at=None)
    monkeypatch.setenv("MSHUB_REPOSITORIES", f"{ZOO}=file://{tmp_path / 'work'}")
    assert taken(obtain(ZOO, commit, PATH)) == NAMES


def test_files_are_read_only_and_nobody_else_can_write(clone: Lab, commit: str) -> None:
    old = os.umask(0)
    try:
        found = obtain(ZOO, commit, PATH)
    finally:
        os.umask(old)
    for path in [found.folder, *found.folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o555 if path.is_dir() else 0o444), path
    above = [place for place in found.folder.parents if settings.current().home in (place, *place.parents)]
    assert not any(place.stat().st_mode & 0o022 for place in above)


def test_folders_of_one_repository_lie_side_by_side(clone: Lab, commit: str) -> None:
    assert folder(ZOO, commit, "official/cv/other") != folder(ZOO, commit, PATH)
    assert (folder(ZOO, commit, "official/cv") / "net" / "src" / "net.py").is_file()
    assert (folder(ZOO, commit, "") / PATH / "src" / "net.py").is_file()
    assert folder(ZOO, commit, PATH).is_dir()


def test_what_names_no_folder_is_refused(clone: Lab, commit: str) -> None:
    for path in ("official/cv/nothing", "official/cv/net/README.md", "official/CV/net"):
        with pytest.raises(UsageError, match="no such folder"):
            obtain(ZOO, commit, path)
    for path in ("../x", "/etc", "official//cv", "official/cv/", "a/../b", "a\\b", "C:/x", "a\0b"):
        with pytest.raises(UsageError):
            obtain(ZOO, commit, path)
    for name in ("master", commit[:10], commit.upper(), "HEAD", f"{commit}^"):
        with pytest.raises(UsageError):
            obtain(ZOO, name, PATH)
    with pytest.raises(UsageError, match="MSHUB_REPOSITORIES"):
        obtain("somebody/else", commit, PATH)
    with pytest.raises(TransferError, match="no commit"):
        obtain(ZOO, "0" * 40, PATH)
    assert left() == []


def test_without_git_the_error_says_so(clone: Lab, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingDependencyError, match="git"):
        obtain(ZOO, commit, PATH)


def test_a_place_without_a_repository_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSHUB_REPOSITORIES", f"{ZOO}={tmp_path}")
    with pytest.raises(UsageError, match="no git repository"):
        obtain(ZOO, "0" * 40, PATH)


# --- a commit is a commit


@pytest.mark.parametrize("way", ["clone", "server"])
def test_a_moved_branch_and_a_rewritten_tag_change_nothing(
    way: str, lab: Lab, commit: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(way)
    lab.git("tag", "v1.0", commit)
    other = lab.commit({"official": {"cv": {"net": {"evil.py": "raise SystemExit\n"}}}}, told="rewritten")
    lab.git("tag", "--force", "v1.0", other)
    lab.git("update-ref", f"refs/heads/{commit}", other)  # a branch that is called like the commit
    lab.git("update-ref", f"refs/replace/{commit}", other)  # and git's own way of lying about one
    assert taken(obtain(ZOO, commit, PATH)) == NAMES
    assert taken(obtain(ZOO, other, PATH)) == {"evil.py"}


@pytest.mark.parametrize("way", ["clone", "server"])
@pytest.mark.parametrize("what", ["commit", "tree", "blob"])
def test_what_is_not_what_its_hash_says_is_refused(
    way: str, what: str, lab: Lab, commit: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(way)
    evil = lab.commit({"official": {"cv": {"net": {"evil.py": "evil\n"}}}}, branch="evil")
    if what == "commit":
        lab.tamper(commit, lab.git("cat-file", "commit", evil).encode() + b"\n", "commit")
    elif what == "tree":
        old, new = (lab.git("rev-parse", f"{name}:{PATH}") for name in (commit, evil))
        lab.tamper(old, zlib.decompress(lab.object(new).read_bytes()).partition(b"\0")[2], "tree")
    else:
        lab.tamper(lab.git("rev-parse", f"{commit}:{PATH}/src/net.py"), b"import os\n")
    # Of the server git itself may notice it, on either side.
    with pytest.raises(IntegrityError if way == "clone" else (IntegrityError, TransferError)):
        obtain(ZOO, commit, PATH)
    assert not any(cache().rglob("*.py"))
    assert left() == []


def test_a_damaged_object_is_no_other_object(clone: Lab, commit: str) -> None:
    place = clone.object(clone.git("rev-parse", f"{commit}:{PATH}/src/net.py"))
    place.chmod(0o600)
    place.write_bytes(b"\0" * 20)
    with pytest.raises((IntegrityError, TransferError)):
        obtain(ZOO, commit, PATH)


def test_a_partial_clone_may_lack_data_but_no_code(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MSHUB_REPOSITORIES", f"{ZOO}={lab.path}")
    commit = lab.commit({"net": {"net.py": "x = 1\n", "table.npy": NOISE}})
    lab.object(lab.blob(NOISE)).unlink()
    found = obtain(ZOO, commit, "net")
    assert {file.name: file.left_out for file in found.files} == {"net.py": "", "table.npy": "absent"}
    assert "table.npy" in caplog.text
    assert obtain(ZOO, commit, "net").files == found.files
    with pytest.raises(FileNotFoundError):
        found.read("table.npy")
    other = lab.commit({"net": {"net.py": "x = 2\n"}})
    lab.object(lab.blob("x = 2\n")).unlink()
    with pytest.raises(TransferError, match="not all files"):
        obtain(ZOO, other, "net")


# --- hostile trees

HOSTILE = [
    b"..", b".", b".git", b".GIT", b".git ", b".git.", b"git~1", b"GIT~2", b"a\\b", b"..\\x", b"C:", b"c:x", b"a:b",
    b"a\nb", b"a\x1b[2J", b"a\x7f", b".g\xe2\x80\x8cit", b"\xff\xfe", b"a ", b"a.", b" ", b"nul", b"CON.py", b"aux.txt",
    b"com1", b"a*b", b"a?b", b"a|b", b'a"b', b"a<b", b"a/b", b"../x", b"/etc", b"x" * 256, "\u202egpj.py".encode(),
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
@pytest.mark.parametrize("mode", ["100644", "40000"])
def test_hostile_names_are_refused(mode: str, name: bytes, clone: Lab, tmp_path: Path) -> None:
    inner = clone.blob("x") if mode == "100644" else clone.tree({"x.py": "x"})
    tree = clone.rows((mode, name, inner), ("100644", b"net.py", clone.blob("x")))
    commit = clone.commit(clone.rows(("40000", b"net", tree)))
    before = {path for path in tmp_path.rglob("*") if clone.path not in path.parents}
    with pytest.raises(TrustError) as caught:
        obtain(ZOO, commit, "net")
    assert str(caught.value).isprintable() or "\n" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert "\u202e" not in str(caught.value)
    made = {path for path in tmp_path.rglob("*") if clone.path not in path.parents} - before
    assert all(path.is_dir() and settings.current().home in (path, *path.parents) for path in made), made


@pytest.mark.parametrize(
    ("mode", "what"),
    [("120000", "symbolic link"), ("160000", "submodule"), ("140000", "neither file nor folder"),
     ("060000", "neither file nor folder")],
)  # fmt: skip
def test_links_and_submodules_are_refused(mode: str, what: str, clone: Lab) -> None:
    for target in (b"/etc/passwd", b"net.py"):
        tree = clone.rows((mode, b"link.py", clone.blob(target)), ("100644", b"net.py", clone.blob("x")))
        with pytest.raises(TrustError, match=what):
            obtain(ZOO, clone.commit(clone.rows(("40000", b"net", tree))), "net")
    # Those elsewhere in the commit are nobody's business, and the folder itself is no link.
    commit = clone.commit(
        clone.rows((mode, b"link", clone.blob("net")), ("40000", b"net", clone.tree({"net.py": "x"})))
    )
    assert taken(obtain(ZOO, commit, "net")) == {"net.py"}
    with pytest.raises(UsageError, match="no such folder"):
        obtain(ZOO, commit, "link")


@pytest.mark.parametrize(
    ("one", "other"),
    [("net.py", "Net.py"), ("net.py", "net.py"), ("stra\u00dfe.py", "STRASSE.py"), ("\u00e9.py", "e\u0301.py")],
)
def test_names_that_mean_one_file_somewhere_are_refused(one: str, other: str, clone: Lab) -> None:
    rows = [("100644", name.encode(), clone.blob(text)) for name, text in ((one, "1"), (other, "2"))]
    with pytest.raises(TrustError, match="two names"):
        obtain(ZOO, clone.commit(clone.rows(("40000", b"net", clone.rows(*rows)))), "net")


def test_trees_that_are_none_are_refused(clone: Lab) -> None:
    for data in (b"100644 a", b"100644 a\0short", b"garbage", b"100644 \0" + bytes(20), b"999999 a\0" + bytes(20)):
        commit = clone.commit(clone.rows(("40000", b"net", clone.write("tree", data))))
        with pytest.raises((IntegrityError, TrustError)):
            obtain(ZOO, commit, "net")
    commit = clone.commit(clone.rows(("40000", b"net", clone.blob("a file"))))
    with pytest.raises(IntegrityError, match="another kind"):
        obtain(ZOO, commit, "net")


def test_folders_that_are_too_large_are_refused(clone: Lab) -> None:
    one = clone.blob("x")
    many = clone.rows(*(("100644", f"f{number:05}.py".encode(), one) for number in range(5_001)))
    with pytest.raises(TrustError, match=r"5000 files(.|\n)*more than 5000"):
        obtain(ZOO, clone.commit(clone.rows(("40000", b"net", many))), "net")
    deep: dict[str, Any] = {"net.py": "x"}
    for _ in range(40):
        deep = {"a": deep}
    with pytest.raises(TrustError, match="too long"):
        obtain(ZOO, clone.commit({"net": deep}), "net")
    # A bomb: each folder holds the next one many times.
    bomb = clone.tree({"net.py": "x"})
    for _ in range(8):
        bomb = clone.rows(*(("40000", f"d{number:02}".encode(), bomb) for number in range(30)))
    with pytest.raises(TrustError, match="more than 5000"):
        obtain(ZOO, clone.commit(clone.rows(("40000", b"net", bomb))), "net")
    large = clone.blob(bytes(30 << 20))
    rows = [("100644", f"{number}.bin".encode(), large) for number in range(3)]
    with pytest.raises(TrustError, match=r"67\.1 MB"):
        obtain(ZOO, clone.commit(clone.rows(("40000", b"net", clone.rows(*rows)))), "net")
    assert left() == []


# --- nothing runs


@pytest.mark.parametrize("way", ["clone", "server"])
def test_nothing_of_a_repository_or_of_gits_configuration_runs(
    way: str, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    canary = tmp_path / "canary"
    bite = f"touch {canary}"
    python = f"open({str(canary)!r}, 'w')\n"
    hostile = {
        ".gitattributes": "* filter=evil diff=evil merge=evil text eol=crlf working-tree-encoding=UTF-16\n",
        "setup.py": python,
        "conftest.py": python,
        "sitecustomize.py": python,
        "mindspore_hub_conf.py": python,
        "src": {"__init__.py": python},
    }
    modules = f'[submodule "x"]\n\tpath = sub\n\turl = ext::sh -c "{bite}"\n\tupdate = !{bite}\n'
    commit = lab.commit(
        lab.rows(
            ("100644", b".gitattributes", lab.blob(hostile[".gitattributes"])),  # type: ignore[arg-type]
            ("100644", b".gitmodules", lab.blob(modules)),
            ("40000", b"net", lab.tree(hostile)),  # type: ignore[arg-type]
            ("160000", b"sub", "1" * 40),
        )
    )
    (lab.path / "hooks").mkdir()
    for name in ("post-checkout", "post-index-change", "pre-auto-gc", "reference-transaction", "post-merge",
                 "fsmonitor-watchman", "pre-receive", "post-update"):  # fmt: skip
        (lab.path / "hooks" / name).write_text(f"#!/bin/sh\n{bite}\n")
        (lab.path / "hooks" / name).chmod(0o755)
    evil = {
        "core.hooksPath": str(lab.path / "hooks"), "core.fsmonitor": bite, "core.sshCommand": bite,
        "core.gitProxy": bite, "core.askPass": bite, "core.pager": bite, "core.editor": bite,
        "core.alternateRefsCommand": bite, "uploadpack.packObjectsHook": bite, "credential.helper": f"!{bite}",
        "filter.evil.smudge": bite, "filter.evil.clean": bite, "filter.evil.process": bite,
        "diff.evil.textconv": bite, "diff.external": bite, "gpg.program": bite, "protocol.ext.allow": "always",
        "remote.origin.url": f"ext::sh -c '{bite}'", "remote.origin.promisor": "true",
    }  # fmt: skip
    for key, text in evil.items():
        lab.config(key, text)
    # The user's own configuration does not count either.
    home = tmp_path / "user"
    (home / ".config" / "git").mkdir(parents=True)
    for name in (".gitconfig", ".config/git/config"):
        shutil.copy(lab.path / "config", home / name)
    (home / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("HOME", str(home))
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG"):
        monkeypatch.setenv(name, str(home / ".gitconfig"))
    for name in (
        "GIT_ASKPASS",
        "SSH_ASKPASS",
        "GIT_SSH_COMMAND",
        "GIT_PROXY_COMMAND",
        "GIT_EXTERNAL_DIFF",
        "GIT_PAGER",
    ):
        monkeypatch.setenv(name, bite)
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(lab.path))
    monkeypatch.setenv("GIT_DIR", str(lab.path))
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "traced"))
    served = request.getfixturevalue(way)
    before = set(sys.modules)
    found = obtain(ZOO, commit, "net")
    assert taken(found) == {".gitattributes", "setup.py", "conftest.py", "sitecustomize.py", "mindspore_hub_conf.py",
                            "src/__init__.py"}  # fmt: skip
    assert found.read("setup.py") == python.encode()  # as it is in the repository: no filter, no other ends of lines
    obtain(ZOO, commit, "net")
    assert not canary.exists()
    assert not (tmp_path / "traced").exists()
    assert not {name for name in set(sys.modules) - before if "hub_conf" in name or name.startswith("src")}
    if way == "server":
        assert not any("authorization" in map(str.lower, head) for _, head in served.asked)
    # A file that is missing is not fetched by a command that the repository names.
    lab.object(lab.blob(python)).unlink()
    shutil.rmtree(settings.current().home)
    with pytest.raises(TransferError):
        obtain(ZOO, commit, "net")
    assert not canary.exists()


def test_a_command_is_no_place_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = tmp_path / "canary"
    for place in (f"ext::sh -c 'touch {canary}'", "--upload-pack=touch canary", "-c core.sshCommand=touch"):
        monkeypatch.setenv("MSHUB_REPOSITORIES", f"{ZOO}={place}")
        with pytest.raises(UsageError):
            obtain(ZOO, "0" * 40, PATH)
    assert not canary.exists()


def test_the_mirror_is_asked_first_and_alone_sees_the_token(
    lab: Lab, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mirror" / "gitee.com" / "mindspore").mkdir(parents=True)
    (tmp_path / "mirror" / "gitee.com" / "mindspore" / "models.git").symlink_to(lab.path)
    with serving(tmp_path / "mirror") as served:
        monkeypatch.setenv("MSHUB_ENDPOINT", served.url)
        monkeypatch.setenv("MSHUB_TOKEN", 'gehe"im')
        assert taken(obtain(ZOO, commit, PATH)) == NAMES
        assert {head.get("Authorization") for _, head in served.asked} == {'Bearer gehe"im'}
        served.asked.clear()
        shutil.rmtree(settings.current().home)
        # The same server, named otherwise, is not the mirror.
        monkeypatch.setenv("MSHUB_ENDPOINT", f"{served.url}/elsewhere")
        monkeypatch.setenv("MSHUB_REPOSITORIES", f"{ZOO}={served.url}/gitee.com/mindspore/models.git")
        obtain(ZOO, commit, PATH)
        assert {head.get("Authorization") for _, head in served.asked} == {None}


def test_a_mirror_that_sends_elsewhere_takes_no_token_along(
    lab: Lab, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(lab.path.parents[1]) as served, serving(tmp_path) as mirror:
        # The mirror sends to a place that would have the repository, which may not be asked in this way.
        mirror.elsewhere = f"{served.url}/trap"
        monkeypatch.setattr(foreign.commits, "URLS", {ZOO: (f"{served.url}/mindspore/models.git",)})
        monkeypatch.setenv("MSHUB_ENDPOINT", mirror.url)
        monkeypatch.setenv("MSHUB_TOKEN", "geheim")
        assert taken(obtain(ZOO, commit, PATH)) == NAMES
        assert {head.get("Authorization") for _, head in mirror.asked} == {"Bearer geheim"}
        assert not any(path.startswith("/trap") for path, _ in served.asked)
        assert {head.get("Authorization") for _, head in served.asked} == {None}


def test_a_server_that_wants_a_password_gets_none(
    server: Served, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    server.locked = True
    with pytest.raises(TransferError, match="wants a password"):
        obtain(ZOO, commit, PATH)
    assert {head.get("Authorization") for _, head in server.asked} == {None}


PAGE = b"<html><form action='/login'>Please log in</form></html>"


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ((404, "text/html", PAGE), "not found"),
        ((403, "text/plain", b"rate limit"), "error: 403"),
        ((503, "text/plain", b"busy"), "error: 503"),
        ((200, "text/html", PAGE), "there is no git server; what answers sends files, or a page, perhaps a login"),
        ((200, "application/x-git-upload-pack-advertisement", PAGE), "git cannot fetch"),
        ((200, "application/x-git-upload-pack-advertisement", b""), "git cannot fetch"),
    ],
)
def test_what_is_no_git_server_is_told(server: Served, commit: str, instead: tuple[int, str, bytes], said: str) -> None:
    server.instead = instead
    with pytest.raises(TransferError, match=said) as caught:
        obtain(ZOO, commit, PATH)
    assert server.url in str(caught.value)
    assert "MSHUB_REPOSITORIES" in str(caught.value.hint)
    assert left() == []
    server.instead = None
    assert taken(obtain(ZOO, commit, PATH)) == NAMES


def test_a_repository_served_as_files_is_told(lab: Lab, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.git("update-server-info")
    top = lab.path.parents[1]
    handler = functools.partial(QuietFiles, directory=str(top))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as files:
        thread = threading.Thread(target=files.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        place = f"http://127.0.0.1:{files.server_address[1]}/mindspore/models.git"
        monkeypatch.setenv("MSHUB_REPOSITORIES", f"{ZOO}={place}")
        with pytest.raises(TransferError, match="there is no git server"):
            obtain(ZOO, commit, PATH)
        files.shutdown()
        thread.join()


class QuietFiles(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_sends_elsewhere_is_followed_if_it_has_the_code(
    server: Served, lab: Lab, commit: str, tmp_path: Path
) -> None:
    with serving(lab.path.parents[1]) as other:
        server.elsewhere = other.url
        assert taken(obtain(ZOO, commit, PATH)) == NAMES
    shutil.rmtree(settings.current().home)
    for nowhere in ("http://127.0.0.1:1", "file:///etc", f"file://{lab.path.parents[1]}"):
        server.elsewhere = nowhere
        with pytest.raises(TransferError):
            obtain(ZOO, commit, PATH)
    server.elsewhere = server.url  # in a circle
    with pytest.raises(TransferError, match="redirects"):
        obtain(ZOO, commit, PATH)


def test_an_answer_that_breaks_off_leaves_nothing(server: Served, commit: str) -> None:
    server.cut = True
    with pytest.raises(TransferError):
        obtain(ZOO, commit, PATH)
    assert left() == []
    server.cut = False
    assert taken(obtain(ZOO, commit, PATH)) == NAMES


def test_a_silent_server_is_given_up(server: Served, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mshub_ssd.foreign.fetching._PATIENCE", 0.5)
    server.stall.set()
    with pytest.raises(TransferError, match="sent nothing for") as caught:
        obtain(ZOO, commit, PATH)
    assert "MSHUB_REPOSITORIES" in str(caught.value.hint)
    assert left() == []


def test_a_server_of_the_old_protocol_gives_what_its_branches_lead_to(server: Served, lab: Lab, commit: str) -> None:
    server.old = True
    lab.config("uploadpack.allowFilter", "false")
    assert taken(obtain(ZOO, commit, PATH)) == NAMES
    shutil.rmtree(settings.current().home)
    lab.commit({"official": {"cv": {"net": {"other.py": ""}}}})  # the branch moves
    with pytest.raises(TransferError, match="too old to give a commit by its hash"):
        obtain(ZOO, commit, PATH)
    server.old = False
    assert taken(obtain(ZOO, commit, PATH)) == NAMES


def test_a_server_without_the_commit_is_told(server: Served, lab: Lab, commit: str) -> None:
    with pytest.raises(TransferError, match="does not have the commit"):
        obtain(ZOO, "12" * 20, PATH)


def test_passwords_are_in_no_message(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        place = served.url.replace("http://", "http://me:geheim@")
        monkeypatch.setenv("MSHUB_REPOSITORIES", f"{ZOO}={place}/none.git")
        with pytest.raises(TransferError) as caught:
            obtain(ZOO, "0" * 40, PATH)
    assert "geheim" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


# --- the cache


def test_offline_it_comes_from_the_cache_or_not_at_all(
    server: Served, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSHUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="not in the cache"):
        obtain(ZOO, commit, PATH)
    assert server.asked == []
    monkeypatch.delenv("MSHUB_OFFLINE")
    found = obtain(ZOO, commit, PATH)
    monkeypatch.setenv("MSHUB_OFFLINE", "1")
    before = len(server.asked)
    assert obtain(ZOO, commit, PATH) == found
    assert len(server.asked) == before


def test_a_clone_on_this_machine_is_no_network(clone: Lab, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSHUB_OFFLINE", "1")
    assert taken(obtain(ZOO, commit, PATH)) == NAMES


def altered(place: Path) -> None:
    place.chmod(0o600)
    place.write_text("import os\n")


def same_size(place: Path) -> None:
    place.chmod(0o600)
    status = place.stat()
    place.write_bytes(place.read_bytes()[::-1])
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))


def missing(place: Path) -> None:
    place.parent.chmod(0o700)
    place.unlink()


def linked(place: Path) -> None:
    missing(place)
    other = settings.current().home / "same.py"
    other.write_text("class Net:\n    pass\n")
    place.symlink_to(other)


def unprovable(place: Path) -> None:
    proof = place.parents[2] / "proof"
    proof.chmod(0o600)
    proof.write_bytes(proof.read_bytes()[:-1])


def proven_otherwise(place: Path) -> None:
    """What somebody would do who changes the proof as well."""
    altered(place)
    proof = place.parents[2] / "proof"
    proof.chmod(0o600)
    proof.write_bytes(proof.read_bytes().replace(b"net.py", b"nat.py"))


@pytest.mark.parametrize("damage", [altered, same_size, missing, linked, unprovable, proven_otherwise])
def test_damage_is_found_before_use_and_mended(
    damage: Any, clone: Lab, commit: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = folder(ZOO, commit, PATH) / "src" / "net.py"
    damage(place)
    found = obtain(ZOO, commit, PATH)
    assert taken(found) == NAMES
    assert not place.is_symlink()
    assert found.read("src/net.py") == place.read_bytes() == b"class Net:\n    pass\n"
    assert "damaged" in caplog.text
    damage(place)
    monkeypatch.setenv("MSHUB_OFFLINE", "1")
    monkeypatch.delenv("MSHUB_REPOSITORIES")
    with pytest.raises(OfflineError):
        obtain(ZOO, commit, PATH)


@pytest.mark.parametrize(
    "name", ["src/extra.py", "src/__pycache__/net.cpython-310.pyc", "yaml.py", "src/net/__init__.py"]
)
def test_what_was_added_is_gone_before_use(name: str, clone: Lab, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    top = folder(ZOO, commit, PATH)
    for place in (top, top / "src"):
        place.chmod(0o755)
    (top / name).parent.mkdir(exist_ok=True)
    (top / name).write_text("raise SystemExit\n")
    # The rest is whole, so nothing need be fetched.
    monkeypatch.setenv("MSHUB_OFFLINE", "1")
    monkeypatch.delenv("MSHUB_REPOSITORIES")
    assert taken(obtain(ZOO, commit, PATH)) == NAMES


def test_a_folder_that_became_a_link_is_not_used(clone: Lab, commit: str, tmp_path: Path) -> None:
    place = folder(ZOO, commit, PATH).parent
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    found = obtain(ZOO, commit, PATH)
    assert not place.is_symlink()
    assert taken(found) == NAMES


def test_reading_proves_again(clone: Lab, commit: str) -> None:
    found = obtain(ZOO, commit, PATH)
    altered(found.folder / "src" / "net.py")
    with pytest.raises(IntegrityError, match="changed in the cache"):
        found.read("src/net.py")
    for name in ("../proof", "src", "nothing.py", "/etc/passwd"):
        with pytest.raises(FileNotFoundError):
            found.read(name)


def test_where_others_can_write_a_copy_is_used(clone: Lab, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = folder(ZOO, commit, PATH)
    settings.current().home.chmod(0o777)
    monkeypatch.setenv("MSHUB_OFFLINE", "1")
    monkeypatch.delenv("MSHUB_REPOSITORIES")
    found = obtain(ZOO, commit, PATH)
    assert settings.current().home not in found.folder.parents
    assert taken(found) == taken(obtain(ZOO, commit, PATH)) == NAMES
    assert obtain(ZOO, commit, PATH).folder == found.folder
    altered(shared / "src" / "net.py")
    assert found.read("src/net.py") == b"class Net:\n    pass\n"
    shutil.rmtree(found.folder.parents[5], ignore_errors=True)


def test_further_caches_are_searched(clone: Lab, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = folder(ZOO, commit, PATH)
    monkeypatch.setenv("MSHUB_HOME", f"{tmp_path / 'first'}{os.pathsep}{settings.current().home}")
    assert folder(ZOO, commit, PATH) == before


# --- several at once, and none


def test_many_at_once_have_the_same(clone: Lab, commit: str) -> None:
    code = f"from mshub_ssd.foreign import folder; print(folder({ZOO!r}, {commit!r}, {PATH!r}))"
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment())
        for _ in range(4)
    ]
    with ThreadPoolExecutor(4) as pool:
        here = set(pool.map(lambda _: str(folder(ZOO, commit, PATH)), range(8)))
    told = {one.communicate(timeout=300)[0].strip() for one in running}
    assert told == here
    assert taken(obtain(ZOO, commit, PATH)) == NAMES
    assert list((cache() / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    "moment",
    [
        "checkout._write = lambda made, content: ((made / 'tree').mkdir(parents=True), die())",
        "Path.rename = lambda *_: die()",
        "checkout._read = lambda *_, **__: die()",
        "rename = Path.rename; Path.rename = lambda *a: (rename(*a), die())",
        "shutil.rmtree = lambda *_, **__: die()",
    ],
)
def test_killed_at_any_time_the_next_run_is_right(moment: str, clone: Lab, commit: str) -> None:
    code = (
        "import os, shutil, signal, sys\nfrom pathlib import Path\n"
        "from mshub_ssd.foreign import folder\ncheckout = sys.modules['mshub_ssd.foreign.checkout']\n"
        f"die = lambda: os.kill(os.getpid(), signal.SIGKILL)\n{moment}\nfolder({ZOO!r}, {commit!r}, {PATH!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), check=False, timeout=300)
    assert done.returncode == -signal.SIGKILL
    assert taken(obtain(ZOO, commit, PATH)) == NAMES
    obtain(ZOO, commit, "official/cv/other")  # whoever makes something next clears up
    assert list((cache() / "tmp").iterdir()) == []


def test_killed_while_a_server_is_silent_the_next_run_is_right(server: Served, commit: str) -> None:
    server.stall.set()
    code = f"from mshub_ssd.foreign import folder; folder({ZOO!r}, {commit!r}, {PATH!r})"
    running = subprocess.Popen([sys.executable, "-c", code], env=environment())
    while not server.asked:
        assert running.poll() is None
    running.kill()
    running.wait()
    assert len(list((cache() / "tmp").glob("*.lock"))) == 1
    server.stall.clear()
    server.going.set()
    assert taken(obtain(ZOO, commit, PATH)) == NAMES
    assert list((cache() / "tmp").glob("*.lock")) == []


def test_nothing_outside_of_the_cache_is_written(
    server: Served, lab: Lab, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("TMPDIR", str(work))
    before = everything(tmp_path)
    obtain(ZOO, commit, PATH)
    home = str(settings.current().home)
    assert {name: data for name, data in everything(tmp_path).items() if not name.startswith(home)} == before
    assert left() == []
