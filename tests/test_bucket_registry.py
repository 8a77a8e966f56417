"""Registries in object stores: a folder of cards, the static form, an archive; what each asks, and does offline."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import re
import shlex
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from commands import answer, refused, run
from s3lab import S3, SECRET, Refuse

import mshub_ssd.cli
from mshub_ssd import schemes, store
from mshub_ssd.errors import CardError, OfflineError, TransferError, UsageError
from mshub_ssd.registry import Bucket, Registry, build
from mshub_ssd.settings import Settings
from mshub_ssd.store.policy import override_policy


def card(name: str, *, says: str = "", link: str = "weights.ckpt") -> str:
    return (
        f"# {name}\n\n---\nmodel-name: {name}\nmodule-type: cv-detection\nsummary: one of many {says}\n"
        f"asset:\n- asset-link: {link}\n  asset-sha256: {'ab' * 32}\n---\n\nWords\n"
    )


@pytest.fixture
def ours(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture(autouse=True)
def hurry() -> Iterator[None]:
    with override_policy(backoff=0.01, longest_wait=0.02, attempts=2):
        yield


@pytest.fixture
def place(s3: S3) -> str:
    """A folder of cards, with what is none of them."""
    for name in ("a", "b", "c"):
        s3.put(f"hub/lab/1.0/{name}.md", card(name))
    s3.put("hub/lab/1.0/weights.ckpt", b"weights")
    s3.put("hub/.git/x.md", card("hidden"))
    s3.put("hubs/z.md", card("z"))
    return f"{s3.url}/hub/"


def look(url: str, ours: Settings, *, seconds: float = 60.0) -> Registry:
    return Registry([Bucket(url, ours, seconds=seconds)], ours.homes)


def test_a_folder_of_cards(s3: S3, place: str, ours: Settings) -> None:
    registry = look(place, ours)
    assert registry.uids() == ["lab/1.0/a", "lab/1.0/b", "lab/1.0/c"]
    found = registry.card("lab/1.0/b")
    assert (found.model_name, found.path, found.origin) == ("b", None, f"{place}lab/1.0/b.md")
    assert found.resolve(found.assets[0]) == f"{place}lab/1.0/weights.ckpt"
    assert [one.uid for one in registry.search("many")] == registry.uids()
    assert len([one for one in s3.asked("GET") if one.key.endswith(".md")]) == 3, "each card once"
    # Within a minute nobody is asked, in other processes either.
    seen = len(s3.requests)
    assert look(place, ours).card("a").uid == "lab/1.0/a"
    assert len(s3.requests) == seen


def test_what_changed_is_fetched_and_nothing_else(s3: S3, place: str, ours: Settings) -> None:
    registry = look(place, ours, seconds=0)
    assert len(registry.uids()) == 3
    seen = len(s3.requests)
    s3.put("hub/lab/1.0/b.md", card("b", says="changed"))
    s3.put("hub/lab/1.1/b.md", card("b"))
    s3.remove("hub/lab/1.0/c.md")
    assert registry.uids() == ["lab/1.0/a", "lab/1.0/b", "lab/1.1/b"]
    assert [one.uid for one in registry.search("changed")] == ["lab/1.0/b"]
    fetched = [one.key for one in s3.requests[seen:] if one.method == "GET" and one.key.endswith(".md")]
    assert sorted(fetched) == ["hub/lab/1.0/b.md", "hub/lab/1.1/b.md"]


def test_one_card_costs_the_listing_and_itself(s3: S3, place: str, ours: Settings) -> None:
    assert look(place, ours).card("lab/1.0/a").uid == "lab/1.0/a"
    assert [one.key for one in s3.requests if one.key.endswith(".md")] == ["hub/lab/1.0/a.md"]
    assert len(s3.requests) <= 4


def test_without_the_network_it_is_as_it_was(
    s3: S3, place: str, ours: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    offline = replace(ours, offline=True)
    with pytest.raises(OfflineError):
        look(place, offline).uids()
    assert len(look(place, ours).uids()) == 3
    seen = len(s3.requests)
    assert len(look(place, offline, seconds=0).uids()) == 3
    assert look(place, offline, seconds=0).card("a").model_name == "a"
    assert len(s3.requests) == seen
    # A store that cannot be reached: a warning, and the cards as they were.
    for method in ("HEAD", "GET"):
        for key in ("", "hub/index.json"):
            s3.faults[f"{method} {key}"] = [Refuse(503, "SlowDown")]
    caplog.set_level(logging.WARNING)
    assert len(look(place, ours, seconds=0).uids()) == 3
    assert "these are its cards as they were at" in caplog.text
    with pytest.raises(TransferError):
        look(f"{s3.url}/other", ours).uids()


def test_the_static_form(s3: S3, ours: Settings, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "cards" / "lab").mkdir(parents=True, exist_ok=True)
        (tmp_path / "cards" / "lab" / f"{name}.md").write_text(card(name))
    build(tmp_path / "cards", tmp_path / "site")
    for path in (tmp_path / "site").rglob("*"):
        if path.is_file():
            s3.put(f"site/{path.relative_to(tmp_path / 'site').as_posix()}", path.read_bytes())
    url = f"{s3.url}/site"
    source = Bucket(url, ours, seconds=0)
    registry = Registry([source], ours.homes)
    assert registry.uids() == ["lab/a", "lab/b"]
    assert source.kind == "index"
    card_b = registry.card("lab/b")
    assert card_b.resolve(card_b.assets[0]) == f"{url}/lab/weights.ckpt"
    # Unchanged: the root is not read again.
    seen = len(s3.asked("GET", "site/index.json"))
    assert registry.uids() == ["lab/a", "lab/b"]
    assert len(s3.asked("GET", "site/index.json")) == seen
    # A part that is another one is refused.
    part = next(key for key in s3.names() if key.endswith(".part"))
    s3.put(part, b"other bytes")
    fresh = replace(ours, home=tmp_path / "second")
    with pytest.raises(Exception, match="a part of the registry") as caught:
        Registry([Bucket(url, fresh)], fresh.homes).card("lab/a")
    assert SECRET not in str(caught.value)


def test_an_archive(s3: S3, ours: Settings) -> None:
    def pack(*names: str) -> bytes:
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            for name in names:
                archive.writestr(f"hub-master/lab/{name}.md", card(name))
        return data.getvalue()

    url = s3.put("hub.zip", pack("a", "b"))
    registry = look(url, ours, seconds=0)
    assert registry.uids() == ["lab/a", "lab/b"]
    found = registry.card("lab/a")
    assert found.origin == f"hub-master/lab/a.md in {url}"
    with pytest.raises(CardError, match="lies in no folder"):
        found.resolve(found.assets[0])
    seen = len(s3.asked("GET"))
    assert look(url, ours, seconds=0).uids() == ["lab/a", "lab/b"]
    assert len(s3.asked("GET")) == seen, "it is here"
    s3.put("hub.zip", pack("a", "b", "c"))
    assert look(url, ours, seconds=0).uids() == ["lab/a", "lab/b", "lab/c"]
    assert look(url, replace(ours, offline=True), seconds=0).uids() == ["lab/a", "lab/b", "lab/c"]


def test_a_folder_may_become_a_static_registry(s3: S3, place: str, ours: Settings, tmp_path: Path) -> None:
    source = Bucket(place, ours, seconds=0)
    assert len(list(source.entries())) == 3
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "new.md").write_text(card("new"))
    build(tmp_path / "cards", tmp_path / "site")
    for path in [path for path in (tmp_path / "site").rglob("*") if path.is_file()]:
        s3.put(f"hub/{path.relative_to(tmp_path / 'site').as_posix()}", path.read_bytes())
    assert [one.uid for one in source.entries()] == ["new"]


def test_the_command_line_adds_lists_refreshes_and_removes(s3: S3, place: str) -> None:
    added = answer("registry", "add", "lab", place)
    assert (added["kind"], added["cards"], added["where"]) == ("objects", 3, place)
    assert answer("list", "lab/*", "--all")
    s3.put("hub/lab/1.0/d.md", card("d"))
    assert answer("registry", "refresh", "lab")[0]["cards"] == 4
    assert answer("registry", "list")[0]["revision"]
    assert answer("info", "lab/1.0/d")["origin"] == f"{place}lab/1.0/d.md"
    assert answer("registry", "remove", "lab")["where"] == place
    for url, words in (
        (f"{s3.url}/nothing", "no card under this address"),
        ("s3://no-such-bucket-here/hub", "no such bucket"),
        ("file:///srv/cards", "is not one this library downloads from"),
        (f"s3://me:{SECRET}@bucket/hub", "user or password"),
    ):
        said = refused("registry", "add", "lab", url)
        assert words in said
        assert SECRET not in said
    assert answer("registry", "list")[0]["name"] != "lab"


def test_a_card_by_its_address(s3: S3, place: str) -> None:
    assert answer("info", f"{place}lab/1.0/a.md")["model_name"] == "a"
    assert run("info", f"{place}lab/1.0/none.md").exit_code == 1


def test_another_store_than_s3(ours: Settings) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe({"/hub/lab/a.md": card("a").encode(), "/hub/lab/weights.ckpt": b"weights", "/hub/empty": b""})
    registry = look("memory://hub", ours, seconds=0)
    assert registry.uids() == ["lab/a"]
    found = registry.card("lab/a")
    assert found.resolve(found.assets[0]) == "memory://hub/lab/weights.ckpt"
    memory.pipe("/hub/lab/a.md", card("other").encode())
    assert registry.card("lab/a").model_name == "other"
    digest = hashlib.sha256(b"weights").hexdigest()
    assert store.fetch(["memory://hub/lab/weights.ckpt"], digest, settings=ours).read_bytes() == b"weights"
    assert store.read_file("memory://hub/empty", 10, settings=ours) == b""
    assert store.files_at("memory://hub/**", settings=ours) == [
        f"memory://hub/{name}" for name in ("empty", "lab/a.md", "lab/weights.ckpt")
    ]
    memory.rm("/hub", recursive=True)


def test_no_address_no_registry(ours: Settings) -> None:
    for url in ("file:///srv", "zip://x", "s3://u:p@b/x"):
        with pytest.raises(UsageError):
            Bucket(url, ours)


# --- docs/object_stores.md

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "object_stores.md").read_text(encoding="utf-8")


def test_the_page_says_what_happens(s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models, photos = s3.another("models"), s3.another("photos")
    models.put("cards/lab/a.md", card("a"))
    photos.put("digits/first.png", (Path(mshub_ssd.cli.__file__).parent / "demo_digits.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    for language, code, _, shown in re.findall(r"```(python|sh)\n(.*?)```\n(\n```\n(.*?)```)?", PAGE, re.DOTALL):
        if language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(code, {})
            assert out.getvalue() == shown
        else:
            for line in code.splitlines():
                done = run(*shlex.split(line)[1:])
                wrong = "none.png" in line
                assert done.exit_code == wrong, f"{line}: {done.output}"
                assert not wrong or "there is no such file" in done.output


def test_the_page_has_the_schemes_and_their_packages() -> None:
    rows = dict(re.findall(r"^\| (`.*?`) \| (.*?) \|$", PAGE, re.MULTILINE))
    told = {scheme for schemes_ in rows for scheme in re.findall(r"`(\w+)://`", schemes_)}
    assert told == set(schemes.STORES)
    for scheme, package in schemes.STORES.items():
        assert any(f"`{scheme}://`" in names and package in packages for names, packages in rows.items()), scheme
