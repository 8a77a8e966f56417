"""Folders, files, homes and proxies as they should not be: told, walked past, and never waited for."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from commands import answer, refused, run
from shelf import as_nobody, card_text, sha256

import mshub_ssd
from mshub_ssd import settings, store
from mshub_ssd.errors import (
    CardError,
    ImageError,
    IntegrityError,
    MshubError,
    TransferError,
    UnknownModelError,
    UsageError,
)
from mshub_ssd.hub import Hub
from mshub_ssd.registry import Registry
from mshub_ssd.settings import Settings
from mshub_ssd.store import transfer

DIGITS = "mshub/1.0/ssdmobilenetv2_digits"
LONG = "n" * 300
SHA = "0" * 64


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """Whatever opens a FIFO to read it waits for a writer: end that, so that the test fails instead of hanging."""
    import faulthandler

    faulthandler.dump_traceback_later(600, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


# --- among the cards


def oddities(folder: Path) -> dict[str, str]:
    """Put all that is no card into a folder; the reason for each uid."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "loop.md").symlink_to("loop.md")
    (folder / "x").symlink_to("x")
    (folder / "gone.md").symlink_to("nowhere.md")
    (folder / "zero.md").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.md")
    os.mkfifo(folder / "pipe")
    before = Path.cwd()
    os.chdir(folder)  # the names of sockets must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.md")
    os.chdir(before)
    Path(os.fsdecode(os.fsencode(folder) + b"/odd\xff.md")).write_text("# odd")
    Path(os.fsdecode(os.fsencode(folder) + b"/dir\xfe")).mkdir()
    return {
        "loop": "Too many levels",
        "x/y": "Too many levels",
        "gone": "No such file",
        "zero": "symbolic link out of",
        "pipe": "not a regular file",
        "pipe/y": "not a regular file",
        "socket": "not a regular file",
    }


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "good.md").write_text(card_text("good.ckpt", sha256(b"good")), encoding="utf-8")
    (folder / "good.ckpt").write_bytes(b"good")
    monkeypatch.setenv("MSHUB_REGISTRY", str(folder))
    return folder


def test_what_is_no_card_does_not_keep_the_others_from_working(cards: Path) -> None:
    reasons = oddities(cards)
    assert "good" in run("list").stdout.split()
    assert answer("info", "good")["uid"] == "good"
    assert "good" in run("search", "small").stdout.split()
    assert mshub_ssd.fetch("good").read_bytes() == b"good"
    assert run("cache", "ls").exit_code == 0
    for uid, reason in reasons.items():
        for name in (uid, f"{uid}.md"):
            with pytest.raises(CardError, match=reason) as caught:
                mshub_ssd.info(name)
            assert str(cards) in str(caught.value.where)
        assert reason in refused("info", uid)
        assert uid not in mshub_ssd.list_models()


def test_a_good_card_of_a_later_folder_is_found_behind_a_broken_one(cards: Path, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "good.md").symlink_to("good.md")
    assert Registry([tmp_path / "first", cards]).card("good").path == cards / "good.md"


def test_a_path_of_something_else_is_told_as_such(cards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oddities(cards)
    monkeypatch.chdir(cards)
    for name, reason in [("pipe.md", "not a regular file"), ("loop.md", "levels"), ("zero.md", "not a regular file")]:
        for source in (None, "local"):
            with pytest.raises(CardError, match=reason):
                mshub_ssd.load(f"./{name}", source=source)
        assert reason in refused("bundle", f"./{name}", "-o", "x.mshub")
    for name in ("none.md", f"{LONG}.md", f"{LONG}/x.md", "~nobody-of-that-name/x.md", "nul\0.md", "good.md/x.md"):
        with pytest.raises(UnknownModelError):
            mshub_ssd.info(name)
        with pytest.raises(UnknownModelError, match="no such card file"):
            mshub_ssd.load(name, source="local")


def test_validate_tells_what_it_cannot_read(cards: Path, tmp_path: Path) -> None:
    oddities(cards)
    for form in ("text", "full", "concise", "json", "github", "gitlab", "sarif", "junit"):
        result = run("validate", cards, "--format", form, "--jobs", "1")
        assert result.exit_code == 2, form
        assert "pipe.md" in result.stdout
    said = run("validate", cards, "--jobs", "1").stdout
    for name in ("pipe.md", "socket.md", "zero.md"):
        assert f"{cards}/{name}: error cannot be read: not a regular file" in said
    assert f"{cards}/loop.md: error cannot be read: Too many levels" in said
    assert run("validate", cards, "--fix", "--unsafe-fixes", "--output", tmp_path / "out.txt").exit_code == 2
    assert "levels" in refused("validate", cards / "x", code=2)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x", "Too many levels"),
        ("good.md", "is no folder"),
        ("good.md/x", "Not a directory"),
        ("pipe", "is no folder"),
        ("gone.md", "does not exist"),
        (LONG, "too long"),
    ],
)
def test_a_registry_that_is_no_folder_is_refused(
    cards: Path, name: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    oddities(cards)
    monkeypatch.setenv("MSHUB_REGISTRY", str(cards / name))
    with pytest.raises(UsageError, match=reason) as caught:
        mshub_ssd.list_models()
    assert "MSHUB_REGISTRY" in str(caught.value)
    assert reason in refused("list")


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that anybody may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_folder_without_rights_is_told_when_it_is_asked_for(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (public / "good.md").write_text(card_text("good.ckpt", SHA), encoding="utf-8")
    (public / "locked").mkdir(mode=0)
    monkeypatch.setenv("MSHUB_REGISTRY", str(public))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(public))
    code, out, said = as_nobody("list")
    assert (code, "good" in out.split()) == (0, True)
    assert "locked: Permission denied" in said
    code, _, said = as_nobody("info", "locked/1.0/net")
    assert code == 1
    assert "cannot read the card: Permission denied" in said


@pytest.mark.parametrize("name", ["mshub.toml", "pyproject.toml"])
def test_a_fifo_is_no_configuration_and_no_baseline(cards: Path, name: str) -> None:
    os.mkfifo(cards / name)
    assert "not a regular file" in refused("validate", cards, code=2)
    (cards / name).rename(cards / "old.json")
    assert "not a regular file" in refused("validate", cards, "--baseline", cards / "old.json", code=2)


# --- homes


def homes(folder: Path) -> list[str]:
    (folder / "file").write_text("")
    (folder / "x").symlink_to("x")
    return ["/dev/null", str(folder / "file"), str(folder / "file" / "below"), str(folder / "x"), str(folder / LONG)]


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MSHUB_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)


COMMANDS = [
    ("list",),
    ("search", "digits"),
    ("info", DIGITS),
    ("fetch", DIGITS),
    ("cache", "ls"),
    ("cache", "path"),
    ("cache", "verify"),
    ("cache", "prune"),
    ("doctor",),
]


def works_without_a_home(fault_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in COMMANDS:
        result = run(*command)
        assert (result.exit_code, "warning" in result.stderr) == (0, False), (command, result.output)
    (tmp_path / "cards").mkdir(exist_ok=True)
    url = fault_server.add("/net.ckpt", b"net")
    (tmp_path / "cards" / "net.md").write_text(card_text(url, sha256(b"net")), encoding="utf-8")
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "cards"))
    with transfer.override_policy():
        assert "MSHUB_HOME" in refused("fetch", "net")
        monkeypatch.setenv("MSHUB_HOME", str(tmp_path / "cache"))
        assert run("fetch", "net").exit_code == 0
        monkeypatch.delenv("MSHUB_HOME")
    monkeypatch.delenv("MSHUB_REGISTRY")


@pytest.mark.usefixtures("homeless")
def test_a_home_that_is_no_folder_ends_nothing_that_does_not_need_it(
    fault_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for home in homes(tmp_path):
        monkeypatch.setenv("HOME", home)
        works_without_a_home(fault_server, tmp_path, monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))
    for home in homes_of_settings(tmp_path):
        monkeypatch.setenv("XDG_CONFIG_HOME", home)
        assert run("list").stderr == ""


def homes_of_settings(folder: Path) -> list[str]:
    return ["/dev/null", str(folder / "file"), str(folder / "x"), str(folder / LONG)]


@pytest.mark.parametrize("raises", [True, False])
@pytest.mark.usefixtures("homeless")
def test_no_home_at_all_ends_nothing_that_does_not_need_it(
    fault_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raises: bool
) -> None:
    def nowhere(*_: object, **__: object) -> str:
        if raises:  # newer versions of platformdirs
            raise RuntimeError("could not determine the home directory")
        return "~/.config/mshub"

    monkeypatch.setattr(platformdirs, "user_config_dir", nowhere)
    monkeypatch.setattr(platformdirs, "user_cache_dir", nowhere)
    monkeypatch.chdir(tmp_path)
    works_without_a_home(fault_server, tmp_path, monkeypatch)
    assert not Path("~").exists(), "no folder of that name where the user stands"


@pytest.mark.usefixtures("homeless")
def test_settings_nobody_can_look_at_are_left_aside_with_a_warning(
    public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (public / "home").mkdir(mode=0)
    monkeypatch.setenv("HOME", str(public / "home"))
    code, out, said = as_nobody("list")
    assert (code, DIGITS in out) == (0, True)
    assert said.count("warning: settings are left aside") == 1
    for command in COMMANDS:
        assert as_nobody(*command)[0] == 0, command


@pytest.mark.usefixtures("homeless")
def test_settings_that_are_there_and_cannot_be_read_are_an_error(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(public))
    path = settings.user_file()
    path.parent.mkdir()
    path.write_text("offline = true\n")
    path.chmod(0)
    code, out, said = as_nobody("list")
    assert (code, out) == (1, "")
    assert "cannot read the settings file: Permission denied" in said
    assert f"chmod u+r {path}" in said
    assert "XDG_CONFIG_HOME" in said
    path.unlink()
    os.mkfifo(path)
    assert "not a regular file" in refused("list")
    path.unlink()
    path.symlink_to(path.name)
    assert "levels of symbolic links" in refused("list")


@pytest.mark.parametrize("variable", ["MSHUB_HOME", "MSHUB_REGISTRY"])
def test_a_home_of_nobody_is_refused_by_the_name_of_its_variable(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "~nobody-of-that-name/x")
    with pytest.raises(UsageError, match=variable) as caught:
        settings.current()
    assert "absolute path" in str(caught.value.hint)
    assert variable in refused("list")


# --- proxies


PROXIES = [
    "http://u:S3CR3T@",
    "http://u:S3CR3T@:8080",
    "http://u:S3CR3T@host:port",
    "http://u:S3CR3T@host:99999",
    "http://u:S3CR3T@host:0",
    "http://u:S3CR3T@ho st:80",
    "http://u:S3CR3T/x@host:80",
    "http://u:S3CR3T@[::1:80",
    "http://u:S3CR3T@[zz]:80",
    "gopher://u:S3CR3T@host:80",
    "http:\\\\u:S3CR3T@host:80",
    "u:S3CR3T@",
    "http://",
    "://",
    "[",
]


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
@pytest.mark.parametrize("proxy", PROXIES)
def test_a_malformed_proxy_is_refused_by_the_name_of_its_variable(
    proxy: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, proxy)
    with transfer.override_policy():
        for ask in (
            lambda: store.fetch(["http://files.invalid/a"], SHA, settings=Settings(home=tmp_path)),
            lambda: store.probe("http://files.invalid/a", settings=Settings(home=tmp_path)),
        ):
            with pytest.raises(TransferError) as caught:
                ask()
            told = f"{caught.value}{caught.value!r}"
            assert variable in told
            assert "S3CR3T" not in told


def test_a_proper_proxy_is_used(fault_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault_server.add("http://files.invalid/a", b"abc")
    for proxy in (fault_server.base, fault_server.host, fault_server.base.replace("//", "//u:p%40w@")):
        monkeypatch.setenv("http_proxy", proxy)
        with transfer.override_policy():
            path = store.fetch(["http://files.invalid/a"], sha256(b"abc"), force=True, settings=Settings(home=tmp_path))
        assert path.read_bytes() == b"abc"
    assert fault_server.requests[-1].headers["proxy-authorization"] == "Basic dTpwQHc="


# --- pictures


@pytest.mark.parametrize("kind", ["fifo", "socket", "zero", "folder", "loop", "long", "below a file"])
def test_a_picture_that_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("mindspore")
    oddities(tmp_path)
    (tmp_path / "file").write_text("")
    name = {
        "fifo": "pipe",
        "socket": "socket.md",
        "zero": "zero.md",
        "folder": ".",
        "loop": "x",
        "long": LONG,
        "below a file": "file/x.png",
    }[kind]
    with pytest.raises(ImageError):
        mshub_ssd.detect(DIGITS, tmp_path / name)
    if kind == "folder":  # on the command line it means the pictures in it, which are not drawn into one file
        assert "--out-dir" in refused("detect", tmp_path / name, "--model", DIGITS, "--out", tmp_path / "a.png", code=2)
        return
    said = refused("detect", tmp_path / name, "--model", DIGITS, "--out", tmp_path / "out.png")
    assert "next:" in said


# --- arguments of another type


@pytest.mark.parametrize(
    "urls", [None, 3, b"http://x.example/a", [None], [b"x"], [["http://x.example/a"]], {}, object()]
)
def test_urls_that_are_no_texts_are_errors_of_ours(urls: Any, tmp_path: Path) -> None:
    ours = Settings(home=tmp_path)
    (tmp_path / "file").write_bytes(b"abc")
    calls: list[Callable[[], object]] = [
        lambda: store.fetch(urls, SHA, settings=ours),
        lambda: store.plan(urls, SHA, settings=ours),
        lambda: store.probe(urls, settings=ours),
        lambda: store.digest_of(urls, settings=ours),
    ]
    if urls != {}:  # no urls are none
        calls += [
            lambda: store.cached(urls, SHA, settings=ours),
            lambda: store.add(tmp_path / "file", sha256(b"abc"), urls=urls, settings=ours),
        ]
    for call in calls:
        with pytest.raises((UsageError, TransferError)):
            call()
    good = store.FileRequest(["http://127.0.0.1:1/a"], SHA)
    with transfer.override_policy(backoff=0.001, longest_wait=0.004):
        found = store.fetch_many([store.FileRequest(urls, SHA), good], settings=ours)
    assert [isinstance(one, MshubError) for one in found] == [True, True]
    assert isinstance(found[1], TransferError)


@pytest.mark.parametrize("digest", [None, 3, b"0" * 64, ["0" * 64], "", "z" * 64, 0.5])
def test_digests_that_are_none_are_errors_of_ours(digest: Any, tmp_path: Path) -> None:
    ours, urls = Settings(home=tmp_path), ["http://127.0.0.1:1/a"]
    (tmp_path / "file").write_bytes(b"abc")
    for call in (
        lambda: store.fetch(urls, digest, settings=ours),
        lambda: store.plan(urls, digest, settings=ours),
        lambda: store.cached(urls, digest, settings=ours),
        lambda: store.add(tmp_path / "file", digest, settings=ours),
        lambda: store.verify_local(tmp_path / "file", digest),
    ):
        with pytest.raises(IntegrityError):
            call()
    assert isinstance(store.fetch_many([store.FileRequest(urls, digest)], settings=ours)[0], IntegrityError)


@pytest.mark.parametrize("wanted", [None, 3, "x", [None], ["http://x.example/a"]])
def test_files_that_are_none_are_errors_of_ours(wanted: Any, tmp_path: Path) -> None:
    ours = Settings(home=tmp_path)
    try:
        found: list[Any] = store.fetch_many(wanted, settings=ours)
    except UsageError as error:
        found = [error]
    assert all(isinstance(one, UsageError) for one in found)


@pytest.mark.parametrize("source", [None, 3, "name", b"name"])
def test_what_is_no_file_cannot_be_taken_in(source: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        store.add(source, SHA, settings=Settings(home=tmp_path))


def test_a_fifo_is_not_taken_in(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(IntegrityError, match="not a regular file"):
        store.add(tmp_path / "pipe", SHA, settings=Settings(home=tmp_path))
    assert "regular file" in refused("cache", "add", tmp_path / "pipe")


@pytest.mark.parametrize("name", [None, 3, b"x", [], object()])
def test_names_that_are_no_texts_are_errors_of_ours(name: Any) -> None:
    for call in (mshub_ssd.load, mshub_ssd.load_weights, mshub_ssd.fetch, mshub_ssd.info):
        with pytest.raises(UsageError, match="named by text"):
            call(name)

    for names in (name, [name]):
        if names != []:
            with pytest.raises(UsageError):
                Hub().fetch_many(names)
